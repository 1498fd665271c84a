//! What flows between the threads of a run, and how much of it at once.
//!
//! ```text
//!   reader ──▶ work ──▶ feeder ─ Input.send ═▶ worker ═▶ Output.next ─ collector ──▶ events ──▶ writer
//!     ▲                   └────────── pending: what was sent, in order ──▲                        │
//!     └────────────────────────── permits come back as rows are written ──────────────────────────┘
//! ```
//!
//! There is a feeder and a collector for each session, so batches are always under way in both directions. The reader
//! takes a permit for each batch and stops while too many bytes are out; the writer's pace is thus everybody's.

use std::sync::{Arc, Condvar, Mutex, mpsc};

use anyudf_engine::Summary;
use arrow::array::{Array, RecordBatch};

use crate::failure::Failure;

/// How many bytes may be between the reader and the writer. One batch always may, however large it is.
#[derive(Debug)]
pub(super) struct Budget {
    limit: usize,
    out: Mutex<usize>,
    returned: Condvar,
}

impl Budget {
    pub(super) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Budget { limit, out: Mutex::new(0), returned: Condvar::new() })
    }

    /// Waits until `bytes` may go out.
    pub(super) fn take(self: &Arc<Self>, bytes: usize) -> Permit {
        // More than there is would never be free.
        let bytes = bytes.clamp(1, self.limit);
        let out = self.out.lock().expect("nothing panics while it is held");
        let room = |out: &mut usize| *out + bytes > self.limit;
        let mut out = self.returned.wait_while(out, room).expect("nothing panics while it is held");
        *out += bytes;
        Permit { budget: Arc::clone(self), bytes }
    }
}

/// Bytes that are out. They come back when it is dropped.
#[derive(Debug)]
pub(super) struct Permit {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Drop for Permit {
    fn drop(&mut self) {
        *self.budget.out.lock().expect("nothing panics while it is held") -= self.bytes;
        self.budget.returned.notify_all();
    }
}

/// A batch of the input on its way.
#[derive(Debug)]
pub(super) struct Work {
    /// Its number, from zero.
    pub(super) place: u64,
    /// The number of its first row in the input, from zero.
    pub(super) first: u64,
    pub(super) rows: RecordBatch,
    pub(super) permit: Permit,
}

impl Work {
    /// Where it is, for error texts: people count from one.
    pub(super) fn location(&self) -> String {
        let (from, to) = (self.first + 1, self.first + self.rows.num_rows() as u64);
        format!("batch {} of the input (rows {from} to {to})", self.place + 1)
    }
}

/// Said in place of work by a reader that can't go on. It has told why.
#[derive(Debug)]
pub(super) struct Broken;

/// Where every feeder takes its work.
pub(super) type Queue = Arc<Mutex<mpsc::Receiver<Result<Work, Broken>>>>;

/// What a batch costs beside its rows: arrays, buffers, places in queues.
const OVERHEAD: usize = 4 << 10;

/// The bytes of the rows of a batch, without what slices leave out.
pub(super) fn size(batch: &RecordBatch) -> usize {
    let size = |column: &arrow::array::ArrayRef| {
        column.to_data().get_slice_memory_size().unwrap_or_else(|_| column.get_array_memory_size())
    };
    batch.columns().iter().map(size).sum::<usize>() + OVERHEAD
}

/// What the threads tell the writer.
#[derive(Debug)]
pub(super) enum Event {
    /// Rows of the result. Those of a scalar function have the place of the batch they were made from.
    Rows { place: Option<u64>, rows: RecordBatch, permit: Option<Permit> },
    /// A session has ended well.
    Done(Summary),
    /// The run has failed.
    Failed(Failure),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_waits_until_there_is_room() {
        let budget = Budget::new(10);
        let first = budget.take(6);
        let (tell, told) = mpsc::channel();
        let other = std::thread::spawn({
            let budget = Arc::clone(&budget);
            move || {
                let _second = budget.take(5);
                tell.send(*budget.out.lock().expect("not poisoned")).expect("it is waited for");
            }
        });
        let small = budget.take(4);
        drop(small);
        drop(first);
        assert!(told.recv().expect("there is room now") <= 10);
        other.join().expect("no panic");
        assert_eq!(*budget.out.lock().expect("not poisoned"), 0);
    }

    #[test]
    fn a_batch_larger_than_the_budget_goes_alone() {
        let budget = Budget::new(10);
        let large = budget.take(usize::MAX);
        assert_eq!(large.bytes, 10);
    }
}
