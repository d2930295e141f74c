//! A key: all about it, its data for those who may see it, and what can be done to it.

mod add;
mod edit;
mod steps;

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post};
use serde::Deserialize;

use super::Console;
use super::address::{Path, Query};
use super::depository::is_read_only;
use super::door::Door;
use super::draft::{Draft, DraftedChange};
use super::form::{Form, Posted};
use super::list::Asked;
use super::page::{self, Frame, Tab};
use super::routes::Routes;
use super::shown;
use super::text::{ENGLISH, Texts};
use super::visitor::Visitor;
use crate::domain::clock::Timestamp;
use crate::domain::ids::{KeyVersion, ProjectId};
use crate::domain::key::{KeyKind, State as LifeState, Version};
use crate::domain::lifecycle::permit;
use crate::domain::secret::SecretText;
use crate::service::{KeyAsSeen, KeyDetails, ListedVersion, Refusal};
pub(super) use add::Content;
use steps::Step;

/// The pages of keys behind a door.
pub(super) fn routes(door: Door) -> Routes {
    Routes::new()
        .route(&door.route("/{store}/keys/new/{content}"), get(add::show).post(add::add))
        .route(&door.route("/{store}/keys/{key}"), get(show))
        .route(&door.route("/{store}/keys/{key}/data"), post(reveal))
        .route(&door.route("/{store}/keys/{key}/edit"), get(edit::show).post(edit::change))
        .route(&door.route("/{store}/keys/{key}/steps/{step}"), get(steps::ask).post(steps::take))
        .route(&door.route("/{store}/keys/{key}/versions/{version}/steps/{step}"), get(steps::ask).post(steps::take))
}

/// Where a key's page is.
#[derive(Debug, Clone, Deserialize)]
struct At {
    project: i64,
    store: String,
    key: String,
}

impl At {
    fn project(&self) -> ProjectId {
        ProjectId(self.project)
    }

    /// The key store's page.
    fn list(&self, door: Door) -> String {
        format!("{}/{}", door.stores(self.project()), self.store)
    }

    fn path(&self, door: Door) -> String {
        format!("{}/keys/{}", self.list(door), self.key)
    }

    async fn details(&self, console: &Console, visitor: &Visitor) -> Result<KeyDetails, Refusal> {
        console.service.key_details(visitor.about(self.project()), self.store.clone(), self.key.clone()).await
    }

    /// The key as the form's page has shown it. A form that doesn't say so has seen nothing that is still true.
    fn as_seen(&self, form: &Form) -> KeyAsSeen {
        let seen = form.value("seen").parse().map(Timestamp::from_micros).unwrap_or_default();
        KeyAsSeen { id: self.key.clone(), changed: Some(seen) }
    }
}

#[derive(Template)]
#[template(path = "key.html")]
struct KeyPage {
    t: &'static Texts,
    assets: &'static super::assets::Assets,
    frame: Frame,
    may_change: bool,
    /// Whether whoever looks may see confidential data.
    sees_data: bool,
    /// Approval is on, and this is not where changes are asked for.
    read_only: bool,
    /// What the draft of the key store does to this key.
    drafted: Vec<DraftedChange>,
    /// What somebody has asked for of its key store, which waits.
    frozen: Option<String>,
    view: View,
    /// Confidential data, once somebody asked for it.
    data: Option<SecretText>,
    /// Why it is not shown.
    problem: Option<String>,
}

/// A key as its page shows it.
#[derive(Debug)]
struct View {
    path: String,
    list: String,
    details: KeyDetails,
    kind: &'static str,
    status: (&'static str, &'static str),
    /// When it is due to be destroyed.
    due: Option<String>,
    next_rotation: Option<String>,
    last_access: Option<String>,
    created: String,
    changed: String,
    steps: Vec<Step>,
    versions: Vec<VersionView>,
}

/// A version as the page shows it.
#[derive(Debug)]
struct VersionView {
    number: KeyVersion,
    is_current: bool,
    status: (&'static str, &'static str),
    due: Option<String>,
    created: String,
    last_use: Option<String>,
    steps: Vec<Step>,
}

/// What a page says of a state: the badge's class, and the word.
pub(super) fn status(state: LifeState) -> (&'static str, &'static str) {
    match state {
        LifeState::Active => ("good", ENGLISH.key_stores.in_service),
        _ => ("warn", ENGLISH.key_stores.scheduled_to_be_deleted),
    }
}

/// The word for what a key is.
pub(super) fn kind(kind: KeyKind) -> &'static str {
    match kind {
        KeyKind::Secret => ENGLISH.key_stores.secret,
        KeyKind::Symmetric => ENGLISH.key_stores.symmetric,
        KeyKind::Asymmetric => ENGLISH.key_stores.asymmetric,
    }
}

impl View {
    fn new(console: &Console, (at, door): (&At, Door), details: KeyDetails) -> Self {
        let key = &details.listed.key;
        let date = |at: Timestamp| shown::date(console, at);
        let versions: Vec<Version> = details.versions.iter().map(|listed| listed.version.clone()).collect();
        let possible = |of: Option<KeyVersion>| {
            let asked = Step::ALL.into_iter().filter(|step| step.command(of).is_some_and(|command| permit(key, &versions, command).is_ok()));
            asked.collect()
        };
        let version = |listed: &ListedVersion| VersionView {
            number: listed.version.version,
            is_current: listed.version.version == key.current_version,
            status: status(listed.version.state),
            due: listed.version.deletion.map(date),
            created: date(listed.version.created.at),
            last_use: listed.last_use.map(date),
            steps: possible(Some(listed.version.version)),
        };
        Self {
            path: at.path(door),
            list: at.list(door),
            kind: kind(key.kind),
            status: status(key.state),
            due: key.deletion.map(date),
            next_rotation: key.next_rotation.map(date),
            last_access: details.listed.last_access.map(date),
            created: shown::stamp(console, &key.created),
            changed: shown::stamp(console, &key.changed),
            steps: possible(None),
            // The newest first: it is the one that matters.
            versions: details.versions.iter().rev().map(version).collect(),
            details,
        }
    }

    /// Without the steps that don't go with what is in the draft already: they would be refused.
    fn after(mut self, drafted: &[DraftedChange]) -> Self {
        if drafted.iter().any(|change| change.restores) {
            self.steps.clear();
        }
        if drafted.iter().any(|change| change.rotates) {
            self.steps.retain(|step| *step != Step::Rotate);
        }
        for version in &mut self.versions {
            if drafted.iter().any(|change| change.is_of_version && change.version == Some(version.number)) {
                version.steps.clear();
            }
        }
        self
    }

    fn is_secret(&self) -> bool {
        self.details.listed.key.kind == KeyKind::Secret
    }

    fn is_in_service(&self) -> bool {
        self.details.listed.key.state == LifeState::Active
    }

    fn has_steps_of_versions(&self) -> bool {
        self.versions.iter().any(|version| !version.steps.is_empty())
    }
}

impl KeyPage {
    /// What the draft does to a version.
    fn drafted_of(&self, version: &VersionView) -> impl Iterator<Item = &DraftedChange> {
        self.drafted.iter().filter(|change| change.version == Some(version.number) && change.is_of_version)
    }

    fn path_of(&self, version: &VersionView) -> String {
        format!("{}/versions/{}", self.view.path, version.number)
    }

    /// What tells a version's buttons apart for those who don't see its row.
    fn name_of(&self, version: &VersionView) -> String {
        format!("{} {}", self.t.keys.version, version.number)
    }
}

/// What stands in [`Asked::done`] after something was done.
fn notice(done: &str) -> Option<&'static str> {
    let t = &ENGLISH.keys;
    match done {
        "added" => Some(t.added),
        "changed" => Some(t.changed),
        "rotated" => Some(t.rotated),
        "requested" => Some(t.requested),
        "cancelled" => Some(t.cancelled),
        "deleted" => Some(t.version_deleted),
        "drafted" => Some(ENGLISH.approval.drafted),
        "withdrawn" => Some(ENGLISH.approval.change_withdrawn),
        _ => None,
    }
}

async fn page(console: &Console, visitor: &Visitor, at: &At, notice: Option<&'static str>) -> Result<KeyPage, Refusal> {
    let mut details = at.details(console, visitor).await?;
    let draft = Draft::read(console, visitor, at.project(), &at.store).await?;
    let (mut drafted, mut frozen, mut may_change) = (Vec::new(), None, visitor.may_change(at.project()));
    if let Some(draft) = draft {
        let key = details.listed.key.id;
        draft.over_key(&mut details.listed.key);
        frozen = (!draft.is_draft).then(|| draft.path.clone());
        may_change &= draft.is_draft && !draft.ends_key(key);
        drafted = draft.changes.into_iter().filter(|change| change.key == Some(key)).collect();
    }
    let title = details.listed.key.name.to_string();
    let frame = Frame::of_project(console, visitor, at.project(), visitor.door.tab(), title).await?.noticing(notice);
    let (sees_data, read_only) = (visitor.is_admin_of(at.project()), is_read_only(visitor));
    let view = View::new(console, (at, visitor.door), details).after(&drafted);
    let page = KeyPage { t: &ENGLISH, assets: frame.assets, frame, may_change, sees_data, read_only, drafted, frozen, view, data: None, problem: None };
    Ok(page)
}

async fn show(State(console): State<Console>, visitor: Visitor, Path(at): Path<At>, Query(asked): Query<Asked>) -> Response {
    match page(&console, &visitor, &at, notice(&asked.done)).await {
        Ok(page) => page::show(StatusCode::OK, &page),
        Err(refusal) => page::refused(&refusal, visitor.request),
    }
}

/// Shows confidential data: the page again, with it.
async fn reveal(State(console): State<Console>, Path(at): Path<At>, posted: Posted) -> Response {
    let Posted { visitor, form, is_ours, .. } = posted;
    let shown = async {
        let page = page(&console, &visitor, &at, None).await?;
        if !is_ours {
            return Ok(page::show(StatusCode::UNPROCESSABLE_ENTITY, &KeyPage { problem: form.problem, ..page }));
        }
        let data = console.service.read_secret(visitor.about(at.project()), at.key.clone()).await?;
        Ok(page::show(StatusCode::OK, &KeyPage { data: Some(data), ..page }))
    };
    shown.await.unwrap_or_else(|refusal: Refusal| page::refused(&refusal, visitor.request))
}
