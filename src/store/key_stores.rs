//! Key stores.

use diesel::prelude::*;

use super::error::StoreError;
use super::rows::{changed_one, known, stamp, state};
use super::schema::{key_stores, projects};
use super::unit::{Reader, Tx};
use crate::domain::client_checks::{AuthMode, ChecksPolicy, Method};
use crate::domain::ids::{KeyStoreId, KeyStoreNumber, ProjectId};
use crate::domain::key::{Stamp, State};
use crate::domain::key_store::KeyStore;
use crate::domain::text::{Description, Name};

#[derive(Queryable)]
pub(super) struct Row {
    id: i64,
    project_id: i64,
    number: i64,
    name: String,
    description: String,
    ipv4_check: bool,
    mac_check: bool,
    certificate_check: bool,
    check_mode: String,
    state: String,
    created_by: String,
    created_at: i64,
    changed_by: String,
    changed_at: i64,
}

impl TryFrom<Row> for KeyStore {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        const WHAT: &str = "key store";
        let mode = known(AuthMode::parse(&row.check_mode), WHAT)?;
        Ok(Self {
            id: KeyStoreId(row.id),
            project: ProjectId(row.project_id),
            number: KeyStoreNumber(row.number),
            name: Name::from_stored(row.name),
            description: Description::from_stored(row.description),
            checks: known(ChecksPolicy::new(row.ipv4_check, row.mac_check, row.certificate_check, mode).ok(), WHAT)?,
            state: state(&row.state)?,
            created: stamp(row.created_by, row.created_at),
            changed: stamp(row.changed_by, row.changed_at),
        })
    }
}

impl Reader<'_> {
    /// A key store of any state that isn't `DESTROYED`.
    pub fn key_store(&mut self, id: KeyStoreId) -> Result<Option<KeyStore>, StoreError> {
        let there = key_stores::table.find(id.0).filter(key_stores::state.ne(State::Destroyed.as_str()));
        there.first::<Row>(self.db).optional()?.map(KeyStore::try_from).transpose()
    }

    /// A project's key store of that number, of any state that isn't `DESTROYED`.
    pub fn key_store_by_number(&mut self, project: ProjectId, number: KeyStoreNumber) -> Result<Option<KeyStore>, StoreError> {
        key_stores::table
            .filter(key_stores::project_id.eq(project.0).and(key_stores::number.eq(number.0)))
            .filter(key_stores::state.ne(State::Destroyed.as_str()))
            .first::<Row>(self.db)
            .optional()?
            .map(KeyStore::try_from)
            .transpose()
    }

    /// Number and name of a key store of any state, `DESTROYED` included.
    pub fn key_store_label(&mut self, id: KeyStoreId) -> Result<Option<(KeyStoreNumber, Name)>, StoreError> {
        let row: Option<(i64, String)> = key_stores::table.find(id.0).select((key_stores::number, key_stores::name)).first(self.db).optional()?;
        Ok(row.map(|(number, name)| (KeyStoreNumber(number), Name::from_stored(name))))
    }

    /// A project's key store of that number, of any state, `DESTROYED` included.
    pub fn key_store_ever(&mut self, project: ProjectId, number: KeyStoreNumber) -> Result<Option<KeyStoreId>, StoreError> {
        let of_project = key_stores::table.filter(key_stores::project_id.eq(project.0).and(key_stores::number.eq(number.0)));
        let row: Option<i64> = of_project.select(key_stores::id).first(self.db).optional()?;
        Ok(row.map(KeyStoreId))
    }

    /// A project's key store of that name, of any state that isn't `DESTROYED`.
    pub fn key_store_by_name(&mut self, project: ProjectId, name: &Name) -> Result<Option<KeyStore>, StoreError> {
        key_stores::table
            .filter(key_stores::project_id.eq(project.0).and(key_stores::name.eq(name.as_str())))
            .filter(key_stores::state.ne(State::Destroyed.as_str()))
            .first::<Row>(self.db)
            .optional()?
            .map(KeyStore::try_from)
            .transpose()
    }
}

impl Tx<'_> {
    /// Inserts a key store with the next number of its project, in `state` (PROVISIONING while its own key is made).
    pub fn insert_key_store(
        &mut self,
        project: ProjectId,
        name: &Name,
        description: &Description,
        checks: ChecksPolicy,
        state: State,
        created: &Stamp,
    ) -> Result<KeyStore, StoreError> {
        // Takes the project's row until the commit: two nodes get two numbers, and none is ever used again.
        let number: Option<i64> = diesel::update(projects::table.find(project.0))
            .set(projects::last_key_store_number.eq(projects::last_key_store_number + 1))
            .returning(projects::last_key_store_number)
            .get_result(self.db)
            .optional()?;
        let number = number.ok_or(StoreError::Stale { what: "project" })?;
        let row: Row = diesel::insert_into(key_stores::table)
            .values((
                key_stores::project_id.eq(project.0),
                key_stores::number.eq(number),
                key_stores::name.eq(name.as_str()),
                key_stores::description.eq(description.as_str()),
                key_stores::ipv4_check.eq(checks.uses(Method::Ipv4)),
                key_stores::mac_check.eq(checks.uses(Method::Mac)),
                key_stores::certificate_check.eq(checks.uses(Method::Certificate)),
                key_stores::check_mode.eq(checks.mode().as_str()),
                key_stores::state.eq(state.as_str()),
                key_stores::created_by.eq(&created.user),
                key_stores::created_at.eq(created.at.micros()),
                key_stores::changed_by.eq(&created.user),
                key_stores::changed_at.eq(created.at.micros()),
            ))
            .returning(key_stores::all_columns)
            .get_result(self.db)?;
        row.try_into()
    }

    /// Changes nothing, but holds the row of an `ACTIVE` key store until the commit, so that it can't be on its way out while something
    /// comes in, and what is counted in it stays true; `Stale` if it isn't `ACTIVE`.
    pub fn hold_active_key_store(&mut self, id: KeyStoreId) -> Result<(), StoreError> {
        let there = key_stores::table.find(id.0).filter(key_stores::state.eq(State::Active.as_str()));
        let held = diesel::update(there).set(key_stores::state.eq(key_stores::state)).execute(self.db)?;
        changed_one(held, "key store")
    }

    /// Replaces all that people say about an `ACTIVE` key store; `Stale` if it isn't `ACTIVE`.
    pub fn replace_key_store(
        &mut self,
        id: KeyStoreId,
        name: &Name,
        description: &Description,
        checks: ChecksPolicy,
        changed: &Stamp,
    ) -> Result<(), StoreError> {
        let rows = diesel::update(key_stores::table.find(id.0).filter(key_stores::state.eq(State::Active.as_str())))
            .set((
                key_stores::name.eq(name.as_str()),
                key_stores::description.eq(description.as_str()),
                key_stores::ipv4_check.eq(checks.uses(Method::Ipv4)),
                key_stores::mac_check.eq(checks.uses(Method::Mac)),
                key_stores::certificate_check.eq(checks.uses(Method::Certificate)),
                key_stores::check_mode.eq(checks.mode().as_str()),
                key_stores::changed_by.eq(&changed.user),
                key_stores::changed_at.eq(changed.at.micros()),
            ))
            .execute(self.db)?;
        changed_one(rows, "key store")
    }

    /// Moves a key store from one state to another; `Stale` if it isn't in `from`.
    pub fn set_key_store_state(&mut self, id: KeyStoreId, from: State, to: State, changed: &Stamp) -> Result<(), StoreError> {
        let rows = diesel::update(key_stores::table.find(id.0).filter(key_stores::state.eq(from.as_str())))
            .set((key_stores::state.eq(to.as_str()), key_stores::changed_by.eq(&changed.user), key_stores::changed_at.eq(changed.at.micros())))
            .execute(self.db)?;
        changed_one(rows, "key store")
    }
}
