//! Revocation lists: one for each authority, made when somebody asks and what is revoked has changed.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use bytes::Bytes;
use tokio::sync::Mutex;

use super::Service;
use super::authorities::Authority;
use super::pki::{RevocationReason, RevokedCertificate};
use super::refusal::Refusal;
use crate::domain::caller::Caller;
use crate::domain::clock::Timestamp;
use crate::domain::result_code::ResultCode;
use crate::store::{Reader, RevokedRule};

/// A list says that the next one comes within this time.
const NEXT_UPDATE: Duration = Duration::from_secs(24 * 60 * 60);
/// A list that is older than this is made anew, whatever has changed.
const REISSUED_AFTER: Duration = Duration::from_secs(60 * 60);
/// What is revoked is looked at again after this time even if the change log told nothing. With [`MAX_AGE`] it makes what clients and
/// caches have less than a minute old.
const LOOKED_AT_AFTER: Duration = Duration::from_secs(20);
/// The shortest time between two looks.
const PAUSE: Duration = Duration::from_secs(2);
/// How long clients and caches may keep an answer.
pub const MAX_AGE: Duration = Duration::from_secs(20);
/// A revoked certificate stays on the lists for so long after one that was made after its end (RFC 5280, 3.3: it must be on one such).
const KEPT_AFTER_EXPIRY: Duration = Duration::from_secs(2 * 24 * 60 * 60);
/// The most revoked certificates of one authority: a list of some 5 MB.
const REVOKED_MAX: i64 = 100_000;

/// A list as it was made.
#[derive(Debug)]
struct List {
    der: Bytes,
    at: Timestamp,
    revoked: Vec<RevokedCertificate>,
    /// How many changes were known when what is revoked was last read.
    seen: AtomicU64,
    /// When that was.
    looked: parking_lot::Mutex<Instant>,
}

impl List {
    fn is_young(&self, now: Timestamp) -> bool {
        now.since(self.at) < REISSUED_AFTER && now >= self.at
    }

    fn look_is_fresh(&self, changes: u64) -> bool {
        let age = self.looked.lock().elapsed();
        age < PAUSE || age < LOOKED_AT_AFTER && self.seen.load(Ordering::Acquire) == changes
    }
}

/// The lists of this process, by the authority's number.
#[derive(Debug, Default)]
pub(super) struct Revocations {
    lists: ArcSwap<HashMap<u32, Arc<List>>>,
    /// How often the change log told of what a list could say.
    changes: AtomicU64,
    /// One list is made at a time; when that last failed.
    making: Mutex<Option<Instant>>,
}

impl Revocations {
    pub(super) fn note_change(&self) {
        self.changes.fetch_add(1, Ordering::AcqRel);
    }
}

fn revoked(rule: RevokedRule) -> RevokedCertificate {
    let reason = if rule.on_hold { RevocationReason::CertificateHold } else { RevocationReason::CessationOfOperation };
    RevokedCertificate { serial: rule.serial, at: rule.at, reason }
}

/// What an authority's list says at `now`. What was on a list goes only after one that was made when it had expired.
fn read_revoked(reader: &mut Reader<'_>, authority: &Authority, previous: Timestamp, now: Timestamp) -> Result<Vec<RevokedCertificate>, Refusal> {
    let expired_before = previous.min(now).minus(KEPT_AFTER_EXPIRY);
    let rules = reader.revoked_certificates(authority.version, expired_before, REVOKED_MAX + 1)?;
    if i64::try_from(rules.len()).is_ok_and(|count| count > REVOKED_MAX) {
        return Err(Refusal::unavailable(format!("more than {REVOKED_MAX} certificates of one authority are revoked")));
    }
    Ok(rules.into_iter().map(revoked).collect())
}

impl Service {
    /// The revocation list of an authority, DER: at most some seconds behind what this node knows. While database or token can't be used,
    /// the last list until it ends. For everybody: only the limit of addresses holds, and nothing is recorded.
    pub async fn revocation_list(&self, caller: &Caller, authority: u32) -> Result<Bytes, Refusal> {
        self.admit_address(caller, || None)?;
        let (authorities, now) = (self.authorities()?, self.now());
        let found = authorities.trusted(now).find(|trusted| trusted.number() == authority).cloned();
        let authority = found.ok_or(ResultCode::UrlNotFound)?;
        if let Some(list) = self.list_in_time(&authority) {
            return Ok(list);
        }
        let mut failed = self.0.revocations.making.lock().await;
        if let Some(list) = self.list_in_time(&authority) {
            return Ok(list);
        }
        let made = if failed.is_some_and(|at| at.elapsed() < PAUSE) {
            Err(Refusal::unavailable("the revocation list could not be made a moment ago"))
        } else {
            self.look_again(&authority).await
        };
        match made {
            Ok(list) => {
                *failed = None;
                Ok(list)
            }
            Err(refusal) => {
                if failed.is_none_or(|at| at.elapsed() >= PAUSE) {
                    *failed = Some(Instant::now());
                    tracing::warn!(?refusal, "a revocation list could not be made; the last one is given out until it ends");
                }
                let last = self.kept_list(&authority).filter(|list| now.since(list.at) < NEXT_UPDATE);
                last.map(|list| list.der.clone()).ok_or(refusal)
            }
        }
    }

    fn kept_list(&self, authority: &Authority) -> Option<Arc<List>> {
        self.0.revocations.lists.load().get(&authority.number()).cloned()
    }

    fn list_in_time(&self, authority: &Authority) -> Option<Bytes> {
        let changes = self.0.revocations.changes.load(Ordering::Acquire);
        let list = self.kept_list(authority)?;
        (list.is_young(self.now()) && list.look_is_fresh(changes)).then(|| list.der.clone())
    }

    /// Reads what is revoked, and makes a list if the last one says something else or is old.
    async fn look_again(&self, authority: &Arc<Authority>) -> Result<Bytes, Refusal> {
        let (now, began) = (self.now(), Instant::now());
        let changes = self.0.revocations.changes.load(Ordering::Acquire);
        if let Some(list) = self.kept_list(authority).filter(|list| list.is_young(now)) {
            let (of, previous) = (Arc::clone(authority), list.at);
            let as_of_now = self.store().read::<_, Refusal, _>(move |reader| read_revoked(reader, &of, previous, now)).await?;
            if as_of_now == list.revoked {
                list.seen.store(changes, Ordering::Release);
                *list.looked.lock() = began;
                return Ok(list.der.clone());
            }
        }
        let list = self.make_list(authority, now, changes, began).await?;
        let der = list.der.clone();
        let mut lists = HashMap::clone(&self.0.revocations.lists.load());
        lists.insert(authority.number(), Arc::new(list));
        self.0.revocations.lists.store(Arc::new(lists));
        Ok(der)
    }

    async fn make_list(&self, authority: &Arc<Authority>, at: Timestamp, changes: u64, looked: Instant) -> Result<List, Refusal> {
        let of = Arc::clone(authority);
        let (number, revoked) = self
            .store()
            .change::<_, Refusal, _>(move |tx| {
                let previous = tx.newest_revocation_list(of.version)?.at;
                let number = tx.next_revocation_list(of.version, at)?;
                Ok((number, read_revoked(tx, &of, previous, at)?))
            })
            .await?;
        let of = Arc::clone(authority);
        let signed = tokio::task::spawn_blocking(move || {
            let next_update = at.plus(NEXT_UPDATE).min(of.ca.not_after());
            of.ca.crl(&revoked, number, at, next_update).map(|der| (der, revoked))
        });
        let (der, revoked) = signed.await.map_err(|_| Refusal::unavailable("making a revocation list panicked"))??;
        Ok(List { der: der.into(), at, revoked, seen: AtomicU64::new(changes), looked: parking_lot::Mutex::new(looked) })
    }
}
