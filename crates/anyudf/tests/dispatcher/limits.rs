//! How many workers there are, how long they live, and who waits (D10).

use std::time::Duration;

use anyudf_engine::{Control, ErrorKind, OpenSession};
use futures::FutureExt;

use crate::support::*;

/// Soon over.
const SHORT: Duration = Duration::from_millis(50);

fn one_seat(config: &mut anyudf_engine::DispatcherConfig) {
    config.pool.max_workers = 1;
    config.pool.sessions_per_worker = Some(1);
}

/// D10: whoever waits too long is told so, and why.
#[tokio::test]
async fn d10_the_wait_has_a_deadline() {
    let (dispatcher, base) = dispatcher(&specification(), |config| {
        one_seat(config);
        config.pool.wait_timeout = SHORT;
    });
    let session = dispatcher.open(echo()).await.expect("it opens");
    let error = soon("a refusal", dispatcher.open(echo())).await.expect_err("there is no other seat");
    assert_eq!((error.kind(), error.condition()), (ErrorKind::Timeout, "POOL_TIMEOUT"));
    assert!(error.to_string().contains("all workers are busy"), "{error}");
    assert_eq!(echoed(session, "unharmed").await.expect("it echoes"), "unharmed");
    serves(&dispatcher).await;
    close(dispatcher, &base).await;
}

/// D10: waiting is in order of arrival, and who waits no longer gives the place back.
#[tokio::test]
async fn d10_waiters_are_served_in_order_and_may_leave() {
    let (dispatcher, base) = dispatcher(&specification(), one_seat);
    let session = dispatcher.open(echo()).await.expect("it opens");
    let mut waiting: Vec<_> = (0..5).map(|_| Box::pin(dispatcher.open(echo()))).collect();
    for waiter in &mut waiting {
        assert!(waiter.now_or_never().is_none(), "there is one seat");
    }
    eventually(&dispatcher, "they wait", |now| now.waiting == 5).await;
    // The first and the third leave.
    drop(waiting.remove(2));
    drop(waiting.remove(0));
    eventually(&dispatcher, "two have left", |now| now.waiting == 3).await;
    let mut held: OpenSession = session;
    for (served, waiter) in waiting.into_iter().enumerate() {
        assert_eq!(echoed(held, "next").await.expect("it echoes"), "next");
        held = soon("the next one's turn", waiter).await.expect("it opens");
        assert_eq!(stats(&dispatcher).await.waiting, 2 - served);
    }
    drop(held);
    serves(&dispatcher).await;
    close(dispatcher, &base).await;
}

/// D10: idle workers are ended after their time, all but those that are kept; kept ones are there before anybody asks.
#[tokio::test]
async fn d10_idle_workers_end_and_warm_ones_stay() {
    let (dispatcher, base) = dispatcher(&plain().with_reuse(), |config| {
        config.pool.min_idle = 1;
        config.pool.idle_timeout = SHORT;
    });
    eventually(&dispatcher, "one is warm", |now| now.workers.iter().any(|worker| worker.pid.is_some())).await;
    assert_eq!(stats(&dispatcher).await.granted, 0);
    let sessions = [dispatcher.open(echo()).await, dispatcher.open(echo()).await, dispatcher.open(echo()).await];
    assert!(stats(&dispatcher).await.workers.len() >= 3);
    for session in sessions {
        assert_eq!(echoed(session.expect("it opens"), "here").await.expect("it echoes"), "here");
    }
    eventually(&dispatcher, "one is left", |now| now.workers.len() == 1).await;
    close(dispatcher, &base).await;
}

/// D10: a worker that is old or worn takes no new sessions, and its last one ends in peace.
#[tokio::test]
async fn d10_old_and_worn_workers_are_replaced() {
    let (worn, worn_base) = dispatcher(&specification(), |config| config.pool.max_sessions = Some(3));
    for _ in 0..7 {
        serves(&worn).await;
    }
    assert_eq!(stats(&worn).await.starts, 3);
    close(worn, &worn_base).await;

    let (old, old_base) = dispatcher(&specification(), |config| config.pool.max_age = Some(SHORT));
    let session = old.open(echo()).await.expect("it opens");
    let first = pid(&old).await;
    soon("it is old", async {
        loop {
            serves(&old).await;
            if pid(&old).await != first {
                break;
            }
        }
    })
    .await;
    assert_eq!(echoed(session, "in peace").await.expect("it echoes"), "in peace");
    close(old, &old_base).await;
}

/// D12: all workers end at once: closing eight that take their time takes no longer than closing one.
#[tokio::test]
async fn d12_workers_end_in_parallel() {
    let place = tempfile::tempdir().expect("a directory");
    // Each waits at its end until all have come as far.
    let script = format!(
        r#"trap '' TERM; "$0" "$@"; : > {0}/$$; until [ "$(ls {0} | wc -l)" -ge 8 ]; do :; done"#,
        place.path().display()
    );
    let slow = behind(&script).with_graceful_termination_timeout(Duration::from_secs(20));
    let (dispatcher, base) = dispatcher(&slow, |config| config.pool.sessions_per_worker = Some(1));
    let mut sessions = Vec::new();
    for _ in 0..8 {
        sessions.push(dispatcher.open(echo()).await.expect("it opens"));
    }
    let controls: Vec<Control> = sessions.iter().map(OpenSession::control).collect();
    close(dispatcher, &base).await;
    assert!(controls.iter().all(|control| control.termination().is_some()));
}

/// D12: what watches a worker ends with it, also when the end was ours; else a dispatcher would grow with every worker.
#[tokio::test]
async fn d12_no_task_outlives_its_worker() {
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    // One process a session (D8).
    let (dispatcher, base) = dispatcher(&plain(), |_| {});
    for _ in 0..20 {
        serves(&dispatcher).await;
    }
    close(dispatcher, &base).await;
    soon("all tasks end", async {
        while tasks() > before {
            tokio::task::yield_now().await;
        }
    })
    .await;
}
