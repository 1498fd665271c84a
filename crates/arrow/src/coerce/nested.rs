//! Lists, maps and structs: what is within is coerced, and what does not fit there is found by its row out here.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{
    Array, ArrayRef, BooleanArray, FixedSizeListArray, GenericListArray, GenericListViewArray, MapArray,
    OffsetSizeTrait, StructArray, UInt64Array, new_empty_array, new_null_array,
};
use arrow_buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::{DataType, Field, FieldRef, Fields};
use arrow_select::nullif::nullif;

use super::gather::{gather, unpacked, without_nulls};
use super::misfit::Misfit;
use super::{recast, until_it_fails};

/// The fields that are wanted, by their names.
pub(super) fn structs(column: &StructArray, to: &Fields) -> Result<ArrayRef, Misfit> {
    let nulls = column.nulls().filter(|nulls| nulls.null_count() > 0);
    let (mut fields, mut first) = (Vec::with_capacity(to.len()), None);
    for field in to {
        let Some(given) = column.column_by_name(field.name()) else {
            return Err(Misfit::new(0, format_args!("there is no field `{}`", field.name())));
        };
        match part(given, field, nulls) {
            Ok(field) => fields.push(field),
            Err(misfit) => first = Misfit::first(first, Some(misfit.in_field(field.name()))),
        }
    }
    match first {
        Some(misfit) => Err(misfit),
        None => made(StructArray::try_new_with_length(to.clone(), fields, nulls.cloned(), column.len())),
    }
}

/// What is within, in the type of its field: as far as it is not null out here, where it does not count.
fn part(given: &ArrayRef, field: &Field, nulls: Option<&NullBuffer>) -> Result<ArrayRef, Misfit> {
    let null = if field.is_nullable() { None } else { null(given, nulls) };
    let coerced = match nulls {
        // There it may hold anything, such as numbers that do not fit.
        Some(nulls) if given.data_type() != field.data_type() => masked(given, nulls),
        _ => Ok(ArrayRef::clone(given)),
    }
    .and_then(|given| recast(&given, field.data_type()));
    match null {
        Some(null) => Err(Misfit::first(coerced.err(), Some(null.clone())).unwrap_or(null)),
        None => coerced,
    }
}

/// The first null that is not in a row that is null as a whole.
pub(super) fn null(column: &ArrayRef, nulls: Option<&NullBuffer>) -> Option<Misfit> {
    let within = column.logical_nulls().filter(|within| within.null_count() > 0)?;
    let counts = |&row: &usize| within.is_null(row) && nulls.is_none_or(|nulls| nulls.is_valid(row));
    (0..column.len()).find(counts).map(|row| Misfit::new(row, "it is null, and nothing there may be"))
}

/// A column that is null in these rows, too.
fn masked(column: &ArrayRef, nulls: &NullBuffer) -> Result<ArrayRef, Misfit> {
    let plain = match column.data_type() {
        // Runs have no nulls of their own.
        DataType::RunEndEncoded(..) => unpacked(column)?,
        _ => ArrayRef::clone(column),
    };
    nullif(&plain, &BooleanArray::new(!nulls.inner(), None)).map_err(|error| Misfit::new(0, error))
}

/// Lists or maps, in the layout that is wanted.
pub(super) fn lists(column: &ArrayRef, to: &DataType) -> Result<ArrayRef, Misfit> {
    use DataType::{FixedSizeList, LargeList, LargeListView, List, ListView, Map};
    let lists = Lists::of(column)?;
    match to {
        List(item) => lists.offsets::<i32>(item),
        LargeList(item) => lists.offsets::<i64>(item),
        ListView(item) => lists.views::<i32>(item),
        LargeListView(item) => lists.views::<i64>(item),
        FixedSizeList(item, length) => lists.of_one_length(item, *length),
        Map(entries, sorted) => lists.map(entries, *sorted),
        _ => Err(Misfit::new(0, format_args!("a list becomes no {to} by itself"))),
    }
}

/// Lists without a layout, null ones empty.
struct Lists {
    /// Where the items of each are.
    ranges: Vec<Range<usize>>,
    items: ArrayRef,
    /// Where each begins, and behind the last one where it ends, once the items are one behind the other.
    starts: Vec<usize>,
    nulls: Option<NullBuffer>,
}

impl Lists {
    fn of(column: &ArrayRef) -> Result<Self, Misfit> {
        let nulls = column.nulls().filter(|nulls| nulls.null_count() > 0).cloned();
        let (ranges, items) = ranges(column);
        let is_valid = |row: usize| nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row));
        let ranges: Vec<_> =
            ranges.into_iter().enumerate().map(|(row, range)| if is_valid(row) { range } else { 0..0 }).collect();
        let mut starts = Vec::with_capacity(ranges.len() + 1);
        let mut end = 0_usize;
        starts.push(0);
        for (row, range) in ranges.iter().enumerate() {
            end = end.checked_add(range.len()).ok_or_else(|| Misfit::new(row, too_many(64)))?;
            starts.push(end);
        }
        Ok(Lists { ranges, items, starts, nulls })
    }

    /// The items, one behind the other.
    fn in_a_row(&self) -> Result<ArrayRef, Misfit> {
        if let Some(all) = in_a_row(&self.ranges) {
            return Ok(self.items.slice(all.start, all.len()));
        }
        let (mut places, count) = (Vec::new(), self.starts[self.rows()]);
        // Lists that share their items may have any number of them.
        let memory = places.try_reserve_exact(count);
        memory.map_err(|_| Misfit::new(0, format_args!("there is no memory for the {count} items of all lists")))?;
        places.extend(self.ranges.iter().flat_map(|range| range.clone().map(|place| place as u64)));
        let places = UInt64Array::from(places);
        until_it_fails(self.rows(), |rows| gather(&self.items, &places.slice(0, self.starts[rows])))
    }

    /// The items in the type of their field, if what must hold for the lists does; or what does not fit in the first row.
    fn items_if<T>(&self, lists: Result<T, Misfit>, field: &Field) -> Result<(T, ArrayRef), Misfit> {
        match lists {
            Err(misfit) if in_a_row(&self.ranges).is_none() => Err(self.before(misfit, field)),
            lists => both(lists, self.items(field)),
        }
    }

    /// An item of an earlier row that does not fit either; found without gathering them all, which may be too many.
    fn before(&self, misfit: Misfit, field: &Field) -> Misfit {
        let mut seen = HashSet::new();
        let fresh = self.ranges[..misfit.row()].iter().enumerate().filter(|(_, range)| seen.insert((*range).clone()));
        let mut items = fresh.map(|(row, range)| {
            let items = self.items.slice(range.start, range.len());
            part(&items, field, None).err().map(|misfit| misfit.clone().in_item(row, misfit.row()))
        });
        items.find_map(|misfit| misfit).unwrap_or(misfit)
    }

    fn rows(&self) -> usize {
        self.starts.len() - 1
    }

    /// What is wrong with an item, as something that is wrong with its row.
    fn at(&self, misfit: Misfit) -> Misfit {
        let item = misfit.row();
        let row = self.starts.partition_point(|&start| start <= item) - 1;
        misfit.in_item(row, item - self.starts[row])
    }

    fn items(&self, field: &Field) -> Result<ArrayRef, Misfit> {
        let items = part(&self.in_a_row()?, field, None).map_err(|misfit| self.at(misfit))?;
        if field.is_nullable() { Ok(items) } else { without_nulls(items).map_err(|error| Misfit::new(0, error)) }
    }

    /// `starts` as a layout has them.
    fn starts<O: OffsetSizeTrait>(&self) -> Result<Vec<O>, Misfit> {
        let start = |(place, &start): (usize, &usize)| {
            O::from_usize(start).ok_or_else(|| Misfit::new(place.saturating_sub(1), too_many(8 * size_of::<O>())))
        };
        self.starts.iter().enumerate().map(start).collect()
    }

    fn offsets<O: OffsetSizeTrait>(self, field: &FieldRef) -> Result<ArrayRef, Misfit> {
        let (starts, items) = self.items_if(self.starts(), field)?;
        let offsets = OffsetBuffer::new(ScalarBuffer::<O>::from(starts));
        made(GenericListArray::try_new(Arc::clone(field), offsets, items, self.nulls))
    }

    fn views<O: OffsetSizeTrait>(self, field: &FieldRef) -> Result<ArrayRef, Misfit> {
        let (starts, items) = self.items_if(self.starts::<O>(), field)?;
        let sizes = starts.windows(2).map(|pair| pair[1] - pair[0]).collect::<Vec<_>>();
        let starts = starts[..self.rows()].to_vec();
        made(GenericListViewArray::try_new(Arc::clone(field), starts.into(), sizes.into(), items, self.nulls))
    }

    fn of_one_length(self, field: &FieldRef, length: i32) -> Result<ArrayRef, Misfit> {
        let wanted = usize::try_from(length).unwrap_or(0);
        let is_null = |row: usize| self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row));
        let mut lengths = self.starts.windows(2).map(|pair| pair[1] - pair[0]).enumerate();
        let other = lengths.find(|&(row, items)| items != wanted && !is_null(row));
        let fits = match other {
            Some((row, items)) => Err(Misfit::new(row, format_args!("its length is {items}, and not {wanted}"))),
            None => Ok(()),
        };
        let ((), items) = self.items_if(fits, field)?;
        let items = match &self.nulls {
            None => items,
            // They take their place, too.
            Some(_) if items.is_empty() => new_null_array(items.data_type(), self.rows() * wanted),
            Some(_) => {
                let places = (0..self.rows()).flat_map(|row| {
                    let start = if is_null(row) { None } else { Some(self.starts[row]) };
                    (0..wanted).map(move |item| start.map(|start| (start + item) as u64))
                });
                let places: UInt64Array = places.collect();
                until_it_fails(self.rows(), |rows| gather(&items, &places.slice(0, rows * wanted)))?
            }
        };
        let rows = self.rows();
        made(FixedSizeListArray::try_new_with_length(Arc::clone(field), length, items, self.nulls, rows))
    }

    fn map(self, field: &FieldRef, sorted: bool) -> Result<ArrayRef, Misfit> {
        let DataType::Struct(wanted) = field.data_type() else {
            return Err(Misfit::new(0, "the entries of a map are structs"));
        };
        // By place, since their names mean nothing.
        let entries = self.in_a_row()?;
        let entries = entries.as_struct();
        let parts =
            entries.columns().iter().zip(wanted).map(|(given, field)| {
                part(given, field, None).map_err(|misfit| self.at(misfit.in_field(field.name())))
            });
        let (mut columns, mut first) = (Vec::new(), None);
        for part in parts {
            match part {
                Ok(column) => columns.push(column),
                Err(misfit) => first = Misfit::first(first, Some(misfit)),
            }
        }
        let (starts, ()) = both(self.starts::<i32>(), first.map_or(Ok(()), Err))?;
        let entries = StructArray::try_new_with_length(wanted.clone(), columns, None, entries.len());
        let entries = entries.map_err(|error| Misfit::new(0, error))?;
        let offsets = OffsetBuffer::new(ScalarBuffer::from(starts));
        made(MapArray::try_new(Arc::clone(field), offsets, entries, self.nulls, sorted))
    }
}

/// Where the items of each row are, and the items; in a row that is null there may be any.
fn ranges(column: &ArrayRef) -> (Vec<Range<usize>>, ArrayRef) {
    fn between<O: OffsetSizeTrait>(offsets: &[O]) -> Vec<Range<usize>> {
        offsets.windows(2).map(|pair| pair[0].as_usize()..pair[1].as_usize()).collect()
    }
    fn listed<O: OffsetSizeTrait>(column: &ArrayRef) -> (Vec<Range<usize>>, ArrayRef) {
        let lists = column.as_list::<O>();
        (between(lists.value_offsets()), ArrayRef::clone(lists.values()))
    }
    fn viewed<O: OffsetSizeTrait>(column: &ArrayRef) -> (Vec<Range<usize>>, ArrayRef) {
        let lists = column.as_list_view::<O>();
        // Those of a null may be anything.
        let range = |(start, size): (&O, &O)| start.as_usize()..start.as_usize().wrapping_add(size.as_usize());
        (lists.offsets().iter().zip(lists.sizes()).map(range).collect(), ArrayRef::clone(lists.values()))
    }
    match column.data_type() {
        DataType::List(_) => listed::<i32>(column),
        DataType::LargeList(_) => listed::<i64>(column),
        DataType::ListView(_) => viewed::<i32>(column),
        DataType::LargeListView(_) => viewed::<i64>(column),
        DataType::FixedSizeList(..) => {
            let lists = column.as_fixed_size_list();
            let length = lists.value_length() as usize;
            ((0..lists.len()).map(|row| row * length..(row + 1) * length).collect(), ArrayRef::clone(lists.values()))
        }
        DataType::Map(..) => {
            let maps = column.as_map();
            (between(maps.value_offsets()), Arc::new(maps.entries().clone()))
        }
        other => (vec![0..0; column.len()], new_empty_array(other)),
    }
}

/// Where all items are, if those of each row lie behind those of the row before.
fn in_a_row(ranges: &[Range<usize>]) -> Option<Range<usize>> {
    let mut occupied = ranges.iter().filter(|range| !range.is_empty());
    let Some(first) = occupied.next() else { return Some(0..0) };
    let end = occupied.try_fold(first.end, |end, range| (range.start == end).then_some(range.end))?;
    Some(first.start..end)
}

/// Both, or what does not fit in the first row of either.
fn both<T, U>(one: Result<T, Misfit>, other: Result<U, Misfit>) -> Result<(T, U), Misfit> {
    match (one, other) {
        (Ok(one), Ok(other)) => Ok((one, other)),
        (Err(misfit), Ok(_)) | (Ok(_), Err(misfit)) => Err(misfit),
        (Err(one), Err(other)) => Err(if other.row() < one.row() { other } else { one }),
    }
}

fn too_many(bits: usize) -> String {
    format!("all lists up to this one have more items than {bits} bits can count")
}

fn made<T: Array + 'static>(array: Result<T, arrow_schema::ArrowError>) -> Result<ArrayRef, Misfit> {
    array.map(|array| Arc::new(array) as ArrayRef).map_err(|error| Misfit::new(0, error))
}
