//! Sessions and their cookies: how long they are good, and to whom a browser shows them.

use super::person::{PASSWORD, Page, Person, code, make_account};
use crate::support::installation::Installation;

const MINUTE: i64 = 60_000_000;
/// The session that began last.
const NEWEST: &str = "console_sessions WHERE signed_in_at = (SELECT MAX(signed_in_at) FROM console_sessions)";

/// Adds that to the newest session's `column`, in microseconds. No page was asked for in it, so the service has nothing of it in memory.
fn move_by(installation: &Installation, column: &str, micros: i64) {
    installation.database().run(&format!("UPDATE {} ", NEWEST.replace(" WHERE", &format!(" SET {column} = {column} + ({micros}) WHERE"))));
}

/// How long the newest session may be at most, in microseconds.
fn life(installation: &Installation) -> i64 {
    installation.database().number("expires_at - signed_in_at", NEWEST)
}

/// A cookie's value, and its attributes.
fn parts(cookie: &str) -> (&str, &str) {
    let (pair, attributes) = cookie.split_once("; ").unwrap_or((cookie, ""));
    (pair.split_once('=').expect("a pair").1, attributes)
}

fn types_password(stranger: &Person<'_>, login: &str, password: &str) -> Page {
    stranger.post("/sign-in", &[("login", login), ("password", password)])
}

#[test]
fn cookies_are_for_this_host_over_tls_and_out_of_reach_of_scripts() {
    let installation = Installation::new();
    let service = installation.start();
    let stranger = Person::stranger(&installation, &service);
    let (login, password) = (installation.demo("ADMIN_USER"), installation.demo("ADMIN_PASSWORD"));
    let page = types_password(&stranger, login, password);
    let [session, browser] = page.cookies.as_slice() else { panic!("{page:?}") };
    assert!(session.starts_with("__Host-skm=") && browser.starts_with("__Host-skm-browser="), "{page:?}");
    assert_eq!(parts(session).1, "Path=/; Secure; HttpOnly; SameSite=Lax");
    assert_eq!(parts(browser).1, "Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=15552000");
    // 32 random bytes in Base64.
    assert!([session, browser].iter().all(|cookie| parts(cookie).0.len() == 43), "{page:?}");
    assert_eq!(types_password(&stranger, "somebody", "a wrong password").cookies, [] as [&str; 0]);
    let person = Person::administrator(&installation, &service);
    let csrf = person.get("/account").hidden("csrf");
    let gone = person.post("/sign-out", &[("csrf", &csrf)]);
    assert_eq!((gone.status, gone.cookies), (303, vec!["__Host-skm=; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=0".to_owned()]));
    assert_eq!(person.get("/account").to.as_deref(), Some("/sign-in?next=%2Faccount"));
}

#[test]
fn sessions_end_when_they_are_idle_or_old() {
    let installation = Installation::new();
    let service = installation.start();
    let moved = |column: &str, micros: i64| {
        let person = Person::administrator(&installation, &service);
        assert_eq!(life(&installation), 12 * 60 * MINUTE);
        move_by(&installation, column, micros);
        let page = person.get("/account");
        (page.status, page.to)
    };
    let ended = (303, Some("/sign-in?next=%2Faccount".to_owned()));
    assert_eq!(moved("last_seen_at", 0), (200, None));
    assert_eq!(moved("last_seen_at", -20 * MINUTE), (200, None));
    assert_eq!(moved("last_seen_at", -31 * MINUTE), ended, "idle");
    assert_eq!(moved("expires_at", -11 * 60 * MINUTE), (200, None));
    assert_eq!(moved("expires_at", -12 * 60 * MINUTE), ended, "old, however busy");
}

#[test]
fn a_code_is_taken_for_five_minutes_after_the_password() {
    let installation = Installation::new();
    let service = installation.start();
    make_account(&installation, "nora", &[]);
    let nora = Person::sign_in(&installation, &service, "nora", PASSWORD);
    let seed = nora.turns_second_factor_on().1;
    let page = nora.get("/account");
    assert!(page.has("Recovery codes left: 10") && !page.has("Few recovery codes are left"), "{}", page.text);
    let halfway = || {
        let person = Person::sign_in(&installation, &service, "nora", PASSWORD);
        assert_eq!(life(&installation), 5 * MINUTE);
        person
    };
    let late = halfway();
    move_by(&installation, "expires_at", -5 * MINUTE);
    let second = code(&seed, 1);
    assert_eq!(late.post("/sign-in/code", &[("code", &second)]).to.as_deref(), Some("/sign-in?late"));
    assert_eq!(late.get("/sign-in/code").to.as_deref(), Some("/sign-in"));
    // The code itself was right, and isn't used up.
    let in_time = halfway();
    assert_eq!(in_time.get("/account").status, 303, "nothing before the code");
    let page = in_time.post("/sign-in/code", &[("code", &second)]);
    assert_eq!((page.status, page.to.as_deref(), page.cookies.len()), (303, Some("/"), 2), "{}", page.text);
    assert_eq!(life(&installation), 12 * 60 * MINUTE);
    // Those who have few ways in left are told.
    installation.database().run("DELETE FROM recovery_codes WHERE code_hash IN (SELECT code_hash FROM recovery_codes LIMIT 7)");
    let page = nora.get("/account");
    assert!(page.has("Recovery codes left: 3") && page.has("Few recovery codes are left"), "{}", page.text);
    let asked = nora.ask("/account/sessions/others/end");
    assert!(asked.has("Sessions that end: 1"), "{}", asked.text);
}
