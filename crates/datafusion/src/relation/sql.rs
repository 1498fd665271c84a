//! Functions of workers in FROM.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use anyudf_arrow::catalog::Kind;
use datafusion::common::{DFSchema, Result, plan_err};
use datafusion::logical_expr::LogicalPlan;
use datafusion::logical_expr::planner::{PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning};
use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, Ident, LimitClause, ObjectName, Query, TableFactor, TableFunctionArgs, Value,
};
use tokio::runtime::{Handle, RuntimeFlavor};

use super::{Options, RelationFunction};

/// The table and map functions of a session's workers, by what SQL calls them.
#[derive(Debug, Default)]
pub(crate) struct WorkerRelations {
    functions: RwLock<HashMap<String, RelationFunction>>,
}

impl WorkerRelations {
    pub(crate) fn add(&self, functions: HashMap<String, RelationFunction>) {
        self.functions.write().unwrap_or_else(PoisonError::into_inner).extend(functions);
    }

    pub(crate) fn find(&self, name: &str) -> Option<RelationFunction> {
        self.functions.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    fn call(
        &self,
        function: &RelationFunction,
        arguments: Vec<FunctionArg>,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<LogicalPlan> {
        let name = &function.name;
        let (mut options, mut input, mut place) = (Options::default(), None, 0);
        for argument in arguments {
            match argument {
                FunctionArg::Named { name: option, arg: FunctionArgExpr::Expr(value), .. } => {
                    let value = context.sql_to_expr(value, &DFSchema::empty())?;
                    options.add_named(name, context.normalize_ident(option), value)?;
                }
                FunctionArg::ExprNamed {
                    name: Expr::Identifier(option), arg: FunctionArgExpr::Expr(value), ..
                } => {
                    let value = context.sql_to_expr(value, &DFSchema::empty())?;
                    options.add_named(name, context.normalize_ident(option), value)?;
                }
                FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Subquery(subquery)))
                    if function.entry.kind == Kind::Map && input.is_none() =>
                {
                    input = Some(planned(subquery, context)?);
                }
                FunctionArg::Unnamed(FunctionArgExpr::Expr(_)) if function.entry.kind == Kind::Map => {
                    return plan_err!(
                        "`{name}` takes a subquery, as in {name}((SELECT …)), and then options by name, as in \
                         {name}((SELECT …), name => value)"
                    );
                }
                FunctionArg::Unnamed(FunctionArgExpr::Expr(value)) => {
                    let value = context.sql_to_expr(value, &DFSchema::empty())?;
                    options.add_placed(name, &function.entry, place, value)?;
                    place += 1;
                }
                other => return plan_err!("`{other}` is nothing that can be given to `{name}`"),
            }
        }
        now(function.call(options, input), name)
    }
}

impl RelationPlanner for WorkerRelations {
    fn plan_relation(
        &self,
        relation: TableFactor,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<RelationPlanning> {
        let called = match &relation {
            TableFactor::Table { name, args: Some(_), .. } | TableFactor::Function { name, lateral: false, .. } => name,
            _ => return Ok(RelationPlanning::Original(Box::new(relation))),
        };
        let Some(function) = self.find(&dotted(called, context)) else {
            return Ok(RelationPlanning::Original(Box::new(relation)));
        };
        let (arguments, alias) = match relation {
            TableFactor::Table { args: Some(TableFunctionArgs { args, .. }), alias, .. } => (args, alias),
            TableFactor::Function { args, alias, .. } => (args, alias),
            other => return Ok(RelationPlanning::Original(Box::new(other))),
        };
        let plan = self.call(&function, arguments, context)?;
        Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(plan, alias))))
    }
}

/// The plan of a map's subquery, in the order that it asks for.
///
/// DataFusion takes ORDER BY out of a subquery in FROM, whose order is nobody's business, unless there is a LIMIT. Here it is
/// the function's, so a LIMIT goes in and out again.
fn planned(mut subquery: Box<Query>, context: &mut dyn RelationPlannerContext) -> Result<LogicalPlan> {
    let is_ordered = subquery.order_by.is_some() && subquery.limit_clause.is_none() && subquery.fetch.is_none();
    if is_ordered {
        let all = Expr::Value(Value::Number(i64::MAX.to_string(), false).into());
        subquery.limit_clause = Some(LimitClause::LimitOffset { limit: Some(all), offset: None, limit_by: Vec::new() });
    }
    let rows = TableFactor::Derived { lateral: false, subquery, alias: None, sample: None };
    match context.plan(rows)? {
        LogicalPlan::Limit(limit) if is_ordered => Ok(Arc::unwrap_or_clone(limit.input)),
        plan => Ok(plan),
    }
}

/// A name as functions are known by: its parts with dots between.
fn dotted(name: &ObjectName, context: &dyn RelationPlannerContext) -> String {
    let part = |part: &Ident| context.normalize_ident(part.clone());
    let parts: Vec<_> = name.0.iter().filter_map(|name| name.as_ident()).map(part).collect();
    parts.join(".")
}

/// Waits for what a function's worker says, in the midst of DataFusion's planner, which knows no waiting.
///
/// # Errors
/// The future waits, and this thread is its runtime's only one.
fn now<T>(future: impl Future<Output = Result<T>>, name: &str) -> Result<T> {
    let mut future = std::pin::pin!(future);
    if let Some(done) = futures::FutureExt::now_or_never(&mut future) {
        return done;
    }
    match Handle::try_current() {
        Ok(handle) if handle.runtime_flavor() == RuntimeFlavor::MultiThread => {
            tokio::task::block_in_place(|| handle.block_on(future))
        }
        _ => plan_err!(
            "what `{name}` gives depends on what it is given, so its worker has to be asked while the query is planned, which \
             needs tokio's multi-threaded runtime; or call it by RegisteredWorker::map"
        ),
    }
}
