//! "Bad input gets a clear error, and nothing is lost": no panic, no hang, no process, socket or half file left.

use std::fs;

use crate::odd::{self, Witness};
use crate::support::{DISTANCE, Place, sample, text};

/// Runs over four coordinates in a CSV file, into a file that must not come into being.
fn refused(lines: &str, line: &str, code: i32, says: &[&str]) {
    let place = Place::new();
    let input = place.file("in.csv", lines);
    let output = place.path("out.parquet");
    place.run(line, &["--input", text(&input), "--output", text(&output)]).failed(code, says);
    assert_eq!(place.listing(), ["in.csv"], "nothing new");
}

const COORDINATES: &str = "lat1,lon1,lat2,lon2,name\n1,2,3,4,x\n";

#[test]
fn an_unknown_function_lists_near_names() {
    refused(
        COORDINATES,
        "--function distnace_miles --args lat1,lon1,lat2,lon2",
        2,
        &["distnace_miles", "`distance_miles`"],
    );
    refused(COORDINATES, "--function zzz", 2, &["`zzz`", "`count_rows`", "`explode_words`", "anyudf functions"]);
}

#[test]
fn a_wrong_argument_count_says_what_is_taken() {
    let line = "--function distance_miles --args lat1,lon1,lat2";
    refused(COORDINATES, line, 2, &["takes 4 arguments", "lon2 Float64", "--args gives 3"]);
    refused(COORDINATES, "--function distance_miles", 2, &["takes 4 arguments", "--args gives 0"]);
}

#[test]
fn a_wrong_type_names_the_column_and_both_types() {
    let line = "--function distance_miles --args lat1,lon1,lat2,name";
    refused(COORDINATES, line, 2, &["`name`", "Utf8", "Float64", "`lon2`", "--types"]);
}

#[test]
fn a_missing_column_lists_near_names() {
    refused(COORDINATES, "--function distance_miles --args lat1,lon1,lat2,lom2", 2, &["`lom2`", "`lon2`"]);
}

#[test]
fn a_new_column_never_hides_one_that_is_there() {
    let line = "--function distance_miles --args lat1,lon1,lat2,lon2 --as name";
    refused(COORDINATES, line, 2, &["`name` already", "--as"]);
}

#[test]
fn flags_that_make_no_sense_are_said_so() {
    refused(COORDINATES, "--function count_rows --options [1]", 2, &["--options", "object"]);
    refused(COORDINATES, "--function count_rows --options {", 2, &["--options", "JSON"]);
    refused(COORDINATES, "--function count_rows", 2, &["returns no rows", "--output"]);
    refused(COORDINATES, "--function generate_series", 2, &["makes its own rows", "--input"]);
    refused(COORDINATES, "--function echo_batches --as x", 2, &["--as"]);
    refused(COORDINATES, "--function echo_batches --kind scalar", 2, &["of kind map, not scalar"]);
    refused(COORDINATES, "--function echo_batches --args lat1,,lon1", 2, &["--args", "name 2 is empty"]);
    refused(COORDINATES, "--function echo_batches --jobs 0", 2, &["--jobs"]);
    refused(COORDINATES, "--function echo_batches --jobs 9999", 2, &["--jobs 9999"]);
    refused(COORDINATES, "--function echo_batches --call-timeout soon", 2, &["--call-timeout"]);
    Place::new().run("--function echo_batches", &[]).failed(2, &["needs rows", "--input"]);
}

#[test]
fn options_that_do_not_fit_are_the_functions_to_refuse() {
    let place = Place::new();
    place
        .run(r#"--function generate_series --options {"stop":"x"}"#, &[])
        .failed(1, &["generate_series", "BAD_OPTIONS"]);
}

#[test]
fn truncated_and_foreign_files_are_named() {
    let place = Place::new();
    let whole = fs::read(sample()).expect("the sample is checked in");
    let output = place.path("out.csv");
    for length in [whole.len() / 2, whole.len() - 1, 100] {
        let input = place.file("in.parquet", &whole[..length]);
        let ran = place.run(&DISTANCE.join(" "), &["--input", text(&input), "--output", text(&output)]);
        ran.failed(1, &["in.parquet"]);
    }
    let input = place.file("in.parquet", "a,b\n1,2\n");
    place.run(&DISTANCE.join(" "), &["--input", text(&input), "--output", text(&output)]).failed(1, &["in.parquet"]);
    assert_eq!(place.listing(), ["in.parquet"]);
    place.run("--function count_rows", &["--input", "nowhere.csv"]).failed(2, &["nowhere.csv", "no such file"]);
}

/// The input failing in the middle: the function is cancelled, and no part of the result appears (E8).
#[test]
fn e8_an_input_that_breaks_in_the_middle_leaves_no_output() {
    let mut lines = String::from("n\n");
    (0..40_000).for_each(|n| lines.push_str(&format!("{n}\n")));
    lines.push_str("surprise\n");
    refused(&lines, "--function echo_batches --batch-rows 1000", 1, &["in.csv", "40002", "surprise"]);
}

#[test]
fn a_full_disk_is_said_so() {
    let place = Place::new();
    let more = ["--input", &sample(), "--output", "/dev/full", "--output-format", "csv"];
    place.run(&DISTANCE.join(" "), &more).failed(1, &["/dev/full", "no space left"]);
}

/// Also what is printed says where it could not go.
#[test]
fn a_full_standard_output_is_said_so() {
    let place = Place::new();
    let file = place.file("worker.json", place.anyudf(["spec", "new", "--", "worker"]).done());
    let count = ["run", "--function", "count_rows", "--input", &sample()];
    let bench = ["bench", "echo", "--only", "bytes", "--rounds", "1"];
    for line in [&["functions"][..], &["spec", "check", text(&file)], &count, &bench] {
        let full = fs::File::options().write(true).open("/dev/full").expect("Linux has one");
        let output = place.command(line).stdout(full).output().expect("the binary starts");
        place.finish(output).failed(1, &["standard output", "no space left on device; free some space"]);
    }
}

/// A limit of the shell's (`ulimit -f`) is an error like a full disk: nothing is left of the file.
#[test]
fn a_file_that_may_not_grow_is_said_so() {
    let place = Place::new();
    let anyudf = place.command(["run"].iter().chain(&DISTANCE));
    let mut limited = std::process::Command::new("sh");
    limited.args(["-c", "ulimit -f 100; exec \"$0\" \"$@\""]).arg(anyudf.get_program()).args(anyudf.get_args());
    limited.args(["--input", &sample(), "--output", text(&place.path("out.csv"))]);
    limited.envs(anyudf.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let ran = place.finish(limited.output().expect("the shell starts"));
    ran.failed(1, &["out.csv", "file too large", "ulimit -f"]);
    assert!(place.listing().is_empty(), "no part of it");
}

#[test]
fn a_directory_that_takes_no_files_is_said_so() {
    let files = ["--input", &sample(), "--output", "/proc/out.csv"];
    Place::new().run(&DISTANCE.join(" "), &files).failed(2, &["/proc/out.csv", "nobody make a file in /proc"]);
}

#[test]
fn an_output_that_exists_is_refused_and_left_alone() {
    let place = Place::new();
    let output = place.file("out.csv", "precious");
    let more = ["--input", &sample(), "--output", text(&output)];
    place.run(&DISTANCE.join(" "), &more).failed(2, &["out.csv", "exists", "--force"]);
    assert_eq!(fs::read_to_string(&output).expect("it is there"), "precious");
    // With --force too, until there is a whole result.
    let input = place.file("in.csv", "n\n1\nx\n");
    let more = ["--input", text(&input), "--types", "n=int", "--output", text(&output)];
    place.run("--function echo_batches --force", &more).failed(1, &["in.csv"]);
    assert_eq!(fs::read_to_string(&output).expect("it is there"), "precious");
}

#[test]
fn a_worker_that_does_not_exist_is_said_so() {
    refused(COORDINATES, "--function f --worker no-such-worker", 1, &["no-such-worker", "no such program"]);
    let place = Place::new();
    let ran = place.anyudf(["functions", "--worker", "no-such-worker"]);
    assert!(!ran.err.contains("os error"), "it is said once: {}", ran.err);
    ran.failed(1, &["no-such-worker", "no such program"]);
}

#[test]
fn a_worker_that_exits_at_once_is_quoted() {
    let place = Place::new();
    let worker = "sh -c 'echo first; echo oh no >&2; exit 3' sh";
    let ran = place.run("--function f", &["--worker", worker, "--input", &sample()]);
    ran.failed(1, &["exit status: 3", "oh no"]);
}

#[test]
fn a_worker_that_never_binds_is_given_up() {
    let place = Place::new();
    // It would sleep for longer than any test may take.
    let worker = "sh -c 'exec sleep 600' sh";
    let ran = place.run("--function f --start-timeout 200ms", &["--worker", worker, "--input", &sample()]);
    ran.failed(1, &["200ms", "never bound", "--start-timeout"]);
}

#[test]
fn a_worker_that_answers_garbage_is_not_believed() {
    let (place, worker) = (Place::new(), odd::worker("garbage"));
    let (input, output) = (place.file("in.csv", "n\n1\n"), place.path("out.csv"));
    let files = ["--worker", &worker, "--input", text(&input), "--output", text(&output)];
    place.run("--function picky --args n", &files).failed(1, &["picky", "a batch from the worker"]);
    assert_eq!(place.listing(), ["in.csv"]);
}

#[test]
fn a_worker_that_speaks_another_language_is_given_up() {
    let (place, worker) = (Place::new(), odd::worker("rubbish"));
    let files = ["--worker", &worker, "--input", &sample()];
    place.run("--function f --start-timeout 300ms", &files).failed(1, &["300ms", "answered no call"]);
}

/// P7: a row that no message can hold is named, with its size.
#[test]
fn p7_a_row_too_large_is_named() {
    let place = Place::new();
    let input = place.file("in.csv", format!("text\nsmall\n{}\n", "x".repeat(100_000)));
    let files = ["--input", text(&input), "--output", "out.csv"];
    let says = ["`echo_batches`", "batch 1 of the input", "100", "65", "--max-message-bytes"];
    place.run("--function echo_batches --max-message-bytes 64KiB", &files).failed(1, &says);
    assert_eq!(place.listing(), ["in.csv"]);
}

/// Numbers up to 99,999 with one odd one far from the beginning, for the function `picky`.
fn picky(odd_one: &str, more: &str, says: &[&str]) {
    let (place, worker) = (Place::new(), odd::worker("odd"));
    let mut lines = String::from("n\n");
    (0..100_000).for_each(|n| lines.push_str(&if n == 70_000 { format!("{odd_one}\n") } else { format!("{n}\n") }));
    let (input, output) = (place.file("in.csv", lines), place.path("out.parquet"));
    let files = ["--worker", &worker, "--input", text(&input), "--output", text(&output)];
    place.run(&format!("--args n --batch-rows 1000 {more}"), &files).failed(1, says);
    assert_eq!(place.listing(), ["in.csv"], "no partial output");
}

/// Each error says what failed and where.
#[test]
fn a_function_that_fails_says_where() {
    picky(
        "-1",
        "--function picky --jobs 3",
        &["`picky`", "minus one is not welcome", "UNWELCOME", "rows 70001 to 71000"],
    );
}

#[test]
fn a_function_that_panics_fails_and_the_rest_is_told_with_v() {
    picky("-2", "--function picky", &["minus two is too much", "batch 71", "-v shows where"]);
}

#[test]
fn a_worker_that_dies_in_the_middle_leaves_no_partial_output() {
    picky("-3", "--function picky --jobs 2", &["`picky`", "exit status: 7", "these are my last words"]);
}

/// C11: a call that takes too long fails with what was called, and the run ends although the function does not.
#[test]
fn c11_a_call_that_takes_too_long_is_given_up() {
    let place = Place::new();
    let witness = Witness::new(&place);
    let (worker, input) = (witness.worker(), place.file("in.csv", "n\n1\n"));
    let files = ["--worker", &worker, "--input", text(&input), "--output", "out.csv"];
    let ran = place.run("--function stubborn --call-timeout 50ms", &files);
    ran.failed(1, &["`stubborn`", "CALL_TIMEOUT", "process", "50", "--call-timeout"]);
    assert_eq!(place.listing(), ["in.csv", "witness"]);
}

#[test]
fn a_scalar_function_that_miscounts_is_found_out() {
    picky("0", "--function doubles", &["`doubles`", "2000 rows for the 1000 of batch"]);
    picky(
        "0",
        "--function swallows --jobs 1",
        &["`swallows`", "too few rows for batch 1 of the input (rows 1 to 1000)"],
    );
}

/// C9: a worker that announces other columns in its later sessions than in the first is told so, whichever the first is.
#[test]
fn c9_sessions_that_announce_different_columns_are_found_out() {
    for more in ["--jobs 3", "--jobs 3 --repeatable"] {
        fickle("floats", more, "(c0 Float64)");
        fickle("nothing", more, "()");
        fickle("pairs", more, "(c0 Int64, c1 Utf8)");
    }
    fickle("fickle_map", "--jobs 3", "(c0 Int64, c1 Utf8)");
}

/// Runs a function whose first session returns a column of whole numbers, and the later ones these columns.
fn fickle(function: &str, more: &str, later: &str) {
    let (place, worker) = (Place::new(), odd::worker("odd"));
    let lines: String = (0..20).map(|n| format!("{n}\n")).collect();
    let (input, output) = (place.file("in.csv", format!("n\n{lines}")), place.path("out.parquet"));
    let files = ["--worker", &worker, "--input", text(&input), "--output", text(&output)];
    let name = format!("`{function}`");
    let says = [&name, "one session", "(c0 Int64)", later, "another"];
    place.run(&format!("--function {function} --args n --batch-rows 1 {more}"), &files).failed(1, &says);
    assert_eq!(place.listing(), ["in.csv"], "no output");
}
