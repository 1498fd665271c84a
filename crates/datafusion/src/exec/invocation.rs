//! What is sent to a function, and what it is told: the same for all partitions.

use std::sync::Arc;

use anyudf_arrow::expression::{Argument, Call, Expression, FORMAT};
use anyudf_engine::{ErrorKind, Init};
use arrow_array::{Array, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow_schema::{Field, FieldRef, Schema, SchemaRef};
use arrow_select::filter::filter_record_batch;
use bytes::Bytes;
use datafusion::arrow::compute::cast;
use datafusion::common::cast::as_int64_array;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Result, internal_datafusion_err, internal_err};
use datafusion::error::DataFusionError;
use datafusion::execution::TaskContext;
use datafusion::physical_expr::expressions::{Column, Literal};
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_expr_common::physical_expr::is_volatile;
use datafusion::physical_plan::PhysicalExpr;

use crate::error::Error;
use crate::node::{self as trip, Trip, TripCall};
use crate::worker::Worker;

/// Calls as they are made, together.
#[derive(Debug)]
pub(crate) struct Invocation {
    pub(super) worker: Worker,
    /// What its worker calls the functions, for people.
    pub(super) function: String,
    /// The calls, for people.
    pub(super) shown: String,
    /// The columns of results.
    pub(super) results: Vec<FieldRef>,
    /// How often they are called.
    pub(super) times: Times,
    /// Of what is sent.
    pub(super) arguments_schema: SchemaRef,
    /// The columns of the input that arguments are made of.
    needed: Vec<usize>,
    /// What is sent.
    columns: Vec<Sent>,
    /// Over the whole input.
    mask: Option<Arc<dyn PhysicalExpr>>,
    format: &'static str,
    payload: Bytes,
}

/// A column that is sent.
#[derive(Debug)]
struct Sent {
    /// Over the columns that are needed.
    expr: Arc<dyn PhysicalExpr>,
    /// The function that it is for, or the first of them.
    function: String,
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
    /// `given` are the arguments of the trip that are given, in its order, and `results` the columns of what it returns.
    ///
    /// # Errors
    /// An argument that can't be had, or a constant null where a function takes none.
    pub(crate) fn new(
        trip: &Trip,
        given: Vec<Arc<dyn PhysicalExpr>>,
        mask: Option<Arc<dyn PhysicalExpr>>,
        results: Vec<FieldRef>,
        input: &Schema,
    ) -> Result<Self> {
        let functions = trip.calls.iter().map(TripCall::worker_function).collect::<Result<Vec<_>>>()?;
        let Some(worker) = functions.first().map(|function| function.worker().clone()) else {
            return internal_err!("a trip has a call");
        };
        let is_constant = |argument: &Arc<dyn PhysicalExpr>| argument.downcast_ref::<Literal>().is_some();
        let times = match given.iter().all(is_constant) && !functions.iter().any(|function| function.is_volatile()) {
            true => Times::Once,
            false => Times::EachRow,
        };
        let sends_constants = worker.takes_expressions && times == Times::EachRow;
        let is_expression = trip.calls.len() > 1 || (sends_constants && given.iter().any(is_constant));
        let mut parcel = Parcel::new(is_expression);
        let (mut expression, mut given) = (Expression::new(), given.into_iter());
        for (call, function) in trip.calls.iter().zip(&functions) {
            let known = function.arguments(call.arguments.len());
            let mut arguments = Vec::with_capacity(call.arguments.len());
            for (place, argument) in call.arguments.iter().enumerate() {
                let expr = match argument {
                    trip::Argument::Result(call) => {
                        arguments.push(Argument::Call(*call));
                        continue;
                    }
                    trip::Argument::Given(_) => given.next(),
                };
                let Some(expr) = expr else { return internal_err!("an argument of a call is missing") };
                let known = known.as_ref().map(|known| &**known[place]);
                let field = field(known, &*expr, input)?;
                // A null that the function does not take is an error for the rows that it is called for, if there are any.
                let fits = |literal: &&Literal| field.is_nullable() || !literal.value().is_null();
                match expr.downcast_ref::<Literal>().filter(fits) {
                    Some(literal) if sends_constants => {
                        let constant = expression.constant(field, literal.value().to_array()?).map_err(unencodable)?;
                        arguments.push(Argument::Constant(constant));
                    }
                    _ => arguments.push(Argument::Column(parcel.add(expr, &function.entry().name, field))),
                }
            }
            expression.call(Call::new(&function.entry().name, arguments)).map_err(unencodable)?;
        }
        for place in (0..trip.calls.len()).filter(|&place| trip.calls[place].returns) {
            expression.result(place).map_err(unencodable)?;
        }
        let names: Vec<_> = functions.iter().map(|function| function.entry().name.as_str()).collect();
        let (format, payload) = match is_expression {
            true => (FORMAT, expression.encode().map_err(unencodable)?),
            false => ("function", serde_json::json!({ "function": names[0] }).to_string().into()),
        };
        let Parcel { fields, columns, needed, .. } = parcel;
        Ok(Invocation {
            worker,
            function: names.join("`, `"),
            shown: trip.to_string(),
            results,
            times,
            arguments_schema: Arc::new(Schema::new(fields)),
            columns: over_all(columns, &needed)?,
            needed,
            mask,
            format,
            payload,
        })
    }

    pub(super) fn expressions(&self) -> impl Iterator<Item = Arc<dyn PhysicalExpr>> {
        self.columns.iter().map(|column| &column.expr).chain(&self.mask).cloned()
    }

    /// The first words to the worker.
    pub(super) fn init(&self, partition: usize, context: &TaskContext) -> Init {
        let mut init = Init::new(self.format, self.payload.clone())
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
        let told = announced.fields();
        let wanted = &self.results;
        let is_kept = |(told, wanted): (&FieldRef, &FieldRef)| told.data_type().equals_datatype(wanted.data_type());
        if told.len() == wanted.len() && told.iter().zip(wanted).all(is_kept) {
            return Ok(());
        }
        let list = |fields: &[FieldRef]| match fields {
            [] => "no column".to_owned(),
            fields => fields.iter().map(|field| field.data_type().to_string()).collect::<Vec<_>>().join(", "),
        };
        let (told, wanted) = (list(told), list(wanted));
        let text = format!("function `{}` returns {told}, and its worker's catalog says {wanted}", self.function);
        Err(Error::new(ErrorKind::Worker, "WRONG_RESULT_TYPE", text).into())
    }

    /// Results under the names and types that the plan has for them: names within lists and structs may be others.
    pub(super) fn conformed(&self, results: RecordBatch) -> Result<RecordBatch> {
        let is_same = |(column, field): (&ArrayRef, &FieldRef)| column.data_type() == field.data_type();
        if results.columns().iter().zip(&self.results).all(is_same) {
            return Ok(results);
        }
        let cast = |(column, field): (&ArrayRef, &FieldRef)| cast(column, field.data_type());
        let columns = results.columns().iter().zip(&self.results).map(cast).collect::<Result<Vec<_>, _>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(results.num_rows()));
        Ok(RecordBatch::try_new_with_options(Arc::new(Schema::new(self.results.clone())), columns, &options)?)
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
        let mut columns = Vec::with_capacity(self.columns.len());
        for (Sent { expr, function }, field) in self.columns.iter().zip(self.arguments_schema.fields()) {
            let column = expr.evaluate(needed)?.into_array(needed.num_rows())?;
            check_null(function, field, &column)?;
            columns.push(column);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(needed.num_rows()));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.arguments_schema), columns, &options)?)
    }
}

/// What is sent, while it is put together.
struct Parcel {
    /// Whether a column that several arguments are is sent once. A function by itself takes one for each argument.
    shares: bool,
    fields: Vec<Field>,
    /// Still over the whole input.
    columns: Vec<Sent>,
    needed: Vec<usize>,
}

impl Parcel {
    fn new(shares: bool) -> Self {
        Parcel { shares, fields: Vec::new(), columns: Vec::new(), needed: Vec::new() }
    }

    /// The place of an argument among the columns.
    fn add(&mut self, expr: Arc<dyn PhysicalExpr>, function: &str, field: Field) -> usize {
        let is_it = |sent: &Sent| sent.expr.eq(&expr) && !is_volatile(&expr);
        if let (true, Some(place)) = (self.shares, self.columns.iter().position(is_it)) {
            let nullable = self.fields[place].is_nullable() && field.is_nullable();
            self.fields[place].set_nullable(nullable);
            return place;
        }
        self.needed.extend(collect_columns(&expr).iter().map(Column::index));
        self.needed.sort_unstable();
        self.needed.dedup();
        self.fields.push(field);
        self.columns.push(Sent { expr, function: function.to_owned() });
        self.columns.len() - 1
    }
}

/// An argument's field: the name and the nulls that the function knows, since its errors speak of them, and the type it has.
fn field(known: Option<&Field>, argument: &dyn PhysicalExpr, input: &Schema) -> Result<Field> {
    let field = argument.return_field(input)?;
    Ok(match known {
        Some(known) => known.clone().with_data_type(field.data_type().clone()),
        None => field.as_ref().clone().with_nullable(true),
    })
}

/// # Errors
/// A null where the function takes none.
fn check_null(function: &str, field: &Field, column: &ArrayRef) -> Result<()> {
    if field.is_nullable() || column.null_count() == 0 {
        return Ok(());
    }
    let text = format!("function `{function}` takes no null as `{}`, and one was given", field.name());
    Err(Error::new(ErrorKind::User, "NULL_ARGUMENT", text).into())
}

fn unencodable(error: anyudf_arrow::Error) -> DataFusionError {
    internal_datafusion_err!("calls can't be told to a worker: {error}")
}

/// The columns over those of the input that are needed alone.
fn over_all(columns: Vec<Sent>, needed: &[usize]) -> Result<Vec<Sent>> {
    let moved = |Sent { expr, function }| Ok(Sent { expr: over(expr, needed)?, function });
    columns.into_iter().map(moved).collect()
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
