//! Somebody at a browser who is signed in: keeps the cookie, sends forms as they came.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use totp_rs::{Builder, Secret};

use crate::support::installation::{Installation, Running, agent};

/// The password of accounts that tests make.
pub(crate) const PASSWORD: &str = "a password of some length";
/// The most bytes of an answer.
const ANSWER_MAX_BYTES: u64 = 64 << 20;

/// An answer.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) status: u16,
    /// Where htmx or the browser is sent.
    pub(crate) to: Option<String>,
    /// The header `Allow`.
    pub(crate) allow: Option<String>,
    /// The cookies that it sets, with their attributes.
    pub(crate) cookies: Vec<String>,
    /// How many bytes came.
    pub(crate) bytes: usize,
    pub(crate) text: String,
}

impl Page {
    /// What a hidden field of the page holds.
    pub(crate) fn hidden(&self, name: &str) -> String {
        let from = format!("name=\"{name}\" value=\"");
        let (_, rest) = self.text.split_once(&from).unwrap_or_else(|| panic!("no {name} in {}", self.text));
        rest.split('"').next().expect("a value").to_owned()
    }

    pub(crate) fn has(&self, text: &str) -> bool {
        self.text.contains(text)
    }
}

/// Makes an account with roles in projects, and the password that tests know.
pub(crate) fn make_account(installation: &Installation, login: &str, roles: &[(&str, &str)]) {
    let file = installation.path().join(format!("password-of-{login}"));
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true).mode(0o600).open(&file).expect("a file").write_all(PASSWORD.as_bytes()).expect("written");
    let run = |arguments: &[&str]| {
        let (status, _, log) = installation.run(arguments);
        assert_eq!(status, 0, "{arguments:?}: {log}");
    };
    run(&["admin", "account", "create", login, "--keep-password", "--password-file", &file.display().to_string()]);
    for (role, project) in roles {
        run(&["admin", "role", "grant", login, role, "--project", project]);
    }
}

/// A certificate signing request for that common name, in PEM, of a key that nobody keeps.
pub(crate) fn signing_request(common_name: &str) -> String {
    signing_request_of(&rcgen::KeyPair::generate().expect("a key"), common_name)
}

/// The same of a key that somebody keeps.
pub(crate) fn signing_request_of(key: &rcgen::KeyPair, common_name: &str) -> String {
    let mut parameters = rcgen::CertificateParams::default();
    parameters.distinguished_name = rcgen::DistinguishedName::new();
    parameters.distinguished_name.push(rcgen::DnType::CommonName, common_name);
    let request = parameters.serialize_request(key).expect("a request");
    let lines: Vec<String> = STANDARD.encode(request.der()).as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line).into_owned()).collect();
    format!("-----BEGIN CERTIFICATE REQUEST-----\n{}\n-----END CERTIFICATE REQUEST-----\n", lines.join("\n"))
}

/// The code that an authenticator app shows, so many steps of 30 seconds later than now.
pub(crate) fn code(seed: &str, steps_later: u64) -> String {
    let codes = Builder::new().with_secret(Secret::try_from_base32(seed).expect("Base32")).build().expect("a seed");
    let now = std::time::UNIX_EPOCH.elapsed().expect("after 1970").as_secs();
    codes.generate(now + 30 * steps_later).to_string()
}

pub(crate) struct Person<'a> {
    service: &'a Running,
    agent: ureq::Agent,
    cookie: String,
}

impl<'a> Person<'a> {
    /// Signs in.
    pub(crate) fn sign_in(installation: &Installation, service: &'a Running, login: &str, password: &str) -> Self {
        let mut person = Self::stranger(installation, service);
        let (page, cookie) = person.send("POST", "/sign-in", &[("sec-fetch-site", "same-origin")], Some(&[("login", login), ("password", password)]));
        assert_eq!(page.status, 303, "{}", page.text);
        person.cookie = cookie.expect("a cookie").split(';').next().expect("a cookie").to_owned();
        person
    }

    /// Signs in as the demo's administrator.
    pub(crate) fn administrator(installation: &Installation, service: &'a Running) -> Self {
        Self::sign_in(installation, service, installation.demo("ADMIN_USER"), installation.demo("ADMIN_PASSWORD"))
    }

    /// Somebody who isn't signed in.
    pub(crate) fn stranger(installation: &Installation, service: &'a Running) -> Self {
        let roots = std::fs::read(Path::new(installation.demo("CA"))).expect("the CA");
        Self { service, agent: agent(&roots, None), cookie: String::new() }
    }

    /// Turns two-step sign-in on: the page with the recovery codes, and the seed.
    pub(crate) fn turns_second_factor_on(&self) -> (Page, String) {
        let csrf = self.get("/account").hidden("csrf");
        assert_eq!(self.post("/account/second-factor/begin", &[("csrf", &csrf)]).status, 303);
        let page = self.get("/account/second-factor");
        let seed = page.text.split("<code class=\"breaks\">").nth(1).and_then(|rest| rest.split('<').next()).expect("the key").to_owned();
        let on = self.post("/account/second-factor", &[("csrf", &csrf), ("code", &code(&seed, 0))]);
        assert_eq!(on.status, 200, "{}", on.text);
        (on, seed)
    }

    /// A file that comes for a form: its type, the name it is to be kept by, its bytes.
    pub(crate) fn download(&self, path: &str, fields: &[(&str, &str)]) -> (String, String, Vec<u8>) {
        let form = serde_urlencoded::to_string(fields).expect("a form");
        let request = ureq::http::Request::post(format!("https://{}{path}", self.service.console_address()))
            .header("cookie", &self.cookie)
            .header("sec-fetch-site", "same-origin")
            .header("content-type", "application/x-www-form-urlencoded");
        let request = self.agent.configure_request(request.body(form).expect("a request")).max_redirects(0).build();
        let mut answer = self.agent.run(request).expect("an answer");
        assert_eq!(answer.status(), 200, "{path}");
        let header = |name: &str| answer.headers().get(name).map(|value| value.to_str().expect("a header").to_owned()).unwrap_or_default();
        let (kind, disposition) = (header("content-type"), header("content-disposition"));
        (kind, disposition, answer.body_mut().read_to_vec().expect("a file"))
    }

    pub(crate) fn get(&self, path: &str) -> Page {
        self.send("GET", path, &[], None).0
    }

    /// An answer whose body is read as the test likes; however long that takes.
    pub(crate) fn open(&self, path: &str) -> ureq::http::Response<ureq::Body> {
        let url = format!("https://{}{path}", self.service.console_address());
        let request = ureq::http::Request::get(url).header("cookie", &self.cookie).body(()).expect("a request");
        let request = self.agent.configure_request(request).max_redirects(0).timeout_global(None).build();
        self.agent.run(request).expect("an answer")
    }

    /// A fragment for the dialog.
    pub(crate) fn ask(&self, path: &str) -> Page {
        self.send("GET", path, &[("hx-request", "true"), ("hx-target", "dialog")], None).0
    }

    /// Sends a form from the dialog.
    pub(crate) fn send_form(&self, path: &str, fields: &[(&str, &str)]) -> Page {
        self.send("POST", path, &[("hx-request", "true"), ("hx-target", "dialog"), ("sec-fetch-site", "same-origin")], Some(fields)).0
    }

    /// Sends a form without the script.
    pub(crate) fn post(&self, path: &str, fields: &[(&str, &str)]) -> Page {
        self.send("POST", path, &[("sec-fetch-site", "same-origin")], Some(fields)).0
    }

    /// Opens the form, fills it in, sends it.
    pub(crate) fn fill_in(&self, path: &str, fields: &[(&str, &str)]) -> Page {
        let form = self.ask(path);
        assert_eq!(form.status, 200, "{path}: {}", form.text);
        let mut all = vec![("csrf", form.hidden("csrf"))];
        let seen = ["seen", "revision"].into_iter().filter(|name| form.has(&format!("type=\"hidden\" name=\"{name}\"")));
        all.extend(seen.map(|name| (name, form.hidden(name))));
        all.extend(fields.iter().map(|(name, value)| (*name, (*value).to_owned())));
        let all: Vec<(&str, &str)> = all.iter().map(|(name, value)| (*name, value.as_str())).collect();
        self.send_form(path, &all)
    }

    /// Sends a form with a file.
    pub(crate) fn upload(&self, path: &str, csrf: &str, file: &[u8]) -> Page {
        self.upload_with(path, &[("sec-fetch-site", "same-origin")], csrf, file)
    }

    /// The same with headers of one's own.
    pub(crate) fn upload_with(&self, path: &str, headers: &[(&str, &str)], csrf: &str, file: &[u8]) -> Page {
        let part = |name: &str| format!("--boundary\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n");
        let body = [part("csrf").as_bytes(), csrf.as_bytes(), b"\r\n", part("file").as_bytes(), file, b"\r\n--boundary--\r\n"].concat();
        let headers = [headers, &[("content-type", "multipart/form-data; boundary=boundary")]].concat();
        self.raw("POST", path, &headers, body).0
    }

    /// Sends a request with these headers beside the cookie, and with a form if there is one; the answer, and a cookie that it sets.
    pub(crate) fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], form: Option<&[(&str, &str)]>) -> (Page, Option<String>) {
        match form {
            Some(fields) => {
                let headers = [headers, &[("content-type", "application/x-www-form-urlencoded")]].concat();
                self.raw(method, path, &headers, serde_urlencoded::to_string(fields).expect("a form").into_bytes())
            }
            None => self.raw(method, path, headers, Vec::new()),
        }
    }

    fn raw(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> (Page, Option<String>) {
        let mut request = ureq::http::Request::builder().method(method).uri(format!("https://{}{path}", self.service.console_address()));
        if !self.cookie.is_empty() {
            request = request.header("cookie", &self.cookie);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        // What is refused before its body is read ends the connection: the next request would find it closed.
        request = request.header("connection", "close");
        let request = self.agent.configure_request(request.body(body).expect("a request")).max_redirects(0).allow_non_standard_methods(true).build();
        let mut answer = self.agent.run(request).unwrap_or_else(|error| panic!("{method} {path}: {error}"));
        let header = |name: &str| answer.headers().get(name).map(|value| value.to_str().expect("a header").to_owned());
        let (to, cookie, allow) = (header("hx-redirect").or_else(|| header("location")), header("set-cookie"), header("allow"));
        let cookies = answer.headers().get_all("set-cookie").iter().map(|value| value.to_str().expect("a header").to_owned()).collect();
        let status = answer.status().as_u16();
        let bytes = answer.body_mut().with_config().limit(ANSWER_MAX_BYTES).read_to_vec().expect("an answer");
        (Page { status, to, allow, cookies, bytes: bytes.len(), text: String::from_utf8_lossy(&bytes).into_owned() }, cookie)
    }
}

/// Tries to sign in, whatever comes of it.
pub(crate) fn try_to_sign_in(installation: &Installation, service: &Running, fields: &[(&str, &str)]) {
    let page = Person::stranger(installation, service).post("/sign-in", fields);
    assert_ne!(page.status, 303, "{}", page.text);
}
