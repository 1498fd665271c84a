//! A worker in twenty lines: one function of each kind that is easily written, ready for any engine of the protocol.

use std::process::ExitCode;

use anyudf_worker::{Worker, udf};

/// Degrees Celsius in degrees Fahrenheit.
#[udf(volatility = "immutable")]
fn fahrenheit(celsius: f64) -> f64 {
    celsius * 1.8 + 32.0
}

/// The words of a text, one in each row.
#[udf(map, volatility = "immutable")]
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split_whitespace()
}

fn main() -> ExitCode {
    Worker::bundled().with(fahrenheit).with(words).run()
}
