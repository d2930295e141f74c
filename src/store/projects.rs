//! Projects and their appkeys.

use diesel::prelude::*;

use super::error::StoreError;
use super::rows::{changed_one, known};
use super::schema::{account_roles, appkeys, governance, projects};
use super::unit::{Reader, Tx};
use crate::domain::appkey::Appkey;
use crate::domain::clock::Timestamp;
use crate::domain::ids::{AccountId, ProjectId};
use crate::domain::key::Stamp;
use crate::domain::key_store::{AppkeySummary, Project, ProjectSummary};
use crate::domain::text::Name;

/// What is `Stale` about a project whose only appkey was to be deleted.
pub const LAST_APPKEY: &str = "last appkey";

type Row = (i64, String, bool, Option<bool>);

pub(super) type SummaryRow = (i64, String, bool, i64, i64);

type SummaryColumns = (projects::id, projects::name, projects::appkey_reads, projects::created_at, projects::changed_at);

/// The columns of a [`SummaryRow`].
pub(super) const SUMMARY: SummaryColumns = (projects::id, projects::name, projects::appkey_reads, projects::created_at, projects::changed_at);

fn project((id, name, appkey_reads, approval): Row) -> Project {
    Project { id: ProjectId(id), name: Name::from_stored(name), appkey_reads, approval: approval == Some(true) }
}

/// Projects with their governance, and what a [`Row`] has of both.
macro_rules! with_governance {
    () => {
        projects::table.left_join(governance::table.on(governance::project_id.eq(projects::id))).select((
            projects::id,
            projects::name,
            projects::appkey_reads,
            governance::approval.nullable(),
        ))
    };
}

impl Reader<'_> {
    /// The project that an appkey names.
    pub fn project_by_appkey(&mut self, appkey: &Appkey) -> Result<Option<Project>, StoreError> {
        let named = appkeys::table.filter(appkeys::appkey.eq(appkey.as_str())).select(appkeys::project_id);
        let row: Option<Row> = with_governance!().filter(projects::id.eq_any(named)).first(self.db).optional()?;
        Ok(row.map(project))
    }

    /// A project.
    pub fn project(&mut self, id: ProjectId) -> Result<Option<Project>, StoreError> {
        let row: Option<Row> = with_governance!().filter(projects::id.eq(id.0)).first(self.db).optional()?;
        Ok(row.map(project))
    }

    /// The projects in which an account has a role, or all of them, by name.
    pub fn projects_of(&mut self, account: AccountId, all: bool, limit: i64) -> Result<Vec<Project>, StoreError> {
        let with_role = account_roles::table.filter(account_roles::account_id.eq(account.0)).select(account_roles::project_id);
        let mut query = with_governance!().order(projects::name).limit(limit).into_boxed();
        if !all {
            query = query.filter(projects::id.eq_any(with_role));
        }
        Ok(query.load::<Row>(self.db)?.into_iter().map(project).collect())
    }

    /// The project of that name.
    pub fn project_by_name(&mut self, name: &Name) -> Result<Option<Project>, StoreError> {
        let row: Option<Row> = with_governance!().filter(projects::name.eq(name.as_str())).first(self.db).optional()?;
        Ok(row.map(project))
    }

    /// A page of projects in the order in which they were made.
    pub fn projects(&mut self, after: Option<ProjectId>, limit: i64) -> Result<Vec<ProjectSummary>, StoreError> {
        let rows: Vec<SummaryRow> =
            projects::table.filter(projects::id.gt(after.map_or(0, |project| project.0))).order(projects::id).limit(limit).select(SUMMARY).load(self.db)?;
        rows.into_iter().map(|row| self.project_summary(row)).collect()
    }

    pub(super) fn project_summary(&mut self, (id, name, appkey_reads, created, changed): SummaryRow) -> Result<ProjectSummary, StoreError> {
        let appkeys = appkeys::table.filter(appkeys::project_id.eq(id)).count().get_result(self.db)?;
        let (created, changed) = (Timestamp::from_micros(created), Timestamp::from_micros(changed));
        let approval: Option<bool> = governance::table.find(id).select(governance::approval).first(self.db).optional()?;
        Ok(ProjectSummary { project: project((id, name, appkey_reads, approval)), appkeys, created, changed })
    }

    /// A project as lists show it.
    pub fn project_as_listed(&mut self, id: ProjectId) -> Result<Option<ProjectSummary>, StoreError> {
        let row: Option<SummaryRow> = projects::table.find(id.0).select(SUMMARY).first(self.db).optional()?;
        row.map(|row| self.project_summary(row)).transpose()
    }

    /// A page of appkeys in their own order, of one project or of all.
    pub fn appkeys(&mut self, of: Option<ProjectId>, after: Option<&Appkey>, limit: i64) -> Result<Vec<AppkeySummary>, StoreError> {
        let mut query = appkeys::table
            .inner_join(projects::table.on(projects::id.eq(appkeys::project_id)))
            .filter(appkeys::appkey.gt(after.map_or("", Appkey::as_str)))
            .order(appkeys::appkey)
            .limit(limit)
            .select((appkeys::appkey, projects::name, appkeys::created_at))
            .into_boxed();
        if let Some(of) = of {
            query = query.filter(appkeys::project_id.eq(of.0));
        }
        let rows: Vec<(String, String, i64)> = query.load(self.db)?;
        let summary = |(appkey, name, created): (String, String, i64)| {
            let appkey = known(Appkey::parse(&appkey), "appkey")?;
            Ok(AppkeySummary { appkey, project_name: Name::from_stored(name), created: Timestamp::from_micros(created) })
        };
        rows.into_iter().map(summary).collect()
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
        self.insert_governance(ProjectId(id), created)?;
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

    /// Holds a project's row until the commit; answers when it was last changed.
    pub fn hold_project(&mut self, project: ProjectId) -> Result<Timestamp, StoreError> {
        let held = diesel::update(projects::table.find(project.0)).set(projects::name.eq(projects::name)).execute(self.db)?;
        changed_one(held, "project")?;
        Ok(Timestamp::from_micros(projects::table.find(project.0).select(projects::changed_at).first(self.db)?))
    }

    /// Renames a project; `Exists` if the name is taken.
    pub fn rename_project(&mut self, project: ProjectId, name: &Name, changed: &Stamp) -> Result<(), StoreError> {
        let rows = diesel::update(projects::table.find(project.0))
            .set((projects::name.eq(name.as_str()), projects::changed_by.eq(&changed.user), projects::changed_at.eq(changed.at.micros())))
            .execute(self.db)?;
        changed_one(rows, "project")
    }

    /// Sets whether v1.0 reads the inventory by appkey alone.
    pub fn set_appkey_reads(&mut self, project: ProjectId, allowed: bool, changed: &Stamp) -> Result<(), StoreError> {
        let rows = diesel::update(projects::table.find(project.0))
            .set((projects::appkey_reads.eq(allowed), projects::changed_by.eq(&changed.user), projects::changed_at.eq(changed.at.micros())))
            .execute(self.db)?;
        changed_one(rows, "project")
    }

    /// Deletes an appkey of a project; `Stale` of [`LAST_APPKEY`] if it is the only one.
    pub fn delete_appkey(&mut self, appkey: &Appkey, project: ProjectId, changed: &Stamp) -> Result<(), StoreError> {
        // Held until the commit: two nodes that delete the last two can't each take the other's for one that is left.
        let held = diesel::update(projects::table.find(project.0))
            .set((projects::changed_by.eq(&changed.user), projects::changed_at.eq(changed.at.micros())))
            .execute(self.db)?;
        changed_one(held, "project")?;
        let of_project = appkeys::table.find(appkey.as_str()).filter(appkeys::project_id.eq(project.0));
        changed_one(diesel::delete(of_project).execute(self.db)?, "appkey")?;
        let left: i64 = appkeys::table.filter(appkeys::project_id.eq(project.0)).count().get_result(self.db)?;
        if left == 0 { Err(StoreError::Stale { what: LAST_APPKEY }) } else { Ok(()) }
    }
}
