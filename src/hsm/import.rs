//! Key values from outside, at the room's door.

use std::sync::atomic::Ordering;

use super::cache::Part;
use super::desk::Blame;
use super::errors::HsmError;
use super::lanes::LaneKind;
use super::making;
use super::profile::ImportPath;
use super::templates::AES_256_BYTES;
use super::token::{Task, Token};
use super::{ImportWays, NewObject};
use crate::domain::ids::ObjectId;
use crate::domain::secret::SecretBytes;

impl Token {
    /// How key values from outside get into the token.
    pub fn import_ways(&self) -> ImportWays {
        let import = &self.room().profile.import;
        let wrapped = import.path != ImportPath::None && self.room().unwraps.load(Ordering::Acquire);
        ImportWays { plain: import.path == ImportPath::Create, wrapped: wrapped.then_some(import.oaep_hash) }
    }

    /// Puts an AES-256 key into the token that comes wrapped by RSA-OAEP with the public key of `pair` (`ObjectKind::Rsa2048Unwrap`):
    /// unwrapped in the token, by the hash of [`Token::import_ways`]. What can't be unwrapped, or is not 32 bytes long, is
    /// [`HsmError::Rejected`], and nothing is left of it. Slow lane.
    pub async fn unwrap_aes256(&self, object: NewObject, pair: ObjectId, wrapped: Vec<u8>) -> Result<(), HsmError> {
        const FUNCTION: &str = "C_UnwrapKey";
        if self.import_ways().wrapped.is_none() {
            return Err(HsmError::Setup(format!("{} takes no wrapped keys", self.room().profile.name)));
        }
        let deadline = self.room().slow_deadline();
        let task = Task { key: pair, part: Part::Private, blame: Blame::Caller, function: FUNCTION };
        self.with_handle(task, LaneKind::Slow, deadline, move |desk, handle| making::unwrap(desk, &object, (pair, handle), &wrapped, deadline, FUNCTION)).await
    }

    /// Puts a given AES-256 key into the token (32 bytes). Slow lane.
    pub async fn import_aes256(&self, object: NewObject, value: SecretBytes) -> Result<(), HsmError> {
        const FUNCTION: &str = "C_CreateObject";
        if value.len() != AES_256_BYTES {
            return Err(HsmError::Rejected { function: FUNCTION, return_value: "CKR_ATTRIBUTE_VALUE_INVALID".to_owned() });
        }
        if self.room().profile.import.path != ImportPath::Create {
            return Err(HsmError::Setup(format!("{} takes no imported keys in the clear", self.room().profile.name)));
        }
        let deadline = self.room().slow_deadline();
        self.room().run(LaneKind::Slow, deadline, FUNCTION, move |desk| making::import(desk, &object, &value, deadline, FUNCTION)).await
    }
}
