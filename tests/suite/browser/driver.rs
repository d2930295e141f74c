//! chromedriver, with a Chromium of its own.

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};

/// The longest that its start may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// chromedriver, running in a process group of its own, which is killed on drop: a test that panics leaves no browser behind.
#[derive(Debug)]
pub(super) struct Driver {
    child: Child,
    port: u16,
}

impl Driver {
    pub(super) fn start() -> Self {
        let mut command = Command::new("chromedriver");
        command.arg("--port=0").process_group(0).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("chromedriver: scripts/install test installs it");
        let (found, port) = std::sync::mpsc::channel();
        let lines = BufReader::new(child.stdout.take().expect("stdout")).lines();
        std::thread::spawn(move || {
            // Read to the end, so that it never waits for us.
            for line in lines.map_while(Result::ok) {
                if let Some((_, port)) = line.split_once("started successfully on port ") {
                    let _ = found.send(port.trim_end_matches('.').parse::<u16>().expect("a port"));
                }
            }
        });
        let mut driver = Self { child, port: 0 };
        driver.port = port.recv_timeout(PATIENCE).expect("chromedriver says its port");
        driver
    }

    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        if let Some(group) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.child.wait();
    }
}
