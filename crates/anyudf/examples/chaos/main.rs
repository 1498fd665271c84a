//! Many callers on a few workers, while a monkey kills and stops workers and some functions hang: `cargo xtask chaos`.
//!
//! ```text
//!   callers ──▶ Dispatcher ──▶ this program again, as workers of the bundled functions
//!      │ every call, checked         ▲
//!      ▼                             │ SIGKILL, SIGSTOP
//!    ledger ◀──────────────────── monkey
//! ```
//!
//! Every call must end, in a right result or in an error that something explains which was done to its worker. There are
//! never more workers than allowed. When the monkey is gone all goes well, and when the dispatcher is closed nothing is
//! left. It is no benchmark: its figures say how long things take when everything goes wrong.

mod callers;
mod calm;
mod leaks;
mod ledger;
mod monkey;
mod plan;
mod processes;
mod report;

use std::env;
use std::error::Error;
use std::mem;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyudf_engine::{Dispatcher, DispatcherConfig, DispatcherStats, WorkerSpecification};
use tokio::task::JoinSet;
use tokio::time::timeout;

use callers::Caller;
use leaks::{Holdings, leaks};
use ledger::{Ledger, Records};
use monkey::{Mischief, monkey};
use plan::{Plan, Random, USAGE};

/// What takes longer than this never ends.
const NEVER: Duration = Duration::from_secs(60);

/// How often workers are asked whether they are there. Faster than usual, so that short runs see stopped ones replaced, and
/// slow enough that a busy machine alone makes nobody miss three.
const HEARTBEAT: Duration = Duration::from_millis(500);

/// The monkey's stream of numbers; the callers have the others.
const MONKEY: u64 = u64::MAX;

/// All there is to look at afterwards.
struct Outcome {
    records: Records,
    mischief: Mischief,
    stats: DispatcherStats,
    left: Vec<String>,
}

fn main() -> ExitCode {
    if processes::is_worker() {
        return anyudf_worker::Worker::bundled().run_with(env::args_os().skip(1));
    }
    let arguments: Vec<String> = env::args().skip(1).collect();
    let Some(plan) = Plan::parse(&arguments) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    // What the first use of everything leaves for good is there before it is counted.
    let warm_up = Plan { seconds: 1, callers: 2, workers: 1, ..plan };
    match run(&warm_up).and_then(|_| run(&plan)) {
        Ok(outcome) => report::report(&plan, outcome),
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs it all on a runtime of its own.
fn run(plan: &Plan) -> Result<Outcome, Box<dyn Error>> {
    // Idle threads for blocking work go soon, so that what is left can be told from them.
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).thread_keep_alive(Duration::from_millis(100)).enable_all().build()?;
    let outcome = runtime.block_on(chaos(plan));
    // A task that blocks for ever has been reported.
    runtime.shutdown_timeout(Duration::from_secs(1));
    outcome
}

async fn chaos(plan: &Plan) -> Result<Outcome, Box<dyn Error>> {
    let base = tempfile::tempdir()?;
    let before = Holdings::now();
    let dispatcher = dispatcher(plan, base.path())?;
    let until = Instant::now() + Duration::from_secs(plan.seconds);
    let ledger = Arc::new(Ledger::default());
    let counting = tokio::spawn(processes::count(Arc::clone(&ledger)));
    let mut callers = JoinSet::new();
    for name in 0..plan.callers {
        let caller = Caller::new(dispatcher.clone(), name, Random::new(plan.seed, name));
        let ledger = Arc::clone(&ledger);
        callers.spawn(async move { caller.call_until(until, &ledger).await });
    }
    let monkey = monkey(until, dispatcher.clone(), Random::new(plan.seed, MONKEY), Arc::clone(&ledger));
    let limit = Duration::from_secs(plan.seconds) + 2 * NEVER;
    let (callers, mischief) = tokio::join!(callers.join_all(), timeout(limit, monkey));
    calm::calm(&dispatcher, callers, &ledger).await;

    let stats = timeout(NEVER, dispatcher.stats()).await.ok().flatten().unwrap_or_default();
    if timeout(NEVER, dispatcher.close()).await.is_err() {
        ledger.lock().findings.add("a dispatcher that does not close", || format!("within {NEVER:?}"));
    }
    drop(dispatcher);
    counting.abort();
    // It says that it was cancelled just now.
    let _ = counting.await;
    let left = leaks(base.path(), before).await;
    let mut records = mem::take(&mut *ledger.lock());
    if mischief.is_err() {
        records.findings.add("a dispatcher that does not say how it stands", || format!("within {limit:?}"));
    }
    Ok(Outcome { records, mischief: mischief.unwrap_or_default(), stats, left })
}

fn dispatcher(plan: &Plan, base: &Path) -> Result<Dispatcher, Box<dyn Error>> {
    let program = env::current_exe()?;
    let specification = WorkerSpecification::new(program.display().to_string(), [""; 0])
        .with_variable(processes::MARK, processes::mark())
        .with_variable("RUST_LOG", "error")
        .with_reuse()
        .with_concurrent_udfs()
        .with_initialization_timeout(Duration::from_secs(3))
        .with_graceful_termination_timeout(Duration::from_secs(1));
    let mut config = DispatcherConfig::default();
    config.worker.launch.socket_base = Some(base.into());
    config.pool.max_workers = plan.workers as usize;
    config.pool.sessions_per_worker = Some(plan.callers.div_ceil(plan.workers) as usize);
    config.pool.heartbeat_interval = HEARTBEAT;
    config.pool.drain_timeout = Duration::from_secs(2);
    config.pool.backoff_initial = Duration::from_millis(10);
    config.pool.backoff_max = Duration::from_millis(500);
    config.pool.start_attempts = 50;
    Ok(Dispatcher::new(&specification, config)?)
}
