//! Which certificate authorities servers' certificates may come from.

use std::fs;
use std::path::Path;

use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

/// The largest file of authorities that is read, in bytes.
const CA_MAX_BYTES: u64 = 1 << 20;

/// The certificates of a PEM file, one or more.
pub(super) fn authorities(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let told = |problem: String| format!("{}: {problem}", file.display());
    let size = fs::metadata(file).map_err(|error| told(error.to_string()))?.len();
    if size > CA_MAX_BYTES {
        return Err(told(format!("must have at most {CA_MAX_BYTES} bytes")));
    }
    let pem = fs::read(file).map_err(|error| told(error.to_string()))?;
    let found: Vec<_> = CertificateDer::pem_slice_iter(&pem).collect::<Result<_, _>>().map_err(|error| told(error.to_string()))?;
    if found.is_empty() { Err(told("has no certificate (PEM)".to_owned())) } else { Ok(found) }
}

/// The machine's own list, with `more`. A list that can't be read is as if it were empty: then `more` alone is trusted.
pub(super) fn roots(more: Vec<CertificateDer<'static>>) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    for authority in more {
        roots.add(authority).map_err(|error| format!("an authority can't be used: {error}"))?;
    }
    Ok(roots)
}
