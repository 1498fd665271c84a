//! `count_rows`: an example of a sink. It answers no batches; its result comes with FinishResponse (R10).

use std::sync::Arc;

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::{Schema, SchemaRef};

use crate::definition::{Definition, Kind, Volatility};
use crate::error::Result;
use crate::function::{Function, Output};

/// The function: counts rows, and nulls of any columns.
///
/// `FinishResponse.data` is the decimal number of rows; the metric `nulls` is the number of nulls.
pub fn definition() -> Definition {
    Definition::new("count_rows", Kind::Aggregate, |_| Ok(CountRows::default()))
        .returns::<String>([])
        .help("the number of rows, as the result of the whole; no batches come back")
        .volatility(Volatility::Immutable)
        .version(env!("CARGO_PKG_VERSION"))
}

#[derive(Default)]
struct CountRows {
    rows: u64,
    nulls: u64,
}

impl Function for CountRows {
    /// No columns: nothing is emitted.
    fn output_schema(&self) -> SchemaRef {
        Arc::new(Schema::empty())
    }

    fn process(&mut self, batch: RecordBatch, _: &mut Output<'_>) -> Result<()> {
        self.rows += batch.num_rows() as u64;
        self.nulls += batch.columns().iter().map(|column| column.null_count() as u64).sum::<u64>();
        Ok(())
    }

    fn finish(self, out: &mut Output<'_>) -> Result<()> {
        out.metric("nulls", self.nulls);
        out.set_result(self.rows.to_string());
        Ok(())
    }
}
