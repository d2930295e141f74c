//! The load: `wrk`, beside what it loads.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde::Deserialize;

use crate::Problem;
use crate::sample::Sample;

/// What the script prints when it is done. Every answer of the service that is no success has a status of 400 or more.
const DONE: &str = r#"
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format('{"requests":%d,"micros":%d,"failed":%d,"broken":%d,"p50":%d,"p99":%d}\n',
    summary.requests, summary.duration, e.status, e.connect + e.read + e.write + e.timeout,
    latency:percentile(50), latency:percentile(99)))
end
"#;

#[derive(Debug, Deserialize)]
struct Summary {
    requests: u64,
    micros: u64,
    failed: u64,
    broken: u64,
    p50: u64,
    p99: u64,
}

/// A script for wrk, in a file.
#[derive(Debug)]
pub(crate) struct Script(PathBuf);

impl Script {
    /// POSTs `body` to each of `paths` in turn.
    pub(crate) fn write(file: PathBuf, paths: &[String], body: &str) -> Result<Self, Problem> {
        let mut text = String::from("wrk.method = 'POST'\nwrk.headers['Content-Type'] = 'application/json; charset=utf-8'\n");
        // Neither JSON as we write it nor a path holds this closing bracket.
        writeln!(text, "wrk.body = [==[{body}]==]")?;
        if let [one] = paths {
            writeln!(text, "wrk.path = '{one}'")?;
        } else {
            text.push_str("local paths = {\n");
            for path in paths {
                writeln!(text, "'{path}',")?;
            }
            text.push_str("}\nlocal n = 0\nrequest = function()\n  n = n % #paths + 1\n  return wrk.format(nil, paths[n])\nend\n");
        }
        text.push_str(DONE);
        fs::write(&file, text)?;
        Ok(Self(file))
    }
}

/// Where and how much.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load<'a> {
    pub(crate) address: &'a str,
    pub(crate) script: &'a Script,
    pub(crate) connections: usize,
    pub(crate) threads: usize,
    pub(crate) duration: Duration,
}

impl Load<'_> {
    /// Makes the load and waits for its end.
    pub(crate) fn run(self) -> Result<Sample, Problem> {
        let running = self.start()?;
        outcome(running, &self.script.0)
    }

    /// Begins to make the load.
    pub(crate) fn start(self) -> Result<Child, Problem> {
        let mut command = Command::new("wrk");
        command.arg(format!("-t{}", self.threads.min(self.connections))).arg(format!("-c{}", self.connections));
        command.arg(format!("-d{}s", self.duration.as_secs().max(1))).arg("--timeout").arg("10s").arg("-s").arg(&self.script.0);
        Ok(command.arg(format!("https://{}/", self.address)).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn()?)
    }
}

/// What the load found; an error if any answer was no success.
pub(crate) fn outcome(running: Child, script: &Path) -> Result<Sample, Problem> {
    let output = running.wait_with_output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().find(|line| line.starts_with('{')).ok_or_else(|| format!("wrk: {}: {text}", output.status))?;
    let Summary { requests, micros, failed, broken, p50, p99 } = serde_json::from_str(line)?;
    if failed > 0 || broken > 0 || requests == 0 {
        return Err(format!("{}: of {requests} requests {failed} were refused and {broken} got no answer", script.display()).into());
    }
    let whole = |number: u64| crate::sample::micros(number.saturating_mul(1_000));
    Ok(Sample { per_second: whole(requests) / (whole(micros) / 1_000_000.0), p50_us: whole(p50), p99_us: whole(p99) })
}
