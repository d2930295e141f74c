//! Registering IPv4 or MAC entries by a file, and having them as one.
//!
//! What a file holds is shown before anything is done, and comes back whole with the confirmation: nothing is kept here between the two, so
//! it doesn't matter which node gets the second request, and no upload that is given up leaves anything behind. It is checked anew then.

use std::time::Duration;

use askama::Template;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Multipart, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::{get, post};
use bytes::Bytes;
use futures_util::stream::try_unfold;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::Console;
use super::attachment::attachment;
use super::clients::{Place, label, word};
use super::csv::{self, FILE_MAX_BYTES, Line, MEDIA_TYPE};
use super::depository::{Depository, SubTab};
use super::door::Door;
use super::list::Asked;
use super::page::{self, Frame, Tab};
use super::routes::Routes;
use super::shown;
use super::text::{ENGLISH, Texts};
use super::visitor::Visitor;
use crate::domain::client_checks::Method;
use crate::domain::result_code::ResultCode;
use crate::domain::text::Invalid;
use crate::service::{EntryProblem, Refusal};

/// What a form has beside the file.
const AROUND_FILE_MAX_BYTES: usize = 64 * 1024;
/// How many files are looked at at a time: each takes some times its size in memory.
const FILES_MAX: usize = 2;
/// How long somebody waits for his turn.
const TURN_WITHIN: Duration = Duration::from_secs(5);
/// The most bad lines that a preview shows, and the most good ones.
const BAD_LINES_MAX: usize = 1_000;
const GOOD_LINES_MAX: usize = 100;
/// The most characters of a cell that a preview shows.
const CELL_MAX_CHARS: usize = 80;

static FILES: Semaphore = Semaphore::const_new(FILES_MAX);

/// The pages of files behind a door.
pub(super) fn routes(door: Door) -> Routes {
    let mut routes = Routes::new();
    for method in [Method::Ipv4, Method::Mac] {
        let path = door.route(&format!("/{{store}}/{}/csv", word(method)));
        let limit = || DefaultBodyLimit::max(FILE_MAX_BYTES + AROUND_FILE_MAX_BYTES);
        routes = routes
            .route(&path, get(ask).post(preview).layer(limit()))
            .route(&format!("{path}/register"), post(register).layer(limit()))
            .route(&format!("{path}/template"), get(template))
            .route(&format!("{path}/download"), get(download));
    }
    routes
}

#[derive(Template)]
#[template(path = "csv_upload.html")]
struct UploadPage {
    t: &'static Texts,
    assets: &'static super::assets::Assets,
    frame: Frame,
    depository: Depository,
    path: String,
    wrong: Option<&'static str>,
    problem: Option<&'static str>,
}

/// A line as a preview shows it.
#[derive(Debug)]
struct Shown {
    number: u64,
    value: String,
    description: String,
    problem: Option<String>,
}

#[derive(Template)]
#[template(path = "csv_preview.html")]
struct PreviewPage {
    t: &'static Texts,
    assets: &'static super::assets::Assets,
    frame: Frame,
    depository: Depository,
    path: String,
    label: &'static str,
    total: usize,
    bad: usize,
    /// Free places, where there are too few.
    room: Option<usize>,
    lines: Vec<Shown>,
    /// The file, for the confirmation.
    text: String,
    problem: Option<&'static str>,
}

/// A file that somebody sent.
struct Upload {
    csrf: String,
    file: Bytes,
    _turn: SemaphorePermit<'static>,
}

/// Why there is none.
enum NoUpload {
    Refused(Refusal),
    Wrong(&'static str),
}

impl From<Refusal> for NoUpload {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl Upload {
    /// Reads a form of somebody who may change things; the rest of it is never looked at.
    async fn read(visitor: &Visitor, place: &Place, mut multipart: Multipart) -> Result<Self, NoUpload> {
        visitor.require_change(place.project)?;
        let turn = match tokio::time::timeout(TURN_WITHIN, FILES.acquire()).await {
            Ok(Ok(turn)) => turn,
            Ok(Err(_)) | Err(_) => return Err(Refusal::TooMany(TURN_WITHIN).into()),
        };
        let (mut csrf, mut file) = (String::new(), Bytes::new());
        while let Some(field) = multipart.next_field().await.map_err(|error| unreadable(error.status()))? {
            match field.name() {
                Some("csrf") => csrf = field.text().await.map_err(|error| unreadable(error.status()))?,
                Some("file") => file = field.bytes().await.map_err(|error| unreadable(error.status()))?,
                _ => {}
            }
        }
        match file.len() {
            0 => Err(NoUpload::Wrong(ENGLISH.clients.csv_no_file)),
            length if length > FILE_MAX_BYTES => Err(NoUpload::Wrong(ENGLISH.clients.csv_too_large)),
            _ => Ok(Self { csrf, file, _turn: turn }),
        }
    }
}

fn unreadable(status: StatusCode) -> NoUpload {
    let t = &ENGLISH.clients;
    NoUpload::Wrong(if status == StatusCode::PAYLOAD_TOO_LARGE { t.csv_too_large } else { t.csv_unreadable })
}

async fn around(console: &Console, visitor: &Visitor, place: &Place) -> Result<(Frame, Depository), Refusal> {
    let key_store = console.service.read_key_store(visitor.about(place.project), place.store.clone()).await?;
    let frame = Frame::of_project(console, visitor, place.project, visitor.door.tab(), ENGLISH.clients.csv_title).await?;
    let depository = Depository::new(console, visitor, place.project, key_store, place.sub_tab(), &Asked::default()).await?;
    Ok((frame, depository))
}

async fn present_upload(console: &Console, visitor: &Visitor, place: &Place, wrong: Option<&'static str>, problem: Option<&'static str>) -> Response {
    let status = if wrong.or(problem).is_none() { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
    match around(console, visitor, place).await {
        Ok((frame, depository)) => page::show(status, &UploadPage { t: &ENGLISH, assets: frame.assets, frame, depository, path: place.path(), wrong, problem }),
        Err(refusal) => page::refused(&refusal, visitor.request),
    }
}

async fn ask(State(console): State<Console>, visitor: Visitor, place: Place) -> Response {
    if let Err(refusal) = visitor.require_change(place.project) {
        return page::refused(&refusal, visitor.request);
    }
    present_upload(&console, &visitor, &place, None, None).await
}

async fn preview(State(console): State<Console>, visitor: Visitor, place: Place, multipart: Multipart) -> Response {
    let upload = match Upload::read(&visitor, &place, multipart).await {
        Ok(upload) => upload,
        Err(NoUpload::Refused(refusal)) => return page::refused(&refusal, visitor.request),
        Err(NoUpload::Wrong(wrong)) => return present_upload(&console, &visitor, &place, Some(wrong), None).await,
    };
    if !visitor.sent(&upload.csrf) {
        return present_upload(&console, &visitor, &place, None, Some(ENGLISH.frame.stale_form)).await;
    }
    present_preview(&console, &visitor, &place, &upload.file, None).await
}

/// Reads a file, away from other requests.
async fn read(file: Bytes) -> Result<Vec<Line>, &'static str> {
    let reading = tokio::task::spawn_blocking(move || csv::text(&file).and_then(csv::read)).await;
    reading.unwrap_or(Err(ENGLISH.clients.csv_unreadable))
}

async fn present_preview(console: &Console, visitor: &Visitor, place: &Place, file: &Bytes, problem: Option<&'static str>) -> Response {
    let lines = match read(file.clone()).await {
        Ok(lines) => lines,
        Err(wrong) => return present_upload(console, visitor, place, Some(wrong), None).await,
    };
    let entries = lines.iter().map(|line| line.entry.clone()).collect();
    let checked = match console.service.check_clients(visitor.about(place.project), place.store.clone(), place.method, entries).await {
        Ok(checked) => checked,
        Err(refusal) => return page::refused(&refusal, visitor.request),
    };
    let (frame, depository) = match around(console, visitor, place).await {
        Ok(around) => around,
        Err(refusal) => return page::refused(&refusal, visitor.request),
    };
    let total = lines.len();
    let numbers: Vec<u64> = lines.iter().map(|line| line.number).collect();
    let told: Vec<Option<String>> = lines.iter().zip(checked.problems).map(|(line, problem)| told(line, problem, &numbers)).collect();
    let bad = told.iter().flatten().count();
    let room = (total - bad > checked.room).then_some(checked.room);
    let is_right = bad == 0 && room.is_none() && problem.is_none();
    let status = if is_right { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
    let text = if bad == 0 && room.is_none() { csv::text(file).unwrap_or_default().to_owned() } else { String::new() };
    let (path, label, lines) = (place.path(), label(place.method), to_show(lines, told));
    page::show(status, &PreviewPage { t: &ENGLISH, assets: frame.assets, frame, depository, path, label, total, bad, room, lines, text, problem })
}

/// What is wrong with a line.
fn told(line: &Line, problem: Option<EntryProblem>, numbers: &[u64]) -> Option<String> {
    let t = &ENGLISH.clients;
    if let Some(problem) = line.problem {
        return Some(problem.to_owned());
    }
    Some(match problem? {
        EntryProblem::Invalid(invalid) if invalid.field == "description" => format!("{}: {}", ENGLISH.frame.description, invalid.problem),
        EntryProblem::Invalid(invalid) => invalid.problem,
        EntryProblem::Twice(place) => format!("{} {}", t.csv_twice, numbers.get(place).copied().unwrap_or_default()),
        EntryProblem::There => t.csv_there.to_owned(),
    })
}

/// The bad lines, and some good ones where there are no bad ones.
fn to_show(lines: Vec<Line>, told: Vec<Option<String>>) -> Vec<Shown> {
    let cell = |text: String| if text.chars().nth(CELL_MAX_CHARS).is_some() { text.chars().take(CELL_MAX_CHARS).chain(['…']).collect() } else { text };
    let has_bad = told.iter().any(Option::is_some);
    let most = if has_bad { BAD_LINES_MAX } else { GOOD_LINES_MAX };
    let wanted = lines.into_iter().zip(told).filter(|(_, problem)| problem.is_some() == has_bad).take(most);
    let show = |(line, problem): (Line, Option<String>)| Shown {
        number: line.number,
        value: cell(line.entry.value),
        description: cell(line.entry.description),
        problem,
    };
    wanted.map(show).collect()
}

async fn register(State(console): State<Console>, visitor: Visitor, place: Place, headers: HeaderMap, multipart: Multipart) -> Response {
    let upload = match Upload::read(&visitor, &place, multipart).await {
        Ok(upload) => upload,
        Err(NoUpload::Refused(refusal)) => return page::refused(&refusal, visitor.request),
        Err(NoUpload::Wrong(wrong)) => return present_upload(&console, &visitor, &place, Some(wrong), None).await,
    };
    if !visitor.sent(&upload.csrf) {
        return present_preview(&console, &visitor, &place, &upload.file, Some(ENGLISH.frame.stale_form)).await;
    }
    let lines = match read(upload.file.clone()).await {
        Ok(lines) => lines,
        Err(wrong) => return present_upload(&console, &visitor, &place, Some(wrong), None).await,
    };
    if lines.iter().any(|line| line.problem.is_some()) {
        return present_preview(&console, &visitor, &place, &upload.file, None).await;
    }
    let entries = lines.into_iter().map(|line| line.entry).collect();
    match console.service.register_clients(visitor.about(place.project), place.store.clone(), place.method, entries).await {
        Ok(_) => page::go(headers.contains_key("hx-request"), &format!("{}?done=registered-many", place.path())),
        Err(Refusal::Proposed(_)) => page::go(headers.contains_key("hx-request"), &format!("{}?done=drafted", place.path())),
        Err(Refusal::Code(code @ (ResultCode::ApprovalRequired | ResultCode::OpenApprovalRequest))) => {
            let t = &ENGLISH.approval;
            let told = if code == ResultCode::ApprovalRequired { t.required } else { t.open_already };
            present_preview(&console, &visitor, &place, &upload.file, Some(told)).await
        }
        Err(Refusal::Field(Invalid { field: "changes", .. })) => {
            present_preview(&console, &visitor, &place, &upload.file, Some(ENGLISH.clients.csv_too_much_for_one)).await
        }
        Err(Refusal::Field(_) | Refusal::Exists { .. } | Refusal::Code(ResultCode::Conflict)) => {
            present_preview(&console, &visitor, &place, &upload.file, Some(ENGLISH.clients.csv_overtaken)).await
        }
        Err(refusal) => page::refused(&refusal, visitor.request),
    }
}

async fn template(State(console): State<Console>, visitor: Visitor, place: Place) -> Response {
    if let Err(refusal) = console.service.read_key_store(visitor.about(place.project), place.store.clone()).await {
        return page::refused(&refusal, visitor.request);
    }
    attachment(&format!("{}-template.csv", word(place.method)), MEDIA_TYPE, Body::from(csv::template(place.method)))
}

async fn download(State(console): State<Console>, visitor: Visitor, place: Place) -> Response {
    let found = console.service.export_clients(visitor.about(place.project), place.store.clone(), place.method).await;
    let (key_store, pieces) = match found {
        Ok(found) => found,
        Err(refusal) => return page::refused(&refusal, visitor.request),
    };
    let name = format!("{}-{}.csv", key_store.name, word(place.method));
    let rest = try_unfold((Some(csv::begin()), pieces, console), async |(begin, mut pieces, console)| {
        if let Some(begin) = begin {
            return Ok(Some((Bytes::from(begin), (None, pieces, console))));
        }
        let piece = pieces.next().await.inspect_err(|refusal| tracing::warn!(?refusal, "a file was broken off"))?;
        let Some(piece) = piece else { return Ok::<_, Refusal>(None) };
        let lines = csv::lines(piece, |at| shown::date(&console, at));
        Ok(Some((Bytes::from(lines), (None, pieces, console))))
    });
    attachment(&name, MEDIA_TYPE, Body::from_stream(rest))
}

impl PreviewPage {
    fn not_shown(&self) -> usize {
        let all = if self.bad > 0 { self.bad } else { self.total };
        all.saturating_sub(self.lines.len())
    }

    fn is_right(&self) -> bool {
        self.bad == 0 && self.room.is_none()
    }
}
