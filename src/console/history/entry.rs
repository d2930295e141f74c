//! A record as pages show it. Much of it was written by clients: it is cut, and what could pass for something else is written as its number.

use super::super::Console;
use super::super::shown::{self, harmless};
use super::super::text::ENGLISH;
use crate::domain::approval::{RECORD_MAX_CHARS, parse_part};
use crate::domain::audit::{Actor, Operation};
use crate::domain::history::{HistoryPlace, Outcome};
use crate::domain::result_code::ResultCode;
use crate::service::HistoryEntry;

/// The most characters that a cell of the list shows of a text.
const CELL_MAX_CHARS: usize = 60;
/// The most characters that the details show of one: all of what the log keeps of what was asked for and approved.
const DETAIL_MAX_CHARS: usize = RECORD_MAX_CHARS;

/// A record.
#[derive(Debug)]
pub(super) struct Shown {
    pub(super) place: HistoryPlace,
    pub(super) at: String,
    /// To the microsecond.
    pub(super) exactly: String,
    pub(super) who: String,
    /// What tells more about who.
    pub(super) through: String,
    /// What the filter is given to find the same.
    pub(super) who_wanted: Option<String>,
    pub(super) address: Option<String>,
    pub(super) mac: Option<String>,
    pub(super) certificate: Option<String>,
    pub(super) agent: Option<String>,
    /// The same, cut for a cell.
    pub(super) agent_cut: Option<String>,
    pub(super) operation: String,
    /// Which part of what was asked for it is, and of how many.
    pub(super) part: Option<String>,
    pub(super) project: Option<String>,
    pub(super) key_store: Option<String>,
    pub(super) key_name: Option<String>,
    pub(super) key: Option<String>,
    pub(super) version: Option<u32>,
    /// A class and a word.
    pub(super) outcome: (&'static str, &'static str),
    /// The message of the result code, and the code.
    pub(super) code: Option<(&'static str, i32)>,
    pub(super) detail: Option<String>,
    pub(super) request: String,
    pub(super) chain: String,
    pub(super) hash: String,
}

/// `CREATE_KEY` as `Create key`.
pub(in crate::console) fn operation(operation: Operation) -> String {
    let mut words = operation.as_str().replace('_', " ").to_ascii_lowercase();
    if let Some(first) = words.get_mut(0..1) {
        first.make_ascii_uppercase();
    }
    words
}

/// The message of a result code.
pub(super) fn message(code: i32) -> Option<&'static str> {
    ResultCode::ALL.iter().find(|known| known.number() == code).map(|known| known.message())
}

fn outcome(code: i32) -> (&'static str, &'static str) {
    let t = &ENGLISH.history;
    match Outcome::of(code) {
        Outcome::Success => ("good", t.success),
        Outcome::Failed => ("bad", t.failed),
        Outcome::Refused | Outcome::Code(_) => ("warn", t.refused),
    }
}

/// Who, through what, and what the filter is given for it.
fn who(actor: &Actor) -> (String, String, Option<String>) {
    let t = &ENGLISH.history;
    let word = |word: &str| Some(word.to_owned());
    match actor {
        Actor::Appkey => (t.by_appkey.to_owned(), String::new(), word("appkey")),
        Actor::AccessKey { id, login } => (login.clone(), id.to_string(), Some(id.to_string())),
        Actor::Account(login) => (login.clone(), t.at_console.to_owned(), Some(login.clone())),
        Actor::Operator(uid) => (format!("{} {uid}", t.uid), t.at_machine.to_owned(), Some(format!("uid {uid}"))),
        Actor::Service => (t.by_service.to_owned(), String::new(), word("service")),
        Actor::Unknown => (t.by_nobody.to_owned(), String::new(), word("unknown")),
    }
}

impl Shown {
    pub(super) fn new(console: &Console, entry: HistoryEntry) -> Self {
        let HistoryEntry { place, record, project, key_store, key } = entry;
        let event = record.event;
        let (who, through, who_wanted) = who(&event.actor);
        let text = |text: &str| harmless(text, DETAIL_MAX_CHARS);
        let named = |name: Option<crate::domain::text::Name>| name.map(|name| harmless(name.as_str(), DETAIL_MAX_CHARS));
        let key_store = match (named(key_store), event.key_store) {
            (Some(name), Some(number)) => Some(format!("{name} ({number})")),
            (_, number) => number.map(|number| number.to_string()),
        };
        Self {
            place,
            at: shown::date(console, event.at),
            exactly: shown::exact_date(console, event.at),
            who: harmless(&who, CELL_MAX_CHARS),
            through: harmless(&through, CELL_MAX_CHARS),
            who_wanted,
            address: event.address.map(|address| address.to_string()),
            mac: event.mac.map(|mac| mac.to_string()),
            certificate: event.certificate.map(|fingerprint| fingerprint.to_string()),
            agent: event.user_agent.as_deref().map(text),
            agent_cut: event.user_agent.as_deref().map(|agent| harmless(agent, CELL_MAX_CHARS)),
            operation: operation(event.operation),
            part: event
                .detail
                .as_deref()
                .filter(|_| event.operation == Operation::DescribeRequest)
                .and_then(parse_part)
                .map(|(_, number, of, _)| format!("{number}/{of}")),
            project: named(project).or_else(|| event.project.map(|project| project.to_string())),
            key_store,
            key_name: named(key),
            key: event.key.map(|key| key.to_string()),
            version: event.version.map(|version| version.number()),
            outcome: outcome(event.result_code),
            code: message(event.result_code).map(|message| (message, event.result_code)),
            detail: event.detail.as_deref().map(text),
            request: event.request.to_string(),
            chain: format!("{} / {}", record.chain, record.sequence),
            hash: hex::encode(record.hash),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_read_as_words() {
        assert_eq!(operation(Operation::CreateKeyStore), "Create key store");
        assert!(Operation::ALL.iter().all(|known| !operation(*known).contains('_')));
    }
}
