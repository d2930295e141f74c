//! Access keys of all accounts. Their owners make them; administrators see to it that none lives longer than it should.

use askama::Template;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::get;
use serde::Deserialize;

use super::super::routes::Routes;
use super::{Question, Tried, attempt};
use crate::console::Console;
use crate::console::account::shown_time;
use crate::console::address::{Path, Query};
use crate::console::assets::Assets;
use crate::console::form::{Form, Posted};
use crate::console::list::{Around, Asked};
use crate::console::page::{self, Frame, Tab};
use crate::console::text::{ENGLISH, Texts};
use crate::console::visitor::{Visitor, wants_fragment};
use crate::domain::account::{AccessKeyId, AccessKeySummary};
use crate::domain::clock::Timestamp;
use crate::domain::listing::Listed;
use crate::domain::result_code::ResultCode;
use crate::service::Refusal;

const HERE: &str = "/organization/access-keys";

pub(super) fn routes() -> Routes {
    Routes::new().route("/organization/access-keys", get(index)).route("/organization/access-keys/{id}/{step}", get(ask).post(take))
}

#[derive(Template)]
#[template(path = "organization_access_keys.html")]
struct AccessKeysPage {
    t: &'static Texts,
    assets: &'static Assets,
    frame: Frame,
    zone: chrono_tz::Tz,
    listed: Listed<AccessKeySummary>,
    around: Around,
}

impl AccessKeysPage {
    fn time(&self, at: &Timestamp) -> String {
        shown_time(self.zone, *at)
    }

    fn last_use(&self, key: &AccessKeySummary) -> Option<String> {
        key.last_access.map(|at| shown_time(self.zone, at))
    }
}

/// What stands in [`Asked::done`] after something was done.
pub(super) fn notice(done: &str) -> Option<&'static str> {
    let t = &ENGLISH.access_keys;
    match done {
        "key-enable" => Some(t.was_enabled),
        "key-disable" => Some(t.was_disabled),
        "key-delete" => Some(t.deleted),
        _ => None,
    }
}

async fn index(State(console): State<Console>, visitor: Visitor, Query(asked): Query<Asked>) -> Response {
    let shown = async {
        let query = asked.query();
        let listed = console.service.access_keys_page(visitor.visit(), query.clone()).await?;
        let frame = Frame::new(&console, &visitor, ENGLISH.organization.access_keys).await?.within("access-keys").noticing(notice(&asked.done));
        let around = Around::new(HERE, query, &listed);
        Ok(page::show(StatusCode::OK, &AccessKeysPage { t: &ENGLISH, assets: frame.assets, frame, zone: console.settings.zone, listed, around }))
    };
    shown.await.unwrap_or_else(|refusal: Refusal| page::refused(&refusal, visitor.request))
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Enable,
    Disable,
    Delete,
}

impl Step {
    fn parse(text: &str) -> Option<Self> {
        [Self::Enable, Self::Disable, Self::Delete].into_iter().find(|step| step.as_str() == text)
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Enable => "enable",
            Self::Disable => "disable",
            Self::Delete => "delete",
        }
    }

    /// Title, what it does, and the button.
    fn words(self) -> [&'static str; 3] {
        let (t, own) = (&ENGLISH.organization, &ENGLISH.access_keys);
        match self {
            Self::Enable => [t.key_enable_title, t.key_enable_told, own.enable],
            Self::Disable => [own.disable_title, own.disable_told, own.disable],
            Self::Delete => [own.delete_title, own.delete_told, ENGLISH.frame.delete],
        }
    }
}

/// From where it was asked: the page of an account, or the list of all.
#[derive(Debug, Clone, Copy, Deserialize)]
struct From {
    account: Option<i64>,
}

impl From {
    fn page(self) -> String {
        self.account.map_or_else(|| HERE.to_owned(), |account| format!("/organization/accounts/{account}"))
    }

    fn query(self) -> String {
        self.account.map(|account| format!("?account={account}")).unwrap_or_default()
    }
}

async fn present_step(console: &Console, visitor: &Visitor, (id, step): (&str, Step), from: From, form: &Form, in_dialog: bool) -> Response {
    let ([title, told, button], action) = (step.words(), format!("{HERE}/{id}/{}{}", step.as_str(), from.query()));
    let (is_bad, csrf) = (!matches!(step, Step::Enable), visitor.csrf());
    let question = Question { t: &ENGLISH, title, name: id, told, action: &action, button, is_bad, csrf, seen: String::new(), form, in_dialog };
    question.show(console, visitor).await
}

/// What an address names. Read before any of it comes into a form: what isn't an ID may lead anywhere.
fn named(id: &str, step: &str) -> Option<(AccessKeyId, Step)> {
    Some((AccessKeyId::parse(id)?, Step::parse(step)?))
}

async fn ask(
    State(console): State<Console>,
    visitor: Visitor,
    headers: HeaderMap,
    Path((id, step)): Path<(String, String)>,
    Query(from): Query<From>,
) -> Response {
    match named(&id, &step) {
        Some((id, step)) => present_step(&console, &visitor, (id.as_str(), step), from, &Form::default(), wants_fragment(&headers)).await,
        None => page::refused(&ResultCode::UrlNotFound.into(), visitor.request),
    }
}

async fn carry_out(console: &Console, visitor: &Visitor, id: &str, step: Step) -> Result<(), Refusal> {
    let (service, visit) = (&console.service, visitor.visit());
    match step {
        Step::Enable => service.set_access_key_enabled(visit, id, true).await,
        Step::Disable => service.set_access_key_enabled(visit, id, false).await,
        Step::Delete => service.delete_access_key(visit, id).await,
    }
}

async fn take(State(console): State<Console>, Path((id, step)): Path<(String, String)>, Query(from): Query<From>, posted: Posted) -> Response {
    let Posted { visitor, form, in_dialog, is_ours } = posted;
    let Some((id, step)) = named(&id, &step) else { return page::refused(&ResultCode::UrlNotFound.into(), visitor.request) };
    let form = match attempt(&visitor, form, is_ours, carry_out(&console, &visitor, id.as_str(), step)).await {
        Ok(()) => return page::go(in_dialog, &format!("{}?done=key-{}", from.page(), step.as_str())),
        Err(Tried::Again(form)) => form,
        Err(Tried::Refused(response)) => return response,
    };
    present_step(&console, &visitor, (id.as_str(), step), from, &form, in_dialog).await
}
