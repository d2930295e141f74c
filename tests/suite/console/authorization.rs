//! Every route of the console, asked by everybody there is: the table says who may, and a route that it doesn't know fails.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::person::{PASSWORD, Page, Person, make_account};
use crate::support::installation::{Installation, Running};

/// Who passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    /// Whoever comes by.
    Everybody,
    /// Whoever is signed in, about himself.
    SignedIn,
    /// Who sees the project's inventory.
    Readers,
    /// Who changes things in the project.
    Admins,
    /// Who has any role in the project, or administers the installation.
    Members,
    /// Who says who is a member: `ADMIN`s of the project, and who administers the installation.
    Keepers,
    /// Who administers the installation.
    Administrators,
    /// Who changes things in the project at once: nobody where approval is on.
    Changers,
    /// Who works on drafts where approval is on; where it is off, whoever sees the project is led to Key Depository.
    Drafters,
    /// Who asks for changes of the project.
    Askers,
    /// Whom it concerns how approval stands: who asks, and who administers the installation.
    Concerned,
    /// Who decides upon what others ask for.
    Approvers,
}

use Who::{Administrators, Admins, Approvers, Askers, Changers, Concerned, Drafters, Everybody, Keepers, Members, Readers, SignedIn};

const REQUEST: &str = "/projects/{project}/approvals/{request}";
/// The two doors to key stores, and who changes something behind each.
const DOORS: [(&str, Who, Who); 2] = [("/projects/{project}/key-stores", Readers, Changers), ("/projects/{project}/management", Drafters, Drafters)];

/// Each route: its path, who may `GET` it, who may `POST` to it.
fn table() -> BTreeMap<String, (Option<Who>, Option<Who>)> {
    let mut table: BTreeMap<String, (Option<Who>, Option<Who>)> = [
        ("/", Some(SignedIn), None),
        ("/sign-in", Some(Everybody), Some(Everybody)),
        ("/sign-in/code", Some(Everybody), Some(Everybody)),
        ("/sign-out", None, Some(SignedIn)),
        ("/assets/{name}", Some(Everybody), None),
        ("/account", Some(SignedIn), None),
        ("/account/password", Some(SignedIn), Some(SignedIn)),
        ("/account/second-factor/begin", None, Some(SignedIn)),
        ("/account/second-factor", Some(SignedIn), Some(SignedIn)),
        ("/account/second-factor/off", Some(SignedIn), Some(SignedIn)),
        ("/account/sessions/others/end", Some(SignedIn), Some(SignedIn)),
        ("/account/sessions/{session}/end", Some(SignedIn), Some(SignedIn)),
        ("/account/access-keys", Some(SignedIn), None),
        ("/account/access-keys/new", Some(SignedIn), Some(SignedIn)),
        ("/account/access-keys/{id}/edit", Some(SignedIn), Some(SignedIn)),
        ("/account/access-keys/{id}/enable", None, Some(SignedIn)),
        ("/account/access-keys/{id}/disable", Some(SignedIn), Some(SignedIn)),
        ("/account/access-keys/{id}/delete", Some(SignedIn), Some(SignedIn)),
        ("/projects/{project}/approvals", Some(Askers), None),
        (REQUEST, Some(Askers), None),
        ("/projects/{project}/governance", Some(Concerned), None),
        ("/projects/{project}/governance/on", Some(Keepers), Some(Keepers)),
        ("/projects/{project}/governance/off", Some(Admins), Some(Admins)),
        ("/projects/{project}/governance/expiry", Some(Admins), Some(Admins)),
        ("/projects/{project}/governance/acknowledge", Some(Keepers), Some(Keepers)),
        ("/projects/{project}/governance/ask/{wanted}", Some(Admins), Some(Admins)),
        ("/projects/{project}/usage", Some(Readers), None),
        ("/projects/{project}/usage/download", Some(Readers), None),
        ("/projects/{project}/usage/records/{place}", Some(Readers), None),
        ("/projects/{project}/statistics", Some(Readers), None),
        ("/projects/{project}/statistics/csv/{of}", Some(Readers), None),
        ("/projects/{project}/endpoint", Some(Members), None),
        ("/projects/{project}/members", Some(Keepers), None),
        ("/projects/{project}/members/new", Some(Keepers), Some(Keepers)),
        ("/projects/{project}/members/revoke", Some(Keepers), Some(Keepers)),
        ("/manual", Some(SignedIn), None),
    ]
    .into_iter()
    .map(|(path, get, post)| (path.to_owned(), (get, post)))
    .collect();
    for (act, who) in [("request", Askers), ("withdraw", Askers), ("changes/{position}/withdraw", Askers), ("approve", Approvers), ("deny", Approvers)] {
        table.insert(format!("{REQUEST}/{act}"), (Some(who), Some(who)));
    }
    table.insert(format!("{REQUEST}/changes/{{position}}/download"), (None, Some(Admins)));
    for (door, sees, changes) in DOORS {
        table.extend(key_stores(door, sees, changes));
    }
    for (rest, is_form) in [
        ("", false),
        ("/audit", false),
        ("/audit/download", false),
        ("/audit/records/{place}", false),
        ("/health", false),
        ("/projects", false),
        ("/projects/new", true),
        ("/projects/{project}", false),
        ("/projects/{project}/rename", true),
        ("/projects/{project}/reads/{to}", true),
        ("/projects/{project}/appkeys/new", true),
        ("/projects/{project}/appkeys/{appkey}/delete", true),
        ("/projects/{project}/members/new", true),
        ("/projects/{project}/members/revoke", true),
        ("/accounts", false),
        ("/accounts/new", true),
        ("/accounts/{account}", false),
        ("/accounts/{account}/password", true),
        ("/accounts/{account}/steps/{step}", true),
        ("/accounts/{account}/sessions/{session}/end", true),
        ("/access-keys", false),
        ("/access-keys/{id}/{step}", true),
    ] {
        table.insert(format!("/organization{rest}"), (Some(Administrators), is_form.then_some(Administrators)));
    }
    for (place, who) in [("/projects/{project}/notifications", Admins), ("/organization/notifications", Administrators)] {
        for (rest, get, post) in [
            ("", true, false),
            ("/new", true, true),
            ("/{recipient}", true, false),
            ("/{recipient}/edit", true, true),
            ("/{recipient}/test", false, true),
            ("/{recipient}/enable", false, true),
            ("/{recipient}/disable", false, true),
            ("/{recipient}/delete", true, true),
            ("/{recipient}/messages/{message}/send", false, true),
            ("/{recipient}/messages/{message}/discard", true, true),
        ] {
            table.insert(format!("{place}{rest}"), (get.then_some(who), post.then_some(who)));
        }
    }
    table
}

/// The routes of key stores behind a door: its path, who sees something there, who changes something.
fn key_stores(door: &str, sees: Who, changes: Who) -> BTreeMap<String, (Option<Who>, Option<Who>)> {
    let data = if door.ends_with("/management") { Drafters } else { Admins };
    let mut table = BTreeMap::from([(door.to_owned(), (Some(sees), None)), (format!("{door}/new"), (Some(changes), Some(changes)))]);
    let store = format!("{door}/{{store}}");
    for (rest, get, post) in [
        ("", Some(sees), None),
        ("/details", Some(sees), None),
        ("/edit", Some(changes), Some(changes)),
        ("/delete", Some(changes), Some(changes)),
        ("/keys/new/{content}", Some(changes), Some(changes)),
        ("/keys/{key}", Some(sees), None),
        ("/keys/{key}/data", None, Some(data)),
        ("/keys/{key}/edit", Some(changes), Some(changes)),
        ("/keys/{key}/steps/{step}", Some(changes), Some(changes)),
        ("/keys/{key}/versions/{version}/steps/{step}", Some(changes), Some(changes)),
        ("/certificates/sign", Some(changes), Some(changes)),
        ("/certificates/download", None, Some(data)),
    ] {
        table.insert(format!("{store}{rest}"), (get, post));
    }
    for method in ["ipv4", "macs", "certificates"] {
        let routes = [("", sees, None), ("/details", sees, None), ("/new", changes, Some(changes))];
        let ends = ["/request-deletion", "/restore", "/delete"].map(|rest| (rest, changes, Some(changes)));
        for (rest, get, post) in routes.into_iter().chain(ends) {
            table.insert(format!("{store}/{method}{rest}"), (Some(get), post));
        }
    }
    for method in ["ipv4", "macs"] {
        table.insert(format!("{store}/{method}/csv"), (Some(changes), Some(changes)));
        table.insert(format!("{store}/{method}/csv/register"), (None, Some(changes)));
        table.insert(format!("{store}/{method}/csv/template"), (Some(sees), None));
        table.insert(format!("{store}/{method}/csv/download"), (Some(sees), None));
    }
    table
}

/// What fills the placeholders.
#[derive(Debug, Clone)]
struct Things {
    project: String,
    store: String,
    key: String,
    access_key: String,
    appkey: String,
    /// Nobody who signs in here.
    account: String,
    value: &'static str,
}

impl Things {
    fn fill(&self, path: &str) -> String {
        let mut filled = path.to_owned();
        for (placeholder, with) in [
            ("{project}", self.project.as_str()),
            ("{store}", &self.store),
            ("{key}", &self.key),
            ("{id}", &self.access_key),
            ("{appkey}", &self.appkey),
            ("{account}", &self.account),
            ("{place}", "0.0"),
            ("{request}", &"0".repeat(32)),
            ("{position}", "0"),
            ("{of}", "operations"),
            ("{to}", "off"),
            ("{content}", "symmetric-key"),
            ("{step}", if path.starts_with("/organization") { "disable" } else { "request-deletion" }),
            ("{version}", "0"),
            ("{session}", &"0".repeat(64)),
            ("{name}", "nothing"),
            ("{recipient}", "0"),
            ("{message}", &"0".repeat(32)),
            ("{of}", "keys"),
            ("{wanted}", "account"),
        ] {
            filled = filled.replace(placeholder, with);
        }
        assert!(!filled.contains('{'), "{path} has a placeholder that this test can't fill");
        let names_entry = ["/details", "/request-deletion", "/restore"].iter().any(|end| filled.ends_with(end)) && !filled.contains("/keys/");
        let is_client = filled.contains("/ipv4/") || filled.contains("/macs/") || filled.contains("/certificates/");
        if filled.ends_with("/members/revoke") {
            return format!("{filled}?login=vera&role=VIEWER");
        }
        if is_client && (names_entry || filled.ends_with("/delete")) { format!("{filled}?value={}", self.value) } else { filled }
    }

    /// The entry that the demo has, of the path's method; of others there are none.
    fn is_there(path: &str) -> bool {
        let names_entry = ["/details", "/request-deletion", "/restore", "/delete"].iter().any(|end| path.ends_with(end));
        !(names_entry && (path.contains("/macs/") || path.contains("/certificates/"))
            || ["{session}", "{name}", "{place}", "{request}", "{recipient}"].iter().any(|nowhere| path.contains(nowhere)))
    }
}

/// Everybody there is, with what he is in the demo's project.
const PEOPLE: [(&str, &str); 8] = [
    ("anna", "ADMIN"),
    ("vera", "VIEWER"),
    ("axel", "APPROVAL ADMIN"),
    ("mona", "APPROVAL MEMBER"),
    ("adam", "API.ADMIN"),
    ("viktor", "API.VIEWER"),
    ("olga", "administrator of the installation"),
    ("fred", "ADMIN of another project"),
];
const SEES: [&str; 4] = ["ADMIN", "VIEWER", "APPROVAL ADMIN", "APPROVAL MEMBER"];
const OTHER_PROJECT: &str = "elsewhere";

struct World<'a> {
    installation: &'a Installation,
    service: &'a Running,
    things: Things,
}

impl World<'_> {
    fn new<'a>(installation: &'a Installation, service: &'a Running) -> World<'a> {
        let (status, _, log) = installation.run(&["admin", "project", "create", OTHER_PROJECT]);
        assert_eq!(status, 0, "{log}");
        for (login, role) in PEOPLE {
            let roles = match role {
                "administrator of the installation" => vec![],
                "ADMIN of another project" => vec![("ADMIN", OTHER_PROJECT)],
                role => vec![(role, "demo")],
            };
            make_account(installation, login, &roles);
        }
        installation.database().run("UPDATE accounts SET administrator = TRUE WHERE login = 'olga'");
        let project = installation.database().number("id", "projects WHERE name = 'demo'").to_string();
        make_account(installation, "nora", &[]);
        let account = installation.database().number("id", "accounts WHERE login = 'nora'").to_string();
        let [access_key, appkey, key] = ["ACCESS_KEY_ID", "APPKEY", "SYMMETRIC_ID"].map(|name| installation.demo(name).to_owned());
        let things = Things { project, store: "1".to_owned(), key, access_key, appkey, account, value: "127.0.0.1" };
        World { installation, service, things }
    }

    fn turn_approval_on(&self) {
        let (status, _, log) = self.installation.run(&["admin", "approval", "enable", "--project", "demo"]);
        assert_eq!(status, 0, "{log}");
    }

    fn person(&self, login: &str) -> Person<'_> {
        Person::sign_in(self.installation, self.service, login, PASSWORD)
    }

    /// All that a change would show in.
    fn state(&self) -> Value {
        let mut database = self.installation.database();
        let mut rows = |what: &str, from: &str| json!(database.texts(what, &format!("{from} ORDER BY 1")));
        json!([
            rows("name || description || state || changed_at", "key_stores WHERE state <> 'PROVISIONING'"),
            rows("name || description || state || changed_at", "keys WHERE state <> 'PROVISIONING'"),
            rows("state || changed_at", "client_rules"),
            rows("enabled || token_life_seconds", "access_keys"),
            rows("name || appkey_reads", "projects"),
            rows("appkey || project_id", "appkeys"),
            rows("login || enabled || administrator || must_change_password", "accounts"),
            rows("account_id || role || project_id", "account_roles"),
        ])
    }
}

/// How a form is sent that is not to be taken.
const FORGED: [(&str, Option<&str>, &str); 4] = [
    ("from another site", Some("cross-site"), "right"),
    ("from nobody knows where", None, "right"),
    ("without a token", Some("same-origin"), "none"),
    ("with a token of another session", Some("same-origin"), "other"),
];

fn send(person: &Person<'_>, path: &str, site: Option<&str>, csrf: Option<&str>) -> Page {
    let headers: Vec<(&str, &str)> = site.map(|site| ("sec-fetch-site", site)).into_iter().collect();
    if path.contains("/csv") {
        return person.upload_with(path, &headers, csrf.unwrap_or_default(), b"10.9.9.9,never\n");
    }
    let mut fields = vec![("name", "never"), ("value", "127.0.0.1")];
    fields.extend(csrf.map(|csrf| ("csrf", csrf)));
    person.send("POST", path, &headers, Some(&fields)).0
}

/// What somebody with that role is answered who may not.
fn refusal(path: &str, role: &str) -> u16 {
    if role == "ADMIN of another project" && path.starts_with("/projects") { 404 } else { 403 }
}

/// Whether somebody may, and whether approval is on.
fn may_where(who: Who, role: &str, governed: bool) -> bool {
    let asks = ["ADMIN", "APPROVAL ADMIN", "APPROVAL MEMBER"].contains(&role);
    match who {
        Changers => !governed && role == "ADMIN",
        Drafters if !governed => SEES.contains(&role),
        Drafters | Askers => asks,
        Concerned => asks || role == "administrator of the installation",
        Approvers => role == "APPROVAL ADMIN",
        Everybody | SignedIn => true,
        Readers => SEES.contains(&role),
        Admins => role == "ADMIN",
        Members => role != "ADMIN of another project",
        Keepers => may(Admins, role) || may(Administrators, role),
        Administrators => role == "administrator of the installation",
    }
}

/// The same where approval is off.
fn may(who: Who, role: &str) -> bool {
    may_where(who, role, false)
}

#[test]
fn the_table_is_the_router() {
    let installation = Installation::new();
    let service = installation.start();
    let (stranger, table) = (Person::stranger(&installation, &service), table());
    let mut routes = skm::console::paths();
    routes.sort();
    let known: Vec<String> = table.keys().cloned().collect();
    assert_eq!(routes, known, "a route without a line in the table, or a line without a route");
    let one = || "1".to_owned();
    let (key, access_key, appkey) = ("0".repeat(32), "x".to_owned(), "x".to_owned());
    let things = Things { project: one(), store: one(), key, access_key, appkey, account: one(), value: "127.0.0.1" };
    for (path, (get, post)) in &table {
        let allow = stranger.send("PATCH", &things.fill(path), &[], None).0.allow.unwrap_or_else(|| panic!("{path}: no Allow"));
        let allowed: Vec<&str> = allow.split(',').filter(|method| *method != "HEAD").collect();
        let expected: Vec<&str> = get.map(|_| "GET").into_iter().chain(post.map(|_| "POST")).collect();
        assert_eq!(allowed, expected, "{path}");
    }
}

#[test]
fn everybody_is_answered_as_the_table_says() {
    let installation = Installation::new();
    let service = installation.start();
    let world = World::new(&installation, &service);
    let before = world.state();
    let stranger = Person::stranger(&installation, &service);
    for (path, (get, post)) in table() {
        let filled = world.things.fill(&path);
        if let Some(who) = get {
            let page = stranger.get(&filled);
            let expected = if who == Everybody { [200, 303, 404].as_slice() } else { &[303] };
            assert!(expected.contains(&page.status), "nobody: GET {path}: {page:?}");
            assert!(who == Everybody || page.to.as_deref().is_some_and(|to| to.starts_with("/sign-in")), "nobody: GET {path}: {page:?}");
        }
        if let Some(who) = post {
            let page = send(&stranger, &filled, Some("same-origin"), None);
            assert!(who == Everybody || (page.status == 303 && page.to.as_deref() == Some("/sign-in?ended")), "nobody: POST {path}: {page:?}");
            assert_eq!(send(&stranger, &filled, Some("cross-site"), None).status, 403, "nobody, from another site: POST {path}");
        }
    }
    let mut wrong = Vec::new();
    let mut note = |is_right: bool, what: String| {
        if !is_right {
            wrong.push(what)
        }
    };
    let other_token = world.person("vera").get("/account").hidden("csrf");
    for (login, role) in PEOPLE {
        let person = world.person(login);
        let token = person.get("/account").hidden("csrf");
        for (path, (get, post)) in table() {
            let filled = world.things.fill(&path);
            let (may_get, may_post) = (get.is_some_and(|who| may(who, role)), post.is_some_and(|who| may(who, role)));
            if get.is_some() {
                let page = person.get(&filled);
                let ok = if !may_get {
                    page.status == refusal(&path, role)
                } else if Things::is_there(&path) && !path.starts_with("/account/access-keys/{id}") {
                    matches!(page.status, 200 | 303)
                } else {
                    // One's own that isn't, or an entry that isn't: never somebody else's.
                    matches!(page.status, 404 | 303)
                };
                note(ok, format!("{role}: GET {path}: {}", page.status));
            }
            if post.is_none() {
                continue;
            }
            for (how, site, csrf) in FORGED {
                let csrf = match csrf {
                    "right" => Some(token.as_str()),
                    "other" => Some(other_token.as_str()),
                    _ => None,
                };
                let page = send(&person, &filled, site, csrf);
                // What can be shown again is shown again; what can't leads back.
                let ok = match (site, may_post) {
                    (Some("same-origin"), true) => matches!(page.status, 422 | 303 | 403 | 404 | 401 | 429),
                    (Some("same-origin"), false) => matches!(page.status, 422 | 303) || page.status == refusal(&path, role),
                    _ => page.status == 403,
                };
                note(ok && !page.to.as_deref().unwrap_or_default().contains("done="), format!("{role}, {how}: POST {path}: {} {:?}", page.status, page.to));
            }
            // With the token: whoever may not is refused, and told nothing.
            if !may_post {
                let page = send(&person, &filled, Some("same-origin"), Some(&token));
                note(page.status == refusal(&path, role), format!("{role}: POST {path}: {}", page.status));
            }
        }
        note(world.state() == before, format!("{role} has changed something"));
    }
    let anna = world.person("anna");
    let token = anna.get("/account").hidden("csrf");
    for (path, (_, post)) in table() {
        // What turns approval on has all that comes after it refused.
        let is_of_project = path.starts_with("/projects") && post.is_some() && !path.ends_with("/governance/on");
        if is_of_project {
            let page = send(&anna, &world.things.fill(&path), Some("same-origin"), Some(&token));
            // What these name may have gone in the walk, or never was there; nothing else may go wrong.
            let is_gone = (path.ends_with("/download") || path.ends_with("/data")) && page.status == 404;
            let is_taken = matches!(page.status, 200 | 303 | 422) || !Things::is_there(&path) || is_gone;
            note(is_taken, format!("ADMIN: POST {path}: {}", page.status));
        }
    }
    let after = world.state();
    note(after != before, "an ADMIN's own form is taken".to_owned());
    let olga = world.person("olga");
    let token = olga.get("/account").hidden("csrf");
    for (path, _) in table().into_iter().filter(|(path, (_, post))| path.starts_with("/organization") && post.is_some()) {
        let page = send(&olga, &world.things.fill(&path), Some("same-origin"), Some(&token));
        note(matches!(page.status, 200 | 303 | 422) || !Things::is_there(&path), format!("an administrator: POST {path}: {}", page.status));
    }
    note(world.state() != after, "an administrator's own form is taken".to_owned());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What becomes of a form where approval is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It is refused: approval is on.
    Refused,
    /// It goes into a draft, or becomes a request.
    Asked,
    /// It is a decision upon what is asked for, or turns approval on, or sees that it was turned off: no change of a key store, nor of who may make one.
    Decided,
    /// It belongs to no project, or is none of what needs approval: one's own account, the installation, data that is handed out.
    Elsewhere,
}

/// What becomes of each form of the table; one that isn't known fails.
fn fate(path: &str) -> Fate {
    let is_handed_out = path.ends_with("/data") || path.ends_with("/download");
    let is_of_members = path.ends_with("/members/new") || path.ends_with("/members/revoke");
    match path {
        _ if is_handed_out => Fate::Elsewhere,
        _ if path.starts_with("/projects/{project}/key-stores") => Fate::Refused,
        _ if path.starts_with("/projects/{project}/management") || is_of_members => Fate::Asked,
        _ if path.starts_with("/projects/{project}/approvals/") => Fate::Decided,
        "/projects/{project}/governance/off" | "/projects/{project}/governance/expiry" | "/projects/{project}/governance/ask/{wanted}" => Fate::Asked,
        "/projects/{project}/governance/on" | "/projects/{project}/governance/acknowledge" => Fate::Decided,
        // Of an account that asks or approves it is asked for; the one here doesn't.
        "/organization/accounts/{account}/password" | "/organization/accounts/{account}/steps/{step}" => Fate::Elsewhere,
        // Who is told of what happens.
        _ if path.starts_with("/projects/{project}/notifications") || path.starts_with("/organization/notifications") => Fate::Elsewhere,
        _ if path.starts_with("/account") || path.starts_with("/sign-") => Fate::Elsewhere,
        _ if path.starts_with("/organization/accounts") || path.starts_with("/organization/access-keys") => Fate::Elsewhere,
        _ if path.starts_with("/organization/projects/new") || path.starts_with("/organization/projects/{project}/") => Fate::Elsewhere,
        path => panic!("{path}: nobody knows what becomes of it where approval is on"),
    }
}

/// All that any form wants, right.
fn right_fields(world: &World<'_>, path: &str) -> Vec<(&'static str, String)> {
    let mut database = world.installation.database();
    let of = if path.contains("/keys/{key}") {
        format!("keys WHERE id = '{}'", world.things.key)
    } else if path.contains("/ipv4/") || path.contains("/macs/") || path.contains("/certificates/") {
        "client_rules WHERE value = '127.0.0.1/32'".to_owned()
    } else {
        "key_stores WHERE number = 1".to_owned()
    };
    let seen = database.number("changed_at", &of).to_string();
    let hex: Vec<String> = (0..32).map(|byte| format!("0x{byte:02x}")).collect();
    let value = if path.contains("/macs/") { "00:00:5e:00:53:42" } else { "10.9.9.9" };
    let value = if path.ends_with("/new") { value } else { "127.0.0.1" };
    [
        ("seen", seen.as_str()),
        ("name", "a right name"),
        ("description", "right"),
        ("ip4AuthUse", "Y"),
        ("authMode", "AND"),
        ("secretValue", ""),
        ("autoRotationPeriod", "30"),
        ("keyData", &hex.join(" ")),
        ("value", value),
        ("password", "a right password"),
        ("lifeTime", "30"),
        ("csr", &super::person::signing_request("right")),
        ("login", "nora"),
        ("role", "ADMIN"),
        ("expiryDays", "20"),
        ("note", "for the test"),
        ("reason", "for the test"),
    ]
    .map(|(name, value)| (name, value.to_owned()))
    .into()
}

/// What can't be asked for as it is sent below: entries that aren't there, or not in that state, a key store that isn't empty, a key's only version; a
/// file that is only looked at. The API's tests ask for each of these.
const NOT_ASKED_FOR: [&str; 13] = [
    "/projects/{project}/governance/ask/{wanted}",
    "/projects/{project}/management/{store}/certificates/delete",
    "/projects/{project}/management/{store}/certificates/request-deletion",
    "/projects/{project}/management/{store}/certificates/restore",
    "/projects/{project}/management/{store}/delete",
    "/projects/{project}/management/{store}/ipv4/csv",
    "/projects/{project}/management/{store}/ipv4/delete",
    "/projects/{project}/management/{store}/ipv4/restore",
    "/projects/{project}/management/{store}/keys/{key}/versions/{version}/steps/{step}",
    "/projects/{project}/management/{store}/macs/csv",
    "/projects/{project}/management/{store}/macs/delete",
    "/projects/{project}/management/{store}/macs/request-deletion",
    "/projects/{project}/management/{store}/macs/restore",
];

/// With approval on, every form that there is, sent right, by an `ADMIN`. Nothing that needs approval is done, and it is said why; what can be asked
/// for is, each in a draft of its own.
#[test]
fn no_form_changes_anything_alone_where_approval_is_on() {
    let installation = Installation::new();
    let service = installation.start();
    let world = World::new(&installation, &service);
    world.turn_approval_on();
    let anna = world.person("anna");
    let token = anna.get("/account").hidden("csrf");
    let mut before = world.state();
    let (mut asked, mut not_asked) = (0, Vec::new());
    for (path, (_, post)) in table().into_iter().filter(|(path, (_, post))| post.is_some() && fate(path) != Fate::Elsewhere) {
        assert!(post.is_some());
        if path.starts_with("/organization") {
            // Of who administers: below.
            continue;
        }
        let filled = world.things.fill(&path);
        let page = if path.ends_with("/csv") || path.ends_with("/csv/register") {
            let file = if path.contains("/macs/") { "00:00:5e:00:53:43,x\n" } else { "10.9.9.10,x\n" };
            anna.upload(&filled, &token, file.as_bytes())
        } else {
            let mut fields = right_fields(&world, &path);
            fields.push(("csrf", token.clone()));
            let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
            anna.send("POST", &filled, &[("sec-fetch-site", "same-origin")], Some(&fields)).0
        };
        let to = page.to.clone().unwrap_or_default();
        match fate(&path) {
            Fate::Refused if path.ends_with("/csv") => assert_eq!(page.status, 200, "{path}: a file is looked at"),
            Fate::Refused => assert!(page.status == 422 && page.has("Approval is on in this project"), "{path}: {} {to} {}", page.status, page.text),
            Fate::Asked if to.contains("done=drafted") || to.contains("done=asked") => asked += 1,
            Fate::Asked => {
                assert!(matches!(page.status, 200 | 422), "{path}: {} {to}", page.status);
                not_asked.push(path.clone());
            }
            Fate::Decided => assert!(matches!(page.status, 403 | 404 | 422), "{path}: {} {to}", page.status),
            Fate::Elsewhere => {}
        }
        assert_eq!(world.state(), before, "{path}");
        let open = installation.database().texts("id", "change_requests WHERE state IN ('DRAFT', 'READY')");
        for id in open {
            let withdrawn = anna.send(
                "POST",
                &format!("/projects/{}/approvals/{id}/withdraw", world.things.project),
                &[("sec-fetch-site", "same-origin")],
                Some(&[("csrf", token.as_str())]),
            );
            assert_eq!(withdrawn.0.status, 303, "{path}: {id}");
        }
        // A key store that was not to be is a row that was destroyed.
        before = world.state();
    }
    assert_eq!((asked, not_asked), (16, NOT_ASKED_FOR.map(str::to_owned).to_vec()));
}

/// What gives somebody a part in decisions of the demo's project: roles and passwords of enabled accounts, and their access keys, by which they ask, or
/// may approve.
fn parts(world: &World<'_>) -> BTreeSet<String> {
    let mut database = world.installation.database();
    let roles = format!("accounts JOIN account_roles ON account_id = accounts.id WHERE enabled AND project_id = {}", world.things.project);
    let roles = database.texts("login || ' ' || role || ' ' || password_hash", &roles);
    let keys = "access_keys JOIN accounts ON accounts.id = account_id WHERE access_keys.enabled AND accounts.enabled";
    roles.into_iter().chain(database.texts("access_keys.id || CASE WHEN may_approve THEN ' approves' ELSE '' END", keys)).collect()
}

/// The same of who administers the installation, about somebody who approves, and about his access key: whatever comes of a form, nobody has more of
/// a part in decisions than before, and no key store is changed.
#[test]
fn no_form_of_the_installation_gives_anybody_a_part_alone_where_approval_is_on() {
    let installation = Installation::new();
    let service = installation.start();
    let mut world = World::new(&installation, &service);
    world.turn_approval_on();
    let mut database = installation.database();
    // Two who approve: one of them can be stopped.
    make_account(&installation, "otto", &[]);
    database.run(
        "INSERT INTO account_roles SELECT id, 1, 'APPROVAL ADMIN', 'test', 0, 'test', 0 FROM accounts WHERE login = 'otto';
         INSERT INTO access_keys (id, account_id, secret_hash, token_life_seconds, enabled, may_approve, created_by, created_at, changed_by, changed_at)
         SELECT 'axelsaccesskey123456', id, X'00', 86400, TRUE, TRUE, 'test', 0, 'test', 0 FROM accounts WHERE login = 'axel'",
    );
    world.things.account = database.number("id", "accounts WHERE login = 'axel'").to_string();
    world.things.access_key = "axelsaccesskey123456".to_owned();
    let olga = world.person("olga");
    let token = olga.get("/account").hidden("csrf");
    let inventory = |world: &World<'_>| world.state().as_array().expect("a list")[..3].to_vec();
    let kept = inventory(&world);
    let mut done = 0;
    for (path, _) in table().into_iter().filter(|(path, (_, post))| path.starts_with("/organization/") && post.is_some()) {
        let steps: &[&str] = match path.as_str() {
            "/organization/accounts/{account}/steps/{step}" => &["make-administrator", "unmake-administrator", "end-sessions", "disable", "enable"],
            "/organization/access-keys/{id}/{step}" => &["disable", "enable", "delete"],
            path => {
                assert!(!path.contains("{step}"), "{path}: which steps?");
                &["-"]
            }
        };
        for step in steps {
            let (filled, before) = (world.things.fill(&path.replace("{step}", step)), parts(&world));
            let mut fields = right_fields(&world, &path);
            fields.push(("csrf", token.clone()));
            fields.retain(|(name, _)| *name != "seen");
            let form = olga.get(&filled);
            if form.has("name=\"seen\"") {
                fields.push(("seen", form.hidden("seen")));
            }
            let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
            let page = olga.send("POST", &filled, &[("sec-fetch-site", "same-origin")], Some(&fields)).0;
            assert!(matches!(page.status, 200 | 303 | 422 | 403 | 404), "{path} {step}: {} {}", page.status, page.text);
            let is_done = page.status == 303 && !page.to.as_deref().is_some_and(|to| to.contains("done=asked"));
            println!("{path} {step}: {} {:?}", page.status, page.to);
            let needs_approval = path.ends_with("/password") || path.ends_with("/members/new") || *step == "enable";
            assert!(!needs_approval || !is_done, "{path} {step}: {:?}", page.to);
            done += usize::from(is_done);
            let more: Vec<_> = parts(&world).difference(&before).cloned().collect();
            assert!(more.is_empty(), "{path} {step} gives a part in decisions: {more:?}");
            assert_eq!(inventory(&world), kept, "{path} {step}");
        }
    }
    assert!(done >= 8, "{done} done");
}

/// The most pages that a walk along the links looks at.
const WALK_MAX: usize = 800;
/// How many pages of statistics, of history and of the audit log it looks at: they lead back for years.
const BACKWARDS_MAX: usize = 12;

/// What the values of an attribute are, in a page.
fn attributes<'a>(page: &'a str, name: &str) -> impl Iterator<Item = String> + 'a {
    page.split(&format!(" {name}=\""))
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .map(|value| value.replace("&#38;", "&"))
        .collect::<Vec<_>>()
        .into_iter()
}

#[test]
fn nobody_is_shown_a_link_or_a_button_that_would_fail() {
    walk_the_links(false);
}

#[test]
fn nobody_is_shown_a_link_or_a_button_that_would_fail_with_approval_on() {
    walk_the_links(true);
}

fn walk_the_links(governed: bool) {
    let installation = Installation::new();
    let service = installation.start();
    let world = World::new(&installation, &service);
    if governed {
        world.turn_approval_on();
        // Something in a draft, something that waits, something that was decided.
        let (mona, axel) = (world.person("mona"), world.person("axel"));
        let at = |store: &str, rest: &str| format!("/projects/{}/management/{store}{rest}", world.things.project);
        for (store, value) in [("2", "10.5.5.5"), ("1", "10.5.5.5")] {
            let drafted = mona.fill_in(&at(store, "/ipv4/new"), &[("value", value), ("description", "")]);
            assert!(drafted.to.is_some(), "{}", drafted.text);
            let id = installation.database().texts("id", "change_requests ORDER BY created_at").pop().expect("a draft");
            let request = format!("/projects/{}/approvals/{id}", world.things.project);
            if store == "2" {
                assert!(mona.fill_in(&format!("{request}/request"), &[("note", "n")]).to.is_some());
                assert!(axel.fill_in(&format!("{request}/deny"), &[("reason", "r")]).to.is_some());
            }
        }
        mona.fill_in(&at("2", "/macs/new"), &[("value", "00:00:5e:00:53:01"), ("description", "")]);
        let id = installation.database().texts("id", "change_requests ORDER BY created_at").pop().expect("a draft");
        mona.fill_in(&format!("/projects/{}/approvals/{id}/request", world.things.project), &[("note", "n")]);
    }
    let table = table();
    for (login, role) in PEOPLE {
        let person = world.person(login);
        let (mut known, mut next) = (BTreeSet::from(["/".to_owned()]), vec!["/".to_owned()]);
        while let Some(path) = next.pop() {
            let page = person.get(&path);
            let is_of_others = role != "ADMIN" && path.starts_with("/projects/") && !SEES.contains(&role) && role != "ADMIN of another project";
            // Who may see that there is a project, and nothing of it, is told so at its door.
            assert!(matches!(page.status, 200 | 303) || (is_of_others && page.status == 403), "{role}: {path}: {} {}", page.status, page.text);
            assert!(role == "ADMIN" || !page.has("not-a-real-password"), "{role}: {path} shows data");
            for action in attributes(&page.text, "action").chain(attributes(&page.text, "data-hx-post")) {
                let route = table.iter().find(|(route, _)| leads_to(route, &action)).unwrap_or_else(|| panic!("{path}: no route of {action}"));
                let is_search = route.1.1.is_none();
                let may = if is_search { route.1.0 } else { route.1.1 };
                assert!(may.is_some_and(|who| role == "ADMIN of another project" || may_where(who, role, governed)), "{role}: {path} has a form for {action}");
            }
            let links = attributes(&page.text, "href").chain(attributes(&page.text, "data-hx-get")).chain(page.to);
            for link in links.filter(|link| link.starts_with('/') && !link.starts_with("/assets/")) {
                let leads_back = ["/statistics", "/usage", "/organization/audit"].into_iter().find(|part| link.contains(part));
                let is_long_ago = leads_back.is_some_and(|part| known.iter().filter(|known| known.contains(part)).count() >= BACKWARDS_MAX);
                if !is_long_ago && known.insert(link.clone()) {
                    next.push(link);
                }
            }
            assert!(known.len() < WALK_MAX, "{role}: {known:?}");
        }
        assert!(known.len() > 4, "{role}: {known:?}");
    }
}

fn leads_to(route: &str, address: &str) -> bool {
    let path = address.split('?').next().unwrap_or_default();
    let (route, path): (Vec<&str>, Vec<&str>) = (route.split('/').collect(), path.split('/').collect());
    route.len() == path.len() && route.iter().zip(path).all(|(wanted, found)| wanted.starts_with('{') || *wanted == found)
}

/// A page without what differs each time: the request's name, and the token.
fn told(page: &Page) -> (u16, String) {
    let hides = |text: &str, from: &str, to: char| match text.split_once(from) {
        Some((before, rest)) => format!("{before}{}", rest.split_once(to).map_or("", |(_, after)| after)),
        None => text.to_owned(),
    };
    (page.status, hides(&page.text, "<span class=\"id\">", '<'))
}

#[test]
fn what_is_others_is_answered_as_what_is_not() {
    let installation = Installation::new();
    let service = installation.start();
    let world = World::new(&installation, &service);
    let fred = world.person("fred");
    let token = fred.get("/account").hidden("csrf");
    let nowhere = Things { project: "987654".to_owned(), ..world.things.clone() };
    for (path, (get, post)) in table() {
        if !path.starts_with("/projects") {
            continue;
        }
        let (there, nowhere) = (world.things.fill(&path), nowhere.fill(&path));
        if get.is_some() {
            assert_eq!(told(&fred.get(&there)), told(&fred.get(&nowhere)), "GET {path}");
            assert_eq!(told(&fred.ask(&there)), told(&fred.ask(&nowhere)), "GET {path}, for a dialog");
        }
        if post.is_some() {
            let same_origin = Some("same-origin");
            assert_eq!(told(&send(&fred, &there, same_origin, Some(&token))), told(&send(&fred, &nowhere, same_origin, Some(&token))), "POST {path}");
        }
    }
    // A key of another project, under a key store of one's own, is no key.
    let own = fred.get("/").to.expect("his project");
    let made = fred.fill_in(&format!("{own}/new"), &[("name", "his"), ("description", ""), ("ip4AuthUse", "Y"), ("authMode", "AND")]);
    let store = made.to.expect("his key store").trim_end_matches("?done=added").to_owned();
    let (foreign, unknown) = (installation.demo("SYMMETRIC_ID"), "0".repeat(32));
    for rest in ["", "/edit", "/steps/rotate", "/versions/0/steps/delete"] {
        let page = |key: &str| told(&fred.get(&format!("{store}/keys/{key}{rest}")));
        assert_eq!(page(foreign), page(&unknown), "{rest}");
        assert_eq!(page(foreign).0, 404, "{rest}");
    }
    // So is another's access key, and another's session.
    for rest in ["edit", "disable", "delete"] {
        let page = |id: &str| told(&fred.get(&format!("/account/access-keys/{id}/{rest}")));
        assert_eq!(page(installation.demo("ACCESS_KEY_ID")), page("nobodysaccesskey"), "{rest}");
    }
    let vera = world.person("vera");
    let of_vera = "console_sessions WHERE account_id = (SELECT id FROM accounts WHERE login = 'vera')";
    let hash = installation.database().texts("hex(token_hash)", of_vera)[0].to_lowercase();
    assert_eq!(vera.get(&format!("/account/sessions/{hash}/end")).status, 200);
    assert_eq!(told(&fred.get(&format!("/account/sessions/{hash}/end"))), told(&fred.get(&format!("/account/sessions/{}/end", "0".repeat(64)))));
    // An address that can't be read is no page.
    for path in ["/projects/x/key-stores", "/projects/99999999999999999999/key-stores/1", "/projects/1/key-stores/1?q=a&q=b", "/projects/1/key-stores/-1/ipv4"]
    {
        let page = fred.get(path);
        assert!(page.status == 404 && page.has("There is no such page"), "{path}: {page:?}");
    }
}
