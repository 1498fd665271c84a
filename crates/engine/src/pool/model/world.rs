//! A pool and the world around it, which keeps books of its own and believes nothing that the pool says.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

use super::super::config::Traits;
use super::super::words::{Action, Event, Manner, Outcome, Prospect, Refusal, RequestId, Vitals, WorkerId};
use super::super::*;

/// What a world is like. Times are whole seconds, or never.
#[derive(Clone, Debug)]
pub(super) struct Setup {
    pub(super) traits: Traits,
    pub(super) config: PoolConfig,
    /// What workers announce.
    pub(super) seats: usize,
    /// Callers, by scope.
    pub(super) callers: Vec<u8>,
    /// Heartbeats of every kind, and missed ones.
    pub(super) beats: &'static [Vitals],
}

pub(super) const WELL: Vitals = Vitals { resident: Some(1), overdue: 0 };
pub(super) const OVERDUE: Vitals = Vitals { resident: Some(1), overdue: 1 };
pub(super) const LARGE: Vitals = Vitals { resident: Some(9), overdue: 0 };

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Stage {
    Starting,
    Up,
    /// Its end was asked for, before it was up or after.
    Ending {
        was_up: bool,
    },
}

/// A process, as the world knows it.
#[derive(Clone, Debug)]
struct Process {
    id: WorkerId,
    stage: Stage,
    /// Whom it has served.
    scope: Option<usize>,
    /// Sessions that were granted and are not released.
    held: usize,
    served: u64,
    /// It owes a heartbeat.
    asked: bool,
    /// It missed one.
    missed: bool,
    /// Nothing may be granted in it any more.
    spoilt: bool,
}

#[derive(Clone, Debug)]
pub(super) struct World {
    pub(super) pool: Pool,
    now: Instant,
    processes: Vec<Process>,
    /// Callers who want nothing, by scope.
    outside: Vec<u8>,
    waiting: Vec<(RequestId, usize)>,
    next_request: u64,
    closing: bool,
    closed: bool,
}

impl World {
    pub(super) fn new(setup: &Setup) -> Result<Self, String> {
        let now = Instant::now();
        let mut world = World {
            pool: Pool::new(setup.config.clone(), setup.traits, now),
            now,
            processes: Vec::new(),
            outside: setup.callers.clone(),
            waiting: Vec::new(),
            next_request: 0,
            closing: false,
            closed: false,
        };
        world.act(setup, false)?;
        world.inspect()?;
        Ok(world)
    }

    /// Everything that can happen.
    pub(super) fn events(&self, setup: &Setup) -> Vec<Event> {
        let mut events = vec![Event::Elapsed];
        events.extend((!self.closing).then_some(Event::Close));
        for (scope, &outside) in self.outside.iter().enumerate() {
            let request = || Event::Requested(RequestId(self.next_request), name(scope));
            events.extend((outside > 0 && !self.closed).then(request));
        }
        events.extend(self.waiting.iter().map(|&(id, _)| Event::Abandoned(id)));
        for process in &self.processes {
            let id = process.id;
            let started = Event::Started { worker: id, max_sessions: Some(setup.seats) };
            match process.stage {
                Stage::Starting | Stage::Ending { was_up: false } => {
                    events.extend([started, Event::StartFailed(id, Prospect::Open)]);
                    events.push(Event::StartFailed(id, Prospect::Hopeless));
                }
                Stage::Up | Stage::Ending { was_up: true } => {
                    events.extend([Event::Died(id), Event::Silent(id)]);
                    events.extend(setup.beats.iter().map(|&vitals| Event::Beat(id, vitals)));
                }
            }
            if let Stage::Ending { .. } = process.stage {
                events.push(Event::Ended(id));
            }
            if process.held > 0 {
                let outcomes = [Outcome::Unused, Outcome::Salvageable, Outcome::Broken];
                events.extend(outcomes.map(|outcome| Event::Released(id, outcome)));
                events.push(Event::Overdue(id));
            }
        }
        events
    }

    /// What happens next when everything that was begun comes to its end: sessions, ends, starts, heartbeats, pauses.
    /// `None` when everything has.
    pub(super) fn fair(&self, setup: &Setup) -> Option<Event> {
        let first = |wanted: &dyn Fn(&Process) -> bool| self.processes.iter().find(|p| wanted(p)).map(|p| p.id);
        if let Some(id) = first(&|process| process.held > 0) {
            Some(Event::Released(id, Outcome::Salvageable))
        } else if let Some(id) = first(&|process| matches!(process.stage, Stage::Ending { .. })) {
            Some(Event::Ended(id))
        } else if let Some(worker) = first(&|process| process.stage == Stage::Starting) {
            Some(Event::Started { worker, max_sessions: Some(setup.seats) })
        } else if let Some(id) = first(&|process| process.asked) {
            Some(Event::Beat(id, WELL))
        } else if self.pool.backoff.is_paused() && !self.closing {
            Some(Event::Elapsed)
        } else {
            None
        }
    }

    /// What must hold where [`fair`](World::fair) ends: nobody waits, no slot is lost, enough is kept ready.
    pub(super) fn settled(&self, setup: &Setup) -> Result<(), String> {
        if let Some((id, _)) = self.waiting.first() {
            return Err(format!("{id:?} waits, and nothing happens any more"));
        }
        if self.closing {
            return if self.closed { Ok(()) } else { Err("closing never ends".into()) };
        }
        let ready = self.pool.snapshot().idle;
        if ready != self.processes.len() {
            return Err("a slot is taken by a worker that is not idle".into());
        }
        let wanted = setup.config.min_idle.min(setup.config.max_workers);
        if ready < wanted { Err(format!("{ready} workers are ready instead of {wanted}")) } else { Ok(()) }
    }

    /// The world after an event, or what is wrong with it.
    pub(super) fn after(&self, event: &Event, setup: &Setup) -> Result<Self, String> {
        let mut world = self.clone();
        let mut died = None;
        match *event {
            Event::Elapsed => world.now += Duration::from_secs(1),
            Event::Close => world.closing = true,
            Event::Requested(id, ref scope) => {
                let scope = (0..).find(|&number| name(number) == *scope).expect("it is one of ours");
                world.outside[scope] -= 1;
                world.next_request += 1;
                world.waiting.push((id, scope));
            }
            Event::Abandoned(id) => world.leaves(id)?,
            Event::Started { worker, .. } => {
                let process = world.process(worker)?;
                if process.stage == Stage::Starting {
                    process.stage = Stage::Up;
                }
            }
            Event::StartFailed(id, _) | Event::Ended(id) => {
                let at = world.processes.iter().position(|process| process.id == id).expect("an event of its");
                let gone = world.processes.remove(at);
                if let Some(scope) = gone.scope {
                    world.outside[scope] += gone.held as u8;
                }
            }
            Event::Released(id, outcome) => {
                let process = world.process(id)?;
                process.held -= 1;
                process.spoilt |= outcome == Outcome::Broken || !setup.traits.supports_reuse;
                let scope = process.scope.ok_or("a session without a scope")?;
                world.outside[scope] += 1;
            }
            Event::Beat(id, vitals) => {
                let process = world.process(id)?;
                (process.asked, process.missed) = (false, false);
                process.spoilt |= vitals == OVERDUE;
            }
            Event::Overdue(id) => world.process(id)?.spoilt = true,
            Event::Silent(id) => {
                let process = world.process(id)?;
                (process.asked, process.missed) = (false, true);
            }
            Event::Died(id) => {
                world.process(id)?.spoilt = true;
                died = Some(id);
            }
        }
        let quiet = *event == Event::Elapsed && self.pool.deadline().is_none_or(|deadline| deadline > world.now);
        world.pool.handle(event.clone(), world.now);
        if let (true, Some(action)) = (quiet, world.pool.actions.front()) {
            return Err(format!("{action:?} comes at a time that was no deadline"));
        }
        world.act(setup, died.is_some())?;
        if died.is_some_and(|id| world.processes.iter().any(|process| process.id == id && process.stage == Stage::Up)) {
            return Err("a dead worker is kept".into());
        }
        world.inspect()?;
        Ok(world)
    }

    /// Does what the pool wants done, if it is right.
    fn act(&mut self, setup: &Setup, died: bool) -> Result<(), String> {
        let mut failed = None;
        while let Some(action) = self.pool.poll_action() {
            let wrong = |why: &str| Err(format!("{action:?}: {why}"));
            match action {
                Action::Start(_) if self.closing => return wrong("it is closed"),
                Action::Start(_) if self.processes.len() >= setup.config.max_workers => return wrong("one too many"),
                Action::Start(id) => self.processes.push(Process {
                    id,
                    stage: Stage::Starting,
                    scope: None,
                    held: 0,
                    served: 0,
                    asked: false,
                    missed: false,
                    spoilt: false,
                }),
                Action::Beat(id) => {
                    let process = self.process(id)?;
                    if process.stage != Stage::Up || std::mem::replace(&mut process.asked, true) {
                        return wrong("it can't answer, or was asked");
                    }
                }
                Action::Grant(id, worker) => {
                    let closing = self.closing;
                    let Some(at) = self.waiting.iter().position(|(waiting, _)| *waiting == id) else {
                        return wrong("it does not wait");
                    };
                    let (_, scope) = self.waiting.remove(at);
                    if self.waiting[..at].iter().any(|(_, older)| *older == scope) {
                        return wrong("an older one of its scope waits");
                    }
                    let (reuses, shares) = (setup.traits.supports_reuse, setup.traits.supports_concurrent_udfs);
                    let life = setup.config.max_sessions.unwrap_or(u64::MAX);
                    let process = self.process(worker)?;
                    if closing || process.stage != Stage::Up || process.spoilt || process.missed {
                        return wrong("that worker gets no sessions");
                    }
                    if process.scope.replace(scope).is_some_and(|before| before != scope) {
                        return wrong("that worker serves another scope");
                    }
                    process.held += 1;
                    process.served += 1;
                    if process.held > if shares { setup.seats } else { 1 } || process.served > life {
                        return wrong("one session too many");
                    }
                    if !reuses && !shares && process.served > 1 {
                        return wrong("that worker is used again");
                    }
                }
                Action::Refuse(id, Refusal::Closed) if !self.closing => return wrong(&format!("{id:?} is let in")),
                Action::Refuse(id, _) => self.leaves(id)?,
                Action::FailSessions(id, _) => {
                    if self.process(id)?.held == 0 || failed.replace(id).is_some() {
                        return wrong("it has no sessions");
                    }
                }
                Action::CancelSessions(id) => {
                    let closing = self.closing;
                    if self.process(id)?.held == 0 || !closing {
                        return wrong("nothing is to be cancelled");
                    }
                }
                Action::End(id, manner) => {
                    let excused = manner == Manner::AtOnce && (died || failed.take() == Some(id));
                    let process = self.process(id)?;
                    if matches!(process.stage, Stage::Ending { .. }) || (process.held > 0 && !excused) {
                        return wrong("it is ended already, or works");
                    }
                    process.stage = Stage::Ending { was_up: process.stage == Stage::Up };
                }
                Action::Closed if !self.closing || self.closed || !self.processes.is_empty() => {
                    return wrong("it is not");
                }
                Action::Closed => self.closed = true,
            }
        }
        if failed.is_some() { Err("a worker outlives its sessions' failure".into()) } else { Ok(()) }
    }

    /// What must hold at all times, of what the pool has in its books.
    fn inspect(&self) -> Result<(), String> {
        let snapshot = self.pool.snapshot();
        let up = self.processes.iter().filter(|process| process.stage == Stage::Up);
        if self.pool.workers.len() != self.processes.len() {
            return Err("a slot is lost, or a process is".into());
        }
        if snapshot.sessions != up.map(|process| process.held).sum::<usize>() || snapshot.waiting != self.waiting.len()
        {
            return Err(format!("miscounted: {snapshot:?}"));
        }
        if self.pool.deadline().is_some_and(|deadline| deadline <= self.now) {
            return Err("the pool wants to be woken at once, again".into());
        }
        Ok(())
    }

    /// Whether a request is refused that was not before, other than by closing.
    pub(super) fn refused(&self) -> u64 {
        self.pool.totals.refused
    }

    fn leaves(&mut self, id: RequestId) -> Result<(), String> {
        let at = self.waiting.iter().position(|(waiting, _)| *waiting == id).ok_or(format!("{id:?} does not wait"))?;
        let (_, scope) = self.waiting.remove(at);
        self.outside[scope] += 1;
        Ok(())
    }

    fn process(&mut self, id: WorkerId) -> Result<&mut Process, String> {
        self.processes.iter_mut().find(|process| process.id == id).ok_or(format!("{id:?} is gone"))
    }

    /// Two worlds with the same key have the same future. Numbers of workers and requests are left out, but not their
    /// order; times are how far off they are, as far as that matters; statistics are left out. A key is 128 bits of
    /// hash: that two of a million worlds share one is not to be expected before the sun goes out.
    pub(super) fn key(&self, setup: &Setup) -> u128 {
        let mut words = Vec::with_capacity(96);
        self.write(setup, &mut words);
        let hash = |salt: u8| {
            let mut hasher = DefaultHasher::new();
            (salt, &words).hash(&mut hasher);
            u128::from(hasher.finish())
        };
        hash(0) << 64 | hash(1)
    }

    fn write(&self, setup: &Setup, words: &mut Vec<u8>) {
        let config = &setup.config;
        let until = |at: Option<Instant>| at.map_or(u8::MAX, |at| (at - self.now).as_secs() as u8);
        // How long ago, until it is all the same.
        let ago = |at: Instant, enough: Duration| {
            if enough == Duration::MAX { 0 } else { (self.now - at).min(enough).as_secs() as u8 }
        };
        let optional = |enough: Option<Duration>| enough.unwrap_or(Duration::MAX);
        let scope =
            |scope: &Scope| (0..).find(|&number| name(number) == *scope).map_or(0, |number: usize| number as u8);
        words.extend([self.pool.phase as u8, u8::from(self.closing), u8::from(self.closed)]);
        words.extend([self.pool.backoff.failures.min(3) as u8, until(self.pool.backoff.until)]);
        for waiter in &self.pool.queue {
            let waited = ago(waiter.since, config.wait_timeout);
            words.extend([scope(&waiter.scope), waiter.failed_starts as u8, waiter.cover as u8, waited]);
        }
        words.push(u8::MAX);
        let mut idle: Vec<_> = self.pool.workers.iter().filter_map(Worker::idle_since).collect();
        idle.sort_unstable();
        idle.dedup();
        for worker in &self.pool.workers {
            let rank = |since| idle.iter().filter(|other| **other < since).count() as u8;
            words.extend(match worker.state {
                State::Starting => [0, 0, 0],
                State::Idle { since } => [1, ago(since, config.idle_timeout), rank(since)],
                State::Checking { since, until: bound } => {
                    [2, until(bound), ago(since, config.idle_timeout) + 16 * rank(since)]
                }
                State::Busy { sessions } => [3, sessions as u8, 0],
                State::Draining { sessions, until: bound } => [4, sessions as u8, until(bound)],
                State::Ending => [5, 0, 0],
            });
            if matches!(worker.state, State::Starting | State::Ending) {
                continue; // all else is history
            }
            words.extend([worker.scope.as_ref().map_or(u8::MAX, scope), worker.misses as u8]);
            words.extend([ago(worker.heard, config.check_after.saturating_add(Duration::from_secs(1)))]);
            words.extend([ago(worker.born, optional(config.max_age))]);
            words.push(worker.served.min(config.max_sessions.unwrap_or(0)) as u8);
            words.push(match worker.pulse {
                Pulse::Asked => u8::MAX - 1,
                Pulse::Resting(next) => until(next),
            });
        }
        words.push(u8::MAX);
        // What the world knows better than the pool: who still holds what, in workers that the pool has given up.
        for process in &self.processes {
            let was_up = u8::from(process.stage == Stage::Ending { was_up: true });
            words.extend([was_up, process.held as u8, process.scope.map_or(u8::MAX, |scope| scope as u8)]);
        }
    }
}

fn name(scope: usize) -> Scope {
    Scope::new([scope as u8])
}
