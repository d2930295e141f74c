//! `skm init --dev`: a whole installation to try things with, in one directory. Running it again reuses everything.
//!
//! What a crash leaves: the file `initialising` is there from before the first step until after the last, and then the next run
//! starts over. `dev.env` is written last but one; nobody can have used what it doesn't name yet.

use std::fmt::Write as _;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::{SecureRandom as _, SystemRandom};

use super::assembly::{self, Assembly};
use super::exit::{Exit, Failure};
use super::init::{CA_NAME, operator};
use super::lock::{self, DataDirectoryLock};
use super::server_certificate::{self, ServerCertificate, write_whole};
use super::{configuration, output};
use crate::config::{Config, ProfileRef};
use crate::domain::account::{Role, TokenLife};
use crate::domain::caller::{Caller, MacHeader};
use crate::domain::client_checks::{AuthMode, ChecksPolicy};
use crate::domain::ids::{KeyId, RequestId};
use crate::domain::key::RotationPeriod;
use crate::domain::secret::SecretText;
use crate::domain::text::{Description, Name};
use crate::hsm::{initialise_token, token_is_present};
use crate::service::pki::{certificate_pem, private_key_pem};
use crate::service::{
    Asking, Credentials, KeyStoreRef, Named, NewAccessKey, NewClientRule, NewContent, NewKeyRequest, NewKeyStore, NewRuleValue, Request, Service,
};
use crate::store::Store;

const ADDRESS_STORE: &str = "demo-by-address";
const CERTIFICATE_STORE: &str = "demo-by-certificate";
const ADMIN: &str = "admin";
const PROJECT: &str = "demo";
/// The demo's confidential data.
const SECRET_VALUE: &str = "postgres://demo:not-a-real-password@db.example/demo";

/// The files of an installation.
struct Layout {
    root: PathBuf,
}

impl Layout {
    fn file(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    fn text(&self, name: &str) -> String {
        self.file(name).display().to_string()
    }
}

pub(super) fn run(directory: &Path) -> Result<(), Failure> {
    let layout = Layout { root: std::path::absolute(directory)? };
    // Of the whole directory: another run at the same moment must not start over under this one. The lock goes when the process
    // replaces itself, and this is gone through again.
    let _installation = DataDirectoryLock::take(&layout.root).map_err(|error| Failure::new(Exit::Locked, error.to_string()))?;
    if prepare(&layout)? == Found::Complete {
        output::line(&format!("{} is initialised; it is used as it is", layout.root.display()))?;
        return Ok(());
    }
    let file = layout.file("skm.toml");
    // Replaces the process by itself with SOFTHSM2_CONF set, the first time.
    let config = configuration::load(Some(&file), true)?;
    configuration::start_log(&config.log)?;
    let _lock = DataDirectoryLock::take(&config.server.data_dir).map_err(|error| Failure::new(Exit::Locked, error.to_string()))?;
    make_token(&layout, &config, &file)?;
    Store::migrate(&configuration::store_settings(&config)?.database)?;
    let assembly = assembly::assemble(&config, &file)?;
    let runtime = assembly::runtime()?;
    runtime.block_on(async {
        let made = make_demo(&layout, &config, &assembly).await;
        assembly.shut_down().await;
        made
    })?;
    fs::remove_file(layout.file("initialising"))?;
    Ok(output::line(&format!("made {}: token, database, certificates, administrator, demo keys", layout.root.display()))?)
}

#[derive(PartialEq, Eq)]
enum Found {
    Complete,
    Fresh,
}

/// Sees what is there, and writes PINs and configuration where nothing is.
fn prepare(layout: &Layout) -> Result<Found, Failure> {
    let marker = layout.file("initialising");
    match (marker.exists(), layout.file("dev.env").exists()) {
        (false, true) => return Ok(Found::Complete),
        // The same run, after it replaced itself with the token's environment set; or another that came no further.
        (true, _) if is_prepared(layout) => return Ok(Found::Fresh),
        (true, _) => start_over(layout)?,
        (false, false) if layout.root.join("data").exists() => {
            let told = format!("{} holds data but no dev.env: bring dev.env back, or remove the directory to start over", layout.root.display());
            return Err(Failure::new(Exit::Failed, told));
        }
        (false, false) => {}
    }
    make_directory(&layout.root)?;
    write_whole(&marker, b"", 0o600)?;
    make_directory(&layout.file("tokens"))?;
    let conf = format!("directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\nslots.removable = false\n", layout.text("tokens"));
    write_whole(&layout.file("softhsm2.conf"), conf.as_bytes(), 0o600)?;
    for name in ["pin", "so-pin"] {
        write_whole(&layout.file(name), random_text(24)?.expose().as_bytes(), 0o600)?;
    }
    write_whole(&layout.file("skm.toml"), configuration_text(layout)?.as_bytes(), 0o600)?;
    Ok(Found::Fresh)
}

/// Whether PINs and configuration are there, which is written last, and nothing has been made with them yet.
fn is_prepared(layout: &Layout) -> bool {
    let no_token = fs::read_dir(layout.file("tokens")).is_ok_and(|mut entries| entries.next().is_none());
    layout.file("skm.toml").exists() && !layout.file("data").exists() && no_token
}

fn make_directory(path: &Path) -> Result<(), Failure> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|error| Failure::new(Exit::Failed, format!("{}: {error}", path.display())))
}

/// An earlier run did not finish: nothing of it was ever handed out.
fn start_over(layout: &Layout) -> Result<(), Failure> {
    if let Some(process) = lock::owner(&layout.file("data")) {
        return Err(Failure::new(Exit::Locked, format!("{}: process {process} is using it", layout.text("data"))));
    }
    output::line("an earlier `skm init --dev` did not finish; starting over")?;
    for directory in ["data", "tokens"] {
        match fs::remove_dir_all(layout.file(directory)) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
    }
    Ok(())
}

/// `bytes` random bytes as text.
fn random_text(bytes: usize) -> Result<SecretText, Failure> {
    let mut random = zeroize::Zeroizing::new(vec![0_u8; bytes]);
    SystemRandom::new().fill(&mut random).map_err(|_| Failure::new(Exit::Failed, "the operating system gives no random numbers"))?;
    Ok(SecretText::new(URL_SAFE_NO_PAD.encode(random.as_slice())))
}

fn configuration_text(layout: &Layout) -> Result<String, Failure> {
    let places = configuration::profile_directories(&layout.file("skm.toml"));
    let profile = ProfileRef::Name("softhsm2".to_owned()).locate(&places).map_err(|places| {
        let places = places.iter().map(|place| place.display().to_string()).collect::<Vec<_>>().join(", ");
        Failure::new(Exit::Configuration, format!("the profile softhsm2 is in none of {places}: run this from the source tree"))
    })?;
    let profile = std::path::absolute(profile)?;
    Ok(format!(
        "# Made by `skm init --dev`, to try things with. skm.example.toml explains every key.\n\
         [server]\ndata_dir = \"data\"\nnode = \"dev\"\n\n\
         [api]\nlisten = {api:?}\n\n\
         [console]\nlisten = {console:?}\n\n\
         [operations]\nlisten = {operations:?}\n\n\
         [token]\nprofile = {profile:?}\nlabel = \"skm-dev\"\npin = \"file:pin\"\n\n\
         [token.environment]\nSOFTHSM2_CONF = {conf:?}\n\n\
         [log]\nformat = \"human\"\n",
        api = listen("API", 8443),
        console = listen("CONSOLE", 9443),
        operations = listen("OPERATIONS", 9090),
        profile = profile.display().to_string(),
        conf = layout.text("softhsm2.conf"),
    ))
}

/// Where a listener of the demo is: as the environment says, so that later starts without it find what `dev.env` names.
fn listen(section: &str, port: u16) -> String {
    std::env::var(format!("SKM_{section}__LISTEN")).unwrap_or_else(|_| format!("127.0.0.1:{port}"))
}

fn make_token(layout: &Layout, config: &Config, file: &Path) -> Result<(), Failure> {
    let settings = configuration::token_settings(config, file)?;
    if token_is_present(&settings)? {
        return Ok(());
    }
    let read = |name: &str| crate::config::read_secret_file(&layout.file(name)).map_err(|error| Failure::new(Exit::Configuration, error.to_string()));
    initialise_token(&settings.profile, settings.module.as_deref(), &settings.label, &read("so-pin")?, &read("pin")?)?;
    Ok(())
}

/// What the demo made, for `dev.env`.
struct Demo {
    appkey: String,
    access_key: NewAccessKey,
    secret: KeyId,
    symmetric: KeyId,
    asymmetric: KeyId,
    certificate_symmetric: KeyId,
    password: SecretText,
}

async fn make_demo(layout: &Layout, config: &Config, assembly: &Assembly) -> Result<(), Failure> {
    let (service, operator) = (&assembly.service, operator());
    service.initialise(operator.uid, CA_NAME).await?;
    let password = random_text(15)?;
    service.create_administrator(operator, ADMIN, password.clone(), false).await?;
    let appkey = service.create_project(operator, PROJECT).await?.appkey;
    for role in [Role::Admin, Role::ApiAdmin] {
        service.grant_role(operator, ADMIN, PROJECT, role.as_str()).await?;
    }
    let access_key = service.create_access_key(operator, ADMIN, Ok(TokenLife::MAX)).await?;
    let caller = DemoCaller { service, appkey: appkey.as_str().to_owned(), access_key: &access_key };
    caller.make_key_store(ADDRESS_STORE, true).await?;
    caller.make_key_store(CERTIFICATE_STORE, false).await?;
    caller.register(ADDRESS_STORE, NewRuleValue::Ipv4("127.0.0.1/32".to_owned())).await?;
    caller.register_certificate(layout).await?;
    let demo = Demo {
        secret: caller.make_key(ADDRESS_STORE, "demo-secret", NewContent::Secret(SecretText::new(SECRET_VALUE.to_owned()))).await?,
        symmetric: caller.make_key(ADDRESS_STORE, "demo-symmetric", NewContent::Symmetric(RotationPeriod::NEVER)).await?,
        asymmetric: caller.make_key(ADDRESS_STORE, "demo-asymmetric", NewContent::Asymmetric(RotationPeriod::NEVER)).await?,
        certificate_symmetric: caller.make_key(CERTIFICATE_STORE, "demo-mtls", NewContent::Symmetric(RotationPeriod::NEVER)).await?,
        appkey: appkey.as_str().to_owned(),
        access_key: access_key.clone(),
        password,
    };
    ServerCertificate::new(config, assembly).open().await?;
    write_whole(&layout.file("dev.env"), environment(layout, config, &demo)?.expose().as_bytes(), 0o600).map_err(Failure::from)
}

/// `dev.env`: names that scripts rely on.
fn environment(layout: &Layout, config: &Config, demo: &Demo) -> Result<SecretText, Failure> {
    let mut text = String::from("# Made by `skm init --dev`. Source it: . .skm/dev.env\n");
    let https = |port: u16| format!("https://127.0.0.1:{port}");
    for (name, value) in [
        ("SKM_URL", https(config.api.listen.port())),
        ("SKM_APPKEY", demo.appkey.clone()),
        ("SKM_CA", server_certificate::ca_file(&config.server.data_dir).display().to_string()),
        ("SKM_CLIENT_CERT", layout.text("client.pem")),
        ("SKM_CLIENT_KEY", layout.text("client.key")),
        ("SKM_ACCESS_KEY_ID", demo.access_key.id.to_string()),
        ("SKM_SECRET_ACCESS_KEY", demo.access_key.secret.expose().to_owned()),
        ("SKM_SECRET_ID", demo.secret.to_string()),
        ("SKM_SYMMETRIC_ID", demo.symmetric.to_string()),
        ("SKM_ASYMMETRIC_ID", demo.asymmetric.to_string()),
        ("SKM_MTLS_SYMMETRIC_ID", demo.certificate_symmetric.to_string()),
        ("SKM_CONSOLE_URL", https(config.console.listen.port())),
        ("SKM_ADMIN_URL", format!("http://{}", config.operations.listen)),
        ("SKM_ADMIN_USER", ADMIN.to_owned()),
        ("SKM_ADMIN_PASSWORD", demo.password.expose().to_owned()),
    ] {
        // In single quotes a shell takes everything as it is, except that quote.
        writeln!(text, "export {name}='{}'", value.replace('\'', "'\\''")).map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
    }
    Ok(SecretText::new(text))
}

/// The demo goes the way of every caller: through the use cases, with an access key, audited.
struct DemoCaller<'a> {
    service: &'a Service,
    appkey: String,
    access_key: &'a NewAccessKey,
}

impl DemoCaller<'_> {
    fn request(&self) -> Result<Request, Failure> {
        let mut id = [0; 16];
        SystemRandom::new().fill(&mut id).map_err(|_| Failure::new(Exit::Failed, "the operating system gives no random numbers"))?;
        let caller =
            Caller { address: std::net::Ipv4Addr::LOCALHOST.into(), mac: MacHeader::Absent, certificate: None, user_agent: Some("skm init".to_owned()) };
        let credentials = Credentials::AccessKey { id: self.access_key.id.to_string(), secret: self.access_key.secret.clone() };
        Ok(Request { id: RequestId::from_bytes(id), caller, project: Named::Appkey(self.appkey.clone()), credentials, asking: Asking::Directly })
    }

    async fn make_key_store(&self, name: &str, by_address: bool) -> Result<(), Failure> {
        let checks = ChecksPolicy::new(by_address, false, !by_address, AuthMode::And).map_err(crate::service::Refusal::from)?;
        let input = NewKeyStore { name: demo_name(name)?, description: Description::default(), checks };
        self.service.create_key_store(self.request()?, Ok(input)).await?;
        Ok(())
    }

    async fn make_key(&self, key_store: &str, name: &str, content: NewContent) -> Result<KeyId, Failure> {
        let input =
            NewKeyRequest { key_store: KeyStoreRef::Named(demo_name(key_store)?), name: demo_name(name)?, description: Description::default(), content };
        Ok(self.service.create_key(self.request()?, Ok(input)).await?.id)
    }

    async fn register(&self, key_store: &str, value: NewRuleValue) -> Result<crate::service::RegisteredClientRule, Failure> {
        let input = NewClientRule { key_store: demo_name(key_store)?.into(), value, description: Description::default() };
        Ok(self.service.register_client(self.request()?, Ok(input)).await?)
    }

    async fn register_certificate(&self, layout: &Layout) -> Result<(), Failure> {
        let value = NewRuleValue::Certificate { name: demo_name("demo-client")?, password: random_text(15)?, life_days: 365 };
        let registered = self.register(CERTIFICATE_STORE, value).await?;
        let issued = registered.issued.ok_or_else(|| Failure::new(Exit::Failed, "no client certificate was issued"))?;
        write_whole(&layout.file("client.pem"), certificate_pem(&issued.certificate.der).as_bytes(), 0o644)?;
        Ok(write_whole(&layout.file("client.key"), private_key_pem(&issued.key).expose().as_bytes(), 0o600)?)
    }
}

fn demo_name(name: &str) -> Result<Name, Failure> {
    Name::parse("name", name).map_err(|error| Failure::new(Exit::Failed, error.to_string()))
}
