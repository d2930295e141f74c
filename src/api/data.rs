//! The data operations.

use std::net::IpAddr;

use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use utoipa::ToSchema;

use super::answer::{hex_bytes, local_time};
use super::approvals::ProposedBody;
use super::body::Fields;
use super::call::Call;
use super::openapi::codes::{BODY, CHANGES, CHECKS, ENCRYPTS, EXPORTS, GOVERNED, IN_SERVICE, KEY, QUERY, USER_DATA, VERSION};
use super::openapi::requests::{
    ChangeSecretRequest, DecryptRequest, EncryptRequest, SignRequest, SignStandardRequest, VerifyRequest, VerifyStandardRequest, VersionQuery,
};
use super::openapi::texts;
use crate::domain::ids::KeyVersion;
use crate::domain::result_code::ResultCode;
use crate::domain::secret::SecretText;
use crate::domain::text::Invalid;
use crate::service::{Padding, Refusal, VerifyStandard};

fn key(call: &Call) -> String {
    call.param("keyid")
}

/// The wire contract's name of a padding.
const fn algorithm(padding: Padding) -> &'static str {
    match padding {
        Padding::Pss => "RSASSA-PSS",
        Padding::Pkcs1 => "RSASSA-PKCS1-v1_5",
    }
}

fn padding(fields: &mut Fields) -> Result<Padding, Invalid> {
    let name = fields.text("algorithm")?;
    [Padding::Pss, Padding::Pkcs1]
        .into_iter()
        .find(|padding| algorithm(*padding) == name.expose())
        .ok_or_else(|| Invalid::new("algorithm", "must be RSASSA-PSS or RSASSA-PKCS1-v1_5"))
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ConfirmBody {
    #[schema(value_type = String, examples("192.0.2.7"))]
    client_ip: IpAddr,
    #[schema(required = true)]
    client_mac_header: Option<String>,
    client_sent_certificate: bool,
}

/// Show what the service sees of the caller.
///
/// Passes no client checks: a client finds out here what they would compare.
#[utoipa::path(
    get, path = "/confirm", tag = "Data operations",
    responses((status = 200, description = "success", body = ConfirmBody)),
    extensions(("x-result-codes" = json!([])))
)]
pub(super) async fn confirm(call: Call) -> Response {
    let outcome = call.service().confirm(call.request()).await;
    call.answer(outcome, |seen| ConfirmBody { client_ip: seen.address, client_mac_header: seen.mac, client_sent_certificate: seen.certificate })
}

#[derive(Serialize, ToSchema)]
struct SecretBody<'a> {
    #[schema(value_type = texts::SecretValue)]
    secret: &'a str,
}

/// Read confidential data.
#[utoipa::path(
    get, path = "/secrets/{keyid}", tag = "Data operations",
    responses((status = 200, description = "success", body = SecretBody<'static>)),
    extensions(("x-result-codes" = json!([KEY, CHECKS, IN_SERVICE])))
)]
pub(super) async fn read_secret(call: Call) -> Response {
    match call.service().read_secret(call.request(), key(&call)).await {
        Ok(secret) => super::answer::success(SecretBody { secret: secret.expose() }),
        Err(refusal) => call.refuse(&refusal),
    }
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ChangedSecretBody<'a> {
    #[schema(value_type = texts::KeyId)]
    key_id: String,
    #[schema(value_type = texts::Name)]
    name: &'a str,
    #[schema(value_type = texts::Description)]
    description: &'a str,
    #[schema(value_type = texts::SecretValue)]
    secret_value: &'a str,
    creation_user: &'a str,
    #[schema(value_type = texts::DateTime)]
    creation_datetime: String,
    last_change_user: &'a str,
    #[schema(value_type = texts::DateTime)]
    last_change_datetime: String,
}

/// Replace confidential data.
///
/// Needs `API.ADMIN` and the client checks. The old value is erased.
#[utoipa::path(
    put, path = "/secrets/{keyid}", tag = "Data operations",
    request_body = ChangeSecretRequest,
    responses((status = 202, description = "asked for", body = ProposedBody), (status = 200, description = "success", body = ChangedSecretBody<'static>)),
    extensions(("x-result-codes" = json!([GOVERNED, KEY, CHECKS, IN_SERVICE, BODY, ENCRYPTS, CHANGES])))
)]
pub(super) async fn change_secret(mut call: Call) -> Response {
    let input = call.input(|fields| fields.text("secretValue")).await;
    let zone = call.zone();
    match call.service().change_secret(call.request(), key(&call), input).await {
        Ok(changed) => super::answer::success(ChangedSecretBody {
            key_id: changed.key.id.to_string(),
            name: changed.key.name.as_str(),
            description: changed.key.description.as_str(),
            secret_value: changed.value.expose(),
            creation_user: &changed.key.created.user,
            creation_datetime: local_time(changed.key.created.at, zone),
            last_change_user: &changed.changed.user,
            last_change_datetime: local_time(changed.changed.at, zone),
        }),
        Err(refusal) => call.refuse(&refusal),
    }
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct EncryptedBody {
    #[schema(value_type = texts::Sealed)]
    ciphertext: String,
    #[schema(value_type = texts::KeyVersion)]
    key_version: u32,
}

/// Encrypt a text.
///
/// AES-256-GCM with the current version of the key, in the token.
#[utoipa::path(
    post, path = "/symmetric-keys/{keyid}/encrypt", tag = "Data operations",
    request_body = EncryptRequest,
    responses((status = 200, description = "success", body = EncryptedBody)),
    extensions(("x-result-codes" = json!([KEY, CHECKS, IN_SERVICE, BODY, ENCRYPTS])))
)]
pub(super) async fn encrypt(mut call: Call) -> Response {
    let input = call.input(|fields| fields.text("plaintext")).await;
    let outcome = call.service().encrypt(call.request(), key(&call), input).await;
    call.answer(outcome, |made| EncryptedBody { ciphertext: made.ciphertext, key_version: made.version.number() })
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct DecryptedBody<'a> {
    #[schema(value_type = texts::Plaintext)]
    plaintext: &'a str,
    #[schema(value_type = texts::KeyVersion)]
    key_version: u32,
}

/// Decrypt a ciphertext.
///
/// With the version that the ciphertext names. One that is broken, altered or another key's is `Invalid User Data`.
#[utoipa::path(
    post, path = "/symmetric-keys/{keyid}/decrypt", tag = "Data operations",
    request_body = DecryptRequest,
    responses((status = 200, description = "success", body = DecryptedBody<'static>)),
    extensions(("x-result-codes" = json!([KEY, CHECKS, IN_SERVICE, BODY, VERSION, USER_DATA])))
)]
pub(super) async fn decrypt(mut call: Call) -> Response {
    let input = call.input(|fields| fields.text("ciphertext")).await;
    match call.service().decrypt(call.request(), key(&call), input).await {
        Ok(opened) => super::answer::success(DecryptedBody { plaintext: opened.plaintext.expose(), key_version: opened.version.number() }),
        Err(refusal) => call.refuse(&refusal),
    }
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct LocalKeyBody<'a> {
    #[schema(value_type = texts::Base64)]
    local_key_plaintext: &'a str,
    #[schema(value_type = texts::Sealed)]
    local_key_ciphertext: &'a str,
    #[schema(value_type = texts::KeyVersion)]
    key_version: u32,
}

/// Make a data key.
///
/// A key for the client's own use: now in the clear, and encrypted to be kept beside the data. `decrypt` turns the ciphertext into the same Base64
/// text.
#[utoipa::path(
    post, path = "/symmetric-keys/{keyid}/create-local-key", tag = "Data operations",
    responses((status = 200, description = "success", body = LocalKeyBody<'static>)),
    extensions(("x-result-codes" = json!([KEY, CHECKS, IN_SERVICE, ENCRYPTS])))
)]
pub(super) async fn create_local_key(mut call: Call) -> Response {
    call.pass_over_body().await;
    match call.service().create_local_key(call.request(), key(&call)).await {
        Ok(made) => super::answer::success(LocalKeyBody {
            local_key_plaintext: made.plaintext.expose(),
            local_key_ciphertext: &made.ciphertext,
            key_version: made.version.number(),
        }),
        Err(refusal) => call.refuse(&refusal),
    }
}

/// Refuse to show a symmetric key.
///
/// Always refused: keys can't leave the token. Whatever is wrong with key or caller is told first; `keyVersion` is passed over.
#[utoipa::path(
    get, path = "/symmetric-keys/{keyid}/symmetric-key", tag = "Data operations",
    extensions(("x-result-codes" = json!([KEY, CHECKS, IN_SERVICE, EXPORTS])))
)]
pub(super) async fn export_symmetric_key(call: Call) -> Response {
    let refusal = call.service().export_symmetric_key(call.request(), key(&call)).await;
    call.refuse(&refusal)
}

/// Refuse to show a private key.
///
/// Always refused: keys can't leave the token. Whatever is wrong with key or caller is told first; `keyVersion` is passed over.
#[utoipa::path(
    get, path = "/asymmetric-keys/{keyid}/privateKey", tag = "Data operations",
    extensions(("x-result-codes" = json!([KEY, CHECKS, IN_SERVICE, EXPORTS])))
)]
pub(super) async fn export_private_key(call: Call) -> Response {
    let refusal = call.service().export_private_key(call.request(), key(&call)).await;
    call.refuse(&refusal)
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct SignedBody {
    signature: String,
    #[schema(value_type = texts::KeyVersion)]
    key_version: u32,
}

/// Sign a short text.
///
/// RSASSA-PKCS1-v1_5 type 1 padding over the text itself, without hashing. For longer data and standard verifiers there is `sign-standard`.
#[utoipa::path(
    post, path = "/asymmetric-keys/{keyid}/sign", tag = "Data operations",
    request_body = SignRequest,
    responses((status = 200, description = "success", body = SignedBody)),
    extensions(("x-result-codes" = json!([KEY, CHECKS, IN_SERVICE, BODY])))
)]
pub(super) async fn sign(mut call: Call) -> Response {
    let input = call.input(|fields| fields.text("plaintext")).await;
    let outcome = call.service().sign(call.request(), key(&call), input).await;
    call.answer(outcome, |made| SignedBody { signature: made.signature, key_version: made.version.number() })
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct SignedStandardBody {
    signature: String,
    #[schema(value_type = texts::Algorithm)]
    algorithm: &'static str,
    hash_algorithm: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    mgf_algorithm: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    salt_length: Option<u32>,
    #[schema(value_type = texts::KeyVersion)]
    key_version: u32,
}

/// Sign data as the standard has it.
///
/// SHA-256, then RSASSA-PSS (MGF1 with SHA-256, 32 bytes of salt) or RSASSA-PKCS1-v1_5 (RFC 8017).
#[utoipa::path(
    post, path = "/asymmetric-keys/{keyid}/sign-standard", tag = "Data operations",
    request_body = SignStandardRequest,
    responses((status = 200, description = "success", body = SignedStandardBody)),
    extensions(("x-result-codes" = json!([KEY, CHECKS, IN_SERVICE, BODY])))
)]
pub(super) async fn sign_standard(mut call: Call) -> Response {
    let input = call.input(|fields| Ok((fields.text("plaintext")?, padding(fields)?))).await;
    let outcome = call.service().sign_standard(call.request(), key(&call), input).await;
    call.answer(outcome, |made| {
        let pss = made.padding == Padding::Pss;
        SignedStandardBody {
            signature: made.signature,
            algorithm: algorithm(made.padding),
            hash_algorithm: "SHA-256",
            mgf_algorithm: pss.then_some("MGF1-SHA-256"),
            salt_length: pss.then_some(32),
            key_version: made.version.number(),
        }
    })
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct VerifiedBody {
    result: bool,
    #[schema(value_type = texts::KeyVersion)]
    key_version: u32,
}

/// Verify a signature of `sign`.
///
/// With the version that the signature names. A well-formed signature that doesn't match is `result: false`; one that no key of this service can have
/// made is `Invalid User Data`.
#[utoipa::path(
    post, path = "/asymmetric-keys/{keyid}/verify", tag = "Data operations",
    request_body = VerifyRequest,
    responses((status = 200, description = "success", body = VerifiedBody)),
    extensions(("x-result-codes" = json!([KEY, CHECKS, IN_SERVICE, BODY, VERSION, USER_DATA])))
)]
pub(super) async fn verify(mut call: Call) -> Response {
    let input: Result<(SecretText, SecretText), Refusal> = call.input(|fields| Ok((fields.text("plaintext")?, fields.text("signature")?))).await;
    let outcome = call.service().verify(call.request(), key(&call), input).await;
    call.answer(outcome, |seen| VerifiedBody { result: seen.result, key_version: seen.version.number() })
}

/// A key version, as a number that may be out of range: then no key has it.
fn version(number: i64) -> Option<KeyVersion> {
    u32::try_from(number).ok().and_then(KeyVersion::new)
}

/// Verify a signature of `sign-standard`.
///
/// `keyVersion` is required. A well-formed signature that doesn't match is `result: false`; what is no Base64 or not as long as the modulus is
/// `Invalid User Data`.
#[utoipa::path(
    post, path = "/asymmetric-keys/{keyid}/verify-standard", tag = "Data operations",
    request_body = VerifyStandardRequest,
    responses((status = 200, description = "success", body = VerifiedBody)),
    extensions(("x-result-codes" = json!([KEY, CHECKS, IN_SERVICE, BODY, VERSION, USER_DATA])))
)]
pub(super) async fn verify_standard(mut call: Call) -> Response {
    let fields = call.input(|fields| Ok((fields.text("plaintext")?, fields.text("signature")?, padding(fields)?, fields.number("keyVersion")?))).await;
    let input = fields.and_then(|(plaintext, signature, padding, number)| {
        let version = version(number).ok_or(ResultCode::InvalidKeyVersion)?;
        Ok(VerifyStandard { plaintext, signature, padding, version })
    });
    let outcome = call.service().verify_standard(call.request(), key(&call), input).await;
    call.answer(outcome, |seen| VerifiedBody { result: seen.result, key_version: seen.version.number() })
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct PublicKeyBody {
    key_type: &'static str,
    key: String,
    #[schema(value_type = texts::Base64)]
    encoded_key: String,
    #[schema(value_type = texts::Base64)]
    standard_encoded_key: String,
    #[schema(value_type = texts::KeyVersion)]
    key_version: u32,
}

/// Read a public key.
///
/// The one operation on keys that passes no client checks.
#[utoipa::path(
    get, path = "/asymmetric-keys/{keyid}/publicKey", tag = "Data operations",
    params(VersionQuery),
    responses((status = 200, description = "success", body = PublicKeyBody)),
    extensions(("x-result-codes" = json!([KEY, IN_SERVICE, QUERY, VERSION])))
)]
pub(super) async fn public_key(call: Call) -> Response {
    let wanted = call.query("keyVersion").and_then(|text| match text.as_deref() {
        None | Some("") => Ok(None),
        Some(text) => {
            let number: i64 = text.parse().map_err(|_| Invalid::new("keyVersion", "must be a whole number"))?;
            Ok(Some(version(number).ok_or(ResultCode::InvalidKeyVersion)?))
        }
    });
    let outcome = call.service().public_key(call.request(), key(&call), wanted).await;
    call.answer(outcome, |found| PublicKeyBody {
        key_type: "PublicKey",
        key: hex_bytes(&found.spki),
        encoded_key: STANDARD.encode(&found.spki),
        standard_encoded_key: STANDARD.encode(&found.spki),
        key_version: found.version.number(),
    })
}
