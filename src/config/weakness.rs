//! Settings that work but that a production service must not have.

use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use super::database::DatabaseUrl;
use super::pin::PinSource;
use super::{Config, read_secret_file};

/// One weak setting: `[api] trusted_proxies: …`. Refused unless the operator says that it is for development.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Weakness {
    setting: &'static str,
    message: String,
}

impl fmt::Display for Weakness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.setting, self.message)
    }
}

/// The product's promise: a revoked thing stops working on every node within this time.
const REVOCATION_PROMISE: Duration = Duration::from_secs(1);

/// A longer list of trusted proxies than this many addresses is everybody's: /8 for IPv4, /16 for IPv6.
const PROXY_PREFIX_MIN: (u8, u8) = (8, 16);

pub(super) fn find(config: &Config) -> Vec<Weakness> {
    let mut found = Vec::new();
    let mut weak = |setting, message: String| found.push(Weakness { setting, message });

    for net in &config.api.trusted_proxies {
        let least = if net.addr().is_ipv4() { PROXY_PREFIX_MIN.0 } else { PROXY_PREFIX_MIN.1 };
        if net.prefix_len() < least {
            weak("[api] trusted_proxies", format!("{net} lets almost anybody claim any address; name the proxies alone"));
        }
    }
    if let Some(message) = config.api.key.as_deref().and_then(exposed_key) {
        weak("[api] key", message);
    }
    if !config.operations.listen.ip().is_loopback() {
        weak("[operations] listen", "health and metrics are plain HTTP for everybody; keep them on the loopback interface".to_owned());
    }
    if let PinSource::File(file) = &config.token.pin
        && let Err(error) = read_secret_file(file)
    {
        weak("[token] pin", error.to_string());
    }
    if let Some(Err(error)) = config.database.password_file.as_deref().map(read_secret_file) {
        weak("[database] password_file", error.to_string());
    }
    if let Some(Err(error)) = config.mail.password.as_ref().and_then(|password| password.file()).map(read_secret_file) {
        weak("[mail] password", error.to_string());
    }
    if let DatabaseUrl::Postgresql(url) = &config.database.url {
        for message in weak_url(url.expose()) {
            weak("[database] url", message.to_owned());
        }
    }
    if config.freshness.limit > REVOCATION_PROMISE {
        weak("[freshness] limit", format!("a revoked key or certificate could go on working for longer than {REVOCATION_PROMISE:?}"));
    }
    found
}

/// A TLS key may be readable for a group (`ssl-cert`), and for nobody else.
fn exposed_key(path: &Path) -> Option<String> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.mode() & 0o037 != 0 => {
            Some(format!("{} has mode {:04o}: others can reach it; chmod 600 it", path.display(), metadata.mode() & 0o7777))
        }
        Ok(_) => None,
        Err(error) => Some(format!("{}: {error}", path.display())),
    }
}

fn weak_url(url: &str) -> impl Iterator<Item = &'static str> {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    let authority = place.split('/').next().unwrap_or_default();
    let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    let parameter = |name: &str| query.split('&').filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name).map(|(_, value)| value);

    let has_password = user.contains(':') || parameter("password").is_some();
    let host = parameter("host").unwrap_or(host);
    let is_local =
        host.is_empty() || host.starts_with('/') || host.starts_with("%2F") || ["localhost", "127.0.0.1", "[::1]"].iter().any(|name| host.starts_with(name));
    let is_encrypted = matches!(parameter("sslmode"), Some("require" | "verify-ca" | "verify-full"));

    let password = has_password.then_some("it holds a password; put that into password_file");
    let plain = (!is_local && !is_encrypted).then_some("the connection may be plain text; add sslmode=verify-full (or require, at least)");
    password.into_iter().chain(plain)
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn settings_of(config: &Config) -> Vec<&'static str> {
        find(config).iter().map(|weakness| weakness.setting).collect()
    }

    #[test]
    fn the_defaults_are_not_weak() {
        assert_eq!(find(&Config::default()), []);
    }

    #[test]
    fn each_weak_setting_is_found() {
        let directory = tempfile::tempdir().unwrap();
        let exposed = directory.path().join("exposed");
        fs::write(&exposed, "1234").unwrap();
        fs::set_permissions(&exposed, Permissions::from_mode(0o644)).unwrap();

        let mut config = Config::default();
        config.api.trusted_proxies = vec!["0.0.0.0/0".parse().unwrap(), "10.0.0.0/8".parse().unwrap()];
        config.api.key = Some(exposed.clone());
        config.operations.listen = "0.0.0.0:9090".parse().unwrap();
        config.token.pin = PinSource::File(exposed.clone());
        config.database.password_file = Some(exposed.clone());
        config.freshness.limit = Duration::from_secs(5);
        let expected = ["[api] trusted_proxies", "[api] key", "[operations] listen", "[token] pin", "[database] password_file", "[freshness] limit"];
        assert_eq!(settings_of(&config), expected);

        fs::set_permissions(&exposed, Permissions::from_mode(0o600)).unwrap();
        assert_eq!(settings_of(&config), ["[api] trusted_proxies", "[operations] listen", "[freshness] limit"]);
    }

    #[test]
    fn urls_are_judged_by_password_and_encryption() {
        let count = |url: &str| weak_url(url).count();
        assert_eq!(count("postgres://u@db.example.com/skm?sslmode=verify-full"), 0);
        assert_eq!(count("postgres://u@localhost/skm"), 0);
        assert_eq!(count("postgres:///skm?host=/run/postgresql"), 0);
        assert_eq!(count("postgres://u@db.example.com/skm"), 1);
        assert_eq!(count("postgres://u@db.example.com/skm?sslmode=prefer"), 1);
        assert_eq!(count("postgres://u:p@localhost/skm"), 1);
        assert_eq!(count("postgres://u@localhost/skm?password=p"), 1);
        assert_eq!(count("postgres://u:p@db.example.com/skm"), 2);
    }
}
