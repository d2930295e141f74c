//! Use cases, one file each: authorize, act, audit, in that order, once.
pub mod pki;
