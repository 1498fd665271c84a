//! The files of `anyudf run`: what is read, what is written, what is refused.

mod damaged;
mod destinations;
mod inference;
mod roundtrip;
mod streams;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyudf_cli::files::{Error, Format, Input, InputOptions, Output, OutputOptions};
use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use tempfile::TempDir;

/// One file name for each format.
const NAMES: [&str; 6] = ["a.parquet", "a.csv", "a.tsv", "a.ndjson", "a.arrow", "a.arrows"];

/// A directory of its own for a test.
struct Place(TempDir);

impl Place {
    fn new() -> Place {
        Place(TempDir::new().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Puts a file there.
    fn with(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, content).unwrap();
        path
    }

    /// The names in it, sorted.
    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.0.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    /// The text of an error without the name of the directory, which differs each time.
    fn text(&self, error: &Error) -> String {
        error.to_string().replace(&format!("{}/", self.0.path().display()), "")
    }
}

fn to(path: &Path) -> OutputOptions {
    OutputOptions { path: Some(path.to_owned()), ..OutputOptions::default() }
}

fn create(path: &Path, schema: &SchemaRef) -> Result<Output, Error> {
    to(path).create(Arc::clone(schema))
}

fn write(path: &Path, batches: &[RecordBatch]) {
    let mut output = create(path, batches[0].schema_ref()).unwrap();
    for batch in batches {
        output.write(batch).unwrap();
    }
    let written = output.commit().unwrap();
    assert_eq!(written.rows, batches.iter().map(|batch| batch.num_rows() as u64).sum::<u64>());
    assert_eq!(written.bytes, fs::metadata(path).unwrap().len());
}

fn open(path: &Path) -> Result<Input, Error> {
    Input::open(path, &InputOptions::default())
}

/// All rows of a file.
fn read(path: &Path) -> Result<RecordBatch, Error> {
    read_with(path, &InputOptions::default())
}

fn read_with(path: &Path, options: &InputOptions) -> Result<RecordBatch, Error> {
    let input = Input::open(path, options)?;
    let schema = Arc::clone(input.schema());
    let batches = input.collect::<Result<Vec<_>, _>>()?;
    for batch in &batches {
        assert_eq!(batch.schema_ref(), &schema);
        assert!(batch.num_rows() > 0 && batch.num_rows() <= options.batch_rows);
    }
    Ok(concat_batches(&schema, &batches).unwrap())
}

/// A table as text, row by row, in which null is not the same as empty.
fn cells(batch: &RecordBatch) -> Vec<Vec<String>> {
    let options = FormatOptions::default().with_null("␀");
    let columns: Vec<_> =
        batch.columns().iter().map(|column| ArrayFormatter::try_new(column.as_ref(), &options).unwrap()).collect();
    (0..batch.num_rows()).map(|row| columns.iter().map(|column| column.value(row).to_string()).collect()).collect()
}

/// Column names and types.
fn fields(batch: &RecordBatch) -> String {
    let fields = batch.schema_ref().fields().iter();
    fields.map(|field| format!("{} {}", field.name(), field.data_type())).collect::<Vec<_>>().join(", ")
}

fn format_of(name: &str) -> Format {
    Format::of_name(Path::new(name)).unwrap()
}
