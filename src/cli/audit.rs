//! `skm audit`: the audit log, read and verified. Needs the database alone; a running server is not disturbed.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::exit::{Exit, Failure};
use super::{assembly, configuration, output};
use crate::domain::clock::SystemClock;
use crate::domain::ids::ChainId;
use crate::domain::result_code::ResultCode;
use crate::service::audit_verify::{self, Expectations, Report, p256_point};
use crate::store::{Store, StoreError, StoredRecord};

/// `skm audit`
#[derive(Debug, clap::Subcommand)]
pub(super) enum Arguments {
    /// Print the newest records, oldest first
    Tail {
        /// How many
        #[arg(long, short = 'n', default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        count: u32,
        /// Go on with every new record
        #[arg(long, short)]
        follow: bool,
        /// One JSON object per record
        #[arg(long)]
        json: bool,
    },
    /// Prove that no record was changed, dropped, reordered or cut off
    Verify {
        /// The public key of the checkpoints (PEM), kept apart from the database [default: the one in the database]
        #[arg(long, value_name = "FILE")]
        public_key: Option<PathBuf>,
        /// Checkpoints that were kept apart from the database, as the log prints them: each must still be there
        #[arg(long, value_name = "FILE")]
        anchor: Option<PathBuf>,
    },
    /// Print the public key of the checkpoints (PEM), to be kept apart from the database
    PublicKey,
}

/// How often `--follow` looks for new records.
const FOLLOW_INTERVAL: Duration = Duration::from_millis(500);
/// The most records that one look takes.
const FOLLOW_BATCH: i64 = 1_000;
/// The largest anchor or key file, in bytes.
const FILE_MAX_BYTES: u64 = 64 << 20;

pub(super) fn run(named: Option<&Path>, arguments: &Arguments) -> Result<(), Failure> {
    let config = configuration::load(named, true)?;
    let store = Store::open(&configuration::store_settings(&config)?, Arc::new(SystemClock))?;
    let outcome = assembly::runtime()?.block_on(async {
        match arguments {
            Arguments::Tail { count, follow, json } => tail(&store, *count, *follow, *json).await,
            Arguments::Verify { public_key, anchor } => verify(&store, public_key.as_deref(), anchor.as_deref()).await,
            Arguments::PublicKey => public_key(&store).await,
        }
    });
    store.shut_down(Duration::from_secs(10));
    outcome
}

async fn tail(store: &Store, count: u32, follow: bool, as_json: bool) -> Result<(), Failure> {
    let mut newest = store.read::<_, StoreError, _>(move |reader| reader.recent_records(i64::from(count))).await?;
    newest.reverse();
    let mut seen: HashMap<ChainId, i64> =
        store.read::<_, StoreError, _>(|reader| reader.chain_heads()).await?.into_iter().map(|head| (head.chain, head.sequence)).collect();
    for record in &newest {
        print(record, as_json)?;
        let last = seen.entry(record.chain).or_insert(record.sequence);
        *last = (*last).max(record.sequence);
    }
    if !follow {
        return Ok(());
    }
    loop {
        tokio::time::sleep(FOLLOW_INTERVAL).await;
        for head in store.read::<_, StoreError, _>(|reader| reader.chain_heads()).await? {
            let last = seen.entry(head.chain).or_insert(-1);
            if head.sequence > *last {
                let from = *last + 1;
                for record in store.read::<_, StoreError, _>(move |reader| reader.chain_records(head.chain, from, FOLLOW_BATCH)).await? {
                    *last = record.sequence;
                    print(&record, as_json)?;
                }
            }
        }
    }
}

/// `2025-01-25T12:00:00.000000Z`
pub(super) fn time(micros: i64) -> String {
    DateTime::<Utc>::from_timestamp_micros(micros).unwrap_or_default().format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
}

fn result(code: i32) -> &'static str {
    ResultCode::ALL.iter().find(|known| known.number() == code).map_or("success", |known| known.message())
}

fn print(record: &StoredRecord, as_json: bool) -> Result<(), Failure> {
    let event = &record.event;
    let (kind, name) = event.actor.parts();
    if as_json {
        return Ok(output::line(&as_value(record).to_string())?);
    }
    let mut line = format!("{}  {:<20} {:<24} {}", time(event.at.micros()), event.operation.as_str(), result(event.result_code), kind);
    for part in [
        (!name.is_empty()).then(|| name.clone()),
        event.address.map(|address| format!("from {address}")),
        event.key.map(|key| format!("key {key}{}", event.version.map(|version| format!(" v{version}")).unwrap_or_default())),
        event.key_store.map(|number| format!("store {number}")),
        event.detail.as_ref().map(|detail| format!("({})", detail.escape_debug())),
        Some(format!("request {}", event.request)),
    ]
    .into_iter()
    .flatten()
    {
        line.push(' ');
        line.push_str(&part);
    }
    Ok(output::line(&line)?)
}

fn as_value(record: &StoredRecord) -> Value {
    let event = &record.event;
    let (actor_kind, actor) = event.actor.parts();
    json!({
        "chain": record.chain.to_string(),
        "sequence": record.sequence,
        "at": time(event.at.micros()),
        "request": event.request.to_string(),
        "project": event.project.map(|project| project.0),
        "actorKind": actor_kind,
        "actor": actor,
        "address": event.address.map(|address| address.to_string()),
        "mac": event.mac.map(|mac| mac.to_string()),
        "certificate": event.certificate.map(|fingerprint| fingerprint.to_string()),
        "userAgent": event.user_agent,
        "operation": event.operation.as_str(),
        "keyStore": event.key_store.map(|number| number.0),
        "key": event.key.map(|key| key.to_string()),
        "version": event.version.map(|version| version.number()),
        "resultCode": event.result_code,
        "detail": event.detail,
        "hash": hex::encode(record.hash),
    })
}

fn read_bounded(path: &Path) -> Result<String, Failure> {
    let failed = |problem: &dyn std::fmt::Display| Failure::new(Exit::Failed, format!("{}: {problem}", path.display()));
    let length = fs::metadata(path).map_err(|error| failed(&error))?.len();
    if length > FILE_MAX_BYTES {
        return Err(failed(&format!("is larger than {FILE_MAX_BYTES} bytes")));
    }
    fs::read_to_string(path).map_err(|error| failed(&error))
}

/// Checkpoints as the log prints them: a line with `number` and `digest`, as JSON (also within `fields`) or as `key=value`.
fn anchors(text: &str) -> Vec<(i64, [u8; 32])> {
    text.lines().filter_map(anchor).collect()
}

fn anchor(line: &str) -> Option<(i64, [u8; 32])> {
    let word = |name: &str| line.split_whitespace().find_map(|part| part.strip_prefix(name)?.strip_prefix('=').map(|value| value.trim_matches('"').to_owned()));
    let (number, digest) = match serde_json::from_str::<Value>(line) {
        Ok(value) => {
            let fields = value.get("fields").unwrap_or(&value);
            (fields.get("number")?.as_i64()?, fields.get("digest")?.as_str()?.to_owned())
        }
        Err(_) => (word("number")?.parse().ok()?, word("digest")?),
    };
    let mut bytes = [0; 32];
    hex::decode_to_slice(digest, &mut bytes).ok()?;
    Some((number, bytes))
}

async fn verify(store: &Store, public_key: Option<&Path>, anchor: Option<&Path>) -> Result<(), Failure> {
    let mut expected = Expectations::default();
    if let Some(path) = public_key {
        let (_, pem) = x509_parser::pem::parse_x509_pem(read_bounded(path)?.as_bytes())
            .map_err(|_| Failure::new(Exit::Failed, format!("{}: is no PEM file", path.display())))?;
        let point = p256_point(&pem.contents).ok_or_else(|| Failure::new(Exit::Failed, format!("{}: is no EC P-256 public key", path.display())))?;
        expected.pinned.push(point.to_vec());
    }
    if let Some(path) = anchor {
        expected.anchors = anchors(&read_bounded(path)?);
        if expected.anchors.is_empty() {
            return Err(Failure::new(Exit::Failed, format!("{}: holds no checkpoint", path.display())));
        }
    }
    let report = audit_verify::verify(store, &expected).await?;
    tell(&report, &expected)
}

fn tell(report: &Report, expected: &Expectations) -> Result<(), Failure> {
    for finding in &report.findings {
        output::line(&format!("ALTERED  {finding}"))?;
    }
    if report.more_findings > 0 {
        output::line(&format!("ALTERED  and {} more", report.more_findings))?;
    }
    for note in &report.notes {
        output::line(&format!("note: {note}"))?;
    }
    let read = format!("{} records in {} chains, {} checkpoints, {} anchors", report.records, report.chains, report.checkpoints, expected.anchors.len());
    if !report.is_intact() {
        return Err(Failure::new(Exit::No, format!("the audit log is not as it was written: {read}")));
    }
    output::line(&format!("intact: {read}"))?;
    if expected.pinned.is_empty() {
        output::line("note: checked with the public key in the database; keep one apart with `skm audit public-key` and give it as --public-key")?;
    }
    Ok(())
}

async fn public_key(store: &Store) -> Result<(), Failure> {
    let purpose = crate::store::Purpose::AuditCheckpoint;
    let key = store.read::<_, StoreError, _>(move |reader| reader.internal_key(purpose)).await?;
    let spki = key.and_then(|key| key.public_key).ok_or_else(|| Failure::new(Exit::Failed, "no audit key: run `skm init`"))?;
    let text = STANDARD.encode(spki);
    let lines: Vec<&str> = text.as_bytes().chunks(64).filter_map(|line| std::str::from_utf8(line).ok()).collect();
    Ok(output::line(&format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----", lines.join("\n")))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anchors_are_read_from_both_kinds_of_log() {
        let digest = "ab".repeat(32);
        let json = format!("{{\"timestamp\":\"t\",\"fields\":{{\"message\":\"audit checkpoint\",\"number\":7,\"digest\":\"{digest}\"}}}}");
        let flat = format!("{{\"number\":8,\"digest\":\"{digest}\"}}");
        let human = format!("2026-01-01 INFO skm::audit: audit checkpoint number=9 at=1 digest=\"{digest}\" signature=\"00\"");
        let found = anchors(&format!("{json}\nnoise\n{flat}\n{human}\n"));
        assert_eq!(found, vec![(7, [0xab; 32]), (8, [0xab; 32]), (9, [0xab; 32])]);
    }
}
