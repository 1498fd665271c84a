//! Whole arrays as arguments and results: `#[udf(batch)]`.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, BinaryArray, BinaryViewArray, BooleanArray, FixedSizeBinaryArray,
    FixedSizeListArray, LargeBinaryArray, LargeListArray, LargeStringArray, ListArray, MapArray, PrimitiveArray,
    StringArray, StringViewArray, StructArray,
};
use arrow::datatypes::DataType;

use crate::error::{Error, Result};

/// An array that a function of whole arrays can take: `&Float64Array`, `&ListArray`, `&ArrayRef`.
#[diagnostic::on_unimplemented(
    message = "`&{Self}` can't be an argument of a `#[udf(batch)]`",
    label = "not an Arrow array",
    note = "take `&Float64Array`, `&StringArray`, or another of Arrow's arrays, or `&ArrayRef` for any"
)]
pub trait AnyArray {
    /// The column as this array.
    fn of(column: &ArrayRef) -> Option<&Self>;
}

/// An array whose type follows from its Rust type.
#[diagnostic::on_unimplemented(
    message = "the type of a column does not follow from `{Self}`",
    label = "many types of columns are this",
    note = "say which: `#[data_type(DataType::…)]` before an argument, `#[udf(batch, returns = DataType::…)]` for the result"
)]
pub trait TypedArray: AnyArray {
    /// The type of the column.
    fn data_type() -> DataType;
}

impl AnyArray for ArrayRef {
    fn of(column: &ArrayRef) -> Option<&Self> {
        Some(column)
    }
}

impl<T: ArrowPrimitiveType> AnyArray for PrimitiveArray<T> {
    fn of(column: &ArrayRef) -> Option<&Self> {
        column.as_any().downcast_ref()
    }
}

/// Timestamps are those without a zone, decimals those of Arrow's default precision; others need `#[data_type(…)]`.
impl<T: ArrowPrimitiveType> TypedArray for PrimitiveArray<T> {
    fn data_type() -> DataType {
        T::DATA_TYPE
    }
}

macro_rules! arrays {
    ($($array:ty $(, $data_type:ident)?);+) => {
        $(
            impl AnyArray for $array {
                fn of(column: &ArrayRef) -> Option<&Self> {
                    column.as_any().downcast_ref()
                }
            }

            $(
                impl TypedArray for $array {
                    fn data_type() -> DataType {
                        DataType::$data_type
                    }
                }
            )?
        )+
    };
}

arrays!(
    BooleanArray, Boolean;
    StringArray, Utf8;
    LargeStringArray, LargeUtf8;
    StringViewArray, Utf8View;
    BinaryArray, Binary;
    LargeBinaryArray, LargeBinary;
    BinaryViewArray, BinaryView;
    ListArray;
    LargeListArray;
    FixedSizeListArray;
    FixedSizeBinaryArray;
    MapArray;
    StructArray
);

/// What a function of whole arrays can return: an array, or a `Result` of one.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be the result of a `#[udf(batch)]`",
    label = "not an Arrow array",
    note = "return `Float64Array`, `StringArray`, or another of Arrow's arrays, `ArrayRef`, or a `Result` of these"
)]
pub trait ArrayReturn {
    /// The array without errors.
    type Array: AnyArray;

    /// The array.
    ///
    /// # Errors
    /// What the function returned as one.
    fn into_array(self) -> Result<ArrayRef>;
}

impl<A: AnyArray + Array + 'static> ArrayReturn for A {
    type Array = A;

    fn into_array(self) -> Result<ArrayRef> {
        Ok(Arc::new(self))
    }
}

impl<A, E> ArrayReturn for Result<A, E>
where
    A: AnyArray + Array + 'static,
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Array = A;

    fn into_array(self) -> Result<ArrayRef> {
        self.map_err(|error| Error::from(error.into()))?.into_array()
    }
}
