//! Text and bytes.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BinaryBuilder, BinaryViewArray, LargeBinaryArray, LargeStringArray, StringArray,
    StringBuilder, StringViewArray,
};
use arrow::buffer::NullBuffer;
use arrow::datatypes::DataType;

use crate::error::Result;

use super::argument::{Argument, Reader, Refusal, Slots};
use super::column::Column;
use super::list::{ListColumn, ListReader};
use super::result::Value;

/// A column of text, in whichever of Arrow's layouts.
#[derive(Clone, Copy)]
pub struct TextReader<'a> {
    array: Text<'a>,
    start: usize,
}

#[derive(Clone, Copy)]
enum Text<'a> {
    Usual(&'a StringArray),
    Large(&'a LargeStringArray),
    View(&'a StringViewArray),
}

/// A column of bytes, in whichever of Arrow's layouts.
#[derive(Clone, Copy)]
pub struct BytesReader<'a> {
    array: Bytes<'a>,
    start: usize,
}

#[derive(Clone, Copy)]
enum Bytes<'a> {
    Usual(&'a BinaryArray),
    Large(&'a LargeBinaryArray),
    View(&'a BinaryViewArray),
}

macro_rules! reader {
    ($reader:ident, $borrowed:ty, $array:ident: $usual:ident, $large:ident, $view:ident) => {
        impl<'a> $reader<'a> {
            fn of(slots: &Slots<'a, '_>) -> Result<Self, Refusal> {
                let wanted = DataType::$usual;
                let array = match slots.array().data_type() {
                    DataType::$large => $array::Large(slots.downcast(&wanted)?),
                    DataType::$view => $array::View(slots.downcast(&wanted)?),
                    _ => $array::Usual(slots.downcast(&wanted)?),
                };
                Ok($reader { array, start: 0 })
            }

            #[inline]
            fn at(&self, row: usize) -> &'a $borrowed {
                let row = self.start + row;
                match self.array {
                    $array::Usual(array) => array.value(row),
                    $array::Large(array) => array.value(row),
                    $array::View(array) => array.value(row),
                }
            }
        }
    };
}

reader!(TextReader, str, Text: Utf8, LargeUtf8, Utf8View);
reader!(BytesReader, [u8], Bytes: Binary, LargeBinary, BinaryView);

macro_rules! read_as {
    ($reader:ident, $data_type:ident; $($type:ty),+) => {
        $(
            impl<'a> Reader<'a, $type> for $reader<'a> {
                const TAKES_ALIKE: bool = true;

                fn data_type() -> DataType {
                    DataType::$data_type
                }

                fn new(slots: &Slots<'a, '_>) -> Result<Self, Refusal> {
                    $reader::of(slots)
                }

                #[inline]
                fn part(&self, rows: Range<usize>) -> Self {
                    $reader { array: self.array, start: self.start + rows.start }
                }

                #[inline]
                fn read(&self, row: usize) -> $type {
                    self.at(row).into()
                }
            }
        )+
    };
}

read_as!(TextReader, Utf8; &'a str, String, Cow<'a, str>);
read_as!(BytesReader, Binary; &'a [u8], Vec<u8>, Cow<'a, [u8]>);

macro_rules! argument {
    ($reader:ident; $($type:ty),+) => {
        $(
            impl<'a> Argument<'a> for $type {
                type Reader = $reader<'a>;
                type List = ListReader<'a, Self>;
            }
        )+
    };
}

argument!(TextReader; &'a str, String, Cow<'a, str>);
// `Vec<u8>` is one by way of `u8`.
argument!(BytesReader; &'a [u8], Cow<'a, [u8]>);

/// A column of text.
pub struct TextColumn(StringBuilder);

/// A column of bytes.
pub struct BytesColumn(BinaryBuilder);

/// What a value is taken to be long, for want of knowledge.
const USUAL_LENGTH: usize = 16;

/// Room is made for so many values at first: a batch may claim any number of rows (C10).
const MOST_AT_FIRST: usize = 64 << 10;

macro_rules! column {
    ($column:ident, $builder:ident, $data_type:ident; $($type:ty),+) => {
        $(
            impl Column<$type> for $column {
                fn data_type() -> DataType {
                    DataType::$data_type
                }

                fn with_capacity(rows: usize) -> Self {
                    let rows = rows.min(MOST_AT_FIRST);
                    $column($builder::with_capacity(rows, rows * USUAL_LENGTH))
                }

                #[inline]
                fn push(&mut self, value: $type) {
                    self.0.append_value(value);
                }

                fn push_nulls(&mut self, count: usize) {
                    (0..count).for_each(|_| self.0.append_null());
                }

                /// The builder knows the nulls already: they are what `push_nulls` was called for.
                fn finish(mut self, _: Option<NullBuffer>) -> Result<ArrayRef> {
                    Ok(Arc::new(self.0.finish()))
                }
            }
        )+
    };
}

column!(TextColumn, StringBuilder, Utf8; String, &str, Cow<'_, str>);
column!(BytesColumn, BinaryBuilder, Binary; Vec<u8>, &[u8], Cow<'_, [u8]>);

macro_rules! value {
    ($column:ident; $($type:ty),+) => {
        $(
            impl Value for $type {
                type Column = $column;
                type List = ListColumn<Self>;
            }
        )+
    };
}

value!(TextColumn; String, &str, Cow<'_, str>);
value!(BytesColumn; &[u8], Cow<'_, [u8]>);
