//! **Usage History** of a project, and the audit log of the installation for its administrators: one page over two scopes.

mod asked;
mod entry;
mod file;

use askama::Template;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::get;

use super::Console;
use super::address::{Path, Query};
use super::form::Form;
use super::page::{self, Frame, Tab};
use super::routes::Routes;
use super::shown;
use super::text::{ENGLISH, Texts};
use super::visitor::{Visitor, wants_fragment};
use crate::domain::account::Role;
use crate::domain::audit::Operation;
use crate::domain::history::{Found, HistoryFilter, HistoryPlace, HistoryScope, Seek};
use crate::domain::ids::ProjectId;
use crate::domain::listing::ListQuery;
use crate::domain::result_code::ResultCode;
use crate::service::{AuditLogPage, HistoryEntry, HistoryPage, LogState, Refusal};
use asked::{Asked, NO_PROJECT};
use entry::Shown;
pub(super) use entry::operation as operation_in_words;

/// The pages of the history.
pub(super) fn routes() -> Routes {
    Routes::new()
        .route("/projects/{project}/usage", get(usage))
        .route("/projects/{project}/usage/download", get(download_usage))
        .route("/projects/{project}/usage/records/{place}", get(usage_record))
        .route("/organization/audit", get(audit))
        .route("/organization/audit/download", get(download_audit))
        .route("/organization/audit/records/{place}", get(audit_record))
}

/// The pairs of an address's query.
type Pairs = Query<Vec<(String, String)>>;

/// Whose history a page shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose {
    Project(ProjectId),
    Organization,
}

impl Whose {
    fn path(self) -> String {
        match self {
            Self::Project(project) => format!("/projects/{project}/usage"),
            Self::Organization => "/organization/audit".to_owned(),
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::Project(_) => ENGLISH.history.title,
            Self::Organization => ENGLISH.history.audit_title,
        }
    }

    /// What stands around the page; refused where the visitor has no business there, whatever he typed.
    async fn frame(self, console: &Console, visitor: &Visitor) -> Result<Frame, Refusal> {
        match self {
            Self::Project(project) => {
                let frame = Frame::of_project(console, visitor, project, Tab::UsageHistory, self.title()).await?;
                let may = visitor.session.roles_in(project).any(Role::may_read_at_console);
                if may { Ok(frame) } else { Err(ResultCode::Forbidden.into()) }
            }
            Self::Organization if visitor.session.administrator => Ok(Frame::new(console, visitor, self.title()).await?.within("audit")),
            Self::Organization => Err(ResultCode::Forbidden.into()),
        }
    }
}

/// How the audit log stands, for its page.
#[derive(Debug)]
struct Log {
    state: LogState,
    checkpoint: Option<(i64, String)>,
    fingerprint: Option<String>,
}

#[derive(Template)]
#[template(path = "history.html")]
struct HistoryView {
    t: &'static Texts,
    assets: &'static super::assets::Assets,
    frame: Frame,
    whose: Whose,
    path: String,
    asked: Asked,
    form: Form,
    zone: &'static str,
    rows: Vec<Shown>,
    key_stores: Vec<(String, String)>,
    newer: Option<String>,
    older: Option<String>,
    is_newest: bool,
    /// How far was searched, and what to say of it.
    searched: Option<(&'static str, String)>,
    /// What to say before a number, and the number.
    found: Option<(&'static str, usize)>,
    log: Option<Log>,
}

#[derive(Template)]
#[template(path = "history_record.html")]
struct RecordView {
    t: &'static Texts,
    path: String,
    whose: Whose,
    record: Shown,
    in_dialog: bool,
}

/// What an address asks for, once it is right.
struct Right {
    scope: HistoryScope,
    filter: HistoryFilter,
    seek: Seek,
}

impl Right {
    fn of(console: &Console, whose: Whose, asked: &Asked) -> Result<Self, Box<Form>> {
        let filter = asked.filter(console.settings.zone)?;
        let scope = match whose {
            Whose::Project(project) => HistoryScope::Project(project),
            Whose::Organization => asked.scope().map_err(|invalid| Box::new(wrong(asked.form(), Refusal::Field(invalid))))?,
        };
        let Some(seek) = asked.seek() else {
            let mut form = asked.form();
            form.problem = Some(ENGLISH.history.wrong_place.to_owned());
            return Err(Box::new(form));
        };
        Ok(Self { scope, filter, seek })
    }
}

/// The form with what a refusal says at its field.
fn wrong(form: Form, refusal: Refusal) -> Form {
    form.refuse(refusal).unwrap_or_default()
}

impl HistoryView {
    /// The page without records.
    fn new(console: &Console, frame: Frame, whose: Whose, asked: Asked, form: Form) -> Self {
        Self {
            t: &ENGLISH,
            assets: frame.assets,
            frame,
            whose,
            path: whose.path(),
            asked,
            form,
            zone: console.settings.zone.name(),
            rows: Vec::new(),
            key_stores: Vec::new(),
            newer: None,
            older: None,
            is_newest: true,
            searched: None,
            found: None,
            log: None,
        }
    }

    fn with(mut self, console: &Console, seek: Seek, page: HistoryPage) -> Self {
        let t = &ENGLISH.history;
        let told = if matches!(seek, Seek::Newer(_)) { t.searched_forward } else { t.searched };
        self.searched = page.searched_to.map(|at| (told, shown::date(console, at)));
        self.found = Some(match page.found {
            Found::Exactly(count) => ("", count),
            Found::MoreThan(count) => (t.more_than, count),
            Found::AtLeast(count) => (t.at_least, count),
        });
        self.is_newest = page.newer.is_none();
        self.newer = page.newer.map(|place| self.address(Some(("newer", place))));
        self.older = page.older.map(|place| self.address(Some(("older", place))));
        self.rows = page.entries.into_iter().map(|entry| Shown::new(console, entry)).collect();
        self.key_stores = page.key_stores.into_iter().map(|(number, name)| (number.to_string(), shown::harmless(name.as_str(), usize::MAX))).collect();
        self
    }

    fn address(&self, way: Option<(&'static str, HistoryPlace)>) -> String {
        format!("{}?{}", self.path, self.asked.query_at(way))
    }

    fn newest(&self) -> String {
        self.address(None)
    }

    fn download(&self) -> String {
        format!("{}/download?{}", self.path, self.asked.query(&[]))
    }

    fn is_organization(&self) -> bool {
        self.whose == Whose::Organization
    }

    fn sizes(&self) -> [u32; 4] {
        ListQuery::SIZES
    }

    fn is_size(&self, size: &u32) -> bool {
        self.asked.size == *size
    }

    /// The operations to choose from, by the words of the log and by those of the page.
    fn operations(&self) -> Vec<(&'static str, String)> {
        let mut all: Vec<_> = Operation::ALL.iter().map(|operation| (operation.as_str(), entry::operation(*operation))).collect();
        all.sort_by(|(_, one), (_, other)| one.cmp(other));
        all
    }

    fn outcomes(&self) -> [(&'static str, &'static str); 3] {
        let t = &ENGLISH.history;
        [("success", t.success), ("refused", t.refused), ("failed", t.failed)]
    }

    fn codes(&self) -> Vec<(String, &'static str)> {
        let mut all: Vec<_> = ResultCode::ALL.iter().map(|code| (code.number(), code.message())).collect();
        all.sort_unstable();
        all.into_iter().map(|(number, message)| (number.to_string(), message)).collect()
    }

    fn is_chosen(&self, field: &str, value: &str) -> bool {
        self.form.value(field) == value
    }
}

impl RecordView {
    /// The list with one filter.
    fn only(&self, field: &str, value: &str) -> String {
        format!("{}?{}", self.path, serde_urlencoded::to_string([(field, value)]).unwrap_or_default())
    }

    fn is_organization(&self) -> bool {
        self.whose == Whose::Organization
    }
}

async fn usage(State(console): State<Console>, visitor: Visitor, Path(project): Path<i64>, Query(pairs): Pairs) -> Response {
    present(&console, &visitor, Whose::Project(ProjectId(project)), Asked::new(&pairs)).await
}

async fn audit(State(console): State<Console>, visitor: Visitor, Query(pairs): Pairs) -> Response {
    present(&console, &visitor, Whose::Organization, Asked::new(&pairs)).await
}

async fn present(console: &Console, visitor: &Visitor, whose: Whose, asked: Asked) -> Response {
    let shown = async {
        let Right { scope, filter, seek } = match Right::of(console, whose, &asked) {
            Ok(right) => right,
            Err(form) => return present_wrong(console, visitor, whose, asked, *form).await,
        };
        let size = usize::try_from(asked.size).unwrap_or(usize::MAX);
        let read = match whose {
            Whose::Project(project) => console.service.read_history(visitor.about(project), filter, seek, size).await.map(|page| (page, None)),
            Whose::Organization => console.service.read_audit_log(&visitor.visit(), scope, filter, seek, size).await.map(|read| {
                let AuditLogPage { page, state, fingerprint } = read;
                let checkpoint = state.checkpoint.map(|(number, at)| (number, shown::date(console, at)));
                (page, Some(Log { state, checkpoint, fingerprint }))
            }),
        };
        match read {
            Ok((page, log)) => {
                let (frame, form) = (whose.frame(console, visitor).await?, asked.form());
                let view = HistoryView::new(console, frame, whose, asked, form).with(console, seek, page);
                Ok(page::show(StatusCode::OK, &HistoryView { log, ..view }))
            }
            Err(refusal @ Refusal::Field(_)) => {
                let form = wrong(asked.form(), refusal);
                present_wrong(console, visitor, whose, asked, form).await
            }
            Err(refusal) => Err(refusal),
        }
    };
    shown.await.unwrap_or_else(|refusal: Refusal| page::refused(&refusal, visitor.request))
}

async fn present_wrong(console: &Console, visitor: &Visitor, whose: Whose, asked: Asked, form: Form) -> Result<Response, Refusal> {
    let frame = whose.frame(console, visitor).await?;
    Ok(page::show(StatusCode::UNPROCESSABLE_ENTITY, &HistoryView::new(console, frame, whose, asked, form)))
}

async fn usage_record(State(console): State<Console>, visitor: Visitor, headers: HeaderMap, Path((project, place)): Path<(i64, String)>) -> Response {
    let whose = Whose::Project(ProjectId(project));
    let found = match place.parse() {
        Ok(place) => console.service.read_history_entry(visitor.about(ProjectId(project)), place).await,
        Err(_) => Err(ResultCode::UrlNotFound.into()),
    };
    present_record(&console, &visitor, whose, found, wants_fragment(&headers)).await
}

async fn audit_record(State(console): State<Console>, visitor: Visitor, headers: HeaderMap, Path(place): Path<String>) -> Response {
    let found = match place.parse() {
        Ok(place) => console.service.read_audit_entry(&visitor.visit(), place).await,
        Err(_) => Err(ResultCode::UrlNotFound.into()),
    };
    present_record(&console, &visitor, Whose::Organization, found, wants_fragment(&headers)).await
}

async fn present_record(console: &Console, visitor: &Visitor, whose: Whose, found: Result<HistoryEntry, Refusal>, in_dialog: bool) -> Response {
    let shown = async {
        let fragment = RecordView { t: &ENGLISH, path: whose.path(), whose, record: Shown::new(console, found?), in_dialog };
        if in_dialog {
            return Ok(page::show(StatusCode::OK, &fragment));
        }
        Ok(page::alone(StatusCode::OK, whose.frame(console, visitor).await?, &fragment))
    };
    shown.await.unwrap_or_else(|refusal: Refusal| page::refused(&refusal, visitor.request))
}

async fn download_usage(State(console): State<Console>, visitor: Visitor, Path(project): Path<i64>, Query(pairs): Pairs) -> Response {
    download(console, &visitor, Whose::Project(ProjectId(project)), Asked::new(&pairs)).await
}

async fn download_audit(State(console): State<Console>, visitor: Visitor, Query(pairs): Pairs) -> Response {
    download(console, &visitor, Whose::Organization, Asked::new(&pairs)).await
}

/// A file of all that the filters show, wherever in it the page was.
async fn download(console: Console, visitor: &Visitor, whose: Whose, asked: Asked) -> Response {
    let begun = async {
        let frame = whose.frame(&console, visitor).await?;
        let Right { scope, filter, .. } = match Right::of(&console, whose, &asked) {
            Ok(right) => right,
            Err(form) => return Ok(Err(present_wrong(&console, visitor, whose, asked, *form).await?)),
        };
        let begun = match whose {
            Whose::Project(project) => console.service.download_history(visitor.about(project), filter).await,
            Whose::Organization => console.service.download_audit_log(&visitor.visit(), scope, filter).await,
        };
        match begun {
            Ok(download) => Ok(Ok((frame, download))),
            Err(refusal @ Refusal::Field(_)) => {
                let form = wrong(asked.form(), refusal);
                Ok(Err(present_wrong(&console, visitor, whose, asked, form).await?))
            }
            Err(refusal) => Err(refusal),
        }
    };
    match begun.await {
        Ok(Ok((frame, download))) => {
            let of = if whose == Whose::Organization { "audit" } else { frame.project_name() };
            let name = format!("usage-history-{of}-{}.csv", shown::iso_date(&console, console.service.now()).chars().take(10).collect::<String>());
            file::file(console, &name, download)
        }
        Ok(Err(wrong)) => wrong,
        Err(refusal) => page::refused(&refusal, visitor.request),
    }
}
