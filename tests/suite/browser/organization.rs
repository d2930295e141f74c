//! From an empty installation to a program that encrypts: an administrator makes a project, an account and a role, and its owner goes on. Then
//! what the pages look like, a few in each test.

use std::process::Command;

use super::Browser;
use crate::support::installation::{Installation, Running};

const FIRST: &str = "a first password";
const OWN: &str = "a password of one's own";

fn add_account(browser: &Browser, login: &str) {
    browser.go("/organization/accounts");
    browser.press("Add Account");
    browser.fill("Login name", login);
    browser.fill("First password", FIRST);
    browser.press_in_dialog("Save");
    browser.sees("The account was added.");
}

/// Signs in for the first time.
fn first_sign_in(running: &Running, login: &str) -> Browser {
    let browser = Browser::of(running);
    browser.sign_in(login, FIRST);
    browser.go("/");
    browser.sees("Your first password was given to you by somebody else.");
    browser.fill("Current password", FIRST);
    browser.fill("New password", OWN);
    browser.fill("New password once more", OWN);
    browser.press("Change password");
    browser.sees("The password was changed.");
    browser
}

#[test]
fn an_administrator_gives_somebody_a_project_and_the_lines_shown_there_work() {
    let installation = Installation::new();
    let running = installation.start();
    let browser = Browser::of_administrator(&installation, &running);
    browser.press_at("summary[contains(., 'Account: ')]");
    browser.press("Organization");
    browser.sees("What the whole installation shares.");
    browser.press("Projects");
    browser.press("Add Project");
    browser.fill("Project name", "payments");
    browser.press_in_dialog("Save");
    browser.sees("The project was added, with an appkey.");
    add_account(&browser, "alice");
    browser.press("Projects");
    browser.press("payments");
    browser.sees("Nobody has a role in this project yet");
    browser.press("Add Member");
    browser.fill("Account", "alice");
    browser.press_at("label[contains(., 'Everything in the project')]");
    browser.press_in_dialog("Grant");
    browser.sees("The role was granted.");

    let alice = first_sign_in(&running, "alice");
    alice.go("/");
    alice.press("Add Key Store");
    alice.fill("Name", "cards");
    alice.press_in_dialog("Save");
    alice.sees("The key store was added.");
    let key_store = alice.path().split('?').next().expect("the key store").to_owned();
    alice.press_at("summary[contains(., 'Add Key')]");
    alice.press("Symmetric Key");
    alice.fill("Name", "card numbers");
    alice.press_in_dialog("Save");
    alice.sees("The key was added.");
    alice.go(&format!("{key_store}/ipv4"));
    alice.press("Add IPv4 Address");
    alice.fill("IPv4 address or block", "127.0.0.1");
    alice.press_in_dialog("Save");
    alice.waits("the entry", || alice.path().contains("/ipv4?"));
    alice.press("URL & Appkey");
    alice.press("Copy Encrypt with a key of this project");
    alice.sees("Copied");
    let lines = alice.run("return [...document.querySelectorAll('pre.data')].map((line) => line.textContent)", &[]);
    let lines: Vec<String> = serde_json::from_value(lines).expect("texts");
    let directory = tempfile::tempdir().expect("a directory");
    let paste = |line: &String| {
        let output = Command::new("sh").args(["-c", line]).current_dir(directory.path()).output().expect("a shell");
        assert!(output.status.success(), "{line}: {output:?}");
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    let answers: Vec<String> = lines.iter().take(3).map(paste).collect();
    assert!(answers[1].contains("127.0.0.1") && answers[2].contains("\"ciphertext\""), "{answers:?}");
    alice.looks_right("endpoint");

    // Disabled, she is out at once.
    browser.press("Accounts");
    browser.press("alice");
    browser.press("Disable");
    browser.sees("Its sessions and its access keys' tokens end at once");
    browser.press_in_dialog("Disable");
    browser.sees("The account was disabled.");
    alice.go("/");
    alice.sees("Sign in");
}

#[test]
fn projects_and_their_members_look_right() {
    let installation = Installation::new();
    let running = installation.start();
    let browser = Browser::of_administrator(&installation, &running);
    browser.go("/organization/projects");
    browser.sees("demo");
    browser.looks_right("organization-projects");
    browser.press("Add Project");
    browser.press_in_dialog("Save");
    browser.sees("must have 1 to 100 characters");
    browser.press_in_dialog("Cancel");
    browser.press("demo");
    browser.press("Add role admin");
    browser.waits_for_dialog();
    assert_eq!(browser.value("Account"), "admin");
    browser.press_at("label[contains(., 'Its access keys list')]");
    browser.looks_right("organization-member");
    browser.press_in_dialog("Grant");
    browser.sees("API.VIEWER");
    browser.press("What each role may do");
    browser.looks_right("organization-project");
    browser.press("Turn off v1.0 reads by appkey");
    browser.waits_for_dialog();
    browser.looks_right("organization-reads");
    browser.press_in_dialog("Turn off");
    browser.sees("The setting was changed.");
    browser.go("/projects/1/members");
    browser.press("Revoke API.VIEWER admin");
    browser.press_in_dialog("Revoke");
    browser.sees("The role was revoked.");
}

#[test]
fn accounts_and_access_keys_look_right() {
    let installation = Installation::new();
    let running = installation.start();
    let browser = Browser::of_administrator(&installation, &running);
    add_account(&browser, "alice");
    browser.press("Reset password");
    browser.waits_for_dialog();
    browser.fill("First password", "short");
    browser.press_in_dialog("Reset password");
    browser.sees("must have 12 characters or more");
    assert_eq!(browser.value("First password"), "", "passwords are typed again");
    browser.looks_right("organization-password");
    browser.go("/organization/accounts");
    browser.looks_right("organization-accounts");
    browser.press("admin");
    browser.sees("This is your own account");
    browser.looks_right("organization-account");
    browser.go("/organization/access-keys");
    browser.sees(installation.demo("ACCESS_KEY_ID"));
    browser.looks_right("organization-access-keys");
}

#[test]
fn overview_health_members_and_manual_look_right() {
    let installation = Installation::new();
    let running = installation.start();
    let browser = Browser::of_administrator(&installation, &running);
    browser.go("/organization");
    browser.sees("What the whole installation shares.");
    browser.looks_right("organization");
    browser.go("/organization/health");
    browser.sees("Missing objects");
    browser.looks_right("organization-health");
    browser.go("/projects/1/members");
    browser.sees("Who has which role in this project.");
    browser.looks_right("members");
    browser.press("Manual");
    browser.sees("Deletion in two steps");
    browser.looks_right("manual");
}
