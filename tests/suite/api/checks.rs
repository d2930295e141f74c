//! The client checks of key stores made through the API, with every combination of methods, and the certificates behind them.

use serde_json::{Value, json};

use super::http::{
    CERTIFICATE_AUTH_FAILURE, Connection, INVALID_ENTRY, INVALID_ENTRY_STATUS, IPV4_AUTH_FAILURE, Identity, MAC_AUTH_FAILURE, Refusal, Reply, exists, field,
    tls,
};
use super::stage::{Ask, Stage};
use crate::support::installation::Installation;

const MAC: &str = "02:00:00:00:00:0a";
const MAC_HEADER: &str = "X-TOAST-CLIENT-MAC-ADDR";
/// In the order in which failures are told.
const FAILURES: [Refusal; 3] = [IPV4_AUTH_FAILURE, MAC_AUTH_FAILURE, CERTIFICATE_AUTH_FAILURE];

fn yes_no(yes: bool) -> &'static str {
    if yes { "Y" } else { "N" }
}

fn is_on(set: usize, method: usize) -> bool {
    set >> method & 1 == 1
}

/// A key store that uses the methods of the set, with a secret in it.
fn key_store(stage: &Stage, name: &str, methods: usize, mode: &str) -> String {
    let [ip, mac, certificate] = [0, 1, 2].map(|method| yes_no(is_on(methods, method)));
    let body = json!({"name": name, "ip4AuthUse": ip, "macAuthUse": mac, "certificateAuthUse": certificate, "authMode": mode});
    stage.make("/keystores", &body).body();
    stage.make("/keys/secrets/create", &json!({"keyStoreName": name, "name": "secret", "secretValue": name})).text("keyId")
}

/// Lets the demo's client certificate into a key store, as if it had been made there.
fn admit_certificate(stage: &Stage, condition: &str) {
    stage.database.change(&format!(
        "INSERT INTO client_rules
         (key_store_id, method, value, fingerprint, serial, not_after, description, state, created_by, created_at, changed_by, changed_at)
         SELECT key_stores.id, method, value, fingerprint, serial, not_after, '', client_rules.state, '', 0, '', 0
         FROM client_rules, key_stores WHERE value = 'demo-client' AND ({condition})"
    ));
}

/// Reads the secret as a caller who passes the methods of the set.
fn read(stage: &Stage, id: &str, passes: usize) -> Reply {
    let ask = Ask::get(stage.v1(&format!("/secrets/{id}")));
    let ask = ask.header("X-Forwarded-For", if is_on(passes, 0) { "192.0.2.7" } else { "198.51.100.7" });
    let ask = ask.header(MAC_HEADER, if is_on(passes, 1) { MAC } else { "02:00:00:00:00:0b" });
    stage.ask(&if is_on(passes, 2) { ask.certified() } else { ask })
}

/// What a caller gets who passes these of the methods that are on.
fn expected(methods: usize, mode: &str, passes: usize) -> Result<(), Refusal> {
    let on = || (0..3).filter(|method| is_on(methods, *method));
    let failed = if mode == "AND" { on().find(|method| !is_on(passes, *method)) } else { on().next().filter(|_| methods & passes == 0) };
    failed.map_or(Ok(()), |method| Err(FAILURES[method]))
}

#[test]
fn methods_combine_as_the_mode_says() {
    let stage = Stage::with(Installation::new(), &[("SKM_API__TRUSTED_PROXIES", "127.0.0.1/32")]);
    let mut stores = Vec::new();
    for mode in ["AND", "OR"] {
        for methods in 1..8 {
            let name = format!("{mode}-{methods}");
            let id = key_store(&stage, &name, methods, mode);
            // Before there are entries, nobody passes.
            let first = FAILURES[methods.trailing_zeros() as usize];
            read(&stage, &id, 7).refused(first, &name);
            stage.make("/auths/ipv4s", &json!({"keyStoreName": name, "value": "192.0.2.0/24"})).body();
            stage.make("/auths/macs", &json!({"keyStoreName": name, "value": MAC.to_uppercase().replace(':', "-")})).body();
            stores.push((name, id, mode, methods));
        }
    }
    admit_certificate(&stage, "key_stores.name LIKE 'AND-%' OR key_stores.name LIKE 'OR-%'");
    for (name, id, mode, methods) in &stores {
        for passes in 0..8 {
            let reply = read(&stage, id, passes);
            match expected(*methods, mode, passes) {
                Ok(()) => assert_eq!(reply.text("secret"), *name, "{name} {passes:03b}"),
                Err(refusal) => reply.refused(refusal, &format!("{name} {passes:03b}")),
            }
        }
    }
    stage.finish();
}

fn every_operation_but_public_key_is_checked(stage: &Stage) {
    let name = "nobody";
    let secret = key_store(stage, name, 1, "AND");
    let make = |kind: &str| stage.make(&format!("/keys/{kind}/create"), &json!({"keyStoreName": name, "name": kind})).text("keyId");
    let (symmetric, asymmetric) = (make("symmetric-keys"), make("asymmetric-keys"));
    let body = json!({"plaintext": "x", "ciphertext": "AAAA", "signature": "AAAA", "algorithm": "RSASSA-PSS", "keyVersion": 0, "secretValue": "x"});
    let mut asks: Vec<Ask> = ["encrypt", "decrypt", "create-local-key"].map(|name| Ask::post(format!("/symmetric-keys/{symmetric}/{name}"), &body)).into();
    asks.extend(["sign", "verify", "sign-standard", "verify-standard"].map(|name| Ask::post(format!("/asymmetric-keys/{asymmetric}/{name}"), &body)));
    asks.push(Ask::get(format!("/symmetric-keys/{symmetric}/symmetric-key")));
    asks.push(Ask::get(format!("/asymmetric-keys/{asymmetric}/privateKey")));
    asks.push(Ask::get(format!("/secrets/{secret}")));
    asks.push(Ask::put(format!("/secrets/{secret}"), &body));
    for mut ask in asks {
        ask.path = stage.path("v1.2", &ask.path);
        stage.ask(&ask.headers(&stage.admin())).refused(IPV4_AUTH_FAILURE, "a key store without entries");
    }
    stage.ask(&Ask::get(stage.v1(&format!("/asymmetric-keys/{asymmetric}/publicKey")))).body();
}

fn mac_headers_are_read_in_every_notation_and_no_other(stage: &Stage) {
    let id = key_store(stage, "by MAC", 2, "AND");
    stage.make("/auths/macs", &json!({"keyStoreName": "by MAC", "value": MAC})).body();
    let ask = |headers: &[&[u8]]| {
        let with = |ask: Ask| headers.iter().fold(ask, |ask, value| ask.header(MAC_HEADER, value));
        let seen = stage.ask(&with(Ask::get(stage.v1("/confirm")))).body()["clientMacHeader"].clone();
        (seen, stage.ask(&with(Ask::get(stage.v1(&format!("/secrets/{id}"))))))
    };
    for right in ["02:00:00:00:00:0a", "02:00:00:00:00:0A", "02-00-00-00-00-0a", "02-00-00-00-00-0A", "  02:00:00:00:00:0a\t"] {
        let (seen, reply) = ask(&[right.as_bytes()]);
        assert_eq!((seen, reply.text("secret")), (json!(MAC), "by MAC".to_owned()), "{right}");
    }
    for wrong in [
        b"".as_slice(),
        b"02:00:00:00:00",
        b"02:00:00:00:00:0a:00",
        b"02:00:00-00:00:0a",
        b"02000000000a",
        b"0200.0000.000a",
        b"2:0:0:0:0:a",
        b"02:00:00:00:00:0g",
        b"02 00 00 00 00 0a",
        b"02:00:00:00:00:0a,02:00:00:00:00:0a",
        b"\xff\xfe",
        "０2:00:00:00:00:0a".as_bytes(),
    ] {
        let (seen, reply) = ask(&[wrong]);
        assert_eq!(seen, Value::Null, "{wrong:?}");
        reply.refused(MAC_AUTH_FAILURE, &format!("{wrong:?}"));
    }
    let (seen, reply) = ask(&[MAC.as_bytes(), MAC.as_bytes()]);
    assert_eq!(seen, Value::Null);
    reply.refused(MAC_AUTH_FAILURE, "twice");
    let (seen, reply) = ask(&[]);
    assert_eq!(seen, Value::Null);
    reply.refused(MAC_AUTH_FAILURE, "none");
}

fn entries_that_are_to_be_deleted_admit_nobody(stage: &Stage) {
    let id = key_store(stage, "store", 3, "OR");
    let entry = |value: &str| json!({"keyStoreName": "store", "value": value});
    let delete = |kind: &str, body: &Value| {
        let ask = Ask::put(stage.path("v1.2", &format!("/auths/{kind}/delete")), body);
        stage.ask(&ask.headers(&stage.admin()))
    };
    let secret = |mac: &str| stage.ask(&Ask::get(stage.v1(&format!("/secrets/{id}"))).header(MAC_HEADER, mac));
    for (kind, value) in [("ipv4s", "127.0.0.1"), ("ipv4s", "127.0.0.0/8"), ("macs", MAC)] {
        stage.make(&format!("/auths/{kind}"), &entry(value)).body();
    }
    secret("").body();
    for (kind, typed, shown) in [("ipv4s", "127.0.0.1/32", "127.0.0.1"), ("ipv4s", "127.0.0.0/8", "127.0.0.0/8"), ("macs", "02-00-00-00-00-0A", MAC)] {
        secret(MAC).body();
        let deleted = delete(kind, &entry(typed)).body();
        let due = deleted["deletionDateTime"].as_str().expect("a date-time").to_owned();
        assert_eq!(deleted, json!({"value": shown, "deletionDateTime": due}));
        let due = chrono::NaiveDateTime::parse_from_str(&due, "%Y-%m-%dT%H:%M:%S").expect("a date-time");
        assert!(deleted["deletionDateTime"].as_str().is_some_and(|due| due.ends_with(":00:00")), "{due} is no full hour");
        let minutes = (due - chrono::Utc::now().naive_utc()).num_minutes();
        assert!((7 * 1_440 - 5..=7 * 1_440 + 60).contains(&minutes), "{due}");
        delete(kind, &entry(typed)).refused(INVALID_ENTRY_STATUS, "asked for twice");
        stage.make(&format!("/auths/{kind}"), &entry(typed)).refused(exists("value is taken: that entry exists"), typed);
    }
    secret(MAC).refused(IPV4_AUTH_FAILURE, "no entry left");
    for (kind, value) in [("ipv4s", "127.0.0.2"), ("macs", "02:00:00:00:00:0b")] {
        delete(kind, &entry(value)).refused(INVALID_ENTRY, value);
    }
    delete("ipv4s", &entry("nonsense")).refused(field("value must be an IPv4 address or CIDR block"), "nonsense");
    delete("macs", &entry("nonsense")).refused(field("value must be a MAC address like aa:bb:cc:dd:ee:ff"), "nonsense");
    delete("certificates", &json!({"keyStoreName": "store", "name": "nobody"})).refused(INVALID_ENTRY, "nobody");
    delete("certificates", &json!({"keyStoreName": "store", "name": "x".repeat(101)})).refused(field("name must have at most 100 characters"), "a long name");
    let certificate = |name: &str| json!({"keyStoreName": "store", "name": name, "password": "p", "lifeTime": 1});
    stage.make("/auths/certificates", &certificate("cafe\u{301}")).body();
    let deleted = delete("certificates", &certificate(" cafe\u{301}")).body();
    assert_eq!(deleted, json!({"name": "caf\u{e9}", "deletionDateTime": deleted["deletionDateTime"]}));
}

fn certificates_count_in_their_own_key_store_until_they_are_revoked(stage: &Stage) {
    let id = key_store(stage, "other", 4, "AND");
    stage.make("/auths/certificates", &json!({"keyStoreName": "other", "name": "other-client", "password": "p", "lifeTime": 1})).body();
    let demo = Ask::post(stage.v1(&format!("/symmetric-keys/{}/encrypt", stage.id("MTLS_SYMMETRIC_ID"))), &json!({"plaintext": "x"}));
    let other = Ask::get(stage.v1(&format!("/secrets/{id}")));
    stage.ask(&demo).refused(CERTIFICATE_AUTH_FAILURE, "no certificate");
    stage.ask(&other.clone().certified()).refused(CERTIFICATE_AUTH_FAILURE, "a certificate of another key store");
    let forged = demo.clone().header("X-Client-Cert", "x").header("X-SSL-Client-Verify", "SUCCESS");
    stage.ask(&forged).refused(CERTIFICATE_AUTH_FAILURE, "a header is no certificate");

    // The connection was there before, and is the same after.
    let mut connection = stage.connect(true);
    stage.ask_on(&mut connection, &demo).body();
    let revoke = Ask::put(stage.path("v1.2", "/auths/certificates/delete"), &json!({"keyStoreName": "demo-by-certificate", "name": "demo-client"}));
    stage.ask(&revoke.headers(&stage.admin())).body();
    stage.ask_on(&mut connection, &demo).refused(CERTIFICATE_AUTH_FAILURE, "revoked while the connection is open");
    stage.ask(&demo.clone().certified()).refused(CERTIFICATE_AUTH_FAILURE, "revoked, on another connection");
    let confirm = stage.ask_on(&mut connection, &Ask::get(stage.v1("/confirm")));
    assert_eq!(confirm.body()["clientSentCertificate"], true);
    // Expired while the connection is open: looked at on every request.
    admit_certificate_again(stage);
    stage.ask_on(&mut connection, &demo).body();
    stage.database.change("UPDATE client_rules SET not_after = 1 WHERE value = 'demo-client'");
    stage.ask_on(&mut connection, &demo).refused(CERTIFICATE_AUTH_FAILURE, "expired, by its entry");
}

fn admit_certificate_again(stage: &Stage) {
    stage.database.change("UPDATE client_rules SET state = 'ACTIVE' WHERE value = 'demo-client'");
}

fn certificates_that_prove_nothing_end_the_handshake(stage: &Stage) {
    let ca = std::path::Path::new(stage.id("CA"));
    let outcome = |identity: Identity| {
        let config = tls(ca, Some(identity));
        let exchange = Connection::open(stage.running.api_address(), &config).and_then(|mut connection| {
            connection.write(format!("GET {} HTTP/1.1\r\nHost: x\r\n\r\n", stage.v1("/confirm")).as_bytes())?;
            connection.read(false)
        });
        exchange.map(|reply| reply.to_string()).expect_err("a handshake that fails").to_string()
    };
    for (days, expected) in [(1, "received fatal alert: UnknownCA"), (-1, "received fatal alert: CertificateExpired")] {
        assert_eq!(outcome(foreign_identity(days)), expected);
    }
    // The server's own certificate is of the right CA, but for servers.
    let data = stage.installation.path().join("data");
    let alert = outcome(Identity::read(&data.join("server.pem"), &data.join("server.key")));
    assert!(alert.contains("received fatal alert"), "wrong usage: {alert}");
    stage.ask(&Ask::get(stage.v1("/confirm")).certified()).body();
}

/// A client certificate of a CA that nobody knows, valid for so many days from now.
fn foreign_identity(days: i64) -> Identity {
    use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
    let ca_key = KeyPair::generate().expect("a key");
    let mut ca = CertificateParams::default();
    ca.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    ca.distinguished_name.push(DnType::CommonName, "a foreign CA");
    let issuer = Issuer::new(ca, ca_key);
    let key = KeyPair::generate().expect("a key");
    let mut client = CertificateParams::default();
    client.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let now = std::time::SystemTime::now();
    let day = std::time::Duration::from_secs(86_400);
    (client.not_before, client.not_after) = if days > 0 { ((now - day).into(), (now + day).into()) } else { ((now - 2 * day).into(), (now - day).into()) };
    let certificate = client.signed_by(&key, &issuer).expect("a certificate");
    Identity { chain: vec![certificate.der().clone()], key: rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).expect("a key") }
}

#[test]
fn clients_are_checked() {
    let stage = Stage::new();
    every_operation_but_public_key_is_checked(&stage);
    mac_headers_are_read_in_every_notation_and_no_other(&stage);
    entries_that_are_to_be_deleted_admit_nobody(&stage);
    certificates_count_in_their_own_key_store_until_they_are_revoked(&stage);
    certificates_that_prove_nothing_end_the_handshake(&stage);
    stage.finish();
}
