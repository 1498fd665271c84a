//! Bytes that mean harm (C10): no panic, no memory beyond the limit, no array that is not valid.

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::{Arc, LazyLock};

use anyudf_arrow::{Decoder, Encoder, Kind, Limits, decode_schema, encode_schema};
use arrow_array::builder::StringDictionaryBuilder;
use arrow_array::types::Int8Type;
use arrow_array::{Array, ArrayRef, Int32Array, RecordBatch};
use arrow_ipc as ipc;
use arrow_ipc::CompressionType;
use arrow_ipc::writer::{DictionaryHandling, IpcWriteOptions, StreamWriter};
use arrow_schema::{DataType, Field, Schema, SchemaRef, UnionFields, UnionMode};
use bytes::Bytes;
use flatbuffers::{FlatBufferBuilder, UnionWIPOffset, WIPOffset};
use proptest::prelude::*;
use support::*;

/// Counts what this thread holds, and the most that it ever held.
struct Counting;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static MOST: Cell<isize> = const { Cell::new(0) };
}

fn count(change: isize) {
    // While a thread ends there is nothing left to count with.
    let _ = HELD.try_with(|held| {
        held.set(held.get() + change);
        let _ = MOST.try_with(|most| most.set(most.get().max(held.get())));
    });
}

// SAFETY: everything is passed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        unsafe { System.dealloc(ptr, layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count(new_size as isize - layout.size() as isize);
        unsafe { System.realloc(ptr, layout, new_size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Runs `f`; returns the most memory that it held at once beyond what was held before.
fn most_held<T>(f: impl FnOnce() -> T) -> (T, usize) {
    let before = HELD.get();
    MOST.set(before);
    let result = f();
    (result, (MOST.get() - before) as usize)
}

const FLOOR: usize = 64 << 10;

fn tight() -> Limits {
    Limits { inflate_floor: FLOOR, dictionary_bytes: 1 << 20, ..Limits::default() }
}

/// What one message may cost. The limit bounds each of: what is inflated or copied, what joining deltas makes, and
/// bitmaps that arrow makes on the way. A decompressor has a block or two of its own.
fn allowance(length: usize) -> usize {
    const CODEC: usize = 9 << 20;
    3 * FLOOR.max(16 * length) + 64 * length + CODEC + (128 << 10)
}

/// Feeds bytes to everything that takes bytes of a peer.
fn check(bytes: &[u8], schemas: &[&SchemaRef]) {
    let data = Bytes::copy_from_slice(bytes);
    let (_, held) = most_held(|| decode_schema(&data));
    assert!(held <= allowance(bytes.len()), "{held} bytes for a schema of {} bytes", bytes.len());

    let decoders = schemas.iter().map(|schema| Decoder::new(Arc::clone(schema), tight()).unwrap());
    for mut decoder in decoders.chain([Decoder::learning(tight())]) {
        let (result, held) = most_held(|| decoder.decode(data.clone()));
        assert!(held <= allowance(bytes.len()), "{held} bytes for a message of {} bytes", bytes.len());
        match result {
            Ok(batches) => batches.iter().flat_map(|batch| batch.columns()).for_each(|column| {
                column
                    .to_data()
                    .validate_full()
                    .unwrap_or_else(|error| panic!("{} passed: {error}", column.data_type()));
            }),
            Err(error) => {
                assert_ne!(error.condition(), "ARROW_DATA_PANICKED", "{error}");
                assert!(matches!(
                    error.kind(),
                    Kind::Malformed | Kind::Unsupported | Kind::TooLarge | Kind::SchemaMismatch
                ));
            }
        }
    }
}

struct Sample {
    schema: SchemaRef,
    bytes: Vec<u8>,
}

/// Honest messages of every type, bare and with the schema, plain and compressed, with and without deltas.
static SAMPLES: LazyLock<Vec<Sample>> = LazyLock::new(|| {
    let mut samples = Vec::new();
    let write = |batches: &[RecordBatch], options: IpcWriteOptions| {
        let mut writer = StreamWriter::try_new_with_options(Vec::new(), &batches[0].schema(), options).unwrap();
        batches.iter().for_each(|batch| writer.write(batch).unwrap());
        writer.into_inner().unwrap()
    };
    for (seed, data_type) in flat_types().into_iter().chain(nested_types()).enumerate() {
        let batch = Random(seed as u64).batch(&[data_type], 12);
        let schema = batch.schema();
        samples.push(Sample { bytes: encode(&batch).into_bytes().to_vec(), schema: schema.clone() });
        samples.push(Sample { bytes: encode_schema(&schema).to_vec(), schema: schema.clone() });
        for codec in [None, Some(CompressionType::LZ4_FRAME), Some(CompressionType::ZSTD)] {
            let options = IpcWriteOptions::try_new(8, false, arrow_ipc::MetadataVersion::V5).unwrap();
            let options = options.try_with_compression(codec).unwrap();
            samples.push(Sample { bytes: write(std::slice::from_ref(&batch), options), schema: schema.clone() });
        }
    }
    let mut builder = StringDictionaryBuilder::<Int8Type>::new();
    let batches = [["a", "b"], ["b", "c"], ["d", "a"]].map(|words| {
        words.iter().for_each(|word| builder.append_value(word));
        RecordBatch::try_from_iter([("d", Arc::new(builder.finish_preserve_values()) as ArrayRef)]).unwrap()
    });
    let deltas = IpcWriteOptions::default().with_dictionary_handling(DictionaryHandling::Delta);
    samples.push(Sample { bytes: write(&batches, deltas), schema: batches[0].schema() });
    samples
});

/// A way to spoil a message.
#[derive(Clone, Debug)]
enum Spoil {
    Flip {
        at: usize,
        bits: u8,
    },
    /// A number where the format likes to keep them.
    Number {
        at: usize,
        value: i64,
        wide: bool,
    },
    Cut {
        at: usize,
    },
    Drop {
        at: usize,
        length: usize,
    },
    Repeat {
        at: usize,
        length: usize,
    },
    Splice {
        other: usize,
        from: usize,
        at: usize,
        length: usize,
    },
}

fn spoil() -> impl Strategy<Value = Spoil> {
    let at = any::<usize>();
    let interesting = prop::sample::select(vec![
        0,
        1,
        -1,
        2,
        3,
        7,
        8,
        9,
        12,
        13,
        63,
        64,
        65,
        127,
        128,
        255,
        256,
        1 << 16,
        i64::from(i32::MAX),
        i64::from(i32::MIN),
        1 << 32,
        1 << 40,
        i64::MAX,
        i64::MIN,
        i64::MAX / 8,
        i64::MAX / 16 + 1,
        i64::MAX - 7,
    ]);
    prop_oneof![
        3 => (at, 1u8..).prop_map(|(at, bits)| Spoil::Flip { at, bits }),
        4 => (at, interesting, any::<bool>()).prop_map(|(at, value, wide)| Spoil::Number { at, value, wide }),
        1 => at.prop_map(|at| Spoil::Cut { at }),
        1 => (at, 1usize..64).prop_map(|(at, length)| Spoil::Drop { at, length }),
        1 => (at, 1usize..200).prop_map(|(at, length)| Spoil::Repeat { at, length }),
        1 => (at, at, at, 1usize..300).prop_map(|(other, from, at, length)| Spoil::Splice { other, from, at, length }),
    ]
}

fn apply(spoil: &Spoil, bytes: &mut Vec<u8>) {
    if bytes.is_empty() {
        return;
    }
    let size = bytes.len();
    let range = |at: usize, length: usize, size: usize| at % size..(at % size + length).min(size);
    match *spoil {
        Spoil::Flip { at, bits } => bytes[at % size] ^= bits,
        Spoil::Number { at, value, wide } => {
            let width = if wide { 8 } else { 4 };
            let at = at % size / width * width;
            bytes.iter_mut().skip(at).zip(&value.to_le_bytes()[..width]).for_each(|(byte, new)| *byte = *new);
        }
        Spoil::Cut { at } => bytes.truncate(at % size),
        Spoil::Drop { at, length } => drop(bytes.drain(range(at, length, size))),
        Spoil::Repeat { at, length } => {
            let again = bytes[range(at, length, size)].to_vec();
            bytes.splice(at % size..at % size, again);
        }
        Spoil::Splice { other, from, at, length } => {
            let other = &SAMPLES[other % SAMPLES.len()].bytes;
            let foreign = other[range(from, length, other.len())].to_vec();
            bytes.splice(range(at, length, size), foreign);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.max(6_000), ..ProptestConfig::default() })]

    /// C10: honest messages, spoilt.
    #[test]
    fn spoilt_messages_do_no_harm(sample: prop::sample::Index, spoils in prop::collection::vec(spoil(), 1..4)) {
        let sample = sample.get(&SAMPLES);
        let mut bytes = sample.bytes.clone();
        spoils.iter().for_each(|spoil| apply(spoil, &mut bytes));
        check(&bytes, &[&sample.schema]);
    }

    /// C10: bytes of one schema, read with another.
    #[test]
    fn foreign_messages_do_no_harm(sample: prop::sample::Index, other: prop::sample::Index) {
        check(&sample.get(&SAMPLES).bytes, &[&other.get(&SAMPLES).schema]);
    }

    /// C10: noise.
    #[test]
    fn noise_does_no_harm(noise in prop::collection::vec(any::<u8>(), 0..300)) {
        check(&noise, &[&SAMPLES[0].schema]);
        check(&[&[0xff, 0xff, 0xff, 0xff, 64, 0, 0, 0], noise.as_slice()].concat(), &[&SAMPLES[0].schema]);
    }
}

/// C10: every single byte of a few messages, turned over and raised to the skies.
#[test]
fn every_byte_of_a_message_can_be_wrong() {
    for sample in SAMPLES.iter().step_by(11) {
        for at in 0..sample.bytes.len() {
            for byte in [0x00, 0x7f, 0x80, 0xff] {
                let mut bytes = sample.bytes.clone();
                bytes[at] = byte;
                check(&bytes, &[&sample.schema]);
            }
        }
    }
}

/// C10: every message cut short, at every place.
#[test]
fn every_message_can_be_cut_short() {
    for sample in SAMPLES.iter().step_by(3) {
        (0..sample.bytes.len()).for_each(|end| check(&sample.bytes[..end], &[&sample.schema]));
    }
}

/// A message with these nodes (rows, nulls) and buffers (offset, length), and a body of so many zeros.
fn crafted(rows: i64, nodes: &[(i64, i64)], buffers: &[(i64, i64)], body: usize) -> Vec<u8> {
    let mut builder = FlatBufferBuilder::new();
    let nodes = nodes.iter().map(|(rows, nulls)| ipc::FieldNode::new(*rows, *nulls)).collect::<Vec<_>>();
    let buffers = buffers.iter().map(|(offset, length)| ipc::Buffer::new(*offset, *length)).collect::<Vec<_>>();
    let (nodes, buffers) = (builder.create_vector(&nodes), builder.create_vector(&buffers));
    let mut batch = ipc::RecordBatchBuilder::new(&mut builder);
    batch.add_length(rows);
    batch.add_nodes(nodes);
    batch.add_buffers(buffers);
    let batch = batch.finish().as_union_value();
    framed(builder, ipc::MessageHeader::RecordBatch, batch, body)
}

fn framed(
    mut builder: FlatBufferBuilder<'_>,
    header_type: ipc::MessageHeader,
    header: WIPOffset<UnionWIPOffset>,
    body: usize,
) -> Vec<u8> {
    let mut message = ipc::MessageBuilder::new(&mut builder);
    message.add_version(ipc::MetadataVersion::V5);
    message.add_header_type(header_type);
    message.add_bodyLength(body as i64);
    message.add_header(header);
    let message = message.finish();
    builder.finish(message, None);
    let flatbuffer = builder.finished_data();
    let length = (flatbuffer.len() as u32).to_le_bytes();
    [&[0xff; 4], length.as_slice(), flatbuffer, &vec![0; body]].concat()
}

fn refusal(schema: &SchemaRef, bytes: Vec<u8>) -> String {
    check(&bytes, &[schema]);
    Decoder::new(schema.clone(), tight()).unwrap().decode(bytes.into()).unwrap_err().to_string()
}

/// C10: nodes and buffers that cannot be, and where the error says they are.
#[test]
fn errors_say_where_and_what() {
    let numbers = Random(0).batch(&[list(DataType::Int64)], 0).schema();
    let [all, none] = [(0, 64), (0, 0)];
    let check = |rows, nodes: &[_], buffers: &[_], text: &str| {
        assert_eq!(refusal(&numbers, crafted(rows, nodes, buffers, 64)), text);
    };
    check(2, &[(2, 0)], &[none, all, none, all], r#"column "c0.item": the batch lists fewer nodes than columns"#);
    check(2, &[(2, 0), (0, 0)], &[none, all], r#"column "c0.item": the batch lists fewer buffers than columns"#);
    check(2, &[(2, 3), (0, 0)], &[], r#"column "c0": a node claims 2 rows of which 3 are null"#);
    check(2, &[(-2, 0), (0, 0)], &[], r#"column "c0": a node claims -2 rows of which 0 are null"#);
    check(-1, &[], &[], "a batch claims -1 rows");
    check(3, &[(2, 0), (0, 0)], &[none, all, none, none], r#"column "c0": 2 rows in a batch of 3 rows"#);
    check(2, &[(2, 2), (0, 0)], &[none, all, none, none], r#"column "c0": 2 bits in a buffer of 0 bytes"#);
    check(
        2,
        &[(2, 0), (9, 0)],
        &[none, all, none, all],
        r#"column "c0.item": 9 values of 8 bytes in a buffer of 64 bytes"#,
    );
    check(
        2,
        &[(2, 0), (0, 0)],
        &[none, (8, 57)],
        r#"column "c0": a buffer of 57 bytes at offset 8, in a body of 64 bytes"#,
    );
    check(
        2,
        &[(2, 0), (0, 0)],
        &[none, (-8, 8)],
        r#"column "c0": a buffer of 8 bytes at offset -8, in a body of 64 bytes"#,
    );
    let extra = "the batch lists 1 nodes and 1 buffers more than the schema's columns have";
    check(2, &[(2, 0), (0, 0), (0, 0)], &[none, all, none, none, none], extra);
}

/// C10: many columns over the same bytes are charged for each.
#[test]
fn overlapping_buffers_are_charged_each_time() {
    let schema = Random(0).batch(&vec![DataType::Int64; 400], 0).schema();
    let body = 64 << 10;
    let buffers = [(0, 0), (0, body)].repeat(400);
    let bytes = crafted(8 << 10, &[(8 << 10, 0); 400], &buffers, body as usize);
    let text = refusal(&schema, bytes);
    assert!(text.contains("claims to inflate beyond"), "{text}");
}

/// C10: a product of two claims does not overflow, nor is it allocated.
#[test]
fn huge_lists_of_nothing_are_refused() {
    let item = Arc::new(Field::new("item", DataType::Null, false));
    let wide = DataType::FixedSizeList(item, i32::MAX);
    let schema = Arc::new(Schema::new(vec![Field::new("c", wide, true)]));
    for (rows, values) in [(1, i64::from(i32::MAX)), (i64::MAX, i64::MAX), (1 << 33, 0)] {
        refusal(&schema, crafted(rows, &[(rows, rows.min(1)), (values, values)], &[(0, 8)], 8));
    }
}

/// C10: a schema whose tables are shared unfolds into 2^40 fields, or a thousand copies of one long text.
#[test]
fn schemas_do_not_unfold_without_end() {
    let mut builder = FlatBufferBuilder::new();
    let mut field = None;
    for _ in 0..40 {
        let children = field.map(|field| builder.create_vector(&[field, field]));
        let data_type = ipc::Struct_Builder::new(&mut builder).finish().as_union_value();
        let mut parent = ipc::FieldBuilder::new(&mut builder);
        parent.add_type_type(ipc::Type::Struct_);
        parent.add_type_(data_type);
        children.into_iter().for_each(|children| parent.add_children(children));
        field = Some(parent.finish());
    }
    let fields = builder.create_vector(&[field.unwrap()]);
    let mut schema = ipc::SchemaBuilder::new(&mut builder);
    schema.add_fields(fields);
    let schema = schema.finish().as_union_value();
    let bomb = framed(builder, ipc::MessageHeader::Schema, schema, 0);
    check(&bomb, &[]);
    assert_eq!(decode_schema(&bomb.into()).unwrap_err().kind(), Kind::Malformed);

    let mut builder = FlatBufferBuilder::new();
    let text = builder.create_string(&"x".repeat(100_000));
    let mut pair = ipc::KeyValueBuilder::new(&mut builder);
    pair.add_key(text);
    pair.add_value(text);
    let pair = pair.finish();
    let metadata = builder.create_vector(&[pair; 1_000]);
    let mut schema = ipc::SchemaBuilder::new(&mut builder);
    schema.add_custom_metadata(metadata);
    let schema = schema.finish().as_union_value();
    let bomb = framed(builder, ipc::MessageHeader::Schema, schema, 0);
    check(&bomb, &[]);
    assert_eq!(decode_schema(&bomb.into()).unwrap_err().kind(), Kind::Malformed);
}

/// C10: types that cannot be are refused where arrow's own reader panics.
#[test]
fn impossible_types_are_refused() {
    let refused = |data_type: DataType| {
        let schema = Schema::new(vec![Field::new("c", data_type, true)]);
        decode_schema(&encode_schema(&schema)).unwrap_err().to_string()
    };
    let texts = [
        (DataType::FixedSizeBinary(-1), r#"column "c": a fixed size of -1"#),
        (DataType::new_fixed_size_list(DataType::Int8, -3, true), r#"column "c": a fixed size of -3"#),
        (DataType::Decimal128(77, 0), r#"column "c": a decimal of 128 bits with precision 77, scale 0"#),
        (DataType::Decimal32(0, 0), r#"column "c": a decimal of 32 bits with precision 0, scale 0"#),
        (
            run_ends(DataType::Utf8, DataType::Int8),
            r#"column "c": run ends must be i16, i32 or i64 and never null, not Utf8"#,
        ),
        (
            DataType::Map(Arc::new(Field::new("entries", DataType::Int8, false)), false),
            r#"column "c": a map's entries must be a struct of a key that is never null and a value"#,
        ),
    ];
    for (data_type, text) in texts {
        assert_eq!(refused(data_type), text);
    }
}

/// C10: zeros compress a thousandfold. What they inflate to counts, and it counts before it is there.
#[test]
fn a_bomb_is_refused_before_it_goes_off() {
    let zeros: ArrayRef = Arc::new(Int32Array::from(vec![0; 8 << 20]));
    let batch = RecordBatch::try_from_iter([("n", zeros)]).unwrap();
    for codec in [CompressionType::ZSTD, CompressionType::LZ4_FRAME] {
        let options = IpcWriteOptions::default().try_with_compression(Some(codec)).unwrap();
        let mut writer = StreamWriter::try_new_with_options(Vec::new(), &batch.schema(), options).unwrap();
        writer.write(&batch).unwrap();
        let bytes = Bytes::from(writer.into_inner().unwrap());
        assert!(bytes.len() < 1 << 20);

        let (result, held) = most_held(|| Decoder::learning(tight()).decode(bytes.clone()));
        assert_eq!(result.unwrap_err().condition(), "ARROW_DATA_INFLATES_TOO_FAR");
        assert!(held < 100_000, "{held}");
        // The same message is fine where the limit allows it.
        let decoded = Decoder::learning(Limits::default()).decode(bytes).unwrap();
        assert_eq!(decoded[0], batch);
    }
}

/// C10: rows that no bytes stand behind count too.
#[test]
fn rows_out_of_nothing_are_limited() {
    for rows in [1usize << 20, 1 << 40, 1 << 62] {
        let batch = Random(0).batch(&[], 1);
        let mut bytes = encode(&batch).into_bytes().to_vec();
        let at = bytes.windows(8).position(|window| window == 1i64.to_le_bytes()).unwrap();
        bytes[at..at + 8].copy_from_slice(&(rows as u64).to_le_bytes());
        let result = Decoder::new(batch.schema(), tight()).unwrap().decode(bytes.into());
        assert_eq!(result.unwrap_err().condition(), "ARROW_DATA_INFLATES_TOO_FAR");
    }
}

/// C10: a stream cannot grow its dictionaries for ever, and small values cannot hold on to large messages.
#[test]
fn dictionaries_are_bounded() {
    let words = dictionary(DataType::Int32, DataType::Utf8);
    let batch = Random(3).batch(&[words, DataType::Int64], 2_000);
    let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema()).unwrap();
    writer.write(&batch).unwrap();
    let first = Bytes::from(writer.get_ref().clone());

    let narrow = Limits { dictionary_bytes: 10, ..Limits::default() };
    let error = Decoder::learning(narrow).decode(first.clone()).unwrap_err();
    assert_eq!((error.kind(), error.condition()), (Kind::TooLarge, "ARROW_DICTIONARIES_TOO_LARGE"));

    // A message later the first one is free, though its dictionary lives on.
    let mut decoder = Decoder::learning(Limits::default());
    drop(decoder.decode(first.clone()).unwrap());
    assert!(!first.is_unique());
    decoder.decode(Bytes::new()).unwrap();
    assert!(first.is_unique());
}

/// C10: a union of no types is refused with its schema, wherever it sits; found by the fuzzer.
#[test]
fn c10_a_union_without_types_is_refused() {
    let union = DataType::Union(UnionFields::empty(), UnionMode::Sparse);
    let list = DataType::List(Arc::new(Field::new("item", union.clone(), true)));
    let dictionary = DataType::Dictionary(Box::new(DataType::Int32), Box::new(list));
    for data_type in [union, dictionary] {
        let schema = Arc::new(Schema::new(vec![Field::new("u", data_type, true)]));
        let refused = [
            Decoder::new(schema.clone(), Limits::default()).map(|_| ()).expect_err("nothing can be in it"),
            Encoder::new(schema, 1 << 20).map(|_| ()).expect_err("nothing can be in it"),
        ];
        assert!(refused.iter().all(|error| error.kind() == Kind::Unsupported), "{refused:?}");
    }
}
