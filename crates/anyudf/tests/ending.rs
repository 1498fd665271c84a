//! How an engine ends a worker of ours in which sessions still run (D7, M3, M4).

use std::time::Duration;

use anyudf_engine::{Init, Input, LaunchConfig, Output, Worker, WorkerCommand, WorkerConfig};
use bytes::Bytes;
use tokio::time::timeout;

/// Nothing here takes this long.
const PATIENCE: Duration = Duration::from_secs(60);

/// `anyudf worker`, with this time for what runs in it when it is ended.
async fn start(drain_timeout: Duration) -> Worker {
    let command = WorkerCommand {
        environment: vec![("RUST_LOG".into(), "error".into())],
        ..WorkerCommand::new(env!("CARGO_BIN_EXE_anyudf"), ["worker"])
    };
    let launch = LaunchConfig { drain_timeout, init_timeout: PATIENCE, ..LaunchConfig::default() };
    Worker::start(&command, WorkerConfig { launch, ..WorkerConfig::default() }).await.expect("it starts")
}

/// A session in the middle of its work.
async fn busy(worker: &Worker) -> (Input, Output) {
    let (mut input, mut output) = worker.open(Init::new("echo", "")).await.expect("echo is served").split();
    input.send([Bytes::from_static(b"before")]).await.expect("it is open");
    assert_eq!(output.next().await.expect("it echoes").as_deref(), Some(&b"before"[..]));
    (input, output)
}

/// Waits until the worker takes no new sessions: it was asked to shut down (M3).
async fn refuses(worker: &Worker) {
    while let Ok(open) = worker.open(Init::new("echo", "")).await {
        open.close().await;
    }
}

/// D7, M3: a session that still runs in a worker that is ended finishes, and the worker is gone as soon as it has.
#[tokio::test]
async fn d7_m3_neighbours_finish_while_a_worker_drains() {
    let worker = start(PATIENCE).await;
    let (mut input, mut output) = busy(&worker).await;
    let neighbour = async {
        refuses(&worker).await;
        input.send([Bytes::from_static(b"after")]).await.expect("it goes on");
        assert_eq!(output.next().await.expect("it echoes").as_deref(), Some(&b"after"[..]));
        input.finish().await.expect("it goes on");
        assert_eq!(output.next().await.expect("it finishes"), None);
    };
    let both = async { tokio::join!(worker.end(), neighbour) };
    let (ended, ()) = timeout(PATIENCE / 2, both).await.expect("the bound is not waited out");
    ended.expect("it ends");
}

/// D7, M4, C7: when the time for draining is over, what still runs is cancelled by the worker, which says so.
#[tokio::test]
async fn d7_m4_c7_what_does_not_finish_is_cancelled() {
    let worker = start(Duration::from_millis(50)).await;
    let (_input, mut output) = busy(&worker).await;
    let (ended, told) = tokio::join!(worker.end(), output.next());
    ended.expect("it ends");
    assert_eq!(told.expect_err("it was cancelled").condition(), "SHUTTING_DOWN");
}
