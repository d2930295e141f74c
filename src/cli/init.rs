//! `skm init`: token, database, certificate authority, first administrator.

use std::fs;
use std::path::{Path, PathBuf};

use super::assembly::{self, Assembly};
use super::exit::{Exit, Failure};
use super::lock::DataDirectoryLock;
use super::{configuration, dev, output};
use crate::config::{Config, read_secret_file};
use crate::domain::account::{Role, TokenLife};
use crate::domain::secret::{SecretBytes, SecretText};
use crate::hsm::{initialise_token, token_is_present};
use crate::service::{Operator, Refusal, check_password};
use crate::store::Store;

/// `skm init`
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Make a whole installation to try things with: a SoftHSM2 token, SQLite, demo keys. Reuses what is there
    #[arg(long)]
    dev: bool,
    /// Where that installation is
    #[arg(long, value_name = "DIRECTORY", default_value = ".skm", requires = "dev")]
    directory: PathBuf,
    /// The login name of the first administrator
    #[arg(long, value_name = "LOGIN", default_value = "admin")]
    admin: String,
    /// A file with that account's first password, which must be changed at the first sign-in [default: asked for]
    #[arg(long, value_name = "FILE", conflicts_with = "dev")]
    admin_password_file: Option<PathBuf>,
    /// Initialise a token in a free slot if there is none with the configured label (SoftHSM2)
    #[arg(long, conflicts_with = "dev")]
    initialise_token: bool,
    /// A file with the security officer's PIN, for a token that is to be initialised [default: asked for]
    #[arg(long, value_name = "FILE", conflicts_with = "dev", requires = "initialise_token")]
    so_pin_file: Option<PathBuf>,
    /// Also make a project of that name, with an appkey and an access key of the administrator, both printed once
    #[arg(long, value_name = "NAME", conflicts_with = "dev")]
    project: Option<String>,
}

/// The name in the internal CA's certificate.
pub(super) const CA_NAME: &str = "Secure Key Manager CA";

pub(super) fn run(named: Option<&Path>, arguments: &Arguments) -> Result<(), Failure> {
    if arguments.dev {
        return dev::run(&arguments.directory);
    }
    let file = configuration::file(named)?;
    let config = configuration::load(Some(&file), false)?;
    configuration::start_log(&config.log)?;
    let _lock = DataDirectoryLock::take(&config.server.data_dir).map_err(|error| Failure::new(Exit::Locked, error.to_string()))?;
    refuse_second_time(&config)?;
    configuration::check_profile(&configuration::token_settings(&config, &file)?)?;
    let password = admin_password(arguments)?;
    check_password(&password).map_err(|error| Failure::new(Exit::Configuration, error.to_string()))?;
    make_token_if_missing(&config, &file, arguments)?;
    Store::migrate(&configuration::store_settings(&config)?.database)?;
    let assembly = assembly::assemble(&config, &file)?;
    assembly::runtime()?.block_on(async {
        let made = initialise(&assembly, &config, arguments, password).await;
        assembly.shut_down().await;
        made
    })
}

/// Made last; what is there afterwards must not be initialised again.
const DONE: &str = "initialised";

fn refuse_second_time(config: &Config) -> Result<(), Failure> {
    let done = config.server.data_dir.join(DONE);
    if done.exists() {
        Err(Failure::new(Exit::Failed, format!("{}: this installation is initialised already; `skm serve` starts it", done.display())))
    } else {
        Ok(())
    }
}

fn typed(prompt: &str) -> Result<SecretText, Failure> {
    rpassword::prompt_password(prompt)
        .map(SecretText::new)
        .map_err(|error| Failure::new(Exit::Usage, format!("{}can't ask at the terminal: {error}; there are options that name files", prompt)))
}

pub(super) fn from_file(path: &Path) -> Result<SecretBytes, Failure> {
    read_secret_file(path).map_err(|error| Failure::new(Exit::Configuration, error.to_string()))
}

fn admin_password(arguments: &Arguments) -> Result<SecretText, Failure> {
    match &arguments.admin_password_file {
        Some(path) => from_file(path)?.into_text().map_err(|_| Failure::new(Exit::Configuration, format!("{}: is not UTF-8", path.display()))),
        None => new_password(&format!("First password of {}: ", arguments.admin)),
    }
}

/// A new password, typed twice.
pub(super) fn new_password(prompt: &str) -> Result<SecretText, Failure> {
    let (first, again) = (typed(prompt)?, typed("Once more: ")?);
    if first == again { Ok(first) } else { Err(Failure::new(Exit::Failed, "the two passwords differ")) }
}

/// Only a token that isn't there is initialised, and only when asked to: initialising is not ours to decide on an HSM that
/// others use too.
fn make_token_if_missing(config: &Config, file: &Path, arguments: &Arguments) -> Result<(), Failure> {
    let settings = configuration::token_settings(config, file)?;
    if token_is_present(&settings)? {
        return Ok(());
    }
    if !arguments.initialise_token {
        let told = format!(
            "there is no token with the label {}: initialise it with the HSM's own tools, or have a free slot initialised with --initialise-token",
            settings.label
        );
        return Err(Failure::new(Exit::Configuration, told));
    }
    let so_pin = match &arguments.so_pin_file {
        Some(path) => from_file(path)?,
        None => typed("PIN for the token's security officer (new): ")?.into_bytes(),
    };
    let pin = config.token.pin.read().map_err(|error| Failure::new(Exit::Configuration, error.to_string()))?;
    refuse_weak_pins(&so_pin, &pin)?;
    let serial = initialise_token(&settings.profile, settings.module.as_deref(), &settings.label, &so_pin, &pin)?;
    Ok(output::line(&format!("initialised token {} with serial number {serial}", settings.label))?)
}

/// The least characters of a PIN of a token that is made here.
const PIN_MIN_CHARS: usize = 8;

fn refuse_weak_pins(so_pin: &SecretBytes, pin: &SecretBytes) -> Result<(), Failure> {
    if so_pin.len() < PIN_MIN_CHARS || pin.len() < PIN_MIN_CHARS {
        return Err(Failure::new(Exit::Configuration, format!("both PINs must have {PIN_MIN_CHARS} characters or more")));
    }
    if so_pin == pin {
        return Err(Failure::new(Exit::Configuration, "the security officer's PIN must differ from the user's"));
    }
    Ok(())
}

/// The uid of whoever runs the command.
pub(super) fn operator() -> Operator {
    Operator { uid: rustix::process::getuid().as_raw() }
}

async fn initialise(assembly: &Assembly, config: &Config, arguments: &Arguments, password: SecretText) -> Result<(), Failure> {
    let (service, operator) = (&assembly.service, operator());
    service.initialise(operator.uid, CA_NAME).await?;
    match service.create_administrator(operator, &arguments.admin, password, true).await {
        Ok(()) => output::line(&format!("made the account {}, whose password must be changed at the first sign-in", arguments.admin))?,
        // An earlier run made it and did not come to its end.
        Err(Refusal::Exists { .. }) => output::line(&format!("the account {} is there already, with the password it was made with", arguments.admin))?,
        Err(refusal) => return Err(refusal.into()),
    }
    // Before anything is printed once only: a certificate file that is missing ends it here.
    super::server_certificate::ServerCertificate::new(config, assembly).open().await?;
    if let Some(name) = &arguments.project {
        let appkey = service.create_project_if_missing(operator, name).await?.appkey;
        for role in [Role::Admin, Role::ApiAdmin] {
            match service.grant_role(operator, &arguments.admin, name, role.as_str()).await {
                // It has that role from an earlier run.
                Ok(()) | Err(Refusal::Exists { .. }) => {}
                Err(refusal) => return Err(refusal.into()),
            }
        }
        let access_key = service.create_access_key(operator, &arguments.admin, Ok(TokenLife::MAX)).await?;
        output::line(&format!("project {name}: appkey {}", appkey.as_str()))?;
        output::line(&format!("User Access Key ID {}, Secret Access Key {} (shown only here)", access_key.id, access_key.secret.expose()))?;
    }
    fs::write(config.server.data_dir.join(DONE), "")?;
    output::line(&format!("the CA's certificate is {}", super::server_certificate::ca_file(&config.server.data_dir).display()))?;
    Ok(output::line("keep the audit log's public key apart from the database: `skm audit public-key`")?)
}
