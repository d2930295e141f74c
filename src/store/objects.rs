//! Objects in the token: planned, leased, made, destroyed. One table for clients' keys, the service's own, and import pairs.

use diesel::prelude::*;

use super::error::StoreError;
use super::model::{ExpiredObject, PlannedObject};
use super::rows::{changed_one, hex, id, state, version};
use super::schema::{import_pairs, internal_keys, key_stores, key_versions, keys, token_objects};
use super::unit::{Reader, Tx};
use crate::domain::clock::Timestamp;
use crate::domain::ids::{KeyId, KeyStoreNumber, KeyVersion, ObjectId, ProjectId};
use crate::domain::key::{Origin, State};

const WHAT: &str = "token object";

impl Reader<'_> {
    /// A page of the objects that rows name which aren't `DESTROYED`, ordered by ID, for reconciliation.
    pub fn known_objects(&mut self, after: Option<ObjectId>, limit: i64) -> Result<Vec<(ObjectId, State)>, StoreError> {
        let rows: Vec<(String, String)> = token_objects::table
            .filter(token_objects::object_id.gt(after.map(|object| hex(object.as_bytes())).unwrap_or_default()))
            .filter(token_objects::state.ne(State::Destroyed.as_str()))
            .order(token_objects::object_id)
            .limit(limit)
            .select((token_objects::object_id, token_objects::state))
            .load(self.db)?;
        rows.into_iter().map(|(object, in_state)| Ok((id(&object, WHAT)?, state(&in_state)?))).collect()
    }

    /// The state of one object's row, `DESTROYED` included.
    pub fn object_state(&mut self, object: ObjectId) -> Result<Option<State>, StoreError> {
        let row: Option<String> = token_objects::table.find(hex(object.as_bytes())).select(token_objects::state).first(self.db).optional()?;
        row.map(|in_state| state(&in_state)).transpose()
    }

    /// The key version, a client's or the service's own, that an object is of.
    pub fn object_owner(&mut self, object: ObjectId) -> Result<Option<(KeyId, KeyVersion)>, StoreError> {
        let row: Option<(String, i64)> =
            token_objects::table.find(hex(object.as_bytes())).select((token_objects::key_id, token_objects::version)).first(self.db).optional()?;
        row.map(|(key, number)| Ok((id(&key, WHAT)?, version(number)?))).transpose()
    }

    /// Where a key is at home, a client's, a key store's own, or an import pair: its project, and its key store's number there. `None` for keys of
    /// the whole service.
    pub fn home_of(&mut self, key: KeyId) -> Result<Option<(ProjectId, Option<KeyStoreNumber>)>, StoreError> {
        let key = hex(key.as_bytes());
        let of_client: Option<i64> = keys::table.find(&key).select(keys::key_store_id).first(self.db).optional()?;
        let key_store = match of_client {
            Some(key_store) => Some(key_store),
            None => internal_keys::table.filter(internal_keys::key_id.eq(&key)).select(internal_keys::key_store_id).first(self.db).optional()?.flatten(),
        };
        let Some(key_store) = key_store else {
            let of_pair: Option<i64> = import_pairs::table.find(&key).select(import_pairs::project_id).first(self.db).optional()?;
            return Ok(of_pair.map(|project| (ProjectId(project), None)));
        };
        let home: Option<(i64, i64)> = key_stores::table.find(key_store).select((key_stores::project_id, key_stores::number)).first(self.db).optional()?;
        Ok(home.map(|(project, number)| (ProjectId(project), Some(KeyStoreNumber(number)))))
    }

    /// Objects in `PROVISIONING` or `DESTROYING` whose lease ended before `now`, those that wait longest first.
    pub fn expired_objects(&mut self, now: Timestamp, limit: i64) -> Result<Vec<ExpiredObject>, StoreError> {
        let rows: Vec<(String, String, i64, String)> = token_objects::table
            .filter(token_objects::lease_until.lt(now.micros()))
            .filter(token_objects::state.eq_any([State::Provisioning.as_str(), State::Destroying.as_str()]))
            .order((token_objects::lease_until, token_objects::object_id))
            .limit(limit)
            .select((token_objects::object_id, token_objects::key_id, token_objects::version, token_objects::state))
            .load(self.db)?;
        let expired = |(object, key, number, in_state): (String, String, i64, String)| {
            Ok(ExpiredObject { object: id(&object, WHAT)?, key: id(&key, WHAT)?, version: version(number)?, state: state(&in_state)? })
        };
        rows.into_iter().map(expired).collect()
    }
}

impl Tx<'_> {
    /// Inserts an object, `PROVISIONING`, with this node's lease.
    pub(super) fn insert_object(&mut self, object: &PlannedObject, created: Timestamp) -> Result<(), StoreError> {
        diesel::insert_into(token_objects::table)
            .values((
                token_objects::object_id.eq(hex(object.object.as_bytes())),
                token_objects::key_id.eq(hex(object.key.as_bytes())),
                token_objects::version.eq(i64::from(object.version.number())),
                token_objects::state.eq(State::Provisioning.as_str()),
                token_objects::node.eq(Some(self.node)),
                token_objects::lease_until.eq(Some(object.lease_until.micros())),
                token_objects::created_at.eq(created.micros()),
            ))
            .execute(self.reader.db)?;
        Ok(())
    }

    /// Inserts an object, `PROVISIONING`, of a key whose own rows come later ([`Tx::insert_key_of_object`]): should the object have to be undone and made
    /// again, nothing is in the way of that.
    pub fn plan_lone_object(&mut self, object: &PlannedObject, created: Timestamp) -> Result<(), StoreError> {
        self.insert_object(object, created)
    }

    /// Flips a planned object, its version and (for a first version) its key to `ACTIVE`; `Stale` unless the object is still
    /// `PROVISIONING` with this node's lease `lease_until`.
    pub fn activate_object(&mut self, object: &PlannedObject, public_key: Option<&[u8]>, origin: Origin) -> Result<(), StoreError> {
        let mine = token_objects::table
            .find(hex(object.object.as_bytes()))
            .filter(token_objects::key_id.eq(hex(object.key.as_bytes())))
            .filter(token_objects::version.eq(i64::from(object.version.number())))
            .filter(token_objects::state.eq(State::Provisioning.as_str()))
            .filter(token_objects::node.eq(self.node))
            .filter(token_objects::lease_until.eq(object.lease_until.micros()));
        let rows = diesel::update(mine)
            .set((token_objects::state.eq(State::Active.as_str()), token_objects::lease_until.eq(None::<i64>), token_objects::public_key.eq(public_key)))
            .execute(self.reader.db)?;
        changed_one(rows, WHAT)?;
        let of_client = self.move_version(object.key, object.version, State::Provisioning, State::Active, None)?;
        if !of_client {
            let internal = self.move_internal_key(object.key, object.version, State::Provisioning, State::Active)?;
            let import = self.move_import_pair(object.key, State::Provisioning, State::Active)?;
            return changed_one(internal + import, "internal key or import pair");
        }
        diesel::update(version_row(object.key, object.version)).set(key_versions::origin.eq(origin.as_str())).execute(self.db)?;
        diesel::update(keys::table.find(hex(object.key.as_bytes())).filter(keys::state.eq(State::Provisioning.as_str())))
            .set((keys::state.eq(State::Active.as_str()), keys::current_version.eq(i64::from(object.version.number()))))
            .execute(self.db)?;
        Ok(())
    }

    /// Takes over an object whose lease ended: `PROVISIONING` or `DESTROYING` to `DESTROYING` with a new lease, by
    /// compare-and-set; `false` if somebody else was faster. Its version (and key or key store, if that never was ACTIVE) go along.
    pub fn take_over_object(&mut self, object: &ExpiredObject, now: Timestamp, lease_until: Timestamp) -> Result<bool, StoreError> {
        if !matches!(object.state, State::Provisioning | State::Destroying) {
            return Ok(false);
        }
        let as_seen = token_objects::table
            .find(hex(object.object.as_bytes()))
            .filter(token_objects::state.eq(object.state.as_str()))
            .filter(token_objects::lease_until.lt(now.micros()));
        let rows = diesel::update(as_seen)
            .set((
                token_objects::state.eq(State::Destroying.as_str()),
                token_objects::node.eq(Some(self.node)),
                token_objects::lease_until.eq(Some(lease_until.micros())),
            ))
            .execute(self.reader.db)?;
        if rows == 0 {
            return Ok(false);
        }
        self.move_version(object.key, object.version, State::Provisioning, State::Destroying, None)?;
        self.move_internal_key(object.key, object.version, State::Provisioning, State::Destroying)?;
        self.move_import_pair(object.key, State::Provisioning, State::Destroying)?;
        diesel::update(keys::table.find(hex(object.key.as_bytes())).filter(keys::state.eq(State::Provisioning.as_str())))
            .set(keys::state.eq(State::Destroying.as_str()))
            .execute(self.db)?;
        self.move_key_store_of(object.key, State::Provisioning, State::Destroying)?;
        Ok(true)
    }

    /// `DESTROYING` to `DESTROYED`, with its version, and with its key (or the key store that it was the own key of) once no
    /// version is left. `Stale` unless the object is `DESTROYING`.
    pub fn object_destroyed(&mut self, object: ObjectId, at: Timestamp) -> Result<(), StoreError> {
        let doomed = token_objects::table.find(hex(object.as_bytes())).filter(token_objects::state.eq(State::Destroying.as_str()));
        let row: Option<(String, i64)> = doomed.clone().select((token_objects::key_id, token_objects::version)).first(self.db).optional()?;
        let (key, number) = row.ok_or(StoreError::Stale { what: WHAT })?;
        let rows =
            diesel::update(doomed).set((token_objects::state.eq(State::Destroyed.as_str()), token_objects::lease_until.eq(None::<i64>))).execute(self.db)?;
        changed_one(rows, WHAT)?;
        let (key, version): (KeyId, KeyVersion) = (id(&key, WHAT)?, version(number)?);
        self.hold_owner(key)?;
        self.move_version(key, version, State::Destroying, State::Destroyed, Some(at))?;
        self.move_internal_key(key, version, State::Destroying, State::Destroyed)?;
        self.move_import_pair(key, State::Destroying, State::Destroyed)?;
        let left: i64 = key_versions::table
            .filter(key_versions::key_id.eq(hex(key.as_bytes())).and(key_versions::state.ne(State::Destroyed.as_str())))
            .count()
            .get_result(self.db)?;
        if left == 0 {
            diesel::update(keys::table.find(hex(key.as_bytes())).filter(keys::state.eq(State::Destroying.as_str())))
                .set((keys::state.eq(State::Destroyed.as_str()), keys::deletion_at.eq(Some(at.micros()))))
                .execute(self.db)?;
        }
        let left: i64 = internal_keys::table
            .filter(internal_keys::key_id.eq(hex(key.as_bytes())).and(internal_keys::state.ne(State::Destroyed.as_str())))
            .count()
            .get_result(self.db)?;
        if left == 0 {
            self.move_key_store_of(key, State::Destroying, State::Destroyed)?;
        }
        Ok(())
    }

    /// Changes nothing, but holds the row of the key, or of the key store whose own key it is, until the commit: two nodes that destroy
    /// the last two versions can't each take the other's for one that is left.
    fn hold_owner(&mut self, key: KeyId) -> Result<(), StoreError> {
        diesel::update(keys::table.find(hex(key.as_bytes()))).set(keys::state.eq(keys::state)).execute(self.db)?;
        if let Some(key_store) = self.key_store_of(key)? {
            diesel::update(key_stores::table.find(key_store)).set(key_stores::state.eq(key_stores::state)).execute(self.db)?;
        }
        Ok(())
    }

    /// The key store whose own key this is.
    fn key_store_of(&mut self, key: KeyId) -> Result<Option<i64>, StoreError> {
        let owner: Option<Option<i64>> =
            internal_keys::table.filter(internal_keys::key_id.eq(hex(key.as_bytes()))).select(internal_keys::key_store_id).first(self.db).optional()?;
        Ok(owner.flatten())
    }

    /// Moves the key store whose own key this is, if it is one's and the store is in `from`: without its key it is none.
    fn move_key_store_of(&mut self, key: KeyId, from: State, to: State) -> Result<(), StoreError> {
        if let Some(key_store) = self.key_store_of(key)? {
            diesel::update(key_stores::table.find(key_store).filter(key_stores::state.eq(from.as_str())))
                .set(key_stores::state.eq(to.as_str()))
                .execute(self.db)?;
        }
        Ok(())
    }

    /// Moves a client key's version; whether there was one in `from`.
    fn move_version(&mut self, key: KeyId, version: KeyVersion, from: State, to: State, deletion: Option<Timestamp>) -> Result<bool, StoreError> {
        let rows = diesel::update(version_row(key, version).filter(key_versions::state.eq(from.as_str())))
            .set((key_versions::state.eq(to.as_str()), key_versions::deletion_at.eq(deletion.map(Timestamp::micros))))
            .execute(self.db)?;
        Ok(rows == 1)
    }

    fn move_internal_key(&mut self, key: KeyId, version: KeyVersion, from: State, to: State) -> Result<usize, StoreError> {
        let row = internal_keys::table.find((hex(key.as_bytes()), i64::from(version.number()))).filter(internal_keys::state.eq(from.as_str()));
        Ok(diesel::update(row).set(internal_keys::state.eq(to.as_str())).execute(self.db)?)
    }
}

type VersionRow = diesel::dsl::Find<key_versions::table, (String, i64)>;

fn version_row(key: KeyId, version: KeyVersion) -> VersionRow {
    key_versions::table.find((hex(key.as_bytes()), i64::from(version.number())))
}
