//! The processes of this run, as the system sees them: also those that the dispatcher does not speak of.

use std::env;
use std::fs;
use std::process;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::time::sleep;

use crate::ledger::Ledger;

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

/// A process that is a worker of this run.
#[derive(Clone)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    /// The value of `--id` (P1).
    pub(crate) id: String,
}

impl Process {
    fn find(pid: u32) -> Option<Self> {
        // Of a zombie nobody can say any more what it was.
        let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
        let sought = format!("{MARK}={}", mark());
        environment.split(|&byte| byte == 0).find(|variable| *variable == sought.as_bytes())?;
        let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).ok()?;
        let id = line.split('\0').skip_while(|word| *word != "--id").nth(1)?.into();
        Some(Process { pid, id })
    }

    /// Whether it still runs, whatever it does.
    pub(crate) fn is_alive(&self) -> bool {
        Process::find(self.pid).is_some_and(|now| now.id == self.id)
    }

    /// Sends it a signal. Says whether it was still there.
    pub(crate) fn signal(&self, signal: Signal) -> bool {
        let target = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
        target.is_some_and(|target| self.is_alive() && kill_process(target, signal).is_ok())
    }
}

/// The workers that run, whatever they do: starting, serving, ending, stopped.
pub(crate) fn workers() -> Vec<Process> {
    all().filter_map(Process::find).collect()
}

/// Counts the workers again and again, for as long as it is left to.
pub(crate) async fn count(ledger: Arc<Ledger>) {
    loop {
        // The first look takes its time, and one may have ended and another begun in it. Those that are still there
        // afterwards were there together.
        let together = workers().iter().filter(|worker| worker.is_alive()).count();
        ledger.lock().seen(together);
        sleep(Duration::from_millis(20)).await;
    }
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

fn all() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}
