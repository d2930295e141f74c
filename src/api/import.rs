//! Keys from outside.

use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use utoipa::ToSchema;

use super::answer::{local_time, success};
use super::approvals::ProposedBody;
use super::body::Fields;
use super::call::Call;
use super::keys::{CreatedKeyBody, new_key};
use super::openapi::codes::{BODY, CHANGES, GOVERNED, IMPORTS, KEY_STORE, NAMES, SPENDS};
use super::openapi::requests::ImportRequest;
use super::openapi::texts;
use crate::domain::key_material::{self, KEY_DATA};
use crate::domain::secret::SecretText;
use crate::domain::text::Invalid;
use crate::service::{NewContent, OaepHash, WRAPPED_KEY_BYTES, WrappedKey};

const IMPORT_TOKEN: &str = "importToken";
const WRAPPED_KEY: &str = "wrappedKey";

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ImportParametersBody<'a> {
    #[schema(value_type = texts::Base64)]
    public_key: String,
    import_token: &'a str,
    key_algorithm: &'static str,
    wrapping_algorithm: &'static str,
    hash_algorithm: &'static str,
    mgf_algorithm: &'static str,
    #[schema(value_type = texts::DateTime)]
    expiration_datetime: String,
}

/// The names of a hash, and of MGF1 with it.
const fn hash_names(hash: OaepHash) -> (&'static str, &'static str) {
    match hash {
        OaepHash::Sha1 => ("SHA-1", "MGF1-SHA-1"),
        OaepHash::Sha256 => ("SHA-256", "MGF1-SHA-256"),
    }
}

/// Prepare the import of a wrapped key.
///
/// A fresh RSA public key (DER `SubjectPublicKeyInfo`) of the token, and a token that stands for it, good for one import. The key is to be wrapped
/// with `wrappingAlgorithm` and the hash that is named: where the HSM can do no better, that is SHA-1.
#[utoipa::path(
    get, path = "/keys/symmetric-keys/import-parameters", tag = "Import", operation_id = "import_parameters",
    responses((status = 200, description = "success", body = ImportParametersBody<'static>)),
    extensions(("x-result-codes" = json!([IMPORTS, CHANGES])))
)]
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

/// Bring in an AES-256 key.
///
/// Either `keyData`, or `importToken` and `wrappedKey`: a wrapped key is unwrapped inside the token. An imported key doesn't rotate.
#[utoipa::path(
    post, path = "/keys/symmetric-keys/import", tag = "Import", operation_id = "import_key",
    request_body = ImportRequest,
    responses((status = 202, description = "asked for", body = ProposedBody), (status = 200, description = "success", body = CreatedKeyBody)),
    extensions(("x-result-codes" = json!([GOVERNED, KEY_STORE, BODY, NAMES, CHANGES, IMPORTS, SPENDS])))
)]
pub(super) async fn import(mut call: Call) -> Response {
    let input = call.input(|fields| new_key(fields, content)).await;
    let outcome = call.service().import_key(call.request(), input).await;
    call.answer(outcome, CreatedKeyBody::new)
}
