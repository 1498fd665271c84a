//! Rows picked out of a column, as often as they are wanted. Arrow's kernel does it, and what it would panic at is an error here.

use std::ops::Range;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::UInt64Type;
use arrow_array::{Array, ArrayRef, UInt64Array, UnionArray, downcast_run_array, make_array};
use arrow_buffer::ArrowNativeType;
use arrow_schema::{ArrowError, DataType, UnionMode};
use arrow_select::take::take;

use super::misfit::Misfit;
use super::{recast, until_it_fails};

/// The rows at these places, and null where there is none.
pub(super) fn gather(column: &dyn Array, places: &dyn Array) -> Result<ArrayRef, ArrowError> {
    if has_offsets(column.data_type()) {
        let places = arrow_cast::cast(places, &DataType::UInt64)?;
        let places = places.as_primitive::<UInt64Type>().iter().flatten();
        count(column, &places.map(|place| place as usize..place as usize + 1).collect::<Vec<_>>())?;
    }
    take(column, places, None)
}

/// What a dictionary or runs hold, row by row; text, bytes and lists with offsets that are wide enough.
pub(super) fn unpacked(column: &ArrayRef) -> Result<ArrayRef, Misfit> {
    let (values, places) = if let Some(dictionary) = column.as_any_dictionary_opt() {
        (dictionary.values(), dictionary.keys().slice(0, column.len()))
    } else {
        downcast_run_array! {
            column => {
                let ends = column.run_ends();
                let mut run = if column.is_empty() { 0 } else { ends.get_start_physical_index() };
                let places = (0..column.len()).map(|row| {
                    while ends.values()[run].as_usize() <= row + ends.offset() {
                        run += 1;
                    }
                    run as u64
                });
                let places: UInt64Array = places.collect();
                (column.values(), Arc::new(places) as ArrayRef)
            },
            _ => return Ok(ArrayRef::clone(column))
        }
    };
    let wide = match values.data_type() {
        DataType::Utf8 => &DataType::LargeUtf8,
        DataType::Binary => &DataType::LargeBinary,
        DataType::List(item) => &DataType::LargeList(item.clone()),
        // Of these Arrow would take one where there is no key.
        DataType::RunEndEncoded(_, values) => values.data_type(),
        values => values,
    };
    let values = recast(values, wide)?;
    until_it_fails(column.len(), |rows| gather(&values, &places.slice(0, rows)))
}

/// Items without nulls, and so that Arrow sees it: it looks at all that a dictionary or runs hold, whether a row has it or not.
pub(super) fn without_nulls(items: ArrayRef) -> Result<ArrayRef, ArrowError> {
    let place = match items.data_type() {
        DataType::Dictionary(..) => 0,
        DataType::RunEndEncoded(..) => 1,
        _ => return Ok(items),
    };
    if !items.is_nullable() {
        return Ok(items);
    }
    let data = items.to_data();
    let mut children = data.child_data().to_vec();
    let mut values = make_array(children[place].clone());
    if let Some(nulls) = values.logical_nulls()
        && let Some(valid) = nulls.valid_indices().next()
    {
        let places = (0..values.len()).map(|place| if nulls.is_valid(place) { place } else { valid } as u64);
        values = gather(&values, &UInt64Array::from_iter_values(places))?;
    }
    children[place] = without_nulls(values)?.to_data();
    data.into_builder().nulls(None).child_data(children).build().map(make_array)
}

/// Whether there are offsets in it that could overflow with a panic.
fn has_offsets(data_type: &DataType) -> bool {
    use DataType::{FixedSizeList, List, Map, RunEndEncoded, Struct, Union};
    match data_type {
        List(_) | Map(..) | FixedSizeList(..) => true,
        Struct(fields) => fields.iter().any(|field| has_offsets(field.data_type())),
        Union(fields, _) => fields.iter().any(|(_, field)| has_offsets(field.data_type())),
        RunEndEncoded(_, values) => has_offsets(values.data_type()),
        _ => false,
    }
}

/// Whether the items of these rows can be counted, wherever Arrow relies on it.
fn count(column: &dyn Array, rows: &[Range<usize>]) -> Result<(), ArrowError> {
    use DataType::{FixedSizeList, List, Map, RunEndEncoded, Struct, Union};
    let places = || rows.iter().cloned().flatten();
    let listed = |offsets: &[i32]| {
        let mut valid = places().filter(|&place| column.is_valid(place));
        let items = valid.try_fold(0_i32, |sum, place| sum.checked_add(offsets[place + 1] - offsets[place]));
        items.map(|_| ()).ok_or_else(too_many)
    };
    match column.data_type() {
        List(_) => listed(column.as_list::<i32>().value_offsets()),
        Map(..) => listed(column.as_map().value_offsets()),
        FixedSizeList(_, length) => {
            let (items, length) = (column.as_fixed_size_list().values(), length.as_usize());
            // It would go round without a word.
            i32::try_from(items.len()).map_err(|_| too_many())?;
            let rows: Vec<_> = rows.iter().map(|range| range.start * length..range.end * length).collect();
            count(items, &rows)
        }
        Struct(_) => column.as_struct().columns().iter().try_for_each(|field| count(field, rows)),
        Union(fields, mode) => {
            let Some(union) = column.as_any().downcast_ref::<UnionArray>() else { return Ok(()) };
            fields.iter().try_for_each(|(id, _)| match mode {
                UnionMode::Sparse => count(union.child(id), rows),
                UnionMode::Dense => {
                    let here = places().filter(|&place| union.type_id(place) == id);
                    let here = here.map(|place| union.value_offset(place)).map(|place| place..place + 1);
                    count(union.child(id), &here.collect::<Vec<_>>())
                }
            })
        }
        RunEndEncoded(..) => downcast_run_array! {
            column => {
                let mut runs: Vec<_> = places().map(|place| column.get_physical_index(place)).collect();
                runs.dedup();
                count(column.values(), &runs.into_iter().map(|run| run..run + 1).collect::<Vec<_>>())
            },
            _ => Ok(())
        },
        _ => Ok(()),
    }
}

fn too_many() -> ArrowError {
    ArrowError::InvalidArgumentError("all lists up to this one have more items than 32 bits can count".into())
}
