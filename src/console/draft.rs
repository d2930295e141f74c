//! What is open of a key store, as its pages in Key Store Management show it: the changes of its draft, each at what it changes, or that
//! somebody has asked for them and nothing goes into it now.

use super::Console;
use super::door::Door;
use super::shown;
use super::text::ENGLISH;
use super::visitor::Visitor;
use crate::domain::approval::{ChangeItem, ProposedChange, RequestState};
use crate::domain::client_checks::Method;
use crate::domain::ids::{KeyId, KeyVersion, ProjectId};
use crate::domain::key::{Key, KeyKind, Origin};
use crate::domain::key_store::KeyStore;
use crate::service::{Refusal, RequestDetails};

/// The most new entries of a draft that stand in a list; its request shows them all.
const NEW_CLIENTS_MAX: usize = 100;

/// What becomes of something, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Mark {
    Created,
    Modified,
    DeletionScheduled,
    Deleted,
}

impl Mark {
    pub(super) fn of(change: &ProposedChange) -> Self {
        match change {
            ProposedChange::CreateKeyStore { .. }
            | ProposedChange::CreateKey { .. }
            | ProposedChange::AddClients { .. }
            | ProposedChange::AddCertificate { .. }
            | ProposedChange::GrantRole { .. }
            | ProposedChange::CreateAccount { .. } => Self::Created,
            ProposedChange::ReplaceKeyStore { .. }
            | ProposedChange::ChangeKey { .. }
            | ProposedChange::ChangeSecret { .. }
            | ProposedChange::RotateKey { .. }
            | ProposedChange::RestoreKey { .. }
            | ProposedChange::RestoreVersion { .. }
            | ProposedChange::RestoreClient { .. }
            | ProposedChange::ResetPassword { .. }
            | ProposedChange::EnableAccount { .. }
            | ProposedChange::SetMayApprove { .. }
            | ProposedChange::ChangeGovernance { .. }
            | ProposedChange::TurnApprovalOff => Self::Modified,
            ProposedChange::RequestKeyDeletion { .. } | ProposedChange::RequestVersionDeletion { .. } | ProposedChange::RequestClientDeletion { .. } => {
                Self::DeletionScheduled
            }
            ProposedChange::DeleteKeyStore
            | ProposedChange::DeleteKey { .. }
            | ProposedChange::DeleteVersion { .. }
            | ProposedChange::DeleteClient { .. }
            | ProposedChange::RevokeRole { .. } => Self::Deleted,
        }
    }

    pub(super) fn class(self) -> &'static str {
        match self {
            Self::Created => "good",
            Self::Modified | Self::DeletionScheduled => "warn",
            Self::Deleted => "bad",
        }
    }

    pub(super) fn word(self) -> &'static str {
        let t = &ENGLISH.approval;
        match self {
            Self::Created => t.created,
            Self::Modified => t.modified,
            Self::DeletionScheduled => t.deletion_scheduled,
            Self::Deleted => t.deleted,
        }
    }
}

/// What a change does.
pub(super) fn told(change: &ProposedChange) -> &'static str {
    let t = &ENGLISH.approval;
    match change {
        ProposedChange::CreateKeyStore { .. } => ENGLISH.key_stores.add,
        ProposedChange::ReplaceKeyStore { .. } => ENGLISH.key_stores.edit,
        ProposedChange::DeleteKeyStore => ENGLISH.key_stores.delete,
        ProposedChange::CreateKey { origin: Origin::Imported, .. } => ENGLISH.keys.import,
        ProposedChange::CreateKey { key_kind: KeyKind::Secret, .. } => ENGLISH.keys.add_confidential_data,
        ProposedChange::CreateKey { key_kind: KeyKind::Symmetric, .. } => ENGLISH.keys.add_symmetric_key,
        ProposedChange::CreateKey { key_kind: KeyKind::Asymmetric, .. } => ENGLISH.keys.add_asymmetric_key,
        ProposedChange::ChangeKey { .. } => ENGLISH.keys.edit,
        ProposedChange::ChangeSecret { .. } => t.change_secret,
        ProposedChange::RotateKey { .. } => ENGLISH.keys.rotate,
        ProposedChange::RequestKeyDeletion { .. } => t.request_key_deletion,
        ProposedChange::RestoreKey { .. } => t.restore_key,
        ProposedChange::DeleteKey { .. } => t.delete_key,
        ProposedChange::RequestVersionDeletion { .. } => t.request_version_deletion,
        ProposedChange::RestoreVersion { .. } => t.restore_version,
        ProposedChange::DeleteVersion { .. } => t.delete_version,
        ProposedChange::AddClients { method: Method::Mac, .. } => ENGLISH.clients.add_mac,
        ProposedChange::AddClients { .. } => ENGLISH.clients.add_ipv4,
        ProposedChange::AddCertificate { .. } => ENGLISH.clients.add_certificate,
        ProposedChange::RequestClientDeletion { .. } => t.request_client_deletion,
        ProposedChange::RestoreClient { .. } => t.restore_client,
        ProposedChange::DeleteClient { .. } => t.delete_client,
        ProposedChange::GrantRole { .. } => t.grant_role,
        ProposedChange::RevokeRole { .. } => t.revoke_role,
        ProposedChange::CreateAccount { .. } => t.create_account,
        ProposedChange::ResetPassword { .. } => t.reset_password,
        ProposedChange::EnableAccount { .. } => t.enable_account,
        ProposedChange::SetMayApprove { allowed: true, .. } => t.may_approve,
        ProposedChange::SetMayApprove { allowed: false, .. } => t.may_not_approve,
        ProposedChange::ChangeGovernance { .. } => t.change_expiry,
        ProposedChange::TurnApprovalOff => t.turn_off,
    }
}

/// An entry's value as it is shown: one address without its `/32`.
pub(super) fn shown_client(method: Method, value: &str) -> &str {
    if method == Method::Ipv4 { value.strip_suffix("/32").unwrap_or(value) } else { value }
}

/// What a change is about: a name, or the value of an entry.
pub(super) fn subject(item: &ChangeItem) -> String {
    let t = &ENGLISH.approval;
    let before = || item.base.before.iter().find(|field| field.name == "name").map(|field| field.value.clone()).unwrap_or_default();
    match &item.change {
        ProposedChange::CreateKeyStore { name, .. } | ProposedChange::CreateKey { name, .. } | ProposedChange::AddCertificate { name, .. } => name.to_string(),
        ProposedChange::RequestVersionDeletion { version, .. }
        | ProposedChange::RestoreVersion { version, .. }
        | ProposedChange::DeleteVersion { version, .. } => {
            format!("{}, {} {version}", before(), ENGLISH.keys.version)
        }
        ProposedChange::AddClients { method, entries } => match entries.as_slice() {
            [one] => shown_client(*method, &one.value).to_owned(),
            many => format!("{} {}", many.len(), t.entries),
        },
        ProposedChange::RequestClientDeletion { method, value }
        | ProposedChange::RestoreClient { method, value }
        | ProposedChange::DeleteClient { method, value } => shown_client(*method, value).to_owned(),
        ProposedChange::GrantRole { login, role } | ProposedChange::RevokeRole { login, role } => format!("{login}, {}", role.as_str()),
        ProposedChange::CreateAccount { login, .. } | ProposedChange::ResetPassword { login } | ProposedChange::EnableAccount { login } => login.clone(),
        ProposedChange::SetMayApprove { access_key, .. } => access_key.to_string(),
        ProposedChange::ChangeGovernance { expiry } => format!("{} {}", expiry.days(), ENGLISH.keys.days),
        ProposedChange::TurnApprovalOff => String::new(),
        _ => before(),
    }
}

/// A change of a draft.
#[derive(Debug, Clone)]
pub(super) struct DraftedChange {
    pub(super) mark: Mark,
    pub(super) told: &'static str,
    pub(super) subject: String,
    pub(super) editor: String,
    pub(super) key: Option<KeyId>,
    pub(super) version: Option<KeyVersion>,
    /// Whether it is about one version rather than the key.
    pub(super) is_of_version: bool,
    /// Whether it makes a new version of a key.
    pub(super) rotates: bool,
    /// Whether it calls the deletion of a key off.
    pub(super) restores: bool,
    /// The address where it is taken out of the draft; none once it was asked for.
    pub(super) withdraw: Option<String>,
}

impl DraftedChange {
    fn new(item: &ChangeItem, path: &str, is_draft: bool) -> Self {
        let is_of_version =
            matches!(item.change, ProposedChange::RequestVersionDeletion { .. } | ProposedChange::RestoreVersion { .. } | ProposedChange::DeleteVersion { .. });
        Self {
            mark: Mark::of(&item.change),
            told: told(&item.change),
            subject: subject(item),
            editor: item.editor_login.clone(),
            key: item.change.key(),
            version: item.change.version(),
            is_of_version,
            rotates: matches!(item.change, ProposedChange::RotateKey { .. }),
            restores: matches!(item.change, ProposedChange::RestoreKey { .. }),
            withdraw: is_draft.then(|| format!("{path}/changes/{}/withdraw", item.position)),
        }
    }
}

/// A key that is to come into being.
#[derive(Debug)]
pub(super) struct NewKey {
    pub(super) id: KeyId,
    pub(super) kind: &'static str,
    pub(super) name: String,
    pub(super) description: String,
    pub(super) drafted: DraftedChange,
}

/// An entry that is to come into being.
#[derive(Debug)]
pub(super) struct NewClient {
    pub(super) value: String,
    pub(super) description: String,
    pub(super) expires: Option<String>,
    /// The address of the `.p12`, for a certificate that has one.
    pub(super) p12: Option<String>,
    pub(super) drafted: DraftedChange,
}

/// The open draft or request of a key store.
#[derive(Debug)]
pub(super) struct Draft {
    /// `/projects/7/approvals/ID`.
    pub(super) path: String,
    /// As it is shown: whoever asks for it asks for no other.
    pub(super) revision: u32,
    /// Whether it is still a draft, into which changes go.
    pub(super) is_draft: bool,
    /// Whether the key store comes into being with it.
    pub(super) is_new: bool,
    /// Who asked, and when.
    pub(super) requester: String,
    pub(super) requested: Option<String>,
    pub(super) expires: String,
    pub(super) changes: Vec<DraftedChange>,
    items: Vec<ChangeItem>,
}

impl Draft {
    /// What is open of a key store; through the other door there is no draft.
    pub(super) async fn read(console: &Console, visitor: &Visitor, project: ProjectId, store: &str) -> Result<Option<Self>, Refusal> {
        if visitor.door == Door::Depository {
            return Ok(None);
        }
        let open = console.service.open_request(visitor.about(project), store.to_owned()).await?;
        Ok(open.map(|details| Self::new(console, project, details)))
    }

    fn new(console: &Console, project: ProjectId, details: RequestDetails) -> Self {
        let request = details.listed.request;
        let (path, is_draft) = (format!("/projects/{project}/approvals/{}", request.id), request.state == RequestState::Draft);
        let changes = details.changes.iter().map(|item| DraftedChange::new(item, &path, is_draft)).collect();
        Self {
            path,
            revision: request.revision,
            is_draft,
            is_new: request.new_key_store,
            requester: request.requester_login,
            requested: request.requested.map(|at| shown::date(console, at)),
            expires: shown::date(console, request.expires),
            changes,
            items: details.changes,
        }
    }

    fn with_changes(&self) -> impl Iterator<Item = (&ChangeItem, &DraftedChange)> {
        self.items.iter().zip(&self.changes)
    }

    /// A key as it is to be.
    pub(super) fn over_key(&self, key: &mut Key) {
        for item in self.items.iter().filter(|item| item.change.key() == Some(key.id)) {
            let (name, description, rotation) = match &item.change {
                ProposedChange::ChangeKey { name, description, rotation, .. } => (name, description, *rotation),
                ProposedChange::ChangeSecret { name, description, .. } => (name, description, None),
                _ => continue,
            };
            if let Some(name) = name {
                key.name = name.clone();
            }
            if let Some(description) = description {
                key.description = description.clone();
            }
            key.rotation = rotation.unwrap_or(key.rotation);
        }
    }

    /// The key store as it is to be.
    pub(super) fn over_key_store(&self, key_store: KeyStore) -> KeyStore {
        self.items.iter().fold(key_store, |key_store, item| match &item.change {
            ProposedChange::ReplaceKeyStore { name, description, checks } => {
                KeyStore { name: name.clone(), description: description.clone(), checks: *checks, ..key_store }
            }
            _ => key_store,
        })
    }

    /// What becomes of the key store itself.
    pub(super) fn mark_of_store(&self) -> Option<Mark> {
        let of_store = self.items.iter().filter(|item| {
            matches!(item.change, ProposedChange::CreateKeyStore { .. } | ProposedChange::ReplaceKeyStore { .. } | ProposedChange::DeleteKeyStore)
        });
        of_store.map(|item| Mark::of(&item.change)).max()
    }

    /// What becomes of a key; what happens to its versions modifies it.
    pub(super) fn mark_of_key(&self, key: KeyId) -> Option<Mark> {
        let of_key = self.changes.iter().filter(|change| change.key == Some(key));
        of_key.map(|change| if change.is_of_version { Mark::Modified } else { change.mark }).max()
    }

    /// Whether the key comes to its end, so that nothing else can be done to it.
    pub(super) fn ends_key(&self, key: KeyId) -> bool {
        self.mark_of_key(key) >= Some(Mark::DeletionScheduled)
    }

    /// Keys that are to come into being.
    pub(super) fn new_keys(&self) -> Vec<NewKey> {
        let new = |(item, drafted): (&ChangeItem, &DraftedChange)| match &item.change {
            ProposedChange::CreateKey { key, key_kind, name, description, .. } => Some(NewKey {
                id: *key,
                kind: super::keys::kind(*key_kind),
                name: name.to_string(),
                description: description.as_str().to_owned(),
                drafted: drafted.clone(),
            }),
            _ => None,
        };
        self.with_changes().filter_map(new).collect()
    }

    /// What is done to an entry that is there, by its value as it is shown.
    pub(super) fn change_of_client(&self, of: Method, value: &str) -> Option<&DraftedChange> {
        let is_of = |item: &ChangeItem| match &item.change {
            ProposedChange::RequestClientDeletion { method, value: kept }
            | ProposedChange::RestoreClient { method, value: kept }
            | ProposedChange::DeleteClient { method, value: kept } => *method == of && shown_client(of, kept) == value,
            _ => false,
        };
        self.with_changes().filter(|(item, _)| is_of(item)).map(|(_, drafted)| drafted).last()
    }

    /// Entries that are to come into being, as many as are shown, and how many there are.
    pub(super) fn new_clients(&self, of: Method, zone: chrono_tz::Tz) -> (Vec<NewClient>, usize) {
        let mut new: Vec<NewClient> = Vec::new();
        let mut total = 0_usize;
        for (item, drafted) in self.with_changes() {
            match &item.change {
                ProposedChange::AddClients { method, entries } if *method == of => {
                    total = total.saturating_add(entries.len());
                    let free = NEW_CLIENTS_MAX.saturating_sub(new.len());
                    new.extend(entries.iter().take(free).map(|entry| NewClient {
                        value: shown_client(of, &entry.value).to_owned(),
                        description: entry.description.as_str().to_owned(),
                        expires: None,
                        p12: None,
                        drafted: drafted.clone(),
                    }));
                }
                ProposedChange::AddCertificate { name, description, not_after, certificate, .. } if of == Method::Certificate => {
                    total = total.saturating_add(1);
                    new.push(NewClient {
                        value: name.to_string(),
                        description: description.as_str().to_owned(),
                        expires: Some(super::account::shown_time(zone, *not_after)),
                        p12: certificate.is_none().then(|| format!("{}/changes/{}/download", self.path, item.position)),
                        drafted: drafted.clone(),
                    });
                }
                _ => {}
            }
        }
        (new, total)
    }
}
