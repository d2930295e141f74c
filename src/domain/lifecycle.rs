//! The life of keys, versions and client rules: one `match` holds every legal transition.

use std::time::Duration;

use super::clock::Timestamp;
use super::key::State;

/// How long a deletion stays pending, before rounding up to the hour.
pub const DELETION_DELAY: Duration = Duration::from_secs(7 * 86_400);

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
    /// Its object is no longer in the token.
    Gone,
}

impl Event {
    /// All events.
    pub const ALL: [Self; 6] = [Self::Provisioned, Self::Abandoned, Self::DeletionRequested, Self::Restored, Self::Destroy, Self::Gone];
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
        (State::Provisioning, Event::Abandoned) | (State::PendingDeletion, Event::Destroy) => Ok(State::Destroying),
        (State::Active, Event::DeletionRequested) => Ok(State::PendingDeletion),
        (State::Destroying, Event::Gone) => Ok(State::Destroyed),
        _ => Err(IllegalTransition { state, event }),
    }
}

/// When a deletion that is asked for at `now` is due: seven days on, rounded up to the hour.
pub fn deletion_due(now: Timestamp) -> Timestamp {
    now.plus(DELETION_DELAY).rounded_up_to_hour()
}

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
        fn what_was_in_service_is_never_destroyed_without_a_pending_deletion(events in proptest::collection::vec(0_usize..6, 0..20)) {
            let mut state = State::Active;
            let mut was_pending = false;
            for event in events.into_iter().filter_map(|index| Event::ALL.get(index)) {
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
