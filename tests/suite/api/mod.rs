//! The API as a plain HTTP client sees it: literal requests, literal answers, and one audit record for each.

mod bodies;
mod certificates;
mod checks;
mod ciphertexts;
mod contract;
mod credentials;
mod data;
mod database;
mod http;
mod import;
mod inventory;
mod key_stores;
mod life;
mod life_changes;
mod life_entries;
mod life_races;
mod limits;
mod listing;
mod rates;
mod routes;
mod rsa;
mod sample;
mod settings;
mod signatures;
mod stage;
mod texts;
