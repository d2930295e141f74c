//! The life of keys, versions and client rules: one `match` holds every legal transition, another says what may be asked of a key
//! with its versions.

use std::time::Duration;

use super::clock::Timestamp;
use super::ids::KeyVersion;
use super::key::{Key, KeyKind, Origin, State, Version};
use super::result_code::ResultCode;

/// How long a deletion stays pending, before rounding up to the hour.
pub const DELETION_DELAY: Duration = Duration::from_secs(7 * 86_400);
/// A key with so many versions is rotated by the clock and the counters alone: each request reads all that a key has.
pub const VERSIONS_MAX: usize = 1_000;

/// What may happen to a thing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// Its object is in the token, read back and right.
    Provisioned,
    /// Its making failed or its lease ran out.
    Abandoned,
    /// Somebody asked for its deletion.
    DeletionRequested,
    /// Somebody thought better of it.
    Restored,
    /// Its deletion is due, or somebody wants it at once.
    Destroy,
    /// What it is a part of is destroyed: a version goes with its key, a client rule with its key store.
    OwnerDestroyed,
    /// Its object is no longer in the token.
    Gone,
}

impl Event {
    /// All events.
    pub const ALL: [Self; 7] = [Self::Provisioned, Self::Abandoned, Self::DeletionRequested, Self::Restored, Self::Destroy, Self::OwnerDestroyed, Self::Gone];
}

/// The event can't happen in this state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{event:?} can't happen to what is {state:?}")]
pub struct IllegalTransition {
    /// The state it is in.
    pub state: State,
    /// What was asked.
    pub event: Event,
}

/// The state that follows `state` when `event` happens.
pub const fn next(state: State, event: Event) -> Result<State, IllegalTransition> {
    match (state, event) {
        (State::Provisioning, Event::Provisioned) | (State::PendingDeletion, Event::Restored) => Ok(State::Active),
        (State::Provisioning, Event::Abandoned)
        | (State::PendingDeletion, Event::Destroy)
        | (State::Provisioning | State::Active | State::PendingDeletion, Event::OwnerDestroyed) => Ok(State::Destroying),
        (State::Active, Event::DeletionRequested) => Ok(State::PendingDeletion),
        (State::Destroying, Event::Gone) => Ok(State::Destroyed),
        _ => Err(IllegalTransition { state, event }),
    }
}

/// What may be asked of a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Command {
    /// Another name, description or rotation period.
    Change,
    /// A new current version.
    Rotate,
    /// Scheduled to be deleted.
    RequestDeletion,
    /// Back in service.
    Restore,
    /// Destroyed, now.
    Destroy,
    /// A version scheduled to be deleted.
    RequestVersionDeletion(KeyVersion),
    /// A version back in service.
    RestoreVersion(KeyVersion),
    /// A version destroyed, now.
    DestroyVersion(KeyVersion),
}

/// Whether `command` may be carried out on a key with these versions (all that aren't destroyed), and if not, what is said.
/// Nothing is decided by anything else: who may ask is another question.
pub fn permit(key: &Key, versions: &[Version], command: Command) -> Result<(), ResultCode> {
    if !key.state.is_visible() {
        return Err(ResultCode::InvalidKeyId);
    }
    let of_key = |event| next(key.state, event).map(drop).map_err(|_| ResultCode::InvalidKeyStatus);
    match command {
        Command::Change => is_in_service(key),
        Command::Rotate => may_rotate(key, versions),
        Command::RequestDeletion => of_key(Event::DeletionRequested),
        Command::Restore => of_key(Event::Restored),
        Command::Destroy => of_key(Event::Destroy),
        Command::RequestVersionDeletion(version) => of_version(key, versions, version, Event::DeletionRequested),
        Command::RestoreVersion(version) => of_version(key, versions, version, Event::Restored),
        Command::DestroyVersion(version) => of_version(key, versions, version, Event::Destroy),
    }
}

/// Whether new versions of a key may be made at all: not of confidential data, nor of what came from outside.
pub fn is_rotatable(key: &Key, versions: &[Version]) -> bool {
    key.kind != KeyKind::Secret && versions.iter().all(|version| version.origin == Origin::Generated)
}

/// Whether a key that somebody outside knows of may be used and changed.
pub fn is_in_service(key: &Key) -> Result<(), ResultCode> {
    if key.state == State::Active { Ok(()) } else { Err(ResultCode::InvalidKeyStatus) }
}

/// Whether a version in this state, if there is one, may be used: by a key that is in service.
pub fn may_use_version(state: Option<State>) -> Result<(), ResultCode> {
    match state {
        Some(State::Active) => Ok(()),
        Some(State::PendingDeletion) => Err(ResultCode::InvalidKeyVersionStatus),
        Some(State::Provisioning | State::Destroying | State::Destroyed) | None => Err(ResultCode::InvalidKeyVersion),
    }
}

fn may_rotate(key: &Key, versions: &[Version]) -> Result<(), ResultCode> {
    if !is_rotatable(key, versions) {
        return Err(ResultCode::KeyNotRotatable);
    }
    is_in_service(key)?;
    // Somebody else is making the next one.
    if versions.iter().any(|version| version.state == State::Provisioning) { Err(ResultCode::Conflict) } else { Ok(()) }
}

/// The current version stays; the others live and die while their key is in service.
fn of_version(key: &Key, versions: &[Version], number: KeyVersion, event: Event) -> Result<(), ResultCode> {
    is_in_service(key)?;
    let version = versions.iter().find(|version| version.version == number && version.state.is_visible()).ok_or(ResultCode::InvalidKeyVersion)?;
    if number == key.current_version {
        return Err(ResultCode::CurrentKeyVersion);
    }
    next(version.state, event).map(drop).map_err(|_| ResultCode::InvalidKeyVersionStatus)
}

/// When a deletion that is asked for at `now` is due: seven days on, rounded up to the hour.
pub fn deletion_due(now: Timestamp) -> Timestamp {
    now.plus(DELETION_DELAY).rounded_up_to_hour()
}

#[cfg(test)]
mod model;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn nothing_leaves_destroyed_and_destroying_only_goes_there() {
        for event in Event::ALL {
            assert!(next(State::Destroyed, event).is_err(), "{event:?}");
            assert_eq!(next(State::Destroying, event).is_ok(), event == Event::Gone, "{event:?}");
        }
    }

    proptest! {
        #[test]
        fn what_was_in_service_is_never_destroyed_by_itself_without_a_pending_deletion(events in proptest::collection::vec(0_usize..7, 0..20)) {
            let mut state = State::Active;
            let mut was_pending = false;
            for event in events.into_iter().filter_map(|index| Event::ALL.get(index)).filter(|event| **event != Event::OwnerDestroyed) {
                if let Ok(following) = next(state, *event) {
                    state = following;
                }
                was_pending |= state == State::PendingDeletion;
                prop_assert!(was_pending || state == State::Active);
            }
        }

        #[test]
        fn a_deletion_is_due_seven_days_on_and_less_than_an_hour_more(micros in 0_i64..4_102_444_800_000_000) {
            let now = Timestamp::from_micros(micros);
            let due = deletion_due(now);
            prop_assert!(due.since(now) >= DELETION_DELAY);
            prop_assert!(due.since(now) < DELETION_DELAY + Duration::from_secs(3600));
            prop_assert_eq!(due.micros() % 3_600_000_000, 0);
        }
    }
}
