//! What operators do: back up, restore, stop, probe, start with too little.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use skm::cli::lock::DataDirectoryLock;

use crate::support::installation::{Installation, Running};
use crate::support::wire::{Wire, request, trust};

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(60);
    while !done() {
        assert!(Instant::now() < until, "{what}: not in time");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// How far the audit log says that backups came.
fn recorded(installation: &Installation) -> Vec<String> {
    installation.database().texts("detail", "audit_records WHERE operation = 'BACKUP' ORDER BY position")
}

fn backed_up(installation: &Installation, name: &str) -> PathBuf {
    let target = installation.path().join(name);
    let (code, told, problems) = installation.run(&["backup", text(&target)]);
    assert!(code == 0 && told.contains("; the token is in it"), "{code} {told}{problems}");
    target
}

/// The directory of the one token.
fn token(installation: &Installation) -> PathBuf {
    let mut entries = std::fs::read_dir(installation.path().join("tokens")).expect("tokens");
    entries.next().expect("a token").expect("an entry").path()
}

/// Takes the variable that names SoftHSM2's configuration out of ours.
fn forget_environment(installation: &Installation) {
    let file = installation.path().join("skm.toml");
    let text = std::fs::read_to_string(&file).expect("skm.toml");
    let kept: Vec<_> = text.lines().filter(|line| !line.contains("[token.environment]") && !line.starts_with("SOFTHSM2_CONF")).collect();
    std::fs::write(file, kept.join("\n")).expect("written");
}

#[test]
fn a_backup_has_the_token_wherever_it_is_configured() {
    let installation = Installation::new();
    forget_environment(&installation);
    let place = installation.path().join("home/.config/softhsm2");
    std::fs::create_dir_all(&place).expect("a directory");
    let configuration = |line: &str| std::fs::write(place.join("softhsm2.conf"), format!("objectstore.backend = file\n{line}\n")).expect("written");
    configuration(&format!("directories.tokendir = {} # here", installation.path().join("tokens").display()));
    let back_up = |name: &str| {
        let target = installation.path().join(name);
        let output = installation.command(&["backup", text(&target)]).env("HOME", installation.path().join("home")).output().expect("skm");
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr), target)
    };
    let (code, told, target) = back_up("one");
    assert!(code == Some(0) && told.contains("; the token is in it"), "{code:?} {told}");
    assert!(target.join("tokens").join(token(&installation).file_name().expect("a name")).join("token.object").exists());
    let manifest = std::fs::read_to_string(target.join("manifest.json")).expect("a manifest");
    assert!(manifest.contains("\"has_token\": true"), "{manifest}");
    // A profile that names token files which can't be found: no backup, rather than half of one.
    configuration("log.level = ERROR");
    let (code, told, target) = back_up("two");
    assert!(code == Some(78) && told.contains("no line directories.tokendir"), "{code:?} {told}");
    assert!(!target.exists());
}

#[test]
fn a_backup_is_recorded_before_and_after_and_a_failed_one_leaves_nothing() {
    let installation = Installation::new();
    // With nothing running the command opens token and database itself, and records all the same.
    backed_up(&installation, "offline");
    assert_eq!(recorded(&installation), ["began", "done"]);
    installation.database().run("UPDATE audit_records SET detail = 'offline' WHERE operation = 'BACKUP'");
    let running = installation.start();
    backed_up(&installation, "one");
    assert_eq!(recorded(&installation), ["offline", "offline", "began", "done"]);
    // Neither file nor directory: nothing that a token would have.
    let odd = token(&installation).join("odd");
    std::os::unix::fs::symlink("/dev/null", &odd).expect("a link");
    let target = installation.path().join("two");
    let (code, _, told) = installation.run(&["backup", text(&target)]);
    assert!(code == 1 && told.contains("neither a file nor a directory"), "{code} {told}");
    assert!(!target.exists(), "a directory that the backup made");
    std::fs::create_dir(&target).expect("a directory");
    assert_eq!(installation.run(&["backup", text(&target)]).0, 1);
    assert_eq!(std::fs::read_dir(&target).expect("the operator's directory").count(), 0);
    assert_eq!(recorded(&installation), ["offline", "offline", "began", "done", "began", "failed", "began", "failed"]);
    std::fs::remove_file(odd).expect("removed");
    // Whoever asks for a backup and goes away gets it all the same.
    let body = serde_json::json!({ "target": installation.path().join("three") }).to_string();
    let asked = format!("POST /backup HTTP/1.1\r\nhost: skm\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let mut socket = UnixStream::connect(installation.path().join("data/admin.sock")).expect("the admin socket");
    socket.write_all(asked.as_bytes()).expect("asked");
    wait_until("a beginning", || recorded(&installation).len() > 8);
    drop(socket);
    wait_until("an end", || recorded(&installation).len() == 10);
    assert_eq!(recorded(&installation).last().map(String::as_str), Some("done"));
    assert!(installation.path().join("three/manifest.json").exists());
    drop(running);
}

#[test]
fn a_silent_peer_of_the_admin_socket_is_hung_up_on() {
    let installation = Installation::new();
    let running = installation.start();
    let mut silent = UnixStream::connect(installation.path().join("data/admin.sock")).expect("the admin socket");
    silent.set_read_timeout(Some(Duration::from_secs(30))).expect("a time-out");
    silent.write_all(b"POST /backup HTTP/1.1\r\n").expect("a beginning");
    let mut answer = Vec::new();
    let begun = Instant::now();
    silent.read_to_end(&mut answer).expect("hung up");
    assert!(begun.elapsed() < Duration::from_secs(25), "{:?}", begun.elapsed());
    // One that says nothing at all doesn't hold up the end.
    let _silent = UnixStream::connect(installation.path().join("data/admin.sock")).expect("the admin socket");
    std::thread::sleep(Duration::from_millis(100));
    let begun = Instant::now();
    let (status, log) = running.stop();
    assert!(status.success() && log.contains("\"in_order\":true"), "{log}");
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}

#[test]
fn a_restore_that_did_not_finish_can_be_repeated() {
    let installation = Installation::new();
    let backup = backed_up(&installation, "backup");
    let clean = installation.empty_copy();
    let (database, marker) = (clean.path().join("data/skm.sqlite3"), clean.path().join("data/restoring"));
    let restore = || clean.run(&["restore", text(&backup)]);
    // What another database left would be taken for this one's.
    std::fs::create_dir_all(clean.path().join("data")).expect("a directory");
    for companion in ["-wal", "-shm", "-journal"] {
        let file = clean.path().join(format!("data/skm.sqlite3{companion}"));
        std::fs::write(&file, "left").expect("written");
        let (code, _, told) = restore();
        assert!(code == 1 && told.contains(companion) && told.contains("exists already"), "{code} {told}");
        std::fs::remove_file(file).expect("removed");
    }
    assert!(!database.exists() && !clean.path().join("tokens").exists());
    // A crash with the token's copy half made.
    let name = token(&installation).file_name().expect("a name").to_owned();
    let half = clean.path().join("tokens").join(name);
    std::fs::create_dir_all(&half).expect("a directory");
    std::fs::write(half.join("token.object"), "half").expect("written");
    std::fs::write(clean.path().join("data/skm.sqlite3.restoring"), "half").expect("written");
    let (code, _, told) = restore();
    assert!(code == 1 && told.contains("is not an empty directory"), "without the marker it is somebody's token: {code} {told}");
    std::fs::write(&marker, "").expect("written");
    std::fs::write(half.join("another.object"), "key").expect("written");
    let (code, _, told) = restore();
    assert!(code == 1 && told.contains("is not an empty directory"), "a key that the backup lacks: {code} {told}");
    assert!(half.join("another.object").exists());
    std::fs::remove_file(half.join("another.object")).expect("removed");
    let (code, told, problems) = restore();
    assert!(code == 0 && told.contains("starting over"), "{code} {told}{problems}");
    assert!(database.exists() && !marker.exists() && !clean.path().join("data/skm.sqlite3.restoring").exists());
    let running = clean.start();
    let secret = running.ask("GET", &format!("/keymanager/v1.0/appkey/{}/secrets/{}", clean.demo("APPKEY"), clean.demo("SECRET_ID")), &[], None);
    assert!(secret.text("secret").starts_with("postgres://demo:"));
}

/// A request whose body is not there yet.
fn begin_request(installation: &Installation, running: &Running) -> Wire {
    let mut wire = Wire::connect(running.api_address(), &trust(installation.demo("CA")));
    let path = format!("/keymanager/v1.0/appkey/{}/symmetric-keys/{}/encrypt", installation.demo("APPKEY"), installation.demo("SYMMETRIC_ID"));
    let whole = request("POST", &path, &[], r#"{"plaintext": "under way"}"#);
    assert!(wire.send(&whole.as_bytes()[..whole.len() - 5]));
    wire
}

#[test]
fn a_second_sigterm_skips_the_drain() {
    let installation = Installation::with(&[("SKM_API__REQUEST_TIMEOUT", "60s")]);
    let running = installation.start();
    let _wire = begin_request(&installation, &running);
    std::thread::sleep(Duration::from_millis(200));
    running.signal("TERM");
    wait_until("unready", || running.operations("/readyz").0 == 503);
    let begun = Instant::now();
    running.signal("TERM");
    let (status, log) = running.wait();
    assert!(status.success() && log.contains("\"in_order\":true") && log.contains("another stop signal"), "{status} {log}");
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}

#[test]
fn a_start_that_fails_late_ends_with_its_code() {
    let mut installation = Installation::new();
    let (pem, key) = (installation.path().join("own.pem"), installation.path().join("own.key"));
    std::fs::write(&pem, "no certificate").expect("written");
    std::fs::copy(installation.path().join("client.key"), &key).expect("a copy");
    installation.set("SKM_API__CERTIFICATE", text(&pem));
    installation.set("SKM_API__KEY", text(&key));
    let (code, _, told) = installation.run(&["serve", "--dev"]);
    assert!(code == 78 && told.contains("own.pem"), "{code} {told}");
    // The token was shut down and the chain ended.
    assert!(told.contains("stopped") && told.contains("in_order"), "{told}");
}

#[test]
fn the_listeners_are_what_the_configuration_says_and_no_more() {
    let mut installation = Installation::new();
    let proxied = "proxy_protocol = true\ntrusted_proxies = [\"127.0.0.1/32\"]\n";
    let file = installation.path().join("skm.toml");
    let configuration = std::fs::read_to_string(&file).expect("skm.toml").replace("[api]\n", &format!("[api]\n{proxied}"));
    std::fs::write(file, configuration).expect("written");
    installation.set("SKM_API__CONNECTIONS", "1000");
    let whole = installation.command(&["serve", "--dev"]);
    let mut limited = std::process::Command::new("sh");
    limited.args(["-c", "ulimit -Sn 256; ulimit -Hn 2000; exec \"$0\" \"$@\""]).arg(whole.get_program()).args(whole.get_args());
    for (name, value) in whole.get_envs() {
        match value {
            Some(value) => limited.env(name, value),
            None => limited.env_remove(name),
        };
    }
    limited.current_dir(env!("CARGO_MANIFEST_DIR"));
    let running = installation.try_start_with(limited).unwrap_or_else(|log| panic!("{log}"));
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", running.pid())).expect("its limits");
    let line = limits.lines().find(|line| line.starts_with("Max open files")).expect("the limit");
    assert_eq!(line.split_whitespace().skip(3).take(2).collect::<Vec<_>>(), ["2000", "2000"], "{line}");
    running.logs("too few open files");
    // Proxies stand before the API alone.
    assert_eq!(running.operations("/readyz").0, 200);
    Wire::connect(running.console_address(), &trust(installation.demo("CA")));
    let (_, metrics) = running.operations("/metrics");
    let line = metrics.lines().find(|line| !line.starts_with('#') && line.contains("server_certificate_expires_seconds")).expect("the gauge");
    let expires: f64 = line.split_whitespace().last().and_then(|number| number.parse().ok()).expect("a number");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a time").as_secs_f64();
    assert!(expires > now + 86_400.0, "{line}");
}

#[test]
fn a_probe_tries_every_kind_of_key_and_leaves_none() {
    let installation = Installation::new();
    let objects = || installation.run(&["hsm", "objects"]).1;
    let before = objects();
    let (code, told, problems) = installation.run(&["hsm", "probe"]);
    assert_eq!(code, 0, "{told}{problems}");
    for name in ["token ", "random ", "AES-256 ", "RSA-2048 ", "EC P-256 ", "import ", "unwrap "] {
        assert_eq!(told.lines().filter(|line| line.starts_with(name)).count(), 1, "{name}: {told}");
    }
    assert_eq!(told.lines().filter(|line| line.ends_with(" ms")).count(), 6, "{told}");
    assert_eq!(objects(), before);
}

#[test]
fn one_initialisation_at_a_time() {
    let installation = Installation::new();
    let lock = DataDirectoryLock::take(&installation.path()).expect("the lock");
    // As if an unfinished one were going on: a second must not take what it made away.
    std::fs::write(installation.path().join("initialising"), "").expect("written");
    let second = || installation.command(&["init", "--dev", "--directory"]).arg(installation.path()).output().expect("skm init");
    let output = second();
    assert_eq!(output.status.code(), Some(75), "{output:?}");
    assert!(installation.database_file().exists() && token(&installation).exists());
    drop(lock);
    // Nor what a service runs on.
    let running = installation.start();
    let output = second();
    assert_eq!(output.status.code(), Some(75), "{output:?}");
    assert_eq!(running.operations("/readyz").0, 200);
    drop(running);
    let output = second();
    assert!(output.status.success() && String::from_utf8_lossy(&output.stdout).contains("starting over"), "{output:?}");
    installation.start();
}
