//! Drafts and requests: changes that somebody asks for and somebody else approves.
//!
//! Whoever decides about one holds its row first ([`Tx::hold_change_request`]), so that two who decide at once are one after the other.

use diesel::prelude::*;

use super::error::StoreError;
use super::lists::{lower, replace};
use super::model::RequestFilter;
use super::rows::{bytes, changed_one, hex, id, known, time};
use super::schema::{accounts, change_editors, change_items, change_requests, governance, key_stores};
use super::unit::{Reader, Tx};
use crate::domain::account::AccessKeyId;
use crate::domain::approval::{ChangeRequest, Hand, RequestEvent, RequestState, next};
use crate::domain::clock::Timestamp;
use crate::domain::ids::{AccountId, ChangeRequestId, KeyStoreId, ProjectId};
use crate::domain::listing::Listed;

const WHAT: &str = "change request";

#[derive(Queryable)]
struct Row {
    id: String,
    project_id: i64,
    key_store_id: Option<i64>,
    new_key_store: bool,
    state: String,
    requester_id: i64,
    requester: String,
    note: String,
    digest: Option<Vec<u8>>,
    decider_id: Option<i64>,
    decider: Option<String>,
    reason: Option<String>,
    created_at: i64,
    requested_at: Option<i64>,
    decided_at: Option<i64>,
    ended_at: Option<i64>,
    expires_at: i64,
    _node: Option<String>,
    _lease_until: Option<i64>,
    attempts: i64,
    _decider_key: Option<String>,
    revision: i64,
}

impl TryFrom<Row> for ChangeRequest {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        Ok(Self {
            id: id(&row.id, WHAT)?,
            project: ProjectId(row.project_id),
            key_store: row.key_store_id.map(KeyStoreId),
            new_key_store: row.new_key_store,
            state: known(RequestState::parse(&row.state), WHAT)?,
            requester: AccountId(row.requester_id),
            requester_login: row.requester,
            note: row.note,
            digest: row.digest.map(|digest| bytes(digest, WHAT)).transpose()?,
            decider: row.decider_id.map(AccountId).zip(row.decider),
            reason: row.reason,
            created: Timestamp::from_micros(row.created_at),
            requested: time(row.requested_at),
            decided: time(row.decided_at),
            ended: time(row.ended_at),
            expires: Timestamp::from_micros(row.expires_at),
            attempts: known(u32::try_from(row.attempts).ok(), WHAT)?,
            revision: known(u32::try_from(row.revision).ok(), WHAT)?,
        })
    }
}

fn open() -> impl Iterator<Item = &'static str> {
    RequestState::ALL.into_iter().filter(|state| state.is_open()).map(RequestState::as_str)
}

/// The state that a request comes into.
fn after(state: RequestState, event: RequestEvent) -> Result<&'static str, StoreError> {
    next(state, event).map(RequestState::as_str).map_err(|_| StoreError::Stale { what: WHAT })
}

impl Reader<'_> {
    /// A draft or request, of any project: the caller compares it.
    pub fn change_request(&mut self, id: ChangeRequestId) -> Result<Option<ChangeRequest>, StoreError> {
        change_requests::table.find(hex(id.as_bytes())).first::<Row>(self.db).optional()?.map(ChangeRequest::try_from).transpose()
    }

    /// The draft or request of a key store that something may still come of.
    pub fn open_request_of(&mut self, key_store: KeyStoreId) -> Result<Option<ChangeRequest>, StoreError> {
        let of_key_store = change_requests::table.filter(change_requests::key_store_id.eq(key_store.0)).filter(change_requests::state.eq_any(open()));
        of_key_store.first::<Row>(self.db).optional()?.map(ChangeRequest::try_from).transpose()
    }

    /// A page of a project's drafts and requests, and how many there are.
    pub fn change_requests(&mut self, project: ProjectId, filter: &RequestFilter, (offset, limit): (i64, i64)) -> Result<Listed<ChangeRequest>, StoreError> {
        // Made twice: a boxed query is used up by what it answers.
        macro_rules! wanted {
            () => {{
                let mut query = change_requests::table.filter(change_requests::project_id.eq(project.0)).into_boxed();
                if let Some(state) = filter.state {
                    query = query.filter(change_requests::state.eq(state.as_str()));
                }
                if let Some(key_store) = filter.key_store {
                    query = query.filter(change_requests::key_store_id.eq(key_store.0));
                }
                if filter.asked_only {
                    query = query.filter(change_requests::requested_at.is_not_null());
                }
                if let Some(searched) = &filter.search {
                    let searched = searched.to_ascii_lowercase();
                    let in_requester = replace(lower(change_requests::requester), searched.clone(), "").ne(lower(change_requests::requester));
                    let in_note = replace(lower(change_requests::note), searched.clone(), "").ne(lower(change_requests::note));
                    let in_id = replace(change_requests::id, searched.clone(), "").ne(change_requests::id);
                    let named = key_stores::table
                        .filter(key_stores::project_id.eq(project.0))
                        .filter(replace(lower(key_stores::name), searched, "").ne(lower(key_stores::name)))
                        .select(key_stores::id.nullable());
                    let of_key_store = change_requests::key_store_id.eq_any(named);
                    query = query.filter(in_requester.or(in_note).or(in_id).or(of_key_store));
                }
                query
            }};
        }
        let total = wanted!().count().get_result(self.db)?;
        let page = wanted!();
        let page = match (filter.sort.as_deref(), filter.descending) {
            (Some("requester"), false) => page.order((change_requests::requester.asc(), change_requests::id)),
            (Some("requester"), true) => page.order((change_requests::requester.desc(), change_requests::id)),
            (Some("status"), false) => page.order((change_requests::state.asc(), change_requests::id)),
            (Some("status"), true) => page.order((change_requests::state.desc(), change_requests::id)),
            (Some("date"), false) => page.order((change_requests::requested_at.asc(), change_requests::id)),
            (Some("date"), true) => page.order((change_requests::requested_at.desc(), change_requests::id)),
            _ => page.order((change_requests::created_at.desc(), change_requests::id.desc())),
        };
        let entries = page.offset(offset).limit(limit).load::<Row>(self.db)?.into_iter().map(ChangeRequest::try_from).collect::<Result<_, _>>()?;
        Ok(Listed { entries, total })
    }

    /// The drafts and requests of a project's key stores that something may still come of, at most `limit`, the oldest first.
    pub fn open_requests(&mut self, project: ProjectId, limit: i64) -> Result<Vec<ChangeRequest>, StoreError> {
        let of_project = change_requests::table.filter(change_requests::project_id.eq(project.0)).filter(change_requests::key_store_id.is_not_null());
        let open = of_project.filter(change_requests::state.eq_any(open())).order((change_requests::created_at, change_requests::id)).limit(limit);
        open.load::<Row>(self.db)?.into_iter().map(ChangeRequest::try_from).collect()
    }

    /// How many requests of a project wait for a decision at `now`.
    pub fn count_waiting(&mut self, project: ProjectId, now: Timestamp) -> Result<i64, StoreError> {
        let waiting = change_requests::table
            .filter(change_requests::project_id.eq(project.0))
            .filter(change_requests::state.eq(RequestState::Ready.as_str()))
            .filter(change_requests::expires_at.gt(now.micros()));
        Ok(waiting.count().get_result(self.db)?)
    }

    /// How many requests there are in a state, in all projects.
    pub fn count_in_state(&mut self, state: RequestState) -> Result<i64, StoreError> {
        Ok(change_requests::table.filter(change_requests::state.eq(state.as_str())).count().get_result(self.db)?)
    }

    /// How many key stores are asked for, in drafts or requests that something may still come of.
    pub fn count_new_key_stores(&mut self, project: ProjectId) -> Result<i64, StoreError> {
        let of_project = change_requests::table.filter(change_requests::project_id.eq(project.0)).filter(change_requests::new_key_store.eq(true));
        Ok(of_project.filter(change_requests::state.eq_any(open())).count().get_result(self.db)?)
    }

    /// How many objects wait in the token for what is asked for in a project to be approved.
    pub fn count_material(&mut self, project: ProjectId) -> Result<i64, StoreError> {
        let of_project = change_requests::table.filter(change_requests::project_id.eq(project.0)).filter(change_requests::state.eq_any(open()));
        let waiting = change_items::table.filter(change_items::request_id.eq_any(of_project.select(change_requests::id)));
        Ok(waiting.filter(change_items::object_id.is_not_null()).count().get_result(self.db)?)
    }

    /// The drafts of key stores that are to come into being, at most `limit`.
    pub fn drafts_of_new_key_stores(&mut self, project: ProjectId, limit: i64) -> Result<Vec<ChangeRequest>, StoreError> {
        let of_project = change_requests::table.filter(change_requests::project_id.eq(project.0)).filter(change_requests::new_key_store.eq(true));
        let drafts = of_project.filter(change_requests::state.eq(RequestState::Draft.as_str())).order(change_requests::id).limit(limit);
        drafts.load::<Row>(self.db)?.into_iter().map(ChangeRequest::try_from).collect()
    }

    /// When the account asked for the request that is the `many`-th, counted back from its last one; none: it never asked so often.
    pub fn asked_before(&mut self, account: AccountId, many: i64) -> Result<Option<Timestamp>, StoreError> {
        let by_account = change_requests::table.filter(change_requests::requester_id.eq(account.0)).filter(change_requests::requested_at.is_not_null());
        let backwards = by_account.order(change_requests::requested_at.desc()).offset(many - 1).limit(1);
        let asked: Option<Option<i64>> = backwards.select(change_requests::requested_at).first(self.db).optional()?;
        Ok(time(asked.flatten()))
    }

    /// How many requests about a project itself are open.
    pub fn count_project_requests(&mut self, project: ProjectId) -> Result<i64, StoreError> {
        let of_project = change_requests::table.filter(change_requests::project_id.eq(project.0)).filter(change_requests::key_store_id.is_null());
        Ok(of_project.filter(change_requests::state.eq_any(open())).count().get_result(self.db)?)
    }

    /// The access key with which a request was approved; none: at the console.
    pub fn deciding_key(&mut self, id: ChangeRequestId) -> Result<Option<AccessKeyId>, StoreError> {
        let key: Option<Option<String>> = change_requests::table.find(hex(id.as_bytes())).select(change_requests::decider_key).first(self.db).optional()?;
        key.flatten().map(|key| known(AccessKeyId::parse(&key), "access key")).transpose()
    }

    /// Who put something into a draft, or took something out of it.
    pub fn change_editors(&mut self, id: ChangeRequestId) -> Result<Vec<AccountId>, StoreError> {
        let of_request = change_editors::table.filter(change_editors::request_id.eq(hex(id.as_bytes())));
        let accounts: Vec<i64> = of_request.order(change_editors::account_id).select(change_editors::account_id).load(self.db)?;
        Ok(accounts.into_iter().map(AccountId).collect())
    }

    /// The same with their login names, in the order of their accounts.
    pub fn hands(&mut self, id: ChangeRequestId) -> Result<Vec<Hand>, StoreError> {
        let of_request = change_editors::table
            .inner_join(accounts::table.on(accounts::id.eq(change_editors::account_id)))
            .filter(change_editors::request_id.eq(hex(id.as_bytes())));
        let rows: Vec<(i64, String)> = of_request.order(accounts::id).select((accounts::id, accounts::login)).load(self.db)?;
        Ok(rows.into_iter().map(|(account, login)| Hand { account: AccountId(account), login }).collect())
    }

    /// Drafts that nobody can ask for any more, approval being off in their project, `limit` at most.
    pub fn idle_drafts(&mut self, limit: i64) -> Result<Vec<ChangeRequestId>, StoreError> {
        let off = governance::table.filter(governance::approval.eq(false)).select(governance::project_id);
        let rows: Vec<String> = change_requests::table
            .filter(change_requests::state.eq(RequestState::Draft.as_str()))
            .filter(change_requests::project_id.eq_any(off))
            .order(change_requests::id)
            .limit(limit)
            .select(change_requests::id)
            .load(self.db)?;
        rows.iter().map(|row| id(row, WHAT)).collect()
    }

    /// Drafts and requests whose time was over at `now`, `limit` at most.
    pub fn expired_requests(&mut self, now: Timestamp, limit: i64) -> Result<Vec<ChangeRequestId>, StoreError> {
        let rows: Vec<String> = change_requests::table
            .filter(change_requests::expires_at.le(now.micros()))
            .filter(change_requests::state.eq_any([RequestState::Draft.as_str(), RequestState::Ready.as_str()]))
            .order((change_requests::expires_at, change_requests::id))
            .limit(limit)
            .select(change_requests::id)
            .load(self.db)?;
        rows.iter().map(|row| id(row, WHAT)).collect()
    }

    /// Requests that somebody began to apply whose lease ended before `now`, `limit` at most.
    pub fn abandoned_requests(&mut self, now: Timestamp, limit: i64) -> Result<Vec<ChangeRequestId>, StoreError> {
        let rows: Vec<String> = change_requests::table
            .filter(change_requests::state.eq(RequestState::Applying.as_str()))
            .filter(change_requests::lease_until.lt(now.micros()))
            .order((change_requests::lease_until, change_requests::id))
            .limit(limit)
            .select(change_requests::id)
            .load(self.db)?;
        rows.iter().map(|row| id(row, WHAT)).collect()
    }
}

impl Tx<'_> {
    /// Inserts a draft or request. `Exists` if its key store has an open one.
    pub fn insert_change_request(&mut self, request: &ChangeRequest) -> Result<(), StoreError> {
        diesel::insert_into(change_requests::table)
            .values((
                change_requests::id.eq(hex(request.id.as_bytes())),
                change_requests::project_id.eq(request.project.0),
                change_requests::key_store_id.eq(request.key_store.map(|key_store| key_store.0)),
                change_requests::new_key_store.eq(request.new_key_store),
                change_requests::state.eq(request.state.as_str()),
                change_requests::requester_id.eq(request.requester.0),
                change_requests::requester.eq(&request.requester_login),
                change_requests::note.eq(&request.note),
                change_requests::digest.eq(request.digest.as_ref().map(<[u8; 32]>::as_slice)),
                change_requests::created_at.eq(request.created.micros()),
                change_requests::requested_at.eq(request.requested.map(Timestamp::micros)),
                change_requests::expires_at.eq(request.expires.micros()),
                change_requests::attempts.eq(i64::from(request.attempts)),
                change_requests::revision.eq(i64::from(request.revision)),
            ))
            .execute(self.db)?;
        Ok(())
    }

    /// A draft that is held was edited once more.
    pub fn edited(&mut self, id: ChangeRequestId) -> Result<(), StoreError> {
        let row = change_requests::table.find(hex(id.as_bytes()));
        changed_one(diesel::update(row).set(change_requests::revision.eq(change_requests::revision + 1)).execute(self.db)?, WHAT)
    }

    /// A draft or request, its row held until the commit.
    pub fn hold_change_request(&mut self, id: ChangeRequestId) -> Result<Option<ChangeRequest>, StoreError> {
        diesel::update(change_requests::table.find(hex(id.as_bytes()))).set(change_requests::state.eq(change_requests::state)).execute(self.db)?;
        self.change_request(id)
    }

    /// Puts an account among those who had a hand in a draft.
    pub fn note_editor(&mut self, id: ChangeRequestId, account: AccountId) -> Result<(), StoreError> {
        if self.change_editors(id)?.contains(&account) {
            return Ok(());
        }
        let editor = (change_editors::request_id.eq(hex(id.as_bytes())), change_editors::account_id.eq(account.0));
        diesel::insert_into(change_editors::table).values(editor).execute(self.db)?;
        Ok(())
    }

    /// Sets when a draft or request that is held expires.
    pub fn set_request_expiry(&mut self, id: ChangeRequestId, expires: Timestamp) -> Result<(), StoreError> {
        let rows = diesel::update(change_requests::table.find(hex(id.as_bytes()))).set(change_requests::expires_at.eq(expires.micros())).execute(self.db)?;
        changed_one(rows, WHAT)
    }

    /// `DRAFT` to `READY`: whoever asks is the requester, as `request` has him, its note, digest and times. `Stale` if it is no draft.
    pub fn ask_for(&mut self, request: &ChangeRequest) -> Result<(), StoreError> {
        let to = after(RequestState::Draft, RequestEvent::Requested)?;
        let draft = change_requests::table.find(hex(request.id.as_bytes())).filter(change_requests::state.eq(RequestState::Draft.as_str()));
        let rows = diesel::update(draft)
            .set((
                change_requests::state.eq(to),
                change_requests::requester_id.eq(request.requester.0),
                change_requests::requester.eq(&request.requester_login),
                change_requests::note.eq(&request.note),
                change_requests::digest.eq(request.digest.as_ref().map(<[u8; 32]>::as_slice)),
                change_requests::requested_at.eq(request.requested.map(Timestamp::micros)),
                change_requests::expires_at.eq(request.expires.micros()),
            ))
            .execute(self.db)?;
        changed_one(rows, WHAT)
    }

    /// `READY` to `APPLYING`, by this node until `lease_until`, with whoever approved and the access key that he did it with, if with one. `Stale`
    /// if it isn't `READY`: of two who decide, one wins.
    pub fn begin_applying(
        &mut self,
        id: ChangeRequestId,
        (decider, login, access_key): (AccountId, &str, Option<&AccessKeyId>),
        now: Timestamp,
        lease_until: Timestamp,
    ) -> Result<(), StoreError> {
        let to = after(RequestState::Ready, RequestEvent::Approved)?;
        let ready = change_requests::table.find(hex(id.as_bytes())).filter(change_requests::state.eq(RequestState::Ready.as_str()));
        let rows = diesel::update(ready)
            .set((
                change_requests::state.eq(to),
                change_requests::decider_id.eq(Some(decider.0)),
                change_requests::decider.eq(Some(login)),
                change_requests::decider_key.eq(access_key.map(AccessKeyId::as_str)),
                change_requests::decided_at.eq(Some(now.micros())),
                change_requests::node.eq(Some(self.node)),
                change_requests::lease_until.eq(Some(lease_until.micros())),
                change_requests::attempts.eq(1_i64),
            ))
            .execute(self.reader.db)?;
        changed_one(rows, WHAT)
    }

    /// Takes over a request whose lease ended before `now`; `false` if somebody else was faster.
    pub fn take_over_request(&mut self, id: ChangeRequestId, now: Timestamp, lease_until: Timestamp) -> Result<bool, StoreError> {
        let abandoned = change_requests::table
            .find(hex(id.as_bytes()))
            .filter(change_requests::state.eq(RequestState::Applying.as_str()))
            .filter(change_requests::lease_until.lt(now.micros()));
        let rows = diesel::update(abandoned)
            .set((
                change_requests::node.eq(Some(self.node)),
                change_requests::lease_until.eq(Some(lease_until.micros())),
                change_requests::attempts.eq(change_requests::attempts + 1),
            ))
            .execute(self.reader.db)?;
        Ok(rows == 1)
    }

    /// A request that this node applies until `lease_until`, its row held until the commit; `Stale` if it is no longer ours. From here on this
    /// transaction may change what needs approval: it is what was approved.
    pub fn hold_applying(&mut self, id: ChangeRequestId, lease_until: Timestamp) -> Result<ChangeRequest, StoreError> {
        let held = diesel::update(applying(self.node, id, lease_until)).set(change_requests::state.eq(change_requests::state)).execute(self.reader.db)?;
        changed_one(held, WHAT)?;
        self.is_approved = true;
        known(self.change_request(id)?, WHAT)
    }

    /// Gives this node more time for a request that it applies.
    pub fn renew_request(&mut self, id: ChangeRequestId, lease_until: Timestamp, longer: Timestamp) -> Result<(), StoreError> {
        let ours = applying(self.node, id, lease_until);
        changed_one(diesel::update(ours).set(change_requests::lease_until.eq(Some(longer.micros()))).execute(self.reader.db)?, WHAT)
    }

    /// Gives up an attempt of this node at a request that it applies until `lease_until`: the try isn't counted, and whoever looks after `now` takes the
    /// request over. `Stale` if it is no longer ours.
    pub fn put_off_request(&mut self, id: ChangeRequestId, lease_until: Timestamp, now: Timestamp) -> Result<(), StoreError> {
        let rows = diesel::update(applying(self.node, id, lease_until))
            .set((change_requests::lease_until.eq(Some(now.micros())), change_requests::attempts.eq(change_requests::attempts - 1)))
            .execute(self.reader.db)?;
        changed_one(rows, WHAT)
    }

    /// Brings a draft or request that is held to its end, with whoever decided, if somebody did, and the reason. What is sealed of it is erased.
    /// `Stale` if it isn't as `request` has it.
    pub fn end_request(
        &mut self,
        request: &ChangeRequest,
        event: RequestEvent,
        decider: Option<(AccountId, &str)>,
        reason: Option<&str>,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let to = after(request.state, event)?;
        let as_seen = change_requests::table.find(hex(request.id.as_bytes())).filter(change_requests::state.eq(request.state.as_str()));
        let rows = diesel::update(as_seen)
            .set((
                change_requests::state.eq(to),
                change_requests::reason.eq(reason),
                change_requests::ended_at.eq(Some(at.micros())),
                change_requests::node.eq(None::<&str>),
                change_requests::lease_until.eq(None::<i64>),
            ))
            .execute(self.db)?;
        changed_one(rows, WHAT)?;
        if let Some((account, login)) = decider {
            diesel::update(change_requests::table.find(hex(request.id.as_bytes())))
                .set((
                    change_requests::decider_id.eq(Some(account.0)),
                    change_requests::decider.eq(Some(login)),
                    change_requests::decided_at.eq(Some(at.micros())),
                ))
                .execute(self.db)?;
        }
        let sealed = change_items::table.filter(change_items::request_id.eq(hex(request.id.as_bytes())));
        diesel::update(sealed).set((change_items::sealed.eq(None::<&[u8]>), change_items::password_hash.eq(None::<&str>))).execute(self.db)?;
        Ok(())
    }
}

/// A request that `node` applies until `lease_until`.
fn applying(node: &str, id: ChangeRequestId, lease_until: Timestamp) -> Applying<'_> {
    change_requests::table
        .find(hex(id.as_bytes()))
        .filter(change_requests::state.eq(RequestState::Applying.as_str()))
        .filter(change_requests::node.eq(node))
        .filter(change_requests::lease_until.eq(lease_until.micros()))
}

type Applying<'a> = diesel::dsl::Filter<
    diesel::dsl::Filter<
        diesel::dsl::Filter<diesel::dsl::Find<change_requests::table, String>, diesel::dsl::Eq<change_requests::state, &'a str>>,
        diesel::dsl::Eq<change_requests::node, &'a str>,
    >,
    diesel::dsl::Eq<change_requests::lease_until, i64>,
>;
