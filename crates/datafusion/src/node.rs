//! The plan node that calls functions of one worker: its input's columns, and the results in more of them.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use arrow_schema::FieldRef;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, DFSchemaRef, Result, ScalarValue, internal_err};
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
    /// Whether the results of one are those of the other, where both are called.
    pub(crate) fn is_same(&self, other: &Call) -> bool {
        let volatile = WorkerFunction::of(&self.function).is_none_or(WorkerFunction::is_volatile);
        !volatile
            && self.function == other.function
            && self.arguments == other.arguments
            && !self.arguments.iter().any(Expr::is_volatile)
    }

    pub(crate) fn result(&self) -> Expr {
        result_in(&self.column)
    }
}

fn result_in(column: &str) -> Expr {
    Expr::Column(Column::new_unqualified(column))
}

/// Calls of one worker that are made together: the rows go there once.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd)]
pub(crate) struct Trip {
    /// Each uses at most the results of those before it.
    pub(crate) calls: Vec<TripCall>,
    /// Where they are called, as [`Call::mask`] says it.
    pub(crate) mask: Option<Expr>,
}

/// A call within a trip.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd)]
pub(crate) struct TripCall {
    pub(crate) function: Arc<ScalarUDF>,
    pub(crate) arguments: Vec<Argument>,
    /// The column of its results.
    pub(crate) column: String,
    /// Whether they come back; otherwise only calls of the same trip need them.
    pub(crate) returns: bool,
}

/// What a call of a trip is given.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd)]
pub(crate) enum Argument {
    /// Computed from the input's columns.
    Given(Expr),
    /// The result of an earlier call of the trip, from zero.
    Result(usize),
}

impl TripCall {
    /// # Errors
    /// None that a plan of ours can have.
    pub(crate) fn worker_function(&self) -> Result<&WorkerFunction> {
        match WorkerFunction::of(&self.function) {
            Some(function) => Ok(function),
            None => internal_err!("`{}` is no function of a worker", self.function.name()),
        }
    }

    fn given(&self) -> impl Iterator<Item = &Expr> {
        self.arguments.iter().filter_map(|argument| match argument {
            Argument::Given(expr) => Some(expr),
            Argument::Result(_) => None,
        })
    }
}

impl Trip {
    /// A trip for one call.
    pub(crate) fn of(call: Call) -> Self {
        let Call { function, arguments, mask, column } = call;
        let arguments = arguments.into_iter().map(Argument::Given).collect();
        Trip { calls: vec![TripCall { function, arguments, column, returns: true }], mask }
    }

    /// The same call, if one of these is, by its place.
    pub(crate) fn find(&self, call: &Call) -> Option<usize> {
        if self.mask.is_some() && self.mask != call.mask {
            return None;
        }
        self.calls.iter().position(|known| {
            let argument = |argument: &Argument| match argument {
                Argument::Given(expr) => expr.clone(),
                Argument::Result(place) => result_in(&self.calls[*place].column),
            };
            let arguments = known.arguments.iter().map(argument).collect();
            let known = Call { function: Arc::clone(&known.function), arguments, mask: None, column: String::new() };
            known.is_same(call)
        })
    }

    /// What is computed of the input's columns: arguments, and for which rows.
    pub(crate) fn given(&self) -> impl Iterator<Item = &Expr> {
        self.calls.iter().flat_map(TripCall::given).chain(&self.mask)
    }

    /// The calls that come back.
    fn returned(&self) -> impl Iterator<Item = &TripCall> {
        self.calls.iter().filter(|call| call.returns)
    }

    /// A call with those within it.
    fn shown(&self, call: &TripCall) -> String {
        let argument = |argument: &Argument| match argument {
            Argument::Given(expr) => expr.to_string(),
            Argument::Result(place) => match &self.calls[*place] {
                known if known.returns => known.column.clone(),
                within => self.shown(within),
            },
        };
        let arguments: Vec<_> = call.arguments.iter().map(argument).collect();
        format!("{}({})", call.function.name(), arguments.join(", "))
    }

    /// The columns of the calls' results over these rows, in the order of the calls.
    ///
    /// # Errors
    /// The arguments are none that a function takes.
    fn results(&self, input: &DFSchema) -> Result<Vec<FieldRef>> {
        let mut results: Vec<FieldRef> = Vec::with_capacity(self.calls.len());
        for call in &self.calls {
            let argument = |argument: &Argument| match argument {
                Argument::Given(expr) => Ok(expr.clone()),
                Argument::Result(place) => {
                    ScalarValue::try_from(results[*place].data_type()).map(|null| Expr::Literal(null, None))
                }
            };
            let arguments = call.arguments.iter().map(argument).collect::<Result<_>>()?;
            let whole = Expr::ScalarFunction(ScalarFunction::new_udf(Arc::clone(&call.function), arguments));
            let (_, field) = whole.to_field(input)?;
            results.push(Arc::new(field.as_ref().clone().with_name(&call.column).with_nullable(true)));
        }
        Ok(results)
    }
}

impl fmt::Display for Trip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let calls = self.returned().map(|call| format!("{} AS {}", self.shown(call), call.column));
        f.write_str(&calls.collect::<Vec<_>>().join(", "))?;
        match &self.mask {
            Some(mask) => write!(f, " where {mask}"),
            None => Ok(()),
        }
    }
}

/// Calls functions of a worker for the rows of its input.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct CallNode {
    pub(crate) input: LogicalPlan,
    pub(crate) trip: Trip,
    schema: DFSchemaRef,
}

impl CallNode {
    /// # Errors
    /// The arguments are none that a function takes.
    pub(crate) fn new(input: LogicalPlan, trip: Trip) -> Result<Self> {
        let mut fields: Vec<_> =
            input.schema().iter().map(|(table, field)| (table.cloned(), Arc::clone(field))).collect();
        let results = trip.results(input.schema())?;
        fields.extend(trip.calls.iter().zip(results).filter(|(call, _)| call.returns).map(|(_, field)| (None, field)));
        let schema = DFSchema::new_with_metadata(fields, input.schema().metadata().clone())?;
        Ok(CallNode { input, trip, schema: Arc::new(schema) })
    }

    /// The same with the results of this call among those that come back.
    ///
    /// # Errors
    /// None that a plan of ours can have.
    pub(crate) fn returning(&self, call: usize) -> Result<Self> {
        let mut trip = self.trip.clone();
        trip.calls[call].returns = true;
        CallNode::new(self.input.clone(), trip)
    }

    /// The columns of what comes back.
    pub(crate) fn results(&self) -> Vec<FieldRef> {
        self.schema.fields().iter().skip(self.input.schema().fields().len()).cloned().collect()
    }

    pub(crate) fn into_plan(self) -> LogicalPlan {
        LogicalPlan::Extension(Extension { node: Arc::new(self) })
    }

    /// Whether a call in this plan has such a column, also one that does not come back.
    pub(crate) fn is_within(plan: &LogicalPlan, column: &str) -> bool {
        let mut found = false;
        let look = |node: &LogicalPlan| {
            found |= Self::of(node).is_some_and(|node| node.trip.calls.iter().any(|call| call.column == column));
            Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        };
        plan.apply(look).expect("the closure does not fail");
        found
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
        let order = (&self.trip, &self.input).partial_cmp(&(&other.trip, &other.input));
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
        self.trip.given().cloned().collect()
    }

    fn prevent_predicate_push_down_columns(&self) -> HashSet<String> {
        self.trip.returned().map(|call| call.column.clone()).collect()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let function = self.trip.calls.first().and_then(|call| WorkerFunction::of(&call.function));
        let worker = function.map_or("", |function| &function.worker().label);
        write!(f, "WorkerCall: {}, worker={worker}", self.trip)
    }

    fn with_exprs_and_inputs(&self, exprs: Vec<Expr>, mut inputs: Vec<LogicalPlan>) -> Result<Self> {
        let (Some(input), true) = (inputs.pop(), inputs.is_empty()) else {
            return internal_err!("calls have one input");
        };
        let wanted = self.trip.given().count();
        if exprs.len() != wanted {
            return internal_err!("calls of {wanted} arguments were given {}", exprs.len());
        }
        let (mut trip, mut exprs) = (self.trip.clone(), exprs.into_iter());
        for argument in trip.calls.iter_mut().flat_map(|call| &mut call.arguments) {
            if let Argument::Given(expr) = argument {
                *expr = exprs.next().expect("they were counted");
            }
        }
        trip.mask = exprs.next();
        CallNode::new(input, trip)
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
