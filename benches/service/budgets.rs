//! The budgets, and where the figures stand against them.

use serde::Serialize;

use crate::jobs::Kind;
use crate::machine::Machine;
use crate::memory::Memory;
use crate::rounds::Cell;
use crate::start::Start;

/// RSA signatures at 32 connections, of what the token alone makes.
const SIGN_TO_TOKEN: f64 = 0.90;
/// Encryptions of 1 KiB at 32 connections, of what bare HTTPS answers.
const ENCRYPT_TO_BARE: f64 = 0.35;
const BUSY_CONNECTIONS: usize = 32;
/// Added to the token's own time at one connection, beside one fsync, in microseconds.
const ADDED_P50_US: f64 = 150.0;
const ADDED_P99_US: f64 = 1_000.0;
/// Beside what the token needs, in MiB.
const MEMORY_MIB: f64 = 40.0;
/// Growth that is noise: the allocator's, and the database's shared memory.
const GROWTH_MIB: f64 = 1.0;
/// Beside the token's own start, in seconds.
const START_SECONDS: f64 = 1.0;

/// One budget and the figure for it.
#[derive(Debug, Serialize)]
pub(crate) struct Standing {
    pub(crate) budget: String,
    pub(crate) unit: &'static str,
    pub(crate) limit: f64,
    pub(crate) figure: f64,
    /// Whether more is better.
    pub(crate) at_least: bool,
    pub(crate) met: bool,
}

impl Standing {
    fn at_least(budget: String, unit: &'static str, limit: f64, figure: f64) -> Self {
        Self { budget, unit, limit, figure, at_least: true, met: figure >= limit }
    }

    fn at_most(budget: String, unit: &'static str, limit: f64, figure: f64) -> Self {
        Self { budget, unit, limit, figure, at_least: false, met: figure <= limit }
    }

    /// In a line.
    pub(crate) fn line(&self) -> String {
        let Self { budget, unit, limit, figure, at_least, met } = self;
        let sign = if *at_least { "≥" } else { "≤" };
        let digits = if figure.abs() >= 100.0 { 0 } else { 2 };
        let verdict = if *met { "met".to_owned() } else { format!("MISSED by {:.digits$}{unit}", (limit - figure).abs()) };
        format!("{budget:<66} {sign} {limit:.digits$}{unit}: {figure:.digits$}{unit}, {verdict}")
    }
}

/// Every budget that something was measured for.
pub(crate) fn stand(machine: &Machine, cells: &[Cell], memory: &Memory, start: Option<&Start>) -> Vec<Standing> {
    let mut standings = Vec::new();
    let cell = |kind: Kind, connections: usize| cells.iter().find(|cell| cell.kind == kind && cell.connections == connections);
    if let Some(cell) = cell(Kind::Sign, BUSY_CONNECTIONS) {
        standings.push(Standing::at_least("RSA-2048 sign, 32 connections, of the token alone".into(), " %", SIGN_TO_TOKEN * 100.0, cell.to_token * 100.0));
    }
    if let Some(cell) = cell(Kind::Encrypt, BUSY_CONNECTIONS) {
        standings.push(Standing::at_least("encrypt 1 KiB, 32 connections, of bare HTTPS".into(), " %", ENCRYPT_TO_BARE * 100.0, cell.to_bare * 100.0));
    }
    for cell in cells.iter().filter(|cell| cell.connections == 1) {
        let name = cell.kind.as_str();
        let added = |percentile: &str| format!("{name}, 1 connection, added to the token's own time, {percentile}, fsync included");
        standings.push(Standing::at_most(added("median"), " µs", ADDED_P50_US + machine.fsync.p50_us, cell.added_p50_us));
        standings.push(Standing::at_most(added("p99"), " µs", ADDED_P99_US + machine.fsync.p99_us, cell.added_p99_us));
    }
    let keys = memory.keys;
    let own = mib(memory.own());
    standings.push(Standing::at_most(format!("memory beside the token's, 32 connections, {keys} keys"), " MiB", MEMORY_MIB, own));
    let growth = mib(memory.growth.unsigned_abs()) * if memory.growth < 0 { -1.0 } else { 1.0 };
    standings.push(Standing::at_most(format!("growth of memory, last third of {} s", memory.seconds), " MiB", GROWTH_MIB, growth));
    if let Some(start) = start {
        standings.push(Standing::at_most(format!("start beside the token's own, {} keys", start.keys), " s", START_SECONDS, start.service - start.token));
    }
    standings
}

/// Bytes as MiB.
#[allow(clippy::cast_precision_loss, reason = "sizes of memory stay far below 2^52")]
pub(crate) fn mib(bytes: u64) -> f64 {
    bytes as f64 / (1024.0 * 1024.0)
}
