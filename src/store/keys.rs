//! Keys and their versions.

use diesel::prelude::*;

use super::error::StoreError;
use super::model::{KeyRow, NewKey, PlannedObject};
use super::rows::{changed_one, hex, id, known, stamp, state, time, version};
use super::schema::{key_stores, key_versions, keys, token_objects};
use super::unit::{Reader, Tx};
use crate::domain::clock::Timestamp;
use crate::domain::ids::{KeyId, KeyStoreId, KeyVersion, ProjectId};
use crate::domain::key::{Key, KeyKind, Material, Origin, RotationPeriod, Stamp, State, Version};
use crate::domain::text::{Description, Name};

#[derive(Queryable)]
pub(super) struct Row {
    pub(super) id: String,
    key_store_id: i64,
    kind: String,
    name: String,
    description: String,
    state: String,
    current_version: i64,
    rotation_days: i64,
    next_rotation_at: Option<i64>,
    deletion_at: Option<i64>,
    created_by: String,
    created_at: i64,
    changed_by: String,
    changed_at: i64,
}

impl TryFrom<Row> for Key {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        const WHAT: &str = "key";
        Ok(Self {
            id: id(&row.id, WHAT)?,
            key_store: KeyStoreId(row.key_store_id),
            kind: known(KeyKind::parse(&row.kind), WHAT)?,
            name: Name::from_stored(row.name),
            description: Description::from_stored(row.description),
            state: state(&row.state)?,
            current_version: version(row.current_version)?,
            rotation: known(RotationPeriod::from_days(row.rotation_days).ok(), WHAT)?,
            next_rotation: time(row.next_rotation_at),
            deletion: time(row.deletion_at),
            created: stamp(row.created_by, row.created_at),
            changed: stamp(row.changed_by, row.changed_at),
        })
    }
}

#[derive(Queryable)]
struct VersionRow {
    version: i64,
    state: String,
    origin: String,
    sealed: Option<Vec<u8>>,
    deletion_at: Option<i64>,
    created_by: String,
    created_at: i64,
    object: Option<(String, Option<Vec<u8>>)>,
}

impl TryFrom<VersionRow> for Version {
    type Error = StoreError;

    fn try_from(row: VersionRow) -> Result<Self, StoreError> {
        const WHAT: &str = "key version";
        Ok(Self {
            version: version(row.version)?,
            state: state(&row.state)?,
            origin: known(Origin::parse(&row.origin), WHAT)?,
            material: match (row.object, row.sealed) {
                (Some((object, public_key)), None) => Material::Token { object: id(&object, WHAT)?, public_key },
                (None, Some(sealed)) => Material::Sealed(sealed),
                (Some(_), Some(_)) | (None, None) => return Err(StoreError::Corrupt { what: WHAT }),
            },
            deletion: time(row.deletion_at),
            created: stamp(row.created_by, row.created_at),
        })
    }
}

impl Reader<'_> {
    /// A key of any state that isn't `DESTROYED`, in any project: the caller compares the project.
    pub fn key(&mut self, id: KeyId) -> Result<Option<(ProjectId, KeyRow)>, StoreError> {
        let row: Option<(i64, Row)> = keys::table
            .inner_join(key_stores::table.on(key_stores::id.eq(keys::key_store_id)))
            .filter(keys::id.eq(hex(id.as_bytes())).and(keys::state.ne(State::Destroyed.as_str())))
            .select((key_stores::project_id, keys::all_columns))
            .first(self.db)
            .optional()?;
        let Some((project, key)) = row else {
            return Ok(None);
        };
        Ok(Some((ProjectId(project), KeyRow { key: key.try_into()?, versions: self.key_versions(id)? })))
    }

    fn key_versions(&mut self, id: KeyId) -> Result<Vec<Version>, StoreError> {
        let object = token_objects::key_id
            .eq(key_versions::key_id)
            .and(token_objects::version.eq(key_versions::version))
            .and(token_objects::state.ne(State::Destroyed.as_str()));
        let rows: Vec<VersionRow> = key_versions::table
            .left_join(token_objects::table.on(object))
            .filter(key_versions::key_id.eq(hex(id.as_bytes())).and(key_versions::state.ne(State::Destroyed.as_str())))
            .order(key_versions::version)
            .select((
                key_versions::version,
                key_versions::state,
                key_versions::origin,
                key_versions::sealed,
                key_versions::deletion_at,
                key_versions::created_by,
                key_versions::created_at,
                (token_objects::object_id, token_objects::public_key).nullable(),
            ))
            .load(self.db)?;
        rows.into_iter().map(Version::try_from).collect()
    }
}

impl Tx<'_> {
    /// Inserts key, first version and object, all `PROVISIONING`. For a secret there is no object, nor a version before its data
    /// comes by [`Tx::put_secret_version`]. `Stale` unless the key store is of that project and `ACTIVE`.
    pub fn insert_key(&mut self, key: &NewKey, object: Option<&PlannedObject>) -> Result<(), StoreError> {
        self.hold_key_store(key.project, key.key_store, &[State::Active])?;
        self.insert_held_key(key, object)
    }

    /// The same with an object, where the key store may come into being together with the key.
    pub fn plan_key(&mut self, key: &NewKey, object: &PlannedObject) -> Result<(), StoreError> {
        self.hold_key_store(key.project, key.key_store, &[State::Provisioning, State::Active])?;
        self.insert_held_key(key, Some(object))
    }

    /// Inserts a key and its first version, both `PROVISIONING`, whose object is there already ([`Tx::plan_lone_object`]). `Stale` unless the key
    /// store is of that project and `ACTIVE`.
    pub fn insert_key_of_object(&mut self, key: &NewKey, object: &PlannedObject) -> Result<(), StoreError> {
        self.hold_key_store(key.project, key.key_store, &[State::Active])?;
        self.insert_key_row(key)?;
        self.insert_version(key.id, object.version, State::Provisioning, key.origin, None, &key.created)
    }

    fn insert_held_key(&mut self, key: &NewKey, object: Option<&PlannedObject>) -> Result<(), StoreError> {
        if object.is_some() == (key.kind == KeyKind::Secret) || object.is_some_and(|object| object.key != key.id) {
            return Err(StoreError::failed("a secret has no object, and every other key one of its own"));
        }
        self.insert_key_row(key)?;
        let Some(object) = object else {
            return Ok(());
        };
        self.insert_version(key.id, object.version, State::Provisioning, key.origin, None, &key.created)?;
        self.insert_object(object, key.created.at)
    }

    fn insert_key_row(&mut self, key: &NewKey) -> Result<(), StoreError> {
        diesel::insert_into(keys::table)
            .values((
                keys::id.eq(hex(key.id.as_bytes())),
                keys::key_store_id.eq(key.key_store.0),
                keys::kind.eq(key.kind.as_str()),
                keys::name.eq(key.name.as_str()),
                keys::description.eq(key.description.as_str()),
                keys::state.eq(State::Provisioning.as_str()),
                keys::current_version.eq(i64::from(KeyVersion::FIRST.number())),
                keys::rotation_days.eq(i64::from(key.rotation.days())),
                keys::next_rotation_at.eq(key.next_rotation.map(Timestamp::micros)),
                keys::created_by.eq(&key.created.user),
                keys::created_at.eq(key.created.at.micros()),
                keys::changed_by.eq(&key.created.user),
                keys::changed_at.eq(key.created.at.micros()),
            ))
            .execute(self.db)?;
        Ok(())
    }

    /// Changes nothing, but holds the key store's row until the commit: it can't be on its way out while a key comes in.
    fn hold_key_store(&mut self, project: ProjectId, key_store: KeyStoreId, states: &[State]) -> Result<(), StoreError> {
        let states = states.iter().map(|state| state.as_str());
        let there = key_stores::table.find(key_store.0).filter(key_stores::project_id.eq(project.0)).filter(key_stores::state.eq_any(states));
        let held = diesel::update(there).set(key_stores::state.eq(key_stores::state)).execute(self.db)?;
        changed_one(held, "key store")
    }

    pub(super) fn insert_version(
        &mut self,
        key: KeyId,
        version: KeyVersion,
        state: State,
        origin: Origin,
        sealed: Option<&[u8]>,
        created: &Stamp,
    ) -> Result<(), StoreError> {
        diesel::insert_into(key_versions::table)
            .values((
                key_versions::key_id.eq(hex(key.as_bytes())),
                key_versions::version.eq(i64::from(version.number())),
                key_versions::state.eq(state.as_str()),
                key_versions::origin.eq(origin.as_str()),
                key_versions::sealed.eq(sealed),
                key_versions::created_by.eq(&created.user),
                key_versions::created_at.eq(created.at.micros()),
                key_versions::changed_by.eq(&created.user),
                key_versions::changed_at.eq(created.at.micros()),
            ))
            .execute(self.db)?;
        Ok(())
    }

    /// Adds a version to confidential data and makes it current; the key becomes `ACTIVE` if it was `PROVISIONING`. Earlier
    /// versions' sealed data is erased. `Stale` unless `expected_current` is the current version (`None`: there is none yet).
    pub fn put_secret_version(
        &mut self,
        key: KeyId,
        expected_current: Option<KeyVersion>,
        version: KeyVersion,
        sealed: &[u8],
        changed: &Stamp,
    ) -> Result<(), StoreError> {
        // Before the first there is no version at all, and the column only looks like the first.
        let (expected_state, expected) = match expected_current {
            None => (State::Provisioning, KeyVersion::FIRST),
            Some(current) => (State::Active, current),
        };
        if expected_current.is_some_and(|current| version <= current) {
            return Err(StoreError::Stale { what: "key" });
        }
        let as_expected = keys::table
            .find(hex(key.as_bytes()))
            .filter(keys::kind.eq(KeyKind::Secret.as_str()))
            .filter(keys::state.eq(expected_state.as_str()))
            .filter(keys::current_version.eq(i64::from(expected.number())));
        let rows = diesel::update(as_expected)
            .set((
                keys::state.eq(State::Active.as_str()),
                keys::current_version.eq(i64::from(version.number())),
                keys::changed_by.eq(&changed.user),
                keys::changed_at.eq(changed.at.micros()),
            ))
            .execute(self.db)?;
        changed_one(rows, "key")?;
        let earlier = key_versions::table.filter(key_versions::key_id.eq(hex(key.as_bytes()))).filter(key_versions::sealed.is_not_null());
        diesel::update(earlier)
            .set((
                key_versions::sealed.eq(None::<&[u8]>),
                key_versions::state.eq(State::Destroyed.as_str()),
                key_versions::deletion_at.eq(Some(changed.at.micros())),
                key_versions::changed_by.eq(&changed.user),
                key_versions::changed_at.eq(changed.at.micros()),
            ))
            .execute(self.db)?;
        self.insert_version(key, version, State::Active, Origin::Imported, Some(sealed), changed)
    }

    /// Moves a key from one state to another; `Stale` if it isn't in `from`.
    pub fn set_key_state(&mut self, id: KeyId, from: State, to: State, deletion: Option<Timestamp>, changed: &Stamp) -> Result<(), StoreError> {
        let rows = diesel::update(keys::table.find(hex(id.as_bytes())).filter(keys::state.eq(from.as_str())))
            .set((
                keys::state.eq(to.as_str()),
                keys::deletion_at.eq(deletion.map(Timestamp::micros)),
                keys::changed_by.eq(&changed.user),
                keys::changed_at.eq(changed.at.micros()),
            ))
            .execute(self.db)?;
        changed_one(rows, "key")
    }
}
