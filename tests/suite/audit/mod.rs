//! The audit log in the hands of somebody who may write to the database: whatever they do to it is found and named.

mod key_replaced;
mod log;
mod signed_afterwards;
mod tampering;
