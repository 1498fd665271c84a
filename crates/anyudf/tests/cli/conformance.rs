//! The conformance kit, as its users see it: against the bundled worker, and against what is none.

use std::fs;

use serde_json::Value;

use crate::support::{Place, Ran, text};

/// The binary under test, which is a worker too.
const ANYUDF: &str = env!("CARGO_BIN_EXE_anyudf");

impl Ran {
    /// Cases fail, which is told at the end.
    fn fails(self) {
        assert_eq!(self.code, Some(1), "{self:?}");
        assert!(self.err.starts_with("error: ") && self.err.contains("must hold"), "{}", self.err);
    }
}

/// Every must holds for the bundled worker, with everything declared; and all of it is told to people and to machines.
#[test]
fn the_bundled_worker_conforms() {
    let place = Place::new();
    let (junit, functions) = (place.path("report.xml"), place.path("functions.toml"));
    let batches = "[functions]\nbatches = { format = \"function\", payload = '{\"function\": \"echo_batches\"}' }\n";
    fs::write(&functions, batches).expect("it can be written");
    let offers = ["conformance", "--offer", "all", "--capabilities", text(&functions)];
    let line = ["--json", "--junit", text(&junit), "--", ANYUDF, "worker"];
    let said = place.anyudf([&offers[..], &line].concat()).done();
    let outcomes: Vec<Value> =
        said.lines().map(|line| serde_json::from_str(line).expect("one object a line")).collect();
    assert!(outcomes.len() >= 150, "{} cases", outcomes.len());
    for outcome in &outcomes {
        for field in ["case", "level", "outcome", "detail"] {
            assert!(outcome[field].is_string(), "{outcome}");
        }
        assert!(outcome["rules"].as_array().is_some_and(|rules| !rules.is_empty()), "{outcome}");
        assert!(outcome["ms"].is_u64(), "{outcome}");
        // The exit code speaks of musts; ours is to hold in the rest, too. What the machine lacks nobody can try.
        let untried = outcome["detail"].as_str().is_some_and(|why| why.ends_with("which this machine does not have"));
        let good = if untried { "skip" } else { "pass" };
        assert!([good, "choice"].iter().any(|good| outcome["outcome"] == *good), "{outcome}");
    }
    let report = fs::read_to_string(junit).expect("it was written");
    assert_eq!(report.matches("<testcase ").count(), outcomes.len());
    assert!(report.contains(r#"failures="0""#) && !report.contains("<failure"), "{report}");
}

/// Every case holds for our own engine, with everything declared.
#[test]
fn our_engine_conforms() {
    let place = Place::new();
    let line = ["conformance", "--engine", "--offer", "all", "--json", "--", ANYUDF, "engine"];
    let said = place.anyudf(line).done();
    let outcomes: Vec<Value> =
        said.lines().map(|line| serde_json::from_str(line).expect("one object a line")).collect();
    assert!(outcomes.len() >= 60, "{} cases", outcomes.len());
    for outcome in &outcomes {
        assert!(["pass", "choice"].iter().any(|good| outcome["outcome"] == *good), "{outcome}");
    }
}

/// What is no driver fails each case, with what it said last and a way to begin.
#[test]
fn what_is_no_engine_fails_with_its_last_words() {
    let place = Place::new();
    let case = ["conformance", "--engine", "--run", "session/echo/three-batches", "--"];
    for (script, says) in [
        ("echo no idea >&2; exit 3", &["without opening a stream", "exit status: 3", "no idea"][..]),
        ("echo Hello", &["conformance-engine.md", "Hello"]),
        ("exit 0", &["without opening a stream"]),
    ] {
        let ran = place.anyudf(case.into_iter().chain(["/bin/sh", "-c", script]));
        assert!(says.iter().all(|part| ran.out.contains(part)), "{}", ran.out);
        ran.fails();
    }
    // What it leaves behind is ended, and no way to pass.
    let script = r#"sleep 600 & exec "$0" engine "$@""#;
    let ran = place.anyudf(case.into_iter().chain(["/bin/sh", "-c", script, ANYUDF]));
    assert!(ran.out.contains("left processes behind: sleep ("), "{}", ran.out);
    let (_, left) = ran.out.split_once("behind: sleep (").expect("it was seen just now");
    let pid = left.split(')').next().expect("a split has a first part");
    // Who reaps it is not ours to say.
    let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    assert!(state.is_empty() || state.contains(") Z "), "{left} {state}");
    ran.fails();
    let ran = place.anyudf(case.into_iter().chain(["/nowhere/at/all"]));
    assert!(ran.out.contains("is it installed"), "{}", ran.out);
    ran.fails();
    let workers = concat!(env!("CARGO_MANIFEST_DIR"), "/../conformance/cases/worker");
    let engines = concat!(env!("CARGO_MANIFEST_DIR"), "/../conformance/cases/engine");
    place.anyudf(["conformance", "--engine", "--cases", workers, "--", ANYUDF]).failed(2, &["no `scenario`"]);
    place.anyudf(["conformance", "--cases", engines, "--", ANYUDF]).failed(2, &["add `--engine`"]);
}

#[test]
fn cases_are_listed_and_selected() {
    let place = Place::new();
    let all = place.anyudf(["conformance", "--list"]).done();
    assert!(all.lines().count() > 210 && all.contains("cases for workers, "), "{all}");
    let engines = place.anyudf(["conformance", "--engine", "--list"]).done();
    assert!(engines.lines().count() > 60 && engines.contains("cases for engines"), "{engines}");
    let some = place.anyudf(["conformance", "--list", "--run", "execute/cancel", "--skip", "*/before-*"]).done();
    assert!(some.lines().count() > 5, "{some}");
    assert!(some.lines().rev().skip(1).all(|line| line.starts_with("execute/cancel/") && !line.contains("/before-")));
    place.anyudf(["conformance", "--run", "nothing/*", "--", ANYUDF, "worker"]).failed(2, &["no case", "--list"]);
    place.anyudf(["conformance"]).failed(2, &["<COMMAND>"]);
    place.anyudf(["conformance", "--offer", "magic", "--", ANYUDF]).failed(2, &["`magic`", "chunking"]);
    place.anyudf(["conformance", "--level", "may", "--list"]).failed(2, &["`may`", "should"]);
}

/// A worker that is none: each case says why, with the end of its output, and the run ends soon.
#[test]
fn what_is_no_worker_fails_with_its_last_words() {
    let place = Place::new();
    let only = ["conformance", "--run", "execute/echo", "--"];
    let run = |command: &[&str]| place.anyudf(only.iter().chain(command));
    for (command, says) in [
        (&["no-such-program"][..], "cannot start `no-such-program`"),
        (&["sh", "-c", "echo last words; exit 3"], "last words"),
        (&["sh", "-c", "echo last words; exit 3"], "exit status: 3"),
    ] {
        let ran = run(command);
        assert!(ran.out.contains(says), "{}", ran.out);
        ran.fails();
    }
}

/// After ten timeouts the rest is not run, and says so.
#[test]
fn a_run_against_silence_ends() {
    let place = Place::new();
    let line = ["conformance", "--start-timeout", "50ms", "--jobs", "4", "--json", "--", "sh", "-c", "exec sleep 600"];
    let ran = place.anyudf(line);
    let not_run = ran.out.lines().filter(|line| line.contains(r#""outcome":"not run""#)).count();
    assert!(not_run > 100, "{}", ran.out);
    assert!(ran.out.contains("did not answer a call"), "{}", ran.out);
    ran.fails();
}

/// Cases of one's own, known failures, and capabilities come from files; what is wrong in one is said with its place.
#[test]
fn files_of_ones_own_are_taken() {
    let place = Place::new();
    let mine = place.file(
        "mine.toml",
        r#"
[[case]]
name = "mine/wrong"
rules = ["S1"]
level = "must"
about = "echo answers something else"
script = """
> init
< init-response
> data "a"
< data "b"
"""
"#,
    );
    let line = |more: &[&str]| {
        let line = [&["conformance", "--cases", text(&mine)], more, &["--", ANYUDF, "worker"]].concat();
        place.anyudf(line)
    };
    let failed = line(&[]);
    for says in
        ["FAIL    mine/wrong", "must: echo answers something else", "> data \"a\"", "< data \"a\"", "not \"b\"", "S1: "]
    {
        assert!(failed.out.contains(says), "{says}: {}", failed.out);
    }
    failed.fails();
    let known = place.file("known.txt", "mine/wrong  # on purpose\n");
    assert!(line(&["--known-failing", text(&known)]).done().contains("1 failures are known"));
    let slim = place.file("slim.toml", "[functions]\necho = { format = \"nothing\" }\n");
    assert!(line(&["--capabilities", text(&slim)]).out.contains("init-response error="));

    let broken = place.file(
        "broken.toml",
        "[[case]]\nname = \"x/y\"\nrules = []\nlevel = \"must\"\nabout = \"\"\nscript = \"> inti\"\n",
    );
    place
        .anyudf(["conformance", "--list", "--cases", text(&broken)])
        .failed(2, &["broken.toml", "x/y", "line 1", "`inti`"]);
    let odd = place.file("odd.toml", "offers = [\"magic\"]\n");
    line(&["--capabilities", text(&odd)]).failed(2, &["odd.toml", "magic"]);
    line(&["--capabilities", "none.toml"]).failed(2, &["none.toml"]);
}

/// Every measure is there, for people and for machines.
#[test]
fn the_bundled_worker_is_measured() {
    let place = Place::new();
    let bench = ["conformance", "--bench", "--bench-time", "500ms", "--offer", "test-functions"];
    let run = |more: &[&str]| place.anyudf(bench.iter().chain(more).chain(&["--", ANYUDF, "worker"])).done();
    let figures = run(&["--json"]);
    let figures: Vec<Value> =
        figures.lines().map(|line| serde_json::from_str(line).expect("one object a line")).collect();
    let positive = |figure: &Value, names: &[&str]| {
        for name in names {
            assert!(figure[name].as_f64().is_some_and(|number| number > 0.0), "{name}: {figure}");
        }
    };
    let (through, latencies) = figures.split_at(4);
    for (figure, size) in through.iter().zip([16 << 10, 256 << 10, 1 << 20, 4 << 20]) {
        assert_eq!((&figure["measure"], &figure["batch_bytes"]), (&"throughput".into(), &size.into()), "{figure}");
        positive(figure, &["gib_per_s", "raw_socket_gib_per_s", "ratio_to_raw_socket"]);
    }
    let names: Vec<_> = latencies.iter().map(|figure| figure["measure"].as_str().expect("a name")).collect();
    let all = ["warm_open", "heartbeat_idle", "heartbeat_under_load", "cancel_full_queue", "cold_start"];
    assert_eq!(names, all);
    latencies.iter().for_each(|figure| positive(figure, &["median_ms", "p99_ms", "max_ms", "samples"]));
    positive(&latencies[2], &["streams", "load_gib_per_s"]);
    assert_eq!(latencies[3]["behind"], "slow");
    positive(&latencies[3], &["queued_bytes"]);

    let table = run(&["--batch-bytes", "1KiB", "--window", "64KiB"]);
    for says in ["batches, each way", "\n1 KiB ", "raw socket", "median", "heartbeat under load", "cold start"] {
        assert!(table.contains(says), "{says}: {table}");
    }
}

/// A worker that can't be measured: what was tried, how it ended, what it printed last; and an end.
#[test]
fn a_worker_that_can_not_be_measured_says_why() {
    let place = Place::new();
    let nothing = place.file("nothing.toml", "[functions]\necho = { format = \"nothing\" }\n");
    let bench = |flags: &[&str], command: &[&str]| {
        let flags = ["conformance", "--bench"].iter().chain(flags);
        place.anyudf(flags.chain(&["--"]).chain(command))
    };
    bench(&[], &["no-such-program"]).failed(1, &["cannot start `no-such-program`"]);
    bench(&[], &["sh", "-c", "echo last words; exit 3"]).failed(1, &["last words", "exit status: 3"]);
    bench(&["--start-timeout", "50ms"], &["sh", "-c", "exec sleep 600"]).failed(1, &["did not answer a call"]);
    bench(&["--capabilities", text(&nothing)], &[ANYUDF, "worker"])
        .failed(1, &["throughput in batches of 16 KiB", "refused Init", "ProtocolError", "nothing", "--capabilities"]);
    bench(&["--batch-bytes", "2MiB"], &[ANYUDF, "worker", "--max-message-bytes", "1MiB"])
        .failed(1, &["throughput in batches of 2 MiB", "messages of 2 MiB (P7)"]);
    // One that dies while it works, since it has a second of the processor.
    let dies = r#"echo last words; ulimit -t 1; exec "$0" worker "$@""#;
    let killed = bench(&["--bench-time", "60s"], &["sh", "-c", dies, ANYUDF]);
    assert_eq!(killed.code, Some(1), "{killed:?}");
    for says in ["the worker has ended (signal", "last words"] {
        assert!(killed.err.contains(says), "{says}: {}", killed.err);
    }
}

#[test]
fn flags_of_cases_mean_nothing_to_a_bench() {
    let place = Place::new();
    for flags in [
        "--run x",
        "--skip x",
        "--level must",
        "--cases x",
        "--list",
        "--known-failing x",
        "--jobs 2",
        "--repeat 2",
        "--trace",
        "--junit x",
    ] {
        let line = ["conformance", "--bench"].into_iter().chain(flags.split(' ')).chain(["--", ANYUDF, "worker"]);
        let flag = flags.split(' ').next().expect("a flag");
        place.anyudf(line).failed(2, &["cannot be used with", "--bench", flag]);
    }
    for (flags, says) in [
        ("--bench-time 1s", "--bench"),
        ("--bench --window 1KiB", "a window of 1024 bytes"),
        ("--bench --window 8GiB", "to 1 GiB"),
        ("--bench --batch-bytes 16KiB,1", "batches of 1 bytes"),
        ("--bench --capabilities none.toml", "none.toml"),
    ] {
        let line = ["conformance"].into_iter().chain(flags.split(' ')).chain(["--", ANYUDF, "worker"]);
        place.anyudf(line).failed(2, &[says]);
    }
}
