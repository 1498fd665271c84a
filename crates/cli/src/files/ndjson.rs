//! Reading NDJSON: names and types from the first rows, the rest as they come.

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::json::ReaderBuilder;
use arrow::json::reader::Decoder;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use super::blocks::{Block, Blocks, Scanner};
use super::error::{Error, Result, plain, quoted, spell_arrow};
use super::input::{Columns, InputOptions, Opened};
use super::source::Source;
use super::text::{Decode, Rules, SAMPLE_BYTES, TextBatches, lines};

const LINES: Scanner = Scanner { delimiter: None };
const ONE_A_LINE: &str = "NDJSON has one object a line; for a JSON array try `jq -c '.[]'`, for objects over several \
                          lines `jq -c .`, in a pipe";

/// Opens a file of JSON objects, one a line.
pub(super) fn open(source: Source, columns: &Columns, options: &InputOptions) -> Result<Opened> {
    let name = source.name().to_owned();
    let mut blocks = Blocks::new(name.clone(), source.into_reader(), None);
    let first = blocks.next(options.infer_rows.max(1), SAMPLE_BYTES)?;
    let (inferred, sample) = infer(&name, first.as_ref())?;
    let given = options.types.columns().filter(|(given, _)| !inferred.iter().any(|field| field.name() == given));
    let given: Vec<Field> = given.map(|(name, data_type)| Field::new(name, data_type.clone(), true)).collect();
    let fields = inferred.iter().map(|field| field.as_ref().clone()).chain(given);
    let schema = Arc::new(Schema::new(options.types.overrule(fields)));
    if schema.fields().is_empty() {
        return Err(Error::data(format!("{name}: holds no object with a key, so it has no columns; {ONE_A_LINE}")));
    }

    let indices = columns.of(&name, &schema)?;
    let schema = match &indices {
        Some(indices) => schema.project(indices).expect("indices of this schema").into(),
        None => schema,
    };
    let rules = JsonRules { name, schema: Arc::clone(&schema), all: indices.is_none(), sample };
    let batch_rows = options.batch_rows.max(1);
    let decoder = rules.decoder(&schema, rules.all, batch_rows).map_err(|cause| {
        Error::data(format!("{}: {}; try --types with another type", rules.name, spell_arrow(&cause)))
    })?;
    let decoder = Ndjson { rules, decoder };
    let batches = TextBatches { decoder, blocks, batch_rows, block: first, done: 0 };
    Ok(Opened { schema, rows: None, batches: Box::new(batches) })
}

/// The fields that the objects of the first block have, and how many objects there were.
fn infer(name: &str, block: Option<&Block>) -> Result<(Fields, usize)> {
    let mut shape = Shape::Nothing;
    let mut sample = 0;
    let mut line = block.map_or(1, |block| block.line);
    for record in block.into_iter().flat_map(|block| LINES.records(&block.bytes)) {
        let text = record.trim_ascii_end();
        if !text.is_empty() {
            let mut json = serde_json::Deserializer::from_slice(text);
            shape.deserialize(&mut json).and_then(|()| json.end()).map_err(|cause| malformed(name, line, &cause))?;
            sample += 1;
            if !matches!(shape, Shape::Object(_)) {
                return Err(Error::data(format!(
                    "{name}: line {line}: expected an object, found {}; {ONE_A_LINE}",
                    quoted(&String::from_utf8_lossy(text))
                )));
            }
        }
        line += lines(record);
    }
    match shape {
        Shape::Object(fields) => Ok((fields.into_iter().map(|(name, shape)| shape.field(&name)).collect(), sample)),
        _ => Ok((Fields::empty(), 0)),
    }
}

fn malformed(name: &str, line: u64, cause: &serde_json::Error) -> Error {
    let text = cause.to_string();
    let text = text.rsplit_once(" at line ").map_or(text.as_str(), |(text, _)| text);
    Error::data(format!("{name}: line {line}, character {}: {}; {ONE_A_LINE}", cause.column(), plain(text)))
}

/// How the text of one file is to be understood.
struct JsonRules {
    name: String,
    /// The columns asked for.
    schema: SchemaRef,
    /// Whether these are all there are, so that another one in the data would be lost.
    all: bool,
    /// How many rows decided the types.
    sample: usize,
}

impl JsonRules {
    fn decoder(&self, schema: &SchemaRef, strict: bool, batch_rows: usize) -> Result<Decoder, ArrowError> {
        ReaderBuilder::new(Arc::new(Schema::new(lenient(schema.fields()))))
            .with_batch_size(batch_rows)
            .with_coerce_primitive(true)
            .with_strict_mode(strict)
            .build_decoder()
    }

    fn all(&self, schema: &SchemaRef, strict: bool, text: &[u8]) -> Result<(), ArrowError> {
        let mut decoder = self.decoder(schema, strict, lines(text).max(1) as usize)?;
        decoder.decode(text)?;
        decoder.flush()?.map_or(Ok(()), |batch| exact(&batch, schema).map(drop))
    }
}

impl Rules for JsonRules {
    fn name(&self) -> &str {
        &self.name
    }

    fn scanner(&self) -> Scanner {
        LINES
    }

    fn attempt(&self, text: &[u8]) -> Result<(), ArrowError> {
        self.all(&self.schema, self.all, text)
    }

    fn examine(&self, line: u64, record: &[u8]) -> Option<Error> {
        let cause = self.all(&self.schema, self.all, record).err()?;
        let name = &self.name;
        let object = match serde_json::from_slice::<Value>(record.trim_ascii_end()) {
            Ok(Value::Object(object)) => object,
            Ok(other) => {
                let found = quoted(&other.to_string());
                return Some(Error::data(format!(
                    "{name}: line {line}: expected an object, found {found}; {ONE_A_LINE}"
                )));
            }
            Err(cause) => return Some(malformed(name, line, &cause)),
        };
        let fields = self.schema.fields();
        let bad = fields.iter().find(|field| {
            let alone = Arc::new(Schema::new(vec![Arc::clone(field)]));
            self.all(&alone, false, record).is_err()
        });
        let unknown = object.keys().find(|key| self.all && !fields.iter().any(|field| field.name() == *key));
        Some(Error::data(match (bad, unknown) {
            (Some(field), _) => format!(
                "{name}: line {line}, column {:?}: {} is no {}, the type that was given or that the first {} rows suggest; try \
                 --types {}=string",
                field.name(),
                object.get(field.name()).map_or_else(|| "nothing".into(), |value| quoted(&value.to_string())),
                field.data_type(),
                self.sample,
                field.name()
            ),
            (None, Some(key)) => format!(
                "{name}: line {line}: the column {key:?} is not in the first {} rows; try --types {key}=string, with its \
                 type",
                self.sample
            ),
            (None, None) => format!("{name}: line {line}: {}; {ONE_A_LINE}", spell_arrow(&cause)),
        }))
    }
}

struct Ndjson {
    rules: JsonRules,
    decoder: Decoder,
}

impl Decode for Ndjson {
    type Rules = JsonRules;

    fn rules(&self) -> &JsonRules {
        &self.rules
    }

    fn decode(&mut self, text: &[u8]) -> Result<(usize, Option<RecordBatch>), ArrowError> {
        let read = self.decoder.decode(text)?;
        let batch = self.decoder.flush()?.map(|batch| exact(&batch, &self.rules.schema)).transpose()?;
        Ok((read, batch))
    }
}

/// The decoder takes 1.5 for the integer 1. So it is asked for the text of integers, and [`exact`] makes them of it.
fn lenient(fields: &Fields) -> Fields {
    fields.iter().map(|field| field.as_ref().clone().with_data_type(lenient_type(field.data_type()))).collect()
}

fn lenient_type(data_type: &DataType) -> DataType {
    match data_type {
        integer if integer.is_integer() => DataType::Utf8,
        DataType::List(items) => {
            DataType::List(Arc::new(items.as_ref().clone().with_data_type(lenient_type(items.data_type()))))
        }
        DataType::Struct(fields) => DataType::Struct(lenient(fields)),
        other => other.clone(),
    }
}

/// Makes integers of their text where `schema` wants them; what is none is an error.
fn exact(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    let options = CastOptions { safe: false, ..CastOptions::default() };
    let columns = batch.columns().iter().zip(schema.fields());
    let columns = columns.map(|(column, field)| match column.data_type() == field.data_type() {
        true => Ok(Arc::clone(column)),
        false => cast_with_options(column, field.data_type(), &options),
    });
    RecordBatch::try_new(Arc::clone(schema), columns.collect::<Result<_, _>>()?)
}

/// What the values seen in one place have in common. See [`Input`](super::Input) for the rule.
///
/// Arrow's own inference forgets the order of the columns.
#[derive(Debug)]
enum Shape {
    Nothing,
    Boolean,
    Integer,
    Float,
    Text,
    List(Box<Shape>),
    Object(Vec<(String, Shape)>),
}

impl Shape {
    fn data_type(&self) -> DataType {
        match self {
            Shape::Nothing | Shape::Text => DataType::Utf8,
            Shape::Boolean => DataType::Boolean,
            Shape::Integer => DataType::Int64,
            Shape::Float => DataType::Float64,
            Shape::List(items) => DataType::List(Arc::new(items.field(Field::LIST_FIELD_DEFAULT_NAME))),
            Shape::Object(fields) => {
                DataType::Struct(fields.iter().map(|(name, shape)| shape.field(name)).collect::<Fields>())
            }
        }
    }

    fn field(&self, name: &str) -> Field {
        Field::new(name, self.data_type(), true)
    }

    /// Meets a value that is neither null nor nested.
    fn scalar<E: serde::de::Error>(&mut self, seen: Shape) -> Result<(), E> {
        use Shape::{Boolean, Float, Integer, List, Nothing, Object, Text};
        *self = match (std::mem::replace(self, Nothing), seen) {
            (Nothing, seen) => seen,
            (Boolean, Boolean) => Boolean,
            (Integer, Integer) => Integer,
            (Integer | Float, Integer | Float) => Float,
            (List(_), _) => return Err(E::custom("a single value where earlier lines have a list")),
            (Object(_), _) => return Err(E::custom("a single value where earlier lines have an object")),
            _ => Text,
        };
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for &mut Shape {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for &mut Shape {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E: serde::de::Error>(self, _: bool) -> Result<(), E> {
        self.scalar(Shape::Boolean)
    }

    fn visit_i64<E: serde::de::Error>(self, _: i64) -> Result<(), E> {
        self.scalar(Shape::Integer)
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<(), E> {
        // What does not fit would lose digits as a float.
        self.scalar(if i64::try_from(value).is_ok() { Shape::Integer } else { Shape::Text })
    }

    fn visit_f64<E: serde::de::Error>(self, _: f64) -> Result<(), E> {
        self.scalar(Shape::Float)
    }

    fn visit_str<E: serde::de::Error>(self, _: &str) -> Result<(), E> {
        self.scalar(Shape::Text)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<(), A::Error> {
        if matches!(self, Shape::Nothing) {
            *self = Shape::List(Box::new(Shape::Nothing));
        }
        let Shape::List(items) = self else {
            while sequence.next_element::<IgnoredAny>()?.is_some() {}
            return Err(serde::de::Error::custom("a list where earlier lines have something else"));
        };
        while sequence.next_element_seed(&mut **items)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        if matches!(self, Shape::Nothing) {
            *self = Shape::Object(Vec::new());
        }
        let Shape::Object(fields) = self else {
            return Err(serde::de::Error::custom("an object where earlier lines have something else"));
        };
        // Objects mostly have their keys in one order, so the key is mostly the one after the last.
        let mut next = 0;
        while let Some(key) = map.next_key::<String>()? {
            let place = match fields.get(next) {
                Some((name, _)) if *name == key => next,
                _ => fields.iter().position(|(name, _)| *name == key).unwrap_or_else(|| {
                    fields.push((key, Shape::Nothing));
                    fields.len() - 1
                }),
            };
            map.next_value_seed(&mut fields[place].1)?;
            next = place + 1;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inferred(text: &str) -> Result<String> {
        let block = Block { bytes: format!("{text}\n").into_bytes(), line: 1 };
        let (fields, _) = infer("t", Some(&block))?;
        Ok(fields.iter().map(|field| format!("{} {}", field.name(), field.data_type())).collect::<Vec<_>>().join(", "))
    }

    #[test]
    fn types_are_what_all_values_have_in_common_and_columns_come_as_first_seen() {
        for (text, expected) in [
            ("{\"b\":1,\"a\":true}\n\n{\"c\":null,\"b\":2.5}", "b Float64, a Boolean, c Utf8"),
            ("{\"a\":1}\n{\"a\":\"x\"}", "a Utf8"),
            ("{\"a\":null}\n{\"a\":-1}", "a Int64"),
            ("{\"a\":18446744073709551615}", "a Utf8"),
            ("{\"d\":\"2001-01-31\"}", "d Utf8"),
        ] {
            assert_eq!(inferred(text).unwrap(), expected, "{text}");
        }
        assert!(inferred("{\"a\":[1,2.5],\"s\":{\"x\":[]}}").unwrap().starts_with("a List("));
    }

    #[test]
    fn what_is_no_object_a_line_is_an_error_that_says_where() {
        for (text, expected) in [
            ("{\"a\":1}\n[1]", "t: line 2, character"),
            ("[{\"a\":1}]", "t: line 1: expected an object, found \"[{\\\"a\\\":1}]\"; NDJSON has one object a line"),
            ("{\n\"a\":1}", "t: line 1, character"),
            ("{\"a\":1}\n{\"a\":[1]}", "t: line 2, character 8: a list where earlier lines have something else"),
            ("{\"a\":[1]}\n{\"a\":1}", "t: line 2, character 6: a single value where earlier lines have a list"),
            ("{\"a\":1} {\"a\":1}", "t: line 1, character 9: trailing characters"),
            ("{\"a\":\"\u{0}\"}", "t: line 1"),
        ] {
            let error = inferred(text).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{text}: {error}");
        }
    }
}
