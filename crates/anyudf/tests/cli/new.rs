//! `anyudf new`, and what it writes: the template's functions are part of this test binary, so they build and their tests
//! pass.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};

use anyudf::prelude::*;
use anyudf::testing::WorkerProcess;
use anyudf::worker::IntoDefinition;
use arrow::array::{Float64Array, RecordBatch, StringArray};

use crate::odd;
use crate::support::{Place, rows, text};

#[path = "../../../cli/templates/worker/src/lib.rs"]
#[expect(unreachable_pub, reason = "it is a crate of its own where it is used")]
mod template;

/// The functions of the template, for the worker that the tests start.
pub(crate) fn functions() -> Vec<anyudf_worker::Definition> {
    template::worker().functions().cloned().collect()
}

#[test]
fn a_new_worker_is_a_crate() {
    let place = Place::new();
    let said = place.anyudf(["new", "my-worker"]).done();
    assert!(said.contains("cd my-worker && cargo test"), "{said}");
    let read = |name: &str| fs::read_to_string(place.path("my-worker").join(name)).expect(name);
    assert!(read("Cargo.toml").contains("name = \"my-worker\""));
    assert!(read("Cargo.toml").contains("anyudf = { version = "), "{}", read("Cargo.toml"));
    assert!(read("README.md").contains("target/debug/my-worker") && read("src/lib.rs").contains("#[udf"));
    assert!(read("src/main.rs").contains("my_worker::worker().run()"), "{}", read("src/main.rs"));
    assert!(read("tests/process.rs").contains("CARGO_BIN_EXE_my-worker"), "{}", read("tests/process.rs"));
    place.anyudf(["new", "my-worker"]).failed(2, &["my-worker is there already"]);
    place.anyudf(["new", "My Worker"]).failed(2, &["`My Worker` is no name for a crate"]);
    place.anyudf(["new", "no/such/place"]).failed(2, &["no/such/place can't be made"]);
}

/// What `#[udf]` makes, through a process: the catalogue, values, nulls, an error with its row.
#[test]
fn the_functions_of_a_new_worker_run() {
    let place = Place::new();
    let worker = odd::worker("odd");
    let listed = place.anyudf(["functions", "--worker", &worker]).done();
    let line = |name: &str| listed.lines().find(|line| line.starts_with(name)).unwrap_or_default().to_owned();
    assert!(line("fahrenheit").contains("immutable"), "{listed}");
    assert!(line("occurrences").contains("text Utf8, word Utf8"), "{listed}");

    let line =
        |celsius: &str, text: &str, word: &str| format!(r#"{{"celsius":{celsius},"text":{text},"word":"{word}"}}"#);
    let lines = [line("100.0", r#""a b a""#, "a"), line("null", r#""b""#, "b"), line("0.0", "null", "c")];
    let input = place.file("in.ndjson", lines.join("\n"));
    let output = place.path("out.parquet");
    let run = |function: &str, arguments: &str| {
        let line = format!("--function {function} --args {arguments} --as result");
        let files = ["--worker", &worker, "--input", text(&input), "--output", text(&output), "--force"];
        place.run(&line, &files)
    };
    let results = || {
        let batch = rows(&output);
        let column = batch.column_by_name("result").expect("the new column");
        (0..batch.num_rows())
            .map(|row| arrow::util::display::array_value_to_string(column, row).expect("a value"))
            .collect::<Vec<_>>()
    };
    run("fahrenheit", "celsius").done();
    assert_eq!(results(), ["212.0", "", "32.0"]);
    run("occurrences", "text,word").done();
    assert_eq!(results(), ["2", "1", ""]);
    let lines = [line("1.0", r#""a""#, "a"), line("2.0", r#""b""#, "")];
    fs::write(&input, lines.join("\n")).expect("it can be written");
    let ran = run("occurrences", "text,word");
    ran.failed(1, &["`occurrences`", "row 1", "an empty word is everywhere"]);
}

/// What the test that `anyudf new` writes rests on: the same in memory and in a process, errors among it.
#[test]
fn a_process_does_what_its_functions_do() {
    let process = WorkerProcess::start_with(&odd::command("odd")).expect("it starts");
    let temperatures = || [Float64Array::from(vec![Some(100.0), None])];
    let tester = UdfTester::new(template::fahrenheit).through(&process);
    tester.call(temperatures()).expect("it runs");
    let (texts, words) = (StringArray::from(vec!["a b a", "a"]), StringArray::from(vec!["a", ""]));
    let tester = UdfTester::new(template::occurrences).through(&process);
    let error = tester.call([texts, words]).expect_err("one word is empty");
    assert!(error.to_string().contains("row 1: an empty word"), "{error}");
    let empty =
        RecordBatch::new_empty(template::fahrenheit.into_definition().argument_schema().expect("it says").clone());
    UdfTester::new(template::fahrenheit).through(&process).run([empty.clone(), empty]).expect("it runs");

    // Where the process has another function of that name, or none.
    #[udf(name = "fahrenheit")]
    fn kelvin(celsius: f64) -> f64 {
        celsius + 273.15
    }
    #[udf]
    fn absent(celsius: f64) -> f64 {
        celsius
    }
    let differs = |function: Definition| {
        let tester = UdfTester::new(function).through(&process);
        let panic = catch_unwind(AssertUnwindSafe(|| tester.call(temperatures()))).expect_err("they differ");
        panic.downcast_ref::<String>().expect("a text").clone()
    };
    let text = differs(kelvin.into_definition());
    assert!(text.contains("`fahrenheit` does something else") && text.contains("row 0 of `fahrenheit`"), "{text}");
    let text = differs(absent.into_definition());
    assert!(text.contains("in memory it returned 2 rows") && text.contains("no function `absent`"), "{text}");
}

/// C11: a limit of the function's own holds in its worker.
#[test]
fn c11_a_function_limits_its_own_calls() {
    let place = Place::new();
    let input = place.file("in.ndjson", r#"{"n":1}"#);
    let files = ["--worker", &odd::worker("odd"), "--input", text(&input)];
    let ran = place.run("--function sleeps --args n --as m", &files);
    ran.failed(1, &["`sleeps` did not return from process, batch 1 within 50 ms", "its own timeout"]);
}

/// The face's own macros name paths of the face.
#[test]
fn the_prelude_has_all_that_an_author_needs() {
    #[derive(UdfStruct)]
    struct Place<'a> {
        name: &'a str,
        price: Option<Decimal<9, 2>>,
    }

    #[udf(map)]
    fn places(names: Vec<String>) -> Vec<String> {
        names
    }

    #[udf]
    fn label(name: &str, cents: i64) -> Place<'_> {
        Place { name, price: Decimal::new(i128::from(cents)) }
    }

    #[udf(batch)]
    fn negated(numbers: &anyudf::worker::arrow::array::BooleanArray) -> anyudf::worker::arrow::array::BooleanArray {
        numbers.iter().map(|is| is.map(|is| !is)).collect()
    }

    assert_eq!(label("a", 150).price.map(|price| price.to_string()).as_deref(), Some("1.50"));
    assert_eq!(label("a", 1).name, "a");
    assert_eq!(places(vec!["b".into()]), ["b"]);
    let worker = Worker::new().with(places).with(label).with(negated);
    assert_eq!(worker.functions().map(Definition::kind).collect::<Vec<_>>(), [Kind::Scalar, Kind::Scalar, Kind::Map]);
}
