//! The list of a worker's functions, as an Arrow table: what the payload format `catalog` answers with.
//!
//! The catalog is itself a table function: an engine opens an execution with the payload format `catalog` and no payload,
//! and gets rows, one a function. Engines plan from it, and people read it. Both sides of that table are here.
//!
//! | column | type | what it says |
//! |---|---|---|
//! | `name` | Utf8 | what a payload calls the function |
//! | `kind` | Utf8 | `scalar`, `map`, `table` or `aggregate`, see [`Kind`] |
//! | `arguments` | Binary, nullable | names and types, as an encapsulated Schema message (C9); null: any columns |
//! | `result` | Binary, nullable | the columns of the result, likewise; null: it depends on the input |
//! | `help` | Utf8 | for people: a line that says what it does, and more below it |
//! | `version` | Utf8 | in whatever scheme the author has |
//! | `aliases` | List of Utf8 | other names that a payload may call it by |
//! | `volatility` | Utf8 | `immutable`, `stable` or `volatile`, see [`Volatility`] |
//!
//! # Types that will do as well
//! The field of an argument may carry the metadata [`TAKES_ALIKE`]: the function takes columns that are alike, see
//! [`takes`], as they are, and an engine need not cast them. One that never heard of it casts, and loses a little time.
//!
//! # Payload formats
//! The metadata of the table's schema tells under [`FORMATS`] which payload formats the worker takes. See [`formats`].
//!
//! # What a reader puts up with
//! Only `name` and `kind` must be there: a worker that is older, or somebody else's, may lack the rest. Without `arguments`
//! a function takes any columns, without `volatility` it is volatile. Columns that are not in the table above, their order,
//! and whether text is Utf8, LargeUtf8 or Utf8View make no difference. A kind that the reader does not know hides its
//! function, and nothing else; a volatility that it does not know is [`Volatility::Volatile`].

mod formats;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use arrow_array::builder::{ListBuilder, StringBuilder};
use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, BinaryArray, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, FieldRef, Schema, SchemaRef};
use bytes::Bytes;

use crate::error::{Error, Result};
use crate::schema::{decode_schema, encode_schema};

pub use formats::{FORMATS, formats, schema_with_formats};

/// What a function does with rows. An engine tells by it how the function may be called.
///
/// ```
/// use anyudf_arrow::catalog::Kind;
///
/// assert_eq!("table".parse(), Ok(Kind::Table));
/// let error = "oracle".parse::<Kind>().unwrap_err();
/// assert_eq!(error.to_string(), "`oracle` is no kind of function; there are scalar, map, table, aggregate");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Row for row: one column out, as long as the batch that came in, in the same order.
    Scalar,
    /// Batches in, any batches out.
    Map,
    /// No input, any batches out: a generator.
    Table,
    /// Batches in, a result at the end.
    Aggregate,
}

/// What may be assumed of a function's results. An engine tells by it which calls it may leave out.
///
/// ```
/// use anyudf_arrow::catalog::Volatility;
///
/// assert_eq!("stable".parse(), Ok(Volatility::Stable));
/// assert_eq!(Volatility::default(), Volatility::Volatile, "what nobody promised is not assumed");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Volatility {
    /// Equal arguments always give equal results: a call may be made once and its result kept.
    Immutable,
    /// Equal arguments give equal results while one query runs: equal calls of a query may be made once.
    Stable,
    /// Each call may give another result or do something: none may be left out or made twice.
    #[default]
    Volatile,
}

/// The word for each variant, both ways.
macro_rules! words {
    ($what:ident, $noun:literal, $($variant:ident = $word:literal),+) => {
        impl $what {
            /// All of them.
            pub const ALL: [$what; [$($word),+].len()] = [$($what::$variant),+];

            /// As the catalog writes it.
            pub fn name(self) -> &'static str {
                match self {
                    $($what::$variant => $word),+
                }
            }
        }

        impl fmt::Display for $what {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }

        impl FromStr for $what {
            type Err = UnknownWord;

            /// Reads what `name` writes.
            fn from_str(word: &str) -> Result<Self, UnknownWord> {
                $what::ALL.into_iter().find(|one| one.name() == word).ok_or_else(|| {
                    let known = $what::ALL.map($what::name).join(", ");
                    UnknownWord(format!("`{word}` is no {}; there are {known}", $noun))
                })
            }
        }
    };
}

words!(Kind, "kind of function", Scalar = "scalar", Map = "map", Table = "table", Aggregate = "aggregate");
words!(Volatility, "volatility", Immutable = "immutable", Stable = "stable", Volatile = "volatile");

/// A word that is no [`Kind`] or [`Volatility`]. Its text lists those that are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownWord(String);

impl fmt::Display for UnknownWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UnknownWord {}

/// A function as its worker describes it: one row of the catalog.
///
/// More may be told one day, so there is no literal of it outside this crate: [`new`](Self::new), then set what is known.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Entry {
    /// What a payload calls it.
    pub name: String,
    /// Other names that a payload may call it by.
    pub aliases: Vec<String>,
    /// What it does with rows.
    pub kind: Kind,
    /// Names and types of its arguments, in order; `None` when it takes any columns.
    pub arguments: Option<SchemaRef>,
    /// The columns of its result; `None` when that depends on the input.
    pub result: Option<SchemaRef>,
    /// What may be assumed of its results.
    pub volatility: Volatility,
    /// A line that says what it does, and more below it.
    pub help: String,
    /// Its version, in whatever scheme its author has.
    pub version: String,
}

impl Entry {
    /// A function of which only name and kind are known: it takes any columns, and nothing is assumed of it.
    pub fn new(name: impl Into<String>, kind: Kind) -> Self {
        Entry {
            name: name.into(),
            aliases: Vec::new(),
            kind,
            arguments: None,
            result: None,
            volatility: Volatility::default(),
            help: String::new(),
            version: String::new(),
        }
    }

    /// Whether a payload may call it so: by its name or by an alias.
    pub fn is_called(&self, name: &str) -> bool {
        self.name == name || self.aliases.iter().any(|alias| alias == name)
    }
}

/// The key in the metadata of an argument's field which says that columns of alike types are taken too. Its value is
/// `true`.
pub const TAKES_ALIKE: &str = "anyudf.takes_alike";

/// Whether a function takes a column of type `given` for `argument` as it is: it is of the argument's type; or the field
/// has [`TAKES_ALIKE`], and both are text (Utf8, LargeUtf8, Utf8View), both are bytes (Binary, LargeBinary, BinaryView),
/// both are timestamps of whatever unit, both with a time zone, whichever, or both without, or both are the same lists or
/// structs, but for items that are never null where they might be.
///
/// ```
/// use anyudf_arrow::catalog::{TAKES_ALIKE, takes};
/// use arrow_schema::{DataType, Field};
///
/// let text = Field::new("text", DataType::Utf8, true);
/// assert!(!takes(&text, &DataType::Utf8View));
/// let text = text.with_metadata([(TAKES_ALIKE.into(), "true".into())].into());
/// assert!(takes(&text, &DataType::Utf8View));
/// assert!(!takes(&text, &DataType::Binary));
/// ```
pub fn takes(argument: &Field, given: &DataType) -> bool {
    use DataType::{Binary, BinaryView, LargeBinary, LargeUtf8, Timestamp, Utf8, Utf8View};
    let wanted = argument.data_type();
    if same(wanted, given) {
        return true;
    }
    let alike = match (wanted, given) {
        (Utf8 | LargeUtf8 | Utf8View, Utf8 | LargeUtf8 | Utf8View) => true,
        (Binary | LargeBinary | BinaryView, Binary | LargeBinary | BinaryView) => true,
        (Timestamp(_, wanted), Timestamp(_, given)) => wanted.is_some() == given.is_some(),
        _ => fits(wanted, given),
    };
    alike && argument.metadata().get(TAKES_ALIKE).is_some_and(|value| value == "true")
}

/// Whether two types are equal, fields of structs by name as well: read by place, others would be mistaken for each other.
fn same(wanted: &DataType, given: &DataType) -> bool {
    use DataType::{FixedSizeList, LargeList, LargeListView, List, ListView, Map, Struct};
    let items = |wanted: &FieldRef, given: &FieldRef| same(wanted.data_type(), given.data_type());
    wanted.equals_datatype(given)
        && match (wanted, given) {
            (Struct(wanted), Struct(given)) => {
                wanted.iter().zip(given).all(|(wanted, given)| wanted.name() == given.name() && items(wanted, given))
            }
            (List(wanted), List(given))
            | (LargeList(wanted), LargeList(given))
            | (ListView(wanted), ListView(given))
            | (LargeListView(wanted), LargeListView(given))
            | (FixedSizeList(wanted, _), FixedSizeList(given, _)) => items(wanted, given),
            // The names of a map's parts mean nothing.
            (Map(wanted, _), Map(given, _)) => match (wanted.data_type(), given.data_type()) {
                (Struct(wanted), Struct(given)) => wanted.iter().zip(given).all(|(wanted, given)| items(wanted, given)),
                _ => false,
            },
            _ => true,
        }
}

/// Whether a nested type differs only in that its items are never null where they might be.
fn fits(wanted: &DataType, given: &DataType) -> bool {
    use DataType::{List, Struct};
    let field = |(wanted, given): (&FieldRef, &FieldRef)| {
        wanted.is_nullable() >= given.is_nullable()
            && (same(wanted.data_type(), given.data_type()) || fits(wanted.data_type(), given.data_type()))
    };
    match (wanted, given) {
        (List(wanted), List(given)) => field((wanted, given)),
        (Struct(wanted), Struct(given)) => {
            wanted.len() == given.len() && wanted.iter().zip(given).all(|(a, b)| a.name() == b.name() && field((a, b)))
        }
        _ => false,
    }
}

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
    let item = Arc::new(Field::new_list_field(DataType::Utf8, false));
    let mut aliases = ListBuilder::new(StringBuilder::new()).with_field(item);
    for entry in &entries {
        entry.aliases.iter().for_each(|alias| aliases.values().append_value(alias));
        aliases.append(true);
    }
    let columns = vec![
        text(|entry| &entry.name),
        text(|entry| entry.kind.name()),
        schemas(|entry| entry.arguments.as_ref()),
        schemas(|entry| entry.result.as_ref()),
        text(|entry| &entry.help),
        text(|entry| &entry.version),
        Arc::new(aliases.finish()),
        text(|entry| entry.volatility.name()),
    ];
    RecordBatch::try_new(schema(), columns).expect("columns of the schema above, a row for each entry")
}

/// What a batch of a catalog says.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Decoded {
    /// The functions, in their order.
    pub entries: Vec<Entry>,
    /// Functions of a kind that this release does not know, and so can't call.
    pub unknown: Vec<Unknown>,
}

/// A function of a kind that this release does not know.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unknown {
    /// Its name.
    pub name: String,
    /// What its worker calls the kind.
    pub kind: String,
}

/// Reads rows as functions. The batch is a peer's: it may be anything (C10).
///
/// # Errors
/// [`Kind::Malformed`](crate::Kind::Malformed), condition `CATALOG_MALFORMED`, when `name` or `kind` is not there or null,
/// or when a column is of another type than the table above says; as [`decode_schema`] when arguments or a result are no
/// schema. The text names column or function.
pub fn decode(batch: &RecordBatch) -> Result<Decoded> {
    let names = required(batch, "name")?;
    let kinds = required(batch, "kind")?;
    let (arguments, results) = (bytes(batch, "arguments")?, bytes(batch, "result")?);
    let (helps, versions) = (text(batch, "help")?, text(batch, "version")?);
    let (aliases, volatilities) = (aliases(batch)?, text(batch, "volatility")?);
    let mut decoded = Decoded::default();
    for (row, (name, kind)) in names.into_iter().zip(kinds).enumerate() {
        let Ok(known) = kind.parse() else {
            decoded.unknown.push(Unknown { name: name.into(), kind: kind.into() });
            continue;
        };
        let mut entry = Entry::new(name, known);
        entry.arguments = schema_of(arguments[row], "arguments", name)?;
        entry.result = schema_of(results[row], "result", name)?;
        entry.volatility = volatilities[row].and_then(|word| word.parse().ok()).unwrap_or_default();
        entry.help = helps[row].unwrap_or_default().into();
        entry.version = versions[row].unwrap_or_default().into();
        entry.aliases = match &aliases {
            Some(lists) => texts(&lists[row], "aliases")?.into_iter().flatten().map(String::from).collect(),
            None => Vec::new(),
        };
        decoded.entries.push(entry);
    }
    Ok(decoded)
}

fn schema_of(bytes: Option<&[u8]>, what: &str, name: &str) -> Result<Option<SchemaRef>> {
    let decoded = bytes.map(|bytes| decode_schema(&Bytes::copy_from_slice(bytes))).transpose();
    decoded.map_err(|error| error.led_by(format_args!("the {what} of `{name}`")))
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
    let Some(column) = batch.column_by_name(name) else { return Ok(vec![None; batch.num_rows()]) };
    match column.data_type() {
        DataType::Binary => Ok(column.as_binary::<i32>().iter().collect()),
        DataType::LargeBinary => Ok(column.as_binary::<i64>().iter().collect()),
        DataType::BinaryView => Ok(column.as_binary_view().iter().collect()),
        other => Err(Error::catalog(format!("{name} is {other}, not Binary"))),
    }
}

/// The lists of aliases, empty where they are null; `None` when there is no such column.
fn aliases(batch: &RecordBatch) -> Result<Option<Vec<ArrayRef>>> {
    let Some(column) = batch.column_by_name("aliases") else { return Ok(None) };
    let lists: Vec<Option<ArrayRef>> = match column.data_type() {
        DataType::List(_) => column.as_list::<i32>().iter().collect(),
        DataType::LargeList(_) => column.as_list::<i64>().iter().collect(),
        other => return Err(Error::catalog(format!("aliases is {other}, not a list of Utf8"))),
    };
    let empty: ArrayRef = Arc::new(StringArray::from(Vec::<&str>::new()));
    Ok(Some(lists.into_iter().map(|list| list.unwrap_or_else(|| Arc::clone(&empty))).collect()))
}

#[cfg(test)]
mod tests {
    use arrow_array::{Int32Array, LargeStringArray, StringViewArray};

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
    }

    #[test]
    fn fields_of_structs_are_told_by_their_names() {
        let point = |names: [&str; 2]| {
            DataType::Struct(names.map(|name| Field::new(name, DataType::Float64, true)).into_iter().collect())
        };
        let wanted = |data_type| Field::new("x", data_type, true);
        assert!(takes(&wanted(point(["lat", "lon"])), &point(["lat", "lon"])));
        assert!(!takes(&wanted(point(["lat", "lon"])), &point(["lon", "lat"])), "they would be swapped");
        let list = |item| DataType::new_list(item, true);
        assert!(!takes(&wanted(list(point(["lat", "lon"]))), &list(point(["lon", "lat"]))));
    }

    #[test]
    fn items_may_be_less_often_null() {
        let list = |nullable| DataType::new_list(DataType::Int32, nullable);
        let wanted = |data_type, alike: bool| {
            let metadata = alike.then(|| (TAKES_ALIKE.to_owned(), "true".to_owned()));
            Field::new("x", data_type, true).with_metadata(metadata.into_iter().collect())
        };
        assert!(takes(&wanted(list(true), true), &list(false)));
        assert!(!takes(&wanted(list(true), false), &list(false)), "nobody said so");
        assert!(!takes(&wanted(list(false), true), &list(true)), "more often");
        let within = |name: &str, list| DataType::Struct(vec![Field::new(name, list, true)].into());
        assert!(takes(&wanted(within("a", list(true)), true), &within("a", list(false))));
        assert!(!takes(&wanted(within("a", list(true)), true), &within("b", list(false))));
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
        assert_eq!(unknown, [Unknown { name: "g".into(), kind: "oracle".into() }]);
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
        ] {
            let text = refused(&[names.clone(), kinds.clone(), (column, numbers())]);
            assert_eq!(text, format!("{column} is Int32, {wanted}"));
        }
        let rubbish = Arc::new(BinaryArray::from(vec![Some(&b"rubbish"[..])])) as ArrayRef;
        let text = refused(&[names.clone(), kinds.clone(), ("arguments", rubbish)]);
        assert!(text.starts_with("the arguments of `f`: "), "{text}");
        let mut numbers = ListBuilder::new(arrow_array::builder::Int32Builder::new());
        numbers.values().append_value(1);
        numbers.append(true);
        let text = refused(&[names, kinds, ("aliases", Arc::new(numbers.finish()))]);
        assert_eq!(text, "aliases is Int32, not Utf8");
    }
}
