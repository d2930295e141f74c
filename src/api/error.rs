//! From a refusal to an answer: the one place where a status is written. The codes are the table in `domain::result_code`.

use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;

use super::answer::{accepted, failure};
use super::approvals::ProposedBody;
use crate::domain::result_code::ResultCode;
use crate::service::Refusal;
use crate::service::refusal::RETRY_AFTER;

/// The HTTP status that tells the truth about a code.
pub(super) const fn status_of(code: ResultCode) -> StatusCode {
    match code {
        ResultCode::InvalidAppkey
        | ResultCode::UrlNotFound
        | ResultCode::InvalidKeyId
        | ResultCode::InvalidKeyVersion
        | ResultCode::InvalidKeyStore
        | ResultCode::InvalidClientRule
        | ResultCode::InvalidApprovalRequest => StatusCode::NOT_FOUND,
        ResultCode::Unauthorized => StatusCode::UNAUTHORIZED,
        ResultCode::Forbidden
        | ResultCode::ApprovalRequired
        | ResultCode::OwnApprovalRequest
        | ResultCode::Ipv4AuthFailure
        | ResultCode::MacAuthFailure
        | ResultCode::CertificateAuthFailure
        | ResultCode::KeyNotExportable => StatusCode::FORBIDDEN,
        ResultCode::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        ResultCode::TooManyRequests => StatusCode::TOO_MANY_REQUESTS,
        ResultCode::InvalidKeyStatus
        | ResultCode::InvalidKeyVersionStatus
        | ResultCode::KeyUseLimitReached
        | ResultCode::KeyNotRotatable
        | ResultCode::CurrentKeyVersion
        | ResultCode::KeyStoreNotEmpty
        | ResultCode::InvalidClientRuleStatus
        | ResultCode::ImportNotSupported
        | ResultCode::AlreadyExists
        | ResultCode::InvalidApprovalRequestStatus
        | ResultCode::OpenApprovalRequest
        | ResultCode::Conflict => StatusCode::CONFLICT,
        ResultCode::InvalidUserData | ResultCode::MalformedBody | ResultCode::InvalidField | ResultCode::InvalidImportToken => StatusCode::BAD_REQUEST,
        ResultCode::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        ResultCode::HeaderTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        ResultCode::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        ResultCode::ServiceUnavailable => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// `Retry-After` knows whole seconds (RFC 9110, 10.2.3): rounded up, so that whoever waits that long has waited long enough.
pub(super) fn retry_after(wait: Duration) -> HeaderValue {
    HeaderValue::from(wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0)).max(1))
}

/// The answer to a request that was refused; where it was a change that is asked for instead, that.
pub(super) fn refused(refusal: &Refusal, always_http_200: bool) -> Response {
    if let Refusal::Proposed(proposed) = refusal {
        return accepted(ProposedBody::from(*proposed), always_http_200);
    }
    let code = refusal.code();
    let status = if always_http_200 { StatusCode::OK } else { status_of(code) };
    let mut response = failure(status, code.number(), &refusal.to_string());
    let headers = response.headers_mut();
    match refusal {
        Refusal::Unavailable { .. } => drop(headers.insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER.as_secs()))),
        Refusal::TooMany(wait) => drop(headers.insert(header::RETRY_AFTER, retry_after(*wait))),
        Refusal::Code(ResultCode::Unauthorized) => drop(headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"skm\""))),
        Refusal::Code(_) | Refusal::Field(_) | Refusal::Malformed(_) | Refusal::TooLarge(_) | Refusal::Exists { .. } | Refusal::Proposed(_) => {}
    }
    response
}
