//! Record batches in, bytes out, gathered rather than copied.

use arrow_array::{Array, RecordBatch};
use arrow_buffer::Buffer;
use arrow_schema::SchemaRef;
use bytes::{Bytes, BytesMut};

use crate::column::{Column, dictionary_ids, same_type};
use crate::error::{Error, Result};
use crate::layout::{Laid, Layout};
use crate::message::padded;

/// Encodes record batches as the data of messages (C9).
///
/// Each message holds one bare RecordBatch after the DictionaryBatches that it needs, so it can be understood by itself.
/// The schema goes ahead in Init or InitResponse; see [`encode_schema`](crate::encode_schema).
///
/// # What it costs
/// Buffers of more than a few kilobytes are passed on as they are, without a copy; a message is a list of parts, some of
/// which are the very memory of the batch. What a slice cuts through is copied: offsets that have to start at zero again,
/// bits that do not start at a byte. So are the values of views and of dictionaries when most of them are not used, which
/// is what slices and filtered batches look like. Nothing that a slice cut off is sent.
///
/// A batch longer than the limit is split by rows, one message after the other, and each is made when it is asked for.
/// Lengths are known exactly before anything is copied.
#[derive(Debug)]
pub struct Encoder {
    schema: SchemaRef,
    columns: Vec<Column>,
    max_message_bytes: usize,
    usual_bytes: usize,
    lead: usize,
}

impl Encoder {
    /// An encoder for batches of `schema`. No message is longer than `max_message_bytes`, which counts the data alone:
    /// leave room for the envelope around it.
    ///
    /// # Errors
    /// [`Kind::Unsupported`](crate::Kind::Unsupported) for a dictionary whose values are a dictionary again, and for
    /// a union without types.
    pub fn new(schema: SchemaRef, max_message_bytes: usize) -> Result<Self> {
        let columns = Column::of(&schema, dictionary_ids(&schema))?;
        Ok(Encoder { schema, columns, max_message_bytes, usual_bytes: max_message_bytes, lead: 0 })
    }

    /// Splits batches into messages of at most `usual_bytes`; only what can't be split, a single row with the
    /// dictionaries it needs, may be longer, up to the limit. The limit unless told.
    pub fn with_usual(self, usual_bytes: usize) -> Self {
        Encoder { usual_bytes: usual_bytes.min(self.max_message_bytes), ..self }
    }

    /// Lays messages out for a reader in whose memory they will be `lead` bytes behind a multiple of
    /// [`ALIGNMENT`](crate::ALIGNMENT), so that it need not copy them to read them. A multiple of 8; zero unless told.
    pub fn with_lead(self, lead: usize) -> Self {
        Encoder { lead, ..self }
    }

    /// The schema that batches must have.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Encodes a batch: one message, also if it has no rows, or as many as its length takes.
    ///
    /// # Errors
    /// The iterator yields them, and nothing after.
    /// - [`Kind::SchemaMismatch`](crate::Kind::SchemaMismatch): the batch's columns are of other types than the schema's, or
    ///   hold nulls where it allows none. Comes before any message.
    /// - [`Kind::TooLarge`](crate::Kind::TooLarge): a single row does not fit. The text says how large it is.
    /// - [`Kind::Unsupported`](crate::Kind::Unsupported): a type that has no encoding.
    pub fn encode(&self, batch: &RecordBatch) -> Messages<'_> {
        let state = match self.check(batch) {
            Ok(()) => State::Rows { next: 0, at_once: batch.num_rows() },
            Err(error) => State::Failed(error),
        };
        Messages { encoder: self, batch: batch.clone(), state }
    }

    /// Whether a batch is one of the schema, as [`encode`](Self::encode) finds out first.
    ///
    /// # Errors
    /// [`Kind::SchemaMismatch`](crate::Kind::SchemaMismatch): its columns are of other types than the schema's, or hold nulls
    /// where it allows none.
    pub fn check(&self, batch: &RecordBatch) -> Result<()> {
        if std::sync::Arc::ptr_eq(&self.schema, batch.schema_ref()) {
            return Ok(());
        }
        if batch.num_columns() != self.columns.len() {
            let (found, expected) = (batch.num_columns(), self.columns.len());
            return Err(Error::mismatch(format!("the batch has {found} columns, the schema {expected}")));
        }
        for (field, array) in self.schema.fields().iter().zip(batch.columns()) {
            let (expected, found) = (field.data_type(), array.data_type());
            if expected != found && !same_type(expected, found) {
                return Err(
                    Error::mismatch(format!("the batch has {found}, the schema {expected}")).within(field.name())
                );
            }
            if !field.is_nullable() && array.null_count() > 0 {
                let nulls = array.null_count();
                return Err(Error::mismatch(format!("{nulls} nulls where the schema allows none")).within(field.name()));
            }
        }
        Ok(())
    }

    /// Lays out the messages for a batch: dictionaries, then the batch.
    fn lay(&self, batch: &RecordBatch) -> Result<Vec<Laid>> {
        let mut messages = Vec::with_capacity(1);
        let mut layout = Layout::default();
        for (array, column) in batch.columns().iter().zip(&self.columns) {
            layout.add(array, column, &mut messages).map_err(|error| error.within(column.field.name()))?;
        }
        messages.push(layout.finish_batch(batch.num_rows()));
        // What follows the first message is as far from the multiple as that message makes it: not at all.
        messages[0].put_behind(self.lead);
        Ok(messages)
    }
}

/// The messages of one batch, each made when it is asked for. See [`Encoder::encode`].
#[derive(Debug)]
pub struct Messages<'a> {
    encoder: &'a Encoder,
    batch: RecordBatch,
    state: State,
}

#[derive(Debug)]
enum State {
    /// From row `next` on, `at_once` rows a message as far as is known.
    Rows {
        next: usize,
        at_once: usize,
    },
    Failed(Error),
    Done,
}

impl Iterator for Messages<'_> {
    type Item = Result<Encoded>;

    fn next(&mut self) -> Option<Self::Item> {
        match std::mem::replace(&mut self.state, State::Done) {
            State::Rows { next, at_once } => Some(self.message(next, at_once)),
            State::Failed(error) => Some(Err(error)),
            State::Done => None,
        }
    }
}

impl std::iter::FusedIterator for Messages<'_> {}

impl Messages<'_> {
    /// Makes the message that starts at row `next`, with as many rows as fit.
    fn message(&mut self, next: usize, at_once: usize) -> Result<Encoded> {
        let Encoder { max_message_bytes: max, usual_bytes: usual, .. } = *self.encoder;
        let all = self.batch.num_rows();
        let mut rows = at_once.min(all - next);
        loop {
            let messages = match rows == all {
                true => self.encoder.lay(&self.batch)?,
                false => self.encoder.lay(&self.batch.slice(next, rows))?,
            };
            let length = messages.iter().map(|message| message.length).sum();
            if length <= usual || (rows <= 1 && length <= max) {
                if next + rows < all {
                    // Rows differ: a long one must not make all that follow go alone.
                    let fitting = (rows as u128 * usual as u128 / length as u128 * 15 / 16) as usize;
                    let at_once = if length > usual { all } else { fitting.max(rows) };
                    self.state = State::Rows { next: next + rows, at_once };
                }
                return Ok(write(messages, length, rows));
            }
            if rows <= 1 {
                let what = if rows == 0 { "the empty batch".to_owned() } else { format!("row {next}") };
                return Err(Error::row_too_large(format!(
                    "{what} takes {length} bytes, a message holds at most {max}; make it smaller or raise the limit"
                )));
            }
            // Never more than half: a batch a little too long becomes two of a size, and what every message needs
            // anyway, such as a dictionary, cannot keep the search from ending.
            let fitting = (rows as u128 * usual as u128 / length as u128 * 15 / 16) as usize;
            rows = fitting.clamp(1, rows / 2);
        }
    }
}

/// The data of one message, in parts.
#[derive(Clone, Debug)]
pub struct Encoded {
    /// The message is these, one after the other. Large ones share the memory of the batch.
    pub parts: Vec<Bytes>,
    /// How many rows it holds.
    pub rows: usize,
}

impl Encoded {
    /// The length of the message in bytes. Never zero.
    #[allow(clippy::len_without_is_empty, reason = "a message is never empty")]
    pub fn len(&self) -> usize {
        self.parts.iter().map(Bytes::len).sum()
    }

    /// The message in one piece. Copies it, unless it is one already.
    pub fn into_bytes(mut self) -> Bytes {
        match self.parts.len() {
            1 => self.parts.remove(0),
            _ => self.parts.concat().into(),
        }
    }
}

/// A buffer shorter than this is cheaper to copy than to send as a part of its own.
const SHARE_FROM: usize = 4 << 10;
/// A message up to this length is cheaper to copy than to send in parts.
const WHOLE_UP_TO: usize = 32 << 10;

/// Writes what was laid out. `length` is that of all of it.
fn write(messages: Vec<Laid>, length: usize, rows: usize) -> Encoded {
    let share_from = if length <= WHOLE_UP_TO { usize::MAX } else { SHARE_FROM };
    let shared = |length: usize| length >= share_from;
    let pieces = || messages.iter().flat_map(|message| &message.pieces).map(|piece| piece.len());
    let copied = length - pieces().filter(|length| shared(*length)).sum::<usize>();

    let mut parts = Vec::with_capacity(2 * pieces().filter(|length| shared(*length)).count() + 1);
    // Everything small, in one allocation; `split` hands out stretches of it.
    let mut small = BytesMut::with_capacity(copied);
    for message in messages {
        small.extend_from_slice(&message.header);
        for piece in message.pieces {
            let length = piece.len();
            let buffer = piece.into_buffer();
            if shared(length) {
                if !small.is_empty() {
                    parts.push(small.split().freeze());
                }
                parts.push(Bytes::from_owner(Shared(buffer)));
            } else {
                small.extend_from_slice(&buffer);
            }
            small.resize(small.len() + padded(length) - length, 0);
        }
    }
    if !small.is_empty() {
        parts.push(small.freeze());
    }
    Encoded { parts, rows }
}

/// Arrow's buffer as the owner of bytes.
struct Shared(Buffer);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        self.0.as_slice()
    }
}
