//! What the tests share: every type there is, arrays of any type out of a seed, and the way there and back.

#![allow(dead_code, reason = "each test binary uses its own half")]

use std::sync::Arc;

use anyudf_arrow::{Decoder, Encoded, Encoder, Limits};
use arrow_array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, make_array};
use arrow_buffer::{BooleanBuffer, Buffer, NullBuffer};
use arrow_data::{ArrayData, BufferSpec};
use arrow_schema::{
    DataType, Field, FieldRef, Fields, IntervalUnit, Schema, SchemaRef, TimeUnit, UnionFields, UnionMode,
};
use bytes::Bytes;

/// Large enough for any message of the tests.
pub(crate) const ROOMY: usize = 64 << 20;

/// A small generator of random numbers, so that a failing case is told by its seed.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from zero to `end - 1`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.next() as u8).collect()
    }

    fn text(&mut self) -> String {
        const ALPHABET: [&str; 8] = ["a", "Z", "7", " ", "é", "€", "😀", "ß"];
        let length = [0, 1, 3, 5, 12, 13, 40][self.below(7)];
        let plain = self.below(2) == 0;
        (0..length).map(|_| ALPHABET[self.below(if plain { 4 } else { 8 })]).collect()
    }

    fn nulls(&mut self, rows: usize) -> Option<NullBuffer> {
        match self.below(4) {
            0 => None,
            1 => Some(NullBuffer::new_null(rows)),
            _ => Some(NullBuffer::new(BooleanBuffer::collect_bool(rows, |_| self.below(3) > 0))),
        }
    }

    /// An array of any type, with nulls where the type and `nullable` allow them.
    pub(crate) fn array(&mut self, data_type: &DataType, rows: usize, nullable: bool) -> ArrayRef {
        use DataType as T;
        let mut data = ArrayData::builder(data_type.clone()).len(rows);
        let bare = matches!(data_type, T::Null | T::Union(..) | T::RunEndEncoded(..));
        if nullable && !bare {
            data = data.nulls(self.nulls(rows));
        }
        let data = match data_type {
            T::Null => data,
            T::Boolean => data.add_buffer(self.bytes(rows.div_ceil(8)).into()),
            T::Utf8 | T::Binary | T::LargeUtf8 | T::LargeBinary => {
                let texts = (0..rows).map(|_| self.text()).collect::<Vec<_>>();
                let wide = matches!(data_type, T::LargeUtf8 | T::LargeBinary);
                data.add_buffer(offsets(texts.iter().map(String::len), wide))
                    .add_buffer(texts.concat().into_bytes().into())
            }
            T::Utf8View | T::BinaryView => {
                let texts = arrow_array::StringViewArray::from_iter_values((0..rows).map(|_| self.text()));
                data.buffers(texts.to_data().buffers().to_vec())
            }
            T::List(item) | T::LargeList(item) | T::Map(item, _) => {
                let lengths = (0..rows).map(|_| self.below(4)).collect::<Vec<_>>();
                let wide = matches!(data_type, T::LargeList(_));
                let values = self.array(item.data_type(), lengths.iter().sum(), item.is_nullable());
                data.add_buffer(offsets(lengths.into_iter(), wide)).add_child_data(values.to_data())
            }
            T::ListView(item) | T::LargeListView(item) => {
                let values = self.array(item.data_type(), rows + 5, item.is_nullable());
                let sizes = (0..rows).map(|_| self.below(4)).collect::<Vec<_>>();
                let starts = sizes.iter().map(|size| self.below(values.len() + 1 - size)).collect::<Vec<_>>();
                let wide = matches!(data_type, T::LargeListView(_));
                data.add_buffer(integers(&starts, wide))
                    .add_buffer(integers(&sizes, wide))
                    .add_child_data(values.to_data())
            }
            T::FixedSizeList(item, size) => {
                let values = self.array(item.data_type(), rows * *size as usize, item.is_nullable());
                data.add_child_data(values.to_data())
            }
            T::Struct(fields) => fields.iter().fold(data, |data, field| {
                data.add_child_data(self.array(field.data_type(), rows, field.is_nullable()).to_data())
            }),
            T::Union(fields, mode) => {
                let ids = fields.iter().map(|(id, _)| id).collect::<Vec<_>>();
                let chosen = (0..rows).map(|_| self.below(ids.len())).collect::<Vec<_>>();
                let mut lengths = vec![0usize; ids.len()];
                let places = chosen.iter().map(|i| {
                    lengths[*i] += 1;
                    lengths[*i] - 1
                });
                let places = places.collect::<Vec<_>>();
                let mut data = data.add_buffer(Buffer::from_iter(chosen.iter().map(|i| ids[*i])));
                if *mode == UnionMode::Dense {
                    data = data.add_buffer(integers(&places, false));
                }
                for ((_, field), length) in fields.iter().zip(lengths) {
                    let length = if *mode == UnionMode::Dense { length + 1 } else { rows };
                    data = data.add_child_data(self.array(field.data_type(), length, field.is_nullable()).to_data());
                }
                data
            }
            T::Dictionary(keys, values) => {
                let values = self.array(values, 1 + rows.min(20), true);
                let width = keys.primitive_width().expect("keys are integers");
                let keys = (0..rows).map(|_| self.below(values.len()) as u64);
                let keys = keys.flat_map(|key| key.to_le_bytes().into_iter().take(width)).collect::<Vec<u8>>();
                data.add_buffer(aligned(&keys)).add_child_data(values.to_data())
            }
            T::RunEndEncoded(ends, values) => {
                let mut last = 0;
                let mut places = Vec::new();
                while last < rows {
                    last = (last + 1 + self.below(5)).min(rows);
                    places.push(last as u64);
                }
                let width = ends.data_type().primitive_width().expect("run ends are integers");
                let bytes =
                    places.iter().flat_map(|end| end.to_le_bytes().into_iter().take(width)).collect::<Vec<u8>>();
                let ends = ArrayData::builder(ends.data_type().clone()).len(places.len()).add_buffer(aligned(&bytes));
                let values = self.array(values.data_type(), places.len(), true);
                data.add_child_data(ends.build().expect("ends")).add_child_data(values.to_data())
            }
            _ => {
                let layout = arrow_data::layout(data_type);
                let [BufferSpec::FixedWidth { byte_width, .. }] = layout.buffers[..] else { panic!("{data_type}") };
                let mut bytes = self.bytes(rows * byte_width);
                if data_type.is_floating() {
                    // No NaN: it is not equal to itself.
                    bytes.iter_mut().for_each(|byte| *byte &= 0x3f);
                }
                data.add_buffer(aligned(&bytes))
            }
        };
        make_array(data.build().unwrap_or_else(|error| panic!("{data_type}: {error}")))
    }

    /// A batch with a column of each type.
    pub(crate) fn batch(&mut self, types: &[DataType], rows: usize) -> RecordBatch {
        let fields =
            types.iter().enumerate().map(|(i, data_type)| Field::new(format!("c{i}"), data_type.clone(), true));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        self.batch_of(&schema, rows)
    }

    /// Another batch of a schema.
    pub(crate) fn batch_of(&mut self, schema: &SchemaRef, rows: usize) -> RecordBatch {
        let columns = schema.fields().iter().map(|field| self.array(field.data_type(), rows, field.is_nullable()));
        let columns = columns.collect::<Vec<_>>();
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(schema.clone(), columns, &options).expect("a batch")
    }
}

fn aligned(bytes: &[u8]) -> Buffer {
    Buffer::from(bytes)
}

fn integers(values: &[usize], wide: bool) -> Buffer {
    match wide {
        true => values.iter().map(|value| *value as i64).collect(),
        false => values.iter().map(|value| *value as i32).collect(),
    }
}

fn offsets(lengths: impl Iterator<Item = usize>, wide: bool) -> Buffer {
    let mut ends = vec![0];
    lengths.for_each(|length| ends.push(ends[ends.len() - 1] + length));
    integers(&ends, wide)
}

fn field(name: &str, data_type: DataType) -> FieldRef {
    Arc::new(Field::new(name, data_type, true))
}

pub(crate) fn dictionary(keys: DataType, values: DataType) -> DataType {
    DataType::Dictionary(Box::new(keys), Box::new(values))
}

pub(crate) fn run_ends(ends: DataType, values: DataType) -> DataType {
    DataType::RunEndEncoded(Arc::new(Field::new("run_ends", ends, false)), field("values", values))
}

pub(crate) fn structure(types: &[DataType]) -> DataType {
    let fields = types.iter().enumerate().map(|(i, data_type)| field(&format!("f{i}"), data_type.clone()));
    DataType::Struct(fields.collect())
}

pub(crate) fn list(item: DataType) -> DataType {
    DataType::List(field("item", item))
}

pub(crate) fn map(key: DataType, value: DataType) -> DataType {
    let entries = Fields::from(vec![Field::new("key", key, false), Field::new("value", value, true)]);
    DataType::Map(Arc::new(Field::new("entries", DataType::Struct(entries), false)), false)
}

pub(crate) fn union(types: &[DataType], mode: UnionMode) -> DataType {
    let fields = types.iter().enumerate().map(|(i, data_type)| field(&format!("u{i}"), data_type.clone()));
    let ids = (0..types.len()).map(|i| (i * 5 + 1) as i8);
    DataType::Union(UnionFields::try_new(ids, fields).expect("fields"), mode)
}

/// Every type that has no children.
pub(crate) fn flat_types() -> Vec<DataType> {
    use DataType as T;
    let mut types = vec![T::Null, T::Boolean, T::Float16, T::Float32, T::Float64, T::Date32, T::Date64];
    types.extend([T::Int8, T::Int16, T::Int32, T::Int64, T::UInt8, T::UInt16, T::UInt32, T::UInt64]);
    types.extend([T::Utf8, T::LargeUtf8, T::Utf8View, T::Binary, T::LargeBinary, T::BinaryView]);
    types.extend([T::FixedSizeBinary(0), T::FixedSizeBinary(1), T::FixedSizeBinary(7), T::FixedSizeBinary(16)]);
    types.extend([T::Decimal32(9, 2), T::Decimal64(18, -3), T::Decimal128(38, 10), T::Decimal256(76, 0)]);
    types.extend([T::Time32(TimeUnit::Second), T::Time32(TimeUnit::Millisecond)]);
    types.extend([T::Time64(TimeUnit::Microsecond), T::Time64(TimeUnit::Nanosecond)]);
    for unit in [TimeUnit::Second, TimeUnit::Millisecond, TimeUnit::Microsecond, TimeUnit::Nanosecond] {
        types.extend([T::Timestamp(unit, None), T::Timestamp(unit, Some("Europe/Berlin".into())), T::Duration(unit)]);
    }
    types.extend([IntervalUnit::YearMonth, IntervalUnit::DayTime, IntervalUnit::MonthDayNano].map(T::Interval));
    types
}

/// Types with children: each kind over a few kinds of child, dictionaries in every place.
pub(crate) fn nested_types() -> Vec<DataType> {
    use DataType as T;
    let words = dictionary(T::Int16, T::Utf8);
    let keys = [T::Int8, T::Int16, T::Int32, T::Int64, T::UInt8, T::UInt16, T::UInt32, T::UInt64];
    let mut types = keys.map(|keys| dictionary(keys, T::Utf8)).to_vec();
    types.extend([T::Int16, T::Int32, T::Int64].map(|ends| run_ends(ends, T::Utf8)));
    for child in
        [T::Int32, T::Utf8, T::Utf8View, T::Boolean, T::Null, words.clone(), structure(&[T::Int8, T::LargeUtf8])]
    {
        types.extend([
            list(child.clone()),
            T::LargeList(field("item", child.clone())),
            T::ListView(field("item", child.clone())),
            T::LargeListView(field("item", child.clone())),
            T::FixedSizeList(field("item", child.clone()), 3),
            structure(&[child.clone(), T::Int64]),
            map(T::Utf8, child.clone()),
            union(&[T::Int32, child.clone()], UnionMode::Sparse),
            union(&[child.clone(), T::Utf8], UnionMode::Dense),
            run_ends(T::Int32, child.clone()),
        ]);
    }
    types.extend([
        T::FixedSizeList(field("item", T::Int32), 0),
        structure(&[]),
        list(list(list(T::Int16))),
        list(T::FixedSizeList(field("item", structure(&[list(words.clone()), T::BinaryView])), 2)),
        dictionary(T::Int32, list(T::Int64)),
        dictionary(T::Int8, structure(&[words.clone(), T::Int32])),
        dictionary(T::UInt16, list(dictionary(T::Int8, structure(&[words, T::Utf8View])))),
        dictionary(T::Int32, T::Utf8View),
        dictionary(T::Int8, T::FixedSizeBinary(0)),
        dictionary(T::Int8, union(&[T::FixedSizeBinary(0), T::Int8], UnionMode::Sparse)),
        dictionary(T::Int32, T::FixedSizeBinary(3)),
    ]);
    types
}

pub(crate) fn encoder(schema: &SchemaRef) -> Encoder {
    Encoder::new(schema.clone(), ROOMY).expect("an encoder")
}

pub(crate) fn decoder(schema: &SchemaRef) -> Decoder {
    Decoder::new(schema.clone(), Limits::default()).expect("a decoder")
}

/// Encodes a batch that fits into one message.
pub(crate) fn encode(batch: &RecordBatch) -> Encoded {
    let encoder = encoder(&batch.schema());
    let mut messages = encoder.encode(batch);
    let encoded = messages.next().expect("a message").expect("encodes");
    assert!(messages.next().is_none(), "one message");
    assert_eq!(encoded.rows, batch.num_rows());
    encoded
}

/// The same bytes, starting `shift` bytes after a multiple of 64.
pub(crate) fn shifted(bytes: &[u8], shift: usize) -> Bytes {
    let mut room = Vec::<u8>::with_capacity(bytes.len() + 128);
    let start = room.as_ptr().align_offset(64) + shift;
    room.resize(start, 0xaa);
    room.extend_from_slice(bytes);
    Bytes::from(room).slice(start..)
}

/// Encodes, decodes, compares.
pub(crate) fn roundtrip(batch: &RecordBatch) {
    let encoded = encode(batch);
    let length = encoded.len();
    let bytes = encoded.into_bytes();
    assert_eq!((bytes.len(), bytes.len() % 64), (length, 0));
    for shift in [0, 1, 2, 3, 4, 5, 6, 7, 8, 16, 32] {
        let decoded = decoder(&batch.schema()).decode(shifted(&bytes, shift)).expect("decodes");
        assert_eq!(decoded.len(), 1);
        same(&decoded[0], batch);
    }
}

/// Two batches are equal, and the first one is valid throughout.
pub(crate) fn same(found: &RecordBatch, expected: &RecordBatch) {
    assert_eq!((found.num_rows(), found.schema()), (expected.num_rows(), expected.schema()));
    for (i, (found, expected)) in found.columns().iter().zip(expected.columns()).enumerate() {
        found.to_data().validate_full().unwrap_or_else(|error| panic!("column {i}: {error}"));
        assert_eq!(found, expected, "column {i} of {}", expected.data_type());
    }
}
