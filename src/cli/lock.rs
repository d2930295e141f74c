//! The lock of a data directory: one process owns it.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Held for as long as this lives; the operating system lets go of it when the process ends, however it ends. The file stays.
#[derive(Debug)]
pub struct DataDirectoryLock {
    file: File,
}

/// Why the lock is not ours.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process has it.
    #[error("{path}: held by {}", process.map_or("another process".to_owned(), |id| format!("process {id}")))]
    Held {
        /// The lock's file.
        path: PathBuf,
        /// The process that has it, as far as it said so.
        process: Option<u32>,
    },
    /// The file can't be made or locked.
    #[error("{0}: {1}")]
    Unusable(PathBuf, io::Error),
}

/// What a lock file holds is never longer than a process number.
const LOCK_TEXT_MAX_BYTES: u64 = 32;

impl DataDirectoryLock {
    /// Takes the lock `lock` of `data_dir`, making the directory (mode 0700) where it is missing. Doesn't wait.
    pub fn take(data_dir: &Path) -> Result<Self, LockError> {
        let path = data_dir.join("lock");
        let unusable = |error| LockError::Unusable(path.clone(), error);
        if !data_dir.is_dir() {
            DirBuilder::new().recursive(true).mode(0o700).create(data_dir).map_err(unusable)?;
        }
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path).map_err(unusable)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(LockError::Held { process: holder(&file), path }),
            Err(TryLockError::Error(error)) => return Err(unusable(error)),
        }
        file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id())).map_err(unusable)?;
        Ok(Self { file })
    }
}

impl Drop for DataDirectoryLock {
    fn drop(&mut self) {
        // Only for people: a number left behind misleads nobody else, since what counts is the lock itself.
        let _ = self.file.set_len(0);
    }
}

fn holder(file: &File) -> Option<u32> {
    let mut text = String::new();
    file.take(LOCK_TEXT_MAX_BYTES).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

/// The process that owns `data_dir` now, if one does and said so.
pub fn owner(data_dir: &Path) -> Option<u32> {
    let file = fs::File::open(data_dir.join("lock")).ok()?;
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => holder(&file),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_directory_has_one_owner_at_a_time() {
        let directory = tempfile::tempdir().unwrap();
        let data_dir = directory.path().join("a/b");
        let first = DataDirectoryLock::take(&data_dir).unwrap();
        assert_eq!(owner(&data_dir), Some(std::process::id()));
        match DataDirectoryLock::take(&data_dir) {
            Err(LockError::Held { process, path }) => {
                assert_eq!(process, Some(std::process::id()));
                assert_eq!(path, data_dir.join("lock"));
            }
            other => panic!("{other:?}"),
        }
        drop(first);
        assert_eq!(owner(&data_dir), None);
        assert!(DataDirectoryLock::take(&data_dir).is_ok());
    }

    #[test]
    fn what_an_earlier_owner_left_is_no_obstacle() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("lock"), "4194304 and more that a broken writer left behind, longer than any number").unwrap();
        let _lock = DataDirectoryLock::take(directory.path()).unwrap();
        assert_eq!(fs::read_to_string(directory.path().join("lock")).unwrap(), format!("{}\n", std::process::id()));
    }

    #[test]
    fn the_directory_is_its_owners_alone() {
        let directory = tempfile::tempdir().unwrap();
        let data_dir = directory.path().join("data");
        let _lock = DataDirectoryLock::take(&data_dir).unwrap();
        assert_eq!(fs::metadata(&data_dir).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(fs::metadata(data_dir.join("lock")).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn what_cannot_be_locked_is_named() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("file"), "").unwrap();
        let error = DataDirectoryLock::take(&directory.path().join("file")).unwrap_err();
        assert!(error.to_string().contains("file/lock"), "{error}");
    }
}
