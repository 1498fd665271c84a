//! The whole under load: an engine here, a worker in a process of its own, and what both hold and leave.
//!
//! The tests measure the memory, threads and descriptors of this process, so they run one at a time. None waits for a
//! time to pass: what must stay still is looked at across many round trips, what must happen is polled for until
//! [`PATIENCE`] ends.

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::future::Future;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyudf_engine::{
    Control, Endpoint, ErrorKind, Init, Input, Output, Termination, Worker, WorkerCommand, WorkerConfig,
};
use anyudf_worker::{Opened, RawFunction, RawOutput};
use bytes::Bytes;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

/// Nothing here takes this long.
const PATIENCE: Duration = Duration::from_secs(60);

/// Bytes by which a process may grow beyond what a rule counts: allocators keep, threads have stacks.
const ALLOWANCE: u64 = 64 << 20;

/// Heartbeats in a row during which nothing moved: then it stands still.
const STILL: usize = 20;

/// Set for the process that is the worker of [`spinning_worker`].
const WORKER: &str = "TEST_LOAD_WORKER";

// ---- the workers

/// Spins until it is cancelled, from its start on.
struct Spin;

impl RawFunction for Spin {
    fn start(&mut self, out: &mut RawOutput<'_>) -> anyudf_worker::Result<()> {
        while !out.cancelled() {
            std::hint::spin_loop();
        }
        out.check()
    }

    fn process(&mut self, _: Bytes, _: &mut RawOutput<'_>) -> anyudf_worker::Result<()> {
        Ok(())
    }
}

/// Not a test when started by a test: the bundled functions, and one that spins.
#[test]
fn the_worker_that_tests_start() {
    if env::var_os(WORKER).is_none() {
        return;
    }
    let worker = anyudf_worker::Worker::bundled().with_format("spin", |_| Ok(Opened::new(Spin)));
    // The flags of the test runner are unknown to a worker, and it ignores what it does not know (P1).
    let code = worker.run_with(env::args_os().skip(1));
    std::process::exit(if code == ExitCode::SUCCESS { 0 } else { 1 });
}

/// This binary as a worker.
fn spinning_worker() -> WorkerCommand {
    // What the launcher adds is, to the test runner, names of further tests.
    let arguments = ["--exact", "the_worker_that_tests_start", "--nocapture", "--"];
    let environment = vec![(WORKER.into(), "1".into()), quiet()];
    WorkerCommand { environment, ..WorkerCommand::new(env::current_exe().expect("it has a path"), arguments) }
}

/// `anyudf worker`.
fn bundled_worker() -> WorkerCommand {
    WorkerCommand { environment: vec![quiet()], ..WorkerCommand::new(env!("CARGO_BIN_EXE_anyudf"), ["worker"]) }
}

fn quiet() -> (OsString, OsString) {
    ("RUST_LOG".into(), "error".into())
}

async fn start(command: &WorkerCommand, config: WorkerConfig) -> Worker {
    Worker::start(command, config).await.expect("the worker starts")
}

// ---- looking on

/// One test at a time, on a runtime of its own.
struct Alone {
    runtime: Runtime,
    _turn: MutexGuard<'static, ()>,
}

impl Alone {
    fn new() -> Self {
        static TURN: Mutex<()> = Mutex::new(());
        // A test that failed has left nothing that another one minds.
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        Alone { runtime: runtime(), _turn: turn }
    }

    fn run<T>(&self, test: impl Future<Output = T>) -> T {
        self.runtime.block_on(test)
    }
}

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

/// A number from the worker's heartbeat, which comes soon (M2).
async fn pulse(worker: &Worker, name: &str) -> u64 {
    let beat: BTreeMap<_, _> =
        timeout(PATIENCE, worker.heartbeat()).await.expect("a heartbeat is answered").expect("it is a good answer");
    beat.get(name).and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("a heartbeat has a number {name}"))
}

/// Resident memory of this process, in bytes.
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("procfs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS is there");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") << 10
}

fn entries(path: &str) -> usize {
    fs::read_dir(path).expect("procfs").count()
}

/// Threads and descriptors of a process.
fn holdings(pid: u32) -> (usize, usize) {
    (entries(&format!("/proc/{pid}/task")), entries(&format!("/proc/{pid}/fd")))
}

/// Asks `what` between heartbeats until it is true.
async fn eventually(worker: &Worker, what: &str, mut is_so: impl FnMut() -> bool) {
    let asked = timeout(PATIENCE, async {
        while !is_so() {
            pulse(worker, "uptime_ms").await;
        }
    });
    assert!(asked.await.is_ok(), "it never came true that {what}");
}

/// Waits until the sum of `counts` has stood still for a while, and gives it. All that time heartbeats are answered.
async fn still(worker: &Worker, controls: &[Control], count: fn(&Control) -> u64) -> u64 {
    let sum = || controls.iter().map(count).sum::<u64>();
    let waited = timeout(PATIENCE, async {
        let (mut last, mut beats) = (sum(), 0);
        while beats < STILL || last == 0 {
            pulse(worker, "uptime_ms").await;
            let now = sum();
            beats = if now == last { beats + 1 } else { 0 };
            last = now;
        }
        last
    });
    waited.await.expect("it stands still")
}

fn sent(control: &Control) -> u64 {
    control.progress().bytes_sent
}

fn received(control: &Control) -> u64 {
    control.progress().bytes_received
}

/// Sends for ever, as fast as the worker takes it, and gives the input back when it takes nothing more.
async fn flood(mut input: Input, message: Bytes) -> Input {
    while input.send([message.clone()]).await.is_ok() {}
    input
}

// ---- the tests

/// M2, E5, E9, R12: 256 executions on one connection, every function held or spinning, every queue full and nobody
/// reading; heartbeats are answered while all of it is so. Cancel then reaches every one, and the worker ends.
#[test]
fn m2_heartbeats_are_answered_while_everything_else_stands() {
    const STREAMS: usize = 256;
    let spinning = std::thread::available_parallelism().map_or(4, usize::from) * 2;
    let alone = Alone::new();
    alone.run(async {
        let mut config = WorkerConfig::default();
        config.session.input_bytes = 64 << 10;
        let worker = start(&spinning_worker(), config).await;
        let pid = worker.pid().expect("we started it");
        let init = |at: usize| match at {
            at if at < spinning => Init::new("spin", ""),
            at if at % 3 == 0 => Init::new("echo/hang", ""),
            at if at % 3 == 1 => Init::new("echo/slow", "3600000"),
            // Held in `out`: nobody reads what it sends back.
            _ => Init::new("echo", ""),
        };
        let (mut controls, mut outputs, mut floods) = (Vec::new(), Vec::new(), Vec::new());
        for at in 0..STREAMS {
            let (input, output) = worker.open(init(at)).await.expect("there are 256 places (P10)").split();
            controls.push(output.control());
            outputs.push(output);
            floods.push(input);
        }
        let message = Bytes::from(vec![7; 64 << 10]);
        let floods: Vec<_> = floods.into_iter().map(|input| tokio::spawn(flood(input, message.clone()))).collect();

        still(&worker, &controls, sent).await;
        assert!(controls.iter().all(|control| sent(control) > 0), "every stream had room for something");
        assert_eq!(pulse(&worker, "sessions_active").await, STREAMS as u64);
        assert!(controls.iter().all(|control| control.termination().is_none()), "all are still held");
        assert!(floods.iter().all(|flood| !flood.is_finished()), "all queues are still full");

        controls.iter().for_each(|control| control.cancel("the test is over"));
        for control in &controls {
            let termination = timeout(PATIENCE, control.ended()).await.expect("Cancel passes what is queued (E9)");
            assert!(matches!(termination, Termination::Cancelled(_)), "{termination}");
        }
        for flood in floods {
            drop(flood.await.expect("it does not panic"));
        }
        drop(outputs);
        worker.end().await.expect("functions that hang do not keep the worker (D7)");
        assert!(!Path::new(&format!("/proc/{pid}")).exists(), "it is gone");
    });
}

/// E5: an echo of 1 MiB batches whose consumer never reads makes neither side grow beyond its windows.
#[test]
fn e5_a_consumer_that_never_reads_makes_neither_side_grow() {
    const MESSAGE: usize = 1 << 20;
    let alone = Alone::new();
    alone.run(async {
        let config = WorkerConfig::default();
        let window = u64::from(config.settings.stream_window);
        let input_bytes = config.session.input_bytes as u64;
        let worker = start(&bundled_worker(), config).await;
        let (theirs, ours) = (pulse(&worker, "memory_rss_bytes").await, resident());
        let (input, output) = worker.open(Init::new("echo", "")).await.expect("it opens").split();
        let control = output.control();
        let flood = tokio::spawn(flood(input, Bytes::from(vec![7; MESSAGE])));
        let held = std::slice::from_ref(&control);
        let (sent, received) = (still(&worker, held, sent).await, still(&worker, held, received).await);

        let message = MESSAGE as u64;
        assert!(received <= window + message, "{received} bytes came, the window is {window}");
        // Both windows are full; the worker holds a queue of output and the batch in its hands besides.
        let bound = 2 * window + 8 * message;
        assert!(sent <= bound, "{sent} bytes went, the bound is {bound}");
        let (theirs, ours) =
            (pulse(&worker, "memory_rss_bytes").await.saturating_sub(theirs), resident().saturating_sub(ours));
        // What was sent and not written yet (a window) belongs to both sides.
        assert!(theirs <= bound + ALLOWANCE, "the worker grew by {theirs} bytes");
        assert!(ours <= bound + input_bytes + ALLOWANCE, "the engine grew by {ours} bytes");

        drop(output);
        drop(flood.await.expect("it does not panic"));
        assert!(matches!(control.ended().await, Termination::Cancelled(_)));
        worker.end().await.expect("it ends");
    });
}

/// E5, S4: a generator whose consumer never reads stops at the window, however small its messages are.
#[test]
fn e5_a_generator_stops_when_nobody_reads() {
    let alone = Alone::new();
    alone.run(async {
        let mut config = WorkerConfig::default();
        config.settings.stream_window = 1 << 20;
        let worker = start(&bundled_worker(), config).await;
        let (theirs, ours) = (pulse(&worker, "memory_rss_bytes").await, resident());
        let init = Init::new("echo/generate", u64::MAX.to_string());
        let (_input, mut output) = worker.open(init).await.expect("it opens").split();
        let control = output.control();
        let came = still(&worker, std::slice::from_ref(&control), received).await;
        assert!(came <= 1 << 20, "{came} bytes came through a window of 1 MiB");
        let grew = (pulse(&worker, "memory_rss_bytes").await.saturating_sub(theirs), resident().saturating_sub(ours));
        assert!(grew.0 <= ALLOWANCE && grew.1 <= ALLOWANCE, "worker and engine grew by {grew:?} bytes");

        // Everything resumes when the consumer takes, and in order.
        for number in 0..200_000_u64 {
            let data = output.next().await.expect("it generates").expect("there is more");
            assert_eq!(data, number.to_string());
        }
        control.cancel("enough");
        assert!(matches!(control.ended().await, Termination::Cancelled(_)));
        worker.end().await.expect("it ends");
    });
}

/// E12, E14, R13, D7: 10,000 sessions one after another, ended in different ways, leave no thread, descriptor or memory
/// on either side, and none of them keeps the worker alive.
#[test]
fn e12_sessions_leave_nothing_behind() {
    /// What the test runner and the runtimes may start meanwhile.
    const RUNNERS: usize = 4;
    const GROWTH: u64 = 8 << 20;
    const SESSIONS: usize = 10_000;
    let alone = Alone::new();
    alone.run(async {
        let worker = start(&bundled_worker(), WorkerConfig::default()).await;
        let pid = worker.pid().expect("we started it");
        let measure = async || {
            while pulse(&worker, "sessions_active").await > 0 {}
            (pulse(&worker, "memory_rss_bytes").await, resident())
        };
        // What is allocated once is there after the first of them.
        for at in 0..500 {
            live(&worker, at).await;
        }
        let (theirs, ours) = measure().await;
        let (their_holdings, our_holdings) = (holdings(pid), holdings(std::process::id()));
        let began = Instant::now();
        for at in 0..SESSIONS {
            live(&worker, at).await;
        }
        let took = began.elapsed();
        let (theirs_after, ours_after) = measure().await;
        println!(
            "{SESSIONS} sessions in {took:.1?}; worker {theirs} -> {theirs_after} bytes, engine {ours} -> {ours_after}"
        );
        assert!(theirs_after <= theirs + GROWTH, "the worker grew from {theirs} to {theirs_after} bytes");
        assert!(ours_after <= ours + GROWTH, "the engine grew from {ours} to {ours_after} bytes");
        // Threads of functions say their last word before they end.
        eventually(&worker, "the worker holds what it held", || {
            let now = holdings(pid);
            now.0 <= their_holdings.0 && now.1 <= their_holdings.1
        })
        .await;
        eventually(&worker, "the engine holds what it held", || {
            let now = holdings(std::process::id());
            now.0 <= our_holdings.0 + RUNNERS && now.1 <= our_holdings.1 + RUNNERS
        })
        .await;
        // The last handle is dropped: whatever a session had left running would hold another one.
        drop(worker);
        let gone = async {
            while Path::new(&format!("/proc/{pid}")).exists() {
                tokio::task::yield_now().await;
            }
        };
        assert!(timeout(PATIENCE, gone).await.is_ok(), "something keeps the worker alive");
    });
}

/// One session: finished, cancelled, failed or dropped.
async fn live(worker: &Worker, at: usize) {
    let (mut input, mut output) = worker.open(Init::new("echo", "")).await.expect("it opens").split();
    let control = output.control();
    match at % 8 {
        0 => control.cancel("not needed"),
        1 => {
            input.send(["ERROR".into()]).await.expect("it takes input");
            let error = output.next().await.expect_err("the function fails (S2)");
            assert_eq!(error.kind(), ErrorKind::User);
        }
        2 => {}
        _ => {
            input.send([Bytes::from_static(&[7; 1_000])]).await.expect("it takes input");
            input.finish().await.expect("it takes Finish");
            assert_eq!(output.next().await.expect("it echoes").expect("a batch").len(), 1_000);
            assert_eq!(output.next().await.expect("it ends"), None);
            output.close().await.expect("it has finished");
            return;
        }
    }
    drop((input, output));
    let termination = control.ended().await;
    assert!(termination.is_salvageable(), "{termination}");
}

/// R14: executions whose connection broke are not counted active a second later, whatever their functions do.
#[test]
fn r14_broken_streams_are_not_active_for_long() {
    let alone = Alone::new();
    alone.run(async {
        let process = Bare::start();
        let worker = process.connect().await;
        // A runtime that is shut down takes its connections with it, in the middle of everything.
        let doomed = std::thread::spawn({
            let endpoint = process.endpoint.clone();
            move || {
                let runtime = runtime();
                let ends: Vec<(Input, Output)> = runtime.block_on(async {
                    let config = WorkerConfig::default();
                    let worker = Worker::connect(&endpoint, None, config).await.expect("it answers");
                    let mut ends = Vec::new();
                    for format in ["echo/hang", "echo/hang", "echo", "echo/sink"] {
                        let (mut input, output) = worker.open(Init::new(format, "")).await.expect("it opens").split();
                        input.send(["held".into()]).await.expect("it takes input");
                        ends.push((input, output));
                    }
                    while pulse(&worker, "bytes_in").await < 4 * 4 {}
                    ends
                });
                (runtime, ends)
            }
        });
        let (runtime, ends) = doomed.join().expect("it does not panic");
        assert_eq!(pulse(&worker, "sessions_active").await, 4);
        runtime.shutdown_background();
        let settled = async { while pulse(&worker, "sessions_active").await > 0 {} };
        assert!(timeout(Duration::from_secs(1), settled).await.is_ok(), "a broken stream is still active (R14)");
        for (_, output) in &ends {
            let termination = output.control().ended().await;
            assert!(!termination.is_salvageable(), "{termination}");
        }
        drop(ends);
    });
}

/// D6, E14, D5: when the worker is killed its sessions fail at once, with its exit status; nothing is left behind.
#[test]
fn d6_a_killed_worker_fails_its_sessions_at_once() {
    let alone = Alone::new();
    let sockets = tempfile::tempdir().expect("a directory");
    alone.run(async {
        // No heartbeat tells of it in time.
        let mut config = WorkerConfig { heartbeat_interval: 100 * PATIENCE, ..WorkerConfig::default() };
        config.launch.socket_base = Some(sockets.path().into());
        let worker = start(&bundled_worker(), config).await;
        let pid = worker.pid().expect("we started it");
        let mut sessions = Vec::new();
        for format in ["echo/hang", "echo", "echo/sink"] {
            let (mut input, output) = worker.open(Init::new(format, "")).await.expect("it opens").split();
            input.send(["held".into()]).await.expect("it takes input");
            sessions.push((input, output));
        }
        assert_eq!(fs::read_dir(sockets.path()).expect("it is there").count(), 1, "there is a directory for sockets");

        kill_process(Pid::from_raw(pid.cast_signed()).expect("not zero"), Signal::KILL).expect("it runs");
        for (mut input, mut output) in sessions {
            let error = timeout(PATIENCE, async {
                loop {
                    // The echo may have come before the end.
                    match output.next().await {
                        Ok(data) => assert_eq!(data.as_deref(), Some(&b"held"[..])),
                        Err(error) => break error,
                    }
                }
            });
            let error = error.await.expect("its end is noticed at once");
            assert_eq!((error.kind(), error.condition()), (ErrorKind::Transport, "WORKER_DIED"), "{error}");
            assert!(error.to_string().contains("SIGKILL"), "{error}");
            let refused = input.send(["more".into()]).await.expect_err("nobody takes it");
            assert_eq!(refused.condition(), "WORKER_DIED", "{refused}");
            assert!(!output.control().ended().await.is_salvageable());
        }
        let opened = worker.open(Init::new("echo", "")).await.expect_err("nobody is there");
        assert_eq!(opened.kind(), ErrorKind::Transport, "{opened}");
        worker.end().await.expect("it has ended already");
        drop(worker);
        assert!(!Path::new(&format!("/proc/{pid}")).exists(), "it was reaped");
    });
    drop(alone);
    assert_eq!(fs::read_dir(sockets.path()).expect("it is there").count(), 0, "the sockets' directory is gone (D5)");
}

/// A worker that no engine has started, so that several can connect to it.
struct Bare {
    child: Child,
    endpoint: Endpoint,
    _directory: TempDir,
}

impl Bare {
    fn start() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let socket = directory.path().join("w");
        let mut command = Command::new(env!("CARGO_BIN_EXE_anyudf"));
        command.args(["worker", "--id", "w", "--connection"]).arg(&socket);
        command.env("RUST_LOG", "error").env_remove("ANYUDF_TOKEN").stdin(Stdio::null()).stdout(Stdio::null());
        let child = command.spawn().expect("the worker starts");
        Bare { child, endpoint: Endpoint::Unix(socket), _directory: directory }
    }

    /// Connects as soon as it answers.
    async fn connect(&self) -> Worker {
        let connecting = timeout(PATIENCE, async {
            loop {
                match Worker::connect(&self.endpoint, None, WorkerConfig::default()).await {
                    Ok(worker) => break worker,
                    Err(_) => tokio::task::yield_now().await,
                }
            }
        });
        connecting.await.expect("the worker answers")
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
