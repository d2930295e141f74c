//! Somebody at a browser who is signed in: keeps the cookie, sends forms as they came.

use std::path::Path;

use crate::support::installation::{Installation, Running, agent};

/// An answer.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) status: u16,
    /// Where htmx or the browser is sent.
    pub(super) to: Option<String>,
    pub(super) text: String,
}

impl Page {
    /// What a hidden field of the page holds.
    pub(super) fn hidden(&self, name: &str) -> String {
        let from = format!("name=\"{name}\" value=\"");
        let (_, rest) = self.text.split_once(&from).unwrap_or_else(|| panic!("no {name} in {}", self.text));
        rest.split('"').next().expect("a value").to_owned()
    }

    pub(super) fn has(&self, text: &str) -> bool {
        self.text.contains(text)
    }
}

pub(super) struct Person<'a> {
    service: &'a Running,
    agent: ureq::Agent,
    cookie: String,
}

impl<'a> Person<'a> {
    /// Signs in.
    pub(super) fn sign_in(installation: &Installation, service: &'a Running, login: &str, password: &str) -> Self {
        let roots = std::fs::read(Path::new(installation.demo("CA"))).expect("the CA");
        let mut person = Self { service, agent: agent(&roots, None), cookie: String::new() };
        let (page, cookie) = person.send("POST", "/sign-in", &[], &[("login", login), ("password", password)]);
        assert_eq!(page.status, 303, "{}", page.text);
        person.cookie = cookie.expect("a cookie").split(';').next().expect("a cookie").to_owned();
        person
    }

    pub(super) fn get(&self, path: &str) -> Page {
        self.send("GET", path, &[], &[]).0
    }

    /// An answer whose body is read as the test likes; however long that takes.
    pub(super) fn open(&self, path: &str) -> ureq::http::Response<ureq::Body> {
        let url = format!("https://{}{path}", self.service.console_address());
        let request = ureq::http::Request::get(url).header("cookie", &self.cookie).body(()).expect("a request");
        let request = self.agent.configure_request(request).max_redirects(0).timeout_global(None).build();
        self.agent.run(request).expect("an answer")
    }

    /// A fragment for the dialog.
    pub(super) fn ask(&self, path: &str) -> Page {
        self.send("GET", path, &[("hx-request", "true"), ("hx-target", "dialog")], &[]).0
    }

    /// Sends a form from the dialog.
    pub(super) fn send_form(&self, path: &str, fields: &[(&str, &str)]) -> Page {
        self.send("POST", path, &[("hx-request", "true"), ("hx-target", "dialog")], fields).0
    }

    /// Sends a form without the script.
    pub(super) fn post(&self, path: &str, fields: &[(&str, &str)]) -> Page {
        self.send("POST", path, &[], fields).0
    }

    /// Opens the form, fills it in, sends it.
    pub(super) fn fill_in(&self, path: &str, fields: &[(&str, &str)]) -> Page {
        let form = self.ask(path);
        assert_eq!(form.status, 200, "{path}: {}", form.text);
        let mut all = vec![("csrf", form.hidden("csrf"))];
        if form.has("name=\"seen\"") {
            all.push(("seen", form.hidden("seen")));
        }
        all.extend(fields.iter().map(|(name, value)| (*name, (*value).to_owned())));
        let all: Vec<(&str, &str)> = all.iter().map(|(name, value)| (*name, value.as_str())).collect();
        self.send_form(path, &all)
    }

    /// Sends a form with a file.
    pub(super) fn upload(&self, path: &str, csrf: &str, file: &[u8]) -> Page {
        let part = |name: &str| format!("--boundary\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n");
        let body = [part("csrf").as_bytes(), csrf.as_bytes(), b"\r\n", part("file").as_bytes(), file, b"\r\n--boundary--\r\n"].concat();
        let url = format!("https://{}{path}", self.service.console_address());
        let request = ureq::http::Request::post(url)
            .header("cookie", &self.cookie)
            .header("sec-fetch-site", "same-origin")
            .header("content-type", "multipart/form-data; boundary=boundary")
            .body(body)
            .expect("a request");
        let mut answer = self.agent.run(self.agent.configure_request(request).max_redirects(0).build()).expect("an answer");
        let to = answer.headers().get("location").map(|value| value.to_str().expect("a header").to_owned());
        let status = answer.status().as_u16();
        Page { status, to, text: answer.body_mut().with_config().limit(64 << 20).read_to_string().expect("a text") }
    }

    fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], fields: &[(&str, &str)]) -> (Page, Option<String>) {
        let url = format!("https://{}{path}", self.service.console_address());
        let mut request = ureq::http::Request::builder().method(method).uri(url);
        if !self.cookie.is_empty() {
            request = request.header("cookie", &self.cookie);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let no_redirect = |agent: &ureq::Agent, request| agent.configure_request(request).max_redirects(0).build();
        let mut answer = if method == "POST" {
            let body = serde_urlencoded::to_string(fields).expect("a form");
            let request =
                request.header("content-type", "application/x-www-form-urlencoded").header("sec-fetch-site", "same-origin").body(body).expect("a request");
            self.agent.run(no_redirect(&self.agent, request)).expect("an answer")
        } else {
            self.agent.run(no_redirect(&self.agent, request.body(String::new()).expect("a request"))).expect("an answer")
        };
        let header = |name: &str| answer.headers().get(name).map(|value| value.to_str().expect("a header").to_owned());
        let (to, cookie) = (header("hx-redirect").or_else(|| header("location")), header("set-cookie"));
        let status = answer.status().as_u16();
        (Page { status, to, text: answer.body_mut().read_to_string().expect("a text") }, cookie)
    }
}
