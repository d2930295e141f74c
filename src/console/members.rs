//! **Members and roles** of a project: for administrators in the organization area, for the project's `ADMIN`s beside its tabs. Whoever adds
//! somebody types his login name exactly: an `ADMIN` of one project isn't shown who else there is.

use askama::Template;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::Response;
use axum::routing::get;
use serde::Deserialize;

use super::Console;
use super::account::present;
use super::address::{Path, Query};
use super::approvals::note;
use super::assets::Assets;
use super::form::{Form, Posted};
use super::list::{Around, Asked};
use super::organization::{Tried, attempt};
use super::page::{self, Frame, Tab};
use super::routes::Routes;
use super::text::{ENGLISH, Texts};
use super::visitor::{Visitor, wants_fragment};
use crate::console::members;
use crate::domain::account::{Member, Role};
use crate::domain::approval::Note;
use crate::domain::ids::ProjectId;
use crate::domain::listing::Listed;
use crate::domain::result_code::ResultCode;
use crate::domain::text::Invalid;
use crate::service::{ProjectChange, Refusal};

/// The pages of a project's own members.
pub(super) fn routes() -> Routes {
    Routes::new().route("/projects/{project}/members", get(show)).merge(routes_below("/projects/{project}/members"))
}

/// The forms, wherever the list stands.
pub(super) fn routes_below(list: &str) -> Routes {
    Routes::new().route(&format!("{list}/new"), get(new).post(grant)).route(&format!("{list}/revoke"), get(ask_to_revoke).post(revoke))
}

/// What each role may do, in one line.
pub(super) fn explained() -> [(Role, &'static str); 6] {
    let t = &ENGLISH.organization;
    Role::ALL.map(|role| {
        let told = match role {
            Role::Admin => t.role_admin,
            Role::Viewer => t.role_viewer,
            Role::ApprovalAdmin => t.role_approval_admin,
            Role::ApprovalMember => t.role_approval_member,
            Role::ApiAdmin => t.role_api_admin,
            Role::ApiViewer => t.role_api_viewer,
        };
        (role, told)
    })
}

/// What stands in [`Asked::done`] after something was done.
pub(super) fn notice(done: &str) -> Option<&'static str> {
    let t = &ENGLISH.organization;
    match done {
        "granted" => Some(t.granted),
        "revoked" => Some(t.revoked),
        "asked" => Some(ENGLISH.approval.asked),
        _ => None,
    }
}

/// The list, for templates that include `members_list.html` (as the field `members`).
#[derive(Debug)]
pub(super) struct Members {
    pub(super) listed: Listed<Member>,
    pub(super) around: Around,
    /// Before `/new` and `/revoke`.
    pub(super) path: String,
}

impl Members {
    /// The page of it that was asked for. `page` is the address of what it stands on.
    pub(super) async fn read(console: &Console, visitor: &Visitor, project: ProjectId, page: String, asked: &Asked) -> Result<Self, Refusal> {
        let query = asked.query();
        let (_, listed) = console.service.members_page(visitor.visit(), project, query.clone()).await?;
        let path = if page.ends_with("/members") { page.clone() } else { format!("{page}/members") };
        Ok(Self { around: Around::new(page, query, &listed), listed, path })
    }

    pub(super) fn revoke_path(&self, member: &Member, role: &Role) -> String {
        let pairs = [("login", member.login.as_str()), ("role", role.as_str())];
        format!("{}/revoke?{}", self.path, serde_urlencoded::to_string(pairs).unwrap_or_default())
    }

    pub(super) fn grant_path(&self, member: &Member) -> String {
        format!("{}/new?{}", self.path, serde_urlencoded::to_string([("login", &member.login)]).unwrap_or_default())
    }
}

#[derive(Template)]
#[template(path = "members.html")]
struct MembersPage {
    t: &'static Texts,
    assets: &'static Assets,
    frame: Frame,
    members: Members,
}

#[derive(Template)]
#[template(path = "member_form.html")]
struct MemberForm<'a> {
    t: &'static Texts,
    title: &'static str,
    asking: Asking,
    action: &'a str,
    csrf: String,
    form: &'a Form,
    in_dialog: bool,
}

/// What becomes of a form about the members of a project.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asking {
    /// It is done at once.
    No,
    /// Approval is on: it becomes a request, with a note.
    Note,
    /// Approval is on, and this person doesn't ask: only an `ADMIN` of the project does.
    Never,
}

impl Asking {
    fn of(visitor: &Visitor, project: i64) -> Self {
        match (visitor.governed, visitor.is_admin_of(ProjectId(project))) {
            (false, _) => Self::No,
            (true, true) => Self::Note,
            (true, false) => Self::Never,
        }
    }
}

#[derive(Template)]
#[template(path = "member_revoke.html")]
struct RevokeForm<'a> {
    t: &'static Texts,
    /// Whose role it is, and which.
    name: &'a str,
    action: &'a str,
    csrf: String,
    asking: Asking,
    form: &'a Form,
    in_dialog: bool,
}

async fn show(State(console): State<Console>, visitor: Visitor, Path(project): Path<i64>, Query(asked): Query<Asked>) -> Response {
    let shown = async {
        let members = Members::read(&console, &visitor, ProjectId(project), format!("/projects/{project}/members"), &asked).await?;
        let title = ENGLISH.organization.members;
        let frame = Frame::of_project(&console, &visitor, ProjectId(project), Tab::Elsewhere, title).await?.noticing(notice(&asked.done));
        Ok(page::show(StatusCode::OK, &MembersPage { t: &ENGLISH, assets: frame.assets, frame, members }))
    };
    shown.await.unwrap_or_else(|refusal: Refusal| page::refused(&refusal, visitor.request))
}

/// Whom and what a form is about.
#[derive(Debug, Clone, Default, Deserialize)]
struct About {
    #[serde(default)]
    login: String,
    #[serde(default)]
    role: String,
}

/// The page that the forms at an address belong to.
fn list_of(at: &Uri) -> String {
    let list = at.path().rsplit_once('/').map_or("", |(list, _)| list);
    // In the organization area the list stands on the project's page.
    match list.strip_suffix("/members") {
        Some(project) if list.starts_with("/organization/") => project.to_owned(),
        _ => list.to_owned(),
    }
}

/// Whether somebody may as much as see a form: the use case decides again.
fn may(visitor: &Visitor, project: i64) -> Result<(), ResultCode> {
    let session = &visitor.session;
    if session.administrator || visitor.is_admin_of(ProjectId(project)) {
        return Ok(());
    }
    let is_strange = session.roles_in(ProjectId(project)).next().is_none();
    Err(if is_strange { ResultCode::InvalidAppkey } else { ResultCode::Forbidden })
}

async fn present_new(console: &Console, visitor: &Visitor, (project, action): (i64, &str), form: &Form, in_dialog: bool) -> Response {
    let title = ENGLISH.organization.add_member;
    let fragment = MemberForm { t: &ENGLISH, title, asking: Asking::of(visitor, project), action, csrf: visitor.csrf(), form, in_dialog };
    present(console, visitor, form, title, &fragment, in_dialog).await
}

async fn new(State(console): State<Console>, visitor: Visitor, headers: HeaderMap, at: Uri, Path(project): Path<i64>, Query(about): Query<About>) -> Response {
    if let Err(code) = may(&visitor, project) {
        return page::refused(&code.into(), visitor.request);
    }
    present_new(&console, &visitor, (project, at.path()), &Form::showing([("login", about.login.as_str())]), wants_fragment(&headers)).await
}

async fn grant(State(console): State<Console>, at: Uri, Path(project): Path<i64>, posted: Posted) -> Response {
    let Posted { visitor, form, in_dialog, is_ours } = posted;
    let (login, role) = (form.value("login").trim().to_owned(), form.value("role").to_owned());
    let granted = if Asking::of(&visitor, project) == Asking::No {
        let granted = console.service.grant_role(visitor.visit(), &login, ProjectId(project), &role);
        attempt(&visitor, form, is_ours, granted).await.map(|()| "granted")
    } else {
        let input = parse_role(&role).and_then(|role| Ok((note(&form, "note")?, ProjectChange::GrantRole { login, role })));
        attempt(&visitor, form, is_ours, ask(&console, &visitor, project, input)).await
    };
    let form = match granted {
        Ok(done) => return page::go(in_dialog, &format!("{}?done={done}", list_of(&at))),
        Err(Tried::Again(form)) => form,
        Err(Tried::Refused(response)) => return response,
    };
    if let Err(code) = may(&visitor, project) {
        return page::refused(&code.into(), visitor.request);
    }
    present_new(&console, &visitor, (project, at.path()), &form, in_dialog).await
}

/// Asks for a change of the project; answers the word of the page that follows.
async fn ask(console: &Console, visitor: &Visitor, project: i64, input: Result<(Note, ProjectChange), Invalid>) -> Result<&'static str, Refusal> {
    console.service.ask_of_project(visitor.about(ProjectId(project)), input.map_err(Refusal::from)).await.map(|_| "asked")
}

/// What an address names, read before any of it comes into a record.
pub(super) fn parse_role(text: &str) -> Result<Role, Invalid> {
    Role::parse(text).ok_or_else(|| Invalid::new("role", format!("must be one of {}", Role::ALL.map(Role::as_str).join(", "))))
}

async fn present_revocation(console: &Console, visitor: &Visitor, (project, at): (i64, &Uri), about: &About, form: &Form, in_dialog: bool) -> Response {
    let name = format!("{}, {}", about.login, about.role);
    let action = at.path_and_query().map_or(at.path(), |path| path.as_str());
    let fragment = RevokeForm { t: &ENGLISH, name: &name, action, csrf: visitor.csrf(), asking: Asking::of(visitor, project), form, in_dialog };
    present(console, visitor, form, ENGLISH.organization.revoke_title, &fragment, in_dialog).await
}

async fn ask_to_revoke(
    State(console): State<Console>,
    visitor: Visitor,
    headers: HeaderMap,
    at: Uri,
    Path(project): Path<i64>,
    Query(about): Query<About>,
) -> Response {
    if let Err(code) = may(&visitor, project) {
        return page::refused(&code.into(), visitor.request);
    }
    present_revocation(&console, &visitor, (project, &at), &about, &Form::default(), wants_fragment(&headers)).await
}

async fn revoke(State(console): State<Console>, at: Uri, Path(project): Path<i64>, Query(about): Query<About>, posted: Posted) -> Response {
    let Posted { visitor, form, in_dialog, is_ours } = posted;
    let revoked = if Asking::of(&visitor, project) == Asking::No {
        let revoked = console.service.revoke_role(visitor.visit(), &about.login, ProjectId(project), &about.role);
        attempt(&visitor, form, is_ours, revoked).await.map(|()| "revoked")
    } else {
        let login = about.login.clone();
        let input = parse_role(&about.role).and_then(|role| Ok((note(&form, "note")?, ProjectChange::RevokeRole { login, role })));
        attempt(&visitor, form, is_ours, ask(&console, &visitor, project, input)).await
    };
    let form = match revoked {
        // Whoever takes his own rights away may not look at the list any more.
        Ok(done) => return page::go(in_dialog, &format!("{}?done={done}", list_of(&at))),
        Err(Tried::Again(form)) => form,
        Err(Tried::Refused(response)) => return response,
    };
    if let Err(code) = may(&visitor, project) {
        return page::refused(&code.into(), visitor.request);
    }
    present_revocation(&console, &visitor, (project, &at), &about, &form, in_dialog).await
}
