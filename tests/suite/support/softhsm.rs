//! A SoftHSM2 token of its own, on tmpfs.
//!
//! SoftHSM2 finds its configuration by an environment variable, and a process can initialise the module once. So a test that
//! uses a token in its own process runs in a child: [`with_token`] starts the test program again with this one test and
//! the variable set.

use std::any::type_name_of_val;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use skm::domain::secret::SecretBytes;
use skm::hsm::TokenSettings;

/// The environment variable that names SoftHSM2's configuration.
pub(crate) const CONFIGURATION: &str = "SOFTHSM2_CONF";
/// Set in a child: the directory of its token.
const DIRECTORY: &str = "SKM_TEST_TOKEN_DIRECTORY";
const LABEL: &str = "skm";
const SO_PIN: &str = "7418529630";
const PIN: &str = "3692581470";
/// The longest that a test with a token may take.
const TEST_LIMIT: Duration = Duration::from_secs(180);

/// A token in a directory that is removed with it.
#[derive(Debug)]
pub(crate) struct SoftHsm {
    path: PathBuf,
    /// Removed on drop; a child doesn't own it.
    _directory: Option<tempfile::TempDir>,
}

impl SoftHsm {
    /// A new token with label and PINs.
    pub(crate) fn new() -> Self {
        let hsm = Self::without_token();
        let status = hsm
            .command("softhsm2-util")
            .args(["--init-token", "--free", "--label", LABEL, "--so-pin", SO_PIN, "--pin", PIN])
            .stdout(Stdio::null())
            .status()
            .expect("softhsm2-util");
        assert!(status.success(), "softhsm2-util: {status}");
        hsm
    }

    /// A directory and a configuration, with no token yet.
    pub(crate) fn without_token() -> Self {
        let memory = Path::new("/dev/shm");
        let place = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let directory = tempfile::Builder::new().prefix("skm-token-").tempdir_in(place).expect("a directory");
        let hsm = Self { path: directory.path().to_owned(), _directory: Some(directory) };
        std::fs::create_dir(hsm.tokens()).expect("the token directory");
        write_configuration(&hsm.configuration(), &hsm.tokens());
        hsm
    }

    /// The token of another process, by its configuration file.
    pub(crate) fn of_configuration(configuration: &Path) -> Self {
        Self { path: configuration.parent().expect("a directory").to_owned(), _directory: None }
    }

    /// Its configuration file.
    pub(crate) fn configuration(&self) -> PathBuf {
        self.path.join("softhsm2.conf")
    }

    /// A configuration for the token directory at another place.
    pub(crate) fn configuration_for(&self, tokens: &Path) -> PathBuf {
        let configuration = self.path.join("elsewhere.conf");
        write_configuration(&configuration, tokens);
        configuration
    }

    /// The directory that the configuration names.
    pub(crate) fn tokens(&self) -> PathBuf {
        self.path.join("tokens")
    }

    /// Room for a test's own files, removed with the token.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The one token's directory in [`SoftHsm::tokens`].
    pub(crate) fn token(&self) -> PathBuf {
        let mut entries = std::fs::read_dir(self.tokens()).expect("tokens");
        entries.next().expect("a token").expect("an entry").path()
    }

    pub(crate) fn label(&self) -> &'static str {
        LABEL
    }

    pub(crate) fn so_pin(&self) -> &'static str {
        SO_PIN
    }

    pub(crate) fn pin(&self) -> &'static str {
        PIN
    }

    pub(crate) fn pin_bytes(&self) -> SecretBytes {
        SecretBytes::new(PIN.as_bytes().to_vec())
    }

    /// What to set for processes that use this token.
    pub(crate) fn environment(&self) -> (&'static str, PathBuf) {
        (CONFIGURATION, self.configuration())
    }

    /// A program that uses this token.
    pub(crate) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env(CONFIGURATION, self.configuration());
        command
    }

    /// Settings for this token as a small installation has them.
    pub(crate) fn settings(&self) -> TokenSettings {
        TokenSettings {
            profile: Path::new(env!("CARGO_MANIFEST_DIR")).join("hsm-config/softhsm2.toml"),
            module: None,
            label: LABEL.to_owned(),
            serial: None,
            fast_workers: 2,
            slow_workers: 1,
            queue_limit: 1024,
            fast_deadline: Duration::from_secs(2),
            slow_deadline: Duration::from_secs(10),
        }
    }
}

fn write_configuration(configuration: &Path, tokens: &Path) {
    let text = format!("directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\nslots.removable = false\n", tokens.display());
    std::fs::write(configuration, text).expect("softhsm2.conf");
}

/// While it lives, calls into SoftHSM2 that read the token's generation number hang, as they do with a network token that is
/// gone: the number's file is a FIFO that nobody writes to.
#[derive(Debug)]
pub(crate) struct Hang {
    file: PathBuf,
    real: PathBuf,
    /// A reader's `open` succeeds and its `read` waits; it ends when this is closed.
    _writer: File,
}

impl Hang {
    pub(crate) fn begin(hsm: &SoftHsm) -> Self {
        let file = hsm.token().join("generation");
        let (real, fifo) = (hsm.path().join("generation.real"), hsm.path().join("generation.fifo"));
        std::fs::copy(&file, &real).expect("a copy");
        let made = Command::new("mkfifo").arg(&fifo).status().expect("mkfifo");
        assert!(made.success(), "mkfifo: {made}");
        let writer = File::options().read(true).write(true).open(&fifo).expect("the FIFO");
        std::fs::rename(&fifo, &file).expect("in its place");
        Self { file, real, _writer: writer }
    }
}

impl Drop for Hang {
    fn drop(&mut self) {
        std::fs::rename(&self.real, &self.file).expect("back in its place");
    }
}

/// Runs `body` with a new token, in a process of its own. Call it directly from the test function: its name is taken from
/// the closure's.
pub(crate) fn with_token(body: impl FnOnce(&SoftHsm)) {
    let test = test_name(&body);
    if let Some(path) = std::env::var_os(DIRECTORY) {
        return body(&SoftHsm { path: path.into(), _directory: None });
    }
    run_alone(&SoftHsm::new(), &test);
}

/// Like [`with_token`], without the token: directory and configuration only.
pub(crate) fn with_empty_directory(body: impl FnOnce(&SoftHsm)) {
    let test = test_name(&body);
    if let Some(path) = std::env::var_os(DIRECTORY) {
        return body(&SoftHsm { path: path.into(), _directory: None });
    }
    run_alone(&SoftHsm::without_token(), &test);
}

/// `token::round_trips` of the closure `integration::token::round_trips::{{closure}}`.
fn test_name<F>(body: &F) -> String {
    let name = type_name_of_val(body);
    let (_, path) = name.split_once("::").expect("a crate");
    path.strip_suffix("::{{closure}}").expect("a closure of the test function").to_owned()
}

/// Starts this program again, with the one test and the token's environment; its failure is this test's.
fn run_alone(hsm: &SoftHsm, test: &str) {
    let program = std::env::current_exe().expect("this program");
    let log = hsm.path().join("output");
    let file = File::create(&log).expect("a file for its output");
    let mut child = hsm
        .command(program)
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env(DIRECTORY, hsm.path())
        .stdout(file.try_clone().expect("the same file"))
        .stderr(file)
        .spawn()
        .expect("a child");
    let ended = wait(&mut child);
    let output = std::fs::read_to_string(log).expect("UTF-8");
    assert!(ended, "{test} took longer than {TEST_LIMIT:?} with its token\n{output}");
    let status = child.wait().expect("its status");
    assert!(status.success(), "{test} failed with its token: {status}\n{output}");
    assert!(output.contains("1 passed"), "{test} was not found by its name\n{output}");
}

/// Whether the child ended within the limit; it is killed if not.
fn wait(child: &mut Child) -> bool {
    let end = Instant::now() + TEST_LIMIT;
    while Instant::now() < end {
        if child.try_wait().expect("its status").is_some() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().expect("killed");
    child.wait().expect("its status");
    false
}
