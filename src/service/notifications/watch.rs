//! What nobody does but the clock notices: deletions that come due, certificates that expire, a token or an audit log in trouble.
//!
//! What is about rows is told once however many nodes look (`Tx::notify_once`); what is about a node, that node tells.

use std::collections::VecDeque;
use std::time::Duration;

use super::super::Service;
use super::super::refusal::Refusal;
use super::super::use_limits::NearLimit;
use super::telling::{key_subject, rule_subject};
use crate::domain::client_checks::RuleValue;
use crate::domain::clock::Timestamp;
use crate::domain::ids::{KeyId, KeyVersion, ProjectId};
use crate::domain::key::State;
use crate::domain::notification::{NotificationEvent, Subject};
use crate::store::{Due, DueKind, DueSubject, Reader, StoreError};

/// How long before it is due a deletion is told of.
const DUE_SOON: Duration = Duration::from_secs(24 * 3_600);
/// How long before their end certificates are told of: once at each.
const EXPIRY_WARNINGS_DAYS: [u64; 2] = [30, 7];
/// How long before its end a server's certificate is told of: it should have been renewed by itself, or by its owner, by then.
const SERVER_EXPIRY_WARNING: Duration = Duration::from_secs(14 * 86_400);
const DAY: Duration = Duration::from_secs(86_400);
/// A rotation that fails is told once in this time.
const ROTATION_FAILED_AGAIN: Duration = DAY;
/// Something that is told once and for all is remembered for so long.
const FOR_ALL: Duration = Duration::from_secs(3 * 365 * 86_400);
/// The most things that are read at a time.
const BATCH: i64 = 256;
/// How many looks in a row must find the token in trouble, or the audit log, before it is told: what heals at once isn't told.
const LOOKS_BEFORE_TOLD: u32 = 2;
/// A database that could not be read for so long can't be written either.
const UNREAD_MAX: Duration = Duration::from_secs(5);
/// At how many looks those are tried who are told without the outbox.
const AT_ONCE_TRIES: u32 = 5;
/// The most of what could not be told yet that a process remembers.
const UNTOLD_MAX: usize = 16;

/// What this process last saw of token and audit log.
#[derive(Debug, Default)]
pub(in crate::service) struct Trouble {
    /// Since when, and how many looks ago, the token can't be used.
    token: Option<(Timestamp, u32)>,
    /// Since when, and how many looks ago, the audit log can't be written.
    audit: Option<(Timestamp, u32)>,
    /// What could not be told yet, with its time.
    untold: VecDeque<(Timestamp, NotificationEvent)>,
}

/// What a look has found to be told.
#[derive(Debug, Default, PartialEq, Eq)]
struct Found {
    /// Through the outbox.
    told: Vec<NotificationEvent>,
    /// Since when the audit log can't be written, where that is to be told now and without the outbox.
    at_once: Option<Timestamp>,
}

impl Trouble {
    /// Notes how it stands, and answers what is to be told.
    fn look(&mut self, now: Timestamp, node: &str, token_is_ready: bool, audit_is_written: bool) -> Found {
        let (mut found, node) = (Found::default(), node.to_owned());
        match (token_is_ready, self.token) {
            (false, None) => self.token = Some((now, 1)),
            (false, Some((since, looks))) => {
                self.token = Some((since, looks.saturating_add(1)));
                if looks.saturating_add(1) == LOOKS_BEFORE_TOLD {
                    found.told.push(NotificationEvent::TokenTrouble { node: node.clone() });
                }
            }
            (true, Some((since, looks))) => {
                self.token = None;
                if looks >= LOOKS_BEFORE_TOLD {
                    found.told.push(NotificationEvent::TokenRecovered { node: node.clone(), since });
                }
            }
            (true, None) => {}
        }
        match (audit_is_written, self.audit) {
            (false, None) => self.audit = Some((now, 1)),
            (false, Some((since, looks))) => {
                let looks = looks.saturating_add(1);
                self.audit = Some((since, looks));
                let is_tried = (LOOKS_BEFORE_TOLD..LOOKS_BEFORE_TOLD.saturating_add(AT_ONCE_TRIES)).contains(&looks);
                found.at_once = is_tried.then_some(since);
            }
            // Only now: while the log can't be written, the outbox can't either.
            (true, Some((since, _))) => {
                self.audit = None;
                found.told.push(NotificationEvent::AuditTrouble { node, since, until: Some(now) });
            }
            (true, None) => {}
        }
        found
    }
}

/// Something that is told once.
struct Telling {
    mark: String,
    keep_until: Timestamp,
    project: Option<ProjectId>,
    event: NotificationEvent,
}

/// What is due within a day, as it is told; none where it is not pending any more, or was told.
fn due_soon(reader: &mut Reader<'_>, due: Due) -> Result<Option<Telling>, StoreError> {
    let pending = |state: State| state == State::PendingDeletion;
    let (mark, about) = match due.what {
        DueSubject::Key(id) => {
            let Some((_, row)) = reader.key(id)?.filter(|(_, row)| pending(row.key.state)) else { return Ok(None) };
            (format!("due-soon/key/{id}"), key_subject(reader, &row.key, None)?)
        }
        DueSubject::Version(id, version) => {
            let Some((_, row)) = reader.key(id)? else { return Ok(None) };
            (format!("due-soon/version/{id}/{version}"), key_subject(reader, &row.key, Some(version))?)
        }
        DueSubject::ClientRule(id) => {
            let Some((_, rule)) = reader.client_rule(id)?.filter(|(_, rule)| pending(rule.state)) else { return Ok(None) };
            (format!("due-soon/entry/{id}"), rule_subject(reader, &rule)?)
        }
        DueSubject::Rotation(_) => return Ok(None),
    };
    // A deletion that is called off and asked for again is another one.
    let mark = format!("{mark}/{}", due.at.micros());
    let Some((project, what)) = about else { return Ok(None) };
    if reader.was_told(&mark)? {
        return Ok(None);
    }
    let event = NotificationEvent::DeletionDueSoon { what, due: due.at };
    Ok(Some(Telling { mark, keep_until: due.at.plus(DAY * 7), project: Some(project), event }))
}

impl Service {
    /// Tells something that is told once; another node that tells it at the same moment is as good.
    async fn tell_once(&self, telling: Telling) -> Result<(), Refusal> {
        let now = self.now();
        let Telling { mark, keep_until, project, event } = telling;
        let told = self.store().change::<_, Refusal, _>(move |tx| Ok(tx.notify_once(&mark, keep_until, project, &event, now)?)).await;
        match told {
            Ok(_) | Err(Refusal::Exists { .. }) => Ok(()),
            Err(refusal) => Err(refusal),
        }
    }

    /// Tells of deletions that come due within a day.
    pub async fn notice_due_soon(&self) -> Result<(), Refusal> {
        let now = self.now();
        for kind in [DueKind::KeyDeletion, DueKind::VersionDeletion, DueKind::ClientRuleDeletion] {
            let mut after = None;
            loop {
                let read = self.store().read::<_, Refusal, _>(move |reader| {
                    let page = reader.due(kind, now.plus(DUE_SOON), after, BATCH)?;
                    let last = page.last().copied();
                    let tellings: Result<Vec<_>, StoreError> = page.into_iter().filter(|due| due.at > now).map(|due| due_soon(reader, due)).collect();
                    Ok((last, tellings?))
                });
                let (last, tellings) = read.await?;
                for telling in tellings.into_iter().flatten() {
                    self.tell_once(telling).await?;
                }
                if last.is_none() {
                    break;
                }
                after = last;
            }
        }
        Ok(())
    }

    /// Tells of clients' certificates and of authorities that expire soon, 30 and 7 days before, once each.
    pub async fn notice_expiry(&self) -> Result<(), Refusal> {
        let now = self.now();
        let mut after = None;
        loop {
            let read = self.store().read::<_, Refusal, _>(move |reader| {
                let page = reader.expiring_entries(now, now.plus(DAY * 30), after, BATCH)?;
                let last = page.last().map(|(_, rule)| rule.id);
                let mut tellings = Vec::new();
                for (_, rule) in page {
                    let RuleValue::Certificate { not_after, .. } = rule.value else { continue };
                    let Some((_, mark)) = warning(&format!("entry/{}", rule.id), not_after, now) else { continue };
                    if reader.was_told(&mark)? {
                        continue;
                    }
                    let Some((project, what)) = rule_subject(reader, &rule)? else { continue };
                    let event = NotificationEvent::CertificateExpires { what, not_after };
                    tellings.push(Telling { mark, keep_until: not_after.plus(DAY), project: Some(project), event });
                }
                Ok((last, tellings))
            });
            let (last, tellings) = read.await?;
            for telling in tellings {
                self.tell_once(telling).await?;
            }
            if last.is_none() {
                break;
            }
            after = last;
        }
        self.notice_authorities(now).await
    }

    async fn notice_authorities(&self, now: Timestamp) -> Result<(), Refusal> {
        for authority in self.list_authorities()?.into_iter().filter(|authority| authority.trusted) {
            let not_after = authority.validity.not_after;
            let Some((_, mark)) = warning(&format!("authority/{}", authority.number), not_after, now) else { continue };
            let event = NotificationEvent::AuthorityExpires { authority: authority.number, not_after };
            self.tell_once(Telling { mark, keep_until: not_after.plus(DAY * 30), project: None, event }).await?;
        }
        Ok(())
    }

    /// Tells, once, that the certificate that this node serves with expires soon.
    pub async fn notice_server_certificate(&self, not_after: Timestamp) -> Result<(), Refusal> {
        if not_after.since(self.now()) > SERVER_EXPIRY_WARNING {
            return Ok(());
        }
        let node = self.0.settings.node.clone();
        let mark = format!("server-certificate/{node}/{}", not_after.micros());
        let event = NotificationEvent::ServerCertificateExpires { node, not_after };
        self.tell_once(Telling { mark, keep_until: not_after.plus(DAY * 30), project: None, event }).await
    }

    /// Tells of trouble with token and audit log, and of its end. What could not be told is told at the next look.
    pub async fn notice_trouble(&self) -> Result<(), Refusal> {
        let (now, token) = (self.now(), self.token().health().ready);
        // While nobody writes, only reading finds a database that is away.
        let audit = self.store().health().is_ok() && self.store().staleness().is_some_and(|age| age <= UNREAD_MAX);
        let node = &self.0.settings.node;
        let at_once = {
            let mut trouble = self.outbox().trouble.lock();
            let Found { told, at_once } = trouble.look(now, node, token, audit);
            trouble.untold.extend(told.into_iter().map(|event| (now, event)));
            while trouble.untold.len() > UNTOLD_MAX {
                trouble.untold.pop_front();
            }
            at_once
        };
        if let Some(since) = at_once {
            self.tell_at_once(&NotificationEvent::AuditTrouble { node: node.clone(), since, until: None }, since).await;
        }
        if !audit {
            return Ok(());
        }
        self.outbox().at_once.lock().end();
        self.tell_untold().await?;
        if token { self.ready_recipients().await } else { Ok(()) }
    }

    async fn tell_untold(&self) -> Result<(), Refusal> {
        loop {
            let Some((at, event)) = self.outbox().trouble.lock().untold.front().cloned() else { return Ok(()) };
            self.store().change::<_, Refusal, _>(move |tx| Ok(tx.notify(None, &event, at)?)).await?;
            self.outbox().trouble.lock().untold.pop_front();
        }
    }

    /// Tells, once a day, that a rotation that is due failed.
    pub(in crate::service) async fn tell_of_failed_rotation(&self, key: KeyId) -> Result<(), Refusal> {
        let now = self.now();
        let day = now.seconds().div_euclid(i64::try_from(ROTATION_FAILED_AGAIN.as_secs()).unwrap_or(1));
        let mark = format!("rotation-failed/{key}/{day}");
        let Some((project, what)) = self.subject_of(key, None).await? else { return Ok(()) };
        let event = NotificationEvent::RotationFailed { what };
        self.tell_once(Telling { mark, keep_until: now.plus(DAY * 2), project: Some(project), event }).await
    }

    /// Tells, once each, of key versions near the limit of their use.
    pub(in crate::service) async fn tell_of_near_limits(&self, near: &NearLimit) -> Result<(), Refusal> {
        for (key, version) in near {
            let (mark, keep_until) = (format!("near-use-limit/{key}/{version}"), self.now().plus(FOR_ALL));
            let (project, what) = match self.subject_of(*key, Some(*version)).await? {
                Some((project, what)) => (Some(project), what),
                // A key of the service's own.
                None => {
                    let name = "a key of the service's own".to_owned();
                    (None, Subject { what: "key version", key: Some(*key), version: Some(*version), name, key_store: None })
                }
            };
            self.tell_once(Telling { mark, keep_until, project, event: NotificationEvent::KeyNearUseLimit { what } }).await?;
        }
        Ok(())
    }

    async fn subject_of(&self, key: KeyId, version: Option<KeyVersion>) -> Result<Option<(ProjectId, Subject)>, Refusal> {
        self.store()
            .read(move |reader| {
                let Some((_, row)) = reader.key(key)? else { return Ok(None) };
                Ok(key_subject(reader, &row.key, version)?)
            })
            .await
    }
}

/// The nearest of the warnings that are due: so many days before the end, and its mark.
fn warning(what: &str, not_after: Timestamp, now: Timestamp) -> Option<(u64, String)> {
    if not_after <= now {
        return None;
    }
    let left = not_after.since(now);
    let days = EXPIRY_WARNINGS_DAYS.into_iter().filter(|days| left <= DAY.saturating_mul(u32::try_from(*days).unwrap_or(u32::MAX))).min()?;
    Some((days, format!("expires/{what}/{}/{days}", not_after.micros())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn certificates_are_told_of_at_thirty_and_at_seven_days() {
        let not_after = at(100 * 86_400);
        let days = |day: i64| warning("x", not_after, at(day * 86_400)).map(|(days, _)| days);
        assert_eq!([69, 70, 92, 93, 99, 100, 101].map(days), [None, Some(30), Some(30), Some(7), Some(7), None, None]);
    }

    fn told(told: impl Into<Vec<NotificationEvent>>) -> Found {
        Found { told: told.into(), at_once: None }
    }

    #[test]
    fn trouble_with_the_token_is_told_once_it_lasts_and_once_it_is_over() {
        let mut trouble = Trouble::default();
        let node = || "one".to_owned();
        assert_eq!(trouble.look(at(0), "one", true, true), told([]));
        // It heals at once.
        assert_eq!(trouble.look(at(1), "one", false, true), told([]));
        assert_eq!(trouble.look(at(2), "one", true, true), told([]));
        assert_eq!(trouble.look(at(3), "one", false, true), told([]));
        assert_eq!(trouble.look(at(4), "one", false, true), told([NotificationEvent::TokenTrouble { node: node() }]));
        assert_eq!(trouble.look(at(5), "one", false, false), told([]));
        let audit = NotificationEvent::AuditTrouble { node: node(), since: at(5), until: Some(at(6)) };
        assert_eq!(trouble.look(at(6), "one", true, true), told([NotificationEvent::TokenRecovered { node: node(), since: at(3) }, audit]));
        assert_eq!(trouble.look(at(7), "one", true, true), told([]));
    }

    #[test]
    fn trouble_with_the_audit_log_is_told_at_once_a_few_times_and_when_it_is_over() {
        let mut trouble = Trouble::default();
        let tried: Vec<i64> = (0..20).filter(|second| trouble.look(at(*second), "one", true, false).at_once == Some(at(0))).collect();
        assert_eq!(tried, [1, 2, 3, 4, 5]);
        let audit = NotificationEvent::AuditTrouble { node: "one".to_owned(), since: at(0), until: Some(at(20)) };
        assert_eq!(trouble.look(at(20), "one", true, true), told([audit]));
    }
}
