//! Statistics of a project: charts of a day, a week or a month, the tables below them, and those as files.

mod view;

use askama::Template;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use serde::Deserialize;

use super::Console;
use super::address::Path;
use super::attachment::attachment;
use super::csv::{self, MEDIA_TYPE};
use super::page::{self, Frame, Tab};
use super::routes::Routes;
use super::text::{ENGLISH, Texts};
use super::visitor::Visitor;
use crate::domain::ids::ProjectId;
use crate::domain::text::Invalid;
use crate::service::{Refusal, Statistics, StatisticsQuery};
use view::View;

/// How many keys the page tells apart.
const KEYS_SHOWN: usize = 10;
/// How many keys a file tells apart.
const KEYS_IN_FILE: usize = 10_000;

/// What bars are filled with: paths in a square of 8, the first is all filled. As many as there are series at most.
const PATTERNS: [&str; 7] =
    ["", "M-1 3 3 -1M-1 11 11 -1M5 11 11 5", "M2 2h2v2h-2zM6 6h2v2h-2z", "M0 2H8M0 6H8", "M-1 5 3 9M-1 -3 11 9M5 -1 9 3", "M2 0V8M6 0V8", "M0 4H8M4 0V8"];

/// The pages of statistics.
pub(super) fn routes() -> Routes {
    Routes::new().route("/projects/{project}/statistics", get(show)).route("/projects/{project}/statistics/csv/{of}", get(download))
}

/// What an address says.
#[derive(Debug, Clone, Default, Deserialize)]
struct Asked {
    #[serde(default)]
    by: String,
    #[serde(default)]
    on: String,
    #[serde(default)]
    key: String,
}

impl Asked {
    fn query(&self, keys_max: usize) -> StatisticsQuery {
        StatisticsQuery { by: self.by.clone(), on: self.on.clone(), key: self.key.clone(), keys_max }
    }

    /// The query of an address with these.
    fn address(&self) -> String {
        let pairs = [("by", &self.by), ("on", &self.on), ("key", &self.key)];
        serde_urlencoded::to_string(pairs.into_iter().filter(|(_, value)| !value.is_empty()).collect::<Vec<_>>()).unwrap_or_default()
    }
}

#[derive(Template)]
#[template(path = "statistics.html")]
struct StatisticsPage {
    t: &'static Texts,
    assets: &'static super::assets::Assets,
    frame: Frame,
    path: String,
    asked: Asked,
    zone: String,
    /// What of the address means nothing.
    wrong: Option<Invalid>,
    view: Option<View>,
}

impl StatisticsPage {
    /// What is wrong with the date, which has a field.
    fn wrong_date(&self) -> Option<&Invalid> {
        self.wrong.as_ref().filter(|wrong| wrong.field == "on")
    }

    fn wrong_elsewhere(&self) -> Option<&Invalid> {
        self.wrong.as_ref().filter(|wrong| wrong.field != "on")
    }
}

/// An address that can't be read at all says nothing.
type MaybeAsked = Result<Query<Asked>, axum::extract::rejection::QueryRejection>;

fn read(asked: MaybeAsked) -> (Asked, Option<Invalid>) {
    match asked {
        Ok(Query(asked)) => (asked, None),
        Err(_) => (Asked::default(), Some(Invalid::new("address", "can't be read"))),
    }
}

async fn show(State(console): State<Console>, visitor: Visitor, Path(project): Path<i64>, asked: MaybeAsked) -> Response {
    let (asked, unreadable) = read(asked);
    let shown = async {
        let project = ProjectId(project);
        let found = match unreadable {
            Some(invalid) => Err(Refusal::Field(invalid)),
            None => console.service.statistics(visitor.about(project), asked.query(KEYS_SHOWN)).await,
        };
        answer(&console, &visitor, project, asked, found).await
    };
    shown.await.unwrap_or_else(|refusal: Refusal| page::refused(&refusal, visitor.request))
}

/// The page of what was found, or with what is wrong with the address.
async fn answer(console: &Console, visitor: &Visitor, project: ProjectId, asked: Asked, found: Result<Statistics, Refusal>) -> Result<Response, Refusal> {
    let (status, found, wrong) = match found {
        Ok(found) => (StatusCode::OK, Some(found), None),
        Err(Refusal::Field(invalid)) => (StatusCode::UNPROCESSABLE_ENTITY, None, Some(invalid)),
        Err(refusal) => return Err(refusal),
    };
    let frame = Frame::of_project(console, visitor, project, Tab::Statistics, ENGLISH.statistics.title).await?;
    let path = format!("{}/statistics", frame.base());
    let view = found.map(|found| View::new(&path, frame.base(), found));
    let zone = console.settings.zone.name().to_owned();
    Ok(page::show(status, &StatisticsPage { t: &ENGLISH, assets: frame.assets, frame, path, asked, zone, wrong, view }))
}

/// A table as a file: `operations` or `keys`.
async fn download(State(console): State<Console>, visitor: Visitor, Path((project, of)): Path<(i64, String)>, asked: MaybeAsked) -> Response {
    let (asked, unreadable) = read(asked);
    let project = ProjectId(project);
    let keys_max = if of == "keys" { KEYS_IN_FILE } else { 0 };
    let found = match unreadable {
        Some(invalid) => Err(Refusal::Field(invalid)),
        None => console.service.statistics(visitor.about(project), asked.query(keys_max)).await,
    };
    let file = match (found, of.as_str()) {
        (Ok(found), "operations") => Ok((found.period, found.first, csv::table(view::OPERATION_COLUMNS, view::operation_lines(&found)))),
        (Ok(found), "keys") => Ok((found.period, found.first, csv::table(view::KEY_COLUMNS, view::key_lines(&found)))),
        (Ok(_), _) => Err(Refusal::Code(crate::domain::result_code::ResultCode::UrlNotFound)),
        (Err(refusal), _) => Err(refusal),
    };
    match file {
        Ok((period, first, bytes)) => attachment(&format!("{of}-{}-{first}.csv", period.as_str()), MEDIA_TYPE, Body::from(bytes)),
        // On the page, where it can be mended.
        Err(refusal @ Refusal::Field(_)) => {
            answer(&console, &visitor, project, asked, Err(refusal)).await.unwrap_or_else(|refusal| page::refused(&refusal, visitor.request))
        }
        Err(refusal) => page::refused(&refusal, visitor.request),
    }
}
