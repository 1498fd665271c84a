//! Workers to dispatch to, and what they leave.

use std::env;
use std::os::unix::net::UnixListener;
use std::process::{Command, ExitCode};
use std::sync::Once;
use std::time::Duration;

use anyudf_engine::{
    Dispatcher, DispatcherConfig, DispatcherStats, Error, Init, OpenSession, WorkerSpecification, WorkerState,
};
use anyudf_worker::{Invocation, Opened, RawFunction, RawOutput, Reason};
use bytes::Bytes;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::time::timeout;

/// Nothing here takes this long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Set for a process that the tests start, to what it is.
const ROLE: &str = "TEST_DISPATCHER_ROLE";

/// Not a test when started by a test: a worker, or an engine that is to be killed.
#[test]
fn the_process_that_tests_start() {
    let Ok(role) = env::var(ROLE) else { return };
    match role.as_str() {
        "worker" => {
            let worker = anyudf_worker::Worker::bundled().with_format("odd", odd);
            // The flags of the test runner are unknown to a worker, and it ignores what it does not know (P1).
            let code = worker.run_with(env::args_os().skip(1));
            std::process::exit(if code == ExitCode::SUCCESS { 0 } else { 1 });
        }
        "mute" => {
            let place = env::args().skip_while(|argument| argument != "--connection").nth(1).expect("--connection");
            let _listener = UnixListener::bind(place).expect("a fresh socket");
            loop {
                std::thread::park();
            }
        }
        "engine" => crate::engines::engine(),
        "crowd" => crate::crowd::crowd(),
        other => panic!("no such role: {other}"),
    }
}

/// A function that misbehaves in the phase that its payload names: `die open`, `hang process`, `leak`.
fn odd(invocation: &mut Invocation) -> anyudf_worker::Result<Opened> {
    let text = String::from_utf8_lossy(invocation.payload()).into_owned();
    let (what, phase) = text.split_once(' ').unwrap_or((&text, ""));
    let odd = Odd { what: what.into(), phase: phase.into(), hoard: Vec::new() };
    odd.misbehave("open");
    Ok(Opened::new(odd))
}

struct Odd {
    what: String,
    phase: String,
    hoard: Vec<Vec<u8>>,
}

impl Odd {
    fn misbehave(&self, phase: &str) {
        match self.what.as_str() {
            "die" if self.phase == phase => {
                eprintln!("last words of {phase}");
                std::process::abort();
            }
            "hang" if self.phase == phase => loop {
                std::thread::park();
            },
            _ => {}
        }
    }
}

impl RawFunction for Odd {
    fn process(&mut self, data: Bytes, out: &mut RawOutput<'_>) -> anyudf_worker::Result<()> {
        self.misbehave("process");
        if self.phase == "cancel after an error" {
            return Err(anyudf_worker::Error::user("it fails first"));
        }
        if self.what == "leak" {
            self.hoard.push(vec![1; 8 << 20]);
        }
        out.send([data])
    }

    fn finish(self: Box<Self>, _: &mut RawOutput<'_>) -> anyudf_worker::Result<()> {
        self.misbehave("finish");
        Ok(())
    }

    fn cancel(self: Box<Self>, _: &Reason) -> anyudf_worker::Result<()> {
        self.misbehave("cancel");
        self.misbehave("cancel after an error");
        Ok(())
    }
}

/// What starts this binary as something: program, arguments.
fn this_binary() -> (String, [&'static str; 4]) {
    let program = env::current_exe().expect("it has a path");
    let program = program.to_str().expect("the path is text").to_owned();
    // What the launcher adds is, to the test runner, names of further tests.
    (program, ["support::the_process_that_tests_start", "--exact", "--nocapture", "--"])
}

/// This binary, in a role, as a process of the test's own.
pub(crate) fn process(role: &str) -> Command {
    let (program, arguments) = this_binary();
    let mut command = Command::new(program);
    command.args(arguments).env(ROLE, role);
    command
}

/// This binary as a worker that may be shared and reused (D8).
pub(crate) fn specification() -> WorkerSpecification {
    plain().with_reuse().with_concurrent_udfs()
}

/// The same as one that serves a single session in its life.
pub(crate) fn plain() -> WorkerSpecification {
    let (program, arguments) = this_binary();
    as_role(WorkerSpecification::new(program, arguments), "worker")
}

/// One that binds its socket, and answers nothing.
pub(crate) fn mute() -> WorkerSpecification {
    let (program, arguments) = this_binary();
    as_role(WorkerSpecification::new(program, arguments), "mute")
}

/// A worker that may be shared and reused, started by a shell script that finds it as `"$0" "$@"`.
pub(crate) fn behind(script: &str) -> WorkerSpecification {
    let (program, arguments) = this_binary();
    let words = ["-c".to_owned(), script.to_owned(), program];
    let words = words.into_iter().chain(arguments.map(String::from));
    as_role(WorkerSpecification::new("sh", words), "worker").with_reuse().with_concurrent_udfs()
}

fn as_role(specification: WorkerSpecification, role: &str) -> WorkerSpecification {
    log_to_a_full_disk();
    specification.with_variable(ROLE, role).with_variable("RUST_LOG", "error")
}

/// All that this process logs goes to a disk that is full: nothing may depend on it.
fn log_to_a_full_disk() {
    static STARTED: Once = Once::new();
    STARTED.call_once(|| {
        let disk = std::fs::File::options().write(true).open("/dev/full").expect("Linux has one");
        let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).log_internal_errors(false);
        subscriber.with_writer(std::sync::Mutex::new(disk)).init();
    });
}

/// A dispatcher whose sockets are in a directory of the test's own, to be looked at afterwards.
pub(crate) fn dispatcher(
    specification: &WorkerSpecification,
    change: impl FnOnce(&mut DispatcherConfig),
) -> (Dispatcher, TempDir) {
    let base = tempfile::tempdir().expect("a directory");
    let mut config = DispatcherConfig::default();
    config.worker.launch.socket_base = Some(base.path().into());
    change(&mut config);
    (Dispatcher::new(specification, config).expect("the specification is good"), base)
}

pub(crate) fn echo() -> Init {
    Init::new("echo", "")
}

/// The function that misbehaves.
pub(crate) fn odd_one(what: &'static str) -> Init {
    Init::new("odd", what).with_name(what)
}

/// The one worker that answers.
pub(crate) async fn pid(dispatcher: &Dispatcher) -> u32 {
    let stats = stats(dispatcher).await;
    let ready = stats.workers.iter().filter(|worker| worker.state == WorkerState::Ready);
    ready.filter_map(|worker| worker.pid).next_back().expect("a worker answers")
}

/// Sends a signal to a process that is there.
pub(crate) fn signal(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("it is a process id");
    // It may have gone by itself just now.
    let _ = kill_process(pid, signal);
}

/// Stops a process, and waits until it has: a signal takes its time.
pub(crate) async fn stop(pid: u32) {
    signal(pid, Signal::STOP);
    let state = || {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("it is there");
        stat.rsplit(") ").next().and_then(|rest| rest.chars().next())
    };
    soon("it stops", async {
        while state() != Some('T') {
            tokio::task::yield_now().await;
        }
    })
    .await
}

/// A session echoes, however the workers were before.
pub(crate) async fn serves(dispatcher: &Dispatcher) {
    let session = soon("a session opens", dispatcher.open(echo())).await.expect("it opens");
    assert_eq!(echoed(session, "still here").await.expect("it echoes"), "still here");
}

/// One batch there and back, to the end.
pub(crate) async fn echoed(session: OpenSession, data: &'static str) -> Result<Bytes, Error> {
    let (mut input, mut output) = session.split();
    input.send([Bytes::from(data)]).await?;
    input.finish().await?;
    let echoed = output.next().await?.expect("echo answers");
    assert_eq!(output.next().await?, None);
    output.close().await?;
    Ok(echoed)
}

pub(crate) async fn stats(dispatcher: &Dispatcher) -> DispatcherStats {
    dispatcher.stats().await.expect("it is open")
}

/// Fails the test when `what` does not happen.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("it never happened: {what}"))
}

/// Looks again and again until it is so.
pub(crate) async fn eventually(dispatcher: &Dispatcher, what: &str, is_so: impl Fn(&DispatcherStats) -> bool) {
    soon(what, async {
        while !is_so(&stats(dispatcher).await) {
            tokio::task::yield_now().await;
        }
    })
    .await
}

/// Everything has ended, and nothing is left in the directory.
pub(crate) async fn close(dispatcher: Dispatcher, base: &TempDir) {
    let pids: Vec<_> = stats(&dispatcher).await.workers.iter().filter_map(|worker| worker.pid).collect();
    soon("the dispatcher closes", dispatcher.close()).await;
    drop(dispatcher);
    for pid in pids {
        assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists(), "worker {pid} is still there");
    }
    let left: Vec<_> = std::fs::read_dir(base.path()).expect("it is there").map(|entry| entry.expect("one")).collect();
    assert!(left.is_empty(), "left behind: {left:?}");
}
