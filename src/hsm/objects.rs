//! Creating, finding, reading and destroying objects. Whoever creates, finds or destroys holds the object lock and shows it;
//! reading attributes needs none: a thousand reads must not keep others waiting, or look like a call that hangs.

use std::collections::HashMap;
use std::num::NonZeroUsize;

use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;

use super::cache::{Entry, Part};
use super::errors::{Call, Fault, HsmError, Remedy};
use super::object_lock::ObjectGuard;
use super::profile::Profile;
use super::templates::{self, Provenance};
use super::{NewObject, ObjectInfo, ObjectKind, public_key};
use crate::domain::ids::ObjectId;
use crate::domain::secret::SecretBytes;

/// Handles fetched by one `C_FindObjects`.
const FIND_BATCH: NonZeroUsize = match NonZeroUsize::new(1024) {
    Some(batch) => batch,
    None => NonZeroUsize::MIN,
};

/// A new object: its handles, and the DER SPKI of a pair.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) entry: Entry,
    pub(super) public_key: Option<Vec<u8>>,
}

/// All keys with that ID, each once.
pub(super) fn find(_lock: &ObjectGuard<'_>, session: &Session, id: ObjectId) -> Call<Vec<(Part, ObjectHandle)>> {
    let mut found: Vec<(Part, ObjectHandle)> = Vec::new();
    for handle in search(session, &[Attribute::Token(true), Attribute::Id(id.as_bytes().to_vec())])? {
        if found.iter().any(|(_, known)| *known == handle) {
            continue;
        }
        if let Some(part) = attributes(session, handle, &[AttributeType::Class])?.and_then(|read| class_of(&read)).and_then(Part::of_class) {
            found.push((part, handle));
        }
    }
    Ok(found)
}

/// Objects that are looked at in one piece, between two looks at the clock.
pub(super) const READ_BATCH: usize = 256;

/// Handles of every key of the token, class by class.
pub(super) fn find_keys(_lock: &ObjectGuard<'_>, session: &Session) -> Call<Vec<(Part, ObjectHandle)>> {
    let mut found = Vec::new();
    for part in Part::ALL {
        let handles = search(session, &[Attribute::Token(true), Attribute::Class(part.class())])?;
        found.extend(handles.into_iter().map(|handle| (part, handle)));
    }
    Ok(found)
}

/// Keys by ID; those without an ID of 16 bytes are none of ours. Calls `progress` after each [`READ_BATCH`].
pub(super) fn identify(session: &Session, keys: &[(Part, ObjectHandle)], mut progress: impl FnMut()) -> Call<HashMap<ObjectId, Entry>> {
    let mut entries: HashMap<ObjectId, Entry> = HashMap::new();
    for batch in keys.chunks(READ_BATCH) {
        for (part, handle) in batch {
            if let Some(id) = attributes(session, *handle, &[AttributeType::Id])?.and_then(|read| id_of(&read)) {
                entries.entry(id).or_default().add(*part, *handle);
            }
        }
        progress();
    }
    Ok(entries)
}

/// Handles of every object of the token, each once.
pub(super) fn find_all(_lock: &ObjectGuard<'_>, session: &Session) -> Call<Vec<ObjectHandle>> {
    let mut handles: Vec<ObjectHandle> = search(session, &[Attribute::Token(true)])?;
    handles.sort_by_key(ObjectHandle::handle);
    handles.dedup();
    Ok(handles)
}

/// Those objects, with what tells whether they are protected.
pub(super) fn read(session: &Session, handles: &[ObjectHandle]) -> Call<Vec<ObjectInfo>> {
    const WANTED: [AttributeType; 5] = [AttributeType::Id, AttributeType::Label, AttributeType::Class, AttributeType::Sensitive, AttributeType::Extractable];
    let mut infos = Vec::with_capacity(handles.len());
    for handle in handles {
        if let Some(read) = attributes(session, *handle, &WANTED)? {
            infos.push(describe(&read));
        }
    }
    Ok(infos)
}

fn describe(read: &[Attribute]) -> ObjectInfo {
    let mut info = ObjectInfo { id: id_of(read), label: String::new(), class: String::new(), sensitive: None, extractable: None };
    for attribute in read {
        match attribute {
            Attribute::Label(label) => info.label = String::from_utf8_lossy(label).into_owned(),
            Attribute::Class(class) => info.class = class.to_string(),
            Attribute::Sensitive(sensitive) => info.sensitive = Some(*sensitive),
            Attribute::Extractable(extractable) => info.extractable = Some(*extractable),
            _ => {}
        }
    }
    info
}

/// Whether `handle` still means the object `id`. Reads one attribute, which SoftHSM takes from disk; needs no lock.
pub(super) fn is_there(session: &Session, id: ObjectId, handle: ObjectHandle) -> Call<bool> {
    Ok(attributes(session, handle, &[AttributeType::Id])?.and_then(|read| id_of(&read)) == Some(id))
}

/// Makes an object and checks what the token made of it. If that is not as asked, nothing is left behind.
pub(super) fn create(_lock: &ObjectGuard<'_>, session: &Session, profile: &Profile, kind: ObjectKind, object: &NewObject) -> Call<Result<Made, HsmError>> {
    let parts = generate(session, profile, kind, object)?;
    finish(session, kind, &parts, Provenance::Generated)
}

/// Puts an AES-256 key of that value into the token; otherwise like [`create`].
pub(super) fn import(_lock: &ObjectGuard<'_>, session: &Session, profile: &Profile, object: &NewObject, value: &SecretBytes) -> Call<Result<Made, HsmError>> {
    let mut template = templates::imported_aes_256(object, profile, value.expose());
    let created = session.create_object(&template);
    templates::wipe(&mut template);
    finish(session, ObjectKind::Aes256, &[(Part::Secret, created?)], Provenance::Imported)
}

/// Destroys all keys with that ID; answers how many there were.
pub(super) fn destroy(lock: &ObjectGuard<'_>, session: &Session, id: ObjectId) -> Call<usize> {
    let found = find(lock, session, id)?;
    for (_, handle) in &found {
        remove(session, *handle)?;
    }
    Ok(found.len())
}

fn generate(session: &Session, profile: &Profile, kind: ObjectKind, object: &NewObject) -> Call<Vec<(Part, ObjectHandle)>> {
    let name = match kind {
        ObjectKind::Aes256 => profile.mechanisms.aes_generate,
        ObjectKind::Rsa2048 | ObjectKind::Rsa2048Unwrap => profile.mechanisms.rsa_generate,
        ObjectKind::EcP256 => profile.mechanisms.ec_generate,
    };
    let failed = |error| Fault::from(error).with_mechanism(name.as_str());
    let mechanism = match kind {
        ObjectKind::Aes256 => {
            let key = session.generate_key(&Mechanism::AesKeyGen, &templates::aes_256(object, profile)).map_err(failed)?;
            return Ok(vec![(Part::Secret, key)]);
        }
        ObjectKind::Rsa2048 | ObjectKind::Rsa2048Unwrap => Mechanism::RsaPkcsKeyPairGen,
        ObjectKind::EcP256 => Mechanism::EccKeyPairGen,
    };
    let pair = templates::pair(kind, object, profile);
    let (public, private) = session.generate_key_pair(&mechanism, &pair.public, &pair.private).map_err(failed)?;
    Ok(vec![(Part::Private, private), (Part::Public, public)])
}

/// Checks what was made and reads the public half; on any doubt destroys it.
fn finish(session: &Session, kind: ObjectKind, parts: &[(Part, ObjectHandle)], provenance: Provenance) -> Call<Result<Made, HsmError>> {
    keep_if_right(session, parts, inspect(session, kind, parts, provenance))
}

/// Destroys what was made unless it was found to be right.
pub(super) fn keep_if_right(session: &Session, parts: &[(Part, ObjectHandle)], inspected: Call<Result<Made, HsmError>>) -> Call<Result<Made, HsmError>> {
    if !matches!(inspected, Ok(Ok(_))) {
        for (_, handle) in parts {
            if let Err(fault) = remove(session, *handle) {
                tracing::error!(fault = fault.describe(), "an object that is not as asked could not be destroyed");
            }
        }
    }
    inspected
}

/// Whether what was made is as asked, and the public half of a pair.
pub(super) fn inspect(session: &Session, kind: ObjectKind, parts: &[(Part, ObjectHandle)], provenance: Provenance) -> Call<Result<Made, HsmError>> {
    let mut public_key = None;
    for (part, handle) in parts {
        if *part == Part::Public {
            public_key = Some(public_key::read(session, kind, *handle)?);
        } else if let Err(lie) = templates::check_honesty(&session.get_attributes(*handle, &templates::READ_BACK)?, provenance) {
            return Ok(Err(lie));
        } else if kind == ObjectKind::Rsa2048Unwrap
            && let Err(lie) = templates::check_unwraps_only(&session.get_attributes(*handle, &templates::UNWRAP_READ_BACK)?)
        {
            return Ok(Err(lie));
        }
    }
    Ok(Ok(Made { entry: Entry::of(parts.iter().copied()), public_key }))
}

fn search(session: &Session, template: &[Attribute]) -> Call<Vec<ObjectHandle>> {
    Ok(session.iter_objects_with_cache_size(template, FIND_BATCH)?.collect::<Result<_, _>>()?)
}

/// Attributes of an object, or `None` if another process has destroyed it meanwhile.
fn attributes(session: &Session, handle: ObjectHandle, wanted: &[AttributeType]) -> Call<Option<Vec<Attribute>>> {
    match session.get_attributes(handle, wanted).map_err(Fault::from) {
        Ok(read) => Ok(Some(read)),
        Err(fault) if fault.remedy() == Remedy::LookUp => Ok(None),
        Err(fault) => Err(fault),
    }
}

/// Destroys an object; one that another process has destroyed meanwhile is as good.
pub(super) fn remove(session: &Session, handle: ObjectHandle) -> Call<()> {
    match session.destroy_object(handle).map_err(Fault::from) {
        Err(fault) if fault.remedy() != Remedy::LookUp => Err(fault),
        _ => Ok(()),
    }
}

fn id_of(read: &[Attribute]) -> Option<ObjectId> {
    read.iter().find_map(|attribute| match attribute {
        Attribute::Id(id) => <[u8; 16]>::try_from(id.as_slice()).ok().map(ObjectId::from_bytes),
        _ => None,
    })
}

fn class_of(read: &[Attribute]) -> Option<ObjectClass> {
    read.iter().find_map(|attribute| if let Attribute::Class(class) = attribute { Some(*class) } else { None })
}
