//! Workers that misbehave, or wait to be told: this test binary, started again with a mode in its environment.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use anyudf_engine::WorkerCommand;
use anyudf_worker::{
    Definition, Error, Function, Invocation, Kind, Opened, Output, RawFunction, RawOutput, Reason, Result, Worker,
    scalar,
};
use arrow::array::{AsArray, Int64Array, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};

use crate::support::Place;

/// The variable that makes a worker of this binary, and says which.
pub(crate) const MODE: &str = "ANYUDF_TEST_MODE";
/// The variable with the place of a [`Witness`].
const WITNESS: &str = "ANYUDF_TEST_WITNESS";

/// Not a test when started by the test runner: the worker that the tests start.
#[test]
fn the_worker_that_tests_start() {
    let Ok(mode) = std::env::var(MODE) else { return };
    if mode == "rubbish" {
        return speak_rubbish();
    }
    let worker = Worker::new()
        .with(scalar("picky").argument("n", DataType::Int64).returns(DataType::Int64).over(picky))
        .with(Definition::new("doubles", Kind::Scalar, |_| Ok(Times(2))).returns([("n", DataType::Int64)]))
        .with(Definition::new("swallows", Kind::Scalar, |_| Ok(Times(0))).returns([("n", DataType::Int64)]))
        .with(Definition::new("pads", Kind::Scalar, |_| Ok(Pads)).returns([("n", DataType::Int64)]))
        .with(Definition::new("floats", Kind::Scalar, |_| Ok(Fickle::new(&[DataType::Float64]))))
        .with(Definition::new("nothing", Kind::Scalar, |_| Ok(Fickle::new(&[]))))
        .with(Definition::new("pairs", Kind::Scalar, |_| Ok(Fickle::new(&[DataType::Int64, DataType::Utf8]))))
        .with(Definition::new("fickle_map", Kind::Map, |_| Ok(Fickle::new(&[DataType::Int64, DataType::Utf8]))))
        .with(Definition::new("holds", Kind::Map, |_| Ok(Holds { stubborn: false })))
        .with(Definition::new("stubborn", Kind::Map, |_| Ok(Holds { stubborn: true })))
        .with(sleeps);
    let worker = crate::new::functions().into_iter().fold(worker, Worker::with);
    let worker = match mode.as_str() {
        "odd" => worker,
        "kinds" => crate::kinds::functions().into_iter().fold(Worker::new(), Worker::with),
        "plain" => worker.with_format("catalog", |_: &mut Invocation| -> Result<Opened> {
            Err(Error::user("there is no catalog here").with_class("NO_CATALOG"))
        }),
        "garbage" => worker.with_format("function", |_: &mut Invocation| {
            let schema = anyudf_arrow::encode_schema(&numbers());
            Ok(Opened::new(Garbage).with_data(schema))
        }),
        other => panic!("no such mode: {other}"),
    };
    // The test runner must not go on to say how the test went.
    let code = worker.run_with(std::env::args_os().skip_while(|argument| argument != "--id"));
    std::process::exit(if code == std::process::ExitCode::SUCCESS { 0 } else { 1 });
}

/// Listens where it should, and answers every caller with something that is not gRPC.
fn speak_rubbish() {
    let path = std::env::args().skip_while(|argument| argument != "--connection").nth(1).expect("--connection WHERE");
    for caller in UnixListener::bind(path).expect("a fresh socket").incoming() {
        // The caller may have hung up already.
        let _ = caller.and_then(|mut caller| caller.write_all(b"HTTP/1.0 418 I'm a teapot\r\n\r\n"));
    }
}

/// What makes a worker of this binary. What the launcher adds is, to the test runner, names of further tests.
const ARGUMENTS: [&str; 4] = ["--exact", "odd::the_worker_that_tests_start", "--nocapture", "--"];

/// The command line of a worker in this mode, for `--worker`.
pub(crate) fn worker(mode: &str) -> String {
    let program = std::env::current_exe().expect("this binary has a path");
    format!("env {MODE}={mode} '{}' {}", program.display(), ARGUMENTS.join(" "))
}

/// The same for an engine in this process.
pub(crate) fn command(mode: &str) -> WorkerCommand {
    let program = std::env::current_exe().expect("this binary has a path");
    WorkerCommand { environment: vec![(MODE.into(), mode.into())], ..WorkerCommand::new(program, ARGUMENTS) }
}

fn numbers() -> Schema {
    Schema::new(vec![Field::new("n", DataType::Int64, true)])
}

/// Takes longer than it gives itself.
#[anyudf_worker::udf(timeout = "50ms")]
fn sleeps(_n: i64) -> i64 {
    loop {
        std::thread::park();
    }
}

/// A scalar function that fails, panics or dies at some numbers.
fn picky(columns: &[arrow::array::ArrayRef]) -> Result<arrow::array::ArrayRef> {
    for number in columns[0].as_primitive::<Int64Type>().iter().flatten() {
        match number {
            -1 => return Err(Error::user("minus one is not welcome").with_class("UNWELCOME")),
            -2 => panic!("minus two is too much"),
            -3 => {
                eprintln!("these are my last words");
                std::process::exit(7);
            }
            _ => {}
        }
    }
    Ok(Arc::clone(&columns[0]))
}

/// A scalar function that returns the wrong number of rows.
struct Times(usize);

impl Function for Times {
    fn output_schema(&self) -> SchemaRef {
        Arc::new(numbers())
    }

    fn process(&mut self, batch: RecordBatch, out: &mut Output<'_>) -> Result<()> {
        let numbers = Int64Array::from(vec![0; batch.num_rows() * self.0]);
        match self.0 {
            0 => Ok(()),
            _ => out.emit(RecordBatch::try_new(self.output_schema(), vec![Arc::new(numbers)])?),
        }
    }
}

/// A scalar function that puts batches without rows between and behind its results.
struct Pads;

impl Function for Pads {
    fn output_schema(&self) -> SchemaRef {
        Arc::new(numbers())
    }

    fn process(&mut self, batch: RecordBatch, out: &mut Output<'_>) -> Result<()> {
        out.emit(RecordBatch::new_empty(self.output_schema()))?;
        out.emit(RecordBatch::try_new(self.output_schema(), batch.columns().to_vec())?)
    }

    fn finish(self, out: &mut Output<'_>) -> Result<()> {
        out.emit(RecordBatch::new_empty(self.output_schema()))
    }
}

/// Returns a column of whole numbers in the first session of its process, and columns of other types in later ones.
struct Fickle {
    schema: SchemaRef,
}

impl Fickle {
    fn new(later: &[DataType]) -> Self {
        static SESSIONS: AtomicU32 = AtomicU32::new(0);
        let types = match SESSIONS.fetch_add(1, Ordering::Relaxed) {
            0 => &[DataType::Int64],
            _ => later,
        };
        let field = |(place, data_type): (usize, &DataType)| Field::new(format!("c{place}"), data_type.clone(), true);
        Fickle { schema: Arc::new(Schema::new(types.iter().enumerate().map(field).collect::<Vec<_>>())) }
    }
}

impl Function for Fickle {
    fn output_schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn process(&mut self, batch: RecordBatch, out: &mut Output<'_>) -> Result<()> {
        let rows = batch.num_rows();
        let columns = self.schema.fields().iter().map(|field| new_null_array(field.data_type(), rows)).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        out.emit(RecordBatch::try_new_with_options(self.output_schema(), columns, &options)?)
    }
}

/// Answers bytes that are no Arrow data.
struct Garbage;

impl RawFunction for Garbage {
    fn process(&mut self, _: bytes::Bytes, out: &mut RawOutput<'_>) -> Result<()> {
        out.send([bytes::Bytes::from_static(b"this is no record batch")])
    }
}

/// Tells its witness when it has a batch, does not return until it is cancelled, and then tells that too.
struct Holds {
    stubborn: bool,
}

impl Function for Holds {
    fn output_schema(&self) -> SchemaRef {
        Arc::new(numbers())
    }

    fn process(&mut self, _: RecordBatch, out: &mut Output<'_>) -> Result<()> {
        let witness = std::env::var(WITNESS).expect("a witness");
        let mut witness = UnixStream::connect(witness).expect("the witness listens");
        witness.write_all(b"H").expect("the witness reads");
        while !out.cancelled() {
            std::thread::yield_now();
        }
        witness.write_all(b"C").expect("the witness reads");
        if self.stubborn {
            // Nothing wakes it.
            loop {
                std::thread::park();
            }
        }
        Ok(())
    }

    fn cancel(self, _: &Reason) -> Result<()> {
        Ok(())
    }
}

/// Learns from a function that holds what happens to it.
pub(crate) struct Witness {
    listener: UnixListener,
    path: std::path::PathBuf,
}

/// The line to a function that holds.
pub(crate) struct Testimony(UnixStream);

impl Witness {
    pub(crate) fn new(place: &Place) -> Self {
        let path = place.path("witness");
        Witness { listener: UnixListener::bind(&path).expect("a fresh socket"), path }
    }

    /// A worker whose functions know this witness.
    pub(crate) fn worker(&self) -> String {
        format!("env {WITNESS}={} {}", self.path.display(), worker("odd"))
    }

    /// Waits until a function has a batch.
    pub(crate) fn held(&self) -> Testimony {
        let (stream, _) = self.listener.accept().expect("the function calls");
        let mut testimony = Testimony(stream);
        assert_eq!(testimony.next(), Some(b'H'));
        testimony
    }
}

impl Testimony {
    /// What happens next; `None` when the process is gone.
    pub(crate) fn next(&mut self) -> Option<u8> {
        let mut word = [0];
        self.0.read_exact(&mut word).ok().map(|()| word[0])
    }
}
