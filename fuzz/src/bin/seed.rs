//! Writes the inputs that the fuzzers start from: one of each message, one batch of each schema.

use std::path::Path;

use anyudf_arrow::{Encoder, encode_schema};
use anyudf_protocol::{
    CancelResponse, Chunk, Counter, ExecutionError, FinishResponse, InitResponse, Metrics, Request, Response, wire,
};
use arrow_array::{ArrayRef, RecordBatch, new_null_array};
use prost::Message;

fn main() -> std::io::Result<()> {
    let corpus = std::env::args_os().nth(1).expect("usage: seed CORPUS");
    let corpus = Path::new(&corpus);
    let write = |target: &str, number: usize, bytes: &[u8]| {
        let directory = corpus.join(target);
        std::fs::create_dir_all(&directory)?;
        std::fs::write(directory.join(format!("seed-{number}")), bytes)
    };
    for (number, message) in messages().iter().enumerate() {
        write("messages", number, message)?;
    }
    for (number, schema) in anyudf_fuzz::schemas().into_iter().enumerate() {
        let columns: Vec<ArrayRef> = schema.fields().iter().map(|f| new_null_array(f.data_type(), 3)).collect();
        let batch = RecordBatch::try_new(schema.clone(), columns).expect("every field takes null");
        let described = encode_schema(&schema);
        let encoder = Encoder::new(schema, 1 << 20).expect("a schema of ours");
        for message in encoder.encode(&batch) {
            let message = message.expect("it fits").into_bytes();
            write("batches", number, &[&[number as u8 + 2], &message[..]].concat())?;
            write("batches", 100 + number, &[&[1], &described[..], &message[..]].concat())?;
        }
        write("batches", 200 + number, &[&[0], &described[..]].concat())?;
    }
    // HEADERS on stream 1, END_HEADERS: `:authority` by static name, raw, a path that no URI takes.
    let headers = b"\x00\x00\x0a\x01\x04\x00\x00\x00\x01\x41\x08%2Ftmp%2";
    write("authority", 0, &[&[7], &headers[..]].concat())
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
