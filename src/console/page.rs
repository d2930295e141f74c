//! Pages and fragments: the frame around them, and how they are answered.

use std::fmt;

use askama::Template;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{Html, IntoResponse as _, Redirect, Response};
use bytes::Bytes;
use zeroize::Zeroizing;

use super::Console;
use super::assets::{ASSETS, Assets};
use super::text::{ENGLISH, Texts};
use super::visitor::Visitor;
use crate::domain::ids::{ProjectId, RequestId};
use crate::domain::key_store::Project;
use crate::domain::result_code::ResultCode;
use crate::service::{ProjectEmergency, Refusal};

/// htmx goes to another page instead of swapping.
const HX_REDIRECT: HeaderName = HeaderName::from_static("hx-redirect");

/// The tabs of a project, and what else can be current.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tab {
    KeyDepository,
    ApprovalList,
    KeyStoreManagement,
    UsageHistory,
    Statistics,
    /// Not among the project's tabs.
    Elsewhere,
}

impl Tab {
    /// What it says.
    pub(super) fn title(self) -> &'static str {
        let t = &ENGLISH.frame;
        match self {
            Self::KeyDepository => t.key_depository,
            Self::ApprovalList => ENGLISH.approval.list,
            Self::KeyStoreManagement => ENGLISH.approval.management,
            Self::UsageHistory => t.usage_history,
            Self::Statistics => t.statistics,
            Self::Elsewhere => "",
        }
    }
}

/// What stands around a page's content.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) assets: &'static Assets,
    /// The page's own title.
    pub(super) title: String,
    pub(super) login: String,
    pub(super) administrator: bool,
    pub(super) csrf: String,
    pub(super) projects: Vec<Project>,
    /// Those of them whose inventory the visitor sees.
    pub(super) seen: Vec<ProjectId>,
    pub(super) project: Option<Project>,
    pub(super) tab: Tab,
    /// Whether the visitor is an administrator of the project.
    pub(super) may_change: bool,
    /// The part of the organization area that the page is in, by the last word of its address.
    pub(super) area: &'static str,
    /// Whether whoever looks manages the members of the project.
    pub(super) manages_members: bool,
    /// Whether whoever looks asks for changes of the project, or keeps it: how approval stands concerns him.
    pub(super) governs: bool,
    /// Whether whoever looks asks for changes of the project, which has approval on.
    pub(super) asks: bool,
    /// How many requests wait for a decision, where whoever looks decides.
    pub(super) waiting: i64,
    /// The projects in which approval was turned off alone, for those who keep them.
    pub(super) emergencies: Vec<ProjectEmergency>,
    zone: chrono_tz::Tz,
    /// What was just done.
    pub(super) notice: Option<&'static str>,
}

impl Frame {
    /// Around a page of a project; refused where the visitor doesn't see the project.
    pub(super) async fn of_project(console: &Console, visitor: &Visitor, project: ProjectId, tab: Tab, title: impl Into<String>) -> Result<Self, Refusal> {
        let mut frame = Self::new(console, visitor, title).await?;
        let found = frame.projects.iter().find(|known| known.id == project).cloned();
        frame.project = Some(found.ok_or(ResultCode::InvalidAppkey)?);
        frame.tab = tab;
        frame.may_change = visitor.is_admin_of(project);
        frame.manages_members = visitor.session.administrator || visitor.is_admin_of(project);
        frame.governs = visitor.session.administrator || visitor.asks_in(project);
        frame.asks = visitor.governed && visitor.asks_in(project);
        if frame.asks {
            frame.waiting = console.service.count_waiting(&visitor.session, project).await?;
        }
        Ok(frame)
    }

    /// Around a page that belongs to no project.
    pub(super) async fn new(console: &Console, visitor: &Visitor, title: impl Into<String>) -> Result<Self, Refusal> {
        Ok(Self {
            assets: &ASSETS,
            title: title.into(),
            login: visitor.session.login.clone(),
            administrator: visitor.session.administrator,
            csrf: visitor.csrf(),
            projects: console.service.projects_of(&visitor.session).await?,
            seen: visitor.seen_projects(),
            project: None,
            tab: Tab::Elsewhere,
            may_change: false,
            area: "",
            manages_members: false,
            governs: false,
            asks: false,
            waiting: 0,
            emergencies: console.service.emergencies(&visitor.session).await?,
            zone: console.settings.zone,
            notice: None,
        })
    }

    /// With a word about what was just done.
    pub(super) fn noticing(mut self, notice: Option<&'static str>) -> Self {
        self.notice = notice;
        self
    }

    /// Within a part of the organization area.
    pub(super) fn within(mut self, area: &'static str) -> Self {
        self.area = area;
        self
    }

    /// Whether the page is in that part of the organization area.
    pub(super) fn is_in(&self, area: &str) -> bool {
        self.area == area
    }

    /// `/projects/7`, for addresses below it.
    pub(super) fn base(&self) -> String {
        self.project.as_ref().map(|project| format!("/projects/{}", project.id)).unwrap_or_default()
    }

    /// The projects that the menu has: an account may have others, which only programs use or only an administrator manages.
    pub(super) fn shown_projects(&self) -> Vec<&Project> {
        self.projects.iter().filter(|project| self.seen.contains(&project.id)).collect()
    }

    /// Whether the project's tabs lead anywhere.
    pub(super) fn shows_project(&self) -> bool {
        self.project.as_ref().is_some_and(|project| self.seen.contains(&project.id))
    }

    /// When approval of a project was turned off alone, and by whom.
    pub(super) fn disabled(&self, found: &ProjectEmergency) -> String {
        let stamp = &found.emergency.disabled;
        format!("{}, {}", super::account::shown_time(self.zone, stamp.at), stamp.user)
    }

    /// The project's name.
    pub(super) fn project_name(&self) -> &str {
        self.project.as_ref().map_or("", |project| project.name.as_str())
    }

    /// Whether that tab is the page's.
    pub(super) fn is_at(&self, tab: Tab) -> bool {
        self.tab == tab
    }
}

/// What went wrong, as a page of its own, for those whom no frame can be given.
#[derive(Template)]
#[template(path = "problem.html")]
struct Problem {
    t: &'static Texts,
    assets: &'static Assets,
    title: &'static str,
    told: &'static str,
    request: String,
}

/// A page, wiped once it has been sent: it may hold what somebody typed or asked for.
struct Wiped(Zeroizing<String>);

impl AsRef<[u8]> for Wiped {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

/// How long a text would be.
#[derive(Default)]
struct Length(usize);

impl fmt::Write for Length {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0 = self.0.saturating_add(text.len());
        Ok(())
    }
}

/// Measured first, so that the text never moves and leaves no copy behind.
fn render(template: &impl Template) -> askama::Result<Zeroizing<String>> {
    let mut length = Length::default();
    template.render_into(&mut length)?;
    let mut html = Zeroizing::new(String::with_capacity(length.0));
    template.render_into(&mut *html)?;
    Ok(html)
}

/// A page or fragment.
pub(super) fn show(status: StatusCode, template: &impl Template) -> Response {
    match render(template) {
        Ok(html) => (status, Html(Bytes::from_owner(Wiped(html)))).into_response(),
        Err(error) => {
            tracing::error!(%error, "a page could not be rendered");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// A fragment on a page of its own.
#[derive(Template)]
#[template(path = "alone.html")]
struct Alone {
    t: &'static Texts,
    assets: &'static Assets,
    frame: Frame,
    fragment: Zeroizing<String>,
}

/// A fragment on a page of its own, for those without the script.
pub(super) fn alone(status: StatusCode, frame: Frame, fragment: &impl Template) -> Response {
    match render(fragment) {
        Ok(fragment) => show(status, &Alone { t: &ENGLISH, assets: &ASSETS, frame, fragment }),
        Err(error) => {
            tracing::error!(%error, "a form could not be rendered");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// To another page; htmx is told by a header, everybody else by a redirection.
pub(super) fn go(htmx: bool, to: &str) -> Response {
    match HeaderValue::from_str(to) {
        Ok(to) if htmx => (StatusCode::OK, [(HX_REDIRECT, to)]).into_response(),
        _ => Redirect::to(to).into_response(),
    }
}

#[derive(Template)]
#[template(path = "gone.html")]
struct Gone {
    t: &'static Texts,
}

/// What a dialog says where its thing is no longer there; a page that says why there is none for every other refusal.
pub(super) fn gone_or_refused(refusal: &Refusal, request: RequestId, in_dialog: bool) -> Response {
    let is_gone = matches!(refusal.code(), ResultCode::InvalidKeyId | ResultCode::InvalidKeyStore | ResultCode::InvalidClientRule);
    if is_gone && in_dialog { show(StatusCode::UNPROCESSABLE_ENTITY, &Gone { t: &ENGLISH }) } else { refused(refusal, request) }
}

/// A page that says why there is none.
pub(super) fn refused(refusal: &Refusal, request: RequestId) -> Response {
    let t = &ENGLISH.frame;
    let (status, title, told) = match refusal.code() {
        ResultCode::Unauthorized => (StatusCode::UNAUTHORIZED, ENGLISH.sign_in.title, ENGLISH.sign_in.ended),
        ResultCode::Forbidden => (StatusCode::FORBIDDEN, t.forbidden_title, t.forbidden),
        ResultCode::ApprovalRequired => (StatusCode::FORBIDDEN, ENGLISH.approval.required_title, ENGLISH.approval.required),
        ResultCode::TooManyRequests => (StatusCode::TOO_MANY_REQUESTS, t.unavailable_title, t.too_many),
        ResultCode::ServiceUnavailable => (StatusCode::SERVICE_UNAVAILABLE, t.unavailable_title, t.unavailable),
        _ => (StatusCode::NOT_FOUND, t.not_found_title, t.not_found),
    };
    if let Refusal::Unavailable { reason } = refusal {
        tracing::warn!(request_id = %request, %reason, "a page of the console could not be shown");
    }
    show(status, &Problem { t: &ENGLISH, assets: &ASSETS, title, told, request: request.to_string() })
}
