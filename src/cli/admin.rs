//! The admin socket: how other commands speak to the running server, since one process owns the data directory. HTTP over a
//! Unix socket of mode 0600; the peer's uid is audited.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use axum::{Json, Router};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::{Deserialize, Serialize};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::assembly::Assembly;
use super::backup;
use super::exit::{Exit, Failure};
use crate::config::Config;
use crate::service::{Operator, Service};
use crate::store::Store;

/// The most connections at a time.
const CONNECTIONS_MAX: usize = 16;
/// The most bytes of a request or an answer.
const BODY_MAX_BYTES: usize = 64 * 1024;
/// How long a request may take to arrive, its header and its body each.
const REQUEST_WITHIN: Duration = Duration::from_secs(5);
/// How long a command may take; a backup of a large token is the longest.
const COMMAND_WITHIN: Duration = Duration::from_secs(600);

/// What commands work on.
#[derive(Debug, Clone)]
pub(super) struct Admin {
    service: Service,
    store: Store,
    token_directory: Option<PathBuf>,
}

impl Admin {
    pub(super) fn new(assembly: &Assembly, config: &Config, file: &Path) -> Result<Self, Failure> {
        Ok(Self { service: assembly.service.clone(), store: assembly.store.clone(), token_directory: backup::token_directory(config, file)? })
    }

    /// Makes a backup, recorded before and after.
    async fn back_up(self, operator: Operator, target: PathBuf) -> Answer {
        let unrecorded = |refusal| Answer { done: false, message: format!("the backup could not be recorded in the audit log: {refusal}") };
        if let Err(refusal) = self.service.record_backup(operator, "began").await {
            return unrecorded(refusal);
        }
        let made = backup::make(&self.store, self.token_directory.as_deref(), &target).await;
        let (stage, answer) = match made {
            Ok(message) => ("done", Answer { done: true, message }),
            Err(failure) => ("failed", Answer { done: false, message: failure.lines().join("\n") }),
        };
        match self.service.record_backup(operator, stage).await {
            Ok(()) => answer,
            Err(refusal) => unrecorded(refusal),
        }
    }
}

/// The uid of the process at the other end.
#[derive(Debug, Clone, Copy)]
struct PeerUid(u32);

/// `skm backup`'s request.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct BackupRequest {
    /// An empty or missing directory, absolute.
    pub(super) target: PathBuf,
}

#[derive(Debug, Serialize, Deserialize)]
struct Answer {
    done: bool,
    message: String,
}

/// Where the socket of a data directory is.
pub(super) fn socket(data_dir: &Path) -> PathBuf {
    data_dir.join("admin.sock")
}

/// Listens until `stop`, then waits for commands under way. What an earlier process left at the place goes: this one holds the
/// directory's lock.
pub(super) fn listen(data_dir: &Path, admin: Admin, stop: CancellationToken) -> Result<JoinHandle<()>, Failure> {
    let path = socket(data_dir);
    match fs::symlink_metadata(&path) {
        Ok(found) if found.file_type().is_socket() => fs::remove_file(&path)?,
        Ok(_) => return Err(Failure::new(Exit::Failed, format!("{}: is no socket", path.display()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error.into()),
    }
    // The directory is 0700 already; the mode is for those who loosened it.
    let listener = UnixListener::bind(&path).map_err(|error| Failure::new(Exit::Failed, format!("{}: {error}", path.display())))?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
    let app = Router::new().route("/backup", post(back_up)).with_state(admin);
    Ok(tokio::spawn(accept(listener, app, stop)))
}

async fn accept(listener: UnixListener, app: Router, stop: CancellationToken) {
    let (tasks, permits) = (TaskTracker::new(), Arc::new(Semaphore::new(CONNECTIONS_MAX)));
    while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
        let (Ok((stream, _)), Ok(permit)) = (accepted, Arc::clone(&permits).try_acquire_owned()) else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let (app, stop) = (app.clone(), stop.clone());
        tasks.spawn(async move {
            // Served or hung up: either way this connection is over.
            let _ = serve(stream, app, stop).await;
            drop(permit);
        });
    }
    tasks.close();
    tasks.wait().await;
}

/// Serves one connection; after `stop` only until the request under way is answered.
async fn serve(stream: UnixStream, app: Router, stop: CancellationToken) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let uid = PeerUid(stream.peer_cred()?.uid());
    let service = hyper::service::service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(uid);
        tower::ServiceExt::oneshot(app.clone(), request.map(axum::body::Body::new))
    });
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder.keep_alive(false).timer(TokioTimer::new()).header_read_timeout(REQUEST_WITHIN);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let served = tokio::time::timeout(COMMAND_WITHIN, async {
        tokio::select! {
            served = connection.as_mut() => return served,
            () = stop.cancelled() => connection.as_mut().graceful_shutdown(),
        }
        connection.await
    });
    Ok(served.await??)
}

async fn back_up(State(admin): State<Admin>, request: Request) -> Response {
    let Some(PeerUid(uid)) = request.extensions().get::<PeerUid>().copied() else {
        return (StatusCode::FORBIDDEN, "no peer").into_response();
    };
    let read = tokio::time::timeout(REQUEST_WITHIN, Limited::new(request.into_body(), BODY_MAX_BYTES).collect()).await;
    let read = read.ok().and_then(Result::ok).map(http_body_util::Collected::to_bytes);
    let asked: Option<BackupRequest> = read.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let Some(asked) = asked else { return (StatusCode::BAD_REQUEST, "not a backup request").into_response() };
    // A task of its own: it goes on when the command that asked is interrupted, and the end of the process waits for it.
    let tasks = admin.service.tasks().clone();
    match tasks.spawn(admin.back_up(Operator { uid }, asked.target)).await {
        Ok(answer) => Json(answer).into_response(),
        Err(error) => Json(Answer { done: false, message: format!("the backup did not end: {error}") }).into_response(),
    }
}

/// Sends one command to the server that owns `data_dir` and answers its message.
pub(super) async fn command<T: Serialize>(data_dir: &Path, path: &str, body: &T) -> Result<String, Failure> {
    let socket = socket(data_dir);
    let failed = |error: &dyn std::fmt::Display| Failure::new(Exit::Unavailable, format!("{}: {error}", socket.display()));
    let stream = UnixStream::connect(&socket).await.map_err(|error| failed(&error))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| failed(&error))?;
    tokio::spawn(connection);
    let bytes = serde_json::to_vec(body).map_err(|error| failed(&error))?;
    let request = hyper::Request::post(path).header("host", "skm").body(Full::new(bytes::Bytes::from(bytes))).map_err(|error| failed(&error))?;
    let answer = tokio::time::timeout(COMMAND_WITHIN, sender.send_request(request)).await.map_err(|error| failed(&error))?;
    let body = Limited::new(answer.map_err(|error| failed(&error))?.into_body(), BODY_MAX_BYTES).collect().await.map_err(|error| failed(&error))?;
    let answer: Answer = serde_json::from_slice(&body.to_bytes()).map_err(|error| failed(&error))?;
    if answer.done { Ok(answer.message) } else { Err(Failure::new(Exit::Failed, answer.message)) }
}
