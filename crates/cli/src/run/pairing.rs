//! A scalar function's results, put beside the rows they were made from.

use std::sync::Arc;

use anyhow::Context as _;
use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::concat;
use arrow::datatypes::SchemaRef;

use super::flow::{Event, Work};
use super::plan::Plan;
use crate::failure::{Failure, Result};

/// The rows of `work` with the result in a column behind them, however many pieces it came in. `schema` is that of the
/// rows that are written.
///
/// # Errors
/// The pieces have another number of rows together, no column, or one of another type.
pub(super) fn paired(plan: &Plan, schema: &SchemaRef, work: Work, pieces: &[RecordBatch]) -> Result<Event> {
    let (wanted, rows) = (work.rows.num_rows(), pieces.iter().map(|piece| piece.num_rows()).sum::<usize>());
    if rows < wanted {
        return Err(wrong_length(plan, &format!("too few rows for {}", work.location())));
    }
    if rows > wanted {
        return Err(wrong_length(plan, &format!("{rows} rows for the {wanted} of {}", work.location())));
    }
    let pieces: Option<Vec<_>> = pieces.iter().map(|piece| piece.columns().first()).collect();
    let column = match &pieces.with_context(|| format!("function `{}` returned no column", plan.function))?[..] {
        [whole] => ArrayRef::clone(whole),
        pieces => {
            let pieces: Vec<_> = pieces.iter().map(|piece| &***piece).collect();
            concat(&pieces).context("can't join the pieces of a result")?
        }
    };
    let mut columns = work.rows.columns().to_vec();
    columns.push(column);
    let rows = RecordBatch::try_new(Arc::clone(schema), columns)
        .with_context(|| format!("function `{}` returned an unexpected column", plan.function))?;
    Ok(Event::Rows { place: Some(work.place), rows, permit: Some(work.permit) })
}

/// A scalar function that does not return a value for each row.
pub(super) fn wrong_length(plan: &Plan, what: &str) -> Failure {
    Failure::failed(format_args!(
        "function `{}` returned {what}; a scalar function returns a value for each row, others need --kind map",
        plan.function
    ))
}
