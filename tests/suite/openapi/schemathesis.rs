//! Schemathesis asks the running service what its document promises: every status, every field, what is refused and what is taken.
//! `tests/schemathesis.toml` says what it makes of it.

use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::support::installation::{Installation, Running};
use crate::support::random::{Random, is_full};

/// Cases of each operation and phase, and in long runs.
const EXAMPLES: u32 = 4;
const EXAMPLES_FULL: u32 = 40;

/// Key stores have numbers that nobody guesses: a request that is wrong by the number alone must not be right by chance.
const DEMO_STORES: [i64; 2] = [700_001, 700_002];
const FIRST_STORE: i64 = 400_001;

/// The key store in which keys and clients come and go.
const PLAYGROUND: &str = "playground";

const KEY_ID: &str = "#/components/parameters/KeyId";
const KEY_STORE_ID: &str = "#/components/parameters/KeyStoreId";

/// Keys of the demo, and the paths that want one of their kind.
const KEYS: [(&str, &str); 3] = [("SECRET_ID", "/secrets/{keyid}"), ("SYMMETRIC_ID", "/symmetric-keys/{keyid}"), ("ASYMMETRIC_ID", "/asymmetric-keys/{keyid}")];

/// What has succeeded at least once when the run means anything.
const SUCCEEDED: [&str; 18] = [
    "CONFIRM",
    "READ_SECRET",
    "CHANGE_SECRET",
    "ENCRYPT",
    "DECRYPT",
    "CREATE_LOCAL_KEY",
    "SIGN",
    "VERIFY",
    "SIGN_STANDARD",
    "VERIFY_STANDARD",
    "READ_PUBLIC_KEY",
    "READ_INVENTORY",
    "CREATE_KEY_STORE",
    "CHANGE_KEY_STORE",
    "CREATE_KEY",
    "CREATE_CLIENT_RULE",
    "REQUEST_KEY_DELETION",
    "ROTATE_KEY",
];

/// The programs that `scripts/install test` puts there; `None` where there are none and nobody minds.
fn tool(name: &str) -> Option<PathBuf> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target"), PathBuf::from);
    let tool = target.join("tools/schemathesis/bin").join(name);
    if tool.exists() {
        return Some(tool);
    }
    assert!(std::env::var_os("SKM_SKIP_INSTALL").is_some_and(|value| value == "1"), "{} is missing: run scripts/install test", tool.display());
    println!("NOT TESTED against the OpenAPI document: {} is missing, and SKM_SKIP_INSTALL=1", tool.display());
    None
}

/// The service with key stores for what is to be changed, apart from the demo's, whose keys must go on working.
fn stage() -> (Installation, Running) {
    let mut installation = Installation::new();
    installation.database().run(&format!("UPDATE key_stores SET number = number + {}", DEMO_STORES[0] - 1));
    installation.database().run(&format!("UPDATE projects SET last_key_store_number = {}", FIRST_STORE - 1));
    for limit in ["ADDRESS_PER_SECOND", "PROJECT_PER_SECOND", "FAILURES_PER_SECOND"] {
        installation.set(&format!("SKM_LIMITS__{limit}"), "0");
    }
    let running = installation.start();
    (installation, running)
}

/// Asks as the demo's administrator, and answers the body.
fn ask(installation: &Installation, running: &Running, rest: &str, body: Value) -> Value {
    let path = format!("/keymanager/v1.2/appkey/{}{rest}", installation.demo("APPKEY"));
    let headers = [("X-TC-AUTHENTICATION-ID", installation.demo("ACCESS_KEY_ID")), ("X-TC-AUTHENTICATION-SECRET", installation.demo("SECRET_ACCESS_KEY"))];
    running.ask("POST", &path, &headers, Some(&body)).body().clone()
}

/// What is there to be changed, and what was made with the demo's keys.
struct Things {
    replaced_store: Value,
    deleted_store: Value,
    changed_key: Value,
    deleted_key: Value,
    /// Bodies of requests that succeed, by the end of their paths.
    examples: [(&'static str, Value); 3],
}

impl Things {
    fn make(installation: &Installation, running: &Running) -> Self {
        let ask = |rest: &str, body: Value| ask(installation, running, rest, body);
        let store = |name: &str| {
            let made = ask("/keystores", json!({"name": name, "ip4AuthUse": "Y"}));
            ask("/auths/ipv4s", json!({"keyStoreName": name, "value": "127.0.0.1"}));
            made["keyStoreId"].clone()
        };
        let (replaced_store, deleted_store) = (store("to be replaced"), store("to be deleted"));
        store(PLAYGROUND);
        let key = |name: &str| ask("/keys/symmetric-keys/create", json!({"keyStoreName": PLAYGROUND, "name": name}))["keyId"].clone();
        let with = |kind: &str, id: &str, what: &str, body: Value| ask(&format!("/{kind}/{}/{what}", installation.demo(id)), body);
        let encrypted = with("symmetric-keys", "SYMMETRIC_ID", "encrypt", json!({"plaintext": "text"}));
        let signed = with("asymmetric-keys", "ASYMMETRIC_ID", "sign", json!({"plaintext": "text"}));
        let standard = json!({"plaintext": "dGV4dA==", "algorithm": "RSASSA-PSS"});
        let signed_standard = with("asymmetric-keys", "ASYMMETRIC_ID", "sign-standard", standard);
        let verify_standard = json!({"plaintext": "dGV4dA==", "algorithm": "RSASSA-PSS", "signature": signed_standard["signature"], "keyVersion": 0});
        Self {
            replaced_store,
            deleted_store,
            changed_key: key("to be changed"),
            deleted_key: key("to be deleted"),
            examples: [
                ("/decrypt", json!({"ciphertext": encrypted["ciphertext"]})),
                ("/verify", json!({"plaintext": "text", "signature": signed["signature"]})),
                ("/verify-standard", verify_standard),
            ],
        }
    }

    /// The key of a path that ends like that; `None` where its kind tells.
    fn key(&self, method: &str, path: &str) -> Option<&Value> {
        let (_, rest) = path.split_once("/keys/{keyid}")?;
        let is_deletion = matches!(rest, "/delete" | "/restore") || (rest.is_empty() && method == "delete");
        Some(if is_deletion { &self.deleted_key } else { &self.changed_key })
    }
}

fn bearer(installation: &Installation, running: &Running) -> String {
    let basic = STANDARD.encode(format!("{}:{}", installation.demo("ACCESS_KEY_ID"), installation.demo("SECRET_ACCESS_KEY")));
    let headers = [("Authorization", &*format!("Basic {basic}")), ("Content-Type", "application/x-www-form-urlencoded")];
    let made = running.call(false, "POST", "/oauth2/token/create", &headers, Some(b"grant_type=client_credentials")).expect("an answer");
    format!("Bearer {}", made.json["access_token"].as_str().expect("a token"))
}

/// One of these, in place of whatever looks like it: else nearly every request would name what isn't there.
fn one_of(values: &[Value]) -> Value {
    json!({"enum": values})
}

/// The texts that are taken as a name, exactly: the document says nothing of white space that is cut off their ends.
fn taken_as_name() -> String {
    const CONTROL: &str = r"\x00-\x1F\x7F-\x9F\u2028-\u202E\u2066-\u2069";
    const INNER_SPACE: &str = r" \xA0\u1680\u2000-\u200A\u2028\u2029\u202F\u205F\u3000";
    const SPACE: &str = r"\t\n\x0B\f\r \x85\xA0\u1680\u2000-\u200A\u2028\u2029\u202F\u205F\u3000";
    let end = format!("[^{CONTROL}{INNER_SPACE}]");
    format!("[{SPACE}]*{end}([^{CONTROL}]{{0,98}}{end})?[{SPACE}]*")
}

/// Replaces the schema of names wherever it stands.
fn replace_names(value: &mut Value, pattern: &str) {
    match value {
        Value::Object(fields) if fields.get("pattern").is_some_and(|known| known == &format!("^{pattern}$")) => {
            *value = json!({"type": "string", "pattern": format!("^{}$", taken_as_name())});
        }
        Value::Object(fields) if fields.get("pattern").is_some_and(|known| known == &format!("^({pattern})?$")) => {
            *value = json!({"type": "string", "pattern": format!("^({})?$", taken_as_name())});
        }
        Value::Object(fields) => fields.values_mut().for_each(|value| replace_names(value, pattern)),
        Value::Array(entries) => entries.iter_mut().for_each(|value| replace_names(value, pattern)),
        _ => {}
    }
}

/// The document as it is served, with the names of what there is.
fn narrowed(installation: &Installation, things: &Things) -> Value {
    let mut document: Value = serde_json::from_str(&skm::api::openapi_document()).expect("JSON");
    document["components"]["parameters"]["Appkey"]["schema"] = one_of(&[installation.demo("APPKEY").into()]);
    let pattern = document["components"]["schemas"]["Name"]["pattern"].as_str().expect("a pattern").trim_matches(['^', '$']).to_owned();
    replace_names(&mut document, &pattern);
    for schema in document["components"]["schemas"].as_object_mut().expect("schemas").values_mut() {
        name_the_store(schema);
    }
    for (path, item) in document["paths"].as_object_mut().expect("paths") {
        for (method, operation) in item.as_object_mut().expect("operations") {
            for parameter in operation["parameters"].as_array_mut().into_iter().flatten() {
                if let Some(schema) = names_there_are(installation, things, method, path, parameter) {
                    let name = if parameter["$ref"] == KEY_ID { "keyid" } else { "id" };
                    *parameter = json!({"name": name, "in": "path", "required": true, "schema": schema});
                } else if parameter["name"] == "keyStoreName" {
                    parameter["schema"] = one_of(&[PLAYGROUND.into()]);
                }
            }
            if let Some((_, example)) = things.examples.iter().find(|(end, _)| path.ends_with(end)) {
                operation["requestBody"]["content"]["application/json"]["example"] = example.clone();
            }
        }
    }
    document
}

/// What a parameter of the path may be, if it names something.
fn names_there_are(installation: &Installation, things: &Things, method: &str, path: &str, parameter: &Value) -> Option<Value> {
    match (parameter["$ref"].as_str()?, method) {
        (KEY_ID, _) => {
            let of_kind = || KEYS.into_iter().find(|(_, of_kind)| path.contains(of_kind)).map(|(name, _)| installation.demo(name).into());
            things.key(method, path).cloned().or_else(of_kind).map(|key| one_of(&[key]))
        }
        (KEY_STORE_ID, "get") => Some(one_of(&DEMO_STORES.map(Value::from))),
        (KEY_STORE_ID, "put") => Some(one_of(std::slice::from_ref(&things.replaced_store))),
        (KEY_STORE_ID, _) => Some(one_of(std::slice::from_ref(&things.deleted_store))),
        _ => None,
    }
}

/// Puts the playground's name wherever a body names a key store.
fn name_the_store(schema: &mut Value) {
    if let Some(name) = schema.pointer_mut("/properties/keyStoreName") {
        *name = one_of(&[PLAYGROUND.into()]);
    }
    for list in ["oneOf", "allOf"] {
        schema.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten().for_each(name_the_store);
    }
}

/// The configuration, with the names in it.
fn configuration(installation: &Installation, bearer: &str) -> String {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/schemathesis.toml")).expect("the configuration");
    let text = ["ACCESS_KEY_ID", "SECRET_ACCESS_KEY"].into_iter().fold(text, |text, name| text.replace(&format!("${{SKM_{name}}}"), installation.demo(name)));
    text.replace("${SKM_BEARER}", bearer)
}

#[test]
fn the_service_does_as_its_document_says() {
    let (Some(st), Some(validator)) = (tool("st"), tool("openapi-spec-validator")) else { return };
    let validated = Command::new(validator).arg(concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json")).output().expect("openapi-spec-validator");
    assert!(validated.status.success(), "openapi.json is no OpenAPI 3.1:\n{}", String::from_utf8_lossy(&validated.stdout));

    let seed = Random::of_test("openapi::schemathesis").next() % 1_000_000_000;
    let (installation, running) = stage();
    let things = Things::make(&installation, &running);
    let place = tempfile::tempdir().expect("a directory");
    let write = |name: &str, text: String| std::fs::write(place.path().join(name), text).expect("a file");
    write("openapi.json", narrowed(&installation, &things).to_string());
    write("schemathesis.toml", configuration(&installation, &bearer(&installation, &running)));
    let examples = if is_full() { EXAMPLES_FULL } else { EXAMPLES };
    let output = Command::new(st)
        .args(["--config-file", "schemathesis.toml", "run", "openapi.json", "--url", &format!("https://{}/", running.api_address())])
        .args(["--tls-verify", installation.demo("CA"), "--seed", &seed.to_string(), "--max-examples", &examples.to_string()])
        .args(["--continue-on-failure", "--request-timeout", "20"])
        .current_dir(place.path())
        .output()
        .expect("schemathesis");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "schemathesis, seed {seed}:\n{said}\n{}", String::from_utf8_lossy(&output.stderr));
    println!("{}", said.split("SUMMARY").last().unwrap_or_default());

    let (_, metrics) = running.operations("/metrics");
    let without: Vec<&str> = SUCCEEDED.into_iter().filter(|operation| !metrics.contains(&format!("operation=\"{operation}\",outcome=\"success\""))).collect();
    assert!(without.is_empty(), "nothing was asked of these that could succeed: {without:?}");
    let (status, log) = running.stop();
    assert!(status.success() && !log.contains("panick"), "{status}\n{log}");
}
