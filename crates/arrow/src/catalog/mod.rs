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
//! | `repeatable` | Boolean | whether an engine may run it again when its worker has crashed |
//! | `timeout_ms` | UInt64, nullable | the limit that it gives each call (C11); null: none of its own |
//! | `overloads` | List of Binary | other signatures that it has, each a Schema message with two structs, `arguments` and `result` |
//! | `examples` | List of Utf8 | for people: calls and what they give, such as `fahrenheit(100.0) = 212.0` |
//!
//! # Types that will do as well
//! The field of an argument may carry the metadata [`TAKES_ALIKE`]: the function takes columns that are alike, see
//! [`takes`], as they are, and an engine need not cast them. One that never heard of it casts, and loses a little time.
//!
//! # Arguments that are left out, and one that is many
//! The field of an argument may carry [`DEFAULT`], and then callers may leave it out with all behind it; that of the last one
//! [`VARIADIC`], and then there may be any number of columns for it. [`arguments_for`] tells which column is for which. An
//! engine that never heard of this sends one column for each argument, which is right too.
//!
//! # More than one signature
//! A function may take columns of other types too, and then its result may be another: `overloads` has these signatures, see
//! [`Entry::signature_for`]. An engine that never heard of it has `arguments` and `result`, the one that its author puts first,
//! and casts to that.
//!
//! # Payload formats
//! The metadata of the table's schema tells under [`FORMATS`] which payload formats the worker takes. See [`formats`].
//!
//! # What a reader puts up with
//! Only `name` and `kind` must be there: a worker that is older, or somebody else's, may lack the rest. Without `arguments`
//! a function takes any columns, without `volatility` it is volatile, without `repeatable` it is not to be run again. Columns that are not in the table above, their order,
//! and whether text is Utf8, LargeUtf8 or Utf8View make no difference. A kind that the reader does not know, or a schema that
//! it can't read, hides its function, and nothing else; a volatility that it does not know is [`Volatility::Volatile`].

mod formats;
mod table;
mod takes;

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use arrow_schema::{DataType, SchemaRef};

pub use formats::{FORMATS, formats, schema_with_formats};
pub use table::{Decoded, Unknown, decode, encode, schema};
pub use takes::{Arity, DEFAULT, TAKES_ALIKE, VARIADIC, arguments_for, arity, takes};

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
    /// Other signatures that it has, beside `arguments` and `result`; see [`signatures`](Self::signatures).
    pub overloads: Vec<Overload>,
    /// What may be assumed of its results.
    pub volatility: Volatility,
    /// Whether its author says that it may be run again from its beginning; see [`is_repeatable`](Self::is_repeatable).
    pub repeatable: bool,
    /// The limit that it gives each call of an execution (C11), to the millisecond.
    pub timeout: Option<Duration>,
    /// A line that says what it does, and more below it.
    pub help: String,
    /// Calls and what they give, such as `fahrenheit(100.0) = 212.0`.
    pub examples: Vec<String>,
    /// Its version, in whatever scheme its author has.
    pub version: String,
}

/// A signature of a function that has several.
#[derive(Clone, Debug, PartialEq)]
pub struct Overload {
    /// Names and types of the arguments, in order.
    pub arguments: SchemaRef,
    /// The columns of the result.
    pub result: SchemaRef,
}

impl Entry {
    /// The signature that is meant when columns of these types are given, arguments and result, as far as they are known: the
    /// first that [`takes`] them as they are; or the first of all, to which they may be cast. It knows no casts: which
    /// signature is meant by hosts that cast columns is for `arguments::signature` to say (feature `coerce`).
    ///
    /// ```
    /// use std::sync::Arc;
    /// use anyudf_arrow::catalog::{Entry, Kind, Overload};
    /// use arrow_schema::{DataType, Field, Schema};
    ///
    /// let schema = |name: &str, data_type| Arc::new(Schema::new(vec![Field::new(name, data_type, true)]));
    /// let mut abs = Entry::new("abs", Kind::Scalar);
    /// (abs.arguments, abs.result) = (Some(schema("x", DataType::Float64)), Some(schema("abs", DataType::Float64)));
    /// let (arguments, result) = (schema("x", DataType::Int32), schema("abs", DataType::Int32));
    /// abs.overloads.push(Overload { arguments, result });
    /// let result = |given: DataType| abs.signature_for(&[given]).1.map(|result| result.field(0).data_type().clone());
    /// assert_eq!(result(DataType::Int32), Some(DataType::Int32));
    /// assert_eq!(result(DataType::Int16), Some(DataType::Float64));
    /// ```
    pub fn signature_for(&self, given: &[DataType]) -> (Option<&SchemaRef>, Option<&SchemaRef>) {
        let takes_all = |arguments: &SchemaRef| {
            arguments_for(arguments, given.len())
                .is_some_and(|wanted| wanted.iter().zip(given).all(|(wanted, given)| takes(wanted, given)))
        };
        let meant = self.signatures().find(|(arguments, _)| arguments.is_none_or(takes_all));
        meant.unwrap_or((self.arguments.as_ref(), self.result.as_ref()))
    }

    /// All signatures, in the order of its author's liking; see [`signature_for`](Self::signature_for).
    pub fn signatures(&self) -> impl Iterator<Item = (Option<&SchemaRef>, Option<&SchemaRef>)> {
        let first = (self.arguments.as_ref(), self.result.as_ref());
        let others = self.overloads.iter().map(|overload| (Some(&overload.arguments), Some(&overload.result)));
        std::iter::once(first).chain(others)
    }

    /// A function of which only name and kind are known: it takes any columns, and nothing is assumed of it.
    pub fn new(name: impl Into<String>, kind: Kind) -> Self {
        Entry {
            name: name.into(),
            aliases: Vec::new(),
            kind,
            arguments: None,
            result: None,
            overloads: Vec::new(),
            volatility: Volatility::default(),
            repeatable: false,
            timeout: None,
            help: String::new(),
            examples: Vec::new(),
            version: String::new(),
        }
    }

    /// Whether an engine may run it again, from its beginning and with the same input, when its worker has crashed: its author
    /// says so, or its results may be assumed to be the same and nothing else to happen.
    pub fn is_repeatable(&self) -> bool {
        self.repeatable || self.volatility != Volatility::Volatile
    }

    /// Whether a payload may call it so: by its name or by an alias.
    pub fn is_called(&self, name: &str) -> bool {
        self.name == name || self.aliases.iter().any(|alias| alias == name)
    }
}
