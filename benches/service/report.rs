//! The report: a table for people, `latest.json` for programs.

use std::fs;

use serde_json::json;

use crate::Problem;
use crate::budgets::{self, mib};
use crate::machine::Machine;
use crate::memory::Memory;
use crate::rounds::Cell;
use crate::settings::{Settings, default_directory};
use crate::start::Start;

/// Everything that was found.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) machine: Machine,
    pub(crate) settings: Settings,
    pub(crate) cells: Vec<Cell>,
    pub(crate) memory: Memory,
    pub(crate) start: Option<Start>,
}

impl Report {
    /// Prints it.
    pub(crate) fn print(&self) {
        let Settings { measurement, rounds, .. } = &self.settings;
        println!("\n{}", self.machine);
        println!("medians of {rounds} rounds of {} s each; times in µs; HTTPS keep-alive, durable audit on\n", measurement.as_secs());
        println!(
            "{:<26} {:>5} | {:>8} {:>7} {:>7} | {:>8} {:>7} {:>7} | {:>8} {:>7} {:>7} | {:>8} {:>8}",
            "", "conns", "token/s", "p50", "p99", "bare/s", "p50", "p99", "skm/s", "p50", "p99", "to token", "to bare"
        );
        for cell in &self.cells {
            let Cell { token, bare, skm, .. } = cell;
            println!(
                "{:<26} {:>5} | {:>8.0} {:>7.0} {:>7.0} | {:>8.0} {:>7.0} {:>7.0} | {:>8.0} {:>7.0} {:>7.0} | {:>6.1} % {:>6.1} %",
                cell.kind.title(),
                cell.connections,
                token.per_second,
                token.p50_us,
                token.p99_us,
                bare.per_second,
                bare.p50_us,
                bare.p99_us,
                skm.per_second,
                skm.p50_us,
                skm.p99_us,
                cell.to_token * 100.0,
                cell.to_bare * 100.0
            );
        }
        let Memory { service, token, keys, .. } = &self.memory;
        println!("\nmemory: {:.1} MiB under load with {keys} keys, of which the token {:.1} MiB", mib(*service), mib(*token));
        match &self.start {
            Some(Start { keys, service, token }) => println!("start: {service:.2} s with {keys} keys, of which the token {token:.2} s"),
            None => println!("start: not measured"),
        }
        println!("\nbudgets:");
        for standing in budgets::stand(&self.machine, &self.cells, &self.memory, self.start.as_ref()) {
            println!("  {}", standing.line());
        }
    }

    /// Writes `latest.json`.
    pub(crate) fn write(&self) -> Result<(), Problem> {
        let file = default_directory().join("latest.json");
        let report = json!({
            "version": env!("CARGO_PKG_VERSION"),
            "machine": self.machine,
            "rounds": self.settings.rounds,
            "seconds": self.settings.measurement.as_secs(),
            "cells": self.cells,
            "memory": self.memory,
            "start": self.start,
            "budgets": budgets::stand(&self.machine, &self.cells, &self.memory, self.start.as_ref()),
        });
        fs::create_dir_all(default_directory())?;
        fs::write(&file, serde_json::to_string_pretty(&report)?)?;
        println!("\nwritten to {}", file.display());
        Ok(())
    }
}
