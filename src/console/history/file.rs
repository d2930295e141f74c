//! The history as comma-separated values (RFC 4180), written while it is read.

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream::try_unfold;

use super::super::Console;
use super::super::attachment::attachment;
use super::super::csv::{self, MEDIA_TYPE};
use super::super::shown::{self, harmless};
use super::super::text::ENGLISH;
use super::entry::message;
use crate::domain::audit::Actor;
use crate::service::{HistoryDownload, HistoryEntry, Refusal};

/// The columns of a file.
const COLUMNS: [&str; 21] = [
    "time",
    "project",
    "actorKind",
    "actor",
    "accessKeyId",
    "address",
    "macAddress",
    "certificate",
    "userAgent",
    "operation",
    "keyStoreId",
    "keyStoreName",
    "keyId",
    "keyName",
    "keyVersion",
    "resultCode",
    "result",
    "detail",
    "requestId",
    "chain",
    "number",
];

/// What a file is written from.
enum Part {
    Head,
    Records,
    End,
}

/// A file of that name. It is broken off where the history can't be read any more, so that it doesn't pass for a whole one.
pub(super) fn file(console: Console, name: &str, download: HistoryDownload) -> Response {
    let rest = try_unfold((Part::Head, download, console), async |(part, mut download, console)| {
        let piece = match part {
            Part::Head => Some((csv::head(COLUMNS), Part::Records)),
            Part::Records => {
                let read = download.next().await.inspect_err(|refusal| tracing::warn!(?refusal, "a file of the history was broken off"))?;
                match read {
                    Some(entries) => Some((csv::write(entries.into_iter().map(|entry| line(&console, entry))), Part::Records)),
                    None if download.is_cut() => Some((csv::write(std::iter::once(last_line())), Part::End)),
                    None => None,
                }
            }
            Part::End => None,
        };
        Ok::<_, Refusal>(piece.map(|(bytes, next)| (Bytes::from(bytes), (next, download, console))))
    });
    attachment(name, MEDIA_TYPE, Body::from_stream(rest))
}

/// Says in a line of its own that there may be more.
fn last_line() -> [String; COLUMNS.len()] {
    let mut line = COLUMNS.map(|_| String::new());
    if let Some(first) = line.first_mut() {
        ENGLISH.history.cut.clone_into(first);
    }
    line
}

fn line(console: &Console, entry: HistoryEntry) -> [String; COLUMNS.len()] {
    let HistoryEntry { record, project, key_store, key, .. } = entry;
    let event = record.event;
    let (kind, name) = event.actor.parts();
    let (actor, access_key) = match event.actor {
        Actor::AccessKey { id, login } => (login, id.to_string()),
        Actor::Appkey | Actor::Account(_) | Actor::Operator(_) | Actor::Service | Actor::Unknown => (name, String::new()),
    };
    let text = |text: Option<&str>| harmless(text.unwrap_or_default(), usize::MAX);
    let result = if event.result_code == 0 { ENGLISH.history.success } else { message(event.result_code).unwrap_or_default() };
    [
        shown::iso_date(console, event.at),
        text(project.as_ref().map(|name| name.as_str())),
        kind.to_owned(),
        text(Some(&actor)),
        access_key,
        event.address.map(|address| address.to_string()).unwrap_or_default(),
        event.mac.map(|mac| mac.to_string()).unwrap_or_default(),
        event.certificate.map(|fingerprint| fingerprint.to_string()).unwrap_or_default(),
        text(event.user_agent.as_deref()),
        event.operation.as_str().to_owned(),
        event.key_store.map(|number| number.to_string()).unwrap_or_default(),
        text(key_store.as_ref().map(|name| name.as_str())),
        event.key.map(|key| key.to_string()).unwrap_or_default(),
        text(key.as_ref().map(|name| name.as_str())),
        event.version.map(|version| version.to_string()).unwrap_or_default(),
        event.result_code.to_string(),
        result.to_owned(),
        text(event.detail.as_deref()),
        event.request.to_string(),
        record.chain.to_string(),
        record.sequence.to_string(),
    ]
}
