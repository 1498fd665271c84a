//! Many callers, few workers, and somebody who kills them.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use anyudf_engine::{Dispatcher, Error};
use rustix::process::Signal;
use tokio::task::JoinSet;

use crate::support::*;

/// Threads and descriptors of this process.
fn holdings() -> (usize, usize) {
    let entries = |path: &str| fs::read_dir(path).expect("procfs").count();
    (entries("/proc/self/task"), entries("/proc/self/fd"))
}

/// Three batches of the caller's own, there and back.
async fn call(dispatcher: Dispatcher, caller: usize) -> Result<(), Error> {
    let (mut input, mut output) = dispatcher.open(echo()).await?.split();
    for batch in 0..3 {
        let text = format!("caller {caller}, batch {batch}");
        input.send([text.clone().into()]).await?;
        assert_eq!(output.next().await?.as_deref(), Some(text.as_bytes()), "somebody else's answer");
    }
    input.finish().await?;
    assert_eq!(output.next().await?, None);
    output.close().await.map(|_| ())
}

/// D10: 500 callers for 4 workers that are killed at random: every call ends in a right result or a clear error, and nothing
/// is left over: no process, no socket, no thread, no descriptor. In a process of its own, so that these can be counted.
#[test]
fn d10_five_hundred_callers_while_workers_are_killed() {
    let ended = process("crowd").output().expect("it starts");
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
}

/// What that process does.
pub(crate) fn crowd() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    // What the first use of everything leaves for good is there before it is counted.
    let warm = runtime();
    warm.block_on(async {
        let (dispatcher, base) = dispatcher(&specification(), |_| {});
        serves(&dispatcher).await;
        close(dispatcher, &base).await;
    });
    drop(warm);
    let before = holdings();

    runtime().block_on(async {
        let (dispatcher, base) = dispatcher(&specification(), |config| {
            config.pool.max_workers = 4;
            config.pool.sessions_per_worker = Some(4);
            config.pool.backoff_initial = Duration::from_millis(1);
            config.pool.backoff_max = Duration::from_millis(20);
            config.pool.start_attempts = 20;
        });
        let mut calls = JoinSet::new();
        for caller in 0..500 {
            calls.spawn(call(dispatcher.clone(), caller));
        }
        let (over, kills) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
        let monkey = tokio::spawn({
            let (dispatcher, over, kills) = (dispatcher.clone(), Arc::clone(&over), Arc::clone(&kills));
            async move {
                let mut random = 0x2545_f491_4f6c_dd1d_u64;
                while !over.load(Ordering::Relaxed) {
                    random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    let pids: Vec<_> =
                        stats(&dispatcher).await.workers.iter().filter_map(|worker| worker.pid).collect();
                    if (random >> 33).is_multiple_of(40) && !pids.is_empty() {
                        signal(pids[(random >> 40) as usize % pids.len()], Signal::KILL);
                        kills.fetch_add(1, Ordering::Relaxed);
                    }
                    tokio::task::yield_now().await;
                }
            }
        });
        let mut ends: BTreeMap<String, usize> = BTreeMap::new();
        while let Some(called) = soon("every call ends", calls.join_next()).await {
            let end = match called.expect("it does not panic") {
                Ok(()) => "right".into(),
                Err(error) => {
                    assert!(error.is_worker_gone(), "{error}");
                    error.condition().to_owned()
                }
            };
            *ends.entry(end).or_default() += 1;
        }
        over.store(true, Ordering::Relaxed);
        monkey.await.expect("it does not panic");
        assert_eq!(ends.values().sum::<usize>(), 500);
        assert!(ends["right"] > 0 && kills.load(Ordering::Relaxed) > 0, "{ends:?}");
        let mut lost = 0;
        loop {
            let served = async { echoed(dispatcher.open(echo()).await?, "still here").await };
            match soon("a session is served", served).await {
                Ok(answer) => break assert_eq!(answer, "still here"),
                // Each that was killed last may still take a caller with it: signals take their time.
                Err(error) if error.is_worker_gone() && lost < 4 => lost += 1,
                Err(error) => panic!("{error}"),
            }
        }
        close(dispatcher, &base).await;
    });
    // A thread that has told all it had to tell is still a thread for a moment.
    let began = std::time::Instant::now();
    while holdings() != before {
        assert!(began.elapsed() < PATIENCE, "threads or descriptors are left: {:?}, before {before:?}", holdings());
        std::thread::yield_now();
    }
}
