//! The digest of a request: what an approver sees, what is applied, and what the audit log names are one and the same if it is.

use super::change::{ChangeItem, Field, Made};
use super::{ChangeRequest, Note};
use crate::domain::audit::Encoder;

/// The version of the encoding.
const ENCODING_VERSION: u8 = 1;

/// SHA-256 over the version, then each field with a length or presence mark: who asks for what about which key store of which project, why,
/// and for each change, in their order, what it builds on, what it says, its sealed part by hash, its object if that is made already, and
/// who put it there.
pub fn digest(request: &ChangeRequest, note: &Note, items: &[ChangeItem]) -> [u8; 32] {
    let mut encoder = Encoder::new(ENCODING_VERSION);
    encoder.bytes(b"skm change request");
    encoder.bytes(request.id.as_bytes());
    encoder.number(request.project.0);
    encoder.optional(request.key_store.map(|key_store| key_store.0.to_be_bytes()));
    encoder.number(request.requester.0);
    encoder.bytes(note.as_str().as_bytes());
    encoder.number(i64::try_from(items.len()).unwrap_or(i64::MAX));
    for item in items {
        encode_item(&mut encoder, item);
    }
    encoder.finish()
}

fn encode_item(encoder: &mut Encoder, item: &ChangeItem) {
    encoder.number(i64::from(item.position));
    encoder.number(item.editor.0);
    encoder.bytes(item.change.operation().as_str().as_bytes());
    encoder.optional(item.base.changed.map(|changed| changed.micros().to_be_bytes()));
    fields(encoder, &item.base.before);
    fields(encoder, &item.change.after());
    encoder.optional(item.sealed_hash);
    // What the token makes once the request is approved is not there yet.
    let object = item.object.filter(|_| item.change.made() == Made::AtOnce);
    encoder.optional(object.as_ref().map(crate::domain::ids::ObjectId::as_bytes));
}

fn fields(encoder: &mut Encoder, fields: &[Field]) {
    encoder.number(i64::try_from(fields.len()).unwrap_or(i64::MAX));
    for field in fields {
        encoder.bytes(field.name.as_bytes());
        encoder.bytes(field.value.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::approval::{Base, ProposedChange, RequestState};
    use crate::domain::clock::Timestamp;
    use crate::domain::ids::{AccountId, ChangeRequestId, KeyId, KeyStoreId, ObjectId, ProjectId};
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
            note: String::new(),
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

    fn note(text: &str) -> Note {
        Note::parse("note", text).expect("a note")
    }

    /// Each thing alone changes the digest.
    #[test]
    fn everything_is_bound() {
        let (base, first, why) = (request(), item(0, created("k", Origin::Imported)), note("why"));
        let of = |request: &ChangeRequest, note: &Note, items: &[ChangeItem]| digest(request, note, items);
        let with = |change: &dyn Fn(&mut ChangeItem)| {
            let mut changed = first.clone();
            change(&mut changed);
            of(&base, &why, &[changed])
        };
        let mut digests = vec![
            of(&base, &why, std::slice::from_ref(&first)),
            of(&base, &why, &[]),
            of(&base, &why, &[first.clone(), item(1, created("k", Origin::Imported))]),
            of(&base, &note("another"), std::slice::from_ref(&first)),
            of(&ChangeRequest { id: ChangeRequestId::from_bytes([9; 16]), ..base.clone() }, &why, std::slice::from_ref(&first)),
            of(&ChangeRequest { project: ProjectId(2), ..base.clone() }, &why, std::slice::from_ref(&first)),
            of(&ChangeRequest { key_store: None, ..base.clone() }, &why, std::slice::from_ref(&first)),
            of(&ChangeRequest { requester: AccountId(2), ..base.clone() }, &why, std::slice::from_ref(&first)),
            with(&|item| item.position = 1),
            with(&|item| item.editor = AccountId(2)),
            with(&|item| item.base.changed = None),
            with(&|item| item.base.before[0].value = "b".to_owned()),
            with(&|item| item.base.before.clear()),
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
        let with = |object| digest(&request(), &note("why"), &[ChangeItem { object, ..item(0, created("k", Origin::Generated)) }]);
        assert_eq!(with(None), with(Some(ObjectId::from_bytes([4; 16]))));
    }

    proptest! {
        /// Text can't slide from one field into the next.
        #[test]
        fn texts_do_not_run_together(a in "[a-c]{0,3}", b in "[a-c]{0,3}", c in "[a-c]{0,3}", d in "[a-c]{0,3}") {
            let of = |name: &str, value: &str| {
                let mut first = item(0, created("k", Origin::Generated));
                first.base.before = vec![Field::new(name, value)];
                digest(&request(), &note("why"), &[first])
            };
            prop_assert_eq!(of(&a, &b) == of(&c, &d), (a, b) == (c, d));
        }
    }
}
