//! Functions of rows: what `#[udf]` makes of ordinary functions, for every type that can be a column.

mod attributes;
mod failing;

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use anyudf_arrow::catalog::{DEFAULT, VARIADIC};
use anyudf_worker::rows::{Decimal, Interval, NoOptions, Rows, ScalarFunction};
use anyudf_worker::{Definition, IntoDefinition, Kind, UdfStruct, UdfTester, Volatility, udf};
use arrow::array::*;
use arrow::buffer::NullBuffer;
use arrow::datatypes::*;
use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Timelike, Utc};

/// Adds two numbers,
/// both of which must be there.
///
/// More about it.
#[udf]
fn add(left: i64, right: i64) -> i64 {
    left + right
}

fn error(function: impl IntoDefinition, columns: Vec<ArrayRef>) -> (String, String) {
    let error = UdfTester::new(function).call(columns).expect_err("it fails");
    (error.condition().to_owned(), error.to_string())
}

fn column(array: impl Array + 'static) -> ArrayRef {
    Arc::new(array)
}

/// Calls a function with columns and compares the whole result.
fn check(function: impl IntoDefinition, columns: Vec<ArrayRef>, expected: impl Array + 'static) {
    let definition = function.into_definition();
    let declared = definition.result_schema().expect("it says").field(0).data_type().clone();
    let result = UdfTester::new(definition).call(columns).expect("it runs");
    assert_eq!(result.data_type(), &declared);
    assert_eq!(result.to_data(), expected.to_data());
}

#[test]
fn a_function_stays_one_and_is_a_definition_too() {
    assert_eq!(add(2, 3), 5);
    let definition: Definition = add.into_definition();
    assert_eq!((definition.name(), definition.kind()), ("add", Kind::Scalar));
    assert_eq!(definition.help_text(), "Adds two numbers, both of which must be there.");
    assert_eq!(definition.entry().volatility, Volatility::Volatile);
    assert_eq!(definition.version_text(), env!("CARGO_PKG_VERSION"));
    let arguments = definition.argument_schema().expect("it says");
    let names: Vec<_> = arguments.fields().iter().map(|field| field.name().as_str()).collect();
    assert_eq!(names, ["left", "right"]);
    assert_eq!(definition.result_schema().expect("it says").field(0).data_type(), &DataType::Int64);
}

#[test]
fn a_function_may_call_itself_and_have_no_arguments() {
    #[udf]
    fn factorial(n: u64) -> u64 {
        if n < 2 { 1 } else { n * factorial(n - 1) }
    }
    #[udf]
    fn answer() -> i8 {
        42
    }
    check(factorial, vec![column(UInt64Array::from(vec![0, 5, 10]))], UInt64Array::from(vec![1, 120, 3_628_800]));
    check(answer, vec![], Int8Array::from(vec![42]));
}

#[test]
fn null_in_gives_null_out_and_no_call() {
    #[udf]
    fn quotient(a: i32, b: i32) -> i32 {
        a / b
    }
    // The zero is below a null: a call would panic.
    let divisors = Int32Array::new(vec![2, 0, 3].into(), Some(NullBuffer::from(vec![true, false, true])));
    let columns = vec![column(Int32Array::from(vec![Some(8), Some(1), None])), column(divisors)];
    check(quotient, columns, Int32Array::from(vec![Some(4), None, None]));
}

#[test]
fn an_option_is_called_for_nulls_and_may_return_one() {
    #[udf]
    fn or_zero(x: Option<f32>, y: f32) -> f32 {
        x.unwrap_or(0.0) + y
    }
    #[udf]
    fn positive(x: i16) -> Option<i16> {
        (x > 0).then_some(x)
    }
    let x = Float32Array::from(vec![Some(1.0), None, None]);
    let y = Float32Array::from(vec![Some(1.0), Some(2.0), None]);
    check(or_zero, vec![column(x), column(y)], Float32Array::from(vec![Some(2.0), Some(2.0), None]));
    let x = Int16Array::from(vec![Some(1), Some(-1), None, Some(3)]);
    check(positive, vec![column(x)], Int16Array::from(vec![Some(1), None, None, Some(3)]));
}

#[test]
fn text_comes_in_any_layout_and_is_borrowed_both_ways() {
    #[udf]
    fn first_word(text: &str) -> &str {
        text.split(' ').next().unwrap_or_default()
    }
    #[udf]
    fn longer<'a>(a: &'a str, b: Cow<'_, str>) -> Cow<'a, str> {
        if a.len() > b.len() { Cow::Borrowed(a) } else { Cow::Owned(b.into_owned()) }
    }
    #[udf]
    fn shout(text: String) -> String {
        text.to_uppercase()
    }
    let texts = [Some("the quick"), None, Some("")];
    let expected = || StringArray::from(vec![Some("the"), None, Some("")]);
    check(first_word, vec![column(StringArray::from(texts.to_vec()))], expected());
    check(first_word, vec![column(LargeStringArray::from(texts.to_vec()))], expected());
    check(first_word, vec![column(StringViewArray::from(texts.to_vec()))], expected());
    let pair = vec![column(StringArray::from(vec!["ab", "a"])), column(StringArray::from(vec!["x", "xyz"]))];
    check(longer, pair, StringArray::from(vec!["ab", "xyz"]));
    check(shout, vec![column(StringArray::from(vec!["é"]))], StringArray::from(vec!["É"]));
    let (condition, text) = error(shout, vec![column(Int32Array::from(vec![1]))]);
    assert_eq!(condition, "WRONG_ARGUMENT_TYPE");
    assert!(text.contains("argument 1 (`text`) of `shout` must be Utf8"), "{text}");
}

#[test]
fn bytes_are_no_lists() {
    #[udf]
    fn reversed(bytes: &[u8]) -> Vec<u8> {
        bytes.iter().rev().copied().collect()
    }
    #[udf]
    fn length(bytes: Vec<u8>) -> u8 {
        bytes.len() as u8
    }
    let bytes: [&[u8]; 2] = [b"abc", b""];
    check(reversed, vec![column(BinaryViewArray::from(bytes.to_vec()))], BinaryArray::from_vec(vec![b"cba", b""]));
    check(length, vec![column(BinaryArray::from_vec(bytes.to_vec()))], UInt8Array::from(vec![3, 0]));
}

#[test]
fn bools_beyond_a_word_of_bits() {
    #[udf]
    fn not(x: bool) -> bool {
        !x
    }
    let values = |flip: bool| BooleanArray::from_iter((0..200).map(|i| (i % 7 > 0).then_some((i % 3 == 0) ^ flip)));
    check(not, vec![column(values(false))], values(true));
    let values = |flip: bool| BooleanArray::from_iter((0..200).map(|i| Some((i % 3 == 0) ^ flip)));
    check(not, vec![column(values(false).slice(3, 190))], values(true).slice(3, 190));
}

#[test]
fn dates_and_times() {
    #[udf]
    fn next_day(date: NaiveDate) -> Option<NaiveDate> {
        date.succ_opt()
    }
    #[udf]
    fn year(at: DateTime<Utc>) -> i32 {
        at.year()
    }
    #[udf]
    fn midnight(at: NaiveDateTime) -> NaiveDateTime {
        at.date().and_time(NaiveTime::MIN)
    }
    #[udf]
    fn same(at: DateTime<Utc>) -> DateTime<Utc> {
        at
    }
    #[udf]
    fn hour(time: NaiveTime) -> u32 {
        time.hour()
    }
    #[udf]
    fn later(time: NaiveTime, by: TimeDelta) -> NaiveTime {
        time.overflowing_add_signed(by).0
    }
    #[udf]
    fn half(by: TimeDelta) -> TimeDelta {
        by / 2
    }
    #[udf]
    fn months(interval: Interval) -> Interval {
        Interval::new(interval.months, 0, 0)
    }
    check(next_day, vec![column(Date32Array::from(vec![Some(0), None]))], Date32Array::from(vec![Some(1), None]));
    let second = 1_000_000_000;
    let zoned = TimestampSecondArray::from(vec![second, 0]).with_timezone("Europe/Paris");
    check(year, vec![column(zoned.clone())], Int32Array::from(vec![2001, 1970]));
    let micros = TimestampMicrosecondArray::from(vec![second * 1_000_000, 0]).with_timezone("UTC");
    check(same, vec![column(zoned)], micros.clone());
    let nanos = TimestampNanosecondArray::from(vec![second * 1_000_000_000 + 1]);
    let day = second / 86_400 * 86_400 * 1_000_000;
    check(midnight, vec![column(nanos)], TimestampMicrosecondArray::from(vec![day]));
    let time = || column(Time64MicrosecondArray::from(vec![3_600_000_000]));
    check(hour, vec![time()], UInt32Array::from(vec![1]));
    let hours = || column(DurationMicrosecondArray::from(vec![2 * 3_600_000_000]));
    check(later, vec![time(), hours()], Time64MicrosecondArray::from(vec![3 * 3_600_000_000]));
    check(half, vec![hours()], DurationMicrosecondArray::from(vec![3_600_000_000]));
    let interval = IntervalMonthDayNanoArray::from(vec![Interval::new(14, 3, 5)]);
    check(months, vec![column(interval)], IntervalMonthDayNanoArray::from(vec![Interval::new(14, 0, 0)]));
    // Without a zone it is no instant.
    assert_eq!(error(year, vec![column(TimestampSecondArray::from(vec![0]))]).0, "WRONG_ARGUMENT_TYPE");
}

#[test]
fn decimals() {
    #[udf]
    fn vat(price: Decimal<9, 2>) -> Option<Decimal<12, 4>> {
        Decimal::new(price.unscaled() * 19)
    }
    let prices = Decimal128Array::from(vec![Some(10_00), None]).with_precision_and_scale(9, 2).expect("valid");
    let taxes = Decimal128Array::from(vec![Some(1_9000), None]).with_precision_and_scale(12, 4).expect("valid");
    check(vat, vec![column(prices)], taxes);
    let shown = |unscaled| Decimal::<9, 3>::new(unscaled).expect("few digits").to_string();
    assert_eq!([shown(0), shown(5), shown(-12_345)], ["0.000", "0.005", "-12.345"]);
    assert_eq!(Decimal::<5, -2>::new(7).expect("few digits").to_string(), "700");
}

#[test]
fn lists_and_slices() {
    #[udf]
    fn mean(values: &[f64]) -> Option<f64> {
        (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
    }
    #[udf]
    fn words(text: &str) -> Vec<&str> {
        text.split_whitespace().collect()
    }
    #[udf]
    fn known(values: Vec<Option<i32>>) -> Vec<Option<i32>> {
        values.into_iter().filter(Option::is_some).collect()
    }
    #[udf]
    fn flat(lists: Vec<Vec<String>>) -> Vec<String> {
        lists.concat()
    }
    let numbers = || {
        let lists = [Some(vec![Some(1.0), Some(2.0)]), None, Some(vec![]), Some(vec![Some(7.0)])];
        ListArray::from_iter_primitive::<Float64Type, _, _>(lists)
    };
    check(mean, vec![column(numbers())], Float64Array::from(vec![Some(1.5), None, None, Some(7.0)]));
    check(mean, vec![column(numbers().slice(2, 2))], Float64Array::from(vec![None, Some(7.0)]));
    let lists = [Some(vec![Some(1), None]), None, Some(vec![None])];
    let expected = [Some(vec![Some(1)]), None, Some(vec![])];
    check(
        known,
        vec![column(ListArray::from_iter_primitive::<Int32Type, _, _>(lists.clone()))],
        ListArray::from_iter_primitive::<Int32Type, _, _>(expected),
    );
    let mut builder = ListBuilder::new(StringBuilder::new());
    builder.append_value([Some("a"), Some("bc")]);
    builder.append_null();
    builder.append_value::<[Option<&str>; 0], _>([]);
    check(words, vec![column(StringArray::from(vec![Some(" a  bc"), None, Some(" ")]))], builder.finish());
    let mut builder = ListBuilder::new(ListBuilder::new(StringBuilder::new()));
    builder.values().append_value([Some("a")]);
    builder.values().append_value([Some("b"), Some("c")]);
    builder.append(true);
    let mut expected = ListBuilder::new(StringBuilder::new());
    expected.append_value([Some("a"), Some("b"), Some("c")]);
    check(flat, vec![column(builder.finish())], expected.finish());
}

#[derive(UdfStruct, Debug, Clone, PartialEq)]
struct Point {
    lat: f64,
    lon: f64,
    height: Option<i32>,
}

#[derive(UdfStruct)]
struct Named<'a> {
    name: &'a str,
    at: Vec<Point>,
}

fn points(heights: Vec<Option<i32>>, nulls: Option<NullBuffer>) -> StructArray {
    let field = |name: &str, data_type| Field::new(name, data_type, true);
    let fields =
        vec![field("lat", DataType::Float64), field("lon", DataType::Float64), field("height", DataType::Int32)];
    let degrees = |start: f64| column(Float64Array::from_iter_values((0..heights.len()).map(|i| start + i as f64)));
    let columns = vec![degrees(1.0), degrees(10.0), column(Int32Array::from(heights.clone()))];
    StructArray::new(fields.into(), columns, nulls)
}

#[test]
fn structs_come_and_go() {
    #[udf]
    fn mirrored(point: Point) -> Point {
        Point { lat: point.lon, lon: point.lat, ..point }
    }
    #[udf]
    fn where_is(named: Named<'_>) -> Option<String> {
        named.at.first().map(|point| format!("{} at {}", named.name, point.lat))
    }
    #[udf]
    fn single<'a>(name: &'a str, point: Option<Point>) -> Named<'a> {
        Named { name, at: point.into_iter().collect() }
    }
    let nulls = Some(NullBuffer::from(vec![true, false, true]));
    let result = UdfTester::new(mirrored).call([points(vec![Some(5), None, None], nulls)]).expect("it runs");
    let result = result.as_struct();
    assert_eq!(result.column(0).as_primitive::<Float64Type>().value(2), 12.0);
    assert_eq!(result.column(1).as_primitive::<Float64Type>().value(0), 1.0);
    assert_eq!(result.column(2).as_primitive::<Int32Type>(), &Int32Array::from(vec![Some(5), None, None]));
    assert!(result.is_null(1) && result.null_count() == 1);
    let names = StringArray::from(vec!["a", "b", "c"]);
    let named = UdfTester::new(single).call([column(names), column(points(vec![None; 3], None))]).expect("it runs");
    let texts = UdfTester::new(where_is).call([named]).expect("it runs");
    assert_eq!(texts.as_string::<i32>(), &StringArray::from(vec!["a at 1", "b at 2", "c at 3"]));
}
