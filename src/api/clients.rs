//! The clients of a key store: IPv4, MAC and certificate entries.

use axum::response::Response;
use serde::Serialize;

use super::answer::local_time;
use super::body::Fields;
use super::call::Call;
use crate::domain::client_checks::Method;
use crate::domain::clock::Timestamp;
use crate::domain::secret::SecretText;
use crate::domain::text::Invalid;
use crate::service::{NewClientRule, NewRuleValue, Refusal, RuleSelector};

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
    Ok(NewClientRule { key_store: fields.name("keyStoreName")?.into(), value, description: fields.description()? })
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

/// Which entry is meant.
async fn selector(call: &mut Call, method: Method) -> Result<RuleSelector, Refusal> {
    let field = if method == Method::Certificate { "name" } else { "value" };
    call.input(|fields| {
        let key_store = fields.name("keyStoreName")?.into();
        let value: SecretText = fields.text(field)?;
        Ok(RuleSelector { key_store, method, value: value.expose().to_owned(), seen: None })
    })
    .await
}

/// The entry as it is shown, in the field that its method has.
fn named(method: Method, shown: String) -> (Option<String>, Option<String>) {
    if method == Method::Certificate { (None, Some(shown)) } else { (Some(shown), None) }
}

impl DeletionBody {
    fn new(method: Method, (shown, at): (String, Timestamp), zone: chrono_tz::Tz) -> Self {
        let (value, name) = named(method, shown);
        Self { value, name, deletion_date_time: local_time(at, zone) }
    }
}

async fn request_deletion(mut call: Call, method: Method) -> Response {
    let input = selector(&mut call, method).await;
    let zone = call.zone();
    let outcome = call.service().request_client_deletion(call.request(), input).await;
    call.answer(outcome, |asked| DeletionBody::new(method, asked, zone))
}

async fn delete(mut call: Call, method: Method) -> Response {
    let input = selector(&mut call, method).await;
    let zone = call.zone();
    let outcome = call.service().delete_client(call.request(), input).await;
    call.answer(outcome, |deleted| DeletionBody::new(method, deleted, zone))
}

#[derive(Serialize)]
struct RestoredBody {
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    status: &'static str,
}

async fn restore(mut call: Call, method: Method) -> Response {
    let input = selector(&mut call, method).await;
    let outcome = call.service().restore_client(call.request(), input).await;
    call.answer(outcome, |(shown, state)| {
        let (value, name) = named(method, shown);
        RestoredBody { value, name, status: state.as_str() }
    })
}

/// `PUT /auths/ipv4s/delete`.
pub(super) async fn request_ipv4_deletion(call: Call) -> Response {
    request_deletion(call, Method::Ipv4).await
}

/// `PUT /auths/macs/delete`.
pub(super) async fn request_mac_deletion(call: Call) -> Response {
    request_deletion(call, Method::Mac).await
}

/// `PUT /auths/certificates/delete`.
pub(super) async fn request_certificate_deletion(call: Call) -> Response {
    request_deletion(call, Method::Certificate).await
}

/// `POST /auths/ipv4s/delete`.
pub(super) async fn delete_ipv4(call: Call) -> Response {
    delete(call, Method::Ipv4).await
}

/// `POST /auths/macs/delete`.
pub(super) async fn delete_mac(call: Call) -> Response {
    delete(call, Method::Mac).await
}

/// `POST /auths/certificates/delete`.
pub(super) async fn delete_certificate(call: Call) -> Response {
    delete(call, Method::Certificate).await
}

/// `PUT /auths/ipv4s/restore`.
pub(super) async fn restore_ipv4(call: Call) -> Response {
    restore(call, Method::Ipv4).await
}

/// `PUT /auths/macs/restore`.
pub(super) async fn restore_mac(call: Call) -> Response {
    restore(call, Method::Mac).await
}

/// `PUT /auths/certificates/restore`.
pub(super) async fn restore_certificate(call: Call) -> Response {
    restore(call, Method::Certificate).await
}
