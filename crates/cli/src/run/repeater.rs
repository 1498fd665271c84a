//! One of the threads of a run that may be repeated: a session for each batch, and again when its worker is gone.
//!
//! Nothing of a session is taken before its Finish, so that no row comes twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use anyudf_engine::{Dispatcher, Scope, Summary};
use arrow::datatypes::SchemaRef;
use tokio::runtime::Handle;
use tokio::sync::mpsc as channel;

use super::announced::check_same;
use super::blame::blamed;
use super::flow::{Broken, Event, Queue, Work};
use super::pairing::paired;
use super::plan::Plan;
use super::turn::Turn;
use crate::failure::Result;

/// How often a batch is tried. Somebody who kills that many workers in a row wants the run to end.
pub(super) const ATTEMPTS: u32 = 12;

/// Takes work, and runs a session for each.
pub(super) struct Repeater {
    pub(super) handle: Handle,
    pub(super) plan: Arc<Plan>,
    pub(super) dispatcher: Dispatcher,
    pub(super) queue: Queue,
    /// Where it can be stopped.
    pub(super) turn: Arc<Turn>,
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
            if self.turn.is_stopped() {
                return;
            }
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
        let (init, scope) = (&self.plan.init, Scope::default());
        let run =
            self.dispatcher.run_repeatable(init, &scope, &arguments, ATTEMPTS, |control| self.turn.begin(control));
        let replayed = self.handle.block_on(run);
        let replayed =
            replayed.map_err(|error| blamed(&self.plan.function, &error, &format!(" in {}", work.location())))?;
        *last = replayed.summary;
        check_same(&self.plan.function, &self.announced, &replayed.schema)?;
        paired(&self.plan, &self.schema, work, &replayed.batches)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, mpsc};

    use anyudf_engine::{DispatcherConfig, WorkerPlan};
    use arrow::array::{Int64Array, RecordBatch};

    use super::super::flow::Budget;
    use super::super::plan::Call;
    use super::*;
    use crate::catalog::Kind;
    use crate::io::Io;

    /// E13: work that is still in the queue when the run is stopped asks for no worker.
    #[test]
    fn e13_no_batch_is_begun_after_a_stop() {
        let io = Io::start().expect("a runtime");
        let rows = RecordBatch::try_from_iter([("n", Arc::new(Int64Array::from(vec![1])) as _)]).expect("a column");
        let call = Call { function: "f", columns: None, options: None, timeout: None, timezone: None };
        let plan = Plan::unchecked(&call, Kind::Scalar, rows.schema_ref()).expect("a plan");
        let dispatcher = io.wait(async {
            let worker = WorkerPlan::from(crate::test_worker::command());
            Dispatcher::with_plan(worker, DispatcherConfig::default()).expect("a dispatcher")
        });
        let (give, take) = mpsc::channel();
        let permit = Budget::new(1).take(1);
        give.send(Ok(Work { place: 0, first: 0, rows: rows.clone(), permit })).expect("it waits there");
        let (tell, _events) = channel::channel(1);
        let repeater = Repeater {
            handle: io.handle().clone(),
            plan: Arc::new(plan),
            dispatcher: dispatcher.clone(),
            queue: Arc::new(Mutex::new(take)),
            turn: Arc::default(),
            events: tell,
            read: Arc::default(),
            announced: rows.schema(),
            schema: rows.schema(),
        };
        assert!(repeater.turn.stop().is_none(), "nothing has begun");
        repeater.run();
        let stats = io.wait(dispatcher.stats()).expect("it is open");
        assert_eq!((stats.starts, stats.granted), (0, 0));
        io.wait(dispatcher.close());
    }
}
