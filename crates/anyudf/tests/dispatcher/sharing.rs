//! Who gets which worker (D8, D9, D12).

use anyudf_engine::blocking::Engine;
use anyudf_engine::{DispatcherConfig, Dispatchers, ErrorKind, Scope};
use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use tokio::task::JoinSet;

use crate::support::*;

/// D8: a worker that may be shared and reused serves all sessions, at once and one after the other.
#[tokio::test]
async fn d8_sessions_share_a_worker() {
    let (dispatcher, base) = dispatcher(&specification(), |_| {});
    let mut sessions = Vec::new();
    for _ in 0..4 {
        sessions.push(dispatcher.open(echo()).await.expect("it opens"));
    }
    assert_eq!(stats(&dispatcher).await.workers.len(), 1);
    for session in sessions {
        assert_eq!(echoed(session, "here").await.expect("it echoes"), "here");
    }
    for _ in 0..10 {
        let session = dispatcher.open(echo()).await.expect("it opens");
        assert_eq!(echoed(session, "again").await.expect("it echoes"), "again");
    }
    let now = stats(&dispatcher).await;
    assert_eq!((now.starts, now.granted, now.sessions), (1, 14, 0));
    close(dispatcher, &base).await;
}

/// D8: without reuse and sharing it is one process a session, as with Spark; eight at once are eight processes.
#[tokio::test]
async fn d8_a_process_a_session() {
    let (dispatcher, base) = dispatcher(&plain(), |config| config.pool.max_workers = 8);
    let mut opening = JoinSet::new();
    for _ in 0..8 {
        let dispatcher = dispatcher.clone();
        opening.spawn(async move { dispatcher.open(echo()).await });
    }
    let sessions: Vec<_> = soon("all open", opening.join_all()).await;
    assert_eq!(stats(&dispatcher).await.workers.len(), 8);
    for session in sessions {
        assert_eq!(echoed(session.expect("it opens"), "here").await.expect("it echoes"), "here");
    }
    eventually(&dispatcher, "they end with their sessions", |now| now.workers.is_empty()).await;
    close(dispatcher, &base).await;
}

/// D9: a worker serves one scope in its life; when there is no slot for another, an idle one makes room.
#[tokio::test]
async fn d9_scopes_do_not_share() {
    let (dispatcher, base) = dispatcher(&specification(), |config| config.pool.max_workers = 1);
    let alice = dispatcher.session(echo(), Scope::new("alice")).await.expect("a worker");
    let alice = alice.init().await.expect("it opens");
    let pid = stats(&dispatcher).await.workers[0].pid;
    assert_eq!(echoed(alice, "hers").await.expect("it echoes"), "hers");
    let bob = dispatcher.session(echo(), Scope::new("bob")).await.expect("a worker").init().await.expect("it opens");
    assert_ne!(stats(&dispatcher).await.workers.last().expect("his").pid, pid);
    assert_eq!(echoed(bob, "his").await.expect("it echoes"), "his");
    close(dispatcher, &base).await;
}

/// D12: closing cancels what runs, ends everything, and nothing more is given; twice is harmless.
#[tokio::test]
async fn d12_close_ends_everything() {
    let (dispatcher, base) = dispatcher(&specification(), |_| {});
    let session = dispatcher.open(echo()).await.expect("it opens");
    let control = session.control();
    let again = dispatcher.clone();
    close(dispatcher, &base).await;
    assert!(control.termination().is_some(), "it was ended");
    again.close().await;
    let refused = again.open(echo()).await.expect_err("it is closed");
    assert_eq!((refused.kind(), refused.condition()), (ErrorKind::Misuse, "DISPATCHER_CLOSED"));
    drop(session);
}

/// D8: the same or an equal specification has the same dispatcher, a different one another; closing closes all.
#[tokio::test]
async fn d8_equal_specifications_share_a_dispatcher() {
    let dispatchers = Dispatchers::new(DispatcherConfig::default());
    let one = dispatchers.of(&specification()).expect("a dispatcher");
    let same = dispatchers.of(&specification()).expect("a dispatcher");
    let other = dispatchers.of(&plain()).expect("a dispatcher");
    for dispatcher in [&one, &same, &other] {
        assert_eq!(echoed(dispatcher.open(echo()).await.expect("it opens"), "here").await.expect("it echoes"), "here");
    }
    assert_eq!((stats(&one).await.granted, stats(&same).await.granted, stats(&other).await.granted), (2, 2, 1));
    soon("they close", dispatchers.close()).await;
    for dispatcher in [one, same, other] {
        assert_eq!(dispatcher.open(echo()).await.expect_err("it is closed").condition(), "DISPATCHER_CLOSED");
    }
    assert_eq!(dispatchers.of(&specification()).expect_err("they are closed").condition(), "DISPATCHER_CLOSED");
}

/// D8, E2: the same without a runtime, from several threads.
#[test]
fn d8_the_blocking_face_dispatches() {
    let engine = Engine::new().expect("a thread");
    let dispatcher =
        engine.dispatcher(&specification(), DispatcherConfig::default()).expect("the specification is good");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let dispatcher = dispatcher.clone();
            scope.spawn(move || {
                let session = dispatcher.session(echo(), Scope::default()).expect("a worker");
                session.init().expect("it opens");
                let (mut input, mut output) = session.process().expect("it is open");
                input.send(["here".into()]).expect("it is sent");
                input.finish().expect("it is sent");
                assert_eq!(output.next().expect("it echoes").as_deref(), Some(&b"here"[..]));
                assert_eq!(output.next().expect("it finishes"), None);
            });
        }
    });
    assert_eq!(dispatcher.stats().expect("it is open").granted, 4);
    dispatcher.close();
    assert!(dispatcher.stats().is_none());
}

/// D10: what a dispatcher does is seen through the `metrics` facade.
#[tokio::test]
async fn d10_the_pool_is_measured() {
    let recorder = DebuggingRecorder::new();
    let seen = recorder.snapshotter();
    let _installed = metrics::set_default_local_recorder(&recorder);
    let (dispatcher, base) = dispatcher(&specification(), |_| {});
    let session = dispatcher.open(echo()).await.expect("it opens");
    assert_eq!(echoed(session, "here").await.expect("it echoes"), "here");
    // Another dispatcher for the same program is told apart.
    let (other, elsewhere) = crate::support::dispatcher(&specification(), |_| {});
    let session = other.open(echo()).await.expect("it opens");
    let measured = async |names: [&str; 3]| {
        // Whoever is asked records first. What is looked at begins anew.
        let _asked = (dispatcher.stats().await, other.stats().await);
        let measured = seen.snapshot().into_vec();
        names.map(|name| -> f64 {
            let named = measured.iter().filter(|(key, ..)| key.key().name() == name);
            let values = named.map(|(.., value)| match value {
                DebugValue::Counter(count) => *count as f64,
                DebugValue::Gauge(value) => value.into_inner(),
                DebugValue::Histogram(values) => values.len() as f64,
            });
            values.sum()
        })
    };
    let names = ["anyudf_pool_workers", "anyudf_pool_sessions", "anyudf_pool_starts_total"];
    assert_eq!(measured(names).await, [2.0, 1.0, 2.0]);
    // And of what is closed nothing stays in use.
    drop(session);
    assert!(other.stats().await.is_some() && dispatcher.stats().await.is_some());
    other.close().await;
    dispatcher.close().await;
    assert_eq!(measured(names).await, [0.0, 0.0, 2.0]);
    drop((other, elsewhere));
    drop((dispatcher, base));
}
