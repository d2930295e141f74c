//! The internal certificate authorities: revocation lists, renewal with overlap, and the server's own certificate.

mod authorities;
mod ends;
mod lists;
mod node;

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Runs OpenSSL, which must succeed: its standard output.
pub(crate) fn openssl_with(arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let (ok, out, err) = try_openssl(arguments, input);
    assert!(ok, "openssl {arguments:?}: {err}");
    out
}

/// The same, with nothing on its standard input and text on its output.
pub(crate) fn openssl(arguments: &[&str]) -> String {
    String::from_utf8(openssl_with(arguments, &[])).expect("text")
}

/// Whether OpenSSL succeeded, its standard output and error.
fn try_openssl(arguments: &[&str], input: &[u8]) -> (bool, Vec<u8>, String) {
    let mut child = Command::new("openssl").args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("openssl");
    // A program that doesn't want it closes the pipe.
    let _ = child.stdin.take().expect("a pipe").write_all(input);
    let output = child.wait_with_output().expect("an end");
    (output.status.success(), output.stdout, String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Waits until something is so, at most that long.
fn within(limit: Duration, what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < limit, "{what}: not within {limit:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
    println!("{what} after {:?}", began.elapsed());
}
