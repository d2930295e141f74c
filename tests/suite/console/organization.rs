//! The organization area, members and roles, URL & Appkey; what the API answers and what the audit log has is the check.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;

use super::person::{Page, Person};
use crate::support::installation::{Installation, Running};
use crate::support::postgres::Cluster;

/// The longest that anything may take.
const PATIENCE: Duration = Duration::from_secs(20);
const FIRST: &str = "a first password";
const OWN: &str = "a password of one's own";

struct Scene<'a> {
    installation: &'a Installation,
    service: &'a Running,
    admin: Person<'a>,
}

/// What follows the last of these in an address, without its query.
fn number(page: &Page) -> String {
    let to = page.to.as_deref().unwrap_or_else(|| panic!("{} {}", page.status, page.text));
    to.split('?').next().and_then(|path| path.rsplit('/').next()).expect("a number").to_owned()
}

impl<'a> Scene<'a> {
    fn new(installation: &'a Installation, service: &'a Running) -> Self {
        let admin = Person::sign_in(installation, service, installation.demo("ADMIN_USER"), installation.demo("ADMIN_PASSWORD"));
        Self { installation, service, admin }
    }

    fn project(&self, name: &str) -> String {
        number(&self.admin.fill_in("/organization/projects/new", &[("name", name)]))
    }

    fn account(&self, login: &str) -> String {
        number(&self.admin.fill_in("/organization/accounts/new", &[("login", login), ("password", FIRST)]))
    }

    fn grant(&self, login: &str, role: &str, project: &str) {
        let granted = self.admin.fill_in(&format!("/organization/projects/{project}/members/new"), &[("login", login), ("role", role)]);
        assert_eq!(granted.to.as_deref(), Some(format!("/organization/projects/{project}?done=granted").as_str()), "{}", granted.text);
    }

    /// Signs in for the first time.
    fn first_sign_in(&self, login: &str) -> Person<'a> {
        let person = Person::sign_in(self.installation, self.service, login, FIRST);
        assert_eq!(person.get("/").to.as_deref(), Some("/account/password"), "nothing before the password is changed");
        let changed = person.fill_in("/account/password", &[("current", FIRST), ("password", OWN), ("again", OWN)]);
        assert_eq!(changed.to.as_deref(), Some("/account?done=password"), "{}", changed.text);
        person
    }

    /// Somebody with one role in the demo's project, or with none.
    fn somebody(&self, login: &str, role: Option<&str>) -> Person<'a> {
        self.account(login);
        if let Some(role) = role {
            self.grant(login, role, "1");
        }
        self.first_sign_in(login)
    }

    fn step(&self, account: &str, step: &str) -> Page {
        self.admin.fill_in(&format!("/organization/accounts/{account}/steps/{step}"), &[])
    }

    /// The newest records that are told so: `actor OPERATION code detail`, oldest first.
    fn records(&self, of: &str) -> Vec<String> {
        let told = "actor_kind || ' ' || actor_name || ' ' || operation || ' ' || result_code || ' ' || COALESCE(detail, '')";
        self.installation.database().texts(told, &format!("audit_records WHERE {of} ORDER BY at, position"))
    }
}

/// Every route of the organization area: `POST`s are those that forms send.
const ROUTES: [(&str, &str); 32] = [
    ("GET", "/organization"),
    ("GET", "/organization/projects"),
    ("GET", "/organization/projects/new"),
    ("POST", "/organization/projects/new"),
    ("GET", "/organization/projects/1"),
    ("GET", "/organization/projects/1/rename"),
    ("POST", "/organization/projects/1/rename"),
    ("GET", "/organization/projects/1/reads/on"),
    ("POST", "/organization/projects/1/reads/off"),
    ("GET", "/organization/projects/1/appkeys/new"),
    ("POST", "/organization/projects/1/appkeys/new"),
    ("GET", "/organization/projects/1/appkeys/x/delete"),
    ("POST", "/organization/projects/1/appkeys/x/delete"),
    ("GET", "/organization/projects/1/members/new"),
    ("POST", "/organization/projects/1/members/new"),
    ("GET", "/organization/projects/1/members/revoke?login=admin&role=ADMIN"),
    ("POST", "/organization/projects/1/members/revoke?login=admin&role=ADMIN"),
    ("GET", "/organization/accounts"),
    ("GET", "/organization/accounts/new"),
    ("POST", "/organization/accounts/new"),
    ("GET", "/organization/accounts/1"),
    ("GET", "/organization/accounts/1/password"),
    ("POST", "/organization/accounts/1/password"),
    ("GET", "/organization/accounts/1/steps/disable"),
    ("POST", "/organization/accounts/1/steps/disable"),
    ("GET", "/organization/accounts/1/sessions/00/end"),
    ("POST", "/organization/accounts/1/sessions/00/end"),
    ("GET", "/organization/access-keys"),
    ("GET", "/organization/access-keys/x/disable"),
    ("POST", "/organization/access-keys/x/delete"),
    ("GET", "/organization/health"),
    ("GET", "/organization/projects/1/reads/off"),
];

#[test]
fn nobody_but_an_administrator_comes_into_the_organization_area() {
    let installation = Installation::new();
    let service = installation.start();
    let scene = Scene::new(&installation, &service);
    let people = [scene.somebody("alice", Some("ADMIN")), scene.somebody("vera", Some("VIEWER")), scene.somebody("nobody", None)];
    let before = installation.database().count("audit_records WHERE result_code = 0 AND operation <> 'READ_INVENTORY'");
    for person in &people {
        // A form of his own session, so that nothing but his standing is in the way.
        let csrf = person.ask("/account/password").hidden("csrf");
        for (method, path) in ROUTES {
            let page = if method == "GET" { person.get(path) } else { person.post(path, &[("csrf", csrf.as_str()), ("name", "x"), ("login", "x")]) };
            assert_eq!(page.status, 403, "{method} {path}: {}", page.text);
        }
        assert!(!person.get("/manual").has("/organization\""), "no link that would fail");
    }
    let stranger = Person::stranger(&installation, &service);
    for (method, path) in ROUTES {
        if method == "GET" {
            let page = stranger.get(path);
            assert!(page.status == 303 && page.to.as_deref().is_some_and(|to| to.starts_with("/sign-in?next=%2Forganization")), "{path}: {page:?}");
        }
    }
    assert_eq!(installation.database().count("audit_records WHERE result_code = 0 AND operation <> 'READ_INVENTORY'"), before, "nothing was changed");
    for (method, path) in ROUTES {
        if method == "GET" {
            let names_nothing = path.contains("/sessions/00/") || path.contains("/appkeys/x/");
            assert_eq!(scene.admin.get(path).status, if names_nothing { 404 } else { 200 }, "{path}");
        }
    }
    // Rights that end meanwhile end at once.
    let account = number(&scene.admin.fill_in("/organization/accounts/new", &[("login", "second"), ("password", FIRST), ("administrator", "Y")]));
    let second = scene.first_sign_in("second");
    assert_eq!(second.get("/organization").status, 200);
    assert_eq!(scene.step(&account, "unmake-administrator").status, 200);
    assert_eq!(second.get("/organization").status, 403);
}

#[test]
fn a_project_gets_an_account_a_role_and_appkeys_and_the_log_says_who_gave_them() {
    let installation = Installation::new();
    let service = installation.start();
    let scene = Scene::new(&installation, &service);
    let project = scene.project("shop & <co>");
    let page = scene.admin.get(&format!("/organization/projects/{project}?done=added"));
    assert!(page.has("shop &#38; &#60;co&#62;") && page.has("Nobody has a role in this project yet") && page.has("with an appkey"), "{}", page.text);
    let account = scene.account("alice");
    scene.grant("alice", "ADMIN", &project);
    let alice = scene.first_sign_in("alice");
    assert_eq!(alice.get("/").to.as_deref(), Some(format!("/projects/{project}/key-stores").as_str()));
    let renamed = scene.admin.fill_in(&format!("/organization/projects/{project}/rename"), &[("name", "shop")]);
    assert_eq!(renamed.to.as_deref(), Some(format!("/organization/projects/{project}?done=renamed").as_str()));
    // v1.0 reads.
    let appkeys = installation.database().texts("appkey", &format!("appkeys WHERE project_id = {project}"));
    let reads = |appkey: &str| service.ask("GET", &format!("/keymanager/v1.0/appkey/{appkey}/keystores"), &[], None).status;
    for (to, status) in [("off", 403), ("on", 200)] {
        let set = scene.admin.fill_in(&format!("/organization/projects/{project}/reads/{to}"), &[]);
        assert_eq!(set.to.as_deref(), Some(format!("/organization/projects/{project}?done=reads").as_str()), "{}", set.text);
        assert_eq!(reads(&appkeys[0]), status, "{to}");
    }
    // Appkeys: an integrated one, and the last one stays.
    let delete = |appkey: &str| scene.admin.fill_in(&format!("/organization/projects/{project}/appkeys/{appkey}/delete"), &[]);
    let last = delete(&appkeys[0]);
    assert!(last.status == 422 && last.has("is the only one of its project: make another first") && last.has(&appkeys[0]), "{}", last.text);
    let new = format!("/organization/projects/{project}/appkeys/new");
    let wrong = scene.admin.fill_in(&new, &[("appkey", "too short")]);
    assert!(wrong.status == 422 && wrong.has("id=\"appkey-wrong\">must have 16 to 64") && wrong.has("too short"), "{}", wrong.text);
    assert_eq!(scene.admin.fill_in(&new, &[("appkey", "integratedAppkey2025")]).status, 200);
    assert!(delete(&appkeys[0]).to.is_some_and(|to| to.ends_with("?done=appkey-deleted")));
    assert_eq!((reads(&appkeys[0]), reads("integratedAppkey2025")), (404, 200));
    let records = scene.records(
        "actor_name = 'admin' AND operation IN ('CREATE_PROJECT', 'CHANGE_PROJECT', 'CREATE_ACCOUNT', 'GRANT_ROLE', 'CREATE_APPKEY', 'DELETE_APPKEY')",
    );
    let short = format!("{}…", &appkeys[0][..4]);
    let expected = [
        "account admin CREATE_PROJECT 0 shop & <co>".to_owned(),
        "account admin CREATE_ACCOUNT 0 alice".to_owned(),
        "account admin GRANT_ROLE 0 ADMIN of alice in shop & <co>".to_owned(),
        "account admin CHANGE_PROJECT 0 shop & <co> to shop".to_owned(),
        "account admin CHANGE_PROJECT 0 shop: inventory by appkey alone off".to_owned(),
        "account admin CHANGE_PROJECT 0 shop: inventory by appkey alone on".to_owned(),
        format!("account admin DELETE_APPKEY 4003 appkey {short}"),
        "account admin CREATE_APPKEY 4003 appkey must have 16 to 64 ASCII letters and digits".to_owned(),
        "account admin CREATE_APPKEY 0 appkey inte… of shop".to_owned(),
        format!("account admin DELETE_APPKEY 0 appkey {short}"),
    ];
    assert_eq!(records, expected);
    let told = installation
        .database()
        .count("audit_records WHERE operation = 'GRANT_ROLE' AND actor_name = 'admin' AND address = '127.0.0.1' AND user_agent LIKE 'ureq%'");
    assert_eq!(told, 1, "from where, with what");
    // The lists find it all.
    for (path, words) in [("projects?q=SHO", "shop"), ("accounts?q=ALI", "alice"), ("access-keys?q=adm", installation.demo("ACCESS_KEY_ID"))] {
        assert!(scene.admin.get(&format!("/organization/{path}")).has(words), "{path}");
    }
    let found = |path: &str, sort: &str| scene.admin.get(&format!("/organization/{path}?sort={sort}&dir=desc&size=30&page=1")).status;
    for (path, sort) in [("projects", "name"), ("projects", "created"), ("accounts", "login"), ("accounts", "status"), ("accounts", "created")] {
        assert_eq!(found(path, sort), 200);
    }
    for sort in ["id", "login", "created"] {
        assert_eq!(found("access-keys", sort), 200);
    }
    assert!(scene.admin.get("/organization/accounts?q=nobody-of-that-name").has("Nothing matches the search."));
    let page = scene.admin.get(&format!("/organization/accounts/{account}"));
    assert!(page.has("shop") && page.has("ADMIN") && page.has("127.0.0.1"), "{}", page.text);
}

#[test]
fn what_is_wrong_stands_at_its_field_and_passwords_are_typed_again() {
    let installation = Installation::new();
    let service = installation.start();
    let scene = Scene::new(&installation, &service);
    scene.account("alice");
    /// Where the form is, what is typed, the field and what stands at it.
    type WrongForm<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a str, &'a str);
    let forms: [WrongForm<'_>; 8] = [
        ("/organization/projects/new", &[("name", "")], "name", "must have 1 to 100 characters"),
        ("/organization/projects/new", &[("name", "demo")], "name", "is taken"),
        ("/organization/accounts/new", &[("login", "a b"), ("password", FIRST)], "login", "must have 1 to 64"),
        ("/organization/accounts/new", &[("login", "alice"), ("password", FIRST)], "login", "is taken"),
        ("/organization/accounts/new", &[("login", "bob"), ("password", "short")], "password", "must have 12 characters or more"),
        ("/organization/projects/1/members/new", &[("login", "bob"), ("role", "ADMIN")], "login", "names no account"),
        ("/organization/projects/1/members/new", &[("login", "alice"), ("role", "ROOT")], "role", "must be one of"),
        ("/organization/projects/1/members/new", &[("login", "admin"), ("role", "ADMIN")], "role", "is taken"),
    ];
    for (path, fields, field, problem) in forms {
        let refused = scene.admin.fill_in(path, fields);
        assert_eq!(refused.status, 422, "{path} {fields:?}: {}", refused.text);
        let (_, wrong) = refused.text.split_once(&format!("id=\"{field}-wrong\">")).unwrap_or_else(|| panic!("no problem at {field}: {}", refused.text));
        assert!(wrong.starts_with(problem), "{wrong}");
        for (name, typed) in fields {
            let is_there = refused.has(&format!("value=\"{typed}\""));
            assert_eq!(is_there, *name != "password" && *typed != "ROOT", "{path} {name}: {}", refused.text);
        }
        assert!(!refused.has(FIRST), "{}", refused.text);
    }
    let foreign = scene.admin.post("/organization/projects/new", &[("csrf", "0"), ("name", "mallory's")]);
    assert!(foreign.status == 422 && foreign.has("earlier session"), "{}", foreign.text);
    assert_eq!(installation.database().count("projects"), 1);
    // Without the script.
    let plain = scene.admin.get("/organization/projects/new");
    assert!(plain.has("<html") && plain.has("Add Project"), "{}", plain.text);
    let made = scene.admin.post("/organization/projects/new", &[("csrf", &plain.hidden("csrf")), ("name", "plain")]);
    assert_eq!((made.status, made.to.is_some_and(|to| to.ends_with("?done=added"))), (303, true));
    // The log never has what was typed as a password.
    assert_eq!(installation.database().count(&format!("audit_records WHERE detail LIKE '%{FIRST}%'")), 0);
}

#[test]
fn what_somebody_else_changed_meanwhile_is_not_overwritten() {
    let installation = Installation::new();
    let service = installation.start();
    let scene = Scene::new(&installation, &service);
    let account = scene.account("alice");
    let forms = [
        ("/organization/projects/1/rename".to_owned(), "/organization/projects/1/reads/off".to_owned()),
        ("/organization/projects/1/reads/on".to_owned(), "/organization/projects/1/rename".to_owned()),
        (format!("/organization/accounts/{account}/steps/disable"), format!("/organization/accounts/{account}/password")),
        (format!("/organization/accounts/{account}/password"), format!("/organization/accounts/{account}/steps/make-administrator")),
        (format!("/organization/accounts/{account}/steps/end-sessions"), format!("/organization/accounts/{account}/steps/unmake-administrator")),
    ];
    for (open, meanwhile) in forms {
        let form = scene.admin.ask(&open);
        let fields = [("name", "another name"), ("password", "another first password")];
        let changed = scene.admin.fill_in(&meanwhile, &fields);
        assert!(changed.to.is_some(), "{meanwhile}: {}", changed.text);
        let before = installation.database().texts("name || appkey_reads", "projects ORDER BY id");
        let (csrf, seen) = (form.hidden("csrf"), form.hidden("seen"));
        let late = scene.admin.send_form(&open, &[("csrf", &csrf), ("seen", &seen), ("name", "late"), ("password", "late password of a late form")]);
        assert!(late.status == 422 && late.has("Somebody else changed this meanwhile"), "{open}: {}", late.text);
        assert_eq!(installation.database().texts("name || appkey_reads", "projects ORDER BY id"), before);
        // And a form that says nothing has seen nothing.
        let blind = scene.admin.send_form(&open, &[("csrf", &csrf), ("name", "blind"), ("password", "blind password of a form")]);
        assert!(blind.status == 422 && blind.has("Somebody else changed this meanwhile"), "{open}: {}", blind.text);
    }
    assert_eq!(installation.database().texts("enabled", "accounts WHERE login = 'alice'"), ["1"]);
}

#[test]
fn an_admin_manages_the_members_of_his_own_project_alone() {
    let installation = Installation::new();
    let service = installation.start();
    let scene = Scene::new(&installation, &service);
    let (alice, vera, api) = (scene.somebody("alice", Some("ADMIN")), scene.somebody("vera", Some("VIEWER")), scene.somebody("api", Some("API.ADMIN")));
    let foreign = scene.project("foreign");
    scene.account("bob");
    let list = alice.get("/projects/1/members");
    assert!(list.has("vera") && list.has("API.ADMIN") && !list.has("bob"), "nobody from elsewhere is shown: {}", list.text);
    assert!(alice.get("/projects/1/key-stores").to.is_some() && alice.get("/account/access-keys").status == 200);
    for role in ["VIEWER", "APPROVAL MEMBER"] {
        let granted = alice.fill_in("/projects/1/members/new", &[("login", "bob"), ("role", role)]);
        assert_eq!(granted.to.as_deref(), Some("/projects/1/members?done=granted"), "{}", granted.text);
    }
    assert!(alice.get("/projects/1/members?q=BO").has("APPROVAL MEMBER"));
    let revoked = alice.fill_in("/projects/1/members/revoke?login=bob&role=APPROVAL+MEMBER", &[]);
    assert_eq!(revoked.to.as_deref(), Some("/projects/1/members?done=revoked"), "{}", revoked.text);
    let again = alice.fill_in("/projects/1/members/revoke?login=bob&role=APPROVAL+MEMBER", &[]);
    assert!(again.status == 422 && again.has("is none that the account has in the project"), "{}", again.text);
    let own = alice.fill_in("/projects/1/members/revoke?login=alice&role=ADMIN", &[]);
    assert!(own.status == 422 && own.has("is what lets you do this"), "{}", own.text);
    // Others, and elsewhere.
    for (person, status) in [(&vera, 403), (&api, 403)] {
        let csrf = person.ask("/account/password").hidden("csrf");
        for path in ["/projects/1/members", "/projects/1/members/new", "/projects/1/members/revoke?login=alice&role=ADMIN"] {
            assert_eq!(person.get(path).status, status, "{path}");
        }
        let fields = [("csrf", csrf.as_str()), ("login", "bob"), ("role", "ADMIN")];
        for path in ["/projects/1/members/new", "/projects/1/members/revoke?login=alice&role=ADMIN"] {
            assert_eq!(person.post(path, &fields).status, status, "{path}");
        }
    }
    let csrf = alice.ask("/account/password").hidden("csrf");
    for elsewhere in [foreign.as_str(), "999"] {
        let base = format!("/projects/{elsewhere}/members");
        for path in [base.clone(), format!("{base}/new"), format!("{base}/revoke?login=bob&role=ADMIN"), format!("/projects/{elsewhere}/endpoint")] {
            assert_eq!(alice.get(&path).status, 404, "as if it weren't there: {path}");
        }
        assert_eq!(alice.post(&format!("{base}/new"), &[("csrf", &csrf), ("login", "alice"), ("role", "ADMIN")]).status, 404);
    }
    assert_eq!(installation.database().count(&format!("account_roles WHERE project_id = {foreign}")), 0);
    let records = scene.records("actor_name = 'alice' AND operation IN ('GRANT_ROLE', 'REVOKE_ROLE')");
    assert_eq!(records.iter().filter(|record| record.contains(" 0 ")).count(), 3, "{records:?}");
    assert!(records.contains(&"account alice REVOKE_ROLE 4003 ADMIN of alice in demo".to_owned()), "{records:?}");
    assert!(scene.records("actor_name = 'vera' AND operation = 'GRANT_ROLE'")[0].starts_with("account vera GRANT_ROLE 1003"));
}

#[test]
fn accounts_are_disabled_reset_and_made_administrators_but_not_the_last_and_not_oneself() {
    let installation = Installation::new();
    let service = installation.start();
    let scene = Scene::new(&installation, &service);
    let account = scene.account("alice");
    scene.grant("alice", "ADMIN", "1");
    let alice = scene.first_sign_in("alice");
    // Ended, not disabled.
    let page = scene.admin.get(&format!("/organization/accounts/{account}"));
    let end = page.text.split("href=\"").find(|rest| rest.contains("/sessions/")).and_then(|rest| rest.split('"').next()).expect("a session").to_owned();
    assert!(scene.admin.fill_in(&end, &[]).to.is_some_and(|to| to.ends_with("?done=ended")));
    assert_eq!(alice.get("/projects/1/members").to.as_deref(), Some("/sign-in?next=%2Fprojects%2F1%2Fmembers"));
    let alice = Person::sign_in(&installation, &service, "alice", OWN);
    assert!(scene.step(&account, "end-sessions").to.is_some());
    assert_eq!(alice.get("/projects/1/members").status, 303);
    // Disabled, enabled.
    let alice = Person::sign_in(&installation, &service, "alice", OWN);
    assert!(scene.step(&account, "disable").to.is_some());
    assert_eq!(alice.get("/projects/1/members").status, 303, "at once");
    assert!(scene.step(&account, "enable").to.is_some());
    assert_eq!(alice.get("/projects/1/members").status, 303, "its sessions have ended for good");
    // A new first password.
    let reset = scene.admin.fill_in(&format!("/organization/accounts/{account}/password"), &[("password", FIRST)]);
    assert!(reset.to.is_some_and(|to| to.ends_with("?done=password")));
    scene.first_sign_in("alice");
    // The last administrator, and oneself.
    let own = scene.admin.get("/organization/accounts/1");
    assert!(own.has("This is your own account") && !own.has("/steps/disable"), "{}", own.text);
    for (step, told) in [("disable", "is your own: another administrator disables it"), ("unmake-administrator", "is your own: another administrator")] {
        let refused = scene.step("1", step);
        assert!(refused.status == 422 && refused.has(told), "{step}: {}", refused.text);
    }
    let refused = scene.admin.fill_in("/organization/accounts/1/password", &[("password", FIRST)]);
    assert!(refused.status == 422 && refused.has("is your own: change your password under"), "{}", refused.text);
    for command in ["disable", "unmake-administrator"] {
        let (code, _, told) = installation.run(&["admin", "account", command, "admin"]);
        assert_eq!((code, told.trim()), (1, "skm: login names the last administrator who is enabled: make another one first"), "{command}");
    }
    assert!(scene.step(&account, "make-administrator").to.is_some());
    let (code, _, told) = installation.run(&["admin", "account", "unmake-administrator", "admin"]);
    assert_eq!(code, 0, "{told}");
    assert_eq!(scene.admin.get("/organization").status, 403);
    let (code, _, _) = installation.run(&["admin", "account", "disable", "alice"]);
    assert_eq!(code, 1, "now she is the last one");
    // Access keys of others.
    let alice = Person::sign_in(&installation, &service, "alice", OWN);
    let (key, secret) = (installation.demo("ACCESS_KEY_ID"), installation.demo("SECRET_ACCESS_KEY"));
    let headers = [("X-TC-AUTHENTICATION-ID", key), ("X-TC-AUTHENTICATION-SECRET", secret)];
    let path = format!("/keymanager/v1.2/appkey/{}/confirm", installation.demo("APPKEY"));
    for (step, status) in [("disable", 401), ("enable", 200), ("delete", 401)] {
        let done = alice.fill_in(&format!("/organization/access-keys/{key}/{step}?account=1"), &[]);
        assert_eq!(done.to.as_deref(), Some(format!("/organization/accounts/1?done=key-{step}").as_str()), "{}", done.text);
        assert_eq!(service.ask("GET", &path, &headers, None).status, status, "{step}");
    }
    let records = scene.records("operation IN ('CHANGE_ACCOUNT', 'SIGN_OUT', 'CHANGE_ACCESS_KEY', 'DELETE_ACCESS_KEY') AND actor_kind = 'account'");
    for expected in [
        "account admin SIGN_OUT 0 a session of alice".to_owned(),
        "account admin SIGN_OUT 0 all sessions of alice".to_owned(),
        "account admin CHANGE_ACCOUNT 0 alice disabled".to_owned(),
        "account admin CHANGE_ACCOUNT 0 password of alice".to_owned(),
        "account admin CHANGE_ACCOUNT 4003 admin disabled".to_owned(),
        "account admin CHANGE_ACCOUNT 0 alice administrator".to_owned(),
        format!("account alice DELETE_ACCESS_KEY 0 {key}"),
    ] {
        assert!(records.contains(&expected), "{expected}: {records:#?}");
    }
}

/// Of another node, with a data directory of its own.
fn as_node(installation: &Installation, node: &str, arguments: &[&str]) -> Command {
    let mut command = installation.command(arguments);
    command.env("SKM_SERVER__NODE", node).env("SKM_SERVER__DATA_DIR", installation.path().join(format!("data-{node}")));
    command
}

#[test]
fn two_nodes_never_take_the_last_two_administrators_and_end_sessions_everywhere() {
    let cluster = Cluster::start();
    let installation = Installation::with(&[("SKM_DATABASE__URL", &cluster.uri())]);
    let (one, two) = (installation.start(), installation.start_node("two"));
    let scene = Scene::new(&installation, &one);
    let account = number(&scene.admin.fill_in("/organization/accounts/new", &[("login", "second"), ("password", FIRST), ("administrator", "Y")]));
    let elsewhere =
        Scene { installation: &installation, service: &two, admin: Person::sign_in(&installation, &two, "admin", installation.demo("ADMIN_PASSWORD")) };
    let second = elsewhere.first_sign_in("second");
    assert_eq!(second.get("/organization").status, 200);
    assert!(scene.step(&account, "disable").to.is_some());
    let began = Instant::now();
    while second.get("/organization").status == 200 {
        assert!(began.elapsed() < PATIENCE, "its session is good on the other node still");
    }
    assert!(scene.step(&account, "enable").to.is_some());
    // Each node takes the other's away, at once.
    for round in 0..6 {
        let disable = |login| ["admin", "account", "disable", login];
        let first = as_node(&installation, "two", &disable("second")).spawn().expect("skm");
        let other = installation.command(&disable("admin")).spawn().expect("skm");
        let codes = [first, other].map(|child| child.wait_with_output().expect("an end").status.code());
        assert_eq!(codes.iter().filter(|code| **code == Some(0)).count(), 1, "round {round}: {codes:?}");
        assert_eq!(installation.database().count("accounts WHERE administrator AND enabled"), 1, "round {round}");
        for login in ["admin", "second"] {
            let (code, _, told) = installation.run(&["admin", "account", "enable", login]);
            assert_eq!(code, 0, "{told}");
        }
    }
}

/// Each on a node of his own, at once: whoever comes second may no longer.
#[test]
fn two_administrators_never_take_each_others_right_away() {
    let cluster = Cluster::start();
    let installation = Installation::with(&[("SKM_DATABASE__URL", &cluster.uri())]);
    let (one, two) = (installation.start(), installation.start_node("two"));
    let scene = Scene::new(&installation, &one);
    let [first, second] = ["first", "second"]
        .map(|login| number(&scene.admin.fill_in("/organization/accounts/new", &[("login", login), ("password", FIRST), ("administrator", "Y")])));
    let [here, there] = [("first", &one), ("second", &two)].map(|(login, service)| {
        let admin = Person::sign_in(&installation, service, "admin", installation.demo("ADMIN_PASSWORD"));
        Scene { installation: &installation, service, admin }.first_sign_in(login)
    });
    // Nobody gets on before both have begun.
    let mut holding = installation.database();
    holding.run("BEGIN; UPDATE settings SET value = value WHERE name = 'administrators'");
    let statuses = std::thread::scope(|scope| {
        let asked = [(&here, &second), (&there, &first)].map(|(person, account)| {
            let path = format!("/organization/accounts/{account}/steps/unmake-administrator");
            let question = person.get(&path);
            let (csrf, seen) = (question.hidden("csrf"), question.hidden("seen"));
            scope.spawn(move || person.post(&path, &[("csrf", &csrf), ("seen", &seen)]).status == 303)
        });
        let (began, waiting) = (Instant::now(), "pg_stat_activity WHERE application_name = 'skm' AND wait_event_type = 'Lock'");
        let mut watching = installation.database();
        while watching.count(waiting) < 2 {
            assert!(began.elapsed() < PATIENCE, "they don't wait for each other");
        }
        holding.run("COMMIT");
        asked.map(|thread| thread.join().expect("a thread"))
    });
    assert_eq!(statuses.iter().filter(|done| **done).count(), 1, "{statuses:?}");
    assert_eq!(installation.database().count("accounts WHERE administrator AND login IN ('first', 'second')"), 1);
}

/// The lines of the page, as a person copies them.
fn lines(page: &Page) -> Vec<String> {
    let copied = page.text.split("data-copy=\"").skip(1).filter_map(|rest| rest.split('"').next());
    copied.map(|line| line.replace("&#39;", "'").replace("&#34;", "\"").replace("&#38;", "&")).collect()
}

#[test]
fn the_lines_of_url_and_appkey_work_when_they_are_pasted() {
    let installation = Installation::new();
    let service = installation.start();
    let scene = Scene::new(&installation, &service);
    let directory = tempfile::tempdir().expect("a directory");
    let paste = |line: &str| {
        let output = Command::new("sh").args(["-c", line]).current_dir(directory.path()).output().expect("a shell");
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    let vera = scene.somebody("vera", Some("VIEWER"));
    for person in [&scene.admin, &vera] {
        let page = person.get("/projects/1/endpoint");
        assert_eq!(page.status, 200, "{}", page.text);
        let all = lines(&page);
        let line = |words: &str| all.iter().find(|line| line.contains(words)).unwrap_or_else(|| panic!("no {words}: {all:?}")).clone();
        assert!(all.contains(&installation.demo("APPKEY").to_owned()), "{all:?}");
        let learnt = paste(&line("/pki/ca.pem"));
        let fingerprint = learnt.trim().rsplit('=').next().expect("a fingerprint").to_owned();
        assert!(fingerprint.len() == 95 && page.has(&fingerprint), "{learnt}");
        let answer = |line: &str| serde_json::from_str::<serde_json::Value>(&paste(line)).unwrap_or_else(|error| panic!("{line}: {error}"));
        assert_eq!(answer(&line("v1.0/appkey/"))["header"]["resultCode"], 0);
        let made = answer(&line("/encrypt"));
        assert_eq!(made["header"]["resultCode"], 0, "{made}");
        assert!(made["body"]["ciphertext"].is_string(), "{made}");
        let own = |line: String| {
            line.replace("USER_ACCESS_KEY_ID", installation.demo("ACCESS_KEY_ID")).replace("SECRET_ACCESS_KEY", installation.demo("SECRET_ACCESS_KEY"))
        };
        assert_eq!(answer(&own(line("/keystores")))["header"]["resultCode"], 0);
        let token = answer(&own(line("/oauth2/token/create")));
        let token = token["access_token"].as_str().unwrap_or_else(|| panic!("{token}"));
        assert_eq!(answer(&line("ACCESS_TOKEN").replace("ACCESS_TOKEN", token))["header"]["resultCode"], json!(0));
    }
    let empty = scene.project("empty");
    let page = scene.admin.get(&format!("/projects/{empty}/endpoint"));
    assert!(page.has("no symmetric key in service yet") && !page.has("/encrypt"), "{}", page.text);
    let manual = scene.somebody("nobody", None).get("/manual");
    assert!(manual.has("Deletion in two steps") && manual.has("/docs"), "{}", manual.text);
    assert_eq!(Person::stranger(&installation, &service).get("/manual").to.as_deref(), Some("/sign-in?next=%2Fmanual"));
    // Whose access keys alone may do something in a project finds what they need from the start page.
    for (login, role, is_there) in [("abel", Some("API.ADMIN"), true), ("axel", Some("API.VIEWER"), true), ("nora", None, false)] {
        let person = scene.somebody(login, role);
        let start = person.get("/");
        assert!(start.status == 200 && start.has("No project"), "{login}: {}", start.text);
        assert_eq!(start.has("href=\"/projects/1/endpoint\""), is_there, "{login}: {}", start.text);
        let endpoint = person.get("/projects/1/endpoint");
        assert_eq!(endpoint.status == 200 && endpoint.has(installation.demo("APPKEY")), is_there, "{login}: {}", endpoint.text);
    }
}

/// What an address holds comes into the forms that its page shows: read first, so that a link leads to nothing but what it says.
#[test]
fn a_crafted_link_asks_for_nothing_else() {
    let installation = Installation::new();
    let service = installation.start();
    let admin = Person::administrator(&installation, &service);
    let away = "..%2F..%2Fprojects%2F1%2Fmembers%2Frevoke%3Flogin=admin%26role=ADMIN%26x=";
    for path in [
        format!("/organization/access-keys/{away}/disable"),
        format!("/organization/projects/1/appkeys/{away}/delete"),
        format!("/organization/accounts/1/sessions/{away}/end"),
        format!("/account/access-keys/{away}/disable"),
        format!("/account/sessions/{away}/end"),
        format!("/projects/1/key-stores/{away}/delete"),
        format!("/projects/1/key-stores/1/keys/{away}/steps/rotate"),
        format!("/projects/1/notifications/{away}/delete"),
    ] {
        let page = admin.get(&path);
        assert!(page.status == 404 && !page.has("revoke?"), "{path}: {} {}", page.status, page.text);
    }
    // Nor is another project's appkey deleted by an address of this one.
    let other = installation.run(&["admin", "project", "create", "other"]);
    assert_eq!(other.0, 0, "{}", other.2);
    let id = installation.database().number("id", "projects WHERE name = 'other'");
    let path = format!("/organization/projects/{id}/appkeys/{}/delete", installation.demo("APPKEY"));
    assert_eq!(admin.get(&path).status, 404);
    let token = admin.get("/account").hidden("csrf");
    assert!(!admin.post(&path, &[("csrf", &token)]).to.unwrap_or_default().contains("done="));
    assert_eq!(installation.database().count("appkeys"), 2);
    // An address that can't be read is no page, and nothing is told in another voice.
    for path in ["/projects/x/usage", "/projects/1/members?q=%ff&q=x", "/organization/accounts/99999999999999999999", "/projects/x/statistics"] {
        let page = admin.get(path);
        assert!(page.status == 404 && page.has("There is no such page"), "{path}: {page:?}");
    }
}

#[test]
fn health_says_in_words_what_is_wrong() {
    let installation = Installation::new();
    let service = installation.start();
    let scene = Scene::new(&installation, &service);
    let health = scene.admin.get("/organization/health");
    for words in
        ["SQLite", "skm", "Missing objects", "Objects that no row names", "Server certificate expires", "forget_sessions", "reconcile", "ms ago", "dev"]
    {
        assert!(health.has(words), "{words}: {}", health.text);
    }
    assert!(health.has("<span class=\"badge good\">OK</span>") && !health.has("badge bad"), "{}", health.text);
    let overview = scene.admin.get("/organization");
    assert!(overview.has("badge good\">OK") && overview.has("/organization/audit"), "{}", overview.text);
    // Nobody knows any more which object the demo's key has: one that is missing, and one that no row names.
    let (status, log) = service.stop();
    assert!(status.success(), "{log}");
    let key = installation.demo("SYMMETRIC_ID");
    installation.database().run(&format!("UPDATE token_objects SET object_id = '{}' WHERE key_id = '{key}'", "f".repeat(32)));
    let service = installation.start();
    let scene = Scene::new(&installation, &service);
    let began = Instant::now();
    let health = loop {
        let health = scene.admin.get("/organization/health");
        if health.has("badge bad") {
            break health;
        }
        assert!(began.elapsed() < PATIENCE, "{}", health.text);
    };
    assert!(health.has(">Alarm</span>") && health.has(&format!("{key} version")), "{}", health.text);
    assert!(health.has(">Warning</span>") && health.has("skm hsm orphans lists them"), "{}", health.text);
    assert!(scene.admin.get("/organization").has("badge bad\">Alarm"));
}
