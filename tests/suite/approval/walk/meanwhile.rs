//! Steps of the walk in which several things happen at once: several who draft or decide, the clock, crashes.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{ASKERS, DECIDERS, Open, Walk, account};
use crate::approval::{PATIENCE, end_leases};
use crate::clockwork::{DAY, now};
use crate::faults::load::wait_until;
use crate::support::installation::Answer;

impl Walk {
    /// Several put something into the draft at the same moment.
    pub(super) fn draft_at_once(&mut self) {
        let changes: Vec<_> = (0..3).map(|_| (self.pick(&ASKERS), self.change())).collect();
        let scene = &self.scene;
        let answers = std::thread::scope(|threads| {
            let send = |key: &str, method: &str, path: &str, body: &Value| scene.send(key, method, path, &[("x-skm-approval-draft", "add")], Some(body));
            let asked: Vec<_> = changes.iter().map(|(key, (method, path, body, _))| threads.spawn(move || send(key, method, path, body))).collect();
            asked.into_iter().map(|asked| asked.join().expect("an answer")).collect::<Vec<_>>()
        });
        assert!(answers.iter().all(|answer| [202, 400, 403, 404, 409].contains(&answer.status)), "{answers:?}");
        let is_frozen = self.open.as_ref().is_some_and(|open| open.is_ready);
        assert!(!is_frozen || answers.iter().all(|answer| answer.status != 202), "{answers:?}");
        self.drafted(changes.into_iter().zip(answers).map(|((key, (.., effect)), answer)| (key, effect, answer)).collect());
    }

    /// Several decide at the same moment: of those who may, one does.
    pub(super) fn decide_at_once(&mut self) {
        let asked: Vec<(&str, &str)> = (0..3)
            .map(|_| match self.random.below(3) {
                0 | 1 => (self.pick(&DECIDERS), if self.random.below(3) == 0 { "deny" } else { "approve" }),
                _ => (self.pick(&ASKERS), "withdraw"),
            })
            .collect();
        let Some(open) = self.open.as_ref().filter(|open| open.is_ready) else { return };
        let scene = &self.scene;
        let answers: Vec<Answer> = std::thread::scope(|threads| {
            let sent: Vec<_> = asked.iter().map(|(key, what)| threads.spawn(move || scene.decide(key, &open.id, what, &json!({"reason": "r"})))).collect();
            sent.into_iter().map(|sent| sent.join().expect("an answer")).collect()
        });
        let may = |(key, what): &(&str, &str)| if *what == "withdraw" { account(key) == open.requester } else { self.may_decide(key) };
        let winners: Vec<_> = asked.iter().zip(&answers).filter(|(_, answer)| answer.status == 200).map(|(asked, _)| *asked).collect();
        assert_eq!(winners.len(), usize::from(asked.iter().any(may)), "{asked:?}: {answers:?}");
        assert!(winners.iter().all(may), "{asked:?}: {answers:?}");
        assert!(answers.iter().all(|answer| [200, 403, 409].contains(&answer.status)), "{answers:?}");
        if let Some((_, what)) = winners.first() {
            self.comes_to(what);
        }
    }

    /// As the clock or an operator might; every other time with a key that the draft or request builds on.
    pub(super) fn meddle(&mut self) {
        let built_on: Vec<_> = self.open.iter().flat_map(|open| &open.effects).filter_map(|effect| effect.key()).collect();
        let keys = if built_on.is_empty() || self.random.below(2) == 0 { self.keys.iter().map(String::as_str).collect() } else { built_on };
        if let Some(key) = keys.get(self.random.below(keys.len().max(1))).map(|key| (*key).to_owned()) {
            self.meddle_with(&key);
        }
    }

    pub(super) fn meddle_with(&mut self, key: &str) {
        self.scene.installation.database().run(&format!("UPDATE keys SET changed_at = changed_at + 1 WHERE id = '{key}'"));
        if let Some(open) = &mut self.open {
            open.is_spoiled |= open.builds_on(key);
        }
        self.before = self.scene.snapshot();
    }

    pub(super) fn crash(&mut self) {
        self.scene.running.take().expect("a running service").kill();
        self.scene.restart();
    }

    /// A key that rotates is due while nothing runs: that happens as ever, and spoils what builds on the key.
    pub(super) fn falls_due(&mut self) {
        if let Some(key) = self.make_due() {
            self.scene.running.take().expect("a running service").kill();
            self.scene.restart();
            self.waits_for_rotation(&key);
            self.nothing_else(self.scene.snapshot(), std::slice::from_ref(&key));
            if let Some(open) = &mut self.open {
                open.is_spoiled |= open.builds_on(&key);
            }
        }
    }

    /// The same of a key whose deletion is due.
    pub(super) fn is_deleted(&mut self) {
        let Some(key) = self.pending.get(self.random.below(self.pending.len().max(1))).cloned() else { return };
        self.scene.installation.database().run(&format!("UPDATE keys SET deletion_at = {} WHERE id = '{key}'", now() - DAY / 24));
        self.crash();
        let gone = format!("keys WHERE id = '{key}' AND state = 'DESTROYED'");
        wait_until("a due deletion", PATIENCE, || self.scene.count(&gone) == 1);
        self.pending.retain(|known| *known != key);
        self.nothing_else(self.scene.snapshot(), std::slice::from_ref(&key));
        if let Some(open) = &mut self.open {
            open.is_spoiled |= open.builds_on(&key);
        }
    }

    /// As if the period of some key were over.
    fn make_due(&mut self) -> Option<String> {
        let key = self.keys.get(self.random.below(self.keys.len().max(1))).cloned()?;
        let mut database = self.scene.installation.database();
        let rotates = format!("keys WHERE id = '{key}' AND next_rotation_at IS NOT NULL");
        if database.count(&rotates) == 0 {
            return None;
        }
        database.run(&format!("UPDATE keys SET next_rotation_at = {} WHERE id = '{key}'", now() - DAY));
        self.before = self.scene.snapshot();
        Some(key)
    }

    fn waits_for_rotation(&self, key: &str) {
        let waits = format!("keys WHERE id = '{key}' AND state = 'ACTIVE' AND next_rotation_at < {}", now());
        wait_until("a due rotation", PATIENCE, || self.scene.count(&waits) == 0);
    }

    /// Killed while a request is applied, now and then while a key is due: whoever starts then has both to do.
    pub(super) fn crash_amid_a_job(&mut self) {
        let deciders = DECIDERS.into_iter().filter(|key| self.open.is_some() && self.may_decide(key)).collect::<Vec<_>>();
        let Some(decider) = deciders.first() else { return self.crash() };
        let due = if self.random.below(2) == 0 { self.make_due() } else { None };
        let wait = self.random.between(Duration::ZERO, Duration::from_millis(100));
        let sees_it_begin = self.random.below(4) > 0;
        let open = self.open.take().expect("a request");
        let running = self.scene.running.take().expect("a running service");
        let (path, bearer) = (self.scene.path(&format!("/approvals/{}/approve", open.id)), self.scene.tokens[*decider].clone());
        std::thread::scope(|threads| {
            let approving = &running;
            threads.spawn(move || drop(approving.call(false, "POST", &path, &[("x-nhn-authorization", &bearer)], Some(b"{}"))));
            if sees_it_begin {
                let since = Instant::now();
                while self.scene.status(&open.id) == "READY" && since.elapsed() < PATIENCE {}
            } else {
                std::thread::sleep(wait);
            }
            approving.signal("KILL");
        });
        running.kill();
        self.amid += usize::from(self.scene.status(&open.id) == "APPLYING");
        end_leases(&self.scene);
        self.scene.restart();
        self.after_the_crash(open, due.as_deref());
    }

    fn after_the_crash(&mut self, open: Open, due: Option<&str>) {
        let id = open.id.clone();
        wait_until("the end of a job", PATIENCE, || self.scene.status(&id) != "APPLYING");
        if let Some(key) = due {
            self.waits_for_rotation(key);
        }
        let spoils = due.is_some_and(|key| open.builds_on(key));
        let touched: Vec<String> = due.map(str::to_owned).into_iter().collect();
        match self.scene.status(&id).as_str() {
            "APPROVED" => {
                assert!(!open.is_spoiled, "{open:?}");
                self.applied += 1;
                self.all_of(&open, due);
            }
            "FAILED" => {
                assert!(open.is_spoiled || spoils, "{}: {open:?}", self.scene.reason(&id));
                self.failed += 1;
                self.nothing_else(self.scene.snapshot(), &touched);
            }
            // It was killed before the decision was durable.
            "READY" => {
                self.nothing_else(self.scene.snapshot(), &touched);
                self.open = Some(Open { is_spoiled: open.is_spoiled || spoils, ..open });
            }
            other => panic!("{other}: {open:?}"),
        }
    }
}
