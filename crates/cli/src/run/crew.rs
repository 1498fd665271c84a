//! The worker processes of a run.
//!
//! Sessions share one process as far as it announced that it serves several at once (M6, D8): its functions run on
//! threads of their own, so they are as parallel as in processes of their own. Measured with the bundled worker over
//! three million rows on two cores, means of three runs: two sessions take 0.34 s in one process and 0.40 s in two, four
//! take 0.29 s and 0.42 s, and the memory is about half. A worker that announces nothing gets a process a session, as
//! Spark does it.

use std::time::Duration;

use anyudf_engine::{Error, Init, OpenSession, Worker, WorkerCommand, WorkerConfig};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::failure::Result;

/// How long a worker may take to end by itself when we are in a hurry.
const HURRY: Duration = Duration::from_secs(1);

/// The processes, started as they are needed.
#[derive(Debug)]
pub(super) struct Crew {
    command: WorkerCommand,
    config: WorkerConfig,
    workers: Vec<Worker>,
}

impl Crew {
    /// Starts the first worker.
    ///
    /// # Errors
    /// It does not start, or does not answer.
    ///
    /// # Cancel safety
    /// Dropping the future ends the process.
    pub(super) async fn start(command: WorkerCommand, config: WorkerConfig) -> Result<Self> {
        let first = Worker::start(&command, config.clone()).await?;
        Ok(Crew { command, config, workers: vec![first] })
    }

    /// The worker that was started first.
    pub(super) fn first(&self) -> &Worker {
        &self.workers[0]
    }

    /// Opens `jobs` sessions at once, in as many processes as that takes.
    ///
    /// # Errors
    /// The first failure; the sessions that were opened are cancelled.
    ///
    /// # Cancel safety
    /// Dropping the future cancels the sessions.
    pub(super) async fn open(&mut self, init: &Init, jobs: usize) -> Result<Vec<OpenSession>, Error> {
        let at_once = self.first().announced().max_sessions.unwrap_or(1).max(1);
        let mut starting = JoinSet::new();
        for _ in self.workers.len()..jobs.div_ceil(at_once) {
            let (command, config) = (self.command.clone(), self.config.clone());
            starting.spawn(async move { Worker::start(&command, config).await });
        }
        while let Some(started) = starting.join_next().await {
            self.workers.push(started.expect("starting a worker does not panic")?);
        }
        let mut opening = JoinSet::new();
        for job in 0..jobs {
            let (worker, init) = (self.workers[job / at_once].clone(), init.clone());
            opening.spawn(async move { worker.open(init).await });
        }
        let mut sessions = Vec::with_capacity(jobs);
        while let Some(opened) = opening.join_next().await {
            sessions.push(opened.expect("opening a session does not panic")?);
        }
        Ok(sessions)
    }

    /// The most memory that the processes have had resident together, in bytes; `None` where the system does not say.
    pub(super) fn peak_memory(&self) -> Option<u64> {
        self.workers.iter().map(|worker| peak_memory(&worker.pid()?.to_string())).sum()
    }

    /// How many processes there are.
    pub(super) fn processes(&self) -> usize {
        self.workers.len()
    }

    /// Ends the processes (D7), all at once.
    ///
    /// # Errors
    /// The system does not let go of one.
    pub(super) async fn end(self) -> Result {
        let mut ending: JoinSet<_> = self.workers.into_iter().map(|worker| async move { worker.end().await }).collect();
        while let Some(ended) = ending.join_next().await {
            ended.expect("ending a worker does not panic")?;
        }
        Ok(())
    }

    /// Ends the processes after a failure: what does not end by itself soon is killed, and nothing more is said.
    pub(super) async fn abandon(self) {
        // Dropping the future kills them, and what went wrong was said already.
        let _ = timeout(HURRY, self.end()).await;
    }
}

/// The most memory that a process, `self` or by its number, has had resident, in bytes.
pub(super) fn peak_memory(process: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = peak.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes << 10)
}
