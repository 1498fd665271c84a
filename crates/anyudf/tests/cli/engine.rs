//! The driver of our own engine, against the bundled worker: what it reports, scenario by scenario.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::{Place, text};

/// Nothing here takes this long.
const PATIENCE: Duration = Duration::from_secs(30);

/// The bundled worker, at a socket of its own.
struct Worker {
    place: Place,
    child: Child,
}

impl Worker {
    fn start() -> Self {
        let place = Place::new();
        let socket = place.path("w");
        let mut command = place.command(["worker", "--id", "x", "--connection", text(&socket)]);
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the binary starts");
        let began = Instant::now();
        while let Err(error) = UnixStream::connect(&socket) {
            assert!(began.elapsed() < PATIENCE, "nobody listens: {error}");
            std::thread::yield_now();
        }
        Worker { place, child }
    }

    /// What the driver reports of a scenario, a line each, the same in a row counted. It is told as soon as it has reported
    /// `tell`, at once when that is nothing.
    fn reports(&self, scenario: &str, tell: Option<&str>) -> Vec<String> {
        let socket = self.place.path("w");
        let mut command = self.place.command(["engine", "--connection", text(&socket), "--scenario", scenario]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary starts");
        let mut told = child.stdin.take().expect("it is a pipe");
        let mut tell_now = |wanted: Option<&str>| {
            if tell.is_some() && tell == wanted {
                told.write_all(b"now\n").expect("it listens");
            }
        };
        tell_now(Some(""));
        let mut reports: Vec<(String, usize)> = Vec::new();
        for line in BufReader::new(child.stdout.take().expect("it is a pipe")).lines() {
            let report = shown(&line.expect("what is printed is UTF-8"));
            tell_now(Some(&report));
            match reports.last_mut() {
                Some((last, count)) if *last == report => *count += 1,
                _ => reports.push((report, 1)),
            }
        }
        let output = child.wait_with_output().expect("it ends");
        let errors = String::from_utf8(output.stderr).expect("what is printed is UTF-8");
        assert_eq!((output.status.code(), errors.as_str()), (Some(0), ""), "{scenario}: {reports:?}");
        let counted = |(report, count)| if count > 1 { format!("{report} x{count}") } else { report };
        reports.into_iter().map(counted).collect()
    }

    fn end(mut self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).expect("it runs");
        self.child.wait().expect("it ends");
        assert_eq!(self.place.processes(), Vec::<String>::new(), "processes are left");
    }
}

/// A report without the numbers that vary.
fn shown(line: &str) -> String {
    let report: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"));
    let word = |name: &str| report[name].as_str().unwrap_or_else(|| panic!("no `{name}`: {line}"));
    let data = || match (report["bytes"].as_u64(), report["crc32"].as_u64()) {
        (None, None) => String::new(),
        (Some(3), Some(2_053_932_785)) => " one".into(),
        (Some(3), Some(298_486_374)) => " two".into(),
        (Some(5), Some(1_187_371_253)) => " three".into(),
        (Some(bytes), Some(crc32)) => format!(" {bytes} {crc32}"),
        _ => panic!("one without the other: {line}"),
    };
    let event = match word("event") {
        event @ ("init" | "data") => format!("{event}{}", data()),
        "rows" => format!("rows {}", report["rows"]),
        "done" => {
            assert!(report["metrics"]["bytes_in"].as_str().is_some_and(|n| n.parse::<u64>().is_ok()), "{line}");
            format!("done {}{}", report["metrics"]["status"].as_str().unwrap_or_default(), data())
        }
        "error" => {
            assert!(!word("message").is_empty(), "{line}");
            format!("error {} {}", word("call"), word("kind"))
        }
        "closed" => {
            let again = if report["reusable"] == true { "" } else { ", for good" };
            format!("closed {}{again}", word("termination"))
        }
        other => panic!("no such event as `{other}`: {line}"),
    };
    match report["session"].as_str() {
        Some(session) => format!("{session} {event}"),
        None => event,
    }
}

/// E1, E2, E7, E8, E9, E12, E13, C1: every flow and every action, with a worker that is right.
#[test]
fn e1_e2_e7_e8_e9_e12_e13_c1_a_right_worker_is_reported_as_it_is() {
    let worker = Worker::start();
    let echo = "init, data one, data two, data three, done ok, closed finished";
    // The scenario; what it has reported when it is told; what it reports. What stands in brackets may be missing.
    for (scenario, tell, reports) in [
        ("echo", None, echo),
        ("nothing", None, "init, done ok, closed finished"),
        ("held/finish", Some("data one"), "init, data one, done ok, closed finished"),
        ("held/fail", Some("data one"), "init, data one, error source source, closed cancelled"),
        ("held/cancel", Some("data one"), "init, data one, error read cancelled, closed cancelled"),
        ("held/cancel-twice", Some("data one"), "init, data one, error read cancelled, closed cancelled"),
        ("held/close", Some("data one"), "init, data one, error read cancelled, closed cancelled"),
        ("held/drop", Some("data one"), "init, data one, closed cancelled"),
        ("held/interrupt", Some("data one"), "init, data one, error read cancelled, closed cancelled"),
        ("open", Some("init"), "init, closed cancelled"),
        ("open/cancel", Some("init"), "init, closed cancelled"),
        ("open/close", Some("init"), "init, closed cancelled"),
        ("open/drop", Some("init"), "init, closed cancelled"),
        ("unopened/cancel", Some(""), "error init cancelled, closed cancelled"),
        ("unopened/close", Some(""), "error init cancelled, closed cancelled"),
        ("unread", Some("init"), "init, data one, done ok, closed finished"),
        ("flood", None, "init, data 16384 2874462854 x4096, done ok, closed finished"),
        ("init-twice", None, "init, error init misuse, data one, data two, data three, done ok, closed finished"),
        ("process-first", None, "error process misuse, init, data one, data two, data three, done ok, closed finished"),
        ("process-twice", None, "init, data one, data two, data three, done ok, error process misuse, closed finished"),
        (
            "afterwards",
            None,
            "init, data one, data two, data three, done ok, closed finished, done ok, closed finished",
        ),
        ("source-fails", None, "init, [data one], error source source, closed cancelled"),
        ("source-fails-at-once", None, "init, error source source, closed cancelled"),
        ("payload/2500000", None, echo),
        ("everything", None, echo),
        ("rows/5", None, "init, rows 5, done ok, closed finished"),
        ("idle", None, echo),
        ("pipelined", None, echo),
    ] {
        let reported = worker.reports(scenario, tell).join(", ");
        let full = reports.replace(['[', ']'], "");
        let least = reports.split(", ").filter(|report| !report.starts_with('[')).collect::<Vec<_>>().join(", ");
        assert!(reported == full || reported == least, "{scenario}: {reported}");
    }
    // Both at once: each in its order.
    let reported = worker.reports("two", Some("b closed finished"));
    let of = |session: &str| {
        reported.iter().filter_map(|report| report.strip_prefix(session)).collect::<Vec<_>>().join(", ")
    };
    assert_eq!(of("a "), "init, data one, done ok, closed finished");
    assert_eq!(of("b "), echo);
    worker.end();
}

/// A worker that is not there is reported, as everything that comes of a scenario.
#[test]
fn a_worker_that_is_not_there_is_reported() {
    let place = Place::new();
    let nowhere = place.path("nobody");
    let reports = place.anyudf(["engine", "--connection", text(&nowhere), "--scenario", "echo"]).done();
    assert_eq!(
        reports.lines().map(shown).collect::<Vec<_>>(),
        ["error init transport", "closed transport-failed, for good"]
    );
}

/// What can't be meant is refused before anything is done.
#[test]
fn what_is_no_scenario_is_refused() {
    let place = Place::new();
    let run = |line: &str| place.anyudf(["engine"].into_iter().chain(line.split_whitespace()));
    run("--connection w --scenario ehco").failed(2, &["ehco", "echo, echo/cancel", "payload/N"]);
    run("--connection w --scenario echo/drop").failed(2, &["echo/drop", "held/drop"]);
    run("--connection 0 --scenario echo").failed(2, &["--connection", "P2"]);
    run("--connection w").failed(2, &["--scenario"]);
    run("--scenario echo").failed(2, &["--connection"]);
}
