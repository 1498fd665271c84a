//! Structs: what `#[derive(UdfStruct)]` writes calls of.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, StructArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field, Fields};

use crate::error::Result;

use super::argument::{Argument, Reader, Refusal, Slots};
use super::column::{Column, Gathered};
use super::result::{Slot, Value, unfit};

/// The type of a struct with these fields.
pub fn struct_of<const N: usize>(fields: [(&str, DataType); N]) -> DataType {
    DataType::Struct(fields.into_iter().map(|(name, data_type)| Field::new(name, data_type, true)).collect())
}

/// The type of the column that results of type `T` become.
pub fn type_of<T: Slot>() -> DataType {
    <T::Value as Value>::Column::data_type()
}

/// Whether a value of type `T` may be one that its column can't hold.
pub const fn may_be_unfit<T: Slot>() -> bool {
    <T::Value as Value>::MAY_BE_UNFIT
}

/// Why the column of a field can't hold its value.
pub fn unfit_field<T: Slot>(field: &T, name: &str) -> Option<String> {
    unfit(field).map(|text| format!("the field `{name}`: {text}"))
}

/// A column for results of type `T`, without rows yet.
pub fn gathered<T: Slot>(rows: usize) -> Gathered<T::Value> {
    Gathered::with_capacity(rows, T::NULLABLE)
}

/// The columns of a struct's fields, in their order.
pub struct StructFields<'a, 's, 'l> {
    array: &'a StructArray,
    slots: &'s Slots<'a, 'l>,
}

impl<'a, 's, 'l> StructFields<'a, 's, 'l> {
    /// # Errors
    /// When the column is not of such structs.
    pub fn new(slots: &'s Slots<'a, 'l>, wanted: &DataType) -> Result<Self, Refusal> {
        let array = slots.downcast::<StructArray>(wanted)?;
        let names = |fields: &Fields| fields.iter().map(|field| field.name().clone()).collect::<Vec<_>>();
        let wanted_names = if let DataType::Struct(fields) = wanted { names(fields) } else { Vec::new() };
        match names(array.fields()) == wanted_names {
            true => Ok(StructFields { array, slots }),
            false => Err(Refusal::column(format!("it is {}, not {wanted}", array.data_type()))),
        }
    }

    /// The reader of a field.
    ///
    /// # Errors
    /// As [`Reader::new`], and when the field is null where the struct is not and its type does not take it.
    pub fn reader<T: Argument<'a>>(&self, place: usize, name: &str) -> Result<T::Reader, Refusal> {
        let read = || NullBuffer::union(self.array.nulls(), self.slots.read().as_ref());
        let slots = Slots::new(self.array.column(place).as_ref(), &read);
        if !T::TAKES_NULL {
            slots.refuse_nulls(&format!("the field `{name}`"))?;
        }
        T::Reader::new(&slots).map_err(|refusal| refusal.within(&format!("the field `{name}`")))
    }
}

/// A column of structs.
///
/// # Errors
/// When the columns are not as long as there are rows.
pub fn struct_array<const N: usize>(
    names: [&str; N],
    columns: Vec<ArrayRef>,
    rows: usize,
    nulls: Option<NullBuffer>,
) -> Result<ArrayRef> {
    let fields = names.into_iter().zip(&columns);
    let fields: Fields = fields.map(|(name, column)| Field::new(name, column.data_type().clone(), true)).collect();
    Ok(Arc::new(StructArray::try_new_with_length(fields, columns, nulls, rows)?))
}
