//! Links: what of an answer goes into which request next. Readers follow them by hand, tests by themselves.

use serde_json::{Value, json};
use utoipa::openapi::link::Link;
use utoipa::openapi::{OpenApi, RefOr};

use super::operations::operation_id;
use super::{each_operation, in_version};
use crate::api::context::Version;

const KEY_ID: &str = "$response.body#/body/keyId";
const SAME_KEY: &str = "$request.path.keyid";

/// From one operation to the next: the parameters, and the body.
struct Step {
    from: &'static str,
    to: &'static str,
    parameters: &'static [(&'static str, &'static str)],
    body: fn() -> Option<Value>,
}

const fn with_key(from: &'static str, to: &'static str) -> Step {
    Step { from, to, parameters: &[("keyid", KEY_ID)], body: || None }
}

const fn with_same_key(from: &'static str, to: &'static str, body: fn() -> Option<Value>) -> Step {
    Step { from, to, parameters: &[("keyid", SAME_KEY)], body }
}

const fn with_key_store(to: &'static str) -> Step {
    Step { from: "create_key_store", to, parameters: &[("id", "$response.body#/body/keyStoreId")], body: || None }
}

const STEPS: &[Step] = &[
    with_key("create_secret", "read_secret"),
    with_key("create_secret", "change_secret"),
    with_key("create_secret", "request_key_deletion"),
    with_key("create_symmetric_key", "encrypt"),
    with_key("create_symmetric_key", "create_local_key"),
    with_key("create_symmetric_key", "rotate_key"),
    with_key("create_symmetric_key", "request_key_deletion"),
    with_key("create_asymmetric_key", "sign"),
    with_key("create_asymmetric_key", "sign_standard"),
    with_key("create_asymmetric_key", "public_key"),
    with_key("create_asymmetric_key", "request_key_deletion"),
    with_key("request_key_deletion", "restore_key"),
    with_key("request_key_deletion", "delete_key"),
    with_key("rotate_key", "key_versions"),
    with_same_key("encrypt", "decrypt", || Some(json!({"ciphertext": "$response.body#/body/ciphertext"}))),
    with_same_key("create_local_key", "decrypt", || Some(json!({"ciphertext": "$response.body#/body/localKeyCiphertext"}))),
    with_same_key("sign", "verify", || Some(json!({"plaintext": "$request.body#/plaintext", "signature": "$response.body#/body/signature"}))),
    with_same_key("sign_standard", "verify_standard", || {
        Some(json!({
            "plaintext": "$request.body#/plaintext",
            "algorithm": "$request.body#/algorithm",
            "signature": "$response.body#/body/signature",
            "keyVersion": "$response.body#/body/keyVersion",
        }))
    }),
    with_key_store("key_store"),
    with_key_store("replace_key_store"),
    with_key_store("delete_key_store"),
    with_key_store("keys"),
];

/// Adds the links between operations of the same version.
pub(super) fn add(document: &mut OpenApi) {
    let mut there: Vec<String> = Vec::new();
    each_operation(document, |_, _, operation| there.extend(operation.operation_id.clone()));
    each_operation(document, |path, _, operation| {
        let Some((version, _)) = in_version(path) else { return };
        let Some(RefOr::T(success)) = operation.responses.responses.get_mut("200") else { return };
        let id = operation.operation_id.as_deref().unwrap_or_default();
        for step in STEPS.iter().filter(|step| operation_id(version, step.from) == id) {
            let to = operation_id(version, step.to);
            if there.contains(&to) {
                success.links.insert(step.to.to_owned(), RefOr::T(link(version, step)));
            }
        }
    });
}

fn link(version: Version, step: &Step) -> Link {
    let link = Link::builder().operation_id(operation_id(version, step.to)).request_body((step.body)());
    step.parameters.iter().fold(link, |link, (name, value)| link.parameter(*name, *value)).build()
}
