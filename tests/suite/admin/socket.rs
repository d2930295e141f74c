//! The socket itself: who may connect, and what it does with what it doesn't understand.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use skm::cli::lock::DataDirectoryLock;

use super::{done, records};
use crate::support::installation::Installation;

fn socket(installation: &Installation) -> PathBuf {
    installation.path().join("data/admin.sock")
}

/// Sends a request as it stands: status and JSON.
fn send(installation: &Installation, request: &[u8]) -> (u16, Value) {
    let mut stream = UnixStream::connect(socket(installation)).expect("the socket");
    stream.set_read_timeout(Some(std::time::Duration::from_secs(20))).expect("a time-out");
    // What is too long is not read to its end.
    let _ = stream.write_all(request);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8(answer).expect("UTF-8");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer:?}"));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    (status, serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}")))
}

fn post(installation: &Installation, path: &str, body: &str) -> (u16, Value) {
    send(installation, format!("POST {path} HTTP/1.1\r\nhost: skm\r\ncontent-length: {}\r\n\r\n{body}", body.len()).as_bytes())
}

#[test]
fn what_it_does_not_understand_is_refused_by_place_and_nothing_is_done() {
    let installation = Installation::new();
    let running = installation.start();
    let failure = |line: &str| json!({"failure": {"exit": "failed", "lines": [line]}});
    let fields = |at: &str| failure(&format!("the request has fields that the server doesn't take: line 1, column {at}"));
    let unknown = failure("the running server doesn't know this command: it is of another version");
    for (path, body, expected) in [
        ("/project/create", r#"{"name": "x", "admin": true}"#, (400, fields("21"))),
        ("/project/create", "{}", (400, fields("2"))),
        ("/project/create", r#"{"name": 7}"#, (400, fields("10"))),
        ("/project/create", r#"{"name": null}"#, (400, fields("13"))),
        ("/project/create", r#"{"name": "x"} {}"#, (400, failure("the request is not JSON: line 1, column 15"))),
        ("/project/create", "", (400, failure("the request is not JSON: line 1, column 0"))),
        ("/project/create", "\u{0}", (400, failure("the request is not JSON: line 1, column 1"))),
        ("/account/create", r#"{"login": "x", "password": ["hunter2"], "mustChangePassword": true}"#, (400, fields("27"))),
        ("/project/destroy", "{}", (404, unknown.clone())),
        ("/", "{}", (404, unknown.clone())),
        ("/role/list", r#"{"after": {"accountId": 1, "projectId": 1, "role": "ROOT"}}"#, (200, failure("after names no role"))),
        ("/project/create", r#"{"name": "a\u0000b"}"#, (200, failure("name must not contain control characters"))),
    ] {
        assert_eq!(post(&installation, path, body), expected, "{path} {body}");
    }
    let long = format!(r#"{{"name": "{}"}}"#, "x".repeat(65_536));
    assert_eq!(post(&installation, "/project/create", &long), (400, failure("the request is longer than 65536 bytes")));
    assert_eq!(send(&installation, b"GET /project/list HTTP/1.1\r\nhost: skm\r\n\r\n"), (404, unknown));
    assert_eq!(installation.database().count("projects"), 1);
    assert_eq!(installation.database().count("accounts"), 1);
    // It goes on, and what could be read has left its record.
    assert_eq!(done(&installation, &["admin", "project", "list"]).len(), 1);
    assert_eq!(records(&installation).last().map(String::as_str), Some("READ_INVENTORY 0 projects"));
    let (status, log) = running.stop();
    assert!(status.success() && !log.contains("hunter2"), "{log}");
}

/// `curl` as nobody, in a directory that everybody may enter.
fn curl_as_nobody(socket: &Path) -> (bool, String) {
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "curl", "-sS", "--max-time", "10", "-d", "{}", "--unix-socket"]);
    let output = command.arg(socket).arg("http://skm/project/list").output().expect("setpriv (util-linux) and curl");
    (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr))
}

#[test]
fn it_is_its_owners_alone() {
    let installation = Installation::new();
    let _running = installation.start();
    let socket = socket(&installation);
    let mode = |path: &Path| std::fs::metadata(path).expect("a mode").permissions().mode() & 0o777;
    assert_eq!((mode(&socket), mode(socket.parent().expect("a directory"))), (0o600, 0o700));
    if !rustix::process::geteuid().is_root() {
        println!("skipped: only root can try as another user");
        return;
    }
    let loosen = |path: &Path, mode: u32| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("a mode");
    let directories = socket.ancestors().skip(1).take_while(|path| *path != Path::new("/dev/shm") && *path != Path::new("/tmp"));
    directories.filter(|path| path.parent().is_some()).for_each(|path| loosen(path, 0o755));
    let (connected, told) = curl_as_nobody(&socket);
    assert!(!connected && !told.contains("answer"), "{told}");
    // Even where somebody loosened the socket too.
    loosen(&socket, 0o666);
    let (connected, told) = curl_as_nobody(&socket);
    assert!(connected, "{told}");
    let answer: Value = serde_json::from_str(&told).expect("JSON");
    assert_eq!(answer, json!({"failure": {"exit": "refused", "lines": ["only root and the user that the server runs as may ask"]}}));
}

#[test]
fn a_lock_with_nobody_at_the_socket_is_told() {
    let installation = Installation::new();
    let data_dir = installation.path().join("data");
    let tried = || {
        let (code, told, problems) = installation.run(&["admin", "project", "create", "x"]);
        assert_eq!((code, told.as_str()), (75, ""), "{problems}");
        let process = format!("process {} has the data directory but does not answer", std::process::id());
        assert!(problems.contains(&process) && problems.contains("admin.sock"), "{problems}");
    };
    {
        let _lock = DataDirectoryLock::take(&data_dir).expect("the lock");
        tried();
        // What a process that was killed leaves.
        drop(std::os::unix::net::UnixListener::bind(data_dir.join("admin.sock")).expect("a socket"));
        tried();
    }
    assert_eq!(installation.database().count("projects"), 1);
    done(&installation, &["admin", "project", "create", "x"]);
}

#[test]
fn without_an_installation_there_is_nothing_to_manage() {
    let installation = Installation::new().empty_copy();
    let (code, _, problems) = installation.run(&["admin", "project", "list"]);
    assert!(code == 78 && problems.contains("`skm init` makes it"), "{code} {problems}");
    assert!(!installation.path().join("data").exists());
}
