//! Arguments that callers may leave out, and one that takes many columns: what they send, as the columns that the function
//! reads.

use std::sync::Arc;

use anyudf_arrow::catalog::{DEFAULT, VARIADIC};
use arrow::array::{Array, ArrayRef, ListArray, new_empty_array};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::{cast, interleave};
use arrow::datatypes::{DataType, Field};

use crate::error::{Error, Result};

use super::argument::{Argument, field};
use super::column::Gathered;
use super::result::Slot;

/// A column of a default, as long as a batch.
type Constant = Arc<dyn Fn(usize) -> Result<ArrayRef> + Send + Sync>;

/// How the columns that are sent become those that are read.
#[derive(Clone, Default)]
pub(super) struct Spread {
    /// The defaults of the last arguments, in order.
    defaults: Vec<Constant>,
    variadic: Option<Variadic>,
}

/// What the last argument's many columns are.
#[derive(Clone)]
struct Variadic {
    item: DataType,
    /// Whether null is an item; otherwise a row with one is null.
    nulls: ItemNulls,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum ItemNulls {
    AreItems,
    MakeTheRowNull,
}

impl Spread {
    /// The next of the last arguments has a default; `argument` is its field, in which `json` says the same.
    pub(super) fn with_default<T>(&mut self, argument: &mut Field, value: T, json: &str)
    where
        T: Slot + Clone + Send + Sync + 'static,
    {
        set(argument, DEFAULT, json);
        self.defaults.push(Arc::new(move |rows| {
            let mut column = Gathered::<T::Value>::with_capacity(rows, true);
            (0..rows).for_each(|_| column.push(value.clone().into_value()));
            column.finish(None)
        }));
    }

    /// The last argument, whose field is `argument`, takes any number of columns of `T`s as a list.
    pub(super) fn with_variadic<'a, T: Argument<'a>>(&mut self, argument: &mut Field) {
        *argument = field::<T>(argument.name());
        set(argument, VARIADIC, "true");
        let nulls = if T::TAKES_NULL { ItemNulls::AreItems } else { ItemNulls::MakeTheRowNull };
        self.variadic = Some(Variadic { item: argument.data_type().clone(), nulls });
    }

    /// The columns of a batch as the function reads them, one for each of its `arguments`; `None` when they are already.
    ///
    /// # Errors
    /// When the columns of the variadic argument can't become one.
    pub(super) fn columns(&self, columns: &[ArrayRef], rows: usize, arguments: usize) -> Result<Option<Vec<ArrayRef>>> {
        let single = arguments - usize::from(self.variadic.is_some());
        if columns.len() == arguments && self.variadic.is_none() {
            return Ok(None);
        }
        let given = columns.len().min(single);
        let mut read = columns[..given].to_vec();
        // Too few to fill up with defaults were refused when the execution was opened.
        for constant in self.defaults.iter().skip((given + self.defaults.len()).saturating_sub(single)) {
            read.push(constant(rows)?);
        }
        if let Some(variadic) = &self.variadic {
            read.push(variadic.list(&columns[given..], rows)?);
        }
        Ok(Some(read))
    }
}

impl Variadic {
    /// A list for each row, with an item from each column.
    fn list(&self, columns: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
        let item = match columns.first() {
            // As alike as they are, they need not be the same.
            Some(first) if columns.iter().all(|column| column.data_type() == first.data_type()) => first.data_type(),
            _ => &self.item,
        };
        let columns = columns.iter().map(|column| cast(column, item)).collect::<Result<Vec<_>, _>>()?;
        if columns.len().checked_mul(rows).is_none_or(|items| i32::try_from(items).is_err()) {
            let text = format!("{} columns of {rows} rows are more items than lists hold", columns.len());
            return Err(Error::user(text).with_class("TOO_MANY_ITEMS"));
        }
        let arrays: Vec<&dyn Array> = columns.iter().map(AsRef::as_ref).collect();
        let places: Vec<_> = (0..rows).flat_map(|row| (0..columns.len()).map(move |column| (column, row))).collect();
        let items = if columns.is_empty() { new_empty_array(item) } else { interleave(&arrays, &places)? };
        let nulls: Vec<_> = match self.nulls {
            ItemNulls::AreItems => Vec::new(),
            ItemNulls::MakeTheRowNull => columns.iter().map(|column| column.logical_nulls()).collect(),
        };
        let nulls = NullBuffer::union_many(nulls.iter().map(Option::as_ref));
        let lengths = OffsetBuffer::from_lengths(std::iter::repeat_n(columns.len(), rows));
        let list = ListArray::try_new(Arc::new(Field::new_list_field(item.clone(), true)), lengths, items, nulls);
        Ok(Arc::new(list?))
    }
}

/// Adds to a field's metadata.
fn set(field: &mut Field, key: &str, value: &str) {
    let mut metadata = field.metadata().clone();
    metadata.insert(key.into(), value.into());
    field.set_metadata(metadata);
}

impl std::fmt::Debug for Spread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let item = self.variadic.as_ref().map(|variadic| &variadic.item);
        f.debug_struct("Spread").field("defaults", &self.defaults.len()).field("variadic", &item).finish()
    }
}
