//! Pairs in the token that unwrap one imported key each. Their objects are made and destroyed like all others (`objects.rs`).

use diesel::prelude::*;

use super::error::StoreError;
use super::model::{DoomedImportPair, NewImportPair, PlannedObject};
use super::rows::{changed_one, hex, id};
use super::schema::{import_pairs, projects, token_objects};
use super::unit::{Reader, Tx};
use crate::domain::account::SecretHash;
use crate::domain::clock::Timestamp;
use crate::domain::ids::{KeyId, KeyVersion, ProjectId};
use crate::domain::key::State;

/// The most pairs of one project whose objects are, or may be, in the token.
pub const IMPORT_PAIRS_MAX: i64 = 16;
/// What is `Stale` about a project that has [`IMPORT_PAIRS_MAX`] of them.
pub const TOO_MANY_IMPORT_PAIRS: &str = "project's import pairs";
const WHAT: &str = "import pair";

impl Reader<'_> {
    /// Pairs in service that expired before `now`, those that did first.
    pub fn expired_import_pairs(&mut self, now: Timestamp, limit: i64) -> Result<Vec<KeyId>, StoreError> {
        let rows: Vec<String> = import_pairs::table
            .filter(import_pairs::state.eq(State::Active.as_str()).and(import_pairs::expires_at.le(now.micros())))
            .order((import_pairs::expires_at, import_pairs::key_id))
            .limit(limit)
            .select(import_pairs::key_id)
            .load(self.db)?;
        rows.iter().map(|pair| id(pair, WHAT)).collect()
    }
}

impl Tx<'_> {
    /// Inserts a pair and its object, both `PROVISIONING`; [`Tx::activate_object`] flips them. `Stale` with [`TOO_MANY_IMPORT_PAIRS`] if the
    /// project has as many as it may.
    pub fn insert_import_pair(&mut self, pair: &NewImportPair, object: &PlannedObject) -> Result<(), StoreError> {
        // Changes nothing, but holds the project's row until the commit: two nodes can't both take the last place.
        let held = diesel::update(projects::table.find(pair.project.0)).set(projects::name.eq(projects::name)).execute(self.db)?;
        changed_one(held, "project")?;
        let there: i64 = import_pairs::table
            .filter(import_pairs::project_id.eq(pair.project.0).and(import_pairs::state.ne(State::Destroyed.as_str())))
            .count()
            .get_result(self.db)?;
        if there >= IMPORT_PAIRS_MAX {
            return Err(StoreError::Stale { what: TOO_MANY_IMPORT_PAIRS });
        }
        diesel::insert_into(import_pairs::table)
            .values((
                import_pairs::key_id.eq(hex(object.key.as_bytes())),
                import_pairs::project_id.eq(pair.project.0),
                import_pairs::token_hash.eq(pair.token.0.as_slice()),
                import_pairs::state.eq(State::Provisioning.as_str()),
                import_pairs::expires_at.eq(pair.expires.micros()),
                import_pairs::created_by.eq(&pair.created.user),
                import_pairs::created_at.eq(pair.created.at.micros()),
            ))
            .execute(self.db)?;
        self.insert_object(object, pair.created.at)
    }

    /// Spends the pair that `token` stands for: `ACTIVE` to `DESTROYING`, with this node's lease for as long as it may still be used.
    /// `None` if there is none, another project's, or one that is spent or expired: of two who spend it, one does.
    pub fn spend_import_pair(
        &mut self,
        token: SecretHash,
        project: ProjectId,
        now: Timestamp,
        lease_until: Timestamp,
    ) -> Result<Option<DoomedImportPair>, StoreError> {
        let found: Option<String> = import_pairs::table
            .filter(import_pairs::token_hash.eq(token.0.as_slice()).and(import_pairs::project_id.eq(project.0)))
            .filter(import_pairs::expires_at.gt(now.micros()))
            .select(import_pairs::key_id)
            .first(self.db)
            .optional()?;
        found.map_or(Ok(None), |pair| self.doom_import_pair(id(&pair, WHAT)?, lease_until))
    }

    /// Takes a pair out of service for good: `ACTIVE` to `DESTROYING`, with this node's lease; `None` if somebody was faster.
    pub fn doom_import_pair(&mut self, pair: KeyId, lease_until: Timestamp) -> Result<Option<DoomedImportPair>, StoreError> {
        if self.move_import_pair(pair, State::Active, State::Destroying)? == 0 {
            return Ok(None);
        }
        let row = token_objects::table
            .filter(token_objects::key_id.eq(hex(pair.as_bytes())).and(token_objects::version.eq(i64::from(KeyVersion::FIRST.number()))))
            .filter(token_objects::state.eq(State::Active.as_str()));
        let object: Option<String> = row.select(token_objects::object_id).first(self.db).optional()?;
        let object = object.ok_or(StoreError::Corrupt { what: WHAT })?;
        let rows = diesel::update(token_objects::table.find(&object).filter(token_objects::state.eq(State::Active.as_str())))
            .set((
                token_objects::state.eq(State::Destroying.as_str()),
                token_objects::node.eq(Some(self.node)),
                token_objects::lease_until.eq(Some(lease_until.micros())),
            ))
            .execute(self.reader.db)?;
        changed_one(rows, WHAT)?;
        Ok(Some(DoomedImportPair { id: pair, object: id(&object, WHAT)? }))
    }

    /// Moves a pair, if this is one and it is in `from`; how many were moved.
    pub(super) fn move_import_pair(&mut self, pair: KeyId, from: State, to: State) -> Result<usize, StoreError> {
        let row = import_pairs::table.find(hex(pair.as_bytes())).filter(import_pairs::state.eq(from.as_str()));
        Ok(diesel::update(row).set(import_pairs::state.eq(to.as_str())).execute(self.db)?)
    }
}
