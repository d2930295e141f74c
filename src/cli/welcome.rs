//! What `skm serve --dev` says once it is ready: where it listens, and lines to paste.

use std::collections::HashMap;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use super::output;

/// The values of the `dev.env` beside the configuration file, if there is one.
fn demo(file: &Path) -> Option<HashMap<String, String>> {
    let text = fs::read_to_string(file.parent()?.join("dev.env")).ok()?;
    let entry = |line: &str| {
        let (name, value) = line.strip_prefix("export ")?.split_once('=')?;
        Some((name.to_owned(), value.trim_matches('\'').to_owned()))
    };
    Some(text.lines().filter_map(entry).collect())
}

/// This program, so that a pasted line finds it.
fn program() -> String {
    std::env::current_exe().map_or_else(|_| "skm".to_owned(), |path| path.display().to_string())
}

/// Says where everything is, and five curl lines that work when pasted. Says nothing where there is no demo.
pub(super) fn say(file: &Path, api: SocketAddr, console: SocketAddr, operations: SocketAddr) -> std::io::Result<()> {
    let Some(demo) = demo(file) else { return Ok(()) };
    let value = |name: &str| demo.get(name).cloned().unwrap_or_default();
    let base = format!("https://{api}/keymanager/v1.0/appkey/{}", value("SKM_APPKEY"));
    let curl = format!("curl -w '\\n' --cacert {}", value("SKM_CA"));
    let json = "-H 'Content-Type: application/json'";
    let mtls = format!("--cert {} --key {}", value("SKM_CLIENT_CERT"), value("SKM_CLIENT_KEY"));
    let environment = std::path::absolute(file).ok().and_then(|file| Some(file.parent()?.join("dev.env").display().to_string())).unwrap_or_default();
    let lines = [
        String::new(),
        format!("  API      https://{api}"),
        format!("  Console  https://{console}  (account {}, password {})", value("SKM_ADMIN_USER"), value("SKM_ADMIN_PASSWORD")),
        format!("  Health   http://{operations}/readyz, /healthz, /metrics"),
        String::new(),
        "Who the service thinks you are; a secret; encrypting; signing; encrypting over mutual TLS:".to_owned(),
        String::new(),
        format!("  {curl} {base}/confirm"),
        format!("  {curl} {base}/secrets/{}", value("SKM_SECRET_ID")),
        format!("  {curl} {json} -d '{{\"plaintext\":\"hello\"}}' {base}/symmetric-keys/{}/encrypt", value("SKM_SYMMETRIC_ID")),
        format!("  {curl} {json} -d '{{\"plaintext\":\"order 4711\"}}' {base}/asymmetric-keys/{}/sign", value("SKM_ASYMMETRIC_ID")),
        format!("  {curl} {mtls} {json} -d '{{\"plaintext\":\"hello\"}}' {base}/symmetric-keys/{}/encrypt", value("SKM_MTLS_SYMMETRIC_ID")),
        String::new(),
        format!("The same from a shell:  . {environment}; echo hello | {} client encrypt", program()),
        "Ctrl-C stops the service; the next start finds everything as it was.".to_owned(),
        String::new(),
    ];
    lines.iter().try_for_each(|line| output::line(line))
}
