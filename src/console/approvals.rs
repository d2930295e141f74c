//! **Approval List**: what somebody has asked for, each change before and after, and how it was decided.

mod acts;
mod view;

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post};
use serde::Deserialize;

use super::Console;
use super::address::{Path, Query};
use super::assets::Assets;
use super::list::Around;
use super::page::{self, Frame, Tab};
use super::routes::Routes;
use super::shown;
use super::text::{ENGLISH, Texts};
use super::visitor::Visitor;
use crate::domain::approval::RequestState;
use crate::domain::ids::ProjectId;
use crate::domain::listing::ListQuery;
use crate::domain::result_code::ResultCode;
use crate::service::{ListedRequest, Refusal, RequestQuery};
pub(super) use acts::note;
use view::RequestView;

/// The pages of requests.
pub(super) fn routes() -> Routes {
    const ONE: &str = "/projects/{project}/approvals/{request}";
    Routes::new()
        .route("/projects/{project}/approvals", get(index))
        .route(ONE, get(show))
        .route(&format!("{ONE}/request"), get(acts::ask_for_draft).post(acts::request))
        .route(&format!("{ONE}/approve"), get(acts::ask_to_approve).post(acts::approve))
        .route(&format!("{ONE}/deny"), get(acts::ask_to_deny).post(acts::deny))
        .route(&format!("{ONE}/withdraw"), get(acts::ask_to_withdraw).post(acts::withdraw))
        .route(&format!("{ONE}/changes/{{position}}/withdraw"), get(acts::ask_to_withdraw_change).post(acts::withdraw_change))
        .route(&format!("{ONE}/changes/{{position}}/download"), post(acts::download))
}

/// What is said of a state: the badge's class, and the word.
pub(super) fn status(state: RequestState) -> (&'static str, &'static str) {
    let t = &ENGLISH.approval;
    match state {
        RequestState::Draft => ("", t.draft),
        RequestState::Ready => ("warn", t.ready),
        RequestState::Applying => ("warn", t.applying),
        RequestState::Approved => ("good", t.approved),
        RequestState::Denied => ("bad", t.denied),
        RequestState::Withdrawn => ("", t.was_withdrawn),
        RequestState::Expired => ("", t.expired),
        RequestState::Failed => ("bad", t.failed),
    }
}

/// What an address says about the list.
#[derive(Debug, Default, Deserialize)]
struct Asked {
    #[serde(default)]
    status: String,
    #[serde(default)]
    q: String,
    #[serde(default)]
    sort: String,
    #[serde(default)]
    dir: String,
    #[serde(default)]
    size: String,
    #[serde(default)]
    page: String,
}

/// A request in the list.
struct Row {
    path: String,
    id: String,
    key_store: String,
    requester: String,
    date: String,
    note: String,
    status: (&'static str, &'static str),
    reason: Option<String>,
}

impl Row {
    fn new(console: &Console, project: ProjectId, listed: ListedRequest) -> Self {
        let request = listed.request;
        Self {
            path: format!("/projects/{project}/approvals/{}", request.id),
            id: request.id.to_string(),
            key_store: listed.key_store.map_or_else(|| ENGLISH.approval.of_project.to_owned(), |(_, name)| name),
            requester: request.requester_login,
            date: shown::date(console, request.requested.unwrap_or(request.created)),
            note: request.note,
            status: status(request.state),
            reason: request.reason.filter(|_| request.state == RequestState::Failed),
        }
    }
}

#[derive(Template)]
#[template(path = "approvals.html")]
struct ListPage {
    t: &'static Texts,
    assets: &'static Assets,
    frame: Frame,
    rows: Vec<Row>,
    chosen: Option<RequestState>,
    around: Around,
}

impl ListPage {
    /// The states that requests are looked for by; drafts are none.
    fn states() -> impl Iterator<Item = RequestState> {
        RequestState::ALL.into_iter().filter(|state| *state != RequestState::Draft)
    }

    fn is_chosen(&self, state: &RequestState) -> bool {
        self.chosen == Some(*state)
    }
}

async fn index(State(console): State<Console>, visitor: Visitor, Path(project): Path<i64>, Query(asked): Query<Asked>) -> Response {
    let project = ProjectId(project);
    let shown = async {
        let query = ListQuery::new(&asked.q, &asked.sort, asked.dir == "desc", &asked.size, &asked.page);
        let chosen = RequestState::parse(&asked.status).filter(|state| *state != RequestState::Draft);
        let wanted = RequestQuery {
            state: chosen,
            key_store: None,
            asked_only: true,
            search: query.search.clone(),
            sort: query.sort.clone(),
            descending: query.descending,
            offset: query.offset(),
            limit: query.limit(),
        };
        let listed = console.service.list_requests(visitor.about(project), Ok(wanted)).await?;
        let frame = Frame::of_project(&console, &visitor, project, Tab::ApprovalList, Tab::ApprovalList.title()).await?;
        let around = Around::new(format!("/projects/{project}/approvals"), query, &listed);
        let around = around.keeping("status", chosen.map(RequestState::as_str).unwrap_or_default());
        let rows = listed.entries.into_iter().map(|listed| Row::new(&console, project, listed)).collect();
        Ok(page::show(StatusCode::OK, &ListPage { t: &ENGLISH, assets: frame.assets, frame, rows, chosen, around }))
    };
    shown.await.unwrap_or_else(|refusal: Refusal| page::refused(&refusal, visitor.request))
}

/// Which request an address is about.
#[derive(Debug, Clone, Deserialize)]
struct At {
    project: i64,
    request: String,
}

impl At {
    fn project(&self) -> ProjectId {
        ProjectId(self.project)
    }

    /// `/projects/7/approvals/ID`, of an ID that was read; what isn't one leads nowhere.
    fn path(&self) -> String {
        format!("/projects/{}/approvals/{}", self.project, self.request)
    }

    async fn view(&self, console: &Console, visitor: &Visitor) -> Result<RequestView, Refusal> {
        let details = console.service.read_request(visitor.about(self.project()), self.request.clone()).await?;
        Ok(RequestView::new(console, visitor, self, details))
    }
}

#[derive(Template)]
#[template(path = "approval.html")]
struct RequestPage {
    t: &'static Texts,
    assets: &'static Assets,
    frame: Frame,
    view: RequestView,
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
        "requested" => Some(t.request_done),
        "approved" => Some(t.done_approved),
        "applying" => Some(t.done_applying),
        "denied" => Some(t.done_denied),
        "withdrawn" => Some(t.done_withdrawn),
        "change-withdrawn" => Some(t.change_withdrawn),
        _ => None,
    }
}

async fn show(State(console): State<Console>, visitor: Visitor, Path(at): Path<At>, Query(done): Query<Done>) -> Response {
    let shown = async {
        let view = at.view(&console, &visitor).await?;
        let title = format!("{}: {}", ENGLISH.approval.title, view.key_store);
        // What was applied meanwhile says so itself.
        let done = notice(&done.done).filter(|_| done.done != "applying" || view.is_applying);
        let frame = Frame::of_project(&console, &visitor, at.project(), Tab::ApprovalList, title).await?.noticing(done);
        Ok(page::show(StatusCode::OK, &RequestPage { t: &ENGLISH, assets: frame.assets, frame, view }))
    };
    shown.await.unwrap_or_else(|refusal: Refusal| refused(&visitor, &refusal))
}

/// A request that isn't there is no page.
fn refused(visitor: &Visitor, refusal: &Refusal) -> Response {
    let is_unknown = matches!(refusal.code(), ResultCode::InvalidApprovalRequest);
    page::refused(if is_unknown { &Refusal::Code(ResultCode::UrlNotFound) } else { refusal }, visitor.request)
}
