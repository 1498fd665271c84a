//! Rows that wait for their results.

use arrow_array::builder::UInt32Builder;
use arrow_array::{ArrayRef, BooleanArray, RecordBatch, UInt32Array, new_null_array};
use arrow_schema::SchemaRef;
use arrow_select::concat::concat_batches;
use arrow_select::take::take;
use datafusion::common::Result;

use super::widened;

/// What was sent at once, with the rows it is for.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// The number of its first row in the partition, from zero.
    pub(super) first: u64,
    /// The rows as they came, and for which of them the function was called.
    pub(super) parts: Vec<(RecordBatch, Option<BooleanArray>)>,
    /// How many results there will be.
    pub(super) sent: usize,
    /// In how many batches it was sent.
    pub(super) messages: usize,
}

impl Kept {
    pub(super) fn rows(&self) -> usize {
        self.parts.iter().map(|(rows, _)| rows.num_rows()).sum()
    }

    /// Where it is, for error texts: people count from one.
    pub(super) fn location(&self, partition: usize) -> String {
        let (from, to) = (self.first + 1, self.first + self.rows() as u64);
        format!("rows {from} to {to} of partition {partition}")
    }

    /// The number in the partition, from one, of the row that was the `place`-th of those sent, from zero.
    pub(super) fn row(&self, place: u64) -> Option<u64> {
        let mut left = usize::try_from(place).ok()?;
        let mut first = self.first;
        for (rows, wanted) in &self.parts {
            let of_these = wanted.as_ref().map_or(rows.num_rows(), BooleanArray::true_count);
            if left < of_these {
                let inside = match wanted {
                    Some(wanted) => wanted.values().set_indices().nth(left)?,
                    None => left,
                };
                return Some(first + inside as u64 + 1);
            }
            left -= of_these;
            first += rows.num_rows() as u64;
        }
        None
    }

    /// The rows with their results: `pieces` have as many rows as were sent, and the columns that stand last in `schema`.
    pub(super) fn with_results(self, pieces: &[RecordBatch], schema: &SchemaRef) -> Result<Vec<RecordBatch>> {
        let results = match pieces {
            [] => None,
            [whole] => Some(whole.clone()),
            pieces => Some(concat_batches(&pieces[0].schema(), pieces)?),
        };
        let mut taken = 0;
        let mut widen = |(rows, wanted): (RecordBatch, Option<BooleanArray>)| {
            let Some(results) = &results else {
                // Nothing was sent: there is no result, or no row.
                let fields = schema.fields().iter().skip(rows.num_columns());
                let nulls = fields.map(|field| new_null_array(field.data_type(), rows.num_rows()));
                return widened(schema, &rows, nulls);
            };
            let columns = match &wanted {
                None => {
                    let columns = results.slice(taken, rows.num_rows()).columns().to_vec();
                    taken += rows.num_rows();
                    columns
                }
                Some(wanted) => {
                    let places = places(wanted, taken);
                    taken += wanted.true_count();
                    take_all(results, &places)?
                }
            };
            widened(schema, &rows, columns)
        };
        self.parts.into_iter().map(&mut widen).collect()
    }

    /// The rows with one and the same results, which are a batch of one row, where they are wanted.
    pub(super) fn with_constant(self, results: &RecordBatch, schema: &SchemaRef) -> Result<Vec<RecordBatch>> {
        let widen = |(rows, wanted): (RecordBatch, Option<BooleanArray>)| {
            let places = match wanted {
                Some(wanted) => wanted.iter().map(|wanted| wanted.unwrap_or(false).then_some(0)).collect(),
                None => UInt32Array::from_value(0, rows.num_rows()),
            };
            widened(schema, &rows, take_all(results, &places)?)
        };
        self.parts.into_iter().map(widen).collect()
    }
}

fn take_all(results: &RecordBatch, places: &UInt32Array) -> Result<Vec<ArrayRef>> {
    Ok(results.columns().iter().map(|column| take(column, places, None)).collect::<Result<_, _>>()?)
}

/// Where each wanted row's result is, the first of them at `first`; null for the others.
fn places(wanted: &BooleanArray, first: usize) -> UInt32Array {
    let mut next = first as u32;
    let mut places = UInt32Builder::with_capacity(wanted.len());
    for wanted in wanted.iter() {
        match wanted {
            Some(true) => {
                places.append_value(next);
                next += 1;
            }
            _ => places.append_null(),
        }
    }
    places.finish()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::cast::AsArray;
    use arrow_array::types::Int32Type;
    use arrow_array::{Int32Array, Int64Array};
    use arrow_schema::{DataType, Field, Schema};

    use super::*;

    fn rows(values: &[i64]) -> RecordBatch {
        RecordBatch::try_from_iter([("n", Arc::new(Int64Array::from(values.to_vec())) as ArrayRef)]).expect("a column")
    }

    fn schema() -> SchemaRef {
        Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false), Field::new("r", DataType::Int32, true)]))
    }

    fn kept() -> Kept {
        let mask = BooleanArray::from(vec![true, false, true]);
        Kept {
            first: 10,
            parts: vec![(rows(&[1, 2]), None), (rows(&[3, 4, 5]), Some(mask)), (rows(&[6]), None)],
            sent: 5,
            messages: 1,
        }
    }

    fn results(batches: &[RecordBatch]) -> Vec<Vec<Option<i32>>> {
        batches.iter().map(|batch| batch.column(1).as_primitive::<Int32Type>().iter().collect()).collect()
    }

    #[test]
    fn results_are_put_beside_the_rows_they_are_of() {
        let column = |values: &[i32]| Arc::new(Int32Array::from(values.to_vec())) as ArrayRef;
        let piece = |values: &[i32]| RecordBatch::try_from_iter([("r", column(values))]).expect("a column");
        let pieces = [piece(&[1, 2, 3]), piece(&[5, 6])];
        let batches = kept().with_results(&pieces, &schema()).expect("five results");
        assert_eq!(results(&batches), [vec![Some(1), Some(2)], vec![Some(3), None, Some(5)], vec![Some(6)]]);
        let batches = kept().with_constant(&piece(&[7]), &schema()).expect("one result");
        assert_eq!(results(&batches), [vec![Some(7), Some(7)], vec![Some(7), None, Some(7)], vec![Some(7)]]);
    }

    #[test]
    fn a_row_that_was_sent_is_found_among_those_that_were_not() {
        let found: Vec<_> = (0..6).map(|place| kept().row(place)).collect();
        assert_eq!(found, [Some(11), Some(12), Some(13), Some(15), Some(16), None]);
        assert_eq!(kept().location(2), "rows 11 to 16 of partition 2");
    }
}
