//! Approval at the console: what is drafted, asked for, and decided; what the database holds is the check.

use std::time::Duration;

use super::person::{PASSWORD, Page, Person, make_account, signing_request};
use crate::faults::load::wait_until;
use crate::support::installation::{Installation, Running};
use crate::support::postgres::Cluster;

/// What may take a while on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);
const HEX_KEY: &str = "0x00 0x01 0x02 0x03 0x04 0x05 0x06 0x07 0x08 0x09 0x0a 0x0b 0x0c 0x0d 0x0e 0x0f \
                       0x10 0x11 0x12 0x13 0x14 0x15 0x16 0x17 0x18 0x19 0x1a 0x1b 0x1c 0x1d 0x1e 0x1f";
const SECRET: &str = "what nobody else may see";

/// An installation whose demo has approval on, and people of whom some ask and some approve.
struct Scene<'a> {
    installation: &'a Installation,
    service: &'a Running,
    /// `/projects/1`.
    project: String,
}

impl<'a> Scene<'a> {
    fn new(installation: &'a Installation, service: &'a Running) -> Self {
        for (login, role) in [("mona", "APPROVAL MEMBER"), ("axel", "APPROVAL ADMIN"), ("anna", "ADMIN"), ("vera", "VIEWER")] {
            make_account(installation, login, &[(role, "demo")]);
        }
        let scene = Self { installation, service, project: String::new() };
        let stores = scene.person("anna").get("/").to.expect("the first project");
        Self { project: stores.trim_end_matches("/key-stores").to_owned(), ..scene }
    }

    /// With approval on.
    fn governed(installation: &'a Installation, service: &'a Running) -> Self {
        let scene = Self::new(installation, service);
        scene.operator(&["approval", "enable", "--project", "demo"]);
        scene
    }

    fn operator(&self, arguments: &[&str]) {
        let (status, _, log) = self.installation.run(&[&["admin"], arguments].concat());
        assert_eq!(status, 0, "{arguments:?}: {log}");
    }

    fn person(&self, login: &str) -> Person<'a> {
        Person::sign_in(self.installation, self.service, login, PASSWORD)
    }

    /// In Key Store Management.
    fn at(&self, rest: &str) -> String {
        format!("{}/management/{rest}", self.project)
    }

    fn count(&self, from: &str) -> i64 {
        self.installation.database().count(from)
    }

    fn text(&self, what: &str, from: &str) -> String {
        self.installation.database().texts(what, from).pop().unwrap_or_else(|| panic!("no {what} in {from}"))
    }

    /// All that people can see of key stores, or that decides what they may do.
    fn state(&self) -> Vec<String> {
        let mut database = self.installation.database();
        let visible = "WHERE state IN ('ACTIVE', 'PENDING_DELETION') ORDER BY 1";
        let mut rows = |what: &str, from: &str| database.texts(what, from);
        [
            rows("name || description || state || changed_at", &format!("key_stores {visible}")),
            rows("name || description || state || current_version || changed_at", &format!("keys {visible}")),
            rows("key_id || version || state", &format!("key_versions {visible}")),
            rows("value || state || changed_at", &format!("client_rules {visible}")),
            rows("account_id || role", "account_roles ORDER BY 1"),
            rows("login || password_hash", "accounts ORDER BY 1"),
            rows("CAST(approval AS TEXT) || expiry_days", "governance ORDER BY 1"),
        ]
        .concat()
    }

    /// The page of the newest draft or request.
    fn newest(&self) -> String {
        format!("{}/approvals/{}", self.project, self.text("id", "change_requests ORDER BY created_at"))
    }

    fn state_of(&self, request: &str) -> String {
        let id = request.rsplit('/').next().expect("an ID");
        self.text("state", &format!("change_requests WHERE id = '{id}'"))
    }

    /// Asks for the newest draft; the request's page.
    fn ask(&self, person: &Person<'_>) -> String {
        let request = self.newest();
        goes_to(&person.fill_in(&format!("{request}/request"), &[("note", "for the audit\r\nof <May>")]), &format!("{request}?done=requested"));
        request
    }

    /// Approves a request, which must then be applied.
    fn approve(&self, person: &Person<'_>, request: &str) {
        let approved = fill_in_as_shown(person, &format!("{request}/approve"));
        assert!(
            approved.to.as_deref().is_some_and(|to| to.starts_with(&format!("{request}?done=appl")) || to == format!("{request}?done=approved")),
            "{approved:?}"
        );
        wait_until("it is applied", PATIENCE, || !["READY", "APPLYING"].contains(&self.state_of(request).as_str()));
        assert_eq!(self.state_of(request), "APPROVED", "{}", self.text("COALESCE(reason, '')", "change_requests ORDER BY created_at"));
    }
}

/// Sends a form as it was opened, with the digest that it shows.
fn fill_in_as_shown(person: &Person<'_>, path: &str) -> Page {
    let form = person.ask(path);
    assert_eq!(form.status, 200, "{path}: {}", form.text);
    person.send_form(path, &[("csrf", &form.hidden("csrf")), ("digest", &form.hidden("digest"))])
}

fn goes_to(page: &Page, to: &str) {
    assert_eq!(page.to.as_deref(), Some(to), "{} {}", page.status, page.text);
}

/// Puts something into a draft.
fn draft(person: &Person<'_>, path: &str, fields: &[(&str, &str)]) -> String {
    assert!(person.ask(path).has("This goes into the draft of the key store"), "{path}");
    let page = person.fill_in(path, fields);
    let to = page.to.clone().unwrap_or_else(|| panic!("{path}: {} {}", page.status, page.text));
    assert!(to.ends_with("?done=drafted"), "{path}: {to}");
    let shown = person.get(&to);
    assert!(shown.status == 200 && shown.has("It is in the draft now.") && shown.has("Withdraw"), "{path}: {}", shown.text);
    to.trim_end_matches("?done=drafted").to_owned()
}

fn is_refused(page: &Page, at: &str, told: &str) {
    assert_eq!(page.status, 422, "{}", page.text);
    let place = format!("id=\"{at}-wrong\">");
    let (_, message) = page.text.split_once(&place).unwrap_or_else(|| panic!("nothing at {at}: {}", page.text));
    assert!(message.starts_with(told), "{at}: {}", message.split('<').next().unwrap_or_default());
}

/// Drafts a change of each kind in a key store that is there.
fn draft_each_kind(scene: &Scene<'_>, mona: &Person<'_>) {
    let (installation, store) = (scene.installation, scene.at("1"));
    let key = |name: &str| format!("{store}/keys/{}", installation.demo(name));
    draft(mona, &format!("{store}/keys/new/confidential-data"), &[("name", "new data"), ("description", "d"), ("secretValue", SECRET)]);
    draft(mona, &format!("{store}/keys/new/symmetric-key"), &[("name", "new aes"), ("description", ""), ("autoRotationPeriod", "30")]);
    draft(mona, &format!("{store}/keys/new/asymmetric-key"), &[("name", "new rsa"), ("description", ""), ("autoRotationPeriod", "")]);
    draft(mona, &format!("{store}/keys/new/import"), &[("name", "new import"), ("description", ""), ("keyData", HEX_KEY)]);
    draft(mona, &format!("{}/edit", key("SYMMETRIC_ID")), &[("name", "renamed"), ("description", "edited"), ("autoRotationPeriod", "60")]);
    // Whoever edits again goes on from the draft.
    let form = mona.ask(&format!("{}/edit", key("SYMMETRIC_ID")));
    assert!(form.has("value=\"renamed\"") && form.has("value=\"60\""), "{}", form.text);
    draft(mona, &format!("{}/steps/rotate", key("SYMMETRIC_ID")), &[]);
    draft(mona, &format!("{}/edit", key("SECRET_ID")), &[("name", "demo-secret"), ("description", ""), ("secretValue", SECRET)]);
    draft(mona, &format!("{}/steps/request-deletion", key("ASYMMETRIC_ID")), &[]);
    draft(mona, &format!("{store}/ipv4/new"), &[("value", "10.9.9.9"), ("description", "new")]);
    draft(mona, &format!("{store}/macs/new"), &[("value", "00:00:5e:00:53:01"), ("description", "")]);
    draft(mona, &format!("{store}/ipv4/request-deletion?value=127.0.0.1"), &[("value", "127.0.0.1")]);
    let certificate = [("name", "laptop"), ("password", "a password"), ("lifeTime", "30"), ("description", "")];
    draft(mona, &format!("{store}/certificates/new"), &certificate);
    let signed = [("name", "signed"), ("csr", &signing_request("signed")), ("lifeTime", "30"), ("description", "")];
    draft(mona, &format!("{store}/certificates/sign"), &signed);
    let csrf = mona.get(&store).hidden("csrf");
    let file = b"10.8.0.1,one\n10.8.0.0/24,two\n";
    let preview = mona.upload(&format!("{store}/ipv4/csv"), &csrf, file);
    assert!(preview.status == 200 && preview.has("Every line can be registered"), "{}", preview.text);
    goes_to(&mona.upload(&format!("{store}/ipv4/csv/register"), &csrf, file), &format!("{store}/ipv4?done=drafted"));
    draft(mona, &format!("{store}/edit"), &[("name", "renamed store"), ("description", ""), ("ip4AuthUse", "Y"), ("macAuthUse", "Y"), ("authMode", "OR")]);
}

fn each_kind_of_change(installation: &Installation) {
    let service = installation.start();
    let scene = Scene::governed(installation, &service);
    let (mona, axel) = (scene.person("mona"), scene.person("axel"));
    let before = scene.state();
    draft_each_kind(&scene, &mona);
    assert_eq!(scene.state(), before, "it is drafted only");
    let store = scene.at("1");
    let list = mona.get(&store);
    for text in ["new data", "new aes", "new import", "renamed", "renamed store", "Created", "Modified", "Deletion scheduled", "Approval Request", "15 changes"]
    {
        assert!(list.has(text), "{text}: {}", list.text);
    }
    assert!(!list.has(SECRET));
    let clients = mona.get(&format!("{store}/ipv4"));
    assert!(["10.9.9.9", "10.8.0.0/24", "Created", "Deletion scheduled"].iter().all(|text| clients.has(text)), "{}", clients.text);
    let certificates = mona.get(&format!("{store}/certificates"));
    assert!(certificates.has("laptop") && certificates.has("signed") && !certificates.has("/download"), "{}", certificates.text);
    // An ADMIN has its file, which admits nobody yet.
    let anna = scene.person("anna");
    let shown = anna.get(&format!("{store}/certificates"));
    let path = shown.text.split("action=\"").filter_map(|rest| rest.split('"').next()).find(|path| path.ends_with("/download")).expect("a file").to_owned();
    let (kind, name, file) = anna.download(&path, &[("csrf", &shown.hidden("csrf"))]);
    assert!(kind == "application/x-pkcs12" && name.contains("laptop.p12") && file.len() > 500, "{kind} {name}");
    let request = scene.ask(&mona);
    for person in [&mona, &axel] {
        let page = person.get(&request);
        let told = ["for the audit", "&#60;May&#62;", "renamed", "demo-symmetric", "a new value, not shown", "10.8.0.0/24", "Scheduled to be Deleted", "Ready"];
        assert!(told.iter().all(|text| page.has(text)), "{}", page.text);
        assert!(!page.has(SECRET) && !page.has("0x1e"), "{}", page.text);
    }
    assert_eq!(scene.state(), before, "it is asked for only");
    scene.approve(&axel, &request);
    let page = axel.get(&request);
    assert!(page.has("Approved") && page.has("All of it was done.") && page.has("-----BEGIN CERTIFICATE-----"), "{}", page.text);
    for (from, count) in [
        ("keys WHERE state = 'ACTIVE' AND name IN ('new data', 'new aes', 'new rsa', 'new import', 'demo-secret')", 5),
        ("keys WHERE name = 'renamed' AND description = 'edited' AND rotation_days = 60 AND current_version = 1", 1),
        ("keys WHERE name = 'demo-asymmetric' AND state = 'PENDING_DELETION'", 1),
        ("client_rules WHERE state = 'ACTIVE' AND value IN ('10.9.9.9/32', '10.8.0.1/32', '10.8.0.0/24', '00:00:5e:00:53:01', 'laptop', 'signed')", 6),
        ("client_rules WHERE state = 'PENDING_DELETION' AND value = '127.0.0.1/32'", 1),
        ("key_stores WHERE name = 'renamed store' AND check_mode = 'OR'", 1),
    ] {
        assert_eq!(scene.count(from), count, "{from}");
    }
    the_way_back(&scene, &mona, &axel);
}

/// What was brought about is taken back in another draft: versions, deletions called off and brought about, entries.
fn the_way_back(scene: &Scene<'_>, mona: &Person<'_>, axel: &Person<'_>) {
    let store = scene.at("1");
    let key = |name: &str| format!("{store}/keys/{}", scene.installation.demo(name));
    draft(mona, &format!("{}/versions/0/steps/request-deletion", key("SYMMETRIC_ID")), &[]);
    draft(mona, &format!("{}/steps/cancel-deletion", key("ASYMMETRIC_ID")), &[]);
    draft(mona, &format!("{store}/ipv4/restore?value=127.0.0.1"), &[("value", "127.0.0.1")]);
    let page = mona.get(&key("SYMMETRIC_ID"));
    assert!(page.has("Deletion scheduled") && page.has("Request the deletion of a key version"), "{}", page.text);
    let request = scene.ask(mona);
    scene.approve(axel, &request);
    assert_eq!(scene.count("key_versions WHERE state = 'PENDING_DELETION'"), 1);
    assert_eq!(scene.count("keys WHERE name = 'demo-asymmetric' AND state = 'ACTIVE'"), 1);
    assert_eq!(scene.count("client_rules WHERE state = 'ACTIVE' AND value = '127.0.0.1/32'"), 1);
    draft(mona, &format!("{}/versions/0/steps/cancel-deletion", key("SYMMETRIC_ID")), &[]);
    let request = scene.ask(mona);
    scene.approve(axel, &request);
    assert_eq!(scene.count("key_versions WHERE state = 'PENDING_DELETION'"), 0);
}

#[test]
fn each_kind_of_change_is_drafted_asked_for_and_approved_on_sqlite() {
    each_kind_of_change(&Installation::new());
}

#[test]
fn each_kind_of_change_is_drafted_asked_for_and_approved_on_postgresql() {
    let cluster = Cluster::start();
    each_kind_of_change(&Installation::with(&[("SKM_DATABASE__URL", &cluster.uri())]));
}

#[test]
fn a_new_key_store_comes_into_being_with_all_that_was_drafted_for_it() {
    let installation = Installation::new();
    let service = installation.start();
    let scene = Scene::governed(&installation, &service);
    let (mona, axel, anna) = (scene.person("mona"), scene.person("axel"), scene.person("anna"));
    let fields = [("name", "wallets"), ("description", "of people"), ("ip4AuthUse", "Y"), ("authMode", "AND")];
    let store = draft(&mona, &scene.at("new"), &fields);
    draft(&mona, &format!("{store}/keys/new/confidential-data"), &[("name", "pin"), ("description", ""), ("secretValue", SECRET)]);
    // It is everybody's who asks.
    draft(&anna, &format!("{store}/ipv4/new"), &[("value", "10.1.1.1"), ("description", "")]);
    let csrf = mona.get(&store).hidden("csrf");
    goes_to(&mona.upload(&format!("{store}/macs/csv/register"), &csrf, b"00:00:5e:00:53:07,x\n"), &format!("{store}/macs?done=drafted"));
    let depository = anna.get(&format!("{}/key-stores", scene.project));
    assert!(!anna.get(depository.to.as_deref().expect("a key store")).has("wallets"), "nobody sees it elsewhere");
    assert_eq!(anna.get(&store.replace("management", "key-stores")).status, 404);
    let cards = mona.get(&scene.at("1"));
    assert!(cards.has("wallets") && cards.has("Created"), "{}", cards.text);
    let request = scene.ask(&mona);
    // It is no draft any more: its page is that of the request.
    goes_to(&mona.get(&store), &request);
    scene.approve(&axel, &request);
    let shown = mona.get(&store);
    assert!(shown.status == 200 && shown.has("wallets") && shown.has("pin"), "{}", shown.text);
    assert_eq!(scene.count("client_rules WHERE state = 'ACTIVE' AND value IN ('10.1.1.1/32', '00:00:5e:00:53:07')"), 2);
    // A draft ends with its new key store, and all that was made for it.
    let store = draft(&mona, &scene.at("new"), &[("name", "never"), ("description", ""), ("ip4AuthUse", "Y"), ("authMode", "AND")]);
    draft(&mona, &format!("{store}/keys/new/import"), &[("name", "never"), ("description", ""), ("keyData", HEX_KEY)]);
    let draft_page = scene.newest();
    goes_to(&mona.fill_in(&format!("{draft_page}/changes/0/withdraw"), &[]), &format!("{draft_page}?done=change-withdrawn"));
    assert_eq!(scene.state_of(&draft_page), "WITHDRAWN");
    assert_eq!(scene.count("key_stores WHERE name = 'never'"), 0);
    wait_until("what was made for it is destroyed", PATIENCE, || scene.count("token_objects WHERE state = 'PROVISIONING'") == 0);
}

#[test]
fn changes_and_drafts_are_withdrawn() {
    let installation = Installation::new();
    let service = installation.start();
    let scene = Scene::governed(&installation, &service);
    let (mona, anna) = (scene.person("mona"), scene.person("anna"));
    let (store, before) = (scene.at("1"), scene.state());
    draft(&mona, &format!("{store}/ipv4/new"), &[("value", "10.0.0.1"), ("description", "")]);
    draft(&mona, &format!("{store}/certificates/new"), &[("name", "laptop"), ("password", "a password"), ("lifeTime", "30"), ("description", "")]);
    let page = scene.newest();
    let question = anna.ask(&format!("{page}/changes/1/withdraw"));
    assert!(question.has("laptop") && question.has("revoked"), "{}", question.text);
    goes_to(&anna.fill_in(&format!("{page}/changes/1/withdraw"), &[]), &format!("{store}?done=withdrawn"));
    assert!(!mona.get(&format!("{store}/certificates")).has("laptop"));
    assert_eq!(scene.count("client_rules WHERE value = 'laptop' AND state = 'DESTROYED' AND revoked_at IS NOT NULL"), 1);
    // Gone is gone, whoever asks once more.
    assert_eq!(anna.ask(&format!("{page}/changes/1/withdraw")).status, 404);
    assert_eq!(anna.ask(&format!("{page}/changes/x/withdraw")).status, 404);
    goes_to(&mona.fill_in(&format!("{page}/withdraw"), &[]), &format!("{page}?done=withdrawn"));
    assert_eq!((scene.state_of(&page).as_str(), scene.state()), ("WITHDRAWN", before));
    let again = mona.send_form(&format!("{page}/withdraw"), &[("csrf", &mona.get(&store).hidden("csrf"))]);
    assert!(again.status == 422 && again.has("Nothing was changed"), "{}", again.text);
}

#[test]
fn a_request_is_denied_withdrawn_expires_and_fails() {
    let installation = Installation::new();
    let service = installation.start();
    let scene = Scene::governed(&installation, &service);
    let (mona, axel, anna) = (scene.person("mona"), scene.person("axel"), scene.person("anna"));
    let (store, key) = (scene.at("1"), installation.demo("SYMMETRIC_ID"));
    let edit = |description: &str| {
        draft(&mona, &format!("{store}/keys/{key}/edit"), &[("name", "demo-symmetric"), ("description", description), ("autoRotationPeriod", "0")]);
        scene.ask(&mona)
    };
    // Denied, with a reason; never by whoever asked, nor by one without the role.
    let before = scene.state();
    let request = edit("denied");
    assert!(mona.get(&request).has("You asked for this yourself.") && anna.get(&request).has("Only an APPROVAL ADMIN of this project approves."));
    for person in [&mona, &anna] {
        assert!(!person.get(&request).has(">Approve<"));
        assert_eq!(person.ask(&format!("{request}/approve")).status, 403);
        assert_eq!(person.send_form(&format!("{request}/approve"), &[("csrf", &person.get(&store).hidden("csrf"))]).status, 403);
    }
    assert!(axel.get(&request).has(">Approve<") && axel.get(&store).has("waiting for a decision"));
    is_refused(&axel.fill_in(&format!("{request}/deny"), &[("reason", "  ")]), "reason", "must have 1 to 1000 characters");
    is_refused(&axel.fill_in(&format!("{request}/deny"), &[("reason", &"x".repeat(1_001))]), "reason", "must have");
    // An approval of something else than was shown is none.
    let csrf = axel.get(&store).hidden("csrf");
    for digest in ["", "0", &"0".repeat(64)] {
        let page = axel.send_form(&format!("{request}/approve"), &[("csrf", &csrf), ("digest", digest)]);
        assert!(page.status == 422 && page.has("Somebody else changed this meanwhile"), "{}", page.text);
    }
    goes_to(&axel.fill_in(&format!("{request}/deny"), &[("reason", "not <now>")]), &format!("{request}?done=denied"));
    let page = mona.get(&request);
    assert!(page.has("Denied") && page.has("not &#60;now&#62;") && page.has("Nothing of it was done."), "{}", page.text);
    // Withdrawn by whoever asked alone.
    let request = edit("withdrawn");
    assert!(!anna.get(&request).has("/withdraw\"") && mona.get(&request).has("/withdraw\""));
    assert_eq!(anna.fill_in(&format!("{request}/withdraw"), &[]).status, 403);
    goes_to(&mona.fill_in(&format!("{request}/withdraw"), &[]), &format!("{request}?done=withdrawn"));
    let late = axel.send_form(&format!("{request}/deny"), &[("csrf", &csrf), ("reason", "late")]);
    assert!(late.status == 422 && late.has("Somebody else decided upon it"), "{}", late.text);
    assert_eq!(scene.state(), before);
    // Fails, since something that it builds on has changed.
    let request = edit("failed");
    installation.database().run(&format!("UPDATE keys SET changed_at = changed_at + 1 WHERE id = '{key}'"));
    let before = scene.state();
    fill_in_as_shown(&axel, &format!("{request}/approve"));
    wait_until("it fails", PATIENCE, || scene.state_of(&request) == "FAILED");
    let page = mona.get(&request);
    assert!(page.has("Failed") && page.has("Reason:") && page.has("Nothing of it was done."), "{}", page.text);
    assert_eq!(scene.state(), before);
    // Expires, if nobody decides.
    let request = edit("expired");
    installation.database().run("UPDATE change_requests SET expires_at = 1 WHERE state = 'READY'");
    let page = axel.get(&request);
    assert!(!page.has(">Approve<"), "{}", page.text);
    wait_until("it expires", PATIENCE, || scene.state_of(&request) == "EXPIRED");
    assert!(mona.get(&request).has("Expired"));
    assert_eq!(scene.state(), before);
    the_list_finds_them(&scene, &mona);
}

fn the_list_finds_them(scene: &Scene<'_>, mona: &Person<'_>) {
    let list = |query: &str| mona.get(&format!("{}/approvals{query}", scene.project));
    let all = list("");
    assert!(["Denied", "Withdrawn", "Failed", "Expired", "Search Result: <span class=\"count\">4</span>"].iter().all(|text| all.has(text)), "{}", all.text);
    for (query, count) in
        [("?status=DENIED", 1), ("?status=READY", 0), ("?status=nonsense", 4), ("?q=audit", 4), ("?q=MONA", 4), ("?q=demo-by", 4), ("?q=nothing", 0)]
    {
        let page = list(query);
        assert!(page.status == 200 && page.has(&format!("Search Result: <span class=\"count\">{count}</span>")), "{query}: {}", page.text);
    }
    for query in ["?sort=requester", "?sort=status&dir=desc", "?sort=date", "?size=100&page=7", "?status=DENIED&sort=date"] {
        assert_eq!(list(query).status, 200, "{query}");
    }
    assert!(list("?status=DENIED").has("status=DENIED"), "the filter stays");
    // A draft is none of them.
    draft(mona, &format!("{}/ipv4/new", scene.at("1")), &[("value", "10.0.0.1"), ("description", "")]);
    assert!(list("").has("Search Result: <span class=\"count\">4</span>"));
    for id in ["0", &"0".repeat(32), "%3Cscript%3E"] {
        assert_eq!(mona.get(&format!("{}/approvals/{id}", scene.project)).status, 404, "{id}");
    }
}

#[test]
fn key_depository_is_read_only_and_says_where_to_change() {
    let installation = Installation::new();
    let service = installation.start();
    let scene = Scene::new(&installation, &service);
    let (anna, vera) = (scene.person("anna"), scene.person("vera"));
    let store = format!("{}/key-stores/1", scene.project);
    let key = format!("{store}/keys/{}", installation.demo("SYMMETRIC_ID"));
    // Forms that were open when approval was turned on.
    let open: Vec<(String, Page)> = [format!("{key}/edit"), format!("{store}/edit"), format!("{key}/steps/rotate"), format!("{store}/ipv4/new")]
        .map(|path| (path.clone(), anna.ask(&path)))
        .into();
    scene.operator(&["approval", "enable", "--project", "demo"]);
    let before = scene.state();
    for (path, form) in open {
        let mut fields = vec![("csrf", form.hidden("csrf")), ("name", "x".to_owned()), ("value", "10.0.0.1".to_owned())];
        if form.has("name=\"seen\"") {
            fields.push(("seen", form.hidden("seen")));
        }
        fields
            .extend([("ip4AuthUse", "Y"), ("authMode", "AND"), ("description", ""), ("autoRotationPeriod", "0")].map(|(name, value)| (name, value.to_owned())));
        let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let page = anna.send_form(&path, &fields);
        assert!(page.status == 422 && page.has("Approval is on in this project"), "{path}: {} {}", page.status, page.text);
    }
    let csrf = anna.get(&store).hidden("csrf");
    let page = anna.upload(&format!("{store}/ipv4/csv/register"), &csrf, b"10.0.0.1,x\n");
    assert!(page.status == 422 && page.has("Approval is on in this project"), "{}", page.text);
    assert_eq!(scene.state(), before);
    for path in [store.clone(), key.clone(), format!("{store}/ipv4")] {
        for person in [&anna, &vera] {
            let page = person.get(&path);
            assert!(page.status == 200 && page.has("Approval is on in this project: here nothing is changed."), "{path}: {}", page.text);
            assert!(
                !["/edit", "/new", "/delete", "/steps/", "/csv\""].iter().any(|rest| page.has(&format!("{store}{rest}")) || page.has(&format!("{path}{rest}"))),
                "{path}"
            );
        }
        assert!(anna.get(&path).has("Draft changes in Key Store Management") && !vera.get(&path).has("Key Store Management"));
    }
    for path in [format!("{store}/edit"), format!("{key}/edit"), format!("{store}/ipv4/csv")] {
        let page = anna.get(&path);
        assert!(page.status == 403 && page.has("Changes need approval here"), "{}", page.text);
    }
    // Data is still shown to who may see it, and to nobody else.
    let secret = format!("{store}/keys/{}", installation.demo("SECRET_ID"));
    assert!(anna.post(&format!("{secret}/data"), &[("csrf", &csrf)]).has("not-a-real-password"));
    let mona = scene.person("mona");
    let of_mona = mona.get(&store).hidden("csrf");
    for door in ["key-stores", "management"] {
        assert_eq!(mona.post(&format!("{}/data", secret.replace("key-stores", door)), &[("csrf", &of_mona)]).status, 403);
    }
    // A VIEWER has no part in any of it.
    for path in ["management", "management/1", "management/new", "approvals", "governance"] {
        assert_eq!(vera.get(&format!("{}/{path}", scene.project)).status, 403, "{path}");
    }
}

#[test]
fn nothing_is_drafted_while_a_request_is_open() {
    let installation = Installation::new();
    let service = installation.start();
    let scene = Scene::governed(&installation, &service);
    let (mona, anna) = (scene.person("mona"), scene.person("anna"));
    let store = scene.at("1");
    draft(&mona, &format!("{store}/ipv4/new"), &[("value", "10.0.0.1"), ("description", "")]);
    is_refused(&mona.fill_in(&format!("{}/request", scene.newest()), &[("note", " ")]), "note", "must have 1 to 1000 characters");
    is_refused(&mona.fill_in(&format!("{}/request", scene.newest()), &[("note", "a\u{1}b")]), "note", "");
    let request = scene.ask(&mona);
    for path in [store.clone(), format!("{store}/ipv4"), format!("{store}/keys/{}", installation.demo("SYMMETRIC_ID"))] {
        let page = anna.get(&path);
        assert!(page.has("Somebody has asked for the draft of this key store.") && page.has(&request), "{path}: {}", page.text);
        assert!(!page.has("/edit\"") && !page.has("/new\" data") && !page.has("/steps/"), "{path}");
    }
    let page = anna.fill_in(&format!("{store}/ipv4/new"), &[("value", "10.0.0.2"), ("description", "")]);
    assert!(page.status == 422 && page.has("A request for this key store is open"), "{}", page.text);
    let csrf = anna.get(&store).hidden("csrf");
    let page = anna.upload(&format!("{store}/ipv4/csv/register"), &csrf, b"10.0.0.2,x\n");
    assert!(page.status == 422 && page.has("A request for this key store is open"), "{}", page.text);
    // Other key stores go on.
    draft(&anna, &format!("{}/macs/new", scene.at("2")), &[("value", "00:00:5e:00:53:01"), ("description", "")]);
    // What doesn't go together with the rest of a draft is told at once.
    let twice = anna.fill_in(&format!("{}/macs/new", scene.at("2")), &[("value", "00:00:5e:00:53:01"), ("description", "")]);
    is_refused(&twice, "value", "is taken");
}

#[test]
fn governance_is_set_by_one_and_given_up_by_two() {
    let installation = Installation::new();
    let service = installation.start();
    let scene = Scene::new(&installation, &service);
    let (anna, axel) = (scene.person("anna"), scene.person("axel"));
    let here = format!("{}/governance", scene.project);
    let page = anna.get(&here);
    assert!(["Off", "axel", "mona", "14 days", "Turn on"].iter().all(|text| page.has(text)), "{}", page.text);
    for days in ["0", "91", "x", ""] {
        is_refused(&anna.fill_in(&format!("{here}/expiry"), &[("expiryDays", days)]), "expiryDays", "must be");
    }
    goes_to(&anna.fill_in(&format!("{here}/expiry"), &[("expiryDays", "7")]), &format!("{here}?done=expiry"));
    // Whom nobody else could approve for can't turn it on.
    scene.operator(&["role", "revoke", "axel", "APPROVAL ADMIN", "--project", "demo"]);
    assert!(anna.get(&here).has("Nobody could change anything with approval on"));
    let refused = anna.fill_in(&format!("{here}/on"), &[]);
    assert!(refused.status == 422 && refused.has("needs an enabled account with the role APPROVAL ADMIN"), "{}", refused.text);
    scene.operator(&["role", "grant", "axel", "APPROVAL ADMIN", "--project", "demo"]);
    goes_to(&anna.fill_in(&format!("{here}/on"), &[]), &format!("{here}?done=on"));
    let again = anna.fill_in(&format!("{here}/on"), &[]);
    assert!(again.status == 422 && again.has("is on already"), "{}", again.text);
    // Everything else about the project is asked for.
    let before = scene.state();
    is_refused(&anna.fill_in(&format!("{here}/expiry"), &[("expiryDays", "0"), ("note", "n")]), "expiryDays", "must be");
    is_refused(&anna.fill_in(&format!("{here}/expiry"), &[("expiryDays", "30"), ("note", "")]), "note", "must have");
    goes_to(&anna.fill_in(&format!("{here}/expiry"), &[("expiryDays", "30"), ("note", "longer")]), &format!("{here}?done=asked"));
    assert_eq!(scene.state(), before);
    scene.approve(&axel, &scene.newest());
    assert!(anna.get(&here).has("30 days"));
    is_refused(&anna.fill_in(&format!("{here}/off"), &[("note", "")]), "note", "must have");
    goes_to(&anna.fill_in(&format!("{here}/off"), &[("note", "no longer")]), &format!("{here}?done=asked"));
    assert!(anna.get(&here).has(">On<"));
    let request = scene.newest();
    assert!(axel.get(&request).has("Turn approval off"));
    scene.approve(&axel, &request);
    assert!(anna.get(&here).has(">Off<"));
    // Where it is off there is no Key Store Management; what was decided can still be read.
    goes_to(&anna.get(&scene.at("1")), &format!("{}/key-stores", scene.project));
    assert!(!anna.get(&format!("{}/key-stores/1", scene.project)).has("Key Store Management") && axel.get(&request).has("Approved"));
}

#[test]
fn roles_and_passwords_are_asked_for_where_approval_is_on() {
    let installation = Installation::new();
    let service = installation.start();
    let scene = Scene::governed(&installation, &service);
    make_account(&installation, "nora", &[]);
    make_account(&installation, "olga", &[]);
    installation.database().run("UPDATE accounts SET administrator = TRUE WHERE login = 'olga'");
    let (anna, axel, olga) = (scene.person("anna"), scene.person("axel"), scene.person("olga"));
    let admin = Person::administrator(&installation, &service);
    let before = scene.state();
    let members = format!("{}/members", scene.project);
    let form = anna.ask(&format!("{members}/new"));
    assert!(form.has("this form sends a request") && form.has("Send request"), "{}", form.text);
    is_refused(&anna.fill_in(&format!("{members}/new"), &[("login", "nora"), ("role", "VIEWER"), ("note", "")]), "note", "must have");
    is_refused(&anna.fill_in(&format!("{members}/new"), &[("login", "nobody"), ("role", "VIEWER"), ("note", "n")]), "login", "names no account");
    is_refused(&anna.fill_in(&format!("{members}/new"), &[("login", "nora"), ("role", "OWNER"), ("note", "n")]), "role", "must be one of");
    goes_to(&anna.fill_in(&format!("{members}/new"), &[("login", "nora"), ("role", "VIEWER"), ("note", "new here")]), &format!("{members}?done=asked"));
    assert_eq!(scene.state(), before);
    let request = scene.newest();
    assert!(["Grant role", "nora, VIEWER", "Made by"].iter().all(|text| axel.get(&request).has(text)));
    scene.approve(&axel, &request);
    assert_eq!(scene.count("account_roles WHERE account_id = (SELECT id FROM accounts WHERE login = 'nora')"), 1);
    let revoke = format!("{members}/revoke?login=nora&role=VIEWER");
    goes_to(&anna.fill_in(&revoke, &[("note", "gone")]), &format!("{members}?done=asked"));
    scene.approve(&axel, &scene.newest());
    assert_eq!(scene.count("account_roles WHERE account_id = (SELECT id FROM accounts WHERE login = 'nora')"), 0);
    // In the organization area it is the same, for an administrator who is an ADMIN of the project; others are told who asks.
    let of_organization = format!("/organization{members}");
    goes_to(
        &admin.fill_in(&format!("{of_organization}/new"), &[("login", "nora"), ("role", "VIEWER"), ("note", "n")]),
        &format!("/organization{}?done=asked", scene.project),
    );
    for path in [format!("{of_organization}/new"), format!("{of_organization}/revoke?login=vera&role=VIEWER")] {
        let form = olga.ask(&path);
        assert!(form.has("Only an ADMIN of the project asks for this") && !form.has("type=\"submit\""), "{}", form.text);
        assert_eq!(olga.fill_in(&path, &[("login", "nora"), ("role", "VIEWER"), ("note", "n")]).status, 403);
    }
    an_approvers_password(&scene, (&admin, &axel, &olga));
}

fn an_approvers_password(scene: &Scene<'_>, (admin, axel, olga): (&Person<'_>, &Person<'_>, &Person<'_>)) {
    let id = |login: &str| scene.installation.database().number("id", &format!("accounts WHERE login = '{login}'"));
    make_account(scene.installation, "beth", &[]);
    let beth = format!("/organization/accounts/{}/password", id("beth"));
    assert!(!admin.ask(&beth).has("this form sends a request"), "she has no part in it");
    let mona = format!("/organization/accounts/{}/password", id("mona"));
    let hash = || scene.text("password_hash", "accounts WHERE login = 'mona'");
    let before = hash();
    is_refused(&admin.fill_in(&mona, &[("password", "short"), ("note", "n")]), "password", "must have");
    is_refused(&admin.fill_in(&mona, &[("password", "another long password"), ("note", "")]), "note", "must have");
    let asked = admin.fill_in(&mona, &[("password", "another long password"), ("note", "she forgot it")]);
    goes_to(&asked, &format!("/organization/accounts/{}?done=asked", id("mona")));
    assert_eq!(hash(), before);
    let form = olga.ask(&mona);
    assert!(form.has("An ADMIN of that project asks for it") && !form.has("type=\"submit\""), "{}", form.text);
    assert_eq!(olga.fill_in(&mona, &[("password", "another long password"), ("note", "n")]).status, 403);
    let request = scene.newest();
    let page = axel.get(&request);
    assert!(page.has("Reset password") && !page.has("another long password"), "{}", page.text);
    let second_part = approved_part(scene, axel, &request, "mona");
    assert_ne!(hash(), before);
    Person::sign_in(scene.installation, scene.service, "mona", &format!("another long password{second_part}"));
}

/// Approves a request that sets an account's password; what is shown once.
fn approved_part(scene: &Scene<'_>, person: &Person<'_>, request: &str, login: &str) -> String {
    let page = fill_in_as_shown(person, &format!("{request}/approve"));
    assert!(page.status == 200 && page.has(">Second part<") && page.has(login) && page.has("shown now and never again"), "{}", page.text);
    let (_, rest) = page.text.split_once("<code class=\"breaks\">").expect("a part");
    let part = rest.split('<').next().expect("a part").to_owned();
    assert_eq!(part.len(), 23, "{part}");
    wait_until("it is applied", PATIENCE, || scene.state_of(request) == "APPROVED");
    assert!(!person.get(request).has(&part), "it is shown once");
    part
}

/// An `ADMIN` asks for what concerns people under **Governance Setting**, whether or not he administers the installation.
#[test]
fn people_are_asked_for_where_approval_is_on() {
    let installation = Installation::new();
    let service = installation.start();
    let scene = Scene::governed(&installation, &service);
    let (anna, axel, mona) = (scene.person("anna"), scene.person("axel"), scene.person("mona"));
    let here = format!("{}/governance", scene.project);
    let at = |what: &str| format!("{here}/ask/{what}");
    let is_asked = |page: &Page| goes_to(page, &format!("{here}?done=asked"));
    let page = anna.get(&here);
    assert!(["account", "password", "enable", "access-key"].iter().all(|what| page.has(&format!("href=\"{}\"", at(what)))), "{}", page.text);
    assert!(!mona.get(&here).has("/ask/") && mona.get(&at("account")).status == 403);
    assert_eq!(anna.get(&at("nothing")).status, 404);
    // A new account: each of the two has one part of its password.
    let before = scene.state();
    let fields = [("login", "nora"), ("role", "APPROVAL ADMIN"), ("password", "anna's first part"), ("note", "n")];
    is_asked(&anna.fill_in(&at("account"), &fields));
    assert_eq!(scene.state(), before);
    let request = scene.newest();
    assert!(anna.get(&request).has("Add account") && anna.get(&request).has("First part of the password"));
    let second_part = approved_part(&scene, &axel, &request, "nora");
    let nora = |password: &str| Person::stranger(&installation, &service).post("/sign-in", &[("login", "nora"), ("password", password)]).status;
    assert_eq!((nora("anna's first part"), nora(&second_part), nora(&format!("anna's first part{second_part}"))), (401, 401, 303));
    is_asked(&anna.fill_in(&at("password"), &[("login", "nora"), ("password", "another first part"), ("note", "n")]));
    let another = approved_part(&scene, &axel, &scene.newest(), "nora");
    assert_eq!(nora(&format!("another first part{another}")), 303);
    an_account_is_enabled(&scene, (&anna, &axel), &here);
    // An access key that nobody else made.
    axel.fill_in("/account/access-keys/new", &[("tokenLife", "600")]);
    let key = scene.text("id", "access_keys WHERE maker_id = account_id");
    let may = || scene.count(&format!("access_keys WHERE id = '{key}' AND may_approve"));
    is_asked(&anna.fill_in(&at("access-key"), &[("id", &key), ("mayApprove", "Y"), ("note", "n")]));
    let request = scene.newest();
    assert!(axel.get(&request).has("Made by") && may() == 0);
    scene.approve(&axel, &request);
    let page = anna.get(&here);
    assert!(may() == 1 && page.has(&key) && page.has("Made by axel"), "{}", page.text);
    let taking = format!("{}?id={key}&mayApprove=N", at("access-key"));
    assert!(page.has(&taking.replace('&', "&#38;")) && anna.ask(&taking).has("value=\"N\" checked"), "{}", page.text);
    is_asked(&anna.fill_in(&taking, &[("id", &key), ("mayApprove", "N"), ("note", "n")]));
    scene.approve(&axel, &scene.newest());
    assert_eq!(may(), 0);
}

fn an_account_is_enabled(scene: &Scene<'_>, (anna, axel): (&Person<'_>, &Person<'_>), here: &str) {
    let (installation, service) = (scene.installation, scene.service);
    make_account(installation, "olga", &[]);
    installation.database().run("UPDATE accounts SET administrator = TRUE WHERE login = 'olga'");
    let (olga, admin) = (scene.person("olga"), Person::administrator(installation, service));
    let id = installation.database().number("id", "accounts WHERE login = 'nora'");
    let step = |step: &str| format!("/organization/accounts/{id}/steps/{step}");
    goes_to(&olga.fill_in(&step("disable"), &[]), &format!("/organization/accounts/{id}?done=disabled"));
    assert!(anna.get(here).has("nora (disabled)"), "{}", anna.get(here).text);
    // Whoever administers the installation is told who asks; he may himself where he is an ADMIN.
    let form = olga.ask(&step("enable"));
    assert!(form.has("An ADMIN of that project asks for it") && !form.has("type=\"submit\""), "{}", form.text);
    let refused = olga.send_form(&step("enable"), &[("csrf", &form.hidden("csrf")), ("seen", &scene.text("changed_at", "accounts WHERE login = 'nora'"))]);
    assert!(refused.status == 422 && refused.has("Approval is on in this project"), "{}", refused.text);
    let form = admin.ask(&step("enable"));
    assert!(form.has(&format!("action=\"{here}/ask/enable\"")) && form.has("value=\"nora\""), "{}", form.text);
    let asked = anna.fill_in(&format!("{here}/ask/enable"), &[("login", "nora"), ("note", "back again")]);
    goes_to(&asked, &format!("{here}?done=asked"));
    assert_eq!(scene.count("accounts WHERE login = 'nora' AND enabled"), 0);
    scene.approve(axel, &scene.newest());
    assert_eq!(scene.count("accounts WHERE login = 'nora' AND enabled"), 1);
}

#[test]
fn approval_that_was_turned_off_alone_is_told_until_somebody_acknowledges_it() {
    let installation = Installation::new();
    let service = installation.start();
    let scene = Scene::governed(&installation, &service);
    make_account(&installation, "olga", &[]);
    installation.database().run("UPDATE accounts SET administrator = TRUE WHERE login = 'olga'");
    let (anna, olga, mona) = (scene.person("anna"), scene.person("olga"), scene.person("mona"));
    let disable = || scene.operator(&["approval", "disable", "--project", "demo", "--reason", "everybody is <ill>"]);
    disable();
    let here = format!("{}/governance", scene.project);
    let is_told = |page: &Page| page.has("EMERGENCY: approval was turned off alone") && page.has("everybody is &#60;ill&#62;") && page.has("uid ");
    for (person, path) in [(&anna, "/account"), (&anna, here.as_str()), (&olga, "/organization"), (&olga, "/organization/health"), (&olga, here.as_str())] {
        assert!(is_told(&person.get(path)), "{path}: {}", person.get(path).text);
    }
    assert!(olga.get("/organization").has(">Alarm<") && olga.get("/organization/health").has(">Alarm<"));
    assert!(is_told(&mona.get(&here)) && !mona.get("/account").has("EMERGENCY"), "the page tells whoever asks; the banner is for keepers");
    assert_eq!(mona.get(&format!("{here}/acknowledge")).status, 403);
    // What was seen is acknowledged, and nothing that came after.
    let stale = anna.send_form(&format!("{here}/acknowledge"), &[("csrf", &anna.get(&here).hidden("csrf")), ("seen", "1")]);
    assert!(stale.status == 422 && is_told(&anna.get(&here)), "{}", stale.text);
    goes_to(&olga.fill_in(&format!("{here}/acknowledge"), &[]), &format!("{here}?done=acknowledge"));
    assert!(!anna.get(&here).has("EMERGENCY") && !olga.get("/organization").has("EMERGENCY"));
    assert_eq!(scene.count("audit_records WHERE operation = 'ACKNOWLEDGE_DISABLING' AND result_code = 0 AND actor_name = 'olga'"), 1);
    // Whoever turns it on again covers nothing up.
    goes_to(&anna.fill_in(&format!("{here}/on"), &[]), &format!("{here}?done=on"));
    disable();
    goes_to(&olga.fill_in(&format!("{here}/on"), &[]), &format!("{here}?done=on"));
    assert!(is_told(&anna.get("/account")) && is_told(&anna.get(&here)));
    goes_to(&olga.fill_in(&format!("{here}/acknowledge"), &[]), &format!("{here}?done=acknowledge"));
    assert!(!anna.get("/account").has("EMERGENCY"));
}
