//! Reading who did what, as a security officer does.

use serde_json::json;

use super::Browser;
use crate::support::installation::{Installation, Running};

fn encrypt(installation: &Installation, running: &Running, key: &str, agent: &str) {
    let demo = |name| installation.demo(name);
    let access_key = [
        ("X-TC-AUTHENTICATION-ID", demo("ACCESS_KEY_ID")),
        ("X-TC-AUTHENTICATION-SECRET", demo("SECRET_ACCESS_KEY")),
        ("X-TOAST-CLIENT-MAC-ADDR", "00:00:5e:00:53:01"),
        ("user-agent", agent),
    ];
    let path = format!("/keymanager/v1.2/appkey/{}/symmetric-keys/{key}/encrypt", demo("APPKEY"));
    running.ask("POST", &path, &access_key, Some(&json!({"plaintext": "x"})));
}

#[test]
fn a_refused_call_is_found_by_clicking() {
    let installation = Installation::new();
    let running = installation.start();
    for n in 0..12 {
        encrypt(&installation, &running, installation.demo("SYMMETRIC_ID"), &format!("payments/1.{n} <script>window.injected = true</script>"));
    }
    encrypt(&installation, &running, &"0".repeat(32), "scanner/9");
    let browser = Browser::of_administrator(&installation, &running);
    browser.sees("Usage History");
    browser.press("Usage History");
    browser.sees("payments/1.11");
    browser.looks_right("usage-history");
    browser.press("Filters");
    browser.choose("Operation", "Encrypt");
    browser.press("Apply");
    let operations = "return [...document.querySelectorAll('td[data-column=\"Operation\"]')].map((cell) => cell.innerText)";
    browser.waits("only encryptions", || browser.run(operations, &[]) == json!(vec!["Encrypt"; 10]));
    browser.looks_right("usage-history-filtered");
    browser.press("Older");
    browser.sees("Newest");
    browser.press("Newest");
    browser.sees("payments/1.11");
    browser.choose("Result", "Refused");
    browser.press("Apply");
    browser.sees("Invalid Key ID (3001)");
    browser.sees_no("payments/1.11");
    browser.press_at("tr[contains(., 'scanner/9')]//a[starts-with(normalize-space(.), 'Details')]");
    browser.sees("Request ID");
    browser.sees("00:00:5e:00:53:01");
    browser.looks_right("usage-history-record");
    browser.press_in_dialog("Close");
    browser.sees_no("Request ID");
    browser.fill("Who", "no such <person>");
    browser.press("Apply");
    browser.waits("the message", || !browser.text_of("#who-wrong").is_empty());
    assert_eq!(browser.value("Who"), "no such <person>");
    browser.looks_right("usage-history-wrong");
    browser.press("Clear");
    browser.sees("payments/1.11");
    let file = browser.run("return fetch(document.querySelector('a[download]').href).then((answer) => answer.text())", &[]);
    let file = file.as_str().expect("a file");
    assert!(file.lines().count() > 13 && file.contains("scanner/9"), "{file}");
    assert_eq!(browser.run("return window.injected ?? null", &[]), json!(null));
    browser.go("/organization/audit");
    browser.sees("State of the log");
    browser.looks_right("organization-audit");
}
