//! A partition's way out: takes results, and puts them beside the rows they are of.

use std::collections::VecDeque;
use std::sync::Arc;

use anyudf_engine::{BatchOutput, Control, ErrorKind};
use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use datafusion::common::runtime::SpawnedTask;
use datafusion::common::{Result, exec_datafusion_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::metrics::{ExecutionPlanMetricsSet, RecordOutput};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::feeder::{Fed, Feeder, UNDER_WAY};
use super::invocation::{Invocation, Times};
use super::kept::Kept;
use super::pace::Pace;
use super::stats::Stats;
use crate::error::{Error, Said};

/// The rows of a partition with their results. Nothing begins before the first are asked for.
pub(super) fn start(
    invocation: &Arc<Invocation>,
    rows: SendableRecordBatchStream,
    schema: SchemaRef,
    partition: usize,
    context: &Arc<TaskContext>,
    metrics: &ExecutionPlanMetricsSet,
) -> SendableRecordBatchStream {
    let (tell, fed) = mpsc::channel(UNDER_WAY);
    let pace = Arc::new(Pace::new());
    let stats = Stats::new(metrics, partition);
    let feeder = Feeder {
        invocation: Arc::clone(invocation),
        rows,
        partition,
        context: Arc::clone(context),
        pace: Arc::clone(&pace),
        stats: stats.clone(),
        tell,
    };
    let collector = Collector {
        invocation: Arc::clone(invocation),
        schema: Arc::clone(&schema),
        partition,
        pace,
        stats,
        feeder: Some(feeder),
        task: None,
        fed,
        session: None,
        messages: 0,
        constant: None,
        ready: VecDeque::new(),
    };
    let stream = futures::stream::try_unfold(collector, |mut collector| async move {
        Ok(collector.next().await?.map(|rows| (rows, collector)))
    });
    Box::pin(RecordBatchStreamAdapter::new(schema, stream))
}

/// What puts a partition's results beside its rows. Dropping it ends the feeder, and cancels the session.
struct Collector {
    invocation: Arc<Invocation>,
    schema: SchemaRef,
    partition: usize,
    pace: Arc<Pace>,
    stats: Stats,
    /// Until the first rows are asked for.
    feeder: Option<Feeder>,
    task: Option<SpawnedTask<()>>,
    fed: mpsc::Receiver<Fed>,
    session: Option<Open>,
    /// How many messages were sent before those that are waited for, if each batch was one.
    messages: u64,
    /// The results of functions that are called once: one row.
    constant: Option<RecordBatch>,
    ready: VecDeque<RecordBatch>,
}

/// An open session's end.
struct Open {
    output: BatchOutput,
    control: Control,
    /// When the last results came.
    answered: Instant,
}

impl Collector {
    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        if let Some(feeder) = self.feeder.take() {
            self.task = Some(SpawnedTask::spawn(feeder.run()));
        }
        loop {
            if let Some(rows) = self.ready.pop_front() {
                return Ok(Some(rows.record_output(&self.stats.baseline)));
            }
            match self.fed.recv().await {
                Some(Fed::Open(output)) => {
                    self.session = Some(Open { control: output.control(), output, answered: Instant::now() });
                }
                Some(Fed::Sent(kept, at)) => self.collect(kept, at).await?,
                Some(Fed::Failed(error, None)) => return Err(error),
                Some(Fed::Failed(error, Some(input))) => return Err(input.fail(error)), // E8
                None => {
                    self.finish().await?;
                    return Ok(None);
                }
            }
        }
    }

    /// Takes the results for these rows.
    async fn collect(&mut self, kept: Kept, at: Instant) -> Result<()> {
        let pieces = self.results(&kept, at).await?;
        self.messages += kept.messages as u64;
        let _timer = self.stats.baseline.elapsed_compute().timer();
        let rows = match self.invocation.times {
            Times::EachRow => kept.with_results(&pieces, &self.schema)?,
            Times::Once => {
                if let Some(result) = pieces.into_iter().next() {
                    self.constant = Some(result);
                }
                match &self.constant {
                    Some(result) => kept.with_constant(result, &self.schema)?,
                    None => kept.with_results(&[], &self.schema)?,
                }
            }
        };
        self.ready.extend(rows);
        Ok(())
    }

    async fn results(&mut self, kept: &Kept, at: Instant) -> Result<Vec<RecordBatch>> {
        let (mut pieces, mut rows) = (Vec::new(), 0);
        let Some(session) = self.session.as_mut() else { return Ok(pieces) };
        while rows < kept.sent {
            let timer = self.stats.wait.timer();
            let next = session.output.next().await;
            timer.done();
            match next {
                Ok(Some(batch)) => {
                    rows += batch.num_rows();
                    self.stats.rows_received.add(batch.num_rows());
                    if batch.num_rows() > 0 {
                        pieces.push(self.invocation.conformed(batch)?);
                    }
                }
                Ok(None) => break,
                Err(error) => return Err(self.blamed(kept, error).into()),
            }
        }
        if rows != kept.sent {
            let what = match rows < kept.sent {
                true => format!("{rows} results for the {} rows it was given", kept.sent),
                false => format!("{rows} results or more for the {} rows it was given", kept.sent),
            };
            return Err(self.wrong_length(&format!("{what}, {}", kept.location(self.partition))).into());
        }
        let now = Instant::now();
        if kept.sent > 0 {
            // It has worked at them since they came, or since it was done with those before.
            let began = at.max(session.answered);
            self.pace.took(kept.sent, now.saturating_duration_since(began));
            session.answered = now;
        }
        Ok(pieces)
    }

    /// Nothing more was sent, so nothing more may come.
    async fn finish(&mut self) -> Result<()> {
        if let Some(task) = self.task.take() {
            task.join_unwind()
                .await
                .map_err(|error| exec_datafusion_err!("the task of a worker's call ended: {error}"))?;
        }
        let Some(session) = &mut self.session else { return Ok(()) };
        loop {
            match session.output.next().await {
                Ok(Some(batch)) if batch.num_rows() == 0 => {}
                Ok(Some(_)) => return Err(self.wrong_length("more results than it was given rows").into()),
                Ok(None) => break,
                Err(error) => return Err(Error::of_execution(&self.invocation.function, "", error).into()),
            }
        }
        let Some(Open { output, control, .. }) = self.session.take() else { return Ok(()) };
        self.stats.moved(&control);
        let summary = output.close().await;
        let summary = summary.map_err(|error| Error::of_execution(&self.invocation.function, "", error))?;
        self.stats.told(&summary.metrics);
        Ok(())
    }

    fn wrong_length(&self, what: &str) -> Error {
        let text = format!(
            "function `{}` returned {what}; a scalar function returns a value for each row",
            self.invocation.function
        );
        Error::new(ErrorKind::User, "WRONG_RESULT_LENGTH", text)
    }

    fn blamed(&self, kept: &Kept, error: anyudf_engine::Error) -> Error {
        let function = &self.invocation.function;
        // Its rows are counted from the beginning of its message, and a large batch is several of them.
        let is_first = |said: &Said<'_>| said.batch == Some(self.messages + 1) && kept.messages == 1;
        let row = Said::of(&error).filter(is_first).and_then(|said| said.row);
        let place = match row.and_then(|row| kept.row(row)) {
            Some(row) => format!(" in row {row} of partition {}", self.partition),
            None => format!(" at {}", kept.location(self.partition)),
        };
        Error::of_execution(function, &place, error)
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        if let Some(session) = &self.session {
            self.stats.moved(&session.control);
        }
    }
}
