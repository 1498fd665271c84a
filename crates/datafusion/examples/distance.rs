//! How fast a function is through a worker, beside the same function in this process: rows of four numbers in memory, one
//! number out.
//!
//! ```text
//! cargo run --release -p anyudf-datafusion --example distance
//! ```

use std::env;
use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use anyudf_datafusion::RegisterWorker;
use anyudf_engine::{Dispatcher, DispatcherConfig, WorkerCommand, WorkerPlan};
use anyudf_worker::{Volatility, Worker, scalar};
use arrow_array::cast::AsArray;
use arrow_array::types::Float64Type;
use arrow_array::{ArrayRef, Float64Array, RecordBatch};
use arrow_schema::DataType::Float64;
use arrow_schema::{Field, Schema};
use datafusion::datasource::MemTable;
use datafusion::logical_expr::{ColumnarValue, create_udf};
use datafusion::prelude::{SessionConfig, SessionContext};

/// The variable that makes a worker of this program.
const MODE: &str = "ANYUDF_EXAMPLE_WORKER";

const NAMES: [&str; 4] = ["lat1", "lon1", "lat2", "lon2"];
const ROWS: usize = 4_000_000;

/// The haversine formula, in miles.
fn distance(columns: &[ArrayRef]) -> ArrayRef {
    let degrees = |column: usize| columns[column].as_primitive::<Float64Type>().values();
    let miles = (0..columns[0].len()).map(|row| {
        let (lat1, lat2) = (degrees(0)[row].to_radians(), degrees(2)[row].to_radians());
        let half_lat = ((lat2 - lat1) / 2.0).sin();
        let half_lon = ((degrees(3)[row] - degrees(1)[row]).to_radians() / 2.0).sin();
        let chord = half_lat * half_lat + lat1.cos() * lat2.cos() * half_lon * half_lon;
        2.0 * 3958.7613 * chord.clamp(0.0, 1.0).sqrt().asin()
    });
    Arc::new(Float64Array::from_iter_values(miles))
}

fn worker() -> Worker {
    let builder = NAMES.iter().fold(scalar("there"), |builder, name| builder.argument(*name, Float64));
    Worker::new().with(builder.returns(Float64).over(|columns| Ok(distance(columns))).volatility(Volatility::Immutable))
}

async fn compare() -> Result<(), Box<dyn Error>> {
    let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(2));
    let mut command = WorkerCommand::new(env::current_exe()?, Vec::<String>::new());
    command.environment.push((MODE.into(), "1".into()));
    let mut plan = WorkerPlan::from(command);
    (plan.supports_reuse, plan.supports_concurrent_udfs) = (true, true);
    let dispatcher = Dispatcher::with_plan(plan, DispatcherConfig::default())?;
    context.register_worker(dispatcher.clone()).await?;
    let here =
        |columns: &[ColumnarValue]| Ok(ColumnarValue::Array(distance(&ColumnarValue::values_to_arrays(columns)?)));
    let volatility = datafusion::logical_expr::Volatility::Immutable;
    context.register_udf(create_udf("here", vec![Float64; 4], Float64, volatility, Arc::new(here)));
    let schema = Arc::new(Schema::new(NAMES.map(|name| Field::new(name, Float64, false)).to_vec()));
    let batch = |first: usize| {
        let column = |place: usize| {
            let degrees = (first..first + 8192).map(|row| ((row * (place + 7)) % 1700) as f64 / 20.0);
            Arc::new(Float64Array::from_iter_values(degrees)) as ArrayRef
        };
        RecordBatch::try_new(Arc::clone(&schema), (0..4).map(column).collect())
    };
    let half = |from: usize| (from..from + ROWS / 2).step_by(8192).map(batch).collect::<Result<Vec<_>, _>>();
    context.register_table("r", Arc::new(MemTable::try_new(Arc::clone(&schema), vec![half(0)?, half(ROWS / 2)?])?))?;
    for _ in 0..3 {
        for function in ["here", "there"] {
            let began = Instant::now();
            let query = format!("SELECT sum({function}(lat1, lon1, lat2, lon2)) FROM r");
            context.sql(&query).await?.collect().await?;
            println!("{function:>6}: {:6.2} million rows/s", ROWS as f64 / 1e6 / began.elapsed().as_secs_f64());
        }
    }
    context.sql("EXPLAIN ANALYZE SELECT sum(there(lat1, lon1, lat2, lon2)) FROM r").await?.show().await?;
    dispatcher.close().await;
    Ok(())
}

fn main() -> ExitCode {
    if env::var_os(MODE).is_some() {
        return worker().run();
    }
    let runtime = tokio::runtime::Runtime::new().expect("threads");
    match runtime.block_on(compare()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
