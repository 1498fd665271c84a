//! A worker in twenty lines: one scalar function, ready for any engine that speaks the protocol.

use std::process::ExitCode;
use std::sync::Arc;

use anyudf_worker::{Worker, scalar};
use arrow::array::{AsArray, Float64Array};
use arrow::datatypes::{DataType, Float64Type};

fn main() -> ExitCode {
    let fahrenheit = scalar("fahrenheit")
        .argument("celsius", DataType::Float64)
        .returns(DataType::Float64)
        .help("degrees Celsius in degrees Fahrenheit")
        .over(|columns| {
            let celsius = columns[0].as_primitive::<Float64Type>();
            Ok(Arc::new(Float64Array::from_iter_values(celsius.values().iter().map(|c| c * 1.8 + 32.0))))
        });
    Worker::bundled().with(fahrenheit).run()
}
