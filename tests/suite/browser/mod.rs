//! The console as a person uses it: in headless Chromium, against the real service.
//!
//! [`Browser`] is somebody at a browser who finds things by the words on the screen. Everything waits until it can be done, so no test needs to
//! sleep. `SKM_SCREENSHOTS=directory` keeps a picture of each page that [`Browser::looks_right`] looks at.

mod account;
mod approval;
mod driver;
mod files;
mod history;
mod key_stores;
mod keyboard;
mod meanwhile;
mod notifications;
mod organization;
mod scripts;
mod statistics;
mod tour;

use std::future::Future;
use std::path::Path;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fantoccini::elements::Element;
use fantoccini::error::CmdError;
use fantoccini::key::Key;
use fantoccini::{Client, ClientBuilder, Locator};
use serde_json::{Value, json};

use crate::support::installation::{Installation, Running};
use driver::Driver;

/// The longest that anything on a page may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often it is looked again.
const PAUSE: Duration = Duration::from_millis(25);
/// The widths at which everything must be at home: a desk's and a telephone's.
const WIDTHS: [u32; 2] = [1_280, 390];
const HEIGHT: u32 = 900;
const AXE: &str = include_str!("axe/axe.min.js");
/// The most times that Tab is pressed to come to something.
const TABS_MAX: usize = 80;
/// The most bytes of a picture in the README.
const PICTURE_MAX_BYTES: usize = 150 * 1024;
/// What a person can press.
const PRESSABLE: &str = "self::a or self::button or self::summary or self::label";

/// Somebody at a browser.
pub(crate) struct Browser {
    runtime: tokio::runtime::Runtime,
    /// Taken by the drop.
    client: Option<Client>,
    session: String,
    driver: Driver,
    /// `https://127.0.0.1:PORT` of the console.
    base: String,
    /// The browser's own directory.
    _profile: tempfile::TempDir,
}

#[allow(dead_code, reason = "all that a person can do, whether or not a test does it today")]
impl Browser {
    /// At a browser that has never been used.
    pub(crate) fn of(running: &Running) -> Self {
        let (driver, profile) = (Driver::start(), tempfile::tempdir().expect("a directory"));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let mut flags: Vec<String> = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
            .iter()
            .chain(&["--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--ignore-certificate-errors", "--lang=en"])
            .map(|flag| (*flag).to_owned())
            .collect();
        flags.push(format!("--user-data-dir={}", profile.path().display()));
        let capabilities = json!({"browserName": "chrome", "acceptInsecureCerts": true, "goog:chromeOptions": {"args": flags}});
        let capabilities = capabilities.as_object().expect("an object").clone();
        let connector = hyper_util::client::legacy::connect::HttpConnector::new();
        let client = runtime.block_on(ClientBuilder::new(connector).capabilities(capabilities).connect(&driver.url())).expect("Chromium starts");
        let session = runtime.block_on(client.session_id()).expect("an answer").expect("a session");
        let base = format!("https://{}", running.console_address());
        let browser = Self { runtime, client: Some(client), session, driver, base, _profile: profile };
        browser.devtools("Browser.grantPermissions", &json!({"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]}));
        // They take no room on a telephone, and pictures would be cut off where they stand.
        browser.devtools("Emulation.setScrollbarsHidden", &json!({"hidden": true}));
        browser.resize(WIDTHS[0]);
        browser
    }

    /// Signed in as the demo's administrator.
    pub(crate) fn of_administrator(installation: &Installation, running: &Running) -> Self {
        let browser = Self::of(running);
        browser.sign_in(installation.demo("ADMIN_USER"), installation.demo("ADMIN_PASSWORD"));
        browser
    }

    /// Signs in, from whichever page.
    pub(crate) fn sign_in(&self, login: &str, password: &str) {
        self.try_to_sign_in(login, password);
        self.waits("signed in", || !self.path().starts_with("/sign-in"));
    }

    /// Fills the page in and sends it, whatever comes of it.
    pub(crate) fn try_to_sign_in(&self, login: &str, password: &str) {
        self.go("/sign-in");
        self.fill("Account", login);
        self.fill("Password", password);
        self.press("Sign in");
    }

    /// Signs in as far as the code of the second factor.
    pub(crate) fn sign_in_to_code(&self, login: &str, password: &str) {
        self.try_to_sign_in(login, password);
        self.sees("Enter the code");
    }

    /// Goes to a page by its path.
    pub(crate) fn go(&self, path: &str) {
        self.block(self.client().goto(&format!("{}{path}", self.base))).expect("a page");
    }

    /// The path and query of the page.
    pub(crate) fn path(&self) -> String {
        let url = self.block(self.client().current_url()).expect("an address");
        url.as_str().strip_prefix(&self.base).unwrap_or(url.as_str()).to_owned()
    }

    /// Presses what says that: a link, a button, a menu, the label of a box. In the dialog, if one is open.
    pub(crate) fn press(&self, words: &str) {
        let words = quoted(words);
        self.press_at(&format!("*[{PRESSABLE}][normalize-space(.)={words} or @aria-label={words}]"));
    }

    /// Presses what says that within the row, card or other part of the page that says the other.
    pub(crate) fn press_within(&self, part: &str, words: &str) {
        let (part, words) = (quoted(part), quoted(words));
        let pressable = format!("*[{PRESSABLE}][normalize-space(.)={words} or @aria-label={words} or contains(@aria-label, {words})]");
        self.press_at(&format!("*[self::tr or self::li or self::article or self::section][contains(., {part})]//{pressable}"));
    }

    /// Presses what says that in the dialog, once that is there: until then the page may have a control of that name too.
    pub(crate) fn press_in_dialog(&self, words: &str) {
        self.waits_for_dialog();
        let words = quoted(words);
        let xpath = format!("//dialog[@open]//*[{PRESSABLE}][normalize-space(.)={words} or @aria-label={words}]");
        self.tries(&format!("press {words} in the dialog"), async |client| first_displayed(client, &xpath).await?.click().await);
    }

    /// Whether a dialog is open and filled: what is pressed next is pressed in it.
    pub(crate) fn is_asked(&self) -> bool {
        self.run("return document.querySelector('dialog[open] #dialog-title') !== null", &[]).as_bool().unwrap_or_default()
    }

    /// Waits until a dialog is open and filled.
    pub(crate) fn waits_for_dialog(&self) {
        self.waits("a dialog", || self.is_asked());
    }

    /// Waits until no dialog is open.
    pub(crate) fn waits_for_no_dialog(&self) {
        self.waits("the dialog closes", || self.run("return document.querySelector('dialog[open]') === null", &[]).as_bool() == Some(true));
    }

    /// Presses what an XPath step below the page or the open dialog finds.
    pub(crate) fn press_at(&self, step: &str) {
        self.tries(&format!("press {step}"), async |client| self.displayed(client, step).await?.click().await);
    }

    /// Types into the field of that label, instead of what stood there.
    pub(crate) fn fill(&self, label: &str, text: &str) {
        let step = field(label);
        self.tries(&format!("fill {label}"), async |client| {
            let field = self.displayed(client, &step).await?;
            field.clear().await?;
            field.send_keys(text).await
        });
    }

    /// Gives the field of that label a file. It may be hidden behind a button.
    pub(crate) fn upload(&self, label: &str, file: &Path) {
        let xpath = format!("//{}", field(label));
        self.tries(&format!("upload to {label}"), async |client| client.find(Locator::XPath(&xpath)).await?.send_keys(&file.display().to_string()).await);
    }

    /// Chooses one of a list.
    pub(crate) fn choose(&self, label: &str, option: &str) {
        let step = field(label);
        self.tries(&format!("choose {option}"), async |client| self.displayed(client, &step).await?.select_by_label(option).await);
    }

    /// What the field of that label holds.
    pub(crate) fn value(&self, label: &str) -> String {
        let step = field(label);
        self.tries(&format!("the value of {label}"), async |client| Ok(self.displayed(client, &step).await?.prop("value").await?.unwrap_or_default()))
    }

    /// Presses keys, where the focus is. `fantoccini::key::Key` has those that aren't letters.
    pub(crate) fn types(&self, keys: &str) {
        self.tries("type", async |client| client.active_element().await?.send_keys(keys).await);
    }

    /// What the focus is on: its words, or its name.
    pub(crate) fn focused(&self) -> String {
        let script = "const e = document.activeElement; return e.getAttribute('aria-label') || e.innerText.trim() || e.labels?.[0]?.innerText || e.id";
        let words = self.run(script, &[]).as_str().unwrap_or_default().replace('▾', "");
        words.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// Whether a person sees that, now.
    pub(crate) fn has(&self, words: &str) -> bool {
        self.text().contains(words)
    }

    /// Waits until a person sees that.
    pub(crate) fn sees(&self, words: &str) {
        self.waits(words, || self.has(words));
    }

    /// Waits until a person doesn't see that any more.
    pub(crate) fn sees_no(&self, words: &str) {
        self.waits(&format!("no {words}"), || !self.has(words));
    }

    /// All that a person sees: of the dialog, if one is open.
    pub(crate) fn text(&self) -> String {
        let text = self.run("return (document.querySelector('dialog[open]') ?? document.body).innerText", &[]);
        text.as_str().unwrap_or_default().replace('\u{a0}', " ")
    }

    /// The text of the first element that a CSS selector finds.
    pub(crate) fn text_of(&self, selector: &str) -> String {
        self.tries(selector, async |client| client.find(Locator::Css(selector)).await?.text().await)
    }

    /// Waits for something.
    pub(crate) fn waits(&self, what: &str, is_so: impl Fn() -> bool) {
        let until = Instant::now() + PATIENCE;
        while !is_so() {
            assert!(Instant::now() < until, "waited for {what:?}; {} shows:\n{}", self.path(), self.text());
            std::thread::sleep(PAUSE);
        }
    }

    /// Ends the session as far as the browser knows: what a session that has ended looks like in the middle of a form.
    pub(crate) fn loses_its_cookies(&self) {
        self.block(self.client().delete_all_cookies()).expect("no cookies");
    }

    /// Signs in in another tab, and comes back to the page as it was.
    pub(crate) fn signs_in_elsewhere(&self, login: &str, password: &str) {
        let here = self.block(self.client().window()).expect("a tab");
        let there = self.block(self.client().new_window(true)).expect("another tab").handle;
        self.block(self.client().switch_to_window(there)).expect("the other tab");
        self.sign_in(login, password);
        self.block(self.client().close_window()).expect("the other tab closes");
        self.block(self.client().switch_to_window(here)).expect("the tab");
    }

    /// Presses Tab until the focus is on what says that.
    pub(crate) fn tabs_to(&self, words: &str) {
        for _ in 0..TABS_MAX {
            if self.focused() == words {
                return;
            }
            self.types(&char::from(Key::Tab).to_string());
        }
        panic!("{words:?} is not reached by Tab; {} shows:\n{}", self.path(), self.text());
    }

    /// From now on every page notes what its Content-Security-Policy kept from running, before anything of it runs.
    pub(crate) fn notes_violations(&self) {
        let source =
            "window.__violations = []; addEventListener('securitypolicyviolation', (e) => window.__violations.push(`${e.violatedDirective} ${e.blockedURI}`))";
        self.devtools("Page.addScriptToEvaluateOnNewDocument", &json!({"source": source}));
    }

    /// Sends at most so many bytes a second, or as many as it can; what is under way as well.
    pub(crate) fn sends_at(&self, bytes_per_second: Option<u32>) {
        let upload = bytes_per_second.map_or(-1, i64::from);
        let conditions = json!({"offline": false, "latency": 0, "downloadThroughput": -1, "uploadThroughput": upload});
        self.devtools("Network.enable", &json!({}));
        self.devtools("Network.emulateNetworkConditions", &conditions);
    }

    /// Shows itself with that User-Agent.
    pub(crate) fn calls_itself(&self, user_agent: &str) {
        self.devtools("Network.setUserAgentOverride", &json!({"userAgent": user_agent}));
    }

    /// Keeps a picture of what the window shows in `docs/`, for the README, if it is to be renewed.
    pub(crate) fn picture_for_readme(&self, name: &str) {
        if std::env::var_os("SKM_TEST_UPDATE").is_none() {
            return;
        }
        self.shows_in("light");
        let picture = self.devtools("Page.captureScreenshot", &json!({"format": "png", "captureBeyondViewport": false}));
        self.devtools("Emulation.setEmulatedMedia", &json!({"features": []}));
        let png = STANDARD.decode(picture["data"].as_str().expect("a picture")).expect("base64");
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
        std::fs::create_dir_all(&directory).expect("docs/");
        assert!(png.len() < PICTURE_MAX_BYTES, "{name}: {} bytes", png.len());
        std::fs::write(directory.join(format!("console-{name}.png")), png).expect("a picture");
    }

    /// Runs a function's body in the page.
    pub(crate) fn run(&self, script: &str, arguments: &[Value]) -> Value {
        self.tries("a script", async |client| client.execute(script, arguments.to_vec()).await)
    }

    /// Looks at the page at both widths, light and dark: nothing serious for axe, no horizontal scrolling. Keeps pictures of that name if asked to.
    pub(crate) fn looks_right(&self, name: &str) {
        // axe takes a second each time: a desk's page in the light and a telephone's in the dark have every width and every colour.
        for (width, scheme) in WIDTHS.into_iter().zip(["light", "dark"]) {
            self.resize(width);
            for pictured in ["light", "dark"].into_iter().filter(|_| std::env::var_os("SKM_SCREENSHOTS").is_some()) {
                self.shows_in(pictured);
                self.picture(&format!("{name}-{width}-{pictured}"));
            }
            self.shows_in(scheme);
            self.is_accessible(&format!("{name} at {width} px, {scheme}"));
            self.fits(&format!("{name} at {width} px"));
        }
        self.resize(WIDTHS[0]);
        self.devtools("Emulation.setEmulatedMedia", &json!({"features": []}));
    }

    /// Prefers that colour scheme, and waits until the colours are there.
    fn shows_in(&self, scheme: &str) {
        self.devtools("Emulation.setEmulatedMedia", &scheme_of(scheme));
        self.waits("colours that stay", || self.run("return document.getAnimations().every((each) => each.playState !== 'running')", &[]) == true);
    }

    /// Keeps a picture of the whole page in the directory that `SKM_SCREENSHOTS` names, if it does.
    pub(crate) fn picture(&self, name: &str) {
        let Some(directory) = std::env::var_os("SKM_SCREENSHOTS") else { return };
        // A dialog stands in the window, not on the page.
        let whole_page = self.run("return !document.querySelector('dialog[open]')", &[]);
        let picture = self.devtools("Page.captureScreenshot", &json!({"format": "png", "captureBeyondViewport": whole_page}));
        let png = STANDARD.decode(picture["data"].as_str().expect("a picture")).expect("base64");
        std::fs::create_dir_all(&directory).expect("the directory of pictures");
        std::fs::write(Path::new(&directory).join(format!("{name}.png")), png).expect("a picture");
    }

    fn is_accessible(&self, what: &str) {
        let script = "const done = arguments[arguments.length - 1];
            axe.run(document, {resultTypes: ['violations']}).then(
              (found) => done(found.violations.filter((v) => ['serious', 'critical'].includes(v.impact)).map((v) => `${v.id}: ${v.help}\\n  ${v.nodes.map((n) => n.html).join('\\n  ')}`)),
              (error) => done([String(error)]))";
        let found = self.tries("axe", async |client| {
            client.execute(AXE, Vec::new()).await?;
            client.execute_async(script, Vec::new()).await
        });
        assert_eq!(found, json!([]), "{what}");
    }

    fn fits(&self, what: &str) {
        let script = "const most = document.documentElement.clientWidth;
            if (document.documentElement.scrollWidth <= most) return [];
            return [...document.querySelectorAll('body *')].filter((e) => e.getBoundingClientRect().right > most + 1).map((e) => e.outerHTML.slice(0, 120))";
        assert_eq!(self.run(script, &[]), json!([]), "{what}: scrolls horizontally");
    }

    fn resize(&self, width: u32) {
        let metrics = json!({"width": width, "height": HEIGHT, "deviceScaleFactor": 1, "mobile": false});
        self.devtools("Emulation.setDeviceMetricsOverride", &metrics);
        // They would take their width from the page, which a telephone's don't.
        self.devtools("Emulation.setScrollbarsHidden", &json!({"hidden": true}));
    }

    /// A command of the DevTools protocol.
    fn devtools(&self, command: &str, parameters: &Value) -> Value {
        let url = format!("{}/session/{}/goog/cdp/execute", self.driver.url(), self.session);
        let body = json!({"cmd": command, "params": parameters}).to_string();
        let mut answer = ureq::post(url).header("content-type", "application/json").send(body).unwrap_or_else(|error| panic!("{command}: {error}"));
        let text = answer.body_mut().with_config().limit(u64::MAX).read_to_string().expect("an answer");
        serde_json::from_str::<Value>(&text).expect("JSON")["value"].take()
    }

    /// The first that is displayed of what an XPath step finds, in the dialog if one is open.
    async fn displayed(&self, client: &Client, step: &str) -> Result<Element, CmdError> {
        let is_open = !client.find_all(Locator::XPath("//dialog[@open]")).await?.is_empty();
        let xpath = if is_open { format!("//dialog[@open]//{step}") } else { format!("//{step}") };
        first_displayed(client, &xpath).await
    }

    /// Does something as soon as the page lets it.
    fn tries<T>(&self, what: &str, act: impl AsyncFn(&Client) -> Result<T, CmdError>) -> T {
        let until = Instant::now() + PATIENCE;
        loop {
            match self.block(act(self.client())) {
                Ok(done) => return done,
                Err(error) if Instant::now() >= until => panic!("{what}: {error}\n{}", self.block(self.client().source()).unwrap_or_default()),
                Err(_) => std::thread::sleep(PAUSE),
            }
        }
    }

    fn client(&self) -> &Client {
        self.client.as_ref().expect("a browser")
    }

    fn block<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Chromium leads a process group of its own: ending the session ends it.
        if let Some(client) = self.client.take() {
            let _ = self.runtime.block_on(async { tokio::time::timeout(PATIENCE, client.close()).await });
        }
    }
}

/// The first that is displayed of what an XPath finds.
async fn first_displayed(client: &Client, xpath: &str) -> Result<Element, CmdError> {
    for element in client.find_all(Locator::XPath(xpath)).await? {
        if element.is_displayed().await? {
            return Ok(element);
        }
    }
    client.find(Locator::XPath(&format!("{xpath}[false()]"))).await
}

/// What the page is told about the person's wishes. Nothing moves, so that nothing is looked at half-way.
fn scheme_of(scheme: &str) -> Value {
    json!({"features": [{"name": "prefers-color-scheme", "value": scheme}, {"name": "prefers-reduced-motion", "value": "reduce"}]})
}

/// The field that a label of those words, or more, is for.
fn field(label: &str) -> String {
    format!("*[@id=//label[starts-with(normalize-space(.), {})]/@for]", quoted(label))
}

/// A string in XPath.
fn quoted(words: &str) -> String {
    if words.contains('"') { format!("'{words}'") } else { format!("\"{words}\"") }
}
