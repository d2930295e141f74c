//! `skm admin` and `skm hsm orphans`, as operators and their scripts use them: through a running server's socket and without one.

mod commands;
mod live;
mod nodes;
mod orphans;
mod socket;

use std::io::Write as _;
use std::process::Stdio;

use serde_json::Value;

use crate::support::installation::Installation;

/// Runs a command with something on its standard input: exit code, standard output, standard error.
fn typed(installation: &Installation, arguments: &[&str], input: &str) -> (i32, String, String) {
    let mut command = installation.command(arguments);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("skm");
    child.stdin.take().expect("standard input").write_all(input.as_bytes()).expect("written");
    let output = child.wait_with_output().expect("an end");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

/// A command that must succeed: what it prints with `--json`, one value a line.
fn done(installation: &Installation, arguments: &[&str]) -> Vec<Value> {
    let (code, told, problems) = installation.run(&[arguments, &["--json"]].concat());
    assert_eq!((code, problems.as_str()), (0, ""), "{arguments:?}: {told}");
    told.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// A command that must be refused with exit code 1: what it says.
fn refused(installation: &Installation, arguments: &[&str]) -> String {
    let (code, told, problems) = installation.run(arguments);
    assert_eq!((code, told.as_str()), (1, ""), "{arguments:?}: {problems}");
    problems.trim_end().strip_prefix("skm: ").expect("the program's name").to_owned()
}

/// What operators did, as the audit log has it, oldest first: `OPERATION code detail`.
fn records(installation: &Installation) -> Vec<String> {
    let uid = rustix::process::getuid().as_raw();
    let by_us = format!("audit_records WHERE actor_kind = 'operator' AND actor_name = '{uid}' AND operation <> 'BACKUP' ORDER BY at, position");
    installation.database().texts("operation || ' ' || result_code || ' ' || COALESCE(detail, '')", &by_us)
}

/// A text of a JSON object.
fn field(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_else(|| panic!("no text {name} in {value}")).to_owned()
}
