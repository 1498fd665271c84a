//! From blocks of text to record batches: what CSV and NDJSON have in common.

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use memchr::memchr_iter;

use super::blocks::{BLOCK_BYTES, Block, Blocks};
use super::error::{Error, Result};
use super::source::Sequential;

/// The most text that is held to infer types from.
pub(super) const SAMPLE_BYTES: usize = 256 << 20;

/// Decodes the records of one file.
pub(super) trait Decode {
    /// Decodes records from the front of `text`, which holds whole ones: how many bytes they had, and their batch.
    fn decode(&mut self, text: &[u8]) -> Result<(usize, Option<RecordBatch>), ArrowError>;

    /// Finds the record and the column in `text` that `cause` is about. `line` is the number of its first line.
    fn trace(&self, text: &[u8], line: u64, cause: &ArrowError) -> Error;
}

/// The batches of a file, beginning with the block that was read to infer its types.
pub(super) struct TextBatches<D> {
    pub(super) decoder: D,
    pub(super) blocks: Blocks<Sequential>,
    pub(super) batch_rows: usize,
    pub(super) block: Option<Block>,
    /// How much of the block is done.
    pub(super) done: usize,
}

impl<D: Decode> TextBatches<D> {
    fn advance(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            let block = match self.block.take() {
                Some(block) => block,
                None => match self.blocks.next(self.batch_rows, BLOCK_BYTES)? {
                    Some(block) => block,
                    None => return Ok(None),
                },
            };
            let text = &block.bytes[self.done..];
            let (read, batch) = self.decoder.decode(text).map_err(|cause| {
                let line = block.line + lines(&block.bytes[..self.done]);
                self.decoder.trace(text, line, &cause)
            })?;
            self.done += read;
            if self.done < block.bytes.len() && read > 0 {
                self.block = Some(block);
            } else {
                self.done = 0;
            }
            if batch.is_some() {
                return Ok(batch);
            }
        }
    }
}

impl<D: Decode> Iterator for TextBatches<D> {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        self.advance().transpose()
    }
}

/// The number of line ends in `text`: line feeds, and carriage returns that none follows.
pub(super) fn lines(text: &[u8]) -> u64 {
    let feeds = memchr_iter(b'\n', text).count();
    let returns = memchr_iter(b'\r', text).filter(|at| text.get(at + 1) != Some(&b'\n')).count();
    (feeds + returns) as u64
}
