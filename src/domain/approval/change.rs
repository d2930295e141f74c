//! What is to be changed, in the words in which it is kept, shown and hashed. Secrets are none of it: their sealed form is kept apart, and
//! counts by its hash.

use serde::{Deserialize, Serialize};

use crate::domain::account::{AccessKeyId, Role};
use crate::domain::audit::Operation;
use crate::domain::caller::CertFingerprint;
use crate::domain::client_checks::{ChecksPolicy, Method};
use crate::domain::clock::Timestamp;
use crate::domain::ids::{AccountId, KeyId, KeyStoreNumber, KeyVersion, ObjectId};
use crate::domain::key::{KeyKind, Origin, RotationPeriod};
use crate::domain::text::{Description, Name};

use super::ExpiryDays;

/// A value by its name, as it is shown and hashed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Field {
    /// What it is.
    pub name: String,
    /// Its value.
    pub value: String,
}

impl Field {
    /// A value by its name.
    pub fn new(name: &str, value: impl ToString) -> Self {
        Self { name: name.to_owned(), value: value.to_string() }
    }
}

/// What a change builds on: applied to anything else it would be another change.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Base {
    /// When what it touches was last changed; `None`: it isn't there yet, or a constraint of the store decides.
    pub changed: Option<Timestamp>,
    /// What it was, as it was shown.
    pub before: Vec<Field>,
}

/// An IPv4 or MAC entry to be registered, in the store's notation.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ProposedEntry {
    /// A network with its prefix length, or a MAC address.
    pub value: String,
    /// What people say about it.
    pub description: Description,
}

/// When a change's part in the token, or its sealed part, is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Made {
    /// There is none.
    Never,
    /// With the draft: a key from outside, the own key of a new key store. It is destroyed if nothing comes of it.
    AtOnce,
    /// Once it is approved: what the token generates.
    WhenApplied,
}

/// One change.
#[allow(missing_docs, reason = "a variant says what it is, and its fields are named after what they hold")]
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "SCREAMING_SNAKE_CASE", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum ProposedChange {
    /// A key store comes into being. Its row is there already, `PROVISIONING` under another name, and so is its own key.
    CreateKeyStore { number: KeyStoreNumber, name: Name, description: Description, checks: ChecksPolicy },
    /// All that people say about the key store is replaced.
    ReplaceKeyStore { name: Name, description: Description, checks: ChecksPolicy },
    /// The key store is deleted.
    DeleteKeyStore,
    /// A key comes into being.
    CreateKey { key: KeyId, key_kind: KeyKind, origin: Origin, name: Name, description: Description, rotation: RotationPeriod },
    /// A key gets another name, description or rotation period.
    ChangeKey { key: KeyId, name: Option<Name>, description: Option<Description>, rotation: Option<RotationPeriod> },
    /// Confidential data gets another value, and perhaps another name and description with it.
    ChangeSecret { key: KeyId, current: KeyVersion, name: Option<Name>, description: Option<Description> },
    /// A key gets a new current version.
    RotateKey { key: KeyId },
    /// A key is scheduled to be deleted.
    RequestKeyDeletion { key: KeyId },
    /// A key's deletion is called off.
    RestoreKey { key: KeyId },
    /// A key is deleted.
    DeleteKey { key: KeyId },
    /// A version is scheduled to be deleted.
    RequestVersionDeletion { key: KeyId, version: KeyVersion },
    /// A version's deletion is called off.
    RestoreVersion { key: KeyId, version: KeyVersion },
    /// A version is deleted.
    DeleteVersion { key: KeyId, version: KeyVersion },
    /// IPv4 or MAC entries are registered.
    AddClients { method: Method, entries: Vec<ProposedEntry> },
    /// A client certificate admits from now on. It is issued already; its `.p12`, if its key was made here, is sealed apart.
    AddCertificate {
        name: Name,
        description: Description,
        fingerprint: CertFingerprint,
        serial: String,
        not_after: Timestamp,
        issuer: KeyVersion,
        /// DER, hex: of one that was signed from a request, for whoever asked.
        certificate: Option<String>,
    },
    /// An entry is scheduled to be deleted.
    RequestClientDeletion { method: Method, value: String },
    /// An entry's deletion is called off.
    RestoreClient { method: Method, value: String },
    /// An entry is deleted.
    DeleteClient { method: Method, value: String },
    /// An account gets a role in the project.
    GrantRole { login: String, role: Role },
    /// A role of an account in the project is taken away.
    RevokeRole { login: String, role: Role },
    /// An account comes into being, with roles in the project. The first part of its first password, to be changed, is sealed apart; whoever
    /// approves gets the second.
    CreateAccount { login: String, roles: Vec<Role> },
    /// An account gets another password, to be changed, in two parts as well; its second factor is removed.
    ResetPassword { login: String },
    /// An account that was disabled may do again what its roles allow.
    EnableAccount { login: String },
    /// An access key may approve from now on, or no longer.
    SetMayApprove { access_key: AccessKeyId, allowed: bool },
    /// How long requests wait.
    ChangeGovernance { expiry: ExpiryDays },
    /// Changes need no approval any more.
    TurnApprovalOff,
}

impl ProposedChange {
    /// Under which operation the audit log has it.
    pub const fn operation(&self) -> Operation {
        match self {
            Self::CreateKeyStore { .. } => Operation::CreateKeyStore,
            Self::ReplaceKeyStore { .. } => Operation::ChangeKeyStore,
            Self::DeleteKeyStore => Operation::DeleteKeyStore,
            Self::CreateKey { key_kind: KeyKind::Secret, .. } | Self::CreateKey { origin: Origin::Generated, .. } => Operation::CreateKey,
            Self::CreateKey { origin: Origin::Imported, .. } => Operation::ImportKey,
            Self::ChangeKey { .. } => Operation::ChangeKey,
            Self::ChangeSecret { .. } => Operation::ChangeSecret,
            Self::RotateKey { .. } => Operation::RotateKey,
            Self::RequestKeyDeletion { .. } => Operation::RequestKeyDeletion,
            Self::RestoreKey { .. } => Operation::RestoreKey,
            Self::DeleteKey { .. } => Operation::DeleteKey,
            Self::RequestVersionDeletion { .. } => Operation::RequestVersionDeletion,
            Self::RestoreVersion { .. } => Operation::RestoreVersion,
            Self::DeleteVersion { .. } => Operation::DeleteVersion,
            Self::AddClients { .. } | Self::AddCertificate { .. } => Operation::CreateClientRule,
            Self::RequestClientDeletion { .. } => Operation::RevokeClientRule,
            Self::RestoreClient { .. } => Operation::RestoreClientRule,
            Self::DeleteClient { .. } => Operation::DeleteClientRule,
            Self::GrantRole { .. } => Operation::GrantRole,
            Self::RevokeRole { .. } => Operation::RevokeRole,
            Self::CreateAccount { .. } => Operation::CreateAccount,
            Self::ResetPassword { .. } | Self::EnableAccount { .. } => Operation::ChangeAccount,
            Self::SetMayApprove { .. } => Operation::SetMayApprove,
            Self::ChangeGovernance { .. } => Operation::ChangeGovernance,
            Self::TurnApprovalOff => Operation::TurnApprovalOff,
        }
    }

    /// Whether it is about the project itself, not a key store.
    pub const fn is_of_project(&self) -> bool {
        matches!(
            self,
            Self::GrantRole { .. }
                | Self::RevokeRole { .. }
                | Self::CreateAccount { .. }
                | Self::ResetPassword { .. }
                | Self::EnableAccount { .. }
                | Self::SetMayApprove { .. }
                | Self::ChangeGovernance { .. }
                | Self::TurnApprovalOff
        )
    }

    /// When its part in the token is made.
    pub const fn made(&self) -> Made {
        match self {
            Self::CreateKeyStore { .. } => Made::AtOnce,
            Self::CreateKey { key_kind: KeyKind::Secret, .. } => Made::Never,
            Self::CreateKey { origin: Origin::Imported, .. } => Made::AtOnce,
            Self::CreateKey { origin: Origin::Generated, .. } | Self::RotateKey { .. } => Made::WhenApplied,
            _ => Made::Never,
        }
    }

    /// Whose password it sets, if it sets one.
    pub fn password_of(&self) -> Option<&str> {
        match self {
            Self::CreateAccount { login, .. } | Self::ResetPassword { login } => Some(login),
            _ => None,
        }
    }

    /// The key that it is about.
    pub const fn key(&self) -> Option<KeyId> {
        match self {
            Self::CreateKey { key, .. }
            | Self::ChangeKey { key, .. }
            | Self::ChangeSecret { key, .. }
            | Self::RotateKey { key }
            | Self::RequestKeyDeletion { key }
            | Self::RestoreKey { key }
            | Self::DeleteKey { key }
            | Self::RequestVersionDeletion { key, .. }
            | Self::RestoreVersion { key, .. }
            | Self::DeleteVersion { key, .. } => Some(*key),
            _ => None,
        }
    }

    /// The version that it is about, where that is known before it is applied.
    pub const fn version(&self) -> Option<KeyVersion> {
        match self {
            Self::CreateKey { .. } => Some(KeyVersion::FIRST),
            Self::ChangeSecret { current, .. } => current.next(),
            Self::RequestVersionDeletion { version, .. } | Self::RestoreVersion { version, .. } | Self::DeleteVersion { version, .. } => Some(*version),
            _ => None,
        }
    }

    /// All that it says, by names that are published: what an approver sees, and what is hashed.
    pub fn after(&self) -> Vec<Field> {
        let mut fields = Vec::new();
        let mut add = |name: &str, value: &dyn ToString| fields.push(Field::new(name, value.to_string()));
        if let Some(key) = self.key() {
            add("keyId", &key);
        }
        match self {
            Self::CreateKeyStore { number, name, description, checks } => {
                add("keyStoreId", number);
                fields.extend(key_store_fields(name, description, *checks));
            }
            Self::ReplaceKeyStore { name, description, checks } => fields.extend(key_store_fields(name, description, *checks)),
            Self::CreateKey { key_kind, origin, name, description, rotation, .. } => {
                add("keyType", key_kind);
                // Confidential data is neither made in the token nor rotated by itself.
                let is_key = *key_kind != KeyKind::Secret;
                if is_key {
                    add("origin", &origin.as_str());
                }
                add("name", name);
                add("description", &description.as_str());
                if is_key {
                    add("autoRotationPeriod", &rotation.days());
                }
            }
            Self::ChangeKey { name, description, rotation, .. } => {
                name.iter().for_each(|name| add("name", name));
                description.iter().for_each(|description| add("description", &description.as_str()));
                rotation.iter().for_each(|rotation| add("autoRotationPeriod", &rotation.days()));
            }
            Self::ChangeSecret { current, name, description, .. } => {
                add("keyVersion", &current.next().unwrap_or(KeyVersion::MAX));
                name.iter().for_each(|name| add("name", name));
                description.iter().for_each(|description| add("description", &description.as_str()));
            }
            Self::RequestVersionDeletion { version, .. } | Self::RestoreVersion { version, .. } | Self::DeleteVersion { version, .. } => {
                add("keyVersion", version);
            }
            Self::AddClients { method, entries } => {
                add("method", &method.as_str());
                for entry in entries {
                    add("value", &entry.value);
                    add("description", &entry.description.as_str());
                }
            }
            Self::AddCertificate { name, description, fingerprint, serial, not_after, issuer, certificate } => {
                add("method", &Method::Certificate.as_str());
                add("name", name);
                add("description", &description.as_str());
                add("fingerprint", fingerprint);
                add("serial", serial);
                add("notAfterMicros", &not_after.micros());
                add("authority", issuer);
                add("fromSigningRequest", &certificate.is_some());
            }
            Self::RequestClientDeletion { method, value } | Self::RestoreClient { method, value } | Self::DeleteClient { method, value } => {
                add("method", &method.as_str());
                add("value", value);
            }
            Self::GrantRole { login, role } | Self::RevokeRole { login, role } => {
                add("login", login);
                add("role", &role.as_str());
            }
            Self::CreateAccount { login, roles } => {
                add("login", login);
                roles.iter().for_each(|role| add("role", &role.as_str()));
            }
            Self::ResetPassword { login } => {
                add("login", login);
                add("password", &"NEW");
            }
            Self::EnableAccount { login } => {
                add("login", login);
                add("enabled", &true);
            }
            Self::SetMayApprove { access_key, allowed } => {
                add("accessKeyId", access_key);
                add("mayApprove", allowed);
            }
            Self::ChangeGovernance { expiry } => add("expiryDays", &expiry.days()),
            Self::DeleteKeyStore
            | Self::RotateKey { .. }
            | Self::RequestKeyDeletion { .. }
            | Self::RestoreKey { .. }
            | Self::DeleteKey { .. }
            | Self::TurnApprovalOff => {}
        }
        fields
    }
}

/// What people say about a key store, as it is shown and hashed.
pub(super) fn key_store_fields(name: &Name, description: &Description, checks: ChecksPolicy) -> Vec<Field> {
    let mut fields = vec![Field::new("name", name), Field::new("description", description.as_str())];
    fields.extend(Method::ALL.into_iter().filter(|method| checks.uses(*method)).map(|method| Field::new("check", method.as_str())));
    fields.push(Field::new("authMode", checks.mode().as_str()));
    fields
}

impl Base {
    /// What a key store was, as it is shown.
    pub fn key_store(changed: Timestamp, name: &Name, description: &Description, checks: ChecksPolicy) -> Self {
        Self { changed: Some(changed), before: key_store_fields(name, description, checks) }
    }
}

/// One change of a draft or request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ChangeItem {
    /// Its place, from 0: in which order changes are applied. Never given twice.
    pub position: u32,
    /// The change.
    pub change: ProposedChange,
    /// What it builds on.
    pub base: Base,
    /// The SHA-256 of its sealed part.
    pub sealed_hash: Option<[u8; 32]>,
    /// Its object in the token.
    pub object: Option<ObjectId>,
    /// Who put it there.
    pub editor: AccountId,
    /// That account's login name.
    pub editor_login: String,
    /// When.
    pub edited: Timestamp,
}
