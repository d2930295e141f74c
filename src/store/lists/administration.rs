//! What the organization area lists: projects, who has roles in them, accounts, access keys.

use diesel::prelude::*;

use super::{lower, replace};
use crate::domain::account::{AccessKeySummary, AccountSummary, Member};
use crate::domain::client_checks::AuthMode;
use crate::domain::ids::{AccountId, KeyId, ProjectId};
use crate::domain::key::{KeyKind, State};
use crate::domain::key_store::ProjectSummary;
use crate::domain::listing::{ListQuery, Listed};
use crate::store::access_keys::SummaryRow as AccessKeyRow;
use crate::store::accounts::{Row as AccountRow, columns as account_columns};
use crate::store::error::StoreError;
use crate::store::projects::{SUMMARY, SummaryRow as ProjectRow};
use crate::store::rows::id;
use crate::store::schema::{access_keys, account_roles, accounts, key_stores, keys, projects};
use crate::store::unit::Reader;

/// Whether a column has in it what is searched for, letters of ASCII in either case.
macro_rules! has {
    ($column:expr, $wanted:expr) => {
        replace(lower($column), $wanted.to_ascii_lowercase(), "").ne(lower($column))
    };
}

/// What is searched for; nothing leaves nothing out.
fn wanted(query: &ListQuery) -> Option<&str> {
    query.search.as_deref()
}

impl Reader<'_> {
    /// A page of projects. They are sorted by `created`, else by name.
    pub fn projects_page(&mut self, query: &ListQuery) -> Result<Listed<ProjectSummary>, StoreError> {
        // Made twice: a boxed query is used up by what it answers.
        macro_rules! found {
            () => {{
                let mut found = projects::table.into_boxed();
                if let Some(wanted) = wanted(query) {
                    found = found.filter(has!(projects::name, wanted));
                }
                found
            }};
        }
        let total = found!().count().get_result(self.db)?;
        let page = match (query.sort.as_deref(), query.descending) {
            (Some("created"), false) => found!().order((projects::created_at.asc(), projects::id)),
            (Some("created"), true) => found!().order((projects::created_at.desc(), projects::id)),
            (_, false) => found!().order(projects::name.asc()),
            (_, true) => found!().order(projects::name.desc()),
        };
        let rows: Vec<ProjectRow> = page.select(SUMMARY).limit(query.limit()).offset(query.offset()).load(self.db)?;
        let entries = rows.into_iter().map(|row| self.project_summary(row)).collect::<Result<_, _>>()?;
        Ok(Listed { entries, total })
    }

    /// A page of accounts. They are sorted by `created` or `status`, else by login name.
    pub fn accounts_page(&mut self, query: &ListQuery) -> Result<Listed<AccountSummary>, StoreError> {
        macro_rules! found {
            () => {{
                let mut found = accounts::table.into_boxed();
                if let Some(wanted) = wanted(query) {
                    found = found.filter(has!(accounts::login, wanted));
                }
                found
            }};
        }
        let total = found!().count().get_result(self.db)?;
        let page = match (query.sort.as_deref(), query.descending) {
            (Some("created"), false) => found!().order((accounts::created_at.asc(), accounts::id)),
            (Some("created"), true) => found!().order((accounts::created_at.desc(), accounts::id)),
            (Some("status"), false) => found!().order((accounts::enabled.desc(), accounts::login)),
            (Some("status"), true) => found!().order((accounts::enabled.asc(), accounts::login)),
            (_, false) => found!().order(accounts::login.asc()),
            (_, true) => found!().order(accounts::login.desc()),
        };
        let rows: Vec<AccountRow> = page.select(account_columns()).limit(query.limit()).offset(query.offset()).load(self.db)?;
        let entries = rows.into_iter().map(|row| self.account_summary(row)).collect::<Result<_, _>>()?;
        Ok(Listed { entries, total })
    }

    /// A page of those who have roles in a project, by login name.
    pub fn members_page(&mut self, project: ProjectId, query: &ListQuery) -> Result<Listed<Member>, StoreError> {
        macro_rules! found {
            () => {{
                let with_role = account_roles::table.filter(account_roles::project_id.eq(project.0)).select(account_roles::account_id);
                let mut found = accounts::table.filter(accounts::id.eq_any(with_role)).into_boxed();
                if let Some(wanted) = wanted(query) {
                    found = found.filter(has!(accounts::login, wanted));
                }
                found
            }};
        }
        let total = found!().count().get_result(self.db)?;
        let page = if query.descending { found!().order(accounts::login.desc()) } else { found!().order(accounts::login.asc()) };
        let rows: Vec<(i64, String, bool)> =
            page.select((accounts::id, accounts::login, accounts::enabled)).limit(query.limit()).offset(query.offset()).load(self.db)?;
        let mut entries = Vec::with_capacity(rows.len());
        for (account, login, enabled) in rows {
            let account = AccountId(account);
            let roles = self.roles(account)?.into_iter().filter(|(of, _)| *of == project).map(|(_, role)| role).collect();
            entries.push(Member { account, login, enabled, roles });
        }
        Ok(Listed { entries, total })
    }

    /// A page of access keys. They are sorted by `created` or `id`, else by their accounts' login names.
    pub fn access_keys_page(&mut self, query: &ListQuery) -> Result<Listed<AccessKeySummary>, StoreError> {
        macro_rules! found {
            () => {{
                let mut found = access_keys::table.inner_join(accounts::table.on(accounts::id.eq(access_keys::account_id))).into_boxed();
                if let Some(wanted) = wanted(query) {
                    found = found.filter(has!(accounts::login, wanted).or(has!(access_keys::id, wanted)));
                }
                found
            }};
        }
        let total = found!().count().get_result(self.db)?;
        let page = match (query.sort.as_deref(), query.descending) {
            (Some("created"), false) => found!().order((access_keys::created_at.asc(), access_keys::id)),
            (Some("created"), true) => found!().order((access_keys::created_at.desc(), access_keys::id)),
            (Some("id"), false) => found!().order(access_keys::id.asc()),
            (Some("id"), true) => found!().order(access_keys::id.desc()),
            (_, false) => found!().order((accounts::login.asc(), access_keys::id)),
            (_, true) => found!().order((accounts::login.desc(), access_keys::id)),
        };
        let page = page.limit(query.limit()).offset(query.offset());
        let rows: Vec<AccessKeyRow> = page
            .select((
                access_keys::id,
                accounts::login,
                access_keys::enabled,
                accounts::enabled,
                access_keys::token_life_seconds,
                access_keys::may_approve,
                access_keys::created_at,
            ))
            .load(self.db)?;
        let entries = rows.into_iter().map(|row| self.access_key_summary(row)).collect::<Result<_, _>>()?;
        Ok(Listed { entries, total })
    }

    /// How many projects, accounts and access keys there are.
    pub fn administered(&mut self) -> Result<(i64, i64, i64), StoreError> {
        let (projects, accounts) = (projects::table.count().get_result(self.db)?, accounts::table.count().get_result(self.db)?);
        Ok((projects, accounts, access_keys::table.count().get_result(self.db)?))
    }

    /// A symmetric key of a project that is in service, of a key store with the fewest hurdles for whoever tries it: no certificate, no MAC
    /// address that must pass.
    pub fn symmetric_key_to_try(&mut self, project: ProjectId) -> Result<Option<KeyId>, StoreError> {
        let found: Option<String> = keys::table
            .inner_join(key_stores::table.on(key_stores::id.eq(keys::key_store_id)))
            .filter(key_stores::project_id.eq(project.0).and(key_stores::state.eq(State::Active.as_str())))
            .filter(keys::kind.eq(KeyKind::Symmetric.as_str()).and(keys::state.eq(State::Active.as_str())))
            .order((
                key_stores::certificate_check.and(key_stores::check_mode.eq(AuthMode::And.as_str())),
                key_stores::mac_check.and(key_stores::check_mode.eq(AuthMode::And.as_str())),
                key_stores::ipv4_check.desc(),
                keys::created_at,
                keys::id,
            ))
            .select(keys::id)
            .first(self.db)
            .optional()?;
        found.map(|key| id(&key, "key")).transpose()
    }
}
