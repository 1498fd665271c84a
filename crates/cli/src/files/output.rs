//! A result that is written: a file that appears whole or not at all, a pipe, or a table on the terminal.

use std::fmt;
use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;

use super::encoder::{Encoder, check_columns};
use super::error::{Error, Result, panicked, spell_arrow};
use super::format::{Format, NAMES};
use super::sink::{Failure, Place, Sink, writing};
use super::table::Table;

/// Where an output goes, and how.
#[derive(Clone, Debug, Default)]
pub struct OutputOptions {
    /// The destination: a path, `-` for standard output, or a table on the terminal if neither this nor the format is
    /// given. A format alone means standard output.
    pub path: Option<PathBuf>,
    /// The format; told by the name if `None`.
    pub format: Option<Format>,
    /// Whether a file that exists is replaced.
    pub force: bool,
}

impl OutputOptions {
    /// Whether the destination could be written, as far as that can be known before the columns are: for an early
    /// answer. Nothing is touched, and [`create`](Self::create) looks again.
    ///
    /// # Errors
    /// [`Kind::Usage`](super::Kind::Usage): it exists (without `force`), is a directory or in none, or its format is not
    /// told.
    pub fn check(&self) -> Result<()> {
        match self.destination()? {
            Some(destination) => Place::of(&destination.path, &destination.name, self.force).map(drop),
            None => Ok(()),
        }
    }

    /// Whether it is a table on the terminal, for people.
    pub fn is_table(&self) -> bool {
        self.path.is_none() && self.format.is_none()
    }

    /// Opens the destination for batches of `schema`.
    ///
    /// # Errors
    /// [`Kind::Usage`](super::Kind::Usage): as [`check`](Self::check), or the format cannot hold a column; nothing was
    /// touched then. [`Kind::Data`](super::Kind::Data): it cannot be written.
    pub fn create(&self, schema: SchemaRef) -> Result<Output> {
        let Some(Destination { path, name, format }) = self.destination()? else {
            return Ok(Output {
                name: STDOUT.into(),
                rows: 0,
                temporary: None,
                form: Form::Table(Table::new(&schema)),
            });
        };
        let place = Place::of(&path, &name, self.force)?;
        check_columns(&name, format, &schema)?;
        let sink = Sink::open(place, &name)?;
        let (failure, straight) = (sink.failure(), sink.is_straight());
        let temporary = sink.temporary().map(Path::to_owned);
        let encoder = Encoder::new(format, &schema, sink).map_err(|cause| blame(&name, 0, &failure, &cause))?;
        Ok(Output { name, rows: 0, temporary, form: Form::File { encoder: Box::new(encoder), failure, straight } })
    }

    fn destination(&self) -> Result<Option<Destination>> {
        let path = match (&self.path, self.format) {
            (Some(path), _) => path.clone(),
            (None, Some(_)) => PathBuf::from("-"),
            (None, None) => return Ok(None),
        };
        let name = if path == Path::new("-") { STDOUT.to_owned() } else { path.display().to_string() };
        let format = self.format.or_else(|| Format::of_name(&path)).ok_or_else(|| {
            Error::usage(format!("{name}: the name does not tell the format; try --output-format with one of {NAMES}"))
        })?;
        Ok(Some(Destination { path, name, format }))
    }
}

struct Destination {
    path: PathBuf,
    name: String,
    format: Format,
}

/// A result on its way out.
///
/// A regular file is written under another name in the same directory, and takes its own in [`commit`](Output::commit),
/// when it is complete and on the disk; until then, and after any failure, there is nothing under that name, or what
/// was there before. It has the permissions of any new file, or of the file it replaces. A symbolic link is followed.
/// Pipes, devices and `/dev/stdout` are written straight.
///
/// Without a path and a format the result is a table of the first 40 rows, printed in `commit`.
pub struct Output {
    name: String,
    rows: u64,
    temporary: Option<PathBuf>,
    form: Form,
}

enum Form {
    File { encoder: Box<Encoder<Sink>>, failure: Failure, straight: bool },
    Table(Table),
}

/// What an [`Output`] amounted to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// Rows written, or shown and counted.
    pub rows: u64,
    /// Bytes of the file, or of the table.
    pub bytes: u64,
}

impl Output {
    /// How errors call it: the path as given, or `standard output`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Rows written so far.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// The temporary file that holds the rows until [`commit`](Output::commit), for whoever ends the process without
    /// dropping this (a second Ctrl-C) and wants nothing left behind: remove it first.
    pub fn temporary(&self) -> Option<&Path> {
        self.temporary.as_deref()
    }

    /// Writes the rows of a batch, which must have the schema given to [`create`](OutputOptions::create).
    ///
    /// # Errors
    /// [`Kind::Data`](super::Kind::Data): a full disk, or a value that the format cannot hold.
    /// [`Kind::BrokenPipe`](super::Kind::BrokenPipe): nobody reads. After an error only dropping makes sense.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        match &mut self.form {
            Form::Table(table) => {
                table.add(batch).map_err(|cause| blame(&self.name, self.rows, &Failure::default(), &cause))?
            }
            Form::File { encoder, failure, straight } => {
                let written = catch_unwind(AssertUnwindSafe(|| {
                    encoder.write(batch)?;
                    if *straight { encoder.flush() } else { Ok(()) }
                }));
                caught(written).map_err(|cause| blame(&self.name, self.rows, failure, &cause))?;
            }
        }
        self.rows += batch.num_rows() as u64;
        Ok(())
    }

    /// Ends the output and makes it visible.
    ///
    /// # Errors
    /// As [`write`](Output::write); and [`Kind::Usage`](super::Kind::Usage) if the destination has come into being since
    /// `create` (without `force`), which is found out by the very act of renaming. The file is then not there, or as it
    /// was.
    pub fn commit(self) -> Result<Written> {
        let Output { name, rows, form, .. } = self;
        let bytes = match form {
            Form::File { encoder, failure, .. } => {
                let finished = catch_unwind(AssertUnwindSafe(|| encoder.finish()));
                let sink = caught(finished).map_err(|cause| blame(&name, rows, &failure, &cause))?;
                sink.commit(&name)?
            }
            Form::Table(table) => {
                let text = table.render().map_err(|cause| blame(&name, rows, &Failure::default(), &cause))?;
                let mut out = io::stdout().lock();
                out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|cause| writing(&name, &cause, 0))?;
                text.len() as u64
            }
        };
        Ok(Written { rows, bytes })
    }
}

/// Writes a short text as an [`Output`] writes rows: a file that appears whole or not at all, or straight into a pipe.
///
/// # Errors
/// Those of [`OutputOptions::create`] and [`Output::commit`].
pub(crate) fn write_text(path: &Path, text: &str, force: bool) -> Result<()> {
    let name = if path == Path::new("-") { STDOUT.to_owned() } else { path.display().to_string() };
    let mut sink = Sink::open(Place::of(path, &name, force)?, &name)?;
    sink.write_all(text.as_bytes()).map_err(|cause| writing(&name, &cause, 0))?;
    sink.commit(&name).map(drop)
}

/// The error of a text that standard output did not take.
pub(crate) fn unprinted(cause: &io::Error) -> Error {
    writing(STDOUT, cause, 0)
}

const STDOUT: &str = "standard output";

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Output").field("name", &self.name).field("rows", &self.rows).finish_non_exhaustive()
    }
}

/// A panic of an encoder is an error like any other; the destination is as untouched as after one.
fn caught<T>(result: std::thread::Result<Result<T, ArrowError>>) -> Result<T, ArrowError> {
    result.unwrap_or_else(|payload| Err(ArrowError::ComputeError(panicked(&*payload))))
}

fn blame(name: &str, rows: u64, failure: &Failure, cause: &ArrowError) -> Error {
    failure.error(name).unwrap_or_else(|| {
        Error::data(format!(
            "{name}: the rows after row {rows} cannot be written: {}; try --output-format arrows",
            spell_arrow(cause)
        ))
    })
}
