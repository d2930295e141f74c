//! A change that is asked for, with what is made for it at once.

use crate::domain::approval::{ProposedChange, ProposedEntry};
use crate::domain::client_checks::{Method, RuleValue};
use crate::domain::clock::Timestamp;
use crate::domain::ids::{KeyStoreId, KeyVersion};
use crate::domain::text::{Description, Name};
use crate::service::client_rules::Certified;
use crate::service::import_key::WrappedKey;
use crate::service::key_access::KeyAccess;
use crate::service::provisioning::NewMaterial;
use crate::store::{NewClientEntry, PlannedObject};

/// What is made in the token at once.
#[derive(Debug, Clone)]
pub(super) enum Material {
    /// Nothing, or what comes sealed.
    None,
    /// A key from outside.
    Key(NewMaterial),
    /// A key from outside that only the token unwraps.
    Wrapped(WrappedKey),
    /// It is there already: a new key store's own key.
    There(PlannedObject),
}

/// A change that is asked for.
#[derive(Debug, Clone)]
pub(in crate::service) struct Proposal {
    /// The key store that it changes; none of what is about the project itself.
    pub(super) key_store: Option<KeyStoreId>,
    /// The change.
    pub(super) change: ProposedChange,
    /// When what it touches was last changed as far as the caller knows.
    pub(super) seen: Option<Timestamp>,
    /// Its sealed part.
    pub(super) sealed: Option<Vec<u8>>,
    /// What is made for it.
    pub(super) material: Material,
}

impl Proposal {
    /// A change of a key store.
    pub(in crate::service) const fn of(key_store: KeyStoreId, change: ProposedChange) -> Self {
        Self { key_store: Some(key_store), change, seen: None, sealed: None, material: Material::None }
    }

    /// A change of a key.
    pub(in crate::service) fn of_key(access: &KeyAccess, change: ProposedChange) -> Self {
        Self::of(access.key_store.key_store.id, change)
    }

    /// A change of the project itself.
    pub(super) const fn of_project(change: ProposedChange) -> Self {
        Self { key_store: None, change, seen: None, sealed: None, material: Material::None }
    }

    /// A new client; of one that is certified by request, with the certificate's DER.
    pub(in crate::service) fn of_rule(
        key_store: KeyStoreId,
        value: RuleValue,
        description: Description,
        certified: Option<Certified>,
        certificate: Option<&[u8]>,
    ) -> Self {
        let entry = |method, value: String, description| ProposedChange::AddClients { method, entries: vec![ProposedEntry { value, description }] };
        match value {
            RuleValue::Ipv4(net) => Self::of(key_store, entry(Method::Ipv4, net.to_string(), description)),
            RuleValue::Mac(mac) => Self::of(key_store, entry(Method::Mac, mac.to_string(), description)),
            RuleValue::Certificate { name, fingerprint, serial, not_after } => {
                let issuer = certified.as_ref().map_or(KeyVersion::FIRST, |certified| certified.issuer);
                let (name, certificate) = (Name::from_stored(name), certificate.map(hex::encode));
                let change = ProposedChange::AddCertificate { name, description, fingerprint, serial, not_after, issuer, certificate };
                Self { sealed: certified.and_then(|certified| certified.sealed_p12), ..Self::of(key_store, change) }
            }
        }
    }

    /// New clients.
    pub(in crate::service) fn of_entries(key_store: KeyStoreId, method: Method, entries: &[NewClientEntry]) -> Self {
        let entries = entries.iter().map(|entry| ProposedEntry { value: entry.value.clone(), description: entry.description.clone() }).collect();
        Self::of(key_store, ProposedChange::AddClients { method, entries })
    }

    /// With what the caller knows of it.
    pub(in crate::service) fn seen(self, seen: Option<Timestamp>) -> Self {
        Self { seen, ..self }
    }

    /// With a sealed part.
    pub(in crate::service) fn sealed(self, sealed: Vec<u8>) -> Self {
        Self { sealed: Some(sealed), ..self }
    }

    /// With what is made in the token.
    pub(super) fn made_of(self, material: Material) -> Self {
        Self { material, ..self }
    }
}
