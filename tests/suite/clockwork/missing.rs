//! Objects that are taken out of the token behind our back.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::{PATIENCE, decrypts, done, encrypt, installation, make_key, metric};
use crate::faults::load::{Client, wait_until};
use crate::support::installation::Installation;

/// The files of the token's objects.
pub(crate) fn object_files(installation: &Installation) -> BTreeSet<PathBuf> {
    let tokens = std::fs::read_dir(installation.path().join("tokens")).expect("tokens");
    let token = tokens.flatten().find(|entry| entry.path().is_dir()).expect("a token");
    let files = std::fs::read_dir(token.path()).expect("the token").flatten().map(|entry| entry.path());
    files.filter(|path| path.extension().is_some_and(|extension| extension == "object")).collect()
}

#[test]
fn an_old_versions_object_that_is_gone_is_an_alarm() {
    let installation = installation(None);
    let running = installation.start();
    let client = Client::new(&installation, &running);
    let before = object_files(&installation);
    let key = make_key(&client, "symmetric-keys", "key", 0);
    let old = encrypt(&client, &key, "old");
    let first: Vec<_> = object_files(&installation).difference(&before).cloned().collect();
    assert_eq!(first.len(), 1, "{first:?}");
    done(client.own("POST", &format!("/keys/{key}/rotate"), None));
    let new = encrypt(&client, &key, "new");
    assert_eq!(metric(&running, "skm_token_missing_objects"), Some(0.0));
    running.stop();
    std::fs::remove_file(&first[0]).expect("removed");
    // Seen at the start, not only ten minutes later.
    let running = installation.start();
    wait_until("the alarm", PATIENCE, || metric(&running, "skm_token_missing_objects") == Some(1.0));
    let readiness: Value = serde_json::from_str(&running.operations("/readyz").1).expect("JSON");
    assert_eq!((&readiness["ready"], &readiness["missingObjects"]), (&json!(true), &json!(1)), "{readiness}");
    let client = Client::new(&installation, &running);
    decrypts(&client, &key, &new, "new");
    assert_eq!(client.decrypt(&key, &old).expect("an answer").status, 503);
    running.logs("an object that a key in service needs is not in the token");
}
