//! **Governance Setting** of a project: whether changes need approval, who could ask and who could approve.

mod ask;

use askama::Template;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::get;
use serde::Deserialize;

use super::Console;
use super::address::{Path, Query};
use super::approvals::note;
use super::assets::Assets;
use super::form::{Form, Posted};
use super::key_stores::present_under;
use super::page::{self, Frame, Tab};
use super::routes::Routes;
use super::shown;
use super::text::{ENGLISH, Texts};
use super::visitor::{Visitor, wants_fragment};
use crate::domain::account::{ApprovingKey, Role};
use crate::domain::approval::ExpiryDays;
use crate::domain::clock::Timestamp;
use crate::domain::ids::ProjectId;
use crate::domain::text::Invalid;
use crate::service::{ApprovalStatus, ProjectChange, Refusal};
pub(super) use ask::present_enabling;

/// The pages of the setting.
pub(super) fn routes() -> Routes {
    const HERE: &str = "/projects/{project}/governance";
    Routes::new()
        .route(HERE, get(show))
        .route(&format!("{HERE}/on"), get(ask_on).post(turn_on))
        .route(&format!("{HERE}/off"), get(ask_off).post(turn_off))
        .route(&format!("{HERE}/expiry"), get(ask_expiry).post(change_expiry))
        .route(&format!("{HERE}/acknowledge"), get(ask_to_acknowledge).post(acknowledge))
        .route(&format!("{HERE}/ask/{{wanted}}"), get(ask::ask).post(ask::take))
}

#[derive(Template)]
#[template(path = "governance.html")]
struct GovernancePage {
    t: &'static Texts,
    assets: &'static Assets,
    frame: Frame,
    status: ApprovalStatus,
    changed: String,
    /// When and by whom approval was turned off alone, and why.
    emergency: Option<(String, String)>,
    /// Whether whoever looks turns approval on.
    keeps: bool,
    /// Whether whoever looks asks for other settings.
    governs: bool,
    project: ProjectId,
    path: String,
}

impl GovernancePage {
    fn is_on(&self) -> bool {
        self.status.state.governance.approval
    }

    /// The form that has an access key approve no longer.
    fn take_away(&self, key: &ApprovingKey) -> String {
        format!("access-key?id={}&mayApprove=N", key.id)
    }

    fn members(&self) -> String {
        format!("/projects/{}/members", self.project)
    }
}

#[derive(Template)]
#[template(path = "governance_form.html")]
struct GovernanceForm<'a> {
    t: &'static Texts,
    title: &'static str,
    told: &'static str,
    button: &'static str,
    action: String,
    csrf: String,
    with_days: bool,
    with_note: bool,
    form: &'a Form,
    in_dialog: bool,
}

/// What is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Setting {
    On,
    Off,
    Expiry,
    Acknowledge,
}

impl Setting {
    fn as_str(self) -> &'static str {
        match self {
            Self::On => "on",
            Self::Off => "off",
            Self::Expiry => "expiry",
            Self::Acknowledge => "acknowledge",
        }
    }

    /// Title, what it does, and the button.
    fn words(self) -> [&'static str; 3] {
        let (t, frame) = (&ENGLISH.approval, &ENGLISH.frame);
        match self {
            Self::On => [t.turn_on_title, t.turn_on_told, t.turn_on],
            Self::Off => [t.turn_off, t.turn_off_told, t.ask],
            Self::Expiry => [t.change_expiry, "", frame.save],
            Self::Acknowledge => [t.acknowledge_title, t.acknowledge_told, t.acknowledge],
        }
    }

    /// Refuses whoever may not; the use case decides for itself.
    fn require(self, visitor: &Visitor, project: ProjectId) -> Result<(), Refusal> {
        let may = match self {
            Self::On | Self::Acknowledge => keeps(visitor, project),
            Self::Off | Self::Expiry => governs(visitor, project),
        };
        if may { Ok(()) } else { Err(visitor.lacks_role_in(project)) }
    }
}

fn governs(visitor: &Visitor, project: ProjectId) -> bool {
    visitor.session.roles_in(project).any(Role::may_govern)
}

fn keeps(visitor: &Visitor, project: ProjectId) -> bool {
    visitor.session.administrator || governs(visitor, project)
}

/// What was just done.
#[derive(Debug, Default, Deserialize)]
struct Done {
    #[serde(default)]
    done: String,
}

fn notice(done: &str) -> Option<&'static str> {
    let t = &ENGLISH.approval;
    match done {
        "on" => Some(t.turned_on),
        "asked" => Some(t.asked),
        "expiry" => Some(t.expiry_changed),
        "acknowledge" => Some(t.acknowledged),
        _ => None,
    }
}

fn path_of(project: ProjectId) -> String {
    format!("/projects/{project}/governance")
}

async fn show(State(console): State<Console>, visitor: Visitor, Path(project): Path<i64>, Query(done): Query<Done>) -> Response {
    let project = ProjectId(project);
    let shown = async {
        let status = console.service.approval_status(visitor.visit(), project).await?;
        let title = ENGLISH.approval.governance;
        let mut frame = Frame::of_project(&console, &visitor, project, Tab::Elsewhere, title).await?.noticing(notice(&done.done));
        // The page itself tells of it, at length.
        frame.emergencies.retain(|found| found.id != project);
        let stamp = |stamp: &crate::domain::key::Stamp| format!("{}, {}", shown::date(&console, stamp.at), stamp.user);
        let governance = &status.state.governance;
        let page = GovernancePage {
            t: &ENGLISH,
            assets: frame.assets,
            frame,
            changed: stamp(&governance.changed),
            emergency: governance.emergency.as_ref().map(|emergency| (stamp(&emergency.disabled), emergency.reason.clone())),
            status,
            keeps: keeps(&visitor, project),
            governs: governs(&visitor, project),
            project,
            path: path_of(project),
        };
        Ok(page::show(StatusCode::OK, &page))
    };
    shown.await.unwrap_or_else(|refusal: Refusal| page::refused(&refusal, visitor.request))
}

async fn present(console: &Console, visitor: &Visitor, (project, setting): (ProjectId, Setting), form: Form, in_dialog: bool) -> Response {
    let filled = async {
        setting.require(visitor, project)?;
        let governance = console.service.approval_status(visitor.visit(), project).await?.state.governance;
        let disabled = governance.emergency.map(|emergency| emergency.disabled.at);
        Ok::<_, Refusal>(match (setting, form) {
            (Setting::Acknowledge, form) => form.seen_at(disabled.unwrap_or_default()),
            (Setting::Expiry, form) if !form.is_sent("expiryDays") && form.is_right() => {
                Form::showing([("expiryDays", governance.expiry.days().to_string().as_str())])
            }
            (_, form) => form,
        })
    };
    let form = match filled.await {
        Ok(form) => form,
        Err(refusal) => return page::refused(&refusal, visitor.request),
    };
    let [title, told, button] = setting.words();
    let status = if form.is_right() { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
    let fragment = GovernanceForm {
        t: &ENGLISH,
        title,
        told,
        button,
        action: format!("{}/{}", path_of(project), setting.as_str()),
        csrf: visitor.csrf(),
        with_days: setting == Setting::Expiry,
        with_note: setting == Setting::Off || setting == Setting::Expiry && visitor.governed,
        form: &form,
        in_dialog,
    };
    present_under(console, visitor, (project, Tab::Elsewhere), status, title, &fragment, in_dialog).await
}

async fn ask_on(State(console): State<Console>, visitor: Visitor, headers: HeaderMap, Path(project): Path<i64>) -> Response {
    present(&console, &visitor, (ProjectId(project), Setting::On), Form::default(), wants_fragment(&headers)).await
}

async fn ask_off(State(console): State<Console>, visitor: Visitor, headers: HeaderMap, Path(project): Path<i64>) -> Response {
    present(&console, &visitor, (ProjectId(project), Setting::Off), Form::default(), wants_fragment(&headers)).await
}

async fn ask_expiry(State(console): State<Console>, visitor: Visitor, headers: HeaderMap, Path(project): Path<i64>) -> Response {
    present(&console, &visitor, (ProjectId(project), Setting::Expiry), Form::default(), wants_fragment(&headers)).await
}

async fn ask_to_acknowledge(State(console): State<Console>, visitor: Visitor, headers: HeaderMap, Path(project): Path<i64>) -> Response {
    present(&console, &visitor, (ProjectId(project), Setting::Acknowledge), Form::default(), wants_fragment(&headers)).await
}

fn days(form: &Form) -> Result<ExpiryDays, Invalid> {
    ExpiryDays::from_days(form.number("expiryDays", 0)?)
}

/// Does it, or asks for it; answers the word of the page that follows.
async fn set(console: &Console, visitor: &Visitor, (project, setting): (ProjectId, Setting), form: &Form) -> Result<&'static str, Refusal> {
    let service = &console.service;
    let asked = |change: ProjectChange| -> Result<_, Refusal> { Ok((note(form, "note")?, change)) };
    match setting {
        Setting::On => service.enable_approval(visitor.visit(), project).await.map(|_| "on"),
        Setting::Off => service.ask_of_project(visitor.about(project), asked(ProjectChange::TurnApprovalOff)).await.map(|_| "asked"),
        Setting::Expiry if visitor.governed => {
            let input = days(form).map_err(Refusal::from).and_then(|days| asked(ProjectChange::ChangeExpiry(days)));
            service.ask_of_project(visitor.about(project), input).await.map(|_| "asked")
        }
        Setting::Expiry => service.set_request_expiry(visitor.about(project), days(form)).await.map(|()| "expiry"),
        Setting::Acknowledge => {
            let seen: Timestamp = form.seen().unwrap_or_default();
            service.acknowledge_disabling(visitor.visit(), project, Ok(seen)).await.map(|()| "acknowledge")
        }
    }
}

async fn take(console: &Console, project: i64, setting: Setting, posted: Posted) -> Response {
    let Posted { visitor, form, in_dialog, is_ours } = posted;
    let project = ProjectId(project);
    let done = if is_ours { Some(set(console, &visitor, (project, setting), &form).await) } else { None };
    let form = match done {
        Some(Ok(done)) => return page::go(in_dialog, &format!("{}?done={done}", path_of(project))),
        Some(Err(refusal)) => match form.refuse(refusal) {
            Ok(form) => form,
            Err(refusal) => return page::refused(&refusal, visitor.request),
        },
        None => form,
    };
    present(console, &visitor, (project, setting), form, in_dialog).await
}

async fn turn_on(State(console): State<Console>, Path(project): Path<i64>, posted: Posted) -> Response {
    take(&console, project, Setting::On, posted).await
}

async fn turn_off(State(console): State<Console>, Path(project): Path<i64>, posted: Posted) -> Response {
    take(&console, project, Setting::Off, posted).await
}

async fn change_expiry(State(console): State<Console>, Path(project): Path<i64>, posted: Posted) -> Response {
    take(&console, project, Setting::Expiry, posted).await
}

async fn acknowledge(State(console): State<Console>, Path(project): Path<i64>, posted: Posted) -> Response {
    take(&console, project, Setting::Acknowledge, posted).await
}
