//! What the log has of a request, read back, as far as other records are held against it.

use serde::Deserialize;

use crate::domain::approval::CONTENT_FORMAT;

/// A request's content.
#[derive(Debug, Deserialize)]
pub(super) struct ReadContent {
    format: String,
    /// The request's name.
    pub(super) request: String,
    /// The row of its project.
    pub(super) project: i64,
    /// Who asks.
    pub(super) requester: ReadAccount,
    /// Everybody who had a hand in it.
    pub(super) hands: Vec<ReadAccount>,
    /// The changes, in their order.
    pub(super) changes: Vec<ReadChange>,
}

/// A change of it.
#[derive(Debug, Deserialize)]
pub(super) struct ReadChange {
    /// Its place.
    pub(super) position: u32,
    /// Under which operation the audit log has it.
    pub(super) operation: String,
    /// Who put it there.
    pub(super) editor: ReadAccount,
}

/// An account.
#[derive(Debug, Deserialize)]
pub(super) struct ReadAccount {
    /// Its login name.
    pub(super) login: String,
}

impl ReadContent {
    /// What a text says, if it is a request's content.
    pub(super) fn parse(text: &str) -> Option<Self> {
        serde_json::from_str::<Self>(text).ok().filter(|read| read.format == CONTENT_FORMAT)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::approval::{Base, ChangeItem, ChangeRequest, Content, Hand, ProposedChange, RequestState};
    use crate::domain::client_checks::{AuthMode, ChecksPolicy};
    use crate::domain::clock::Timestamp;
    use crate::domain::ids::{AccountId, ChangeRequestId, ProjectId};
    use crate::domain::text::{Description, Name, quoted};

    fn content(note: &str, names: &[String]) -> Content {
        let (at, login) = (Timestamp::default(), "alice".to_owned());
        let request = ChangeRequest {
            id: ChangeRequestId::from_bytes([1; 16]),
            project: ProjectId(7),
            key_store: None,
            new_key_store: false,
            state: RequestState::Ready,
            requester: AccountId(1),
            requester_login: login.clone(),
            note: note.to_owned(),
            digest: None,
            decider: None,
            reason: None,
            created: at,
            requested: None,
            decided: None,
            ended: None,
            expires: at,
            attempts: 0,
            revision: 0,
        };
        let change = |name: &String| ProposedChange::ReplaceKeyStore {
            name: Name::from_stored(name.clone()),
            description: Description::from_stored(name.clone()),
            checks: ChecksPolicy::new(true, false, false, AuthMode::And).expect("checks"),
        };
        let item = |(position, name)| ChangeItem {
            position,
            change: change(name),
            base: Base::default(),
            sealed_hash: None,
            object: None,
            editor: AccountId(2),
            editor_login: login.clone(),
            edited: at,
        };
        let hands = [Hand { account: AccountId(1), login: login.clone() }];
        Content::of(&request, &hands, &(0..).zip(names).map(item).collect::<Vec<_>>())
    }

    #[test]
    fn what_is_no_content_is_not_read() {
        let text = content("why", &["k".to_owned()]).as_str().to_owned();
        let read = ReadContent::parse(&text).expect("a content");
        assert_eq!((read.request, read.project, read.requester.login.as_str()), ("01".repeat(16), 7, "alice"));
        assert_eq!((read.changes[0].position, read.changes[0].operation.as_str(), read.changes[0].editor.login.as_str()), (0, "CHANGE_KEY_STORE", "alice"));
        for wrong in ["", "{}", &text.replace("request 3", "request 2"), &text[1..]] {
            assert!(ReadContent::parse(wrong).is_none(), "{wrong}");
        }
    }

    proptest! {
        /// Whatever people write is read back as they wrote it.
        #[test]
        fn what_is_quoted_is_read_back(text in ".{0,50}|\\PC{0,50}|[\"\\\\;\u{200b}\u{202e}\u{e0041}\u{0}\n\t]{0,20}") {
            prop_assert_eq!(serde_json::from_str::<String>(&quoted(&text)).expect("a JSON string"), text);
        }

        #[test]
        fn a_content_is_read_back(note in ".{0,50}", names in prop::collection::vec(".{1,40}|[\"\\\\;,:]{1,9}", 0..6)) {
            let text = content(&note, &names).as_str().to_owned();
            prop_assert_eq!(ReadContent::parse(&text).expect("a content").changes.len(), names.len());
            let read: serde_json::Value = serde_json::from_str(&text).expect("JSON");
            prop_assert_eq!(read["note"].as_str(), Some(note.as_str()));
            for (change, name) in read["changes"].as_array().expect("a list").iter().zip(&names) {
                prop_assert_eq!(change["after"][0][1].as_str(), Some(name.as_str()));
            }
        }
    }
}
