//! A column that grows: what the results of rows are gathered in.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::DataType;

use crate::error::Result;

use super::bits::Bits;
use super::result::Value;

/// A column of `T`s under construction.
pub trait Column<T>: Sized {
    /// The column's type.
    fn data_type() -> DataType;

    /// Without rows yet, with room for some.
    fn with_capacity(rows: usize) -> Self;

    /// Appends a value.
    fn push(&mut self, value: T);

    /// Appends slots that will be null: whatever costs least.
    fn push_nulls(&mut self, count: usize);

    /// Appends `count` values: what `value` gives for 0, 1, 2 … It should be quicker than [`push`](Self::push) for each, and
    /// inlined: this is the loop over the rows of a batch.
    #[inline(always)]
    fn fill(&mut self, count: usize, mut value: impl FnMut(usize) -> T) {
        for place in 0..count {
            self.push(value(place));
        }
    }

    /// As [`fill`](Self::fill), with a null where `value` gives none.
    #[inline(always)]
    fn fill_or_null(&mut self, count: usize, mut value: impl FnMut(usize) -> Option<T>) {
        for place in 0..count {
            match value(place) {
                Some(value) => self.push(value),
                None => self.push_nulls(1),
            }
        }
    }

    /// The column, with these nulls.
    ///
    /// # Errors
    /// When Arrow refuses it.
    fn finish(self, nulls: Option<NullBuffer>) -> Result<ArrayRef>;
}

/// The results of rows so far: their values, and which are null.
pub struct Gathered<V: Value> {
    column: V::Column,
    /// Where the function decides about nulls; otherwise they are known without it.
    valid: Option<Bits>,
}

impl<V: Value> Gathered<V> {
    /// Without rows yet. `nullable` says whether a value may be null where no argument is.
    pub(super) fn with_capacity(rows: usize, nullable: bool) -> Self {
        let column = V::Column::with_capacity(rows);
        Gathered { column, valid: nullable.then(|| Bits::with_capacity(rows)) }
    }

    /// Appends a value or a null.
    #[inline]
    pub fn push(&mut self, value: Option<V>) {
        let is_valid = value.is_some();
        match value {
            Some(value) => self.column.push(value),
            None => self.column.push_nulls(1),
        }
        if let Some(valid) = &mut self.valid {
            valid.push(is_valid);
        }
    }

    /// As [`Column::fill`], for a column in which the function puts no nulls.
    #[inline(always)]
    pub(super) fn fill(&mut self, count: usize, value: impl FnMut(usize) -> V) {
        // There is no second way for such a column: were `value` given to two, it would live in memory, and every row would
        // be slower for it.
        assert!(self.valid.is_none(), "a function that returns no `Option` decides about no nulls");
        self.column.fill(count, value);
    }

    /// The same where `is_value` says so, and nulls elsewhere, which are nulls of arguments.
    #[inline(always)]
    pub(super) fn fill_where(
        &mut self,
        count: usize,
        is_value: impl Fn(usize) -> bool,
        mut value: impl FnMut(usize) -> V,
    ) {
        assert!(self.valid.is_none(), "a function that returns no `Option` decides about no nulls");
        self.column.fill_or_null(count, |place| is_value(place).then(|| value(place)));
    }

    /// As [`Column::fill_or_null`], for a column in which the function puts nulls.
    #[inline(always)]
    pub(super) fn fill_or_null(&mut self, count: usize, mut value: impl FnMut(usize) -> Option<V>) {
        let valid = self.valid.as_mut().expect("a function that returns an `Option` decides about nulls");
        for start in (0..count).step_by(64) {
            let bits = 64.min(count - start);
            let mut word = 0_u64;
            self.column.fill_or_null(bits, |place| {
                let value = value(start + place);
                word |= u64::from(value.is_some()) << place;
                value
            });
            valid.push_word(word, bits);
        }
    }

    /// Appends nulls.
    #[inline]
    pub fn push_nulls(&mut self, count: usize) {
        if count > 0 {
            self.column.push_nulls(count);
            if let Some(valid) = &mut self.valid {
                valid.push_zeros(count);
            }
        }
    }

    /// The column. `nulls` are those of the arguments, for which [`push_nulls`](Self::push_nulls) was called.
    ///
    /// # Errors
    /// When Arrow refuses it.
    pub fn finish(self, nulls: Option<NullBuffer>) -> Result<ArrayRef> {
        let nulls = match self.valid {
            Some(valid) => Some(NullBuffer::new(valid.finish())).filter(|nulls| nulls.null_count() > 0),
            None => nulls,
        };
        self.column.finish(nulls)
    }
}

/// A column of `bool`s.
pub struct BoolColumn(Bits);

impl Column<bool> for BoolColumn {
    fn data_type() -> DataType {
        DataType::Boolean
    }

    fn with_capacity(rows: usize) -> Self {
        BoolColumn(Bits::with_capacity(rows))
    }

    #[inline]
    fn push(&mut self, value: bool) {
        self.0.push(value);
    }

    fn push_nulls(&mut self, count: usize) {
        self.0.push_zeros(count);
    }

    /// 64 at a time: writing single bits costs more than most functions.
    #[inline(always)]
    fn fill(&mut self, count: usize, mut value: impl FnMut(usize) -> bool) {
        let mut word_of =
            |start: usize, bits: usize| (0..bits).fold(0, |word, bit| word | u64::from(value(start + bit)) << bit);
        let whole = count / 64 * 64;
        for start in (0..whole).step_by(64) {
            self.0.push_word(word_of(start, 64), 64);
        }
        if whole < count {
            self.0.push_word(word_of(whole, count - whole), count - whole);
        }
    }

    fn finish(self, nulls: Option<NullBuffer>) -> Result<ArrayRef> {
        Ok(Arc::new(BooleanArray::new(self.0.finish(), nulls)))
    }
}
