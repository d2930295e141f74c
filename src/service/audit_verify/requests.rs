//! What was asked for, decided and applied, held against each other: the digest of each request is that of the content in the log, what was approved
//! was asked for before by somebody else, and what was applied is all of what was approved, and nothing else.
//!
//! Requests may go on in chains of other processes than those in which they began, which may be read before them: what is known of one is kept
//! until it has come to its end. What is read of a whole is one request's content, and a few numbers and names of each that is open.

use std::collections::HashMap;

use sha2::{Digest as _, Sha256};

use super::Report;
use super::content::ReadContent;
use crate::domain::approval::{CHANGES_MAX, CONTENT_MAX_BYTES, Decision, PARTS_MAX, RequestRecord, parse_part};
use crate::domain::audit::Operation;
use crate::domain::clock::Timestamp;
use crate::domain::clock_watch::SKEW_MAX;
use crate::domain::ids::{ChainId, ChangeRequestId};
use crate::store::StoredRecord;

/// Where a record is, and when it was written.
#[derive(Debug, Clone, Copy)]
struct Place {
    chain: ChainId,
    sequence: i64,
    at: Timestamp,
}

impl Place {
    fn of(record: &StoredRecord) -> Self {
        Self { chain: record.chain, sequence: record.sequence, at: record.event.at }
    }
}

/// What a content lists: each change by its place with its operation, and the login names of everybody who had a hand in it.
type Listed = (Vec<(u32, String)>, Vec<String>);

/// That somebody asked.
#[derive(Debug)]
struct Asked {
    place: Place,
    by: String,
    digest: [u8; 32],
    /// The changes with their operations, and who had a hand in it; none where the content can't be read.
    content: Option<Listed>,
}

/// That somebody decided, or that a request came to its end.
#[derive(Debug)]
struct Step {
    place: Place,
    by: String,
    told: RequestRecord,
}

/// What is known of a request.
#[derive(Debug, Default)]
struct Known {
    asked: Option<Asked>,
    decided: Option<Step>,
    /// The changes that were applied, in their order, and what the first of their records says.
    changes: Vec<(u32, String)>,
    first: Option<Step>,
    /// That it was applied, withdrawn or failed, or has expired.
    ended: Option<(Operation, Step)>,
}

/// A content that is being read, and what its first record says.
#[derive(Debug)]
struct Reading {
    record: StoredRecord,
    told: RequestRecord,
    parts: usize,
    next: usize,
    text: String,
}

/// What is known of the requests that haven't come to their end.
#[derive(Debug, Default)]
pub(super) struct Requests {
    open: HashMap<ChangeRequestId, Known>,
    reading: Option<Reading>,
}

impl Requests {
    /// Takes one record of a chain; they come in their order.
    pub(super) fn record(&mut self, record: &StoredRecord, report: &mut Report) {
        let is_part = record.event.operation == Operation::DescribeRequest && record.event.result_code == 0;
        match self.reading.take() {
            Some(reading) if is_part => return self.part(reading, record, report),
            Some(reading) => self.incomplete(reading, report),
            None if is_part => return report.finds(format!("chain {}: record {} is part of no request", record.chain, record.sequence)),
            None => {}
        }
        if record.event.result_code == 0 {
            self.step(record, report);
        }
    }

    /// A chain is at its end.
    pub(super) fn end_of_chain(&mut self, report: &mut Report) {
        if let Some(reading) = self.reading.take() {
            self.incomplete(reading, report);
        }
    }

    /// The whole log is read.
    pub(super) fn end(self, report: &mut Report) {
        for (id, known) in self.open {
            known.judge(id, report);
        }
    }

    fn incomplete(&mut self, reading: Reading, report: &mut Report) {
        let Reading { record, told, next, .. } = reading;
        report.finds(format!("request {}: part {next} of what was asked for is missing", told.request));
        self.ask(&record, told, None, report);
    }

    fn part(&mut self, mut reading: Reading, record: &StoredRecord, report: &mut Report) {
        let own = record.event.detail.as_deref().and_then(parse_part).filter(|(request, number, of, _)| {
            *request == reading.told.request && *number == reading.next && *of == reading.parts && record.event.request == reading.record.event.request
        });
        let Some((.., part)) = own.filter(|(.., part)| reading.text.len() + part.len() <= CONTENT_MAX_BYTES) else {
            return self.incomplete(reading, report);
        };
        reading.text.push_str(part);
        reading.next += 1;
        if reading.next <= reading.parts {
            self.reading = Some(reading);
            return;
        }
        let Reading { record, told, text, .. } = reading;
        let id = told.request;
        if told.digest != Some(Sha256::digest(&text).into()) {
            report.finds(format!("request {id}: what the log has of it is not what its digest says"));
        }
        let read = ReadContent::parse(&text).filter(|read| {
            let is_own =
                read.request == id.to_string() && read.requester.login == told.requester && record.event.project.map(|project| project.0) == Some(read.project);
            is_own && told.changes == Some(read.changes.len()) && record.event.actor.user() == told.requester
        });
        if read.is_none() {
            report.finds(format!("request {id}: what the log has of it is not what was asked for"));
        }
        let content = read.map(|read| {
            let (changes, editors): (_, Vec<_>) = read.changes.into_iter().map(|change| ((change.position, change.operation), change.editor.login)).unzip();
            (changes, read.hands.into_iter().map(|hand| hand.login).chain(editors).collect())
        });
        self.ask(&record, told, content, report);
    }

    fn ask(&mut self, record: &StoredRecord, told: RequestRecord, content: Option<Listed>, report: &mut Report) {
        let asked = Asked { place: Place::of(record), by: told.requester, digest: told.digest.unwrap_or_default(), content };
        self.note(told.request, report, |known| known.asked.replace(asked).is_none());
    }

    /// Notes something, which can be only once, and judges the request if that was its end.
    fn note(&mut self, id: ChangeRequestId, report: &mut Report, note: impl FnOnce(&mut Known) -> bool) {
        let mut known = self.open.remove(&id).unwrap_or_default();
        if !note(&mut known) {
            report.finds(format!("request {id}: what is recorded of it can't follow what is recorded before"));
        }
        if known.is_over() {
            known.judge(id, report);
        } else {
            self.open.insert(id, known);
        }
    }

    fn step(&mut self, record: &StoredRecord, report: &mut Report) {
        let event = &record.event;
        let told = event.detail.as_deref().and_then(RequestRecord::parse);
        let is_of_request = matches!(
            event.operation,
            Operation::RequestApproval
                | Operation::ApproveRequest
                | Operation::DenyRequest
                | Operation::WithdrawRequest
                | Operation::ExpireRequest
                | Operation::ApplyRequest
                | Operation::FailRequest
        );
        let told = match told {
            Some(told) => told,
            None if is_of_request => return report.finds(format!("chain {}: record {} says of no request what it must", record.chain, record.sequence)),
            None => return,
        };
        // Of a draft nobody has heard.
        if told.digest.is_none() {
            return;
        }
        let is_another = match event.operation {
            Operation::ApproveRequest => !matches!(told.decision, Some(Decision::Approved(_))),
            Operation::DenyRequest => !matches!(told.decision, Some(Decision::Denied(_))),
            _ => false,
        };
        if is_another {
            report.finds(format!("request {}: its decision is recorded as another one", told.request));
        }
        let (id, step) = (told.request, Step { place: Place::of(record), by: event.actor.user(), told });
        match event.operation {
            Operation::RequestApproval => self.begin(record.clone(), step.told, report),
            Operation::ApproveRequest | Operation::DenyRequest => self.note(id, report, |known| known.decided.replace(step).is_none()),
            Operation::WithdrawRequest | Operation::ExpireRequest | Operation::ApplyRequest | Operation::FailRequest => {
                let operation = event.operation;
                self.note(id, report, |known| known.ended.replace((operation, step)).is_none());
            }
            // Whatever else somebody is told to have called so, no other record is under a request's name.
            operation if event.request.as_bytes() == id.as_bytes() => self.note(id, report, |known| known.change(operation, step)),
            _ => {}
        }
    }

    fn begin(&mut self, record: StoredRecord, told: RequestRecord, report: &mut Report) {
        match told.parts {
            Some((1, parts)) if parts <= PARTS_MAX => self.reading = Some(Reading { record, told, parts, next: 1, text: String::new() }),
            _ => {
                report.finds(format!("request {}: it is not told in how many parts the log has it", told.request));
                self.ask(&record, told, None, report);
            }
        }
    }
}

impl Known {
    /// Takes a change that was applied; `false` where it isn't like those before it.
    fn change(&mut self, operation: Operation, step: Step) -> bool {
        let fits = self.changes.len() < CHANGES_MAX
            && self.first.as_ref().is_none_or(|first| first.told.digest == step.told.digest && first.told.decision == step.told.decision);
        if let Some(position) = step.told.change.filter(|_| fits) {
            self.changes.push((position, operation.as_str().to_owned()));
            self.first.get_or_insert(step);
            return true;
        }
        false
    }

    /// Whether nothing more comes of it, and all that came before is known.
    fn is_over(&self) -> bool {
        let is_denied = self.decided.as_ref().is_some_and(|decided| matches!(decided.told.decision, Some(Decision::Denied(_))));
        let needs_approval = self.ended.as_ref().map(|(operation, _)| matches!(operation, Operation::ApplyRequest | Operation::FailRequest));
        let has_ended = match needs_approval {
            Some(needs_approval) => self.decided.is_some() == needs_approval,
            None => is_denied,
        };
        self.asked.is_some() && has_ended
    }

    /// Looks whether it fits together.
    fn judge(&self, id: ChangeRequestId, report: &mut Report) {
        let mut judgement = Judgement::default();
        match &self.asked {
            None => judgement.finds("what is recorded of it was never asked for, or had come to its end"),
            Some(asked) => {
                self.judge_people(asked, &mut judgement);
                self.judge_changes(asked, &mut judgement);
            }
        }
        judgement.problems.iter().for_each(|problem| report.finds(format!("request {id}: {problem}")));
        judgement.doubts.iter().for_each(|doubt| report.notes(format!("request {id}: {doubt}")));
    }

    fn ended_by(&self, operation: Operation) -> Option<&Step> {
        self.ended.as_ref().filter(|(ended, _)| *ended == operation).map(|(_, step)| step)
    }

    /// What was decided and applied is what was asked for, and somebody else decided, afterwards.
    fn judge_people(&self, asked: &Asked, judgement: &mut Judgement) {
        let ended = self.ended.as_ref().map(|(_, step)| step);
        for step in [self.decided.as_ref(), self.first.as_ref(), ended].into_iter().flatten() {
            if step.told.digest != Some(asked.digest) || step.told.requester != asked.by {
                judgement.finds("what was decided or applied is not what was asked for");
            }
            judgement.follows(asked.place, step.place, "it was decided upon or applied before it was asked for");
        }
        let Some(decided) = &self.decided else { return };
        let Some(Decision::Approved(decider) | Decision::Denied(decider)) = &decided.told.decision else {
            return judgement.finds("it is not told who decided");
        };
        if *decider != decided.by {
            judgement.finds("somebody else decided than its record says");
        }
        let had_a_hand = asked.content.as_ref().is_some_and(|(_, hands)| hands.contains(decider));
        if *decider == asked.by || had_a_hand {
            judgement.finds("whoever decided upon it asked for it, or for some of it");
        }
    }

    /// What was applied is all of what was approved, by the one who did, once he had.
    fn judge_changes(&self, asked: &Asked, judgement: &mut Judgement) {
        let applied = self.ended_by(Operation::ApplyRequest);
        match applied {
            None if self.changes.is_empty() => {}
            None => judgement.finds("some of it was applied, and not all of it"),
            Some(applied) => {
                let all = asked.content.as_ref().is_none_or(|(changes, _)| *changes == self.changes);
                if !all || applied.told.changes != Some(self.changes.len()) {
                    judgement.finds("the changes that were applied are not those that were asked for");
                }
            }
        }
        let approved = self.decided.as_ref().filter(|decided| matches!(decided.told.decision, Some(Decision::Approved(_))));
        for step in [self.first.as_ref(), applied, self.ended_by(Operation::FailRequest)].into_iter().flatten() {
            match approved.filter(|approved| approved.told.decision == step.told.decision) {
                Some(approved) => judgement.follows(approved.place, step.place, "it was applied before it was approved"),
                None => judgement.finds("it was applied, or failed, and nobody had approved it"),
            }
        }
    }
}

/// What doesn't fit of a request, and what can't be told.
#[derive(Debug, Default)]
struct Judgement {
    problems: Vec<String>,
    doubts: Vec<String>,
}

impl Judgement {
    fn finds(&mut self, problem: &str) {
        if self.problems.iter().all(|known| known != problem) {
            self.problems.push(problem.to_owned());
        }
    }

    /// Holds it to be wrong if the record `later` was written before `earlier`. Of two chains the clocks of two processes tell, which may be wrong.
    fn follows(&mut self, earlier: Place, later: Place, problem: &str) {
        if earlier.chain == later.chain {
            if later.sequence <= earlier.sequence {
                self.finds(problem);
            }
        } else if later.at.plus(SKEW_MAX) < earlier.at && self.doubts.is_empty() {
            self.doubts.push(format!("by the clocks of two processes, {problem}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::approval::{Base, ChangeItem, ChangeRequest, Content, Hand, ProposedChange, RequestState, part_detail};
    use crate::domain::audit::{Actor, AuditEvent};
    use crate::domain::ids::{AccountId, KeyId, KeyStoreId, ProjectId, RequestId};

    fn request() -> ChangeRequest {
        ChangeRequest {
            id: ChangeRequestId::from_bytes([1; 16]),
            project: ProjectId(1),
            key_store: Some(KeyStoreId(1)),
            new_key_store: false,
            state: RequestState::Ready,
            requester: AccountId(1),
            requester_login: "amy".to_owned(),
            note: "n".to_owned(),
            digest: None,
            decider: None,
            reason: None,
            created: Timestamp::default(),
            requested: None,
            decided: None,
            ended: None,
            expires: Timestamp::default(),
            attempts: 0,
            revision: 1,
        }
    }

    /// A request with its records: asked for in one process, approved in the next, applied in a third.
    fn chains() -> Vec<Vec<StoredRecord>> {
        let request = request();
        let item = ChangeItem {
            position: 0,
            change: ProposedChange::RotateKey { key: KeyId::from_bytes([2; 16]) },
            base: Base { changed: None, before: Vec::new() },
            sealed_hash: None,
            object: None,
            editor: AccountId(1),
            editor_login: "amy".to_owned(),
            edited: Timestamp::default(),
        };
        let hands = [(1, "amy"), (3, "cat")].map(|(account, login)| Hand { account: AccountId(account), login: login.to_owned() });
        let content = Content::of(&request, &hands, &[item]);
        let of = RequestRecord {
            request: request.id,
            requester: "amy".to_owned(),
            decision: None,
            digest: Some(content.digest()),
            change: None,
            changes: None,
            parts: None,
        };
        let approved = RequestRecord { decision: Some(Decision::Approved("bob".to_owned())), ..of.clone() };
        let [amy, bob] = ["amy", "bob"].map(|login| Actor::Account(login.to_owned()));
        let parts = content.parts();
        let asked = RequestRecord { changes: Some(1), parts: Some((1, parts.len())), ..of };
        let mut first = vec![(Operation::RequestApproval, amy.clone(), asked.to_string())];
        let described = (1..).zip(&parts).map(|(number, part)| (Operation::DescribeRequest, amy.clone(), part_detail(request.id, number, parts.len(), part)));
        first.extend(described);
        let change = RequestRecord { change: Some(0), ..approved.clone() };
        let end = RequestRecord { changes: Some(1), ..approved.clone() };
        let chains = [
            first,
            vec![(Operation::ApproveRequest, bob, approved.to_string())],
            vec![(Operation::RotateKey, amy, change.to_string()), (Operation::ApplyRequest, Actor::Service, end.to_string())],
        ];
        let record = |chain: u8, (sequence, (operation, actor, detail)): (i64, (Operation, Actor, String))| StoredRecord {
            chain: ChainId::from_bytes([chain; 16]),
            sequence,
            previous: [0; 32],
            hash: [0; 32],
            event: AuditEvent {
                at: Timestamp::from_micros(i64::from(chain)),
                request: RequestId::from_bytes(*request.id.as_bytes()),
                project: Some(request.project),
                actor,
                address: None,
                mac: None,
                certificate: None,
                user_agent: None,
                operation,
                key_store: None,
                key: None,
                version: None,
                result_code: 0,
                detail: Some(detail),
            },
        };
        (0..).zip(chains).map(|(chain, records)| (0..).zip(records).map(|numbered| record(chain, numbered)).collect()).collect()
    }

    /// What is found when the chains are read in that order.
    fn findings(chains: &[Vec<StoredRecord>], order: [usize; 3]) -> Vec<String> {
        let (mut requests, mut report) = (Requests::default(), Report::default());
        for chain in order {
            chains[chain].iter().for_each(|record| requests.record(record, &mut report));
            requests.end_of_chain(&mut report);
        }
        requests.end(&mut report);
        report.findings.sort();
        report.findings
    }

    const ORDERS: [[usize; 3]; 6] = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];

    /// Whichever chain is read first, a request that fits together does, and what is missing, there twice, or somebody else's is found.
    #[test]
    fn the_order_of_chains_tells_nothing() {
        for order in ORDERS {
            assert_eq!(findings(&chains(), order), [""; 0], "{order:?}");
        }
        for chain in 0..3 {
            for record in 0..chains()[chain].len() {
                let mut less = chains();
                less[chain].remove(record);
                let expected = findings(&less, ORDERS[0]);
                assert!(!expected.is_empty(), "{chain} {record}");
                for order in ORDERS {
                    assert_eq!(findings(&less, order), expected, "{chain} {record} {order:?}");
                    let mut more = chains();
                    let twice = more[chain][record].clone();
                    more[chain].push(twice);
                    assert_ne!(findings(&more, order), [""; 0], "{chain} {record} {order:?}");
                }
            }
        }
        for login in ["amy", "cat"] {
            let mut own = chains();
            own[1][0].event.actor = Actor::Account(login.to_owned());
            let detail = own[1][0].event.detail.take().map(|detail| detail.replace("approved by bob", &format!("approved by {login}")));
            own[1][0].event.detail = detail;
            for order in ORDERS {
                assert!(findings(&own, order).iter().any(|finding| finding.ends_with("asked for it, or for some of it")), "{order:?}");
            }
        }
    }
}
