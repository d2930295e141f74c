//! What somebody changed alone while approval was on. The gate lets no such change through (`store/unit.rs`): whoever has one in the log went round
//! it.
//!
//! Approval may have been turned on in a chain that is read later than that of the change, so all is held against each other at the end. Records of
//! one node are in an order that nothing can put in doubt: by their numbers in one chain, by the numbers of chains otherwise, one process of a node
//! having ended before the next one began. Between nodes the clocks tell, which may be wrong: what they say is a note, and no finding.

use std::collections::HashMap;

use super::Report;
use crate::domain::approval::RequestRecord;
use crate::domain::audit::Operation;
use crate::domain::clock::Timestamp;
use crate::domain::clock_watch::SKEW_MAX;
use crate::domain::ids::{ChainId, ProjectId};
use crate::store::{StoredChain, StoredRecord};

/// The most changes that are kept to be looked at, 48 bytes each.
const CHANGES_MAX: usize = 1_000_000;

/// Where a record is, by which node, and when.
#[derive(Debug, Clone, Copy)]
struct Written {
    node: usize,
    /// The chain's number: one that began later has a higher one.
    number: i64,
    chain: ChainId,
    sequence: i64,
    at: Timestamp,
}

impl Written {
    /// Whether it was surely written before the other one.
    fn is_before(&self, other: &Self) -> bool {
        if self.node == other.node { self.place() < other.place() } else { self.at.plus(SKEW_MAX) < other.at }
    }

    /// Whether it was, for all that is known: the clocks are believed.
    fn seems_before(&self, other: &Self) -> bool {
        if self.node == other.node { self.place() < other.place() } else { self.at < other.at }
    }

    const fn place(&self) -> (i64, i64) {
        (self.number, self.sequence)
    }
}

/// What is known of a project.
#[derive(Debug, Default)]
struct Known {
    /// Where approval was turned on.
    on: Vec<Written>,
    /// Where it was turned off.
    off: Vec<Written>,
    /// What people changed without a request.
    changes: Vec<Written>,
}

impl Known {
    /// Whether approval was on then: turned on before, and since then not off again.
    fn is_on(&self, change: &Written) -> bool {
        self.on.iter().any(|on| on.is_before(change) && self.off.iter().all(|off| off.seems_before(on) || change.is_before(off)))
    }

    /// Whether no clock is needed to tell.
    fn is_certain(&self, change: &Written) -> bool {
        self.on.iter().chain(&self.off).all(|turn| turn.node == change.node)
    }
}

/// When approval was turned on and off, and what people changed without a request.
#[derive(Debug, Default)]
pub(super) struct Alone {
    projects: HashMap<ProjectId, Known>,
    /// The nodes that are known, each by its place here.
    nodes: Vec<String>,
    /// How many changes are kept.
    kept: usize,
    /// How many there were beyond those.
    beyond: u64,
}

impl Alone {
    /// Takes one record of a chain.
    pub(super) fn record(&mut self, record: &StoredRecord, chain: &StoredChain) {
        let event = &record.event;
        let Some(project) = event.project.filter(|_| event.result_code == 0) else { return };
        let is_on = event.operation == Operation::TurnApprovalOn;
        let is_off = matches!(event.operation, Operation::TurnApprovalOff | Operation::DisableApproval);
        let is_change = event.operation.is_change() && event.actor.is_person() && !is_of_request(record);
        if !(is_on || is_off || is_change) {
            return;
        }
        let node = self.node(&chain.node);
        let written = Written { node, number: chain.number, chain: chain.chain, sequence: record.sequence, at: event.at };
        let known = self.projects.entry(project).or_default();
        if is_on {
            known.on.push(written);
        } else if is_off {
            known.off.push(written);
        }
        if is_change && self.kept < CHANGES_MAX {
            known.changes.push(written);
            self.kept += 1;
        } else if is_change {
            self.beyond += 1;
        }
    }

    fn node(&mut self, name: &str) -> usize {
        self.nodes.iter().position(|known| known == name).unwrap_or_else(|| {
            self.nodes.push(name.to_owned());
            self.nodes.len() - 1
        })
    }

    /// The whole log is read.
    pub(super) fn end(&self, report: &mut Report) {
        let mut projects: Vec<_> = self.projects.iter().filter(|(_, known)| !known.on.is_empty()).collect();
        projects.sort_unstable_by_key(|(project, _)| project.0);
        for (project, known) in projects {
            for change in known.changes.iter().filter(|change| known.is_on(change)) {
                let Written { chain, sequence, .. } = change;
                let told = format!("chain {chain}: record {sequence} changes project {}, which had approval on, and nobody was asked for it", project.0);
                if known.is_certain(change) { report.finds(told) } else { report.notes(format!("by the clocks of several nodes, {told}")) }
            }
        }
        if self.beyond > 0 {
            report.notes(format!("whether approval was on was looked at for {CHANGES_MAX} changes, and not for {} more", self.beyond));
        }
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

    const MINUTE: i64 = 60_000_000;

    /// Each chain of its own node, but for the third, which is the first node's next one.
    fn written(chain: u8, sequence: i64, minute: i64) -> Written {
        let at = Timestamp::from_micros(minute * MINUTE);
        Written { node: usize::from(if chain == 3 { 1 } else { chain }), number: chain.into(), chain: ChainId::from_bytes([chain; 16]), sequence, at }
    }

    /// In one chain numbers tell, on one node the numbers of chains, whatever the clock says, and between two nodes the clocks, as far as they may be
    /// apart.
    #[test]
    fn approval_is_on_from_one_turn_to_the_next() {
        let mut known = Known { on: vec![written(1, 10, 100)], off: vec![written(1, 20, 200)], changes: Vec::new() };
        for (change, expected) in [(written(1, 9, 100), false), (written(1, 11, 100), true), (written(1, 19, 200), true), (written(1, 21, 150), false)] {
            assert_eq!((known.is_on(&change), known.is_certain(&change)), (expected, true), "{change:?}");
        }
        for (minute, expected) in [(104, false), (106, true), (194, true), (196, false), (204, false), (206, false)] {
            let change = written(2, 0, minute);
            assert_eq!((known.is_on(&change), known.is_certain(&change)), (expected, false), "{minute}");
        }
        assert!(!known.is_on(&written(3, 0, 150)), "the process that turned it off had ended");
        known.off.clear();
        assert!(known.is_on(&written(3, 0, 50)) && known.is_certain(&written(3, 0, 50)), "a clock that was set back tells nothing");
        // Off on one node, and on again on another one a minute later.
        let again = Known { on: vec![written(1, 10, 100), written(2, 5, 201)], off: vec![written(1, 20, 200)], changes: Vec::new() };
        assert!(again.is_on(&written(2, 6, 201)) && again.is_on(&written(1, 30, 207)) && !again.is_on(&written(1, 30, 203)));
        assert!(!Known::default().is_on(&written(1, 0, 0)));
    }
}
