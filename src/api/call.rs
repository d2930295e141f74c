//! One call of a route: what every handler starts from and ends with.

use std::collections::HashMap;

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts as _, Path};
use axum::http::request::Parts;
use axum::response::Response;

use super::Api;
use super::answer::success;
use super::body::{self, Fields};
use super::context::{self, Version};
use super::error::refused;
use crate::domain::ids::RequestId;
use crate::domain::result_code::ResultCode;
use crate::domain::text::Invalid;
use crate::service::{Refusal, Request, Service};
use crate::telemetry::redaction;

/// One call of a route below `/keymanager/{version}/appkey/{appkey}`.
#[derive(Debug)]
pub(super) struct Call {
    api: Api,
    parts: Parts,
    body: Body,
    params: HashMap<String, String>,
    version: Version,
}

impl FromRequest<Api> for Call {
    type Rejection = Response;

    async fn from_request(request: axum::extract::Request, api: &Api) -> Result<Self, Response> {
        let (mut parts, body) = request.into_parts();
        let not_found = || refused(&Refusal::Code(ResultCode::UrlNotFound), api.settings.always_http_200);
        let Path(params) = Path::<HashMap<String, String>>::from_request_parts(&mut parts, api).await.map_err(|_| not_found())?;
        let version = parts.extensions.get::<Version>().copied().ok_or_else(not_found)?;
        Ok(Self { api: api.clone(), parts, body, params, version })
    }
}

impl Call {
    pub(super) fn service(&self) -> Service {
        self.api.service.clone()
    }

    pub(super) fn zone(&self) -> chrono_tz::Tz {
        self.api.settings.zone
    }

    /// A part of the path, decoded.
    pub(super) fn param(&self, name: &str) -> String {
        self.params.get(name).cloned().unwrap_or_default()
    }

    /// The request in the service's words.
    pub(super) fn request(&self) -> Request {
        context::request(&self.api, &self.parts, self.version, self.param("appkey"))
    }

    /// A parameter of the query that may come at most once.
    pub(super) fn query(&self, name: &'static str) -> Result<Option<String>, Refusal> {
        let query = self.parts.uri.query().unwrap_or_default();
        let pairs: Vec<(String, String)> = serde_urlencoded::from_str(query).map_err(|_| Refusal::Malformed("the query can't be read".to_owned()))?;
        let mut values = pairs.into_iter().filter(|(key, _)| key == name).map(|(_, value)| value);
        let first = values.next();
        if values.next().is_some() { Err(Invalid::new(name, "comes twice").into()) } else { Ok(first) }
    }

    /// The fields of the JSON body, as `take` wants them. The body is read whether or not the caller may ask at all: what is
    /// wrong with it is told only to those who may.
    pub(super) async fn input<T>(&mut self, take: impl FnOnce(&mut Fields) -> Result<T, Invalid>) -> Result<T, Refusal> {
        body::require_json(&self.parts.headers)?;
        let bytes = body::read(std::mem::take(&mut self.body), &self.api.bodies, self.api.settings.body_limit, self.api.settings.request_timeout).await?;
        Ok(take(&mut Fields::parse(&bytes)?)?)
    }

    /// Reads a body that means nothing, so that the connection can go on after it.
    pub(super) async fn pass_over_body(&mut self) {
        let read = body::read(std::mem::take(&mut self.body), &self.api.bodies, self.api.settings.body_limit, self.api.settings.request_timeout).await;
        drop(read);
    }

    /// The answer.
    pub(super) fn answer<T, B: serde::Serialize>(self, outcome: Result<T, Refusal>, shape: impl FnOnce(T) -> B) -> Response {
        match outcome {
            Ok(value) => success(shape(value)),
            Err(refusal) => self.refuse(&refusal),
        }
    }

    /// The answer to a call that was refused.
    pub(super) fn refuse(self, refusal: &Refusal) -> Response {
        if let Refusal::Unavailable { reason } = refusal {
            let request_id = self.parts.extensions.get::<RequestId>().map(ToString::to_string);
            tracing::warn!(request_id, path = %redaction::path(self.parts.uri.path()), %reason, "answered that the service is unavailable");
        }
        refused(refusal, self.api.settings.always_http_200)
    }
}
