//! `generate_series`: an example of a table function. It has options, takes no input, and emits until it is done or
//! cancelled.

use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use serde::Deserialize;

use crate::definition::{Definition, Kind, Volatility};
use crate::error::{Error, Result};
use crate::function::{Function, Output};
use crate::invocation::Invocation;

/// The function: the column `value` from `start` to `stop`, both included, in steps of `step`.
///
/// Options: `{"start": 1, "stop": 1000000, "step": 1, "batch_rows": 8192}`; only `stop` is required.
pub fn definition() -> Definition {
    Definition::new("generate_series", Kind::Table, GenerateSeries::open)
        .arguments::<String>([])
        .returns([("value", DataType::Int64)])
        .help("whole numbers from `start` (1) to `stop` in steps of `step` (1); these are options")
        .volatility(Volatility::Immutable)
        .version(env!("CARGO_PKG_VERSION"))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    #[serde(default = "one")]
    start: i64,
    stop: i64,
    #[serde(default = "one")]
    step: i64,
    #[serde(default = "batch_rows")]
    batch_rows: usize,
}

fn one() -> i64 {
    1
}

fn batch_rows() -> usize {
    8_192
}

struct GenerateSeries {
    options: Options,
}

/// No batch is longer, whatever was asked for: memory follows it.
const MOST_ROWS: usize = 1 << 20;

impl GenerateSeries {
    fn open(invocation: &Invocation) -> Result<Self> {
        let options: Options = invocation.options_as()?;
        let wrong = match (options.step, options.batch_rows) {
            (0, _) => "the option `step` is 0, which gets nowhere; use any other whole number",
            (_, 0) => "the option `batch_rows` is 0; use a number above 0",
            (_, rows) if rows > MOST_ROWS => "the option `batch_rows` is above 1048576; use a smaller number",
            _ => return Ok(GenerateSeries { options }),
        };
        Err(Error::user(wrong).with_class("BAD_OPTIONS"))
    }
}

impl Function for GenerateSeries {
    fn output_schema(&self) -> SchemaRef {
        Arc::new(Schema::new(vec![Field::new("value", DataType::Int64, true)]))
    }

    fn start(&mut self, out: &mut Output<'_>) -> Result<()> {
        let Options { start, stop, step, batch_rows } = self.options;
        let is_past = |value: &i64| if step > 0 { *value > stop } else { *value < stop };
        // The series ends at the edge of what 64 bits hold, too.
        let mut values = std::iter::successors(Some(start), |value| value.checked_add(step))
            .take_while(|value| !is_past(value))
            .peekable();
        while values.peek().is_some() {
            let column = Int64Array::from_iter_values(values.by_ref().take(batch_rows));
            let batch = RecordBatch::try_new(Arc::clone(out.schema()), vec![Arc::new(column)])?;
            // Blocks while the engine is slow, and fails once it has cancelled.
            out.emit(batch)?;
        }
        Ok(())
    }

    fn process(&mut self, _: RecordBatch, _: &mut Output<'_>) -> Result<()> {
        Err("generate_series takes no input".into())
    }
}
