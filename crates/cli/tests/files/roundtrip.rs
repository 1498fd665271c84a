//! What is written can be read, whichever the format.

use std::collections::HashMap;
use std::slice;
use std::sync::Arc;

use anyudf_cli::files::{InputOptions, Kind};
use arrow::array::{
    Array, ArrayRef, BooleanArray, Date32Array, Decimal128Array, DictionaryArray, FixedSizeBinaryArray, Float64Array,
    Int32Array, Int64Array, LargeStringArray, ListArray, RecordBatch, StringArray, StringViewArray, StructArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Int32Type, Schema, TimeUnit};

use super::*;

/// Rows that every format can hold and that the types of text are inferred from.
fn simple() -> RecordBatch {
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("id", Arc::new(Int64Array::from(vec![Some(3), None, Some(-1), Some(i64::MAX)]))),
        ("delay", Arc::new(Float64Array::from(vec![Some(2.0), None, Some(0.1), Some(-1e300)]))),
        ("late", Arc::new(BooleanArray::from(vec![Some(true), Some(false), None, Some(true)]))),
        ("name", Arc::new(StringArray::from(vec![Some("a,\"b\"\n\tc"), Some("é"), None, Some(" 'x' \\")]))),
        ("day", Arc::new(Date32Array::from(vec![Some(11_353), None, Some(0), Some(-1)]))),
        ("at", Arc::new(TimestampMicrosecondArray::from(vec![Some(1), Some(980_000_000_000_000), None, Some(-1)]))),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true))).unwrap()
}

#[test]
fn every_format_into_every_other() {
    let place = Place::new();
    for from in NAMES {
        for into in NAMES {
            let (first, second) = (place.path(&format!("1-{into}-{from}")), place.path(&format!("2-{from}-{into}")));
            write(&first, &[simple(), simple()]);
            let middle = read(&first).unwrap();
            write(&second, &[middle]);
            let end = read(&second).unwrap();
            let expected = [cells(&simple()), cells(&simple())].concat();
            assert_eq!(cells(&end), expected, "{from} into {into}");
            assert_eq!(open(&second).unwrap().format(), format_of(into));
        }
    }
}

#[test]
fn types_and_metadata_survive_where_the_format_has_them() {
    let uuid = HashMap::from([("ARROW:extension:name".to_owned(), "arrow.uuid".to_owned())]);
    let point = StructArray::from(vec![(
        Arc::new(Field::new("x", DataType::Float64, false)),
        Arc::new(Float64Array::from(vec![1.0, 2.0])) as ArrayRef,
    )]);
    let columns: Vec<(Field, ArrayRef)> = vec![
        (
            Field::new("uuid", DataType::FixedSizeBinary(16), false).with_metadata(uuid),
            Arc::new(FixedSizeBinaryArray::try_from_iter([[1; 16], [2; 16]].into_iter()).unwrap()),
        ),
        (
            Field::new_dictionary("carrier", DataType::Int32, DataType::Utf8, true),
            Arc::new(DictionaryArray::<Int32Type>::from_iter([Some("AA"), None])),
        ),
        (
            Field::new("price", DataType::Decimal128(9, 2), false),
            Arc::new(Decimal128Array::from(vec![1, 2]).with_precision_and_scale(9, 2).unwrap()),
        ),
        (
            Field::new("at", DataType::Timestamp(TimeUnit::Microsecond, Some("America/New_York".into())), false),
            Arc::new(TimestampMicrosecondArray::from(vec![1, 2]).with_timezone("America/New_York")),
        ),
        (
            Field::new("view", DataType::Utf8View, false),
            Arc::new(StringViewArray::from(vec!["a", "longer than twelve"])),
        ),
        (Field::new("large", DataType::LargeUtf8, false), Arc::new(LargeStringArray::from(vec!["a", "b"]))),
        (Field::new("point", point.data_type().clone(), false), Arc::new(point)),
        (
            Field::new_list("stops", Field::new_list_field(DataType::Int32, true), true),
            Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1), None]), None])),
        ),
    ];
    let (fields, columns): (Vec<_>, Vec<_>) = columns.into_iter().unzip();
    let schema = Schema::new_with_metadata(fields, HashMap::from([("k".to_owned(), "v".to_owned())]));
    let batch = RecordBatch::try_new(Arc::new(schema), columns).unwrap();

    let place = Place::new();
    for name in ["a.parquet", "a.arrows"] {
        write(&place.path(name), slice::from_ref(&batch));
        let back = read(&place.path(name)).unwrap();
        assert_eq!(back.columns(), batch.columns(), "{name}");
        assert_eq!(back.schema_ref().fields(), batch.schema_ref().fields(), "{name}");
        assert_eq!(back.schema_ref().metadata.get("k").map(String::as_str), Some("v"), "{name}");
    }
    // The file format knows one dictionary a column for all batches, so it gets values.
    let other = DictionaryArray::<Int32Type>::from_iter([Some("BB"), Some("AA")]);
    let mut columns = batch.columns().to_vec();
    columns[1] = Arc::new(other);
    let second = RecordBatch::try_new(batch.schema(), columns).unwrap();
    write(&place.path("a.arrow"), &[batch.clone(), second]);
    let back = read(&place.path("a.arrow")).unwrap();
    assert_eq!(back.schema_ref().field(1).data_type(), &DataType::Utf8);
    assert_eq!(
        back.column(1).as_ref(),
        &StringArray::from(vec![Some("AA"), None, Some("BB"), Some("AA")]) as &dyn Array
    );
    assert_eq!(back.column(0).slice(0, 2).as_ref(), batch.column(0).as_ref());
    assert_eq!(back.schema_ref().field(0), batch.schema_ref().field(0));
    // Text holds them as text.
    let flat = batch.project(&[0, 1, 2, 3, 4, 5]).unwrap();
    write(&place.path("a.csv"), &[flat]);
    assert_eq!(read(&place.path("a.csv")).unwrap().num_rows(), 2);
    write(&place.path("a.ndjson"), &[batch]);
    assert!(fields_of(&place, "a.ndjson").contains("stops List(Int64), "), "{}", fields_of(&place, "a.ndjson"));
}

fn fields_of(place: &Place, name: &str) -> String {
    let batch = read(&place.path(name)).unwrap();
    format!("{}, ", fields(&batch))
}

#[test]
fn rows_come_in_order_in_batches_of_the_size_asked_for() {
    let place = Place::new();
    let rows = |from: i32, to: i32| {
        let id: ArrayRef = Arc::new(Int32Array::from_iter_values(from..to));
        let text: ArrayRef = Arc::new(StringArray::from_iter_values((from..to).map(|id| format!("row {id}"))));
        RecordBatch::try_from_iter([("id", id), ("text", text)]).unwrap()
    };
    let batches = [rows(0, 1), rows(1, 1), rows(1, 25_000), rows(25_000, 50_000)];
    for name in NAMES {
        let path = place.path(name);
        write(&path, &batches);
        for batch_rows in [0, 1000, 8192, 1_000_000] {
            let input =
                Input::open(&path, &InputOptions { batch_rows, infer_rows: 100, ..InputOptions::default() }).unwrap();
            let progress = input.progress();
            assert_eq!(input.total_rows(), (name == "a.parquet").then_some(50_000));
            let mut next = 0;
            for batch in input.take(if batch_rows == 0 { 100 } else { usize::MAX }) {
                let batch = batch.unwrap();
                assert!((1..=batch_rows.max(1)).contains(&batch.num_rows()));
                for row in cells(&batch) {
                    assert_eq!(row, [next.to_string(), format!("row {next}")]);
                    next += 1;
                }
            }
            if batch_rows > 0 {
                assert_eq!(next, 50_000, "{name}");
                assert_eq!(progress.total_bytes(), Some(fs::metadata(&path).unwrap().len()));
                assert!(name == "a.parquet" || Some(progress.bytes()) == progress.total_bytes(), "{name}");
                assert!(progress.bytes() > 0);
            }
        }
    }
}

#[test]
fn a_file_without_rows_keeps_its_columns() {
    let place = Place::new();
    for name in NAMES {
        let path = place.path(name);
        write(&path, &[simple().slice(0, 0)]);
        if name == "a.ndjson" {
            // It has no place for names without rows.
            let error = open(&path).unwrap_err();
            assert_eq!(place.text(&error), "a.ndjson: is empty, and an empty file is no ndjson");
            continue;
        }
        let input = open(&path).unwrap();
        let names: Vec<&str> = input.schema().fields().iter().map(|field| field.name().as_str()).collect();
        assert_eq!(names, ["id", "delay", "late", "name", "day", "at"], "{name}");
        assert_eq!(input.count(), 0);
    }
}

#[test]
fn only_the_columns_asked_for_are_read_and_they_keep_their_order() {
    let place = Place::new();
    let options = |columns: &[&str]| InputOptions {
        columns: Some(columns.iter().map(|&name| name.to_owned()).collect()),
        ..InputOptions::default()
    };
    for name in NAMES {
        let path = place.path(name);
        write(&path, &[simple()]);
        let some = read_with(&path, &options(&["name", "id", "name"])).unwrap();
        let expected: Vec<Vec<String>> =
            cells(&simple()).into_iter().map(|row| vec![row[0].clone(), row[3].clone()]).collect();
        assert_eq!(cells(&some), expected, "{name}");
        let error = read_with(&path, &options(&["id", "nme"])).unwrap_err();
        assert_eq!(error.kind(), Kind::Usage);
        assert_eq!(
            place.text(&error),
            format!("{name}: there is no column \"nme\"; the columns are id, delay, late, name, day, at")
        );
    }
}

#[test]
fn a_null_is_no_key_in_ndjson_and_an_empty_field_in_csv() {
    let place = Place::new();
    let batch = simple().project(&[0, 3]).unwrap().slice(1, 2);
    write(&place.path("a.ndjson"), slice::from_ref(&batch));
    assert_eq!(fs::read_to_string(place.path("a.ndjson")).unwrap(), "{\"name\":\"é\"}\n{\"id\":-1}\n");
    write(&place.path("a.csv"), &[batch]);
    assert_eq!(fs::read_to_string(place.path("a.csv")).unwrap(), "id,name\n,é\n-1,\n");
}
