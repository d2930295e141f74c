//! Keys that come wrapped: unwrapped inside the token, so that nobody on the way has their value.

use cryptoki::error::RvError;
use cryptoki::mechanism::rsa::{PkcsMgfType, PkcsOaepParams, PkcsOaepSource};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;

use super::cache::Part;
use super::crypto;
use super::desk::Tools;
use super::errors::{Call, Fault, HsmError, Remedy};
use super::object_lock::ObjectGuard;
use super::objects::{self, Made};
use super::profile::{LengthTold, OaepHash, Profile};
use super::templates::{self, AES_256_BYTES, Provenance};
use super::{NewObject, ObjectKind};

const OAEP: &str = "CKM_RSA_PKCS_OAEP";
const HMAC: &str = "CKM_SHA256_HMAC";
/// What the trials with a key are made over.
const TRIAL: &[u8; 16] = b"skm import trial";

/// RSAES-OAEP (RFC 8017, 7.1) with one hash for label and mask, and an empty label.
fn oaep(hash: OaepHash) -> Mechanism<'static> {
    let (hash, mask) = match hash {
        OaepHash::Sha1 => (MechanismType::SHA1, PkcsMgfType::MGF1_SHA1),
        OaepHash::Sha256 => (MechanismType::SHA256, PkcsMgfType::MGF1_SHA256),
    };
    Mechanism::RsaPkcsOaep(PkcsOaepParams::new(hash, mask, PkcsOaepSource::empty()))
}

/// What came unwrapped is no AES-256 key.
fn wrong_length() -> HsmError {
    HsmError::Rejected { function: "C_UnwrapKey", return_value: "a key that is not 32 bytes long".to_owned() }
}

/// Unwraps an AES-256 key and checks what the token made of it; of anything else nothing is left behind.
pub(super) fn unwrap(
    _lock: &ObjectGuard<'_>,
    tools: &mut Tools<'_>,
    profile: &Profile,
    object: &NewObject,
    pair: ObjectHandle,
    wrapped: &[u8],
) -> Call<Result<Made, HsmError>> {
    let mechanism = oaep(profile.import.oaep_hash);
    let weighed = profile.import.length == LengthTold::HmacMinimum;
    if weighed && !is_long_enough(tools.session, profile, &mechanism, pair, wrapped)? {
        return Ok(Err(wrong_length()));
    }
    let unwrapped = tools.session.unwrap_key(&mechanism, pair, wrapped, &templates::unwrapped_aes_256(object, profile));
    let key = match unwrapped.map_err(|error| Fault::from(error).with_mechanism(OAEP)) {
        Ok(key) => key,
        Err(fault) if fault.value() == Some(RvError::KeySizeRange) => return Ok(Err(wrong_length())),
        // It was unwrapped a moment ago: what fails now is not the caller's fault, whatever the canary says (no room for an object).
        Err(fault) if weighed && fault.remedy() == Remedy::Diagnose => return Ok(Err(fault.failed())),
        Err(fault) => return Err(fault),
    };
    let parts = [(Part::Secret, key)];
    let inspected = inspect(tools, profile, key).and_then(|right| match right {
        Ok(()) => objects::inspect(tools.session, ObjectKind::Aes256, &parts, Provenance::Imported),
        Err(wrong) => Ok(Err(wrong)),
    });
    objects::keep_if_right(tools.session, &parts, inspected)
}

/// Whether what was unwrapped is an AES key of 32 bytes.
fn inspect(tools: &mut Tools<'_>, profile: &Profile, key: ObjectHandle) -> Call<Result<(), HsmError>> {
    let read = tools.session.get_attributes(key, &[AttributeType::Class, AttributeType::KeyType, AttributeType::ValueLen])?;
    let asked = [("CKA_CLASS", Attribute::Class(ObjectClass::SECRET_KEY)), ("CKA_KEY_TYPE", Attribute::KeyType(KeyType::AES))];
    if let Some((attribute, _)) = asked.into_iter().find(|(_, attribute)| !read.contains(attribute)) {
        return Ok(Err(HsmError::Dishonest { attribute }));
    }
    match profile.import.length {
        LengthTold::Attribute => Ok(told_length(&read)),
        LengthTold::HmacMinimum => try_key(tools, key),
    }
}

fn told_length(read: &[Attribute]) -> Result<(), HsmError> {
    let told = read.iter().find_map(|attribute| if let Attribute::ValueLen(bytes) = attribute { Some(**bytes) } else { None });
    match told {
        Some(bytes) if bytes == AES_256_BYTES as u64 => Ok(()),
        None | Some(0) => Err(HsmError::Dishonest { attribute: "CKA_VALUE_LEN" }),
        Some(_) => Err(wrong_length()),
    }
}

/// Whether the key encrypts: of at least 32 bytes, those of exactly 32 do.
fn try_key(tools: &mut Tools<'_>, key: ObjectHandle) -> Call<Result<(), HsmError>> {
    let iv = tools.ivs.next(tools.session)?;
    match crypto::encrypt(tools.session, iv, key, &[], TRIAL) {
        Ok(_) => Ok(Ok(())),
        // The token offers the mechanism, so it is the key that doesn't fit.
        Err(fault) if matches!(fault.value(), Some(RvError::MechanismInvalid | RvError::KeySizeRange)) => Ok(Err(wrong_length())),
        Err(fault) if fault.remedy() == Remedy::Diagnose => Ok(Err(fault.failed())),
        Err(fault) => Err(fault),
    }
}

/// Whether the key has 32 bytes or more, by an HMAC with it as an object of the session.
fn is_long_enough(session: &Session, profile: &Profile, mechanism: &Mechanism<'_>, pair: ObjectHandle, wrapped: &[u8]) -> Call<bool> {
    let weighed = session.unwrap_key(mechanism, pair, wrapped, &templates::weighed(profile)).map_err(|error| Fault::from(error).with_mechanism(OAEP))?;
    let signed = session.sign(&Mechanism::Sha256Hmac, weighed, TRIAL).map_err(|error| Fault::from(error).with_mechanism(HMAC));
    objects::remove(session, weighed)?;
    match signed {
        Ok(_) => Ok(true),
        Err(fault) if fault.value() == Some(RvError::KeySizeRange) => Ok(false),
        Err(fault) => Err(fault),
    }
}
