//! Usage History of a project, and the audit log of the installation.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::time::{Duration, Instant};

use serde_json::json;

use super::person::{Page, Person};
use crate::support::installation::{Installation, Running};
use crate::support::postgres::Cluster;

const PASSWORD: &str = "a password of some length";
/// What a client may say of itself.
const HOSTILE_AGENT: &str = "=cmd() <script>window.x=1</script>";

/// A running service, an administrator at a browser, programs that use the demo's keys.
struct Scene<'a> {
    installation: &'a Installation,
    service: &'a Running,
    admin: Person<'a>,
    /// `/projects/1`
    project: String,
}

impl<'a> Scene<'a> {
    fn new(installation: &'a Installation, service: &'a Running) -> Self {
        let admin = Person::sign_in(installation, service, installation.demo("ADMIN_USER"), installation.demo("ADMIN_PASSWORD"));
        let stores = admin.get("/").to.expect("the first project");
        let project = stores.trim_end_matches("/key-stores").to_owned();
        Self { installation, service, admin, project }
    }

    /// A program encrypts; the request's ID.
    fn encrypt(&self, key: &str, agent: &str) -> String {
        let demo = |name| self.installation.demo(name);
        let path = format!("/keymanager/v1.2/appkey/{}/symmetric-keys/{key}/encrypt", demo("APPKEY"));
        let headers = [
            ("X-TC-AUTHENTICATION-ID", demo("ACCESS_KEY_ID")),
            ("X-TC-AUTHENTICATION-SECRET", demo("SECRET_ACCESS_KEY")),
            ("X-TOAST-CLIENT-MAC-ADDR", "00:00:5e:00:53:01"),
            ("user-agent", agent),
        ];
        self.service.ask("POST", &path, &headers, Some(&json!({"plaintext": "x"}))).request_id
    }

    fn usage(&self, query: &str) -> Page {
        self.admin.get(&format!("{}/usage?{query}", self.project))
    }

    /// Somebody with a role in the demo's project.
    fn person(&self, login: &str, role: &str) -> Person<'a> {
        let file = self.installation.path().join(format!("password-of-{login}"));
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create_new(true).mode(0o600).open(&file).expect("a file").write_all(PASSWORD.as_bytes()).expect("written");
        let file = file.display().to_string();
        self.done(&["admin", "account", "create", login, "--keep-password", "--password-file", &file]);
        self.done(&["admin", "role", "grant", login, role, "--project", "demo"]);
        Person::sign_in(self.installation, self.service, login, PASSWORD)
    }

    fn done(&self, arguments: &[&str]) {
        let (status, _, log) = self.installation.run(arguments);
        assert_eq!(status, 0, "{log}");
    }

    /// What is in the log about looking: the details of an operation's records.
    fn recorded(&self, operation: &str) -> Vec<String> {
        let of = format!("audit_records WHERE operation = '{operation}' ORDER BY position");
        self.installation.database().texts("result_code || ' ' || COALESCE(detail, '')", &of)
    }
}

/// How many records a page shows.
fn rows(page: &Page) -> usize {
    page.text.matches("<td data-column=\"When\"").count()
}

/// Whether a page shows a record of an operation.
fn shows(page: &Page, operation: &str) -> bool {
    page.has(&format!("<td data-column=\"Operation\" class=\"breaks\">{operation}</td>"))
}

/// The places of a page's records, from the top.
fn places(page: &Page) -> Vec<String> {
    let links = page.text.split("<a class=\"button tiny\" href=\"").skip(1).filter_map(|rest| rest.split('"').next());
    links.filter(|link| link.contains("/records/")).map(str::to_owned).collect()
}

/// Where a link of that relation leads.
fn link(page: &Page, relation: &str) -> Option<String> {
    let rest = page.text.split_once(&format!("rel=\"{relation}\" href=\""))?.1;
    Some(rest.split('"').next()?.replace("&#38;", "&").replace("&amp;", "&"))
}

fn who_did_what_is_shown_and_filtered(installation: &Installation) {
    let service = installation.start();
    let scene = Scene::new(installation, &service);
    let symmetric = installation.demo("SYMMETRIC_ID").to_owned();
    let request = scene.encrypt(&symmetric, HOSTILE_AGENT);
    scene.encrypt(&"0".repeat(32), "plain/1.0");
    scene.done(&["admin", "role", "grant", installation.demo("ADMIN_USER"), "VIEWER", "--project", "demo"]);
    let all = scene.usage("size=100");
    assert_eq!(all.status, 200, "{}", all.text);
    for text in ["Encrypt", &symmetric, "plain/1.0", "127.0.0.1", "Grant role", "skm admin", "Invalid Key ID (3001)", "&#60;script&#62;", "Read inventory"] {
        assert!(all.has(text), "{text}: {}", all.text);
    }
    assert!(!all.has("<script>window"), "{}", all.text);
    let key = installation.demo("ACCESS_KEY_ID");
    let filters = [
        ("operation=ENCRYPT", 2),
        ("operation=ENCRYPT&result=success", 1),
        ("result=refused&operation=ENCRYPT", 1),
        ("result=3001", 1),
        ("result=failed", 0),
        ("operation=GRANT_ROLE&who=uid+0", usize::from(rustix::process::getuid().is_root())),
        (&format!("operation=ENCRYPT&who={key}"), 2),
        (&format!("operation=ENCRYPT&key={symmetric}"), 1),
        ("operation=ENCRYPT&key=demo-symmetric", 1),
        ("operation=ENCRYPT&keyStore=demo-by-address", 1),
        ("operation=ENCRYPT&address=127.0.0.1&from=2020-01-01&to=2999-12-31T23:59", 2),
        ("address=192.0.2.9", 0),
        ("from=2999-01-01T00:00", 0),
    ];
    for (query, expected) in filters {
        let page = scene.usage(&format!("{query}&size=100"));
        // The demo granted roles and made keys of its own by the same operator.
        let found = if query.starts_with("operation=GRANT_ROLE") { rows(&page).min(expected) } else { rows(&page) };
        assert_eq!((page.status, found), (200, expected), "{query}: {}", page.text);
    }
    let none = scene.usage("result=failed");
    assert!(none.has("No record matches the filters.") && none.has("<option value=\"failed\" selected>"), "{}", none.text);
    let wrong = [
        ("from", "yesterday"),
        ("to", "1"),
        ("operation", "NONSENSE"),
        ("key", "no such key"),
        ("keyStore", "no such store"),
        ("who", "a<b>"),
        ("address", "10.0.0.0/8"),
        ("result", "wrong"),
    ];
    for (field, value) in wrong {
        let query = serde_urlencoded::to_string([(field, value)]).expect("a query");
        for page in [scene.usage(&query), scene.admin.get(&format!("{}/usage/download?{query}", scene.project))] {
            assert!(page.status == 422 && page.has(&format!("id=\"{field}-wrong\"")), "{query}: {} {}", page.status, page.text);
            assert!(
                ["operation", "result"].contains(&field) || page.has(&format!("value=\"{}\"", value.replace('<', "&#60;").replace('>', "&#62;"))),
                "{query}"
            );
        }
    }
    for query in ["older=nonsense", "newer=1", "older=9.9.9"] {
        let page = scene.usage(query);
        assert!(page.status == 422 && page.has("names no place"), "{query}: {}", page.text);
    }
    assert_eq!(scene.usage("size=x&page=-1&older=&nonsense=%ff%00&q=%27").status, 200);
    let place = places(&scene.usage("operation=ENCRYPT&result=success")).remove(0);
    let details = scene.admin.ask(&place);
    for text in [request.as_str(), "00:00:5e:00:53:01", "demo-symmetric", "demo-by-address", "=cmd() &#60;script&#62;", key, "All about this key"] {
        assert!(details.has(text), "{text}: {}", details.text);
    }
    assert!(scene.admin.get(&place).has("<h2 id=\"dialog-title\">Encrypt</h2>"));
    for nowhere in ["/usage/records/1.1", "/usage/records/x", "/usage/records/9223372036854775807.-1"] {
        assert_eq!(scene.admin.get(&format!("{}{nowhere}", scene.project)).status, 404, "{nowhere}");
    }
    // What a person did at the console, and another project's record.
    scene.done(&["admin", "project", "create", "other"]);
    let all = scene.admin.get("/organization/audit?operation=CREATE_PROJECT");
    let foreign = places(&all).remove(0).replace("/organization/audit", &format!("{}/usage", scene.project));
    assert_eq!(scene.admin.get(&foreign).status, 404, "{foreign}");
}

#[test]
fn who_did_what_is_shown_and_filtered_on_sqlite() {
    who_did_what_is_shown_and_filtered(&Installation::new());
}

#[test]
fn who_did_what_is_shown_and_filtered_on_postgresql() {
    let cluster = Cluster::start();
    who_did_what_is_shown_and_filtered(&Installation::with(&[("SKM_DATABASE__URL", &cluster.uri())]));
}

#[test]
fn pages_follow_each_other_and_looking_is_recorded_once() {
    let installation = Installation::new();
    let service = installation.start();
    let scene = Scene::new(&installation, &service);
    let symmetric = installation.demo("SYMMETRIC_ID").to_owned();
    for _ in 0..25 {
        scene.encrypt(&symmetric, "program/1");
    }
    let filter = "operation=ENCRYPT&size=10";
    let mut page = scene.usage(filter);
    assert!(page.has("Search Result: <span class=\"count\">25</span>"), "{}", page.text);
    assert!(link(&page, "prev").is_none() && !page.has(">Newest<"), "{}", page.text);
    let (first, mut seen) = (places(&page), Vec::new());
    loop {
        seen.extend(places(&page));
        // A new record pushes nothing onto the next page.
        scene.encrypt(&symmetric, "program/1");
        let Some(next) = link(&page, "next") else { break };
        page = scene.admin.get(&next);
        assert!(page.status == 200 && page.has(">Newest<"), "{}", page.text);
    }
    assert_eq!(seen.len(), 25, "each once");
    let back = scene.admin.get(&link(&page, "prev").expect("a way back"));
    assert_eq!(places(&back), seen[10..20]);
    let back = scene.admin.get(&link(&back, "prev").expect("a way back"));
    assert_eq!(places(&back), first);
    let newest = scene.admin.get(&link(&back, "prev").expect("a way to what came meanwhile"));
    assert!(rows(&newest) == 10 && link(&newest, "prev").is_none() && !places(&newest).contains(&first[9]), "{}", newest.text);
    assert_eq!(scene.recorded("READ_HISTORY"), ["0 operation=ENCRYPT"], "one look, however many pages");
    // Who begins in the middle looks too.
    let place = seen[12].rsplit('/').next().expect("a place").to_owned();
    scene.usage(&format!("older={place}"));
    scene.admin.ask(&seen[3]);
    scene.admin.ask(&seen[4]);
    assert_eq!(scene.recorded("READ_HISTORY"), ["0 operation=ENCRYPT", "0 all", "0 single records"]);
    // Somebody else's look is another one.
    let other = Person::sign_in(&installation, &service, installation.demo("ADMIN_USER"), installation.demo("ADMIN_PASSWORD"));
    other.get(&format!("{}/usage", scene.project));
    assert_eq!(scene.recorded("READ_HISTORY").len(), 4);
}

#[test]
fn who_may_look() {
    let installation = Installation::new();
    let service = installation.start();
    let scene = Scene::new(&installation, &service);
    let place = places(&scene.usage("")).remove(0);
    let usage = format!("{}/usage", scene.project);
    let of_project = [usage.clone(), format!("{usage}/download"), place.clone(), format!("{usage}?who=%3C")];
    let of_organization = ["/organization/audit", "/organization/audit/download", "/organization/audit?who=%3C"].map(str::to_owned);
    for (login, role, may) in [
        ("vera", "VIEWER", true),
        ("anna", "APPROVAL ADMIN", true),
        ("mike", "APPROVAL MEMBER", true),
        ("abel", "API.ADMIN", false),
        ("axel", "API.VIEWER", false),
    ] {
        let person = scene.person(login, role);
        for path in &of_project {
            let status = person.get(path).status;
            assert_eq!(
                status,
                if !may {
                    403
                } else if path.ends_with("%3C") {
                    422
                } else {
                    200
                },
                "{login} {path}"
            );
        }
        let elsewhere = place.replace(&usage, "/organization/audit");
        for path in of_organization.iter().chain([&elsewhere]) {
            assert_eq!(person.get(path).status, 403, "{login} {path}");
        }
        assert!(!person.get("/organization/audit").has("fingerprint"));
    }
    // A stranger to the project, and nobody at all.
    scene.done(&["admin", "project", "create", "other"]);
    let theirs = usage.replace(&scene.project, "/projects/2");
    let vera = Person::sign_in(&installation, &service, "vera", PASSWORD);
    assert!([403, 404].contains(&vera.get(&theirs).status));
    assert_eq!(vera.get("/projects/77/usage").status, 404);
    let stranger = Person::stranger(&installation, &service);
    for path in of_project.iter().chain(&of_organization) {
        let page = stranger.get(path);
        assert!(page.status == 303 && page.to.as_deref().is_some_and(|to| to.starts_with("/sign-in?next=")), "{path}: {page:?}");
    }
    let refused = scene.recorded("READ_HISTORY").into_iter().filter(|record| record.starts_with("1003 ")).count();
    assert!(refused >= 5, "refusals are recorded: {refused}");
}

#[test]
fn administrators_see_all_of_the_log_and_how_it_stands() {
    let installation = Installation::new();
    let service = installation.start();
    let scene = Scene::new(&installation, &service);
    scene.encrypt(installation.demo("SYMMETRIC_ID"), "program/1");
    scene.admin.get("/projects/1/usage");
    let log = scene.admin.get("/organization/audit?size=100");
    for text in [
        "Sign in",
        "Start chain",
        "Encrypt",
        "demo",
        "State of the log",
        "Last checkpoint",
        "skm audit verify",
        "Public key (SHA-256)",
        "aria-current=\"page\">Audit",
    ] {
        assert!(log.has(text), "{text}: {}", log.text);
    }
    let (status, pem, _) = installation.run(&["audit", "public-key"]);
    assert_eq!(status, 0);
    let der = x509_parser::pem::parse_x509_pem(pem.as_bytes()).expect("PEM").1.contents;
    let fingerprint = hex::encode(ring::digest::digest(&ring::digest::SHA256, &der));
    assert!(log.has(&fingerprint), "{}", log.text);
    let only = |query: &str| scene.admin.get(&format!("/organization/audit?size=100&{query}"));
    let (none, demo) = (only("project=none"), only("project=1"));
    assert!(shows(&none, "Sign in") && !shows(&none, "Encrypt"), "{}", none.text);
    assert!(shows(&demo, "Encrypt") && !shows(&demo, "Start chain"), "{}", demo.text);
    let failed = Person::sign_in(&installation, &service, installation.demo("ADMIN_USER"), installation.demo("ADMIN_PASSWORD"));
    let wrong = failed.post("/sign-in", &[("login", "mallory\u{202e}<b>"), ("password", "wrong password")]);
    assert_ne!(wrong.status, 303);
    let refused = only("operation=SIGN_IN&result=refused");
    assert_eq!(rows(&refused), 1, "{}", refused.text);
    let details = scene.admin.ask(&places(&refused)[0]);
    assert!(!details.has("\u{202e}") && !details.has("<b>"), "{}", details.text);
    for query in ["keyStore=1", "project=x", "project=99", "project=none&keyStore=demo-by-address"] {
        let page = only(query);
        assert!(page.status == 422 && page.has("-wrong\""), "{query}: {}", page.text);
    }
    assert_eq!(scene.admin.get("/organization/audit/download?project=99").status, 422);
    let of = "audit_records WHERE operation IN ('READ_HISTORY', 'DOWNLOAD_HISTORY') AND project_id = 99";
    assert_eq!(installation.database().count(of), 0, "nothing is put into the log of a project that is still to come");
    assert_eq!(rows(&only("project=1&keyStore=demo-by-address&operation=ENCRYPT")), 1);
    let file = scene.admin.get("/organization/audit/download?operation=SIGN_IN&project=none");
    assert!(file.text.lines().count() >= 4 && file.text.lines().skip(1).all(|line| line.contains(",SIGN_IN,")), "{}", file.text);
    assert_eq!(scene.recorded("DOWNLOAD_HISTORY"), ["4003 all", "0 of no project: operation=SIGN_IN"]);
}

#[test]
fn no_cell_of_a_file_is_a_formula_and_nothing_hides_in_it() {
    let installation = Installation::new();
    let service = installation.start();
    let scene = Scene::new(&installation, &service);
    let made = scene.admin.fill_in(
        &format!("{}/key-stores/new", scene.project),
        &[("name", "+store, \"quoted\""), ("description", ""), ("ip4AuthUse", "Y"), ("authMode", "AND")],
    );
    let store = made.to.expect("the key store's page").trim_end_matches("?done=added").to_owned();
    scene.admin.fill_in(&format!("{store}/keys/new/symmetric-key"), &[("name", "=sum(1)"), ("description", ""), ("autoRotationPeriod", "0")]);
    // No name is taken any more that turns the direction of writing; an older one may have been.
    installation.database().run("UPDATE keys SET name = '=sum\u{202e}(1)' WHERE name = '=sum(1)'");
    for agent in [HOSTILE_AGENT, "@import", "-1+1", "+1"] {
        scene.encrypt(installation.demo("SYMMETRIC_ID"), agent);
    }
    let answer = scene.admin.open(&format!("{}/usage/download?result=success", scene.project));
    let disposition = answer.headers().get("content-disposition").expect("a header").to_str().expect("text").to_owned();
    assert!(disposition.starts_with("attachment; filename=\"usage-history-demo-20"), "{disposition}");
    assert_eq!(scene.recorded("DOWNLOAD_HISTORY"), ["0 result=success"], "before the first byte is read");
    let text = answer.into_body().read_to_string().expect("a text");
    assert!(text.starts_with("\u{feff}time,project,") && text.ends_with("\r\n"), "{text}");
    let mut reader = csv::Reader::from_reader(text.trim_start_matches('\u{feff}').as_bytes());
    let records: Vec<csv::StringRecord> = reader.records().map(|record| record.expect("as many cells as columns")).collect();
    for cell in records.iter().flatten() {
        assert!(!cell.starts_with(['=', '+', '-', '@', '\t', '\r']), "{cell}");
        assert!(!cell.chars().any(|c| c.is_control() || c == '\u{202e}'), "{cell:?}");
    }
    let has = |cell: &str| records.iter().flatten().any(|known| known == cell);
    for cell in [&format!("'{HOSTILE_AGENT}"), "'@import", "'-1+1", "'+1", "'+store, \"quoted\"", "'=sum⟨U+202E⟩(1)", "ENCRYPT", "demo"] {
        assert!(has(cell), "{cell}: {text}");
    }
    let page = scene.usage("operation=CREATE_KEY");
    assert!(page.status == 200 && page.has("=sum⟨U+202E⟩(1)"), "{}", page.text);
}

/// How much memory the process has now, in bytes.
fn resident(service: &Running) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", service.pid())).expect("its status");
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kib.expect("a number") * 1_024
}

#[test]
fn a_large_file_is_streamed_and_ends_with_whoever_wanted_it() {
    const RECORDS: usize = 80_000;
    let installation = Installation::new();
    let service = installation.start();
    let scene = Scene::new(&installation, &service);
    scene.usage("");
    installation.database().run(&format!(
        "INSERT INTO audit_records (position, previous, hash, at, request, project_id, actor_kind, actor_name, user_agent, operation, result_code, detail)
         WITH RECURSIVE s(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM s WHERE n + 1 < {RECORDS})
         SELECT (SELECT max(number) FROM audit_chains) * 1099511627776 + 1000000 + n, zeroblob(32), zeroblob(32), 1700000000000000 + n,
                printf('%032x', n), 1, 'appkey', '', printf('%0256d', n), 'ENCRYPT', 0, printf('%0500d', n) FROM s"
    ));
    let path = format!("{}/usage/download?operation=ENCRYPT", scene.project);
    let (before, mut most) = (resident(&service), 0);
    let mut lines = 0_usize;
    let mut bytes = 0_usize;
    let mut body = scene.admin.open(&path).into_body();
    let mut reader = body.as_reader();
    let mut buffer = vec![0; 64 * 1_024];
    loop {
        let count = reader.read(&mut buffer).expect("the file goes on");
        if count == 0 {
            break;
        }
        bytes += count;
        most = most.max(resident(&service));
        lines += buffer[..count].iter().filter(|byte| **byte == b'\n').count();
    }
    assert_eq!(lines, RECORDS + 1);
    let grown = most.saturating_sub(before);
    assert!(bytes > 64 << 20 && grown < 32 << 20, "{bytes} bytes were sent, memory grew by {grown}");
    // As many as may be under way, unread; one more is told to wait, and so is who has one already.
    let others = ["vera", "viola", "victor"].map(|login| scene.person(login, "VIEWER"));
    let mut under_way: Vec<_> = others.iter().map(|person| person.open(&path)).collect();
    assert!(under_way.iter().all(|answer| answer.status() == 200));
    assert_eq!(others[0].open(&path).status(), 429, "a second one");
    let anna = scene.person("anna", "APPROVAL ADMIN");
    under_way.push(anna.open(&path));
    assert_eq!((under_way[3].status().as_u16(), scene.admin.open(&path).status().as_u16()), (200, 429));
    // Whoever hangs up makes room.
    under_way.truncate(3);
    let began = Instant::now();
    let mut again = scene.admin.open(&path);
    while again.status() == 429 {
        assert!(began.elapsed() < Duration::from_secs(20), "nobody made room");
        std::thread::sleep(Duration::from_millis(50));
        again = scene.admin.open(&path);
    }
    // A session that ends breaks its files off, and they don't pass for whole ones.
    let csrf = scene.usage("").hidden("csrf");
    assert_eq!(scene.admin.post("/sign-out", &[("csrf", &csrf)]).status, 303);
    let mut rest = Vec::new();
    let ended = again.into_body().into_reader().read_to_end(&mut rest);
    assert!(ended.is_err() && rest.len() < bytes, "{ended:?} after {} bytes", rest.len());
}
