//! What a token that keeps its objects in files doesn't do itself: changes survive a power failure, and each process sees those of others.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::errors::HsmError;
use super::profile::{Durability, Profile, TokenDirectory};

/// The directory of the tokens.
#[derive(Debug, Clone)]
pub(super) struct TokenFiles {
    directory: PathBuf,
    generation_file: Option<String>,
}

impl TokenFiles {
    /// Where the profile says; `None` where it asks for no synchronising.
    pub(super) fn locate(durability: &Durability) -> Result<Option<Self>, HsmError> {
        if !durability.fsync {
            return Ok(None);
        }
        let generation_file = durability.generation_file.clone();
        Ok(directory_of(durability)?.map(|directory| Self { directory, generation_file }))
    }

    /// Waits until everything that was written is on disk: the file system is synchronised as a whole (`syncfs`), because
    /// finding the few new files among many takes longer, 20 ms among 10,000.
    pub(super) fn synchronise(&self) -> io::Result<()> {
        Ok(rustix::fs::syncfs(File::open(&self.directory)?)?)
    }

    /// Raises the number by which the token's processes tell each other of changes, so that the next search of each, of this one too, looks at
    /// the files. To be called with the object lock held after each change: SoftHSM2 raises the number as well, but takes what it then has for
    /// what it has seen, and would never find what another process made shortly before.
    pub(super) fn raise_generation(&self) -> io::Result<()> {
        let Some(name) = &self.generation_file else { return Ok(()) };
        for entry in fs::read_dir(&self.directory)? {
            let path = entry?.path().join(name);
            // Neither a token's directory nor what stands in for the file may hold us up.
            if path.is_file() {
                raise(&path)?;
            }
        }
        Ok(())
    }
}

/// Under the lock (`fcntl`) that the token's library takes for it. Closing the file lets go of that lock for the whole process: nothing of
/// the library has it while the object lock is ours.
fn raise(path: &Path) -> io::Result<()> {
    let file = File::options().read(true).write(true).open(path)?;
    rustix::fs::fcntl_lock(&file, rustix::fs::FlockOperation::LockExclusive)?;
    let mut number = [0; 8];
    file.read_exact_at(&mut number, 0)?;
    file.write_all_at(&u64::from_be_bytes(number).wrapping_add(1).max(1).to_be_bytes(), 0)
}

/// The directory in which tokens of the profile's kind keep their objects; `None` for a token that doesn't keep them in files
/// of ours, [`HsmError::Setup`] where the profile says that it does and the directory can't be found.
pub fn token_files_directory(profile: &Path) -> Result<Option<PathBuf>, HsmError> {
    directory_of(&Profile::load(profile)?.durability)
}

fn directory_of(durability: &Durability) -> Result<Option<PathBuf>, HsmError> {
    let Some(directory) = &durability.directory else { return Ok(None) };
    let configuration = configuration_file(directory)?;
    let text = fs::read_to_string(&configuration).map_err(|error| HsmError::Setup(format!("{}: {error}", configuration.display())))?;
    match value_of(&text, &directory.key) {
        Some(path) => Ok(Some(path.into())),
        None => Err(HsmError::Setup(format!("{} has no line {}", configuration.display(), directory.key))),
    }
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
        let files = TokenFiles { directory: directory.path().to_owned(), generation_file: None };
        files.synchronise().expect("synchronised");
        fs::remove_dir_all(directory.path()).expect("removed");
        assert!(files.synchronise().is_err());
    }

    #[test]
    fn the_generation_of_each_token_is_raised() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("token/generation");
        fs::create_dir_all(directory.path().join("empty")).expect("a directory");
        fs::create_dir_all(directory.path().join("token")).expect("a directory");
        let files = TokenFiles { directory: directory.path().to_owned(), generation_file: Some("generation".to_owned()) };
        for (before, after) in [(0x1ff_u64, 0x200_u64), (u64::MAX, 1)] {
            fs::write(&file, before.to_be_bytes()).expect("written");
            files.raise_generation().expect("raised");
            assert_eq!(fs::read(&file).expect("read"), after.to_be_bytes());
        }
    }
}
