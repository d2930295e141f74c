//! The token endpoints: OAuth 2 shapes, no envelope (RFC 6749, 4.4 and 5; RFC 7009).

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use utoipa::ToSchema;
use zeroize::Zeroizing;

use super::answer::json_response;
use super::error::{retry_after, status_of};
use super::openapi::TOKENS_TAG;
use super::openapi::requests::{RevocationForm, TokenForm};
use super::{Api, body, context};
use crate::domain::ids::RequestId;
use crate::domain::result_code::ResultCode;
use crate::domain::secret::SecretText;
use crate::service::{Refusal, TokenRequest};

#[derive(Serialize, ToSchema)]
struct TokenBody<'a> {
    access_token: &'a str,
    token_type: &'static str,
    expires_in: u32,
}

#[derive(Serialize, ToSchema)]
struct ErrorBody<'a> {
    error: &'static str,
    error_description: &'a str,
}

#[derive(Serialize, ToSchema)]
struct RevokedBody {}

fn json<T: Serialize>(status: StatusCode, value: &T) -> Response {
    let mut bytes = Zeroizing::new(Vec::new());
    // Strings and numbers always have a JSON form.
    let written = serde_json::to_writer(&mut *bytes, value);
    debug_assert!(written.is_ok());
    json_response(status, bytes)
}

/// What is wrong, in OAuth 2's words (RFC 6749, 5.2).
fn failure(refusal: &Refusal, error: &'static str) -> Response {
    let error = match refusal.code() {
        ResultCode::Unauthorized => "invalid_client",
        ResultCode::TooManyRequests => "temporarily_unavailable",
        _ => error,
    };
    let mut response = json(status_of(refusal.code()), &ErrorBody { error, error_description: &refusal.to_string() });
    match refusal {
        Refusal::Code(ResultCode::Unauthorized) => {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"skm\", charset=\"UTF-8\""));
        }
        Refusal::Unavailable { reason } => {
            tracing::warn!(%reason, "a token request was answered that the service is unavailable");
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(1));
        }
        Refusal::TooMany(wait) => drop(response.headers_mut().insert(header::RETRY_AFTER, retry_after(*wait))),
        Refusal::Code(_) | Refusal::Field(_) | Refusal::Malformed(_) | Refusal::TooLarge(_) | Refusal::Exists { .. } | Refusal::Proposed(_) => {}
    }
    response
}

/// Access key ID and secret of HTTP Basic (RFC 7617), form-decoded as OAuth 2 wants it (RFC 6749, 2.3.1): both are letters,
/// digits, `-` and `_`, which that doesn't change.
fn basic(headers: &HeaderMap) -> Option<(String, SecretText)> {
    let value = context::single(headers, header::AUTHORIZATION.as_str()).ok().flatten()?;
    let (scheme, encoded) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = Zeroizing::new(STANDARD.decode(encoded.trim()).ok()?);
    let (id, secret) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
    Some((id.to_owned(), SecretText::new(secret.to_owned())))
}

/// A field of a form that comes exactly once.
fn field(form: &[(String, SecretText)], name: &str) -> Result<SecretText, Refusal> {
    let mut values = form.iter().filter(|(key, _)| key == name).map(|(_, value)| value);
    match (values.next(), values.next()) {
        (Some(value), None) => Ok(value.clone()),
        (None, _) => Err(Refusal::Malformed(format!("{name} is required"))),
        (Some(_), Some(_)) => Err(Refusal::Malformed(format!("{name} comes twice"))),
    }
}

async fn form(headers: &HeaderMap, body: Body, api: &Api) -> Result<Vec<(String, SecretText)>, Refusal> {
    if !body::media_type(headers).is_some_and(|essence| essence.eq_ignore_ascii_case("application/x-www-form-urlencoded")) {
        return Err(ResultCode::UnsupportedMediaType.into());
    }
    let bytes = body::read(body, &api.bodies, api.settings.body_limit, api.settings.request_timeout).await?;
    serde_urlencoded::from_bytes(&bytes).map_err(|_| Refusal::Malformed("not form-encoded".to_owned()))
}

/// Make a bearer token for v1.3.
///
/// RFC 6749, 4.4: access key ID and secret by HTTP Basic, answers in OAuth 2's shapes. A token lives as long as its access key says, 60
/// to 86,400 s. An access key has at most 1,000 live ones: one more ends the oldest.
#[utoipa::path(
    post, path = "/oauth2/token/create", tag = TOKENS_TAG, operation_id = "create_token",
    security(("AccessKey" = [])),
    request_body(content = TokenForm, content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 200, description = "The token.", body = TokenBody<'static>),
        (status = 400, description = "invalid_request, unsupported_grant_type", body = ErrorBody<'static>),
        (status = 401, description = "invalid_client", body = ErrorBody<'static>, headers(("WWW-Authenticate" = String, description = "`Basic`"))),
        (status = 413, description = "invalid_request: at most 256 KiB", body = ErrorBody<'static>),
        (status = 415, description = "invalid_request: must be `application/x-www-form-urlencoded`", body = ErrorBody<'static>),
        (status = 429, description = "temporarily_unavailable", body = ErrorBody<'static>, headers(("Retry-After" = u32, description = "Seconds to wait"))),
        (status = 431, description = "The header is too large. Found out before the route, so in the envelope."),
        (
            status = 503,
            description = "invalid_request: the service can't be used now",
            body = ErrorBody<'static>,
            headers(("Retry-After" = u32, description = "Seconds to wait")),
        ),
    )
)]
pub(super) async fn create(State(api): State<Api>, request: axum::extract::Request) -> Response {
    let (parts, body) = request.into_parts();
    let asked = token_request(&api, &parts);
    // What is wrong with a form says nothing about credentials, so whoever sent it is told.
    let grant = form(&parts.headers, body, &api).await.and_then(|form| field(&form, "grant_type"));
    match grant {
        Err(refusal) => failure(&refusal, "invalid_request"),
        Ok(grant) if grant.expose() != "client_credentials" => {
            json(StatusCode::BAD_REQUEST, &ErrorBody { error: "unsupported_grant_type", error_description: "grant_type must be client_credentials" })
        }
        Ok(_) => match api.service.create_token(asked).await {
            Ok(issued) => json(StatusCode::OK, &TokenBody { access_token: issued.token.expose(), token_type: "Bearer", expires_in: issued.expires_in }),
            Err(refusal) => failure(&refusal, "invalid_request"),
        },
    }
}

/// Revoke a bearer token.
///
/// RFC 7009. A token that isn't there, or is another access key's, is no error.
#[utoipa::path(
    post, path = "/oauth2/token/revoke", tag = TOKENS_TAG, operation_id = "revoke_token",
    security(("AccessKey" = [])),
    request_body(content = RevocationForm, content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 200, description = "It is revoked, on every node within a second.", body = RevokedBody),
        (status = 400, description = "invalid_request, unsupported_grant_type", body = ErrorBody<'static>),
        (status = 401, description = "invalid_client", body = ErrorBody<'static>, headers(("WWW-Authenticate" = String, description = "`Basic`"))),
        (status = 413, description = "invalid_request: at most 256 KiB", body = ErrorBody<'static>),
        (status = 415, description = "invalid_request: must be `application/x-www-form-urlencoded`", body = ErrorBody<'static>),
        (status = 429, description = "temporarily_unavailable", body = ErrorBody<'static>, headers(("Retry-After" = u32, description = "Seconds to wait"))),
        (status = 431, description = "The header is too large. Found out before the route, so in the envelope."),
        (
            status = 503,
            description = "invalid_request: the service can't be used now",
            body = ErrorBody<'static>,
            headers(("Retry-After" = u32, description = "Seconds to wait")),
        ),
    )
)]
pub(super) async fn revoke(State(api): State<Api>, request: axum::extract::Request) -> Response {
    let (parts, body) = request.into_parts();
    let asked = token_request(&api, &parts);
    let token = form(&parts.headers, body, &api).await.and_then(|form| field(&form, "token"));
    match token {
        Err(refusal) => failure(&refusal, "invalid_request"),
        Ok(token) => match api.service.revoke_token(asked, token).await {
            Ok(()) => json(StatusCode::OK, &RevokedBody {}),
            Err(refusal) => failure(&refusal, "invalid_request"),
        },
    }
}

fn token_request(api: &Api, parts: &axum::http::request::Parts) -> TokenRequest {
    let id = parts.extensions.get::<RequestId>().copied().unwrap_or_else(context::new_request_id);
    TokenRequest { id, caller: context::caller(api, parts), credentials: basic(&parts.headers) }
}
