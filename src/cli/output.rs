//! The only place that prints: answers on standard output, problems on standard error. Everything else is the log's.

use std::io::{self, IsTerminal as _, Write};

/// Prints a line.
pub(super) fn line(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()
}

/// Prints bytes as they are; on a terminal the next prompt begins on a line of its own.
pub(super) fn data(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    if out.is_terminal() && !bytes.ends_with(b"\n") {
        out.write_all(b"\n")?;
    }
    out.flush()
}

/// Asks something on standard error, where the answer is typed behind it.
pub(super) fn question(text: &str) -> io::Result<()> {
    let mut out = io::stderr().lock();
    write!(out, "{text}")?;
    out.flush()
}

/// Says what went wrong. Where even that fails there is nobody to tell.
pub(super) fn problem(text: &str) {
    let _ = writeln!(io::stderr().lock(), "skm: {text}");
}
