//! What is done to recipients and messages: forms, questions before something is taken away, and what became of a test.

use askama::Template;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;

use super::super::Console;
use super::super::account::Confirm;
use super::super::form::{Form, Posted};
use super::super::page;
use super::super::text::{ENGLISH, Texts};
use super::super::visitor::{Visitor, wants_fragment};
use super::{Named, choices};
use crate::domain::notification::{EventKind, Target};
use crate::service::{AddedRecipient, NewTarget, Refusal, TestResult};

/// The fields of the form.
const TARGET: &str = "target";
const EVENTS: &str = "events";

#[derive(Template)]
#[template(path = "notification_form.html")]
struct RecipientForm<'a> {
    t: &'static Texts,
    title: &'static str,
    /// Whether the target is asked for, or stays.
    asks_target: bool,
    sends_mail: bool,
    button: &'static str,
    action: &'a str,
    csrf: String,
    choices: Vec<EventKind>,
    form: &'a Form,
    in_dialog: bool,
}

#[derive(Template)]
#[template(path = "notification_added.html")]
struct Added<'a> {
    t: &'static Texts,
    target: &'a str,
    secret: &'a str,
    base: &'a str,
}

#[derive(Template)]
#[template(path = "notification_tested.html")]
struct Tested<'a> {
    t: &'static Texts,
    result: &'a TestResult,
    path: &'a str,
}

/// A form in the dialog that asked for it, or on a page of its own.
async fn present(console: &Console, visitor: &Visitor, named: &Named, form: &Form, fragment: &impl Template, in_dialog: bool) -> Result<Response, Refusal> {
    let status = if form.is_right() { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
    if in_dialog {
        return Ok(page::show(status, fragment));
    }
    Ok(page::alone(status, named.frame(console, visitor, named.title()).await?, fragment))
}

/// The answer, or the page that says why there is none.
fn or_refused(answer: Result<Response, Refusal>, visitor: &Visitor) -> Response {
    answer.unwrap_or_else(|refusal| page::refused(&refusal, visitor.request))
}

fn chosen(form: &Form, named: &Named) -> Vec<EventKind> {
    choices(named).into_iter().filter(|kind| form.has(EVENTS, kind.as_str())).collect()
}

async fn present_new(console: &Console, visitor: &Visitor, named: &Named, form: &Form, in_dialog: bool) -> Result<Response, Refusal> {
    let (t, action) = (&ENGLISH.notifications, format!("{}/new", named.base()?));
    let fragment = RecipientForm {
        t: &ENGLISH,
        title: t.add,
        asks_target: true,
        sends_mail: console.service.sends_mail(),
        button: ENGLISH.frame.save,
        action: &action,
        csrf: visitor.csrf(),
        choices: choices(named),
        form,
        in_dialog,
    };
    present(console, visitor, named, form, &fragment, in_dialog).await
}

pub(super) async fn new(State(console): State<Console>, visitor: Visitor, headers: HeaderMap, Path(named): Path<Named>) -> Response {
    let asked = async {
        // Whoever may not add one gets no form either.
        console.service.recipients(named.area(&visitor)?).await?;
        present_new(&console, &visitor, &named, &Form::default(), wants_fragment(&headers)).await
    };
    or_refused(asked.await, &visitor)
}

pub(super) async fn add(State(console): State<Console>, Path(named): Path<Named>, posted: Posted) -> Response {
    let Posted { visitor, mut form, in_dialog, is_ours } = posted;
    let answer = async {
        if is_ours {
            let input = Target::parse(TARGET, form.value(TARGET)).map(|target| NewTarget { target, events: chosen(&form, &named) });
            let added = console.service.add_recipient(named.area(&visitor)?, input.map_err(Refusal::from)).await;
            form = match added.map_err(|refusal| form.refuse(refusal)) {
                Ok(added) => return present_added(&console, &visitor, &named, &added, in_dialog).await,
                Err(Ok(form)) => form,
                Err(Err(refusal)) => return Err(refusal),
            };
        }
        present_new(&console, &visitor, &named, &form, in_dialog).await
    };
    or_refused(answer.await, &visitor)
}

/// A webhook's secret is shown now or never.
async fn present_added(console: &Console, visitor: &Visitor, named: &Named, added: &AddedRecipient, in_dialog: bool) -> Result<Response, Refusal> {
    let base = named.base()?;
    let Some(secret) = &added.secret else { return Ok(page::go(in_dialog, &format!("{base}?done=added"))) };
    let fragment = Added { t: &ENGLISH, target: added.target.as_str(), secret: secret.expose(), base: &base };
    present(console, visitor, named, &Form::default(), &fragment, in_dialog).await
}

async fn present_edit(console: &Console, visitor: &Visitor, named: &Named, form: &Form, in_dialog: bool) -> Result<Response, Refusal> {
    let action = format!("{}/edit", named.of_recipient()?);
    let fragment = RecipientForm {
        t: &ENGLISH,
        title: ENGLISH.notifications.edit,
        asks_target: false,
        sends_mail: true,
        button: ENGLISH.frame.save,
        action: &action,
        csrf: visitor.csrf(),
        choices: choices(named),
        form,
        in_dialog,
    };
    present(console, visitor, named, form, &fragment, in_dialog).await
}

pub(super) async fn edit(State(console): State<Console>, visitor: Visitor, headers: HeaderMap, Path(named): Path<Named>) -> Response {
    let asked = async {
        let recipient = console.service.recipient(named.area(&visitor)?, named.recipient()?).await?;
        let form = Form::showing(recipient.events.iter().map(|kind| (EVENTS, kind.as_str())));
        present_edit(&console, &visitor, &named, &form, wants_fragment(&headers)).await
    };
    or_refused(asked.await, &visitor)
}

pub(super) async fn change(State(console): State<Console>, Path(named): Path<Named>, posted: Posted) -> Response {
    let Posted { visitor, mut form, in_dialog, is_ours } = posted;
    let answer = async {
        if is_ours {
            let changed = console.service.set_recipient_events(named.area(&visitor)?, named.recipient()?, chosen(&form, &named)).await;
            form = match changed.map_err(|refusal| form.refuse(refusal)) {
                Ok(()) => return Ok(page::go(in_dialog, &format!("{}?done=changed", named.of_recipient()?))),
                Err(Ok(form)) => form,
                Err(Err(refusal)) => return Err(refusal),
            };
        }
        present_edit(&console, &visitor, &named, &form, in_dialog).await
    };
    or_refused(answer.await, &visitor)
}

pub(super) async fn test(State(console): State<Console>, Path(named): Path<Named>, posted: Posted) -> Response {
    let Posted { visitor, in_dialog, is_ours, .. } = posted;
    let answer = async {
        let path = named.of_recipient()?;
        if !is_ours {
            return Ok(page::go(in_dialog, &path));
        }
        let result = console.service.test_recipient(named.area(&visitor)?, named.recipient()?).await?;
        let fragment = Tested { t: &ENGLISH, result: &result, path: &path };
        present(&console, &visitor, &named, &Form::default(), &fragment, in_dialog).await
    };
    or_refused(answer.await, &visitor)
}

async fn set_enabled(console: &Console, named: &Named, posted: Posted, enabled: bool) -> Response {
    let Posted { visitor, in_dialog, is_ours, .. } = posted;
    let answer = async {
        let path = named.of_recipient()?;
        if !is_ours {
            return Ok(page::go(in_dialog, &path));
        }
        console.service.set_recipient_enabled(named.area(&visitor)?, named.recipient()?, enabled).await?;
        Ok(page::go(in_dialog, &format!("{path}?done={}", if enabled { "enabled" } else { "disabled" })))
    };
    or_refused(answer.await, &visitor)
}

pub(super) async fn enable(State(console): State<Console>, Path(named): Path<Named>, posted: Posted) -> Response {
    set_enabled(&console, &named, posted, true).await
}

pub(super) async fn disable(State(console): State<Console>, Path(named): Path<Named>, posted: Posted) -> Response {
    set_enabled(&console, &named, posted, false).await
}

pub(super) async fn send_again(State(console): State<Console>, Path(named): Path<Named>, posted: Posted) -> Response {
    let Posted { visitor, in_dialog, is_ours, .. } = posted;
    let answer = async {
        let path = named.of_recipient()?;
        if !is_ours {
            return Ok(page::go(in_dialog, &path));
        }
        console.service.resend_message(named.area(&visitor)?, named.recipient()?, named.message()?).await?;
        Ok(page::go(in_dialog, &format!("{path}?done=resent")))
    };
    or_refused(answer.await, &visitor)
}

/// What takes something away, and asks first.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Taking {
    Recipient,
    Message,
}

async fn present_taking(console: &Console, visitor: &Visitor, taking: Taking, named: &Named, form: &Form, in_dialog: bool) -> Result<Response, Refusal> {
    let (t, path) = (&ENGLISH.notifications, named.of_recipient()?);
    let recipient = console.service.recipient(named.area(visitor)?, named.recipient()?).await?;
    let (action, title, told, button) = match taking {
        Taking::Recipient => (format!("{path}/delete"), t.delete_title, format!("{}: {}", t.delete_told, recipient.target.as_str()), ENGLISH.frame.delete),
        Taking::Message => {
            let message = console.service.notification(named.area(visitor)?, named.recipient()?, named.message()?).await?.id;
            (format!("{path}/messages/{message}/discard"), t.discard_title, format!("{}: {message}", t.discard_told), t.discard)
        }
    };
    let fragment = Confirm { t: &ENGLISH, in_draft: false, title, told, action: &action, button, csrf: visitor.csrf(), seen: None, form, in_dialog };
    present(console, visitor, named, form, &fragment, in_dialog).await
}

async fn take(console: &Console, taking: Taking, named: &Named, posted: Posted) -> Response {
    let Posted { visitor, mut form, in_dialog, is_ours } = posted;
    let answer = async {
        if is_ours {
            let (area, recipient) = (named.area(&visitor)?, named.recipient()?);
            let taken = match taking {
                Taking::Recipient => console.service.delete_recipient(area, recipient).await,
                Taking::Message => console.service.discard_message(area, recipient, named.message()?).await,
            };
            let to = if taking == Taking::Recipient { format!("{}?done=deleted", named.base()?) } else { format!("{}?done=discarded", named.of_recipient()?) };
            form = match taken.map_err(|refusal| form.refuse(refusal)) {
                Ok(()) => return Ok(page::go(in_dialog, &to)),
                Err(Ok(form)) => form,
                Err(Err(refusal)) => return Err(refusal),
            };
        }
        present_taking(console, &visitor, taking, named, &form, in_dialog).await
    };
    or_refused(answer.await, &visitor)
}

pub(super) async fn ask_to_delete(State(console): State<Console>, visitor: Visitor, headers: HeaderMap, Path(named): Path<Named>) -> Response {
    let asked = present_taking(&console, &visitor, Taking::Recipient, &named, &Form::default(), wants_fragment(&headers)).await;
    or_refused(asked, &visitor)
}

pub(super) async fn delete(State(console): State<Console>, Path(named): Path<Named>, posted: Posted) -> Response {
    take(&console, Taking::Recipient, &named, posted).await
}

pub(super) async fn ask_to_discard(State(console): State<Console>, visitor: Visitor, headers: HeaderMap, Path(named): Path<Named>) -> Response {
    let asked = present_taking(&console, &visitor, Taking::Message, &named, &Form::default(), wants_fragment(&headers)).await;
    or_refused(asked, &visitor)
}

pub(super) async fn discard(State(console): State<Console>, Path(named): Path<Named>, posted: Posted) -> Response {
    take(&console, Taking::Message, &named, posted).await
}
