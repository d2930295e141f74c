//! What the operator with the machine in hand does: projects, accounts, roles, access keys. Audited with the uid.

use argon2::Argon2;
use argon2::password_hash::PasswordHasher as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::rand::{SecureRandom as _, SystemRandom};

use super::Service;
use super::refusal::Refusal;
use super::tokens::random_secret;
use crate::domain::account::{AccessKeyId, Role, SecretHash, TokenLife};
use crate::domain::appkey::Appkey;
use crate::domain::audit::{Actor, AuditEvent, Operation, Uses};
use crate::domain::ids::ProjectId;
use crate::domain::key::Stamp;
use crate::domain::result_code::ResultCode;
use crate::domain::secret::SecretText;
use crate::domain::text::{Invalid, Name};
use crate::store::{Change, Unique};

/// How the audit log calls a backup that came to nothing.
const BACKUP_FAILED: &str = "failed";
/// Characters of an appkey and of a User Access Key ID.
const RANDOM_NAME_CHARS: usize = 20;
/// The least characters of a password (NIST SP 800-63B, 5.1.1.2 asks for 8; administrators get more).
const PASSWORD_MIN_CHARS: usize = 12;
/// The most bytes of a password.
pub(super) const PASSWORD_MAX_BYTES: usize = 256;
/// The most characters of a login name.
const LOGIN_MAX_CHARS: usize = 64;

/// A person with the machine in hand.
#[derive(Debug, Clone, Copy)]
pub struct Operator {
    /// The uid of the process that asks.
    pub uid: u32,
}

/// An access key with its secret, which is shown once.
#[derive(Debug, Clone)]
pub struct NewAccessKey {
    /// The User Access Key ID.
    pub id: AccessKeyId,
    /// The Secret Access Key.
    pub secret: SecretText,
}

/// 20 random letters and digits.
fn random_name() -> Result<String, Refusal> {
    let mut name = String::new();
    while name.len() < RANDOM_NAME_CHARS {
        let mut bytes = [0_u8; 48];
        SystemRandom::new().fill(&mut bytes).map_err(|_| Refusal::unavailable("the operating system gives no random numbers"))?;
        name.extend(STANDARD.encode(bytes).chars().filter(char::is_ascii_alphanumeric));
    }
    name.truncate(RANDOM_NAME_CHARS);
    Ok(name)
}

/// A login name: 1 to 64 of letters, digits, `.`, `-`, `_` and `@`.
pub(super) fn parse_login(login: &str) -> Result<String, Invalid> {
    let fits = (1..=LOGIN_MAX_CHARS).contains(&login.len()) && login.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_@".contains(&byte));
    if fits { Ok(login.to_owned()) } else { Err(Invalid::new("login", "must have 1 to 64 letters, digits, '.', '-', '_' or '@'")) }
}

/// Whether an account's password can be taken: long enough, and not so long that hashing it is an attack.
pub fn check_password(password: &SecretText) -> Result<(), Invalid> {
    let length = password.expose().chars().count();
    if length < PASSWORD_MIN_CHARS || password.expose().len() > PASSWORD_MAX_BYTES {
        return Err(Invalid::new("password", format!("must have {PASSWORD_MIN_CHARS} characters or more and at most {PASSWORD_MAX_BYTES} bytes")));
    }
    Ok(())
}

/// Argon2id with the crate's parameters (OWASP's: 19 MiB, 2 passes).
fn hash_password(password: &SecretText) -> Result<String, Refusal> {
    check_password(password)?;
    let hash = Argon2::default().hash_password(password.expose().as_bytes());
    hash.map(|hash| hash.to_string()).map_err(|_| Refusal::unavailable("the password could not be hashed"))
}

impl Service {
    fn operator_event(&self, operator: Operator, operation: Operation, detail: String) -> Result<AuditEvent, Refusal> {
        Ok(AuditEvent { actor: Actor::Operator(operator.uid), detail: Some(detail), ..self.own_event(operation)? })
    }

    fn operator_stamp(&self, operator: Operator) -> Stamp {
        Stamp { user: Actor::Operator(operator.uid).user(), at: self.now() }
    }

    /// Records how far an operator's copy of database and token is: `began`, then `done` or `failed`.
    pub async fn record_backup(&self, operator: Operator, stage: &'static str) -> Result<(), Refusal> {
        let mut event = self.operator_event(operator, Operation::Backup, stage.to_owned())?;
        if stage == BACKUP_FAILED {
            event.result_code = ResultCode::ServiceUnavailable.number();
        }
        Ok(self.store().audit(event, Uses::default()).await?)
    }

    /// Makes a project with an appkey.
    pub async fn create_project(&self, operator: Operator, name: &str) -> Result<(ProjectId, Appkey), Refusal> {
        let name = Name::parse("name", name)?;
        let appkey = Appkey::parse(&random_name()?).ok_or_else(|| Refusal::unavailable("an appkey could not be made"))?;
        let stamp = self.operator_stamp(operator);
        let mut event = self.operator_event(operator, Operation::CreateProject, name.to_string())?;
        let row = appkey.clone();
        let id = self
            .store()
            .change::<_, Refusal, _>(move |tx| {
                let id = tx.insert_project(&name, &stamp)?;
                tx.insert_appkey(&row, id, &stamp)?;
                event.project = Some(id);
                tx.changed(Change::Project(id))?;
                tx.audit(event, Uses::default())?;
                Ok(id)
            })
            .await?;
        self.apply(&[Change::Project(id)]);
        Ok((id, appkey))
    }

    /// The project of that name, with a new appkey; made where it is missing, as an interrupted run of `skm init` may have.
    pub async fn create_project_if_missing(&self, operator: Operator, name: &str) -> Result<(ProjectId, Appkey), Refusal> {
        match self.create_project(operator, name).await {
            Err(Refusal::Exists { what: Unique::ProjectName, .. }) => {}
            outcome => return outcome,
        }
        let name = Name::parse("name", name)?;
        let appkey = Appkey::parse(&random_name()?).ok_or_else(|| Refusal::unavailable("an appkey could not be made"))?;
        let stamp = self.operator_stamp(operator);
        let mut event = self.operator_event(operator, Operation::CreateProject, format!("another appkey of {name}"))?;
        let row = appkey.clone();
        let id = self
            .store()
            .change::<_, Refusal, _>(move |tx| {
                let project = tx.project_by_name(&name)?.ok_or_else(|| Invalid::new("name", "names no project"))?;
                tx.insert_appkey(&row, project.id, &stamp)?;
                event.project = Some(project.id);
                tx.changed(Change::Project(project.id))?;
                tx.audit(event, Uses::default())?;
                Ok(project.id)
            })
            .await?;
        self.apply(&[Change::Project(id)]);
        Ok((id, appkey))
    }

    /// Makes an account for people, with a first password.
    pub async fn create_account(&self, operator: Operator, login: &str, password: SecretText, must_change: bool) -> Result<(), Refusal> {
        let login = parse_login(login)?;
        let hash = tokio::task::spawn_blocking(move || hash_password(&password)).await;
        let hash = hash.map_err(|_| Refusal::unavailable("hashing a password panicked"))??;
        let stamp = self.operator_stamp(operator);
        let event = self.operator_event(operator, Operation::CreateAccount, login.clone())?;
        self.store()
            .change::<_, Refusal, _>(move |tx| {
                tx.insert_account(&login, &hash, must_change, &stamp)?;
                Ok(tx.audit(event, Uses::default())?)
            })
            .await
    }

    /// Gives an account a role in a project.
    pub async fn grant_role(&self, operator: Operator, login: &str, project: ProjectId, role: Role) -> Result<(), Refusal> {
        let login = parse_login(login)?;
        let stamp = self.operator_stamp(operator);
        let mut event = self.operator_event(operator, Operation::GrantRole, format!("{} to {login}", role.as_str()))?;
        event.project = Some(project);
        self.store()
            .change::<_, Refusal, _>(move |tx| {
                let account = tx.account_by_login(&login)?.ok_or_else(|| Invalid::new("login", "names no account"))?;
                tx.grant_role(account, project, role, &stamp)?;
                tx.changed(Change::Identity)?;
                Ok(tx.audit(event, Uses::default())?)
            })
            .await?;
        self.apply(&[Change::Identity]);
        Ok(())
    }

    /// Makes an access key for an account; the secret is kept as a hash only.
    pub async fn create_access_key(&self, operator: Operator, login: &str, life: TokenLife) -> Result<NewAccessKey, Refusal> {
        let login = parse_login(login)?;
        let id = AccessKeyId::parse(&random_name()?).ok_or_else(|| Refusal::unavailable("an access key could not be made"))?;
        let secret = random_secret()?;
        let hash = SecretHash::of(secret.expose());
        let stamp = self.operator_stamp(operator);
        let event = self.operator_event(operator, Operation::CreateAccessKey, format!("{id} for {login}"))?;
        let row = id.clone();
        self.store()
            .change::<_, Refusal, _>(move |tx| {
                let account = tx.account_by_login(&login)?.ok_or_else(|| Invalid::new("login", "names no account"))?;
                tx.insert_access_key(&row, account, hash, life, &stamp)?;
                tx.changed(Change::AccessKey(row))?;
                Ok(tx.audit(event, Uses::default())?)
            })
            .await?;
        self.apply(&[Change::AccessKey(id.clone())]);
        Ok(NewAccessKey { id, secret })
    }
}
