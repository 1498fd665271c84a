//! Who gets what: the part of the pool that gives seats to those who wait, and starts, checks and ends workers for them.
//!
//! Fairness. Requests are looked at in the order in which they came, after every event. Each takes a seat if there is one
//! that suits its scope. Otherwise it counts on the first of these that no older one counts on: a suitable worker that is
//! being checked, one that can be, a worker that starts (any: it has no scope yet), a free slot to start one in, a slot
//! that becomes free, an idle worker of another scope that is ended for its slot. Nothing of this binds it: whatever seat
//! becomes free first is its seat, so a start or a check that hangs blocks nobody but for its own slot.
//!
//! When there is nothing to count on, all workers are busy. Younger requests then still get the seats that the older
//! one can't use, with one exception, without which a busy scope would starve the others: the request *claims* the
//! least busy worker of another scope, which takes no session of a younger one, so that it becomes idle, is ended, and
//! makes room. A claim is nothing that is kept; it is found anew each time. It ends with the request, at the latest when
//! its time to wait is over, so nobody is held back for longer than that. Of sessions that share a worker, one a scope
//! makes room at a time, since the worker that comes may serve them all.

use std::cmp::Reverse;
use std::time::Instant;

use super::config::Scope;
use super::words::{Action, Cover, Manner, WorkerId};
use super::worker::{Pulse, State, Worker};
use super::{Phase, Pool};

/// What is coming, as far as no older request counts on it.
struct Coming {
    /// Workers that are being checked.
    checks: Vec<WorkerId>,
    /// Workers that start.
    starts: usize,
    /// Slots in which one can be started.
    slots: usize,
    /// Slots that become free.
    endings: usize,
    /// Workers that older requests claim.
    claimed: Vec<WorkerId>,
    /// Scopes for which room is made.
    rooms: Vec<Scope>,
}

impl Coming {
    fn new(workers: &[Worker], slots: usize) -> Self {
        let those = |wanted: fn(&State) -> bool| workers.iter().filter(move |worker| wanted(&worker.state));
        Coming {
            checks: those(|state| matches!(state, State::Checking { .. })).map(|worker| worker.id).collect(),
            starts: those(|state| *state == State::Starting).count(),
            slots: slots.saturating_sub(workers.len()),
            endings: those(|state| *state == State::Ending).count(),
            claimed: Vec::new(),
            rooms: Vec::new(),
        }
    }
}

/// One less, if there is one.
fn take(count: &mut usize) -> bool {
    let some = *count > 0;
    *count -= usize::from(some);
    some
}

impl Pool {
    /// Gives what there is to those who wait, and sees to it that more comes.
    pub(super) fn settle(&mut self, now: Instant) {
        if self.phase != Phase::Open {
            return;
        }
        let mut coming = Coming::new(&self.workers, self.terms.config.max_workers.max(1));
        let mut at = 0;
        while let Some(waiter) = self.queue.get(at) {
            let scope = waiter.scope.clone();
            if let Some(worker) = self.seat(&scope, &coming, now) {
                self.grant(at, worker, now);
            } else {
                self.queue[at].cover = self.cover(&scope, &mut coming, now);
                at += 1;
            }
        }
        self.warm_up(coming, now);
    }

    /// The best seat: with the fewest neighbours, in the scope's own worker, in the one that was used last.
    fn seat(&self, scope: &Scope, coming: &Coming, now: Instant) -> Option<usize> {
        let seats = self.workers.iter().enumerate().filter(|(_, worker)| {
            worker.suits(scope) && worker.has_seat(&self.terms, now) && !coming.claimed.contains(&worker.id)
        });
        let best = seats.min_by_key(|(_, worker)| (worker.sessions(), preference(worker)));
        best.map(|(at, _)| at)
    }

    fn cover(&mut self, scope: &Scope, coming: &mut Coming, now: Instant) -> Cover {
        let suits = |id: &WorkerId| self.workers.iter().any(|worker| worker.id == *id && worker.suits(scope));
        if let Some(at) = coming.checks.iter().position(suits) {
            coming.checks.swap_remove(at);
            Cover::Check
        } else if self.check(scope, now) {
            Cover::Check
        } else if take(&mut coming.starts) {
            Cover::Start
        } else if self.backoff.is_paused() {
            Cover::Pause
        } else if take(&mut coming.slots) {
            self.start(now);
            Cover::Start
        } else {
            self.make_room(scope, coming)
        }
    }

    /// Asks an idle worker that was not heard of lately whether it is there (D10).
    fn check(&mut self, scope: &Scope, now: Instant) -> bool {
        let until = now.checked_add(self.terms.config.check_timeout);
        let stale = self.workers.iter_mut().filter(|worker| {
            worker.idle_since().is_some() && worker.suits(scope) && !worker.is_fresh(&self.terms, now)
        });
        let Some(worker) = stale.min_by_key(|worker| preference(worker)) else { return false };
        worker.state = State::Checking { since: worker.idle_since().unwrap_or(now), until };
        if worker.pulse != Pulse::Asked {
            worker.pulse = Pulse::Asked;
            self.actions.push_back(Action::Beat(worker.id));
        }
        true
    }

    /// All slots are taken: sees to it that one becomes free (D9).
    fn make_room(&mut self, scope: &Scope, coming: &mut Coming) -> Cover {
        if self.terms.traits.supports_concurrent_udfs && coming.rooms.contains(scope) {
            return Cover::Seat;
        }
        if !take(&mut coming.endings) {
            let others = || self.workers.iter().enumerate().filter(|(_, worker)| !worker.suits(scope));
            let idle = others().filter_map(|(at, worker)| Some((worker.idle_since()?, at))).min();
            let busy = others().filter(|(_, worker)| matches!(worker.state, State::Busy { .. }));
            let mut busy = busy.filter(|(_, worker)| !coming.claimed.contains(&worker.id));
            if let Some((_, at)) = idle {
                self.end(at, Manner::Politely);
            } else if let Some((_, worker)) = busy.by_ref().min_by_key(|(_, worker)| worker.sessions()) {
                coming.claimed.push(worker.id);
            } else {
                return Cover::Seat;
            }
        }
        coming.rooms.push(scope.clone());
        Cover::Room
    }

    /// Keeps idle workers ready, in the slots that nobody else needs (D10).
    fn warm_up(&mut self, coming: Coming, now: Instant) {
        let idle = self.workers.iter().filter(|worker| worker.idle_since().is_some()).count();
        let ready = idle + coming.checks.len() + coming.starts;
        if !self.backoff.is_paused() {
            let missing = self.terms.config.min_idle.saturating_sub(ready).min(coming.slots);
            (0..missing).for_each(|_| self.start(now));
        }
    }

    fn start(&mut self, now: Instant) {
        let id = WorkerId(self.totals.starts);
        self.totals.starts += 1;
        self.workers.push(Worker::starting(id, now));
        self.actions.push_back(Action::Start(id));
    }

    /// The request at this place of the queue gets a session in this worker.
    fn grant(&mut self, at: usize, worker: usize, now: Instant) {
        let waiter = self.queue.remove(at).expect("the caller looked at it");
        let worker = &mut self.workers[worker];
        worker.granted(&waiter.scope);
        let waited = now.saturating_duration_since(waiter.since);
        self.totals.granted += 1;
        self.totals.waited += waited;
        self.totals.longest_wait = self.totals.longest_wait.max(waited);
        self.actions.push_back(Action::Grant(waiter.id, worker.id));
    }
}

/// Which of several idle workers is used first: one that has a scope, so that the others can have any; and the one that
/// was used last, so that what is not needed becomes old.
fn preference(worker: &Worker) -> (bool, Reverse<Option<Instant>>) {
    (worker.scope.is_none(), Reverse(worker.idle_since()))
}
