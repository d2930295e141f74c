//! The end of client entries: asked for, called off, brought about, on both databases.

use serde_json::{Value, json};

use super::http::{FORBIDDEN, INVALID_ENTRY, INVALID_ENTRY_STATUS, INVALID_KEY_STORE, IPV4_AUTH_FAILURE, Reply, URL_NOT_FOUND, exists, field};
use super::life::{Keeper, is_in_seven_days};
use super::stage::{Ask, FOREIGN_APPKEY, Stage, access_key};
use crate::support::installation::Installation;
use crate::support::postgres::Cluster;

const STORE: &str = "demo-by-address";

/// The entries of one kind.
struct Entries<'a> {
    keeper: &'a Keeper<'a>,
    kind: &'static str,
    /// The field that names one.
    field: &'static str,
}

impl Entries<'_> {
    fn make(&self, store: &str, value: &str) -> Reply {
        let mut body = json!({"keyStoreName": store, "password": "p", "lifeTime": 1});
        body[self.field] = json!(value);
        self.keeper.json("POST", &format!("/auths/{}", self.kind), &body)
    }

    fn ask(&self, method: &str, what: &str, store: &str, value: &str) -> Reply {
        let mut body = json!({"keyStoreName": store});
        body[self.field] = json!(value);
        self.keeper.json(method, &format!("/auths/{}/{what}", self.kind), &body)
    }

    fn request_deletion(&self, value: &str) -> Reply {
        self.ask("PUT", "delete", STORE, value)
    }

    fn delete(&self, value: &str) -> Reply {
        self.ask("POST", "delete", STORE, value)
    }

    fn restore(&self, value: &str) -> Reply {
        self.ask("PUT", "restore", STORE, value)
    }
}

/// One entry's whole life: as typed, as shown, and what it is refused as before it is there.
fn whole_life(entries: &Entries<'_>, typed: &str, shown: &str) {
    let taken = if entries.field == "name" { "name is taken: that entry exists" } else { "value is taken: that entry exists" };
    entries.make(STORE, typed).body();
    for reply in [entries.delete(typed), entries.restore(typed)] {
        reply.refused(INVALID_ENTRY_STATUS, "an entry that admits");
    }
    let asked = entries.request_deletion(typed).body();
    let mut expected = json!({"deletionDateTime": asked["deletionDateTime"]});
    expected[entries.field] = json!(shown);
    assert_eq!(asked, expected);
    is_in_seven_days(&asked["deletionDateTime"], 0);
    entries.request_deletion(shown).refused(INVALID_ENTRY_STATUS, "twice");
    entries.make(STORE, typed).refused(exists(taken), "pending, but there");
    let mut expected = json!({"status": "ACTIVE"});
    expected[entries.field] = json!(shown);
    assert_eq!(entries.restore(shown).body(), expected);
    entries.restore(shown).refused(INVALID_ENTRY_STATUS, "twice");
    entries.request_deletion(shown).body();
    let deleted = entries.delete(typed).body();
    let mut expected = json!({"deletionDateTime": deleted["deletionDateTime"]});
    expected[entries.field] = json!(shown);
    assert_eq!(deleted, expected);
    for reply in [entries.delete(typed), entries.restore(typed), entries.request_deletion(typed)] {
        reply.refused(INVALID_ENTRY, "an entry that is no more");
    }
    // Its value is free again.
    entries.make(STORE, typed).body();
}

fn every_kind(keeper: &Keeper<'_>) {
    let of = |kind, field| Entries { keeper, kind, field };
    whole_life(&of("ipv4s", "value"), "10.9.0.1/32", "10.9.0.1");
    whole_life(&of("ipv4s", "value"), "10.8.0.0/16", "10.8.0.0/16");
    whole_life(&of("macs", "value"), "AA-BB-CC-00-00-02", "aa:bb:cc:00:00:02");
    whole_life(&of("certificates", "name"), " cafe\u{301}", "caf\u{e9}");
    let database = || keeper.stage.installation.database();
    assert_eq!(database().count("client_rules WHERE state = 'DESTROYED' AND sealed_p12 IS NOT NULL"), 0, "no file outlives its entry");
    assert_eq!(database().count("client_rules WHERE state = 'DESTROYED' AND method = 'CERTIFICATE'"), 1);
}

fn wrong_questions(keeper: &Keeper<'_>) {
    let addresses = Entries { keeper, kind: "ipv4s", field: "value" };
    for (method, what) in [("PUT", "delete"), ("POST", "delete"), ("PUT", "restore")] {
        let ask = |body: Value| keeper.json(method, &format!("/auths/ipv4s/{what}"), &body);
        ask(json!({"keyStoreName": STORE})).refused(field("value is required"), what);
        ask(json!({"value": "127.0.0.1"})).refused(field("keyStoreName is required"), what);
        ask(json!({"keyStoreName": STORE, "value": "x"})).refused(field("value must be an IPv4 address or CIDR block"), what);
        ask(json!({"keyStoreName": STORE, "value": 1})).refused(field("value must be a text"), what);
        ask(json!({"keyStoreName": "no such store", "value": "127.0.0.1"})).refused(INVALID_KEY_STORE, what);
        ask(json!({"keyStoreName": STORE, "value": "10.255.255.255"})).refused(INVALID_ENTRY, what);
        // An entry of another store, though there is one of that value in this one.
        addresses.ask(method, what, "demo-by-certificate", "127.0.0.1").refused(INVALID_ENTRY, what);
        keeper.json(method, &format!("/auths/certificates/{what}"), &json!({"keyStoreName": STORE, "value": "x"})).refused(field("name is required"), what);
        let viewer = access_key("apiViewer", "apiViewer-secret");
        let version = if what == "restore" { "v1.3" } else { "v1.2" };
        let body = json!({"keyStoreName": STORE, "value": "127.0.0.1"});
        let stage = keeper.stage;
        if version == "v1.2" {
            let ask = Ask::new(method, stage.path(version, &format!("/auths/ipv4s/{what}"))).json(&body);
            stage.ask(&ask.headers(&viewer)).refused(FORBIDDEN, what);
            // Another project's store of that name is another store.
            let path = format!("/keymanager/v1.2/appkey/{FOREIGN_APPKEY}/auths/ipv4s/{what}");
            let ask = Ask::new(method, path).json(&body).headers(&access_key("foreigner", "foreigner-secret"));
            stage.ask(&ask).refused(INVALID_KEY_STORE, what);
        } else {
            let ask = Ask::new(method, stage.path("v1.2", &format!("/auths/ipv4s/{what}"))).json(&body);
            stage.ask(&ask.headers(&stage.admin())).refused(URL_NOT_FOUND, what);
        }
    }
}

/// What is pending admits nobody at once; restored, it does again.
fn admission(keeper: &Keeper<'_>) {
    let addresses = Entries { keeper, kind: "ipv4s", field: "value" };
    let stage = keeper.stage;
    let read = || stage.ask(&Ask::get(stage.v1(&format!("/secrets/{}", stage.id("SECRET_ID")))));
    read().body();
    addresses.request_deletion("127.0.0.1").body();
    read().refused(IPV4_AUTH_FAILURE, "a pending entry");
    addresses.restore("127.0.0.1").body();
    read().body();
    addresses.request_deletion("127.0.0.1").body();
    addresses.delete("127.0.0.1").body();
    read().refused(IPV4_AUTH_FAILURE, "an entry that is no more");
    // A key store on its way out takes no change.
    stage.database.change(&format!("UPDATE key_stores SET state = 'DESTROYING' WHERE name = '{STORE}'"));
    for reply in [addresses.make(STORE, "10.0.0.7"), addresses.request_deletion("10.8.0.0/16"), addresses.delete("10.8.0.0/16")] {
        reply.refused(INVALID_KEY_STORE, "a key store on its way out");
    }
}

fn entries_live(stage: Stage) {
    let keeper = Keeper::new(&stage);
    wrong_questions(&keeper);
    every_kind(&keeper);
    admission(&keeper);
    let records = stage.records();
    for operation in ["REVOKE_CLIENT_RULE", "RESTORE_CLIENT_RULE", "DELETE_CLIENT_RULE"] {
        let record = records.iter().rfind(|record| record["operation"] == operation && record["resultCode"] == 0);
        assert_eq!(record.expect("a record")["detail"], "IPV4 127.0.0.1", "{operation}");
    }
    stage.finish();
}

#[test]
fn entries_on_sqlite() {
    entries_live(Stage::new());
}

#[test]
fn entries_on_postgresql() {
    let cluster = Cluster::start();
    entries_live(Stage::on(&cluster));
}

#[test]
fn dates_of_deletion_are_in_the_zone_of_the_settings() {
    let stage = Stage::with(Installation::new(), &[("SKM_SERVER__TIMEZONE", "Asia/Seoul")]);
    let keeper = Keeper::new(&stage);
    let key = stage.make_key("symmetric-keys", "in Seoul");
    keeper.rotate(&key);
    let addresses = Entries { keeper: &keeper, kind: "ipv4s", field: "value" };
    let entry = addresses.request_deletion("127.0.0.1").body();
    let version = keeper.send("PUT", &format!("/keys/{key}/versions/0/delete")).body();
    let whole = keeper.send("PUT", &format!("/keys/{key}/delete")).body();
    for asked in [entry, version, whole] {
        is_in_seven_days(&asked["deletionDateTime"], 9);
    }
    stage.finish();
}
