//! The console's pages, asked for as a browser does it, with and without the script.

mod clients;
mod keys;
mod person;
mod statistics;
