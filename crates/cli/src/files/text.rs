//! From blocks of text to record batches: what CSV and NDJSON have in common.

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use memchr::memchr_iter;

use super::blocks::{BLOCK_BYTES, Block, Blocks, Scanner};
use super::error::{Error, Result, spell_arrow};
use super::source::Sequential;

/// The most text that is held to infer types from.
pub(super) const SAMPLE_BYTES: usize = 256 << 20;

/// How the text of one file is to be understood.
pub(super) trait Rules {
    /// The file.
    fn name(&self) -> &str;

    /// What separates its records.
    fn scanner(&self) -> Scanner;

    /// Whether `text`, some whole records, can be decoded.
    fn attempt(&self, text: &[u8]) -> Result<(), ArrowError>;

    /// What is wrong with the record at `line`, if something is.
    fn examine(&self, line: u64, record: &[u8]) -> Option<Error>;
}

/// Decodes the records of one file.
pub(super) trait Decode {
    type Rules: Rules;

    fn rules(&self) -> &Self::Rules;

    /// Decodes records from the front of `text`, which holds whole ones: how many bytes they had, and their batch.
    fn decode(&mut self, text: &[u8]) -> Result<(usize, Option<RecordBatch>), ArrowError>;
}

/// Finds the record in `text` that `cause` is about. `line` is the number of its first line.
///
/// The decoders do not know lines, so the shortest beginning of `text` that fails is searched for, by halves.
pub(super) fn trace(rules: &impl Rules, text: &[u8], line: u64, cause: &ArrowError) -> Error {
    let ends = rules.scanner().records(text).scan(0, |end, record| {
        *end += record.len();
        Some(*end)
    });
    let ends: Vec<usize> = ends.collect();
    let bad = ends.partition_point(|end| rules.attempt(&text[..*end]).is_ok());
    let start = if bad > 0 { ends[bad - 1] } else { 0 };
    let end = ends.get(bad).copied().unwrap_or(text.len());
    let line = line + lines(&text[..start]);
    let what = || format!("{}: near line {line}: {}; look at what is there", rules.name(), spell_arrow(cause));
    rules.examine(line, &text[start..end]).unwrap_or_else(|| Error::data(what()))
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
                trace(self.decoder.rules(), text, line, &cause)
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
