//! A request as its page shows it: each change before and after, secrets never.

use super::{At, status};
use crate::console::draft::{Mark, shown_client, subject, told};
use crate::console::shown;
use crate::console::text::ENGLISH;
use crate::console::visitor::Visitor;
use crate::console::{Console, keys};
use crate::domain::approval::{ChangeItem, ChangeRequest, Field, ProposedChange, RequestState};
use crate::domain::client_checks::{AuthMode, Method};
use crate::domain::clock::Timestamp;
use crate::domain::key::{KeyKind, Origin, State};
use crate::service::RequestDetails;
use crate::service::pki::certificate_pem;

/// More entries than that are shown when somebody wants to see them.
const ENTRIES_SHOWN: usize = 20;

/// A request, or a draft.
#[derive(Debug)]
pub(super) struct RequestView {
    pub(super) path: String,
    pub(super) id: String,
    pub(super) status: (&'static str, &'static str),
    /// What came of it, in a sentence.
    pub(super) outcome: Option<&'static str>,
    pub(super) key_store: String,
    /// The key store's page in Key Store Management, while there is one.
    pub(super) management: Option<String>,
    pub(super) requester: String,
    pub(super) note: String,
    pub(super) created: String,
    pub(super) requested: Option<String>,
    pub(super) expires: Option<String>,
    pub(super) decider: Option<String>,
    pub(super) decided: Option<String>,
    pub(super) ended: Option<String>,
    pub(super) reason: Option<String>,
    pub(super) digest: Option<String>,
    pub(super) revision: u32,
    pub(super) changes: Vec<ChangeView>,
    pub(super) is_draft: bool,
    pub(super) is_applying: bool,
    pub(super) may_decide: bool,
    /// Why whoever looks doesn't decide.
    pub(super) why_not: Option<&'static str>,
    pub(super) may_withdraw: bool,
}

impl RequestView {
    pub(super) fn new(console: &Console, visitor: &Visitor, at: &At, details: RequestDetails) -> Self {
        let (request, key_store) = (details.listed.request, details.listed.key_store);
        let date = |at: Timestamp| shown::date(console, at);
        let why_not = why_not(console, visitor, &request, details.editors.contains(&visitor.session.account));
        let is_own = request.requester == visitor.session.account;
        let number = key_store.as_ref().map(|(number, _)| *number).filter(|_| visitor.governed);
        // One that never came to be has no page.
        let has_page = !request.new_key_store || matches!(request.state, RequestState::Draft | RequestState::Approved);
        Self {
            path: at.path(),
            id: request.id.to_string(),
            status: status(request.state),
            outcome: outcome(request.state),
            key_store: key_store.map_or_else(|| ENGLISH.approval.of_project.to_owned(), |(_, name)| name),
            management: number.filter(|_| has_page).map(|number| format!("/projects/{}/management/{number}", at.project)),
            created: date(request.created),
            requested: request.requested.map(date),
            expires: matches!(request.state, RequestState::Draft | RequestState::Ready).then(|| date(request.expires)),
            decider: request.decider.map(|(_, login)| login),
            decided: request.decided.map(date),
            ended: request.ended.map(date),
            reason: request.reason,
            digest: request.digest.map(hex::encode),
            revision: request.revision,
            changes: details.changes.into_iter().map(|item| ChangeView::new(console, item, request.state)).collect(),
            is_draft: request.state == RequestState::Draft,
            is_applying: request.state == RequestState::Applying,
            may_decide: request.state == RequestState::Ready && why_not.is_none(),
            why_not: why_not.filter(|_| request.state == RequestState::Ready),
            may_withdraw: request.state == RequestState::Draft || request.state == RequestState::Ready && is_own,
            requester: request.requester_login,
            note: request.note,
        }
    }
}

fn outcome(state: RequestState) -> Option<&'static str> {
    let t = &ENGLISH.approval;
    match state {
        RequestState::Draft | RequestState::Ready => None,
        RequestState::Applying => Some(t.is_applying),
        RequestState::Approved => Some(t.all_done),
        RequestState::Failed => Some(t.failed_told),
        RequestState::Denied | RequestState::Withdrawn | RequestState::Expired => Some(t.nothing_done),
    }
}

/// Why this person doesn't decide upon a request. The use case looks again.
fn why_not(console: &Console, visitor: &Visitor, request: &ChangeRequest, had_a_hand: bool) -> Option<&'static str> {
    let t = &ENGLISH.approval;
    if request.expires <= console.service.now() {
        Some(t.is_over)
    } else if request.requester == visitor.session.account {
        Some(t.not_own)
    } else if had_a_hand {
        Some(t.had_a_hand)
    } else if !visitor.approves_in(request.project) {
        Some(t.no_approver)
    } else {
        None
    }
}

/// A change.
#[derive(Debug)]
pub(super) struct ChangeView {
    pub(super) position: u32,
    pub(super) mark: Mark,
    pub(super) told: &'static str,
    pub(super) subject: String,
    pub(super) edited: String,
    pub(super) facts: Vec<Fact>,
    /// Entries that are registered: value and description.
    pub(super) entries: Vec<(String, String)>,
    pub(super) certificate: Option<String>,
}

/// Something before and after.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fact {
    pub(super) label: String,
    pub(super) before: Option<String>,
    /// `None`: as it was before.
    pub(super) after: Option<String>,
}

impl ChangeView {
    fn new(console: &Console, item: ChangeItem, state: RequestState) -> Self {
        let entries = match &item.change {
            ProposedChange::AddClients { method, entries } => {
                entries.iter().map(|entry| (shown_client(*method, &entry.value).to_owned(), entry.description.as_str().to_owned())).collect()
            }
            _ => Vec::new(),
        };
        let certificate = match &item.change {
            ProposedChange::AddCertificate { certificate: Some(der), .. } if state == RequestState::Approved => hex::decode(der).ok(),
            _ => None,
        };
        Self {
            position: item.position,
            mark: Mark::of(&item.change),
            told: told(&item.change),
            subject: subject(&item),
            edited: format!("{}, {}", shown::date(console, item.edited), item.editor_login),
            facts: facts(&item, |at| shown::date(console, at)),
            entries,
            certificate: certificate.map(|der| certificate_pem(&der)),
        }
    }

    pub(super) fn has_many_entries(&self) -> bool {
        self.entries.len() > ENTRIES_SHOWN
    }
}

/// All that a change says, beside what it was before: published names in people's words.
fn facts(item: &ChangeItem, date: impl Fn(Timestamp) -> String) -> Vec<Fact> {
    let before = grouped(&item.base.before, &date);
    let mut after = grouped(&after(item), &date);
    after.extend(implied(item).into_iter().map(|(name, value)| (name.to_owned(), value)));
    let value = |of: &[(String, String)], name: &str| of.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
    // What names something that is there, or says again what it was, is as before.
    let names_it = |name: &str| !before.is_empty() && matches!(name, "keyId" | "login" | "method" | "value" | "accessKeyId");
    let fact = |(name, told): &(String, String)| {
        let before = value(&before, name).or_else(|| names_it(name).then(|| told.clone()));
        Fact { label: label(name), after: Some(told.clone()).filter(|_| before.as_ref() != Some(told)), before }
    };
    let mut facts: Vec<Fact> = after.iter().map(fact).collect();
    let untouched = before.iter().filter(|(name, _)| value(&after, name).is_none());
    facts.extend(untouched.map(|(name, told)| Fact { label: label(name), before: Some(told.clone()), after: None }));
    if item.sealed_hash.is_some() {
        facts.extend(secret(&item.change));
    }
    facts
}

/// What a change says of itself; entries stand apart, and roles are told as all that there will be.
fn after(item: &ChangeItem) -> Vec<Field> {
    let roles = item.base.before.iter().filter(|field| field.name == "role");
    match &item.change {
        ProposedChange::AddClients { method, .. } => vec![Field::new("method", method.as_str())],
        ProposedChange::GrantRole { login, role } => {
            let granted = [Field::new("role", role.as_str())];
            std::iter::once(Field::new("login", login)).chain(roles.cloned()).chain(granted).collect()
        }
        ProposedChange::RevokeRole { login, role } => {
            let left: Vec<_> = roles.filter(|field| field.value != role.as_str()).cloned().collect();
            let none = left.is_empty().then(|| Field::new("role", ENGLISH.organization.none));
            std::iter::once(Field::new("login", login)).chain(left).chain(none).collect()
        }
        // Its secret part is told apart.
        ProposedChange::ResetPassword { login } => vec![Field::new("login", login)],
        change => change.after(),
    }
}

/// What follows from a change without being said in it.
fn implied(item: &ChangeItem) -> Vec<(&'static str, String)> {
    let (t, in_service, scheduled) = (&ENGLISH.approval, word_of_state(State::Active), word_of_state(State::PendingDeletion));
    let one = |name: &'static str, value: &str| vec![(name, value.to_owned())];
    match &item.change {
        ProposedChange::RequestKeyDeletion { .. } => one("keyStatus", scheduled),
        ProposedChange::RestoreKey { .. } => one("keyStatus", in_service),
        ProposedChange::DeleteKey { .. } => one("keyStatus", t.deleted),
        ProposedChange::RequestVersionDeletion { .. } => one("keyVersionStatus", scheduled),
        ProposedChange::RestoreVersion { .. } => one("keyVersionStatus", in_service),
        ProposedChange::DeleteVersion { .. } => one("keyVersionStatus", t.deleted),
        ProposedChange::RequestClientDeletion { .. } => one("status", scheduled),
        ProposedChange::RestoreClient { .. } => one("status", in_service),
        ProposedChange::DeleteClient { .. } | ProposedChange::DeleteKeyStore => one("status", t.deleted),
        ProposedChange::TurnApprovalOff => one("approval", ENGLISH.organization.off),
        ProposedChange::RotateKey { .. } => {
            let current = item.base.before.iter().find(|field| field.name == "currentKeyVersion").and_then(|field| field.value.parse::<u32>().ok());
            current.and_then(|current| current.checked_add(1)).map(|next| ("currentKeyVersion", next.to_string())).into_iter().collect()
        }
        _ => Vec::new(),
    }
}

/// That there is a secret in it; the digest has its sealed form.
fn secret(change: &ProposedChange) -> Option<Fact> {
    let t = &ENGLISH.approval;
    let (label, was_there) = match change {
        ProposedChange::CreateKey { .. } => (ENGLISH.keys.data, false),
        ProposedChange::ChangeSecret { .. } => (ENGLISH.keys.data, true),
        ProposedChange::CreateAccount { .. } => (t.first_part, false),
        ProposedChange::ResetPassword { .. } => (t.first_part, false),
        _ => return None,
    };
    Some(Fact { label: label.to_owned(), before: was_there.then(|| t.hidden.to_owned()), after: Some(t.hidden_new.to_owned()) })
}

/// Fields by name, those of the same name together, in people's words.
fn grouped(fields: &[Field], date: &impl Fn(Timestamp) -> String) -> Vec<(String, String)> {
    let mut grouped: Vec<(String, String)> = Vec::new();
    for Field { name, value } in fields {
        let value = words(name, value, date);
        match grouped.iter_mut().find(|(known, _)| known == name) {
            Some((_, values)) => values.push_str(&format!(", {value}")),
            None => grouped.push((name.clone(), value)),
        }
    }
    grouped
}

fn word_of_state(state: State) -> &'static str {
    keys::status(state).1
}

/// A value in people's words, where there are some.
fn words(name: &str, value: &str, date: &impl Fn(Timestamp) -> String) -> String {
    let (t, store) = (&ENGLISH.organization, &ENGLISH.key_stores);
    let known = match name {
        "keyStatus" | "status" | "keyVersionStatus" => {
            [State::Active, State::PendingDeletion].into_iter().find(|state| state.as_str() == value).map(word_of_state)
        }
        "keyType" => [KeyKind::Secret, KeyKind::Symmetric, KeyKind::Asymmetric].into_iter().find(|kind| kind.to_string() == value).map(keys::kind),
        "origin" => Some(if value == Origin::Imported.as_str() { ENGLISH.keys.imported } else { ENGLISH.approval.generated }),
        "check" | "method" => Method::ALL.into_iter().find(|method| method.as_str() == value).map(|method| match method {
            Method::Ipv4 => store.ipv4,
            Method::Mac => store.mac,
            Method::Certificate => store.certificate,
        }),
        "authMode" => AuthMode::parse(value).map(|mode| if mode == AuthMode::And { store.all_must_pass } else { store.any_one_passes }),
        "approval" => Some(if value == "true" { t.on } else { t.off }),
        "mayApprove" | "enabled" | "fromSigningRequest" => Some(if value == "true" { t.yes } else { t.no }),
        _ => None,
    };
    match (name, known) {
        (_, Some(word)) => word.to_owned(),
        ("notAfterMicros", None) => value.parse().map(|micros| date(Timestamp::from_micros(micros))).unwrap_or_else(|_| value.to_owned()),
        (_, None) => value.to_owned(),
    }
}

/// A published name in people's words.
fn label(name: &str) -> String {
    let (frame, store, keys, clients, t) = (&ENGLISH.frame, &ENGLISH.key_stores, &ENGLISH.keys, &ENGLISH.clients, &ENGLISH.approval);
    let known = match name {
        "keyId" => store.key_id,
        "keyStoreId" => store.key_store_id,
        "keyType" => store.key_type,
        "origin" => t.origin,
        "name" => frame.name,
        "description" => frame.description,
        "autoRotationPeriod" => keys.cycle,
        "keyVersion" => keys.version,
        "currentKeyVersion" => t.current_version,
        "keyStatus" | "status" => frame.status,
        "keyVersionStatus" => t.version_status,
        "check" => store.authentication,
        "authMode" => store.combine,
        "method" => t.method,
        "value" => t.value,
        "fingerprint" => t.fingerprint,
        "serial" => clients.serial,
        "notAfterMicros" => clients.expires,
        "authority" => t.authority,
        "fromSigningRequest" => t.from_signing_request,
        "login" => ENGLISH.organization.login,
        "role" => ENGLISH.organization.roles,
        "accessKeyId" => t.access_key,
        "mayApprove" => t.approves,
        "madeBy" => t.made_by,
        "passwordSetBy" => t.password_set_by,
        "enabled" => t.account_enabled,
        "expiryDays" => t.expiry_field,
        "approval" => t.state,
        other => other,
    };
    known.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::account::Role;
    use crate::domain::approval::Base;
    use crate::domain::ids::{AccountId, KeyId};

    fn item(change: ProposedChange, before: &[(&str, &str)]) -> ChangeItem {
        let before = before.iter().map(|(name, value)| Field::new(name, value)).collect();
        ChangeItem {
            position: 0,
            change,
            base: Base { changed: None, before },
            sealed_hash: None,
            object: None,
            editor: AccountId(1),
            editor_login: "kim".to_owned(),
            edited: Timestamp::from_micros(0),
        }
    }

    fn told(item: &ChangeItem) -> Vec<(String, Option<String>, Option<String>)> {
        facts(item, |_| "a date".to_owned()).into_iter().map(|fact| (fact.label, fact.before, fact.after)).collect()
    }

    #[test]
    fn what_a_step_brings_about_is_told_beside_what_was() {
        let key = KeyId::from_bytes([7; 16]);
        let before = [("name", "k"), ("keyStatus", "ACTIVE"), ("currentKeyVersion", "3")];
        let doomed = told(&item(ProposedChange::RequestKeyDeletion { key }, &before));
        let text = |value: &str| Some(value.to_owned());
        assert!(doomed.contains(&("Status".to_owned(), text("In Service"), text("Scheduled to be Deleted"))), "{doomed:?}");
        assert!(doomed.contains(&("Name".to_owned(), text("k"), None)), "{doomed:?}");
        let rotated = told(&item(ProposedChange::RotateKey { key }, &before));
        assert!(rotated.contains(&("Current version".to_owned(), text("3"), text("4"))), "{rotated:?}");
    }

    #[test]
    fn roles_are_told_as_all_that_there_were_and_will_be() {
        let before = [("role", "VIEWER"), ("role", "ADMIN")];
        let granted = told(&item(ProposedChange::GrantRole { login: "kim".to_owned(), role: Role::ApprovalAdmin }, &before));
        let text = |value: &str| Some(value.to_owned());
        assert!(granted.contains(&("Roles".to_owned(), text("VIEWER, ADMIN"), text("VIEWER, ADMIN, APPROVAL ADMIN"))), "{granted:?}");
        let revoked = told(&item(ProposedChange::RevokeRole { login: "kim".to_owned(), role: Role::Admin }, &before));
        assert!(revoked.contains(&("Roles".to_owned(), text("VIEWER, ADMIN"), text("VIEWER"))), "{revoked:?}");
    }
}
