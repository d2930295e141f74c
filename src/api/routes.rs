//! Which routes exist in which version.

use axum::Router;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Version as HttpVersion, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use utoipa_axum::routes;

use super::context::{self, Version, new_request_id};
use super::error::refused;
use super::openapi::{self, Routes};
use super::progress::watch_body;
use super::{Api, approvals, certificates, clients, data, import, inventory, key_stores, keys, life, oauth, page};
use crate::domain::result_code::ResultCode;
use crate::service::Refusal;
use crate::telemetry::redaction;

/// The header that names the request in the answer, as in log and audit record.
const REQUEST_ID_HEADER: &str = "x-request-id";

/// Routes of all versions.
fn data_routes() -> Routes {
    Routes::new()
        .add(routes!(data::confirm))
        .add(routes!(data::read_secret))
        .add(routes!(data::encrypt))
        .add(routes!(data::decrypt))
        .add(routes!(data::create_local_key))
        .add(routes!(data::export_symmetric_key))
        .add(routes!(data::sign))
        .add(routes!(data::verify))
        .add(routes!(data::sign_standard))
        .add(routes!(data::verify_standard))
        .add(routes!(data::export_private_key))
        .add(routes!(data::public_key))
}

/// Changes of key stores and keys (v1.2 and v1.3).
fn change_routes() -> Routes {
    Routes::new()
        .add(routes!(data::change_secret))
        .add(routes!(key_stores::create))
        .add(routes!(key_stores::replace, key_stores::delete))
        .add(routes!(keys::create_secret))
        .add(routes!(keys::create_symmetric))
        .add(routes!(keys::create_asymmetric))
        .add(routes!(life::request_key_deletion))
        .add(routes!(life::delete_key))
}

/// Changes of a key store's clients (v1.2 and v1.3).
fn client_routes() -> Routes {
    Routes::new()
        .add(routes!(clients::register_ipv4))
        .add(routes!(clients::register_mac))
        .add(routes!(clients::register_certificate))
        .add(routes!(clients::request_ipv4_deletion, clients::delete_ipv4))
        .add(routes!(clients::request_mac_deletion, clients::delete_mac))
        .add(routes!(clients::request_certificate_deletion, clients::delete_certificate))
}

/// Reading the inventory (v1.0, v1.2 and v1.3).
fn inventory_routes() -> Routes {
    Routes::new()
        .add(routes!(inventory::key_stores))
        .add(routes!(inventory::key_store))
        .add(routes!(inventory::keys))
        .add(routes!(inventory::key))
        .add(routes!(inventory::ips))
        .add(routes!(inventory::macs))
        .add(routes!(inventory::certificates))
}

/// Our own (v1.3): the life of keys, versions and clients.
fn life_routes() -> Routes {
    Routes::new()
        .add(routes!(life::change_key))
        .add(routes!(life::rotate_key))
        .add(routes!(life::restore_key))
        .add(routes!(life::versions))
        .add(routes!(life::request_version_deletion))
        .add(routes!(life::restore_version))
        .add(routes!(life::delete_version))
        .add(routes!(clients::restore_ipv4))
        .add(routes!(clients::restore_mac))
        .add(routes!(clients::restore_certificate))
}

/// Our own (v1.3): import.
fn import_routes() -> Routes {
    Routes::new().add(routes!(import::parameters)).add(routes!(import::import))
}

/// Our own (v1.3): certificates.
fn certificate_routes() -> Routes {
    Routes::new().add(routes!(certificates::download)).add(routes!(certificates::sign))
}

/// Our own (v1.3): approval.
fn approval_routes() -> Routes {
    Routes::new()
        .add(routes!(approvals::list, approvals::ask_of_project))
        .add(routes!(approvals::read))
        .add(routes!(approvals::ask))
        .add(routes!(approvals::withdraw_change))
        .add(routes!(approvals::approve))
        .add(routes!(approvals::deny))
        .add(routes!(approvals::withdraw))
}

fn routes_of(version: Version) -> Routes {
    let mut routes = data_routes();
    if version.has_inventory() {
        routes = routes.merge(inventory_routes());
    }
    if version.has_changes() {
        routes = routes.merge(change_routes()).merge(client_routes());
    }
    if version.has_our_own() {
        routes = routes.merge(life_routes()).merge(import_routes()).merge(certificate_routes()).merge(approval_routes());
    }
    routes
}

/// Token endpoints in OAuth 2's shapes, and what everybody may have of the certificate authority.
fn routes_of_no_version() -> Routes {
    Routes::new().add(routes!(oauth::create)).add(routes!(oauth::revoke)).add(routes!(certificates::authorities)).add(routes!(certificates::revocation_list))
}

/// All that the document describes.
fn described() -> Routes {
    Version::ALL.into_iter().fold(routes_of_no_version(), |routes, version| routes.nest(version, routes_of(version)))
}

/// The OpenAPI document (3.1, JSON) of the whole API.
pub fn openapi_document() -> String {
    openapi::json(&described().split().1)
}

/// The whole API.
pub fn router(api: Api) -> Router {
    let (mut router, document) = described().split();
    if api.settings.documentation {
        router = router.merge(page::routes(openapi::json(&document)));
    }
    router.fallback(unknown_route).method_not_allowed_fallback(unknown_method).layer(from_fn_with_state(api.clone(), around)).with_state(api)
}

/// Around every request: its name, its time limit, its measurement.
async fn around(State(api): State<Api>, mut request: Request, next: Next) -> Response {
    let id = new_request_id();
    request.extensions_mut().insert(id);
    let limit = api.settings.request_timeout.saturating_mul(2);
    let asked = tracing::enabled!(tracing::Level::DEBUG).then(|| (request.method().clone(), redaction::path(request.uri().path()).to_string()));
    let is_http1 = request.version() <= HttpVersion::HTTP_11;
    let (request, progress) = watch_body(request);
    let mut response = match tokio::time::timeout(limit, route(&api, request, next)).await {
        Ok(response) => response,
        Err(_) => refused(&Refusal::unavailable("the answer took too long"), api.settings.always_http_200),
    };
    if let Some((method, path)) = asked {
        tracing::debug!(request_id = %id, %method, path, status = response.status().as_u16(), "answered");
    }
    if let Ok(value) = HeaderValue::from_str(&id.to_string()) {
        response.headers_mut().insert(REQUEST_ID_HEADER, value);
    }
    // Without the end of one request there is no next one. HTTP/2 goes on, and has no such header.
    if is_http1 && !progress.is_complete() {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// Bytes of the header, as HTTP/1.1 would send it.
fn header_bytes(request: &Request) -> usize {
    const SEPARATORS: usize = 4;
    let fields = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + SEPARATORS);
    fields.sum::<usize>() + request.uri().path_and_query().map_or(0, |path| path.as_str().len())
}

/// To the handler; a path that is no text once it is decoded names nothing.
async fn route(api: &Api, request: Request, next: Next) -> Response {
    if header_bytes(&request) > api.settings.header_limit {
        return refuse(api, &request.into_parts().0, ResultCode::HeaderTooLarge).await;
    }
    let path = request.uri().path();
    if path.contains('%') && decoded(path).is_none() {
        return refuse(api, &request.into_parts().0, ResultCode::UrlNotFound).await;
    }
    next.run(request).await
}

async fn unknown_route(State(api): State<Api>, request: Request) -> Response {
    refuse(&api, &request.into_parts().0, ResultCode::UrlNotFound).await
}

async fn unknown_method(State(api): State<Api>, request: Request) -> Response {
    refuse(&api, &request.into_parts().0, ResultCode::MethodNotAllowed).await
}

/// A route that doesn't exist: recorded where the path names a project.
async fn refuse(api: &Api, parts: &Parts, code: ResultCode) -> Response {
    let mut segments = parts.uri.path().split('/').skip(1);
    let named = match (segments.next(), segments.next().and_then(Version::parse), segments.next(), segments.next().and_then(decoded)) {
        (Some("keymanager"), Some(version), Some("appkey"), Some(appkey)) => Some(context::request(api, parts, version, appkey)),
        _ => None,
    };
    let refusal = match named {
        Some(named) => api.service.refuse(named, code).await,
        None => Refusal::Code(code),
    };
    refused(&refusal, api.settings.always_http_200)
}

/// A path, or a part of one, without its percent-encoding (RFC 3986, 2.1); `None` if that is no text.
fn decoded(path: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let (byte, after) = encoded(rest).unwrap_or((*first, after));
        bytes.push(byte);
        rest = after;
    }
    String::from_utf8(bytes).ok()
}

/// The byte that `bytes` begins with as `%` and two hex digits, and what follows.
fn encoded(bytes: &[u8]) -> Option<(u8, &[u8])> {
    let (digits, rest) = bytes.strip_prefix(b"%")?.split_at_checked(2)?;
    let mut byte = 0;
    hex::decode_to_slice(digits, std::slice::from_mut(&mut byte)).ok()?;
    Some((byte, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_parts_are_decoded_as_the_router_does() {
        for (part, expected) in [
            ("abc", Some("abc")),
            ("%61b%63", Some("abc")),
            ("%2F", Some("/")),
            ("%", Some("%")),
            ("%6", Some("%6")),
            ("%GG", Some("%GG")),
            ("%%61", Some("%a")),
            ("%C3%A9", Some("é")),
            ("%FF", None),
            ("", Some("")),
        ] {
            assert_eq!(decoded(part).as_deref(), expected, "{part}");
        }
    }
}
