//! What goes wrong around the service, tried on the real thing: crashes, a token that is taken away, databases that fail, clients
//! that hang up, signals. What must hold afterwards: nothing acknowledged is lost, nothing is half done, nothing is unaudited.

mod backup;
mod crash;
mod database_gone;
mod hang_up;
mod import;
mod leaks;
mod lives;
pub(crate) mod load;
pub(crate) mod settled;
mod signals;
pub(crate) mod statistics;
pub(crate) mod token_away;
