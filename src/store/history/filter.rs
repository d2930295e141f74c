//! What of the audit log is wanted, and along which index it is read.

use diesel::dsl::sql;
use diesel::expression::SqlLiteral;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Nullable, Text};

use crate::domain::audit::Operation;
use crate::domain::clock::Timestamp;
use crate::domain::history::{HistoryPlace, HistoryScope, Outcome, Seek, Who};
use crate::domain::ids::{KeyId, KeyStoreNumber, ProjectId};
use crate::store::connection::Db;
use crate::store::lists::replace;
use crate::store::rows::hex;
use crate::store::schema::audit_records;

/// The most records that one read looks at for a filter that no index answers: they lie side by side.
pub const HISTORY_REACH: i64 = 100_000;
/// The same where each of them has to be fetched from a place of its own.
const SCATTERED_REACH: i64 = 25_000;
/// The same where nothing has to be fetched, since the index tells enough.
const TOLD_REACH: i64 = 200_000;
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

/// The index along which a stretch is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Way {
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
    pub(super) fn time(&self) -> SqlLiteral<BigInt> {
        sql(if *self == Self::Noteworthy { TIME_OF_NOTEWORTHY } else { "at" })
    }
}

pub(super) type Records<'a> = audit_records::BoxedQuery<'a, <Db as diesel::Connection>::Backend>;

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
    pub(super) fn ways(&self, has_foreign_keys: bool) -> Vec<Way> {
        match (&self.keys, self.scope) {
            (Some(_), HistoryScope::Project(project)) if has_foreign_keys => vec![Way::Project(project)],
            (Some(keys), _) => keys.iter().copied().map(Way::Key).collect(),
            (None, _) if self.is_noteworthy() => vec![Way::Noteworthy],
            (None, HistoryScope::Project(project)) => vec![Way::Project(project)],
            (None, HistoryScope::Everything | HistoryScope::NoProject) => vec![Way::All],
        }
    }

    /// Whether the index alone tells what is wanted.
    pub(super) fn is_told_by(&self, way: &Way) -> bool {
        let nothing_else = self.operation.is_none() && self.key_store.is_none() && self.who.is_none() && self.address.is_none() && self.outcome.is_none();
        match way {
            Way::All | Way::Project(_) => nothing_else && self.keys.is_none(),
            // Others may have asked for the project's key.
            Way::Key(_) => nothing_else && self.scope == HistoryScope::Everything,
            Way::Noteworthy => false,
        }
    }

    /// How many records along the way are looked at.
    pub(super) fn reach(&self, way: &Way) -> i64 {
        match way {
            Way::All | Way::Project(_) => HISTORY_REACH,
            Way::Noteworthy if self.key_store.is_none() && self.who.is_none() && self.address.is_none() => TOLD_REACH,
            Way::Noteworthy => SCATTERED_REACH,
            // All of a name's keys together.
            Way::Key(_) => SCATTERED_REACH / self.keys.as_ref().map_or(1, |keys| length(keys.len()).max(1)),
        }
    }

    /// What is read along the way, with nothing that the index doesn't tell; in the direction of the search, up to `bound`.
    pub(super) fn along<'a>(&self, way: &Way, seek: Seek, bound: Option<Timestamp>) -> Records<'a> {
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
    pub(super) fn wanted<'a>(&self, way: &Way, seek: Seek, bound: Option<Timestamp>) -> Records<'a> {
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

pub(super) fn length(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
    use diesel::sql_types::Integer;

    use super::*;
    use crate::store::connection::{Access, Connector};
    use crate::store::settings::DatabaseSettings;

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
        crate::store::migrations::run(&settings).expect("a schema");
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
