//! What the CA issues, as others see it.

use std::path::Path;
use std::sync::Arc;

use skm::domain::secret::SecretText;
use skm::hsm::HsmError;
use skm::service::pki::*;

use super::world::*;

fn text_of(der: &[u8]) -> String {
    openssl(&["x509", "-inform", "DER", "-noout", "-text", "-certopt", "ext_parse"], der)
}

/// Whether OpenSSL accepts the certificate for that purpose, and what it says.
fn verify(directory: &Path, der: &[u8], purpose: &str) -> (bool, String) {
    let (ca, leaf) = (OURS.write_ca(directory), directory.join("leaf.pem"));
    std::fs::write(&leaf, certificate_pem(der)).expect("written");
    let arguments = ["verify", "-x509_strict", "-purpose", purpose, "-CAfile", ca.to_str().expect("a path"), leaf.to_str().expect("a path")];
    let (ok, out, err) = try_run("openssl", &arguments, &[]);
    (ok, String::from_utf8_lossy(&out).into_owned() + &err)
}

#[test]
fn the_ca_certificate_is_what_rfc_5280_wants() {
    let text = text_of(OURS.ca.certificate());
    for expected in
        ["CA:TRUE, pathlen:0", "Certificate Sign, CRL Sign", "X509v3 Subject Key Identifier", "Issuer: CN = Test CA", "Subject: CN = Test CA", "Version: 3"]
    {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    let (ok, said) = verify(tempfile::tempdir().expect("a directory").path(), OURS.ca.certificate(), "any");
    assert!(ok, "{said}");
    assert!(!said.contains("error"), "{said}");
}

#[test]
fn issued_certificates_serve_their_purpose_and_no_other() {
    let directory = tempfile::tempdir().expect("a directory");
    for (der, right, wrong, usage) in [
        (&OURS.client.certificate.der, "sslclient", "sslserver", "TLS Web Client Authentication"),
        (&OURS.server.certificate.der, "sslserver", "sslclient", "TLS Web Server Authentication"),
    ] {
        let (ok, said) = verify(directory.path(), der, right);
        assert!(ok, "{said}");
        assert!(!verify(directory.path(), der, wrong).0);
        let text = text_of(der);
        for expected in [usage, "CA:FALSE", "Digital Signature", "X509v3 Authority Key Identifier", "X509v3 Subject Key Identifier", "ecdsa-with-SHA256"] {
            assert!(text.contains(expected), "{expected}: {text}");
        }
        let identifier = |name: &str| text.split(name).nth(1).and_then(|rest| rest.lines().nth(1)).map(|line| line.trim().to_owned());
        let ca = text_of(OURS.ca.certificate());
        let of_ca = ca.split("X509v3 Subject Key Identifier").nth(1).and_then(|rest| rest.lines().nth(1)).map(|line| line.trim().to_owned());
        assert_eq!(identifier("X509v3 Authority Key Identifier"), of_ca);
    }
    assert!(text_of(&OURS.server.certificate.der).contains("DNS:localhost, IP Address:127.0.0.1"));
    assert!(!verify(directory.path(), &OURS.expired.certificate.der, "sslclient").0);
    assert!(!verify(directory.path(), &FOREIGN.client.certificate.der, "sslclient").0);
}

#[test]
fn what_is_told_of_a_certificate_is_in_it() {
    let IssuedCertificate { der, fingerprint, serial, not_after } = &OURS.client.certificate;
    let said = openssl(&["x509", "-inform", "DER", "-noout", "-serial", "-fingerprint", "-sha256", "-enddate", "-dateopt", "iso_8601"], der);
    assert!(said.to_lowercase().contains(&format!("serial={serial}\n")), "{said}");
    assert!(said.to_lowercase().replace(':', "").contains(&fingerprint.to_string()), "{said}");
    let (_, parsed) = x509_parser::parse_x509_certificate(der).expect("a certificate");
    assert_eq!(parsed.validity().not_after.timestamp(), not_after.seconds());
    assert_eq!(not_after.micros() % 1_000_000, 0);
    let backdated = now().seconds() - parsed.validity().not_before.timestamp();
    assert!((300..400).contains(&backdated), "{backdated}");
    assert_ne!(OURS.client.certificate.serial, OURS.expired.certificate.serial);
    assert!(!format!("{:?}", OURS.client).contains(&hex::encode(&OURS.client.key.expose()[40..50])));
}

#[test]
fn lives_have_limits() {
    for days in [0, 3_651, u32::MAX] {
        let Err(PkiError::Invalid(invalid)) = OURS.ca.issue_client("x", days, now()) else { panic!("{days} days must be refused") };
        assert_eq!(invalid.field, "lifeTime");
    }
    // The CA lives for 4,000 days from 20 days ago: in 400 days it has less than 3,650 left.
    let late = OURS.ca.issue_client("x", 3_650, now().plus(DAY * 400)).expect("a certificate");
    assert_eq!(late.certificate.not_after, OURS.ca.not_after());
    let full = OURS.ca.issue_client("x", 3_650, now()).expect("a certificate");
    assert_eq!(full.certificate.not_after.seconds(), now().plus(DAY * 3_650).seconds(), "or a second earlier");
    assert!(matches!(OURS.ca.issue_client("x", 1, OURS.ca.not_after()), Err(PkiError::CaExpired)));
}

#[test]
fn names_are_kept_within_the_standards_bounds() {
    let issue = |name: &str| OURS.ca.issue_client(name, 1, now());
    let subject =
        |name: &str| openssl(&["x509", "-inform", "DER", "-noout", "-subject", "-nameopt", "utf8,sname"], &issue(name).expect("a certificate").certificate.der);
    assert_eq!(subject("Käse, O=Evil 🧀"), "subject=CN=Käse, O=Evil 🧀\n");
    assert_eq!(subject(&"ä".repeat(100)), format!("subject=CN={}\n", "ä".repeat(64)));
    for wrong in ["", "a\0b", "a\nb"] {
        assert!(matches!(issue(wrong), Err(PkiError::Invalid(_))), "{wrong:?}");
    }
    for (names, field) in [(vec![], "dns_names"), (vec!["bad name".to_owned()], "dns_names")] {
        let Err(PkiError::Invalid(invalid)) = OURS.ca.issue_server(&names, &[], 1, now()) else { panic!("{names:?} must be refused") };
        assert_eq!(invalid.field, field);
    }
}

/// A request that OpenSSL made, DER.
fn csr(key: &[&str], request: &[&str]) -> Vec<u8> {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("key.pem");
    let path = path.to_str().expect("a path");
    openssl(&[&["genpkey", "-out", path][..], key].concat(), &[]);
    run("openssl", &[&["req", "-new", "-key", path, "-subj", "/CN=whatever/O=Evil", "-outform", "DER"][..], request].concat(), &[])
}

const P256: &[&str] = &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"];

#[test]
fn of_a_request_only_the_key_is_taken() {
    let wishes = csr(
        P256,
        &[
            "-addext",
            "basicConstraints=critical,CA:FALSE",
            "-addext",
            "subjectAltName=DNS:evil.example",
            "-addext",
            "extendedKeyUsage=serverAuth",
            "-addext",
            "subjectKeyIdentifier=hash",
        ],
    );
    let issued = OURS.ca.issue_client_from_csr(&wishes, "mallory", 10, now()).expect("a certificate");
    let text = text_of(&issued.der);
    assert!(text.contains("CA:FALSE") && text.contains("Subject: CN = mallory") && text.contains("TLS Web Client Authentication"), "{text}");
    for wish in ["CA:TRUE", "evil.example", "Evil", "TLS Web Server Authentication"] {
        assert!(!text.contains(wish), "{wish}: {text}");
    }
    let key_of = |kind: &str, der: &[u8]| openssl(&[kind, "-inform", "DER", "-noout", "-pubkey"], der);
    assert_eq!(key_of("x509", &issued.der), key_of("req", &wishes));
    let directory = tempfile::tempdir().expect("a directory");
    assert!(verify(directory.path(), &issued.der, "sslclient").0);
}

#[test]
fn requests_with_good_keys_are_taken_and_others_refused() {
    let rsa = |bits| ["-algorithm", "RSA", "-pkeyopt", bits];
    for (name, request, accepted) in [
        ("P-256", csr(P256, &[]), true),
        ("P-384", csr(&["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"], &["-sha384"]), true),
        ("Ed25519", csr(&["-algorithm", "ED25519"], &[]), true),
        ("RSA-2048", csr(&rsa("rsa_keygen_bits:2048"), &[]), true),
        ("RSA-1024", csr(&rsa("rsa_keygen_bits:1024"), &[]), false),
        ("RSA-2048, SHA-1", csr(&rsa("rsa_keygen_bits:2048"), &["-sha1"]), false),
        ("P-521", csr(&["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-521"], &[]), false),
        ("secp256k1", csr(&["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:secp256k1"], &[]), false),
        ("Ed448", csr(&["-algorithm", "ED448"], &[]), false),
        ("a CA", csr(P256, &["-addext", "basicConstraints=critical,CA:TRUE"]), false),
    ] {
        let issued = OURS.ca.issue_client_from_csr(&request, "client", 10, now());
        assert_eq!(issued.is_ok(), accepted, "{name}: {issued:?}");
        if let Err(error) = issued {
            assert!(matches!(error, PkiError::Invalid(ref invalid) if invalid.field == "csr"), "{name}: {error}");
        }
    }
}

#[test]
fn requests_that_prove_nothing_are_refused() {
    let good = csr(P256, &[]);
    let issue = |request: &[u8]| OURS.ca.issue_client_from_csr(request, "client", 10, now());
    let pem = openssl(&["req", "-inform", "DER"], &good);
    assert!(issue(pem.as_bytes()).is_ok(), "PEM");
    assert!(issue(format!("some text before\n{pem}").as_bytes()).is_ok());
    for length in [0, 1, 10, good.len() / 2, good.len() - 1] {
        assert!(issue(&good[..length]).is_err(), "cut at {length}");
    }
    assert!(issue(&[&good[..], b"x"].concat()).is_err(), "followed by something");
    assert!(issue(&[0x30; CSR_MAX_BYTES + 1]).is_err(), "too long");
    assert!(issue(&OURS.client.certificate.der).is_err(), "a certificate");
    // Each byte of the public key (the last 65 before the attributes) and of the signature counts.
    for position in [good.len() - 1, good.len() - 20, good.len() / 2] {
        let mut broken = good.clone();
        broken[position] ^= 1;
        assert!(issue(&broken).is_err(), "byte {position}");
    }
}

#[test]
fn revocation_lists_are_read_by_openssl() {
    let directory = tempfile::tempdir().expect("a directory");
    let revoked = RevokedCertificate { serial: OURS.client.certificate.serial.clone(), at: now(), reason: RevocationReason::KeyCompromise };
    let list = OURS.ca.crl(&[revoked], 0x1234, now(), now().plus(DAY)).expect("a list");
    let text = openssl(&["crl", "-inform", "DER", "-noout", "-text"], &list);
    assert!(text.contains(&OURS.client.certificate.serial.to_uppercase()) && text.contains("Key Compromise"), "{text}");
    assert!(text.contains("0x1234") || text.contains("4660"), "{text}");
    let ca_text = text_of(OURS.ca.certificate());
    let identifier = ca_text.split("X509v3 Subject Key Identifier").nth(1).and_then(|rest| rest.lines().nth(1)).expect("an identifier").trim();
    assert!(text.contains(identifier), "{text}");

    let ca = OURS.write_ca(directory.path());
    let file = directory.path().join("crl.pem");
    for (name, list, certificate, expected) in [
        ("revoked", &list, &OURS.client, "certificate revoked"),
        ("not in the list", &list, &OURS.server, "OK"),
        ("empty list", &OURS.ca.crl(&[], 0, now(), now().plus(DAY)).expect("a list"), &OURS.client, "OK"),
    ] {
        std::fs::write(&file, crl_pem(list)).expect("written");
        let leaf = directory.path().join("leaf.pem");
        std::fs::write(&leaf, certificate_pem(&certificate.certificate.der)).expect("written");
        let [ca, file, leaf] = [&ca, &file, &leaf].map(|path| path.to_str().expect("a path"));
        let (_, out, err) = try_run("openssl", &["verify", "-crl_check", "-CAfile", ca, "-CRLfile", file, leaf], &[]);
        let said = String::from_utf8_lossy(&out).into_owned() + &err;
        assert!(said.contains(expected), "{name}: {said}");
    }
    assert!(OURS.ca.crl(&[], 1, now(), now()).is_err(), "a list must be followed by another later");
    let bad = RevokedCertificate { serial: "xyz".to_owned(), at: now(), reason: RevocationReason::Unspecified };
    assert!(OURS.ca.crl(&[bad], 1, now(), now().plus(DAY)).is_err());
}

#[test]
fn certificates_say_where_the_list_is() {
    let ca = Ca::open(OURS.ca.certificate(), OURS.key.clone(), Some("http://localhost:8080/crl")).expect("a CA");
    let issued = ca.issue_client("x", 1, now()).expect("a certificate");
    assert!(text_of(&issued.certificate.der).contains("URI:http://localhost:8080/crl"));
    assert!(!text_of(&OURS.client.certificate.der).contains("CRL Distribution"));
}

#[test]
fn only_a_ca_of_ours_is_opened() {
    for (name, certificate) in [("a client's", &OURS.client.certificate.der[..]), ("nothing", &[]), ("cut", &OURS.ca.certificate()[..100])] {
        assert!(matches!(Ca::open(certificate, OURS.key.clone(), None), Err(PkiError::CaCertificate(_))), "{name}");
    }
}

struct Broken;

impl DigestSigner for Broken {
    fn sign_digest(&self, _digest: [u8; 32]) -> Result<[u8; 64], HsmError> {
        Err(HsmError::Busy)
    }
}

#[test]
fn the_tokens_failure_is_told_and_a_wrong_key_noticed() {
    let ca = Ca::open(OURS.ca.certificate(), Arc::new(Broken), None).expect("a CA");
    assert!(matches!(ca.issue_client("x", 1, now()), Err(PkiError::Token(HsmError::Busy))));
    assert!(matches!(ca.crl(&[], 1, now(), now().plus(DAY)), Err(PkiError::Token(HsmError::Busy))));
    let ca = Ca::open(OURS.ca.certificate(), FOREIGN.key.clone(), None).expect("a CA");
    assert!(matches!(ca.issue_client("x", 1, now()), Err(PkiError::ForeignSignature)));
    let made = make_ca_certificate("x", &OURS.key.spki(), FOREIGN.key.as_ref(), now(), DAY);
    assert!(matches!(made, Err(PkiError::ForeignSignature)));
}

#[test]
fn signatures_of_all_shapes_verify() {
    // r and s begin with a zero byte once in 128 signatures, and with a high bit every other time.
    let before = OURS.key.signatures.load(std::sync::atomic::Ordering::Relaxed);
    for _ in 0..40 {
        let issued = OURS.ca.issue_client("x", 1, now()).expect("a certificate");
        let (_, parsed) = x509_parser::parse_x509_certificate(&issued.certificate.der).expect("a certificate");
        let (_, ca) = x509_parser::parse_x509_certificate(OURS.ca.certificate()).expect("a certificate");
        parsed.verify_signature(Some(ca.public_key())).expect("a signature");
    }
    assert!(OURS.key.signatures.load(std::sync::atomic::Ordering::Relaxed) >= before + 40, "the key signs, nothing else");
}

const PASSWORD: &str = "correct horse ~ battery!";

fn keystore() -> Vec<u8> {
    let password = SecretText::new(PASSWORD.to_owned());
    pkcs12(&OURS.client, &[OURS.ca.certificate()], &password, "client 🧀").expect("a keystore").expose().to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_keystore_works_in_openssl_and_curl() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("client.p12");
    std::fs::write(&path, keystore()).expect("written");
    let path = path.to_str().expect("a path");
    let (ok, out, info) = try_run("openssl", &["pkcs12", "-in", path, "-passin", &format!("pass:{PASSWORD}"), "-nodes", "-info"], &[]);
    let out = String::from_utf8_lossy(&out);
    assert!(ok && out.contains("BEGIN PRIVATE KEY") && out.matches("BEGIN CERTIFICATE").count() == 2, "{out}{info}");
    for expected in ["MAC: sha256", "PBES2, PBKDF2, AES-256-CBC", "PRF hmacWithSHA256"] {
        assert!(info.contains(expected), "{expected}: {info}");
    }
    assert!(!try_run("openssl", &["pkcs12", "-in", path, "-passin", "pass:wrong", "-nodes"], &[]).0);

    let server = Server::start(OURS.transport(), |_| {}).await;
    let ca = OURS.write_ca(directory.path());
    let identity = format!("{path}:{PASSWORD}");
    let said = run("curl", &["-sS", "--cacert", ca.to_str().expect("a path"), "--cert-type", "P12", "--cert", &identity, &server.url("/peer")], &[]);
    assert!(String::from_utf8_lossy(&said).contains(&OURS.client.certificate.fingerprint.to_string()), "{}", String::from_utf8_lossy(&said));
    server.stop().await;
}

#[test]
fn a_keystore_works_in_java() {
    // Java is not needed for anything else: where it is missing, OpenSSL and curl have to do.
    if std::process::Command::new("keytool").arg("-help").output().is_err() {
        println!("not run: there is no keytool (Java) here");
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("client.p12");
    std::fs::write(&path, keystore()).expect("written");
    let said = run("keytool", &["-list", "-v", "-keystore", path.to_str().expect("a path"), "-storepass", PASSWORD, "-storetype", "PKCS12"], &[]);
    let said = String::from_utf8_lossy(&said);
    assert!(said.contains("PrivateKeyEntry") && said.contains("Certificate chain length: 2"), "{said}");
}

#[test]
fn a_keystore_wants_a_proper_password() {
    let refused = pkcs12(&OURS.client, &[], &SecretText::default(), "x").expect_err("no password");
    assert!(matches!(refused, PkiError::Invalid(ref invalid) if invalid.field == "password"), "{refused}");
}
