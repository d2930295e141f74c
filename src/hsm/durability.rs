//! Makes changes to a token that keeps its objects in files survive a power failure, where the token itself doesn't.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::errors::HsmError;
use super::profile::{Durability, TokenDirectory};

/// File systems stamp with a clock that lags behind by some milliseconds, and some keep whole seconds only.
const STAMP_SLACK: Duration = Duration::from_secs(2);

/// The directory of the tokens.
#[derive(Debug, Clone)]
pub(super) struct TokenFiles(PathBuf);

impl TokenFiles {
    /// Where the profile says; `None` where it asks for no synchronising.
    pub(super) fn locate(durability: &Durability) -> Result<Option<Self>, HsmError> {
        match &durability.directory {
            Some(directory) if durability.fsync => {
                let configuration = configuration_file(directory)?;
                let text = fs::read_to_string(&configuration).map_err(|error| HsmError::Setup(format!("{}: {error}", configuration.display())))?;
                value_of(&text, &directory.key)
                    .map(|path| Some(Self(path.into())))
                    .ok_or_else(|| HsmError::Setup(format!("{} has no line {}", configuration.display(), directory.key)))
            }
            _ => Ok(None),
        }
    }

    /// Synchronises what was written since `begun`: files, then the directories that name them.
    pub(super) fn sync_since(&self, begun: SystemTime) -> io::Result<()> {
        let since = begun.checked_sub(STAMP_SLACK).unwrap_or(SystemTime::UNIX_EPOCH);
        for token in fs::read_dir(&self.0)? {
            let token = token?;
            if token.file_type()?.is_dir() {
                sync_directory(&token.path(), since)?;
            }
        }
        File::open(&self.0)?.sync_all()
    }
}

fn sync_directory(directory: &Path, since: SystemTime) -> io::Result<()> {
    // A file made or removed changes the directory, one written anew changes itself.
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        match sync_file(&entry, since) {
            // Another process destroyed the object meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => other?,
        }
    }
    File::open(directory)?.sync_all()
}

fn sync_file(entry: &fs::DirEntry, since: SystemTime) -> io::Result<()> {
    // Lock files are empty.
    let is_lock = entry.path().extension().is_some_and(|extension| extension == "lock");
    if is_lock || !entry.file_type()?.is_file() || entry.metadata()?.modified()? < since {
        return Ok(());
    }
    File::open(entry.path())?.sync_all()
}

fn configuration_file(directory: &TokenDirectory) -> Result<PathBuf, HsmError> {
    if let Some(path) = std::env::var_os(&directory.environment) {
        return Ok(path.into());
    }
    let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    let usual = directory.otherwise.iter().map(|path| path.strip_prefix("~/").map_or_else(|| PathBuf::from(path), |rest| home.join(rest)));
    usual.into_iter().find(|path| path.exists()).ok_or_else(|| {
        HsmError::Setup(format!("{} names no configuration file, and there is none in {}", directory.environment, directory.otherwise.join(", ")))
    })
}

/// The value of a line `key = value`; `#` begins a comment.
fn value_of(text: &str, key: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let (name, value) = line.split('#').next()?.split_once('=')?;
        let value = value.trim();
        (name.trim() == key && !value.is_empty()).then(|| value.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_directory_is_read_from_the_tokens_configuration() {
        let text = "# directories.tokendir = /wrong\n log.level = ERROR\ndirectories.tokendir=/srv/tokens # here\n";
        assert_eq!(value_of(text, "directories.tokendir").as_deref(), Some("/srv/tokens"));
        assert_eq!(value_of("directories.tokendir =\n", "directories.tokendir"), None);
    }

    #[test]
    fn files_of_a_token_can_be_synchronised() {
        let directory = tempfile::tempdir().expect("a directory");
        let token = directory.path().join("token");
        fs::create_dir(&token).expect("a token");
        fs::write(token.join("1.object"), b"new").expect("an object");
        let files = TokenFiles(directory.path().to_owned());
        files.sync_since(SystemTime::now()).expect("synchronised");
        fs::remove_dir_all(directory.path()).expect("removed");
        assert!(files.sync_since(SystemTime::now()).is_err());
    }
}
