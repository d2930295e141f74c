//! The only place that prints: answers on standard output, problems on standard error. Everything else is the log's.

use std::io::{self, Write};

/// Prints a line.
pub(super) fn line(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()
}

/// Prints bytes as they are.
pub(super) fn raw(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    out.flush()
}

/// Says what went wrong. Where even that fails there is nobody to tell.
pub(super) fn problem(text: &str) {
    let _ = writeln!(io::stderr().lock(), "skm: {text}");
}
