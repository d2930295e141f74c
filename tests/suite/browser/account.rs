//! One's own account: passwords, codes, sessions, access keys, as a person has them.

use fantoccini::key::Key;

use super::Browser;
use crate::console::person::code;
use crate::support::installation::{Installation, Running};

fn status(running: &Running, installation: &Installation, id: &str, secret: &str) -> u16 {
    let path = format!("/keymanager/v1.2/appkey/{}/confirm", installation.demo("APPKEY"));
    running.ask("GET", &path, &[("X-TC-AUTHENTICATION-ID", id), ("X-TC-AUTHENTICATION-SECRET", secret)], None).status
}

#[test]
fn an_access_key_is_made_used_disabled_and_deleted() {
    let installation = Installation::new();
    let running = installation.start();
    let browser = Browser::of_administrator(&installation, &running);
    browser.go("/account/access-keys");
    browser.sees(installation.demo("ACCESS_KEY_ID"));
    browser.looks_right("access-keys");
    browser.press("Create User Access Key ID");
    browser.fill("Token life in seconds", "59");
    browser.press_in_dialog("Create");
    browser.sees("must be 60 to 86400 seconds");
    assert_eq!(browser.value("Token life in seconds"), "59", "what was typed is still there");
    browser.looks_right("access-key-wrong");
    browser.fill("Token life in seconds", "600");
    browser.press_in_dialog("Create");
    browser.sees("Completed to Issue Secret Key");
    browser.looks_right("access-key-issued");
    let (id, secret) = (browser.text_of("dialog dd:nth-of-type(1) code"), browser.text_of("dialog dd:nth-of-type(2) code"));
    assert_eq!(status(&running, &installation, &id, &secret), 200);
    let download = browser.run("return document.querySelector('dialog a[download]').href", &[]);
    assert!(download.as_str().is_some_and(|address| address.contains(&secret)), "{download}");
    browser.press_in_dialog("Close");
    browser.sees(&id);
    assert!(!browser.has(&secret), "the secret is shown once");
    browser.press(&format!("Disable {id}"));
    browser.sees("Programs that use it are refused at once");
    browser.looks_right("access-key-disable");
    browser.press_in_dialog("Disable");
    browser.sees("The access key was disabled.");
    assert_eq!(status(&running, &installation, &id, &secret), 401);
    browser.press(&format!("Enable {id}"));
    browser.sees("The access key was enabled.");
    assert_eq!(status(&running, &installation, &id, &secret), 200);
    for leaves_by_escape in [false, true, false] {
        browser.press("Create User Access Key ID");
        browser.press_in_dialog("Create");
        browser.sees("Completed to Issue Secret Key");
        let made = browser.text_of("dialog dd:nth-of-type(1) code");
        if leaves_by_escape {
            browser.types(&char::from(Key::Escape).to_string());
        } else {
            browser.press_in_dialog("Close");
        }
        // However one leaves what is shown once, the list has it.
        browser.waits_for_no_dialog();
        browser.sees(&made);
    }
    browser.sees("There are 5 access keys.");
    browser.press(&format!("Delete {id}"));
    browser.press_in_dialog("Delete");
    browser.sees("The access key was deleted.");
    assert_eq!(status(&running, &installation, &id, &secret), 401);
}

#[test]
fn the_second_factor_is_set_up_asked_for_and_turned_off() {
    let installation = Installation::new();
    let running = installation.start();
    let (login, password) = (installation.demo("ADMIN_USER"), installation.demo("ADMIN_PASSWORD"));
    let browser = Browser::of_administrator(&installation, &running);
    browser.go("/account");
    browser.looks_right("account");
    browser.press("Set up");
    browser.sees("Scan this");
    browser.looks_right("second-factor");
    let seed = browser.text_of("code.breaks");
    browser.fill("Code", "000000");
    browser.press("Turn on");
    browser.sees("is not the code that the app shows now");
    assert_eq!(browser.text_of("code.breaks"), seed);
    let first = code(&seed, 0);
    browser.fill("Code", &first);
    browser.press("Turn on");
    browser.sees("Your recovery codes");
    browser.looks_right("recovery-codes");
    let recovery = browser.text_of(".codes li");
    browser.press("Done");
    browser.sees("Recovery codes left: 10");

    let other = Browser::of(&running);
    other.sign_in_to_code(login, password);
    other.looks_right("sign-in-code");
    // Until the code was given the session is good for nothing else.
    other.go("/account");
    other.sees("Sign in");
    other.go("/sign-in/code");
    other.fill("Code", &first);
    other.press("Sign in");
    other.sees("Each is good once.");
    other.fill("Code", &code(&seed, 1));
    other.press("Sign in");
    other.sees("Key Depository");
    // A recovery code, once.
    let third = Browser::of(&running);
    third.sign_in_to_code(login, password);
    third.fill("Code", &recovery.to_uppercase());
    third.press("Sign in");
    third.sees("Key Depository");
    let fourth = Browser::of(&running);
    fourth.sign_in_to_code(login, password);
    fourth.fill("Code", &recovery);
    fourth.press("Sign in");
    fourth.sees("Each is good once.");

    browser.go("/account");
    browser.sees("Recovery codes left: 9");
    browser.looks_right("account-second-factor");
    browser.press("Turn off");
    browser.waits_for_dialog();
    browser.fill("Password", "not the password");
    browser.press_in_dialog("Turn off");
    browser.sees("is not your password");
    browser.fill("Password", password);
    browser.press_in_dialog("Turn off");
    browser.sees("Two-step sign-in is off.");
    // Only the sessions that came in are listed, and end at once.
    browser.press("End all others");
    browser.press_in_dialog("End");
    browser.sees("Ended.");
    other.go("/account");
    other.sees("Sign in");
}

#[test]
fn a_first_password_is_changed_before_anything_else_and_ends_other_sessions() {
    let installation = Installation::new();
    let running = installation.start();
    let login = installation.demo("ADMIN_USER");
    let browser = Browser::of_administrator(&installation, &running);
    let file = installation.path().join("first-password");
    std::fs::write(&file, "a first password").expect("a file");
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("its mode");
    let file = file.display().to_string();
    let (code, _, told) = installation.run(&["admin", "account", "password", login, "--password-file", &file]);
    assert_eq!(code, 0, "{told}");
    // A password that an operator sets ends all sessions at once.
    browser.go("/account");
    browser.sees("Sign in");
    browser.sign_in(login, "a first password");
    browser.go("/");
    browser.sees("Your first password was given to you by somebody else.");
    browser.looks_right("first-password");
    let other = Browser::of(&running);
    other.sign_in(login, "a first password");
    browser.fill("Current password", "a first password");
    browser.fill("New password", "short");
    browser.fill("New password once more", "short");
    browser.press("Change password");
    browser.sees("must have 12 characters or more");
    for (new, again, told) in
        [("a second password", "another password", "differs from the new password"), ("a first password", "a first password", "must differ")]
    {
        browser.fill("Current password", "a first password");
        browser.fill("New password", new);
        browser.fill("New password once more", again);
        browser.press("Change password");
        browser.sees(told);
    }
    browser.fill("Current password", "a first password");
    browser.fill("New password", "a second password");
    browser.fill("New password once more", "a second password");
    browser.press("Change password");
    browser.sees("The password was changed.");
    other.go("/");
    other.sees("Sign in");
}

#[test]
fn failures_slow_a_stranger_down_and_not_the_owner() {
    let installation = Installation::new();
    let running = installation.start();
    let (login, password) = (installation.demo("ADMIN_USER"), installation.demo("ADMIN_PASSWORD"));
    let owner = Browser::of_administrator(&installation, &running);
    let stranger = Browser::of(&running);
    // The waits grow from a second on: a slow browser outlasts the first ones.
    let mut failed = 0;
    for wrong in 0..10 {
        stranger.try_to_sign_in(login, &format!("wrong password {wrong}"));
        stranger.waits("an answer", || stranger.has("Account and password don't match") || stranger.has("Too many attempts have failed."));
        if stranger.has("Too many attempts have failed.") {
            break;
        }
        failed += 1;
    }
    stranger.sees("Too many attempts have failed.");
    stranger.looks_right("sign-in-wait");
    owner.press_at("summary[contains(., 'Account: ')]");
    owner.press("Sign out");
    owner.sees("You are signed out.");
    owner.sign_in(login, password);
    owner.sees("Key Depository");
    let tail = installation.run(&["audit", "tail", "--json", "-n", "50"]).1;
    assert_eq!(tail.lines().filter(|line| line.contains("SIGN_IN") && line.contains("\"unknown\"")).count(), failed, "{tail}");
    assert!(failed >= 5, "{failed}");
}
