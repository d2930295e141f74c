//! The way to the token: module, slot, the one login.

use std::path::Path;
use std::sync::Arc;

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::MechanismType;
use cryptoki::session::{Session, UserType};
use cryptoki::slot::{Slot, TokenInfo};
use cryptoki::types::RawAuthPin;

use super::errors::{Call, Fault, HsmError};
use super::profile::{ImportPath, Profile};
use crate::domain::secret::SecretBytes;

/// Whether a session may change objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    ReadOnly,
    ReadWrite,
}

/// One life of the connection, from `C_Initialize` to `C_Finalize`.
#[derive(Debug)]
pub(super) struct Connection {
    module: Pkcs11,
    slot: Slot,
    /// Counts connections: a handle of another generation means nothing here.
    pub(super) generation: u64,
    /// The token's label, serial, model and firmware.
    pub(super) identity: String,
    pub(super) serial: String,
    /// Whether the token offers RSA-OAEP.
    pub(super) unwraps: bool,
}

/// Why a connection could not be made.
#[derive(Debug)]
pub(super) enum ConnectError {
    /// The PIN is wrong or can't be used any more: trying again could lock the token.
    Pin(String),
    /// Something that may be otherwise next time.
    Other(HsmError),
}

impl From<Fault> for ConnectError {
    fn from(fault: Fault) -> Self {
        Self::Other(fault.failed())
    }
}

impl From<ConnectError> for HsmError {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::Pin(message) => Self::Setup(message),
            ConnectError::Other(error) => error,
        }
    }
}

/// Loads the module: the one that is given, or the first of the profile's that exists.
pub(super) fn load_module(profile: &Profile, given: Option<&Path>) -> Result<Pkcs11, HsmError> {
    let usual = || profile.modules.iter().map(AsRef::as_ref).find(|path: &&Path| path.exists());
    let path = given.or_else(usual).ok_or_else(|| {
        let places: Vec<_> = profile.modules.iter().map(|path| path.display().to_string()).collect();
        HsmError::Setup(format!("no PKCS#11 module of {} in {}", profile.name, places.join(", ")))
    })?;
    Pkcs11::new(path).map_err(|error| HsmError::Setup(format!("PKCS#11 module {}: {error}", path.display())))
}

pub(super) fn initialize(module: &Pkcs11) -> Call<()> {
    Ok(module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))?)
}

/// Finalizes the module. Every session must be gone: one that is dropped later would close a session of the next life.
pub(super) fn finalize(module: &Pkcs11) {
    if let Err(error) = module.clone().finalize() {
        tracing::warn!(fault = Fault::from(error).describe(), "the module does not finalize");
    }
}

/// Finds the token, logs in once and opens the guard session that keeps the login. The module is initialized.
pub(super) fn connect(
    module: &Pkcs11,
    (label, serial): (&str, Option<&str>),
    profile: &Profile,
    pin: &SecretBytes,
    generation: u64,
) -> Result<(Arc<Connection>, Session), ConnectError> {
    let (slot, info) = find_token(module, label, serial).map_err(ConnectError::Other)?;
    let unwraps = check_mechanisms(module, slot, profile).map_err(ConnectError::Other)?;
    let guard = module.open_rw_session(slot).map_err(Fault::from)?;
    log_in(&guard, &info, pin)?;
    let identity = format!("{} {} {} {}", info.label(), info.serial_number(), info.model(), info.firmware_version());
    let serial = info.serial_number().to_owned();
    Ok((Arc::new(Connection { module: module.clone(), slot, generation, identity, serial, unwraps }), guard))
}

impl Connection {
    pub(super) fn open_session(&self, access: Access) -> Call<Session> {
        Ok(match access {
            Access::ReadOnly => self.module.open_ro_session(self.slot),
            Access::ReadWrite => self.module.open_rw_session(self.slot),
        }?)
    }

    /// Asks for the token's description, which SoftHSM reads from disk, unlike sessions and random numbers.
    pub(super) fn ask_token(&self) -> Call<()> {
        match self.module.get_token_info(self.slot) {
            Err(Error::Pkcs11(value, function)) => Err(Error::Pkcs11(value, function).into()),
            // The binding could not read a field (a clock in another form): the token answered.
            Ok(_) | Err(_) => Ok(()),
        }
    }
}

/// The slot of the token with that label (and serial number). A slot that answers with an error is passed over.
pub(super) fn find_token(module: &Pkcs11, label: &str, serial: Option<&str>) -> Result<(Slot, TokenInfo), HsmError> {
    let slots = module.get_slots_with_token().map_err(|error| Fault::from(error).failed())?;
    let tokens: Vec<_> =
        slots.into_iter().filter_map(|slot| Some((slot, module.get_token_info(slot).ok()?))).filter(|(_, info)| info.token_initialized()).collect();
    let seen: Vec<_> = tokens.iter().map(|(_, info)| format!("{} ({})", info.label(), info.serial_number())).collect();
    let fits = |info: &TokenInfo| info.label() == label && serial.is_none_or(|serial| info.serial_number() == serial);
    let mut matching = tokens.into_iter().filter(|(_, info)| fits(info));
    let wanted = serial.map_or_else(|| label.to_owned(), |serial| format!("{label} ({serial})"));
    match (matching.next(), matching.next()) {
        (Some(found), None) => Ok(found),
        (None, _) => Err(HsmError::Setup(format!("no token {wanted}; there are: {}", if seen.is_empty() { "none".to_owned() } else { seen.join(", ") }))),
        (Some(_), Some(_)) => Err(HsmError::Setup(format!("more than one token {wanted}: name its serial number; there are: {}", seen.join(", ")))),
    }
}

/// Whether the token has what the profile names; answers whether it can unwrap.
fn check_mechanisms(module: &Pkcs11, slot: Slot, profile: &Profile) -> Result<bool, HsmError> {
    let offered = module.get_mechanism_list(slot).map_err(|error| Fault::from(error).failed())?;
    let unwraps = offered.contains(&MechanismType::RSA_PKCS_OAEP);
    let mut missing: Vec<_> =
        profile.mechanisms.all().into_iter().filter(|name| name.kind().is_none_or(|kind| !offered.contains(&kind))).map(|name| name.as_str()).collect();
    if profile.import.path == ImportPath::Unwrap && !unwraps {
        missing.push("CKM_RSA_PKCS_OAEP");
    }
    if missing.is_empty() { Ok(unwraps) } else { Err(HsmError::Setup(format!("the token lacks {}", missing.join(", ")))) }
}

/// One try, never another: tokens lock themselves after few wrong PINs.
fn log_in(session: &Session, info: &TokenInfo, pin: &SecretBytes) -> Result<(), ConnectError> {
    if info.user_pin_locked() {
        return Err(ConnectError::Pin(format!("the PIN of token {} is locked: its security officer must set a new one", info.label())));
    }
    if info.user_pin_final_try() {
        return Err(ConnectError::Pin(format!(
            "token {} will lock its PIN at the next wrong try: log in with another tool first, so that a wrong PIN in the configuration can't lock it",
            info.label()
        )));
    }
    let pin = RawAuthPin::new(Box::new(pin.expose().to_vec()));
    match session.login_with_raw(UserType::User, &pin) {
        Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(()),
        Err(Error::Pkcs11(
            value @ (RvError::PinIncorrect
            | RvError::PinInvalid
            | RvError::PinLenRange
            | RvError::PinExpired
            | RvError::PinLocked
            | RvError::UserPinNotInitialized),
            function,
        )) => {
            let fault = Fault::from(Error::Pkcs11(value, function));
            Err(ConnectError::Pin(format!(
                "token {} does not accept the PIN ({}); it was tried once and will not be tried again",
                info.label(),
                fault.describe()
            )))
        }
        Err(error) => Err(Fault::from(error).into()),
    }
}
