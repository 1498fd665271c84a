//! A column that grows: what the results of rows are gathered in.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, BooleanBufferBuilder};
use arrow::buffer::NullBuffer;
use arrow::datatypes::DataType;

use crate::error::Result;

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

    /// Appends values. One that knows how many come should be quicker than [`push`](Self::push) for each.
    fn extend(&mut self, values: impl Iterator<Item = T>) {
        values.for_each(|value| self.push(value));
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
    valid: Option<BooleanBufferBuilder>,
}

impl<V: Value> Gathered<V> {
    /// Without rows yet. `nullable` says whether a value may be null where no argument is.
    pub(super) fn with_capacity(rows: usize, nullable: bool) -> Self {
        let column = V::Column::with_capacity(rows);
        Gathered { column, valid: nullable.then(|| BooleanBufferBuilder::new(rows)) }
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
            valid.append(is_valid);
        }
    }

    /// Appends values.
    #[inline]
    pub fn extend(&mut self, values: impl Iterator<Item = V>) {
        match &mut self.valid {
            None => self.column.extend(values),
            Some(_) => values.for_each(|value| self.push(Some(value))),
        }
    }

    /// Appends nulls.
    #[inline]
    pub fn push_nulls(&mut self, count: usize) {
        if count > 0 {
            self.column.push_nulls(count);
            if let Some(valid) = &mut self.valid {
                valid.append_n(count, false);
            }
        }
    }

    /// The column. `nulls` are those of the arguments, for which [`push_nulls`](Self::push_nulls) was called.
    ///
    /// # Errors
    /// When Arrow refuses it.
    pub fn finish(self, nulls: Option<NullBuffer>) -> Result<ArrayRef> {
        let nulls = match self.valid {
            Some(mut valid) => Some(NullBuffer::new(valid.finish())).filter(|nulls| nulls.null_count() > 0),
            None => nulls,
        };
        self.column.finish(nulls)
    }
}

/// A column of `bool`s.
pub struct BoolColumn(BooleanBufferBuilder);

impl Column<bool> for BoolColumn {
    fn data_type() -> DataType {
        DataType::Boolean
    }

    fn with_capacity(rows: usize) -> Self {
        BoolColumn(BooleanBufferBuilder::new(rows))
    }

    #[inline]
    fn push(&mut self, value: bool) {
        self.0.append(value);
    }

    fn push_nulls(&mut self, count: usize) {
        self.0.append_n(count, false);
    }

    /// 64 at a time: writing single bits costs more than most functions.
    #[inline]
    fn extend(&mut self, mut values: impl Iterator<Item = bool>) {
        loop {
            let (mut word, mut count) = (0_u64, 0);
            for value in values.by_ref().take(64) {
                word |= u64::from(value) << count;
                count += 1;
            }
            self.0.append_packed_range(0..count, &word.to_le_bytes());
            if count < 64 {
                return;
            }
        }
    }

    fn finish(mut self, nulls: Option<NullBuffer>) -> Result<ArrayRef> {
        Ok(Arc::new(BooleanArray::new(self.0.finish(), nulls)))
    }
}
