//! From the configuration to what each room wants to be told.

use std::path::{Path, PathBuf};

use crate::config::{self, Config, DatabaseUrl};
use crate::courier::{self, Courier, MailSettings, WebhookSettings};
use crate::hsm::{Profile, TokenSettings};
use crate::store::{DatabaseSettings, StoreSettings};
use crate::{cli, telemetry};

use super::exit::{Exit, Failure};

/// Where the configuration file is looked for, in order, when none is named.
const PLACES: [&str; 2] = ["skm.toml", "/etc/skm/skm.toml"];

/// Where `hsm-config` may be, after the configuration file's own directory and the working directory.
const PROFILE_PLACES: [&str; 2] = ["/etc/skm", "/usr/share/skm"];

/// The configuration file: the one that was named, else the first of the usual places that exists.
pub fn file(named: Option<&Path>) -> Result<PathBuf, Failure> {
    if let Some(named) = named {
        return Ok(named.to_owned());
    }
    PLACES
        .iter()
        .map(PathBuf::from)
        .find(|place| place.exists())
        .ok_or_else(|| Failure::new(Exit::Configuration, format!("no configuration file: {} don't exist; name one with --config", PLACES.join(" and "))))
}

/// Loads the configuration and sees to the environment that it asks for (see [`cli::process::with_environment`]). Weak settings are
/// refused unless `dev`.
pub fn load(named: Option<&Path>, dev: bool) -> Result<Config, Failure> {
    let file = file(named)?;
    let config = Config::load(&file).map_err(|problems| Failure::of_lines(Exit::Configuration, problems.iter().map(ToString::to_string).collect()))?;
    cli::process::with_environment(&config.token.environment)?;
    let weaknesses = config.weaknesses();
    if !dev && !weaknesses.is_empty() {
        return Err(Failure::of_lines(Exit::Configuration, weaknesses.iter().map(|weakness| format!("{}: {weakness}", file.display())).collect()));
    }
    Ok(config)
}

/// Where `hsm-config` is looked for, in order.
pub fn profile_directories(file: &Path) -> Vec<PathBuf> {
    let beside = file.parent().map(Path::to_owned).unwrap_or_default();
    [beside, PathBuf::from(".")].into_iter().chain(PROFILE_PLACES.iter().map(PathBuf::from)).collect()
}

/// How to reach the token. `file` is the configuration file, beside which profiles may be.
pub fn token_settings(config: &Config, file: &Path) -> Result<TokenSettings, Failure> {
    let token = &config.token;
    let profile = token.profile.locate(&profile_directories(file)).map_err(|places| {
        let places = places.iter().map(|place| place.display().to_string()).collect::<Vec<_>>().join(", ");
        Failure::new(Exit::Configuration, format!("[token] profile: none of {places} exists"))
    })?;
    Ok(TokenSettings {
        profile,
        module: token.module.clone(),
        label: token.label.clone(),
        serial: token.serial.clone(),
        fast_workers: token.fast_workers,
        slow_workers: token.slow_workers,
        queue_limit: token.queue,
        fast_deadline: token.fast_deadline,
        slow_deadline: token.slow_deadline,
    })
}

/// Whether the token's profile can be used by this version, and its module is there; before anybody is asked for a PIN.
pub fn check_profile(settings: &TokenSettings) -> Result<(), Failure> {
    let wrong = |line: String| Failure::new(Exit::Configuration, line);
    let profile = Profile::load(&settings.profile).map_err(|error| wrong(format!("[token] profile: {error}")))?;
    let refusals = profile.refusals();
    if !refusals.is_empty() {
        let lines = refusals.iter().map(|refusal| format!("[token] profile: {} can't be used yet: {refusal}", profile.name)).collect();
        return Err(Failure::of_lines(Exit::Configuration, lines));
    }
    match &settings.module {
        Some(module) if !module.exists() => Err(wrong(format!("[token] module: there is no {}", module.display()))),
        _ => Ok(()),
    }
}

/// How to reach the database; reads the password's file where there is one.
pub fn store_settings(config: &Config) -> Result<StoreSettings, Failure> {
    let url = config.database.complete_url().map_err(|error| Failure::new(Exit::Configuration, format!("[database] password_file: {error}")))?;
    Ok(StoreSettings {
        database: match url {
            DatabaseUrl::Sqlite(path) => DatabaseSettings::Sqlite { path },
            DatabaseUrl::Postgresql(url) => DatabaseSettings::Postgresql { url },
        },
        node: config.server.node_name(),
        read_connections: config.database.read_connections,
        queue_limit: config.database.queue,
        deadline: config.database.deadline,
    })
}

/// What brings mail and webhooks; reads the password and the authorities that are named. Blocking.
pub fn courier(config: &Config) -> Result<Courier, Failure> {
    let wrong = |line: String| Failure::new(Exit::Configuration, line);
    let mail = &config.mail;
    let password = mail.password.as_ref().map(config::PasswordSource::read).transpose().map_err(|error| wrong(error.to_string()))?;
    let settings = mail.server.as_ref().zip(mail.sender.as_ref()).map(|(server, sender)| MailSettings {
        server: server.as_str().to_owned(),
        port: u16::try_from(mail.port).unwrap_or(u16::MAX),
        security: match mail.security {
            config::MailSecurity::Tls => courier::MailSecurity::Tls,
            config::MailSecurity::StartTls => courier::MailSecurity::StartTls,
            config::MailSecurity::Plain => courier::MailSecurity::Plain,
        },
        sender: sender.as_str().to_owned(),
        credentials: mail.user.clone().zip(password),
        ca: mail.ca.clone(),
    });
    let webhooks = WebhookSettings { ca: config.webhooks.ca.clone(), allowed_networks: config.webhooks.allowed_networks.clone() };
    Courier::new(settings, webhooks).map_err(|error| wrong(error.to_string()))
}

/// Starts the log as configured.
pub fn start_log(log: &config::Log) -> Result<(), Failure> {
    let format = match log.format {
        config::LogFormat::Json => telemetry::LogFormat::Json,
        config::LogFormat::Human => telemetry::LogFormat::Human,
    };
    telemetry::init(format, &log.filter).map_err(|error| Failure::new(Exit::Failed, error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_profile_names_the_places() {
        let directory = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.token.profile = config::ProfileRef::Name("no-such-hsm".to_owned());
        let failure = token_settings(&config, &directory.path().join("skm.toml")).unwrap_err();
        let text = failure.lines().join("\n");
        for place in [directory.path().to_str().unwrap(), "./hsm-config/no-such-hsm.toml", "/etc/skm/hsm-config/", "/usr/share/skm/"] {
            assert!(text.contains(place), "{place} is not in {text}");
        }
    }

    #[test]
    fn settings_reach_the_rooms() {
        let directory = tempfile::tempdir().unwrap();
        let profile = directory.path().join("p.toml");
        let mut config = Config::default();
        config.token.profile = config::ProfileRef::File(profile.clone());
        config.token.queue = 7;
        config.server.node = Some("n1".to_owned());
        assert_eq!(token_settings(&config, &directory.path().join("skm.toml")).map(|s| (s.profile, s.queue_limit)), Ok((profile, 7)));
        assert_eq!(store_settings(&config).map(|settings| settings.node), Ok("n1".to_owned()));
    }
}
