//! Certificates: a client's `.p12`, signing requests; and, for everybody, the authorities and their revocation lists.

use axum::extract::{Path, Request, State};
use axum::http::{HeaderValue, header};
use axum::response::Response;
use bytes::Bytes;
use serde::Serialize;

use super::Api;
use super::answer::{file, local_time, public_file};
use super::call::Call;
use super::context;
use super::error::refused;
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

/// `GET /auths/certificates/download`: the `.p12` itself; errors are in the envelope.
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

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SignedBody {
    name: String,
    description: String,
    certificate: String,
    ca_certificate: String,
    expiration_date: String,
}

/// `POST /auths/certificates/sign`.
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
    call.answer(outcome, |signed| SignedBody {
        name: signed.name.to_string(),
        description: signed.description.as_str().to_owned(),
        certificate: certificate_pem(&signed.certificate),
        ca_certificate: certificate_pem(&signed.authority),
        expiration_date: local_time(signed.not_after, zone),
    })
}

/// `GET /pki/ca.pem`: the certificates of all authorities that are trusted now, for everybody.
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

/// `GET /pki/crl/1.crl`: the revocation list of authority 1, for everybody.
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
