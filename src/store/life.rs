//! The life of keys, versions and key stores once they are there: new versions, and the end.
//!
//! Whoever decides about a key holds its row first ([`Tx::hold_key`]), so that what was read stays true until the commit.

use diesel::prelude::*;

use super::error::StoreError;
use super::model::{KeyRow, PlannedObject};
use super::rows::{changed_one, hex, id};
use super::schema::{client_rules, internal_keys, key_versions, keys, token_objects};
use super::unit::Tx;
use crate::domain::client_checks::Method;
use crate::domain::clock::Timestamp;
use crate::domain::ids::{KeyId, KeyStoreId, KeyVersion, ObjectId, ProjectId};
use crate::domain::key::{Origin, RotationPeriod, Stamp, State};
use crate::domain::text::{Description, Name};

/// The keys whose own objects a destruction is about, as the tables name them.
type KeyIds = Vec<String>;

fn not_destroyed() -> impl Iterator<Item = &'static str> {
    State::ALL.into_iter().filter(|state| *state != State::Destroyed).map(State::as_str)
}

impl Tx<'_> {
    /// A key of any state that isn't `DESTROYED`, in any project, its row held until the commit.
    pub fn hold_key(&mut self, id: KeyId) -> Result<Option<(ProjectId, KeyRow)>, StoreError> {
        diesel::update(keys::table.find(hex(id.as_bytes()))).set(keys::state.eq(keys::state)).execute(self.db)?;
        self.key(id)
    }

    /// Inserts the next version of a held key and its object, both `PROVISIONING`. Numbers are never used again, be it for a version that was
    /// never finished; `Stale` when there are none left.
    pub fn plan_version(&mut self, key: KeyId, object: ObjectId, lease_until: Timestamp, created: &Stamp) -> Result<PlannedObject, StoreError> {
        let last: Option<i64> =
            key_versions::table.filter(key_versions::key_id.eq(hex(key.as_bytes()))).select(diesel::dsl::max(key_versions::version)).first(self.db)?;
        let version = last.map(super::rows::version).transpose()?.and_then(KeyVersion::next).ok_or(StoreError::Stale { what: "key version" })?;
        let planned = PlannedObject { object, key, version, lease_until };
        self.insert_version(key, version, State::Provisioning, Origin::Generated, None, created)?;
        self.insert_object(&planned, created.at)?;
        Ok(planned)
    }

    /// Makes an `ACTIVE` version the current one of a key in service; `Stale` unless the current one is still `expected`.
    pub fn make_current(
        &mut self,
        key: KeyId,
        expected: KeyVersion,
        version: KeyVersion,
        next_rotation: Option<Timestamp>,
        changed: &Stamp,
    ) -> Result<(), StoreError> {
        let as_expected =
            keys::table.find(hex(key.as_bytes())).filter(keys::state.eq(State::Active.as_str())).filter(keys::current_version.eq(i64::from(expected.number())));
        let rows = diesel::update(as_expected)
            .set((
                keys::current_version.eq(i64::from(version.number())),
                keys::next_rotation_at.eq(next_rotation.map(Timestamp::micros)),
                keys::changed_by.eq(&changed.user),
                keys::changed_at.eq(changed.at.micros()),
            ))
            .execute(self.db)?;
        changed_one(rows, "key")
    }

    /// Gives a key in service another name, description and rotation; `Stale` if it isn't in service, `Exists` if the name is another's.
    pub fn change_key(
        &mut self,
        key: KeyId,
        (name, description): (&Name, &Description),
        rotation: RotationPeriod,
        next_rotation: Option<Timestamp>,
        changed: &Stamp,
    ) -> Result<(), StoreError> {
        let rows = diesel::update(keys::table.find(hex(key.as_bytes())).filter(keys::state.eq(State::Active.as_str())))
            .set((
                keys::name.eq(name.as_str()),
                keys::description.eq(description.as_str()),
                keys::rotation_days.eq(i64::from(rotation.days())),
                keys::next_rotation_at.eq(next_rotation.map(Timestamp::micros)),
                keys::changed_by.eq(&changed.user),
                keys::changed_at.eq(changed.at.micros()),
            ))
            .execute(self.db)?;
        changed_one(rows, "key")
    }

    /// Moves a client key's version from one state to another; `Stale` if it isn't in `from`. The key notes who changed it.
    pub fn set_version_state(
        &mut self,
        key: KeyId,
        version: KeyVersion,
        (from, to): (State, State),
        deletion: Option<Timestamp>,
        changed: &Stamp,
    ) -> Result<(), StoreError> {
        let row = key_versions::table.find((hex(key.as_bytes()), i64::from(version.number()))).filter(key_versions::state.eq(from.as_str()));
        let rows = diesel::update(row)
            .set((
                key_versions::state.eq(to.as_str()),
                key_versions::deletion_at.eq(deletion.map(Timestamp::micros)),
                key_versions::changed_by.eq(&changed.user),
                key_versions::changed_at.eq(changed.at.micros()),
            ))
            .execute(self.db)?;
        changed_one(rows, "key version")?;
        let rows = diesel::update(keys::table.find(hex(key.as_bytes())))
            .set((keys::changed_by.eq(&changed.user), keys::changed_at.eq(changed.at.micros())))
            .execute(self.db)?;
        changed_one(rows, "key")
    }

    /// `PENDING_DELETION` to `DESTROYING`: a version of a held key with its object. Answers the objects to be destroyed; the rest is
    /// [`Tx::object_destroyed`], by this node until `lease_until`, then by whoever takes over.
    pub fn begin_destroying_version(&mut self, key: KeyId, version: KeyVersion, lease_until: Timestamp, changed: &Stamp) -> Result<Vec<ObjectId>, StoreError> {
        self.set_version_state(key, version, (State::PendingDeletion, State::Destroying), None, changed)?;
        self.doom_objects(vec![hex(key.as_bytes())], Some(version), lease_until)
    }

    /// `PENDING_DELETION` to `DESTROYING`: a held key with all its versions and objects. Confidential data has no objects: it is erased, and
    /// the key `DESTROYED`, at once.
    pub fn begin_destroying_key(&mut self, key: KeyId, lease_until: Timestamp, changed: &Stamp) -> Result<Vec<ObjectId>, StoreError> {
        self.set_key_state(key, State::PendingDeletion, State::Destroying, Some(changed.at), changed)?;
        let of_key = key_versions::table.filter(key_versions::key_id.eq(hex(key.as_bytes()))).filter(key_versions::state.eq_any(not_destroyed()));
        diesel::update(of_key)
            .set((
                key_versions::state.eq(State::Destroying.as_str()),
                key_versions::sealed.eq(None::<&[u8]>),
                key_versions::changed_by.eq(&changed.user),
                key_versions::changed_at.eq(changed.at.micros()),
            ))
            .execute(self.db)?;
        let objects = self.doom_objects(vec![hex(key.as_bytes())], None, lease_until)?;
        if objects.is_empty() {
            let left = key_versions::table.filter(key_versions::key_id.eq(hex(key.as_bytes()))).filter(key_versions::state.eq(State::Destroying.as_str()));
            diesel::update(left)
                .set((key_versions::state.eq(State::Destroyed.as_str()), key_versions::deletion_at.eq(Some(changed.at.micros()))))
                .execute(self.db)?;
            self.set_key_state(key, State::Destroying, State::Destroyed, Some(changed.at), changed)?;
        }
        Ok(objects)
    }

    /// How many keys a key store holds that aren't `DESTROYED`. Whoever decides by it holds the key store's row.
    pub fn count_keys(&mut self, key_store: KeyStoreId) -> Result<i64, StoreError> {
        Ok(keys::table.filter(keys::key_store_id.eq(key_store.0)).filter(keys::state.eq_any(not_destroyed())).count().get_result(self.db)?)
    }

    /// `ACTIVE` to `DESTROYING`: a key store without keys, with its own key's objects; its client rules are `DESTROYED`, and their `.p12`
    /// files erased, at once. `Stale` if it isn't `ACTIVE`. It becomes `DESTROYED` with the last of its objects.
    pub fn begin_destroying_key_store(&mut self, id: KeyStoreId, lease_until: Timestamp, changed: &Stamp) -> Result<Vec<ObjectId>, StoreError> {
        self.set_key_store_state(id, State::Active, State::Destroying, changed)?;
        let rules = client_rules::table.filter(client_rules::key_store_id.eq(id.0)).filter(client_rules::state.eq_any(not_destroyed()));
        let certificates = rules.clone().filter(client_rules::method.eq(Method::Certificate.as_str()).and(client_rules::revoked_at.is_null()));
        diesel::update(certificates).set(client_rules::revoked_at.eq(Some(changed.at.micros()))).execute(self.db)?;
        diesel::update(rules)
            .set((
                client_rules::state.eq(State::Destroyed.as_str()),
                client_rules::deletion_at.eq(Some(changed.at.micros())),
                client_rules::sealed_p12.eq(None::<&[u8]>),
                client_rules::changed_by.eq(&changed.user),
                client_rules::changed_at.eq(changed.at.micros()),
            ))
            .execute(self.db)?;
        let own = internal_keys::table.filter(internal_keys::key_store_id.eq(id.0)).filter(internal_keys::state.eq_any(not_destroyed()));
        let ids: KeyIds = own.clone().select(internal_keys::key_id).distinct().load(self.db)?;
        diesel::update(own).set(internal_keys::state.eq(State::Destroying.as_str())).execute(self.db)?;
        self.doom_objects(ids, None, lease_until)
    }

    /// Whatever objects of these keys aren't destroyed, of one version or of all, to `DESTROYING` with a lease of this node. One that is being
    /// made or destroyed by somebody else stays theirs: its maker finds its row gone, and it is taken over when its lease ends.
    fn doom_objects(&mut self, keys: KeyIds, version: Option<KeyVersion>, lease_until: Timestamp) -> Result<Vec<ObjectId>, StoreError> {
        let mut doomed = Vec::new();
        for key in keys {
            // One statement however many there are: everybody's records wait meanwhile.
            let (first, last) = version.map_or((0, i64::MAX), |version| (i64::from(version.number()), i64::from(version.number())));
            let active = token_objects::table
                .filter(token_objects::key_id.eq(key))
                .filter(token_objects::state.eq(State::Active.as_str()))
                .filter(token_objects::version.between(first, last));
            let objects: Vec<String> = diesel::update(active)
                .set((
                    token_objects::state.eq(State::Destroying.as_str()),
                    token_objects::node.eq(Some(self.node)),
                    token_objects::lease_until.eq(Some(lease_until.micros())),
                ))
                .returning(token_objects::object_id)
                .get_results(self.reader.db)?;
            for object in objects {
                doomed.push(id(&object, "token object")?);
            }
        }
        Ok(doomed)
    }
}
