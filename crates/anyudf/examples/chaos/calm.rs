//! When the monkey is gone: the pool must come to rest, serve everybody, and come to rest again.

use std::sync::Arc;
use std::time::Duration;

use anyudf_engine::{Dispatcher, DispatcherStats, WorkerState};
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::callers::Caller;
use crate::ledger::{Ledger, Records};
use crate::{HEARTBEAT, NEVER};

/// How long after the last call the pool may take to know that it is over.
const REST: Duration = Duration::from_secs(2);

/// The calm round. Afterwards nobody is left who calls.
pub(crate) async fn calm(dispatcher: &Dispatcher, callers: Vec<Caller>, ledger: &Arc<Ledger>) {
    // A worker that goes on may be given up for the answer that it owed just before.
    sleep(2 * HEARTBEAT).await;
    let rests = |stats: &DispatcherStats| is_at_rest(stats) && is_healed(stats, &ledger.lock());
    let Some(before) = wait_until(NEVER, dispatcher, rests).await else {
        return unrest(dispatcher, ledger, "a pool that does not come to rest without the monkey").await;
    };
    let all = Arc::new(Barrier::new(callers.len()));
    let mut calls = JoinSet::new();
    for caller in callers {
        let (all, ledger) = (Arc::clone(&all), Arc::clone(ledger));
        calls.spawn(async move { caller.call_calmly(&all, &ledger).await });
    }
    calls.join_all().await;
    let Some(after) = wait_until(REST, dispatcher, is_at_rest).await else {
        return unrest(dispatcher, ledger, "a pool that does not come to rest after the last call").await;
    };
    let lost = |stats: &DispatcherStats| stats.crashes + stats.failed_starts;
    if lost(&after) > lost(&before) {
        let example = || format!("{} of them", lost(&after) - lost(&before));
        ledger.lock().findings.add("workers lost in the calm round", example);
    }
}

fn is_at_rest(stats: &DispatcherStats) -> bool {
    stats.sessions == 0 && stats.waiting == 0 && stats.workers.iter().all(|worker| worker.sessions == 0)
}

/// Whether all that has been done to workers has had its consequences.
fn is_healed(stats: &DispatcherStats, records: &Records) -> bool {
    let dead = |id: &Option<String>| id.as_deref().is_some_and(|id| records.is_killed(id));
    stats.workers.iter().all(|worker| worker.state == WorkerState::Ready && !dead(&worker.id))
}

/// Looks again and again.
async fn wait_until(
    limit: Duration,
    dispatcher: &Dispatcher,
    is_so: impl Fn(&DispatcherStats) -> bool,
) -> Option<DispatcherStats> {
    let looking = async {
        loop {
            let stats = dispatcher.stats().await?;
            if is_so(&stats) {
                return Some(stats);
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(limit, looking).await.ok().flatten()
}

async fn unrest(dispatcher: &Dispatcher, ledger: &Ledger, what: &'static str) {
    let stats = timeout(REST, dispatcher.stats()).await;
    ledger.lock().findings.add(what, || format!("{stats:?}"));
}
