//! Without a mouse: a key store and a key come and go, and the focus is always where a person expects it.

use fantoccini::key::Key;

use super::Browser;
use crate::support::installation::Installation;

fn presses(browser: &Browser, key: Key) {
    browser.types(&char::from(key).to_string());
}

/// Goes to a control by Tab and presses Enter.
fn enters(browser: &Browser, words: &str) {
    browser.tabs_to(words);
    presses(browser, Key::Enter);
}

#[test]
fn everything_is_done_with_the_keyboard_alone() {
    let installation = Installation::new();
    let running = installation.start();
    let browser = Browser::of(&running);
    browser.go("/sign-in");
    browser.waits("the focus", || browser.focused() == "Account");
    browser.types(installation.demo("ADMIN_USER"));
    browser.tabs_to("Password");
    browser.types(installation.demo("ADMIN_PASSWORD"));
    presses(&browser, Key::Enter);
    browser.sees("demo-by-address");

    // The first stop is the way past the frame.
    presses(&browser, Key::Tab);
    assert_eq!(browser.focused(), "Skip to the content");
    presses(&browser, Key::Enter);
    enters(&browser, "Add Key Store");
    browser.sees("Authentication methods");
    browser.waits("the focus", || browser.focused() == "Name");
    // Escape closes, and the focus is where it was.
    presses(&browser, Key::Escape);
    browser.waits_for_no_dialog();
    assert_eq!(browser.focused(), "Add Key Store");
    presses(&browser, Key::Enter);
    browser.waits("the focus", || browser.focused() == "Name");
    // What is wrong has the focus when the form comes back, and Tab never leaves the dialog.
    enters(&browser, "Save");
    browser.sees("must have 1 to 100 characters");
    browser.waits("the focus", || browser.focused() == "Name");
    for _ in 0..20 {
        presses(&browser, Key::Tab);
        let inside = browser.run("return document.activeElement === document.body || document.querySelector('dialog').contains(document.activeElement)", &[]);
        assert_eq!(inside.as_bool(), Some(true), "{}", browser.focused());
    }
    browser.tabs_to("Name");
    browser.types("by keyboard");
    presses(&browser, Key::Enter);
    browser.sees("The key store was added.");

    // A menu opens and closes by itself.
    browser.tabs_to("Add Key");
    presses(&browser, Key::Enter);
    browser.tabs_to("Symmetric Key");
    presses(&browser, Key::Escape);
    browser.waits("the menu closes", || browser.run("return document.querySelector('details.menu[open]') === null", &[]).as_bool() == Some(true));
    assert_eq!(browser.focused(), "Add Key");
    presses(&browser, Key::Enter);
    enters(&browser, "Confidential Data");
    browser.waits("the focus", || browser.focused() == "Name");
    presses(&browser, Key::Escape);
    browser.waits_for_no_dialog();
    assert_eq!(browser.focused(), "Add Key");
    presses(&browser, Key::Enter);
    enters(&browser, "Confidential Data");
    browser.waits("the focus", || browser.focused() == "Name");
    browser.types("made by keyboard");
    browser.tabs_to("Data");
    browser.types("typed by keyboard");
    enters(&browser, "Save");
    browser.sees("The key was added.");

    // A swap within the page keeps the focus on what took the place of the button.
    enters(&browser, "Show");
    browser.sees("typed by keyboard");
    browser.waits("the focus", || browser.focused() == "Hide");
    presses(&browser, Key::Enter);
    browser.waits("the focus", || browser.focused() == "Show");

    enters(&browser, "Request for Deletion");
    // The focus begins on what does nothing.
    browser.waits("the focus", || browser.focused() == "Cancel");
    enters(&browser, "Request for Deletion");
    browser.sees("The deletion is scheduled.");
    enters(&browser, "Immediately Delete");
    browser.waits("the focus", || browser.focused() == "Cancel");
    enters(&browser, "Immediately Delete");
    browser.sees("The key was deleted.");
    browser.sees("No keys yet");
}
