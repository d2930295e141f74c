//! `skm backup` and `skm restore`: database and (for SoftHSM) token, copied while changes wait.
//!
//! A backup directory holds `skm.sqlite3`, `tokens/` and `manifest.json`, which is written last: a directory without it is no
//! backup. PINs and configuration are not in it: keep them apart. A hardware token has a backup of its own, and PostgreSQL has
//! `pg_dump`; then the directory holds what is left.

use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::exit::{Exit, Failure};
use super::lock::{self, DataDirectoryLock, LockError};
use super::server_certificate::write_whole;
use super::{admin, assembly, configuration, output};
use crate::config::{Config, DatabaseUrl};
use crate::domain::clock::SystemClock;
use crate::store::Store;

/// `skm backup`
#[derive(Debug, clap::Args)]
pub(super) struct BackupArguments {
    /// The directory to make; it must not exist, or be empty
    #[arg(value_name = "DIRECTORY")]
    target: PathBuf,
}

/// `skm restore`
#[derive(Debug, clap::Args)]
pub(super) struct RestoreArguments {
    /// The directory that `skm backup` made
    #[arg(value_name = "DIRECTORY")]
    source: PathBuf,
}

const DATABASE: &str = "skm.sqlite3";
const TOKENS: &str = "tokens";
const MANIFEST: &str = "manifest.json";
/// Files and folders below a token directory never go deeper than this.
const TOKEN_DEPTH_MAX: usize = 4;

#[derive(Debug, Serialize, Deserialize)]
struct Manifest {
    product: String,
    version: String,
    has_token: bool,
}

/// SoftHSM2's token directory, if that is the token: what `directories.tokendir` says in the file that SOFTHSM2_CONF names.
pub(super) fn token_directory(config: &Config) -> Option<PathBuf> {
    let conf = config.token.environment.get("SOFTHSM2_CONF").cloned().or_else(|| std::env::var("SOFTHSM2_CONF").ok())?;
    let text = fs::read_to_string(conf).ok()?;
    let value = text.lines().filter_map(|line| line.split_once('=')).find(|(key, _)| key.trim() == "directories.tokendir")?.1;
    Some(PathBuf::from(value.trim()))
}

/// An empty directory of mode 0700 at `path`.
fn make_empty(path: &Path) -> Result<(), Failure> {
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => return Ok(()),
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => return Err(Failure::new(Exit::Failed, format!("{}: {error}", path.display()))),
        Err(_) => {}
    }
    let is_empty = fs::read_dir(path).map(|mut entries| entries.next().is_none()).unwrap_or(false);
    if is_empty { Ok(()) } else { Err(Failure::new(Exit::Failed, format!("{}: is not an empty directory", path.display()))) }
}

/// Copies a directory of files, each made durable.
fn copy_directory(from: &Path, to: &Path, depth: usize) -> Result<(), String> {
    let told = |path: &Path, error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    if depth == 0 {
        return Err(told(from, &"has too many levels"));
    }
    fs::DirBuilder::new().mode(0o700).create(to).map_err(|error| told(to, &error))?;
    for entry in fs::read_dir(from).map_err(|error| told(from, &error))? {
        let entry = entry.map_err(|error| told(from, &error))?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type().map_err(|error| told(&source, &error))?;
        if kind.is_dir() {
            copy_directory(&source, &target, depth - 1)?;
        } else if kind.is_file() {
            fs::copy(&source, &target).map_err(|error| told(&source, &error))?;
            fs::File::open(&target).and_then(|file| file.sync_all()).map_err(|error| told(&target, &error))?;
        } else {
            return Err(told(&source, &"is neither a file nor a directory"));
        }
    }
    fs::File::open(to).and_then(|directory| directory.sync_all()).map_err(|error| told(to, &error))
}

/// Makes a backup into `target` with changes waiting: the database first, so that every object that it names as in service is
/// in the token's copy.
pub(super) async fn make(store: &Store, tokens: Option<&Path>, target: &Path) -> Result<(), Failure> {
    make_empty(target)?;
    let token_copy = tokens.map(|from| (from.to_owned(), target.join(TOKENS)));
    store.backup(target.join(DATABASE), move || token_copy.map_or(Ok(()), |(from, to)| copy_directory(&from, &to, TOKEN_DEPTH_MAX))).await?;
    let manifest = Manifest { product: "skm".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned(), has_token: tokens.is_some() };
    let json = serde_json::to_vec_pretty(&manifest).map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
    Ok(write_whole(&target.join(MANIFEST), &json, 0o600)?)
}

pub(super) fn back_up(named: Option<&Path>, arguments: &BackupArguments) -> Result<(), Failure> {
    let config = configuration::load(named, true)?;
    let target = std::path::absolute(&arguments.target)?;
    let data_dir = &config.server.data_dir;
    let message = match DataDirectoryLock::take(data_dir) {
        Ok(lock) => {
            let store = Store::open(&configuration::store_settings(&config)?, std::sync::Arc::new(SystemClock))?;
            let made = assembly::runtime()?.block_on(make(&store, token_directory(&config).as_deref(), &target));
            store.shut_down(std::time::Duration::from_secs(10));
            drop(lock);
            made?;
            format!("backed up to {}", target.display())
        }
        Err(LockError::Held { .. }) => assembly::runtime()?.block_on(admin::command(data_dir, "/backup", &admin::BackupRequest { target }))?,
        Err(error) => return Err(Failure::new(Exit::Failed, error.to_string())),
    };
    Ok(output::line(&message)?)
}

pub(super) fn restore(named: Option<&Path>, arguments: &RestoreArguments) -> Result<(), Failure> {
    let config = configuration::load(named, true)?;
    let source = &arguments.source;
    let no_backup = |problem: &dyn std::fmt::Display| Failure::new(Exit::Failed, format!("{}: is no backup: {problem}", source.display()));
    let manifest = fs::read(source.join(MANIFEST)).map_err(|error| no_backup(&error))?;
    let manifest: Manifest = serde_json::from_slice(&manifest).map_err(|error| no_backup(&error))?;
    if lock::owner(&config.server.data_dir).is_some() {
        return Err(Failure::new(Exit::Locked, format!("{}: a server is running there", config.server.data_dir.display())));
    }
    let _lock = DataDirectoryLock::take(&config.server.data_dir).map_err(|error| Failure::new(Exit::Locked, error.to_string()))?;
    let DatabaseUrl::Sqlite(database) = &config.database.url else {
        return Err(Failure::new(Exit::Configuration, "[database] url: a PostgreSQL database is restored with pg_restore"));
    };
    if database.exists() {
        return Err(Failure::new(Exit::Failed, format!("{}: exists already; restore onto a clean directory", database.display())));
    }
    // The token first: a database without its token is the worse half.
    if manifest.has_token {
        let tokens =
            token_directory(&config).ok_or_else(|| Failure::new(Exit::Configuration, "[token] environment: SOFTHSM2_CONF names no token directory"))?;
        if tokens.exists() {
            make_empty(&tokens)?;
            fs::remove_dir(&tokens)?;
        }
        copy_directory(&source.join(TOKENS), &tokens, TOKEN_DEPTH_MAX).map_err(|error| Failure::new(Exit::Failed, error))?;
    }
    let bytes = fs::read(source.join(DATABASE)).map_err(|error| no_backup(&error))?;
    write_whole(database, &bytes, 0o600)?;
    Ok(output::line(&format!("restored from {}; start the service with `skm serve`", source.display()))?)
}
