//! A backup taken under load, and one with nothing running, each restored onto a clean directory.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::load::{Client, Kind, Ledger, Thing, wait_until};
use super::settled::{audit_is_intact, short_leases, token_and_database_agree, wait_until_settled};
use super::token_away::Stop;
use crate::support::installation::Installation;
use crate::support::random::Random;

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// Restores onto a clean directory, and tries everything that was there when the backup began.
fn restored_must_work(installation: &Installation, backup: &Path, things: &[Thing]) {
    let clean = installation.empty_copy();
    let (code, _, told) = clean.run(&["restore", text(backup)]);
    assert_eq!(code, 0, "{told}");
    audit_is_intact(&clean);
    let running = clean.start();
    let client = Client::new(&clean, &running);
    let (code, _, told) = clean.run(&["restore", text(backup)]);
    assert_eq!(code, 75, "{told}");
    things.iter().for_each(|thing| client.must_work(thing));
    let demo = running.ask("GET", &format!("/keymanager/v1.0/appkey/{}/secrets/{}", clean.demo("APPKEY"), clean.demo("SECRET_ID")), &[], None);
    assert!(demo.text("secret").starts_with("postgres://demo:"));
    wait_until_settled(&clean);
    let (status, log) = running.stop();
    assert!(status.success(), "{log}");
    token_and_database_agree(&clean);
    audit_is_intact(&clean);
    let (code, _, told) = clean.run(&["restore", text(backup)]);
    assert!(code == 1 && told.contains("exists already"), "{code} {told}");
    // Without a database, but with a token: that one isn't written over either.
    std::fs::remove_file(clean.database_file()).expect("removed");
    let (code, _, told) = clean.run(&["restore", text(backup)]);
    assert!(code == 1 && told.contains("is not an empty directory"), "{code} {told}");
    assert!(!clean.database_file().exists());
}

fn must_back_up(installation: &Installation, name: &str) -> PathBuf {
    let target = installation.path().join(name);
    let (code, told, problems) = installation.run(&["backup", text(&target)]);
    assert_eq!(code, 0, "{told}{problems}");
    let (again, _, problems) = installation.run(&["backup", text(&target)]);
    assert!(again == 1 && problems.contains("is not an empty directory"), "{again} {problems}");
    target
}

#[test]
fn taken_under_load_and_restored() {
    let mut random = Random::of_test("faults::backup");
    let installation = short_leases(Installation::new());
    let running = installation.start();
    let (stop, ledger) = (AtomicBool::new(false), Ledger::default());
    let (before, backup) = std::thread::scope(|scope| {
        let _guard = Stop(&stop);
        for _ in 0..4 {
            let (client, random) = (Client::new(&installation, &running), random.fork());
            let (ledger, stop) = (&ledger, &stop);
            scope.spawn(move || ledger.make_until(stop, &client, &Kind::ALL, random));
        }
        wait_until("something made", Duration::from_secs(60), || ledger.acknowledged().len() > 15);
        let before = ledger.acknowledged();
        let backup = must_back_up(&installation, "backup");
        let so_far = ledger.acknowledged().len();
        wait_until("more made", Duration::from_secs(60), || ledger.acknowledged().len() > so_far);
        stop.store(true, Ordering::Relaxed);
        (before, backup)
    });
    let recorded = installation.database().texts("detail", "audit_records WHERE operation = 'BACKUP' ORDER BY position");
    assert_eq!(recorded, ["began", "done", "began", "failed"]);
    running.kill();
    println!("{} things before the backup, {} in the end", before.len(), ledger.acknowledged().len());
    restored_must_work(&installation, &backup, &before);
}

#[test]
fn taken_with_nothing_running_and_restored() {
    let installation = short_leases(Installation::new());
    let (running, ledger) = (installation.start(), Ledger::default());
    let client = Client::new(&installation, &running);
    Kind::ALL.into_iter().for_each(|kind| ledger.make(&client, kind));
    let (status, log) = running.stop();
    assert!(status.success(), "{log}");
    let backup = must_back_up(&installation, "backup");
    assert_eq!(ledger.acknowledged().len(), Kind::ALL.len());
    // What a backup that broke off leaves has no manifest, and is none.
    let (manifest, away) = (backup.join("manifest.json"), installation.path().join("manifest.json"));
    std::fs::rename(&manifest, &away).expect("moved away");
    let (code, _, told) = installation.empty_copy().run(&["restore", text(&backup)]);
    assert!(code == 1 && told.contains("is no backup"), "{code} {told}");
    std::fs::rename(&away, &manifest).expect("put back");
    restored_must_work(&installation, &backup, &ledger.acknowledged());
}
