//! Notifications: real receivers over HTTPS, a real mail server, crashes between any two steps, two nodes.

mod mail;
pub(crate) mod receiver;
mod rules;
mod webhooks;

use std::time::Duration;

use crate::console::person::Person;
use crate::faults::load::{Client, wait_until};
use crate::support::installation::{Installation, Running};
use receiver::{Identity, Receiver};

/// The longest that anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// Where the demo's project is.
pub(crate) const PROJECT: &str = "/projects/1/notifications";
/// Where the installation's recipients are.
const ORGANIZATION: &str = "/organization/notifications";

/// An installation that reaches receivers on this machine.
pub(crate) fn open(installation: &mut Installation, identity: &Identity) {
    let ca = identity.write_ca(&installation.path().join("receivers-ca.pem"));
    installation.set("SKM_WEBHOOKS__CA", &ca);
    installation.set("SKM_WEBHOOKS__ALLOWED_NETWORKS", "127.0.0.0/8");
}

pub(crate) fn admin<'a>(installation: &Installation, running: &'a Running) -> Person<'a> {
    Person::sign_in(installation, running, installation.demo("ADMIN_USER"), installation.demo("ADMIN_PASSWORD"))
}

/// Adds a webhook that is told of these events; its secret.
pub(crate) fn add_webhook(person: &Person<'_>, place: &str, url: &str, events: &[&str]) -> String {
    let mut fields = vec![("target", url)];
    fields.extend(events.iter().map(|event| ("events", *event)));
    let added = person.fill_in(&format!("{place}/new"), &fields);
    assert_eq!(added.status, 200, "{}", added.text);
    let (_, rest) = added.text.split_once("whsec_").unwrap_or_else(|| panic!("no secret in {}", added.text));
    format!("whsec_{}", rest.split('<').next().expect("a secret").replace("&#43;", "+").replace("&#x2F;", "/"))
}

/// As if the pause after a failure were over.
fn make_due(installation: &Installation) {
    installation.database().run("UPDATE notification_messages SET due_at = 1 WHERE state = 'QUEUED'");
}

fn count(installation: &Installation, and: &str) -> i64 {
    installation.database().count(&format!("notification_messages WHERE {and}"))
}

fn wait_for(what: &str, is_so: impl Fn() -> bool) {
    wait_until(what, PATIENCE, is_so);
}

fn client(installation: &Installation, running: &Running) -> Client {
    Client::new(installation, running)
}

/// Rotates the demo's symmetric key.
fn rotate(installation: &Installation, running: &Running) {
    let answer = client(installation, running).own("POST", &format!("/keys/{}/rotate", installation.demo("SYMMETRIC_ID")), None).expect("an answer");
    assert_eq!(answer.status, 200, "{answer:?}");
}

/// Calls of that kind, once there are so many.
fn calls_of(receiver: &Receiver, kind: &str, many: usize) -> Vec<receiver::Call> {
    wait_for(&format!("{many} calls of {kind}"), || receiver.of_kind(kind).len() >= many);
    receiver.of_kind(kind)
}
