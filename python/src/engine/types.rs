//! Types as pyarrow writes them.

use std::fmt::Write;

use arrow::datatypes::{DataType, Field, FieldRef, IntervalUnit, TimeUnit, UnionMode};

/// A type as pyarrow writes it, such as `list<item: timestamp[us, tz=UTC]>`.
pub(super) fn type_name(data_type: &DataType) -> String {
    use DataType::*;
    let unit = |unit: &TimeUnit| match unit {
        TimeUnit::Second => "s",
        TimeUnit::Millisecond => "ms",
        TimeUnit::Microsecond => "us",
        TimeUnit::Nanosecond => "ns",
    };
    match data_type {
        Boolean => "bool".into(),
        Float16 => "halffloat".into(),
        Float32 => "float".into(),
        Float64 => "double".into(),
        Utf8 => "string".into(),
        LargeUtf8 => "large_string".into(),
        Utf8View => "string_view".into(),
        LargeBinary => "large_binary".into(),
        BinaryView => "binary_view".into(),
        FixedSizeBinary(length) => format!("fixed_size_binary[{length}]"),
        Date32 => "date32[day]".into(),
        Date64 => "date64[ms]".into(),
        Timestamp(of, None) => format!("timestamp[{}]", unit(of)),
        Timestamp(of, Some(zone)) => format!("timestamp[{}, tz={zone}]", unit(of)),
        Time32(of) => format!("time32[{}]", unit(of)),
        Time64(of) => format!("time64[{}]", unit(of)),
        Duration(of) => format!("duration[{}]", unit(of)),
        Interval(IntervalUnit::YearMonth) => "month_interval".into(),
        Interval(IntervalUnit::DayTime) => "day_time_interval".into(),
        Interval(IntervalUnit::MonthDayNano) => "month_day_nano_interval".into(),
        Decimal32(precision, scale) => format!("decimal32({precision}, {scale})"),
        Decimal64(precision, scale) => format!("decimal64({precision}, {scale})"),
        Decimal128(precision, scale) => format!("decimal128({precision}, {scale})"),
        Decimal256(precision, scale) => format!("decimal256({precision}, {scale})"),
        List(item) => format!("list<{}>", column(item)),
        LargeList(item) => format!("large_list<{}>", column(item)),
        ListView(item) => format!("list_view<{}>", column(item)),
        LargeListView(item) => format!("large_list_view<{}>", column(item)),
        FixedSizeList(item, length) => format!("fixed_size_list<{}>[{length}]", column(item)),
        Struct(fields) => format!("struct<{}>", columns(fields)),
        Map(entries, _) => match entries.data_type() {
            Struct(parts) if parts.len() == 2 => {
                format!("map<{}, {}>", type_name(parts[0].data_type()), type_name(parts[1].data_type()))
            }
            other => format!("map<{}>", type_name(other)),
        },
        Dictionary(keys, values) => {
            format!("dictionary<values={}, indices={}, ordered=0>", type_name(values), type_name(keys))
        }
        RunEndEncoded(ends, values) => {
            let (ends, values) = (type_name(ends.data_type()), type_name(values.data_type()));
            format!("run_end_encoded<run_ends: {ends}, values: {values}>")
        }
        Union(fields, mode) => {
            let mode = if *mode == UnionMode::Dense { "dense" } else { "sparse" };
            let fields: Vec<_> = fields.iter().map(|(id, field)| format!("{}={id}", column(field))).collect();
            format!("{mode}_union<{}>", fields.join(", "))
        }
        simple => simple.to_string().to_lowercase(),
    }
}

/// Columns with their types, as in a pyarrow struct.
pub(super) fn columns<'a>(fields: impl IntoIterator<Item = &'a FieldRef>) -> String {
    fields.into_iter().map(|field| column(field)).collect::<Vec<_>>().join(", ")
}

fn column(field: &Field) -> String {
    let mut text = format!("{}: {}", field.name(), type_name(field.data_type()));
    if !field.is_nullable() {
        let _ = write!(text, " not null");
    }
    text
}
