//! Projects: their names, their one setting, their appkeys.

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
use crate::console::assets::Assets;
use crate::console::form::{Form, Posted};
use crate::console::list::{Around, Asked};
use crate::console::members::{self, Members};
use crate::console::page::{self, Frame, Tab};
use crate::console::text::{ENGLISH, Texts};
use crate::console::visitor::{Visitor, wants_fragment};
use crate::domain::clock::Timestamp;
use crate::domain::ids::ProjectId;
use crate::domain::key_store::ProjectSummary;
use crate::domain::listing::Listed;
use crate::domain::result_code::ResultCode;
use crate::service::{ProjectDetails, ProjectRef, Refusal};

const HERE: &str = "/organization/projects";

pub(super) fn routes() -> Routes {
    Routes::new()
        .route("/organization/projects", get(index))
        .route("/organization/projects/new", get(new).post(add))
        .route("/organization/projects/{project}", get(show))
        .route("/organization/projects/{project}/rename", get(ask_name).post(rename))
        .route("/organization/projects/{project}/reads/{to}", get(ask_reads).post(set_reads))
        .route("/organization/projects/{project}/appkeys/new", get(new_appkey).post(add_appkey))
        .route("/organization/projects/{project}/appkeys/{appkey}/delete", get(ask_to_delete).post(delete_appkey))
        .merge(members::routes_below("/organization/projects/{project}/members"))
}

#[derive(Template)]
#[template(path = "organization_projects.html")]
struct ProjectsPage {
    t: &'static Texts,
    assets: &'static Assets,
    frame: Frame,
    zone: chrono_tz::Tz,
    listed: Listed<ProjectSummary>,
    around: Around,
}

impl ProjectsPage {
    fn time(&self, at: &Timestamp) -> String {
        shown_time(self.zone, *at)
    }
}

#[derive(Template)]
#[template(path = "organization_project.html")]
struct ProjectPage {
    t: &'static Texts,
    assets: &'static Assets,
    frame: Frame,
    zone: chrono_tz::Tz,
    details: ProjectDetails,
    members: Members,
    path: String,
}

impl ProjectPage {
    fn time(&self, at: &Timestamp) -> String {
        shown_time(self.zone, *at)
    }
}

/// A form with one field: a project's name, or an appkey.
#[derive(Template)]
#[template(path = "organization_one_field.html")]
struct OneField<'a> {
    t: &'static Texts,
    title: &'static str,
    field: &'static str,
    label: &'static str,
    hint: &'static str,
    most: u32,
    is_required: bool,
    action: &'a str,
    csrf: String,
    form: &'a Form,
    in_dialog: bool,
}

fn notice(done: &str) -> Option<&'static str> {
    let t = &ENGLISH.organization;
    match done {
        "added" => Some(t.project_added),
        "renamed" => Some(t.project_renamed),
        "reads" => Some(t.reads_changed),
        "appkey" => Some(t.appkey_added),
        "appkey-deleted" => Some(t.appkey_deleted),
        _ => members::notice(done),
    }
}

async fn index(State(console): State<Console>, visitor: Visitor, Query(asked): Query<Asked>) -> Response {
    let shown = async {
        let query = asked.query();
        let listed = console.service.projects_page(visitor.visit(), query.clone()).await?;
        let frame = Frame::new(&console, &visitor, ENGLISH.organization.projects).await?.within("projects").noticing(notice(&asked.done));
        let around = Around::new(HERE, query, &listed);
        Ok(page::show(StatusCode::OK, &ProjectsPage { t: &ENGLISH, assets: frame.assets, frame, zone: console.settings.zone, listed, around }))
    };
    shown.await.unwrap_or_else(|refusal: Refusal| page::refused(&refusal, visitor.request))
}

fn path_of(project: i64) -> String {
    format!("{HERE}/{project}")
}

async fn show(State(console): State<Console>, visitor: Visitor, Path(project): Path<i64>, Query(asked): Query<Asked>) -> Response {
    let (id, path) = (ProjectId(project), path_of(project));
    let shown = async {
        let details = console.service.project_details(visitor.visit(), id).await?;
        let members = Members::read(&console, &visitor, id, path.clone(), &asked).await?;
        let frame = Frame::new(&console, &visitor, details.listed.project.name.as_str()).await?.within("projects").noticing(notice(&asked.done));
        let zone = console.settings.zone;
        Ok(page::show(StatusCode::OK, &ProjectPage { t: &ENGLISH, assets: frame.assets, frame, zone, details, members, path }))
    };
    shown.await.unwrap_or_else(|refusal: Refusal| page::refused(&refusal, visitor.request))
}

async fn present_name(console: &Console, visitor: &Visitor, title: &'static str, action: &str, form: &Form, in_dialog: bool) -> Response {
    let t = &ENGLISH.organization;
    let (csrf, field, label) = (visitor.csrf(), "name", t.project_name);
    let fragment = OneField { t: &ENGLISH, title, field, label, hint: "", most: 100, is_required: true, action, csrf, form, in_dialog };
    present(console, visitor, form, title, &fragment, in_dialog).await
}

async fn new(State(console): State<Console>, visitor: Visitor, headers: HeaderMap) -> Response {
    let action = format!("{HERE}/new");
    present_name(&console, &visitor, ENGLISH.organization.add_project, &action, &Form::default(), wants_fragment(&headers)).await
}

async fn add(State(console): State<Console>, posted: Posted) -> Response {
    let Posted { visitor, form, in_dialog, is_ours } = posted;
    let name = form.value("name").to_owned();
    let form = match attempt(&visitor, form, is_ours, console.service.create_project(visitor.visit(), &name)).await {
        Ok(made) => return page::go(in_dialog, &format!("{}?done=added", path_of(made.project.0))),
        Err(Tried::Again(form)) => form,
        Err(Tried::Refused(response)) => return response,
    };
    present_name(&console, &visitor, ENGLISH.organization.add_project, &format!("{HERE}/new"), &form, in_dialog).await
}

/// The project that a form is about, as it is now.
async fn project(console: &Console, visitor: &Visitor, project: i64) -> Result<ProjectSummary, Response> {
    let details = console.service.project_details(visitor.visit(), ProjectId(project)).await;
    details.map(|details| details.listed).map_err(|refusal| page::refused(&refusal, visitor.request))
}

async fn ask_name(State(console): State<Console>, visitor: Visitor, headers: HeaderMap, Path(id): Path<i64>) -> Response {
    let listed = match project(&console, &visitor, id).await {
        Ok(listed) => listed,
        Err(response) => return response,
    };
    let changed = listed.changed.micros().to_string();
    let form = Form::showing([("name", listed.project.name.as_str()), ("seen", changed.as_str())]);
    let action = format!("{}/rename", path_of(id));
    present_name(&console, &visitor, ENGLISH.organization.rename, &action, &form, wants_fragment(&headers)).await
}

async fn rename(State(console): State<Console>, Path(id): Path<i64>, posted: Posted) -> Response {
    let Posted { visitor, form, in_dialog, is_ours } = posted;
    let (name, named) = (form.value("name").to_owned(), ProjectRef::as_seen(ProjectId(id), form.seen()));
    let form = match attempt(&visitor, form, is_ours, console.service.rename_project(visitor.visit(), named, &name)).await {
        Ok(()) => return page::go(in_dialog, &format!("{}?done=renamed", path_of(id))),
        Err(Tried::Again(form)) => form,
        Err(Tried::Refused(response)) => return response,
    };
    present_name(&console, &visitor, ENGLISH.organization.rename, &format!("{}/rename", path_of(id)), &form, in_dialog).await
}

/// What the setting is to be, by the address; anything but `on` is the careful one.
fn allows(to: &str) -> bool {
    to == "on"
}

async fn present_reads(console: &Console, visitor: &Visitor, (id, allowed): (i64, bool), form: &Form, in_dialog: bool) -> Response {
    let listed = match project(console, visitor, id).await {
        Ok(listed) => listed,
        Err(response) => return response,
    };
    let (t, action) = (&ENGLISH.organization, format!("{}/reads/{}", path_of(id), if allowed { "on" } else { "off" }));
    let (title, told, button) = if allowed { (t.reads_on_title, t.reads_on_told, t.turn_on) } else { (t.reads_off_title, t.reads_off_told, t.turn_off) };
    let (csrf, seen) = (visitor.csrf(), seen(form, listed.changed));
    let question =
        Question { t: &ENGLISH, title, name: listed.project.name.as_str(), told, action: &action, button, is_bad: true, csrf, seen, form, in_dialog };
    question.show(console, visitor).await
}

async fn ask_reads(State(console): State<Console>, visitor: Visitor, headers: HeaderMap, Path((id, to)): Path<(i64, String)>) -> Response {
    present_reads(&console, &visitor, (id, allows(&to)), &Form::default(), wants_fragment(&headers)).await
}

async fn set_reads(State(console): State<Console>, Path((id, to)): Path<(i64, String)>, posted: Posted) -> Response {
    let Posted { visitor, form, in_dialog, is_ours } = posted;
    let named = ProjectRef::as_seen(ProjectId(id), form.seen());
    let form = match attempt(&visitor, form, is_ours, console.service.set_appkey_reads(visitor.visit(), named, allows(&to))).await {
        Ok(()) => return page::go(in_dialog, &format!("{}?done=reads", path_of(id))),
        Err(Tried::Again(form)) => form,
        Err(Tried::Refused(response)) => return response,
    };
    present_reads(&console, &visitor, (id, allows(&to)), &form, in_dialog).await
}

async fn present_appkey(console: &Console, visitor: &Visitor, id: i64, form: &Form, in_dialog: bool) -> Response {
    let (t, action, csrf) = (&ENGLISH.organization, format!("{}/appkeys/new", path_of(id)), visitor.csrf());
    let (title, field, label, hint) = (t.add_appkey, "appkey", t.appkey, t.appkey_hint);
    let fragment = OneField { t: &ENGLISH, title, field, label, hint, most: 64, is_required: false, action: &action, csrf, form, in_dialog };
    present(console, visitor, form, title, &fragment, in_dialog).await
}

async fn new_appkey(State(console): State<Console>, visitor: Visitor, headers: HeaderMap, Path(id): Path<i64>) -> Response {
    present_appkey(&console, &visitor, id, &Form::default(), wants_fragment(&headers)).await
}

async fn add_appkey(State(console): State<Console>, Path(id): Path<i64>, posted: Posted) -> Response {
    let Posted { visitor, form, in_dialog, is_ours } = posted;
    let typed = form.value("appkey").trim().to_owned();
    let given = Some(typed.as_str()).filter(|typed| !typed.is_empty());
    let form = match attempt(&visitor, form, is_ours, console.service.create_appkey(visitor.visit(), ProjectId(id), given)).await {
        Ok(_) => return page::go(in_dialog, &format!("{}?done=appkey", path_of(id))),
        Err(Tried::Again(form)) => form,
        Err(Tried::Refused(response)) => return response,
    };
    present_appkey(&console, &visitor, id, &form, in_dialog).await
}

/// Only of an appkey of that project, as it is now: what isn't one may lead anywhere.
async fn present_deletion(console: &Console, visitor: &Visitor, (id, appkey): (i64, &str), form: &Form, in_dialog: bool) -> Response {
    let details = match console.service.project_details(visitor.visit(), ProjectId(id)).await {
        Ok(details) => details,
        Err(refusal) => return page::refused(&refusal, visitor.request),
    };
    if !details.appkeys.iter().any(|known| known.appkey.as_str() == appkey) {
        return page::refused(&ResultCode::UrlNotFound.into(), visitor.request);
    }
    let name = format!("{}: {appkey}", details.listed.project.name);
    let (t, action) = (&ENGLISH.organization, format!("{}/appkeys/{appkey}/delete", path_of(id)));
    let (title, told, button, csrf) = (t.delete_appkey, t.delete_appkey_told, ENGLISH.frame.delete, visitor.csrf());
    let question = Question { t: &ENGLISH, title, name: &name, told, action: &action, button, is_bad: true, csrf, seen: String::new(), form, in_dialog };
    question.show(console, visitor).await
}

async fn ask_to_delete(State(console): State<Console>, visitor: Visitor, headers: HeaderMap, Path((id, appkey)): Path<(i64, String)>) -> Response {
    present_deletion(&console, &visitor, (id, &appkey), &Form::default(), wants_fragment(&headers)).await
}

async fn delete_appkey(State(console): State<Console>, Path((id, appkey)): Path<(i64, String)>, posted: Posted) -> Response {
    let Posted { visitor, form, in_dialog, is_ours } = posted;
    let form = match attempt(&visitor, form, is_ours, console.service.delete_appkey(visitor.visit(), &appkey, Some(ProjectId(id)))).await {
        Ok(()) => return page::go(in_dialog, &format!("{}?done=appkey-deleted", path_of(id))),
        Err(Tried::Again(form)) => form,
        Err(Tried::Refused(response)) => return response,
    };
    present_deletion(&console, &visitor, (id, &appkey), &form, in_dialog).await
}
