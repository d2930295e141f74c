//! A worker's desk: its session, its IVs, and what it does when a call fails.

use std::sync::Arc;

use cryptoki::session::Session;

use super::cache::Handle;
use super::connection::{Access, Connection};
use super::crypto::IvBatch;
use super::errors::{Call, Fault, HsmError, Remedy};
use super::room::Room;
use super::{canary, objects};
use crate::domain::ids::ObjectId;

/// How often a failing call is tried again.
const RETRIES: u32 = 1;

/// Whose fault a failure is that the token names neither way, when the token turns out to be well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Blame {
    /// The caller's: what is decrypted or verified came from outside.
    Caller,
    /// Not the caller's.
    Token,
}

/// What a call works with.
pub(super) struct Tools<'a> {
    pub(super) session: &'a Session,
    pub(super) ivs: &'a mut IvBatch,
}

/// Why an attempt did not succeed.
#[derive(Debug)]
pub(super) enum Setback {
    /// The handle means nothing any more: look the object up and come again.
    Stale,
    Error(HsmError),
}

impl From<HsmError> for Setback {
    fn from(error: HsmError) -> Self {
        Self::Error(error)
    }
}

impl From<Setback> for HsmError {
    /// For those who used no handle that could be stale.
    fn from(setback: Setback) -> Self {
        match setback {
            Setback::Error(error) => error,
            Setback::Stale => Self::Unavailable { reason: "its objects are changing".to_owned() },
        }
    }
}

/// One thread's place at the token.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) room: Arc<Room>,
    pub(super) connection: Arc<Connection>,
    access: Access,
    session: Option<Session>,
    ivs: IvBatch,
    /// What the canary's key encrypted once at this desk, to be decrypted as proof.
    pub(super) sample: Option<(ObjectId, Vec<u8>)>,
}

impl Desk {
    pub(super) fn new(room: Arc<Room>, connection: Arc<Connection>, access: Access) -> Self {
        Self { room, connection, access, session: None, ivs: IvBatch::default(), sample: None }
    }

    /// The session, opened if there is none, and the IVs.
    pub(super) fn tools(&mut self) -> Call<Tools<'_>> {
        let session = match self.session.take() {
            Some(session) => session,
            None => self.connection.open_session(self.access)?,
        };
        Ok(Tools { session: self.session.insert(session), ivs: &mut self.ivs })
    }

    /// Closes the session; the next call opens another.
    pub(super) fn discard_session(&mut self) {
        self.session = None;
    }

    /// Makes a call that uses a key.
    pub(super) fn use_key<T>(&mut self, key: (ObjectId, Handle), blame: Blame, call: impl Fn(&mut Tools<'_>) -> Call<T>) -> Result<T, Setback> {
        if key.1.generation == self.connection.generation { self.attempt(Some(key), blame, call) } else { Err(Setback::Stale) }
    }

    /// Makes a call that uses no key.
    pub(super) fn call<T>(&mut self, call: impl Fn(&mut Tools<'_>) -> Call<T>) -> Result<T, HsmError> {
        Ok(self.attempt(None, Blame::Token, call)?)
    }

    fn attempt<T>(&mut self, key: Option<(ObjectId, Handle)>, blame: Blame, call: impl Fn(&mut Tools<'_>) -> Call<T>) -> Result<T, Setback> {
        let mut retries = RETRIES;
        loop {
            let fault = match self.tools().and_then(|mut tools| call(&mut tools)) {
                Ok(answer) => return Ok(answer),
                Err(fault) => fault,
            };
            match fault.remedy() {
                Remedy::BlameCaller if blame == Blame::Caller || key.is_some() => return Err(fault.rejected().into()),
                Remedy::LookUp if key.is_some() => return Err(Setback::Stale),
                Remedy::TryAgain if retries > 0 => {}
                Remedy::NewSession if retries > 0 => self.discard_session(),
                Remedy::NewConnection => return Err(self.lose_connection(&fault, None).into()),
                Remedy::GiveUp | Remedy::BlameCaller => {
                    self.discard_session();
                    return Err(fault.failed().into());
                }
                Remedy::Diagnose | Remedy::LookUp | Remedy::TryAgain | Remedy::NewSession => return Err(self.diagnose(&fault, key, blame)),
            }
            retries = retries.saturating_sub(1);
        }
    }

    /// Tells what a return value means that could mean anything. Bad ciphertexts come this way (`CKR_GENERAL_ERROR` on
    /// SoftHSM 2.6.1), so it is cheap, and it rebuilds nothing unless the canary fails as well.
    fn diagnose(&mut self, fault: &Fault, key: Option<(ObjectId, Handle)>, blame: Blame) -> Setback {
        let there = key.is_none_or(|(id, handle)| self.tools().and_then(|tools| objects::is_there(tools.session, id, handle.raw)).unwrap_or(false));
        if let Err(also) = canary::prove(self) {
            return self.lose_connection(fault, Some(&also)).into();
        }
        match (there, blame) {
            (false, _) => Setback::Stale,
            (true, Blame::Caller) => fault.rejected().into(),
            (true, Blame::Token) => {
                self.discard_session();
                fault.failed().into()
            }
        }
    }

    /// Has the connection rebuilt.
    fn lose_connection(&mut self, fault: &Fault, canary: Option<&Fault>) -> HsmError {
        self.discard_session();
        let reason = match canary {
            None => fault.describe(),
            Some(also) => format!("{}, and the canary failed: {}", fault.describe(), also.describe()),
        };
        self.room.trip(&reason);
        HsmError::Unavailable { reason }
    }

    /// Makes sure that the token is there before an answer by a search is believed: SoftHSM without its directory finds
    /// nothing, and says so without an error.
    pub(super) fn believe(&mut self, answer: &str) -> Result<(), HsmError> {
        canary::prove(self).map_err(|fault| {
            let reason = format!("{answer} can't be believed, the canary failed: {}", fault.describe());
            self.discard_session();
            self.room.trip(&reason);
            HsmError::Unavailable { reason }
        })
    }
}
