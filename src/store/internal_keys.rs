//! Keys of the service's own.

use diesel::prelude::*;

use super::error::StoreError;
use super::model::{InternalKey, PlannedObject, Purpose};
use super::rows::{hex, id, known, version};
use super::schema::{internal_keys, token_objects};
use super::unit::{Reader, Tx};
use crate::domain::clock::Timestamp;
use crate::domain::ids::{KeyId, KeyStoreId, KeyVersion, ObjectId};
use crate::domain::key::{Stamp, State};

type Row = (String, i64, String, Option<i64>, String, Option<Vec<u8>>);

fn parts(purpose: Purpose) -> (&'static str, Option<i64>) {
    match purpose {
        Purpose::ConfidentialData(key_store) => ("CONFIDENTIAL_DATA", Some(key_store.0)),
        Purpose::CertificateAuthority => ("CERTIFICATE_AUTHORITY", None),
        Purpose::AuditCheckpoint => ("AUDIT_CHECKPOINT", None),
        Purpose::Seal => ("SEAL", None),
        Purpose::Canary => ("CANARY", None),
    }
}

fn parse(purpose: &str, key_store: Option<i64>) -> Option<Purpose> {
    match (purpose, key_store) {
        ("CONFIDENTIAL_DATA", Some(key_store)) => Some(Purpose::ConfidentialData(KeyStoreId(key_store))),
        ("CERTIFICATE_AUTHORITY", None) => Some(Purpose::CertificateAuthority),
        ("AUDIT_CHECKPOINT", None) => Some(Purpose::AuditCheckpoint),
        ("SEAL", None) => Some(Purpose::Seal),
        ("CANARY", None) => Some(Purpose::Canary),
        _ => None,
    }
}

fn internal_key((key, number, purpose, key_store, object, public_key): Row) -> Result<InternalKey, StoreError> {
    const WHAT: &str = "internal key";
    Ok(InternalKey {
        id: id(&key, WHAT)?,
        purpose: known(parse(&purpose, key_store), WHAT)?,
        version: version(number)?,
        object: id(&object, WHAT)?,
        public_key,
    })
}

/// Internal keys that are `ACTIVE`, with their objects, ready to be filtered further.
macro_rules! active {
    () => {
        internal_keys::table
            .inner_join(
                token_objects::table.on(token_objects::key_id
                    .eq(internal_keys::key_id)
                    .and(token_objects::version.eq(internal_keys::version))
                    .and(token_objects::state.eq(State::Active.as_str()))),
            )
            .select((
                internal_keys::key_id,
                internal_keys::version,
                internal_keys::purpose,
                internal_keys::key_store_id,
                token_objects::object_id,
                token_objects::public_key,
            ))
            .filter(internal_keys::state.eq(State::Active.as_str()))
    };
}

impl Reader<'_> {
    /// The newest ACTIVE internal key for `purpose`.
    pub fn internal_key(&mut self, purpose: Purpose) -> Result<Option<InternalKey>, StoreError> {
        let (word, key_store) = parts(purpose);
        let mut query = active!().filter(internal_keys::purpose.eq(word)).into_boxed();
        query = match key_store {
            Some(key_store) => query.filter(internal_keys::key_store_id.eq(key_store)),
            None => query.filter(internal_keys::key_store_id.is_null()),
        };
        let row: Option<Row> = query.order(internal_keys::version.desc()).first(self.db).optional()?;
        row.map(internal_key).transpose()
    }

    /// The own key of a key store that comes into being with a draft, while that is open.
    pub fn key_of_drafted_store(&mut self, key_store: KeyStoreId) -> Result<Option<InternalKey>, StoreError> {
        let being_made = token_objects::key_id
            .eq(internal_keys::key_id)
            .and(token_objects::version.eq(internal_keys::version))
            .and(token_objects::state.eq(State::Provisioning.as_str()));
        let row: Option<Row> = internal_keys::table
            .inner_join(token_objects::table.on(being_made))
            .filter(internal_keys::key_store_id.eq(Some(key_store.0)).and(internal_keys::state.eq(State::Provisioning.as_str())))
            .select((
                internal_keys::key_id,
                internal_keys::version,
                internal_keys::purpose,
                internal_keys::key_store_id,
                token_objects::object_id,
                token_objects::public_key,
            ))
            .first(self.db)
            .optional()?;
        row.map(internal_key).transpose()
    }

    /// An internal key by name and version, to open what it sealed.
    pub fn internal_key_version(&mut self, id: KeyId, version: KeyVersion) -> Result<Option<InternalKey>, StoreError> {
        let row: Option<Row> = active!()
            .filter(internal_keys::key_id.eq(hex(id.as_bytes())).and(internal_keys::version.eq(i64::from(version.number()))))
            .first(self.db)
            .optional()?;
        row.map(internal_key).transpose()
    }
}

impl Tx<'_> {
    /// Holds the row of an internal key version until the commit, with its key store's before it, and answers whether it is in service and the
    /// newest, and nobody makes the next one.
    pub fn hold_newest_internal_key(&mut self, key: &InternalKey) -> Result<bool, StoreError> {
        if let Purpose::ConfidentialData(key_store) = key.purpose {
            self.hold_active_key_store(key_store)?;
        }
        let of_key = internal_keys::table.filter(internal_keys::key_id.eq(hex(key.id.as_bytes())));
        let row = of_key.clone().filter(internal_keys::version.eq(i64::from(key.version.number()))).filter(internal_keys::state.eq(State::Active.as_str()));
        let held = diesel::update(row).set(internal_keys::state.eq(internal_keys::state)).execute(self.db)?;
        let later = of_key
            .filter(internal_keys::version.gt(i64::from(key.version.number())))
            .filter(internal_keys::state.eq_any([State::Provisioning.as_str(), State::Active.as_str()]));
        Ok(held == 1 && later.count().get_result::<i64>(self.db)? == 0)
    }

    /// Inserts the next version of an internal key that is held, and its object, both `PROVISIONING`. Numbers are never used again.
    pub fn plan_internal_version(&mut self, key: &InternalKey, object: ObjectId, lease_until: Timestamp, created: &Stamp) -> Result<PlannedObject, StoreError> {
        let last: Option<i64> =
            internal_keys::table.filter(internal_keys::key_id.eq(hex(key.id.as_bytes()))).select(diesel::dsl::max(internal_keys::version)).first(self.db)?;
        let next = last.map(version).transpose()?.and_then(KeyVersion::next).ok_or(StoreError::Stale { what: "internal key" })?;
        let planned = PlannedObject { object, key: key.id, version: next, lease_until };
        self.insert_internal_key(key.purpose, &planned, created)?;
        Ok(planned)
    }

    /// Inserts an internal key and its object, both `PROVISIONING`; [`Tx::activate_object`] flips them. `Exists` if somebody else makes,
    /// or has made, that version of a key for this purpose: two nodes that start together end up with one.
    pub fn insert_internal_key(&mut self, purpose: Purpose, object: &PlannedObject, created: &Stamp) -> Result<(), StoreError> {
        let (word, key_store) = parts(purpose);
        diesel::insert_into(internal_keys::table)
            .values((
                internal_keys::key_id.eq(hex(object.key.as_bytes())),
                internal_keys::version.eq(i64::from(object.version.number())),
                internal_keys::purpose.eq(word),
                internal_keys::key_store_id.eq(key_store),
                internal_keys::state.eq(State::Provisioning.as_str()),
                internal_keys::created_by.eq(&created.user),
                internal_keys::created_at.eq(created.at.micros()),
            ))
            .execute(self.db)?;
        self.insert_object(object, created.at)
    }
}
