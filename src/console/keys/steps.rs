//! Rotation, and the way to the end of a key or a version: each step asks first, and names what it is about.

use askama::Template;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::Deserialize;

use super::super::Console;
use super::super::address::Path;
use super::super::door::Door;
use super::super::form::{Form, Posted};
use super::super::key_stores::present;
use super::super::page;
use super::super::text::{ENGLISH, Texts};
use super::super::visitor::{Visitor, wants_fragment};
use super::At;
use crate::domain::ids::KeyVersion;
use crate::domain::key::KeyKind;
use crate::domain::lifecycle::Command;
use crate::domain::result_code::ResultCode;
use crate::service::{KeyDetails, Refusal};

/// What can be done to a key or a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Rotate,
    RequestDeletion,
    CancelDeletion,
    Delete,
}

impl Step {
    pub(super) const ALL: [Self; 4] = [Self::Rotate, Self::RequestDeletion, Self::CancelDeletion, Self::Delete];

    /// Its word in addresses.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Rotate => "rotate",
            Self::RequestDeletion => "request-deletion",
            Self::CancelDeletion => "cancel-deletion",
            Self::Delete => "delete",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|step| step.as_str() == text)
    }

    /// What it asks of a key, or of one of its versions.
    pub(super) fn command(self, version: Option<KeyVersion>) -> Option<Command> {
        match (self, version) {
            (Self::Rotate, None) => Some(Command::Rotate),
            (Self::RequestDeletion, None) => Some(Command::RequestDeletion),
            (Self::CancelDeletion, None) => Some(Command::Restore),
            (Self::Delete, None) => Some(Command::Destroy),
            (Self::Rotate, Some(_)) => None,
            (Self::RequestDeletion, Some(version)) => Some(Command::RequestVersionDeletion(version)),
            (Self::CancelDeletion, Some(version)) => Some(Command::RestoreVersion(version)),
            (Self::Delete, Some(version)) => Some(Command::DestroyVersion(version)),
        }
    }

    /// What its button says.
    pub(super) fn label(self) -> &'static str {
        let t = &ENGLISH.keys;
        match self {
            Self::Rotate => t.rotate,
            Self::RequestDeletion => t.request_deletion,
            Self::CancelDeletion => t.cancel_deletion,
            Self::Delete => t.delete,
        }
    }

    /// Whether it takes something away.
    pub(super) fn is_bad(self) -> bool {
        matches!(self, Self::RequestDeletion | Self::Delete)
    }

    fn told(self, of_version: bool, kind: KeyKind) -> &'static str {
        let t = &ENGLISH.keys;
        match (self, of_version, kind) {
            (Self::Rotate, ..) => t.rotate_told,
            (Self::RequestDeletion, false, _) => t.request_deletion_told,
            (Self::RequestDeletion, true, _) => t.request_version_deletion_told,
            (Self::CancelDeletion, ..) => t.cancel_deletion_told,
            (Self::Delete, false, KeyKind::Secret) => t.delete_data_told,
            (Self::Delete, false, _) => t.delete_told,
            (Self::Delete, true, _) => t.delete_version_told,
        }
    }

    /// The word of the page that follows.
    fn done(self) -> &'static str {
        match self {
            Self::Rotate => "rotated",
            Self::RequestDeletion => "requested",
            Self::CancelDeletion => "cancelled",
            Self::Delete => "deleted",
        }
    }
}

/// Which step of which key or version.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct StepAt {
    project: i64,
    store: String,
    key: String,
    version: Option<String>,
    step: String,
}

impl StepAt {
    fn key(&self) -> At {
        At { project: self.project, store: self.store.clone(), key: self.key.clone() }
    }

    fn action(&self, door: Door) -> String {
        let version = self.version.as_ref().map(|version| format!("/versions/{version}")).unwrap_or_default();
        format!("{}{version}/steps/{}", self.key().path(door), self.step)
    }
}

#[derive(Template)]
#[template(path = "key_step.html")]
struct Confirm<'a> {
    t: &'static Texts,
    in_draft: bool,
    step: Step,
    told: &'static str,
    action: String,
    csrf: String,
    seen: String,
    kind: &'static str,
    details: &'a KeyDetails,
    version: Option<&'a str>,
    form: &'a Form,
    in_dialog: bool,
}

async fn present_step(console: &Console, visitor: &Visitor, at: &StepAt, step: Step, form: &Form, in_dialog: bool) -> Response {
    if let Err(refusal) = visitor.require_change(at.key().project()) {
        return page::refused(&refusal, visitor.request);
    }
    let details = match at.key().details(console, visitor).await {
        Ok(details) => details,
        Err(refusal) => return page::gone_or_refused(&refusal, visitor.request, in_dialog),
    };
    let key = &details.listed.key;
    let seen = if form.is_sent("seen") { form.value("seen").to_owned() } else { key.changed.at.micros().to_string() };
    let fragment = Confirm {
        t: &ENGLISH,
        in_draft: visitor.drafts(),
        step,
        told: step.told(at.version.is_some(), key.kind),
        action: at.action(visitor.door),
        csrf: visitor.csrf(),
        seen,
        kind: super::kind(key.kind),
        details: &details,
        version: at.version.as_deref(),
        form,
        in_dialog,
    };
    let status = if form.is_right() { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
    present(console, visitor, at.key().project(), status, step.label(), &fragment, in_dialog).await
}

pub(super) async fn ask(State(console): State<Console>, visitor: Visitor, headers: HeaderMap, Path(at): Path<StepAt>) -> Response {
    let Some(step) = Step::parse(&at.step) else { return page::refused(&ResultCode::UrlNotFound.into(), visitor.request) };
    present_step(&console, &visitor, &at, step, &Form::default(), wants_fragment(&headers)).await
}

async fn carry_out(console: &Console, visitor: &Visitor, at: &StepAt, step: Step, form: &Form) -> Result<(), Refusal> {
    let (service, request, key) = (&console.service, visitor.about(at.key().project()), at.key().as_seen(form));
    match (step, at.version.clone()) {
        (Step::Rotate, None) => service.rotate_key(request, key).await.map(drop),
        (Step::RequestDeletion, None) => service.request_key_deletion(request, key).await.map(drop),
        (Step::CancelDeletion, None) => service.restore_key(request, key).await.map(drop),
        (Step::Delete, None) => service.delete_key(request, key).await.map(drop),
        (Step::Rotate, Some(_)) => Err(ResultCode::UrlNotFound.into()),
        (Step::RequestDeletion, Some(version)) => service.request_version_deletion(request, key, version).await.map(drop),
        (Step::CancelDeletion, Some(version)) => service.restore_version(request, key, version).await.map(drop),
        (Step::Delete, Some(version)) => service.delete_version(request, key, version).await.map(drop),
    }
}

pub(super) async fn take(State(console): State<Console>, Path(at): Path<StepAt>, posted: Posted) -> Response {
    let Posted { visitor, form, in_dialog, is_ours } = posted;
    let Some(step) = Step::parse(&at.step) else { return page::refused(&ResultCode::UrlNotFound.into(), visitor.request) };
    let taken = if is_ours { Some(carry_out(&console, &visitor, &at, step, &form).await) } else { None };
    let form = match taken {
        Some(Ok(())) if step == Step::Delete && at.version.is_none() => {
            return page::go(in_dialog, &format!("{}?done=key-deleted", at.key().list(visitor.door)));
        }
        Some(Ok(())) => return page::go(in_dialog, &format!("{}?done={}", at.key().path(visitor.door), step.done())),
        Some(Err(Refusal::Proposed(_))) => return page::go(in_dialog, &format!("{}?done=drafted", at.key().path(visitor.door))),
        Some(Err(refusal)) => match form.refuse(refusal) {
            Ok(form) => form,
            Err(refusal) => return page::refused(&refusal, visitor.request),
        },
        None => form,
    };
    present_step(&console, &visitor, &at, step, &form, in_dialog).await
}
