//! The first steps of somebody who has never seen the product.

use super::Browser;
use crate::support::installation::Installation;

#[test]
fn a_key_store_is_added_by_clicking_and_is_there_for_the_api() {
    let installation = Installation::new();
    let running = installation.start();
    let browser = Browser::of(&running);
    browser.go("/");
    browser.sees("Sign in");
    browser.looks_right("sign-in");
    browser.sign_in(installation.demo("ADMIN_USER"), installation.demo("ADMIN_PASSWORD"));
    browser.sees("demo-by-address");
    browser.looks_right("key-stores");
    browser.press("Add Key Store");
    browser.sees("Authentication methods");
    browser.looks_right("add-key-store");
    browser.press("Save");
    // Nothing was typed: the form is there again, the message at its field.
    browser.waits("the message", || !browser.text_of("#name-wrong").is_empty());
    browser.fill("Name", "payments");
    browser.fill("Description", "cards & \"accounts\"");
    browser.press("Save");
    browser.sees("The key store was added.");
    browser.sees("No keys yet");
    browser.looks_right("key-store-added");
    let base = format!("/keymanager/v1.2/appkey/{}", installation.demo("APPKEY"));
    let access_key = [("X-TC-AUTHENTICATION-ID", installation.demo("ACCESS_KEY_ID")), ("X-TC-AUTHENTICATION-SECRET", installation.demo("SECRET_ACCESS_KEY"))];
    let number = browser.path().split(['/', '?']).nth(4).expect("a key store's number").to_owned();
    let read = running.ask("GET", &format!("{base}/keystores/{number}"), &access_key, None);
    assert_eq!((read.text("name"), read.text("description")), ("payments".to_owned(), "cards & \"accounts\"".to_owned()));
}
