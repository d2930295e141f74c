//! The changes of a draft or request, and what was made for them already.

use diesel::prelude::*;

use super::error::StoreError;
use super::model::{ExpiredObject, NewCertificate, PlannedObject};
use super::rows::{bytes, changed_one, hex, id, known, version};
use super::schema::{change_items, client_rules, token_objects};
use super::unit::{Reader, Tx};
use crate::domain::approval::{Base, ChangeItem, ProposedChange};
use crate::domain::client_checks::Method;
use crate::domain::clock::Timestamp;
use crate::domain::ids::{AccountId, ChangeRequestId, KeyStoreId, ObjectId};
use crate::domain::key::{Stamp, State};

const WHAT: &str = "change";

type Row = (i64, String, String, Option<Vec<u8>>, Option<String>, i64, String, i64);

/// A change's place; its object, of which key that is a version, and which.
type PlannedRow = (i64, Option<String>, Option<String>, Option<i64>);

fn item((position, change, base, sealed_hash, object, editor, editor_login, edited): Row) -> Result<ChangeItem, StoreError> {
    let change: ProposedChange = known(serde_json::from_str(&change).ok(), WHAT)?;
    let base: Base = known(serde_json::from_str(&base).ok(), WHAT)?;
    Ok(ChangeItem {
        position: known(u32::try_from(position).ok(), WHAT)?,
        change,
        base,
        sealed_hash: sealed_hash.map(|hash| bytes(hash, WHAT)).transpose()?,
        object: object.map(|object| id(&object, WHAT)).transpose()?,
        editor: AccountId(editor),
        editor_login,
        edited: Timestamp::from_micros(edited),
    })
}

fn json<T: serde::Serialize>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::failed(error.to_string()))
}

impl Reader<'_> {
    /// The changes of a draft or request, in their order.
    pub fn change_items(&mut self, of: ChangeRequestId) -> Result<Vec<ChangeItem>, StoreError> {
        let rows: Vec<Row> = change_items::table
            .filter(change_items::request_id.eq(hex(of.as_bytes())))
            .order(change_items::position)
            .select((
                change_items::position,
                change_items::change,
                change_items::base,
                change_items::sealed_hash,
                change_items::object_id,
                change_items::editor_id,
                change_items::editor,
                change_items::edited_at,
            ))
            .load(self.db)?;
        rows.into_iter().map(item).collect()
    }

    /// The change with which a draft or request began, if that is still in it: of a new key store, what it is to be.
    pub fn first_change(&mut self, of: ChangeRequestId) -> Result<Option<ProposedChange>, StoreError> {
        let row: Option<String> = change_items::table.find((hex(of.as_bytes()), 0)).select(change_items::change).first(self.db).optional()?;
        row.map(|change| known(serde_json::from_str(&change).ok(), WHAT)).transpose()
    }

    /// The sealed part of a change, while it is kept.
    pub fn sealed_part(&mut self, of: ChangeRequestId, position: u32) -> Result<Option<Vec<u8>>, StoreError> {
        let row: Option<Option<Vec<u8>>> =
            change_items::table.find((hex(of.as_bytes()), i64::from(position))).select(change_items::sealed).first(self.db).optional()?;
        Ok(row.flatten())
    }

    /// The hash of the password that an account gets by a change, from its approval until it was applied.
    pub fn password_hash_of_change(&mut self, of: ChangeRequestId, position: u32) -> Result<Option<String>, StoreError> {
        let row: Option<Option<String>> =
            change_items::table.find((hex(of.as_bytes()), i64::from(position))).select(change_items::password_hash).first(self.db).optional()?;
        Ok(row.flatten())
    }

    /// The objects that were planned for the changes of a draft or request, whatever became of them.
    pub fn objects_of_request(&mut self, of: ChangeRequestId) -> Result<Vec<(u32, ExpiredObject)>, StoreError> {
        let rows: Vec<PlannedRow> = change_items::table
            .filter(change_items::request_id.eq(hex(of.as_bytes())).and(change_items::object_id.is_not_null()))
            .order(change_items::position)
            .select((change_items::position, change_items::object_id, change_items::object_key, change_items::object_version))
            .load(self.db)?;
        let planned = |(position, object, key, number): PlannedRow| {
            let object = ExpiredObject {
                object: id(&known(object, WHAT)?, WHAT)?,
                key: id(&known(key, WHAT)?, WHAT)?,
                version: version(known(number, WHAT)?)?,
                state: State::Provisioning,
            };
            Ok((known(u32::try_from(position).ok(), WHAT)?, object))
        };
        rows.into_iter().map(planned).collect()
    }
}

impl Tx<'_> {
    /// Inserts a change, with its sealed part and its object if there are such.
    pub fn insert_change_item(
        &mut self,
        of: ChangeRequestId,
        item: &ChangeItem,
        sealed: Option<&[u8]>,
        object: Option<&PlannedObject>,
    ) -> Result<(), StoreError> {
        diesel::insert_into(change_items::table)
            .values((
                change_items::request_id.eq(hex(of.as_bytes())),
                change_items::position.eq(i64::from(item.position)),
                change_items::change.eq(json(&item.change)?),
                change_items::base.eq(json(&item.base)?),
                change_items::sealed.eq(sealed),
                change_items::sealed_hash.eq(item.sealed_hash.as_ref().map(<[u8; 32]>::as_slice)),
                change_items::object_id.eq(object.map(|object| hex(object.object.as_bytes()))),
                change_items::object_key.eq(object.map(|object| hex(object.key.as_bytes()))),
                change_items::object_version.eq(object.map(|object| i64::from(object.version.number()))),
                change_items::editor_id.eq(item.editor.0),
                change_items::editor.eq(&item.editor_login),
                change_items::edited_at.eq(item.edited.micros()),
            ))
            .execute(self.db)?;
        Ok(())
    }

    /// Takes a change out of a draft that is held; `Stale` if it isn't there.
    pub fn delete_change_item(&mut self, of: ChangeRequestId, position: u32) -> Result<(), StoreError> {
        let rows = diesel::delete(change_items::table.find((hex(of.as_bytes()), i64::from(position)))).execute(self.db)?;
        changed_one(rows, WHAT)
    }

    /// Keeps the hash of the password that an account gets by a change which is being approved.
    pub fn put_password_hash(&mut self, of: ChangeRequestId, position: u32, hash: &str) -> Result<(), StoreError> {
        let item = change_items::table.find((hex(of.as_bytes()), i64::from(position)));
        changed_one(diesel::update(item).set(change_items::password_hash.eq(Some(hash))).execute(self.db)?, WHAT)
    }

    /// Notes the object that a change gets while it is applied, so that whoever takes over finds it.
    pub fn note_planned(&mut self, of: ChangeRequestId, position: u32, object: &PlannedObject) -> Result<(), StoreError> {
        let rows = diesel::update(change_items::table.find((hex(of.as_bytes()), i64::from(position))))
            .set((
                change_items::object_id.eq(Some(hex(object.object.as_bytes()))),
                change_items::object_key.eq(Some(hex(object.key.as_bytes()))),
                change_items::object_version.eq(Some(i64::from(object.version.number()))),
            ))
            .execute(self.db)?;
        changed_one(rows, WHAT)
    }

    /// Makes this node the maker of whatever objects of a draft or request are being made, until `lease_until`; answers how many there are.
    pub fn lease_objects(&mut self, of: ChangeRequestId, positions: &[u32], lease_until: Timestamp) -> Result<usize, StoreError> {
        let positions = positions.iter().map(|position| i64::from(*position));
        let ids = change_items::table
            .filter(change_items::request_id.eq(hex(of.as_bytes())).and(change_items::object_id.is_not_null()))
            .filter(change_items::position.eq_any(positions))
            .select(change_items::object_id.assume_not_null());
        let being_made = token_objects::table.filter(token_objects::object_id.eq_any(ids)).filter(token_objects::state.eq(State::Provisioning.as_str()));
        let rows = diesel::update(being_made)
            .set((token_objects::node.eq(Some(self.node)), token_objects::lease_until.eq(Some(lease_until.micros()))))
            .execute(self.reader.db)?;
        Ok(rows)
    }

    /// Gives an object that this node makes a longer lease, for a draft or request to come; `Stale` if it isn't ours any more.
    pub fn keep_planned(&mut self, planned: &PlannedObject, until: Timestamp) -> Result<(), StoreError> {
        let mine = token_objects::table
            .find(hex(planned.object.as_bytes()))
            .filter(token_objects::state.eq(State::Provisioning.as_str()))
            .filter(token_objects::node.eq(self.node))
            .filter(token_objects::lease_until.eq(planned.lease_until.micros()));
        changed_one(diesel::update(mine).set(token_objects::lease_until.eq(Some(until.micros()))).execute(self.reader.db)?, "token object")
    }

    /// Begins the end of an object of a draft or request, whatever is left of its lease, with the key or key store that never came to be:
    /// the object, if it is now this node's to destroy.
    pub fn doom_planned(&mut self, object: &ExpiredObject, lease_until: Timestamp) -> Result<Option<ObjectId>, StoreError> {
        let is_ours = self.take_over_object(object, Timestamp::from_micros(i64::MAX), lease_until)?;
        Ok(is_ours.then_some(object.object))
    }

    /// Inserts an entry for a certificate that was issued and never admitted anybody: revoked, and destroyed.
    pub fn insert_revoked_certificate(&mut self, key_store: KeyStoreId, certificate: &NewCertificate<'_>, at: &Stamp) -> Result<(), StoreError> {
        diesel::insert_into(client_rules::table)
            .values((
                client_rules::key_store_id.eq(key_store.0),
                client_rules::method.eq(Method::Certificate.as_str()),
                client_rules::value.eq(certificate.name),
                client_rules::fingerprint.eq(Some(certificate.fingerprint.0.as_slice())),
                client_rules::serial.eq(Some(certificate.serial)),
                client_rules::not_after.eq(Some(certificate.not_after.micros())),
                client_rules::description.eq(""),
                client_rules::state.eq(State::Destroyed.as_str()),
                client_rules::deletion_at.eq(Some(at.at.micros())),
                client_rules::created_by.eq(&at.user),
                client_rules::created_at.eq(at.at.micros()),
                client_rules::changed_by.eq(&at.user),
                client_rules::changed_at.eq(at.at.micros()),
                client_rules::issuer.eq(Some(i64::from(certificate.issuer.number()))),
                client_rules::revoked_at.eq(Some(at.at.micros())),
            ))
            .execute(self.db)?;
        Ok(())
    }
}
