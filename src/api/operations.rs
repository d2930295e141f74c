//! What operators' machines ask, on an address of its own: liveness, readiness, metrics.

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use serde::Serialize;

use crate::service::Service;
use crate::telemetry::Metrics;
use crate::telemetry::metrics::CONTENT_TYPE;

/// What the routes have.
#[derive(Debug, Clone)]
struct Operations {
    service: Service,
    metrics: Metrics,
    stopping: tokio_util::sync::CancellationToken,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Readiness {
    ready: bool,
    problems: Vec<String>,
    token: String,
    token_generation: u64,
    staleness_ms: Option<u128>,
    missing_objects: usize,
    keys_near_use_limit: usize,
    /// `right`, `doubted` or `skewed`.
    clock: &'static str,
    clock_skew_s: Option<f64>,
}

/// `/healthz`, `/readyz`, `/metrics`. Once `stopping` is cancelled the service is reported unready.
pub fn router(service: Service, metrics: Metrics, stopping: tokio_util::sync::CancellationToken) -> Router {
    Router::new()
        .route("/healthz", get(async || (StatusCode::OK, "ok\n")))
        .route("/readyz", get(readiness))
        .route("/metrics", get(encode))
        .with_state(Operations { service, metrics, stopping })
}

/// 200 when the token's canary, the database and the freshness are all right; 503 with the reasons otherwise.
async fn readiness(State(operations): State<Operations>) -> Response {
    let health = operations.service.health();
    let mut problems = health.problems;
    if operations.stopping.is_cancelled() {
        problems.push("stopping".to_owned());
    }
    let ready = problems.is_empty();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = Readiness {
        ready,
        problems,
        token: health.token.identity,
        token_generation: health.token.generation,
        staleness_ms: health.staleness.map(|age| age.as_millis()),
        missing_objects: health.missing_objects,
        keys_near_use_limit: health.keys_near_use_limit,
        clock: health.clock.as_str(),
        clock_skew_s: health.clock_skew_s,
    };
    (status, axum::Json(body)).into_response()
}

async fn encode(State(operations): State<Operations>) -> Response {
    let Ok(text) = operations.metrics.encode() else { return StatusCode::SERVICE_UNAVAILABLE.into_response() };
    let mut response = text.into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
    response
}
