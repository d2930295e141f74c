//! Statistics at the console: what programs asked for is what the page, the tables and the files say.

use std::time::Duration;

use serde_json::json;

use super::person::{PASSWORD, Page, Person, make_account};
use crate::faults::load::{Client, STORE, wait_until};
use crate::faults::statistics::{is_counted, sums_are_the_log};
use crate::support::installation::{Installation, Running};
use crate::support::postgres::Cluster;

const PATIENCE: Duration = Duration::from_secs(60);
const HOSTILE: &str = "=1+1<script>alert(1)</script>\"'&</text></svg>";

fn admin<'a>(installation: &Installation, service: &'a Running) -> Person<'a> {
    Person::sign_in(installation, service, installation.demo("ADMIN_USER"), installation.demo("ADMIN_PASSWORD"))
}

/// Waits until all that was asked so far is in the sums.
fn wait_until_counted(installation: &Installation) {
    let mut database = installation.database();
    wait_until("counted", PATIENCE, || is_counted(&mut database));
}

/// The figures of a row of a table, by what its first cells say.
fn row(page: &Page, cells: &[&str]) -> Option<Vec<String>> {
    let text = |cell: &str| cell.split_once('>').map_or("", |(_, rest)| rest).replace("<strong>", "").replace("</strong>", "");
    let rows = page.text.split("<tr>").skip(1).map(|row| row.split("</tr>").next().unwrap_or_default());
    let mut found = rows.filter(|row| cells.iter().all(|cell| row.contains(cell)));
    let row = found.next()?;
    Some(row.split("</td>").filter(|cell| cell.contains("class=\"number\"")).map(|cell| text(cell.trim_start().trim_start_matches("<td").trim())).collect())
}

fn date(days_ago: i64) -> String {
    (chrono::Utc::now() - chrono::TimeDelta::days(days_ago)).format("%Y-%m-%d").to_string()
}

/// Five calls of a new key, counted: the key.
fn ask(installation: &Installation, service: &Running) -> String {
    let client = Client::new(installation, service);
    let made = client.change("POST", "/keys/symmetric-keys/create", &json!({"keyStoreName": STORE, "name": HOSTILE})).expect("an answer");
    let key = made.text("keyId");
    for _ in 0..3 {
        assert_eq!(client.encrypt(&key, "text").expect("an answer").status, 200);
    }
    assert_ne!(client.decrypt(&key, "no ciphertext").expect("an answer").status, 200);
    wait_until_counted(installation);
    key
}

/// A fresh installation whose calls are all of one hour, which its rows and days are told by; that hour's day, and what `look` makes of it.
fn of_one_hour<T>(make: impl Fn() -> (Installation, T), look: impl Fn(&Installation, &Running, &str, &str)) {
    loop {
        let (installation, _kept) = make();
        let service = installation.start();
        let now = || chrono::Utc::now().format("%Y-%m-%d %H").to_string();
        let hour = now();
        let key = ask(&installation, &service);
        if now() == hour {
            return look(&installation, &service, &key, hour.split(' ').next().expect("a day"));
        }
    }
}

fn figures(installation: &Installation, service: &Running, key: &str, day: &str) {
    let person = admin(installation, service);
    let path = person.get("/").to.expect("the first project").replace("/key-stores", "/statistics");
    let page = person.get(&format!("{path}?on={day}"));
    assert_eq!(page.status, 200, "{}", page.text);
    assert_eq!(row(&page, &[">Encrypt</td>"]), Some(["3", "0", "0", "3"].map(str::to_owned).to_vec()), "{}", page.text);
    assert_eq!(row(&page, &[">Decrypt</td>"]), Some(["0", "1", "0", "1"].map(str::to_owned).to_vec()), "{}", page.text);
    assert_eq!(row(&page, &["=1+1&#60;script&#62;", key]), Some(["4", "1", "0", "5"].map(str::to_owned).to_vec()), "{}", page.text);
    assert!(!page.has("<script>alert") && !page.has("</text></svg>\""), "{}", page.text);
    assert!(!page.has("style=") && page.has("role=\"img\""), "{}", page.text);
    for by in ["week", "month"] {
        let page = person.get(&format!("{path}?by={by}&on={day}"));
        assert_eq!(row(&page, &[">Encrypt</td>"]), Some(["3", "0", "0", "3"].map(str::to_owned).to_vec()), "{}", page.text);
    }
    let only = person.get(&format!("{path}?by=day&on={day}&key={key}"));
    assert!(only.has("Only calls of the key") && row(&only, &[">Create key</td>"]).is_some() && row(&only, &[">Sign in</td>"]).is_none(), "{}", only.text);
    let before = person.get(&format!("{path}?on={}&by=month", date(2 * 365)));
    assert!(before.status == 200 && before.has("No calls"), "{}", before.text);
    let long_before = person.get(&format!("{path}?on={}&by=month", date(4 * 365)));
    assert!(long_before.status == 422 && long_before.has("must be a date of the last three years"), "{}", long_before.text);
    files_are_the_tables(&person, &path, key, day);
    wrong_addresses_are_told(&person, &path);
    others_see_what_their_role_says(installation, service, &path);
    assert_eq!(person.get("/projects/999999/statistics").status, 404);
    let stranger = Person::stranger(installation, service).get(&path);
    assert!(stranger.status == 303 && stranger.to.as_deref().is_some_and(|to| to.starts_with("/sign-in?next=")), "{stranger:?}");
    wait_until_counted(installation);
    sums_are_the_log(installation);
}

fn files_are_the_tables(person: &Person<'_>, path: &str, key: &str, day: &str) {
    let operations = person.get(&format!("{path}/csv/operations?by=month&on={day}"));
    assert_eq!(operations.status, 200);
    assert!(operations.text.starts_with("\u{feff}begin,operation,success,refused,failed,total\r\n"), "{}", operations.text);
    assert!(operations.text.lines().any(|line| line.ends_with(",ENCRYPT,3,0,0,3")), "{}", operations.text);
    let keys = person.get(&format!("{path}/csv/keys?by=day&on={day}"));
    let guarded = format!("{key},\"'{}\",4,1,0,5", HOSTILE.replace('"', "\"\""));
    assert!(keys.text.lines().any(|line| line == guarded), "no formula: {guarded}\n{}", keys.text);
    assert_eq!(person.get(&format!("{path}/csv/passwords")).status, 404);
    let wrong = person.get(&format!("{path}/csv/keys?on=yesterday"));
    assert!(wrong.status == 422 && wrong.has("must be a date such as"), "{}", wrong.text);
}

/// Never a 500, always a message, nothing that was asked for comes back as markup.
fn wrong_addresses_are_told(person: &Person<'_>, path: &str) {
    let long = "9".repeat(4_000);
    for (query, told) in [
        ("by=year", "must be day, week or month"),
        ("by=%3Cscript%3E", "must be day, week or month"),
        ("on=2026-02-30", "must be a date such as"),
        ("on=9999-12-31", "must be a date of the last three years"),
        ("on=-262143-01-01", "must be a date"),
        ("on=%22%3E%3Cscript%3E", "must be a date such as"),
        ("on=%00", "must be a date such as"),
        ("key=abc", "must be the ID of a key"),
        ("key=%27%20OR%201%3D1", "must be the ID of a key"),
        ("by=day&by=week", "can&#39;t be read"),
        (&format!("on={long}"), "must be a date"),
        (&format!("key={long}"), "must be the ID of a key"),
    ] {
        let page = person.get(&format!("{path}?{query}"));
        assert!(page.status == 422 && page.has(told) && !page.has("<script>"), "{query}: {} {}", page.status, page.text);
    }
    let unknown = person.get(&format!("{path}?key={}", "a".repeat(32)));
    assert!(unknown.status == 200 && unknown.has("No calls"), "{}", unknown.text);
}

fn others_see_what_their_role_says(installation: &Installation, service: &Running, path: &str) {
    for (login, role, status) in [("vera", Some("VIEWER"), 200), ("mo", Some("APPROVAL MEMBER"), 200), ("pia", Some("API.ADMIN"), 403), ("noa", None, 403)] {
        make_account(installation, login, &role.map(|role| (role, "demo")).into_iter().collect::<Vec<_>>());
        let person = Person::sign_in(installation, service, login, PASSWORD);
        for path in [path.to_owned(), format!("{path}/csv/keys"), format!("{path}?by=nonsense")] {
            let page = person.get(&path);
            let expected = if status == 200 && path.contains("nonsense") { 422 } else { status };
            assert!(page.status == expected || status == 403 && page.status == 404, "{login} {path}: {} {}", page.status, page.text);
            assert!(status == 200 || !page.has("Encrypt"), "{login}");
        }
    }
}

#[test]
fn figures_are_what_was_asked_on_sqlite() {
    of_one_hour(|| (Installation::new(), ()), figures);
}

#[test]
fn figures_are_what_was_asked_on_postgresql() {
    let make = || {
        let cluster = Cluster::start();
        (Installation::with(&[("SKM_DATABASE__URL", &cluster.uri())]), cluster)
    };
    of_one_hour(make, figures);
}

/// Such as a newer version wrote before somebody went back to this one.
#[test]
fn a_record_that_can_not_be_read_holds_up_its_own_chain_alone() {
    let installation = Installation::new();
    let service = installation.start();
    let key = Client::new(&installation, &service).change("POST", "/keys/symmetric-keys/create", &json!({"keyStoreName": STORE, "name": "key"}));
    key.expect("an answer").text("keyId");
    service.stop();
    let mut database = installation.database();
    database.run(
        "UPDATE audit_records SET operation = 'OF_A_LATER_VERSION' WHERE position = (SELECT MAX(position) FROM audit_records WHERE project_id IS NOT NULL);
         DELETE FROM counted_chains; DELETE FROM call_counts",
    );
    assert!(database.count("audit_chains") > 1, "an older chain");
    let service = installation.start();
    let uncounted = "audit_chains c LEFT JOIN counted_chains k ON k.chain = c.number WHERE c.head_sequence > COALESCE(k.sequence, -1)";
    wait_until("all but one are counted", PATIENCE, || database.count(uncounted) == 1);
    assert!(service.log().contains("records can't be summed up"), "{}", service.log());
}
