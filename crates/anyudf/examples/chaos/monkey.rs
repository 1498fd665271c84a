//! The monkey: kills and stops workers, and looks what becomes of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyudf_engine::{Dispatcher, WorkerState};
use rustix::process::Signal;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::NEVER;
use crate::ledger::Ledger;
use crate::plan::Random;
use crate::processes::{Process, workers};

/// What the monkey has done.
#[derive(Default)]
pub(crate) struct Mischief {
    pub(crate) killed: u64,
    pub(crate) stopped: u64,
    pub(crate) continued: u64,
    /// From the kill of a worker that served until a session ran in one that was started after it.
    pub(crate) recoveries: Vec<Duration>,
    /// Kills after which no such session was seen before the calls were over.
    pub(crate) unseen: u64,
}

/// What became of a worker that was stopped.
enum Stopped {
    Continued,
    Ended,
    Neglected(u32),
}

/// One of it, until then. Returns when nothing is stopped any more.
pub(crate) async fn monkey(
    until: Instant,
    dispatcher: Dispatcher,
    mut random: Random,
    ledger: Arc<Ledger>,
) -> Mischief {
    let mut mischief = Mischief::default();
    let (mut kills, mut stops) = (JoinSet::new(), JoinSet::new());
    while Instant::now() < until {
        sleep(Duration::from_millis(20 + random.below(400))).await;
        // Any of them: also one that does not answer yet, or is being ended.
        let known = workers();
        if known.is_empty() {
            continue;
        }
        let victim = known[random.below(known.len() as u64) as usize].clone();
        if random.below(4) == 0 {
            let pause = (random.below(2) == 0).then(|| Duration::from_millis(random.below(1000)));
            // Whoever stopped it before waits for what becomes of it.
            if ledger.lock().is_stopped(&victim.id) {
                continue;
            }
            ledger.lock().stop(&victim.id);
            if victim.signal(Signal::STOP) {
                mischief.stopped += 1;
                stops.spawn(stopped(victim, pause, Arc::clone(&ledger)));
            }
        } else {
            let serves = serving(&dispatcher).await.contains(&victim.pid);
            ledger.lock().kill(&victim.id);
            if victim.signal(Signal::KILL) {
                mischief.killed += 1;
                if serves {
                    let known = known.iter().map(|worker| worker.pid).collect();
                    kills.spawn(recovery(until, dispatcher.clone(), known));
                }
            }
        }
    }
    while let Some(recovery) = kills.join_next().await {
        match recovery.expect("watching does not panic") {
            Some(took) => mischief.recoveries.push(took),
            None => mischief.unseen += 1,
        }
    }
    while let Some(stopped) = stops.join_next().await {
        match stopped.expect("watching does not panic") {
            Stopped::Continued => mischief.continued += 1,
            Stopped::Ended => {}
            Stopped::Neglected(pid) => {
                let example = || format!("process {pid}, for {NEVER:?}");
                ledger.lock().findings.add("stopped workers that are not ended", example);
            }
        }
    }
    mischief
}

/// How long it takes from now until a session runs in a worker that is not among the `known`.
async fn recovery(until: Instant, dispatcher: Dispatcher, known: Vec<u32>) -> Option<Duration> {
    let began = Instant::now();
    while serving(&dispatcher).await.iter().all(|pid| known.contains(pid)) {
        if Instant::now() > until {
            return None; // perhaps nobody asks any more
        }
        sleep(Duration::from_millis(1)).await;
    }
    Some(began.elapsed())
}

/// Waits until a stopped worker is ended, or continues it after the pause.
async fn stopped(victim: Process, pause: Option<Duration>, ledger: Arc<Ledger>) -> Stopped {
    let began = Instant::now();
    loop {
        sleep(Duration::from_millis(5)).await;
        if !victim.is_alive() {
            return Stopped::Ended;
        }
        if pause.is_some_and(|pause| began.elapsed() >= pause) && victim.signal(Signal::CONT) {
            ledger.lock().continued(&victim.id);
            return Stopped::Continued;
        }
        if began.elapsed() > NEVER {
            return Stopped::Neglected(victim.pid);
        }
    }
}

/// The workers that run sessions.
async fn serving(dispatcher: &Dispatcher) -> Vec<u32> {
    let workers = dispatcher.stats().await.unwrap_or_default().workers;
    let serving = workers.iter().filter(|worker| worker.state == WorkerState::Ready && worker.sessions > 0);
    serving.filter_map(|worker| worker.pid).collect()
}
