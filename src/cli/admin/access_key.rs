//! `skm admin access-key`

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::confirm::Confirmation;
use super::list::{Page, Row, fetch, print, yes_or_no};
use super::project::Switch;
use super::{Admin, Command, Commands, Show, exposed, reach};
use crate::cli::audit::time;
use crate::cli::exit::Failure;
use crate::domain::account::{AccessKeyId, AccessKeySummary, TokenLife};
use crate::domain::secret::SecretText;
use crate::domain::text::Invalid;
use crate::service::{Operator, Refusal};

/// `skm admin access-key`
#[derive(Debug, clap::Subcommand)]
pub(super) enum Arguments {
    /// Make an access key for an account, at most 5 each; its secret is shown once
    Create {
        /// The account's login name
        login: String,
        /// How long its tokens live, 60 to 86400 seconds
        #[arg(long, value_name = "SECONDS", default_value_t = i64::from(TokenLife::MAX.seconds()))]
        token_life: i64,
    },
    /// List access keys
    List {
        /// Of this account only
        #[arg(long, value_name = "LOGIN")]
        account: Option<String>,
    },
    /// Let an access key be used again
    Enable {
        /// The User Access Key ID
        id: String,
    },
    /// Stop an access key; its tokens end for good
    Disable {
        /// The User Access Key ID
        id: String,
    },
    /// Take an access key away for good, with its tokens
    Delete {
        /// The User Access Key ID
        id: String,
        #[command(flatten)]
        confirmation: Confirmation,
    },
    /// Change an access key's settings
    Set {
        /// The User Access Key ID
        id: String,
        /// How long tokens that it gets from now on live, 60 to 86400 seconds
        #[arg(long, value_name = "SECONDS", required_unless_present = "may_approve")]
        token_life: Option<i64>,
        /// Whether it approves in its account's name, if that has the role APPROVAL ADMIN
        #[arg(long, value_enum, value_name = "on|off")]
        may_approve: Option<Switch>,
    },
}

pub(super) fn run(named: Option<&Path>, show: Show, arguments: Arguments) -> Result<(), Failure> {
    if let Arguments::Delete { id, confirmation } = &arguments {
        confirmation.ask(&format!("Clients that use the access key {id} will stop working. Delete it?"))?;
    }
    reach::with(named, |reach| match arguments {
        Arguments::Create { login, token_life } => {
            let made = reach.ask(CreateAccessKey { login, token_life_seconds: token_life })?;
            let lines = [format!("access key ID      {}", made.access_key_id), format!("secret access key  {}", made.secret_access_key.expose())];
            show.answer(&made, &lines)
        }
        Arguments::List { account } => {
            let page = |last: Option<&AccessKeyRow>| ListAccessKeys { account: account.clone(), after: last.map(|row| row.access_key_id.clone()) };
            let mut rows = fetch(reach, page)?;
            rows.sort_by(|one, other| (&one.login, &one.created_at).cmp(&(&other.login, &other.created_at)));
            print(show, &rows)
        }
        Arguments::Enable { id } => enable(reach, show, id, true),
        Arguments::Disable { id } => enable(reach, show, id, false),
        Arguments::Delete { id, .. } => {
            let done = format!("deleted access key {id}");
            reach.ask(DeleteAccessKey { id })?;
            show.done(&done)
        }
        Arguments::Set { id, token_life, may_approve } => {
            if let Some(token_life) = token_life {
                let done = format!("tokens of access key {id} live {token_life} seconds from now on");
                reach.ask(SetAccessKey { id: id.clone(), token_life_seconds: token_life })?;
                show.done(&done)?;
            }
            let Some(may_approve) = may_approve.map(|switch| switch == Switch::On) else { return Ok(()) };
            let done = format!("access key {id} {} from now on", if may_approve { "may approve" } else { "may not approve" });
            reach.ask(SetMayApprove { id, may_approve })?;
            show.done(&done)
        }
    })
}

fn enable(reach: &reach::Reach, show: Show, id: String, enabled: bool) -> Result<(), Failure> {
    let done = format!("{} access key {id}", if enabled { "enabled" } else { "disabled" });
    reach.ask(EnableAccessKey { id, enabled })?;
    show.done(&done)
}

pub(super) fn add(commands: Commands) -> Commands {
    commands
        .with::<CreateAccessKey>()
        .with::<ListAccessKeys>()
        .with::<EnableAccessKey>()
        .with::<DeleteAccessKey>()
        .with::<SetAccessKey>()
        .with::<SetMayApprove>()
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CreateAccessKey {
    login: String,
    token_life_seconds: i64,
}

/// An access key with its secret.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct MadeAccessKey {
    login: String,
    access_key_id: String,
    #[serde(serialize_with = "exposed")]
    secret_access_key: SecretText,
    token_life_seconds: i64,
}

impl Command for CreateAccessKey {
    const PATH: &'static str = "/access-key/create";
    type Answer = MadeAccessKey;

    async fn run(self, admin: Admin, operator: Operator) -> Result<MadeAccessKey, Failure> {
        let life = TokenLife::from_seconds(self.token_life_seconds);
        let made = admin.service.create_access_key(operator, &self.login, life).await?;
        let access_key_id = made.id.to_string();
        Ok(MadeAccessKey { login: self.login, access_key_id, secret_access_key: made.secret, token_life_seconds: self.token_life_seconds })
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ListAccessKeys {
    account: Option<String>,
    after: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct AccessKeyRow {
    access_key_id: String,
    login: String,
    enabled: bool,
    account_enabled: bool,
    token_life_seconds: u32,
    may_approve: bool,
    created_at: String,
    last_used_at: Option<String>,
}

impl AccessKeyRow {
    fn of(found: AccessKeySummary) -> Self {
        Self {
            access_key_id: found.id.to_string(),
            login: found.login,
            enabled: found.enabled,
            account_enabled: found.account_enabled,
            token_life_seconds: found.token_life.seconds(),
            may_approve: found.may_approve,
            created_at: time(found.created.micros()),
            last_used_at: found.last_access.map(|at| time(at.micros())),
        }
    }
}

impl Row for AccessKeyRow {
    const HEADINGS: &'static [&'static str] = &["ACCESS KEY ID", "LOGIN", "ENABLED", "TOKEN LIFE", "MAY APPROVE", "CREATED", "LAST USED"];

    fn cells(&self) -> Vec<String> {
        let enabled = if self.enabled && !self.account_enabled { "no, its account".to_owned() } else { yes_or_no(self.enabled) };
        let last_used = self.last_used_at.clone().unwrap_or_else(|| "never".to_owned());
        let token_life = format!("{} s", self.token_life_seconds);
        vec![self.access_key_id.clone(), self.login.clone(), enabled, token_life, yes_or_no(self.may_approve), self.created_at.clone(), last_used]
    }
}

impl Command for ListAccessKeys {
    const PATH: &'static str = "/access-key/list";
    type Answer = Page<AccessKeyRow>;

    async fn run(self, admin: Admin, operator: Operator) -> Result<Page<AccessKeyRow>, Failure> {
        let unknown = || Refusal::from(Invalid::new("after", "is no access key ID"));
        let after = self.after.map(|after| AccessKeyId::parse(&after).ok_or_else(unknown)).transpose()?;
        let found = admin.service.list_access_keys(operator, self.account.as_deref(), after).await?;
        Ok(Page::of(found, AccessKeyRow::of))
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct EnableAccessKey {
    id: String,
    enabled: bool,
}

impl Command for EnableAccessKey {
    const PATH: &'static str = "/access-key/enable";
    type Answer = ();

    async fn run(self, admin: Admin, operator: Operator) -> Result<(), Failure> {
        Ok(admin.service.set_access_key_enabled(operator, &self.id, self.enabled).await?)
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct DeleteAccessKey {
    id: String,
}

impl Command for DeleteAccessKey {
    const PATH: &'static str = "/access-key/delete";
    type Answer = ();

    async fn run(self, admin: Admin, operator: Operator) -> Result<(), Failure> {
        Ok(admin.service.delete_access_key(operator, &self.id).await?)
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SetAccessKey {
    id: String,
    token_life_seconds: i64,
}

impl Command for SetAccessKey {
    const PATH: &'static str = "/access-key/set";
    type Answer = ();

    async fn run(self, admin: Admin, operator: Operator) -> Result<(), Failure> {
        let life = TokenLife::from_seconds(self.token_life_seconds);
        Ok(admin.service.set_token_life(operator, &self.id, life).await?)
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SetMayApprove {
    id: String,
    may_approve: bool,
}

impl Command for SetMayApprove {
    const PATH: &'static str = "/access-key/may-approve";
    type Answer = ();

    async fn run(self, admin: Admin, operator: Operator) -> Result<(), Failure> {
        Ok(admin.service.set_may_approve(operator, &self.id, self.may_approve).await?)
    }
}
