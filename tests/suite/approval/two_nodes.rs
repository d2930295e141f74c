//! One draft that is edited on two nodes at the same moment: what is kept was tried with all that is in it.

use serde_json::json;

use super::{PATIENCE, STORE, Scene, installation};
use crate::faults::load::wait_until;
use crate::support::postgres::Cluster;
use crate::support::random::is_full;

#[test]
fn what_two_nodes_put_into_a_draft_goes_together() {
    let cluster = Cluster::start();
    let scene = Scene::ungoverned_on(installation(Some(&cluster)), Some(&cluster), |installation| installation.start_node("one"));
    let two = scene.installation.start_node("two");
    let make = |name: &str| json!({"keyStoreName": STORE, "name": name});
    let [first, second] = ["first", "second"].map(|name| scene.own("amy1", "POST", "/keys/symmetric-keys/create", &make(name)).text("keyId"));
    scene.turn_on();
    let on = |node: &crate::support::installation::Running, login: &str, key: &str, name: &str| {
        let headers = [("x-nhn-authorization", scene.tokens[login].as_str()), ("x-skm-approval-draft", "add")];
        node.ask("PUT", &scene.path(&format!("/keys/{key}")), &headers, Some(&json!({"name": name})))
    };
    // The nodes hear of it from the change log.
    wait_until("approval is on", PATIENCE, || on(scene.running(), "amy1", &first, "begun").status == 202);
    wait_until("approval is on", PATIENCE, || on(&two, "mia1", &second, "begun too").status == 202);
    for round in 0..if is_full() { 90 } else { 15 } {
        let name = format!("taken {round}");
        let (one, other) = std::thread::scope(|threads| {
            let one = threads.spawn(|| on(scene.running(), "amy1", &first, &name));
            let other = on(&two, "mia1", &second, &name);
            (one.join(), other)
        });
        let statuses = [one.expect("an answer").status, other.status];
        assert!(statuses.contains(&202) && statuses.contains(&409), "of two keys one takes the name: {statuses:?}");
    }
    let id = scene.installation.database().texts("id", "change_requests WHERE state = 'DRAFT'").remove(0);
    let asked = scene.own("amy1", "POST", &format!("/approvals/{id}/request"), &json!({"note": "n"}));
    assert_eq!(asked.status, 200, "{asked:?}");
    scene.approve("bob1", &id);
    let (status, log) = two.stop();
    assert!(status.success(), "{status}\n{log}");
    scene.finish();
}
