//! What an engine says: messages as a script names them, and the odd shapes in which they can travel.

use std::collections::BTreeMap;

use anyudf_protocol::wire;
use bytes::{BufMut, Bytes, BytesMut};
use prost::Message as _;
use prost::encoding::{WireType, decode_key, decode_varint, encode_key, encode_varint};

use crate::capability::Capabilities;
use crate::line::{Words, number, pair, text};
use crate::value::Value;

/// A message of the engine's.
#[derive(Clone, Debug)]
pub(crate) enum Message {
    Init(Box<Init>),
    Chunk {
        part: Part,
        last: bool,
    },
    Data(Value),
    /// The data that makes the function `user-error` fail (S2).
    Fatal,
    Finish,
    Cancel(Option<String>),
    /// `UdfRequest` without a branch (R16).
    Empty,
    /// A control message without a branch (R16).
    EmptyControl,
    /// A branch that nobody knows (R16).
    Unknown,
    /// The message's bytes as they are.
    Bytes(Value),
}

/// A piece of a payload.
#[derive(Clone, Debug)]
pub(crate) enum Part {
    /// The first of three, say.
    Of(usize, usize),
    Value(Value),
}

/// What Init claims of the payload (R3).
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum Claim {
    #[default]
    Right,
    /// Nothing is claimed.
    Absent,
    /// The right one, and this much more.
    Off(i64),
}

/// Init, as far as it is not what it always is.
#[derive(Clone, Debug)]
pub(crate) struct Init {
    /// Which function: a role of the capabilities, and its number.
    pub(crate) role: String,
    pub(crate) number: Option<u64>,
    pub(crate) chunked: bool,
    /// `is_chunking_payload` is set, to false.
    explicitly_whole: bool,
    version: Option<u32>,
    data_format: i32,
    format: Option<String>,
    payload: Option<Value>,
    inline: Option<Part>,
    size: Claim,
    crc: Claim,
    without_udf: bool,
    name: Option<String>,
    eval_type: Option<String>,
    input_schema: Option<Value>,
    output_schema: Option<Value>,
    timezone: Option<String>,
    parameters: Option<Value>,
    conf: BTreeMap<String, String>,
    context: BTreeMap<String, String>,
}

impl Message {
    pub(crate) fn parse(words: &mut Words<'_>) -> Result<Self, String> {
        Ok(match words.word("a message")? {
            "init" => Message::Init(Box::new(Init::parse(words)?)),
            "chunk" => {
                let part = match words.word("a piece, such as 1/3 or \"text\"")? {
                    "empty" => Part::Value(Value::Sized(0)),
                    piece => Part::parse(piece)?,
                };
                Message::Chunk { part, last: words.take("last") }
            }
            "data" if words.take("fatal") => Message::Fatal,
            "data" => Message::Data(words.value("what it holds")?),
            "finish" => Message::Finish,
            "cancel" => Message::Cancel(match words.peek() {
                Some(reason) if reason.starts_with('"') => Some(text(words.word("a reason")?)?),
                Some("long") => {
                    words.next();
                    Some("because ".repeat(512))
                }
                _ => None,
            }),
            "empty" => Message::Empty,
            "empty-control" => Message::EmptyControl,
            "unknown" => Message::Unknown,
            "bytes" => Message::Bytes(words.value("what they are")?),
            other => return Err(format!("an engine has no message `{other}`")),
        })
    }

    /// The protobuf message. `payload` is what the last Init of the stream stands for, of which chunks are pieces.
    pub(crate) fn encode(&self, capabilities: &Capabilities, payload: &mut Bytes, shape: &Shape) -> Bytes {
        use wire::udf_control_request::Control;
        use wire::udf_request::Request;

        let control = |control| Some(Request::Control(wire::UdfControlRequest { control: Some(control) }));
        let request = match self {
            Message::Init(init) => {
                *payload = init.whole(capabilities);
                control(Control::Init(init.to_wire(capabilities, payload)))
            }
            Message::Chunk { part, last } => {
                let data = part.of(payload);
                control(Control::Payload(wire::PayloadChunk { data, last: last.then_some(true) }))
            }
            Message::Data(value) => Some(Request::Data(wire::DataRequest { data: value.bytes() })),
            Message::Fatal => {
                let data = capabilities.function("user-error").and_then(|function| function.data.clone());
                Some(Request::Data(wire::DataRequest { data: data.unwrap_or_default().into() }))
            }
            Message::Finish => control(Control::Finish(wire::Finish {})),
            Message::Cancel(reason) => control(Control::Cancel(wire::Cancel { reason: reason.clone() })),
            Message::Empty => None,
            Message::EmptyControl => Some(Request::Control(wire::UdfControlRequest { control: None })),
            Message::Unknown => {
                let mut bytes = BytesMut::new();
                from_the_future(&mut bytes);
                return bytes.freeze();
            }
            Message::Bytes(value) => return value.bytes(),
        };
        shape.apply(wire::UdfRequest { request }.encode_to_vec(), REQUEST)
    }

    /// How it is called in a transcript.
    pub(crate) fn show(&self) -> String {
        match self {
            Message::Init(init) => format!("init {}{}", init.role, if init.chunked { " chunked" } else { "" }),
            Message::Chunk { part: Part::Of(number, of), last } => {
                format!("chunk {number}/{of}{}", if *last { " last" } else { "" })
            }
            Message::Chunk { part: Part::Value(value), last } => {
                format!("chunk {value}{}", if *last { " last" } else { "" })
            }
            Message::Data(value) => format!("data {value}"),
            Message::Fatal => "data fatal".into(),
            Message::Finish => "finish".into(),
            Message::Cancel(None) => "cancel".into(),
            Message::Cancel(Some(reason)) => format!("cancel {}", crate::value::show(reason.as_bytes())),
            Message::Empty => "empty: a message without a branch".into(),
            Message::EmptyControl => "empty-control: a control message without a branch".into(),
            Message::Unknown => "unknown: a branch that nobody knows".into(),
            Message::Bytes(value) => format!("bytes {value}"),
        }
    }
}

impl Part {
    fn parse(word: &str) -> Result<Self, String> {
        match word.split_once('/') {
            Some((first, of)) if !word.starts_with('"') => {
                let (first, of) = (number(first)?, number(of)?);
                match 1 <= first && first <= of {
                    true => Ok(Part::Of(first, of)),
                    false => Err(format!("`{word}` is no piece")),
                }
            }
            _ => Value::parse(word).map(Part::Value),
        }
    }

    fn of(&self, payload: &Bytes) -> Bytes {
        match self {
            Part::Of(number, of) => {
                let edge = |number: usize| payload.len() * number / of;
                payload.slice(edge(number - 1)..edge(*number))
            }
            Part::Value(value) => value.bytes(),
        }
    }
}

impl Claim {
    fn parse(word: &str) -> Result<Self, String> {
        match word {
            "right" => Ok(Claim::Right),
            "none" => Ok(Claim::Absent),
            off => number(off.strip_prefix('+').unwrap_or(off)).map(Claim::Off),
        }
    }

    fn of(self, right: i64) -> Option<i64> {
        match self {
            Claim::Right => Some(right),
            Claim::Absent => None,
            Claim::Off(by) => Some(right.wrapping_add(by)),
        }
    }
}

impl Init {
    fn parse(words: &mut Words<'_>) -> Result<Self, String> {
        let mut init = Init {
            role: "echo".into(),
            number: None,
            chunked: false,
            explicitly_whole: false,
            version: Some(1),
            data_format: 1,
            format: None,
            payload: None,
            inline: None,
            size: Claim::Right,
            crc: Claim::Right,
            without_udf: false,
            name: None,
            eval_type: None,
            input_schema: None,
            output_schema: None,
            timezone: None,
            parameters: None,
            conf: BTreeMap::new(),
            context: BTreeMap::new(),
        };
        while let Some(word) = words.peek() {
            if word.starts_with('{') || word == "|" {
                break;
            }
            words.next();
            match pair(word) {
                ("chunked", None) => init.chunked = true,
                ("chunked", Some("no")) => init.explicitly_whole = true,
                ("without-udf", None) => init.without_udf = true,
                (role, None) => {
                    let (name, count) = match role.strip_suffix(')').and_then(|role| role.split_once('(')) {
                        Some((name, count)) => (name, Some(number(count)?)),
                        None => (role, None),
                    };
                    if !crate::capability::ROLES.iter().any(|(known, _)| *known == name) {
                        return Err(format!("no function is called `{role}`"));
                    }
                    (init.role, init.number) = (name.into(), count);
                }
                ("version", Some("none")) => init.version = None,
                ("version", Some(version)) => init.version = Some(number(version)?),
                ("data-format", Some(format)) => init.data_format = number(format)?,
                ("format", Some(format)) => init.format = Some(text(format)?),
                ("payload", Some(payload)) => init.payload = Some(Value::parse(payload)?),
                ("inline", Some(part)) => init.inline = Some(Part::parse(part)?),
                ("size", Some(claim)) => init.size = Claim::parse(claim)?,
                ("crc", Some(claim)) => init.crc = Claim::parse(claim)?,
                ("name", Some(name)) => init.name = Some(text(name)?),
                ("eval-type", Some(eval_type)) => init.eval_type = Some(text(eval_type)?),
                ("input-schema", Some(schema)) => init.input_schema = Some(Value::parse(schema)?),
                ("output-schema", Some(schema)) => init.output_schema = Some(Value::parse(schema)?),
                ("timezone", Some(timezone)) => init.timezone = Some(text(timezone)?),
                ("parameters", Some(parameters)) => init.parameters = Some(Value::parse(parameters)?),
                (key, Some(value)) => {
                    let value = text(value)?;
                    let known = match key.split_once('.') {
                        Some(("conf", key)) => init.conf.insert(key.into(), value),
                        Some(("context", key)) => init.context.insert(key.into(), value),
                        _ => return Err(format!("Init has no `{key}`")),
                    };
                    if known.is_some() {
                        return Err(format!("`{key}` is there twice"));
                    }
                }
            }
        }
        Ok(init)
    }

    /// The payload that all pieces together are.
    fn whole(&self, capabilities: &Capabilities) -> Bytes {
        match (&self.payload, capabilities.function(&self.role)) {
            (Some(value), _) => value.bytes(),
            (None, Some(function)) => function.payload(self.number),
            (None, None) => Bytes::new(),
        }
    }

    fn to_wire(&self, capabilities: &Capabilities, whole: &Bytes) -> wire::Init {
        let function = capabilities.function(&self.role);
        let payload = match (&self.inline, self.chunked) {
            (Some(part), _) => part.of(whole),
            (None, true) => Bytes::new(),
            (None, false) => whole.clone(),
        };
        let format = self.format.clone().or_else(|| function.map(|function| function.format.clone()));
        let crc = self.crc.of(crc32fast::hash(whole).into());
        let udf = wire::UdfPayload {
            payload,
            format: format.unwrap_or_default(),
            payload_size: self.size.of(whole.len() as i64),
            payload_crc32: crc.map(|crc| crc as u32),
            name: self.name.clone(),
            eval_type: self.eval_type.clone(),
        };
        wire::Init {
            protocol_version: self.version,
            data_format: self.data_format,
            udf: (!self.without_udf).then_some(udf),
            is_chunking_payload: (self.chunked || self.explicitly_whole).then_some(self.chunked),
            input_schema: self.input_schema.as_ref().map(Value::bytes),
            output_schema: self.output_schema.as_ref().map(Value::bytes),
            task_context: self.context.clone(),
            session_conf: self.conf.clone(),
            timezone: self.timezone.clone(),
            parameters: self.parameters.as_ref().map(Value::bytes),
        }
    }
}

/// How a message travels, in braces behind it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shape {
    /// `{unknown}`: fields that nobody knows, in every message of it (R20).
    pub(crate) unknown: bool,
    /// `{reversed}`: its fields in the reverse order.
    pub(crate) reversed: bool,
    /// `{split=N}`: N bytes in each frame of HTTP/2.
    pub(crate) split: Option<usize>,
    /// `{empty-frames}`: before each frame of HTTP/2 one that holds nothing.
    pub(crate) empty_frames: bool,
    /// `{joined}`: in one frame with the message that follows.
    pub(crate) joined: bool,
    /// `{gzip}`: compressed by gzip (P11).
    pub(crate) gzip: bool,
    /// `{flag=N}`: the first byte of gRPC's five.
    pub(crate) flag: Option<u8>,
    /// `{length=N}`: what gRPC's prefix claims, whatever is there.
    pub(crate) length: Option<u32>,
    /// `{missing=N}`: so many of the last bytes are not sent.
    pub(crate) missing: usize,
}

impl Shape {
    /// Reads `{a b=1}` at the end of a line.
    pub(crate) fn parse(words: &mut Words<'_>) -> Result<Self, String> {
        let mut shape = Shape::default();
        let Some(first) = words.peek() else { return Ok(shape) };
        if !first.starts_with('{') {
            return Ok(shape);
        }
        loop {
            let word = words.word("`}`")?;
            let last = word.ends_with('}');
            let bare = word.trim_start_matches('{').trim_end_matches('}');
            match pair(bare) {
                ("", None) => {}
                ("unknown", None) => shape.unknown = true,
                ("reversed", None) => shape.reversed = true,
                ("empty-frames", None) => shape.empty_frames = true,
                ("joined", None) => shape.joined = true,
                ("gzip", None) => shape.gzip = true,
                ("split", Some(bytes)) => shape.split = Some(number::<usize>(bytes)?.max(1)),
                ("flag", Some(flag)) => shape.flag = Some(number(flag)?),
                ("length", Some(length)) => shape.length = Some(number(length)?),
                ("missing", Some(bytes)) => shape.missing = number(bytes)?,
                _ => return Err(format!("a message has no shape `{bare}`")),
            }
            if last {
                return Ok(shape);
            }
        }
    }

    /// The message with its fields as this has them.
    pub(crate) fn apply(&self, message: Vec<u8>, layout: &Layout) -> Bytes {
        match self.reversed || self.unknown {
            true => change(&message, layout, self).into(),
            false => message.into(),
        }
    }

    /// The message with gRPC's prefix before it.
    pub(crate) fn frame(&self, message: &[u8]) -> Bytes {
        let compressed;
        let message = match self.gzip {
            true => {
                compressed = gzip(message);
                &compressed[..]
            }
            false => message,
        };
        let mut framed = BytesMut::with_capacity(message.len() + 5);
        framed.put_u8(self.flag.unwrap_or(self.gzip.into()));
        framed.put_u32(self.length.unwrap_or(message.len() as u32));
        framed.put_slice(&message[..message.len().saturating_sub(self.missing)]);
        framed.freeze()
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write as _;

    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("memory takes what it is given")
}

/// Which fields of a message are messages whose fields can be changed, too.
pub(crate) struct Layout(&'static [(u32, &'static Layout)]);

const LEAF: &Layout = &Layout(&[]);
const REQUEST: &Layout = &Layout(&[(1, CONTROL), (2, LEAF)]);
const CONTROL: &Layout = &Layout(&[(1, INIT), (2, LEAF), (3, LEAF), (4, LEAF)]);
const INIT: &Layout = &Layout(&[(3, LEAF)]);
pub(crate) const RESPONSE: &Layout = &Layout(&[(1, ANSWER), (2, LEAF)]);
const ANSWER: &Layout = &Layout(&[(1, OPENED), (2, FINISHED), (3, OPENED), (4, FAILED)]);
/// CancelResponse has its error at the same place.
const OPENED: &Layout = &Layout(&[(2, ERROR)]);
const FAILED: &Layout = &Layout(&[(1, ERROR)]);
const FINISHED: &Layout = &Layout(&[(3, ERROR)]);
const ERROR: &Layout = &Layout(&[(1, LEAF), (2, LEAF), (3, LEAF)]);

/// Fields as they are on the wire, each with its number.
fn fields(mut message: &[u8]) -> Vec<(u32, &[u8], &[u8])> {
    let mut fields = Vec::new();
    while !message.is_empty() {
        let start = message;
        let (number, kind) = decode_key(&mut message).expect("we have encoded it");
        let before = message;
        let value = match kind {
            WireType::LengthDelimited => {
                let len = decode_varint(&mut message).expect("we have encoded it") as usize;
                let (value, rest) = message.split_at(len);
                message = rest;
                value
            }
            WireType::Varint => {
                decode_varint(&mut message).expect("we have encoded it");
                &before[..before.len() - message.len()]
            }
            other => unreachable!("the protocol has no field of the kind {other:?}"),
        };
        fields.push((number, &start[..start.len() - message.len()], value));
    }
    fields
}

/// The same message with fields that nobody knows, or in another order, on every level.
fn change(message: &[u8], layout: &Layout, shape: &Shape) -> Vec<u8> {
    let mut changed = Vec::with_capacity(message.len() + 64);
    if shape.unknown && shape.reversed {
        from_the_future(&mut changed);
    }
    let mut fields = fields(message);
    if shape.reversed {
        fields.reverse();
    }
    for (number, whole, value) in fields {
        match layout.0.iter().find(|(known, _)| *known == number) {
            Some((_, layout)) => {
                let inner = change(value, layout, shape);
                encode_key(number, WireType::LengthDelimited, &mut changed);
                encode_varint(inner.len() as u64, &mut changed);
                changed.extend_from_slice(&inner);
            }
            None => changed.extend_from_slice(whole),
        }
    }
    if shape.unknown && !shape.reversed {
        from_the_future(&mut changed);
    }
    changed
}

/// One field of each kind, with numbers that the protocol does not have.
pub(crate) fn from_the_future(buffer: &mut impl BufMut) {
    encode_key(15_001, WireType::Varint, buffer);
    encode_varint(u64::MAX, buffer);
    encode_key(15_002, WireType::LengthDelimited, buffer);
    encode_varint(6, buffer);
    buffer.put_slice(b"future");
    encode_key(15_003, WireType::ThirtyTwoBit, buffer);
    buffer.put_u32_le(7);
    encode_key(15_004, WireType::SixtyFourBit, buffer);
    buffer.put_u64_le(8);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(line: &str) -> (Bytes, Bytes) {
        let mut words = Words::of(line).expect("it is fine");
        let message = Message::parse(&mut words).expect("it is a message");
        let shape = Shape::parse(&mut words).expect("it is a shape");
        words.end().expect("nothing is left");
        let mut payload = Bytes::new();
        let bytes = message.encode(&Capabilities::everything(), &mut payload, &shape);
        (bytes, payload)
    }

    fn decoded(bytes: &[u8]) -> wire::UdfRequest {
        wire::UdfRequest::decode(bytes).expect("it is a request")
    }

    /// R20: the same message, whatever its order and whatever else is in it.
    #[test]
    fn r20_a_changed_message_means_the_same() {
        for line in [
            r#"init generate(3) name="x" conf.a="b" conf.c="d" input-schema=@schema parameters="p" timezone="UTC""#,
            "data @batch",
            "chunk \"abc\" last",
            "cancel \"enough\"",
        ] {
            let (plain, _) = encoded(line);
            for shape in ["{unknown}", "{reversed}", "{unknown reversed}"] {
                let (changed, _) = encoded(&format!("{line} {shape}"));
                assert_eq!(decoded(&changed), decoded(&plain), "{line} {shape}");
                assert!(shape != "{unknown}" || changed != plain, "{line} {shape}");
            }
        }
    }

    /// R3: pieces together are the whole, and the claims are those of the whole.
    #[test]
    fn r3_chunks_are_pieces_of_the_payload() {
        let mut payload = Bytes::new();
        let everything = Capabilities::everything();
        let mut said = |line: &str| {
            let message = Message::parse(&mut Words::of(line).expect("it is fine")).expect("it is a message");
            decoded(&message.encode(&everything, &mut payload, &Shape::default())).request.expect("it has a branch")
        };
        let wire::udf_request::Request::Control(control) = said("init chunked payload=1000 size=+1 crc=none") else {
            panic!("Init is a control message")
        };
        let Some(wire::udf_control_request::Control::Init(init)) = control.control else { panic!("it is Init") };
        let udf = init.udf.expect("it has one");
        assert_eq!((udf.payload.len(), udf.payload_size, udf.payload_crc32), (0, Some(1001), None));
        let mut whole = Vec::new();
        for line in ["chunk 1/3", "chunk 2/3", "chunk 3/3 last"] {
            let wire::udf_request::Request::Control(control) = said(line) else { panic!("a chunk is one, too") };
            let Some(wire::udf_control_request::Control::Payload(chunk)) = control.control else { panic!("a chunk") };
            whole.extend_from_slice(&chunk.data);
        }
        assert_eq!(whole, Value::Sized(1000).bytes());
    }

    #[test]
    fn what_no_engine_says_is_refused() {
        for line in
            ["inti", "init nothing", "init version=x", "chunk 4/3", "data", "init conf.a=\"1\" conf.a=\"2\"", ""]
        {
            let words = Words::of(line).and_then(|mut words| Message::parse(&mut words).map(|_| ()));
            assert!(words.is_err(), "{line}");
        }
        assert!(Shape::parse(&mut Words::of("{split}").expect("it is fine")).is_err());
    }
}
