//! Every function of a unit of reading and of changing.

use std::net::IpAddr;

use skm::domain::account::{AccessKeyId, Role, SecretHash, TokenLife};
use skm::domain::appkey::Appkey;
use skm::domain::audit::{Actor, AuditEvent, ChainHead, Operation, Uses, checkpoint_digest};
use skm::domain::caller::{CertFingerprint, MacAddr};
use skm::domain::client_checks::{AuthMode, ChecksPolicy, Method, RuleValue, parse_ipv4_rule};
use skm::domain::ids::{ChainId, KeyId, KeyStoreNumber, KeyVersion, ProjectId};
use skm::domain::key::{KeyKind, Material, Origin, RotationPeriod, Stamp, State};
use skm::domain::key_store::KeyStore;
use skm::domain::text::{Description, Name};
use skm::store::{
    Checkpoint, ExpiredObject, NewKey, PlannedObject, Purpose, Store, StoreError, TOKENS_MAX, TOO_MANY_ACCESS_KEYS, Tx, UNUSABLE_ACCESS_KEY, Unique,
};

use super::{Place, at, audit, change, event, key_id, object_id, on_both, random, stamp, verified_details};

on_both!(
    accounts_and_access_keys,
    audit_records_come_back_as_they_were,
    bearer_tokens,
    bearer_tokens_are_bounded,
    checkpoint_pages_are_bounded,
    checkpoints,
    checkpoints_list_what_went_on,
    client_rules,
    internal_keys,
    key_stores,
    keys_are_made,
    keys_are_undone,
    projects_and_appkeys,
    secrets,
    settings
);

pub(super) fn name(text: &str) -> Name {
    Name::parse("name", text).expect("a name")
}

fn description() -> Description {
    Description::parse("description", "two\nlines").expect("a description")
}

fn checks() -> ChecksPolicy {
    ChecksPolicy::new(true, false, true, AuthMode::Or).expect("a policy")
}

fn later() -> Stamp {
    Stamp { user: "bob".to_owned(), at: at(2_000_000) }
}

fn is_stale(error: &StoreError) -> bool {
    matches!(error, StoreError::Stale { .. })
}

fn is_taken<T>(result: &Result<T, StoreError>, by: Unique) -> bool {
    matches!(result, Err(StoreError::Exists { what }) if *what == by)
}

pub(super) fn insert_key_store(tx: &mut Tx<'_>, project: ProjectId, text: &str, state: State) -> Result<KeyStore, StoreError> {
    tx.insert_key_store(project, &name(text), &description(), checks(), state, &stamp())
}

/// A project with a key store to put keys into.
pub(super) async fn key_store(store: &Store) -> KeyStore {
    change(store, |tx| {
        let project = tx.insert_project(&name("project"), &stamp())?;
        insert_key_store(tx, project, "store", State::Active)
    })
    .await
}

pub(super) fn new_key(of: &KeyStore, kind: KeyKind, text: &str) -> NewKey {
    NewKey {
        id: key_id(),
        project: of.project,
        key_store: of.id,
        kind,
        name: name(text),
        description: description(),
        rotation: RotationPeriod::from_days(30).expect("a period"),
        next_rotation: Some(at(9_000_000)),
        origin: Origin::Generated,
        created: stamp(),
    }
}

pub(super) fn planned(key: KeyId) -> PlannedObject {
    PlannedObject { object: object_id(), key, version: KeyVersion::FIRST, lease_until: at(60_000_000) }
}

/// A key with its object, `PROVISIONING`.
pub(super) async fn provision(store: &Store, of: &KeyStore, text: &str) -> (NewKey, PlannedObject) {
    let key = new_key(of, KeyKind::Symmetric, text);
    let object = planned(key.id);
    let (inserted, with) = (key.clone(), object.clone());
    change(store, move |tx| tx.insert_key(&inserted, Some(&with))).await;
    (key, object)
}

async fn projects_and_appkeys(place: &mut Place) {
    let store = place.open("node-1");
    let appkey = Appkey::parse("Demo1").expect("an appkey");
    let id = change(&store, |tx| tx.insert_project(&name("Demo"), &stamp())).await;
    let inserted = appkey.clone();
    change(&store, move |tx| tx.insert_appkey(&inserted, id, &stamp())).await;
    assert!(is_taken(&store.change(|tx| tx.insert_project(&name("Demo"), &stamp())).await, Unique::ProjectName));
    let again = appkey.clone();
    assert!(is_taken(&store.change(move |tx| tx.insert_appkey(&again, id, &stamp())).await, Unique::Appkey));
    let orphan = store.change(|tx| tx.insert_appkey(&Appkey::parse("orphan").expect("an appkey"), ProjectId(99), &stamp())).await;
    assert!(orphan.is_err_and(|error| is_stale(&error)));
    let (by_appkey, by_name, none, other_case): (_, _, _, _) = store
        .read::<_, StoreError, _>(move |reader| {
            Ok((
                reader.project_by_appkey(&appkey)?,
                reader.project_by_name(&name("Demo"))?,
                reader.project_by_appkey(&Appkey::parse("orphan").expect("an appkey"))?,
                reader.project_by_name(&name("demo"))?,
            ))
        })
        .await
        .expect("a read");
    assert_eq!(by_appkey.map(|project| project.id), Some(id));
    assert_eq!(by_name.map(|project| project.name), Some(name("Demo")));
    assert!(none.is_none() && other_case.is_none());
}

async fn accounts_and_access_keys(place: &mut Place) {
    let store = place.open("node-1");
    let (account, project) = change(&store, |tx| {
        let project = tx.insert_project(&name("Demo"), &stamp())?;
        let account = tx.insert_account("alice", "$argon2id$…", true, &stamp())?;
        tx.grant_role(account, project, Role::ApiAdmin, &stamp())?;
        tx.grant_role(account, project, Role::Viewer, &stamp())?;
        Ok((account, project))
    })
    .await;
    assert!(is_taken(&store.change(|tx| tx.insert_account("alice", "", false, &stamp())).await, Unique::Login));
    assert!(is_taken(&store.change(move |tx| tx.grant_role(account, project, Role::Viewer, &stamp())).await, Unique::Role));
    let id = |number: usize| AccessKeyId::parse(&format!("AKID{number}")).expect("an ID");
    let life = TokenLife::from_seconds(600).expect("a life");
    for number in 0..5 {
        change(&store, move |tx| tx.insert_access_key(&id(number), (account, None), SecretHash([7; 32]), life, &stamp())).await;
    }
    let sixth = store.change(move |tx| tx.insert_access_key(&id(5), (account, None), SecretHash([7; 32]), life, &stamp())).await;
    assert!(matches!(sixth, Err(StoreError::Stale { what: TOO_MANY_ACCESS_KEYS })));
    let read = |store: Store| async move { store.read(move |reader| reader.access_key(&id(1))).await.expect("a read").expect("an access key") };
    let access_key = read(store.clone()).await;
    assert_eq!((access_key.account, access_key.login.as_str(), access_key.token_life, access_key.enabled), (account, "alice", life, true));
    assert!(access_key.secret == SecretHash([7; 32]));
    assert_eq!(access_key.roles_in(project).collect::<Vec<_>>(), [Role::ApiAdmin, Role::Viewer]);
    change(&store, move |tx| tx.set_access_key_enabled(&id(1), false, &later())).await;
    assert!(!read(store.clone()).await.enabled);
    change(&store, move |tx| tx.set_access_key_enabled(&id(1), true, &later())).await;
    place.execute("UPDATE accounts SET enabled = NOT enabled");
    assert!(!read(store.clone()).await.enabled, "its account is disabled");
    let none = store.change(move |tx| tx.set_access_key_enabled(&id(9), true, &later())).await;
    assert!(none.is_err_and(|error| is_stale(&error)));
    assert!(store.read(move |reader| reader.access_key(&id(9))).await.expect("a read").is_none());
    assert_eq!(store.read(|reader| reader.account_by_login("alice")).await.expect("a read"), Some(account));
    assert_eq!(store.read(|reader| reader.account_by_login("Alice")).await.expect("a read"), None);
}

async fn bearer_tokens(place: &mut Place) {
    let store = place.open("node-1");
    let id = || AccessKeyId::parse("AKID").expect("an ID");
    let other = || AccessKeyId::parse("OTHER").expect("an ID");
    let token = |byte| SecretHash([byte; 32]);
    change(&store, move |tx| {
        let account = tx.insert_account("alice", "", false, &stamp())?;
        tx.insert_access_key(&id(), (account, None), token(0), TokenLife::MAX, &stamp())?;
        for byte in 1..=5 {
            tx.insert_bearer_token(token(byte), &id(), at(1), at(i64::from(byte) * 100))?;
        }
        Ok(())
    })
    .await;
    let found = store.read(move |reader| reader.bearer_token(token(2))).await.expect("a read").expect("a token");
    assert_eq!((found.access_key, found.expires), (id(), at(200)));
    assert!(!change(&store, move |tx| tx.revoke_bearer_token(token(2), &other())).await);
    assert!(change(&store, move |tx| tx.revoke_bearer_token(token(2), &id())).await);
    assert!(!change(&store, move |tx| tx.revoke_bearer_token(token(2), &id())).await);
    assert!(store.read(move |reader| reader.bearer_token(token(2))).await.expect("a read").is_none());
    // Of 1, 3 and 4, which expired before 500, two go at once, the oldest first.
    assert_eq!(change(&store, move |tx| tx.forget_expired_tokens(at(500), 2)).await, 2);
    assert!(store.read(move |reader| reader.bearer_token(token(4))).await.expect("a read").is_some());
    assert_eq!(change(&store, move |tx| tx.forget_expired_tokens(at(500), 2)).await, 1);
    assert!(store.read(move |reader| reader.bearer_token(token(5))).await.expect("a read").is_some());
}

fn insert_tokens(tx: &mut Tx<'_>, count: i64, of: &AccessKeyId, issued: i64, expires: i64) -> Result<(), StoreError> {
    (0..count).try_for_each(|_| tx.insert_bearer_token(SecretHash(random()), of, at(issued), at(expires)).map(drop))
}

/// Many tokens, in changes that a busy machine does in time.
pub(super) async fn issue_tokens(store: &Store, count: i64, of: &AccessKeyId, issued: i64, expires: i64) {
    const AT_ONCE: i64 = 50;
    let mut left = count;
    while left > 0 {
        let (now, of) = (left.min(AT_ONCE), of.clone());
        change(store, move |tx| insert_tokens(tx, now, &of, issued, expires)).await;
        left -= now;
    }
}

async fn bearer_tokens_are_bounded(place: &mut Place) {
    const OLDEST: SecretHash = SecretHash([1; 32]);
    let store = place.open("node-1");
    let [id, other] = ["AKID", "OTHER"].map(|text| AccessKeyId::parse(text).expect("an ID"));
    let (full, empty) = (id.clone(), other.clone());
    change(&store, move |tx| {
        let account = tx.insert_account("alice", "", false, &stamp())?;
        for id in [&full, &empty] {
            tx.insert_access_key(id, (account, None), SecretHash([0; 32]), TokenLife::MAX, &stamp())?;
        }
        tx.insert_bearer_token(OLDEST, &full, at(1), at(100)).map(drop)
    })
    .await;
    issue_tokens(&store, TOKENS_MAX - 1, &id, 2, 100).await;
    change(&store, move |tx| insert_tokens(tx, 1, &other, 99, 200)).await;
    // One more: the oldest ends, and no other.
    let one_more = id.clone();
    let ended = change(&store, move |tx| tx.insert_bearer_token(SecretHash(random()), &one_more, at(99), at(100))).await;
    assert_eq!(ended, [OLDEST]);
    assert!(store.read::<_, StoreError, _>(|reader| reader.bearer_token(OLDEST)).await.expect("a read").is_none());
    assert_eq!(place.number("SELECT COUNT(*) AS n FROM bearer_tokens WHERE access_key_id = 'AKID'"), TOKENS_MAX);
    // Those that expired by then don't count, though they are still there.
    let ended = change(&store, move |tx| tx.insert_bearer_token(SecretHash(random()), &id, at(100), at(200))).await;
    assert_eq!(ended, []);
    let nobody = AccessKeyId::parse("NOBODY").expect("an ID");
    let orphan = store.change(move |tx| insert_tokens(tx, 1, &nobody, 1, 2)).await;
    assert!(matches!(orphan, Err(StoreError::Stale { what: UNUSABLE_ACCESS_KEY })), "{orphan:?}");
    // No change forgets more than it should keep the others waiting for.
    let mut forgotten = Vec::new();
    while forgotten.last() != Some(&0) {
        forgotten.push(change(&store, |tx| tx.forget_expired_tokens(at(101), i64::MAX)).await);
    }
    assert_eq!(forgotten, [500, 500, 0]);
    assert_eq!(place.number("SELECT COUNT(*) AS n FROM bearer_tokens"), 2);
}

async fn key_stores(place: &mut Place) {
    let store = place.open("node-1");
    let project = change(&store, |tx| tx.insert_project(&name("Demo"), &stamp())).await;
    let first = change(&store, move |tx| insert_key_store(tx, project, "one", State::Provisioning)).await;
    assert_eq!((first.number, first.state, first.checks), (KeyStoreNumber(1), State::Provisioning, checks()));
    assert_eq!((first.description.clone(), first.created.clone(), first.changed.clone()), (description(), stamp(), stamp()));
    assert!(is_taken(&store.change(move |tx| insert_key_store(tx, project, "one", State::Active)).await, Unique::KeyStoreName));
    let nowhere = store.change(|tx| insert_key_store(tx, ProjectId(99), "one", State::Active)).await;
    assert!(matches!(nowhere, Err(StoreError::Stale { what: "project" })));
    change(&store, move |tx| tx.set_key_store_state(first.id, State::Provisioning, State::Active, &later())).await;
    let again = store.change(move |tx| tx.set_key_store_state(first.id, State::Provisioning, State::Active, &later())).await;
    assert!(again.is_err_and(|error| is_stale(&error)));
    let by_id = store.read(move |reader| reader.key_store(first.id)).await.expect("a read").expect("a key store");
    assert_eq!((by_id.state, by_id.changed), (State::Active, later()));
    let by_number = store.read(move |reader| reader.key_store_by_number(project, KeyStoreNumber(1))).await.expect("a read");
    let by_name = store.read(move |reader| reader.key_store_by_name(project, &name("one"))).await.expect("a read");
    assert_eq!((by_number.map(|found| found.id), by_name.map(|found| found.id)), (Some(first.id), Some(first.id)));
    // A destroyed one frees its name, but not its number.
    change(&store, move |tx| tx.set_key_store_state(first.id, State::Active, State::Destroyed, &later())).await;
    assert!(store.read(move |reader| reader.key_store(first.id)).await.expect("a read").is_none());
    assert!(store.read(move |reader| reader.key_store_by_number(project, KeyStoreNumber(1))).await.expect("a read").is_none());
    assert!(store.read(move |reader| reader.key_store_by_name(project, &name("one"))).await.expect("a read").is_none());
    let second = change(&store, move |tx| insert_key_store(tx, project, "one", State::Active)).await;
    assert_eq!(second.number, KeyStoreNumber(2));
}

async fn keys_are_made(place: &mut Place) {
    let store = place.open("node-1");
    let of = key_store(&store).await;
    let key = new_key(&of, KeyKind::Asymmetric, "signer");
    let (id, object) = (key.id, planned(key.id));
    let (inserted, with) = (key.clone(), object.clone());
    change(&store, move |tx| tx.insert_key(&inserted, Some(&with))).await;
    let (project, row) = store.read(move |reader| reader.key(id)).await.expect("a read").expect("a key");
    assert_eq!((project, row.key.state, row.versions[0].state), (of.project, State::Provisioning, State::Provisioning));
    assert_eq!(store.read(move |reader| reader.object_state(object.object)).await.expect("a read"), Some(State::Provisioning));

    let foreign = PlannedObject { lease_until: at(60_000_001), ..object.clone() };
    assert!(store.change(move |tx| tx.activate_object(&foreign, None, Origin::Generated)).await.is_err_and(|error| is_stale(&error)));
    let mine = object.clone();
    change(&store, move |tx| tx.activate_object(&mine, Some(b"spki"), Origin::Imported)).await;
    let twice = object.clone();
    assert!(store.change(move |tx| tx.activate_object(&twice, None, Origin::Generated)).await.is_err_and(|error| is_stale(&error)));

    let (_, row) = store.read(move |reader| reader.key(id)).await.expect("a read").expect("a key");
    let read = &row.key;
    assert_eq!((read.kind, &read.name, &read.description, read.state), (KeyKind::Asymmetric, &key.name, &key.description, State::Active));
    assert_eq!((read.rotation, read.next_rotation, read.deletion), (key.rotation, key.next_rotation, None));
    assert_eq!((&read.created, &read.changed, read.key_store, read.current_version), (&stamp(), &stamp(), of.id, KeyVersion::FIRST));
    assert_eq!((row.versions.len(), row.versions[0].state, row.versions[0].origin), (1, State::Active, Origin::Imported));
    assert!(matches!(&row.versions[0].material, Material::Token { object: read, public_key: Some(spki) } if *read == object.object && spki == b"spki"));

    change(&store, move |tx| tx.set_key_state(id, State::Active, State::PendingDeletion, Some(at(77)), &later())).await;
    let (_, row) = store.read(move |reader| reader.key(id)).await.expect("a read").expect("a key");
    assert_eq!((row.key.state, row.key.deletion, row.key.changed), (State::PendingDeletion, Some(at(77)), later()));
    let again = store.change(move |tx| tx.set_key_state(id, State::Active, State::PendingDeletion, None, &later())).await;
    assert!(again.is_err_and(|error| is_stale(&error)));

    let same_name = new_key(&of, KeyKind::Symmetric, "signer");
    let with = planned(same_name.id);
    assert!(is_taken(&store.change(move |tx| tx.insert_key(&same_name, Some(&with))).await, Unique::KeyName));
    let elsewhere = NewKey { project: ProjectId(99), ..new_key(&of, KeyKind::Symmetric, "elsewhere") };
    let with = planned(elsewhere.id);
    assert!(store.change(move |tx| tx.insert_key(&elsewhere, Some(&with))).await.is_err_and(|error| is_stale(&error)));
    let bare = new_key(&of, KeyKind::Symmetric, "bare");
    assert!(matches!(store.change(move |tx| tx.insert_key(&bare, None)).await, Err(StoreError::Failed { .. })));
}

async fn keys_are_undone(place: &mut Place) {
    let store = place.open("node-1");
    let of = key_store(&store).await;
    let (key, object) = provision(&store, &of, "half").await;
    let (id, name_of) = (key.id, object.object);
    let expired = |now| store.read(move |reader| reader.expired_objects(at(now), 10));
    assert!(expired(60_000_000).await.expect("a read").is_empty(), "its lease is not over");
    let found = expired(60_000_001).await.expect("a read").pop().expect("an expired object");
    assert_eq!((found.object, found.key, found.version, found.state), (name_of, id, KeyVersion::FIRST, State::Provisioning));

    let too_early = found.clone();
    assert!(!change(&store, move |tx| tx.take_over_object(&too_early, at(60_000_000), at(90_000_000))).await);
    let first = found.clone();
    assert!(change(&store, move |tx| tx.take_over_object(&first, at(60_000_001), at(90_000_000))).await);
    assert!(!change(&store, move |tx| tx.take_over_object(&found, at(60_000_001), at(90_000_000))).await, "taken over twice");
    let late = object.clone();
    assert!(store.change(move |tx| tx.activate_object(&late, None, Origin::Generated)).await.is_err_and(|error| is_stale(&error)));
    let (_, row) = store.read(move |reader| reader.key(id)).await.expect("a read").expect("a key");
    assert_eq!((row.key.state, row.versions[0].state), (State::Destroying, State::Destroying));
    assert_eq!(store.read(|reader| reader.known_objects(None, 10)).await.expect("a read"), [(name_of, State::Destroying)]);

    // Its destroyer dies as well; another takes over.
    let again = expired(90_000_001).await.expect("a read").pop().expect("an expired object");
    assert_eq!(again.state, State::Destroying);
    assert!(change(&store, move |tx| tx.take_over_object(&again, at(90_000_001), at(99_000_000))).await);
    change(&store, move |tx| tx.object_destroyed(name_of, at(91_000_000))).await;
    assert!(store.change(move |tx| tx.object_destroyed(name_of, at(1))).await.is_err_and(|error| is_stale(&error)));
    assert!(store.read(move |reader| reader.key(id)).await.expect("a read").is_none());
    assert_eq!(store.read(move |reader| reader.object_state(name_of)).await.expect("a read"), Some(State::Destroyed));
    assert_eq!(store.read(move |reader| reader.object_state(object_id())).await.expect("a read"), None);
    assert!(store.read(|reader| reader.known_objects(None, 10)).await.expect("a read").is_empty());
    assert!(expired(99_000_001).await.expect("a read").is_empty());
    // The name is free again.
    let (_, active) = provision(&store, &of, "half").await;
    let of_active = active.object;
    change(&store, move |tx| tx.activate_object(&active, None, Origin::Generated)).await;
    assert!(expired(i64::MAX).await.expect("a read").is_empty(), "what is ACTIVE has no lease");
    let not_expired = ExpiredObject { object: of_active, key: id, version: KeyVersion::FIRST, state: State::Active };
    assert!(!change(&store, move |tx| tx.take_over_object(&not_expired, at(i64::MAX), at(i64::MAX))).await, "an ACTIVE object was taken over");

    let mut all = vec![of_active];
    for number in 0..4 {
        all.push(provision(&store, &of, &format!("k{number}")).await.1.object);
    }
    all.sort_unstable();
    let mut paged = Vec::new();
    while let Some(page) = Some(paged.last().copied()).filter(|_| paged.len() < 5) {
        paged.extend(store.read(move |reader| reader.known_objects(page, 2)).await.expect("a read").into_iter().map(|(object, _)| object));
    }
    assert_eq!(paged, all);
}

async fn secrets(place: &mut Place) {
    let store = place.open("node-1");
    let of = key_store(&store).await;
    let key = new_key(&of, KeyKind::Secret, "password");
    let id = key.id;
    let version = |number| KeyVersion::new(number).expect("a version");
    change(&store, move |tx| {
        tx.insert_key(&key, None)?;
        tx.put_secret_version(id, None, version(0), b"sealed 0", &stamp())
    })
    .await;
    for (expected, next) in [(None, 1), (Some(version(1)), 2), (Some(version(0)), 0)] {
        let stale = store.change(move |tx| tx.put_secret_version(id, expected, version(next), b"x", &later())).await;
        assert!(stale.is_err_and(|error| is_stale(&error)), "{expected:?}");
    }
    change(&store, move |tx| tx.put_secret_version(id, Some(version(0)), version(1), b"sealed 1", &later())).await;
    let (_, row) = store.read(move |reader| reader.key(id)).await.expect("a read").expect("a key");
    assert_eq!((row.key.state, row.key.current_version, row.key.created, row.key.changed), (State::Active, version(1), stamp(), later()));
    assert_eq!(row.versions.len(), 1);
    assert!(matches!(&row.versions[0].material, Material::Sealed(sealed) if sealed == b"sealed 1"));
    let (key, object) = provision(&store, &of, "symmetric").await;
    change(&store, move |tx| tx.activate_object(&object, None, Origin::Generated)).await;
    let wrong_kind = store.change(move |tx| tx.put_secret_version(key.id, Some(version(0)), version(1), b"x", &later())).await;
    assert!(wrong_kind.is_err_and(|error| is_stale(&error)));
}

async fn internal_keys(place: &mut Place) {
    let store = place.open("node-1");
    let of = key_store(&store).await;
    let purposes = [Purpose::ConfidentialData(of.id), Purpose::CertificateAuthority, Purpose::AuditCheckpoint, Purpose::Seal, Purpose::Canary];
    for purpose in purposes {
        let object = planned(key_id());
        let inserted = object.clone();
        change(&store, move |tx| tx.insert_internal_key(purpose, &inserted, &stamp())).await;
        assert!(store.read(move |reader| reader.internal_key(purpose)).await.expect("a read").is_none(), "it is not made yet");
        let second = planned(key_id());
        assert!(is_taken(&store.change(move |tx| tx.insert_internal_key(purpose, &second, &stamp())).await, Unique::Other));
        let made = object.clone();
        change(&store, move |tx| tx.activate_object(&made, Some(b"spki"), Origin::Generated)).await;
        let found = store.read(move |reader| reader.internal_key(purpose)).await.expect("a read").expect("an internal key");
        assert_eq!((found.id, found.purpose, found.version, found.object), (object.key, purpose, KeyVersion::FIRST, object.object));
        assert_eq!(found.public_key.as_deref(), Some(b"spki".as_slice()));
        // A new version is the newest, the old one can still open what it sealed.
        let next = PlannedObject { object: object_id(), version: KeyVersion::new(1).expect("a version"), ..object.clone() };
        let inserted = next.clone();
        change(&store, move |tx| {
            tx.insert_internal_key(purpose, &inserted, &stamp())?;
            tx.activate_object(&inserted, None, Origin::Generated)
        })
        .await;
        let newest = store.read(move |reader| reader.internal_key(purpose)).await.expect("a read").expect("an internal key");
        assert_eq!((newest.version, newest.object), (next.version, next.object));
        let old = store.read(move |reader| reader.internal_key_version(object.key, KeyVersion::FIRST)).await.expect("a read");
        assert_eq!(old.map(|old| old.object), Some(object.object));
    }
    // One that never was finished makes room for another.
    let object = planned(key_id());
    let third = PlannedObject { version: KeyVersion::new(2).expect("a version"), ..object };
    let expired = ExpiredObject { object: third.object, key: third.key, version: third.version, state: State::Provisioning };
    let inserted = third.clone();
    change(&store, move |tx| tx.insert_internal_key(Purpose::Canary, &inserted, &stamp())).await;
    assert!(change(&store, move |tx| tx.take_over_object(&expired, at(61_000_000), at(90_000_000))).await);
    change(&store, move |tx| tx.object_destroyed(third.object, at(62_000_000))).await;
    let fourth = PlannedObject { object: object_id(), ..third };
    let fourth = PlannedObject { key: key_id(), ..fourth };
    change(&store, move |tx| tx.insert_internal_key(Purpose::Canary, &fourth, &stamp())).await;
}

async fn client_rules(place: &mut Place) {
    let store = place.open("node-1");
    let of = key_store(&store).await.id;
    let certificate = RuleValue::Certificate { name: "laptop".to_owned(), fingerprint: CertFingerprint([3; 32]), serial: "0a1b".to_owned(), not_after: at(9) };
    let values = [
        RuleValue::Ipv4(parse_ipv4_rule("value", "10.0.0.0/8").expect("a network")),
        RuleValue::Mac(MacAddr::from_bytes([2, 0, 0, 0, 0, 1])),
        certificate.clone(),
    ];
    let mut ids = Vec::new();
    for value in values.clone() {
        let sealed = matches!(value, RuleValue::Certificate { .. }).then_some(b"p12");
        let inserted = value.clone();
        ids.push(change(&store, move |tx| tx.insert_client_rule(of, &inserted, &description(), sealed.map(|p12| p12.as_slice()), &stamp())).await);
        assert!(is_taken(&store.change(move |tx| tx.insert_client_rule(of, &value, &description(), None, &stamp())).await, Unique::ClientRule));
    }
    let all = store.read(move |reader| reader.client_rules(of, None)).await.expect("a read");
    assert_eq!(all.iter().map(|rule| (rule.id, rule.value.clone())).collect::<Vec<_>>(), ids.iter().copied().zip(values).collect::<Vec<_>>());
    assert!(all.iter().all(|rule| rule.state == State::Active && rule.created == stamp() && rule.description == description()));
    for (text, method, expected) in [
        ("10.0.0.0/8", Method::Ipv4, Some(ids[0])),
        ("02:00:00:00:00:01", Method::Mac, Some(ids[1])),
        ("laptop", Method::Certificate, Some(ids[2])),
        ("laptop", Method::Mac, None),
        ("Laptop", Method::Certificate, None),
    ] {
        let found = store.read(move |reader| reader.client_rule_by_value(of, method, text)).await.expect("a read");
        assert_eq!(found.map(|rule| rule.id), expected, "{text}");
        assert_eq!(store.read(move |reader| reader.count_client_rules(of, method)).await.expect("a read"), 1);
    }
    let id = ids[2];
    assert_eq!(store.read(move |reader| reader.sealed_p12(id)).await.expect("a read").as_deref(), Some(b"p12".as_slice()));
    let without = ids[0];
    assert_eq!(store.read(move |reader| reader.sealed_p12(without)).await.expect("a read"), None);

    change(&store, move |tx| tx.set_client_rule_state(id, State::Active, State::PendingDeletion, Some(at(8)), &later())).await;
    let again = store.change(move |tx| tx.set_client_rule_state(id, State::Active, State::PendingDeletion, None, &later())).await;
    assert!(again.is_err_and(|error| is_stale(&error)));
    let certificates = store.read(move |reader| reader.client_rules(of, Some(Method::Certificate))).await.expect("a read");
    assert_eq!(certificates.len(), 1);
    assert_eq!((certificates[0].state, certificates[0].deletion, &certificates[0].changed), (State::PendingDeletion, Some(at(8)), &later()));
    change(&store, move |tx| tx.set_client_rule_state(id, State::PendingDeletion, State::Destroyed, Some(at(8)), &later())).await;
    assert_eq!(store.read(move |reader| reader.client_rules(of, None)).await.expect("a read").len(), 2);
    assert_eq!(store.read(move |reader| reader.sealed_p12(id)).await.expect("a read"), None);
    assert!(store.read(move |reader| reader.client_rule_by_value(of, Method::Certificate, "laptop")).await.expect("a read").is_none());
    assert_eq!(store.read(move |reader| reader.count_client_rules(of, Method::Certificate)).await.expect("a read"), 0);
    change(&store, move |tx| tx.insert_client_rule(of, &certificate, &description(), None, &stamp())).await;
}

async fn settings(place: &mut Place) {
    let store = place.open("node-1");
    assert_eq!(store.read(|reader| reader.setting("zone")).await.expect("a read"), None);
    for value in [b"UTC".as_slice(), b"\0\xff", b""] {
        change(&store, move |tx| tx.put_setting("zone", value)).await;
        assert_eq!(store.read(|reader| reader.setting("zone")).await.expect("a read").as_deref(), Some(value));
    }
}

/// All kinds of actor, each field present and absent, text of all sorts: the hash is over what comes back.
async fn audit_records_come_back_as_they_were(place: &mut Place) {
    let store = place.open("node-1");
    let actors = [
        Actor::Appkey,
        Actor::AccessKey { id: AccessKeyId::parse("AKID").expect("an ID"), login: "a/lice/ü".to_owned() },
        Actor::Account("bob 🦀".to_owned()),
        Actor::Operator(u32::MAX),
        Actor::Service,
        Actor::Unknown,
    ];
    let addresses: [IpAddr; 4] = ["127.0.0.1", "::1", "::ffff:1.2.3.4", "2001:db8::1:0:0:1"].map(|text| text.parse().expect("an address"));
    let mut events = Vec::new();
    for (actor, address) in actors.into_iter().zip(addresses.into_iter().cycle()) {
        let full = AuditEvent {
            at: at(i64::MAX),
            project: Some(ProjectId(i64::MIN)),
            actor,
            address: Some(address),
            mac: Some(MacAddr::from_bytes([0xab, 0, 0, 0, 0, 0xff])),
            certificate: Some(CertFingerprint(random())),
            user_agent: Some("curl/7.88 '\"\\; é\u{1}\n".to_owned()),
            operation: Operation::Sign,
            key_store: Some(KeyStoreNumber(i64::MAX)),
            key: Some(key_id()),
            version: Some(KeyVersion::MAX),
            result_code: i32::MIN,
            ..event("x".repeat(500))
        };
        events.push(AuditEvent { address: None, key: None, user_agent: Some(String::new()), result_code: i32::MAX, at: at(-1), ..full.clone() });
        events.push(full);
    }
    for operation in Operation::ALL {
        events.push(AuditEvent { operation: *operation, ..event("") });
    }
    for event in events.clone() {
        store.audit(event, Uses::default()).await.expect("a record");
    }
    assert_eq!(verified_details(&store, store.chain()).await.len(), events.len());
    let chain = store.chain();
    let page = store.read(move |reader| reader.chain_records(chain, 3, 2)).await.expect("records");
    assert_eq!(page.iter().map(|record| record.sequence).collect::<Vec<_>>(), [3, 4]);
    assert_eq!(format!("{:?}", page[0].event), format!("{:?}", events[3]));
    assert!(store.read(move |reader| reader.chain_records(ChainId::from_bytes([0; 16]), 0, 9)).await.expect("records").is_empty());

    let nul = store.audit(event("a\0b"), Uses::default()).await;
    assert!(matches!(nul, Err(StoreError::Failed { .. })), "what one database can't hold, none does");
    let nul = store.change::<_, StoreError, _>(|tx| tx.audit(AuditEvent { user_agent: Some("\0".to_owned()), ..event("") }, Uses::default())).await;
    assert!(matches!(nul, Err(StoreError::Failed { .. })));

    // The newest come first, whichever chain they are in.
    let others = [place.open("node-2"), place.open("node-3")];
    for seconds in 10..15 {
        let other = &others[seconds % 2];
        let micros = i64::try_from(seconds).expect("a number") * 1_000_000;
        other.audit(AuditEvent { at: at(micros), ..event(format!("at {seconds}")) }, Uses::default()).await.expect("a record");
    }
    let recent = store.read(|reader| reader.recent_records(4)).await.expect("records");
    let details: Vec<_> = recent.into_iter().filter_map(|record| record.event.detail).collect();
    assert_eq!(details, ["at 14", "at 13", "at 12", "at 11"]);
}

async fn checkpoints(place: &mut Place) {
    let store = place.open("node-1");
    assert!(store.read(|reader| reader.last_checkpoint()).await.expect("a read").is_none());
    let signer = key_id();
    let chain = store.chain();
    assert!(store.change(move |tx| tx.sign_chain(chain, &[1; 64], signer)).await.is_err_and(|error| is_stale(&error)), "there is no record to sign");
    audit(&store, "first").await.expect("a record");
    change(&store, move |tx| tx.sign_chain(chain, &[1; 64], signer)).await;
    let chains = store.read(|reader| reader.chains()).await.expect("chains");
    assert_eq!((chains.len(), chains[0].node.as_str(), chains[0].signature, chains[0].signer), (1, "node-1", Some([1; 64]), Some(signer)));
    assert!(chains[0].started > at(0) && chains[0].head.sequence == 0);

    let mut previous = [0; 32];
    for number in 1..=3 {
        let mut heads: Vec<_> = (0..3).map(|sequence| ChainHead { chain: ChainId::from_bytes(random()), sequence, hash: random() }).collect();
        heads.sort_by_key(|head| head.chain);
        let digest = checkpoint_digest(number, at(number), &previous, &heads);
        let checkpoint = Checkpoint { number, at: at(number), previous, heads, digest, signature: [9; 64], signer };
        let (inserted, again) = (checkpoint.clone(), checkpoint.clone());
        change(&store, move |tx| tx.insert_checkpoint(&inserted)).await;
        assert!(is_taken(&store.change(move |tx| tx.insert_checkpoint(&again)).await, Unique::Other));
        let last = store.read(|reader| reader.last_checkpoint()).await.expect("a read").expect("a checkpoint");
        assert_eq!(format!("{last:?}"), format!("{checkpoint:?}"));
        previous = digest;
    }
    let page = store.read(|reader| reader.checkpoints(2, 5)).await.expect("checkpoints");
    assert_eq!(page.iter().map(|checkpoint| (checkpoint.number, checkpoint.heads.len())).collect::<Vec<_>>(), [(2, 3), (3, 3)]);
    assert_eq!(page[0].digest, page[1].previous);
}

/// The next checkpoint, over `heads` or what is to be listed, of a signer that nobody asks.
pub(super) async fn next_checkpoint(store: &Store, heads: Option<Vec<ChainHead>>) -> Checkpoint {
    let (last, to_list) = store.read::<_, StoreError, _>(|reader| Ok((reader.last_checkpoint()?, reader.chain_heads_to_checkpoint()?))).await.expect("a read");
    let heads = heads.unwrap_or(to_list);
    let (number, previous) = last.map_or((1, [0; 32]), |last| (last.number + 1, last.digest));
    let digest = checkpoint_digest(number, at(number), &previous, &heads);
    Checkpoint { number, at: at(number), previous, heads, digest, signature: [9; 64], signer: KeyId::from_bytes([7; 16]) }
}

async fn checkpoints_list_what_went_on(place: &mut Place) {
    let (one, two) = (place.open("node-1"), place.open("node-2"));
    for store in [&one, &two] {
        audit(store, "first").await.expect("a record");
    }
    let listed = |checkpoint: &Checkpoint| checkpoint.heads.iter().map(|head| (head.chain, head.sequence)).collect::<Vec<_>>();
    let insert = |checkpoint: &Checkpoint| {
        let (store, row) = (one.clone(), checkpoint.clone());
        async move { change(&store, move |tx| tx.insert_checkpoint(&row)).await }
    };
    let first = next_checkpoint(&one, None).await;
    let mut both = vec![(one.chain(), 0), (two.chain(), 0)];
    both.sort_unstable();
    assert_eq!(listed(&first), both);
    assert_eq!(first.heads, one.read(|reader| reader.chain_heads()).await.expect("heads"));
    // The head moves on between the reading and the insertion.
    audit(&two, "second").await.expect("a record");
    insert(&first).await;
    let second = next_checkpoint(&one, None).await;
    assert_eq!(listed(&second), [(two.chain(), 1)], "what stood still was listed again, or what moved was not");
    insert(&second).await;
    let third = next_checkpoint(&one, None).await;
    assert_eq!(listed(&third), []);
    insert(&third).await;
    assert_eq!(place.number("SELECT COUNT(*) AS n FROM audit_checkpoint_heads"), 3);
    audit(&one, "second").await.expect("a record");
    assert_eq!(listed(&next_checkpoint(&two, None).await), [(one.chain(), 1)]);
}

async fn checkpoint_pages_are_bounded(place: &mut Place) {
    let store = place.open("node-1");
    for count in [5_000, 3_000, 3_000, 9_000, 1] {
        let mut heads: Vec<_> = (0..count).map(|sequence| ChainHead { chain: ChainId::from_bytes(random()), sequence, hash: random() }).collect();
        heads.sort_unstable_by_key(|head| head.chain);
        let checkpoint = next_checkpoint(&store, Some(heads)).await;
        change(&store, move |tx| tx.insert_checkpoint(&checkpoint)).await;
    }
    let (mut from, mut pages) = (i64::MIN, Vec::new());
    loop {
        let page = store.read(move |reader| reader.checkpoints(from, 100)).await.expect("checkpoints");
        let Some(last) = page.last() else { break };
        from = last.number + 1;
        for checkpoint in &page {
            let digest = checkpoint_digest(checkpoint.number, checkpoint.at, &checkpoint.previous, &checkpoint.heads);
            assert_eq!(digest, checkpoint.digest, "checkpoint {} is not whole", checkpoint.number);
        }
        pages.push(page.iter().map(|checkpoint| checkpoint.heads.len()).collect::<Vec<_>>());
    }
    assert_eq!(pages, [vec![5_000, 3_000], vec![3_000], vec![9_000], vec![1]]);
}
