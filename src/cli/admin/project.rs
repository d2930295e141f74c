//! `skm admin project`

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::list::{Page, Row, fetch, print, yes_or_no};
use super::{Admin, Command, Commands, Show, reach};
use crate::cli::audit::time;
use crate::cli::exit::Failure;
use crate::domain::ids::ProjectId;
use crate::service::Operator;

/// `skm admin project`
#[derive(Debug, clap::Subcommand)]
pub(super) enum Arguments {
    /// Make a project, with an appkey
    Create {
        /// Its name
        name: String,
    },
    /// List projects
    List,
    /// Give a project another name
    Rename {
        /// Its name now
        project: String,
        /// Its name from now on
        name: String,
    },
    /// Change a project's settings
    Set {
        /// Its name
        project: String,
        /// Whether v1.0 reads the inventory by appkey alone
        #[arg(long, value_enum, value_name = "on|off")]
        appkey_reads: Switch,
    },
}

/// On or off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Switch {
    On,
    Off,
}

pub(super) fn run(named: Option<&Path>, show: Show, arguments: Arguments) -> Result<(), Failure> {
    reach::with(named, |reach| match arguments {
        Arguments::Create { name } => {
            let made = reach.ask(CreateProject { name })?;
            show.answer(&made, &[format!("project  {}", made.name), format!("appkey   {}", made.appkey)])
        }
        Arguments::List => print(show, &fetch(reach, |last: Option<&ProjectRow>| ListProjects { after: last.map(|row| row.id) })?),
        Arguments::Rename { project, name } => {
            let done = format!("renamed project {project} to {name}");
            reach.ask(RenameProject { project, name })?;
            show.done(&done)
        }
        Arguments::Set { project, appkey_reads } => {
            let appkey_reads = appkey_reads == Switch::On;
            let done = format!("project {project}: v1.0 {} the inventory by appkey alone", if appkey_reads { "reads" } else { "does not read" });
            reach.ask(SetProject { project, appkey_reads })?;
            show.done(&done)
        }
    })
}

pub(super) fn add(commands: Commands) -> Commands {
    commands.with::<CreateProject>().with::<ListProjects>().with::<RenameProject>().with::<SetProject>()
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CreateProject {
    name: String,
}

/// A project with its first appkey.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct NewProject {
    id: i64,
    name: String,
    appkey: String,
}

impl Command for CreateProject {
    const PATH: &'static str = "/project/create";
    type Answer = NewProject;

    async fn run(self, admin: Admin, operator: Operator) -> Result<NewProject, Failure> {
        let made = admin.service.create_project(operator, &self.name).await?;
        Ok(NewProject { id: made.project.0, name: made.project_name.to_string(), appkey: made.appkey.as_str().to_owned() })
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ListProjects {
    after: Option<i64>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ProjectRow {
    id: i64,
    name: String,
    appkeys: i64,
    appkey_reads: bool,
    created_at: String,
}

impl Row for ProjectRow {
    const HEADINGS: &'static [&'static str] = &["ID", "PROJECT", "APPKEYS", "APPKEY READS", "CREATED"];

    fn cells(&self) -> Vec<String> {
        vec![self.id.to_string(), self.name.clone(), self.appkeys.to_string(), yes_or_no(self.appkey_reads), self.created_at.clone()]
    }
}

impl Command for ListProjects {
    const PATH: &'static str = "/project/list";
    type Answer = Page<ProjectRow>;

    async fn run(self, admin: Admin, operator: Operator) -> Result<Page<ProjectRow>, Failure> {
        let found = admin.service.list_projects(operator, self.after.map(ProjectId)).await?;
        Ok(Page::of(found, |found| ProjectRow {
            id: found.project.id.0,
            name: found.project.name.to_string(),
            appkeys: found.appkeys,
            appkey_reads: found.project.appkey_reads,
            created_at: time(found.created.micros()),
        }))
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RenameProject {
    project: String,
    name: String,
}

impl Command for RenameProject {
    const PATH: &'static str = "/project/rename";
    type Answer = ();

    async fn run(self, admin: Admin, operator: Operator) -> Result<(), Failure> {
        Ok(admin.service.rename_project(operator, &self.project, &self.name).await?)
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SetProject {
    project: String,
    appkey_reads: bool,
}

impl Command for SetProject {
    const PATH: &'static str = "/project/set";
    type Answer = ();

    async fn run(self, admin: Admin, operator: Operator) -> Result<(), Failure> {
        Ok(admin.service.set_appkey_reads(operator, &self.project, self.appkey_reads).await?)
    }
}
