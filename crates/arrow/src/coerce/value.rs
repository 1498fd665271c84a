//! Values without children: what Arrow's casts make of them, and which of them they would make another value of.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Decimal128Type, Decimal256Type, DecimalType, Float16Type, Float32Type, Float64Type, Int64Type,
};
use arrow_array::{Array, ArrayRef, ArrowNativeTypeOp, PrimitiveArray, UInt64Array};
use arrow_buffer::ArrowNativeType;
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_schema::{DataType, TimeUnit};
use arrow_select::take::take;

use super::cast;
use super::misfit::Misfit;

/// A column of a type without children in another one.
pub(super) fn recast(column: &ArrayRef, to: &DataType) -> Result<ArrayRef, Misfit> {
    use DataType::*;
    let from = column.data_type();
    match to {
        Utf8 | Binary => short(column, to),
        FixedSizeBinary(length) => of_one_length(column, *length, to),
        Float16 | Float32 | Float64 => float(column, to),
        Decimal32(..) | Decimal64(..) | Decimal128(..) if !matches!(from, Decimal256(..)) => {
            decimal::<Decimal128Type>(column, to)
        }
        Decimal32(..) | Decimal64(..) | Decimal128(..) | Decimal256(..) => decimal::<Decimal256Type>(column, to),
        _ => match (tick(from), tick(to)) {
            (Some(from), Some(to_tick)) => time(column, from, to_tick, to),
            _ => whole(column, to),
        },
    }
}

/// Text and bytes whose layout has offsets of 32 bits.
fn short(column: &ArrayRef, to: &DataType) -> Result<ArrayRef, Misfit> {
    use DataType::{BinaryView, LargeBinary, LargeUtf8, Utf8View};
    /// The first row up to which there is more than that.
    fn beyond(mut ends: impl Iterator<Item = i64>) -> Result<(), Misfit> {
        match ends.position(|end| end > i64::from(i32::MAX)) {
            Some(row) => Err(Misfit::new(row, "all values up to this one are larger than 2 GiB together")),
            None => Ok(()),
        }
    }
    fn viewed(views: &[u128], column: &ArrayRef) -> Result<(), Misfit> {
        beyond(views.iter().enumerate().scan(0, |end, (row, view)| {
            *end += if column.is_null(row) { 0 } else { i64::from(*view as u32) };
            Some(*end)
        }))
    }
    let large = match column.data_type() {
        LargeUtf8 => Some(column.as_string::<i64>().value_offsets()),
        LargeBinary => Some(column.as_binary::<i64>().value_offsets()),
        _ => None,
    };
    match column.data_type() {
        Utf8View => viewed(column.as_string_view().views(), column)?,
        BinaryView => viewed(column.as_binary_view().views(), column)?,
        DataType::FixedSizeBinary(length) => {
            beyond((1..=column.len()).map(|rows| rows as i64 * i64::from(*length)))?;
        }
        _ => {}
    }
    match large {
        None => cast(column, to),
        Some(offsets) => {
            beyond(offsets[1..].iter().map(|end| end - offsets[0]))?;
            if offsets[offsets.len() - 1] <= i64::from(i32::MAX) {
                return cast(column, to);
            }
            // A part of something larger: Arrow would look at where it lies there.
            let rows = UInt64Array::from_iter_values(0..column.len() as u64);
            cast(&take(column, &rows, None).map_err(|error| Misfit::new(0, error))?, to)
        }
    }
}

fn of_one_length(column: &ArrayRef, length: i32, to: &DataType) -> Result<ArrayRef, Misfit> {
    let large = cast(column, &DataType::LargeBinary)?;
    let bytes = large.as_binary::<i64>();
    let other = bytes.iter().enumerate().find_map(|(row, bytes)| {
        let bytes = bytes?.len();
        (usize::try_from(length) != Ok(bytes)).then_some((row, bytes))
    });
    match other {
        Some((row, bytes)) => Err(Misfit::new(row, format_args!("its length is {bytes}, and not {length}"))),
        None => cast(&large, to),
    }
}

/// Floating numbers, which may have fewer digits, but are as large as what they are of.
fn float(column: &ArrayRef, to: &DataType) -> Result<ArrayRef, Misfit> {
    let (from, floats) = (column.data_type(), cast(column, to)?);
    // The largest integer is small for all others.
    if from.is_floating() || (from.is_integer() && *to != DataType::Float16) {
        return kept(column, floats);
    }
    let infinite = match to {
        DataType::Float16 => {
            floats.as_primitive::<Float16Type>().iter().position(|x| x.is_some_and(|x| x.is_infinite()))
        }
        DataType::Float32 => floats.as_primitive::<Float32Type>().iter().position(|x| x.is_some_and(f32::is_infinite)),
        _ => floats.as_primitive::<Float64Type>().iter().position(|x| x.is_some_and(f64::is_infinite)),
    };
    match infinite {
        Some(row) => Err(out_of_range(column, row)),
        None => kept(column, floats),
    }
}

/// Whole numbers.
fn whole(column: &ArrayRef, to: &DataType) -> Result<ArrayRef, Misfit> {
    kept(column, cast(column, to)?)
}

/// Decimals, of whole numbers or of others, by way of numbers that hold them all.
fn decimal<D: DecimalType>(column: &ArrayRef, to: &DataType) -> Result<ArrayRef, Misfit> {
    let from_scale = scale(column.data_type()).map_or(0, |(_, scale)| scale);
    let Some((precision, to_scale)) = scale(to) else { return Err(Misfit::new(0, format_args!("{to} is no decimal"))) };
    let wide = cast(column, &(D::TYPE_CONSTRUCTOR)(D::MAX_PRECISION, from_scale))?;
    let shift = i16::from(to_scale) - i16::from(from_scale);
    // None is more than any number has digits.
    let factor = D::Native::usize_as(10).pow_checked(u32::from(shift.unsigned_abs())).ok();
    let shifted = |x: D::Native| match factor {
        _ if x.is_zero() => Some(x),
        Some(factor) if shift.is_positive() => x.mul_checked(factor).ok(),
        Some(factor) if x.mod_checked(factor).is_ok_and(|rest| rest.is_zero()) => x.div_checked(factor).ok(),
        _ => None,
    };
    let fits = |x: D::Native| shifted(x).filter(|x| D::is_valid_decimal_precision(*x, precision));
    let decimals: PrimitiveArray<D> = wide.as_primitive::<D>().unary_opt(fits);
    let decimals = decimals.with_precision_and_scale(precision, to_scale).map_err(|error| Misfit::new(0, error))?;
    if let Some(row) = lost(column, &decimals) {
        return Err(Misfit::new(row, format_args!("{} has too many digits", shown(column, row))));
    }
    if decimals.data_type() == to { Ok(Arc::new(decimals)) } else { cast(&decimals, to) }
}

fn scale(data_type: &DataType) -> Option<(u8, i8)> {
    use DataType::{Decimal32, Decimal64, Decimal128, Decimal256};
    match *data_type {
        Decimal32(precision, scale)
        | Decimal64(precision, scale)
        | Decimal128(precision, scale)
        | Decimal256(precision, scale) => Some((precision, scale)),
        _ => None,
    }
}

/// The unit in which a type counts time, in nanoseconds, and how people call it.
fn tick(data_type: &DataType) -> Option<(i64, &'static str)> {
    use DataType::{Date32, Date64, Duration, Time32, Time64, Timestamp};
    match data_type {
        Date32 => Some((86_400_000_000_000, "days")),
        Date64 => Some((1_000_000, "milliseconds")),
        Timestamp(unit, _) | Time32(unit) | Time64(unit) | Duration(unit) => Some(match unit {
            TimeUnit::Second => (1_000_000_000, "seconds"),
            TimeUnit::Millisecond => (1_000_000, "milliseconds"),
            TimeUnit::Microsecond => (1_000, "microseconds"),
            TimeUnit::Nanosecond => (1, "nanoseconds"),
        }),
        _ => None,
    }
}

fn time(
    column: &ArrayRef,
    (from_tick, _): (i64, &str),
    (to_tick, unit): (i64, &str),
    to: &DataType,
) -> Result<ArrayRef, Misfit> {
    let bits_32 = to.primitive_width() == Some(4);
    let ticks = cast(column, &DataType::Int64)?;
    let ticks = ticks.as_primitive::<Int64Type>();
    let counted = |x: i64| match from_tick >= to_tick {
        true => x.checked_mul(from_tick / to_tick),
        false => (x % (to_tick / from_tick) == 0).then(|| x / (to_tick / from_tick)),
    };
    let fits = |x: i64| counted(x).filter(|&x| !bits_32 || i32::try_from(x).is_ok());
    let array = ticks.unary_opt::<_, Int64Type>(fits);
    if let Some(row) = lost(column, &array) {
        let is_whole = from_tick >= to_tick || ticks.value(row) % (to_tick / from_tick) == 0;
        return Err(match is_whole {
            true => out_of_range(column, row),
            false => Misfit::new(row, format_args!("{} is no whole number of {unit}", shown(column, row))),
        });
    }
    match bits_32 {
        true => cast(&cast(&array, &DataType::Int32)?, to),
        false => cast(&array, to),
    }
}

/// The latter, unless something became null that was not.
fn kept(before: &ArrayRef, after: ArrayRef) -> Result<ArrayRef, Misfit> {
    match lost(before, &after) {
        Some(row) => Err(out_of_range(before, row)),
        None => Ok(after),
    }
}

fn lost(before: &dyn Array, after: &dyn Array) -> Option<usize> {
    if before.null_count() == after.null_count() {
        return None;
    }
    (0..before.len()).find(|&row| before.is_valid(row) && after.is_null(row))
}

fn out_of_range(column: &ArrayRef, row: usize) -> Misfit {
    Misfit::new(row, format_args!("{} is out of range", shown(column, row)))
}

/// A value as people write it.
fn shown(column: &ArrayRef, row: usize) -> String {
    // Names of time zones mean nothing here.
    let plain = match column.data_type() {
        DataType::Timestamp(unit, Some(_)) => cast(column, &DataType::Timestamp(*unit, None)).ok(),
        _ => None,
    };
    let column = plain.as_ref().unwrap_or(column);
    let written = ArrayFormatter::try_new(column, &FormatOptions::default());
    let written = written.and_then(|formatter| formatter.value(row).try_to_string());
    // A date that no calendar has.
    written
        .or_else(|_| {
            let ticks = arrow_cast::cast(column, &DataType::Int64)?;
            ArrayFormatter::try_new(&ticks, &FormatOptions::default())?.value(row).try_to_string()
        })
        .unwrap_or_else(|_| "its value".into())
}
