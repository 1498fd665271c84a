//! Calls in a join's condition: each is made on the side that its arguments come from, before the rows meet.

use std::sync::Arc;

use datafusion::common::{JoinType, Result, plan_err};
use datafusion::logical_expr::logical_plan::Join;
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{Expr, LogicalPlan};

use super::lifter::{Lifter, Names};
use super::{calls, filtered, only};

/// # Errors
/// A call with arguments of both sides, in a join whose condition decides about more than which rows meet.
pub(super) fn lift(join: Join, names: &Names) -> Result<LogicalPlan> {
    let before = LogicalPlan::Join(join.clone());
    let Join { left, right, on, filter, join_type, join_constraint, null_equality, null_aware, schema: _ } = join;
    let mut left = Lifter::new(Arc::unwrap_or_clone(left), names);
    let mut right = Lifter::new(Arc::unwrap_or_clone(right), names);
    let on = on.into_iter().map(|(one, other)| Ok((left.lift(one)?, right.lift(other)?)));
    let on = on.collect::<Result<Vec<_>>>()?;
    let conditions = filter.map(split_conjunction_owned).unwrap_or_default().into_iter();
    let conditions = conditions.map(|condition| right.lift(left.lift(condition)?)).collect::<Result<Vec<_>>>()?;
    let (of_both, conditions): (Vec<Expr>, Vec<Expr>) = conditions.into_iter().partition(calls);
    if let (Some(condition), true) = (of_both.first(), join_type != JoinType::Inner) {
        return plan_err!(
            "`{condition}` calls a worker's function with columns of both sides of a {join_type} join in its ON; anyudf can do \
             that for inner joins only. Compute it on one side, or join the other way round and call it above"
        );
    }
    let used: Vec<Expr> =
        on.iter().flat_map(|(one, other)| [one, other]).chain(&conditions).chain(&of_both).cloned().collect();
    let (left, right) = (Arc::new(left.finish(&used)?), Arc::new(right.finish(&used)?));
    let filter = conjunction(conditions);
    let join = Join::try_new(left, right, on, filter, join_type, join_constraint, null_equality, null_aware)?;
    let mut plan = LogicalPlan::Join(join);
    if let Some(of_both) = conjunction(of_both) {
        // Which rows meet in an inner join may as well be decided after they have met.
        plan = filtered(of_both, plan, names)?;
    }
    only(plan, &before)
}
