//! A copy of the database, made on a connection of its own while changes wait and audit records don't: SQLite's write-ahead log gives
//! the copy one moment's view, whoever writes meanwhile.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use super::connection::{Access, Connector};
use super::dialect;
use super::error::StoreError;

/// Makes the copy and runs what is to run after it. A copy that is not whole, or whose company isn't, doesn't stay. Blocking.
pub(super) fn run(connector: &Connector, target: &Path, meanwhile: impl FnOnce() -> Result<(), String>) -> Result<(), StoreError> {
    // Reading alone would do for the database, but not for its copy.
    let mut db = connector.connect(Access::Write)?;
    let failed = |error: std::io::Error| StoreError::failed(format!("{}: {error}", target.display()));
    // SQLite would make it readable to all; it writes into an empty file as well.
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(target).map_err(failed)?;
    let outcome = dialect::copy_to(&mut db, target).and_then(|()| sync(target).map_err(failed)).and_then(|()| {
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
