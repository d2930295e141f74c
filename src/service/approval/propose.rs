//! From a change to a draft or a request of it.
//!
//! What a crash leaves: rows `PROVISIONING` with an ordinary lease, and perhaps their object, until the transaction that keeps the change gives
//! them a longer one: the reconciler undoes them. A certificate that was issued before that transaction is in nobody's hands.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use futures_util::future::BoxFuture;
use sha2::{Digest as _, Sha256};

use super::apply::{AllInToken, Application, InToken, unnamed_key};
use super::base::look_at;
use super::job::lease_material;
use super::proposal::{Material, Proposal};
use super::requests::new_key_store;
use super::{MATERIAL_UNTIL, PROJECT_REQUESTS_MAX, recording, telling};
use crate::domain::approval::{Base, ChangeItem, ChangeRequest, Content, ExpiryDays, HANDS_MAX, Hand, Made, Note, ProposedChange, RequestState, check_size};
use crate::domain::audit::{AuditEvent, Operation, Uses};
use crate::domain::client_checks::RuleIndex;
use crate::domain::clock::Timestamp;
use crate::domain::ids::{AccountId, ChangeRequestId, KeyId, KeyStoreId, KeyStoreNumber, KeyVersion, ProjectId};
use crate::domain::key::{Stamp, State};
use crate::domain::key_store::KeyStore;
use crate::domain::lifecycle::deletion_due;
use crate::domain::result_code::ResultCode;
use crate::domain::secret::SecretText;
use crate::domain::text::{Invalid, Name};
use crate::hsm::ObjectKind;
use crate::service::change_secret::secret_value;
use crate::service::create_key::{KeyStoreRef, NewContent, NewKeyRequest};
use crate::service::create_key_store::NewKeyStore;
use crate::service::import_key::WrappedKey;
use crate::service::provisioning::{NewMaterial, random_id};
use crate::service::refusal::Proposed;
use crate::service::request::{Asking, Scope};
use crate::service::views::KeyStoreView;
use crate::service::{Refusal, Service};
use crate::store::{PlannedObject, Purpose, Reader, StoreError, Tx};

/// The most key stores of a project that are asked for at a time: each has its own key in the token already.
const NEW_KEY_STORES_MAX: i64 = 50;
/// The most keys of a project that wait in the token for what is asked for to be approved: keys from outside, new key stores' own.
const MATERIAL_MAX: i64 = 500;

/// How often a change is tried with a draft that others edit on other nodes meanwhile.
const TRIES_MAX: usize = 3;

/// What a change was tried with.
struct Tried {
    /// What it builds on.
    base: Base,
    /// The draft as it was, and how often it had been edited; none: there was none.
    draft: Option<(ChangeRequestId, u32)>,
}

/// The most requests of one account in [`ASKED_WITHIN`]: the audit log has all of what each asks for, and keeps it.
const ASKED_MAX: i64 = 500;
const ASKED_WITHIN: Duration = Duration::from_secs(3_600);

/// Who asks, and how.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) account: AccountId,
    /// Who made the access key that he comes with.
    key_maker: Option<AccountId>,
    pub(super) login: String,
    pub(super) project: ProjectId,
    /// The note of a request; none of a draft.
    pub(super) note: Option<Note>,
    pub(super) now: Timestamp,
    /// When what is scheduled to be deleted now is due.
    due: Timestamp,
    /// Until when this node is trusted to be at work.
    pub(super) lease_until: Timestamp,
    /// The name of a new draft or request.
    fresh: ChangeRequestId,
    /// The draft of a record of the service's own.
    pub(super) event: AuditEvent,
}

impl Asked {
    pub(super) fn stamp(&self) -> Stamp {
        Stamp { user: self.login.clone(), at: self.now }
    }

    /// Who has a hand in what is asked for from now on: whoever asks, and whoever made the access key that he comes with, who could have asked as
    /// well.
    pub(super) fn note_editors(&self, tx: &mut Tx<'_>, id: ChangeRequestId) -> Result<(), Refusal> {
        for hand in self.hands(tx, id)? {
            tx.note_editor(id, hand.account)?;
        }
        Ok(())
    }

    /// Who has a hand in it then.
    pub(super) fn hands(&self, tx: &mut Tx<'_>, id: ChangeRequestId) -> Result<Vec<Hand>, Refusal> {
        let mut hands = tx.hands(id)?;
        for account in std::iter::once(self.account).chain(self.key_maker) {
            if hands.iter().all(|hand| hand.account != account) {
                let login = tx.login_of(account)?.ok_or(StoreError::Stale { what: "account" })?;
                hands.push(Hand { account, login });
            }
        }
        if hands.len() > HANDS_MAX {
            return Err(Invalid::new("changes", format!("have {HANDS_MAX} people's hands in them already: ask for these first")).into());
        }
        hands.sort_unstable_by_key(|hand| hand.account.0);
        Ok(hands)
    }

    /// Refuses who has asked too often of late.
    pub(super) fn require_room_to_ask(&self, reader: &mut Reader<'_>) -> Result<(), Refusal> {
        require_room_to_ask(reader, self.account, self.now)
    }

    /// A draft or request that nobody has seen yet.
    fn request(&self, key_store: Option<KeyStoreId>, is_new: bool, expiry: ExpiryDays) -> ChangeRequest {
        ChangeRequest {
            id: self.fresh,
            project: self.project,
            key_store,
            new_key_store: is_new,
            state: if self.note.is_some() { RequestState::Ready } else { RequestState::Draft },
            requester: self.account,
            requester_login: self.login.clone(),
            note: self.note.as_ref().map(|note| note.as_str().to_owned()).unwrap_or_default(),
            digest: None,
            decider: None,
            reason: None,
            created: self.now,
            requested: self.note.as_ref().map(|_| self.now),
            decided: None,
            ended: None,
            expires: expiry.after(self.now),
            attempts: 0,
            revision: 0,
        }
    }

    /// The draft that a change goes into, held, with its changes; or a new draft or request, and that it is new.
    fn target(&self, tx: &mut Tx<'_>, proposal: &Proposal) -> Result<(ChangeRequest, Vec<ChangeItem>, bool), Refusal> {
        let expiry = tx.governance(self.project)?.map_or(ExpiryDays::DEFAULT, |governance| governance.expiry);
        if self.note.is_some() {
            self.require_room_to_ask(tx)?;
        }
        let is_new_store = matches!(proposal.change, ProposedChange::CreateKeyStore { .. });
        let open = match proposal.key_store {
            Some(key_store) => tx.open_request_of(key_store)?,
            None if tx.count_project_requests(self.project)? >= PROJECT_REQUESTS_MAX => {
                return Err(Invalid::new("note", format!("can't be of a new request: {PROJECT_REQUESTS_MAX} about the project are open")).into());
            }
            None => None,
        };
        if is_new_store {
            require_room_for_key_store(tx, self.project)?;
        }
        if proposal.change.made() == Made::AtOnce && tx.count_material(self.project)? >= MATERIAL_MAX {
            let problem = format!("would need one more key in the token, and {MATERIAL_MAX} of drafts and requests wait there: decide upon these first");
            return Err(Invalid::new("changes", problem).into());
        }
        let Some(open) = open else { return Ok((self.request(proposal.key_store, is_new_store, expiry), Vec::new(), true)) };
        let held = tx.hold_change_request(open.id)?.filter(|held| held.state == RequestState::Draft && self.note.is_none());
        let draft = held.ok_or(ResultCode::OpenApprovalRequest)?;
        let items = tx.change_items(draft.id)?;
        Ok((ChangeRequest { expires: expiry.after(self.now), ..draft }, items, false))
    }

    /// Puts the change behind those that are there already, unless that would be too much for one request; answers it.
    fn add(
        &self,
        (request, items): (&ChangeRequest, &mut Vec<ChangeItem>),
        proposal: &Proposal,
        base: Base,
        planned: Option<&PlannedObject>,
    ) -> Result<ChangeItem, Refusal> {
        let item = ChangeItem {
            // Never one that was given before: whoever withdraws a change means the one that he saw.
            position: request.revision,
            change: proposal.change.clone(),
            base,
            sealed_hash: proposal.sealed.as_ref().map(|sealed| Sha256::digest(sealed).into()),
            object: planned.map(|planned| planned.object),
            editor: self.account,
            editor_login: self.login.clone(),
            edited: self.now,
        };
        items.push(item.clone());
        check_size(items)?;
        Ok(item)
    }
}

/// Refuses who has asked too often of late, with how long to wait.
fn require_room_to_ask(reader: &mut Reader<'_>, account: AccountId, now: Timestamp) -> Result<(), Refusal> {
    let Some(earlier) = reader.asked_before(account, ASKED_MAX)? else { return Ok(()) };
    let again = earlier.plus(ASKED_WITHIN);
    if again > now { Err(Refusal::TooMany(again.since(now).min(ASKED_WITHIN))) } else { Ok(()) }
}

impl Service {
    /// Refuses who asks and has asked too often of late, before anything is made for that. It is looked at once more with what is kept.
    pub(in crate::service) async fn require_room_for_request(&self, scope: &Scope) -> Result<(), Refusal> {
        let Some(account) = scope.asker() else { return Ok(()) };
        let now = self.now();
        self.store().read::<_, Refusal, _>(move |reader| require_room_to_ask(reader, account, now)).await
    }

    /// Goes on where a change is to be made; where it is only asked for, asks for it, and answers what became of that.
    pub(in crate::service) async fn unless_asked(&self, scope: &mut Scope, proposal: impl FnOnce() -> Proposal) -> Result<(), Refusal> {
        if scope.is_asked() { Err(self.propose(scope, proposal()).await) } else { Ok(()) }
    }

    /// Puts a change into its key store's draft, or makes a request of it: [`Refusal::Proposed`], or why not. Boxed, as it is part of every use case
    /// that changes something.
    pub(in crate::service) fn propose<'a>(&'a self, scope: &'a mut Scope, proposal: Proposal) -> BoxFuture<'a, Refusal> {
        Box::pin(async move { self.try_propose(scope, proposal).await.map_or_else(|refusal| refusal, Refusal::Proposed) })
    }

    async fn try_propose(&self, scope: &mut Scope, proposal: Proposal) -> Result<Proposed, Refusal> {
        let asked = self.asked(scope)?;
        let made = self.make_material(&asked, &proposal).await?;
        let kept = match self.turn_to_draft().await {
            Ok(turn) => {
                let kept = self.try_and_keep(scope, &asked, &proposal, made.as_ref()).await;
                turn.end();
                kept
            }
            Err(refusal) => Err(refusal),
        };
        if let (Err(_), Some(planned)) = (&kept, &made) {
            self.undo_object(planned).await;
        }
        kept
    }

    /// Keeps the change in exactly the draft that it was tried with: turns are of one process, and another node may have edited it between.
    async fn try_and_keep(&self, scope: &mut Scope, asked: &Asked, proposal: &Proposal, planned: Option<&PlannedObject>) -> Result<Proposed, Refusal> {
        for _ in 0..TRIES_MAX {
            let tried = self.rehearse(asked, proposal, planned).await?;
            match self.keep(scope, asked.clone(), proposal.clone(), tried, planned.cloned()).await {
                Ok(Some(proposed)) => return Ok(proposed),
                Ok(None) => {}
                // Two nodes began a draft at the same moment.
                Err(Refusal::Code(ResultCode::OpenApprovalRequest)) if asked.note.is_none() => {}
                Err(refusal) => return Err(refusal),
            }
        }
        Err(ResultCode::Conflict.into())
    }

    /// Who asks.
    pub(super) fn asked(&self, scope: &Scope) -> Result<Asked, Refusal> {
        let note = match &scope.asking {
            Asking::Request(note) => Some(note.clone()),
            Asking::Draft | Asking::Directly | Asking::Wrong(_) => None,
        };
        Ok(Asked {
            account: scope.account()?,
            key_maker: scope.key_maker,
            login: scope.actor.user(),
            project: scope.project.id,
            note,
            now: self.now(),
            due: deletion_due(self.latest_time()),
            lease_until: self.lease(),
            fresh: ChangeRequestId::from_bytes(random_id()?),
            event: self.own_event(Operation::RequestApproval)?,
        })
    }

    /// Makes what is made at once: rows `PROVISIONING`, then the object.
    async fn make_material(&self, asked: &Asked, proposal: &Proposal) -> Result<Option<PlannedObject>, Refusal> {
        match &proposal.material {
            Material::None => Ok(None),
            Material::There(planned) => Ok(Some(planned.clone())),
            Material::Key(material) => {
                let planned = self.plan_material(asked, proposal, None).await?.0;
                self.make_object(&planned, material.clone()).await?;
                Ok(Some(planned))
            }
            Material::Wrapped(WrappedKey { token, wrapped }) => {
                let (planned, pair) = self.plan_material(asked, proposal, Some(token.clone())).await?;
                let Some(pair) = pair else { return Err(ResultCode::InvalidImportToken.into()) };
                let made = self.make_object(&planned, NewMaterial::Wrapped { pair: pair.object, wrapped: wrapped.clone() }).await;
                // One that can't be destroyed now is left to the reconciler.
                drop(self.finish_destruction(vec![pair.object]).await);
                made.map(|_| Some(planned))
            }
        }
    }

    async fn plan_material(
        &self,
        asked: &Asked,
        proposal: &Proposal,
        token: Option<SecretText>,
    ) -> Result<(PlannedObject, Option<crate::store::DoomedImportPair>), Refusal> {
        let ProposedChange::CreateKey { key, key_kind, origin, .. } = &proposal.change else {
            return Err(Refusal::unavailable("only a key is made at once"));
        };
        let planned = self.plan_object(*key, KeyVersion::FIRST)?;
        let request = asked.request(proposal.key_store, false, ExpiryDays::DEFAULT);
        let (row, new) = (planned.clone(), unnamed_key(&request, *key, *key_kind, *origin, &asked.stamp())?);
        let (project, now) = (asked.project, asked.now);
        let spent = self.store().change::<_, Refusal, _>(move |tx| {
            let pair = match token {
                Some(token) => {
                    let token = crate::domain::account::SecretHash::of(token.expose());
                    Some(tx.spend_import_pair(token, project, now, row.lease_until)?.ok_or(ResultCode::InvalidImportToken)?)
                }
                None => None,
            };
            tx.plan_key(&new, &row)?;
            Ok(pair)
        });
        Ok((planned, spent.await?))
    }

    /// Whether the change could be made now, with all that is in the draft: it is done, and not kept.
    async fn rehearse(&self, asked: &Asked, proposal: &Proposal, planned: Option<&PlannedObject>) -> Result<Tried, Refusal> {
        let (asked, proposal, planned) = (asked.clone(), proposal.clone(), planned.cloned());
        self.store()
            .change::<_, Refusal, _>(move |tx| {
                tx.rehearse();
                let (request, mut items, is_new) = asked.target(tx, &proposal)?;
                let draft = (!is_new).then_some((request.id, request.revision));
                let base = look_at(tx, asked.project, request.key_store, &proposal.change)?;
                if proposal.seen.is_some() && proposal.seen != base.changed {
                    return Err(ResultCode::Conflict.into());
                }
                let item = asked.add((&request, &mut items), &proposal, base.clone(), planned.as_ref())?;
                let own = planned.map(|planned| (item.position, (InToken::Object(planned), None)));
                let sealed = proposal.sealed.map(|sealed| (item.position, sealed));
                try_all(tx, &asked, request, items, own.into_iter().collect(), sealed.into_iter().collect())?;
                Ok(Tried { base, draft })
            })
            .await
    }

    /// Keeps the change, in its draft or in a request of its own, with its record; none: the draft isn't the one that it was tried with.
    async fn keep(
        &self,
        scope: &mut Scope,
        asked: Asked,
        proposal: Proposal,
        tried: Tried,
        planned: Option<PlannedObject>,
    ) -> Result<Option<Proposed>, Refusal> {
        scope.becomes(if asked.note.is_some() { Operation::RequestApproval } else { Operation::EditDraft });
        let (event, uses) = scope.record_of_success(self);
        let proposed = self
            .store()
            .change::<_, Refusal, _>(move |tx| {
                let (mut request, mut items, is_new) = asked.target(tx, &proposal)?;
                if tried.draft != (!is_new).then_some((request.id, request.revision)) {
                    return Ok(None);
                }
                let item = asked.add((&request, &mut items), &proposal, tried.base, planned.as_ref())?;
                let hands = asked.hands(tx, request.id)?;
                let content = asked.note.is_some().then(|| Content::of(&request, &hands, &items));
                request.digest = content.as_ref().map(Content::digest);
                if is_new {
                    tx.insert_change_request(&request)?;
                }
                tx.insert_change_item(request.id, &item, proposal.sealed.as_deref(), planned.as_ref())?;
                asked.note_editors(tx, request.id)?;
                tx.edited(request.id)?;
                if let Some(planned) = &planned {
                    tx.keep_planned(planned, MATERIAL_UNTIL)?;
                }
                wait_until(tx, &request)?;
                match content {
                    Some(content) => {
                        telling::requested(tx, &request, &asked.login, asked.now)?;
                        recording::asked(tx, (event, uses), &request, &content)?;
                    }
                    None => tx.audit(recording::edited(event, &request, &item, false), uses)?,
                }
                Ok(Some(Proposed { request: request.id, position: item.position, state: request.state }))
            })
            .await?;
        if proposed.is_some() {
            scope.committed();
        }
        Ok(proposed)
    }

    /// Asks for a key, of whatever kind.
    pub(in crate::service) fn propose_key<'a>(
        &'a self,
        scope: &'a mut Scope,
        key_store: &'a KeyStoreView,
        id: KeyId,
        input: NewKeyRequest,
    ) -> BoxFuture<'a, Refusal> {
        Box::pin(async move {
            match self.key_proposal(scope, key_store, id, input).await {
                Ok(proposal) => self.propose(scope, proposal).await,
                Err(refusal) => refusal,
            }
        })
    }

    async fn key_proposal(&self, scope: &mut Scope, key_store: &KeyStoreView, id: KeyId, input: NewKeyRequest) -> Result<Proposal, Refusal> {
        let content = input.content;
        let (key_kind, origin, rotation) = (content.kind(), content.origin(), content.rotation());
        let change = ProposedChange::CreateKey { key: id, key_kind, origin, name: input.name, description: input.description, rotation };
        let proposal = Proposal::of(key_store.key_store.id, change);
        Ok(match content {
            NewContent::Secret(value) => {
                let sealed = self.seal_secret(scope, key_store, (id, KeyVersion::FIRST), secret_value(value)?).await?;
                proposal.sealed(sealed)
            }
            NewContent::Symmetric(_) | NewContent::Asymmetric(_) => proposal,
            NewContent::ImportedSymmetric(value) => {
                self.check_plain_import(&value)?;
                proposal.made_of(Material::Key(NewMaterial::Imported(value)))
            }
            NewContent::WrappedSymmetric(wrapped) => {
                if self.token().import_ways().wrapped.is_none() {
                    return Err(ResultCode::ImportNotSupported.into());
                }
                proposal.made_of(Material::Wrapped(wrapped))
            }
        })
    }

    /// Asks for a key store. Its row and its own key are there at once, for what else comes into the draft; nobody sees it.
    pub(in crate::service) async fn propose_key_store(&self, scope: &mut Scope, input: NewKeyStore) -> Refusal {
        match self.key_store_proposal(scope, input).await {
            Ok(proposal) => self.propose(scope, proposal).await,
            Err(refusal) => refusal,
        }
    }

    async fn key_store_proposal(&self, scope: &mut Scope, input: NewKeyStore) -> Result<Proposal, Refusal> {
        let sealing_key = KeyId::from_bytes(random_id()?);
        let planned = self.plan_object(sealing_key, KeyVersion::FIRST)?;
        let (project, row, stamp, checks) = (scope.project.id, planned.clone(), scope.stamp(self), input.checks);
        // Under a name that nobody chose: its own is given when it comes into service.
        let unnamed = Name::from_stored(sealing_key.to_string());
        let key_store = self.store().change::<_, Refusal, _>(move |tx| {
            require_room_for_key_store(tx, project)?;
            let description = crate::domain::text::Description::default();
            let key_store = tx.insert_key_store(project, &unnamed, &description, checks, State::Provisioning, &stamp)?;
            tx.insert_internal_key(Purpose::ConfidentialData(key_store.id), &row, &stamp)?;
            Ok(key_store)
        });
        let key_store = key_store.await?;
        scope.names_key_store(key_store.number);
        self.make_object(&planned, NewMaterial::Generated(ObjectKind::Aes256)).await?;
        let (name, description, checks) = (input.name, input.description, input.checks);
        let change = ProposedChange::CreateKeyStore { number: key_store.number, name, description, checks };
        Ok(Proposal::of(key_store.id, change).made_of(Material::There(planned)))
    }

    /// The key store that is meant, if it is to come into being with an open draft, for what is asked for in that.
    pub(in crate::service) async fn drafted_key_store(&self, scope: &mut Scope, meant: &KeyStoreRef) -> Result<Option<Arc<KeyStoreView>>, Refusal> {
        if matches!(scope.asking, Asking::Draft) { self.look_for_drafted_key_store(scope, meant).await } else { Ok(None) }
    }

    fn look_for_drafted_key_store<'a>(&'a self, scope: &'a mut Scope, meant: &'a KeyStoreRef) -> BoxFuture<'a, Result<Option<Arc<KeyStoreView>>, Refusal>> {
        Box::pin(self.read_drafted_key_store(scope, meant))
    }

    async fn read_drafted_key_store(&self, scope: &mut Scope, meant: &KeyStoreRef) -> Result<Option<Arc<KeyStoreView>>, Refusal> {
        let (project, meant) = (scope.project.id, meant.clone());
        let found = self.store().read::<_, Refusal, _>(move |reader| {
            let Some(key_store) = drafted(reader, project, &meant)? else { return Ok(None) };
            Ok(reader.key_of_drafted_store(key_store.id)?.map(|key| (key_store, key)))
        });
        let Some((key_store, sealing_key)) = found.await? else { return Ok(None) };
        scope.names_key_store(key_store.number);
        Ok(Some(Arc::new(KeyStoreView { key_store, rules: RuleIndex::default(), sealing_key, sealings: AtomicU64::new(0) })))
    }
}

fn require_room_for_key_store(tx: &mut Tx<'_>, project: ProjectId) -> Result<(), Refusal> {
    if tx.count_new_key_stores(project)? < NEW_KEY_STORES_MAX {
        return Ok(());
    }
    Err(Invalid::new("name", format!("can't be of one more: {NEW_KEY_STORES_MAX} new key stores are asked for already")).into())
}

/// The key store of an open draft that is to have that number or name.
fn drafted(reader: &mut Reader<'_>, project: ProjectId, meant: &KeyStoreRef) -> Result<Option<KeyStore>, Refusal> {
    for draft in reader.drafts_of_new_key_stores(project, NEW_KEY_STORES_MAX)? {
        let Some(id) = draft.key_store else { continue };
        let Some(key_store) = new_key_store(reader, &draft, id)? else { continue };
        let is_meant = match meant {
            KeyStoreRef::Named(wanted) => key_store.name == *wanted,
            KeyStoreRef::Numbered(wanted) => KeyStoreNumber::parse(wanted) == Some(key_store.number),
        };
        if is_meant {
            return Ok(Some(key_store));
        }
    }
    Ok(None)
}

/// Does all of a draft, in a transaction that is not kept.
pub(super) fn try_all(
    tx: &mut Tx<'_>,
    asked: &Asked,
    request: ChangeRequest,
    items: Vec<ChangeItem>,
    own: AllInToken,
    sealed: BTreeMap<u32, Vec<u8>>,
) -> Result<(), Refusal> {
    let mut in_token = lease_material(tx, &request, &items)?;
    in_token.extend(own);
    let mut application =
        Application { request, items, stamp: asked.stamp(), due: asked.due, lease_until: asked.lease_until, in_token, sealed, event: asked.event.clone() };
    application.check_bases(tx).map_err(|obstacle| obstacle.refusal)?;
    application.plan(tx).map_err(|obstacle| obstacle.refusal)?;
    application.finish(tx).map_err(|obstacle| obstacle.refusal)?;
    Ok(())
}

/// Lets a draft or request wait until it expires.
pub(super) fn wait_until(tx: &mut Tx<'_>, request: &ChangeRequest) -> Result<(), Refusal> {
    Ok(tx.set_request_expiry(request.id, request.expires)?)
}

/// What a record of a request has no counters for.
pub(super) fn no_uses() -> Uses {
    Uses::default()
}
