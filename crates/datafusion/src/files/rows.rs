//! The rows of a statement, and how far they are.

use std::fmt;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::statistics::{StatisticsArgs, StatisticsContext};
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use futures::StreamExt as _;

use super::SqlError;
use crate::totals::CallTotals;

/// The rows of a statement while they are made. Dropping it cancels what is under way.
pub struct Rows {
    plan: Arc<dyn ExecutionPlan>,
    stream: SendableRecordBatchStream,
}

impl Rows {
    pub(super) fn begin(plan: Arc<dyn ExecutionPlan>, context: Arc<TaskContext>) -> datafusion::common::Result<Self> {
        Ok(Rows { stream: execute_stream(Arc::clone(&plan), context)?, plan })
    }

    /// Their columns; none for a statement that gives no rows, such as CREATE VIEW.
    pub fn schema(&self) -> SchemaRef {
        self.stream.schema()
    }

    /// The next of them; `None` behind the last.
    ///
    /// # Errors
    /// A function, a worker or a file failed: nothing more comes.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Result<Option<RecordBatch>, SqlError> {
        self.stream.next().await.transpose().map_err(SqlError::of_rows)
    }

    /// A look at how far it is, from anywhere.
    pub fn progress(&self) -> SqlProgress {
        SqlProgress { plan: Arc::clone(&self.plan) }
    }
}

impl fmt::Debug for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rows").field("schema", &self.schema()).finish_non_exhaustive()
    }
}

/// How far a statement is, or how far it came.
#[derive(Clone)]
pub struct SqlProgress {
    plan: Arc<dyn ExecutionPlan>,
}

impl SqlProgress {
    /// Rows that were read from tables so far.
    pub fn rows_read(&self) -> usize {
        self.sources()
            .iter()
            .map(|source| source.metrics().and_then(|metrics| metrics.output_rows()).unwrap_or(0))
            .sum()
    }

    /// About how many rows the tables have, if all of them say so. A statement may end without reading them all.
    pub fn rows_in_tables(&self) -> Option<usize> {
        let rows = |source: &Arc<dyn ExecutionPlan>| {
            let statistics = StatisticsContext::new().compute(source.as_ref(), &StatisticsArgs::new()).ok()?;
            statistics.num_rows.get_value().copied()
        };
        self.sources().iter().map(rows).sum()
    }

    /// The calls of workers' functions, in the order of the plan.
    pub fn calls(&self) -> Vec<CallTotals> {
        CallTotals::of(&self.plan)
    }

    fn sources(&self) -> Vec<Arc<dyn ExecutionPlan>> {
        let (mut sources, mut left) = (Vec::new(), vec![Arc::clone(&self.plan)]);
        while let Some(node) = left.pop() {
            match &node.children()[..] {
                [] => sources.push(node),
                children => left.extend(children.iter().map(|&child| Arc::clone(child))),
            }
        }
        sources
    }
}

impl fmt::Debug for SqlProgress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqlProgress").field("rows_read", &self.rows_read()).finish_non_exhaustive()
    }
}
