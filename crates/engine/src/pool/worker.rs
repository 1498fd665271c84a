//! One worker as the pool sees it: what it does, and what becomes of it when something happens.

use std::time::Instant;

use super::config::{Scope, Terms};
use super::words::{Failure, Manner, Outcome, Vitals, WorkerId};

/// What a worker does. The picture is on the page of the [pool](super).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Its process was asked for, and has not answered yet.
    Starting,
    /// Nobody uses it.
    Idle { since: Instant },
    /// Nobody uses it, and it owes a heartbeat before anybody may.
    Checking { since: Instant, until: Option<Instant> },
    /// It serves so many sessions.
    Busy { sessions: usize },
    /// It serves so many sessions and takes no others; after `until` they are failed.
    Draining { sessions: usize, until: Option<Instant> },
    /// Its end was asked for. Its slot is taken until it is gone.
    Ending,
}

/// Whether a worker owes a heartbeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pulse {
    /// It is asked for one at this time, if ever.
    Resting(Option<Instant>),
    /// It was asked for one.
    Asked,
}

/// What becomes of a worker after an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum Fate {
    Stays,
    /// It has done its work.
    Ends(Manner),
    /// It is dead or of no use. Sessions that do not notice by themselves are failed.
    Lost(Option<Failure>),
}

#[derive(Clone, Debug)]
pub(super) struct Worker {
    pub(super) id: WorkerId,
    pub(super) state: State,
    /// Whom it serves, from its first session on (D9).
    pub(super) scope: Option<Scope>,
    /// How many sessions it may have at once; 0 until it says so.
    pub(super) seats: usize,
    /// How many sessions it has got so far.
    pub(super) served: u64,
    /// When it was ready.
    pub(super) born: Instant,
    /// When it last gave a sign of life.
    pub(super) heard: Instant,
    /// Heartbeats that it missed since.
    pub(super) misses: u32,
    pub(super) pulse: Pulse,
    /// The most memory that it was seen with, in bytes.
    pub(super) peak: u64,
}

impl Worker {
    pub(super) fn starting(id: WorkerId, now: Instant) -> Self {
        Worker {
            id,
            state: State::Starting,
            scope: None,
            seats: 0,
            served: 0,
            born: now,
            heard: now,
            misses: 0,
            pulse: Pulse::Resting(None),
            peak: 0,
        }
    }

    /// Whether it may be given to this scope, now or later (D9).
    pub(super) fn suits(&self, scope: &Scope) -> bool {
        self.scope.as_ref().is_none_or(|own| own == scope)
    }

    /// Whether it takes new sessions, now or when it has room.
    pub(super) fn is_serving(&self) -> bool {
        matches!(self.state, State::Idle { .. } | State::Checking { .. } | State::Busy { .. })
    }

    /// Whether it was heard of lately enough to be handed out unasked (D10).
    pub(super) fn is_fresh(&self, terms: &Terms, now: Instant) -> bool {
        self.misses == 0 && now.saturating_duration_since(self.heard) <= terms.config.check_after
    }

    /// Whether a session could begin in it this moment (D8, D10). A busy one shows that it lives by its heartbeats.
    pub(super) fn has_seat(&self, terms: &Terms, now: Instant) -> bool {
        match self.state {
            State::Idle { .. } => self.is_fresh(terms, now),
            State::Busy { sessions } => {
                self.misses == 0 && sessions < self.seats && self.served < terms.sessions_in_life()
            }
            State::Starting | State::Checking { .. } | State::Draining { .. } | State::Ending => false,
        }
    }

    pub(super) fn sessions(&self) -> usize {
        match self.state {
            State::Busy { sessions } | State::Draining { sessions, .. } => sessions,
            State::Starting | State::Idle { .. } | State::Checking { .. } | State::Ending => 0,
        }
    }

    /// Since when nobody uses it.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        match self.state {
            State::Idle { since } => Some(since),
            _ => None,
        }
    }

    /// When the passing of time alone changes something. The idle timeout is not here: it depends on the others.
    pub(super) fn deadline(&self, terms: &Terms) -> Option<Instant> {
        let age = terms.config.max_age.and_then(|age| self.born.checked_add(age));
        let bound = match self.state {
            State::Starting | State::Ending => return None,
            State::Idle { .. } | State::Busy { .. } => age,
            State::Checking { until, .. } => [until, age].into_iter().flatten().min(),
            State::Draining { until, .. } => until,
        };
        match self.pulse {
            Pulse::Resting(next) => [bound, next].into_iter().flatten().min(),
            Pulse::Asked => bound,
        }
    }

    /// It answers.
    pub(super) fn started(&mut self, announced: Option<usize>, terms: &Terms, now: Instant) {
        if self.state == State::Starting {
            self.state = State::Idle { since: now };
            self.seats = terms.seats(announced);
            (self.born, self.heard) = (now, now);
            self.pulse = Pulse::Resting(now.checked_add(terms.config.heartbeat_interval));
        }
    }

    /// A session begins in it. Only for one that [has a seat](Worker::has_seat).
    pub(super) fn granted(&mut self, scope: &Scope) {
        self.state = State::Busy { sessions: self.sessions() + 1 };
        self.scope.get_or_insert_with(|| scope.clone());
        self.served += 1;
    }

    /// One of its sessions is over.
    pub(super) fn released(&mut self, outcome: Outcome, terms: &Terms, now: Instant) -> Fate {
        let reusable = terms.traits.supports_reuse && self.served < terms.sessions_in_life();
        if outcome == Outcome::Salvageable && self.sessions() > 0 {
            self.heard = now;
        }
        let (left, after) = match (self.state, outcome) {
            (State::Busy { sessions }, Outcome::Unused | Outcome::Salvageable) if reusable => match sessions - 1 {
                0 => (None, State::Idle { since: now }),
                left => (None, State::Busy { sessions: left }),
            },
            // Neighbours have their time: nothing says that they hang (D8, E14).
            (State::Busy { sessions }, _) => {
                (Some(sessions - 1), State::Draining { sessions: sessions - 1, until: None })
            }
            (State::Draining { sessions, until }, _) => {
                (Some(sessions - 1), State::Draining { sessions: sessions - 1, until })
            }
            // The worker's end was known before its sessions' ends.
            (other, _) => (None, other),
        };
        self.state = after;
        if left == Some(0) { Fate::Ends(Manner::Politely) } else { Fate::Stays }
    }

    /// It was heard of.
    pub(super) fn beat(&mut self, vitals: Vitals, terms: &Terms, now: Instant) -> Fate {
        if matches!(self.state, State::Starting | State::Ending) {
            return Fate::Stays;
        }
        (self.heard, self.misses) = (now, 0);
        self.pulse = Pulse::Resting(now.checked_add(terms.config.heartbeat_interval));
        let resident = vitals.resident.unwrap_or(0);
        self.peak = self.peak.max(resident);
        if terms.config.memory_limit.is_some_and(|limit| resident > limit) {
            return match self.sessions() {
                0 => Fate::Ends(Manner::Politely), // whoever leaked is gone
                _ => Fate::Lost(Some(Failure::Memory { peak: self.peak })),
            };
        }
        if vitals.overdue > 0 {
            return self.overdue(terms, now);
        }
        if let State::Checking { since, .. } = self.state {
            self.state = State::Idle { since };
        }
        Fate::Stays
    }

    /// A call in it hangs: those who have it have their time, and nobody comes after them (D11).
    pub(super) fn overdue(&mut self, terms: &Terms, now: Instant) -> Fate {
        match self.state {
            State::Idle { .. } | State::Checking { .. } => Fate::Ends(Manner::Politely),
            State::Busy { .. } | State::Draining { .. } => {
                self.drain(now.checked_add(terms.config.drain_timeout));
                Fate::Stays
            }
            State::Starting | State::Ending => Fate::Stays,
        }
    }

    /// It missed a heartbeat.
    pub(super) fn silent(&mut self, terms: &Terms, now: Instant) -> Fate {
        if matches!(self.state, State::Starting | State::Ending) {
            return Fate::Stays;
        }
        self.misses += 1;
        self.pulse = Pulse::Resting(Some(now));
        let given_up = self.misses >= terms.config.heartbeat_misses.max(1);
        match self.state {
            State::Checking { .. } => Fate::Lost(None),
            _ if given_up && self.sessions() > 0 => Fate::Lost(Some(Failure::Silent { misses: self.misses })),
            _ if given_up => Fate::Lost(None),
            _ => Fate::Stays,
        }
    }

    /// Time has passed.
    pub(super) fn elapsed(&mut self, terms: &Terms, now: Instant) -> Fate {
        let past = |bound: Option<Instant>| bound.is_some_and(|bound| bound <= now);
        let old = past(terms.config.max_age.and_then(|age| self.born.checked_add(age)));
        match self.state {
            State::Checking { until, .. } if past(until) => return Fate::Lost(None),
            State::Draining { until, .. } if past(until) => {
                return Fate::Lost(Some(Failure::DrainBound { misses: self.misses })); // D11
            }
            State::Idle { .. } | State::Checking { .. } if old => return Fate::Ends(Manner::Politely),
            State::Busy { .. } if old => self.drain(None),
            _ => {}
        }
        Fate::Stays
    }

    /// Its sessions are its last; `until` is their bound, if they had none.
    pub(super) fn drain(&mut self, until: Option<Instant>) {
        match &mut self.state {
            State::Busy { sessions } => self.state = State::Draining { sessions: *sessions, until },
            State::Draining { until: bound, .. } => *bound = bound.or(until),
            State::Starting | State::Idle { .. } | State::Checking { .. } | State::Ending => {}
        }
    }
}
