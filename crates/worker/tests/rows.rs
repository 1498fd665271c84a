//! Functions of rows: what `#[udf]` makes of ordinary functions, for every type that can be a column.

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
fn attributes_reach_the_catalogue() {
    #[udf(name = "plus", aliases = ["sum", "total"], volatility = "immutable", version = "7", help = "a sum")]
    fn f(x: i32) -> i32 {
        x
    }
    #[udf(timeout = "2m", repeatable)]
    fn g(x: i32) -> i32 {
        x
    }
    let entry = g.into_definition().entry().clone();
    assert_eq!((entry.timeout, entry.repeatable), (Some(Duration::from_secs(120)), true));
    let entry = f.into_definition().entry().clone();
    assert!(!entry.repeatable && entry.is_repeatable(), "what is immutable may be run again");
    assert_eq!(entry.timeout, None);
    assert_eq!((&*entry.name, &*entry.version, &*entry.help), ("plus", "7", "a sum"));
    assert_eq!((&entry.aliases[..], entry.volatility), (&["sum".into(), "total".into()][..], Volatility::Immutable));
}

/// Counts words.
#[udf(
    name = "how_often",
    example("a b a", "a", None => Some(2)),
    example("a b a", "a", Some(-1) => Some(-2),),
    example("a", "", None => Err("an empty word"))
)]
fn occurrences(text: &str, word: &str, times: Option<i64>) -> Result<Option<i64>, String> {
    if word.is_empty() {
        return Err("an empty word is everywhere".into());
    }
    let count = text.matches(word).count() as i64;
    Ok(Some(count * times.unwrap_or(1)))
}

/// The attribute has made the test `occurrences_examples` of them too.
#[test]
fn examples_are_in_the_catalogue() {
    let entry = occurrences.into_definition().entry().clone();
    let examples = [
        r#"how_often("a b a", "a", null) = 2"#,
        r#"how_often("a b a", "a", -1) = -2"#,
        r#"how_often("a", "", null) fails: an empty word"#,
    ];
    assert_eq!((&*entry.help, &entry.examples[..]), ("Counts words.", &examples.map(String::from)[..]));
    assert!(add.into_definition().entry().examples.is_empty());
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
fn a_date_out_of_range_is_an_error_unless_it_is_below_a_null() {
    #[udf]
    fn day(date: NaiveDate) -> u32 {
        date.day()
    }
    let dates = || Date32Array::from(vec![0, i32::MAX]);
    let (condition, text) = error(day, vec![column(dates())]);
    assert_eq!(condition, "UNREADABLE_ARGUMENT");
    assert_eq!(text, "`day`, batch 1: row 1: argument 1: the date is out of range");
    let (_, values, _) = dates().into_parts();
    let dates = Date32Array::new(values, Some(NullBuffer::from(vec![true, false])));
    check(day, vec![column(dates)], UInt32Array::from(vec![Some(1), None]));
}

#[test]
fn a_duration_that_no_column_holds_is_an_error_of_its_row() {
    #[derive(UdfStruct)]
    struct Wait {
        waits: Vec<Option<TimeDelta>>,
    }
    fn days(days: i64) -> TimeDelta {
        TimeDelta::days(days)
    }
    #[udf]
    fn plain(n: i64) -> TimeDelta {
        days(n)
    }
    #[udf]
    fn within(n: i64) -> Wait {
        Wait { waits: vec![None, Some(days(n))] }
    }
    #[udf(on_error = "null")]
    fn or_null(n: i64) -> Result<TimeDelta, String> {
        Ok(days(n))
    }
    #[udf(on_error = "collect")]
    fn collected(n: i64) -> Option<TimeDelta> {
        Some(days(n))
    }
    let numbers = || vec![column(Int64Array::from(vec![Some(1), None, Some(1 << 30)]))];
    let text = "row 2: the duration is out of range: a column counts microseconds, up to 292,000 years";
    assert_eq!(error(plain, numbers()), ("VALUE_OUT_OF_RANGE".into(), format!("`plain`, batch 1: {text}")));
    let (_, text) = error(within, numbers());
    assert!(text.contains("row 2: the field `waits`: the duration is out of range"), "{text}");
    check(or_null, numbers(), DurationMicrosecondArray::from(vec![Some(86_400_000_000), None, None]));
    let result = UdfTester::new(collected).call(numbers()).expect("no row fails the others");
    let errors = result.as_struct().column(1).as_string::<i32>();
    assert!(errors.value(2).starts_with("the duration is out of range") && errors.null_count() == 2, "{errors:?}");
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

/// Arrow's arrays hold what they are given.
#[test]
fn a_decimal_with_too_many_digits_names_its_row() {
    #[udf]
    fn same(price: Decimal<3, 2>) -> Decimal<3, 2> {
        price
    }
    let prices = Decimal128Array::from(vec![Some(999), None, Some(1000)]);
    let prices = column(prices.with_precision_and_scale(3, 2).expect("3 digits, 2 behind the point"));
    let (condition, text) = error(same, vec![prices.clone()]);
    assert_eq!(condition, "UNREADABLE_ARGUMENT");
    assert!(text.contains("row 2: argument 1: the decimal is out of range"), "{text}");
    check(
        same,
        vec![prices.slice(0, 2)],
        Decimal128Array::from(vec![Some(999), None]).with_precision_and_scale(3, 2).expect("as before"),
    );
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

#[test]
fn a_null_item_names_its_row_unless_nobody_reads_it() {
    #[udf]
    fn total(values: &[i32], scale: i32) -> i32 {
        values.iter().sum::<i32>() * scale
    }
    let lists = [Some(vec![Some(1)]), Some(vec![]), Some(vec![Some(2), None])];
    let lists = column(ListArray::from_iter_primitive::<Int32Type, _, _>(lists));
    let (condition, text) = error(total, vec![lists.clone(), column(Int32Array::from(vec![1, 1, 1]))]);
    assert_eq!(condition, "UNREADABLE_ARGUMENT");
    assert!(text.contains("row 2: argument 1: an item of the list is null"), "{text}");
    // What lies outside of a slice is nobody's; a message would not carry it, so this is without one.
    let own: [ArrayRef; 2] = [lists.slice(0, 2), column(Int32Array::from(vec![1, 1]))];
    let totals = total::evaluate(&Rows::of(&own, 2), &NoOptions {}).expect("no item of these lists is null");
    assert_eq!(totals.as_primitive::<Int32Type>(), &Int32Array::from(vec![1, 0]));
    // The other argument is null there, so there is no call.
    let scale = Int32Array::from(vec![Some(10), None, None]);
    check(total, vec![lists, column(scale)], Int32Array::from(vec![Some(10), None, None]));
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

#[test]
fn a_null_field_names_its_row() {
    #[derive(UdfStruct)]
    struct High {
        height: i32,
    }
    #[udf]
    fn height(high: High) -> i32 {
        high.height
    }
    let heights = |nulls| {
        let field = Field::new("height", DataType::Int32, true);
        StructArray::new(vec![field].into(), vec![column(Int32Array::from(vec![Some(3), None]))], nulls)
    };
    let (_, text) = error(height, vec![column(heights(None))]);
    assert!(text.contains("row 1: argument 1: the field `height` is null"), "{text}");
    let nulls = Some(NullBuffer::from(vec![true, false]));
    check(height, vec![column(heights(nulls))], Int32Array::from(vec![Some(3), None]));
}

#[test]
fn r7_an_error_names_its_row_and_keeps_its_class() {
    #[udf]
    fn parsed(text: &str) -> Result<i32, std::num::ParseIntError> {
        text.parse()
    }
    #[udf]
    fn picky(x: i32) -> anyudf_worker::Result<Option<i32>> {
        if x < 0 { Err(anyudf_worker::Error::user("below zero").with_class("BELOW_ZERO")) } else { Ok(Some(x)) }
    }
    let texts = StringArray::from(vec![Some("1"), None, Some("x")]);
    let (condition, text) = error(parsed, vec![column(texts)]);
    assert_eq!((&*condition, &*text), ("FUNCTION_FAILED", "`parsed`, batch 1: row 2: invalid digit found in string"));
    let numbers = |values: &[i32]| RecordBatch::try_from_iter([("x", column(Int32Array::from(values.to_vec())))]);
    let batches = [numbers(&[1, 2]).expect("a batch"), numbers(&[3, -4]).expect("a batch")];
    let error = UdfTester::new(picky).run(batches).expect_err("it fails");
    assert_eq!(error.condition(), "BELOW_ZERO");
    assert_eq!(error.to_string(), "`picky`, batch 2: row 1 (row 3 of the execution): below zero");
}

#[test]
fn r14_a_panic_names_its_row() {
    #[udf]
    fn quotient(a: i32, b: i32) -> i32 {
        a / b
    }
    let columns = |b: Vec<Option<i32>>| {
        let a = column(Int32Array::from(vec![1; b.len()]));
        RecordBatch::try_from_iter_with_nullable([("a", a, true), ("b", column(Int32Array::from(b)), true)])
            .expect("a batch")
    };
    let batches = [columns(vec![Some(1); 100]), columns(vec![Some(1), None, Some(0), Some(1)])];
    let error = UdfTester::new(quotient).run(batches).expect_err("it panics");
    assert_eq!(error.condition(), "PANIC");
    let text = error.to_string();
    assert!(
        text.starts_with(
            "the function panicked in process, batch 2, row 2 (row 102 of the execution): attempt to divide by zero"
        ),
        "{text}"
    );
}

#[test]
fn on_error_null_keeps_the_other_rows() {
    #[udf(on_error = "null")]
    fn parsed(text: &str) -> Result<i32, std::num::ParseIntError> {
        text.parse()
    }
    let texts = StringArray::from(vec![Some("1"), None, Some("x"), Some("4")]);
    check(parsed, vec![column(texts)], Int32Array::from(vec![Some(1), None, None, Some(4)]));
}

/// A row whose argument has no value is a row that fails, whatever keeps it from having one.
#[test]
fn on_error_null_is_for_rows_that_cannot_be_read_too() {
    #[udf(on_error = "null")]
    fn day(date: NaiveDate, ends: Vec<i32>) -> Result<i32, String> {
        ends.first().map(|end| end + date.day() as i32).ok_or_else(|| "no end".into())
    }
    let dates = Date32Array::from(vec![Some(0), Some(i32::MAX), None, Some(1), Some(i32::MIN), Some(2), Some(3)]);
    let ends = |first: Option<i32>| Some(vec![first, Some(7)]);
    let lists = [ends(Some(10)), ends(Some(10)), ends(None), ends(None), ends(None), Some(vec![]), ends(Some(20))];
    let lists = ListArray::from_iter_primitive::<Int32Type, _, _>(lists);
    let expected = Int32Array::from(vec![Some(11), None, None, None, None, None, Some(24)]);
    check(day, vec![column(dates), column(lists)], expected);
}

fn outcomes(array: &ArrayRef) -> Vec<(Option<i32>, Option<&str>)> {
    let outcomes = array.as_struct();
    assert_eq!((outcomes.column_names(), outcomes.null_count()), (vec!["value", "error"], 0));
    let values = outcomes.column(0).as_primitive::<Int32Type>().iter();
    values.zip(outcomes.column(1).as_string::<i32>()).collect()
}

#[test]
fn r7_r14_on_error_collect_tells_errors_and_panics_beside_the_values() {
    #[udf(on_error = "collect")]
    fn share(text: &str, of: Option<i32>) -> Result<Option<i32>, Box<dyn std::error::Error + Send + Sync>> {
        let parts: i32 = text.parse()?;
        Ok(of.map(|of| of / parts))
    }
    let definition = share.into_definition();
    let declared = definition.result_schema().expect("it says").field(0).data_type().to_string();
    assert!(declared.contains("\"value\": Int32") && declared.contains("\"error\": Utf8"), "{declared}");
    let texts = StringArray::from(vec![Some("2"), Some("x"), None, Some("0"), Some("1"), Some("5")]);
    let numbers = Int32Array::from(vec![Some(8), Some(1), Some(1), Some(1), None, Some(5)]);
    let result = UdfTester::new(share).call([column(texts), column(numbers)]).expect("no row fails the others");
    let outcomes = outcomes(&result);
    assert_eq!(outcomes[..3], [(Some(4), None), (None, Some("invalid digit found in string")), (None, None)]);
    let (value, panic) = outcomes[3];
    let panic = panic.expect("an error");
    assert!(value.is_none() && panic.starts_with("the function panicked: attempt to divide by zero, at "), "{panic}");
    assert_eq!(outcomes[4..], [(None, None), (Some(1), None)]);
}

#[test]
fn on_error_collect_tells_what_cannot_be_read() {
    #[udf(on_error = "collect")]
    fn day(date: NaiveDate, list: &[i32]) -> i32 {
        date.day() as i32 + list[0]
    }
    let dates = Date32Array::from(vec![0, i32::MAX, 1, i32::MAX]);
    let lists = [Some(vec![Some(1)]), Some(vec![Some(1)]), Some(vec![Some(1), None]), Some(vec![None, None])];
    let lists = ListArray::from_iter_primitive::<Int32Type, _, _>(lists);
    let result = UdfTester::new(day).call([column(dates), column(lists)]).expect("no row fails the others");
    let (date, item) = ("argument 1: the date is out of range", "argument 2: an item of the list is null");
    let outcomes = outcomes(&result);
    assert_eq!(outcomes[0], (Some(2), None));
    assert_eq!(outcomes[1], (None, Some(date)));
    assert!(outcomes[2].1.is_some_and(|text| text.starts_with(item)), "{outcomes:?}");
    assert_eq!(outcomes[3], (None, Some(date)));
}

/// R12: who was cancelled is not a row that fails.
#[test]
fn r12_on_error_collect_collects_no_cancellation() {
    #[udf(on_error = "collect")]
    fn waits(x: i32) -> anyudf_worker::Result<i32> {
        if x > 1 { Err(anyudf_worker::Error::cancelled()) } else { Ok(x) }
    }
    let numbers: [ArrayRef; 1] = [column(Int32Array::from(vec![1, 2]))];
    let error = waits::evaluate(&Rows::of(&numbers, 2), &NoOptions {}).expect_err("it was cancelled");
    assert_eq!(error.kind(), anyudf_worker::ErrorKind::Cancelled);
}

#[test]
fn arguments_may_be_left_out() {
    #[udf]
    fn labelled(
        x: i64,
        #[default(-3_000_000_000)] y: i64,
        #[default("a \"b\"\n")] label: String,
        #[default(1.5)] scale: Option<f64>,
        #[default(None)] on: Option<NaiveDate>,
        #[default(true)] is: bool,
    ) -> String {
        format!("{x} {y} {label:?} {scale:?} {on:?} {is}")
    }
    let definition = labelled.into_definition();
    let arguments = definition.argument_schema().expect("it says");
    let defaults: Vec<_> = arguments.fields().iter().map(|field| field.metadata().get(DEFAULT).cloned()).collect();
    let said = [None, Some("-3000000000"), Some(r#""a \"b\"\u000a""#), Some("1.5"), Some("null"), Some("true")];
    assert_eq!(defaults, said.map(|json| json.map(String::from)));
    let number = |n: i64| column(Int64Array::from(vec![Some(n), None]));
    let text = column(StringArray::from(vec!["c"; 2]));
    let rest = r#"1 -3000000000 "a \"b\"\n" Some(1.5) None true"#;
    check(labelled, vec![number(1)], StringArray::from(vec![Some(rest), None]));
    let rest = r#"1 2 "c" Some(1.5) None true"#;
    check(labelled, vec![number(1), number(2), text], StringArray::from(vec![Some(rest), None]));
    let (condition, text) = error(labelled, vec![]);
    assert_eq!(condition, "WRONG_ARGUMENT_COUNT");
    assert!(text.contains("`labelled` takes 1 to 6 arguments: (x Int64, y Int64 = -3000000000, "), "{text}");
}

#[test]
fn the_last_argument_may_be_many_columns() {
    #[udf]
    fn total(#[variadic] numbers: &[i32]) -> i32 {
        numbers.iter().sum()
    }
    #[udf]
    fn first(#[default("?")] or: &str, #[variadic] texts: Vec<Option<&str>>) -> String {
        texts.iter().flatten().next().unwrap_or(&or).to_string()
    }
    let numbers = |numbers: &[Option<i32>]| column(Int32Array::from(numbers.to_vec()));
    let columns = vec![numbers(&[Some(1), None, Some(3)]), numbers(&[Some(10), Some(20), Some(30)])];
    check(total, columns, Int32Array::from(vec![Some(11), None, Some(33)]));
    check(total, vec![numbers(&[Some(7)])], Int32Array::from(vec![7]));
    check(total, vec![], Int32Array::from(vec![0]));
    let texts = |texts: &[Option<&str>]| StringArray::from(texts.to_vec());
    let view = column(StringViewArray::from(vec![None, Some("v"), None]));
    let columns = vec![column(texts(&[Some("x"); 3])), column(texts(&[Some("a"), None, None])), view];
    check(first, columns, StringArray::from(vec!["a", "v", "x"]));
    check(first, vec![column(texts(&[Some("x"), None]))], StringArray::from(vec![Some("x"), None]));
    check(first, vec![], StringArray::from(vec!["?"]));
    let arguments = first.into_definition().argument_schema().expect("it says").clone();
    let last = arguments.field(1);
    assert_eq!((last.data_type(), last.metadata()[VARIADIC].as_str()), (&DataType::Utf8, "true"));
    let wrong = vec![numbers(&[Some(1)]), column(texts(&[Some("a")]))];
    let (condition, text) = error(total, wrong);
    assert_eq!(condition, "WRONG_ARGUMENT_TYPE");
    assert!(text.contains("argument 2 (`numbers`) of `total` must be Int32"), "{text}");
}

/// What the attributes write has names too, and none of them is taken from the author.
#[test]
fn names_of_ours_are_free_for_authors() {
    macro_rules! functions {
        ($($name:ident),+) => {
            $(
                #[udf]
                fn $name(x: i32, #[options] _o: &HashMap<String, i32>) -> i32 {
                    x
                }
            )+
        };
    }
    functions!(
        rows, options, batch, before, out, a0, slots, wanted, fields, row, count, value, nulls, columns, error, other
    );
    #[udf(map)]
    fn part<'a>(x: &'a str, n: i32) -> Vec<Column<'a>> {
        vec![Column { text: x, reader: vec![Reader { rows: n }] }]
    }
    #[derive(UdfStruct)]
    struct Reader {
        rows: i32,
    }
    #[derive(UdfStruct)]
    struct Column<'a> {
        text: &'a str,
        reader: Vec<Reader>,
    }
    let numbers = || column(Int32Array::from(vec![1]));
    for function in [rows.into_definition(), options.into_definition()] {
        check(function, vec![numbers()], Int32Array::from(vec![1]));
    }
    let input = RecordBatch::try_from_iter([("a", column(StringArray::from(vec!["x"]))), ("b", numbers())]);
    assert_eq!(UdfTester::new(part).run([input.expect("a batch")]).expect("it runs").batches[0].num_columns(), 2);
    let _ = (batch, before, out, a0, slots, wanted, fields, row, count, value, nulls, columns, error, other);
}

/// Lints are errors here, so each of these would not compile.
#[test]
fn attributes_of_authors_hold_for_all_that_is_written() {
    #[udf]
    #[cfg(any())]
    fn absent(x: TypeThatIsNot) -> f64 {
        x
    }
    #[udf]
    #[deprecated(note = "use another")]
    fn old(x: i32) -> i32 {
        x
    }
    #[udf]
    #[expect(clippy::needless_return, reason = "it is what this is about")]
    fn returns(x: i32) -> i32 {
        return x;
    }
    #[udf]
    #[expect(dead_code, reason = "it is what this is about")]
    fn unused(x: i32) -> i32 {
        x
    }
    #[expect(deprecated, reason = "it is what this is about")]
    let function = old;
    check(function, vec![column(Int32Array::from(vec![1]))], Int32Array::from(vec![1]));
    assert_eq!(returns(2), 2);
}

#[test]
fn options_are_a_struct() {
    #[derive(serde::Deserialize)]
    struct Options {
        factor: f64,
        #[serde(default)]
        names: HashMap<String, i32>,
    }
    #[udf]
    fn scaled(x: f64, #[options] options: &Options, y: f64) -> f64 {
        (x + y) * options.factor + options.names.len() as f64
    }
    let options = Options { factor: 2.0, names: HashMap::new() };
    assert_eq!(scaled(1.0, &options, 2.0), 6.0);
    let tester = UdfTester::new(scaled);
    let columns = || [Float64Array::from(vec![1.0]), Float64Array::from(vec![2.0])];
    let options = serde_json::json!({"factor": 10, "names": {"a": 1}});
    let result = tester.clone().with_options(options).call(columns()).expect("it runs");
    assert_eq!(result.as_primitive::<Float64Type>().value(0), 31.0);
    let error = tester.call(columns()).expect_err("no factor");
    assert_eq!(error.condition(), "BAD_OPTIONS");
    assert!(error.to_string().contains("factor"), "{error}");
    let error = UdfTester::new(add).with_options(serde_json::json!({"factor": 1})).run([]).expect_err("no options");
    assert_eq!(error.condition(), "BAD_OPTIONS");
}
