//! Key stores.

use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::answer::{NOTHING, local_time};
use super::approvals::ProposedBody;
use super::body::Fields;
use super::call::Call;
use super::openapi::codes::{BODY, CHANGES, GOVERNED, KEY_STORE, NAMES, NOT_EMPTY};
use super::openapi::requests::KeyStoreRequest;
use super::openapi::texts;
use crate::domain::client_checks::{AuthMode, ChecksPolicy, Method};
use crate::domain::key_store::KeyStore;
use crate::domain::text::Invalid;
use crate::service::NewKeyStore;

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct KeyStoreBody {
    #[schema(value_type = texts::KeyStoreId)]
    key_store_id: i64,
    #[schema(value_type = texts::Name)]
    name: String,
    #[schema(value_type = texts::Description)]
    description: String,
    #[schema(value_type = texts::YesNo)]
    ip4_auth_use: &'static str,
    #[schema(value_type = texts::YesNo)]
    mac_auth_use: &'static str,
    #[schema(value_type = texts::YesNo)]
    certificate_auth_use: &'static str,
    #[schema(value_type = texts::AuthMode)]
    auth_mode: &'static str,
    creation_user: String,
    #[schema(value_type = texts::DateTime)]
    creation_datetime: String,
    last_change_user: String,
    #[schema(value_type = texts::DateTime)]
    last_change_datetime: String,
}

const fn yes_no(yes: bool) -> &'static str {
    if yes { "Y" } else { "N" }
}

impl KeyStoreBody {
    pub(super) fn new(key_store: KeyStore, zone: chrono_tz::Tz) -> Self {
        let checks = key_store.checks;
        Self {
            key_store_id: key_store.number.0,
            name: key_store.name.to_string(),
            description: key_store.description.as_str().to_owned(),
            ip4_auth_use: yes_no(checks.uses(Method::Ipv4)),
            mac_auth_use: yes_no(checks.uses(Method::Mac)),
            certificate_auth_use: yes_no(checks.uses(Method::Certificate)),
            auth_mode: checks.mode().as_str(),
            creation_user: key_store.created.user,
            creation_datetime: local_time(key_store.created.at, zone),
            last_change_user: key_store.changed.user,
            last_change_datetime: local_time(key_store.changed.at, zone),
        }
    }
}

fn new_key_store(fields: &mut Fields) -> Result<NewKeyStore, Invalid> {
    let mode = match fields.optional_text("authMode")? {
        None => AuthMode::default(),
        Some(text) => AuthMode::parse(text.expose()).ok_or_else(|| Invalid::new("authMode", "must be \"AND\" or \"OR\""))?,
    };
    let checks = ChecksPolicy::new(fields.yes_no("ip4AuthUse")?, fields.yes_no("macAuthUse")?, fields.yes_no("certificateAuthUse")?, mode)?;
    Ok(NewKeyStore { name: fields.name("name")?, description: fields.description()?, checks })
}

/// Make a key store.
#[utoipa::path(
    post, path = "/keystores", tag = "Key stores", operation_id = "create_key_store",
    request_body = KeyStoreRequest,
    responses((status = 202, description = "asked for", body = ProposedBody), (status = 200, description = "success", body = KeyStoreBody)),
    extensions(("x-result-codes" = json!([GOVERNED, BODY, NAMES])))
)]
pub(super) async fn create(mut call: Call) -> Response {
    let input = call.input(new_key_store).await;
    let zone = call.zone();
    let outcome = call.service().create_key_store(call.request(), input).await;
    call.answer(outcome, |key_store| KeyStoreBody::new(key_store, zone))
}

/// Replace the fields of a key store.
///
/// All of them: what is missing is at its default afterwards, not as it was.
#[utoipa::path(
    put, path = "/keystores/{id}", tag = "Key stores", operation_id = "replace_key_store",
    request_body = KeyStoreRequest,
    responses((status = 202, description = "asked for", body = ProposedBody), (status = 200, description = "success")),
    extensions(("x-result-codes" = json!([GOVERNED, KEY_STORE, BODY, NAMES, CHANGES])))
)]
pub(super) async fn replace(mut call: Call) -> Response {
    let input = call.input(new_key_store).await;
    let outcome = call.service().replace_key_store(call.request(), call.param("id"), input).await;
    call.answer(outcome, NOTHING)
}

/// Delete a key store.
///
/// At once, with its clients. One that holds keys, also keys scheduled to be deleted, stays. Where the token can't be asked now, its own key leaves
/// the token as soon as it can; until then its name stays taken.
#[utoipa::path(
    delete, path = "/keystores/{id}", tag = "Key stores", operation_id = "delete_key_store",
    responses((status = 202, description = "asked for", body = ProposedBody), (status = 200, description = "success")),
    extensions(("x-result-codes" = json!([GOVERNED, KEY_STORE, NOT_EMPTY, CHANGES])))
)]
pub(super) async fn delete(mut call: Call) -> Response {
    call.pass_over_body().await;
    let outcome = call.service().delete_key_store(call.request(), call.param("id")).await;
    call.answer(outcome, NOTHING)
}
