//! Takes calls of worker functions out of expressions, and puts nodes beneath that make them.
//!
//! ```text
//!   Projection: CASE WHEN a > 0 THEN f(g(b)) END, h(c)    Projection: CASE WHEN a > 0 THEN c2 END, c3
//!     Scan                                          ──▶     WorkerCall: h(c) AS c3
//!                                                             WorkerCall: f(g(b)) AS c2 where a > 0
//!                                                               Scan
//! ```
//!
//! It is the optimizer's last rule: by then filters and limits are where they should be, subqueries are joins, and calls in
//! them are where the fewest rows are.

mod join;
mod lifter;
mod mask;
mod reuse;
mod trips;

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, Result};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::logical_plan::{Filter, Projection, TableScan, TableScanBuilder};
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{Expr, GroupingSet, LogicalPlan, TableProviderFilterPushDown};
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};

use crate::function::WorkerFunction;
use crate::node::CallNode;
use lifter::{Lifter, Names};

/// The optimizer's rule that makes plan nodes of calls.
/// [`register_worker`](crate::RegisterWorker::register_worker) adds it behind all others; a program that builds its own
/// list of rules puts it last.
#[derive(Debug, Default)]
pub struct LiftWorkerCalls {}

impl LiftWorkerCalls {
    /// The rule.
    pub fn new() -> Self {
        LiftWorkerCalls {}
    }
}

impl OptimizerRule for LiftWorkerCalls {
    fn name(&self) -> &str {
        "lift_worker_calls"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        if CallNode::of(&plan).is_some() || !has_calls(&plan)? {
            return Ok(Transformed::no(plan));
        }
        let names: &Names = config.alias_generator();
        let lifted = match plan {
            LogicalPlan::Filter(Filter { predicate, input, .. }) => {
                filter(predicate, Arc::unwrap_or_clone(input), names)?
            }
            LogicalPlan::Join(join) => join::lift(join, names)?,
            LogicalPlan::TableScan(scan) => self::scan(scan, names)?,
            LogicalPlan::Aggregate(ref aggregate) if let [Expr::GroupingSet(sets)] = &aggregate.group_expr[..] => {
                grouping_sets(&plan, sets, names)?
            }
            LogicalPlan::Projection(_) | LogicalPlan::Aggregate(_) | LogicalPlan::Window(_) | LogicalPlan::Sort(_) => {
                one_input(&plan, names)?
            }
            // What is left has no rows that it could be called for, or is somebody's own node. The function says so.
            other => return Ok(Transformed::no(other)),
        };
        Ok(Transformed::yes(lifted))
    }
}

/// A node whose expressions are evaluated for each row of its only input.
fn one_input(plan: &LogicalPlan, names: &Names) -> Result<LogicalPlan> {
    let input = plan.inputs()[0].clone();
    let mut lifter = Lifter::new(input, names);
    let preserver = NamePreserver::new(plan);
    let expressions = plan.expressions().into_iter().map(|expr| {
        let name = preserver.save(&expr);
        Ok(name.restore(lifter.lift(expr)?))
    });
    let expressions = expressions.collect::<Result<Vec<_>>>()?;
    let input = lifter.finish(&expressions)?;
    let lifted = plan.with_new_exprs(expressions, vec![input])?;
    only(lifted, plan)
}

/// An aggregate over several groupings, whose columns are called as its expressions are: what is grouped by becomes a column
/// of that name below it.
fn grouping_sets(plan: &LogicalPlan, sets: &GroupingSet, names: &Names) -> Result<LogicalPlan> {
    let input = plan.inputs()[0].clone();
    let mut columns: Vec<Expr> = input.schema().columns().into_iter().map(Expr::Column).collect();
    for expr in sets.distinct_expr().into_iter().filter(|expr| calls(expr)) {
        columns.push(expr.clone().alias(expr.schema_name().to_string()));
    }
    let input = LogicalPlan::Projection(Projection::try_new(columns, Arc::new(input))?);
    let input = one_input(&input, names)?;
    let column = |expr: Expr| match calls(&expr) {
        true => Expr::Column(Column::new_unqualified(expr.schema_name().to_string())),
        false => expr,
    };
    let rows = |rows: &[Vec<Expr>]| rows.iter().map(|row| row.iter().cloned().map(column).collect()).collect();
    let row = |row: &[Expr]| row.iter().cloned().map(column).collect();
    let sets = match sets {
        GroupingSet::Rollup(exprs) => GroupingSet::Rollup(row(exprs)),
        GroupingSet::Cube(exprs) => GroupingSet::Cube(row(exprs)),
        GroupingSet::GroupingSets(sets) => GroupingSet::GroupingSets(rows(sets)),
    };
    let mut expressions = plan.expressions();
    expressions[0] = Expr::GroupingSet(sets);
    let lifted = plan.with_new_exprs(expressions, vec![input])?;
    match has_calls(&lifted)? {
        true => one_input(&lifted, names),
        false => Ok(lifted),
    }
}

/// The plan without the columns that `before` did not have, such as those of results.
fn only(plan: LogicalPlan, before: &LogicalPlan) -> Result<LogicalPlan> {
    if plan.schema().fields().len() == before.schema().fields().len() {
        return Ok(plan);
    }
    let columns = before.schema().columns().into_iter().map(Expr::Column).collect();
    Ok(LogicalPlan::Projection(Projection::try_new(columns, Arc::new(plan))?))
}

/// A filter: what needs no call goes first, and each condition with calls sees only the rows that are left.
fn filter(predicate: Expr, input: LogicalPlan, names: &Names) -> Result<LogicalPlan> {
    let before = input.clone();
    only(filtered(predicate, input, names)?, &before)
}

fn filtered(predicate: Expr, input: LogicalPlan, names: &Names) -> Result<LogicalPlan> {
    let (calling, plain): (Vec<_>, Vec<_>) = split_conjunction_owned(predicate).into_iter().partition(calls);
    let mut plan = input;
    if let Some(plain) = conjunction(plain) {
        plan = LogicalPlan::Filter(Filter::try_new(plain, Arc::new(plan))?);
    }
    for condition in calling {
        let mut lifter = Lifter::new(plan, names);
        let condition = lifter.lift(condition)?;
        let input = lifter.finish(std::slice::from_ref(&condition))?;
        plan = LogicalPlan::Filter(Filter::try_new(condition, Arc::new(input))?);
    }
    Ok(plan)
}

/// A scan, which can't call. What it promised to filter by itself is filtered above it; of the rest there is a filter above
/// it already.
fn scan(mut scan: TableScan, names: &Names) -> Result<LogicalPlan> {
    let (calling, plain): (Vec<_>, Vec<_>) = std::mem::take(&mut scan.filters).into_iter().partition(calls);
    let promised = scan.source.supports_filters_pushdown(&calling.iter().collect::<Vec<_>>())?;
    let exact = calling.into_iter().zip(promised);
    let exact = exact.filter_map(|(filter, promise)| (promise == TableProviderFilterPushDown::Exact).then_some(filter));
    let exact = conjunction(exact);
    scan.filters = plain;
    let Some(predicate) = exact else { return Ok(LogicalPlan::TableScan(scan)) };
    // A limit counts rows that are filtered, and columns that only the filter needs were left out.
    let missing = predicate.column_refs().into_iter().filter(|&column| !scan.projected_schema.has_column(column));
    let missing: Vec<Column> = missing.cloned().collect();
    let before = LogicalPlan::TableScan(scan.clone());
    let fetch = scan.fetch.take();
    if let (Some(projection), false) = (&mut scan.projection, missing.is_empty()) {
        let schema = scan.source.schema();
        for column in missing {
            projection.push(schema.index_of(&column.name)?);
        }
        let TableScan { table_name, source, projection, filters, .. } = scan;
        scan = TableScanBuilder::new(table_name, source).with_projection(projection).with_filters(filters).build()?;
    }
    let mut plan = filtered(predicate, LogicalPlan::TableScan(scan), names)?;
    if let Some(fetch) = fetch {
        plan = datafusion::logical_expr::LogicalPlanBuilder::from(plan).limit(0, Some(fetch))?.build()?;
    }
    only(plan, &before)
}

fn has_calls(plan: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    plan.apply_expressions(|expr| {
        found |= calls(expr);
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(found)
}

/// Whether a call of a worker function is in it.
fn calls(expr: &Expr) -> bool {
    expr.exists(|expr| Ok(WorkerFunction::called_by(expr).is_some())).expect("the closure does not fail")
}
