//! The configuration: one file `skm.toml`, one module per section, parsed into types once.
//!
//! Every key can be overridden by an environment variable `SKM_<SECTION>__<KEY>` (`SKM_API__LISTEN`). What is wrong is
//! collected, never stopped at the first, and named with file and line or with its variable; a message never repeats a value.

mod api;
mod audit;
mod certificates;
mod console;
mod database;
mod document;
mod freshness;
mod limits;
mod log;
mod mail;
mod operations;
mod pin;
mod secret_file;
mod server;
mod setting;
mod token;
mod weakness;
mod webhooks;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

pub use api::Api;
pub use audit::Audit;
pub use certificates::{Certificates, PublicUrl};
pub use console::Console;
pub use database::{Database, DatabaseUrl};
pub use document::{Place, Problem, Variables};
pub use freshness::Freshness;
pub use limits::Limits;
pub use log::{Log, LogFormat};
pub use mail::{Mail, MailAddress, MailSecurity, PasswordError, PasswordSource};
pub use operations::Operations;
pub use pin::{PinError, PinSource};
pub use secret_file::{SECRET_FILE_MAX_BYTES, SecretFileError, read_secret_file};
pub use server::Server;
pub use setting::{ByteSize, Hostname};
pub use token::{ProfileRef, Token};
pub use weakness::Weakness;
pub use webhooks::Webhooks;

use document::{Document, Section};

/// The whole configuration.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Config {
    /// `[server]`
    pub server: Server,
    /// `[api]`
    pub api: Api,
    /// `[console]`
    pub console: Console,
    /// `[operations]`
    pub operations: Operations,
    /// `[token]`
    pub token: Token,
    /// `[database]`
    pub database: Database,
    /// `[audit]`
    pub audit: Audit,
    /// `[log]`
    pub log: Log,
    /// `[freshness]`
    pub freshness: Freshness,
    /// `[limits]`
    pub limits: Limits,
    /// `[certificates]`
    pub certificates: Certificates,
    /// `[mail]`
    pub mail: Mail,
    /// `[webhooks]`
    pub webhooks: Webhooks,
}

/// The largest configuration file that is read, in bytes.
pub const FILE_MAX_BYTES: u64 = 256 * 1024;

/// The sections and their keys, as they may stand in the file.
pub const SECTIONS: &[(&str, &[&str])] = &[
    (Server::NAME, Server::KEYS),
    (Api::NAME, Api::KEYS),
    (Console::NAME, Console::KEYS),
    (Operations::NAME, Operations::KEYS),
    (Token::NAME, Token::KEYS),
    (Database::NAME, Database::KEYS),
    (Audit::NAME, Audit::KEYS),
    (Log::NAME, Log::KEYS),
    (Freshness::NAME, Freshness::KEYS),
    (Limits::NAME, Limits::KEYS),
    (Certificates::NAME, Certificates::KEYS),
    (Mail::NAME, Mail::KEYS),
    (Webhooks::NAME, Webhooks::KEYS),
];

impl Config {
    /// Reads `path` with the environment's overrides. Relative paths in it count from the file's directory (a SQLite file from
    /// `data_dir`). Fails with everything that is wrong.
    pub fn load(path: &Path) -> Result<Self, Vec<Problem>> {
        let text = read_bounded(path).map_err(|problem| vec![Problem::new(Place::file(path), problem)])?;
        let mut config = Self::parse(path, &text, &Variables::from_environment())?;
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let directory = std::path::absolute(directory).map_err(|error| vec![Problem::new(Place::file(path), error.to_string())])?;
        config.resolve(&directory);
        Ok(config)
    }

    /// Reads the text of a configuration file, leaving relative paths as they are. `path` is for messages only.
    pub fn parse(path: &Path, text: &str, variables: &Variables) -> Result<Self, Vec<Problem>> {
        let mut document = Document::parse(path, text, variables);
        let config = Self {
            server: document.section(),
            api: document.section(),
            console: document.section(),
            operations: document.section(),
            token: document.section(),
            database: document.section(),
            audit: document.section(),
            log: document.section(),
            freshness: document.section(),
            limits: document.section(),
            certificates: document.section(),
            mail: document.section(),
            webhooks: document.section(),
        };
        document.refuse_unknown_sections();
        config.find_contradictions(&mut document);
        document.finish().map(|()| config)
    }

    fn resolve(&mut self, directory: &Path) {
        self.server.data_dir = directory.join(&self.server.data_dir);
        self.api.resolve(directory);
        self.token.resolve(directory);
        self.mail.resolve(directory);
        self.webhooks.resolve(directory);
        let data_dir = self.server.data_dir.clone();
        self.database.resolve(directory, &data_dir);
    }

    /// What no key alone can tell.
    fn find_contradictions(&self, document: &mut Document<'_>) {
        if self.api.certificate.is_some() != self.api.key.is_some() {
            document.refuse(Api::NAME, "certificate", "must be set together with key, or neither");
        }
        if self.api.proxy_protocol && self.api.trusted_proxies.is_empty() {
            document.refuse(Api::NAME, "proxy_protocol", "needs trusted_proxies");
        }
        // Port 0 is whichever is free.
        let same = |a: SocketAddr, b: SocketAddr| a == b && a.port() != 0;
        if same(self.api.listen, self.console.listen) {
            document.refuse(Console::NAME, "listen", "must differ from listen of [api]");
        }
        if [self.api.listen, self.console.listen].into_iter().any(|other| same(other, self.operations.listen)) {
            document.refuse(Operations::NAME, "listen", "must differ from listen of [api] and of [console]");
        }
        let request = self.api.request_timeout;
        if self.token.fast_deadline >= request || self.token.slow_deadline >= request {
            document.refuse(Api::NAME, "request_timeout", "must be longer than fast_deadline and slow_deadline of [token]");
        }
        if self.database.deadline >= request {
            document.refuse(Api::NAME, "request_timeout", "must be longer than deadline of [database]");
        }
        if self.freshness.limit <= self.freshness.interval {
            document.refuse(Freshness::NAME, "limit", "must be longer than interval");
        }
        if self.database.password_file.is_some() && matches!(self.database.url, DatabaseUrl::Sqlite(_)) {
            document.refuse(Database::NAME, "password_file", "is for PostgreSQL only");
        }
        for (key, message) in self.mail.contradictions() {
            document.refuse(Mail::NAME, key, message);
        }
    }

    /// Settings that work but that a production service must not have. Looks at the modes of the files that are named.
    pub fn weaknesses(&self) -> Vec<Weakness> {
        weakness::find(self)
    }

    /// The file that locks the data directory.
    pub fn lock_file(&self) -> PathBuf {
        self.server.data_dir.join("lock")
    }
}

fn read_bounded(path: &Path) -> Result<String, String> {
    let size = fs::metadata(path).map_err(|error| format!("can't be read: {error}"))?.len();
    if size > FILE_MAX_BYTES {
        return Err(format!("must be at most {FILE_MAX_BYTES} bytes long"));
    }
    fs::read_to_string(path).map_err(|error| format!("can't be read: {error}"))
}
