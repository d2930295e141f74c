//! `[token]`: the PKCS#11 token that holds the keys.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::document::section;
use super::pin::PinSource;
use super::setting::{FromText, within, within_ms};

section! {
    /// `[token]`
    pub Token is "token" {
        /// The token's profile: what differs between kinds of tokens.
        profile: ProfileRef = ProfileRef::Name("softhsm2".to_owned());
        /// The PKCS#11 module, where it is not in one of the profile's places.
        module: Option<PathBuf> = None;
        /// The token's label.
        label: String = "skm".to_owned(), |label: &String| at_most(32, label);
        /// The token's serial number, if several have that label.
        serial: Option<String> = None, |serial: &Option<String>| at_most(16, serial.as_deref().unwrap_or_default());
        /// Where the user PIN comes from.
        pin: PinSource = PinSource::Prompt;
        /// Threads for fast operations; each has a session.
        fast_workers: usize = 4, within(1..=256);
        /// Threads for making keys; each has a session.
        slow_workers: usize = 1, within(1..=64);
        /// How many jobs may wait in each lane.
        queue: usize = 1024, within(1..=65_536);
        /// How long a fast operation may take, waiting included.
        fast_deadline: Duration = Duration::from_secs(2), within_ms(10..=60_000);
        /// How long making, finding or destroying a key may take, waiting included.
        slow_deadline: Duration = Duration::from_secs(8), within_ms(100..=120_000);
        /// Environment variables that the module needs; the process starts itself anew with them.
        environment: BTreeMap<String, String> = BTreeMap::new();
    }
}

impl Token {
    pub(super) fn resolve(&mut self, directory: &Path) {
        if let Some(module) = &mut self.module {
            *module = directory.join(&*module);
        }
        if let PinSource::File(file) = &mut self.pin {
            *file = directory.join(&*file);
        }
        if let ProfileRef::File(file) = &mut self.profile {
            *file = directory.join(&*file);
        }
    }
}

/// A token's profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProfileRef {
    /// `NAME.toml` in one of the directories for profiles.
    Name(String),
    /// A file.
    File(PathBuf),
}

impl ProfileRef {
    /// The profile's file: a name is looked for as `hsm-config/NAME.toml` in each of `directories`, in order. Answers the places
    /// that were tried when there is none.
    pub fn locate(&self, directories: &[PathBuf]) -> Result<PathBuf, Vec<PathBuf>> {
        match self {
            Self::File(file) => Ok(file.clone()),
            Self::Name(name) => {
                let places: Vec<PathBuf> = directories.iter().map(|directory| directory.join("hsm-config").join(format!("{name}.toml"))).collect();
                places.iter().find(|place| place.is_file()).cloned().ok_or(places)
            }
        }
    }
}

impl FromText for ProfileRef {
    const ALLOWED: &'static str = "a profile's name, such as \"softhsm2\", or the path of its file, such as \"/etc/skm/my-hsm.toml\"";

    fn from_text(text: &str) -> Option<Self> {
        if text.contains('/') || text.ends_with(".toml") {
            return PathBuf::from_text(text).map(Self::File);
        }
        let good = !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
        good.then(|| Self::Name(text.to_owned()))
    }
}

/// PKCS#11 v3.0, 3.2 (`CK_TOKEN_INFO`): a label has 32 bytes, a serial number 16.
fn at_most(bytes: usize, text: &str) -> Result<(), String> {
    if text.len() <= bytes { Ok(()) } else { Err(format!("must be at most {bytes} bytes long")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_is_a_name_or_a_file() {
        assert_eq!(ProfileRef::from_text("softhsm2"), Some(ProfileRef::Name("softhsm2".to_owned())));
        assert_eq!(ProfileRef::from_text("my.toml"), Some(ProfileRef::File(PathBuf::from("my.toml"))));
        assert_eq!(ProfileRef::from_text("/etc/x"), Some(ProfileRef::File(PathBuf::from("/etc/x"))));
        assert_eq!(ProfileRef::from_text("soft hsm"), None);
    }

    #[test]
    fn a_name_is_found_in_the_first_directory_that_has_it() {
        let (empty, full) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::create_dir(full.path().join("hsm-config")).unwrap();
        let file = full.path().join("hsm-config/softhsm2.toml");
        std::fs::write(&file, "").unwrap();
        let name = ProfileRef::Name("softhsm2".to_owned());
        assert_eq!(name.locate(&[empty.path().to_owned(), full.path().to_owned()]), Ok(file));
        assert_eq!(name.locate(&[empty.path().to_owned()]), Err(vec![empty.path().join("hsm-config/softhsm2.toml")]));
    }
}
