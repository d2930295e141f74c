//! Every screen, at both widths, light and dark: in its usual state, empty, wrong, and at its end.

use fantoccini::key::Key;

use super::Browser;
use crate::console::person::{PASSWORD, Person, make_account, signing_request};
use crate::support::installation::{Installation, Running};

const OF_PAYMENTS: &str = "Keys of the payment terminals and of the clearing house.\nOwned by the payments team; ask before you rotate.";

struct Tour<'a> {
    installation: &'a Installation,
    running: &'a Running,
    browser: Browser,
    admin: Person<'a>,
    store: String,
}

impl<'a> Tour<'a> {
    /// An administrator at a browser, with a key store as an installation in use has it.
    fn new(installation: &'a Installation, running: &'a Running) -> Self {
        let (browser, admin) = (Browser::of_administrator(installation, running), Person::administrator(installation, running));
        let stores = admin.get("/").to.expect("the first project");
        let checks = [("ip4AuthUse", "Y"), ("certificateAuthUse", "Y"), ("authMode", "AND")];
        let of = |name: &'static str, description: &'static str| [&[("name", name), ("description", description)], checks.as_slice()].concat();
        let made = |page: crate::console::person::Page| page.to.unwrap_or_else(|| panic!("{}", page.text)).split('?').next().expect("a path").to_owned();
        for (name, description) in [("mail-gateway", "Signs what leaves"), ("backups", "")] {
            made(admin.fill_in(&format!("{stores}/new"), &of(name, description)));
        }
        let store = made(admin.fill_in(&format!("{stores}/new"), &of("payments", OF_PAYMENTS)));
        Self { installation, running, browser, admin, store }
    }

    fn make(&self, rest: &str, fields: &[(&str, &str)]) -> String {
        let page = self.admin.fill_in(&format!("{}/{rest}", self.store), fields);
        page.to.unwrap_or_else(|| panic!("{rest}: {} {}", page.status, page.text)).split('?').next().expect("a path").to_owned()
    }

    fn looks(&self, path: &str, sees: &str, name: &str) {
        self.browser.go(path);
        self.browser.sees(sees);
        self.browser.looks_right(name);
    }

    /// Presses something that opens a dialog, looks at that, and closes it.
    fn looks_into(&self, button: &str, sees: &str, name: &str) {
        self.browser.press(button);
        self.browser.waits_for_dialog();
        self.browser.sees(sees);
        self.browser.looks_right(name);
        self.leaves();
    }

    fn leaves(&self) {
        let close = if self.browser.has("Cancel\n") { "Cancel" } else { "Close" };
        self.browser.press_in_dialog(close);
        self.browser.waits_for_no_dialog();
    }

    /// Opens the menu that says that.
    fn opens(&self, words: &str) {
        self.browser.press_at(&format!("summary[contains(., '{words}')]"));
    }
}

#[test]
fn key_stores_and_keys_look_right() {
    let installation = Installation::new();
    let running = installation.start();
    let tour = Tour::new(&installation, &running);
    let (browser, store) = (&tour.browser, tour.store.clone());
    tour.looks(&store, "No keys yet", "key-store-empty");
    tour.make("keys/new/confidential-data", &[("name", "clearing-house password"), ("description", "Renewed each quarter"), ("secretValue", "x")]);
    let aes = tour.make("keys/new/symmetric-key", &[("name", "card-numbers"), ("description", "PAN of cards on file"), ("autoRotationPeriod", "90")]);
    tour.make("keys/new/asymmetric-key", &[("name", "settlement-files"), ("description", ""), ("autoRotationPeriod", "365")]);
    let doomed = tour.make("keys/new/symmetric-key", &[("name", "terminals-2019"), ("description", "Until the last terminal is replaced")]);
    for step in ["steps/rotate", "steps/rotate", "versions/0/steps/request-deletion"] {
        assert_eq!(tour.admin.fill_in(&format!("{aes}/{step}"), &[]).status, 200);
    }
    assert_eq!(tour.admin.fill_in(&format!("{doomed}/steps/request-deletion"), &[]).status, 200);
    tour.looks(&store, "terminals-2019", "key-store");
    browser.picture_for_readme("keys");
    tour.opens("Add Key");
    browser.looks_right("menu-add-key");
    tour.opens("Account: ");
    browser.looks_right("menu-account");
    tour.opens("Project: ");
    browser.looks_right("menu-projects");
    tour.looks(&format!("{store}?q=nothing"), "Nothing matches the search.", "search-none");
    tour.looks(&format!("{store}?sort=name&q=a"), "Search Result", "search-some");
    browser.go(&store);
    for (action, sees, name) in
        [("Details", "Key store details", "key-store-details"), ("Edit", "Edit key store", "key-store-edit"), ("Delete", "for good", "key-store-delete")]
    {
        tour.opens("More actions");
        tour.looks_into(action, sees, name);
    }
    for (kind, sees, name) in [
        ("Confidential Data", "Add confidential data", "add-confidential-data"),
        ("Symmetric Key", "Add symmetric key", "add-symmetric-key"),
        ("Import Symmetric Key", "Key Data", "add-import"),
    ] {
        tour.opens("Add Key");
        browser.press(kind);
        browser.sees(sees);
        browser.looks_right(name);
        browser.press_in_dialog("Save");
        browser.sees("must have");
        browser.looks_right(&format!("{name}-wrong"));
        tour.leaves();
    }
    tour.looks(&aes, "List of Key Versions", "key-symmetric");
    browser.picture_for_readme("key");
    tour.looks_into("Edit", "Edit key", "key-edit");
    tour.looks_into("Immediately Rotate", "The token makes a new version", "key-rotate");
    tour.looks_into("Request for Deletion", "Nobody can use this key", "key-request-deletion");
    tour.looks(&doomed, "This key is scheduled to be deleted", "key-scheduled");
    tour.looks_into("Immediately Delete", "It can't be undone", "key-delete");
    browser.go(&format!("{}/1/keys/{}", store.rsplit_once('/').expect("a path").0, installation.demo("SECRET_ID")));
    browser.sees("Showing it is kept in Usage History.");
    browser.looks_right("key-data-masked");
    browser.press("Show");
    browser.sees("not-a-real-password");
    browser.looks_right("key-data-shown");
    tour.looks(&format!("{aes}/edit"), "Edit key", "form-alone");
}

#[test]
fn clients_look_right() {
    let installation = Installation::new();
    let running = installation.start();
    let tour = Tour::new(&installation, &running);
    let (browser, store) = (&tour.browser, tour.store.clone());
    for (method, sees) in [("ipv4", "No IPv4 addresses yet"), ("macs", "No MAC addresses yet"), ("certificates", "No certificates yet")] {
        tour.looks(&format!("{store}/{method}"), sees, &format!("clients-empty-{method}"));
    }
    for (value, description) in [("192.0.2.10", "Terminal in the main hall"), ("192.0.2.64/26", "Branch offices"), ("198.51.100.7", "Was the old gateway")] {
        tour.make("ipv4/new", &[("value", value), ("description", description)]);
    }
    tour.make("macs/new", &[("value", "00:00:5e:00:53:01"), ("description", "Badge printer")]);
    let ended = tour.admin.fill_in(&format!("{store}/ipv4/request-deletion?value=198.51.100.7"), &[("value", "198.51.100.7")]);
    assert_eq!(ended.status, 200, "{}", ended.text);
    for (name, days) in [("clearing-house.example", "365"), ("terminal-0042", "20")] {
        tour.make("certificates/new", &[("name", name), ("password", "a password"), ("lifeTime", days), ("description", "")]);
    }
    tour.looks(&format!("{store}/ipv4"), "Branch offices", "clients-ipv4");
    tour.looks_into("Details 192.0.2.10", "Entry details", "client-details");
    browser.press("Details 192.0.2.10");
    browser.press_in_dialog("Request for Deletion");
    browser.sees("stops admitting clients at once");
    browser.looks_right("client-request-deletion");
    browser.press_in_dialog("Close");
    browser.waits_for_no_dialog();
    browser.press("Add IPv4 Address");
    browser.sees("such as 192.0.2.0/24");
    browser.looks_right("add-ipv4");
    browser.fill("IPv4 address or block", "192.0.2.300");
    browser.press_in_dialog("Save");
    browser.sees("must be an IPv4 address or CIDR block");
    browser.looks_right("add-ipv4-wrong");
    tour.looks(&format!("{store}/macs"), "Badge printer", "clients-macs");
    tour.looks(&format!("{store}/certificates"), "Expires within 30 days", "clients-certificates");
    browser.picture_for_readme("certificates");
    tour.looks_into("Add Certificate", "Usage period", "add-certificate");
    browser.press("Sign a CSR");
    browser.sees("The private key stays with the client");
    browser.looks_right("sign-csr");
    browser.fill("Name", "signed-elsewhere");
    browser.fill("Certificate signing request", &signing_request("client"));
    browser.press_in_dialog("Sign");
    browser.sees("The certificate is signed");
    browser.looks_right("certificate-signed");
    browser.types(&char::from(Key::Escape).to_string());
    browser.waits_for_no_dialog();
    browser.sees("signed-elsewhere");
}

#[test]
fn beginnings_and_ends_look_right() {
    let installation = Installation::new();
    let running = installation.start();
    let (status, _, log) = installation.run(&["admin", "project", "create", "empty"]);
    assert_eq!(status, 0, "{log}");
    make_account(&installation, "emil", &[("ADMIN", "empty")]);
    make_account(&installation, "vera", &[("VIEWER", "empty")]);
    make_account(&installation, "nora", &[]);
    let tour = Tour::new(&installation, &running);
    let visits = |login: &str| {
        tour.browser.loses_its_cookies();
        tour.browser.sign_in(login, PASSWORD);
        tour.browser.go("/");
    };
    visits("emil");
    tour.browser.sees("No key store yet");
    tour.browser.looks_right("depository-empty");
    visits("vera");
    tour.browser.sees("An administrator of this project adds the first one.");
    tour.browser.looks_right("depository-empty-viewer");
    let stores = tour.browser.path();
    tour.looks(&format!("{stores}/new"), "You may not see this", "problem-forbidden");
    tour.looks(&tour.store, "There is no such page", "problem-not-found");
    visits("nora");
    tour.browser.sees("No project");
    tour.browser.looks_right("no-project");
    tour.browser.loses_its_cookies();
    tour.looks("/sign-in?ended", "Your session has ended.", "sign-in-ended");
    tour.browser.try_to_sign_in("somebody", "a wrong password");
    tour.browser.sees("Account and password don't match");
    tour.browser.looks_right("sign-in-wrong");

    // The service goes away while a form is open.
    tour.browser.sign_in(tour.installation.demo("ADMIN_USER"), tour.installation.demo("ADMIN_PASSWORD"));
    tour.browser.go(&tour.store);
    tour.browser.press("Add Key Store");
    tour.browser.fill("Name", "typed before");
    tour.running.signal("KILL");
    tour.browser.press_in_dialog("Save");
    tour.browser.sees("The service can't be reached. What you typed is still here.");
    assert_eq!(tour.browser.value("Name"), "typed before");
    tour.browser.looks_right("unreachable");
}
