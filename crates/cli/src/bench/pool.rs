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
    report.latency(&with_dispatcher(io, command, 1, true, warm_open)?)?;
    report.latency(&io.wait_or_interrupt(cold_start(command))??)?;
    report.rate_heading()?;
    for workers in [1, 4] {
        let rate = async |dispatcher: &Dispatcher| sessions_a_second(dispatcher, workers).await;
        report.rate(&with_dispatcher(io, command, workers, true, rate)?)?;
    }
    for (mode, supports_reuse, sessions) in [("with_reuse", true, REUSED), ("without_reuse", false, FRESH)] {
        let turns = async |dispatcher: &Dispatcher| one_after_the_other(dispatcher, sessions).await;
        let took = with_dispatcher(io, command, 4, supports_reuse, turns)?;
        report.rate(&Rate::of_sessions(mode, sessions, took))?;
    }
    Ok(())
}

/// Measures with a dispatcher of at most `most` workers, and ends these, also when measuring fails or is interrupted.
fn with_dispatcher<T>(
    io: &Io,
    command: &WorkerCommand,
    most: usize,
    supports_reuse: bool,
    measure: impl AsyncFnOnce(&Dispatcher) -> Result<T>,
) -> Result<T> {
    let dispatcher = io.wait(async { dispatcher(command, most, supports_reuse) })?;
    let measured = io.wait_or_interrupt(measure(&dispatcher));
    io.wait_unless_insisted(dispatcher.close());
    measured?
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
async fn warm_open(dispatcher: &Dispatcher) -> Result<Latency> {
    sampled("pool_warm_open", 1_000, async || {
        let began = Instant::now();
        let session = dispatcher.open(Init::new("echo", "")).await?;
        let took = began.elapsed();
        session.close().await;
        Ok(took)
    })
    .await
}

/// From a dispatcher without workers to the InitResponse of its first session.
async fn cold_start(command: &WorkerCommand) -> Result<Latency> {
    sampled("pool_cold_start", 40, async || {
        let began = Instant::now();
        let dispatcher = dispatcher(command, 1, true)?;
        let opened = dispatcher.open(Init::new("echo", "")).await;
        let took = began.elapsed();
        if let Ok(session) = &opened {
            session.control().close().await;
        }
        dispatcher.close().await;
        opened?;
        Ok(took)
    })
    .await
}

/// Starts so many workers, each of which serves one session at a time: by as many sessions at once.
async fn warm_up(dispatcher: &Dispatcher, workers: usize) -> Result {
    let mut opening = JoinSet::new();
    for _ in 0..workers {
        let dispatcher = dispatcher.clone();
        opening.spawn(async move { dispatcher.open(Init::new("echo", "")).await });
    }
    let mut sessions = Vec::with_capacity(workers);
    while let Some(opened) = opening.join_next().await {
        sessions.push(opened.expect("opening a session does not panic")?);
    }
    // Not before all are open: one that has ended makes room in its worker for the next.
    for session in sessions {
        session.close().await;
    }
    Ok(())
}

/// How many sessions end in a while, with callers that wait for one of `workers`.
async fn sessions_a_second(dispatcher: &Dispatcher, workers: usize) -> Result<Rate> {
    warm_up(dispatcher, workers).await?;
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
    Ok(Rate::of_sessions(if workers == 1 { "one_worker" } else { "four_workers" }, sessions, took))
}

/// How long `sessions` take, one after the other.
async fn one_after_the_other(dispatcher: &Dispatcher, sessions: usize) -> Result<Duration> {
    let began = Instant::now();
    for _ in 0..sessions {
        session(dispatcher).await?;
    }
    Ok(began.elapsed())
}

#[cfg(test)]
mod tests {
    use anyudf_engine::WorkerState;

    use super::*;
    use crate::failure::Failure;
    use crate::test_worker;

    /// All of them are up before sessions are counted.
    #[test]
    fn four_workers_are_warm_before_they_are_measured() {
        let io = Io::start().expect("a runtime");
        let stats = with_dispatcher(&io, &test_worker::command(), 4, true, async |dispatcher| {
            warm_up(dispatcher, 4).await?;
            Ok(dispatcher.stats().await.expect("it is open"))
        });
        let stats = stats.expect("they start");
        let up = stats.workers.iter().filter(|worker| !matches!(worker.state, WorkerState::Starting));
        assert_eq!((up.count(), stats.starts), (4, 4));
    }

    /// What fails midway leaves no worker to be killed at the end.
    #[test]
    fn a_measurement_that_fails_closes_its_dispatcher() {
        let (io, mut kept) = (Io::start().expect("a runtime"), None);
        let failed = with_dispatcher(&io, &test_worker::command(), 1, true, async |dispatcher| {
            kept = Some(dispatcher.clone());
            warm_up(dispatcher, 1).await?;
            Err::<(), _>(Failure::failed("midway"))
        });
        assert!(failed.is_err());
        assert!(io.wait(kept.expect("it was begun").stats()).is_none(), "it is closed");
    }
}
