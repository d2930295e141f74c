//! The console's pages, asked for as a browser does it, with and without the script.

mod approval;
mod authorization;
mod clients;
mod forms;
mod history;
mod html;
mod keys;
mod organization;
pub(crate) mod person;
mod sessions;
mod statistics;
