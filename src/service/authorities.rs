//! The internal certificate authorities: which one issues what, and their renewal with overlap.
//!
//! A renewal makes a new key in the token and a certificate for it; both authorities are trusted from then on, until the old one expires.
//! Clients' certificates come from the new one as soon as every node trusts it, the server's own from the old one until clients had time
//! to learn the new one.
//!
//! | step | a crash here leaves | healed by |
//! |---|---|---|
//! | 1. rows of the new version of the CA's key, `PROVISIONING`; the unique index lets one node at a time | rows | the reconciler, after the lease |
//! | 2. the pair in the token; it signs its own certificate | an object of a `PROVISIONING` row | the same |
//! | 3. one transaction: rows `ACTIVE`, certificate, audit record, change number | nothing: the authority is there, and every node loads it | |
//! | 4. loaded here, the answer | | |

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, watch};

use super::Service;
use super::administration::Operator;
use super::pki::{self, Ca, TokenKey, Validity};
use super::provisioning::{NewMaterial, random_id};
use super::refusal::Refusal;
use crate::domain::audit::{Actor, AuditEvent, Operation, Uses};
use crate::domain::caller::Caller;
use crate::domain::clock::Timestamp;
use crate::domain::ids::{KeyId, KeyVersion};
use crate::domain::key::{Origin, Stamp};
use crate::domain::renewal::{authority_is_due, server_certificate_is_due};
use crate::domain::text::Invalid;
use crate::hsm::ObjectKind;
use crate::store::{Change, InternalKey, KeptAuthority, PlannedObject, Purpose, Tx};

/// How long an internal authority lives.
pub(super) const AUTHORITY_LIFE: Duration = Duration::from_secs(10 * 365 * 86_400);
/// The most authorities that are valid at a time.
const AUTHORITIES_MAX: usize = 8;
/// So long after its making every node trusts an authority: a node that hears nothing for half of that refuses to work.
const LEARNED_WITHIN: Duration = Duration::from_secs(2);

/// How the internal authorities work.
#[derive(Debug, Clone, Default)]
pub struct CertificateSettings {
    /// What stands before `/pki/crl/…` in issued certificates; without, they name no revocation list.
    pub public_url: Option<String>,
    /// How long the server's own certificate goes on being issued by the old authority after a renewal.
    pub overlap: Duration,
}

/// One authority.
#[derive(Debug)]
pub(super) struct Authority {
    pub(super) ca: Ca,
    pub(super) version: KeyVersion,
    created: Timestamp,
}

impl Authority {
    /// Its number for people: they count from 1.
    pub(super) fn number(&self) -> u32 {
        self.version.number().saturating_add(1)
    }

    fn is_valid(&self, now: Timestamp) -> bool {
        now < self.ca.not_after()
    }

    fn is_due(&self, now: Timestamp) -> bool {
        authority_is_due(self.created, self.ca.not_after(), now)
    }
}

/// All authorities, oldest first and never none, once they are loaded.
#[derive(Debug)]
pub(super) struct Authorities {
    all: Vec<Arc<Authority>>,
    newest: Arc<Authority>,
    /// Seals `.p12` files.
    pub(super) seal: InternalKey,
}

impl Authorities {
    /// Those whose certificates are accepted.
    pub(super) fn trusted(&self, now: Timestamp) -> impl Iterator<Item = &Arc<Authority>> {
        self.all.iter().filter(move |authority| authority.is_valid(now))
    }

    /// The one that issues clients' certificates.
    pub(super) fn for_clients(&self, now: Timestamp) -> Arc<Authority> {
        self.newest_older_than(LEARNED_WITHIN, now)
    }

    /// The one that issues servers' certificates.
    fn for_servers(&self, overlap: Duration, now: Timestamp) -> Arc<Authority> {
        self.newest_older_than(overlap, now)
    }

    /// The newest that has been there for that long, else the oldest that is valid, else the newest.
    fn newest_older_than(&self, age: Duration, now: Timestamp) -> Arc<Authority> {
        let old_enough = |authority: &&Arc<Authority>| authority.created.plus(age) <= now;
        let mut from_newest = self.all.iter().rev().filter(|authority| authority.is_valid(now));
        let found = from_newest.find(old_enough).or_else(|| self.trusted(now).next());
        Arc::clone(found.unwrap_or(&self.newest))
    }
}

/// What holds the authorities in a process.
#[derive(Debug)]
pub(super) struct AuthorityRoom {
    loaded: arc_swap::ArcSwapOption<Authorities>,
    /// One at a time: what was read first must not be kept last.
    loading: Mutex<()>,
    /// Told whenever they may have changed.
    changed: watch::Sender<()>,
}

impl Default for AuthorityRoom {
    fn default() -> Self {
        Self { loaded: arc_swap::ArcSwapOption::empty(), loading: Mutex::new(()), changed: watch::Sender::new(()) }
    }
}

impl AuthorityRoom {
    pub(super) fn note_change(&self) {
        self.changed.send_replace(());
    }
}

/// An authority as operators see it.
#[derive(Debug, Clone)]
pub struct AuthorityInfo {
    /// Its number, from 1.
    pub number: u32,
    /// The name in its certificate.
    pub name: String,
    /// From when to when its certificate is valid.
    pub validity: Validity,
    /// Whether clients with its certificates are let in.
    pub trusted: bool,
    /// Whether it issues clients' certificates.
    pub issues_clients: bool,
    /// Whether it issues servers' certificates.
    pub issues_servers: bool,
}

impl Service {
    /// Tells whenever the authorities may have changed: load them again then.
    pub fn watch_authorities(&self) -> watch::Receiver<()> {
        self.0.authorities.changed.subscribe()
    }

    pub(super) fn authorities(&self) -> Result<Arc<Authorities>, Refusal> {
        self.0.authorities.loaded.load_full().ok_or_else(|| Refusal::unavailable("the certificate authority is not loaded"))
    }

    /// Loads the authorities from the database.
    pub async fn load_authorities(&self) -> Result<(), Refusal> {
        let missing = || Refusal::unavailable("the service's own keys are missing: run `skm init`");
        let _alone = self.0.authorities.loading.lock().await;
        let (kept, seal) = self.store().read::<_, Refusal, _>(|reader| Ok((reader.authorities()?, reader.internal_key(Purpose::Seal)?))).await?;
        let all = kept.into_iter().map(|kept| self.open_authority(kept).map(Arc::new)).collect::<Result<Vec<_>, _>>()?;
        let newest = Arc::clone(all.last().ok_or_else(missing)?);
        self.0.authorities.loaded.store(Some(Arc::new(Authorities { all, newest, seal: seal.ok_or_else(missing)? })));
        Ok(())
    }

    fn open_authority(&self, kept: KeptAuthority) -> Result<Authority, Refusal> {
        let version = kept.key.version;
        let signer = Arc::new(TokenKey { token: self.token().clone(), key: kept.key.object });
        let list = self.0.settings.certificates.public_url.as_ref().map(|url| format!("{url}/pki/crl/{}.crl", version.number().saturating_add(1)));
        let ca = Ca::open(&kept.certificate, signer, list.as_deref()).map_err(|error| Refusal::unavailable(format!("the CA's certificate: {error}")))?;
        Ok(Authority { ca, version, created: kept.created })
    }

    /// The certificates (DER) of the authorities that are trusted now, oldest first.
    pub fn trusted_authorities(&self) -> Result<Vec<Vec<u8>>, Refusal> {
        let now = self.now();
        Ok(self.authorities()?.trusted(now).map(|authority| authority.ca.certificate().to_vec()).collect())
    }

    /// The same for everybody: only the limit of addresses holds, and nothing is recorded.
    pub fn published_authorities(&self, caller: &Caller) -> Result<Vec<Vec<u8>>, Refusal> {
        self.admit_address(caller, || None)?;
        self.trusted_authorities()
    }

    /// All authorities, oldest first.
    pub fn list_authorities(&self) -> Result<Vec<AuthorityInfo>, Refusal> {
        let (authorities, now) = (self.authorities()?, self.now());
        let (for_clients, for_servers) = (authorities.for_clients(now).version, authorities.for_servers(self.0.settings.certificates.overlap, now).version);
        let info = |authority: &Arc<Authority>| AuthorityInfo {
            number: authority.number(),
            name: authority.ca.common_name().to_owned(),
            validity: Validity { not_before: authority.ca.not_before(), not_after: authority.ca.not_after() },
            trusted: authority.is_valid(now),
            issues_clients: authority.version == for_clients,
            issues_servers: authority.version == for_servers,
        };
        Ok(authorities.all.iter().map(info).collect())
    }

    /// Whether a server's certificate (DER) should be renewed: a third of its life is left, it can't be read, or another authority issues
    /// servers' certificates by now.
    pub fn server_certificate_is_due(&self, certificate: &[u8]) -> Result<bool, Refusal> {
        let now = self.now();
        let issuer = self.authorities()?.for_servers(self.0.settings.certificates.overlap, now);
        let ends = Validity::read(certificate).is_none_or(|validity| server_certificate_is_due(validity.not_before, validity.not_after, now));
        Ok(ends || !issuer.ca.is_issuer_of(certificate))
    }

    /// The authority that issues servers' certificates.
    pub(super) fn authority_for_servers(&self) -> Result<Arc<Authority>, Refusal> {
        Ok(self.authorities()?.for_servers(self.0.settings.certificates.overlap, self.now()))
    }

    /// Renews the authority when that is due. On every node at once one does it.
    pub async fn renew_authority_if_due(&self) -> Result<(), Refusal> {
        self.load_authorities().await?;
        if !self.authorities()?.newest.is_due(self.now()) {
            return Ok(());
        }
        self.require_agreeing_clock().await?;
        match self.renew_authority(None).await {
            // Another node was faster, or still is at it.
            Ok(_) | Err(Refusal::Exists { .. }) => Ok(()),
            Err(refusal) => Err(refusal),
        }
    }

    /// Makes a new authority beside those that are there; answers its number. `Exists` if another node is making it.
    pub async fn renew_authority(&self, operator: Option<Operator>) -> Result<u32, Refusal> {
        let authorities = self.authorities()?;
        if authorities.trusted(self.now()).count() >= AUTHORITIES_MAX {
            return Err(Invalid::new("authority", format!("can't be renewed: {AUTHORITIES_MAX} are valid already")).into());
        }
        let version = authorities.newest.version.next().ok_or_else(|| Refusal::unavailable("the CA's key has had its last version"))?;
        let first = authorities.all.first().map(|first| first.ca.common_name().to_owned()).unwrap_or_default();
        let planned = self.plan_object(KeyId::from_bytes(random_id()?), version)?;
        let (row, stamp) = (planned.clone(), Stamp { user: "skm".to_owned(), at: self.now() });
        self.store().change::<_, Refusal, _>(move |tx| Ok(tx.insert_internal_key(Purpose::CertificateAuthority, &row, &stamp)?)).await?;
        let spki = self.make_object(&planned, NewMaterial::Generated(ObjectKind::EcP256)).await?;
        let number = version.number().saturating_add(1);
        if let Err(refusal) = self.bring_authority_in(&planned, spki, format!("{first} {number}"), operator).await {
            self.undo_object(&planned).await;
            return Err(refusal);
        }
        self.load_authorities().await?;
        self.apply(&[Change::Authorities]);
        tracing::info!(number, "the internal certificate authority was renewed");
        Ok(number)
    }

    async fn bring_authority_in(&self, planned: &PlannedObject, spki: Option<Vec<u8>>, name: String, operator: Option<Operator>) -> Result<(), Refusal> {
        let spki = spki.ok_or_else(|| Refusal::unavailable("the CA's new key has no public key"))?;
        let certificate = self.sign_authority(planned, spki.clone(), name.clone()).await?;
        let event = self.authority_event(planned, format!("certificate of {name}"), Operation::RenewAuthority, operator)?;
        let (row, created) = (planned.clone(), self.now());
        self.store()
            .change::<_, Refusal, _>(move |tx| {
                tx.activate_object(&row, Some(&spki), Origin::Generated)?;
                Ok(keep(tx, &row, &certificate, created, event)?)
            })
            .await
    }

    /// A self-signed certificate by an object of the token.
    async fn sign_authority(&self, planned: &PlannedObject, spki: Vec<u8>, name: String) -> Result<Vec<u8>, Refusal> {
        let (signer, now) = (TokenKey { token: self.token().clone(), key: planned.object }, self.now());
        let made = tokio::task::spawn_blocking(move || pki::make_ca_certificate(&name, &spki, &signer, now, AUTHORITY_LIFE)).await;
        let made = made.map_err(|_| Refusal::unavailable("making the CA's certificate panicked"))?;
        made.map_err(|error| Refusal::unavailable(format!("making the CA's certificate: {error}")))
    }

    fn authority_event(&self, planned: &PlannedObject, detail: String, operation: Operation, operator: Option<Operator>) -> Result<AuditEvent, Refusal> {
        let actor = operator.map_or(Actor::Service, |operator| Actor::Operator(operator.uid));
        Ok(AuditEvent { actor, key: Some(planned.key), version: Some(planned.version), detail: Some(detail), ..self.own_event(operation)? })
    }

    /// Makes the first authority's certificate for its key, where there is none yet.
    pub(super) async fn make_first_authority(&self, operator_uid: u32, name: &str) -> Result<(), Refusal> {
        let key = self.store().read::<_, Refusal, _>(|reader| Ok((reader.authorities()?.is_empty(), reader.internal_key(Purpose::CertificateAuthority)?)));
        let (true, key) = key.await? else { return Ok(()) };
        let key = key.ok_or_else(|| Refusal::unavailable("the CA's key is missing"))?;
        let spki = key.public_key.ok_or_else(|| Refusal::unavailable("the CA's key has no public key"))?;
        let planned = PlannedObject { object: key.object, key: key.id, version: key.version, lease_until: self.now() };
        let certificate = self.sign_authority(&planned, spki, name.to_owned()).await?;
        let operator = Operator { uid: operator_uid };
        let event = self.authority_event(&planned, "certificate of the internal CA".to_owned(), Operation::CreateKey, Some(operator))?;
        let created = self.now();
        let kept = self.store().change::<_, Refusal, _>(move |tx| Ok(keep(tx, &planned, &certificate, created, event)?)).await;
        match kept {
            // Another node made it at the same moment: that one it is.
            Ok(()) | Err(Refusal::Exists { .. }) => Ok(()),
            Err(refusal) => Err(refusal),
        }
    }
}

fn keep(tx: &mut Tx<'_>, planned: &PlannedObject, certificate: &[u8], created: Timestamp, event: AuditEvent) -> Result<(), crate::store::StoreError> {
    tx.insert_authority(planned.key, planned.version, certificate, created)?;
    tx.changed(Change::Authorities)?;
    tx.audit(event, Uses::default())
}
