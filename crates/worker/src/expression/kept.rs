//! What a function emits for another one in this worker.

use std::sync::Arc;

use anyudf_arrow::{Decoder, Encoder, Limits};
use arrow::array::{Array, ArrayRef, RecordBatch, new_empty_array};
use arrow::compute::concat;

use crate::closures::check_length;
use crate::error::{Result, undecodable, unencodable};

/// The batches that a scalar function emitted for some rows.
#[derive(Debug)]
pub(crate) struct Kept {
    /// How many it was given.
    given: usize,
    /// How many it returned.
    rows: usize,
    batches: Vec<RecordBatch>,
}

impl Kept {
    /// Nothing yet of a function that was given so many rows.
    pub(super) fn new(given: usize) -> Self {
        Kept { given, rows: 0, batches: Vec::new() }
    }

    /// Keeps a batch of the encoder's schema, as an engine would have it.
    pub(crate) fn keep(&mut self, batch: RecordBatch, encoder: &Encoder) -> Result<()> {
        encoder.check(&batch).map_err(unencodable)?;
        self.rows = self.rows.saturating_add(batch.num_rows());
        if self.rows > self.given {
            // Now: a function that never stops would fill the memory.
            return check_length(self.given, self.rows);
        }
        if batch.column(0).data_type() == encoder.schema().field(0).data_type() {
            self.batches.push(batch);
            return Ok(());
        }
        // Alike, but for names that mean nothing: those within are the schema's on the other side of a wire.
        let mut decoder = Decoder::new(Arc::clone(encoder.schema()), Limits::default()).map_err(undecodable)?;
        for message in encoder.encode(&batch) {
            let message = message.map_err(unencodable)?.into_bytes();
            self.batches.extend(decoder.decode(message).map_err(undecodable)?);
        }
        Ok(())
    }

    /// All of it as one column.
    ///
    /// # Errors
    /// `WRONG_RESULT_LENGTH` when the function returned another number of rows than it was given.
    pub(super) fn into_column(self, encoder: &Encoder) -> Result<ArrayRef> {
        check_length(self.given, self.rows)?;
        match &self.batches[..] {
            [] => Ok(new_empty_array(encoder.schema().field(0).data_type())),
            [batch] => Ok(Arc::clone(batch.column(0))),
            batches => {
                let columns: Vec<&dyn Array> = batches.iter().map(|batch| &**batch.column(0)).collect();
                Ok(concat(&columns)?)
            }
        }
    }
}
