//! A partition's way in: takes rows, makes arguments of them, sends them.

use std::sync::Arc;
use std::task::Poll;

use anyudf_engine::{BatchInput, BatchOutput, ErrorKind};
use arrow_array::{Array, BooleanArray, RecordBatch};
use arrow_select::concat::concat_batches;
use datafusion::common::Result;
use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use futures::{StreamExt, poll};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::invocation::{Invocation, Times};
use super::kept::Kept;
use super::pace::Pace;
use super::stats::Stats;
use crate::error::Error;

/// How many loads may be under way.
pub(super) const UNDER_WAY: usize = 4;

/// Arguments of so many bytes go at once, however few rows they are.
const LOAD_BYTES: usize = 1 << 20;

/// Arguments below this many bytes are worth a copy to go with others.
const SMALL_BYTES: usize = 64 << 10;

/// Rows of so many bytes are not kept for longer: they wait in memory for their results.
const KEPT_BYTES: usize = 8 << 20;

/// Rows for which nothing was sent are not held back for longer than this many come.
const HELD_ROWS: usize = 8 << 10;

/// What the feeder tells the stream.
#[derive(Debug)]
pub(super) enum Fed {
    /// The session is open, and results will come here.
    Open(BatchOutput),
    /// This was sent, or will be at once.
    Sent(Kept, Instant),
    /// It can't go on. The session goes on for what was sent before; whoever reads this ends it.
    Failed(DataFusionError, Option<BatchInput>),
}

/// Sends the arguments of one partition.
pub(super) struct Feeder {
    pub(super) invocation: Arc<Invocation>,
    pub(super) rows: SendableRecordBatchStream,
    pub(super) partition: usize,
    pub(super) context: Arc<TaskContext>,
    pub(super) pace: Arc<Pace>,
    pub(super) stats: Stats,
    pub(super) tell: mpsc::Sender<Fed>,
}

/// Nobody wants more: the session has ended, and the stream finds out how; or the stream is gone.
struct Over;

impl Feeder {
    /// Sends until there are no more rows, or it can't go on.
    pub(super) async fn run(mut self) {
        let mut session = None;
        match self.feed(&mut session).await {
            // How the session takes the end, the stream sees.
            Ok(Ok(())) => {
                if let Some(session) = session {
                    let _ = session.finish().await;
                }
            }
            Ok(Err(Over)) => {}
            Err(error) => drop(self.tell.send(Fed::Failed(error, session)).await),
        }
    }

    async fn feed(&mut self, session: &mut Option<BatchInput>) -> Result<Result<(), Over>> {
        let mut load = Load::default();
        let mut rest: Option<RecordBatch> = None;
        loop {
            let rows = match rest.take() {
                Some(rest) => rest,
                None => match self.next(&load).await? {
                    Next::Rows(rows) => rows,
                    Next::End => break,
                    Next::NotYet => {
                        if let Err(Over) = self.send(session, &mut load).await? {
                            return Ok(Err(Over));
                        }
                        continue;
                    }
                },
            };
            let room = match self.invocation.times {
                Times::EachRow => self.pace.rows().saturating_sub(load.kept.sent).max(1),
                Times::Once => rows.num_rows(),
            };
            if room < rows.num_rows() {
                rest = Some(rows.slice(room, rows.num_rows() - room));
            }
            self.load(&mut load, rows.slice(0, room.min(rows.num_rows())))?;
            let is_full = match self.invocation.times {
                Times::EachRow => {
                    let rows = self.pace.rows();
                    let is_large = load.bytes >= LOAD_BYTES || load.held >= KEPT_BYTES;
                    load.kept.sent >= rows || load.rows >= rows.max(HELD_ROWS) || is_large
                }
                Times::Once => true,
            };
            if is_full && let Err(Over) = self.send(session, &mut load).await? {
                return Ok(Err(Over));
            }
        }
        self.send(session, &mut load).await
    }

    /// The next rows. Those that wait in `load` do not wait for rows that are slow to come, unless the function is busy
    /// anyway.
    async fn next(&mut self, load: &Load) -> Result<Next> {
        loop {
            let is_idle = self.tell.capacity() + 1 >= UNDER_WAY;
            let rows = match load.rows > 0 && is_idle {
                false => self.rows.next().await,
                true => match poll!(self.rows.next()) {
                    Poll::Ready(rows) => rows,
                    Poll::Pending => return Ok(Next::NotYet),
                },
            };
            match rows.transpose()? {
                Some(rows) if rows.num_rows() == 0 => {}
                Some(rows) => return Ok(Next::Rows(rows)),
                None => return Ok(Next::End),
            }
        }
    }

    fn load(&self, load: &mut Load, rows: RecordBatch) -> Result<()> {
        let _timer = self.stats.baseline.elapsed_compute().timer();
        let wanted = self.invocation.wanted(&rows)?;
        let count = wanted.as_ref().map_or(rows.num_rows(), BooleanArray::true_count);
        load.rows += rows.num_rows();
        if self.invocation.times == Times::EachRow && count > 0 {
            let arguments = self.invocation.arguments(&rows, wanted.as_ref())?;
            load.bytes += bytes(&arguments);
            load.kept.sent += count;
            load.arguments.push(arguments);
        }
        load.wanted += count;
        load.held += bytes(&rows);
        load.kept.parts.push((rows, wanted));
        Ok(())
    }

    async fn send(&mut self, session: &mut Option<BatchInput>, load: &mut Load) -> Result<Result<(), Over>> {
        if load.rows == 0 {
            return Ok(Ok(()));
        }
        let next = Kept { first: load.kept.first + load.rows as u64, ..Kept::default() };
        let Load { mut kept, arguments, wanted, bytes, .. } =
            std::mem::replace(load, Load { kept: next, ..Load::default() });
        let mut arguments = arguments;
        if self.invocation.times == Times::Once && wanted > 0 && session.is_none() {
            // The same for all rows, so any one will do.
            arguments = vec![self.invocation.constants()?];
            kept.sent = 1;
        }
        if arguments.len() > 1 && bytes / arguments.len() < SMALL_BYTES {
            let _timer = self.stats.baseline.elapsed_compute().timer();
            arguments = vec![concat_batches(&self.invocation.arguments_schema, &arguments)?];
        }
        kept.messages = arguments.len();
        if !arguments.is_empty() && session.is_none() {
            let (input, output) = open(&self.invocation, self.partition, &self.context).await?;
            self.stats.sessions.add(1);
            *session = Some(input);
            if self.tell.send(Fed::Open(output)).await.is_err() {
                return Ok(Err(Over));
            }
        }
        let location = kept.location(self.partition);
        // Before the arguments go, so that no result comes for rows that nobody knows of.
        if self.tell.send(Fed::Sent(kept, Instant::now())).await.is_err() {
            return Ok(Err(Over));
        }
        let Some(session) = session else { return Ok(Ok(())) };
        for batch in &arguments {
            match session.send(batch).await {
                Ok(()) => {
                    self.stats.rows_sent.add(batch.num_rows());
                    self.stats.batches_sent.add(1);
                }
                // What can't be sent, such as a row that is too large, only we know of.
                Err(error) if error.kind() == ErrorKind::Misuse => {
                    return Err(
                        Error::of_execution(&self.invocation.function, &format!(" at {location}"), error).into()
                    );
                }
                Err(_) => return Ok(Err(Over)),
            }
        }
        Ok(Ok(()))
    }
}

async fn open(invocation: &Invocation, partition: usize, context: &TaskContext) -> Result<(BatchInput, BatchOutput)> {
    let Invocation { worker, function, .. } = invocation;
    let blamed = |error| Error::of_execution(function, "", error);
    let init = invocation.init(partition, context);
    let (input, output) = worker.dispatcher.open(init).await.map_err(blamed)?.batches().map_err(blamed)?;
    invocation.check_result(output.schema())?;
    Ok((input, output))
}

/// What came when rows were asked for.
enum Next {
    Rows(RecordBatch),
    End,
    NotYet,
}

/// What goes at once.
#[derive(Debug, Default)]
struct Load {
    kept: Kept,
    arguments: Vec<RecordBatch>,
    rows: usize,
    /// Rows for which the function is to be called.
    wanted: usize,
    /// Of the arguments.
    bytes: usize,
    /// Of the rows themselves.
    held: usize,
}

/// The bytes of a batch's rows, without what slices leave out.
fn bytes(batch: &RecordBatch) -> usize {
    let size = |column: &arrow_array::ArrayRef| {
        column.to_data().get_slice_memory_size().unwrap_or_else(|_| column.get_array_memory_size())
    };
    batch.columns().iter().map(size).sum()
}
