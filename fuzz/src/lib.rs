//! What the fuzz targets share, and the seeds they start from.

use std::path::Path;
use std::sync::Arc;

use anyudf_arrow::expression::{Argument, Call, Expression};
use anyudf_arrow::{Encoder, encode_schema};
use anyudf_protocol::{
    CancelResponse, Chunk, Counter, ExecutionError, FinishResponse, InitResponse, Metrics, Request, Response, wire,
};
use arrow_array::{ArrayRef, RecordBatch, new_null_array};
use arrow_schema::{DataType, Field, Fields, IntervalUnit, Schema, SchemaRef, TimeUnit, UnionFields};
use prost::Message;

/// Schemas that together have every layout.
pub fn schemas() -> Vec<SchemaRef> {
    let field = |name: &str, data_type| Field::new(name, data_type, true);
    let item = |data_type| Arc::new(field("item", data_type));
    let dictionary = |values| DataType::Dictionary(Box::new(DataType::Int8), Box::new(values));
    let entries = Fields::from(vec![Field::new("key", DataType::Utf8, false), field("value", DataType::Int32)]);
    let union = UnionFields::from_fields(vec![field("number", DataType::Int32), field("text", DataType::Utf8)]);
    let columns: Vec<Vec<DataType>> = vec![
        vec![DataType::Int32, DataType::Utf8, DataType::Boolean, DataType::Float64],
        vec![DataType::Utf8View, DataType::BinaryView, DataType::LargeUtf8, DataType::FixedSizeBinary(3)],
        vec![dictionary(DataType::Utf8), DataType::List(item(dictionary(DataType::Int64)))],
        vec![
            DataType::Struct(Fields::from(vec![field("a", DataType::Int8), field("b", DataType::Utf8)])),
            DataType::FixedSizeList(item(DataType::Int16), 2),
            DataType::ListView(item(DataType::Int16)),
            DataType::LargeListView(item(DataType::Utf8)),
        ],
        vec![
            DataType::Decimal128(10, 2),
            DataType::Decimal256(40, 2),
            DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            DataType::Interval(IntervalUnit::MonthDayNano),
            DataType::Null,
        ],
        vec![
            DataType::Map(Arc::new(Field::new("entries", DataType::Struct(entries), false)), false),
            DataType::Union(union.clone(), arrow_schema::UnionMode::Dense),
            DataType::Union(union, arrow_schema::UnionMode::Sparse),
        ],
        vec![DataType::RunEndEncoded(Arc::new(Field::new("run_ends", DataType::Int32, false)), item(DataType::Utf8))],
    ];
    let schema = |types: Vec<DataType>| {
        let fields = types.into_iter().enumerate().map(|(number, data_type)| field(&format!("c{number}"), data_type));
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    };
    columns.into_iter().map(schema).collect()
}

/// Writes the inputs that `target` starts from, one of each message or one batch of each schema, into the directory
/// that `ANYUDF_FUZZ_CORPUS` names, if it names one.
///
/// # Panics
/// When the directory can't be written.
pub fn seed(target: &str) {
    let Some(corpus) = std::env::var_os("ANYUDF_FUZZ_CORPUS") else { return };
    for (number, seed) in seeds(target).into_iter().enumerate() {
        std::fs::write(Path::new(&corpus).join(format!("seed-{number}")), seed).expect("writing a seed");
    }
}

fn seeds(target: &str) -> Vec<Vec<u8>> {
    match target {
        "messages" => messages(),
        "batches" => batches(),
        "expression" => expressions(),
        // HEADERS on stream 1, END_HEADERS: `:authority` by static name, raw, a path that no URI takes.
        "authority" => vec![b"\x07\x00\x00\x0a\x01\x04\x00\x00\x00\x01\x41\x08%2Ftmp%2".to_vec()],
        _ => vec![],
    }
}

fn batches() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for (number, schema) in schemas().into_iter().enumerate() {
        let columns: Vec<ArrayRef> = schema.fields().iter().map(|f| new_null_array(f.data_type(), 3)).collect();
        let batch = RecordBatch::try_new(schema.clone(), columns).expect("every field takes null");
        let described = encode_schema(&schema);
        let encoder = Encoder::new(schema, 1 << 20).expect("a schema of ours");
        for message in encoder.encode(&batch) {
            let message = message.expect("it fits").into_bytes();
            seeds.push([&[number as u8 + 2], &message[..]].concat());
            seeds.push([&[1], &described[..], &message[..]].concat());
        }
        seeds.push([&[0], &described[..]].concat());
    }
    seeds
}

/// One of two calls, and one for each schema whose columns it takes as constants.
fn expressions() -> Vec<Vec<u8>> {
    let mut two = Expression::new();
    let f = two.call(Call::new("f", [Argument::Column(0)])).expect("the first call");
    let g = two.call(Call::new("g", [Argument::Call(f), Argument::Column(1)])).expect("f comes before it");
    two.result(g).expect("it is there");
    let of_constants = schemas().into_iter().map(|schema| {
        let mut expression = Expression::new();
        let mut arguments = Vec::new();
        for field in schema.fields() {
            // Run-end encoded ones are refused.
            arguments.extend(expression.constant(field.clone(), new_null_array(field.data_type(), 1)));
        }
        let call = Call::new("f", arguments.into_iter().map(Argument::Constant));
        let call = expression.call(call).expect("all arguments are there");
        expression.result(call).expect("it is there");
        expression
    });
    of_constants
        .chain([two])
        .map(|expression| expression.encode().expect("all types have an encoding").into())
        .collect()
}

fn messages() -> Vec<Vec<u8>> {
    let init = wire::Init {
        protocol_version: Some(1),
        data_format: wire::UdfWorkerDataFormat::Arrow.into(),
        udf: Some(wire::UdfPayload {
            payload: "payload".into(),
            format: "echo".into(),
            payload_size: Some(7),
            payload_crc32: Some(1),
            ..Default::default()
        }),
        session_conf: [("key".to_string(), "value".to_string())].into(),
        ..Default::default()
    };
    let error = ExecutionError::user("message").with_class("CLASS").with_traceback("here");
    let metrics = Metrics::default().with(Counter::RowsIn, 5).with_other("status", "ok");
    let requests = [
        Request::Init(Box::new(init)),
        Request::Chunk(Chunk { data: "chunk".into(), last: true }),
        Request::Data("data".into()),
        Request::Finish,
        Request::Cancel(Some("reason".into())),
    ];
    let responses = [
        Response::Init(InitResponse { data: Some("schema".into()), error: None }),
        Response::Data("data".into()),
        Response::Error(error.clone()),
        Response::Finish(FinishResponse { metrics: metrics.clone(), data: None, error: None }),
        Response::Cancel(CancelResponse { metrics, error: Some(error) }),
    ];
    let requests = requests.map(|request| wire::UdfRequest::from(request).encode_to_vec());
    let responses = responses.map(|response| wire::UdfResponse::from(response).encode_to_vec());
    requests.into_iter().chain(responses).collect()
}
