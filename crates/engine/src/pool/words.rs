//! What a pool is told, and what it wants done.

use std::time::Duration;

use super::config::Scope;

/// One worker of a pool, from its start until it is gone. Numbers are given by the pool, and never twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct WorkerId(pub(crate) u64);

/// One caller's request for a worker. The caller chooses the number, and never twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct RequestId(pub(crate) u64);

/// What has happened. An event that comes late, of a worker or request that the pool has done with, changes nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A caller wants a session.
    Requested(RequestId, Scope),
    /// The caller does not wait any longer. If its grant was on the way, the session is [`Released`](Event::Released)
    /// too.
    Abandoned(RequestId),
    /// The worker answers, and announced how many sessions it serves at once (D6, M6).
    Started { worker: WorkerId, max_sessions: Option<usize> },
    /// The worker did not start, and nothing of it is left (D7). A process that dies before it answers is this, too.
    StartFailed(WorkerId, Prospect),
    /// A session that was granted is over.
    Released(WorkerId, Outcome),
    /// The worker answered a [`Beat`](Action::Beat), or was heard otherwise.
    Beat(WorkerId, Vitals),
    /// The worker did not answer a [`Beat`](Action::Beat) within the heartbeat interval.
    Silent(WorkerId),
    /// A session was told that its call runs past its deadline (C11): the worker need not say so in a heartbeat.
    Overdue(WorkerId),
    /// The process died by itself. It must still be reaped, so [`Ended`](Event::Ended) follows.
    Died(WorkerId),
    /// The process is reaped and its socket is gone: its slot is free.
    Ended(WorkerId),
    /// The [`deadline`](super::Pool::deadline) has passed.
    Elapsed,
    /// Nothing new; end everything (D12).
    Close,
}

/// What a failed start says about the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Prospect {
    /// The next may succeed.
    Open,
    /// None will: there is no such program, say, or its environment can't be installed.
    Hopeless,
}

/// What a session leaves behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Outcome {
    /// A worker as it was: nothing was said to it, and nothing heard of it.
    Unused,
    /// A worker that may serve another one (E14).
    Salvageable,
    /// A worker that may not (E14).
    Broken,
}

/// What a heartbeat says (M2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Vitals {
    /// `memory_rss_bytes`, if it is there.
    pub(crate) resident: Option<u64>,
    /// `calls_overdue`, 0 if it is not there.
    pub(crate) overdue: u64,
}

/// What is to be done. Each is done without waiting for it, and its outcome comes back as an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Start a worker: [`Started`](Event::Started) or [`StartFailed`](Event::StartFailed) follows.
    Start(WorkerId),
    /// Ask for a heartbeat: [`Beat`](Event::Beat) or [`Silent`](Event::Silent) follows, unless the worker ends first.
    Beat(WorkerId),
    /// Give the caller a session: [`Released`](Event::Released) follows, whatever becomes of it.
    Grant(RequestId, WorkerId),
    /// Tell the caller that it gets none.
    Refuse(RequestId, Refusal),
    /// Fail the worker's sessions. [`End`](Action::End) follows at once.
    FailSessions(WorkerId, Failure),
    /// Cancel the worker's sessions (D12). Each is [`Released`](Event::Released) in its time.
    CancelSessions(WorkerId),
    /// End the worker (D7), also one that has not started yet: [`Ended`](Event::Ended) follows.
    End(WorkerId, Manner),
    /// All is gone (D12).
    Closed,
}

/// How a worker is ended (D7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Manner {
    /// It is asked first, and has its time.
    Politely,
    /// It is dead, does not answer, or was told to hurry: nothing is waited for.
    AtOnce,
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Refusal {
    /// It has waited for its time, for this at last.
    Timeout(Cover),
    /// So many starts of a worker for it failed.
    StartFailed { attempts: u32 },
    /// The pool is closed.
    Closed,
}

/// What a waiting request may count on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Cover {
    /// A session's end: all workers there may be are busy.
    Seat,
    /// A slot: a worker of another scope is ended, or takes no new sessions, to make room.
    Room,
    /// The end of the pause after a crash or a failed start.
    Pause,
    /// A worker that starts.
    Start,
    /// An idle worker that is asked whether it is there.
    Check,
}

/// Why sessions fail before their worker is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Failure {
    /// The worker holds more memory than it may; `peak` bytes at the most.
    Memory { peak: u64 },
    /// The worker does not answer: so many heartbeats in a row.
    Silent { misses: u32 },
    /// A call hangs, or a cancelled session does not end, and the bound for it has passed (D11, D12); so many heartbeats in
    /// a row were missed by then.
    DrainBound { misses: u32 },
}

/// A pool at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PoolSnapshot {
    /// Workers by state. Together they are the slots in use.
    pub(crate) starting: usize,
    /// Ready, without a session.
    pub(crate) idle: usize,
    /// Asked whether they are there, before they get a session.
    pub(crate) checking: usize,
    /// With sessions, and perhaps room for more.
    pub(crate) busy: usize,
    /// With sessions, and no others after them.
    pub(crate) draining: usize,
    /// Being ended.
    pub(crate) ending: usize,
    /// Sessions that run.
    pub(crate) sessions: usize,
    /// Requests that wait.
    pub(crate) waiting: usize,
    /// What has happened so far.
    pub(crate) totals: Totals,
}

/// What has happened in a pool so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    /// Workers that were to be started.
    pub(crate) starts: u64,
    /// Starts that failed.
    pub(crate) failed_starts: u64,
    /// Workers that died by themselves, or had to be given up.
    pub(crate) crashes: u64,
    /// Requests that got a session.
    pub(crate) granted: u64,
    /// Requests that were told that they get none.
    pub(crate) refused: u64,
    /// How long the granted requests have waited, together.
    pub(crate) waited: Duration,
    /// How long the granted request waited that waited longest.
    pub(crate) longest_wait: Duration,
}
