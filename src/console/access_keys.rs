//! **API Security Settings**: one's own access keys.

use askama::Template;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::{get, post};

use super::Console;
use super::account::{Confirm, present, shown_time};
use super::address::{Path, Query};
use super::assets::Assets;
use super::form::{Form, Posted};
use super::list::Asked;
use super::page::{self, Frame, Tab};
use super::routes::Routes;
use super::text::{ENGLISH, Texts};
use super::visitor::{Visitor, wants_fragment};
use crate::domain::account::{ACCESS_KEYS_MAX, AccessKeySummary, TokenLife};
use crate::domain::clock::Timestamp;
use crate::domain::text::Invalid;
use crate::service::{NewAccessKey, Refusal};

const HERE: &str = "/account/access-keys";
/// The field of the form.
const TOKEN_LIFE: &str = "tokenLife";

/// The pages of one's own access keys.
pub(super) fn routes() -> Routes {
    Routes::new()
        .route("/account/access-keys", get(show))
        .route("/account/access-keys/new", get(new).post(create))
        .route("/account/access-keys/{id}/edit", get(edit).post(change))
        .route("/account/access-keys/{id}/enable", post(enable))
        .route("/account/access-keys/{id}/disable", get(ask_to_disable).post(disable))
        .route("/account/access-keys/{id}/delete", get(ask_to_delete).post(delete))
}

#[derive(Template)]
#[template(path = "access_keys.html")]
struct AccessKeysPage {
    t: &'static Texts,
    assets: &'static Assets,
    frame: Frame,
    zone: chrono_tz::Tz,
    access_keys: Vec<AccessKeySummary>,
}

impl AccessKeysPage {
    fn time(&self, at: &Timestamp) -> String {
        shown_time(self.zone, *at)
    }

    fn is_full(&self) -> bool {
        self.access_keys.len() >= ACCESS_KEYS_MAX
    }
}

#[derive(Template)]
#[template(path = "access_key_form.html")]
struct AccessKeyForm<'a> {
    t: &'static Texts,
    title: &'static str,
    button: &'static str,
    action: &'a str,
    csrf: String,
    form: &'a Form,
    in_dialog: bool,
}

#[derive(Template)]
#[template(path = "access_key_issued.html")]
struct Issued<'a> {
    t: &'static Texts,
    made: &'a NewAccessKey,
}

/// What stands in [`Asked::done`] after something was done.
fn notice(done: &str) -> Option<&'static str> {
    let t = &ENGLISH.access_keys;
    match done {
        "changed" => Some(t.changed),
        "enabled" => Some(t.was_enabled),
        "disabled" => Some(t.was_disabled),
        "deleted" => Some(t.deleted),
        _ => None,
    }
}

async fn show(State(console): State<Console>, visitor: Visitor, Query(asked): Query<Asked>) -> Response {
    let shown = async {
        let frame = Frame::new(&console, &visitor, ENGLISH.access_keys.title).await?.noticing(notice(&asked.done));
        let access_keys = console.service.own_access_keys(&visitor.visit()).await?;
        Ok(page::show(StatusCode::OK, &AccessKeysPage { t: &ENGLISH, assets: frame.assets, frame, zone: console.settings.zone, access_keys }))
    };
    shown.await.unwrap_or_else(|refusal: Refusal| page::refused(&refusal, visitor.request))
}

fn life(form: &Form) -> Result<TokenLife, Invalid> {
    TokenLife::from_seconds(form.number(TOKEN_LIFE, TokenLife::MAX.seconds().into())?)
}

async fn present_new(console: &Console, visitor: &Visitor, form: &Form, in_dialog: bool) -> Response {
    let t = &ENGLISH.access_keys;
    let action = format!("{HERE}/new");
    let fragment = AccessKeyForm { t: &ENGLISH, title: t.create, button: t.create_button, action: &action, csrf: visitor.csrf(), form, in_dialog };
    present(console, visitor, form, t.create, &fragment, in_dialog).await
}

async fn new(State(console): State<Console>, visitor: Visitor, headers: HeaderMap) -> Response {
    let seconds = TokenLife::MAX.seconds().to_string();
    present_new(&console, &visitor, &Form::showing([(TOKEN_LIFE, seconds.as_str())]), wants_fragment(&headers)).await
}

async fn create(State(console): State<Console>, posted: Posted) -> Response {
    let Posted { visitor, mut form, in_dialog, is_ours } = posted;
    if is_ours {
        let made = console.service.create_own_access_key(&visitor.visit(), life(&form)).await;
        form = match made.map_err(|refusal| form.refuse(refusal)) {
            Ok(made) => {
                let fragment = Issued { t: &ENGLISH, made: &made };
                return present(&console, &visitor, &Form::default(), ENGLISH.access_keys.issued, &fragment, in_dialog).await;
            }
            Err(Ok(form)) => form,
            Err(Err(refusal)) => return page::refused(&refusal, visitor.request),
        };
    }
    present_new(&console, &visitor, &form, in_dialog).await
}

async fn present_edit(console: &Console, visitor: &Visitor, id: &str, form: &Form, in_dialog: bool) -> Response {
    let action = format!("{HERE}/{id}/edit");
    let title = ENGLISH.access_keys.edit;
    let fragment = AccessKeyForm { t: &ENGLISH, title, button: ENGLISH.frame.save, action: &action, csrf: visitor.csrf(), form, in_dialog };
    present(console, visitor, form, title, &fragment, in_dialog).await
}

async fn edit(State(console): State<Console>, visitor: Visitor, headers: HeaderMap, Path(id): Path<String>) -> Response {
    match console.service.own_access_key(&visitor.visit(), &id).await {
        Ok(access_key) => {
            let seconds = access_key.token_life.seconds().to_string();
            present_edit(&console, &visitor, access_key.id.as_str(), &Form::showing([(TOKEN_LIFE, seconds.as_str())]), wants_fragment(&headers)).await
        }
        Err(refusal) => page::refused(&refusal, visitor.request),
    }
}

async fn change(State(console): State<Console>, Path(id): Path<String>, posted: Posted) -> Response {
    let Posted { visitor, mut form, in_dialog, is_ours } = posted;
    if is_ours {
        form = match console.service.set_own_token_life(&visitor.visit(), &id, life(&form)).await.map_err(|refusal| form.refuse(refusal)) {
            Ok(()) => return page::go(in_dialog, &format!("{HERE}?done=changed")),
            Err(Ok(form)) => form,
            Err(Err(refusal)) => return page::refused(&refusal, visitor.request),
        };
    }
    present_edit(&console, &visitor, &id, &form, in_dialog).await
}

async fn enable(State(console): State<Console>, Path(id): Path<String>, posted: Posted) -> Response {
    let Posted { visitor, in_dialog, is_ours, .. } = posted;
    if !is_ours {
        return page::go(in_dialog, HERE);
    }
    match console.service.set_own_access_key_enabled(&visitor.visit(), &id, true).await {
        Ok(()) => page::go(in_dialog, &format!("{HERE}?done=enabled")),
        Err(refusal) => page::refused(&refusal, visitor.request),
    }
}

/// What takes something away, and asks first.
#[derive(Clone, Copy)]
enum Taking {
    Disable,
    Delete,
}

async fn present_taking(console: &Console, visitor: &Visitor, taking: Taking, id: &str, form: &Form, in_dialog: bool) -> Response {
    let access_key = match console.service.own_access_key(&visitor.visit(), id).await {
        Ok(access_key) => access_key,
        Err(refusal) => return page::refused(&refusal, visitor.request),
    };
    let (t, id) = (&ENGLISH.access_keys, access_key.id);
    let (word, title, told, button) = match taking {
        Taking::Disable => ("disable", t.disable_title, t.disable_told, t.disable),
        Taking::Delete => ("delete", t.delete_title, t.delete_told, ENGLISH.frame.delete),
    };
    let (action, told) = (format!("{HERE}/{id}/{word}"), format!("{told}: {id}"));
    let fragment = Confirm { t: &ENGLISH, in_draft: false, title, told, action: &action, button, csrf: visitor.csrf(), seen: None, form, in_dialog };
    present(console, visitor, form, title, &fragment, in_dialog).await
}

async fn take(console: &Console, taking: Taking, id: &str, posted: Posted) -> Response {
    let Posted { visitor, mut form, in_dialog, is_ours } = posted;
    if is_ours {
        let (taken, done) = match taking {
            Taking::Disable => (console.service.set_own_access_key_enabled(&visitor.visit(), id, false).await, "disabled"),
            Taking::Delete => (console.service.delete_own_access_key(&visitor.visit(), id).await, "deleted"),
        };
        form = match taken.map_err(|refusal| form.refuse(refusal)) {
            Ok(()) => return page::go(in_dialog, &format!("{HERE}?done={done}")),
            Err(Ok(form)) => form,
            Err(Err(refusal)) => return page::refused(&refusal, visitor.request),
        };
    }
    present_taking(console, &visitor, taking, id, &form, in_dialog).await
}

async fn ask_to_disable(State(console): State<Console>, visitor: Visitor, headers: HeaderMap, Path(id): Path<String>) -> Response {
    present_taking(&console, &visitor, Taking::Disable, &id, &Form::default(), wants_fragment(&headers)).await
}

async fn disable(State(console): State<Console>, Path(id): Path<String>, posted: Posted) -> Response {
    take(&console, Taking::Disable, &id, posted).await
}

async fn ask_to_delete(State(console): State<Console>, visitor: Visitor, headers: HeaderMap, Path(id): Path<String>) -> Response {
    present_taking(&console, &visitor, Taking::Delete, &id, &Form::default(), wants_fragment(&headers)).await
}

async fn delete(State(console): State<Console>, Path(id): Path<String>, posted: Posted) -> Response {
    take(&console, Taking::Delete, &id, posted).await
}
