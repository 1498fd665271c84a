//! The messages as they travel: what prost generates from our `.proto` files.
//!
//! This module is *not* what the rest of the workspace reads and writes. Nested oneofs say little about what may come
//! when; [`Request`](crate::Request) and [`Response`](crate::Response) are flat, and made from these types once, at the
//! edge. Only code that turns bytes into messages or back has business here.
//!
//! Byte fields are [`Bytes`](bytes::Bytes) and maps are ordered, so that decoding shares the received buffer and
//! encoding the same message twice gives the same bytes.
//!
//! Two things differ from what a reader of the `.proto` files expects:
//!
//! - The `metrics` of [`FinishResponse`] and [`CancelResponse`] are raw entries, because two shapes of them are about
//!   and neither may cost the response that carries it (C8). [`Metrics`](crate::Metrics) reads and writes them.
//! - The `Debug` of messages that carry payloads, arguments, environment values or rows tells how long those are, not
//!   what they are (D13).
//!
//! The service is not here: this crate has no I/O. `anyudf-grpc` has it.

use std::fmt;

pub use generated::*;

/// What prost writes. It is documented where it is written, in `proto/`; what prost adds of its own (modules of oneofs,
/// accessors) has no place for a comment, and its shape is not ours to lint.
#[allow(missing_docs, clippy::all, clippy::pedantic)]
mod generated {
    include!("generated/org.apache.spark.udf.worker.rs");
}

/// The encoded `google.protobuf.FileDescriptorSet` of the three `.proto` files: the wire as it is, with the maps that
/// the types of this module read raw. Made for gRPC server reflection (M5).
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!("generated/udf_worker.bin");

/// Stands for bytes in `Debug` output: how many there are, not which (D13).
struct Length(usize);

impl fmt::Debug for Length {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{} bytes>", self.0)
    }
}

impl fmt::Debug for Init {
    /// The parameters and the values of `task_context` and `session_conf` are left out (D13).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Init")
            .field("protocol_version", &self.protocol_version)
            .field("data_format", &self.data_format)
            .field("udf", &self.udf)
            .field("is_chunking_payload", &self.is_chunking_payload)
            .field("input_schema", &self.input_schema.as_ref().map(|bytes| Length(bytes.len())))
            .field("output_schema", &self.output_schema.as_ref().map(|bytes| Length(bytes.len())))
            .field("task_context", &self.task_context.keys())
            .field("session_conf", &self.session_conf.keys())
            .field("timezone", &self.timezone)
            .field("parameters", &self.parameters.as_ref().map(|bytes| Length(bytes.len())))
            .finish()
    }
}

impl fmt::Debug for UdfPayload {
    /// The payload is left out (D13).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UdfPayload")
            .field("payload", &Length(self.payload.len()))
            .field("format", &self.format)
            .field("payload_size", &self.payload_size)
            .field("payload_crc32", &self.payload_crc32)
            .field("name", &self.name)
            .field("eval_type", &self.eval_type)
            .finish()
    }
}

impl fmt::Debug for PayloadChunk {
    /// The payload is left out (D13).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PayloadChunk").field("data", &Length(self.data.len())).field("last", &self.last).finish()
    }
}

impl fmt::Debug for DataRequest {
    /// The rows are left out: they are somebody's data, and there may be millions (D13).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DataRequest").field("data", &Length(self.data.len())).finish()
    }
}

impl fmt::Debug for DataResponse {
    /// The rows are left out: they are somebody's data, and there may be millions (D13).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DataResponse").field("data", &Length(self.data.len())).finish()
    }
}

impl fmt::Debug for ProcessCallable {
    /// The arguments and the values of the environment are left out, and all of `command` but the program (D13).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProcessCallable")
            .field("program", &self.command.first())
            .field("environment_variables", &self.environment_variables.keys())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use bytes::Bytes;

    use super::*;

    fn secrets() -> BTreeMap<String, String> {
        BTreeMap::from([("key".to_owned(), "hush".to_owned())])
    }

    /// D13: what a message carries for somebody else is not in its `Debug`, wherever it is nested.
    #[test]
    fn debug_tells_lengths_and_keys_only() {
        let hush = Bytes::from_static(b"hush");
        let init = Init {
            udf: Some(UdfPayload { payload: hush.clone(), format: "function".to_owned(), ..Default::default() }),
            input_schema: Some(hush.clone()),
            output_schema: Some(hush.clone()),
            task_context: secrets(),
            session_conf: secrets(),
            parameters: Some(hush.clone()),
            ..Default::default()
        };
        let chunk = PayloadChunk { data: hush.clone(), last: Some(true) };
        let request = UdfRequest {
            request: Some(udf_request::Request::Control(UdfControlRequest {
                control: Some(udf_control_request::Control::Init(init)),
            })),
        };
        let runner = ProcessCallable {
            command: vec!["worker".to_owned(), "hush".to_owned()],
            arguments: vec!["hush".to_owned()],
            environment_variables: secrets(),
        };
        let specification = UdfWorkerSpecification {
            worker: Some(udf_worker_specification::Worker::Direct(DirectWorker {
                runner: Some(runner),
                properties: None,
            })),
            ..Default::default()
        };
        let shown = format!(
            "{request:?} {chunk:?} {:?} {:?} {specification:?}",
            DataRequest { data: hush.clone() },
            DataResponse { data: hush }
        );
        assert!(!shown.contains("hush"), "a secret is shown: {shown}");
        for told in ["<4 bytes>", "\"key\"", "\"function\"", "\"worker\""] {
            assert!(shown.contains(told), "{told} is not shown: {shown}");
        }
    }

    /// R20: fields that a later release adds are skipped, and what is known is read.
    #[test]
    fn unknown_fields_are_ignored() {
        use prost::Message;

        let mut bytes = Cancel { reason: Some("enough".to_owned()) }.encode_to_vec();
        // Fields 200 (varint 1) and 201 (length-delimited, two bytes).
        bytes.extend([0xC0, 0x0C, 0x01, 0xCA, 0x0C, 0x02, 0xFF, 0xFF]);
        assert_eq!(Cancel::decode(&bytes[..]).expect("unknown fields are no error").reason.as_deref(), Some("enough"));
    }

    /// C8: whatever a peer puts into `metrics`, the rest of its response arrives.
    #[test]
    fn metrics_of_any_shape_do_not_cost_the_response() {
        use prost::Message;

        let message_of_numbers = [0x0A, 0x02, 0x08, 0x07, 0x12, 0x02, b'o', b'k'];
        let response = FinishResponse::decode(&message_of_numbers[..]).expect("the later shape is let in");
        assert_eq!(response.data.as_deref(), Some(&b"ok"[..]));
        assert_eq!(response.metrics, [Bytes::from_static(&[0x08, 0x07])]);
    }
}
