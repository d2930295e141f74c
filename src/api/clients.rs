//! The clients of a key store: IPv4, MAC and certificate entries.

use axum::response::Response;
use serde::Serialize;

use super::answer::local_time;
use super::body::Fields;
use super::call::Call;
use crate::domain::client_checks::Method;
use crate::domain::secret::SecretText;
use crate::domain::text::Invalid;
use crate::service::{NewClientRule, NewRuleValue, RuleSelector};

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
