//! A certificate chain and its private key, from PEM files.

use std::fs::{self, File, Metadata};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroizing;

use crate::domain::clock::Timestamp;

/// Most bytes of a file: a chain of some certificates has 10 KiB.
const FILE_MAX_BYTES: u64 = 256 * 1024;
/// The permission bits of everybody who is neither the owner nor in the group.
const OTHERS: u32 = 0o007;
/// The permission to write of everybody but the owner.
const WRITABLE_BY_MORE: u32 = 0o022;

/// Where the server's certificate and its key are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertFiles {
    /// PEM: the server's certificate, then those that lead to a root.
    pub certificate: PathBuf,
    /// PEM: the certificate's private key (PKCS#8, PKCS#1 or SEC 1), not encrypted, for its owner (and group) only.
    pub key: PathBuf,
}

/// What the files hold.
#[derive(Debug)]
pub struct LoadedCertificate {
    /// The server's certificate first.
    pub chain: Vec<CertificateDer<'static>>,
    /// Its private key.
    pub key: PrivateKeyDer<'static>,
    /// When the server's certificate expires (RFC 5280, 4.1.2.5).
    pub not_after: Timestamp,
}

/// A file can't be used, and why.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {problem}", path = path.display())]
pub struct CertFileError {
    /// Which file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub problem: String,
}

/// What tells that one of both files was changed or exchanged; `None` is one that isn't there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FilesStamp([Option<FileStamp>; 2]);

#[derive(Debug, Clone, PartialEq, Eq)]
struct FileStamp {
    device_and_inode: (u64, u64),
    bytes: u64,
    /// Seconds and nanoseconds.
    content_changed: (i64, i64),
    /// Seconds and nanoseconds; permissions count too.
    anything_changed: (i64, i64),
}

impl FileStamp {
    fn of(path: &Path) -> Option<Self> {
        let meta = fs::metadata(path).ok()?;
        Some(Self {
            device_and_inode: (meta.dev(), meta.ino()),
            bytes: meta.len(),
            content_changed: (meta.mtime(), meta.mtime_nsec()),
            anything_changed: (meta.ctime(), meta.ctime_nsec()),
        })
    }
}

impl CertFiles {
    /// Reads both files and checks what can be checked without the other: whether they hold what they should, whether the
    /// certificate is valid now, and whether others may read the key. Whether they belong together, [`super::server_config`] tells.
    pub fn load(&self, now: Timestamp) -> Result<LoadedCertificate, CertFileError> {
        let (chain, not_after) = load_chain(&self.certificate, now).map_err(at(&self.certificate))?;
        let key = load_key(&self.key).map_err(at(&self.key))?;
        Ok(LoadedCertificate { chain, key, not_after })
    }

    pub(super) fn stamp(&self) -> FilesStamp {
        FilesStamp([&self.certificate, &self.key].map(|path| FileStamp::of(path)))
    }
}

fn at(path: &Path) -> impl FnOnce(String) -> CertFileError {
    move |problem| CertFileError { path: path.to_owned(), problem }
}

fn load_chain(path: &Path, now: Timestamp) -> Result<(Vec<CertificateDer<'static>>, Timestamp), String> {
    let (text, _) = read(path)?;
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&text).collect::<Result<_, _>>().map_err(|error| format!("is not PEM: {error}"))?;
    let first = chain.first().ok_or("has no certificate (a part that begins with \"-----BEGIN CERTIFICATE-----\")")?;
    let (_, parsed) = x509_parser::parse_x509_certificate(first).map_err(|error| format!("its first certificate can't be read: {error}"))?;
    let [not_before, not_after] = [parsed.validity().not_before, parsed.validity().not_after];
    if not_after.timestamp() < now.seconds() {
        return Err(format!("its first certificate expired on {not_after}"));
    }
    if not_before.timestamp() > now.seconds() {
        return Err(format!("its first certificate is not valid before {not_before}"));
    }
    let not_after = Timestamp::from_micros(not_after.timestamp().saturating_mul(1_000_000));
    Ok((chain, not_after))
}

fn load_key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    let (text, meta) = read(path)?;
    check_key_mode(&meta)?;
    PrivateKeyDer::from_pem_slice(&text).map_err(|error| match error {
        rustls_pki_types::pem::Error::NoItemsFound if contains(&text, b"BEGIN ENCRYPTED PRIVATE KEY") || contains(&text, b"Proc-Type: 4,ENCRYPTED") => {
            "its private key is encrypted, which is not supported: keep it unencrypted, readable for the service only".to_owned()
        }
        rustls_pki_types::pem::Error::NoItemsFound => "has no private key (a part that begins with \"-----BEGIN PRIVATE KEY-----\")".to_owned(),
        // Not the parser's words: they could quote the key.
        _ => "its private key is not proper PEM".to_owned(),
    })
}

fn check_key_mode(meta: &Metadata) -> Result<(), String> {
    let mode = meta.mode() & 0o777;
    if mode & OTHERS != 0 {
        return Err(format!("holds a private key, and others may use it (mode {mode:04o}): chmod o= it"));
    }
    if mode & WRITABLE_BY_MORE != 0 {
        return Err(format!("holds a private key, and its group may write it (mode {mode:04o}): chmod g-w it"));
    }
    Ok(())
}

fn read(path: &Path) -> Result<(Zeroizing<Vec<u8>>, Metadata), String> {
    let unreadable = |error: io::Error| format!("can't be read: {error}");
    let file = File::open(path).map_err(unreadable)?;
    let meta = file.metadata().map_err(unreadable)?;
    if !meta.is_file() {
        return Err("is no file".to_owned());
    }
    // The whole size at once, so that no copy of a key is left behind by growing.
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(meta.len().min(FILE_MAX_BYTES)).unwrap_or(0) + 1));
    file.take(FILE_MAX_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > FILE_MAX_BYTES {
        return Err(format!("has more than {} KiB", FILE_MAX_BYTES / 1024));
    }
    Ok((bytes, meta))
}

fn contains(text: &[u8], what: &[u8]) -> bool {
    text.windows(what.len()).any(|window| window == what)
}
