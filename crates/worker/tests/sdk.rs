//! What a function sees: the calls it gets, everything in Init, cancellation, back-pressure.

mod support;

use std::sync::mpsc;
use std::sync::{Arc, Mutex};

use anyudf_protocol::wire;
use anyudf_worker::{Error, Invocation, Opened, RawFunction, RawOutput, Reason, Result, Worker};
use bytes::Bytes;
use prost::Message;
use support::{Gate, Served, init};

/// Tells a test what is called, in order.
#[derive(Clone)]
struct Diary(Arc<Mutex<Vec<String>>>, mpsc::Sender<()>);

impl Diary {
    fn new() -> (Self, mpsc::Receiver<()>) {
        let (written, news) = mpsc::channel();
        (Diary(Arc::default(), written), news)
    }

    fn write(&self, entry: impl Into<String>) {
        self.0.lock().unwrap().push(entry.into());
    }

    fn read(&self) -> String {
        self.0.lock().unwrap().join(" ")
    }
}

/// Writes down every call, and fails or waits when it is told to.
struct Witness {
    diary: Diary,
    gate: Gate,
}

impl RawFunction for Witness {
    fn start(&mut self, _: &mut RawOutput<'_>) -> Result<()> {
        self.diary.write("start");
        Ok(())
    }

    fn process(&mut self, data: Bytes, out: &mut RawOutput<'_>) -> Result<()> {
        let word = String::from_utf8_lossy(&data).into_owned();
        self.diary.write(word.clone());
        match word.as_str() {
            "fail" => Err("as told".into()),
            "panic" => panic!("as told"),
            "wait" => {
                self.gate.pass();
                self.diary.write(if out.cancelled() { "cancelled" } else { "not-cancelled" });
                out.send(["never".into()])
            }
            "flood" => {
                self.gate.pass();
                loop {
                    let sent = out.send([Bytes::from(vec![0; 1 << 20])]);
                    if let Err(error) = sent {
                        self.diary.write(error.condition());
                        return Err(error);
                    }
                }
            }
            _ => out.send([data]),
        }
    }

    fn finish(self: Box<Self>, out: &mut RawOutput<'_>) -> Result<()> {
        self.diary.write("finish");
        out.metric("color", "blue");
        out.metric("answers", 42);
        out.set_result("done");
        Ok(())
    }

    fn cancel(self: Box<Self>, reason: &Reason) -> Result<()> {
        self.diary.write(match reason {
            Reason::Asked(why) => format!("cancel({})", why.as_deref().unwrap_or("")),
            other => format!("cancel({other:?})"),
        });
        match reason {
            Reason::Asked(_) => Err(Error::user("can't clean up").with_class("DIRTY")),
            _ => Ok(()),
        }
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.diary.write("drop");
        let _ = self.diary.1.send(());
    }
}

/// Plays a dialogue with a witness; says what the witness wrote once it is gone.
async fn witnessed(script: &str, open_gate: bool) -> (String, support::Dialogue) {
    let ((diary, gone), gate) = (Diary::new(), Gate::default());
    if open_gate {
        gate.open();
    }
    let (theirs, their_gate) = (diary.clone(), gate.clone());
    let format = move |_: &mut Invocation| {
        theirs.write("open");
        Ok(Opened::new(Witness { diary: theirs.clone(), gate: their_gate.clone() }).with_data("hello"))
    };
    let served = Served::start(Worker::new().with_format("witness", format)).await;
    let dialogue = served.client().await.play(script).await;
    gate.open();
    let waited = tokio::task::spawn_blocking(move || gone.recv_timeout(std::time::Duration::from_secs(20)));
    waited.await.unwrap().expect("the witness never goes");
    (diary.read(), dialogue)
}

/// R10, C8: open, start, process, finish, in this order; metrics and result of the function's own.
#[tokio::test]
async fn r10_c8_the_calls_of_a_finished_execution() {
    let (diary, dialogue) =
        witnessed("> init:witness < init > data:a > data:b < data:a < data:b > finish < finish < end:Ok", true).await;
    assert_eq!(diary, "open start a b finish drop");
    assert_eq!(dialogue.data(), "done");
    assert_eq!(dialogue.metrics().get("color").as_deref(), Some("blue"));
    assert_eq!(dialogue.metrics().get("answers").as_deref(), Some("42"));
}

/// R4: `Opened::with_data` is what InitResponse carries.
#[tokio::test]
async fn r4_init_response_carries_data() {
    let (_, dialogue) = witnessed("> init:witness < init > cancel", true).await;
    assert_eq!(dialogue.data(), "hello");
}

/// R12: the cancel callback runs with the engine's reason, and its error travels in CancelResponse.
#[tokio::test]
async fn r12_the_calls_of_a_cancelled_execution() {
    let (diary, _) = witnessed("> init:witness < init > data:a < data:a > cancel < cancel[DIRTY] < end:Ok", true).await;
    assert_eq!(diary, "open start a cancel(enough) drop");
}

/// R8: after its own error the function cleans up at once; after a panic it is only dropped.
#[tokio::test]
async fn r8_the_calls_of_a_failed_execution() {
    let script = "> init:witness < init > data:fail < error[FUNCTION_FAILED] > cancel < cancel < end:Ok";
    assert_eq!(witnessed(script, true).await.0, "open start fail cancel(Failed) drop");
    let script = "> init:witness < init > data:panic < error[PANIC] > cancel < cancel < end:Ok";
    assert_eq!(witnessed(script, true).await.0, "open start panic drop");
}

/// R14: a stream that breaks runs the cancel callback.
#[tokio::test]
async fn r14_the_calls_of_a_broken_execution() {
    let (diary, _) = witnessed("> init:witness < init > data:a < data:a > reset", true).await;
    assert_eq!(diary, "open start a cancel(Disconnected) drop");
}

/// R19: a violation runs the cancel callback, though nobody waits for it.
#[tokio::test]
async fn r19_the_calls_of_a_violated_execution() {
    let script = "> init:witness < init > init:witness < error[PROTOCOL_VIOLATION] < cancel < end:Ok";
    let (diary, _) = witnessed(script, true).await;
    assert!(diary.ends_with("cancel(Violation) drop"), "{diary}");
}

/// R12: cancellation is visible inside a call, and `send` fails then.
#[tokio::test]
async fn r12_cancellation_is_visible() {
    let ((diary, _gone), gate) = (Diary::new(), Gate::default());
    let (theirs, their_gate) = (diary.clone(), gate.clone());
    let format = move |_: &mut Invocation| Ok(Opened::new(Witness { diary: theirs.clone(), gate: their_gate.clone() }));
    let served = Served::start(Worker::new().with_format("witness", format)).await;
    let client = served.client().await;
    let mut dialogue = client.play("> init:witness < init > data:wait").await;
    gate.visited(1).await;
    dialogue.say("cancel");
    // The heartbeat is behind Cancel on the same connection, and both are handled in order.
    client.heartbeat().await;
    client.heartbeat().await;
    gate.open();
    dialogue.play("< cancel[DIRTY] < end:Ok").await;
    assert_eq!(diary.read(), "start wait cancelled cancel(enough) drop");
}

/// E5, R12: a function that emits more than anybody reads is stopped, and let go when it is cancelled.
#[tokio::test]
async fn e5_r12_a_blocked_output_is_let_go() {
    let (diary, _) = {
        let script = "> init:witness < init > data:flood < data*1048576 > cancel";
        witnessed(script, true).await
    };
    assert_eq!(diary, "open start flood CANCELLED cancel(enough) drop");
}

/// R18: everything in Init reaches the function.
#[tokio::test]
async fn r18_everything_in_init_reaches_the_function() {
    let format = |invocation: &mut Invocation| {
        let seen = format!(
            "{}/{:?}/{:?}/{:?}/{:?}/{:?}/{:?}/{:?}",
            invocation.format(),
            invocation.name(),
            invocation.eval_type(),
            invocation.payload(),
            invocation.parameters(),
            invocation.timezone(),
            invocation.task_context(),
            invocation.session_conf()
        );
        let debug = format!("{invocation:?}");
        assert!(!debug.contains("secret"), "{debug}");
        struct Nothing;
        impl RawFunction for Nothing {
            fn process(&mut self, _: Bytes, _: &mut RawOutput<'_>) -> Result<()> {
                Ok(())
            }
        }
        Ok(Opened::new(Nothing).with_data(seen))
    };
    let served = Served::start(Worker::new().with_format("mirror", format)).await;
    let pair = |key: &str, value: &str| [(key.to_owned(), value.to_owned())].into();
    let asked = wire::Init {
        udf: Some(wire::UdfPayload {
            payload: "secret payload".into(),
            format: "mirror".into(),
            name: Some("n".into()),
            eval_type: Some("odd".into()),
            ..Default::default()
        }),
        task_context: pair("partition", "secret 3"),
        session_conf: pair("unheard.of", "secret x"),
        timezone: Some("Europe/Paris".into()),
        parameters: Some("secret p".into()),
        ..init("mirror")
    };
    let mut dialogue = served.client().await.execute().await.with_init(asked);
    dialogue.play("> init < init").await;
    assert_eq!(
        dialogue.data(),
        "mirror/Some(\"n\")/Some(\"odd\")/b\"secret payload\"/Some(b\"secret p\")/Some(\"Europe/Paris\")/\
         {\"partition\": \"secret 3\"}/{\"unheard.of\": \"secret x\"}"
    );
    dialogue.play("> finish < finish").await;
}

/// Says more than fits, where its payload tells it to.
struct Talker(Bytes);

impl Talker {
    /// What the engine takes.
    const LIMIT: usize = 100_000;

    fn open(invocation: &mut Invocation) -> Result<Opened> {
        let opened = Opened::new(Talker(invocation.payload().clone()));
        Ok(if invocation.payload() == "init" { opened.with_data(vec![0; Talker::LIMIT]) } else { opened })
    }

    fn error() -> Error {
        Error::user("m".repeat(4 * Talker::LIMIT)).with_traceback("t".repeat(4 * Talker::LIMIT))
    }

    async fn talks(client: &support::Client, where_to: &'static str, script: &str) -> support::Dialogue {
        let mut asked = init("talker");
        asked.udf.as_mut().unwrap().payload = where_to.into();
        asked.session_conf.insert("anyudf.max_message_bytes".into(), Talker::LIMIT.to_string());
        let mut dialogue = client.execute().await.with_init(asked);
        dialogue.play(script).await;
        let bytes = wire::UdfResponse::from(dialogue.last().clone()).encoded_len();
        assert!(bytes <= Talker::LIMIT, "{bytes} bytes do not fit");
        dialogue
    }
}

impl RawFunction for Talker {
    fn process(&mut self, _: Bytes, out: &mut RawOutput<'_>) -> Result<()> {
        match &self.0[..] {
            b"data" => out.send([vec![0; Talker::LIMIT].into()]),
            _ => Err(Talker::error()),
        }
    }

    fn finish(self: Box<Self>, out: &mut RawOutput<'_>) -> Result<()> {
        match &self.0[..] {
            b"error" => return Err(Talker::error()),
            b"metric" => out.metric("story", "x".repeat(Talker::LIMIT)),
            // As large as a batch may be; the counters beside it are what is too much.
            b"result" => out.set_result(vec![0; out.max_message_bytes()]),
            _ => out.set_result(vec![0; out.max_message_bytes() - 1_000]),
        }
        Ok(())
    }

    fn cancel(self: Box<Self>, _: &Reason) -> Result<()> {
        Err(Talker::error())
    }
}

/// P7: the engine's message limit holds for everything that is said, not for batches alone; what is too large is an
/// error that says how large it is.
#[tokio::test]
async fn p7_last_words_respect_the_message_limit() {
    let served = Served::start(Worker::new().with_format("talker", Talker::open)).await;
    let client = &served.client().await;
    let dialogue = Talker::talks(client, "init", "> init < init[MESSAGE_TOO_LARGE]").await;
    assert!(dialogue.error().message.contains("of 100000 bytes"), "{}", dialogue.error());
    let dialogue = Talker::talks(client, "data", "> init < init > data:x < error[MESSAGE_TOO_LARGE]").await;
    assert!(dialogue.error().message.contains("of 100000 bytes"), "{}", dialogue.error());
    let dialogue = Talker::talks(client, "result", "> init < init > finish < finish[MESSAGE_TOO_LARGE] < end:Ok").await;
    assert!(dialogue.error().message.contains("has 99936 bytes"), "{}", dialogue.error());
    let dialogue = Talker::talks(client, "fits", "> init < init > finish < finish").await;
    assert_eq!(dialogue.data().len(), 98_936);
    let dialogue = Talker::talks(client, "metric", "> init < init > finish < finish").await;
    assert_eq!(dialogue.metrics().get("story"), None, "metrics never fail an execution (C8)");
    assert_eq!(dialogue.metrics().get("bytes_in").as_deref(), Some("0"));
}

/// P7, R7: an error always fits: its texts are cut, and say so.
#[tokio::test]
async fn p7_r7_long_errors_are_cut() {
    let served = Served::start(Worker::new().with_format("talker", Talker::open)).await;
    let client = &served.client().await;
    let failing = "> init < init > data:x < error[FUNCTION_FAILED]";
    let cancelled = format!("{failing} > cancel < cancel[FUNCTION_FAILED] < end:Ok");
    for (where_to, script) in [
        ("process", failing),
        ("process", &cancelled),
        ("error", "> init < init > finish < finish[FUNCTION_FAILED] < end:Ok"),
    ] {
        let dialogue = Talker::talks(client, where_to, script).await;
        let error = dialogue.error();
        assert!(error.message.starts_with("mmm") && error.message.ends_with("(cut from 400000 bytes)"), "{script}");
        assert!(error.traceback.as_ref().is_some_and(|text| text.ends_with("(cut from 400000 bytes)")), "{script}");
    }
}

/// C8: time in the function, waits for input and waits to send are told apart.
#[tokio::test]
async fn c8_times_are_told_apart() {
    use anyudf_protocol::Counter;
    let served = Served::bundled().await;
    let client = served.client().await;
    let dialogue = client.play("> init:echo/slow=20 < init > data:a < data:a > finish < finish").await;
    let nanos = |counter| dialogue.metrics().counter(counter).unwrap();
    assert!(nanos(Counter::WorkWallNanos) >= 20_000_000);
    assert!(nanos(Counter::WorkCpuNanos) < nanos(Counter::WorkWallNanos), "sleeping costs no processor time");
    assert!(nanos(Counter::ProcessingWallNanos) >= nanos(Counter::WorkWallNanos) / 2);
}
