//! The history of use: the audit log newest first, filtered, by bounded work.
//!
//! A stretch of the log is read along one index ([`Way`]) from a place in it. What the index can't tell is looked at record by record,
//! for [`Way::reach`] records at most: a filter that matches seldom is answered with how far it was searched, not with a scan of everything.

use std::collections::HashMap;

use diesel::dsl::sql;
use diesel::expression::SqlLiteral;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Nullable, Text};

use super::audit::{CHAIN_ROOM, StoredRow};
use super::connection::Db;
use super::error::StoreError;
use super::model::StoredRecord;
use super::rows::{hex, id};
use super::schema::{audit_chains, audit_checkpoints, audit_records, key_stores, keys, projects};
use super::unit::Reader;
use crate::domain::audit::Operation;
use crate::domain::clock::Timestamp;
use crate::domain::history::{Found, HistoryPlace, HistoryScope, Outcome, Seek, Who};
use crate::domain::ids::{KeyId, KeyStoreNumber, ProjectId};
use crate::domain::text::Name;

/// The most records that one read looks at for a filter that no index answers: they lie side by side.
pub const HISTORY_REACH: i64 = 100_000;
/// The same where each of them has to be fetched from a place of its own.
const SCATTERED_REACH: i64 = 25_000;
/// The same where nothing has to be fetched, since the index tells enough.
const TOLD_REACH: i64 = 200_000;
/// The most records that are counted.
pub const HISTORY_COUNT_MAX: usize = 10_000;

/// What the index of noteworthy records covers, word for word: a condition with parameters can't be planned by it.
const NOTEWORTHY: &str = "(project_id IS NULL OR result_code <> 0 OR (operation <> 'ENCRYPT' AND operation <> 'DECRYPT' AND operation <> 'SIGN' AND operation <> 'VERIFY' AND \
                          operation <> 'READ_SECRET' AND operation <> 'CREATE_LOCAL_KEY' AND operation <> 'CONFIRM' AND \
                          operation <> 'SIGN_STANDARD' AND operation <> 'VERIFY_STANDARD' AND operation <> 'READ_PUBLIC_KEY' AND \
                          operation <> 'READ_INVENTORY' AND operation <> 'READ_APPROVALS'))";
/// The time as that index has it, which no planner takes for the time that the other indexes have.
const TIME_OF_NOTEWORTHY: &str = "(at + 0)";
/// The project, for a condition that no index is to be chosen for.
const PROJECT_BESIDE: &str = "project_id + 0";
/// The key, for the same.
const KEY_BESIDE: &str = "key_id || ''";

/// Whether successes of it are left out of the index of noteworthy records.
const fn is_daily(operation: Operation) -> bool {
    matches!(
        operation,
        Operation::Confirm
            | Operation::ReadSecret
            | Operation::Encrypt
            | Operation::Decrypt
            | Operation::CreateLocalKey
            | Operation::Sign
            | Operation::Verify
            | Operation::SignStandard
            | Operation::VerifyStandard
            | Operation::ReadPublicKey
            | Operation::ReadInventory
            | Operation::ReadApprovals
    )
}

diesel::define_sql_function! {
    /// Both databases have it: a text in which something is found is another one without that.
    fn replace(text: Text, wanted: Text, by: Text) -> Text;
}

/// Which records are wanted; what is `None` doesn't matter.
#[derive(Clone, Debug)]
pub struct HistoryWanted {
    /// Whose.
    pub scope: HistoryScope,
    /// From this moment on.
    pub from: Option<Timestamp>,
    /// Before this moment.
    pub before: Option<Timestamp>,
    /// What was asked for.
    pub operation: Option<Operation>,
    /// On one of these keys; a few, since each is looked for by itself.
    pub keys: Option<Vec<KeyId>>,
    /// On which key store.
    pub key_store: Option<KeyStoreNumber>,
    /// Who asked.
    pub who: Option<Who>,
    /// From which address, as the log writes it.
    pub address: Option<String>,
    /// How it ended.
    pub outcome: Option<Outcome>,
}

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

/// The index along which a stretch is read.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Way {
    /// All records, by time.
    All,
    /// A project's.
    Project(ProjectId),
    /// A key's.
    Key(KeyId),
    /// What isn't the daily use of keys that went well.
    Noteworthy,
}

impl Way {
    /// The time, as its index has it.
    fn time(&self) -> SqlLiteral<BigInt> {
        sql(if *self == Self::Noteworthy { TIME_OF_NOTEWORTHY } else { "at" })
    }
}

type Records<'a> = audit_records::BoxedQuery<'a, <Db as diesel::Connection>::Backend>;

impl HistoryWanted {
    /// All records of a scope.
    pub const fn all(scope: HistoryScope) -> Self {
        Self { scope, from: None, before: None, operation: None, keys: None, key_store: None, who: None, address: None, outcome: None }
    }

    fn is_noteworthy(&self) -> bool {
        let by_operation = self.operation.is_some_and(|operation| !is_daily(operation));
        let by_outcome = match self.outcome {
            Some(Outcome::Refused | Outcome::Failed | Outcome::Code(_)) => true,
            Some(Outcome::Success) | None => false,
        };
        by_operation || by_outcome || self.scope == HistoryScope::NoProject
    }

    /// Along which indexes it is read. Where a key isn't of the project (`has_foreign_keys`), the project's records are: how long a read along the
    /// key takes, and how far it gets, would tell how much that is used by others.
    fn ways(&self, has_foreign_keys: bool) -> Vec<Way> {
        match (&self.keys, self.scope) {
            (Some(_), HistoryScope::Project(project)) if has_foreign_keys => vec![Way::Project(project)],
            (Some(keys), _) => keys.iter().copied().map(Way::Key).collect(),
            (None, _) if self.is_noteworthy() => vec![Way::Noteworthy],
            (None, HistoryScope::Project(project)) => vec![Way::Project(project)],
            (None, HistoryScope::Everything | HistoryScope::NoProject) => vec![Way::All],
        }
    }

    /// Whether the index alone tells what is wanted.
    fn is_told_by(&self, way: &Way) -> bool {
        let nothing_else = self.operation.is_none() && self.key_store.is_none() && self.who.is_none() && self.address.is_none() && self.outcome.is_none();
        match way {
            Way::All | Way::Project(_) => nothing_else && self.keys.is_none(),
            // Others may have asked for the project's key.
            Way::Key(_) => nothing_else && self.scope == HistoryScope::Everything,
            Way::Noteworthy => false,
        }
    }

    /// How many records along the way are looked at.
    fn reach(&self, way: &Way) -> i64 {
        match way {
            Way::All | Way::Project(_) => HISTORY_REACH,
            Way::Noteworthy if self.key_store.is_none() && self.who.is_none() && self.address.is_none() => TOLD_REACH,
            Way::Noteworthy => SCATTERED_REACH,
            // All of a name's keys together.
            Way::Key(_) => SCATTERED_REACH / self.keys.as_ref().map_or(1, |keys| length(keys.len()).max(1)),
        }
    }

    /// What is read along the way, with nothing that the index doesn't tell; in the direction of the search, up to `bound`.
    fn along<'a>(&self, way: &Way, seek: Seek, bound: Option<Timestamp>) -> Records<'a> {
        let mut records = audit_records::table.into_boxed();
        records = match way {
            Way::All => records,
            Way::Project(project) => records.filter(audit_records::project_id.eq(project.0)),
            Way::Key(key) => records.filter(audit_records::key_id.eq(hex(key.as_bytes()))),
            Way::Noteworthy => records.filter(sql::<Bool>(NOTEWORTHY)),
        };
        let (at, position) = (|| way.time(), audit_records::position);
        if let Some(from) = self.from {
            records = records.filter(at().ge(from.micros()));
        }
        if let Some(before) = self.before {
            records = records.filter(at().lt(before.micros()));
        }
        match seek {
            Seek::Newest => {}
            Seek::Older(HistoryPlace { at: from, position: beyond }) => {
                records = records.filter(at().le(from.micros())).filter(at().lt(from.micros()).or(position.lt(beyond)));
            }
            Seek::Newer(HistoryPlace { at: from, position: beyond }) => {
                records = records.filter(at().ge(from.micros())).filter(at().gt(from.micros()).or(position.gt(beyond)));
            }
        }
        match (seek, bound) {
            (_, None) => records,
            (Seek::Newest | Seek::Older(_), Some(bound)) => records.filter(at().ge(bound.micros())),
            (Seek::Newer(_), Some(bound)) => records.filter(at().le(bound.micros())),
        }
    }

    /// What is wanted along the way.
    fn wanted<'a>(&self, way: &Way, seek: Seek, bound: Option<Timestamp>) -> Records<'a> {
        let mut records = self.along(way, seek, bound);
        if !matches!(way, Way::Project(_)) {
            records = match self.scope {
                HistoryScope::Project(project) => records.filter(sql::<Nullable<BigInt>>(PROJECT_BESIDE).eq(project.0)),
                HistoryScope::NoProject => records.filter(audit_records::project_id.is_null()),
                HistoryScope::Everything => records,
            };
        }
        if let (Some(keys), Way::Project(_)) = (&self.keys, way) {
            let keys: Vec<String> = keys.iter().map(|key| hex(key.as_bytes())).collect();
            records = records.filter(sql::<Nullable<Text>>(KEY_BESIDE).eq_any(keys));
        }
        if let Some(operation) = self.operation {
            records = records.filter(audit_records::operation.eq(operation.as_str()));
        }
        if let Some(number) = self.key_store {
            records = records.filter(audit_records::key_store.eq(number.0));
        }
        if let Some(address) = &self.address {
            records = records.filter(audit_records::address.eq(address.clone()));
        }
        records = match self.outcome {
            None => records,
            Some(Outcome::Success) => records.filter(audit_records::result_code.eq(0)),
            Some(Outcome::Refused) => records.filter(audit_records::result_code.ne_all([0, i64::from(Outcome::FAILURE.number())])),
            Some(Outcome::Failed) => records.filter(audit_records::result_code.eq(i64::from(Outcome::FAILURE.number()))),
            Some(Outcome::Code(code)) => records.filter(audit_records::result_code.eq(i64::from(code.number()))),
        };
        match &self.who {
            Some(who) => by(records, who),
            None => records,
        }
    }
}

/// Those of one actor. An access key's name is its ID and its owner's, with a slash between them.
fn by<'a>(records: Records<'a>, who: &Who) -> Records<'a> {
    let kind = audit_records::actor_kind;
    if who.is_operator() {
        return records.filter(kind.eq("operator").and(audit_records::actor_name.eq(who.name().to_owned())));
    }
    let enclosed = || "/".into_sql::<Text>().concat(audit_records::actor_name).concat("/");
    let named = kind.eq_any(["account", "access-key"]).and(replace(enclosed(), format!("/{}/", who.name()), "").ne(enclosed()));
    match who.kind() {
        Some(word) => records.filter(kind.eq(word).or(named)),
        None => records.filter(named),
    }
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

fn length(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
    use diesel::sql_types::Integer;

    use super::super::connection::{Access, Connector};
    use super::super::settings::DatabaseSettings;
    use super::*;

    type Backend = <Db as diesel::Connection>::Backend;

    /// A query's plan instead of its rows.
    struct Explain<Q>(Q);

    impl<Q> QueryId for Explain<Q> {
        type QueryId = ();
        const HAS_STATIC_QUERY_ID: bool = false;
    }

    impl<Q: QueryFragment<Backend>> QueryFragment<Backend> for Explain<Q> {
        fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Backend>) -> QueryResult<()> {
            out.unsafe_to_cache_prepared();
            out.push_sql("EXPLAIN QUERY PLAN ");
            self.0.walk_ast(out.reborrow())
        }
    }

    impl<Q> Query for Explain<Q> {
        type SqlType = (Integer, Integer, Integer, Text);
    }

    impl<Q> RunQueryDsl<Db> for Explain<Q> {}

    /// Whatever is asked for, SQLite reads along the index that was meant, from the place on, without sorting more than one moment's records.
    #[test]
    fn each_way_is_read_by_its_index_from_the_place_on() {
        let directory = tempfile::tempdir().expect("a directory");
        let settings = DatabaseSettings::Sqlite { path: directory.path().join("skm.db") };
        super::super::migrations::run(&settings).expect("a schema");
        let mut db = Connector::new(&settings, Duration::from_secs(5)).connect(Access::Read).expect("a connection");
        let wanted = HistoryWanted {
            operation: Some(Operation::CreateKey),
            key_store: Some(KeyStoreNumber(1)),
            who: Who::parse("who", "kim").ok(),
            address: Some("10.0.0.1".to_owned()),
            outcome: Some(Outcome::Refused),
            from: Some(Timestamp::from_micros(0)),
            ..HistoryWanted::all(HistoryScope::Project(ProjectId(1)))
        };
        let place = HistoryPlace { at: Timestamp::from_micros(9), position: 9 };
        let ways = [
            (Way::All, "USING INDEX audit_records_at (at>? AND at<?)"),
            (Way::Project(ProjectId(1)), "USING INDEX audit_records_project (project_id=? AND at>? AND at<?)"),
            (Way::Key(KeyId::from_bytes([1; 16])), "USING INDEX audit_records_key (key_id=? AND at>? AND at<?)"),
            (Way::Noteworthy, "USING INDEX audit_records_noteworthy (<expr>>? AND <expr><?)"),
        ];
        for (way, expected) in ways {
            // As for a key that isn't of the project.
            let keys = matches!(way, Way::Project(_)).then(|| vec![KeyId::from_bytes([1; 16])]);
            let wanted = HistoryWanted { keys, ..wanted.clone() };
            for seek in [Seek::Older(place), Seek::Newer(place)] {
                let rows = wanted.wanted(&way, seek, Some(place.at)).limit(11).select(audit_records::position);
                let bound = wanted.along(&way, seek, Some(place.at)).offset(wanted.reach(&way)).limit(1).select(audit_records::at);
                type Plan = Vec<(i32, i32, i32, String)>;
                let (rows, bound): (Plan, Plan) = if matches!(seek, Seek::Newer(_)) {
                    let rows = rows.order((way.time().asc(), audit_records::position.asc()));
                    (Explain(rows).load(&mut db).expect("a plan"), Explain(bound.order(way.time().asc())).load(&mut db).expect("a plan"))
                } else {
                    let rows = rows.order((way.time().desc(), audit_records::position.desc()));
                    (Explain(rows).load(&mut db).expect("a plan"), Explain(bound.order(way.time().desc())).load(&mut db).expect("a plan"))
                };
                let told = |plan: &Plan| plan.iter().map(|(.., step)| step.clone()).collect::<Vec<_>>();
                let covering = expected.replace("USING INDEX", "USING COVERING INDEX");
                let (rows, bound) = (told(&rows), told(&bound));
                assert!(rows[0].ends_with(expected), "{way:?} {seek:?}: {rows:?}");
                assert!(
                    rows[1..].iter().all(|step| step == "USE TEMP B-TREE FOR LAST TERM OF ORDER BY" || step == "USE TEMP B-TREE FOR RIGHT PART OF ORDER BY"),
                    "{way:?} {seek:?}: {rows:?}"
                );
                assert!(bound.len() == 1 && bound[0].ends_with(&covering), "{way:?} {seek:?}: {bound:?}");
            }
        }
    }

    #[test]
    fn the_index_of_noteworthy_records_covers_what_is_not_daily() {
        for operation in Operation::ALL {
            assert_eq!(NOTEWORTHY.contains(&format!("operation <> '{operation}'")), is_daily(*operation), "{operation}");
        }
        for database in ["sqlite", "postgresql"] {
            let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations").join(database).join("0024_noteworthy/up.sql");
            let migration = std::fs::read_to_string(file).expect("the migration").split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(migration.contains(&format!("WHERE {};", &NOTEWORTHY[1..NOTEWORTHY.len() - 1])), "{database}");
            assert!(migration.contains(TIME_OF_NOTEWORTHY));
        }
    }
}
