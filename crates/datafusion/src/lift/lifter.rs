//! Takes the calls out of the expressions over one input.

use std::sync::Arc;

use datafusion::common::alias::AliasGenerator;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, Result, plan_err};
use datafusion::logical_expr::expr::{AggregateFunction, ScalarFunction};
use datafusion::logical_expr::logical_plan::Projection;
use datafusion::logical_expr::{BinaryExpr, Case, Expr, LogicalPlan, Operator, lit};

use super::calls;
use super::mask::{Mask, either, needs_only};
use super::reuse::reuse;
use super::trips::{board, trips};
use crate::function::WorkerFunction;
use crate::node::{Call, CallNode};

/// Where names come from that nobody else has.
pub(super) type Names = Arc<AliasGenerator>;

/// Collects the calls in expressions over one input, and makes nodes of them.
pub(super) struct Lifter<'a> {
    input: LogicalPlan,
    names: &'a Names,
    /// Each uses at most the results of those before it.
    calls: Vec<Call>,
}

impl<'a> Lifter<'a> {
    pub(super) fn new(input: LogicalPlan, names: &'a Names) -> Self {
        Lifter { input, names, calls: Vec::new() }
    }

    /// The expression with columns in place of its calls. Calls that need columns which the input has not are left.
    pub(super) fn lift(&mut self, expr: Expr) -> Result<Expr> {
        self.lift_where(expr, &Mask::default())
    }

    /// The input with the results in more columns, those that these expressions need.
    pub(super) fn finish(self, used: &[Expr]) -> Result<LogicalPlan> {
        let is_used = |column: &str| used.iter().any(|expr| !needs_only(expr, |needed| needed.name != column));
        let add = |plan, trip| Ok(CallNode::new(plan, trip)?.into_plan());
        trips(self.calls, is_used).into_iter().try_fold(self.input, add)
    }

    fn lift_where(&mut self, expr: Expr, mask: &Mask) -> Result<Expr> {
        if !calls(&expr) {
            return Ok(expr);
        }
        match expr {
            Expr::ScalarFunction(ScalarFunction { func, args }) if WorkerFunction::of(&func).is_some() => {
                // A name within an expression is nobody's, and hides that two are the same.
                let unnamed = args.into_iter().map(|argument| argument.unalias_nested().data);
                let arguments = unnamed.map(|argument| self.lift_where(argument, mask));
                let arguments = arguments.collect::<Result<Vec<_>>>()?;
                if let Some(condition) = mask.conditions().find(|condition| condition.is_volatile()) {
                    return plan_err!(
                        "whether `{}` is called for a row depends on `{condition}`, which is something else each time it is \
                         evaluated; that can't be in the ON of a join",
                        func.name()
                    );
                }
                if !arguments.iter().chain(mask.conditions()).all(|expr| self.is_here(expr)) {
                    return Ok(Expr::ScalarFunction(ScalarFunction { func, args: arguments }));
                }
                let column = self.new_column();
                self.call(Call { function: func, arguments, mask: mask.expression(), column })
            }
            Expr::Case(case) => self.lift_case(case, mask),
            Expr::BinaryExpr(BinaryExpr { left, op: op @ (Operator::And | Operator::Or), right }) => {
                let left = self.lift_where(*left, mask)?;
                let left = self.decided(left, &right, mask)?;
                // The right side does not matter where the left one is false, or true.
                let decided = match op {
                    Operator::And => left.clone().is_false(),
                    _ => left.clone().is_true(),
                };
                let right = self.lift_where(*right, &mask.within(None, &[decided], None))?;
                Ok(Expr::BinaryExpr(BinaryExpr { left: Box::new(left), op, right: Box::new(right) }))
            }
            Expr::AggregateFunction(AggregateFunction { func, mut params }) => {
                let filter = params.filter.take().map(|filter| self.lift_where(*filter, mask)).transpose()?;
                let inner = mask.within(None, &[], filter.as_ref());
                params.filter = filter.map(Box::new);
                let lift = |argument| self.lift_where(argument, &inner);
                params.args = params.args.into_iter().map(lift).collect::<Result<Vec<_>>>()?;
                for sort in &mut params.order_by {
                    sort.expr = self.lift_where(std::mem::take(&mut sort.expr), &inner)?;
                }
                Ok(Expr::AggregateFunction(AggregateFunction { func, params }))
            }
            // Its body has variables of its own, and is evaluated for the elements of lists.
            lambda @ Expr::Lambda(_) => Ok(lambda),
            other => Ok(other.map_children(|child| Ok(Transformed::yes(self.lift_where(child, mask)?)))?.data),
        }
    }

    fn lift_case(&mut self, case: Case, mask: &Mask) -> Result<Expr> {
        let Case { expr: operand, when_then_expr, else_expr } = case;
        let mut operand = operand.map(|operand| self.lift_where(*operand, mask)).transpose()?;
        if let Some(changing) = operand.take_if(|operand| operand.is_volatile()) {
            operand = Some(self.once(changing, mask)?);
        }
        let (mut passed, mut branches) = (Vec::new(), Vec::with_capacity(when_then_expr.len()));
        for (when, then) in when_then_expr {
            let before = mask.within(operand.as_ref(), &passed, None);
            let when = self.lift_where(*when, &before)?;
            let when = if when.is_volatile() { self.once(when, &before)? } else { when };
            let then = self.lift_where(*then, &mask.within(operand.as_ref(), &passed, Some(&when)))?;
            passed.push(when.clone());
            branches.push((Box::new(when), Box::new(then)));
        }
        let rest = mask.within(operand.as_ref(), &passed, None);
        let otherwise = else_expr.map(|otherwise| self.lift_where(*otherwise, &rest)).transpose()?;
        Ok(Expr::Case(Case::new(operand.map(Box::new), branches, otherwise.map(Box::new))))
    }

    /// What decides whether `guarded` is evaluated. When there are calls in that, it must be the same each time it is looked at.
    fn decided(&mut self, condition: Expr, guarded: &Expr, mask: &Mask) -> Result<Expr> {
        match condition.is_volatile() && calls(guarded) {
            true => self.once(condition, mask),
            false => Ok(condition),
        }
    }

    /// A column with what an expression is, where the mask comes to it: it is something else each time it is evaluated.
    fn once(&mut self, expr: Expr, mask: &Mask) -> Result<Expr> {
        if !std::iter::once(&expr).chain(mask.conditions()).all(|expr| self.is_here(expr)) {
            return Ok(expr);
        }
        let column = self.new_column();
        let value = match mask.expression() {
            Some(wanted) => {
                Expr::Case(Case::new(None, vec![(Box::new(wanted.not_eq(lit(0_i64))), Box::new(expr))], None))
            }
            None => expr,
        };
        // It may need results, and later calls need it.
        for trip in trips(std::mem::take(&mut self.calls), |_| true) {
            let input = std::mem::take(&mut self.input);
            self.input = CallNode::new(input, trip)?.into_plan();
        }
        let mut columns: Vec<Expr> = self.input.schema().columns().into_iter().map(Expr::Column).collect();
        columns.push(value.alias(&column));
        let input = std::mem::take(&mut self.input);
        self.input = LogicalPlan::Projection(Projection::try_new(columns, Arc::new(input))?);
        Ok(Expr::Column(Column::new_unqualified(column)))
    }

    /// The column of a call's results: of an equal one, or of this one.
    fn call(&mut self, call: Call) -> Result<Expr> {
        if let Some((input, result)) = reuse(&self.input, &call)? {
            self.input = input;
            return Ok(result);
        }
        if let Some(place) = self.calls.iter().position(|known| known.is_same(&call)) {
            // A mask may ask for results that are not there yet when the first of the two is called.
            let later: Vec<_> = self.calls[place..].iter().map(|call| call.column.clone()).collect();
            let is_known = |mask: &Expr| needs_only(mask, |column| !later.contains(&column.name));
            if call.mask.as_ref().is_none_or(is_known) {
                let known = &mut self.calls[place];
                known.mask = either(known.mask.take(), call.mask);
                return Ok(known.result());
            }
        }
        if let Some((input, result)) = board(&self.input, &call)? {
            self.input = input;
            return Ok(result);
        }
        let result = call.result();
        self.calls.push(call);
        Ok(result)
    }

    /// A name that no column has, also when the input was optimized before, by itself.
    fn new_column(&self) -> String {
        loop {
            let name = self.names.next("__worker_call");
            let is_visible = self.input.schema().fields().iter().any(|field| *field.name() == name);
            if !is_visible && !CallNode::is_within(&self.input, &name) {
                return name;
            }
        }
    }

    /// Whether all the columns that it needs are there, and it has no calls any more.
    fn is_here(&self, expr: &Expr) -> bool {
        let has = |column: &datafusion::common::Column| {
            let is_result = |call: &Call| column.relation.is_none() && call.column == column.name;
            self.input.schema().has_column(column) || self.calls.iter().any(is_result)
        };
        !calls(expr) && needs_only(expr, has)
    }
}
