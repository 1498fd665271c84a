//! Functions that ask for their input: the rules hold for them as for those that are called with it.

mod support;

use std::sync::{Arc, Mutex};

use anyudf_protocol::Counter;
use anyudf_worker::{
    Definition, Error, ErrorKind, Input, Invocation, Kind, Opened, Output, PulledFunction, PulledRawFunction, RawInput,
    RawOutput, Result, UdfTester, Worker,
};
use arrow::array::{AsArray, Int32Array, RecordBatch};
use arrow::datatypes::{Int32Type, SchemaRef};
use bytes::Bytes;
use support::caller::{Caller, call, numbers, served};
use support::{Client, Gate, Served, init};

/// Does what its data says, and echoes what says nothing. What it is asked for at its end is its payload.
#[derive(Clone, Default)]
struct Puller {
    gate: Gate,
    /// Where it leaves its input, and what it has learned.
    left: Arc<Mutex<(Option<RawInput>, Vec<String>)>>,
    payload: Bytes,
}

impl Puller {
    fn note(&self, what: impl Into<String>) {
        self.left.lock().unwrap().1.push(what.into());
    }

    fn notes(&self) -> Vec<String> {
        self.left.lock().unwrap().1.clone()
    }

    async fn served(&self) -> (Served, Client) {
        let this = self.clone();
        let format = move |invocation: &mut Invocation| {
            Ok(Opened::pulled(Puller { payload: invocation.payload().clone(), ..this.clone() }))
        };
        served(Worker::new().with_format("pull", format)).await
    }
}

impl PulledRawFunction for Puller {
    fn run(self: Box<Self>, mut input: RawInput, out: &mut RawOutput<'_>) -> Result<()> {
        if self.payload == "first" {
            out.send(["begun".into()])?;
        }
        out.metric("kind", "pulled");
        loop {
            let data = match input.next() {
                Ok(Some(data)) => data,
                Ok(None) => break,
                Err(error) => {
                    self.note(format!("{:?}", error.kind()));
                    return Err(error);
                }
            };
            match &data[..] {
                b"fail" => return Err(Error::user("no").with_class("REFUSED")),
                b"panic" => panic!("on demand"),
                b"return" => return Ok(()),
                b"leave" => {
                    self.left.lock().unwrap().0 = Some(input);
                    return Ok(());
                }
                b"wait" => {
                    let this = self.clone();
                    input.cancellation().on_cancel(move || this.note("told"));
                    self.gate.pass();
                    self.note(if out.cancelled() { "cancelled" } else { "not cancelled" });
                }
                b"flood" => loop {
                    out.send([vec![0; 1 << 20].into()])?;
                },
                b"hang" => loop {
                    std::thread::park();
                },
                _ => out.send([data])?,
            }
        }
        assert!(matches!(input.next(), Ok(None)), "Finish stays");
        match &self.payload[..] {
            b"fail" => Err(Error::user("at the end").with_class("REFUSED")),
            b"panic" => panic!("at the end"),
            b"last" => out.send(["last".into()]),
            _ => {
                out.set_result("done");
                Ok(())
            }
        }
    }
}

/// R5, R6, R10, C8: it emits before it asks and after Finish, and its result and metrics are sent.
#[tokio::test]
async fn r5_r6_r10_c8_it_takes_what_comes_when_it_likes() {
    let (_served, client) = Puller::default().served().await;
    let dialogue = client.play("> init:pull=first < init < data:begun > data:a > data:b < data:a < data:b").await;
    let mut dialogue = dialogue;
    dialogue.play("> finish < finish").await;
    assert_eq!(dialogue.data(), "done");
    let metrics = dialogue.metrics();
    assert_eq!(metrics.get("kind").as_deref(), Some("pulled"));
    assert_eq!((metrics.counter(Counter::BatchesIn), metrics.counter(Counter::BatchesOut)), (Some(2), Some(3)));
    dialogue.play("< end:Ok").await;
    client.play("> init:pull=last < init > data:a > finish < data:a < data:last < finish < end:Ok").await;
}

/// R7, R8: an error is an ErrorResponse, before Finish and after it, and so is a panic, which says where it was.
#[tokio::test]
async fn r7_r8_its_errors_end_the_execution() {
    let (_served, client) = Puller::default().served().await;
    let end = "> cancel < cancel < end:Ok";
    client.play(&format!("> init:pull < init > data:a > data:fail < data:a < error[REFUSED] {end}")).await;
    client.play("> init:pull=fail < init > finish < error[REFUSED] < cancel < end:Ok").await;
    let mut dialogue = client.play("> init:pull < init > data:a > data:panic < data:a < error[PANIC]").await;
    assert!(dialogue.error().message.contains("panicked in process, batch 2: on demand"), "{}", dialogue.error());
    dialogue.play(end).await;
    let dialogue = client.play("> init:pull=panic < init > data:a < data:a > finish < error[PANIC]").await;
    assert!(dialogue.error().message.contains("panicked in finish, after batch 1"), "{}", dialogue.error());
}

/// R10, E5: when it returns early, what comes is dropped with its credit, and FinishResponse waits for Finish.
#[tokio::test]
async fn r10_e5_what_comes_after_it_is_dropped() {
    let (_served, client) = Puller::default().served().await;
    let mut dialogue = client.play("> init:pull < init > data:return").await;
    // More than any window holds: were credit not given back, the engine's library would keep it, and Finish behind it.
    for _ in 0..40 {
        dialogue.say("data*1048576");
    }
    dialogue.play("> finish < finish < end:Ok").await;
    client.play("> init:pull < init > data:return > data:b > cancel < cancel < end:Ok").await;
}

/// R10: an input that is kept beyond its function gives nothing.
#[tokio::test]
async fn r10_an_input_ends_with_its_function() {
    let puller = Puller::default();
    let (_served, client) = puller.served().await;
    client.play("> init:pull < init > data:leave > data:b > finish < finish < end:Ok").await;
    let mut input = puller.left.lock().unwrap().0.take().expect("it was left");
    // Finish was drained: it is at its end.
    assert!(matches!(input.next(), Ok(None)));
    let mut dialogue = client.play("> init:pull < init > data:leave").await;
    // Cancel would overtake what has not been taken.
    while puller.left.lock().unwrap().0.is_none() {
        tokio::task::yield_now().await;
    }
    dialogue.play("> cancel < cancel < end:Ok").await;
    let mut input = puller.left.lock().unwrap().0.take().expect("it was left");
    assert_eq!(input.next().unwrap_err().kind(), ErrorKind::Cancelled);
}

/// R12: asking fails when the execution is cancelled, and what that makes the function return is no error.
#[tokio::test]
async fn r12_who_waits_for_input_is_woken() {
    let puller = Puller::default();
    let (_served, client) = puller.served().await;
    client.play("> init:pull < init > data:a < data:a > cancel < cancel < end:Ok").await;
    assert_eq!(puller.notes(), ["Cancelled"]);
    client.play("> init:pull < init > data:flood < data*1048576 > cancel").await;
    client.until("sessions_active", "0").await;
}

/// R12: who asked is told of the cancellation while the function works, on another thread than its.
#[tokio::test]
async fn r12_a_cancellation_is_told_at_once() {
    let puller = Puller::default();
    let (_served, client) = puller.served().await;
    let mut dialogue = client.play("> init:pull < init > data:wait").await;
    puller.gate.visited(1).await;
    dialogue.say("cancel");
    // The heartbeat is behind Cancel on the same connection, and both are handled in order.
    client.heartbeat().await;
    client.heartbeat().await;
    assert_eq!(puller.notes(), ["told"]);
    puller.gate.open();
    dialogue.play("< cancel < end:Ok").await;
    assert_eq!(puller.notes(), ["told", "cancelled", "Cancelled"]);
}

/// R14: a stream that breaks is a cancellation.
#[tokio::test]
async fn r14_a_broken_stream_wakes_it() {
    let puller = Puller::default();
    let (_served, client) = puller.served().await;
    client.play("> init:pull < init > data:a < data:a > reset").await;
    client.until("sessions_active", "0").await;
    while puller.notes().is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(puller.notes(), ["Cancelled"]);
}

/// C11, M2: each batch has its time, and one that takes longer is named, told, and overdue.
#[tokio::test]
async fn c11_m2_a_batch_that_takes_too_long() {
    let (_served, client) = Puller::default().served().await;
    let mut limited = init("pull");
    limited.session_conf.insert("anyudf.call_timeout_ms".into(), "50".into());
    let mut dialogue = client.execute().await.with_init(limited);
    dialogue.play("> init < init > data:a < data:a > data:hang < error[CALL_TIMEOUT]").await;
    assert!(dialogue.error().message.contains("process, batch 2 within 50 ms"), "{}", dialogue.error());
    dialogue.play("> cancel < cancel < end:Ok").await;
    assert_eq!(client.heartbeat().await["calls_overdue"], "1");
}

// ---- over Arrow batches

/// Batches whose first number is not negative; an error at one where it is 99.
struct Positive {
    schema: SchemaRef,
}

impl Positive {
    fn definition() -> Definition {
        let open = |invocation: &Invocation| {
            Ok(Positive { schema: invocation.input_schema()?.ok_or("Init.input_schema is needed")? })
        };
        Definition::pulled("positive", Kind::Map, open)
    }
}

impl PulledFunction for Positive {
    fn output_schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn run(self, mut input: Input, out: &mut Output<'_>) -> Result<()> {
        while let Some(batch) = input.next()? {
            match first(&batch) {
                99 => return Err("99 is no number".into()),
                number if number < 0 => {}
                _ => out.emit(batch)?,
            }
        }
        Ok(())
    }
}

fn first(batch: &RecordBatch) -> i32 {
    batch.column(0).as_primitive::<Int32Type>().value(0)
}

/// C8, C9: batches come decoded, and their rows are counted.
#[tokio::test]
async fn c8_c9_batches_are_asked_for() {
    let (_served, client) = served(Worker::new().with(Positive::definition())).await;
    let batch = numbers("n", &[1, 2]);
    let mut caller = Caller::open(&client, call("positive", Some(&batch.schema()))).await;
    caller.send(&batch);
    caller.send(&numbers("n", &[-1]));
    caller.send(&numbers("n", &[3]));
    let (batches, dialogue) = caller.finish().await;
    assert_eq!(batches.iter().map(first).collect::<Vec<_>>(), [1, 3]);
    let metrics = dialogue.metrics();
    assert_eq!((metrics.counter(Counter::RowsIn), metrics.counter(Counter::RowsOut)), (Some(4), Some(3)));
}

/// R7, C10: errors say which function and which batch, and bytes that are no batch are the engine's fault.
#[tokio::test]
async fn r7_c10_errors_say_where() {
    let (_served, client) = served(Worker::new().with(Positive::definition())).await;
    let batch = numbers("n", &[1]);
    let mut caller = Caller::open(&client, call("positive", Some(&batch.schema()))).await;
    caller.send(&numbers("n", &[-1]));
    caller.send(&numbers("n", &[99]));
    caller.dialogue.play("< error[FUNCTION_FAILED]").await;
    assert_eq!(caller.dialogue.error().message, "`positive`, batch 2: 99 is no number");
    caller.dialogue.play("> cancel < cancel < end:Ok").await;
    let mut caller = Caller::open(&client, call("positive", Some(&batch.schema()))).await;
    caller.dialogue.say("data:rubbish");
    let heard = caller.dialogue.hear().await;
    assert!(heard.starts_with("error["), "{heard}");
    assert_eq!(caller.dialogue.error().blame, anyudf_protocol::Blame::Protocol);
}

/// It can be tested like any other.
#[test]
fn a_tester_calls_it() {
    let tested = UdfTester::new(Positive::definition()).run([numbers("n", &[-5]), numbers("n", &[5])]).unwrap();
    assert_eq!(tested.batches.iter().map(first).collect::<Vec<_>>(), [5]);
    let numbers = Int32Array::from(vec![99]);
    let error = UdfTester::new(Positive::definition()).call([numbers]).unwrap_err();
    assert_eq!(error.to_string(), "`positive`, batch 1: 99 is no number");
}
