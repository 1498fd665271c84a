//! How a dispatcher stands, through the `metrics` facade. Without a recorder it costs next to nothing.
//!
//! Names begin with `anyudf_pool_`, and each has the label `worker`, the name of the program.

use metrics::{counter, gauge};

use crate::pool::words::{PoolSnapshot, Totals};

/// Says how the pool of workers of `program` stands.
pub(super) fn record(program: &str, snapshot: &PoolSnapshot) {
    let state = |name: &'static str, workers: usize| {
        gauge!("anyudf_pool_workers", "worker" => program.to_owned(), "state" => name).set(workers as f64);
    };
    let PoolSnapshot { starting, idle, checking, busy, draining, ending, sessions, waiting, totals } = snapshot;
    state("starting", *starting);
    state("idle", *idle);
    state("checking", *checking);
    state("busy", *busy);
    state("draining", *draining);
    state("ending", *ending);
    gauge!("anyudf_pool_sessions", "worker" => program.to_owned()).set(*sessions as f64);
    gauge!("anyudf_pool_waiting", "worker" => program.to_owned()).set(*waiting as f64);
    let total = |name: &'static str, value: u64| {
        counter!(name, "worker" => program.to_owned()).absolute(value);
    };
    let Totals { starts, failed_starts, crashes, granted, refused, waited, .. } = totals;
    total("anyudf_pool_starts_total", *starts);
    total("anyudf_pool_failed_starts_total", *failed_starts);
    total("anyudf_pool_crashes_total", *crashes);
    total("anyudf_pool_granted_total", *granted);
    total("anyudf_pool_refused_total", *refused);
    total("anyudf_pool_waited_milliseconds_total", u64::try_from(waited.as_millis()).unwrap_or(u64::MAX));
}
