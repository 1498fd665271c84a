//! What a worker says: messages as they came, and patterns for them.

use std::fmt;

use anyudf_protocol::{Metrics, wire};
use bytes::Bytes;
use prost::Message as _;

use crate::capability::Capabilities;
use crate::line::{Words, number, pair, text};
use crate::value::{Value, show};

/// What came from a stream.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Heard {
    Init(wire::InitResponse),
    Data(Bytes),
    Error(wire::ErrorResponse),
    Finish(wire::FinishResponse),
    Cancel(wire::CancelResponse),
    /// A message that the protocol does not have.
    Wrong(String),
    /// The stream ended with this gRPC status.
    End(Status),
    /// It was cut off: reset, or its connection is gone.
    Cut(String),
}

/// gRPC's status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Status {
    pub(crate) code: u32,
    pub(crate) message: String,
}

/// gRPC's names, each at its number.
const CODES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match CODES.get(self.code as usize) {
            Some(name) => f.write_str(name)?,
            None => write!(f, "{}", self.code)?,
        }
        if self.message.is_empty() { Ok(()) } else { write!(f, " ({})", show(self.message.as_bytes())) }
    }
}

/// Reads the name of a status.
pub(crate) fn code(name: &str) -> Result<u32, String> {
    let known = CODES.iter().position(|code| *code == name);
    known.map(|code| code as u32).ok_or_else(|| format!("gRPC has no status `{name}`"))
}

impl Heard {
    /// What a message is.
    pub(crate) fn decode(message: Bytes) -> Self {
        use wire::udf_control_response::Control;
        use wire::udf_response::Response;

        let response = match wire::UdfResponse::decode(message) {
            Ok(response) => response,
            Err(error) => return Heard::Wrong(format!("bytes that are no UdfResponse: {error}")),
        };
        match response.response {
            None => Heard::Wrong("a UdfResponse without a branch (R16)".into()),
            Some(Response::Data(data)) => Heard::Data(data.data),
            Some(Response::Control(control)) => match control.control {
                None => Heard::Wrong("a control response without a branch (R16)".into()),
                Some(Control::Init(init)) => Heard::Init(init),
                Some(Control::Error(error)) => Heard::Error(error),
                Some(Control::Finish(finish)) => Heard::Finish(finish),
                Some(Control::Cancel(cancel)) => Heard::Cancel(cancel),
            },
        }
    }

    pub(crate) fn is_end(&self) -> bool {
        matches!(self, Heard::End(_) | Heard::Cut(_))
    }

    fn error(&self) -> Option<&wire::ExecutionError> {
        match self {
            Heard::Init(init) => init.error.as_ref(),
            Heard::Error(error) => error.error.as_ref(),
            Heard::Finish(finish) => finish.error.as_ref(),
            Heard::Cancel(cancel) => cancel.error.as_ref(),
            _ => None,
        }
    }

    fn data(&self) -> Option<&Bytes> {
        match self {
            Heard::Init(init) => init.data.as_ref(),
            Heard::Finish(finish) => finish.data.as_ref(),
            Heard::Data(data) => Some(data),
            _ => None,
        }
    }

    fn metrics(&self) -> Metrics {
        match self {
            Heard::Finish(finish) => Metrics::decode(&finish.metrics),
            Heard::Cancel(cancel) => Metrics::decode(&cancel.metrics),
            _ => Metrics::default(),
        }
    }
}

impl fmt::Display for Heard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Heard::Init(_) => "init-response",
            Heard::Data(_) => "data",
            Heard::Error(_) => "error-response",
            Heard::Finish(_) => "finish-response",
            Heard::Cancel(_) => "cancel-response",
            Heard::Wrong(what) => return f.write_str(what),
            Heard::End(status) => return write!(f, "end {status}"),
            Heard::Cut(why) => return write!(f, "cut off: {why}"),
        };
        f.write_str(name)?;
        if let Some(data) = self.data() {
            write!(f, " {}", show(data))?;
        }
        if let Some(error) = self.error() {
            let (kind, message, class) = parts(error);
            write!(f, " error={kind} {}", show(message.as_bytes()))?;
            class.map_or(Ok(()), |class| write!(f, " class={}", show(class.as_bytes())))?;
        }
        let metrics = self.metrics();
        if !metrics.is_empty() {
            let shown: Vec<_> = metrics.iter().take(4).map(|(name, value)| format!("{name}={value}")).collect();
            write!(f, " metrics {}{}", shown.join(" "), if metrics.iter().count() > 4 { " …" } else { "" })?;
        }
        Ok(())
    }
}

/// Kind, message and class of an error.
fn parts(error: &wire::ExecutionError) -> (&'static str, &str, Option<&str>) {
    use wire::execution_error::Kind;
    match &error.kind {
        None => ("none", "", None),
        Some(Kind::User(error)) => ("user", &error.message, error.error_class.as_deref()),
        Some(Kind::Worker(error)) => ("worker", &error.message, None),
        Some(Kind::Protocol(error)) => ("protocol", &error.message, None),
    }
}

/// A pattern for one thing that a worker says.
#[derive(Clone, Debug)]
pub(crate) struct Pattern {
    text: String,
    kind: Kind,
    fields: Vec<Field>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Init,
    Data,
    /// Any number of data, none too.
    DataStar,
    Error,
    Finish,
    Cancel,
    End,
    /// However it ends.
    Gone,
}

#[derive(Clone, Debug)]
enum Field {
    Data(Value),
    NoData,
    /// The kind of the error; `None` is that there is none.
    Error(Option<String>),
    Says(String),
    /// The error is the one that the capabilities have for this role.
    ErrorOf(String),
    Metric(String, Option<String>),
    Code(u32),
}

impl fmt::Display for Pattern {
    /// As a script has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Pattern {
    /// Reads a pattern up to `;`, `|` or the end.
    pub(crate) fn parse(words: &mut Words<'_>) -> Result<Self, String> {
        let word = words.word("a message")?;
        let (kind, mut fields) = match word {
            // Good unless it says otherwise.
            "init-response" => (Kind::Init, vec![]),
            "finish-response" => (Kind::Finish, vec![]),
            "data" => (Kind::Data, vec![]),
            "data*" => (Kind::DataStar, vec![]),
            "error-response" => (Kind::Error, vec![]),
            "cancel-response" => (Kind::Cancel, vec![]),
            "end" => (Kind::End, vec![]),
            "gone" => (Kind::Gone, vec![]),
            other => return Err(format!("a worker has no message `{other}`")),
        };
        let mut shown = word.to_owned();
        while let Some(word) = words.peek() {
            if matches!(word, "|" | ";" | "within") {
                break;
            }
            words.next();
            shown.push(' ');
            shown.push_str(word);
            fields.push(match (kind, pair(word)) {
                (Kind::End, (name, None)) => Field::Code(code(name)?),
                (Kind::Data, (_, None)) => Field::Data(Value::parse(word)?),
                (Kind::Init | Kind::Finish, ("data", Some("none"))) => Field::NoData,
                (Kind::Init | Kind::Finish, ("data", Some(value))) => Field::Data(Value::parse(value)?),
                (Kind::Init | Kind::Error | Kind::Finish | Kind::Cancel, ("error", Some(kind))) => match kind {
                    "none" => Field::Error(None),
                    "user" | "worker" | "protocol" | "any" => Field::Error(Some(kind.into())),
                    other => return Err(format!("no error is `{other}`")),
                },
                (Kind::Init | Kind::Error | Kind::Finish | Kind::Cancel, ("says", Some(part))) => {
                    Field::Says(text(part)?)
                }
                (Kind::Init | Kind::Error, ("of", Some(role))) => Field::ErrorOf(role.into()),
                (Kind::Finish | Kind::Cancel, (key, value)) if key.starts_with("metric.") => {
                    let name = key.trim_start_matches("metric.").to_owned();
                    Field::Metric(name, value.map(text).transpose()?)
                }
                _ => return Err(format!("what is `{word}` of {kind:?}?")),
            });
        }
        let judged = fields.iter().any(|field| matches!(field, Field::Error(_) | Field::ErrorOf(_) | Field::Says(_)));
        match kind {
            Kind::Init | Kind::Finish if !judged => fields.push(Field::Error(None)),
            Kind::Error if !judged => fields.push(Field::Error(Some("any".into()))),
            Kind::End if fields.is_empty() => fields.push(Field::Code(0)),
            _ => {}
        }
        Ok(Pattern { text: shown, kind, fields })
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether this is it; otherwise in what it differs.
    pub(crate) fn check(&self, heard: &Heard, capabilities: &Capabilities) -> Result<(), String> {
        let same = match (self.kind, heard) {
            (Kind::Init, Heard::Init(_))
            | (Kind::Data | Kind::DataStar, Heard::Data(_))
            | (Kind::Error, Heard::Error(_))
            | (Kind::Finish, Heard::Finish(_))
            | (Kind::Cancel, Heard::Cancel(_))
            | (Kind::End, Heard::End(_)) => true,
            (Kind::Gone, heard) => heard.is_end(),
            _ => false,
        };
        if !same {
            return Err("another message".into());
        }
        self.fields.iter().try_for_each(|field| field.check(heard, capabilities))
    }
}

impl Field {
    fn check(&self, heard: &Heard, capabilities: &Capabilities) -> Result<(), String> {
        let error = heard.error().map(parts);
        match self {
            Field::Data(value) => match heard.data() {
                Some(data) if *data == value.bytes() => Ok(()),
                Some(data) => Err(format!("its data is {}, not {value}{}", show(data), differs(data, &value.bytes()))),
                None => Err(format!("it has no data, and not {value}")),
            },
            Field::NoData => match heard.data() {
                None => Ok(()),
                Some(data) => Err(format!("it has data, {}", show(data))),
            },
            Field::Error(None) => match error {
                None => Ok(()),
                Some((kind, message, _)) => Err(format!("it has an error: {kind}, {}", show(message.as_bytes()))),
            },
            Field::Error(Some(wanted)) => match error {
                Some(("none", ..)) => Err("its error has no kind (R14)".into()),
                Some((kind, ..)) if wanted == "any" || kind == wanted => Ok(()),
                Some((kind, message, _)) => {
                    Err(format!("its error is of kind {kind}, not {wanted}: {}", show(message.as_bytes())))
                }
                None => Err("it has no error".into()),
            },
            Field::Says(part) => match error {
                Some((_, message, _)) if message.contains(part.as_str()) => Ok(()),
                Some((_, message, _)) => Err(format!("its error says {}, without `{part}`", show(message.as_bytes()))),
                None => Err("it has no error".into()),
            },
            Field::ErrorOf(role) => {
                let Some((kind, message, class)) = error else { return Err("it has no error".into()) };
                let function = capabilities.function(role);
                let wanted = function.and_then(|function| function.message.as_deref());
                let wanted_class = function.and_then(|function| function.error_class.as_deref());
                let expected_kind = if role == "user-error" { "user" } else { kind };
                if kind != expected_kind || kind == "none" {
                    return Err(format!("its error is of kind {kind}, not {expected_kind}"));
                }
                if wanted.is_some_and(|wanted| wanted != message) {
                    return Err(format!("its message is {}, not `{}`", show(message.as_bytes()), wanted.unwrap_or("")));
                }
                match wanted_class {
                    Some(wanted) if class != Some(wanted) => {
                        Err(format!("its class is {}, not `{wanted}`", class.unwrap_or("not set")))
                    }
                    _ => Ok(()),
                }
            }
            Field::Metric(name, wanted) => match (heard.metrics().get(name), wanted) {
                (Some(_), None) => Ok(()),
                (Some(value), Some(wanted)) if value == *wanted => Ok(()),
                (Some(value), Some(wanted)) => Err(format!("its metric `{name}` is {value}, not {wanted}")),
                (None, _) => Err(format!("it has no metric `{name}`")),
            },
            Field::Code(wanted) => match heard {
                Heard::End(status) if status.code == *wanted => Ok(()),
                Heard::End(status) => Err(format!("its status is {status}, not {}", CODES[*wanted as usize])),
                _ => Err("the stream has not ended".into()),
            },
        }
    }
}

/// Where two runs of bytes begin to differ, when that is worth saying.
fn differs(one: &[u8], other: &[u8]) -> String {
    match one.iter().zip(other).position(|(one, other)| one != other) {
        Some(at) => format!(" (they differ from byte {at} on)"),
        None if one.len() != other.len() => format!(" ({} bytes, not {})", one.len(), other.len()),
        None => String::new(),
    }
}

/// What a heartbeat's metrics must be.
#[derive(Clone, Debug)]
pub(crate) enum MetricCheck {
    Has(String),
    Is(String, u64),
}

impl MetricCheck {
    /// `has=a,b` or `a=1`.
    pub(crate) fn parse(word: &str) -> Result<Vec<Self>, String> {
        match pair(word) {
            ("has", Some(names)) => Ok(names.split(',').map(|name| MetricCheck::Has(name.into())).collect()),
            (name, Some(value)) => Ok(vec![MetricCheck::Is(name.into(), number(value)?)]),
            _ => Err(format!("`{word}` asks nothing of a heartbeat")),
        }
    }

    pub(crate) fn check(&self, get: impl Fn(&str) -> Option<String>) -> Result<(), String> {
        match self {
            MetricCheck::Has(name) => match get(name) {
                Some(value) if !value.is_empty() => Ok(()),
                _ => Err(format!("the heartbeat has no `{name}`")),
            },
            MetricCheck::Is(name, wanted) => match get(name) {
                Some(value) if value.parse() == Ok(*wanted) => Ok(()),
                Some(value) => Err(format!("the heartbeat's `{name}` is {value}, not {wanted}")),
                None => Err(format!("the heartbeat has no `{name}`")),
            },
        }
    }
}
