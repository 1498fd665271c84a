//! The task that owns the pool: hears what happens, and does what the pool decides.

use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyudf_grpc::Status;
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep_until;

use super::lease::Lease;
use super::metrics::Instruments;
use super::stats::{DispatcherStats, WorkerState, WorkerStats};
use crate::environment::Environment;
use crate::error::{Error, ErrorKind};
use crate::launcher::{Launcher, WorkerCommand};
use crate::pool::words::{
    Action, Cover, Event, Failure, Manner, Outcome, Prospect, Refusal, RequestId, Vitals, WorkerId,
};
use crate::pool::{Pool, Scope};
use crate::session::{Cause, Control};
use crate::worker::{Worker, WorkerConfig};

/// Why sessions are cancelled at the end.
const CLOSING: &str = "the dispatcher closes";

/// What the keeper hears.
#[derive(Debug)]
pub(super) enum Message {
    Event(Event),
    /// A caller wants a session.
    Request {
        id: RequestId,
        scope: Scope,
        reply: oneshot::Sender<Result<Granted, Error>>,
    },
    /// It does not want it any more.
    Abandoned(RequestId),
    /// A caller has made a session of what it was granted.
    Opened {
        worker: WorkerId,
        request: RequestId,
        control: Control,
        label: String,
    },
    /// That session is over.
    Released {
        worker: WorkerId,
        request: RequestId,
        outcome: Outcome,
    },
    /// A worker answers.
    Started(WorkerId, Worker),
    /// A worker did not start.
    StartFailed(WorkerId, Error),
    /// Everything is to be ended, and this caller waits for it.
    Close(oneshot::Sender<()>),
    Stats(oneshot::Sender<DispatcherStats>),
}

/// What a caller gets.
#[derive(Debug)]
pub(super) struct Granted {
    pub(super) worker: Worker,
    pub(super) lease: Lease,
}

/// All it takes to start a worker.
#[derive(Debug)]
pub(super) struct Starter {
    pub(super) launcher: Launcher,
    pub(super) environment: Environment,
    pub(super) runner: WorkerCommand,
    pub(super) config: WorkerConfig,
    pub(super) heartbeat_interval: Duration,
}

impl Starter {
    /// Starts a worker, unless `stopped` comes first: then nothing is left of it when this returns.
    async fn start(&self, stopped: impl Future<Output = ()>) -> Result<Worker, Error> {
        let mut stopped = pin!(stopped);
        tokio::select! {
            ready = self.environment.ready() => ready?,
            () = &mut stopped => {
                return Err(Error::new(ErrorKind::Launch, "WORKER_NOT_STARTED", "the worker is no longer wanted"));
            }
        }
        Worker::pooled(&self.launcher, &self.runner, self.config.clone(), stopped).await
    }
}

/// What a task owes the keeper. It is told in any case, so that no slot is lost with a task that panics.
#[derive(Debug)]
struct Promise {
    tell: mpsc::UnboundedSender<Message>,
    /// `None` once it was told.
    message: Option<Message>,
}

impl Promise {
    /// What is told if nobody keeps it.
    fn new(tell: &mpsc::UnboundedSender<Message>, otherwise: Message) -> Self {
        Promise { tell: tell.clone(), message: Some(otherwise) }
    }

    fn keep(mut self, message: Message) {
        self.message = Some(message);
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        // Nobody listens when all is closed.
        let _ = self.message.take().map(|message| self.tell.send(message));
    }
}

/// A worker of the pool.
#[derive(Debug)]
enum Member {
    /// Dropping the sender stops the start. Whatever comes of it is told.
    Starting {
        _stop: oneshot::Sender<()>,
    },
    Ready(Ready),
    Ending {
        id: Option<String>,
        pid: Option<u32>,
        /// Why its sessions were failed, for one that was on its way.
        cause: Option<Cause>,
    },
}

#[derive(Debug)]
struct Ready {
    worker: Worker,
    resident: Option<u64>,
    sessions: HashMap<RequestId, Seated>,
    /// Why its sessions were failed: its end is next.
    failed: Option<Cause>,
}

/// A session of a worker.
#[derive(Debug)]
struct Seated {
    control: Control,
    /// What its function is called.
    label: String,
}

/// See the module's page.
pub(super) struct Keeper {
    pool: Pool,
    starter: Arc<Starter>,
    instruments: Instruments,
    /// For the tasks that it starts. It ends when the pool says that all is gone, not when nobody is left to tell it.
    tell: mpsc::UnboundedSender<Message>,
    waiting: HashMap<RequestId, oneshot::Sender<Result<Granted, Error>>>,
    members: BTreeMap<WorkerId, Member>,
    /// Why the last start failed that did.
    failed_start: Option<Error>,
    closing: Vec<oneshot::Sender<()>>,
}

impl Keeper {
    pub(super) fn new(pool: Pool, starter: Starter, tell: mpsc::UnboundedSender<Message>) -> Self {
        Keeper {
            pool,
            instruments: Instruments::new(&starter.runner.program.display().to_string()),
            starter: Arc::new(starter),
            tell,
            waiting: HashMap::new(),
            members: BTreeMap::new(),
            failed_start: None,
            closing: Vec::new(),
        }
    }

    /// Runs until all is closed.
    pub(super) async fn run(mut self, mut inbox: mpsc::UnboundedReceiver<Message>) {
        loop {
            if self.act_all().is_break() {
                return self.closed(inbox).await;
            }
            let message = match self.pool.deadline() {
                Some(deadline) => tokio::select! {
                    biased;
                    message = inbox.recv() => message,
                    () = sleep_until(deadline.into()) => Some(Message::Event(Event::Elapsed)),
                },
                None => inbox.recv().await,
            };
            // Never `None`: the keeper holds a sender itself.
            let Some(message) = message else { return };
            self.hear(message);
        }
    }

    /// Does what the pool wants done, and says how it stands then.
    fn act_all(&mut self) -> ControlFlow<()> {
        // Before, too: whoever learns from what is done that it is done finds it measured.
        self.instruments.record(&self.pool.snapshot());
        while let Some(action) = self.pool.poll_action() {
            self.act(action)?;
        }
        ControlFlow::Continue(())
    }

    /// The last worker is gone: what it needed goes, too (D3). Until that is done, who asks is answered.
    async fn closed(mut self, mut inbox: mpsc::UnboundedReceiver<Message>) {
        let starter = Arc::clone(&self.starter);
        // What went wrong is logged there; nothing can be done about it here.
        let mut clean_up = pin!(async move { drop(starter.environment.clean_up().await) });
        loop {
            let message = tokio::select! {
                () = &mut clean_up => break,
                Some(message) = inbox.recv() => message,
            };
            self.hear(message);
            // It is closed, and has told so.
            let _ = self.act_all();
        }
        let Keeper { starter, closing, .. } = self;
        drop(starter);
        for caller in closing {
            let _ = caller.send(());
        }
    }

    fn hear(&mut self, message: Message) {
        let now = Instant::now();
        let event = match message {
            Message::Event(event) => {
                self.note(&event);
                event
            }
            Message::Request { id, scope, reply } => {
                self.waiting.insert(id, reply);
                Event::Requested(id, scope)
            }
            Message::Abandoned(id) => {
                self.waiting.remove(&id);
                Event::Abandoned(id)
            }
            Message::Opened { worker, request, control, label } => return self.opened(worker, request, control, label),
            Message::Released { worker, request, outcome } => {
                if let Some(Member::Ready(ready)) = self.members.get_mut(&worker) {
                    ready.sessions.remove(&request);
                }
                Event::Released(worker, outcome)
            }
            Message::Started(id, worker) => match self.members.get(&id) {
                Some(Member::Starting { .. }) => self.started(id, worker),
                // Its end was asked for when it was about to answer.
                _ => return self.reap(id, worker, Manner::AtOnce),
            },
            Message::StartFailed(id, error) => {
                let prospect = prospect(&error);
                tracing::debug!(condition = error.condition(), "a worker did not start: {error}");
                if let Some(Member::Starting { .. }) = self.members.remove(&id) {
                    self.failed_start = Some(error);
                }
                Event::StartFailed(id, prospect)
            }
            Message::Close(done) => {
                self.closing.push(done);
                Event::Close
            }
            Message::Stats(reply) => {
                let _ = reply.send(self.stats());
                return;
            }
        };
        self.pool.handle(event, now);
    }

    /// Keeps the members as the pool's workers are.
    fn note(&mut self, event: &Event) {
        match event {
            Event::Beat(id, vitals) => {
                if let Some(Member::Ready(ready)) = self.members.get_mut(id) {
                    ready.resident = vitals.resident.or(ready.resident);
                }
            }
            Event::Ended(id) => drop(self.members.remove(id)),
            _ => {}
        }
    }

    /// A worker answers: its death is watched from now on.
    fn started(&mut self, id: WorkerId, worker: Worker) -> Event {
        let max_sessions = worker.announced().max_sessions;
        let (tell, exited) = (self.tell.clone(), worker.exited());
        tokio::spawn(async move {
            exited.await;
            // Nobody listens when all is closed.
            let _ = tell.send(Message::Event(Event::Died(id)));
        });
        self.members
            .insert(id, Member::Ready(Ready { worker, resident: None, sessions: HashMap::new(), failed: None }));
        Event::Started { worker: id, max_sessions }
    }

    /// A session that its worker's end, or the dispatcher's, has overtaken is ended when it is heard of. That it is over is
    /// always heard later.
    fn opened(&mut self, worker: WorkerId, request: RequestId, control: Control, label: String) {
        match self.members.get_mut(&worker) {
            Some(Member::Ready(ready)) => {
                if !self.pool.is_open() {
                    control.cancel(CLOSING); // D12
                }
                ready.sessions.insert(request, Seated { control, label });
            }
            Some(Member::Ending { cause: Some(cause), .. }) => control.fail(cause.clone()),
            _ => control.fail(Cause::Broken(Status::unavailable("the worker was ended before the session began"))),
        }
    }

    fn act(&mut self, action: Action) -> ControlFlow<()> {
        match action {
            Action::Start(id) => self.start(id),
            Action::Beat(id) => self.beat(id),
            Action::Grant(request, id) => self.grant(request, id),
            Action::Refuse(request, refusal) => {
                if let Some(reply) = self.waiting.remove(&request) {
                    // Whoever does not wait any longer need not know.
                    let _ = reply.send(Err(self.refusal(refusal)));
                }
            }
            Action::FailSessions(id, failure) => self.fail_sessions(id, failure),
            Action::CancelSessions(id) => {
                if let Some(Member::Ready(ready)) = self.members.get(&id) {
                    ready.sessions.values().for_each(|session| session.control.cancel(CLOSING));
                }
            }
            Action::End(id, manner) => self.end(id, manner),
            Action::Closed => return ControlFlow::Break(()),
        }
        ControlFlow::Continue(())
    }

    fn start(&mut self, id: WorkerId) {
        let starter = Arc::clone(&self.starter);
        let lost = Error::new(ErrorKind::Launch, "WORKER_NOT_STARTED", "the task that started the worker panicked");
        let promise = Promise::new(&self.tell, Message::StartFailed(id, lost));
        let (stop, stopped) = oneshot::channel::<()>();
        tokio::spawn(async move {
            let message = match starter.start(async move { drop(stopped.await) }).await {
                Ok(worker) => Message::Started(id, worker),
                Err(error) => Message::StartFailed(id, error),
            };
            drop(starter);
            promise.keep(message);
        });
        self.members.insert(id, Member::Starting { _stop: stop });
    }

    fn beat(&self, id: WorkerId) {
        let Some(Member::Ready(Ready { worker, .. })) = self.members.get(&id) else { return };
        let (worker, interval) = (worker.clone(), self.starter.heartbeat_interval);
        let promise = Promise::new(&self.tell, Message::Event(Event::Silent(id)));
        tokio::spawn(async move {
            let event = match worker.heartbeat_within(interval).await {
                Ok(metrics) => Event::Beat(id, vitals(&metrics, worker.pid())),
                Err(error) if error.kind() == ErrorKind::Timeout || worker.is_disconnected() => Event::Silent(id),
                // An answer all the same (D6).
                Err(_) => Event::Beat(id, Vitals::default()),
            };
            promise.keep(Message::Event(event));
        });
    }

    fn grant(&mut self, request: RequestId, id: WorkerId) {
        // Dropping it gives the seat back, whether or not anybody has taken it.
        let lease = Lease::new(self.tell.clone(), id, request);
        let (Some(reply), Some(Member::Ready(ready))) = (self.waiting.remove(&request), self.members.get(&id)) else {
            return;
        };
        let _ = reply.send(Ok(Granted { worker: ready.worker.clone(), lease }));
    }

    fn fail_sessions(&mut self, id: WorkerId, failure: Failure) {
        let is_open = self.pool.is_open();
        let Some(Member::Ready(ready)) = self.members.get_mut(&id) else { return };
        let mut functions: Vec<_> = ready.sessions.values().map(|session| session.label.as_str()).collect();
        functions.sort_unstable();
        functions.dedup();
        let cause = match failure {
            Failure::Memory { peak } => Cause::Memory { peak, functions: functions.join(", ") },
            Failure::Silent { misses } => Cause::Lost(format!("{misses} heartbeats in a row went unanswered")),
            Failure::DrainBound { .. } if !is_open => Cause::Closed,
            Failure::DrainBound { misses: 0 } => Cause::Drained,
            // It does not answer either, and that is what keeps them from finishing.
            Failure::DrainBound { misses } => Cause::Lost(format!(
                "{} unanswered when the time for its sessions to finish was over (D11)",
                if misses == 1 { "a heartbeat was".into() } else { format!("{misses} heartbeats in a row were") },
            )),
        };
        ready.sessions.values().for_each(|session| session.control.fail(cause.clone()));
        ready.failed = Some(cause);
    }

    fn end(&mut self, id: WorkerId, manner: Manner) {
        match self.members.remove(&id) {
            Some(Member::Ready(Ready { worker, sessions, failed, .. })) => {
                // Whoever is left has a worker that is gone, or going. How it ended is said when that is known.
                for session in sessions.into_values() {
                    session.control.fail(Cause::Broken(Status::unavailable("the worker was ended")));
                }
                let (name, pid) = (worker.id().map(String::from), worker.pid());
                self.members.insert(id, Member::Ending { id: name, pid, cause: failed });
                self.reap(id, worker, manner);
            }
            Some(Member::Starting { .. }) => {
                // That stops the start. It says so, or has said that the worker answers, which then is ended.
                self.members.insert(id, Member::Ending { id: None, pid: None, cause: None });
            }
            // The pool ends a worker once, and one that it has.
            ended @ (Some(Member::Ending { .. }) | None) => {
                debug_assert!(false, "{id:?} was to be ended, and is {ended:?}");
                self.pool.handle(Event::Ended(id), Instant::now());
            }
        }
    }

    /// Ends a process, and says so when it is dead and reaped (D7).
    fn reap(&self, id: WorkerId, worker: Worker, manner: Manner) {
        let promise = Promise::new(&self.tell, Message::Event(Event::Ended(id)));
        tokio::spawn(async move {
            let outcome = match manner {
                Manner::Politely => worker.end().await,
                Manner::AtOnce => worker.kill().await,
            };
            if let Err(error) = outcome {
                tracing::warn!("{error}");
            }
            drop(promise);
        });
    }

    fn refusal(&self, refusal: Refusal) -> Error {
        match refusal {
            Refusal::Closed => super::closed(),
            Refusal::StartFailed { attempts } => match &self.failed_start {
                Some(error) if attempts > 1 => error.after_attempts(attempts),
                Some(error) => error.clone(),
                None => Error::new(ErrorKind::Launch, "WORKER_NOT_STARTED", "no worker could be started"),
            },
            Refusal::Timeout(cover) => {
                let why = match cover {
                    Cover::Seat => "all workers are busy; allow more of them, or wait longer",
                    Cover::Room => "all workers serve other security scopes (D9); allow more of them, or wait longer",
                    Cover::Pause => "workers keep failing, and the next start has to wait (D10)",
                    Cover::Start => "a worker was being started; it may need a longer wait",
                    Cover::Check => "a worker was asked whether it is there, and did not answer in time",
                };
                let text = format!("no worker became free in time: {why}");
                match (&self.failed_start, cover) {
                    (Some(error), Cover::Pause | Cover::Start) => {
                        Error::with_source(ErrorKind::Timeout, "POOL_TIMEOUT", text, error.clone())
                    }
                    _ => Error::new(ErrorKind::Timeout, "POOL_TIMEOUT", text),
                }
            }
        }
    }

    fn stats(&self) -> DispatcherStats {
        let workers = self.members.values().map(|member| match member {
            Member::Starting { .. } => {
                WorkerStats { id: None, pid: None, state: WorkerState::Starting, sessions: 0, resident: None }
            }
            Member::Ready(ready) => WorkerStats {
                id: ready.worker.id().map(String::from),
                pid: ready.worker.pid(),
                state: WorkerState::Ready,
                sessions: ready.sessions.len(),
                resident: ready.resident,
            },
            Member::Ending { id, pid, .. } => {
                WorkerStats { id: id.clone(), pid: *pid, state: WorkerState::Ending, sessions: 0, resident: None }
            }
        });
        DispatcherStats::new(self.pool.snapshot(), workers.collect())
    }
}

/// What a heartbeat says (M2). Of a worker that does not say how large it is, the system does.
fn vitals(metrics: &BTreeMap<String, String>, pid: Option<u32>) -> Vitals {
    let number = |name: &str| metrics.get(name).and_then(|value| value.parse().ok());
    let resident = number("memory_rss_bytes").or_else(|| pid.and_then(resident_bytes));
    Vitals { resident, overdue: number("calls_overdue").unwrap_or(0) }
}

/// Resident memory of a process, where there is procfs.
fn resident_bytes(pid: u32) -> Option<u64> {
    let statm = std::fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

/// Whether another start could go better.
fn prospect(error: &Error) -> Prospect {
    match error.condition() {
        "WORKER_NOT_FOUND" | "WORKER_NOT_EXECUTABLE" | "WORKER_DIRECTORY_NOT_FOUND" | "INVALID_WORKER_COMMAND" => {
            Prospect::Hopeless
        }
        condition if condition.starts_with("ENVIRONMENT_") => Prospect::Hopeless, // D3
        _ => Prospect::Open,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// D10: what a task owes is told once, by itself or by its end, so that no slot is lost with one that panics.
    #[tokio::test]
    async fn d10_a_task_that_panics_is_heard_of() {
        let (tell, mut inbox) = mpsc::unbounded_channel();
        let promise = |id| Promise::new(&tell, Message::Event(Event::Silent(WorkerId(id))));
        let (kept, broken) = (promise(1), promise(2));
        kept.keep(Message::Event(Event::Ended(WorkerId(1))));
        let panicked = tokio::spawn(async move {
            let _broken = broken;
            panic!("as it should");
        });
        assert!(panicked.await.is_err_and(|error| error.is_panic()));
        let mut heard = std::iter::from_fn(|| inbox.try_recv().ok());
        assert!(matches!(heard.next(), Some(Message::Event(Event::Ended(WorkerId(1))))));
        assert!(matches!(heard.next(), Some(Message::Event(Event::Silent(WorkerId(2))))));
        assert!(heard.next().is_none());
    }
}
