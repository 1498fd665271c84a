//! Lists: `Vec<T>`, and slices of numbers.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanBufferBuilder, ListArray, PrimitiveArray};
use arrow::buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{ArrowPrimitiveType, DataType, Field};

use crate::error::{Error, Result};

use super::argument::{Argument, Reader, Refusal, Slots};
use super::column::{Column, Gathered};
use super::number::Plain;
use super::result::{Slot, Value, unfit};

fn list_of(item: DataType) -> DataType {
    DataType::List(Arc::new(Field::new_list_field(item, true)))
}

/// The items of the lists that will be read; `None` for all.
fn read_items(list: &ListArray, slots: &Slots<'_, '_>) -> Option<NullBuffer> {
    let nulls = NullBuffer::union(list.nulls(), slots.read().as_ref());
    let offsets = list.value_offsets();
    // A slice has items of lists that are not its own.
    let are_all_its_own = offsets.first() == Some(&0) && offsets.last() == Some(&(list.values().len() as i32));
    if nulls.is_none() && are_all_its_own {
        return None;
    }
    let mut read = BooleanBufferBuilder::new(list.values().len());
    for (row, ends) in offsets.windows(2).enumerate() {
        let (start, end) = (ends[0] as usize, ends[1] as usize);
        // What lies between lists belongs to none.
        read.append_n(start - read.len().min(start), false);
        read.append_n(end - start, nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row)));
    }
    read.append_n(list.values().len() - read.len(), false);
    Some(NullBuffer::new(read.finish()))
}

/// The list array, and a look at its items by `look`.
fn open<'a, R>(
    slots: &Slots<'a, '_>,
    wanted: &DataType,
    look: impl FnOnce(&Slots<'a, '_>) -> Result<R, Refusal>,
) -> Result<(&'a [i32], R), Refusal> {
    let list = slots.downcast::<ListArray>(wanted)?;
    let offsets = list.value_offsets();
    let read = || read_items(list, slots);
    let items = Slots::new(list.values().as_ref(), &read);
    let owner = |item: usize| offsets.partition_point(|&end| end as usize <= item).saturating_sub(1);
    let reader = look(&items).map_err(|refusal| refusal.of_item(owner))?;
    Ok((offsets, reader))
}

/// A column of lists of `T`.
pub struct ListReader<'a, T: Argument<'a>> {
    offsets: &'a [i32],
    items: T::Reader,
}

impl<'a, T: Argument<'a>> Argument<'a> for Vec<T> {
    type Reader = T::List;
    type List = ListReader<'a, Self>;
}

impl<'a, T: Argument<'a>> Reader<'a, Vec<T>> for ListReader<'a, T> {
    const TAKES_ALIKE: bool = true;

    fn data_type() -> DataType {
        list_of(T::Reader::data_type())
    }

    fn new(slots: &Slots<'a, '_>) -> Result<Self, Refusal> {
        let wanted = <Self as Reader<'a, Vec<T>>>::data_type();
        let (offsets, items) = open(slots, &wanted, |items| {
            if !T::TAKES_NULL {
                items.refuse_nulls("an item of the list")?;
            }
            T::Reader::new(items)
        })?;
        Ok(ListReader { offsets, items })
    }

    fn part(&self, rows: Range<usize>) -> Self {
        let end = self.offsets.last().map_or(0, |&end| end as usize);
        ListReader { offsets: &self.offsets[rows.start..=rows.end], items: self.items.part(0..end) }
    }

    fn read(&self, row: usize) -> Vec<T> {
        (self.offsets[row]..self.offsets[row + 1]).map(|item| self.items.read(item as usize)).collect()
    }
}

/// A column of lists of numbers, read as slices of the column's own memory.
pub struct SliceReader<'a, N> {
    offsets: &'a [i32],
    items: &'a [N],
}

impl<'a, N: Plain> Reader<'a, &'a [N]> for SliceReader<'a, N> {
    const TAKES_ALIKE: bool = true;

    fn data_type() -> DataType {
        list_of(N::Arrow::DATA_TYPE)
    }

    fn new(slots: &Slots<'a, '_>) -> Result<Self, Refusal> {
        let (offsets, items) = open(slots, &Self::data_type(), |items| {
            items.refuse_nulls("an item of the list")?;
            let numbers = items.downcast::<PrimitiveArray<N::Arrow>>(&N::Arrow::DATA_TYPE)?;
            Ok(&numbers.values()[..])
        })?;
        Ok(SliceReader { offsets, items })
    }

    fn part(&self, rows: Range<usize>) -> Self {
        SliceReader { offsets: &self.offsets[rows.start..=rows.end], items: self.items }
    }

    #[inline]
    fn read(&self, row: usize) -> &'a [N] {
        &self.items[self.offsets[row] as usize..self.offsets[row + 1] as usize]
    }
}

/// A column of lists.
pub struct ListColumn<T: Slot> {
    ends: Vec<i32>,
    items: Gathered<T::Value>,
    len: usize,
}

impl<T: Slot> Column<Vec<T>> for ListColumn<T> {
    fn data_type() -> DataType {
        list_of(<T::Value as Value>::Column::data_type())
    }

    fn with_capacity(rows: usize) -> Self {
        let mut ends = Vec::with_capacity(rows + 1);
        ends.push(0);
        ListColumn { ends, items: Gathered::with_capacity(rows, T::NULLABLE), len: 0 }
    }

    /// # Panics
    /// When a batch's lists have more items together than 32 bits count, as Arrow's lists do.
    fn push(&mut self, value: Vec<T>) {
        self.len += value.len();
        self.ends.push(i32::try_from(self.len).expect("the lists of a batch have fewer items than 2^31 together"));
        value.into_iter().for_each(|item| self.items.push(item.into_value()));
    }

    fn push_nulls(&mut self, count: usize) {
        let end = self.ends.last().copied().unwrap_or(0);
        self.ends.resize(self.ends.len() + count, end);
    }

    fn finish(self, nulls: Option<NullBuffer>) -> Result<ArrayRef> {
        let items = self.items.finish(None)?;
        let field = Arc::new(Field::new_list_field(items.data_type().clone(), true));
        let ends = OffsetBuffer::new(ScalarBuffer::from(self.ends));
        Ok(Arc::new(ListArray::try_new(field, ends, items, nulls).map_err(Error::from)?))
    }
}

impl<T: Slot> Value for Vec<T> {
    type Column = T::List;
    type List = ListColumn<Self>;
    const MAY_BE_UNFIT: bool = T::Value::MAY_BE_UNFIT;

    fn unfit(&self) -> Option<String> {
        self.iter().find_map(unfit)
    }
}
