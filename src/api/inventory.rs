//! Reading the inventory: key stores, keys, and the clients of key stores.

use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::answer::{list_in_pieces, local_time};
use super::call::Call;
use super::key_stores::KeyStoreBody;
use super::openapi::codes::{ENTRY, KEY, KEY_STORE, QUERY, READING};
use super::openapi::requests::{CertificateQuery, Ipv4Query, KeysQuery, ListQuery, MacQuery};
use super::openapi::texts;
use crate::domain::client_checks::{Method, RuleValue};
use crate::domain::inventory::{KeyFilter, Page};
use crate::domain::key::{KeyKind, Stamp, State};
use crate::domain::text::{Invalid, NamePart};
use crate::service::{ClientListing, KeyListing, KeyQuery, KeyStoreListing, ListedClientRule, ListedKey, Refusal};

/// A parameter that says something: an empty one means the same as none, as it does to the hosted service.
pub(super) fn parameter(call: &Call, name: &'static str) -> Result<Option<String>, Refusal> {
    Ok(call.query(name)?.filter(|value| !value.is_empty()))
}

fn detail(call: &Call) -> Result<bool, Refusal> {
    match parameter(call, "detail")?.as_deref() {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => Err(Invalid::new("detail", "must be true or false").into()),
    }
}

pub(super) fn whole_number(call: &Call, name: &'static str) -> Result<Option<i64>, Refusal> {
    let Some(text) = parameter(call, name)? else { return Ok(None) };
    let digits = text.strip_prefix('-').unwrap_or(&text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Invalid::new(name, "must be a whole number").into());
    }
    // One that is too long to be read is out of every limit.
    Ok(Some(text.parse().unwrap_or(i64::MAX)))
}

fn kind(call: &Call) -> Result<Option<KeyKind>, Refusal> {
    let Some(text) = parameter(call, "type")? else { return Ok(None) };
    KeyKind::parse(&text).map(Some).ok_or_else(|| Invalid::new("type", "must be SECRET, SYMMETRIC_KEY or ASYMMETRIC_KEY").into())
}

fn status(call: &Call) -> Result<Option<State>, Refusal> {
    match parameter(call, "status")?.as_deref() {
        None => Ok(None),
        Some("active") => Ok(Some(State::Active)),
        Some("inactive") => Ok(Some(State::PendingDeletion)),
        Some(_) => Err(Invalid::new("status", "must be active or inactive").into()),
    }
}

/// Filter and page mean something with `detail=true` only, but what is wrong with them is told in either case.
fn key_query(call: &Call) -> Result<KeyQuery, Refusal> {
    let name = parameter(call, "name")?.map(|text| NamePart::parse("name", &text)).transpose()?;
    let filter = KeyFilter { kind: kind(call)?, name, state: status(call)? };
    let page = Page::new(whole_number(call, "pageNumber")?, whole_number(call, "pageSize")?)?;
    Ok(KeyQuery { detail: detail(call)?, filter, page })
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct KeyBody {
    #[schema(value_type = texts::KeyId)]
    key_id: String,
    #[schema(value_type = texts::Name)]
    name: String,
    #[schema(value_type = texts::Description)]
    description: String,
    key_type: &'static str,
    #[schema(value_type = texts::KeyVersion)]
    current_key_value_version: u32,
    #[schema(value_type = texts::RotationDays)]
    auto_rotation_period: u32,
    #[schema(value_type = Option<texts::DateTime>, required = true)]
    next_auto_rotation_date: Option<String>,
    #[schema(value_type = Option<texts::DateTime>, required = true)]
    last_access_datetime: Option<String>,
    #[schema(value_type = Option<texts::DateTime>, required = true)]
    deletion_datetime: Option<String>,
    #[serde(flatten)]
    stamps: Stamps,
}

/// By whom and when something was made and last changed.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Stamps {
    creation_user: String,
    #[schema(value_type = texts::DateTime)]
    creation_datetime: String,
    last_change_user: String,
    #[schema(value_type = texts::DateTime)]
    last_change_datetime: String,
}

impl Stamps {
    fn new(created: Stamp, changed: Stamp, zone: chrono_tz::Tz) -> Self {
        Self {
            creation_user: created.user,
            creation_datetime: local_time(created.at, zone),
            last_change_user: changed.user,
            last_change_datetime: local_time(changed.at, zone),
        }
    }
}

impl KeyBody {
    fn new(listed: ListedKey, zone: chrono_tz::Tz) -> Self {
        let key = listed.key;
        Self {
            key_id: key.id.to_string(),
            name: key.name.to_string(),
            description: key.description.as_str().to_owned(),
            key_type: key.kind.as_str(),
            current_key_value_version: key.current_version.number(),
            auto_rotation_period: key.rotation.days(),
            next_auto_rotation_date: key.next_rotation.map(|at| local_time(at, zone)),
            last_access_datetime: listed.last_access.map(|at| local_time(at, zone)),
            deletion_datetime: key.deletion.map(|at| local_time(at, zone)),
            stamps: Stamps::new(key.created, key.changed, zone),
        }
    }
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ClientBody {
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[schema(value_type = texts::Description)]
    description: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<texts::DateTime>)]
    expiration_date: Option<String>,
    #[schema(value_type = Option<texts::DateTime>, required = true)]
    last_access_datetime: Option<String>,
    #[schema(value_type = Option<texts::DateTime>, required = true)]
    deletion_datetime: Option<String>,
    #[serde(flatten)]
    stamps: Stamps,
}

impl ClientBody {
    fn new(listed: ListedClientRule, zone: chrono_tz::Tz) -> Self {
        let rule = listed.rule;
        let shown = crate::service::shown_value(&rule.value);
        let (value, name, expires) = match rule.value {
            RuleValue::Ipv4(_) | RuleValue::Mac(_) => (Some(shown), None, None),
            RuleValue::Certificate { not_after, .. } => (None, Some(shown), Some(not_after)),
        };
        Self {
            value,
            name,
            description: rule.description.as_str().to_owned(),
            expiration_date: expires.map(|at| local_time(at, zone)),
            last_access_datetime: listed.last_access.map(|at| local_time(at, zone)),
            deletion_datetime: rule.deletion.map(|at| local_time(at, zone)),
            stamps: Stamps::new(rule.created, rule.changed, zone),
        }
    }
}

/// The IDs of all, or with `detail=true` all about each.
#[derive(ToSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "it only names a schema")]
enum KeyStoreListBody {
    Ids {
        #[schema(rename = "keyStoreIdList")]
        ids: Vec<texts::KeyStoreId>,
    },
    Details {
        #[schema(rename = "keyStoreList")]
        details: Vec<KeyStoreBody>,
    },
}

/// The IDs of all, or with `detail=true` all about each of one page.
#[derive(ToSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "it only names a schema")]
enum KeyListingBody {
    Ids {
        #[schema(rename = "keyIdList")]
        ids: Vec<texts::KeyId>,
    },
    Details {
        #[schema(rename = "keyList")]
        details: Vec<KeyBody>,
    },
}

/// An entry of a list of clients: its value, or all about it.
#[derive(ToSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "it only names a schema")]
enum ListedEntryBody {
    Value(String),
    Details(Box<ClientBody>),
}

#[derive(ToSchema)]
#[allow(dead_code, reason = "it only names a schema")]
struct Ipv4ListBody {
    #[schema(rename = "ipv4List")]
    entries: Vec<ListedEntryBody>,
}

#[derive(ToSchema)]
#[allow(dead_code, reason = "it only names a schema")]
struct MacListBody {
    #[schema(rename = "macList")]
    entries: Vec<ListedEntryBody>,
}

#[derive(ToSchema)]
#[allow(dead_code, reason = "it only names a schema")]
struct CertificateListBody {
    #[schema(rename = "certificateList")]
    entries: Vec<ListedEntryBody>,
}

/// List the key stores.
#[utoipa::path(
    get, path = "/keystores", tag = "Inventory",
    params(ListQuery),
    responses((status = 200, description = "success", body = KeyStoreListBody)),
    extensions(("x-result-codes" = json!([READING, QUERY])))
)]
pub(super) async fn key_stores(call: Call) -> Response {
    let zone = call.zone();
    match call.service().list_key_stores(call.request(), detail(&call)).await {
        Ok(KeyStoreListing::Numbers(pieces)) => list_in_pieces("keyStoreIdList", pieces, |number| number.0).await,
        Ok(KeyStoreListing::Details(pieces)) => list_in_pieces("keyStoreList", pieces, move |key_store| KeyStoreBody::new(key_store, zone)).await,
        Err(refusal) => call.refuse(&refusal),
    }
}

/// Read a key store.
#[utoipa::path(
    get, path = "/keystores/{id}", tag = "Inventory",
    responses((status = 200, description = "success", body = KeyStoreBody)),
    extensions(("x-result-codes" = json!([READING, KEY_STORE])))
)]
pub(super) async fn key_store(call: Call) -> Response {
    let zone = call.zone();
    let outcome = call.service().read_key_store(call.request(), call.param("id")).await;
    call.answer(outcome, |key_store| KeyStoreBody::new(key_store, zone))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct KeyListBody {
    key_list: Vec<KeyBody>,
}

/// List the keys of a key store.
///
/// Without `detail` the IDs of all keys; filters and pages are for `detail=true`.
#[utoipa::path(
    get, path = "/keystores/{id}/keys", tag = "Inventory",
    params(KeysQuery),
    responses((status = 200, description = "success", body = KeyListingBody)),
    extensions(("x-result-codes" = json!([READING, KEY_STORE, QUERY])))
)]
pub(super) async fn keys(call: Call) -> Response {
    let zone = call.zone();
    match call.service().list_keys(call.request(), call.param("id"), key_query(&call)).await {
        Ok(KeyListing::Ids(pieces)) => list_in_pieces("keyIdList", pieces, |key| key.id.to_string()).await,
        Ok(KeyListing::Details(listed)) => super::answer::success(KeyListBody { key_list: listed.into_iter().map(|key| KeyBody::new(key, zone)).collect() }),
        Err(refusal) => call.refuse(&refusal),
    }
}

/// Read all about a key but its material.
#[utoipa::path(
    get, path = "/keystores/{id}/keys/{keyid}", tag = "Inventory",
    responses((status = 200, description = "success", body = KeyBody)),
    extensions(("x-result-codes" = json!([READING, KEY_STORE, KEY])))
)]
pub(super) async fn key(call: Call) -> Response {
    let zone = call.zone();
    let outcome = call.service().read_key(call.request(), call.param("id"), call.param("keyid")).await;
    call.answer(outcome, |key| KeyBody::new(key, zone))
}

/// The values of all clients, or all about one.
#[derive(Serialize)]
#[serde(untagged)]
enum Clients {
    Values(Vec<String>),
    Details([Box<ClientBody>; 1]),
}

#[derive(Serialize)]
enum ClientListBody {
    #[serde(rename = "ipv4List")]
    Ipv4(Clients),
    #[serde(rename = "macList")]
    Mac(Clients),
    #[serde(rename = "certificateList")]
    Certificate(Clients),
}

async fn clients(call: Call, method: Method) -> Response {
    let zone = call.zone();
    let outcome = call.service().list_clients(call.request(), call.param("id"), method, parameter(&call, "value")).await;
    call.answer(outcome, |listing| {
        let clients = match listing {
            ClientListing::Values(values) => Clients::Values(values),
            ClientListing::Details(rule) => Clients::Details([Box::new(ClientBody::new(*rule, zone))]),
        };
        match method {
            Method::Ipv4 => ClientListBody::Ipv4(clients),
            Method::Mac => ClientListBody::Mac(clients),
            Method::Certificate => ClientListBody::Certificate(clients),
        }
    })
}

/// List the IPv4 entries of a key store.
#[utoipa::path(
    get, path = "/keystores/{id}/ips", tag = "Inventory",
    params(Ipv4Query),
    responses((status = 200, description = "success", body = Ipv4ListBody)),
    extensions(("x-result-codes" = json!([READING, KEY_STORE, QUERY, ENTRY])))
)]
pub(super) async fn ips(call: Call) -> Response {
    clients(call, Method::Ipv4).await
}

/// List the MAC entries of a key store.
#[utoipa::path(
    get, path = "/keystores/{id}/macs", tag = "Inventory",
    params(MacQuery),
    responses((status = 200, description = "success", body = MacListBody)),
    extensions(("x-result-codes" = json!([READING, KEY_STORE, QUERY, ENTRY])))
)]
pub(super) async fn macs(call: Call) -> Response {
    clients(call, Method::Mac).await
}

/// List the certificates of a key store.
///
/// Passwords are kept nowhere and never shown.
#[utoipa::path(
    get, path = "/keystores/{id}/certificates", tag = "Inventory",
    params(CertificateQuery),
    responses((status = 200, description = "success", body = CertificateListBody)),
    extensions(("x-result-codes" = json!([READING, KEY_STORE, QUERY, ENTRY])))
)]
pub(super) async fn certificates(call: Call) -> Response {
    clients(call, Method::Certificate).await
}
