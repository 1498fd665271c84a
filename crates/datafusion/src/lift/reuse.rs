//! Results that are there already: a filter has called the function, and the columns above it call it again.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, JoinType, Result};
use datafusion::logical_expr::logical_plan::{Projection, SubqueryAlias};
use datafusion::logical_expr::{Expr, LogicalPlan};

use super::mask::needs_only;
use crate::node::{Call, CallNode};

/// The plan with the results of an equal call in a column, if somebody below has made it, and that column.
pub(super) fn reuse(plan: &LogicalPlan, call: &Call) -> Result<Option<(LogicalPlan, Expr)>> {
    let there = |expr: &Expr| needs_only(expr, |column| plan.schema().has_column(column));
    if !call.arguments.iter().chain(&call.mask).all(there) {
        return Ok(None);
    }
    if let Some(known) = CallNode::of(plan)
        && let Some(place) = known.trip.find(call)
    {
        let result = Expr::Column(Column::new_unqualified(&known.trip.calls[place].column));
        return Ok(Some((known.returning(place)?.into_plan(), result)));
    }
    match plan {
        LogicalPlan::Projection(projection) => through_projection(projection, call),
        LogicalPlan::SubqueryAlias(alias) => {
            let Some(inner) = Behind::of_alias(alias).call(call)? else { return Ok(None) };
            reuse(&alias.input, &inner)?.map(|(input, result)| aliased(alias, input, result)).transpose()
        }
        LogicalPlan::Filter(_)
        | LogicalPlan::Sort(_)
        | LogicalPlan::Limit(_)
        | LogicalPlan::Window(_)
        | LogicalPlan::Extension(_)
        | LogicalPlan::Join(_)
            if is_ours_or_known(plan) =>
        {
            let mut inputs: Vec<LogicalPlan> = plan.inputs().into_iter().cloned().collect();
            for place in kept_inputs(plan, inputs.len()) {
                if let Some((input, result)) = reuse(&inputs[place], call)? {
                    inputs[place] = input;
                    return Ok(Some((plan.with_new_exprs(plan.expressions(), inputs)?, result)));
                }
            }
            Ok(None)
        }
        _ => Ok(None),
    }
}

/// The inputs whose rows come out as they are: not the side of an outer join that is filled up with nulls.
fn kept_inputs(plan: &LogicalPlan, inputs: usize) -> Range<usize> {
    match plan {
        LogicalPlan::Join(join) => match join.join_type {
            JoinType::Inner => 0..2,
            JoinType::Left | JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => 0..1,
            JoinType::Right | JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => 1..2,
            JoinType::Full => 0..0,
        },
        _ => 0..inputs,
    }
}

/// Other people's nodes may do anything with rows.
fn is_ours_or_known(plan: &LogicalPlan) -> bool {
    !matches!(plan, LogicalPlan::Extension(_)) || CallNode::of(plan).is_some()
}

fn through_projection(projection: &Projection, call: &Call) -> Result<Option<(LogicalPlan, Expr)>> {
    let Some(inner) = Behind::of(projection).call(call)? else { return Ok(None) };
    match reuse(&projection.input, &inner)? {
        Some((input, result)) => with_column(projection, input, result).map(Some),
        None => Ok(None),
    }
}

/// The projection over this input, with this column of it in addition.
pub(super) fn with_column(projection: &Projection, input: LogicalPlan, column: Expr) -> Result<(LogicalPlan, Expr)> {
    let mut columns = projection.expr.clone();
    if !columns.contains(&column) {
        columns.push(column.clone());
    }
    let plan = LogicalPlan::Projection(Projection::try_new(columns, Arc::new(input))?);
    Ok((plan, column))
}

/// The same plan under its alias, and this column of it as it is called there.
pub(super) fn aliased(alias: &SubqueryAlias, input: LogicalPlan, column: Expr) -> Result<(LogicalPlan, Expr)> {
    let plan = SubqueryAlias::try_new(Arc::new(input), alias.alias.clone())?;
    let (_, name) = column.qualified_name();
    Ok((LogicalPlan::SubqueryAlias(plan), Expr::Column(Column::new(Some(alias.alias.clone()), name))))
}

/// What the columns of a node that gives others names are.
pub(super) struct Behind(HashMap<Column, Expr>);

impl Behind {
    pub(super) fn of(projection: &Projection) -> Self {
        let exprs = projection.expr.iter().map(unaliased).cloned();
        Behind(projection.schema.columns().into_iter().zip(exprs).collect())
    }

    pub(super) fn of_alias(alias: &SubqueryAlias) -> Self {
        let inner = alias.input.schema().columns().into_iter().map(Expr::Column);
        Behind(alias.schema.columns().into_iter().zip(inner).collect())
    }

    /// The call as it is made below; `None` when it needs a column that comes from elsewhere.
    pub(super) fn call(&self, call: &Call) -> Result<Option<Call>> {
        let is_known = |expr: &Expr| needs_only(expr, |column| self.0.contains_key(column));
        if !call.arguments.iter().chain(&call.mask).all(is_known) {
            return Ok(None);
        }
        let arguments = call.arguments.iter().map(|expr| self.expr(expr)).collect::<Result<Vec<_>>>()?;
        let mask = call.mask.as_ref().map(|mask| self.expr(mask)).transpose()?;
        Ok(Some(Call { arguments, mask, ..call.clone() }))
    }

    fn expr(&self, expr: &Expr) -> Result<Expr> {
        let replace = |expr: Expr| match &expr {
            Expr::Column(column) => Ok(match self.0.get(column) {
                Some(inner) => Transformed::yes(inner.clone()),
                None => Transformed::no(expr),
            }),
            _ => Ok(Transformed::no(expr)),
        };
        // Replaced once, never what was replaced.
        expr.clone().transform_up(replace).map(|replaced| replaced.data)
    }

    /// Whether all that the call needs are columns below the projection too, so that nothing is computed twice.
    pub(super) fn is_plain(&self, call: &Call) -> bool {
        let is_column = |column: &Column| matches!(self.0.get(column), Some(Expr::Column(_)));
        call.arguments.iter().chain(&call.mask).all(|expr| needs_only(expr, is_column))
    }
}

fn unaliased(expr: &Expr) -> &Expr {
    match expr {
        Expr::Alias(alias) => unaliased(&alias.expr),
        expr => expr,
    }
}
