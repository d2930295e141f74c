//! What is measured on: cores, file system, the time of one fsync.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use serde::Serialize;

use crate::Problem;
use crate::sample::Sample;

/// File systems in memory, on which nothing is durable.
const IN_MEMORY: [&str; 3] = ["tmpfs", "ramfs", "devtmpfs"];
/// How often one fsync is measured.
const SYNCS: usize = 300;
/// What a commit of a few audit records writes: pages of SQLite's write-ahead log, over an older part of that file.
const SYNC_BYTES: usize = 16 * 1024;
const SYNC_FILE_BYTES: usize = 4 * 1024 * 1024;

/// The machine, as far as it explains the figures.
#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    pub(crate) cores: usize,
    pub(crate) cpu: String,
    pub(crate) directory: PathBuf,
    pub(crate) file_system: String,
    /// Of a write over an existing part of a file, the write included.
    pub(crate) fsync: Sample,
    /// Runnable processes over the last minute, when the bench began.
    pub(crate) load_average: f64,
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} cores ({}), load average {:.1}; {} on {}: fsync {:.0} µs (median), {:.0} µs (p99)",
            self.cores,
            self.cpu,
            self.load_average,
            self.directory.display(),
            self.file_system,
            self.fsync.p50_us,
            self.fsync.p99_us
        )
    }
}

/// Says what is missing, before anything is begun.
pub(crate) fn require_programs() -> Result<(), Problem> {
    // wrk without arguments prints its usage and ends with an error.
    let wrk = Command::new("wrk").stdout(Stdio::null()).stderr(Stdio::null()).status();
    wrk.map_err(|error| format!("wrk can't be run ({error}): it makes the load; on Debian and Ubuntu: apt-get install wrk"))?;
    let softhsm = Command::new("softhsm2-util").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    softhsm.map_err(|error| format!("SoftHSM2 is missing ({error}): it is the token; on Debian and Ubuntu: apt-get install softhsm2"))?;
    Ok(())
}

/// Looks at the machine and at the disk that `directory` is on.
pub(crate) fn look_at(directory: &Path) -> Result<Machine, Problem> {
    fs::create_dir_all(directory)?;
    let directory = directory.canonicalize()?;
    let file_system = file_system_of(&directory)?;
    if IN_MEMORY.contains(&file_system.as_str()) {
        return Err(format!("{} is on {file_system}: the bench needs a disk; name another directory by SKM_BENCH_DIRECTORY", directory.display()).into());
    }
    let cpu_info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu_info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    Ok(Machine {
        cores: std::thread::available_parallelism()?.get(),
        cpu: model.map_or("unknown", |(_, name)| name.trim()).to_owned(),
        fsync: time_of_fsync(&directory)?,
        directory,
        file_system,
        load_average: load.split(' ').next().and_then(|text| text.parse().ok()).unwrap_or(f64::NAN),
    })
}

/// The type of the file system that is mounted nearest above `directory`.
fn file_system_of(directory: &Path) -> Result<String, Problem> {
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    let mounted = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ').skip(1);
        Some((Path::new(words.next()?), words.next()?))
    });
    // Of two mounts on the same place the later one covers the other.
    let nearest = mounted.filter(|(place, _)| directory.starts_with(place)).max_by_key(|(place, _)| place.components().count());
    nearest.map(|(_, kind)| kind.to_owned()).ok_or_else(|| format!("no file system is mounted above {}", directory.display()).into())
}

fn time_of_fsync(directory: &Path) -> Result<Sample, Problem> {
    let path = directory.join("fsync");
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).open(&path)?;
    file.write_all(&vec![1; SYNC_FILE_BYTES])?;
    file.sync_all()?;
    let page = vec![2; SYNC_BYTES];
    let mut nanos = Vec::with_capacity(SYNCS);
    let began = Instant::now();
    for number in 0..SYNCS {
        let offset = number * SYNC_BYTES % SYNC_FILE_BYTES;
        let start = Instant::now();
        file.seek(SeekFrom::Start(u64::try_from(offset)?))?;
        file.write_all(&page)?;
        file.sync_all()?;
        nanos.push(u64::try_from(start.elapsed().as_nanos())?);
    }
    let sample = Sample::of(nanos, began.elapsed().as_secs_f64());
    fs::remove_file(&path)?;
    sample
}
