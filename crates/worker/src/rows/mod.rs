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
//! | `Result<T, E>` as result | T | an error ends the execution and names the row, unless `on_error` says otherwise |
//!
//! # Nulls
//! A row in which an argument is null gives null, and the function is not called for it, unless that argument is an
//! `Option`. A null inside a list or a struct whose items are no `Option`s is an error that names the row: there is no
//! value to give to the function, and leaving it out would be a guess.
//!
//! # What it costs
//! For types of fixed width nothing is allocated a row, and nothing is asked about nulls where there are none: the loop is
//! one over slices. `cargo bench -p anyudf-worker` compares it with loops written by hand.

mod aggregate;
mod apart;
mod argument;
mod arrays;
mod bits;
mod column;
mod decimal;
mod function;
mod list;
mod number;
mod result;
mod spread;
mod structs;
mod table;
mod temporal;
mod text;

use std::time::{Duration, Instant};

use crate::closures::{Nulls, check_length, with_nulls_of};
use crate::error::{Error, Result};
use crate::panics::{self, Row};

pub use aggregate::{Aggregate, AggregateDefinition, aggregate, define_aggregate};
pub use apart::{Apart, Collected, OrNull, Outcome, OutcomeColumn, Unread};
pub use argument::{Argument, Arguments, Reader, Refusal, Slots};
pub use arrays::{AnyArray, ArrayReturn, TypedArray};
pub use arrow::array::{ArrayRef, RecordBatch};
pub use arrow::buffer::NullBuffer;
pub use arrow::datatypes::{DataType, Field, IntervalMonthDayNano as Interval, SchemaRef};
pub use column::{BoolColumn, Column, Gathered};
pub use decimal::{Decimal, DecimalColumn};
pub use function::{NoOptions, ScalarFunction, Signature, define};
pub use list::{ListColumn, ListReader, SliceReader};
pub use number::{NumberColumn, Numbers, Plain};
pub use result::{Return, Slot, Value};
pub use structs::{StructFields, gathered, may_be_unfit, struct_array, struct_of, type_of, unfit_field};
pub use table::{
    IntoBatches, MapFunction, TableFunction, define_map, define_table, emit_all, emit_batches, emit_rows, schema_of,
};
pub use temporal::{Checked, Temporal, TemporalColumn, TimestampReader};
pub use text::{BytesColumn, BytesReader, TextColumn, TextReader};

/// What a function returned as an error, as one of ours.
pub fn error_of(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::from(error.into())
}

/// Compiles for types that can be arguments.
pub const fn is_argument<'a, T: Argument<'a>>() {}

/// Compiles for types that can be results.
pub const fn is_result<T: Return>() {}

/// How many rows are worked on at first before somebody looks whether the execution was cancelled (R12): each may take a
/// second.
const FIRST_BLOCK: usize = 1;

/// Where more than one row in so many is null, each is asked.
const MANY_NULLS: usize = 8;

/// How long a block of rows should take.
const BLOCK_TIME: Duration = Duration::from_millis(5);

/// How many times as long the next block is at most: later rows may be slower than the first.
const MOST_GROWTH: usize = 128;

/// A batch, as columns and what a loop over its rows needs to know.
pub struct Rows<'a> {
    columns: &'a [ArrayRef],
    rows: usize,
    /// Rows of the execution before this batch.
    before: u64,
    /// Fails when the execution was cancelled; `None` outside of one.
    check: Option<&'a dyn Fn() -> Result<()>>,
}

impl<'a> Rows<'a> {
    /// `rows` rows of `columns`, which are as long, outside of an execution: nobody cancels, and errors count rows within
    /// them.
    pub fn of(columns: &'a [ArrayRef], rows: usize) -> Self {
        Rows { columns, rows, before: 0, check: None }
    }

    /// `rows` rows of `columns`, which are as long.
    pub(crate) fn new(columns: &'a [ArrayRef], rows: usize, before: u64, check: &'a dyn Fn() -> Result<()>) -> Self {
        Rows { columns, rows, before, check: Some(check) }
    }

    /// The column of an argument that is a whole array.
    ///
    /// # Errors
    /// When there is no such column, or it is of another type.
    pub fn array<A: AnyArray + ?Sized>(&self, place: usize) -> Result<&'a A> {
        let Some(column) = self.columns.get(place) else {
            let text = format!("argument {} is missing: there are {} columns", place + 1, self.columns.len());
            return Err(Error::user(text).with_class("WRONG_ARGUMENT_COUNT"));
        };
        A::of(column).ok_or_else(|| {
            let text = format!("argument {} can't be {}", place + 1, column.data_type());
            Error::user(text).with_class("WRONG_ARGUMENT_TYPE")
        })
    }

    /// The column that a function of whole arrays has made, checked; where an argument is null it becomes null, unless
    /// nulls are values.
    ///
    /// # Errors
    /// What the function returned as one, and a column that is not as long as the batch.
    pub fn whole<R: ArrayReturn>(&self, result: R, nulls: Nulls) -> Result<ArrayRef> {
        let column = result.into_array()?;
        check_length(self.rows, column.len())?;
        match nulls {
            Nulls::GiveNull => with_nulls_of(column, self.columns),
            Nulls::AreValues => Ok(column),
        }
    }

    /// Calls `function` for each row without nulls that it did not ask for.
    ///
    /// # Errors
    /// As [`each`](Self::each).
    ///
    /// # Panics
    /// When the function does. The panic is told to the engine with its row.
    pub fn visit<A: Arguments<'a>>(&self, mut function: impl FnMut(A) -> Result<()>) -> Result<()> {
        let nulls = A::nulls(self.columns).filter(|nulls| nulls.null_count() > 0);
        let readers = A::readers(self.columns, nulls.as_ref()).map_err(|refusal| refusal.into_error(self.before))?;
        let mut pace = self.pace();
        let mut end = pace.block;
        for at in 0..self.rows {
            if at == end {
                self.look(&mut pace)?;
                end = end.saturating_add(pace.block);
            }
            if nulls.as_ref().is_none_or(|nulls| nulls.is_valid(at)) {
                let here = Here { row: at, before: self.before };
                let called = function(A::read(&readers, at));
                std::mem::forget(here);
                called.map_err(|error| error.at(row(at, self.before)))?;
            }
        }
        Ok(())
    }

    fn pace(&self) -> Pace {
        match self.check {
            Some(_) => Pace { block: FIRST_BLOCK, began: Instant::now() },
            // Nobody looks: all rows are one block.
            None => Pace { block: self.rows, began: Instant::now() },
        }
    }

    /// Looks whether the execution was cancelled, behind a block.
    fn look(&self, pace: &mut Pace) -> Result<()> {
        self.check.map_or(Ok(()), |check| check())?;
        pace.adapt();
        Ok(())
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
        self.gather(&readers, nulls, &mut function)
    }

    /// Calls `function` for each row but the `nulls`, and gathers what it returns.
    #[inline(always)]
    fn gather<A: Arguments<'a>, R: Return>(
        &self,
        readers: &A::Readers,
        nulls: Option<NullBuffer>,
        function: &mut impl FnMut(A) -> R,
    ) -> Result<ArrayRef> {
        let mut into = Gathered::<R::Value>::with_capacity(self.rows, R::NULLABLE);
        let (mut start, mut pace) = (0, self.pace());
        while start < self.rows {
            let end = self.rows.min(start.saturating_add(pace.block));
            let mut run = Run { readers, before: self.before, into: &mut into, function: &mut *function };
            match &nulls {
                None => run.each(start, end)?,
                Some(nulls) => run.between_nulls(start, end, nulls)?,
            }
            if end == self.rows {
                break;
            }
            self.look(&mut pace)?;
            start = end;
        }
        into.finish(nulls)
    }
}

/// How many rows are worked on before somebody looks up: as many as take some milliseconds.
struct Pace {
    block: usize,
    /// When the block was begun.
    began: Instant,
}

impl Pace {
    /// The block is done: the next is as long as this one's time suggests.
    fn adapt(&mut self) {
        let now = Instant::now();
        let time = now.duration_since(self.began).max(Duration::from_nanos(1));
        self.block = match BLOCK_TIME.as_nanos() / time.as_nanos() {
            // Too slow, by far or a little.
            0 => (self.block / 2).max(1),
            more => self.block.saturating_mul(usize::try_from(more).unwrap_or(MOST_GROWTH).min(MOST_GROWTH)),
        };
        self.began = now;
    }
}

/// Consecutive rows, and what a loop over them needs.
struct Run<'r, 'a, A: Arguments<'a>, R: Return, F> {
    readers: &'r A::Readers,
    before: u64,
    into: &'r mut Gathered<R::Value>,
    function: &'r mut F,
}

impl<'a, A: Arguments<'a>, R: Return, F: FnMut(A) -> R> Run<'_, 'a, A, R, F> {
    /// All of them.
    #[inline(always)]
    fn each(&mut self, start: usize, end: usize) -> Result<()> {
        self.run(start, end, All)
    }

    /// Those that are not null.
    fn between_nulls(&mut self, start: usize, end: usize, nulls: &NullBuffer) -> Result<()> {
        let here = nulls.slice(start, end - start);
        // Where nulls are many, looking for stretches without costs more than asking at each row.
        if here.null_count() > (end - start) / MANY_NULLS {
            return self.run(start, end, Valid(&here));
        }
        let mut done = start;
        for (from, to) in here.valid_slices() {
            self.into.push_nulls(start + from - done);
            self.each(start + from, start + to)?;
            done = start + to;
        }
        self.into.push_nulls(end - done);
        Ok(())
    }

    /// The loop. What it costs beside the function decides how fast `#[udf]` is, so see the benchmark when changing it:
    /// with a function like an addition it must become vector instructions.
    #[inline(always)]
    fn run(&mut self, start: usize, end: usize, which: impl Which) -> Result<()> {
        // As long as the run, so that the compiler sees that no row is out of bounds.
        let readers = A::part(self.readers, start..end);
        let function = &mut *self.function;
        let mut here = Here { row: start, before: self.before };
        let call = |place: usize| {
            here.row = start + place;
            function(A::read(&readers, place))
        };
        let filled = which.fill(end - start, call, self.into);
        let at = here.row;
        // Only unwinding drops it.
        std::mem::forget(here);
        filled.map_err(|error| error.at(row(at, self.before)))
    }
}

/// Which rows of a run are called for.
trait Which {
    fn fill<R: Return>(self, count: usize, call: impl FnMut(usize) -> R, into: &mut Gathered<R::Value>) -> Result<()>;
}

/// Every row.
struct All;

impl Which for All {
    #[inline(always)]
    fn fill<R: Return>(self, count: usize, call: impl FnMut(usize) -> R, into: &mut Gathered<R::Value>) -> Result<()> {
        R::fill(count, call, into)
    }
}

/// Those that are valid here.
struct Valid<'n>(&'n NullBuffer);

impl Which for Valid<'_> {
    #[inline(always)]
    fn fill<R: Return>(self, count: usize, call: impl FnMut(usize) -> R, into: &mut Gathered<R::Value>) -> Result<()> {
        R::fill_where(count, |place| self.0.is_valid(place), call, into)
    }
}

/// Where a loop is, for unwinding to tell. It is forgotten when the loop is left otherwise.
///
/// It must cost nothing: the compiler keeps it in a register as long as nobody is given its address, so unwinding is inlined
/// up to a call with two numbers.
struct Here {
    row: usize,
    before: u64,
}

impl Drop for Here {
    #[inline(always)]
    fn drop(&mut self) {
        panicked_at(self.row, self.before);
    }
}

#[cold]
#[inline(never)]
fn panicked_at(at: usize, before: u64) {
    panics::at_row(row(at, before));
}

fn row(row: usize, before: u64) -> Row {
    Row { of_batch: row as u64, of_execution: before + row as u64 }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::sync::Arc;

    use arrow::array::Int64Array;

    use super::*;

    /// R12: the first row may take a second, so somebody looks behind it whether it was in vain.
    #[test]
    fn r12_somebody_looks_behind_the_first_row() {
        let columns: [ArrayRef; 1] = [Arc::new(Int64Array::from_iter_values(0..1000))];
        let cancelled = || Err(Error::user("cancelled"));
        let (rows, calls) = (Rows::new(&columns, 1000, 0, &cancelled), Cell::new(0));
        let called = |(x,): (i64,)| {
            calls.set(calls.get() + 1);
            x
        };
        rows.each(called).expect_err("it was cancelled");
        assert_eq!(calls.take(), 1);
        let visited = rows.visit(|arguments| {
            called(arguments);
            Ok(())
        });
        visited.expect_err("it was cancelled");
        assert_eq!(calls.take(), 1);
        Rows::of(&columns, 1000).each(called).expect("nobody looks");
        assert_eq!(calls.take(), 1000);
    }
}
