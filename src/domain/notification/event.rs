//! What is told: the kinds of events, and what is said of each.

use crate::domain::clock::Timestamp;
use crate::domain::ids::{KeyId, KeyVersion};
use crate::domain::text::Name;

/// Who may want to hear of an event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Audience {
    /// Recipients of the project in which it happens.
    Project,
    /// Recipients of the installation.
    Installation,
    /// Both.
    Both,
}

macro_rules! events {
    ($($(#[$doc:meta])* $name:ident => $word:literal, $audience:ident;)*) => {
        /// The kinds of events.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum EventKind {
            $($(#[$doc])* $name),*
        }

        impl EventKind {
            /// All that a recipient can choose.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The word for it; never changed once published.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $word),*
                }
            }

            /// Who may want to hear of it.
            pub const fn audience(self) -> Audience {
                match self {
                    $(Self::$name => Audience::$audience),*
                }
            }
        }
    };
}

events! {
    /// Somebody asks for the approval of a change.
    ApprovalRequested => "APPROVAL_REQUESTED", Project;
    /// A request for approval was decided, or has come to another end.
    ApprovalDecided => "APPROVAL_DECIDED", Project;
    /// Approval was turned off in an emergency.
    ApprovalDisabled => "APPROVAL_DISABLED", Both;
    /// Somebody asked for a deletion.
    DeletionScheduled => "DELETION_SCHEDULED", Project;
    /// A deletion comes due within 24 hours.
    DeletionDueSoon => "DELETION_DUE_SOON", Project;
    /// Something was deleted.
    Deleted => "DELETED", Project;
    /// A key has a new current version.
    Rotated => "ROTATED", Project;
    /// A key that was to rotate could not.
    RotationFailed => "ROTATION_FAILED", Project;
    /// A client's certificate expires soon.
    CertificateExpires => "CERTIFICATE_EXPIRES", Project;
    /// A key nears the limit of its use.
    KeyNearUseLimit => "KEY_NEAR_USE_LIMIT", Both;
    /// A server's certificate expires soon.
    ServerCertificateExpires => "SERVER_CERTIFICATE_EXPIRES", Installation;
    /// An internal certificate authority expires soon.
    AuthorityExpires => "AUTHORITY_EXPIRES", Installation;
    /// The token can't be used.
    TokenTrouble => "TOKEN_TROUBLE", Installation;
    /// The token can be used again.
    TokenRecovered => "TOKEN_RECOVERED", Installation;
    /// The audit log can't be written, or could not be for a while.
    AuditTrouble => "AUDIT_TROUBLE", Installation;
    /// Somebody who fails to sign in has to wait.
    SignInLockedOut => "SIGN_IN_LOCKED_OUT", Installation;
}

impl EventKind {
    /// The kind that `word` names.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.as_str() == word)
    }

    /// Whether nobody should miss it because too much else waits to be sent.
    pub const fn is_alarm(self) -> bool {
        matches!(self, Self::ApprovalDisabled | Self::TokenTrouble | Self::TokenRecovered | Self::AuditTrouble)
    }

    /// Whether recipients of a project (or else of the installation) may hear of it.
    pub const fn is_for(self, project: bool) -> bool {
        match self.audience() {
            Audience::Project => project,
            Audience::Installation => !project,
            Audience::Both => true,
        }
    }
}

/// What an event is about: a key, a version of it, a key store, a client entry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Subject {
    /// `key`, `key version`, `key store`, `client entry`.
    pub what: &'static str,
    /// The key.
    pub key: Option<KeyId>,
    /// Which version of it.
    pub version: Option<KeyVersion>,
    /// Its name, or the value of a client entry as it is shown.
    pub name: String,
    /// The key store it is in.
    pub key_store: Option<Name>,
}

/// Something that people want to hear of. Names, IDs, times and who did it; never data.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NotificationEvent {
    /// Somebody asks for the approval of a change.
    ApprovalRequested {
        /// The request's ID.
        request: String,
        /// The key store it is about.
        key_store: Option<Name>,
        /// Who asks.
        by: String,
    },
    /// A request for approval was decided, or has come to another end.
    ApprovalDecided {
        /// The request's ID.
        request: String,
        /// The key store it is about.
        key_store: Option<Name>,
        /// What became of it, in the product's word: `Approved`, `Denied` …
        outcome: &'static str,
        /// Who decided.
        by: String,
        /// Who had asked.
        requested_by: String,
    },
    /// Approval was turned off in an emergency.
    ApprovalDisabled {
        /// By whom.
        by: String,
    },
    /// Somebody asked for a deletion.
    DeletionScheduled {
        /// Of what.
        what: Subject,
        /// When it is due.
        due: Timestamp,
        /// Who asked.
        by: String,
    },
    /// A deletion comes due within 24 hours.
    DeletionDueSoon {
        /// Of what.
        what: Subject,
        /// When it is due.
        due: Timestamp,
    },
    /// Something was deleted.
    Deleted {
        /// What.
        what: Subject,
        /// By whom.
        by: String,
    },
    /// A key has a new current version.
    Rotated {
        /// The key and its new version.
        what: Subject,
        /// By whom.
        by: String,
    },
    /// A key that was to rotate could not.
    RotationFailed {
        /// The key.
        what: Subject,
    },
    /// A client's certificate expires soon.
    CertificateExpires {
        /// The entry.
        what: Subject,
        /// When.
        not_after: Timestamp,
    },
    /// A key nears the limit of its use.
    KeyNearUseLimit {
        /// The key and its version.
        what: Subject,
    },
    /// A server's certificate expires soon.
    ServerCertificateExpires {
        /// The node that serves with it.
        node: String,
        /// When.
        not_after: Timestamp,
    },
    /// An internal certificate authority expires soon.
    AuthorityExpires {
        /// Its number, from 1.
        authority: u32,
        /// When.
        not_after: Timestamp,
    },
    /// The token can't be used.
    TokenTrouble {
        /// The node that can't.
        node: String,
    },
    /// The token can be used again.
    TokenRecovered {
        /// The node that can.
        node: String,
        /// Since when it could not.
        since: Timestamp,
    },
    /// The audit log can't be written, or could not be for a while.
    AuditTrouble {
        /// The node that can't.
        node: String,
        /// Since when.
        since: Timestamp,
        /// Until when; none while it lasts.
        until: Option<Timestamp>,
    },
    /// Somebody who fails to sign in has to wait.
    SignInLockedOut {
        /// The login name, where it can be one.
        login: String,
        /// From where.
        address: String,
    },
}

/// A fact of a message: its name on the wire, and its value.
pub type Fact = (&'static str, FactValue);

/// The value of a fact.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FactValue {
    /// A name, an ID, a number.
    Text(String),
    /// A point in time.
    Time(Timestamp),
}

impl From<&String> for FactValue {
    fn from(text: &String) -> Self {
        Self::Text(text.clone())
    }
}

impl From<Timestamp> for FactValue {
    fn from(time: Timestamp) -> Self {
        Self::Time(time)
    }
}

impl Subject {
    fn facts(&self) -> Vec<Fact> {
        let text = |name, value: Option<String>| value.map(|value| (name, FactValue::Text(value)));
        let facts = [
            text("what", Some(self.what.to_owned())),
            text("name", Some(self.name.clone())),
            text("keyId", self.key.map(|key| key.to_string())),
            text("keyVersion", self.version.map(|version| version.to_string())),
            text("keyStore", self.key_store.as_ref().map(ToString::to_string)),
        ];
        facts.into_iter().flatten().collect()
    }

    fn with(&self, more: impl IntoIterator<Item = Fact>) -> Vec<Fact> {
        self.facts().into_iter().chain(more).collect()
    }
}

fn request_facts(request: &String, key_store: Option<&Name>) -> Vec<Fact> {
    let key_store = key_store.map(|name| ("keyStore", FactValue::Text(name.to_string())));
    [("request", request.into())].into_iter().chain(key_store).collect()
}

impl NotificationEvent {
    /// Its kind.
    pub const fn kind(&self) -> EventKind {
        match self {
            Self::ApprovalRequested { .. } => EventKind::ApprovalRequested,
            Self::ApprovalDecided { .. } => EventKind::ApprovalDecided,
            Self::ApprovalDisabled { .. } => EventKind::ApprovalDisabled,
            Self::DeletionScheduled { .. } => EventKind::DeletionScheduled,
            Self::DeletionDueSoon { .. } => EventKind::DeletionDueSoon,
            Self::Deleted { .. } => EventKind::Deleted,
            Self::Rotated { .. } => EventKind::Rotated,
            Self::RotationFailed { .. } => EventKind::RotationFailed,
            Self::CertificateExpires { .. } => EventKind::CertificateExpires,
            Self::KeyNearUseLimit { .. } => EventKind::KeyNearUseLimit,
            Self::ServerCertificateExpires { .. } => EventKind::ServerCertificateExpires,
            Self::AuthorityExpires { .. } => EventKind::AuthorityExpires,
            Self::TokenTrouble { .. } => EventKind::TokenTrouble,
            Self::TokenRecovered { .. } => EventKind::TokenRecovered,
            Self::AuditTrouble { .. } => EventKind::AuditTrouble,
            Self::SignInLockedOut { .. } => EventKind::SignInLockedOut,
        }
    }

    /// What it says, in the order in which it is said. The names are part of the webhooks' contract.
    pub fn facts(&self) -> Vec<Fact> {
        match self {
            Self::ApprovalRequested { request, key_store, by } => with(request_facts(request, key_store.as_ref()), [("by", by.into())]),
            Self::ApprovalDecided { request, key_store, outcome, by, requested_by } => with(
                request_facts(request, key_store.as_ref()),
                [("outcome", FactValue::Text((*outcome).to_owned())), ("by", by.into()), ("requestedBy", requested_by.into())],
            ),
            Self::ApprovalDisabled { by } => vec![("by", by.into())],
            Self::DeletionScheduled { what, due, by } => what.with([("due", (*due).into()), ("by", by.into())]),
            Self::DeletionDueSoon { what, due } => what.with([("due", (*due).into())]),
            Self::Deleted { what, by } | Self::Rotated { what, by } => what.with([("by", by.into())]),
            Self::RotationFailed { what } | Self::KeyNearUseLimit { what } => what.facts(),
            Self::CertificateExpires { what, not_after } => what.with([("notAfter", (*not_after).into())]),
            Self::ServerCertificateExpires { node, not_after } => vec![("node", node.into()), ("notAfter", (*not_after).into())],
            Self::AuthorityExpires { authority, not_after } => {
                vec![("authority", FactValue::Text(authority.to_string())), ("notAfter", (*not_after).into())]
            }
            Self::TokenTrouble { node } => vec![("node", node.into())],
            Self::TokenRecovered { node, since } => vec![("node", node.into()), ("since", (*since).into())],
            Self::AuditTrouble { node, since, until } => {
                let until = until.map(|until| ("until", until.into()));
                [("node", node.into()), ("since", (*since).into())].into_iter().chain(until).collect()
            }
            Self::SignInLockedOut { login, address } => vec![("login", login.into()), ("address", address.into())],
        }
    }
}

fn with<const N: usize>(mut facts: Vec<Fact>, more: [Fact; N]) -> Vec<Fact> {
    facts.extend(more);
    facts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_unique_and_known() {
        for (place, kind) in EventKind::ALL.iter().enumerate() {
            assert_eq!(EventKind::parse(kind.as_str()), Some(*kind));
            assert!(EventKind::ALL.iter().skip(place + 1).all(|other| other.as_str() != kind.as_str()));
        }
    }
}
