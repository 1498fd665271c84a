//! Canonical protobuf JSON: the conversion is prost-reflect's, by the descriptors of the wire.
//!
//! What it adds: text that is refused is refused by [`shape`] before, in words of ours; and what is written is written in
//! the order of the fields, because prost-reflect keeps maps in no order.

use std::sync::LazyLock;

use anyudf_protocol::wire::{FILE_DESCRIPTOR_SET, UdfWorkerSpecification};
use prost_reflect::{DescriptorPool, DynamicMessage, Kind, MessageDescriptor};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Map, Value};

use super::shape::{self, Misfit};

static SPECIFICATION: LazyLock<MessageDescriptor> = LazyLock::new(|| {
    let pool = DescriptorPool::decode(FILE_DESCRIPTOR_SET).expect("the descriptors are generated with the messages");
    let name = "org.apache.spark.udf.worker.UDFWorkerSpecification";
    pool.get_message_by_name(name).expect("the descriptors have every message")
});

/// Reads a specification, with or without a byte order mark before it.
pub(super) fn read(text: &str) -> Result<UdfWorkerSpecification, Misfit> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    shape::check(text, &SPECIFICATION)?;
    let mut json = serde_json::Deserializer::from_str(text);
    // Its error would repeat what it read (D13), and is not reached by a text of the right shape.
    let message = DynamicMessage::deserialize(SPECIFICATION.clone(), &mut json)
        .map_err(|error| Misfit::at(&error, "this does not fit here"))?;
    Ok(message.transcode_to().expect("both are made from the same descriptors"))
}

/// Writes a specification, indented and with a newline at its end.
pub(super) fn write(specification: &UdfWorkerSpecification) -> String {
    let mut message = DynamicMessage::new(SPECIFICATION.clone());
    message.transcode_from(specification).expect("both are made from the same descriptors");
    let value = serde_json::to_value(message).expect("a message has names for keys, and is written to memory");
    let Value::Object(fields) = value else { unreachable!("a message is an object") };
    let ordered = Ordered { fields: &fields, message: &SPECIFICATION };
    serde_json::to_string_pretty(&ordered).expect("the same again") + "\n"
}

/// A message as JSON with its fields in their order, and the entries of maps in that of their keys.
struct Ordered<'a> {
    fields: &'a Map<String, Value>,
    message: &'a MessageDescriptor,
}

impl Serialize for Ordered<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_map(Some(self.fields.len()))?;
        if self.message.is_map_entry() {
            let mut entries: Vec<_> = self.fields.iter().collect();
            entries.sort_by_key(|&(key, _)| key);
            entries.into_iter().try_for_each(|(key, value)| out.serialize_entry(key, value))?;
            return out.end();
        }
        for field in self.message.fields() {
            match (self.fields.get(field.json_name()), field.kind()) {
                (Some(Value::Object(fields)), Kind::Message(message)) => {
                    out.serialize_entry(field.json_name(), &Ordered { fields, message: &message })?;
                }
                (Some(value), _) => out.serialize_entry(field.json_name(), value)?,
                (None, _) => {}
            }
        }
        out.end()
    }
}
