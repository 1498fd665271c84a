//! The physical node that calls a function: one session a partition, open for the life of the plan.
//!
//! ```text
//!   input ──▶ feeder ─ arguments ─▶ Input ══▶ worker ══▶ Output ─▶ stream ──▶ rows, with the results
//!               │    (a task)                                        ▲
//!               └──────────── kept: the rows, in order ──────────────┘
//! ```
//!
//! The feeder is a task of its own, so batches are under way in both directions at once. The stream is whoever asks for rows;
//! when it is dropped, as LIMIT does, the feeder ends and the session is cancelled.

mod feeder;
mod invocation;
mod kept;
mod pace;
mod stats;
mod stream;

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_schema::{Schema, SchemaRef};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{ColumnStatistics, Result, Statistics, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::projection::ProjectionMapping;
use datafusion::physical_plan::execution_plan::{CardinalityEffect, ReplaceChildrenOptions};
use datafusion::physical_plan::filter_pushdown::{ChildFilterDescription, FilterDescription, FilterPushdownPhase};
use datafusion::physical_plan::metrics::{ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::statistics::{ChildStats, StatisticsArgs};
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PhysicalExpr, PlanProperties,
    apply_expression_roots,
};

pub(crate) use invocation::Invocation;
pub(crate) use pace::Ramp;
pub(crate) use stats::Stats;

/// Calls a worker's function for the rows of its input, and adds the results as a column.
#[derive(Debug)]
pub(crate) struct WorkerExec {
    invocation: Arc<Invocation>,
    input: Arc<dyn ExecutionPlan>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl WorkerExec {
    pub(crate) fn new(invocation: Arc<Invocation>, input: Arc<dyn ExecutionPlan>) -> Result<Self> {
        let before = input.schema();
        let mut fields = before.fields().to_vec();
        fields.extend(invocation.results.iter().cloned());
        let schema = Arc::new(Schema::new_with_metadata(fields, before.metadata().clone()));
        let all: Vec<_> = (0..before.fields().len()).collect();
        let mapping = ProjectionMapping::from_indices(&all, &before)?;
        // Columns stay where they are, so what is known of them stays true as it is written.
        let properties = PlanProperties::new(
            input.equivalence_properties().project(&mapping, schema),
            input.output_partitioning().clone(),
            input.pipeline_behavior(),
            input.boundedness(),
        );
        Ok(WorkerExec { invocation, input, properties: Arc::new(properties), metrics: ExecutionPlanMetricsSet::new() })
    }

    /// The call, for people.
    pub(crate) fn call(&self) -> &str {
        &self.invocation.shown
    }
}

impl DisplayAs for WorkerExec {
    fn fmt_as(&self, format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sessions = self.input.output_partitioning().partition_count();
        let Invocation { shown, .. } = &*self.invocation;
        let worker = &self.invocation.worker.label;
        match format {
            DisplayFormatType::Default | DisplayFormatType::Verbose => {
                write!(f, "WorkerExec: {shown}, worker={worker}, sessions={sessions}")
            }
            DisplayFormatType::TreeRender => {
                writeln!(f, "{shown}")?;
                writeln!(f, "worker={worker}")?;
                writeln!(f, "sessions={sessions}")
            }
        }
    }
}

impl ExecutionPlan for WorkerExec {
    fn name(&self) -> &str {
        "WorkerExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        apply_expression_roots(self.invocation.expressions(), f)
    }

    fn replace_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let (Some(input), true) = (children.pop(), children.is_empty()) else {
            return internal_err!("a call has one input");
        };
        Ok(Arc::new(WorkerExec::new(Arc::clone(&self.invocation), input)?))
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        use datafusion::physical_plan::execution_plan::ChildrenPropertiesMode::Recompute;
        self.replace_children(children, ReplaceChildrenOptions::new(Recompute))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let input = self.input.execute(partition, Arc::clone(&context))?;
        Ok(stream::start(&self.invocation, input, self.schema(), partition, &context, &self.metrics))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn child_stats_requests(&self, partition: Option<usize>) -> Vec<ChildStats> {
        vec![ChildStats::At(partition)]
    }

    fn statistics_from_inputs(&self, inputs: &[Arc<Statistics>], _: &StatisticsArgs) -> Result<Arc<Statistics>> {
        let mut statistics = inputs[0].as_ref().clone();
        statistics.column_statistics.extend(self.invocation.results.iter().map(|_| ColumnStatistics::new_unknown()));
        Ok(Arc::new(statistics))
    }

    fn supports_limit_pushdown(&self) -> bool {
        true
    }

    fn cardinality_effect(&self) -> CardinalityEffect {
        CardinalityEffect::Equal
    }

    fn gather_filters_for_pushdown(
        &self,
        _: FilterPushdownPhase,
        filters: Vec<Arc<dyn PhysicalExpr>>,
        _: &ConfigOptions,
    ) -> Result<FilterDescription> {
        let (input, schema) = (&self.input, self.input.schema());
        // They are found again by name, and a join's output may have two columns of one.
        let is_alone = |name: &str| schema.fields().iter().filter(|field| field.name() == name).count() == 1;
        let known = schema.fields().iter().enumerate().filter(|(_, field)| is_alone(field.name()));
        let known: HashSet<usize> = known.map(|(place, _)| place).collect();
        let child = ChildFilterDescription::from_child_with_allowed_indices(&filters, known, input)?;
        Ok(FilterDescription::new().with_child(child))
    }
}

/// The rows of a batch with more columns.
fn widened(schema: &SchemaRef, rows: &RecordBatch, results: impl IntoIterator<Item = ArrayRef>) -> Result<RecordBatch> {
    let columns = rows.columns().iter().cloned().chain(results).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?)
}
