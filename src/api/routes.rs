//! Which routes exist in which version.

use axum::Router;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Version as HttpVersion, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::{delete, get, post, put};

use super::context::{self, Version, new_request_id};
use super::error::refused;
use super::progress::watch_body;
use super::{Api, certificates, clients, data, import, inventory, key_stores, keys, life, oauth};
use crate::domain::result_code::ResultCode;
use crate::service::Refusal;
use crate::telemetry::redaction;

/// The header that names the request in the answer, as in log and audit record.
const REQUEST_ID_HEADER: &str = "x-request-id";

/// Routes of all versions.
fn data_routes() -> Router<Api> {
    Router::new()
        .route("/confirm", get(data::confirm))
        .route("/secrets/{keyid}", get(data::read_secret))
        .route("/symmetric-keys/{keyid}/encrypt", post(data::encrypt))
        .route("/symmetric-keys/{keyid}/decrypt", post(data::decrypt))
        .route("/symmetric-keys/{keyid}/create-local-key", post(data::create_local_key))
        .route("/symmetric-keys/{keyid}/symmetric-key", get(data::export_symmetric_key))
        .route("/asymmetric-keys/{keyid}/sign", post(data::sign))
        .route("/asymmetric-keys/{keyid}/verify", post(data::verify))
        .route("/asymmetric-keys/{keyid}/sign-standard", post(data::sign_standard))
        .route("/asymmetric-keys/{keyid}/verify-standard", post(data::verify_standard))
        .route("/asymmetric-keys/{keyid}/privateKey", get(data::export_private_key))
        .route("/asymmetric-keys/{keyid}/publicKey", get(data::public_key))
}

/// Changes of key stores and keys (v1.2 and v1.3).
fn change_routes() -> Router<Api> {
    Router::new()
        .route("/secrets/{keyid}", put(data::change_secret))
        .route("/keystores", post(key_stores::create))
        .route("/keystores/{id}", put(key_stores::replace).delete(key_stores::delete))
        .route("/keys/secrets/create", post(keys::create_secret))
        .route("/keys/symmetric-keys/create", post(keys::create_symmetric))
        .route("/keys/asymmetric-keys/create", post(keys::create_asymmetric))
        .route("/keys/{keyid}/delete", put(life::request_key_deletion))
        .route("/keys/{keyid}", delete(life::delete_key))
}

/// Changes of a key store's clients (v1.2 and v1.3).
fn client_routes() -> Router<Api> {
    Router::new()
        .route("/auths/ipv4s", post(clients::register_ipv4))
        .route("/auths/macs", post(clients::register_mac))
        .route("/auths/certificates", post(clients::register_certificate))
        .route("/auths/ipv4s/delete", put(clients::request_ipv4_deletion).post(clients::delete_ipv4))
        .route("/auths/macs/delete", put(clients::request_mac_deletion).post(clients::delete_mac))
        .route("/auths/certificates/delete", put(clients::request_certificate_deletion).post(clients::delete_certificate))
}

/// Reading the inventory (v1.0, v1.2 and v1.3).
fn inventory_routes() -> Router<Api> {
    Router::new()
        .route("/keystores", get(inventory::key_stores))
        .route("/keystores/{id}", get(inventory::key_store))
        .route("/keystores/{id}/keys", get(inventory::keys))
        .route("/keystores/{id}/keys/{keyid}", get(inventory::key))
        .route("/keystores/{id}/ips", get(inventory::ips))
        .route("/keystores/{id}/macs", get(inventory::macs))
        .route("/keystores/{id}/certificates", get(inventory::certificates))
}

/// Our own (v1.3): the life of keys, versions and clients.
fn life_routes() -> Router<Api> {
    Router::new()
        .route("/keys/{keyid}", put(life::change_key))
        .route("/keys/{keyid}/rotate", post(life::rotate_key))
        .route("/keys/{keyid}/restore", put(life::restore_key))
        .route("/keys/{keyid}/versions", get(life::versions))
        .route("/keys/{keyid}/versions/{version}/delete", put(life::request_version_deletion))
        .route("/keys/{keyid}/versions/{version}/restore", put(life::restore_version))
        .route("/keys/{keyid}/versions/{version}", delete(life::delete_version))
        .route("/auths/ipv4s/restore", put(clients::restore_ipv4))
        .route("/auths/macs/restore", put(clients::restore_mac))
        .route("/auths/certificates/restore", put(clients::restore_certificate))
}

/// Our own (v1.3): import.
fn import_routes() -> Router<Api> {
    Router::new().route("/keys/symmetric-keys/import-parameters", get(import::parameters)).route("/keys/symmetric-keys/import", post(import::import))
}

/// Our own (v1.3): certificates.
fn certificate_routes() -> Router<Api> {
    Router::new().route("/auths/certificates/download", get(certificates::download)).route("/auths/certificates/sign", post(certificates::sign))
}

fn routes_of(version: Version) -> Router<Api> {
    let mut routes = data_routes();
    if version.has_inventory() {
        routes = routes.merge(inventory_routes());
    }
    if version.has_changes() {
        routes = routes.merge(change_routes()).merge(client_routes());
    }
    if version.has_our_own() {
        routes = routes.merge(life_routes()).merge(import_routes()).merge(certificate_routes());
    }
    routes.layer(axum::Extension(version))
}

/// The whole API.
pub fn router(api: Api) -> Router {
    let mut router = Router::new();
    for (name, version) in [("v1.0", Version::V1_0), ("v1.1", Version::V1_1), ("v1.2", Version::V1_2), ("v1.3", Version::V1_3)] {
        router = router.nest(&format!("/keymanager/{name}/appkey/{{appkey}}"), routes_of(version));
    }
    router
        .route("/oauth2/token/create", post(oauth::create))
        .route("/oauth2/token/revoke", post(oauth::revoke))
        .route("/pki/ca.pem", get(certificates::authorities))
        .route("/pki/crl/{name}", get(certificates::revocation_list))
        .fallback(unknown_route)
        .method_not_allowed_fallback(unknown_method)
        .layer(from_fn_with_state(api.clone(), around))
        .with_state(api)
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
