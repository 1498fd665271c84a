//! What is sent to a function, and what it is told: the same for all partitions.

use std::sync::Arc;

use anyudf_engine::{ErrorKind, Init};
use arrow_array::{Array, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow_schema::{Field, FieldRef, Schema, SchemaRef};
use arrow_select::filter::filter_record_batch;
use datafusion::common::Result;
use datafusion::common::cast::as_int64_array;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::execution::TaskContext;
use datafusion::physical_expr::expressions::{Column, Literal};
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_plan::PhysicalExpr;

use crate::error::Error;
use crate::function::WorkerFunction;
use crate::node::Call;
use crate::worker::Worker;

/// A call as it is made.
#[derive(Debug)]
pub(crate) struct Invocation {
    pub(super) worker: Worker,
    /// What its worker calls the function.
    pub(super) function: String,
    /// The call, for people.
    pub(super) shown: String,
    /// The column of results.
    pub(super) result: FieldRef,
    /// How often it is called.
    pub(super) times: Times,
    /// Of what is sent.
    pub(super) arguments_schema: SchemaRef,
    /// The columns of the input that arguments are made of.
    needed: Vec<usize>,
    /// Over these columns.
    arguments: Vec<Arc<dyn PhysicalExpr>>,
    /// Over the whole input.
    mask: Option<Arc<dyn PhysicalExpr>>,
}

/// How often a function is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Times {
    /// For each row.
    EachRow,
    /// Once, since its arguments are always the same and so is its result.
    Once,
}

impl Invocation {
    pub(crate) fn new(
        function: &WorkerFunction,
        arguments: Vec<Arc<dyn PhysicalExpr>>,
        mask: Option<Arc<dyn PhysicalExpr>>,
        call: &Call,
        input: &Schema,
    ) -> Result<Self> {
        let fields = arguments.iter().enumerate().map(|(place, argument)| {
            let field = argument.return_field(input)?;
            // The name and the nulls that the function knows: its errors speak of them.
            Ok(match &function.entry().arguments {
                Some(known) => Field::clone(known.field(place)).with_data_type(field.data_type().clone()),
                None => field.as_ref().clone().with_nullable(true),
            })
        });
        let arguments_schema = Arc::new(Schema::new(fields.collect::<Result<Vec<_>>>()?));
        let mut needed: Vec<usize> = arguments.iter().flat_map(collect_columns).map(|column| column.index()).collect();
        needed.sort_unstable();
        needed.dedup();
        let arguments = arguments.into_iter().map(|argument| over(argument, &needed)).collect::<Result<Vec<_>>>()?;
        let is_constant = |argument: &Arc<dyn PhysicalExpr>| argument.downcast_ref::<Literal>().is_some();
        let times = match !function.is_volatile() && arguments.iter().all(is_constant) {
            true => Times::Once,
            false => Times::EachRow,
        };
        let result = function.result()?.as_ref().clone().with_name(&call.column);
        Ok(Invocation {
            worker: function.worker().clone(),
            function: function.entry().name.clone(),
            shown: call.to_string(),
            result: Arc::new(result),
            times,
            arguments_schema,
            needed,
            arguments,
            mask,
        })
    }

    pub(super) fn expressions(&self) -> impl Iterator<Item = Arc<dyn PhysicalExpr>> {
        self.arguments.iter().chain(&self.mask).cloned()
    }

    /// The first words to the worker.
    pub(super) fn init(&self, partition: usize, context: &TaskContext) -> Init {
        let payload = serde_json::json!({ "function": self.function }).to_string();
        let mut init = Init::new("function", payload)
            .with_name(&self.function)
            .with_input_schema(Arc::clone(&self.arguments_schema));
        init.eval_type = Some("scalar".into());
        init.task_context.insert("partition".into(), partition.to_string());
        init.timezone = context.session_config().options().execution.time_zone.as_ref().map(ToString::to_string);
        match self.worker.options.call_timeout {
            Some(timeout) => init.with_call_timeout(timeout),
            None => init,
        }
    }

    /// # Errors
    /// The function returns something else than its catalog promised.
    pub(super) fn check_result(&self, announced: &Schema) -> Result<()> {
        let wanted = self.result.data_type();
        let told = match &announced.fields()[..] {
            [field] if field.data_type().equals_datatype(wanted) => return Ok(()),
            [field] => field.data_type().to_string(),
            fields => format!("{} columns", fields.len()),
        };
        let text = format!("function `{}` returns {told}, and its worker's catalog says {wanted}", self.function);
        Err(Error::new(ErrorKind::Worker, "WRONG_RESULT_TYPE", text).into())
    }

    /// The rows for which it is called; `None` for all of them.
    pub(super) fn wanted(&self, rows: &RecordBatch) -> Result<Option<BooleanArray>> {
        let Some(mask) = &self.mask else { return Ok(None) };
        let wanted = mask.evaluate(rows)?.into_array(rows.num_rows())?;
        let wanted = as_int64_array(&wanted)?;
        let wanted: BooleanArray = wanted.iter().map(|wanted| Some(wanted.is_some_and(|wanted| wanted != 0))).collect();
        Ok((wanted.true_count() < rows.num_rows()).then_some(wanted))
    }

    /// The arguments for those rows. They are evaluated for no others.
    ///
    /// # Errors
    /// Those of the arguments; a null where the function takes none.
    pub(super) fn arguments(&self, rows: &RecordBatch, wanted: Option<&BooleanArray>) -> Result<RecordBatch> {
        let mut needed = rows.project(&self.needed)?;
        if let Some(wanted) = wanted {
            needed = filter_record_batch(&needed, wanted)?;
        }
        self.evaluate(&needed)
    }

    /// The arguments of a call that has the same for all rows, once.
    pub(super) fn constants(&self) -> Result<RecordBatch> {
        let options = RecordBatchOptions::new().with_row_count(Some(1));
        self.evaluate(&RecordBatch::try_new_with_options(Arc::new(Schema::empty()), Vec::new(), &options)?)
    }

    fn evaluate(&self, needed: &RecordBatch) -> Result<RecordBatch> {
        let evaluate = |argument: &Arc<dyn PhysicalExpr>| argument.evaluate(needed)?.into_array(needed.num_rows());
        let columns = self.arguments.iter().map(evaluate).collect::<Result<Vec<ArrayRef>>>()?;
        for (field, column) in self.arguments_schema.fields().iter().zip(&columns) {
            if !field.is_nullable() && column.null_count() > 0 {
                let text =
                    format!("function `{}` takes no null as `{}`, and one was given", self.function, field.name());
                return Err(Error::new(ErrorKind::User, "NULL_ARGUMENT", text).into());
            }
        }
        let options = RecordBatchOptions::new().with_row_count(Some(needed.num_rows()));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.arguments_schema), columns, &options)?)
    }
}

/// The expression over these columns alone.
fn over(expr: Arc<dyn PhysicalExpr>, needed: &[usize]) -> Result<Arc<dyn PhysicalExpr>> {
    let moved = expr.transform_up(|expr| {
        let Some(column) = expr.downcast_ref::<Column>() else { return Ok(Transformed::no(expr)) };
        let place = needed.binary_search(&column.index()).expect("all of its columns are among those needed");
        Ok(Transformed::yes(Arc::new(Column::new(column.name(), place)) as _))
    })?;
    Ok(moved.data)
}
