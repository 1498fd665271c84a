//! How a dispatcher stands, as plain structs.

use std::time::Duration;

use crate::pool::words::PoolSnapshot;

/// A dispatcher at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DispatcherStats {
    /// Its workers, in the order in which they were started.
    pub workers: Vec<WorkerStats>,
    /// Sessions that run.
    pub sessions: usize,
    /// Callers that wait for a worker.
    pub waiting: usize,
    /// Workers that were to be started, so far.
    pub starts: u64,
    /// Starts that failed.
    pub failed_starts: u64,
    /// Workers that died by themselves, or had to be given up.
    pub crashes: u64,
    /// Callers that got a session.
    pub granted: u64,
    /// Callers that were told that they get none.
    pub refused: u64,
    /// How long the callers that got one have waited, together.
    pub waited: Duration,
    /// The longest of these waits.
    pub longest_wait: Duration,
}

/// One worker of a dispatcher.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerStats {
    /// Its id: the value of `--id`, which log lines carry (P1, D4). `None` until it answers.
    pub id: Option<String>,
    /// Its process, once it answers.
    pub pid: Option<u32>,
    /// What it does.
    pub state: WorkerState,
    /// Sessions that it runs.
    pub sessions: usize,
    /// Its resident memory in bytes, as its last heartbeat told.
    pub resident: Option<u64>,
}

/// What a worker of a dispatcher does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WorkerState {
    /// It was started and does not answer yet.
    Starting,
    /// It answers.
    Ready,
    /// It is being ended.
    Ending,
}

impl DispatcherStats {
    pub(super) fn new(snapshot: PoolSnapshot, workers: Vec<WorkerStats>) -> Self {
        let PoolSnapshot { sessions, waiting, totals, .. } = snapshot;
        DispatcherStats {
            workers,
            sessions,
            waiting,
            starts: totals.starts,
            failed_starts: totals.failed_starts,
            crashes: totals.crashes,
            granted: totals.granted,
            refused: totals.refused,
            waited: totals.waited,
            longest_wait: totals.longest_wait,
        }
    }
}
