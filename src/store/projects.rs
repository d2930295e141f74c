//! Projects and their appkeys.

use diesel::prelude::*;

use super::error::StoreError;
use super::schema::{account_roles, appkeys, projects};
use super::unit::{Reader, Tx};
use crate::domain::appkey::Appkey;
use crate::domain::ids::{AccountId, ProjectId};
use crate::domain::key::Stamp;
use crate::domain::key_store::Project;
use crate::domain::text::Name;

type Row = (i64, String, bool);

fn project((id, name, appkey_reads): Row) -> Project {
    Project { id: ProjectId(id), name: Name::from_stored(name), appkey_reads }
}

impl Reader<'_> {
    /// The project that an appkey names.
    pub fn project_by_appkey(&mut self, appkey: &Appkey) -> Result<Option<Project>, StoreError> {
        let row: Option<Row> = appkeys::table
            .inner_join(projects::table.on(projects::id.eq(appkeys::project_id)))
            .filter(appkeys::appkey.eq(appkey.as_str()))
            .select((projects::id, projects::name, projects::appkey_reads))
            .first(self.db)
            .optional()?;
        Ok(row.map(project))
    }

    /// A project.
    pub fn project(&mut self, id: ProjectId) -> Result<Option<Project>, StoreError> {
        let row: Option<Row> = projects::table.find(id.0).select((projects::id, projects::name, projects::appkey_reads)).first(self.db).optional()?;
        Ok(row.map(project))
    }

    /// The projects in which an account has a role, or all of them, by name.
    pub fn projects_of(&mut self, account: AccountId, all: bool, limit: i64) -> Result<Vec<Project>, StoreError> {
        let with_role = account_roles::table.filter(account_roles::account_id.eq(account.0)).select(account_roles::project_id);
        let mut query =
            projects::table.order(projects::name).limit(limit).select((projects::id, projects::name, projects::appkey_reads)).into_boxed();
        if !all {
            query = query.filter(projects::id.eq_any(with_role));
        }
        Ok(query.load::<Row>(self.db)?.into_iter().map(project).collect())
    }

    /// The project of that name.
    pub fn project_by_name(&mut self, name: &Name) -> Result<Option<Project>, StoreError> {
        let row: Option<Row> = projects::table
            .filter(projects::name.eq(name.as_str()))
            .select((projects::id, projects::name, projects::appkey_reads))
            .first(self.db)
            .optional()?;
        Ok(row.map(project))
    }
}

impl Tx<'_> {
    /// Inserts a project.
    pub fn insert_project(&mut self, name: &Name, created: &Stamp) -> Result<ProjectId, StoreError> {
        let id = diesel::insert_into(projects::table)
            .values((
                projects::name.eq(name.as_str()),
                projects::last_key_store_number.eq(0_i64),
                projects::created_by.eq(&created.user),
                projects::created_at.eq(created.at.micros()),
                projects::changed_by.eq(&created.user),
                projects::changed_at.eq(created.at.micros()),
            ))
            .returning(projects::id)
            .get_result(self.db)?;
        Ok(ProjectId(id))
    }

    /// Inserts an appkey of a project.
    pub fn insert_appkey(&mut self, appkey: &Appkey, project: ProjectId, created: &Stamp) -> Result<(), StoreError> {
        diesel::insert_into(appkeys::table)
            .values((
                appkeys::appkey.eq(appkey.as_str()),
                appkeys::project_id.eq(project.0),
                appkeys::created_by.eq(&created.user),
                appkeys::created_at.eq(created.at.micros()),
                appkeys::changed_by.eq(&created.user),
                appkeys::changed_at.eq(created.at.micros()),
            ))
            .execute(self.db)?;
        Ok(())
    }
}
