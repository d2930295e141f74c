//! `skm admin account`

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::list::{Page, Row, fetch, print, yes_or_no};
use super::{Admin, Command, Commands, Show, exposed, reach};
use crate::cli::audit::time;
use crate::cli::exit::{Exit, Failure};
use crate::cli::init;
use crate::domain::ids::AccountId;
use crate::domain::secret::{SecretBytes, SecretText};
use crate::service::{Operator, Refusal, check_password};

/// `skm admin account`
#[derive(Debug, clap::Subcommand)]
pub(super) enum Arguments {
    /// Make an account
    Create {
        /// Its login name
        login: String,
        #[command(flatten)]
        password: NewPassword,
    },
    /// List accounts
    List,
    /// Let an account do again what its roles allow
    Enable {
        /// Its login name
        login: String,
    },
    /// Stop an account: it and its access keys may do nothing any more, and their tokens end for good
    Disable {
        /// Its login name
        login: String,
    },
    /// Have an account administer the installation at the console: projects, accounts, access keys
    MakeAdministrator {
        /// Its login name
        login: String,
    },
    /// Have an account administer the installation no more. The last one who is enabled stays
    UnmakeAdministrator {
        /// Its login name
        login: String,
    },
    /// Give an account another password
    Password {
        /// Its login name
        login: String,
        #[command(flatten)]
        password: NewPassword,
    },
}

/// A password. Never an argument: arguments are seen by everybody on the machine.
#[derive(Debug, clap::Args)]
pub(super) struct NewPassword {
    /// A file (mode 0600) with the password, or - for standard input [default: asked for]
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// The password need not be changed at the next sign-in
    #[arg(long)]
    keep_password: bool,
}

/// The most bytes of standard input that a password may take, its line break included.
const INPUT_MAX_BYTES: usize = 1_024;

impl NewPassword {
    fn read(&self, login: &str) -> Result<SecretText, Failure> {
        let password = match &self.password_file {
            Some(path) if path.as_os_str() == "-" => text(from_standard_input()?, "standard input")?,
            Some(path) => text(init::from_file(path)?, &path.display().to_string())?,
            None => init::new_password(&format!("Password of {login}: "))?,
        };
        check_password(&password).map_err(Refusal::from)?;
        Ok(password)
    }
}

fn text(bytes: SecretBytes, from: &str) -> Result<SecretText, Failure> {
    bytes.into_text().map_err(|_| Failure::new(Exit::Failed, format!("{from}: is not UTF-8")))
}

/// Everything from standard input but one line break at its end.
fn from_standard_input() -> Result<SecretBytes, Failure> {
    let mut buffer = Zeroizing::new(Vec::with_capacity(INPUT_MAX_BYTES + 1));
    io::stdin().lock().take(INPUT_MAX_BYTES as u64 + 1).read_to_end(&mut buffer)?;
    if buffer.len() > INPUT_MAX_BYTES {
        return Err(Failure::new(Exit::Failed, format!("standard input: is longer than {INPUT_MAX_BYTES} bytes")));
    }
    Ok(SecretBytes::new(buffer.strip_suffix(b"\n").unwrap_or(&buffer).to_vec()))
}

pub(super) fn run(named: Option<&Path>, show: Show, arguments: Arguments) -> Result<(), Failure> {
    // Asked for before anything is locked.
    let password = match &arguments {
        Arguments::Create { login, password } | Arguments::Password { login, password } => password.read(login)?,
        _ => SecretText::default(),
    };
    reach::with(named, |reach| match arguments {
        Arguments::Create { login, password: NewPassword { keep_password, .. } } => {
            let done = format!("made account {login}");
            reach.ask(CreateAccount { login, password, must_change_password: !keep_password })?;
            show.done(&done)
        }
        Arguments::List => print(show, &fetch(reach, |last: Option<&AccountRow>| ListAccounts { after: last.map(|row| row.id) })?),
        Arguments::Enable { login } => {
            let done = format!("enabled account {login}");
            reach.ask(EnableAccount { login, enabled: true })?;
            show.done(&done)
        }
        Arguments::Disable { login } => {
            let done = format!("disabled account {login}");
            reach.ask(EnableAccount { login, enabled: false })?;
            show.done(&done)
        }
        Arguments::MakeAdministrator { login } => {
            let done = format!("account {login} administers the installation");
            reach.ask(SetAdministrator { login, administrator: true })?;
            show.done(&done)
        }
        Arguments::UnmakeAdministrator { login } => {
            let done = format!("account {login} administers the installation no more");
            reach.ask(SetAdministrator { login, administrator: false })?;
            show.done(&done)
        }
        Arguments::Password { login, password: NewPassword { keep_password, .. } } => {
            let done = format!("changed the password of account {login}");
            reach.ask(SetPassword { login, password, must_change_password: !keep_password })?;
            show.done(&done)
        }
    })
}

pub(super) fn add(commands: Commands) -> Commands {
    commands.with::<CreateAccount>().with::<ListAccounts>().with::<EnableAccount>().with::<SetAdministrator>().with::<SetPassword>()
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CreateAccount {
    login: String,
    #[serde(serialize_with = "exposed")]
    password: SecretText,
    must_change_password: bool,
}

impl Command for CreateAccount {
    const PATH: &'static str = "/account/create";
    type Answer = ();

    async fn run(self, admin: Admin, operator: Operator) -> Result<(), Failure> {
        Ok(admin.service.create_account(operator, &self.login, self.password, self.must_change_password).await?)
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ListAccounts {
    after: Option<i64>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct AccountRow {
    id: i64,
    login: String,
    enabled: bool,
    administrator: bool,
    must_change_password: bool,
    access_keys: i64,
    created_at: String,
}

impl Row for AccountRow {
    const HEADINGS: &'static [&'static str] = &["LOGIN", "ENABLED", "ADMINISTRATOR", "MUST CHANGE PASSWORD", "ACCESS KEYS", "CREATED"];

    fn cells(&self) -> Vec<String> {
        let access_keys = self.access_keys.to_string();
        vec![
            self.login.clone(),
            yes_or_no(self.enabled),
            yes_or_no(self.administrator),
            yes_or_no(self.must_change_password),
            access_keys,
            self.created_at.clone(),
        ]
    }
}

impl Command for ListAccounts {
    const PATH: &'static str = "/account/list";
    type Answer = Page<AccountRow>;

    async fn run(self, admin: Admin, operator: Operator) -> Result<Page<AccountRow>, Failure> {
        let found = admin.service.list_accounts(operator, self.after.map(AccountId)).await?;
        Ok(Page::of(found, |found| AccountRow {
            id: found.id.0,
            login: found.login,
            enabled: found.enabled,
            administrator: found.administrator,
            must_change_password: found.must_change_password,
            access_keys: found.access_keys,
            created_at: time(found.created.micros()),
        }))
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct EnableAccount {
    login: String,
    enabled: bool,
}

impl Command for EnableAccount {
    const PATH: &'static str = "/account/enable";
    type Answer = ();

    async fn run(self, admin: Admin, operator: Operator) -> Result<(), Failure> {
        Ok(admin.service.set_account_enabled(operator, &self.login, self.enabled).await?)
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SetAdministrator {
    login: String,
    administrator: bool,
}

impl Command for SetAdministrator {
    const PATH: &'static str = "/account/administrator";
    type Answer = ();

    async fn run(self, admin: Admin, operator: Operator) -> Result<(), Failure> {
        Ok(admin.service.set_administrator(operator, &self.login, self.administrator).await?)
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SetPassword {
    login: String,
    #[serde(serialize_with = "exposed")]
    password: SecretText,
    must_change_password: bool,
}

impl Command for SetPassword {
    const PATH: &'static str = "/account/password";
    type Answer = ();

    async fn run(self, admin: Admin, operator: Operator) -> Result<(), Failure> {
        Ok(admin.service.set_password(operator, &self.login, self.password, self.must_change_password).await?)
    }
}
