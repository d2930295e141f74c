//! What must hold once everything that was under way has been settled.

use std::collections::BTreeSet;
use std::time::Duration;

use super::load::{Client, Kind, Ledger, Thing, wait_until};
use crate::support::installation::{Answer, Installation};

/// Lease, the reconciler's period of 10 s, and what a busy machine adds.
const SETTLING: Duration = Duration::from_secs(90);

/// The installation with leases of 12 s: three times the token's slow deadline, in which a pair of RSA keys is made even on a busy
/// machine, mostly.
pub(crate) fn short_leases(mut installation: Installation) -> Installation {
    installation.set("SKM_TOKEN__SLOW_DEADLINE", "4 s");
    installation
}

const TABLES: [&str; 6] = ["keys", "key_versions", "token_objects", "internal_keys", "import_pairs", "key_stores"];

/// Waits until nothing is being made or destroyed any more.
pub(crate) fn wait_until_settled(installation: &Installation) {
    let mut database = installation.database();
    let mut left = Vec::new();
    let under_way = |table: &&str| format!("{table} WHERE state IN ('PROVISIONING', 'DESTROYING')");
    let began = std::time::Instant::now();
    loop {
        left.clear();
        left.extend(TABLES.iter().map(under_way).filter(|from| database.count(from) > 0));
        if left.is_empty() {
            return;
        }
        assert!(began.elapsed() < SETTLING, "still there after {SETTLING:?}: {left:?}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Every name that wasn't acknowledged is free, or stands for something that works.
pub(super) fn the_others_are_whole_or_free(installation: &Installation, client: &Client, ledger: &Ledger) -> (usize, usize) {
    let (mut whole, mut free) = (0, 0);
    for thing in ledger.others() {
        let again = make_again(installation, client, &thing);
        match again.status {
            200 => free += 1,
            409 => {
                whole += 1;
                client.must_work(&Thing { id: id_of(installation, &thing), ..thing });
            }
            _ => panic!("{thing:?}: {again:?}"),
        }
    }
    (whole, free)
}

/// Asks for a thing's name once more. On a busy machine a pair of RSA keys may take longer than the short deadline.
fn make_again(installation: &Installation, client: &Client, thing: &Thing) -> Answer {
    let mut answer = client.make(thing.kind, &thing.name);
    for _ in 0..4 {
        if answer.as_ref().is_ok_and(|answer| answer.status != 503) {
            break;
        }
        wait_until_settled(installation);
        answer = client.make(thing.kind, &thing.name);
    }
    answer.unwrap_or_else(|error| panic!("{thing:?}: {error}"))
}

/// The ID of the key of that name.
fn id_of(installation: &Installation, thing: &Thing) -> Option<String> {
    if !matches!(thing.kind, Kind::Secret | Kind::Symmetric | Kind::Asymmetric) {
        return None;
    }
    let ids = installation.database().texts("id", &format!("keys WHERE state = 'ACTIVE' AND name = '{}'", thing.name));
    assert_eq!(ids.len(), 1, "{thing:?}: {ids:?}");
    ids.into_iter().next()
}

/// Each thing that was acknowledged has the record of its making.
pub(super) fn the_acknowledged_are_audited(installation: &Installation, ledger: &Ledger) {
    let recorded = |operation: &str, column: &str| -> BTreeSet<String> {
        let from = format!("audit_records WHERE operation = '{operation}' AND result_code = 0 AND {column} IS NOT NULL");
        installation.database().texts(column, &from).into_iter().collect()
    };
    let (keys, key_stores, rules) = (recorded("CREATE_KEY", "key_id"), recorded("CREATE_KEY_STORE", "detail"), recorded("CREATE_CLIENT_RULE", "detail"));
    for thing in ledger.acknowledged() {
        let has_record = match thing.kind {
            Kind::KeyStore => key_stores.contains(&thing.name),
            Kind::Rule => rules.contains(&format!("IPV4 {}", thing.name)),
            Kind::Secret | Kind::Symmetric | Kind::Asymmetric => keys.contains(thing.id.as_deref().expect("an ID")),
        };
        assert!(has_record, "{thing:?} has no audit record");
    }
}

/// One line of `skm hsm objects`.
#[derive(Debug)]
pub(crate) struct TokenObject {
    pub(crate) class: String,
    pub(crate) id: String,
    pub(crate) flags: String,
}

/// What is in the token, as `skm hsm objects` says.
pub(crate) fn token_objects(installation: &Installation) -> Vec<TokenObject> {
    let (code, text, problems) = installation.run(&["hsm", "objects"]);
    assert_eq!(code, 0, "{problems}");
    let mut lines: Vec<&str> = text.lines().collect();
    let total = lines.pop().expect("a total");
    assert_eq!(total, format!("{} objects", lines.len()));
    let object = |line: &str| {
        let mut words = line.split_whitespace();
        let mut word = || words.next().unwrap_or_else(|| panic!("{line}")).to_owned();
        let (class, id, _label) = (word(), word(), word());
        TokenObject { class, id, flags: words.collect::<Vec<_>>().join(" ") }
    };
    lines.into_iter().map(object).collect()
}

/// Token and database name the same objects.
pub(crate) fn token_and_database_agree(installation: &Installation) {
    let in_token: BTreeSet<String> = token_objects(installation).into_iter().map(|object| object.id).collect();
    let named: BTreeSet<String> = installation.database().texts("object_id", "token_objects WHERE state <> 'DESTROYED'").into_iter().collect();
    let orphans: Vec<_> = in_token.difference(&named).collect();
    let missing: Vec<_> = named.difference(&in_token).collect();
    assert!(orphans.is_empty() && missing.is_empty(), "in the token alone: {orphans:?}; in the database alone: {missing:?}");
}

/// `skm audit verify` finds the log intact.
pub(crate) fn audit_is_intact(installation: &Installation) {
    let (code, told, problems) = installation.run(&["audit", "verify"]);
    assert_eq!(code, 0, "{told}{problems}");
    assert!(told.contains("intact: "), "{told}");
}

/// `/readyz` says 200 within `limit`; how long it took.
pub(crate) fn wait_until_ready(running: &crate::support::installation::Running, limit: Duration) -> Duration {
    wait_until("ready", limit, || running.operations("/readyz").0 == 200)
}
