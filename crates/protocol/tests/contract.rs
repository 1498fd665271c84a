//! The contract: our descriptors describe the wire of Apache Spark 4.3.0, nothing missing and nothing extra.
//!
//! `contract/spark-4.3.0.json` holds the release's messages as facts. Both the facts and the checked-in descriptors are
//! written down as lines of one notation, and the two sets of lines must be the same. A failure prints the lines that
//! differ, those that are missing with `-`, those that are extra with `+`.

use std::collections::{BTreeMap, BTreeSet};

use anyudf_protocol::wire::FILE_DESCRIPTOR_SET;
use prost::Message;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet};
use serde::Deserialize;

const FACTS: &str = include_str!("contract/spark-4.3.0.json");

/// The table of facts. Unknown keys are refused, so that no fact goes unread.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Facts {
    #[serde(rename = "release")]
    _release: String,
    package: String,
    services: BTreeMap<String, Vec<MethodFact>>,
    messages: BTreeMap<String, MessageFact>,
    enums: BTreeMap<String, EnumFact>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MethodFact {
    method: String,
    input: String,
    output: String,
    client_streaming: bool,
    server_streaming: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MessageFact {
    file: String,
    fields: Vec<FieldFact>,
    /// First and last number of each range.
    reserved: Vec<(i32, i32)>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FieldFact {
    name: String,
    number: i32,
    r#type: String,
    #[serde(default)]
    optional: bool,
    #[serde(default)]
    repeated: bool,
    oneof: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EnumFact {
    file: String,
    values: BTreeMap<String, i32>,
}

/// What both sides are written down in: one line for each fact.
#[derive(Default)]
struct Lines(BTreeSet<String>);

impl Lines {
    fn add(&mut self, line: String) {
        assert!(self.0.insert(line.clone()), "said twice: {line}");
    }

    fn method(&mut self, service: &str, method: &str, input: (bool, &str), output: (bool, &str)) {
        let side = |(streams, message): (bool, &str)| format!("{}{message}", if streams { "stream " } else { "" });
        self.add(format!("service {service}: {method}({}) returns ({})", side(input), side(output)));
    }

    fn field(&mut self, message: &str, label: &str, r#type: &str, name: &str, number: i32, oneof: Option<&str>) {
        let oneof = oneof.map(|oneof| format!(", in oneof {oneof}")).unwrap_or_default();
        self.add(format!("message {message}: {label}{type} {name} = {number}{oneof}"));
    }
}

fn lines_of_facts(facts: &Facts) -> Lines {
    let mut lines = Lines::default();
    let files: BTreeSet<&String> =
        facts.messages.values().map(|m| &m.file).chain(facts.enums.values().map(|e| &e.file)).collect();
    for file in files {
        lines.add(format!("file {file}: package {}, syntax proto3", facts.package));
    }
    for (service, methods) in &facts.services {
        lines.add(format!("service {service}"));
        for m in methods {
            lines.method(service, &m.method, (m.client_streaming, &m.input), (m.server_streaming, &m.output));
        }
    }
    for (name, message) in &facts.messages {
        lines.add(format!("message {name} in {}", message.file));
        for field in &message.fields {
            let label = match (field.optional, field.repeated) {
                (false, false) => "",
                (true, false) => "optional ",
                (false, true) => "repeated ",
                (true, true) => panic!("the facts call {name}.{} both optional and repeated", field.name),
            };
            lines.field(name, label, &field.r#type, &field.name, field.number, field.oneof.as_deref());
        }
        for (first, last) in &message.reserved {
            lines.add(format!("message {name}: reserved {first} to {last}"));
        }
    }
    for (name, r#enum) in &facts.enums {
        lines.add(format!("enum {name} in {}", r#enum.file));
        for (value, number) in &r#enum.values {
            lines.add(format!("enum {name}: {value} = {number}"));
        }
    }
    lines
}

fn lines_of_descriptors(set: &FileDescriptorSet) -> Lines {
    let mut lines = Lines::default();
    for file in &set.file {
        let name = file.name().rsplit('/').next().expect("rsplit yields at least one part");
        lines.add(format!("file {name}: package {}, syntax {}", file.package(), file.syntax()));
        for service in &file.service {
            lines.add(format!("service {}", service.name()));
            for m in &service.method {
                let (input, output) = (local(m.input_type(), file), local(m.output_type(), file));
                lines.method(service.name(), m.name(), (m.client_streaming(), input), (m.server_streaming(), output));
            }
        }
        for message in &file.message_type {
            lines.add(format!("message {} in {name}", message.name()));
            describe_message(&mut lines, message, file);
        }
        for r#enum in &file.enum_type {
            lines.add(format!("enum {} in {name}", r#enum.name()));
            describe_enum(&mut lines, r#enum);
        }
        for extension in &file.extension {
            lines.add(format!("file {name}: extension {}", extension.name()));
        }
    }
    lines
}

fn describe_message(lines: &mut Lines, message: &DescriptorProto, file: &FileDescriptorProto) {
    let name = message.name();
    let (entries, nested): (Vec<_>, Vec<_>) =
        message.nested_type.iter().partition(|nested| nested.options.as_ref().is_some_and(|o| o.map_entry()));

    for field in &message.field {
        let entry = entries.iter().find(|entry| field.type_name().ends_with(&format!(".{name}.{}", entry.name())));
        let (label, r#type) = match entry {
            Some(entry) => {
                let [key, value] = &entry.field[..] else { panic!("{} is no map entry", entry.name()) };
                ("", format!("map<{}, {}>", type_of(key, file), type_of(value, file)))
            }
            None if field.label() == Label::Repeated => ("repeated ", type_of(field, file)),
            None if field.proto3_optional() => ("optional ", type_of(field, file)),
            None => ("", type_of(field, file)),
        };
        // An `optional` field lies in a oneof of its own, which is an artefact of the descriptor and not of the wire.
        let oneof = field.oneof_index.filter(|_| !field.proto3_optional());
        let oneof = oneof.map(|index| message.oneof_decl[index as usize].name());
        lines.field(name, label, &r#type, field.name(), field.number(), oneof);
    }
    for range in &message.reserved_range {
        // The end of a message's range is exclusive in a descriptor.
        lines.add(format!("message {name}: reserved {} to {}", range.start(), range.end() - 1));
    }

    // The release has none of these; whatever there is, is extra.
    for reserved in &message.reserved_name {
        lines.add(format!("message {name}: reserved name {reserved}"));
    }
    for nested in nested {
        lines.add(format!("message {name}: nested message {}", nested.name()));
    }
    for nested in &message.enum_type {
        lines.add(format!("message {name}: nested enum {}", nested.name()));
    }
    for extension in &message.extension {
        lines.add(format!("message {name}: extension {}", extension.name()));
    }
    for range in &message.extension_range {
        lines.add(format!("message {name}: extensions {} to {}", range.start(), range.end() - 1));
    }
}

fn describe_enum(lines: &mut Lines, r#enum: &EnumDescriptorProto) {
    let name = r#enum.name();
    for value in &r#enum.value {
        lines.add(format!("enum {name}: {} = {}", value.name(), value.number()));
    }
    for range in &r#enum.reserved_range {
        // Unlike a message's, the end of an enum's range is inclusive.
        lines.add(format!("enum {name}: reserved {} to {}", range.start(), range.end()));
    }
    for reserved in &r#enum.reserved_name {
        lines.add(format!("enum {name}: reserved name {reserved}"));
    }
}

fn type_of(field: &FieldDescriptorProto, file: &FileDescriptorProto) -> String {
    match field.r#type() {
        Type::Message | Type::Enum => local(field.type_name(), file).to_owned(),
        scalar => scalar.as_str_name().trim_start_matches("TYPE_").to_ascii_lowercase(),
    }
}

/// A type's name without our package; a type of another package keeps its full name, and is a difference.
fn local<'a>(r#type: &'a str, file: &FileDescriptorProto) -> &'a str {
    r#type.strip_prefix(&format!(".{}.", file.package())).unwrap_or(r#type)
}

/// The lines that only one side has; empty when the two agree.
fn difference(facts: &Lines, descriptors: &Lines) -> String {
    let missing = facts.0.difference(&descriptors.0).map(|line| (line, '-'));
    let extra = descriptors.0.difference(&facts.0).map(|line| (line, '+'));
    // Sorted by line, so that the two versions of one field stand together.
    let lines: BTreeSet<_> = missing.chain(extra).collect();
    lines.into_iter().map(|(line, sign)| format!("{sign} {line}\n")).collect()
}

fn facts() -> Lines {
    lines_of_facts(&serde_json::from_str(FACTS).expect("the table of facts is JSON of the shape above"))
}

fn descriptors() -> FileDescriptorSet {
    FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).expect("the checked-in descriptors are a FileDescriptorSet")
}

#[test]
fn our_descriptors_describe_the_wire_of_the_release() {
    let difference = difference(&facts(), &lines_of_descriptors(&descriptors()));
    assert!(difference.is_empty(), "proto/ and the facts differ (- missing, + extra):\n{difference}");
}

/// A comparison that sees nothing proves nothing: each kind of change must show, as the lines it should.
#[test]
fn every_kind_of_change_is_seen() {
    fn message<'a>(set: &'a mut FileDescriptorSet, name: &str) -> &'a mut DescriptorProto {
        let mut messages = set.file.iter_mut().flat_map(|file| &mut file.message_type);
        messages.find(|message| message.name() == name).expect("the message exists")
    }
    fn field<'a>(set: &'a mut FileDescriptorSet, name: &str, field: &str) -> &'a mut FieldDescriptorProto {
        message(set, name).field.iter_mut().find(|f| f.name() == field).expect("the field exists")
    }
    #[track_caller]
    fn check(change: impl FnOnce(&mut FileDescriptorSet), expected: &str) {
        let mut changed = descriptors();
        change(&mut changed);
        assert_eq!(difference(&facts(), &lines_of_descriptors(&changed)), expected);
    }

    check(
        |set| field(set, "Init", "timezone").number = Some(10),
        "+ message Init: optional string timezone = 10\n- message Init: optional string timezone = 9\n",
    );
    check(
        |set| field(set, "Init", "timezone").proto3_optional = None,
        "- message Init: optional string timezone = 9\n+ message Init: string timezone = 9, in oneof _timezone\n",
    );
    check(
        |set| field(set, "UdfPayload", "payload_size").set_type(Type::Uint64),
        "- message UdfPayload: optional int64 payload_size = 3\n+ message UdfPayload: optional uint64 payload_size = 3\n",
    );
    check(
        |set| field(set, "ProcessCallable", "command").set_label(Label::Optional),
        "- message ProcessCallable: repeated string command = 1\n+ message ProcessCallable: string command = 1\n",
    );
    check(
        |set| message(set, "FinishResponse").nested_type[0].field[1].set_type(Type::Bytes),
        "+ message FinishResponse: map<string, bytes> metrics = 1\n\
         - message FinishResponse: map<string, string> metrics = 1\n",
    );
    check(
        |set| message(set, "UdfRequest").oneof_decl[0].name = Some("body".to_owned()),
        "+ message UdfRequest: DataRequest data = 2, in oneof body\n\
         - message UdfRequest: DataRequest data = 2, in oneof request\n\
         + message UdfRequest: UdfControlRequest control = 1, in oneof body\n\
         - message UdfRequest: UdfControlRequest control = 1, in oneof request\n",
    );
    check(
        |set| message(set, "Init").reserved_range[0].end = Some(99),
        "+ message Init: reserved 10 to 98\n- message Init: reserved 10 to 99\n",
    );
    check(|set| message(set, "Heartbeat").reserved_range.clear(), "- message Heartbeat: reserved 1 to 1\n");
    check(
        |set| set.file[0].enum_type[0].value[1].number = Some(2),
        "- enum UDFWorkerDataFormat: ARROW = 1\n+ enum UDFWorkerDataFormat: ARROW = 2\n",
    );
    check(
        |set| set.file[1].service[0].method[0].client_streaming = Some(false),
        "+ service UdfWorker: Execute(UdfRequest) returns (stream UdfResponse)\n\
         - service UdfWorker: Execute(stream UdfRequest) returns (stream UdfResponse)\n",
    );
    check(
        |set| {
            let mut extra = message(set, "Finish").clone();
            extra.name = Some("Pause".to_owned());
            set.file[1].message_type.push(extra);
        },
        "+ message Pause in udf_message.proto\n",
    );
}
