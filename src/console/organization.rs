//! The organization area, for administrators of the installation: projects, members and roles, accounts, access keys, health.
//!
//! Nobody else comes as far as a page here ([`admit`]); what he may is decided once more by the use case, in its transaction.

mod access_keys;
mod accounts;
mod health;
mod projects;

use std::future::Future;

use askama::Template;
use axum::Router;
use axum::extract::{FromRequestParts as _, Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;

use super::account::present;
use super::assets::Assets;
use super::form::Form;
use super::page::{self, Frame, Tab};
use super::routes::Routes;
use super::text::{ENGLISH, Texts};
use super::visitor::Visitor;
use super::{Console, FORM_MAX_BYTES};
use crate::domain::result_code::ResultCode;
use crate::service::{Counts, Refusal};
use health::Level;

/// The pages of the organization area.
pub(super) fn routes() -> Routes {
    Routes::new()
        .route("/organization", get(overview))
        .merge(projects::routes())
        .merge(accounts::routes())
        .merge(access_keys::routes())
        .merge(health::routes())
        .merge(super::notifications::routes_of_installation())
}

/// Behind [`admit`].
pub(super) fn guarded(routes: Router<Console>, console: &Console) -> Router<Console> {
    routes.route_layer(axum::middleware::from_fn_with_state(console.clone(), admit))
}

/// Lets administrators of the installation on, and nobody else.
async fn admit(State(console): State<Console>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    match Visitor::from_request_parts(&mut parts, &console).await {
        Ok(visitor) if visitor.session.administrator => next.run(Request::from_parts(parts, body)).await,
        Ok(visitor) => {
            // Read, so that the connection goes on being used.
            let _ = axum::body::to_bytes(body, FORM_MAX_BYTES).await;
            page::refused(&ResultCode::Forbidden.into(), visitor.request)
        }
        Err(refused) => refused.into_response(),
    }
}

#[derive(Template)]
#[template(path = "organization.html")]
struct Overview {
    t: &'static Texts,
    assets: &'static Assets,
    frame: Frame,
    counts: Counts,
    level: Level,
}

async fn overview(State(console): State<Console>, visitor: Visitor) -> Response {
    let shown = async {
        let (counts, report) = console.service.overview(visitor.visit()).await?;
        let frame = Frame::new(&console, &visitor, ENGLISH.organization.title).await?.within("overview");
        let level = health::level_of(&console, &report).max(health::level_of_approval(&frame));
        Ok(page::show(StatusCode::OK, &Overview { t: &ENGLISH, assets: frame.assets, frame, counts, level }))
    };
    shown.await.unwrap_or_else(|refusal: Refusal| page::refused(&refusal, visitor.request))
}

/// A question before something is done, which names what it will be done to.
#[derive(Template)]
#[template(path = "organization_confirm.html")]
pub(super) struct Question<'a> {
    pub(super) t: &'static Texts,
    pub(super) title: &'static str,
    /// What it will be done to.
    pub(super) name: &'a str,
    pub(super) told: &'static str,
    pub(super) action: &'a str,
    pub(super) button: &'static str,
    pub(super) is_bad: bool,
    pub(super) csrf: String,
    /// As of when that was looked at.
    pub(super) seen: String,
    pub(super) form: &'a Form,
    pub(super) in_dialog: bool,
}

impl Question<'_> {
    /// In the dialog that asked for it, or on a page of its own.
    pub(super) async fn show(&self, console: &Console, visitor: &Visitor) -> Response {
        present(console, visitor, self.form, self.title, self, self.in_dialog).await
    }
}

/// As of when a form was opened: as it says, or `now`.
pub(super) fn seen(form: &Form, now: crate::domain::clock::Timestamp) -> String {
    if form.is_sent("seen") { form.value("seen").to_owned() } else { now.micros().to_string() }
}

/// Does what a form asks for, if the form is ours. `Err`: the form to be shown again, or an answer that comes instead.
pub(super) async fn attempt<T>(visitor: &Visitor, form: Form, is_ours: bool, work: impl Future<Output = Result<T, Refusal>>) -> Result<T, Tried> {
    if !is_ours {
        return Err(Tried::Again(form));
    }
    match work.await {
        Ok(done) => Ok(done),
        Err(refusal) => Err(form.refuse(refusal).map_or_else(|refusal| Tried::Refused(page::refused(&refusal, visitor.request)), Tried::Again)),
    }
}

/// What comes of a form that asked in vain.
pub(super) enum Tried {
    /// It is shown again, with what is wrong.
    Again(Form),
    /// It is answered otherwise.
    Refused(Response),
}
