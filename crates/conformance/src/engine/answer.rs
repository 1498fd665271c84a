//! What a worker says in a script: the right things and the wrong ones.

use anyudf_protocol::{Metrics, wire};
use bytes::{Bytes, BytesMut};
use prost::Message as _;
use prost::encoding::{WireType, encode_key, encode_varint};

use crate::line::{Words, number, pair, text};
use crate::message::{RESPONSE, Shape, from_the_future};
use crate::value::{Value, show};

/// A message of the worker's.
#[derive(Clone, Debug)]
pub(crate) enum Message {
    Init {
        data: Option<Value>,
        error: Option<Failure>,
    },
    Data(Value),
    Error(Option<Failure>),
    Finish {
        data: Option<Value>,
        error: Option<Failure>,
        metrics: Counted,
    },
    Cancel {
        error: Option<Failure>,
        metrics: Counted,
    },
    /// `UdfResponse` without a branch (R16).
    Empty,
    /// A control message without a branch (R16).
    EmptyControl,
    /// A branch that nobody knows (R16).
    Unknown,
    /// The message's bytes as they are.
    Bytes(Value),
}

/// An `ExecutionError` (R14).
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    kind: Blame,
    message: String,
    class: Option<String>,
}

#[derive(Clone, Copy, Debug)]
enum Blame {
    User,
    Worker,
    Protocol,
    /// Without a kind.
    Nobody,
}

/// Metrics (C8): as a map of 4.3.0, or as the message of counters that came later.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counted {
    map: Vec<(String, String)>,
    counters: Vec<(u32, u64)>,
}

impl Failure {
    fn wire(&self) -> wire::ExecutionError {
        use wire::execution_error::Kind;
        let message = self.message.clone();
        let kind = match self.kind {
            Blame::User => {
                Some(Kind::User(wire::UserError { message, traceback: None, error_class: self.class.clone() }))
            }
            Blame::Worker => Some(Kind::Worker(wire::WorkerError { message, traceback: None })),
            Blame::Protocol => Some(Kind::Protocol(wire::ProtocolError { message })),
            Blame::Nobody => None,
        };
        wire::ExecutionError { kind }
    }
}

impl Counted {
    fn wire(&self) -> Vec<Bytes> {
        if !self.counters.is_empty() {
            let mut message = BytesMut::new();
            for (field, value) in &self.counters {
                encode_key(*field, WireType::Varint, &mut message);
                encode_varint(*value, &mut message);
            }
            return vec![message.freeze()];
        }
        let metrics =
            self.map.iter().fold(Metrics::default(), |metrics, (name, value)| metrics.with_other(name, value));
        metrics.encode()
    }
}

impl Message {
    /// Reads a message up to its shape, or the end.
    pub(crate) fn parse(words: &mut Words<'_>) -> Result<Self, String> {
        let word = words.word("a message")?;
        let (mut data, mut error, mut metrics) = (None, None, Counted::default());
        match word {
            "init-response" | "finish-response" | "cancel-response" | "error-response" => {
                while let Some(next) = words.peek().filter(|word| !word.starts_with('{')) {
                    words.next();
                    match (word, pair(next)) {
                        ("init-response" | "finish-response", ("data", Some(value))) => {
                            data = Some(Value::parse(value)?);
                        }
                        (_, (blame @ ("user" | "worker" | "protocol" | "kindless"), None)) => {
                            error = Some(failure(blame, words)?);
                        }
                        ("finish-response" | "cancel-response", (key, Some(value))) if key.starts_with("metric.") => {
                            metrics.map.push((key.trim_start_matches("metric.").into(), text(value)?));
                        }
                        ("finish-response" | "cancel-response", (key, Some(value))) if key.starts_with("counter.") => {
                            metrics.counters.push((number(key.trim_start_matches("counter."))?, number(value)?));
                        }
                        _ => return Err(format!("what is `{next}` of {word}?")),
                    }
                }
            }
            _ => {}
        }
        Ok(match word {
            "init-response" => Message::Init { data, error },
            "error-response" => Message::Error(error),
            "finish-response" => Message::Finish { data, error, metrics },
            "cancel-response" => Message::Cancel { error, metrics },
            "data" => Message::Data(words.value("what it holds")?),
            "empty" => Message::Empty,
            "empty-control" => Message::EmptyControl,
            "unknown" => Message::Unknown,
            "bytes" => Message::Bytes(words.value("what they are")?),
            other => return Err(format!("a worker has no message `{other}`")),
        })
    }

    pub(crate) fn encode(&self, shape: &Shape) -> Bytes {
        use wire::udf_control_response::Control;
        use wire::udf_response::Response;

        let control = |control| Some(Response::Control(wire::UdfControlResponse { control: Some(control) }));
        let error = |error: &Option<Failure>| error.as_ref().map(Failure::wire);
        let data = |data: &Option<Value>| data.as_ref().map(Value::bytes);
        let response = match self {
            Message::Init { data: value, error: failure } => {
                control(Control::Init(wire::InitResponse { data: data(value), error: error(failure) }))
            }
            Message::Data(value) => Some(Response::Data(wire::DataResponse { data: value.bytes() })),
            Message::Error(failure) => control(Control::Error(wire::ErrorResponse { error: error(failure) })),
            Message::Finish { data: value, error: failure, metrics } => {
                control(Control::Finish(wire::FinishResponse {
                    metrics: metrics.wire(),
                    data: data(value),
                    error: error(failure),
                }))
            }
            Message::Cancel { error: failure, metrics } => {
                control(Control::Cancel(wire::CancelResponse { metrics: metrics.wire(), error: error(failure) }))
            }
            Message::Empty => None,
            Message::EmptyControl => Some(Response::Control(wire::UdfControlResponse { control: None })),
            Message::Unknown => {
                let mut bytes = BytesMut::new();
                from_the_future(&mut bytes);
                return bytes.freeze();
            }
            Message::Bytes(value) => return value.bytes(),
        };
        shape.apply(wire::UdfResponse { response }.encode_to_vec(), RESPONSE)
    }

    pub(crate) fn show(&self) -> String {
        let failure = |failure: &Option<Failure>| match failure {
            Some(failure) => format!(" error={:?} {}", failure.kind, show(failure.message.as_bytes())).to_lowercase(),
            None => String::new(),
        };
        match self {
            Message::Init { error, .. } => format!("init-response{}", failure(error)),
            Message::Data(value) => format!("data {value}"),
            Message::Error(error) => format!("error-response{}", failure(error)),
            Message::Finish { error, .. } => format!("finish-response{}", failure(error)),
            Message::Cancel { error, .. } => format!("cancel-response{}", failure(error)),
            Message::Empty => "empty: a message without a branch".into(),
            Message::EmptyControl => "empty-control: a control message without a branch".into(),
            Message::Unknown => "unknown: a branch that nobody knows".into(),
            Message::Bytes(value) => format!("bytes {value}"),
        }
    }
}

/// `user "message" [class="…"]`; `kindless` has neither.
fn failure(blame: &str, words: &mut Words<'_>) -> Result<Failure, String> {
    let kind = match blame {
        "user" => Blame::User,
        "worker" => Blame::Worker,
        "protocol" => Blame::Protocol,
        _ => return Ok(Failure { kind: Blame::Nobody, message: String::new(), class: None }),
    };
    let message = text(words.word("its message in quotes")?)?;
    let class = match words.peek().map(pair) {
        Some(("class", Some(class))) => {
            words.next();
            Some(text(class)?)
        }
        _ => None,
    };
    Ok(Failure { kind, message, class })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(line: &str) -> Result<wire::UdfResponse, String> {
        let mut words = Words::of(line)?;
        let message = Message::parse(&mut words)?;
        let shape = Shape::parse(&mut words)?;
        words.end()?;
        wire::UdfResponse::decode(message.encode(&shape)).map_err(|error| error.to_string())
    }

    /// R20: the same message, whatever its order and whatever else is in it.
    #[test]
    fn r20_a_changed_message_means_the_same() {
        for line in [
            r#"init-response data="x""#,
            r#"init-response user "boom" class="E""#,
            r#"error-response worker "boom""#,
            r#"finish-response data="7" protocol "boom" metric.rows_in="3""#,
            r#"cancel-response user "boom" metric.a="b""#,
            "data @batch",
        ] {
            let plain = encoded(line);
            assert!(plain.is_ok(), "{line}: {plain:?}");
            for shape in ["{unknown}", "{reversed}", "{unknown reversed}"] {
                assert_eq!(encoded(&format!("{line} {shape}")), plain, "{line} {shape}");
            }
        }
    }

    /// C8: the shape of 4.3.0, and the one that came later.
    #[test]
    fn c8_metrics_have_two_shapes() {
        for (line, counted) in
            [(r#"finish-response metric.rows_in="3""#, "3"), ("finish-response counter.3=3 counter.4=4", "3")]
        {
            let Ok(wire::UdfResponse { response: Some(wire::udf_response::Response::Control(control)) }) =
                encoded(line)
            else {
                panic!("{line}")
            };
            let Some(wire::udf_control_response::Control::Finish(finish)) = control.control else { panic!("{line}") };
            assert_eq!(Metrics::decode(&finish.metrics).get("rows_in").as_deref(), Some(counted), "{line}");
        }
    }

    #[test]
    fn what_no_worker_says_is_refused() {
        for line in ["init-respons", "init-response user", "error-response data=\"x\"", "finish-response now", "data"] {
            assert!(encoded(line).is_err(), "{line}");
        }
    }
}
