//! Messages in words: a mail's subject and text, a webhook's body.

use chrono::{DateTime, SecondsFormat};
use serde_json::{Map, Value, json};

use crate::courier::Parcel;
use crate::domain::clock::Timestamp;
use crate::domain::ids::MessageId;
use crate::domain::notification::{EventKind, Message};

/// The word of a test message.
const TEST: &str = "TEST";
/// What stands before every subject.
const SUBJECT_PREFIX: &str = "[Secure Key Manager]";
/// What stands under every mail.
const FOOTER: &str =
    "Sent by Secure Key Manager. An administrator of the project, or of the installation, chooses who gets such messages, at the console under Notifications.";

/// What happened, as a subject says it.
const fn title(kind: EventKind) -> &'static str {
    match kind {
        EventKind::ApprovalRequested => "Approval is asked for",
        EventKind::ApprovalDecided => "A request for approval was decided",
        EventKind::ApprovalDisabled => "EMERGENCY: approval was turned off",
        EventKind::DeletionScheduled => "Scheduled to be deleted",
        EventKind::DeletionDueSoon => "Will be deleted within 24 hours",
        EventKind::Deleted => "Deleted",
        EventKind::Rotated => "Rotated",
        EventKind::RotationFailed => "A rotation that is due failed",
        EventKind::CertificateExpires => "A client certificate expires",
        EventKind::KeyNearUseLimit => "A key nears the limit of its use",
        EventKind::ServerCertificateExpires => "A server certificate expires",
        EventKind::AuthorityExpires => "A certificate authority expires",
        EventKind::TokenTrouble => "The token can't be used",
        EventKind::TokenRecovered => "The token can be used again",
        EventKind::AuditTrouble => "Trouble with the audit log",
        EventKind::SignInLockedOut => "Somebody fails to sign in and has to wait",
    }
}

/// What a person is to do about it, where that isn't plain.
const fn advice(kind: EventKind) -> Option<&'static str> {
    match kind {
        EventKind::ApprovalRequested => Some("Look at it under Approval List, then approve or deny it."),
        EventKind::DeletionScheduled | EventKind::DeletionDueSoon => {
            Some("It can't be used any more. Until it is due, the deletion can be called off under Key Depository.")
        }
        EventKind::RotationFailed => Some("The key goes on with its current version. The service tries again each minute; its log says why it failed."),
        EventKind::CertificateExpires => Some("Give the client another certificate before this one expires."),
        EventKind::KeyNearUseLimit => Some("The key does not rotate by itself and will refuse to encrypt at its limit: replace it."),
        EventKind::ServerCertificateExpires => Some("It was not renewed by itself. If it is configured ([api] certificate), renew it where it comes from."),
        EventKind::AuthorityExpires => Some("It is renewed by itself in time; clients have to learn the new one from /pki/ca.pem."),
        EventKind::TokenTrouble => Some("Keys can't be used on this node until the token is back. /readyz and the log say why."),
        EventKind::AuditTrouble => {
            Some("While it can't be written nothing is done on this node, since nothing is done that can't be recorded. /readyz and the log say why.")
        }
        EventKind::ApprovalDisabled => Some("Changes to keys need no second person from now on. If you don't know why, find out who did it."),
        EventKind::ApprovalDecided | EventKind::Deleted | EventKind::Rotated | EventKind::TokenRecovered | EventKind::SignInLockedOut => None,
    }
}

/// A fact's name for people.
fn label(name: &str) -> &str {
    match name {
        "what" => "What",
        "name" => "Name",
        "keyId" => "Key ID",
        "keyVersion" => "Key version",
        "keyStore" => "Key store",
        "by" => "By",
        "due" => "Due",
        "notAfter" => "Expires",
        "request" => "Request",
        "outcome" => "Outcome",
        "requestedBy" => "Requested by",
        "node" => "Node",
        "authority" => "Authority",
        "since" => "Since",
        "until" => "Until",
        "login" => "Account",
        "address" => "Address",
        other => other,
    }
}

fn date(at: Timestamp) -> String {
    DateTime::from_timestamp(at.seconds(), 0).unwrap_or_default().to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// What is sent of a message.
pub(super) fn parcel(message: &Message) -> Parcel {
    let name = message.facts.iter().find(|(fact, _)| fact == "name").map(|(_, name)| format!(": {name}")).unwrap_or_default();
    let mut lines = vec![format!("{}.", title(message.event)), String::new()];
    lines.extend(message.project.as_ref().map(|project| format!("Project: {project}")));
    lines.extend(message.facts.iter().map(|(fact, value)| format!("{}: {value}", label(fact))));
    lines.push(format!("Time: {}", date(message.happened)));
    lines.extend(advice(message.event).map(|advice| format!("\n{advice}")));
    lines.push(format!("\n-- \n{FOOTER}"));
    let mut data: Map<String, Value> = message.facts.iter().map(|(fact, value)| (fact.clone(), Value::from(value.as_str()))).collect();
    if let Some(project) = &message.project {
        data.insert("project".to_owned(), Value::from(project.as_str()));
    }
    Parcel {
        id: message.id,
        happened: message.happened,
        subject: format!("{SUBJECT_PREFIX} {}{name}", title(message.event)),
        text: lines.join("\n"),
        json: body(message.event.as_str(), message.happened, data),
    }
}

/// What is sent to see whether it arrives.
pub(super) fn test_parcel(id: MessageId, now: Timestamp) -> Parcel {
    let text = format!("This is a test message: whoever reads it will get the messages that were chosen.\n\nTime: {}\n\n-- \n{FOOTER}", date(now));
    Parcel { id, happened: now, subject: format!("{SUBJECT_PREFIX} Test message"), text, json: body(TEST, now, Map::new()) }
}

/// As the Standard Webhooks specification recommends: type, timestamp, data.
fn body(kind: &str, at: Timestamp, data: Map<String, Value>) -> String {
    json!({"type": kind, "timestamp": date(at), "data": data}).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::RecipientId;
    use crate::domain::notification::MessageState;

    #[test]
    fn a_message_says_all_its_facts_in_both_ways() {
        let facts = [("what", "key"), ("name", "payment \"key\""), ("keyId", "00"), ("by", "alice")];
        let message = Message {
            id: MessageId::from_bytes([1; 16]),
            recipient: RecipientId(1),
            event: EventKind::Rotated,
            project: Some("shop".to_owned()),
            facts: facts.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
            happened: Timestamp::from_micros(1_700_000_000_000_000),
            state: MessageState::Queued,
            attempts: 1,
            due: Timestamp::from_micros(0),
            problem: None,
            done: None,
        };
        let parcel = parcel(&message);
        assert_eq!(parcel.subject, "[Secure Key Manager] Rotated: payment \"key\"");
        for line in ["Project: shop", "Name: payment \"key\"", "Key ID: 00", "By: alice", "Time: 2023-11-14T22:13:20Z"] {
            assert!(parcel.text.lines().any(|found| found == line), "{line} is not in {}", parcel.text);
        }
        let body: Value = serde_json::from_str(&parcel.json).unwrap();
        assert_eq!(body["type"], "ROTATED");
        assert_eq!(body["timestamp"], "2023-11-14T22:13:20Z");
        assert_eq!(body["data"]["name"], "payment \"key\"");
        assert_eq!(body["data"]["project"], "shop");
    }
}
