//! The calls that a function gets, and what it sees.

use std::sync::{Arc, Mutex};

use anyudf_arrow::expression::Argument::{Call as Of, Column};
use anyudf_arrow::expression::{Call, Expression};
use anyudf_protocol::Request;
use anyudf_worker::{Definition, Error, Function, Invocation, Kind, Output, Reason, Result, Worker};
use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, SchemaRef};

use crate::asks;
use crate::support::Gate;
use crate::support::caller::{Caller, encode, numbers, served};

/// Writes down what it is called for and what it sees.
#[derive(Clone, Default)]
pub(crate) struct Diarist {
    name: String,
    diary: Arc<Mutex<Vec<String>>>,
    gate: Option<Gate>,
}

impl Diarist {
    fn write(&self, what: &str) {
        self.diary.lock().unwrap().push(format!("{}.{what}", self.name));
    }

    /// A function of this name; options say what it does wrong.
    fn definition(&self, name: &str) -> Definition {
        let this = Diarist { name: name.into(), ..self.clone() };
        let open = move |invocation: &Invocation| {
            let columns = invocation.input_schema()?.expect("a call has columns");
            let columns: Vec<_> = columns.fields().iter().map(|field| field.name().as_str()).collect();
            this.write(&format!("open({})", columns.join(",")));
            assert!(invocation.output_schema()?.is_none());
            match invocation.options().as_str() {
                Some("open") => Err(Error::user("as told")),
                Some(options) => Ok(Diarist { name: format!("{}-{options}", this.name), ..this.clone() }),
                None => Ok(this.clone()),
            }
        };
        Definition::new(name, Kind::Scalar, open).arguments([("own", DataType::Int32)])
    }

    fn fails(&self, at: &str) -> Result<()> {
        self.write(at);
        if self.name.ends_with(at) { Err("as told".into()) } else { Ok(()) }
    }
}

impl Function for Diarist {
    fn output_schema(&self) -> SchemaRef {
        numbers("value", &[]).schema()
    }

    fn start(&mut self, out: &mut Output<'_>) -> Result<()> {
        self.fails("start")?;
        if self.name.ends_with("early") { out.emit(numbers("value", &[1])) } else { Ok(()) }
    }

    fn process(&mut self, batch: RecordBatch, out: &mut Output<'_>) -> Result<()> {
        self.fails("process")?;
        if let (true, Some(gate)) = (self.name.ends_with("waits"), &self.gate) {
            gate.pass();
            while !out.cancelled() {
                std::thread::yield_now();
            }
            out.check()?;
        }
        out.metric(&self.name, batch.num_rows());
        out.emit(batch)
    }

    fn finish(self, out: &mut Output<'_>) -> Result<()> {
        self.fails("finish")?;
        if self.name.ends_with("late") { out.emit(numbers("value", &[1])) } else { Ok(()) }
    }

    fn cancel(self, reason: &Reason) -> Result<()> {
        self.write(match reason {
            Reason::Asked(_) => "cancel(asked)",
            Reason::Failed => "cancel(failed)",
            _ => "cancel",
        });
        if self.name.ends_with("cancel") { Err("as told".into()) } else { Ok(()) }
    }
}

/// R4, R7, R10, R12: each function gets the calls that it would get alone, and cleans up whatever becomes of the others.
#[tokio::test]
async fn r4_r7_r10_r12_each_function_has_its_life() {
    let gate = Gate::default();
    let diarist = Diarist { gate: Some(gate.clone()), ..Diarist::default() };
    let worker =
        Worker::new().with(diarist.definition("a")).with(diarist.definition("b")).with(diarist.definition("c"));
    let (_served, client) = served(worker).await;
    let batch = numbers("n", &[1]);
    let run = async |wrong: &str, script: &str| {
        let mut expression = Expression::new();
        expression.call(Call::new("a", [Column(0)])).unwrap();
        let b = Call::new("b", [Of(0)]);
        expression.call(if wrong.is_empty() { b } else { b.with_options(wrong.into()) }).unwrap();
        let c = expression.call(Call::new("c", [Column(0)])).unwrap();
        expression.result(c).unwrap();
        let mut dialogue = client.execute().await.with_init(asks(&expression, &batch.schema()));
        for word in script.split(" / ") {
            match word {
                "data" => dialogue.request(Request::Data(encode(&batch))),
                "answer" => assert!(dialogue.hear().await.starts_with("data*")),
                script => drop(dialogue.play(script).await),
            }
        }
        let words = std::mem::take(&mut *diarist.diary.lock().unwrap()).join(" ").replace(&format!("b-{wrong}."), "b.");
        (words, dialogue)
    };
    let opened = "a.open(own) b.open(own) c.open(own)";
    let started = format!("{opened} a.start b.start c.start");
    let worked = format!("{started} a.process b.process c.process");

    let (diary, dialogue) = run("", "> init < init / data / answer / > finish < finish < end:Ok").await;
    assert_eq!(diary, format!("{worked} a.finish b.finish c.finish"));
    assert_eq!(dialogue.metrics().get("a").as_deref(), Some("1"));
    assert_eq!(dialogue.metrics().get("c").as_deref(), Some("1"));
    let (diary, _) = run("", "> init < init / data / answer / > cancel < cancel < end:Ok").await;
    assert_eq!(diary, format!("{worked} a.cancel(asked) b.cancel(asked) c.cancel(asked)"));
    let (diary, dialogue) = run("cancel", "> init < init > cancel < cancel[FUNCTION_FAILED] < end:Ok").await;
    assert_eq!(diary, format!("{started} a.cancel(asked) b.cancel(asked) c.cancel(asked)"));
    assert_eq!(dialogue.error().message, "`expression`: `b` (call 1): as told");
    let (diary, dialogue) = run("open", "> init < init[FUNCTION_FAILED] > cancel < cancel < end:Ok").await;
    assert_eq!(diary, "a.open(own) b.open(own) a.cancel(failed)");
    assert!(dialogue.last().kind() == anyudf_protocol::ResponseKind::Cancel);
    let (diary, _) = run("start", "> init < init < error[FUNCTION_FAILED] > cancel < cancel < end:Ok").await;
    assert_eq!(diary, format!("{opened} a.start b.start a.cancel(failed) b.cancel(failed) c.cancel(failed)"));
    let (diary, _) = run("early", "> init < init < error[WRONG_RESULT_LENGTH] > cancel < cancel < end:Ok").await;
    assert_eq!(diary, format!("{opened} a.start b.start a.cancel(failed) b.cancel(failed) c.cancel(failed)"));
    let (diary, _) = run("process", "> init < init / data / < error[FUNCTION_FAILED] > cancel < cancel < end:Ok").await;
    assert_eq!(diary, format!("{started} a.process b.process a.cancel(failed) b.cancel(failed) c.cancel(failed)"));
    let (diary, dialogue) = run("finish", "> init < init > finish < finish[FUNCTION_FAILED] < end:Ok").await;
    assert_eq!(diary, format!("{started} a.finish b.finish c.cancel(failed)"));
    assert_eq!(dialogue.error().message, "`expression`: `b` (call 1): as told");
    let (diary, _) = run("late", "> init < init > finish < finish[WRONG_RESULT_LENGTH] < end:Ok").await;
    assert_eq!(diary, format!("{started} a.finish b.finish c.cancel(failed)"));
}

/// R12: a call that waits hears of the cancellation, and no call comes after it.
#[tokio::test]
async fn r12_calls_hear_of_a_cancellation() {
    let diarist = Diarist { gate: Some(Gate::default()), ..Diarist::default() };
    let gate = diarist.gate.clone().expect("made above");
    let (_served, client) = served(Worker::new().with(diarist.definition("a")).with(diarist.definition("b"))).await;
    let batch = numbers("n", &[1]);
    let mut expression = Expression::new();
    expression.call(Call::new("a", [Column(0)]).with_options("waits".into())).unwrap();
    expression.call(Call::new("b", [Of(0)])).unwrap();
    expression.result(1).unwrap();
    let mut caller = Caller::open(&client, asks(&expression, &batch.schema())).await;
    caller.send(&batch);
    gate.open();
    gate.visited(1).await;
    caller.dialogue.play("> cancel < cancel < end:Ok").await;
    let diary = diarist.diary.lock().unwrap().join(" ");
    let calls = "a.open(own) b.open(own) a-waits.start b.start a-waits.process a-waits.cancel(asked) b.cancel(asked)";
    assert_eq!(diary, calls);
}
