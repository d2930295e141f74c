//! The Key Depository, and behind the other door Key Store Management: key stores, and the keys of the one that was chosen.

use askama::Template;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::get;

use super::Console;
use super::address::{Path, Query};
use super::depository::{Depository, SubTab, is_read_only, key_stores};
use super::door::Door;
use super::draft::Draft;
use super::form::{Form, Posted};
use super::keys::{self, Content};
use super::list::{Around, Asked};
use super::page::{self, Frame, Tab};
use super::routes::Routes;
use super::shown;
use super::text::{ENGLISH, Texts};
use super::visitor::{Visitor, wants_fragment};
use crate::domain::client_checks::{AuthMode, ChecksPolicy, Method};
use crate::domain::clock::Timestamp;
use crate::domain::ids::ProjectId;
use crate::domain::key_store::KeyStore;
use crate::domain::listing::Listed;
use crate::domain::result_code::ResultCode;
use crate::domain::text::Invalid;
use crate::service::{KeyStoreAsSeen, ListedKey, NewKeyStore, Proposed, Refusal};

/// The pages of key stores behind a door.
pub(super) fn routes(door: Door) -> Routes {
    Routes::new()
        .route(&door.route(""), get(index))
        .route(&door.route("/new"), get(new).post(add))
        .route(&door.route("/{store}"), get(show))
        .route(&door.route("/{store}/details"), get(details))
        .route(&door.route("/{store}/edit"), get(edit).post(change))
        .route(&door.route("/{store}/delete"), get(ask_to_delete).post(delete))
}

#[derive(Template)]
#[template(path = "no_project.html")]
struct NoProject {
    t: &'static Texts,
    assets: &'static super::assets::Assets,
    frame: Frame,
}

#[derive(Template)]
#[template(path = "no_key_store.html")]
struct NoKeyStore {
    t: &'static Texts,
    assets: &'static super::assets::Assets,
    frame: Frame,
    may_change: bool,
    /// Approval is on, and this is not where changes are asked for.
    read_only: bool,
    /// `/projects/7/key-stores`.
    path: String,
}

#[derive(Template)]
#[template(path = "key_store.html")]
struct KeyStorePage {
    t: &'static Texts,
    assets: &'static super::assets::Assets,
    frame: Frame,
    depository: Depository,
    keys: Listed<ListedKey>,
    around: Around,
}

#[derive(Template)]
#[template(path = "key_store_details.html")]
struct KeyStoreDetails {
    t: &'static Texts,
    key_store: KeyStore,
    methods: Vec<&'static str>,
    combined: &'static str,
    created: String,
    changed: String,
    in_dialog: bool,
}

#[derive(Template)]
#[template(path = "key_store_form.html")]
struct KeyStoreForm<'a> {
    t: &'static Texts,
    in_draft: bool,
    title: &'static str,
    action: &'a str,
    csrf: String,
    form: &'a Form,
    in_dialog: bool,
}

#[derive(Template)]
#[template(path = "confirm.html")]
struct Confirm<'a> {
    t: &'static Texts,
    in_draft: bool,
    title: &'static str,
    told: String,
    action: &'a str,
    button: &'static str,
    csrf: String,
    /// What was seen of it, for a form that is about something that others change.
    seen: Option<String>,
    form: &'a Form,
    in_dialog: bool,
}

/// What stands in [`Asked::done`] after something was done.
fn notice(done: &str) -> Option<&'static str> {
    let t = &ENGLISH.key_stores;
    match done {
        "added" => Some(t.added),
        "changed" => Some(t.changed),
        "deleted" => Some(t.deleted),
        "key-deleted" => Some(ENGLISH.keys.deleted),
        "drafted" => Some(ENGLISH.approval.drafted),
        "withdrawn" => Some(ENGLISH.approval.change_withdrawn),
        _ => None,
    }
}

/// `GET /`: to the first project that this person sees.
pub(super) async fn home(State(console): State<Console>, visitor: Visitor) -> Response {
    let frame = match Frame::new(&console, &visitor, ENGLISH.frame.no_project).await {
        Ok(frame) => frame,
        Err(refusal) => return page::refused(&refusal, visitor.request),
    };
    let first = frame.shown_projects().first().map(|project| project.id);
    match first {
        Some(project) => Redirect::to(&format!("/projects/{project}/key-stores")).into_response(),
        None => page::show(StatusCode::OK, &NoProject { t: &ENGLISH, assets: frame.assets, frame }),
    }
}

async fn index(State(console): State<Console>, visitor: Visitor, Path(project): Path<i64>, Query(asked): Query<Asked>) -> Response {
    let project = ProjectId(project);
    let shown = async {
        let path = visitor.door.stores(project);
        let all = key_stores(&console, &visitor, project).await?;
        if let Some(first) = all.first() {
            let done = if notice(&asked.done).is_some() { format!("?done={}", asked.done) } else { String::new() };
            return Ok(Redirect::to(&format!("{path}/{}{done}", first.number)).into_response());
        }
        let tab = visitor.door.tab();
        let frame = Frame::of_project(&console, &visitor, project, tab, tab.title()).await?.noticing(notice(&asked.done));
        let (may_change, read_only) = (visitor.may_change(project), is_read_only(&visitor));
        Ok(page::show(StatusCode::OK, &NoKeyStore { t: &ENGLISH, assets: frame.assets, frame, may_change, read_only, path }))
    };
    shown.await.unwrap_or_else(|refusal: Refusal| page::refused(&refusal, visitor.request))
}

async fn show(State(console): State<Console>, visitor: Visitor, Path((project, store)): Path<(i64, String)>, Query(asked): Query<Asked>) -> Response {
    let project = ProjectId(project);
    let shown = async {
        let query = asked.query();
        let (key_store, mut keys) = match console.service.list_keys_page(visitor.about(project), store.clone(), query.clone()).await {
            Err(Refusal::Code(ResultCode::InvalidKeyStore)) if visitor.door == Door::Management => {
                return new_one_asked_for(&console, &visitor, project, store).await;
            }
            listed => listed?,
        };
        let frame = Frame::of_project(&console, &visitor, project, visitor.door.tab(), key_store.name.to_string()).await?.noticing(notice(&asked.done));
        let depository = Depository::new(&console, &visitor, project, key_store, SubTab::Keys, &asked).await?;
        depository.draft_over(&mut keys.entries);
        let around = Around::new(depository.path.clone(), query, &keys);
        Ok(page::show(StatusCode::OK, &KeyStorePage { t: &ENGLISH, assets: frame.assets, frame, depository, keys, around }))
    };
    shown.await.unwrap_or_else(|refusal: Refusal| page::refused(&refusal, visitor.request))
}

/// A key store that is to come into being with a request is no draft any more: its request is shown.
async fn new_one_asked_for(console: &Console, visitor: &Visitor, project: ProjectId, store: String) -> Result<Response, Refusal> {
    let open = console.service.open_request(visitor.about(project), store).await?.ok_or(ResultCode::InvalidKeyStore)?;
    Ok(Redirect::to(&format!("/projects/{project}/approvals/{}", open.listed.request.id)).into_response())
}

async fn details(State(console): State<Console>, visitor: Visitor, headers: HeaderMap, Path((project, store)): Path<(i64, String)>) -> Response {
    let project = ProjectId(project);
    let key_store = match console.service.read_key_store(visitor.about(project), store).await {
        Ok(key_store) => key_store,
        Err(refusal) => return page::gone_or_refused(&refusal, visitor.request, wants_fragment(&headers)),
    };
    let t = &ENGLISH.key_stores;
    let methods = [(Method::Ipv4, t.ipv4), (Method::Mac, t.mac), (Method::Certificate, t.certificate)];
    let (created, changed) = (shown::stamp(&console, &key_store.created), shown::stamp(&console, &key_store.changed));
    let in_dialog = wants_fragment(&headers);
    let fragment = KeyStoreDetails {
        t: &ENGLISH,
        methods: methods.into_iter().filter(|(method, _)| key_store.checks.uses(*method)).map(|(_, text)| text).collect(),
        combined: if key_store.checks.mode() == AuthMode::And { t.all_must_pass } else { t.any_one_passes },
        key_store,
        created,
        changed,
        in_dialog,
    };
    present(&console, &visitor, project, StatusCode::OK, t.details, &fragment, in_dialog).await
}

/// A form in the dialog that asked for it, or on a page of its own.
pub(super) async fn present(
    console: &Console,
    visitor: &Visitor,
    project: ProjectId,
    status: StatusCode,
    title: &str,
    fragment: &impl Template,
    in_dialog: bool,
) -> Response {
    present_under(console, visitor, (project, visitor.door.tab()), status, title, fragment, in_dialog).await
}

/// The same under any tab.
pub(super) async fn present_under(
    console: &Console,
    visitor: &Visitor,
    (project, tab): (ProjectId, Tab),
    status: StatusCode,
    title: &str,
    fragment: &impl Template,
    in_dialog: bool,
) -> Response {
    if in_dialog {
        return page::show(status, fragment);
    }
    match Frame::of_project(console, visitor, project, tab, title).await {
        Ok(frame) => page::alone(status, frame, fragment),
        Err(refusal) => page::refused(&refusal, visitor.request),
    }
}

async fn present_form(console: &Console, visitor: &Visitor, project: ProjectId, title: &'static str, action: &str, form: &Form, in_dialog: bool) -> Response {
    if let Err(refusal) = visitor.require_change(project) {
        return page::refused(&refusal, visitor.request);
    }
    let status = if form.is_right() { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
    let fragment = KeyStoreForm { t: &ENGLISH, in_draft: visitor.drafts(), title, action, csrf: visitor.csrf(), form, in_dialog };
    present(console, visitor, project, status, title, &fragment, in_dialog).await
}

fn typed(form: &Form) -> Result<NewKeyStore, Refusal> {
    let (t, name, description) = (&ENGLISH.key_stores, form.name("name")?, form.description()?);
    let mode = AuthMode::parse(form.value("authMode")).ok_or_else(|| Invalid::new("authMode", t.combine_needed))?;
    let on = |field: &str| form.has(field, "Y");
    let checks = ChecksPolicy::new(on("ip4AuthUse"), on("macAuthUse"), on("certificateAuthUse"), mode);
    Ok(NewKeyStore { name, description, checks: checks.map_err(|_| Invalid::new("ip4AuthUse", t.authentication_needed))? })
}

fn filled(key_store: &KeyStore) -> Form {
    let seen = key_store.changed.at.micros().to_string();
    let on = |method| if key_store.checks.uses(method) { "Y" } else { "N" };
    Form::showing([
        ("name", key_store.name.as_str()),
        ("description", key_store.description.as_str()),
        ("ip4AuthUse", on(Method::Ipv4)),
        ("macAuthUse", on(Method::Mac)),
        ("certificateAuthUse", on(Method::Certificate)),
        ("authMode", key_store.checks.mode().as_str()),
        ("seen", seen.as_str()),
    ])
}

async fn new(State(console): State<Console>, visitor: Visitor, headers: HeaderMap, Path(project): Path<i64>) -> Response {
    let action = format!("{}/new", visitor.door.stores(ProjectId(project)));
    let form = Form::showing([("ip4AuthUse", "Y"), ("authMode", "AND")]);
    present_form(&console, &visitor, ProjectId(project), ENGLISH.key_stores.add, &action, &form, wants_fragment(&headers)).await
}

async fn add(State(console): State<Console>, Path(project): Path<i64>, posted: Posted) -> Response {
    let Posted { visitor, form, in_dialog, is_ours } = posted;
    let (base, project) = (visitor.door.stores(ProjectId(project)), ProjectId(project));
    let made = if is_ours { Some(console.service.create_key_store(visitor.about(project), typed(&form)).await) } else { None };
    let form = match made {
        Some(Ok(key_store)) => return page::go(in_dialog, &format!("{base}/{}?done=added", key_store.number)),
        Some(Err(Refusal::Proposed(proposed))) => return to_drafted(&console, &visitor, project, proposed, in_dialog).await,
        Some(Err(refusal)) => match form.refuse(refusal) {
            Ok(form) => form,
            Err(refusal) => return page::refused(&refusal, visitor.request),
        },
        None => form,
    };
    present_form(&console, &visitor, project, ENGLISH.key_stores.add, &format!("{base}/new"), &form, in_dialog).await
}

/// To the key store that is to come into being with a draft.
async fn to_drafted(console: &Console, visitor: &Visitor, project: ProjectId, proposed: Proposed, in_dialog: bool) -> Response {
    match console.service.read_request(visitor.about(project), proposed.request.to_string()).await {
        Ok(details) => {
            let number = details.listed.key_store.map(|(number, _)| format!("/{number}")).unwrap_or_default();
            page::go(in_dialog, &format!("{}{number}?done=drafted", visitor.door.stores(project)))
        }
        Err(refusal) => page::refused(&refusal, visitor.request),
    }
}

/// The key store as the form has shown it. A form that doesn't say so has seen nothing that is still true.
fn as_seen(store: &str, form: &Form) -> KeyStoreAsSeen {
    let seen = form.value("seen").parse().map(Timestamp::from_micros).unwrap_or_default();
    KeyStoreAsSeen { number: store.to_owned(), changed: Some(seen) }
}

async fn edit(State(console): State<Console>, visitor: Visitor, headers: HeaderMap, Path((project, store)): Path<(i64, String)>) -> Response {
    let project = ProjectId(project);
    let action = format!("{}/{store}/edit", visitor.door.stores(project));
    let found = async {
        let key_store = console.service.read_key_store(visitor.about(project), store.clone()).await?;
        // Whoever edits a draft goes on from what is in it.
        let draft = Draft::read(&console, &visitor, project, &store).await?;
        Ok(draft.map_or(key_store.clone(), |draft| draft.over_key_store(key_store)))
    };
    match found.await {
        Ok(key_store) => present_form(&console, &visitor, project, ENGLISH.key_stores.edit, &action, &filled(&key_store), wants_fragment(&headers)).await,
        Err(refusal) => page::gone_or_refused(&refusal, visitor.request, wants_fragment(&headers)),
    }
}

async fn change(State(console): State<Console>, Path((project, store)): Path<(i64, String)>, posted: Posted) -> Response {
    let Posted { visitor, form, in_dialog, is_ours } = posted;
    let (base, project) = (format!("{}/{store}", visitor.door.stores(ProjectId(project))), ProjectId(project));
    let changed = if is_ours { Some(console.service.replace_key_store(visitor.about(project), as_seen(&store, &form), typed(&form)).await) } else { None };
    let form = match changed {
        Some(Ok(())) => return page::go(in_dialog, &format!("{base}?done=changed")),
        Some(Err(Refusal::Proposed(_))) => return page::go(in_dialog, &format!("{base}?done=drafted")),
        Some(Err(refusal @ Refusal::Code(ResultCode::InvalidKeyStore))) => return page::gone_or_refused(&refusal, visitor.request, in_dialog),
        Some(Err(refusal)) => match form.refuse(refusal) {
            Ok(form) => form,
            Err(refusal) => return page::refused(&refusal, visitor.request),
        },
        None => form,
    };
    present_form(&console, &visitor, project, ENGLISH.key_stores.edit, &format!("{base}/edit"), &form, in_dialog).await
}

async fn present_deletion(console: &Console, visitor: &Visitor, project: ProjectId, store: &str, form: &Form, in_dialog: bool) -> Response {
    if let Err(refusal) = visitor.require_change(project) {
        return page::refused(&refusal, visitor.request);
    }
    let key_store = match console.service.read_key_store(visitor.about(project), store.to_owned()).await {
        Ok(key_store) => key_store,
        Err(refusal) => return page::gone_or_refused(&refusal, visitor.request, in_dialog),
    };
    let action = format!("{}/{store}/delete", visitor.door.stores(project));
    let seen = if form.is_sent("seen") { form.value("seen").to_owned() } else { key_store.changed.at.micros().to_string() };
    let told = format!("{}: {}", ENGLISH.key_stores.delete_told, key_store.name);
    let title = ENGLISH.key_stores.delete;
    let status = if form.is_right() { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
    let fragment = Confirm {
        t: &ENGLISH,
        in_draft: visitor.drafts(),
        title,
        told,
        action: &action,
        button: ENGLISH.frame.delete,
        csrf: visitor.csrf(),
        seen: Some(seen),
        form,
        in_dialog,
    };
    present(console, visitor, project, status, title, &fragment, in_dialog).await
}

async fn ask_to_delete(State(console): State<Console>, visitor: Visitor, headers: HeaderMap, Path((project, store)): Path<(i64, String)>) -> Response {
    present_deletion(&console, &visitor, ProjectId(project), &store, &Form::default(), wants_fragment(&headers)).await
}

async fn delete(State(console): State<Console>, Path((project, store)): Path<(i64, String)>, posted: Posted) -> Response {
    let Posted { visitor, form, in_dialog, is_ours } = posted;
    let (base, project) = (visitor.door.stores(ProjectId(project)), ProjectId(project));
    let deleted = if is_ours { Some(console.service.delete_key_store(visitor.about(project), as_seen(&store, &form)).await) } else { None };
    let form = match deleted {
        Some(Ok(())) => return page::go(in_dialog, &format!("{base}?done=deleted")),
        Some(Err(Refusal::Proposed(_))) => return page::go(in_dialog, &format!("{base}/{store}?done=drafted")),
        Some(Err(refusal)) => match form.refuse(refusal) {
            Ok(form) => form,
            Err(refusal) => return page::refused(&refusal, visitor.request),
        },
        None => form,
    };
    present_deletion(&console, &visitor, project, &store, &form, in_dialog).await
}
