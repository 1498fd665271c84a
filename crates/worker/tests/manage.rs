//! The worker as a whole: heartbeats, shutdown, health and reflection, places (M1-M6, P9, P10).

mod support;

use futures::FutureExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyudf_protocol::wire;
use anyudf_worker::{Invocation, Opened, RawFunction, RawOutput, Result, Worker};
use bytes::Bytes;
use support::{Gate, Served};

/// Waits at a gate in its first batch, holding its thread.
struct Held(Gate);

impl RawFunction for Held {
    fn process(&mut self, data: Bytes, out: &mut RawOutput<'_>) -> Result<()> {
        self.0.pass();
        out.send([data])
    }
}

/// A worker with the bundled functions and `held`.
fn holding(gate: &Gate) -> Worker {
    let gate = gate.clone();
    Worker::bundled().with_format("held", move |_: &mut Invocation| Ok(Opened::new(Held(gate.clone()))))
}

/// M1: an empty request is INVALID_ARGUMENT; the branch of the answer is that of the request.
#[tokio::test]
async fn m1_branches_match() {
    let served = Served::bundled().await;
    let client = served.client().await;
    assert_eq!(client.manage(wire::WorkerRequest::default()).await.unwrap_err(), "end:InvalidArgument");
    client.heartbeat().await;
    assert!(client.shutdown(false).await);
}

/// M2, M6: what a heartbeat says, before, while and after a session runs.
#[tokio::test]
async fn m2_m6_heartbeats() {
    let served = Served::start_with(Worker::bundled(), |options| {
        (options.max_sessions, options.max_message_bytes) = (7, 5 << 20);
    })
    .await;
    let client = served.client().await;
    let beat = client.heartbeat().await;
    let expected = [
        ("sessions_active", "0"),
        ("sessions_total", "0"),
        ("sessions_failed", "0"),
        ("rows_in", "0"),
        ("rows_out", "0"),
        ("bytes_in", "0"),
        ("bytes_out", "0"),
        ("calls_overdue", "0"),
        ("protocol_versions", "1"),
        ("max_sessions", "7"),
        ("max_message_bytes", "5242880"),
    ];
    for (name, value) in expected {
        assert_eq!(beat.get(name).map(String::as_str), Some(value), "{name}");
    }
    beat["uptime_ms"].parse::<u64>().unwrap();
    if cfg!(target_os = "linux") {
        assert!(beat["memory_rss_bytes"].parse::<u64>().unwrap() > 1 << 20);
    }
    let features: Vec<_> = beat["features"].split(',').collect();
    assert!(features.contains(&"pipelining") && features.contains(&"call_timeout"));

    let mut dialogue = client.play("> init:echo < init > data:abc < data:abc").await;
    let beat = client.heartbeat().await;
    assert_eq!((beat["sessions_active"].as_str(), beat["sessions_total"].as_str()), ("1", "1"));
    assert_eq!((beat["bytes_in"].as_str(), beat["bytes_out"].as_str()), ("3", "3"));
    dialogue.play("> data:ERROR < error[SimulatedError] > cancel < cancel < end:Ok").await;
    let beat = client.heartbeat().await;
    assert_eq!((beat["sessions_active"].as_str(), beat["sessions_failed"].as_str()), ("0", "1"));
}

/// M2: heartbeats are answered while 256 streams are open, user code spins on every core and is held everywhere, and
/// readers never read. The order proves it: nothing is let go before the last answer is there.
#[tokio::test]
async fn m2_heartbeats_under_load() {
    const SPINNING: usize = 8;
    const UNREAD: usize = 8;
    struct Spin(Gate, Arc<AtomicUsize>);
    impl RawFunction for Spin {
        fn process(&mut self, _: Bytes, _: &mut RawOutput<'_>) -> Result<()> {
            self.1.fetch_add(1, Ordering::SeqCst);
            while !self.0.is_open() {
                std::hint::spin_loop();
            }
            self.1.fetch_sub(1, Ordering::SeqCst);
            Ok(())
        }
    }
    let (gate, spinning) = (Gate::default(), Arc::new(AtomicUsize::new(0)));
    let (their_gate, count) = (gate.clone(), Arc::clone(&spinning));
    let spin = move |_: &mut Invocation| Ok(Opened::new(Spin(their_gate.clone(), Arc::clone(&count))));
    let served = Served::start(holding(&gate).with_format("spin", spin)).await;
    let client = served.client().await;

    let mut held = Vec::new();
    for _ in 0..256 - SPINNING - UNREAD {
        held.push(client.play("> init:held < init > data:x").await);
    }
    gate.visited(held.len()).await;
    let mut unread = Vec::new();
    for _ in 0..UNREAD {
        unread.push(client.play("> init:echo/generate=100000000 < init").await);
    }
    let mut spinners = Vec::new();
    for _ in 0..SPINNING {
        spinners.push(client.play("> init:spin < init > data:x").await);
    }
    while spinning.load(Ordering::SeqCst) < SPINNING {
        client.heartbeat().await;
    }
    for _ in 0..20 {
        assert_eq!(client.heartbeat().await["sessions_active"], "256");
    }
    // Also on a connection that is opened only now.
    assert_eq!(served.client().await.heartbeat().await["sessions_active"], "256");
    assert_eq!(spinning.load(Ordering::SeqCst), SPINNING, "nobody was let go before the answers");
    gate.open();
    for dialogue in spinners.iter_mut() {
        dialogue.play("> finish < finish").await;
    }
    for dialogue in held.iter_mut() {
        dialogue.play("< data:x > finish < finish").await;
    }
    drop(unread);
    client.until("sessions_active", "0").await;
}

/// P10: the stream beyond the last place waits for one, in order of arrival, and is heard while it waits.
#[tokio::test]
async fn p10_streams_wait_for_places() {
    let gate = Gate::default();
    let served = Served::start_with(holding(&gate), |options| options.max_sessions = 2).await;
    let client = served.client().await;
    let mut first = client.play("> init:held < init > data:1").await;
    let mut second = client.play("> init:echo < init").await;
    let mut third = client.play("> init:echo").await;
    client.until("sessions_active", "3").await;
    let mut fourth = client.play("> init:echo > cancel < cancel < end:Ok").await;
    let mut fifth = client.play("> init:echo").await;
    client.until("sessions_total", "5").await;
    // A thread that was started by mistake would have answered long before all of these.
    for _ in 0..200 {
        client.heartbeat().await;
        assert!(third.hear().now_or_never().is_none(), "both places are taken");
    }
    second.play("> finish < finish < end:Ok").await;
    third.play("< init > data:3 < data:3").await;
    gate.open();
    first.play("< data:1 > finish < finish < end:Ok").await;
    fifth.play("< init > finish < finish < end:Ok").await;
    third.play("> finish < finish < end:Ok").await;
    assert_eq!(fourth.hear().await, "end:Ok");
}

/// M3: shutdown without cancel_sessions is answered at once; new calls are refused, health says so, Manage stays up;
/// the stream in flight ends normally, and the worker with it.
#[tokio::test]
async fn m3_draining() {
    let served = Served::bundled().await;
    let client = served.client().await;
    let mut dialogue = client.play("> init:echo < init").await;
    assert!(!client.shutdown(false).await, "a stream is open");
    assert_eq!(client.execute().await.hear().await, "end:Unavailable");
    client.heartbeat().await;
    assert_eq!(health(&client).await, NOT_SERVING);
    assert!(!client.shutdown(false).await, "it still is");
    dialogue.play("> data:a < data:a > finish < finish < end:Ok").await;
    served.ended().await;
}

/// M3: a shutdown of an idle worker is settled, and ends it.
#[tokio::test]
async fn m3_an_idle_worker_is_settled() {
    let served = Served::bundled().await;
    assert!(served.client().await.shutdown(false).await);
    served.ended().await;
}

/// M3, M4, C7: a later request with cancel_sessions hurries it; each stream gets its terminator before the answer.
#[tokio::test]
async fn m3_m4_c7_hurrying() {
    let served = Served::bundled().await;
    let client = served.client().await;
    let mut opened = client.play("> init:echo < init > data:a < data:a").await;
    let mut failed = client.play("> init:echo < init > data:ERROR < error[SimulatedError]").await;
    let mut gathering = client.play("> init-chunked:echo > chunk:a").await;
    let mut untouched = client.execute().await;
    client.until("sessions_active", "4").await;
    assert!(!client.shutdown(false).await);
    assert!(client.shutdown(true).await, "answered when everything was settled");
    opened.play("< error[SHUTTING_DOWN] < cancel < end:Ok").await;
    failed.play("< cancel < end:Ok").await;
    gathering.play("< init[SHUTTING_DOWN] < cancel < end:Ok").await;
    untouched.play("< init[SHUTTING_DOWN] < cancel < end:Ok").await;
    served.ended().await;
}

/// M4: a function that hangs does not hold the shutdown up.
#[tokio::test]
async fn m4_a_hung_function_is_left_behind() {
    let gate = Gate::default();
    let served = Served::start(holding(&gate)).await;
    let client = served.client().await;
    let mut hung = client.play("> init:held < init > data:x").await;
    gate.visited(1).await;
    assert!(client.shutdown(true).await);
    hung.play("< error[SHUTTING_DOWN] < cancel[CANCEL_TIMEOUT] < end:Ok").await;
    served.ended().await;
    gate.open();
}

const SERVING: u8 = 1;
const NOT_SERVING: u8 = 2;

/// The status that health tells of the service.
async fn health(client: &support::Client) -> u8 {
    let name = b"org.apache.spark.udf.worker.UdfWorker";
    let request = [&[0x0a, name.len() as u8], &name[..]].concat();
    let (messages, end) = client.call("/grpc.health.v1.Health/Check", request).await;
    let message = messages.first().unwrap_or_else(|| panic!("health says {end}"));
    assert_eq!(message[0], 0x08, "field 1, a number");
    message[1]
}

/// M5: health and reflection, as ordinary gRPC tools ask.
#[tokio::test]
async fn m5_health_and_reflection() {
    let served = Served::bundled().await;
    let client = served.client().await;
    assert_eq!(health(&client).await, SERVING);
    // ServerReflectionRequest { list_services: "" }
    let list = [0x3a, 0x00];
    for version in ["v1", "v1alpha"] {
        let path = format!("/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo");
        let (messages, _) = client.call(&path, list.to_vec()).await;
        let answer = String::from_utf8_lossy(&messages[0]).into_owned();
        assert!(answer.contains("org.apache.spark.udf.worker.UdfWorker"), "{answer}");
    }
    let (_, end) = client.call("/org.apache.spark.udf.worker.UdfWorker/Nothing", Vec::new()).await;
    assert_eq!(end, "end:Unimplemented");
}

/// P9: with a token, a call without it or with another is refused.
#[tokio::test]
async fn p9_tokens() {
    let served = Served::start_with(Worker::bundled(), |options| options.token = Some("sesame".into())).await;
    let client = served.client().await;
    assert_eq!(client.execute().await.hear().await, "end:Unauthenticated");
    let wrong = client.clone().with_header("anyudf-token", "barley");
    assert_eq!(wrong.execute().await.hear().await, "end:Unauthenticated");
    assert_eq!(wrong.manage(wire::WorkerRequest::default()).await.unwrap_err(), "end:Unauthenticated");
    let right = client.with_header("anyudf-token", "sesame");
    right.play("> init:echo < init > finish < finish < end:Ok").await;
    right.heartbeat().await;
}

/// P9: the socket is ours alone.
#[tokio::test]
async fn p9_the_socket_is_private() {
    use std::os::unix::fs::PermissionsExt;
    let served = Served::bundled().await;
    let mode = std::fs::metadata(&served.socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}
