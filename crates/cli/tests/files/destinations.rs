//! Where results go: whole or not at all, and never over what is there.

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::slice;
use std::sync::Arc;

use anyudf_cli::files::{Kind, Written};
use arrow::array::{ArrayRef, DurationSecondArray, Int64Array, IntervalMonthDayNanoArray, ListArray};
use arrow::datatypes::{Int32Type, Schema};

use super::*;

fn rows() -> RecordBatch {
    let id: ArrayRef = Arc::new(Int64Array::from_iter_values(0..1000));
    RecordBatch::try_from_iter([("id", id)]).unwrap()
}

fn refused(options: &OutputOptions) -> Error {
    let error = options.create(rows().schema()).unwrap_err();
    assert_eq!(options.check().unwrap_err().to_string(), error.to_string(), "the early answer is the same");
    error
}

#[test]
fn dropped_without_commit_it_was_never_there() {
    let place = Place::new();
    for name in NAMES {
        let mut output = create(&place.path(name), rows().schema_ref()).unwrap();
        output.write(&rows()).unwrap();
        assert!(!place.path(name).exists());
        let temporary = output.temporary().unwrap().file_name().unwrap().to_owned();
        assert_eq!(place.names(), [temporary.into_string().unwrap()]);
        drop(output);
        assert_eq!(place.names(), [""; 0]);
    }
}

#[test]
fn what_exists_is_refused_without_force_and_replaced_with_it() {
    let place = Place::new();
    let path = place.with("a.csv", "mine");
    let mut options = to(&path);
    let error = refused(&options);
    assert_eq!(error.kind(), Kind::Usage);
    assert_eq!(place.text(&error), "a.csv: exists already; give another name, or --force to replace it");
    assert_eq!(fs::read(&path).unwrap(), b"mine");

    options.force = true;
    let mut output = options.create(rows().schema()).unwrap();
    output.write(&rows()).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"mine", "until it is complete");
    output.commit().unwrap();
    assert_eq!(read(&path).unwrap(), rows_nullable());
    assert_eq!(place.names(), ["a.csv"]);
}

fn rows_nullable() -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable([("id", Arc::clone(rows().column(0)), true)]).unwrap()
}

#[test]
fn what_comes_into_being_meanwhile_is_not_replaced() {
    let place = Place::new();
    let path = place.path("a.parquet");
    let mut output = create(&path, rows().schema_ref()).unwrap();
    output.write(&rows()).unwrap();
    fs::write(&path, "theirs").unwrap();
    let error = output.commit().unwrap_err();
    assert_eq!(error.kind(), Kind::Usage);
    assert!(place.text(&error).starts_with("a.parquet: was made by somebody else in the meantime"), "{error}");
    assert_eq!(fs::read(&path).unwrap(), b"theirs");
    assert_eq!(place.names(), ["a.parquet"]);
}

#[test]
fn permissions_are_those_of_a_new_file_or_of_the_one_replaced() {
    let place = Place::new();
    let mode = |name: &str| fs::metadata(place.path(name)).unwrap().permissions().mode() & 0o7777;
    place.with("other", "");
    write(&place.path("a.csv"), &[rows()]);
    assert_eq!(mode("a.csv"), mode("other"));
    fs::set_permissions(place.path("a.csv"), fs::Permissions::from_mode(0o640)).unwrap();
    let options = OutputOptions { force: true, ..to(&place.path("a.csv")) };
    options.create(rows().schema()).unwrap().commit().unwrap();
    assert_eq!(mode("a.csv"), 0o640);
}

#[test]
fn a_link_is_followed() {
    let place = Place::new();
    fs::create_dir(place.path("d")).unwrap();
    let target = place.with("d/target.csv", "old");
    symlink("d/target.csv", place.path("link.csv")).unwrap();
    assert!(place.text(&refused(&to(&place.path("link.csv")))).contains("exists already"));
    let options = OutputOptions { force: true, ..to(&place.path("link.csv")) };
    options.create(rows().schema()).unwrap().commit().unwrap();
    assert_eq!(fs::read(&target).unwrap(), b"id\n");
    assert!(fs::symlink_metadata(place.path("link.csv")).unwrap().is_symlink());
    symlink("nowhere.csv", place.path("broken.csv")).unwrap();
    assert!(place.text(&refused(&to(&place.path("broken.csv")))).contains("a symbolic link that leads nowhere"));
}

#[test]
fn impossible_destinations_are_refused_before_any_work() {
    let place = Place::new();
    fs::create_dir(place.path("d.csv")).unwrap();
    let file = place.with("file", "");
    for (path, expected) in [
        (place.path("d.csv"), "d.csv: is a directory; give the name of a file in it"),
        (place.path("no/such/a.csv"), "no/such/a.csv: there is no directory no/such; make it first"),
        (file.join("a.csv"), "file/a.csv: file is no directory; check the path"),
        (
            place.path("a"),
            "a: the name does not tell the format; try --output-format with one of parquet, csv, tsv, \
                           ndjson, arrow, arrows",
        ),
        (
            place.path(&format!("{}.csv", "a".repeat(300))),
            &*format!("{}.csv: the name is too long; give a shorter one", "a".repeat(300)),
        ),
    ] {
        let error = refused(&to(&path));
        assert_eq!(error.kind(), Kind::Usage, "{error}");
        assert_eq!(place.text(&error), expected);
    }
    assert!(
        refused(&OutputOptions { path: Some("-".into()), ..OutputOptions::default() })
            .to_string()
            .contains("standard output: the name")
    );
    assert_eq!(place.names(), ["d.csv", "file"]);
}

#[test]
fn a_directory_that_may_not_be_written_is_named() {
    // Root may write everywhere.
    if rustix::process::geteuid().is_root() {
        return;
    }
    let place = Place::new();
    fs::create_dir(place.path("d")).unwrap();
    fs::set_permissions(place.path("d"), fs::Permissions::from_mode(0o500)).unwrap();
    let error = create(&place.path("d/a.csv"), rows().schema_ref()).unwrap_err();
    assert!(place.text(&error).starts_with("d/a.csv: not allowed to write there"), "{error}");
}

#[test]
fn a_column_that_the_format_cannot_hold_is_named_before_any_work() {
    let place = Place::new();
    let list: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1)])]));
    let span: ArrayRef = Arc::new(DurationSecondArray::from(vec![1]));
    let interval: ArrayRef = Arc::new(IntervalMonthDayNanoArray::from(vec![None]));
    let refusal = |name: &str, column: &str, array: &ArrayRef| {
        let batch = RecordBatch::try_from_iter_with_nullable([(column, Arc::clone(array), true)]).unwrap();
        let error = create(&place.path(name), batch.schema_ref()).unwrap_err();
        assert_eq!(error.kind(), Kind::Usage);
        place.text(&error)
    };
    assert_eq!(
        refusal("a.csv", "stops", &list),
        "a.csv: csv cannot hold column \"stops\" of type List(Int32); try --output-format parquet or ndjson or arrow or arrows"
    );
    assert!(refusal("a.parquet", "wait", &interval).ends_with("try --output-format ndjson or arrow or arrows"));
    assert_eq!(place.names(), [""; 0]);
    let batch = RecordBatch::try_from_iter([("span", span)]).unwrap();
    write(&place.path("a.parquet"), slice::from_ref(&batch));
    assert_eq!(read(&place.path("a.parquet")).unwrap(), batch);
}

#[test]
fn every_type_with_required_fields_inside_is_accepted_by_the_formats_that_nest() {
    use arrow::array::{Int32Builder, MapBuilder, StringBuilder, StructArray};
    use arrow::datatypes::{DataType, Field};
    let mut map = MapBuilder::new(None, StringBuilder::new(), Int32Builder::new());
    map.keys().append_value("k");
    map.values().append_value(1);
    map.append(true).unwrap();
    let inner: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    let point = StructArray::from(vec![(Arc::new(Field::new("x", DataType::Int64, false)), inner)]);
    let batch =
        RecordBatch::try_from_iter([("map", Arc::new(map.finish()) as ArrayRef), ("point", Arc::new(point) as _)])
            .unwrap();
    let place = Place::new();
    for name in ["a.parquet", "a.arrow", "a.arrows", "a.ndjson"] {
        write(&place.path(name), slice::from_ref(&batch));
        let back = read(&place.path(name)).unwrap();
        assert!(name == "a.ndjson" || back == batch, "{name}");
    }
}

#[test]
fn devices_are_written_straight_and_a_full_one_is_told() {
    let null = create(Path::new("/dev/null"), rows().schema_ref());
    assert!(null.unwrap_err().to_string().contains("--output-format"));
    for format in NAMES.map(format_of) {
        let options = |path: &str| OutputOptions { format: Some(format), ..to(Path::new(path)) };
        let mut output = options("/dev/null").create(rows().schema()).unwrap();
        output.write(&rows()).unwrap();
        assert_eq!(output.commit().unwrap().rows, 1000);

        let full = options("/dev/full").create(rows().schema());
        let error = full.and_then(|mut output| {
            output.write(&rows())?;
            output.commit()
        });
        let error = error.unwrap_err();
        assert_eq!(error.kind(), Kind::Data);
        assert_eq!(
            error.to_string(),
            "/dev/full: cannot be written after 0 bytes: no space left on device; free some space or write somewhere else"
        );
    }
    assert_eq!(fs::metadata("/dev/null").unwrap().rdev(), rustix::fs::makedev(1, 3));
}

#[test]
fn without_a_destination_there_is_a_table() {
    let options = OutputOptions::default();
    options.check().unwrap();
    let mut output = options.create(rows().schema()).unwrap();
    output.write(&rows()).unwrap();
    assert_eq!((output.rows(), output.name()), (1000, "standard output"));
    let Written { rows, bytes } = output.commit().unwrap();
    assert!(rows == 1000 && bytes > 0);
    options.create(Arc::new(Schema::empty())).unwrap().commit().unwrap();
}
