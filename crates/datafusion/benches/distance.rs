//! What a worker costs a query: the distance of flights as a function of this process and through a worker, and, if asked for, in
//! PySpark's mapInArrow with numpy; the whole query over files, and the function alone over rows in memory.
//!
//! ```text
//! cargo bench -p anyudf-datafusion --bench distance -- --flights flights-3m.parquet --pyspark
//! ```
//!
//! Without `--flights` it reads the sample in data/. `--pyspark` needs python3 and a Java runtime; it makes an environment of
//! its own, see benches/pyspark. Each figure is the median of several rounds, in which all take turns.

use std::env;
use std::error::Error;
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::Instant;

use anyudf_datafusion::RegisterWorker;
use anyudf_engine::{Dispatcher, DispatcherConfig, WorkerCommand, WorkerPlan};
use anyudf_worker::{Worker, udf};
use arrow_array::cast::AsArray;
use arrow_array::types::Float64Type;
use arrow_array::{Array, ArrayRef, Float64Array, RecordBatch};
use arrow_schema::DataType::Float64;
use arrow_schema::{Field, Schema};
use datafusion::datasource::MemTable;
use datafusion::logical_expr::{ColumnarValue, Volatility, create_udf};
use datafusion::prelude::{CsvReadOptions, ParquetReadOptions, SessionConfig, SessionContext};

type Result<T = (), E = Box<dyn Error>> = std::result::Result<T, E>;

/// The variable that makes a worker of this program.
const MODE: &str = "ANYUDF_BENCH_WORKER";

const NAMES: [&str; 4] = ["lat1", "lon1", "lat2", "lon2"];

/// Of the table in memory.
const ROWS: usize = 4_000_000;

/// Of each partition's batches in memory.
const BATCH: usize = 8192;

const PARTITIONS: usize = 2;

const ROUNDS: usize = 7;

/// Great-circle distance in miles.
#[udf(volatility = "immutable")]
fn there(lat1: f64, lon1: f64, lat2: f64, lon2: f64) -> f64 {
    miles(lat1, lon1, lat2, lon2)
}

/// The haversine formula.
fn miles(lat1: f64, lon1: f64, lat2: f64, lon2: f64) -> f64 {
    let half_lat = ((lat2 - lat1).to_radians() / 2.0).sin();
    let half_lon = ((lon2 - lon1).to_radians() / 2.0).sin();
    let chord = half_lat * half_lat + lat1.to_radians().cos() * lat2.to_radians().cos() * half_lon * half_lon;
    2.0 * 3958.7613 * chord.clamp(0.0, 1.0).sqrt().asin()
}

/// The same as a loop by hand over the arrays.
fn here(columns: &[ArrayRef]) -> ArrayRef {
    let [a, b, c, d] = [0, 1, 2, 3].map(|column| columns[column].as_primitive::<Float64Type>());
    let nulls =
        columns.iter().fold(None, |nulls, column| arrow_buffer::NullBuffer::union(nulls.as_ref(), column.nulls()));
    let rows = a.values().iter().zip(b.values()).zip(c.values().iter().zip(d.values()));
    let miles = rows.map(|((lat1, lon1), (lat2, lon2))| miles(*lat1, *lon1, *lat2, *lon2));
    Arc::new(Float64Array::new(miles.collect(), nulls))
}

fn main() -> ExitCode {
    if env::var_os(MODE).is_some() {
        return Worker::new().with(there).run();
    }
    let done = Options::read(env::args_os().skip(1)).and_then(|options| {
        let runtime = tokio::runtime::Runtime::new()?;
        runtime.block_on(compare(&options))
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

struct Options {
    flights: PathBuf,
    pyspark: bool,
}

impl Options {
    fn read(mut arguments: impl Iterator<Item = OsString>) -> Result<Self> {
        let mut options = Options { flights: data("flights-sample.parquet"), pyspark: false };
        while let Some(argument) = arguments.next() {
            match argument.to_str() {
                Some("--flights") => options.flights = arguments.next().ok_or("--flights is given a file")?.into(),
                Some("--pyspark") => options.pyspark = true,
                // What cargo adds.
                Some("--bench") => {}
                _ => return Err(format!("there is no {argument:?}; there are --flights FILE and --pyspark").into()),
            }
        }
        // Cargo runs benchmarks in the directory of their crate, and whoever types the path is elsewhere.
        if options.flights.is_relative() && !options.flights.exists() {
            options.flights = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).join(&options.flights);
        }
        Ok(options)
    }
}

fn data(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../data")).join(name)
}

async fn compare(options: &Options) -> Result {
    let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(PARTITIONS));
    let dispatcher = dispatcher()?;
    context.register_worker(dispatcher.clone()).await?;
    let implementation =
        |columns: &[ColumnarValue]| Ok(ColumnarValue::Array(here(&ColumnarValue::values_to_arrays(columns)?)));
    let function = create_udf("here", vec![Float64; 4], Float64, Volatility::Immutable, Arc::new(implementation));
    context.register_udf(function);
    let path = |path: &PathBuf| path.to_str().map(String::from).ok_or("a path that is no UTF-8");
    context.register_parquet("flights", path(&options.flights)?, ParquetReadOptions::default()).await?;
    context.register_csv("airports", path(&data("airports.csv"))?, CsvReadOptions::default()).await?;
    context.register_table("points", points()?)?;

    let flights = count(&context).await?;
    let mut spark = options.pyspark.then(|| Spark::start(&options.flights)).transpose()?;
    println!(
        "The whole query: {flights} flights in Parquet, two joins, the distance, an average; {PARTITIONS} partitions."
    );
    let whole = |function: &str| {
        format!(
            "SELECT avg(abs({function}(o.latitude, o.longitude, d.latitude, d.longitude) - f.distance)) FROM airports o \
             JOIN flights f ON f.origin = o.iata JOIN airports d ON f.destination = d.iata"
        )
    };
    let whole = take_turns(&context, flights, whole, spark.as_mut()).await?;
    whole.print(0.7);
    println!("\nThe distance alone: {ROWS} rows in memory.");
    let alone = |function: &str| format!("SELECT sum({function}(lat1, lon1, lat2, lon2)) FROM points");
    take_turns(&context, ROWS, alone, None).await?.print(0.5);
    dispatcher.close().await;
    Ok(())
}

/// A dispatcher of this program as a worker.
fn dispatcher() -> Result<Dispatcher> {
    let mut command = WorkerCommand::new(env::current_exe()?, Vec::<String>::new());
    command.environment.push((MODE.into(), "1".into()));
    let mut plan = WorkerPlan::from(command);
    (plan.supports_reuse, plan.supports_concurrent_udfs) = (true, true);
    Ok(Dispatcher::with_plan(plan, DispatcherConfig::default())?)
}

fn points() -> Result<Arc<MemTable>> {
    let schema = Arc::new(Schema::new(NAMES.map(|name| Field::new(name, Float64, false)).to_vec()));
    let batch = |first: usize| {
        let column = |place: usize| {
            let degrees = (first..first + BATCH).map(|row| ((row * (place + 7)) % 1700) as f64 / 20.0);
            Arc::new(Float64Array::from_iter_values(degrees)) as ArrayRef
        };
        RecordBatch::try_new(Arc::clone(&schema), (0..4).map(column).collect())
    };
    let share = ROWS / PARTITIONS;
    let part = |part: usize| (part * share..(part + 1) * share).step_by(BATCH).map(batch).collect::<Result<_, _>>();
    let parts = (0..PARTITIONS).map(part).collect::<Result<Vec<_>, _>>()?;
    Ok(Arc::new(MemTable::try_new(schema, parts)?))
}

async fn count(context: &SessionContext) -> Result<usize> {
    Ok(context.table("flights").await?.count().await?)
}

/// Rows a second, medians.
struct Speeds {
    here: f64,
    there: f64,
    spark: Option<f64>,
}

impl Speeds {
    fn print(&self, target: f64) {
        let millions = |speed: f64| speed / 1e6;
        println!("  in this process      {:7.2} million rows/s", millions(self.here));
        let ratio = self.there / self.here;
        println!(
            "  through a worker     {:7.2}                  {ratio:.2} of that (target {target})",
            millions(self.there)
        );
        if let Some(spark) = self.spark {
            let ratio = self.there / spark;
            println!(
                "  PySpark mapInArrow   {:7.2}                  through a worker: {ratio:.1} times (target 4)",
                millions(spark)
            );
        }
    }
}

async fn take_turns(
    context: &SessionContext,
    rows: usize,
    query: impl Fn(&str) -> String,
    mut spark: Option<&mut Spark>,
) -> Result<Speeds> {
    let (mut inside, mut outside, mut sparks) = (Vec::new(), Vec::new(), Vec::new());
    let mut results = Vec::new();
    // The first round warms up.
    for round in 0..=ROUNDS {
        for (function, seconds) in [("here", &mut inside), ("there", &mut outside)] {
            let began = Instant::now();
            let batches = context.sql(&query(function)).await?.collect().await?;
            let took = began.elapsed().as_secs_f64();
            results.push(batches[0].column(0).as_primitive::<Float64Type>().value(0));
            if round > 0 {
                seconds.push(took);
            }
        }
        if let Some(spark) = spark.as_deref_mut() {
            let (took, result) = spark.round()?;
            results.push(result);
            if round > 0 {
                sparks.push(took);
            }
        }
    }
    let first = results[0];
    if let Some(other) = results.iter().find(|other| (**other - first).abs() > first.abs() * 1e-9) {
        return Err(format!("the answers differ: {first} and {other}").into());
    }
    let speed = |seconds: &mut Vec<f64>| rows as f64 / median(seconds);
    let spark = (!sparks.is_empty()).then(|| speed(&mut sparks));
    Ok(Speeds { here: speed(&mut inside), there: speed(&mut outside), spark })
}

fn median(seconds: &mut [f64]) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds[seconds.len() / 2]
}

/// PySpark with the query prepared.
struct Spark {
    child: Child,
    answers: BufReader<ChildStdout>,
}

impl Spark {
    fn start(flights: &Path) -> Result<Self> {
        let run = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/pyspark/run");
        let mut command = Command::new(run);
        command.arg(flights).arg(data("airports.csv")).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(|error| format!("can't start {run}: {error}"))?;
        let answers = BufReader::new(child.stdout.take().expect("it is a pipe"));
        let mut spark = Spark { child, answers };
        match spark.line()?.as_str() {
            "ready" => Ok(spark),
            other => Err(format!("PySpark says {other:?} before it is ready").into()),
        }
    }

    /// Runs the query once: the seconds it took, and its answer.
    fn round(&mut self) -> Result<(f64, f64)> {
        writeln!(self.child.stdin.as_ref().expect("it is a pipe"), "go")?;
        let line = self.line()?;
        let (seconds, answer) = line.split_once(' ').ok_or_else(|| format!("PySpark says {line:?}"))?;
        Ok((seconds.parse()?, answer.parse()?))
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        match self.answers.read_line(&mut line)? {
            0 => Err("PySpark has ended; what it printed is above".into()),
            _ => Ok(line.trim_end().to_owned()),
        }
    }
}

impl Drop for Spark {
    fn drop(&mut self) {
        // It ends with its input, and is told here whether it did well.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}
