//! An engine that sends and takes Arrow batches.

use std::sync::Arc;

use anyudf_arrow::{Decoder, Encoder, Limits, decode_schema, encode_schema};
use anyudf_protocol::wire;
use anyudf_worker::Worker;
use arrow::array::{Int32Array, RecordBatch};
use arrow::datatypes::{Schema, SchemaRef};
use bytes::Bytes;

use super::{Client, Dialogue, Served, init};

/// An Init that calls a function with a schema of input.
pub(crate) fn call(function: &str, input: Option<&Schema>) -> wire::Init {
    let mut init = init(&format!("function={{\"function\": \"{function}\"}}"));
    init.input_schema = input.map(encode_schema);
    init
}

pub(crate) fn encode(batch: &RecordBatch) -> Bytes {
    let encoder = Encoder::new(batch.schema(), usize::MAX).unwrap();
    let mut messages = encoder.encode(batch);
    let message = messages.next().unwrap().unwrap().into_bytes();
    assert!(messages.next().is_none());
    message
}

/// An execution on Arrow batches.
pub(crate) struct Caller {
    pub(crate) dialogue: Dialogue,
    decoder: Decoder,
    pub(crate) schema: SchemaRef,
}

impl Caller {
    pub(crate) async fn open(client: &Client, init: wire::Init) -> Self {
        let asked = init.output_schema.clone();
        let mut dialogue = client.execute().await.with_init(init);
        dialogue.play("> init < init").await;
        let schema = decode_schema(&asked.unwrap_or_else(|| dialogue.data())).unwrap();
        Caller { decoder: Decoder::new(Arc::clone(&schema), Limits::default()).unwrap(), schema, dialogue }
    }

    pub(crate) fn send(&mut self, batch: &RecordBatch) {
        self.dialogue.request(anyudf_protocol::Request::Data(encode(batch)));
    }

    /// All that comes back after Finish, and the terminator.
    pub(crate) async fn finish(mut self) -> (Vec<RecordBatch>, Dialogue) {
        self.dialogue.say("finish");
        let mut batches = Vec::new();
        loop {
            match self.dialogue.hear().await {
                data if data.starts_with("data") => {
                    batches.extend(self.decoder.decode(self.dialogue.data()).unwrap());
                }
                terminator => {
                    assert_eq!(terminator, "finish", "{:?}", self.dialogue.last());
                    return (batches, self.dialogue);
                }
            }
        }
    }
}

/// A worker, and a connection to it.
pub(crate) async fn served(worker: Worker) -> (Served, Client) {
    let served = Served::start(worker).await;
    let client = served.client().await;
    (served, client)
}

/// One column of whole numbers.
pub(crate) fn numbers(name: &str, values: &[i32]) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable([(name, Arc::new(Int32Array::from(values.to_vec())) as _, true)]).unwrap()
}
