//! Whether a token is there, without logging in.

use super::TokenSettings;
use super::connection;
use super::errors::HsmError;
use super::profile::Profile;

/// Whether the module has an initialised token with the label (and serial number) of `settings`. Blocking; not while the process
/// has a [`super::Token`] of the same module open.
pub fn token_is_present(settings: &TokenSettings) -> Result<bool, HsmError> {
    let profile = Profile::load(&settings.profile)?;
    let module = connection::load_module(&profile, settings.module.as_deref())?;
    connection::initialize(&module).map_err(|fault| HsmError::Setup(format!("the PKCS#11 module does not initialize: {}", fault.return_value())))?;
    let found = module.get_slots_with_token().map_err(|error| HsmError::Setup(format!("the PKCS#11 module lists no slots: {error}"))).map(|slots| {
        slots.into_iter().filter_map(|slot| module.get_token_info(slot).ok()).any(|info| {
            let right_serial = settings.serial.as_deref().is_none_or(|serial| info.serial_number() == serial);
            info.token_initialized() && info.label() == settings.label && right_serial
        })
    });
    connection::finalize(&module);
    found
}
