//! Mail through a real server over TLS.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::receiver::Identity;
use super::{ORGANIZATION, PROJECT, admin, client, count, wait_for};
use crate::clockwork::{done, make_key};
use crate::support::installation::{Installation, Running};

const PASSWORD: &str = "Post-Kennwort-0815";

/// The program that `scripts/install test` puts there; `None` where there is none and nobody minds.
pub(super) fn python() -> Option<PathBuf> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target"), PathBuf::from);
    let tool = target.join("tools/aiosmtpd/bin/python");
    if tool.exists() {
        return Some(tool);
    }
    assert!(std::env::var_os("SKM_SKIP_INSTALL").is_some_and(|value| value == "1"), "{} is missing: run scripts/install test", tool.display());
    println!("NOT TESTED with a mail server: {} is missing, and SKM_SKIP_INSTALL=1", tool.display());
    None
}

/// A mail server, up until it is dropped.
struct MailServer {
    child: Child,
    port: String,
    directory: tempfile::TempDir,
}

impl MailServer {
    fn start(identity: &Identity, mode: &str) -> Option<Self> {
        let directory = tempfile::tempdir().expect("a directory");
        let file = |name: &str, text: &str| {
            let path = directory.path().join(name);
            std::fs::write(&path, text).expect("a file");
            path
        };
        let (certificate, key) = (file("server.crt", &identity.certificate_pem), file("server.key", &identity.key_pem));
        file("password", PASSWORD);
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/suite/notifications/mail_server.py");
        let mut command = Command::new(python()?);
        command.arg(script).arg(mode).arg(directory.path()).arg(certificate).arg(key);
        let mut child = command.stdout(Stdio::piped()).spawn().expect("a mail server");
        let mut port = String::new();
        BufReader::new(child.stdout.take().expect("its output")).read_line(&mut port).expect("its port");
        Some(Self { child, port: port.trim().to_owned(), directory })
    }

    /// Each mail that it took: sender, recipients, headers, text.
    fn mails(&self) -> Vec<Mail> {
        let entries = std::fs::read_dir(self.directory.path()).expect("the directory").map(|entry| entry.expect("an entry").path());
        let mut files: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|extension| extension == "mail")).collect();
        files.sort();
        files.iter().map(|file| Mail::parse(&std::fs::read_to_string(file).expect("a mail"))).collect()
    }
}

impl Drop for MailServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[derive(Debug)]
struct Mail {
    envelope: (String, String),
    head: String,
    text: String,
}

impl Mail {
    fn parse(kept: &str) -> Self {
        let kept = kept.replace("\r\n", "\n");
        let (from, rest) = kept.split_once('\n').expect("a sender");
        let (to, mail) = rest.split_once('\n').expect("recipients");
        let (head, body) = mail.split_once("\n\n").expect("a head");
        let text = STANDARD.decode(body.split_whitespace().collect::<String>()).expect("Base64");
        Self { envelope: (from.to_owned(), to.to_owned()), head: head.replace("\n ", " "), text: String::from_utf8(text).expect("UTF-8") }
    }

    fn headers(&self, name: &str) -> Vec<&str> {
        self.head.lines().filter_map(|line| line.strip_prefix(&format!("{name}: "))).collect()
    }

    fn subject(&self) -> String {
        let words = self.headers("Subject")[0].split(' ').map(|word| word.trim_start_matches("=?UTF-8?B?").trim_end_matches("?="));
        String::from_utf8(words.flat_map(|word| STANDARD.decode(word).expect("Base64")).collect()).expect("UTF-8")
    }
}

fn set_up(installation: &mut Installation, server: &MailServer, identity: &Identity, security: &str) {
    let password = installation.path().join("mail.password");
    std::fs::write(&password, format!("{PASSWORD}\n")).expect("a file");
    std::fs::set_permissions(&password, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("its mode");
    let ca = identity.write_ca(&installation.path().join("mail-ca.pem"));
    for (name, value) in [
        ("SERVER", "localhost"),
        ("PORT", &server.port),
        ("SECURITY", security),
        ("SENDER", "skm@example.com"),
        ("USER", "skm"),
        ("PASSWORD", &format!("file:{}", password.display())),
        ("CA", &ca),
    ] {
        installation.set(&format!("SKM_MAIL__{name}"), value);
    }
}

fn add(installation: &Installation, running: &Running, place: &str, event: &str) {
    let added = admin(installation, running).fill_in(&format!("{place}/new"), &[("target", "keys@example.org"), ("events", event)]);
    assert_eq!(added.to.as_deref(), Some(format!("{place}?done=added").as_str()), "{}", added.text);
}

fn arrives(security: &str) {
    let (mut installation, identity) = (Installation::new(), Identity::new());
    let Some(server) = MailServer::start(&identity, security) else { return };
    set_up(&mut installation, &server, &identity, security);
    let running = installation.start();
    add(&installation, &running, PROJECT, "DELETION_SCHEDULED");
    let client = client(&installation, &running);
    // Names have no line breaks; whatever else somebody could hope for is text.
    let name = "Bcc: victim@example.com <b>„Schlüssel“</b> =?UTF-8?Q?x?= .";
    let key = make_key(&client, "symmetric-keys", name, 0);
    done(client.change("PUT", &format!("/keys/{key}/delete"), &json!({})));
    wait_for("a mail", || server.mails().len() == 1);
    let mail = server.mails().pop().expect("a mail");
    assert_eq!(mail.envelope, ("skm@example.com".to_owned(), "keys@example.org".to_owned()));
    assert_eq!(mail.subject(), format!("[Secure Key Manager] Scheduled to be deleted: {name}"));
    assert_eq!((mail.headers("To"), mail.headers("Bcc").len()), (vec!["<keys@example.org>"], 0));
    for line in [format!("Name: {name}"), format!("Key ID: {key}"), "Project: demo".to_owned()] {
        assert!(mail.text.replace("\r\n", "\n").split('\n').any(|found| found == line), "{line} is not in {}", mail.text);
    }
    wait_for("sent", || count(&installation, "state = 'SENT'") == 1);
    let id = installation.database().texts("id", "notification_messages").pop().expect("a message");
    assert_eq!(mail.headers("Message-ID"), [format!("<{id}@example.com>")]);
    let log = running.stop().1;
    assert!(!log.contains(PASSWORD) && !log.contains(&STANDARD.encode(format!("\0skm\0{PASSWORD}"))), "the password is in the log");
}

#[test]
fn it_arrives_over_starttls() {
    arrives("starttls");
}

#[test]
fn it_arrives_over_tls() {
    arrives("tls");
}

#[test]
fn nothing_is_sent_to_a_server_without_tls_or_with_a_foreign_certificate() {
    let (mut installation, identity) = (Installation::new(), Identity::new());
    let (Some(plain), Some(foreign)) = (MailServer::start(&identity, "plain"), MailServer::start(&Identity::new(), "starttls")) else { return };
    for (server, told) in [(&plain, "mail server: "), (&foreign, "certificate")] {
        set_up(&mut installation, server, &identity, "starttls");
        let running = installation.start();
        let person = admin(&installation, &running);
        if installation.database().count("notification_recipients") == 0 {
            add(&installation, &running, ORGANIZATION, "TOKEN_TROUBLE");
        }
        let recipient = installation.database().number("id", "notification_recipients");
        let csrf = person.get("/account").hidden("csrf");
        let tested = person.send_form(&format!("{ORGANIZATION}/{recipient}/test"), &[("csrf", &csrf)]);
        assert!(tested.has("could not be sent") && tested.has(told), "{}", tested.text);
        assert_eq!(server.mails().len(), 0);
        running.stop();
    }
    // On this machine alone, and where it is asked for, plain mail goes.
    set_up(&mut installation, &plain, &identity, "plain");
    installation.set("SKM_MAIL__USER", "");
    installation.set("SKM_MAIL__PASSWORD", "");
    let running = installation.start();
    let (person, recipient) = (admin(&installation, &running), installation.database().number("id", "notification_recipients"));
    let csrf = person.get("/account").hidden("csrf");
    let tested = person.send_form(&format!("{ORGANIZATION}/{recipient}/test"), &[("csrf", &csrf)]);
    assert!(tested.has("was sent"), "{}", tested.text);
    assert_eq!(plain.mails().len(), 1);
    assert_eq!(plain.mails()[0].subject(), "[Secure Key Manager] Test message");
}
