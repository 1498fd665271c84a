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

#[test]
fn cases_are_listed_and_selected() {
    let place = Place::new();
    let all = place.anyudf(["conformance", "--list"]).done();
    assert!(all.lines().count() > 150 && all.contains("cases for workers"), "{all}");
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
