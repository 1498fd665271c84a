//! Files that are not what they should be: an error that says what, where and what to try, never a panic.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use anyudf_cli::files::Kind;
use arrow::array::{ArrayRef, DictionaryArray, Float64Array, Int64Array, StringArray};
use arrow::datatypes::Int32Type;

use super::*;

fn rows() -> RecordBatch {
    let id: ArrayRef = Arc::new(Int64Array::from_iter_values(100..400));
    let half: ArrayRef =
        Arc::new(Float64Array::from_iter((0..300).map(|n| (n % 7 != 0).then_some(f64::from(n) / 2.0))));
    let text: ArrayRef = Arc::new(StringArray::from_iter_values((0..300).map(|n| format!("text, \"{n}\""))));
    let code: ArrayRef =
        Arc::new(DictionaryArray::<Int32Type>::from_iter((0..300).map(|n| Some(["AA", "BB", "CC"][n % 3]))));
    RecordBatch::try_from_iter_with_nullable([
        ("id", id, true),
        ("half", half, true),
        ("text", text, true),
        ("code", code, true),
    ])
    .unwrap()
}

/// Every offset near both ends, and some in between.
fn offsets(length: usize) -> impl Iterator<Item = usize> {
    (0..length).filter(move |at| *at < 100 || *at + 150 > length || at % 97 == 0)
}

#[test]
fn a_truncated_binary_file_is_always_noticed() {
    let place = Place::new();
    for name in ["a.parquet", "a.arrow", "a.arrows"] {
        let whole = place.path(name);
        write(&whole, &[rows(), rows()]);
        let bytes = fs::read(&whole).unwrap();
        for at in offsets(bytes.len()) {
            let cut = place.with(&format!("cut-{name}"), &bytes[..at]);
            match read(&cut) {
                Err(error) => {
                    assert_eq!(error.kind(), Kind::Data, "{error}");
                    let text = place.text(&error);
                    assert!(text.starts_with(&format!("cut-{name}: ")), "{text}");
                    assert!(text.contains("byte") || text.contains("is empty") || text.contains("row"), "{text}");
                }
                // The format lets a stream end without a marker between two messages.
                Ok(batch) => {
                    assert_eq!(name, "a.arrows");
                    assert!([0, 300, 600].contains(&batch.num_rows()), "cut at {at}");
                }
            }
        }
    }
}

#[test]
fn a_truncated_text_file_gives_its_rows_or_an_error_that_names_the_line() {
    let place = Place::new();
    for name in ["a.csv", "a.ndjson"] {
        let whole = place.path(name);
        write(&whole, &[rows()]);
        let bytes = fs::read(&whole).unwrap();
        let mut noticed = 0;
        for at in offsets(bytes.len()) {
            let cut = place.with(&format!("cut-{name}"), &bytes[..at]);
            match read(&cut) {
                Ok(batch) => assert!(batch.num_rows() <= 300),
                Err(error) => {
                    noticed += 1;
                    let text = place.text(&error);
                    assert!(text.contains("line ") || text.contains("is empty"), "{text}");
                }
            }
        }
        assert!(noticed > 200, "{name}: {noticed}");
    }
}

#[test]
fn no_damaged_byte_makes_anything_panic() {
    let place = Place::new();
    for name in NAMES {
        let whole = place.path(name);
        write(&whole, &[rows()]);
        let bytes = fs::read(&whole).unwrap();
        for at in offsets(bytes.len()) {
            for damage in [0x22, 0xff] {
                let mut bytes = bytes.clone();
                bytes[at] = damage;
                if let Err(error) = read(&place.with(&format!("bad-{name}"), &bytes)) {
                    assert!(place.text(&error).starts_with(&format!("bad-{name}: ")), "{error}");
                }
            }
        }
    }
}

#[test]
fn foreign_bytes_are_refused_under_every_name() {
    let place = Place::new();
    let png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\x02\0\0\0\x02\0\x08\x06\0\0\0\xf4x\xd4\xfa".as_slice();
    let gzip = b"\x1f\x8b\x08\0\0\0\0\0\0\x03K\xd4I\xe2\x02\0".as_slice();
    for name in NAMES {
        for (what, bytes) in [("png", png), ("gzip", gzip), ("nothing", b"")] {
            let path = place.with(&format!("{what}-{name}"), bytes);
            let error = read(&path).expect_err(name);
            let text = place.text(&error);
            assert!(text.starts_with(&format!("{what}-{name}: ")), "{text}");
            assert!(what != "gzip" || text.contains("gunzip"), "{text}");
            assert!(what != "nothing" || text.contains("is empty"), "{text}");
        }
    }
    // Both formats are named where one is taken for the other.
    write(&place.path("real.parquet"), &[rows()]);
    fs::rename(place.path("real.parquet"), place.path("called.ndjson")).unwrap();
    let error = open(&place.path("called.ndjson")).unwrap_err();
    assert_eq!(error.kind(), Kind::Usage);
    assert_eq!(
        place.text(&error),
        "called.ndjson: is named like ndjson, but holds parquet; try --input-format parquet"
    );
}

#[test]
fn a_stream_under_the_name_of_a_file_is_read() {
    let place = Place::new();
    write(&place.path("a.arrows"), &[rows()]);
    fs::rename(place.path("a.arrows"), place.path("a.arrow")).unwrap();
    assert_eq!(read(&place.path("a.arrow")).unwrap(), rows());
}

#[test]
fn what_cannot_be_opened_is_named() {
    let place = Place::new();
    let text = |path: &Path| {
        let error = open(path).unwrap_err();
        (error.kind(), place.text(&error))
    };
    let missing = text(&place.path("missing.csv"));
    assert_eq!(missing.0, Kind::Usage);
    assert_eq!(missing.1, "missing.csv: there is no such file; check the path, or give - for standard input");
    fs::create_dir(place.path("d.parquet")).unwrap();
    assert_eq!(text(&place.path("d.parquet")).1, "d.parquet: is a directory; give one of the files in it");
    let file = place.with("f.csv", "a\n1\n");
    assert!(text(&file.join("x.csv")).1.contains("is a file, not a directory"));
    let plain = place.with("plain", "a\n1\n");
    assert!(text(&plain).1.contains("--input-format with one of parquet, csv"));

    fs::set_permissions(&file, fs::Permissions::from_mode(0o000)).unwrap();
    // Root may read everything.
    if !rustix::process::geteuid().is_root() {
        assert_eq!(text(&file), (Kind::Data, "f.csv: not allowed to read it; check its permissions".to_owned()));
    }
}
