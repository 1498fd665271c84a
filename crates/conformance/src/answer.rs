//! What a worker says: messages as they came, and patterns for them.

use std::fmt;

use anyudf_protocol::{Metrics, wire};
use bytes::Bytes;
use prost::Message as _;

use crate::capability::Capabilities;
use crate::expect::Expectation;
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

/// The most that `data*3` and `data "0"..."99"` stand for.
const LONGEST_RUN: usize = 100_000;

/// A pattern for one thing that a worker says.
#[derive(Clone, Debug)]
pub(crate) struct Pattern {
    text: String,
    kind: Kind,
    fields: Vec<Field>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Init,
    Data,
    /// Any number of data, none too.
    DataStar,
    Error,
    Finish,
    Cancel,
    End,
    /// Without a status.
    Cut,
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
    /// The `error_class` of a UserError; without one any name of a condition (C12).
    Class(Option<String>),
    Metric(String, Option<String>),
    MetricAtLeast(String, u64),
    Code(u32),
}

impl fmt::Display for Pattern {
    /// As a script has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Pattern {
    /// `data*3` is three of them, and `data "0"..."99"` a hundred.
    fn read(words: &mut Words<'_>) -> Result<Vec<Self>, String> {
        let word = words.word("a message")?;
        if let Some(count) = word.strip_prefix("data*").filter(|count| !count.is_empty()) {
            let one = Pattern::one("data", words)?;
            return match number(count)? {
                count @ 1..=LONGEST_RUN => Ok(vec![one; count]),
                _ => Err(format!("`{word}` is not between 1 and {LONGEST_RUN}")),
            };
        }
        if let ("data", Some((first, last))) = (word, words.peek().and_then(|word| word.split_once("\"...\""))) {
            words.next();
            let (first, last): (usize, _) = (number(first.trim_matches('"'))?, number(last.trim_matches('"'))?);
            if first > last || last - first >= LONGEST_RUN {
                return Err(format!("a run from {first} to {last} has not between 1 and {LONGEST_RUN}"));
            }
            let one = |number: usize| Pattern {
                text: format!("data \"{number}\""),
                kind: Kind::Data,
                fields: vec![Field::Data(Value::Text(number.to_string().into()))],
            };
            return Ok((first..=last).map(one).collect());
        }
        Pattern::one(word, words).map(|pattern| vec![pattern])
    }

    /// The pattern that begins with this word.
    fn one(word: &str, words: &mut Words<'_>) -> Result<Self, String> {
        let (kind, mut fields) = match word {
            // Good unless it says otherwise.
            "init-response" => (Kind::Init, vec![]),
            "finish-response" => (Kind::Finish, vec![]),
            "data" => (Kind::Data, vec![]),
            "data*" => (Kind::DataStar, vec![]),
            "error-response" => (Kind::Error, vec![]),
            "cancel-response" => (Kind::Cancel, vec![]),
            "end" => (Kind::End, vec![]),
            "cut" => (Kind::Cut, vec![]),
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
                (Kind::Init | Kind::Error | Kind::Finish | Kind::Cancel, ("class", class)) => {
                    Field::Class(class.map(text).transpose()?)
                }
                (Kind::Finish | Kind::Cancel, (key, value)) if key.starts_with("metric.") => {
                    let name = key.trim_start_matches("metric.");
                    match (name.strip_suffix('>'), value) {
                        (Some(name), Some(least)) => Field::MetricAtLeast(name.into(), number(least)?),
                        _ => Field::Metric(name.into(), value.map(text).transpose()?),
                    }
                }
                _ => return Err(format!("what is `{word}` of {kind:?}?")),
            });
        }
        let judged =
            |field: &Field| matches!(field, Field::Error(_) | Field::ErrorOf(_) | Field::Says(_) | Field::Class(_));
        let judged = fields.iter().any(judged);
        match kind {
            Kind::Init | Kind::Finish if !judged => fields.push(Field::Error(None)),
            Kind::Error if !judged => fields.push(Field::Error(Some("any".into()))),
            Kind::End if fields.is_empty() => fields.push(Field::Code(0)),
            _ => {}
        }
        Ok(Pattern { text: shown, kind, fields })
    }
}

impl Expectation for Pattern {
    type Heard = Heard;
    type Context = Capabilities;

    fn parse(words: &mut Words<'_>) -> Result<Vec<Self>, String> {
        Pattern::read(words)
    }

    fn repeats(&self) -> bool {
        self.kind == Kind::DataStar
    }

    fn is_last(&self) -> bool {
        matches!(self.kind, Kind::Gone | Kind::Cut)
    }

    fn check(&self, heard: &Heard, capabilities: &Capabilities) -> Result<(), String> {
        let same = match (self.kind, heard) {
            (Kind::Init, Heard::Init(_))
            | (Kind::Data | Kind::DataStar, Heard::Data(_))
            | (Kind::Error, Heard::Error(_))
            | (Kind::Finish, Heard::Finish(_))
            | (Kind::Cancel, Heard::Cancel(_))
            | (Kind::End, Heard::End(_))
            | (Kind::Cut, Heard::Cut(_)) => true,
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
            Field::Class(wanted) => match error {
                Some((_, _, Some(class))) if wanted.as_deref().map_or(is_condition(class), |w| w == class) => Ok(()),
                Some((_, _, class)) => {
                    let wanted = wanted.as_deref().unwrap_or("a name IN_CAPITALS");
                    Err(format!("its class is {}, not `{wanted}`", class.unwrap_or("not set")))
                }
                None => Err("it has no error".into()),
            },
            Field::MetricAtLeast(name, least) => at_least("it", name, heard.metrics().get(name).as_deref(), *least),
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

/// Whether it is a name in SCREAMING_SNAKE case (C12).
fn is_condition(name: &str) -> bool {
    let letter = |letter: char| letter.is_ascii_uppercase() || letter.is_ascii_digit() || letter == '_';
    name.starts_with(|first: char| first.is_ascii_uppercase()) && name.chars().all(letter)
}

/// A metric of `whose` is a number, and no smaller.
fn at_least(whose: &str, name: &str, value: Option<&str>, least: u64) -> Result<(), String> {
    match value.map(|value| value.parse::<u64>().map_err(|_| value)) {
        Some(Ok(value)) if value >= least => Ok(()),
        Some(Ok(value)) => Err(format!("`{name}` is {value}, less than {least}")),
        Some(Err(value)) => Err(format!("`{name}` is `{value}`, which is no number")),
        None => Err(format!("{whose} has no metric `{name}`")),
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
    AtLeast(String, u64),
}

impl MetricCheck {
    /// `has=a,b`, `a=1` or `a>=1`.
    pub(crate) fn parse(word: &str) -> Result<Vec<Self>, String> {
        match pair(word) {
            ("has", Some(names)) => Ok(names.split(',').map(|name| MetricCheck::Has(name.into())).collect()),
            (name, Some(value)) => Ok(vec![match name.strip_suffix('>') {
                Some(name) => MetricCheck::AtLeast(name.into(), number(value)?),
                None => MetricCheck::Is(name.into(), number(value)?),
            }]),
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
            MetricCheck::AtLeast(name, least) => at_least("the heartbeat", name, get(name).as_deref(), *least),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Vec<Pattern>, String> {
        let mut words = Words::of(line)?;
        let patterns = Pattern::parse(&mut words)?;
        words.end().map(|()| patterns)
    }

    fn holds(pattern: &str, heard: &Heard) -> bool {
        let patterns = parsed(pattern).expect("it is a pattern");
        patterns[0].check(heard, &Capabilities::default()).is_ok()
    }

    /// What a case expects is what it says: no more, no less.
    #[test]
    fn a_pattern_means_what_it_says() {
        let data = |text: &'static str| Heard::Data(Bytes::from_static(text.as_bytes()));
        let user = |class: Option<&str>| {
            let error = wire::UserError { message: "m".into(), traceback: None, error_class: class.map(String::from) };
            wire::ExecutionError { kind: Some(wire::execution_error::Kind::User(error)) }
        };
        let failed = |class| Heard::Error(wire::ErrorResponse { error: Some(user(class)) });
        // The one entry of its map: `n`, 7.
        let entry = Bytes::from_static(b"\x0a\x01n\x12\x017");
        let finish = Heard::Finish(wire::FinishResponse { metrics: vec![entry], data: None, error: None });
        let end = Heard::End(Status { code: 13, message: String::new() });
        let cut = Heard::Cut("reset".into());
        for (pattern, heard, means) in [
            ("data*2", &data("x"), true),
            ("data*2 \"y\"", &data("x"), false),
            ("data \"3\"...\"5\"", &data("3"), true),
            ("data \"3\"...\"5\"", &data("4"), false),
            ("error-response class=\"A\"", &failed(Some("A")), true),
            ("error-response class=\"A\"", &failed(Some("B")), false),
            ("error-response class=\"A\"", &failed(None), false),
            ("error-response class", &failed(Some("TOO_LARGE_2")), true),
            ("error-response class", &failed(Some("TooLarge")), false),
            ("error-response class", &failed(Some("TOO LARGE")), false),
            ("error-response class", &failed(Some("")), false),
            ("error-response class", &failed(None), false),
            ("finish-response metric.n>=7", &finish, true),
            ("finish-response metric.n>=8", &finish, false),
            ("finish-response metric.m>=0", &finish, false),
            ("cut", &cut, true),
            ("cut", &end, false),
            ("gone", &cut, true),
            ("gone", &end, true),
            ("end INTERNAL", &end, true),
            ("end INTERNAL", &cut, false),
        ] {
            assert_eq!(holds(pattern, heard), means, "{pattern}: {heard}");
        }
    }

    #[test]
    fn a_run_is_so_many_patterns() {
        let shown = |line: &str| parsed(line).map(|all| all.iter().map(Pattern::to_string).collect::<Vec<_>>());
        assert_eq!(shown("data \"9\"...\"11\""), Ok(["9", "10", "11"].map(|n| format!("data \"{n}\"")).into()));
        assert_eq!(shown("data*3").map(|all| all.len()), Ok(3));
        assert_eq!(shown("data*").map(|all| all.len()), Ok(1));
        for wrong in ["data*0", "data*x", "data*1000000", "data \"2\"...\"1\"", "data \"a\"...\"b\"", "cut INTERNAL"] {
            assert!(parsed(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_heartbeat_is_checked() {
        let get = |name: &str| [("a", "1"), ("b", "x"), ("c", "")].iter().find(|(n, _)| *n == name).map(|p| p.1.into());
        for (check, holds) in [
            ("has=a,b", true),
            ("has=a,c", false),
            ("a=1", true),
            ("a=2", false),
            ("a>=1", true),
            ("a>=2", false),
            ("b>=0", false),
            ("d>=0", false),
        ] {
            let checks = MetricCheck::parse(check).expect("it is a check");
            assert_eq!(checks.iter().all(|check| check.check(get).is_ok()), holds, "{check}");
        }
        assert!(MetricCheck::parse("a>=b").is_err() && MetricCheck::parse("a").is_err());
    }
}
