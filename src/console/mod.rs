//! The web console: pages that are rendered on the server, over the same use cases as the API.
//!
//! A page is a template of `templates/` around what a use case answers; a form is a fragment that comes into a dialog, or a page of its own
//! without the script. `visitor.rs` says who asks, `form.rs` what was typed and what is wrong with it, `page.rs` what stands around,
//! `text/` every word.

mod access_keys;
mod account;
mod address;
mod approvals;
mod assets;
mod attachment;
mod certificates;
mod chart;
mod clients;
mod csv;
mod csv_pages;
mod depository;
mod door;
mod draft;
mod endpoint;
mod form;
mod governance;
mod history;
mod key_stores;
mod keys;
mod list;
mod members;
mod notifications;
mod organization;
mod page;
mod qr;
mod routes;
mod shown;
mod sign_in;
mod statistics;
mod text;
mod visitor;

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;
use axum::routing::{get, post};

use crate::domain::result_code::ResultCode;
use crate::service::{Refusal, Service};
use crate::tls::Reloader;
use door::Door;
use routes::Routes;

/// Nothing but our own files is loaded, nothing inline runs, and nothing may frame us.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; \
                                       base-uri 'none'; frame-ancestors 'none'";
/// The most bytes of a form.
const FORM_MAX_BYTES: usize = 256 * 1024;

/// How the console works.
#[derive(Debug, Clone)]
pub struct ConsoleSettings {
    /// The zone of the dates on its pages.
    pub zone: chrono_tz::Tz,
    /// Where the API is reached.
    pub api: ApiAddress,
    /// The certificate that API and console have.
    pub server_certificate: Arc<Reloader>,
}

/// Where the API is reached, for lines that people paste.
#[derive(Debug, Clone)]
pub struct ApiAddress {
    /// `https://skm.example.com:8443`.
    pub url: String,
    /// Whether its certificate is of the internal authority, which clients have to learn first.
    pub internal_authority: bool,
    /// Whether the API's documentation is served.
    pub documentation: bool,
}

/// What every page has.
#[derive(Debug, Clone)]
pub struct Console {
    service: Service,
    settings: ConsoleSettings,
}

impl Console {
    /// The console over a service.
    pub fn new(service: Service, settings: ConsoleSettings) -> Self {
        Self { service, settings }
    }
}

/// The same pages of key stores behind each door.
fn key_store_routes(door: Door) -> Routes {
    key_stores::routes(door).merge(keys::routes(door)).merge(clients::routes(door)).merge(certificates::routes(door)).merge(csv_pages::routes(door))
}

/// All routes that everybody comes as far as.
fn routes() -> Routes {
    Routes::new()
        .route("/", get(key_stores::home))
        .route("/sign-in", get(sign_in::show).post(sign_in::sign_in))
        .route("/sign-in/code", get(sign_in::ask_code).post(sign_in::give_code))
        .route("/sign-out", post(sign_in::sign_out))
        .merge(key_store_routes(Door::Depository))
        .merge(key_store_routes(Door::Management))
        .merge(approvals::routes())
        .merge(governance::routes())
        .merge(statistics::routes())
        .merge(account::routes())
        .merge(access_keys::routes())
        .merge(notifications::routes())
        .merge(history::routes())
        .merge(members::routes())
        .merge(endpoint::routes())
        .route("/assets/{name}", get(assets::serve))
}

/// The paths of all routes, with placeholders: `/projects/{project}/key-stores`.
pub fn paths() -> Vec<String> {
    routes().merge(organization::routes()).into_paths()
}

/// The console.
pub fn router(console: Console) -> Router {
    let organization = organization::routes().behind(|routes| organization::guarded(routes, &console));
    routes()
        .merge(organization)
        .into_router()
        .fallback(unknown)
        .layer(DefaultBodyLimit::max(FORM_MAX_BYTES))
        .layer(axum::middleware::from_fn(name_request))
        .with_state(console)
}

async fn unknown(request: Request) -> Response {
    page::refused(&Refusal::Code(ResultCode::UrlNotFound), visitor::request_id(&request.into_parts().0))
}

/// Gives each request its name, and each answer what keeps browsers safe.
async fn name_request(mut request: Request, next: Next) -> Response {
    let id = visitor::new_request_id();
    request.extensions_mut().insert(id);
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
        (header::STRICT_TRANSPORT_SECURITY, "max-age=31536000"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    if let Ok(value) = HeaderValue::from_str(&id.to_string()) {
        headers.insert(HeaderName::from_static("x-request-id"), value);
    }
    response
}
