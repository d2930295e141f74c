//! Making keys, and their life.

use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::approvals::ProposedBody;
use super::body::Fields;
use super::call::Call;
use super::openapi::codes::{BODY, ENCRYPTS, GOVERNED, KEY_STORE, NAMES};
use super::openapi::requests::{CreateKeyRequest, CreateSecretRequest};
use super::openapi::texts;
use crate::domain::key::RotationPeriod;
use crate::domain::text::Invalid;
use crate::service::{CreatedKey, KeyStoreRef, NewContent, NewKeyRequest};

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct CreatedKeyBody {
    #[schema(value_type = texts::KeyId)]
    key_id: String,
    #[schema(value_type = texts::Status)]
    key_status: &'static str,
}

impl CreatedKeyBody {
    pub(super) fn new(made: CreatedKey) -> Self {
        Self { key_id: made.id.to_string(), key_status: made.state.as_str() }
    }
}

/// What every new key is asked for with, and what it is made from.
pub(super) fn new_key(fields: &mut Fields, content: impl FnOnce(&mut Fields) -> Result<NewContent, Invalid>) -> Result<NewKeyRequest, Invalid> {
    Ok(NewKeyRequest {
        key_store: KeyStoreRef::Named(fields.name("keyStoreName")?),
        name: fields.name("name")?,
        description: fields.description()?,
        content: content(fields)?,
    })
}

async fn create_key(mut call: Call, content: impl FnOnce(&mut Fields) -> Result<NewContent, Invalid>) -> Response {
    let input = call.input(|fields| new_key(fields, content)).await;
    let outcome = call.service().create_key(call.request(), input).await;
    call.answer(outcome, CreatedKeyBody::new)
}

fn rotation(fields: &mut Fields) -> Result<RotationPeriod, Invalid> {
    fields.optional_number("autoRotationPeriod")?.map_or(Ok(RotationPeriod::NEVER), RotationPeriod::from_days)
}

/// Make confidential data.
#[utoipa::path(
    post, path = "/keys/secrets/create", tag = "Keys",
    request_body = CreateSecretRequest,
    responses((status = 202, description = "asked for", body = ProposedBody), (status = 200, description = "success", body = CreatedKeyBody)),
    extensions(("x-result-codes" = json!([GOVERNED, KEY_STORE, BODY, NAMES, ENCRYPTS])))
)]
pub(super) async fn create_secret(call: Call) -> Response {
    create_key(call, |fields| fields.text("secretValue").map(NewContent::Secret)).await
}

/// Make a symmetric key.
///
/// AES-256, made in the token, never to leave it.
#[utoipa::path(
    post, path = "/keys/symmetric-keys/create", tag = "Keys", operation_id = "create_symmetric_key",
    request_body = CreateKeyRequest,
    responses((status = 202, description = "asked for", body = ProposedBody), (status = 200, description = "success", body = CreatedKeyBody)),
    extensions(("x-result-codes" = json!([GOVERNED, KEY_STORE, BODY, NAMES])))
)]
pub(super) async fn create_symmetric(call: Call) -> Response {
    create_key(call, |fields| rotation(fields).map(NewContent::Symmetric)).await
}

/// Make an asymmetric key.
///
/// RSA-2048, made in the token; the private key never leaves it.
#[utoipa::path(
    post, path = "/keys/asymmetric-keys/create", tag = "Keys", operation_id = "create_asymmetric_key",
    request_body = CreateKeyRequest,
    responses((status = 202, description = "asked for", body = ProposedBody), (status = 200, description = "success", body = CreatedKeyBody)),
    extensions(("x-result-codes" = json!([GOVERNED, KEY_STORE, BODY, NAMES])))
)]
pub(super) async fn create_asymmetric(call: Call) -> Response {
    create_key(call, |fields| rotation(fields).map(NewContent::Asymmetric)).await
}
