//! `make bench`: what the service does beside what the token alone and bare HTTPS do, in one run, on one machine, and where that
//! stands against the budgets.
//!
//! Three things are measured in turn, round after round, so that whatever else the machine is doing meets them alike:
//!
//! - `token`: plain PKCS#11 sessions on the installation's own token objects, as many threads as connections, cores at most;
//! - `bare`: a handler that does nothing behind the product's own listener, in a process of its own, with the very bytes of the
//!   service's requests and answers;
//! - `skm`: `skm serve`, initialised by `skm init --dev` in a directory on a disk, with its audit log.
//!
//! `wrk` makes the load for the latter two, beside them on the same cores. See [`settings::HELP`] for what can be set.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "the report is printed")]

mod bare;
mod budgets;
mod installation;
mod jobs;
mod load;
mod machine;
mod many_keys;
mod memory;
mod raw_token;
mod report;
mod rounds;
mod sample;
mod settings;
mod start;

use std::process::ExitCode;

use installation::Installation;
use settings::Settings;

/// Whatever stops the bench, in words.
type Problem = Box<dyn std::error::Error + Send + Sync>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["inside", "token", rest @ ..] => raw_token::inside(rest),
        ["inside", "bare", rest @ ..] => bare::inside(rest),
        ["inside", "keys", rest @ ..] => many_keys::inside(rest),
        ["--help" | "-h"] => {
            println!("{}", settings::HELP);
            Ok(())
        }
        // `cargo test --benches` runs this without `--bench`.
        _ if words.contains(&"--bench") => bench(),
        _ => {
            println!("cargo bench --bench service\n\n{}", settings::HELP);
            Ok(())
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("bench: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn bench() -> Result<(), Problem> {
    let settings = Settings::read()?;
    machine::require_programs()?;
    let machine = machine::look_at(&settings.directory)?;
    println!("{machine}");
    let installation = Installation::make(&settings)?;
    println!("making {} keys", settings.keys);
    let keys = many_keys::make(&installation, 0, settings.keys)?;
    let service = installation.serve()?;
    let jobs = jobs::prepare(&service)?;
    let bare = bare::Bare::start(&installation, &jobs)?;
    let cells = rounds::run(&settings, &machine, &installation, &service, &bare, &jobs)?;
    drop(bare);
    println!("memory: {} s of load over {} keys", settings.growth_seconds, settings.keys);
    let memory = memory::measure(&settings, &installation, &service, &jobs, &keys)?;
    service.stop()?;
    let start = start::measure(&settings, &installation)?;
    let report = report::Report { machine, settings, cells, memory, start };
    report.print();
    report.write()
}
