//! Accounts: of people who sign in, and of owners of access keys.

use askama::Template;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::get;

use super::super::routes::Routes;
use super::{Question, Tried, attempt, seen};
use crate::console::Console;
use crate::console::account::{present, shown_time};
use crate::console::address::{Path, Query};
use crate::console::approvals::note;
use crate::console::assets::Assets;
use crate::console::form::{Form, Posted};
use crate::console::governance::present_enabling;
use crate::console::list::{Around, Asked};
use crate::console::page::{self, Frame, Tab};
use crate::console::text::{ENGLISH, Texts};
use crate::console::visitor::{Visitor, wants_fragment};
use crate::domain::account::{AccessKeySummary, AccountSummary, SecretHash, Session};
use crate::domain::clock::Timestamp;
use crate::domain::ids::AccountId;
use crate::domain::listing::Listed;
use crate::domain::result_code::ResultCode;
use crate::domain::secret::SecretText;
use crate::service::{AccountDetails, AccountRef, ProjectChange, Refusal, check_first_part};

const HERE: &str = "/organization/accounts";

pub(super) fn routes() -> Routes {
    Routes::new()
        .route("/organization/accounts", get(index))
        .route("/organization/accounts/new", get(new).post(add))
        .route("/organization/accounts/{account}", get(show))
        .route("/organization/accounts/{account}/password", get(ask_password).post(set_password))
        .route("/organization/accounts/{account}/steps/{step}", get(ask).post(take))
        .route("/organization/accounts/{account}/sessions/{session}/end", get(ask_to_end).post(end))
}

#[derive(Template)]
#[template(path = "organization_accounts.html")]
struct AccountsPage {
    t: &'static Texts,
    assets: &'static Assets,
    frame: Frame,
    zone: chrono_tz::Tz,
    listed: Listed<AccountSummary>,
    around: Around,
}

impl AccountsPage {
    fn time(&self, at: &Timestamp) -> String {
        shown_time(self.zone, *at)
    }
}

#[derive(Template)]
#[template(path = "organization_account.html")]
struct AccountPage {
    t: &'static Texts,
    assets: &'static Assets,
    frame: Frame,
    zone: chrono_tz::Tz,
    details: AccountDetails,
    is_own: bool,
    path: String,
}

impl AccountPage {
    fn time(&self, at: &Timestamp) -> String {
        shown_time(self.zone, *at)
    }

    fn last_use(&self, key: &AccessKeySummary) -> Option<String> {
        key.last_access.map(|at| shown_time(self.zone, at))
    }

    /// What leads from an access key's form back here.
    fn back(&self) -> String {
        format!("?account={}", self.details.listed.id)
    }

    fn session_path(&self, session: &Session) -> String {
        format!("{}/sessions/{}/end", self.path, hex::encode(session.token.0))
    }
}

/// A first password, with the name of a new account.
#[derive(Template)]
#[template(path = "organization_account_form.html")]
struct AccountForm<'a> {
    t: &'static Texts,
    title: &'static str,
    /// Whether it becomes a request: the account asks or approves where approval is on.
    with_note: bool,
    /// The projects with approval on where this person doesn't ask for it.
    elsewhere: Option<String>,
    /// Whose password it is, of an account that is there.
    of: Option<&'a str>,
    action: &'a str,
    csrf: String,
    form: &'a Form,
    in_dialog: bool,
}

fn notice(done: &str) -> Option<&'static str> {
    let t = &ENGLISH.organization;
    match done {
        "added" => Some(t.account_added),
        "enabled" => Some(t.account_enabled),
        "disabled" => Some(t.account_disabled),
        "password" => Some(t.password_reset),
        "asked" => Some(ENGLISH.approval.asked),
        "made" => Some(t.made),
        "unmade" => Some(t.unmade),
        "ended" => Some(t.ended),
        _ => super::access_keys::notice(done),
    }
}

fn path_of(account: i64) -> String {
    format!("{HERE}/{account}")
}

async fn index(State(console): State<Console>, visitor: Visitor, Query(asked): Query<Asked>) -> Response {
    let shown = async {
        let query = asked.query();
        let listed = console.service.accounts_page(visitor.visit(), query.clone()).await?;
        let frame = Frame::new(&console, &visitor, ENGLISH.organization.accounts).await?.within("accounts").noticing(notice(&asked.done));
        let around = Around::new(HERE, query, &listed);
        Ok(page::show(StatusCode::OK, &AccountsPage { t: &ENGLISH, assets: frame.assets, frame, zone: console.settings.zone, listed, around }))
    };
    shown.await.unwrap_or_else(|refusal: Refusal| page::refused(&refusal, visitor.request))
}

async fn show(State(console): State<Console>, visitor: Visitor, Path(account): Path<i64>, Query(asked): Query<Asked>) -> Response {
    let shown = async {
        let details = console.service.account_details(visitor.visit(), AccountId(account)).await?;
        let frame = Frame::new(&console, &visitor, details.listed.login.as_str()).await?.within("accounts").noticing(notice(&asked.done));
        let (is_own, zone) = (details.listed.id == visitor.session.account, console.settings.zone);
        Ok(page::show(StatusCode::OK, &AccountPage { t: &ENGLISH, assets: frame.assets, frame, zone, details, is_own, path: path_of(account) }))
    };
    shown.await.unwrap_or_else(|refusal: Refusal| page::refused(&refusal, visitor.request))
}

async fn present_new(console: &Console, visitor: &Visitor, form: &Form, in_dialog: bool) -> Response {
    let (title, action) = (ENGLISH.organization.add_account, format!("{HERE}/new"));
    let fragment = AccountForm { t: &ENGLISH, title, with_note: false, elsewhere: None, of: None, action: &action, csrf: visitor.csrf(), form, in_dialog };
    present(console, visitor, form, title, &fragment, in_dialog).await
}

async fn new(State(console): State<Console>, visitor: Visitor, headers: HeaderMap) -> Response {
    present_new(&console, &visitor, &Form::default(), wants_fragment(&headers)).await
}

async fn add(State(console): State<Console>, posted: Posted) -> Response {
    let Posted { visitor, mut form, in_dialog, is_ours } = posted;
    let (login, password, administrator) = (form.value("login").trim().to_owned(), form.secret("password"), form.has("administrator", "Y"));
    form.forget("password");
    let form = match attempt(&visitor, form, is_ours, console.service.add_account(visitor.visit(), &login, password, administrator)).await {
        Ok(account) => return page::go(in_dialog, &format!("{}?done=added", path_of(account.0))),
        Err(Tried::Again(form)) => form,
        Err(Tried::Refused(response)) => return response,
    };
    present_new(&console, &visitor, &form, in_dialog).await
}

/// The account that a form is about, as it is now.
async fn details(console: &Console, visitor: &Visitor, account: i64) -> Result<AccountDetails, Response> {
    console.service.account_details(visitor.visit(), AccountId(account)).await.map_err(|refusal| page::refused(&refusal, visitor.request))
}

async fn present_password(console: &Console, visitor: &Visitor, account: i64, form: Form, in_dialog: bool) -> Response {
    let AccountDetails { listed, governed, .. } = match details(console, visitor, account).await {
        Ok(details) => details,
        Err(response) => return response,
    };
    let elsewhere: Vec<_> = governed.iter().filter(|project| !visitor.is_admin_of(project.id)).map(|project| project.name.as_str()).collect();
    let (with_note, elsewhere) = (!governed.is_empty(), Some(elsewhere.join(", ")).filter(|names| !names.is_empty()));
    let (title, action, form) = (ENGLISH.organization.reset_password, format!("{}/password", path_of(account)), form.seen_at(listed.changed));
    let fragment =
        AccountForm { t: &ENGLISH, title, with_note, elsewhere, of: Some(&listed.login), action: &action, csrf: visitor.csrf(), form: &form, in_dialog };
    present(console, visitor, &form, title, &fragment, in_dialog).await
}

async fn ask_password(State(console): State<Console>, visitor: Visitor, headers: HeaderMap, Path(account): Path<i64>) -> Response {
    present_password(&console, &visitor, account, Form::default(), wants_fragment(&headers)).await
}

/// Gives an account another password; of one that asks or approves where approval is on, asks for that. Answers the word of the page that
/// follows.
async fn put_password(console: &Console, visitor: &Visitor, account: i64, form: &Form, password: SecretText) -> Result<&'static str, Refusal> {
    let details = console.service.account_details(visitor.visit(), AccountId(account)).await?;
    let Some(project) = details.governed.first() else {
        let named = AccountRef::as_seen(AccountId(account), form.seen());
        return console.service.set_password(visitor.visit(), named, password, true).await.map(|()| "password");
    };
    let input = check_first_part(&password).and_then(|()| Ok((note(form, "note")?, ProjectChange::ResetPassword { login: details.listed.login, password })));
    console.service.ask_of_project(visitor.about(project.id), input.map_err(Refusal::from)).await.map(|_| "asked")
}

async fn set_password(State(console): State<Console>, Path(account): Path<i64>, posted: Posted) -> Response {
    let Posted { visitor, mut form, in_dialog, is_ours } = posted;
    let password = form.secret("password");
    form.forget("password");
    let set = if is_ours { put_password(&console, &visitor, account, &form, password).await } else { Err(ResultCode::Conflict.into()) };
    let form = match attempt(&visitor, form, is_ours, async { set }).await {
        Ok(done) => return page::go(in_dialog, &format!("{}?done={done}", path_of(account))),
        Err(Tried::Again(form)) => form,
        Err(Tried::Refused(response)) => return response,
    };
    present_password(&console, &visitor, account, form, in_dialog).await
}

/// What is done to an account after a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Enable,
    Disable,
    Make,
    Unmake,
    EndSessions,
}

impl Step {
    fn parse(text: &str) -> Option<Self> {
        [Self::Enable, Self::Disable, Self::Make, Self::Unmake, Self::EndSessions].into_iter().find(|step| step.as_str() == text)
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Enable => "enable",
            Self::Disable => "disable",
            Self::Make => "make-administrator",
            Self::Unmake => "unmake-administrator",
            Self::EndSessions => "end-sessions",
        }
    }

    /// Title, what it does, and the button.
    fn words(self) -> [&'static str; 3] {
        let t = &ENGLISH.organization;
        match self {
            Self::Enable => [t.enable_title, t.enable_told, t.enable],
            Self::Disable => [t.disable_title, t.disable_told, t.disable],
            Self::Make => [t.make_title, t.make_told, t.make_administrator],
            Self::Unmake => [t.unmake_title, t.unmake_told, t.unmake_administrator],
            Self::EndSessions => [t.end_all_title, ENGLISH.account.end_told, t.end_all],
        }
    }

    /// The word of the page that follows.
    fn done(self) -> &'static str {
        match self {
            Self::Enable => "enabled",
            Self::Disable => "disabled",
            Self::Make => "made",
            Self::Unmake => "unmade",
            Self::EndSessions => "ended",
        }
    }
}

async fn present_step(console: &Console, visitor: &Visitor, (account, step): (i64, Step), form: &Form, in_dialog: bool) -> Response {
    let details = match details(console, visitor, account).await {
        Ok(details) => details,
        Err(response) => return response,
    };
    // Of one that asks or approves where approval is on it is asked for.
    if step == Step::Enable && !details.governed.is_empty() {
        return present_enabling(console, visitor, &details, form, in_dialog).await;
    }
    let listed = details.listed;
    let ([title, told, button], action) = (step.words(), format!("{}/steps/{}", path_of(account), step.as_str()));
    let (is_bad, csrf, seen) = (step != Step::Enable, visitor.csrf(), seen(form, listed.changed));
    let question = Question { t: &ENGLISH, title, name: &listed.login, told, action: &action, button, is_bad, csrf, seen, form, in_dialog };
    question.show(console, visitor).await
}

async fn ask(State(console): State<Console>, visitor: Visitor, headers: HeaderMap, Path((account, step)): Path<(i64, String)>) -> Response {
    match Step::parse(&step) {
        Some(step) => present_step(&console, &visitor, (account, step), &Form::default(), wants_fragment(&headers)).await,
        None => page::refused(&ResultCode::UrlNotFound.into(), visitor.request),
    }
}

async fn carry_out(console: &Console, visitor: &Visitor, named: AccountRef, step: Step) -> Result<(), Refusal> {
    let (service, visit) = (&console.service, visitor.visit());
    match step {
        Step::Enable | Step::Disable => service.set_account_enabled(visit, named, step == Step::Enable).await,
        Step::Make | Step::Unmake => service.set_administrator(visit, named, step == Step::Make).await,
        Step::EndSessions => service.end_sessions_of(visit, named, None).await,
    }
}

async fn take(State(console): State<Console>, Path((account, step)): Path<(i64, String)>, posted: Posted) -> Response {
    let Posted { visitor, form, in_dialog, is_ours } = posted;
    let Some(step) = Step::parse(&step) else { return page::refused(&ResultCode::UrlNotFound.into(), visitor.request) };
    let named = AccountRef::as_seen(AccountId(account), form.seen());
    let form = match attempt(&visitor, form, is_ours, carry_out(&console, &visitor, named, step)).await {
        Ok(()) => return page::go(in_dialog, &format!("{}?done={}", path_of(account), step.done())),
        Err(Tried::Again(form)) => form,
        Err(Tried::Refused(response)) => return response,
    };
    present_step(&console, &visitor, (account, step), &form, in_dialog).await
}

/// The session that a page names; one that ended meanwhile is still named by its hash.
fn parse_session(name: &str) -> Result<SecretHash, Refusal> {
    let mut bytes = [0; 32];
    hex::decode_to_slice(name, &mut bytes).map_err(|_| ResultCode::UrlNotFound)?;
    Ok(SecretHash(bytes))
}

/// `is_wanted`: somebody has sent the form, so a session that isn't there has ended as he wants it.
async fn present_end(console: &Console, visitor: &Visitor, (account, name): (i64, &str), form: &Form, in_dialog: bool, is_wanted: bool) -> Response {
    let details = match details(console, visitor, account).await {
        Ok(details) => details,
        Err(response) => return response,
    };
    let Some(session) = details.sessions.iter().find(|session| hex::encode(session.token.0) == name) else {
        if is_wanted {
            return page::go(in_dialog, &format!("{}?done=ended", path_of(account)));
        }
        return page::refused(&ResultCode::UrlNotFound.into(), visitor.request);
    };
    let (t, action) = (&ENGLISH.organization, format!("{}/sessions/{name}/end", path_of(account)));
    let name = format!("{}: {}, {}", details.listed.login, session.address, session.user_agent);
    let (title, told, button, csrf) = (t.end_title, t.end_told, ENGLISH.account.end, visitor.csrf());
    let question = Question { t: &ENGLISH, title, name: &name, told, action: &action, button, is_bad: true, csrf, seen: String::new(), form, in_dialog };
    question.show(console, visitor).await
}

async fn ask_to_end(State(console): State<Console>, visitor: Visitor, headers: HeaderMap, Path((account, name)): Path<(i64, String)>) -> Response {
    present_end(&console, &visitor, (account, &name), &Form::default(), wants_fragment(&headers), false).await
}

async fn end(State(console): State<Console>, Path((account, name)): Path<(i64, String)>, posted: Posted) -> Response {
    let Posted { visitor, form, in_dialog, is_ours } = posted;
    let ended = async { console.service.end_sessions_of(visitor.visit(), AccountId(account), Some(parse_session(&name)?)).await };
    let form = match attempt(&visitor, form, is_ours, ended).await {
        Ok(()) => return page::go(in_dialog, &format!("{}?done=ended", path_of(account))),
        Err(Tried::Again(form)) => form,
        Err(Tried::Refused(response)) => return response,
    };
    present_end(&console, &visitor, (account, &name), &form, in_dialog, is_ours).await
}
