//! Metadata and the audit log: the only room that knows `diesel`.
