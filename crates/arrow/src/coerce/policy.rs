//! Which types become which.

use std::collections::HashSet;

use arrow_schema::{DataType, FieldRef, Fields};

/// How far types give way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Policy {
    /// Numbers become wider ones.
    #[default]
    Widening,
    /// Whole numbers also become narrower whole ones, and decimals narrower decimals, each value checked: for callers who
    /// have few types to choose from, as in SQL, where a literal is an `int` and nothing is unsigned.
    Fitting,
}

impl Policy {
    /// Whether a column of one type is taken where the other is wanted.
    ///
    /// ```
    /// use anyudf_arrow::coerce::Policy;
    /// use arrow_schema::DataType;
    ///
    /// assert!(!Policy::Widening.allows(&DataType::Int32, &DataType::UInt8));
    /// assert!(Policy::Fitting.allows(&DataType::Int32, &DataType::UInt8));
    /// assert!(!Policy::Fitting.allows(&DataType::Float64, &DataType::Float32), "nobody could tell what does not fit");
    /// ```
    pub fn allows(self, from: &DataType, to: &DataType) -> bool {
        use DataType::{Dictionary, Map, Null, RunEndEncoded, Struct, Union};
        match (from, to) {
            _ if from == to => true,
            (Union(..), _) | (_, Union(..)) => false,
            _ if is_of_nothing(from) || is_of_nothing(to) => false,
            (Dictionary(_, from), _) => self.allows(from, to),
            (RunEndEncoded(_, from), _) => {
                !matches!(from.data_type(), RunEndEncoded(..)) && self.allows(from.data_type(), to)
            }
            (_, Dictionary(_, to)) => is_packed(to) && self.allows(from, to),
            (_, RunEndEncoded(_, to)) => is_packed(to.data_type()) && self.allows(from, to.data_type()),
            (Null, _) => true,
            (Struct(from), Struct(to)) => {
                by_name(from, to).is_some_and(|mut pairs| pairs.all(|(from, to)| self.allows_field(from, to)))
            }
            (Map(from, from_sorted), Map(to, to_sorted)) => match (from.data_type(), to.data_type()) {
                // The names of a map's parts mean nothing.
                (Struct(from), Struct(to)) => {
                    from_sorted >= to_sorted && from.iter().zip(to).all(|(from, to)| self.allows_field(from, to))
                }
                _ => false,
            },
            _ => match (item(from), item(to)) {
                (Some(from_item), Some(to_item)) => {
                    (length(from).is_none() || length(to).is_none() || length(from) == length(to))
                        && self.allows_field(from_item, to_item)
                }
                _ => self.allows_value(from, to),
            },
        }
    }

    fn allows_field(self, from: &FieldRef, to: &FieldRef) -> bool {
        // Arrow can't tell whether there are nulls in a union.
        let may_be_null = from.is_nullable() && !to.is_nullable() && matches!(to.data_type(), DataType::Union(..));
        !may_be_null && self.allows(from.data_type(), to.data_type())
    }

    /// Types without children.
    fn allows_value(self, from: &DataType, to: &DataType) -> bool {
        use DataType::*;
        match (from, to) {
            (Utf8 | LargeUtf8 | Utf8View, Utf8 | LargeUtf8 | Utf8View) => true,
            (Binary | LargeBinary | BinaryView | FixedSizeBinary(_), Binary | LargeBinary | BinaryView) => true,
            (Binary | LargeBinary | BinaryView, FixedSizeBinary(_)) => true,
            (Date32 | Date64, Date32 | Date64 | Timestamp(_, None)) => true,
            (Timestamp(_, from), Timestamp(_, to)) => from.is_some() == to.is_some(),
            (Time32(_) | Time64(_), Time32(_) | Time64(_)) | (Duration(_), Duration(_)) => true,
            _ => match (Number::of(from), Number::of(to)) {
                (Some(from), Some(to)) => from.widens(to) || (self == Policy::Fitting && from.may_fit(to)),
                _ => false,
            },
        }
    }
}

/// The items of a list, in whatever layout.
pub(super) fn item(data_type: &DataType) -> Option<&FieldRef> {
    use DataType::{FixedSizeList, LargeList, LargeListView, List, ListView};
    match data_type {
        List(item) | LargeList(item) | ListView(item) | LargeListView(item) | FixedSizeList(item, _) => Some(item),
        _ => None,
    }
}

/// How long all lists of a type are.
fn length(data_type: &DataType) -> Option<i32> {
    match data_type {
        DataType::FixedSizeList(_, length) => Some(*length),
        _ => None,
    }
}

/// Whether it has values without any bytes, anywhere. Arrow forgets how many there are when it gathers them.
fn is_of_nothing(data_type: &DataType) -> bool {
    use DataType::{Dictionary, FixedSizeBinary, Map, RunEndEncoded, Struct};
    match data_type {
        FixedSizeBinary(0) => true,
        Struct(fields) => fields.iter().any(|field| is_of_nothing(field.data_type())),
        Map(within, _) | RunEndEncoded(_, within) => is_of_nothing(within.data_type()),
        Dictionary(_, values) => is_of_nothing(values),
        _ => length(data_type) == Some(0) || item(data_type).is_some_and(|item| is_of_nothing(item.data_type())),
    }
}

/// Each field that is wanted with the given one of its name; `None` unless both have the same names, and each once.
fn by_name<'a>(from: &'a Fields, to: &'a Fields) -> Option<impl Iterator<Item = (&'a FieldRef, &'a FieldRef)>> {
    let names = |fields: &'a Fields| fields.iter().map(|field| field.name().as_str()).collect::<HashSet<_>>();
    let are_the_same = from.len() == to.len() && names(to).len() == to.len() && names(from) == names(to);
    are_the_same.then(|| to.iter().filter_map(move |to| Some((from.find(to.name())?.1, to))))
}

/// Of which Arrow makes dictionaries, and of which there are runs here.
fn is_packed(values: &DataType) -> bool {
    use DataType::*;
    Number::of(values).is_some()
        || matches!(
            values,
            Utf8 | LargeUtf8 | Utf8View | Binary | LargeBinary | BinaryView | FixedSizeBinary(_) | Date32 | Date64
        )
        || matches!(values, Time32(_) | Time64(_) | Timestamp(..))
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

    /// Of which each value can be checked.
    fn may_fit(self, to: Number) -> bool {
        use Number::{Decimal, Signed, Unsigned};
        matches!((self, to), (Signed(_) | Unsigned(_), Signed(_) | Unsigned(_)) | (Decimal(..), Decimal(..)))
    }
}

#[cfg(test)]
mod tests {
    use arrow_schema::{Field, TimeUnit};

    use super::*;

    fn widens(from: &DataType, to: &DataType) -> bool {
        Policy::Widening.allows(from, to)
    }

    #[test]
    fn numbers_widen_and_never_narrow() {
        use DataType::*;
        let order = [Int8, Int16, Int32, Int64, Decimal128(30, 2), Float32, Float64];
        for (place, from) in order.iter().enumerate() {
            for (other, to) in order.iter().enumerate() {
                assert_eq!(widens(from, to), place <= other, "{from} to {to}");
            }
        }
        for (from, to) in [(UInt8, Int16), (UInt32, Int64), (UInt64, Int64), (UInt16, Float32), (UInt8, UInt64)] {
            assert!(widens(&from, &to), "{from} to {to}");
            assert!(!widens(&to, &from), "{to} to {from}");
        }
        assert!(!widens(&UInt32, &Int32));
        assert!(!widens(&Decimal128(10, 4), &Decimal128(10, 2)));
        assert!(!widens(&Decimal128(10, 2), &Decimal128(10, 4)), "a digit before the point would be lost");
    }

    #[test]
    fn whole_numbers_and_decimals_narrow_where_they_are_checked() {
        use DataType::*;
        for (from, to) in [(Int64, UInt8), (Int32, Int8), (Decimal128(38, 18), Decimal64(10, 2)), (Int64, Float32)] {
            assert!(Policy::Fitting.allows(&from, &to), "{from} to {to}");
        }
        for (from, to) in
            [(Float64, Float32), (Float64, Int64), (Decimal128(9, 0), Int64), (Boolean, Int8), (Utf8, Int8)]
        {
            assert!(!Policy::Fitting.allows(&from, &to), "{from} to {to}");
        }
    }

    #[test]
    fn representations_give_way_and_kinds_do_not() {
        use DataType::*;
        let words = Dictionary(Box::new(Int32), Box::new(Utf8));
        let numbers = Dictionary(Box::new(Int8), Box::new(Int16));
        for (from, to) in [(&words, &Utf8View), (&LargeUtf8, &Utf8), (&numbers, &Float64), (&Null, &Int32)] {
            assert!(widens(from, to), "{from} to {to}");
        }
        for (from, to) in [(&Utf8, &Float64), (&Float64, &Utf8), (&Boolean, &Int8), (&words, &Int32), (&Int64, &Date32)]
        {
            assert!(!widens(from, to), "{from} to {to}");
        }
        let (plain, berlin) = (Timestamp(TimeUnit::Second, None), Timestamp(TimeUnit::Second, Some("+01:00".into())));
        assert!(!widens(&plain, &berlin) && !widens(&berlin, &plain), "what a clock shows is no instant");
        assert!(widens(&berlin, &Timestamp(TimeUnit::Nanosecond, Some("UTC".into()))));
        assert!(!widens(&plain, &Date32), "the time of day would be lost");
    }

    #[test]
    fn structs_are_matched_by_name() {
        let point = |fields: &[(&str, DataType)]| {
            DataType::Struct(fields.iter().map(|(name, of)| Field::new(*name, of.clone(), true)).collect())
        };
        let (lat, lon, narrow) = (("lat", DataType::Float64), ("lon", DataType::Float64), ("lon", DataType::Int8));
        let wanted = point(&[lat.clone(), lon.clone()]);
        assert!(widens(&point(&[narrow, lat.clone()]), &wanted));
        for other in [
            point(&[("lat", DataType::Float64)]),
            point(&[lat.clone(), lon.clone(), ("alt", DataType::Int8)]),
            point(&[lat.clone(), ("lng", DataType::Float64)]),
            point(&[lat.clone(), lat.clone()]),
            point(&[lat.clone(), ("lon", DataType::Utf8)]),
        ] {
            assert!(!widens(&other, &wanted), "{other}");
        }
        let twice = point(&[lat.clone(), ("lat", DataType::Int8)]);
        assert!(!widens(&twice, &point(&[lat.clone(), lat])), "which of them is it?");
    }

    #[test]
    fn lists_are_lists_in_any_layout() {
        use DataType::*;
        let item = |data_type| FieldRef::new(Field::new("item", data_type, true));
        let layouts = |of: DataType| {
            let fixed = FixedSizeList(item(of.clone()), 2);
            [
                List(item(of.clone())),
                LargeList(item(of.clone())),
                ListView(item(of.clone())),
                LargeListView(item(of)),
                fixed,
            ]
        };
        for from in layouts(Int32) {
            for to in layouts(Int64) {
                assert!(widens(&from, &to), "{from} to {to}");
                assert!(!widens(&to, &from), "{to} to {from}");
            }
        }
        assert!(!widens(&FixedSizeList(item(Int8), 2), &FixedSizeList(item(Int8), 3)));
        assert!(!widens(&List(item(FixedSizeBinary(0))), &LargeList(item(FixedSizeBinary(0)))), "of nothing at all");
        assert!(!widens(&Int8, &List(item(Int8))) && !widens(&List(item(Int8)), &Int8));
    }

    #[test]
    fn nobody_can_tell_whether_unions_are_null() {
        use arrow_schema::{UnionFields, UnionMode};
        let fields = UnionFields::from_fields([Field::new("a", DataType::Int8, true)]);
        let union =
            |nullable| FieldRef::new(Field::new("item", DataType::Union(fields.clone(), UnionMode::Sparse), nullable));
        assert!(widens(&DataType::List(union(true)), &DataType::LargeList(union(true))));
        assert!(!widens(&DataType::List(union(true)), &DataType::LargeList(union(false))));
    }
}
