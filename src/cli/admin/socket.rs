//! The admin socket of the running server: HTTP over a Unix socket of mode 0600, for root and the server's own user. The peer's uid
//! is audited.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use http_body_util::BodyExt as _;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use zeroize::Zeroizing;

use super::reply::{Reply, plain_failure, response};
use super::{Admin, Command, commands};
use crate::cli::exit::{Exit, Failure};
use crate::service::Operator;

/// The most connections at a time.
const CONNECTIONS_MAX: usize = 16;
/// The most bytes of a request.
pub(super) const REQUEST_MAX_BYTES: usize = 64 * 1024;
/// How long a request may take to arrive, its header and its body each.
const REQUEST_WITHIN: Duration = Duration::from_secs(5);
/// How long a command may take; a backup of a large token is the longest.
pub(super) const COMMAND_WITHIN: Duration = Duration::from_secs(600);

/// The uid of the process at the other end.
#[derive(Debug, Clone, Copy)]
struct PeerUid(u32);

/// Where the socket of a data directory is.
pub(super) fn path(data_dir: &Path) -> PathBuf {
    data_dir.join("admin.sock")
}

/// Listens until `stop`, then waits for commands under way. What an earlier process left at the place goes: this one holds the
/// directory's lock.
pub(in crate::cli) fn listen(data_dir: &Path, admin: Admin, stop: CancellationToken) -> Result<JoinHandle<()>, Failure> {
    let path = path(data_dir);
    match fs::symlink_metadata(&path) {
        Ok(found) if found.file_type().is_socket() => fs::remove_file(&path)?,
        Ok(_) => return Err(Failure::new(Exit::Failed, format!("{}: is no socket", path.display()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error.into()),
    }
    // The directory is 0700 already; the mode is for those who loosened it.
    let listener = UnixListener::bind(&path).map_err(|error| Failure::new(Exit::Failed, format!("{}: {error}", path.display())))?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
    let app = commands().0.fallback(unknown).method_not_allowed_fallback(unknown).with_state(admin);
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

async fn unknown() -> Response {
    plain_failure(StatusCode::NOT_FOUND, Exit::Failed, "the running server doesn't know this command: it is of another version")
}

/// Answers one command. It is carried out in a task of its own: it goes on when the command that asked is interrupted, and the end
/// of the process waits for it.
pub(super) async fn answer<C: Command>(State(admin): State<Admin>, request: Request) -> Response {
    let Some(uid) = permitted(&request) else {
        return plain_failure(StatusCode::FORBIDDEN, Exit::Refused, "only root and the user that the server runs as may ask");
    };
    let command: C = match read(request).await {
        Ok(command) => command,
        Err(problem) => return plain_failure(StatusCode::BAD_REQUEST, Exit::Failed, &problem),
    };
    let tasks = admin.service.tasks().clone();
    let outcome = tasks.spawn(command.run(admin, Operator { uid })).await;
    let outcome = outcome.unwrap_or_else(|error| Err(Failure::new(Exit::Failed, format!("the command did not end: {error}"))));
    response(StatusCode::OK, &Reply::from(outcome))
}

/// The peer's uid, if it may ask. The socket's mode lets nobody else in; this is for those who loosened it.
fn permitted(request: &Request) -> Option<u32> {
    let PeerUid(uid) = request.extensions().get().copied()?;
    (uid == 0 || uid == rustix::process::geteuid().as_raw()).then_some(uid)
}

/// The command, or where it can't be read: never what stood there, which may be a password.
async fn read<C: Command>(request: Request) -> Result<C, String> {
    let bytes = tokio::time::timeout(REQUEST_WITHIN, collect(request)).await;
    let bytes = bytes.map_err(|_| "the request did not arrive in time".to_owned())??;
    serde_json::from_slice(&bytes).map_err(|error| {
        let what = if error.is_data() { "has fields that the server doesn't take" } else { "is not JSON" };
        format!("the request {what}: line {}, column {}", error.line(), error.column())
    })
}

async fn collect(request: Request) -> Result<Zeroizing<Vec<u8>>, String> {
    let mut body = request.into_body();
    // All there from the start: the buffer never moves and leaves no copy behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(REQUEST_MAX_BYTES));
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| format!("the request could not be read: {error}"))?;
        let Some(data) = frame.data_ref() else { continue };
        if bytes.len() + data.len() > REQUEST_MAX_BYTES {
            return Err(format!("the request is longer than {REQUEST_MAX_BYTES} bytes"));
        }
        bytes.extend_from_slice(data);
    }
    Ok(bytes)
}
