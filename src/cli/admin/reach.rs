//! How a command comes to the process that owns the data directory: itself, if it gets the lock, else the one that has it.

use std::io;
use std::path::{Path, PathBuf};

use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio::runtime::Runtime;
use zeroize::Zeroizing;

use super::reply::{Reply, Wiped};
use super::socket::{self, COMMAND_WITHIN, REQUEST_MAX_BYTES};
use super::{Admin, Command};
use crate::cli::assembly::{self, Assembly};
use crate::cli::exit::{Exit, Failure};
use crate::cli::lock::{DataDirectoryLock, LockError};
use crate::cli::server_certificate::ServerCertificate;
use crate::cli::{backup, configuration, init, output};
use crate::config::Config;
use crate::hsm;

/// The most bytes of an answer: a thousand lines of a list.
const ANSWER_MAX_BYTES: usize = 4 << 20;

/// The way to whoever carries commands out.
pub(in crate::cli) struct Reach {
    runtime: Runtime,
    owner: Owner,
}

enum Owner {
    /// Another process.
    Server(PathBuf, Option<u32>),
    /// This one.
    Ourselves(Admin),
}

impl Reach {
    /// Has one command carried out. Blocking.
    pub(in crate::cli) fn ask<C: Command>(&self, command: C) -> Result<C::Answer, Failure> {
        match &self.owner {
            Owner::Server(socket, process) => self.runtime.block_on(send(socket, *process, &command)),
            Owner::Ourselves(admin) => self.runtime.block_on(command.run(admin.clone(), init::operator())),
        }
    }
}

/// Finds the way, and lets `work` send commands over it and tell what came of them.
pub(in crate::cli) fn with(named: Option<&Path>, work: impl FnOnce(&Reach) -> Result<(), Failure>) -> Result<(), Failure> {
    let file = configuration::file(named)?;
    let config = configuration::load(Some(&file), true)?;
    let data_dir = &config.server.data_dir;
    if !data_dir.is_dir() {
        return Err(Failure::new(Exit::Configuration, format!("{}: there is no data directory; `skm init` makes it", data_dir.display())));
    }
    match DataDirectoryLock::take(data_dir) {
        Ok(lock) => as_owner(&config, &file, lock, work),
        Err(LockError::Held { process, .. }) => work(&Reach { runtime: assembly::runtime()?, owner: Owner::Server(socket::path(data_dir), process) }),
        Err(LockError::Unusable(path, error)) if error.kind() == io::ErrorKind::PermissionDenied => {
            Err(Failure::new(Exit::Refused, format!("{}: {error}; run this as the user that the service runs as, or as root", path.display())))
        }
        Err(error) => Err(Failure::new(Exit::Failed, error.to_string())),
    }
}

/// With token and database opened here, as `skm serve` would, and closed again.
fn as_owner(config: &Config, file: &Path, lock: DataDirectoryLock, work: impl FnOnce(&Reach) -> Result<(), Failure>) -> Result<(), Failure> {
    let token_directory = backup::token_directory(config, file)?;
    let runtime = assembly::runtime()?;
    let assembly = assembly::assemble(config, file)?;
    let admin = Admin::new(&assembly, token_directory, ServerCertificate::new(config, &assembly));
    let began = runtime.block_on(assembly.service.begin()).map_err(Failure::from);
    let reach = Reach { runtime, owner: Owner::Ourselves(admin) };
    let outcome = began.and_then(|()| work(&reach));
    let ended = end(reach, assembly);
    drop(lock);
    if ended { outcome } else { leave(outcome) }
}

fn end(reach: Reach, assembly: Assembly) -> bool {
    reach.runtime.block_on(assembly.shut_down())
}

/// A worker did not come back: the process ends without finalizing the token's module.
fn leave(outcome: Result<(), Failure>) -> ! {
    let exit = outcome.err().map_or(Exit::HandOff, |failure| {
        failure.lines().iter().for_each(|line| output::problem(line));
        failure.exit()
    });
    hsm::leave(exit as i32)
}

/// Sends one command to the server that owns the data directory.
async fn send<C: Command>(socket: &Path, process: Option<u32>, command: &C) -> Result<C::Answer, Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::new(Exit::Unavailable, format!("{}: {error}", socket.display()));
    // Where nothing grows the buffer, no copy of it is left behind.
    let mut json = Zeroizing::new(Vec::with_capacity(REQUEST_MAX_BYTES));
    serde_json::to_writer(&mut *json, command).map_err(|error| failed(&error))?;
    if json.len() > REQUEST_MAX_BYTES {
        return Err(Failure::new(Exit::Failed, format!("the request is longer than {REQUEST_MAX_BYTES} bytes")));
    }
    let stream = UnixStream::connect(socket).await.map_err(|error| not_connected(socket, process, &error))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| failed(&error))?;
    tokio::spawn(connection);
    let body = Full::new(bytes::Bytes::from_owner(Wiped(json)));
    let request = hyper::Request::post(C::PATH).header("host", "skm").body(body).map_err(|error| failed(&error))?;
    let answered = tokio::time::timeout(COMMAND_WITHIN, async {
        let answer = sender.send_request(request).await.map_err(|error| failed(&error))?;
        Ok::<_, Failure>(Limited::new(answer.into_body(), ANSWER_MAX_BYTES).collect().await.map_err(|error| failed(&error))?.to_bytes())
    });
    let bytes = answered.await.map_err(|_| failed(&"the server did not answer in time"))??;
    parse(&bytes).map_err(|error| failed(&error))?
}

fn parse<A: DeserializeOwned>(bytes: &[u8]) -> Result<Result<A, Failure>, serde_json::Error> {
    Ok(match serde_json::from_slice(bytes)? {
        Reply::Answer(answer) => Ok(answer),
        Reply::Failure(failure) => Err(failure),
    })
}

/// The data directory is taken, but nobody answers there.
fn not_connected(socket: &Path, process: Option<u32>, error: &io::Error) -> Failure {
    let whoever = process.map_or_else(|| "another process".to_owned(), |process| format!("process {process}"));
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            let told = format!(
                "{}: {error}; {whoever} has the data directory but does not answer: it is starting or ending, or is another command; try again",
                socket.display()
            );
            Failure::new(Exit::Locked, told)
        }
        io::ErrorKind::PermissionDenied => {
            Failure::new(Exit::Refused, format!("{}: {error}; run this as the user that the service runs as, or as root", socket.display()))
        }
        _ => Failure::new(Exit::Unavailable, format!("{}: {error}", socket.display())),
    }
}
