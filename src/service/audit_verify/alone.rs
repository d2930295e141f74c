//! What somebody changed alone while approval was on. The gate lets no such change through (`store/unit.rs`): whoever has one in the log went round
//! it.
//!
//! Approval may have been turned on in a chain that is read later than that of the change, so all is held against each other at the end.

use std::collections::HashMap;
use std::time::Duration;

use super::{Place, Report};
use crate::domain::approval::RequestRecord;
use crate::domain::audit::Operation;
use crate::domain::clock_watch::SKEW_MAX;
use crate::domain::ids::ProjectId;
use crate::store::StoredRecord;

/// The most changes that are kept to be looked at, 48 bytes each.
const CHANGES_MAX: usize = 1_000_000;
/// How far a node's clock may be set back between two of its processes.
const STEP_MAX: Duration = Duration::from_secs(1);

/// Where a record is, and which node wrote it.
#[derive(Debug, Clone, Copy)]
struct Written {
    place: Place,
    node: usize,
}

impl Written {
    /// Whether it was written before the other one, for all that is told: of one chain by the numbers, of two by the clocks.
    fn is_before(&self, other: &Self) -> bool {
        if self.place.chain == other.place.chain {
            return self.place.sequence < other.place.sequence;
        }
        let apart = if self.node == other.node { STEP_MAX } else { SKEW_MAX };
        self.place.at.plus(apart) < other.place.at
    }
}

/// When approval was turned on and off, and what people changed without a request.
#[derive(Debug, Default)]
pub(super) struct Alone {
    /// By project: where, and whether it was on from then on.
    turns: HashMap<ProjectId, Vec<(Written, bool)>>,
    changes: Vec<(ProjectId, Written)>,
    /// The nodes that are known, each by its place here.
    nodes: Vec<String>,
    /// How many changes there were beyond those that are kept.
    beyond: u64,
}

impl Alone {
    /// Takes one record of a chain of that node.
    pub(super) fn record(&mut self, record: &StoredRecord, node: &str) {
        let event = &record.event;
        let Some(project) = event.project.filter(|_| event.result_code == 0) else { return };
        let written = Written { place: Place::of(record), node: self.node(node) };
        match event.operation {
            Operation::TurnApprovalOn => self.turn(project, written, true),
            Operation::TurnApprovalOff | Operation::DisableApproval => self.turn(project, written, false),
            _ => {}
        }
        if event.operation.is_change() && event.actor.is_person() && !is_of_request(record) {
            if self.changes.len() < CHANGES_MAX {
                self.changes.push((project, written));
            } else {
                self.beyond += 1;
            }
        }
    }

    fn turn(&mut self, project: ProjectId, written: Written, is_on: bool) {
        self.turns.entry(project).or_default().push((written, is_on));
    }

    fn node(&mut self, name: &str) -> usize {
        self.nodes.iter().position(|known| known == name).unwrap_or_else(|| {
            self.nodes.push(name.to_owned());
            self.nodes.len() - 1
        })
    }

    /// The whole log is read.
    pub(super) fn end(&self, report: &mut Report) {
        for (project, change) in self.changes.iter().filter(|(project, change)| self.is_on(*project, change)) {
            let Place { chain, sequence, .. } = change.place;
            report.finds(format!("chain {chain}: record {sequence} changes project {}, which had approval on, and nobody was asked for it", project.0));
        }
        if self.beyond > 0 {
            report.notes(format!("whether approval was on was looked at for the first {CHANGES_MAX} changes, and not for {} more", self.beyond));
        }
    }

    /// Whether approval was on then, for all that the clocks of several processes tell.
    fn is_on(&self, project: ProjectId, change: &Written) -> bool {
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

    /// Each chain of its own node, but for the third, which is one of the first node's.
    fn written(chain: u8, sequence: i64, minute: i64) -> Written {
        let place = Place { chain: ChainId::from_bytes([chain; 16]), sequence, at: Timestamp::from_micros(minute * MINUTE) };
        Written { place, node: usize::from(if chain == 3 { 1 } else { chain }) }
    }

    fn is_on(turns: &[(Written, bool)], change: Written) -> bool {
        let project = ProjectId(1);
        Alone { turns: HashMap::from([(project, turns.to_vec())]), ..Alone::default() }.is_on(project, &change)
    }

    /// In one chain numbers tell, between two the clocks, as far as they may be apart.
    #[test]
    fn approval_is_on_from_one_turn_to_the_next() {
        let (on, off) = ((written(1, 10, 100), true), (written(1, 20, 200), false));
        for (change, expected) in [(written(1, 9, 100), false), (written(1, 11, 100), true), (written(1, 19, 200), true), (written(1, 21, 200), false)] {
            assert_eq!(is_on(&[on, off], change), expected, "{change:?}");
            assert_eq!(is_on(&[off, on], change), expected, "{change:?}");
        }
        for (minute, expected) in [(104, false), (106, true), (194, true), (196, false), (204, false), (206, false)] {
            assert_eq!(is_on(&[on, off], written(2, 0, minute)), expected, "{minute}");
        }
        for (minute, expected) in [(99, false), (101, true), (199, true), (201, false)] {
            assert_eq!(is_on(&[on, off], written(3, 0, minute)), expected, "{minute}");
        }
        let again = (written(2, 5, 300), true);
        assert!(is_on(&[on, off, again], written(2, 6, 300)) && !is_on(&[on, off, again], written(1, 30, 290)));
        assert!(!is_on(&[], written(1, 0, 0)));
    }
}
