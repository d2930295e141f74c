//! What the clock asks for: what is due, those that wait longest first, page by page.

use diesel::prelude::*;

use super::error::StoreError;
use super::model::{Due, DueKind, DueSubject};
use super::rows::{hex, id, known, time, version};
use super::schema::{client_rules, key_versions, keys};
use super::unit::Reader;
use crate::domain::clock::Timestamp;
use crate::domain::ids::ClientRuleId;
use crate::domain::key::State;

const WHAT: &str = "date";

impl Reader<'_> {
    /// What was due at `now`, a page of at most `limit`: those that wait longest first, the first after `after`.
    pub fn due(&mut self, kind: DueKind, now: Timestamp, after: Option<Due>, limit: i64) -> Result<Vec<Due>, StoreError> {
        match kind {
            DueKind::Rotation => self.rotations_due(now, after, limit),
            DueKind::KeyDeletion => self.keys_due(now, after, limit),
            DueKind::VersionDeletion => self.versions_due(now, after, limit),
            DueKind::ClientRuleDeletion => self.client_rules_due(now, after, limit),
        }
    }

    fn rotations_due(&mut self, now: Timestamp, after: Option<Due>, limit: i64) -> Result<Vec<Due>, StoreError> {
        let mut query = keys::table
            .filter(keys::next_rotation_at.le(now.micros()).and(keys::state.eq(State::Active.as_str())))
            .order((keys::next_rotation_at, keys::id))
            .limit(limit)
            .select((keys::next_rotation_at, keys::id))
            .into_boxed();
        if let Some(Due { at, what: DueSubject::Rotation(key) }) = after {
            let (at, key) = (at.micros(), hex(key.as_bytes()));
            query = query.filter(keys::next_rotation_at.gt(at).or(keys::next_rotation_at.eq(at).and(keys::id.gt(key))));
        }
        let rows: Vec<(Option<i64>, String)> = query.load(self.db)?;
        rows.into_iter().map(|(at, key)| due(at, DueSubject::Rotation(id(&key, "key")?))).collect()
    }

    fn keys_due(&mut self, now: Timestamp, after: Option<Due>, limit: i64) -> Result<Vec<Due>, StoreError> {
        let mut query = keys::table
            .filter(keys::deletion_at.le(now.micros()).and(keys::state.eq(State::PendingDeletion.as_str())))
            .order((keys::deletion_at, keys::id))
            .limit(limit)
            .select((keys::deletion_at, keys::id))
            .into_boxed();
        if let Some(Due { at, what: DueSubject::Key(key) }) = after {
            let (at, key) = (at.micros(), hex(key.as_bytes()));
            query = query.filter(keys::deletion_at.gt(at).or(keys::deletion_at.eq(at).and(keys::id.gt(key))));
        }
        let rows: Vec<(Option<i64>, String)> = query.load(self.db)?;
        rows.into_iter().map(|(at, key)| due(at, DueSubject::Key(id(&key, "key")?))).collect()
    }

    /// Of keys in service: a key whose own deletion is pending takes its versions along.
    fn versions_due(&mut self, now: Timestamp, after: Option<Due>, limit: i64) -> Result<Vec<Due>, StoreError> {
        let mut query = key_versions::table
            .inner_join(keys::table.on(keys::id.eq(key_versions::key_id)))
            .filter(key_versions::deletion_at.le(now.micros()).and(key_versions::state.eq(State::PendingDeletion.as_str())))
            .filter(keys::state.eq(State::Active.as_str()))
            .order((key_versions::deletion_at, key_versions::key_id, key_versions::version))
            .limit(limit)
            .select((key_versions::deletion_at, key_versions::key_id, key_versions::version))
            .into_boxed();
        if let Some(Due { at, what: DueSubject::Version(key, number) }) = after {
            let (at, key, number) = (at.micros(), hex(key.as_bytes()), i64::from(number.number()));
            let later = key_versions::key_id.gt(key.clone()).or(key_versions::key_id.eq(key).and(key_versions::version.gt(number)));
            query = query.filter(key_versions::deletion_at.gt(at).or(key_versions::deletion_at.eq(at).and(later)));
        }
        let rows: Vec<(Option<i64>, String, i64)> = query.load(self.db)?;
        rows.into_iter().map(|(at, key, number)| due(at, DueSubject::Version(id(&key, "key")?, version(number)?))).collect()
    }

    fn client_rules_due(&mut self, now: Timestamp, after: Option<Due>, limit: i64) -> Result<Vec<Due>, StoreError> {
        let mut query = client_rules::table
            .filter(client_rules::deletion_at.le(now.micros()).and(client_rules::state.eq(State::PendingDeletion.as_str())))
            .order((client_rules::deletion_at, client_rules::id))
            .limit(limit)
            .select((client_rules::deletion_at, client_rules::id))
            .into_boxed();
        if let Some(Due { at, what: DueSubject::ClientRule(rule) }) = after {
            let (at, rule) = (at.micros(), rule.0);
            query = query.filter(client_rules::deletion_at.gt(at).or(client_rules::deletion_at.eq(at).and(client_rules::id.gt(rule))));
        }
        let rows: Vec<(Option<i64>, i64)> = query.load(self.db)?;
        rows.into_iter().map(|(at, rule)| due(at, DueSubject::ClientRule(ClientRuleId(rule)))).collect()
    }
}

fn due(at: Option<i64>, what: DueSubject) -> Result<Due, StoreError> {
    Ok(Due { at: known(time(at), WHAT)?, what })
}
