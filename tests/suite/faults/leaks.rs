//! Where secrets must not be: database, audit log, logs at their most talkative, command line, environment, files for all.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use serde_json::json;

use super::import::Importer;
use super::load::{Client, Kind, Ledger};
use super::settled::token_objects;
use crate::console::person::Person;
use crate::support::installation::{Installation, Running, agent, send};
use crate::support::wire::{Wire, request, trust};

/// The files that hold secrets, and are their owner's alone.
const SECRET_FILES: [&str; 5] = ["pin", "so-pin", "dev.env", "client.key", "data/server.key"];

/// A secret, by what it is.
struct Secret {
    what: &'static str,
    value: String,
}

/// The forms in which a secret could stand somewhere.
fn forms(secret: &str) -> Vec<Vec<u8>> {
    let bytes = secret.as_bytes();
    let mut forms = vec![bytes.to_vec(), hex::encode(bytes).into_bytes(), hex::encode_upper(bytes).into_bytes()];
    // As part of something longer, Base64 depends on where it begins: the characters that its neighbours share are left out.
    for (before, skipped) in [(0, 0), (1, 2), (2, 3)] {
        let shifted = [&vec![b'x'; before][..], bytes].concat();
        let whole = shifted.len() / 3 * 4;
        for encoded in [STANDARD_NO_PAD.encode(&shifted), URL_SAFE_NO_PAD.encode(&shifted)] {
            forms.push(encoded.as_bytes()[skipped..whole].to_vec());
        }
    }
    let escape = |escaped: fn(&u8) -> bool| {
        bytes.iter().map(|byte| if escaped(byte) { format!("%{byte:02X}") } else { char::from(*byte).to_string() }).collect::<String>()
    };
    forms.push(escape(|_| true).into_bytes());
    forms.push(escape(|byte| !byte.is_ascii_alphanumeric() && !b"-._~".contains(byte)).into_bytes());
    // The `Debug` of bytes.
    forms.push(bytes.iter().map(u8::to_string).collect::<Vec<_>>().join(", ").into_bytes());
    forms.push(bytes.escape_ascii().to_string().into_bytes());
    forms
}

fn holds(text: &[u8], form: &[u8]) -> bool {
    let Some((first, rest)) = form.split_first() else { return false };
    let mut from = 0;
    while let Some(found) = text[from..].iter().position(|byte| byte == first) {
        from += found + 1;
        if text[from..].starts_with(rest) {
            return true;
        }
    }
    false
}

#[test]
fn the_search_finds_what_is_there() {
    let secret = "hunter2/and+more%";
    for text in [
        "x hunter2/and+more% x".to_owned(),
        format!("x{}x", hex::encode(secret)),
        STANDARD_NO_PAD.encode(format!("a{secret}b")),
        URL_SAFE_NO_PAD.encode(format!("ab{secret}")),
        STANDARD_NO_PAD.encode(format!("abc{secret}d")),
        "hunter2%2Fand%2Bmore%25".to_owned(),
        format!("{:?}", secret.as_bytes()),
    ] {
        assert!(forms(secret).iter().any(|form| holds(text.as_bytes(), form)), "{text}");
    }
    assert!(!forms(secret).iter().any(|form| holds(b"hunter1 and nothing else", form)));
}

/// Every file below a directory.
fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).expect("a directory").map(|entry| entry.expect("an entry").path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// Asks for all kinds of things with secrets in them, in good and in bad requests, and answers the secrets.
fn busy_run(installation: &Installation, running: &Running) -> Vec<Secret> {
    let mut secrets = Vec::new();
    let mut secret = |what, value: String| secrets.push(Secret { what, value });
    let read = |name: &str| std::fs::read_to_string(installation.path().join(name)).expect("a secret file").trim().to_owned();
    secret("PIN", read("pin"));
    secret("security officer's PIN", read("so-pin"));
    secret("administrator's password", installation.demo("ADMIN_PASSWORD").to_owned());
    secret("access key's secret", installation.demo("SECRET_ACCESS_KEY").to_owned());
    let (client, symmetric) = (Client::new(installation, running), installation.demo("SYMMETRIC_ID"));
    for (what, plaintext) in [("plaintext", "Zwei-Meter-Plaintext-4711"), ("plaintext that is too long", "Überlänge-Q77")] {
        secret(what, plaintext.to_owned());
        let answer = client.encrypt(symmetric, &plaintext.repeat(if plaintext.starts_with('Z') { 1 } else { 3_000 })).expect("an answer");
        if answer.status == 200 {
            assert_eq!(client.decrypt(symmetric, &answer.text("ciphertext")).expect("an answer").text("plaintext"), plaintext);
        }
    }
    let local = client.data("POST", &format!("/symmetric-keys/{symmetric}/create-local-key"), None).expect("an answer");
    secret("data key", local.text("localKeyPlaintext"));
    let raw = base64::engine::general_purpose::STANDARD.decode(local.text("localKeyPlaintext")).expect("Base64");
    secret("data key's bytes", hex::encode(&raw));
    let signed = format!("/asymmetric-keys/{}/sign", installation.demo("ASYMMETRIC_ID"));
    secret("text to be signed", "Unterschreib-mich-0815".to_owned());
    assert_eq!(client.data("POST", &signed, Some(&json!({"plaintext": "Unterschreib-mich-0815"}))).expect("an answer").status, 200);
    let kept = json!({"keyStoreName": "demo-by-address", "name": "kept", "description": "d", "secretValue": "Vertraulich-Sesam-99"});
    secret("confidential data", "Vertraulich-Sesam-99".to_owned());
    let id = client.change("POST", "/keys/secrets/create", &kept).expect("an answer").text("keyId");
    secret("changed confidential data", "Neu-Vertraulich-Sesam-100".to_owned());
    assert_eq!(client.change("PUT", &format!("/secrets/{id}"), &json!({"secretValue": "Neu-Vertraulich-Sesam-100"})).expect("an answer").status, 200);
    assert_eq!(client.data("GET", &format!("/secrets/{id}"), None).expect("an answer").text("secret"), "Neu-Vertraulich-Sesam-100");
    secret("the demo's confidential data", "not-a-real-password@db".to_owned());
    assert_eq!(client.data("GET", &format!("/secrets/{}", installation.demo("SECRET_ID")), None).expect("an answer").status, 200);
    let certificate = json!({"keyStoreName": "demo-by-certificate", "name": "another", "password": "P12-Kennwort-!Wald", "lifeTime": 30});
    secret("certificate's password", "P12-Kennwort-!Wald".to_owned());
    assert_eq!(client.change("POST", "/auths/certificates", &certificate).expect("an answer").status, 200);
    secrets.extend(imports(installation, running));
    secrets.extend(credentials(installation, running));
    secrets.extend(bad_requests(installation, running));
    secrets.push(webhook(installation, running));
    let ledger = Ledger::default();
    Kind::ALL.into_iter().for_each(|kind| ledger.make(&client, kind));
    assert_eq!(ledger.acknowledged().len(), Kind::ALL.len());
    secrets
}

/// Keys that come in, and one that is refused; a token for a wrapped one, used twice.
fn imports(installation: &Installation, running: &Running) -> Vec<Secret> {
    let importer = Importer::new(installation, running);
    let base64 = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
    let (key, short) = ("Einfuhr-Schluessel-aus-32-Bytes!", "Einfuhr-zu-kurz-31");
    for (value, status) in [(key, 200), (short, 400)] {
        assert_eq!(importer.import(value.split_at(3).0, json!({"keyData": base64(value)})).expect("an answer").status, status, "{value}");
    }
    let wrapped = importer.wrapped("wrapped for the search").expect("parameters");
    for (name, status) in [("wrapped for the search", 200), ("again", 400)] {
        assert_eq!(importer.import(name, wrapped.clone()).expect("an answer").status, status, "{name}");
    }
    let token = wrapped["importToken"].as_str().expect("a token").to_owned();
    [("imported key", key.to_owned()), ("imported key that is too short", short.to_owned()), ("import token", token)]
        .map(|(what, value)| Secret { what, value })
        .into()
}

/// A webhook's secret, which is shown once.
fn webhook(installation: &Installation, running: &Running) -> Secret {
    let admin = Person::sign_in(installation, running, installation.demo("ADMIN_USER"), installation.demo("ADMIN_PASSWORD"));
    let added = admin.fill_in("/projects/1/notifications/new", &[("target", "https://example.com/"), ("events", "ROTATED")]);
    let (_, rest) = added.text.split_once("whsec_").unwrap_or_else(|| panic!("no secret in {}", added.text));
    Secret { what: "webhook's secret", value: rest.split('<').next().expect("a secret").to_owned() }
}

/// Right and wrong credentials of each kind.
fn credentials(installation: &Installation, running: &Running) -> Vec<Secret> {
    let agent = agent(&std::fs::read(installation.demo("CA")).expect("the CA"), None);
    let url = format!("https://{}", running.api_address());
    let basic =
        |secret: &str| format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{}:{secret}", installation.demo("ACCESS_KEY_ID"))));
    let form = |path: &str, authorization: &str, body: &str| {
        let headers = [("authorization", authorization), ("content-type", "application/x-www-form-urlencoded")];
        send(&agent, "POST", &format!("{url}{path}"), &headers, Some(body.as_bytes())).expect("an answer")
    };
    let right = basic(installation.demo("SECRET_ACCESS_KEY"));
    let issued = form("/oauth2/token/create", &right, "grant_type=client_credentials");
    let token = issued.json["access_token"].as_str().expect("a token").to_owned();
    assert_eq!(form("/oauth2/token/create", &basic("Falsches-Geheimnis-31"), "grant_type=client_credentials").status, 401);
    let confirm = format!("{url}/keymanager/v1.3/appkey/{}/confirm", installation.demo("APPKEY"));
    let with = |headers: &[(&str, &str)]| send(&agent, "GET", &confirm, headers, None).expect("an answer").status;
    assert_eq!(with(&[("x-nhn-authorization", &format!("Bearer {token}"))]), 200);
    assert_eq!(with(&[("x-nhn-authorization", "Bearer Falsche-Marke-32")]), 401);
    assert_eq!(with(&[("x-nhn-authorization", "Falsches-Schema-33"), ("cookie", "session=Keks-34"), ("authorization", "Digest Kopf-35")]), 401);
    let v12 = confirm.replace("v1.3", "v1.2");
    let wrong = [("x-tc-authentication-id", installation.demo("ACCESS_KEY_ID")), ("x-tc-authentication-secret", "Falsches-Geheimnis-36")];
    assert_eq!(send(&agent, "GET", &v12, &wrong, None).expect("an answer").status, 401);
    assert_eq!(form("/oauth2/token/revoke", &right, &format!("token={token}")).status, 200);
    over_http2(installation, running);
    let wrong = ["Falsches-Geheimnis-31", "Falsche-Marke-32", "Falsches-Schema-33", "Keks-34", "Kopf-35", "Falsches-Geheimnis-36", "Falsches-Geheimnis-37"];
    let mut secrets: Vec<_> = wrong.into_iter().map(|value| Secret { what: "wrong credential", value: value.to_owned() }).collect();
    secrets.push(Secret { what: "bearer token", value: token });
    secrets
}

/// The same over HTTP/2, whose library logs by itself.
fn over_http2(installation: &Installation, running: &Running) {
    let url = format!(
        "https://{}/keymanager/v1.2/appkey/{}/symmetric-keys/{}/encrypt",
        running.api_address(),
        installation.demo("APPKEY"),
        installation.demo("SYMMETRIC_ID")
    );
    let id = format!("x-tc-authentication-id: {}", installation.demo("ACCESS_KEY_ID"));
    for (secret, status) in [(installation.demo("SECRET_ACCESS_KEY"), "200 2"), ("Falsches-Geheimnis-37", "401 2")] {
        let output = Command::new("curl")
            .args(["--silent", "--http2", "--cacert", installation.demo("CA"), "--header", &id, "--header", "content-type: application/json"])
            .args(["--header", &format!("x-tc-authentication-secret: {secret}"), "--data", r#"{"plaintext": "Zwei-Meter-Plaintext-4711"}"#])
            .args(["--output", "/dev/null", "--write-out", "%{http_code} %{http_version}", &url])
            .output()
            .expect("curl");
        assert_eq!(String::from_utf8_lossy(&output.stdout), status);
    }
}

/// Requests that nobody should send, with something in them that nobody should see.
fn bad_requests(installation: &Installation, running: &Running) -> Vec<Secret> {
    let trusted = trust(installation.demo("CA"));
    let encrypt = format!("/keymanager/v1.0/appkey/{}/symmetric-keys/{}/encrypt", installation.demo("APPKEY"), installation.demo("SYMMETRIC_ID"));
    let sent = [
        r#"{"plaintext": Kaputt-41}"#,
        r#"{"plaintext": "Offen-42"#,
        r#"["Liste-43"]"#,
        r#"{"plaintext": "Doppelt-44", "plaintext": "Doppelt-45"}"#,
        r#"{"plaintext": {"tief": "Tief-46"}}"#,
        r#"{"klartext": "Daneben-47"}"#,
    ];
    for body in sent {
        let mut wire = Wire::connect(running.api_address(), &trusted);
        assert!(wire.send(request("POST", &encrypt, &[], body).as_bytes()));
        let answer = wire.answer();
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    }
    let mut wire = Wire::connect(running.console_address(), &trusted);
    assert!(wire.send(request("POST", "/sign-in", &[("cookie", "session=Keks-51")], "user=admin&password=Konsole-52").as_bytes()));
    assert!(!wire.read(16 * 1024).is_empty());
    // Not HTTP at all, and hung up amid the body.
    let mut wire = Wire::connect(running.api_address(), &trusted);
    assert!(wire.send(b"Kein-HTTP-48 Kein-HTTP-48\r\n\r\n"));
    drop(wire.read(1024));
    let mut wire = Wire::connect(running.api_address(), &trusted);
    assert!(
        wire.send(request("POST", &encrypt, &[("content-length-not", "Kopf-49")], r#"{"plaintext": "Abgerissen-50 ......."#).trim_end_matches('.').as_bytes())
    );
    drop(wire);
    let words = [
        "Kaputt-41",
        "Offen-42",
        "Liste-43",
        "Doppelt-44",
        "Doppelt-45",
        "Tief-46",
        "Daneben-47",
        "Kein-HTTP-48",
        "Kopf-49",
        "Abgerissen-50",
        "Keks-51",
        "Konsole-52",
    ];
    words.into_iter().map(|value| Secret { what: "part of a bad request", value: value.to_owned() }).collect()
}

/// Everything that could hold what it mustn't: a name, and the bytes.
fn places(installation: &Installation, running: &Running) -> Vec<(String, Vec<u8>)> {
    let root = installation.path();
    let mut places: Vec<_> = files(&root)
        .into_iter()
        .filter(|path| !SECRET_FILES.iter().any(|name| root.join(name) == *path))
        .filter(|path| path.metadata().expect("a file").is_file())
        .map(|path| (path.display().to_string(), std::fs::read(&path).expect("a file")))
        .collect();
    for name in ["cmdline", "environ"] {
        places.push((format!("/proc/…/{name}"), std::fs::read(format!("/proc/{}/{name}", running.pid())).expect("our own process")));
    }
    places.push(("the log".to_owned(), running.log().into_bytes()));
    places
}

fn must_hold_none(places: &[(String, Vec<u8>)], secrets: &[Secret]) {
    let mut found = Vec::new();
    for Secret { what, value } in secrets {
        for form in forms(value) {
            found.extend(
                places.iter().filter(|(_, bytes)| holds(bytes, &form)).map(|(place, _)| format!("{place}: {what} as {}", String::from_utf8_lossy(&form))),
            );
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn no_secret_is_where_it_should_not_be() {
    let mut installation = Installation::new();
    installation.set("SKM_LOG__FILTER", "trace");
    let running = installation.start();
    let secrets = busy_run(&installation, &running);
    for name in SECRET_FILES {
        let mode = std::fs::metadata(installation.path().join(name)).expect("a secret file").permissions().mode();
        assert_eq!(mode & 0o7777, 0o600, "{name}");
    }
    let places = places(&installation, &running);
    let sizes: Vec<_> = places.iter().map(|(place, bytes)| format!("{place}: {} bytes", bytes.len())).collect();
    assert!(places.iter().any(|(place, _)| place.ends_with("skm.sqlite3-wal")), "{sizes:#?}");
    println!("{sizes:#?}");
    assert!(running.log().contains("\"TRACE\""), "nothing is logged at trace");
    must_hold_none(&places, &secrets);
    let (status, log) = running.stop();
    assert!(status.success());
    must_hold_none(&[("the whole log".to_owned(), log.into_bytes())], &secrets);
    let (code, records, problems) = installation.run(&["audit", "tail", "--json", "--count", "10000"]);
    assert_eq!(code, 0, "{problems}");
    must_hold_none(&[("audit tail".to_owned(), records.into_bytes())], &secrets);
}

#[test]
fn the_tokens_keys_are_sensitive_and_stay_there() {
    let installation = Installation::new();
    let running = installation.start();
    let (client, ledger) = (Client::new(&installation, &running), Ledger::default());
    Kind::ALL.into_iter().for_each(|kind| ledger.make(&client, kind));
    drop(running);
    let protected = |class: &str| ["CKO_SECRET_KEY", "CKO_PRIVATE_KEY"].contains(&class);
    let objects = token_objects(&installation);
    assert!(objects.iter().filter(|object| protected(&object.class)).count() > 8, "{objects:?}");
    for object in objects.iter().filter(|object| protected(&object.class)) {
        assert_eq!(object.flags, "sensitive, not extractable", "{object:?}");
    }
    // The same by another program.
    let output = Command::new("pkcs11-tool")
        .args(["--module", "/usr/lib/softhsm/libsofthsm2.so", "--login", "--pin", "env:PIN", "--list-objects"])
        .env("SOFTHSM2_CONF", installation.path().join("softhsm2.conf"))
        .env("PIN", std::fs::read_to_string(installation.path().join("pin")).expect("the PIN"))
        .output()
        .expect("pkcs11-tool");
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{told}{}", String::from_utf8_lossy(&output.stderr));
    let mut shown = 0;
    let mut lines = told.lines().peekable();
    while let Some(line) = lines.next() {
        if !(line.starts_with("Private Key Object") || line.starts_with("Secret Key Object")) {
            continue;
        }
        shown += 1;
        let mut access = None;
        while let Some(attribute) = lines.next_if(|next| next.starts_with(' ')) {
            access = access.or_else(|| attribute.trim().strip_prefix("Access:").map(|access| access.trim().to_owned()));
        }
        assert_eq!(access.as_deref(), Some("sensitive, always sensitive, never extractable, local"), "{line}");
    }
    assert_eq!(shown, objects.iter().filter(|object| protected(&object.class)).count());
}
