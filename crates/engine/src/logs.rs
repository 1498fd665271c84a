//! A worker's output: drained always, forwarded to the log, its end kept for error texts (D4, P5).

use std::collections::VecDeque;
use std::fmt;
use std::fs::File;
use std::io::{self, ErrorKind, PipeReader, PipeWriter, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{ChildStderr, ChildStdout};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

/// The target under which workers' output is logged.
const TARGET: &str = "anyudf_engine::worker";

/// Lines kept for error texts (D4), and the bytes that they may have together.
const MAX_LINES: usize = 50;
const MAX_BYTES: usize = 32 << 10;

/// Bytes of a line that are kept; the rest is counted.
const MAX_LINE: usize = 4 << 10;

/// Bytes read after the worker's death. Its own last words fit: a pipe holds 64 KiB. A process that left the group and
/// still writes must not hold the reader for ever.
const MAX_LAST_WORDS: usize = 1 << 20;

/// The last lines that a worker printed, on both streams in the order they were read.
#[derive(Clone, Default)]
pub(crate) struct Tail {
    lines: Arc<Mutex<Lines>>,
}

#[derive(Default)]
struct Lines {
    lines: VecDeque<Vec<u8>>,
    bytes: usize,
}

impl Tail {
    /// The lines, oldest first.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.lock().lines.iter().map(|line| printable(line)).collect()
    }

    fn push(&self, line: &[u8]) {
        let mut kept = self.lock();
        let mut space = Vec::new();
        while kept.lines.len() >= MAX_LINES || (kept.bytes + line.len() > MAX_BYTES && !kept.lines.is_empty()) {
            space = kept.lines.pop_front().unwrap_or_default();
            kept.bytes -= space.len();
        }
        space.clear();
        space.extend_from_slice(line);
        kept.bytes += line.len();
        kept.lines.push_back(space);
    }

    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Tail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tail(..)")
    }
}

/// Ends an error text: the last lines, or that there are none.
impl fmt::Display for Tail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = self.lines();
        if lines.is_empty() {
            return f.write_str("it printed nothing");
        }
        f.write_str("its last output:")?;
        lines.iter().try_for_each(|line| write!(f, "\n    {line}"))
    }
}

/// A thread that reads a worker's standard streams.
///
/// A thread and not a task: the worker must not stall on a full pipe while the engine's runtime is busy, blocked, or
/// gone. What does stall it is a `tracing` subscriber that blocks.
#[derive(Debug)]
pub(crate) struct Logs {
    thread: JoinHandle<()>,
    /// Closing it tells the thread that the worker is dead.
    alive: PipeWriter,
}

impl Logs {
    /// Reads until both streams end or [`finish`](Logs::finish) is called. Lines are kept in `tail` and logged with the
    /// worker's id: stderr as info, stdout as debug.
    ///
    /// # Errors
    /// When the system has no descriptor or thread left.
    pub(crate) fn drain(worker: &str, stdout: ChildStdout, stderr: ChildStderr, tail: Tail) -> io::Result<Self> {
        let (dead, alive) = io::pipe()?;
        let stdout = Source::new(Stream::Stdout, stdout.into(), worker, &tail)?;
        let stderr = Source::new(Stream::Stderr, stderr.into(), worker, &tail)?;
        let thread =
            thread::Builder::new().name("anyudf-output".into()).spawn(move || read_all(vec![stdout, stderr], &dead))?;
        Ok(Logs { thread, alive })
    }

    /// Takes what the worker, now dead, left in its pipes, and ends the thread. Does not wait for writers that are
    /// alive.
    pub(crate) fn finish(self) {
        drop(self.alive);
        // It fails if a subscriber panicked on a line: that is reported already, and the tail is what there is.
        let _ = self.thread.join();
    }
}

fn read_all(mut sources: Vec<Source>, dead: &PipeReader) {
    let mut buffer = vec![0; 64 << 10];
    while !sources.is_empty() {
        let mut ready: Vec<PollFd<'_>> =
            sources.iter().map(|source| PollFd::new(&source.pipe, PollFlags::IN)).collect();
        ready.push(PollFd::new(dead, PollFlags::IN));
        if poll(&mut ready, None).is_err_and(|error| error != rustix::io::Errno::INTR) {
            return;
        }
        let over = ready.last().is_some_and(|dead| !dead.revents().is_empty());
        let allowance = if over { MAX_LAST_WORDS } else { buffer.len() };
        sources.retain_mut(|source| source.read(&mut buffer, allowance));
        if over {
            sources.iter_mut().for_each(Source::close);
            return;
        }
    }
}

#[derive(Clone, Copy)]
enum Stream {
    Stdout,
    Stderr,
}

/// One of the two streams, and the line it is in.
struct Source {
    stream: Stream,
    pipe: File,
    line: Vec<u8>,
    cut: usize,
    worker: String,
    tail: Tail,
}

impl Source {
    fn new(stream: Stream, pipe: OwnedFd, worker: &str, tail: &Tail) -> io::Result<Self> {
        // Only our end: the worker's is another description, and stays as it expects it.
        fcntl_setfl(pipe.as_fd(), fcntl_getfl(pipe.as_fd())? | OFlags::NONBLOCK)?;
        Ok(Source { stream, pipe: pipe.into(), line: Vec::new(), cut: 0, worker: worker.into(), tail: tail.clone() })
    }

    /// Reads what is there, about `allowance` bytes at most, and says whether more may come.
    fn read(&mut self, buffer: &mut [u8], allowance: usize) -> bool {
        let mut taken = 0;
        while taken < allowance {
            match self.pipe.read(buffer) {
                Ok(0) => break,
                Ok(length) => {
                    taken += length;
                    self.take(&buffer[..length]);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
                Err(_) => break,
            }
        }
        let more = taken >= allowance;
        if !more {
            self.close();
        }
        more
    }

    fn take(&mut self, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|&byte| byte == b'\n') {
            let (text, ended) = match piece.split_last() {
                Some((b'\n', text)) => (text, true),
                _ => (piece, false),
            };
            let kept = text.len().min(MAX_LINE - self.line.len());
            self.line.extend_from_slice(&text[..kept]);
            self.cut += text.len() - kept;
            if ended {
                self.end_line();
            }
        }
    }

    /// The stream has ended: what there is of a line is one.
    fn close(&mut self) {
        if !self.line.is_empty() {
            self.end_line();
        }
    }

    fn end_line(&mut self) {
        if self.cut > 0 {
            self.line.extend_from_slice(format!(" [{} bytes cut]", self.cut).as_bytes());
        } else if self.line.last() == Some(&b'\r') {
            self.line.pop();
        }
        let (worker, line) = (&self.worker, &self.line);
        match self.stream {
            Stream::Stdout => tracing::debug!(target: TARGET, worker, "{}", printable(line)),
            Stream::Stderr => tracing::info!(target: TARGET, worker, "{}", printable(line)),
        }
        self.tail.push(line);
        self.line.clear();
        self.cut = 0;
    }
}

/// A line as text that cannot move a terminal's cursor or forge a second line.
fn printable(line: &[u8]) -> String {
    let visible = |c: char| if c.is_control() && c != '\t' { char::REPLACEMENT_CHARACTER } else { c };
    String::from_utf8_lossy(line).chars().map(visible).collect()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    /// What is kept of `pieces`, each of which is one read.
    fn tail(pieces: &[&[u8]]) -> Vec<String> {
        let (reader, _writer) = io::pipe().expect("a pipe");
        let tail = Tail::default();
        let mut source = Source::new(Stream::Stderr, reader.into(), "w", &tail).expect("a source");
        pieces.iter().for_each(|piece| source.take(piece));
        source.close();
        tail.lines()
    }

    /// D4: output is kept by lines, wherever the reads fall, and cannot forge lines or terminal commands.
    #[test]
    fn d4_lines_are_kept_wherever_reads_fall() {
        assert_eq!(tail(&[b"one\ntw", b"o\r\n\nlast"]), ["one", "two", "", "last"]);
        assert_eq!(tail(&[b"a\x1b[2Jb\tc\xff\n"]), ["a\u{fffd}[2Jb\tc\u{fffd}"]);
        assert!(tail(&[]).is_empty());
    }

    /// D4: an overlong line is cut and says by how much.
    #[test]
    fn d4_overlong_lines_are_cut() {
        let long = [b'x'; MAX_LINE + 10];
        assert_eq!(tail(&[&long, b"xx\nnext\n"]), ["x".repeat(MAX_LINE) + " [12 bytes cut]", "next".into()]);
    }

    /// D4: the last 50 lines are kept, fewer when they are long.
    #[test]
    fn d4_fifty_lines_are_kept() {
        let many: Vec<u8> = (0..200).flat_map(|line| format!("{line}\n").into_bytes()).collect();
        let kept = tail(&[&many]);
        assert_eq!(kept.len(), 50);
        assert_eq!((kept[0].as_str(), kept[49].as_str()), ("150", "199"));

        let long = [[b'y'; MAX_LINE].as_slice(), b"\n"].concat().repeat(50);
        assert_eq!(tail(&[&long]).len(), MAX_BYTES / MAX_LINE);
    }

    /// D4: after the worker's death its last words are read, and whoever still holds the pipe is not waited for.
    #[test]
    fn d4_last_words_are_read_and_living_writers_not_awaited() {
        let ((stdout, held), (stderr, mut writer)) = (io::pipe().expect("a pipe"), io::pipe().expect("a pipe"));
        let tail = Tail::default();
        let drain = |stdout: OwnedFd, stderr: OwnedFd| Logs::drain("w", stdout.into(), stderr.into(), tail.clone());
        let logs = drain(stdout.into(), stderr.into()).expect("a thread");
        writer.write_all(b"first\nlast words").expect("it is read");
        logs.finish();
        assert_eq!(tail.lines(), ["first", "last words"]);
        drop((held, writer));
    }
}
