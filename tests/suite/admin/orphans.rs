//! `skm hsm orphans`: what is in the token and in no row, and the other way round.

use std::process::Command;

use serde_json::{Value, json};

use super::records;
use crate::support::installation::Installation;

const STRAY: &str = "5712ac570000000000000000000005ca";

/// Another program with the same token.
fn tool(installation: &Installation, arguments: &[&str]) {
    let output = Command::new("pkcs11-tool")
        .args(["--module", "/usr/lib/softhsm/libsofthsm2.so", "--token-label", "skm-dev", "--login", "--pin", "env:PIN"])
        .args(arguments)
        .env("SOFTHSM2_CONF", installation.path().join("softhsm2.conf"))
        .env("PIN", std::fs::read_to_string(installation.path().join("pin")).expect("the PIN"))
        .output()
        .expect("pkcs11-tool (opensc)");
    assert!(output.status.success(), "{arguments:?}: {output:?}");
}

fn compared(installation: &Installation) -> (i32, Value) {
    let (code, told, problems) = installation.run(&["hsm", "orphans", "--json"]);
    assert_eq!(problems, "");
    (code, serde_json::from_str(&told).expect("JSON"))
}

fn clean(late: &[&str]) -> Value {
    json!({"orphans": [], "moreOrphans": 0, "missing": [], "moreMissing": 0, "late": late, "moreLate": 0})
}

/// The one object of a demo key.
fn object(installation: &Installation, key: &str) -> String {
    installation.database().texts("object_id", &format!("token_objects WHERE key_id = '{}'", installation.demo(key))).remove(0)
}

fn strays_are_listed_and_left_alone(installation: &Installation) {
    assert_eq!(compared(installation), (0, clean(&[])));
    tool(installation, &["--keygen", "--key-type", "AES:32", "--id", STRAY, "--label", "stray"]);
    tool(installation, &["--keypairgen", "--key-type", "EC:prime256v1", "--id", "ff", "--label", "a\u{1b}[31mpair"]);
    let mut expected = [
        json!({"class": "CKO_PRIVATE_KEY", "id": null, "label": "a\u{1b}[31mpair"}),
        json!({"class": "CKO_PUBLIC_KEY", "id": null, "label": "a\u{1b}[31mpair"}),
        json!({"class": "CKO_SECRET_KEY", "id": STRAY, "label": "stray"}),
    ];
    for _ in 0..2 {
        let (code, found) = compared(installation);
        let mut orphans = found["orphans"].as_array().expect("orphans").clone();
        orphans.sort_by_key(ToString::to_string);
        expected.sort_by_key(ToString::to_string);
        assert_eq!((code, orphans.as_slice(), &found["missing"], &found["late"]), (3, expected.as_slice(), &json!([]), &json!([])));
    }
    let (code, told, problems) = installation.run(&["hsm", "orphans"]);
    assert_eq!((code, problems.as_str()), (3, ""));
    assert!(told.contains(&format!("orphan   CKO_SECRET_KEY  {STRAY} stray\n")), "{told}");
    assert!(told.contains("a\\u{1b}[31mpair") && !told.contains('\u{1b}'), "{told}");
    assert!(told.ends_with("3 objects that no row names, 0 rows without their object, 0 late objects destroyed\n"), "{told}");
    tool(installation, &["--delete-object", "--type", "secrkey", "--id", STRAY]);
    for kind in ["privkey", "pubkey"] {
        tool(installation, &["--delete-object", "--type", kind, "--id", "ff"]);
    }
    assert_eq!(compared(installation), (0, clean(&[])));
    assert_eq!(records(installation).last().map(String::as_str), Some("RECONCILE 0 token compared: 0 orphans, 0 missing, 0 late"));
}

#[test]
fn strays_are_listed_with_no_server() {
    strays_are_listed_and_left_alone(&Installation::new());
}

#[test]
fn strays_are_listed_by_a_running_server() {
    let installation = Installation::new();
    let _running = installation.start();
    strays_are_listed_and_left_alone(&installation);
}

#[test]
fn what_is_missing_is_listed_with_its_key_and_what_is_late_is_destroyed() {
    let installation = Installation::new();
    let late = object(&installation, "SYMMETRIC_ID");
    installation.database().run(&format!("UPDATE token_objects SET state = 'DESTROYED' WHERE object_id = '{late}'"));
    assert_eq!(compared(&installation), (0, clean(&[&late])));
    assert_eq!(compared(&installation), (0, clean(&[])));
    let recorded = installation.database().texts("detail", "audit_records WHERE operation = 'RECONCILE' AND actor_kind = 'service'");
    assert_eq!(recorded, [format!("late object {late} destroyed")]);
    let of_project =
        format!("audit_records WHERE key_id = '{}' AND version = 0 AND project_id IS NOT NULL AND key_store IS NOT NULL", installation.demo("SYMMETRIC_ID"));
    assert_eq!(installation.database().count(&format!("{of_project} AND operation = 'RECONCILE'")), 1);
    let running = installation.start();
    let missing = object(&installation, "MTLS_SYMMETRIC_ID");
    tool(&installation, &["--delete-object", "--type", "secrkey", "--id", &missing]);
    let (code, found) = compared(&installation);
    let expected = json!([{"id": missing, "key": installation.demo("MTLS_SYMMETRIC_ID"), "version": 0}]);
    assert_eq!((code, &found["missing"], &found["orphans"]), (3, &expected, &json!([])));
    let (_, metrics) = running.operations("/metrics");
    let gauge = metrics.lines().find(|line| !line.starts_with('#') && line.contains("missing_objects")).expect("the gauge");
    assert!(gauge.ends_with(" 1.0"), "{gauge}");
}
