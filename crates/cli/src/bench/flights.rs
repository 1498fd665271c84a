//! Batches of the flights' columns, strings included.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use anyudf_arrow::Encoder;
use arrow::array::{Date32Array, Int16Array, Int32Array, RecordBatch, StringArray};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Schema};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::failure::Result;

/// The checked-in sample, from the repository's root.
const SAMPLE: &str = "data/flights-sample.parquet";

/// The columns that are sent.
const COLUMNS: [&str; 5] = ["date", "delay", "distance", "origin", "destination"];

/// Rows that are enough for several batches of the largest size.
const ROWS: usize = 1 << 20;

/// Flights to make batches from.
#[derive(Debug)]
pub(super) struct Flights {
    rows: RecordBatch,
    /// Where they come from, for people.
    pub(super) source: String,
}

impl Flights {
    /// From `file`, or from the checked-in sample if it is there, or made up.
    ///
    /// # Errors
    /// When the file can't be read or has other columns.
    pub(super) fn load(file: Option<&Path>) -> Result<Self> {
        let sample = Path::new(SAMPLE);
        match file.or_else(|| sample.is_file().then_some(sample)) {
            Some(path) => {
                let rows = read(path).with_context(|| format!("can't read flights from {}", path.display()))?;
                Ok(Flights { rows, source: format!("from {}", path.display()) })
            }
            None => Ok(Flights { rows: make_up(ROWS / 4), source: "made up to look like the real ones".into() }),
        }
    }

    /// Four batches, different ones, that are each encoded to about `batch_bytes`.
    pub(super) fn batches(&self, batch_bytes: usize) -> Vec<RecordBatch> {
        let encoded = |rows: usize| {
            let encoder = Encoder::new(self.rows.schema(), usize::MAX).expect("the columns are not nested");
            let lengths = encoder.encode(&self.take(0, rows)).map(|message| message.expect("it has no limit").len());
            lengths.sum::<usize>()
        };
        // What a batch needs whatever its rows, and what a row needs.
        let (fixed, many) = (encoded(0), encoded(1 << 12));
        let rows = batch_bytes.saturating_sub(fixed) * (1 << 12) / (many - fixed).max(1);
        (0..4).map(|batch| self.take(batch * rows, rows.max(1))).collect()
    }

    /// `rows` rows from `first` on, over and over, in memory of their own, as a reader gives them.
    fn take(&self, first: usize, rows: usize) -> RecordBatch {
        let (mut parts, mut next, mut left) = (Vec::new(), first % self.rows.num_rows(), rows);
        while left > 0 {
            let taken = left.min(self.rows.num_rows() - next);
            parts.push(self.rows.slice(next, taken));
            (next, left) = (0, left - taken);
        }
        concat_batches(self.rows.schema_ref(), &parts).expect("they have one schema")
    }
}

fn read(path: &Path) -> anyhow::Result<RecordBatch> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(path)?)?;
    let columns = ProjectionMask::columns(builder.parquet_schema(), COLUMNS);
    let reader = builder.with_projection(columns).with_limit(ROWS).with_batch_size(64 << 10).build()?;
    let batches = reader.collect::<Result<Vec<_>, _>>()?;
    let rows = batches.first().map(|first| concat_batches(&first.schema(), &batches)).transpose()?;
    let rows = rows.filter(|rows| rows.num_rows() > 0).context("it has no rows")?;
    ensure!(rows.num_columns() == COLUMNS.len(), "it lacks some of the columns {}", COLUMNS.join(", "));
    Ok(rows)
}

/// Rows of the same types and lengths as the real ones: delays around zero, and airports of three letters.
fn make_up(rows: usize) -> RecordBatch {
    let numbers = || (0..rows as u64).map(|row| row.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33);
    let airport = |seed: u64| {
        let letter = |place: u32| char::from(b'A' + (seed / 26_u64.pow(place) % 26) as u8);
        [letter(2), letter(1), letter(0)].iter().collect::<String>()
    };
    let schema = Schema::new(vec![
        Field::new("date", DataType::Date32, true),
        Field::new("delay", DataType::Int16, true),
        Field::new("distance", DataType::Int16, true),
        Field::new("origin", DataType::Utf8, true),
        Field::new("destination", DataType::Utf8, true),
    ]);
    let days = Int32Array::from_iter_values((0..rows).map(|row| 11_323 + (row * 181 / rows) as i32));
    let short = |range: u64, least: i16| Int16Array::from_iter_values(numbers().map(|n| (n % range) as i16 + least));
    let airports = |step: u64| StringArray::from_iter_values(numbers().map(|n| airport(n / step % 300 * 58)));
    let columns: Vec<arrow::array::ArrayRef> = vec![
        Arc::new(Date32Array::from_iter_values(days.values().iter().copied())),
        Arc::new(short(180, -30)),
        Arc::new(short(2_500, 60)),
        Arc::new(airports(7)),
        Arc::new(airports(3_001)),
    ];
    RecordBatch::try_new(Arc::new(schema), columns).expect("the columns have one length and the schema's types")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_about_as_large_as_asked() {
        let flights = Flights { rows: make_up(10_000), source: String::new() };
        for size in super::super::SIZES {
            for batch in flights.batches(size) {
                let encoder = Encoder::new(batch.schema(), usize::MAX).expect("flat columns");
                let length: usize = encoder.encode(&batch).map(|message| message.expect("no limit").len()).sum();
                assert!(length.abs_diff(size) < size / 20, "{length} for {size}");
            }
        }
    }
}
