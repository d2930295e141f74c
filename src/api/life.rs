//! The life of keys and their versions. Bodies mean something to `PUT /keys/{keyid}` alone; what is sent to the others is passed over.

use axum::response::Response;
use serde::Serialize;

use super::answer::local_time;
use super::body::Fields;
use super::call::Call;
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

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DeletionBody {
    key_id: String,
    deletion_date_time: String,
}

/// `PUT /keys/{keyid}/delete`.
pub(super) async fn request_key_deletion(mut call: Call) -> Response {
    call.pass_over_body().await;
    let zone = call.zone();
    let outcome = call.service().request_key_deletion(call.request(), key(&call)).await;
    call.answer(outcome, |asked| DeletionBody { key_id: asked.key.to_string(), deletion_date_time: local_time(asked.at, zone) })
}

/// `DELETE /keys/{keyid}`.
pub(super) async fn delete_key(mut call: Call) -> Response {
    call.pass_over_body().await;
    let zone = call.zone();
    let outcome = call.service().delete_key(call.request(), key(&call)).await;
    call.answer(outcome, |deleted| DeletionBody { key_id: deleted.key.to_string(), deletion_date_time: local_time(deleted.at, zone) })
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RestoredBody {
    key_id: String,
    key_status: &'static str,
}

/// `PUT /keys/{keyid}/restore`.
pub(super) async fn restore_key(mut call: Call) -> Response {
    call.pass_over_body().await;
    let outcome = call.service().restore_key(call.request(), key(&call)).await;
    call.answer(outcome, |restored| RestoredBody { key_id: restored.key.to_string(), key_status: restored.state.as_str() })
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ChangedBody {
    key_id: String,
    name: String,
    description: String,
    auto_rotation_period: u32,
    next_auto_rotation_date: Option<String>,
    last_change_user: String,
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

/// `PUT /keys/{keyid}`.
pub(super) async fn change_key(mut call: Call) -> Response {
    let input = call.input(key_change).await;
    let zone = call.zone();
    let outcome = call.service().change_key(call.request(), key(&call), input).await;
    call.answer(outcome, |changed| ChangedBody {
        key_id: changed.key.to_string(),
        name: changed.name.to_string(),
        description: changed.description.as_str().to_owned(),
        auto_rotation_period: changed.rotation.days(),
        next_auto_rotation_date: optional_time(changed.next_rotation, zone),
        last_change_user: changed.changed.user,
        last_change_datetime: local_time(changed.changed.at, zone),
    })
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RotatedBody {
    key_id: String,
    current_key_value_version: u32,
    next_auto_rotation_date: Option<String>,
}

/// `POST /keys/{keyid}/rotate`.
pub(super) async fn rotate_key(mut call: Call) -> Response {
    call.pass_over_body().await;
    let zone = call.zone();
    let outcome = call.service().rotate_key(call.request(), key(&call)).await;
    call.answer(outcome, |rotated| RotatedBody {
        key_id: rotated.key.to_string(),
        current_key_value_version: rotated.version.number(),
        next_auto_rotation_date: optional_time(rotated.next_rotation, zone),
    })
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct VersionBody {
    key_version: u32,
    key_version_status: &'static str,
    origin: &'static str,
    last_access_datetime: Option<String>,
    deletion_datetime: Option<String>,
    creation_user: String,
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

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct VersionsBody {
    key_id: String,
    current_key_value_version: u32,
    key_version_list: Vec<VersionBody>,
}

/// `GET /keys/{keyid}/versions`.
pub(super) async fn versions(call: Call) -> Response {
    let zone = call.zone();
    let outcome = call.service().key_versions(call.request(), key(&call)).await;
    call.answer(outcome, |key| VersionsBody {
        key_id: key.key.to_string(),
        current_key_value_version: key.current.number(),
        key_version_list: key.versions.into_iter().map(|listed| VersionBody::new(listed, zone)).collect(),
    })
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct VersionDeletionBody {
    key_id: String,
    key_version: u32,
    deletion_date_time: String,
}

/// `PUT /keys/{keyid}/versions/{version}/delete`.
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

/// `DELETE /keys/{keyid}/versions/{version}`.
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

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RestoredVersionBody {
    key_id: String,
    key_version: u32,
    key_version_status: &'static str,
}

/// `PUT /keys/{keyid}/versions/{version}/restore`.
pub(super) async fn restore_version(mut call: Call) -> Response {
    call.pass_over_body().await;
    let outcome = call.service().restore_version(call.request(), key(&call), version(&call)).await;
    call.answer(outcome, |restored| RestoredVersionBody {
        key_id: restored.key.to_string(),
        key_version: restored.version.number(),
        key_version_status: restored.state.as_str(),
    })
}
