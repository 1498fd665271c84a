//! The worker under test as a process: its command, its socket, its last words.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixListener;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::io::{AsyncRead, BufReader};
use tokio::process::Command;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use crate::leader::Leader;
use crate::lines::next_line;
use crate::wire::{Call, Dial, Link, MANAGE, Place};

/// Lines of output that are kept.
const TAIL: usize = 30;

/// A device that takes nothing.
const FULL: &str = "/dev/full";

/// How a worker is started, besides its command.
#[derive(Clone, Debug, Default)]
pub(crate) struct Start {
    pub(crate) tcp: bool,
    pub(crate) arguments: Vec<String>,
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) socket: Socket,
    /// By a shell that stays.
    pub(crate) launcher: bool,
    /// Nothing can be written to its standard error.
    pub(crate) full_log: bool,
}

/// What is at the place of its socket before it is started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Socket {
    #[default]
    Nothing,
    /// One that nobody listens on.
    Stale,
    /// One that somebody listens on.
    InUse,
}

/// The command of the worker under test.
#[derive(Clone, Debug)]
pub(crate) struct Subject {
    pub(crate) program: OsString,
    pub(crate) arguments: Vec<OsString>,
    /// How long it may take until it answers.
    pub(crate) start_timeout: Duration,
}

/// A worker that runs, or has ended. Dropping it kills its process group.
#[derive(Debug)]
pub(crate) struct Process {
    leader: Leader,
    pub(crate) place: Place,
    tail: Tail,
    /// What reads its output, until that ends.
    readers: Vec<JoinHandle<()>>,
    _dir: TempDir,
    _in_use: Option<UnixListener>,
}

/// The last lines of its output.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tail(Arc<Mutex<VecDeque<String>>>);

impl Tail {
    pub(crate) fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// Keeps the last lines of what comes.
    pub(crate) fn keep(&self, output: impl AsyncRead + Unpin + Send + 'static) -> JoinHandle<()> {
        let tail = self.clone();
        tokio::spawn(async move {
            let mut output = BufReader::new(output);
            while let Ok(Some(line)) = next_line(&mut output).await {
                let mut tail = tail.0.lock().unwrap_or_else(PoisonError::into_inner);
                if tail.len() == TAIL {
                    tail.pop_front();
                }
                tail.push_back(line.chars().take(400).collect());
            }
        })
    }
}

impl Subject {
    /// Starts the worker and does not wait for it.
    pub(crate) fn spawn(&self, start: &Start) -> io::Result<Process> {
        let dir = tempfile::Builder::new().prefix("anyudf-kit-").tempdir()?;
        let place = match start.tcp {
            true => Place::Tcp(free_port()?),
            false => Place::Unix(dir.path().join("w.sock")),
        };
        let in_use = match (&place, start.socket) {
            (Place::Unix(path), Socket::Stale) => {
                drop(UnixListener::bind(path)?);
                None
            }
            (Place::Unix(path), Socket::InUse) => Some(UnixListener::bind(path)?),
            _ => None,
        };
        let mut command = match start.launcher {
            true => {
                let mut shell = Command::new("/bin/sh");
                // The last command of a script may take its place; so it is not the last.
                shell.args(["-c", "\"$0\" \"$@\" & echo \"worker $!\"; wait"]).arg(&self.program);
                shell
            }
            false => Command::new(&self.program),
        };
        command.args(&self.arguments).args(&start.arguments).args(["--id", "conformance", "--connection"]);
        command.arg(place.to_string()).envs(start.environment.iter().map(|(name, value)| (name, value)));
        command.process_group(0).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        if start.full_log {
            command.stderr(fs::File::options().write(true).open(FULL)?);
        }
        let mut child = command.spawn()?;
        let tail = Tail::default();
        let outputs = (child.stdout.take(), child.stderr.take());
        let readers = outputs.0.into_iter().map(|output| tail.keep(output));
        let readers = readers.chain(outputs.1.into_iter().map(|output| tail.keep(output))).collect();
        Ok(Process { leader: Leader::new(child), place, tail, readers, _dir: dir, _in_use: in_use })
    }

    /// Starts the worker and waits until it answers a call, with whatever status (D6).
    pub(crate) async fn start(&self, start: &Start) -> Result<Process, String> {
        let mut process = self.spawn(start).map_err(|error| {
            let program = self.program.display();
            format!("cannot start `{program}`: {error}; is it installed, and may it be executed?")
        })?;
        match process.ready(self.start_timeout).await {
            Ok(()) => Ok(process),
            Err(why) => Err(process.last_words(why).await),
        }
    }
}

impl Process {
    /// Waits until it answers.
    async fn ready(&mut self, patience: Duration) -> Result<(), String> {
        let answers = async {
            while !answers(&self.place).await {
                sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::select! {
            exit = self.leader.exit() => Err(format!("it ended before it answered ({})", shown(exit))),
            answered = timeout(patience, answers) => answered.map_err(|_| {
                format!("it did not answer a call at `{}` within {patience:?} (D6)", self.place)
            }),
        }
    }

    /// Waits for its end, or until it answers a call: `None`.
    pub(crate) async fn exit_or_serve(&mut self, patience: Duration) -> Result<Option<ExitStatus>, String> {
        let place = self.place.clone();
        let serves = async {
            // Whoever was at its place before takes connections as well, and never answers.
            while !matches!(timeout(Duration::from_millis(250), answers(&place)).await, Ok(true)) {
                sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::select! {
            biased;
            exit = self.exit(patience) => exit.map(Some),
            () = serves => Ok(None),
        }
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        self.leader.pid()
    }

    /// The process that is the worker, when a launcher has started it and said so.
    pub(crate) fn launched(&self) -> Option<u32> {
        self.tail.lines().iter().find_map(|line| line.strip_prefix("worker ")?.parse().ok())
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.leader.signal(signal);
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<String> {
        self.leader.ended().map(shown)
    }

    /// Waits for its end: its exit status, or that it did not come.
    pub(crate) async fn exit(&mut self, patience: Duration) -> Result<ExitStatus, String> {
        self.leader.exit_within(patience).await.ok_or_else(|| format!("it still runs after {patience:?}"))
    }

    /// Waits until all is read that it has printed, once it has ended; not for those that it has started and left behind.
    pub(crate) async fn read_out(&mut self) {
        let _ = timeout(Duration::from_secs(1), join_all(self.readers.drain(..))).await;
    }

    /// The last lines of its output.
    pub(crate) fn printed(&self) -> String {
        self.tail.lines().join("\n")
    }

    /// Adds the end of its output; all of it is read, if the process has ended.
    pub(crate) async fn last_words(&mut self, what: String) -> String {
        if self.ended().is_some() {
            self.read_out().await;
        }
        self.explain(what)
    }

    /// Adds the end of its output, as far as it is read.
    pub(crate) fn explain(&self, what: String) -> String {
        let lines = self.tail.lines();
        match lines.is_empty() {
            true => format!("{what}; it printed nothing"),
            false => format!("{what}; it printed last:\n    {}", lines.join("\n    ")),
        }
    }

    /// Whether its socket is there.
    pub(crate) fn has_socket(&self) -> bool {
        match &self.place {
            Place::Unix(path) => fs::symlink_metadata(path).is_ok_and(|about| about.file_type().is_socket()),
            Place::Tcp(_) => false,
        }
    }

    pub(crate) fn socket(&self) -> Option<&Path> {
        match &self.place {
            Place::Unix(path) => Some(path),
            Place::Tcp(_) => None,
        }
    }

    /// Its resident memory in bytes, where there is procfs.
    pub(crate) fn resident(&self) -> Option<u64> {
        resident(self.leader.pid()?)
    }

    /// Kills it and all that it has started, and waits until the process is reaped.
    pub(crate) async fn kill(&mut self) {
        self.leader.kill().await;
    }
}

/// Whether a call is answered there, with whatever status but UNAVAILABLE: that is not yet.
async fn answers(place: &Place) -> bool {
    match Link::dial(place, &Dial::default()).await {
        Ok(link) => {
            let answer = link.unary(&Call::to(MANAGE), Bytes::from_static(b"\x0a\x00")).await;
            !answer.is_err_and(|status| status.code == 14)
        }
        Err(_) => false,
    }
}

/// Whether this machine has a device that is always full.
pub(crate) fn has_full_device() -> bool {
    Path::new(FULL).exists()
}

/// Whether this machine has IPv6.
pub(crate) fn has_ipv6() -> bool {
    TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok()
}

/// The resident memory of a process in bytes, where there is procfs.
pub(crate) fn resident(pid: u32) -> Option<u64> {
    let statm = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

/// Whether a process lives that is not ours. A zombie does not.
pub(crate) fn lives(pid: u32) -> bool {
    match fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => stat.rsplit(") ").next().is_some_and(|rest| !rest.starts_with('Z')),
        // Without procfs: whether a signal would reach it.
        Err(_) if Path::new("/proc/self").exists() => false,
        Err(_) => Pid::from_raw(pid.cast_signed()).is_some_and(|pid| rustix::process::test_kill_process(pid).is_ok()),
    }
}

/// Kills a process that is not our child, if it is still there: one that a launcher of ours has just started.
pub(crate) fn kill_stranger(pid: u32) {
    if let (true, Some(pid)) = (lives(pid), Pid::from_raw(pid.cast_signed())) {
        let _ = kill_process(pid, Signal::KILL);
    }
}

/// Waits until a process is gone.
pub(crate) async fn gone(pid: u32, patience: Duration) -> bool {
    let until = Instant::now() + patience;
    while lives(pid) {
        if Instant::now() >= until {
            return false;
        }
        sleep(Duration::from_millis(10)).await;
    }
    true
}

/// How a process ended.
pub(crate) fn shown(exit: ExitStatus) -> String {
    match exit.signal() {
        Some(signal) => format!("signal {signal}"),
        None => exit.to_string(),
    }
}

/// Listens on one port of both loopback addresses, or of the first where there is no IPv6 (P2).
pub(crate) fn loopback() -> io::Result<(u16, TcpListener, Option<TcpListener>)> {
    let mut attempts = 32;
    loop {
        let first = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = first.local_addr()?.port();
        match TcpListener::bind((Ipv6Addr::LOCALHOST, port)) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && attempts > 0 => attempts -= 1,
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => return Err(error),
            other => return Ok((port, first, other.ok())),
        }
    }
}

/// A port that nobody listens on. Another process may take it before it is used.
fn free_port() -> io::Result<u16> {
    loopback().map(|(port, ..)| port)
}
