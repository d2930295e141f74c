//! Health of token, database, certificates and tasks, for people: what `/readyz` and `/metrics` know.

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;

use crate::console::Console;
use crate::console::assets::Assets;
use crate::console::page::{self, Frame, Tab};
use crate::console::routes::Routes;
use crate::console::shown;
use crate::console::text::{ENGLISH, Texts};
use crate::console::visitor::Visitor;
use crate::domain::clock::Timestamp;
use crate::domain::clock_watch::ClockState;
use crate::service::{AuthorityInfo, HealthReport, Refusal};
use crate::telemetry::metrics::RunOutcome;

/// A certificate that is renewed by itself has been by then; one that isn't needs somebody soon.
const EXPIRES_SOON: std::time::Duration = std::time::Duration::from_secs(14 * 86_400);
/// Of what is about to stop everybody.
const EXPIRES_VERY_SOON: std::time::Duration = std::time::Duration::from_secs(3 * 86_400);

pub(super) fn routes() -> Routes {
    Routes::new().route("/organization/health", get(show))
}

/// How something does. Its word says it, the colour only repeats that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    Good,
    Warning,
    Alarm,
}

impl Level {
    pub(super) fn class(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Warning => "warn",
            Self::Alarm => "bad",
        }
    }

    pub(super) fn word(self) -> &'static str {
        let t = &ENGLISH.organization;
        match self {
            Self::Good => t.ok,
            Self::Warning => t.warning,
            Self::Alarm => t.alarm,
        }
    }

    fn alarm_if(is_so: bool) -> Self {
        if is_so { Self::Alarm } else { Self::Good }
    }

    fn warn_if(is_so: bool) -> Self {
        if is_so { Self::Warning } else { Self::Good }
    }

    fn of_expiry(at: Timestamp, now: Timestamp) -> Self {
        if at <= now.plus(EXPIRES_VERY_SOON) { Self::Alarm } else { Self::warn_if(at <= now.plus(EXPIRES_SOON)) }
    }
}

/// The levels of all that the page shows.
#[derive(Debug, Clone, Copy)]
struct Levels {
    token: Level,
    missing: Level,
    orphans: Level,
    database: Level,
    staleness: Level,
    clock: Level,
    server_certificate: Level,
    authorities: Level,
    clients: Level,
    keys: Level,
    tasks: Level,
}

impl Levels {
    fn of(console: &Console, report: &HealthReport) -> Self {
        let now = console.service.now();
        let issuing = |authority: &&AuthorityInfo| authority.issues_clients || authority.issues_servers;
        let authorities = report.authorities.as_deref().unwrap_or_default().iter().filter(issuing);
        let of_authorities = authorities.map(|authority| Level::of_expiry(authority.validity.not_after, now)).max();
        let is_fresh = report.health.staleness.is_some_and(|age| age <= report.freshness_limit);
        Self {
            token: Level::alarm_if(!report.health.token.ready),
            missing: Level::alarm_if(report.health.missing_objects > 0),
            orphans: Level::warn_if(report.orphans.is_some_and(|orphans| orphans > 0)),
            database: Level::alarm_if(report.database_problem.is_some()),
            staleness: Level::alarm_if(!is_fresh),
            clock: Level::alarm_if(report.health.clock != ClockState::Right),
            server_certificate: Level::of_expiry(console.settings.server_certificate.not_after(), now),
            authorities: of_authorities.unwrap_or(Level::Alarm),
            clients: Level::warn_if(report.expiry.is_some_and(|expiry| expiry.clients_soon > 0)),
            keys: Level::warn_if(report.health.keys_near_use_limit > 0),
            tasks: Level::warn_if(report.task_runs.iter().any(|(_, run)| run.outcome != RunOutcome::Success)),
        }
    }

    fn worst(self) -> Level {
        let Self { token, missing, orphans, database, staleness, clock, server_certificate, authorities, clients, keys, tasks } = self;
        [token, missing, orphans, database, staleness, clock, server_certificate, authorities, clients, keys, tasks].into_iter().max().unwrap_or(Level::Good)
    }
}

/// How the whole does.
pub(super) fn level_of(console: &Console, report: &HealthReport) -> Level {
    Levels::of(console, report).worst()
}

/// That approval was turned off alone is everybody's business who administers.
pub(super) fn level_of_approval(frame: &Frame) -> Level {
    Level::alarm_if(!frame.emergencies.is_empty())
}

/// A line of the page: what, how it is, and how it does.
struct Line {
    label: &'static str,
    told: String,
    more: Option<String>,
    level: Option<Level>,
}

impl Line {
    fn plain(label: &'static str, told: impl ToString) -> Self {
        Self { label, told: told.to_string(), more: None, level: None }
    }

    fn of(label: &'static str, told: impl ToString, level: Level) -> Self {
        Self { level: Some(level), ..Self::plain(label, told) }
    }

    fn with(self, more: impl Into<String>) -> Self {
        Self { more: Some(more.into()).filter(|more| !more.is_empty()), ..self }
    }
}

/// A part of the page.
struct Part {
    id: &'static str,
    title: &'static str,
    lines: Vec<Line>,
}

/// The last run of a task.
struct Run {
    task: &'static str,
    at: String,
    took: String,
    level: Level,
}

#[derive(Template)]
#[template(path = "organization_health.html")]
struct HealthPage {
    t: &'static Texts,
    assets: &'static Assets,
    frame: Frame,
    node: String,
    level: Level,
    problems: Vec<String>,
    parts: Vec<Part>,
    runs: Vec<Run>,
}

async fn show(State(console): State<Console>, visitor: Visitor) -> Response {
    let shown = async {
        let report = console.service.health_for(visitor.visit()).await?;
        let frame = Frame::new(&console, &visitor, ENGLISH.organization.health).await?.within("health");
        let levels = Levels::of(&console, &report);
        let parts = vec![token(&console, &report, levels), database(&report, levels), certificates(&console, &report, levels), keys(&report, levels)];
        let page = HealthPage {
            t: &ENGLISH,
            assets: frame.assets,
            level: levels.worst().max(level_of_approval(&frame)),
            problems: report.health.problems.clone(),
            parts,
            frame,
            runs: runs(&console, &report),
            node: report.node,
        };
        Ok(page::show(StatusCode::OK, &page))
    };
    shown.await.unwrap_or_else(|refusal: Refusal| page::refused(&refusal, visitor.request))
}

fn token(console: &Console, report: &HealthReport, levels: Levels) -> Part {
    let (t, health) = (&ENGLISH.organization, &report.health.token);
    let state = health.problem.as_deref().filter(|_| !health.ready).unwrap_or(if health.ready { t.breaker_closed } else { t.alarm });
    let missing = if report.health.missing_objects == 0 { t.missing_none.to_owned() } else { report.health.missing_objects.to_string() };
    let named: Vec<_> = report.missing.iter().map(|object| format!("{} {} {}", object.key, t.version, object.version)).collect();
    let missing_more = if named.is_empty() { String::new() } else { format!("{} {}", t.missing_told, named.join(", ")) };
    let orphans = report.orphans.map_or_else(|| t.not_compared.to_owned(), |orphans| orphans.to_string());
    let orphans_more = if levels.orphans == Level::Good { "" } else { t.orphans_told };
    Part {
        id: "token",
        title: t.token,
        lines: vec![
            Line::plain(t.token_label, &health.identity),
            Line::of(t.breaker, state, levels.token),
            Line::plain(t.last_success, health.last_success.map_or_else(|| t.never_read.to_owned(), |at| shown::date(console, at))),
            Line::plain(t.connections_made, health.generation),
            Line::plain(t.queue, format!("{} {}, {} {}", health.queued.0, t.queue_fast, health.queued.1, t.queue_slow)),
            Line::plain(t.replaced, health.workers_replaced),
            Line::plain(t.objects, health.cached_objects),
            Line::of(t.missing, missing, levels.missing).with(missing_more),
            Line::of(t.orphans, orphans, levels.orphans).with(orphans_more),
        ],
    }
}

fn database(report: &HealthReport, levels: Levels) -> Part {
    let t = &ENGLISH.organization;
    let clock = match report.health.clock {
        ClockState::Right => t.clock_right,
        ClockState::Doubted => t.clock_doubted,
        ClockState::Skewed => t.clock_skewed,
    };
    let ahead = report.health.clock_skew_s.map_or_else(String::new, |seconds| format!("{} {seconds:.3} s", t.clock_ahead));
    let staleness = report.health.staleness.map_or_else(|| t.never_read.to_owned(), |age| format!("{} {}", age.as_millis(), t.ago));
    Part {
        id: "database",
        title: t.database,
        lines: vec![
            Line::plain(t.kind, report.database),
            Line::of(t.writer, report.database_problem.as_deref().unwrap_or(t.writer_good), levels.database),
            Line::plain(t.writer_queue, report.health.writer_queue),
            Line::of(t.staleness, staleness, levels.staleness),
            Line::of(t.clock, clock, levels.clock).with(ahead),
        ],
    }
}

fn certificates(console: &Console, report: &HealthReport, levels: Levels) -> Part {
    let t = &ENGLISH.organization;
    let authority = |authority: &AuthorityInfo| {
        let trusted = if authority.trusted { String::new() } else { format!(", {}", t.authority_not_trusted) };
        format!("{} {}: {} {}{trusted}", authority.number, authority.name, t.authority_expires, shown::date(console, authority.validity.not_after))
    };
    let authorities: Vec<_> = report.authorities.as_deref().unwrap_or_default().iter().map(authority).collect();
    let next = report.expiry.and_then(|expiry| expiry.next_client).map_or_else(|| t.none.to_owned(), |at| shown::date(console, at));
    Part {
        id: "certificates",
        title: t.certificates,
        lines: vec![
            Line::of(t.server_certificate, shown::date(console, console.settings.server_certificate.not_after()), levels.server_certificate),
            Line::of(t.authority, authorities.join("; "), levels.authorities),
            Line::of(t.clients_soon, report.expiry.map_or(0, |expiry| expiry.clients_soon), levels.clients),
            Line::plain(t.next_client, next),
        ],
    }
}

fn keys(report: &HealthReport, levels: Levels) -> Part {
    let t = &ENGLISH.organization;
    let near = if report.health.keys_near_use_limit == 0 { t.near_limit_none.to_owned() } else { report.health.keys_near_use_limit.to_string() };
    let named: Vec<_> = report.near_use_limit.iter().map(|(key, version)| format!("{key} {} {version}", t.version)).collect();
    let more = if named.is_empty() { String::new() } else { format!("{} {}", t.near_limit_told, named.join(", ")) };
    Part { id: "keys", title: t.keys, lines: vec![Line::of(t.near_limit, near, levels.keys).with(more)] }
}

fn runs(console: &Console, report: &HealthReport) -> Vec<Run> {
    let run = |(task, run): &(&'static str, crate::telemetry::metrics::TaskRun)| Run {
        task,
        at: shown::date(console, Timestamp::from_micros(run.at.saturating_mul(1_000_000))),
        took: format!("{} ms", run.took.as_millis()),
        level: Level::warn_if(run.outcome != RunOutcome::Success),
    };
    report.task_runs.iter().map(run).collect()
}
