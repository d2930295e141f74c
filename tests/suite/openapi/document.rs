//! The document against its snapshot, against the contract, and against the sources.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

/// Where the document is kept.
const SNAPSHOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json");
/// What brings the snapshot up to date.
const UPDATE: &str = "SKM_TEST_UPDATE=1 cargo nextest run -E 'test(openapi::document)'";
/// Routes that the contract's fixture can't have: their answers are no JSON, or they need what a token just gave, or two people.
const BESIDE_THE_FIXTURE: [&str; 13] = [
    "GET /pki/ca.pem",
    "GET /pki/crl/{name}",
    "v1.3 GET /approvals",
    "v1.3 POST /approvals",
    "v1.3 GET /approvals/{}",
    "v1.3 POST /approvals/{}/request",
    "v1.3 POST /approvals/{}/approve",
    "v1.3 POST /approvals/{}/deny",
    "v1.3 POST /approvals/{}/withdraw",
    "v1.3 DELETE /approvals/{}/changes/{}",
    "v1.3 GET /auths/certificates/download",
    "v1.3 GET /keys/symmetric-keys/import-parameters",
    "v1.3 POST /keys/symmetric-keys/import",
];
const METHODS: [&str; 5] = ["get", "put", "post", "delete", "patch"];

fn document() -> Value {
    serde_json::from_str(&skm::api::openapi_document()).expect("JSON")
}

/// Each operation as `GET /path`, with what is said of it.
fn operations(document: &Value) -> Vec<(String, &Value)> {
    let paths = document["paths"].as_object().expect("paths");
    let of_path = |(path, item): (&String, &'_ Value)| {
        let methods = METHODS.iter().filter(|method| item.get(**method).is_some());
        methods.map(|method| (format!("{} {path}", method.to_uppercase()), *method)).collect::<Vec<_>>()
    };
    let names = paths.iter().flat_map(of_path);
    names.map(|(name, method)| (name.clone(), &paths[name.split_once(' ').expect("a path").1][method])).collect()
}

/// The operations that differ, and what else does, by name.
fn differences(old: &Value, new: &Value) -> Vec<String> {
    let (old_operations, new_operations) = (operations(old), operations(new));
    let names: BTreeSet<&String> = old_operations.iter().chain(&new_operations).map(|(name, _)| name).collect();
    let find = |operations: &[(String, &Value)], name: &String| operations.iter().find(|(known, _)| known == name).map(|(_, operation)| (*operation).clone());
    let mut differing: Vec<String> =
        names.into_iter().filter(|name| find(&old_operations, name) != find(&new_operations, name)).map(ToString::to_string).collect();
    for part in ["openapi", "info", "servers", "tags", "components"] {
        if old[part] != new[part] {
            differing.push(part.to_owned());
        }
    }
    differing
}

#[test]
fn the_snapshot_is_what_is_served() {
    let now = skm::api::openapi_document();
    if std::env::var_os("SKM_TEST_UPDATE").is_some_and(|value| value == "1") {
        std::fs::write(SNAPSHOT, &now).expect("the snapshot");
    }
    let kept = std::fs::read_to_string(SNAPSHOT).unwrap_or_else(|error| panic!("{SNAPSHOT}: {error}; to make it: {UPDATE}"));
    if kept != now {
        let old = serde_json::from_str(&kept).unwrap_or_default();
        let differing = if old == Value::Null { vec!["all of it".to_owned()] } else { differences(&old, &document()) };
        panic!("openapi.json is not up to date:\n{}\nto bring it up to date: {UPDATE}", differing.join("\n"));
    }
}

/// `{anything}` is a part of a path, whatever its name.
fn pattern(path: &str) -> String {
    path.split('/').map(|part| if part.starts_with('{') { "{}" } else { part }).collect::<Vec<_>>().join("/")
}

/// The routes of the contract as `v1.2 GET /path`.
fn contract() -> BTreeSet<String> {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/contract/routes.toml")).expect("the contract");
    let contract: toml::Table = text.parse().expect("TOML");
    let mut routes = BTreeSet::new();
    for row in contract["row"].as_array().expect("rows") {
        let (method, path) = row["route"].as_str().and_then(|route| route.split_once(' ')).expect("a route");
        let path = path.split('?').next().expect("a path");
        if path.starts_with("/oauth2/") {
            routes.insert(format!("{method} {path}"));
            continue;
        }
        for version in contract["versions"][row["versions"].as_str().expect("versions")].as_array().expect("versions") {
            routes.insert(format!("{} {method} {}", version.as_str().expect("a version"), pattern(path)));
        }
    }
    routes
}

#[test]
fn every_route_of_the_contract_is_described_and_nothing_else() {
    let document = document();
    let described: BTreeSet<String> = operations(&document)
        .into_iter()
        .map(|(name, _)| {
            let (method, path) = name.split_once(' ').expect("a path");
            let Some((version, rest)) = path.strip_prefix("/keymanager/").and_then(|path| path.split_once("/appkey/{appkey}")) else { return name.clone() };
            format!("{version} {method} {}", pattern(rest))
        })
        .filter(|name| !name.contains("/oauth2/"))
        .collect();
    let mut contract: BTreeSet<String> = contract().into_iter().filter(|name| !name.contains("/oauth2/")).collect();
    contract.extend(BESIDE_THE_FIXTURE.map(str::to_owned));
    let missing: Vec<&String> = contract.difference(&described).collect();
    let unknown: Vec<&String> = described.difference(&contract).collect();
    assert!(missing.is_empty() && unknown.is_empty(), "not described: {missing:#?}\nnot in tests/contract/routes.toml: {unknown:#?}");
}

/// A route that is added in another way has no document. Only the page's own files and the operators' routes may.
#[test]
fn no_route_is_added_without_its_document() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/api");
    let mut files = vec![directory];
    let mut offenders = Vec::new();
    while let Some(file) = files.pop() {
        if file.is_dir() {
            files.extend(std::fs::read_dir(&file).expect("a directory").map(|entry| entry.expect("an entry").path()));
        } else if !["page.rs", "operations.rs"].iter().any(|exempt| file.ends_with(exempt)) {
            let text = std::fs::read_to_string(&file).expect("a source file");
            offenders.extend(text.lines().filter(|line| line.contains(".route(")).map(|line| format!("{}: {}", file.display(), line.trim())));
        }
    }
    assert!(offenders.is_empty(), "use Routes::add(routes!(…)):\n{}", offenders.join("\n"));
}

#[test]
fn every_operation_is_whole() {
    let document = document();
    let mut ids = BTreeSet::new();
    for (name, operation) in operations(&document) {
        assert!(
            ids.insert(operation["operationId"].as_str().unwrap_or_else(|| panic!("{name}: no operationId")).to_owned()),
            "{name}: operationId comes twice"
        );
        assert!(
            operation["summary"].as_str().is_some_and(|summary| !summary.is_empty() && !summary.contains('`') || summary.contains(' ')),
            "{name}: no summary"
        );
        assert_eq!(operation["tags"].as_array().map(Vec::len), Some(1), "{name}: tags");
        let schemes: Vec<&str> =
            operation["security"].as_array().into_iter().flatten().filter_map(Value::as_object).flat_map(|one| one.keys()).map(String::as_str).collect();
        let expected: &[&str] = match name.split('/').nth(2) {
            Some("v1.2") => &["AccessKeyId", "AccessKeySecret"],
            Some("v1.3") => &["BearerToken"],
            Some("token") => &["AccessKey"],
            _ => &[],
        };
        assert_eq!(schemes, expected, "{name}: security");
        let responses = operation["responses"].as_object().unwrap_or_else(|| panic!("{name}: no responses"));
        for status in ["429", "431", "503"] {
            assert!(responses.contains_key(status), "{name}: no {status}");
        }
        let has_body = operation.get("requestBody").is_some();
        for status in ["400", "413", "415"] {
            assert!(!has_body || responses.contains_key(status), "{name}: no {status}, though it has a body");
        }
        // Keys can't leave the token.
        let never = name.ends_with("/symmetric-key") || name.ends_with("/privateKey");
        assert_eq!(responses.contains_key("200"), !never, "{name}: 200");
    }
    let description = document["info"]["description"].as_str().expect("a description");
    for code in skm::domain::result_code::ResultCode::ALL {
        assert!(description.contains(&format!("| {} | {} |", code.number(), code.message())), "{code:?} is not in the table");
    }
}
