//! How a dispatcher stands, through the `metrics` facade. Without a recorder it costs next to nothing.
//!
//! Names begin with `anyudf_pool_`, and each has the labels `worker`, the name of the program, and `dispatcher`, the number
//! of the dispatcher in this process, from 1. A recorder is to be installed before the dispatcher is made.

use std::sync::atomic::{AtomicU64, Ordering};

use metrics::{Counter, Gauge, Label, counter, gauge};

use crate::pool::words::{PoolSnapshot, Totals};

/// One dispatcher's metrics.
pub(super) struct Instruments {
    starting: Gauge,
    idle: Gauge,
    checking: Gauge,
    busy: Gauge,
    draining: Gauge,
    ending: Gauge,
    sessions: Gauge,
    waiting: Gauge,
    starts: Counter,
    failed_starts: Counter,
    crashes: Counter,
    granted: Counter,
    refused: Counter,
    waited: Counter,
}

impl Instruments {
    /// Those of the next dispatcher of this process, whose workers are of `program`.
    pub(super) fn new(program: &str) -> Self {
        static DISPATCHERS: AtomicU64 = AtomicU64::new(0);
        let number = DISPATCHERS.fetch_add(1, Ordering::Relaxed) + 1;
        let labels = || vec![Label::new("worker", program.to_owned()), Label::new("dispatcher", number.to_string())];
        let workers = |state: &'static str| {
            let state = Label::from_static_parts("state", state);
            gauge!("anyudf_pool_workers", labels().into_iter().chain([state]).collect::<Vec<_>>())
        };
        let total = |name: &'static str| counter!(name, labels());
        Instruments {
            starting: workers("starting"),
            idle: workers("idle"),
            checking: workers("checking"),
            busy: workers("busy"),
            draining: workers("draining"),
            ending: workers("ending"),
            sessions: gauge!("anyudf_pool_sessions", labels()),
            waiting: gauge!("anyudf_pool_waiting", labels()),
            starts: total("anyudf_pool_starts_total"),
            failed_starts: total("anyudf_pool_failed_starts_total"),
            crashes: total("anyudf_pool_crashes_total"),
            granted: total("anyudf_pool_granted_total"),
            refused: total("anyudf_pool_refused_total"),
            waited: total("anyudf_pool_waited_milliseconds_total"),
        }
    }

    /// Says how the pool stands.
    pub(super) fn record(&self, snapshot: &PoolSnapshot) {
        let PoolSnapshot { starting, idle, checking, busy, draining, ending, sessions, waiting, totals } = snapshot;
        self.starting.set(*starting as f64);
        self.idle.set(*idle as f64);
        self.checking.set(*checking as f64);
        self.busy.set(*busy as f64);
        self.draining.set(*draining as f64);
        self.ending.set(*ending as f64);
        self.sessions.set(*sessions as f64);
        self.waiting.set(*waiting as f64);
        let Totals { starts, failed_starts, crashes, granted, refused, waited, .. } = totals;
        self.starts.absolute(*starts);
        self.failed_starts.absolute(*failed_starts);
        self.crashes.absolute(*crashes);
        self.granted.absolute(*granted);
        self.refused.absolute(*refused);
        self.waited.absolute(u64::try_from(waited.as_millis()).unwrap_or(u64::MAX));
    }
}
