//! A data file that is read: its schema, its batches in order, how far it is.

use std::fmt;
use std::iter::FusedIterator;
use std::path::Path;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};

use super::error::{Error, Result};
use super::format::Format;
use super::source::{Counter, Source};
use super::types::Types;
use super::{csv, ipc, ndjson, parquet};

/// How an input is read.
#[derive(Clone, Debug)]
pub struct InputOptions {
    /// The format; told by the name or the first bytes if `None`.
    pub format: Option<Format>,
    /// The most rows a batch has. 8192 by default; 0 counts as 1.
    pub batch_rows: usize,
    /// The columns to read, by name; all if `None`. They come in the file's order, whatever the order here.
    pub columns: Option<Vec<String>>,
    /// How many rows of CSV or NDJSON are looked at to infer the columns' types, 10,000 by default. They are held in
    /// memory while that is done. See [`Input`] for the rule.
    pub infer_rows: usize,
    /// Types that overrule the inferred ones. For NDJSON they may also name columns that come later.
    pub types: Types,
}

impl Default for InputOptions {
    fn default() -> Self {
        InputOptions { format: None, batch_rows: 8192, columns: None, infer_rows: 10_000, types: Types::default() }
    }
}

/// An open data file: an iterator over its record batches, in the order of the file.
///
/// After an error there is nothing more. Batches are never empty.
///
/// # Types of text
/// The first [`infer_rows`](InputOptions::infer_rows) rows decide, and later rows must agree.
///
/// CSV, for the values of a column that are not empty: all `true` or `false` (any case): Boolean; integers that fit 64
/// bits: Int64; numbers: Float64 (`NaN` and `inf` too); `2001-01-31`: Date32; dates or `2001-01-31 10:00:00` (also with
/// `T`, a fraction, or a zone): a timestamp in the finest unit seen, in UTC if each has a zone; anything else, and a
/// column without any value: Utf8.
///
/// NDJSON: true and false: Boolean; integers that fit 64 bits: Int64; numbers: Float64; lists and objects: List and
/// Struct of what is in them; strings, a mixture of strings, numbers and booleans, and what is always null: Utf8. Columns
/// come in the order in which their names are first seen.
pub struct Input {
    name: String,
    format: Format,
    batch_rows: usize,
    opened: Opened,
    /// What is left of a batch that was larger than `batch_rows`.
    pending: Option<RecordBatch>,
    over: bool,
    progress: Progress,
}

/// How many bytes of an [`Input`] were read so far. Cheap to clone, and may be asked from another thread.
#[derive(Clone, Debug)]
pub struct Progress {
    counter: Counter,
    total: Option<u64>,
}

impl Progress {
    /// Bytes read so far; never more than [`total_bytes`](Self::total_bytes).
    pub fn bytes(&self) -> u64 {
        // The end of a Parquet file is read more than once.
        self.counter.value().min(self.total.unwrap_or(u64::MAX))
    }

    /// Bytes in all; `None` for a pipe. Reading some columns of a Parquet file never gets there: show its rows instead.
    pub fn total_bytes(&self) -> Option<u64> {
        self.total
    }
}

impl Input {
    /// Opens a file, or standard input for `-`, and reads as far as its schema needs.
    ///
    /// Parquet from a pipe is copied to an unnamed temporary file first; everything else is read as it comes.
    ///
    /// # Errors
    /// [`Kind::Usage`](super::Kind::Usage): no such file, a directory, no telling or a contradicted format, a column that
    /// is not there. [`Kind::Data`](super::Kind::Data): it cannot be read, or is damaged, empty, or of no known format.
    pub fn open(path: &Path, options: &InputOptions) -> Result<Input> {
        let source = Source::open(path)?;
        let name = source.name().to_owned();
        let format = Format::of_input(&name, options.format, Format::of_name(path), source.head())?;
        let progress = Progress { counter: source.counter(), total: source.size() };
        let batch_rows = options.batch_rows.max(1);
        let columns = Columns(options.columns.clone());
        let opened = match format {
            Format::Parquet => parquet::open(source, &columns, batch_rows),
            Format::ArrowFile | Format::ArrowStream => ipc::open(source, format, &columns),
            Format::Csv { delimiter } => csv::open(source, delimiter, &columns, options),
            Format::Ndjson => ndjson::open(source, &columns, options),
        }?;
        Ok(Input { name, format, batch_rows, opened, pending: None, over: false, progress })
    }

    /// How errors call it: the path as given, or `standard input`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The format it was found to have.
    pub fn format(&self) -> Format {
        self.format
    }

    /// The schema of every batch: the file's, less the columns not asked for.
    pub fn schema(&self) -> &SchemaRef {
        &self.opened.schema
    }

    /// The exact number of rows, if the format says it beforehand, as Parquet does.
    pub fn total_rows(&self) -> Option<u64> {
        self.opened.rows
    }

    /// How far reading has come.
    pub fn progress(&self) -> Progress {
        self.progress.clone()
    }
}

impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Input").field("name", &self.name).field("format", &self.format).finish_non_exhaustive()
    }
}

impl Iterator for Input {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.over {
            return None;
        }
        let batch = match self.pending.take() {
            Some(batch) => batch,
            None => match self.opened.batches.find(|batch| !matches!(batch, Ok(batch) if batch.num_rows() == 0)) {
                Some(Ok(batch)) => batch,
                last => {
                    self.over = true;
                    return last;
                }
            },
        };
        if batch.num_rows() <= self.batch_rows {
            return Some(Ok(batch));
        }
        self.pending = Some(batch.slice(self.batch_rows, batch.num_rows() - self.batch_rows));
        Some(Ok(batch.slice(0, self.batch_rows)))
    }
}

impl FusedIterator for Input {}

/// What each format gives: the schema after projection, and an iterator that need not be asked again after an error.
pub(super) struct Opened {
    pub(super) schema: SchemaRef,
    pub(super) rows: Option<u64>,
    pub(super) batches: Box<dyn Iterator<Item = Result<RecordBatch>> + Send>,
}

/// The columns asked for.
pub(super) struct Columns(Option<Vec<String>>);

impl Columns {
    /// Their places in the schema of the file, ascending; `None` for all.
    pub(super) fn of(&self, name: &str, schema: &Schema) -> Result<Option<Vec<usize>>> {
        let Some(wanted) = &self.0 else {
            return Ok(None);
        };
        let find = |column: &String| {
            let mut places = (0..).zip(schema.fields()).filter(|(_, field)| field.name() == column).map(|(at, _)| at);
            match (places.next(), places.next()) {
                (Some(place), None) => Ok(place),
                (Some(_), Some(_)) => Err(Error::usage(format!(
                    "{name}: column {column:?} is there more than once; rename one of them in the file"
                ))),
                (None, _) => Err(Error::usage(format!("{name}: there is no column {column:?}; {}", present(schema)))),
            }
        };
        let mut places = wanted.iter().map(find).collect::<Result<Vec<usize>>>()?;
        places.sort_unstable();
        places.dedup();
        Ok(Some(places))
    }
}

/// The names that could have been meant; of a wide file, the first ones.
fn present(schema: &Schema) -> String {
    const SHOWN: usize = 20;
    let names: Vec<&str> = schema.fields().iter().take(SHOWN).map(|field| field.name().as_str()).collect();
    let more = schema.fields().len().saturating_sub(SHOWN);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("the columns are {}{more}", names.join(", "))
}
