//! A worker with one function of each kind.
//!
//! ```text
//! cargo build --example kinds
//! anyudf functions --worker target/debug/examples/kinds
//! anyudf sql --worker target/debug/examples/kinds "SELECT greeting('Ada'), hypotenuse(3, 4)"
//! anyudf sql --worker target/debug/examples/kinds "SELECT * FROM powers(base => 2, most => 1000)"
//! anyudf sql --worker target/debug/examples/kinds "SELECT * FROM words((SELECT city FROM 'data/airports.csv'))"
//! anyudf run --worker target/debug/examples/kinds --function mean --args delay --input data/flights-sample.parquet
//! ```

use std::process::ExitCode;

use anyudf::prelude::*;
use anyudf::worker::aggregate;
use anyudf::worker::arrow::array::Float64Array;
use anyudf::worker::arrow::compute::binary;
use anyudf::worker::arrow::error::ArrowError;
use serde::{Deserialize, Serialize};

/// Greets somebody. It is called for each row, and null in gives null out.
#[udf(volatility = "immutable", example("Ada" => "Hello, Ada!"))]
fn greeting(name: &str) -> String {
    format!("Hello, {name}!")
}

/// The long side of right-angled triangles. It is called for each batch, with whole arrays.
#[udf(batch, volatility = "immutable")]
fn hypotenuse(a: &Float64Array, b: &Float64Array) -> Result<Float64Array, ArrowError> {
    binary(a, b, f64::hypot)
}

/// What `powers` can be told.
#[derive(Deserialize)]
struct Powers {
    base: i64,
    #[serde(default = "i64::max_value")]
    most: i64,
}

/// The powers of a number. It has no input, and is asked for rows while somebody wants more.
#[udf(table)]
fn powers(#[options] options: &Powers) -> impl Iterator<Item = i64> {
    let Powers { base, most } = *options;
    std::iter::successors(Some(1_i64), move |power| power.checked_mul(base)).take_while(move |power| *power <= most)
}

/// A word of a text.
#[derive(UdfStruct)]
struct Word<'a> {
    word: &'a str,
    place: i64,
}

/// The words of texts, a row for each. It gives any number of rows for each row.
#[udf(map)]
fn words(text: &str) -> impl Iterator<Item = Word<'_>> {
    text.split_whitespace().zip(1..).map(|(word, place)| Word { word, place })
}

/// How far `mean` is.
#[derive(Serialize, Deserialize)]
struct Mean {
    sum: f64,
    count: u64,
}

/// The mean of numbers. It takes rows, and gives a value at their end; parts can be merged.
#[udf(aggregate, volatility = "immutable")]
impl Mean {
    fn new() -> Self {
        Mean { sum: 0.0, count: 0 }
    }

    fn update(&mut self, x: f64) {
        self.sum += x;
        self.count += 1;
    }

    fn merge(&mut self, other: Self) {
        self.sum += other.sum;
        self.count += other.count;
    }

    fn finish(self) -> Option<f64> {
        (self.count > 0).then(|| self.sum / self.count as f64)
    }
}

pub(crate) fn worker() -> Worker {
    Worker::new().with(greeting).with(hypotenuse).with(powers).with(words).with(aggregate::<Mean>())
}

fn main() -> ExitCode {
    worker().run()
}
