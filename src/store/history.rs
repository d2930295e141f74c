//! The history of use: the audit log newest first, filtered, by bounded work.
//!
//! A stretch of the log is read along one index ([`Way`]) from a place in it. What the index can't tell is looked at record by record,
//! for [`HistoryWanted::reach`] records at most: a filter that matches seldom is answered with how far it was searched, not with a scan of everything.

mod filter;

use std::collections::HashMap;

use diesel::prelude::*;

use super::audit::{CHAIN_ROOM, StoredRow};
use super::error::StoreError;
use super::model::StoredRecord;
use super::rows::id;
use super::schema::{audit_chains, audit_checkpoints, audit_records, key_stores, keys, projects};
use super::unit::Reader;
use crate::domain::clock::Timestamp;
use crate::domain::history::{Found, HistoryPlace, HistoryScope, Seek};
use crate::domain::ids::{KeyId, KeyStoreNumber, ProjectId};
use crate::domain::text::Name;
use filter::{Way, length};

pub use filter::{HISTORY_REACH, HistoryWanted};

/// The most records that are counted.
pub const HISTORY_COUNT_MAX: usize = 10_000;

/// A record with the names of what it is about, where they are still known.
#[derive(Clone, Debug)]
pub struct HistoryEntry {
    /// Where it is.
    pub place: HistoryPlace,
    /// What was kept.
    pub record: StoredRecord,
    /// Its project's name.
    pub project: Option<Name>,
    /// Its key store's name.
    pub key_store: Option<Name>,
    /// Its key's name.
    pub key: Option<Name>,
}

/// Why a stretch ends where it does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StretchEnd {
    /// There is nothing beyond.
    Nothing,
    /// There is more that is wanted.
    More,
    /// It was searched as far as there; what is beyond was not looked at.
    Searched(HistoryPlace),
}

/// Some of the wanted records that follow each other.
#[derive(Clone, Debug)]
pub struct Stretch {
    /// The records, newest first.
    pub entries: Vec<HistoryEntry>,
    /// What is beyond, in the direction of the search.
    pub end: StretchEnd,
}

/// How the audit log stands.
#[derive(Clone, Debug)]
pub struct LogState {
    /// How many chains there are: one for each start of a process.
    pub chains: i64,
    /// How many records were written.
    pub records: i64,
    /// The last checkpoint: its number, when it was made.
    pub checkpoint: Option<(i64, Timestamp)>,
}

/// The one that the search comes to first.
fn nearer(seek: Seek, one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    match (one, other) {
        (Some(one), Some(other)) if matches!(seek, Seek::Newer(_)) => Some(one.min(other)),
        (Some(one), Some(other)) => Some(one.max(other)),
        (one, other) => one.or(other),
    }
}

/// The place at which a search goes on that looked at everything up to `bound`, that moment included.
const fn beyond(seek: Seek, bound: Timestamp) -> HistoryPlace {
    let position = if matches!(seek, Seek::Newer(_)) { i64::MAX } else { i64::MIN };
    HistoryPlace { at: bound, position }
}

impl Reader<'_> {
    /// The wanted records from a place on, `limit` at most.
    pub fn history(&mut self, wanted: &HistoryWanted, seek: Seek, limit: usize) -> Result<Stretch, StoreError> {
        let ways = self.ways(wanted)?;
        let bound = self.bound(wanted, &ways, seek)?;
        let mut rows: Vec<(i64, StoredRow)> = Vec::new();
        for way in &ways {
            let query = wanted.wanted(way, seek, bound).limit(length(limit.saturating_add(1))).select((audit_records::position, StoredRow::as_select()));
            let found: Vec<(i64, StoredRow)> = match seek {
                Seek::Newest | Seek::Older(_) => query.order((way.time().desc(), audit_records::position.desc())).load(self.db)?,
                Seek::Newer(_) => query.order((way.time().asc(), audit_records::position.asc())).load(self.db)?,
            };
            rows.extend(found);
        }
        rows.sort_by_key(|(position, row)| (row.at, *position));
        if !matches!(seek, Seek::Newer(_)) {
            rows.reverse();
        }
        let end = match bound {
            _ if rows.len() > limit => StretchEnd::More,
            Some(bound) => StretchEnd::Searched(beyond(seek, bound)),
            None => StretchEnd::Nothing,
        };
        rows.truncate(limit);
        if matches!(seek, Seek::Newer(_)) {
            rows.reverse();
        }
        Ok(Stretch { entries: self.with_names(rows)?, end })
    }

    fn ways(&mut self, wanted: &HistoryWanted) -> Result<Vec<Way>, StoreError> {
        let has_foreign_keys = match (&wanted.keys, wanted.scope) {
            (Some(keys), HistoryScope::Project(project)) => self.key_names(project, keys)?.len() < distinct(keys.iter().copied()).len(),
            _ => false,
        };
        Ok(wanted.ways(has_foreign_keys))
    }

    /// How far a search may look: up to that moment, which it may look at as a whole. `None` where the end is nearer.
    fn bound(&mut self, wanted: &HistoryWanted, ways: &[Way], seek: Seek) -> Result<Option<Timestamp>, StoreError> {
        let mut bound = None;
        for way in ways.iter().filter(|way| !wanted.is_told_by(way)) {
            let query = wanted.along(way, seek, None).offset(wanted.reach(way)).limit(1).select(audit_records::at);
            let at: Option<i64> = match seek {
                Seek::Newest | Seek::Older(_) => query.order(way.time().desc()).first(self.db),
                Seek::Newer(_) => query.order(way.time().asc()).first(self.db),
            }
            .optional()?;
            bound = nearer(seek, bound, at.map(Timestamp::from_micros));
        }
        Ok(bound)
    }

    /// How many records are wanted, from the newest on.
    pub fn history_count(&mut self, wanted: &HistoryWanted) -> Result<Found, StoreError> {
        let ways = self.ways(wanted)?;
        let bound = self.bound(wanted, &ways, Seek::Newest)?;
        let mut count = 0;
        for way in &ways {
            // Told not to sort: any of them will do.
            let positions: Vec<i64> =
                wanted.wanted(way, Seek::Newest, bound).limit(length(HISTORY_COUNT_MAX + 1)).select(audit_records::position).load(self.db)?;
            count += positions.len();
        }
        Ok(match bound {
            _ if count > HISTORY_COUNT_MAX => Found::MoreThan(HISTORY_COUNT_MAX),
            Some(_) => Found::AtLeast(count),
            None => Found::Exactly(count),
        })
    }

    /// The record at a place.
    pub fn history_entry(&mut self, place: HistoryPlace) -> Result<Option<HistoryEntry>, StoreError> {
        let row = audit_records::table.find(place.position).filter(audit_records::at.eq(place.at.micros()));
        let row: Option<(i64, StoredRow)> = row.select((audit_records::position, StoredRow::as_select())).first(self.db).optional()?;
        Ok(self.with_names(row.into_iter().collect())?.pop())
    }

    /// One query for the names of each kind.
    fn with_names(&mut self, rows: Vec<(i64, StoredRow)>) -> Result<Vec<HistoryEntry>, StoreError> {
        let numbers = rows.iter().map(|(position, _)| position / CHAIN_ROOM);
        let chains: Vec<(i64, String)> =
            audit_chains::table.filter(audit_chains::number.eq_any(distinct(numbers))).select((audit_chains::number, audit_chains::chain)).load(self.db)?;
        let chains: HashMap<i64, String> = chains.into_iter().collect();
        let key_names: Vec<(String, i64, String)> = keys::table
            .inner_join(key_stores::table.on(key_stores::id.eq(keys::key_store_id)))
            .filter(keys::id.eq_any(distinct(rows.iter().filter_map(|(_, row)| row.key_id.clone()))))
            .select((keys::id, key_stores::project_id, keys::name))
            .load(self.db)?;
        let key_names: HashMap<String, (i64, String)> = key_names.into_iter().map(|(key, project, name)| (key, (project, name))).collect();
        let of_projects = distinct(rows.iter().filter_map(|(_, row)| row.project_id));
        let project_names: Vec<(i64, String)> =
            projects::table.filter(projects::id.eq_any(of_projects.clone())).select((projects::id, projects::name)).load(self.db)?;
        let project_names: HashMap<i64, String> = project_names.into_iter().collect();
        let store_names: Vec<(i64, i64, String)> = key_stores::table
            .filter(key_stores::project_id.eq_any(of_projects))
            .filter(key_stores::number.eq_any(distinct(rows.iter().filter_map(|(_, row)| row.key_store))))
            .select((key_stores::project_id, key_stores::number, key_stores::name))
            .load(self.db)?;
        let store_names: HashMap<(i64, i64), String> = store_names.into_iter().map(|(project, number, name)| ((project, number), name)).collect();
        let entry = |(position, row): (i64, StoredRow)| {
            let name = |name: Option<&String>| name.map(|name| Name::from_stored(name.clone()));
            // A record has the key that was asked for, whoever's that is: another project's name is not told. What is of no project administrators see.
            let is_told = |project: i64| row.project_id.is_none_or(|of| of == project);
            let key = row.key_id.as_ref().and_then(|key| key_names.get(key)).filter(|(project, _)| is_told(*project)).map(|(_, name)| name);
            let chain = chains.get(&(position / CHAIN_ROOM)).ok_or(StoreError::Corrupt { what: "audit record's chain" })?;
            Ok(HistoryEntry {
                place: HistoryPlace { at: Timestamp::from_micros(row.at), position },
                project: name(row.project_id.and_then(|project| project_names.get(&project))),
                key_store: name(row.project_id.zip(row.key_store).and_then(|place| store_names.get(&place))),
                key: name(key),
                record: row.into_record(id(chain, "audit chain")?)?,
            })
        };
        rows.into_iter().map(entry).collect()
    }

    /// The keys of that name, in whatever state, of a project or of all: `limit` at most.
    pub fn keys_named(&mut self, project: Option<ProjectId>, name: &Name, limit: i64) -> Result<Vec<KeyId>, StoreError> {
        let mut query = keys::table
            .inner_join(key_stores::table.on(key_stores::id.eq(keys::key_store_id)))
            .filter(keys::name.eq(name.as_str()))
            .limit(limit)
            .select(keys::id)
            .into_boxed();
        if let Some(project) = project {
            query = query.filter(key_stores::project_id.eq(project.0));
        }
        let found: Vec<String> = query.load(self.db)?;
        found.iter().map(|key| id(key, "key")).collect()
    }

    /// The numbers of a project's key stores of that name, in whatever state, the newest first: `limit` at most.
    pub fn key_stores_named(&mut self, project: ProjectId, name: &Name, limit: i64) -> Result<Vec<KeyStoreNumber>, StoreError> {
        let numbers: Vec<i64> = key_stores::table
            .filter(key_stores::project_id.eq(project.0).and(key_stores::name.eq(name.as_str())))
            .order(key_stores::number.desc())
            .limit(limit)
            .select(key_stores::number)
            .load(self.db)?;
        Ok(numbers.into_iter().map(KeyStoreNumber).collect())
    }

    /// How the audit log stands.
    pub fn log_state(&mut self) -> Result<LogState, StoreError> {
        // One row for each start of a process.
        let heads: Vec<i64> = audit_chains::table.select(audit_chains::head_sequence).load(self.db)?;
        let checkpoint: Option<(i64, i64)> = audit_checkpoints::table
            .order(audit_checkpoints::number.desc())
            .select((audit_checkpoints::number, audit_checkpoints::at))
            .first(self.db)
            .optional()?;
        Ok(LogState {
            chains: length(heads.len()),
            records: heads.into_iter().map(|sequence| sequence.saturating_add(1)).sum(),
            checkpoint: checkpoint.map(|(number, at)| (number, Timestamp::from_micros(at))),
        })
    }
}

fn distinct<T: Ord>(values: impl Iterator<Item = T>) -> Vec<T> {
    let mut values: Vec<T> = values.collect();
    values.sort_unstable();
    values.dedup();
    values
}
