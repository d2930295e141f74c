//! The history of use: filters, places that stay while the log grows, bounded work.

use std::net::IpAddr;
use std::time::Instant;

use skm::domain::account::AccessKeyId;
use skm::domain::audit::{Actor, AuditEvent, Operation, Uses};
use skm::domain::history::{Found, HistoryPlace, HistoryScope, Outcome, Seek, Who};
use skm::domain::ids::{KeyId, KeyStoreNumber, ProjectId};
use skm::domain::key::State;
use skm::domain::result_code::ResultCode;
use skm::store::{HISTORY_COUNT_MAX, HISTORY_REACH, HistoryWanted, Store, Stretch, StretchEnd};

use super::rows::{insert_key_store, key_store, name, provision};
use super::{Place, at, change, event, on, on_both, stamp};

on_both!(
    every_filter_finds_what_it_names,
    places_stay_while_the_log_grows,
    records_of_one_moment_have_an_order,
    no_record_names_another_projects_key,
    a_rare_filter_is_searched_step_by_step,
    what_was_written_last_is_found_at_once_among_many,
);

const SHOP: ProjectId = ProjectId(1);
const OTHER: ProjectId = ProjectId(2);

fn key(number: u8) -> KeyId {
    KeyId::from_bytes([number; 16])
}

fn who(text: &str) -> Option<Who> {
    Some(Who::parse("who", text).expect("somebody"))
}

async fn keep(store: &Store, event: AuditEvent) {
    store.audit(event, Uses::default()).await.expect("a record");
}

async fn read(store: &Store, wanted: &HistoryWanted, seek: Seek, limit: usize) -> Stretch {
    let wanted = wanted.clone();
    store.read(move |reader| reader.history(&wanted, seek, limit)).await.expect("a stretch")
}

async fn count(store: &Store, wanted: &HistoryWanted) -> Found {
    let wanted = wanted.clone();
    store.read(move |reader| reader.history_count(&wanted)).await.expect("a count")
}

fn details(stretch: &Stretch) -> Vec<String> {
    stretch.entries.iter().map(|entry| entry.record.event.detail.clone().expect("a detail")).collect()
}

/// Varied in all that is filtered by; no two fields go along with each other.
fn varied(n: i64) -> AuditEvent {
    let pick = |of: i64, step: i64| (n * step / 3 + n) % of;
    AuditEvent {
        // Not in order: several nodes and waiting changes write so.
        at: at(1_000_000 + (n ^ 3) * 10),
        project: match pick(4, 1) {
            0 => None,
            1 => Some(OTHER),
            _ => Some(SHOP),
        },
        actor: match pick(7, 5) {
            0 => Actor::Appkey,
            1 => Actor::Account("kim".to_owned()),
            2 => Actor::AccessKey { id: AccessKeyId::parse("AKID1").expect("an ID"), login: "kim".to_owned() },
            3 => Actor::AccessKey { id: AccessKeyId::parse("AKID12").expect("an ID"), login: "kimberly".to_owned() },
            4 => Actor::Operator(10),
            5 => Actor::Account("10".to_owned()),
            _ => Actor::Service,
        },
        address: (pick(3, 7) > 0).then(|| IpAddr::from([10, 0, 0, u8::try_from(pick(3, 7)).expect("a byte")])),
        operation: [Operation::Encrypt, Operation::CreateKey, Operation::SignIn, Operation::ReadInventory][usize::try_from(pick(4, 11)).expect("an index")],
        key_store: (pick(2, 13) > 0).then_some(KeyStoreNumber(pick(3, 1))),
        key: (pick(3, 17) > 0).then(|| key(u8::try_from(pick(3, 17)).expect("a byte"))),
        result_code: [0, 0, ResultCode::Forbidden.number(), ResultCode::ServiceUnavailable.number()][usize::try_from(pick(4, 19)).expect("an index")],
        ..event(n.to_string())
    }
}

fn is_by(event: &AuditEvent, who: &str) -> bool {
    match (&event.actor, who) {
        (Actor::Appkey, "appkey") | (Actor::Service, "service") => true,
        (Actor::Account(login), who) => login == who,
        (Actor::AccessKey { id, login }, who) => id.as_str() == who || login == who,
        (Actor::Operator(uid), who) => format!("uid {uid}") == who,
        _ => false,
    }
}

fn passes(wanted: &HistoryWanted, event: &AuditEvent) -> bool {
    let in_scope = match wanted.scope {
        HistoryScope::Project(project) => event.project == Some(project),
        HistoryScope::NoProject => event.project.is_none(),
        HistoryScope::Everything => true,
    };
    let ended = match wanted.outcome {
        None => true,
        Some(Outcome::Success) => event.result_code == 0,
        Some(Outcome::Refused) => event.result_code != 0 && event.result_code != 5001,
        Some(Outcome::Failed) => event.result_code == 5001,
        Some(Outcome::Code(code)) => event.result_code == code.number(),
    };
    in_scope
        && ended
        && wanted.from.is_none_or(|from| event.at >= from)
        && wanted.before.is_none_or(|before| event.at < before)
        && wanted.operation.is_none_or(|operation| event.operation == operation)
        && wanted.keys.as_ref().is_none_or(|keys| event.key.is_some_and(|key| keys.contains(&key)))
        && wanted.key_store.is_none_or(|number| event.key_store == Some(number))
        && wanted.who.as_ref().is_none_or(|who| is_by(event, who.as_str()))
        && wanted.address.as_ref().is_none_or(|address| event.address.is_some_and(|known| known.to_string() == *address))
}

/// Each filter alone and each pair of them, in each scope.
fn filters() -> Vec<HistoryWanted> {
    type Set = fn(&mut HistoryWanted);
    let sets: [Set; 18] = [
        |wanted| wanted.from = Some(at(1_001_000)),
        |wanted| wanted.before = Some(at(1_002_000)),
        |wanted| wanted.operation = Some(Operation::Encrypt),
        |wanted| wanted.operation = Some(Operation::CreateKey),
        |wanted| wanted.operation = Some(Operation::ReadInventory),
        |wanted| wanted.keys = Some(vec![key(1)]),
        |wanted| wanted.keys = Some(vec![key(1), key(2), key(9)]),
        |wanted| wanted.key_store = Some(KeyStoreNumber(1)),
        |wanted| wanted.who = who("kim"),
        |wanted| wanted.who = who("AKID1"),
        |wanted| wanted.who = who("appkey"),
        |wanted| wanted.who = who("uid 10"),
        |wanted| wanted.who = who("10"),
        |wanted| wanted.address = Some("10.0.0.1".to_owned()),
        |wanted| wanted.outcome = Some(Outcome::Success),
        |wanted| wanted.outcome = Some(Outcome::Refused),
        |wanted| wanted.outcome = Some(Outcome::Failed),
        |wanted| wanted.outcome = Some(Outcome::Code(ResultCode::Forbidden)),
    ];
    let mut all = Vec::new();
    for scope in [HistoryScope::Project(SHOP), HistoryScope::Project(OTHER), HistoryScope::NoProject, HistoryScope::Everything] {
        all.push(HistoryWanted::all(scope));
        for (n, one) in sets.iter().enumerate() {
            for other in &sets[n..] {
                let mut wanted = HistoryWanted::all(scope);
                one(&mut wanted);
                other(&mut wanted);
                all.push(wanted);
            }
        }
    }
    all
}

async fn every_filter_finds_what_it_names(place: &mut Place) {
    let store = place.open("node-1");
    let events: Vec<AuditEvent> = (0..300).map(varied).collect();
    for event in &events {
        keep(&store, event.clone()).await;
    }
    let mut not_empty = 0;
    for wanted in filters() {
        let mut expected: Vec<&AuditEvent> = events.iter().filter(|event| passes(&wanted, event)).collect();
        expected.sort_by_key(|event| std::cmp::Reverse(event.at));
        let expected: Vec<String> = expected.into_iter().map(|event| event.detail.clone().expect("a detail")).collect();
        let found = read(&store, &wanted, Seek::Newest, 1_000).await;
        assert_eq!((details(&found), found.end), (expected.clone(), StretchEnd::Nothing), "{wanted:?}");
        assert_eq!(count(&store, &wanted).await, Found::Exactly(expected.len()), "{wanted:?}");
        not_empty += usize::from(!expected.is_empty());
    }
    assert!(not_empty > 250, "only {not_empty} filters find something");
}

/// Reads on from a place, so many at a time, until there is nothing.
async fn all_the_way(store: &Store, wanted: &HistoryWanted, mut seek: Seek, size: usize) -> Vec<String> {
    let mut all = Vec::new();
    loop {
        let found = read(store, wanted, seek, size).await;
        let is_back = matches!(seek, Seek::Newer(_));
        let piece = details(&found);
        all = if is_back { [piece, all].concat() } else { [all, piece].concat() };
        let edge = if is_back { found.entries.first() } else { found.entries.last() };
        let next = match found.end {
            StretchEnd::Nothing => return all,
            StretchEnd::More => edge.expect("more than nothing").place,
            StretchEnd::Searched(place) => place,
        };
        seek = if is_back { Seek::Newer(next) } else { Seek::Older(next) };
    }
}

async fn places_stay_while_the_log_grows(place: &mut Place) {
    let store = place.open("node-1");
    let record = |n: i64| AuditEvent { at: at(1_000_000 + n), project: Some(SHOP), ..event(n.to_string()) };
    for n in 0..40 {
        keep(&store, record(n)).await;
    }
    for wanted in
        [HistoryWanted::all(HistoryScope::Project(SHOP)), HistoryWanted { operation: Some(Operation::Confirm), ..HistoryWanted::all(HistoryScope::Everything) }]
    {
        let first = read(&store, &wanted, Seek::Newest, 7).await;
        let newest = first.entries[0].place;
        let mut seen = details(&first);
        let (mut last, mut end, mut step) = (first.entries[6].place, first.end, 0);
        while end == StretchEnd::More {
            // Newer ones push nothing onto the next page.
            step += 1;
            keep(&store, record(100 + newest.position % 1_000 + step)).await;
            let next = read(&store, &wanted, Seek::Older(last), 7).await;
            seen.extend(details(&next));
            (last, end) = (next.entries.last().expect("some").place, next.end);
        }
        let mut expected: Vec<i64> = seen.iter().map(|detail| detail.parse().expect("a number")).collect();
        let count = expected.len();
        expected.sort_unstable_by_key(|n| std::cmp::Reverse(*n));
        expected.dedup();
        assert_eq!((count, expected[count - 1]), (expected.len(), 0), "each once, down to the oldest: {seen:?}");
        // Back again from the oldest, by other steps: all that there is by now.
        let back = all_the_way(&store, &wanted, Seek::Newer(last), 4).await;
        let whole = all_the_way(&store, &wanted, Seek::Newest, 11).await;
        assert_eq!(back, whole[..whole.len() - 1]);
        assert!(whole.len() > seen.len());
    }
}

async fn records_of_one_moment_have_an_order(place: &mut Place) {
    let store = place.open("node-1");
    for n in 0..10 {
        keep(&store, AuditEvent { project: Some(SHOP), ..event(n.to_string()) }).await;
    }
    let expected: Vec<String> = (0..10).rev().map(|n| n.to_string()).collect();
    for scope in [HistoryScope::Project(SHOP), HistoryScope::Everything] {
        assert_eq!(all_the_way(&store, &HistoryWanted::all(scope), Seek::Newest, 3).await, expected);
    }
    let entry = read(&store, &HistoryWanted::all(HistoryScope::Everything), Seek::Newest, 1).await.entries.remove(0);
    let place = entry.place;
    let again = store.read(move |reader| reader.history_entry(place)).await.expect("a read").expect("the record");
    assert_eq!((again.record.hash, again.record.chain, again.record.sequence), (entry.record.hash, store.chain(), 9));
    let nowhere = HistoryPlace { at: at(1), ..place };
    assert!(store.read(move |reader| reader.history_entry(nowhere)).await.expect("a read").is_none(), "the time is part of the place");
}

/// A record has the key that was asked for, also where it is another project's.
async fn no_record_names_another_projects_key(place: &mut Place) {
    let store = place.open("node-1");
    let ours = key_store(&store).await;
    let other = change(&store, |tx| tx.insert_project(&name("another project"), &stamp())).await;
    let theirs = change(&store, move |tx| insert_key_store(tx, other, "theirs", State::Active)).await;
    let [(own, _), (foreign, _)] = [provision(&store, &ours, "our key").await, provision(&store, &theirs, "not to be told").await];
    for (n, (project, key)) in
        [(Some(ours.project), own.id), (Some(ours.project), foreign.id), (Some(other), foreign.id), (None, foreign.id)].into_iter().enumerate()
    {
        keep(&store, AuditEvent { at: at(n.try_into().expect("a few")), project, key: Some(key), ..event(n.to_string()) }).await;
    }
    let names = |found: &Stretch| found.entries.iter().map(|entry| entry.key.as_ref().map(|key| key.as_str().to_owned())).collect::<Vec<_>>();
    let [our_key, theirs] = ["our key", "not to be told"].map(|name| Some(name.to_owned()));
    let found = read(&store, &HistoryWanted::all(HistoryScope::Project(ours.project)), Seek::Newest, 9).await;
    assert_eq!(names(&found), [None, our_key.clone()]);
    let (place, id) = (found.entries[0].place, foreign.id);
    let entry = store.read(move |reader| reader.history_entry(place)).await.expect("a read").expect("the record");
    assert_eq!((entry.key, entry.record.event.key), (None, Some(id)));
    let found = read(&store, &HistoryWanted::all(HistoryScope::Everything), Seek::Newest, 9).await;
    assert_eq!(names(&found), [theirs.clone(), theirs, None, our_key]);
}

/// Puts `count` encryptions of a project, one a second, behind what the process's own chain has.
fn fill(place: &Place, count: i64) {
    let columns = "position, previous, hash, at, request, project_id, actor_kind, actor_name, address, operation, key_store, key_id, version, result_code";
    let values = |n: &str, hash: &str| {
        format!(
            "{chain} + {n}, {hash}, {hash}, 1700000000000000 + {n} * 1000000, '00112233445566778899aabbccddeeff', 1, 'access-key',
             'AKID/user', '10.0.0.7', 'ENCRYPT', 1, '05050505050505050505050505050505', 0, 0",
            chain = "(SELECT number * 1099511627776 + 1000 FROM audit_chains)"
        )
    };
    match place {
        Place::Sqlite(_) => place.execute(&format!(
            "INSERT INTO audit_records ({columns}) WITH RECURSIVE s(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM s WHERE n + 1 < {count}) SELECT {} FROM s",
            values("n", "zeroblob(32)")
        )),
        Place::Postgresql(_) => place.execute(&format!(
            "INSERT INTO audit_records ({columns}) SELECT {} FROM generate_series(0::bigint, {count} - 1) AS n; ANALYZE audit_records",
            values("n", "decode(repeat('00', 32), 'hex')")
        )),
    }
}

async fn a_rare_filter_is_searched_step_by_step(place: &mut Place) {
    let store = place.open("node-1");
    // Older than all the others; of another address, and refused.
    let rare = AuditEvent {
        at: at(1_600_000_000_000_000),
        project: Some(SHOP),
        address: Some(IpAddr::from([192, 0, 2, 1])),
        key: Some(key(5)),
        operation: Operation::Encrypt,
        result_code: ResultCode::Forbidden.number(),
        ..event("rare")
    };
    keep(&store, rare).await;
    fill(place, 2 * HISTORY_REACH + 5);
    for scope in [HistoryScope::Project(SHOP), HistoryScope::Everything] {
        let wanted = HistoryWanted { address: Some("192.0.2.1".to_owned()), ..HistoryWanted::all(scope) };
        let first = read(&store, &wanted, Seek::Newest, 10).await;
        let newest = 1_700_000_000_000_000 + (2 * HISTORY_REACH + 4) * 1_000_000;
        let StretchEnd::Searched(stop) = first.end else { panic!("{:?} after {} records", first.end, first.entries.len()) };
        assert_eq!((details(&first), stop.at), (Vec::new(), at(newest - HISTORY_REACH * 1_000_000)), "so far and no further");
        assert_eq!(count(&store, &wanted).await, Found::AtLeast(0));
        assert_eq!(all_the_way(&store, &wanted, Seek::Newest, 10).await, ["rare"]);
        // The same from the other end: there it is near.
        let oldest = HistoryPlace { at: at(0), position: 0 };
        let back = read(&store, &wanted, Seek::Newer(oldest), 10).await;
        assert_eq!(details(&back), ["rare"]);
        assert!(matches!(back.end, StretchEnd::Searched(stop) if stop.at == at(1_700_000_000_000_000 + (HISTORY_REACH - 1) * 1_000_000)), "{:?}", back.end);
    }
    // By a key whose records lie apart, it takes more steps; they end all the same.
    let of_key = HistoryWanted { keys: Some(vec![key(5)]), address: Some("192.0.2.1".to_owned()), ..HistoryWanted::all(HistoryScope::Project(SHOP)) };
    assert!(matches!(read(&store, &of_key, Seek::Newest, 10).await.end, StretchEnd::Searched(_)));
    assert_eq!(all_the_way(&store, &of_key, Seek::Newest, 10).await, ["rare"]);
    // Whoever sees another project learns nothing of this key, by no more work.
    let foreign = HistoryWanted { keys: Some(vec![key(5)]), ..HistoryWanted::all(HistoryScope::Project(OTHER)) };
    assert!(matches!(read(&store, &foreign, Seek::Newest, 10).await.end, StretchEnd::Nothing), "as many steps as its own records take, and it has none");
    assert!(all_the_way(&store, &foreign, Seek::Newest, 10).await.is_empty());
}

async fn what_was_written_last_is_found_at_once_among_many(place: &mut Place) {
    let store = place.open("node-1");
    keep(&store, AuditEvent { project: Some(SHOP), operation: Operation::CreateKey, ..event("old change") }).await;
    keep(&store, AuditEvent { project: Some(OTHER), result_code: ResultCode::Forbidden.number(), ..event("old refusal") }).await;
    keep(&store, AuditEvent { operation: Operation::SignIn, actor: Actor::Account("kim".to_owned()), ..event("sign-in") }).await;
    fill(place, HISTORY_REACH + 10);
    let everything = HistoryWanted::all(HistoryScope::Everything);
    assert_eq!(count(&store, &everything).await, Found::MoreThan(HISTORY_COUNT_MAX));
    // What is noteworthy is found behind more records than are ever looked at.
    for (wanted, expected) in [
        (HistoryWanted { operation: Some(Operation::CreateKey), ..HistoryWanted::all(HistoryScope::Project(SHOP)) }, "old change"),
        (HistoryWanted { outcome: Some(Outcome::Refused), ..everything.clone() }, "old refusal"),
        (HistoryWanted { outcome: Some(Outcome::Code(ResultCode::Forbidden)), ..HistoryWanted::all(HistoryScope::Project(OTHER)) }, "old refusal"),
        (HistoryWanted { who: who("kim"), ..HistoryWanted::all(HistoryScope::NoProject) }, "sign-in"),
    ] {
        let found = read(&store, &wanted, Seek::Newest, 10).await;
        assert_eq!((details(&found), found.end), (vec![expected.to_owned()], StretchEnd::Nothing), "{wanted:?}");
        assert_eq!(count(&store, &wanted).await, Found::Exactly(1));
    }
}

/// How long pages of ten million records take. Not a test: run it by
/// `cargo test --release --test integration store::history::measure -- --ignored --nocapture`; `SKM_MEASURED_RECORDS` says of how many.
async fn measure(place: &mut Place) {
    let store = place.open("node-1");
    keep(&store, AuditEvent { operation: Operation::CreateKey, project: Some(SHOP), ..event("first") }).await;
    let records = std::env::var("SKM_MEASURED_RECORDS").ok().and_then(|records| records.parse().ok());
    fill(place, records.unwrap_or(10_000_000));
    place.execute(
        "UPDATE audit_records SET result_code = 2001 WHERE position % 200 = 5; UPDATE audit_records SET operation = 'CREATE_KEY' WHERE position % 500 = 1;
         UPDATE audit_records SET key_id = '06060606060606060606060606060606' WHERE position % 100 = 7;
         UPDATE audit_records SET address = '10.0.0.8' WHERE position % 1000 = 9",
    );
    let shop = || HistoryWanted::all(HistoryScope::Project(SHOP));
    let middle = Seek::Older(HistoryPlace { at: at(1_705_000_000_000_000), position: 0 });
    for (what, wanted, seek) in [
        ("newest of a project", shop(), Seek::Newest),
        ("newest of all", HistoryWanted::all(HistoryScope::Everything), Seek::Newest),
        ("in the middle", shop(), middle),
        ("an operation, daily", HistoryWanted { operation: Some(Operation::Encrypt), ..shop() }, Seek::Newest),
        ("an operation, none", HistoryWanted { operation: Some(Operation::Decrypt), ..shop() }, Seek::Newest),
        ("changes", HistoryWanted { operation: Some(Operation::CreateKey), ..shop() }, middle),
        ("refused", HistoryWanted { outcome: Some(Outcome::Refused), ..shop() }, Seek::Newest),
        ("failed, none", HistoryWanted { outcome: Some(Outcome::Failed), ..shop() }, Seek::Newest),
        ("of no project, none", HistoryWanted::all(HistoryScope::NoProject), Seek::Newest),
        ("a key", HistoryWanted { keys: Some(vec![key(6)]), ..shop() }, middle),
        ("a key, refused, none", HistoryWanted { keys: Some(vec![key(6)]), outcome: Some(Outcome::Refused), ..shop() }, Seek::Newest),
        ("an address, some", HistoryWanted { address: Some("10.0.0.8".to_owned()), ..shop() }, Seek::Newest),
        ("an address, none", HistoryWanted { address: Some("192.0.2.9".to_owned()), ..shop() }, Seek::Newest),
        ("who, none", HistoryWanted { who: who("nobody"), ..shop() }, middle),
        ("who and refused, none", HistoryWanted { who: who("nobody"), outcome: Some(Outcome::Refused), ..shop() }, Seek::Newest),
    ] {
        let began = Instant::now();
        let found = read(&store, &wanted, seek, 100).await;
        let (page, counted) = (began.elapsed(), count(&store, &wanted).await);
        println!("{what:24} page {page:8.1?}, with count {:8.1?}: {} records, {counted:?}, {:?}", began.elapsed(), found.entries.len(), found.end);
    }
}

#[test]
#[ignore = "measures, and makes ten million records"]
fn measure_on_sqlite() {
    on(&mut Place::sqlite(), measure);
}

#[test]
#[ignore = "measures, and makes ten million records"]
fn measure_on_postgresql() {
    on(&mut Place::postgresql(), measure);
}
