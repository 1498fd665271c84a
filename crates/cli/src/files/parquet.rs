//! Reading Parquet: page by page, one row group after the other.

use std::panic::{AssertUnwindSafe, catch_unwind};

use ::parquet::arrow::ProjectionMask;
use ::parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use ::parquet::errors::ParquetError;
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use super::error::{Error, Result, panicked, plain, spell_arrow};
use super::input::{Columns, Opened};
use super::source::Source;

/// Opens a Parquet file. The number of rows comes from its metadata.
pub(super) fn open(source: Source, columns: &Columns, batch_rows: usize) -> Result<Opened> {
    let name = source.name().to_owned();
    let chunks = source.into_chunks()?;
    let size = chunks.size();
    let broken = |cause: ParquetError| {
        Error::data(format!(
            "{name}: the metadata of a Parquet file cannot be read from the end of its {size} bytes: {}; the file may be \
             truncated or still being written, so get it again",
            spell_parquet(&cause)
        ))
    };
    let builder = caught(|| ParquetRecordBatchReaderBuilder::try_new(chunks)).map_err(broken)?;
    let rows = builder.metadata().file_metadata().num_rows();
    let rows = u64::try_from(rows).map_err(|_| Error::data(format!("{name}: claims to have {rows} rows")))?;
    // The reader's own schema has lost the metadata.
    let schema = SchemaRef::clone(builder.schema());
    let (schema, builder) = match columns.of(&name, &schema)? {
        Some(indices) => {
            let schema = schema.project(&indices).expect("indices of this schema").into();
            let mask = ProjectionMask::roots(builder.parquet_schema(), indices);
            (schema, builder.with_projection(mask))
        }
        None => (schema, builder),
    };
    let reader = caught(|| builder.with_batch_size(batch_rows).build()).map_err(broken)?;
    let batches = Batches { name, reader, schema: SchemaRef::clone(&schema), row: 0, rows };
    Ok(Opened { schema, rows: Some(rows), batches: Box::new(batches) })
}

struct Batches {
    name: String,
    reader: ParquetRecordBatchReader,
    schema: SchemaRef,
    row: u64,
    rows: u64,
}

impl Iterator for Batches {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = catch_unwind(AssertUnwindSafe(|| {
            let batch = self.reader.next()?;
            Some(batch.and_then(|batch| batch.with_schema(SchemaRef::clone(&self.schema))))
        }));
        let text = match next {
            Ok(Some(Ok(batch))) => {
                self.row += batch.num_rows() as u64;
                return Some(Ok(batch));
            }
            Ok(None) if self.row == self.rows => return None,
            Ok(None) => format!("the metadata counts {} rows", self.rows),
            Ok(Some(Err(cause))) => spell_arrow(&cause),
            Err(payload) => panicked(&*payload),
        };
        Some(Err(Error::data(format!(
            "{}: the Parquet data cannot be read after row {}: {text}; the file is damaged, so get it again",
            self.name, self.row
        ))))
    }
}

/// Calls into the parquet crate, which checks nearly everything a file may say and panics on the rest.
fn caught<T>(call: impl FnOnce() -> ::parquet::errors::Result<T>) -> ::parquet::errors::Result<T> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|payload| Err(ParquetError::General(panicked(&*payload))))
}

fn spell_parquet(error: &ParquetError) -> String {
    match error {
        ParquetError::General(text) | ParquetError::EOF(text) | ParquetError::NYI(text) => plain(text),
        other => plain(&other.to_string()),
    }
}
