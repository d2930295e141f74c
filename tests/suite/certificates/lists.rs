//! Revocation lists, as OpenSSL reads them.

use std::time::Duration;

use serde_json::json;

use super::node::{Client, be_node, change, our_own, path_text, public};
use super::{openssl_with, try_openssl, within};
use crate::support::installation::{Installation, Running};
use crate::support::postgres::Cluster;

/// Far less than the minute that is promised.
const SOON: Duration = Duration::from_secs(5);

fn list(installation: &Installation, running: &Running) -> Vec<u8> {
    let (status, kind, der) = public(installation, running, "/pki/crl/1.crl");
    assert_eq!((status, kind.as_str()), (200, "application/pkix-crl"));
    der
}

fn text(der: &[u8]) -> String {
    String::from_utf8(openssl_with(&["crl", "-inform", "DER", "-noout", "-text"], der)).expect("text")
}

/// The line after one that holds `heading`.
fn after<'a>(text: &'a str, heading: &str) -> &'a str {
    text.lines().skip_while(|line| !line.contains(heading)).nth(1).unwrap_or_else(|| panic!("no {heading} in {text}")).trim()
}

fn number(der: &[u8]) -> u64 {
    let text = text(der);
    let digits = after(&text, "X509v3 CRL Number");
    digits.parse().unwrap_or_else(|_| panic!("no number: {digits}"))
}

/// Whether OpenSSL takes the client's certificate with that list, and what it says.
fn verify(installation: &Installation, client: &Client, der: &[u8]) -> (bool, String) {
    let file = installation.path().join("list.pem");
    std::fs::write(&file, openssl_with(&["crl", "-inform", "DER"], der)).expect("written");
    let arguments = ["verify", "-crl_check", "-x509_strict", "-CAfile", installation.demo("CA"), "-CRLfile", path_text(&file), path_text(&client.certificate)];
    let (ok, _, said) = try_openssl(&arguments, &[]);
    (ok, said)
}

#[test]
fn what_is_revoked_is_on_the_list_until_it_is_restored_and_after_it_is_gone() {
    let mut installation = Installation::new();
    installation.set("SKM_CERTIFICATES__PUBLIC_URL", "https://skm.example:8443/");
    let running = installation.start();
    let [one, two] = ["one", "two"].map(|name| Client::make(&installation, &running, name));
    let shown = openssl_with(&["x509", "-in", path_text(&one.certificate), "-noout", "-text"], &[]);
    assert!(String::from_utf8_lossy(&shown).contains("URI:https://skm.example:8443/pki/crl/1.crl"), "the distribution point");
    let records = installation.database().count("audit_records");
    let first = list(&installation, &running);
    assert!(text(&first).contains("No Revoked Certificates"), "{}", text(&first));
    assert_eq!(first, list(&installation, &running), "kept while nothing changes");
    let (ok, _, said) = try_openssl(&["crl", "-inform", "DER", "-noout", "-CAfile", installation.demo("CA"), "-verify"], &first);
    assert!(ok && said.contains("verify OK"), "{said}");
    assert!(verify(&installation, &one, &first).0);
    assert_eq!(installation.database().count("audit_records"), records, "nothing of it is recorded");

    assert_eq!(change(&installation, &running, "PUT", "/auths/certificates/delete", &one.entry()).status, 200);
    within(SOON, "on the list", || text(&list(&installation, &running)).contains("Certificate Hold"));
    let held = list(&installation, &running);
    assert!(number(&held) > number(&first));
    let (ok, said) = verify(&installation, &one, &held);
    assert!(!ok && said.contains("certificate revoked"), "{said}");
    assert!(verify(&installation, &two, &held).0, "the other is good");

    assert_eq!(our_own(&installation, &running, "PUT", "/auths/certificates/restore", &one.entry()).status, 200);
    within(SOON, "off the list", || text(&list(&installation, &running)).contains("No Revoked Certificates"));
    assert!(verify(&installation, &one, &list(&installation, &running)).0);

    assert_eq!(change(&installation, &running, "PUT", "/auths/certificates/delete", &one.entry()).status, 200);
    within(SOON, "on the list again", || text(&list(&installation, &running)).contains("Certificate Hold"));
    let asked = text(&list(&installation, &running)).lines().find(|line| line.contains("Revocation Date")).expect("a date").to_owned();
    std::thread::sleep(Duration::from_millis(1_100));
    assert_eq!(change(&installation, &running, "POST", "/auths/certificates/delete", &one.entry()).status, 200);
    within(SOON, "gone for good", || text(&list(&installation, &running)).contains("Cessation Of Operation"));
    let gone = list(&installation, &running);
    assert!(text(&gone).contains(&asked), "revoked since it was asked for: {asked} {}", text(&gone));
    assert!(!verify(&installation, &one, &gone).0);

    // A restart goes on where it was.
    running.stop();
    let running = installation.start();
    assert!(number(&list(&installation, &running)) > number(&gone));
    for path in ["/pki/crl/2.crl", "/pki/crl/0.crl", "/pki/crl/01.crl", "/pki/crl/1", "/pki/crl/x.crl", "/pki/crl/99999999999.crl", "/pki"] {
        assert_eq!(running.ask("GET", path, &[], None).refusal(), "URL NOT FOUND", "{path}");
    }
    assert_eq!(running.ask("POST", "/pki/crl/1.crl", &[], Some(&json!({}))).status, 405);
}

#[test]
fn what_expired_leaves_the_list_once_it_was_on_one() {
    let installation = Installation::new();
    let running = installation.start();
    let client = Client::make(&installation, &running, "one");
    assert_eq!(change(&installation, &running, "PUT", "/auths/certificates/delete", &client.entry()).status, 200);
    assert!(text(&list(&installation, &running)).contains("Certificate Hold"));
    running.stop();
    // It expired three days ago, and the last list is older than that.
    let day = 86_400_000_000_i64;
    let now = chrono::Utc::now().timestamp_micros();
    let set = format!("UPDATE client_rules SET not_after = {} WHERE value = 'one'; UPDATE authorities SET crl_at = {}", now - 3 * day, now - 4 * day);
    installation.database().run(&set);
    let running = installation.start();
    assert!(text(&list(&installation, &running)).contains("Certificate Hold"), "on one that was made after its end");
    running.stop();
    let running = installation.start();
    assert!(text(&list(&installation, &running)).contains("No Revoked Certificates"));
}

#[test]
fn a_revocation_on_one_node_is_on_the_lists_of_all() {
    let cluster = Cluster::start();
    let mut installation = Installation::with(&[("SKM_DATABASE__URL", &cluster.uri())]);
    let one = installation.start();
    be_node(&mut installation, "two");
    let two = installation.start();
    let client = Client::make(&installation, &one, "one");
    let before = [&one, &two].map(|node| number(&list(&installation, node)));
    assert!(before[0] < before[1], "{before:?}");
    assert_eq!(change(&installation, &one, "PUT", "/auths/certificates/delete", &client.entry()).status, 200);
    for node in [&two, &one] {
        within(SOON, "on the list", || text(&list(&installation, node)).contains("Certificate Hold"));
        assert!(number(&list(&installation, node)) > before[1]);
    }
}
