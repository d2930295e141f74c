//! The web console. For now a page that says where things stand; keys are managed through the API.

use axum::Router;
use axum::http::{HeaderValue, header};
use axum::response::{Html, IntoResponse as _, Response};
use axum::routing::get;

/// Nothing but our own style sheet is loaded, and nothing may frame us.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// The console's routes.
pub fn router() -> Router {
    Router::new()
        .route("/", get(sign_in))
        .route("/console.css", get(style))
        .fallback(async || (axum::http::StatusCode::NOT_FOUND, "There is no such page.\n"))
        .layer(axum::middleware::map_response(secure))
}

async fn sign_in() -> Html<&'static str> {
    Html(include_str!("sign_in.html"))
}

async fn style() -> impl axum::response::IntoResponse {
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], include_str!("console.css"))
}

async fn secure(response: Response) -> Response {
    let mut response = response.into_response();
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
        (header::STRICT_TRANSPORT_SECURITY, "max-age=31536000"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}
