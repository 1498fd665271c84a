//! A session against workers that follow a script, right ones and misbehaving ones, over a real socket.

use std::time::Duration;

use anyudf_engine::{
    Error, ErrorKind, Init, Input, OpenSession, Output, Pipelining, SessionConfig, Settings, Termination, Worker,
    WorkerConfig, blocking,
};
use anyudf_testkit::ScriptedWorker;
use bytes::Bytes;
use expect_test::{Expect, expect};
use futures::FutureExt;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

/// For rules about silence: long enough to be told apart from nothing, short enough to wait for.
const SHORT: Duration = Duration::from_millis(60);

/// The stream's window, as it is by default.
const WINDOW: u64 = 8 << 20;

fn config() -> WorkerConfig {
    WorkerConfig::default()
}

fn impatient(change: impl FnOnce(&mut SessionConfig)) -> WorkerConfig {
    let mut config = config();
    change(&mut config.session);
    config
}

async fn connect(scripted: &ScriptedWorker, config: WorkerConfig) -> Worker {
    Worker::connect(scripted.endpoint(), None, config).await.expect("a scripted worker answers")
}

async fn started(script: &str, config: WorkerConfig) -> (ScriptedWorker, Worker) {
    let scripted = ScriptedWorker::start(script).await;
    let worker = connect(&scripted, config).await;
    (scripted, worker)
}

async fn worker(script: &str) -> (ScriptedWorker, Worker) {
    started(script, config()).await
}

async fn open(worker: &Worker) -> OpenSession {
    worker.open(init()).await.expect("the script says so")
}

/// The two ends of an open session.
async fn split(script: &str) -> (ScriptedWorker, Input, Output) {
    let (scripted, worker) = worker(script).await;
    let (input, output) = open(&worker).await.split();
    (scripted, input, output)
}

/// A session of the blocking face, and what it needs to stay.
fn blocking(script: &str) -> (Runtime, ScriptedWorker, blocking::Session) {
    let (runtime, scripted, worker) = blocking_worker(script, &[], config());
    let session = worker.session(init());
    (runtime, scripted, session)
}

fn blocking_worker(
    script: &str,
    announces: &[(&str, &str)],
    config: WorkerConfig,
) -> (Runtime, ScriptedWorker, blocking::Worker) {
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let scripted = runtime.block_on(ScriptedWorker::announcing(script, announces));
    let engine = blocking::Engine::new().expect("a thread");
    let worker = engine.connect(scripted.endpoint(), None, config).expect("a scripted worker answers");
    (runtime, scripted, worker)
}

fn init() -> Init {
    Init::new("echo", "payload")
}

fn describe(error: &Error) -> String {
    format!("{:?} {}: {error}", error.kind(), error.condition())
}

/// Runs the caller's usual life (init, one batch, Finish, read to the end) against a script, and says what came of it
/// and what the worker heard.
async fn check(script: &str, outcome: Expect) {
    let (scripted, worker) = worker(script).await;
    outcome.assert_eq(&life(&worker, &scripted).await);
}

async fn life(worker: &Worker, scripted: &ScriptedWorker) -> String {
    let session = worker.session(init());
    let control = session.control();
    let mut told = match session.init().await {
        Err(error) => format!("init: {}", describe(&error)),
        Ok(open) => process(open).await,
    };
    told += &format!("\nclose: {}", control.close().await);
    told + "\nheard: " + &scripted.heard().await
}

async fn process(open: OpenSession) -> String {
    let (mut input, mut output) = open.split();
    let mut told = String::new();
    // Errors of the input are those of the output, which is read to its end.
    if input.send([Bytes::from_static(b"batch")]).await.is_ok() {
        let _ = input.finish().await;
    }
    loop {
        match output.next().await {
            Ok(Some(data)) => told += &format!("data: {}\n", String::from_utf8_lossy(&data)),
            Ok(None) => break told + "end",
            Err(error) => break told + &describe(&error),
        }
    }
}

/// R5, R6, R10: the usual life of an execution.
#[tokio::test]
async fn r5_r6_r10_a_batch_comes_back() {
    let script = "> init < init > data < data:one < data:two > finish < data:three < finish";
    check(
        script,
        expect![[r#"
        data: one
        data: two
        data: three
        end
        close: finished
        heard: init data finish close"#]],
    )
    .await;
}

/// E1: cancelling before init sends nothing, and init then fails as cancelled.
#[tokio::test]
async fn e1_cancel_before_init_sends_nothing() {
    let (scripted, worker) = worker("> init < init").await;
    let session = worker.session(init());
    let control = session.control();
    control.cancel("not needed any more");
    assert!(matches!(control.termination(), Some(Termination::Cancelled(_))), "there is nothing to wait for");
    let error = session.init().await.expect_err("it was cancelled");
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    assert!(matches!(control.close().await, Termination::Cancelled(_)));
    worker.heartbeat().await.expect("a round trip: a stream would have been seen by now");
    assert_eq!(scripted.heard_so_far(), "");
}

/// E1, E12: a session that is dropped before init has ended, as cancelled and without a stream.
#[tokio::test]
async fn e1_e12_a_session_dropped_before_init_is_cancelled() {
    let (scripted, worker) = worker("> init < init").await;
    let session = worker.session(init());
    let control = session.control();
    drop(session);
    assert!(matches!(control.ended().await, Termination::Cancelled(_)));
    let session = worker.session(init());
    let control = session.control();
    drop(session.init());
    assert!(matches!(control.ended().await, Termination::Cancelled(_)));
    worker.heartbeat().await.expect("a round trip: a stream would have been seen by now");
    assert_eq!(scripted.heard_so_far(), "");
}

/// E12: an init that is dropped while it waits has ended too, wherever it was.
#[tokio::test]
async fn e12_a_dropped_init_is_cancelled() {
    let (_scripted, worker) = worker("> cancel < cancel").await;
    let session = worker.session(init());
    let control = session.control();
    assert!(session.init().now_or_never().is_none(), "the worker does not answer");
    assert!(matches!(control.ended().await, Termination::Cancelled(_)));
}

/// E3: an init that is not answered in time fails, and the worker is told to stop.
#[tokio::test]
async fn e3_init_times_out_and_cancels() {
    let (scripted, worker) = started("> init", impatient(|config| config.init_timeout = SHORT)).await;
    let told = life(&worker, &scripted).await;
    expect![[r#"
        init: Timeout WORKER_TIMEOUT: the worker did not answer Init within 60ms
        close: the transport failed: the worker did not answer Init within 60ms
        heard: init cancel close"#]]
    .assert_eq(&told);
}

/// E4: a payload above the chunk size goes in chunks.
#[tokio::test]
async fn e4_large_payloads_are_chunked() {
    let (scripted, worker) = worker("> chunk-last < init > cancel < cancel").await;
    let open = worker.open(Init::new("echo", vec![7u8; (2 << 20) + 1])).await.expect("the script says so");
    open.close().await;
    assert_eq!(scripted.heard().await, "init chunk chunk chunk-last cancel close");
}

/// E4: a worker that announces no limit gets messages under 4 MiB, and one that does, what it announced.
#[tokio::test]
async fn e4_messages_stay_under_the_limit() {
    for (announces, fits, limit) in [(None, 4_194_000, 4_194_303), (Some("9000000"), 8_999_000, 9_000_000)] {
        let announces: Vec<_> = announces.iter().map(|limit| ("max_message_bytes", *limit)).collect();
        let scripted = ScriptedWorker::announcing("> init < init", &announces).await;
        let worker = connect(&scripted, config()).await;
        let (mut input, _output) = open(&worker).await.split();
        input.send([Bytes::from(vec![0; fits])]).await.expect("it fits");
        let error = input.send([Bytes::from(vec![0; limit])]).await.expect_err("with its head it is larger");
        assert_eq!((error.kind(), error.condition()), (ErrorKind::Misuse, "MESSAGE_TOO_LARGE"));
        assert!(error.to_string().contains(&limit.to_string()), "{error}");
    }
}

/// E5, E9: a worker that never takes anything stops the caller at the window, and Cancel still reaches it.
#[tokio::test]
async fn e5_e9_a_full_window_stops_the_caller_and_cancel_passes() {
    let (scripted, worker) = worker("> init < init > cancel < cancel").await;
    let (mut input, output) = open(&worker).await.split();
    let control = output.control();
    let message = Bytes::from(vec![1u8; 100_000]);
    let flood = async { while input.send([message.clone()]).await.is_ok() {} };
    let stop = async {
        scripted.hears("data").await;
        // The rest is in the queue by the time the worker answers this, or on its way.
        for _ in 0..50 {
            worker.heartbeat().await.expect("Manage is not behind the data");
        }
        control.cancel("enough");
        scripted.hears("cancel").await;
    };
    tokio::join!(flood, stop);
    let sent = control.progress().bytes_sent;
    assert!(sent <= WINDOW + 100_000, "{sent} bytes went past a window of {WINDOW}");
    assert!(matches!(control.close().await, Termination::Cancelled(_)));
    let heard = scripted.heard().await;
    assert!(heard.ends_with("data cancel close"), "Cancel is the last word: {heard}");
}

/// E5: a caller that never reads holds no more than the window and a message.
#[tokio::test]
async fn e5_a_caller_that_never_reads_holds_no_more_than_the_window() {
    let script = format!("> init < init {} > cancel < cancel", "< data*1000000 ".repeat(40));
    let (scripted, worker) = worker(&script).await;
    let open = open(&worker).await;
    let control = open.control();
    // It stands still when nothing has come across many round trips.
    let (mut held, mut still) = (0, 0);
    while held == 0 || still < 100 {
        worker.heartbeat().await.expect("Manage is not behind the data");
        let now = control.progress().bytes_received;
        still = if now == held { still + 1 } else { 0 };
        held = now;
    }
    assert!(held <= WINDOW + 1_000_000, "{held} bytes are held, the window is {WINDOW}");
    drop(open);
    scripted.hears("cancel").await;
}

/// E9: Cancel gets its answer also when the output is full and nobody reads it: what is in the way is dropped.
#[tokio::test]
async fn e9_an_unread_output_is_not_in_the_way_of_cancel() {
    let script = format!("> init < init {} > cancel < cancel", "< data*3000000 ".repeat(20));
    let (scripted, worker) = worker(&script).await;
    let (input, output) = worker.open(init()).await.expect("the script says so").split();
    let control = output.control();
    while control.progress().bytes_received == 0 {
        worker.heartbeat().await.expect("Manage is not behind the data");
    }
    control.cancel("enough");
    assert!(matches!(control.ended().await, Termination::Cancelled(_)), "it came through");
    assert_eq!(scripted.heard().await, "init cancel close");
    drop((input, output));
}

/// E5, M2: streams of a worker that does not say how large its connection's window is get a connection each, so that
/// functions that take nothing stop neither another nor Manage.
#[tokio::test]
async fn e5_m2_stalled_sessions_of_a_plain_worker_stop_no_other() {
    let narrow = Settings { stream_window: 1 << 20, connection_window: 1 << 20, ..Settings::default() };
    let scripted = ScriptedWorker::with("> init < init > finish < finish", narrow).await;
    let worker = connect(&scripted, config()).await;
    let mut stalled = JoinSet::new();
    let mut controls = Vec::new();
    for _ in 0..5 {
        let (mut input, output) = worker.open(init()).await.expect("the script says so").split();
        controls.push(output.control());
        stalled.spawn(async move {
            while input.send([Bytes::from(vec![1; 100_000])]).await.is_ok() {}
            drop(output);
        });
    }
    // Each has filled the window that all would share.
    while controls.iter().any(|control| control.progress().bytes_sent < 800_000) {
        worker.heartbeat().await.expect("Manage is not behind the data");
    }
    let (input, mut output) = worker.open(init()).await.expect("there is room").split();
    input.finish().await.expect("it is open");
    assert_eq!(output.next().await.expect("it finishes"), None);
    stalled.abort_all();
}

/// E6: silence after Cancel is a failed transport, and the stream is reset.
#[tokio::test]
async fn e6_silence_after_cancel_fails_the_transport() {
    let (scripted, worker) = started("> init < init > cancel", impatient(|config| config.cancel_timeout = SHORT)).await;
    let open = open(&worker).await;
    let termination = open.close().await;
    assert!(!termination.is_salvageable(), "{termination}");
    expect!["the transport failed: the worker did not answer Cancel within 60ms"].assert_eq(&termination.to_string());
    assert_eq!(scripted.heard().await, "init cancel broken");
}

/// E6: after Finish a worker may be silent as long as its heartbeats are answered; when they are not, it is lost.
#[tokio::test]
async fn e6_after_finish_heartbeats_decide() {
    let mut config = impatient(|config| config.cancel_timeout = SHORT);
    config.heartbeat_interval = Duration::from_millis(10);
    let (scripted, worker) = started("> init < init > finish > never", config).await;
    let (input, mut output) = open(&worker).await.split();
    input.finish().await.expect("the session is open");
    scripted.hears("finish").await;
    scripted.beats(8).await;
    assert_eq!(output.control().termination(), None, "it is slow, and that is its right");
    scripted.fall_silent();
    let error = output.next().await.expect_err("three heartbeats are missing");
    assert_eq!(error.condition(), "WORKER_LOST");
    assert!(error.to_string().starts_with("worker does not answer"), "{error}");
}

/// E7: with an idle limit a hung function becomes an error that says so.
#[tokio::test]
async fn e7_an_idle_limit_ends_a_hung_function() {
    let (scripted, worker) =
        started("> init < init > data > finish > never", impatient(|config| config.idle_limit = Some(SHORT))).await;
    let told = life(&worker, &scripted).await;
    assert!(told.contains("Timeout WORKER_IDLE: the worker was silent for 60ms with data outstanding"), "{told}");
    assert!(told.ends_with("heard: init data finish cancel close"), "{told}");
}

/// E7: while the caller has something to read, the silence is its own.
#[tokio::test]
async fn e7_time_in_which_the_caller_does_not_read_does_not_count() {
    let mut config = impatient(|config| config.idle_limit = Some(SHORT));
    config.heartbeat_interval = SHORT / 4;
    let (scripted, worker) = started("> init < init > data < data:read_me > finish > never", config).await;
    let (mut input, mut output) = open(&worker).await.split();
    input.send([Bytes::from_static(b"batch")]).await.expect("the session is open");
    input.finish().await.expect("the session is open");
    scripted.hears("finish").await;
    scripted.beats(12).await;
    assert_eq!(output.control().termination(), None, "three limits have passed, but there was something to read");
    assert_eq!(output.next().await.expect("it came").as_deref(), Some(&b"read_me"[..]));
    assert_eq!(output.next().await.expect_err("now it is the worker's silence").condition(), "WORKER_IDLE");
}

/// E8: the caller's input fails: the wire shows Cancel, and the caller gets its own error back.
#[tokio::test]
async fn e8_a_failing_input_cancels_and_keeps_its_error() {
    let (scripted, input, mut output) = split("> init < init > cancel < cancel").await;
    assert_eq!(input.fail("line 7 is no number"), "line 7 is no number");
    assert_eq!(output.next().await.expect_err("cancelled").kind(), ErrorKind::Cancelled);
    assert_eq!(scripted.heard().await, "init cancel close");
}

/// E8, E12: an input that is dropped before its end, or an output, is a cancelled execution, never a short one.
#[tokio::test]
async fn e8_e12_a_dropped_end_cancels() {
    let (scripted, worker) = worker("> init < init > cancel < cancel").await;
    let (input, mut output) = open(&worker).await.split();
    drop(input);
    assert_eq!(output.next().await.expect_err("cancelled").kind(), ErrorKind::Cancelled);
    assert_eq!(scripted.heard().await, "init cancel close");

    let (scripted, mut input, output) = split("> init < init > cancel < cancel").await;
    drop(output);
    while input.send([Bytes::from_static(b"more")]).await.is_ok() {}
    assert!(scripted.heard().await.ends_with("cancel close"));
}

/// E9: Cancel goes at most once, whoever asks, however often, and is a no-op after the terminator.
#[tokio::test]
async fn e9_cancel_goes_once() {
    let (scripted, worker) = worker("> init < init > cancel < cancel").await;
    let open = open(&worker).await;
    let control = open.control();
    let threads: Vec<_> = (0..8)
        .map(|number| {
            let control = control.clone();
            std::thread::spawn(move || control.cancel(format!("thread {number}")))
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
    assert!(matches!(control.close().await, Termination::Cancelled(_)));
    control.cancel("again");
    control.interrupt();
    assert!(matches!(control.close().await, Termination::Cancelled(_)));
    assert_eq!(scripted.heard().await, "init cancel close");
}

/// E10: the data-phase error comes first, then the terminator's own, then bare cancellation.
#[tokio::test]
async fn e10_errors_by_precedence() {
    check(
        "> init < init > data < error > cancel < cancel-error",
        expect![[r#"
        User SCRIPTED: [SCRIPTED] scripted error
        close: failed: [SCRIPTED] scripted error
        heard: init data finish cancel close"#]],
    )
    .await;
    check(
        "> init < init > finish < finish-error",
        expect![[r#"
        User SCRIPTED: [SCRIPTED] scripted finish-error
        close: finished
        heard: init data finish close"#]],
    )
    .await;
    let (_scripted, _input, output) = split("> init < init > cancel < cancel-error").await;
    let error = output.close().await.expect_err("the callback failed");
    assert_eq!(describe(&error), "User SCRIPTED: [SCRIPTED] scripted cancel-error");
}

/// C2, R8: an error is answered with Cancel, also after Finish; a FinishResponse behind it ends the execution, and the
/// error is reported all the same.
#[tokio::test]
async fn c2_r8_finish_response_behind_an_error_ends_it() {
    check(
        "> init < init > finish < error > cancel < finish",
        expect![[r#"
        User SCRIPTED: [SCRIPTED] scripted error
        close: failed: [SCRIPTED] scripted error
        heard: init data finish cancel close"#]],
    )
    .await;
}

/// R4, R8: the worker refuses: its error survives, Cancel is sent, and the session ends as cancelled.
#[tokio::test]
async fn r4_r8_a_refused_init_keeps_its_error() {
    check(
        "> init < init-error > cancel < cancel",
        expect![[r#"
        init: User SCRIPTED: [SCRIPTED] scripted init-error
        close: cancelled
        heard: init cancel close"#]],
    )
    .await;
}

/// E11: before InitResponse: what a worker may not say ends the session at once, not after a timeout.
#[tokio::test]
async fn e11_misbehaving_before_init_response() {
    check(
        "> init < data:early",
        expect![[r#"
        init: Violation PROTOCOL_VIOLATION: the worker broke the protocol: got DataResponse before InitResponse (R6)
        close: the transport failed: the worker broke the protocol: got DataResponse before InitResponse (R6)
        heard: init broken"#]],
    )
    .await;
    check(
        "> init < finish",
        expect![[r#"
        init: Violation PROTOCOL_VIOLATION: the worker broke the protocol: got FinishResponse before InitResponse (R10)
        close: the transport failed: the worker broke the protocol: got FinishResponse before InitResponse (R10)
        heard: init broken"#]],
    )
    .await;
    check(
        "> init < error > cancel < cancel",
        expect![[r#"
        init: User SCRIPTED: [SCRIPTED] scripted error
        close: cancelled
        heard: init cancel close"#]],
    )
    .await;
    check(
        "> init < cancel",
        expect![[r#"
        init: Cancelled CANCELLED: the execution was cancelled
        close: cancelled
        heard: init close"#]],
    )
    .await;
    check(
        "> init < close",
        expect![[r#"
        init: Violation PROTOCOL_VIOLATION: the worker ended the stream without FinishResponse or CancelResponse (E11)
        close: the transport failed: the worker ended the stream without FinishResponse or CancelResponse (E11)
        heard: init"#]],
    )
    .await;
}

/// E11, R16: after InitResponse.
#[tokio::test]
async fn e11_r16_misbehaving_after_init_response() {
    let (scripted, _input, mut output) = split("> init < init < finish").await;
    let error = output.next().await.expect_err("a failure, not a short result");
    assert_eq!(
        describe(&error),
        "Violation PROTOCOL_VIOLATION: the worker broke the protocol: got FinishResponse before Finish was sent (R10)"
    );
    assert_eq!(scripted.heard().await, "init broken");
    check(
        "> init < init > data < init",
        expect![[r#"
        Violation PROTOCOL_VIOLATION: the worker broke the protocol: got a second InitResponse (R4)
        close: the transport failed: the worker broke the protocol: got a second InitResponse (R4)
        heard: init data finish broken"#]],
    )
    .await;
    check("> init < init > finish < empty", expect![[r#"
        Violation PROTOCOL_VIOLATION: the worker broke the protocol: got a response that is empty or of an unknown kind (R16)
        close: the transport failed: the worker broke the protocol: got a response that is empty or of an unknown kind (R16)
        heard: init data finish broken"#]])
    .await;
    check("> init < init > finish < unknown", expect![[r#"
        Violation PROTOCOL_VIOLATION: the worker broke the protocol: got a control response that is empty or of an unknown kind (R16)
        close: the transport failed: the worker broke the protocol: got a control response that is empty or of an unknown kind (R16)
        heard: init data finish broken"#]])
    .await;
    check(
        "> init < init > finish < data:part < close",
        expect![[r#"
        data: part
        Violation PROTOCOL_VIOLATION: the worker ended the stream without FinishResponse or CancelResponse (E11)
        close: the transport failed: the worker ended the stream without FinishResponse or CancelResponse (E11)
        heard: init data finish"#]],
    )
    .await;
    check(
        "> init < init > finish < cancel",
        expect![[r#"
        Cancelled CANCELLED: the execution was cancelled
        close: cancelled
        heard: init data finish close"#]],
    )
    .await;
    check(
        "> init < init > finish < error < data:late > cancel < cancel",
        expect![[r#"
        User SCRIPTED: [SCRIPTED] scripted error
        close: failed: [SCRIPTED] scripted error
        heard: init data finish cancel close"#]],
    )
    .await;
}

/// R14: a status is transport: it fails the session with gRPC's code and text.
#[tokio::test]
async fn r14_a_status_is_a_failed_transport() {
    check(
        "> init < init > finish < status:14",
        expect![[r#"
        Violation PROTOCOL_VIOLATION: Unavailable: scripted
        close: the transport failed: Unavailable: scripted
        heard: init data finish"#]],
    )
    .await;
    check(
        "> init < init > finish < reset",
        expect![[r#"
        Transport TRANSPORT_FAILED: Cancelled: stream error received: stream no longer needed
        close: the transport failed: Cancelled: stream error received: stream no longer needed
        heard: init data finish"#]],
    )
    .await;
}

/// R13, E11: the first terminal wins: a terminator behind a terminator changes nothing, and asking again says the same.
#[tokio::test]
async fn r13_e11_the_first_terminal_wins() {
    let (scripted, input, mut output) = split("> init < init > finish < finish:1 < cancel").await;
    input.finish().await.expect("the session is open");
    for _ in 0..3 {
        assert_eq!(output.next().await.expect("finished"), None);
    }
    let control = output.control();
    let summary = output.close().await.expect("finished");
    assert_eq!(summary.data.as_deref(), Some(&b"1"[..]));
    assert_eq!(summary.metrics.get("status").as_deref(), Some("ok"), "S3");
    assert!(matches!(control.close().await, Termination::Finished(_)));
    assert_eq!(scripted.heard().await, "init finish close");
}

/// E12: init done and process never called: Cancel is sent, so that the worker never sees a bare broken stream.
#[tokio::test]
async fn e12_close_without_process_cancels() {
    let (scripted, worker) = worker("> init < init > cancel < cancel").await;
    let open = open(&worker).await;
    assert!(matches!(open.close().await, Termination::Cancelled(_)));
    assert_eq!(scripted.heard().await, "init cancel close");
    let (scripted, worker) = self::worker("> init < init > cancel < cancel").await;
    drop(self::open(&worker).await);
    assert_eq!(scripted.heard().await, "init cancel close", "dropping does the same in the background");
}

/// E12: close from another thread while init is blocked wakes it; Cancel goes only after Init.
#[tokio::test]
async fn e12_close_wakes_a_blocked_init() {
    let (scripted, worker) = worker("> init > cancel < cancel").await;
    let session = worker.session(init());
    let control = session.control();
    let closing = async {
        scripted.hears("init").await;
        control.close().await
    };
    let (opened, termination) = tokio::join!(session.init(), closing);
    assert_eq!(opened.expect_err("closed meanwhile").kind(), ErrorKind::Cancelled);
    assert!(matches!(termination, Termination::Cancelled(_)));
    assert_eq!(scripted.heard().await, "init cancel close");
}

/// C3: a cancelled init takes a late InitResponse, or none.
#[tokio::test]
async fn c3_a_late_init_response_is_accepted() {
    let (scripted, worker) = worker("> init > cancel < init < cancel").await;
    let session = worker.session(init());
    let control = session.control();
    let cancelling = async {
        scripted.hears("init").await;
        control.cancel("too late");
    };
    let (opened, ()) = tokio::join!(session.init(), cancelling);
    assert_eq!(opened.expect_err("cancelled meanwhile").kind(), ErrorKind::Cancelled);
    assert!(matches!(control.close().await, Termination::Cancelled(_)));
}

/// E13: an interrupted session that is acknowledged is Cancelled, otherwise Interrupted and not salvageable (E14).
#[tokio::test]
async fn e13_e14_interrupt_waits_for_the_acknowledgement() {
    for (script, acknowledged) in [("> init < init > cancel < cancel", true), ("> init < init > cancel", false)] {
        let (_scripted, worker) = started(script, impatient(|config| config.interrupt_timeout = SHORT)).await;
        let open = open(&worker).await;
        let control = open.control();
        control.interrupt();
        let termination = control.ended().await;
        assert_eq!(termination.is_salvageable(), acknowledged, "{termination}");
        assert_eq!(matches!(termination, Termination::Interrupted), !acknowledged);
    }
}

/// E13: an interrupt during init.
#[tokio::test]
async fn e13_interrupt_during_init() {
    let (scripted, worker) = started("> init > cancel", impatient(|config| config.interrupt_timeout = SHORT)).await;
    let session = worker.session(init());
    let control = session.control();
    let interrupting = async {
        scripted.hears("init").await;
        control.interrupt();
    };
    let (opened, ()) = tokio::join!(session.init(), interrupting);
    assert_eq!(opened.expect_err("interrupted").condition(), "INTERRUPTED");
    assert_eq!(scripted.heard().await, "init cancel broken");
}

/// E14: finished, cancelled and failed leave the worker fit for another session.
#[tokio::test]
async fn e14_what_is_salvageable() {
    for (script, salvageable) in [
        ("> init < init > finish < finish", true),
        ("> init < init > finish < error > cancel < cancel", true),
        ("> init < init > finish < cancel", true),
        ("> init < init > finish < close", false),
        ("> init < init > finish < reset", false),
    ] {
        let (_scripted, worker) = worker(script).await;
        let session = worker.session(init());
        let control = session.control();
        let _ = process(session.init().await.expect("the script says so")).await;
        assert_eq!(control.ended().await.is_salvageable(), salvageable, "{script}");
    }
}

/// C1, M6: data goes before InitResponse only where the worker announced it and the caller asked.
#[tokio::test]
async fn c1_m6_pipelining_is_negotiated() {
    let asked = || impatient(|config| config.pipelining = Pipelining::IfAnnounced);
    let script = "> init > data < init > finish < finish";
    for (features, config, early) in
        [("pipelining", asked(), true), ("other", asked(), false), ("pipelining", config(), false)]
    {
        let scripted = ScriptedWorker::announcing(script, &[("features", features)]).await;
        let worker = connect(&scripted, config).await;
        let session = worker.session(init());
        let (mut input, opening) = session.pipelined().await.expect("the stream opens");
        input.send([Bytes::from_static(b"early")]).await.expect("it waits in the queue, or goes");
        if early {
            scripted.hears("data").await;
            assert!(opening.init().await.is_ok());
        } else {
            worker.heartbeat().await.expect("a round trip behind Init");
            assert_eq!(scripted.heard_so_far(), "init", "{features}");
        }
    }
}

/// E2: misuse is an error of the caller's kind at run time too, never a hang.
#[test]
fn e2_misuse_of_the_blocking_face_is_an_error() {
    let (_runtime, _scripted, session) = blocking("> init < init > finish < finish");
    let misuse = |error: Error| {
        assert_eq!(error.kind(), ErrorKind::Misuse);
        error.condition().to_string()
    };
    assert_eq!(misuse(session.process().expect_err("before init")), "NOT_INITIALIZED");
    session.init().expect("the script says so");
    assert_eq!(misuse(session.init().expect_err("again")), "INIT_TWICE");
    let (input, mut output) = session.process().expect("the first time");
    assert_eq!(misuse(session.process().expect_err("again")), "PROCESS_TWICE");
    input.finish().expect("the session is open");
    assert_eq!(output.next().expect("finished"), None);
    assert!(matches!(session.close(), Termination::Finished(_)));
    assert!(matches!(session.close(), Termination::Finished(_)), "more than once, harmlessly");
}

/// E2: a session whose init failed can't be processed.
#[test]
fn e2_process_needs_a_good_init() {
    let (_runtime, _scripted, session) = blocking("> init < init-error > cancel < cancel");
    assert_eq!(session.init().expect_err("refused").kind(), ErrorKind::User);
    assert_eq!(session.process().expect_err("not open").kind(), ErrorKind::Misuse);
    assert!(matches!(session.close(), Termination::Cancelled(_)));
}

/// E12: the blocking face is closed from one thread while another is inside its init.
#[test]
fn e12_close_wakes_a_blocked_init_of_the_blocking_face() {
    let (runtime, scripted, session) = blocking("> cancel < cancel");
    std::thread::scope(|scope| {
        let opening = scope.spawn(|| session.init());
        runtime.block_on(scripted.hears("init"));
        assert!(matches!(session.close(), Termination::Cancelled(_)));
        assert_eq!(opening.join().expect("no panic").expect_err("it was closed").kind(), ErrorKind::Cancelled);
    });
    assert_eq!(session.process().expect_err("not open").kind(), ErrorKind::Misuse);
    assert_eq!(runtime.block_on(scripted.heard()), "init cancel close");
}

/// E12: dropping the handles of the blocking face ends the session in the background, and a control tells how.
#[test]
fn e12_a_dropped_blocking_session_tells_its_end() {
    let (runtime, scripted, session) = blocking("> init < init > cancel < cancel");
    let control = session.control();
    session.init().expect("the script says so");
    assert_eq!(control.termination(), None);
    drop(session);
    assert!(matches!(control.ended(), Termination::Cancelled(_)));
    assert_eq!(runtime.block_on(scripted.heard()), "init cancel close");
}

/// C1, E2: the blocking face pipelines, too, and a session that was begun so can't be begun again.
#[test]
fn c1_e2_the_blocking_face_pipelines() {
    let mut config = config();
    config.session.pipelining = Pipelining::IfAnnounced;
    let script = "> finish < init:schema < data:early < finish";
    let (_runtime, _scripted, worker) = blocking_worker(script, &[("features", "pipelining")], config);
    let session = worker.session(init());
    let (mut input, opening) = session.pipelined().expect("the stream opens");
    assert_eq!(session.init().expect_err("again").condition(), "INIT_TWICE");
    assert_eq!(session.process().expect_err("again").condition(), "PROCESS_TWICE");
    input.send(["early".into()]).expect("it need not wait");
    input.finish().expect("it need not wait");
    let (data, mut output) = opening.init().expect("the script says so");
    assert_eq!(data.as_deref(), Some(&b"schema"[..]));
    assert_eq!(output.next().expect("it came").as_deref(), Some(&b"early"[..]));
    assert_eq!(output.next().expect("finished"), None);
}

/// E3, E6, E12: an engine that lets go of its worker before it exits leaves no bare broken connection, whatever was still on
/// its way when the session had ended.
#[test]
fn e3_e6_e12_a_worker_is_left_in_order() {
    let impatient = impatient(|config| (config.init_timeout, config.cancel_timeout) = (SHORT, SHORT));
    for (script, heard) in [
        ("> init", "init cancel close"),
        ("> init < init > cancel", "init cancel broken"),
        ("> init < init > cancel < cancel", "init cancel close"),
    ] {
        let (runtime, scripted, worker) = blocking_worker(script, &[], impatient.clone());
        let session = worker.session(init());
        // How it ends is another test's.
        let _ = session.init();
        session.close();
        drop(session);
        worker.disconnect();
        assert_eq!(runtime.block_on(scripted.heard()), heard, "{script}");
    }
    // Handles that were dropped are being cancelled in the background.
    let (runtime, scripted, worker) = blocking_worker("> init < init > cancel < cancel", &[], config());
    let session = worker.session(init());
    session.init().expect("the script says so");
    drop(session);
    worker.disconnect();
    assert_eq!(runtime.block_on(scripted.heard()), "init cancel close");
}

/// D6: what listens and never answers is given up, not waited for.
#[tokio::test]
async fn d6_a_silent_listener_is_given_up() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("w");
    let _listener = tokio::net::UnixListener::bind(&path).expect("a fresh socket");
    let mut config = config();
    config.launch.init_timeout = SHORT;
    let error = Worker::connect(&anyudf_engine::Endpoint::Unix(path), None, config).await.expect_err("it is silent");
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
}

/// D7: a worker that we were given is asked, and no more: what runs in it goes on.
#[tokio::test]
async fn d7_a_worker_that_we_were_given_is_only_asked() {
    let (scripted, worker) = worker("> init < init > finish < finish").await;
    let (input, mut output) = open(&worker).await.split();
    worker.end().await.expect("it answers");
    input.finish().await.expect("the session is open");
    assert_eq!(output.next().await.expect("finished"), None);
    assert_eq!(scripted.heard().await, "init finish close");
}

/// E12: a worker that vanishes in the middle ends the session at once, with a transport error.
#[tokio::test]
async fn e12_a_worker_that_vanishes_fails_the_transport() {
    let (scripted, mut input, mut output) = split("> init < init > data < data:part > never").await;
    input.send([Bytes::from_static(b"batch")]).await.expect("the session is open");
    assert_eq!(output.next().await.expect("it came").as_deref(), Some(&b"part"[..]));
    scripted.vanish();
    assert_eq!(output.next().await.expect_err("it is gone").kind(), ErrorKind::Transport);
    assert!(!output.control().ended().await.is_salvageable());
}
