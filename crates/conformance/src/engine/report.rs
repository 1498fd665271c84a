//! What a driver reports: JSON lines as docs/conformance-engine.md has them, and patterns for them.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;

use crate::expect::Expectation;
use crate::line::{Words, number, pair, text};
use crate::value::{Value, show};

/// One line of a driver's.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Reported {
    /// Which of several sessions; usually there is one, without a name.
    pub(crate) session: String,
    pub(crate) event: Event,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub(crate) enum Event {
    Init(Digest),
    Data(Digest),
    Rows {
        rows: u64,
    },
    Done {
        #[serde(flatten)]
        digest: Digest,
        #[serde(default)]
        metrics: BTreeMap<String, serde_json::Value>,
    },
    Error {
        call: Call,
        kind: Kind,
        message: String,
        error_class: Option<String>,
    },
    Closed {
        termination: Termination,
        reusable: bool,
    },
    /// A line that is none of these.
    #[serde(skip)]
    Wrong(String),
}

/// Bytes, as a driver tells of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub(crate) struct Digest {
    bytes: Option<u64>,
    crc32: Option<u32>,
}

macro_rules! names {
    ($(#[$about:meta])* $name:ident { $($variant:ident = $text:literal),* $(,)? }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub(crate) enum $name { $($variant),* }

        impl $name {
            const ALL: &[$name] = &[$($name::$variant),*];

            fn name(self) -> &'static str {
                match self { $($name::$variant => $text),* }
            }

            fn named(name: &str) -> Option<Self> {
                $name::ALL.iter().copied().find(|one| one.name() == name)
            }
        }
    };
}

names! {
    /// Which call has failed.
    Call { Init = "init", Process = "process", Read = "read", Source = "source" }
}

names! {
    /// Whose fault it was.
    Kind {
        User = "user",
        Worker = "worker",
        Protocol = "protocol",
        Cancelled = "cancelled",
        Misuse = "misuse",
        Source = "source",
        Transport = "transport",
        Interrupted = "interrupted",
    }
}

names! {
    /// How a session has ended.
    Termination {
        Finished = "finished",
        Cancelled = "cancelled",
        Failed = "failed",
        TransportFailed = "transport-failed",
        Interrupted = "interrupted",
    }
}

impl Termination {
    /// Whether the worker may be used again (E14).
    fn is_salvageable(self) -> bool {
        matches!(self, Termination::Finished | Termination::Cancelled | Termination::Failed)
    }
}

impl Digest {
    fn check(self, wanted: &Value) -> Result<(), String> {
        let bytes = wanted.bytes();
        let right = Digest { bytes: Some(bytes.len() as u64), crc32: Some(crc32fast::hash(&bytes)) };
        match self == right {
            true => Ok(()),
            false => Err(format!("it has {self}, and {wanted} is {right}")),
        }
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Digest { bytes: None, crc32: None } => f.write_str("no data"),
            Digest { bytes, crc32 } => {
                let shown = |number: Option<u64>| number.map_or("?".into(), |number| number.to_string());
                write!(f, "{} bytes, crc32 {}", shown(*bytes), shown(crc32.map(u64::from)))
            }
        }
    }
}

impl Reported {
    /// Reads a line.
    pub(crate) fn read(line: &str) -> Self {
        #[derive(Deserialize)]
        struct Line {
            #[serde(default)]
            session: String,
        }
        let wrong = |error: serde_json::Error| Event::Wrong(format!("{}: {error}", show(line.as_bytes())));
        let session = serde_json::from_str(line).map_or_else(|_| String::new(), |Line { session }| session);
        Reported { session, event: serde_json::from_str(line).unwrap_or_else(wrong) }
    }
}

impl Event {
    /// What it breaks whatever a case is about.
    pub(crate) fn judge(&self) -> Result<(), String> {
        match self {
            Event::Wrong(line) => {
                Err(format!("the driver reported what docs/conformance-engine.md does not have: {line}"))
            }
            Event::Closed { termination, reusable } if termination.is_salvageable() != *reusable => Err(format!(
                "a worker may be used again after Finished, Cancelled and Failed, and after nothing else (E14); after \
                 `{}` the driver says `reusable: {reusable}`",
                termination.name()
            )),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Init(Digest { bytes: None, .. }) => f.write_str("init"),
            Event::Init(digest) => write!(f, "init with {digest}"),
            Event::Data(digest) => write!(f, "data: {digest}"),
            Event::Rows { rows } => write!(f, "rows {rows}"),
            Event::Done { digest: Digest { bytes: None, .. }, .. } => f.write_str("done"),
            Event::Done { digest, .. } => write!(f, "done with {digest}"),
            Event::Error { call, kind, message, .. } => {
                write!(f, "error {} {} {}", call.name(), kind.name(), show(message.as_bytes()))
            }
            Event::Closed { termination, reusable } => {
                write!(f, "closed {}, {}reusable", termination.name(), if *reusable { "" } else { "not " })
            }
            Event::Wrong(line) => f.write_str(line),
        }
    }
}

/// A pattern for one report.
#[derive(Clone, Debug)]
pub(crate) struct Pattern {
    text: String,
    fields: Vec<Field>,
    what: What,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Init,
    Data,
    DataStar,
    Rows,
    Done,
    Error,
    Closed,
}

#[derive(Clone, Debug)]
enum Field {
    Data(Value),
    NoData,
    Rows(u64),
    Metric(String, String),
    Call(Call),
    Kind(Kind),
    Says(String),
    Class(String),
    Termination(Termination),
}

impl fmt::Display for Pattern {
    /// As a script has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Field {
    fn parse(what: What, word: &str) -> Result<Self, String> {
        Ok(match (what, pair(word)) {
            (What::Init | What::Done, ("data", Some("none"))) => Field::NoData,
            (What::Init | What::Done, ("data", Some(value))) => Field::Data(Value::parse(value)?),
            (What::Data, (_, None)) => Field::Data(Value::parse(word)?),
            (What::Rows, (_, None)) => Field::Rows(number(word)?),
            (What::Done, (key, Some(value))) if key.starts_with("metric.") => {
                Field::Metric(key.trim_start_matches("metric.").into(), text(value)?)
            }
            (What::Error, ("says", Some(part))) => Field::Says(text(part)?),
            (What::Error, ("class", Some(class))) => Field::Class(text(class)?),
            (What::Error, ("kind", Some(kind))) => {
                Field::Kind(Kind::named(kind).ok_or_else(|| format!("no error is `{kind}`"))?)
            }
            (What::Error, (call, None)) => {
                Field::Call(Call::named(call).ok_or_else(|| format!("no call is `{call}`"))?)
            }
            (What::Closed, (termination, None)) => {
                let known = Termination::named(termination);
                Field::Termination(known.ok_or_else(|| format!("no session ends as `{termination}`"))?)
            }
            _ => return Err(format!("what is `{word}` of {what:?}?")),
        })
    }

    fn check(&self, event: &Event) -> Result<(), String> {
        match (self, event) {
            (Field::Data(wanted), Event::Init(is) | Event::Data(is) | Event::Done { digest: is, .. }) => {
                is.check(wanted)
            }
            (Field::NoData, Event::Init(is) | Event::Done { digest: is, .. }) => match is.bytes {
                None => Ok(()),
                Some(_) => Err(format!("it has data: {is}")),
            },
            (Field::Rows(wanted), Event::Rows { rows }) if rows == wanted => Ok(()),
            (Field::Rows(wanted), Event::Rows { rows }) => Err(format!("there are {rows} rows, not {wanted}")),
            (Field::Metric(name, wanted), Event::Done { metrics, .. }) => match metrics.get(name) {
                Some(serde_json::Value::String(is)) if is == wanted => Ok(()),
                Some(serde_json::Value::Number(is)) if is.as_u64().is_some() && is.as_u64() == wanted.parse().ok() => {
                    Ok(())
                }
                Some(is) => Err(format!("its metric `{name}` is {is}, not {wanted}")),
                None => Err(format!("it has no metric `{name}`")),
            },
            (Field::Call(wanted), Event::Error { call, .. }) if call == wanted => Ok(()),
            (Field::Call(_), Event::Error { call, .. }) => Err(format!("it is one of `{}`", call.name())),
            (Field::Kind(wanted), Event::Error { kind, .. }) if kind == wanted => Ok(()),
            (Field::Kind(_), Event::Error { kind, message, .. }) => {
                Err(format!("its kind is `{}`: {}", kind.name(), show(message.as_bytes())))
            }
            (Field::Says(part), Event::Error { message, .. }) if message.contains(part.as_str()) => Ok(()),
            (Field::Says(part), Event::Error { message, .. }) => {
                Err(format!("it says {}, without `{part}`", show(message.as_bytes())))
            }
            (Field::Class(wanted), Event::Error { error_class, .. }) => match error_class.as_ref() == Some(wanted) {
                true => Ok(()),
                false => Err(format!("its class is {error_class:?}, not `{wanted}`")),
            },
            (Field::Termination(wanted), Event::Closed { termination, .. }) if termination == wanted => Ok(()),
            (Field::Termination(_), Event::Closed { termination, .. }) => {
                Err(format!("it has ended as `{}`", termination.name()))
            }
            _ => Err("another report".into()),
        }
    }
}

impl Expectation for Pattern {
    type Heard = Event;
    type Context = ();

    fn parse(words: &mut Words<'_>) -> Result<Vec<Self>, String> {
        let word = words.word("a report")?;
        let what = match word {
            "init" => What::Init,
            "data" => What::Data,
            "data*" => What::DataStar,
            "rows" => What::Rows,
            "done" => What::Done,
            "error" => What::Error,
            "closed" => What::Closed,
            other => return Err(format!("a driver does not report `{other}`")),
        };
        let (mut shown, mut fields) = (word.to_owned(), Vec::new());
        while let Some(word) = words.peek().filter(|word| !matches!(*word, "|" | ";" | "within")) {
            words.next();
            shown.push(' ');
            shown.push_str(word);
            fields.push(Field::parse(what, word)?);
        }
        Ok(vec![Pattern { text: shown, fields, what }])
    }

    fn repeats(&self) -> bool {
        self.what == What::DataStar
    }

    fn is_last(&self) -> bool {
        false
    }

    fn check(&self, event: &Event, (): &()) -> Result<(), String> {
        let same = match event {
            Event::Init(_) => self.what == What::Init,
            Event::Data(_) => matches!(self.what, What::Data | What::DataStar),
            Event::Rows { .. } => self.what == What::Rows,
            Event::Done { .. } => self.what == What::Done,
            Event::Error { .. } => self.what == What::Error,
            Event::Closed { .. } => self.what == What::Closed,
            Event::Wrong(_) => false,
        };
        if !same {
            return Err("another report".into());
        }
        self.fields.iter().try_for_each(|field| field.check(event))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(pattern: &str, line: &str) -> bool {
        let mut words = Words::of(pattern).expect("it has words");
        let patterns = Pattern::parse(&mut words).expect("it is a pattern");
        words.end().expect("nothing is left");
        patterns[0].check(&Reported::read(line).event, &()).is_ok()
    }

    /// The lines of the contract, and what a case may ask of them.
    #[test]
    fn reports_are_read_and_matched() {
        let failed = r#"{"event": "error", "call": "read", "kind": "user", "message": "boom", "error_class": "E"}"#;
        for (pattern, line, means) in [
            ("init", r#"{"event": "init"}"#, true),
            ("init data=none", r#"{"event": "init", "bytes": 1, "crc32": 1}"#, false),
            (r#"data "one""#, r#"{"event": "data", "bytes": 3, "crc32": 2053932785}"#, true),
            (r#"data "two""#, r#"{"event": "data", "bytes": 3, "crc32": 2053932785}"#, false),
            ("rows 3", r#"{"event": "rows", "rows": 3}"#, true),
            (r#"done metric.a="1""#, r#"{"event": "done", "metrics": {"a": "1"}}"#, true),
            (r#"done metric.a="1""#, r#"{"event": "done", "metrics": {"a": 1}}"#, true),
            (r#"done metric.a="1""#, r#"{"event": "done"}"#, false),
            (r#"error read kind=user says="oo" class="E""#, failed, true),
            ("error init", failed, false),
            ("error kind=worker", failed, false),
            ("closed failed", r#"{"event": "closed", "termination": "failed", "reusable": true}"#, true),
            ("closed", r#"{"event": "dosed"}"#, false),
        ] {
            assert_eq!(holds(pattern, line), means, "{pattern}: {line}");
        }
        let two = Reported::read(r#"{"session": "b", "event": "init"}"#);
        assert_eq!((two.session.as_str(), two.event.judge()), ("b", Ok(())));
    }

    /// E14, and lines that no driver writes.
    #[test]
    fn e14_what_is_reported_is_judged() {
        for wrong in [
            r#"{"event": "closed", "termination": "transport-failed", "reusable": true}"#,
            r#"{"event": "closed", "termination": "finished", "reusable": false}"#,
            r#"{"event": "closed", "termination": "gone", "reusable": false}"#,
            r#"{"event": "error", "call": "read", "kind": "bad", "message": ""}"#,
            "Hello",
        ] {
            assert!(Reported::read(wrong).event.judge().is_err(), "{wrong}");
        }
    }
}
