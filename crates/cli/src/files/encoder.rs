//! Record batches into the bytes of a format.

use std::io::{self, BufWriter, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use ::parquet::arrow::ArrowWriter;
use ::parquet::basic::{Compression, ZstdLevel};
use ::parquet::file::properties::WriterProperties;
use arrow::array::{RecordBatch, RecordBatchOptions, new_null_array};
use arrow::compute::cast;
use arrow::csv;
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::ipc::writer::{FileWriter, StreamWriter};
use arrow::json::LineDelimitedWriter;

use super::error::{Error, Result};
use super::format::Format;

const BUFFER: usize = 256 << 10;
/// Bounds what is held while writing, and leaves row groups large enough for readers to skip by.
const ROW_GROUP_ROWS: usize = 1 << 20;
const ROW_GROUP_BYTES: usize = 64 << 20;

/// Writes one file.
pub(super) enum Encoder<W: Write + Send> {
    Parquet(Box<ArrowWriter<BufWriter<W>>>),
    Csv(csv::Writer<BufWriter<W>>),
    Ndjson(LineDelimitedWriter<BufWriter<W>>),
    ArrowFile {
        writer: FileWriter<BufWriter<W>>,
        /// The schema without dictionaries.
        schema: SchemaRef,
    },
    ArrowStream(StreamWriter<BufWriter<W>>),
}

impl<W: Write + Send> Encoder<W> {
    /// Begins a file; where the format has a header, it is written even if no batch follows.
    pub(super) fn new(format: Format, schema: &SchemaRef, out: W) -> Result<Self, ArrowError> {
        let out = BufWriter::with_capacity(BUFFER, out);
        Ok(match format {
            Format::Parquet => {
                let properties = WriterProperties::builder()
                    .set_compression(Compression::ZSTD(ZstdLevel::default()))
                    .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
                    .set_max_row_group_bytes(Some(ROW_GROUP_BYTES))
                    .build();
                let writer = ArrowWriter::try_new(out, Arc::clone(schema), Some(properties))?;
                Encoder::Parquet(Box::new(writer))
            }
            Format::Csv { delimiter } => {
                let mut writer = csv::WriterBuilder::new().with_delimiter(delimiter).build(out);
                writer.write(&RecordBatch::new_empty(Arc::clone(schema)))?;
                Encoder::Csv(writer)
            }
            Format::Ndjson => Encoder::Ndjson(LineDelimitedWriter::new(out)),
            Format::ArrowFile => {
                let schema = without_dictionaries(schema);
                Encoder::ArrowFile { writer: FileWriter::try_new(out, &schema)?, schema }
            }
            Format::ArrowStream => Encoder::ArrowStream(StreamWriter::try_new(out, schema)?),
        })
    }

    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        match self {
            Encoder::Parquet(writer) => Ok(writer.write(batch)?),
            Encoder::Csv(writer) => writer.write(batch),
            Encoder::Ndjson(writer) => writer.write(batch),
            Encoder::ArrowFile { writer, schema } => writer.write(&cast_to(batch, schema)?),
            Encoder::ArrowStream(writer) => writer.write(batch),
        }
    }

    /// Hands over what is complete, for a reader who waits. A row group of Parquet is not complete before its end.
    pub(super) fn flush(&mut self) -> Result<(), ArrowError> {
        match self {
            // CSV is flushed with every batch.
            Encoder::Parquet(_) | Encoder::Csv(_) => Ok(()),
            Encoder::Ndjson(writer) => Ok(writer.get_mut().flush()?),
            Encoder::ArrowFile { writer, .. } => writer.flush(),
            Encoder::ArrowStream(writer) => writer.flush(),
        }
    }

    /// Ends the file.
    pub(super) fn finish(self) -> Result<W, ArrowError> {
        let out = match self {
            Encoder::Parquet(writer) => writer.into_inner()?,
            Encoder::Csv(writer) => writer.into_inner(),
            Encoder::Ndjson(mut writer) => {
                writer.finish()?;
                writer.into_inner()
            }
            Encoder::ArrowFile { writer, .. } => writer.into_inner()?,
            Encoder::ArrowStream(writer) => writer.into_inner()?,
        };
        out.into_inner().map_err(|cause| cause.into_error().into())
    }
}

/// Whether the format can hold every column, before any work is done.
pub(super) fn check_columns(name: &str, format: Format, schema: &Schema) -> Result<()> {
    for field in schema.fields() {
        let Err(cause) = try_field(format, field) else { continue };
        let others = [Format::Parquet, Format::Ndjson, Format::ArrowFile, Format::ArrowStream];
        let others = others.into_iter().filter(|other| *other != format && try_field(*other, field).is_ok());
        let others: Vec<String> = others.map(|other| other.to_string()).collect();
        let hint = match others.as_slice() {
            [] => "leave it out".to_owned(),
            others => format!("try --output-format {}", others.join(" or ")),
        };
        return Err(Error::usage(format!(
            "{name}: {format} cannot hold column {:?} of type {}; {hint}",
            field.name(),
            field.data_type()
        ))
        .because(cause));
    }
    Ok(())
}

/// Writes a null of the field's type to nowhere.
fn try_field(format: Format, field: &Field) -> Result<(), ArrowError> {
    let attempt = || {
        let schema = Arc::new(Schema::new(vec![field.clone().with_nullable(true)]));
        let batch = RecordBatch::try_new(Arc::clone(&schema), vec![new_null_array(field.data_type(), 1)])?;
        let mut encoder = Encoder::new(format, &schema, io::sink())?;
        encoder.write(&batch)?;
        encoder.finish().map(drop)
    };
    let panicked = |_| Err(ArrowError::NotYetImplemented(format!("type {}", field.data_type())));
    catch_unwind(AssertUnwindSafe(attempt)).unwrap_or_else(panicked)
}

fn cast_to(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    if batch.schema_ref() == schema {
        return Ok(batch.clone());
    }
    let columns = batch.columns().iter().zip(schema.fields());
    let columns = columns.map(|(column, field)| match column.data_type() == field.data_type() {
        true => Ok(Arc::clone(column)),
        false => cast(column, field.data_type()),
    });
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns.collect::<Result<_, _>>()?, &options)
}

fn without_dictionaries(schema: &SchemaRef) -> SchemaRef {
    let fields: Fields = schema.fields().iter().map(|field| plain_field(field)).collect();
    if fields == schema.fields {
        return Arc::clone(schema);
    }
    Arc::new(Schema::new_with_metadata(fields, schema.metadata.clone()))
}

fn plain_field(field: &Field) -> Field {
    field.clone().with_data_type(plain_type(field.data_type()))
}

fn plain_type(data_type: &DataType) -> DataType {
    let inner = |field: &Field| Arc::new(plain_field(field));
    match data_type {
        DataType::Dictionary(_, values) => plain_type(values),
        DataType::List(items) => DataType::List(inner(items)),
        DataType::LargeList(items) => DataType::LargeList(inner(items)),
        DataType::FixedSizeList(items, length) => DataType::FixedSizeList(inner(items), *length),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(|field| plain_field(field)).collect()),
        DataType::Map(entries, sorted) => DataType::Map(inner(entries), *sorted),
        other => other.clone(),
    }
}
