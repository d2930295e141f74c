//! What a change builds on, as it is now.

use crate::domain::account::AccessKeyId;
use crate::domain::approval::{Base, Field, ProposedChange};
use crate::domain::client_checks::Method;
use crate::domain::ids::{AccountId, KeyId, KeyStoreId, KeyVersion, ProjectId};
use crate::domain::key::State;
use crate::domain::result_code::ResultCode;
use crate::domain::text::Invalid;
use crate::service::Refusal;
use crate::service::administration::parse_login;
use crate::store::{KeyRow, Reader, StoreError};

/// What `change` builds on now. A refusal: it is no longer there, or not for this project to change.
pub(super) fn look_at(reader: &mut Reader<'_>, project: ProjectId, key_store: Option<KeyStoreId>, change: &ProposedChange) -> Result<Base, Refusal> {
    let of_store = || key_store.ok_or(Refusal::Code(ResultCode::InvalidKeyStore));
    match change {
        // What isn't there yet: unique constraints decide.
        ProposedChange::CreateKeyStore { .. }
        | ProposedChange::CreateKey { .. }
        | ProposedChange::AddClients { .. }
        | ProposedChange::AddCertificate { .. }
        | ProposedChange::CreateAccount { .. } => Ok(Base::default()),
        ProposedChange::ReplaceKeyStore { .. } | ProposedChange::DeleteKeyStore => look_at_key_store(reader, of_store()?),
        ProposedChange::RequestClientDeletion { method, value }
        | ProposedChange::RestoreClient { method, value }
        | ProposedChange::DeleteClient { method, value } => look_at_rule(reader, of_store()?, *method, value),
        ProposedChange::GrantRole { login, .. } | ProposedChange::RevokeRole { login, .. } => {
            let account = account(reader, login)?;
            let standing = reader.standing(project, account)?.ok_or(StoreError::Stale { what: "account" })?;
            // Another password, or the end of its second factor, make it another one.
            let changed = reader.account_changed(account)?;
            let mut before: Vec<Field> = standing.roles.iter().map(|role| Field::new("role", role.as_str())).collect();
            if matches!(change, ProposedChange::GrantRole { .. }) {
                // Whoever made it, or has given it a password since, may know that: whoever approves should see who.
                before.extend(reader.account_maker(account)?.map(|maker| Field::new("madeBy", maker)));
                before.extend(reader.password_setter(account)?.map(|setter| Field::new("passwordSetBy", setter)));
            }
            Ok(Base { changed, before })
        }
        ProposedChange::ResetPassword { login } => {
            let account = account(reader, login)?;
            require_of_project_alone(reader, project, account)?;
            Ok(Base { changed: reader.account_changed(account)?, before: vec![Field::new("login", login)] })
        }
        ProposedChange::EnableAccount { login } => {
            let account = account(reader, login)?;
            require_of_project_alone(reader, project, account)?;
            let found = reader.account(account)?.ok_or(StoreError::Stale { what: "account" })?;
            if found.enabled {
                return Err(Invalid::new("login", "names an account that is enabled").into());
            }
            Ok(Base { changed: Some(found.changed), before: vec![Field::new("login", login), Field::new("enabled", found.enabled)] })
        }
        ProposedChange::SetMayApprove { access_key, allowed } => look_at_access_key(reader, project, access_key, *allowed),
        ProposedChange::ChangeGovernance { .. } | ProposedChange::TurnApprovalOff => {
            let governance = reader.governance(project)?.ok_or(StoreError::Stale { what: "approval" })?;
            let before = vec![Field::new("approval", governance.approval), Field::new("expiryDays", governance.expiry.days())];
            Ok(Base { changed: Some(governance.changed.at), before })
        }
        ProposedChange::ChangeKey { key, .. }
        | ProposedChange::ChangeSecret { key, .. }
        | ProposedChange::RotateKey { key }
        | ProposedChange::RequestKeyDeletion { key }
        | ProposedChange::RestoreKey { key }
        | ProposedChange::DeleteKey { key }
        | ProposedChange::RequestVersionDeletion { key, .. }
        | ProposedChange::RestoreVersion { key, .. }
        | ProposedChange::DeleteVersion { key, .. } => look_at_key(reader, of_store()?, *key, change.version()),
    }
}

fn look_at_key_store(reader: &mut Reader<'_>, id: KeyStoreId) -> Result<Base, Refusal> {
    let found = reader.key_store(id)?.filter(|key_store| key_store.state == State::Active).ok_or(ResultCode::InvalidKeyStore)?;
    Ok(Base::key_store(found.changed.at, &found.name, &found.description, found.checks))
}

fn look_at_key(reader: &mut Reader<'_>, key_store: KeyStoreId, id: KeyId, version: Option<KeyVersion>) -> Result<Base, Refusal> {
    let found = reader.key(id)?.filter(|(_, row)| row.key.key_store == key_store && row.key.state.is_visible());
    let (_, KeyRow { key, versions }) = found.ok_or(ResultCode::InvalidKeyId)?;
    let mut before = vec![
        Field::new("keyType", key.kind),
        Field::new("name", &key.name),
        Field::new("description", key.description.as_str()),
        Field::new("keyStatus", key.state.as_str()),
        Field::new("currentKeyVersion", key.current_version),
        Field::new("autoRotationPeriod", key.rotation.days()),
    ];
    let version = versions.iter().find(|found| Some(found.version) == version);
    before.extend(version.map(|version| Field::new("keyVersionStatus", version.state.as_str())));
    Ok(Base { changed: Some(key.changed.at), before })
}

fn look_at_rule(reader: &mut Reader<'_>, key_store: KeyStoreId, method: Method, value: &str) -> Result<Base, Refusal> {
    let rule = reader.client_rule_by_value(key_store, method, value)?.ok_or(ResultCode::InvalidClientRule)?;
    let before = vec![Field::new("description", rule.description.as_str()), Field::new("status", rule.state.as_str())];
    Ok(Base { changed: Some(rule.changed.at), before })
}

fn look_at_access_key(reader: &mut Reader<'_>, project: ProjectId, id: &AccessKeyId, allowed: bool) -> Result<Base, Refusal> {
    let found = reader.access_key(id)?.ok_or_else(|| Invalid::new("id", "names no access key"))?;
    require_of_project(reader, project, found.account)?;
    // Enabling it is no request.
    if allowed && !found.enabled {
        return Err(Invalid::new("id", "names an access key that is disabled, or whose account is: enable that first").into());
    }
    // Whoever approves should know who else has its secret.
    let maker = found.maker.map(|maker| reader.login_of(maker)).transpose()?.flatten().unwrap_or_else(|| "an operator".to_owned());
    let before = vec![Field::new("login", &found.login), Field::new("madeBy", maker), Field::new("mayApprove", found.may_approve)];
    Ok(Base { changed: None, before })
}

/// The account of a login name.
pub(super) fn account(reader: &mut Reader<'_>, login: &str) -> Result<AccountId, Refusal> {
    let login = parse_login(login)?;
    Ok(reader.account_by_login(&login)?.ok_or_else(|| Invalid::new("login", "names no account"))?)
}

/// Refuses, too, one that administers the installation, or has whatever role in whatever other project: what two people of this one decide upon
/// would give them that.
fn require_of_project_alone(reader: &mut Reader<'_>, project: ProjectId, account: AccountId) -> Result<(), Refusal> {
    require_of_project(reader, project, account)?;
    let way_out = "take its roles in this project away first, then an administrator does that";
    if reader.account(account)?.is_some_and(|found| found.administrator) {
        return Err(Invalid::new("login", format!("names an account that administers the installation: {way_out}")).into());
    }
    if reader.roles(account)?.iter().any(|(of, _)| *of != project) {
        return Err(Invalid::new("login", format!("names an account that has a role in another project: {way_out}")).into());
    }
    Ok(())
}

/// Refuses an account that is none of this project's alone: people of one project must not lend themselves somebody of another's.
fn require_of_project(reader: &mut Reader<'_>, project: ProjectId, account: AccountId) -> Result<(), Refusal> {
    match reader.governed_projects_of(account)?.as_slice() {
        [only] if *only == project => Ok(()),
        [] => Err(Invalid::new("login", "names an account that neither asks nor approves in this project: it needs no approval").into()),
        [..] => Err(Invalid::new("login", "names an account that asks or approves in other projects, too").into()),
    }
}
