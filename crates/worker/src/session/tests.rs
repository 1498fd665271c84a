//! The session without I/O, threads or a clock: a dialogue is a line of words, and what the session says is another.
//!
//! ```text
//! > WORD    the engine says it: init, init-chunked, chunk:DATA, last:DATA, data:DATA, finish, cancel, close, empty, break
//! ! WORD    the function does it: opened, refused, starts, calls, emits:DATA, fails, finishes, cancels
//! * WORD    hurry (a shutdown), seat (a place becomes free), stall / flow (the engine's window)
//! ~ 1.5s    time passes
//! |         a mark in the transcript
//! ```

use std::sync::Mutex;

use anyudf_grpc::{Code, Credit, Parse};
use anyudf_protocol::{Blame, Chunk, wire};
use bytes::Buf;
use expect_test::{Expect, expect};
use futures::FutureExt;
use futures::task::noop_waker_ref;
use tokio::sync::{Semaphore, watch};

use super::*;
use crate::clock::{Call, Phase};
use crate::link::{Conclusion, FromUser, Outcome, ToUser};

/// Keeps what would have become a thread.
#[derive(Default)]
struct FakeHost {
    totals: Arc<Totals>,
    launched: Mutex<Option<(Ends, Invocation)>>,
}

impl Host for FakeHost {
    fn launch(&self, ends: Ends, invocation: Invocation) -> Result<(), ExecutionError> {
        *self.launched.lock().unwrap() = Some((ends, invocation));
        Ok(())
    }

    fn check_format(&self, format: &str) -> Result<(), ExecutionError> {
        match format {
            "echo" => Ok(()),
            other => Err(ExecutionError::protocol("UNKNOWN_PAYLOAD_FORMAT", other)),
        }
    }

    fn totals(&self) -> &Arc<Totals> {
        &self.totals
    }

    fn max_message(&self) -> usize {
        1 << 20
    }
}

struct Stage {
    session: Session,
    host: Arc<FakeHost>,
    ends: Option<Ends>,
    places: Arc<Semaphore>,
    hurry: watch::Sender<bool>,
    active: std::sync::Weak<()>,
    now: Instant,
    /// Whether the engine's window takes data.
    stalled: bool,
    said: Vec<String>,
    init: wire::Init,
}

fn init() -> wire::Init {
    wire::Init {
        data_format: wire::UdfWorkerDataFormat::Arrow as i32,
        udf: Some(wire::UdfPayload { format: "echo".into(), ..Default::default() }),
        ..Default::default()
    }
}

impl Stage {
    fn new(init: wire::Init, seats: usize) -> Self {
        let host = Arc::new(FakeHost::default());
        let places = Arc::new(Semaphore::new(seats));
        let (hurry, mut hurried) = watch::channel(false);
        let token = Arc::new(());
        let active = Arc::downgrade(&token);
        let seat = Arc::clone(&places);
        let now = Instant::now();
        let session = Session::new(Surroundings {
            host: Arc::clone(&host) as Arc<dyn Host>,
            place: Box::pin(async move { seat.acquire_owned().await.unwrap() }),
            hurried: Box::pin(async move { drop(hurried.wait_for(|hurry| *hurry).await) }),
            deadline: Some(now + Duration::from_secs(3_600)),
            active: Box::new(token),
        });
        Stage { session, host, ends: None, places, hurry, active, now, stalled: false, said: Vec::new(), init }
    }

    fn play(&mut self, script: &str) {
        let mut words = script.split_whitespace();
        while let Some(who) = words.next() {
            match who {
                "|" => self.said.push("|".into()),
                ">" => self.engine(words.next().unwrap()),
                "!" => self.function(words.next().unwrap()),
                "*" => self.world(words.next().unwrap()),
                "~" => {
                    let seconds = words.next().unwrap().strip_suffix('s').unwrap();
                    self.now += Duration::from_secs_f64(seconds.parse().unwrap());
                    if self.session.deadline().is_some_and(|deadline| deadline <= self.now) {
                        self.session.handle(Event::Elapsed, self.now);
                    }
                }
                other => panic!("what is {other}?"),
            }
            self.pump();
        }
    }

    fn engine(&mut self, word: &str) {
        let (name, data) = word.split_once(':').unwrap_or((word, ""));
        let data = || bytes::Bytes::copy_from_slice(data.as_bytes());
        let request = match name {
            "init" => Request::Init(Box::new(self.init.clone())),
            "init-chunked" => {
                let init = wire::Init { is_chunking_payload: Some(true), ..self.init.clone() };
                Request::Init(Box::new(init))
            }
            "chunk" => Request::Chunk(Chunk { data: data(), last: false }),
            "last" => Request::Chunk(Chunk { data: data(), last: true }),
            "data" => Request::Data(data()),
            "finish" => Request::Finish,
            "cancel" => Request::Cancel(Some("enough".into())),
            "close" => return self.session.handle(Event::Ended(Status::ok()), self.now),
            "break" => {
                let status = Status::new(Code::Cancelled, "reset");
                return self.session.handle(Event::Broken(status), self.now);
            }
            "empty" => {
                let violation = Request::try_from(wire::UdfRequest::default()).unwrap_err();
                return self.session.handle(Event::Violation(violation), self.now);
            }
            other => panic!("what is {other}?"),
        };
        self.session.handle(Event::Message(request, Credit::free()), self.now);
    }

    fn function(&mut self, word: &str) {
        if self.ends.is_none() {
            self.ends = self.host.launched.lock().unwrap().take().map(|(ends, _)| ends);
        }
        let (name, data) = word.split_once(':').unwrap_or((word, ""));
        let ends = self.ends.as_ref().expect("the function was launched");
        let failure = || ExecutionError::user("it failed").with_class("FAILED");
        // Not heard after Cancel, as it should be.
        let say = |what, bytes| ends.send(what, bytes).unwrap_or(());
        let conclude = |outcome| Conclusion { outcome, metrics: Metrics::default().with_other("status", "ok") };
        match name {
            "opened" => say(FromUser::Opened(Ok(None)), 1),
            "refused" => say(FromUser::Opened(Err(failure())), 1),
            "starts" => ends.shared.clock.start(Call { phase: Phase::Open, batch: 0 }, self.now.into_std()),
            "calls" => ends.shared.clock.start(Call { phase: Phase::Process, batch: 7 }, self.now.into_std()),
            "limits" => ends.shared.clock.bound(Duration::from_secs(data.parse().expect("seconds"))),
            "waits" => ends.shared.clock.pause(self.now.into_std()),
            "goes-on" => ends.shared.clock.resume(self.now.into_std()),
            "returns" => ends.shared.clock.stop(),
            "emits" => {
                let data = bytes::Bytes::copy_from_slice(data.as_bytes());
                let bytes = data.len();
                say(FromUser::Data { message: Outgoing::data([data]), bytes, rows: None }, bytes);
            }
            "fails" => say(FromUser::Failed(failure()), 1),
            "finishes" => {
                let ends = self.ends.take().unwrap();
                ends.conclude(conclude(Outcome::Finished { data: None, error: None }));
            }
            "finishes-badly" => {
                let ends = self.ends.take().unwrap();
                ends.conclude(conclude(Outcome::Finished { data: None, error: Some(failure()) }));
            }
            "cancels" => {
                let ends = self.ends.take().unwrap();
                ends.conclude(conclude(Outcome::Cancelled { error: None }));
            }
            "cancels-badly" => {
                let ends = self.ends.take().unwrap();
                ends.conclude(conclude(Outcome::Cancelled { error: Some(failure()) }));
            }
            other => panic!("what is {other}?"),
        }
    }

    fn world(&mut self, word: &str) {
        match word {
            "hurry" => drop(self.hurry.send_replace(true)),
            "seat" => self.places.add_permits(1),
            "stall" => self.stalled = true,
            "flow" => self.stalled = false,
            other => panic!("what is {other}?"),
        }
    }

    /// What `drive` does: asks, sends, and ends.
    fn pump(&mut self) {
        if self.active.strong_count() == 0 {
            return;
        }
        let mut cx = Context::from_waker(noop_waker_ref());
        loop {
            let asked = self.session.poll_asked(&mut cx, self.now).is_ready();
            let sent = self.send();
            if let Some(ending) = self.session.ending() {
                match ending {
                    Ending::Close(_) if !self.session.outbox().is_empty() => {}
                    Ending::Close(status) => {
                        self.said.push(format!("end:{:?}", status.code()));
                        return self.session.ended();
                    }
                    Ending::Reset => {
                        self.said.push("reset".into());
                        return self.session.ended();
                    }
                }
            }
            if !asked && !sent {
                return;
            }
        }
    }

    fn send(&mut self) -> bool {
        let mut sent = false;
        while let Some(next) = self.session.outbox().front() {
            if next.is_bulk() && self.stalled {
                break;
            }
            let mut message = self.session.outbox().pop_front().unwrap();
            let mut bytes = message.copy_to_bytes(message.remaining());
            bytes.advance(5);
            self.said.push(word(Response::parse(bytes).unwrap()));
            sent = true;
        }
        sent
    }

    fn transcript(&self) -> String {
        self.said.join(" ")
    }
}

fn word(response: Response) -> String {
    let with = |name: &str, error: &Option<ExecutionError>| match error {
        None => name.to_owned(),
        Some(error) => format!("{name}[{}]", error.condition().unwrap_or("?")),
    };
    match response {
        Response::Init(init) => with("init", &init.error),
        Response::Data(data) => format!("data:{}", String::from_utf8_lossy(&data)),
        Response::Error(error) => with("error", &Some(error)),
        Response::Finish(finish) => with("finish", &finish.error),
        Response::Cancel(cancel) => with("cancel", &cancel.error),
    }
}

fn play(script: &str) -> Stage {
    let mut stage = Stage::new(init(), 1);
    stage.play(script);
    stage
}

fn check(script: &str, said: Expect) {
    said.assert_eq(&play(script).transcript());
}

fn check_init(change: impl FnOnce(&mut wire::Init), script: &str, said: Expect) {
    let mut init = init();
    change(&mut init);
    let mut stage = Stage::new(init, 1);
    stage.play(script);
    said.assert_eq(&stage.transcript());
}

/// R4, R6, R10, R13: InitResponse when the function is open, data as it comes, one terminator, and the end.
#[test]
fn r4_r6_r10_r13_a_plain_execution() {
    check(
        "> init | ! opened | ! emits:a ! emits:b > finish | ! finishes",
        expect!["| init | data:a data:b | finish end:Ok"],
    );
}

/// R10: what the finish callback fails with travels in FinishResponse.
#[test]
fn r10_a_failing_finish() {
    check("> init ! opened > finish ! finishes-badly", expect!["init finish[FAILED] end:Ok"]);
}

/// R1, R2, C5, R5, R19, C2: violations are reported where the stream stands, and not waited on.
#[test]
fn r1_r2_r5_r19_c2_c5_violations_end_at_once() {
    check("> data:x", expect!["init[PROTOCOL_VIOLATION] cancel end:Ok"]);
    check("> finish", expect!["init[PROTOCOL_VIOLATION] cancel end:Ok"]);
    check("> init > chunk:x", expect!["init[PROTOCOL_VIOLATION] cancel end:Ok"]);
    check("> init-chunked > chunk:x > data:x", expect!["init[PROTOCOL_VIOLATION] cancel end:Ok"]);
    check("> init-chunked > chunk:", expect!["init[PROTOCOL_VIOLATION] cancel end:Ok"]);
    check("> init ! opened > init", expect!["init error[PROTOCOL_VIOLATION] cancel end:Ok"]);
    check("> init ! opened > finish > data:x", expect!["init error[PROTOCOL_VIOLATION] cancel end:Ok"]);
    check("> init ! opened > last:x", expect!["init error[PROTOCOL_VIOLATION] cancel end:Ok"]);
}

/// R7, R16: an empty request is a violation, and is folded into an error that was reported before.
#[test]
fn r7_r16_empty_requests() {
    check("> empty", expect!["init[PROTOCOL_VIOLATION] cancel end:Ok"]);
    check("> init ! opened > empty", expect!["init error[PROTOCOL_VIOLATION] cancel end:Ok"]);
    check("> init ! opened ! fails | > empty", expect!["init error[FAILED] | cancel end:Ok"]);
    check("> init ! opened > cancel > empty | ! cancels", expect!["init | cancel end:Ok"]);
}

/// R3, R15, R17, R18, C2: bad content of Init waits for Cancel.
#[test]
fn r3_r15_r17_r18_bad_content_waits_for_cancel() {
    let bad = "> init | ~ 9.9s | > cancel";
    check_init(|init| init.data_format = 0, bad, expect!["init[UNSUPPORTED_DATA_FORMAT] | | cancel end:Ok"]);
    check_init(|init| init.data_format = 77, bad, expect!["init[UNSUPPORTED_DATA_FORMAT] | | cancel end:Ok"]);
    let version = |init: &mut wire::Init| init.protocol_version = Some(9);
    check_init(version, bad, expect!["init[UNSUPPORTED_PROTOCOL_VERSION] | | cancel end:Ok"]);
    check_init(|init| init.udf = None, bad, expect!["init[MISSING_FIELD] | | cancel end:Ok"]);
    let format = |init: &mut wire::Init| init.udf.as_mut().unwrap().format = "sing".into();
    check_init(format, bad, expect!["init[UNKNOWN_PAYLOAD_FORMAT] | | cancel end:Ok"]);
    let size = |init: &mut wire::Init| init.udf.as_mut().unwrap().payload_size = Some(9);
    check_init(size, bad, expect!["init[PAYLOAD_SIZE_MISMATCH] | | cancel end:Ok"]);
    let crc = |init: &mut wire::Init| init.udf.as_mut().unwrap().payload_crc32 = Some(9);
    check_init(crc, bad, expect!["init[PAYLOAD_CHECKSUM_MISMATCH] | | cancel end:Ok"]);
    let timeout = |init: &mut wire::Init| {
        init.session_conf.insert(crate::invocation::CALL_TIMEOUT_KEY.into(), "soon".into());
    };
    check_init(timeout, bad, expect!["init[INVALID_SESSION_CONF] | | cancel end:Ok"]);
}

/// R3, R4: a payload in chunks is checked as soon as it is wrong; late chunks, data and Finish are dropped.
#[test]
fn r3_r4_late_chunks_are_dropped() {
    let size = |init: &mut wire::Init| init.udf.as_mut().unwrap().payload_size = Some(3);
    let script = "> init-chunked > chunk:abcd | > chunk:e > last:f > data:x | > cancel";
    check_init(size, script, expect!["init[PAYLOAD_SIZE_MISMATCH] | | cancel end:Ok"]);
}

/// R3: the pieces arrive in order, and the function sees one payload.
#[test]
fn r3_a_payload_is_assembled() {
    let stage = play("> init-chunked > chunk:ab > chunk:cd > last:e");
    let launched = stage.host.launched.lock().unwrap().take();
    assert_eq!(launched.expect("the payload is whole").1.payload(), "abcde");
}

/// C2: how long an error waits for Cancel: 10 s, 1 s if Finish comes before or after it, not at all after half-close.
#[test]
fn c2_how_long_an_error_waits() {
    let failed = "> init ! opened ! fails ! cancels";
    check(&format!("{failed} ~ 9.9s | ~ 0.1s"), expect!["init error[FAILED] | cancel end:Ok"]);
    check(&format!("{failed} ~ 5s > finish ~ 0.9s | ~ 0.1s"), expect!["init error[FAILED] | cancel end:Ok"]);
    check(&format!("{failed} ~ 9.5s > finish ~ 0.4s | ~ 0.1s"), expect!["init error[FAILED] | cancel end:Ok"]);
    let finished = "> init ! opened > finish ! fails ! cancels";
    check(&format!("{finished} ~ 0.9s | ~ 0.1s"), expect!["init error[FAILED] | cancel end:Ok"]);
    check(&format!("{failed} | > close"), expect!["init error[FAILED] | cancel end:Ok"]);
    check("> init ! opened > finish > close | ! fails | ! cancels", expect!["init | error[FAILED] | cancel end:Ok"]);
    check(&format!("{failed} > data:x | > cancel"), expect!["init error[FAILED] | cancel end:Ok"]);
}

/// R4, R8: a function that does not open; the terminator waits for Cancel.
#[test]
fn r4_r8_a_failing_open() {
    check("> init ! refused ! cancels | > cancel", expect!["init[FAILED] | cancel end:Ok"]);
}

/// R7: the error comes after the data that was emitted before it.
#[test]
fn r7_the_error_follows_the_data() {
    check(
        "> init ! opened ! emits:a ! emits:b ! fails ! cancels > cancel",
        expect!["init data:a data:b error[FAILED] cancel end:Ok"],
    );
}

/// R9, R12, C4: after Cancel no data, also what waited for room; what follows is dropped unread.
#[test]
fn r9_r12_c4_cancel_passes_the_data() {
    check("> init ! opened * stall ! emits:a > cancel | ! cancels > data:x > cancel", expect!["init | cancel end:Ok"]);
    check("> init ! opened > cancel > cancel > init > finish ! cancels", expect!["init cancel end:Ok"]);
    check("> init ! opened > cancel ! emits:a ! cancels", expect!["init cancel end:Ok"]);
}

/// R12: the function is waited for, then left behind and counted.
#[test]
fn r12_the_wait_for_user_code_ends() {
    let mut stage = play("> init ! opened ! calls > cancel ~ 4.4s |");
    let overdue = |stage: &Stage| stage.host.totals.iter().find(|(name, _)| *name == "calls_overdue").unwrap().1;
    assert_eq!(overdue(&stage), 0);
    stage.play("~ 0.1s");
    expect!["init | cancel[CANCEL_TIMEOUT] end:Ok"].assert_eq(&stage.transcript());
    assert_eq!((overdue(&stage), stage.active.strong_count()), (1, 0));
    // It is counted until it returns.
    let host = Arc::clone(&stage.host);
    let mut aftermath = Box::pin(stage.session.aftermath());
    let mut cx = Context::from_waker(noop_waker_ref());
    assert!(aftermath.poll_unpin(&mut cx).is_pending());
    drop(stage.ends);
    assert!(aftermath.poll_unpin(&mut cx).is_ready());
    assert!(host.totals.iter().any(|pair| pair == ("calls_overdue", 0)));
}

/// R12: the cancel callback's error travels in CancelResponse.
#[test]
fn r12_a_failing_cancel() {
    check("> init ! opened > cancel ! cancels-badly", expect!["init cancel[FAILED] end:Ok"]);
}

/// R7, R11, R12: neither an error nor the terminator is said before the data went, so that Cancel can take it back.
#[test]
fn r7_r11_r12_the_last_words_wait_for_the_data() {
    check("> init ! opened * stall ! emits:a > finish ! finishes | > cancel", expect!["init | cancel end:Ok"]);
    check("> init ! opened * stall ! emits:a ! fails ! cancels ~ 20s | > cancel", expect!["init | cancel end:Ok"]);
    let slow = "> init ! opened * stall ! emits:a ! fails ! cancels ~ 20s | * flow | ~ 9.9s | ~ 0.1s";
    check(slow, expect!["init | data:a error[FAILED] | | cancel end:Ok"]);
    check("> init ! opened * stall ! emits:a > finish ! finishes | * flow", expect!["init | data:a finish end:Ok"]);
}

/// R7: an error that waits for the data before it is the first one: what is found meanwhile, and takes that data back,
/// does not replace it.
#[test]
fn r7_the_first_error_is_the_one_that_is_told() {
    let failed = "> init ! opened * stall ! emits:a ! fails";
    check(&format!("{failed} ! cancels > empty"), expect!["init error[FAILED] cancel end:Ok"]);
    check(&format!("{failed} > init"), expect!["init error[FAILED] cancel end:Ok"]);
    check(&format!("{failed} * hurry | ! cancels"), expect!["init error[FAILED] | cancel end:Ok"]);
    check(&format!("{failed} > close"), expect!["init cancel[FAILED] end:Ok"]);
    let limit = |init: &mut wire::Init| {
        init.session_conf.insert(crate::invocation::CALL_TIMEOUT_KEY.into(), "1000".into());
    };
    let overdue = format!("{failed} ! calls ~ 1s | > cancel");
    check_init(limit, &overdue, expect!["init error[FAILED] | cancel[CALL_TIMEOUT] end:Ok"]);
    // Nor does it matter whether the session had room for it yet.
    let full = "> init ! opened * stall".to_owned() + &" ! emits:x".repeat(OUTBOX_MESSAGES + 1) + " ! fails";
    check(&format!("{full} > empty"), expect!["init error[FAILED] cancel end:Ok"]);
    check(&format!("{full} * hurry ! cancels"), expect!["init error[FAILED] cancel end:Ok"]);
}

/// R11: Cancel after Finish, before FinishResponse went: CancelResponse. After it: ignored.
#[test]
fn r11_cancel_after_finish() {
    check("> init ! opened > finish > cancel ! finishes", expect!["init cancel end:Ok"]);
    check("> init ! opened > finish ! finishes > cancel", expect!["init finish end:Ok"]);
}

/// C3: Cancel before InitResponse, before the payload is whole, before Init.
#[test]
fn c3_cancel_before_init_response() {
    check("> cancel", expect!["cancel end:Ok"]);
    check("> init-chunked > chunk:a > cancel", expect!["cancel end:Ok"]);
    check("> init > cancel ! opened | ! cancels", expect!["| cancel end:Ok"]);
}

/// C6, R19: half-close before Finish or Cancel is reported in CancelResponse; after Finish output is drained.
#[test]
fn c6_r19_half_close() {
    check("> close", expect!["cancel[PROTOCOL_VIOLATION] end:Ok"]);
    check("> init > close", expect!["cancel[PROTOCOL_VIOLATION] end:Ok"]);
    check("> init ! opened > data:x > close", expect!["init cancel[PROTOCOL_VIOLATION] end:Ok"]);
    check("> init ! opened > finish > close ! emits:a ! finishes", expect!["init data:a finish end:Ok"]);
    check("> init ! opened > cancel > close ! cancels", expect!["init cancel end:Ok"]);
}

/// C1: data and Finish may come while InitResponse is being prepared; they reach the function in order.
#[test]
fn c1_pipelined_data_reaches_the_function() {
    let mut stage = Stage::new(init(), 0);
    stage.play("> init > data:a > data:b > finish * seat");
    let (mut ends, _) = stage.host.launched.lock().unwrap().take().unwrap();
    assert!(matches!(ends.next(), ToUser::Data(data, _) if data == "a"));
    assert!(matches!(ends.next(), ToUser::Data(data, _) if data == "b"));
    assert!(matches!(ends.next(), ToUser::Finish));
    assert_eq!(stage.transcript(), "");
}

/// P10: Init waits for a place; Cancel is heard meanwhile, and a refused Init takes none.
#[test]
fn p10_init_waits_for_a_place() {
    let mut stage = Stage::new(init(), 0);
    stage.play("> init |");
    assert!(stage.host.launched.lock().unwrap().is_none());
    stage.play("* seat ! opened");
    expect!["| init"].assert_eq(&stage.transcript());
    assert_eq!(stage.places.available_permits(), 0);
    stage.play("> finish ! finishes");
    assert_eq!(stage.places.available_permits(), 1);

    let mut waiting = Stage::new(init(), 0);
    waiting.play("> init > cancel");
    expect!["cancel end:Ok"].assert_eq(&waiting.transcript());

    let mut wrong = Stage::new(init(), 0);
    wrong.init.data_format = 0;
    wrong.play("> init * seat");
    assert_eq!(wrong.places.available_permits(), 1);
}

/// R14: a broken stream equals Cancel without a reply; the session is no longer active, and the function is told.
#[test]
fn r14_a_broken_stream() {
    let stage = play("> init ! opened ! emits:a > break");
    expect!["init data:a end:Cancelled"].assert_eq(&stage.transcript());
    assert_eq!(stage.active.strong_count(), 0);
    assert!(matches!(stage.ends.unwrap().next(), ToUser::Cancel(Reason::Disconnected)));
}

/// R14, M2: a function that does not notice the broken stream is overdue after a while, until it returns.
#[tokio::test]
async fn r14_m2_a_function_that_does_not_notice_is_overdue() {
    let Stage { session, host, ends, .. } = play("> init ! opened ! calls > break");
    let overdue = || host.totals.iter().find(|(name, _)| *name == "calls_overdue").unwrap().1;
    let mut aftermath = Box::pin(session.linger(Duration::ZERO));
    assert_eq!(overdue(), 0);
    while overdue() == 0 {
        tokio::select! {
            biased;
            () = &mut aftermath => panic!("the thread is still there"),
            () = tokio::task::yield_now() => {}
        }
    }
    drop(ends);
    aftermath.await;
    assert_eq!(overdue(), 0);
}

/// R14: gRPC's own deadline equals a broken stream.
#[test]
fn r14_the_clients_deadline() {
    check("> init ! opened ~ 3600s", expect!["init end:DeadlineExceeded"]);
}

/// C7: shutdown with cancel_sessions, wherever the stream stands.
#[test]
fn c7_shutdown_ends_every_stream() {
    check("* hurry", expect!["init[SHUTTING_DOWN] cancel end:Ok"]);
    check("> init-chunked * hurry", expect!["init[SHUTTING_DOWN] cancel end:Ok"]);
    check("> init * hurry | ! cancels", expect!["init[SHUTTING_DOWN] | cancel end:Ok"]);
    check("> init ! opened * hurry | ! cancels", expect!["init error[SHUTTING_DOWN] | cancel end:Ok"]);
    check("> init ! opened > finish * hurry ! cancels", expect!["init error[SHUTTING_DOWN] cancel end:Ok"]);
    check("> init ! opened ! fails ! cancels | * hurry", expect!["init error[FAILED] | cancel end:Ok"]);
    check("> init ! opened > cancel | * hurry ! cancels", expect!["init | cancel end:Ok"]);
    let stalled = "> init ! opened * stall ! emits:a * hurry ! cancels";
    check(stalled, expect!["init error[SHUTTING_DOWN] cancel end:Ok"]);
    check("> init ! opened * hurry ~ 0.5s", expect!["init error[SHUTTING_DOWN] cancel[CANCEL_TIMEOUT] end:Ok"]);
}

/// C11: a call over its time fails the session at once, by name, and the thread is given up and counted.
#[test]
fn c11_calls_have_a_limit() {
    let limited = || {
        let mut init = init();
        init.session_conf.insert(crate::invocation::CALL_TIMEOUT_KEY.into(), "1000".into());
        Stage::new(init, 1)
    };
    let mut process = limited();
    process.play(
        "> init ! starts ~ 0.9s ! opened ! returns ~ 100s ! calls ~ 0.5s ! waits ~ 100s ! goes-on ~ 0.4s | ~ 0.1s",
    );
    expect!["init | error[CALL_TIMEOUT]"].assert_eq(&process.transcript());
    process.play("> cancel");
    expect!["init | error[CALL_TIMEOUT] cancel end:Ok"].assert_eq(&process.transcript());
    assert!(process.host.totals.iter().any(|pair| pair == ("calls_overdue", 1)));

    let mut open = limited();
    open.play("> init ! starts ~ 1s");
    expect!["init[CALL_TIMEOUT]"].assert_eq(&open.transcript());

    let mut cancel = limited();
    cancel.play("> init ! opened > cancel ! calls ~ 1s");
    expect!["init cancel[CALL_TIMEOUT] end:Ok"].assert_eq(&cancel.transcript());
}

/// C11: a function's own limit holds once it is open, and the text says whose it is.
#[test]
fn c11_a_function_may_limit_its_own_calls() {
    for (engines, text) in [(None, "which is its own timeout"), (Some("1000"), "raise anyudf.call_timeout_ms")] {
        let mut init = init();
        let conf = engines.map(|millis: &str| (crate::invocation::CALL_TIMEOUT_KEY.into(), millis.into()));
        init.session_conf.extend(conf);
        let mut stage = Stage::new(init, 1);
        let own = if engines.is_none() { "! limits:1" } else { "! limits:2" };
        stage.play(&format!("> init ~ 0.9s {own} ! opened ! calls ~ 0.9s"));
        stage.now += Duration::from_millis(100);
        stage.session.handle(Event::Elapsed, stage.now);
        let mut message = stage.session.outbox().pop_back().expect("an ErrorResponse");
        let mut bytes = message.copy_to_bytes(message.remaining());
        bytes.advance(5);
        let Ok(Response::Error(error)) = Response::parse(bytes) else { panic!("no ErrorResponse") };
        assert!(error.message.contains("process, batch 7 within 1000 ms") && error.message.contains(text), "{error:?}");
    }
}

/// C11: the error is the user's and names function, phase, batch and limit.
#[test]
fn c11_the_error_names_function_phase_and_batch() {
    let mut init = init();
    init.udf.as_mut().expect("it is there").name = Some("slow_one".into());
    init.session_conf.insert(crate::invocation::CALL_TIMEOUT_KEY.into(), "250".into());
    let mut stage = Stage::new(init, 1);
    stage.play("> init ! opened ! calls");
    stage.now += Duration::from_millis(250);
    stage.session.handle(Event::Elapsed, stage.now);
    let mut message = stage.session.outbox().pop_back().expect("an ErrorResponse");
    let mut bytes = message.copy_to_bytes(message.remaining());
    bytes.advance(5);
    let Ok(Response::Error(error)) = Response::parse(bytes) else { panic!("no ErrorResponse") };
    assert_eq!(error.blame, Blame::User);
    let start = "`slow_one` did not return from process, batch 7 within 250 ms";
    assert!(error.message.starts_with(start), "{}", error.message);
}

/// C8: the terminator carries the counters beside the function's own metrics.
#[test]
fn c8_the_terminator_carries_metrics() {
    let mut stage = play("> init ~ 1s ! opened > data:abc ! emits:de ~ 2s > finish");
    let ends = stage.ends.take().unwrap();
    let metrics = Metrics::default().with_other("status", "ok");
    ends.conclude(Conclusion { outcome: Outcome::Finished { data: None, error: None }, metrics });
    let mut cx = Context::from_waker(noop_waker_ref());
    assert!(stage.session.poll_asked(&mut cx, stage.now).is_ready());
    let mut message = stage.session.outbox().pop_back().unwrap();
    let mut bytes = message.copy_to_bytes(message.remaining());
    bytes.advance(5);
    let Ok(Response::Finish(finish)) = Response::parse(bytes) else { panic!("no FinishResponse") };
    let get = |name: &str| finish.metrics.get(name);
    assert_eq!(get("status").as_deref(), Some("ok"));
    assert_eq!((get("bytes_in").as_deref(), get("bytes_out").as_deref()), (Some("3"), Some("2")));
    assert_eq!((get("batches_in").as_deref(), get("batches_out").as_deref()), (Some("1"), Some("1")));
    assert_eq!((get("rows_in"), get("rows_out")), (None, None));
    assert_eq!(get("init_wall_nanos").as_deref(), Some("1000000000"));
    assert_eq!(get("processing_wall_nanos").as_deref(), Some("2000000000"));
    for name in ["receive_wall_nanos", "send_wall_nanos", "work_wall_nanos", "work_cpu_nanos"] {
        assert!(get(name).is_some(), "{name}");
    }
}

/// E5: little output is taken over at once, so that an error does not queue behind much.
#[test]
fn e5_the_outbox_stays_small() {
    let mut stage = play("> init ! opened * stall");
    let ends = stage.ends.as_ref().unwrap();
    for _ in 0..10 {
        let data = bytes::Bytes::from(vec![0; 40 << 10]);
        let message = Outgoing::data([data]);
        ends.send(FromUser::Data { message, bytes: 40 << 10, rows: None }, 40 << 10).unwrap();
    }
    stage.pump();
    assert_eq!(stage.session.outbox().len(), 2);
}

/// What may happen in any order.
const WORDS: &[&str] = &[
    "> init",
    "> init-chunked",
    "> chunk:a",
    "> chunk:",
    "> last:b",
    "> data:c",
    "> finish",
    "> cancel",
    "> close",
    "> empty",
    "! opened",
    "! refused",
    "! emits:d",
    "! calls",
    "! fails",
    "! finishes",
    "! cancels",
    "* hurry",
    "* stall",
    "* flow",
    "* seat",
    "~ 0.6s",
    "~ 5s",
];

/// How far a well-behaved function has come.
#[derive(PartialEq)]
enum Doing {
    Opening,
    Open { finish_asked: bool },
    Cleaning,
    Gone,
}

impl Doing {
    /// Whether the thread's code can do that now, and what it does next.
    fn may(&mut self, word: &str, cancelled: bool) -> bool {
        let next = match (&*self, word) {
            (Doing::Opening, "! opened") => Doing::Open { finish_asked: false },
            (Doing::Opening, "! refused") => Doing::Cleaning,
            (Doing::Open { finish_asked }, "! emits:d" | "! calls") => Doing::Open { finish_asked: *finish_asked },
            (Doing::Open { .. }, "! fails") => Doing::Cleaning,
            (Doing::Open { finish_asked: true }, "! finishes") => Doing::Gone,
            (Doing::Open { .. }, "! cancels") if cancelled => Doing::Gone,
            (Doing::Cleaning, "! cancels") => Doing::Gone,
            _ => return false,
        };
        *self = next;
        true
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { cases: 4_000, failure_persistence: None, ..Default::default() })]

    /// R4, R7, R13, R19: whatever the engine says and however the function fares, the worker's half of the dialogue is
    /// one of the grammar's, and a cancelled, broken or hurried session ends.
    #[test]
    fn r4_r7_r13_r19_the_worker_never_offends(
        choices in proptest::collection::vec(0..WORDS.len(), 0..40),
        limited in proptest::bool::ANY,
    ) {
        let mut init = init();
        if limited {
            init.session_conf.insert(crate::invocation::CALL_TIMEOUT_KEY.into(), "2000".into());
        }
        let mut stage = Stage::new(init, 0);
        let mut doing = Doing::Opening;
        for choice in choices {
            let word = WORDS[choice];
            if word.starts_with('!') {
                if stage.ends.is_none() {
                    stage.ends = stage.host.launched.lock().unwrap().take().map(|(ends, _)| ends);
                }
                let Some(ends) = &mut stage.ends else { continue };
                if let (Doing::Open { finish_asked }, false) = (&mut doing, ends.shared.is_cancelled()) {
                    *finish_asked |= ends.is_finish_next();
                }
                if !doing.may(word, ends.shared.is_cancelled()) {
                    continue;
                }
            }
            stage.play(word);
        }
        let said = stage.transcript();
        let words: Vec<_> = said.split(' ').filter(|word| !word.is_empty()).collect();
        let name = |word: &str| word.split(['[', ':']).next().unwrap().to_owned();
        let names: Vec<_> = words.iter().map(|word| name(word)).collect();
        let count = |wanted: &str| names.iter().filter(|name| *name == wanted).count();
        let terminators = count("cancel") + count("finish");
        proptest::prop_assert!(count("init") <= 1 && count("error") <= 1 && terminators <= 1, "{}", said);
        for (position, word) in names.iter().enumerate() {
            let before = &names[..position];
            let follows = match word.as_str() {
                "init" => before.is_empty(),
                "data" | "error" => before.first().is_some_and(|first| first == "init") && !before.contains(&"error".into()),
                "finish" => before.contains(&"init".into()) && !before.contains(&"error".into()),
                "cancel" => true,
                _ => terminators == 1 && position + 1 == names.len(),
            };
            proptest::prop_assert!(follows, "{} after {:?}", word, before);
        }
        let was_refused = words.first().is_some_and(|word| word.starts_with("init["));
        proptest::prop_assert!(!was_refused || count("data") + count("error") + count("finish") == 0, "{}", said);
        // Whatever state it is in, a shutdown ends it in half a second.
        stage.play("* hurry ~ 0.5s ~ 0.5s");
        proptest::prop_assert_eq!(stage.active.strong_count(), 0, "{}", stage.transcript());
    }
}
