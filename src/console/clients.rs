//! The clients of a key store: IPv4 addresses, MAC addresses, certificates. What the three have in common: the list, one entry, its end.

use askama::Template;
use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::get;
use serde::Deserialize;

use super::Console;
use super::address::{Path, Query};
use super::depository::{Depository, SubTab};
use super::door::Door;
use super::draft::{Draft, DraftedChange, NewClient};
use super::form::{Form, Posted};
use super::key_stores::present;
use super::list::{Around, Asked};
use super::page::{self, Frame, Tab};
use super::routes::Routes;
use super::shown;
use super::text::{ENGLISH, Texts};
use super::visitor::{Visitor, wants_fragment};
use crate::domain::client_checks::{Method, RuleValue};
use crate::domain::clock::Timestamp;
use crate::domain::ids::ProjectId;
use crate::domain::key::State as LifeState;
use crate::domain::result_code::ResultCode;
use crate::domain::text::Invalid;
use crate::service::{EXPIRY_WARNING, KeyStoreRef, ListedClientRule, NewClientRule, NewRuleValue, Refusal, RuleSelector, shown_value};

/// The pages of clients behind a door.
pub(super) fn routes(door: Door) -> Routes {
    let mut routes = Routes::new();
    for method in Method::ALL {
        let path = door.route(&format!("/{{store}}/{}", word(method)));
        routes = routes
            .route(&path, get(index))
            .route(&format!("{path}/details"), get(details))
            .route(&format!("{path}/request-deletion"), get(ask).post(end))
            .route(&format!("{path}/restore"), get(ask).post(end))
            .route(&format!("{path}/delete"), get(ask).post(end));
        if method != Method::Certificate {
            routes = routes.route(&format!("{path}/new"), get(new).post(add));
        }
    }
    routes
}

/// The word in the address.
pub(super) const fn word(method: Method) -> &'static str {
    match method {
        Method::Ipv4 => "ipv4",
        Method::Mac => "macs",
        Method::Certificate => "certificates",
    }
}

/// Which entries of which key store an address is about.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) project: ProjectId,
    /// Through which door somebody came there.
    door: Door,
    /// The key store's number as the address has it.
    pub(super) store: String,
    pub(super) method: Method,
    /// The word after that of the method: what is to be done.
    act: String,
}

impl Place {
    /// `/projects/7/key-stores/3/ipv4`.
    pub(super) fn path(&self) -> String {
        format!("{}/{}/{}", self.door.stores(self.project), self.store, word(self.method))
    }

    pub(super) fn sub_tab(&self) -> SubTab {
        match self.method {
            Method::Ipv4 => SubTab::Ipv4,
            Method::Mac => SubTab::Macs,
            Method::Certificate => SubTab::Certificates,
        }
    }
}

impl FromRequestParts<Console> for Place {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, console: &Console) -> Result<Self, Response> {
        let Path((project, store)) = Path::<(i64, String)>::from_request_parts(parts, console).await?;
        let mut words = parts.uri.path().split('/').skip(5);
        let method = words.next().and_then(|found| Method::ALL.into_iter().find(|method| word(*method) == found));
        let act = words.next().unwrap_or_default().to_owned();
        let Some(method) = method else { return Err(page::refused(&ResultCode::UrlNotFound.into(), super::visitor::request_id(parts))) };
        Ok(Self { project: ProjectId(project), door: Door::of(parts.uri.path()), store, method, act })
    }
}

/// Which entry an address is about.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Which {
    #[serde(default)]
    value: String,
}

/// An entry as pages show it.
#[derive(Debug)]
struct Entry {
    value: String,
    description: String,
    is_in_service: bool,
    due: Option<String>,
    last_access: Option<String>,
    expires: Option<String>,
    has_expired: bool,
    expires_soon: bool,
    serial: Option<String>,
    created: String,
    changed: String,
    has_p12: bool,
    /// `value=…` for addresses.
    query: String,
}

impl Entry {
    fn new(console: &Console, listed: ListedClientRule) -> Self {
        let (rule, now) = (listed.rule, console.service.now());
        let value = shown_value(&rule.value);
        let (not_after, serial) = match rule.value {
            RuleValue::Certificate { not_after, serial, .. } => (Some(not_after), Some(serial)),
            RuleValue::Ipv4(_) | RuleValue::Mac(_) => (None, None),
        };
        let has_expired = not_after.is_some_and(|not_after| not_after <= now);
        Self {
            query: serde_urlencoded::to_string([("value", &value)]).unwrap_or_default(),
            value,
            description: rule.description.as_str().to_owned(),
            is_in_service: rule.state == LifeState::Active,
            due: rule.deletion.map(|at| shown::date(console, at)),
            last_access: listed.last_access.map(|at| shown::date(console, at)),
            expires: not_after.map(|at| shown::date(console, at)),
            has_expired,
            expires_soon: !has_expired && not_after.is_some_and(|not_after| not_after < now.plus(EXPIRY_WARNING)),
            serial,
            created: shown::stamp(console, &rule.created),
            changed: shown::stamp(console, &rule.changed),
            has_p12: listed.has_p12,
        }
    }
}

#[derive(Template)]
#[template(path = "clients.html")]
struct Clients {
    t: &'static Texts,
    assets: &'static super::assets::Assets,
    frame: Frame,
    depository: Depository,
    method: Method,
    is_on: bool,
    entries: Vec<Entry>,
    /// Those that are to come into being with the draft, as many as are shown.
    new: Vec<NewClient>,
    new_total: usize,
    expiring: usize,
    around: Around,
}

#[derive(Template)]
#[template(path = "client_form.html")]
struct ClientForm<'a> {
    t: &'static Texts,
    in_draft: bool,
    title: &'static str,
    label: &'static str,
    hint: &'static str,
    action: &'a str,
    csrf: String,
    form: &'a Form,
    in_dialog: bool,
}

#[derive(Template)]
#[template(path = "client_details.html")]
struct Details {
    t: &'static Texts,
    label: &'static str,
    path: String,
    csrf: String,
    entry: Entry,
    may_change: bool,
    /// Whether whoever looks may have the `.p12`.
    may_download: bool,
    in_dialog: bool,
}

#[derive(Template)]
#[template(path = "client_confirm.html")]
struct Confirm<'a> {
    t: &'static Texts,
    in_draft: bool,
    title: &'static str,
    told: &'static str,
    is_destructive: bool,
    action: &'a str,
    csrf: String,
    form: &'a Form,
    in_dialog: bool,
}

/// What stands in [`Asked::done`] after something was done.
fn notice(done: &str) -> Option<&'static str> {
    let t = &ENGLISH.clients;
    match done {
        "registered" => Some(t.registered),
        "registered-many" => Some(t.registered_many),
        "certified" => Some(t.certified),
        "signed" => Some(t.signed),
        "request-deletion" => Some(t.deletion_requested),
        "restore" => Some(t.restored),
        "delete" => Some(t.deleted),
        "drafted" => Some(ENGLISH.approval.drafted),
        "withdrawn" => Some(ENGLISH.approval.change_withdrawn),
        _ => None,
    }
}

/// What the value of an entry is called.
pub(super) fn label(method: Method) -> &'static str {
    match method {
        Method::Ipv4 => ENGLISH.clients.value_ipv4,
        Method::Mac => ENGLISH.clients.value_mac,
        Method::Certificate => ENGLISH.frame.name,
    }
}

async fn index(State(console): State<Console>, visitor: Visitor, place: Place, Query(asked): Query<Asked>) -> Response {
    let shown = async {
        let query = asked.query();
        let (key_store, found) = console.service.list_clients_page(visitor.about(place.project), place.store.clone(), place.method, query.clone()).await?;
        let frame = Frame::of_project(&console, &visitor, place.project, visitor.door.tab(), key_store.name.to_string()).await?.noticing(notice(&asked.done));
        let is_on = key_store.checks.uses(place.method);
        let depository = Depository::new(&console, &visitor, place.project, key_store, place.sub_tab(), &asked).await?;
        let around = Around::new(place.path(), query, &found.listed);
        let entries = found.listed.entries.into_iter().map(|listed| Entry::new(&console, listed)).collect();
        let (method, expiring) = (place.method, found.expiring);
        let (new, new_total) = depository.new_clients(method);
        let page = Clients { t: &ENGLISH, assets: frame.assets, frame, depository, method, is_on, entries, new, new_total, expiring, around };
        Ok(page::show(StatusCode::OK, &page))
    };
    shown.await.unwrap_or_else(|refusal: Refusal| page::refused(&refusal, visitor.request))
}

async fn details(State(console): State<Console>, visitor: Visitor, place: Place, headers: HeaderMap, Query(which): Query<Which>) -> Response {
    let found = console.service.read_client(visitor.about(place.project), place.store.clone(), place.method, which.value).await;
    let entry = match found {
        Ok((_, listed)) => Entry::new(&console, listed),
        Err(refusal) => return page::gone_or_refused(&refusal, visitor.request, wants_fragment(&headers)),
    };
    let draft = match Draft::read(&console, &visitor, place.project, &place.store).await {
        Ok(draft) => draft,
        Err(refusal) => return page::refused(&refusal, visitor.request),
    };
    let is_free = draft.is_none_or(|draft| draft.is_draft && draft.change_of_client(place.method, &entry.value).is_none());
    let (in_dialog, may_change, may_download) = (wants_fragment(&headers), visitor.may_change(place.project) && is_free, visitor.is_admin_of(place.project));
    let fragment = Details { t: &ENGLISH, label: label(place.method), path: place.path(), csrf: visitor.csrf(), entry, may_change, may_download, in_dialog };
    present(&console, &visitor, place.project, StatusCode::OK, ENGLISH.clients.details, &fragment, in_dialog).await
}

async fn present_new(console: &Console, visitor: &Visitor, place: &Place, form: &Form, in_dialog: bool) -> Response {
    if let Err(refusal) = visitor.require_change(place.project) {
        return page::refused(&refusal, visitor.request);
    }
    let status = if form.is_right() { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
    let t = &ENGLISH.clients;
    let (title, hint) = if place.method == Method::Mac { (t.add_mac, t.hint_mac) } else { (t.add_ipv4, t.hint_ipv4) };
    let action = format!("{}/new", place.path());
    let fragment =
        ClientForm { t: &ENGLISH, in_draft: visitor.drafts(), title, label: label(place.method), hint, action: &action, csrf: visitor.csrf(), form, in_dialog };
    present(console, visitor, place.project, status, title, &fragment, in_dialog).await
}

async fn new(State(console): State<Console>, visitor: Visitor, place: Place, headers: HeaderMap) -> Response {
    present_new(&console, &visitor, &place, &Form::default(), wants_fragment(&headers)).await
}

fn typed(place: &Place, form: &Form) -> Result<NewClientRule, Refusal> {
    let value = form.value("value").trim().to_owned();
    let value = if place.method == Method::Mac { NewRuleValue::Mac(value) } else { NewRuleValue::Ipv4(value) };
    Ok(NewClientRule { key_store: KeyStoreRef::Numbered(place.store.clone()), value, description: form.description()? })
}

async fn add(State(console): State<Console>, place: Place, posted: Posted) -> Response {
    let Posted { visitor, form, in_dialog, is_ours } = posted;
    let made = if is_ours { Some(console.service.register_client(visitor.about(place.project), typed(&place, &form)).await) } else { None };
    let form = match made {
        Some(Ok(_)) => return page::go(in_dialog, &format!("{}?done=registered", place.path())),
        Some(Err(Refusal::Proposed(_))) => return page::go(in_dialog, &format!("{}?done=drafted", place.path())),
        Some(Err(refusal)) => match refuse(form, refusal) {
            Ok(form) => form,
            Err(refusal) => return page::refused(&refusal, visitor.request),
        },
        None => form,
    };
    present_new(&console, &visitor, &place, &form, in_dialog).await
}

/// The form again: what is wrong with the key store as a whole belongs to no field of it.
pub(super) fn refuse(mut form: Form, refusal: Refusal) -> Result<Form, Refusal> {
    match refusal {
        Refusal::Field(Invalid { field: "keyStoreName", .. }) => {
            form.problem = Some(ENGLISH.clients.full.to_owned());
            Ok(form)
        }
        // Somebody else was faster.
        Refusal::Code(ResultCode::InvalidClientRule | ResultCode::InvalidClientRuleStatus) => form.refuse(ResultCode::Conflict.into()),
        refusal => form.refuse(refusal),
    }
}

async fn present_end(console: &Console, visitor: &Visitor, place: &Place, form: &Form, in_dialog: bool) -> Response {
    if let Err(refusal) = visitor.require_change(place.project) {
        return page::refused(&refusal, visitor.request);
    }
    let t = &ENGLISH.clients;
    let (title, told, is_destructive) = match place.act.as_str() {
        "restore" => (t.restore, t.restore_told, false),
        "delete" => (t.delete, t.delete_told, true),
        _ => (t.request_deletion, t.request_deletion_told, true),
    };
    let status = if form.is_right() { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
    let action = format!("{}/{}", place.path(), place.act);
    let fragment = Confirm { t: &ENGLISH, in_draft: visitor.drafts(), title, told, is_destructive, action: &action, csrf: visitor.csrf(), form, in_dialog };
    present(console, visitor, place.project, status, title, &fragment, in_dialog).await
}

async fn ask(State(console): State<Console>, visitor: Visitor, place: Place, headers: HeaderMap, Query(which): Query<Which>) -> Response {
    if let Err(refusal) = visitor.require_change(place.project) {
        return page::refused(&refusal, visitor.request);
    }
    let found = console.service.read_client(visitor.about(place.project), place.store.clone(), place.method, which.value).await;
    let rule = match found {
        Ok((_, listed)) => listed.rule,
        Err(refusal) => return page::gone_or_refused(&refusal, visitor.request, wants_fragment(&headers)),
    };
    let (value, seen) = (shown_value(&rule.value), rule.changed.at.micros().to_string());
    let form = Form::showing([("value", value.as_str()), ("seen", seen.as_str())]);
    present_end(&console, &visitor, &place, &form, wants_fragment(&headers)).await
}

/// Asks for the deletion of an entry, calls it off, or deletes it now: if it is as the person saw it.
async fn end(State(console): State<Console>, place: Place, posted: Posted) -> Response {
    let Posted { visitor, form, in_dialog, is_ours } = posted;
    let done = if is_ours { Some(end_as_seen(&console, &visitor, &place, &form).await) } else { None };
    let form = match done {
        Some(Ok(())) => return page::go(in_dialog, &format!("{}?done={}", place.path(), place.act)),
        Some(Err(Refusal::Proposed(_))) => return page::go(in_dialog, &format!("{}?done=drafted", place.path())),
        Some(Err(refusal)) => match refuse(form, refusal) {
            Ok(form) => form,
            Err(refusal) => return page::refused(&refusal, visitor.request),
        },
        None => form,
    };
    present_end(&console, &visitor, &place, &form, in_dialog).await
}

async fn end_as_seen(console: &Console, visitor: &Visitor, place: &Place, form: &Form) -> Result<(), Refusal> {
    let selector = form.number("seen", 0).map_err(Refusal::from).map(|seen| RuleSelector {
        key_store: KeyStoreRef::Numbered(place.store.clone()),
        method: place.method,
        value: form.value("value").to_owned(),
        seen: Some(Timestamp::from_micros(seen)),
    });
    let (service, request) = (&console.service, visitor.about(place.project));
    match place.act.as_str() {
        "restore" => service.restore_client(request, selector).await.map(drop),
        "delete" => service.delete_client(request, selector).await.map(drop),
        _ => service.request_client_deletion(request, selector).await.map(drop),
    }
}

impl Clients {
    /// What the draft does to an entry.
    fn drafted(&self, entry: &Entry) -> Option<&DraftedChange> {
        self.depository.draft.as_ref()?.change_of_client(self.method, &entry.value)
    }

    /// How many entries of the draft are not shown.
    fn new_not_shown(&self) -> usize {
        self.new_total.saturating_sub(self.new.len())
    }

    fn label(&self) -> &'static str {
        label(self.method)
    }

    fn is_certificates(&self) -> bool {
        self.method == Method::Certificate
    }

    fn is_macs(&self) -> bool {
        self.method == Method::Mac
    }

    fn none(&self) -> &'static str {
        let t = &self.t.clients;
        match self.method {
            Method::Ipv4 => t.none_ipv4,
            Method::Mac => t.none_mac,
            Method::Certificate => t.none_certificates,
        }
    }

    fn add(&self) -> &'static str {
        let t = &self.t.clients;
        match self.method {
            Method::Ipv4 => t.add_ipv4,
            Method::Mac => t.add_mac,
            Method::Certificate => t.add_certificate,
        }
    }
}
