//! What proves that the token works: an operation with a key that the service made for that.
//!
//! Sessions and random numbers say nothing: SoftHSM goes on answering them after its directory was taken away. Reading an
//! attribute of a token object, and its token information, touch the disk.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, select};
use cryptoki::object::ObjectHandle;
use parking_lot::Mutex;

use super::cache::{Known, Part};
use super::crew::Post;
use super::desk::Desk;
use super::errors::{Call, Fault};
use super::{crypto, objects};
use crate::domain::clock::{Clock as _, SystemClock, Timestamp};
use crate::domain::ids::ObjectId;

/// How often the canary is run when nothing fails.
pub(super) const INTERVAL: Duration = Duration::from_secs(1);
/// What is encrypted and decrypted.
const BLOCK: &[u8; 16] = b"skm canary block";
const AAD: &[u8] = b"skm canary";

#[derive(Debug, Default)]
pub(super) struct Canary {
    key: Mutex<Option<ObjectId>>,
    /// Microseconds since the epoch of the last success; 0 for none.
    last_success: AtomicI64,
}

impl Canary {
    pub(super) fn key(&self) -> Option<ObjectId> {
        *self.key.lock()
    }

    pub(super) fn set_key(&self, key: ObjectId) {
        *self.key.lock() = Some(key);
    }

    pub(super) fn succeeded(&self) {
        self.last_success.store(SystemClock.now().micros(), Ordering::Release);
    }

    pub(super) fn last_success(&self) -> Option<Timestamp> {
        let micros = self.last_success.load(Ordering::Acquire);
        (micros != 0).then(|| Timestamp::from_micros(micros))
    }
}

/// Proves the token with the desk's own session, which is replaced if that is what is broken. Costs one attribute and one
/// decryption, or one `C_GetTokenInfo` where the canary's key is not known yet; never a search.
pub(super) fn prove(desk: &mut Desk) -> Call<()> {
    if prove_once(desk).is_err() {
        desk.discard_session();
        prove_once(desk)?;
    }
    desk.room.canary.succeeded();
    Ok(())
}

fn prove_once(desk: &mut Desk) -> Call<()> {
    let Some(id) = desk.room.canary.key() else { return desk.connection.ask_token() };
    match desk.room.cache.known(id, Part::Secret) {
        Known::Handle(handle) if handle.generation == desk.connection.generation => sing(desk, id, handle.raw),
        _ => desk.connection.ask_token(),
    }
}

/// Reads an attribute of the canary's key, and decrypts what it encrypted once: bad ciphertexts come this way by the thousand,
/// and encryptions of a key are limited (NIST SP 800-38D, 8.3).
fn sing(desk: &mut Desk, id: ObjectId, key: ObjectHandle) -> Call<()> {
    let sample = desk.sample.take().filter(|(of, _)| *of == id);
    let tools = desk.tools()?;
    if !objects::is_there(tools.session, id, key)? {
        return Err(Fault::said("C_GetAttributeValue", format!("the canary key {id} is gone")));
    }
    let sealed = match sample {
        Some((_, sealed)) => sealed,
        None => crypto::encrypt(tools.session, tools.ivs.next(tools.session)?, key, AAD, BLOCK)?,
    };
    let opened = crypto::decrypt(tools.session, key, AAD, &sealed)?;
    if opened.expose() != BLOCK {
        return Err(Fault::said("C_Decrypt", "another block than was encrypted"));
    }
    desk.sample = Some((id, sealed));
    Ok(())
}

/// Looks the canary's key up where it is not known, and proves the token with it.
pub(super) fn prove_fully(desk: &mut Desk) -> Call<()> {
    if let Some(id) = desk.room.canary.key()
        && !matches!(desk.room.cache.known(id, Part::Secret), Known::Handle(_))
    {
        super::lookup::search(desk, id, desk.room.slow_deadline()).map_err(|error| Fault::said("C_FindObjects", error.to_string()))?;
        if !matches!(desk.room.cache.known(id, Part::Secret), Known::Handle(_)) {
            return Err(Fault::said("C_FindObjects", format!("the canary key {id} is not in the token")));
        }
    }
    desk.connection.ask_token()?;
    // Encrypt anew.
    desk.sample = None;
    prove(desk)
}

/// Runs the canary until `stop` closes: each [`INTERVAL`], and whenever `kick` says so.
pub(super) fn watch(desk: &mut Desk, post: &Post, kick: &Receiver<()>, stop: &Receiver<()>) {
    loop {
        post.begin();
        let proved = prove_fully(desk);
        post.end();
        if let Err(fault) = proved {
            desk.discard_session();
            desk.room.trip(&format!("the canary failed: {}", fault.describe()));
        }
        select! {
            recv(stop) -> _ => return,
            recv(kick) -> _ => {},
            default(INTERVAL) => {},
        }
    }
}
