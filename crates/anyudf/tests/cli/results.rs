//! What comes out when everything goes well.

use std::fs::{self, File};
use std::process::Stdio;

use arrow::array::AsArray;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type};

use crate::odd;
use crate::support::{DISTANCE, Place, rows, sample, text};

/// The main job: a scalar function over real flights, in order, beside an independent answer.
#[test]
fn the_distance_of_every_flight_is_within_two_percent_of_the_published() {
    let place = Place::new();
    let (input, output) = (sample(), place.path("out.parquet"));
    place.run(&DISTANCE.join(" "), &["--input", &input, "--output", text(&output)]).done();
    let (before, after) = (rows(input.as_ref()), rows(&output));
    assert_eq!(after.schema().fields().last().map(|field| field.name().as_str()), Some("miles"), "it comes last");
    assert_eq!(after.num_rows(), 120_000);
    assert_eq!(after.project(&(0..before.num_columns()).collect::<Vec<_>>()).expect("columns"), before, "in order");
    let column = |name| cast(after.column_by_name(name).expect("a column"), &DataType::Float64).expect("numbers");
    let (miles, published) = (column("miles"), column("distance"));
    let pairs = miles.as_primitive::<Float64Type>().iter().zip(published.as_primitive::<Float64Type>());
    for (row, pair) in pairs.enumerate() {
        let (Some(miles), Some(published)) = pair else { panic!("row {row} has no distance") };
        assert!((miles - published).abs() <= 0.02 * published, "row {row}: {miles} for {published}");
    }
}

/// Splitting a scalar function over sessions and batches of any size does not change its answer.
#[test]
fn jobs_and_batches_do_not_change_the_answer() {
    let place = Place::new();
    let answer = |jobs: &str, batch_rows: &str| {
        let more = ["--input", &sample(), "--output", "-", "--output-format", "csv"];
        let split = ["--jobs", jobs, "--batch-rows", batch_rows];
        place.run(&DISTANCE.join(" "), &[&more[..], &split].concat()).done()
    };
    let one = answer("1", "1000000");
    assert_eq!(one.lines().count(), 120_001);
    for (jobs, batch_rows) in [("4", "65536"), ("4", "1000"), ("7", "333"), ("1", "64")] {
        assert!(answer(jobs, batch_rows) == one, "{jobs} jobs, {batch_rows} rows a batch");
    }
}

#[test]
fn nulls_and_whole_numbers_become_what_sql_makes_of_them() {
    let place = Place::new();
    let lines = "name,a,b,c,d\nsame,10,20.5,10,20.5\nnull,1,,3,4\nquarter,0,0,0,90\n";
    let input = place.file("in.csv", lines);
    let line = "--function distance_miles --args a,b,c,d --as miles --output - --output-format csv";
    let out = place.run(line, &["--input", text(&input)]).done();
    let miles: Vec<_> = out.lines().map(|line| line.rsplit(',').next().unwrap_or_default()).collect();
    assert_eq!(miles[..3], ["miles", "0.0", ""]);
    let quarter: f64 = miles[3].parse().expect("a number");
    assert!((quarter - 3958.7613 * std::f64::consts::FRAC_PI_2).abs() < 1e-6, "{quarter}");
}

/// Every format in which a result can be written can be read again, and holds the same.
#[test]
fn every_format_is_written_and_read_again() {
    let place = Place::new();
    let input = place.file("in.ndjson", "{\"n\":1,\"s\":\"a\"}\n{\"s\":\"b,\\\"c\"}\n{\"n\":3,\"s\":\"\\u00e9\"}\n");
    let mut from = input;
    for extension in ["parquet", "csv", "tsv", "arrow", "arrows", "ndjson"] {
        let to = place.path(&format!("out.{extension}"));
        place.run("--function echo_batches", &["--input", text(&from), "--output", text(&to)]).done();
        from = to;
    }
    assert_eq!(rows(&from), rows(&place.path("in.ndjson")));
}

#[test]
fn standard_streams_are_files_too() {
    let place = Place::new();
    let input = place.file("in.csv", "n\n1\n2\n");
    let mut command = place.command(["run", "--function", "echo_batches", "--input", "-", "--input-format", "csv"]);
    command.args(["--output", "-", "--output-format", "ndjson"]);
    command.stdin(Stdio::from(File::open(input).expect("it was written")));
    let ran = place.finish(command.output().expect("the binary starts"));
    assert_eq!(ran.done(), "{\"n\":1}\n{\"n\":2}\n");
}

#[test]
fn a_map_returns_rows_of_its_own() {
    let place = Place::new();
    let input = place.file("in.csv", "id,text\n1,to be or\n2,\n3,not\n");
    let line = "--function explode_words --args text --output - --output-format csv";
    let out = place.run(line, &["--input", text(&input)]).done();
    assert_eq!(out, "word,position\nto,1\nbe,2\nor,3\nnot,1\n");
}

#[test]
fn a_map_gets_all_columns_unless_told_and_may_be_split() {
    let place = Place::new();
    let (one, four) = (place.path("one.parquet"), place.path("four.parquet"));
    let input = sample();
    place.run("--function echo_batches", &["--input", &input, "--output", text(&one)]).done();
    assert_eq!(rows(&one), rows(input.as_ref()), "one session keeps the order");
    let line = "--function echo_batches --args distance --jobs 4 --batch-rows 1000";
    place.run(line, &["--input", &input, "--output", text(&four)]).done();
    let sum = |path| {
        let rows = rows(path);
        let distance = cast(rows.column_by_name("distance").expect("a column"), &DataType::Int64).expect("numbers");
        assert_eq!(rows.num_rows(), 120_000);
        arrow::compute::sum(distance.as_primitive::<arrow::datatypes::Int64Type>())
    };
    assert_eq!(sum(&one), sum(&four), "no row is lost, none is doubled");
    assert_eq!(rows(&four).num_columns(), 1);
}

#[test]
fn a_table_function_needs_no_input() {
    let place = Place::new();
    let line = r#"--function generate_series --options {"start":5,"stop":1,"step":-2} --output - --output-format csv"#;
    assert_eq!(place.run(line, &[]).done(), "value\n5\n3\n1\n");
}

#[test]
fn a_sink_prints_its_result() {
    let place = Place::new();
    assert_eq!(place.run("--function count_rows", &["--input", &sample()]).done(), "120000\n");
}

#[test]
fn no_rows_in_are_no_rows_out() {
    let place = Place::new();
    let input = place.file("in.csv", "a,b,c,d\n");
    let output = place.path("out.arrow");
    let types = ["--types", "a=double,b=double,c=double,d=double"];
    let files = ["--input", text(&input), "--output", text(&output)];
    place.run("--function distance_miles --args a,b,c,d", &[&files[..], &types].concat()).done();
    let rows = rows(&output);
    assert_eq!((rows.num_rows(), rows.num_columns()), (0, 5));
    assert_eq!(rows.schema().field(4).name(), "distance_miles", "the name without --as");
}

#[test]
fn without_an_output_the_first_rows_are_shown() {
    let place = Place::new();
    let out = place.run(&DISTANCE.join(" "), &["--input", &sample()]).done();
    assert!(out.contains("| miles"), "{out}");
    assert!(out.ends_with("… 119,960 more rows\n"), "{out}");
}

#[test]
fn an_output_is_replaced_with_force() {
    let place = Place::new();
    let input = place.file("in.csv", "n\n1\n");
    let output = place.file("out.csv", "precious");
    let files = ["--input", text(&input), "--output", text(&output)];
    place.run("--function echo_batches --force", &files).done();
    assert_eq!(fs::read_to_string(&output).expect("it is there"), "n\n1\n");
}

/// A worker that never heard of catalogs runs all the same: as a map, or as --kind says.
#[test]
fn a_worker_without_a_catalog_runs_as_it_is_told() {
    let place = Place::new();
    let input = place.file("in.csv", "n,m\n1,x\n2,y\n");
    let worker = odd::worker("plain");
    let line = "--function picky --args n --output - --output-format csv";
    let run = |more: &[&str]| place.run(line, &[&["--worker", &worker, "--input", text(&input)], more].concat()).done();
    assert_eq!(run(&[]), "picky\n1\n2\n");
    assert_eq!(run(&["--kind", "scalar", "--as", "p"]), "n,m,p\n1,x,1\n2,y,2\n");
}

#[test]
fn the_stats_say_rows_time_and_memory() {
    let place = Place::new();
    let ran = place.run("--function count_rows --stats", &["--input", &sample()]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), "120000\n"));
    for what in ["120,000 rows in", "rows/s", "peak memory", "here", "in the worker"] {
        assert!(ran.err.contains(what), "{what}: {}", ran.err);
    }
}

/// A batch without rows is none too many.
#[test]
fn batches_without_rows_change_nothing() {
    let (place, worker) = (Place::new(), odd::worker("odd"));
    let input = place.file("in.csv", "n\n1\n2\n3\n");
    let files = ["--worker", &worker, "--input", text(&input), "--output", "-", "--output-format", "csv"];
    for more in ["", "--repeatable"] {
        let line = format!("--function pads --args n --as m --batch-rows 2 --jobs 1 {more}");
        assert_eq!(place.run(&line, &files).done(), "n,m\n1,1\n2,2\n3,3\n");
    }
}
