//! From an empty installation to a program that encrypts: an administrator makes a project, an account and a role, and its owner goes on.

use std::process::Command;

use super::Browser;
use crate::support::installation::Installation;

const FIRST: &str = "a first password";
const OWN: &str = "a password of one's own";

#[test]
fn an_administrator_gives_somebody_a_project_and_the_lines_shown_there_work() {
    let installation = Installation::new();
    let running = installation.start();
    let browser = Browser::of_administrator(&installation, &running);
    browser.press_at("summary[contains(., 'Account: ')]");
    browser.press("Organization");
    browser.sees("What the whole installation shares.");
    browser.looks_right("organization");
    browser.press("Projects");
    browser.sees("demo");
    browser.looks_right("organization-projects");
    browser.press("Add Project");
    browser.press("Save");
    browser.sees("must have 1 to 100 characters");
    browser.looks_right("organization-project-wrong");
    browser.fill("Project name", "payments");
    browser.press("Save");
    browser.sees("The project was added, with an appkey.");
    browser.looks_right("organization-project-new");

    browser.press("Accounts");
    browser.press("Add Account");
    browser.fill("Login name", "alice");
    browser.fill("First password", "short");
    browser.press("Save");
    browser.sees("must have 12 characters or more");
    assert_eq!((browser.value("Login name").as_str(), browser.value("First password").as_str()), ("alice", ""));
    browser.looks_right("organization-account-wrong");
    browser.fill("First password", FIRST);
    browser.press("Save");
    browser.sees("The account was added.");
    browser.looks_right("organization-account-new");

    browser.press("Projects");
    browser.press("payments");
    browser.sees("Nobody has a role in this project yet");
    browser.press("Add Member");
    browser.sees("The login name, exactly");
    browser.fill("Account", "alice");
    browser.press_at("label[contains(., 'Everything in the project')]");
    browser.looks_right("organization-member");
    browser.press("Grant");
    browser.sees("The role was granted.");
    browser.press("Add role alice");
    assert_eq!(browser.value("Account"), "alice");
    browser.press_at("label[contains(., 'Its access keys list')]");
    browser.press("Grant");
    browser.sees("API.VIEWER");
    browser.press("What each role may do");
    browser.looks_right("organization-project");
    browser.press("Turn off v1.0 reads by appkey");
    browser.sees("are refused at once");
    browser.looks_right("organization-reads");
    browser.press("Turn off");
    browser.sees("The setting was changed.");

    let alice = Browser::of(&running);
    alice.sign_in("alice", FIRST);
    alice.go("/");
    alice.sees("Your first password was given to you by somebody else.");
    alice.fill("Current password", FIRST);
    alice.fill("New password", OWN);
    alice.fill("New password once more", OWN);
    alice.press("Change password");
    alice.sees("The password was changed.");
    alice.go("/");
    alice.sees("payments");
    alice.press("Add Key Store");
    alice.fill("Name", "cards");
    alice.press("Save");
    alice.sees("The key store was added.");
    alice.press_at("summary[contains(., 'Add Key')]");
    alice.press("Symmetric Key");
    alice.fill("Name", "card numbers");
    alice.press("Save");
    alice.sees("The key was added.");
    alice.go(&format!("{}/ipv4/new", alice.path().split("/keys/").next().expect("the key store")));
    alice.fill("IPv4 address or block", "127.0.0.1");
    alice.press("Save");
    alice.waits("the entry", || alice.path().contains("/ipv4?"));
    alice.press("URL & Appkey");
    alice.sees("Lines to paste");
    alice.looks_right("endpoint");
    alice.press("Manual");
    alice.sees("Deletion in two steps");
    alice.looks_right("manual");
    alice.go("/projects/2/endpoint");
    alice.press("Copy Encrypt with a key of this project");
    alice.sees("Copied");
    let lines = alice.run("return [...document.querySelectorAll('pre.data')].map((line) => line.textContent)", &[]);
    let lines: Vec<String> = serde_json::from_value(lines).expect("texts");
    let directory = tempfile::tempdir().expect("a directory");
    let answers: Vec<String> = lines
        .iter()
        .take(3)
        .map(|line| {
            let output = Command::new("sh").args(["-c", line]).current_dir(directory.path()).output().expect("a shell");
            assert!(output.status.success(), "{line}: {output:?}");
            String::from_utf8(output.stdout).expect("UTF-8")
        })
        .collect();
    assert!(answers[1].contains("127.0.0.1") && answers[2].contains("\"ciphertext\""), "{answers:?}");
    alice.press_at("summary[contains(., 'Account: ')]");
    alice.press("Members and roles");
    alice.sees("Who has which role in this project.");
    alice.looks_right("members");

    browser.press("Accounts");
    browser.press("alice");
    browser.sees("payments");
    browser.looks_right("organization-account");
    browser.press("Disable");
    browser.sees("Its sessions and its access keys' tokens end at once");
    browser.looks_right("organization-account-disable");
    browser.press("Disable");
    browser.sees("The account was disabled.");
    alice.go("/");
    alice.sees("Sign in");
    browser.press("Accounts");
    browser.sees("Disabled");
    browser.looks_right("organization-accounts");
    browser.press("Access keys");
    browser.sees(installation.demo("ACCESS_KEY_ID"));
    browser.looks_right("organization-access-keys");
    browser.press("Health");
    browser.sees("Missing objects");
    browser.looks_right("organization-health");
}
