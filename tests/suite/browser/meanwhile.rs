//! What happens while somebody fills a form in: his session ends, somebody else changes the same thing, or deletes it.

use super::Browser;
use crate::console::person::{PASSWORD, Person, make_account};
use crate::support::installation::Installation;

const OVERTAKEN: &str = "Somebody else changed this meanwhile. Nothing was overwritten";

#[test]
fn a_session_that_ends_in_the_middle_of_a_form_loses_nothing() {
    let installation = Installation::new();
    let running = installation.start();
    let (login, password) = (installation.demo("ADMIN_USER"), installation.demo("ADMIN_PASSWORD"));
    let browser = Browser::of_administrator(&installation, &running);
    browser.sees("demo-by-address");
    browser.press("Add Key Store");
    browser.fill("Name", "payments");
    browser.fill("Description", "typed with care");
    browser.loses_its_cookies();
    browser.press_in_dialog("Save");
    browser.sees("Your session has ended.");
    browser.looks_right("session-ended");
    assert_eq!((browser.value("Name"), browser.value("Description")), ("payments".to_owned(), "typed with care".to_owned()));
    browser.signs_in_elsewhere(login, password);
    browser.press_in_dialog("Save");
    // The form was of the session before: a person looks it over and sends it again.
    browser.sees("This form was opened in an earlier session.");
    assert_eq!((browser.value("Name"), browser.value("Description")), ("payments".to_owned(), "typed with care".to_owned()));
    browser.press_in_dialog("Save");
    browser.sees("The key store was added.");
    browser.sees("payments");
    // Whoever only reads signs in and comes back to where he was.
    let path = browser.path().split('?').next().expect("a path").to_owned();
    browser.loses_its_cookies();
    browser.go(&format!("{path}?q=x"));
    browser.sees("Sign in");
    browser.fill("Account", login);
    browser.fill("Password", password);
    browser.press("Sign in");
    browser.sees("payments");
    assert_eq!(browser.path(), format!("{path}?q=x"));
}

#[test]
fn what_another_administrator_changed_meanwhile_is_not_overwritten() {
    let installation = Installation::new();
    let running = installation.start();
    let other = Person::administrator(&installation, &running);
    let stores = other.get("/").to.expect("the first project");
    let (store, key) = (format!("{stores}/1"), format!("{stores}/1/keys/{}", installation.demo("SYMMETRIC_ID")));
    let checks = [("description", "theirs"), ("ip4AuthUse", "Y"), ("authMode", "AND")];
    let rename = |name: &str| {
        let done = other.fill_in(&format!("{store}/edit"), &[&[("name", name)], checks.as_slice()].concat());
        assert_eq!(done.status, 200, "{}", done.text);
    };
    let browser = Browser::of_administrator(&installation, &running);
    browser.go(&store);
    browser.press_at("summary[contains(., 'More actions')]");
    browser.press("Edit");
    browser.fill("Name", "mine");
    rename("theirs");
    browser.press_in_dialog("Save");
    browser.sees(OVERTAKEN);
    assert_eq!(browser.value("Name"), "mine", "what was typed is still there");
    browser.looks_right("changed-meanwhile");
    // Sent once more it is refused again, by another form than the one that is there; looked at anew it isn't.
    browser.run("document.querySelector('dialog[open] form').dataset.old = 1", &[]);
    browser.press_in_dialog("Save");
    let is_another = "return document.querySelector('dialog[open] form:not([data-old])') !== null";
    browser.waits("another answer", || browser.run(is_another, &[]).as_bool() == Some(true));
    browser.sees(OVERTAKEN);
    browser.press_in_dialog("Cancel");
    browser.go(&store);
    browser.sees("theirs");
    browser.press_at("summary[contains(., 'More actions')]");
    browser.press("Edit");
    browser.fill("Name", "mine");
    browser.press_in_dialog("Save");
    browser.sees("The key store was changed.");

    browser.press_at("summary[contains(., 'More actions')]");
    browser.press("Delete");
    browser.sees("for good");
    rename("theirs again");
    browser.press_in_dialog("Delete");
    browser.sees(OVERTAKEN);
    browser.go(&key);
    browser.press("Edit");
    browser.fill("Name", "mine");
    let done = other.fill_in(&format!("{key}/edit"), &[("name", "their key"), ("description", "")]);
    assert_eq!(done.status, 200, "{}", done.text);
    browser.press_in_dialog("Save");
    browser.sees(OVERTAKEN);
    browser.go(&key);
    browser.sees("their key");
    // What is gone says so, and leaves no half dialog behind.
    browser.press("Edit");
    browser.fill("Name", "mine");
    for step in ["request-deletion", "delete"] {
        assert_eq!(other.fill_in(&format!("{key}/steps/{step}"), &[]).status, 200);
    }
    browser.press_in_dialog("Save");
    browser.sees("This is gone");
    browser.looks_right("gone");
}

#[test]
fn a_viewer_sees_no_data_and_nothing_that_would_fail() {
    let installation = Installation::new();
    let running = installation.start();
    make_account(&installation, "vera", &[("VIEWER", "demo")]);
    let browser = Browser::of(&running);
    browser.sign_in("vera", PASSWORD);
    browser.go("/");
    browser.sees("demo-by-address");
    let absent = |words: &[&str]| {
        for words in words {
            let buttons = browser.run(
                "return [...document.querySelectorAll('main a, main button, main summary')].filter((e) => e.checkVisibility()).map((e) => e.innerText.trim() + '|' + (e.getAttribute('aria-label') ?? ''))",
                &[],
            );
            let is_there = buttons.as_array().expect("buttons").iter().any(|button| button.as_str().is_some_and(|text| text.contains(words)));
            assert!(!is_there, "{} shows {words:?}: {buttons}", browser.path());
        }
    };
    absent(&["Add ", "Edit", "Delete", "+"]);
    browser.looks_right("viewer-key-store");
    browser.press_at("summary[contains(., 'More actions')]");
    browser.sees("Details");
    absent(&["Edit", "Delete"]);
    browser.press("Details");
    browser.sees("Key store details");
    browser.press_in_dialog("Close");
    let store = browser.path();
    for (tab, sees) in
        [("IPv4 Address Management", "127.0.0.1"), ("MAC Address Management", "No MAC addresses yet"), ("Certificate Management", "No certificates yet")]
    {
        browser.press(tab);
        browser.sees(sees);
        absent(&["Add ", "Register", "Sign", "Delete"]);
    }
    browser.press("IPv4 Address Management");
    browser.press("Details 127.0.0.1");
    browser.sees("Entry details");
    browser.sees_no("Request for Deletion");
    browser.press_in_dialog("Close");
    browser.go(&format!("{store}/keys/{}", installation.demo("SECRET_ID")));
    browser.sees("Only an ADMIN of the project may see it.");
    absent(&["Show", "Edit", "Rotate", "Deletion"]);
    assert!(!browser.has("not-a-real-password"));
    browser.looks_right("viewer-key");
}
