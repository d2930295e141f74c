//! The API as a plain HTTP client sees it: literal requests, literal answers, and one audit record for each.

mod bodies;
mod checks;
mod ciphertexts;
mod credentials;
mod data;
mod database;
mod http;
mod inventory;
mod limits;
mod listing;
mod routes;
mod rsa;
mod sample;
mod settings;
mod signatures;
mod stage;
mod texts;
