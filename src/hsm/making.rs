//! What a worker does to make, destroy and list objects: under the object lock, and durable before it is answered.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Instant;

use super::cache::Handle;
use super::desk::{Blame, Desk, Setback, Tools};
use super::errors::{Call, HsmError};
use super::object_lock::ObjectGuard;
use super::objects::{self, Made};
use super::{NewObject, ObjectInfo, ObjectKind, unwrapping};
use crate::domain::ids::ObjectId;
use crate::domain::secret::SecretBytes;

const FIND: &str = "C_FindObjects";
const DESTROY: &str = "C_DestroyObject";

/// Makes a key or a pair; answers the DER SPKI of a pair.
pub(super) fn create(desk: &mut Desk, kind: ObjectKind, object: &NewObject, deadline: Instant, function: &'static str) -> Result<Option<Vec<u8>>, HsmError> {
    let profile = Arc::clone(&desk.room.profile);
    Ok(make(desk, object.id, None, deadline, function, |lock, tools| objects::create(lock, tools.session, &profile, kind, object))?)
}

/// Puts an AES-256 key of that value into the token.
pub(super) fn import(desk: &mut Desk, object: &NewObject, value: &SecretBytes, deadline: Instant, function: &'static str) -> Result<(), HsmError> {
    let profile = Arc::clone(&desk.room.profile);
    make(desk, object.id, None, deadline, function, |lock, tools| objects::import(lock, tools.session, &profile, object, value))?;
    Ok(())
}

/// Puts an AES-256 key into the token that comes wrapped by the public half of `pair`.
pub(super) fn unwrap(
    desk: &mut Desk,
    object: &NewObject,
    pair: (ObjectId, Handle),
    wrapped: &[u8],
    deadline: Instant,
    function: &'static str,
) -> Result<(), Setback> {
    let profile = Arc::clone(&desk.room.profile);
    make(desk, object.id, Some(pair), deadline, function, |lock, tools| unwrapping::unwrap(lock, tools, &profile, object, pair.1.raw, wrapped)).map(drop)
}

fn make(
    desk: &mut Desk,
    id: ObjectId,
    with: Option<(ObjectId, Handle)>,
    deadline: Instant,
    function: &'static str,
    call: impl Fn(&ObjectGuard<'_>, &mut Tools<'_>) -> Call<Result<Made, HsmError>>,
) -> Result<Option<Vec<u8>>, Setback> {
    let room = Arc::clone(&desk.room);
    let lock = room.objects.acquire(deadline, function)?;
    if room.cache.has(id) {
        return Err(HsmError::Exists(id).into());
    }
    let tried = Cell::new(false);
    let attempt = |tools: &mut Tools<'_>| {
        // A try that failed may have made it all the same.
        if tried.replace(true) && !objects::find(&lock, tools.session, id)?.is_empty() {
            return Ok(Err(HsmError::Exists(id)));
        }
        call(&lock, tools)
    };
    let made = match with {
        None => desk.call(attempt),
        // What is unwrapped came from outside.
        Some(key) => desk.use_key(key, Blame::Caller, attempt).map_err(HsmError::from),
    };
    tell_others(desk);
    let made = made??;
    // Under the lock, so that a second one with that ID is refused.
    room.cache.learn(desk.connection.generation, id, made.entry);
    drop(lock);
    if let Err(error) = synchronise(desk) {
        // Not durable, so not made.
        if let Err(also) = destroy(desk, id, room.slow_deadline()) {
            tracing::error!(error = %also, object = %id, "an object that could not be synchronised could not be destroyed");
        }
        return Err(error.into());
    }
    Ok(made.public_key)
}

/// Destroys all objects with that ID; answers how many there were.
pub(super) fn destroy(desk: &mut Desk, id: ObjectId, deadline: Instant) -> Result<usize, HsmError> {
    let room = Arc::clone(&desk.room);
    let lock = room.objects.acquire(deadline, DESTROY)?;
    let destroyed = desk.call(|tools| objects::destroy(&lock, tools.session, id));
    room.cache.forget(id);
    tell_others(desk);
    drop(lock);
    let destroyed = destroyed?;
    if destroyed == 0 {
        desk.believe(&format!("that object {id} is absent"))?;
    } else {
        synchronise(desk)?;
    }
    Ok(destroyed)
}

/// Every object of the token. Only the search holds the lock.
pub(super) fn list(desk: &mut Desk, deadline: Instant) -> Result<Vec<ObjectInfo>, HsmError> {
    let room = Arc::clone(&desk.room);
    let lock = room.objects.acquire(deadline, FIND)?;
    let handles = desk.call(|tools| objects::find_all(&lock, tools.session))?;
    drop(lock);
    let mut infos = Vec::with_capacity(handles.len());
    for batch in handles.chunks(objects::READ_BATCH) {
        // Nobody waits for the rest.
        if Instant::now() >= deadline {
            return Err(HsmError::Late { function: "C_GetAttributeValue" });
        }
        infos.extend(desk.call(|tools| objects::read(tools.session, batch))?);
    }
    desk.believe("the list of objects")?;
    Ok(infos)
}

/// Has other processes on the token see what was changed here, and this one what they changed; with the lock held.
fn tell_others(desk: &Desk) {
    if let Some(Err(error)) = desk.room.files.as_ref().map(super::durability::TokenFiles::raise_generation) {
        tracing::warn!(%error, "the token's generation number could not be raised: processes may overlook each other's objects");
    }
}

/// Has what was changed survive a power failure, where the profile says that the token doesn't see to it.
fn synchronise(desk: &Desk) -> Result<(), HsmError> {
    let Some(files) = &desk.room.files else { return Ok(()) };
    files.synchronise().map_err(|error| HsmError::Failed { function: "fsync", return_value: error.to_string(), mechanism: None })
}
