//! **Notifications**: the recipients of a project, or of the installation, and the messages to each.

mod steps;

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post};

use super::Console;
use super::account::shown_time;
use super::assets::Assets;
use super::list::Asked;
use super::page::{self, Frame, Tab};
use super::routes::Routes;
use super::text::{ENGLISH, Texts};
use super::visitor::Visitor;
use crate::domain::clock::Timestamp;
use crate::domain::ids::{MessageId, ProjectId, RecipientId};
use crate::domain::notification::{EventKind, Message, MessageState, RECIPIENTS_MAX, Recipient, Target};
use crate::domain::result_code::ResultCode;
use crate::service::{NotificationArea, RecipientMessages, Refusal};

/// The pages of a project's recipients.
pub(super) fn routes() -> Routes {
    routes_at("/projects/{project}/notifications")
}

/// The pages of the installation's recipients.
pub(super) fn routes_of_installation() -> Routes {
    routes_at("/organization/notifications")
}

fn routes_at(place: &str) -> Routes {
    Routes::new()
        .route(place, get(index))
        .route(&format!("{place}/new"), get(steps::new).post(steps::add))
        .route(&format!("{place}/{{recipient}}"), get(show))
        .route(&format!("{place}/{{recipient}}/edit"), get(steps::edit).post(steps::change))
        .route(&format!("{place}/{{recipient}}/test"), post(steps::test))
        .route(&format!("{place}/{{recipient}}/enable"), post(steps::enable))
        .route(&format!("{place}/{{recipient}}/disable"), post(steps::disable))
        .route(&format!("{place}/{{recipient}}/delete"), get(steps::ask_to_delete).post(steps::delete))
        .route(&format!("{place}/{{recipient}}/messages/{{message}}/send"), post(steps::send_again))
        .route(&format!("{place}/{{recipient}}/messages/{{message}}/discard"), get(steps::ask_to_discard).post(steps::discard))
}

/// What a path names. What can't be read names nothing.
#[derive(Debug, Clone, serde::Deserialize)]
struct Named {
    project: Option<String>,
    recipient: Option<String>,
    message: Option<String>,
}

impl Named {
    fn project(&self) -> Result<Option<ProjectId>, Refusal> {
        let read = |text: &String| text.parse().map(ProjectId).map_err(|_| Refusal::from(ResultCode::UrlNotFound));
        self.project.as_ref().map(read).transpose()
    }

    fn area(&self, visitor: &Visitor) -> Result<NotificationArea, Refusal> {
        Ok(match self.project()? {
            Some(project) => NotificationArea::Project(visitor.about(project)),
            None => NotificationArea::Installation(visitor.visit()),
        })
    }

    fn recipient(&self) -> Result<RecipientId, Refusal> {
        let read = self.recipient.as_ref().and_then(|text| text.parse().ok());
        Ok(RecipientId(read.ok_or(ResultCode::UrlNotFound)?))
    }

    fn message(&self) -> Result<MessageId, Refusal> {
        let read = self.message.as_ref().and_then(|text| text.parse().ok());
        Ok(read.ok_or(ResultCode::UrlNotFound)?)
    }

    /// `/projects/7/notifications`. What came in a path isn't repeated.
    fn base(&self) -> Result<String, Refusal> {
        Ok(self.project()?.map_or_else(|| "/organization/notifications".to_owned(), |project| format!("/projects/{project}/notifications")))
    }

    /// `/projects/7/notifications/3`
    fn of_recipient(&self) -> Result<String, Refusal> {
        Ok(format!("{}/{}", self.base()?, self.recipient()?))
    }

    fn title(&self) -> &'static str {
        if self.project.is_some() { ENGLISH.notifications.title } else { ENGLISH.notifications.of_installation }
    }

    async fn frame(&self, console: &Console, visitor: &Visitor, title: impl Into<String>) -> Result<Frame, Refusal> {
        match self.project()? {
            Some(project) => Frame::of_project(console, visitor, project, Tab::Elsewhere, title).await,
            None => Ok(Frame::new(console, visitor, title).await?.within("notifications")),
        }
    }
}

/// The events that can be chosen there.
fn choices(named: &Named) -> Vec<EventKind> {
    EventKind::ALL.iter().copied().filter(|kind| kind.is_for(named.project.is_some())).collect()
}

/// What stands in [`Asked::done`] after something was done.
fn notice(done: &str) -> Option<&'static str> {
    let t = &ENGLISH.notifications;
    match done {
        "added" => Some(t.added),
        "changed" => Some(t.changed),
        "enabled" => Some(t.was_enabled),
        "disabled" => Some(t.was_disabled),
        "deleted" => Some(t.deleted),
        "resent" => Some(t.resent),
        "discarded" => Some(t.discarded),
        _ => None,
    }
}

#[derive(Template)]
#[template(path = "notifications.html")]
struct RecipientsPage {
    t: &'static Texts,
    assets: &'static Assets,
    frame: Frame,
    base: String,
    is_of_project: bool,
    sends_mail: bool,
    recipients: Vec<Recipient>,
}

impl RecipientsPage {
    fn is_full(&self) -> bool {
        i64::try_from(self.recipients.len()).unwrap_or(i64::MAX) >= RECIPIENTS_MAX
    }

    fn is_mail(&self, recipient: &Recipient) -> bool {
        matches!(recipient.target, Target::Mail(_))
    }
}

async fn index(State(console): State<Console>, visitor: Visitor, Path(named): Path<Named>, Query(asked): Query<Asked>) -> Response {
    let shown = async {
        let recipients = console.service.recipients(named.area(&visitor)?).await?;
        let frame = named.frame(&console, &visitor, named.title()).await?.noticing(notice(&asked.done));
        let (base, sends_mail, is_of_project) = (named.base()?, console.service.sends_mail(), named.project.is_some());
        Ok(page::show(StatusCode::OK, &RecipientsPage { t: &ENGLISH, assets: frame.assets, frame, base, is_of_project, sends_mail, recipients }))
    };
    shown.await.unwrap_or_else(|refusal: Refusal| page::refused(&refusal, visitor.request))
}

#[derive(Template)]
#[template(path = "notification_recipient.html")]
struct RecipientPage {
    t: &'static Texts,
    assets: &'static Assets,
    frame: Frame,
    zone: chrono_tz::Tz,
    base: String,
    path: String,
    is_of_project: bool,
    found: RecipientMessages,
}

impl RecipientPage {
    fn time(&self, at: &Timestamp) -> String {
        shown_time(self.zone, *at)
    }

    fn is_sent(&self, message: &Message) -> bool {
        message.state == MessageState::Sent
    }

    fn is_parked(&self, message: &Message) -> bool {
        message.state == MessageState::Parked
    }

    /// What it tells of, with the name that makes it out.
    fn about(&self, message: &Message) -> String {
        let name = message.facts.iter().find(|(fact, _)| ["name", "request", "login", "node", "authority"].contains(&fact.as_str()));
        name.map(|(_, value)| value.clone()).unwrap_or_default()
    }
}

async fn show(State(console): State<Console>, visitor: Visitor, Path(named): Path<Named>, Query(asked): Query<Asked>) -> Response {
    let shown = async {
        let found = console.service.recipient_messages(named.area(&visitor)?, named.recipient()?).await?;
        let frame = named.frame(&console, &visitor, found.recipient.target.as_str()).await?.noticing(notice(&asked.done));
        let (zone, base, path, is_of_project) = (console.settings.zone, named.base()?, named.of_recipient()?, named.project.is_some());
        Ok(page::show(StatusCode::OK, &RecipientPage { t: &ENGLISH, assets: frame.assets, frame, zone, base, path, is_of_project, found }))
    };
    shown.await.unwrap_or_else(|refusal: Refusal| page::refused(&refusal, visitor.request))
}
