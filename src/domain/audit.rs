//! Audit records: what is kept of every request of a project ([`AuditEvent`]), in which words ([`Operation`], [`Actor`]), and how records hang
//! together ([`record_hash`]).

mod encoding;

use std::fmt;
use std::net::IpAddr;

use super::account::AccessKeyId;
use super::caller::{CertFingerprint, MacAddr};
use super::clock::Timestamp;
use super::ids::{ClientRuleId, KeyId, KeyStoreNumber, KeyVersion, ProjectId, RequestId};

pub use encoding::{ChainHead, ENCODING_VERSION, Link, checkpoint_digest, record_hash};

macro_rules! operations {
    ($($(#[$doc:meta])* $name:ident => $text:literal),* $(,)?) => {
        /// What was asked for.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum Operation {
            $($(#[$doc])* $name),*
        }

        impl Operation {
            /// All operations.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The word in the log; never changed once published.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text),*
                }
            }
        }
    };
}

operations! {
    /// `GET /confirm`.
    Confirm => "CONFIRM",
    /// Confidential data was read.
    ReadSecret => "READ_SECRET",
    /// Confidential data was changed.
    ChangeSecret => "CHANGE_SECRET",
    /// `encrypt`.
    Encrypt => "ENCRYPT",
    /// `decrypt`.
    Decrypt => "DECRYPT",
    /// `create-local-key`.
    CreateLocalKey => "CREATE_LOCAL_KEY",
    /// `sign`.
    Sign => "SIGN",
    /// `verify`.
    Verify => "VERIFY",
    /// `sign-standard`.
    SignStandard => "SIGN_STANDARD",
    /// `verify-standard`.
    VerifyStandard => "VERIFY_STANDARD",
    /// `publicKey`.
    ReadPublicKey => "READ_PUBLIC_KEY",
    /// `symmetric-key`, which is always refused.
    ExportSymmetricKey => "EXPORT_SYMMETRIC_KEY",
    /// `privateKey`, which is always refused.
    ExportPrivateKey => "EXPORT_PRIVATE_KEY",
    /// The statistics were read.
    ReadStatistics => "READ_STATISTICS",
    /// A key store was made.
    CreateKeyStore => "CREATE_KEY_STORE",
    /// The inventory was read.
    ReadInventory => "READ_INVENTORY",
    /// The history of use, or the audit log of the installation, was looked at: once for a session, a scope and a filter in a while.
    ReadHistory => "READ_HISTORY",
    /// The same was downloaded.
    DownloadHistory => "DOWNLOAD_HISTORY",
    /// A key was made.
    CreateKey => "CREATE_KEY",
    /// A key was imported.
    ImportKey => "IMPORT_KEY",
    /// A client rule was made.
    CreateClientRule => "CREATE_CLIENT_RULE",
    /// A client rule stopped admitting anybody.
    RevokeClientRule => "REVOKE_CLIENT_RULE",
    /// A key store was changed.
    ChangeKeyStore => "CHANGE_KEY_STORE",
    /// A key store was deleted.
    DeleteKeyStore => "DELETE_KEY_STORE",
    /// A key's name, description or rotation was changed.
    ChangeKey => "CHANGE_KEY",
    /// A key got a new current version.
    RotateKey => "ROTATE_KEY",
    /// A key's deletion was asked for.
    RequestKeyDeletion => "REQUEST_KEY_DELETION",
    /// A key's deletion was called off.
    RestoreKey => "RESTORE_KEY",
    /// A key was deleted.
    DeleteKey => "DELETE_KEY",
    /// A key version's deletion was asked for.
    RequestVersionDeletion => "REQUEST_VERSION_DELETION",
    /// A key version's deletion was called off.
    RestoreVersion => "RESTORE_VERSION",
    /// A key version was deleted.
    DeleteVersion => "DELETE_VERSION",
    /// A client rule admits again.
    RestoreClientRule => "RESTORE_CLIENT_RULE",
    /// A client rule was deleted.
    DeleteClientRule => "DELETE_CLIENT_RULE",
    /// A client certificate's `.p12` was handed out.
    DownloadCertificate => "DOWNLOAD_CERTIFICATE",
    /// A public key to wrap an imported key with was handed out.
    PrepareImport => "PREPARE_IMPORT",
    /// A pair to wrap an imported key with was not used in time, and destroyed.
    ExpireImport => "EXPIRE_IMPORT",
    /// The CA got a new certificate.
    RenewAuthority => "RENEW_AUTHORITY",
    /// The service's own certificate was renewed.
    RenewServerCertificate => "RENEW_SERVER_CERTIFICATE",
    /// Requests over the rate limit, counted over a minute.
    RefuseTooMany => "REFUSE_TOO_MANY",
    /// A bearer token was issued.
    CreateToken => "CREATE_TOKEN",
    /// A bearer token was revoked.
    RevokeToken => "REVOKE_TOKEN",
    /// Somebody signed in at the console.
    SignIn => "SIGN_IN",
    /// Somebody signed out, or a session was ended.
    SignOut => "SIGN_OUT",
    /// A request for a route that doesn't exist.
    UnknownRoute => "UNKNOWN_ROUTE",
    /// A project was made.
    CreateProject => "CREATE_PROJECT",
    /// A project's name or settings were changed.
    ChangeProject => "CHANGE_PROJECT",
    /// An appkey was made.
    CreateAppkey => "CREATE_APPKEY",
    /// An appkey was taken away.
    DeleteAppkey => "DELETE_APPKEY",
    /// An account was made.
    CreateAccount => "CREATE_ACCOUNT",
    /// An account was enabled, disabled or got another password.
    ChangeAccount => "CHANGE_ACCOUNT",
    /// An access key was made.
    CreateAccessKey => "CREATE_ACCESS_KEY",
    /// An access key was enabled, disabled or got another token life.
    ChangeAccessKey => "CHANGE_ACCESS_KEY",
    /// An access key was taken away.
    DeleteAccessKey => "DELETE_ACCESS_KEY",
    /// A role was granted.
    GrantRole => "GRANT_ROLE",
    /// A role was taken away.
    RevokeRole => "REVOKE_ROLE",
    /// Recipients of notifications, and the messages to them, were read.
    ReadNotifications => "READ_NOTIFICATIONS",
    /// A recipient of notifications was made.
    CreateRecipient => "CREATE_RECIPIENT",
    /// A recipient of notifications was enabled, disabled or gets other events.
    ChangeRecipient => "CHANGE_RECIPIENT",
    /// A recipient of notifications was taken away.
    DeleteRecipient => "DELETE_RECIPIENT",
    /// A test message was sent to a recipient.
    TestRecipient => "TEST_RECIPIENT",
    /// A parked notification is to be sent again.
    ResendNotification => "RESEND_NOTIFICATION",
    /// A notification that was not sent was thrown away.
    DiscardNotification => "DISCARD_NOTIFICATION",
    /// From now on each change of a project needs approval.
    TurnApprovalOn => "TURN_APPROVAL_ON",
    /// Changes of a project need no approval any more, which was approved itself.
    TurnApprovalOff => "TURN_APPROVAL_OFF",
    /// Approval was turned off by whoever has the machine in hand, alone.
    DisableApproval => "DISABLE_APPROVAL",
    /// Somebody has seen that approval was turned off alone.
    AcknowledgeDisabling => "ACKNOWLEDGE_DISABLING",
    /// How long requests wait was changed.
    ChangeGovernance => "CHANGE_GOVERNANCE",
    /// An access key may approve from now on, or no longer.
    SetMayApprove => "SET_MAY_APPROVE",
    /// Drafts or requests were read.
    ReadApprovals => "READ_APPROVALS",
    /// A change was put into a draft or taken out of it.
    EditDraft => "EDIT_DRAFT",
    /// A change was asked for.
    RequestApproval => "REQUEST_APPROVAL",
    /// All that was asked for, in parts that follow the record of the asking.
    DescribeRequest => "DESCRIBE_REQUEST",
    /// A request was approved: it is being applied.
    ApproveRequest => "APPROVE_REQUEST",
    /// A request was denied.
    DenyRequest => "DENY_REQUEST",
    /// A draft or request was withdrawn.
    WithdrawRequest => "WITHDRAW_REQUEST",
    /// A draft or request expired.
    ExpireRequest => "EXPIRE_REQUEST",
    /// All that was asked for is done.
    ApplyRequest => "APPLY_REQUEST",
    /// What was approved could not be applied: nothing of it is done.
    FailRequest => "FAIL_REQUEST",
    /// A chain began: the first record of a process.
    StartChain => "START_CHAIN",
    /// A chain ended in good order.
    EndChain => "END_CHAIN",
    /// Database and token were copied.
    Backup => "BACKUP",
    /// What a crash left half done was undone or finished.
    Reconcile => "RECONCILE",
}

impl Operation {
    /// The operation that `text` names.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|operation| operation.as_str() == text)
    }

    /// Whether it changes a key store, what is in it, or who may do that: what needs a second person in a project with approval on.
    pub const fn is_change(self) -> bool {
        match self {
            Self::ChangeSecret
            | Self::CreateKeyStore
            | Self::CreateKey
            | Self::ImportKey
            | Self::CreateClientRule
            | Self::RevokeClientRule
            | Self::ChangeKeyStore
            | Self::DeleteKeyStore
            | Self::ChangeKey
            | Self::RotateKey
            | Self::RequestKeyDeletion
            | Self::RestoreKey
            | Self::DeleteKey
            | Self::RequestVersionDeletion
            | Self::RestoreVersion
            | Self::DeleteVersion
            | Self::RestoreClientRule
            | Self::DeleteClientRule
            | Self::GrantRole
            | Self::RevokeRole
            | Self::TurnApprovalOff
            | Self::ChangeGovernance
            | Self::SetMayApprove => true,
            // Uses and reads; what the service does for itself; one's own account; and what leads to a decision of two. Accounts belong to
            // no project: what is done to one that may ask or approve is looked at where it is done.
            Self::Confirm
            | Self::ReadSecret
            | Self::Encrypt
            | Self::Decrypt
            | Self::CreateLocalKey
            | Self::Sign
            | Self::Verify
            | Self::SignStandard
            | Self::VerifyStandard
            | Self::ReadPublicKey
            | Self::ExportSymmetricKey
            | Self::ExportPrivateKey
            | Self::ReadInventory
            | Self::ReadHistory
            | Self::DownloadHistory
            | Self::ReadStatistics
            | Self::DownloadCertificate
            | Self::PrepareImport
            | Self::ExpireImport
            | Self::RenewAuthority
            | Self::RenewServerCertificate
            | Self::RefuseTooMany
            | Self::CreateToken
            | Self::RevokeToken
            | Self::ReadNotifications
            | Self::CreateRecipient
            | Self::ChangeRecipient
            | Self::DeleteRecipient
            | Self::TestRecipient
            | Self::ResendNotification
            | Self::DiscardNotification
            | Self::SignIn
            | Self::SignOut
            | Self::UnknownRoute
            | Self::CreateProject
            | Self::ChangeProject
            | Self::CreateAppkey
            | Self::DeleteAppkey
            | Self::CreateAccount
            | Self::ChangeAccount
            | Self::CreateAccessKey
            | Self::ChangeAccessKey
            | Self::DeleteAccessKey
            | Self::TurnApprovalOn
            | Self::DisableApproval
            | Self::AcknowledgeDisabling
            | Self::ReadApprovals
            | Self::EditDraft
            | Self::RequestApproval
            | Self::DescribeRequest
            | Self::ApproveRequest
            | Self::DenyRequest
            | Self::WithdrawRequest
            | Self::ExpireRequest
            | Self::ApplyRequest
            | Self::FailRequest
            | Self::StartChain
            | Self::EndChain
            | Self::Backup
            | Self::Reconcile => false,
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Who is held to have asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Actor {
    /// Whoever knows the appkey (v1.0, v1.1).
    Appkey,
    /// An access key, and the login name of the account that owns it.
    AccessKey {
        /// The User Access Key ID.
        id: AccessKeyId,
        /// The account's login name.
        login: String,
    },
    /// An account at the console or, with the peer's uid, at the admin socket.
    Account(String),
    /// A person with the machine in hand, by uid.
    Operator(u32),
    /// The service itself.
    Service,
    /// Nobody that could be told.
    Unknown,
}

impl Actor {
    /// Whether somebody asked: what the service does by itself needs nobody's approval.
    pub const fn is_person(&self) -> bool {
        !matches!(self, Self::Service)
    }

    /// Its kind and name as the log keeps them: `access-key`, `AKID…/alice`.
    pub fn parts(&self) -> (&'static str, String) {
        match self {
            Self::Appkey => ("appkey", String::new()),
            Self::AccessKey { id, login } => ("access-key", format!("{id}/{login}")),
            Self::Account(login) => ("account", login.clone()),
            Self::Operator(uid) => ("operator", uid.to_string()),
            Self::Service => ("service", String::new()),
            Self::Unknown => ("unknown", String::new()),
        }
    }

    /// The user of a [`super::key::Stamp`].
    pub fn user(&self) -> String {
        match self {
            Self::Appkey => "appkey".to_owned(),
            Self::AccessKey { login, .. } | Self::Account(login) => login.clone(),
            Self::Operator(uid) => format!("uid {uid}"),
            Self::Service | Self::Unknown => "skm".to_owned(),
        }
    }
}

/// One request, as the log keeps it. Never data: no plaintext, no ciphertext, no secret, no token.
#[derive(Clone, Debug)]
pub struct AuditEvent {
    /// When it was decided.
    pub at: Timestamp,
    /// The request's name.
    pub request: RequestId,
    /// The project, where one is known.
    pub project: Option<ProjectId>,
    /// Who asked.
    pub actor: Actor,
    /// From which address.
    pub address: Option<IpAddr>,
    /// With which MAC header.
    pub mac: Option<MacAddr>,
    /// With which client certificate.
    pub certificate: Option<CertFingerprint>,
    /// With which User-Agent.
    pub user_agent: Option<String>,
    /// For what.
    pub operation: Operation,
    /// On which key store.
    pub key_store: Option<KeyStoreNumber>,
    /// On which key.
    pub key: Option<KeyId>,
    /// On which version of it.
    pub version: Option<KeyVersion>,
    /// The result code of the answer: 0 for success.
    pub result_code: i32,
    /// What else tells what was done (names, numbers), at most [`DETAIL_MAX_CHARS`]; of what is asked for and approved at most
    /// [`super::approval::RECORD_MAX_CHARS`].
    pub detail: Option<String>,
}

/// The most characters of [`AuditEvent::detail`].
pub const DETAIL_MAX_CHARS: usize = 500;

/// What a request used, counted in the same transaction as its record.
#[derive(Clone, Debug, Default)]
pub struct Uses {
    /// The key versions that were used, with how often each encrypted.
    pub keys: Vec<KeyUse>,
    /// The client rules that admitted the caller.
    pub rules: Vec<ClientRuleId>,
    /// The access key that was shown.
    pub access_key: Option<AccessKeyId>,
}

/// One use of a key version.
#[derive(Clone, Copy, Debug)]
pub struct KeyUse {
    /// Which key: a client's, or an internal one by its own ID.
    pub key: KeyId,
    /// Which version.
    pub version: KeyVersion,
    /// How many encryptions it made (NIST SP 800-38D, 8.3 limits them per key).
    pub encryptions: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operation_words_are_unique_and_read_back() {
        for operation in Operation::ALL {
            assert_eq!(Operation::parse(operation.as_str()), Some(*operation));
        }
    }
}
