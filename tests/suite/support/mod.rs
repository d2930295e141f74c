//! What the tests stand on: tokens, databases, services of their own.

pub(crate) mod installation;
pub(crate) mod postgres;
pub(crate) mod random;
pub(crate) mod raw_database;
pub(crate) mod softhsm;
pub(crate) mod wire;
pub(crate) mod wrapping;
