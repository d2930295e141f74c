//! `skm restore`: a backup, brought back onto a clean directory.
//!
//! What a crash leaves: the file `restoring` of the data directory is there from before the first step until after the last, and
//! the database gets its name last but one. Then the same backup can be restored again over what is there of it.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::backup::{DATABASE, MANIFEST, Manifest, TOKEN_DEPTH_MAX, TOKENS, copy_directory, is_empty, not_empty, token_directory};
use super::exit::{Exit, Failure};
use super::lock::DataDirectoryLock;
use super::server_certificate::write_whole;
use super::{configuration, output};
use crate::config::{Config, DatabaseUrl};

/// `skm restore`
#[derive(Debug, clap::Args)]
pub(super) struct RestoreArguments {
    /// The directory that `skm backup` made
    #[arg(value_name = "DIRECTORY")]
    source: PathBuf,
}

/// What SQLite puts beside a database; with those of another database the restored one would be damaged.
const COMPANIONS: [&str; 3] = ["-wal", "-shm", "-journal"];
/// There while a restore is under way.
const MARKER: &str = "restoring";

pub(super) fn restore(named: Option<&Path>, arguments: &RestoreArguments) -> Result<(), Failure> {
    let file = configuration::file(named)?;
    let config = configuration::load(Some(&file), true)?;
    let source = &arguments.source;
    let manifest = manifest(source)?;
    let data_dir = &config.server.data_dir;
    let _lock = DataDirectoryLock::take(data_dir).map_err(|error| Failure::new(Exit::Locked, error.to_string()))?;
    let database = clean_place(&config)?;
    let tokens = if manifest.has_token { Some(place_of_token(&config, &file)?) } else { None };
    let marker = data_dir.join(MARKER);
    if let Some(tokens) = &tokens {
        make_room(tokens, &source.join(TOKENS), marker.exists())?;
    }
    write_whole(&marker, b"", 0o600)?;
    // The token first: a database without its token is the worse half.
    if let Some(tokens) = &tokens {
        copy_directory(&source.join(TOKENS), tokens).map_err(|error| Failure::new(Exit::Failed, error))?;
    }
    copy_whole(&source.join(DATABASE), database)?;
    fs::remove_file(&marker)?;
    let token = if tokens.is_some() { "" } else { "; the token was not in it: restore it with its vendor's tools" };
    Ok(output::line(&format!("restored from {}{token}; start the service with `skm serve`", source.display()))?)
}

fn manifest(source: &Path) -> Result<Manifest, Failure> {
    let no_backup = |problem: &dyn std::fmt::Display| Failure::new(Exit::Failed, format!("{}: is no backup: {problem}", source.display()));
    let manifest = fs::read(source.join(MANIFEST)).map_err(|error| no_backup(&error))?;
    serde_json::from_slice(&manifest).map_err(|error| no_backup(&error))
}

/// Where the database goes, which must be free.
fn clean_place(config: &Config) -> Result<&Path, Failure> {
    let DatabaseUrl::Sqlite(database) = &config.database.url else {
        return Err(Failure::new(Exit::Configuration, "[database] url: a PostgreSQL database is restored with pg_restore"));
    };
    let beside = COMPANIONS.iter().map(|suffix| with_suffix(database, suffix));
    match std::iter::once(database.clone()).chain(beside).find(|path| path.exists()) {
        None => Ok(database),
        Some(path) => Err(Failure::new(Exit::Failed, format!("{}: exists already; restore onto a clean directory", path.display()))),
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

fn place_of_token(config: &Config, file: &Path) -> Result<PathBuf, Failure> {
    let told = "[token] profile: it names no directory of token files, and the backup has a token in files";
    token_directory(config, file)?.ok_or_else(|| Failure::new(Exit::Configuration, told))
}

/// Makes sure that the token's directory is empty, or missing. What an unfinished restore put there goes; whatever else there
/// is is somebody's token.
fn make_room(tokens: &Path, source: &Path, is_unfinished: bool) -> Result<(), Failure> {
    if !tokens.exists() || is_empty(tokens) {
        return Ok(());
    }
    if !is_unfinished || !is_part_of(tokens, source, TOKEN_DEPTH_MAX)? {
        return Err(not_empty(tokens));
    }
    output::line("an earlier `skm restore` did not finish; starting over")?;
    for entry in fs::read_dir(tokens)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() { fs::remove_dir_all(entry.path())? } else { fs::remove_file(entry.path())? }
    }
    Ok(())
}

/// Whether everything in `there` has its namesake in `source`: a key that was made since has none, for their names are random.
fn is_part_of(there: &Path, source: &Path, depth: usize) -> io::Result<bool> {
    for entry in fs::read_dir(there)? {
        let entry = entry?;
        let namesake = source.join(entry.file_name());
        let fits = match fs::symlink_metadata(&namesake) {
            Ok(found) if found.is_dir() => entry.file_type()?.is_dir() && depth > 0 && is_part_of(&entry.path(), &namesake, depth - 1)?,
            Ok(_) => entry.file_type()?.is_file(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(error),
        };
        if !fits {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Copies a file so that it has its name only when it is whole and on disk.
fn copy_whole(source: &Path, target: &Path) -> Result<(), Failure> {
    let failed = |path: &Path, error: io::Error| Failure::new(Exit::Failed, format!("{}: {error}", path.display()));
    let mut from = fs::File::open(source).map_err(|error| failed(source, error))?;
    let temporary = with_suffix(target, ".restoring");
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(&temporary, error)),
        _ => {}
    }
    let mut copy = || {
        let mut to = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        io::copy(&mut from, &mut to)?;
        to.sync_all()?;
        fs::rename(&temporary, target)?;
        target.parent().map_or(Ok(()), |directory| fs::File::open(directory)?.sync_all())
    };
    copy().map_err(|error| failed(target, error))
}
