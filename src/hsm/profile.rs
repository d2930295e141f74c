//! What differs from one kind of token to another, read from a file of `hsm-config`.
//!
//! A profile may ask for more than this program can do yet (a write-back IV, chunks). It is read all the same, and
//! [`Profile::refusals`] says what stands in the way; opening a token with such a profile fails, instead of pretending.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::errors::HsmError;
use super::mechanisms::MechanismName;

/// The largest plaintext that the service encrypts in one piece (a secret or a plaintext of 32,768 bytes).
pub(super) const GCM_BYTES_NEEDED: usize = 32_768;
/// The largest profile file, in bytes.
const PROFILE_BYTES_MAX: u64 = 64 * 1024;

/// A kind of token.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// What people call it.
    pub name: String,
    /// Where its PKCS#11 module usually is; the first that exists is loaded.
    pub modules: Vec<PathBuf>,
    /// The most sessions it allows one application; absent where no limit is known.
    pub max_sessions: Option<usize>,
    /// How it does AES-GCM.
    pub aes_gcm: AesGcm,
    /// How a key value gets into it.
    pub import: Import,
    /// Who logs in.
    pub login: Login,
    /// What it doesn't want in templates.
    pub templates: Templates,
    /// What makes a new object survive a power failure.
    pub durability: Durability,
    /// The mechanism of each operation.
    pub mechanisms: Mechanisms,
}

/// How a token does AES-GCM.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AesGcm {
    /// Where the IV comes from.
    pub iv: IvSource,
    /// The most plaintext bytes of one call; absent where no limit is known.
    pub max_bytes: Option<usize>,
}

/// Where the IV of AES-GCM comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IvSource {
    /// From us, who take it from `C_GenerateRandom`.
    Caller,
    /// The token writes it into the buffer of the mechanism's parameters.
    WriteBack,
    /// The token puts it before the ciphertext.
    Prefix,
    /// The token puts it after the tag.
    Suffix,
}

/// How a key value gets into a token.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Import {
    /// The way.
    pub path: ImportPath,
    /// The hash of RSA-OAEP, and of its MGF1, when unwrapping.
    pub oaep_hash: OaepHash,
    /// How the token tells the length of a key that was unwrapped.
    #[serde(default)]
    pub length: LengthTold,
}

/// The way a key value gets into a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ImportPath {
    /// `C_CreateObject` with `CKA_VALUE`, or `C_UnwrapKey` with an RSA key of the token.
    Create,
    /// `C_UnwrapKey` alone.
    Unwrap,
    /// None: import is refused.
    None,
}

/// The hash of RSA-OAEP (RFC 8017).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OaepHash {
    /// SHA-1.
    Sha1,
    /// SHA-256.
    Sha256,
}

/// How a token tells the length of a key that was unwrapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LengthTold {
    /// By `CKA_VALUE_LEN`.
    #[default]
    Attribute,
    /// Not by an attribute; but `CKM_SHA256_HMAC` refuses keys of less than 32 bytes, and `CKM_AES_GCM` those that aren't AES keys.
    HmacMinimum,
}

/// Who logs in.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Login {
    /// The role that may generate keys.
    pub key_generation: LoginRole,
}

/// A PKCS#11 user type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LoginRole {
    /// `CKU_USER`.
    User,
    /// `CKU_SO`.
    So,
}

/// What a token doesn't want in templates.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Templates {
    /// Attributes to leave out; what was made is read back and checked all the same.
    pub leave_out: Vec<TemplateAttribute>,
}

/// An attribute that a profile may leave out of templates. For usages (`CKA_WRAP` …) that is where they are denied, never where
/// they are needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[allow(missing_docs, reason = "each is documented by its PKCS#11 name")]
pub enum TemplateAttribute {
    #[serde(rename = "CKA_TOKEN")]
    Token,
    #[serde(rename = "CKA_PRIVATE")]
    Private,
    #[serde(rename = "CKA_MODIFIABLE")]
    Modifiable,
    #[serde(rename = "CKA_SENSITIVE")]
    Sensitive,
    #[serde(rename = "CKA_EXTRACTABLE")]
    Extractable,
    #[serde(rename = "CKA_ENCRYPT")]
    Encrypt,
    #[serde(rename = "CKA_DECRYPT")]
    Decrypt,
    #[serde(rename = "CKA_SIGN")]
    Sign,
    #[serde(rename = "CKA_SIGN_RECOVER")]
    SignRecover,
    #[serde(rename = "CKA_VERIFY")]
    Verify,
    #[serde(rename = "CKA_VERIFY_RECOVER")]
    VerifyRecover,
    #[serde(rename = "CKA_WRAP")]
    Wrap,
    #[serde(rename = "CKA_UNWRAP")]
    Unwrap,
    #[serde(rename = "CKA_DERIVE")]
    Derive,
}

/// What makes a new object survive a power failure.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Durability {
    /// Whether files must be synchronised after a change, because the token doesn't.
    pub fsync: bool,
    /// Where those files are; needed when `fsync` is set.
    pub directory: Option<TokenDirectory>,
    /// The file in a token's directory by whose number (8 bytes, big-endian) processes tell each other that objects came or went, where a
    /// process that raises the number takes no notice of how far others had raised it. Needed for several processes on one such token.
    pub generation_file: Option<String>,
}

/// How to find the directory of a token that keeps its objects in files: by a line `key = directory` of its configuration file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenDirectory {
    /// The environment variable that names the configuration file.
    pub environment: String,
    /// Where the configuration file is without that variable; the first that exists counts, `~` is the home directory.
    pub otherwise: Vec<String>,
    /// The key of the line.
    pub key: String,
}

/// The mechanism of each operation, in PKCS#11's words.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mechanisms {
    /// Makes AES-256 keys.
    pub aes_generate: MechanismName,
    /// Encrypts and decrypts.
    pub aes_encrypt: MechanismName,
    /// Makes RSA pairs.
    pub rsa_generate: MechanismName,
    /// Signs raw text.
    pub rsa_sign_raw: MechanismName,
    /// Signs a message with RSASSA-PSS and SHA-256.
    pub rsa_sign_pss: MechanismName,
    /// Signs a message with RSASSA-PKCS1-v1_5 and SHA-256.
    pub rsa_sign_pkcs1: MechanismName,
    /// Makes EC pairs.
    pub ec_generate: MechanismName,
    /// Signs a digest with ECDSA.
    pub ec_sign: MechanismName,
}

impl Mechanisms {
    /// All of them.
    pub fn all(&self) -> [MechanismName; 8] {
        [self.aes_generate, self.aes_encrypt, self.rsa_generate, self.rsa_sign_raw, self.rsa_sign_pss, self.rsa_sign_pkcs1, self.ec_generate, self.ec_sign]
    }
}

impl Profile {
    /// Reads a profile. What doesn't parse, unknown keys included, is [`HsmError::Setup`] with file and line.
    pub fn load(path: &Path) -> Result<Self, HsmError> {
        let shown = path.display();
        let size = std::fs::metadata(path).map_err(|error| HsmError::Setup(format!("profile {shown}: {error}")))?.len();
        if size > PROFILE_BYTES_MAX {
            return Err(HsmError::Setup(format!("profile {shown}: more than {PROFILE_BYTES_MAX} bytes")));
        }
        let text = std::fs::read_to_string(path).map_err(|error| HsmError::Setup(format!("profile {shown}: {error}")))?;
        Self::parse(&text).map_err(|(line, message)| HsmError::Setup(format!("profile {shown}, line {line}: {message}")))
    }

    /// Line and message of what doesn't parse.
    fn parse(text: &str) -> Result<Self, (usize, String)> {
        toml::from_str(text).map_err(|error| {
            let start = error.span().map_or(0, |span| span.start);
            let line = 1 + text.bytes().take(start).filter(|byte| *byte == b'\n').count();
            (line, error.message().to_owned())
        })
    }

    /// What the profile asks for that this program can't do; empty when a token of this kind can be opened.
    pub fn refusals(&self) -> Vec<String> {
        let mut refusals = Vec::new();
        if self.aes_gcm.iv != IvSource::Caller {
            refusals.push(format!("aes_gcm.iv = {:?}: only \"caller\" is implemented", kebab(&format!("{:?}", self.aes_gcm.iv))));
        }
        if let Some(bytes) = self.aes_gcm.max_bytes
            && bytes < GCM_BYTES_NEEDED
        {
            refusals.push(format!("aes_gcm.max_bytes = {bytes}: less than {GCM_BYTES_NEEDED} needs chunks, which are not implemented"));
        }
        if self.login.key_generation != LoginRole::User {
            refusals.push("login.key_generation = \"so\": only \"user\" is implemented".to_owned());
        }
        if self.durability.fsync && self.durability.directory.is_none() {
            refusals.push("durability.fsync = true needs durability.directory".to_owned());
        }
        refusals.extend(super::mechanisms::refusals(&self.mechanisms));
        refusals
    }

    /// Whether `attribute` goes into templates.
    pub(super) fn wants(&self, attribute: TemplateAttribute) -> bool {
        !self.templates.leave_out.contains(&attribute)
    }
}

fn kebab(camel_case: &str) -> String {
    let mut text = String::new();
    for letter in camel_case.chars() {
        if letter.is_ascii_uppercase() && !text.is_empty() {
            text.push('-');
        }
        text.push(letter.to_ascii_lowercase());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profiles() -> Vec<PathBuf> {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("hsm-config");
        let entries = std::fs::read_dir(directory).expect("hsm-config");
        let mut paths: Vec<_> = entries.map(|entry| entry.expect("entry").path()).filter(|path| path.extension().is_some_and(|end| end == "toml")).collect();
        paths.sort();
        paths
    }

    fn softhsm() -> String {
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("hsm-config/softhsm2.toml")).expect("softhsm2.toml")
    }

    #[test]
    fn every_profile_of_the_repository_parses() {
        let paths = profiles();
        assert!(paths.len() >= 7, "{paths:?}");
        for path in paths {
            let profile = Profile::load(&path).expect("a profile");
            assert!(!profile.name.is_empty() && !profile.modules.is_empty(), "{}", path.display());
        }
    }

    #[test]
    fn software_tokens_can_be_opened_and_the_others_say_why_not() {
        for path in profiles() {
            let stem = path.file_stem().and_then(|stem| stem.to_str()).expect("a name").to_owned();
            let refusals = Profile::load(&path).expect("a profile").refusals();
            assert_eq!(refusals.is_empty(), ["softhsm2", "kryoptic"].contains(&stem.as_str()), "{stem}: {refusals:?}");
        }
    }

    #[test]
    fn unknown_keys_are_refused_with_their_line() {
        let text = softhsm().replace("[import]", "[import]\nsurprise = 1");
        let expected = text.lines().position(|line| line.starts_with("surprise")).expect("the line") + 1;
        let (line, message) = Profile::parse(&text).expect_err("an unknown key");
        assert_eq!(line, expected);
        assert!(message.contains("surprise"), "{message}");
    }

    #[test]
    fn unknown_values_are_refused_with_those_allowed() {
        let (_, message) = Profile::parse(&softhsm().replace("\"CKM_AES_GCM\"", "\"CKM_ROT13\"")).expect_err("an unknown mechanism");
        assert!(message.contains("CKM_ROT13") && message.contains("CKM_AES_GCM"), "{message}");
    }

    #[test]
    fn what_is_not_implemented_is_refused_by_name() {
        let text = softhsm()
            .replace("iv = \"caller\"", "iv = \"write-back\"\nmax_bytes = 16384")
            .replace("aes_encrypt = \"CKM_AES_GCM\"", "aes_encrypt = \"CKM_AES_CBC\"");
        let refusals = Profile::parse(&text).expect("it parses").refusals().join("; ");
        for part in ["write-back", "16384", "CKM_AES_CBC"] {
            assert!(refusals.contains(part), "{part}: {refusals}");
        }
    }
}
