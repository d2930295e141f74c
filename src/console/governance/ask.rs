//! What an `ADMIN` asks for about the people of a project with approval on: an account with a role, another password, an account that was
//! disabled, an access key that approves. Roles of accounts that are there are asked for under **Members and roles**.

use askama::Template;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::Deserialize;

use super::{Setting, path_of};
use crate::console::Console;
use crate::console::account::present;
use crate::console::address::{Path, Query};
use crate::console::approvals::note;
use crate::console::form::{Form, Posted};
use crate::console::key_stores::present_under;
use crate::console::members;
use crate::console::organization::{Tried, attempt};
use crate::console::page::{self, Tab};
use crate::console::text::{ENGLISH, Texts};
use crate::console::visitor::{Visitor, wants_fragment};
use crate::domain::approval::Note;
use crate::domain::ids::ProjectId;
use crate::domain::result_code::ResultCode;
use crate::domain::text::Invalid;
use crate::service::{AccountDetails, ProjectChange, Refusal, check_first_part};

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Account,
    Password,
    Enabling,
    AccessKey,
}

impl Wanted {
    fn parse(text: &str) -> Option<Self> {
        [Self::Account, Self::Password, Self::Enabling, Self::AccessKey].into_iter().find(|wanted| wanted.as_str() == text)
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Account => "account",
            Self::Password => "password",
            Self::Enabling => "enable",
            Self::AccessKey => "access-key",
        }
    }

    /// Title, and what comes of it.
    fn words(self) -> [&'static str; 2] {
        let t = &ENGLISH.approval;
        match self {
            Self::Account => [t.create_account, t.create_account_told],
            Self::Password => [t.reset_password, t.reset_password_told],
            Self::Enabling => [t.enable_account, t.enable_account_told],
            Self::AccessKey => [t.may_approve_title, t.may_approve_told],
        }
    }

    /// What the form holds, with its note.
    fn read(self, form: &Form) -> Result<(Note, ProjectChange), Invalid> {
        let login = || form.value("login").trim().to_owned();
        let change = match self {
            Self::Account => {
                let (role, password) = (members::parse_role(form.value("role"))?, form.secret("password"));
                check_first_part(&password)?;
                ProjectChange::CreateAccount { login: login(), password, roles: vec![role] }
            }
            Self::Password => {
                let password = form.secret("password");
                check_first_part(&password)?;
                ProjectChange::ResetPassword { login: login(), password }
            }
            Self::Enabling => ProjectChange::EnableAccount { login: login() },
            Self::AccessKey => {
                let allowed = match form.value("mayApprove") {
                    "Y" => true,
                    "N" => false,
                    _ => return Err(Invalid::new("mayApprove", "must be chosen")),
                };
                ProjectChange::SetMayApprove { access_key: form.value("id").trim().to_owned(), allowed }
            }
        };
        Ok((note(form, "note")?, change))
    }
}

#[derive(Template)]
#[template(path = "governance_ask.html")]
struct AskForm<'a> {
    t: &'static Texts,
    title: &'static str,
    told: &'static str,
    wanted: Wanted,
    /// The projects where this person doesn't ask for it.
    elsewhere: Option<String>,
    action: String,
    csrf: String,
    form: &'a Form,
    in_dialog: bool,
}

impl<'a> AskForm<'a> {
    fn new(visitor: &Visitor, (project, wanted): (ProjectId, Wanted), form: &'a Form, in_dialog: bool) -> Self {
        let ([title, told], action) = (wanted.words(), format!("{}/ask/{}", path_of(project), wanted.as_str()));
        Self { t: &ENGLISH, title, told, wanted, elsewhere: None, action, csrf: visitor.csrf(), form, in_dialog }
    }

    fn asks_for_login(&self) -> bool {
        self.wanted != Wanted::AccessKey
    }

    fn asks_for_role(&self) -> bool {
        self.wanted == Wanted::Account
    }

    fn asks_for_password(&self) -> bool {
        matches!(self.wanted, Wanted::Account | Wanted::Password)
    }
}

async fn present_wanted(console: &Console, visitor: &Visitor, (project, wanted): (ProjectId, Wanted), form: &Form, in_dialog: bool) -> Response {
    if let Err(refusal) = Setting::Off.require(visitor, project) {
        return page::refused(&refusal, visitor.request);
    }
    let status = if form.is_right() { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
    let fragment = AskForm::new(visitor, (project, wanted), form, in_dialog);
    present_under(console, visitor, (project, Tab::Elsewhere), status, fragment.title, &fragment, in_dialog).await
}

/// The form that asks for an account to be enabled which asks or approves where approval is on; for those who don't ask there, who does.
pub(in crate::console) async fn present_enabling(console: &Console, visitor: &Visitor, details: &AccountDetails, form: &Form, in_dialog: bool) -> Response {
    let Some(project) = details.governed.first() else { return page::refused(&ResultCode::UrlNotFound.into(), visitor.request) };
    let others: Vec<_> = details.governed.iter().filter(|project| !visitor.is_admin_of(project.id)).map(|project| project.name.as_str()).collect();
    let mut shown = Form::showing([("login", details.listed.login.as_str())]);
    shown.problem.clone_from(&form.problem);
    let fragment = AskForm {
        elsewhere: Some(others.join(", ")).filter(|names| !names.is_empty()),
        ..AskForm::new(visitor, (project.id, Wanted::Enabling), &shown, in_dialog)
    };
    present(console, visitor, &shown, fragment.title, &fragment, in_dialog).await
}

/// What an address says already.
#[derive(Debug, Default, Deserialize)]
pub(super) struct About {
    #[serde(default)]
    login: String,
    #[serde(default)]
    id: String,
    #[serde(default, rename = "mayApprove")]
    may_approve: String,
}

pub(super) async fn ask(
    State(console): State<Console>,
    visitor: Visitor,
    headers: HeaderMap,
    Path((project, wanted)): Path<(i64, String)>,
    Query(about): Query<About>,
) -> Response {
    let Some(wanted) = Wanted::parse(&wanted) else { return page::refused(&ResultCode::UrlNotFound.into(), visitor.request) };
    let form = Form::showing([("login", about.login.as_str()), ("id", &about.id), ("mayApprove", &about.may_approve)]);
    present_wanted(&console, &visitor, (ProjectId(project), wanted), &form, wants_fragment(&headers)).await
}

pub(super) async fn take(State(console): State<Console>, Path((project, wanted)): Path<(i64, String)>, posted: Posted) -> Response {
    let Posted { visitor, mut form, in_dialog, is_ours } = posted;
    let Some(wanted) = Wanted::parse(&wanted) else { return page::refused(&ResultCode::UrlNotFound.into(), visitor.request) };
    let project = ProjectId(project);
    let input = wanted.read(&form).map_err(Refusal::from);
    form.forget("password");
    let asked = async { console.service.ask_of_project(visitor.about(project), input).await };
    let form = match attempt(&visitor, form, is_ours, asked).await {
        Ok(_) => return page::go(in_dialog, &format!("{}?done=asked", path_of(project))),
        Err(Tried::Again(form)) => form,
        Err(Tried::Refused(response)) => return response,
    };
    present_wanted(&console, &visitor, (project, wanted), &form, in_dialog).await
}
