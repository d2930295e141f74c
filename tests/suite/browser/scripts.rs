//! Scripts in whatever a person or a client can put in: they are shown as they were typed, everywhere, and never run.

use super::Browser;
use crate::console::person::{Person, signing_request};
use crate::support::installation::{Installation, Running};

/// A name that ends an attribute, begins elements, and runs where anything of that is taken for HTML.
const NAME: &str = "\"'><img src=x onerror=window.__x=1><script>window.__x=1</script>";
/// The same as a text of more lines, with what templates and URLs would take.
const TEXT: &str = "</textarea></title></pre><svg onload=window.__x=1>\n{{ 7*7 }} ${7*7} javascript:window.__x=1 <a href=javascript:window.__x=1>press</a>";
/// Written from right to left if it is obeyed.
const BIDI: &str = "abc\u{202e}def\u{2066}ghi";
const FILE: &str = "value,description\n10.7.7.7,\"\"\"><script>window.__x=1</script>\"\n";
const BAD_FILE: &str = "value,description\n\"\"\"><script>window.__x=1</script>\",<img src=x onerror=window.__x=1>\n";

/// Nothing of it is an element, nothing ran, nothing was even tried.
fn is_harmless(browser: &Browser, what: &str) {
    let script = "const bad = [...document.querySelectorAll('img, svg[onload], [onerror], [onclick], a[href^=\"javascript:\"], script:not([src])')];
        return {ran: window.__x ?? null, bad: bad.map((e) => e.outerHTML), violations: window.__violations}";
    let found = browser.run(script, &[]);
    assert!(found["ran"].is_null() && found["bad"] == serde_json::json!([]) && found["violations"] == serde_json::json!([]), "{what}: {found}");
}

fn look(browser: &Browser, path: &str, sees: &[&str]) {
    browser.go(path);
    for words in sees {
        browser.sees(words);
    }
    is_harmless(browser, path);
}

/// Opens a dialog, looks, closes it.
fn look_into(browser: &Browser, button: &str, sees: &[&str]) {
    browser.press(button);
    browser.waits_for_dialog();
    for words in sees {
        browser.sees(words);
    }
    is_harmless(browser, button);
    let close = if browser.has("Close") { "Close" } else { "Cancel" };
    browser.press_in_dialog(close);
    browser.waits_for_no_dialog();
}

/// Puts hostile texts wherever a form takes them; the key store's page, and the key's.
fn put_in(person: &Person<'_>) -> (String, String) {
    let stores = person.get("/").to.expect("the first project");
    let fill = |path: &str, fields: &[(&str, &str)]| {
        let done = person.fill_in(path, fields);
        done.to.unwrap_or_else(|| panic!("{path}: {} {}", done.status, done.text)).split('?').next().expect("a path").to_owned()
    };
    let checks = [("name", NAME), ("description", TEXT), ("ip4AuthUse", "Y"), ("macAuthUse", "Y"), ("certificateAuthUse", "Y"), ("authMode", "AND")];
    let store = fill(&format!("{stores}/new"), &checks);
    let key = fill(&format!("{store}/keys/new/confidential-data"), &[("name", NAME), ("description", TEXT), ("secretValue", TEXT)]);
    fill(&format!("{store}/ipv4/new"), &[("value", "10.1.1.1"), ("description", TEXT)]);
    fill(&format!("{store}/macs/new"), &[("value", "00:00:5e:00:53:01"), ("description", TEXT)]);
    fill(&format!("{store}/certificates/new"), &[("name", NAME), ("password", "a password"), ("lifeTime", "30"), ("description", TEXT)]);
    let csr = signing_request(NAME);
    let signed = person.fill_in(&format!("{store}/certificates/sign"), &[("name", "signed"), ("csr", &csr), ("lifeTime", "30"), ("description", BIDI)]);
    assert_eq!(signed.status, 200, "{}", signed.text);
    // What sets the direction of writing is no part of a name.
    let refused = person.fill_in(&format!("{stores}/new"), &[("name", BIDI), ("description", ""), ("ip4AuthUse", "Y"), ("authMode", "AND")]);
    assert!(refused.status == 422 && refused.has("must not contain control characters"), "{}", refused.text);
    (store, key)
}

/// What programs send, which is written down: header, User-Agent, names of keys.
fn call(installation: &Installation, running: &Running) {
    let path = format!("/keymanager/v1.0/appkey/{}/secrets/{}", installation.demo("APPKEY"), installation.demo("SECRET_ID"));
    for (name, value) in [("X-TOAST-CLIENT-MAC-ADDR", NAME), ("User-Agent", NAME)] {
        running.call(false, "GET", &path, &[(name, value)], None).expect("an answer");
    }
}

#[test]
fn nothing_that_was_typed_runs() {
    let installation = Installation::new();
    let running = installation.start();
    let admin = Person::administrator(&installation, &running);
    let (store, key) = put_in(&admin);
    call(&installation, &running);
    let browser = Browser::of(&running);
    browser.notes_violations();
    browser.calls_itself(NAME);
    browser.go("/sign-in");
    browser.try_to_sign_in(NAME, "a password");
    browser.sees("Account and password don't match");
    is_harmless(&browser, "sign-in");
    browser.sign_in(installation.demo("ADMIN_USER"), installation.demo("ADMIN_PASSWORD"));

    look(&browser, &store, &[NAME, "Confidential Data"]);
    let title = browser.run("return document.title", &[]);
    assert!(title.as_str().is_some_and(|title| title.starts_with(NAME)), "{title}");
    for action in ["Details", "Edit", "Delete"] {
        browser.press_at("summary[contains(., 'More actions')]");
        look_into(&browser, action, &[if action == "Edit" { "Authentication methods" } else { NAME }]);
    }
    assert_eq!(browser.run("return document.querySelectorAll('b, i, h4').length", &[]), serde_json::json!(0));
    look(&browser, &format!("{store}?q=%22%3E%3Cscript%3Ewindow.__x%3D1%3C%2Fscript%3E&stores=%22%3E%3Cimg%20src%3Dx%3E"), &["Nothing matches the search."]);
    look(&browser, &key, &[NAME, "{{ 7*7 }} ${7*7}"]);
    browser.press("Show");
    browser.sees("</textarea></title></pre><svg onload=window.__x=1>");
    is_harmless(&browser, "data");
    for action in ["Edit", "Request for Deletion"] {
        look_into(&browser, action, &[if action == "Edit" { "New data" } else { NAME }]);
    }
    for method in ["ipv4", "macs", "certificates"] {
        look(&browser, &format!("{store}/{method}"), &["${7*7}"]);
        browser.press_at("tbody//a[starts-with(normalize-space(.), 'Details')]");
        browser.sees("Entry details");
        is_harmless(&browser, method);
        look_into(&browser, "Request for Deletion", &["stops admitting clients at once"]);
    }
    for (file, sees) in [(BAD_FILE, "Mend these lines"), (FILE, "Every line can be registered")] {
        let path = installation.path().join("entries.csv");
        std::fs::write(&path, file).expect("a file");
        look(&browser, &format!("{store}/ipv4/csv"), &["Register many at once"]);
        browser.upload("CSV file", &path);
        browser.press("Check file");
        browser.sees(sees);
        browser.sees("\"><script>window.__x=1</script>");
        is_harmless(&browser, sees);
    }
    browser.press("Register all (1)");
    browser.sees("All entries of the file were registered.");
    browser.sees("\"><script>window.__x=1</script>");
    look(&browser, "/account", &[NAME]);
    browser.looks_right("hostile-account");
    for path in ["/%22%3E%3Cscript%3Ewindow.__x=1%3C/script%3E", "/sign-in?next=%22%3E%3Cscript%3Ewindow.__x=1%3C/script%3E"] {
        browser.go(path);
        is_harmless(&browser, path);
    }
    browser.go(&store);
    browser.looks_right("hostile-key-store");
    browser.go(&key);
    browser.looks_right("hostile-key");
}
