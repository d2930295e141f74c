//! The listener and the certificates.
