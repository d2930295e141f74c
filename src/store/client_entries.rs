//! Many client rules at once.

use super::dialect;
use super::error::StoreError;
use super::unit::Tx;
use crate::domain::client_checks::Method;
use crate::domain::ids::KeyStoreId;
use crate::domain::key::Stamp;
use crate::domain::text::Description;

/// An IPv4 or MAC entry to be inserted.
#[derive(Debug, Clone)]
pub struct NewClientEntry {
    /// A network with its prefix length, or a MAC address.
    pub value: String,
    /// What people say about it.
    pub description: Description,
}

impl Tx<'_> {
    /// Inserts IPv4 or MAC entries, `ACTIVE`; `Exists` if the key store has one of them.
    pub fn insert_client_entries(&mut self, key_store: KeyStoreId, method: Method, entries: &[NewClientEntry], created: &Stamp) -> Result<(), StoreError> {
        Ok(dialect::insert_client_entries(self.db, &dialect::EntryBatch { key_store: key_store.0, method: method.as_str(), entries, created })?)
    }
}
