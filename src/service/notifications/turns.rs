//! Who is served now: several recipients at a time, each by one task, so that one who is slow keeps nobody else waiting.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::domain::ids::{ProjectId, RecipientId};

/// Recipients of projects that are served at a time.
const OF_PROJECTS_MAX: usize = 32;
/// Recipients of one project, or of the installation, that are served at a time: whoever administers one project, and names receivers that
/// hang, keeps no other's waiting, and the installation's never wait for any project's.
const OF_ONE_MAX: usize = 8;

/// Who is served now, and for which project.
#[derive(Debug, Clone, Default)]
pub(super) struct Turns(Arc<Mutex<HashMap<RecipientId, Option<ProjectId>>>>);

/// A recipient's turn, which ends when it is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    recipient: RecipientId,
    turns: Turns,
}

impl Turns {
    /// Begins a recipient's turn, if it isn't served already and there is a place.
    pub(super) fn begin(&self, recipient: RecipientId, project: Option<ProjectId>) -> Option<Turn> {
        let mut served = self.0.lock();
        let of_one = served.values().filter(|other| **other == project).count();
        let of_projects = served.values().filter(|other| other.is_some()).count();
        let is_full = of_one >= OF_ONE_MAX || (project.is_some() && of_projects >= OF_PROJECTS_MAX);
        if is_full || served.contains_key(&recipient) {
            return None;
        }
        served.insert(recipient, project);
        Some(Turn { recipient, turns: self.clone() })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.turns.0.lock().remove(&self.recipient);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_project_takes_all_places_and_the_installation_always_has_some() {
        let turns = Turns::default();
        let begin = |recipient: i64, project: Option<i64>| turns.begin(RecipientId(recipient), project.map(ProjectId));
        let mut served: Vec<Turn> = (0..20).filter_map(|recipient| begin(recipient, Some(1))).collect();
        assert_eq!(served.len(), OF_ONE_MAX);
        served.extend((100..200).filter_map(|recipient| begin(recipient, Some(recipient))));
        assert_eq!(served.len(), OF_PROJECTS_MAX);
        served.extend((200..300).filter_map(|recipient| begin(recipient, None)));
        assert_eq!(served.len(), OF_PROJECTS_MAX + OF_ONE_MAX);
        assert!(begin(300, Some(300)).is_none());
        served.clear();
        let again = begin(0, Some(1));
        assert!(again.is_some() && begin(0, Some(1)).is_none(), "one at a time");
        drop(again);
        assert!(begin(0, Some(1)).is_some());
    }
}
