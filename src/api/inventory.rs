//! Making key stores, keys and clients.

use axum::response::Response;
use serde::Serialize;

use super::answer::local_time;
use super::body::Fields;
use super::call::Call;
use crate::domain::client_checks::{AuthMode, ChecksPolicy, Method};
use crate::domain::key::RotationPeriod;
use crate::domain::key_store::KeyStore;
use crate::domain::secret::SecretText;
use crate::domain::text::Invalid;
use crate::service::{NewClientRule, NewContent, NewKeyRequest, NewKeyStore, NewRuleValue, RuleSelector};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct KeyStoreBody {
    key_store_id: i64,
    name: String,
    description: String,
    ip4_auth_use: &'static str,
    mac_auth_use: &'static str,
    certificate_auth_use: &'static str,
    auth_mode: &'static str,
    creation_user: String,
    creation_datetime: String,
    last_change_user: String,
    last_change_datetime: String,
}

const fn yes_no(yes: bool) -> &'static str {
    if yes { "Y" } else { "N" }
}

impl KeyStoreBody {
    fn new(key_store: KeyStore, zone: chrono_tz::Tz) -> Self {
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

/// `POST /keystores`.
pub(super) async fn create_key_store(mut call: Call) -> Response {
    let input = call.input(new_key_store).await;
    let zone = call.zone();
    let outcome = call.service().create_key_store(call.request(), input).await;
    call.answer(outcome, |key_store| KeyStoreBody::new(key_store, zone))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CreatedKeyBody {
    key_id: String,
    key_status: &'static str,
}

async fn create_key(mut call: Call, content: impl FnOnce(&mut Fields) -> Result<NewContent, Invalid>) -> Response {
    let input = call
        .input(|fields| {
            Ok(NewKeyRequest {
                key_store: fields.name("keyStoreName")?,
                name: fields.name("name")?,
                description: fields.description()?,
                content: content(fields)?,
            })
        })
        .await;
    let outcome = call.service().create_key(call.request(), input).await;
    call.answer(outcome, |made| CreatedKeyBody { key_id: made.id.to_string(), key_status: made.state.as_str() })
}

fn rotation(fields: &mut Fields) -> Result<RotationPeriod, Invalid> {
    fields.optional_number("autoRotationPeriod")?.map_or(Ok(RotationPeriod::NEVER), RotationPeriod::from_days)
}

/// `POST /keys/secrets/create`.
pub(super) async fn create_secret(call: Call) -> Response {
    create_key(call, |fields| fields.text("secretValue").map(NewContent::Secret)).await
}

/// `POST /keys/symmetric-keys/create`.
pub(super) async fn create_symmetric_key(call: Call) -> Response {
    create_key(call, |fields| rotation(fields).map(NewContent::Symmetric)).await
}

/// `POST /keys/asymmetric-keys/create`.
pub(super) async fn create_asymmetric_key(call: Call) -> Response {
    create_key(call, |fields| rotation(fields).map(NewContent::Asymmetric)).await
}

#[derive(Serialize)]
struct ValueBody {
    value: String,
    description: String,
}

#[derive(Serialize)]
struct CertificateBody {
    name: String,
    description: String,
}

fn new_rule(fields: &mut Fields, value: NewRuleValue) -> Result<NewClientRule, Invalid> {
    Ok(NewClientRule { key_store: fields.name("keyStoreName")?, value, description: fields.description()? })
}

fn value(fields: &mut Fields) -> Result<String, Invalid> {
    Ok(fields.text("value")?.expose().to_owned())
}

/// `POST /auths/ipv4s`.
pub(super) async fn register_ipv4(mut call: Call) -> Response {
    let input = call.input(|fields| value(fields).and_then(|value| new_rule(fields, NewRuleValue::Ipv4(value)))).await;
    let outcome = call.service().register_client(call.request(), input).await;
    call.answer(outcome, |made| ValueBody { value: made.value, description: made.description.as_str().to_owned() })
}

/// `POST /auths/macs`.
pub(super) async fn register_mac(mut call: Call) -> Response {
    let input = call.input(|fields| value(fields).and_then(|value| new_rule(fields, NewRuleValue::Mac(value)))).await;
    let outcome = call.service().register_client(call.request(), input).await;
    call.answer(outcome, |made| ValueBody { value: made.value, description: made.description.as_str().to_owned() })
}

/// `POST /auths/certificates`.
pub(super) async fn register_certificate(mut call: Call) -> Response {
    let input = call
        .input(|fields| {
            let value = NewRuleValue::Certificate { name: fields.name("name")?, password: fields.text("password")?, life_days: fields.number("lifeTime")? };
            new_rule(fields, value)
        })
        .await;
    let outcome = call.service().register_client(call.request(), input).await;
    call.answer(outcome, |made| CertificateBody { name: made.value, description: made.description.as_str().to_owned() })
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DeletionBody {
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    deletion_date_time: String,
}

async fn request_deletion(mut call: Call, method: Method, field: &'static str) -> Response {
    let input = call
        .input(|fields| {
            let key_store = fields.name("keyStoreName")?;
            let value: SecretText = fields.text(field)?;
            Ok(RuleSelector { key_store, method, value: value.expose().to_owned() })
        })
        .await;
    let zone = call.zone();
    let outcome = call.service().request_client_deletion(call.request(), input).await;
    call.answer(outcome, |(shown, due)| {
        let (value, name) = if method == Method::Certificate { (None, Some(shown)) } else { (Some(shown), None) };
        DeletionBody { value, name, deletion_date_time: local_time(due, zone) }
    })
}

/// `PUT /auths/ipv4s/delete`.
pub(super) async fn request_ipv4_deletion(call: Call) -> Response {
    request_deletion(call, Method::Ipv4, "value").await
}

/// `PUT /auths/macs/delete`.
pub(super) async fn request_mac_deletion(call: Call) -> Response {
    request_deletion(call, Method::Mac, "value").await
}

/// `PUT /auths/certificates/delete`.
pub(super) async fn request_certificate_deletion(call: Call) -> Response {
    request_deletion(call, Method::Certificate, "name").await
}
