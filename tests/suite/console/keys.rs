//! Keys at the console; what the API answers is the check.

use serde_json::{Value, json};

use super::person::{PASSWORD, Page, Person, make_account};
use crate::support::installation::{Installation, Running};
use crate::support::postgres::Cluster;

/// What is added, what is typed, and which field has which problem.
type Wrong<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a str, &'a str);

/// A running service, an administrator at a browser, and programs that use what he makes.
struct Scene<'a> {
    installation: &'a Installation,
    service: &'a Running,
    admin: Person<'a>,
    /// The key store's page: it asks for a client certificate, which programs here don't show, and for their address.
    store: String,
    number: String,
}

const HEX_KEY: &str = "0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07 0x08 0x09 0x0a 0x0b 0x0c 0x0d 0x0e 0x0f,0x10,0x11,0x12,0x13,0x14,0x15,0x16,0x17, \
                       0x18, 0x19, 0x1A, 0x1B, 0x1C, 0x1D, 0x1E, 0x1F";

impl<'a> Scene<'a> {
    fn new(installation: &'a Installation, service: &'a Running) -> Self {
        let admin = Person::sign_in(installation, service, installation.demo("ADMIN_USER"), installation.demo("ADMIN_PASSWORD"));
        let stores = admin.get("/").to.expect("the first project");
        let made = admin.fill_in(&format!("{stores}/new"), &[("name", "From the console"), ("description", ""), ("ip4AuthUse", "Y"), ("authMode", "AND")]);
        let store = made.to.expect("the key store's page").trim_end_matches("?done=added").to_owned();
        let number = store.rsplit('/').next().expect("a number").to_owned();
        let scene = Self { installation, service, admin, store, number };
        let registered = scene.api("POST", "auths/ipv4s", Some(&json!({"keyStoreName": "From the console", "value": "127.0.0.1"})));
        assert_eq!(registered["header"]["resultCode"], 0);
        scene
    }

    /// What the API answers to the demo's access key.
    fn api(&self, method: &str, path: &str, body: Option<&Value>) -> Value {
        let demo = |name| self.installation.demo(name);
        let headers = [("X-TC-AUTHENTICATION-ID", demo("ACCESS_KEY_ID")), ("X-TC-AUTHENTICATION-SECRET", demo("SECRET_ACCESS_KEY"))];
        self.service.ask(method, &format!("/keymanager/v1.2/appkey/{}/{path}", demo("APPKEY")), &headers, body).json
    }

    fn body(&self, path: &str) -> Value {
        let answer = self.api("GET", path, None);
        assert_eq!(answer["header"]["resultCode"], 0, "{path}: {answer}");
        answer["body"].clone()
    }

    fn inventory(&self, key: &str) -> Value {
        self.body(&format!("keystores/{}/keys/{key}", self.number))
    }

    /// Adds a key; its ID.
    fn add(&self, content: &str, fields: &[(&str, &str)]) -> String {
        let added = self.admin.fill_in(&format!("{}/keys/new/{content}", self.store), fields);
        let to = added.to.unwrap_or_else(|| panic!("{} {}", added.status, added.text));
        let key = to.strip_prefix(&format!("{}/keys/", self.store)).and_then(|rest| rest.strip_suffix("?done=added")).expect("the key's page");
        let page = self.admin.get(&to);
        assert!(page.has("The key was added.") && page.has(key), "{}", page.text);
        key.to_owned()
    }

    fn page(&self, key: &str) -> String {
        format!("{}/keys/{key}", self.store)
    }

    fn step(&self, key: &str, step: &str) -> Page {
        self.admin.fill_in(&format!("{}/{step}", self.page(key)), &[])
    }

    fn take(&self, key: &str, step: &str) {
        let taken = self.step(key, step);
        assert_eq!(taken.status, 200, "{}", taken.text);
        assert!(taken.to.as_deref().is_some_and(|to| to.starts_with(&self.store)), "{taken:?}");
    }
}

fn keys_of_every_type_are_added_and_work(installation: &Installation) {
    let service = installation.start();
    let scene = Scene::new(installation, &service);
    assert!(scene.admin.get(&scene.store).has("No keys yet"));

    let value = "\nline 1\r\nline <2> & \"3\"";
    let secret = scene.add("confidential-data", &[("name", "password"), ("description", "of\r\nit"), ("secretValue", value)]);
    assert_eq!(scene.body(&format!("secrets/{secret}")), json!({"secret": "\nline 1\nline <2> & \"3\""}));
    assert_eq!(scene.inventory(&secret)["description"], "of\nit");

    let symmetric = scene.add("symmetric-key", &[("name", "aes"), ("description", ""), ("autoRotationPeriod", "30")]);
    let asymmetric = scene.add("asymmetric-key", &[("name", "rsa"), ("description", ""), ("autoRotationPeriod", "")]);
    let imported = scene.add("import", &[("name", "old"), ("description", ""), ("keyData", HEX_KEY)]);
    for (key, kind, days) in [(&symmetric, "SYMMETRIC_KEY", 30), (&asymmetric, "ASYMMETRIC_KEY", 0), (&imported, "SYMMETRIC_KEY", 0)] {
        let shown = scene.inventory(key);
        assert_eq!((&shown["keyType"], &shown["autoRotationPeriod"]), (&json!(kind), &json!(days)));
    }
    let made = scene.api("POST", &format!("symmetric-keys/{imported}/encrypt"), Some(&json!({"plaintext": "x"})));
    assert_eq!(made["header"]["resultCode"], 0);

    let list = scene.admin.get(&scene.store);
    for text in ["password", "aes", "rsa", "old", "Search Result: <span class=\"count\">4</span>", &secret, "In Service", "Add Key"] {
        assert!(list.has(text), "{text}: {}", list.text);
    }
    let page = scene.admin.get(&scene.page(&imported));
    assert!(page.has("(imported)") && page.has("imported keys don&#39;t rotate") && !page.has("Immediately Rotate"), "{}", page.text);
    let page = scene.admin.get(&scene.page(&symmetric));
    assert!(
        page.has("Next Rotation Day") && page.has("30 days") && page.has("Immediately Rotate") && page.has("ad***") && !page.has(">Show<"),
        "{}",
        page.text
    );
}

#[test]
fn what_is_wrong_stands_at_its_field_and_nothing_is_made() {
    let installation = Installation::new();
    let service = installation.start();
    let scene = Scene::new(&installation, &service);
    scene.add("symmetric-key", &[("name", "taken"), ("description", "")]);
    let long = "é".repeat(16_385);
    let short = HEX_KEY.replace("0x1F", "");
    let forms: [Wrong<'_>; 8] = [
        ("confidential-data", &[("name", ""), ("description", "kept"), ("secretValue", "typed")], "name", "must have 1 to 100 characters"),
        ("confidential-data", &[("name", "a"), ("secretValue", "")], "secretValue", "must have 1 to 32768 bytes"),
        ("confidential-data", &[("name", "a"), ("secretValue", &long)], "secretValue", "must be at most 32768 bytes"),
        ("symmetric-key", &[("name", "a"), ("autoRotationPeriod", "29")], "autoRotationPeriod", "must be 0 (never) or 30 to 36500 days"),
        ("asymmetric-key", &[("name", "a"), ("autoRotationPeriod", "soon")], "autoRotationPeriod", "must be a whole number"),
        ("symmetric-key", &[("name", "taken"), ("autoRotationPeriod", "60")], "name", "is taken"),
        ("import", &[("name", "a"), ("keyData", &short)], "keyData", "must have exactly 32 bytes, not 31"),
        ("import", &[("name", "a"), ("keyData", "0xzz")], "keyData", "must be 32 bytes like 0x1F, separated by commas or spaces; byte 1 is none"),
    ];
    for (content, fields, field, problem) in forms {
        let refused = scene.admin.fill_in(&format!("{}/keys/new/{content}", scene.store), fields);
        assert_eq!(refused.status, 422, "{}", refused.text);
        let (_, wrong) = refused.text.split_once(&format!("id=\"{field}-wrong\">")).unwrap_or_else(|| panic!("no problem at {field}: {}", refused.text));
        assert!(wrong.starts_with(problem), "{wrong}");
        for (name, typed) in fields {
            // What was typed is still there, but for key material.
            assert_eq!(refused.has(typed), *name != "keyData", "{name}: {}", refused.text);
        }
    }
    let refused = scene.admin.post(&format!("{}/keys/new/symmetric-key", scene.store), &[("csrf", "0"), ("name", "a")]);
    assert!(refused.status == 422 && refused.has("earlier session") && refused.has("<html"), "{}", refused.text);
    assert_eq!(scene.body(&format!("keystores/{}/keys", scene.number))["keyIdList"].as_array().map(Vec::len), Some(1));
    assert_eq!(scene.admin.get(&format!("{}/keys/new/password", scene.store)).status, 404);
    assert_eq!(scene.admin.get(&format!("{}/keys/{}", scene.store, "0".repeat(32))).status, 404);
}

#[test]
fn confidential_data_is_shown_on_request_and_edited_as_one() {
    let installation = Installation::new();
    let service = installation.start();
    let scene = Scene::new(&installation, &service);
    let key = scene.add("confidential-data", &[("name", "password"), ("description", ""), ("secretValue", "hunter<2>")]);
    let page = scene.admin.get(&scene.page(&key));
    assert!(!page.has("hunter") && page.has(">Show<"), "{}", page.text);
    let data = format!("{}/data", scene.page(&key));
    let foreign = scene.admin.post(&data, &[("csrf", "0")]);
    assert!(foreign.status == 422 && !foreign.has("hunter"), "{}", foreign.text);
    let shown = scene.admin.post(&data, &[("csrf", &page.hidden("csrf"))]);
    assert!(shown.status == 200 && shown.has(">\nhunter&#60;2&#62;</pre>") && shown.has(">Hide<"), "{}", shown.text);
    assert_eq!(installation.database().count("audit_records WHERE operation = 'READ_SECRET' AND result_code = 0"), 1);

    let edit = format!("{}/edit", scene.page(&key));
    let form = scene.admin.ask(&edit);
    assert!(!form.has("hunter") && form.has("value=\"password\""), "{}", form.text);
    // Name and value together; then the name alone, which leaves the value as it is.
    assert_eq!(scene.admin.fill_in(&edit, &[("name", "passphrase"), ("description", "new"), ("secretValue", "correct")]).status, 200);
    assert_eq!((&scene.inventory(&key)["name"], &scene.body(&format!("secrets/{key}"))["secret"]), (&json!("passphrase"), &json!("correct")));
    assert_eq!(scene.admin.fill_in(&edit, &[("name", "phrase"), ("description", ""), ("secretValue", "")]).status, 200);
    assert_eq!((&scene.inventory(&key)["name"], &scene.body(&format!("secrets/{key}"))["secret"]), (&json!("phrase"), &json!("correct")));
    // A name that is another's: neither is changed.
    scene.add("symmetric-key", &[("name", "taken"), ("description", "")]);
    let refused = scene.admin.fill_in(&edit, &[("name", "taken"), ("description", ""), ("secretValue", "lost")]);
    assert!(refused.status == 422 && refused.has("is taken") && refused.has("lost"), "{}", refused.text);
    assert_eq!(scene.body(&format!("secrets/{key}"))["secret"], "correct");
}

fn what_somebody_else_changed_meanwhile_is_not_overwritten(installation: &Installation) {
    let service = installation.start();
    let scene = Scene::new(installation, &service);
    let secret = scene.add("confidential-data", &[("name", "password"), ("description", ""), ("secretValue", "one")]);
    let key = scene.add("symmetric-key", &[("name", "aes"), ("description", "")]);
    for (key, fields) in [(&secret, vec![("secretValue", "mine")]), (&secret, vec![]), (&key, vec![("autoRotationPeriod", "90")])] {
        let edit = format!("{}/edit", scene.page(key));
        let form = scene.admin.ask(&edit);
        assert_eq!(scene.admin.fill_in(&edit, &[("name", &format!("theirs of {key}")), ("description", "")]).status, 200);
        let (csrf, seen) = (form.hidden("csrf"), form.hidden("seen"));
        let fields = [vec![("csrf", csrf.as_str()), ("seen", &seen), ("name", "my name"), ("description", "")], fields].concat();
        let refused = scene.admin.send_form(&edit, &fields);
        assert!(refused.status == 422 && refused.has("Somebody else changed this meanwhile") && refused.has("my name"), "{}", refused.text);
        // Sent once more it is refused again.
        assert_eq!(refused.hidden("seen"), seen);
        assert_eq!(scene.inventory(key)["name"], format!("theirs of {key}"));
    }
    assert_eq!(scene.body(&format!("secrets/{secret}"))["secret"], "one");
    for step in ["steps/rotate", "steps/request-deletion"] {
        let path = format!("{}/{step}", scene.page(&key));
        let form = scene.admin.ask(&path);
        assert!(form.has(&format!("theirs of {key}")) && form.has(&key), "{}", form.text);
        assert_eq!(scene.admin.fill_in(&format!("{}/edit", scene.page(&key)), &[("name", &format!("theirs of {key}")), ("description", "")]).status, 200);
        let refused = scene.admin.send_form(&path, &[("csrf", &form.hidden("csrf")), ("seen", &form.hidden("seen"))]);
        assert!(refused.status == 422 && refused.has("Somebody else changed this meanwhile"), "{}", refused.text);
        let unseen = scene.admin.send_form(&path, &[("csrf", &form.hidden("csrf"))]);
        assert_eq!(unseen.status, 422, "{}", unseen.text);
    }
    assert_eq!(scene.inventory(&key)["currentKeyValueVersion"], 0);
}

fn keys_and_versions_rotate_and_end_step_by_step(installation: &Installation) {
    let service = installation.start();
    let scene = Scene::new(installation, &service);
    let key = scene.add("symmetric-key", &[("name", "aes"), ("description", ""), ("autoRotationPeriod", "30")]);
    let encrypted = scene.api("POST", &format!("symmetric-keys/{key}/encrypt"), Some(&json!({"plaintext": "x"})))["body"]["ciphertext"].clone();
    let decrypt = || scene.api("POST", &format!("symmetric-keys/{key}/decrypt"), Some(&json!({"ciphertext": encrypted})))["header"]["resultMessage"].clone();
    scene.take(&key, "steps/rotate");
    assert_eq!(scene.inventory(&key)["currentKeyValueVersion"], 1);
    assert_eq!(decrypt(), "success");

    scene.take(&key, "versions/0/steps/request-deletion");
    assert_eq!(decrypt(), "Invalid Key Version Status");
    assert!(scene.admin.get(&scene.page(&key)).has("Deletion due"));
    scene.take(&key, "versions/0/steps/cancel-deletion");
    assert_eq!(decrypt(), "success");
    // The current version has no steps, and is refused them.
    let page = scene.admin.get(&scene.page(&key));
    assert!(page.has("versions/0/steps/request-deletion") && !page.has("versions/1/steps"), "{}", page.text);
    assert_eq!(scene.step(&key, "versions/1/steps/request-deletion").status, 422);
    scene.take(&key, "versions/0/steps/request-deletion");
    scene.take(&key, "versions/0/steps/delete");
    assert_eq!(decrypt(), "Invalid Key Version");

    scene.take(&key, "steps/request-deletion");
    let page = scene.admin.get(&scene.page(&key));
    let due = scene.inventory(&key)["deletionDatetime"].as_str().expect("a date").replace('T', " ");
    assert!(
        page.has("Scheduled to be Deleted") && page.has(&format!("{due} UTC")) && page.has("Cancel Deletion") && page.has("Immediately Delete"),
        "{}",
        page.text
    );
    assert!(!page.has("Immediately Rotate") && !page.has("/edit\"") && !page.has("Request for Deletion"), "{}", page.text);
    scene.take(&key, "steps/cancel-deletion");
    assert!(scene.inventory(&key)["deletionDatetime"].is_null());
    scene.take(&key, "steps/request-deletion");
    let asked = scene.admin.ask(&format!("{}/steps/delete", scene.page(&key)));
    assert!(asked.has("aes") && asked.has(&key) && asked.has("can&#39;t be undone"), "{}", asked.text);
    let deleted = scene.step(&key, "steps/delete");
    assert_eq!(deleted.to, Some(format!("{}?done=key-deleted", scene.store)));
    assert_eq!(scene.api("GET", &format!("keystores/{}/keys/{key}", scene.number), None)["header"]["resultMessage"], "Invalid Key ID");
    // Another dialog about it, still open somewhere, says that it is gone.
    let gone = scene.admin.send_form(&format!("{}/steps/delete", scene.page(&key)), &[("csrf", &asked.hidden("csrf")), ("seen", &asked.hidden("seen"))]);
    assert!(gone.status == 422 && gone.has("This is gone"), "{}", gone.text);
}

#[test]
fn a_viewer_sees_no_data_and_no_buttons_that_would_fail() {
    let installation = Installation::new();
    let service = installation.start();
    let scene = Scene::new(&installation, &service);
    let key = scene.add("confidential-data", &[("name", "password<script>"), ("description", "<img src=x>"), ("secretValue", "hunter2")]);
    make_account(&installation, "vera", &[("VIEWER", "demo")]);
    let vera = Person::sign_in(&installation, &service, "vera", PASSWORD);
    let page = vera.get(&scene.page(&key));
    assert!(page.status == 200 && page.has("password&#60;script&#62;") && page.has("Only an ADMIN"), "{}", page.text);
    for absent in ["hunter2", "<script>", "<img", "/steps/", "/edit", "/data", ">Show<"] {
        assert!(!page.has(absent), "{absent}: {}", page.text);
    }
    let list = vera.get(&scene.store);
    assert!(list.has(&key) && !list.has("/keys/new/") && !list.has("/delete") && list.has("/details"), "{}", list.text);
    assert_eq!(vera.post(&format!("{}/data", scene.page(&key)), &[("csrf", &page.hidden("csrf"))]).status, 403);
    for path in ["edit", "steps/request-deletion", "steps/delete"] {
        let path = format!("{}/{path}", scene.page(&key));
        assert_eq!(vera.get(&path).status, 403, "{path}");
        assert_eq!(vera.post(&path, &[("csrf", &page.hidden("csrf")), ("name", "mine"), ("secretValue", "mine")]).status, 403, "{path}");
    }
    let new = format!("{}/keys/new/symmetric-key", scene.store);
    assert_eq!((vera.get(&new).status, vera.post(&new, &[("csrf", &page.hidden("csrf")), ("name", "mine")]).status), (403, 403));
}

#[test]
fn key_stores_are_searched_and_tell_their_details() {
    let installation = Installation::new();
    let service = installation.start();
    let scene = Scene::new(&installation, &service);
    let page = scene.admin.get(&format!("{}?stores=CONSOLE", scene.store));
    assert!(
        page.has("<span class=\"name\">From the console</span>") && !page.has("<span class=\"name\">demo-by-address</span>") && page.has("Show all key stores"),
        "{}",
        page.text
    );
    assert!(scene.admin.get(&scene.store).has("<span class=\"name\">demo-by-address</span>"));
    let details = scene.admin.ask(&format!("{}/details", scene.store));
    assert!(details.has(&format!("<code class=\"id\">{}</code>", scene.number)) && details.has("IPv4 Address") && details.has("ad***"), "{}", details.text);
    assert!(!details.has("<html"), "{}", details.text);
}

fn key_stores_are_changed_and_deleted_as_they_were_seen(installation: &Installation) {
    let service = installation.start();
    let scene = Scene::new(installation, &service);
    let fields = |name: &'static str| [("name", name), ("description", ""), ("ip4AuthUse", "Y"), ("authMode", "AND")];
    for path in ["edit", "delete"].map(|act| format!("{}/{act}", scene.store)) {
        let form = scene.admin.ask(&path);
        assert_eq!(scene.admin.fill_in(&format!("{}/edit", scene.store), &fields("theirs")).status, 200);
        let (csrf, seen) = (form.hidden("csrf"), form.hidden("seen"));
        for seen in [&seen, "", "0", "x"] {
            let refused = scene.admin.send_form(&path, &[&[("csrf", csrf.as_str()), ("seen", seen)], fields("mine").as_slice()].concat());
            assert!(refused.status == 422 && refused.has("Somebody else changed this meanwhile"), "{path} {seen:?}: {}", refused.text);
        }
        assert_eq!(scene.body(&format!("keystores/{}", scene.number))["name"], "theirs");
    }
    assert_eq!(scene.admin.fill_in(&format!("{}/edit", scene.store), &fields("mine")).status, 200);
    let deleted = scene.admin.fill_in(&format!("{}/delete", scene.store), &[]);
    assert!(deleted.to.is_some_and(|to| to.ends_with("?done=deleted")), "{}", deleted.text);
    let gone = scene.admin.ask(&format!("{}/edit", scene.store));
    assert!(gone.status == 422 && gone.has("This is gone"), "{}", gone.text);
}

/// What holds on every database, each in an installation of its own.
const LIVES: [fn(&Installation); 4] = [
    keys_of_every_type_are_added_and_work,
    keys_and_versions_rotate_and_end_step_by_step,
    what_somebody_else_changed_meanwhile_is_not_overwritten,
    key_stores_are_changed_and_deleted_as_they_were_seen,
];

#[test]
fn keys_live_on_sqlite() {
    for lives in LIVES {
        lives(&Installation::new());
    }
}

#[test]
fn keys_live_on_postgresql() {
    for lives in LIVES {
        let cluster = Cluster::start();
        lives(&Installation::with(&[("SKM_DATABASE__URL", &cluster.uri())]));
    }
}
