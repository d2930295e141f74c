//! The newcomer's tour: every demo key used once, on SQLite and on PostgreSQL.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use serde_json::json;

use crate::support::installation::Installation;
use crate::support::postgres::Cluster;

fn tour(installation: &Installation) {
    let running = installation.start();
    let base = format!("/keymanager/v1.0/appkey/{}", installation.demo("APPKEY"));
    let confirm = running.ask("GET", &format!("{base}/confirm"), &[], None);
    assert_eq!(*confirm.body(), json!({"clientIp": "127.0.0.1", "clientMacHeader": null, "clientSentCertificate": false}));
    let secret = running.ask("GET", &format!("{base}/secrets/{}", installation.demo("SECRET_ID")), &[], None);
    assert!(secret.text("secret").starts_with("postgres://demo:"));
    let symmetric = format!("{base}/symmetric-keys/{}", installation.demo("SYMMETRIC_ID"));
    let encrypted = running.ask("POST", &format!("{symmetric}/encrypt"), &[], Some(&json!({"plaintext": "안녕, skm 🔑"})));
    let decrypted = running.ask("POST", &format!("{symmetric}/decrypt"), &[], Some(&json!({"ciphertext": encrypted.text("ciphertext")})));
    assert_eq!(*decrypted.body(), json!({"plaintext": "안녕, skm 🔑", "keyVersion": 0}));
    let asymmetric = format!("{base}/asymmetric-keys/{}", installation.demo("ASYMMETRIC_ID"));
    let signed = running.ask("POST", &format!("{asymmetric}/sign"), &[], Some(&json!({"plaintext": "order 4711"})));
    let verify = json!({"plaintext": "order 4711", "signature": signed.text("signature")});
    assert_eq!(*running.ask("POST", &format!("{asymmetric}/verify"), &[], Some(&verify)).body(), json!({"result": true, "keyVersion": 0}));
    let mtls = format!("{base}/symmetric-keys/{}/encrypt", installation.demo("MTLS_SYMMETRIC_ID"));
    let refused = running.ask("POST", &mtls, &[], Some(&json!({"plaintext": "x"})));
    assert_eq!((refused.status, refused.refusal()), (403, "Certificate Auth Failure"));
    let admitted = running.call(true, "POST", &mtls, &[], Some(br#"{"plaintext": "x"}"#)).expect("an answer");
    assert_eq!(admitted.body()["keyVersion"], 0);
    assert_eq!(admitted.request_id.len(), 32, "{admitted:?}");
    let (status, policy, page) = running.console("/", "content-security-policy");
    assert_eq!(status, 200);
    assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    assert!(page.contains("<h1>Sign in</h1>") && !page.contains("<script"), "{page}");
    assert_eq!(running.console("/nothing", "content-security-policy").0, 404);
    assert_eq!(running.operations("/healthz").0, 200);
    let (status, readiness) = running.operations("/readyz");
    assert_eq!((status, readiness.contains("\"ready\":true")), (200, true), "{readiness}");
    let (_, metrics) = running.operations("/metrics");
    assert!(metrics.contains("skm_requests_total{operation=\"ENCRYPT\",outcome=\"success\"} 2"), "{metrics}");
    let (status, log) = running.stop();
    assert!(status.success(), "{status}\n{log}");
    let tail = installation.command(&["audit", "tail", "--json", "-n", "100"]).output().expect("skm audit tail");
    assert!(String::from_utf8_lossy(&tail.stdout).contains(&admitted.request_id), "the request has its record");
    let verified = installation.command(&["audit", "verify"]).output().expect("skm audit verify");
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
}

#[test]
fn the_demo_says_where_and_as_whom_one_signs_in() {
    let installation = Installation::new();
    let mut child = installation.command(&["serve", "--dev"]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("skm serve");
    let lines = BufReader::new(child.stdout.take().expect("its output")).lines();
    let said = lines.map_while(Result::ok).find(|line| line.contains("Console"));
    child.kill().and_then(|()| child.wait()).expect("its end");
    let said = said.expect("a line about the console");
    let account = format!("(account {}, password {})", installation.demo("ADMIN_USER"), installation.demo("ADMIN_PASSWORD"));
    assert!(said.contains("https://127.0.0.1:") && said.contains(&account), "{said}");
}

#[test]
fn works_on_sqlite() {
    tour(&Installation::new());
}

#[test]
fn works_on_postgresql() {
    let cluster = Cluster::start();
    tour(&Installation::with(&[("SKM_DATABASE__URL", &cluster.uri())]));
}
