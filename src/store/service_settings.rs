//! Small values that the service keeps by name.

use diesel::prelude::*;

use super::dialect;
use super::error::StoreError;
use super::schema::settings;
use super::unit::{Reader, Tx};
use crate::domain::clock::Timestamp;

impl Reader<'_> {
    /// The database server's time; `None` where the database is a file of this machine's, which has no other clock.
    pub fn server_clock(&mut self) -> Result<Option<Timestamp>, StoreError> {
        Ok(dialect::server_clock(self.db)?.map(Timestamp::from_micros))
    }

    /// The value kept under `name`.
    pub fn setting(&mut self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(settings::table.find(name).select(settings::value).first(self.db).optional()?)
    }
}

impl Tx<'_> {
    /// Keeps `value` under `name`, in place of what was kept there.
    pub fn put_setting(&mut self, name: &str, value: &[u8]) -> Result<(), StoreError> {
        Ok(dialect::put_setting(self.db, name, value)?)
    }
}
