//! What to run: an Init as a caller writes it.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::time::Duration;

use anyudf_protocol::{PROTOCOL_VERSION, wire};
use arrow_schema::SchemaRef;
use bytes::Bytes;
use prost::Message;

use crate::error::{Error, ErrorKind};

/// A schema of input or output, as an [`Init`] carries it.
#[derive(Clone)]
pub enum DataSchema {
    /// Encoded when it is sent (C9).
    Arrow(SchemaRef),
    /// Encoded already, or in a language that only the function knows. It is sent as it is, and decoded only where record
    /// batches are asked for.
    Encoded(Bytes),
}

impl DataSchema {
    fn encode(&self) -> Bytes {
        match self {
            DataSchema::Arrow(schema) => anyudf_arrow::encode_schema(schema),
            DataSchema::Encoded(bytes) => bytes.clone(),
        }
    }

    /// The schema of record batches.
    pub(super) fn decode(&self, what: &str) -> Result<SchemaRef, Error> {
        match self {
            DataSchema::Arrow(schema) => Ok(schema.clone()),
            DataSchema::Encoded(bytes) => {
                anyudf_arrow::decode_schema(bytes).map_err(|error| Error::from_caller_data(what, error))
            }
        }
    }
}

impl fmt::Debug for DataSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DataSchema::Arrow(schema) => f.debug_tuple("Arrow").field(schema).finish(),
            DataSchema::Encoded(bytes) => f.debug_struct("Encoded").field("bytes", &bytes.len()).finish(),
        }
    }
}

impl From<SchemaRef> for DataSchema {
    fn from(schema: SchemaRef) -> Self {
        DataSchema::Arrow(schema)
    }
}

/// Which function, and everything about the call (R18). Debug shows neither payload nor parameters (D13).
#[derive(Clone, Default)]
pub struct Init {
    /// The payload's format, such as `function`. Required.
    pub format: String,
    /// The function, in that format.
    pub payload: Bytes,
    /// The function's name, for people.
    pub name: Option<String>,
    /// How the engine will evaluate it, such as `scalar` or `map`.
    pub eval_type: Option<String>,
    /// The schema of the input. Required for record batches.
    pub input_schema: Option<DataSchema>,
    /// The schema the engine wants back; unset, the worker says what it returns (C9).
    pub output_schema: Option<DataSchema>,
    /// Where in the engine's plan this runs.
    pub task_context: BTreeMap<String, String>,
    /// The engine's configuration, and extensions of ours under `anyudf.` (M6).
    pub session_conf: BTreeMap<String, String>,
    /// The session's time zone, such as `Europe/Paris`.
    pub timezone: Option<String>,
    /// Opaque to the protocol.
    pub parameters: Option<Bytes>,
}

impl fmt::Debug for Init {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Init")
            .field("format", &self.format)
            .field("name", &self.name)
            .field("eval_type", &self.eval_type)
            .field("payload_bytes", &self.payload.len())
            .finish_non_exhaustive()
    }
}

impl Init {
    /// An Init with a payload in some format.
    pub fn new(format: impl Into<String>, payload: impl Into<Bytes>) -> Self {
        Init { format: format.into(), payload: payload.into(), ..Default::default() }
    }

    /// The same with the schema of its input.
    pub fn with_input_schema(mut self, schema: impl Into<DataSchema>) -> Self {
        self.input_schema = Some(schema.into());
        self
    }

    /// The same with the schema that is wanted back.
    pub fn with_output_schema(mut self, schema: impl Into<DataSchema>) -> Self {
        self.output_schema = Some(schema.into());
        self
    }

    /// The same with a name for people.
    pub fn with_name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// The same with a deadline for each call into the function's code (C11). A worker that does not know the key
    /// ignores it.
    pub fn with_call_timeout(mut self, timeout: Duration) -> Self {
        let millis = timeout.as_millis().max(1);
        self.session_conf.insert("anyudf.call_timeout_ms".into(), millis.to_string());
        self
    }

    /// The same with the caller's place in a distributed trace, a W3C `traceparent`. A worker of ours names it in the span
    /// of the execution; others ignore the key.
    pub fn with_traceparent(mut self, traceparent: impl Into<String>) -> Self {
        self.session_conf.insert("anyudf.traceparent".into(), traceparent.into());
        self
    }

    /// What the function is called, for people and for blame.
    pub(crate) fn label(&self) -> String {
        self.name.clone().unwrap_or_else(|| format!("a function of format `{}`", self.format))
    }

    /// The wire's Init, and the chunks of a payload that is larger than `chunk_bytes` (E4).
    pub(super) fn to_wire(
        &self,
        chunk_bytes: usize,
        max_message: usize,
    ) -> Result<(wire::Init, VecDeque<Bytes>), Error> {
        let chunk_bytes = chunk_bytes.clamp(1, max_message.saturating_sub(64).max(1));
        let chunked = self.payload.len() > chunk_bytes;
        let mut chunks = VecDeque::new();
        if chunked {
            let mut rest = self.payload.clone();
            while !rest.is_empty() {
                chunks.push_back(rest.split_to(chunk_bytes.min(rest.len())));
            }
        }
        let init = wire::Init {
            protocol_version: Some(PROTOCOL_VERSION),
            data_format: wire::UdfWorkerDataFormat::Arrow.into(),
            udf: Some(wire::UdfPayload {
                payload: if chunked { Bytes::new() } else { self.payload.clone() },
                format: self.format.clone(),
                payload_size: i64::try_from(self.payload.len()).ok(),
                payload_crc32: Some(crc32fast::hash(&self.payload)),
                name: self.name.clone(),
                eval_type: self.eval_type.clone(),
            }),
            is_chunking_payload: chunked.then_some(true),
            input_schema: self.input_schema.as_ref().map(DataSchema::encode),
            output_schema: self.output_schema.as_ref().map(DataSchema::encode),
            task_context: self.task_context.clone(),
            session_conf: self.session_conf.clone(),
            timezone: self.timezone.clone(),
            parameters: self.parameters.clone(),
        };
        let bytes = init.encoded_len();
        if bytes + 16 > max_message {
            return Err(Error::new(
                ErrorKind::Misuse,
                "INIT_TOO_LARGE",
                format!("the Init has {bytes} bytes, the worker takes {max_message} (P7); send less in parameters"),
            ));
        }
        Ok((init, chunks))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// C9, R18: a schema that is bytes already goes as it is, and is looked at only where batches are asked for.
    #[test]
    fn c9_r18_an_encoded_schema_is_sent_as_it_is() {
        let schema = SchemaRef::new(arrow_schema::Schema::empty());
        let encoded = DataSchema::Encoded(anyudf_arrow::encode_schema(&schema));
        assert_eq!(encoded.decode("the schema").expect("it is one"), schema);
        let garbage = DataSchema::Encoded("no schema".into());
        assert_eq!(garbage.decode("the schema").expect_err("it is none").kind(), ErrorKind::Misuse);
        let init = Init::new("echo", "").with_input_schema(garbage).with_output_schema(schema);
        let (wire, _) = init.to_wire(1 << 20, 4 << 20).expect("it is small");
        assert_eq!(wire.input_schema.as_deref(), Some(&b"no schema"[..]));
        assert_eq!(wire.output_schema, Some(encoded.encode()));
    }

    /// M6, D13: the place in a trace travels in session_conf, and Debug shows no value of it.
    #[test]
    fn m6_a_traceparent_travels_in_session_conf() {
        let traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let init = Init::new("echo", "").with_traceparent(traceparent);
        let (wire, _) = init.to_wire(1 << 20, 4 << 20).expect("it is small");
        assert_eq!(wire.session_conf["anyudf.traceparent"], traceparent);
        assert!(!format!("{init:?}").contains("4bf92f"));
    }
}
