//! A random walk: drafts, requests, decisions by anyone and by several at the same moment, changes from elsewhere and by the clock, crashes, also amid
//! a job. After each step what people see is exactly as before, or exactly as it was approved.

mod meanwhile;

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{STORE, Scene, installation};
use crate::faults::settled::short_leases;
use crate::support::installation::Answer;
use crate::support::postgres::Cluster;
use crate::support::random::{Random, is_full};

/// Of those who approve one has a hand in a draft now and then: somebody must be left who decides.
const ASKERS: [&str; 7] = ["amy1", "mia1", "dan1", "amy1", "mia1", "dan1", "bob1"];
const DECIDERS: [&str; 6] = ["bob1", "bob2", "cat1", "amy1", "dan1", "cat1"];

/// The account of an access key.
fn account(key: &str) -> &str {
    &key[..3]
}

#[derive(Debug, Clone)]
enum Effect {
    Created(String),
    Entered(String),
    Described(String, String),
    Rotated(String),
    Doomed(String),
    Restored(String),
    Ended(String),
}

impl Effect {
    fn key(&self) -> Option<&str> {
        match self {
            Self::Created(_) | Self::Entered(_) => None,
            Self::Described(key, _) | Self::Rotated(key) | Self::Doomed(key) | Self::Restored(key) | Self::Ended(key) => Some(key),
        }
    }
}

/// The one draft or request that the key store has.
#[derive(Debug, Default)]
struct Open {
    id: String,
    is_ready: bool,
    requester: String,
    editors: BTreeSet<String>,
    effects: Vec<Effect>,
    /// Something that it builds on was changed from elsewhere.
    is_spoiled: bool,
}

impl Open {
    fn builds_on(&self, key: &str) -> bool {
        self.effects.iter().any(|effect| effect.key() == Some(key))
    }
}

struct Walk {
    scene: Scene,
    random: Random,
    open: Option<Open>,
    /// Keys in service.
    keys: Vec<String>,
    /// Those that ever were confidential data.
    secrets: Vec<String>,
    /// Keys that are to be deleted.
    pending: Vec<String>,
    before: Vec<String>,
    names: usize,
    applied: usize,
    failed: usize,
    /// How often the process was killed amid a job.
    amid: usize,
}

impl Walk {
    fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.random.below(of.len())]
    }

    fn unchanged(&self, what: &str) {
        assert_eq!(self.scene.snapshot(), self.before, "{what}: {:?}", self.open);
    }

    fn change(&mut self) -> (&'static str, String, Value, Effect) {
        self.names += 1;
        let name = format!("walked {}", self.names);
        let known = self.keys.get(self.random.below(self.keys.len().max(1))).cloned();
        let pending = self.pending.get(self.random.below(self.pending.len().max(1))).cloned();
        let secret = known.as_ref().is_some_and(|key| self.secrets.contains(key));
        match (self.random.below(11), known, pending) {
            (2, Some(key), _) => ("PUT", format!("/keys/{key}"), json!({"description": name}), Effect::Described(key, name)),
            (3, Some(key), _) if !secret => ("POST", format!("/keys/{key}/rotate"), json!({}), Effect::Rotated(key)),
            (3 | 8, Some(key), _) if secret => ("PUT", format!("/secrets/{key}"), json!({"secretValue": name}), Effect::Rotated(key)),
            (9, _, _) => {
                let data = json!({"keyStoreName": STORE, "name": format!("{name} secret"), "secretValue": "v"});
                ("POST", "/keys/secrets/create".to_owned(), data, Effect::Created(format!("{name} secret")))
            }
            (10, _, _) => {
                let value = format!("10.{}.{}.1", 100 + self.names / 100, 100 + self.names % 100);
                ("POST", "/auths/ipv4s".to_owned(), json!({"keyStoreName": STORE, "value": value}), Effect::Entered(value))
            }
            (4, Some(key), _) => ("PUT", format!("/keys/{key}/delete"), json!({}), Effect::Doomed(key)),
            (5, _, _) => {
                let data = json!({"keyStoreName": STORE, "name": name, "keyData": "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc="});
                ("POST", "/keys/symmetric-keys/import".to_owned(), data, Effect::Created(name))
            }
            (6, _, Some(key)) => ("PUT", format!("/keys/{key}/restore"), json!({}), Effect::Restored(key)),
            (7, _, Some(key)) => ("DELETE", format!("/keys/{key}"), json!({}), Effect::Ended(key)),
            (kind, _, _) => {
                let kind = if kind == 0 { "asymmetric-keys" } else { "symmetric-keys" };
                let data = json!({"keyStoreName": STORE, "name": name, "autoRotationPeriod": 30});
                ("POST", format!("/keys/{kind}/create"), data, Effect::Created(name))
            }
        }
    }

    fn draft(&mut self) {
        let (method, path, body, effect) = self.change();
        let key = self.pick(&ASKERS);
        let answer = self.scene.send(key, method, &path, &[("x-skm-approval-draft", "add")], Some(&body));
        if self.open.as_ref().is_some_and(|open| open.is_ready) {
            return assert_eq!(answer.refusal(), "Open Approval Request");
        }
        self.drafted(vec![(key, effect, answer)]);
    }

    /// Takes note of what is in the draft now. What doesn't go with the rest of it is refused; it changes nothing either.
    fn drafted(&mut self, answers: Vec<(&str, Effect, Answer)>) {
        let mut taken: Vec<_> = answers.into_iter().filter(|(.., answer)| answer.status == 202).collect();
        taken.sort_by_key(|(.., answer)| answer.body()["position"].as_u64());
        for (key, effect, answer) in taken {
            let open = self.open.get_or_insert_with(|| Open { id: answer.text("approvalId"), ..Open::default() });
            assert_eq!(open.id, answer.text("approvalId"), "a key store has one open draft or request");
            open.editors.insert(account(key).to_owned());
            open.effects.push(effect);
        }
    }

    fn ask(&mut self) {
        let key = self.pick(&ASKERS);
        let Some(open) = &mut self.open else { return };
        let answer = self.scene.own(key, "POST", &format!("/approvals/{}/request", open.id), &json!({"note": "n"}));
        if open.is_ready {
            assert_eq!(answer.refusal(), "Invalid Approval Request Status");
        } else if open.is_spoiled {
            // What it builds on has changed, or is gone.
            assert!([404, 409].contains(&answer.status), "{answer:?}");
        } else {
            answer.body();
            (open.is_ready, open.requester) = (true, account(key).to_owned());
        }
    }

    /// Whether this access key decides upon the request.
    fn may_decide(&self, key: &str) -> bool {
        let open = self.open.as_ref().expect("a request");
        ["bob", "cat"].contains(&account(key)) && open.is_ready && open.requester != account(key) && !open.editors.contains(account(key))
    }

    fn decide(&mut self, what: &str) {
        let key = self.pick(&DECIDERS);
        let Some(open) = &self.open else { return };
        let answer: Answer = self.scene.decide(key, &open.id, what, &json!({"reason": "r"}));
        if !self.may_decide(key) {
            return assert!([403, 409].contains(&answer.status), "{key} {what}: {answer:?}");
        }
        assert_eq!(answer.status, 200, "{key} {what}: {answer:?}");
        self.comes_to(what);
    }

    /// What becomes of the request by that decision.
    fn comes_to(&mut self, what: &str) {
        let open = self.open.take().expect("a request");
        match (what, open.is_spoiled) {
            ("deny", _) => self.scene.wait_for(&open.id, "DENIED"),
            ("withdraw", _) => self.scene.wait_for(&open.id, "WITHDRAWN"),
            (_, true) => {
                self.scene.wait_for(&open.id, "FAILED");
                self.failed += 1;
            }
            (_, false) => {
                self.scene.wait_for(&open.id, "APPROVED");
                self.applied += 1;
                self.all_of(&open, None);
            }
        }
    }

    /// Every change of it is done, and nothing else but what came due.
    fn all_of(&mut self, open: &Open, due: Option<&str>) {
        let after = self.scene.snapshot();
        let mut touched: Vec<String> = open.effects.iter().filter_map(|effect| effect.key().map(str::to_owned)).collect();
        touched.extend(due.map(str::to_owned));
        for effect in &open.effects {
            let mut database = self.scene.installation.database();
            let mut one = |column: &str, key: &str| database.texts(column, &format!("keys WHERE id = '{key}'")).remove(0);
            match effect {
                Effect::Created(name) => {
                    let key = self.scene.key(name).unwrap_or_else(|| panic!("{name} is missing"));
                    touched.push(key.clone());
                    if name.ends_with(" secret") {
                        self.secrets.push(key.clone());
                    }
                    self.keys.push(key);
                }
                Effect::Entered(value) => {
                    assert_eq!(self.scene.count(&format!("client_rules WHERE value LIKE '{value}%' AND state = 'ACTIVE'")), 1, "{value}");
                    touched.push(value.clone());
                }
                Effect::Described(key, text) => {
                    let last = open.effects.iter().rev().find_map(|effect| match effect {
                        Effect::Described(of, text) if of == key => Some(text),
                        _ => None,
                    });
                    assert_eq!(Some(&one("description", key)), last, "{text}");
                }
                Effect::Rotated(key) => assert_ne!(one("current_version", key), "0"),
                Effect::Doomed(key) => {
                    assert_eq!(one("state", key), "PENDING_DELETION");
                    self.keys.retain(|known| known != key);
                    self.pending.push(key.clone());
                }
                Effect::Restored(key) => {
                    assert_eq!(one("state", key), "ACTIVE");
                    self.pending.retain(|known| known != key);
                    self.keys.push(key.clone());
                }
                Effect::Ended(key) => {
                    assert!(["DESTROYING", "DESTROYED"].contains(&one("state", key).as_str()));
                    self.pending.retain(|known| known != key);
                }
            }
        }
        self.nothing_else(after, &touched);
    }

    /// Of other keys than these everything is as it was.
    fn nothing_else(&mut self, after: Vec<String>, touched: &[String]) {
        let others = |rows: &[String]| rows.iter().filter(|row| !touched.iter().any(|key| row.contains(key.as_str()))).cloned().collect::<Vec<_>>();
        assert_eq!(others(&after), others(&self.before), "nothing else");
        self.before = after;
    }

    fn withdraw(&mut self) {
        let key = self.pick(&ASKERS);
        let Some(open) = &self.open else { return };
        let answer = self.scene.decide(key, &open.id, "withdraw", &json!({}));
        if open.is_ready && open.requester != account(key) {
            assert_eq!(answer.refusal(), "Forbidden");
        } else {
            answer.body();
            self.scene.wait_for(&open.id, "WITHDRAWN");
            self.open = None;
        }
    }

    fn step(&mut self) {
        match self.random.below(28) {
            0..=7 => self.draft(),
            8..=9 => self.draft_at_once(),
            10..=13 => self.ask(),
            14..=16 => self.decide("approve"),
            17 => self.decide("deny"),
            18..=20 => self.decide_at_once(),
            21 => self.withdraw(),
            22 => self.meddle(),
            23 => self.falls_due(),
            24 => self.is_deleted(),
            25 => self.crash(),
            _ => self.crash_amid_a_job(),
        }
        self.unchanged("a step");
    }

    /// Withdraws what is open.
    fn close(&mut self) {
        let Some(open) = self.open.take() else { return };
        let key = ASKERS.into_iter().find(|key| !open.is_ready || account(key) == open.requester).expect("whoever asked");
        self.scene.decide(key, &open.id, "withdraw", &json!({})).body();
    }

    /// A request whose key is changed from elsewhere between its asking and its approval.
    fn overtaken(&mut self) {
        self.close();
        let (key, text) = (self.keys.first().cloned().expect("a key"), "overtaken".to_owned());
        let body = json!({"description": text});
        let answer = self.scene.send("amy1", "PUT", &format!("/keys/{key}"), &[("x-skm-approval-draft", "add")], Some(&body));
        self.drafted(vec![("amy1", Effect::Described(key.clone(), text), answer)]);
        let open = self.open.as_mut().expect("a draft");
        self.scene.own("amy1", "POST", &format!("/approvals/{}/request", open.id), &json!({"note": "n"})).body();
        (open.is_ready, open.requester) = (true, account("amy1").to_owned());
        let id = open.id.clone();
        self.meddle_with(&key);
        assert_eq!(self.scene.decide("cat1", &id, "approve", &json!({})).status, 200);
        self.comes_to("approve");
    }

    /// Towards what a walk has to come to: requests that are applied, and that the process is killed amid.
    fn step_on(&mut self) {
        match self.random.below(8) {
            0..=1 => self.draft(),
            2..=3 => self.ask(),
            4 => self.decide("approve"),
            5 => self.meddle(),
            6 => self.withdraw(),
            _ => self.crash_amid_a_job(),
        }
        self.unchanged("a step on");
    }
}

fn walked(cluster: Option<&Cluster>, steps: usize, random: Random) {
    let scene = Scene::governed(short_leases(installation(cluster)), cluster);
    let before = scene.snapshot();
    let mut walk =
        Walk { scene, random, open: None, keys: Vec::new(), secrets: Vec::new(), pending: Vec::new(), before, names: 0, applied: 0, failed: 0, amid: 0 };
    let mut taken = 0;
    // However it goes, something comes of it.
    while taken < steps || walk.applied < steps / 15 || walk.amid == 0 || walk.keys.is_empty() {
        if taken < steps {
            walk.step()
        } else {
            walk.step_on()
        }
        taken += 1;
        assert!(taken < 12 * steps, "{} applied in {taken} steps, {} failed, {} killed amid a job", walk.applied, walk.failed, walk.amid);
    }
    if walk.failed == 0 {
        walk.overtaken();
    }
    println!("{taken} steps: {} applied, {} failed, {} killed amid a job", walk.applied, walk.failed, walk.amid);
    walk.close();
    walk.unchanged("the end");
    walk.scene.finish();
}

#[test]
fn as_before_or_as_approved_on_sqlite() {
    walked(None, if is_full() { 1_000 } else { 60 }, Random::of_test("approval::walk::as_before_or_as_approved_on_sqlite"));
}

#[test]
fn as_before_or_as_approved_on_postgresql() {
    let random = Random::of_test("approval::walk::as_before_or_as_approved_on_postgresql");
    walked(Some(&Cluster::start()), if is_full() { 1_000 } else { 40 }, random);
}
