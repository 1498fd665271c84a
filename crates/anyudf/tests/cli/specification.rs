//! Worker specifications: written, checked, and run.

use std::fs;
use std::io::Write;
use std::process::Stdio;

use crate::odd;
use crate::support::{DISTANCE, Place, rows, sample, text};

/// The binary under test, which is a worker too.
const ANYUDF: &str = env!("CARGO_BIN_EXE_anyudf");

impl Place {
    /// `anyudf spec new` with these flags and this command, into a file; returns its name.
    fn specification(&self, flags: &[&str], command: &[&str]) -> String {
        let name = format!("worker-{}.json", self.listing().len());
        let line = [&["spec", "new", "--output", &name], flags, &["--"], command].concat();
        assert_eq!(self.anyudf(line).done(), "");
        name
    }
}

/// The main job: the bundled worker, by a specification.
#[test]
fn a_specification_is_written_checked_and_run() {
    let place = Place::new();
    for (flags, on) in [(&["--reuse", "--concurrent"][..], "a Unix socket"), (&["--tcp"], "a TCP port")] {
        let name = place.specification(flags, &[ANYUDF, "worker"]);
        let said = place.anyudf(["spec", "check", &name]).done();
        assert!(said.starts_with(&format!("{name} is a good worker specification: `{ANYUDF}` on {on}")), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");

        let functions = place.anyudf(["functions", "--worker", &name]).done();
        assert!(functions.contains("distance_miles"), "{functions}");
        let output = place.path("out.parquet");
        let files = ["--worker", &name, "--input", &sample(), "--output", text(&output), "--force"];
        place.run(&DISTANCE.join(" "), &files).done();
        assert_eq!(rows(&output).num_rows(), 120_000);
    }
}

/// Without `--output` it goes to standard output, and `check` takes it from standard input.
#[test]
fn a_specification_goes_through_a_pipe() {
    let place = Place::new();
    let json = place.anyudf(["spec", "new", "--init-timeout", "1.5s", "--", "serve", "--port=1"]).done();
    for part in ["\"serve\"", "\"--port=1\"", "\"initializationTimeoutMs\": 1500", "\"unixDomainSocket\": {}"] {
        assert!(json.contains(part), "{part}: {json}");
    }
    let mut command = place.command(["spec", "check", "-"]);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
    child.stdin.take().expect("it is a pipe").write_all(json.as_bytes()).expect("it is read");
    let said = place.finish(child.wait_with_output().expect("it ends")).done();
    assert!(said.starts_with("standard input is a good worker specification: `serve`"), "{said}");
    assert!(said.contains("1.5s to start"), "{said}");
}

#[test]
fn a_file_that_exists_is_left_alone() {
    let place = Place::new();
    let path = place.file("worker.json", "precious");
    let line = ["spec", "new", "--output", "worker.json", "--", "serve"];
    place.anyudf(line).failed(2, &["worker.json", "exists", "--force"]);
    assert_eq!(fs::read_to_string(&path).expect("it is there"), "precious");
    place.anyudf(["spec", "new", "--force"].iter().chain(&line[2..])).done();
    place.anyudf(["spec", "check", "worker.json"]).done();
    assert_eq!(place.listing(), ["worker.json"]);
}

#[test]
fn what_would_be_no_good_is_not_written() {
    let place = Place::new();
    let refused = |flags: &[&str], command: &[&str], says: &[&str]| {
        let line = ["spec", "new", "--output", "worker.json"].iter().chain(flags).chain(&["--"]).chain(command);
        place.anyudf(line).failed(2, says);
    };
    refused(&[], &["serve", "--id", "1"], &["direct.runner.arguments[0]", "--id"]);
    refused(&[], &[""], &["direct.runner.command[0]", "empty"]);
    refused(&[], &[], &["<COMMAND>"]);
    refused(&["--env", "=x"], &["serve"], &["no name"]);
    refused(&["--env", "A=1", "--env", "hush"], &["serve"], &["--env 2", "NAME=VALUE"]);
    refused(&["--verify", "true"], &["serve"], &["--install"]);
    refused(&["--install", "'open"], &["serve"], &["--install", "quote"]);
    refused(&["--cleanup", " "], &["serve"], &["--cleanup", "empty"]);
    refused(&["--init-timeout", "soon"], &["serve"], &["--init-timeout"]);
    assert_eq!(place.listing(), Vec::<String>::new());
}

/// D1: all faults, one a line; and what is no specification, at its place.
#[test]
fn d1_check_tells_all_faults() {
    let place = Place::new();
    place.file("worker.json", r#"{"direct": {"runner": {"command": ["serve", "--id"], "arguments": ["hush"]}}}"#);
    let ran = place.anyudf(["spec", "check", "worker.json"]);
    let faults: Vec<_> = ran.err.lines().skip(1).map(|line| line.split(": ").next().unwrap_or_default()).collect();
    assert_eq!(faults, ["  capabilities", "  direct.runner.command[1]", "  direct.properties.connection"]);
    assert!(!ran.err.contains("hush"), "{}", ran.err);
    ran.failed(1, &["worker.json can't be used (D1)"]);

    place.file("worker.json", "{\"direct\": {\n  \"runer\": \"hush\"}}");
    let ran = place.anyudf(["spec", "check", "worker.json"]);
    assert!(!ran.err.contains("hush"), "{}", ran.err);
    ran.failed(1, &["`worker.json`: line 2, column 9: direct: ", "\"runer\"", "`runner`"]);
    place.file("worker.json", [0xff, 0xfe]);
    place.anyudf(["spec", "check", "worker.json"]).failed(1, &["not UTF-8"]);
    place.anyudf(["spec", "check", "nowhere.json"]).failed(2, &["nowhere.json", "No such file"]);
    place.anyudf(["spec", "check"]).failed(2, &["<FILE>"]);
}

/// D1: nothing is started by a specification that is no good.
#[test]
fn d1_a_faulty_specification_starts_nothing() {
    let place = Place::new();
    let touch = r#"{"command": ["touch", "started"]}"#;
    let cases = [
        (format!(r#"{{"direct": {{"runner": {touch}}}}}"#), 1, "direct.properties.connection"),
        (format!(r#"{{"direct": {{"runner": {touch}, "propertys": {{}}}}}}"#), 1, "\"propertys\""),
    ];
    for command in ["functions", "run --function count_rows"] {
        for (json, code, says) in &cases {
            place.file("my worker.json", json);
            let line = command.split(' ').chain(["--worker", "my worker.json"]);
            place.anyudf(line).failed(*code, &["my worker.json", says]);
        }
        let line = command.split(' ').chain(["--worker", "nowhere.json"]);
        place.anyudf(line).failed(2, &["nowhere.json", "No such file"]);
        fs::remove_file(place.path("my worker.json")).expect("it was there");
        assert!(place.listing().is_empty(), "nothing was started");
    }
}

/// D3: the environment is prepared before the first worker and cleaned up after the last; a verification that succeeds
/// spares the installation, an installation that fails is the error.
#[test]
fn d3_the_environment_is_prepared_and_cleaned_up() {
    let place = Place::new();
    let worker = [ANYUDF, "worker"];
    let flags = ["--install", "touch installed", "--cleanup", "touch cleaned"];
    let name = place.specification(&flags, &worker);
    let output = place.path("out.parquet");
    let files = ["--worker", &name, "--input", &sample(), "--output", text(&output)];
    place.run(&DISTANCE.join(" "), &files).done();
    assert_eq!(place.listing(), ["cleaned", "installed", "out.parquet", &name]);
    fs::remove_file(place.path("installed")).expect("it was there");

    let name = place.specification(&["--install", "touch installed", "--verify", "true"], &worker);
    place.anyudf(["functions", "--worker", &name]).done();
    assert!(!place.path("installed").exists(), "it was there already");

    let name = place.specification(&["--install", "sh -c 'echo no such wheel; exit 7'"], &worker);
    place.anyudf(["functions", "--worker", &name]).failed(1, &["installation", "exit status: 7", "no such wheel"]);
}

/// The worker gets the arguments, the variables and the transport that its specification names.
#[test]
fn a_worker_is_started_as_its_specification_says() {
    let place = Place::new();
    let script = r#"echo "$GREETING, $*"; exit 3"#;
    let command = ["sh", "-c", script, "sh", "--one", "two words"];
    let name = place.specification(&["--tcp", "--env", "GREETING=hello=you"], &command);
    let ran = place.anyudf(["functions", "--worker", &name]);
    let port = ran.err.rsplit(" --connection ").next().and_then(|rest| rest.split_whitespace().next());
    assert!(port.is_some_and(|port| port.parse::<u16>().is_ok()), "{}", ran.err);
    ran.failed(1, &["exit status: 3", "hello=you, --one two words --id "]);

    // A worker of another kind: this test binary, told by a variable what to be.
    let program = std::env::current_exe().expect("this binary has a path");
    let words = [text(&program), "--exact", "odd::the_worker_that_tests_start", "--nocapture", "--"];
    let name = place.specification(&["--env", &format!("{}=odd", odd::MODE)], &words);
    assert!(place.anyudf(["functions", "--worker", &name]).done().contains("picky"));
}

/// D2: the timeout of the specification is kept, and a flag goes before it.
#[test]
fn d2_a_flag_goes_before_what_the_specification_says() {
    let place = Place::new();
    // It would sleep for longer than any test may take.
    let sleeper = ["sh", "-c", "exec sleep 600", "sh"];
    let name = place.specification(&["--init-timeout", "150ms"], &sleeper);
    place.anyudf(["functions", "--worker", &name]).failed(1, &["150ms", "never bound", "--start-timeout"]);
    let name = place.specification(&["--init-timeout", "10m"], &sleeper);
    let ran = place.anyudf(["functions", "--worker", &name, "--start-timeout", "200ms"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.err.contains("did not answer within 200ms"), "{}", ran.err);

    // Said when it is cut, and good all the same.
    let ran = place.anyudf(["spec", "check", &name]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.err.contains("WARN") && ran.err.contains("600s") && ran.err.contains("maximum of 30s"), "{}", ran.err);
    assert!(ran.out.contains("with 30s to start"), "{}", ran.out);
}

/// D13: with everything logged that can be, nothing of a specification but the program is seen.
#[test]
fn d13_no_secret_of_a_specification_is_printed() {
    let place = Place::new();
    let secrets = ["--env", "TOKEN=hush", "--init-timeout", "1h"];
    let worker = place.specification(&secrets, &[ANYUDF, "worker", "--unknown=hush"]);
    let failing = place.specification(&secrets, &["sh", "-c", "exit 3", "hush"]);
    let absent = place.specification(&secrets, &["no-such-worker", "hush"]);
    let environment = ["--install", "test hush", "--cleanup", "test hush"];
    let prepared = place.specification(&[&secrets[..], &environment].concat(), &["serve", "hush"]);
    let faulty =
        r#"{"direct": {"runner": {"command": ["serve", "--id", "hush"], "environmentVariables": {"A=hush": "hush"}}}}"#;
    place.file("faulty.json", faulty);
    place
        .file("broken.json", r#"{"direct": {"runner": {"arguments": "hush", "environmentVariables": {"A": "hush"}}}}"#);
    for name in [&worker, &failing, &absent, &prepared, "faulty.json", "broken.json"] {
        for line in [&["spec", "check", name][..], &["functions", "--worker", name]] {
            let ran = place.anyudf(["-vv"].iter().chain(line));
            assert!(!ran.out.contains("hush") && !ran.err.contains("hush"), "{line:?}: {ran:?}");
        }
    }
}

/// D10: the pool's bounds can be set by flags.
#[test]
fn d10_flags_bound_the_pool() {
    let place = Place::new();
    let files = ["--input", &sample(), "--output", "out.parquet", "--jobs", "3", "--stats"];
    let bounds = ["--sessions-per-worker", "1", "--worker-max-sessions", "1", "--worker-max-age", "1h"];
    let more = ["--heartbeat", "1s", "--idle-limit", "30s", "--worker-wait", "20s", "--worker-memory", "1GiB"];
    let ran = place.run(&DISTANCE.join(" "), &[&files[..], &bounds, &more].concat());
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.err.contains("4 sessions in 4 processes;"), "one for the catalog, and one a job: {}", ran.err);

    let bounds = ["--worker-memory", "1MiB", "--heartbeat", "1ms", "--batch-rows", "50"];
    let files = ["--input", &sample(), "--output", "never.parquet"];
    let ran = place.run(&DISTANCE.join(" "), &[&files[..], &bounds].concat());
    ran.failed(1, &["MiB of memory, more than it may", "(D10)"]);
}
