//! What moved and how long it took, for one session and for the whole worker (C8, M2).
//!
//! Plain atomics: the heartbeat reads them while functions write them, and nobody waits for anybody (M2).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyudf_protocol::{Counter, Metrics};

/// Counts of the whole worker since it started (M2).
#[derive(Debug)]
pub(crate) struct Totals {
    started: Instant,
    pub(crate) sessions_total: AtomicU64,
    pub(crate) sessions_failed: AtomicU64,
    rows_in: AtomicU64,
    rows_out: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    calls_overdue: AtomicU64,
}

impl Default for Totals {
    fn default() -> Self {
        Totals {
            started: Instant::now(),
            sessions_total: AtomicU64::new(0),
            sessions_failed: AtomicU64::new(0),
            rows_in: AtomicU64::new(0),
            rows_out: AtomicU64::new(0),
            bytes_in: AtomicU64::new(0),
            bytes_out: AtomicU64::new(0),
            calls_overdue: AtomicU64::new(0),
        }
    }
}

impl Totals {
    /// Counts a call into user code as overdue until the guard is dropped (R12, C11, M2).
    pub(crate) fn overdue(self: &Arc<Self>) -> Overdue {
        self.calls_overdue.fetch_add(1, Relaxed);
        Overdue(Arc::clone(self))
    }

    /// Names and values for the heartbeat (M2).
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + use<> {
        [
            ("sessions_total", self.sessions_total.load(Relaxed)),
            ("sessions_failed", self.sessions_failed.load(Relaxed)),
            ("rows_in", self.rows_in.load(Relaxed)),
            ("rows_out", self.rows_out.load(Relaxed)),
            ("bytes_in", self.bytes_in.load(Relaxed)),
            ("bytes_out", self.bytes_out.load(Relaxed)),
            ("calls_overdue", self.calls_overdue.load(Relaxed)),
            ("uptime_ms", self.started.elapsed().as_millis() as u64),
        ]
        .into_iter()
    }
}

/// A call into user code that should have returned and has not.
#[derive(Debug)]
pub(crate) struct Overdue(Arc<Totals>);

impl Drop for Overdue {
    fn drop(&mut self) {
        self.0.calls_overdue.fetch_sub(1, Relaxed);
    }
}

/// Counts of one session (C8). The session's task and the thread of its function both write here.
#[derive(Debug)]
pub(crate) struct Counters {
    totals: Arc<Totals>,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    batches_in: AtomicU64,
    batches_out: AtomicU64,
    rows_in: Rows,
    rows_out: Rows,
    receive_wall: AtomicU64,
    send_wall: AtomicU64,
    work_wall: AtomicU64,
    work_cpu: AtomicU64,
}

/// A count of rows: unknown until somebody who understands the data has counted some (C8).
#[derive(Debug)]
struct Rows(AtomicU64);

impl Rows {
    const UNKNOWN: u64 = u64::MAX;

    fn add(&self, rows: u64) {
        // Only one thread counts each direction, so nothing is lost between the two steps.
        let before = self.0.load(Relaxed);
        let known = if before == Self::UNKNOWN { 0 } else { before };
        self.0.store(known + rows, Relaxed);
    }

    fn get(&self) -> Option<u64> {
        Some(self.0.load(Relaxed)).filter(|&rows| rows != Self::UNKNOWN)
    }
}

impl Counters {
    pub(crate) fn new(totals: Arc<Totals>) -> Self {
        Counters {
            totals,
            bytes_in: AtomicU64::new(0),
            bytes_out: AtomicU64::new(0),
            batches_in: AtomicU64::new(0),
            batches_out: AtomicU64::new(0),
            rows_in: Rows(AtomicU64::new(Rows::UNKNOWN)),
            rows_out: Rows(AtomicU64::new(Rows::UNKNOWN)),
            receive_wall: AtomicU64::new(0),
            send_wall: AtomicU64::new(0),
            work_wall: AtomicU64::new(0),
            work_cpu: AtomicU64::new(0),
        }
    }

    /// A DataRequest was handed to the function.
    pub(crate) fn received(&self, bytes: usize) {
        self.bytes_in.fetch_add(bytes as u64, Relaxed);
        self.batches_in.fetch_add(1, Relaxed);
        self.totals.bytes_in.fetch_add(bytes as u64, Relaxed);
    }

    /// A DataResponse was taken from the function.
    pub(crate) fn sent(&self, bytes: usize, rows: Option<u64>) {
        self.bytes_out.fetch_add(bytes as u64, Relaxed);
        self.batches_out.fetch_add(1, Relaxed);
        self.totals.bytes_out.fetch_add(bytes as u64, Relaxed);
        if let Some(rows) = rows {
            self.rows_out.add(rows);
            self.totals.rows_out.fetch_add(rows, Relaxed);
        }
    }

    /// The function's adapter has decoded `rows` rows.
    pub(crate) fn rows_in(&self, rows: u64) {
        self.rows_in.add(rows);
        self.totals.rows_in.fetch_add(rows, Relaxed);
    }

    /// From now on the rows sent are known, also when there are none (C8: zero means measured zero).
    pub(crate) fn rows_are_known(&self) {
        self.rows_in.add(0);
        self.rows_out.add(0);
    }

    /// The function waited for input.
    pub(crate) fn waited_to_receive(&self, time: Duration) {
        self.receive_wall.fetch_add(nanos(time), Relaxed);
    }

    /// The function waited for room to send.
    pub(crate) fn waited_to_send(&self, time: Duration) {
        self.send_wall.fetch_add(nanos(time), Relaxed);
    }

    /// A call into the function took `wall` without its waits, and `cpu` on a processor.
    pub(crate) fn worked(&self, wall: Duration, cpu: Duration) {
        self.work_wall.fetch_add(nanos(wall), Relaxed);
        self.work_cpu.fetch_add(nanos(cpu), Relaxed);
    }

    /// All that is known so far, added to the function's own metrics (C8).
    pub(crate) fn complete(
        &self,
        mut metrics: Metrics,
        init: Option<Duration>,
        processing: Option<Duration>,
    ) -> Metrics {
        let known = [
            (Counter::BytesIn, Some(self.bytes_in.load(Relaxed))),
            (Counter::BytesOut, Some(self.bytes_out.load(Relaxed))),
            (Counter::RowsIn, self.rows_in.get()),
            (Counter::RowsOut, self.rows_out.get()),
            (Counter::BatchesIn, Some(self.batches_in.load(Relaxed))),
            (Counter::BatchesOut, Some(self.batches_out.load(Relaxed))),
            (Counter::InitWallNanos, init.map(nanos)),
            (Counter::ProcessingWallNanos, processing.map(nanos)),
            (Counter::ReceiveWallNanos, Some(self.receive_wall.load(Relaxed))),
            (Counter::SendWallNanos, Some(self.send_wall.load(Relaxed))),
            (Counter::WorkWallNanos, Some(self.work_wall.load(Relaxed))),
            (Counter::WorkCpuNanos, Some(self.work_cpu.load(Relaxed))),
        ];
        for (counter, value) in known {
            if let Some(value) = value {
                metrics.set(counter, value);
            }
        }
        metrics
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// C8: absent means unknown, zero means measured zero.
    #[test]
    fn c8_unknown_rows_are_absent_and_no_rows_are_zero() {
        let counters = Counters::new(Arc::default());
        counters.received(10);
        counters.sent(10, None);
        let raw = counters.complete(Metrics::default(), None, None);
        assert_eq!(raw.counter(Counter::RowsIn), None);
        assert_eq!(raw.counter(Counter::RowsOut), None);
        assert_eq!(raw.counter(Counter::InitWallNanos), None);
        assert_eq!((raw.counter(Counter::BytesIn), raw.counter(Counter::BatchesOut)), (Some(10), Some(1)));
        counters.rows_are_known();
        counters.rows_in(3);
        let known = counters.complete(Metrics::default(), None, None);
        assert_eq!((known.counter(Counter::RowsIn), known.counter(Counter::RowsOut)), (Some(3), Some(0)));
    }

    /// M2: a call is overdue until it returns.
    #[test]
    fn m2_overdue_calls_are_counted_until_they_return() {
        let totals = Arc::new(Totals::default());
        let overdue = || totals.iter().find(|(name, _)| *name == "calls_overdue").map(|(_, value)| value);
        let first = totals.overdue();
        let second = totals.overdue();
        assert_eq!(overdue(), Some(2));
        drop((first, second));
        assert_eq!(overdue(), Some(0));
    }
}
