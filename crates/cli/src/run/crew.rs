//! The worker processes of a run: a dispatcher, and what is asked of it.
//!
//! Sessions share one process as far as it announced that it serves several at once (M6, D8): its functions run on
//! threads of their own, so they are as parallel as in processes of their own. Measured with the bundled worker over
//! three million rows on two cores, means of three runs: two sessions take 0.34 s in one process and 0.40 s in two, four
//! take 0.29 s and 0.42 s, and the memory is about half. A worker that announces nothing gets a process a session, as
//! Spark does it.

use std::time::Duration;

use anyudf_engine::{Dispatcher, DispatcherStats, Error, Init, OpenSession};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::failure::Result;
use crate::start::Start;

/// How long workers may take to end by themselves when we are in a hurry.
const HURRY: Duration = Duration::from_secs(1);

/// The processes, started as they are needed.
#[derive(Debug)]
pub(super) struct Crew {
    dispatcher: Dispatcher,
}

impl Crew {
    /// No process yet.
    ///
    /// # Errors
    /// Those of [`Start::dispatcher`].
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub(super) fn new(start: Start) -> Result<Self> {
        Ok(Crew { dispatcher: start.dispatcher()? })
    }

    /// Where sessions come from.
    pub(super) fn dispatcher(&self) -> &Dispatcher {
        &self.dispatcher
    }

    /// Opens `jobs` sessions at once, in as many processes as that takes.
    ///
    /// # Errors
    /// The first failure; the sessions that were opened are cancelled.
    ///
    /// # Cancel safety
    /// Dropping the future cancels the sessions.
    pub(super) async fn open(&self, init: &Init, jobs: usize) -> Result<Vec<OpenSession>, Error> {
        let mut opening = JoinSet::new();
        for _ in 0..jobs {
            let (dispatcher, init) = (self.dispatcher.clone(), init.clone());
            opening.spawn(async move { dispatcher.open(init).await });
        }
        let mut sessions = Vec::with_capacity(jobs);
        while let Some(opened) = opening.join_next().await {
            sessions.push(opened.expect("opening a session does not panic")?);
        }
        Ok(sessions)
    }

    /// How its processes are, and have been.
    pub(super) async fn stats(&self) -> DispatcherStats {
        self.dispatcher.stats().await.unwrap_or_default()
    }

    /// Ends the processes (D12), all at once.
    pub(super) async fn end(self) {
        self.dispatcher.close().await;
    }

    /// Ends the processes after a failure: what does not end by itself soon is killed, and nothing more is said.
    pub(super) async fn abandon(self) {
        // What is left then is killed when the runtime goes, and what went wrong was said already.
        let _ = timeout(HURRY, self.end()).await;
    }
}

/// The most memory that these processes have had resident together, in bytes; `None` where the system does not say.
pub(super) fn peak_memory_of(stats: &DispatcherStats) -> Option<u64> {
    stats.workers.iter().map(|worker| peak_memory(&worker.pid?.to_string())).sum()
}

/// The most memory that a process, `self` or by its number, has had resident, in bytes.
pub(super) fn peak_memory(process: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = peak.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes << 10)
}
