//! Approval: drafts and requests, asked for and decided upon.

use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::answer::{NOTHING, local_time};
use super::body::Fields;
use super::call::Call;
use super::inventory::{parameter, whole_number};
use super::openapi::codes::{BODY, CHANGES, DECIDES, GOVERNED, KEY_STORE, NAMES, QUERY, REQUEST, REQUEST_STATUS};
use super::openapi::requests::{AskRequest, DecisionRequest, DenialRequest, ProjectChangeRequest, RequestsQuery};
use super::openapi::texts;
use crate::domain::account::Role;
use crate::domain::approval::{ChangeItem, ChangeRequest, ExpiryDays, Field, Note, ProposedChange, RequestState};
use crate::domain::clock::Timestamp;
use crate::domain::inventory::Page;
use crate::domain::secret::SecretText;
use crate::domain::text::Invalid;
use crate::service::pki::certificate_pem;
use crate::service::{Approved, ListedRequest, ProjectChange, Proposed, Refusal, RequestDetails, RequestQuery};

/// What became of a change that was asked for.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ProposedBody {
    #[schema(value_type = texts::ApprovalId)]
    approval_id: String,
    #[schema(value_type = texts::ApprovalStatus)]
    approval_status: &'static str,
    position: u32,
}

impl From<Proposed> for ProposedBody {
    fn from(proposed: Proposed) -> Self {
        Self { approval_id: proposed.request.to_string(), approval_status: proposed.state.as_str(), position: proposed.position }
    }
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ApprovalBody {
    #[schema(value_type = texts::ApprovalId)]
    approval_id: String,
    #[schema(value_type = texts::ApprovalStatus)]
    approval_status: &'static str,
    #[schema(value_type = Option<texts::KeyStoreId>, required = true)]
    key_store_id: Option<i64>,
    #[schema(required = true)]
    key_store_name: Option<String>,
    request_user: String,
    note: String,
    #[schema(value_type = Option<texts::Digest>, required = true)]
    digest: Option<String>,
    #[schema(required = true)]
    decision_user: Option<String>,
    #[schema(required = true)]
    reason: Option<String>,
    #[schema(value_type = texts::DateTime)]
    creation_datetime: String,
    #[schema(value_type = Option<texts::DateTime>, required = true)]
    request_datetime: Option<String>,
    #[schema(value_type = Option<texts::DateTime>, required = true)]
    decision_datetime: Option<String>,
    #[schema(value_type = Option<texts::DateTime>, required = true)]
    end_datetime: Option<String>,
    #[schema(value_type = texts::DateTime)]
    expiration_datetime: String,
}

impl ApprovalBody {
    fn new(listed: ListedRequest, zone: chrono_tz::Tz) -> Self {
        let ListedRequest { request, key_store } = listed;
        let time = |at: Option<Timestamp>| at.map(|at| local_time(at, zone));
        let (number, name) = key_store.unzip();
        Self {
            approval_id: request.id.to_string(),
            approval_status: request.state.as_str(),
            key_store_id: number.map(|number| number.0),
            key_store_name: name,
            request_user: request.requester_login,
            note: request.note,
            digest: request.digest.map(hex::encode),
            decision_user: request.decider.map(|(_, login)| login),
            reason: request.reason,
            creation_datetime: local_time(request.created, zone),
            request_datetime: time(request.requested),
            decision_datetime: time(request.decided),
            end_datetime: time(request.ended),
            expiration_datetime: local_time(request.expires, zone),
        }
    }
}

#[derive(Serialize, ToSchema)]
struct FieldBody {
    name: String,
    value: String,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ChangeBody {
    position: u32,
    change: &'static str,
    before: Vec<FieldBody>,
    after: Vec<FieldBody>,
    /// Of a client certificate that was signed from a request, once it admits: PEM.
    #[schema(required = true)]
    certificate: Option<String>,
    edit_user: String,
    #[schema(value_type = texts::DateTime)]
    edit_datetime: String,
}

fn fields(fields: Vec<Field>) -> Vec<FieldBody> {
    fields.into_iter().map(|field| FieldBody { name: field.name, value: field.value }).collect()
}

impl ChangeBody {
    fn new(item: ChangeItem, state: RequestState, zone: chrono_tz::Tz) -> Self {
        let certificate = match &item.change {
            ProposedChange::AddCertificate { certificate: Some(der), .. } if state == RequestState::Approved => {
                hex::decode(der).ok().map(|der| certificate_pem(&der))
            }
            _ => None,
        };
        Self {
            position: item.position,
            change: item.change.operation().as_str(),
            after: fields(item.change.after()),
            before: fields(item.base.before),
            certificate,
            edit_user: item.editor_login,
            edit_datetime: local_time(item.edited, zone),
        }
    }
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ApprovalDetailsBody {
    #[serde(flatten)]
    approval: ApprovalBody,
    /// How often it was edited while it was a draft.
    #[schema(value_type = texts::Revision)]
    revision: u32,
    change_list: Vec<ChangeBody>,
}

impl ApprovalDetailsBody {
    fn new(details: RequestDetails, zone: chrono_tz::Tz) -> Self {
        let (state, revision) = (details.listed.request.state, details.listed.request.revision);
        let change_list = details.changes.into_iter().map(|item| ChangeBody::new(item, state, zone)).collect();
        Self { approval: ApprovalBody::new(details.listed, zone), revision, change_list }
    }
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ApprovalsBody {
    total_count: i64,
    approval_list: Vec<ApprovalBody>,
}

/// Where a request stands after a decision.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct DecidedBody {
    #[schema(value_type = texts::ApprovalId)]
    approval_id: String,
    #[schema(value_type = texts::ApprovalStatus)]
    approval_status: &'static str,
    #[schema(value_type = Option<texts::Digest>, required = true)]
    digest: Option<String>,
    #[schema(required = true)]
    reason: Option<String>,
}

/// Where a request stands after its approval.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ApprovedBody {
    #[serde(flatten)]
    decided: DecidedBody,
    /// Of a request that sets an account's password: the second part, which is shown here and never again. The account signs in with the part
    /// that was asked for, followed by this one, and must change it then.
    #[schema(value_type = Option<texts::PasswordPart>, required = true)]
    password_part: Option<Exposed>,
}

/// A secret on its way out: the answer is wiped once it was sent.
struct Exposed(SecretText);

impl Serialize for Exposed {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.expose())
    }
}

impl From<Approved> for ApprovedBody {
    fn from(approved: Approved) -> Self {
        Self { decided: approved.request.into(), password_part: approved.password_part.map(Exposed) }
    }
}

impl From<ChangeRequest> for DecidedBody {
    fn from(request: ChangeRequest) -> Self {
        Self { approval_id: request.id.to_string(), approval_status: request.state.as_str(), digest: request.digest.map(hex::encode), reason: request.reason }
    }
}

fn id(call: &Call) -> String {
    call.param("approvalid")
}

fn requests_query(call: &Call) -> Result<RequestQuery, Refusal> {
    let unknown = || Invalid::new("status", format!("must be one of {}", RequestState::ALL.map(RequestState::as_str).join(", ")));
    let state = parameter(call, "status")?.map(|text| RequestState::parse(&text).ok_or_else(unknown)).transpose()?;
    let page = Page::new(whole_number(call, "pageNumber")?, whole_number(call, "pageSize")?)?;
    Ok(RequestQuery { state, key_store: parameter(call, "keyStoreId")?, offset: page.offset(), limit: page.limit(), ..RequestQuery::default() })
}

/// List drafts and requests, newest first.
#[utoipa::path(
    get, path = "/approvals", tag = "Approval", operation_id = "approvals", params(RequestsQuery),
    responses((status = 200, description = "success", body = ApprovalsBody)),
    extensions(("x-result-codes" = json!([QUERY, KEY_STORE])))
)]
pub(super) async fn list(call: Call) -> Response {
    let zone = call.zone();
    let outcome = call.service().list_requests(call.request(), requests_query(&call)).await;
    call.answer(outcome, |page| ApprovalsBody {
        total_count: page.total,
        approval_list: page.entries.into_iter().map(|listed| ApprovalBody::new(listed, zone)).collect(),
    })
}

/// Read a draft or request, with each change before and after.
///
/// Secrets are none of it: the digest has their sealed form by hash.
#[utoipa::path(
    get, path = "/approvals/{approvalid}", tag = "Approval", operation_id = "approval",
    responses((status = 200, description = "success", body = ApprovalDetailsBody)),
    extensions(("x-result-codes" = json!([REQUEST])))
)]
pub(super) async fn read(call: Call) -> Response {
    let zone = call.zone();
    let outcome = call.service().read_request(call.request(), id(&call)).await;
    call.answer(outcome, |details| ApprovalDetailsBody::new(details, zone))
}

fn role(fields: &mut Fields) -> Result<Role, Invalid> {
    let text = fields.text("role")?;
    Role::parse(text.expose()).ok_or_else(|| Invalid::new("role", format!("must be one of {}", Role::ALL.map(Role::as_str).join(", "))))
}

fn text(fields: &mut Fields, field: &'static str) -> Result<String, Invalid> {
    Ok(fields.text(field)?.expose().to_owned())
}

fn note(fields: &mut Fields, field: &'static str) -> Result<Note, Invalid> {
    Note::parse(field, fields.text(field)?.expose())
}

/// A revision that is none was never seen.
fn revision(fields: &mut Fields) -> Result<Option<u32>, Invalid> {
    let wrong = |_| Invalid::new("revision", format!("must be a whole number from 0 to {}", u32::MAX));
    fields.optional_number("revision")?.map(u32::try_from).transpose().map_err(wrong)
}

fn project_change(fields: &mut Fields) -> Result<(Note, ProjectChange), Invalid> {
    let kind: SecretText = fields.text("change")?;
    let change = match kind.expose() {
        "GRANT_ROLE" => ProjectChange::GrantRole { login: text(fields, "login")?, role: role(fields)? },
        "REVOKE_ROLE" => ProjectChange::RevokeRole { login: text(fields, "login")?, role: role(fields)? },
        "CREATE_ACCOUNT" => ProjectChange::CreateAccount { login: text(fields, "login")?, password: fields.text("password")?, roles: vec![role(fields)?] },
        "RESET_PASSWORD" => ProjectChange::ResetPassword { login: text(fields, "login")?, password: fields.text("password")? },
        "ENABLE_ACCOUNT" => ProjectChange::EnableAccount { login: text(fields, "login")? },
        "SET_MAY_APPROVE" => ProjectChange::SetMayApprove { access_key: text(fields, "accessKeyId")?, allowed: fields.yes_no("mayApprove")? },
        "CHANGE_EXPIRY" => ProjectChange::ChangeExpiry(ExpiryDays::from_days(fields.number("expiryDays")?)?),
        "TURN_APPROVAL_OFF" => ProjectChange::TurnApprovalOff,
        _ => {
            let known = "GRANT_ROLE, REVOKE_ROLE, CREATE_ACCOUNT, RESET_PASSWORD, ENABLE_ACCOUNT, SET_MAY_APPROVE, CHANGE_EXPIRY or TURN_APPROVAL_OFF";
            return Err(Invalid::new("change", format!("must be {known}")));
        }
    };
    Ok((note(fields, "note")?, change))
}

/// Ask for a change of the project itself: who may ask and approve, and whether changes need approval.
///
/// Changes of a key store are asked for with their own routes and the header `X-SKM-Approval-Note`. The `password` of a new account, or of one
/// whose password is reset, is its first part alone: whoever approves gets the second in the answer to that, and the account signs in with the one
/// followed by the other. Until then it is kept sealed by the token.
#[utoipa::path(
    post, path = "/approvals", tag = "Approval", operation_id = "ask_of_project",
    request_body = ProjectChangeRequest,
    responses(
        (status = 202, description = "asked for", body = ProposedBody),
        (status = 200, description = "asked for, where the server answers 200 in every case", body = ProposedBody)
    ),
    extensions(("x-result-codes" = json!([BODY, GOVERNED, NAMES])))
)]
pub(super) async fn ask_of_project(mut call: Call) -> Response {
    let input = call.input(project_change).await;
    let outcome = call.service().ask_of_project(call.request(), input).await;
    let refusal = outcome.map_or_else(|refusal| refusal, Refusal::Proposed);
    call.refuse(&refusal)
}

/// Ask for all that is in a draft.
///
/// With `revision` only if it hasn't been edited since.
#[utoipa::path(
    post, path = "/approvals/{approvalid}/request", tag = "Approval", operation_id = "ask_for_draft",
    request_body = AskRequest,
    responses((status = 200, description = "success", body = DecidedBody)),
    extensions(("x-result-codes" = json!([REQUEST, REQUEST_STATUS, BODY, GOVERNED])))
)]
pub(super) async fn ask(mut call: Call) -> Response {
    let input = call.input(|fields| Ok((note(fields, "note")?, revision(fields)?))).await;
    let outcome = call.service().ask_for_draft(call.request(), id(&call), input).await;
    call.answer(outcome, DecidedBody::from)
}

/// Take a change out of a draft.
#[utoipa::path(
    delete, path = "/approvals/{approvalid}/changes/{position}", tag = "Approval", operation_id = "withdraw_change",
    responses((status = 200, description = "success")),
    extensions(("x-result-codes" = json!([REQUEST, REQUEST_STATUS])))
)]
pub(super) async fn withdraw_change(mut call: Call) -> Response {
    call.pass_over_body().await;
    // What is no number is no change.
    let position = call.param("position").parse().unwrap_or(u32::MAX);
    let outcome = call.service().withdraw_change(call.request(), id(&call), position).await;
    call.answer(outcome, NOTHING)
}

/// Approve a request, which is applied then.
///
/// Never one's own, nor one whose draft one had a hand in, compared by account; the access key must be one that may approve, and that nobody made
/// who asked or had a hand in the draft. The answer comes once it is applied or has failed, or after 8 s while it is still being applied. Of a request
/// that sets an account's password it holds the second part of that: whoever loses it asks for `RESET_PASSWORD` again.
#[utoipa::path(
    post, path = "/approvals/{approvalid}/approve", tag = "Approval", operation_id = "approve",
    request_body = DecisionRequest,
    responses((status = 200, description = "success", body = ApprovedBody)),
    extensions(("x-result-codes" = json!([REQUEST, REQUEST_STATUS, BODY, DECIDES, CHANGES])))
)]
pub(super) async fn approve(mut call: Call) -> Response {
    let input = call.input(|fields| Ok(fields.optional_text("digest")?.map(|digest| digest.expose().to_owned()))).await;
    let outcome = call.service().approve_request(call.request(), id(&call), input).await;
    call.answer(outcome, ApprovedBody::from)
}

/// Deny a request.
#[utoipa::path(
    post, path = "/approvals/{approvalid}/deny", tag = "Approval", operation_id = "deny",
    request_body = DenialRequest,
    responses((status = 200, description = "success", body = DecidedBody)),
    extensions(("x-result-codes" = json!([REQUEST, REQUEST_STATUS, BODY, DECIDES])))
)]
pub(super) async fn deny(mut call: Call) -> Response {
    let input = call.input(|fields| note(fields, "reason")).await;
    let outcome = call.service().deny_request(call.request(), id(&call), input).await;
    call.answer(outcome, DecidedBody::from)
}

/// Withdraw one's own request, or a draft.
#[utoipa::path(
    post, path = "/approvals/{approvalid}/withdraw", tag = "Approval", operation_id = "withdraw",
    responses((status = 200, description = "success", body = DecidedBody)),
    extensions(("x-result-codes" = json!([REQUEST, REQUEST_STATUS])))
)]
pub(super) async fn withdraw(mut call: Call) -> Response {
    call.pass_over_body().await;
    let outcome = call.service().withdraw_request(call.request(), id(&call)).await;
    call.answer(outcome, DecidedBody::from)
}
