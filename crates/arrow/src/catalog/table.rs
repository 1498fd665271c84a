//! Functions as rows, and rows as functions.

use std::sync::Arc;
use std::time::Duration;

use arrow_array::builder::{BinaryBuilder, ListBuilder, StringBuilder};
use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, BinaryArray, BooleanArray, RecordBatch, StringArray, UInt64Array};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use bytes::Bytes;

use super::{Entry, Overload, UnknownWord};
use crate::error::{Error, Result};
use crate::schema::{decode_schema, encode_schema};

/// The table's schema, as [`encode`] fills it.
pub fn schema() -> SchemaRef {
    let field = Field::new;
    // Older readers look columns up by name, and some by place: new ones come last.
    Arc::new(Schema::new(vec![
        field("name", DataType::Utf8, false),
        field("kind", DataType::Utf8, false),
        field("arguments", DataType::Binary, true),
        field("result", DataType::Binary, true),
        field("help", DataType::Utf8, false),
        field("version", DataType::Utf8, false),
        field("aliases", DataType::new_list(DataType::Utf8, false), false),
        field("volatility", DataType::Utf8, false),
        field("repeatable", DataType::Boolean, false),
        field("timeout_ms", DataType::UInt64, true),
        field("examples", DataType::new_list(DataType::Utf8, false), false),
        field("overloads", DataType::new_list(DataType::Binary, false), false),
    ]))
}

/// Writes functions as rows.
///
/// # Panics
/// When their texts are larger than 2 GiB together.
///
/// # Example
/// ```
/// use anyudf_arrow::catalog::{self, Entry, Kind};
///
/// let mut entry = Entry::new("great_circle", Kind::Scalar);
/// entry.aliases.push("gc".into());
/// let batch = catalog::encode([&entry]);
/// assert_eq!(catalog::decode(&batch)?.entries, [entry]);
/// # Ok::<(), anyudf_arrow::Error>(())
/// ```
pub fn encode<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> RecordBatch {
    let entries: Vec<_> = entries.into_iter().collect();
    let text = |of: fn(&Entry) -> &str| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(entries.iter().map(|entry| of(entry))))
    };
    let schemas = |of: fn(&Entry) -> Option<&SchemaRef>| -> ArrayRef {
        let encoded = entries.iter().map(|entry| of(entry).map(|schema| encode_schema(schema)));
        Arc::new(BinaryArray::from_iter(encoded))
    };
    let lists = |of: fn(&Entry) -> &[String]| -> ArrayRef {
        let item = Arc::new(Field::new_list_field(DataType::Utf8, false));
        let mut lists = ListBuilder::new(StringBuilder::new()).with_field(item);
        for entry in &entries {
            of(entry).iter().for_each(|text| lists.values().append_value(text));
            lists.append(true);
        }
        Arc::new(lists.finish())
    };
    let item = Arc::new(Field::new_list_field(DataType::Binary, false));
    let mut overloads = ListBuilder::new(BinaryBuilder::new()).with_field(item);
    for entry in &entries {
        entry.overloads.iter().for_each(|overload| overloads.values().append_value(encode_overload(overload)));
        overloads.append(true);
    }
    let timeouts = entries.iter().map(|entry| entry.timeout.map(millis));
    let columns = vec![
        text(|entry| &entry.name),
        text(|entry| entry.kind.name()),
        schemas(|entry| entry.arguments.as_ref()),
        schemas(|entry| entry.result.as_ref()),
        text(|entry| &entry.help),
        text(|entry| &entry.version),
        lists(|entry| &entry.aliases),
        text(|entry| entry.volatility.name()),
        Arc::new(BooleanArray::from_iter(entries.iter().map(|entry| Some(entry.repeatable)))),
        Arc::new(UInt64Array::from_iter(timeouts)),
        lists(|entry| &entry.examples),
        Arc::new(overloads.finish()),
    ];
    RecordBatch::try_new(schema(), columns).expect("columns of the schema above, a row for each entry")
}

/// Both schemas as one.
fn encode_overload(Overload { arguments, result }: &Overload) -> Bytes {
    let part = |name: &str, schema: &SchemaRef| Field::new(name, DataType::Struct(schema.fields().clone()), false);
    encode_schema(&Schema::new(vec![part("arguments", arguments), part("result", result)]))
}

/// The same back; `None` when it can't be understood.
fn decode_overload(bytes: &[u8]) -> Option<Overload> {
    let schema = decode_schema(&Bytes::copy_from_slice(bytes)).ok()?;
    let part = |name: &str| match schema.field_with_name(name).ok()?.data_type() {
        DataType::Struct(fields) => Some(Arc::new(Schema::new(fields.clone())) as SchemaRef),
        _ => None,
    };
    Some(Overload { arguments: part("arguments")?, result: part("result")? })
}

/// A limit is not shortened to none.
fn millis(timeout: Duration) -> u64 {
    u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX).max(1)
}

/// What a batch of a catalog says.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Decoded {
    /// The functions, in their order.
    pub entries: Vec<Entry>,
    /// Functions that this release can't call: of a kind, or with a type, that it does not know.
    pub unknown: Vec<Unknown>,
}

/// A function that this release can't call.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unknown {
    /// Its name.
    pub name: String,
    /// What its worker calls the kind.
    pub kind: String,
    /// What is not known about it.
    pub reason: String,
}

/// Reads rows as functions. The batch is a peer's: it may be anything (C10).
///
/// # Errors
/// [`Kind::Malformed`](crate::Kind::Malformed), condition `CATALOG_MALFORMED`, when `name` or `kind` is not there or null,
/// or when a column is of another type than the table above says. The text names the column.
pub fn decode(batch: &RecordBatch) -> Result<Decoded> {
    let names = required(batch, "name")?;
    let kinds = required(batch, "kind")?;
    let (arguments, results) = (bytes(batch, "arguments")?, bytes(batch, "result")?);
    let (helps, versions) = (text(batch, "help")?, text(batch, "version")?);
    let (aliases, volatilities) = (lists(batch, "aliases", "Utf8")?, text(batch, "volatility")?);
    let (examples, overloads) = (lists(batch, "examples", "Utf8")?, lists(batch, "overloads", "Binary")?);
    let repeatable = typed::<BooleanArray>(batch, "repeatable", &DataType::Boolean)?;
    let timeouts = typed::<UInt64Array>(batch, "timeout_ms", &DataType::UInt64)?;
    let mut decoded = Decoded::default();
    for (row, (name, kind)) in names.into_iter().zip(kinds).enumerate() {
        let mut entry = match called(name, kind, arguments[row], results[row]) {
            Ok(entry) => entry,
            Err(reason) => {
                decoded.unknown.push(Unknown { name: name.into(), kind: kind.into(), reason });
                continue;
            }
        };
        entry.volatility = volatilities[row].and_then(|word| word.parse().ok()).unwrap_or_default();
        entry.repeatable = repeatable.is_some_and(|column| column.is_valid(row) && column.value(row));
        let timeout = timeouts.filter(|column| column.is_valid(row)).map(|column| column.value(row));
        entry.timeout = timeout.map(Duration::from_millis);
        entry.help = helps[row].unwrap_or_default().into();
        entry.version = versions[row].unwrap_or_default().into();
        entry.aliases = item(&aliases[row], "aliases")?;
        entry.examples = item(&examples[row], "examples")?;
        if let Some(list) = &overloads[row] {
            // One that can't be read is left out: the function can be called all the same.
            entry.overloads = binaries(list, "overloads")?.into_iter().flatten().filter_map(decode_overload).collect();
        }
        decoded.entries.push(entry);
    }
    Ok(decoded)
}

/// What is needed to call a function.
///
/// # Errors
/// What of it can't be understood. A type that a later release of Arrow has hides its function and no other (R20).
fn called(name: &str, kind: &str, arguments: Option<&[u8]>, result: Option<&[u8]>) -> Result<Entry, String> {
    let schema = |bytes: Option<&[u8]>, what: &str| {
        let decoded = bytes.map(|bytes| decode_schema(&Bytes::copy_from_slice(bytes))).transpose();
        decoded.map_err(|error| error.led_by(what).to_string())
    };
    let mut entry = Entry::new(name, kind.parse().map_err(|unknown: UnknownWord| unknown.to_string())?);
    entry.arguments = schema(arguments, "the arguments")?;
    entry.result = schema(result, "the result")?;
    Ok(entry)
}

/// A column of text without nulls, which must be there.
fn required<'a>(batch: &'a RecordBatch, name: &str) -> Result<Vec<&'a str>> {
    let column = batch.column_by_name(name).ok_or_else(|| Error::catalog(format!("it lacks the column {name}")))?;
    let null = || Error::catalog(format!("{name} has a null"));
    texts(column, name)?.into_iter().map(|text| text.ok_or_else(null)).collect()
}

/// A column of text; nulls when it is not there.
fn text<'a>(batch: &'a RecordBatch, name: &str) -> Result<Vec<Option<&'a str>>> {
    match batch.column_by_name(name) {
        Some(column) => texts(column, name),
        None => Ok(vec![None; batch.num_rows()]),
    }
}

fn texts<'a>(column: &'a ArrayRef, name: &str) -> Result<Vec<Option<&'a str>>> {
    match column.data_type() {
        DataType::Utf8 => Ok(column.as_string::<i32>().iter().collect()),
        DataType::LargeUtf8 => Ok(column.as_string::<i64>().iter().collect()),
        DataType::Utf8View => Ok(column.as_string_view().iter().collect()),
        other => Err(Error::catalog(format!("{name} is {other}, not Utf8"))),
    }
}

/// A column of bytes; nulls when it is not there.
fn bytes<'a>(batch: &'a RecordBatch, name: &str) -> Result<Vec<Option<&'a [u8]>>> {
    match batch.column_by_name(name) {
        Some(column) => binaries(column, name),
        None => Ok(vec![None; batch.num_rows()]),
    }
}

fn binaries<'a>(column: &'a ArrayRef, name: &str) -> Result<Vec<Option<&'a [u8]>>> {
    match column.data_type() {
        DataType::Binary => Ok(column.as_binary::<i32>().iter().collect()),
        DataType::LargeBinary => Ok(column.as_binary::<i64>().iter().collect()),
        DataType::BinaryView => Ok(column.as_binary_view().iter().collect()),
        other => Err(Error::catalog(format!("{name} is {other}, not Binary"))),
    }
}

/// A column of this type; `None` when it is not there.
fn typed<'a, A: Array + 'static>(batch: &'a RecordBatch, name: &str, wanted: &DataType) -> Result<Option<&'a A>> {
    let Some(column) = batch.column_by_name(name) else { return Ok(None) };
    let found = column.as_any().downcast_ref();
    found.map(Some).ok_or_else(|| Error::catalog(format!("{name} is {}, not {wanted}", column.data_type())))
}

/// The texts of a list.
fn item(list: &Option<ArrayRef>, name: &str) -> Result<Vec<String>> {
    let Some(list) = list else { return Ok(Vec::new()) };
    Ok(texts(list, name)?.into_iter().flatten().map(String::from).collect())
}

/// Lists of what is `wanted`; none when there is no such column.
fn lists(batch: &RecordBatch, name: &str, wanted: &str) -> Result<Vec<Option<ArrayRef>>> {
    let Some(column) = batch.column_by_name(name) else { return Ok(vec![None; batch.num_rows()]) };
    match column.data_type() {
        DataType::List(_) => Ok(column.as_list::<i32>().iter().collect()),
        DataType::LargeList(_) => Ok(column.as_list::<i64>().iter().collect()),
        other => Err(Error::catalog(format!("{name} is {other}, not a list of {wanted}"))),
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::{Int32Array, LargeStringArray, StringViewArray};

    use super::super::{Kind, Volatility};
    use super::*;

    fn schema_with(name: &str, data_type: DataType) -> SchemaRef {
        Arc::new(Schema::new(vec![Field::new(name, data_type, true)]))
    }

    fn entries() -> Vec<Entry> {
        let mut full = Entry::new("great_circle", Kind::Scalar);
        full.aliases = vec!["gc".into(), "distance".into()];
        full.arguments = Some(schema_with("degrees", DataType::Float64));
        full.result = Some(schema_with("miles", DataType::Utf8View));
        full.volatility = Volatility::Immutable;
        (full.repeatable, full.timeout) = (true, Some(Duration::from_millis(1_500)));
        let (arguments, result) = (schema_with("degrees", DataType::Float32), schema_with("miles", DataType::Utf8));
        full.overloads = vec![Overload { arguments, result }];
        full.examples = vec!["great_circle(0.0) = \"0\"".into()];
        full.help = "One line.\nAnd another.".into();
        full.version = "1.2".into();
        vec![full, Entry::new("shuffle", Kind::Map), Entry::new("series", Kind::Table)]
    }

    fn batch(columns: &[(&str, ArrayRef)]) -> RecordBatch {
        RecordBatch::try_from_iter(columns.iter().cloned()).expect("columns of one length")
    }

    fn strings(values: &[&str]) -> ArrayRef {
        Arc::new(StringArray::from(values.to_vec()))
    }

    fn refused(columns: &[(&str, ArrayRef)]) -> String {
        let error = decode(&batch(columns)).expect_err("no catalog");
        assert_eq!(error.kind(), crate::Kind::Malformed);
        error.to_string()
    }

    /// C9: what is written is read, schemas and aliases among it.
    #[test]
    fn c9_a_catalog_survives_the_way_there_and_back() {
        let (entries, batch) = (entries(), encode(&entries()));
        assert_eq!(batch.schema(), schema());
        assert_eq!(decode(&batch).expect("ours").entries, entries);
        assert_eq!(decode(&batch.slice(1, 1)).expect("ours").entries, entries[1..2]);
        assert_eq!(decode(&encode([])).expect("ours"), Decoded::default());
    }

    /// R20 in its spirit: an older worker lacks columns, a newer one has more; neither is an error.
    #[test]
    fn r20_columns_may_be_missing_and_more_than_known() {
        let bare = [
            ("future", Arc::new(Int32Array::from(vec![1, 2])) as ArrayRef),
            ("kind", Arc::new(StringViewArray::from(vec!["map", "table"]))),
            ("name", Arc::new(LargeStringArray::from(vec!["f", "g"]))),
        ];
        let decoded = decode(&batch(&bare)).expect("enough of a catalog");
        assert_eq!(decoded.entries, [Entry::new("f", Kind::Map), Entry::new("g", Kind::Table)]);
        assert_eq!(decoded.entries[0].volatility, Volatility::Volatile);
        assert!(!decoded.entries[0].is_repeatable());
    }

    /// R20: a kind that nobody knows yet hides one function; a volatility that nobody knows promises nothing.
    #[test]
    fn r20_unknown_words_hide_no_catalog() {
        let columns = [
            ("name", strings(&["f", "g", "h"])),
            ("kind", strings(&["scalar", "oracle", "map"])),
            ("volatility", strings(&["immutable", "stable", "moody"])),
        ];
        let Decoded { entries, unknown } = decode(&batch(&columns)).expect("a catalog");
        let seen: Vec<_> = entries.iter().map(|entry| (&*entry.name, entry.volatility)).collect();
        assert_eq!(seen, [("f", Volatility::Immutable), ("h", Volatility::Volatile)]);
        let reason = "`oracle` is no kind of function; there are scalar, map, table, aggregate";
        assert_eq!(unknown, [Unknown { name: "g".into(), kind: "oracle".into(), reason: reason.into() }]);
    }

    /// R20, C10: a type that can't be read hides its function, and says so.
    #[test]
    fn r20_c10_an_unreadable_type_hides_one_function() {
        let known = encode_schema(&schema_with("x", DataType::Int64));
        let schemas = |second: &[u8]| Arc::new(BinaryArray::from_iter([Some(&known[..]), Some(second)])) as ArrayRef;
        for (column, bytes) in [("arguments", &b"rubbish"[..]), ("result", &[])] {
            let columns = [("name", strings(&["f", "g"])), ("kind", strings(&["scalar", "map"]))];
            let columns = [&columns[..], &[(column, schemas(bytes))]].concat();
            let Decoded { entries, unknown } = decode(&batch(&columns)).expect("a catalog");
            assert_eq!(entries.iter().map(|entry| &*entry.name).collect::<Vec<_>>(), ["f"]);
            let [Unknown { name, kind, reason }] = &unknown[..] else { panic!("{unknown:?}") };
            assert_eq!((&**name, &**kind), ("g", "map"));
            assert!(reason.starts_with(&format!("the {column}: ")), "{reason}");
        }
    }

    /// C10: what is no catalog is refused with what is wrong with it.
    #[test]
    fn c10_what_is_no_catalog_is_refused_by_column() {
        let (names, kinds) = (("name", strings(&["f"])), ("kind", strings(&["scalar"])));
        let numbers = || Arc::new(Int32Array::from(vec![1])) as ArrayRef;
        let null = Arc::new(StringArray::from(vec![None::<&str>])) as ArrayRef;
        assert_eq!(refused(std::slice::from_ref(&kinds)), "it lacks the column name");
        assert_eq!(refused(&[names.clone(), ("kind", numbers())]), "kind is Int32, not Utf8");
        assert_eq!(refused(&[("name", null), kinds.clone()]), "name has a null");
        for (column, wanted) in [
            ("help", "not Utf8"),
            ("volatility", "not Utf8"),
            ("arguments", "not Binary"),
            ("result", "not Binary"),
            ("aliases", "not a list of Utf8"),
            ("examples", "not a list of Utf8"),
            ("overloads", "not a list of Binary"),
            ("repeatable", "not Boolean"),
            ("timeout_ms", "not UInt64"),
        ] {
            let text = refused(&[names.clone(), kinds.clone(), (column, numbers())]);
            assert_eq!(text, format!("{column} is Int32, {wanted}"));
        }
        let mut numbers = ListBuilder::new(arrow_array::builder::Int32Builder::new());
        numbers.values().append_value(1);
        numbers.append(true);
        let text = refused(&[names, kinds, ("aliases", Arc::new(numbers.finish()))]);
        assert_eq!(text, "aliases is Int32, not Utf8");
    }
}
