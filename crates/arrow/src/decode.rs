//! Bytes in, record batches out.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_ipc::{Message, MessageHeader};
use arrow_schema::{Schema, SchemaRef};
use bytes::Bytes;

use crate::body::Body;
use crate::column::{Column, dictionary_ids, own_ids, same_type};
use crate::dictionaries::Dictionaries;
use crate::error::{Error, Result};
use crate::inflate::{Budget, Limits};
use crate::message::{self, Next};
use crate::schema::{header_name, read_schema};

/// Decodes the data of one direction of a stream, message by message (C9), and trusts none of it (C10).
///
/// # What it takes
/// The bytes of one DataRequest or DataResponse: an optional Schema, any DictionaryBatches, RecordBatches, an optional
/// end-of-stream marker. Dictionaries may be replaced, may grow by deltas, and last for the rest of the stream. Bodies
/// may be compressed with LZ4 or ZSTD.
///
/// # What it costs
/// Nothing is copied where the bytes lie as Arrow needs them, which is so for every buffer when the message starts at a
/// multiple of [`ALIGNMENT`](crate::ALIGNMENT) (16 is enough for every type there is). Otherwise the buffers of numbers and
/// offsets are copied, once each; text, bytes and bitmaps never are. The batches keep the message's memory alive.
///
/// Every value is checked, text included, at close to the speed of memory.
///
/// # Example
/// ```
/// use std::sync::Arc;
/// use anyudf_arrow::{Decoder, Encoder, Limits};
/// use arrow_array::{ArrayRef, Float64Array, RecordBatch};
///
/// let miles: ArrayRef = Arc::new(Float64Array::from(vec![2475.0, 337.0]));
/// let batch = RecordBatch::try_from_iter([("miles", miles)]).unwrap();
///
/// let encoder = Encoder::new(batch.schema(), 4 << 20)?;
/// let mut decoder = Decoder::new(batch.schema(), Limits::default())?;
/// for message in encoder.encode(&batch) {
///     assert_eq!(decoder.decode(message?.into_bytes())?, [batch.clone()]);
/// }
/// # Ok::<(), anyudf_arrow::Error>(())
/// ```
#[derive(Debug)]
pub struct Decoder {
    expected: Option<Expected>,
    dictionaries: Dictionaries,
    limits: Limits,
}

/// The schema of the stream, once it is known.
#[derive(Debug)]
struct Expected {
    schema: SchemaRef,
    columns: Vec<Column>,
}

impl Decoder {
    /// A decoder for batches of `schema`, which both sides know from Init or InitResponse.
    ///
    /// # Errors
    /// [`Kind::Unsupported`](crate::Kind::Unsupported) for a dictionary whose values are a dictionary again, and for
    /// a union without types.
    pub fn new(schema: SchemaRef, limits: Limits) -> Result<Self> {
        let columns = Column::of(&schema, dictionary_ids(&schema))?;
        Ok(Decoder { expected: Some(Expected { schema, columns }), ..Decoder::learning(limits) })
    }

    /// A decoder that takes the schema from the first message, which must bring one.
    pub fn learning(limits: Limits) -> Self {
        Decoder { expected: None, dictionaries: Dictionaries::default(), limits }
    }

    /// The schema of the batches: the one given, or the one learned so far.
    pub fn schema(&self) -> Option<&SchemaRef> {
        self.expected.as_ref().map(|expected| &expected.schema)
    }

    /// Decodes the data of one message into its batches; there may be none.
    ///
    /// The batches have the schema that was given, also where a Schema message in the data differs from it in what does
    /// not matter: metadata, nullability, names inside of lists and maps. That no null sits in a column that may not have
    /// one is checked on the data.
    ///
    /// # Errors
    /// After any error the stream is over; what later calls return is unspecified but safe.
    /// - [`Kind::Malformed`](crate::Kind::Malformed): the bytes are not what they claim to be.
    /// - [`Kind::Unsupported`](crate::Kind::Unsupported): a part of the format that is not read, such as a tensor.
    /// - [`Kind::TooLarge`](crate::Kind::TooLarge): they would inflate beyond the [`Limits`]. Noticed before any memory is
    ///   taken for it.
    /// - [`Kind::SchemaMismatch`](crate::Kind::SchemaMismatch): a Schema message that differs from the one agreed.
    ///
    /// Never panics, whatever the bytes (C10).
    pub fn decode(&mut self, data: Bytes) -> Result<Vec<RecordBatch>> {
        // The last line, not the first: whatever is known to panic in the crates below is checked before it is reached.
        catch_unwind(AssertUnwindSafe(|| self.run(data))).unwrap_or_else(|payload| Err(Error::panicked(&*payload)))
    }

    fn run(&mut self, mut input: Bytes) -> Result<Vec<RecordBatch>> {
        let mut budget = Budget::new(&self.limits, input.len());
        let mut batches = Vec::with_capacity(1);
        let mut first = true;
        while let Next::Metadata(metadata) = message::next(&mut input)? {
            let message = message::verify(&metadata)?;
            let body = message::take_body(&message, &mut input)?;
            match message.header_type() {
                MessageHeader::Schema if first => self.schema_message(&message)?,
                MessageHeader::Schema => return Err(Error::malformed("a Schema message after other messages")),
                MessageHeader::DictionaryBatch => self.dictionary_batch(&message, body, &mut budget)?,
                MessageHeader::RecordBatch => batches.push(self.record_batch(&message, body, &mut budget)?),
                other => return Err(Error::unsupported(format!("a message that is {}", header_name(other)))),
            }
            first = false;
        }
        self.dictionaries.settle(self.limits.dictionary_bytes)?;
        Ok(batches)
    }

    /// A Schema message begins the stream anew: the numbers of the dictionaries are those that it gives.
    fn schema_message(&mut self, message: &Message<'_>) -> Result<()> {
        let received = read_schema(message)?;
        let ids = own_ids(&received);
        let schema = match self.expected.take() {
            Some(expected) => {
                compare(&expected.schema, &received)?;
                expected.schema
            }
            None => Arc::new(received),
        };
        let columns = Column::of(&schema, ids)?;
        self.expected = Some(Expected { schema, columns });
        self.dictionaries.clear();
        Ok(())
    }

    fn dictionary_batch(&mut self, message: &Message<'_>, body: Bytes, budget: &mut Budget) -> Result<()> {
        let Decoder { expected, dictionaries, .. } = self;
        let columns = &known(expected)?.columns;
        let header = message.header_as_dictionary_batch();
        let (header, batch) = header
            .and_then(|header| Some((header, header.data()?)))
            .ok_or_else(|| Error::malformed("a DictionaryBatch without data"))?;
        let id = header.id();
        let column = Column::find(columns, id)
            .ok_or_else(|| Error::malformed(format!("no column of the schema uses dictionary {id}")))?;
        let within = |error: Error| error.within(column.field.name());

        let before = budget.left();
        let body = Body::new(batch, message.version(), body, budget, dictionaries)?;
        let values = only(body.arrays(&column.children, batch.length()).map_err(within)?.0);
        let bytes = before - budget.left();
        if header.isDelta() {
            dictionaries.extend(id, values, bytes, budget).map_err(within)
        } else {
            dictionaries.replace(id, values, bytes);
            Ok(())
        }
    }

    fn record_batch(&self, message: &Message<'_>, body: Bytes, budget: &mut Budget) -> Result<RecordBatch> {
        let Expected { schema, columns } = known(&self.expected)?;
        let batch =
            message.header_as_record_batch().ok_or_else(|| Error::malformed("a RecordBatch without a header"))?;
        let (arrays, rows) =
            Body::new(batch, message.version(), body, budget, &self.dictionaries)?.arrays(columns, batch.length())?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(schema.clone(), arrays, &options).map_err(Error::invalid)
    }
}

fn known(expected: &Option<Expected>) -> Result<&Expected> {
    expected.as_ref().ok_or_else(|| {
        Error::malformed(
            "data before any schema; set Init.output_schema, answer with one in InitResponse.data, or begin the data \
             with one",
        )
    })
}

fn only(mut arrays: Vec<ArrayRef>) -> ArrayRef {
    arrays.pop().expect("a dictionary has one column of values")
}

/// A schema in the data must say what was agreed.
fn compare(expected: &Schema, received: &Schema) -> Result<()> {
    let (ours, theirs) = (expected.fields(), received.fields());
    if ours.len() != theirs.len() {
        return Err(Error::mismatch(format!(
            "the data has {} columns, the agreed schema {}",
            theirs.len(),
            ours.len()
        )));
    }
    for (i, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
        if ours.name() != theirs.name() {
            let (ours, theirs) = (ours.name(), theirs.name());
            return Err(Error::mismatch(format!(
                "column {i} of the data is \"{theirs}\", the agreed schema has \"{ours}\""
            )));
        }
        if !same_type(ours.data_type(), theirs.data_type()) {
            let (expected, found) = (ours.data_type(), theirs.data_type());
            return Err(
                Error::mismatch(format!("the data has {found}, the agreed schema {expected}")).within(ours.name())
            );
        }
    }
    Ok(())
}
