//! Real programs as callables, and real engines that die: this test binary, started again as
//! `the_engine_that_tests_start`.

use std::env;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child as Process, Command, Stdio};
use std::sync::{Mutex, OnceLock, mpsc};
use std::thread;

use futures::FutureExt;
use futures::future::join_all;
use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::*;
use crate::child::Child;
use crate::logs::Tail;
use crate::socket_dir::sweep;

/// Longer than any of these tests: what ends earlier was noticed, not waited for.
const LONG: Duration = Duration::from_secs(60);

/// What is dead or dying is gone by then.
const FATAL: Duration = Duration::from_secs(20);

/// For bounds that a test waits out, with room for what must be done within them.
const SHORT: Duration = Duration::from_secs(2);

const MODE: &str = "TEST_ENGINE_MODE";
const PLACE: &str = "TEST_ENGINE_PLACE";

/// What no text may show.
const SECRET: &str = "hunter2";

/// A directory in which callables write down that they ran, and in whose `base` private directories are made.
struct Place {
    root: PathBuf,
    _owner: Option<TempDir>,
}

impl Place {
    fn new() -> Self {
        let owner = tempfile::tempdir().expect("a directory");
        fs::create_dir(owner.path().join("base")).expect("it may be written");
        Place { root: owner.path().into(), _owner: Some(owner) }
    }

    fn base(&self) -> PathBuf {
        self.root.join("base")
    }

    /// A program that is all `script`, which works in this place.
    fn script(&self, script: &str) -> Option<WorkerCommand> {
        let command = WorkerCommand::new("sh", ["-c", script, "callable", SECRET]);
        let environment = vec![("PASSWORD".into(), SECRET.into())];
        Some(WorkerCommand { environment, directory: Some(self.root.clone()), ..command })
    }

    /// One that writes `word` down.
    fn says(&self, word: &str) -> Option<WorkerCommand> {
        self.script(&format!("echo {word} >> said"))
    }

    fn said(&self) -> Vec<String> {
        let said = fs::read_to_string(self.root.join("said")).unwrap_or_default();
        said.lines().map(String::from).collect()
    }

    /// Installs and cleans up, and says so.
    fn config(&self) -> EnvironmentConfig {
        let (installation, clean_up) = (self.says("install"), self.says("clean"));
        EnvironmentConfig { installation, clean_up, timeout: LONG, reap_timeout: LONG, ..EnvironmentConfig::default() }
    }

    fn dir(&self) -> Arc<SocketDir> {
        SocketDir::new(Some(&self.base()), 16).expect("a directory")
    }

    fn environment(&self, config: EnvironmentConfig) -> Environment {
        Environment::new(config, self.dir()).expect("it can be run")
    }

    /// A named pipe.
    fn pipe(&self, name: &str) -> PathBuf {
        let path = self.root.join(name);
        assert!(Command::new("mkfifo").arg(&path).status().expect("there is mkfifo").success());
        path
    }

    /// The private directories.
    fn private(&self) -> Vec<PathBuf> {
        fs::read_dir(self.base()).expect("it is there").map(|entry| entry.expect("an entry").path()).collect()
    }

    /// The only private directory, whose lock shows who is alive.
    fn open_private(&self) -> File {
        let private = self.private();
        assert_eq!(private.len(), 1);
        File::open(&private[0]).expect("it is ours")
    }
}

/// What `wait` gives, which must come before long.
fn soon<T: Send + 'static>(wait: impl FnOnce() -> T + Send + 'static) -> T {
    let (tell, told) = mpsc::channel();
    thread::spawn(move || tell.send(wait()));
    told.recv_timeout(FATAL).expect("it takes too long")
}

/// Waits until nobody holds a directory's lock: its engine and its watchdog are gone.
fn released(directory: File) {
    soon(move || flock(&directory, FlockOperation::LockExclusive).expect("a lock"));
}

fn text(path: PathBuf) -> String {
    soon(move || fs::read_to_string(path).expect("it is text"))
}

/// D3: every way from the first session to a ready environment.
#[tokio::test]
async fn d3_each_branch() {
    let no = Some(WorkerCommand::new("no-such-program", [SECRET]));
    type Callable = fn(&Place) -> Option<WorkerCommand>;
    let none: Callable = |_| None;
    let verified: Callable = |place| place.says("verify");
    let unverified: Callable = |place| place.script("echo verify >> said; exit 1");
    let killed: Callable = |place| place.script("echo verify >> said; kill -9 $$");
    let install: Callable = |place| place.says("install");
    let cases: [(Callable, Callable, &[&str]); 6] = [
        (none, none, &[]),
        (none, install, &["install"]),
        (verified, install, &["verify"]),
        (unverified, install, &["verify", "install"]),
        (killed, install, &["verify", "install"]),
        (unverified, none, &["verify"]),
    ];
    for (verification, installation, said) in cases {
        let place = Place::new();
        let (verification, installation) = (verification(&place), installation(&place));
        let environment = place.environment(EnvironmentConfig { verification, installation, ..place.config() });
        environment.ready().await.expect("it gets ready");
        assert_eq!(place.said(), said);
        environment.ready().await.expect("it is ready");
        assert_eq!(place.said(), said);
    }

    // Verification that cannot run is one that failed.
    let place = Place::new();
    let environment = place.environment(EnvironmentConfig { verification: no, ..place.config() });
    environment.ready().await.expect("it gets ready");
    assert_eq!(place.said(), ["install"]);
}

/// D3, D2: a verification that takes too long is one that failed.
#[tokio::test]
async fn d3_a_verification_that_hangs_falls_through() {
    let place = Place::new();
    let verification = place.script("echo verify >> said; exec sleep 600");
    let environment = place.environment(EnvironmentConfig { verification, timeout: SHORT, ..place.config() });
    environment.ready().await.expect("it gets ready");
    assert_eq!(place.said(), ["verify", "install"]);
}

/// D2: environment callables have 120 s.
#[test]
fn d2_callables_have_two_minutes() {
    assert_eq!(EnvironmentConfig::default().timeout, Duration::from_secs(120));
    assert_eq!(EnvironmentConfig::default().reap_timeout, Duration::from_secs(5));
}

/// D3: however many come at once, it is done once, and all wait for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d3_twenty_callers_install_once() {
    let place = Place::new();
    let verification = place.script("echo verify >> said; exit 1");
    let environment = place.environment(EnvironmentConfig { verification, ..place.config() });
    let callers = (0..20).map(|_| {
        let environment = environment.clone();
        tokio::spawn(async move { environment.ready().await })
    });
    for outcome in join_all(callers).await {
        outcome.expect("it does not panic").expect("it gets ready");
    }
    assert_eq!(place.said(), ["verify", "install"]);
}

/// D3: a failed installation is permanent, and all callers are told the same: how it ended, and what it printed last.
#[tokio::test]
async fn d3_a_failed_installation_is_permanent() {
    let place = Place::new();
    let script = "echo install >> said; echo collecting; echo 'no such package: udf' >&2; exit 3";
    let environment = place.environment(EnvironmentConfig { installation: place.script(script), ..place.config() });
    for outcome in join_all((0..20).map(|_| environment.ready())).await {
        let error = outcome.expect_err("it fails");
        assert_eq!((error.kind(), error.condition()), (ErrorKind::Worker, "ENVIRONMENT_INSTALLATION_FAILED"));
        let text = error.to_string();
        assert!(
            text.starts_with("environment installation `sh` failed (exit status: 3) (D3); its last output:"),
            "{text}"
        );
        assert!(text.contains("\n    collecting") && text.contains("\n    no such package: udf"), "{text}");
    }
    let again = environment.ready().await.expect_err("it failed");
    assert_eq!(again.condition(), "ENVIRONMENT_INSTALLATION_FAILED");
    assert_eq!(place.said(), ["install"]);

    // It may have got half way, and is cleaned up.
    environment.clean_up().await.expect("it is cleaned up");
    assert_eq!(place.said(), ["install", "clean"]);
}

/// D3: an installation that cannot be started says why; what could never run is refused before anything does.
#[tokio::test]
async fn d3_an_installation_that_cannot_run_says_why() {
    let place = Place::new();
    let command = |program: &str| Some(WorkerCommand::new(program, [SECRET]));
    let environment =
        place.environment(EnvironmentConfig { installation: command("no-such-program"), ..place.config() });
    let error = environment.ready().await.expect_err("there is none");
    assert_eq!((error.kind(), error.condition()), (ErrorKind::Launch, "ENVIRONMENT_INSTALLATION_NOT_STARTED"));
    let text = error.to_string();
    assert!(text.starts_with("cannot start environment installation `no-such-program`: there is no such"), "{text}");

    let mut odd = place.says("clean");
    odd.as_mut().expect("a command").environment.push(("a.b".into(), SECRET.into()));
    let cases = [
        (
            EnvironmentConfig { verification: command(""), ..place.config() },
            "the environment verification command has no",
        ),
        (
            EnvironmentConfig { installation: place.script("\0"), ..place.config() },
            "argument 2 of environment installation",
        ),
        (EnvironmentConfig { clean_up: odd, ..place.config() }, "variable 2 of environment clean-up `sh` has a name"),
    ];
    for (config, said) in cases {
        let error = Environment::new(config, place.dir()).expect_err("it cannot be run");
        assert_eq!((error.kind(), error.condition()), (ErrorKind::Misuse, "INVALID_ENVIRONMENT_COMMAND"));
        assert!(error.to_string().starts_with(said), "{error}");
    }
    assert!(place.said().is_empty());
}

/// D2, D3: at its timeout an installation is killed with all of its group, also a grandchild that holds its pipes.
#[tokio::test]
async fn d3_a_timeout_kills_the_group() {
    let place = Place::new();
    let held = place.pipe("held");
    let all_dead = thread::spawn(move || fs::read_to_string(held));
    let installation = place.script(r#"exec 3> held; echo waiting for the network; sh -c "sleep 600; :" & wait"#);
    let environment = place.environment(EnvironmentConfig { installation, timeout: SHORT, ..place.config() });
    let error = environment.ready().await.expect_err("it hangs");
    assert_eq!((error.kind(), error.condition()), (ErrorKind::Timeout, "ENVIRONMENT_INSTALLATION_TIMEOUT"));
    let text = error.to_string();
    assert!(text.contains("did not end within 2s, and was killed (D3)"), "{text}");
    assert!(text.ends_with("its last output:\n    waiting for the network"), "{text}");
    soon(move || all_dead.join()).expect("it does not panic").expect("its writers are dead");
}

/// D3: callers that go away stop nothing; the next one finds the work done.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn d3_the_work_goes_on_without_its_callers() {
    let place = Place::new();
    let (begun, go) = (place.pipe("begun"), place.pipe("go"));
    let installation = place.script("echo yes > begun; read -r word < go; echo $word >> said");
    let environment = place.environment(EnvironmentConfig { installation, ..place.config() });
    assert!(environment.ready().now_or_never().is_none());
    assert_eq!(text(begun), "yes\n");
    assert!(environment.ready().now_or_never().is_none());
    // Nobody waits.
    soon(move || fs::write(go, "install\n")).expect("it is read");
    environment.ready().await.expect("it gets ready");
    assert_eq!(place.said(), ["install"]);
}

/// D3: clean-up runs once, however often it is asked for, and nothing begins after it.
#[tokio::test]
async fn d3_clean_up_runs_once() {
    let place = Place::new();
    let environment = place.environment(place.config());
    environment.ready().await.expect("it gets ready");
    let record = place.private().remove(0).join("clean-up");
    assert_eq!(fs::metadata(&record).expect("it is owed").permissions().mode() & 0o7777, 0o600, "D13");

    for outcome in join_all((0..5).map(|_| environment.clean_up())).await {
        outcome.expect("it is cleaned up");
    }
    assert!(!record.exists(), "it is not owed any more");
    assert_eq!(environment.ready().await.expect_err("it is closed").condition(), "ENVIRONMENT_CLOSED");
    let private = place.open_private();
    drop(environment);
    released(private);
    assert_eq!(place.said(), ["install", "clean"]);
    assert!(place.private().is_empty(), "D5: the directory goes with its last owner");
}

/// D3: where nothing was begun there is nothing to clean up.
#[tokio::test]
async fn d3_an_environment_that_nobody_asked_for_is_not_cleaned_up() {
    let place = Place::new();
    let environment = place.environment(place.config());
    environment.clean_up().await.expect("nothing fails");
    assert_eq!(environment.ready().await.expect_err("it is closed").kind(), ErrorKind::Misuse);
    drop(environment);
    drop(place.environment(place.config()));
    assert!(place.said().is_empty());
    assert!(place.private().is_empty());
}

/// D3: a clean-up that fails says so, and is not tried again.
#[tokio::test]
async fn d3_a_failed_clean_up_is_told() {
    let place = Place::new();
    let clean_up = place.script("echo clean >> said; echo busy; exit 4");
    let environment = place.environment(EnvironmentConfig { clean_up, ..place.config() });
    environment.ready().await.expect("it gets ready");
    for _ in 0..2 {
        let error = environment.clean_up().await.expect_err("it fails");
        assert_eq!((error.kind(), error.condition()), (ErrorKind::Worker, "ENVIRONMENT_CLEAN_UP_FAILED"));
        assert!(error.to_string().ends_with("failed (exit status: 4) (D3); its last output:\n    busy"), "{error}");
    }
    let private = place.open_private();
    drop(environment);
    released(private);
    assert_eq!(place.said(), ["install", "clean"]);
}

/// D3, D12: closing while something is installed stops that, and then cleans up.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn d3_closing_stops_an_installation() {
    let place = Place::new();
    let begun = place.pipe("begun");
    let installation = place.script("echo yes > begun; sleep 600; echo install >> said");
    let environment = place.environment(EnvironmentConfig { installation, ..place.config() });
    let caller = tokio::spawn({
        let environment = environment.clone();
        async move { environment.ready().await }
    });
    assert_eq!(text(begun), "yes\n");
    environment.clean_up().await.expect("it is cleaned up");
    let told = caller.await.expect("it does not panic").expect_err("it is closed");
    assert_eq!(told.condition(), "ENVIRONMENT_CLOSED");
    assert_eq!(place.said(), ["clean"]);
}

/// D3: when everything is dropped the clean-up is run by the watchdog, also where there is no runtime any more.
#[test]
fn d3_dropping_everything_cleans_up() {
    for stage in ["ready", "installing"] {
        let place = Place::new();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let begun = place.pipe("begun");
        let installation = match stage {
            "ready" => place.says("install"),
            _ => place.script("echo install >> said; echo yes > begun; exec sleep 600"),
        };
        let config = EnvironmentConfig { installation, ..place.config() };
        let environment = runtime.block_on(async { place.environment(config) });
        if stage == "ready" {
            runtime.block_on(environment.ready()).expect("it gets ready");
        } else {
            runtime.block_on(async { assert!(environment.ready().now_or_never().is_none()) });
            assert_eq!(text(begun), "yes\n");
        }
        let private = place.open_private();
        drop(runtime);
        if stage == "installing" {
            let told = futures::executor::block_on(environment.ready()).expect_err("nobody goes on with it");
            assert_eq!(told.condition(), "ENVIRONMENT_ABANDONED");
        }
        drop(environment);
        released(private);
        assert_eq!(place.said(), ["install", "clean"], "{stage}");
        assert!(place.private().is_empty());
    }
}

/// D3: the clean-up waits for the last worker, whose socket keeps the directory.
#[tokio::test]
async fn d3_the_last_worker_comes_before_the_clean_up() {
    let place = Place::new();
    let dir = place.dir();
    let environment = Environment::new(place.config(), Arc::clone(&dir)).expect("it can be run");
    environment.ready().await.expect("it gets ready");
    let socket = dir.socket("worker");
    let worker = place.script("trap 'echo worker >> said; kill $!; exit' TERM; sleep 600 & wait").expect("a command");
    let command = worker.to_command().expect("it can be run");
    let worker = Child::start(command, "w".into(), Tail::default(), Some(socket.remains())).await.expect("it starts");
    let private = place.open_private();
    drop((dir, environment));
    assert_eq!(place.said(), ["install"], "the worker's socket owns the directory");
    drop(worker);
    drop(socket);
    released(private);
    assert_eq!(place.said(), ["install", "clean"]);
    assert!(place.private().is_empty());
}

/// D2, D3: a clean-up that the watchdog runs is bounded as any other.
#[tokio::test]
async fn d3_the_watchdog_does_not_wait_for_ever() {
    let place = Place::new();
    let clean_up = place.script("echo clean >> said; sleep 600 & wait");
    let environment = place.environment(EnvironmentConfig { clean_up, timeout: SHORT, ..place.config() });
    environment.ready().await.expect("it gets ready");
    let private = place.open_private();
    drop(environment);
    released(private);
    assert_eq!(place.said(), ["install", "clean"]);
    assert!(place.private().is_empty());
}

/// D3: what is written down does the same as what is run: every byte of arguments and variables, and the directory.
#[tokio::test]
async fn d3_an_owed_clean_up_is_the_same_program() {
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt;

    let bytes = OsString::from_vec((1..=255).collect());
    let odd = ["", " ", "-n", "$HOME `id` \"\\'", "a\n'b'\n", "*"].map(OsString::from);
    let mut seen = Vec::new();
    for way in ["by us", "by the watchdog"] {
        let place = Place::new();
        let script = r#"{ printf '%s\0' "$@" "$A" "$_b9"; pwd; } > seen"#;
        let mut command = WorkerCommand::new("sh", ["-c", script, "x"]);
        command.arguments.extend(odd.iter().cloned().chain([bytes.clone()]));
        // The last is one that some shells keep for themselves.
        command.environment =
            vec![("A".into(), bytes.clone()), ("_b9".into(), "'\n$A".into()), ("UID".into(), "7".into())];
        let directory = place.root.join("it's a directory");
        fs::create_dir(&directory).expect("it may be written");
        command.directory = Some(directory.clone());
        let environment = place.environment(EnvironmentConfig { clean_up: Some(command), ..place.config() });
        environment.ready().await.expect("it gets ready");
        let private = place.open_private();
        if way == "by us" {
            environment.clean_up().await.expect("it is cleaned up");
        }
        drop(environment);
        released(private);
        let all = fs::read(directory.join("seen")).expect("it ran");
        let (given, pwd) = all.split_at(all.iter().rposition(|&byte| byte == 0).expect("a zero") + 1);
        assert!(String::from_utf8_lossy(pwd).ends_with("/it's a directory\n"), "{way}");
        seen.push(given.to_vec());
    }
    assert!(seen[0].windows(255).any(|window| window.iter().copied().eq(1..=255)));
    assert_eq!(seen[0], seen[1]);
}

/// An engine in a process of its own.
struct Engine {
    process: Process,
    watchdog: Pid,
}

impl Engine {
    /// Starts one, and waits until its environment is ready and its worker runs.
    fn start(place: &Place, mode: &str) -> Self {
        let mut process = again("the_engine_that_tests_start", place, mode);
        let watchdog = heard(&mut process).parse().expect("a number");
        Engine { process, watchdog: Pid::from_raw(watchdog).expect("no process is zero") }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).expect("it lives");
    }

    fn wait(mut self) -> std::process::ExitStatus {
        drop(self.process.stdin.take());
        soon(move || self.process.wait().expect("it is ours"))
    }
}

/// This binary, as something else.
fn again(test: &str, place: &Place, mode: &str) -> Process {
    let test = format!("{}::{test}", module_path!().split_once("::").expect("a crate's module").1);
    let mut command = Command::new(env::current_exe().expect("this binary has a path"));
    command.args(["--exact", &test, "--nocapture"]).env(MODE, mode).env(PLACE, &place.root);
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    command.spawn().expect("it starts")
}

/// What it says next, among what the test runner says.
fn heard(process: &mut Process) -> String {
    let stdout = process.stdout.take().expect("a pipe");
    let (said, stdout) = soon(move || {
        let mut stdout = BufReader::new(stdout);
        let mut line = String::new();
        while !line.contains("tell: ") {
            line.clear();
            assert!(stdout.read_line(&mut line).expect("it is text") > 0, "it ended");
        }
        (line.split("tell: ").nth(1).expect("a word").trim().to_owned(), stdout.into_inner())
    });
    process.stdout = Some(stdout);
    said
}

fn tell(word: impl fmt::Display) {
    println!("tell: {word}");
}

fn wait_for_a_word() {
    let _ = std::io::stdin().read(&mut [0]);
}

/// Not a test when started by the test runner: an engine that ends in many ways.
#[test]
fn the_engine_that_tests_start() {
    let Ok(mode) = env::var(MODE) else { return };
    let place = Place { root: env::var_os(PLACE).expect("a place").into(), _owner: None };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let dir = place.dir();
        let mut config = place.config();
        if mode == "install" {
            config.installation = place.script("echo install >> said; echo yes > begun; exec sleep 600");
        }
        let environment = Environment::new(config, Arc::clone(&dir)).expect("it can be run");
        if mode == "install" {
            dir.guard();
            tell(dir.watchdog().expect("one"));
            let _ = environment.ready().await;
        }
        environment.ready().await.expect("it gets ready");
        let socket = dir.socket("worker");
        let script = match mode.as_str() {
            "unwatched" => "echo yes > begun",
            "deaf" => r#"trap "" TERM; exec 3> held; echo yes > begun; sleep 600 & wait"#,
            _ => "trap 'echo worker >> said; kill $!; exit' TERM; echo yes > begun; sleep 600 & wait",
        };
        let worker = place.script(script).expect("a command").to_command().expect("it can be run");
        let worker = Child::start(worker, "w".into(), Tail::default(), Some(socket.remains())).await;
        let begun = place.root.join("begun");
        assert_eq!(fs::read_to_string(&begun).expect("it begins"), "yes\n");
        tell(dir.watchdog().expect("one"));
        wait_for_a_word();
        match mode.as_str() {
            "panic" => panic!("the engine panics"),
            "exit" => std::process::exit(7),
            "abort" => std::process::abort(),
            _ => drop((worker, environment)),
        }
    });
}

/// D3: however an engine ends, its worker ends and then its environment is cleaned up, once, and its directory is gone.
#[test]
fn d3_however_an_engine_ends_it_is_cleaned_up() {
    for mode in ["TERM", "INT", "KILL", "abort", "exit", "panic", "return"] {
        let place = Place::new();
        place.pipe("begun");
        let engine = Engine::start(&place, mode);
        let private = place.open_private();
        match mode {
            "TERM" => engine.signal(Signal::TERM),
            "INT" => engine.signal(Signal::INT),
            "KILL" => engine.signal(Signal::KILL),
            _ => {}
        }
        engine.wait();
        released(private);
        let said = place.said();
        // A handle that is dropped kills the worker, which then has no last words.
        match mode {
            "panic" | "return" => assert_eq!(said, ["install", "clean"], "{mode}"),
            _ => assert_eq!(said, ["install", "worker", "clean"], "{mode}"),
        }
        assert!(place.private().is_empty(), "{mode}");
    }
}

/// D3, D7: a worker that outlives its engine and ignores SIGTERM is killed after the grace, with its group.
#[test]
fn d3_a_worker_that_outlives_its_engine_is_killed() {
    let place = Place::new();
    place.pipe("begun");
    let held = place.pipe("held");
    let all_dead = thread::spawn(move || fs::read_to_string(held));
    let engine = Engine::start(&place, "deaf");
    let private = place.open_private();
    engine.signal(Signal::KILL);
    engine.wait();
    released(private);
    soon(move || all_dead.join()).expect("it does not panic").expect("its writers are dead");
    assert_eq!(place.said(), ["install", "clean"]);
    assert!(place.private().is_empty());
}

/// D3: an engine that is killed while it installs leaves neither the installer nor what it made.
#[test]
fn d3_an_engine_killed_while_installing_is_cleaned_up() {
    let place = Place::new();
    let begun = place.pipe("begun");
    let engine = Engine::start(&place, "install");
    assert_eq!(text(begun), "yes\n");
    let private = place.open_private();
    engine.signal(Signal::KILL);
    engine.wait();
    released(private);
    assert_eq!(place.said(), ["install", "clean"]);
    assert!(place.private().is_empty());
}

/// Not a test when started by the test runner: a dispatcher that sweeps, when it is told to.
#[test]
fn the_sweeper_that_tests_start() {
    if env::var_os(MODE).is_none() {
        return;
    }
    let place = Place { root: env::var_os(PLACE).expect("a place").into(), _owner: None };
    tell("here");
    wait_for_a_word();
    tell(sweep(&place.base()).expect("it may be read").cleaned_up);
}

/// An engine and its watchdog, both killed: what they leave behind, and nobody who knows of it.
fn dead(place: &Place) {
    // Its worker ends by itself, as ours do (P4): no sweep ends it.
    let engine = Engine::start(place, "unwatched");
    let private = place.open_private();
    kill_process(engine.watchdog, Signal::KILL).expect("it lives");
    engine.signal(Signal::KILL);
    engine.wait();
    released(private);
}

/// D3: two dispatchers at once run the clean-up that a dead engine owes exactly once.
#[test]
fn d3_two_sweepers_run_an_owed_clean_up_once() {
    for _ in 0..3 {
        let place = Place::new();
        place.pipe("begun");
        dead(&place);
        assert_eq!(place.said(), ["install"]);
        assert_eq!(place.private().len(), 1);

        let mut sweepers = [(); 2].map(|()| again("the_sweeper_that_tests_start", &place, "sweep"));
        sweepers.iter_mut().for_each(|sweeper| assert_eq!(heard(sweeper), "here"));
        for sweeper in &mut sweepers {
            sweeper.stdin.take().expect("a pipe").write_all(b"!").expect("it reads");
        }
        let ran: usize = sweepers.iter_mut().map(|sweeper| heard(sweeper).parse::<usize>().expect("a number")).sum();
        sweepers.into_iter().for_each(|mut sweeper| assert!(sweeper.wait().expect("it is ours").success()));
        assert_eq!(ran, 1);
        assert_eq!(place.said(), ["install", "clean"]);
        assert!(place.private().is_empty());
    }
}

/// D3: the next dispatcher sweeps in the background, and leaves the living alone.
#[tokio::test]
async fn d3_the_next_dispatcher_sweeps_what_is_dead_and_nothing_else() {
    let place = Place::new();
    place.pipe("begun");
    dead(&place);
    let living = place.environment(place.config());
    living.ready().await.expect("it gets ready");
    let next = place.dir();
    assert_eq!(place.private().len(), 3);
    next.sweep_beside().expect("a thread").join().expect("it does not panic");
    assert_eq!(place.private().len(), 2);
    assert_eq!(sweep(&place.base()).expect("it may be read"), Default::default());
    assert_eq!(place.said(), ["install", "install", "clean"]);
    living.clean_up().await.expect("it is cleaned up");
}

/// D13: what may be secret is in no Debug output, no error, no log, and no command line that stays.
#[tokio::test]
async fn d13_secrets_are_never_shown() {
    let log = log();
    let place = Place::new();
    let mut shown = Vec::new();
    let mut show = |text: &dyn fmt::Debug| shown.push(format!("{text:?} {text:#?}"));
    let dir = place.dir();
    let failing = |word: &str| place.script(&format!("echo {word} speaks >&2; exit 1"));
    let config = EnvironmentConfig {
        verification: failing("verification"),
        installation: failing("installation"),
        clean_up: failing("clean-up"),
        ..place.config()
    };
    let missing = Some(WorkerCommand::new("no-such-program", [SECRET]));
    let hopeless = EnvironmentConfig { installation: missing.clone(), clean_up: missing, ..place.config() };
    for config in [config, hopeless] {
        let environment = Environment::new(config.clone(), Arc::clone(&dir)).expect("it can be run");
        show(&(&config, &environment, &dir));
        for error in [environment.ready().await.expect_err("it fails"), environment.clean_up().await.expect_err("too")]
        {
            let mut source: Option<&dyn std::error::Error> = Some(&error);
            while let Some(error) = source {
                show(&error.to_string());
                source = error.source();
            }
            show(&error);
        }
        show(&(&environment, &dir));
    }
    if cfg!(target_os = "linux") {
        let watchdog = format!("/proc/{}", dir.watchdog().expect("one"));
        for file in ["cmdline", "environ"] {
            let text = fs::read(Path::new(&watchdog).join(file)).expect("it lives");
            shown.push(String::from_utf8_lossy(&text).into_owned());
        }
    }
    shown.push(log.all());
    for text in &shown {
        assert!(!text.contains(SECRET), "{text}");
    }
    for role in ["verification", "installation", "clean-up"] {
        let said = format!(r#"worker="environment {role}""#);
        assert!(
            log.all().lines().any(|line| line.contains(&said) && line.contains(" speaks")),
            "{role}: {}",
            log.all()
        );
    }
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
        let bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Write for &Log {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
