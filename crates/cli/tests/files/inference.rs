//! Text: what types it is taken for, and what happens where it turns out otherwise.

use anyudf_cli::files::{InputOptions, Kind};

use super::*;

/// A file with this content, read with these options: its fields and rows, or its error.
fn check(name: &str, content: impl AsRef<[u8]>, options: &InputOptions) -> Result<(String, Vec<Vec<String>>), String> {
    let place = Place::new();
    let path = place.with(name, content);
    match read_with(&path, options) {
        Ok(batch) => Ok((fields(&batch), cells(&batch))),
        Err(error) => {
            assert_eq!(error.kind(), Kind::Data, "{error}");
            Err(place.text(&error))
        }
    }
}

fn csv(content: impl AsRef<[u8]>) -> Result<(String, Vec<Vec<String>>), String> {
    check("t.csv", content, &InputOptions::default())
}

fn ndjson(content: &str) -> Result<(String, Vec<Vec<String>>), String> {
    check("t.ndjson", content, &InputOptions::default())
}

fn first(infer_rows: usize) -> InputOptions {
    InputOptions { infer_rows, batch_rows: 3, ..InputOptions::default() }
}

#[test]
fn csv_is_what_rfc_4180_says() {
    let (fields, rows) = csv("a,b\r\n\"x\r\ny\",\"\"\"q\"\"\"\r\n\r\n,2\r\n").unwrap();
    assert_eq!(fields, "a Utf8, b Utf8");
    assert_eq!(rows, [["x\r\ny", "\"q\""], ["␀", "2"]]);
    let (_, rows) = csv("\u{feff}\n\na;,b\n1,2").unwrap();
    assert_eq!(rows, [["1", "2"]]);
    let (fields, rows) = check("t.tsv", "a\tb,c\n1\t2,3\n", &InputOptions::default()).unwrap();
    assert_eq!(fields, "a Int64, b,c Utf8");
    assert_eq!(rows, [["1", "2,3"]]);
    let (fields, rows) = csv("a,b\rx,1\ry,2\r").unwrap();
    assert_eq!((fields.as_str(), rows.len()), ("a Utf8, b Int64", 2));
}

#[test]
fn csv_without_rows_or_values_has_columns_of_text() {
    assert_eq!(csv("a,b\n").unwrap(), ("a Utf8, b Utf8".to_owned(), vec![]));
    assert_eq!(csv("a,b").unwrap(), ("a Utf8, b Utf8".to_owned(), vec![]));
    assert_eq!(csv("a,b\n,\n").unwrap().1, [["␀", "␀"]]);
    assert_eq!(csv("a\n\"\"\n1\n").unwrap().1, [["␀"], ["1"]]);
    assert!(csv("\n\n").unwrap_err().contains("holds no line"));
}

#[test]
fn a_value_that_does_not_fit_is_named_with_line_and_column() {
    // Two lines of the file are inside of quotes, one is blank.
    let text = "id,note,delay\n1,\"two\nlines\",5\n2,x,6\n\n3,\"\n\",7\n4,y,late\n";
    let error = check("t.csv", text, &first(2)).unwrap_err();
    assert_eq!(
        error,
        "t.csv: line 8, column \"delay\": \"late\" is no Int64, the type that was given or that the first 2 rows suggest; try \
         --types delay=string"
    );
    let options = InputOptions { types: "delay=string".parse().unwrap(), ..first(2) };
    let (fields, rows) = check("t.csv", text, &options).unwrap();
    assert_eq!(fields, "id Int64, note Utf8, delay Utf8");
    assert_eq!(rows[3], ["4", "y", "late"]);
    // Not if the column is not asked for.
    let options = InputOptions { columns: Some(vec!["id".into()]), ..first(2) };
    assert_eq!(check("t.csv", text, &options).unwrap().1, [["1"], ["2"], ["3"], ["4"]]);
    // And not if enough rows are looked at.
    assert_eq!(check("t.csv", text, &first(100)).unwrap().0, "id Int64, note Utf8, delay Utf8");
}

#[test]
fn a_value_that_does_not_fit_is_found_far_into_the_file() {
    let mut text = String::from("n\n");
    (0..200_000).for_each(|n| text.push_str(&format!("{n}\n")));
    text.push_str("1.5\n");
    let failure = |outcome: Result<(String, Vec<Vec<String>>), String>| outcome.map(drop).unwrap_err();
    assert!(failure(csv(&text)).starts_with("t.csv: line 200002, column \"n\": \"1.5\" is no Int64"));
    let text = text.lines().skip(1).map(|line| format!("{{\"n\":{line}}}\n")).collect::<String>();
    assert!(failure(ndjson(&text)).starts_with("t.ndjson: line 200001, column \"n\": \"1.5\" is no Int64"));
}

#[test]
fn csv_that_is_torn_is_named_with_its_line() {
    for (text, expected) in [
        ("a,b\n1,2\n3\n", "t.csv: line 3: expected 2 fields as in the header, got 1;"),
        ("a,b\n1,2,3\n", "t.csv: line 2: expected 2 fields as in the header, got more than"),
        (
            "a,b\n1,\"2\n3,4\n",
            "t.csv: line 2: the record that begins here is never ended; a quote is open since line 2",
        ),
    ] {
        let error = csv(text).unwrap_err();
        assert!(error.starts_with(expected), "{error}");
    }
    let error = csv(b"a,b\n1,2\n3,\xff\n").unwrap_err();
    assert!(error.starts_with("t.csv: line 3: ") && error.contains("UTF-8"), "{error}");
    let error = csv(b"a,\xff\n1,2\n").unwrap_err();
    assert!(error.starts_with("t.csv: line 1: ") && error.contains("UTF-8"), "{error}");
}

#[test]
fn types_may_be_given() {
    let options = |types: &str| InputOptions { types: types.parse().unwrap(), ..InputOptions::default() };
    let text = "zip,n,at\n01234,1,2001-01-31\n";
    let (fields, rows) = check("t.csv", text, &options("zip=string,n=double,at=timestamp")).unwrap();
    assert_eq!(fields, "zip Utf8, n Float64, at Timestamp(µs)");
    assert_eq!(rows, [["01234", "1.0", "2001-01-31T00:00:00"]]);
    let place = Place::new();
    let error = read_with(&place.with("t.csv", text), &options("zap=string")).unwrap_err();
    assert_eq!(error.kind(), Kind::Usage);
    assert_eq!(
        place.text(&error),
        "t.csv: --types names a column \"zap\" that is not there; the columns are zip, n, at"
    );
    let (fields, rows) = check("t.ndjson", "{\"n\":1,\"at\":\"2001-01-31\"}\n", &options("at=date,m=int")).unwrap();
    assert_eq!(fields, "n Int64, at Date32, m Int32");
    assert_eq!(rows, [["1", "2001-01-31", "␀"]]);
    assert!(
        check("t.csv", "n\nx\n", &options("n=int"))
            .unwrap_err()
            .starts_with("t.csv: line 2, column \"n\": \"x\" is no Int32")
    );
}

#[test]
fn times_and_dates_are_inferred_in_csv() {
    let text = "d,t,z\n2001-01-31,2001-01-31 10:00:00,2001-01-31T10:00:00+02:00\n2001-02-01,2001-01-31 10:00:00.5,2001-01-31T10:00:00Z\n";
    let (fields, rows) = csv(text).unwrap();
    assert_eq!(fields, "d Date32, t Timestamp(ms), z Timestamp(s, \"UTC\")");
    assert_eq!(rows[0], ["2001-01-31", "2001-01-31T10:00:00", "2001-01-31T08:00:00Z"]);
}

#[test]
fn ndjson_columns_come_in_the_order_of_the_file() {
    let (fields, rows) = ndjson("{\"b\":1,\"a\":\"x\"}\n\n{\"a\":2,\"c\":true}\n").unwrap();
    assert_eq!(fields, "b Int64, a Utf8, c Boolean");
    assert_eq!(rows, [["1", "x", "␀"], ["␀", "2", "true"]]);
    let (fields, rows) = ndjson("{\"l\":[1,null],\"s\":{\"x\":-1}}\n{\"l\":[]}\n").unwrap();
    assert_eq!(fields, "l List(Int64), s Struct(\"x\": Int64)");
    assert_eq!(rows, [["[1, ␀]", "{x: -1}"], ["[]", "␀"]]);
    let (fields, _) = ndjson("{\"a\":18446744073709551615}\n{\"a\":1}\n").unwrap();
    assert_eq!(fields, "a Utf8");
}

#[test]
fn what_comes_late_in_ndjson_is_not_lost_without_a_word() {
    let text = "{\"a\":1}\n{\"a\":2}\n{\"a\":3}\n{\"a\":4,\"b\":5}\n";
    let error = check("t.ndjson", text, &first(2)).unwrap_err();
    assert_eq!(
        error,
        "t.ndjson: line 4: the column \"b\" is not in the first 2 rows; try --types b=string, with its type"
    );
    let options = InputOptions { types: "b=bigint".parse().unwrap(), ..first(2) };
    assert_eq!(check("t.ndjson", text, &options).unwrap().1[3], ["4", "5"]);
    let options = InputOptions { columns: Some(vec!["a".into()]), ..first(2) };
    assert_eq!(check("t.ndjson", text, &options).unwrap().1.len(), 4);

    let error = check("t.ndjson", "{\"a\":1}\n{\"a\":2}\n\n{\"a\":\"x\"}\n", &first(2)).unwrap_err();
    assert!(error.starts_with("t.ndjson: line 4, column \"a\": \"\\\"x\\\"\" is no Int64"), "{error}");
    let error = check("t.ndjson", "{\"a\":1}\n{\"a\":2}\n{\"a\":3\n", &first(2)).unwrap_err();
    assert!(error.starts_with("t.ndjson: line 3, character 6: EOF while parsing an object; NDJSON"), "{error}");
    let error = check("t.ndjson", "{\"a\":1}\n{\"a\":2}\n7\n", &first(2)).unwrap_err();
    assert!(error.starts_with("t.ndjson: line 3: expected an object, found \"7\""), "{error}");
}

#[test]
fn other_shapes_of_json_are_told_what_to_do() {
    for text in ["[{\"a\":1}]", "{\n  \"a\": 1\n}\n", "[\n{\"a\":1}\n]\n"] {
        let error = ndjson(text).unwrap_err();
        assert!(error.starts_with("t.ndjson: line 1") && error.contains("jq -c"), "{error}");
    }
    assert!(ndjson("{}\n{}\n").unwrap_err().contains("no columns"));
}
