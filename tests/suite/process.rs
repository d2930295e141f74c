//! The process: no core dumps, and the environment that the configuration asks for.

use std::process::Command;

fn skm(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_skm"));
    command.args(arguments);
    command
}

#[test]
fn the_version_is_printed() {
    let output = skm(&["version"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8(output.stdout).unwrap(), concat!("skm ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn a_wrong_command_line_has_its_own_exit_code() {
    assert_eq!(skm(&["no-such-command"]).output().unwrap().status.code(), Some(2));
    assert_eq!(skm(&["audit", "tail", "--count", "0"]).output().unwrap().status.code(), Some(2));
}

#[test]
fn a_closed_pipe_is_no_crash() {
    let output = Command::new("sh").args(["-c", "\"$0\" version | true"]).arg(env!("CARGO_BIN_EXE_skm")).output().unwrap();
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
}

/// Set in the process that is to become another: this very test program, with one test alone.
const INSIDE: &str = "SKM_TEST_INSIDE";

fn this_test_alone(name: &str) -> String {
    let mut command = Command::new(std::env::current_exe().unwrap());
    let output = command.args([name, "--exact", "--nocapture", "--test-threads=1"]).env(INSIDE, "1").env("KEPT", "as it was").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

#[test]
fn the_process_starts_anew_with_the_variables_that_it_needs() {
    if std::env::var_os(INSIDE).is_none() {
        assert!(this_test_alone("process::the_process_starts_anew_with_the_variables_that_it_needs").contains("1 passed"));
        return;
    }
    let wanted = [("SOFTHSM2_CONF".to_owned(), "/a path/with = and ünïcode".to_owned()), ("EMPTY".to_owned(), String::new())].into();
    // The first time it doesn't come back from here, the second time it does.
    skm::cli::process::harden().unwrap();
    skm::cli::process::with_environment(&wanted).unwrap();
    for (name, value) in &wanted {
        assert_eq!(std::env::var(name).as_ref(), Ok(value));
    }
    assert_eq!(std::env::var("KEPT").as_deref(), Ok("as it was"));
}

#[test]
fn there_are_no_core_dumps() {
    if std::env::var_os(INSIDE).is_none() {
        assert!(this_test_alone("process::there_are_no_core_dumps").contains("1 passed"));
        return;
    }
    skm::cli::process::harden().unwrap();
    assert_eq!(rustix::process::dumpable_behavior().unwrap(), rustix::process::DumpableBehavior::NotDumpable);
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(line.split_whitespace().filter(|word| *word == "0").count(), 2, "{line}");
}
