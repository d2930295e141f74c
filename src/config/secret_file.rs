//! Files that hold a secret: a PIN, a password.

use std::env;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::domain::secret::SecretBytes;

/// The longest secret in a file, in bytes.
pub const SECRET_FILE_MAX_BYTES: usize = 4096;

/// Why a file is no good as the place of a secret.
#[derive(Debug, thiserror::Error)]
pub enum SecretFileError {
    /// It can't be opened or read.
    #[error("{0}: {1}")]
    Unreadable(PathBuf, std::io::Error),
    /// It is a directory, a device …
    #[error("{0} is not a regular file")]
    NotAFile(PathBuf),
    /// Others than its owner can read or write it.
    #[error("{path} has mode {mode:04o}: others than its owner can reach it; chmod 600 it")]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It belongs to somebody else.
    #[error("{path} belongs to user {owner}, not to the one that runs this process")]
    Foreign {
        /// The file.
        path: PathBuf,
        /// Its owner.
        owner: u32,
    },
    /// There is nothing in it.
    #[error("{0} is empty")]
    Empty(PathBuf),
    /// There is more in it than a secret.
    #[error("{0} is longer than {SECRET_FILE_MAX_BYTES} bytes")]
    TooLong(PathBuf),
    /// systemd passed no credentials.
    #[error("the credential {0}: CREDENTIALS_DIRECTORY is not set; is the unit's LoadCredential= there?")]
    NoCredentials(String),
}

/// Reads a file that only its owner, who runs this process, can read or write. One newline at its end is cut off.
pub fn read_secret_file(path: &Path) -> Result<SecretBytes, SecretFileError> {
    let file = File::open(path).map_err(|error| SecretFileError::Unreadable(path.to_owned(), error))?;
    // Of the file that was opened, not of what has the name by now.
    let metadata = file.metadata().map_err(|error| SecretFileError::Unreadable(path.to_owned(), error))?;
    if !metadata.is_file() {
        return Err(SecretFileError::NotAFile(path.to_owned()));
    }
    let mode = metadata.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(SecretFileError::Exposed { path: path.to_owned(), mode });
    }
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err(SecretFileError::Foreign { path: path.to_owned(), owner: metadata.uid() });
    }
    read_secret(path, file)
}

/// Reads a systemd credential. systemd guards the directory; the file's own mode says nothing, as it may stand for an ACL.
pub(super) fn read_credential(name: &str) -> Result<SecretBytes, SecretFileError> {
    let directory = env::var_os("CREDENTIALS_DIRECTORY").ok_or_else(|| SecretFileError::NoCredentials(name.to_owned()))?;
    let path = Path::new(&directory).join(name);
    let file = File::open(&path).map_err(|error| SecretFileError::Unreadable(path.clone(), error))?;
    read_secret(&path, file)
}

fn read_secret(path: &Path, mut file: File) -> Result<SecretBytes, SecretFileError> {
    // One byte more than is allowed tells a file that is too long; a fixed buffer is never moved, so no copy stays behind.
    let mut buffer = Zeroizing::new(vec![0; SECRET_FILE_MAX_BYTES + 1]);
    let mut filled = 0;
    while let Some(free) = buffer.get_mut(filled..).filter(|free| !free.is_empty()) {
        match file.read(free) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(SecretFileError::Unreadable(path.to_owned(), error)),
        }
    }
    let content = buffer.get(..filled).unwrap_or_default();
    if content.len() > SECRET_FILE_MAX_BYTES {
        return Err(SecretFileError::TooLong(path.to_owned()));
    }
    let line = content.strip_suffix(b"\n").unwrap_or(content);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.is_empty() { Err(SecretFileError::Empty(path.to_owned())) } else { Ok(SecretBytes::new(line.to_vec())) }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn file(content: &[u8], mode: u32) -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pin");
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        (directory, path)
    }

    #[test]
    fn one_newline_is_cut() {
        for (content, expected) in [(b"1234".as_slice(), b"1234".as_slice()), (b"1234\n", b"1234"), (b"1234\r\n", b"1234"), (b" 1\n\n", b" 1\n")] {
            let (_directory, path) = file(content, 0o600);
            assert_eq!(read_secret_file(&path).unwrap().expose(), expected);
        }
    }

    #[test]
    fn exposed_files_are_refused() {
        for mode in [0o640, 0o604, 0o620, 0o666, 0o601] {
            let (_directory, path) = file(b"1234", mode);
            assert!(matches!(read_secret_file(&path), Err(SecretFileError::Exposed { .. })), "{mode:o}");
        }
        let (_directory, path) = file(b"1234", 0o400);
        assert!(read_secret_file(&path).is_ok());
    }

    #[test]
    fn files_without_a_secret_are_refused() {
        for content in [b"".as_slice(), b"\n", b"\r\n"] {
            let (_directory, path) = file(content, 0o600);
            assert!(matches!(read_secret_file(&path), Err(SecretFileError::Empty(_))));
        }
        let (_directory, path) = file(&[b'1'; SECRET_FILE_MAX_BYTES + 1], 0o600);
        assert!(matches!(read_secret_file(&path), Err(SecretFileError::TooLong(_))));
        let directory = tempfile::tempdir().unwrap();
        assert!(matches!(read_secret_file(directory.path()), Err(SecretFileError::NotAFile(_))));
        assert!(matches!(read_secret_file(&directory.path().join("none")), Err(SecretFileError::Unreadable(..))));
    }

    #[test]
    fn foreign_files_are_refused() {
        // Only root can give a file away; elsewhere there is nothing to try.
        let (_directory, path) = file(b"1234", 0o600);
        if std::os::unix::fs::chown(&path, Some(65_534), None).is_ok() {
            assert!(matches!(read_secret_file(&path), Err(SecretFileError::Foreign { .. })));
        }
    }
}
