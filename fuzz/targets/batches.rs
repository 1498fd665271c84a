//! Bytes of a peer on the Arrow codec (C9, C10): nothing panics, nothing inflates without bound, and what decodes can
//! be sent again and comes back equal.
#![no_main]

use std::sync::LazyLock;

use anyudf_arrow::{Decoder, Encoder, Limits, decode_schema};
use arrow_schema::SchemaRef;
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;

fn limits() -> Limits {
    Limits { inflate_ratio: 16, inflate_floor: 1 << 20, ..Limits::default() }
}

static SCHEMAS: LazyLock<Vec<SchemaRef>> = LazyLock::new(|| anyudf_fuzz::schemas());

fn decode(mut decoder: Decoder, bytes: &Bytes) {
    let batches = match decoder.decode(bytes.clone()) {
        Ok(batches) => batches,
        // The net below the checks caught something: the checks have a hole.
        Err(error) => return assert_ne!(error.condition(), "ARROW_DATA_PANICKED", "{error}"),
    };
    for batch in batches {
        for column in batch.columns() {
            column.to_data().validate_full().expect("what decodes is valid");
        }
        let Ok(encoder) = Encoder::new(batch.schema(), 1 << 24) else { continue };
        let mut again = Vec::new();
        let mut decoder = Decoder::new(batch.schema(), Limits::default()).expect("an encoder took the schema");
        for message in encoder.encode(&batch) {
            let Ok(message) = message else { return };
            again.extend(decoder.decode(message.into_bytes()).expect("our own bytes"));
        }
        assert_eq!(again.iter().map(|batch| batch.num_rows()).sum::<usize>(), batch.num_rows());
    }
}

fuzz_target!(init: anyudf_fuzz::seed("batches"), |bytes: &[u8]| {
    let Some((&first, rest)) = bytes.split_first() else { return };
    let bytes = Bytes::copy_from_slice(rest);
    match usize::from(first) % (SCHEMAS.len() + 2) {
        0 => {
            if let Ok(schema) = decode_schema(&bytes) {
                let _ = Decoder::new(schema, limits());
            }
        }
        1 => decode(Decoder::learning(limits()), &bytes),
        number => decode(Decoder::new(SCHEMAS[number - 2].clone(), limits()).expect("a schema of ours"), &bytes),
    }
});
