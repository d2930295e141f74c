//! What the pages of one key store share: the key stores beside it, its name and menu, its sub-tabs.

use super::Console;
use super::list::Asked;
use super::visitor::Visitor;
use crate::domain::ids::ProjectId;
use crate::domain::key_store::KeyStore;
use crate::service::{KeyStoreListing, Refusal};

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
        let all = key_stores(console, visitor, project).await?;
        let searched: String = asked.stores.trim().chars().take(crate::domain::listing::SEARCH_MAX_CHARS).collect();
        let count = all.len();
        let key_stores: Vec<_> = all.into_iter().filter(|known| is_found(known, &searched)).collect();
        let stores_path = format!("/projects/{project}/key-stores");
        let path = format!("{stores_path}/{}", key_store.number);
        let (may_change, is_filtered) = (visitor.may_change(project), key_stores.len() < count);
        Ok(Self { key_stores, is_filtered, searched, key_store, sub_tab, may_change, stores_path, path })
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

/// The project's key stores.
pub(super) async fn key_stores(console: &Console, visitor: &Visitor, project: ProjectId) -> Result<Vec<KeyStore>, Refusal> {
    let mut all = Vec::new();
    if let KeyStoreListing::Details(mut pieces) = console.service.list_key_stores(visitor.about(project), Ok(true)).await? {
        while let Some(piece) = pieces.next().await? {
            all.extend(piece);
            if all.len() >= KEY_STORES_MAX {
                break;
            }
        }
    }
    Ok(all)
}
