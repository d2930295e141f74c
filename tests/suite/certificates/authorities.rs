//! Renewal: of the authorities, with overlap, on several nodes; and of the server's own certificate, under way.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::node::{Client, be_node, change, path_text, public, shown, shown_issuer};
use super::{openssl, openssl_with, try_openssl, within};
use crate::support::installation::{Installation, Running};
use crate::support::postgres::Cluster;

/// What is promised between nodes.
const ELSEWHERE: Duration = Duration::from_secs(1);
/// The scheduler looks each ten seconds.
pub(super) const BY_SCHEDULE: Duration = Duration::from_secs(30);
pub(super) const FIRST: &str = "issuer=CN = Secure Key Manager CA";
pub(super) const SECOND: &str = "issuer=CN = Secure Key Manager CA 2";

pub(super) fn command(installation: &Installation, what: &str) -> Value {
    let (code, told, problems) = installation.run(&["certificate", what, "--json"]);
    assert_eq!(code, 0, "{what}: {told}{problems}");
    serde_json::from_str(&told).expect("JSON")
}

pub(super) fn published(installation: &Installation, running: &Running) -> usize {
    let (status, kind, pem) = public(installation, running, "/pki/ca.pem");
    assert_eq!((status, kind.as_str()), (200, "application/pem-certificate-chain"));
    String::from_utf8(pem).expect("PEM").matches("BEGIN CERTIFICATE").count()
}

pub(super) fn recorded(installation: &Installation, operation: &str) -> i64 {
    installation.database().count(&format!("audit_records WHERE operation = '{operation}' AND result_code = 0"))
}

/// As if the newest authority had been made that many days earlier.
fn age_newest(installation: &Installation, days: i64) {
    let micros = days * 86_400_000_000;
    let newest = "version = (SELECT MAX(version) FROM authorities)";
    installation.database().run(&format!("UPDATE authorities SET created_at = created_at - {micros} WHERE {newest}"));
}

#[test]
fn a_new_authority_comes_beside_the_old_one_on_every_node() {
    let cluster = Cluster::start();
    let mut installation = Installation::with(&[("SKM_DATABASE__URL", &cluster.uri())]);
    be_node(&mut installation, "two");
    let two = installation.start();
    let data_two = installation.path().join("data-two");
    be_node(&mut installation, "one");
    let one = installation.start();
    let nodes = [&one, &two];
    let old = Client::make(&installation, &one, "old");
    assert_eq!(old.issuer().trim(), FIRST);
    assert_eq!(command(&installation, "renew-ca")["number"], 2);
    assert_eq!(published(&installation, &one), 2, "here at once");
    within(ELSEWHERE, "known elsewhere", || published(&installation, &two) == 2);
    within(ELSEWHERE * 3, "written elsewhere", || std::fs::read_to_string(data_two.join("ca.pem")).expect("ca.pem").matches("BEGIN").count() == 2);
    std::thread::sleep(Duration::from_secs(2));
    let new = Client::make(&installation, &one, "new");
    assert_eq!(new.issuer().trim(), SECOND);
    for (client, node) in [(&new, &two), (&new, &one), (&old, &two), (&old, &one)] {
        assert_eq!(client.encrypt(&installation, node), Some(200), "{}", client.name);
    }
    for node in nodes {
        assert_eq!(shown_issuer(node.api_address()), FIRST, "the overlap has begun");
    }
    // Each authority has its list, signed by itself.
    for (client, number) in [(&old, 1), (&new, 2)] {
        assert_eq!(change(&installation, &one, "PUT", "/auths/certificates/delete", &client.entry()).status, 200);
        let mut der = Vec::new();
        within(Duration::from_secs(5), "revoked", || {
            der = public(&installation, &two, &format!("/pki/crl/{number}.crl")).2;
            String::from_utf8_lossy(&openssl_with(&["crl", "-inform", "DER", "-noout", "-text"], &der)).matches("Serial Number").count() == 1
        });
        let (ok, _, said) = try_openssl(&["crl", "-inform", "DER", "-noout", "-CAfile", path_text(&data_two.join("ca.pem")), "-verify"], &der);
        assert!(ok && said.contains("verify OK"), "{said}");
    }
    // The end of the overlap: the server's own certificates come from the new one.
    age_newest(&installation, 31);
    for node in nodes {
        within(BY_SCHEDULE, "the server's certificate", || shown_issuer(node.api_address()) == SECOND && shown_issuer(node.console_address()) == SECOND);
    }
    assert_eq!(recorded(&installation, "RENEW_AUTHORITY"), 1);
    let listed = command(&installation, "list");
    assert_eq!((&listed["authorities"][0]["trusted"], &listed["authorities"][1]["issuesServers"]), (&Value::Bool(true), &Value::Bool(true)), "{listed}");
}

#[test]
fn two_nodes_that_renew_at_the_same_moment_make_one_and_so_does_the_clock() {
    let cluster = Cluster::start();
    let mut installation = Installation::with(&[("SKM_DATABASE__URL", &cluster.uri())]);
    let one = installation.start();
    let mut first = installation.command(&["certificate", "renew-ca"]);
    be_node(&mut installation, "two");
    let two = installation.start();
    let mut second = installation.command(&["certificate", "renew-ca"]);
    let quiet = |command: &mut std::process::Command| command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::piped()).spawn().expect("skm");
    let outcomes = [quiet(&mut first), quiet(&mut second)].map(|child| child.wait_with_output().expect("an end"));
    let made = outcomes.iter().filter(|outcome| outcome.status.success()).count();
    for outcome in outcomes.iter().filter(|outcome| !outcome.status.success()) {
        let said = String::from_utf8_lossy(&outcome.stderr).into_owned();
        assert!(said.contains("another renewal of the certificate authority is under way"), "{said}");
    }
    let authorities = || installation.database().count("authorities");
    assert!(made >= 1);
    assert_eq!(authorities(), i64::try_from(made).expect("a count") + 1);
    // After two thirds of its life (here: 30 of 40 years) the newest gets a successor, once.
    let before = authorities();
    age_newest(&installation, 30 * 365);
    within(BY_SCHEDULE, "renewed by the clock", || authorities() > before);
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(authorities(), before + 1);
    assert_eq!(recorded(&installation, "RENEW_AUTHORITY"), before);
    let kept = "internal_keys WHERE purpose = 'CERTIFICATE_AUTHORITY' AND state = 'ACTIVE'";
    assert_eq!(installation.database().count(kept), before + 1);
    assert_eq!(installation.run(&["hsm", "orphans"]).0, 0, "nothing is left in the token");
    drop((one, two));
}

fn metric(running: &Running, name: &str) -> Option<f64> {
    let text = running.operations("/metrics").1;
    text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}

#[test]
fn the_servers_certificate_is_renewed_while_it_serves() {
    let installation = Installation::new();
    let running = installation.start();
    let (before, address) = (shown(running.api_address()), running.api_address().to_owned());
    // The agent keeps its connection.
    assert_eq!(running.ask("GET", "/pki", &[], None).status, 404);
    let renewed = command(&installation, "renew-server");
    assert!(renewed["notAfter"].as_str().is_some_and(|at| at.ends_with('Z')), "{renewed}");
    let after = shown(&address);
    assert_ne!(after, before);
    assert_eq!(shown(running.console_address()), after, "on both listeners");
    assert_eq!(running.ask("GET", "/pki", &[], None).status, 404);
    assert!(!running.log().contains("was not reloaded"), "{}", running.log());
    assert_eq!(installation.database().count("audit_records WHERE operation = 'RENEW_SERVER_CERTIFICATE' AND actor_kind = 'operator'"), 1);
    within(BY_SCHEDULE, "the first look", || metric(&running, "skm_client_certificates_expiring ").is_some());
    let now = 1_700_000_000.0;
    for name in
        ["skm_server_certificate_expires_seconds ", "skm_authority_certificate_expires_seconds{authority=\"1\"} ", "skm_client_certificate_expires_seconds "]
    {
        assert!(metric(&running, name).is_some_and(|at| at > now), "{name}");
    }
    assert_eq!(metric(&running, "skm_client_certificates_expiring "), Some(0.0));
    installation
        .database()
        .run(&format!("UPDATE client_rules SET not_after = {} WHERE value = 'demo-client'", chrono::Utc::now().timestamp_micros() + 86_400_000_000));
    within(BY_SCHEDULE, "one that expires soon", || metric(&running, "skm_client_certificates_expiring ") == Some(1.0));
    running.stop();
    // Without a server, the command does it itself.
    command(&installation, "renew-server");
    let kept = std::fs::read_to_string(installation.path().join("data/server.pem")).expect("server.pem");
    assert_ne!(kept, after);
    let running = installation.start();
    assert_eq!(shown(running.api_address()), kept);
    running.stop();
    // What a crash leaves between the files: no names, a key that doesn't fit.
    let data = installation.path().join("data");
    std::fs::remove_file(data.join("server.names")).expect("removed");
    let key = openssl(&["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]);
    std::fs::write(data.join("server.key"), key).expect("written");
    let running = installation.start();
    assert_ne!(shown(running.api_address()), kept);
}

#[test]
fn a_foreign_or_old_server_certificate_gives_way_and_a_configured_one_stays() {
    let mut installation = Installation::new();
    let data = installation.path().join("data");
    let [certificate, key] = ["server.pem", "server.key"].map(|name| data.join(name));
    let make = |certificate: &Path, key: &Path| {
        let made = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "90", "-subj", "/CN=foreign"];
        openssl(&[&made[..], &["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", path_text(key), "-out", path_text(certificate)]].concat());
    };
    make(&certificate, &key);
    let running = installation.start();
    assert_eq!(shown_issuer(running.api_address()), FIRST, "one of another issuer is replaced");
    running.stop();
    let [own, own_key] = ["own.pem", "own.key"].map(|name| installation.path().join(name));
    make(&own, &own_key);
    installation.set("SKM_API__CERTIFICATE", path_text(&own));
    installation.set("SKM_API__KEY", path_text(&own_key));
    let running = installation.start();
    assert_eq!(shown_issuer(running.api_address()), "issuer=CN = foreign");
    let (code, _, said) = installation.run(&["certificate", "renew-server"]);
    assert!(code != 0 && said.contains("is configured ([api] certificate)"), "{code} {said}");
    let (code, told, _) = installation.run(&["certificate", "list"]);
    assert!(code == 0 && told.starts_with("server       until ") && told.contains("configured\nauthority 1  until "), "{told}");
}
