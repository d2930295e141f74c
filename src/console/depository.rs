//! What the pages of one key store share: the key stores beside it, its name and menu, its sub-tabs.

use std::collections::HashMap;

use super::Console;
use super::door::Door;
use super::draft::{Draft, Mark, NewClient, NewKey};
use super::list::Asked;
use super::text::ENGLISH;
use super::visitor::Visitor;
use crate::domain::approval::RequestState;
use crate::domain::client_checks::Method;
use crate::domain::ids::{KeyId, KeyStoreNumber, ProjectId};
use crate::domain::key_store::KeyStore;
use crate::service::{KeyStoreListing, ListedKey, OpenRequest, Refusal};

/// The most key stores that stand beside the list.
const KEY_STORES_MAX: usize = 1_000;

/// The sub-tabs of a key store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SubTab {
    Keys,
    Ipv4,
    Macs,
    Certificates,
}

/// A key store that was chosen, for templates that extend `depository.html` (as the field `depository`).
#[derive(Debug)]
pub(super) struct Depository {
    /// The key stores that stand on the left.
    pub(super) key_stores: Vec<KeyStore>,
    /// Whether there are others, which the search leaves out.
    pub(super) is_filtered: bool,
    /// What the key stores on the left were searched for.
    pub(super) searched: String,
    pub(super) key_store: KeyStore,
    pub(super) sub_tab: SubTab,
    pub(super) may_change: bool,
    /// Whether whoever looks may have the `.p12` of a certificate.
    pub(super) may_download: bool,
    /// Approval is on, and this is not where changes are asked for.
    pub(super) read_only: bool,
    /// In Key Store Management: what is open of the key store.
    pub(super) draft: Option<Draft>,
    /// Whether this is Key Store Management.
    pub(super) is_management: bool,
    /// What is open of which key store.
    open: HashMap<KeyStoreNumber, (RequestState, bool)>,
    zone: chrono_tz::Tz,
    /// `/projects/7/key-stores`.
    pub(super) stores_path: String,
    /// `/projects/7/key-stores/3`.
    pub(super) path: String,
}

impl Depository {
    /// Around a sub-tab of `key_store`, which a use case of the visitor's has answered.
    pub(super) async fn new(
        console: &Console,
        visitor: &Visitor,
        project: ProjectId,
        key_store: KeyStore,
        sub_tab: SubTab,
        asked: &Asked,
    ) -> Result<Self, Refusal> {
        let (all, open) = all(console, visitor, project).await?;
        let searched: String = asked.stores.trim().chars().take(crate::domain::listing::SEARCH_MAX_CHARS).collect();
        let count = all.len();
        let key_stores: Vec<_> = all.into_iter().filter(|known| is_found(known, &searched)).collect();
        let stores_path = visitor.door.stores(project);
        let draft = Draft::read(console, visitor, project, &key_store.number.to_string()).await?;
        // Nothing goes into a request, nor into a key store that is to be deleted.
        let takes_changes = draft.as_ref().is_none_or(|draft| draft.is_draft && draft.mark_of_store() != Some(Mark::Deleted));
        let state = |open: OpenRequest| {
            let (request, key_store) = (open.listed.request, open.listed.key_store);
            key_store.map(|(number, _)| (number, (request.state, request.new_key_store)))
        };
        Ok(Self {
            is_filtered: key_stores.len() < count,
            key_stores,
            searched,
            sub_tab,
            may_change: visitor.may_change(project) && takes_changes,
            may_download: visitor.is_admin_of(project),
            read_only: is_read_only(visitor),
            is_management: visitor.door == Door::Management,
            open: open.into_iter().filter_map(state).collect(),
            zone: console.settings.zone,
            path: format!("{stores_path}/{}", key_store.number),
            stores_path,
            key_store: draft.as_ref().map_or(key_store.clone(), |draft| draft.over_key_store(key_store)),
            draft,
        })
    }

    /// What a card says of a key store of which something is open.
    pub(super) fn badge_of(&self, key_store: &KeyStore) -> Option<(&'static str, &'static str)> {
        let t = &ENGLISH.approval;
        Some(match self.open.get(&key_store.number)? {
            (RequestState::Draft, true) => ("good", t.created),
            (RequestState::Draft, false) => ("warn", t.draft),
            (RequestState::Applying, _) => ("warn", t.applying),
            _ => ("warn", t.ready),
        })
    }

    /// What becomes of the key store.
    pub(super) fn mark(&self) -> Option<Mark> {
        self.draft.as_ref().and_then(Draft::mark_of_store)
    }

    /// Whether it is to come into being with its draft.
    pub(super) fn is_new(&self) -> bool {
        self.draft.as_ref().is_some_and(|draft| draft.is_new)
    }

    /// Shows keys as they are to be.
    pub(super) fn draft_over(&self, keys: &mut [ListedKey]) {
        if let Some(draft) = &self.draft {
            keys.iter_mut().for_each(|listed| draft.over_key(&mut listed.key));
        }
    }

    /// What becomes of a key.
    pub(super) fn mark_of(&self, key: &KeyId) -> Option<Mark> {
        self.draft.as_ref().and_then(|draft| draft.mark_of_key(*key))
    }

    /// Keys that are to come into being with the draft.
    pub(super) fn new_keys(&self) -> Vec<NewKey> {
        self.draft.as_ref().map(Draft::new_keys).unwrap_or_default()
    }

    /// Entries that are to come into being with the draft, as many as are shown, and how many there are.
    pub(super) fn new_clients(&self, method: Method) -> (Vec<NewClient>, usize) {
        self.draft.as_ref().map(|draft| draft.new_clients(method, self.zone)).unwrap_or_default()
    }

    /// Whether that sub-tab is the page's.
    pub(super) fn is_at(&self, sub_tab: SubTab) -> bool {
        self.sub_tab == sub_tab
    }

    /// Another key store's page, with the search kept.
    pub(super) fn path_of(&self, other: &KeyStore) -> String {
        let query = serde_urlencoded::to_string([("stores", &self.searched)]).unwrap_or_default();
        let kept = if self.searched.is_empty() { String::new() } else { format!("?{query}") };
        format!("{}/{}{kept}", self.stores_path, other.number)
    }
}

/// By name, description or ID, letters in either case.
fn is_found(key_store: &KeyStore, wanted: &str) -> bool {
    let wanted = wanted.to_lowercase();
    let texts = [key_store.name.as_str(), key_store.description.as_str(), &key_store.number.to_string()];
    texts.iter().any(|text| text.to_lowercase().contains(&wanted))
}

/// Whether nothing is changed through this door, since approval is on.
pub(super) fn is_read_only(visitor: &Visitor) -> bool {
    visitor.governed && visitor.door == Door::Depository
}

/// The project's key stores; in Key Store Management those too that are to come into being with drafts.
pub(super) async fn key_stores(console: &Console, visitor: &Visitor, project: ProjectId) -> Result<Vec<KeyStore>, Refusal> {
    Ok(all(console, visitor, project).await?.0)
}

/// The same, with what is open of them.
async fn all(console: &Console, visitor: &Visitor, project: ProjectId) -> Result<(Vec<KeyStore>, Vec<OpenRequest>), Refusal> {
    let mut all = Vec::new();
    if let KeyStoreListing::Details(mut pieces) = console.service.list_key_stores(visitor.about(project), Ok(true)).await? {
        while let Some(piece) = pieces.next().await? {
            all.extend(piece);
            if all.len() >= KEY_STORES_MAX {
                break;
            }
        }
    }
    let open = match visitor.door {
        Door::Depository => Vec::new(),
        Door::Management => console.service.open_requests(visitor.about(project)).await?,
    };
    let drafts = open.iter().filter(|open| open.listed.request.state == RequestState::Draft);
    all.extend(drafts.filter_map(|open| open.new_key_store.clone()));
    Ok((all, open))
}
