//! The end of an authority, and renewals that are cut off.

use std::process::Stdio;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, SubjectPublicKeyInfo};

use super::authorities::{BY_SCHEDULE, FIRST, SECOND, command, published, recorded};
use super::node::{Client, public, shown_issuer};
use super::within;
use crate::faults::load::wait_until;
use crate::faults::settled::{audit_is_intact, short_leases, wait_until_settled};
use crate::support::installation::{Installation, Running};
use crate::support::random::{Random, is_full};

const HOUR_S: i64 = 3_600;
/// How long a renewal may take until it has planned its key.
const PATIENCE: Duration = Duration::from_secs(60);

/// The first authority's certificate once more, for the same key, with another end: `in_s` seconds from now.
fn ends(installation: &Installation, in_s: i64) {
    let mut database = installation.database();
    let der = hex::decode(database.texts("HEX(certificate)", "authorities WHERE version = 0").remove(0)).expect("hex");
    let (_, parsed) = x509_parser::parse_x509_certificate(&der).expect("a certificate");
    let name = parsed.subject().iter_common_name().next().expect("a name").as_str().expect("text");
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let now = chrono::Utc::now().timestamp();
    let at = |seconds: i64| x509_parser::time::ASN1Time::from_timestamp(seconds).expect("a time").to_datetime();
    (params.not_before, params.not_after) = (at(now - 2 * HOUR_S), at(now + in_s));
    let key = SubjectPublicKeyInfo::from_der(parsed.public_key().raw).expect("a public key");
    // Who trusts an authority doesn't look at who signed its certificate.
    let other = KeyPair::generate().expect("a key");
    let made = params.clone().signed_by(&key, &Issuer::new(params, other)).expect("a certificate");
    database.run(&format!("UPDATE authorities SET certificate = X'{}' WHERE version = 0", hex::encode(made.der())));
}

fn letting_in(installation: &Installation, running: &Running, client: &Client) -> bool {
    client.encrypt(installation, running) == Some(200)
}

#[test]
fn an_authority_that_expires_lets_nobody_in_any_more() {
    let installation = Installation::new();
    let running = installation.start();
    let old = Client::make(&installation, &running, "old");
    assert_eq!(command(&installation, "renew-ca")["number"], 2);
    let mut new = None;
    within(BY_SCHEDULE, "the new one issues", || {
        let issues = command(&installation, "list")["authorities"][1]["issuesClients"] == true;
        new = issues.then(|| Client::make(&installation, &running, "new"));
        new.is_some()
    });
    let new = new.expect("a client");
    assert!([&old, &new].into_iter().all(|client| letting_in(&installation, &running, client)));
    assert_eq!(shown_issuer(running.api_address()), FIRST);
    running.stop();
    ends(&installation, 20);
    // It expires while the service runs, unless the machine is very busy.
    let running = installation.start();
    within(Duration::from_secs(20) + BY_SCHEDULE, "the old one's end", || !letting_in(&installation, &running, &old));
    within(BY_SCHEDULE, "the server's certificate", || shown_issuer(running.api_address()) == SECOND);
    assert!(letting_in(&installation, &running, &new));
    assert_eq!(published(&installation, &running), 1);
    assert_eq!([1, 2].map(|number| public(&installation, &running, &format!("/pki/crl/{number}.crl")).0), [404, 200]);
    let listed = command(&installation, "list");
    let told = |number: usize, what: &str| listed["authorities"][number][what].as_bool().expect("yes or no");
    assert_eq!(["trusted", "issuesClients", "issuesServers"].map(|what| (told(0, what), told(1, what))), [(false, true); 3], "{listed}");
    assert_eq!(recorded(&installation, "RENEW_AUTHORITY"), 1, "there is one already");
}

/// A service that was down when its only authority expired makes another before it serves.
#[test]
fn a_start_after_the_only_authoritys_end_makes_another() {
    let installation = Installation::new();
    let running = installation.start();
    let old = Client::make(&installation, &running, "old");
    running.stop();
    ends(&installation, -HOUR_S);
    // The server's certificate has come to its end with it: it is issued anew.
    std::fs::remove_file(installation.path().join("data/server.names")).expect("the names of the certificate");
    let running = installation.start();
    assert_eq!([running.api_address(), running.console_address()].map(shown_issuer), [SECOND; 2]);
    assert_eq!((published(&installation, &running), recorded(&installation, "RENEW_AUTHORITY")), (1, 1));
    assert!(!letting_in(&installation, &running, &old));
    let new = Client::make(&installation, &running, "new");
    assert_eq!(new.issuer().trim(), SECOND);
    assert!(letting_in(&installation, &running, &new));
    let (status, log) = running.stop();
    assert!(status.success(), "{log}");
    audit_is_intact(&installation);
}

/// Whoever makes the new authority is killed in the midst of it: the server, or the command itself where there is none.
fn survives_kills(rounds: usize, by_server: bool, mut random: Random) {
    let installation = short_leases(Installation::new());
    let mut acknowledged = 0;
    for round in 0..rounds {
        let running = by_server.then(|| installation.start());
        let mut renewing = installation.command(&["certificate", "renew-ca"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("skm");
        let mut database = installation.database();
        let planned = "internal_keys WHERE purpose = 'CERTIFICATE_AUTHORITY' AND state <> 'DESTROYED'";
        let before = i64::try_from(acknowledged).expect("a count");
        wait_until("the plan", PATIENCE, || database.count(planned) > before + 1 || renewing.try_wait().expect("skm").is_some());
        std::thread::sleep(random.between(Duration::ZERO, Duration::from_millis(120)));
        if let Some(running) = running {
            running.kill();
        } else {
            // It may have ended already.
            renewing.kill().ok();
        }
        let said_so = renewing.wait().expect("an end").success();
        // The next start heals what that one left.
        let running = installation.start();
        wait_until_settled(&installation);
        let there = database.count("authorities") - 1;
        let made = there - before;
        assert!((i64::from(said_so)..=1).contains(&made), "round {round}: acknowledged {said_so}, made {made}");
        println!("round {round}: acknowledged {said_so}, made {made}");
        acknowledged = usize::try_from(there).expect("a count");
        assert_eq!(database.count("internal_keys WHERE purpose = 'CERTIFICATE_AUTHORITY' AND state = 'ACTIVE'"), there + 1);
        assert_eq!(recorded(&installation, "RENEW_AUTHORITY"), there);
        assert_eq!(published(&installation, &running), acknowledged + 1);
        assert_eq!(installation.run(&["hsm", "orphans"]).0, 0, "something is left in the token");
        let (status, log) = running.stop();
        assert!(status.success(), "{log}");
    }
    let (code, _, said) = installation.run(&["certificate", "renew-ca"]);
    assert_eq!(code, 0, "the next one is made: {said}");
    audit_is_intact(&installation);
}

/// Fewer than the authorities that may be valid at a time.
fn rounds() -> usize {
    if is_full() { 6 } else { 2 }
}

#[test]
fn a_server_that_is_killed_while_it_renews_leaves_all_or_nothing() {
    survives_kills(rounds(), true, Random::of_test("certificates::ends::a_server_that_is_killed_while_it_renews_leaves_all_or_nothing"));
}

#[test]
fn a_command_that_is_killed_while_it_renews_leaves_all_or_nothing() {
    survives_kills(rounds(), false, Random::of_test("certificates::ends::a_command_that_is_killed_while_it_renews_leaves_all_or_nothing"));
}
