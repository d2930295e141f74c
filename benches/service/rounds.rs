//! Round after round: token, bare HTTPS and service in turn, so that what else the machine does meets all three.

use serde::Serialize;

use crate::Problem;
use crate::bare::Bare;
use crate::installation::{Installation, Service};
use crate::jobs::{Job, Kind};
use crate::load::{Load, Script};
use crate::machine::Machine;
use crate::raw_token;
use crate::sample::{Sample, median};
use crate::settings::Settings;

/// One kind of work at one number of connections.
#[derive(Debug, Serialize)]
pub(crate) struct Cell {
    pub(crate) kind: Kind,
    pub(crate) connections: usize,
    /// Threads of the token's own measurement.
    pub(crate) threads: usize,
    pub(crate) token: Sample,
    pub(crate) bare: Sample,
    pub(crate) skm: Sample,
    /// Medians of each round's own ratio and difference.
    pub(crate) to_token: f64,
    pub(crate) to_bare: f64,
    pub(crate) added_p50_us: f64,
    pub(crate) added_p99_us: f64,
    /// What the medians are of: token, bare, skm.
    pub(crate) rounds: Vec<[Sample; 3]>,
}

impl Cell {
    fn new(kind: Kind, connections: usize, threads: usize, rounds: Vec<[Sample; 3]>) -> Self {
        let over = |figure: fn(&[Sample; 3]) -> f64| median(rounds.iter().map(figure).collect());
        let of = |pick: fn(&[Sample; 3]) -> Sample| Sample::median(&rounds.iter().map(pick).collect::<Vec<_>>());
        Self {
            kind,
            connections,
            threads,
            token: of(|[token, _, _]| *token),
            bare: of(|[_, bare, _]| *bare),
            skm: of(|[_, _, skm]| *skm),
            to_token: over(|[token, _, skm]| skm.per_second / token.per_second),
            to_bare: over(|[_, bare, skm]| skm.per_second / bare.per_second),
            added_p50_us: over(|[token, _, skm]| skm.p50_us - token.p50_us),
            added_p99_us: over(|[token, _, skm]| skm.p99_us - token.p99_us),
            rounds,
        }
    }
}

/// What is measured with.
struct Bench<'a> {
    settings: &'a Settings,
    machine: &'a Machine,
    installation: &'a Installation,
    service: &'a Service<'a>,
    bare: &'a Bare,
}

/// Measures everything.
pub(crate) fn run(
    settings: &Settings,
    machine: &Machine,
    installation: &Installation,
    service: &Service<'_>,
    bare: &Bare,
    jobs: &[Job],
) -> Result<Vec<Cell>, Problem> {
    let bench = Bench { settings, machine, installation, service, bare };
    let chosen = |job: &&Job| settings.jobs.as_ref().is_none_or(|names| names.iter().any(|name| name == job.kind.as_str()));
    let mut cells: Vec<(&Job, Script, usize, Vec<[Sample; 3]>)> = Vec::new();
    for job in jobs.iter().filter(chosen) {
        for connections in &settings.connections {
            let file = installation.directory.join(format!("{}-{connections}.lua", job.kind.as_str()));
            cells.push((job, Script::write(file, std::slice::from_ref(&job.path), &job.request)?, *connections, Vec::new()));
        }
    }
    if cells.is_empty() {
        return Err("there is nothing to measure: SKM_BENCH_JOBS are encrypt, decrypt, sign, verify".into());
    }
    bench.warm_up(&cells)?;
    for round in 1..=settings.rounds {
        println!("round {round} of {}", settings.rounds);
        for (job, script, connections, samples) in &mut cells {
            let sample = bench.once(job.kind, script, *connections);
            samples.push(sample.map_err(|problem| bench.explain(&problem))?);
        }
    }
    Ok(cells.into_iter().map(|(job, _, connections, samples)| Cell::new(job.kind, connections, bench.token_threads(connections), samples)).collect())
}

impl Bench<'_> {
    /// A problem, and whether one of the processes is to blame.
    fn explain(&self, problem: &Problem) -> Problem {
        format!("{problem}; bare HTTPS {}; skm serve {}", self.bare.process.state(), self.service.process.state()).into()
    }

    /// As many as connections, cores at most: more only wait for each other.
    fn token_threads(&self, connections: usize) -> usize {
        connections.min(self.machine.cores)
    }

    fn load<'l>(&'l self, address: &'l str, script: &'l Script, connections: usize) -> Load<'l> {
        Load { address, script, connections, threads: self.machine.cores, duration: self.settings.measurement }
    }

    /// Caches, connections of the database, the sizes of the log: as after a while of work.
    fn warm_up(&self, cells: &[(&Job, Script, usize, Vec<[Sample; 3]>)]) -> Result<(), Problem> {
        for (_, script, connections, _) in cells {
            let second = std::time::Duration::from_secs(1);
            Load { duration: second, ..self.load(&self.service.address, script, *connections) }.run()?;
        }
        Ok(())
    }

    fn once(&self, kind: Kind, script: &Script, connections: usize) -> Result<[Sample; 3], Problem> {
        let token = raw_token::measure(self.installation, kind, self.token_threads(connections), self.settings.measurement)?;
        let bare = self.load(&self.bare.address, script, connections).run()?;
        let skm = self.load(&self.service.address, script, connections).run()?;
        Ok([token, bare, skm])
    }
}
