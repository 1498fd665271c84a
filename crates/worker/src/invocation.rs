//! What a function is told when it is opened: everything in Init (R18).

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use anyudf_arrow::decode_schema;
use anyudf_protocol::{ExecutionError, VerifiedPayload, wire};
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::cancellation::Cancellation;
use crate::error::{Error, Result, undecodable};

/// The key of `session_conf` that gives each call into user code its time (C11).
pub(crate) const CALL_TIMEOUT_KEY: &str = "anyudf.call_timeout_ms";

/// The key of `session_conf` with the caller's place in a distributed trace, a W3C `traceparent`. It is in the span in which
/// the function runs.
pub(crate) const TRACEPARENT_KEY: &str = "anyudf.traceparent";

/// The key of `session_conf` with which an engine says how large a message it takes.
pub(crate) const MAX_MESSAGE_KEY: &str = "anyudf.max_message_bytes";

/// The least it may say: a terminator with all its counters and an error that still says something fits (P7).
pub(crate) const LEAST_MAX_MESSAGE: usize = 4 << 10;

/// One execution of a function, as the engine asked for it: the whole Init and the assembled payload (R3, R18).
///
/// Debug output shows neither payload, parameters nor the values of the maps.
pub struct Invocation {
    init: Arc<wire::Init>,
    payload: Bytes,
    options: Value,
    max_message: usize,
    /// The columns of one call among several; without them they are those of Init.
    columns: Option<SchemaRef>,
    cancellation: Option<Cancellation>,
}

impl Invocation {
    /// `max_message` is the largest output in bytes of data.
    pub(crate) fn new(init: wire::Init, payload: VerifiedPayload, max_message: usize) -> Self {
        let (init, payload) = (Arc::new(init), payload.into_bytes());
        Invocation { init, payload, options: Value::Null, max_message, columns: None, cancellation: None }
    }

    /// That of one call among several, with columns and options of its own and an output that is nobody's but its own to
    /// choose. All else is that of the execution.
    pub(crate) fn of_call(&self, columns: SchemaRef, options: Value) -> Self {
        let (init, payload) = (Arc::clone(&self.init), self.payload.clone());
        let cancellation = self.cancellation.clone();
        Invocation { init, payload, options, max_message: self.max_message, columns: Some(columns), cancellation }
    }

    pub(crate) fn max_message(&self) -> usize {
        self.max_message
    }

    /// The same for the execution that `cancellation` is of.
    pub(crate) fn set_cancellation(&mut self, cancellation: Cancellation) {
        self.cancellation = Some(cancellation);
    }

    /// Whether the execution is cancelled, while the function is opened and ever after.
    pub fn cancellation(&self) -> Cancellation {
        self.cancellation.clone().expect("an execution's thread sets it before anything else")
    }

    /// The same with the options that a payload format found in the payload.
    pub(crate) fn set_options(&mut self, options: Value) {
        self.options = options;
    }

    fn udf(&self) -> &wire::UdfPayload {
        self.init.udf.as_ref().expect("`check_init` has seen it (R18)")
    }

    /// The assembled payload, checked against its size and checksum (R3).
    pub fn payload(&self) -> &Bytes {
        &self.payload
    }

    /// The payload's format, as the engine wrote it.
    pub fn format(&self) -> &str {
        &self.udf().format
    }

    /// The function's name for people, if the engine gave one.
    pub fn name(&self) -> Option<&str> {
        self.udf().name.as_deref()
    }

    /// How the engine evaluates the function, such as `scalar`, if it said so.
    pub fn eval_type(&self) -> Option<&str> {
        self.udf().eval_type.as_deref()
    }

    /// The `options` of a `function` payload, or of this call in an `expression` payload; null when there are none.
    pub fn options(&self) -> &Value {
        &self.options
    }

    /// The options as a type of the function's own. No options at all read like `{}`.
    ///
    /// # Errors
    /// Kind [`User`](crate::ErrorKind::User), condition `BAD_OPTIONS`, when they do not fit; the text says which one.
    pub fn options_as<T: DeserializeOwned>(&self) -> Result<T> {
        let options = match &self.options {
            Value::Null => Value::Object(serde_json::Map::new()),
            options => options.clone(),
        };
        serde_json::from_value(options)
            .map_err(|error| Error::user(format!("the options do not fit: {error}")).with_class("BAD_OPTIONS"))
    }

    /// The schema of the input, if the engine named one. That of a call in an `expression` payload has its arguments, under
    /// the names that the function gives them.
    ///
    /// # Errors
    /// Kind [`Protocol`](crate::ErrorKind::Protocol) when the bytes are no schema (C10).
    pub fn input_schema(&self) -> Result<Option<SchemaRef>> {
        match &self.columns {
            Some(columns) => Ok(Some(Arc::clone(columns))),
            None => schema(self.init.input_schema.as_ref(), "Init.input_schema"),
        }
    }

    /// The schema that the engine wants back, if it named one (C9); never for a call in an `expression` payload.
    ///
    /// # Errors
    /// Kind [`Protocol`](crate::ErrorKind::Protocol) when the bytes are no schema (C10).
    pub fn output_schema(&self) -> Result<Option<SchemaRef>> {
        match &self.columns {
            Some(_) => Ok(None),
            None => schema(self.init.output_schema.as_ref(), "Init.output_schema"),
        }
    }

    /// Arguments of the call that are not columns, opaque to the protocol.
    pub fn parameters(&self) -> Option<&Bytes> {
        self.init.parameters.as_ref()
    }

    /// The session's time zone, such as `Europe/Paris`.
    pub fn timezone(&self) -> Option<&str> {
        self.init.timezone.as_deref()
    }

    /// Where in the engine's plan this runs, such as the partition.
    pub fn task_context(&self) -> &BTreeMap<String, String> {
        &self.init.task_context
    }

    /// The engine's configuration.
    pub fn session_conf(&self) -> &BTreeMap<String, String> {
        &self.init.session_conf
    }
}

impl fmt::Debug for Invocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Invocation").field("init", &self.init).finish_non_exhaustive()
    }
}

fn schema(bytes: Option<&Bytes>, field: &str) -> Result<Option<SchemaRef>> {
    bytes.map(|bytes| decode_schema(bytes).map_err(|error| undecodable(error).within(field))).transpose()
}

/// Reads a number from `session_conf`; absent is `None`. `least` is the least it may be, `because` says why.
pub(crate) fn number<T: FromStr + PartialOrd + fmt::Display>(
    init: &wire::Init,
    key: &str,
    least: T,
    because: &str,
) -> std::result::Result<Option<T>, ExecutionError> {
    let Some(text) = init.session_conf.get(key) else { return Ok(None) };
    match text.trim().parse::<T>() {
        Ok(number) if number >= least => Ok(Some(number)),
        _ => Err(ExecutionError::protocol(
            "INVALID_SESSION_CONF",
            format!("session_conf {key} is `{text}`, it must be a whole number from {least}{because}"),
        )),
    }
}
