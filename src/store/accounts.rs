//! Accounts, their roles and their access keys.

use diesel::prelude::*;

use super::error::StoreError;
use super::rows::{bytes, changed_one, known};
use super::schema::{access_keys, account_roles, accounts};
use super::unit::{Reader, Tx};
use crate::domain::account::{ACCESS_KEYS_MAX, AccessKey, AccessKeyId, Role, SecretHash, TokenLife};
use crate::domain::ids::{AccountId, ProjectId};
use crate::domain::key::Stamp;

#[derive(Queryable)]
struct AccessKeyRow {
    id: String,
    account: i64,
    login: String,
    secret: Vec<u8>,
    token_life_seconds: i64,
    enabled: bool,
    account_enabled: bool,
}

impl Reader<'_> {
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
            roles: self.roles(AccountId(row.account))?,
        }))
    }

    pub(super) fn roles(&mut self, account: AccountId) -> Result<Vec<(ProjectId, Role)>, StoreError> {
        let rows: Vec<(i64, String)> = account_roles::table
            .filter(account_roles::account_id.eq(account.0))
            .order((account_roles::project_id, account_roles::role))
            .select((account_roles::project_id, account_roles::role))
            .load(self.db)?;
        rows.into_iter().map(|(project, role)| Ok((ProjectId(project), known(Role::parse(&role), "role")?))).collect()
    }

    /// The account of that login name.
    pub fn account_by_login(&mut self, login: &str) -> Result<Option<AccountId>, StoreError> {
        let id: Option<i64> = accounts::table.filter(accounts::login.eq(login)).select(accounts::id).first(self.db).optional()?;
        Ok(id.map(AccountId))
    }
}

impl Tx<'_> {
    /// Inserts an account, enabled. The password comes hashed.
    pub fn insert_account(&mut self, login: &str, password_hash: &str, must_change: bool, created: &Stamp) -> Result<AccountId, StoreError> {
        let id = diesel::insert_into(accounts::table)
            .values((
                accounts::login.eq(login),
                accounts::password_hash.eq(password_hash),
                accounts::must_change_password.eq(must_change),
                accounts::enabled.eq(true),
                accounts::created_by.eq(&created.user),
                accounts::created_at.eq(created.at.micros()),
                accounts::changed_by.eq(&created.user),
                accounts::changed_at.eq(created.at.micros()),
            ))
            .returning(accounts::id)
            .get_result(self.db)?;
        Ok(AccountId(id))
    }

    /// Grants a role; `Exists` if the account has it.
    pub fn grant_role(&mut self, account: AccountId, project: ProjectId, role: Role, created: &Stamp) -> Result<(), StoreError> {
        diesel::insert_into(account_roles::table)
            .values((
                account_roles::account_id.eq(account.0),
                account_roles::project_id.eq(project.0),
                account_roles::role.eq(role.as_str()),
                account_roles::created_by.eq(&created.user),
                account_roles::created_at.eq(created.at.micros()),
                account_roles::changed_by.eq(&created.user),
                account_roles::changed_at.eq(created.at.micros()),
            ))
            .execute(self.db)?;
        Ok(())
    }

    /// Refuses a sixth access key of one account with `Stale { what: "account" }`.
    pub fn insert_access_key(&mut self, id: &AccessKeyId, account: AccountId, secret: SecretHash, life: TokenLife, created: &Stamp) -> Result<(), StoreError> {
        // Changes nothing, but holds the account's row until the commit: two nodes can't both find room for the fifth.
        let held = diesel::update(accounts::table.find(account.0)).set(accounts::login.eq(accounts::login)).execute(self.db)?;
        changed_one(held, "account")?;
        let there: i64 = access_keys::table.filter(access_keys::account_id.eq(account.0)).count().get_result(self.db)?;
        if usize::try_from(there).is_ok_and(|there| there >= ACCESS_KEYS_MAX) {
            return Err(StoreError::Stale { what: "account" });
        }
        diesel::insert_into(access_keys::table)
            .values((
                access_keys::id.eq(id.as_str()),
                access_keys::account_id.eq(account.0),
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

    /// Enables or disables an access key; `Stale` if there is none.
    pub fn set_access_key_enabled(&mut self, id: &AccessKeyId, enabled: bool, changed: &Stamp) -> Result<(), StoreError> {
        let rows = diesel::update(access_keys::table.find(id.as_str()))
            .set((access_keys::enabled.eq(enabled), access_keys::changed_by.eq(&changed.user), access_keys::changed_at.eq(changed.at.micros())))
            .execute(self.db)?;
        changed_one(rows, "access key")
    }
}
