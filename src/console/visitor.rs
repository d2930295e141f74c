//! Who is at the browser: the session's cookie, and what proves that a form is ours.

use std::net::Ipv4Addr;
use std::sync::Arc;

use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Redirect, Response};
use ring::rand::{SecureRandom as _, SystemRandom};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::Console;
use super::door::{Door, project_in};
use super::page;
use crate::domain::account::{Role, Session};
use crate::domain::caller::{Caller, MacHeader, USER_AGENT_MAX_BYTES};
use crate::domain::ids::{ProjectId, RequestId};
use crate::domain::result_code::ResultCode;
use crate::domain::secret::SecretText;
use crate::service::{Asking, BROWSERS_KEPT, Credentials, Named, Refusal, Request, Visit};
use crate::tls::Peer;

/// The session's cookie. `__Host-`: for this host alone, over TLS alone (RFC 6265bis, 4.1.3.2).
const COOKIE: &str = "__Host-skm";
/// What a browser is known by from which somebody signed in: it gives no right, others' failures don't keep it waiting.
const BROWSER: &str = "__Host-skm-browser";
/// Where people sign in.
pub(super) const SIGN_IN: &str = "/sign-in";

/// Somebody who is signed in.
#[derive(Debug, Clone)]
pub(super) struct Visitor {
    /// The session.
    pub(super) session: Arc<Session>,
    token: SecretText,
    /// From where, with what.
    pub(super) caller: Caller,
    /// The request's name.
    pub(super) request: RequestId,
    /// Through which door he comes to key stores.
    pub(super) door: Door,
    /// Whether changes of the project that the address is about need approval.
    pub(super) governed: bool,
    /// Whether he only looks.
    reads: bool,
}

impl Visitor {
    /// A request to the service about a project, in this person's name. What changes something is meant as the door says.
    pub(super) fn about(&self, project: ProjectId) -> Request {
        let credentials = Credentials::Session(self.token.clone());
        let asking = match self.door {
            Door::Depository => Asking::Directly,
            Door::Management => Asking::Draft,
        };
        Request { id: self.request, caller: self.caller.clone(), project: Named::Project(project), credentials, asking }
    }

    /// A request to the service about this person himself.
    pub(super) fn visit(&self) -> Visit {
        Visit { id: self.request, caller: self.caller.clone(), session: Arc::clone(&self.session) }
    }

    /// What a form of ours holds: nobody can tell it who doesn't have the session's token, and it tells nothing about that.
    pub(super) fn csrf(&self) -> String {
        let digest = Sha256::new().chain_update(b"skm console form\0").chain_update(self.token.expose().as_bytes()).finalize();
        hex::encode(digest)
    }

    /// Whether a form is ours, of this session.
    pub(super) fn sent(&self, csrf: &str) -> bool {
        self.csrf().as_bytes().ct_eq(csrf.as_bytes()).into()
    }

    /// Whether this person changes things in the project through this door; what is not allowed has no button.
    pub(super) fn may_change(&self, project: ProjectId) -> bool {
        match self.door {
            Door::Depository => self.is_admin_of(project) && !self.governed,
            Door::Management => self.asks_in(project) && self.governed,
        }
    }

    /// Whether what is sent here goes into a draft.
    pub(super) fn drafts(&self) -> bool {
        self.door == Door::Management
    }

    /// Whether this person is an `ADMIN` of the project: he sees confidential data, and says who is a member.
    pub(super) fn is_admin_of(&self, project: ProjectId) -> bool {
        self.session.roles_in(project).any(Role::may_change_at_console)
    }

    /// Whether this person asks for changes of the project where approval is on.
    pub(super) fn asks_in(&self, project: ProjectId) -> bool {
        self.session.roles_in(project).any(Role::may_ask_at_console)
    }

    /// Whether this person approves what others ask for.
    pub(super) fn approves_in(&self, project: ProjectId) -> bool {
        self.session.roles_in(project).any(Role::may_approve)
    }

    /// The projects whose inventory this person sees.
    pub(super) fn seen_projects(&self) -> Vec<ProjectId> {
        self.session.roles.iter().filter(|(_, role)| role.may_read_at_console()).map(|(project, _)| *project).collect()
    }

    /// Refuses whoever may not change things in the project a form that would fail; the use case behind the form decides for itself.
    pub(super) fn require_change(&self, project: ProjectId) -> Result<(), Refusal> {
        let has_role = if self.door == Door::Management { self.asks_in(project) } else { self.is_admin_of(project) };
        match (has_role, self.may_change(project)) {
            // A form that was open when approval was turned on is shown again, with what its use case says of that.
            (true, may) if may || !self.reads => Ok(()),
            (true, _) => Err(ResultCode::ApprovalRequired.into()),
            (false, _) => Err(self.lacks_role_in(project)),
        }
    }

    /// The refusal of somebody who lacks a role. Whoever has none in the project learns nothing of it, not even that there is such a project.
    pub(super) fn lacks_role_in(&self, project: ProjectId) -> Refusal {
        let sees_project = self.session.administrator || self.session.roles_in(project).next().is_some();
        if sees_project { ResultCode::Forbidden.into() } else { ResultCode::InvalidAppkey.into() }
    }

    /// Key Store Management is for those who ask for changes. Where approval is off there is none: whoever sees the project's key stores is led
    /// to them.
    fn kept_from_management(&self, parts: &Parts) -> Option<Response> {
        let Some(project) = project_in(parts.uri.path()) else { return Some(page::refused(&ResultCode::UrlNotFound.into(), self.request)) };
        match self.governed {
            true if self.asks_in(project) => None,
            false if self.session.roles_in(project).any(Role::may_read_at_console) => Some(go(parts, &Door::Depository.stores(project))),
            _ => Some(page::refused(&self.lacks_role_in(project), self.request)),
        }
    }
}

impl FromRequestParts<Console> for Visitor {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, console: &Console) -> Result<Self, Response> {
        if let Some(refused) = from_elsewhere(parts) {
            return Err(refused);
        }
        let found = match session_cookie(&parts.headers) {
            Some(token) => console
                .service
                .session(&token, &caller(parts))
                .await
                .map_err(|refusal| page::refused(&refusal, request_id(parts)))?
                .map(|session| (session, token)),
            None => None,
        };
        let Some((session, token)) = found else { return Err(to_sign_in(parts)) };
        let (path, reads) = (parts.uri.path(), matches!(parts.method, Method::GET | Method::HEAD));
        let governed = match project_in(path) {
            Some(project) => console.service.needs_approval(project).await.map_err(|refusal| page::refused(&refusal, request_id(parts)))?,
            None => false,
        };
        let visitor = Self { session, token, caller: caller(parts), request: request_id(parts), door: Door::of(path), governed, reads };
        if visitor.session.must_change_password && !path.starts_with("/account/password") && path != "/sign-out" {
            return Err(go(parts, "/account/password"));
        }
        let kept_out = if visitor.door == Door::Management { visitor.kept_from_management(parts) } else { None };
        kept_out.map_or(Ok(visitor), Err)
    }
}

impl OptionalFromRequestParts<Console> for Visitor {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, console: &Console) -> Result<Option<Self>, Response> {
        Ok(<Self as FromRequestParts<Console>>::from_request_parts(parts, console).await.ok())
    }
}

/// From where a request came, with what. A MAC header means nothing at the console.
pub(super) fn caller(parts: &Parts) -> Caller {
    let peer = parts.extensions.get::<Peer>();
    let user_agent = parts.headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok());
    Caller {
        address: peer.map_or(Ipv4Addr::UNSPECIFIED.into(), |peer| peer.address),
        mac: MacHeader::Absent,
        certificate: peer.and_then(|peer| peer.certificate.clone()),
        user_agent: user_agent.map(|text| text.chars().take(USER_AGENT_MAX_BYTES).collect()),
    }
}

/// The request's name, given by [`super::name_request`].
pub(super) fn request_id(parts: &Parts) -> RequestId {
    parts.extensions.get::<RequestId>().copied().unwrap_or_else(new_request_id)
}

/// A request's name, random.
pub(super) fn new_request_id() -> RequestId {
    let mut name = [0; 16];
    // All zeroes should the operating system have no random numbers, which the token then shows too.
    let _ = SystemRandom::new().fill(&mut name);
    RequestId::from_bytes(name)
}

/// The session's token.
pub(super) fn session_cookie(headers: &HeaderMap) -> Option<SecretText> {
    cookie(headers, COOKIE)
}

/// What the browser is known by.
pub(super) fn browser_cookie(headers: &HeaderMap) -> Option<SecretText> {
    cookie(headers, BROWSER)
}

fn cookie(headers: &HeaderMap, wanted: &str) -> Option<SecretText> {
    let pairs = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok()).flat_map(|line| line.split(';'));
    let mut values = pairs.filter_map(|pair| pair.trim().split_once('=')).filter(|(name, _)| *name == wanted).map(|(_, value)| value);
    let first = values.next()?;
    // Two of them: somebody planted one.
    values.next().is_none().then(|| SecretText::new(first.to_owned()))
}

/// The cookie that holds a session's token, or ends it.
pub(super) fn set_cookie(token: Option<&SecretText>) -> Option<HeaderValue> {
    let value = match token {
        Some(token) => format!("{COOKIE}={}; Path=/; Secure; HttpOnly; SameSite=Lax", token.expose()),
        None => format!("{COOKIE}=; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=0"),
    };
    let mut value = HeaderValue::from_str(&value).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// The cookie by which a browser is known from now on.
pub(super) fn set_browser_cookie(browser: &SecretText) -> Option<HeaderValue> {
    let value = format!("{BROWSER}={}; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age={}", browser.expose(), BROWSERS_KEPT.as_secs());
    let mut value = HeaderValue::from_str(&value).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// The refusal of what another site has a browser send: whatever isn't a read must come from a page of ours.
pub(super) fn from_elsewhere(parts: &Parts) -> Option<Response> {
    if matches!(parts.method, Method::GET | Method::HEAD) {
        return None;
    }
    let text = |name: header::HeaderName| parts.headers.get(name).and_then(|value| value.to_str().ok());
    let site = parts.headers.get("sec-fetch-site").and_then(|value| value.to_str().ok());
    let host = text(header::HOST).or_else(|| parts.uri.authority().map(axum::http::uri::Authority::as_str));
    let same_origin = match (site, text(header::ORIGIN)) {
        (Some(site), _) => site == "same-origin",
        (None, Some(origin)) => host.is_some_and(|host| origin == format!("https://{host}")),
        (None, None) => false,
    };
    (!same_origin).then(|| page::refused(&Refusal::Code(ResultCode::Forbidden), request_id(parts)))
}

/// Whether htmx asks for a fragment.
pub(super) fn wants_fragment(headers: &HeaderMap) -> bool {
    headers.get("hx-target").is_some_and(|target| target == "dialog")
}

fn is_htmx(headers: &HeaderMap) -> bool {
    headers.contains_key("hx-request")
}

/// To another page, from wherever.
fn go(parts: &Parts, to: &str) -> Response {
    page::go(is_htmx(&parts.headers), to)
}

/// Whoever reads signs in first, and then comes back; a form that is sent stays where it is.
fn to_sign_in(parts: &Parts) -> Response {
    if parts.method != Method::GET {
        return if is_htmx(&parts.headers) { StatusCode::UNAUTHORIZED.into_response() } else { Redirect::to(&format!("{SIGN_IN}?ended")).into_response() };
    }
    let back = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let query = serde_urlencoded::to_string([("next", back)]).unwrap_or_default();
    go(parts, &if back == "/" { SIGN_IN.to_owned() } else { format!("{SIGN_IN}?{query}") })
}
