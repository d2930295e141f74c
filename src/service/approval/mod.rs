//! Approval: in a project that has it on, nobody changes anything alone.
//!
//! - **The gate** is twofold. `Service::run` refuses a change of such a project unless it is asked for; and `Tx::audit` refuses the record of
//!   one, and so the change itself, unless the transaction applies what was approved. No path can go round that.

mod governance;

pub use governance::{ApprovalStatus, GovernanceState};
