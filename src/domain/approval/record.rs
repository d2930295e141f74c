//! What records of the audit log say of a request: who asked, who decided, the digest of exactly what, and which change of it. Up to the first
//! colon there are names and numbers alone, which [`RequestRecord::parse`] reads back; what people wrote comes after it, quoted.

use std::fmt;

use super::change::{ChangeItem, ProposedChange};
use crate::domain::ids::ChangeRequestId;
use crate::domain::text::quoted;

/// The most characters that a record says of a change itself; the request's parts have all of it.
pub const TOLD_MAX_CHARS: usize = 4_000;
/// The most characters of the details of a record about a request: a reason of 1,000 characters, each of them written as its number, or a part of a
/// request's content, with what comes before.
pub const RECORD_MAX_CHARS: usize = super::PART_MAX_BYTES + 512;

/// Somebody's decision.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Decision {
    /// Approved, by whom.
    Approved(String),
    /// Denied, by whom.
    Denied(String),
}

/// What a record says of a request before it comes to what people wrote.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RequestRecord {
    /// The request.
    pub request: ChangeRequestId,
    /// Who asked, or began the draft.
    pub requester: String,
    /// What was decided.
    pub decision: Option<Decision>,
    /// The digest of what was asked for; a draft has none.
    pub digest: Option<[u8; 32]>,
    /// Which change it is about, by its position.
    pub change: Option<u32>,
    /// How many changes the request has.
    pub changes: Option<usize>,
    /// In which parts of the request's content: those of the change, or all of them.
    pub parts: Option<(usize, usize)>,
}

impl RequestRecord {
    /// With what people wrote, or what is made of that.
    pub fn with(&self, text: impl fmt::Display) -> String {
        format!("{self}: {text}")
    }

    /// What the details of a record say, if they are such as [`RequestRecord`] writes.
    pub fn parse(detail: &str) -> Option<Self> {
        let head = detail.split_once(": ").map_or(detail, |(head, _)| head);
        let mut said = head.split(", ");
        let (request, requester) = said.next()?.strip_prefix("request ")?.split_once(" by ")?;
        let requester = requester.to_owned();
        let mut read = Self { request: request.parse().ok()?, requester, decision: None, digest: None, change: None, changes: None, parts: None };
        said.try_for_each(|word| read.take(word))?;
        // Nothing else is written so.
        (read.to_string() == head).then_some(read)
    }

    fn take(&mut self, word: &str) -> Option<()> {
        if let Some(login) = word.strip_prefix("approved by ") {
            self.decision = Some(Decision::Approved(login.to_owned()));
        } else if let Some(login) = word.strip_prefix("denied by ") {
            self.decision = Some(Decision::Denied(login.to_owned()));
        } else if let Some(digest) = word.strip_prefix("SHA-256 ") {
            let mut bytes = [0; 32];
            hex::decode_to_slice(digest, &mut bytes).ok()?;
            self.digest = Some(bytes);
        } else if let Some(change) = word.strip_prefix("change ") {
            self.change = Some(change.parse().ok()?);
        } else if let Some(changes) = word.strip_prefix("changes ") {
            self.changes = Some(changes.parse().ok()?);
        } else if let Some(part) = word.strip_prefix("part ") {
            let part = part.parse().ok()?;
            self.parts = Some((part, part));
        } else {
            let (first, last) = word.strip_prefix("parts ")?.split_once('-')?;
            self.parts = Some((first.parse().ok()?, last.parse().ok()?));
        }
        Some(())
    }
}

impl fmt::Display for RequestRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "request {} by {}", self.request, self.requester)?;
        match &self.decision {
            None => {}
            Some(Decision::Approved(login)) => write!(f, ", approved by {login}")?,
            Some(Decision::Denied(login)) => write!(f, ", denied by {login}")?,
        }
        if let Some(digest) = self.digest {
            write!(f, ", SHA-256 {}", hex::encode(digest))?;
        }
        if let Some(change) = self.change {
            write!(f, ", change {change}")?;
        }
        if let Some(changes) = self.changes {
            write!(f, ", changes {changes}")?;
        }
        match self.parts {
            None => Ok(()),
            Some((first, last)) if first == last => write!(f, ", part {first}"),
            Some((first, last)) => write!(f, ", parts {first}-{last}"),
        }
    }
}

/// The details of the record that has a part of a request's content: its number, of how many.
pub fn part_detail(request: ChangeRequestId, number: usize, of: usize, part: &str) -> String {
    format!("request {request} part {number}/{of}: {part}")
}

/// What [`part_detail`] wrote: the request, the part's number, of how many, and the part.
pub fn parse_part(detail: &str) -> Option<(ChangeRequestId, usize, usize, &str)> {
    let (head, part) = detail.split_once(": ")?;
    let (request, numbers) = head.strip_prefix("request ")?.split_once(" part ")?;
    let (number, of) = numbers.split_once('/')?;
    let read = (request.parse().ok()?, number.parse().ok()?, of.parse().ok()?, part);
    (part_detail(read.0, read.1, read.2, part) == detail).then_some(read)
}

/// A change in short: its values by their names, as many as come into `most` characters.
pub fn told(change: &ProposedChange, most: usize) -> String {
    let fields = change.after();
    let (mut told, mut chars) = (Vec::new(), 0_usize);
    for field in &fields {
        let one = format!("{} {}", field.name, quoted(&field.value));
        chars = chars.saturating_add(one.chars().count() + 2);
        if chars > most {
            told.push(format!("… {} more", fields.len() - told.len()));
            break;
        }
        told.push(one);
    }
    told.join(", ")
}

impl ChangeItem {
    /// The change in short, with its operation.
    pub fn told(&self, most: usize) -> String {
        let (operation, told) = (self.change.operation(), told(&self.change, most));
        if told.is_empty() { operation.to_string() } else { format!("{operation} {told}") }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::account::Role;
    use crate::domain::approval::ProposedEntry;
    use crate::domain::client_checks::Method;
    use crate::domain::text::{Description, Name};

    fn record() -> RequestRecord {
        RequestRecord {
            request: ChangeRequestId::from_bytes([1; 16]),
            requester: "amy".to_owned(),
            decision: Some(Decision::Approved("bob".to_owned())),
            digest: Some([7; 32]),
            change: Some(4),
            changes: None,
            parts: Some((1, 3)),
        }
    }

    #[test]
    fn what_a_record_says_is_read_back() {
        let id = "01".repeat(16);
        let digest = "07".repeat(32);
        assert_eq!(record().to_string(), format!("request {id} by amy, approved by bob, SHA-256 {digest}, change 4, parts 1-3"));
        let plain = RequestRecord { decision: None, digest: None, change: None, parts: None, ..record() };
        let denied = RequestRecord { decision: Some(Decision::Denied("bob".to_owned())), change: None, parts: None, ..record() };
        let asked = RequestRecord { decision: None, change: None, changes: Some(3), parts: Some((2, 2)), ..record() };
        for written in [record(), plain.clone(), denied, asked] {
            assert_eq!(RequestRecord::parse(&written.to_string()).as_ref(), Some(&written));
            assert_eq!(RequestRecord::parse(&written.with(quoted("x: y, approved by mallory"))), Some(written));
        }
        assert_eq!(plain.to_string(), format!("request {id} by amy"));
        for wrong in [
            "",
            "request",
            "request 01 by amy",
            &format!("request {id}"),
            &format!("request {id} by amy, nonsense"),
            &format!("request {id} by amy, change 04"),
        ] {
            assert_eq!(RequestRecord::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn parts_are_read_back() {
        let id = ChangeRequestId::from_bytes([1; 16]);
        let detail = part_detail(id, 2, 12, "a: b \"c\"");
        assert_eq!(parse_part(&detail), Some((id, 2, 12, "a: b \"c\"")));
        for wrong in ["", &detail.replace("2/12", "2"), &detail.replace("2/12", "02/12"), &detail.replace("request", "draft")] {
            assert_eq!(parse_part(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_change_is_told_as_far_as_it_fits() {
        let role = ProposedChange::GrantRole { login: "eve".to_owned(), role: Role::ApprovalAdmin };
        assert_eq!(told(&role, TOLD_MAX_CHARS), r#"login "eve", role "APPROVAL ADMIN""#);
        assert_eq!(told(&role, 15), r#"login "eve", … 1 more"#);
        assert_eq!(told(&ProposedChange::DeleteKeyStore, TOLD_MAX_CHARS), "");
        let entry = |number| ProposedEntry { value: format!("10.0.0.{number}/32"), description: Description::default() };
        let entries = ProposedChange::AddClients { method: Method::Ipv4, entries: (0..250).map(entry).collect() };
        let told = told(&entries, TOLD_MAX_CHARS);
        assert!(told.starts_with(r#"method "IPV4", value "10.0.0.0/32", description "", value"#) && told.contains(" more"), "{told}");
    }

    proptest! {
        /// Whatever somebody calls a key, its record says the same of who asked and who approved, and never more than a record holds.
        #[test]
        fn a_name_pretends_to_be_nothing_else(name in ".{1,100}|(\", approved by [a-z]{1,5}(, change 9|: )?){1,4}", reason in ".{1,1000}") {
            let item = ProposedChange::ReplaceKeyStore {
                name: Name::from_stored(name),
                description: Description::from_stored(reason.clone()),
                checks: crate::domain::client_checks::ChecksPolicy::new(true, false, false, crate::domain::client_checks::AuthMode::And).expect("checks"),
            };
            let detail = record().with(told(&item, TOLD_MAX_CHARS));
            prop_assert_eq!(RequestRecord::parse(&detail), Some(record()));
            prop_assert!(detail.chars().count() <= RECORD_MAX_CHARS && !detail.chars().any(crate::domain::text::is_unseen));
            let denied = record().with(quoted(&reason));
            prop_assert_eq!(RequestRecord::parse(&denied), Some(record()));
            prop_assert!(denied.chars().count() <= RECORD_MAX_CHARS);
        }
    }
}
