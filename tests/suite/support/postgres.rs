//! A PostgreSQL cluster of a test's own: started on a Unix socket in a temporary directory, gone when dropped.
#![allow(clippy::expect_used, clippy::panic, reason = "what fails here fails a test")]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection as _;
use diesel::{Connection as _, PgConnection};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// How long the server may take to start or to stop.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running (or stopped) cluster with one empty database, `skm`.
#[derive(Debug)]
pub(crate) struct Cluster {
    programs: PathBuf,
    directory: TempDir,
    server: Option<Child>,
}

impl Cluster {
    /// Starts a cluster; panics, telling why, if that can't be.
    pub(crate) fn start() -> Self {
        let programs = programs();
        let template = template(&programs);
        let directory = tempfile::Builder::new().prefix("skm-pg-").tempdir_in(temporary()).expect("a temporary directory");
        give_to_server_user(directory.path());
        run(as_server_user(Path::new("cp")).arg("-a").arg(&template).arg(data(&directory)));
        let mut cluster = Self { programs, directory, server: None };
        cluster.start_again();
        cluster.maintenance().batch_execute("CREATE DATABASE skm").expect("a database");
        cluster
    }

    /// Starts the server of a cluster that was stopped.
    pub(crate) fn start_again(&mut self) {
        let socket_directory = self.directory.path().display().to_string();
        let log = File::create(self.directory.path().join("log")).expect("a log file");
        let mut command = as_server_user(&self.programs.join("postgres"));
        command.arg("-D").arg(data(&self.directory)).arg("-k").arg(socket_directory);
        // Nothing here outlives a crash of the machine, so nothing is synced; what outlives one of the server is tested.
        for setting in ["listen_addresses=", "fsync=off", "full_page_writes=off", "shared_buffers=16MB", "max_connections=60", "lc_messages=C"] {
            command.arg("-c").arg(setting);
        }
        let server = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().expect("the PostgreSQL server");
        self.server = Some(server);
        let started = Instant::now();
        while PgConnection::establish(&self.connection_string("postgres")).is_err() {
            let ended = self.server.as_mut().and_then(|server| server.try_wait().ok().flatten());
            let log = || fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
            assert!(ended.is_none() && started.elapsed() < PATIENCE, "the PostgreSQL server doesn't start ({ended:?}):\n{}", log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Stops the server at once, as a crash would.
    pub(crate) fn stop(&mut self) {
        self.thaw();
        let Some(mut server) = self.server.take() else {
            return;
        };
        let pid = i32::try_from(server.id()).ok().and_then(Pid::from_raw).expect("a process ID");
        // Immediate shutdown: the server takes its backends along, which a SIGKILL would not.
        kill_process(pid, Signal::QUIT).ok();
        let told = Instant::now();
        while matches!(server.try_wait(), Ok(None)) {
            if told.elapsed() > PATIENCE {
                server.kill().ok();
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Stops every process of the server from running, as a machine does that hangs: connections stay, nothing answers.
    pub(crate) fn freeze(&self) {
        self.signal_all(Signal::STOP);
    }

    /// Ends a [`Cluster::freeze`].
    pub(crate) fn thaw(&self) {
        self.signal_all(Signal::CONT);
    }

    fn signal_all(&self, signal: Signal) {
        let Some(server) = &self.server else { return };
        let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", server.id())).expect("its processes");
        let pids = children.split_whitespace().map(|pid| pid.parse::<i32>().expect("a process ID")).chain(i32::try_from(server.id()));
        for pid in pids.filter_map(Pid::from_raw) {
            // One may have ended meanwhile.
            kill_process(pid, signal).ok();
        }
    }

    /// How to connect to the database `skm`.
    pub(crate) fn url(&self) -> String {
        self.connection_string("skm")
    }

    /// The same as a URI, as a configuration has it.
    pub(crate) fn uri(&self) -> String {
        format!("postgresql://postgres@/skm?host={}", self.directory.path().display())
    }

    /// A connection to the database `skm`.
    pub(crate) fn connection(&self) -> PgConnection {
        PgConnection::establish(&self.url()).expect("a connection")
    }

    fn maintenance(&self) -> PgConnection {
        PgConnection::establish(&self.connection_string("postgres")).expect("a connection")
    }

    fn connection_string(&self, database: &str) -> String {
        format!("host={} user=postgres dbname={database}", self.directory.path().display())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop();
    }
}

fn data(directory: &TempDir) -> PathBuf {
    directory.path().join("data")
}

/// A file system in memory where there is one.
fn temporary() -> PathBuf {
    let memory = PathBuf::from("/dev/shm");
    if memory.is_dir() { memory } else { std::env::temp_dir() }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A command that ends with this process's thread, run as `postgres` where we are root: the server refuses to be that.
fn as_server_user(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "SIGQUIT"]);
    if is_root() {
        command.args(["--reuid", "postgres", "--regid", "postgres", "--clear-groups"]);
    }
    command.arg("--").arg(program).current_dir("/");
    command
}

fn give_to_server_user(path: &Path) {
    if is_root() {
        run(Command::new("chown").arg("postgres:postgres").arg(path));
    }
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?} can't be run: {error}"));
    assert!(output.status.success(), "{command:?} failed:\n{}", String::from_utf8_lossy(&output.stderr));
}

/// Where the server's programs are: in the `PATH`, or where Debian keeps them, the newest first.
fn programs() -> PathBuf {
    let in_path = std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect::<Vec<_>>()).unwrap_or_default();
    let mut versions: Vec<PathBuf> =
        fs::read_dir("/usr/lib/postgresql").map(|entries| entries.flatten().map(|entry| entry.path().join("bin")).collect()).unwrap_or_default();
    versions.sort();
    let candidates = in_path.into_iter().chain(versions.into_iter().rev());
    let found = candidates.into_iter().find(|directory| directory.join("initdb").is_file() && directory.join("postgres").is_file());
    found.unwrap_or_else(|| {
        panic!("PostgreSQL's server programs (initdb, postgres) are neither in the PATH nor in /usr/lib/postgresql/*/bin: install the package `postgresql`")
    })
}

/// A fresh cluster's files, made once for all tests of this user and this version of PostgreSQL: initdb takes a second or two.
fn template(programs: &Path) -> PathBuf {
    let version = Command::new(programs.join("postgres")).arg("--version").output().expect("the server's version");
    let version: String = String::from_utf8_lossy(&version.stdout).chars().filter(char::is_ascii_digit).collect();
    let directory = temporary().join(format!("skm-test-postgresql-{version}-{}", rustix::process::geteuid().as_raw()));
    let ready = directory.join("ready");
    fs::create_dir_all(&directory).expect("a directory for the template");
    let lock = File::create(directory.join("lock")).expect("a lock file");
    lock.lock().expect("the lock of the template");
    let template = directory.join("template");
    if !ready.is_file() {
        drop(fs::remove_dir_all(&template));
        fs::create_dir(&template).expect("a directory for the template");
        give_to_server_user(&template);
        run(as_server_user(&programs.join("initdb"))
            .args(["-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync", "-D"])
            .arg(&template));
        fs::write(&ready, "").expect("a mark");
    }
    template
}
