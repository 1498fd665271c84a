//! The clock of C11: how long the present call into user code may still take.
//!
//! The thread of the function starts and stops it, the session's task reads it, and neither waits for the other: what
//! they share is a few atomics, each of which is whole by itself.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Which call into user code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Open,
    Start,
    Process,
    Finish,
    Cancel,
}

impl Phase {
    const ALL: [Phase; 5] = [Phase::Open, Phase::Start, Phase::Process, Phase::Finish, Phase::Cancel];
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Phase::Open => "open",
            Phase::Start => "start",
            Phase::Process => "process",
            Phase::Finish => "finish",
            Phase::Cancel => "cancel",
        })
    }
}

/// A call: its phase and, while data is processed, the number of the batch, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) phase: Phase,
    pub(crate) batch: u64,
}

impl Call {
    fn encode(self) -> u64 {
        (self.phase as u64) << 56 | self.batch.min((1 << 56) - 1)
    }

    fn decode(code: u64) -> Self {
        let phase = Phase::ALL.get((code >> 56) as usize).copied().unwrap_or(Phase::Process);
        Call { phase, batch: code & ((1 << 56) - 1) }
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.phase {
            Phase::Process => write!(f, "process, batch {}", self.batch),
            Phase::Finish => write!(f, "finish, after batch {}", self.batch),
            other => other.fmt(f),
        }
    }
}

/// What the session's task and the thread share.
#[derive(Debug)]
pub(crate) struct CallClock {
    base: Instant,
    /// What the engine gives each call.
    asked: Option<Duration>,
    /// What the function gives itself, in nanoseconds; [`NONE`] when it does not, or has not said so yet.
    own: AtomicU64,
    /// When the present call is over its time, in nanoseconds since `base`; 0 while the clock stands still.
    expires: AtomicU64,
    /// What was left when the clock last stood still, in nanoseconds. Written before `expires` becomes 0.
    left: AtomicU64,
    /// The present or last call.
    call: AtomicU64,
}

/// No limit.
const NONE: u64 = u64::MAX;

/// Whose limit a call has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limit {
    Engines,
    Functions,
}

/// What the session's task learns from the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// The call has taken too long.
    Expired(Call),
    /// It can't have before this moment.
    NotBefore(Instant),
    /// There is no limit.
    Unlimited,
}

impl CallClock {
    /// A clock that gives each call `budget`, and stands still.
    pub(crate) fn new(budget: Option<Duration>, base: Instant) -> Self {
        let left = budget.map_or(0, nanos);
        let call = Call { phase: Phase::Open, batch: 0 };
        CallClock {
            base,
            asked: budget,
            own: AtomicU64::new(NONE),
            expires: AtomicU64::new(0),
            left: AtomicU64::new(left),
            call: AtomicU64::new(call.encode()),
        }
    }

    /// The time each call has: the smaller of both limits.
    pub(crate) fn budget(&self) -> Option<Duration> {
        self.limit().map(|(budget, _)| budget)
    }

    /// The same, and who said so.
    pub(crate) fn limit(&self) -> Option<(Duration, Limit)> {
        let own = match self.own.load(Ordering::Acquire) {
            NONE => None,
            own => Some(Duration::from_nanos(own)),
        };
        match (self.asked, own) {
            (Some(asked), own) if own.is_none_or(|own| asked <= own) => Some((asked, Limit::Engines)),
            (_, own) => own.map(|own| (own, Limit::Functions)),
        }
    }

    /// The function's own limit, for the calls to come. Between two calls.
    pub(crate) fn bound(&self, own: Duration) {
        self.own.store(nanos(own).min(NONE - 1), Ordering::Release);
        self.stop();
    }

    /// A call begins.
    pub(crate) fn start(&self, call: Call, now: Instant) {
        self.call.store(call.encode(), Ordering::Release);
        if let Some(budget) = self.budget() {
            self.left.store(nanos(budget), Ordering::Release);
            self.resume(now);
        }
    }

    /// Within the call another function is called: it has the whole time again.
    pub(crate) fn again(&self, now: Instant) {
        if let Some(budget) = self.budget() {
            self.left.store(nanos(budget), Ordering::Release);
            self.resume(now);
        }
    }

    /// The call waits for something that is not its fault (C11).
    pub(crate) fn pause(&self, now: Instant) {
        if self.budget().is_some() {
            let left = self.expires.load(Ordering::Relaxed).saturating_sub(self.since_base(now));
            self.left.store(left, Ordering::Release);
            self.expires.store(0, Ordering::Release);
        }
    }

    /// The wait is over.
    pub(crate) fn resume(&self, now: Instant) {
        if self.budget().is_some() {
            // A call whose time is up exactly now still must not look as if the clock stood still.
            let expires = self.since_base(now).saturating_add(self.left.load(Ordering::Relaxed)).max(1);
            self.expires.store(expires, Ordering::Release);
        }
    }

    /// The call has returned.
    pub(crate) fn stop(&self) {
        if let Some(budget) = self.budget() {
            self.left.store(nanos(budget), Ordering::Release);
            self.expires.store(0, Ordering::Release);
        }
    }

    /// The present or last call.
    pub(crate) fn call(&self) -> Call {
        Call::decode(self.call.load(Ordering::Acquire))
    }

    /// How things stand at `now`.
    pub(crate) fn read(&self, now: Instant) -> Reading {
        if self.budget().is_none() {
            return Reading::Unlimited;
        }
        match self.expires.load(Ordering::Acquire) {
            // Should the clock start between these two loads, the moment is right all the same: it had this much left.
            0 => Reading::NotBefore(now + Duration::from_nanos(self.left.load(Ordering::Acquire).max(1))),
            expires if expires <= self.since_base(now) => {
                let call = Call::decode(self.call.load(Ordering::Acquire));
                // If the call ended meanwhile it was in time after all.
                match self.expires.load(Ordering::Acquire) == expires {
                    true => Reading::Expired(call),
                    false => Reading::NotBefore(now),
                }
            }
            expires => Reading::NotBefore(self.base + Duration::from_nanos(expires)),
        }
    }

    fn since_base(&self, now: Instant) -> u64 {
        nanos(now.saturating_duration_since(self.base))
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// C11: only time in the function counts; waits do not.
    #[test]
    fn c11_the_clock_stands_still_while_the_function_waits() {
        let base = Instant::now();
        let clock = CallClock::new(Some(SECOND), base);
        let call = Call { phase: Phase::Process, batch: 3 };
        clock.start(call, base);
        assert_eq!(clock.read(base), Reading::NotBefore(base + SECOND));
        clock.pause(base + SECOND / 2);
        assert_eq!(clock.read(base + 100 * SECOND), Reading::NotBefore(base + 100 * SECOND + SECOND / 2));
        clock.resume(base + 100 * SECOND);
        assert_eq!(clock.read(base + 100 * SECOND), Reading::NotBefore(base + 100 * SECOND + SECOND / 2));
        assert_eq!(clock.read(base + 100 * SECOND + SECOND / 2), Reading::Expired(call));
        clock.stop();
        assert_eq!(clock.read(base + 200 * SECOND), Reading::NotBefore(base + 201 * SECOND));
    }

    /// C11: of several functions in one call each has the whole time.
    #[test]
    fn c11_each_function_of_a_call_has_the_whole_time() {
        let base = Instant::now();
        let clock = CallClock::new(Some(SECOND), base);
        let call = Call { phase: Phase::Process, batch: 3 };
        clock.start(call, base);
        clock.again(base + SECOND / 2);
        assert_eq!(clock.read(base + SECOND), Reading::NotBefore(base + SECOND + SECOND / 2));
        assert_eq!(clock.read(base + SECOND + SECOND / 2), Reading::Expired(call));
    }

    /// C11: there is no limit unless one was asked for.
    #[test]
    fn c11_no_limit_by_default() {
        let base = Instant::now();
        let clock = CallClock::new(None, base);
        clock.start(Call { phase: Phase::Open, batch: 0 }, base);
        assert_eq!(clock.read(base + 1000 * SECOND), Reading::Unlimited);
    }

    /// C11: of the engine's limit and the function's own the smaller one holds.
    #[test]
    fn c11_the_smaller_limit_holds() {
        let base = Instant::now();
        let call = Call { phase: Phase::Start, batch: 0 };
        for (asked, own, limit) in [
            (None, SECOND, (SECOND, Limit::Functions)),
            (Some(2 * SECOND), SECOND, (SECOND, Limit::Functions)),
            (Some(SECOND), 2 * SECOND, (SECOND, Limit::Engines)),
        ] {
            let clock = CallClock::new(asked, base);
            clock.start(Call { phase: Phase::Open, batch: 0 }, base);
            clock.stop();
            clock.bound(own);
            assert_eq!(clock.limit(), Some(limit));
            assert_eq!(clock.read(base), Reading::NotBefore(base + SECOND));
            clock.start(call, base);
            assert_eq!(clock.read(base + SECOND), Reading::Expired(call));
        }
    }

    /// C11: the text names the phase and the batch.
    #[test]
    fn c11_a_call_has_a_name() {
        let name = |phase| Call::decode(Call { phase, batch: 7 }.encode()).to_string();
        assert_eq!(name(Phase::Process), "process, batch 7");
        assert_eq!(name(Phase::Finish), "finish, after batch 7");
        assert_eq!(name(Phase::Open), "open");
    }
}
