//! Whether a JSON text has the shape of a message: names, types, and each field once.
//!
//! prost-reflect looks at that too, but its errors repeat what they found, which may be a secret (D13), say nothing of
//! the path, and let a field that is given twice pass. So the text is walked first, along the message's descriptor.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::fmt;

use prost_reflect::{EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor};
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::error::Category;

/// How much of a name that is not known is shown.
const SHOWN_CHARS: usize = 40;

/// Where a text is not what it should be, and why.
#[derive(Debug)]
pub(super) struct Misfit {
    line: usize,
    column: usize,
    path: String,
    text: String,
}

impl Misfit {
    /// `text`, at the place of `error`, of whose own words nothing is said (D13).
    pub(super) fn at(error: &serde_json::Error, text: impl Into<String>) -> Self {
        Misfit { line: error.line(), column: error.column(), path: String::new(), text: text.into() }
    }
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Misfit { line, column, path, text } = self;
        let colon = if path.is_empty() { "" } else { ": " };
        write!(f, "line {line}, column {column}: {path}{colon}{text}")
    }
}

/// Walks through `text`, which should be a `message`.
pub(super) fn check(text: &str, message: &MessageDescriptor) -> Result<(), Misfit> {
    if text.trim_ascii().is_empty() {
        let text = "there is nothing in it".into();
        return Err(Misfit { line: 1, column: 1, path: String::new(), text });
    }
    let found = Found::default();
    let whole = Seed { shape: Shape::Message(message.clone()), nullable: false, path: &Path::Root, found: &found };
    let mut json = serde_json::Deserializer::from_str(text);
    whole.deserialize(&mut json).and_then(|()| json.end()).map_err(|error| {
        let (path, text) = found.0.into_inner().unwrap_or_default();
        Misfit { path, ..Misfit::at(&error, text.unwrap_or_else(|| no_json(&error))) }
    })
}

/// What is wrong with a text that is no JSON. These texts of serde_json's name marks, and repeat nothing.
fn no_json(error: &serde_json::Error) -> String {
    match error.classify() {
        Category::Eof => "the text ends too early; is a quote or a bracket not closed?".into(),
        _ => {
            let text = error.to_string();
            let text = text.rsplit_once(" at line ").map_or(&*text, |(text, _)| text);
            format!("this is no JSON: {text}")
        }
    }
}

/// A name as it may be shown: not too long, without control characters, and nothing behind `=`, where a value may be that
/// somebody has put into the wrong place (D13).
pub(super) fn shown(name: &str) -> String {
    let (name, value) = match name.split_once('=') {
        Some((name, _)) => (name, "="),
        None => (name, ""),
    };
    let short: String = name.chars().take(SHOWN_CHARS).collect();
    let more = if short.len() < name.len() || !value.is_empty() { "…" } else { "" };
    format!("\"{}{value}{more}\"", short.escape_debug())
}

/// What was found wrong first, if it was found here and not by the JSON parser: where, and why.
#[derive(Default)]
struct Found(OnceCell<(String, Option<String>)>);

/// The way from the whole to a part of it.
enum Path<'a> {
    Root,
    Field(&'a Path<'a>, &'a str),
    Item(&'a Path<'a>, usize),
    Entry(&'a Path<'a>, &'a str),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Path::Root => Ok(()),
            Path::Field(Path::Root, name) => f.write_str(name),
            Path::Field(parent, name) => write!(f, "{parent}.{name}"),
            Path::Item(parent, place) => write!(f, "{parent}[{place}]"),
            Path::Entry(parent, name) => write!(f, "{parent}[{}]", shown(name)),
        }
    }
}

/// What should be at a place.
enum Shape {
    Message(MessageDescriptor),
    List(Kind),
    Map(Kind),
    Text,
    Flag,
    Number,
    Name(EnumDescriptor),
}

impl Shape {
    fn of_field(field: &FieldDescriptor) -> Shape {
        match field.kind() {
            Kind::Message(entry) if field.is_map() => Shape::Map(entry.map_entry_value_field().kind()),
            kind if field.is_list() => Shape::List(kind),
            kind => Shape::of_kind(kind),
        }
    }

    fn of_kind(kind: Kind) -> Shape {
        match kind {
            Kind::Message(message) => Shape::Message(message),
            Kind::String => Shape::Text,
            Kind::Bool => Shape::Flag,
            Kind::Int32 => Shape::Number,
            Kind::Enum(names) => Shape::Name(names),
            other => unreachable!("a specification has no {other:?}"),
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Shape::Message(_) => f.write_str("an object"),
            Shape::List(item) => write!(f, "a list, each item {}", Shape::of_kind(item.clone())),
            Shape::Map(value) => write!(f, "an object, each value {}", Shape::of_kind(value.clone())),
            Shape::Text => f.write_str("a string"),
            Shape::Flag => f.write_str("true or false"),
            Shape::Number => f.write_str("a whole number of 32 bits"),
            Shape::Name(names) => {
                // The first is that of what is unset, which nobody should write.
                let names: Vec<_> = names.values().skip(1).map(|value| format!("\"{}\"", value.name())).collect();
                f.write_str(&names.join(" or "))
            }
        }
    }
}

/// Reads what should have a shape, and keeps nothing.
struct Seed<'a> {
    shape: Shape,
    /// Whether `null` is fine, which then means unset.
    nullable: bool,
    path: &'a Path<'a>,
    found: &'a Found,
}

impl Seed<'_> {
    /// An error here, in our words. Only its place in the text is added by the parser.
    fn refuse<E: Error>(&self, text: String) -> E {
        self.found.0.get_or_init(|| (self.path.to_string(), Some(text)));
        E::custom("")
    }

    fn mismatch<E: Error>(&self, found: &str) -> E {
        self.refuse(format!("there should be {}, and there is {found}", self.shape))
    }

    /// An error of something below, unless that has said where it was.
    fn pass<E>(path: &Path<'_>, found: &Found) -> impl FnOnce(E) -> E {
        |error| {
            found.0.get_or_init(|| (path.to_string(), None));
            error
        }
    }

    fn fields<'de, A: MapAccess<'de>>(&self, message: &MessageDescriptor, mut map: A) -> Result<(), A::Error> {
        let mut given: Vec<FieldDescriptor> = Vec::new();
        while let Some(name) = map.next_key::<Cow<'de, str>>().map_err(Self::pass(self.path, self.found))? {
            let field = message.get_field_by_json_name(&name).or_else(|| message.get_field_by_name(&name));
            let Some(field) = field else {
                let names: Vec<_> = message.fields().map(|field| format!("`{}`", field.json_name())).collect();
                let names =
                    if names.is_empty() { "it has none".into() } else { format!("it has {}", names.join(", ")) };
                return Err(self.refuse(format!("there is no field {} here; {names}", shown(&name))));
            };
            let path = Path::Field(self.path, field.json_name());
            let seed = Seed { shape: Shape::of_field(&field), nullable: true, path: &path, found: self.found };
            if given.contains(&field) {
                return Err(seed.refuse("this is given twice; leave one out".into()));
            }
            let rival = |other: &&FieldDescriptor| {
                field.containing_oneof().is_some() && other.containing_oneof() == field.containing_oneof()
            };
            if let Some(rival) = given.iter().find(rival) {
                let (one, other) = (rival.json_name(), field.json_name());
                return Err(self.refuse(format!("there can be `{one}` or `{other}`, not both; leave one out")));
            }
            map.next_value_seed(seed).map_err(Self::pass(&path, self.found))?;
            given.push(field);
        }
        Ok(())
    }

    fn entries<'de, A: MapAccess<'de>>(&self, value: &Kind, mut map: A) -> Result<(), A::Error> {
        let mut given: Vec<Cow<'de, str>> = Vec::new();
        while let Some(name) = map.next_key::<Cow<'de, str>>().map_err(Self::pass(self.path, self.found))? {
            let path = Path::Entry(self.path, &name);
            let seed = Seed { shape: Shape::of_kind(value.clone()), nullable: false, path: &path, found: self.found };
            if given.contains(&name) {
                return Err(seed.refuse("this is given twice; leave one out".into()));
            }
            map.next_value_seed(seed).map_err(Self::pass(&path, self.found))?;
            given.push(name);
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.shape)
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        if self.nullable { Ok(()) } else { Err(self.mismatch("null")) }
    }

    fn visit_bool<E: Error>(self, flag: bool) -> Result<(), E> {
        match self.shape {
            Shape::Flag => Ok(()),
            _ => Err(self.mismatch(if flag { "true" } else { "false" })),
        }
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<(), E> {
        match self.shape {
            Shape::Number | Shape::Name(_) if i32::try_from(number).is_ok() => Ok(()),
            Shape::Number => Err(self.mismatch("one out of that range")),
            _ => Err(self.mismatch("a number")),
        }
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<(), E> {
        self.visit_i64(number.try_into().unwrap_or(i64::MAX))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<(), E> {
        match self.shape {
            Shape::Number if number.fract() != 0.0 => Err(self.mismatch("a fraction")),
            // Of what is whole and too large for 64 bits, or written as 1e3.
            Shape::Number => self.visit_i64(number as i64),
            _ => Err(self.mismatch("a number")),
        }
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        match &self.shape {
            Shape::Text => Ok(()),
            Shape::Number if text.parse::<i32>().is_ok() => Ok(()),
            Shape::Name(names) if names.get_value_by_name(text).is_some() => Ok(()),
            Shape::Number | Shape::Name(_) => Err(self.mismatch("another string")),
            _ => Err(self.mismatch("a string")),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let Shape::List(item) = &self.shape else { return Err(self.mismatch("a list")) };
        for place in 0.. {
            let path = Path::Item(self.path, place);
            let seed = Seed { shape: Shape::of_kind(item.clone()), nullable: false, path: &path, found: self.found };
            if list.next_element_seed(seed).map_err(Self::pass(&path, self.found))?.is_none() {
                break;
            }
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        match &self.shape {
            Shape::Message(message) => self.fields(message, map),
            Shape::Map(value) => self.entries(value, map),
            _ => Err(self.mismatch("an object")),
        }
    }
}
