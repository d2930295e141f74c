//! `skm backup`: database and (for a token in files) token, copied while changes wait.
//!
//! A backup directory holds `skm.sqlite3`, `tokens/` and `manifest.json`, which is written last: a directory without it is no
//! backup. PINs and configuration are not in it: keep them apart. A hardware token has a backup of its own, and PostgreSQL has
//! `pg_dump`.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::admin::{Admin, Command, reach};
use super::exit::{Exit, Failure};
use super::server_certificate::write_whole;
use super::{configuration, output};
use crate::config::Config;
use crate::hsm::token_files_directory;
use crate::service::Operator;
use crate::store::{Store, StoreError};

/// `skm backup`
#[derive(Debug, clap::Args)]
pub(super) struct BackupArguments {
    /// The directory to make; it must not exist, or be empty
    #[arg(value_name = "DIRECTORY")]
    target: PathBuf,
}

pub(super) const DATABASE: &str = "skm.sqlite3";
pub(super) const TOKENS: &str = "tokens";
pub(super) const MANIFEST: &str = "manifest.json";
/// Files and folders below a token directory never go deeper than this.
pub(super) const TOKEN_DEPTH_MAX: usize = 4;

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Manifest {
    pub(super) product: String,
    pub(super) version: String,
    /// Whether the token is in the backup; if not, its vendor's tools keep it.
    pub(super) has_token: bool,
}

/// Where the token keeps its files; `None` for one whose backup its vendor's tools make.
pub(super) fn token_directory(config: &Config, file: &Path) -> Result<Option<PathBuf>, Failure> {
    Ok(token_files_directory(&configuration::token_settings(config, file)?.profile)?)
}

/// An empty directory of mode 0700 at `path`; whether it was made.
fn make_empty(path: &Path) -> Result<bool, Failure> {
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => return Ok(true),
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(Failure::new(Exit::Failed, format!("{}: {error}", path.display()))),
        Err(_) => {}
    }
    if is_empty(path) { Ok(false) } else { Err(not_empty(path)) }
}

pub(super) fn is_empty(path: &Path) -> bool {
    fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none())
}

pub(super) fn not_empty(path: &Path) -> Failure {
    Failure::new(Exit::Failed, format!("{}: is not an empty directory", path.display()))
}

/// Copies a directory of files into `to`, which is made where it is missing, and waits until all are on disk. What vanishes
/// meanwhile is passed over: a key may be destroyed at any time.
pub(super) fn copy_directory(from: &Path, to: &Path) -> Result<(), String> {
    copy_level(from, to, TOKEN_DEPTH_MAX)?;
    // The file system as a whole: a token of ten thousand keys has as many files.
    let synchronised = fs::File::open(to).and_then(|directory| Ok(rustix::fs::syncfs(directory)?));
    synchronised.map_err(|error| format!("{}: {error}", to.display()))
}

fn copy_level(from: &Path, to: &Path, depth: usize) -> Result<(), String> {
    let told = |path: &Path, error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    if depth == 0 {
        return Err(told(from, &"has too many levels"));
    }
    let entries = match fs::read_dir(from) {
        Err(error) if vanished(&error) && depth < TOKEN_DEPTH_MAX => return Ok(()),
        entries => entries.map_err(|error| told(from, &error))?,
    };
    match fs::DirBuilder::new().mode(0o700).create(to) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(told(to, &error)),
        _ => {}
    }
    for entry in entries {
        let entry = entry.map_err(|error| told(from, &error))?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let kind = match entry.file_type() {
            Err(error) if vanished(&error) => continue,
            kind => kind.map_err(|error| told(&source, &error))?,
        };
        if kind.is_dir() {
            copy_level(&source, &target, depth - 1)?;
        } else if kind.is_file() {
            copy_file(&source, &target)?;
        } else {
            return Err(told(&source, &"is neither a file nor a directory"));
        }
    }
    Ok(())
}

fn copy_file(source: &Path, target: &Path) -> Result<(), String> {
    let mut from = match fs::File::open(source) {
        Err(error) if vanished(&error) => return Ok(()),
        opened => opened.map_err(|error| format!("{}: {error}", source.display()))?,
    };
    let made = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(target);
    let copied = made.and_then(|mut to| io::copy(&mut from, &mut to));
    copied.map(drop).map_err(|error| format!("{}: {error}", target.display()))
}

fn vanished(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
}

/// Makes a backup into `target` with changes waiting: the database first, so that every object that it names as in service is
/// in the token's copy. Answers what to tell. What a backup that fails has made is removed.
pub(super) async fn make(store: &Store, tokens: Option<&Path>, target: &Path) -> Result<String, Failure> {
    let is_new = make_empty(target)?;
    let made = fill(store, tokens, target).await;
    if made.is_err() {
        clean_up(target, is_new);
    }
    made?;
    let token = if tokens.is_some() { "the token is in it" } else { "the token is not in it: back it up with its vendor's tools" };
    Ok(format!("backed up to {}; {token}", target.display()))
}

async fn fill(store: &Store, tokens: Option<&Path>, target: &Path) -> Result<(), Failure> {
    let token_copy = tokens.map(|from| (from.to_owned(), target.join(TOKENS)));
    let copied = store.backup(target.join(DATABASE), move || token_copy.map_or(Ok(()), |(from, to)| copy_directory(&from, &to))).await;
    copied.map_err(|error| match error {
        // The copy itself: trying again later won't help.
        StoreError::Failed { .. } => Failure::new(Exit::Failed, error.to_string()),
        other => other.into(),
    })?;
    let manifest = Manifest { product: "skm".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned(), has_token: tokens.is_some() };
    let json = serde_json::to_vec_pretty(&manifest).map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
    Ok(write_whole(&target.join(MANIFEST), &json, 0o600)?)
}

/// Removes what a failed backup has put into a directory that was empty.
fn clean_up(target: &Path, is_new: bool) {
    let removed = [
        fs::remove_file(target.join(MANIFEST)),
        fs::remove_file(target.join(DATABASE)),
        fs::remove_dir_all(target.join(TOKENS)),
        if is_new { fs::remove_dir(target) } else { Ok(()) },
    ];
    for error in removed.into_iter().filter_map(Result::err).filter(|error| !vanished(error)) {
        tracing::error!(%error, target = %target.display(), "what a failed backup made could not be removed");
    }
}

/// `skm backup` as it crosses the admin socket.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BackUp {
    /// An empty or missing directory, absolute.
    target: PathBuf,
}

impl Command for BackUp {
    const PATH: &'static str = "/backup";
    /// What to tell.
    type Answer = String;

    /// Makes a backup, recorded before and after.
    async fn run(self, admin: Admin, operator: Operator) -> Result<String, Failure> {
        let unrecorded = |refusal| Failure::new(Exit::Failed, format!("the backup could not be recorded in the audit log: {refusal}"));
        admin.service.record_backup(operator, "began").await.map_err(unrecorded)?;
        let made = make(&admin.store, admin.token_directory.as_deref(), &self.target).await;
        let stage = if made.is_ok() { "done" } else { "failed" };
        admin.service.record_backup(operator, stage).await.map_err(unrecorded)?;
        made
    }
}

pub(super) fn back_up(named: Option<&Path>, arguments: &BackupArguments) -> Result<(), Failure> {
    let target = std::path::absolute(&arguments.target)?;
    reach::with(named, |reach| Ok(output::line(&reach.ask(BackUp { target })?)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_its_owners_alone_and_never_over_something() {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = tempfile::tempdir().unwrap();
        let (from, to) = (directory.path().join("from"), directory.path().join("to"));
        fs::create_dir_all(from.join("token")).unwrap();
        fs::write(from.join("token/object"), "key").unwrap();
        copy_directory(&from, &to).unwrap();
        assert_eq!(fs::read_to_string(to.join("token/object")).unwrap(), "key");
        assert_eq!(fs::metadata(to.join("token/object")).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(copy_directory(&from, &to).unwrap_err().contains("token/object"));
        assert!(copy_directory(&directory.path().join("absent"), &to).is_err(), "a directory that is missing altogether");
    }

    #[test]
    fn what_vanishes_is_passed_over() {
        let directory = tempfile::tempdir().unwrap();
        copy_file(&directory.path().join("gone"), &directory.path().join("copy")).unwrap();
        assert!(!directory.path().join("copy").exists());
        copy_level(&directory.path().join("gone"), &directory.path().join("copy"), TOKEN_DEPTH_MAX - 1).unwrap();
        assert!(!directory.path().join("copy").exists());
    }
}
