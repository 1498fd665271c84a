//! Functions that give rows: table functions, which take none, and map functions, which take those of a subquery.
//!
//! ```text
//!   FROM series(1, 10)                    Relation ─ a session, which finishes its input at once
//!   FROM words((SELECT text FROM docs))   Relation ─ a session for each partition of the subquery
//! ```

mod exec;
mod node;
mod options;
mod sql;

use std::sync::Arc;

use anyudf_arrow::catalog::{Entry, Kind};
use anyudf_engine::Init;
use arrow_schema::{Schema, SchemaRef};
use datafusion::common::{Result, plan_err};
use datafusion::logical_expr::logical_plan::Projection;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan};

pub(crate) use exec::{RelationExec, ShowInputs};
pub(crate) use node::RelationNode;
pub(crate) use options::Options;
pub(crate) use sql::WorkerRelations;

use crate::error::Error;
use crate::signature::coerce;
use crate::worker::Worker;

/// A table or map function of a worker. Clones are cheap.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RelationFunction {
    /// What SQL calls it.
    pub(crate) name: String,
    pub(crate) worker: Worker,
    pub(crate) entry: Arc<Entry>,
}

impl RelationFunction {
    pub(crate) fn new(worker: &Worker, entry: &Entry) -> Self {
        RelationFunction { name: worker.qualified(&entry.name), worker: worker.clone(), entry: Arc::new(entry.clone()) }
    }

    /// What comes of these rows.
    ///
    /// # Errors
    /// The function takes rows and is given none, or the other way round; they are not the columns that it takes; its worker
    /// does not open it.
    pub(crate) async fn call(&self, options: Options, input: Option<LogicalPlan>) -> Result<LogicalPlan> {
        let call = self.prepared(options, input)?;
        let result = self.result(&call).await?;
        Ok(RelationNode::new(self.clone(), call.options, call.input, &result)?.into_plan())
    }

    fn prepared(&self, options: Options, input: Option<LogicalPlan>) -> Result<Prepared> {
        let name = &self.name;
        let input = match (self.entry.kind, input) {
            (Kind::Map, Some(input)) => Some(self.coerced(input)?),
            (Kind::Map, None) => {
                return plan_err!("`{name}` takes rows: give it a subquery, as in {name}((SELECT …))");
            }
            (_, Some(_)) => return plan_err!("`{name}` takes no rows: it is a table function, which makes them"),
            (_, None) => None,
        };
        let schema = input.as_ref().map_or_else(|| Arc::new(Schema::empty()), arguments_schema);
        Ok(Prepared { options, input, schema })
    }

    /// The input with the types that the function takes.
    fn coerced(&self, input: LogicalPlan) -> Result<LogicalPlan> {
        let columns = input.schema().columns();
        let given: Vec<_> = input.schema().fields().iter().map(|field| field.data_type().clone()).collect();
        let wanted = coerce(&self.name, &self.entry, &given)?;
        if wanted == given {
            return Ok(input);
        }
        let cast = |(column, wanted)| {
            let column = Expr::Column(column);
            let (table, name) = column.qualified_name();
            Ok(column.cast_to(wanted, input.schema())?.alias_qualified(table, name))
        };
        let columns = columns.into_iter().zip(&wanted).map(cast).collect::<Result<Vec<_>>>()?;
        Ok(LogicalPlan::Projection(Projection::try_new(columns, Arc::new(input))?))
    }

    /// The columns that it gives: as its catalog has it, or else as it says when it is opened.
    async fn result(&self, call: &Prepared) -> Result<SchemaRef> {
        if let Some(result) = &self.entry.result {
            return Ok(Arc::clone(result));
        }
        let blamed = |error| Error::of_execution(&self.entry.name, "", error);
        let session = self.worker.dispatcher.open(self.init(&call.options, &call.schema)).await.map_err(blamed)?;
        let (input, output) = session.batches().map_err(blamed)?;
        // All that was wanted is known; the worker is told so, and nobody waits for it.
        drop(input);
        Ok(Arc::clone(output.schema()))
    }

    pub(crate) fn init(&self, options: &Options, schema: &SchemaRef) -> Init {
        let payload = serde_json::json!({ "function": self.entry.name, "options": options.as_json() });
        let mut init = Init::new("function", payload.to_string())
            .with_name(&self.entry.name)
            .with_input_schema(Arc::clone(schema));
        init.eval_type = Some(self.entry.kind.name().into());
        match self.worker.options.call_timeout {
            Some(timeout) => init.with_call_timeout(timeout),
            None => init,
        }
    }
}

/// A call whose columns are right.
struct Prepared {
    options: Options,
    input: Option<LogicalPlan>,
    schema: SchemaRef,
}

/// The schema under which rows are sent.
fn arguments_schema(input: &LogicalPlan) -> SchemaRef {
    Arc::clone(input.schema().inner())
}
