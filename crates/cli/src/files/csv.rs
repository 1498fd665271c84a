//! Reading CSV: names from the header, types from the first rows, the rest as they come.

use std::sync::Arc;

use arrow::array::timezone::Tz;
use arrow::array::{AsArray, RecordBatch};
use arrow::compute::kernels::cast_utils::{Parser, string_to_datetime};
use arrow::csv::ReaderBuilder;
use arrow::csv::reader::{Decoder, Format as Dialect};
use arrow::datatypes::{DataType, Date32Type, Field, FieldRef, Float64Type, Int64Type, Schema, SchemaRef, TimeUnit};
use arrow::error::ArrowError;

use super::blocks::{BLOCK_BYTES, Blocks, Scanner};
use super::error::{Error, Result, quoted, spell_arrow};
use super::input::{Columns, InputOptions, Opened};
use super::source::{Sequential, Source};
use super::text::{Decode, Rules, SAMPLE_BYTES, TextBatches, trace};

/// Opens a CSV file with a header line.
pub(super) fn open(source: Source, delimiter: u8, columns: &Columns, options: &InputOptions) -> Result<Opened> {
    let name = source.name().to_owned();
    let mut blocks = Blocks::new(name.clone(), source.into_reader(), Some(delimiter));
    let (header, line) = header(&mut blocks)?;
    let names = names(&header, delimiter).map_err(|cause| {
        Error::data(format!(
            "{name}: line {line}: the header cannot be read: {}; text has to be UTF-8",
            spell_arrow(&cause)
        ))
    })?;
    if let Some((given, _)) = options.types.columns().find(|(given, _)| !names.iter().any(|name| name == given)) {
        return Err(Error::usage(format!(
            "{name}: --types names a column {given:?} that is not there; the columns are {}",
            names.join(", ")
        )));
    }

    // Everything is text until the first rows have been seen.
    let first = blocks.next(options.infer_rows.max(1), SAMPLE_BYTES)?;
    let text = names.iter().map(|name| Field::new(name, DataType::Utf8, true)).collect::<Vec<_>>();
    let mut rules = CsvRules { name, delimiter, schema: Arc::new(Schema::new(text)), columns: None, sample: 0 };
    let mut guesses = vec![Guess::default(); names.len()];
    if let Some(block) = &first {
        let sample = rules.all(&block.bytes).map_err(|cause| trace(&rules, &block.bytes, block.line, &cause))?;
        for (guess, column) in guesses.iter_mut().zip(sample.columns()) {
            column.as_string::<i32>().iter().flatten().for_each(|value| guess.see(value));
        }
        rules.sample = sample.num_rows();
    }
    let fields = names.iter().zip(&guesses).map(|(name, guess)| Field::new(name, guess.data_type(), true));
    rules.schema = Arc::new(Schema::new(options.types.overrule(fields)));
    rules.columns = columns.of(&rules.name, &rules.schema)?;

    let schema = rules.projected();
    let batch_rows = options.batch_rows.max(1);
    let decoder = Csv { decoder: rules.decoder(Arc::clone(&rules.schema), rules.columns.clone(), batch_rows), rules };
    let batches = TextBatches { decoder, blocks, batch_rows, block: first, done: 0 };
    Ok(Opened { schema, rows: None, batches: Box::new(batches) })
}

/// The first line that is not blank.
fn header(blocks: &mut Blocks<Sequential>) -> Result<(Vec<u8>, u64)> {
    while let Some(block) = blocks.next(1, BLOCK_BYTES)? {
        if !block.bytes.iter().all(|byte| matches!(byte, b'\r' | b'\n')) {
            return Ok((block.bytes, block.line));
        }
    }
    Err(Error::data(format!("{}: holds no line; CSV begins with a line of column names", blocks.name())))
}

fn names(header: &[u8], delimiter: u8) -> Result<Vec<String>, ArrowError> {
    let dialect = Dialect::default().with_header(true).with_delimiter(delimiter);
    let (schema, _) = dialect.infer_schema(header, Some(0))?;
    Ok(schema.fields().iter().map(|field| field.name().clone()).collect())
}

/// How the text of one file is to be understood.
struct CsvRules {
    name: String,
    delimiter: u8,
    /// All columns.
    schema: SchemaRef,
    columns: Option<Vec<usize>>,
    /// How many rows decided the types.
    sample: usize,
}

impl CsvRules {
    fn decoder(&self, schema: SchemaRef, columns: Option<Vec<usize>>, batch_rows: usize) -> Decoder {
        let builder = ReaderBuilder::new(schema).with_delimiter(self.delimiter).with_batch_size(batch_rows);
        match columns {
            Some(columns) => builder.with_projection(columns).build_decoder(),
            None => builder.build_decoder(),
        }
    }

    fn projected(&self) -> SchemaRef {
        match &self.columns {
            Some(columns) => self.schema.project(columns).expect("indices of this schema").into(),
            None => Arc::clone(&self.schema),
        }
    }

    /// All records of `text` in one batch.
    fn all(&self, text: &[u8]) -> Result<RecordBatch, ArrowError> {
        let most = memchr::memchr2_iter(b'\n', b'\r', text).count().max(1);
        let mut decoder = self.decoder(Arc::clone(&self.schema), self.columns.clone(), most);
        let mut done = 0;
        loop {
            match decoder.decode(&text[done..])? {
                0 => break,
                read => done += read,
            }
        }
        Ok(decoder.flush()?.unwrap_or_else(|| RecordBatch::new_empty(self.projected())))
    }

    fn one(
        &self,
        schema: &SchemaRef,
        columns: Option<Vec<usize>>,
        record: &[u8],
    ) -> Result<Option<RecordBatch>, ArrowError> {
        let mut decoder = self.decoder(Arc::clone(schema), columns, 1);
        decoder.decode(record)?;
        decoder.flush()
    }

    /// Why a record is none, or none of this file.
    fn torn(&self, cause: &ArrowError) -> String {
        let what = spell_arrow(cause);
        match what.split_once(" got ") {
            Some((_, count)) if what.starts_with("incorrect number") => format!(
                "expected {} fields as in the header, got {count}; put fields that contain {} or a line end in quotes, \
                 and if this is the last line, look whether the file is truncated",
                self.schema.fields().len(),
                quoted(&char::from(self.delimiter).to_string()),
            ),
            _ => format!("{what}; text has to be UTF-8, try iconv"),
        }
    }
}

impl Rules for CsvRules {
    fn name(&self) -> &str {
        &self.name
    }

    fn scanner(&self) -> Scanner {
        Scanner { delimiter: Some(self.delimiter) }
    }

    fn attempt(&self, text: &[u8]) -> Result<(), ArrowError> {
        self.all(text).map(drop)
    }

    fn examine(&self, line: u64, record: &[u8]) -> Option<Error> {
        let name = &self.name;
        let text: Vec<FieldRef> = self.schema.fields().iter().map(as_text).collect();
        let values = match self.one(&Arc::new(Schema::new(text)), None, record) {
            Ok(values) => values?,
            Err(cause) => return Some(Error::data(format!("{name}: line {line}: {}", self.torn(&cause)))),
        };
        let fields = self.schema.fields();
        let columns = self.columns.clone().unwrap_or_else(|| (0..fields.len()).collect());
        let column = columns.into_iter().find(|column| self.one(&self.schema, Some(vec![*column]), record).is_err())?;
        Some(Error::data(format!(
            "{name}: line {line}, column {:?}: {} is no {}, the type that was given or that the first {} rows suggest; try \
             --types {}=string",
            fields[column].name(),
            quoted(values.column(column).as_string::<i32>().value(0)),
            fields[column].data_type(),
            self.sample,
            fields[column].name()
        )))
    }
}

fn as_text(field: &FieldRef) -> FieldRef {
    Arc::new(Field::new(field.name(), DataType::Utf8, true))
}

struct Csv {
    rules: CsvRules,
    decoder: Decoder,
}

impl Decode for Csv {
    type Rules = CsvRules;

    fn rules(&self) -> &CsvRules {
        &self.rules
    }

    fn decode(&mut self, text: &[u8]) -> Result<(usize, Option<RecordBatch>), ArrowError> {
        let read = self.decoder.decode(text)?;
        Ok((read, self.decoder.flush()?))
    }
}

/// What the values of a column seen so far have in common. See [`Input`](super::Input) for the rule.
#[derive(Clone, Debug, Default)]
enum Guess {
    #[default]
    Nothing,
    Boolean,
    Integer,
    Float,
    Date,
    Timestamp {
        unit: TimeUnit,
        zoned: bool,
    },
    Text,
}

impl Guess {
    fn see(&mut self, value: &str) {
        if !matches!(self, Guess::Text) {
            *self = std::mem::take(self).and(Guess::of(value));
        }
    }

    fn of(value: &str) -> Guess {
        if value.eq_ignore_ascii_case("true") || value.eq_ignore_ascii_case("false") {
            Guess::Boolean
        } else if value.strip_prefix('-').unwrap_or(value).bytes().all(|byte| byte.is_ascii_digit()) {
            // What does not fit would lose digits as a float.
            if Int64Type::parse(value).is_some() { Guess::Integer } else { Guess::Text }
        } else if value.trim() != value {
            // The parser of floats would take it, which is more than most readers of the file expect.
            Guess::Text
        } else if Float64Type::parse(value).is_some() {
            Guess::Float
        } else if value.len() == 10 && Date32Type::parse(value).is_some() {
            Guess::Date
        } else if value.len() > 10 && value.is_ascii() {
            Guess::timestamp(value)
        } else {
            Guess::Text
        }
    }

    fn timestamp(value: &str) -> Guess {
        let zone: Tz = "+00:00".parse().expect("a fixed offset");
        let Ok(time) = string_to_datetime(&zone, value) else {
            return Guess::Text;
        };
        let clock = &value[11..];
        let digits = match clock.split_once('.') {
            Some((_, fraction)) => fraction.bytes().take_while(u8::is_ascii_digit).count(),
            None => 0,
        };
        let unit = match digits {
            0 => TimeUnit::Second,
            1..=3 => TimeUnit::Millisecond,
            4..=6 => TimeUnit::Microsecond,
            _ if time.timestamp_nanos_opt().is_some() => TimeUnit::Nanosecond,
            _ => return Guess::Text,
        };
        let zoned = !clock.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b':' | b'.'));
        Guess::Timestamp { unit, zoned }
    }

    fn and(self, other: Guess) -> Guess {
        use Guess::{Boolean, Date, Float, Integer, Nothing, Text, Timestamp};
        match (self, other) {
            (Nothing, seen) => seen,
            (Boolean, Boolean) => Boolean,
            (Integer, Integer) => Integer,
            (Integer | Float, Integer | Float) => Float,
            (Date, Date) => Date,
            (Date, Timestamp { unit, zoned: false }) | (Timestamp { unit, zoned: false }, Date) => {
                Timestamp { unit, zoned: false }
            }
            (Timestamp { unit: one, zoned: a }, Timestamp { unit: two, zoned: b }) if a == b => {
                Timestamp { unit: one.max(two), zoned: a }
            }
            _ => Text,
        }
    }

    fn data_type(&self) -> DataType {
        match self {
            Guess::Boolean => DataType::Boolean,
            Guess::Integer => DataType::Int64,
            Guess::Float => DataType::Float64,
            Guess::Date => DataType::Date32,
            Guess::Timestamp { unit, zoned } => DataType::Timestamp(*unit, zoned.then(|| "UTC".into())),
            Guess::Nothing | Guess::Text => DataType::Utf8,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guess(values: &[&str]) -> DataType {
        let mut guess = Guess::default();
        values.iter().for_each(|value| guess.see(value));
        guess.data_type()
    }

    #[test]
    fn types_are_what_all_values_have_in_common() {
        use DataType::{Boolean, Date32, Float64, Int64, Utf8};
        let time = |unit, zone: Option<&str>| DataType::Timestamp(unit, zone.map(Into::into));
        for (values, expected) in [
            (&[][..], Utf8),
            (&["true", "FALSE"], Boolean),
            (&["1", "-9223372036854775808", "007"], Int64),
            (&["9223372036854775808"], Utf8),
            (&["1", "2.5"], Float64),
            (&["1e9", "-.5", "NaN", "-inf"], Float64),
            (&["1", "true"], Utf8),
            (&["00M", "1"], Utf8),
            (&["-"], Utf8),
            (&["1 "], Utf8),
            (&["2001-01-31"], Date32),
            (&["2001-02-30"], Utf8),
            (&["2001-01-31", "2001-01-31 10:00:00"], time(TimeUnit::Second, None)),
            (&["2001-01-31T10:00:00.25", "2001-01-31T10:00:00"], time(TimeUnit::Millisecond, None)),
            (&["2001-01-31T10:00:00.000001"], time(TimeUnit::Microsecond, None)),
            (&["2001-01-31T10:00:00.0000001"], time(TimeUnit::Nanosecond, None)),
            (&["9999-01-31T10:00:00.0000001"], Utf8),
            (&["2001-01-31T10:00:00Z", "2001-01-31T10:00:00.5+02:00"], time(TimeUnit::Millisecond, Some("UTC"))),
            (&["2001-01-31T10:00:00Z", "2001-01-31T10:00:00"], Utf8),
            (&["2001-01-31", "1"], Utf8),
            (&["2001-01-31 and some"], Utf8),
            (&["zwölf Uhr dreißig"], Utf8),
        ] {
            assert_eq!(guess(values), expected, "{values:?}");
        }
    }
}
