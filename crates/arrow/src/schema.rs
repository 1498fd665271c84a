//! Schemas to and from the encapsulated Schema message that `Init` carries (C9).

use std::collections::HashMap;
use std::sync::Arc;

use arrow_ipc::writer::{DictionaryTracker, IpcDataGenerator, IpcWriteOptions};
use arrow_ipc::{self as ipc, MessageHeader};
use arrow_schema::{
    DECIMAL32_MAX_PRECISION, DECIMAL64_MAX_PRECISION, DECIMAL128_MAX_PRECISION, DECIMAL256_MAX_PRECISION, DataType,
    Field, FieldRef, Fields, IntervalUnit, Schema, SchemaRef, TimeUnit, UnionFields, UnionMode,
};
use bytes::Bytes;

use crate::column::{dictionary_ids, own_ids};
use crate::error::{Error, Result};
use crate::message::{self, Next};

/// Encodes a schema as one encapsulated Schema message: the bytes of `Init.input_schema`, of `Init.output_schema` and
/// of the `data` that an `InitResponse` answers with (C9).
///
/// Metadata of the schema and of its fields, extension types among it, goes along. A dictionary keeps the number that a
/// decoded schema gave it; in a schema made in memory dictionaries are counted from zero. An [`Encoder`](crate::Encoder)
/// and a [`Decoder`](crate::Decoder) for the same schema use the same numbers.
///
/// # Example
/// ```
/// use arrow_schema::{DataType, Field, Schema};
///
/// let schema = Schema::new(vec![Field::new("miles", DataType::Float64, true)]);
/// let bytes = anyudf_arrow::encode_schema(&schema);
/// assert_eq!(*anyudf_arrow::decode_schema(&bytes)?, schema);
/// # Ok::<(), anyudf_arrow::Error>(())
/// ```
pub fn encode_schema(schema: &Schema) -> Bytes {
    let mut tracker = DictionaryTracker::new(false);
    // From one, not from zero: a flatbuffer leaves zeros out, and there must be something to overwrite.
    tracker.next_dict_id();
    let options = IpcWriteOptions::default();
    let mut flatbuffer =
        IpcDataGenerator::default().schema_to_bytes_with_dictionary_tracker(schema, &mut tracker, &options).ipc_message;

    let mut positions = Vec::new();
    let written = ipc::root_as_message(&flatbuffer).ok().and_then(|message| message.header_as_schema());
    for field in written.and_then(|schema| schema.fields()).into_iter().flatten() {
        dictionary_positions(field, &mut positions);
    }
    for (position, id) in positions.into_iter().zip(dictionary_ids(schema)) {
        flatbuffer[position..position + 8].copy_from_slice(&id.to_le_bytes());
    }
    let mut out = Vec::new();
    message::put_header(&flatbuffer, &mut out);
    out.into()
}

/// Where in the flatbuffer the numbers of the dictionaries at and below `field` are, inner ones first.
fn dictionary_positions(field: ipc::Field<'_>, positions: &mut Vec<usize>) {
    for child in field.children().into_iter().flatten() {
        dictionary_positions(child, positions);
    }
    if let Some(dictionary) = field.dictionary() {
        let table = dictionary._tab;
        positions.push(table.loc() + usize::from(table.vtable().get(ipc::DictionaryEncoding::VT_ID)));
    }
}

/// Decodes an encapsulated Schema message. An end-of-stream marker after it is tolerated.
///
/// # Errors
/// [`Kind::Malformed`](crate::Kind::Malformed) for bytes that are no such message or describe an impossible type,
/// [`Kind::Unsupported`](crate::Kind::Unsupported) for big-endian data, tensors, types that this build does not know, and
/// columns that share one dictionary. Never panics, whatever the bytes (C10).
pub fn decode_schema(bytes: &Bytes) -> Result<SchemaRef> {
    let mut input = bytes.clone();
    let Next::Metadata(metadata) = message::next(&mut input)? else {
        return Err(Error::malformed("expected a Schema message, found none"));
    };
    let message = message::verify(&metadata)?;
    message::take_body(&message, &mut input)?;
    let schema = read_schema(&message)?;
    if let Next::Metadata(_) = message::next(&mut input)? {
        return Err(Error::malformed("another message follows the Schema message; only the schema belongs here"));
    }

    if own_ids(&schema) != dictionary_ids(&schema) {
        return Err(Error::unsupported("two columns share one dictionary; give each a number of its own"));
    }
    Ok(Arc::new(schema))
}

/// Reads the schema out of a verified message. Fields keep the numbers of their dictionaries.
pub(crate) fn read_schema(message: &ipc::Message<'_>) -> Result<Schema> {
    let Some(schema) = message.header_as_schema() else {
        return Err(Error::malformed(format!(
            "expected a Schema message, found {}",
            header_name(message.header_type())
        )));
    };
    if schema.endianness() != ipc::Endianness::Little {
        return Err(Error::unsupported("the data is big-endian; send little-endian"));
    }
    let fields = schema.fields().into_iter().flatten().map(read_field).collect::<Result<Fields>>()?;
    Ok(Schema::new_with_metadata(fields, read_metadata(schema.custom_metadata())))
}

/// The name of a kind of message, for error texts.
pub(crate) fn header_name(header: MessageHeader) -> &'static str {
    header.variant_name().unwrap_or("an unknown kind")
}

type KeyValues<'a> = flatbuffers::Vector<'a, flatbuffers::ForwardsUOffset<ipc::KeyValue<'a>>>;

fn read_metadata(pairs: Option<KeyValues<'_>>) -> HashMap<String, String> {
    let pairs = pairs.into_iter().flatten();
    pairs.filter_map(|pair| Some((pair.key()?.to_owned(), pair.value()?.to_owned()))).collect()
}

fn read_field(field: ipc::Field<'_>) -> Result<FieldRef> {
    let name = field.name().unwrap_or_default();
    let data_type = read_type(field).map_err(|error| error.within(name))?;
    let read = match field.dictionary() {
        None => Field::new(name, data_type, field.nullable()),
        Some(dictionary) => {
            if dictionary.dictionaryKind() != ipc::DictionaryKind::DenseArray {
                return Err(Error::unsupported("a dictionary that is not a dense array").within(name));
            }
            let keys = dictionary.indexType().map_or(Ok(DataType::Int32), read_int).map_err(|e| e.within(name))?;
            let data_type = DataType::Dictionary(Box::new(keys), Box::new(data_type));
            #[allow(deprecated, reason = "the number is part of the wire, and arrow keeps no other record of it")]
            Field::new_dict(name, data_type, field.nullable(), dictionary.id(), dictionary.isOrdered())
        }
    };
    Ok(Arc::new(read.with_metadata(read_metadata(field.custom_metadata()))))
}

/// The type of a field; for a dictionary, that of its values.
fn read_type(field: ipc::Field<'_>) -> Result<DataType> {
    use DataType as T;
    use ipc::Type;
    Ok(match field.type_type() {
        Type::Null => T::Null,
        Type::Bool => T::Boolean,
        Type::Binary => T::Binary,
        Type::LargeBinary => T::LargeBinary,
        Type::BinaryView => T::BinaryView,
        Type::Utf8 => T::Utf8,
        Type::LargeUtf8 => T::LargeUtf8,
        Type::Utf8View => T::Utf8View,
        Type::Int => read_int(detail(field.type_as_int())?)?,
        Type::FloatingPoint => match detail(field.type_as_floating_point())?.precision() {
            ipc::Precision::HALF => T::Float16,
            ipc::Precision::SINGLE => T::Float32,
            ipc::Precision::DOUBLE => T::Float64,
            other => return unknown("precision", other),
        },
        Type::FixedSizeBinary => T::FixedSizeBinary(size(detail(field.type_as_fixed_size_binary())?.byteWidth())?),
        Type::Date => match detail(field.type_as_date())?.unit() {
            ipc::DateUnit::DAY => T::Date32,
            ipc::DateUnit::MILLISECOND => T::Date64,
            other => return unknown("date unit", other),
        },
        Type::Time => {
            let time = detail(field.type_as_time())?;
            match (time.bitWidth(), read_unit(time.unit())?) {
                (32, unit @ (TimeUnit::Second | TimeUnit::Millisecond)) => T::Time32(unit),
                (64, unit @ (TimeUnit::Microsecond | TimeUnit::Nanosecond)) => T::Time64(unit),
                (width, unit) => return Err(Error::malformed(format!("a time of {width} bits that counts {unit:?}s"))),
            }
        }
        Type::Timestamp => {
            let timestamp = detail(field.type_as_timestamp())?;
            T::Timestamp(read_unit(timestamp.unit())?, timestamp.timezone().map(Into::into))
        }
        Type::Duration => T::Duration(read_unit(detail(field.type_as_duration())?.unit())?),
        Type::Interval => T::Interval(match detail(field.type_as_interval())?.unit() {
            ipc::IntervalUnit::YEAR_MONTH => IntervalUnit::YearMonth,
            ipc::IntervalUnit::DAY_TIME => IntervalUnit::DayTime,
            ipc::IntervalUnit::MONTH_DAY_NANO => IntervalUnit::MonthDayNano,
            other => return unknown("interval unit", other),
        }),
        Type::Decimal => read_decimal(detail(field.type_as_decimal())?)?,
        Type::List => T::List(only_child(field)?),
        Type::LargeList => T::LargeList(only_child(field)?),
        Type::ListView => T::ListView(only_child(field)?),
        Type::LargeListView => T::LargeListView(only_child(field)?),
        Type::FixedSizeList => {
            T::FixedSizeList(only_child(field)?, size(detail(field.type_as_fixed_size_list())?.listSize())?)
        }
        Type::Struct_ => T::Struct(read_children(field)?.into()),
        Type::Map => T::Map(read_entries(field)?, detail(field.type_as_map())?.keysSorted()),
        Type::Union => read_union(field)?,
        Type::RunEndEncoded => {
            let [run_ends, values] = read_children(field)?.try_into().map_err(|children: Vec<FieldRef>| {
                Error::malformed(format!("run-end encoding with {} children instead of 2", children.len()))
            })?;
            if run_ends.is_nullable() || !run_ends.data_type().is_run_ends_type() {
                let found = run_ends.data_type();
                return Err(Error::malformed(format!("run ends must be i16, i32 or i64 and never null, not {found}")));
            }
            T::RunEndEncoded(run_ends, values)
        }
        other => return unknown("type", other),
    })
}

/// The table that describes a type further. The verifier leaves it optional.
fn detail<T>(table: Option<T>) -> Result<T> {
    table.ok_or_else(|| Error::malformed("the type lacks its description"))
}

fn unknown<T>(what: &str, value: impl std::fmt::Debug) -> Result<T> {
    Err(Error::unsupported(format!("{what} {value:?} is not known to this build")))
}

/// A width or a length in a type: an i32 that may not be negative.
fn size(size: i32) -> Result<i32> {
    if size < 0 { Err(Error::malformed(format!("a fixed size of {size}"))) } else { Ok(size) }
}

fn read_int(int: ipc::Int<'_>) -> Result<DataType> {
    Ok(match (int.bitWidth(), int.is_signed()) {
        (8, true) => DataType::Int8,
        (8, false) => DataType::UInt8,
        (16, true) => DataType::Int16,
        (16, false) => DataType::UInt16,
        (32, true) => DataType::Int32,
        (32, false) => DataType::UInt32,
        (64, true) => DataType::Int64,
        (64, false) => DataType::UInt64,
        (width, _) => return Err(Error::malformed(format!("an integer of {width} bits"))),
    })
}

fn read_unit(unit: ipc::TimeUnit) -> Result<TimeUnit> {
    Ok(match unit {
        ipc::TimeUnit::SECOND => TimeUnit::Second,
        ipc::TimeUnit::MILLISECOND => TimeUnit::Millisecond,
        ipc::TimeUnit::MICROSECOND => TimeUnit::Microsecond,
        ipc::TimeUnit::NANOSECOND => TimeUnit::Nanosecond,
        other => return unknown("time unit", other),
    })
}

fn read_decimal(decimal: ipc::Decimal<'_>) -> Result<DataType> {
    let (width, precision, scale) = (decimal.bitWidth(), decimal.precision(), decimal.scale());
    let impossible =
        || Error::malformed(format!("a decimal of {width} bits with precision {precision}, scale {scale}"));
    let digits = u8::try_from(precision).ok().filter(|digits| *digits > 0).ok_or_else(impossible)?;
    let scale = i8::try_from(scale).map_err(|_| impossible())?;
    match width {
        32 if digits <= DECIMAL32_MAX_PRECISION => Ok(DataType::Decimal32(digits, scale)),
        64 if digits <= DECIMAL64_MAX_PRECISION => Ok(DataType::Decimal64(digits, scale)),
        128 if digits <= DECIMAL128_MAX_PRECISION => Ok(DataType::Decimal128(digits, scale)),
        256 if digits <= DECIMAL256_MAX_PRECISION => Ok(DataType::Decimal256(digits, scale)),
        _ => Err(impossible()),
    }
}

fn read_children(field: ipc::Field<'_>) -> Result<Vec<FieldRef>> {
    field.children().into_iter().flatten().map(read_field).collect()
}

fn only_child(field: ipc::Field<'_>) -> Result<FieldRef> {
    let [child] = read_children(field)?.try_into().map_err(|children: Vec<FieldRef>| {
        Error::malformed(format!("a list or map with {} children instead of 1", children.len()))
    })?;
    Ok(child)
}

/// A map's entries: a struct of a key and a value, neither the struct nor the key ever null.
fn read_entries(field: ipc::Field<'_>) -> Result<FieldRef> {
    let entries = only_child(field)?;
    match entries.data_type() {
        DataType::Struct(pair) if pair.len() == 2 && !pair[0].is_nullable() && !entries.is_nullable() => Ok(entries),
        _ => Err(Error::malformed("a map's entries must be a struct of a key that is never null and a value")),
    }
}

fn read_union(field: ipc::Field<'_>) -> Result<DataType> {
    let union = detail(field.type_as_union())?;
    let mode = match union.mode() {
        ipc::UnionMode::Sparse => UnionMode::Sparse,
        ipc::UnionMode::Dense => UnionMode::Dense,
        other => return unknown("union mode", other),
    };
    let children = read_children(field)?;
    let ids: Vec<i32> = match union.typeIds() {
        Some(ids) => ids.iter().collect(),
        None => (0..).take(children.len()).collect(),
    };
    let narrow = ids.iter().map(|id| i8::try_from(*id).ok()).collect::<Option<Vec<i8>>>();
    let fields = narrow.and_then(|ids| UnionFields::try_new(ids, children).ok());
    let fields = fields.ok_or_else(|| {
        Error::malformed(format!("a union needs one id from 0 to 127 for each child, no two alike, not {ids:?}"))
    })?;
    Ok(DataType::Union(fields, mode))
}
