//! One-shot cryptographic calls. Multi-part decryption would release plaintext before the tag is checked.

use std::collections::HashSet;

use cryptoki::error::RvError;
use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::aead::GcmParams;
use cryptoki::object::ObjectHandle;
use cryptoki::session::Session;

use super::errors::{Call, Fault};
use super::mechanisms::{MechanismName, RsaScheme};
use crate::domain::envelope::{IV_BYTES, TAG_BYTES};
use crate::domain::secret::SecretBytes;

/// Bytes of an RSA-2048 modulus and signature.
pub(super) const RSA_BYTES: usize = 256;
/// The most bytes of text that PKCS#1 v1.5 type-1 padding leaves room for (RFC 8017, 9.2).
pub(super) const RAW_TEXT_MAX: usize = RSA_BYTES - 11;
/// Bytes of r and s on P-256.
const ECDSA_BYTES: usize = 64;
const TAG_BITS: u64 = 128;
/// IVs that are taken from the token's RNG at once.
const IV_BATCH: usize = 64;
const GCM: &str = MechanismName::AesGcm.as_str();

/// IVs of one worker: from the token's RNG in batches, each handed out once.
#[derive(Debug, Default)]
pub(super) struct IvBatch(Vec<[u8; IV_BYTES]>);

impl IvBatch {
    /// An IV that was never handed out before.
    pub(super) fn next(&mut self, session: &Session) -> Call<[u8; IV_BYTES]> {
        if let Some(iv) = self.0.pop() {
            return Ok(iv);
        }
        let mut random = [0; IV_BATCH * IV_BYTES];
        session.generate_random_slice(&mut random)?;
        let (batch, _) = random.as_chunks::<IV_BYTES>();
        // By chance once in 2^84 batches; a broken RNG repeats itself, or leaves the buffer as it was.
        if batch.iter().collect::<HashSet<_>>().len() != batch.len() {
            return Err(Fault::said("C_GenerateRandom", "random bytes that repeat themselves"));
        }
        self.0.extend_from_slice(batch);
        self.0.pop().ok_or_else(|| Fault::said("C_GenerateRandom", "no random bytes"))
    }
}

fn gcm<'a>(iv: &'a mut [u8; IV_BYTES], aad: &'a [u8]) -> Call<Mechanism<'a>> {
    // An IV of 12 bytes and a tag of 128 bits by type: tokens were seen to accept an empty IV and a tag of 32 bits.
    Ok(Mechanism::AesGcm(GcmParams::new(iv, aad, TAG_BITS.into())?))
}

/// IV, ciphertext and tag in one.
pub(super) fn encrypt(session: &Session, iv: [u8; IV_BYTES], key: ObjectHandle, aad: &[u8], plaintext: &[u8]) -> Call<Vec<u8>> {
    let mut used = iv;
    let sealed = {
        let mechanism = gcm(&mut used, aad)?;
        session.encrypt(&mechanism, key, plaintext).map_err(|error| Fault::from(error).with_mechanism(GCM))?
    };
    if used != iv {
        return Err(Fault::said("C_Encrypt", "an IV that the token chose itself").with_mechanism(GCM));
    }
    if sealed.len() != plaintext.len() + TAG_BYTES {
        return Err(Fault::said("C_Encrypt", "a tag that is not 16 bytes").with_mechanism(GCM));
    }
    Ok([iv.as_slice(), &sealed].concat())
}

/// Undoes [`encrypt`].
pub(super) fn decrypt(session: &Session, key: ObjectHandle, aad: &[u8], payload: &[u8]) -> Call<SecretBytes> {
    let too_short = || Fault::returned("C_Decrypt", RvError::EncryptedDataLenRange).with_mechanism(GCM);
    let (iv, sealed) = payload.split_first_chunk::<IV_BYTES>().ok_or_else(too_short)?;
    let expected = sealed.len().checked_sub(TAG_BYTES).ok_or_else(too_short)?;
    let mut iv = *iv;
    let mechanism = gcm(&mut iv, aad)?;
    let plaintext = session.decrypt(&mechanism, key, sealed).map_err(|error| Fault::from(error).with_mechanism(GCM))?;
    let plaintext = SecretBytes::new(plaintext);
    if plaintext.len() == expected { Ok(plaintext) } else { Err(Fault::said("C_Decrypt", "a plaintext of another length").with_mechanism(GCM)) }
}

/// `CKM_RSA_PKCS` over the text as it is.
pub(super) fn sign_raw(session: &Session, key: ObjectHandle, text: &[u8]) -> Call<Vec<u8>> {
    if text.len() > RAW_TEXT_MAX {
        return Err(Fault::returned("C_Sign", RvError::DataLenRange).with_mechanism(MechanismName::RsaPkcs.as_str()));
    }
    sign(session, MechanismName::RsaPkcs, &Mechanism::RsaPkcs, key, text)
}

/// Whether [`sign_raw`] made `signature`.
pub(super) fn verify_raw(session: &Session, key: ObjectHandle, text: &[u8], signature: &[u8]) -> Call<bool> {
    if text.len() > RAW_TEXT_MAX {
        return Err(Fault::returned("C_Verify", RvError::DataLenRange).with_mechanism(MechanismName::RsaPkcs.as_str()));
    }
    verify(session, MechanismName::RsaPkcs, &Mechanism::RsaPkcs, key, text, signature)
}

/// An RSA signature with SHA-256 over a message.
pub(super) fn sign_message(session: &Session, scheme: &RsaScheme, key: ObjectHandle, message: &[u8]) -> Call<Vec<u8>> {
    sign(session, scheme.name, &scheme.mechanism, key, &scheme.input(message))
}

/// Whether `signature` is an RSA signature with SHA-256 over a message.
pub(super) fn verify_message(session: &Session, scheme: &RsaScheme, key: ObjectHandle, message: &[u8], signature: &[u8]) -> Call<bool> {
    verify(session, scheme.name, &scheme.mechanism, key, &scheme.input(message), signature)
}

/// ECDSA P-256 over a digest: r and s.
pub(super) fn sign_digest(session: &Session, key: ObjectHandle, digest: &[u8; 32]) -> Call<[u8; ECDSA_BYTES]> {
    let signature = session.sign(&Mechanism::Ecdsa, key, digest).map_err(|error| Fault::from(error).with_mechanism(MechanismName::Ecdsa.as_str()))?;
    signature.try_into().map_err(|_| Fault::said("C_Sign", "a signature that is not 64 bytes").with_mechanism(MechanismName::Ecdsa.as_str()))
}

fn sign(session: &Session, name: MechanismName, mechanism: &Mechanism<'_>, key: ObjectHandle, data: &[u8]) -> Call<Vec<u8>> {
    let signature = session.sign(mechanism, key, data).map_err(|error| Fault::from(error).with_mechanism(name.as_str()))?;
    if signature.len() == RSA_BYTES { Ok(signature) } else { Err(Fault::said("C_Sign", "a signature that is not 256 bytes").with_mechanism(name.as_str())) }
}

fn verify(session: &Session, name: MechanismName, mechanism: &Mechanism<'_>, key: ObjectHandle, data: &[u8], signature: &[u8]) -> Call<bool> {
    if signature.len() != RSA_BYTES {
        return Ok(false);
    }
    match session.verify(mechanism, key, data, signature).map_err(|error| Fault::from(error).with_mechanism(name.as_str())) {
        Ok(()) => Ok(true),
        Err(fault) if matches!(fault.value(), Some(RvError::SignatureInvalid | RvError::SignatureLenRange)) => Ok(false),
        Err(fault) => Err(fault),
    }
}
