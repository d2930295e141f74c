//! A copy of the database, made by the writer between two batches: changes wait meanwhile.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use super::connection::Db;
use super::dialect;
use super::error::StoreError;
use super::work::{Backup, Meanwhile};

/// Makes the copy, runs what is to run meanwhile, and answers.
pub(super) fn run(work: Backup, db: Result<&mut Db, StoreError>) {
    let Backup { target, meanwhile, reply } = work;
    let outcome = db.and_then(|db| copy(db, &target, meanwhile));
    // Nobody may be waiting any more: the copy is there all the same.
    drop(reply.send(outcome));
}

/// A copy that is not whole, or whose company isn't, doesn't stay.
fn copy(db: &mut Db, target: &Path, meanwhile: Meanwhile) -> Result<(), StoreError> {
    if matches!(db, Db::Postgresql(_)) {
        return Err(StoreError::failed("a PostgreSQL database is backed up by pg_dump"));
    }
    let failed = |error: std::io::Error| StoreError::failed(format!("{}: {error}", target.display()));
    // SQLite would make it readable to all; it writes into an empty file as well.
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(target).map_err(failed)?;
    let outcome = dialect::copy_to(db, target).and_then(|()| sync(target).map_err(failed)).and_then(|()| {
        let told = catch_unwind(AssertUnwindSafe(meanwhile)).unwrap_or_else(|_| Err("it panicked".to_owned()));
        told.map_err(|reason| StoreError::failed(format!("what belongs to the backup failed: {reason}")))
    });
    if outcome.is_err() {
        drop(fs::remove_file(target));
    }
    outcome
}

/// Makes a file and its name durable.
fn sync(path: &Path) -> std::io::Result<()> {
    File::open(path)?.sync_all()?;
    match path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        Some(parent) => File::open(parent)?.sync_all(),
        None => File::open(".")?.sync_all(),
    }
}
