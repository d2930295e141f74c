//! SIGTERM, SIGHUP, a second process, core dumps.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::load::{Client, Kind, Ledger, wait_until};
use super::settled::{audit_is_intact, the_acknowledged_are_audited, token_and_database_agree};
use super::token_away::Stop;
use crate::support::installation::Installation;
use crate::support::random::Random;
use crate::support::wire::{Wire, request, trust};

/// The last record of each chain is the one that says that it ended, and a checkpoint lists it.
fn chains_ended_in_order(installation: &Installation) {
    let mut database = installation.database();
    let last = "audit_records r JOIN audit_chains c ON r.position = c.number * 1099511627776 + c.head_sequence";
    assert_eq!(database.count(&format!("{last} WHERE r.operation <> 'END_CHAIN'")), 0);
    let listed = "audit_checkpoint_heads h JOIN audit_chains c ON c.chain = h.chain AND c.head_sequence = h.sequence AND c.head_hash = h.hash";
    assert_eq!(database.count(listed), database.count("audit_chains"));
}

#[test]
fn sigterm_under_load_loses_nothing() {
    let mut random = Random::of_test("faults::signals::sigterm");
    let installation = Installation::new();
    let running = installation.start();
    let (stop, ledger) = (AtomicBool::new(false), Ledger::default());
    let path = format!("/keymanager/v1.0/appkey/{}/confirm", installation.demo("APPKEY"));
    // A request that is under way when the signal comes: its body is still to come.
    let mut slow = Wire::connect(running.api_address(), &trust(installation.demo("CA")));
    let encrypt = format!("/keymanager/v1.0/appkey/{}/symmetric-keys/{}/encrypt", installation.demo("APPKEY"), installation.demo("SYMMETRIC_ID"));
    let text = request("POST", &encrypt, &[], r#"{"plaintext": "under way"}"#);
    let (first, rest) = text.split_at(text.len() - 5);
    let (status, log) = std::thread::scope(|scope| {
        let _guard = Stop(&stop);
        for _ in 0..4 {
            let (client, random) = (Client::new(&installation, &running), random.fork());
            let (ledger, stop) = (&ledger, &stop);
            scope.spawn(move || ledger.make_until(stop, &client, &[Kind::Secret, Kind::Symmetric, Kind::Rule, Kind::KeyStore], random));
        }
        wait_until("something made", Duration::from_secs(30), || ledger.acknowledged().len() > 10);
        assert_eq!(running.ask("GET", &path, &[], None).status, 200);
        assert!(slow.send(first.as_bytes()));
        std::thread::sleep(Duration::from_millis(100));
        running.signal("TERM");
        wait_until("unready", Duration::from_secs(5), || {
            let (status, text) = running.operations("/readyz");
            status == 503 && text.contains("stopping")
        });
        stop.store(true, Ordering::Relaxed);
        assert!(slow.send(rest.as_bytes()));
        let answer = slow.answer();
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("ciphertext"), "{answer}");
        running.wait()
    });
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains("\"in_order\":true"), "{log}");
    chains_ended_in_order(&installation);
    the_acknowledged_are_audited(&installation, &ledger);
    token_and_database_agree(&installation);
    audit_is_intact(&installation);
    let running = installation.start();
    let client = Client::new(&installation, &running);
    ledger.acknowledged().iter().for_each(|thing| client.must_work(thing));
}

#[test]
fn sigterm_twice_is_sigterm() {
    let installation = Installation::new();
    let running = installation.start();
    running.signal("TERM");
    // It may have ended already.
    let _ = std::process::Command::new("kill").arg("-TERM").arg(running.pid().to_string()).stderr(std::process::Stdio::null()).status();
    let (status, log) = running.wait();
    assert_eq!(status.code(), Some(0), "{log}");
    chains_ended_in_order(&installation);
    audit_is_intact(&installation);
}

/// A certificate of its own for 127.0.0.1, with its key (PEM).
fn certificate() -> (String, String) {
    let key = rcgen::KeyPair::generate().expect("a key");
    let mut parameters = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).expect("parameters");
    parameters.subject_alt_names.push(rcgen::SanType::IpAddress(std::net::Ipv4Addr::LOCALHOST.into()));
    parameters.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    (parameters.not_before, parameters.not_after) = (rcgen::date_time_ymd(2020, 1, 1), rcgen::date_time_ymd(2120, 1, 1));
    (parameters.self_signed(&key).expect("a certificate").pem(), key.serialize_pem())
}

#[test]
fn sighup_reloads_the_certificate_and_drops_nobody() {
    let mut installation = Installation::new();
    let (pem, key) = (installation.path().join("own.pem"), installation.path().join("own.key"));
    let write = |(certificate, private): (String, String)| {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::write(&pem, certificate).expect("written");
        std::fs::write(&key, private).expect("written");
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).expect("0600");
    };
    let both = [certificate(), certificate()];
    let ca = installation.path().join("both.pem");
    std::fs::write(&ca, format!("{}{}", both[0].0, both[1].0)).expect("written");
    let [old, new] = both;
    write(old);
    installation.set("SKM_API__CERTIFICATE", pem.to_str().expect("UTF-8"));
    installation.set("SKM_API__KEY", key.to_str().expect("UTF-8"));
    let running = installation.start();
    let trusted = trust(ca.to_str().expect("UTF-8"));
    let mut open = Wire::connect(running.api_address(), &trusted);
    let before = open.server_certificate();
    let confirm = request("GET", &format!("/keymanager/v1.0/appkey/{}/confirm", installation.demo("APPKEY")), &[], "");
    write(new);
    running.signal("HUP");
    wait_until("the new certificate", Duration::from_secs(8), || Wire::connect(running.api_address(), &trusted).server_certificate() != before);
    running.logs("the server certificate was reloaded");
    assert!(open.send(confirm.as_bytes()) && open.answer().starts_with("HTTP/1.1 200 "));
    let (status, log) = running.stop();
    assert_eq!(status.code(), Some(0), "{log}");
}

#[test]
fn a_second_process_is_refused() {
    let installation = Installation::new();
    let running = installation.start();
    let (code, _, told) = installation.run(&["serve", "--dev"]);
    assert_eq!(code, 75, "{told}");
    assert!(told.contains(&format!("held by process {}", running.pid())), "{told}");
    assert_eq!(running.operations("/readyz").0, 200);
}

#[test]
fn there_are_no_core_dumps() {
    use std::os::unix::fs::MetadataExt as _;
    let installation = Installation::new();
    let running = installation.start();
    let proc = format!("/proc/{}", running.pid());
    let limits = std::fs::read_to_string(format!("{proc}/limits")).expect("its limits");
    let line = limits.lines().find(|line| line.starts_with("Max core file size")).expect("the limit");
    assert_eq!(line.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"], "{line}");
    // proc(5): what a process that can't be dumped shows belongs to root, whoever runs it.
    assert_eq!(std::fs::metadata(format!("{proc}/environ")).expect("its environment").uid(), 0);
}
