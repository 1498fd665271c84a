//! Rows that fail without failing the others: `on_error = "null"` and `on_error = "collect"`.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, StringArray, StructArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::DataType;

use anyudf_protocol::ExecutionError;

use crate::error::{Error, ErrorKind, Result};
use crate::panics;

use super::Rows;
use super::argument::{Arguments, Refusal};
use super::column::{Column, Gathered};
use super::list::ListColumn;
use super::result::{Return, Slot, Source, Value, fitting};
use super::structs::{struct_array, struct_of, type_of};

/// A result by which a row that fails does not fail the others.
pub trait Apart: Return {
    /// The column, as it is to be where rows could not be read; there it has nulls of arguments so far.
    ///
    /// # Errors
    /// When Arrow refuses it.
    fn with_unread(column: ArrayRef, unread: &Unread) -> Result<ArrayRef>;
}

/// The rows for which a function could not be called, since an argument has no value there, and why.
#[derive(Debug, Default)]
pub struct Unread(Vec<Refusal>);

impl Unread {
    /// Rows and what is wrong with them, in no order.
    pub fn rows(&self) -> impl Iterator<Item = (usize, &str)> {
        self.0.iter().flat_map(|refusal| refusal.slots().iter().map(|&slot| (slot, refusal.text())))
    }
}

impl<'a> Rows<'a> {
    /// As [`each`](Self::each), but a row that can't be read is left to the result's type, as one that fails is.
    ///
    /// # Errors
    /// As [`each`](Self::each), for what concerns more than a row.
    ///
    /// # Panics
    /// When the function does and the result's type does not catch it.
    pub fn each_apart<A: Arguments<'a>, R: Apart>(&self, mut function: impl FnMut(A) -> R) -> Result<ArrayRef> {
        let mut skipped = A::nulls(self.columns).filter(|nulls| nulls.null_count() > 0);
        let mut unread = Unread::default();
        // Each round leaves out all rows that one check refuses, so there are few.
        let readers = loop {
            let refusal = match A::readers(self.columns, skipped.as_ref()) {
                Ok(readers) => break readers,
                Err(refusal) => refusal,
            };
            match without(skipped.as_ref(), refusal.slots(), self.rows) {
                Some(fewer) => skipped = Some(fewer),
                None => return Err(refusal.into_error(self.before)),
            }
            unread.0.push(refusal);
        };
        let column = self.gather(&readers, skipped, &mut function)?;
        if unread.0.is_empty() { Ok(column) } else { R::with_unread(column, &unread) }
    }
}

/// These rows without `slots`; `None` when none of those was among them, as when the whole column is refused.
fn without(rows: Option<&NullBuffer>, slots: &[usize], count: usize) -> Option<NullBuffer> {
    let mut called: Vec<_> = (0..count).map(|row| rows.is_none_or(|rows| rows.is_valid(row))).collect();
    let mut is_less = false;
    for &slot in slots {
        is_less |= called.get_mut(slot).is_some_and(std::mem::take);
    }
    is_less.then(|| NullBuffer::from(called))
}

/// A result whose errors become nulls: `on_error = "null"`.
#[derive(Clone, Copy, Debug)]
pub struct OrNull<R>(pub R);

impl<S: Slot, E> Return for OrNull<Result<S, E>> {
    type Value = S::Value;
    const NULLABLE: bool = true;

    #[inline]
    fn push(self, into: &mut Gathered<S::Value>) -> Result<()> {
        into.push(self.0.ok().and_then(|slot| fitting(slot).ok().flatten()));
        Ok(())
    }
}

impl<S: Slot, E> Apart for OrNull<Result<S, E>> {
    fn with_unread(column: ArrayRef, _: &Unread) -> Result<ArrayRef> {
        Ok(column)
    }
}

/// A result whose errors and panics are told beside it: `on_error = "collect"`.
#[derive(Clone, Debug)]
pub struct Collected<R>(Result<R, String>);

impl<R> Collected<R> {
    /// What a call returned, or what its panic said.
    #[inline]
    pub fn of(call: impl FnOnce() -> R) -> Self {
        Collected(panics::catch_row(call))
    }
}

/// What became of a row: its value, which may be null by itself, or why there is none.
#[derive(Clone, Debug)]
pub struct Outcome<V> {
    value: Option<V>,
    error: Option<String>,
}

impl<V> Outcome<V> {
    fn failed(error: String) -> Self {
        Outcome { value: None, error: Some(error) }
    }
}

impl<S: Slot> Return for Collected<S> {
    type Value = Outcome<S::Value>;
    const NULLABLE: bool = false;

    fn push(self, into: &mut Gathered<Self::Value>) -> Result<()> {
        into.push(Some(match self.0 {
            Ok(slot) => match fitting(slot) {
                Ok(value) => Outcome { value, error: None },
                Err(error) => Outcome::failed(error.to_string()),
            },
            Err(panic) => Outcome::failed(panic),
        }));
        Ok(())
    }
}

impl<S: Slot, E: Into<Source>> Return for Collected<Result<S, E>> {
    type Value = Outcome<S::Value>;
    const NULLABLE: bool = false;

    fn push(self, into: &mut Gathered<Self::Value>) -> Result<()> {
        match self.0 {
            Ok(Ok(slot)) => Collected(Ok(slot)).push(into),
            Err(panic) => Collected::<S>(Err(panic)).push(into),
            Ok(Err(error)) => match Error::from(error.into()) {
                // As an engine is told, with all that it follows from.
                error if error.kind() == ErrorKind::User => {
                    into.push(Some(Outcome::failed(ExecutionError::from(error).message)));
                    Ok(())
                }
                // No row's own: a cancellation, or a worker that can't go on.
                error => Err(error),
            },
        }
    }
}

impl<S: Slot> Apart for Collected<S> {
    fn with_unread(column: ArrayRef, unread: &Unread) -> Result<ArrayRef> {
        told(&column, unread)
    }
}

impl<S: Slot, E: Into<Source>> Apart for Collected<Result<S, E>> {
    fn with_unread(column: ArrayRef, unread: &Unread) -> Result<ArrayRef> {
        told(&column, unread)
    }
}

/// A column of outcomes with the errors of rows that could not be read.
fn told(column: &ArrayRef, unread: &Unread) -> Result<ArrayRef> {
    let (fields, mut columns, nulls) = column.as_struct().clone().into_parts();
    let mut errors: Vec<_> = columns[ERROR].as_string::<i32>().iter().collect();
    unread.rows().for_each(|(row, text)| errors[row] = Some(text));
    columns[ERROR] = Arc::new(StringArray::from(errors));
    Ok(Arc::new(StructArray::try_new(fields, columns, nulls)?))
}

/// The place of the field `error`.
const ERROR: usize = 1;

/// A column of outcomes: structs that are never null, with `value` and `error`.
pub struct OutcomeColumn<V: Value> {
    rows: usize,
    values: Gathered<V>,
    errors: Gathered<String>,
}

impl<V: Value> Column<Outcome<V>> for OutcomeColumn<V> {
    fn data_type() -> DataType {
        struct_of([("value", type_of::<V>()), ("error", DataType::Utf8)])
    }

    fn with_capacity(rows: usize) -> Self {
        let errors = Gathered::with_capacity(0, true);
        OutcomeColumn { rows: 0, values: Gathered::with_capacity(rows, true), errors }
    }

    fn push(&mut self, outcome: Outcome<V>) {
        self.rows += 1;
        self.values.push(outcome.value);
        self.errors.push(outcome.error);
    }

    fn push_nulls(&mut self, count: usize) {
        self.rows += count;
        self.values.push_nulls(count);
        self.errors.push_nulls(count);
    }

    /// Null in gives a null value without an error.
    fn finish(self, _: Option<NullBuffer>) -> Result<ArrayRef> {
        struct_array(["value", "error"], vec![self.values.finish(None)?, self.errors.finish(None)?], self.rows, None)
    }
}

impl<V: Value> Value for Outcome<V> {
    type Column = OutcomeColumn<V>;
    type List = ListColumn<Self>;
}
