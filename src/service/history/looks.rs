//! Who looked at what lately.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};

use crate::domain::account::SecretHash;
use crate::domain::clock::Timestamp;
use crate::domain::history::HistoryScope;

/// How long a look that was recorded stands for the same one again.
pub(super) const LOOK_RECORDED_EVERY: Duration = Duration::from_secs(600);
/// The most looks that are remembered; beyond them each is recorded.
const LOOKS_MAX: usize = 4_096;

/// A session, what it looked at, by which filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Look([u8; 32]);

impl Look {
    pub(super) fn new(session: SecretHash, scope: HistoryScope, detail: &str) -> Self {
        let scope = match scope {
            HistoryScope::Project(project) => format!("p{project}"),
            HistoryScope::NoProject => "n".to_owned(),
            HistoryScope::Everything => "e".to_owned(),
        };
        // The session's part is of one length, and no scope has a slash in it.
        Self(Sha256::new().chain_update(session.0).chain_update(scope).chain_update(b"/").chain_update(detail).finalize().into())
    }
}

/// The looks that were recorded by this process.
#[derive(Debug, Default)]
pub(in crate::service) struct Looks(Mutex<HashMap<Look, Timestamp>>);

impl Looks {
    /// Whether it was recorded so lately that it needs no record again.
    pub(super) fn is_known(&self, look: Look, now: Timestamp) -> bool {
        self.0.lock().get(&look).is_some_and(|at| *at <= now && now.since(*at) < LOOK_RECORDED_EVERY)
    }

    /// Notes that it is recorded; one that is known keeps its time, or it would never be recorded again.
    pub(super) fn note(&self, look: Look, now: Timestamp) {
        if self.is_known(look, now) {
            return;
        }
        let mut looks = self.0.lock();
        if looks.len() >= LOOKS_MAX {
            looks.retain(|_, at| *at <= now && now.since(*at) < LOOK_RECORDED_EVERY);
        }
        if looks.len() < LOOKS_MAX {
            looks.insert(look, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::ProjectId;

    #[test]
    fn a_look_stands_for_itself_alone_and_for_a_while() {
        let (looks, now) = (Looks::default(), Timestamp::from_micros(0));
        let mine = Look::new(SecretHash([1; 32]), HistoryScope::Project(ProjectId(1)), "all");
        looks.note(mine, now);
        for other in [
            Look::new(SecretHash([2; 32]), HistoryScope::Project(ProjectId(1)), "all"),
            Look::new(SecretHash([1; 32]), HistoryScope::Project(ProjectId(2)), "all"),
            Look::new(SecretHash([1; 32]), HistoryScope::NoProject, "all"),
            Look::new(SecretHash([1; 32]), HistoryScope::Project(ProjectId(1)), "who=kim"),
        ] {
            assert!(looks.is_known(mine, now) && !looks.is_known(other, now));
        }
        let later = now.plus(LOOK_RECORDED_EVERY);
        looks.note(mine, now.plus(LOOK_RECORDED_EVERY / 2));
        assert!(!looks.is_known(mine, later), "a look is recorded again, however often one looks");
        assert!(!looks.is_known(mine, now.minus(Duration::from_secs(1))), "nor does a clock that went back hide one");
    }

    #[test]
    fn what_does_not_fit_is_recorded_each_time() {
        let (looks, now) = (Looks::default(), Timestamp::from_micros(0));
        let look = |n: usize| Look::new(SecretHash([1; 32]), HistoryScope::Everything, &n.to_string());
        (0..=LOOKS_MAX).for_each(|n| looks.note(look(n), now));
        assert!(looks.is_known(look(0), now) && !looks.is_known(look(LOOKS_MAX), now));
        looks.note(look(LOOKS_MAX), now.plus(LOOK_RECORDED_EVERY));
        assert_eq!(looks.0.lock().len(), 1, "what is over makes room");
    }
}
