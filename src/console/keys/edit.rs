//! **Edit**: name, description, rotation cycle; the value of confidential data.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;

use super::super::Console;
use super::super::address::Path;
use super::super::draft::Draft;
use super::super::form::{Form, Posted};
use super::super::key_stores::present;
use super::super::page;
use super::super::text::ENGLISH;
use super::super::visitor::{Visitor, wants_fragment};
use super::At;
use super::add::KeyForm;
use crate::domain::key::{KeyKind, RotationPeriod};
use crate::service::{KeyChange, KeyDetails, Refusal};

fn filled(details: &KeyDetails) -> Form {
    let key = &details.listed.key;
    let (cycle, seen) = (key.rotation.days().to_string(), key.changed.at.micros().to_string());
    Form::showing([("name", key.name.as_str()), ("description", key.description.as_str()), ("autoRotationPeriod", &cycle), ("seen", &seen)])
}

fn typed(form: &Form) -> Result<KeyChange, Refusal> {
    let cycle = form.is_sent("autoRotationPeriod").then(|| RotationPeriod::from_days(form.number("autoRotationPeriod", 0)?));
    Ok(KeyChange { name: Some(form.name("name")?), description: Some(form.description()?), rotation: cycle.transpose()? })
}

async fn present_form(console: &Console, visitor: &Visitor, at: &At, details: &KeyDetails, form: &Form, in_dialog: bool) -> Response {
    let status = if form.is_right() { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
    let (t, title) = (&ENGLISH.keys, ENGLISH.keys.edit);
    let fragment = KeyForm {
        t: &ENGLISH,
        in_draft: visitor.drafts(),
        title,
        action: format!("{}/edit", at.path(visitor.door)),
        csrf: visitor.csrf(),
        form,
        in_dialog,
        data: (details.listed.key.kind == KeyKind::Secret).then_some((t.new_data, t.new_data_hint)),
        with_cycle: details.rotatable,
        with_key_data: false,
    };
    present(console, visitor, at.project(), status, title, &fragment, in_dialog).await
}

pub(super) async fn show(State(console): State<Console>, visitor: Visitor, headers: HeaderMap, Path(at): Path<At>) -> Response {
    if let Err(refusal) = visitor.require_change(at.project()) {
        return page::refused(&refusal, visitor.request);
    }
    let in_dialog = wants_fragment(&headers);
    let found = async {
        let mut details = at.details(&console, &visitor).await?;
        // Whoever edits a draft goes on from what is in it.
        if let Some(draft) = Draft::read(&console, &visitor, at.project(), &at.store).await? {
            draft.over_key(&mut details.listed.key);
        }
        Ok(details)
    };
    match found.await {
        Ok(details) => present_form(&console, &visitor, &at, &details, &filled(&details), in_dialog).await,
        Err(refusal) => page::gone_or_refused(&refusal, visitor.request, in_dialog),
    }
}

async fn put(console: &Console, visitor: &Visitor, at: &At, form: &Form) -> Result<(), Refusal> {
    let (request, key, value) = (visitor.about(at.project()), at.as_seen(form), form.secret_text("secretValue"));
    if value.expose().is_empty() {
        console.service.change_key(request, key, typed(form)).await.map(drop)
    } else {
        console.service.edit_secret(request, key, typed(form).map(|change| (change, value))).await
    }
}

pub(super) async fn change(State(console): State<Console>, Path(at): Path<At>, posted: Posted) -> Response {
    let Posted { visitor, form, in_dialog, is_ours } = posted;
    let changed = if is_ours { Some(put(&console, &visitor, &at, &form).await) } else { None };
    let form = match changed {
        Some(Ok(())) => return page::go(in_dialog, &format!("{}?done=changed", at.path(visitor.door))),
        Some(Err(Refusal::Proposed(_))) => return page::go(in_dialog, &format!("{}?done=drafted", at.path(visitor.door))),
        Some(Err(refusal)) => match form.refuse(refusal) {
            Ok(form) => form,
            Err(refusal) => return page::refused(&refusal, visitor.request),
        },
        None => form,
    };
    if let Err(refusal) = visitor.require_change(at.project()) {
        return page::refused(&refusal, visitor.request);
    }
    match at.details(&console, &visitor).await {
        Ok(details) => present_form(&console, &visitor, &at, &details, &form, in_dialog).await,
        Err(refusal) => page::gone_or_refused(&refusal, visitor.request, in_dialog),
    }
}
