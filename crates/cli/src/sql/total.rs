//! What statements took.

use std::fmt;
use std::time::Instant;

use anyudf_datafusion::{CallTotals, SqlProgress};
use anyudf_engine::DispatcherStats;

use crate::failure::say;
use crate::run::{Stats, show_dispatcher, show_rows};
use crate::units::{show_bytes, show_count};

/// What some statements took, one after the other.
#[derive(Debug)]
pub(super) struct Total {
    began: Instant,
    rows_read: u64,
    rows: u64,
    calls: Vec<CallTotals>,
}

impl Total {
    pub(super) fn begin() -> Self {
        Total { began: Instant::now(), rows_read: 0, rows: 0, calls: Vec::new() }
    }

    /// A statement gave so many rows.
    pub(super) fn add(&mut self, rows: u64, progress: &SqlProgress) {
        self.rows += rows;
        self.rows_read += progress.rows_read() as u64;
        self.calls.extend(progress.calls());
    }

    /// Rows that came out.
    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    /// The line at the end, and with `in_full` each call and the processes.
    pub(super) fn say(&self, workers: &DispatcherStats, in_full: bool) {
        say(Stats::take(self.began, self.rows_read, self.rows, workers));
        if in_full {
            for call in &self.calls {
                say(ShowCall(call));
            }
            say(show_dispatcher(workers));
        }
    }
}

struct ShowCall<'a>(&'a CallTotals);

impl fmt::Display for ShowCall<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let CallTotals {
            call,
            rows_sent,
            batches_sent,
            rows_received,
            bytes_sent,
            bytes_received,
            wait,
            user_time,
            ..
        } = self.0;
        let s = if *batches_sent == 1 { "" } else { "es" };
        write!(
            f,
            "{call}: {} in {} batch{s} ({}) to the worker, {} ({}) back; waited {:.2} s for it, its function worked {:.2} s",
            show_rows(*rows_sent as u64),
            show_count(*batches_sent as u64),
            show_bytes(*bytes_sent as u64),
            show_rows(*rows_received as u64),
            show_bytes(*bytes_received as u64),
            wait.as_secs_f64(),
            user_time.as_secs_f64(),
        )
    }
}
