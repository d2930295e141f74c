//! The data operations.

use std::net::IpAddr;

use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use super::answer::{hex_bytes, local_time};
use super::body::Fields;
use super::call::Call;
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

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ConfirmBody {
    client_ip: IpAddr,
    client_mac_header: Option<String>,
    client_sent_certificate: bool,
}

/// `GET /confirm`.
pub(super) async fn confirm(call: Call) -> Response {
    let outcome = call.service().confirm(call.request()).await;
    call.answer(outcome, |seen| ConfirmBody { client_ip: seen.address, client_mac_header: seen.mac, client_sent_certificate: seen.certificate })
}

#[derive(Serialize)]
struct SecretBody<'a> {
    secret: &'a str,
}

/// `GET /secrets/{keyid}`.
pub(super) async fn read_secret(call: Call) -> Response {
    match call.service().read_secret(call.request(), key(&call)).await {
        Ok(secret) => super::answer::success(SecretBody { secret: secret.expose() }),
        Err(refusal) => call.refuse(&refusal),
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ChangedSecretBody<'a> {
    key_id: String,
    name: &'a str,
    description: &'a str,
    secret_value: &'a str,
    creation_user: &'a str,
    creation_datetime: String,
    last_change_user: &'a str,
    last_change_datetime: String,
}

/// `PUT /secrets/{keyid}`.
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

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct EncryptedBody {
    ciphertext: String,
    key_version: u32,
}

/// `POST /symmetric-keys/{keyid}/encrypt`.
pub(super) async fn encrypt(mut call: Call) -> Response {
    let input = call.input(|fields| fields.text("plaintext")).await;
    let outcome = call.service().encrypt(call.request(), key(&call), input).await;
    call.answer(outcome, |made| EncryptedBody { ciphertext: made.ciphertext, key_version: made.version.number() })
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DecryptedBody<'a> {
    plaintext: &'a str,
    key_version: u32,
}

/// `POST /symmetric-keys/{keyid}/decrypt`.
pub(super) async fn decrypt(mut call: Call) -> Response {
    let input = call.input(|fields| fields.text("ciphertext")).await;
    match call.service().decrypt(call.request(), key(&call), input).await {
        Ok(opened) => super::answer::success(DecryptedBody { plaintext: opened.plaintext.expose(), key_version: opened.version.number() }),
        Err(refusal) => call.refuse(&refusal),
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LocalKeyBody<'a> {
    local_key_plaintext: &'a str,
    local_key_ciphertext: &'a str,
    key_version: u32,
}

/// `POST /symmetric-keys/{keyid}/create-local-key`.
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

/// `GET /symmetric-keys/{keyid}/symmetric-key`.
pub(super) async fn export_symmetric_key(call: Call) -> Response {
    let refusal = call.service().export_symmetric_key(call.request(), key(&call)).await;
    call.refuse(&refusal)
}

/// `GET /asymmetric-keys/{keyid}/privateKey`.
pub(super) async fn export_private_key(call: Call) -> Response {
    let refusal = call.service().export_private_key(call.request(), key(&call)).await;
    call.refuse(&refusal)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SignedBody {
    signature: String,
    key_version: u32,
}

/// `POST /asymmetric-keys/{keyid}/sign`.
pub(super) async fn sign(mut call: Call) -> Response {
    let input = call.input(|fields| fields.text("plaintext")).await;
    let outcome = call.service().sign(call.request(), key(&call), input).await;
    call.answer(outcome, |made| SignedBody { signature: made.signature, key_version: made.version.number() })
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SignedStandardBody {
    signature: String,
    algorithm: &'static str,
    hash_algorithm: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    mgf_algorithm: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    salt_length: Option<u32>,
    key_version: u32,
}

/// `POST /asymmetric-keys/{keyid}/sign-standard`.
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

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct VerifiedBody {
    result: bool,
    key_version: u32,
}

/// `POST /asymmetric-keys/{keyid}/verify`.
pub(super) async fn verify(mut call: Call) -> Response {
    let input: Result<(SecretText, SecretText), Refusal> = call.input(|fields| Ok((fields.text("plaintext")?, fields.text("signature")?))).await;
    let outcome = call.service().verify(call.request(), key(&call), input).await;
    call.answer(outcome, |seen| VerifiedBody { result: seen.result, key_version: seen.version.number() })
}

/// A key version, as a number that may be out of range: then no key has it.
fn version(number: i64) -> Option<KeyVersion> {
    u32::try_from(number).ok().and_then(KeyVersion::new)
}

/// `POST /asymmetric-keys/{keyid}/verify-standard`.
pub(super) async fn verify_standard(mut call: Call) -> Response {
    let fields = call.input(|fields| Ok((fields.text("plaintext")?, fields.text("signature")?, padding(fields)?, fields.number("keyVersion")?))).await;
    let input = fields.and_then(|(plaintext, signature, padding, number)| {
        let version = version(number).ok_or(ResultCode::InvalidKeyVersion)?;
        Ok(VerifyStandard { plaintext, signature, padding, version })
    });
    let outcome = call.service().verify_standard(call.request(), key(&call), input).await;
    call.answer(outcome, |seen| VerifiedBody { result: seen.result, key_version: seen.version.number() })
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PublicKeyBody {
    key_type: &'static str,
    key: String,
    encoded_key: String,
    standard_encoded_key: String,
    key_version: u32,
}

/// `GET /asymmetric-keys/{keyid}/publicKey?keyVersion=`.
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
