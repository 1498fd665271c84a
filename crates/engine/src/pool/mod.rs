//! The pool of workers (D8-D12): which worker is started, checked and ended, and who gets a session in which.
//!
//! A [`Pool`] decides and does nothing else: no I/O, no clock, no task. What happened goes in as an [`Event`], with the
//! time; what is to be done comes out as [`Action`]s; [`Pool::deadline`] says when to come back without an event.
//!
//! ```text
//!  Start ──▶ Starting ──started──▶ Idle ──granted──▶ Busy ──the last released──▶ Idle
//!               │                 │  ▲                │
//!               │   not heard of, │  │ beat           │ overdue, old, worn, a broken session,
//!               │   and wanted    ▼  │                ▼ and at close
//!               │                Checking          Draining
//!               │                    │                │
//!          failed: gone              ▼                ▼ the last released, or its bound passed
//!                                 Ending ◀────────────┘        (and from everywhere: died, silent, closed)
//!                                    │ ended: gone
//! ```
//!
//! A worker takes a slot from Start until it is gone, whatever it does in between; there are never more than
//! `max_workers`. Who gets what is in [`settle`]; what becomes of one worker is in [`worker`].

mod backoff;
pub(crate) mod config;
#[cfg(test)]
mod model;
mod settle;
#[cfg(test)]
mod tests;
pub(crate) mod words;
mod worker;

use std::collections::VecDeque;
use std::time::Instant;

pub use config::{PoolConfig, Scope};

use backoff::Backoff;
use config::Terms;
pub(crate) use config::Traits;
use words::{Action, Cover, Event, Manner, Outcome, PoolSnapshot, Prospect, Refusal, RequestId, Totals, WorkerId};
use worker::{Fate, Pulse, State, Worker};

/// Whether the pool still gives sessions (D12).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    /// Nobody is let in, and not everything is gone yet.
    Closing,
    Closed,
}

/// A request that waits.
#[derive(Clone, Debug)]
struct Waiter {
    id: RequestId,
    scope: Scope,
    since: Instant,
    /// Starts that were for it and failed.
    failed_starts: u32,
    /// What it counted on when the pool last looked.
    cover: Cover,
}

/// The workers of one specification, and those who wait for one.
#[derive(Clone, Debug)]
pub(crate) struct Pool {
    terms: Terms,
    phase: Phase,
    /// All that take a slot, in the order in which they were started.
    workers: Vec<Worker>,
    /// In the order in which they came.
    queue: VecDeque<Waiter>,
    backoff: Backoff,
    actions: VecDeque<Action>,
    totals: Totals,
}

impl Pool {
    /// A pool without workers. Those that are to be kept ready are asked for at once.
    pub(crate) fn new(config: PoolConfig, traits: Traits, now: Instant) -> Self {
        let mut pool = Pool {
            terms: Terms { config, traits },
            phase: Phase::Open,
            workers: Vec::new(),
            queue: VecDeque::new(),
            backoff: Backoff::default(),
            actions: VecDeque::new(),
            totals: Totals::default(),
        };
        pool.settle(now);
        pool
    }

    /// Takes note of an event, and of the time: every bound that has passed by now is kept, too.
    pub(crate) fn handle(&mut self, event: Event, now: Instant) {
        self.backoff.elapsed(now);
        match event {
            Event::Requested(id, scope) => self.requested(id, scope, now),
            Event::Abandoned(id) => self.queue.retain(|waiter| waiter.id != id),
            Event::StartFailed(id, prospect) => self.start_failed(id, prospect, now),
            Event::Ended(id) => self.ended(id, now),
            Event::Close => self.close(now),
            Event::Elapsed => {}
            Event::Started { worker, max_sessions } => {
                self.worker(worker, now, |worker, terms| {
                    worker.started(max_sessions, terms, now);
                    Fate::Stays
                });
            }
            Event::Released(id, outcome) => {
                if outcome == Outcome::Salvageable && self.workers.iter().any(|w| w.id == id && w.sessions() > 0) {
                    self.backoff.succeeded();
                }
                self.worker(id, now, |worker, terms| worker.released(outcome, terms, now));
            }
            Event::Beat(id, vitals) => self.worker(id, now, |worker, terms| worker.beat(vitals, terms, now)),
            Event::Overdue(id) => self.worker(id, now, |worker, terms| worker.overdue(terms, now)),
            Event::Silent(id) => self.worker(id, now, |worker, terms| worker.silent(terms, now)),
            Event::Died(id) => self.worker(id, now, |worker, _| match worker.state {
                State::Starting | State::Ending => Fate::Stays, // the news that follows says so
                _ => Fate::Lost(None),
            }),
        }
        for at in 0..self.workers.len() {
            let fate = self.workers[at].elapsed(&self.terms, now);
            self.follow(at, fate, now);
        }
        self.settle(now);
        self.expire(now);
        self.trim(now);
        self.beat(now);
        if self.phase == Phase::Closing && self.workers.is_empty() {
            self.phase = Phase::Closed;
            self.actions.push_back(Action::Closed);
        }
    }

    /// What is to be done next. To be called until there is nothing, after each event and at first.
    pub(crate) fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When [`Event::Elapsed`] is due, if nothing happens before.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let workers = self.workers.iter().filter_map(|worker| worker.deadline(&self.terms));
        let waiter = self.queue.front().and_then(|waiter| waiter.since.checked_add(self.terms.config.wait_timeout));
        let surplus = self.surplus().into_iter().filter_map(|(since, _)| self.idle_until(since));
        workers.chain(waiter).chain(surplus).chain(self.backoff.until).min()
    }

    /// Whether it still gives sessions (D12).
    pub(crate) fn is_open(&self) -> bool {
        self.phase == Phase::Open
    }

    /// How things stand.
    pub(crate) fn snapshot(&self) -> PoolSnapshot {
        let mut snapshot =
            PoolSnapshot { waiting: self.queue.len(), totals: self.totals.clone(), ..PoolSnapshot::default() };
        for worker in &self.workers {
            snapshot.sessions += worker.sessions();
            *match worker.state {
                State::Starting => &mut snapshot.starting,
                State::Idle { .. } => &mut snapshot.idle,
                State::Checking { .. } => &mut snapshot.checking,
                State::Busy { .. } => &mut snapshot.busy,
                State::Draining { .. } => &mut snapshot.draining,
                State::Ending => &mut snapshot.ending,
            } += 1;
        }
        snapshot
    }

    fn requested(&mut self, id: RequestId, scope: Scope, now: Instant) {
        match self.phase {
            Phase::Open => {
                self.queue.push_back(Waiter { id, scope, since: now, failed_starts: 0, cover: Cover::Seat });
            }
            Phase::Closing | Phase::Closed => self.refuse(id, Refusal::Closed), // D12
        }
    }

    /// A start failed: that is held against the request it was for, or would have been. Others have theirs (D10).
    fn start_failed(&mut self, id: WorkerId, prospect: Prospect, now: Instant) {
        let Some(at) = self.workers.iter().position(|worker| worker.id == id) else { return };
        if self.workers.remove(at).state == State::Ending {
            return; // its end was asked for, so this is no news
        }
        self.totals.failed_starts += 1;
        self.backoff.failed(&self.terms.config, now);
        let started_for = self.queue.iter_mut().filter(|waiter| waiter.cover == Cover::Start);
        if let Some(waiter) = started_for.min_by_key(|waiter| waiter.failed_starts) {
            waiter.failed_starts += 1;
            waiter.cover = Cover::Pause;
        }
        let attempts = self.terms.config.start_attempts.max(1);
        let mut refused = Vec::new();
        self.queue.retain(|waiter| {
            let counts_on_nothing = !matches!(waiter.cover, Cover::Start | Cover::Check);
            let served = self.workers.iter().any(|worker| worker.is_serving() && worker.suits(&waiter.scope));
            let hopeless = prospect == Prospect::Hopeless && counts_on_nothing && !served;
            let stays = waiter.failed_starts < attempts && !hopeless;
            if !stays {
                refused.push((waiter.id, waiter.failed_starts));
            }
            stays
        });
        for (id, attempts) in refused {
            self.refuse(id, Refusal::StartFailed { attempts });
        }
    }

    /// A worker is gone, and its slot is free.
    fn ended(&mut self, id: WorkerId, now: Instant) {
        let Some(at) = self.workers.iter().position(|worker| worker.id == id) else { return };
        if self.workers.remove(at).state != State::Ending {
            self.totals.crashes += 1; // nobody has said that it died
            self.backoff.failed(&self.terms.config, now);
        }
    }

    /// D12: nobody is let in, what works is cancelled, the rest ends, all in parallel.
    fn close(&mut self, now: Instant) {
        if self.phase != Phase::Open {
            return;
        }
        self.phase = Phase::Closing;
        while let Some(waiter) = self.queue.pop_front() {
            self.refuse(waiter.id, Refusal::Closed);
        }
        for at in 0..self.workers.len() {
            match self.workers[at].state {
                State::Starting => self.end(at, Manner::AtOnce),
                State::Idle { .. } | State::Checking { .. } => self.end(at, Manner::Politely),
                State::Busy { .. } | State::Draining { .. } => {
                    let worker = &mut self.workers[at];
                    worker.drain(now.checked_add(self.terms.config.drain_timeout));
                    self.actions.push_back(Action::CancelSessions(worker.id));
                }
                State::Ending => {}
            }
        }
    }

    /// Something happens to a worker, unless it is gone.
    fn worker(&mut self, id: WorkerId, now: Instant, happens: impl FnOnce(&mut Worker, &Terms) -> Fate) {
        if let Some(at) = self.workers.iter().position(|worker| worker.id == id) {
            let fate = happens(&mut self.workers[at], &self.terms);
            self.follow(at, fate, now);
        }
    }

    fn follow(&mut self, at: usize, fate: Fate, now: Instant) {
        match fate {
            Fate::Stays => {}
            Fate::Ends(manner) => self.end(at, manner),
            Fate::Lost(failure) => {
                self.totals.crashes += 1;
                self.backoff.failed(&self.terms.config, now);
                let id = self.workers[at].id;
                self.actions.extend(failure.map(|failure| Action::FailSessions(id, failure)));
                self.end(at, Manner::AtOnce);
            }
        }
    }

    fn end(&mut self, at: usize, manner: Manner) {
        let worker = &mut self.workers[at];
        worker.state = State::Ending;
        self.actions.push_back(Action::End(worker.id, manner));
    }

    fn refuse(&mut self, id: RequestId, why: Refusal) {
        self.totals.refused += 1;
        self.actions.push_back(Action::Refuse(id, why));
    }

    /// Tells those whose time to wait is over. Each makes way for the next, who may be served then.
    fn expire(&mut self, now: Instant) {
        let late = |waiter: &Waiter, limit| waiter.since.checked_add(limit).is_some_and(|until| until <= now);
        while self.queue.front().is_some_and(|waiter| late(waiter, self.terms.config.wait_timeout)) {
            let waiter = self.queue.pop_front().expect("it was looked at just now");
            self.refuse(waiter.id, Refusal::Timeout(waiter.cover));
            self.settle(now);
        }
    }

    /// Ends what has been idle for too long.
    fn trim(&mut self, now: Instant) {
        for (since, at) in self.surplus() {
            if self.idle_until(since).is_some_and(|until| until <= now) {
                self.end(at, Manner::Politely);
            }
        }
    }

    /// Idle workers beyond those that are kept, by how long they have been.
    fn surplus(&self) -> Vec<(Instant, usize)> {
        let idle = self.workers.iter().enumerate().filter_map(|(at, worker)| Some((worker.idle_since()?, at)));
        let mut idle: Vec<_> = idle.collect();
        idle.sort_unstable();
        idle.truncate(idle.len().saturating_sub(self.terms.config.min_idle));
        idle
    }

    fn idle_until(&self, since: Instant) -> Option<Instant> {
        since.checked_add(self.terms.config.idle_timeout)
    }

    /// Asks those who are due for a heartbeat.
    fn beat(&mut self, now: Instant) {
        for worker in &mut self.workers {
            let due = matches!(worker.pulse, Pulse::Resting(Some(next)) if next <= now);
            if due && !matches!(worker.state, State::Starting | State::Ending) {
                worker.pulse = Pulse::Asked;
                self.actions.push_back(Action::Beat(worker.id));
            }
        }
    }
}
