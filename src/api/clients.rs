//! The clients of a key store: IPv4, MAC and certificate entries.

use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::answer::local_time;
use super::approvals::ProposedBody;
use super::body::Fields;
use super::call::Call;
use super::openapi::codes::{BODY, CHANGES, ENCRYPTS, ENTRY, ENTRY_STATUS, GOVERNED, KEY_STORE, NAMES};
use super::openapi::requests::{CertificateSelector, Ipv4Selector, MacSelector, NewCertificateRequest, NewIpv4Request, NewMacRequest};
use super::openapi::texts;
use crate::domain::client_checks::Method;
use crate::domain::clock::Timestamp;
use crate::domain::secret::SecretText;
use crate::domain::text::Invalid;
use crate::service::{NewClientRule, NewRuleValue, Refusal, RuleSelector};

#[derive(Serialize, ToSchema)]
struct EntryBody {
    value: String,
    #[schema(value_type = texts::Description)]
    description: String,
}

#[derive(Serialize, ToSchema)]
struct CertificateEntryBody {
    #[schema(value_type = texts::Name)]
    name: String,
    #[schema(value_type = texts::Description)]
    description: String,
}

fn new_rule(fields: &mut Fields, value: NewRuleValue) -> Result<NewClientRule, Invalid> {
    Ok(NewClientRule { key_store: fields.name("keyStoreName")?.into(), value, description: fields.description()? })
}

fn value(fields: &mut Fields) -> Result<String, Invalid> {
    Ok(fields.text("value")?.expose().to_owned())
}

/// Admit an IPv4 address or block.
#[utoipa::path(
    post, path = "/auths/ipv4s", tag = "Clients",
    request_body = NewIpv4Request,
    responses((status = 202, description = "asked for", body = ProposedBody), (status = 200, description = "success", body = EntryBody)),
    extensions(("x-result-codes" = json!([GOVERNED, KEY_STORE, BODY, NAMES, CHANGES])))
)]
pub(super) async fn register_ipv4(mut call: Call) -> Response {
    let input = call.input(|fields| value(fields).and_then(|value| new_rule(fields, NewRuleValue::Ipv4(value)))).await;
    let outcome = call.service().register_client(call.request(), input).await;
    call.answer(outcome, |made| EntryBody { value: made.value, description: made.description.as_str().to_owned() })
}

/// Admit a MAC address.
#[utoipa::path(
    post, path = "/auths/macs", tag = "Clients",
    request_body = NewMacRequest,
    responses((status = 202, description = "asked for", body = ProposedBody), (status = 200, description = "success", body = EntryBody)),
    extensions(("x-result-codes" = json!([GOVERNED, KEY_STORE, BODY, NAMES, CHANGES])))
)]
pub(super) async fn register_mac(mut call: Call) -> Response {
    let input = call.input(|fields| value(fields).and_then(|value| new_rule(fields, NewRuleValue::Mac(value)))).await;
    let outcome = call.service().register_client(call.request(), input).await;
    call.answer(outcome, |made| EntryBody { value: made.value, description: made.description.as_str().to_owned() })
}

/// Admit a client certificate.
///
/// Issues a certificate of `lifeTime` days with a key of its own.
#[utoipa::path(
    post, path = "/auths/certificates", tag = "Clients",
    request_body = NewCertificateRequest,
    responses((status = 202, description = "asked for", body = ProposedBody), (status = 200, description = "success", body = CertificateEntryBody)),
    extensions(("x-result-codes" = json!([GOVERNED, KEY_STORE, BODY, NAMES, CHANGES, ENCRYPTS])))
)]
pub(super) async fn register_certificate(mut call: Call) -> Response {
    let input = call
        .input(|fields| {
            let value = NewRuleValue::Certificate { name: fields.name("name")?, password: fields.text("password")?, life_days: fields.number("lifeTime")? };
            new_rule(fields, value)
        })
        .await;
    let outcome = call.service().register_client(call.request(), input).await;
    call.answer(outcome, |made| CertificateEntryBody { name: made.value, description: made.description.as_str().to_owned() })
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct EntryDeletionBody {
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[schema(value_type = texts::DateTime)]
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

impl EntryDeletionBody {
    fn new(method: Method, (shown, at): (String, Timestamp), zone: chrono_tz::Tz) -> Self {
        let (value, name) = named(method, shown);
        Self { value, name, deletion_date_time: local_time(at, zone) }
    }
}

async fn request_deletion(mut call: Call, method: Method) -> Response {
    let input = selector(&mut call, method).await;
    let zone = call.zone();
    let outcome = call.service().request_client_deletion(call.request(), input).await;
    call.answer(outcome, |asked| EntryDeletionBody::new(method, asked, zone))
}

async fn delete(mut call: Call, method: Method) -> Response {
    let input = selector(&mut call, method).await;
    let zone = call.zone();
    let outcome = call.service().delete_client(call.request(), input).await;
    call.answer(outcome, |deleted| EntryDeletionBody::new(method, deleted, zone))
}

#[derive(Serialize, ToSchema)]
struct RestoredEntryBody {
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[schema(value_type = texts::Status)]
    status: &'static str,
}

async fn restore(mut call: Call, method: Method) -> Response {
    let input = selector(&mut call, method).await;
    let outcome = call.service().restore_client(call.request(), input).await;
    call.answer(outcome, |(shown, state)| {
        let (value, name) = named(method, shown);
        RestoredEntryBody { value, name, status: state.as_str() }
    })
}

/// Schedule an IPv4 entry to be deleted.
///
/// In 7 days, rounded up to the hour; it admits nobody at once.
#[utoipa::path(
    put, path = "/auths/ipv4s/delete", tag = "Clients",
    request_body = Ipv4Selector,
    responses((status = 202, description = "asked for", body = ProposedBody), (status = 200, description = "success", body = EntryDeletionBody)),
    extensions(("x-result-codes" = json!([GOVERNED, KEY_STORE, BODY, ENTRY, ENTRY_STATUS, CHANGES])))
)]
pub(super) async fn request_ipv4_deletion(call: Call) -> Response {
    request_deletion(call, Method::Ipv4).await
}

/// Schedule a MAC entry to be deleted.
///
/// In 7 days, rounded up to the hour; it admits nobody at once.
#[utoipa::path(
    put, path = "/auths/macs/delete", tag = "Clients",
    request_body = MacSelector,
    responses((status = 202, description = "asked for", body = ProposedBody), (status = 200, description = "success", body = EntryDeletionBody)),
    extensions(("x-result-codes" = json!([GOVERNED, KEY_STORE, BODY, ENTRY, ENTRY_STATUS, CHANGES])))
)]
pub(super) async fn request_mac_deletion(call: Call) -> Response {
    request_deletion(call, Method::Mac).await
}

/// Schedule a certificate to be deleted.
///
/// In 7 days, rounded up to the hour; it admits nobody at once.
#[utoipa::path(
    put, path = "/auths/certificates/delete", tag = "Clients",
    request_body = CertificateSelector,
    responses((status = 202, description = "asked for", body = ProposedBody), (status = 200, description = "success", body = EntryDeletionBody)),
    extensions(("x-result-codes" = json!([GOVERNED, KEY_STORE, BODY, ENTRY, ENTRY_STATUS, CHANGES])))
)]
pub(super) async fn request_certificate_deletion(call: Call) -> Response {
    request_deletion(call, Method::Certificate).await
}

/// Delete an IPv4 entry now.
///
/// Only while it is scheduled to be deleted.
#[utoipa::path(
    post, path = "/auths/ipv4s/delete", tag = "Clients",
    request_body = Ipv4Selector,
    responses((status = 202, description = "asked for", body = ProposedBody), (status = 200, description = "success", body = EntryDeletionBody)),
    extensions(("x-result-codes" = json!([GOVERNED, KEY_STORE, BODY, ENTRY, ENTRY_STATUS, CHANGES])))
)]
pub(super) async fn delete_ipv4(call: Call) -> Response {
    delete(call, Method::Ipv4).await
}

/// Delete a MAC entry now.
///
/// Only while it is scheduled to be deleted.
#[utoipa::path(
    post, path = "/auths/macs/delete", tag = "Clients",
    request_body = MacSelector,
    responses((status = 202, description = "asked for", body = ProposedBody), (status = 200, description = "success", body = EntryDeletionBody)),
    extensions(("x-result-codes" = json!([GOVERNED, KEY_STORE, BODY, ENTRY, ENTRY_STATUS, CHANGES])))
)]
pub(super) async fn delete_mac(call: Call) -> Response {
    delete(call, Method::Mac).await
}

/// Delete a certificate now.
///
/// Only while it is scheduled to be deleted.
#[utoipa::path(
    post, path = "/auths/certificates/delete", tag = "Clients",
    request_body = CertificateSelector,
    responses((status = 202, description = "asked for", body = ProposedBody), (status = 200, description = "success", body = EntryDeletionBody)),
    extensions(("x-result-codes" = json!([GOVERNED, KEY_STORE, BODY, ENTRY, ENTRY_STATUS, CHANGES])))
)]
pub(super) async fn delete_certificate(call: Call) -> Response {
    delete(call, Method::Certificate).await
}

/// Take back the deletion of an IPv4 entry.
///
/// Only while it is scheduled to be deleted.
#[utoipa::path(
    put, path = "/auths/ipv4s/restore", tag = "Clients",
    request_body = Ipv4Selector,
    responses((status = 202, description = "asked for", body = ProposedBody), (status = 200, description = "success", body = RestoredEntryBody)),
    extensions(("x-result-codes" = json!([GOVERNED, KEY_STORE, BODY, ENTRY, ENTRY_STATUS, CHANGES])))
)]
pub(super) async fn restore_ipv4(call: Call) -> Response {
    restore(call, Method::Ipv4).await
}

/// Take back the deletion of a MAC entry.
///
/// Only while it is scheduled to be deleted.
#[utoipa::path(
    put, path = "/auths/macs/restore", tag = "Clients",
    request_body = MacSelector,
    responses((status = 202, description = "asked for", body = ProposedBody), (status = 200, description = "success", body = RestoredEntryBody)),
    extensions(("x-result-codes" = json!([GOVERNED, KEY_STORE, BODY, ENTRY, ENTRY_STATUS, CHANGES])))
)]
pub(super) async fn restore_mac(call: Call) -> Response {
    restore(call, Method::Mac).await
}

/// Take back the deletion of a certificate.
///
/// Only while it is scheduled to be deleted.
#[utoipa::path(
    put, path = "/auths/certificates/restore", tag = "Clients",
    request_body = CertificateSelector,
    responses((status = 202, description = "asked for", body = ProposedBody), (status = 200, description = "success", body = RestoredEntryBody)),
    extensions(("x-result-codes" = json!([GOVERNED, KEY_STORE, BODY, ENTRY, ENTRY_STATUS, CHANGES])))
)]
pub(super) async fn restore_certificate(call: Call) -> Response {
    restore(call, Method::Certificate).await
}
