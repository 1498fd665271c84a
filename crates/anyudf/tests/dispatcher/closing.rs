//! Closing while things are on the way (D12, D3).

use std::fs;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::Duration;

use anyudf_engine::{Dispatcher, DispatcherConfig, Dispatchers, Scope};
use futures::poll;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use tempfile::TempDir;

use crate::support::*;

/// Nothing is ended because its time is over.
fn patient(config: &mut DispatcherConfig) {
    config.pool.drain_timeout = Duration::MAX;
}

/// Asks it to close, and has been heard: what is sent to it from now on comes after that.
async fn ask_to_close(dispatcher: &Dispatcher) -> Pin<Box<impl Future<Output = ()> + '_>> {
    let mut closing = Box::pin(dispatcher.close());
    assert!(poll!(&mut closing).is_pending());
    closing
}

/// A pipe with a name: whoever opens it waits for the other end.
fn pipe(place: &TempDir, name: &str) -> PathBuf {
    let path = place.path().join(name);
    mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("it may be written");
    path
}

/// Waits for what is written into a pipe.
async fn said(pipe: PathBuf) -> String {
    let read = tokio::task::spawn_blocking(|| fs::read_to_string(pipe));
    soon("it is written", read).await.expect("it does not panic").expect("it is text")
}

/// Lets whoever reads a pipe go on.
async fn say(pipe: PathBuf) {
    let write = tokio::task::spawn_blocking(|| fs::write(pipe, "\n"));
    soon("it is read", write).await.expect("it does not panic").expect("somebody reads");
}

/// D12: a session that was granted before the dispatcher closes, and taken after, is cancelled like the others.
#[tokio::test]
async fn d12_a_session_on_its_way_is_cancelled() {
    let (dispatcher, base) = dispatcher(&specification(), patient);
    serves(&dispatcher).await;
    let mut granted = Box::pin(dispatcher.session(echo(), Scope::default()));
    assert!(poll!(&mut granted).is_pending());
    eventually(&dispatcher, "it is granted", |now| now.granted == 2).await;
    let closing = ask_to_close(&dispatcher).await;
    let session = granted.await.expect("it was granted");
    assert_eq!(soon("it ends", session.control().ended()).await.to_string(), "cancelled");
    soon("the dispatcher closes", closing).await;
    drop((session, dispatcher));
    assert_eq!(fs::read_dir(base.path()).expect("it is there").count(), 0);
}

/// E1, D12: a session that has not begun keeps nobody from closing, though its owner still has it.
#[tokio::test]
async fn e1_d12_a_session_that_has_not_begun_gives_its_seat_back() {
    let (dispatcher, base) = dispatcher(&specification(), patient);
    let session = dispatcher.session(echo(), Scope::default()).await.expect("a seat");
    close(dispatcher, &base).await;
    assert_eq!(session.init().await.expect_err("it is over").condition(), "CANCELLED");
}

/// E1, D8: the seat of a session that is cancelled before it has begun is free, though its owner still has it.
#[tokio::test]
async fn e1_d8_a_cancelled_session_gives_its_seat_back() {
    let (dispatcher, base) = dispatcher(&specification(), |config| {
        config.pool.max_workers = 1;
        config.pool.sessions_per_worker = Some(1);
    });
    let session = dispatcher.session(echo(), Scope::default()).await.expect("a seat");
    session.control().cancel("enough");
    serves(&dispatcher).await;
    drop(session);
    close(dispatcher, &base).await;
}

/// D12: a session that does not end after Cancel is ended with its worker, and is told that the dispatcher was closed.
#[tokio::test]
async fn d12_who_does_not_end_is_told_why() {
    let (dispatcher, base) = dispatcher(&specification(), |config| {
        config.pool.drain_timeout = Duration::from_millis(100);
        config.pool.heartbeat_interval = Duration::MAX;
    });
    let session = dispatcher.open(odd_one("hang cancel")).await.expect("it opens");
    let control = session.control();
    close(dispatcher, &base).await;
    let ended = control.termination().expect("it has ended").to_string();
    assert!(ended.contains("the dispatcher was closed"), "{ended}");
    let error = echoed(session, "a batch").await.expect_err("it has ended");
    assert_eq!(error.condition(), "DISPATCHER_CLOSED");
    assert!(!error.is_worker_gone(), "nobody is to try again");
}

/// D3, D7, D12: a worker that is still starting is dead and reaped before the clean-up runs and close returns.
#[tokio::test]
async fn d3_d7_d12_a_worker_that_starts_is_gone_before_the_rest() {
    for _ in 0..20 {
        let place = tempfile::tempdir().expect("a directory");
        let born = pipe(&place, "born");
        let script = format!("echo $$ > {}; exec sleep 600", born.display());
        let state = place.path().join("state");
        let look =
            format!("p=$(cat {0}/pid); if [ -e /proc/$p ]; then echo left > {0}/state; fi", place.path().display());
        let starting = anyudf_engine::WorkerSpecification::new("sh", ["-c", &script]);
        let starting = starting.with_cleanup("sh", ["-c", &look]);
        let (dispatcher, base) = dispatcher(&starting, |config| config.pool.min_idle = 1);
        let pid = said(born).await;
        fs::write(place.path().join("pid"), &pid).expect("it may be written");
        close(dispatcher, &base).await;
        assert!(!Path::new(&format!("/proc/{}", pid.trim())).exists(), "close has returned");
        assert!(!state.exists(), "the clean-up has run");
    }
}

/// D3, D12: a worker that answers while the dispatcher closes is ended with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d3_d12_a_worker_that_answers_too_late_is_ended() {
    for round in 0..40 {
        let (dispatcher, base) = dispatcher(&specification(), |config| config.pool.min_idle = 1);
        // The socket is there a moment before the worker answers.
        let bound = || {
            let private = fs::read_dir(base.path()).ok()?.next()?.ok()?.path();
            fs::read_dir(private)
                .ok()?
                .find(|entry| entry.as_ref().is_ok_and(|entry| entry.path().extension().is_some()))
        };
        soon("it listens", async {
            while bound().is_none() {
                tokio::task::yield_now().await;
            }
        })
        .await;
        for _ in 0..round {
            tokio::task::yield_now().await;
        }
        let socket = bound().and_then(Result::ok).map(|entry| entry.path());
        soon("the dispatcher closes", dispatcher.close()).await;
        assert!(socket.is_none_or(|socket| !socket.exists()), "its worker is still there");
        drop(dispatcher);
        assert_eq!(fs::read_dir(base.path()).expect("it is there").count(), 0);
    }
}

/// D3, D12: while the clean-up runs, who asks is answered: there are no more sessions, and nothing is in use.
#[tokio::test]
async fn d3_d12_a_dispatcher_answers_while_it_cleans_up() {
    let place = tempfile::tempdir().expect("a directory");
    let (begun, on) = (pipe(&place, "begun"), pipe(&place, "on"));
    let held = format!("echo > {}; read on < {}", begun.display(), on.display());
    let specification = specification().with_installation("true", [""; 0]).with_cleanup("sh", ["-c", &held]);
    let (dispatcher, base) = dispatcher(&specification, |_| {});
    serves(&dispatcher).await;
    let mut closing = ask_to_close(&dispatcher).await;
    said(begun).await;
    let refused = soon("an answer", dispatcher.open(echo())).await.expect_err("it is closed");
    assert_eq!(refused.condition(), "DISPATCHER_CLOSED");
    let now = soon("an answer", dispatcher.stats()).await.expect("it is not closed yet");
    assert_eq!((now.workers.len(), now.sessions, now.waiting), (0, 0, 0));
    assert!(poll!(&mut closing).is_pending());
    let again = ask_to_close(&dispatcher).await;
    say(on).await;
    soon("it closes", closing).await;
    soon("it closes", again).await;
    assert!(dispatcher.stats().await.is_none());
    drop(dispatcher);
    assert_eq!(fs::read_dir(base.path()).expect("it is there").count(), 0);
}

/// D8, D12: a specification whose dispatcher somebody has closed gets another one.
#[tokio::test]
async fn d8_d12_a_closed_dispatcher_is_replaced() {
    let dispatchers = Dispatchers::new(DispatcherConfig::default());
    let first = dispatchers.of(&specification()).expect("it is good");
    serves(&first).await;
    first.close().await;
    let second = dispatchers.of(&specification()).expect("it is good");
    serves(&second).await;
    dispatchers.close().await;
    assert!(second.stats().await.is_none());
}
