//! `anyudf sql`: queries over real files, with functions in real processes.

use std::fs;
use std::io::Write;
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};

use crate::odd::{self, Witness};
use crate::support::{Place, Ran, rows, sample, text};

/// What the README begins with: flights joined with their airports, beside the published distance.
const JOIN: &str = "SELECT count(*) AS flights, avg(abs(distance_miles(o.latitude, o.longitude, d.latitude, d.longitude) \
                    - f.distance)) AS error FROM '{flights}' f JOIN '{airports}' o ON f.origin = o.iata \
                    JOIN '{airports}' d ON f.destination = d.iata";

fn airports() -> String {
    concat!(env!("CARGO_MANIFEST_DIR"), "/../../data/airports.csv").into()
}

impl Place {
    fn sql(&self, arguments: &[&str]) -> Ran {
        self.anyudf(["sql"].iter().chain(arguments))
    }
}

/// The lines of a result as CSV, without their head.
fn csv(place: &Place, arguments: &[&str]) -> String {
    let out = place.sql(&[&["--output-format", "csv"], arguments].concat()).done();
    out.split_once('\n').expect("a head").1.trim_end().to_owned()
}

#[test]
fn the_distance_of_every_flight_is_near_the_published() {
    let place = Place::new();
    let join = JOIN.replace("{flights}", &sample()).replace("{airports}", &airports());
    let line = csv(&place, &[&join]);
    let (flights, error) = line.split_once(',').expect("two columns");
    assert_eq!(flights, "120000");
    let error: f64 = error.parse().expect("a number");
    assert!(error < 2.0, "{error} miles");
}

#[test]
fn a_result_is_a_table_or_a_file_of_any_format() {
    let place = Place::new();
    let input = place.file("in.csv", "id,words\n1,to be\n2,or not\n");
    let query = format!("SELECT id, upper(words) AS words FROM '{}' ORDER BY id", text(&input));
    assert_eq!(
        place.sql(&[&query]).done(),
        "+----+--------+\n| id | words  |\n+----+--------+\n| 1  | TO BE  |\n| 2  | OR NOT |\n+----+--------+\n"
    );
    for name in ["out.parquet", "out.csv", "out.ndjson", "out.arrow"] {
        assert_eq!(place.sql(&[&query, "--output", name]).done(), "");
        assert_eq!(csv(&place, &[&format!("SELECT words FROM '{name}' WHERE id = 2")]), "OR NOT", "{name}");
    }
    assert_eq!(rows(&place.path("out.parquet")).num_rows(), 2);
    place.sql(&[&query, "--output", "out.csv"]).failed(2, &["exists already", "--force"]);
}

#[test]
fn statements_come_from_the_argument_a_file_or_standard_input() {
    let place = Place::new();
    let statements = "CREATE VIEW v AS SELECT 20 AS x; -- a view\nSELECT x + 1 AS y FROM v;";
    let file = place.file("query.sql", statements);
    assert_eq!(csv(&place, &[statements]), "21");
    assert_eq!(csv(&place, &["--file", text(&file)]), "21");
    let mut command = place.command(["sql", "--output-format", "csv"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the binary starts");
    child.stdin.take().expect("a pipe").write_all(statements.as_bytes()).expect("it reads");
    assert_eq!(place.finish(child.wait_with_output().expect("it ends")).done(), "y\n21\n");
    place.sql(&["SELECT 1", "--file", "query.sql"]).failed(2, &["one too many"]);
    place.sql(&["--file", "quary.sql"]).failed(2, &["cannot read quary.sql"]);
    place.sql(&[" ; -- nothing"]).failed(2, &["there is no statement"]);
    for (statements, says) in [
        ("SELECT 1; SELECT 2", "2 statements give rows, and an output takes those of one"),
        ("CREATE VIEW v AS SELECT 1", "none of the statements gives rows"),
    ] {
        place.sql(&[statements, "--output", "out.csv"]).failed(2, &[says]);
    }
    assert_eq!(place.listing(), ["query.sql"]);
}

#[test]
fn tables_and_workers_have_names() {
    let place = Place::new();
    place.file("in.csv", "n\n3\n4\n");
    let odd = format!("odd={}", odd::worker("odd"));
    let flags = ["--table", "numbers=in.csv", "--worker", &odd];
    let of = |query: &str| csv(&place, &[&flags[..], &[query]].concat());
    assert_eq!(of("SELECT sum(odd.picky(n)) FROM numbers"), "7");
    assert_eq!(of("SELECT value FROM bundled.generate_series(start => 1, stop => 2)"), "1\n2");
    assert_eq!(of("SELECT bundled.distance_miles(1, 1, 1, 1) + distance_miles(2, 2, 2, 2)"), "0.0");
    place.sql(&["--table", "numbers", "SELECT 1"]).failed(2, &["NAME=PATH"]);
    place.sql(&["--table", "n=in.cvs", "SELECT 1"]).failed(2, &["there is no file `in.cvs`", "`./in.csv`"]);
}

#[test]
fn a_name_that_two_workers_have_needs_a_schema() {
    let place = Place::new();
    let odd = odd::worker("odd");
    let twice = ["--worker", &odd, "--worker", &odd, "SELECT 1"];
    place.sql(&twice).failed(1, &["is one of worker", "--worker NAME=…"]);
    let other = format!("other={odd}");
    assert_eq!(csv(&place, &["--worker", &odd, "--worker", &other, "SELECT picky(1) + other.picky(2)"]), "3");
}

#[test]
fn a_plan_is_text() {
    let place = Place::new();
    place.file("in.csv", "lat,lon\n1,2\n");
    let query = "EXPLAIN SELECT distance_miles(lat, lon, 0, 0) FROM 'in.csv'";
    let plan = place.sql(&[query]).done();
    assert!(plan.starts_with("logical_plan:\n"), "{plan}");
    assert!(plan.contains("WorkerExec: distance_miles("), "{plan}");
    assert!(plan.contains("worker=anyudf, sessions="), "{plan}");
}

#[test]
fn stats_tell_of_rows_calls_and_processes() {
    let place = Place::new();
    place.file("in.csv", "n\n0\n1\n2\n");
    let ran = place.sql(&["--stats", "SELECT sum(distance_miles(n, n, n, n)) FROM 'in.csv'"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let lines: Vec<&str> = ran.err.lines().collect();
    assert!(lines[0].starts_with("3 rows in, 1 row out in "), "{lines:?}");
    assert!(lines[1].contains(": 3 rows in 1 batch ("), "{lines:?}");
    assert!(lines[2].contains("in 1 process"), "{lines:?}");
}

#[test]
fn what_can_t_be_done_is_said_before_anything_is() {
    let place = Place::new();
    place.file("in.csv", "n,s\n1,a\n");
    for (query, says) in [
        ("SELEC 1", "this is no SQL: Expected: an SQL statement, found: SELEC"),
        ("SELECT * FROM numbers", "--table NAME=PATH"),
        ("SELECT * FROM 'on.csv'", "there is no file `on.csv`; did you mean `./in.csv`?"),
        ("SELECT distance_mile(1, 2, 3, 4)", "Did you mean 'distance_miles'?"),
        (
            "SELECT distance_miles(n) FROM 'in.csv'",
            "`distance_miles` takes 4 arguments, and 1 is given; it is distance_miles(",
        ),
        (
            "SELECT distance_miles(n, n, n, s) FROM 'in.csv'",
            "argument 4 (`lon2`) of `distance_miles` is Float64, and Utf8",
        ),
    ] {
        place.sql(&[query]).failed(2, &[says]);
        place.sql(&[query, "--output", "out.csv"]).failed(2, &[says]);
    }
    assert_eq!(place.listing(), ["in.csv"]);
}

/// A bad row, a worker that dies, and results that do not fit: exit code 1, the function, the row, and no file.
#[test]
fn what_fails_on_the_way_leaves_nothing() {
    let place = Place::new();
    place.file("in.csv", "n\n0\n5\n-1\n");
    place.file("dead.csv", "n\n-3\n");
    let odd = odd::worker("odd");
    for (query, says) in [
        ("SELECT picky(n) FROM 'in.csv'", &["function `picky` failed", "minus one is not welcome", "[UNWELCOME]"][..]),
        ("SELECT picky(n) FROM 'dead.csv'", &["function `picky`", "these are my last words"]),
        (
            "SELECT doubles(n) FROM 'in.csv'",
            &["function `doubles` returned", "a scalar function returns a value for each row"],
        ),
        ("SELECT swallows(n) FROM 'in.csv'", &["function `swallows` returned 0 results for the 3 rows"]),
    ] {
        place.sql(&["--worker", &odd, query, "--output", "out.parquet"]).failed(1, says);
    }
    place.sql(&["--worker", "no-such-program", "SELECT 1"]).failed(1, &["cannot start worker `no-such-program`"]);
    place.sql(&["--worker", &odd::worker("plain"), "SELECT 1"]).failed(1, &["does not tell its functions"]);
    assert_eq!(place.listing(), ["dead.csv", "in.csv"]);
}

/// R9, E13: Ctrl-C cancels the query, which the function hears.
#[test]
fn r9_a_signal_cancels_the_query() {
    let place = Place::new();
    let witness = Witness::new(&place);
    place.file("in.csv", "n\n1\n");
    let worker = witness.worker();
    let query = "SELECT * FROM holds((SELECT n FROM 'in.csv'))";
    let mut command = place.command(["sql", "--worker", &worker, query, "--output", "out.csv"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts");
    let mut function = witness.held();
    kill_process(Pid::from_child(&child), Signal::INT).expect("it runs");
    assert_eq!(function.next(), Some(b'C'), "the function was told");
    let ran = place.finish(child.wait_with_output().expect("it ends"));
    assert_eq!((ran.code, ran.err.as_str()), (Some(130), "interrupted\n"));
    assert_eq!(place.listing(), ["in.csv", "witness"], "no output file");
}

#[test]
fn a_reader_that_has_enough_ends_it_quietly() {
    let place = Place::new();
    let query = "SELECT * FROM generate_series(1, 100000000)";
    let mut command = place.command(["sql", query, "--output-format", "csv"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts");
    drop(child.stdout.take());
    let ran = place.finish(child.wait_with_output().expect("it ends"));
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    assert!(fs::read_dir(place.directory.path()).expect("it is there").next().is_none());
}
