//! Workers to dispatch to, and what they leave.

use std::env;
use std::process::ExitCode;
use std::time::Duration;

use anyudf_engine::{Dispatcher, DispatcherConfig, DispatcherStats, Error, Init, OpenSession, WorkerSpecification};
use bytes::Bytes;
use tempfile::TempDir;
use tokio::time::timeout;

/// Nothing here takes this long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Set for the process that is a worker.
const WORKER: &str = "TEST_DISPATCHER_WORKER";

/// Not a test when started by a test: the bundled functions.
#[test]
fn the_worker_that_tests_start() {
    if env::var_os(WORKER).is_none() {
        return;
    }
    // The flags of the test runner are unknown to a worker, and it ignores what it does not know (P1).
    let code = anyudf_worker::Worker::bundled().run_with(env::args_os().skip(1));
    std::process::exit(if code == ExitCode::SUCCESS { 0 } else { 1 });
}

/// This binary as a worker that may be shared and reused (D8).
pub(crate) fn specification() -> WorkerSpecification {
    plain().with_reuse().with_concurrent_udfs()
}

/// The same as one that serves a single session in its life.
pub(crate) fn plain() -> WorkerSpecification {
    let program = env::current_exe().expect("it has a path");
    let program = program.to_str().expect("the path is text");
    // What the launcher adds is, to the test runner, names of further tests.
    let arguments = ["support::the_worker_that_tests_start", "--exact", "--nocapture", "--"];
    WorkerSpecification::new(program, arguments).with_variable(WORKER, "1").with_variable("RUST_LOG", "error")
}

/// A dispatcher whose sockets are in a directory of the test's own, to be looked at afterwards.
pub(crate) fn dispatcher(
    specification: &WorkerSpecification,
    change: impl FnOnce(&mut DispatcherConfig),
) -> (Dispatcher, TempDir) {
    let base = tempfile::tempdir().expect("a directory");
    let mut config = DispatcherConfig::default();
    config.worker.launch.socket_base = Some(base.path().into());
    change(&mut config);
    (Dispatcher::new(specification, config).expect("the specification is good"), base)
}

pub(crate) fn echo() -> Init {
    Init::new("echo", "")
}

/// One batch there and back, to the end.
pub(crate) async fn echoed(session: OpenSession, data: &'static str) -> Result<Bytes, Error> {
    let (mut input, mut output) = session.split();
    input.send([Bytes::from(data)]).await?;
    input.finish().await?;
    let echoed = output.next().await?.expect("echo answers");
    assert_eq!(output.next().await?, None);
    output.close().await?;
    Ok(echoed)
}

pub(crate) async fn stats(dispatcher: &Dispatcher) -> DispatcherStats {
    dispatcher.stats().await.expect("it is open")
}

/// Fails the test when `what` does not happen.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("it never happened: {what}"))
}

/// Looks again and again until it is so.
pub(crate) async fn eventually(dispatcher: &Dispatcher, what: &str, is_so: impl Fn(&DispatcherStats) -> bool) {
    soon(what, async {
        while !is_so(&stats(dispatcher).await) {
            tokio::task::yield_now().await;
        }
    })
    .await
}

/// Everything has ended, and nothing is left in the directory.
pub(crate) async fn close(dispatcher: Dispatcher, base: &TempDir) {
    let pids: Vec<_> = stats(&dispatcher).await.workers.iter().filter_map(|worker| worker.pid).collect();
    soon("the dispatcher closes", dispatcher.close()).await;
    drop(dispatcher);
    for pid in pids {
        assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists(), "worker {pid} is still there");
    }
    let left: Vec<_> = std::fs::read_dir(base.path()).expect("it is there").map(|entry| entry.expect("one")).collect();
    assert!(left.is_empty(), "left behind: {left:?}");
}
