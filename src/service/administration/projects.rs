//! Projects.

use super::appkeys::{NewAppkey, fresh_appkey, insert_appkey};
use super::{Administrator, LIST_PAGE, Operator, ProjectRef};
use crate::domain::audit::Operation;
use crate::domain::ids::ProjectId;
use crate::domain::key_store::ProjectSummary;
use crate::domain::text::Name;
use crate::service::{Refusal, Service};
use crate::store::{Change, Unique};

impl Service {
    /// Makes a project with an appkey.
    pub async fn create_project(&self, by: impl Into<Administrator>, name: &str) -> Result<NewAppkey, Refusal> {
        let appkey = fresh_appkey()?;
        let prepared = Name::parse("name", name).map(|name| (name.to_string(), name)).map_err(Refusal::from);
        self.administer(by.into(), Operation::CreateProject, prepared, move |tx, name, act| {
            let id = tx.insert_project(&name, &act.stamp)?;
            insert_appkey(tx, act, id, &appkey)?;
            Ok(NewAppkey { project: id, project_name: name, appkey })
        })
        .await
    }

    /// The project of that name, with a new appkey; made where it is missing, as an interrupted run of `skm init` may have.
    pub async fn create_project_if_missing(&self, operator: Operator, name: &str) -> Result<NewAppkey, Refusal> {
        match self.create_project(operator, name).await {
            Err(Refusal::Exists { what: Unique::ProjectName, .. }) => self.create_appkey(operator, name, None).await,
            outcome => outcome,
        }
    }

    /// Gives a project another name.
    pub async fn rename_project(&self, by: impl Into<Administrator>, project: impl Into<ProjectRef>, new_name: &str) -> Result<(), Refusal> {
        let names = project.into().parsed().and_then(|old| Ok((old, Name::parse("name", new_name)?)));
        let prepared = names.map(|(old, new)| (format!("{old} to {new}"), (old, new))).map_err(Refusal::from);
        self.administer(by.into(), Operation::ChangeProject, prepared, |tx, (old, new), act| {
            let project = old.hold(tx)?;
            act.event.project = Some(project.id);
            act.event.detail = Some(format!("{} to {new}", project.name));
            tx.rename_project(project.id, &new, &act.stamp)?;
            act.changes.push(Change::Project(project.id));
            Ok(())
        })
        .await
    }

    /// Sets whether whoever knows an appkey of the project may read its inventory by v1.0.
    pub async fn set_appkey_reads(&self, by: impl Into<Administrator>, project: impl Into<ProjectRef>, allowed: bool) -> Result<(), Refusal> {
        let told = move |name: &dyn std::fmt::Display| format!("{name}: inventory by appkey alone {}", if allowed { "on" } else { "off" });
        let prepared = project.into().parsed().map(|named| (told(&named), named)).map_err(Refusal::from);
        self.administer(by.into(), Operation::ChangeProject, prepared, move |tx, named, act| {
            let project = named.hold(tx)?;
            act.event.project = Some(project.id);
            act.event.detail = Some(told(&project.name));
            tx.set_appkey_reads(project.id, allowed, &act.stamp)?;
            act.changes.push(Change::Project(project.id));
            Ok(())
        })
        .await
    }

    /// A page of projects, at most [`LIST_PAGE`], oldest first.
    pub async fn list_projects(&self, by: impl Into<Administrator>, after: Option<ProjectId>) -> Result<Vec<ProjectSummary>, Refusal> {
        let prepared = Ok(("projects".to_owned(), ()));
        self.look(by.into(), prepared, after.is_none(), move |reader, ()| Ok(reader.projects(after, LIST_PAGE)?)).await
    }
}
