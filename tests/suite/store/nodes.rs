//! Several processes on one database: races, leases, and what they tell each other.

use std::collections::HashSet;
use std::sync::{Arc, Barrier, Mutex};
use std::time::Duration;

use diesel::connection::SimpleConnection as _;
use skm::domain::account::{AccessKeyId, SecretHash, TokenLife};
use skm::domain::appkey::Appkey;
use skm::domain::audit::{KeyUse, Uses};
use skm::domain::caller::MacAddr;
use skm::domain::client_checks::{Method, RuleValue};
use skm::domain::ids::{ClientRuleId, KeyId, KeyStoreId, KeyVersion, ProjectId};
use skm::domain::key::{Origin, State};
use skm::domain::text::Description;
use skm::store::{
    Change, ExpiredObject, LAST_APPKEY, PlannedObject, Purpose, Store, StoreError, TOKENS_MAX, TOO_MANY_ACCESS_KEYS, UNUSABLE_ACCESS_KEY, Unique,
};

use super::rows::{insert_key_store, issue_tokens, key_store, name, next_checkpoint, planned, provision};
use super::writer::hold;
use super::{Place, at, audit, change, event, key_id, object_id, on_both, random, stamp, until, verified_details};

on_both!(
    a_follower_hears_of_changes_in_time,
    a_follower_that_fell_behind_drops_everything,
    a_panicking_follower_goes_on,
    counters_are_summed_over_nodes,
    disabling_ends_tokens_that_another_node_issues,
    every_head_comes_into_a_checkpoint,
    every_node_has_a_chain,
    no_change_is_missed_under_concurrent_writers,
    one_node_takes_an_expired_object_over,
    nothing_comes_into_a_key_store_that_goes,
    one_of_the_last_two_appkeys_stays,
    one_of_two_gets_the_name,
    the_change_log_is_bounded,
    the_last_two_versions_go_at_once,
    staleness_grows_while_the_log_can_not_be_read,
    two_nodes_never_exceed_the_access_keys_of_an_account,
    two_nodes_never_exceed_the_client_rules_of_a_key_store,
    two_nodes_never_exceed_the_tokens_of_an_access_key,
    two_nodes_never_share_a_key_store_number,
);

const INTERVAL: Duration = Duration::from_millis(20);

/// Runs `work` on both stores at once, and answers both outcomes.
async fn race<T: Send + 'static, F: Future<Output = T> + Send + 'static>(stores: [&Store; 2], work: impl Fn(Store) -> F) -> [T; 2] {
    let tasks = stores.map(|store| tokio::spawn(work(store.clone())));
    let [first, second] = tasks;
    [first.await.expect("a task"), second.await.expect("a task")]
}

async fn one_of_two_gets_the_name(place: &mut Place) {
    let (one, two) = (place.open("node-1"), place.open("node-2"));
    for round in 0..20 {
        let outcomes = race([&one, &two], |store| async move {
            store.change::<_, StoreError, _>(move |tx| tx.insert_project(&name(&format!("project {round}")), &stamp())).await
        })
        .await;
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1, "{outcomes:?}");
        assert!(outcomes.iter().any(|outcome| matches!(outcome, Err(StoreError::Exists { what: Unique::ProjectName }))), "{outcomes:?}");
    }
    let outcomes = race([&one, &two], |store| async move {
        let object = planned(key_id());
        store.change::<_, StoreError, _>(move |tx| tx.insert_internal_key(Purpose::CertificateAuthority, &object, &stamp())).await
    })
    .await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1, "{outcomes:?}");
}

async fn two_nodes_never_share_a_key_store_number(place: &mut Place) {
    let (one, two) = (place.open("node-1"), place.open("node-2"));
    let project = change(&one, |tx| tx.insert_project(&name("project"), &stamp())).await;
    let numbers = race([&one, &two], |store| async move {
        let mut numbers = Vec::new();
        for _ in 0..15 {
            let unique = key_id().to_string();
            numbers.push(change(&store, move |tx| insert_key_store(tx, project, &unique, State::Active)).await.number.0);
        }
        numbers
    })
    .await;
    let mut numbers = numbers.concat();
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=30).collect::<Vec<_>>());
}

async fn two_nodes_never_exceed_the_access_keys_of_an_account(place: &mut Place) {
    let (one, two) = (place.open("node-1"), place.open("node-2"));
    let account = change(&one, |tx| tx.insert_account("alice", "", false, &stamp())).await;
    let made = race([&one, &two], |store| async move {
        let mut made = 0;
        for _ in 0..5 {
            let id = AccessKeyId::parse(&key_id().to_string()).expect("an ID");
            let inserted =
                store.change::<_, StoreError, _>(move |tx| tx.insert_access_key(&id, (account, None), SecretHash([0; 32]), TokenLife::MAX, &stamp())).await;
            assert!(matches!(inserted, Ok(()) | Err(StoreError::Stale { what: TOO_MANY_ACCESS_KEYS })), "{inserted:?}");
            made += usize::from(inserted.is_ok());
        }
        made
    })
    .await;
    assert_eq!(made.iter().sum::<usize>(), 5);
}

async fn disabling_ends_tokens_that_another_node_issues(place: &mut Place) {
    let (one, two) = (place.open("node-1"), place.open("node-2"));
    for round in 0..30_u8 {
        let id = AccessKeyId::parse(&format!("AKID{round}")).expect("an ID");
        let key = id.clone();
        let account = change(&one, move |tx| {
            let account = tx.insert_account(&format!("login{round}"), "", false, &stamp())?;
            tx.insert_access_key(&key, (account, None), SecretHash([0; 32]), TokenLife::MAX, &stamp())?;
            Ok(account)
        })
        .await;
        let (issuing, disabling, token) = (id.clone(), id.clone(), SecretHash([round; 32]));
        let issue = two.change::<_, StoreError, _>(move |tx| tx.insert_bearer_token(token, &issuing, at(1), at(100)));
        let disable = one.change::<_, StoreError, _>(move |tx| match round % 3 {
            0 => tx.set_account_enabled(account, false, &stamp()),
            1 => tx.set_access_key_enabled(&disabling, false, &stamp()),
            _ => tx.delete_access_key(&disabling),
        });
        let (issued, disabled) = tokio::join!(issue, disable);
        assert!(disabled.is_ok(), "{disabled:?}");
        assert!(matches!(issued, Ok(_) | Err(StoreError::Stale { what: UNUSABLE_ACCESS_KEY })), "{issued:?}");
        let left = two.read::<_, StoreError, _>(move |reader| reader.bearer_token(token)).await.expect("a read");
        assert!(left.is_none(), "round {round}: {issued:?}");
        let afterwards = two.change::<_, StoreError, _>(move |tx| tx.insert_bearer_token(token, &id, at(1), at(100))).await;
        assert!(matches!(afterwards, Err(StoreError::Stale { what: UNUSABLE_ACCESS_KEY })), "{afterwards:?}");
    }
}

async fn one_of_the_last_two_appkeys_stays(place: &mut Place) {
    let (one, two) = (place.open("node-1"), place.open("node-2"));
    for round in 0..20 {
        let appkeys = ["a", "b"].map(|kind| Appkey::parse(&format!("{kind}{round}")).expect("an appkey"));
        let [first, second] = appkeys.clone();
        let project = change(&one, move |tx| {
            let project = tx.insert_project(&name(&format!("project {round}")), &stamp())?;
            tx.insert_appkey(&first, project, &stamp())?;
            tx.insert_appkey(&second, project, &stamp())?;
            Ok(project)
        })
        .await;
        let [first, second] = appkeys;
        let (one_goes, other_goes) = tokio::join!(
            one.change::<_, StoreError, _>(move |tx| tx.delete_appkey(&first, project, &stamp())),
            two.change::<_, StoreError, _>(move |tx| tx.delete_appkey(&second, project, &stamp())),
        );
        let outcomes = [one_goes, other_goes];
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1, "{outcomes:?}");
        assert!(outcomes.iter().any(|outcome| matches!(outcome, Err(StoreError::Stale { what: LAST_APPKEY }))), "{outcomes:?}");
        let left = one.read::<_, StoreError, _>(move |reader| reader.appkeys(Some(project), None, 10)).await.expect("a read");
        assert_eq!(left.len(), 1);
    }
}

async fn two_nodes_never_exceed_the_tokens_of_an_access_key(place: &mut Place) {
    let (one, two) = (place.open("node-1"), place.open("node-2"));
    let id = AccessKeyId::parse("AKID").expect("an ID");
    let full = id.clone();
    change(&one, move |tx| {
        let account = tx.insert_account("alice", "", false, &stamp())?;
        tx.insert_access_key(&full, (account, None), SecretHash([0; 32]), TokenLife::MAX, &stamp())
    })
    .await;
    issue_tokens(&one, TOKENS_MAX - 5, &id, 1, 100).await;
    let ended = race([&one, &two], |store| {
        let id = id.clone();
        async move {
            let mut ended = 0;
            for _ in 0..5 {
                let id = id.clone();
                ended += change(&store, move |tx| tx.insert_bearer_token(SecretHash(random()), &id, at(1), at(100))).await.len();
            }
            ended
        }
    })
    .await;
    assert_eq!(ended.iter().sum::<usize>(), 5);
    assert_eq!(place.number("SELECT COUNT(*) AS n FROM bearer_tokens"), TOKENS_MAX);
}

fn mac_rule() -> RuleValue {
    RuleValue::Mac(MacAddr::from_bytes(random()))
}

fn no_description() -> Description {
    Description::parse("description", "").expect("a description")
}

async fn two_nodes_never_exceed_the_client_rules_of_a_key_store(place: &mut Place) {
    const MAX: i64 = 5;
    let (one, two) = (place.open("node-1"), place.open("node-2"));
    let of = key_store(&one).await.id;
    let made = race([&one, &two], |store| async move {
        let mut made = 0;
        for _ in 0..5 {
            let inserted = store
                .change::<_, StoreError, _>(move |tx| {
                    tx.hold_active_key_store(of)?;
                    if tx.count_client_rules(of, Method::Mac)? >= MAX {
                        return Err(StoreError::Stale { what: "test" });
                    }
                    tx.insert_client_rule(of, &mac_rule(), &no_description(), None, &stamp())
                })
                .await;
            assert!(matches!(inserted, Ok(_) | Err(StoreError::Stale { what: "test" })), "{inserted:?}");
            made += i64::from(inserted.is_ok());
        }
        made
    })
    .await;
    assert_eq!(made.iter().sum::<i64>(), MAX);
}

/// One node is about to destroy a key store when another adds to it.
async fn nothing_comes_into_a_key_store_that_goes(place: &mut Place) {
    let (one, two) = (place.open("node-1"), place.open("node-2"));
    let of = key_store(&one).await.id;
    let (tell, told) = std::sync::mpsc::channel();
    let going = tokio::spawn(async move {
        change(&one, move |tx| {
            tx.set_key_store_state(of, State::Active, State::Destroying, &stamp())?;
            tell.send(()).ok();
            std::thread::sleep(Duration::from_millis(300));
            Ok(())
        })
        .await;
    });
    tokio::task::spawn_blocking(move || told.recv().expect("the one that destroys")).await.expect("a thread");
    let added = two
        .change::<_, StoreError, _>(move |tx| {
            tx.hold_active_key_store(of)?;
            tx.insert_client_rule(of, &mac_rule(), &no_description(), None, &stamp())
        })
        .await;
    assert!(matches!(added, Err(StoreError::Stale { what: "key store" })), "{added:?}");
    going.await.expect("a task");
}

/// Nodes that make checkpoints at once while records are written: one of them gets the number, and nothing is left out.
async fn every_head_comes_into_a_checkpoint(place: &mut Place) {
    let (one, two) = (place.open("node-1"), place.open("node-2"));
    let made = race([&one, &two], |store| async move {
        let mut made = 0;
        for round in 0..30 {
            audit(&store, format!("{round}")).await.expect("a record");
            let checkpoint = next_checkpoint(&store, None).await;
            audit(&store, format!("{round} again")).await.expect("a record");
            let inserted = store.change(move |tx| tx.insert_checkpoint(&checkpoint)).await;
            assert!(matches!(inserted, Ok(()) | Err(StoreError::Exists { .. })), "{inserted:?}");
            made += usize::from(inserted.is_ok());
        }
        made
    })
    .await;
    let last = next_checkpoint(&one, None).await;
    change(&one, move |tx| tx.insert_checkpoint(&last)).await;
    assert_eq!(next_checkpoint(&two, None).await.heads, []);
    let checkpoints = one.read(|reader| reader.checkpoints(1, 1_000)).await.expect("checkpoints");
    assert_eq!(checkpoints.len(), made.iter().sum::<usize>() + 1);
    let listed: HashSet<_> = checkpoints.iter().flat_map(|checkpoint| &checkpoint.heads).map(|head| (head.chain, head.sequence, head.hash)).collect();
    for head in one.read(|reader| reader.chain_heads()).await.expect("heads") {
        assert!(listed.contains(&(head.chain, head.sequence, head.hash)), "{head:?} is in no checkpoint");
    }
    for pair in checkpoints.windows(2) {
        assert_eq!((pair[1].number, pair[1].previous), (pair[0].number + 1, pair[0].digest));
        for head in &pair[1].heads {
            let before = pair[0].heads.iter().find(|before| before.chain == head.chain);
            assert!(before.is_none_or(|before| before.sequence < head.sequence), "listed twice");
        }
    }
}

async fn one_node_takes_an_expired_object_over(place: &mut Place) {
    let (one, two) = (place.open("node-1"), place.open("node-2"));
    let of = key_store(&one).await;
    for round in 0..10 {
        let (key, object) = provision(&one, &of, &format!("key {round}")).await;
        let expired = ExpiredObject { object: object.object, key: key.id, version: object.version, state: State::Provisioning };
        let activate_too = round % 2 == 0;
        let outcomes = race([&one, &two], |store| {
            let (expired, object) = (expired.clone(), object.clone());
            async move {
                // Its maker may come in late, just when it is taken over.
                if activate_too && store.change::<_, StoreError, _>(move |tx| tx.activate_object(&object, None, Origin::Generated)).await.is_ok() {
                    return true;
                }
                change(&store, move |tx| tx.take_over_object(&expired, at(60_000_001), at(90_000_000))).await
            }
        })
        .await;
        assert_eq!(outcomes.iter().filter(|won| **won).count(), 1, "{outcomes:?}");
    }
    // A lease is its node's own.
    let (_, object) = provision(&one, &of, "mine").await;
    let foreign = object.clone();
    let taken = two.change::<_, StoreError, _>(move |tx| tx.activate_object(&foreign, None, Origin::Generated)).await;
    assert!(matches!(taken, Err(StoreError::Stale { .. })));
    change(&one, move |tx| tx.activate_object(&object, None, Origin::Generated)).await;
}

/// Two nodes destroy the last two versions of a key, and of a key store's own key: neither may take the other's for one that is left.
async fn the_last_two_versions_go_at_once(place: &mut Place) {
    let (one, two) = (place.open("node-1"), place.open("node-2"));
    let of = key_store(&one).await;
    let (key, first) = provision(&one, &of, "key").await;
    let (id, second) = (key.id, PlannedObject { object: object_id(), version: next_version(), ..first.clone() });
    let own = planned(key_id());
    let own_second = PlannedObject { object: object_id(), version: next_version(), ..own.clone() };
    let own_versions = [own.clone(), own_second.clone()];
    change(&one, move |tx| own_versions.iter().try_for_each(|object| tx.insert_internal_key(Purpose::ConfidentialData(of.id), object, &stamp()))).await;
    place.execute(&format!(
        "INSERT INTO key_versions (key_id, version, state, origin, created_by, created_at, changed_by, changed_at)
             SELECT key_id, 1, state, origin, created_by, created_at, changed_by, changed_at FROM key_versions WHERE key_id = '{id}';
         INSERT INTO token_objects (object_id, key_id, version, state, node, lease_until, created_at)
             SELECT '{}', key_id, 1, state, node, lease_until, created_at FROM token_objects WHERE key_id = '{id}';
         UPDATE keys SET state = 'DESTROYING'; UPDATE key_versions SET state = 'DESTROYING'; UPDATE internal_keys SET state = 'DESTROYING';
         UPDATE key_stores SET state = 'DESTROYING'; UPDATE token_objects SET state = 'DESTROYING';",
        second.object
    ));
    for (mine, other) in [(first.object, second.object), (own.object, own_second.object)] {
        let (tell, told) = std::sync::mpsc::channel();
        let (one, two) = (one.clone(), two.clone());
        let slow = tokio::spawn(async move {
            change(&one, move |tx| {
                tx.object_destroyed(mine, at(61_000_000))?;
                tell.send(()).ok();
                std::thread::sleep(Duration::from_millis(300));
                Ok(())
            })
            .await;
        });
        tokio::task::spawn_blocking(move || told.recv().expect("the slow one")).await.expect("a thread");
        change(&two, move |tx| tx.object_destroyed(other, at(61_000_000))).await;
        slow.await.expect("a task");
    }
    assert_eq!(place.number("SELECT COUNT(*) AS n FROM keys WHERE state <> 'DESTROYED'"), 0);
    assert_eq!(place.number("SELECT COUNT(*) AS n FROM key_stores WHERE state <> 'DESTROYED'"), 0);
}

/// The version after the first.
fn next_version() -> KeyVersion {
    KeyVersion::new(1).expect("a version")
}

/// A follower, and what it heard.
fn follow(store: &Store) -> Arc<Mutex<Vec<Change>>> {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let hears = Arc::clone(&heard);
    store.follow(INTERVAL, move |changes| hears.lock().expect("a lock").extend_from_slice(changes));
    heard
}

async fn a_follower_hears_of_changes_in_time(place: &mut Place) {
    let (one, two) = (place.open("node-1"), place.open("node-2"));
    change(&one, |tx| tx.changed(Change::Project(ProjectId(1)))).await;
    assert_eq!(one.staleness(), None);
    let heard = follow(&two);
    until("the first read", || two.staleness().is_some()).await;
    // What changed since the store was opened may have been read and cached before the follower ran.
    until("the change before", || heard.lock().expect("a lock").len() == 1).await;
    heard.lock().expect("a lock").clear();
    let all = [
        Change::Key(key_id()),
        Change::KeyStore(KeyStoreId(7)),
        Change::Project(ProjectId(8)),
        Change::Identity,
        Change::AccessKey(AccessKeyId::parse("AKID").expect("an ID")),
        Change::Token([9; 32]),
        Change::ObjectGone(object_id()),
    ];
    let told = all.clone();
    change(&one, move |tx| {
        tx.changed(told[0].clone())?;
        told.into_iter().try_for_each(|change| tx.changed(change))
    })
    .await;
    let told = std::time::Instant::now();
    until("the changes", || heard.lock().expect("a lock").len() >= all.len()).await;
    assert!(told.elapsed() < Duration::from_secs(1), "{:?}", told.elapsed());
    assert_eq!(*heard.lock().expect("a lock"), all, "each once, in order");
    // What is undone isn't told.
    let undone = one
        .change::<(), StoreError, _>(|tx| {
            tx.changed(Change::Identity)?;
            Err(StoreError::Busy)
        })
        .await;
    assert!(undone.is_err());
    tokio::time::sleep(INTERVAL * 3).await;
    assert_eq!(heard.lock().expect("a lock").len(), all.len());
    assert!(two.staleness().is_some_and(|age| age < Duration::from_secs(1)));
}

async fn no_change_is_missed_under_concurrent_writers(place: &mut Place) {
    const EACH: usize = 40;
    let watcher = place.open("watcher");
    let heard = follow(&watcher);
    let writers: Vec<_> = (0..3).map(|number| place.open(&format!("node-{number}"))).collect();
    let tasks: Vec<_> = writers
        .iter()
        .flat_map(|store| std::iter::repeat_n(store.clone(), 4))
        .map(|store| {
            tokio::spawn(async move {
                let mut told = Vec::new();
                for number in 0..EACH {
                    let (key, other) = (key_id(), key_id());
                    // Some change two things, some fail after all, and all have records beside them.
                    let fails = number % 5 == 4;
                    let outcome = store
                        .change::<_, StoreError, _>(move |tx| {
                            tx.changed(Change::Key(key))?;
                            tx.audit(event("change"), Uses::default())?;
                            tx.changed(Change::Key(other))?;
                            if fails { Err(StoreError::Busy) } else { Ok(()) }
                        })
                        .await;
                    assert_eq!(outcome.is_err(), fails, "{outcome:?}");
                    if !fails {
                        told.extend([key, other]);
                    }
                }
                told
            })
        })
        .collect();
    let mut told = HashSet::new();
    for task in tasks {
        told.extend(task.await.expect("a task").into_iter().map(Change::Key));
    }
    until("all changes", || heard.lock().expect("a lock").len() >= told.len()).await;
    let heard = heard.lock().expect("a lock").clone();
    assert_eq!(heard.len(), told.len(), "each once");
    assert_eq!(heard.into_iter().collect::<HashSet<_>>(), told);
    for store in &writers {
        assert_eq!(verified_details(store, store.chain()).await.len(), 4 * EACH * 4 / 5);
    }
}

async fn a_follower_that_fell_behind_drops_everything(place: &mut Place) {
    let (one, two) = (place.open("node-1"), place.open("node-2"));
    let many = |store: Store, from: i64, to: i64| async move {
        change(&store, move |tx| (from..to).try_for_each(|number| tx.changed(Change::Project(ProjectId(number))))).await;
    };
    // More than one page, and each once.
    many(one.clone(), 0, 2_500).await;
    let heard = follow(&two);
    until("the changes", || heard.lock().expect("a lock").len() >= 2_500).await;
    assert_eq!(*heard.lock().expect("a lock"), (0..2_500).map(|number| Change::Project(ProjectId(number))).collect::<Vec<_>>());
    // Cut off beyond the third's position.
    let three = place.open("node-3");
    many(one.clone(), 0, 3).await;
    place.execute("DELETE FROM change_log WHERE number <= 2501");
    let heard = follow(&three);
    until("everything", || !heard.lock().expect("a lock").is_empty()).await;
    many(one.clone(), 5, 6).await;
    until("the next", || heard.lock().expect("a lock").len() >= 2).await;
    assert_eq!(*heard.lock().expect("a lock"), [Change::Everything, Change::Project(ProjectId(5))]);
    // The database is an older one than before: restored from a backup.
    place.execute("UPDATE change_seq SET n = 2; DELETE FROM change_log WHERE number > 2");
    until("everything again", || heard.lock().expect("a lock").len() >= 3).await;
    assert_eq!(heard.lock().expect("a lock").last(), Some(&Change::Everything));
}

async fn a_panicking_follower_goes_on(place: &mut Place) {
    let store = place.open("node-1");
    let heard = Arc::new(Mutex::new(0));
    let hears = Arc::clone(&heard);
    store.follow(INTERVAL, move |_| {
        let mut times = hears.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *times += 1;
        assert!(*times > 2, "a test's panic");
    });
    change(&store, |tx| tx.changed(Change::Identity)).await;
    until("the change, at last", || {
        heard.lock().is_ok_and(|times| *times > 2) || heard.is_poisoned() && *heard.lock().unwrap_or_else(std::sync::PoisonError::into_inner) > 2
    })
    .await;
    until("freshness", || store.staleness().is_some_and(|age| age < INTERVAL * 10)).await;
}

async fn staleness_grows_while_the_log_can_not_be_read(place: &mut Place) {
    let store = place.open("node-1");
    let _heard = follow(&store);
    until("the first read", || store.staleness().is_some()).await;
    match place {
        Place::Sqlite(_) => place.execute("ALTER TABLE change_seq RENAME TO away"),
        Place::Postgresql(cluster) => cluster.stop(),
    }
    until("staleness", || store.staleness().is_some_and(|age| age > Duration::from_millis(500))).await;
    match place {
        Place::Sqlite(_) => place.execute("ALTER TABLE away RENAME TO change_seq"),
        Place::Postgresql(cluster) => cluster.start_again(),
    }
    until("freshness", || store.staleness().is_some_and(|age| age < Duration::from_millis(200))).await;
}

async fn counters_are_summed_over_nodes(place: &mut Place) {
    let (one, two) = (place.open("node-1"), place.open("node-2"));
    let keys: Vec<KeyId> = (0..3).map(|_| key_id()).collect();
    let first = KeyVersion::FIRST;
    let next = KeyVersion::new(1).expect("a version");
    let uses = |key: KeyId| Uses {
        keys: vec![KeyUse { key, version: first, encryptions: 2 }, KeyUse { key, version: next, encryptions: u32::MAX }],
        rules: vec![ClientRuleId(1), ClientRuleId(2)],
        access_key: AccessKeyId::parse("AKID"),
    };
    let tasks: Vec<_> = (0..60)
        .map(|number| {
            let (store, uses) = (if number % 2 == 0 { one.clone() } else { two.clone() }, uses(keys[number % 3]));
            tokio::spawn(async move { store.audit(event("use"), uses).await })
        })
        .collect();
    for task in tasks {
        task.await.expect("a task").expect("a record");
    }
    let changed = uses(keys[0]);
    change(&one, move |tx| tx.audit(event("change"), changed)).await;
    let undone = uses(keys[0]);
    let failed = one
        .change::<(), StoreError, _>(move |tx| {
            tx.audit(event("undone"), undone)?;
            Err(StoreError::Busy)
        })
        .await;
    assert!(failed.is_err());
    for (key, times) in keys.into_iter().zip([21, 20, 20]) {
        let counted = two.read::<_, StoreError, _>(move |reader| Ok((reader.encryptions(key, first)?, reader.encryptions(key, next)?))).await;
        assert_eq!(counted.expect("a read"), (times * 2, times * u64::from(u32::MAX)));
    }
    assert_eq!(two.read(|reader| reader.encryptions(key_id(), KeyVersion::FIRST)).await.expect("a read"), 0);
}

async fn every_node_has_a_chain(place: &mut Place) {
    let stores: Vec<_> = (0..3).map(|number| place.open(&format!("node-{number}"))).collect();
    for round in 0..5 {
        for store in &stores {
            audit(store, round.to_string()).await.expect("a record");
        }
    }
    // A process that only reads leaves no chain behind.
    let reader = place.open("reader");
    let chains = reader.read(|reader| reader.chains()).await.expect("chains");
    assert_eq!(chains.len(), 3);
    assert!(chains.is_sorted_by_key(|chain| chain.chain));
    for store in &stores {
        assert_eq!(verified_details(store, store.chain()).await, ["0", "1", "2", "3", "4"]);
    }
}

async fn the_change_log_is_bounded(place: &mut Place) {
    let store = place.open("node-1");
    change(&store, |tx| (0..5).try_for_each(|number| tx.changed(Change::Project(ProjectId(number))))).await;
    place.execute("UPDATE change_seq SET n = 10998");
    change(&store, |tx| tx.changed(Change::Identity)).await;
    assert_eq!(place.number("SELECT COUNT(*) AS n FROM change_log"), 6);
    change(&store, |tx| (6..9).try_for_each(|number| tx.changed(Change::Project(ProjectId(number))))).await;
    // Past 11,000: what is 10,000 behind goes.
    assert_eq!(place.number("SELECT COUNT(*) AS n FROM change_log"), 4);
    assert_eq!(place.number("SELECT MAX(number) AS n FROM change_log"), 11_002);
}

/// Two nodes each hold what the other wants: one is refused, alone, and the rest of its batch goes on. (SQLite has one writer at a time.)
#[test]
fn a_deadlock_costs_one_change() {
    super::on(&mut Place::postgresql(), |place| async move {
        let stores = [place.open("node-1"), place.open("node-2")];
        let projects = change(&stores[0], |tx| Ok([tx.insert_project(&name("a"), &stamp())?, tx.insert_project(&name("b"), &stamp())?])).await;
        let both_hold = Arc::new(std::sync::Barrier::new(2));
        let outcomes = race([&stores[0], &stores[1]], |store| {
            let both_hold = Arc::clone(&both_hold);
            let [first, second] = if store.chain() == stores[0].chain() { projects } else { [projects[1], projects[0]] };
            async move {
                let deadlocked = store.change::<_, StoreError, _>(move |tx| {
                    insert_key_store(tx, first, "first", State::Active)?;
                    both_hold.wait();
                    insert_key_store(tx, second, "second", State::Active)?;
                    tx.audit(event("change"), Uses::default())
                });
                let (deadlocked, neighbour) = tokio::join!(deadlocked, audit(&store, "neighbour"));
                neighbour.expect("a record");
                deadlocked
            }
        })
        .await;
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1, "{outcomes:?}");
        assert!(outcomes.iter().any(|outcome| matches!(outcome, Err(StoreError::Unavailable { .. }))), "{outcomes:?}");
        assert_eq!(place.number("SELECT COUNT(*) AS n FROM key_stores"), 2);
        let mut records = 0;
        for store in &stores {
            records += verified_details(store, store.chain()).await.len();
        }
        assert_eq!(records, 3);
    });
}

/// A change that holds its project until both nodes have come so far, if the other is there at all by then.
fn touches(store: &Store, project: ProjectId, text: &'static str, both: Option<Arc<Barrier>>) -> tokio::task::JoinHandle<Result<(), StoreError>> {
    let store = store.clone();
    tokio::spawn(async move {
        store
            .change(move |tx| {
                insert_key_store(tx, project, text, State::Active)?;
                if let Some(both) = both {
                    both.wait();
                }
                tx.audit(event(text), Uses::default())
            })
            .await
    })
}

/// Two nodes whose queues touch two things in opposite order: everything is done, since what one change holds no other of its node waits with.
#[test]
fn opposite_orders_in_two_queues_are_no_deadlock() {
    super::on(&mut Place::postgresql(), |place| async move {
        let stores = [place.open("node-1"), place.open("node-2")];
        let [a, b] = change(&stores[0], |tx| Ok([tx.insert_project(&name("a"), &stamp())?, tx.insert_project(&name("b"), &stamp())?])).await;
        let both = Arc::new(Barrier::new(2));
        let mut tasks = Vec::new();
        let mut held = Vec::new();
        for (store, projects) in stores.iter().zip([[a, b], [b, a]]) {
            held.push(hold(store).await);
            tasks.push(touches(store, projects[0], "first", Some(Arc::clone(&both))));
            until("the first in the queue", || store.queued() == 1).await;
            tasks.push(touches(store, projects[1], "second", None));
            until("both in the queue", || store.queued() == 2).await;
            let store = store.clone();
            tasks.push(tokio::spawn(async move { audit(&store, "record").await }));
        }
        for (release, busy) in held {
            drop(release);
            busy.await.expect("the first change");
        }
        for task in tasks {
            task.await.expect("a task").expect("done");
        }
        assert_eq!(place.number("SELECT COUNT(*) AS n FROM key_stores"), 4);
    });
}

/// A node that holds a row for long costs the change that wants it, not the records beside it and behind it.
#[test]
fn waiting_for_another_nodes_row_costs_one_change() {
    super::on(&mut Place::postgresql(), |place| async move {
        let store = place.open("node-1");
        let project = change(&store, |tx| tx.insert_project(&name("a"), &stamp())).await;
        let Place::Postgresql(cluster) = &*place else { panic!("PostgreSQL") };
        let mut holder = cluster.connection();
        holder.batch_execute("BEGIN; UPDATE projects SET name = name").expect("a lock");
        let (release, busy) = hold(&store).await;
        let before = tokio::spawn({
            let store = store.clone();
            async move { audit(&store, "before").await }
        });
        until("the record", || store.queued() == 1).await;
        let waiting = touches(&store, project, "waiting", None);
        until("the change", || store.queued() == 2).await;
        let behind = tokio::spawn({
            let store = store.clone();
            async move { audit(&store, "behind").await }
        });
        until("the other record", || store.queued() == 3).await;
        drop(release);
        busy.await.expect("the first change");
        before.await.expect("a task").expect("a record");
        assert!(!waiting.is_finished(), "kept while the change waits");
        let waited = waiting.await.expect("a task");
        assert!(matches!(waited, Err(StoreError::Unavailable { .. })), "{waited:?}");
        behind.await.expect("a task").expect("a record");
        assert_eq!(store.health(), Ok(()));
        holder.batch_execute("ROLLBACK").expect("its end");
        assert_eq!(place.number("SELECT COUNT(*) AS n FROM key_stores"), 0);
    });
}
