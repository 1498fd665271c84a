//! The example with one function of each kind, as a real process: its catalogue, and what its functions give.

use crate::odd;
use crate::support::{Place, text};

#[path = "../../examples/kinds.rs"]
#[expect(dead_code, reason = "its `main` is this binary's")]
mod example;

/// The functions of the example, for the worker that the tests start.
pub(crate) fn functions() -> Vec<anyudf_worker::Definition> {
    example::worker().functions().cloned().collect()
}

#[test]
fn each_kind_has_a_row_in_the_catalogue() {
    let place = Place::new();
    let listed = place.anyudf(["functions", "--worker", &odd::worker("kinds")]).done();
    for (name, kind, arguments, result) in [
        ("greeting", "scalar", "name Utf8", "Utf8"),
        ("hypotenuse", "scalar", "a Float64, b Float64", "Float64"),
        ("powers", "table", "-", "powers Int64"),
        ("words", "map", "text Utf8", "word Utf8, place Int64"),
        ("mean", "aggregate", "x Float64", "Float64"),
    ] {
        let line = listed
            .lines()
            .find(|line| line.starts_with(&format!("{name} ")))
            .unwrap_or_else(|| panic!("{name}: {listed}"));
        let cells: Vec<_> = line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect();
        assert_eq!((cells[0], cells[1], cells[3]), (name, kind, arguments), "{line}");
        assert!(cells[4].ends_with(result), "{line}");
    }
    assert!(listed.contains("greeting(\"Ada\")") && listed.contains("Hello, Ada!"), "the example: {listed}");
}

#[test]
fn each_kind_runs() {
    let place = Place::new();
    let input = place.file("in.csv", "name,a,b\nAda,3,4\n,5,12\nMary Ann,8,15\n");
    let worker = odd::worker("kinds");
    let run = |function: &str, more: &[&str]| {
        let line = format!("--function {function} --output - --output-format csv");
        let out = place.run(&line, &[&["--worker", &worker], more].concat()).done();
        out.lines().skip(1).collect::<Vec<_>>().join(" ")
    };
    let over = |function: &str, arguments: &str| run(function, &["--args", arguments, "--input", text(&input)]);
    assert_eq!(over("greeting", "name"), "Ada,3,4,\"Hello, Ada!\" ,5,12, Mary Ann,8,15,\"Hello, Mary Ann!\"");
    assert_eq!(over("hypotenuse", "a,b"), "Ada,3,4,5.0 ,5,12,13.0 Mary Ann,8,15,17.0");
    assert_eq!(over("words", "name"), "Ada,1 Mary,1 Ann,2");
    assert_eq!(over("mean", "a"), (16.0 / 3.0).to_string());
    assert_eq!(run("powers", &["--options", r#"{"base":3,"most":50}"#]), "1 3 9 27");
}

#[cfg(feature = "sql")]
#[test]
fn each_kind_that_sql_knows_is_called() {
    let place = Place::new();
    place.file("in.csv", "name,a,b\nAda,3,4\nMary Ann,8,15\n");
    let worker = odd::worker("kinds");
    for (query, rows) in [
        (
            "SELECT greeting(name), hypotenuse(a, b) FROM 'in.csv' ORDER BY a",
            "\"Hello, Ada!\",5.0 \"Hello, Mary Ann!\",17.0",
        ),
        ("SELECT * FROM powers(base => 10) WHERE powers > 10 LIMIT 2", "100 1000"),
        ("SELECT word FROM words((SELECT name FROM 'in.csv')) WHERE place = 2", "Ann"),
    ] {
        let out = place.anyudf(["sql", "--worker", &worker, "--output-format", "csv", query]).done();
        assert_eq!(out.lines().skip(1).collect::<Vec<_>>().join(" "), rows, "{query}");
    }
}
