//! What a policy allows is done: columns of random nested types become others of equal values, or the row of the first that
//! does not fit is named. What is equal and what fits is said here again, value by value, by a small model.
#![cfg(feature = "coerce")]

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;

use anyudf_arrow::coerce::{Policy, coerce};
use arrow_array::cast::AsArray;
use arrow_array::types::*;
use arrow_array::{Array, ArrayRef, ArrowNativeTypeOp, downcast_run_array, make_array};
use arrow_buffer::{Buffer, i256};
use arrow_data::ArrayData;
use arrow_schema::{DataType, Field, FieldRef, TimeUnit};
use proptest::test_runner::Config;
use support::*;

/// A value, whatever its type.
#[derive(Clone, Debug, PartialEq)]
enum Value {
    Null,
    Boolean(bool),
    /// So many times ten to the power of minus the latter, without zeros at its end.
    Number(i256, i32),
    Float(f64),
    Text(String),
    Bytes(Vec<u8>),
    /// Nanoseconds.
    Time(i128),
    List(Vec<Value>),
    Struct(BTreeMap<String, Value>),
    Map(Vec<(Value, Value)>),
    /// Of a type that becomes no other.
    Other(String),
}

fn number(mut digits: i256, mut scale: i32) -> Value {
    let ten = i256::from_i128(10);
    while !digits.is_zero() && digits.mod_wrapping(ten).is_zero() {
        digits = digits.div_wrapping(ten);
        scale -= 1;
    }
    Value::Number(digits, if digits.is_zero() { 0 } else { scale })
}

fn tick(data_type: &DataType) -> Option<i128> {
    use DataType::{Date32, Date64, Duration, Time32, Time64, Timestamp};
    match data_type {
        Date32 => Some(86_400_000_000_000),
        Date64 => Some(1_000_000),
        Timestamp(unit, _) | Time32(unit) | Time64(unit) | Duration(unit) => Some(match unit {
            TimeUnit::Second => 1_000_000_000,
            TimeUnit::Millisecond => 1_000_000,
            TimeUnit::Microsecond => 1_000,
            TimeUnit::Nanosecond => 1,
        }),
        _ => None,
    }
}

/// An integer of any width, in a column of a fixed one.
fn integer(column: &dyn Array, row: usize) -> i256 {
    let width = column.data_type().primitive_width().expect("a number");
    let data = column.to_data();
    let bytes = &data.buffers()[0].as_slice()[(data.offset() + row) * width..][..width];
    let unsigned =
        matches!(column.data_type(), DataType::UInt8 | DataType::UInt16 | DataType::UInt32 | DataType::UInt64);
    let sign = if !unsigned && bytes[width - 1] >= 0x80 { 0xff } else { 0 };
    let mut all = [sign; 32];
    all[..width].copy_from_slice(bytes);
    i256::from_le_bytes(all)
}

fn read(column: &dyn Array, row: usize) -> Value {
    use DataType as T;
    if column.is_null(row) {
        return Value::Null;
    }
    let items = |items: &dyn Array| Value::List((0..items.len()).map(|item| read(items, item)).collect());
    match column.data_type() {
        T::Null => Value::Null,
        T::Boolean => Value::Boolean(column.as_boolean().value(row)),
        T::Float16 => Value::Float(column.as_primitive::<Float16Type>().value(row).to_f64()),
        T::Float32 => Value::Float(column.as_primitive::<Float32Type>().value(row).into()),
        T::Float64 => Value::Float(column.as_primitive::<Float64Type>().value(row)),
        T::Utf8 => Value::Text(column.as_string::<i32>().value(row).into()),
        T::LargeUtf8 => Value::Text(column.as_string::<i64>().value(row).into()),
        T::Utf8View => Value::Text(column.as_string_view().value(row).into()),
        T::Binary => Value::Bytes(column.as_binary::<i32>().value(row).into()),
        T::LargeBinary => Value::Bytes(column.as_binary::<i64>().value(row).into()),
        T::BinaryView => Value::Bytes(column.as_binary_view().value(row).into()),
        T::FixedSizeBinary(_) => Value::Bytes(column.as_fixed_size_binary().value(row).into()),
        T::Decimal32(_, scale) | T::Decimal64(_, scale) | T::Decimal128(_, scale) | T::Decimal256(_, scale) => {
            number(integer(column, row), i32::from(*scale))
        }
        T::List(_) => items(&column.as_list::<i32>().value(row)),
        T::LargeList(_) => items(&column.as_list::<i64>().value(row)),
        T::ListView(_) => items(&column.as_list_view::<i32>().value(row)),
        T::LargeListView(_) => items(&column.as_list_view::<i64>().value(row)),
        T::FixedSizeList(..) => items(&column.as_fixed_size_list().value(row)),
        T::Map(..) => {
            let entries = column.as_map().value(row);
            let part = |part: usize, entry: usize| read(entries.column(part), entry);
            Value::Map((0..entries.len()).map(|entry| (part(0, entry), part(1, entry))).collect())
        }
        T::Struct(fields) => {
            let columns = fields.iter().zip(column.as_struct().columns());
            Value::Struct(columns.map(|(field, column)| (field.name().clone(), read(column, row))).collect())
        }
        T::Dictionary(..) => {
            let dictionary = column.as_any_dictionary();
            read(dictionary.values(), dictionary.normalized_keys()[row])
        }
        T::RunEndEncoded(..) => downcast_run_array! {
            column => read(column.values(), column.get_physical_index(row)),
            other => panic!("{other}")
        },
        other if tick(other).is_some() => {
            let tick = tick(other).expect("it has one");
            Value::Time(integer(column, row).to_i128().expect("64 bits") * tick)
        }
        other if other.is_integer() => number(integer(column, row), 0),
        interval => Value::Other(format!("{} of {interval}", integer(column, row))),
    }
}

/// A number as text, which is parsed as the nearest floating one.
fn written(digits: i256, scale: i32) -> String {
    format!("{digits}e{}", -scale)
}

/// Whether a value can be one of a type at all.
fn fits(value: &Value, to: &DataType, nullable: bool) -> bool {
    use DataType as T;
    let field = |value: &Value, field: &FieldRef| fits(value, field.data_type(), field.is_nullable());
    match (value, to) {
        (value, T::Dictionary(_, values)) => fits(value, values, nullable),
        (value, T::RunEndEncoded(_, values)) => fits(value, values.data_type(), nullable && values.is_nullable()),
        (Value::Null, _) => nullable,
        (Value::Number(digits, scale), T::Float16) => {
            written(*digits, *scale).parse::<f64>().expect("a number").abs() < 65_520.0
        }
        (Value::Number(digits, scale), T::Float32) => {
            written(*digits, *scale).parse::<f32>().expect("a number").is_finite()
        }
        (
            Value::Number(digits, scale),
            T::Decimal32(precision, to)
            | T::Decimal64(precision, to)
            | T::Decimal128(precision, to)
            | T::Decimal256(precision, to),
        ) => {
            let ten = i256::from_i128(10);
            let shift = u32::try_from(i32::from(*to) - scale);
            let shifted = shift.ok().and_then(|shift| digits.mul_checked(ten.pow_checked(shift).ok()?).ok());
            let bound = ten.pow_checked(u32::from(*precision)).expect("76 digits at most");
            digits.is_zero() || shifted.is_some_and(|x| x < bound && x > -bound)
        }
        (Value::Number(digits, scale), to) if to.is_integer() => {
            let bits = 8 * to.primitive_width().expect("a number") as u32;
            let two = i256::from_i128(2);
            let (least, most) = match to {
                T::UInt8 | T::UInt16 | T::UInt32 | T::UInt64 => (i256::ZERO, two.pow_wrapping(bits)),
                _ => (-two.pow_wrapping(bits - 1), two.pow_wrapping(bits - 1)),
            };
            let value =
                u32::try_from(-scale).ok().map(|zeros| digits.mul_wrapping(i256::from_i128(10).pow_wrapping(zeros)));
            value.is_some_and(|value| value >= least && value < most)
        }
        (Value::Time(nanoseconds), to) => {
            let tick = tick(to).expect("a time");
            let range = match to.primitive_width() {
                Some(4) => i128::from(i32::MIN)..=i128::from(i32::MAX),
                _ => i128::from(i64::MIN)..=i128::from(i64::MAX),
            };
            nanoseconds % tick == 0 && range.contains(&(nanoseconds / tick))
        }
        (Value::Bytes(bytes), T::FixedSizeBinary(length)) => bytes.len() == *length as usize,
        (Value::List(items), T::FixedSizeList(item, length)) => {
            items.len() == *length as usize && items.iter().all(|value| field(value, item))
        }
        (Value::List(items), T::List(item) | T::LargeList(item) | T::ListView(item) | T::LargeListView(item)) => {
            items.iter().all(|value| field(value, item))
        }
        (Value::Struct(values), T::Struct(fields)) => fields.iter().all(|wanted| field(&values[wanted.name()], wanted)),
        (Value::Map(pairs), T::Map(entries, _)) => {
            let T::Struct(parts) = entries.data_type() else { panic!("{entries}") };
            pairs.iter().all(|(key, value)| field(key, &parts[0]) && field(value, &parts[1]))
        }
        _ => true,
    }
}

/// Whether a value became the same one.
fn same(before: &Value, after: &Value) -> bool {
    match (before, after) {
        (Value::Number(digits, scale), Value::Float(after)) => {
            let before: f64 = written(*digits, *scale).parse().expect("a number");
            // The least that any floating type keeps of it.
            (before - after).abs() <= before.abs() / 1_024.0 + 1e-7
        }
        (Value::List(before), Value::List(after)) => {
            before.len() == after.len() && before.iter().zip(after).all(|(before, after)| same(before, after))
        }
        (Value::Struct(before), Value::Struct(after)) => {
            before.len() == after.len() && before.iter().all(|(name, before)| same(before, &after[name]))
        }
        (Value::Map(before), Value::Map(after)) => {
            let pairs = |(before, after): (&(Value, Value), &(Value, Value))| {
                same(&before.0, &after.0) && same(&before.1, &after.1)
            };
            before.len() == after.len() && before.iter().zip(after).all(pairs)
        }
        (before, after) => before == after,
    }
}

/// A type that something of type `from` may become.
fn related(random: &mut Random, from: &DataType) -> DataType {
    use DataType as T;
    let item = |random: &mut Random, from: &FieldRef| {
        Arc::new(Field::new("it", related(random, from.data_type()), random.below(4) > 0))
    };
    let to = match from {
        T::List(from) | T::LargeList(from) | T::ListView(from) | T::LargeListView(from) | T::FixedSizeList(from, _) => {
            let to = item(random, from);
            match random.below(6) {
                0 => T::List(to),
                1 => T::LargeList(to),
                2 => T::ListView(to),
                3 => T::LargeListView(to),
                _ => T::FixedSizeList(to, [1, 2, 3][random.below(3)]),
            }
        }
        T::Struct(fields) => {
            let mut fields: Vec<_> = fields
                .iter()
                .map(|from| Arc::new(item(random, from).as_ref().clone().with_name(from.name())))
                .collect();
            for place in (1..fields.len()).rev() {
                fields.swap(place, random.below(place + 1));
            }
            T::Struct(fields.into())
        }
        T::Map(entries, _) => match entries.data_type() {
            T::Struct(parts) => map(related(random, parts[0].data_type()), related(random, parts[1].data_type())),
            other => panic!("{other}"),
        },
        // What is packed alike may be wanted without nulls.
        T::Dictionary(..) | T::RunEndEncoded(..) if random.below(3) == 0 => from.clone(),
        T::Dictionary(_, values) => related(random, values),
        T::RunEndEncoded(_, values) => related(random, values.data_type()),
        T::Null => flat_types()[random.below(flat_types().len())].clone(),
        flat => {
            let others: Vec<_> =
                flat_types().into_iter().chain(more_types()).filter(|to| Policy::Fitting.allows(flat, to)).collect();
            others[random.below(others.len())].clone()
        }
    };
    match random.below(12) {
        0 => dictionary(T::Int32, to),
        1 => run_ends(T::Int64, to),
        _ => to,
    }
}

fn more_types() -> Vec<DataType> {
    use DataType as T;
    vec![
        T::Decimal32(4, 0),
        T::Decimal64(9, 4),
        T::Decimal128(20, -2),
        T::Decimal128(38, 0),
        T::Decimal256(40, 20),
        T::Timestamp(TimeUnit::Second, Some("UTC".into())),
    ]
}

/// A type up to three levels deep.
fn any_type(random: &mut Random, depth: usize) -> DataType {
    use DataType as T;
    if depth == 0 || random.below(3) == 0 {
        let flat: Vec<_> = flat_types().into_iter().chain(more_types()).collect();
        return flat[random.below(flat.len())].clone();
    }
    let inner = |random: &mut Random| any_type(random, depth - 1);
    let item = |of: DataType| Arc::new(Field::new("item", of, true));
    match random.below(10) {
        0 => T::List(item(inner(random))),
        1 => T::LargeList(item(inner(random))),
        2 => T::ListView(item(inner(random))),
        3 => T::LargeListView(item(inner(random))),
        4 => T::FixedSizeList(item(inner(random)), random.below(4) as i32),
        5 => map(T::Int32, inner(random)),
        6 => dictionary(T::Int8, inner(random)),
        7 => match inner(random) {
            T::Null => T::Null,
            values => run_ends(T::Int32, values),
        },
        _ => structure(&(0..1 + random.below(3)).map(|_| inner(random)).collect::<Vec<_>>()),
    }
}

/// The same column with numbers that may fit into others: small ones, and such that are whole in larger units.
fn tamed(random: &mut Random, data: ArrayData) -> ArrayData {
    use DataType as T;
    let (data_type, rows) = (data.data_type().clone(), data.offset() + data.len());
    let digits = match data_type {
        T::Decimal32(precision, _)
        | T::Decimal64(precision, _)
        | T::Decimal128(precision, _)
        | T::Decimal256(precision, _) => Some(precision),
        _ => None,
    };
    let is_number = data_type.is_integer() || digits.is_some() || tick(&data_type).is_some();
    let children = data.child_data().to_vec();
    let data = match data_type.primitive_width() {
        Some(width) if is_number && (digits.is_some() || random.below(6) > 0) => {
            let odd = random.below(3) == 0;
            let values = (0..rows).flat_map(|_| {
                let small = i256::from_i128(random.below(300) as i128 - if odd { 100 } else { 0 });
                let zeros = [0, 0, 1, 3, 6, 9, 18, 40][random.below(8)];
                let value = match random.below(8) {
                    0 => i256::from_i128(random.next() as i64 as i128),
                    1 => small.mul_wrapping(i256::from_i128(86_400_000)),
                    _ => small.mul_wrapping(i256::from_i128(10).pow_wrapping(zeros)),
                };
                let value = match digits {
                    Some(precision) => value.mod_wrapping(i256::from_i128(10).pow_wrapping(u32::from(precision))),
                    None => value,
                };
                value.to_le_bytes().into_iter().take(width)
            });
            let values = Buffer::from(values.collect::<Vec<u8>>().as_slice());
            data.into_builder().buffers(vec![values]).build().expect("numbers")
        }
        _ => data,
    };
    if children.is_empty() {
        return data;
    }
    let is_run = matches!(data_type, T::RunEndEncoded(..));
    let children = children.into_iter().enumerate();
    let children = children.map(|(place, child)| if is_run && place == 0 { child } else { tamed(random, child) });
    let children = children.collect();
    data.into_builder().child_data(children).build().expect("children")
}

#[test]
fn what_is_allowed_is_done_or_refused_by_its_row() {
    let (mut allowed, mut done, mut cast) = (0, 0, 0);
    for seed in 0..u64::from(Config::default().cases.max(20_000)) {
        let random = &mut Random(seed);
        let from = any_type(random, 3);
        let to = if random.below(10) > 0 { related(random, &from) } else { any_type(random, 2) };
        let policy = [Policy::Widening, Policy::Fitting][random.below(2)];
        if !policy.allows(&from, &to) {
            continue;
        }
        allowed += 1;
        let rows = random.below(9);
        let array = random.array(&from, rows, true).to_data();
        let column = make_array(tamed(random, array));
        let start = random.below(rows + 1);
        let column: ArrayRef = column.slice(start, random.below(rows - start + 1));
        let values: Vec<_> = (0..column.len()).map(|row| read(&column, row)).collect();
        let misfit = values.iter().position(|value| !fits(value, &to, true));
        let shown = || format!("seed {seed}: {from} to {to}, {values:?}");
        match coerce(&column, &to) {
            Ok(coerced) => {
                assert_eq!(misfit, None, "{} became {coerced:?}", shown());
                assert_eq!(coerced.data_type(), &to, "{}", shown());
                assert_eq!(coerced.len(), column.len(), "{}", shown());
                coerced.to_data().validate_full().unwrap_or_else(|error| panic!("{}: {error}", shown()));
                for (row, before) in values.iter().enumerate() {
                    let after = read(&coerced, row);
                    assert!(same(before, &after), "row {row} became {after:?}; {}", shown());
                }
                done += 1;
                cast += usize::from(from != to && !column.is_empty());
            }
            Err(error) => assert_eq!(Some(error.row()), misfit, "{error}; {}", shown()),
        }
    }
    // Else it would prove nothing.
    assert!(allowed > 10_000 && cast > 3_000 && allowed - done > 1_000, "{allowed} {done} {cast}");
}
