//! The plan node of a table or map function.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow_schema::{Schema, SchemaRef};
use datafusion::common::{DFSchema, DFSchemaRef, Result, TableReference, internal_err};
use datafusion::logical_expr::{Expr, Extension, LogicalPlan, UserDefinedLogicalNodeCore};

use super::{Options, RelationFunction};

/// Rows that a function gives, for its options and for the rows of its input.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RelationNode {
    pub(crate) function: RelationFunction,
    pub(crate) options: Options,
    /// `None` for a table function. It is planned by itself, behind the back of the optimizer: what is above a map has nothing to
    /// do with what is below, and a filter that names no column would be pushed down all the same.
    pub(crate) input: Option<LogicalPlan>,
    schema: DFSchemaRef,
}

impl RelationNode {
    pub(super) fn new(
        function: RelationFunction,
        options: Options,
        input: Option<LogicalPlan>,
        result: &Schema,
    ) -> Result<Self> {
        // As FROM calls a function that nobody has given another name.
        let table = TableReference::bare(function.entry.name.as_str());
        let schema = Arc::new(DFSchema::try_from_qualified_schema(table, result)?);
        Ok(RelationNode { function, options, input, schema })
    }

    /// Under which schema rows are sent: the one by which the function was asked what it gives.
    pub(crate) fn taken(&self) -> SchemaRef {
        self.input.as_ref().map_or_else(|| Arc::new(Schema::empty()), super::arguments_schema)
    }

    pub(super) fn into_plan(self) -> LogicalPlan {
        LogicalPlan::Extension(Extension { node: Arc::new(self) })
    }
}

impl Eq for RelationNode {}

impl Hash for RelationNode {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.function.worker, &self.function.name, &self.options, &self.input).hash(state);
    }
}

impl PartialOrd for RelationNode {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        let order = (&self.function.name, &self.input).partial_cmp(&(&other.function.name, &other.input));
        order.filter(|order| *order != Ordering::Equal || self == other)
    }
}

impl UserDefinedLogicalNodeCore for RelationNode {
    fn name(&self) -> &str {
        match self.input {
            Some(_) => "WorkerMap",
            None => "WorkerTable",
        }
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        Vec::new()
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        Vec::new()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}, worker={}", self.name(), self.function.name, self.function.worker.label)
    }

    fn with_exprs_and_inputs(&self, exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Self> {
        if !exprs.is_empty() || !inputs.is_empty() {
            return internal_err!("`{}` shows the optimizer no inputs and no expressions", self.function.name);
        }
        Ok(self.clone())
    }
}
