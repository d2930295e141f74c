//! Bearer tokens (OAuth 2 client credentials, RFC 6749, 4.4; revocation, RFC 7009).

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::{SecureRandom as _, SystemRandom};
use zeroize::Zeroizing;

use super::Service;
use super::limits::Limit;
use super::refusal::Refusal;
use super::request::event_without_project;
use crate::domain::account::{AccessKey, AccessKeyId, SecretHash};
use crate::domain::audit::{Actor, Operation, Uses};
use crate::domain::caller::Caller;
use crate::domain::ids::RequestId;
use crate::domain::result_code::ResultCode;
use crate::domain::secret::SecretText;
use crate::store::{Change, FORGET_TOKENS_MAX, StoreError, UNUSABLE_ACCESS_KEY};

/// How long an expired token's row is kept.
const KEPT_AFTER_EXPIRY: Duration = Duration::from_secs(3_600);
/// How many times one run asks the store to forget: what is left then waits for the next run.
const FORGET_ROUNDS_MAX: usize = 20;

/// A token that was issued.
#[derive(Debug, Clone)]
pub struct IssuedToken {
    /// The token, shown once.
    pub token: SecretText,
    /// How long it lives, in seconds.
    pub expires_in: u32,
}

/// 256 random bits as text, for tokens and access key secrets.
pub(super) fn random_secret() -> Result<SecretText, Refusal> {
    let mut bytes = Zeroizing::new([0_u8; 32]);
    SystemRandom::new().fill(bytes.as_mut_slice()).map_err(|_| Refusal::unavailable("the operating system gives no random numbers"))?;
    Ok(SecretText::new(URL_SAFE_NO_PAD.encode(bytes.as_slice())))
}

/// What a token request shows: who asks, with what.
#[derive(Debug, Clone)]
pub struct TokenRequest {
    /// The request's name.
    pub id: RequestId,
    /// Who asks.
    pub caller: Caller,
    /// The access key ID and secret of HTTP Basic, if they could be read.
    pub credentials: Option<(String, SecretText)>,
}

impl Service {
    /// Issues a token that lives as long as the access key's setting says.
    pub async fn create_token(&self, request: TokenRequest) -> Result<IssuedToken, Refusal> {
        let service = self.clone();
        let task = self.tasks().spawn(async move { service.issue(request).await });
        task.await.unwrap_or_else(|_| Err(Refusal::unavailable("a use case ended without an answer")))
    }

    /// Revokes a token of the access key that asks. A token that isn't there is no error (RFC 7009, 2.2).
    pub async fn revoke_token(&self, request: TokenRequest, token: SecretText) -> Result<(), Refusal> {
        let service = self.clone();
        let task = self.tasks().spawn(async move { service.revoke(request, &token).await });
        task.await.unwrap_or_else(|_| Err(Refusal::unavailable("a use case ended without an answer")))
    }

    /// Forgets tokens that expired an hour ago or earlier, a few at a time: others' changes come in between.
    pub async fn forget_expired_tokens(&self) -> Result<usize, Refusal> {
        self.require_agreeing_clock().await?;
        let before = self.now().minus(KEPT_AFTER_EXPIRY);
        let mut forgotten = 0;
        for _ in 0..FORGET_ROUNDS_MAX {
            let round = self.store().change::<_, Refusal, _>(move |tx| Ok(tx.forget_expired_tokens(before, FORGET_TOKENS_MAX)?)).await?;
            if round == 0 {
                break;
            }
            forgotten += round;
        }
        Ok(forgotten)
    }

    /// A client that asks for a token per request would lock itself out if there were an end to them: its oldest end instead.
    async fn issue(&self, request: TokenRequest) -> Result<IssuedToken, Refusal> {
        let access_key = self.authenticate(&request, Operation::CreateToken).await?;
        let token = random_secret()?;
        let (hash, now) = (SecretHash::of(token.expose()), self.now());
        let expires_in = access_key.token_life.seconds();
        let expires = now.plus(Duration::from_secs(u64::from(expires_in)));
        let (mut event, uses) = record(self, &request, &access_key, Operation::CreateToken);
        let (id, mut refused) = (access_key.id.clone(), event.clone());
        let issued = self
            .store()
            .change::<_, StoreError, _>(move |tx| {
                let ended: Vec<_> = tx.insert_bearer_token(hash, &id, now, expires)?.into_iter().map(|ended| Change::Token(ended.0)).collect();
                for change in &ended {
                    tx.changed(change.clone())?;
                }
                if !ended.is_empty() {
                    event.detail = Some(format!("ended {} of the oldest", ended.len()));
                }
                tx.audit(event, uses)?;
                Ok(ended)
            })
            .await;
        match issued {
            Ok(ended) => {
                self.apply(&ended);
                self.views().token_issued(hash);
                Ok(IssuedToken { token, expires_in })
            }
            Err(error) => {
                // Disabled or deleted since its view was read.
                let StoreError::Stale { what: UNUSABLE_ACCESS_KEY } = error else { return Err(error.into()) };
                refused.result_code = ResultCode::Unauthorized.number();
                self.store().audit(refused, Uses::default()).await?;
                Err(ResultCode::Unauthorized.into())
            }
        }
    }

    async fn revoke(&self, request: TokenRequest, token: &SecretText) -> Result<(), Refusal> {
        let access_key = self.authenticate(&request, Operation::RevokeToken).await?;
        let hash = SecretHash::of(token.expose());
        let (event, uses) = record(self, &request, &access_key, Operation::RevokeToken);
        let id = access_key.id.clone();
        self.store()
            .change::<_, Refusal, _>(move |tx| {
                if tx.revoke_bearer_token(hash, &id)? {
                    tx.changed(Change::Token(hash.0))?;
                }
                Ok(tx.audit(event, uses)?)
            })
            .await?;
        self.apply(&[Change::Token(hash.0)]);
        Ok(())
    }

    /// The access key that asks. A refusal is recorded where the access key exists: whoever guesses its secret leaves traces.
    /// What names none is counted only, like requests for unknown projects: else anybody could fill the log.
    async fn authenticate(&self, request: &TokenRequest, operation: Operation) -> Result<Arc<AccessKey>, Refusal> {
        self.require_freshness()?;
        self.admit_address(&request.caller, || None)?;
        let found = match &request.credentials {
            Some((id, secret)) => self.access_key_by_secret(id, secret, &request.caller).await,
            None => Err(ResultCode::Unauthorized.into()),
        };
        match found {
            Err(Refusal::TooMany(wait)) => Err(self.over_limit(Limit::Failures, None, &request.caller, wait)),
            Err(refusal @ Refusal::Code(code)) => Err(self.refuse_credentials(request, operation, code).await.err().unwrap_or(refusal)),
            outcome => outcome,
        }
    }

    /// Charges the failure, and keeps the record of it if there is to be one. `Err`: what to answer instead.
    async fn refuse_credentials(&self, request: &TokenRequest, operation: Operation, code: ResultCode) -> Result<(), Refusal> {
        let charged = self.charge(code, &Actor::Unknown, &request.caller, None);
        if !self.names_access_key(request) {
            self.metrics().unknown_project();
            return charged;
        }
        if charged.is_err() {
            self.over_limit_at_token_endpoint(&request.caller);
            return charged;
        }
        let mut event = event_without_project(self, request.id, &request.caller, Actor::Unknown, operation);
        event.result_code = code.number();
        Ok(self.store().audit(event, Uses::default()).await?)
    }

    /// Whether the credentials name an access key, whatever their secret.
    fn names_access_key(&self, request: &TokenRequest) -> bool {
        let id = request.credentials.as_ref().and_then(|(id, _)| AccessKeyId::parse(id));
        id.is_some_and(|id| self.views().knows_access_key(&id))
    }
}

fn record(service: &Service, request: &TokenRequest, access_key: &AccessKey, operation: Operation) -> (crate::domain::audit::AuditEvent, Uses) {
    let actor = Actor::AccessKey { id: access_key.id.clone(), login: access_key.login.clone() };
    let uses = Uses { access_key: Some(access_key.id.clone()), ..Uses::default() };
    (event_without_project(service, request.id, &request.caller, actor, operation), uses)
}
