//! A random walk: drafts, requests, decisions by anyone, changes from elsewhere, crashes. After each step what people see is exactly as before,
//! or exactly as it was approved.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{STORE, Scene, installation};
use crate::support::installation::Answer;
use crate::support::postgres::Cluster;
use crate::support::random::{Random, is_full};

const ASKERS: [&str; 5] = ["amy1", "mia1", "bob1", "cat1", "dan1"];
const DECIDERS: [&str; 5] = ["bob1", "bob2", "cat1", "amy1", "dan1"];

/// The account of an access key.
fn account(key: &str) -> &str {
    &key[..3]
}

#[derive(Debug, Clone)]
enum Effect {
    Created(String),
    Described(String, String),
    Rotated(String),
    Doomed(String),
}

impl Effect {
    fn key(&self) -> Option<&str> {
        match self {
            Self::Created(_) => None,
            Self::Described(key, _) | Self::Rotated(key) | Self::Doomed(key) => Some(key),
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

struct Walk {
    scene: Scene,
    random: Random,
    open: Option<Open>,
    /// Keys in service.
    keys: Vec<String>,
    before: Vec<String>,
    names: usize,
    applied: usize,
    failed: usize,
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
        match (self.random.below(6), known) {
            (2, Some(key)) => ("PUT", format!("/keys/{key}"), json!({"description": name}), Effect::Described(key, name)),
            (3, Some(key)) => ("POST", format!("/keys/{key}/rotate"), json!({}), Effect::Rotated(key)),
            (4, Some(key)) => ("PUT", format!("/keys/{key}/delete"), json!({}), Effect::Doomed(key)),
            (5, _) => {
                let data = json!({"keyStoreName": STORE, "name": name, "keyData": "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc="});
                ("POST", "/keys/symmetric-keys/import".to_owned(), data, Effect::Created(name))
            }
            _ => ("POST", "/keys/symmetric-keys/create".to_owned(), json!({"keyStoreName": STORE, "name": name}), Effect::Created(name)),
        }
    }

    fn draft(&mut self) {
        let (method, path, body, effect) = self.change();
        let key = self.pick(&ASKERS);
        let answer = self.scene.send(key, method, &path, &[("x-skm-approval-draft", "add")], Some(&body));
        if self.open.as_ref().is_some_and(|open| open.is_ready) {
            return assert_eq!(answer.refusal(), "Open Approval Request");
        }
        // What doesn't go with the rest of the draft is refused; it changes nothing either.
        if answer.status == 202 {
            let open = self.open.get_or_insert_with(|| Open { id: answer.text("approvalId"), ..Open::default() });
            assert_eq!(open.id, answer.text("approvalId"));
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
            assert_eq!(answer.refusal(), "Conflict");
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
        let open = self.open.take().expect("a request");
        match (what, open.is_spoiled) {
            ("deny", _) => self.scene.wait_for(&open.id, "DENIED"),
            (_, true) => {
                self.scene.wait_for(&open.id, "FAILED");
                self.failed += 1;
            }
            (_, false) => {
                self.scene.wait_for(&open.id, "APPROVED");
                self.applied += 1;
                self.all_of(&open);
            }
        }
    }

    /// Every change of it is done, and nothing else.
    fn all_of(&mut self, open: &Open) {
        let after = self.scene.snapshot();
        let mut touched: Vec<String> = open.effects.iter().filter_map(|effect| effect.key().map(str::to_owned)).collect();
        for effect in &open.effects {
            let mut database = self.scene.installation.database();
            let mut one = |column: &str, key: &str| database.texts(column, &format!("keys WHERE id = '{key}'")).remove(0);
            match effect {
                Effect::Created(name) => {
                    let key = self.scene.key(name).unwrap_or_else(|| panic!("{name} is missing"));
                    touched.push(key.clone());
                    self.keys.push(key);
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
                }
            }
        }
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

    /// As the clock or an operator might.
    fn meddle(&mut self) {
        let Some(key) = self.keys.get(self.random.below(self.keys.len().max(1))) else { return };
        self.scene.installation.database().run(&format!("UPDATE keys SET changed_at = changed_at + 1 WHERE id = '{key}'"));
        if let Some(open) = &mut self.open {
            open.is_spoiled |= open.effects.iter().any(|effect| effect.key() == Some(key));
        }
        self.before = self.scene.snapshot();
    }

    fn crash(&mut self) {
        self.scene.running.take().expect("a running service").kill();
        self.scene.restart();
    }

    fn step(&mut self) {
        match self.random.below(20) {
            0..=8 => self.draft(),
            9..=11 => self.ask(),
            12..=15 => self.decide("approve"),
            16 => self.decide("deny"),
            17 => self.withdraw(),
            18 => self.meddle(),
            _ => self.crash(),
        }
        self.unchanged("a step");
    }
}

fn walked(cluster: Option<&Cluster>, steps: usize, random: Random) {
    let scene = Scene::governed(installation(cluster), cluster);
    let before = scene.snapshot();
    let mut walk = Walk { scene, random, open: None, keys: Vec::new(), before, names: 0, applied: 0, failed: 0 };
    for _ in 0..steps {
        walk.step();
    }
    println!("{} applied, {} failed", walk.applied, walk.failed);
    if let Some(open) = walk.open.take() {
        let key = ASKERS.into_iter().find(|key| !open.is_ready || account(key) == open.requester).expect("whoever asked");
        walk.scene.decide(key, &open.id, "withdraw", &json!({})).body();
    }
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
