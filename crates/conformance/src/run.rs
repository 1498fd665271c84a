//! A run: every selected case against the implementation, some at the same time.

use std::collections::{BTreeSet, VecDeque};
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use crate::capability::{Capabilities, Capability, ROLES};
use crate::case::{Case, Level, Part, Selection, matches, worker_cases};
use crate::engine;
use crate::error::Error;
use crate::play::{Failure, Played, Stage, play};
use crate::process::{Process, Start, Subject, has_full_device, has_ipv6};

/// After so many timeouts the rest of a run is not worth its time.
const PATIENCE: usize = 10;

/// What to run, against what, and how.
#[derive(Clone, Debug)]
pub struct Config {
    /// The command of the implementation: its program, and its arguments.
    pub program: OsString,
    /// Its arguments, before those that the kit adds: `--id` and `--connection` for a worker (P1), `--connection` and
    /// `--scenario` for the driver of an engine.
    pub arguments: Vec<OsString>,
    /// What it offers.
    pub capabilities: Capabilities,
    /// All cases there are.
    pub cases: Vec<Case>,
    /// Which of them.
    pub selection: Selection,
    /// How many at the same time, each with a process of its own.
    pub jobs: usize,
    /// How often each.
    pub repeat: usize,
    /// How long a case may take that says nothing else.
    pub timeout: Duration,
    /// How long a worker may take until it answers, and a driver until its first sign.
    pub start_timeout: Duration,
    /// Patterns of cases whose failure is known.
    pub known_failing: BTreeSet<String>,
}

impl Config {
    /// The usual bounds.
    pub fn new(program: impl Into<OsString>, arguments: impl IntoIterator<Item = OsString>) -> Self {
        Config {
            program: program.into(),
            arguments: arguments.into_iter().collect(),
            capabilities: Capabilities::default(),
            cases: worker_cases(),
            selection: Selection::default(),
            jobs: std::thread::available_parallelism().map_or(2, usize::from),
            repeat: 1,
            timeout: Duration::from_secs(5),
            start_timeout: Duration::from_secs(10),
            known_failing: BTreeSet::new(),
        }
    }

    /// Reads patterns of known failures: one a line, `#` begins a comment.
    ///
    /// # Errors
    /// A file that can't be read.
    pub fn read_known_failing(&mut self, path: &Path) -> Result<(), Error> {
        let text =
            fs::read_to_string(path).map_err(|error| Error::new(format!("cannot read {}", path.display()), error))?;
        let lines = text.lines().map(|line| line.split('#').next().unwrap_or("").trim());
        self.known_failing.extend(lines.filter(|line| !line.is_empty()).map(String::from));
        Ok(())
    }
}

/// What came of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// It holds.
    Pass,
    /// It does not.
    Fail,
    /// The implementation does not offer what it is about.
    Skip,
    /// It holds, and the implementation has chosen something that the protocol leaves open.
    Choice,
    /// The run was ended before.
    NotRun,
}

impl Outcome {
    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Outcome::Pass => "pass",
            Outcome::Fail => "fail",
            Outcome::Skip => "skip",
            Outcome::Choice => "choice",
            Outcome::NotRun => "not run",
        }
    }
}

/// How one case went.
#[derive(Clone, Debug)]
pub struct Report {
    /// The case.
    pub case: Arc<Case>,
    /// What came of it.
    pub outcome: Outcome,
    /// Why it failed or was skipped, or what was chosen.
    pub detail: String,
    /// The line of the script that found it, and its number.
    pub step: Option<(usize, String)>,
    /// The dialogue, with times from the case's beginning.
    pub transcript: Vec<(Duration, String)>,
    /// How long it took.
    pub took: Duration,
    /// Its failure is known.
    pub known: bool,
}

impl Report {
    /// Whether the run fails for it.
    pub fn counts(&self) -> bool {
        matches!(self.outcome, Outcome::Fail | Outcome::NotRun) && self.case.level == Level::Must && !self.known
    }
}

/// Runs the selected cases, and tells of each as soon as it is known.
///
/// # Errors
/// When no case is selected. What is wrong with the implementation is in the reports.
///
/// # Panics
/// Outside a tokio runtime with I/O and time.
pub async fn run(config: Config, tell: impl FnMut(&Report)) -> Result<Vec<Report>, Error> {
    let cases = config.cases.iter().filter(|case| config.selection.holds(case));
    let cases: Vec<_> = cases.cloned().map(Arc::new).collect();
    if cases.is_empty() {
        return Err(Error::text("no case is selected; `--list` shows all there are"));
    }
    let mut tell = tell;
    let (finished, mut reports) = mpsc::unbounded_channel();
    let mut queue = VecDeque::new();
    for case in (0..config.repeat.max(1)).flat_map(|_| &cases) {
        match missing(case, &config.capabilities) {
            Some(missing) => {
                let skipped = report(&config, case, Outcome::Skip, format!("needs {missing}"), Played::default());
                let _ = finished.send((skipped, false));
            }
            None => queue.push_back(Arc::clone(case)),
        }
    }
    let shared = Arc::new(Shared { queue: Mutex::new(queue), timeouts: AtomicUsize::new(0), config });
    let jobs: Vec<_> =
        (0..shared.config.jobs.max(1)).map(|_| tokio::spawn(work(Arc::clone(&shared), finished.clone()))).collect();
    drop(finished);
    let mut all = Vec::new();
    while let Some((report, _)) = reports.recv().await {
        tell(&report);
        all.push(report);
    }
    for job in jobs {
        job.await.map_err(|error| Error::new("a job of the kit panicked", error))?;
    }
    Ok(all)
}

/// What the jobs share.
struct Shared {
    queue: Mutex<VecDeque<Arc<Case>>>,
    timeouts: AtomicUsize,
    config: Config,
}

/// Something that a case needs and the implementation does not offer.
fn missing(case: &Case, capabilities: &Capabilities) -> Option<String> {
    let script = match &case.part {
        Part::Engine(script) => Some(script),
        Part::Worker(_) => None,
    };
    let role = script.into_iter().flat_map(|script| &script.roles).find(|role| capabilities.function(role).is_none());
    let role = role.map(|role| {
        let rule = ROLES.iter().find(|(known, _)| known == role).map_or("", |(_, rule)| rule);
        format!("a function `{role}` ({rule})")
    });
    let lacks = |what: &str| format!("{what}, which this machine does not have");
    let ipv6 = (script.is_some_and(|script| script.ipv6) && !has_ipv6()).then(|| lacks("IPv6"));
    let full = (script.is_some_and(|script| script.full_log) && !has_full_device())
        .then(|| lacks("a device that is always full"));
    let capability = case.needs.iter().find(|need| !capabilities.has(**need));
    role.or(ipv6).or(full).or(capability.map(|capability: &Capability| format!("`{capability}`")))
}

/// One job: takes cases until there are none.
async fn work(shared: Arc<Shared>, finished: mpsc::UnboundedSender<(Report, bool)>) {
    let config = &shared.config;
    let subject = Subject {
        program: config.program.clone(),
        arguments: config.arguments.clone(),
        start_timeout: config.start_timeout,
    };
    let mut worker: Option<Process> = None;
    loop {
        let case = shared.queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let Some(case) = case else { break };
        let (report, late) = match shared.timeouts.load(Ordering::Relaxed) >= PATIENCE {
            true => {
                let why = format!("the run was given up after {PATIENCE} timeouts");
                (self::report(config, &case, Outcome::NotRun, why, Played::default()), false)
            }
            false => one(config, &subject, &case, &mut worker).await,
        };
        if late {
            shared.timeouts.fetch_add(1, Ordering::Relaxed);
        }
        // Nobody listens when the run is given up.
        let _ = finished.send((report, late));
    }
    if let Some(mut worker) = worker {
        worker.kill().await;
    }
}

/// Runs one case: that of an engine with a driver of its own, that of a worker on the job's unless it starts its own.
/// Says, too, whether it ran out of time.
async fn one(config: &Config, subject: &Subject, case: &Arc<Case>, worker: &mut Option<Process>) -> (Report, bool) {
    let began = Instant::now();
    let timeout = case.timeout.map_or(config.timeout, |timeout| timeout.max(config.timeout));
    let script = match &case.part {
        Part::Engine(script) => script,
        Part::Worker(dialogue) => {
            let played = engine::play(&engine::Stage { subject, timeout }, dialogue).await;
            let late = played.failure.as_ref().is_some_and(|failure| failure.late);
            return (judged(config, case, played, began), late);
        }
    };
    if !script.starts && worker.is_none() {
        match subject.start(&Start::default()).await {
            Ok(process) => *worker = Some(process),
            Err(why) => {
                let failure = Failure { what: format!("the worker can't be started: {why}"), step: None, late: true };
                let played = Played { failure: Some(failure), ..Played::default() };
                return (judged(config, case, played, began), true);
            }
        }
    }
    let stage = Stage { subject, capabilities: &config.capabilities, timeout };
    let mut played = play(&stage, script, worker.as_ref()).await;
    if !script.starts
        && let Some(process) = worker
    {
        let how = process.ended();
        if let Some(how) = &how {
            let before = played.failure.take();
            let what = before.as_ref().map_or(String::new(), |failure| format!("{}; ", failure.what));
            let what = process.explain(format!("{what}the worker has ended ({how})"));
            let (step, late) = before.map_or((None, false), |failure| (failure.step, failure.late));
            played.failure = Some(Failure { what, step, late });
        }
        // What a failed case has left in it is not the next one's.
        if played.failure.is_some() {
            process.kill().await;
            *worker = None;
        }
    }
    let late = played.failure.as_ref().is_some_and(|failure| failure.late);
    (judged(config, case, played, began), late)
}

fn judged(config: &Config, case: &Arc<Case>, played: Played, began: Instant) -> Report {
    let (outcome, detail) = match (&played.failure, played.choices.is_empty()) {
        (Some(failure), _) => (Outcome::Fail, failure.what.clone()),
        (None, true) => (Outcome::Pass, String::new()),
        (None, false) => (Outcome::Choice, played.choices.join(", ")),
    };
    Report { took: began.elapsed(), ..report(config, case, outcome, detail, played) }
}

fn report(config: &Config, case: &Arc<Case>, outcome: Outcome, detail: String, played: Played) -> Report {
    Report {
        case: Arc::clone(case),
        outcome,
        detail,
        step: played.failure.and_then(|failure| failure.step),
        transcript: played.transcript,
        took: Duration::ZERO,
        known: config.known_failing.iter().any(|pattern| matches(pattern, &case.name)),
    }
}
