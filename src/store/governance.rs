//! Whether changes of a project need approval.

use diesel::prelude::*;

use super::connection::Db;
use super::dialect;
use super::error::StoreError;
use super::rows::{changed_one, known, stamp};
use super::schema::{account_roles, accounts, governance, projects};
use super::unit::{Reader, Tx};
use crate::domain::account::Role;
use crate::domain::approval::{Emergency, ExpiryDays, Governance, Standing};
use crate::domain::clock::Timestamp;
use crate::domain::ids::{AccountId, ProjectId};
use crate::domain::key::Stamp;
use crate::domain::text::Name;

/// That approval was turned off alone: by whom, when, why.
type EmergencyRow = (Option<String>, Option<i64>, Option<String>);
const EMERGENCY: (governance::emergency_by, governance::emergency_at, governance::emergency_reason) =
    (governance::emergency_by, governance::emergency_at, governance::emergency_reason);

fn emergency(row: EmergencyRow) -> Option<Emergency> {
    match row {
        (Some(user), Some(at), Some(reason)) => Some(Emergency { disabled: stamp(user, at), reason }),
        _ => None,
    }
}

/// Whether approval is on in a project, held until the commit; a project without a row has never had it on.
pub(super) fn hold(db: &mut Db, project: ProjectId) -> Result<bool, StoreError> {
    dialect::share_governance(db, project.0)?;
    let approval: Option<bool> = governance::table.find(project.0).select(governance::approval).first(db).optional()?;
    Ok(approval == Some(true))
}

impl Reader<'_> {
    /// Whether changes of a project need approval, and how long requests wait.
    pub fn governance(&mut self, project: ProjectId) -> Result<Option<Governance>, StoreError> {
        let row: Option<(bool, i64, String, i64, EmergencyRow)> = governance::table
            .find(project.0)
            .select((governance::approval, governance::expiry_days, governance::changed_by, governance::changed_at, EMERGENCY))
            .first(self.db)
            .optional()?;
        let governance = |(approval, days, user, at, disabled): (bool, i64, String, i64, EmergencyRow)| {
            let expiry = known(ExpiryDays::from_days(days).ok(), "governance")?;
            Ok(Governance { approval, expiry, changed: stamp(user, at), emergency: emergency(disabled) })
        };
        row.map(governance).transpose()
    }

    /// The projects, at most `limit`, by name, in which approval was turned off alone, which nobody has acknowledged.
    pub fn emergencies(&mut self, limit: i64) -> Result<Vec<(ProjectId, Name, Emergency)>, StoreError> {
        let rows: Vec<(i64, String, EmergencyRow)> = governance::table
            .inner_join(projects::table.on(projects::id.eq(governance::project_id)))
            .filter(governance::emergency_at.is_not_null())
            .order(projects::name)
            .limit(limit)
            .select((projects::id, projects::name, EMERGENCY))
            .load(self.db)?;
        let told = |(id, name, row)| emergency(row).map(|emergency| (ProjectId(id), Name::from_stored(name), emergency));
        Ok(rows.into_iter().filter_map(told).collect())
    }

    /// In how many projects approval was turned off alone, which nobody has acknowledged.
    pub fn count_emergencies(&mut self) -> Result<i64, StoreError> {
        Ok(governance::table.filter(governance::emergency_at.is_not_null()).count().get_result(self.db)?)
    }

    /// How an account stands in a project.
    pub fn standing(&mut self, project: ProjectId, account: AccountId) -> Result<Option<Standing>, StoreError> {
        let row: Option<(String, bool)> = accounts::table.find(account.0).select((accounts::login, accounts::enabled)).first(self.db).optional()?;
        let Some((login, enabled)) = row else { return Ok(None) };
        let roles = self.roles(account)?.into_iter().filter(|(of, _)| *of == project).map(|(_, role)| role).collect();
        Ok(Some(Standing { account, login, enabled, roles }))
    }

    /// How all accounts with a role in a project stand there, `limit` roles at most.
    pub fn standings(&mut self, project: ProjectId, limit: i64) -> Result<Vec<Standing>, StoreError> {
        let rows: Vec<(i64, String, bool, String)> = account_roles::table
            .inner_join(accounts::table.on(accounts::id.eq(account_roles::account_id)))
            .filter(account_roles::project_id.eq(project.0))
            .order((account_roles::account_id, account_roles::role))
            .limit(limit)
            .select((account_roles::account_id, accounts::login, accounts::enabled, account_roles::role))
            .load(self.db)?;
        let mut standings: Vec<Standing> = Vec::new();
        for (account, login, enabled, role) in rows {
            let role = known(Role::parse(&role), "role")?;
            match standings.last_mut().filter(|last| last.account.0 == account) {
                Some(last) => last.roles.push(role),
                None => standings.push(Standing { account: AccountId(account), login, enabled, roles: vec![role] }),
            }
        }
        Ok(standings)
    }

    /// The projects with approval on in which an account has a role that asks or approves there.
    pub fn governed_projects_of(&mut self, account: AccountId) -> Result<Vec<ProjectId>, StoreError> {
        let mut governed = Vec::new();
        for (project, role) in self.roles(account)? {
            let counts = role.may_ask_by_api() || role.may_ask_at_console() || role.may_approve();
            if counts && !governed.contains(&project) && self.governance(project)?.is_some_and(|governance| governance.approval) {
                governed.push(project);
            }
        }
        Ok(governed)
    }
}

impl Tx<'_> {
    pub(super) fn insert_governance(&mut self, project: ProjectId, created: &Stamp) -> Result<(), StoreError> {
        diesel::insert_into(governance::table)
            .values((
                governance::project_id.eq(project.0),
                governance::approval.eq(false),
                governance::expiry_days.eq(i64::from(ExpiryDays::DEFAULT.days())),
                governance::changed_by.eq(&created.user),
                governance::changed_at.eq(created.at.micros()),
            ))
            .execute(self.db)?;
        Ok(())
    }

    /// Turns approval on or off, from one to the other; `Stale` if it was so already. Waits for changes under way, which keep what they saw.
    /// That it was turned off alone stays noted: whoever turns it on again may be whoever did that.
    pub fn turn_approval(&mut self, project: ProjectId, on: bool, changed: &Stamp) -> Result<(), StoreError> {
        let rows = diesel::update(governance::table.find(project.0).filter(governance::approval.eq(!on)))
            .set((governance::approval.eq(on), governance::changed_by.eq(&changed.user), governance::changed_at.eq(changed.at.micros())))
            .execute(self.db)?;
        changed_one(rows, "approval")
    }

    /// Keeps that approval, which is off, was turned off alone. Of one before that nobody has acknowledged, the audit log alone tells then.
    pub fn note_emergency(&mut self, project: ProjectId, emergency: &Emergency) -> Result<(), StoreError> {
        let rows = diesel::update(governance::table.find(project.0).filter(governance::approval.eq(false)))
            .set((
                governance::emergency_by.eq(Some(&emergency.disabled.user)),
                governance::emergency_at.eq(Some(emergency.disabled.at.micros())),
                governance::emergency_reason.eq(Some(&emergency.reason)),
            ))
            .execute(self.db)?;
        changed_one(rows, "approval")
    }

    /// Somebody has seen that approval was turned off alone at `disabled`; `Stale` if that is no longer there to be seen.
    pub fn acknowledge_emergency(&mut self, project: ProjectId, disabled: Timestamp) -> Result<(), StoreError> {
        let rows = diesel::update(governance::table.find(project.0).filter(governance::emergency_at.eq(disabled.micros())))
            .set((governance::emergency_by.eq(None::<&str>), governance::emergency_at.eq(None::<i64>), governance::emergency_reason.eq(None::<&str>)))
            .execute(self.db)?;
        changed_one(rows, "approval")
    }

    /// Sets how long drafts and requests wait.
    pub fn set_expiry(&mut self, project: ProjectId, expiry: ExpiryDays, changed: &Stamp) -> Result<(), StoreError> {
        let rows = diesel::update(governance::table.find(project.0))
            .set((
                governance::expiry_days.eq(i64::from(expiry.days())),
                governance::changed_by.eq(&changed.user),
                governance::changed_at.eq(changed.at.micros()),
            ))
            .execute(self.db)?;
        changed_one(rows, "approval")
    }
}
