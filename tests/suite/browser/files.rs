//! Files of 10,000 entries: seen to be sent, read line by line, taken whole or not at all, and had again.

use super::Browser;
use crate::console::person::Person;
use crate::support::installation::Installation;

const LINES: usize = 10_000;
/// So that the file is under way until somebody has looked at that.
const BYTES_PER_SECOND: u32 = 10_000;

fn file(installation: &Installation, name: &str, bad: &[usize]) -> std::path::PathBuf {
    let line = |n: usize| match bad.contains(&n) {
        true => format!("10.{}.{}.300,wrong {n}\n", n / 256, n % 256),
        false => format!("10.{}.{}.1,terminal {n} in shop {}\n", n / 256, n % 256, n % 97),
    };
    let text: String = std::iter::once("value,description\n".to_owned()).chain((0..LINES).map(line)).collect();
    let path = installation.path().join(name);
    std::fs::write(&path, text).expect("a file");
    path
}

#[test]
fn ten_thousand_entries_are_checked_and_registered_as_one_watches() {
    let installation = Installation::new();
    let running = installation.start();
    let browser = Browser::of_administrator(&installation, &running);
    let stores = Person::administrator(&installation, &running).get("/").to.expect("the first project");
    // A key store that has none yet.
    let list = format!("{stores}/2/ipv4");
    browser.go(&list);
    browser.press("Register by CSV");
    browser.sees("Register many at once");
    browser.looks_right("csv-upload");
    browser.sends_at(Some(BYTES_PER_SECOND));
    // What the bar and the words beside it show while the file is sent.
    let watch = "window.__seen = []; document.addEventListener('htmx:xhr:progress', () => {
        const bar = document.querySelector('[data-progress]');
        if (bar) window.__seen.push({visible: bar.checkVisibility(), value: bar.hasAttribute('value') ? bar.value / bar.max : null, busy: document.querySelector('main form button.main').disabled});
    })";
    browser.run(watch, &[]);
    browser.upload("CSV file", &file(&installation, "bad.csv", &[3, 5_000, 9_999]));
    browser.press("Check file");
    browser.sees("Working on it");
    browser.looks_right("csv-working");
    let is_partial =
        |step: &serde_json::Value| step["visible"] == true && step["busy"] == true && step["value"].as_f64().is_some_and(|value| value > 0.0 && value < 1.0);
    let seen = || browser.run("return window.__seen", &[]);
    browser.waits("a bar that fills", || seen().as_array().is_some_and(|steps| steps.iter().any(is_partial)));
    browser.sends_at(None);
    browser.sees("Mend these lines");
    // The focus is at the beginning of what came.
    browser.waits("the focus", || browser.run("return document.activeElement.id", &[]) == "content");
    for words in ["10000", "10.0.3.300", "10.39.15.300", "must be an IPv4 address or CIDR block"] {
        browser.sees(words);
    }
    for line in ["5", "5002", "10001"] {
        browser.waits(line, || {
            browser.run("return [...document.querySelectorAll('tbody td:first-child')].map((e) => e.innerText)", &[]).to_string().contains(line)
        });
    }
    browser.sees_no("Register all");
    browser.looks_right("csv-bad");
    assert_eq!(installation.database().count("client_rules WHERE method = 'IPV4'"), 1, "nothing but the demo's");

    browser.upload("CSV file", &file(&installation, "good.csv", &[]));
    browser.press("Check file");
    browser.sees("Every line can be registered. Nothing has been registered so far.");
    browser.looks_right("csv-good");
    assert_eq!(installation.database().count("client_rules WHERE method = 'IPV4'"), 1, "nothing yet");
    browser.press("Register all (10000)");
    browser.sees("All entries of the file were registered.");
    browser.sees("Search Result: 10000");
    browser.looks_right("clients-many");
    // What is downloaded is what was sent.
    let download = browser.run("return document.querySelector('a[href$=\"/csv/download\"]').getAttribute('href')", &[]);
    let text = Person::administrator(&installation, &running).get(download.as_str().expect("an address")).text;
    assert_eq!(text.lines().count(), LINES + 1);
    assert!(
        text.contains("10.39.15.1/32,terminal 9999 in shop 8,") || text.contains("10.39.15.1,terminal 9999 in shop 8,"),
        "{}",
        text.lines().last().unwrap_or_default()
    );
    browser.go(&format!("{list}?q=terminal+9999"));
    browser.sees("Search Result: 1");
}
