//! Plain types and rules: no I/O, no `async`, no clock but the one that is passed in.

pub mod account;
pub mod appkey;
pub mod approval;
pub mod audit;
pub mod caller;
pub mod client_checks;
pub mod clock;
pub mod clock_watch;
pub mod digest_info;
pub mod envelope;
pub mod history;
pub mod ids;
pub mod inventory;
pub mod key;
pub mod key_material;
pub mod key_store;
pub mod lifecycle;
pub mod listing;
pub mod notification;
pub mod rate;
pub mod renewal;
pub mod result_code;
pub mod secret;
pub mod statistics;
pub mod text;
