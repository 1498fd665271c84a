//! What an engine says: messages as they came, and patterns for them.

use std::fmt;

use anyudf_protocol::wire;
use bytes::Bytes;
use prost::Message as _;

use super::server::Event;
use crate::expect::Expectation;
use crate::line::{Words, number, pair, text};
use crate::value::{Value, show};

/// What came on a stream.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Heard {
    Init(Box<wire::Init>),
    Chunk(wire::PayloadChunk),
    Data(Bytes),
    Finish,
    Cancel(Option<String>),
    /// No message of the protocol.
    Wrong(String),
    HalfClose,
    /// Reset, or its connection is gone.
    Cut(String),
}

impl From<Event> for Heard {
    fn from(event: Event) -> Self {
        match event {
            Event::Message(message) => Heard::decode(message),
            Event::Wrong(why) => Heard::Wrong(why),
            Event::HalfClose => Heard::HalfClose,
            Event::Cut(why) => Heard::Cut(why),
        }
    }
}

impl Heard {
    fn decode(message: Bytes) -> Self {
        use wire::udf_control_request::Control;
        use wire::udf_request::Request;

        let request = match wire::UdfRequest::decode(message) {
            Ok(request) => request.request,
            Err(error) => return Heard::Wrong(format!("bytes that are no UdfRequest: {error}")),
        };
        match request {
            None => Heard::Wrong("a UdfRequest without a branch (R16)".into()),
            Some(Request::Data(data)) => Heard::Data(data.data),
            Some(Request::Control(control)) => match control.control {
                None => Heard::Wrong("a control request without a branch (R16)".into()),
                Some(Control::Init(init)) => Heard::Init(Box::new(init)),
                Some(Control::Payload(chunk)) => Heard::Chunk(chunk),
                Some(Control::Finish(_)) => Heard::Finish,
                Some(Control::Cancel(cancel)) => Heard::Cancel(cancel.reason),
            },
        }
    }

    /// Whether nothing comes behind it.
    pub(crate) fn is_end(&self) -> bool {
        matches!(self, Heard::HalfClose | Heard::Cut(_))
    }
}

impl fmt::Display for Heard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Heard::Init(init) => {
                let chunked = if init.is_chunking_payload() { " chunked" } else { "" };
                match &init.udf {
                    Some(udf) => write!(f, "init format={:?}{chunked}", udf.format),
                    None => write!(f, "init without a udf{chunked}"),
                }
            }
            Heard::Chunk(chunk) => {
                write!(f, "chunk of {} bytes{}", chunk.data.len(), if chunk.last() { ", the last" } else { "" })
            }
            Heard::Data(data) => write!(f, "data {}", show(data)),
            Heard::Finish => f.write_str("finish"),
            Heard::Cancel(None) => f.write_str("cancel"),
            Heard::Cancel(Some(reason)) => write!(f, "cancel {}", show(reason.as_bytes())),
            Heard::Wrong(what) => f.write_str(what),
            Heard::HalfClose => f.write_str("half-close"),
            Heard::Cut(why) => write!(f, "cut off: {why}"),
        }
    }
}

/// A pattern for one thing that an engine says.
#[derive(Clone, Debug)]
pub(crate) struct Pattern {
    text: String,
    kind: Kind,
    fields: Vec<Field>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Init,
    Chunk,
    /// Any number of chunks, none too.
    ChunkStar,
    Data,
    DataStar,
    Finish,
    Cancel,
    HalfClose,
    /// It is reset, or its connection is gone.
    Cut,
    /// However it ends.
    Gone,
}

#[derive(Clone, Debug)]
enum Field {
    /// A field of Init, by its name in a script, and what it holds.
    Init(String, Option<Value>),
    /// A field of Init that is there, and not empty.
    Some(String),
    Entry(Map, String, String),
    Last(bool),
    Data(Value),
    /// Its length in bytes at most.
    Most(usize),
    /// The reason of Cancel, or that its length in bytes is at most so much.
    Reason(String),
    ReasonMost(usize),
}

#[derive(Clone, Copy, Debug)]
enum Map {
    Conf,
    Context,
}

impl fmt::Display for Pattern {
    /// As a script has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The fields of Init that a script can name.
const INIT: [&str; 14] = [
    "version",
    "data-format",
    "format",
    "payload",
    "inline",
    "size",
    "crc",
    "name",
    "eval-type",
    "input-schema",
    "output-schema",
    "timezone",
    "parameters",
    "chunked",
];

impl Field {
    fn parse(kind: Kind, word: &str) -> Result<Self, String> {
        Ok(match (kind, pair(word)) {
            (Kind::Init, (key, Some(value))) => match key.split_once('.') {
                Some(("conf", key)) => Field::Entry(Map::Conf, key.into(), text(value)?),
                Some(("context", key)) => Field::Entry(Map::Context, key.into(), text(value)?),
                None if INIT.contains(&key) => match value {
                    "none" => Field::Init(key.into(), None),
                    "some" => Field::Some(key.into()),
                    value => Field::Init(key.into(), Some(Value::parse(value)?)),
                },
                _ => return Err(format!("Init has no `{key}`")),
            },
            (Kind::Init, ("chunked", None)) => Field::Init("chunked".into(), Some(Value::Text("true".into()))),
            (Kind::Chunk | Kind::ChunkStar, ("last", None)) => Field::Last(true),
            (Kind::Chunk | Kind::ChunkStar, ("more", None)) => Field::Last(false),
            (Kind::Chunk | Kind::ChunkStar | Kind::Data | Kind::DataStar, ("most", Some(size))) => {
                match Value::parse(size)? {
                    Value::Sized(size) => Field::Most(size),
                    other => return Err(format!("{other} is no size")),
                }
            }
            (Kind::Cancel, ("most", Some(size))) => Field::ReasonMost(number(size)?),
            (Kind::Chunk | Kind::Data, (_, None)) => Field::Data(Value::parse(word)?),
            (Kind::Cancel, (_, None)) => Field::Reason(text(word)?),
            _ => return Err(format!("what is `{word}` of {kind:?}?")),
        })
    }

    fn check(&self, heard: &Heard) -> Result<(), String> {
        match (self, heard) {
            (Field::Init(name, wanted), Heard::Init(init)) => {
                let is = field(init, name);
                match (is, wanted) {
                    (None, None) => Ok(()),
                    (Some(is), Some(wanted)) if is == wanted.bytes() => Ok(()),
                    (Some(is), Some(wanted)) => Err(format!("its `{name}` is {}, not {wanted}", show(&is))),
                    (Some(is), None) => Err(format!("it has a `{name}`, {}", show(&is))),
                    (None, Some(wanted)) => Err(format!("it has no `{name}`, and not {wanted}")),
                }
            }
            (Field::Some(name), Heard::Init(init)) => match field(init, name) {
                Some(value) if !value.is_empty() => Ok(()),
                _ => Err(format!("its `{name}` is missing")),
            },
            (Field::Entry(map, key, wanted), Heard::Init(init)) => {
                let entries = match map {
                    Map::Conf => &init.session_conf,
                    Map::Context => &init.task_context,
                };
                match entries.get(key) {
                    Some(is) if is == wanted => Ok(()),
                    Some(is) => Err(format!("its `{key}` is {is:?}, not {wanted:?}")),
                    None => Err(format!("it has no `{key}` in that map")),
                }
            }
            (Field::Last(wanted), Heard::Chunk(chunk)) if chunk.last() == *wanted => Ok(()),
            (Field::Last(_), Heard::Chunk(chunk)) => {
                Err(if chunk.last() { "it is the last" } else { "it is not the last" }.into())
            }
            (Field::Data(wanted), Heard::Data(data) | Heard::Chunk(wire::PayloadChunk { data, .. })) => {
                match *data == wanted.bytes() {
                    true => Ok(()),
                    false => Err(format!("it holds {}, not {wanted}", show(data))),
                }
            }
            (Field::Most(most), Heard::Data(data) | Heard::Chunk(wire::PayloadChunk { data, .. })) => {
                match data.len() <= *most {
                    true => Ok(()),
                    false => Err(format!("it has {} bytes, more than {most}", data.len())),
                }
            }
            (Field::Reason(wanted), Heard::Cancel(reason)) => match reason.as_deref() == Some(wanted) {
                true => Ok(()),
                false => Err(format!("its reason is {reason:?}, not {wanted:?}")),
            },
            (Field::ReasonMost(most), Heard::Cancel(reason)) => match reason.as_ref().map_or(0, String::len) {
                len if len <= *most => Ok(()),
                len => Err(format!("its reason has {len} bytes, more than {most}")),
            },
            _ => Err("another message".into()),
        }
    }
}

/// A field of Init as bytes; numbers in decimal.
fn field(init: &wire::Init, name: &str) -> Option<Bytes> {
    let number = |number: Option<i64>| number.map(|number| Bytes::from(number.to_string()));
    let words = |text: &Option<String>| text.clone().map(Bytes::from);
    let udf = init.udf.as_ref();
    match name {
        "version" => number(init.protocol_version.map(i64::from)),
        "data-format" => number(Some(init.data_format.into())),
        "format" => udf.map(|udf| udf.format.clone().into()),
        "payload" | "inline" => udf.map(|udf| udf.payload.clone()),
        "size" => number(udf.and_then(|udf| udf.payload_size)),
        "crc" => number(udf.and_then(|udf| udf.payload_crc32).map(i64::from)),
        "name" => udf.and_then(|udf| words(&udf.name)),
        "eval-type" => udf.and_then(|udf| words(&udf.eval_type)),
        "input-schema" => init.input_schema.clone(),
        "output-schema" => init.output_schema.clone(),
        "timezone" => words(&init.timezone),
        "parameters" => init.parameters.clone(),
        "chunked" => init.is_chunking_payload.map(|chunked| chunked.to_string().into()),
        _ => None,
    }
}

impl Expectation for Pattern {
    type Heard = Heard;
    type Context = ();

    fn parse(words: &mut Words<'_>) -> Result<Vec<Self>, String> {
        let word = words.word("a message")?;
        let kind = match word {
            "init" => Kind::Init,
            "chunk" => Kind::Chunk,
            "chunk*" => Kind::ChunkStar,
            "data" => Kind::Data,
            "data*" => Kind::DataStar,
            "finish" => Kind::Finish,
            "cancel" => Kind::Cancel,
            "half-close" => Kind::HalfClose,
            "cut" => Kind::Cut,
            "gone" => Kind::Gone,
            other => return Err(format!("an engine has no message `{other}`")),
        };
        let (mut shown, mut fields) = (word.to_owned(), Vec::new());
        while let Some(word) = words.peek().filter(|word| !matches!(*word, "|" | ";" | "within")) {
            words.next();
            shown.push(' ');
            shown.push_str(word);
            fields.push(Field::parse(kind, word)?);
        }
        Ok(vec![Pattern { text: shown, kind, fields }])
    }

    fn repeats(&self) -> bool {
        matches!(self.kind, Kind::DataStar | Kind::ChunkStar)
    }

    fn is_last(&self) -> bool {
        matches!(self.kind, Kind::HalfClose | Kind::Cut | Kind::Gone)
    }

    fn check(&self, heard: &Heard, (): &()) -> Result<(), String> {
        let same = match (self.kind, heard) {
            (Kind::Init, Heard::Init(_))
            | (Kind::Chunk | Kind::ChunkStar, Heard::Chunk(_))
            | (Kind::Data | Kind::DataStar, Heard::Data(_))
            | (Kind::Finish, Heard::Finish)
            | (Kind::Cancel, Heard::Cancel(_))
            | (Kind::HalfClose, Heard::HalfClose)
            | (Kind::Cut, Heard::Cut(_)) => true,
            (Kind::Gone, heard) => heard.is_end(),
            _ => false,
        };
        if !same {
            return Err("another message".into());
        }
        self.fields.iter().try_for_each(|field| field.check(heard))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(line: &str, heard: &Heard) -> Result<(), String> {
        let mut words = Words::of(line)?;
        let patterns = Pattern::parse(&mut words)?;
        words.end()?;
        patterns[0].check(heard, &())
    }

    /// What a case expects is what it says: no more, no less.
    #[test]
    fn a_pattern_means_what_it_says() {
        let udf = wire::UdfPayload { format: "echo".into(), payload_size: Some(7), ..Default::default() };
        let init = wire::Init {
            protocol_version: Some(1),
            udf: Some(udf),
            session_conf: [("a".to_owned(), "b".to_owned())].into(),
            ..Default::default()
        };
        let init = Heard::Init(Box::new(init));
        let data = Heard::Data("one".into());
        let last = Heard::Chunk(wire::PayloadChunk { data: "x".into(), last: Some(true) });
        let cancel = Heard::Cancel(Some("told".into()));
        for (pattern, heard, means) in [
            (r#"init format="echo" size="7" version="1""#, &init, true),
            (r#"init size="8""#, &init, false),
            ("init crc=none", &init, true),
            ("init size=none", &init, false),
            ("init size=some", &init, true),
            ("init crc=some", &init, false),
            (r#"init conf.a="b""#, &init, true),
            (r#"init conf.a="c""#, &init, false),
            (r#"init context.a="b""#, &init, false),
            (r#"data "one""#, &data, true),
            ("data most=3", &data, true),
            ("data most=2", &data, false),
            (r#"data "two""#, &data, false),
            ("chunk last", &last, true),
            ("chunk more", &last, false),
            (r#"cancel "told""#, &cancel, true),
            ("cancel most=3", &cancel, false),
            ("finish", &cancel, false),
            ("gone", &Heard::HalfClose, true),
            ("cut", &Heard::HalfClose, false),
        ] {
            assert_eq!(holds(pattern, heard).is_ok(), means, "{pattern}: {heard}");
        }
        for wrong in ["init magic=1", "inti", "data x", "finish now", "cancel now"] {
            assert!(Words::of(wrong).and_then(|mut words| Pattern::parse(&mut words).map(drop)).is_err(), "{wrong}");
        }
    }
}
