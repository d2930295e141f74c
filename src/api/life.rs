//! The life of keys and their versions. Bodies mean something to `PUT /keys/{keyid}` alone; what is sent to the others is passed over.

use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::answer::local_time;
use super::approvals::ProposedBody;
use super::body::Fields;
use super::call::Call;
use super::openapi::codes::{BODY, CHANGES, GOVERNED, IN_SERVICE, KEY, NAMES, OLD_VERSION, READING, ROTATES, VERSION};
use super::openapi::requests::ChangeKeyRequest;
use super::openapi::texts;
use crate::domain::clock::Timestamp;
use crate::domain::key::RotationPeriod;
use crate::domain::text::{Description, Invalid, Name};
use crate::service::{KeyChange, ListedVersion};

fn key(call: &Call) -> String {
    call.param("keyid")
}

fn version(call: &Call) -> String {
    call.param("version")
}

fn optional_time(at: Option<Timestamp>, zone: chrono_tz::Tz) -> Option<String> {
    at.map(|at| local_time(at, zone))
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct KeyDeletionBody {
    #[schema(value_type = texts::KeyId)]
    key_id: String,
    #[schema(value_type = texts::DateTime)]
    deletion_date_time: String,
}

/// Schedule a key to be deleted.
///
/// In 7 days, rounded up to the hour; unusable at once.
#[utoipa::path(
    put, path = "/keys/{keyid}/delete", tag = "Life of keys",
    responses((status = 202, description = "asked for", body = ProposedBody), (status = 200, description = "success", body = KeyDeletionBody)),
    extensions(("x-result-codes" = json!([GOVERNED, KEY, IN_SERVICE, CHANGES])))
)]
pub(super) async fn request_key_deletion(mut call: Call) -> Response {
    call.pass_over_body().await;
    let zone = call.zone();
    let outcome = call.service().request_key_deletion(call.request(), key(&call)).await;
    call.answer(outcome, |asked| KeyDeletionBody { key_id: asked.key.to_string(), deletion_date_time: local_time(asked.at, zone) })
}

/// Delete a key now.
///
/// Only while it is scheduled to be deleted. It can't be undone: the answer says that the deletion is decided and recorded, and from then on the
/// key is found by nobody. Its material leaves the token at once or, where the token can't be asked now, as soon as it can; until then the key's
/// name stays taken, and its key store can't be deleted.
#[utoipa::path(
    delete, path = "/keys/{keyid}", tag = "Life of keys",
    responses((status = 202, description = "asked for", body = ProposedBody), (status = 200, description = "success", body = KeyDeletionBody)),
    extensions(("x-result-codes" = json!([GOVERNED, KEY, IN_SERVICE, CHANGES])))
)]
pub(super) async fn delete_key(mut call: Call) -> Response {
    call.pass_over_body().await;
    let zone = call.zone();
    let outcome = call.service().delete_key(call.request(), key(&call)).await;
    call.answer(outcome, |deleted| KeyDeletionBody { key_id: deleted.key.to_string(), deletion_date_time: local_time(deleted.at, zone) })
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct RestoredKeyBody {
    #[schema(value_type = texts::KeyId)]
    key_id: String,
    #[schema(value_type = texts::Status)]
    key_status: &'static str,
}

/// Take back a key's deletion.
///
/// Only while it is scheduled to be deleted.
#[utoipa::path(
    put, path = "/keys/{keyid}/restore", tag = "Life of keys",
    responses((status = 202, description = "asked for", body = ProposedBody), (status = 200, description = "success", body = RestoredKeyBody)),
    extensions(("x-result-codes" = json!([GOVERNED, KEY, IN_SERVICE, CHANGES])))
)]
pub(super) async fn restore_key(mut call: Call) -> Response {
    call.pass_over_body().await;
    let outcome = call.service().restore_key(call.request(), key(&call)).await;
    call.answer(outcome, |restored| RestoredKeyBody { key_id: restored.key.to_string(), key_status: restored.state.as_str() })
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ChangedKeyBody {
    #[schema(value_type = texts::KeyId)]
    key_id: String,
    #[schema(value_type = texts::Name)]
    name: String,
    #[schema(value_type = texts::Description)]
    description: String,
    #[schema(value_type = texts::RotationDays)]
    auto_rotation_period: u32,
    #[schema(value_type = Option<texts::DateTime>, required = true)]
    next_auto_rotation_date: Option<String>,
    last_change_user: String,
    #[schema(value_type = texts::DateTime)]
    last_change_datetime: String,
}

fn key_change(fields: &mut Fields) -> Result<KeyChange, Invalid> {
    let name = fields.optional_text("name")?;
    let description = fields.optional_text("description")?;
    Ok(KeyChange {
        name: name.map(|text| Name::parse("name", text.expose())).transpose()?,
        description: description.map(|text| Description::parse("description", text.expose())).transpose()?,
        rotation: fields.optional_number("autoRotationPeriod")?.map(RotationPeriod::from_days).transpose()?,
    })
}

/// Change name, description or rotation of a key.
///
/// What is missing stays as it is; at least one field must be there. Confidential data and imported keys don't rotate.
#[utoipa::path(
    put, path = "/keys/{keyid}", tag = "Life of keys",
    request_body = ChangeKeyRequest,
    responses((status = 202, description = "asked for", body = ProposedBody), (status = 200, description = "success", body = ChangedKeyBody)),
    extensions(("x-result-codes" = json!([GOVERNED, KEY, IN_SERVICE, BODY, NAMES, CHANGES])))
)]
pub(super) async fn change_key(mut call: Call) -> Response {
    let input = call.input(key_change).await;
    let zone = call.zone();
    let outcome = call.service().change_key(call.request(), key(&call), input).await;
    call.answer(outcome, |changed| ChangedKeyBody {
        key_id: changed.key.to_string(),
        name: changed.name.to_string(),
        description: changed.description.as_str().to_owned(),
        auto_rotation_period: changed.rotation.days(),
        next_auto_rotation_date: optional_time(changed.next_rotation, zone),
        last_change_user: changed.changed.user,
        last_change_datetime: local_time(changed.changed.at, zone),
    })
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct RotatedKeyBody {
    #[schema(value_type = texts::KeyId)]
    key_id: String,
    #[schema(value_type = texts::KeyVersion)]
    current_key_value_version: u32,
    #[schema(value_type = Option<texts::DateTime>, required = true)]
    next_auto_rotation_date: Option<String>,
}

/// Rotate a key now.
///
/// A new version becomes the current one; old ones decrypt and verify as before.
#[utoipa::path(
    post, path = "/keys/{keyid}/rotate", tag = "Life of keys",
    responses((status = 202, description = "asked for", body = ProposedBody), (status = 200, description = "success", body = RotatedKeyBody)),
    extensions(("x-result-codes" = json!([GOVERNED, KEY, IN_SERVICE, ROTATES])))
)]
pub(super) async fn rotate_key(mut call: Call) -> Response {
    call.pass_over_body().await;
    let zone = call.zone();
    let outcome = call.service().rotate_key(call.request(), key(&call)).await;
    call.answer(outcome, |rotated| RotatedKeyBody {
        key_id: rotated.key.to_string(),
        current_key_value_version: rotated.version.number(),
        next_auto_rotation_date: optional_time(rotated.next_rotation, zone),
    })
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct VersionBody {
    #[schema(value_type = texts::KeyVersion)]
    key_version: u32,
    #[schema(value_type = texts::Status)]
    key_version_status: &'static str,
    #[schema(value_type = texts::Origin)]
    origin: &'static str,
    #[schema(value_type = Option<texts::DateTime>, required = true)]
    last_access_datetime: Option<String>,
    #[schema(value_type = Option<texts::DateTime>, required = true)]
    deletion_datetime: Option<String>,
    creation_user: String,
    #[schema(value_type = texts::DateTime)]
    creation_datetime: String,
}

impl VersionBody {
    fn new(listed: ListedVersion, zone: chrono_tz::Tz) -> Self {
        let version = listed.version;
        Self {
            key_version: version.version.number(),
            key_version_status: version.state.as_str(),
            origin: version.origin.as_str(),
            last_access_datetime: optional_time(listed.last_use, zone),
            deletion_datetime: optional_time(version.deletion, zone),
            creation_user: version.created.user,
            creation_datetime: local_time(version.created.at, zone),
        }
    }
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct VersionsBody {
    #[schema(value_type = texts::KeyId)]
    key_id: String,
    #[schema(value_type = texts::KeyVersion)]
    current_key_value_version: u32,
    key_version_list: Vec<VersionBody>,
}

/// List the versions of a key.
#[utoipa::path(
    get, path = "/keys/{keyid}/versions", tag = "Life of keys", operation_id = "key_versions",
    responses((status = 200, description = "success", body = VersionsBody)),
    extensions(("x-result-codes" = json!([KEY, READING])))
)]
pub(super) async fn versions(call: Call) -> Response {
    let zone = call.zone();
    let outcome = call.service().key_versions(call.request(), key(&call)).await;
    call.answer(outcome, |key| VersionsBody {
        key_id: key.key.to_string(),
        current_key_value_version: key.current.number(),
        key_version_list: key.versions.into_iter().map(|listed| VersionBody::new(listed, zone)).collect(),
    })
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct VersionDeletionBody {
    #[schema(value_type = texts::KeyId)]
    key_id: String,
    #[schema(value_type = texts::KeyVersion)]
    key_version: u32,
    #[schema(value_type = texts::DateTime)]
    deletion_date_time: String,
}

/// Schedule an old version to be deleted.
///
/// In 7 days, rounded up to the hour; unusable at once. The current version stays.
#[utoipa::path(
    put, path = "/keys/{keyid}/versions/{version}/delete", tag = "Life of keys",
    responses((status = 202, description = "asked for", body = ProposedBody), (status = 200, description = "success", body = VersionDeletionBody)),
    extensions(("x-result-codes" = json!([GOVERNED, KEY, IN_SERVICE, VERSION, OLD_VERSION, CHANGES])))
)]
pub(super) async fn request_version_deletion(mut call: Call) -> Response {
    call.pass_over_body().await;
    let zone = call.zone();
    let outcome = call.service().request_version_deletion(call.request(), key(&call), version(&call)).await;
    call.answer(outcome, |asked| VersionDeletionBody {
        key_id: asked.key.to_string(),
        key_version: asked.version.number(),
        deletion_date_time: local_time(asked.at, zone),
    })
}

/// Delete an old version now.
///
/// Only while it is scheduled to be deleted. What it encrypted is lost. The answer says that the deletion is decided and recorded; its material leaves
/// the token at once or, where the token can't be asked now, as soon as it can.
#[utoipa::path(
    delete, path = "/keys/{keyid}/versions/{version}", tag = "Life of keys",
    responses((status = 202, description = "asked for", body = ProposedBody), (status = 200, description = "success", body = VersionDeletionBody)),
    extensions(("x-result-codes" = json!([GOVERNED, KEY, IN_SERVICE, VERSION, OLD_VERSION, CHANGES])))
)]
pub(super) async fn delete_version(mut call: Call) -> Response {
    call.pass_over_body().await;
    let zone = call.zone();
    let outcome = call.service().delete_version(call.request(), key(&call), version(&call)).await;
    call.answer(outcome, |deleted| VersionDeletionBody {
        key_id: deleted.key.to_string(),
        key_version: deleted.version.number(),
        deletion_date_time: local_time(deleted.at, zone),
    })
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct RestoredVersionBody {
    #[schema(value_type = texts::KeyId)]
    key_id: String,
    #[schema(value_type = texts::KeyVersion)]
    key_version: u32,
    #[schema(value_type = texts::Status)]
    key_version_status: &'static str,
}

/// Take back the deletion of an old version.
///
/// Only while it is scheduled to be deleted.
#[utoipa::path(
    put, path = "/keys/{keyid}/versions/{version}/restore", tag = "Life of keys",
    responses((status = 202, description = "asked for", body = ProposedBody), (status = 200, description = "success", body = RestoredVersionBody)),
    extensions(("x-result-codes" = json!([GOVERNED, KEY, IN_SERVICE, VERSION, OLD_VERSION, CHANGES])))
)]
pub(super) async fn restore_version(mut call: Call) -> Response {
    call.pass_over_body().await;
    let outcome = call.service().restore_version(call.request(), key(&call), version(&call)).await;
    call.answer(outcome, |restored| RestoredVersionBody {
        key_id: restored.key.to_string(),
        key_version: restored.version.number(),
        key_version_status: restored.state.as_str(),
    })
}
