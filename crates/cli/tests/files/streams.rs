//! Pipes and the standard streams, with this test binary as the program at the other end.

use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::{env, process, thread};

use anyudf_cli::files::Kind;
use arrow::array::{ArrayRef, Int64Array, StringArray};
use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::*;

const ROLE: &str = "ANYUDF_FILES_TEST";

/// What the child does: copies one file to another, and ends as the command would.
#[test]
fn child() {
    let Ok(role) = env::var(ROLE) else { return };
    let [input, input_format, output, output_format] = role.split(' ').collect::<Vec<_>>().try_into().unwrap();
    let format = |name: &str| (name != "?").then(|| name.parse().unwrap());
    let copy = || {
        let input =
            Input::open(Path::new(input), &InputOptions { format: format(input_format), ..InputOptions::default() })?;
        let options = OutputOptions { format: format(output_format), ..to(Path::new(output)) };
        let mut output = options.create(Arc::clone(input.schema()))?;
        for batch in input {
            output.write(&batch?)?;
        }
        output.commit()
    };
    let code = match copy() {
        Ok(_) => 0,
        Err(error) => {
            eprintln!("error: {error}");
            match error.kind() {
                Kind::Usage => 2,
                Kind::BrokenPipe => 3,
                _ => 1,
            }
        }
    };
    // At once, so that the harness adds nothing to standard output.
    process::exit(code);
}

/// The command line of a child; `shell` is put before it.
fn command(shell: &str, role: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("{shell} exec \"$0\" \"$@\"")]).arg(env::current_exe().unwrap());
    command.args(["streams::child", "--exact", "--nocapture", "--quiet"]).env(ROLE, role);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// What a child left: exit code, standard output after the harness's line, standard error.
fn end(child: Child) -> (Option<i32>, Vec<u8>, String) {
    let output = child.wait_with_output().unwrap();
    let head = b"running 1 test\n";
    let start = output.stdout.windows(head.len()).position(|at| at == head).map_or(0, |at| at + head.len());
    (output.status.code(), output.stdout[start..].to_vec(), String::from_utf8(output.stderr).unwrap())
}

fn rows(count: i64) -> RecordBatch {
    let id: ArrayRef = Arc::new(Int64Array::from_iter_values(0..count));
    let text: ArrayRef =
        Arc::new(StringArray::from_iter_values((0..count).map(|id| format!("{:x}", id * 0x9e37_79b9))));
    RecordBatch::try_from_iter_with_nullable([("id", id, true), ("text", text, true)]).unwrap()
}

#[test]
fn every_format_goes_through_the_standard_streams() {
    let place = Place::new();
    for name in NAMES {
        let path = place.path(name);
        write(&path, &[rows(20_000)]);
        let bytes = fs::read(&path).unwrap();
        let format = format_of(name);
        let mut child = command("", &format!("- {format} - {format}")).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let feeder = thread::spawn(move || stdin.write_all(&bytes));
        let (code, stdout, stderr) = end(child);
        feeder.join().unwrap().unwrap();
        assert_eq!((code, stderr.as_str()), (Some(0), ""), "{name}");
        let copy = place.with(&format!("copy-{name}"), stdout);
        assert_eq!(cells(&read(&copy).unwrap()), cells(&rows(20_000)), "{name}");
    }
}

#[test]
fn standard_input_may_be_a_file_and_need_no_format() {
    let place = Place::new();
    for name in ["a.parquet", "a.arrow", "a.arrows", "a.ndjson"] {
        let path = place.path(name);
        write(&path, &[rows(10)]);
        let copy = place.path(&format!("copy-{name}"));
        let file = fs::File::open(&path).unwrap();
        let child = command("", &format!("- ? {} ?", copy.display())).stdin(file).spawn().unwrap();
        assert_eq!(end(child), (Some(0), vec![], String::new()), "{name}");
        assert_eq!(read(&copy).unwrap(), rows(10), "{name}");
    }
    let child = command("", "- ? - csv").stdin(Stdio::null()).spawn().unwrap();
    let (code, _, stderr) = end(child);
    assert_eq!(code, Some(2));
    assert!(
        stderr.starts_with("error: standard input: neither the name nor the first bytes tell the format"),
        "{stderr}"
    );
}

#[test]
fn a_named_pipe_is_read_and_written_straight() {
    let place = Place::new();
    let pipe = |name: &str| {
        let path = place.path(name);
        mknodat(CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        path
    };
    let (input, output) = (pipe("in.parquet"), pipe("out.csv"));
    write(&place.path("a.parquet"), &[rows(5000)]);
    let bytes = fs::read(place.path("a.parquet")).unwrap();
    let child = command("", &format!("{} ? {} ?", input.display(), output.display())).spawn().unwrap();
    let feeder = thread::spawn(move || fs::write(input, bytes));
    let mut text = String::new();
    fs::File::open(&output).unwrap().read_to_string(&mut text).unwrap();
    feeder.join().unwrap().unwrap();
    assert_eq!(end(child), (Some(0), vec![], String::new()));
    assert_eq!(text.lines().count(), 5001);
    assert_eq!(place.names(), ["a.parquet", "in.parquet", "out.csv"]);
}

#[test]
fn a_reader_that_goes_away_is_told_apart() {
    let place = Place::new();
    write(&place.path("a.parquet"), &[rows(100_000)]);
    for format in NAMES.map(format_of) {
        let mut child = command("", &format!("{} ? - {format}", place.path("a.parquet").display())).spawn().unwrap();
        drop(child.stdout.take());
        let (code, _, stderr) = end(child);
        // The harness itself writes a line to the closed pipe, and says so if it comes first.
        assert!(
            code == Some(3) && stderr.contains("standard output: the reader has gone") || code == Some(101),
            "{code:?} {stderr}"
        );
    }
}

#[test]
fn standard_output_that_is_a_file_is_appended_to_by_any_name() {
    let place = Place::new();
    write(&place.path("a.parquet"), &[rows(2)]);
    for name in ["-", "/dev/stdout"] {
        let log = place.with("log", "before\n");
        let file = fs::File::options().append(true).open(&log).unwrap();
        let role = format!("{} ? {name} csv", place.path("a.parquet").display());
        let child = command("", &role).stdout(file).spawn().unwrap();
        assert_eq!(end(child).0, Some(0));
        let text = fs::read_to_string(&log).unwrap();
        assert!(text.starts_with("before\n") && text.ends_with("id,text\n0,0\n1,9e3779b9\n"), "{text}");
    }
}

#[test]
fn a_file_that_cannot_grow_leaves_nothing_behind() {
    let place = Place::new();
    write(&place.path("a.csv"), &[rows(100_000)]);
    let names = place.names();
    for name in NAMES {
        let output = place.path(&format!("out-{name}"));
        let role = format!("{} ? {} ?", place.path("a.csv").display(), output.display());
        // The signal is ignored, so that the limit is an error as a full disk is.
        let child = command("trap '' XFSZ; ulimit -f 8;", &role).spawn().unwrap();
        let (code, _, stderr) = end(child);
        assert_eq!(code, Some(1), "{name}: {stderr}");
        assert!(stderr.contains(&format!("out-{name}: cannot be written after")), "{stderr}");
        assert!(stderr.contains("file too large"), "{stderr}");
        assert_eq!(place.names(), names, "{name}");
    }
}

#[test]
fn a_pipe_that_ends_early_is_noticed() {
    let place = Place::new();
    for name in ["a.parquet", "a.arrow"] {
        let path = place.path(name);
        write(&path, &[rows(20_000)]);
        let bytes = fs::read(&path).unwrap();
        let copy = place.path(&format!("copy-{name}"));
        let role = format!("- {} {} ?", format_of(name), copy.display());
        let mut child = command("", &role).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let feeder = thread::spawn(move || {
            // The child may have seen enough before all of it is written.
            let _ = stdin.write_all(&bytes[..bytes.len() / 2]);
        });
        let (code, _, stderr) = end(child);
        feeder.join().unwrap();
        assert_eq!(code, Some(1));
        assert!(stderr.starts_with("error: standard input: the "), "{stderr}");
        assert!(!copy.exists());
    }
}
