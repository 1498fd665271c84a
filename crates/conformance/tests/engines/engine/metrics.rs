//! Metrics of a terminator, in both shapes that they have on the wire (C8).

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::DecodeError;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field, string};

use crate::mutant::{Mutant, Mutation as M};

const NAMES: [&str; 12] = [
    "bytes_in",
    "bytes_out",
    "rows_in",
    "rows_out",
    "batches_in",
    "batches_out",
    "init_wall_nanos",
    "processing_wall_nanos",
    "receive_wall_nanos",
    "send_wall_nanos",
    "work_wall_nanos",
    "work_cpu_nanos",
];

/// What field 1 holds; an error where a mutation takes offence at a shape.
pub(super) fn decode(field: &[Bytes], mutant: Mutant) -> Result<BTreeMap<String, String>, String> {
    let mut metrics = BTreeMap::new();
    for part in field {
        let mut entry = (String::new(), String::new());
        // What can't be read is left out: metrics are no reason to fail.
        let _ = read(part, &mut entry, &mut metrics, mutant);
        let (key, value) = entry;
        let known = NAMES.contains(&&key[..]);
        if !key.is_empty() && mutant.is(M::MapOfMetricsIsRefused) {
            return Err("the metrics are a map".into());
        }
        if key.is_empty() && !metrics.is_empty() && mutant.is(M::CountersAreRefused) {
            return Err("the metrics are no map".into());
        }
        if !key.is_empty() && (known || !mutant.is(M::OwnMetricsAreLost)) {
            metrics.insert(key, value);
        }
    }
    Ok(metrics)
}

/// An entry of the map has strings in its fields 1 and 2, the message of counters only numbers.
fn read(
    mut part: &[u8],
    entry: &mut (String, String),
    metrics: &mut BTreeMap<String, String>,
    mutant: Mutant,
) -> Result<(), DecodeError> {
    let first = u32::from(!mutant.is(M::CountersAreOffByOne));
    while !part.is_empty() {
        let (tag, kind) = decode_key(&mut part)?;
        match (tag, kind) {
            (1, WireType::LengthDelimited) => string::merge(kind, &mut entry.0, &mut part, DecodeContext::default())?,
            (2, WireType::LengthDelimited) => string::merge(kind, &mut entry.1, &mut part, DecodeContext::default())?,
            (tag, WireType::Varint) if (1..=12).contains(&tag) => {
                let number = decode_varint(&mut part)?;
                let name = NAMES.get((tag - first) as usize).map_or_else(String::new, |name| (*name).to_owned());
                metrics.insert(name, number.to_string());
            }
            _ => skip_field(kind, tag, &mut part, DecodeContext::default())?,
        }
    }
    Ok(())
}
