//! The processes of this run, as the system sees them: also those that the dispatcher does not speak of.

use std::env;
use std::fs;
use std::process;

use rustix::process::{Pid, Signal, kill_process};

/// Set for the processes that are workers, to the process that runs the chaos: another run's workers are none of ours.
pub(crate) const MARK: &str = "ANYUDF_CHAOS_WORKER";

/// Whether this process is a worker.
pub(crate) fn is_worker() -> bool {
    env::var_os(MARK).is_some()
}

/// The value of [`MARK`] for workers of this process.
pub(crate) fn mark() -> String {
    process::id().to_string()
}

/// The workers that run, whatever they do: starting, serving, ending, stopped.
pub(crate) fn workers() -> Vec<u32> {
    all().filter(|&pid| is_ours(pid)).collect()
}

/// Whether it is a worker of this run, and runs. Of a zombie nobody can say any more what it was.
pub(crate) fn is_ours(pid: u32) -> bool {
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    let sought = format!("{MARK}={}", mark());
    environment.split(|&byte| byte == 0).any(|variable| variable == sought.as_bytes())
}

/// All children of this process, zombies too.
pub(crate) fn children() -> Vec<u32> {
    let is_child = |&pid: &u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // Behind the name, which may hold anything, come the state and the parent.
        let parent = stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(1)?.parse().ok());
        parent == Some(process::id())
    };
    all().filter(is_child).collect()
}

/// Sends a signal to a worker of ours. Says whether it was still there.
pub(crate) fn signal(pid: u32, signal: Signal) -> bool {
    let target = i32::try_from(pid).ok().and_then(Pid::from_raw);
    target.is_some_and(|target| is_ours(pid) && kill_process(target, signal).is_ok())
}

fn all() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}
