//! Functions of rows: what `#[udf]` makes of an ordinary function, and the traits by which types take part.
//!
//! `#[udf]` writes little. It names the types, and hands the function to [`Rows::each`], which is generic over them:
//!
//! ```text
//!   columns ── Argument: a Reader for each ──▶ f(a, b, c) for each row ──▶ Return: into a Column ── one column
//! ```
//!
//! | in Rust | in Arrow | |
//! |---|---|---|
//! | `bool`, `i8` … `i64`, `u8` … `u64`, `f32`, `f64` | Boolean, Int8 … Float64 | |
//! | `&str`, `String`, `Cow<str>` | Utf8 | as argument also LargeUtf8 and Utf8View |
//! | `&[u8]`, `Vec<u8>` | Binary | as argument also LargeBinary and BinaryView |
//! | `chrono::NaiveDate` | Date32 | |
//! | `chrono::NaiveTime` | Time64(µs) | |
//! | `chrono::NaiveDateTime` | Timestamp(µs) | as argument of any unit |
//! | `chrono::DateTime<Utc>` | Timestamp(µs, "UTC") | as argument of any unit and zone: it is an instant |
//! | `chrono::TimeDelta` | Duration(µs) | |
//! | [`Interval`] | Interval(MonthDayNano) | |
//! | [`Decimal<P, S>`](Decimal) | Decimal128(P, S) | |
//! | `Vec<T>`, and `&[T]` of numbers as argument | List(T) | |
//! | a struct with `#[derive(UdfStruct)]` | Struct | |
//! | `Option<T>` | T, which may be null | |
//! | `Result<T, E>` as result | T | an error ends the execution and names the row |
//!
//! # Nulls
//! A row in which an argument is null gives null, and the function is not called for it, unless that argument is an
//! `Option`. A null inside a list or a struct whose items are no `Option`s is an error that names the row: there is no
//! value to give to the function, and leaving it out would be a guess.
//!
//! # What it costs
//! For types of fixed width nothing is allocated a row, and nothing is asked about nulls where there are none: the loop is
//! one over slices. `cargo bench -p anyudf-worker` compares it with loops written by hand.

mod argument;
mod column;
mod decimal;
mod function;
mod list;
mod number;
mod result;
mod structs;
mod temporal;
mod text;

use std::time::{Duration, Instant};

use crate::error::Result;
use crate::panics::{self, Row};

pub use argument::{Argument, Arguments, Reader, Refusal, Slots};
pub use arrow::array::ArrayRef;
pub use arrow::buffer::NullBuffer;
pub use arrow::datatypes::{DataType, IntervalMonthDayNano as Interval};
pub use column::{BoolColumn, Column, Gathered};
pub use decimal::{Decimal, DecimalColumn};
pub use function::{NoOptions, RowFunction, Signature, define};
pub use list::{ListColumn, ListReader, SliceReader};
pub use number::{NumberColumn, Numbers, Plain};
pub use result::{OrNull, Return, Slot, Value};
pub use structs::{StructFields, gathered, struct_array, struct_of, type_of};
pub use temporal::{Checked, Temporal, TemporalColumn, TimestampReader};
pub use text::{BytesColumn, BytesReader, TextColumn, TextReader};

/// Compiles for types that can be arguments.
pub const fn is_argument<'a, T: Argument<'a>>() {}

/// Compiles for types that can be results.
pub const fn is_result<T: Return>() {}

/// How many rows are worked on at first before somebody looks whether the execution was cancelled (R12).
const FIRST_BLOCK: usize = 16;

/// A block that takes less time may grow, and one that takes ten times as long shrinks.
const BLOCK_TIME: Duration = Duration::from_millis(2);

/// A batch, as columns and what a loop over its rows needs to know.
pub struct Rows<'a> {
    columns: &'a [ArrayRef],
    rows: usize,
    /// Rows of the execution before this batch.
    before: u64,
    /// Fails when the execution was cancelled.
    check: &'a dyn Fn() -> Result<()>,
}

impl<'a> Rows<'a> {
    /// `rows` rows of `columns`, which are as long, outside of an execution: nobody cancels, and errors count rows within
    /// them.
    pub fn of(columns: &'a [ArrayRef], rows: usize) -> Self {
        Rows { columns, rows, before: 0, check: &|| Ok(()) }
    }

    /// `rows` rows of `columns`, which are as long.
    pub(crate) fn new(columns: &'a [ArrayRef], rows: usize, before: u64, check: &'a dyn Fn() -> Result<()>) -> Self {
        Rows { columns, rows, before, check }
    }

    /// Calls `function` for each row without nulls that it did not ask for, and gathers what it returns.
    ///
    /// # Errors
    /// What the function returned for a row; a column of another type than its argument; a null inside a list or a struct
    /// that does not take it; and kind [`Cancelled`](crate::ErrorKind::Cancelled), looked for every few milliseconds.
    ///
    /// # Panics
    /// When the function does. The panic is told to the engine with its row.
    pub fn each<A: Arguments<'a>, R: Return>(&self, mut function: impl FnMut(A) -> R) -> Result<ArrayRef> {
        let nulls = A::nulls(self.columns).filter(|nulls| nulls.null_count() > 0);
        let readers = A::readers(self.columns, nulls.as_ref());
        let readers = readers.map_err(|refusal| refusal.into_error(self.before))?;
        let mut into = Gathered::<R::Value>::with_capacity(self.rows, R::NULLABLE);
        let mut here = Here { row: 0, before: self.before };
        let (mut start, mut block) = (0, FIRST_BLOCK);
        let mut began = Instant::now();
        while start < self.rows {
            let end = self.rows.min(start.saturating_add(block));
            // Columns of fixed width are narrowed to `end`, and `row < end`: their bounds need no check in the loop.
            let readers = A::narrowed(&readers, end);
            let mut run = |into: &mut Gathered<R::Value>, start: usize, end: usize| {
                let rows = (start..end).map(|row| {
                    here.row = row;
                    function(A::read(&readers, row))
                });
                R::gather(rows, into).map_err(|error| error.at(here.row()))
            };
            match &nulls {
                None => run(&mut into, start, end)?,
                Some(nulls) => {
                    let mut done = start;
                    for (from, to) in nulls.slice(start, end - start).valid_slices() {
                        into.push_nulls(start + from - done);
                        run(&mut into, start + from, start + to)?;
                        done = start + to;
                    }
                    into.push_nulls(end - done);
                }
            }
            start = end;
            (self.check)()?;
            let now = Instant::now();
            match now.duration_since(began) {
                time if time < BLOCK_TIME => block = block.saturating_mul(2),
                time if time > 10 * BLOCK_TIME => block = (block / 2).max(1),
                _ => {}
            }
            began = now;
        }
        into.finish(nulls)
    }
}

/// Where a loop is. Unwinding past it tells the row.
struct Here {
    row: usize,
    before: u64,
}

impl Here {
    fn row(&self) -> Row {
        let of_batch = self.row as u64;
        Row { of_batch, of_execution: self.before + of_batch }
    }
}

impl Drop for Here {
    fn drop(&mut self) {
        // Costs nothing in the loop: the row is where the loop keeps it, and this is the landing pad.
        if std::thread::panicking() {
            panics::at_row(self.row());
        }
    }
}
