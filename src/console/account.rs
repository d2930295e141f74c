//! One's own account: password, second factor, sessions.

use askama::Template;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::{get, post};

use super::Console;
use super::address::{Path, Query};
use super::assets::Assets;
use super::form::{Form, Posted};
use super::list::Asked;
use super::page::{self, Frame, Tab};
use super::qr::QrCode;
use super::routes::Routes;
use super::text::{ENGLISH, Texts};
use super::visitor::{Visitor, wants_fragment};
use crate::domain::account::Session;
use crate::domain::clock::Timestamp;
use crate::domain::result_code::ResultCode;
use crate::domain::secret::SecretText;
use crate::domain::text::Invalid;
use crate::service::{Enrolment, Refusal, SecondFactorState};

/// So many recovery codes, or fewer, are few: their owner is told.
const RECOVERY_CODES_FEW: i64 = 3;

/// The pages of one's own account.
pub(super) fn routes() -> Routes {
    Routes::new()
        .route("/account", get(show))
        .route("/account/password", get(ask_password).post(change_password))
        .route("/account/second-factor/begin", post(begin_second_factor))
        .route("/account/second-factor", get(show_second_factor).post(confirm_second_factor))
        .route("/account/second-factor/off", get(ask_second_factor_off).post(second_factor_off))
        .route("/account/sessions/others/end", get(ask_to_end_others).post(end_others))
        .route("/account/sessions/{session}/end", get(ask_to_end).post(end))
}

#[derive(Template)]
#[template(path = "account.html")]
struct AccountPage {
    t: &'static Texts,
    assets: &'static Assets,
    frame: Frame,
    zone: chrono_tz::Tz,
    own: Session,
    sessions: Vec<Session>,
    second_factor: SecondFactorState,
}

impl AccountPage {
    fn time(&self, at: &Timestamp) -> String {
        shown_time(self.zone, *at)
    }

    fn has_few_codes(&self) -> bool {
        self.second_factor.recovery_codes <= RECOVERY_CODES_FEW
    }

    fn name(&self, session: &Session) -> String {
        hex::encode(session.token.0)
    }
}

#[derive(Template)]
#[template(path = "password_form.html")]
struct PasswordForm<'a> {
    t: &'static Texts,
    csrf: String,
    form: &'a Form,
    in_dialog: bool,
    is_first: bool,
}

#[derive(Template)]
#[template(path = "second_factor_form.html")]
struct SecondFactorForm<'a> {
    t: &'static Texts,
    csrf: String,
    form: &'a Form,
    enrolment: &'a Enrolment,
    qr: QrCode,
}

#[derive(Template)]
#[template(path = "recovery_codes.html")]
struct RecoveryCodes<'a> {
    t: &'static Texts,
    codes: &'a [SecretText],
    /// All of them, to be copied or kept in a file.
    all: SecretText,
}

#[derive(Template)]
#[template(path = "second_factor_off.html")]
struct SecondFactorOff<'a> {
    t: &'static Texts,
    csrf: String,
    form: &'a Form,
    in_dialog: bool,
}

/// A question before something is taken away.
#[derive(Template)]
#[template(path = "confirm.html")]
pub(super) struct Confirm<'a> {
    pub(super) t: &'static Texts,
    /// Whether it goes into a draft.
    pub(super) in_draft: bool,
    pub(super) title: &'static str,
    pub(super) told: String,
    pub(super) action: &'a str,
    pub(super) button: &'static str,
    pub(super) csrf: String,
    /// What was seen of it, for a form that is about something that others change.
    pub(super) seen: Option<String>,
    pub(super) form: &'a Form,
    pub(super) in_dialog: bool,
}

/// A time as the console shows it, to the minute.
pub(super) fn shown_time(zone: chrono_tz::Tz, at: Timestamp) -> String {
    chrono::DateTime::from_timestamp_micros(at.micros()).map(|at| at.with_timezone(&zone).format("%Y-%m-%d %H:%M %Z").to_string()).unwrap_or_default()
}

/// What stands in [`Asked::done`] after something was done.
fn notice(done: &str) -> Option<&'static str> {
    let t = &ENGLISH.account;
    match done {
        "password" => Some(t.password_changed),
        "off" => Some(t.second_factor_is_off),
        "ended" => Some(t.session_ended),
        _ => None,
    }
}

/// A form in the dialog that asked for it, or on a page of its own.
pub(super) async fn present(console: &Console, visitor: &Visitor, form: &Form, title: &str, fragment: &impl Template, in_dialog: bool) -> Response {
    let status = if form.is_right() { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
    if in_dialog {
        return page::show(status, fragment);
    }
    match Frame::new(console, visitor, title).await {
        Ok(frame) => page::alone(status, frame, fragment),
        Err(refusal) => page::refused(&refusal, visitor.request),
    }
}

async fn show(State(console): State<Console>, visitor: Visitor, Query(asked): Query<Asked>) -> Response {
    let shown = async {
        let frame = Frame::new(&console, &visitor, ENGLISH.account.title).await?.noticing(notice(&asked.done));
        let sessions = console.service.sessions_of(&visitor.session).await?;
        let second_factor = console.service.second_factor_state(&visitor.visit()).await?;
        let (zone, own) = (console.settings.zone, visitor.session.as_ref().clone());
        Ok(page::show(StatusCode::OK, &AccountPage { t: &ENGLISH, assets: frame.assets, frame, zone, own, sessions, second_factor }))
    };
    shown.await.unwrap_or_else(|refusal: Refusal| page::refused(&refusal, visitor.request))
}

async fn present_password(console: &Console, visitor: &Visitor, form: &Form, in_dialog: bool) -> Response {
    let is_first = visitor.session.must_change_password;
    let fragment = PasswordForm { t: &ENGLISH, csrf: visitor.csrf(), form, in_dialog, is_first };
    present(console, visitor, form, ENGLISH.account.change_password, &fragment, in_dialog).await
}

async fn ask_password(State(console): State<Console>, visitor: Visitor, headers: HeaderMap) -> Response {
    present_password(&console, &visitor, &Form::default(), wants_fragment(&headers)).await
}

async fn change_password(State(console): State<Console>, posted: Posted) -> Response {
    let Posted { visitor, mut form, in_dialog, is_ours } = posted;
    let (current, password, again) = (form.secret("current"), form.secret("password"), form.secret("again"));
    for field in ["current", "password", "again"] {
        form.forget(field);
    }
    if is_ours {
        let changed = if password == again {
            console.service.change_own_password(&visitor.visit(), current, password).await
        } else {
            Err(Invalid::new("again", "differs from the new password").into())
        };
        form = match changed.map_err(|refusal| form.refuse(refusal)) {
            Ok(()) => return page::go(in_dialog, "/account?done=password"),
            Err(Ok(form)) => form,
            Err(Err(refusal)) => return page::refused(&refusal, visitor.request),
        };
    }
    present_password(&console, &visitor, &form, in_dialog).await
}

async fn begin_second_factor(State(console): State<Console>, posted: Posted) -> Response {
    let Posted { visitor, in_dialog, is_ours, .. } = posted;
    if is_ours
        && let Err(refusal) = console.service.begin_second_factor(&visitor.visit()).await
        && refusal.code() != ResultCode::Conflict
    {
        return page::refused(&refusal, visitor.request);
    }
    page::go(in_dialog, if is_ours { "/account/second-factor" } else { "/account" })
}

async fn present_second_factor(console: &Console, visitor: &Visitor, form: &Form) -> Response {
    let enrolment = match console.service.pending_second_factor(&visitor.visit()).await {
        Ok(enrolment) => enrolment,
        // On already, or never begun.
        Err(Refusal::Code(ResultCode::UrlNotFound)) => return page::go(false, "/account"),
        Err(refusal) => return page::refused(&refusal, visitor.request),
    };
    let qr = QrCode::of(enrolment.address.expose());
    let fragment = SecondFactorForm { t: &ENGLISH, csrf: visitor.csrf(), form, enrolment: &enrolment, qr };
    present(console, visitor, form, ENGLISH.account.second_factor, &fragment, false).await
}

async fn show_second_factor(State(console): State<Console>, visitor: Visitor) -> Response {
    present_second_factor(&console, &visitor, &Form::default()).await
}

async fn confirm_second_factor(State(console): State<Console>, posted: Posted) -> Response {
    let Posted { visitor, mut form, is_ours, .. } = posted;
    if is_ours {
        let confirmed = console.service.confirm_second_factor(&visitor.visit(), form.value("code")).await;
        form = match confirmed.map_err(|refusal| form.refuse(refusal)) {
            Ok(codes) => {
                let all = SecretText::new(codes.iter().map(|code| format!("{}\n", code.expose())).collect());
                let fragment = RecoveryCodes { t: &ENGLISH, codes: &codes, all };
                return present(&console, &visitor, &Form::default(), ENGLISH.account.recovery_codes, &fragment, false).await;
            }
            Err(Ok(form)) => form,
            Err(Err(refusal)) => return page::refused(&refusal, visitor.request),
        };
    }
    present_second_factor(&console, &visitor, &form).await
}

async fn present_second_factor_off(console: &Console, visitor: &Visitor, form: &Form, in_dialog: bool) -> Response {
    let fragment = SecondFactorOff { t: &ENGLISH, csrf: visitor.csrf(), form, in_dialog };
    present(console, visitor, form, ENGLISH.account.second_factor_off, &fragment, in_dialog).await
}

async fn ask_second_factor_off(State(console): State<Console>, visitor: Visitor, headers: HeaderMap) -> Response {
    present_second_factor_off(&console, &visitor, &Form::default(), wants_fragment(&headers)).await
}

async fn second_factor_off(State(console): State<Console>, posted: Posted) -> Response {
    let Posted { visitor, mut form, in_dialog, is_ours } = posted;
    let password = form.secret("password");
    form.forget("password");
    if is_ours {
        form = match console.service.remove_second_factor(&visitor.visit(), password).await.map_err(|refusal| form.refuse(refusal)) {
            Ok(()) => return page::go(in_dialog, "/account?done=off"),
            Err(Ok(form)) => form,
            Err(Err(refusal)) => return page::refused(&refusal, visitor.request),
        };
    }
    present_second_factor_off(&console, &visitor, &form, in_dialog).await
}

async fn present_end(console: &Console, visitor: &Visitor, action: &str, told: String, form: &Form, in_dialog: bool) -> Response {
    let t = &ENGLISH.account;
    let fragment =
        Confirm { t: &ENGLISH, in_draft: false, title: t.end_session, told, action, button: t.end, csrf: visitor.csrf(), seen: None, form, in_dialog };
    present(console, visitor, form, t.end_session, &fragment, in_dialog).await
}

const OTHERS: &str = "/account/sessions/others/end";

async fn present_end_others(console: &Console, visitor: &Visitor, form: &Form, in_dialog: bool) -> Response {
    match console.service.sessions_of(&visitor.session).await {
        Ok(sessions) => {
            let others = sessions.iter().filter(|session| session.token != visitor.session.token).count();
            present_end(console, visitor, OTHERS, format!("{}: {others}", ENGLISH.account.end_others_told), form, in_dialog).await
        }
        Err(refusal) => page::refused(&refusal, visitor.request),
    }
}

async fn ask_to_end_others(State(console): State<Console>, visitor: Visitor, headers: HeaderMap) -> Response {
    present_end_others(&console, &visitor, &Form::default(), wants_fragment(&headers)).await
}

async fn end_others(State(console): State<Console>, posted: Posted) -> Response {
    let Posted { visitor, form, in_dialog, is_ours } = posted;
    if !is_ours {
        return present_end_others(&console, &visitor, &form, in_dialog).await;
    }
    match console.service.end_other_sessions(&visitor.visit()).await {
        Ok(()) => page::go(in_dialog, "/account?done=ended"),
        Err(refusal) => page::refused(&refusal, visitor.request),
    }
}

fn told(session: &Session) -> String {
    format!("{}: {}, {}", ENGLISH.account.end_told, session.address, session.user_agent)
}

async fn ask_to_end(State(console): State<Console>, visitor: Visitor, headers: HeaderMap, Path(name): Path<String>) -> Response {
    match console.service.own_session(&visitor.visit(), &name).await {
        Ok(session) => {
            let action = format!("/account/sessions/{name}/end");
            present_end(&console, &visitor, &action, told(&session), &Form::default(), wants_fragment(&headers)).await
        }
        Err(refusal) => page::refused(&refusal, visitor.request),
    }
}

async fn end(State(console): State<Console>, Path(name): Path<String>, posted: Posted) -> Response {
    let Posted { visitor, form, in_dialog, is_ours } = posted;
    let ended = async {
        let session = match (console.service.own_session(&visitor.visit(), &name).await, is_ours) {
            (Ok(session), true) => session,
            (Ok(session), false) => return Ok(Some(session)),
            // Ended meanwhile is as good.
            (Err(_), true) => return Ok(None),
            (Err(refusal), false) => return Err(refusal),
        };
        console.service.end_session(visitor.request, &visitor.caller, &visitor.session, session.token).await.map(|()| None)
    };
    match ended.await {
        Ok(None) => page::go(in_dialog, "/account?done=ended"),
        Ok(Some(session)) => present_end(&console, &visitor, &format!("/account/sessions/{name}/end"), told(&session), &form, in_dialog).await,
        Err(refusal) => page::refused(&refusal, visitor.request),
    }
}
