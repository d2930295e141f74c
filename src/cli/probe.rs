//! `skm hsm probe`: what the service needs of a token, tried: a key of each kind is made, used and destroyed.

use std::future::Future;
use std::time::Instant;

use ring::rand::{SecureRandom as _, SystemRandom};
use ring::signature::{ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256, UnparsedPublicKey};
use sha2::{Digest as _, Sha256};
use x509_parser::prelude::{FromDer as _, SubjectPublicKeyInfo};

use super::exit::{Exit, Failure};
use super::output;
use crate::domain::ids::ObjectId;
use crate::domain::secret::SecretBytes;
use crate::hsm::{HsmError, NewObject, ObjectKind, RsaPadding, Token};

const MESSAGE: &[u8] = b"skm hsm probe";
const AAD: &[u8] = b"of a key that is destroyed at once";
/// `CKA_LABEL` of the keys, in case one stays.
const LABEL: &str = "skm/probe";
const AES_256_BYTES: usize = 32;
const RSA_2048_BYTES: usize = 256;

/// Tries everything; one line each. The first thing that the token doesn't do ends it.
pub(super) async fn probe(token: &Token) -> Result<(), Failure> {
    let health = token.health();
    output::line(&format!("token      {}", health.identity))?;
    output::line(&format!("objects    {} with a cached handle", health.cached_objects))?;
    tell("random", "C_GenerateRandom", random(token)).await?;
    tell("AES-256", "made, encrypted, decrypted", with_key(token, ObjectKind::Aes256, async |id, _| encrypt_and_decrypt(token, id).await)).await?;
    tell(
        "RSA-2048",
        "made, signed and verified raw, PKCS #1 v1.5 and PSS",
        with_key(token, ObjectKind::Rsa2048, async |id, spki| sign_and_verify(token, id, &spki).await),
    )
    .await?;
    tell("EC P-256", "made, signed", with_key(token, ObjectKind::EcP256, async |id, spki| sign_digest(token, id, &spki).await)).await?;
    tell("import", "AES-256 key put in, encrypted, decrypted", import(token)).await?;
    tell("unwrap", "RSA-2048 pair made, what is no wrapped key refused", unwrap(token)).await?;
    Ok(output::line("the token does what the service needs")?)
}

/// What stands in the way.
#[derive(Debug)]
enum Problem {
    Token(HsmError),
    /// The token can't, as its profile says; the service goes without.
    NotOffered(String),
    /// The token answered, and the answer is wrong.
    Wrong(&'static str),
}

impl From<HsmError> for Problem {
    fn from(error: HsmError) -> Self {
        Self::Token(error)
    }
}

async fn tell(name: &str, what: &str, trying: impl Future<Output = Result<(), Problem>>) -> Result<(), Failure> {
    let begun = Instant::now();
    match trying.await {
        Ok(()) => Ok(output::line(&format!("{name:<10} {what}, in {:.1} ms", begun.elapsed().as_secs_f64() * 1000.0))?),
        Err(Problem::NotOffered(reason)) => Ok(output::line(&format!("{name:<10} not offered: {reason}"))?),
        Err(Problem::Token(error)) => Err(Failure::new(Exit::Unavailable, format!("{name}: {error}"))),
        Err(Problem::Wrong(what)) => Err(Failure::new(Exit::Failed, format!("{name}: {what}"))),
    }
}

fn must(is_right: bool, otherwise: &'static str) -> Result<(), Problem> {
    if is_right { Ok(()) } else { Err(Problem::Wrong(otherwise)) }
}

async fn random(token: &Token) -> Result<(), Problem> {
    let (one, other) = (token.random(32).await?, token.random(32).await?);
    must(one.len() == 32 && one != other, "the token gave the same random bytes twice")
}

fn new_object() -> Result<NewObject, Problem> {
    let mut id = [0; 16];
    SystemRandom::new().fill(&mut id).map_err(|_| Problem::Wrong("the operating system gives no random numbers"))?;
    Ok(NewObject { id: ObjectId::from_bytes(id), label: LABEL.to_owned() })
}

/// Makes a key, tries it, and destroys it, whatever came of it. The use is given the DER SPKI of a pair.
async fn with_key(token: &Token, kind: ObjectKind, use_key: impl AsyncFnOnce(ObjectId, Vec<u8>) -> Result<(), Problem>) -> Result<(), Problem> {
    let object = new_object()?;
    let id = object.id;
    let spki = token.create(kind, object).await?;
    let used = use_key(id, spki.unwrap_or_default()).await;
    let destroyed = destroy(token, id).await;
    used.and(destroyed)
}

async fn destroy(token: &Token, id: ObjectId) -> Result<(), Problem> {
    must(token.destroy(id).await? > 0, "the key was gone before it was destroyed")?;
    must(!token.exists(id).await?, "the key is there after it was destroyed")
}

async fn encrypt_and_decrypt(token: &Token, id: ObjectId) -> Result<(), Problem> {
    let sealed = token.encrypt(id, AAD.to_vec(), SecretBytes::new(MESSAGE.to_vec())).await?;
    let opened = token.decrypt(id, AAD.to_vec(), sealed.clone()).await?;
    must(opened.expose() == MESSAGE, "what was decrypted is not what was encrypted")?;
    let forged = token.decrypt(id, b"other".to_vec(), sealed).await;
    must(matches!(forged, Err(HsmError::Rejected { .. })), "additional data is not authenticated")
}

async fn sign_and_verify(token: &Token, id: ObjectId, spki: &[u8]) -> Result<(), Problem> {
    let message = || SecretBytes::new(MESSAGE.to_vec());
    let signature = token.sign_raw(id, message()).await?;
    must(token.verify_raw(id, message(), signature).await?, "a raw signature does not verify")?;
    for (padding, algorithm) in [(RsaPadding::Pkcs1, &RSA_PKCS1_2048_8192_SHA256), (RsaPadding::Pss, &RSA_PSS_2048_8192_SHA256)] {
        let signature = token.sign_message(id, padding, message()).await?;
        must(UnparsedPublicKey::new(algorithm, public_key(spki)?).verify(MESSAGE, &signature).is_ok(), "a signature does not verify outside the token")?;
        must(token.verify_message(id, padding, message(), signature).await?, "a signature does not verify in the token")?;
    }
    Ok(())
}

async fn sign_digest(token: &Token, id: ObjectId, spki: &[u8]) -> Result<(), Problem> {
    let signature = token.sign_digest(id, Sha256::digest(MESSAGE).into()).await?;
    let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, public_key(spki)?);
    must(key.verify(MESSAGE, &signature).is_ok(), "the signature does not verify")
}

/// The key in an SPKI (RFC 5280, 4.1.2.7), as ring wants it.
fn public_key(spki: &[u8]) -> Result<Vec<u8>, Problem> {
    let parsed = SubjectPublicKeyInfo::from_der(spki).map_err(|_| Problem::Wrong("the public key can't be read"))?;
    Ok(parsed.1.subject_public_key.data.into_owned())
}

async fn import(token: &Token) -> Result<(), Problem> {
    let object = new_object()?;
    let id = object.id;
    let value = SecretBytes::new(token.random(AES_256_BYTES).await?);
    match token.import_aes256(object, value).await {
        Err(HsmError::Setup(reason)) => return Err(Problem::NotOffered(reason)),
        imported => imported?,
    }
    let used = encrypt_and_decrypt(token, id).await;
    let destroyed = destroy(token, id).await;
    used.and(destroyed)
}

async fn unwrap(token: &Token) -> Result<(), Problem> {
    if token.import_ways().wrapped.is_none() {
        return Err(Problem::NotOffered("the profile says so".to_owned()));
    }
    // Below every modulus.
    let strange = [vec![0], token.random(RSA_2048_BYTES - 1).await?].concat();
    let object = new_object()?;
    let unwrapped = object.id;
    with_key(token, ObjectKind::Rsa2048Unwrap, async |pair, _| match token.unwrap_aes256(object, pair, strange).await {
        Err(HsmError::Rejected { .. }) => Ok(()),
        Err(error) => Err(error.into()),
        Ok(()) => {
            destroy(token, unwrapped).await?;
            Err(Problem::Wrong("what is no wrapped key was unwrapped"))
        }
    })
    .await
}
