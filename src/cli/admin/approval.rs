//! `skm admin approval`

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{Admin, Command, Commands, Show, reach};
use crate::cli::audit::time;
use crate::cli::exit::Failure;
use crate::domain::account;
use crate::service::{Operator, RoleHolder};

/// `skm admin approval`
#[derive(Debug, clap::Subcommand)]
pub(super) enum Arguments {
    /// Show whether changes of a project need approval, and who could ask and approve
    Status(Named),
    /// From now on each change of a project needs somebody else's approval
    Enable(Named),
    /// EMERGENCY: turn approval off without anybody's approval. Audit log, log and metrics tell of it
    Disable {
        #[command(flatten)]
        named: Named,
        /// Why nobody can approve it
        #[arg(long)]
        reason: String,
    },
}

/// A project.
#[derive(Debug, clap::Args)]
pub(super) struct Named {
    /// The project's name
    #[arg(long)]
    project: String,
}

pub(super) fn run(named: Option<&Path>, show: Show, arguments: Arguments) -> Result<(), Failure> {
    reach::with(named, |reach| match arguments {
        Arguments::Status(Named { project }) => {
            let status = reach.ask(ApprovalStatus { project })?;
            show.answer(&status, &status.lines())
        }
        Arguments::Enable(Named { project }) => {
            let done = format!("each change of {project} needs approval from now on");
            let more = reach.ask(EnableApproval { project })?;
            show.done(&more.map_or(done.clone(), |more| format!("{done}; {more}")))
        }
        Arguments::Disable { named: Named { project }, reason } => {
            let done = format!("EMERGENCY: changes of {project} need no approval from now on");
            reach.ask(DisableApproval { project, reason })?;
            show.done(&done)
        }
    })
}

pub(super) fn add(commands: Commands) -> Commands {
    commands.with::<ApprovalStatus>().with::<EnableApproval>().with::<DisableApproval>()
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ApprovalStatus {
    project: String,
}

/// How approval stands.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    project: String,
    approval: bool,
    expiry_days: u32,
    workable: bool,
    /// Those that are enabled.
    approvers: Vec<String>,
    askers: Vec<String>,
    /// Those that would approve or ask, but are disabled.
    disabled: Vec<String>,
    /// Of those that approve.
    passwords: Vec<KnownPassword>,
    access_keys: Vec<ApprovingKey>,
    changed_by: String,
    changed_at: String,
    emergency: Option<Emergency>,
}

/// An access key that approves in its account's name.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ApprovingKey {
    access_key_id: String,
    login: String,
    /// None: an operator.
    made_by: Option<String>,
}

impl From<account::ApprovingKey> for ApprovingKey {
    fn from(found: account::ApprovingKey) -> Self {
        Self { access_key_id: found.id.to_string(), login: found.login, made_by: found.maker }
    }
}

fn names(found: &[RoleHolder], enabled: bool) -> Vec<String> {
    found.iter().filter(|found| found.enabled == enabled).map(|found| found.login.clone()).collect()
}

/// Whose password somebody has set alone.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct KnownPassword {
    login: String,
    set_by: String,
}

/// That approval was turned off alone, which nobody has acknowledged.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Emergency {
    disabled_by: String,
    disabled_at: String,
    reason: String,
}

impl Status {
    fn lines(&self) -> Vec<String> {
        let names = |names: &[String]| if names.is_empty() { "nobody".to_owned() } else { names.join(", ") };
        let mut lines = vec![
            format!("approval   {}, since {} by {}", if self.approval { "on" } else { "off" }, self.changed_at, self.changed_by),
            format!("requests   wait {} days", self.expiry_days),
            format!("approve    {}", names(&self.approvers)),
            format!("ask        {}", names(&self.askers)),
        ];
        if !self.disabled.is_empty() {
            lines.push(format!("disabled   {}", self.disabled.join(", ")));
        }
        for KnownPassword { login, set_by } in &self.passwords {
            lines.push(format!("password   of {login} was last set by {set_by} alone"));
        }
        for ApprovingKey { access_key_id, login, made_by } in &self.access_keys {
            lines.push(format!("key        {access_key_id} approves for {login}, made by {}", made_by.as_deref().unwrap_or("an operator")));
        }
        if !self.workable {
            lines.push("nobody could change anything: somebody must approve, and somebody else ask".to_owned());
        }
        if let Some(Emergency { disabled_by, disabled_at, reason }) = &self.emergency {
            lines.push(format!("EMERGENCY: approval was turned off alone at {disabled_at} by {disabled_by}: {reason}"));
        }
        lines
    }
}

impl Command for ApprovalStatus {
    const PATH: &'static str = "/approval/status";
    type Answer = Status;

    async fn run(self, admin: Admin, operator: Operator) -> Result<Status, Failure> {
        let found = admin.service.approval_status(operator, &self.project).await?;
        let governance = found.state.governance;
        let mut disabled = [names(&found.approvers, false), names(&found.askers, false)].concat();
        disabled.sort_unstable();
        disabled.dedup();
        Ok(Status {
            project: found.project.to_string(),
            approval: governance.approval,
            expiry_days: governance.expiry.days(),
            workable: found.state.workable,
            approvers: names(&found.approvers, true),
            askers: names(&found.askers, true),
            disabled,
            passwords: found
                .approvers
                .iter()
                .filter_map(|found| Some(KnownPassword { login: found.login.clone(), set_by: found.password_set_by.clone()? }))
                .collect(),
            access_keys: found.approving_keys.into_iter().map(ApprovingKey::from).collect(),
            changed_by: governance.changed.user,
            changed_at: time(governance.changed.at.micros()),
            emergency: governance.emergency.map(|found| Emergency {
                disabled_by: found.disabled.user,
                disabled_at: time(found.disabled.at.micros()),
                reason: found.reason,
            }),
        })
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct EnableApproval {
    project: String,
}

impl Command for EnableApproval {
    const PATH: &'static str = "/approval/enable";
    type Answer = Option<String>;

    async fn run(self, admin: Admin, operator: Operator) -> Result<Option<String>, Failure> {
        Ok(admin.service.enable_approval(operator, &self.project).await?)
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct DisableApproval {
    project: String,
    reason: String,
}

impl Command for DisableApproval {
    const PATH: &'static str = "/approval/disable";
    type Answer = ();

    async fn run(self, admin: Admin, operator: Operator) -> Result<(), Failure> {
        Ok(admin.service.disable_approval(operator, &self.project, &self.reason).await?)
    }
}
