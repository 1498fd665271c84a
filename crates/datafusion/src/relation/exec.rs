//! The physical node of a table or map function: a session a partition, or one.

use std::fmt;
use std::sync::Arc;

use anyudf_engine::{BatchInput, BatchOutput, Control, ErrorKind};
use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use datafusion::common::config::ConfigOptions;
use datafusion::common::runtime::SpawnedTask;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Result, exec_datafusion_err, internal_err};
use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, Partitioning};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType, ReplaceChildrenOptions};
use datafusion::physical_plan::metrics::{ExecutionPlanMetricsSet, MetricsSet, RecordOutput};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PhysicalExpr, PlanProperties,
};
use futures::StreamExt;

use super::{Options, RelationFunction};
use crate::error::Error;
use crate::exec::{Ramp, Stats};

/// Calls a function that gives rows.
#[derive(Debug)]
pub(crate) struct RelationExec {
    call: Arc<Call>,
    input: Option<Arc<dyn ExecutionPlan>>,
    shown: Shown,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

/// Whether the input is among the children. It is planned to its end before: rules that would look at it again from here would
/// take away the order of its rows, which nobody asks for but the function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shown {
    No,
    Yes,
}

#[derive(Debug)]
struct Call {
    function: RelationFunction,
    options: Options,
    /// Of what is sent.
    taken: SchemaRef,
    /// Of what is given.
    schema: SchemaRef,
}

impl RelationExec {
    pub(crate) fn new(
        function: RelationFunction,
        options: Options,
        taken: SchemaRef,
        input: Option<Arc<dyn ExecutionPlan>>,
        schema: SchemaRef,
    ) -> Self {
        Self::of(Arc::new(Call { function, options, taken, schema }), input, Shown::No)
    }

    /// The function, for people.
    pub(crate) fn call(&self) -> &str {
        &self.call.function.name
    }

    /// The same with its input among its children, if it is not there yet.
    pub(crate) fn showing_input(&self) -> Option<Self> {
        let is_hidden = self.shown == Shown::No && self.input.is_some();
        is_hidden.then(|| Self::of(Arc::clone(&self.call), self.input.clone(), Shown::Yes))
    }

    fn of(call: Arc<Call>, input: Option<Arc<dyn ExecutionPlan>>, shown: Shown) -> Self {
        let partitions = input.as_ref().map_or(1, |input| input.output_partitioning().partition_count());
        let boundedness = input.as_ref().map_or(Boundedness::Bounded, |input| input.boundedness());
        let properties = PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(&call.schema)),
            Partitioning::UnknownPartitioning(partitions),
            EmissionType::Incremental,
            boundedness,
        );
        RelationExec { call, input, shown, properties: Arc::new(properties), metrics: ExecutionPlanMetricsSet::new() }
    }
}

impl DisplayAs for RelationExec {
    fn fmt_as(&self, format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RelationFunction { name, worker, .. } = &self.call.function;
        let (node, worker) = (self.name(), &worker.label);
        let sessions = self.properties.output_partitioning().partition_count();
        match format {
            DisplayFormatType::Default | DisplayFormatType::Verbose => {
                write!(f, "{node}: {name}, worker={worker}, sessions={sessions}")
            }
            DisplayFormatType::TreeRender => {
                writeln!(f, "{name}")?;
                writeln!(f, "worker={worker}")?;
                writeln!(f, "sessions={sessions}")
            }
        }
    }
}

impl ExecutionPlan for RelationExec {
    fn name(&self) -> &str {
        match self.input {
            Some(_) => "WorkerMapExec",
            None => "WorkerTableExec",
        }
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        // Each session of a map sees a part of the rows, and that part is the query's to say.
        self.children().iter().map(|_| false).collect()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        self.input.iter().filter(|_| self.shown == Shown::Yes).collect()
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        if children.len() != self.children().len() {
            return internal_err!("`{}` has {} inputs", self.call.function.name, self.children().len());
        }
        let input = children.pop().or_else(|| self.input.clone());
        Ok(Arc::new(Self::of(Arc::clone(&self.call), input, self.shown)))
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        use datafusion::physical_plan::execution_plan::ChildrenPropertiesMode::Recompute;
        self.replace_children(children, ReplaceChildrenOptions::new(Recompute))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let rows = self.input.as_ref().map(|input| input.execute(partition, Arc::clone(&context))).transpose()?;
        let stats = Stats::new(&self.metrics, partition);
        let call = Arc::clone(&self.call);
        let open = async move { Session::open(call, rows, partition, &context, stats).await };
        // Nothing begins before the first rows are asked for.
        let rows = futures::stream::once(open).map(|session| match session {
            Ok(session) => session.into_rows().left_stream(),
            Err(error) => futures::stream::once(async { Err(error) }).right_stream(),
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.call.schema), rows.flatten())))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}

/// One open session. Dropping it ends the feeder, and cancels.
struct Session {
    call: Arc<Call>,
    partition: usize,
    output: Option<BatchOutput>,
    control: Control,
    feeder: Option<SpawnedTask<Result<(), DataFusionError>>>,
    stats: Stats,
}

impl Session {
    async fn open(
        call: Arc<Call>,
        rows: Option<SendableRecordBatchStream>,
        partition: usize,
        context: &TaskContext,
        stats: Stats,
    ) -> Result<Self> {
        let function = &call.function;
        let blamed = |error| Error::of_execution(&function.entry.name, "", error);
        let mut init = function.init(&call.options, &call.taken);
        init.task_context.insert("partition".into(), partition.to_string());
        init.timezone = context.session_config().options().execution.time_zone.as_ref().map(ToString::to_string);
        let session = function.worker.dispatcher.open(init).await.map_err(blamed)?;
        let (input, output) = session.batches().map_err(blamed)?;
        check_result(&call, output.schema())?;
        stats.sessions.add(1);
        let feeder = feed(Arc::clone(&call), input, rows, partition, stats.clone());
        let feeder = Some(SpawnedTask::spawn(feeder));
        Ok(Session { partition, control: output.control(), output: Some(output), feeder, stats, call })
    }

    fn into_rows(self) -> impl futures::Stream<Item = Result<RecordBatch>> {
        futures::stream::try_unfold(
            self,
            |mut session| async move { Ok(session.next().await?.map(|rows| (rows, session))) },
        )
    }

    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        let call = Arc::clone(&self.call);
        let function = &call.function.entry.name;
        let Some(output) = &mut self.output else { return Ok(None) };
        let timer = self.stats.wait.timer();
        let next = output.next().await;
        timer.done();
        match next {
            Ok(Some(rows)) => {
                self.stats.rows_received.add(rows.num_rows());
                let rows = rows.with_schema(Arc::clone(&self.call.schema))?;
                Ok(Some(rows.record_output(&self.stats.baseline)))
            }
            Ok(None) => {
                self.fed().await?;
                self.stats.moved(&self.control);
                if let Some(output) = self.output.take() {
                    let summary = output.close().await.map_err(|error| Error::of_execution(function, "", error))?;
                    self.stats.told(&summary.metrics);
                }
                Ok(None)
            }
            Err(error) => {
                // What the input has to say comes first (E8).
                self.fed().await?;
                let place = format!(" in partition {}", self.partition);
                Err(Error::of_execution(function, &place, error).into())
            }
        }
    }

    /// How the feeder ended.
    async fn fed(&mut self) -> Result<()> {
        let Some(feeder) = self.feeder.take() else { return Ok(()) };
        feeder
            .join_unwind()
            .await
            .map_err(|error| exec_datafusion_err!("the task of a worker's call ended: {error}"))?
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if self.output.is_some() {
            self.stats.moved(&self.control);
        }
    }
}

/// Sends the rows of a partition, few at first.
async fn feed(
    call: Arc<Call>,
    mut input: BatchInput,
    rows: Option<SendableRecordBatchStream>,
    partition: usize,
    stats: Stats,
) -> Result<()> {
    let function = &call.function.entry.name;
    let (mut ramp, mut first) = (Ramp::new(), 1);
    if let Some(mut rows) = rows {
        while let Some(batch) = rows.next().await {
            let batch = match batch {
                Ok(batch) => batch.with_schema(Arc::clone(&call.taken))?,
                Err(error) => return Err(input.fail(error)), // E8
            };
            for batch in ramp.cut(&batch) {
                match input.send(&batch).await {
                    Ok(()) => {
                        stats.rows_sent.add(batch.num_rows());
                        stats.batches_sent.add(1);
                    }
                    // What can't be sent, such as a row that is too large, only we know of.
                    Err(error) if error.kind() == ErrorKind::Misuse => {
                        let last = first + batch.num_rows() - 1;
                        let place = format!(" at rows {first} to {last} of partition {partition}");
                        return Err(input.fail(Error::of_execution(function, &place, error)).into());
                    }
                    // The session has ended, and says how to who takes its rows.
                    Err(_) => return Ok(()),
                }
                first += batch.num_rows();
            }
        }
    }
    // How the session takes the end, who takes its rows sees.
    let _ = input.finish().await;
    Ok(())
}

/// # Errors
/// The function gives other columns than it promised.
fn check_result(call: &Call, announced: &SchemaRef) -> Result<()> {
    let types = |schema: &SchemaRef| schema.fields().iter().map(|field| field.data_type().clone()).collect::<Vec<_>>();
    let (told, wanted) = (types(announced), types(&call.schema));
    if told.len() == wanted.len() && told.iter().zip(&wanted).all(|(told, wanted)| told.equals_datatype(wanted)) {
        return Ok(());
    }
    let text = format!(
        "function `{}` returns {told:?}, and said before that it would be {wanted:?}",
        call.function.entry.name
    );
    Err(Error::new(ErrorKind::Worker, "WRONG_RESULT_TYPE", text).into())
}

/// The last rule of the physical optimizer: from here on the inputs of maps are seen, by EXPLAIN and by who counts.
#[derive(Debug)]
pub(crate) struct ShowInputs;

impl PhysicalOptimizerRule for ShowInputs {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let show = |node: Arc<dyn ExecutionPlan>| match node
            .downcast_ref::<RelationExec>()
            .and_then(RelationExec::showing_input)
        {
            Some(shown) => Ok(Transformed::yes(Arc::new(shown) as _)),
            None => Ok(Transformed::no(node)),
        };
        Ok(plan.transform_up(show)?.data)
    }

    fn name(&self) -> &str {
        "show_worker_inputs"
    }

    fn schema_check(&self) -> bool {
        true
    }
}
