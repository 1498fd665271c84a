//! The plan node that calls a function: its input's columns, and the results in one more.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use datafusion::common::{Column, DFSchema, DFSchemaRef, Result, internal_err};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{Expr, ExprSchemable, Extension, LogicalPlan, ScalarUDF, UserDefinedLogicalNodeCore};

use crate::function::WorkerFunction;

/// One call, for all rows or for some.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd)]
pub(crate) struct Call {
    /// A worker's function.
    pub(crate) function: Arc<ScalarUDF>,
    pub(crate) arguments: Vec<Expr>,
    /// Where it is called: an integer that is neither null nor zero there. Everywhere, without it. It is no boolean, so that
    /// the optimizer does not make ANDs and ORs of it, which evaluate what a CASE leaves alone.
    pub(crate) mask: Option<Expr>,
    /// The name of the column of results, which is like no other.
    pub(crate) column: String,
}

impl Call {
    pub(crate) fn worker_function(&self) -> Result<&WorkerFunction> {
        match WorkerFunction::of(&self.function) {
            Some(function) => Ok(function),
            None => internal_err!("`{}` is no function of a worker", self.function.name()),
        }
    }

    /// Whether the results of one are those of the other, where both are called.
    pub(crate) fn is_same(&self, other: &Call) -> bool {
        let volatile = WorkerFunction::of(&self.function).is_none_or(WorkerFunction::is_volatile);
        !volatile
            && self.function == other.function
            && self.arguments == other.arguments
            && !self.arguments.iter().any(Expr::is_volatile)
    }

    pub(crate) fn result(&self) -> Expr {
        Expr::Column(Column::new_unqualified(&self.column))
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let arguments: Vec<_> = self.arguments.iter().map(ToString::to_string).collect();
        write!(f, "{}({}) AS {}", self.function.name(), arguments.join(", "), self.column)?;
        match &self.mask {
            Some(mask) => write!(f, " where {mask}"),
            None => Ok(()),
        }
    }
}

/// Calls a worker's function for the rows of its input.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct CallNode {
    pub(crate) input: LogicalPlan,
    pub(crate) call: Call,
    schema: DFSchemaRef,
}

impl CallNode {
    /// # Errors
    /// The arguments are none that the function takes.
    pub(crate) fn new(input: LogicalPlan, call: Call) -> Result<Self> {
        let whole = Expr::ScalarFunction(ScalarFunction::new_udf(Arc::clone(&call.function), call.arguments.clone()));
        let (_, field) = whole.to_field(input.schema())?;
        let field = Arc::new(field.as_ref().clone().with_name(&call.column).with_nullable(true));
        let mut fields: Vec<_> =
            input.schema().iter().map(|(table, field)| (table.cloned(), Arc::clone(field))).collect();
        fields.push((None, field));
        let schema = DFSchema::new_with_metadata(fields, input.schema().metadata().clone())?;
        Ok(CallNode { input, call, schema: Arc::new(schema) })
    }

    pub(crate) fn into_plan(self) -> LogicalPlan {
        LogicalPlan::Extension(Extension { node: Arc::new(self) })
    }

    pub(crate) fn of(plan: &LogicalPlan) -> Option<&Self> {
        match plan {
            LogicalPlan::Extension(extension) => extension.node.as_any().downcast_ref(),
            _ => None,
        }
    }
}

impl PartialOrd for CallNode {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        let order = (&self.call, &self.input).partial_cmp(&(&other.call, &other.input));
        order.filter(|order| *order != Ordering::Equal || self == other)
    }
}

impl UserDefinedLogicalNodeCore for CallNode {
    fn name(&self) -> &str {
        "WorkerCall"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        self.call.arguments.iter().chain(&self.call.mask).cloned().collect()
    }

    fn prevent_predicate_push_down_columns(&self) -> HashSet<String> {
        HashSet::from([self.call.column.clone()])
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let worker = WorkerFunction::of(&self.call.function).map_or("", |function| &function.worker().label);
        write!(f, "WorkerCall: {}, worker={worker}", self.call)
    }

    fn with_exprs_and_inputs(&self, mut exprs: Vec<Expr>, mut inputs: Vec<LogicalPlan>) -> Result<Self> {
        let (Some(input), true) = (inputs.pop(), inputs.is_empty()) else {
            return internal_err!("a call has one input");
        };
        let mask = if self.call.mask.is_some() { exprs.pop() } else { None };
        if exprs.len() != self.call.arguments.len() {
            return internal_err!("a call of {} arguments was given {}", self.call.arguments.len(), exprs.len());
        }
        CallNode::new(input, Call { arguments: exprs, mask, ..self.call.clone() })
    }

    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        // What the arguments need, the caller adds.
        let inputs = self.input.schema().fields().len();
        Some(vec![output_columns.iter().copied().filter(|&column| column < inputs).collect()])
    }

    fn supports_limit_pushdown(&self) -> bool {
        true
    }
}
