//! The first steps of somebody who has never seen the product.

use super::Browser;
use crate::support::installation::Installation;
use crate::support::postgres::Cluster;

/// From the printed address to a call that succeeds because of what was set up by clicking.
fn the_main_path(installation: &Installation) {
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
    browser.press_in_dialog("Save");
    // Nothing was typed: the form is there again, the message at its field.
    browser.waits("the message", || !browser.text_of("#name-wrong").is_empty());
    browser.fill("Name", "payments");
    browser.fill("Description", "cards & \"accounts\"");
    browser.press_in_dialog("Save");
    browser.sees("The key store was added.");
    browser.sees("No keys yet");
    browser.looks_right("key-store-added");
    let base = format!("/keymanager/v1.2/appkey/{}", installation.demo("APPKEY"));
    let access_key = [("X-TC-AUTHENTICATION-ID", installation.demo("ACCESS_KEY_ID")), ("X-TC-AUTHENTICATION-SECRET", installation.demo("SECRET_ACCESS_KEY"))];
    let number = browser.path().split(['/', '?']).nth(4).expect("a key store's number").to_owned();
    let read = running.ask("GET", &format!("{base}/keystores/{number}"), &access_key, None);
    assert_eq!((read.text("name"), read.text("description")), ("payments".to_owned(), "cards & \"accounts\"".to_owned()));
    browser.press("IPv4 Address Management");
    browser.press("Add IPv4 Address");
    browser.fill("IPv4 address or block", "127.0.0.1");
    browser.press_in_dialog("Save");
    browser.sees("The entry was registered.");
    browser.press("Key Management");
    browser.press_at("summary[contains(., 'Add Key')]");
    browser.press("Symmetric Key");
    browser.fill("Name", "orders");
    browser.press_in_dialog("Save");
    browser.sees("The key was added.");
    let key = browser.path().split(['/', '?']).nth(6).expect("a key's ID").to_owned();
    let encrypt = |key: &str| {
        let path = format!("/keymanager/v1.0/appkey/{}/symmetric-keys/{key}/encrypt", installation.demo("APPKEY"));
        running.ask("POST", &path, &[], Some(&serde_json::json!({"plaintext": "card 4111"})))
    };
    assert!(!encrypt(&key).text("ciphertext").is_empty());
    browser.press("Immediately Rotate");
    browser.press_in_dialog("Immediately Rotate");
    browser.sees("The key was rotated");
    assert_eq!(encrypt(&key).body()["keyVersion"], 1);
    browser.press("Request for Deletion");
    browser.press_in_dialog("Request for Deletion");
    browser.sees("The deletion is scheduled.");
    assert_eq!(encrypt(&key).refusal(), "Invalid Key Status");
    browser.press("Cancel Deletion");
    browser.press_in_dialog("Cancel Deletion");
    browser.sees("The deletion was cancelled.");
    assert_eq!(encrypt(&key).body()["keyVersion"], 1);
}

#[test]
fn from_signing_in_to_a_call_that_succeeds_on_sqlite() {
    the_main_path(&Installation::new());
}

#[test]
fn from_signing_in_to_a_call_that_succeeds_on_postgresql() {
    let cluster = Cluster::start();
    the_main_path(&Installation::with(&[("SKM_DATABASE__URL", &cluster.uri())]));
}
