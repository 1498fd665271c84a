//! Real worker processes: started, watched, ended, and never leaked (D4-D7, D13).
//!
//! The workers are shell scripts, and this test binary itself, started again as `the_worker_that_tests_start`.

use std::collections::HashSet;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::future::{pending, ready};
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::exit;
use std::sync::{Mutex, OnceLock, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use anyudf_engine::{Error, ErrorKind, LaunchConfig, Launcher, Process, Transport, WorkerCommand};
use anyudf_grpc::Endpoint;
use futures::FutureExt;
use futures::future::{BoxFuture, join_all};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, getpgid, kill_process, waitid};
use tempfile::TempDir;

/// Longer than any of these tests: what ends earlier was noticed, not waited for.
const LONG: Duration = Duration::from_secs(60);

/// What is dead or dying is gone by then.
const FATAL: Duration = Duration::from_secs(20);

/// For bounds that a test waits out.
const SHORT: Duration = Duration::from_millis(50);

/// What the worker in this binary is to do.
const MODE: &str = "TEST_WORKER_MODE";

/// Where a worker that has to lose the race for its port reports it.
const THIEF: &str = "TEST_WORKER_THIEF";

/// Bytes that the worker floods its stderr with.
const FLOOD: usize = 100 << 20;

/// Not a test when started by the test runner: the worker that the tests below start.
#[test]
fn the_worker_that_tests_start() {
    let Ok(mode) = env::var(MODE) else { return };
    // If the tests are killed nobody ends this process: it then ends by itself.
    thread::spawn(|| {
        thread::park_timeout(10 * LONG);
        exit(99);
    });
    let connection = env::args().skip_while(|argument| argument != "--connection").nth(1).expect("--connection WHERE");
    match mode.as_str() {
        "serve" => {}
        "flood" => {
            let line = [[b'f'; 4095].as_slice(), b"\n"].concat();
            (0..FLOOD / line.len()).for_each(|_| io::stderr().write_all(&line).expect("stderr is read"));
        }
        "unlucky" => {
            let mut thief = UnixStream::connect(env::var(THIEF).expect("a thief")).expect("the thief listens");
            thief.write_all(format!("{connection}\n").as_bytes()).expect("the thief reads");
            let mut taken = [0];
            thief.read_exact(&mut taken).expect("the thief answers");
        }
        other => panic!("no such mode: {other}"),
    }
    match connection.parse::<u16>() {
        Ok(port) => match TcpListener::bind(("127.0.0.1", port)) {
            Ok(listener) => listener.incoming().for_each(|call| serve(call.expect("a call"))),
            Err(error) => {
                eprintln!("cannot bind: {error}");
                exit(98);
            }
        },
        Err(_) => {
            UnixListener::bind(connection).expect("bind").incoming().for_each(|call| serve(call.expect("a call")))
        }
    }
}

/// Holds a call open. A byte on it is Shutdown.
fn serve(mut call: impl Read + Send + 'static) {
    thread::spawn(move || {
        if call.read(&mut [0]).is_ok_and(|length| length > 0) {
            exit(0);
        }
    });
}

fn worker(mode: &str) -> WorkerCommand {
    let program = env::current_exe().expect("this binary has a path");
    // What the launcher adds is, to the test runner, names of further tests.
    let arguments = ["--exact", "the_worker_that_tests_start", "--nocapture", "--"];
    let environment = vec![(MODE.into(), mode.into())];
    WorkerCommand { environment, ..WorkerCommand::new(program, arguments) }
}

/// A worker started by `script`, which finds it as `"$0" "$@"`.
fn behind(script: &str) -> WorkerCommand {
    let WorkerCommand { program, arguments, environment, .. } = worker("serve");
    let arguments = ["-c".into(), script.into(), program.into()].into_iter().chain(arguments);
    WorkerCommand { environment, ..WorkerCommand::new("sh", arguments) }
}

/// A worker that is all `script`, which finds the place of its socket as `$4`.
fn shell(script: &str) -> WorkerCommand {
    WorkerCommand::new("sh", ["-c", script, "worker"])
}

/// A launcher with its sockets in a directory of the test's own.
fn launcher(config: LaunchConfig) -> (TempDir, Launcher) {
    let base = tempfile::tempdir().expect("a directory");
    let config = LaunchConfig { socket_base: Some(base.path().into()), ..config };
    (base, Launcher::new(config).expect("a launcher"))
}

/// Timeouts that no test reaches, and nothing that drains.
fn patient() -> LaunchConfig {
    LaunchConfig {
        init_timeout: LONG,
        drain_timeout: Duration::ZERO,
        termination_timeout: LONG,
        reap_timeout: LONG,
        ..LaunchConfig::default()
    }
}

/// A probe: the worker answers when it can be connected to.
fn connects(process: &Process) -> BoxFuture<'static, Result<Option<Call>, Error>> {
    Box::pin(ready(Ok(match process.endpoint() {
        Endpoint::Unix(path) => UnixStream::connect(path).ok().map(Call::Unix),
        Endpoint::Tcp(port) => TcpStream::connect(("127.0.0.1", *port)).ok().map(Call::Tcp),
    })))
}

/// A probe: the file at the socket's place will do.
fn exists(_: &Process) -> BoxFuture<'static, Result<Option<()>, Error>> {
    Box::pin(ready(Ok(Some(()))))
}

/// A connection to a worker.
#[derive(Debug)]
enum Call {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl Call {
    /// Returns when the worker is dead, whoever's child it is: then the system closes its end.
    fn wait_for_death(self) {
        let read = match self {
            Call::Unix(mut call) => call.set_read_timeout(Some(FATAL)).and_then(|()| call.read(&mut [0])),
            Call::Tcp(mut call) => call.set_read_timeout(Some(FATAL)).and_then(|()| call.read(&mut [0])),
        };
        let lives = read.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
        assert!(!lives, "the worker outlived what should have ended it");
    }

    fn shutdown(&mut self) {
        match self {
            Call::Unix(call) => call.write_all(b"q"),
            Call::Tcp(call) => call.write_all(b"q"),
        }
        .expect("the worker reads");
    }
}

fn pid(process: &Process) -> Pid {
    Pid::from_raw(process.pid().cast_signed()).expect("a process id is not zero")
}

/// Neither running nor a zombie.
fn assert_reaped(pid: Pid) {
    let waited = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT);
    assert_eq!(waited.err(), Some(Errno::CHILD));
}

fn entries(directory: &Path) -> usize {
    fs::read_dir(directory).expect("it is there").count()
}

async fn refused(launcher: &Launcher, command: &WorkerCommand) -> Error {
    launcher.launch(command, connects).await.expect_err("it is no worker")
}

/// D6, P2: a worker is ready when it answers, on a Unix socket or a TCP port; the answer comes back.
#[tokio::test]
async fn d6_a_worker_starts_and_answers() {
    for transport in [Transport::Unix, Transport::Tcp] {
        let (_base, launcher) = launcher(LaunchConfig { transport, ..patient() });
        let (process, call) = launcher.launch(&worker("serve"), connects).await.expect("it starts");
        assert_eq!(process.exit(), None);
        assert_eq!(getpgid(Some(pid(&process))), Ok(pid(&process)), "D4: a process group of its own");
        let pid = pid(&process);
        process.end(async {}).await.expect("it ends");
        call.wait_for_death();
        assert_reaped(pid);
    }
}

/// P1, P2, P9, D4: what a worker is given: its arguments, its place, a secret, its variables, its directory, an empty
/// stdin.
#[tokio::test]
async fn p1_a_worker_is_given_its_id_and_place() {
    let (base, launcher) = launcher(patient());
    let script = r#"cat; echo "$1 $2 $3 $4"; echo "$ANYUDF_TOKEN"; echo "$COLOUR"; pwd; : > "$4"; exec sleep 600"#;
    let command = WorkerCommand {
        environment: vec![("COLOUR".into(), "blue".into())],
        directory: Some(base.path().into()),
        ..shell(script)
    };
    let (process, ()) = launcher.launch(&command, exists).await.expect("it starts");
    kill_process(pid(&process), Signal::INT).expect("it lives");
    assert_eq!(process.exited().await.to_string(), "signal: 2 (SIGINT)");

    let given = format!("--id {} --connection {}", process.id(), process.endpoint());
    let directory = base.path().canonicalize().expect("it is there").display().to_string();
    assert_eq!(process.output_tail(), [given.as_str(), process.token().expose(), "blue", &directory]);
    assert_eq!(process.token().expose().len(), 64);
}

/// D6: the death of a starting worker is noticed at once, and told with its status and its last words.
#[tokio::test]
async fn d6_a_worker_that_exits_at_once_is_reported_with_its_output() {
    let (_base, launcher) = launcher(patient());
    let error = refused(&launcher, &shell("echo hello; echo 'no module named udf' >&2; exit 3")).await;
    assert_eq!((error.kind(), error.condition()), (ErrorKind::Launch, "WORKER_EXITED"));
    let text = error.to_string();
    assert!(text.starts_with("worker `sh` ended before it answered (exit status: 3) (D6)"), "{text}");
    assert!(text.contains("its last output:") && text.contains("\n    hello"), "{text}");
    assert!(text.contains("\n    no module named udf"), "{text}");

    let text = refused(&launcher, &shell("kill -9 $$")).await.to_string();
    assert!(text.contains("(signal: 9 (SIGKILL))") && text.ends_with("it printed nothing"), "{text}");

    let text = refused(&launcher, &shell("echo unfinished >&2; printf line >&2; exit")).await.to_string();
    assert!(text.ends_with("\n    unfinished\n    line"), "{text}");
}

/// D6: a worker that never listens is a timeout that says so.
#[tokio::test]
async fn d6_a_worker_that_never_binds_is_a_timeout() {
    let unbound = [(Transport::Unix, "it never bound its socket"), (Transport::Tcp, "it never bound its port")];
    for (transport, said) in unbound {
        let (_base, launcher) = launcher(LaunchConfig { transport, init_timeout: SHORT, ..patient() });
        let error = refused(&launcher, &shell("exec sleep 600")).await;
        assert_eq!((error.kind(), error.condition()), (ErrorKind::Timeout, "WORKER_START_TIMEOUT"));
        let text = error.to_string();
        assert!(text.contains("did not answer within 50ms (D6)") && text.contains(said), "{text}");
    }
}

/// D6: a socket's file is not an answer.
#[tokio::test]
async fn d6_a_worker_that_binds_and_does_not_answer_is_a_timeout() {
    let (_base, launcher) = launcher(LaunchConfig { init_timeout: Duration::from_secs(2), ..patient() });
    let never = |_: &Process| -> BoxFuture<'static, Result<Option<()>, Error>> { Box::pin(pending()) };
    let script = r#"echo listening; : > "$4"; exec sleep 600"#;
    let error = launcher.launch(&shell(script), never).await.expect_err("it never answers");
    assert_eq!(error.condition(), "WORKER_START_TIMEOUT");
    let text = error.to_string();
    assert!(text.contains("it bound its end, and answered no call"), "{text}");
    assert!(text.ends_with("its last output:\n    listening"), "{text}");
}

/// D6: a command that cannot run is told from others, by the program's name and with what to try.
#[tokio::test]
async fn d6_a_command_that_cannot_run_says_why() {
    let (base, launcher) = launcher(patient());
    let file = |name: &str, text: &str, mode: &str| {
        let path = base.path().join(name);
        // Written by another process: a process started meanwhile could hold it open for writing, and it would be busy.
        let script = r#"printf "$1" > "$0"; chmod "$2" "$0""#;
        let made = std::process::Command::new("sh").args(["-c", script]).arg(&path).args([text, mode]).status();
        assert!(made.expect("there is a shell").success());
        path
    };
    let no_arguments = <[OsString; 0]>::default();
    let command = |program: &Path| WorkerCommand::new(program, no_arguments.clone());
    let elsewhere = WorkerCommand { directory: Some(base.path().join("none")), ..shell("exit") };
    let cases = [
        (command("no-such-worker".as_ref()), "WORKER_NOT_FOUND", "no-such-worker`: there is no such program"),
        (command("./no-such-worker".as_ref()), "WORKER_NOT_FOUND", "check its spelling"),
        (command(base.path()), "WORKER_NOT_EXECUTABLE", "has to be a file"),
        (command(&file("plain", "", "644")), "WORKER_NOT_EXECUTABLE", "plain`: it may not be executed"),
        (command(&file("script", "#!/none/python\n", "755")), "WORKER_NOT_EXECUTABLE", "first line"),
        (command(&file("text", "hello", "755")), "WORKER_NOT_EXECUTABLE", "no program of this machine"),
        (elsewhere, "WORKER_DIRECTORY_NOT_FOUND", "worker `sh`: its working directory is not there"),
    ];
    for (command, condition, said) in cases {
        let error = refused(&launcher, &command).await;
        assert_eq!((error.kind(), error.condition()), (ErrorKind::Launch, condition), "{error}");
        assert!(error.to_string().starts_with("cannot start worker `"), "{error}");
        assert!(error.to_string().contains(said), "{error}");
    }
    for command in [command("".as_ref()), shell("\0"), named("A=B", "c"), named("", "c"), named("A", "\0")] {
        let error = refused(&launcher, &command).await;
        assert_eq!((error.kind(), error.condition()), (ErrorKind::Misuse, "INVALID_WORKER_COMMAND"), "{error}");
    }
}

fn named(name: &str, value: &str) -> WorkerCommand {
    WorkerCommand { environment: vec![(name.into(), value.into())], ..shell("exit") }
}

/// D4: output is drained always: a worker that floods its stderr before it listens still gets ready.
#[tokio::test]
async fn d4_a_worker_that_floods_stderr_gets_ready() {
    let (_base, launcher) = launcher(patient());
    let (process, _call) = launcher.launch(&worker("flood"), connects).await.expect("it starts");
    process.end(async {}).await.expect("it ends");
}

/// D7: a worker that does what it is asked ends by itself, and nothing further is tried.
#[tokio::test]
async fn d7_a_worker_is_asked_first() {
    let (base, launcher) = launcher(patient());
    let (process, mut call) = launcher.launch(&worker("serve"), connects).await.expect("it starts");
    let pid = pid(&process);
    let asked = async {
        call.shutdown();
        pending().await
    };
    assert!(process.end(asked).await.expect("it ends").success());
    assert_reaped(pid);
    let directory = fs::read_dir(base.path()).expect("it is there").next().expect("one").expect("an entry");
    assert_eq!(entries(&directory.path()), 0, "its socket is removed");
}

/// D7: a worker that does not answer gets SIGTERM, within a bound.
#[tokio::test]
async fn d7_a_worker_that_does_not_answer_gets_sigterm() {
    let (_base, launcher) = launcher(LaunchConfig { termination_timeout: SHORT, ..patient() });
    let (process, _call) = launcher.launch(&worker("serve"), connects).await.expect("it starts");
    let exit = process.end(pending()).await.expect("it ends");
    // Killed, if it did not get a processor for as long as its grace.
    assert!(["signal: 15 (SIGTERM)", "signal: 9 (SIGKILL)"].contains(&&*exit.to_string()), "{exit}");
}

/// D7: a worker that ignores SIGTERM is killed, within a bound.
#[tokio::test]
async fn d7_a_worker_that_ignores_sigterm_is_killed() {
    let (_base, launcher) = launcher(LaunchConfig { termination_timeout: SHORT, ..patient() });
    let (process, call) =
        launcher.launch(&behind(r#"trap "" TERM; exec "$0" "$@""#), connects).await.expect("it starts");
    let pid = pid(&process);
    assert_eq!(process.end(async {}).await.expect("it ends").to_string(), "signal: 9 (SIGKILL)");
    call.wait_for_death();
    assert_reaped(pid);
}

/// D7: SIGTERM is for the started process alone: what that one started is its own to end.
#[tokio::test]
async fn d7_sigterm_is_for_the_started_process_alone() {
    let log = log();
    let (_base, launcher) = launcher(LaunchConfig { termination_timeout: SHORT, ..patient() });
    let script = r#"trap ":" TERM; (trap ":" TERM; "$0" "$@"; echo "it ended") & while :; do wait; done"#;
    let (process, call) = launcher.launch(&behind(script), connects).await.expect("it starts");
    let id = process.id().to_owned();
    assert_eq!(process.end(async {}).await.expect("it ends").to_string(), "signal: 9 (SIGKILL)");
    call.wait_for_death();
    let said = log.of(&id);
    assert!(said.contains("worker started") && !said.contains("it ended"), "{said}");
}

/// D7: what a started process leaves behind in its group is killed, also when it ended in order.
#[tokio::test]
async fn d7_what_is_left_of_a_group_is_killed() {
    let (_base, launcher) = launcher(patient());
    let script = r#"trap "exit 7" TERM; "$0" "$@" & wait"#;
    let (process, call) = launcher.launch(&behind(script), connects).await.expect("it starts");
    let exit = process.end(async {}).await.expect("it ends");
    assert_eq!(exit.status().and_then(|status| status.code()), Some(7));
    call.wait_for_death();
}

/// D7: when the started process is dead its group goes too, without anybody's asking.
#[tokio::test]
async fn d7_a_group_does_not_outlive_its_leader() {
    let (_base, launcher) = launcher(patient());
    let (process, call) = launcher.launch(&behind(r#""$0" "$@" & wait"#), connects).await.expect("it starts");
    kill_process(pid(&process), Signal::KILL).expect("it lives");
    call.wait_for_death();
    assert_eq!(process.exited().await.to_string(), "signal: 9 (SIGKILL)");
    assert_eq!(process.exit(), Some(process.exited().await), "there may be any number of observers");
    assert_reaped(pid(&process));
    process.end(async { unreachable!("it is dead") }).await.expect("it ended");
}

/// D7: a dropped handle ends its worker, also where there is no runtime.
#[test]
fn d7_a_dropped_handle_ends_its_worker() {
    let (base, launcher) = launcher(patient());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (process, call) =
        runtime.block_on(launcher.launch(&behind(r#""$0" "$@" & wait"#), connects)).expect("it starts");
    drop(runtime);
    let (pid, exited) = (pid(&process), process.exited());
    drop((process, launcher));
    assert_eq!(entries(base.path()), 0, "the directory goes with its last owner");
    call.wait_for_death();
    assert_eq!(futures::executor::block_on(exited).to_string(), "signal: 9 (SIGKILL)");
    assert_reaped(pid);
}

/// D7: a dropped launch ends what it started.
#[tokio::test]
async fn d7_a_dropped_launch_ends_its_worker() {
    let (base, launcher) = launcher(patient());
    let (tell, mut told) = tokio::sync::mpsc::channel(1);
    let probe = |process: &Process| -> BoxFuture<'static, Result<Option<()>, Error>> {
        let connected = connects(process).now_or_never().expect("it is immediate").expect("it does not fail");
        if let Some(call) = connected {
            tell.try_send((pid(process), process.exited(), call)).expect("there is room for one");
            return Box::pin(pending());
        }
        Box::pin(ready(Ok(None)))
    };
    let command = worker("serve");
    let (pid, exited, call) = tokio::select! {
        _ = launcher.launch(&command, &probe) => unreachable!("it never answers"),
        told = told.recv() => told.expect("it is told"),
    };
    call.wait_for_death();
    assert_eq!(exited.await.to_string(), "signal: 9 (SIGKILL)");
    assert_reaped(pid);
    drop(launcher);
    assert_eq!(entries(base.path()), 0);
}

/// D7: a panic on the way ends the worker.
#[tokio::test]
async fn d7_a_panic_ends_the_worker() {
    let (_base, launcher) = launcher(patient());
    let (process, call) = launcher.launch(&worker("serve"), connects).await.expect("it starts");
    let exited = process.exited();
    let ending = tokio::spawn(process.end(async { panic!("asking went wrong") }));
    assert!(ending.await.expect_err("it panics").is_panic());
    call.wait_for_death();
    assert_eq!(exited.await.to_string(), "signal: 9 (SIGKILL)");
}

/// D5, D7: eight at once, each with a place of its own, in a directory that is private and gone afterwards.
#[tokio::test]
async fn d5_eight_at_once_share_a_private_directory() {
    let (base, launcher) = launcher(patient());
    let command = worker("serve");
    let started = join_all((0..8).map(|_| launcher.launch(&command, connects))).await;
    let (processes, calls): (Vec<_>, Vec<_>) = started.into_iter().map(|started| started.expect("it starts")).unzip();

    let directory = fs::read_dir(base.path()).expect("it is there").next().expect("one").expect("an entry").path();
    assert_eq!(fs::metadata(&directory).expect("it is there").permissions().mode() & 0o7777, 0o700);
    assert_eq!(entries(&directory), 8);
    assert_eq!(processes.iter().map(|process| process.endpoint().to_string()).collect::<HashSet<_>>().len(), 8);
    assert_eq!(processes.iter().map(|process| process.token().expose()).collect::<HashSet<_>>().len(), 8);

    // The directory stays for the processes that use it.
    drop(launcher);
    assert_eq!(entries(&directory), 8);
    let pids: Vec<_> = processes.iter().map(pid).collect();
    join_all(processes.into_iter().map(|process| process.end(async {}))).await;
    calls.into_iter().for_each(Call::wait_for_death);
    pids.into_iter().for_each(assert_reaped);
    assert_eq!(entries(base.path()), 0);
}

/// D5: a worker that loses the race for its TCP port is started again with another.
#[tokio::test]
async fn d5_a_lost_race_for_a_port_is_run_again() {
    let (base, launcher) = launcher(LaunchConfig { transport: Transport::Tcp, ..patient() });
    let path = base.path().join("thief");
    let listener = UnixListener::bind(&path).expect("bind");
    let (stolen, loot) = mpsc::channel();
    // Takes the port of the first two workers that report theirs, and lets the third have it.
    let thief = thread::spawn(move || {
        for theft in 0..3 {
            let (mut worker, _) = listener.accept().expect("a worker");
            let mut port = String::new();
            io::BufRead::read_line(&mut io::BufReader::new(&worker), &mut port).expect("its port");
            let port: u16 = port.trim().parse().expect("a number");
            if theft < 2 {
                stolen.send(TcpListener::bind(("127.0.0.1", port)).expect("it is free")).expect("the test is there");
            }
            worker.write_all(b"!").expect("the worker reads");
        }
    });
    let mut command = worker("unlucky");
    command.environment.push((THIEF.into(), path.into()));
    // The thief's listener would take the call: only what this launch started counts, and it is alive.
    let probe = |process: &Process| -> BoxFuture<'static, Result<Option<u16>, Error>> {
        let Endpoint::Tcp(port) = *process.endpoint() else { unreachable!("TCP was asked for") };
        Box::pin(ready(Ok(thief.is_finished().then_some(port))))
    };
    let (process, port) = launcher.launch(&command, &probe).await.expect("the third attempt wins");
    let stolen: Vec<_> = loot.try_iter().collect();
    assert_eq!(stolen.len(), 2);
    assert!(stolen.iter().all(|theft| theft.local_addr().expect("it has one").port() != port));
    process.end(async {}).await.expect("it ends");
}

/// D13: what may be secret is in no Debug output, no error and no log; P5: the worker's own output is in the log.
#[tokio::test]
async fn d13_secrets_are_never_shown() {
    const SECRET: &str = "hunter2";
    let log = log();
    let (_base, launcher) = launcher(patient());
    let (_other, hasty) = self::launcher(LaunchConfig { init_timeout: SHORT, ..patient() });
    let secretive = |command: WorkerCommand| {
        let mut command = command;
        command.arguments.push(SECRET.into());
        command.environment.push(("PASSWORD".into(), SECRET.into()));
        command
    };
    let mut shown = Vec::new();
    let mut show = |text: &dyn std::fmt::Debug| shown.push(format!("{text:?} {text:#?}"));

    let command =
        secretive(WorkerCommand::new("sh", ["-c", r#"echo out; echo err >&2; : > "$5"; exec sleep 600"#, "w"]));
    let (process, ()) = launcher.launch(&command, exists).await.expect("it starts");
    show(&(&command, &launcher, &process));
    let (id, token) = (process.id().to_owned(), process.token().clone());
    show(&process.end(async {}).await);

    let failing = ["exit 1", "exec sleep 600"].map(|script| WorkerCommand::new("sh", ["-c", script, "w"]));
    let malformed = [named("PASSWORD=hunter2", "x"), named("PASSWORD", "hunter2\0"), shell("hunter2\0")];
    let missing = WorkerCommand::new("no-such-worker", [SECRET]);
    for command in failing.into_iter().chain(malformed).chain([missing]) {
        let error = refused(&hasty, &secretive(command)).await;
        show(&error);
        let mut source: Option<&dyn std::error::Error> = Some(&error);
        while let Some(error) = source {
            show(&error.to_string());
            source = error.source();
        }
    }

    shown.push(log.all());
    for text in &shown {
        assert!(!text.contains(SECRET) && !text.contains(token.expose()), "{text}");
    }
    let said = log.of(&id);
    assert!(
        said.contains("INFO") && said.contains(": err") && said.contains("DEBUG") && said.contains(": out"),
        "{said}"
    );
}

/// What this process logs, all of it.
fn log() -> &'static Log {
    static LOG: OnceLock<Log> = OnceLock::new();
    static STARTED: OnceLock<()> = OnceLock::new();
    let log = LOG.get_or_init(Log::default);
    STARTED.get_or_init(|| {
        let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_ansi(false);
        subscriber.with_writer(move || log).init();
    });
    log
}

#[derive(Default)]
struct Log(Mutex<Vec<u8>>);

impl Log {
    fn all(&self) -> String {
        String::from_utf8(self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()).expect("it is text")
    }

    /// The lines that carry a worker's id.
    fn of(&self, id: &str) -> String {
        self.all().lines().filter(|line| line.contains(id)).map(|line| format!("{line}\n")).collect()
    }
}

impl Write for &Log {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        // All but the flood.
        if !line.windows(8).any(|bytes| bytes == b"ffffffff") {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(line);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
