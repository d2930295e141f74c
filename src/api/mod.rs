//! The HTTP API, wire-compatible with the hosted Secure Key Manager v1.0 to v1.3.
//!
//! One router, four versions: `routes.rs` says which exist where, `context.rs` turns a request into the service's words,
//! `body.rs` reads bodies so that every error names its field, `error.rs` is the one place where a status is written.
//! Each handler carries its part of the OpenAPI document; `openapi/` puts the parts together, `page.rs` shows them.

pub mod answer;
mod approvals;
mod body;
mod call;
mod certificates;
mod clients;
mod context;
mod data;
mod error;
mod import;
mod inventory;
mod key_stores;
mod keys;
mod life;
mod oauth;
mod openapi;
pub mod operations;
mod page;
mod progress;
mod routes;

use std::sync::Arc;

use ipnet::IpNet;

use crate::service::Service;

pub use routes::{openapi_document, router};

/// How the API answers.
#[derive(Debug, Clone)]
pub struct ApiSettings {
    /// Whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// The zone of the dates in answers.
    pub zone: chrono_tz::Tz,
    /// Answer 200 whatever happens, for clients that can't take another status.
    pub always_http_200: bool,
    /// How long a body may take to arrive, and an answer to be made.
    pub request_timeout: std::time::Duration,
    /// The most bytes of a request's header, its path included. The listener must let twice as many through, so that what is a
    /// little too large gets an answer in the envelope.
    pub header_limit: usize,
    /// The most bytes of a body.
    pub body_limit: usize,
    /// Whether the OpenAPI document and the page to read it are served.
    pub documentation: bool,
}

/// What every handler has.
#[derive(Debug, Clone)]
pub struct Api {
    service: Service,
    settings: Arc<ApiSettings>,
    bodies: body::BodyRoom,
}

impl Api {
    /// The API over a service.
    pub fn new(service: Service, settings: ApiSettings) -> Self {
        Self { service, settings: Arc::new(settings), bodies: body::BodyRoom::default() }
    }
}
