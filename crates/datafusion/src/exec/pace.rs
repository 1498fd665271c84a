//! How many rows go at once: few at first, so that the first results are soon there and a LIMIT does not pay for rows that
//! nobody sees, and then as many as keep the function busy for a while.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use arrow_array::RecordBatch;

/// Rows of the first batch.
const FIRST: usize = 64;

/// What a batch should take the function.
const WORK: Duration = Duration::from_millis(50);

/// Beyond this many, one batch more costs nothing.
const MOST: usize = 1 << 17;

/// How many rows the next batch has. Whoever sends asks it, whoever takes results tells it.
#[derive(Debug)]
pub(super) struct Pace {
    rows: AtomicUsize,
}

impl Pace {
    pub(super) fn new() -> Self {
        Pace { rows: AtomicUsize::new(FIRST) }
    }

    pub(super) fn rows(&self) -> usize {
        self.rows.load(Relaxed)
    }

    /// So many rows took the function so long.
    pub(super) fn took(&self, rows: usize, time: Duration) {
        let now = self.rows();
        // A smaller batch than was asked for says little of larger ones.
        if rows == 0 || rows < now / 2 {
            return;
        }
        let fit = rows as f64 * WORK.as_secs_f64() / time.as_secs_f64().max(1e-9);
        // Not all at once: the first batch pays for what is only done once.
        let next = (fit as usize).clamp((now / 2).max(1), now * 4);
        self.rows.store(next.min(MOST), Relaxed);
    }
}

/// The same for a function whose answers say nothing of how fast it is: batches become longer, until they are as long as they
/// come.
#[derive(Debug)]
pub(crate) struct Ramp {
    rows: usize,
}

impl Ramp {
    pub(crate) fn new() -> Self {
        Ramp { rows: FIRST }
    }

    /// The rows in pieces, none of them copied.
    pub(crate) fn cut(&mut self, rows: &RecordBatch) -> Vec<RecordBatch> {
        let (mut pieces, mut first) = (Vec::new(), 0);
        while first < rows.num_rows() {
            let count = self.rows.min(rows.num_rows() - first);
            pieces.push(rows.slice(first, count));
            first += count;
            self.rows = self.rows.saturating_mul(4).min(MOST);
        }
        pieces
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fast_function_soon_gets_large_batches() {
        let pace = Pace::new();
        for _ in 0..8 {
            pace.took(pace.rows(), Duration::from_micros(pace.rows() as u64 / 100));
        }
        assert_eq!(pace.rows(), MOST);
    }

    #[test]
    fn a_slow_function_gets_batches_of_the_work_it_should_have() {
        let pace = Pace::new();
        for _ in 0..8 {
            pace.took(pace.rows(), Duration::from_millis(10) * pace.rows() as u32);
        }
        assert_eq!(pace.rows(), 5);
        for _ in 0..3 {
            pace.took(pace.rows(), Duration::from_millis(1) * pace.rows() as u32);
        }
        assert_eq!(pace.rows(), 50);
        pace.took(1, Duration::from_secs(1));
        assert_eq!(pace.rows(), 50, "one row is not what it is about");
    }
}
