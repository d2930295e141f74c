//! Accounts and their roles.

use diesel::prelude::*;

use super::error::StoreError;
use super::rows::{changed_one, known};
use super::schema::{access_keys, account_roles, accounts, projects};
use super::unit::{Reader, Tx};
use crate::domain::account::{AccountSummary, Role, RoleGrant, SecretHash};
use crate::domain::clock::Timestamp;
use crate::domain::ids::{AccountId, ProjectId};
use crate::domain::key::Stamp;
use crate::domain::text::Name;

/// What is `Stale` about the only enabled account that administers the installation.
pub const LAST_ADMINISTRATOR: &str = "last administrator";
/// The row of `settings` that is held by whoever administers.
const ADMINISTRATORS: &str = "administrators";

#[derive(Queryable)]
pub(super) struct Row {
    id: i64,
    login: String,
    enabled: bool,
    administrator: bool,
    must_change_password: bool,
    has_second_factor: bool,
    created: i64,
    changed: i64,
}

/// The columns of [`Row`].
pub(super) type Columns = (
    accounts::id,
    accounts::login,
    accounts::enabled,
    accounts::administrator,
    accounts::must_change_password,
    diesel::dsl::IsNotNull<accounts::sealed_totp>,
    accounts::created_at,
    accounts::changed_at,
);

/// The columns of [`Row`].
pub(super) fn columns() -> Columns {
    (
        accounts::id,
        accounts::login,
        accounts::enabled,
        accounts::administrator,
        accounts::must_change_password,
        accounts::sealed_totp.is_not_null(),
        accounts::created_at,
        accounts::changed_at,
    )
}

impl Reader<'_> {
    /// The roles of an account, in all projects.
    pub fn roles(&mut self, account: AccountId) -> Result<Vec<(ProjectId, Role)>, StoreError> {
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

    /// When an account was last changed.
    pub fn account_changed(&mut self, account: AccountId) -> Result<Option<Timestamp>, StoreError> {
        let at: Option<i64> = accounts::table.find(account.0).select(accounts::changed_at).first(self.db).optional()?;
        Ok(at.map(Timestamp::from_micros))
    }

    /// Who made an account: a login name, or an operator.
    pub fn account_maker(&mut self, account: AccountId) -> Result<Option<String>, StoreError> {
        Ok(accounts::table.find(account.0).select(accounts::created_by).first(self.db).optional()?)
    }

    /// Who last gave an account a password of which he knew all, and may know it still: a login name, or an operator. None: two people did.
    pub fn password_setter(&mut self, account: AccountId) -> Result<Option<String>, StoreError> {
        let setter: Option<Option<String>> = accounts::table.find(account.0).select(accounts::password_set_by).first(self.db).optional()?;
        Ok(setter.flatten())
    }

    /// A page of accounts in the order in which they were made.
    pub fn accounts(&mut self, after: Option<AccountId>, limit: i64) -> Result<Vec<AccountSummary>, StoreError> {
        let rows: Vec<Row> =
            accounts::table.filter(accounts::id.gt(after.map_or(0, |account| account.0))).order(accounts::id).limit(limit).select(columns()).load(self.db)?;
        rows.into_iter().map(|row| self.account_summary(row)).collect()
    }

    pub(super) fn account_summary(&mut self, row: Row) -> Result<AccountSummary, StoreError> {
        Ok(AccountSummary {
            id: AccountId(row.id),
            access_keys: access_keys::table.filter(access_keys::account_id.eq(row.id)).count().get_result(self.db)?,
            login: row.login,
            enabled: row.enabled,
            administrator: row.administrator,
            must_change_password: row.must_change_password,
            has_second_factor: row.has_second_factor,
            created: Timestamp::from_micros(row.created),
            changed: Timestamp::from_micros(row.changed),
        })
    }

    /// An account as lists show it.
    pub fn account(&mut self, account: AccountId) -> Result<Option<AccountSummary>, StoreError> {
        let row: Option<Row> = accounts::table.find(account.0).select(columns()).first(self.db).optional()?;
        row.map(|row| self.account_summary(row)).transpose()
    }

    /// The login name of an account.
    pub fn login_of(&mut self, account: AccountId) -> Result<Option<String>, StoreError> {
        Ok(accounts::table.find(account.0).select(accounts::login).first(self.db).optional()?)
    }

    /// A page of who has which role where, of one project or account or of all, in the order of account, project and role.
    pub fn role_grants(
        &mut self,
        project: Option<ProjectId>,
        account: Option<AccountId>,
        after: Option<(AccountId, ProjectId, Role)>,
        limit: i64,
    ) -> Result<Vec<RoleGrant>, StoreError> {
        let mut query = account_roles::table
            .inner_join(accounts::table.on(accounts::id.eq(account_roles::account_id)))
            .inner_join(projects::table.on(projects::id.eq(account_roles::project_id)))
            .order((account_roles::account_id, account_roles::project_id, account_roles::role))
            .limit(limit)
            .select((account_roles::account_id, accounts::login, account_roles::project_id, projects::name, account_roles::role, account_roles::created_at))
            .into_boxed();
        if let Some(project) = project {
            query = query.filter(account_roles::project_id.eq(project.0));
        }
        if let Some(account) = account {
            query = query.filter(account_roles::account_id.eq(account.0));
        }
        if let Some((account, project, role)) = after {
            let same_account = account_roles::account_id.eq(account.0);
            let same_project = same_account.and(account_roles::project_id.eq(project.0));
            let later_role = same_project.and(account_roles::role.gt(role.as_str()));
            query = query.filter(account_roles::account_id.gt(account.0).or(same_account.and(account_roles::project_id.gt(project.0))).or(later_role));
        }
        let rows: Vec<(i64, String, i64, String, String, i64)> = query.load(self.db)?;
        let grant = |(account, login, project, name, role, created): (i64, String, i64, String, String, i64)| {
            Ok(RoleGrant {
                account: AccountId(account),
                login,
                project: ProjectId(project),
                project_name: Name::from_stored(name),
                role: known(Role::parse(&role), "role")?,
                created: Timestamp::from_micros(created),
            })
        };
        rows.into_iter().map(grant).collect()
    }
}

impl Tx<'_> {
    /// Inserts an account, enabled. The password comes hashed.
    pub fn insert_account(&mut self, login: &str, password_hash: &str, must_change: bool, created: &Stamp) -> Result<AccountId, StoreError> {
        let id = diesel::insert_into(accounts::table)
            .values((
                accounts::login.eq(login),
                accounts::password_hash.eq(password_hash),
                accounts::password_set_by.eq(Some(&created.user)),
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

    /// Takes a role away; `Stale` if the account doesn't have it.
    pub fn revoke_role(&mut self, account: AccountId, project: ProjectId, role: Role) -> Result<(), StoreError> {
        let rows = diesel::delete(account_roles::table.find((account.0, project.0, role.as_str()))).execute(self.db)?;
        changed_one(rows, "role")
    }

    /// Holds an account's row until the commit; answers when it was last changed.
    pub fn hold_account(&mut self, account: AccountId) -> Result<Timestamp, StoreError> {
        let held = diesel::update(accounts::table.find(account.0)).set(accounts::login.eq(accounts::login)).execute(self.db)?;
        changed_one(held, "account")?;
        Ok(Timestamp::from_micros(accounts::table.find(account.0).select(accounts::changed_at).first(self.db)?))
    }

    /// Enables or disables an account. Disabling it ends the tokens of its access keys for good, those too that another node is issuing,
    /// and its sessions. `Stale` of [`LAST_ADMINISTRATOR`] where nobody who administers would be left.
    pub fn set_account_enabled(&mut self, account: AccountId, enabled: bool, changed: &Stamp) -> Result<(), StoreError> {
        let administered = self.administers(account)?;
        let rows = diesel::update(accounts::table.find(account.0))
            .set((accounts::enabled.eq(enabled), accounts::changed_by.eq(&changed.user), accounts::changed_at.eq(changed.at.micros())))
            .execute(self.db)?;
        changed_one(rows, "account")?;
        if enabled {
            return Ok(());
        }
        if administered {
            self.require_administrator_left()?;
        }
        self.end_sessions_of(account, None)?;
        self.end_tokens_of_account(account)
    }

    /// Makes an account one that administers the installation, or one that doesn't; `Stale` of [`LAST_ADMINISTRATOR`] where nobody who does
    /// would be left.
    pub fn set_administrator(&mut self, account: AccountId, administrator: bool, changed: &Stamp) -> Result<(), StoreError> {
        let administered = self.administers(account)?;
        let rows = diesel::update(accounts::table.find(account.0))
            .set((accounts::administrator.eq(administrator), accounts::changed_by.eq(&changed.user), accounts::changed_at.eq(changed.at.micros())))
            .execute(self.db)?;
        changed_one(rows, "account")?;
        if administered && !administrator { self.require_administrator_left() } else { Ok(()) }
    }

    /// Whether the account is one that may administer now. Its row is held until the commit.
    fn administers(&mut self, account: AccountId) -> Result<bool, StoreError> {
        self.hold_account(account)?;
        Ok(self.account(account)?.is_some_and(|account| account.administrator && account.enabled))
    }

    /// Has whoever administers wait for each other until the commit, on all nodes: what somebody may is read after this, so that two can't each
    /// take the other's right away. To be held before any other row.
    pub fn hold_administration(&mut self) -> Result<(), StoreError> {
        self.put_setting(ADMINISTRATORS, &[])
    }

    fn require_administrator_left(&mut self) -> Result<(), StoreError> {
        // Two nodes that take the last two away can't each take the other's for one that is left.
        self.hold_administration()?;
        let left: i64 = accounts::table.filter(accounts::administrator.eq(true).and(accounts::enabled.eq(true))).count().get_result(self.db)?;
        if left == 0 { Err(StoreError::Stale { what: LAST_ADMINISTRATOR }) } else { Ok(()) }
    }

    /// Gives an account another password, which comes hashed, if it still has that one; all its sessions but one end. `Stale` if somebody else
    /// changed it meanwhile.
    pub fn replace_password(&mut self, account: AccountId, (old, new): (&str, &str), but: SecretHash, changed: &Stamp) -> Result<(), StoreError> {
        let rows = diesel::update(accounts::table.find(account.0).filter(accounts::password_hash.eq(old)))
            .set((
                accounts::password_hash.eq(new),
                accounts::must_change_password.eq(false),
                accounts::changed_by.eq(&changed.user),
                accounts::changed_at.eq(changed.at.micros()),
            ))
            .execute(self.db)?;
        changed_one(rows, "password")?;
        self.end_sessions_of(account, Some(but))?;
        Ok(())
    }

    /// Gives an account another password, which comes hashed. Its sessions end, and so does its second factor: this is how somebody comes in
    /// again who has lost both.
    pub fn set_password(&mut self, account: AccountId, password_hash: &str, must_change: bool, changed: &Stamp) -> Result<(), StoreError> {
        let rows = diesel::update(accounts::table.find(account.0))
            .set((
                accounts::password_hash.eq(password_hash),
                accounts::password_set_by.eq(Some(&changed.user)),
                accounts::must_change_password.eq(must_change),
                accounts::changed_by.eq(&changed.user),
                accounts::changed_at.eq(changed.at.micros()),
            ))
            .execute(self.db)?;
        changed_one(rows, "account")?;
        self.remove_second_factor(account, changed)?;
        self.end_sessions_of(account, None)?;
        Ok(())
    }

    /// Two people have given an account its password, of whom each knew a part.
    pub fn password_is_of_two(&mut self, account: AccountId) -> Result<(), StoreError> {
        let nobody = accounts::password_set_by.eq(None::<&str>);
        changed_one(diesel::update(accounts::table.find(account.0)).set(nobody).execute(self.db)?, "account")
    }
}
