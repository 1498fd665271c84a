//! The commands beside `run`.

use std::process::Stdio;

use serde_json::Value;

use crate::odd;
use crate::support::Place;

#[test]
fn functions_are_listed_for_people() {
    let place = Place::new();
    let out = place.anyudf(["functions"]).done();
    let line = |name: &str| out.lines().find(|line| line.starts_with(name)).map(str::to_owned).unwrap_or_default();
    assert!(line("NAME").contains("ARGUMENTS"), "{out}");
    assert!(
        line("distance_miles").contains("lat1 Float64, lon1 Float64, lat2 Float64, lon2 Float64  Float64"),
        "{out}"
    );
    assert!(line("count_rows").contains("any columns"), "{out}");
    assert!(out.contains("great-circle"), "one line of help: {out}");
}

#[test]
fn functions_are_listed_for_programs() {
    let place = Place::new();
    let out = place.anyudf(["functions", "--json", "--worker", &odd::worker("odd")]).done();
    let lines: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let picky = lines.iter().find(|line| line["name"] == "picky").expect("it is served");
    assert_eq!((&picky["kind"], &picky["arguments"][0]["type"]), (&"scalar".into(), &"Int64".into()));
    assert_eq!(lines.iter().find(|line| line["name"] == "holds").expect("it is served")["arguments"], Value::Null);
}

#[test]
fn a_worker_without_a_catalog_says_how_to_run_it() {
    let place = Place::new();
    place.anyudf(["functions", "--worker", &odd::worker("plain")]).failed(1, &["no catalog", "--kind"]);
}

/// P1: what the worker does not know it ignores, and --help is what it is asked for by people.
#[test]
fn p1_the_worker_has_help_and_ignores_the_rest() {
    let place = Place::new();
    let help = place.anyudf(["worker", "--unknown=1", "--help"]).done();
    for flag in ["--connection", "--id", "--grace", "--standalone", "--max-sessions", "--max-message-bytes"] {
        assert!(help.contains(flag), "{flag}: {help}");
    }
    place.anyudf(["worker", "--verbose=3"]).failed(2, &["--connection"]);
}

/// A reader that goes away in the middle is no reason to panic.
#[test]
fn a_benchmark_that_nobody_reads_ends_quietly() {
    let place = Place::new();
    let mut command = place.command("bench echo --json --only bytes --batch-bytes 1KiB --rounds 1".split(' '));
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts");
    drop(child.stdout.take());
    let ran = place.finish(child.wait_with_output().expect("it ends"));
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
}

/// The benchmark's lines have the promised names, at one size, in a short run.
#[test]
fn the_benchmark_prints_one_object_a_line() {
    let place = Place::new();
    let line = "bench echo --json --only bytes,arrow --batch-bytes 64KiB --rounds 1";
    let out = place.anyudf(line.split(' ')).done();
    let lines: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines.iter().map(|line| &line["mode"]).collect::<Vec<_>>(), ["raw", "bytes", "arrow"]);
    for line in &lines {
        assert_eq!(line["batch_bytes"], 65_536);
        for name in ["gib_per_s", "raw_socket_gib_per_s", "ratio_to_raw_socket"] {
            assert!(line[name].as_f64().is_some_and(|value| value > 0.0), "{name}: {line}");
        }
    }
}
