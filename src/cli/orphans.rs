//! `skm hsm orphans`: how token and database compare.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::admin::{Admin, Command, json, reach};
use super::exit::{Exit, Failure};
use super::output;
use crate::service::{Comparison, Operator};

/// The most objects of each kind that are listed; the others are counted.
const LISTED_MAX: usize = 1_000;

/// `skm hsm orphans` as it crosses the admin socket.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CompareToken {}

/// What doesn't fit between token and database.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Differences {
    /// Objects in the token that no row names.
    orphans: Vec<Orphan>,
    /// How many more there are than are listed.
    more_orphans: usize,
    /// Objects that keys in service need and the token doesn't have.
    missing: Vec<Missing>,
    more_missing: usize,
    /// Objects of destroyed keys that appeared late and were destroyed now.
    late: Vec<String>,
    more_late: usize,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Orphan {
    class: String,
    id: Option<String>,
    label: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Missing {
    id: String,
    key: String,
    version: u32,
}

impl Command for CompareToken {
    const PATH: &'static str = "/token/compare";
    type Answer = Differences;

    async fn run(self, admin: Admin, operator: Operator) -> Result<Differences, Failure> {
        Ok(admin.service.compare_token_for(operator).await?.into())
    }
}

impl From<Comparison> for Differences {
    fn from(found: Comparison) -> Self {
        let more = |count: usize| count.saturating_sub(LISTED_MAX);
        Self {
            more_orphans: more(found.orphans.len()),
            more_missing: more(found.missing.len()),
            more_late: more(found.late.len()),
            orphans: found
                .orphans
                .into_iter()
                .take(LISTED_MAX)
                .map(|orphan| Orphan { class: orphan.class, id: orphan.id.map(|id| id.to_string()), label: orphan.label })
                .collect(),
            missing: found
                .missing
                .into_iter()
                .take(LISTED_MAX)
                .map(|missing| Missing { id: missing.id.to_string(), key: missing.key.to_string(), version: missing.version.number() })
                .collect(),
            late: found.late.into_iter().take(LISTED_MAX).map(|id| id.to_string()).collect(),
        }
    }
}

pub(super) fn run(named: Option<&Path>, as_json: bool) -> Result<(), Failure> {
    reach::with(named, |reach| {
        let found = reach.ask(CompareToken {})?;
        if as_json {
            output::line(&json(&found)?)?
        } else {
            tell(&found)?
        }
        if found.orphans.is_empty() && found.missing.is_empty() { Ok(()) } else { Err(Failure::silent(Exit::No)) }
    })
}

fn tell(found: &Differences) -> Result<(), Failure> {
    for Orphan { class, id, label } in &found.orphans {
        output::line(&format!("orphan   {class:<15} {:<32} {}", id.as_deref().unwrap_or("-"), label.escape_debug()))?;
    }
    for Missing { id, key, version } in &found.missing {
        output::line(&format!("missing  {id} of key {key} v{version}"))?;
    }
    for id in &found.late {
        output::line(&format!("late     {id} of a destroyed key: destroyed now"))?;
    }
    let count = |listed: usize, more: usize| listed.saturating_add(more);
    let counts = [count(found.orphans.len(), found.more_orphans), count(found.missing.len(), found.more_missing), count(found.late.len(), found.more_late)];
    let [orphans, missing, late] = counts;
    Ok(output::line(&format!("{orphans} objects that no row names, {missing} rows without their object, {late} late objects destroyed"))?)
}
