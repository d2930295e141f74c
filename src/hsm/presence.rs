//! Whether a token is there, without logging in.

use super::TokenSettings;
use super::connection;
use super::errors::HsmError;
use super::profile::Profile;
use super::room::exit_process;
use super::start_watch::{self, START_LIMIT};

/// Whether the module has a token with the label (and serial number) of `settings`, ready to log in to: one whose user PIN was
/// never set is not, which [`super::initialise_token`] finishes. Blocking; not while the process has a [`super::Token`] of the
/// same module open. Ends the process with [`super::HAND_OFF_EXIT_CODE`] if the module doesn't come back.
pub fn token_is_present(settings: &TokenSettings) -> Result<bool, HsmError> {
    let profile = Profile::load(&settings.profile)?;
    start_watch::guarded(START_LIMIT, "looking for the token", &exit_process(), || look(settings, &profile))
}

fn look(settings: &TokenSettings, profile: &Profile) -> Result<bool, HsmError> {
    let module = connection::load_module(profile, settings.module.as_deref())?;
    connection::initialize(&module).map_err(|fault| HsmError::Setup(format!("the PKCS#11 module does not initialize: {}", fault.return_value())))?;
    let found = module.get_slots_with_token().map_err(|error| HsmError::Setup(format!("the PKCS#11 module lists no slots: {error}"))).map(|slots| {
        slots.into_iter().filter_map(|slot| module.get_token_info(slot).ok()).any(|info| {
            let right_serial = settings.serial.as_deref().is_none_or(|serial| info.serial_number() == serial);
            info.token_initialized() && info.user_pin_initialized() && info.label() == settings.label && right_serial
        })
    });
    connection::finalize(&module);
    found
}
