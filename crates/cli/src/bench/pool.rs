//! `anyudf bench pool`: what a session costs through the dispatcher, with workers that are reused and without.

use std::time::{Duration, Instant};

use anyudf_engine::{Dispatcher, DispatcherConfig, Init, PoolConfig, WorkerCommand, WorkerPlan};
use tokio::task::JoinSet;

use super::latency::sampled;
use super::report::{Latency, Rate, Report};
use crate::failure::Result;
use crate::io::Io;

/// Sessions that are timed with reuse.
const REUSED: usize = 1_000;

/// The same without, where each takes a process: fewer, and what a thousand would take is reckoned from them.
const FRESH: usize = 100;

/// How long sessions are counted.
const COUNTED: Duration = Duration::from_secs(3);

/// Callers that ask at once while sessions are counted.
const CALLERS: usize = 16;

/// Measures all of it.
///
/// # Errors
/// How a session or a worker failed.
pub(super) fn measure(io: &Io, command: &WorkerCommand, report: &Report) -> Result {
    report.latency_heading()?;
    report.latency(&io.wait_or_interrupt(warm_open(command))??)?;
    report.latency(&io.wait_or_interrupt(cold_start(command))??)?;
    report.rate_heading()?;
    for workers in [1, 4] {
        report.rate(&io.wait_or_interrupt(sessions_a_second(command, workers))??)?;
    }
    let reused = io.wait_or_interrupt(one_after_the_other(command, true, REUSED))??;
    report.rate(&Rate::of_sessions("with_reuse", REUSED, reused))?;
    let fresh = io.wait_or_interrupt(one_after_the_other(command, false, FRESH))??;
    report.rate(&Rate::of_sessions("without_reuse", FRESH, fresh))?;
    Ok(())
}

/// Workers of the bundled functions: at most `most`, each for one session at a time.
fn dispatcher(command: &WorkerCommand, most: usize, supports_reuse: bool) -> Result<Dispatcher> {
    let plan = WorkerPlan { supports_reuse, supports_concurrent_udfs: false, ..WorkerPlan::from(command.clone()) };
    let pool = PoolConfig { max_workers: most, ..PoolConfig::default() };
    Ok(Dispatcher::with_plan(plan, DispatcherConfig { pool, ..DispatcherConfig::default() })?)
}

/// A whole session that does nothing.
async fn session(dispatcher: &Dispatcher) -> Result {
    let (input, mut output) = dispatcher.open(Init::new("echo", "")).await?.split();
    input.finish().await?;
    while output.next().await?.is_some() {}
    output.close().await?;
    Ok(())
}

/// From asking for a session to its InitResponse, with a worker that is up and idle.
async fn warm_open(command: &WorkerCommand) -> Result<Latency> {
    let dispatcher = dispatcher(command, 1, true)?;
    let measured = sampled("pool_warm_open", 1_000, async || {
        let began = Instant::now();
        let session = dispatcher.open(Init::new("echo", "")).await?;
        let took = began.elapsed();
        session.close().await;
        Ok(took)
    })
    .await;
    dispatcher.close().await;
    measured
}

/// From a dispatcher without workers to the InitResponse of its first session.
async fn cold_start(command: &WorkerCommand) -> Result<Latency> {
    sampled("pool_cold_start", 40, async || {
        let began = Instant::now();
        let dispatcher = dispatcher(command, 1, true)?;
        let session = dispatcher.open(Init::new("echo", "")).await?;
        let took = began.elapsed();
        session.close().await;
        dispatcher.close().await;
        Ok(took)
    })
    .await
}

/// How many sessions end in a while, with callers that wait for one of `workers`.
async fn sessions_a_second(command: &WorkerCommand, workers: usize) -> Result<Rate> {
    let dispatcher = dispatcher(command, workers, true)?;
    session(&dispatcher).await?;
    let began = Instant::now();
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        let dispatcher = dispatcher.clone();
        callers.spawn(async move {
            let mut sessions = 0;
            while began.elapsed() < COUNTED {
                session(&dispatcher).await?;
                sessions += 1;
            }
            Ok::<usize, crate::failure::Failure>(sessions)
        });
    }
    let mut sessions = 0;
    while let Some(caller) = callers.join_next().await {
        sessions += caller.expect("a caller does not panic")?;
    }
    let took = began.elapsed();
    dispatcher.close().await;
    Ok(Rate::of_sessions(if workers == 1 { "one_worker" } else { "four_workers" }, sessions, took))
}

/// How long `sessions` take, one after the other.
async fn one_after_the_other(command: &WorkerCommand, reuse: bool, sessions: usize) -> Result<Duration> {
    let dispatcher = dispatcher(command, 4, reuse)?;
    let began = Instant::now();
    for _ in 0..sessions {
        session(&dispatcher).await?;
    }
    let took = began.elapsed();
    dispatcher.close().await;
    Ok(took)
}
