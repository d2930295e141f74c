//! A token that is away while what was approved is applied: that waits, however long; and whoever may no longer ask or approve meanwhile makes it fail.

use serde_json::{Value, json};

use super::{PATIENCE, STORE, Scene, end_leases, installation};
use crate::clockwork::metric;
use crate::faults::load::wait_until;
use crate::faults::settled::{short_leases, wait_until_settled};
use crate::support::postgres::Cluster;
use crate::support::random::is_full;

const IMPORT: &str = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";
/// How many pairs each request makes, beside an imported key and confidential data.
const PAIRS: usize = 4;

/// Asks for keys of that key store, each named after it.
fn ask(scene: &Scene, key: &str, store: &str) -> String {
    let of = |name: &str| json!({"keyStoreName": store, "name": format!("{name} of {store}"), "secretValue": "v", "keyData": IMPORT});
    let mut id = scene.draft(key, "POST", "/keys/symmetric-keys/import", &of("import"));
    scene.draft(key, "POST", "/keys/secrets/create", &of("secret"));
    for number in 0..PAIRS {
        id = scene.draft(key, "POST", "/keys/asymmetric-keys/create", &of(&format!("pair {number}")));
    }
    scene.own(key, "POST", &format!("/approvals/{id}/request"), &json!({"note": "n"})).body();
    id
}

/// Moves the token's directory away, or back.
pub(super) fn move_token(scene: &Scene, from: &str, to: &str, status: u16) {
    let place = |name: &str| scene.installation.path().join(name);
    std::fs::rename(place(from), place(to)).expect("moved");
    wait_until("the token to be missed, or found", PATIENCE, || scene.running().operations("/readyz").0 == status);
}

/// What the job did while it could not do anything.
fn failed_runs(scene: &Scene) -> f64 {
    metric(scene.running(), "skm_task_runs_total{task=\"approvals\",outcome=\"failed\"}").unwrap_or_default()
}

/// Everything but roles, which are changed here on purpose.
fn without_roles(scene: &Scene) -> Vec<String> {
    scene.snapshot().into_iter().filter(|row| !row.starts_with("account_roles ")).collect()
}

fn revoke(scene: &Scene, login: &str, role: &str) {
    let change = json!({"change": "REVOKE_ROLE", "login": login, "role": role, "note": "n"});
    let id = super::asked(&scene.own("dan1", "POST", "/approvals", &change), "READY");
    // Nothing of it is in the token.
    scene.approve("bob1", &id);
}

fn without_a_token(cluster: Option<&Cluster>) {
    let scene = Scene::ungoverned(short_leases(installation(cluster)), cluster);
    for name in ["second", "third"] {
        scene.own("amy1", "POST", "/keystores", &json!({"name": name, "ip4AuthUse": "Y"})).body();
    }
    scene.turn_on();
    let [begun, approver_goes, asker_goes] = [("amy1", STORE), ("amy1", "second"), ("mia1", "third")].map(|(key, store)| ask(&scene, key, store));
    let before = without_roles(&scene);
    std::thread::scope(|scope| {
        let approving = scope.spawn(|| scene.decide("bob1", &begun, "approve", &json!({})));
        let planned = format!("change_items WHERE request_id = '{begun}' AND object_id IS NOT NULL");
        wait_until("the job", PATIENCE, || scene.count(&planned) == i64::try_from(PAIRS + 1).expect("few"));
        move_token(&scene, "tokens", "tokens.away", 503);
        assert_eq!(approving.join().expect("an answer").status, 200);
    });
    for (key, id) in [("cat1", &approver_goes), ("bob1", &asker_goes)] {
        let answer = scene.decide(key, id, "approve", &json!({}));
        assert_eq!((answer.status, answer.text("approvalStatus")), (200, "APPLYING".to_owned()), "{answer:?}");
    }
    revoke(&scene, "cat", "APPROVAL ADMIN");
    revoke(&scene, "mia", "APPROVAL MEMBER");
    // Nobody counts tries that could come to nothing: there is one left.
    scene.installation.database().run("UPDATE change_requests SET attempts = 4 WHERE state = 'APPLYING'");
    for _ in 0..if is_full() { 3 } else { 1 } {
        let runs = failed_runs(&scene);
        end_leases(&scene);
        wait_until("another look at what is to be applied", PATIENCE, || failed_runs(&scene) > runs);
    }
    let applying = scene.count("change_requests WHERE state = 'APPLYING' AND attempts = 4");
    // On a busy machine all of the first may have been made before the token was missed.
    let first = scene.status(&begun);
    assert!(applying == 3 || (applying == 2 && first == "APPROVED"), "{applying}, {first}");
    if applying == 3 {
        assert_eq!(without_roles(&scene), before, "nothing is done by halves");
    }
    // Nobody takes back what was approved.
    for (key, what) in [("bob1", "deny"), ("amy1", "withdraw")] {
        super::refused(&scene.decide(key, &approver_goes, what, &json!({"reason": "r"})), 409, "Invalid Approval Request Status");
    }
    move_token(&scene, "tokens.away", "tokens", 200);
    scene.wait_for(&begun, "APPROVED");
    for (id, store, why) in
        [(&approver_goes, "second", "whoever approved may not approve any more"), (&asker_goes, "third", "whoever asked may not ask any more")]
    {
        scene.wait_for(id, "FAILED");
        assert!(scene.reason(id).contains(why), "{}", scene.reason(id));
        assert_eq!(scene.count(&format!("keys WHERE name LIKE '% of {store}'")), 0, "no trace");
    }
    wait_until_settled(&scene.installation);
    let others: Vec<String> = without_roles(&scene).into_iter().filter(|row| before.contains(row)).collect();
    assert_eq!(others, before);
    assert_eq!(scene.count("keys WHERE state = 'ACTIVE' AND name LIKE '% of %'"), i64::try_from(PAIRS + 2).expect("few"));
    let uses = |path: String, body: Value| assert_eq!(scene.own("amy1", "POST", &path, &body).status, 200, "{path}");
    uses(format!("/symmetric-keys/{}/encrypt", scene.key(&format!("import of {STORE}")).expect("a key")), json!({"plaintext": "x"}));
    uses(format!("/asymmetric-keys/{}/sign", scene.key(&format!("pair 0 of {STORE}")).expect("a key")), json!({"plaintext": "x"}));
    scene.finish();
}

#[test]
fn what_is_approved_waits_for_the_token() {
    without_a_token(None);
    if is_full() {
        without_a_token(Some(&Cluster::start()));
    }
}

/// A token that fails each time that a request is tried isn't tried for ever.
#[test]
fn what_the_token_never_does_fails_when_its_time_is_over() {
    let scene = Scene::governed(short_leases(installation(None)), None);
    // On a busy machine all may have been made before the token was missed.
    for _ in 0..5 {
        let id = ask(&scene, "amy1", STORE);
        let before = scene.snapshot();
        std::thread::scope(|scope| {
            let approving = scope.spawn(|| scene.decide("bob1", &id, "approve", &json!({})));
            wait_until("the job", PATIENCE, || scene.status(&id) != "READY");
            scene.installation.database().run(&format!("UPDATE change_requests SET expires_at = 1, decided_at = 1 WHERE id = '{id}'"));
            move_token(&scene, "tokens", "tokens.away", 503);
            assert_eq!(approving.join().expect("an answer").status, 200);
        });
        move_token(&scene, "tokens.away", "tokens", 200);
        end_leases(&scene);
        wait_until("its end", PATIENCE, || scene.status(&id) != "APPLYING");
        wait_until_settled(&scene.installation);
        if scene.status(&id) == "FAILED" {
            assert!(scene.reason(&id).contains("until the request's time was over"), "{}", scene.reason(&id));
            assert_eq!(scene.snapshot(), before, "no trace");
            return scene.finish();
        }
        scene.installation.database().run("UPDATE keys SET name = name || id");
    }
    panic!("the token was never missed in time");
}
