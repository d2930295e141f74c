//! The content of a request as text: what an approver sees, what is hashed, what the audit log keeps and what is applied are one and the same.
//!
//! The text is JSON in one line, in this order, with no white space between: what it is, who asks for what about which key store of which
//! project, why; everybody who had a hand in it (who asks, who put something in or took it out, and who made the access keys that they came with); and for
//! each change, in their order, who put it there, what it builds on, what it says, its sealed part by hash, and its object
//! if that is made already. Nobody's words end before their quote, and nothing of the text is unseen, or written otherwise in a file for spreadsheets.
//! Its SHA-256 is the request's digest; `{"format":"skm change request 3",` begins nothing else that is hashed.

use std::ops::Range;

use sha2::{Digest as _, Sha256};

use super::change::{ChangeItem, Field, Made};
use super::{CHANGES_MAX, ChangeRequest};
use crate::domain::ids::{AccountId, ObjectId};
use crate::domain::text::{Invalid, quoted};

/// What the text says that it is.
pub const CONTENT_FORMAT: &str = "skm change request 3";
/// The most bytes of the text of a request's changes: 10,000 entries, the most of one upload, with some 150 bytes of description each.
pub const CHANGES_MAX_BYTES: usize = 2 << 20;
/// The most accounts that have a hand in one request.
pub const HANDS_MAX: usize = 200;
/// The most bytes of the text: what is beside the changes is a note of 1,000 characters, names and numbers.
pub const CONTENT_MAX_BYTES: usize = CHANGES_MAX_BYTES + (64 << 10);
/// The most bytes of one part of the text, as a record of the audit log keeps it.
pub const PART_MAX_BYTES: usize = 16 << 10;
/// The most parts of a text: all but the last have at most three bytes less than they could, where a character doesn't fit.
pub const PARTS_MAX: usize = CONTENT_MAX_BYTES.div_ceil(PART_MAX_BYTES - 3);

/// Somebody who had a hand in a request, and so doesn't decide upon it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hand {
    /// The account.
    pub account: AccountId,
    /// Its login name.
    pub login: String,
}

/// A request as text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Content {
    text: String,
    /// Where each change is in it, with its position.
    places: Vec<(u32, Range<usize>)>,
    /// Where each part ends.
    ends: Vec<usize>,
}

impl Content {
    /// All that is asked for, with the note that the request has, and those who had a hand in it, in the order of their accounts.
    pub fn of(request: &ChangeRequest, hands: &[Hand], items: &[ChangeItem]) -> Self {
        let all: Vec<String> = hands.iter().map(|hand| account(hand.account.0, &hand.login)).collect();
        let mut text = format!(
            r#"{{"format":{},"request":"{}","project":{},"keyStoreRow":{},"requester":{},"note":{},"hands":[{}],"changes":["#,
            exact(CONTENT_FORMAT),
            request.id,
            request.project.0,
            or_null(request.key_store.map(|key_store| key_store.0)),
            account(request.requester.0, &request.requester_login),
            exact(&request.note),
            all.join(","),
        );
        let mut places = Vec::with_capacity(items.len());
        for item in items {
            if !places.is_empty() {
                text.push(',');
            }
            let start = text.len();
            text.push_str(&of_item(item));
            places.push((item.position, start..text.len()));
        }
        text.push_str("]}");
        let ends = ends(&text);
        Self { text, places, ends }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// How many changes it has.
    pub fn changes(&self) -> usize {
        self.places.len()
    }

    /// Its SHA-256: the request's digest.
    pub fn digest(&self) -> [u8; 32] {
        Sha256::digest(&self.text).into()
    }

    /// The parts of the text, in order: put together they are the text.
    pub fn parts(&self) -> Vec<&str> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        self.ends.iter().zip(starts).map(|(end, start)| self.text.get(start..*end).unwrap_or_default()).collect()
    }

    /// In which parts, from 1, the change at that position begins and ends.
    pub fn parts_of(&self, position: u32) -> Option<(usize, usize)> {
        let (_, place) = self.places.iter().find(|(found, _)| *found == position)?;
        let part = |byte: usize| self.ends.iter().position(|end| byte < *end).map(|part| part + 1);
        Some((part(place.start)?, part(place.end - 1)?))
    }
}

/// Refuses changes that would be too much for one request, or for the audit log to tell.
pub fn check_size(items: &[ChangeItem]) -> Result<(), Invalid> {
    if items.len() > CHANGES_MAX {
        return Err(Invalid::new("changes", format!("are {CHANGES_MAX} already: ask for these first")));
    }
    let bytes: usize = items.iter().map(|item| of_item(item).len() + 1).sum();
    if bytes > CHANGES_MAX_BYTES {
        let problem = format!("would be {bytes} bytes of text, of at most {CHANGES_MAX_BYTES} in one request: ask for less at a time");
        return Err(Invalid::new("changes", problem));
    }
    Ok(())
}

fn ends(text: &str) -> Vec<usize> {
    let mut ends = Vec::with_capacity(text.len() / PART_MAX_BYTES + 1);
    let mut start = 0;
    while start < text.len() {
        let mut end = text.len().min(start + PART_MAX_BYTES);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        ends.push(end);
        start = end;
    }
    ends
}

fn of_item(item: &ChangeItem) -> String {
    // What the token makes once the request is approved is not there yet.
    let object = item.object.filter(|_| item.change.made() == Made::AtOnce);
    format!(
        r#"{{"position":{},"operation":"{}","editor":{},"baseChanged":{},"before":{},"after":{},"sealed":{},"object":{}}}"#,
        item.position,
        item.change.operation(),
        account(item.editor.0, &item.editor_login),
        or_null(item.base.changed.map(crate::domain::clock::Timestamp::micros)),
        fields(&item.base.before),
        fields(&item.change.after()),
        or_null(item.sealed_hash.map(|hash| exact(&hex::encode(hash)))),
        or_null(object.as_ref().map(ObjectId::as_bytes).map(|object| exact(&hex::encode(object)))),
    )
}

/// A string. Files for spreadsheets guard what follows a semicolon.
fn exact(text: &str) -> String {
    quoted(text).replace(';', r"\u003b")
}

fn account(id: i64, login: &str) -> String {
    format!(r#"{{"account":{id},"login":{}}}"#, exact(login))
}

fn or_null(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "null".to_owned(), |value| value.to_string())
}

fn fields(fields: &[Field]) -> String {
    let pairs: Vec<String> = fields.iter().map(|field| format!("[{},{}]", exact(&field.name), exact(&field.value))).collect();
    format!("[{}]", pairs.join(","))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::approval::{Base, Note, ProposedChange, ProposedEntry, RequestState};
    use crate::domain::client_checks::Method;
    use crate::domain::clock::Timestamp;
    use crate::domain::ids::{ChangeRequestId, KeyId, KeyStoreId, ObjectId, ProjectId};
    use crate::domain::key::{KeyKind, Origin, RotationPeriod};
    use crate::domain::text::{Description, Name};

    fn request() -> ChangeRequest {
        ChangeRequest {
            id: ChangeRequestId::from_bytes([1; 16]),
            project: ProjectId(1),
            key_store: Some(KeyStoreId(1)),
            new_key_store: false,
            state: RequestState::Ready,
            requester: AccountId(1),
            requester_login: "alice".to_owned(),
            note: "why".to_owned(),
            digest: None,
            decider: None,
            reason: None,
            created: Timestamp::default(),
            requested: None,
            decided: None,
            ended: None,
            expires: Timestamp::default(),
            attempts: 0,
            revision: 0,
        }
    }

    fn item(position: u32, change: ProposedChange) -> ChangeItem {
        let base = Base { changed: Some(Timestamp::from_micros(1)), before: vec![Field::new("name", "a")] };
        let object = Some(ObjectId::from_bytes([3; 16]));
        ChangeItem {
            position,
            change,
            base,
            sealed_hash: Some([7; 32]),
            object,
            editor: AccountId(1),
            editor_login: "alice".to_owned(),
            edited: Timestamp::default(),
        }
    }

    fn created(name: &str, origin: Origin) -> ProposedChange {
        ProposedChange::CreateKey {
            key: KeyId::from_bytes([2; 16]),
            key_kind: KeyKind::Symmetric,
            origin,
            name: Name::from_stored(name.to_owned()),
            description: Description::default(),
            rotation: RotationPeriod::NEVER,
        }
    }

    fn hands(logins: &[&str]) -> Vec<Hand> {
        (1..).zip(logins).map(|(account, login)| Hand { account: AccountId(account), login: (*login).to_owned() }).collect()
    }

    fn digest(request: &ChangeRequest, items: &[ChangeItem]) -> [u8; 32] {
        Content::of(request, &hands(&["alice"]), items).digest()
    }

    /// Each thing alone changes the digest.
    #[test]
    fn everything_is_bound() {
        let (base, first) = (request(), item(0, created("k", Origin::Imported)));
        let with = |change: &dyn Fn(&mut ChangeItem)| {
            let mut changed = first.clone();
            change(&mut changed);
            digest(&base, &[changed])
        };
        let of = |request: ChangeRequest| digest(&request, std::slice::from_ref(&first));
        let by = |logins: &[&str]| Content::of(&base, &hands(logins), std::slice::from_ref(&first)).digest();
        let mut digests = vec![
            of(base.clone()),
            by(&[]),
            by(&["bob"]),
            by(&["alice", "bob"]),
            digest(&base, &[]),
            digest(&base, &[first.clone(), item(1, created("k", Origin::Imported))]),
            of(ChangeRequest { note: "another".to_owned(), ..base.clone() }),
            of(ChangeRequest { id: ChangeRequestId::from_bytes([9; 16]), ..base.clone() }),
            of(ChangeRequest { project: ProjectId(2), ..base.clone() }),
            of(ChangeRequest { key_store: None, ..base.clone() }),
            of(ChangeRequest { requester: AccountId(2), ..base.clone() }),
            of(ChangeRequest { requester_login: "bob".to_owned(), ..base.clone() }),
            with(&|item| item.position = 1),
            with(&|item| item.editor = AccountId(2)),
            with(&|item| item.editor_login = "bob".to_owned()),
            with(&|item| item.base.changed = None),
            with(&|item| item.base.before[0].value = "b".to_owned()),
            with(&|item| item.base.before.clear()),
            with(&|item| item.sealed_hash = None),
            with(&|item| item.sealed_hash = Some([8; 32])),
            with(&|item| item.object = Some(ObjectId::from_bytes([4; 16]))),
            with(&|item| item.change = created("other", Origin::Imported)),
            with(&|item| item.change = ProposedChange::RotateKey { key: KeyId::from_bytes([2; 16]) }),
            with(&|item| item.change = ProposedChange::RequestKeyDeletion { key: KeyId::from_bytes([2; 16]) }),
        ];
        let count = digests.len();
        digests.sort_unstable();
        digests.dedup();
        assert_eq!(digests.len(), count);
    }

    #[test]
    fn what_the_token_makes_later_is_not_bound() {
        let with = |object| digest(&request(), &[ChangeItem { object, ..item(0, created("k", Origin::Generated)) }]);
        assert_eq!(with(None), with(Some(ObjectId::from_bytes([4; 16]))));
    }

    /// The text is what is published: a program that reads it, and one that writes it, agree.
    #[test]
    fn the_text_is_this() {
        let asked = ChangeRequest { note: "say \"why\";\nand why".to_owned(), ..request() };
        let content = Content::of(&asked, &hands(&["alice", "bob"]), &[item(3, created("열쇠\u{200b}", Origin::Imported))]);
        let expected = [
            r#"{"format":"skm change request 3","request":"01010101010101010101010101010101","project":1,"keyStoreRow":1,"#,
            r#""requester":{"account":1,"login":"alice"},"note":"say \"why\"\u003b\nand why","#,
            r#""hands":[{"account":1,"login":"alice"},{"account":2,"login":"bob"}],"changes":["#,
            r#"{"position":3,"operation":"IMPORT_KEY","editor":{"account":1,"login":"alice"},"baseChanged":1,"before":[["name","a"]],"#,
            r#""after":[["keyId","02020202020202020202020202020202"],["keyType","SYMMETRIC_KEY"],["origin","IMPORTED"],["name","열쇠\u200b"],"#,
            r#"["description",""],["autoRotationPeriod","0"]],"sealed":"0707070707070707070707070707070707070707070707070707070707070707","#,
            r#""object":"03030303030303030303030303030303"}]}"#,
        ];
        assert_eq!(content.as_str(), expected.concat());
        assert_eq!(content.digest(), <[u8; 32]>::from(Sha256::digest(expected.concat())));
        assert_eq!(content.parts_of(3), Some((1, 1)));
        assert_eq!(content.parts_of(0), None);
    }

    fn entries(count: usize, description: &str) -> ProposedChange {
        let value = |number: usize| format!("10.{}.{}.{}/32", 100 + number / 65_536, number / 256 % 256, 100 + number % 156);
        let entry = |number| ProposedEntry { value: value(number), description: Description::from_stored(description.to_owned()) };
        ProposedChange::AddClients { method: Method::Ipv4, entries: (0..count).map(entry).collect() }
    }

    #[test]
    fn an_upload_of_the_most_entries_fits_and_what_does_not_is_refused() {
        let whole = [item(0, entries(10_000, &"열쇠".repeat(20)))];
        assert_eq!(check_size(&whole), Ok(()));
        let asked = ChangeRequest { note: "\u{200b}\"".repeat(500), ..request() };
        assert!(Note::parse("note", &asked.note).is_ok());
        let content = Content::of(&asked, &hands(&["alice"]), &whole);
        assert!(content.as_str().len() <= CONTENT_MAX_BYTES);
        assert!((100..=PARTS_MAX).contains(&content.parts().len()) && content.parts().iter().all(|part| part.len() <= PART_MAX_BYTES));
        assert_eq!(content.parts().concat(), content.as_str());
        assert_eq!(content.parts_of(0), Some((1, content.parts().len())));
        let too_much = [item(0, entries(10_000, &"열쇠".repeat(40)))];
        let problem = check_size(&too_much).expect_err("too much");
        assert!(problem.field == "changes" && problem.problem.contains("2097152 in one request"), "{problem}");
        let many: Vec<_> = (0..101).map(|position| item(position, created("k", Origin::Generated))).collect();
        assert!(check_size(&many[..100]).is_ok() && check_size(&many).is_err());
    }

    proptest! {
        /// Text can't slide from one field into the next.
        #[test]
        fn texts_do_not_run_together(a in "[a-c\",\\\\]{0,3}", b in "[a-c\",\\\\]{0,3}", c in "[a-c\",\\\\]{0,3}", d in "[a-c\",\\\\]{0,3}") {
            let of = |name: &str, value: &str| {
                let mut first = item(0, created("k", Origin::Generated));
                first.base.before = vec![Field::new(name, value)];
                digest(&request(), &[first])
            };
            prop_assert_eq!(of(&a, &b) == of(&c, &d), (a, b) == (c, d));
        }

        /// Wherever a part ends, nothing of the text is lost, and nothing of it is unseen.
        #[test]
        fn parts_are_the_text(note in "\\PC{0,200}", names in prop::collection::vec(".{1,40}", 0..6)) {
            let items: Vec<_> = (0..).zip(&names).map(|(position, name)| item(position, created(name, Origin::Generated))).collect();
            let content = Content::of(&ChangeRequest { note, ..request() }, &hands(&["alice"]), &items);
            prop_assert_eq!(content.parts().concat(), content.as_str());
            prop_assert!(!content.as_str().chars().any(|c| c == ';' || crate::domain::text::is_unseen(c)));
        }
    }
}
