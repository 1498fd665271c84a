//! Numbers and `bool`, and all that travels as a number.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, ArrowPrimitiveType, BooleanArray, PrimitiveArray};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::datatypes::{
    ArrowNativeType, DataType, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type,
    UInt16Type, UInt32Type, UInt64Type,
};

use crate::error::Result;

use super::argument::{Argument, Reader, Refusal, Slots};
use super::column::{BoolColumn, Column};
use super::list::{ListColumn, ListReader, SliceReader};
use super::result::Value;
use super::text::{BytesColumn, BytesReader};

/// A column of numbers, read as they are.
pub struct Numbers<'a, N>(pub(super) &'a [N]);

impl<'a, N: Plain> Reader<'a, N> for Numbers<'a, N> {
    fn data_type() -> DataType {
        <N::Arrow as ArrowPrimitiveType>::DATA_TYPE
    }

    fn new(slots: &Slots<'a, '_>) -> Result<Self, Refusal> {
        let array = slots.downcast::<PrimitiveArray<N::Arrow>>(&N::Arrow::DATA_TYPE)?;
        Ok(Numbers(&array.values()[..]))
    }

    #[inline(always)]
    fn part(&self, rows: Range<usize>) -> Self {
        Numbers(&self.0[rows])
    }

    #[inline(always)]
    fn read(&self, row: usize) -> N {
        self.0[row]
    }
}

/// A number that Arrow keeps as it is.
pub trait Plain: ArrowNativeType {
    /// Arrow's name for it.
    type Arrow: ArrowPrimitiveType<Native = Self>;
}

/// Appends `count` numbers. `Vec::extend` does the same as fast, but only where the compiler inlines all its layers, and in a
/// loop as large as ours it does not.
#[inline(always)]
pub(super) fn fill<N: Copy>(numbers: &mut Vec<N>, count: usize, mut number: impl FnMut(usize) -> N) {
    numbers.reserve(count);
    let spare = &mut numbers.spare_capacity_mut()[..count];
    for (place, slot) in spare.iter_mut().enumerate() {
        slot.write(number(place));
    }
    // SAFETY: the loop has written all of `count` numbers behind the old length.
    unsafe { numbers.set_len(numbers.len() + count) };
}

/// A column of numbers.
pub struct NumberColumn<N>(Vec<N>);

impl<N: Plain> Column<N> for NumberColumn<N> {
    fn data_type() -> DataType {
        <N::Arrow as ArrowPrimitiveType>::DATA_TYPE
    }

    fn with_capacity(rows: usize) -> Self {
        NumberColumn(Vec::with_capacity(rows))
    }

    #[inline]
    fn push(&mut self, value: N) {
        self.0.push(value);
    }

    #[inline]
    fn push_nulls(&mut self, count: usize) {
        match count {
            // The usual one, and quicker than a loop of one.
            1 => self.0.push(N::default()),
            _ => self.0.resize(self.0.len() + count, N::default()),
        }
    }

    #[inline(always)]
    fn fill(&mut self, count: usize, value: impl FnMut(usize) -> N) {
        fill(&mut self.0, count, value);
    }

    #[inline(always)]
    fn fill_or_null(&mut self, count: usize, mut value: impl FnMut(usize) -> Option<N>) {
        fill(&mut self.0, count, |place| value(place).unwrap_or_default());
    }

    fn finish(self, nulls: Option<NullBuffer>) -> Result<ArrayRef> {
        Ok(Arc::new(PrimitiveArray::<N::Arrow>::try_new(self.0.into(), nulls)?))
    }
}

macro_rules! numbers {
    ($($number:ty, $arrow:ty, $list_reader:ty, $list_column:ty);+) => {
        $(
            impl Plain for $number {
                type Arrow = $arrow;
            }

            impl<'a> Argument<'a> for $number {
                type Reader = Numbers<'a, Self>;
                type List = $list_reader;
            }

            impl Value for $number {
                type Column = NumberColumn<Self>;
                type List = $list_column;
            }
        )+
    };
}

numbers!(
    i8, Int8Type, ListReader<'a, i8>, ListColumn<i8>;
    i16, Int16Type, ListReader<'a, i16>, ListColumn<i16>;
    i32, Int32Type, ListReader<'a, i32>, ListColumn<i32>;
    i64, Int64Type, ListReader<'a, i64>, ListColumn<i64>;
    // `Vec<u8>` is bytes, not a list.
    u8, UInt8Type, BytesReader<'a>, BytesColumn;
    u16, UInt16Type, ListReader<'a, u16>, ListColumn<u16>;
    u32, UInt32Type, ListReader<'a, u32>, ListColumn<u32>;
    u64, UInt64Type, ListReader<'a, u64>, ListColumn<u64>;
    f32, Float32Type, ListReader<'a, f32>, ListColumn<f32>;
    f64, Float64Type, ListReader<'a, f64>, ListColumn<f64>
);

macro_rules! slices {
    ($($number:ty),+) => {
        $(
            impl<'a> Argument<'a> for &'a [$number] {
                type Reader = SliceReader<'a, $number>;
                type List = ListReader<'a, Self>;
            }
        )+
    };
}

slices!(i8, i16, i32, i64, u16, u32, u64, f32, f64);

/// A column of `bool`s, read bit by bit.
pub struct Bools<'a> {
    bits: &'a BooleanBuffer,
    /// The first row's place among them.
    start: usize,
}

impl<'a> Argument<'a> for bool {
    type Reader = Bools<'a>;
    type List = ListReader<'a, bool>;
}

impl<'a> Reader<'a, bool> for Bools<'a> {
    fn data_type() -> DataType {
        DataType::Boolean
    }

    fn new(slots: &Slots<'a, '_>) -> Result<Self, Refusal> {
        Ok(Bools { bits: slots.downcast::<BooleanArray>(&DataType::Boolean)?.values(), start: 0 })
    }

    fn part(&self, rows: Range<usize>) -> Self {
        Bools { bits: self.bits, start: self.start + rows.start }
    }

    #[inline]
    fn read(&self, row: usize) -> bool {
        self.bits.value(self.start + row)
    }
}

impl Value for bool {
    type Column = BoolColumn;
    type List = ListColumn<bool>;
}
