//! Reading the inventory: what is listed, in which order, by which filters and pages, for whom.

use serde_json::{Value, json};

use super::http::{FORBIDDEN, INVALID_ENTRY, INVALID_KEY_ID, INVALID_KEY_STORE, Reply, UNAUTHORIZED, URL_NOT_FOUND, field};
use super::stage::{Ask, FOREIGN_APPKEY, INTEGRATED_APPKEY, NO_KEY, Stage, access_key};
use crate::support::postgres::Cluster;

fn get(stage: &Stage, rest: &str) -> Reply {
    stage.ask(&Ask::get(stage.path("v1.2", rest)).headers(&stage.admin()))
}

/// A new key store, by its number as a path has it.
fn new_store(stage: &Stage, name: &str) -> String {
    stage.make("/keystores", &json!({"name": name, "ip4AuthUse": "Y"})).body()["keyStoreId"].to_string()
}

fn new_key(stage: &Stage, store: &str, kind: &str, name: &str) -> String {
    stage.make(&format!("/keys/{kind}/create"), &json!({"keyStoreName": store, "name": name, "secretValue": "s"})).text("keyId")
}

fn names(list: &Value) -> Vec<&str> {
    list.as_array().expect("a list").iter().map(|entry| entry["name"].as_str().expect("a name")).collect()
}

fn key_stores_are_listed(stage: &Stage) {
    assert_eq!(get(stage, "/keystores").body(), json!({"keyStoreIdList": [1, 2]}));
    assert_eq!(get(stage, "/keystores?detail=false").body(), json!({"keyStoreIdList": [1, 2]}));
    let listed = get(stage, "/keystores?detail=true").body();
    assert_eq!(names(&listed["keyStoreList"]), ["demo-by-address", "demo-by-certificate"]);
    for (number, store) in [("1", &listed["keyStoreList"][0]), ("2", &listed["keyStoreList"][1])] {
        assert_eq!(get(stage, &format!("/keystores/{number}")).body(), *store);
    }
    for wrong in ["True", "TRUE", "1", "yes", "null", " true"] {
        let wrong = wrong.replace(' ', "%20");
        for rest in ["/keystores", "/keystores/1/keys"] {
            get(stage, &format!("{rest}?detail={wrong}")).refused(field("detail must be true or false"), &wrong);
        }
    }
    get(stage, "/keystores?detail=true&detail=true").refused(field("detail comes twice"), "twice");
    assert_eq!(get(stage, "/keystores?detail=&other=1&other=2").body(), json!({"keyStoreIdList": [1, 2]}));
    // One that is being made or destroyed is not there, and one that was is no more.
    for state in ["PROVISIONING", "DESTROYING", "DESTROYED"] {
        stage.database.execute(&format!("UPDATE key_stores SET state = '{state}' WHERE number = 2"));
        assert_eq!(get(stage, "/keystores").body(), json!({"keyStoreIdList": [1]}), "{state}");
        assert_eq!(names(&get(stage, "/keystores?detail=true").body()["keyStoreList"]), ["demo-by-address"], "{state}");
        for rest in ["/keystores/2", "/keystores/2/keys", "/keystores/2/ips"] {
            get(stage, rest).refused(INVALID_KEY_STORE, state);
        }
    }
    stage.database.execute("UPDATE key_stores SET state = 'ACTIVE' WHERE number = 2");
}

fn other_key_stores_are_none(stage: &Stage) {
    for wrong in ["0", "3", "-1", "+1", "01", "1.0", "1e0", "x", "1%20", "%31x", "%00", "9223372036854775807", "9223372036854775808", "99999999999999999999999"]
    {
        for rest in ["", "/keys", "/keys?detail=true", "/ips", "/macs", "/certificates", &format!("/keys/{}", stage.id("SYMMETRIC_ID"))] {
            get(stage, &format!("/keystores/{wrong}{rest}")).refused(INVALID_KEY_STORE, wrong);
        }
    }
    get(stage, "/keystores/%31").body();
    for nothing in ["/keystores/", "/keystores/1/", "/keystores/1/keys/", "/keystores/1/nothing", "/keystores/1/keys/x/y"] {
        get(stage, nothing).refused(URL_NOT_FOUND, nothing);
    }
}

fn keys_are_shown(stage: &Stage) {
    let store = new_store(stage, "shown");
    assert_eq!(get(stage, &format!("/keystores/{store}/keys")).body(), json!({"keyIdList": []}));
    assert_eq!(get(stage, &format!("/keystores/{store}/keys?detail=true")).body(), json!({"keyList": []}));
    stage.make("/auths/ipv4s", &json!({"keyStoreName": "shown", "value": "127.0.0.1"})).body();
    let rotated = json!({"keyStoreName": "shown", "name": "rotated", "description": "d", "autoRotationPeriod": 30});
    let id = stage.make("/keys/symmetric-keys/create", &rotated).text("keyId");
    let path = format!("/keystores/{store}/keys/{id}");
    let shown = get(stage, &path).body();
    let expected = json!({
        "keyId": id, "name": "rotated", "description": "d", "keyType": "SYMMETRIC_KEY", "currentKeyValueVersion": 0, "autoRotationPeriod": 30,
        "nextAutoRotationDate": shown["nextAutoRotationDate"], "lastAccessDatetime": null, "deletionDatetime": null, "creationUser": "admin",
        "creationDatetime": shown["creationDatetime"], "lastChangeUser": "admin", "lastChangeDatetime": shown["creationDatetime"],
    });
    assert_eq!(shown, expected);
    let at = |field: &str| chrono::NaiveDateTime::parse_from_str(shown[field].as_str().expect("a text"), "%Y-%m-%dT%H:%M:%S").expect("a date-time");
    assert_eq!((at("nextAutoRotationDate") - at("creationDatetime")).num_days(), 30);
    let secret = new_key(stage, "shown", "secrets", "never rotated");
    let list = get(stage, &format!("/keystores/{store}/keys?detail=true")).body();
    assert_eq!(list["keyList"][0], shown);
    assert_eq!(list["keyList"][1]["nextAutoRotationDate"], Value::Null);
    assert_eq!(list["keyList"][1]["autoRotationPeriod"], 0);
    assert_eq!(list["keyList"][1]["keyType"], "SECRET");
    // The last use of any version on any node.
    stage.ask(&Ask::post(stage.v1(&format!("/symmetric-keys/{id}/encrypt")), &json!({"plaintext": "x"}))).body();
    assert!(get(stage, &path).text("lastAccessDatetime").starts_with("20"));
    let used = |node: &str, version: u32, at: u64| {
        format!("INSERT INTO usage (key_id, version, node, encryptions, operations, last_access) VALUES ('{id}', {version}, '{node}', 0, 1, {at})")
    };
    stage.database.execute(&[used("other", 0, 4_102_444_800_000_000), used("third", 1, 4_102_444_800_999_999), used("fourth", 1, 1)].join("; "));
    assert_eq!(get(stage, &path).text("lastAccessDatetime"), "2100-01-01T00:00:00");
    let list = get(stage, &format!("/keystores/{store}/keys?detail=true&pageSize=10")).body();
    assert_eq!([&list["keyList"][0]["lastAccessDatetime"], &list["keyList"][1]["lastAccessDatetime"]], [&json!("2100-01-01T00:00:00"), &Value::Null]);

    stage.database.change(&format!("UPDATE keys SET state = 'PENDING_DELETION', deletion_at = 4102444800000000 WHERE id = '{secret}'"));
    assert_eq!(get(stage, &format!("/keystores/{store}/keys/{secret}")).text("deletionDatetime"), "2100-01-01T00:00:00");
    for state in ["PROVISIONING", "DESTROYING", "DESTROYED"] {
        stage.database.execute(&format!("UPDATE keys SET state = '{state}' WHERE id = '{secret}'"));
        assert_eq!(get(stage, &format!("/keystores/{store}/keys")).body(), json!({"keyIdList": [id]}), "{state}");
        assert_eq!(names(&get(stage, &format!("/keystores/{store}/keys?detail=true")).body()["keyList"]), ["rotated"], "{state}");
        get(stage, &format!("/keystores/{store}/keys/{secret}")).refused(INVALID_KEY_ID, state);
    }
    // Not in another key store, be it of the same project, nor anything that is no key's ID.
    for (of, key) in [("1", id.as_str()), (&store, NO_KEY), (&store, "x"), (&store, &id.to_uppercase()), (&store, &format!("{id}0")), (&store, "%20")] {
        if key != id || of == "1" {
            get(stage, &format!("/keystores/{of}/keys/{key}")).refused(INVALID_KEY_ID, key);
        }
    }
    let foreign = stage.make_foreign_key("secrets");
    get(stage, &format!("/keystores/1/keys/{foreign}")).refused(INVALID_KEY_ID, "another project's key");
}

fn filters_are_taken_to_the_letter(stage: &Stage) {
    let store = new_store(stage, "filtered");
    for (kind, name) in [
        ("symmetric-keys", "100% sure"),
        ("secrets", "a_b"),
        ("secrets", "axb"),
        ("secrets", "Caf\u{e9}"),
        ("asymmetric-keys", "caf\u{e9} \\ 'q' \"d\""),
        ("secrets", "[abc]*?"),
        ("secrets", "로그 🔑"),
    ] {
        new_key(stage, "filtered", kind, name);
    }
    stage.database.execute("UPDATE keys SET state = 'PENDING_DELETION', deletion_at = 4102444800000000 WHERE name = 'axb'");
    let listed = |filter: &str| {
        let body = get(stage, &format!("/keystores/{store}/keys?detail=true&{filter}")).body();
        names(&body["keyList"]).into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    for (filter, expected) in [
        ("", vec!["100% sure", "a_b", "axb", "Caf\u{e9}", "caf\u{e9} \\ 'q' \"d\"", "[abc]*?", "로그 🔑"]),
        ("name=%25", vec!["100% sure"]),
        ("name=_", vec!["a_b"]),
        ("name=a_b", vec!["a_b"]),
        ("name=%5C", vec!["caf\u{e9} \\ 'q' \"d\""]),
        ("name='", vec!["caf\u{e9} \\ 'q' \"d\""]),
        ("name=%22d%22", vec!["caf\u{e9} \\ 'q' \"d\""]),
        ("name=*", vec!["[abc]*?"]),
        ("name=%5Ba", vec!["[abc]*?"]),
        // Case counts, the way in which an accent is written doesn't.
        ("name=caf", vec!["caf\u{e9} \\ 'q' \"d\""]),
        ("name=Caf%C3%A9", vec!["Caf\u{e9}"]),
        ("name=Cafe%CC%81", vec!["Caf\u{e9}"]),
        ("name=SURE", vec![]),
        ("name=%F0%9F%94%91", vec!["로그 🔑"]),
        ("name=%25+s", vec!["100% sure"]),
        ("name=sure+", vec![]),
        ("name=", vec!["100% sure", "a_b", "axb", "Caf\u{e9}", "caf\u{e9} \\ 'q' \"d\"", "[abc]*?", "로그 🔑"]),
        ("type=SYMMETRIC_KEY", vec!["100% sure"]),
        ("type=ASYMMETRIC_KEY&status=active", vec!["caf\u{e9} \\ 'q' \"d\""]),
        ("type=SECRET&name=a", vec!["a_b", "axb", "Caf\u{e9}", "[abc]*?"]),
        ("type=SECRET&name=a&status=inactive", vec!["axb"]),
        ("status=inactive", vec!["axb"]),
        ("status=active&name=x", vec![]),
        ("type=&status=&pageNumber=&pageSize=&name=a_", vec!["a_b"]),
    ] {
        assert_eq!(listed(filter), expected, "{filter}");
    }
    let longest = "é".repeat(100);
    new_key(stage, "filtered", "secrets", &longest);
    assert_eq!(listed(&format!("name={}", "%C3%A9".repeat(100))), [longest]);
    // Filters and pages are for details; without, there are all IDs.
    let ids = get(stage, &format!("/keystores/{store}/keys?type=SECRET&name=nothing&status=inactive&pageNumber=9&pageSize=10")).body();
    assert_eq!(ids["keyIdList"].as_array().map(Vec::len), Some(8));
    for detail in ["", "&detail=true"] {
        for (wrong, message) in [
            (format!("name={}", "x".repeat(101)), "name must have at most 100 characters"),
            (format!("name={}", "%C3%A9".repeat(101)), "name must have at most 100 characters"),
            ("name=%00".to_owned(), "name must not contain control characters"),
            ("name=a%0Ab".to_owned(), "name must not contain control characters"),
            ("type=secret".to_owned(), "type must be SECRET, SYMMETRIC_KEY or ASYMMETRIC_KEY"),
            ("type=SECRET,SYMMETRIC_KEY".to_owned(), "type must be SECRET, SYMMETRIC_KEY or ASYMMETRIC_KEY"),
            ("type=SECRET&type=SECRET".to_owned(), "type comes twice"),
            ("status=ACTIVE".to_owned(), "status must be active or inactive"),
            ("status=DESTROYED".to_owned(), "status must be active or inactive"),
            ("status=active&status=inactive".to_owned(), "status comes twice"),
            ("name=a&name=b".to_owned(), "name comes twice"),
        ] {
            get(stage, &format!("/keystores/{store}/keys?{wrong}{detail}")).refused(field(message), &wrong);
        }
    }
}

/// Keys that are in the database alone; several of them were made at the same moment.
fn many_keys(stage: &Stage, store: &str, count: u32) {
    stage.database.execute(&format!(
        "INSERT INTO keys (id, key_store_id, kind, name, description, state, current_version, rotation_days, created_by, created_at, changed_by, changed_at)
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count})
         SELECT substr('{zeroes}' || CAST(i AS TEXT), length(CAST(i AS TEXT)) + 1), key_stores.id, 'SECRET', CAST(i AS TEXT), '', 'ACTIVE', 0, 0, 'test',
                1000000 * (i / 7), 'test', 0
         FROM n, key_stores JOIN projects ON projects.id = project_id WHERE projects.name = 'demo' AND number = {store}",
        zeroes = "0".repeat(32),
    ));
}

fn pages_make_up_the_list(stage: &Stage) {
    let store = new_store(stage, "paged");
    const COUNT: u32 = 3_000;
    many_keys(stage, &store, COUNT);
    let path = |query: &str| format!("/keystores/{store}/keys?{query}");
    let expected: Vec<String> = (1..=COUNT).map(|i| format!("{i:032}")).collect();
    // More than is read at a time: sent in pieces, complete, in the order in which they were made.
    let all = get(stage, &path(""));
    assert_eq!(all.header("transfer-encoding"), Some("chunked"));
    assert_eq!(all.body(), json!({"keyIdList": expected}));
    let head = stage.ask(&Ask::new("HEAD", stage.path("v1.2", &path(""))).headers(&stage.admin()));
    assert_eq!((head.status, head.body.len()), (200, 0));

    let page = |query: &str| -> Vec<String> {
        let body = get(stage, &path(&format!("detail=true&{query}"))).body();
        body["keyList"].as_array().expect("a list").iter().map(|key| key["keyId"].as_str().expect("an ID").to_owned()).collect()
    };
    assert_eq!(page(""), expected[..10]);
    assert_eq!(page("pageSize=10&pageNumber=1"), expected[..10]);
    assert_eq!(page("pageNumber=2"), expected[10..20]);
    assert_eq!(page("pageSize=100&pageNumber=30"), expected[2_900..]);
    assert_eq!(page("pageSize=99&pageNumber=31"), expected[2_970..]);
    for beyond in ["pageSize=100&pageNumber=31", "pageNumber=301", "pageNumber=2147483647&pageSize=100"] {
        assert_eq!(page(beyond), Vec::<String>::new(), "{beyond}");
    }
    assert_eq!(
        page("name=99&pageNumber=2"),
        expected.iter().filter(|id| id.trim_start_matches('0').contains("99")).skip(10).take(10).cloned().collect::<Vec<_>>()
    );
    const NUMBER: &str = "pageNumber must be 1 to 2147483647";
    const SIZE: &str = "pageSize must be 10 to 100";
    for detail in ["", "&detail=true"] {
        for (wrong, message) in [
            ("pageNumber=0", NUMBER),
            ("pageNumber=-1", NUMBER),
            ("pageNumber=2147483648", NUMBER),
            ("pageNumber=9223372036854775808", NUMBER),
            ("pageNumber=-99999999999999999999", NUMBER),
            ("pageNumber=x", "pageNumber must be a whole number"),
            ("pageNumber=1.5", "pageNumber must be a whole number"),
            ("pageNumber=%2B1", "pageNumber must be a whole number"),
            ("pageNumber=+1", "pageNumber must be a whole number"),
            ("pageNumber=-", "pageNumber must be a whole number"),
            ("pageNumber=1&pageNumber=1", "pageNumber comes twice"),
            ("pageSize=9", SIZE),
            ("pageSize=101", SIZE),
            ("pageSize=0", SIZE),
            ("pageSize=-10", SIZE),
            ("pageSize=99999999999999999999", SIZE),
            ("pageSize=ten", "pageSize must be a whole number"),
            ("pageSize=10&pageSize=10", "pageSize comes twice"),
        ] {
            get(stage, &path(&format!("{wrong}{detail}"))).refused(field(message), wrong);
        }
    }
    assert_eq!(page("pageSize=010"), expected[..10]);
}

fn clients_are_shown(stage: &Stage) {
    let store = new_store(stage, "clients");
    let list = |rest: &str| get(stage, &format!("/keystores/{store}/{rest}"));
    for (kind, name) in [("ips", "ipv4List"), ("macs", "macList"), ("certificates", "certificateList")] {
        assert_eq!(list(kind).body(), json!({name: []}));
    }
    for (kind, value) in
        [("ipv4s", "10.1.0.0/16"), ("ipv4s", "10.0.0.1"), ("ipv4s", "9.0.0.2/32"), ("macs", "BA-00-00-00-00-01"), ("macs", "aa:00:00:00:00:02")]
    {
        stage.make(&format!("/auths/{kind}"), &json!({"keyStoreName": "clients", "value": value, "description": value})).body();
    }
    let certificate = json!({"keyStoreName": "clients", "name": "caf\u{e9}", "password": "p", "lifeTime": 1, "description": "d"});
    stage.make("/auths/certificates", &certificate).body();
    assert_eq!(list("ips").body(), json!({"ipv4List": ["10.1.0.0/16", "10.0.0.1", "9.0.0.2"]}));
    assert_eq!(list("macs?value=").body(), json!({"macList": ["ba:00:00:00:00:01", "aa:00:00:00:00:02"]}));
    assert_eq!(list("certificates").body(), json!({"certificateList": ["caf\u{e9}"]}));

    let one = list("ips?value=10.0.0.1").body();
    let at = &one["ipv4List"][0]["creationDatetime"];
    let expected = json!({"ipv4List": [{
        "value": "10.0.0.1", "description": "10.0.0.1", "lastAccessDatetime": null, "deletionDatetime": null,
        "creationUser": "admin", "creationDatetime": at, "lastChangeUser": "admin", "lastChangeDatetime": at,
    }]});
    assert_eq!(one, expected);
    assert_eq!(list("ips?value=10.0.0.1/32").body(), expected);
    assert_eq!(list("ips?value=10.0.0.1%2F32").body(), expected);
    assert_eq!(list("ips?value=10.1.0.0/16").body()["ipv4List"][0]["value"], "10.1.0.0/16");
    for same in ["ba:00:00:00:00:01", "BA-00-00-00-00-01", "bA:00:00:00:00:01"] {
        assert_eq!(list(&format!("macs?value={same}")).body()["macList"][0]["value"], "ba:00:00:00:00:01", "{same}");
    }
    let one = list("certificates?value=caf%C3%A9").body();
    let shown = &one["certificateList"][0];
    let expected = json!({"certificateList": [{
        "name": "caf\u{e9}", "description": "d", "expirationDate": shown["expirationDate"], "lastAccessDatetime": null, "deletionDatetime": null,
        "creationUser": "admin", "creationDatetime": shown["creationDatetime"], "lastChangeUser": "admin", "lastChangeDatetime": shown["creationDatetime"],
    }]});
    assert_eq!(one, expected);
    assert_eq!(shown["expirationDate"].as_str().map(str::len), Some(19));
    assert_eq!(list("certificates?value=+cafe%CC%81").body(), expected);

    for (unknown, kind) in [
        ("10.0.0.2", "ips"),
        ("10.1.0.1", "ips"),
        ("10.1.0.0/17", "ips"),
        ("aa:00:00:00:00:01", "macs"),
        ("Caf%C3%A9", "certificates"),
        ("%25", "certificates"),
    ] {
        list(&format!("{kind}?value={unknown}")).refused(INVALID_ENTRY, unknown);
    }
    for (wrong, kind, message) in [
        ("x", "ips", "value must be an IPv4 address or CIDR block"),
        ("::1", "ips", "value must be an IPv4 address or CIDR block"),
        ("010.0.0.1", "ips", "value must be an IPv4 address or CIDR block"),
        ("10.0.0.1/8", "ips", "value must have no bits set after the prefix"),
        ("0.0.0.0/0", "ips", "value must not be /0, which admits everybody"),
        ("10.0.0.1&value=10.0.0.1", "ips", "value comes twice"),
        ("x", "macs", "value must be a MAC address like aa:bb:cc:dd:ee:ff"),
        ("00:00:00:00:00:00", "macs", "value must be the address of one network card: not zero, not a group address"),
        ("a%00b", "certificates", "value must not contain control characters"),
        (&"x".repeat(101), "certificates", "value must have at most 100 characters"),
    ] {
        list(&format!("{kind}?value={wrong}")).refused(field(message), wrong);
    }
    // One whose deletion was asked for is shown with its date, one that is destroyed isn't; the last use is that on any node.
    let due = stage.ask(&Ask::put(stage.path("v1.2", "/auths/ipv4s/delete"), &json!({"keyStoreName": "clients", "value": "10.0.0.1"})).headers(&stage.admin()));
    stage.database.execute(
        "INSERT INTO rule_usage (rule_id, node, last_access) SELECT id, 'a', 4102444800000000 FROM client_rules WHERE value = '10.0.0.1/32';
         INSERT INTO rule_usage (rule_id, node, last_access) SELECT id, 'b', 1000000 FROM client_rules WHERE value = '10.0.0.1/32'",
    );
    let shown = list("ips?value=10.0.0.1").body()["ipv4List"][0].clone();
    assert_eq!([&shown["deletionDatetime"], &shown["lastAccessDatetime"]], [&due.body()["deletionDateTime"], &json!("2100-01-01T00:00:00")]);
    assert_eq!(list("ips").body(), json!({"ipv4List": ["10.1.0.0/16", "10.0.0.1", "9.0.0.2"]}));
    stage.database.execute("UPDATE client_rules SET state = 'DESTROYED' WHERE value = '10.0.0.1/32'");
    assert_eq!(list("ips").body(), json!({"ipv4List": ["10.1.0.0/16", "9.0.0.2"]}));
    list("ips?value=10.0.0.1").refused(INVALID_ENTRY, "a destroyed one");
}

/// Every read there is.
fn reads(stage: &Stage) -> Vec<String> {
    let key = stage.id("SYMMETRIC_ID");
    ["", "?detail=true", "/1", "/1/keys", "/1/keys?detail=true", &format!("/1/keys/{key}"), "/1/ips", "/1/macs", "/1/certificates"]
        .map(|rest| format!("/keystores{rest}"))
        .into()
}

fn roles_decide_who_reads(stage: &Stage) {
    for (login, may) in [
        ("stranger", false),
        ("foreigner", false),
        ("viewer", false),
        ("approvalAdmin", false),
        ("approvalMember", false),
        ("admin2", true),
        ("apiAdmin", true),
        ("apiViewer", true),
    ] {
        let secret = format!("{login}-secret");
        let bearer = format!("Bearer {}", stage.token(login, &secret));
        for rest in reads(stage) {
            for (version, headers) in [("v1.2", access_key(login, &secret).to_vec()), ("v1.3", vec![("X-NHN-Authorization", bearer.as_str())])] {
                let reply = stage.ask(&Ask::get(stage.path(version, &rest)).headers(&headers));
                if may {
                    reply.body();
                } else {
                    reply.refused(FORBIDDEN, login);
                }
            }
        }
        // Whoever may read only changes nothing, and what is wrong is told to those who may ask.
        if login == "apiViewer" {
            let headers = access_key(login, &secret);
            stage.ask(&Ask::put(stage.path("v1.2", "/keystores/1"), &json!({"name": "x"})).headers(&headers)).refused(FORBIDDEN, login);
            stage.ask(&Ask::new("DELETE", stage.path("v1.2", "/keystores/1")).headers(&headers)).refused(FORBIDDEN, login);
        }
        if !may {
            let wrong = Ask::get(stage.path("v1.2", "/keystores/x?detail=x")).headers(&access_key(login, &secret));
            stage.ask(&wrong).refused(FORBIDDEN, login);
        }
    }
    for rest in reads(stage) {
        stage.ask(&Ask::get(stage.path("v1.2", &rest))).refused(UNAUTHORIZED, &rest);
        stage.ask(&Ask::get(stage.path("v1.3", &rest)).headers(&stage.admin())).refused(UNAUTHORIZED, &rest);
        stage.ask(&Ask::get(stage.path("v1.1", &rest))).refused(URL_NOT_FOUND, &rest);
        stage.ask(&Ask::get(stage.v1(&rest))).body();
        stage.ask(&Ask::get(format!("/keymanager/v1.0/appkey/{INTEGRATED_APPKEY}{rest}"))).body();
    }
    // Only where the project allows it does an appkey alone read.
    stage.database.change("UPDATE projects SET appkey_reads = (1 = 0) WHERE name = 'demo'");
    for rest in reads(stage) {
        stage.ask(&Ask::get(stage.v1(&rest))).refused(FORBIDDEN, &rest);
        get(stage, &rest).body();
    }
    stage.ask(&Ask::get(stage.v1(&format!("/secrets/{}", stage.id("SECRET_ID"))))).body();
    let foreign = stage.ask(&Ask::get(format!("/keymanager/v1.0/appkey/{FOREIGN_APPKEY}/keystores")));
    assert!(foreign.body()["keyStoreIdList"].is_array());
    let records = stage.records();
    let last = records.iter().rev().find(|record| record["operation"] == "READ_INVENTORY" && record["key"].is_string()).expect("a record");
    assert_eq!(last["key"], stage.id("SYMMETRIC_ID"), "{last}");
    assert_eq!(last["keyStore"], 1, "{last}");
}

/// Key stores of the other project that are in the database alone, their numbers from 1,001 on.
fn many_key_stores(stage: &Stage, count: u32, description: &str) {
    stage.database.execute(&format!(
        "INSERT INTO key_stores (project_id, number, name, description, ipv4_check, mac_check, certificate_check, check_mode, state,
                                 created_by, created_at, changed_by, changed_at)
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count})
         SELECT id, 1000 + i, 'many ' || CAST(i AS TEXT), {description}, (1 = 1), (1 = 0), (1 = 0), 'AND', 'ACTIVE', 'test', 0, 'test', 0
         FROM n, projects WHERE projects.name = 'foreign'"
    ));
}

fn long_lists_of_key_stores_come_in_pieces(stage: &Stage) {
    const COUNT: u32 = 2_050;
    let list = |rest: &str| stage.ask(&Ask::get(format!("/keymanager/v1.0/appkey/{FOREIGN_APPKEY}/keystores{rest}")));
    let before = list("").body()["keyStoreIdList"].as_array().map_or(0, Vec::len);
    many_key_stores(stage, COUNT, "''");
    let expected: Vec<Value> = (1_001..=1_000 + COUNT).map(Value::from).collect();
    let numbers = list("").body()["keyStoreIdList"].clone();
    assert_eq!(numbers.as_array().expect("a list")[before..], expected);
    let details = list("?detail=true");
    assert_eq!(details.header("transfer-encoding"), Some("chunked"));
    let details = details.body()["keyStoreList"].clone();
    let shown: Vec<Value> = details.as_array().expect("a list").iter().map(|store| store["keyStoreId"].clone()).collect();
    assert_eq!(Value::from(shown), numbers);
}

fn is_read(stage: Stage) {
    key_stores_are_listed(&stage);
    other_key_stores_are_none(&stage);
    keys_are_shown(&stage);
    filters_are_taken_to_the_letter(&stage);
    pages_make_up_the_list(&stage);
    clients_are_shown(&stage);
    roles_decide_who_reads(&stage);
    long_lists_of_key_stores_come_in_pieces(&stage);
    stage.finish();
}

#[test]
fn the_inventory_is_read_on_sqlite() {
    is_read(Stage::new());
}

#[test]
fn the_inventory_is_read_on_postgresql() {
    let cluster = Cluster::start();
    is_read(Stage::on(&cluster));
}

#[test]
fn a_list_that_can_not_be_read_to_its_end_is_broken_off() {
    let mut cluster = Cluster::start();
    let stage = Stage::on(&cluster);
    // 20 MB: more than connections hold, so that the service reads on only as fast as we do.
    many_key_stores(&stage, 5_000, "repeat('🔑', 1000)");
    let mut connection = stage.connect(false);
    let ask = Ask::get(format!("/keymanager/v1.0/appkey/{FOREIGN_APPKEY}/keystores?detail=true"));
    connection.write(&ask.to_bytes()).expect("sent");
    std::thread::sleep(std::time::Duration::from_millis(500));
    cluster.stop();
    assert!(connection.read(false).is_err(), "a list without its end is no answer");
    cluster.start_again();
    stage.running.logs("a list was broken off");
}
