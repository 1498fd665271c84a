//! One of the threads of a run that may be repeated: a session for each batch, and again when its worker is gone.
//!
//! Nothing of a session is taken before its Finish, so that no row comes twice.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use anyudf_engine::{Control, Dispatcher, Scope, Summary};
use arrow::datatypes::SchemaRef;
use tokio::runtime::Handle;
use tokio::sync::mpsc as channel;

use super::announced::check_same;
use super::blame::blamed;
use super::flow::{Broken, Event, Queue, Work};
use super::pairing::paired;
use super::plan::Plan;
use crate::failure::Result;

/// Does something that is safe to repeat, such as looking a function up, again while the worker is gone each time.
///
/// # Errors
/// The last failure.
pub(super) async fn again<T>(mut once: impl AsyncFnMut() -> Result<T>) -> Result<T> {
    for _ in 1..ATTEMPTS {
        match once().await {
            Err(failure) if failure.is_worker_gone() => {}
            done => return done,
        }
    }
    once().await
}

/// How often a batch is tried. Somebody who kills that many workers in a row wants the run to end.
const ATTEMPTS: u32 = 12;

/// Takes work, and runs a session for each.
pub(super) struct Repeater {
    pub(super) handle: Handle,
    pub(super) plan: Arc<Plan>,
    pub(super) dispatcher: Dispatcher,
    pub(super) queue: Queue,
    /// Where the present session can be cancelled.
    pub(super) control: Arc<Mutex<Option<Control>>>,
    pub(super) events: channel::Sender<Event>,
    pub(super) read: Arc<AtomicU64>,
    /// What every session has to announce.
    pub(super) announced: SchemaRef,
    /// Of the rows that are written.
    pub(super) schema: SchemaRef,
}

impl Repeater {
    /// Runs until there is no more work, or something has failed.
    pub(super) fn run(self) {
        let mut last = Summary::default();
        loop {
            let next = self.queue.lock().expect("nothing panics while it is held").recv();
            let event = match next {
                Ok(Ok(work)) => self.once(work, &mut last).unwrap_or_else(Event::Failed),
                // The reader has told why.
                Ok(Err(Broken)) => return,
                Err(_) => Event::Done(std::mem::take(&mut last)),
            };
            let over = !matches!(event, Event::Rows { .. });
            // Nobody listens after a failure.
            if self.events.blocking_send(event).is_err() || over {
                return;
            }
        }
    }

    fn once(&self, work: Work, last: &mut Summary) -> Result<Event> {
        let arguments = [self.plan.arguments(&work.rows, work.first)?];
        self.read.fetch_add(work.rows.num_rows() as u64, Relaxed);
        let begun = |control| *self.control.lock().expect("nothing panics while it is held") = Some(control);
        let (init, scope) = (&self.plan.init, Scope::default());
        let run = self.dispatcher.run_repeatable(init, &scope, &arguments, ATTEMPTS, begun);
        let replayed = self.handle.block_on(run);
        let replayed =
            replayed.map_err(|error| blamed(&self.plan.function, &error, &format!(" in {}", work.location())))?;
        *last = replayed.summary;
        check_same(&self.plan.function, &self.announced, &replayed.schema)?;
        paired(&self.plan, &self.schema, work, &replayed.batches)
    }
}
