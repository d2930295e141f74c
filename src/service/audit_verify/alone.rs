//! What somebody changed alone while approval was on. The gate lets no such change through (`store/unit.rs`): whoever has one in the log went round
//! it.
//!
//! Approval may have been turned on in a chain that is read later than that of the change, so all is held against each other at the end.

use std::collections::HashMap;

use super::{Place, Report};
use crate::domain::approval::RequestRecord;
use crate::domain::audit::Operation;
use crate::domain::ids::ProjectId;
use crate::store::StoredRecord;

/// The most changes that are kept to be looked at, 40 bytes each.
const CHANGES_MAX: usize = 1_000_000;

/// When approval was turned on and off, and what people changed without a request.
#[derive(Debug, Default)]
pub(super) struct Alone {
    /// By project: where, and whether it was on from then on.
    turns: HashMap<ProjectId, Vec<(Place, bool)>>,
    changes: Vec<(ProjectId, Place)>,
    /// How many changes there were beyond those that are kept.
    beyond: u64,
}

impl Alone {
    /// Takes one record of a chain.
    pub(super) fn record(&mut self, record: &StoredRecord) {
        let event = &record.event;
        let Some(project) = event.project.filter(|_| event.result_code == 0) else { return };
        match event.operation {
            Operation::TurnApprovalOn => self.turn(project, record, true),
            Operation::TurnApprovalOff | Operation::DisableApproval => self.turn(project, record, false),
            _ => {}
        }
        if event.operation.is_change() && event.actor.is_person() && !is_of_request(record) {
            if self.changes.len() < CHANGES_MAX {
                self.changes.push((project, Place::of(record)));
            } else {
                self.beyond += 1;
            }
        }
    }

    fn turn(&mut self, project: ProjectId, record: &StoredRecord, is_on: bool) {
        self.turns.entry(project).or_default().push((Place::of(record), is_on));
    }

    /// The whole log is read.
    pub(super) fn end(&self, report: &mut Report) {
        for (project, change) in self.changes.iter().filter(|(project, change)| self.is_on(*project, change)) {
            let Place { chain, sequence, .. } = change;
            report.finds(format!("chain {chain}: record {sequence} changes project {}, which had approval on, and nobody was asked for it", project.0));
        }
        if self.beyond > 0 {
            report.notes(format!("whether approval was on was looked at for the first {CHANGES_MAX} changes, and not for {} more", self.beyond));
        }
    }

    /// Whether approval was on then, for all that the clocks of several processes tell.
    fn is_on(&self, project: ProjectId, change: &Place) -> bool {
        let turns = self.turns.get(&project).map_or(&[][..], Vec::as_slice);
        let (on, off): (Vec<_>, Vec<_>) = turns.iter().map(|(place, is_on)| (place, *is_on)).partition(|(_, is_on)| *is_on);
        // Turned on before, and since then not off again.
        on.iter().any(|(on, _)| on.is_before(change) && off.iter().all(|(off, _)| off.is_before(on) || change.is_before(off)))
    }
}

/// Whether it is the record of a change that a request was applied with: that is held against the request.
fn is_of_request(record: &StoredRecord) -> bool {
    let told = record.event.detail.as_deref().and_then(RequestRecord::parse);
    told.is_some_and(|told| told.digest.is_some() && told.request.as_bytes() == record.event.request.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::Timestamp;
    use crate::domain::ids::ChainId;

    const MINUTE: i64 = 60_000_000;

    fn place(chain: u8, sequence: i64, minute: i64) -> Place {
        Place { chain: ChainId::from_bytes([chain; 16]), sequence, at: Timestamp::from_micros(minute * MINUTE) }
    }

    fn is_on(turns: &[(Place, bool)], change: Place) -> bool {
        let project = ProjectId(1);
        Alone { turns: HashMap::from([(project, turns.to_vec())]), ..Alone::default() }.is_on(project, &change)
    }

    /// In one chain numbers tell, between two the clocks, as far as they may be apart.
    #[test]
    fn approval_is_on_from_one_turn_to_the_next() {
        let (on, off) = ((place(1, 10, 100), true), (place(1, 20, 200), false));
        for (change, expected) in [(place(1, 9, 100), false), (place(1, 11, 100), true), (place(1, 19, 200), true), (place(1, 21, 200), false)] {
            assert_eq!(is_on(&[on, off], change), expected, "{change:?}");
            assert_eq!(is_on(&[off, on], change), expected, "{change:?}");
        }
        for (minute, expected) in [(104, false), (106, true), (194, true), (196, false), (204, false), (206, false)] {
            assert_eq!(is_on(&[on, off], place(2, 0, minute)), expected, "{minute}");
        }
        let again = (place(2, 5, 300), true);
        assert!(is_on(&[on, off, again], place(2, 6, 300)) && !is_on(&[on, off, again], place(1, 30, 290)));
        assert!(!is_on(&[], place(1, 0, 0)));
    }
}
