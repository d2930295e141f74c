//! The process itself: no core dumps, and the environment that a PKCS#11 module wants.

use std::collections::BTreeMap;
use std::env;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};

/// Turns core dumps off, and with them other processes' looks into this one's memory (`PR_SET_DUMPABLE`): a dump would hold
/// plaintexts and the PIN. Does not outlast `exec`, so it comes first in every start.
pub fn harden() -> io::Result<()> {
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    Ok(set_dumpable_behavior(DumpableBehavior::NotDumpable)?)
}

/// Raises the limit of open files to what the process may have; answers that, `None` for no limit.
pub fn raise_file_limit() -> io::Result<Option<u64>> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?;
    }
    Ok(limit.maximum)
}

/// Makes sure that `variables` are in this process's environment. Where one isn't, the process replaces itself with the same
/// program and arguments and the variables set (setting them in place is unsafe where threads read them), and this function
/// doesn't return. Call it before any thread is started or lock taken.
pub fn with_environment(variables: &BTreeMap<String, String>) -> io::Result<()> {
    let is_set = |(name, value): (&String, &String)| env::var_os(name).is_some_and(|set| set.as_os_str() == value.as_str());
    if variables.iter().all(is_set) {
        return Ok(());
    }
    let mut arguments = env::args_os();
    let name = arguments.next().unwrap_or_else(|| "skm".into());
    // /proc/self/exe is this very program even when its file was replaced meanwhile; while it wasn't, its path makes a name that
    // operators know in a process list.
    let program = env::current_exe().ok().filter(|path| path.is_file()).unwrap_or_else(|| "/proc/self/exe".into());
    Err(Command::new(program).arg0(name).args(arguments).envs(variables).exec())
}
