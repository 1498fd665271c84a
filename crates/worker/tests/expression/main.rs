//! Several calls in one execution, over a real socket: what comes back, what a caller that errs is told, and what each
//! function sees.

#[path = "../support/mod.rs"]
mod support;

mod life;
mod parts;
mod random;
mod refusals;
mod values;

use std::sync::Arc;

use anyudf_arrow::encode_schema;
use anyudf_arrow::expression::{Argument, Call, Expression};
use anyudf_protocol::wire;
use anyudf_worker::{Function, Output, Result, Worker, udf};
use arrow::array::{ArrayRef, AsArray, Int32Array, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, Field, Int32Type, Schema, SchemaRef};
use bytes::Bytes;
use support::{Client, init};

use Argument::Constant;

#[udf]
pub(crate) fn doubled(x: i32) -> i32 {
    2 * x
}

#[udf]
pub(crate) fn sum(a: i32, b: i32, c: i32) -> i32 {
    a + b + c
}

#[udf]
pub(crate) fn checked(x: i32) -> Result<i32, String> {
    if x < 0 { Err(format!("{x} is below zero")) } else { Ok(x) }
}

#[udf]
pub(crate) fn cursed(x: i32) -> i32 {
    assert!(x != 13, "unlucky {x}");
    x
}

#[derive(serde::Deserialize)]
struct By {
    by: i32,
}

#[udf]
pub(crate) fn times(x: i32, #[options] options: &By) -> i32 {
    x * options.by
}

#[udf]
pub(crate) fn shown(x: i32) -> String {
    x.to_string()
}

pub(crate) fn worker() -> Worker {
    Worker::bundled().with(doubled).with(sum).with(checked).with(cursed).with(times).with(shown)
}

/// An Init with an expression over these columns.
pub(crate) fn asks(expression: &Expression, input: &Schema) -> wire::Init {
    says(expression.encode().unwrap(), Some(input))
}

pub(crate) fn says(payload: impl Into<Bytes>, input: Option<&Schema>) -> wire::Init {
    let mut init = init("expression");
    init.udf.as_mut().unwrap().payload = payload.into();
    init.input_schema = input.map(encode_schema);
    init
}

/// Calls without constants; the last one's value comes back.
pub(crate) fn chain(calls: impl IntoIterator<Item = (&'static str, Vec<Argument>)>) -> Expression {
    let mut expression = Expression::new();
    let last = calls.into_iter().map(|(f, arguments)| expression.call(Call::new(f, arguments)).unwrap()).last();
    expression.result(last.unwrap()).unwrap();
    expression
}

pub(crate) fn int(expression: &mut Expression, value: Option<i32>) -> Argument {
    let field = Field::new("number", DataType::Int32, value.is_none());
    Constant(expression.constant(field, Arc::new(Int32Array::from(vec![value]))).unwrap())
}

pub(crate) fn ints(column: &ArrayRef) -> Vec<Option<i32>> {
    column.as_primitive::<Int32Type>().iter().collect()
}

/// A batch without columns.
pub(crate) fn rows(count: usize) -> RecordBatch {
    let options = RecordBatchOptions::new().with_row_count(Some(count));
    RecordBatch::try_new_with_options(Arc::new(Schema::empty()), vec![], &options).unwrap()
}

pub(crate) async fn refused(client: &Client, init: wire::Init, condition: &str) -> String {
    let mut dialogue = client.execute().await.with_init(init);
    dialogue.play(&format!("> init < init[{condition}]")).await;
    let text = dialogue.error().message.clone();
    dialogue.play("> cancel < cancel < end:Ok").await;
    text
}

/// A scalar function of an emitting closure.
pub(crate) struct Emits<F> {
    pub(crate) emit: F,
    pub(crate) schema: SchemaRef,
}

impl<F: FnMut(RecordBatch, &mut Output<'_>) -> Result<()> + 'static> Function for Emits<F> {
    fn output_schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn process(&mut self, batch: RecordBatch, out: &mut Output<'_>) -> Result<()> {
        (self.emit)(batch, out)
    }
}
