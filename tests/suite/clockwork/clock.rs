//! A clock that is wrong: nothing is destroyed by it.

use serde_json::{Value, json};

use super::{DAY, PATIENCE, done, encrypt, installation, make_key, metric, now, wait_for_task};
use crate::faults::load::{Client, wait_until};
use crate::faults::settled::wait_until_settled;
use crate::support::installation::{Installation, Running};
use crate::support::postgres::Cluster;
use crate::support::raw_database::RawDatabase;

const BELIEVED: &str = "settings WHERE name = 'clock believed at'";

fn readiness(running: &Running) -> Value {
    serde_json::from_str(&running.operations("/readyz").1).expect("JSON")
}

/// A key whose seven days were over an hour ago.
fn doomed_key(installation: &Installation, client: &Client, name: &str) -> String {
    let key = make_key(client, "symmetric-keys", name, 0);
    done(client.change("PUT", &format!("/keys/{key}/delete"), &json!({})));
    installation.database().run(&format!("UPDATE keys SET deletion_at = {} WHERE id = '{key}'", now() - 3_600_000_000));
    key
}

fn state(database: &mut RawDatabase, key: &str) -> String {
    database.texts("state", &format!("keys WHERE id = '{key}'")).remove(0)
}

fn runs(running: &Running, task: &str, outcome: &str) -> f64 {
    metric(running, &format!("skm_task_runs_total{{task=\"{task}\",outcome=\"{outcome}\"}}")).unwrap_or_default()
}

/// A start so long after anybody believed the clock that it may be days ahead: what is pending can still be restored, also after a restart.
#[test]
fn nothing_is_destroyed_right_after_a_start_that_comes_days_later() {
    let installation = installation(None);
    let running = installation.start();
    let client = Client::new(&installation, &running);
    wait_for_task(&running, "delete_due");
    assert_eq!(installation.database().count(BELIEVED), 1);
    assert_eq!((readiness(&running)["clock"].clone(), metric(&running, "skm_clock_held")), (json!("right"), Some(0.0)));
    assert_eq!(metric(&running, "skm_clock_skew_seconds"), None, "SQLite has no other clock");
    let [doomed, restored] = ["doomed", "restored"].map(|name| doomed_key(&installation, &client, name));
    let long_ago = hex::encode((now() - 3 * DAY).to_be_bytes());
    running.stop();
    installation.database().run(&format!("UPDATE settings SET value = X'{long_ago}' WHERE name = 'clock believed at'"));
    for start in ["the first start", "a restart", "a restart after a while"] {
        if start == "a restart after a while" {
            // As after a jump of some hours: no gap, but the doubt is not over.
            installation
                .database()
                .run(&format!("UPDATE settings SET value = X'{}' WHERE name = 'clock believed at'", hex::encode((now() - DAY / 2).to_be_bytes())));
        }
        let running = installation.start();
        wait_until("the refusal", PATIENCE, || runs(&running, "delete_due", "failed") >= 1.0);
        let found = readiness(&running);
        assert_eq!((&found["ready"], &found["clock"]), (&json!(true), &json!("doubted")), "{start}");
        assert_eq!(metric(&running, "skm_clock_held"), Some(1.0));
        assert!(running.log().contains("nothing is destroyed by the clock for a while"), "{}", running.log());
        let believed = installation.database().texts("HEX(value)", BELIEVED);
        assert_eq!(believed == [long_ago.to_uppercase()], start != "a restart after a while", "{believed:?}");
        let client = Client::new(&installation, &running);
        // Nor are sums dropped that only seem to be old.
        wait_until("another refusal", PATIENCE, || runs(&running, "forget_calls", "failed") >= 1.0);
        if start == "a restart" {
            done(client.own("PUT", &format!("/keys/{restored}/restore"), None));
        }
        running.stop();
    }
    assert_eq!(state(&mut installation.database(), &doomed), "PENDING_DELETION");
    let a_day_ago = hex::encode((now() - DAY / 2).to_be_bytes());
    installation.database().run(&format!(
        "UPDATE settings SET value = X'{a_day_ago}' WHERE name = 'clock believed at'; UPDATE settings SET value = X'' WHERE name LIKE 'clock doubted by %'"
    ));
    let running = installation.start();
    wait_until("the end", PATIENCE, || state(&mut installation.database(), &doomed) == "DESTROYED");
    assert_eq!(state(&mut installation.database(), &restored), "ACTIVE");
    assert_eq!(metric(&running, "skm_clock_held"), Some(0.0));
}

/// Has the database server's clock say another time than the machine's.
pub(crate) fn shift_server_clock(database: &mut RawDatabase, by: &str) {
    database.run(&format!(
        "CREATE OR REPLACE FUNCTION public.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS 'SELECT pg_catalog.clock_timestamp() + interval ''{by}'''"
    ));
    database.run("ALTER DATABASE skm SET search_path = public, pg_catalog");
}

/// A node that is eight days ahead of the database server: for it everything is due, and every lease over.
#[test]
fn a_node_that_is_days_ahead_of_the_server_does_nothing_by_its_clock() {
    let cluster = Cluster::start();
    let installation = installation(Some(&cluster));
    let running = installation.start();
    let client = Client::new(&installation, &running);
    let rotating = make_key(&client, "symmetric-keys", "rotating", 30);
    let made_elsewhere = make_key(&client, "symmetric-keys", "made elsewhere", 0);
    let doomed = doomed_key(&installation, &client, "doomed");
    running.stop();
    let mut database = installation.database();
    let soon = now() - 60_000_000;
    database.run(&format!(
        "UPDATE keys SET next_rotation_at = {soon} WHERE id = '{rotating}';
         UPDATE keys SET state = 'PROVISIONING' WHERE id = '{made_elsewhere}';
         UPDATE key_versions SET state = 'PROVISIONING' WHERE key_id = '{made_elsewhere}';
         UPDATE token_objects SET state = 'PROVISIONING', node = 'elsewhere', lease_until = {soon} WHERE key_id = '{made_elsewhere}';"
    ));
    shift_server_clock(&mut database, "-8 days");
    let running = installation.start();
    for task in ["reconcile", "rotate_due", "delete_due", "forget_calls", "forget_tokens", "forget_sessions", "expire_imports"] {
        wait_until(task, PATIENCE, || runs(&running, task, "failed") >= 1.0);
        assert!(runs(&running, task, "success") < 1.0, "{task}");
    }
    assert_eq!([&doomed, &made_elsewhere].map(|key| state(&mut database, key)), ["PENDING_DELETION", "PROVISIONING"]);
    assert_eq!(database.count(&format!("key_versions WHERE key_id = '{rotating}'")), 1);
    let found = readiness(&running);
    assert_eq!((&found["ready"], &found["clock"]), (&json!(true), &json!("skewed")), "{found}");
    assert!(metric(&running, "skm_clock_skew_seconds").is_some_and(|skew| (skew - 8.0 * 86_400.0).abs() < 600.0));
    assert_eq!(metric(&running, "skm_clock_held"), Some(1.0));
    // What people ask for is done.
    encrypt(&Client::new(&installation, &running), &rotating, "text");
    running.stop();
    shift_server_clock(&mut database, "0");
    let running = installation.start();
    wait_until_settled(&installation);
    wait_until("the end", PATIENCE, || state(&mut database, &doomed) == "DESTROYED" && state(&mut database, &made_elsewhere) == "DESTROYED");
    wait_until("the rotation", PATIENCE, || database.count(&format!("key_versions WHERE key_id = '{rotating}'")) == 2);
    assert_eq!(metric(&running, "skm_clock_held"), Some(0.0));
}

/// A node that is behind: what it takes in now must not be due on the others before seven days are over.
#[test]
fn a_node_that_is_behind_the_server_counts_seven_days_from_the_servers_time() {
    let cluster = Cluster::start();
    let installation = installation(Some(&cluster));
    shift_server_clock(&mut installation.database(), "8 days");
    let running = installation.start();
    wait_until("the first look", PATIENCE, || readiness(&running)["clock"] == "skewed");
    let client = Client::new(&installation, &running);
    let key = make_key(&client, "symmetric-keys", "key", 0);
    done(client.own("POST", &format!("/keys/{key}/rotate"), None));
    done(client.own("PUT", &format!("/keys/{key}/versions/0/delete"), None));
    done(client.change("PUT", "/auths/ipv4s/delete", &json!({"keyStoreName": crate::faults::load::STORE, "value": "127.0.0.1"})));
    done(client.change("PUT", &format!("/keys/{key}/delete"), &json!({})));
    let mut database = installation.database();
    for from in [
        format!("keys WHERE id = '{key}'"),
        format!("key_versions WHERE key_id = '{key}' AND version = 0"),
        "client_rules WHERE state = 'PENDING_DELETION'".to_owned(),
    ] {
        let due = database.number("deletion_at", &from);
        assert!((now() + 14 * DAY..now() + 16 * DAY).contains(&due), "{from}: {due}");
    }
}

/// Clocks that differ by less than is too far, but by more than a lease is long.
#[test]
fn leases_are_told_in_the_servers_time() {
    let cluster = Cluster::start();
    let installation = installation(Some(&cluster));
    let running = installation.start();
    let client = Client::new(&installation, &running);
    let keys = ["alive", "dead"].map(|name| make_key(&client, "symmetric-keys", name, 0));
    running.stop();
    let mut database = installation.database();
    let minute = 60_000_000;
    // By this node's clock both leases ended minutes ago; by the server's, which is four behind, one of them will in two.
    shift_server_clock(&mut database, "-4 minutes");
    for (key, lease_until) in keys.iter().zip([now() - 2 * minute, now() - 5 * minute]) {
        database.run(&format!(
            "UPDATE keys SET state = 'PROVISIONING' WHERE id = '{key}';
             UPDATE key_versions SET state = 'PROVISIONING' WHERE key_id = '{key}';
             UPDATE token_objects SET state = 'PROVISIONING', node = 'elsewhere', lease_until = {lease_until} WHERE key_id = '{key}';"
        ));
    }
    let running = installation.start();
    wait_until("the end of the dead one", PATIENCE, || state(&mut database, &keys[1]) == "DESTROYED");
    wait_until("another look", PATIENCE, || runs(&running, "reconcile", "success") >= 2.0);
    assert_eq!(state(&mut database, &keys[0]), "PROVISIONING", "somebody is at work on it");
    assert_eq!(readiness(&running)["clock"], "right");
    // What this node leases, others see as it is meant.
    database.run(
        "CREATE TABLE seen (lease_until BIGINT);
         CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO seen VALUES (NEW.lease_until); RETURN NEW; END $$;
         CREATE TRIGGER note AFTER INSERT ON token_objects FOR EACH ROW EXECUTE FUNCTION note();",
    );
    make_key(&Client::new(&installation, &running), "symmetric-keys", "leased", 0);
    let leased = database.number("lease_until", "seen") - (now() - 4 * minute);
    assert!((0..minute).contains(&leased), "{leased}");
}
