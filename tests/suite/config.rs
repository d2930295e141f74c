//! The configuration as an operator meets it: the example, the overrides, `skm check-config`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use skm::config::{Config, DatabaseUrl, SECTIONS, Variables};

fn example() -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("skm.example.toml")).unwrap()
}

/// The text with every commented-out setting (`# key = value`) put in.
fn uncommented(text: &str) -> String {
    let is_setting = |line: &str| {
        let key = line.strip_prefix("# ").and_then(|line| line.split_once(" = ")).map(|(key, _)| key);
        key.is_some_and(|key| !key.is_empty() && key.chars().all(|c| c.is_ascii_lowercase() || c == '_'))
    };
    text.lines().map(|line| if is_setting(line) { line.trim_start_matches("# ") } else { line }).collect::<Vec<_>>().join("\n")
}

fn parse(text: &str) -> Result<Config, Vec<String>> {
    Config::parse(Path::new("skm.toml"), text, &Variables::default()).map_err(|problems| problems.iter().map(ToString::to_string).collect())
}

#[test]
fn the_example_is_the_defaults() {
    assert_eq!(parse(&example()), Ok(Config::default()));
    assert_eq!(parse(""), Ok(Config::default()));
}

#[test]
fn the_example_names_every_setting_and_no_other() {
    let text = uncommented(&example());
    // A stale key fails here, by name and line. All settings at once make sense on PostgreSQL only.
    let variables = [("SKM_DATABASE__URL".to_owned(), "postgres://skm@localhost/skm".to_owned())].into_iter().collect();
    Config::parse(Path::new("skm.example.toml"), &text, &variables).unwrap_or_else(|problems| panic!("{problems:#?}"));

    let table: toml::Table = text.parse().unwrap();
    for (section, keys) in SECTIONS {
        let shown: BTreeSet<&str> = table.get(*section).and_then(|keys| keys.as_table()).into_iter().flatten().map(|(key, _)| key.as_str()).collect();
        for key in *keys {
            assert!(shown.contains(key), "skm.example.toml lacks [{section}] {key}");
        }
    }
}

#[test]
fn every_setting_can_come_from_the_environment() {
    let table: toml::Table = uncommented(&example()).parse().unwrap();
    for (section, keys) in SECTIONS {
        for key in *keys {
            let value = match &table[*section][*key] {
                toml::Value::String(text) => text.clone(),
                toml::Value::Array(entries) => entries.iter().map(|entry| entry.as_str().unwrap()).collect::<Vec<_>>().join(","),
                toml::Value::Table(_) => String::new(),
                other => other.to_string(),
            };
            let name = format!("SKM_{}__{}", section.to_uppercase(), key.to_uppercase());
            let read = |value: &str| {
                let variables = [(name.clone(), value.to_owned())].into_iter().collect();
                Config::parse(Path::new("skm.toml"), "", &variables)
            };
            // Some need a partner (key and certificate); no override may be unknown or misread.
            if let Err(problems) = read(&value) {
                assert!(
                    problems.iter().all(|problem| problem.to_string().contains("together") || problem.to_string().contains("PostgreSQL only")),
                    "{problems:?}"
                );
            }
        }
    }
}

#[test]
fn a_literal_pin_is_refused_and_not_repeated() {
    let problems = parse("[token]\npin = \"hunter2\"\n").unwrap_err();
    assert_eq!(
        problems,
        ["skm.toml:2: [token] pin: must be the source of the PIN, never the PIN itself: \"file:PATH\", \"credential:NAME\" (systemd), \
          \"env:VARIABLE\" or \"prompt\""]
    );
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    for (text, expected) in [
        ("[api]\ncertificate = \"x\"", "skm.toml:2: [api] certificate: must be set together with key, or neither"),
        ("[api]\nproxy_protocol = true", "skm.toml:2: [api] proxy_protocol: needs trusted_proxies"),
        ("[console]\nlisten = \"0.0.0.0:8443\"", "skm.toml:2: [console] listen: must differ from listen of [api]"),
        ("[api]\nrequest_timeout = \"5 s\"", "skm.toml:2: [api] request_timeout: must be longer than fast_deadline and slow_deadline of [token]"),
        ("[freshness]\nlimit = \"200 ms\"", "skm.toml:2: [freshness] limit: must be longer than interval"),
        ("[database]\npassword_file = \"x\"", "skm.toml:2: [database] password_file: is for PostgreSQL only"),
    ] {
        assert_eq!(parse(text).unwrap_err(), [expected]);
    }
}

#[test]
fn relative_paths_count_from_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("skm.toml");
    std::fs::write(&file, "[server]\ndata_dir = \"d\"\n[token]\npin = \"file:pin\"\nmodule = \"/lib/x.so\"\nprofile = \"p.toml\"\n").unwrap();
    let config = Config::load(&file).unwrap();
    assert_eq!(config.server.data_dir, directory.path().join("d"));
    assert_eq!(config.lock_file(), directory.path().join("d/lock"));
    assert_eq!(config.database.url, DatabaseUrl::Sqlite(directory.path().join("d/skm.sqlite3")));
    assert_eq!(config.token.module, Some(PathBuf::from("/lib/x.so")));
    assert!(format!("{:?}", config.token.pin).contains(directory.path().to_str().unwrap()));
}

fn check_config(text: &str, variables: &[(&str, &str)]) -> (Output, PathBuf, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("skm.toml");
    std::fs::write(&file, text).unwrap();
    let profiles = directory.path().join("hsm-config");
    std::fs::create_dir(&profiles).unwrap();
    for profile in ["softhsm2.toml", "luna.toml"] {
        std::fs::copy(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("hsm-config").join(profile), profiles.join(profile)).unwrap();
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_skm"));
    command.args(["check-config", "--config"]).arg(&file).envs(variables.iter().copied());
    (command.output().unwrap(), file, directory)
}

#[test]
fn check_config_says_ok() {
    let (output, _, _directory) = check_config("", &[]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8(output.stdout).unwrap().ends_with(": ok\n"));
}

#[test]
fn check_config_refuses_a_token_that_can_not_be_used() {
    for (token, problem) in [
        ("profile = \"luna\"", "[token] profile: Thales Luna can't be used yet: aes_gcm.iv"),
        ("module = \"/no/such/module.so\"", "[token] module: there is no /no/such/module.so"),
    ] {
        let (output, _, _directory) = check_config(&format!("[token]\n{token}\n"), &[]);
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), errors.contains(problem)), (Some(78), true), "{errors}");
    }
}

#[test]
fn check_config_names_everything_that_is_wrong() {
    let (output, file, _directory) = check_config(
        "[api]\nlisten = 8443\n[tokn]\n[log]\nformat = \"xml\"\n[database]\nurl = \"postgres://u:hunter2@h/d\"\nqueue = 0\n",
        &[("SKM_CONSOLE__LISTEN", "here"), ("SKM_APPKEY", "is the client's")],
    );
    assert_eq!(output.status.code(), Some(78));
    let errors = String::from_utf8(output.stderr).unwrap();
    let file = file.display();
    for line in [
        format!("{file}:2: [api] listen: must be an address and a port, such as \"0.0.0.0:8443\" or \"[::]:8443\""),
        format!("{file}:3: [tokn]: unknown section; allowed: server, api, console, operations, token, database, audit, log, freshness, limits"),
        format!("{file}:5: [log] format: must be \"json\" or \"human\""),
        format!("{file}:8: [database] queue: must be from 1 to 65536"),
        "SKM_CONSOLE__LISTEN: [console] listen: must be an address".to_owned(),
    ] {
        assert!(errors.contains(&line), "{line}\nis not in\n{errors}");
    }
    assert!(!errors.contains("hunter2") && !errors.contains("SKM_APPKEY"), "{errors}");
}

#[test]
fn check_config_names_weak_settings() {
    let text = "[api]\ntrusted_proxies = [\"0.0.0.0/0\"]\n[freshness]\nlimit = \"30 s\"\n";
    let (output, _, _directory) = check_config(text, &[]);
    assert_eq!(output.status.code(), Some(78));
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(errors.contains("[api] trusted_proxies: 0.0.0.0/0 lets almost anybody claim any address"), "{errors}");
    assert!(errors.contains("[freshness] limit: "), "{errors}");
}

#[test]
fn a_missing_file_is_named() {
    let output = Command::new(env!("CARGO_BIN_EXE_skm")).args(["check-config", "--config", "/no/such/skm.toml"]).output().unwrap();
    assert_eq!(output.status.code(), Some(78));
    assert!(String::from_utf8(output.stderr).unwrap().contains("/no/such/skm.toml: can't be read"));
}
