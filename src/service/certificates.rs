//! Client certificates: handing out a `.p12`, signing a request; and the server's own.

use std::net::IpAddr;

use super::Service;
use super::administration::Operator;
use super::approval::Proposal;
use super::client_rules::p12_context;
use super::create_key::KeyStoreRef;
use super::pki::{self, IssuedCertificate, IssuedKeyPair};
use super::refusal::Refusal;
use super::request::{Request, Right, Scope};
use crate::domain::audit::{Actor, AuditEvent, Operation, Uses};
use crate::domain::client_checks::{Method, RuleValue};
use crate::domain::clock::Timestamp;
use crate::domain::key::State;
use crate::domain::result_code::ResultCode;
use crate::domain::secret::{SecretBytes, SecretText};
use crate::domain::text::{Description, Invalid, Name};
use crate::store::ExpiringCertificates;

/// Days that a server certificate of the internal CA lives (the CA/Browser Forum's longest).
const SERVER_CERTIFICATE_DAYS: u32 = 397;
/// Clients' certificates that expire within this time are counted as expiring.
const EXPIRING_WITHIN: std::time::Duration = std::time::Duration::from_secs(30 * 86_400);

/// A server certificate of the internal CA with its key, which is for the listener alone.
pub type ServerIdentity = IssuedKeyPair;

/// Whose `.p12` is wanted.
#[derive(Debug, Clone)]
pub struct CertificateSelector {
    /// The key store.
    pub key_store: KeyStoreRef,
    /// The name of the entry.
    pub name: Name,
}

/// A `.p12`.
#[derive(Debug)]
pub struct DownloadedCertificate {
    /// The name of its entry.
    pub name: Name,
    /// The file.
    pub p12: SecretBytes,
}

/// A request to be signed.
#[derive(Debug)]
pub struct SigningRequest {
    /// The key store.
    pub key_store: KeyStoreRef,
    /// The name of the new entry.
    pub name: Name,
    /// A PKCS#10 request, PEM.
    pub csr: SecretText,
    /// Days until the certificate expires.
    pub life_days: i64,
    /// What people say about it.
    pub description: Description,
}

/// What was signed.
#[derive(Debug)]
pub struct SignedCertificate {
    /// The name of the entry.
    pub name: Name,
    /// What people say about it.
    pub description: Description,
    /// The certificate, DER.
    pub certificate: Vec<u8>,
    /// That of the authority that issued it, DER.
    pub authority: Vec<u8>,
    /// When it expires.
    pub not_after: Timestamp,
}

/// What expires when, as last looked at.
#[derive(Debug, Clone, Copy)]
pub struct Expiry {
    /// Clients' certificates in service that expire within 30 days.
    pub clients_soon: i64,
    /// When the next of all clients' certificates in service expires.
    pub next_client: Option<Timestamp>,
}

impl From<ExpiringCertificates> for Expiry {
    fn from(found: ExpiringCertificates) -> Self {
        Self { clients_soon: found.soon, next_client: found.next }
    }
}

impl Service {
    /// The `.p12` that was made for a certificate entry in service. The audit record is durable before it is handed out.
    pub async fn download_certificate(&self, request: Request, input: Result<CertificateSelector, Refusal>) -> Result<DownloadedCertificate, Refusal> {
        self.run(request, Operation::DownloadCertificate, Right::Change, move |service, scope| {
            Box::pin(async move {
                let CertificateSelector { key_store, name } = input?;
                scope.details(name.to_string());
                let key_store = service.key_store_meant(scope, &key_store).await?.key_store.id;
                let wanted = name.to_string();
                let found = service.store().read::<_, Refusal, _>(move |reader| {
                    let rule = reader.client_rule_by_value(key_store, Method::Certificate, &wanted)?.ok_or(ResultCode::InvalidClientRule)?;
                    let sealed = reader.sealed_p12(rule.id)?;
                    Ok((rule, sealed))
                });
                let (rule, sealed) = found.await?;
                if rule.state != State::Active {
                    return Err(ResultCode::InvalidClientRuleStatus.into());
                }
                let RuleValue::Certificate { fingerprint, .. } = rule.value else { return Err(ResultCode::InvalidClientRule.into()) };
                let sealed = sealed.ok_or_else(|| Invalid::new("name", "was signed from a request: its key never was here, so there is no .p12"))?;
                let seal = service.authorities()?.seal.clone();
                let p12 = service.unseal(&seal, &p12_context(fingerprint), &sealed).await?;
                Ok(DownloadedCertificate { name, p12 })
            })
        })
        .await
    }

    /// Registers a client by a certificate for the key of its own signing request. The private key never is here.
    pub async fn sign_certificate(&self, request: Request, input: Result<SigningRequest, Refusal>) -> Result<SignedCertificate, Refusal> {
        self.run(request, Operation::CreateClientRule, Right::Change, move |service, scope| Box::pin(async move { service.sign_request(scope, input?).await }))
            .await
    }

    async fn sign_request(&self, scope: &mut Scope, input: SigningRequest) -> Result<SignedCertificate, Refusal> {
        let key_store = self.key_store_meant(scope, &input.key_store).await?.key_store.id;
        scope.details(format!("{} {} from a signing request", Method::Certificate.as_str(), input.name));
        let life_days = pki::parse_life_days(input.life_days)?;
        let (authorities, now) = (self.authorities()?, self.now());
        let authority = authorities.for_clients(now);
        let (issuer, name, csr) = (authority.clone(), input.name.clone(), input.csr);
        let issued = tokio::task::spawn_blocking(move || issuer.ca.issue_client_from_csr(pem(&csr)?.expose().as_bytes(), name.as_str(), life_days, now)).await;
        let issued: IssuedCertificate = issued.map_err(|_| Refusal::unavailable("issuing a certificate panicked"))??;
        let IssuedCertificate { der, fingerprint, serial, not_after } = issued;
        let value = RuleValue::Certificate { name: input.name.to_string(), fingerprint, serial, not_after };
        let made = super::client_rules::Certified { issuer: authority.version, sealed_p12: None };
        if scope.is_asked() {
            let proposal = Proposal::of_rule(key_store, value, input.description, Some(made), Some(&der));
            return Err(self.propose(scope, proposal).await);
        }
        self.insert_rule(scope, key_store, value, input.description.clone(), Some(made)).await?;
        let authority = authority.ca.certificate().to_vec();
        Ok(SignedCertificate { name: input.name, description: input.description, certificate: der, authority, not_after })
    }

    /// A certificate for the listener from the internal CA, recorded before it is handed out.
    pub async fn issue_server_certificate(&self, operator: Option<Operator>, names: Vec<String>, addresses: Vec<IpAddr>) -> Result<ServerIdentity, Refusal> {
        let (authority, now) = (self.authority_for_servers()?, self.now());
        let number = authority.number();
        let issued = tokio::task::spawn_blocking(move || authority.ca.issue_server(&names, &addresses, SERVER_CERTIFICATE_DAYS, now)).await;
        let issued = issued.map_err(|_| Refusal::unavailable("issuing a certificate panicked"))?;
        let issued = issued.map_err(|error| Refusal::unavailable(format!("issuing a server certificate: {error}")))?;
        let event = AuditEvent {
            actor: operator.map_or(Actor::Service, |operator| Actor::Operator(operator.uid)),
            detail: Some(format!("serial {} by authority {number} for node {}", issued.certificate.serial, self.0.settings.node)),
            ..self.own_event(Operation::RenewServerCertificate)?
        };
        self.store().audit(event, Uses::default()).await?;
        Ok(issued)
    }

    /// Looks when clients' certificates expire, for the metrics.
    pub async fn look_at_expiry(&self) -> Result<(), Refusal> {
        let now = self.now();
        let found = self.store().read::<_, Refusal, _>(move |reader| Ok(reader.expiring_certificates(now, now.plus(EXPIRING_WITHIN))?)).await?;
        self.0.expiry.store(Some(std::sync::Arc::new(found.into())));
        Ok(())
    }

    /// What expires when, as last looked at; `None` before the first look.
    pub fn expiry(&self) -> Option<Expiry> {
        self.0.expiry.load().as_deref().copied()
    }
}

/// What must be PEM here, though the CA takes DER too: the wire has text only.
fn pem(csr: &SecretText) -> Result<&SecretText, Invalid> {
    if csr.expose().contains("-----BEGIN ") { Ok(csr) } else { Err(Invalid::new("csr", "must be a PKCS#10 certificate signing request, PEM")) }
}
