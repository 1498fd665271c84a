//! Which types become which without being asked to, as in SQL: numbers widen, representations of the same thing give
//! way; nothing is narrowed, and text never becomes a number.
//!
//! This is for hosts that call functions with columns as they come; a worker takes what its catalogue says.
//!
//! ```
//! use anyudf_arrow::coerce::is_implicit;
//! use arrow_schema::DataType;
//!
//! assert!(is_implicit(&DataType::Int32, &DataType::Float64));
//! assert!(is_implicit(&DataType::Utf8View, &DataType::Utf8));
//! assert!(!is_implicit(&DataType::Utf8, &DataType::Float64));
//! ```

use arrow_array::{Array, ArrayRef};
use arrow_cast::{CastOptions, can_cast_types, cast_with_options};
use arrow_schema::{ArrowError, DataType, TimeUnit};

/// Whether a column of one type is taken where the other is wanted.
pub fn is_implicit(from: &DataType, to: &DataType) -> bool {
    let (from, to) = (plain(from), plain(to));
    from.equals_datatype(to) || from == &DataType::Null || (widens(from, to) && can_cast_types(from, to))
}

/// A column in the type that is wanted, which [`is_implicit`] allows.
///
/// # Errors
/// The first row whose value does not fit, counted from zero, and why.
pub fn coerce(column: &ArrayRef, to: &DataType) -> Result<ArrayRef, (usize, ArrowError)> {
    if column.data_type() == to {
        return Ok(ArrayRef::clone(column));
    }
    let cast = |safe| cast_with_options(column, to, &CastOptions { safe, ..CastOptions::default() });
    cast(false).map_err(|error| {
        // A safe cast turns into null what does not fit.
        let fits = |safe: &ArrayRef, row: usize| column.is_null(row) || safe.is_valid(row);
        let row = cast(true).ok().and_then(|safe| (0..column.len()).find(|&row| !fits(&safe, row)));
        (row.unwrap_or(0), error)
    })
}

/// The type of the values, however they are laid out.
fn plain(data_type: &DataType) -> &DataType {
    match data_type {
        DataType::Dictionary(_, values) => plain(values),
        DataType::RunEndEncoded(_, values) => plain(values.data_type()),
        _ => data_type,
    }
}

fn widens(from: &DataType, to: &DataType) -> bool {
    use DataType::*;
    match (from, to) {
        (Utf8 | LargeUtf8 | Utf8View, Utf8 | LargeUtf8 | Utf8View) => true,
        (Binary | LargeBinary | BinaryView | FixedSizeBinary(_), Binary | LargeBinary | BinaryView) => true,
        (Date32, Date64) | (Date32 | Date64, Timestamp(_, None)) => true,
        (Timestamp(from, zone), Timestamp(to, other)) => zone == other && digits(to) >= digits(from),
        (Time32(from), Time32(to) | Time64(to)) | (Time64(from), Time64(to)) => digits(to) >= digits(from),
        (Duration(from), Duration(to)) => digits(to) >= digits(from),
        (List(from) | LargeList(from), List(to) | LargeList(to)) => is_implicit(from.data_type(), to.data_type()),
        _ => match (Number::of(from), Number::of(to)) {
            (Some(from), Some(to)) => from.widens(to),
            _ => false,
        },
    }
}

/// Decimal digits of a second.
fn digits(unit: &TimeUnit) -> u32 {
    match unit {
        TimeUnit::Second => 0,
        TimeUnit::Millisecond => 3,
        TimeUnit::Microsecond => 6,
        TimeUnit::Nanosecond => 9,
    }
}

/// A numeric type, by what it holds.
#[derive(Clone, Copy)]
enum Number {
    Signed(usize),
    Unsigned(usize),
    /// Digits before and after the point.
    Decimal(i16, i16),
    Float(usize),
}

impl Number {
    fn of(data_type: &DataType) -> Option<Self> {
        use DataType::*;
        let bits = || data_type.primitive_width().map(|bytes| 8 * bytes);
        Some(match *data_type {
            Int8 | Int16 | Int32 | Int64 => Number::Signed(bits()?),
            UInt8 | UInt16 | UInt32 | UInt64 => Number::Unsigned(bits()?),
            Float16 | Float32 | Float64 => Number::Float(bits()?),
            Decimal32(precision, scale)
            | Decimal64(precision, scale)
            | Decimal128(precision, scale)
            | Decimal256(precision, scale) => {
                Number::Decimal(i16::from(precision) - i16::from(scale), i16::from(scale))
            }
            _ => return None,
        })
    }

    /// SQL's order: integers, decimals, floats; within each, from small to large. What may still overflow, an unsigned
    /// 64-bit integer as a signed one or an integer as a decimal, is checked value by value.
    fn widens(self, to: Number) -> bool {
        match (self, to) {
            (Number::Signed(from), Number::Signed(to)) | (Number::Unsigned(from), Number::Unsigned(to)) => to >= from,
            (Number::Unsigned(from), Number::Signed(to)) => to > from || to == 64,
            (Number::Signed(_) | Number::Unsigned(_), Number::Decimal(..) | Number::Float(_)) => true,
            (Number::Decimal(whole, part), Number::Decimal(to_whole, to_part)) => to_whole >= whole && to_part >= part,
            (Number::Decimal(..), Number::Float(_)) => true,
            (Number::Float(from), Number::Float(to)) => to >= from,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::cast::AsArray;
    use arrow_array::types::{Float64Type, Int64Type};
    use arrow_array::{Decimal128Array, Int8Array, UInt64Array};

    use super::*;

    #[test]
    fn numbers_widen_and_never_narrow() {
        use DataType::*;
        let order = [Int8, Int16, Int32, Int64, Decimal128(30, 2), Float32, Float64];
        for (place, from) in order.iter().enumerate() {
            for (other, to) in order.iter().enumerate() {
                assert_eq!(is_implicit(from, to), place <= other, "{from} to {to}");
            }
        }
        for (from, to) in [(UInt8, Int16), (UInt32, Int64), (UInt64, Int64), (UInt16, Float32), (UInt8, UInt64)] {
            assert!(is_implicit(&from, &to), "{from} to {to}");
            assert!(!is_implicit(&to, &from), "{to} to {from}");
        }
        assert!(!is_implicit(&UInt32, &Int32));
        assert!(!is_implicit(&Decimal128(10, 4), &Decimal128(10, 2)));
        assert!(!is_implicit(&Decimal128(10, 2), &Decimal128(10, 4)), "a digit before the point would be lost");
    }

    #[test]
    fn representations_give_way_and_kinds_do_not() {
        use DataType::*;
        let words = Dictionary(Box::new(Int32), Box::new(Utf8));
        let numbers = Dictionary(Box::new(Int8), Box::new(Int16));
        for (from, to) in [(&words, &Utf8View), (&LargeUtf8, &Utf8), (&numbers, &Float64), (&Null, &Int32)] {
            assert!(is_implicit(from, to), "{from} to {to}");
        }
        for (from, to) in [(&Utf8, &Float64), (&Float64, &Utf8), (&Boolean, &Int8), (&words, &Int32), (&Int64, &Date32)]
        {
            assert!(!is_implicit(from, to), "{from} to {to}");
        }
    }

    #[test]
    fn values_are_kept_and_nulls_too() {
        let column: ArrayRef = Arc::new(Int8Array::from(vec![Some(-3), None, Some(7)]));
        let floats = coerce(&column, &DataType::Float64).expect("it widens");
        assert_eq!(floats.as_primitive::<Float64Type>().iter().collect::<Vec<_>>(), [Some(-3.0), None, Some(7.0)]);
        let decimals = Decimal128Array::from(vec![Some(1_050)]).with_precision_and_scale(10, 2).expect("a decimal");
        let floats = coerce(&(Arc::new(decimals) as ArrayRef), &DataType::Float64).expect("it widens");
        assert_eq!(floats.as_primitive::<Float64Type>().value(0), 10.5);
    }

    #[test]
    fn what_overflows_is_found_by_its_row() {
        let column: ArrayRef = Arc::new(UInt64Array::from(vec![Some(1), None, Some(u64::MAX), Some(u64::MAX)]));
        let (row, error) = coerce(&column, &DataType::Int64).expect_err("it does not fit");
        assert_eq!(row, 2);
        assert!(error.to_string().contains("18446744073709551615"), "{error}");
        let fits: ArrayRef = Arc::new(UInt64Array::from(vec![Some(1)]));
        assert_eq!(coerce(&fits, &DataType::Int64).expect("it fits").as_primitive::<Int64Type>().value(0), 1);
    }
}
