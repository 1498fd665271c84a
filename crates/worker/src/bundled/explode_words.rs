//! `explode_words(text)`: an example of a map function that returns another number of rows than it was given.

use std::sync::Arc;

use arrow::array::{AsArray, Int64Builder, RecordBatch, StringBuilder};
use arrow::datatypes::{DataType, SchemaRef};

use crate::closures::map;
use crate::definition::{Definition, Volatility};
use crate::error::Result;
use crate::function::Output;

/// Rows emitted at once: a long text must not become one huge batch.
const ROWS: usize = 8_192;

/// The function: one row for each word between white space, with its position in its text from 1. A null or a text
/// without words gives no rows.
pub fn definition() -> Definition {
    map("explode_words")
        .argument("text", DataType::Utf8)
        .returns([("word", DataType::Utf8), ("position", DataType::Int64)])
        .help("one row for each word of a text, with its position from 1")
        .version(env!("CARGO_PKG_VERSION"))
        .over(explode)
        .volatility(Volatility::Immutable)
}

fn explode(batch: RecordBatch, out: &mut Output<'_>) -> Result<()> {
    let (mut words, mut positions) = (StringBuilder::new(), Int64Builder::new());
    let schema: SchemaRef = Arc::clone(out.schema());
    for text in batch.column(0).as_string::<i32>().iter().flatten() {
        for (word, position) in text.split_whitespace().zip(1..) {
            words.append_value(word);
            positions.append_value(position);
            if positions.values_slice().len() == ROWS {
                emit(&schema, &mut words, &mut positions, out)?;
            }
        }
    }
    if positions.values_slice().is_empty() { Ok(()) } else { emit(&schema, &mut words, &mut positions, out) }
}

fn emit(schema: &SchemaRef, words: &mut StringBuilder, at: &mut Int64Builder, out: &mut Output<'_>) -> Result<()> {
    let columns = vec![Arc::new(words.finish()) as _, Arc::new(at.finish()) as _];
    out.emit(RecordBatch::try_new(Arc::clone(schema), columns)?)
}
