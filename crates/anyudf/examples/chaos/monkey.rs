//! The monkey: kills and stops workers, and looks what becomes of it.

use std::time::{Duration, Instant};

use anyudf_engine::{Dispatcher, WorkerState};
use rustix::process::Signal;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::NEVER;
use crate::plan::Random;
use crate::processes::{is_ours, signal, workers};

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
    /// When workers were stopped.
    pub(crate) stops: Vec<(Instant, Instant)>,
    /// Stopped workers that were neither continued nor ended.
    pub(crate) neglected: u64,
}

/// What became of a worker that was stopped.
enum Stopped {
    Continued,
    Ended,
    Neglected,
}

/// One of it, until then. Returns when nothing is stopped any more.
pub(crate) async fn monkey(until: Instant, dispatcher: Dispatcher, mut random: Random) -> Mischief {
    let mut mischief = Mischief::default();
    let (mut kills, mut stops) = (JoinSet::new(), JoinSet::new());
    while Instant::now() < until {
        sleep(Duration::from_millis(20 + random.below(400))).await;
        // Any of them: also one that does not answer yet, or is being ended.
        let known = workers();
        if known.is_empty() {
            continue;
        }
        let pid = known[random.below(known.len() as u64) as usize];
        if random.below(4) == 0 {
            let pause = (random.below(2) == 0).then(|| Duration::from_millis(random.below(1000)));
            if signal(pid, Signal::STOP) {
                mischief.stopped += 1;
                stops.spawn(stopped(pid, pause));
            }
        } else {
            let serves = serving(&dispatcher).await.contains(&pid);
            if signal(pid, Signal::KILL) {
                mischief.killed += 1;
                if serves {
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
        let (what, interval) = stopped.expect("watching does not panic");
        mischief.stops.push(interval);
        match what {
            Stopped::Continued => mischief.continued += 1,
            Stopped::Ended => {}
            Stopped::Neglected => mischief.neglected += 1,
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
async fn stopped(pid: u32, pause: Option<Duration>) -> (Stopped, (Instant, Instant)) {
    let began = Instant::now();
    let what = loop {
        sleep(Duration::from_millis(5)).await;
        if !is_ours(pid) {
            break Stopped::Ended;
        }
        if pause.is_some_and(|pause| began.elapsed() >= pause) && signal(pid, Signal::CONT) {
            break Stopped::Continued;
        }
        if began.elapsed() > NEVER {
            break Stopped::Neglected;
        }
    };
    (what, (began, Instant::now()))
}

/// The workers that run sessions.
async fn serving(dispatcher: &Dispatcher) -> Vec<u32> {
    let workers = dispatcher.stats().await.unwrap_or_default().workers;
    let serving = workers.iter().filter(|worker| worker.state == WorkerState::Ready && worker.sessions > 0);
    serving.filter_map(|worker| worker.pid).collect()
}
