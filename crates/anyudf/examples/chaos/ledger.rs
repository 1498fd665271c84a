//! What was done to which worker, what came of the calls, and whether the one explains the other.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use anyudf_engine::Error;

/// How long after it goes on a worker may still be given up for the heartbeats that it has missed, and callers be told.
const AFTERMATH: Duration = Duration::from_secs(3);

/// How many examples of something that should not be are kept, and how much of each.
const EXAMPLES: usize = 3;
const EXAMPLE_CHARS: usize = 400;

/// What may happen to a worker that explains an error in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deed {
    /// The monkey killed it.
    Killed,
    /// The monkey stopped it, not too long ago.
    Stopped,
    /// A caller had it run a function that hangs.
    Hung,
}

/// Whether what was done to its worker explains an error of this condition.
fn is_explained(condition: &str, deeds: &[Deed]) -> bool {
    let was = |deed| deeds.contains(&deed);
    match condition {
        // A stopped worker is killed in the end, and whoever was not told before sees that.
        "WORKER_DIED" | "TRANSPORT_FAILED" => was(Deed::Killed) || was(Deed::Stopped),
        "WORKER_LOST" | "WORKER_TIMEOUT" => was(Deed::Stopped),
        // In a worker that runs no other call takes as long as the neighbours of one that hangs are given (D11).
        "WORKER_DRAINED" => was(Deed::Hung) && was(Deed::Stopped),
        _ => false,
    }
}

/// All there is to know of the workers and the calls, shared by everybody.
#[derive(Default)]
pub(crate) struct Ledger(Mutex<Records>);

#[derive(Default)]
pub(crate) struct Records {
    pub(crate) calls: u64,
    pub(crate) right: u64,
    /// By kind and condition.
    pub(crate) errors: BTreeMap<String, u64>,
    /// How long after their deadline the callers of hung functions were told, in workers that ran.
    pub(crate) told: Vec<Duration>,
    /// The same where the monkey had stopped the worker meanwhile.
    pub(crate) told_by_stopped: Vec<Duration>,
    pub(crate) most_workers: usize,
    pub(crate) findings: Findings,
    workers: HashMap<String, History>,
}

/// What has happened to a worker.
#[derive(Default)]
struct History {
    killed: bool,
    hung: bool,
    /// From when until when; the last one may go on.
    stops: Vec<(Instant, Option<Instant>)>,
}

impl History {
    fn deeds(&self) -> Vec<Deed> {
        let stopped = self.stops.iter().any(|(_, until)| until.is_none_or(|until| until.elapsed() < AFTERMATH));
        let deeds = [(self.killed, Deed::Killed), (stopped, Deed::Stopped), (self.hung, Deed::Hung)];
        deeds.into_iter().filter_map(|(done, deed)| done.then_some(deed)).collect()
    }
}

impl Ledger {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Records> {
        self.0.lock().expect("nothing panics while it is held")
    }
}

/// What is done to a worker is written down first, so that no error can be earlier.
impl Records {
    fn worker(&mut self, id: &str) -> &mut History {
        self.workers.entry(id.into()).or_default()
    }

    pub(crate) fn kill(&mut self, id: &str) {
        self.worker(id).killed = true;
    }

    pub(crate) fn stop(&mut self, id: &str) {
        self.worker(id).stops.push((Instant::now(), None));
    }

    /// This one is written down afterwards: until then it may be silent.
    pub(crate) fn continued(&mut self, id: &str) {
        if let Some((_, until)) = self.worker(id).stops.last_mut() {
            *until = Some(Instant::now());
        }
    }

    pub(crate) fn hang(&mut self, id: &str) {
        self.worker(id).hung = true;
    }

    pub(crate) fn is_killed(&self, id: &str) -> bool {
        self.workers.get(id).is_some_and(|history| history.killed)
    }

    pub(crate) fn is_stopped(&self, id: &str) -> bool {
        self.workers.get(id).is_some_and(|history| history.stops.iter().any(|(_, until)| until.is_none()))
    }

    /// So many workers run at once.
    pub(crate) fn seen(&mut self, workers: usize) {
        self.most_workers = self.most_workers.max(workers);
    }

    /// How many workers something was done to.
    pub(crate) fn touched(&self) -> u64 {
        self.workers.len() as u64
    }

    /// A call that was sent to a function that hangs was told so just now.
    pub(crate) fn told(&mut self, id: &str, sent: Instant, lateness: Duration) {
        let stops = &self.worker(id).stops;
        match stops.iter().any(|(_, until)| until.is_none_or(|until| until > sent)) {
            true => self.told_by_stopped.push(lateness),
            false => self.told.push(lateness),
        }
    }

    /// A call has ended in an error that nobody has ordered.
    pub(crate) fn failed(&mut self, worker: Option<&str>, error: &Error) {
        *self.errors.entry(format!("{:?} {}", error.kind(), error.condition())).or_default() += 1;
        let example = || format!("{}: {error}", error.condition());
        let Some(id) = worker else { return self.findings.add("callers that got no worker", example) };
        let deeds = self.workers.get(id).map(History::deeds).unwrap_or_default();
        if deeds.is_empty() {
            self.findings.add("errors in workers that nobody had touched", || format!("{id}: {}", example()));
        } else if !is_explained(error.condition(), &deeds) {
            let example = || format!("{id}, which was {deeds:?}: {}", example());
            self.findings.add("errors that blame what was not done to their worker", example);
        }
    }
}

/// What should not be.
#[derive(Default)]
pub(crate) struct Findings(BTreeMap<&'static str, (u64, Vec<String>)>);

impl Findings {
    pub(crate) fn add(&mut self, what: &'static str, example: impl FnOnce() -> String) {
        let (count, examples) = self.0.entry(what).or_default();
        *count += 1;
        if examples.len() < EXAMPLES {
            examples.push(example().chars().take(EXAMPLE_CHARS).collect());
        }
    }

    /// What, how often, and examples of it.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, u64, &[String])> {
        self.0.iter().map(|(what, (count, examples))| (*what, *count, &examples[..]))
    }
}
