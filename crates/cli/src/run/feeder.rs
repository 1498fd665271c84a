//! One session's way in: takes work, makes arguments of it, sends them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use anyudf_engine::{BatchInput, ErrorKind};
use tokio::runtime::Handle;
use tokio::sync::mpsc as channel;

use super::blame::blamed;
use super::flow::{Broken, Event, Queue, Work};
use super::plan::Plan;

/// Sends arguments to one session.
pub(super) struct Feeder {
    pub(super) handle: Handle,
    pub(super) plan: Arc<Plan>,
    pub(super) queue: Queue,
    pub(super) input: BatchInput,
    /// Where the collector learns which rows the results belong to.
    pub(super) pend: Option<channel::UnboundedSender<Work>>,
    pub(super) events: channel::Sender<Event>,
    pub(super) read: Arc<AtomicU64>,
}

impl Feeder {
    /// Sends until there is no more work, or the session or the work has failed.
    pub(super) fn run(mut self) {
        loop {
            let next = self.queue.lock().expect("nothing panics while it is held").recv();
            let work = match next {
                Ok(Ok(work)) => work,
                Ok(Err(Broken)) => {
                    self.input.fail("it can't be read to its end"); // E8
                    return;
                }
                // The end. How the session takes it, the collector sees.
                Err(_) => return drop(self.handle.block_on(self.input.finish())),
            };
            let arguments = match self.plan.arguments(&work.rows, work.first) {
                Ok(arguments) => arguments,
                Err(failure) => {
                    // Told before the session is cancelled, so that it is what the user reads.
                    let _ = self.events.blocking_send(Event::Failed(failure));
                    self.input.fail("its values do not fit the function"); // E8
                    return;
                }
            };
            let (rows, location) = (work.rows.num_rows() as u64, work.location());
            // Before the arguments go, so that no result comes for rows that nobody knows of.
            let permit = match &self.pend {
                Some(pend) => {
                    // Without a collector the session has ended, and so will the next send.
                    let _ = pend.send(work);
                    None
                }
                None => Some(work.permit),
            };
            match self.handle.block_on(self.input.send(&arguments)) {
                Ok(()) => {}
                // What can't be sent, such as a row that is too large, only we know of.
                Err(error) if error.kind() == ErrorKind::Misuse => {
                    let failure = blamed(&self.plan.function, &error, &format!(" in {location}"));
                    let _ = self.events.blocking_send(Event::Failed(failure));
                    return;
                }
                // The session has ended; the collector says how.
                Err(_) => return,
            }
            self.read.fetch_add(rows, Relaxed);
            drop(permit);
        }
    }
}
