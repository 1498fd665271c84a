//! Which types become which without being asked to, as in SQL: numbers widen, representations of the same thing give
//! way; no value becomes another one, and text never becomes a number.
//!
//! This is for hosts that call functions with columns as they come; a worker takes what its catalogue says.
//!
//! | | |
//! |---|---|
//! | numbers | whole ones, decimals, floating ones, from left to right; within each, from small to large |
//! | text, bytes | in whatever layout; bytes of one length where each value has it |
//! | times | in whatever unit, where each value is whole in it; timestamps with a zone become such with another one, the same instants; dates timestamps without a zone, at midnight |
//! | lists | in whatever layout, of items that become those of the other; lists of one length where each has it |
//! | structs | of the same names, in whatever order, of fields that become those of the other |
//! | maps | of keys and values that become those of the other |
//! | dictionaries, runs | what they hold, and the other way round |
//!
//! A struct's field that the other lacks is not dropped, and none is made up. What can't be told by the types is checked
//! value by value: whether a value is in range, whole, not null where none may be, as long as it has to be. Only a floating
//! number may have fewer digits than the whole one or the decimal that it was.
//!
//! ```
//! use anyudf_arrow::coerce::is_implicit;
//! use arrow_schema::DataType;
//!
//! assert!(is_implicit(&DataType::Int32, &DataType::Float64));
//! assert!(is_implicit(&DataType::Utf8View, &DataType::Utf8));
//! assert!(!is_implicit(&DataType::Utf8, &DataType::Float64));
//! ```

mod gather;
mod misfit;
mod nested;
mod policy;
mod value;

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, DictionaryArray, downcast_integer_array, make_array, new_null_array};
use arrow_cast::{CastOptions, cast_with_options};
use arrow_schema::{ArrowError, DataType};

use gather::{gather, unpacked};

pub use misfit::Misfit;
pub use policy::Policy;

/// Whether a column of one type is taken where the other is wanted, by [`Policy::Widening`].
pub fn is_implicit(from: &DataType, to: &DataType) -> bool {
    Policy::Widening.allows(from, to)
}

/// A column in the type that is wanted: of equal values, and nulls where they were.
///
/// # Errors
/// The first row whose value does not fit, and why; row 0, if no [`Policy`] allows it.
///
/// # Example
/// ```
/// use std::sync::Arc;
/// use anyudf_arrow::coerce::coerce;
/// use arrow_array::{ArrayRef, TimestampNanosecondArray};
/// use arrow_schema::{DataType, TimeUnit};
///
/// let nanoseconds: ArrayRef = Arc::new(TimestampNanosecondArray::from(vec![1_000, 1_001]));
/// let misfit = coerce(&nanoseconds, &DataType::Timestamp(TimeUnit::Microsecond, None)).unwrap_err();
/// assert_eq!(misfit.row(), 1);
/// assert_eq!(misfit.to_string(), "1970-01-01T00:00:00.000001001 is no whole number of microseconds");
/// ```
pub fn coerce(column: &ArrayRef, to: &DataType) -> Result<ArrayRef, Misfit> {
    match Policy::Fitting.allows(column.data_type(), to) {
        true => recast(column, to),
        false => Err(Misfit::new(0, format_args!("{} does not become {to} by itself", column.data_type()))),
    }
}

fn recast(column: &ArrayRef, to: &DataType) -> Result<ArrayRef, Misfit> {
    use DataType::{Dictionary, Map, Null, RunEndEncoded, Struct};
    let from = column.data_type();
    match (from, to) {
        _ if from == to => Ok(ArrayRef::clone(column)),
        (Dictionary(..), Dictionary(keys, values)) => match rekeyed(column, keys, values, to) {
            Some(column) => Ok(column),
            // It is packed again: what does not fit may be a value that no row has, or the key of one.
            None => recast(&unpacked(column)?, to),
        },
        (Dictionary(..), RunEndEncoded(..)) => recast(&unpacked(column)?, to),
        (Dictionary(..), _) => dictionary(column, to),
        (RunEndEncoded(..), _) => recast(&unpacked(column)?, to),
        (_, Dictionary(_, values)) => packed(column, values, to),
        (_, RunEndEncoded(_, values)) => {
            if !values.is_nullable()
                && let Some(misfit) = nested::null(column, None)
            {
                return Err(misfit);
            }
            packed(column, values.data_type(), to)
        }
        (Null, _) => Ok(new_null_array(to, column.len())),
        (Struct(_), Struct(fields)) => nested::structs(column.as_struct(), fields),
        (Map(..), Map(..)) => nested::lists(column, to),
        _ if policy::item(from).is_some() && policy::item(to).is_some() => nested::lists(column, to),
        _ => value::recast(column, to),
    }
}

/// What a dictionary holds, in another type.
fn dictionary(column: &ArrayRef, to: &DataType) -> Result<ArrayRef, Misfit> {
    let dictionary = column.as_any_dictionary();
    // However often it is used a value is cast once.
    if let Ok(coerced) = recast(dictionary.values(), to)
        && let Ok(column) = gather(&coerced, dictionary.keys())
    {
        return Ok(column);
    }
    // What does not fit may be a value that no row has.
    recast(&unpacked(column)?, to)
}

/// The same dictionary with other keys and values; `None` unless all of both fit.
fn rekeyed(column: &ArrayRef, keys: &DataType, values: &DataType, to: &DataType) -> Option<ArrayRef> {
    let dictionary = column.as_any_dictionary();
    let values = recast(dictionary.values(), values).ok()?;
    let keys = &strict(dictionary.keys(), keys).ok()?;
    let rekeyed = downcast_integer_array! {
        keys => DictionaryArray::try_new(keys.clone(), values).ok().map(|column| Arc::new(column) as ArrayRef),
        _ => None
    };
    rekeyed.filter(|column| column.data_type() == to)
}

/// A column as a dictionary or in runs.
fn packed(column: &ArrayRef, values: &DataType, to: &DataType) -> Result<ArrayRef, Misfit> {
    let plain = recast(column, values)?;
    let packed = until_it_fails(plain.len(), |rows| strict(&plain.slice(0, rows), to))?;
    if packed.data_type() == to {
        return Ok(packed);
    }
    // What is within has other names.
    let data = packed.to_data().into_builder().data_type(to.clone()).build();
    data.map(make_array).map_err(|error| Misfit::new(0, error))
}

/// What Arrow makes of so many rows, or the row up to which it can.
fn until_it_fails(rows: usize, make: impl Fn(usize) -> Result<ArrayRef, ArrowError>) -> Result<ArrayRef, Misfit> {
    make(rows).map_err(|error| {
        let (mut fits, mut fails) = (0, rows);
        while fits + 1 < fails {
            let rows = fits.midpoint(fails);
            match make(rows) {
                Ok(_) => fits = rows,
                Err(_) => fails = rows,
            }
        }
        Misfit::new(fits, error)
    })
}

/// A cast that loses nothing, or that turns into null what it would lose.
fn cast(column: &dyn Array, to: &DataType) -> Result<ArrayRef, Misfit> {
    cast_with_options(column, to, &CastOptions::default()).map_err(|error| Misfit::new(0, error))
}

fn strict(column: &dyn Array, to: &DataType) -> Result<ArrayRef, ArrowError> {
    cast_with_options(column, to, &CastOptions { safe: false, ..CastOptions::default() })
}

#[cfg(test)]
mod tests {
    use arrow_array::types::{Float16Type, Float64Type, Int8Type, Int32Type, Int64Type};
    use arrow_array::{
        BinaryArray, Decimal128Array, DictionaryArray, Float64Array, Int8Array, Int32Array, Int64Array, LargeListArray,
        LargeListViewArray, ListArray, NullArray, RunArray, StringArray, StringViewArray, StructArray, UInt64Array,
    };
    use arrow_buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
    use arrow_schema::{Field, FieldRef, Fields, TimeUnit};

    use super::*;

    fn array(array: impl Array + 'static) -> ArrayRef {
        Arc::new(array)
    }

    fn refused(column: &ArrayRef, to: &DataType, row: usize, why: &str) {
        let misfit = coerce(column, to).expect_err("it does not fit");
        assert_eq!((misfit.row(), misfit.to_string().as_str()), (row, why));
    }

    #[test]
    fn values_are_kept_and_nulls_too() {
        let column = array(Int8Array::from(vec![Some(-3), None, Some(7)]));
        let floats = coerce(&column, &DataType::Float64).expect("it widens");
        assert_eq!(floats.as_primitive::<Float64Type>().iter().collect::<Vec<_>>(), [Some(-3.0), None, Some(7.0)]);
        let decimals = Decimal128Array::from(vec![Some(1_050)]).with_precision_and_scale(10, 2).expect("a decimal");
        let floats = coerce(&array(decimals), &DataType::Float64).expect("it widens");
        assert_eq!(floats.as_primitive::<Float64Type>().value(0), 10.5);
    }

    #[test]
    fn what_overflows_is_found_by_its_row() {
        let column = array(UInt64Array::from(vec![Some(1), None, Some(u64::MAX), Some(u64::MAX)]));
        refused(&column, &DataType::Int64, 2, "18446744073709551615 is out of range");
        let fits = coerce(&column.slice(0, 2), &DataType::Int64).expect("it fits");
        assert_eq!(fits.as_primitive::<Int64Type>().value(0), 1);
        // Arrow's own cast makes 5 of it.
        refused(
            &array(Int64Array::from(vec![(1 << 32) + 5])),
            &DataType::Decimal32(9, 0),
            0,
            "4294967301 has too many digits",
        );
        // And infinity of this.
        refused(&array(Int32Array::from(vec![1, 70_000])), &DataType::Float16, 1, "70000 is out of range");
        let rounded = coerce(&array(Int32Array::from(vec![2_049])), &DataType::Float16).expect("digits may be lost");
        assert_eq!(rounded.as_primitive::<Float16Type>().value(0).to_f32(), 2_048.0);
    }

    #[test]
    fn decimals_lose_no_digit() {
        let decimals =
            |values: Vec<i128>| array(Decimal128Array::from(values).with_precision_and_scale(20, 4).expect("decimals"));
        let narrow = DataType::Decimal64(6, 2);
        assert!(coerce(&decimals(vec![12_300, -500]), &narrow).is_ok());
        refused(&decimals(vec![12_300, 12_345]), &narrow, 1, "1.2345 has too many digits");
        refused(&decimals(vec![99_999_900, 100_000_000]), &narrow, 1, "10000.0000 has too many digits");
        refused(
            &array(Int64Array::from(vec![2_000, 2_500])),
            &DataType::Decimal128(9, -3),
            1,
            "2500 has too many digits",
        );
    }

    #[test]
    fn what_is_within_is_found_by_its_row_and_place() {
        let home = |lat: Vec<Option<i64>>, live: Vec<bool>| {
            let fields = Fields::from(vec![Field::new("lat", DataType::Int64, true)]);
            array(StructArray::new(fields, vec![array(Int64Array::from(lat))], Some(NullBuffer::from(live))))
        };
        let field = |of: DataType, nullable| FieldRef::new(Field::new("lat", of, nullable));
        let wanted = |nullable| DataType::Struct(vec![field(DataType::Int8, nullable)].into());
        let homes = home(vec![Some(1), Some(1_000), Some(2_000)], vec![true, false, true]);
        refused(&homes, &wanted(true), 2, "`lat`: 2000 is out of range");
        assert!(coerce(&homes.slice(0, 2), &wanted(true)).is_ok(), "what is in a row that is null is no value");
        let homes = home(vec![Some(1), None, None], vec![true, false, true]);
        refused(&homes, &wanted(false), 2, "`lat`: it is null, and nothing there may be");

        let lists = LargeListArray::new(
            FieldRef::new(Field::new("item", home(vec![], vec![]).data_type().clone(), true)),
            OffsetBuffer::from_lengths([1, 0, 2]),
            home(vec![Some(1), Some(2), Some(3_000)], vec![true; 3]),
            None,
        );
        let to = |of| DataType::List(FieldRef::new(Field::new("element", of, true)));
        refused(&array(lists.clone()), &to(wanted(true)), 2, "`[1].lat`: 3000 is out of range");
        refused(&array(lists.slice(1, 2)), &to(wanted(true)), 1, "`[1].lat`: 3000 is out of range");
        assert!(coerce(&array(lists.slice(0, 2)), &to(wanted(true))).is_ok(), "what is in no row is no value");
    }

    #[test]
    fn fields_are_found_by_their_names() {
        let fields = |names: [&str; 2], of: [DataType; 2]| -> Fields {
            names.into_iter().zip(of).map(|(name, of)| Field::new(name, of, true)).collect()
        };
        let text = array(StringViewArray::from(vec!["somewhere"]));
        let given = fields(["name", "lat"], [DataType::Utf8View, DataType::Int32]);
        let column = array(StructArray::new(given, vec![text, array(Int32Array::from(vec![4]))], None));
        let wanted = DataType::Struct(fields(["lat", "name"], [DataType::Float64, DataType::Utf8]));
        let coerced = coerce(&column, &wanted).expect("it fits");
        assert_eq!(coerced.as_struct().column(0).as_ref(), &Float64Array::from(vec![4.0]));
        assert_eq!(coerced.as_struct().column(1).as_ref(), &StringArray::from(vec!["somewhere"]));
        let none = array(StructArray::new_empty_fields(2, None));
        assert_eq!(coerce(&none, none.data_type()).expect("itself").len(), 2);
    }

    #[test]
    fn lists_of_one_length_are_checked() {
        let lists = array(ListArray::from_iter_primitive::<Int64Type, _, _>([
            Some(vec![Some(1), Some(2)]),
            None,
            Some(vec![Some(3)]),
        ]));
        let pairs = |nullable| DataType::FixedSizeList(FieldRef::new(Field::new("item", DataType::Int64, nullable)), 2);
        refused(&lists, &pairs(true), 2, "its length is 1, and not 2");
        let fits = coerce(&lists.slice(0, 2), &pairs(false)).expect("it fits");
        assert_eq!((fits.len(), fits.is_null(1)), (2, true));
        refused(
            &array(BinaryArray::from(vec!["ab".as_bytes(), b"abc"])),
            &DataType::FixedSizeBinary(2),
            1,
            "its length is 3, and not 2",
        );
    }

    /// Of nothing at all, so that they take no memory.
    #[test]
    fn more_items_than_32_bits_count_are_found_by_their_row() {
        let field = FieldRef::new(Field::new("item", DataType::Null, true));
        let (half, all) = (i64::from(i32::MAX), i64::from(i32::MAX) + 5);
        let offsets = OffsetBuffer::new(ScalarBuffer::from(vec![0, 7, half, half, all]));
        let lists = array(LargeListArray::new(Arc::clone(&field), offsets, array(NullArray::new(all as usize)), None));
        let why = "all lists up to this one have more items than 32 bits can count";
        refused(&lists, &DataType::List(Arc::clone(&field)), 3, why);
        refused(&lists, &DataType::ListView(Arc::clone(&field)), 3, why);
        assert!(coerce(&lists.slice(1, 3), &DataType::List(field)).is_ok());
    }

    /// Of one text many times, so that it takes little memory.
    #[test]
    fn more_text_than_32_bits_count_is_found_by_its_row() {
        let mut texts = arrow_array::builder::StringViewBuilder::new();
        let block = texts.append_block(vec![b'a'; 1 << 20].into());
        for _ in 0..2_050 {
            texts.try_append_view(block, 0, 1 << 20).expect("it is in the block");
        }
        let views = array(texts.finish());
        let why = "all values up to this one are larger than 2 GiB together";
        refused(&views, &DataType::Utf8, 2_047, why);
        let keys = Int32Array::from(vec![0; 2_050]);
        let dictionary = DictionaryArray::new(keys, array(StringArray::from(vec!["a".repeat(1 << 20)])));
        assert!(coerce(&array(dictionary), &DataType::Utf8View).is_ok());
    }

    #[test]
    fn dictionaries_are_judged_by_what_rows_have() {
        let dictionary = DictionaryArray::<Int8Type>::new(
            Int8Array::from(vec![Some(0), None, Some(2)]),
            array(UInt64Array::from(vec![1, u64::MAX, 3])),
        );
        let numbers = coerce(&array(dictionary.clone()), &DataType::Int64).expect("no row has what does not fit");
        assert_eq!(numbers.as_primitive::<Int64Type>().iter().collect::<Vec<_>>(), [Some(1), None, Some(3)]);
        let packed = DataType::Dictionary(Box::new(DataType::UInt16), Box::new(DataType::Int64));
        assert_eq!(coerce(&array(dictionary), &packed).expect("it fits").data_type(), &packed);
        let many = array(Int64Array::from_iter_values((0..3).chain(0..200)));
        let few = DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::Int64));
        assert_eq!(coerce(&many, &few).expect_err("keys are up to 127").row(), 3 + 128);
    }

    /// Of nothing at all, so that they take no memory.
    #[test]
    fn more_items_than_32_bits_count_are_gathered_where_there_is_room() {
        let item = FieldRef::new(Field::new("item", DataType::Null, true));
        let long = || {
            array(ListArray::new(
                Arc::clone(&item),
                OffsetBuffer::from_lengths([1 << 30]),
                array(NullArray::new(1 << 30)),
                None,
            ))
        };
        let dictionary = |values| array(DictionaryArray::<Int8Type>::new(Int8Array::from(vec![0; 3]), values));
        let runs = |values: &ArrayRef| {
            array(RunArray::<Int32Type>::try_new(&Int32Array::from(vec![3]), values).expect("runs"))
        };
        let why = "all lists up to this one have more items than 32 bits can count";
        for column in [dictionary(long()), runs(&long())] {
            let lists = coerce(&column, &DataType::LargeList(Arc::clone(&item))).expect("64 bits");
            assert_eq!(lists.as_list::<i64>().value_length(2), 1 << 30);
            refused(&column, &DataType::List(Arc::clone(&item)), 1, why);
        }
        // Within, they stay as they are.
        let fields = Fields::from(vec![Field::new("a", long().data_type().clone(), true)]);
        let column = dictionary(array(StructArray::new(fields.clone(), vec![long()], None)));
        refused(&column, &DataType::Struct(fields), 1, &format!("Invalid argument error: {why}"));
        let views = |lists: ArrayRef, rows| {
            let field = FieldRef::new(Field::new("item", lists.data_type().clone(), true));
            let (starts, sizes) = (vec![0_i64; rows], vec![lists.len() as i64; rows]);
            let views = LargeListViewArray::new(Arc::clone(&field), starts.into(), sizes.into(), lists, None);
            (array(views), DataType::List(Arc::clone(&field)), DataType::LargeList(field))
        };
        let (column, narrow, wide) = views(long(), 3);
        refused(&column, &narrow, 1, &format!("Invalid argument error: {why}"));
        refused(&column, &wide, 1, &format!("Invalid argument error: {why}"));
        // More than there is memory for.
        let (column, narrow, wide) = views(array(NullArray::new(1 << 40)), 1 << 20);
        refused(&column, &narrow, 0, why);
        refused(&column, &wide, 0, "there is no memory for the 1152921504606846976 items of all lists");
        let (column, _, wide) = views(array(NullArray::new(1 << 62)), 4);
        refused(&column, &wide, 3, "all lists up to this one have more items than 64 bits can count");
    }

    /// Of one text many times, so that it takes little memory.
    #[test]
    fn other_keys_are_no_other_values() {
        let keys = Int8Array::from(vec![Some(0); 2_050]);
        let dictionary = array(DictionaryArray::new(keys, array(StringArray::from(vec!["a".repeat(1 << 20)]))));
        let to = DataType::Dictionary(Box::new(DataType::UInt32), Box::new(DataType::Utf8));
        let rekeyed = coerce(&dictionary, &to).expect("it is not unpacked");
        assert_eq!((rekeyed.data_type(), rekeyed.len()), (&to, 2_050));
        let values = |column: &ArrayRef| ArrayRef::clone(column.as_any_dictionary().values());
        assert!(values(&rekeyed).to_data().ptr_eq(&values(&dictionary).to_data()), "nor copied");
        // Of which a row has only one.
        let many = array(Int64Array::from_iter_values(0..200));
        let dictionary = array(DictionaryArray::new(UInt64Array::from(vec![None, Some(199)]), many));
        let to = DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::Int64));
        let packed = coerce(&dictionary, &to).expect("a few keys are enough");
        assert_eq!((packed.data_type(), values(&packed).len(), packed.is_null(0)), (&to, 1, true));
    }

    /// Which would be too large if they were filled with another one's.
    #[test]
    fn null_lists_of_one_length_take_no_room() {
        let item = FieldRef::new(Field::new("item", DataType::Utf8, true));
        let rows = 20_001;
        let lengths = OffsetBuffer::from_lengths((0..rows).map(|row| usize::from(row == 0)));
        let nulls = NullBuffer::from_iter((0..rows).map(|row| row == 0));
        let text = array(StringArray::from(vec!["a".repeat(200_000)]));
        let lists = array(ListArray::new(item, lengths, text, Some(nulls)));
        for nullable in [true, false] {
            let item = FieldRef::new(Field::new("item", DataType::Utf8, nullable));
            let fixed = coerce(&lists, &DataType::FixedSizeList(item, 1)).expect("one text");
            assert_eq!((fixed.len(), fixed.null_count()), (rows, rows - 1));
            assert_eq!(fixed.as_fixed_size_list().values().as_string::<i32>().value_data().len(), 200_000);
        }
    }

    #[test]
    fn nulls_that_no_row_has_are_none() {
        let texts = array(StringArray::from(vec![None, Some("a")]));
        let keys = Int8Array::new(vec![1, 1].into(), Some(NullBuffer::new_valid(2)));
        let dictionary = array(DictionaryArray::new(keys, Arc::clone(&texts)));
        let runs =
            array(RunArray::<Int32Type>::try_new(&Int32Array::from(vec![1, 3]), &texts).expect("runs")).slice(1, 2);
        for items in [dictionary, runs] {
            let item = |nullable| FieldRef::new(Field::new("item", items.data_type().clone(), nullable));
            let lists = array(ListArray::new(item(true), OffsetBuffer::from_lengths([2]), Arc::clone(&items), None));
            for to in [
                DataType::LargeList(item(false)),
                DataType::ListView(item(false)),
                DataType::FixedSizeList(item(false), 2),
            ] {
                let coerced = coerce(&lists, &to).expect("no item is null");
                let texts = coerce(&coerced, &DataType::List(Arc::new(Field::new("item", DataType::Utf8, false))));
                let texts = texts.expect("texts");
                assert_eq!(
                    texts.as_list::<i32>().values().as_string::<i32>(),
                    &StringArray::from(vec!["a", "a"]),
                    "{to}"
                );
            }
        }
    }

    #[test]
    fn times_are_the_same_instants() {
        let days = array(arrow_array::Date32Array::from(vec![Some(1), None, Some(300_000)]));
        let nanoseconds = DataType::Timestamp(TimeUnit::Nanosecond, None);
        refused(&days, &nanoseconds, 2, "2791-05-17 is out of range");
        assert!(coerce(&days.slice(0, 2), &nanoseconds).is_ok());
        let zone = |zone: &str| DataType::Timestamp(TimeUnit::Microsecond, Some(zone.into()));
        let berlin = array(arrow_array::TimestampMicrosecondArray::from(vec![5]).with_timezone("Europe/Berlin"));
        let utc = coerce(&berlin, &zone("UTC")).expect("it is the same instant");
        assert_eq!(utc.as_primitive::<arrow_array::types::TimestampMicrosecondType>().value(0), 5);
        let seconds = array(arrow_array::TimestampSecondArray::from(vec![0, i64::MAX]).with_timezone("Europe/Berlin"));
        refused(&seconds, &zone("UTC"), 1, "9223372036854775807 is out of range");
    }
}
