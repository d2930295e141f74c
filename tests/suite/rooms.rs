//! The rooms import only what they may; only one file prints; nothing names a developer's machine.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use crate::source_paths::{Import, SourcePaths};

/// Each room, and the rooms that it may import besides itself.
const ROOMS: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("telemetry", &[]),
    ("hsm", &["domain"]),
    ("store", &["domain"]),
    ("courier", &["domain"]),
    ("config", &["domain"]),
    ("tls", &["domain", "config", "telemetry"]),
    ("service", &["domain", "hsm", "store", "courier", "telemetry"]),
    ("scheduler", &["domain", "service", "telemetry"]),
    ("api", &["domain", "service", "telemetry", "tls"]),
    ("console", &["domain", "service", "telemetry", "tls"]),
    ("cli", &["domain", "telemetry", "hsm", "store", "courier", "config", "tls", "service", "scheduler", "api", "console"]),
];

/// Crates that only some rooms may know.
const CRATES: &[(&str, &[&str])] = &[
    ("cryptoki", &["hsm"]),
    ("cryptoki_sys", &["hsm"]),
    ("diesel", &["store"]),
    ("diesel_migrations", &["store"]),
    ("libsqlite3_sys", &["store"]),
    ("pq_sys", &["store"]),
    ("axum", &["api", "console", "tls", "cli"]),
    ("hyper", &["api", "console", "tls", "courier", "cli"]),
    ("hyper_util", &["api", "console", "tls", "courier", "cli"]),
    ("lettre", &["courier"]),
    ("rustls", &["tls", "courier", "cli"]),
    ("rustls_native_certs", &["courier"]),
    ("tokio_rustls", &["tls", "courier", "cli"]),
    ("utoipa", &["api"]),
    ("utoipa_axum", &["api"]),
    ("utoipa_swagger_ui", &["api"]),
    ("clap", &["cli"]),
    ("ureq", &["cli"]),
    ("prometheus_client", &["telemetry"]),
    ("tracing_subscriber", &["telemetry", "config"]),
];

/// Crates without I/O: all that `domain` may know besides `std`.
const PURE_CRATES: &[&str] = &["base64", "hex", "ipnet", "prefix_trie", "proptest", "serde", "sha2", "subtle", "thiserror", "unicode_normalization", "zeroize"];

/// What of `std` is no matter of plain types and rules.
const IMPURE_STD: &[&str] = &["env", "fs", "io", "process", "thread"];

/// Where something may be printed.
const PRINTER: &str = "cli/output.rs";

/// The macros that print.
const PRINTING_MACROS: &[&str] = &["dbg", "eprint", "eprintln", "print", "println"];

#[derive(Debug, PartialEq, Eq)]
struct Violation {
    file: PathBuf,
    line: usize,
    message: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "src/{}:{}: {}", self.file.display(), self.line, self.message)
    }
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every file below `directory` that `wanted` admits; links are not followed.
fn files(directory: &Path, wanted: &dyn Fn(&Path) -> bool) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![directory.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let entry = entry.unwrap();
            let kind = entry.file_type().unwrap();
            if wanted(&entry.path()) {
                match () {
                    () if kind.is_dir() => open.push(entry.path()),
                    () if kind.is_file() => found.push(entry.path()),
                    () => {}
                }
            }
        }
    }
    found.sort();
    found
}

/// The names that a path of ours may begin with: the crates of `Cargo.toml`.
fn crates() -> Vec<String> {
    let manifest: toml::Table = fs::read_to_string(repository().join("Cargo.toml")).unwrap().parse().unwrap();
    let sections = ["dependencies", "dev-dependencies"].into_iter().filter_map(|section| manifest.get(section)?.as_table());
    sections.flat_map(|section| section.keys().map(|name| name.replace('-', "_"))).collect()
}

/// What is wrong with the imports of `file` (relative to `src`).
fn check_file(file: &Path, source: &str, crates: &[String]) -> Vec<Violation> {
    let room = file.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs");
    let allowed: &[&str] = match (room, ROOMS.iter().find(|(name, _)| *name == room)) {
        (_, Some((_, allowed))) => allowed,
        ("lib", _) => &[],
        ("main", _) => &["cli"],
        _ => return vec![Violation { file: file.to_owned(), line: 1, message: format!("{room} is no room") }],
    };
    let paths = SourcePaths::read(file, source);
    let imports = paths.imports.iter().filter_map(|import| Some((import.line, complaint(room, allowed, import, crates)?)));
    let prints = paths.macros.iter().filter(|(_, name)| PRINTING_MACROS.contains(&name.as_str()) && file != Path::new(PRINTER));
    let prints = prints.map(|(line, name)| (*line, format!("only {PRINTER} prints, not {name}!")));
    let moved = paths.path_attributes.iter().map(|line| (*line, "a module is where its name says: no #[path]".to_owned()));
    imports.chain(prints).chain(moved).map(|(line, message)| Violation { file: file.to_owned(), line, message }).collect()
}

fn complaint(room: &str, allowed: &[&str], import: &Import, crates: &[String]) -> Option<String> {
    let path = import.path.join("::");
    let first = import.path.first()?.as_str();
    if first == "crate" {
        return match import.path.get(1).map(String::as_str) {
            None | Some("*") => (room != "cli").then(|| format!("{room} imports the whole crate: {path}")),
            Some(other) if other == room || allowed.contains(&other) => None,
            Some(other) if ROOMS.iter().any(|(name, _)| *name == other) => Some(format!("{room} may not import {other}: {path}")),
            Some(_) => Some(format!("{path} is in no room")),
        };
    }
    if let Some((name, rooms)) = CRATES.iter().find(|(name, _)| *name == first) {
        return (!rooms.contains(&room)).then(|| format!("{room} may not know {name}, only {}: {path}", rooms.join(", ")));
    }
    if room != "domain" {
        return None;
    }
    let impure = first == "std" && import.path.get(1).is_some_and(|second| IMPURE_STD.contains(&second.as_str()));
    let foreign = crates.iter().any(|name| name == first) && !PURE_CRATES.contains(&first);
    (impure || foreign).then(|| format!("domain holds plain types and rules, no I/O: {path}"))
}

fn listed(violations: &[Violation]) -> String {
    violations.iter().map(|violation| format!("\n  {violation}")).collect()
}

#[test]
fn the_rooms_import_only_what_they_may() {
    let (source, crates) = (repository().join("src"), crates());
    let files = files(&source, &|path| path.is_dir() || path.extension().is_some_and(|extension| extension == "rs"));
    assert!(files.len() > ROOMS.len(), "no sources found");
    let check = |file: &PathBuf| check_file(file.strip_prefix(&source).unwrap(), &fs::read_to_string(file).unwrap(), &crates);
    let violations: Vec<Violation> = files.iter().flat_map(check).collect();
    assert!(violations.is_empty(), "{}", listed(&violations));
}

#[test]
fn planted_violations_are_found() {
    let crates = crates();
    let check =
        |file: &str, source: &str| check_file(Path::new(file), source, &crates).iter().map(|found| (found.line, found.message.clone())).collect::<Vec<_>>();
    let one = |line: usize, message: &str| vec![(line, message.to_owned())];

    assert_eq!(check("service/encrypt.rs", "use crate::{domain::ids::KeyId, hsm::Token};\nuse std::fs;"), []);
    assert_eq!(
        check("hsm/pool.rs", "\nuse crate::{\n    domain::{ids::{KeyId, ObjectId}},\n    store::Store,\n};"),
        one(4, "hsm may not import store: crate::store::Store")
    );
    assert_eq!(check("store/mod.rs", "fn f() {\n    let x = crate::hsm::Token::open();\n}"), one(2, "store may not import hsm: crate::hsm::Token::open"));
    assert_eq!(check("hsm/a/b.rs", "use super::super::super::store as s;"), one(1, "hsm may not import store: crate::store"));
    assert_eq!(check("hsm/mod.rs", "mod tests {\n    use super::super::api::Router;\n}"), one(2, "hsm may not import api: crate::api::Router"));
    assert_eq!(check("hsm/mod.rs", "mod tests {\n    use super::Token;\n}"), []);
    assert_eq!(check("api/mod.rs", "fn f() { assert!(matches!(1, _ if crate::hsm::X)) }"), one(1, "api may not import hsm: crate::hsm::X"));
    assert_eq!(check("tls/mod.rs", "use crate::*;"), one(1, "tls imports the whole crate: crate::*"));
    assert_eq!(check("tls/mod.rs", "use crate as all;"), one(1, "tls imports the whole crate: crate"));
    assert_eq!(check("tls/mod.rs", "use crate::helpers::x;"), one(1, "crate::helpers::x is in no room"));
    assert_eq!(check("api/mod.rs", "use ::diesel::prelude::*;"), one(1, "api may not know diesel, only store: diesel::prelude::*"));
    assert_eq!(check("service/x.rs", "fn f(x: cryptoki::session::Session) {}"), one(1, "service may not know cryptoki, only hsm: cryptoki::session::Session"));
    assert_eq!(check("service/x.rs", "extern crate diesel;"), one(1, "service may not know diesel, only store: diesel"));
    assert_eq!(check("service/x.rs", "use axum::Json;"), one(1, "service may not know axum, only api, console, tls, cli: axum::Json"));
    assert_eq!(check("domain/x.rs", "use tokio::sync::Mutex;"), one(1, "domain holds plain types and rules, no I/O: tokio::sync::Mutex"));
    assert_eq!(check("domain/x.rs", "fn f() { std::fs::read(1); }"), one(1, "domain holds plain types and rules, no I/O: std::fs::read"));
    assert_eq!(check("domain/x.rs", "// use crate::hsm::X;\n/* crate::store::X */ const X: &str = \"crate::api::X\";"), []);
    assert_eq!(check("utils/mod.rs", ""), one(1, "utils is no room"));
    assert_eq!(check("helpers.rs", ""), one(1, "helpers is no room"));
    assert_eq!(check("main.rs", "fn main() { skm::store::x() }"), one(1, "main may not import store: crate::store::x"));
    assert_eq!(check("hsm/mod.rs", "#[path = \"../store/mod.rs\"]\nmod s;"), one(1, "a module is where its name says: no #[path]"));
    assert_eq!(check("api/x.rs", "fn f() {\n    std::println!(\"x\");\n    if a { dbg!(x); }\n}").len(), 2);
    assert_eq!(check("cli/output.rs", "fn f() { println!(\"x\") }"), []);
}

#[test]
fn no_file_names_a_developers_machine() {
    // Put together, so that this file is not one.
    let places = [["/wo", "rk/"], ["/ho", "me/"], ["/ro", "ot/"]].map(|halves| halves.concat());
    let skipped = [".git", ".skm", "target", "node_modules"].map(|name| repository().join(name));
    let files = files(repository(), &|path| !skipped.iter().any(|skipped| skipped == path));
    assert!(files.len() > 20, "no files found");
    for file in files {
        // What is not text (an image, a certificate) holds no path.
        let Ok(text) = fs::read_to_string(&file) else { continue };
        for (index, line) in text.lines().enumerate() {
            let found = places.iter().find(|place| starts_a_path(line, place));
            assert!(found.is_none(), "{}:{}: {}", file.strip_prefix(repository()).unwrap().display(), index + 1, line.trim());
        }
    }
}

/// Whether `line` holds an absolute path that begins with `place`: not one in the middle of another (`~/src/`, `a/home/b`).
fn starts_a_path(line: &str, place: &str) -> bool {
    let in_a_path = |c: char| c.is_alphanumeric() || "~.-_}".contains(c);
    line.match_indices(place).any(|(at, _)| !line[..at].ends_with(in_a_path))
}

#[test]
fn a_planted_path_is_found() {
    let place = ["/ho", "me/"].concat();
    assert!(starts_a_path(&format!("cd {place}someone"), &place));
    assert!(starts_a_path(&format!("\"{place}someone\""), &place));
    assert!(!starts_a_path(&format!("https://example.com{place}x"), &place));
}
