//! Making keys, and their life.

use axum::response::Response;
use serde::Serialize;

use super::body::Fields;
use super::call::Call;
use crate::domain::key::RotationPeriod;
use crate::domain::text::Invalid;
use crate::service::{CreatedKey, KeyStoreRef, NewContent, NewKeyRequest};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CreatedKeyBody {
    key_id: String,
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

/// `POST /keys/secrets/create`.
pub(super) async fn create_secret(call: Call) -> Response {
    create_key(call, |fields| fields.text("secretValue").map(NewContent::Secret)).await
}

/// `POST /keys/symmetric-keys/create`.
pub(super) async fn create_symmetric(call: Call) -> Response {
    create_key(call, |fields| rotation(fields).map(NewContent::Symmetric)).await
}

/// `POST /keys/asymmetric-keys/create`.
pub(super) async fn create_asymmetric(call: Call) -> Response {
    create_key(call, |fields| rotation(fields).map(NewContent::Asymmetric)).await
}
