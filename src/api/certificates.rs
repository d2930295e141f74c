//! Certificates: a client's `.p12`, signing requests; and, for everybody, the authorities and their revocation lists.

use axum::extract::{Path, Request, State};
use axum::http::{HeaderValue, header};
use axum::response::Response;
use bytes::Bytes;
use serde::Serialize;
use utoipa::ToSchema;

use super::Api;
use super::answer::{file, local_time, public_file};
use super::approvals::ProposedBody;
use super::call::Call;
use super::context;
use super::error::refused;
use super::openapi::PUBLIC_TAG;
use super::openapi::codes::{BODY, CHANGES, ENTRY, ENTRY_STATUS, GOVERNED, KEY_STORE, NAMES, PUBLIC, QUERY};
use super::openapi::requests::{CertificateFileQuery, SignCertificateRequest};
use super::openapi::texts;
use crate::domain::result_code::ResultCode;
use crate::domain::text::{Invalid, Name};
use crate::service::pki::certificate_pem;
use crate::service::{CertificateSelector, REVOCATION_LIST_MAX_AGE, Refusal, SigningRequest};

const PKCS12: HeaderValue = HeaderValue::from_static("application/x-pkcs12");
/// RFC 8555, 9.1.
const PEM_CHAIN: HeaderValue = HeaderValue::from_static("application/pem-certificate-chain");
/// RFC 5280, 4.2.1.13.
const REVOCATION_LIST: HeaderValue = HeaderValue::from_static("application/pkix-crl");

fn wanted(call: &Call) -> Result<CertificateSelector, Refusal> {
    let name = |field: &'static str| -> Result<Name, Refusal> {
        let text = call.query(field)?.ok_or_else(|| Invalid::new(field, "is required"))?;
        Ok(Name::parse(field, &text)?)
    };
    Ok(CertificateSelector { key_store: name("keyStoreName")?.into(), name: name("name")? })
}

/// Download a client's `.p12`.
///
/// The file itself, without an envelope, encrypted with the password that was given when it was made. Needs `API.ADMIN`.
#[utoipa::path(
    get, path = "/auths/certificates/download", tag = "Certificates", operation_id = "download_certificate",
    params(CertificateFileQuery),
    responses((status = 200, description = "The file (RFC 7292).", body = [u8], content_type = "application/x-pkcs12")),
    extensions(("x-result-codes" = json!([KEY_STORE, QUERY, ENTRY, ENTRY_STATUS])))
)]
pub(super) async fn download(mut call: Call) -> Response {
    call.pass_over_body().await;
    let input = wanted(&call);
    match call.service().download_certificate(call.request(), input).await {
        Ok(found) => {
            let mut response = file(PKCS12, found.p12);
            response.headers_mut().insert(header::CONTENT_DISPOSITION, attachment(found.name.as_str()));
            response
        }
        Err(refusal) => call.refuse(&refusal),
    }
}

/// `attachment` with the file's name in ASCII for old clients and as it is for others (RFC 6266, appendix D; RFC 8187).
fn attachment(name: &str) -> HeaderValue {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let plain: String = name.chars().map(|c| if u8::try_from(c).is_ok_and(is_plain) { c } else { '_' }).collect();
    let encoded: String = name.bytes().map(|byte| if is_plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect();
    let value = format!("attachment; filename=\"{plain}.p12\"; filename*=UTF-8''{encoded}.p12");
    HeaderValue::try_from(value).unwrap_or(HeaderValue::from_static("attachment"))
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct SignedCertificateBody {
    #[schema(value_type = texts::Name)]
    name: String,
    #[schema(value_type = texts::Description)]
    description: String,
    /// PEM.
    certificate: String,
    /// PEM.
    ca_certificate: String,
    #[schema(value_type = texts::DateTime)]
    expiration_date: String,
}

/// Admit a client certificate for a key that the client keeps.
///
/// Of the request (PKCS#10, PEM) only the public key is taken; its signature must be right.
#[utoipa::path(
    post, path = "/auths/certificates/sign", tag = "Certificates", operation_id = "sign_certificate",
    request_body = SignCertificateRequest,
    responses((status = 202, description = "asked for", body = ProposedBody), (status = 200, description = "success", body = SignedCertificateBody)),
    extensions(("x-result-codes" = json!([GOVERNED, KEY_STORE, BODY, NAMES, CHANGES])))
)]
pub(super) async fn sign(mut call: Call) -> Response {
    let input = call
        .input(|fields| {
            Ok(SigningRequest {
                key_store: fields.name("keyStoreName")?.into(),
                name: fields.name("name")?,
                csr: fields.text("csr")?,
                life_days: fields.number("lifeTime")?,
                description: fields.description()?,
            })
        })
        .await;
    let zone = call.zone();
    let outcome = call.service().sign_certificate(call.request(), input).await;
    call.answer(outcome, |signed| SignedCertificateBody {
        name: signed.name.to_string(),
        description: signed.description.as_str().to_owned(),
        certificate: certificate_pem(&signed.certificate),
        ca_certificate: certificate_pem(&signed.authority),
        expiration_date: local_time(signed.not_after, zone),
    })
}

/// Read the certificates of the authorities that are trusted now.
///
/// For everybody: whoever connects wants them beforehand.
#[utoipa::path(
    get, path = "/pki/ca.pem", tag = PUBLIC_TAG, security(()),
    responses((status = 200, description = "PEM, one after the other.", body = String, content_type = "application/pem-certificate-chain")),
    extensions(("x-result-codes" = json!([PUBLIC])))
)]
pub(super) async fn authorities(State(api): State<Api>, request: Request) -> Response {
    let caller = context::caller(&api, &request.into_parts().0);
    match api.service.published_authorities(&caller) {
        Ok(trusted) => {
            let pem: String = trusted.iter().map(|der| certificate_pem(der)).collect();
            public_file(PEM_CHAIN, pem.into(), REVOCATION_LIST_MAX_AGE)
        }
        Err(refusal) => refused(&refusal, api.settings.always_http_200),
    }
}

/// Read the revocation list of an authority.
///
/// DER (RFC 5280, 5), for everybody; it is named in the certificates that the authority issues.
#[utoipa::path(
    get, path = "/pki/crl/{name}", tag = PUBLIC_TAG, security(()),
    params(("name" = String, Path, description = "The authority's number: `1.crl`.", pattern = "^[1-9][0-9]{0,9}\\.crl$", example = "1.crl")),
    responses((status = 200, description = "The list.", body = [u8], content_type = "application/pkix-crl")),
    extensions(("x-result-codes" = json!([PUBLIC])))
)]
pub(super) async fn revocation_list(State(api): State<Api>, Path(name): Path<String>, request: Request) -> Response {
    let caller = context::caller(&api, &request.into_parts().0);
    match list(&api, &caller, &name).await {
        Ok(der) => public_file(REVOCATION_LIST, der, REVOCATION_LIST_MAX_AGE),
        Err(refusal) => refused(&refusal, api.settings.always_http_200),
    }
}

async fn list(api: &Api, caller: &crate::domain::caller::Caller, name: &str) -> Result<Bytes, Refusal> {
    let number = name.strip_suffix(".crl").filter(|digits| !digits.starts_with(['0', '+'])).and_then(|digits| digits.parse().ok());
    api.service.revocation_list(caller, number.ok_or(ResultCode::UrlNotFound)?).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_are_safe_and_whole() {
        assert_eq!(attachment("laptop-1"), "attachment; filename=\"laptop-1.p12\"; filename*=UTF-8''laptop-1.p12");
        assert_eq!(attachment("a\"; b/é"), "attachment; filename=\"a___b__.p12\"; filename*=UTF-8''a%22%3B%20b%2F%C3%A9.p12");
    }
}
