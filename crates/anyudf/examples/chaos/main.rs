//! Many callers on a few workers, while a monkey kills and stops workers and some functions hang: `cargo xtask chaos`.
//!
//! Every call must end, in a right result or a clear error, and nothing may be left when the dispatcher is closed. This
//! program is its own worker. It is no benchmark: its figures say how long things take when everything goes wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fs;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyudf_engine::{
    Dispatcher, DispatcherConfig, DispatcherStats, Error, Init, WorkerPlan, WorkerSpecification, WorkerState,
};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

/// Set for the processes that are workers.
const WORKER: &str = "ANYUDF_CHAOS_WORKER";

/// How long each call into a function may take.
const CALL_TIMEOUT: Duration = Duration::from_millis(200);

/// A call that takes longer than this never ends.
const NEVER: Duration = Duration::from_secs(60);

const USAGE: &str = "usage: chaos [--seconds N] [--callers N] [--workers N] [--seed N]";

/// What to do.
struct Plan {
    seconds: u64,
    callers: u64,
    workers: u64,
    seed: u64,
}

impl Plan {
    fn parse(arguments: &[String]) -> Option<Plan> {
        let mut plan = Plan { seconds: 10, callers: 64, workers: 4, seed: 1 };
        for pair in arguments.chunks(2) {
            let [name, value] = pair else { return None };
            let place = match name.as_str() {
                "--seconds" => &mut plan.seconds,
                "--callers" => &mut plan.callers,
                "--workers" => &mut plan.workers,
                "--seed" => &mut plan.seed,
                _ => return None,
            };
            *place = value.parse().ok().filter(|&number| number > 0)?;
        }
        Some(plan)
    }
}

/// Numbers that look random, the same for the same seed.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }
}

/// What has come of the calls.
#[derive(Default)]
struct Tally {
    calls: u64,
    right: u64,
    wrong: u64,
    endless: u64,
    errors: BTreeMap<String, u64>,
    /// How long after its deadline the caller of a hung function had its error.
    lateness: Vec<Duration>,
}

/// What the monkey has done.
#[derive(Default)]
struct Mischief {
    killed: u64,
    stopped: u64,
    /// From a kill until a worker answered that was not there before.
    recoveries: Vec<Duration>,
    seen: BTreeSet<u32>,
}

fn main() -> ExitCode {
    if env::var_os(WORKER).is_some() {
        return anyudf_worker::Worker::bundled().run_with(env::args_os().skip(1));
    }
    let arguments: Vec<String> = env::args().skip(1).collect();
    let Some(plan) = Plan::parse(&arguments) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    // What the first use of everything leaves for good is there before it is counted.
    let warm_up = Plan { seconds: 1, callers: 2, workers: 1, seed: plan.seed };
    run(&warm_up, &mut Tally::default());
    let before = holdings();
    let mut tally = Tally::default();
    let (mischief, stats, base) = run(&plan, &mut tally);
    let left = leaks(&mischief, &base, before);
    report(&plan, tally, mischief, &stats, &left)
}

/// Runs it all on a runtime of its own. Returns what there is to look at afterwards.
fn run(plan: &Plan, tally: &mut Tally) -> (Mischief, DispatcherStats, TempDir) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("the system has threads").block_on(async {
        let base = tempfile::tempdir().expect("a directory for sockets");
        let dispatcher = dispatcher(plan, &base).expect("the specification is good");
        let until = Instant::now() + Duration::from_secs(plan.seconds);
        let shared = Arc::new(Mutex::new(std::mem::take(tally)));
        let callers: Vec<_> = (0..plan.callers)
            .map(|caller| {
                let random = Random::new(plan.seed + caller);
                tokio::spawn(call_until(until, dispatcher.clone(), caller, random, Arc::clone(&shared)))
            })
            .collect();
        let monkey = tokio::spawn(monkey(until, dispatcher.clone(), Random::new(plan.seed ^ 0xbad)));
        for caller in callers {
            caller.await.expect("no caller panics");
        }
        let mischief = monkey.await.expect("the monkey does not panic");
        let stats = dispatcher.stats().await.unwrap_or_default();
        dispatcher.close().await;
        *tally = std::mem::take(&mut *lock(&shared));
        (mischief, stats, base)
    })
}

fn dispatcher(plan: &Plan, base: &TempDir) -> Result<Dispatcher, Error> {
    let program = env::current_exe().expect("it has a path");
    let specification = WorkerSpecification::new(program.display().to_string(), [""; 0])
        .with_variable(WORKER, "1")
        .with_variable("RUST_LOG", "error")
        .with_reuse()
        .with_concurrent_udfs()
        .with_graceful_termination_timeout(Duration::from_secs(1));
    let mut config = DispatcherConfig::default();
    config.worker.launch.socket_base = Some(base.path().into());
    config.pool.max_workers = plan.workers as usize;
    config.pool.sessions_per_worker = Some(plan.callers.div_ceil(plan.workers) as usize);
    config.pool.heartbeat_interval = Duration::from_millis(200);
    config.pool.drain_timeout = Duration::from_secs(2);
    config.pool.backoff_initial = Duration::from_millis(10);
    config.pool.backoff_max = Duration::from_millis(500);
    config.pool.start_attempts = 50;
    let plan: WorkerPlan = specification.plan(config.max_timeout)?;
    Dispatcher::with_plan(plan, config)
}

async fn call_until(
    until: Instant,
    dispatcher: Dispatcher,
    caller: u64,
    mut random: Random,
    shared: Arc<Mutex<Tally>>,
) {
    let mut number = 0;
    while Instant::now() < until {
        number += 1;
        let ended = match random.below(200) {
            0 => timeout(NEVER, hang(&dispatcher, &shared)).await,
            1..10 => timeout(NEVER, echo(&dispatcher, Init::new("echo/slow", "5"), caller, number, &mut random)).await,
            _ => timeout(NEVER, echo(&dispatcher, Init::new("echo", ""), caller, number, &mut random)).await,
        };
        let mut tally = lock(&shared);
        tally.calls += 1;
        match ended {
            Ok(Ok(true)) => tally.right += 1,
            Ok(Ok(false)) => tally.wrong += 1,
            Ok(Err(error)) => {
                *tally.errors.entry(format!("{:?} {}", error.kind(), error.condition())).or_default() += 1
            }
            Err(_) => tally.endless += 1,
        }
    }
}

/// A few batches of the caller's own, there and back. Says whether what came back is right.
async fn echo(
    dispatcher: &Dispatcher,
    init: Init,
    caller: u64,
    number: u64,
    random: &mut Random,
) -> Result<bool, Error> {
    let (mut input, mut output) = dispatcher.open(init).await?.split();
    for batch in 0..1 + random.below(6) {
        let text =
            format!("caller {caller}, call {number}, batch {batch}, {}", "x".repeat(random.below(50_000) as usize));
        input.send([text.clone().into()]).await?;
        if output.next().await?.as_deref() != Some(text.as_bytes()) {
            return Ok(false);
        }
    }
    input.finish().await?;
    let right = output.next().await?.is_none();
    output.close().await?;
    Ok(right)
}

/// A function that never returns: right is the error that says so.
async fn hang(dispatcher: &Dispatcher, shared: &Mutex<Tally>) -> Result<bool, Error> {
    let init = Init::new("echo/hang", "").with_call_timeout(CALL_TIMEOUT);
    let (mut input, mut output) = dispatcher.open(init).await?.split();
    input.send(["hang".into()]).await?;
    let sent = Instant::now();
    match output.next().await {
        Err(error) if error.condition() == "CALL_TIMEOUT" => {
            lock(shared).lateness.push(sent.elapsed().saturating_sub(CALL_TIMEOUT));
            Ok(true)
        }
        Err(error) => Err(error),
        Ok(_) => Ok(false),
    }
}

/// Kills and stops workers, and looks how soon others are there.
async fn monkey(until: Instant, dispatcher: Dispatcher, mut random: Random) -> Mischief {
    let mut mischief = Mischief::default();
    while Instant::now() < until {
        sleep(Duration::from_millis(20 + random.below(400))).await;
        let pids = ready(&dispatcher, &mut mischief).await;
        if pids.is_empty() {
            continue;
        }
        let pid = pids[random.below(pids.len() as u64) as usize];
        match random.below(3) {
            0 => {
                mischief.stopped += 1;
                signal(pid, Signal::STOP);
                sleep(Duration::from_millis(random.below(300))).await;
                if random.below(2) == 0 {
                    signal(pid, Signal::CONT);
                }
            }
            _ => {
                mischief.killed += 1;
                let (began, known) = (Instant::now(), mischief.seen.clone());
                signal(pid, Signal::KILL);
                while ready(&dispatcher, &mut mischief).await.iter().all(|pid| known.contains(pid)) {
                    sleep(Duration::from_millis(1)).await;
                    if Instant::now() > until {
                        return mischief; // perhaps nobody asks any more
                    }
                }
                mischief.recoveries.push(began.elapsed());
            }
        }
    }
    mischief
}

/// The workers that answer.
async fn ready(dispatcher: &Dispatcher, mischief: &mut Mischief) -> Vec<u32> {
    let stats = dispatcher.stats().await.unwrap_or_default();
    mischief.seen.extend(stats.workers.iter().filter_map(|worker| worker.pid));
    let ready = stats.workers.iter().filter(|worker| worker.state == WorkerState::Ready);
    ready.filter_map(|worker| worker.pid).collect()
}

fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // It may have gone meanwhile.
        let _ = kill_process(pid, signal);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().expect("nothing panics while it is held")
}

/// Threads and descriptors of this process.
fn holdings() -> (usize, usize) {
    let entries = |path: &str| fs::read_dir(path).map_or(0, Iterator::count);
    (entries("/proc/self/task"), entries("/proc/self/fd"))
}

/// What is left that should not be.
fn leaks(mischief: &Mischief, base: &TempDir, before: (usize, usize)) -> Vec<String> {
    let mut left = Vec::new();
    let is_ours = |pid: &&u32| {
        let line = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        line.split(|&byte| byte == 0).any(|variable| variable.starts_with(WORKER.as_bytes()))
    };
    left.extend(mischief.seen.iter().filter(is_ours).map(|pid| format!("process {pid}")));
    let files = fs::read_dir(base.path()).into_iter().flatten().flatten();
    left.extend(files.map(|file| format!("file {}", file.file_name().display())));
    let ((threads, descriptors), (threads_before, descriptors_before)) = (holdings(), before);
    if threads > threads_before {
        left.push(format!("{} threads", threads - threads_before));
    }
    if descriptors > descriptors_before {
        left.push(format!("{} descriptors", descriptors - descriptors_before));
    }
    left
}

/// A line of median, 99th percentile and maximum.
fn spread(mut times: Vec<Duration>) -> String {
    times.sort();
    let at = |hundredths: usize| {
        let place = (times.len() * hundredths / 100).min(times.len().saturating_sub(1));
        times.get(place).map_or(0.0, |time| time.as_secs_f64() * 1e3)
    };
    format!("median {:.1} ms, p99 {:.1} ms, at the most {:.1} ms, of {}", at(50), at(99), at(100), times.len())
}

fn report(plan: &Plan, tally: Tally, mischief: Mischief, stats: &DispatcherStats, left: &[String]) -> ExitCode {
    let Plan { seconds, callers, workers, seed } = plan;
    let Tally { calls, right, wrong, endless, errors, lateness } = tally;
    println!("chaos for {seconds} s: {callers} callers, {workers} workers, seed {seed}");
    println!("calls            {calls}: {right} right, {wrong} wrong, {endless} without an end");
    for (error, count) in &errors {
        println!("  error          {count} x {error}");
    }
    println!("monkey           {} killed, {} stopped", mischief.killed, mischief.stopped);
    println!(
        "workers          {} started, {} did not start, {} crashed or were given up",
        stats.starts, stats.failed_starts, stats.crashes
    );
    println!("recovery         {}", spread(mischief.recoveries));
    println!("hung functions   caller told after the deadline: {}", spread(lateness));
    println!("longest wait     {:.1} ms", stats.longest_wait.as_secs_f64() * 1e3);
    println!("leaks            {}{}", left.len(), left.iter().map(|what| format!(", {what}")).collect::<String>());
    let good = wrong == 0 && endless == 0 && left.is_empty() && right > 0;
    println!("{}", if good { "good" } else { "BAD" });
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
