//! Approval as two people go through it, each at a browser of his own: one drafts and asks, another one approves or denies.

use super::Browser;
use crate::console::person::{PASSWORD, make_account};
use crate::support::installation::{Installation, Running};

/// What somebody is told who comes too late.
const OVERTAKEN: &str = "or its time is over. Nothing was changed";

fn of(running: &Running, login: &str) -> Browser {
    let browser = Browser::of(running);
    browser.sign_in(login, PASSWORD);
    browser
}

/// An installation with somebody who asks and somebody who approves.
fn with_two() -> (Installation, Running) {
    let installation = Installation::new();
    make_account(&installation, "mona", &[("APPROVAL MEMBER", "demo")]);
    make_account(&installation, "axel", &[("APPROVAL ADMIN", "demo")]);
    let running = installation.start();
    (installation, running)
}

fn turn_on(installation: &Installation) {
    let (status, _, log) = installation.run(&["admin", "approval", "enable", "--project", "demo"]);
    assert_eq!(status, 0, "{log}");
}

/// Adds an IPv4 entry to the draft of the first key store.
fn draft_entry(browser: &Browser, value: &str) {
    browser.press("Key Store Management");
    browser.press("IPv4 Address Management");
    browser.press("Add IPv4 Address");
    browser.fill("IPv4 address or block", value);
    browser.press_in_dialog("Save");
    browser.sees("It is in the draft now.");
}

fn ask(browser: &Browser, note: &str) {
    browser.press("Approval Request");
    browser.fill("Note", note);
    browser.press_in_dialog("Approval Request");
    browser.sees("The request was sent.");
}

/// Opens the newest request of the list.
fn open_newest(browser: &Browser) {
    browser.press_at("nav//a[contains(., 'Approval List')]");
    browser.sees("Requester");
    browser.press_at("td//a[starts-with(normalize-space(.), 'Details')]");
    browser.sees("SHA-256 of exactly this");
}

#[test]
fn one_asks_and_another_one_approves() {
    let (installation, running) = with_two();
    let admin = Browser::of_administrator(&installation, &running);
    admin.go("/");
    admin.press_at("summary[contains(., 'Account: ')]");
    admin.press("Governance Setting");
    admin.sees("With approval on, nobody changes a key store of this project alone");
    admin.press("Turn on");
    admin.press_in_dialog("Turn on");
    admin.sees("Approval is on.");
    let (mona, axel) = (of(&running, "mona"), of(&running, "axel"));
    mona.go("/");
    mona.sees("here nothing is changed");
    mona.press("Draft changes in Key Store Management");
    mona.press_at("summary[contains(., 'Add Key')]");
    mona.press("Symmetric Key");
    mona.fill("Name", "card numbers");
    mona.press_in_dialog("Save");
    mona.sees("It is in the draft now.");
    mona.press("Details demo-symmetric");
    mona.press("Immediately Rotate");
    mona.press_in_dialog("Immediately Rotate");
    mona.sees("It is in the draft now.");
    mona.press("Key Store Management");
    mona.press("Details demo-asymmetric");
    mona.press("Request for Deletion");
    mona.press_in_dialog("Request for Deletion");
    mona.sees("Request the deletion of a key: demo-asymmetric");
    mona.looks_right("approval-key");
    draft_entry(&mona, "10.9.9.9");
    mona.looks_right("approval-draft-clients");
    mona.press("Key Management");
    mona.sees("4 changes");
    mona.looks_right("approval-draft");
    mona.press("Approval Request");
    mona.waits_for_dialog();
    mona.press_in_dialog("Approval Request");
    mona.sees("must have 1 to 1000 characters");
    mona.fill("Note", "The old key was in a backup that went missing.");
    mona.looks_right("approval-ask");
    mona.press_in_dialog("Approval Request");
    mona.sees("You asked for this yourself.");
    mona.press("Key Store Management");
    mona.sees("Somebody has asked for the draft of this key store.");
    mona.looks_right("approval-frozen");

    axel.go("/");
    axel.press_at("nav//a[contains(., 'Approval List')]");
    axel.sees("a backup that went missing");
    axel.looks_right("approval-list");
    open_newest(&axel);
    axel.sees("Immediately Rotate: demo-symmetric");
    axel.looks_right("approval-request");
    axel.press("Approve");
    axel.waits_for_dialog();
    axel.looks_right("approval-approve");
    axel.press_in_dialog("Approve");
    // The page looks again by itself, should it take a while.
    axel.sees("All of it was done.");
    mona.press("Key Store Management");
    mona.sees("card numbers");
    mona.sees_no("Somebody has asked for the draft");
    mona.press("Key Depository");
    mona.sees("card numbers");
}

#[test]
fn requests_are_denied_and_withdrawn_and_fail() {
    let (installation, running) = with_two();
    turn_on(&installation);
    let (mona, axel) = (of(&running, "mona"), of(&running, "axel"));
    mona.go("/");
    draft_entry(&mona, "10.9.9.9");
    // By the keyboard, as by the mouse.
    mona.press("Withdraw Add IPv4 Address 10.9.9.9");
    mona.press_in_dialog("Withdraw");
    mona.sees("The change was taken out of the draft.");
    draft_entry(&mona, "10.9.9.8");
    ask(&mona, "another office");
    axel.go("/");
    open_newest(&axel);
    axel.press("Deny");
    axel.fill("Reason", "That office is closed.");
    axel.press_in_dialog("Deny");
    axel.sees("You denied it. Nothing of it was done.");
    mona.go("/");
    open_newest(&mona);
    mona.sees("That office is closed.");
    mona.looks_right("approval-denied");
    draft_entry(&mona, "10.9.9.7");
    ask(&mona, "an office");
    mona.press("Withdraw");
    mona.press_in_dialog("Withdraw");
    mona.sees("It was withdrawn. Nothing of it was done.");
    mona.press("Key Store Management");
    mona.press("Details demo-symmetric");
    mona.press("Edit");
    mona.fill("Description", "described");
    mona.press_in_dialog("Save");
    mona.sees("It is in the draft now.");
    mona.press("Key Store Management");
    ask(&mona, "words");
    installation.database().run("UPDATE keys SET changed_at = changed_at + 1 WHERE name = 'demo-symmetric'");
    axel.go("/");
    open_newest(&axel);
    axel.press("Approve");
    axel.press_in_dialog("Approve");
    axel.sees("Nothing of it was done.");
    axel.sees("Failed");
    axel.looks_right("approval-failed");
}

/// Nobody decides in time: both see that, the one with the dialog open too; and what was made for it is gone.
#[test]
fn requests_expire() {
    let (installation, running) = with_two();
    turn_on(&installation);
    let (mona, axel) = (of(&running, "mona"), of(&running, "axel"));
    mona.go("/");
    draft_entry(&mona, "10.9.9.9");
    mona.press("Key Management");
    mona.press_at("summary[contains(., 'Add Key')]");
    mona.press("Symmetric Key");
    mona.fill("Name", "never to be");
    mona.press_in_dialog("Save");
    mona.sees("It is in the draft now.");
    ask(&mona, "before the holidays");
    axel.go("/");
    open_newest(&axel);
    axel.press("Approve");
    axel.waits_for_dialog();
    installation.database().run("UPDATE change_requests SET expires_at = 1 WHERE state = 'READY'");
    axel.press_in_dialog("Approve");
    axel.sees(OVERTAKEN);
    let expired = || installation.database().count("change_requests WHERE state = 'EXPIRED'") == 1;
    crate::faults::load::wait_until("the end", std::time::Duration::from_secs(60), expired);
    for browser in [&mona, &axel] {
        browser.go("/");
        open_newest(browser);
        browser.sees("Expired");
        browser.sees("Nothing of it was done.");
        browser.looks_right("approval-expired");
    }
    mona.press("Key Store Management");
    mona.sees_no("never to be");
    mona.sees_no("Somebody has asked for the draft");
    // The next one can be asked for, and done.
    draft_entry(&mona, "10.9.9.8");
    ask(&mona, "after the holidays");
    axel.go("/");
    open_newest(&axel);
    axel.press("Approve");
    axel.press_in_dialog("Approve");
    axel.sees("All of it was done.");
}

/// Whoever looks at a request that is withdrawn meanwhile is told so, and does nothing by it.
#[test]
fn whoever_is_overtaken_is_told() {
    let (installation, running) = with_two();
    turn_on(&installation);
    let (mona, axel) = (of(&running, "mona"), of(&running, "axel"));
    mona.go("/");
    draft_entry(&mona, "10.9.9.9");
    ask(&mona, "an office");
    axel.go("/");
    open_newest(&axel);
    axel.press("Approve");
    axel.waits_for_dialog();
    mona.press("Withdraw");
    mona.press_in_dialog("Withdraw");
    mona.sees("It was withdrawn. Nothing of it was done.");
    axel.press_in_dialog("Approve");
    axel.sees(OVERTAKEN);
    assert_eq!(installation.database().count("client_rules WHERE value = '10.9.9.9/32'"), 0);
    axel.go("/");
    open_newest(&axel);
    axel.sees("Withdrawn");
}

#[test]
fn settings_and_what_was_turned_off_alone_look_right() {
    let (installation, running) = with_two();
    let admin = Browser::of_administrator(&installation, &running);
    admin.go("/projects/1/governance");
    admin.sees("With approval on");
    admin.looks_right("governance-off");
    turn_on(&installation);
    admin.go("/projects/1/governance");
    admin.press("Turn off");
    admin.fill("Note", "we merge projects");
    admin.looks_right("governance-turn-off");
    admin.press_in_dialog("Send request");
    admin.sees("The request was sent.");
    people_look_right(&installation, &running, &admin);
    admin.go("/projects/1/key-stores/1");
    admin.looks_right("approval-read-only");
    admin.go("/projects/1/members");
    admin.press("Add Member");
    admin.sees("this form sends a request");
    admin.looks_right("approval-member");
    admin.press_in_dialog("Cancel");
    let (status, _, log) = installation.run(&["admin", "approval", "disable", "--project", "demo", "--reason", "the only approver left the company"]);
    assert_eq!(status, 0, "{log}");
    admin.go("/projects/1/governance");
    admin.sees("EMERGENCY");
    admin.looks_right("governance-emergency");
    admin.go("/organization");
    admin.sees("the only approver left the company");
    admin.looks_right("governance-banner");
    admin.go("/projects/1/governance");
    admin.press("Acknowledge");
    admin.press_in_dialog("Acknowledge");
    admin.sees("It was acknowledged.");
    admin.sees_no("EMERGENCY");
}

/// What is asked for about people, by one; and what another one, who approves it, is given.
fn people_look_right(installation: &Installation, running: &Running, admin: &Browser) {
    admin.go("/projects/1/governance");
    admin.press("Set whether an access key approves");
    admin.waits_for_dialog();
    admin.looks_right("governance-access-key");
    admin.press_in_dialog("Cancel");
    admin.press("Add account");
    admin.fill("Login name", "kim");
    admin.press_at("label[contains(., 'APPROVAL ADMIN')]");
    admin.fill("First part of the password", "what one has typed");
    admin.fill("Note", "a second approver");
    admin.looks_right("governance-account");
    admin.press_in_dialog("Send request");
    admin.sees("The request was sent.");
    let axel = of(running, "axel");
    axel.go("/");
    open_newest(&axel);
    axel.press("Approve");
    axel.press_in_dialog("Approve");
    axel.sees("This is shown now and never again.");
    axel.looks_right("approval-second-part");
    axel.press_in_dialog("Close");
    axel.sees("All of it was done.");
    let (status, _, log) = installation.run(&["admin", "account", "disable", "kim"]);
    assert_eq!(status, 0, "{log}");
    installation.database().run("UPDATE access_keys SET may_approve = TRUE, account_id = (SELECT id FROM accounts WHERE login = 'axel')");
    admin.go("/projects/1/governance");
    admin.sees("kim (disabled)");
    admin.looks_right("governance-people");
    admin.press("Enable account");
    admin.waits_for_dialog();
    admin.looks_right("governance-enable");
    admin.press_in_dialog("Cancel");
}
