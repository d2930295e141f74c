//! What people do to drafts and requests: each step asks first, and names what it is about.

use askama::Template;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Redirect, Response};
use serde::Deserialize;

use super::view::RequestView;
use super::{At, refused};
use crate::console::Console;
use crate::console::address::{Path, Query};
use crate::console::certificates::p12;
use crate::console::form::{Form, Posted};
use crate::console::key_stores::present_under;
use crate::console::organization::{Tried, attempt};
use crate::console::page::{self, Tab};
use crate::console::text::{ENGLISH, Texts};
use crate::console::visitor::{Visitor, wants_fragment};
use crate::domain::approval::{Note, RequestState};
use crate::domain::result_code::ResultCode;
use crate::domain::secret::SecretText;
use crate::domain::text::Invalid;
use crate::service::Refusal;

/// What is done to a draft or request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    Request,
    Approve,
    Deny,
    Withdraw,
}

impl Act {
    fn as_str(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Approve => "approve",
            Self::Deny => "deny",
            Self::Withdraw => "withdraw",
        }
    }

    /// What its button says, and what it does.
    fn words(self) -> (&'static str, &'static str) {
        let t = &ENGLISH.approval;
        match self {
            Self::Request => (t.request, t.request_told),
            Self::Approve => (t.approve, t.approve_told),
            Self::Deny => (t.deny, t.deny_told),
            Self::Withdraw => (t.withdraw, t.withdraw_told),
        }
    }

    /// What has to be typed: its field, its label, its hint.
    fn text(self) -> Option<(&'static str, &'static str, &'static str)> {
        let t = &ENGLISH.approval;
        match self {
            Self::Request => Some(("note", t.note, t.note_hint)),
            Self::Deny => Some(("reason", t.reason, t.deny_reason_hint)),
            Self::Approve | Self::Withdraw => None,
        }
    }

    /// Refuses whoever may not; the use case decides for itself.
    fn require(self, visitor: &Visitor, at: &At) -> Result<(), Refusal> {
        let may = match self {
            Self::Request | Self::Withdraw => visitor.asks_in(at.project()),
            Self::Approve | Self::Deny => visitor.approves_in(at.project()),
        };
        if may { Ok(()) } else { Err(visitor.lacks_role_in(at.project())) }
    }
}

#[derive(Template)]
#[template(path = "approval_act.html")]
struct ActForm<'a> {
    t: &'static Texts,
    title: &'static str,
    told: &'static str,
    is_bad: bool,
    action: String,
    csrf: String,
    view: &'a RequestView,
    /// The digest that whoever approves has seen.
    digest: Option<String>,
    /// The revision of the draft that whoever asks has seen.
    revision: Option<String>,
    text: Option<(&'static str, &'static str, &'static str)>,
    form: &'a Form,
    in_dialog: bool,
}

async fn present_act(console: &Console, visitor: &Visitor, (at, act): (&At, Act), form: &Form, in_dialog: bool) -> Response {
    let view = match async { act.require(visitor, at).map(|()| at.view(console, visitor))?.await }.await {
        Ok(view) => view,
        Err(refusal) => return refused(visitor, &refusal),
    };
    let ((title, told), status) = (act.words(), if form.is_right() { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY });
    // A form that was sent keeps what it has shown.
    let shown = form.is_sent("digest").then(|| form.value("digest").to_owned()).or_else(|| view.digest.clone());
    let fragment = ActForm {
        t: &ENGLISH,
        title,
        told,
        is_bad: matches!(act, Act::Deny | Act::Withdraw),
        action: format!("{}/{}", at.path(), act.as_str()),
        csrf: visitor.csrf(),
        view: &view,
        digest: shown.filter(|_| act == Act::Approve),
        revision: (act == Act::Request).then(|| if form.is_sent("revision") { form.value("revision").to_owned() } else { view.revision.to_string() }),
        text: act.text(),
        form,
        in_dialog,
    };
    present_under(console, visitor, (at.project(), Tab::ApprovalList), status, title, &fragment, in_dialog).await
}

/// Which revision of a draft is shown where its button is.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Seen {
    revision: Option<u32>,
}

pub(super) async fn ask_for_draft(
    State(console): State<Console>,
    visitor: Visitor,
    headers: HeaderMap,
    Path(at): Path<At>,
    Query(seen): Query<Seen>,
) -> Response {
    let form = seen.revision.map_or_else(Form::default, |revision| Form::showing([("revision", revision.to_string().as_str())]));
    present_act(&console, &visitor, (&at, Act::Request), &form, wants_fragment(&headers)).await
}

pub(super) async fn ask_to_approve(State(console): State<Console>, visitor: Visitor, headers: HeaderMap, Path(at): Path<At>) -> Response {
    present_act(&console, &visitor, (&at, Act::Approve), &Form::default(), wants_fragment(&headers)).await
}

pub(super) async fn ask_to_deny(State(console): State<Console>, visitor: Visitor, headers: HeaderMap, Path(at): Path<At>) -> Response {
    present_act(&console, &visitor, (&at, Act::Deny), &Form::default(), wants_fragment(&headers)).await
}

pub(super) async fn ask_to_withdraw(State(console): State<Console>, visitor: Visitor, headers: HeaderMap, Path(at): Path<At>) -> Response {
    present_act(&console, &visitor, (&at, Act::Withdraw), &Form::default(), wants_fragment(&headers)).await
}

/// A note or reason that was typed. Browsers send line ends as CR LF.
pub(in crate::console) fn note(form: &Form, field: &'static str) -> Result<Note, Invalid> {
    Note::parse(field, &form.value(field).replace("\r\n", "\n"))
}

/// The page that follows a decision, by where the request stands then.
fn word_of(state: RequestState) -> &'static str {
    match state {
        RequestState::Approved => "approved",
        RequestState::Applying => "applying",
        // The page says loud enough that it could not be applied.
        _ => "",
    }
}

/// What became of it.
enum Done {
    /// The word of the page that follows.
    Word(&'static str),
    /// It was approved, and a password gets its second part.
    WithPasswordPart(&'static str, SecretText),
}

/// The second part of a password, for whoever approved it.
#[derive(Template)]
#[template(path = "approval_password_part.html")]
struct PasswordPart<'a> {
    t: &'static Texts,
    login: String,
    part: &'a SecretText,
    next: &'a str,
}

async fn present_password_part(console: &Console, visitor: &Visitor, at: &At, (part, next): (&SecretText, &str), in_dialog: bool) -> Response {
    // Shown whatever else goes wrong: it is never shown again.
    let login = at.view(console, visitor).await.ok().and_then(|view| Some(view.changes.first()?.subject.clone())).unwrap_or_default();
    let (title, fragment) = (ENGLISH.approval.second_part_title, PasswordPart { t: &ENGLISH, login, part, next });
    present_under(console, visitor, (at.project(), Tab::ApprovalList), StatusCode::OK, title, &fragment, in_dialog).await
}

async fn carry_out(console: &Console, visitor: &Visitor, (at, act): (&At, Act), form: &Form) -> Result<Done, Refusal> {
    let (service, request, id) = (&console.service, visitor.about(at.project()), at.request.clone());
    match act {
        Act::Request => {
            let seen = Some(form.value("revision").parse().unwrap_or(u32::MAX));
            let input = note(form, "note").map(|note| (note, seen)).map_err(Refusal::from);
            service.ask_for_draft(request, id, input).await.map(|_| Done::Word("requested"))
        }
        Act::Approve => {
            // A form that doesn't say what was seen has seen nothing that is still true.
            let seen = Some(form.value("digest").to_owned());
            let approved = service.approve_request(request, id, Ok(seen)).await?;
            let word = word_of(approved.request.state);
            Ok(approved.password_part.map_or(Done::Word(word), |part| Done::WithPasswordPart(word, part)))
        }
        Act::Deny => service.deny_request(request, id, note(form, "reason").map_err(Refusal::from)).await.map(|_| Done::Word("denied")),
        Act::Withdraw => service.withdraw_request(request, id).await.map(|_| Done::Word("withdrawn")),
    }
}

async fn take(console: &Console, at: &At, act: Act, posted: Posted) -> Response {
    let Posted { visitor, form, in_dialog, is_ours } = posted;
    let outcome = if is_ours { Some(carry_out(console, &visitor, (at, act), &form).await) } else { None };
    let form = match outcome {
        Some(Ok(Done::Word(done))) => return page::go(in_dialog, &format!("{}?done={done}", at.path())),
        Some(Ok(Done::WithPasswordPart(done, part))) => {
            let next = format!("{}?done={done}", at.path());
            return present_password_part(console, &visitor, at, (&part, &next), in_dialog).await;
        }
        Some(Err(refusal @ Refusal::Code(ResultCode::InvalidApprovalRequest))) => return refused(&visitor, &refusal),
        Some(Err(refusal)) => match form.refuse(refusal) {
            Ok(form) => form,
            Err(refusal) => return page::refused(&refusal, visitor.request),
        },
        None => form,
    };
    present_act(console, &visitor, (at, act), &form, in_dialog).await
}

pub(super) async fn request(State(console): State<Console>, Path(at): Path<At>, posted: Posted) -> Response {
    take(&console, &at, Act::Request, posted).await
}

pub(super) async fn approve(State(console): State<Console>, Path(at): Path<At>, posted: Posted) -> Response {
    take(&console, &at, Act::Approve, posted).await
}

pub(super) async fn deny(State(console): State<Console>, Path(at): Path<At>, posted: Posted) -> Response {
    take(&console, &at, Act::Deny, posted).await
}

pub(super) async fn withdraw(State(console): State<Console>, Path(at): Path<At>, posted: Posted) -> Response {
    take(&console, &at, Act::Withdraw, posted).await
}

/// Which change of a draft an address is about.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct ChangeAt {
    project: i64,
    request: String,
    position: u32,
}

impl ChangeAt {
    fn request(&self) -> At {
        At { project: self.project, request: self.request.clone() }
    }
}

#[derive(Template)]
#[template(path = "approval_change_withdraw.html")]
struct WithdrawChange<'a> {
    t: &'static Texts,
    action: String,
    csrf: String,
    told: &'static str,
    /// What the change does, and to what.
    change: (&'static str, String),
    form: &'a Form,
    in_dialog: bool,
}

async fn present_change(console: &Console, visitor: &Visitor, at: &ChangeAt, form: &Form, in_dialog: bool) -> Response {
    let request = at.request();
    let view = match async { Act::Withdraw.require(visitor, &request).map(|()| request.view(console, visitor))?.await }.await {
        Ok(view) => view,
        Err(refusal) => return refused(visitor, &refusal),
    };
    let Some(change) = view.changes.iter().find(|change| change.position == at.position) else {
        return page::refused(&ResultCode::UrlNotFound.into(), visitor.request);
    };
    let (t, status) = (&ENGLISH.approval, if form.is_right() { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY });
    let ends_draft = view.changes.len() == 1 || change.told == ENGLISH.key_stores.add;
    let fragment = WithdrawChange {
        t: &ENGLISH,
        action: format!("{}/changes/{}/withdraw", view.path, at.position),
        csrf: visitor.csrf(),
        told: if ends_draft { t.withdraw_last_told } else { t.withdraw_change_told },
        change: (change.told, change.subject.clone()),
        form,
        in_dialog,
    };
    present_under(console, visitor, (request.project(), Tab::ApprovalList), status, t.withdraw_change_title, &fragment, in_dialog).await
}

pub(super) async fn ask_to_withdraw_change(State(console): State<Console>, visitor: Visitor, headers: HeaderMap, Path(at): Path<ChangeAt>) -> Response {
    present_change(&console, &visitor, &at, &Form::default(), wants_fragment(&headers)).await
}

/// The page from which a draft is worked on: its key store's, while the draft or the key store is there.
async fn after_withdrawal(console: &Console, visitor: &Visitor, at: &At) -> String {
    match at.view(console, visitor).await {
        Ok(RequestView { management: Some(page), .. }) => format!("{page}?done=withdrawn"),
        _ => format!("{}?done=change-withdrawn", at.path()),
    }
}

pub(super) async fn withdraw_change(State(console): State<Console>, Path(at): Path<ChangeAt>, posted: Posted) -> Response {
    let Posted { visitor, form, in_dialog, is_ours } = posted;
    let request = at.request();
    let withdrawn = console.service.withdraw_change(visitor.about(request.project()), at.request.clone(), at.position);
    let form = match attempt(&visitor, form, is_ours, withdrawn).await {
        Ok(()) => return page::go(in_dialog, &after_withdrawal(&console, &visitor, &request).await),
        Err(Tried::Again(form)) => form,
        Err(Tried::Refused(response)) => return response,
    };
    present_change(&console, &visitor, &at, &form, in_dialog).await
}

/// By `POST`: it is in the audit log, so no link or prefetch of somebody else's brings it about.
pub(super) async fn download(State(console): State<Console>, Path(at): Path<ChangeAt>, posted: Posted) -> Response {
    let Posted { visitor, is_ours, .. } = posted;
    if !is_ours {
        return Redirect::to(&format!("/projects/{}/approvals", at.project)).into_response();
    }
    match console.service.download_drafted_certificate(visitor.about(at.request().project()), at.request.clone(), at.position).await {
        Ok(found) => p12(found),
        Err(refusal) => refused(&visitor, &refusal),
    }
}
