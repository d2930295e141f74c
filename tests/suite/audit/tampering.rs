//! Every column edited; records, checkpoints and chains dropped, reordered, swapped, doubled, cut off, moved.

use super::log::{Log, write_log};
use crate::faults::load::{Client, Kind};
use crate::support::installation::Installation;
use crate::support::postgres::Cluster;
use crate::support::random::is_full;

/// The chain of the last start, and the one of the crash.
const LAST: &str = "(SELECT MAX(number) FROM audit_chains)";
const CRASHED: &str = "(SELECT MAX(number) - 1 FROM audit_chains)";

/// A case: its name, the statements, and what must be found.
type Case = (String, String, &'static str);

fn case(name: &str, statements: impl Into<String>, finding: &'static str) -> Case {
    (name.to_owned(), statements.into(), finding)
}

/// Values that a column can be given, by its type.
fn values(column: &str) -> Vec<&'static str> {
    match column {
        "previous" | "hash" | "certificate" | "head_hash" | "digest" | "signature" => vec!["x'00'", "zeroblob(32)", "zeroblob(64)"],
        "mac" => vec!["'11:22:33:44:55:66'", "NULL", "'nonsense'"],
        "address" => vec!["'10.9.8.7'", "NULL", "'nonsense'"],
        "request" | "key_id" => vec!["'00000000000000000000000000000000'", "'nonsense'"],
        "actor_kind" => vec!["'service'", "'unknown'", "'nonsense'"],
        "actor_name" => vec!["'somebody'"],
        "user_agent" | "detail" => vec!["'nobody'", "''"],
        "operation" => vec!["'DECRYPT'", "'nonsense'"],
        "chain" | "signer" => vec!["'00000000000000000000000000000000'", "'nonsense'"],
        "node" => vec!["'another'", "''"],
        "project_id" | "key_store" | "version" | "result_code" => vec!["4711", "-1", "9223372036854775807"],
        _ => vec!["4711", "-1", "9223372036854775807", "-9223372036854775808"],
    }
}

/// How many records a chain has room for: a record's position is its chain's number times this, plus its number in the chain.
const ROOM: &str = "1099511627776";

/// The records of a chain.
fn of(chain: &str) -> String {
    format!("position / {ROOM} = {chain}")
}

/// Where a chain's record of that number is.
fn at(chain: &str, sequence: impl std::fmt::Display) -> String {
    format!("({chain} * {ROOM} + {sequence})")
}

fn edits() -> Vec<Case> {
    let record = format!("position = (SELECT MIN(position) FROM audit_records WHERE {} AND certificate IS NOT NULL)", of(LAST));
    let checkpoint = "number = (SELECT MAX(number) - 1 FROM audit_checkpoints)".to_owned();
    let head = format!("checkpoint = (SELECT MAX(number) FROM audit_checkpoints) AND chain = (SELECT chain FROM audit_chains WHERE number = {LAST})");
    let tables: [(&str, String, &str, &[&str]); 4] = [
        (
            "audit_records",
            record,
            "",
            &[
                "position",
                "previous",
                "hash",
                "at",
                "request",
                "project_id",
                "actor_kind",
                "actor_name",
                "address",
                "mac",
                "certificate",
                "user_agent",
                "operation",
                "key_store",
                "key_id",
                "version",
                "result_code",
                "detail",
            ],
        ),
        (
            "audit_chains",
            format!("number = {LAST}"),
            "",
            &["number", "chain", "node", "started_at", "signature", "signer", "head_sequence", "head_hash", "head_at"],
        ),
        ("audit_checkpoints", checkpoint, "checkpoint", &["number", "at", "previous", "digest", "signature", "signer"]),
        ("audit_checkpoint_heads", head, "", &["checkpoint", "chain", "sequence", "hash"]),
    ];
    let mut cases = Vec::new();
    for (table, row, finding, columns) in tables {
        for column in columns {
            for value in values(column) {
                cases.push(case(&format!("{table}.{column} = {value}"), format!("UPDATE {table} SET {column} = {value} WHERE {row}"), finding));
            }
        }
    }
    cases
}

const COLUMNS: &str = "previous, hash, at, request, project_id, actor_kind, actor_name, address, mac, certificate, user_agent, operation, key_store, key_id, \
                       version, result_code, detail";

/// Deletes the records of a chain from this number on.
fn cut_off(chain: &str, from: i64) -> String {
    format!("DELETE FROM audit_records WHERE {} AND position >= {}", of(chain), at(chain, from))
}

/// Makes a chain's row fit the newest record that is left.
fn mend_head(chain: &str) -> String {
    format!(
        "; UPDATE audit_chains SET (head_sequence, head_hash, head_at) =
             (SELECT position % {ROOM}, hash, at FROM audit_records WHERE {} ORDER BY position DESC LIMIT 1) WHERE number = {chain}",
        of(chain)
    )
}

fn move_record(from: String, to: &str) -> String {
    format!("UPDATE audit_records SET position = {to} WHERE position = {from}; ")
}

fn double(from: String, to: &str) -> String {
    format!("INSERT INTO audit_records (position, {COLUMNS}) SELECT {to}, {COLUMNS} FROM audit_records WHERE position = {from}")
}

/// What is done to whole records.
fn with_records() -> Vec<Case> {
    let drop_one = |sequence: i64| format!("DELETE FROM audit_records WHERE position = {}; ", at(LAST, sequence));
    let move_up = format!(
        "UPDATE audit_records SET position = -position WHERE {0} AND position > {1}; UPDATE audit_records SET position = -position - 1 WHERE position < 0",
        of(LAST),
        at(LAST, 3)
    );
    let swap = move_record(at(LAST, 3), "-7") + &move_record(at(LAST, 4), &at(LAST, 3)) + &move_record("-7".to_owned(), &at(LAST, 4));
    let overwrite = format!(
        "UPDATE audit_records SET (operation, key_id, detail, at, request) =
             (SELECT operation, key_id, detail, at, request FROM audit_records o WHERE o.position = {}) WHERE position = {}",
        at(LAST, 5),
        at(LAST, 6)
    );
    let set_back = format!(
        "UPDATE audit_chains SET (head_sequence, head_hash, head_at) = (SELECT 2, hash, at FROM audit_records WHERE position = {}) WHERE number = {LAST}",
        at(LAST, 2)
    );
    vec![
        case("a record dropped", drop_one(3), "record 4 stands where number 3 belongs"),
        case("a record dropped and the rest moved up", drop_one(3) + &move_up, "record 3 does not follow"),
        case("the first record dropped", drop_one(0), "record 1 stands where number 0 belongs"),
        case("two records swapped", swap, "record 3 does not follow"),
        case("a record overwritten with what another says", overwrite, "record 6 was changed"),
        case(
            "a record doubled at the end",
            double(at(LAST, 3), &format!("(SELECT MAX(position) + 1 FROM audit_records WHERE {})", of(LAST))),
            "does not follow the one before",
        ),
        case("a record doubled in the last place of a chain", double(at(LAST, 3), &at(CRASHED, "1099511627775")), "record 1099511627775 stands where"),
        case("a record moved to another chain", move_record(at(LAST, 3), &at(CRASHED, 4711)), "record 4 stands where number 3 belongs"),
        case("the newest cut off", cut_off(LAST, 3), "cut off at record 3"),
        case("the newest cut off, and the head with them", cut_off(LAST, 3) + &mend_head(LAST), "cut off at record 3"),
        case("the newest of a crashed process cut off, and the head with them", cut_off(CRASHED, 3) + &mend_head(CRASHED), "cut off at record 3"),
        case(
            "the end cut off, and the head with it",
            format!("DELETE FROM audit_records WHERE {} AND operation = 'END_CHAIN'", of(LAST)) + &mend_head(LAST),
            "before what a checkpoint lists",
        ),
        case("all records of a chain dropped", cut_off(LAST, 0), "has no records"),
        case("the head set back", set_back, "has records after what it says is its newest"),
    ]
}

/// What is done to chains and checkpoints.
fn with_chains_and_checkpoints() -> Vec<Case> {
    let last = "(SELECT MAX(number) FROM audit_checkpoints)";
    let drop_chain = |chain: &str| format!("{}; DELETE FROM audit_chains WHERE number = {chain}", cut_off(chain, 0));
    let drop_checkpoints =
        |which: &str| format!("DELETE FROM audit_checkpoint_heads WHERE checkpoint {which}; DELETE FROM audit_checkpoints WHERE number {which}");
    vec![
        case("a chain dropped", drop_chain(LAST), "a checkpoint lists it, and it is gone"),
        case("the chain of a crashed process dropped", drop_chain(CRASHED), "a checkpoint lists it, and it is gone"),
        case("all chains dropped", "DELETE FROM audit_records; DELETE FROM audit_chains", "a checkpoint lists it, and it is gone"),
        case("a chain's name given to another", format!("UPDATE audit_chains SET chain = 'ffffffffffffffffffffffffffffffff' WHERE number = {CRASHED}"), "was changed"),
        case("the signatures of two chains swapped", format!("UPDATE audit_chains SET signature = (SELECT signature FROM audit_chains WHERE number = {CRASHED}) WHERE number = {LAST}"), "its first record is not signed by a key that may"),
        case("a chain's signature dropped", format!("UPDATE audit_chains SET signature = NULL, signer = NULL WHERE number = {LAST}"), "its first record is not signed"),
        case("a chain made up", "INSERT INTO audit_chains (chain, node, started_at, head_sequence, head_hash, head_at) SELECT 'eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee', node, started_at, head_sequence, head_hash, head_at FROM audit_chains LIMIT 1", "chain eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee"),
        case("a checkpoint dropped", drop_checkpoints("= 2"), "checkpoint 3: stands where number 2 belongs"),
        case("the first checkpoint dropped", drop_checkpoints("= 1"), "checkpoint 2: stands where number 1 belongs"),
        case("the last checkpoint dropped", drop_checkpoints(&format!("= {last}")), "anchor: checkpoint"),
        case("all checkpoints dropped", drop_checkpoints("> 0"), "anchor: checkpoint"),
        case("a checkpoint's list shortened", format!("DELETE FROM audit_checkpoint_heads WHERE checkpoint = {last} AND chain = (SELECT chain FROM audit_chains WHERE number = {LAST})"), "was changed"),
        case("two checkpoints swapped", "UPDATE audit_checkpoints SET number = -2 WHERE number = 2; UPDATE audit_checkpoints SET number = 2 WHERE number = 3; UPDATE audit_checkpoints SET number = 3 WHERE number = -2".to_owned(), "checkpoint 2: does not follow the one before"),
        case("everything dropped", format!("DELETE FROM audit_records; DELETE FROM audit_chains; {}", drop_checkpoints("> 0")), "anchor: checkpoint"),
        case(
            "the end rolled back with its checkpoint",
            format!("{}; DELETE FROM audit_records WHERE {} AND operation = 'END_CHAIN'{}", drop_checkpoints(&format!("= {last}")), of(LAST), mend_head(LAST)),
            "anchor: checkpoint",
        ),
    ]
}

fn must_be_found(log: &Log, kept: &[u8], (name, statements, finding): &Case) {
    let mut database = log.database();
    let before = database.texts("total_changes()", "(SELECT 1)");
    database.run(statements);
    assert_ne!(database.texts("total_changes()", "(SELECT 1)"), before, "{name}: changed nothing");
    drop(database);
    log.verify().must_name(name, finding);
    log.put_back(kept);
}

#[test]
fn every_change_is_found_and_named() {
    let log = write_log(Installation::new());
    log.verify().must_be_intact();
    log.verify_with(&[]).must_be_intact();
    let kept = log.keep();
    let edits = edits();
    // In a sample each column comes with one of its values.
    let edits = edits.iter().enumerate().filter(|(number, (name, ..))| {
        let column = |name: &str| name.split(" = ").next().unwrap_or_default().to_owned();
        is_full() || *number == 0 || column(name) != column(&edits[number - 1].0) || name.contains("nonsense")
    });
    let cases: Vec<Case> = edits.map(|(_, edit)| edit.clone()).chain(with_records()).chain(with_chains_and_checkpoints()).collect();
    println!("{} cases", cases.len());
    cases.iter().for_each(|case| must_be_found(&log, &kept, case));
    log.verify().must_be_intact();
}

/// A process that died between its first record and the signature of it did no harm; one that wrote more without it did.
#[test]
fn a_chain_that_was_only_begun_is_a_note() {
    let log = write_log(Installation::new());
    // As that process left it: the last chain, cut to its first record, unsigned, in no checkpoint that the anchor knows.
    let mut database = log.database();
    let first = "(SELECT MIN(checkpoint) FROM audit_checkpoint_heads WHERE chain = (SELECT chain FROM audit_chains WHERE number = (SELECT MAX(number) FROM audit_chains)))";
    database.run(&format!("CREATE TEMP TABLE later AS SELECT number FROM audit_checkpoints WHERE number >= {first}"));
    database.run("DELETE FROM audit_checkpoint_heads WHERE checkpoint IN (SELECT number FROM later); DELETE FROM audit_checkpoints WHERE number IN (SELECT number FROM later)");
    let keep_of_last =
        |records: i64| format!("{}; UPDATE audit_chains SET signature = NULL, signer = NULL WHERE number = {LAST}{}", cut_off(LAST, records), mend_head(LAST));
    let key = ["--public-key", super::log::path(&log.public_key)];
    database.run(&keep_of_last(2));
    log.verify_with(&key).must_name("unsigned, with a second record", "its first record is not signed");
    database.run(&keep_of_last(1));
    drop(database);
    let verdict = log.verify_with(&key);
    verdict.must_be_intact();
    assert!(verdict.text.lines().any(|line| line.starts_with("note: chain ") && line.contains("ended before it could sign")), "{verdict:?}");
}

/// The same on PostgreSQL, with one case of each kind: the reading differs there, not the proof.
#[test]
fn on_postgresql() {
    let cluster = Cluster::start();
    let log = write_log(Installation::with(&[("SKM_DATABASE__URL", &cluster.uri())]));
    log.verify().must_be_intact();
    let mut database = log.database();
    let (record, elsewhere) = (format!("position = {}", at(LAST, 5)), at(LAST, 4711));
    for (change, undo, finding) in [
        (
            format!("UPDATE audit_records SET at = at + 1 WHERE {record}"),
            format!("UPDATE audit_records SET at = at - 1 WHERE {record}"),
            "record 5 was changed",
        ),
        (
            format!("UPDATE audit_records SET position = {elsewhere} WHERE {record}"),
            format!("UPDATE audit_records SET {record} WHERE position = {elsewhere}"),
            "record 6 stands where number 5 belongs",
        ),
        (
            "UPDATE audit_checkpoints SET at = at + 1 WHERE number = 2".to_owned(),
            "UPDATE audit_checkpoints SET at = at - 1 WHERE number = 2".to_owned(),
            "checkpoint 2: was changed",
        ),
    ] {
        database.run(&change);
        log.verify().must_name(&change, finding);
        database.run(&undo);
        log.verify().must_be_intact();
    }
    database.run(&format!("DELETE FROM audit_records WHERE {} AND operation = 'END_CHAIN'", of(LAST)));
    log.verify().must_name("the end cut off", "before what a checkpoint lists");
}

/// A log is verified while the service goes on writing to it.
#[test]
fn while_the_service_writes() {
    let installation = Installation::new();
    let running = installation.start();
    let (stop, ledger) = (std::sync::atomic::AtomicBool::new(false), crate::faults::load::Ledger::default());
    std::thread::scope(|scope| {
        let client = Client::new(&installation, &running);
        let (stop, ledger) = (&stop, &ledger);
        scope.spawn(move || {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                ledger.make(&client, Kind::Secret);
            }
        });
        let verdicts: Vec<_> = (0..5).map(|_| installation.run(&["audit", "verify"])).collect();
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(verdicts.iter().all(|(code, ..)| *code == 0), "{verdicts:?}");
    });
    assert!(!ledger.acknowledged().is_empty());
}
