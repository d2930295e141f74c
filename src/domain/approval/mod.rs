//! Approval: changes of a project that somebody asks for and somebody else approves.
//!
//! A [`ChangeRequest`] is a draft until it is asked for; then nothing of it changes any more, and its digest says exactly what would be
//! done. [`next`] holds every legal transition, [`may_decide`] who decides.

mod change;
mod content;
mod lifecycle;
mod record;

pub use change::{Base, ChangeItem, Field, Made, ProposedChange, ProposedEntry};
pub use content::{CHANGES_MAX_BYTES, CONTENT_FORMAT, CONTENT_MAX_BYTES, Content, HANDS_MAX, Hand, PART_MAX_BYTES, PARTS_MAX, check_size};
pub use lifecycle::{IllegalTransition, RequestEvent, RequestState, next};
pub use record::{Decision, RECORD_MAX_CHARS, RequestRecord, TOLD_MAX_CHARS, parse_part, part_detail, told};

use super::account::Role;
use super::clock::Timestamp;
use super::ids::{AccountId, ChangeRequestId, KeyStoreId, ProjectId};
use super::key::Stamp;
use super::result_code::ResultCode;
use super::text::{Description, Invalid, is_misleading};

/// The most changes of one request.
pub const CHANGES_MAX: usize = 100;

/// Whether changes of a project need approval, and how long requests wait.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Governance {
    /// Whether they do.
    pub approval: bool,
    /// How long drafts and requests wait.
    pub expiry: ExpiryDays,
    /// Who changed this last.
    pub changed: Stamp,
    /// That somebody turned it off alone, until somebody has acknowledged that, on again or not.
    pub emergency: Option<Emergency>,
}

/// Approval was turned off without anybody's approval.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Emergency {
    /// By whom and when.
    pub disabled: Stamp,
    /// Why nobody could approve it.
    pub reason: String,
}

/// Days until a draft or request that nobody has decided upon expires: 1 to 90.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub struct ExpiryDays(u32);

impl ExpiryDays {
    /// What a project starts with.
    pub const DEFAULT: Self = Self(14);
    /// The most there can be.
    pub const MAX: u32 = 90;

    /// So many days, if that is a time to wait.
    pub fn from_days(days: i64) -> Result<Self, Invalid> {
        match u32::try_from(days) {
            Ok(days) if (1..=Self::MAX).contains(&days) => Ok(Self(days)),
            _ => Err(Invalid::new("expiryDays", format!("must be 1 to {} days", Self::MAX))),
        }
    }

    /// How many.
    pub const fn days(self) -> u32 {
        self.0
    }

    /// When what is asked for at `now` expires.
    pub fn after(self, now: Timestamp) -> Timestamp {
        const DAY_SECONDS: u64 = 86_400;
        now.plus(std::time::Duration::from_secs(u64::from(self.0) * DAY_SECONDS))
    }
}

/// What somebody says about a request, or why he denies it: 1 to 1,000 characters, tabs and line breaks, but no others that would make whoever
/// decides read something else.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Note(String);

impl Note {
    /// A note from what somebody typed: white space at the ends is cut off.
    pub fn parse(field: &'static str, text: &str) -> Result<Self, Invalid> {
        let note = Description::parse(field, text.trim())?;
        if note.as_str().chars().any(|c| is_misleading(c) && !c.is_control()) {
            return Err(Invalid::new(field, "must not contain characters that control the direction of writing"));
        }
        if note.as_str().is_empty() { Err(Invalid::new(field, "must have 1 to 1000 characters")) } else { Ok(Self(note.as_str().to_owned())) }
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A draft, or what somebody has asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ChangeRequest {
    /// Its name.
    pub id: ChangeRequestId,
    /// Its project.
    pub project: ProjectId,
    /// The key store that it changes; none of what is about the project itself.
    pub key_store: Option<KeyStoreId>,
    /// Whether the key store comes into being with it.
    pub new_key_store: bool,
    /// Where it stands.
    pub state: RequestState,
    /// Who began the draft, or asked.
    pub requester: AccountId,
    /// That account's login name.
    pub requester_login: String,
    /// What he says about it; empty while it is a draft.
    pub note: String,
    /// The SHA-256 of exactly what is asked for; a draft has none.
    pub digest: Option<[u8; 32]>,
    /// Who decided.
    pub decider: Option<(AccountId, String)>,
    /// Why it was denied, or failed.
    pub reason: Option<String>,
    /// When the draft was begun.
    pub created: Timestamp,
    /// When it was asked for.
    pub requested: Option<Timestamp>,
    /// When it was approved or denied.
    pub decided: Option<Timestamp>,
    /// When it came to its end.
    pub ended: Option<Timestamp>,
    /// When it expires, if nobody decides.
    pub expires: Timestamp,
    /// How often somebody began to apply it.
    pub attempts: u32,
    /// How often it was edited while it was a draft: the place of its next change.
    pub revision: u32,
}

/// An account as it stands in a project.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Standing {
    /// The account.
    pub account: AccountId,
    /// Its login name.
    pub login: String,
    /// Whether it may do anything.
    pub enabled: bool,
    /// Its roles in the project.
    pub roles: Vec<Role>,
}

impl Standing {
    /// Whether it has a role that asks for changes, at the console or through the API.
    pub fn has_asking_role(&self) -> bool {
        self.roles.iter().any(|role| role.may_ask_at_console() || role.may_ask_by_api())
    }

    /// Whether it has a role that approves.
    pub fn has_approving_role(&self) -> bool {
        self.roles.iter().any(|role| role.may_approve())
    }

    /// Whether it asks for changes, at the console or through the API.
    pub fn may_ask(&self) -> bool {
        self.enabled && self.has_asking_role()
    }

    /// Whether it asks for changes of the project itself.
    pub fn may_govern(&self) -> bool {
        self.enabled && self.roles.iter().any(|role| role.may_govern())
    }

    /// Whether it approves what others ask for.
    pub fn may_approve(&self) -> bool {
        self.enabled && self.has_approving_role()
    }
}

/// Whether somebody decides upon a request: not his own, nor one whose draft he had a hand in; compared by account, whatever session or
/// access key he comes with.
pub fn may_decide(decider: &Standing, requester: AccountId, editors: &[AccountId]) -> Result<(), ResultCode> {
    if !decider.may_approve() {
        return Err(ResultCode::Forbidden);
    }
    if decider.account == requester || editors.contains(&decider.account) { Err(ResultCode::OwnApprovalRequest) } else { Ok(()) }
}

/// Whether an access key decides upon a request in its account's name: whoever made it knows its secret, so not one that was made by somebody
/// who asked, or had a hand in the draft.
pub fn key_may_decide(maker: Option<AccountId>, requester: AccountId, editors: &[AccountId]) -> Result<(), ResultCode> {
    let had_a_hand = maker.is_some_and(|maker| maker == requester || editors.contains(&maker));
    if had_a_hand { Err(ResultCode::OwnApprovalRequest) } else { Ok(()) }
}

/// Whether changes could be made at all with approval on: somebody who approves, and somebody else who asks.
pub fn is_workable(accounts: &[Standing]) -> bool {
    accounts.iter().any(|approver| approver.may_approve() && accounts.iter().any(|other| other.account != approver.account && other.may_ask()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn standing(account: i64, roles: &[Role]) -> Standing {
        Standing { account: AccountId(account), login: format!("account {account}"), enabled: true, roles: roles.to_vec() }
    }

    #[test]
    fn it_takes_two() {
        assert!(!is_workable(&[]));
        assert!(!is_workable(&[standing(1, &Role::ALL)]));
        assert!(!is_workable(&[standing(1, &[Role::ApprovalMember]), standing(2, &[Role::Admin])]), "nobody approves");
        assert!(!is_workable(&[standing(1, &[Role::ApprovalAdmin]), standing(2, &[Role::Viewer])]), "nobody else asks");
        assert!(is_workable(&[standing(1, &[Role::ApprovalAdmin]), standing(2, &[Role::ApprovalMember])]));
        assert!(is_workable(&[standing(1, &[Role::ApprovalAdmin]), standing(2, &[Role::ApprovalAdmin])]));
        let disabled = Standing { enabled: false, ..standing(2, &[Role::Admin]) };
        assert!(!is_workable(&[standing(1, &[Role::ApprovalAdmin]), disabled]));
    }

    proptest! {
        /// Whoever decides has the role, and had no hand in it.
        #[test]
        fn nobody_decides_upon_his_own(account in 0_i64..4, requester in 0_i64..4, editors in prop::collection::vec(0_i64..4, 0..4), roles in 0_u8..64, enabled: bool) {
            let roles: Vec<Role> = Role::ALL.into_iter().enumerate().filter(|(bit, _)| roles & (1 << bit) != 0).map(|(_, role)| role).collect();
            let decider = Standing { enabled, ..standing(account, &roles) };
            let editors: Vec<AccountId> = editors.into_iter().map(AccountId).collect();
            let allowed = may_decide(&decider, AccountId(requester), &editors).is_ok();
            let expected = enabled && roles.contains(&Role::ApprovalAdmin) && account != requester && !editors.contains(&AccountId(account));
            prop_assert_eq!(allowed, expected);
        }
    }

    #[test]
    fn nobody_decides_upon_his_own_with_an_access_key_that_he_made_for_somebody_else() {
        let (asker, editor, approver) = (AccountId(1), AccountId(2), AccountId(3));
        for maker in [asker, editor] {
            assert_eq!(key_may_decide(Some(maker), asker, &[editor]), Err(ResultCode::OwnApprovalRequest));
        }
        for maker in [Some(approver), Some(AccountId(4)), None] {
            assert_eq!(key_may_decide(maker, asker, &[editor]), Ok(()));
        }
    }

    #[test]
    fn a_note_says_something() {
        assert!(Note::parse("note", "  ").is_err());
        assert!(Note::parse("note", &"x".repeat(1_001)).is_err());
        assert!(Note::parse("note", "delete \u{202e}gnihton").is_err());
        assert!(Note::parse("note", "a\tb\nc").is_ok());
        assert_eq!(Note::parse("note", " why ").map(|note| note.as_str().to_owned()), Ok("why".to_owned()));
        assert!(ExpiryDays::from_days(0).is_err() && ExpiryDays::from_days(91).is_err() && ExpiryDays::from_days(90).is_ok());
    }
}
