//! Constants: as bytes, and as columns.

use arrow_array::{Array, ArrayRef, RecordBatch, make_array};
use arrow_data::ArrayData;
use arrow_data::transform::MutableArrayData;
use arrow_schema::{DataType, FieldRef};
use base64::prelude::{BASE64_STANDARD, Engine as _};

use super::Expression;
use crate::decode::Decoder;
use crate::encode::Encoder;
use crate::error::{Error, Result};
use crate::inflate::Limits;
use crate::message;
use crate::schema::encode_schema;

/// How many bytes the constants of an expression take at once, repeated for as many rows, about.
const MOST_BYTES: usize = 64 << 20;

/// How many rows are worked on at once, however little they take: a batch without columns may claim hundreds of millions.
const MOST_ROWS: usize = 1 << 20;

/// The constants of an expression as columns of any length, made once and cut as long as they are needed.
///
/// ```
/// use std::sync::Arc;
/// use anyudf_arrow::expression::{Constants, Expression};
/// use arrow_array::{Array, Int32Array};
/// use arrow_schema::{DataType, Field};
///
/// let mut expression = Expression::new();
/// let seven = expression.constant(Field::new("seven", DataType::Int32, false), Arc::new(Int32Array::from(vec![7])))?;
/// let mut constants = Constants::of(&expression);
/// assert_eq!(&*constants.column(seven, 3)?, &Int32Array::from(vec![7, 7, 7]) as &dyn Array);
/// # Ok::<(), anyudf_arrow::Error>(())
/// ```
#[derive(Debug)]
pub struct Constants {
    /// As long as was needed so far.
    columns: Vec<ArrayRef>,
    rows_at_once: usize,
}

impl Constants {
    /// Those of this expression.
    pub fn of(expression: &Expression) -> Self {
        let columns = expression.constants().to_vec();
        let bytes = columns.iter().map(|value| weight(&value.to_data())).fold(0, usize::saturating_add);
        let rows_at_once = (MOST_BYTES / bytes.max(1)).clamp(1, MOST_ROWS);
        Constants { columns, rows_at_once }
    }

    /// How many rows to ask for at once, at most: an array has a value for every row, and a large one times many rows is
    /// more than there is. At least 1.
    pub fn rows_at_once(&self) -> usize {
        self.rows_at_once
    }

    /// The constant of this number for `rows` rows.
    ///
    /// # Errors
    /// When Arrow can't repeat it.
    ///
    /// # Panics
    /// When there is no such constant.
    pub fn column(&mut self, number: usize, rows: usize) -> Result<ArrayRef> {
        while self.columns[number].len() < rows {
            self.columns[number] = twice(&self.columns[number])?;
        }
        Ok(self.columns[number].slice(0, rows))
    }
}

/// An array followed by itself. Not by `take`, which loses the length of types without bytes.
fn twice(array: &ArrayRef) -> Result<ArrayRef> {
    let (data, rows) = (array.to_data(), array.len());
    let mut both = MutableArrayData::new(vec![&data], false, 2 * rows);
    both.try_extend(0, 0, rows).and_then(|()| both.try_extend(0, 0, rows)).map_err(Error::invalid)?;
    Ok(make_array(both.freeze()))
}

/// How many bytes a row takes, rather too many: items count too, since some types have them without having bytes.
fn weight(data: &ArrayData) -> usize {
    let buffers = data.buffers().iter().map(|buffer| buffer.len());
    let children = data.child_data().iter().map(weight);
    buffers.chain(children).fold(data.len().saturating_mul(8), usize::saturating_add)
}

/// Whether run-end encoded data is somewhere in it, whose run ends may be too small for as many rows.
pub(super) fn has_runs(data_type: &DataType) -> bool {
    use DataType as T;
    let below = |field: &FieldRef| has_runs(field.data_type());
    match data_type {
        T::RunEndEncoded(..) => true,
        T::List(item)
        | T::LargeList(item)
        | T::ListView(item)
        | T::LargeListView(item)
        | T::FixedSizeList(item, _)
        | T::Map(item, _) => below(item),
        T::Struct(fields) => fields.iter().any(below),
        T::Union(fields, _) => fields.iter().any(|(_, field)| below(field)),
        T::Dictionary(_, values) => has_runs(values),
        _ => false,
    }
}

/// A batch as an IPC stream in base64.
pub(super) fn write(batch: &RecordBatch) -> Result<String> {
    let mut stream = encode_schema(batch.schema_ref()).to_vec();
    for message in Encoder::new(batch.schema(), usize::MAX)?.encode(batch) {
        stream.extend_from_slice(&message?.into_bytes());
    }
    stream.extend_from_slice(&message::END_OF_STREAM);
    Ok(BASE64_STANDARD.encode(stream))
}

/// The batch of an IPC stream in base64: it has one row.
pub(super) fn read(text: &str) -> Result<RecordBatch> {
    let refused = |text: String| Error::payload(format!("`constants` {text}"));
    let stream = BASE64_STANDARD.decode(text).map_err(|error| refused(format!("is no base64: {error}")))?;
    let batches = Decoder::learning(Limits::default()).decode(stream.into());
    let batches = batches.map_err(|error| refused(format!("is no Arrow IPC stream: {error}")))?;
    match &batches[..] {
        [batch] if batch.num_rows() == 1 => Ok(batch.clone()),
        [batch] => Err(refused(format!("has {} rows instead of one", batch.num_rows()))),
        batches => Err(refused(format!("has {} batches instead of one", batches.len()))),
    }
}
