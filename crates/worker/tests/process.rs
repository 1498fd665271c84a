//! The worker as a process: P1-P6, P9. The child is this test binary again, in [`child`].

mod support;

use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyudf_worker::{Invocation, Opened, RawFunction, RawOutput, Result, Worker};
use bytes::Bytes;
use rustix::process::{Pid, Signal, kill_process};
use support::Client;
use tempfile::TempDir;
use tokio::net::{TcpStream, UnixStream};

/// What the child is started with, as on a command line.
const ARGUMENTS: &str = "ANYUDF_TEST_WORKER";

/// Nothing here takes this long.
const PATIENCE: Duration = Duration::from_secs(30);

/// Opens and takes what comes.
struct Silent;

impl RawFunction for Silent {
    fn process(&mut self, _: Bytes, _: &mut RawOutput<'_>) -> Result<()> {
        Ok(())
    }
}

/// Not a test: the worker that the tests start.
#[test]
fn child() {
    let Ok(arguments) = std::env::var(ARGUMENTS) else { return };
    // What the environment still holds when a function runs.
    let environment = |_: &mut Invocation| {
        let token = std::env::var("ANYUDF_TOKEN").unwrap_or_else(|_| "none".into());
        Ok(Opened::new(Silent).with_data(token))
    };
    let worker = Worker::bundled().with_format("environment", environment);
    let code = worker.run_with(arguments.split_whitespace().map(Into::into));
    std::process::exit(if code == ExitCode::SUCCESS { 0 } else { 1 });
}

/// The command of a worker.
fn command(arguments: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "child", "--nocapture"]).env(ARGUMENTS, arguments);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// A shell command line that starts a worker.
fn shell_words() -> String {
    format!("'{}' --exact child --nocapture", std::env::current_exe().unwrap().display())
}

struct Process {
    child: Child,
    socket: PathBuf,
    _directory: TempDir,
}

impl Process {
    fn start(flags: &str) -> Self {
        Process::start_with(flags, |_| {})
    }

    fn start_with(flags: &str, change: impl FnOnce(&mut Command)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("w");
        let mut command = command(&format!("{flags} --id w1 --connection {}", socket.display()));
        change(&mut command);
        Process { child: command.spawn().unwrap(), socket, _directory: directory }
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    async fn client(&self) -> Client {
        connect(&self.socket).await
    }

    async fn exit(mut self) -> ExitStatus {
        let waited = tokio::task::spawn_blocking(move || {
            let began = Instant::now();
            loop {
                if let Some(status) = self.child.try_wait().unwrap() {
                    assert!(!self.socket.exists() || !status.success(), "the socket is left behind");
                    return status;
                }
                assert!(began.elapsed() < PATIENCE, "the worker does not end");
                std::thread::yield_now();
            }
        });
        waited.await.unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Connects as soon as somebody listens.
async fn connect(socket: &Path) -> Client {
    let began = Instant::now();
    loop {
        match UnixStream::connect(socket).await {
            Ok(stream) => return Client::over(stream).await,
            Err(error) => assert!(began.elapsed() < PATIENCE, "nobody listens: {error}"),
        }
        tokio::task::yield_now().await;
    }
}

/// P1, P5, M3: flags nobody knows are ignored; the worker serves, ends when it is told, and removes its socket.
#[tokio::test]
async fn p1_m3_a_process_serves_and_ends() {
    let process = Process::start("--unknown --other value --flag=x stray");
    let client = process.client().await;
    client.play("> init:echo < init > data:a < data:a > finish < finish < end:Ok").await;
    assert!(client.shutdown(false).await);
    assert_eq!(process.exit().await.code(), Some(0));
}

/// P1: without a connection there is nothing to serve.
#[test]
fn p1_a_connection_is_needed() {
    let output = command("--id w1").stderr(Stdio::piped()).output().unwrap();
    assert!(!output.status.success());
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("--connection is missing"), "{text}");
}

/// P2: a port is bound on both loopbacks.
#[tokio::test]
async fn p2_a_port_is_bound_on_both_loopbacks() {
    // A port that is free now may be taken by somebody a moment later; then another one is tried.
    for _ in 0..10 {
        let probe = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = probe.local_addr().unwrap().port();
        drop(probe);
        let mut child = command(&format!("--connection {port} --id w1")).spawn().unwrap();
        let stream = loop {
            match TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await {
                Ok(stream) => break Some(stream),
                Err(_) if child.try_wait().unwrap().is_some() => break None,
                Err(_) => tokio::task::yield_now().await,
            }
        };
        let Some(stream) = stream else { continue };
        let client = Client::over(stream).await;
        client.play("> init:echo < init > finish < finish < end:Ok").await;
        let has_v6 = std::net::TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok();
        if has_v6 {
            let v6 = TcpStream::connect((Ipv6Addr::LOCALHOST, port)).await.expect("it listens on ::1 too");
            Client::over(v6).await.heartbeat().await;
        }
        client.shutdown(false).await;
        assert_eq!(child.wait().unwrap().code(), Some(0));
        return;
    }
    panic!("no port could be had");
}

/// P3: SIGTERM ends an idle worker; exit 0, no socket left.
#[tokio::test]
async fn p3_sigterm_ends_an_idle_worker() {
    let process = Process::start("");
    process.client().await.heartbeat().await;
    process.signal(Signal::TERM);
    assert_eq!(process.exit().await.code(), Some(0));
}

/// P3, C7: within the grace the stream may end by itself; after it, it is ended. A forwarded second signal changes
/// nothing.
#[tokio::test]
async fn p3_c7_the_grace() {
    let process = Process::start("--grace 60");
    let client = process.client().await;
    let mut dialogue = client.play("> init:echo < init").await;
    process.signal(Signal::TERM);
    process.signal(Signal::TERM);
    // Until the signal has arrived calls are taken; a cancelled one is answered either way.
    loop {
        let mut call = client.execute().await;
        call.say("cancel");
        if call.hear().await == "end:Unavailable" {
            break;
        }
    }
    dialogue.play("> data:a < data:a > finish < finish < end:Ok").await;
    assert_eq!(process.exit().await.code(), Some(0));

    let process = Process::start("--grace 0.1");
    let client = process.client().await;
    let mut dialogue = client.play("> init:echo < init").await;
    process.signal(Signal::TERM);
    dialogue.play("< error[SHUTTING_DOWN] < cancel < end:Ok").await;
    assert_eq!(process.exit().await.code(), Some(0));
}

/// P3: a second SIGTERM more than a second later ends the worker at once, whatever runs.
#[tokio::test]
async fn p3_a_later_sigterm_ends_at_once() {
    let process = Process::start("--grace 600");
    let client = process.client().await;
    let _held = client.play("> init:echo/hang < init > data:x").await;
    // Signals within the first second are ignored; the first one after it counts.
    let pid = process.pid();
    let status = tokio::spawn(process.exit());
    while !status.is_finished() {
        let _ = kill_process(pid, Signal::TERM);
        tokio::task::yield_now().await;
    }
    assert_eq!(status.await.unwrap().code(), Some(143));
}

/// P4: the worker ends within 5 s when its parent is gone, here a launcher script that was killed.
#[tokio::test]
async fn p4_the_worker_follows_its_launcher() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("w");
    let arguments = format!("--id w1 --connection {}", socket.display());
    let mut launcher = Command::new("sh");
    launcher.arg("-c").arg(format!("{}; exit 0", shell_words())).env(ARGUMENTS, arguments);
    let mut launcher = launcher.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    connect(&socket).await.heartbeat().await;
    launcher.kill().unwrap();
    assert_eq!(launcher.wait().unwrap().signal(), Some(9));
    gone(&socket).await;
}

/// P4: the engine is gone, and the launcher script between it and the worker lives on.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn p4_the_worker_follows_an_engine_behind_a_launcher() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("w");
    let arguments = format!("--id w1 --connection {}", socket.display());
    // The outer shell plays the engine: it starts the launcher in a process group of its own (D4) and waits.
    let script = format!("setsid sh -c \"{}; exit 0\" & wait", shell_words());
    let mut engine = Command::new("sh");
    engine.arg("-c").arg(script).env(ARGUMENTS, arguments).env("ANYUDF_TOKEN", "sesame");
    let mut engine = engine.process_group(0).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    connect(&socket).await.with_header("anyudf-token", "sesame").heartbeat().await;
    engine.kill().unwrap();
    engine.wait().unwrap();
    gone(&socket).await;
}

/// P4: `--standalone` turns it off.
#[tokio::test]
async fn p4_standalone_workers_stay() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("w");
    let arguments = format!("--standalone --id w1 --connection {}", socket.display());
    let mut launcher = Command::new("sh");
    launcher.arg("-c").arg(format!("{} & exit 0", shell_words())).env(ARGUMENTS, arguments);
    let mut launcher = launcher.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    launcher.wait().unwrap();
    let client = connect(&socket).await;
    client.play("> init:echo < init > finish < finish < end:Ok").await;
    client.shutdown(false).await;
    gone(&socket).await;
}

/// Waits until a worker has ended: it removes its socket last.
async fn gone(socket: &Path) {
    let began = Instant::now();
    while socket.exists() {
        assert!(began.elapsed() < Duration::from_secs(5), "the worker does not end within 5 s (P4)");
        tokio::task::yield_now().await;
    }
}

/// P6: a stale socket is replaced, a live one is an error that says so, and what is no socket is left alone.
#[tokio::test]
async fn p6_stale_and_live_sockets() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("w");
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    assert!(socket.exists(), "closing a listener leaves the file");
    let arguments = format!("--id w1 --connection {}", socket.display());
    let mut first = command(&arguments).spawn().unwrap();
    let client = connect(&socket).await;
    client.heartbeat().await;

    let second = command(&arguments).stderr(Stdio::piped()).output().unwrap();
    assert!(!second.status.success());
    let text = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(text.contains("another worker listens there"), "{text}");
    client.heartbeat().await;
    client.shutdown(false).await;
    assert_eq!(first.wait().unwrap().code(), Some(0));

    std::fs::write(&socket, "precious").unwrap();
    let third = command(&arguments).stderr(Stdio::piped()).output().unwrap();
    assert!(!third.status.success());
    assert_eq!(std::fs::read_to_string(&socket).unwrap(), "precious");
}

/// P9, D13: the token is taken from the environment, asked for, and inherited by nobody.
#[tokio::test]
async fn p9_the_token_leaves_the_environment() {
    let process = Process::start_with("", |command| {
        command.env("ANYUDF_TOKEN", "sesame");
    });
    let stranger = process.client().await;
    assert_eq!(stranger.execute().await.hear().await, "end:Unauthenticated");
    let client = stranger.with_header("anyudf-token", "sesame");
    let mut dialogue = client.play("> init:environment < init").await;
    assert_eq!(dialogue.data(), "none");
    dialogue.play("> finish < finish").await;
    client.shutdown(false).await;
    assert_eq!(process.exit().await.code(), Some(0));
}

/// M4: SIGKILL aside, a worker with a hung function ends too.
#[tokio::test]
async fn m4_a_process_with_a_hung_function_ends() {
    let process = Process::start("");
    let client = process.client().await;
    let _hung = client.play("> init:echo/hang < init > data:x").await;
    assert!(client.shutdown(true).await);
    assert_eq!(process.exit().await.code(), Some(0));
}
