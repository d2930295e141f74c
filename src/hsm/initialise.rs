//! A new token in a free slot, for `skm init`.

use std::path::Path;

use cryptoki::context::Pkcs11;
use cryptoki::session::UserType;
use cryptoki::types::AuthPin;

use super::connection;
use super::errors::{Fault, HsmError};
use super::profile::Profile;
use super::room::exit_process;
use super::start_watch::{self, START_LIMIT};
use crate::domain::secret::SecretBytes;

/// The most bytes of a label (PKCS#11 pads it to 32).
const LABEL_BYTES_MAX: usize = 32;

/// Initialises a token of the profile's kind in a free slot, with that label, the security officer's PIN and the user's PIN
/// (both UTF-8), and answers its serial number. A token that has the label already is [`HsmError::Setup`], unless its user PIN
/// was never set: that one is what an earlier try left behind, and is finished with the same security officer's PIN. Blocking; not
/// while the process has a [`super::Token`] of the same module open. Ends the process with [`super::HAND_OFF_EXIT_CODE`] if the
/// module doesn't come back.
pub fn initialise_token(profile: &Path, module: Option<&Path>, label: &str, so_pin: &SecretBytes, pin: &SecretBytes) -> Result<String, HsmError> {
    let profile = Profile::load(profile)?;
    if label.is_empty() || label.len() > LABEL_BYTES_MAX {
        return Err(HsmError::Setup(format!("the token's label must have 1 to {LABEL_BYTES_MAX} bytes")));
    }
    let (so_pin, pin) = (auth_pin(so_pin)?, auth_pin(pin)?);
    start_watch::guarded(START_LIMIT, "initialising the token", &exit_process(), || initialise(&profile, module, label, &so_pin, &pin))
}

fn initialise(profile: &Profile, module: Option<&Path>, label: &str, so_pin: &AuthPin, pin: &AuthPin) -> Result<String, HsmError> {
    let module = connection::load_module(profile, module)?;
    connection::initialize(&module).map_err(|fault| HsmError::Setup(format!("the PKCS#11 module does not initialize: {}", fault.return_value())))?;
    let serial = initialise_slot(&module, label, so_pin, pin);
    connection::finalize(&module);
    serial
}

fn initialise_slot(module: &Pkcs11, label: &str, so_pin: &AuthPin, pin: &AuthPin) -> Result<String, HsmError> {
    let failed = |error| HsmError::from(connection::ConnectError::from(Fault::from(error)));
    let slots = module.get_slots_with_token().map_err(failed)?;
    let tokens: Vec<_> = slots.into_iter().filter_map(|slot| Some((slot, module.get_token_info(slot).ok()?))).collect();
    let labelled = tokens.iter().find(|(_, info)| info.token_initialized() && info.label() == label);
    match labelled {
        Some((_, info)) if info.user_pin_initialized() => return Err(HsmError::Setup(format!("there is a token {label} already"))),
        Some(_) => tracing::warn!(label, "the token was left without a user PIN by an earlier try; it is finished"),
        None => {
            let free = tokens.into_iter().find(|(_, info)| !info.token_initialized()).map(|(slot, _)| slot);
            let slot = free.ok_or_else(|| HsmError::Setup("there is no slot with a token that is not initialised yet".to_owned()))?;
            module.init_token(slot, so_pin, label).map_err(failed)?;
        }
    }
    // Some modules move a token to another slot when it is initialised.
    let (slot, info) = connection::find_token(module, label, None)?;
    let session = module.open_rw_session(slot).map_err(failed)?;
    session.login(UserType::So, Some(so_pin)).map_err(failed)?;
    session.init_pin(pin).map_err(failed)?;
    session.logout().map_err(failed)?;
    Ok(info.serial_number().to_owned())
}

fn auth_pin(pin: &SecretBytes) -> Result<AuthPin, HsmError> {
    let text = std::str::from_utf8(pin.expose()).map_err(|_| HsmError::Setup("a PIN must be UTF-8".to_owned()))?;
    Ok(AuthPin::from(Box::<str>::from(text)))
}
