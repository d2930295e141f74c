//! `skm admin appkey`

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::confirm::Confirmation;
use super::list::{Page, Row, fetch, print};
use super::{Admin, Command, Commands, Show, reach};
use crate::cli::audit::time;
use crate::cli::exit::Failure;
use crate::domain::appkey::Appkey;
use crate::domain::text::Invalid;
use crate::service::{Operator, Refusal};

/// `skm admin appkey`
#[derive(Debug, clap::Subcommand)]
pub(super) enum Arguments {
    /// Give a project one more appkey
    Create {
        /// The project's name
        project: String,
        /// An appkey that clients have already, 16 to 64 letters and digits [default: a random one]
        #[arg(long)]
        appkey: Option<String>,
    },
    /// List appkeys
    List {
        /// Of this project only
        #[arg(long)]
        project: Option<String>,
    },
    /// Take an appkey away: clients that use it stop working. A project's only one stays
    Delete {
        /// The appkey
        appkey: String,
        #[command(flatten)]
        confirmation: Confirmation,
    },
}

pub(super) fn run(named: Option<&Path>, show: Show, arguments: Arguments) -> Result<(), Failure> {
    if let Arguments::Delete { appkey, confirmation } = &arguments {
        confirmation.ask(&format!("Clients that use the appkey {appkey} will stop working. Delete it?"))?;
    }
    reach::with(named, |reach| match arguments {
        Arguments::Create { project, appkey } => {
            let made = reach.ask(CreateAppkey { project, appkey })?;
            show.answer(&made, &[format!("project  {}", made.project), format!("appkey   {}", made.appkey)])
        }
        Arguments::List { project } => {
            let page = |last: Option<&AppkeyRow>| ListAppkeys { project: project.clone(), after: last.map(|row| row.appkey.clone()) };
            print(show, &fetch(reach, page)?)
        }
        Arguments::Delete { appkey, .. } => {
            let done = format!("deleted appkey {appkey}");
            reach.ask(DeleteAppkey { appkey })?;
            show.done(&done)
        }
    })
}

pub(super) fn add(commands: Commands) -> Commands {
    commands.with::<CreateAppkey>().with::<ListAppkeys>().with::<DeleteAppkey>()
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CreateAppkey {
    project: String,
    appkey: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct MadeAppkey {
    project: String,
    appkey: String,
}

impl Command for CreateAppkey {
    const PATH: &'static str = "/appkey/create";
    type Answer = MadeAppkey;

    async fn run(self, admin: Admin, operator: Operator) -> Result<MadeAppkey, Failure> {
        let made = admin.service.create_appkey(operator, &self.project, self.appkey.as_deref()).await?;
        Ok(MadeAppkey { project: made.project_name.to_string(), appkey: made.appkey.as_str().to_owned() })
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ListAppkeys {
    project: Option<String>,
    after: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct AppkeyRow {
    appkey: String,
    project: String,
    created_at: String,
}

impl Row for AppkeyRow {
    const HEADINGS: &'static [&'static str] = &["APPKEY", "PROJECT", "CREATED"];

    fn cells(&self) -> Vec<String> {
        vec![self.appkey.clone(), self.project.clone(), self.created_at.clone()]
    }
}

impl Command for ListAppkeys {
    const PATH: &'static str = "/appkey/list";
    type Answer = Page<AppkeyRow>;

    async fn run(self, admin: Admin, operator: Operator) -> Result<Page<AppkeyRow>, Failure> {
        let unknown = || Refusal::from(Invalid::new("after", "is no appkey"));
        let after = self.after.map(|after| Appkey::parse(&after).ok_or_else(unknown)).transpose()?;
        let found = admin.service.list_appkeys(operator, self.project.as_deref(), after).await?;
        Ok(Page::of(found, |found| AppkeyRow {
            appkey: found.appkey.as_str().to_owned(),
            project: found.project_name.to_string(),
            created_at: time(found.created.micros()),
        }))
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct DeleteAppkey {
    appkey: String,
}

impl Command for DeleteAppkey {
    const PATH: &'static str = "/appkey/delete";
    type Answer = ();

    async fn run(self, admin: Admin, operator: Operator) -> Result<(), Failure> {
        Ok(admin.service.delete_appkey(operator, &self.appkey, None).await?)
    }
}
