//! Keys from outside.

use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use super::answer::{local_time, success};
use super::body::Fields;
use super::call::Call;
use super::keys::{CreatedKeyBody, new_key};
use crate::domain::key_material::{self, KEY_DATA};
use crate::domain::secret::SecretText;
use crate::domain::text::Invalid;
use crate::service::{NewContent, OaepHash, WRAPPED_KEY_BYTES, WrappedKey};

const IMPORT_TOKEN: &str = "importToken";
const WRAPPED_KEY: &str = "wrappedKey";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ImportParametersBody<'a> {
    public_key: String,
    import_token: &'a str,
    key_algorithm: &'static str,
    wrapping_algorithm: &'static str,
    hash_algorithm: &'static str,
    mgf_algorithm: &'static str,
    expiration_datetime: String,
}

/// The names of a hash, and of MGF1 with it.
const fn hash_names(hash: OaepHash) -> (&'static str, &'static str) {
    match hash {
        OaepHash::Sha1 => ("SHA-1", "MGF1-SHA-1"),
        OaepHash::Sha256 => ("SHA-256", "MGF1-SHA-256"),
    }
}

/// `GET /keys/symmetric-keys/import-parameters`.
pub(super) async fn parameters(call: Call) -> Response {
    let zone = call.zone();
    match call.service().prepare_import(call.request()).await {
        Ok(parameters) => {
            let (hash_algorithm, mgf_algorithm) = hash_names(parameters.hash);
            success(ImportParametersBody {
                public_key: STANDARD.encode(&parameters.public_key),
                import_token: parameters.token.expose(),
                key_algorithm: "RSA-2048",
                wrapping_algorithm: "RSAES-OAEP",
                hash_algorithm,
                mgf_algorithm,
                expiration_datetime: local_time(parameters.expires, zone),
            })
        }
        Err(refusal) => call.refuse(&refusal),
    }
}

fn wrapped_key(token: SecretText, wrapped: &SecretText) -> Result<NewContent, Invalid> {
    let bytes = STANDARD.decode(wrapped.expose()).ok().filter(|bytes| bytes.len() == WRAPPED_KEY_BYTES);
    let wrapped = bytes.ok_or_else(|| Invalid::new(WRAPPED_KEY, format!("must be Base64 of exactly {WRAPPED_KEY_BYTES} bytes")))?;
    Ok(NewContent::WrappedSymmetric(WrappedKey { token, wrapped }))
}

/// Either `keyData`, or `importToken` and `wrappedKey`.
fn content(fields: &mut Fields) -> Result<NewContent, Invalid> {
    let (plain, token, wrapped) = (fields.optional_text(KEY_DATA)?, fields.optional_text(IMPORT_TOKEN)?, fields.optional_text(WRAPPED_KEY)?);
    match (plain, token, wrapped) {
        (Some(plain), None, None) => key_material::from_base64(&plain).map(NewContent::ImportedSymmetric),
        (None, Some(token), Some(wrapped)) => wrapped_key(token, &wrapped),
        (None, None, None) => Err(Invalid::new(KEY_DATA, "is required, or importToken and wrappedKey")),
        (None, None, Some(_)) => Err(Invalid::new(IMPORT_TOKEN, "is required with wrappedKey")),
        (None, Some(_), None) => Err(Invalid::new(WRAPPED_KEY, "is required with importToken")),
        (Some(_), _, _) => Err(Invalid::new(KEY_DATA, "must not come with importToken or wrappedKey")),
    }
}

/// `POST /keys/symmetric-keys/import`.
pub(super) async fn import(mut call: Call) -> Response {
    let input = call.input(|fields| new_key(fields, content)).await;
    let outcome = call.service().import_key(call.request(), input).await;
    call.answer(outcome, CreatedKeyBody::new)
}
