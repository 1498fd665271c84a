//! The worker of these tests: the test binary itself, started again.

use std::env;
use std::io::Write;
use std::net::TcpStream;
use std::process::ExitCode;
use std::sync::Arc;

use anyudf_arrow::catalog::{encode, schema};
use anyudf_arrow::{Encoder, encode_schema};
use anyudf_engine::{Dispatcher, DispatcherConfig, WorkerCommand, WorkerPlan};
use anyudf_worker::{
    Definition, Error, Function, Invocation, Kind, Nulls, Opened, Output, RawFunction, RawOutput, Reason, Result,
    Volatility, Worker, map, scalar,
};
use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type};
use arrow_array::{Array, ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef};

/// The variable that makes a worker of this binary.
const MODE: &str = "ANYUDF_TEST_WORKER";

/// The mode of a worker whose catalog names no payload formats.
const PLAIN: &str = "plain";

/// Where `hold` says that it was cancelled.
const CALL_BACK: &str = "ANYUDF_TEST_CALL_BACK";

/// Not a test when started by a test: the worker.
#[test]
fn the_worker_that_tests_start() {
    if env::var_os(MODE).is_none() {
        return;
    }
    let functions = match env::var(MODE).as_deref() {
        Ok(PLAIN) => {
            functions().with_format("catalog", |_| Ok(Opened::new(PlainCatalog).with_data(encode_schema(&schema()))))
        }
        _ => functions(),
    };
    let code = functions.run_with(env::args_os().skip(1));
    // The test runner must not go on to say how the test went.
    std::process::exit(if code == ExitCode::SUCCESS { 0 } else { 1 });
}

/// A dispatcher for it.
pub(crate) fn dispatcher() -> Dispatcher {
    start("1", None)
}

/// The same of a worker that never heard of expressions.
pub(crate) fn plain() -> Dispatcher {
    start(PLAIN, None)
}

/// The same with an address at which `hold` says that it was cancelled.
pub(crate) fn with_call_back(address: String) -> Dispatcher {
    start("1", Some(address))
}

fn start(mode: &str, address: Option<String>) -> Dispatcher {
    let program = env::current_exe().expect("this binary has a path");
    // What the launcher adds is, to the test runner, names of further tests.
    let arguments = ["worker::the_worker_that_tests_start", "--exact", "--nocapture", "--"];
    let mut command = WorkerCommand::new(program, arguments);
    command.environment.push((MODE.into(), mode.into()));
    command.environment.extend(address.map(|address| (CALL_BACK.into(), address.into())));
    let mut plan = WorkerPlan::from(command);
    plan.supports_reuse = true;
    plan.supports_concurrent_udfs = true;
    Dispatcher::with_plan(plan, DispatcherConfig::default()).expect("a dispatcher")
}

fn ints(column: &ArrayRef) -> &Int64Array {
    column.as_primitive::<Int64Type>()
}

/// A function of whole numbers, row for row.
fn of_ints(name: &str, arguments: &[&str], of: impl Fn(&[i64]) -> Result<i64> + Send + Sync + 'static) -> Definition {
    let builder = arguments.iter().fold(scalar(name), |builder, name| builder.argument(*name, DataType::Int64));
    let over = move |columns: &[ArrayRef]| {
        let rows = columns.first().map_or(0, Array::len);
        let row = |row| {
            // What is below a null is nobody's.
            if columns.iter().any(|column| column.is_null(row)) {
                return Ok(0);
            }
            let values: Vec<_> = columns.iter().map(|column| ints(column).value(row)).collect();
            of(&values).map_err(|error| error.at_row(row as u64))
        };
        Ok(Arc::new(Int64Array::from((0..rows).map(row).collect::<Result<Vec<_>>>()?)) as ArrayRef)
    };
    builder.returns(DataType::Int64).over(over).volatility(Volatility::Immutable)
}

fn functions() -> Worker {
    let double = of_ints("double", &["n"], |n| Ok(n[0].wrapping_mul(2))).aliases(["twice"]).help("twice as much");
    let add = of_ints("add", &["a", "b"], |n| Ok(n[0].wrapping_add(n[1])));
    let positive = of_ints("positive", &["n"], |n| match n[0] {
        n if n > 0 => Ok(n),
        n => Err(Error::user(format!("{n} is not above zero")).with_class("NOT_POSITIVE")),
    });
    let die = of_ints("die", &["n"], |n| match n[0] {
        7 => std::process::abort(),
        n => Ok(n),
    });
    let tick = of_ints("tick", &["n"], |n| Ok(n[0])).volatility(Volatility::Volatile);
    let half = scalar("half")
        .argument("x", DataType::Float64)
        .returns(DataType::Float64)
        .over(|columns| {
            let x = columns[0].as_primitive::<Float64Type>();
            Ok(Arc::new(x.iter().map(|x| x.map(|x| x / 2.0)).collect::<Float64Array>()))
        })
        .volatility(Volatility::Immutable);
    let shout = scalar("shout")
        .argument("text", DataType::Utf8)
        .returns(DataType::Utf8)
        .nulls(Nulls::AreValues)
        .over(|columns| {
            let loud = |text: Option<&str>| text.map_or("(nothing)".into(), |text| text.to_uppercase());
            Ok(Arc::new(StringArray::from_iter_values(columns[0].as_string::<i32>().iter().map(loud))))
        })
        .volatility(Volatility::Immutable);
    let pid = scalar("pid")
        .argument("n", DataType::Int64)
        .returns(DataType::Int64)
        .over(|columns| Ok(Arc::new(Int64Array::from(vec![i64::from(std::process::id()); columns[0].len()]))))
        .volatility(Volatility::Stable);
    Worker::new()
        .with(double)
        .with(add)
        .with(positive)
        .with(die)
        .with(tick)
        .with(half)
        .with(shout)
        .with(pid)
        .with(
            scalar("label")
                .argument("n", DataType::Int64)
                .argument("text", DataType::Utf8)
                .returns(DataType::Int64)
                .over(|columns| {
                    let (n, text) = (ints(&columns[0]), columns[1].as_string::<i32>());
                    if let Some(row) = n.iter().position(|n| n.is_some_and(|n| n < 0)) {
                        return Err(Error::user("a number below zero").at_row(row as u64));
                    }
                    let length = |(n, text): (Option<i64>, Option<&str>)| Some(n? + text?.len() as i64);
                    Ok(Arc::new(n.iter().zip(text).map(length).collect::<Int64Array>()))
                })
                .volatility(Volatility::Immutable),
        )
        .with(map("again").returns_input().over(|batch, out| {
            out.emit(batch.clone())?;
            out.emit(batch)
        }))
        .with(map("lengths").argument("text", DataType::Utf8).returns([("length", DataType::Int64)]).over(
            |batch, out| {
                let lengths = batch.column(0).as_string::<i32>().iter().map(|text| text.map(|text| text.len() as i64));
                out.emit(RecordBatch::try_new(one_of("length"), vec![Arc::new(lengths.collect::<Int64Array>())])?)
            },
        ))
        .with(map("fussy").returns([("n", DataType::Int64)]).over(|_, _| Err("it takes nothing".into())))
        .with(
            Definition::new("count_to", Kind::Table, CountTo::open)
                .arguments([("stop", DataType::Int64), ("step", DataType::Int64)])
                .returns([("value", DataType::Int64)]),
        )
        .with(crooked("short", DataType::Int64))
        .with(crooked("long", DataType::Int64))
        .with(crooked("liar", DataType::Utf8))
        .with(Definition::new("hold", Kind::Scalar, Hold::open).arguments(one_int()).returns(one_int()))
}

fn one_int() -> [(&'static str, DataType); 1] {
    [("n", DataType::Int64)]
}

fn one_of(name: &str) -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new(name, DataType::Int64, true)]))
}

/// A table: numbers in batches of ten, without end if there is no `stop`.
struct CountTo {
    stop: i64,
    step: i64,
}

impl CountTo {
    fn open(invocation: &Invocation) -> Result<Self> {
        let option = |name: &str| invocation.options().get(name).and_then(|value| value.as_i64());
        match option("step") {
            Some(0) => Err(Error::user("a step of 0 leads nowhere").with_class("BAD_STEP")),
            step => Ok(CountTo { stop: option("stop").unwrap_or(i64::MAX), step: step.unwrap_or(1) }),
        }
    }
}

impl Function for CountTo {
    fn output_schema(&self) -> SchemaRef {
        one_of("value")
    }

    fn start(&mut self, out: &mut Output<'_>) -> Result<()> {
        let mut next = self.step;
        while next <= self.stop && !out.cancelled() {
            let numbers: Vec<_> = (0..10).map(|n| next + n * self.step).take_while(|n| *n <= self.stop).collect();
            next += 10 * self.step;
            out.emit(RecordBatch::try_new(self.output_schema(), vec![Arc::new(Int64Array::from(numbers))])?)?;
        }
        Ok(())
    }

    fn process(&mut self, _: RecordBatch, _: &mut Output<'_>) -> Result<()> {
        Ok(())
    }
}

fn one(data_type: DataType) -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("n", data_type, true)]))
}

/// The catalog as it was before workers took expressions.
struct PlainCatalog;

impl RawFunction for PlainCatalog {
    fn start(&mut self, out: &mut RawOutput<'_>) -> Result<()> {
        let all = functions();
        let entries: Vec<_> = all.functions().map(Definition::entry).cloned().collect();
        let encoder = Encoder::new(schema(), 1 << 20).expect("a schema");
        for message in encoder.encode(&encode(&entries)) {
            out.send([message.expect("it is small").into_bytes()])?;
        }
        Ok(())
    }

    fn process(&mut self, _: bytes::Bytes, _: &mut RawOutput<'_>) -> Result<()> {
        Ok(())
    }
}

/// A function that keeps no promise: another number of results than rows, or of another type than its catalog says.
struct Crooked {
    name: &'static str,
    data_type: DataType,
}

fn crooked(name: &'static str, data_type: DataType) -> Definition {
    let open = move |_: &Invocation| Ok(Crooked { name, data_type: data_type.clone() });
    Definition::new(name, Kind::Scalar, open).arguments(one_int()).returns(one_int())
}

impl Function for Crooked {
    fn output_schema(&self) -> SchemaRef {
        one(self.data_type.clone())
    }

    fn process(&mut self, batch: RecordBatch, out: &mut Output<'_>) -> Result<()> {
        let rows = match self.name {
            "short" => batch.num_rows() - 1,
            _ => batch.num_rows() + 1,
        };
        let column = arrow_array::new_null_array(&self.data_type, rows);
        out.emit(RecordBatch::try_new(self.output_schema(), vec![column])?)
    }
}

/// Answers the first batch, and works at the second until it is cancelled; tells the test.
struct Hold {
    batches: usize,
}

impl Hold {
    fn open(_: &Invocation) -> Result<Self> {
        Ok(Hold { batches: 0 })
    }
}

impl Function for Hold {
    fn output_schema(&self) -> SchemaRef {
        one(DataType::Int64)
    }

    fn process(&mut self, batch: RecordBatch, out: &mut Output<'_>) -> Result<()> {
        self.batches += 1;
        while self.batches > 1 && !out.cancelled() {
            std::thread::yield_now();
        }
        out.emit(RecordBatch::try_new(self.output_schema(), batch.columns().to_vec())?)
    }

    fn cancel(self, reason: &Reason) -> Result<()> {
        if let Ok(address) = env::var(CALL_BACK) {
            writeln!(TcpStream::connect(address)?, "{reason:?} in batch {}", self.batches)?;
        }
        Ok(())
    }
}
