//! Ctrl-C and SIGTERM: by order, not by time.

use std::io::Write;
use std::process::{Child, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::odd::Witness;
use crate::support::{Place, text};

fn send(child: &Child, signal: Signal) {
    let pid = Pid::from_child(child);
    kill_process(pid, signal).expect("it runs");
}

/// E9, E13: the first signal sends Cancel, which the function hears; there is no output file, and the exit code says so.
#[test]
fn e9_e13_the_first_signal_cancels_cleanly() {
    for signal in [Signal::INT, Signal::TERM] {
        let place = Place::new();
        let witness = Witness::new(&place);
        let (input, output) = (place.file("in.csv", "n\n1\n"), place.path("out.csv"));
        let worker = witness.worker();
        let files = ["--input", text(&input), "--output", text(&output)];
        let child = place.start(&[&["--function", "holds", "--worker", &worker], &files[..]].concat());
        let mut function = witness.held();
        send(&child, signal);
        assert_eq!(function.next(), Some(b'C'), "the function was told");
        let ran = place.finish(child.wait_with_output().expect("it ends"));
        assert_eq!(function.next(), None, "the worker is gone");
        assert_eq!((ran.code, ran.err.as_str(), ran.out.as_str()), (Some(130), "interrupted\n", ""));
        assert_eq!(place.listing(), ["in.csv", "witness"], "no output file");
    }
}

/// The second signal does not wait for a function that ignores Cancel, and leaves nothing all the same (D7).
#[test]
fn d7_the_second_signal_ends_it_at_once() {
    let place = Place::new();
    let witness = Witness::new(&place);
    let input = place.file("in.csv", "n\n1\n");
    let worker = witness.worker();
    let files = ["--input", text(&input), "--output", "out.csv"];
    let child = place.start(&[&["--function", "stubborn", "--worker", &worker], &files[..]].concat());
    let mut function = witness.held();
    send(&child, Signal::INT);
    assert_eq!(function.next(), Some(b'C'), "the first one was heard");
    send(&child, Signal::INT);
    assert_eq!(function.next(), None, "the worker is gone");
    let ran = place.finish(child.wait_with_output().expect("it ends"));
    assert_eq!((ran.code, ran.err.as_str()), (Some(130), "interrupted\n"));
    assert_eq!(place.listing(), ["in.csv", "witness"]);
}

/// A signal while nothing but the input is waited for.
#[test]
fn a_silent_pipe_is_no_reason_to_stay() {
    let place = Place::new();
    let witness = Witness::new(&place);
    let worker = witness.worker();
    let stdin = ["--input", "-", "--input-format", "csv", "--types", "n=bigint", "--batch-rows", "1"];
    let mut child = place.start(&[&["--function", "holds", "--worker", &worker], &stdin[..]].concat());
    // Enough to look at and to pass on; the rest never comes.
    let mut pipe = child.stdin.take().expect("it is a pipe");
    let lines: String = (0..200_000).map(|n| format!("{n}\n")).collect();
    let feed = std::thread::spawn(move || {
        // The other end may be gone before everything is written.
        let _ = pipe.write_all(b"n\n").and_then(|()| pipe.write_all(lines.as_bytes()));
        pipe
    });
    let mut function = witness.held();
    send(&child, Signal::INT);
    assert_eq!(function.next(), Some(b'C'));
    let ran = place.finish(child.wait_with_output().expect("it ends"));
    assert_eq!(ran.code, Some(130), "{}", ran.err);
    drop(feed.join());
}

/// A reader that has had enough, as `head` has, ends the run quietly.
#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let place = Place::new();
    let more = ["--options", r#"{"stop":9000000000000}"#, "--output", "-", "--output-format", "csv"];
    let mut child = place.start(&[&["--function", "generate_series"], &more[..]].concat());
    drop(child.stdout.take());
    let ran = place.finish(child.wait_with_output().expect("it ends"));
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
}

/// Ctrl-C while a worker is measured leaves neither its process nor its socket.
#[test]
fn a_bench_that_is_interrupted_leaves_nothing() {
    let place = Place::new();
    let anyudf = env!("CARGO_BIN_EXE_anyudf");
    let line = ["conformance", "--bench", "--json", "--bench-time", "1h", "--", "sh", "-c"];
    // The worker runs, and so the bench does, once somebody has written to the pipe.
    let up = place.path("up");
    rustix::fs::mkfifoat(rustix::fs::CWD, &up, rustix::fs::Mode::RWXU).expect("a pipe");
    let script = r#"echo up > "$1"; program=$0; shift; exec "$program" worker "$@""#;
    let mut command = place.command(line.into_iter().chain([script, anyudf, text(&up)]));
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().expect("the binary starts");
    assert_eq!(std::fs::read_to_string(&up).expect("the worker writes to it"), "up\n");
    send(&child, Signal::INT);
    let ran = place.finish(child.wait_with_output().expect("it ends"));
    assert_eq!((ran.code, ran.err.as_str(), ran.out.as_str()), (Some(130), "interrupted\n", ""));
}
