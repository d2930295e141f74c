//! Certificate signing requests (PKCS#10, RFC 2986).

use rcgen::{PublicKeyData as _, SubjectPublicKeyInfo};
use rustls_pki_types::CertificateSigningRequestDer;
use rustls_pki_types::pem::PemObject as _;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::ParsedExtension;
use x509_parser::oid_registry as oid;
use x509_parser::prelude::FromDer as _;

use crate::domain::text::Invalid;

/// The most bytes of a certificate signing request.
pub const CSR_MAX_BYTES: usize = 16 * 1024;

/// The public key of a request (PEM or DER) whose sender proved to have the private key. Nothing else of it is looked at.
pub(super) fn public_key(csr: &[u8]) -> Result<SubjectPublicKeyInfo, Invalid> {
    if csr.len() > CSR_MAX_BYTES {
        return Err(invalid(format!("must have at most {CSR_MAX_BYTES} bytes")));
    }
    let der = match csr.first() {
        // A DER SEQUENCE; in text this would be the digit 0.
        Some(0x30) => CertificateSigningRequestDer::from(csr),
        _ => CertificateSigningRequestDer::from_pem_slice(csr).map_err(|_| invalid("must be a PKCS#10 certificate signing request, PEM or DER"))?,
    };
    let (rest, request) = X509CertificationRequest::from_der(&der).map_err(|_| invalid("must be a PKCS#10 certificate signing request, PEM or DER"))?;
    if !rest.is_empty() {
        return Err(invalid("must not be followed by anything"));
    }
    check_algorithms(&request)?;
    refuse_wish_for_authority(&request)?;
    request.verify_signature().map_err(|_| invalid("must be signed with its own private key"))?;
    let spki = request.certification_request_info.subject_pki.raw;
    SubjectPublicKeyInfo::from_der(spki)
        .ok()
        // What goes into the certificate must be the key that the proof was for.
        .filter(|key| key.subject_public_key_info() == spki)
        .ok_or_else(wrong_key)
}

/// The signature algorithm decides what `verify_signature` demands of the key: of RSA 2,048 to 8,192 bits.
fn check_algorithms(request: &X509CertificationRequest<'_>) -> Result<(), Invalid> {
    let signatures = [
        oid::OID_SIG_ECDSA_WITH_SHA256,
        oid::OID_SIG_ECDSA_WITH_SHA384,
        oid::OID_PKCS1_SHA256WITHRSA,
        oid::OID_PKCS1_SHA384WITHRSA,
        oid::OID_PKCS1_SHA512WITHRSA,
        oid::OID_SIG_ED25519,
    ];
    if !signatures.contains(&request.signature_algorithm.algorithm) {
        return Err(invalid("must be signed with ECDSA, RSA (PKCS #1 v1.5) or Ed25519, and SHA-256 or better"));
    }
    let algorithm = &request.certification_request_info.subject_pki.algorithm;
    let curve = || algorithm.parameters.as_ref().and_then(|parameters| parameters.as_oid().ok());
    let accepted = algorithm.algorithm == oid::OID_PKCS1_RSAENCRYPTION
        || algorithm.algorithm == oid::OID_SIG_ED25519
        || algorithm.algorithm == oid::OID_KEY_TYPE_EC_PUBLIC_KEY && curve().is_some_and(|curve| curve == oid::OID_EC_P256 || curve == oid::OID_NIST_EC_P384);
    accepted.then_some(()).ok_or_else(wrong_key)
}

/// Other wishes of the applicant are passed over, as the documentation says; whoever wants to be a CA must hear that it isn't one.
fn refuse_wish_for_authority(request: &X509CertificationRequest<'_>) -> Result<(), Invalid> {
    let mut wishes = request.requested_extensions().into_iter().flatten();
    let wants_it = wishes.any(|wish| matches!(wish, ParsedExtension::BasicConstraints(constraints) if constraints.ca));
    if wants_it { Err(invalid("must not ask for a CA's certificate (CA:TRUE)")) } else { Ok(()) }
}

fn wrong_key() -> Invalid {
    invalid("must have a key of EC P-256 or P-384, RSA with 2,048 to 8,192 bits, or Ed25519")
}

fn invalid(problem: impl Into<String>) -> Invalid {
    Invalid::new("csr", problem)
}
