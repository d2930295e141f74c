//! Access keys: what programs show for an account.

use diesel::prelude::*;

use super::error::StoreError;
use super::rows::{bytes, changed_one, known};
use super::schema::{access_key_usage, access_keys, account_roles, accounts, bearer_tokens};
use super::unit::{Reader, Tx};
use crate::domain::account::{ACCESS_KEYS_MAX, AccessKey, AccessKeyId, AccessKeySummary, ApprovingKey, Role, SecretHash, TokenLife};
use crate::domain::clock::Timestamp;
use crate::domain::ids::{AccountId, ProjectId};
use crate::domain::key::Stamp;

/// What is `Stale` about an account that has [`ACCESS_KEYS_MAX`] access keys.
pub const TOO_MANY_ACCESS_KEYS: &str = "number of access keys";

#[derive(Queryable)]
struct AccessKeyRow {
    id: String,
    account: i64,
    login: String,
    secret: Vec<u8>,
    token_life_seconds: i64,
    enabled: bool,
    account_enabled: bool,
    may_approve: bool,
    maker: Option<i64>,
}

#[derive(Queryable)]
pub(super) struct SummaryRow {
    id: String,
    login: String,
    enabled: bool,
    account_enabled: bool,
    token_life_seconds: i64,
    may_approve: bool,
    created: i64,
}

impl Reader<'_> {
    /// Whose access key it is, though all else of it could not be read.
    pub fn owner_of_access_key(&mut self, id: &AccessKeyId) -> Result<Option<AccountId>, StoreError> {
        let row: Option<i64> = access_keys::table.find(id.as_str()).select(access_keys::account_id).first(self.db).optional()?;
        Ok(row.map(AccountId))
    }

    /// An access key with its account's roles, enabled or not.
    pub fn access_key(&mut self, id: &AccessKeyId) -> Result<Option<AccessKey>, StoreError> {
        const WHAT: &str = "access key";
        let row: Option<AccessKeyRow> = access_keys::table
            .inner_join(accounts::table.on(accounts::id.eq(access_keys::account_id)))
            .filter(access_keys::id.eq(id.as_str()))
            .select((
                access_keys::id,
                access_keys::account_id,
                accounts::login,
                access_keys::secret_hash,
                access_keys::token_life_seconds,
                access_keys::enabled,
                accounts::enabled,
                access_keys::may_approve,
                access_keys::maker_id,
            ))
            .first(self.db)
            .optional()?;
        let Some(row) = row else {
            return Ok(None);
        };
        Ok(Some(AccessKey {
            id: known(AccessKeyId::parse(&row.id), WHAT)?,
            account: AccountId(row.account),
            login: row.login,
            secret: SecretHash(bytes(row.secret, WHAT)?),
            token_life: known(TokenLife::from_seconds(row.token_life_seconds).ok(), WHAT)?,
            enabled: row.enabled && row.account_enabled,
            may_approve: row.may_approve,
            maker: row.maker.map(AccountId),
            roles: self.roles(AccountId(row.account))?,
        }))
    }

    /// A page of access keys in the order of their IDs, of one account or of all.
    pub fn access_keys(&mut self, account: Option<AccountId>, after: Option<&AccessKeyId>, limit: i64) -> Result<Vec<AccessKeySummary>, StoreError> {
        let mut query = access_keys::table
            .inner_join(accounts::table.on(accounts::id.eq(access_keys::account_id)))
            .filter(access_keys::id.gt(after.map_or("", AccessKeyId::as_str)))
            .order(access_keys::id)
            .limit(limit)
            .select((
                access_keys::id,
                accounts::login,
                access_keys::enabled,
                accounts::enabled,
                access_keys::token_life_seconds,
                access_keys::may_approve,
                access_keys::created_at,
            ))
            .into_boxed();
        if let Some(account) = account {
            query = query.filter(access_keys::account_id.eq(account.0));
        }
        let rows: Vec<SummaryRow> = query.load(self.db)?;
        rows.into_iter().map(|row| self.access_key_summary(row)).collect()
    }

    /// The access keys that may approve in the name of an account that approves in a project, `limit` at most, by account.
    pub fn approving_keys(&mut self, project: ProjectId, limit: i64) -> Result<Vec<ApprovingKey>, StoreError> {
        let approvers = Role::ALL.into_iter().filter(|role| role.may_approve()).map(Role::as_str);
        let members = account_roles::table.filter(account_roles::project_id.eq(project.0)).filter(account_roles::role.eq_any(approvers));
        let rows: Vec<(String, String, Option<i64>)> = access_keys::table
            .inner_join(accounts::table.on(accounts::id.eq(access_keys::account_id)))
            .filter(access_keys::may_approve.eq(true))
            .filter(access_keys::account_id.eq_any(members.select(account_roles::account_id)))
            .order((accounts::login, access_keys::id))
            .limit(limit)
            .select((access_keys::id, accounts::login, access_keys::maker_id))
            .load(self.db)?;
        let approving = |(id, login, maker): (String, String, Option<i64>)| {
            let maker = maker.map(|maker| self.login_of(AccountId(maker))).transpose()?.flatten();
            Ok(ApprovingKey { id: known(AccessKeyId::parse(&id), "access key")?, login, maker })
        };
        rows.into_iter().map(approving).collect()
    }

    pub(super) fn access_key_summary(&mut self, row: SummaryRow) -> Result<AccessKeySummary, StoreError> {
        const WHAT: &str = "access key";
        // One row per node.
        let last_access: Option<i64> = access_key_usage::table
            .filter(access_key_usage::access_key_id.eq(&row.id))
            .select(diesel::dsl::max(access_key_usage::last_access))
            .first(self.db)?;
        Ok(AccessKeySummary {
            id: known(AccessKeyId::parse(&row.id), WHAT)?,
            login: row.login,
            enabled: row.enabled,
            account_enabled: row.account_enabled,
            token_life: known(TokenLife::from_seconds(row.token_life_seconds).ok(), WHAT)?,
            may_approve: row.may_approve,
            created: Timestamp::from_micros(row.created),
            last_access: last_access.map(Timestamp::from_micros),
        })
    }
}

impl Tx<'_> {
    /// Inserts an access key of an account, with whoever made it; none: an operator. Refuses a sixth one of an account with `Stale` of
    /// [`TOO_MANY_ACCESS_KEYS`].
    pub fn insert_access_key(
        &mut self,
        id: &AccessKeyId,
        (account, maker): (AccountId, Option<AccountId>),
        secret: SecretHash,
        life: TokenLife,
        created: &Stamp,
    ) -> Result<(), StoreError> {
        // Changes nothing, but holds the account's row until the commit: two nodes can't both find room for the fifth.
        let held = diesel::update(accounts::table.find(account.0)).set(accounts::login.eq(accounts::login)).execute(self.db)?;
        changed_one(held, "account")?;
        let there: i64 = access_keys::table.filter(access_keys::account_id.eq(account.0)).count().get_result(self.db)?;
        if usize::try_from(there).is_ok_and(|there| there >= ACCESS_KEYS_MAX) {
            return Err(StoreError::Stale { what: TOO_MANY_ACCESS_KEYS });
        }
        diesel::insert_into(access_keys::table)
            .values((
                access_keys::id.eq(id.as_str()),
                access_keys::account_id.eq(account.0),
                access_keys::maker_id.eq(maker.map(|maker| maker.0)),
                access_keys::secret_hash.eq(secret.0.as_slice()),
                access_keys::token_life_seconds.eq(i64::from(life.seconds())),
                access_keys::enabled.eq(true),
                access_keys::created_by.eq(&created.user),
                access_keys::created_at.eq(created.at.micros()),
                access_keys::changed_by.eq(&created.user),
                access_keys::changed_at.eq(created.at.micros()),
            ))
            .execute(self.db)?;
        Ok(())
    }

    /// Enables or disables an access key; `Stale` if there is none. Disabling it ends its tokens for good, and that it may approve: whoever
    /// enables it again gives it nothing that two would have to.
    pub fn set_access_key_enabled(&mut self, id: &AccessKeyId, enabled: bool, changed: &Stamp) -> Result<(), StoreError> {
        let rows = diesel::update(access_keys::table.find(id.as_str()))
            .set((access_keys::enabled.eq(enabled), access_keys::changed_by.eq(&changed.user), access_keys::changed_at.eq(changed.at.micros())))
            .execute(self.db)?;
        changed_one(rows, "access key")?;
        if enabled {
            return Ok(());
        }
        self.set_may_approve(id, false, changed)?;
        self.end_tokens(id)
    }

    /// Sets how long tokens that an access key gets from now on live; `Stale` if there is none.
    pub fn set_token_life(&mut self, id: &AccessKeyId, life: TokenLife, changed: &Stamp) -> Result<(), StoreError> {
        let rows = diesel::update(access_keys::table.find(id.as_str()))
            .set((
                access_keys::token_life_seconds.eq(i64::from(life.seconds())),
                access_keys::changed_by.eq(&changed.user),
                access_keys::changed_at.eq(changed.at.micros()),
            ))
            .execute(self.db)?;
        changed_one(rows, "access key")
    }

    /// Sets whether an access key approves in its account's name; `Stale` if there is none.
    pub fn set_may_approve(&mut self, id: &AccessKeyId, allowed: bool, changed: &Stamp) -> Result<(), StoreError> {
        let rows = diesel::update(access_keys::table.find(id.as_str()))
            .set((access_keys::may_approve.eq(allowed), access_keys::changed_by.eq(&changed.user), access_keys::changed_at.eq(changed.at.micros())))
            .execute(self.db)?;
        changed_one(rows, "access key")
    }

    /// No access key of an account approves in its name any more; answers those that did.
    pub fn let_none_approve(&mut self, account: AccountId, changed: &Stamp) -> Result<Vec<AccessKeyId>, StoreError> {
        let approving = access_keys::table.filter(access_keys::account_id.eq(account.0)).filter(access_keys::may_approve.eq(true));
        let ids: Vec<String> = approving.order(access_keys::id).select(access_keys::id).load(self.reader.db)?;
        self.let_these_not_approve(&ids, changed)
    }

    /// No access key of an account with a role in a project approves in its account's name any more; answers those that did.
    pub fn let_none_approve_in(&mut self, project: ProjectId, changed: &Stamp) -> Result<Vec<AccessKeyId>, StoreError> {
        let members = account_roles::table.filter(account_roles::project_id.eq(project.0)).select(account_roles::account_id);
        let approving = access_keys::table.filter(access_keys::account_id.eq_any(members)).filter(access_keys::may_approve.eq(true));
        let ids: Vec<String> = approving.order(access_keys::id).select(access_keys::id).load(self.reader.db)?;
        self.let_these_not_approve(&ids, changed)
    }

    fn let_these_not_approve(&mut self, ids: &[String], changed: &Stamp) -> Result<Vec<AccessKeyId>, StoreError> {
        let ids = ids.iter().map(|id| known(AccessKeyId::parse(id), "access key")).collect::<Result<Vec<_>, _>>()?;
        for id in &ids {
            self.set_may_approve(id, false, changed)?;
        }
        Ok(ids)
    }

    /// Deletes an access key with its tokens; `Stale` if there is none. Its usage stays, as the audit log does.
    pub fn delete_access_key(&mut self, id: &AccessKeyId) -> Result<(), StoreError> {
        // Held first: a token that another node is issuing is there by now, or won't be.
        let held = diesel::update(access_keys::table.find(id.as_str())).set(access_keys::enabled.eq(false)).execute(self.db)?;
        changed_one(held, "access key")?;
        self.end_tokens(id)?;
        changed_one(diesel::delete(access_keys::table.find(id.as_str())).execute(self.db)?, "access key")
    }

    fn end_tokens(&mut self, id: &AccessKeyId) -> Result<(), StoreError> {
        diesel::delete(bearer_tokens::table.filter(bearer_tokens::access_key_id.eq(id.as_str()))).execute(self.db)?;
        Ok(())
    }

    /// Ends the tokens of an account that was just disabled.
    pub(super) fn end_tokens_of_account(&mut self, account: AccountId) -> Result<(), StoreError> {
        let of_account = access_keys::table.filter(access_keys::account_id.eq(account.0));
        // Held first: a token that another node is issuing is there by now, or won't be, since the account isn't enabled.
        diesel::update(of_account).set(access_keys::enabled.eq(access_keys::enabled)).execute(self.db)?;
        let ids = of_account.select(access_keys::id);
        diesel::delete(bearer_tokens::table.filter(bearer_tokens::access_key_id.eq_any(ids))).execute(self.db)?;
        Ok(())
    }
}
