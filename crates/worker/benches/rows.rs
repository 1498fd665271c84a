//! How fast the loop of `#[udf]` is, beside one written by hand over the arrays.
//!
//! `cargo bench -p anyudf-worker`. One line for each function: millions of rows a second, by hand and by `#[udf]`, and the
//! ratio; the best of several rounds, which take turns so that the machine's moods meet both. With `--assert` it fails when
//! a function of fixed width is below 0.95.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyudf_worker::rows::{NoOptions, Rows, ScalarFunction};
use anyudf_worker::udf;
use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, PrimitiveArray, StringArray, StringBuilder,
};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::datatypes::{Float64Type, Int64Type};

const ROWS: usize = 8_192;
const ROUNDS: usize = 60;
const LEAST: f64 = 0.95;

#[udf]
fn add(a: i64, b: i64) -> i64 {
    a.wrapping_add(b)
}

#[udf]
fn fahrenheit(celsius: f64) -> f64 {
    celsius * 1.8 + 32.0
}

#[udf]
fn is_hot(celsius: f64) -> bool {
    celsius > 30.0
}

#[udf]
fn checked(a: i64, b: i64) -> Option<i64> {
    a.checked_add(b)
}

#[udf]
fn distance(lat1: f64, lon1: f64, lat2: f64, lon2: f64) -> f64 {
    let (lat1, lat2) = (lat1.to_radians(), lat2.to_radians());
    let half_lat = ((lat2 - lat1) / 2.0).sin();
    let half_lon = ((lon2 - lon1).to_radians() / 2.0).sin();
    let chord = half_lat * half_lat + lat1.cos() * lat2.cos() * half_lon * half_lon;
    2.0 * 3958.7613 * chord.clamp(0.0, 1.0).sqrt().asin()
}

#[udf]
fn trimmed(text: &str) -> &str {
    text.trim()
}

fn numbers(column: &ArrayRef) -> &[f64] {
    column.as_primitive::<Float64Type>().values()
}

fn integers(column: &ArrayRef) -> &[i64] {
    column.as_primitive::<Int64Type>().values()
}

fn add_by_hand(columns: &[ArrayRef]) -> ArrayRef {
    let sums = integers(&columns[0]).iter().zip(integers(&columns[1])).map(|(a, b)| a.wrapping_add(*b));
    Arc::new(Int64Array::from_iter_values(sums))
}

/// Where nulls are, the sum is not made, as `#[udf]` promises.
fn add_nulls_by_hand(columns: &[ArrayRef]) -> ArrayRef {
    let nulls = NullBuffer::union(columns[0].nulls(), columns[1].nulls());
    let (a, b) = (integers(&columns[0]), integers(&columns[1]));
    let valid = |row: usize| nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row));
    let sums: Vec<i64> = (0..a.len()).map(|row| if valid(row) { a[row].wrapping_add(b[row]) } else { 0 }).collect();
    Arc::new(PrimitiveArray::<Int64Type>::new(sums.into(), nulls))
}

fn fahrenheit_by_hand(columns: &[ArrayRef]) -> ArrayRef {
    Arc::new(Float64Array::from_iter_values(numbers(&columns[0]).iter().map(|c| c * 1.8 + 32.0)))
}

fn is_hot_by_hand(columns: &[ArrayRef]) -> ArrayRef {
    let celsius = numbers(&columns[0]);
    Arc::new(BooleanArray::new(BooleanBuffer::collect_bool(celsius.len(), |row| celsius[row] > 30.0), None))
}

fn checked_by_hand(columns: &[ArrayRef]) -> ArrayRef {
    let sums = integers(&columns[0]).iter().zip(integers(&columns[1])).map(|(a, b)| a.checked_add(*b));
    Arc::new(Int64Array::from_iter(sums))
}

fn distance_by_hand(columns: &[ArrayRef]) -> ArrayRef {
    let from = numbers(&columns[0]).iter().zip(numbers(&columns[1]));
    let to = numbers(&columns[2]).iter().zip(numbers(&columns[3]));
    let miles = from.zip(to).map(|((lat1, lon1), (lat2, lon2))| distance(*lat1, *lon1, *lat2, *lon2));
    Arc::new(Float64Array::from_iter_values(miles))
}

fn trimmed_by_hand(columns: &[ArrayRef]) -> ArrayRef {
    let texts = columns[0].as_string::<i32>();
    let mut builder = StringBuilder::with_capacity(texts.len(), texts.value_data().len());
    texts.iter().for_each(|text| builder.append_option(text.map(str::trim)));
    Arc::new(builder.finish())
}

/// From columns to a column.
type Column = fn(&[ArrayRef]) -> ArrayRef;

fn by_udf<F: ScalarFunction<Options = NoOptions>>(columns: &[ArrayRef]) -> ArrayRef {
    F::evaluate(&Rows::of(columns, columns[0].len()), &NoOptions {}).expect("these functions never fail")
}

/// The quickest of `ROUNDS` for each of both, taking turns.
fn race(mut one: impl FnMut() -> ArrayRef, mut other: impl FnMut() -> ArrayRef) -> (Duration, Duration) {
    let time = |work: &mut dyn FnMut() -> ArrayRef| {
        let began = Instant::now();
        (0..32).for_each(|_| drop(black_box(work())));
        began.elapsed()
    };
    let mut best = (Duration::MAX, Duration::MAX);
    for _ in 0..ROUNDS {
        best = (best.0.min(time(&mut one)), best.1.min(time(&mut other)));
    }
    best
}

fn main() {
    let asserts = std::env::args().any(|argument| argument == "--assert");
    println!("{:<28} {:>10} {:>10} {:>7}", "millions of rows a second", "by hand", "#[udf]", "ratio");
    let mut slow = Vec::new();
    let mut line = |name: &str, is_fixed: bool, hand: Column, udf: Column, columns: &[ArrayRef]| {
        assert_eq!(&hand(columns), &udf(columns), "{name} gives the same both ways");
        let (by_hand, by_udf) = race(|| hand(black_box(columns)), || udf(black_box(columns)));
        let rate = |time: Duration| (ROWS * 32) as f64 / time.as_secs_f64() / 1e6;
        let ratio = by_hand.as_secs_f64() / by_udf.as_secs_f64();
        println!("{name:<28} {:>10.1} {:>10.1} {ratio:>7.2}", rate(by_hand), rate(by_udf));
        if is_fixed && ratio < LEAST {
            slow.push(name.to_owned());
        }
    };

    let column = |of: fn(usize) -> f64| Arc::new(Float64Array::from_iter_values((0..ROWS).map(of))) as ArrayRef;
    let integer = |of: fn(usize) -> Option<i64>| Arc::new(Int64Array::from_iter((0..ROWS).map(of))) as ArrayRef;
    let full = [integer(|i| Some(i as i64 * 7)), integer(|i| Some(i as i64 - 4_000))];
    let sparse = [integer(|i| (i % 97 > 0).then_some(i as i64)), integer(|i| (i % 101 > 0).then_some(3))];
    let half = [integer(|i| (i * 7_919 % 13 > 5).then_some(i as i64)), integer(|i| (i * 31 % 11 > 3).then_some(3))];
    let degrees = [
        column(|i| 30.0 + (i % 400) as f64 * 0.05),
        column(|i| -120.0 + (i % 970) as f64 * 0.05),
        column(|i| 30.0 + (i * 31 % 400) as f64 * 0.05),
        column(|i| -120.0 + (i * 17 % 970) as f64 * 0.05),
    ];
    let texts = StringArray::from_iter_values((0..ROWS).map(|i| format!("  row {} {}", i, "x".repeat(i % 9))));
    let texts = [Arc::new(texts) as ArrayRef];
    line("add", true, add_by_hand, by_udf::<add>, &full);
    line("add, 2 % nulls", true, add_nulls_by_hand, by_udf::<add>, &sparse);
    line("add, 70 % nulls", true, add_nulls_by_hand, by_udf::<add>, &half);
    line("checked add", true, checked_by_hand, by_udf::<checked>, &full);
    line("fahrenheit", true, fahrenheit_by_hand, by_udf::<fahrenheit>, &degrees[..1]);
    line("is hot", true, is_hot_by_hand, by_udf::<is_hot>, &degrees[..1]);
    line("distance", true, distance_by_hand, by_udf::<distance>, &degrees);
    line("trimmed", false, trimmed_by_hand, by_udf::<trimmed>, &texts);
    if asserts && !slow.is_empty() {
        eprintln!("slower than {LEAST} of a loop by hand: {}", slow.join(", "));
        std::process::exit(1);
    }
}
