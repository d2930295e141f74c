//! Accounts, roles, access keys and tokens.

use std::fmt;

use super::clock::Timestamp;
use super::ids::{AccountId, ProjectId};
use super::text::{Invalid, Name};

/// What an account may do in a project.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, serde::Serialize, serde::Deserialize)]
pub enum Role {
    /// Everything.
    Admin,
    /// Sees the inventory, never data.
    Viewer,
    /// Approves and requests changes.
    ApprovalAdmin,
    /// Requests changes.
    ApprovalMember,
    /// Its access keys may change things.
    ApiAdmin,
    /// Its access keys may read the inventory.
    ApiViewer,
}

impl Role {
    /// All roles.
    pub const ALL: [Self; 6] = [Self::Admin, Self::Viewer, Self::ApprovalAdmin, Self::ApprovalMember, Self::ApiAdmin, Self::ApiViewer];

    /// The product's word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "ADMIN",
            Self::Viewer => "VIEWER",
            Self::ApprovalAdmin => "APPROVAL ADMIN",
            Self::ApprovalMember => "APPROVAL MEMBER",
            Self::ApiAdmin => "API.ADMIN",
            Self::ApiViewer => "API.VIEWER",
        }
    }

    /// The role that `text` names.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == text)
    }

    /// Whether a person with this role sees the inventory at the console.
    pub const fn may_read_at_console(self) -> bool {
        matches!(self, Self::Admin | Self::Viewer | Self::ApprovalAdmin | Self::ApprovalMember)
    }

    /// Whether a person with this role changes things, and sees confidential data, at the console.
    pub const fn may_change_at_console(self) -> bool {
        matches!(self, Self::Admin)
    }

    /// Whether an access key of an account with this role may read the inventory through the API.
    pub const fn may_read_by_api(self) -> bool {
        matches!(self, Self::ApiAdmin | Self::ApiViewer | Self::Admin)
    }

    /// Whether an access key of an account with this role may change things through the API.
    pub const fn may_change_by_api(self) -> bool {
        matches!(self, Self::ApiAdmin | Self::Admin)
    }

    /// Whether a person with this role asks for changes at the console, where approval is on.
    pub const fn may_ask_at_console(self) -> bool {
        matches!(self, Self::Admin | Self::ApprovalAdmin | Self::ApprovalMember)
    }

    /// Whether an access key of an account with this role asks for changes through the API, where approval is on.
    pub const fn may_ask_by_api(self) -> bool {
        matches!(self, Self::ApiAdmin | Self::Admin | Self::ApprovalAdmin | Self::ApprovalMember)
    }

    /// Whether a person with this role approves what others ask for.
    pub const fn may_approve(self) -> bool {
        matches!(self, Self::ApprovalAdmin)
    }

    /// Whether a person with this role decides that changes of the project need approval.
    pub const fn may_govern(self) -> bool {
        matches!(self, Self::Admin)
    }
}

/// A User Access Key ID: 1 to 64 ASCII letters and digits.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, serde::Serialize, serde::Deserialize)]
pub struct AccessKeyId(String);

impl AccessKeyId {
    /// The access key ID that `text` is, if it can be one.
    pub fn parse(text: &str) -> Option<Self> {
        let fits = (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        fits.then(|| Self(text.to_owned()))
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AccessKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The SHA-256 of an access key's secret or of a bearer token. Both are 256 random bits, so no slow hash is needed.
#[derive(Clone, Copy)]
pub struct SecretHash(pub [u8; 32]);

impl SecretHash {
    /// Hashes what a caller showed.
    pub fn of(secret: &str) -> Self {
        use sha2::Digest as _;
        Self(sha2::Sha256::digest(secret.as_bytes()).into())
    }
}

impl PartialEq for SecretHash {
    /// In constant time.
    fn eq(&self, other: &Self) -> bool {
        subtle::ConstantTimeEq::ct_eq(self.0.as_slice(), other.0.as_slice()).into()
    }
}

impl Eq for SecretHash {}

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretHash(redacted)")
    }
}

/// How long tokens of an access key live: 60 to 86,400 s.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TokenLife(u32);

impl TokenLife {
    /// The longest, and what an access key starts with.
    pub const MAX: Self = Self(86_400);

    /// A life of `seconds`, if it is within 60 to 86,400.
    pub fn from_seconds(seconds: i64) -> Result<Self, Invalid> {
        match u32::try_from(seconds) {
            Ok(seconds) if (60..=86_400).contains(&seconds) => Ok(Self(seconds)),
            _ => Err(Invalid::new("tokenLife", "must be 60 to 86400 seconds")),
        }
    }

    /// Its length in seconds.
    pub const fn seconds(self) -> u32 {
        self.0
    }
}

/// A person who is signed in at the console, by the hash of the session's token.
#[derive(Clone, Debug)]
pub struct Session {
    /// The hash of its token.
    pub token: SecretHash,
    /// Whose it is.
    pub account: AccountId,
    /// That account's login name.
    pub login: String,
    /// Whether the account administers the installation: its projects and accounts.
    pub administrator: bool,
    /// Whether the account is enabled.
    pub enabled: bool,
    /// Whether nothing may be done before the password is changed.
    pub must_change_password: bool,
    /// The account's roles, per project.
    pub roles: Vec<(ProjectId, Role)>,
    /// When it began.
    pub signed_in: Timestamp,
    /// When it was last used, as far as the database knows: uses in short succession aren't written.
    pub last_seen: Timestamp,
    /// When it ends, however busy it is.
    pub expires: Timestamp,
    /// From where it began.
    pub address: String,
    /// With what.
    pub user_agent: String,
    /// Whether the code of the second factor is still to be given: until then it is good for nothing else.
    pub awaits_code: bool,
}

impl Session {
    /// How long a session may be idle.
    pub const IDLE_MAX: std::time::Duration = std::time::Duration::from_secs(30 * 60);
    /// How long a session may be.
    pub const LIFE_MAX: std::time::Duration = std::time::Duration::from_secs(12 * 3_600);
    /// How long the code of the second factor may take after the password.
    pub const CODE_WITHIN: std::time::Duration = std::time::Duration::from_secs(5 * 60);
    /// The most sessions of an account; the one that was used least recently ends for a new one.
    pub const PER_ACCOUNT_MAX: i64 = 20;

    /// Whether it is good at `now`.
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.enabled && now < self.expires && now.since(self.last_seen) < Self::IDLE_MAX
    }

    /// The roles in `project`.
    pub fn roles_in(&self, project: ProjectId) -> impl Iterator<Item = Role> + '_ {
        self.roles.iter().filter(move |(of, _)| *of == project).map(|(_, role)| *role)
    }
}

/// The most access keys of one account.
pub const ACCESS_KEYS_MAX: usize = 5;

/// An access key with what is needed to authorize its use.
#[derive(Clone, Debug)]
pub struct AccessKey {
    /// Its User Access Key ID.
    pub id: AccessKeyId,
    /// The account that owns it.
    pub account: AccountId,
    /// That account's login name.
    pub login: String,
    /// The hash of its secret.
    pub secret: SecretHash,
    /// How long its tokens live.
    pub token_life: TokenLife,
    /// Whether it and its account are enabled.
    pub enabled: bool,
    /// Whether it approves in its account's name.
    pub may_approve: bool,
    /// Who made it, and knows its secret; none: an operator.
    pub maker: Option<AccountId>,
    /// The account's roles, per project.
    pub roles: Vec<(ProjectId, Role)>,
}

impl AccessKey {
    /// The roles in `project`.
    pub fn roles_in(&self, project: ProjectId) -> impl Iterator<Item = Role> + '_ {
        self.roles.iter().filter(move |(of, _)| *of == project).map(|(_, role)| *role)
    }
}

/// A bearer token that was issued and not revoked.
#[derive(Clone, Debug)]
pub struct BearerToken {
    /// The access key it was issued for.
    pub access_key: AccessKeyId,
    /// When it stops working.
    pub expires: Timestamp,
}

/// An account as lists show it.
#[derive(Clone, Debug)]
pub struct AccountSummary {
    /// Its row.
    pub id: AccountId,
    /// Its login name.
    pub login: String,
    /// Whether it may do anything.
    pub enabled: bool,
    /// Whether it administers the installation: its projects and accounts.
    pub administrator: bool,
    /// Whether its password must be changed at the next sign-in.
    pub must_change_password: bool,
    /// Whether signing in asks for a code.
    pub has_second_factor: bool,
    /// How many access keys it has.
    pub access_keys: i64,
    /// When it was made.
    pub created: Timestamp,
    /// When it was last changed.
    pub changed: Timestamp,
}

/// Who has roles in a project.
#[derive(Clone, Debug)]
pub struct Member {
    /// The account.
    pub account: AccountId,
    /// Its login name.
    pub login: String,
    /// Whether it may do anything.
    pub enabled: bool,
    /// Its roles in the project.
    pub roles: Vec<Role>,
}

/// A role of an account in a project.
#[derive(Clone, Debug)]
pub struct RoleGrant {
    /// The account.
    pub account: AccountId,
    /// Its login name.
    pub login: String,
    /// The project.
    pub project: ProjectId,
    /// Its name.
    pub project_name: Name,
    /// The role.
    pub role: Role,
    /// When it was granted.
    pub created: Timestamp,
}

/// An access key that approves in its account's name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ApprovingKey {
    /// Its User Access Key ID.
    pub id: AccessKeyId,
    /// The login name of the account that owns it.
    pub login: String,
    /// The login name of whoever made it; none: an operator.
    pub maker: Option<String>,
}

/// An access key as lists show it.
#[derive(Clone, Debug)]
pub struct AccessKeySummary {
    /// Its User Access Key ID.
    pub id: AccessKeyId,
    /// The login name of the account that owns it.
    pub login: String,
    /// Whether it is enabled itself.
    pub enabled: bool,
    /// Whether its account is.
    pub account_enabled: bool,
    /// How long its tokens live.
    pub token_life: TokenLife,
    /// Whether it approves in its account's name.
    pub may_approve: bool,
    /// When it was made.
    pub created: Timestamp,
    /// When it was last shown.
    pub last_access: Option<Timestamp>,
}
