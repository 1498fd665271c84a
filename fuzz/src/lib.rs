//! What the fuzz targets share, and the seeds they start from.

use std::sync::Arc;

use arrow_schema::{DataType, Field, Fields, IntervalUnit, Schema, SchemaRef, TimeUnit, UnionFields};

/// Schemas that together have every layout.
pub fn schemas() -> Vec<SchemaRef> {
    let field = |name: &str, data_type| Field::new(name, data_type, true);
    let item = |data_type| Arc::new(field("item", data_type));
    let dictionary = |values| DataType::Dictionary(Box::new(DataType::Int8), Box::new(values));
    let entries = Fields::from(vec![Field::new("key", DataType::Utf8, false), field("value", DataType::Int32)]);
    let union = UnionFields::from_fields(vec![field("number", DataType::Int32), field("text", DataType::Utf8)]);
    let columns: Vec<Vec<DataType>> = vec![
        vec![DataType::Int32, DataType::Utf8, DataType::Boolean, DataType::Float64],
        vec![DataType::Utf8View, DataType::BinaryView, DataType::LargeUtf8, DataType::FixedSizeBinary(3)],
        vec![dictionary(DataType::Utf8), DataType::List(item(dictionary(DataType::Int64)))],
        vec![
            DataType::Struct(Fields::from(vec![field("a", DataType::Int8), field("b", DataType::Utf8)])),
            DataType::FixedSizeList(item(DataType::Int16), 2),
            DataType::ListView(item(DataType::Int16)),
            DataType::LargeListView(item(DataType::Utf8)),
        ],
        vec![
            DataType::Decimal128(10, 2),
            DataType::Decimal256(40, 2),
            DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            DataType::Interval(IntervalUnit::MonthDayNano),
            DataType::Null,
        ],
        vec![
            DataType::Map(Arc::new(Field::new("entries", DataType::Struct(entries), false)), false),
            DataType::Union(union.clone(), arrow_schema::UnionMode::Dense),
            DataType::Union(union, arrow_schema::UnionMode::Sparse),
        ],
        vec![DataType::RunEndEncoded(Arc::new(Field::new("run_ends", DataType::Int32, false)), item(DataType::Utf8))],
    ];
    let schema = |types: Vec<DataType>| {
        let fields = types.into_iter().enumerate().map(|(number, data_type)| field(&format!("c{number}"), data_type));
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    };
    columns.into_iter().map(schema).collect()
}
