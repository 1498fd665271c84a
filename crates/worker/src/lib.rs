//! The worker SDK: write a function once, and any engine that speaks Apache Spark's UDF protocol can call it, isolated
//! in a process of its own.
//!
//! This crate is *not* an engine and knows none: it serves. It opens no file, reads no configuration, and decides
//! nothing about queries.
//!
//! ```text
//!   engine ══ Unix socket or TCP ══▶ one thread for all I/O: connections, sessions, Manage
//!                                        │ batches            ▲ batches, errors, the result
//!                                        ▼                    │
//!                                    one thread an execution: your function
//! ```
//!
//! A worker:
//!
//! ```no_run
//! use std::process::ExitCode;
//! use anyudf_worker::{Worker, udf};
//!
//! /// Degrees Celsius in degrees Fahrenheit.
//! #[udf]
//! fn fahrenheit(celsius: f64) -> f64 {
//!     celsius * 1.8 + 32.0
//! }
//!
//! fn main() -> ExitCode {
//!     Worker::new().with(fahrenheit).run()
//! }
//! ```
//!
//! # Five ways to write a function
//! - [`#[udf]`](udf) makes one of an ordinary function; [`rows`] has the types that it can take and return.
//! - [`scalar`] and [`map`] make one from a closure over Arrow arrays.
//! - [`Function`] is full control: it sees everything in Init, emits when it likes, is told when it is cancelled.
//! - [`PulledFunction`] is the same for a function that asks for its batches, rather than being called with them.
//! - [`RawFunction`] and [`PulledRawFunction`] see bytes, for data that is not Arrow.
//!
//! # What a function can rely on
//! - It runs on a thread of its own, and all its calls come on that thread. A panic is caught and reported.
//! - [`Output::emit`] blocks while the engine is slow; nothing piles up in between (E5).
//! - When the engine cancels, `emit` fails, and [`Output::cancelled`] says so inside long loops (R12).
//! - A limit on the time of each call can be set by the engine (C11); waiting in `emit` or for input does not count.
//!
//! Rule numbers such as R12 are those of `docs/protocol.md`.

extern crate self as anyudf_worker;

mod worker;

mod closures;

mod function;

mod raw;

mod definition;

mod invocation;

mod error;

mod options;

mod process;

mod parent;

mod serve;

mod session;

mod link;

mod inbox;

mod pulled;

mod cancellation;

mod thread;

mod clock;

mod panics;

mod counters;

mod adapter;
mod arguments;

mod catalog;

mod expression;

mod tester;

mod trial;

pub mod bundled;

pub mod rows;

/// The version of Arrow that functions are written against.
pub use arrow;
/// The version of `chrono` whose dates and times functions take.
pub use chrono;

pub use anyudf_arrow::catalog::Entry;
pub use anyudf_grpc::{Endpoint, EndpointError};
/// Makes an argument and a result of a struct, all of whose fields are such: a column of structs. With one lifetime it may
/// borrow from the batch. A table or map whose rows are such structs has a column for each field.
///
/// ```
/// use anyudf_worker::{UdfStruct, udf};
///
/// #[derive(UdfStruct)]
/// struct Place<'a> {
///     name: &'a str,
///     height: Option<f64>,
/// }
///
/// #[udf]
/// fn is_high(place: Place<'_>, than: f64) -> Option<bool> {
///     Some(place.height? > than)
/// }
///
/// assert_eq!(is_high(Place { name: "Zugspitze", height: Some(2962.0) }, 2000.0), Some(true));
/// ```
pub use anyudf_macros::WorkerUdfStruct as UdfStruct;
/// Makes a function for a worker of an ordinary one. It can still be called, and is what [`Worker::with`] takes.
///
/// ```
/// use anyudf_worker::{UdfTester, Worker, udf};
/// use arrow::array::{Array, StringArray};
///
/// /// How many characters a text has.
/// #[udf(volatility = "immutable")]
/// fn characters(text: &str) -> i64 {
///     text.chars().count() as i64
/// }
///
/// assert_eq!(characters("Zürich"), 6);
/// let column = StringArray::from(vec![Some("Zürich"), None]);
/// assert_eq!(UdfTester::new(characters).call([column])?.null_count(), 1);
/// let worker = Worker::new().with(characters);
/// # Ok::<(), anyudf_worker::Error>(())
/// ```
/// The name becomes that of a unit struct, so no variable beside it can have it.
///
/// # Kinds
/// | attribute | the function |
/// |---|---|
/// | `#[udf]` | is called for each row; [`rows`] has the types it takes and returns |
/// | `#[udf(batch)]` | is called for each batch with whole arrays, `&Float64Array`, and returns one |
/// | `#[udf(table)]` | has no input and returns an iterator of rows: values, structs with [`UdfStruct`], `Result`s of these |
/// | `#[udf(map)]` | is called for each row and returns an iterator of rows, or takes a `RecordBatch` and returns some |
/// | `#[udf(aggregate)]` | is an `impl` with `new`, `update`, `merge` and `finish`, see [`aggregate`] |
///
/// # What else can be said
/// | attribute | what it says | without it |
/// |---|---|---|
/// | `name = "…"` | what callers call it | its own name |
/// | `aliases = ["…"]` | other names | none |
/// | `volatility = "immutable"`, `"stable"`, `"volatile"` | what may be assumed of its results, see [`Volatility`] | `volatile` |
/// | `repeatable` | an engine may run it again, from its beginning, when its worker has crashed | only what is immutable or stable may be |
/// | `timeout = "30s"` | how long each call may take: a batch, not a row; also `ms`, `m`, `h` (C11) | as long as the engine lets it |
/// | `version = "…"` | its version | the crate's |
/// | `help = "…"` | a line of help | the first paragraph of its doc comment |
/// | `types = [i64, f64]` | what the type parameter of a generic function stands for, see below | none has one |
/// | `example("a", 2 => "aa")` | what it gives for arguments: a test, and a line for people, see below | none |
/// | `on_error = "fail"`, `"null"`, `"collect"` | what becomes of a row that fails, see below | `fail` |
/// | `returns = DataType::…` | the result of a `batch`, or the schema of batches, where the type does not say it | |
/// | `nulls = "values"` | a `batch` decides about nulls itself | null in gives null out |
///
/// # Rows that fail
/// | `on_error` | an error that it returns | a panic | an argument without a value, such as a date out of range |
/// |---|---|---|---|
/// | `"fail"` | ends the execution and names the row | the same | the same |
/// | `"null"` | the row is null | ends the execution: a bug is not to be overlooked | the row is null |
/// | `"collect"` | is told beside the values | is told beside the values | is told beside the values |
///
/// With `on_error = "collect"` the result is a column of structs `{value, error}`, which are never null themselves: `value`
/// is what the function returned, null where it failed, and `error` a text, null where it did not. The error of a row is in
/// that row, so it need not say which. Where null in gives null out, both are null. A function that returns no `Result` may
/// collect too, its panics.
///
/// ```
/// use anyudf_worker::{UdfTester, udf};
/// use arrow::array::{AsArray, StringArray};
/// use arrow::datatypes::Int32Type;
///
/// #[udf(on_error = "collect")]
/// fn number(text: &str) -> Result<i32, std::num::ParseIntError> {
///     text.parse()
/// }
///
/// let result = UdfTester::new(number).call([StringArray::from(vec!["12", "a dozen"])])?;
/// let (values, errors) = (result.as_struct().column(0), result.as_struct().column(1));
/// assert_eq!(values.as_primitive::<Int32Type>().iter().collect::<Vec<_>>(), [Some(12), None]);
/// assert_eq!(errors.as_string::<i32>().iter().collect::<Vec<_>>(), [None, Some("invalid digit found in string")]);
/// # Ok::<(), anyudf_worker::Error>(())
/// ```
///
/// # Examples are tests
/// ```
/// use anyudf_worker::udf;
///
/// /// How often a word is in a text.
/// #[udf(example("a b a", "a" => 2), example("a", "" => Err("an empty word")))]
/// fn occurrences(text: &str, word: &str) -> Result<i64, String> {
///     if word.is_empty() {
///         return Err("an empty word is everywhere".into());
///     }
///     Ok(text.matches(word).count() as i64)
/// }
/// ```
/// `cargo test` in the author's crate runs them as `occurrences_examples`, and `anyudf functions` shows them. Arguments are
/// expressions of Rust, all that the function takes. What comes of them is compared by `==`; where the function returns a
/// `Result`, with what it is without an error, or else `Err(text)` is a part of the error's text. As with every test, the
/// function has to be in a module, not in another function.
///
/// # Arguments that are left out, and one that is many
/// ```
/// use anyudf_worker::{UdfTester, udf};
/// use arrow::array::{AsArray, Float64Array, StringArray};
/// use arrow::datatypes::Float64Type;
///
/// #[udf]
/// fn rounded(x: f64, #[default(2)] digits: i32) -> f64 {
///     let scale = 10_f64.powi(digits);
///     (x * scale).round() / scale
/// }
///
/// #[udf]
/// fn joined(separator: &str, #[variadic] texts: Vec<&str>) -> String {
///     texts.join(separator)
/// }
///
/// let result = UdfTester::new(rounded).call([Float64Array::from(vec![3.14159])])?;
/// assert_eq!(result.as_primitive::<Float64Type>().value(0), 3.14);
/// let text = |text: &str| StringArray::from(vec![text]);
/// let result = UdfTester::new(joined).call([text("-"), text("a"), text("b"), text("c")])?;
/// assert_eq!(result.as_string::<i32>().value(0), "a-b-c");
/// # Ok::<(), anyudf_worker::Error>(())
/// ```
/// A default is a literal: a number, a text, `true`, `false`, or `None`. Who leaves out an argument leaves out all behind it.
/// The last argument may be variadic, a `&[T]` or `Vec<T>`: any number of columns of `T`, none among them. Where one of them
/// is null the row is null, unless `T` is an `Option`. The catalogue tells both.
///
/// # Functions of several types
/// ```
/// use anyudf_worker::{UdfTester, udf};
/// use arrow::array::{AsArray, Int32Array};
/// use arrow::datatypes::Int32Type;
///
/// #[udf(types = [f64, i64, i32], example(4, 7 => 4))]
/// fn lesser<T: PartialOrd>(a: T, b: T) -> T {
///     if b < a { b } else { a }
/// }
///
/// let column = |number: i32| Int32Array::from(vec![number]);
/// let result = UdfTester::new(lesser).call([column(4), column(7)])?;
/// assert_eq!(result.as_primitive::<Int32Type>().value(0), 4);
/// assert_eq!(lesser::call("a", "b"), "a");
/// # Ok::<(), anyudf_worker::Error>(())
/// ```
/// A function may have one type parameter. An execution is of the first type that its columns have; an engine that does not
/// know of several signatures sees the first, and casts to it. From Rust it is called as `lesser::call`.
///
/// # What is no column
/// An argument `#[options] options: &Options`, whose type is a `serde::Deserialize`, is no column, but the options of the
/// call; the type has to be as public as the function. An argument of a `batch` whose type does not say which column it is has `#[data_type(DataType::…)]`.
pub use anyudf_macros::worker_udf as udf;
pub use cancellation::Cancellation;
pub use closures::{MapBuilder, MapResult, NoResult, Nulls, ScalarBuilder, map, scalar};
pub use definition::{Definition, IntoDefinition, Kind, Volatility};
pub use error::{Error, ErrorKind, Result};
pub use function::{Function, Output};
pub use invocation::Invocation;
pub use link::Reason;
pub use options::{Asked, Parent, ServeOptions, USAGE};
pub use pulled::{Input, PulledFunction, PulledRawFunction, RawInput};
pub use raw::{Opened, RawFunction, RawOutput};
pub use rows::aggregate;
pub use serve::{Bound, Control};
pub use tester::{ColumnOf, Tested, UdfTester};
pub use trial::{Elsewhere, Trial};
pub use worker::Worker;

/// The examples of the README compile.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeDoctests;
