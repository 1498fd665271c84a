//! Running the binary, and looking at what it left.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use anyudf_cli::files::{Input, InputOptions};
use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use tempfile::TempDir;

/// The variable that marks every process of one test, so that leftovers can be found.
const MARK: &str = "ANYUDF_TEST_MARK";

/// The flags that call the bundled scalar function over the sample.
pub(crate) const DISTANCE: [&str; 6] =
    ["--function", "distance_miles", "--args", "origin_lat,origin_lon,dest_lat,dest_lon", "--as", "miles"];

/// 120,000 real flights with the coordinates of their airports.
pub(crate) fn sample() -> String {
    concat!(env!("CARGO_MANIFEST_DIR"), "/../../data/flights-sample.parquet").into()
}

/// A directory to work in, another for sockets and temporary files, and a mark for the processes.
pub(crate) struct Place {
    pub(crate) directory: TempDir,
    temporary: TempDir,
    mark: String,
}

impl Place {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let mark = format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let directory = || tempfile::tempdir().expect("a temporary directory");
        Place { directory: directory(), temporary: directory(), mark }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes a file to be read.
    pub(crate) fn file(&self, name: &str, contents: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, contents).expect("the directory can be written");
        path
    }

    pub(crate) fn command<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_anyudf"));
        command.args(arguments).current_dir(self.directory.path()).stdin(Stdio::null());
        command.env(MARK, &self.mark).env("TMPDIR", self.temporary.path()).env_remove("RUST_LOG");
        command
    }

    /// Runs `anyudf` to its end, and makes sure that it left no process and no socket.
    pub(crate) fn anyudf<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Ran {
        self.finish(self.command(arguments).output().expect("the binary starts"))
    }

    /// `anyudf run` with the flags of a line and some more.
    pub(crate) fn run(&self, line: &str, more: &[&str]) -> Ran {
        self.anyudf(["run"].into_iter().chain(line.split_whitespace()).chain(more.iter().copied()))
    }

    /// Starts `anyudf run` with pipes to its standard streams.
    pub(crate) fn start(&self, arguments: &[&str]) -> Child {
        let mut command = self.command(["run"].iter().chain(arguments));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().expect("the binary starts")
    }

    /// What became of it, and that it left nothing.
    pub(crate) fn finish(&self, output: Output) -> Ran {
        assert_eq!(self.processes(), Vec::<String>::new(), "processes are left");
        assert_eq!(listing(self.temporary.path()), Vec::<String>::new(), "temporary files or sockets are left");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("what is printed is UTF-8");
        Ran { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }

    /// Processes with this place's mark in their environment. Dead ones that nobody has waited for are none.
    pub(crate) fn processes(&self) -> Vec<String> {
        let mark = format!("{MARK}={}", self.mark);
        let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
        let marked = |path: &Path| {
            let environment = fs::read(path.join("environ")).unwrap_or_default();
            environment.split(|&byte| byte == 0).any(|variable| variable == mark.as_bytes())
        };
        let marked = processes.flatten().map(|entry| entry.path()).filter(|path| marked(path));
        marked.map(|path| fs::read_to_string(path.join("comm")).unwrap_or_default()).collect()
    }

    /// The names in the directory to work in, sorted.
    pub(crate) fn listing(&self) -> Vec<String> {
        listing(self.directory.path())
    }
}

fn listing(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).expect("the directory is there");
    let mut names: Vec<_> = entries.flatten().map(|entry| entry.file_name().display().to_string()).collect();
    names.sort();
    names
}

/// What a command said, and its exit code.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    /// It did what it was asked to, and said nothing on stderr.
    pub(crate) fn done(self) -> String {
        assert_eq!((self.code, self.err.as_str()), (Some(0), ""), "{}", self.out);
        self.out
    }

    /// It failed with this code, and says each of these things on stderr.
    pub(crate) fn failed(self, code: i32, says: &[&str]) {
        assert_eq!(self.code, Some(code), "{self:?}");
        for what in says {
            assert!(self.err.contains(what), "`{what}` is missing from: {}", self.err);
        }
        assert!(self.err.starts_with("error: "), "{}", self.err);
        assert!(!self.err.contains("thread '"), "it panicked: {}", self.err);
        assert_eq!(self.out, "", "nothing is printed but the error");
    }
}

/// All rows of a file.
pub(crate) fn rows(path: &Path) -> RecordBatch {
    let input = Input::open(path, &InputOptions::default()).expect("what we wrote can be read");
    let schema = input.schema().clone();
    let batches: Vec<_> = input.collect::<Result<_, _>>().expect("what we wrote is whole");
    concat_batches(&schema, &batches).expect("batches of one schema")
}

/// The text of a path.
pub(crate) fn text(path: &Path) -> &str {
    path.to_str().expect("temporary directories have plain names")
}
