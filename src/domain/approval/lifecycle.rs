//! The life of a change request: one `match` holds every legal transition.

/// Where a draft or request stands.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum RequestState {
    /// Being edited; nobody has asked yet.
    Draft,
    /// Asked for: waits for somebody to decide, and changes no more.
    Ready,
    /// Approved, and being applied.
    Applying,
    /// Applied: all of it is done.
    Approved,
    /// Somebody said no.
    Denied,
    /// Whoever asked thought better of it.
    Withdrawn,
    /// Nobody decided in time.
    Expired,
    /// Approved, but it could not be applied: nothing of it is done.
    Failed,
}

impl RequestState {
    /// All states.
    pub const ALL: [Self; 8] = [Self::Draft, Self::Ready, Self::Applying, Self::Approved, Self::Denied, Self::Withdrawn, Self::Expired, Self::Failed];

    /// The word that the database keeps and the API uses.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Draft => "DRAFT",
            Self::Ready => "READY",
            Self::Applying => "APPLYING",
            Self::Approved => "APPROVED",
            Self::Denied => "DENIED",
            Self::Withdrawn => "WITHDRAWN",
            Self::Expired => "EXPIRED",
            Self::Failed => "FAILED",
        }
    }

    /// The state that `text` names.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }

    /// Whether something may still come of it. A key store has one such at a time.
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Draft | Self::Ready | Self::Applying)
    }
}

/// What may happen to a draft or request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RequestEvent {
    /// Somebody asks for it.
    Requested,
    /// Somebody else approves it.
    Approved,
    /// It is applied, all of it.
    Applied,
    /// Somebody else says no.
    Denied,
    /// It is withdrawn.
    Withdrawn,
    /// Its time is over.
    Expired,
    /// It can't be applied.
    Failed,
}

impl RequestEvent {
    /// All events.
    pub const ALL: [Self; 7] = [Self::Requested, Self::Approved, Self::Applied, Self::Denied, Self::Withdrawn, Self::Expired, Self::Failed];
}

/// The event can't happen in this state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{event:?} can't happen to what is {state:?}")]
pub struct IllegalTransition {
    /// The state it is in.
    pub state: RequestState,
    /// What was to happen.
    pub event: RequestEvent,
}

/// The state that follows `state` when `event` happens.
pub const fn next(state: RequestState, event: RequestEvent) -> Result<RequestState, IllegalTransition> {
    match (state, event) {
        (RequestState::Draft, RequestEvent::Requested) => Ok(RequestState::Ready),
        (RequestState::Draft | RequestState::Ready, RequestEvent::Withdrawn) => Ok(RequestState::Withdrawn),
        (RequestState::Draft | RequestState::Ready, RequestEvent::Expired) => Ok(RequestState::Expired),
        (RequestState::Ready, RequestEvent::Approved) => Ok(RequestState::Applying),
        (RequestState::Ready, RequestEvent::Denied) => Ok(RequestState::Denied),
        (RequestState::Applying, RequestEvent::Applied) => Ok(RequestState::Approved),
        (RequestState::Applying, RequestEvent::Failed) => Ok(RequestState::Failed),
        _ => Err(IllegalTransition { state, event }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn words_read_back() {
        for state in RequestState::ALL {
            assert_eq!(RequestState::parse(state.as_str()), Some(state));
        }
    }

    proptest! {
        /// Whatever happens: it is applied after an approval alone, which comes after a request alone, once; and what has come to an end
        /// stays so.
        #[test]
        fn nothing_is_applied_that_was_not_asked_for_and_approved(events in prop::collection::vec(0..RequestEvent::ALL.len(), 0..40)) {
            let mut state = RequestState::Draft;
            let mut happened = Vec::new();
            for event in events.into_iter().filter_map(|index| RequestEvent::ALL.get(index).copied()) {
                let Ok(after) = next(state, event) else { continue };
                prop_assert!(state.is_open(), "{event:?} after the end");
                prop_assert_ne!(after, state);
                happened.push(event);
                state = after;
            }
            let applied = [RequestEvent::Requested, RequestEvent::Approved, RequestEvent::Applied];
            prop_assert_eq!(state == RequestState::Approved, happened == applied);
            prop_assert_eq!(state == RequestState::Failed, happened == [RequestEvent::Requested, RequestEvent::Approved, RequestEvent::Failed]);
            prop_assert!(happened.len() <= 3);
        }
    }
}
