//! For which rows an expression is evaluated: those in which a CASE, an AND or an OR comes to it.

use datafusion::common::tree_node::TreeNode;
use datafusion::logical_expr::{Case, Expr, lit};

/// Where a call is wanted. Conditions keep the form of a CASE: what it leaves unevaluated, such as a division by zero, must
/// not be evaluated to know whom to call for.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Mask {
    /// From the outermost to the innermost.
    steps: Vec<Step>,
}

/// One CASE on the way to the call.
#[derive(Clone, Debug, PartialEq)]
struct Step {
    /// What the WHENs are compared with.
    operand: Option<Expr>,
    /// The WHENs before, which must not hold.
    passed: Vec<Expr>,
    /// The WHEN that must hold; without it that of ELSE.
    taken: Option<Expr>,
}

impl Mask {
    /// Below these conditions: none of `passed` holds, and then `taken` does.
    pub(super) fn within(&self, operand: Option<&Expr>, passed: &[Expr], taken: Option<&Expr>) -> Mask {
        let mut mask = self.clone();
        if !passed.is_empty() || taken.is_some() {
            mask.steps.push(Step { operand: operand.cloned(), passed: passed.to_vec(), taken: taken.cloned() });
        }
        mask
    }

    /// All conditions.
    pub(super) fn conditions(&self) -> impl Iterator<Item = &Expr> {
        self.steps.iter().flat_map(|step| step.operand.iter().chain(&step.passed).chain(&step.taken))
    }

    /// As an integer that is neither null nor zero where the call is wanted; `None` when that is everywhere.
    pub(super) fn expression(&self) -> Option<Expr> {
        let innermost: Option<Expr> = None;
        self.steps.iter().rev().fold(innermost, |inner, step| {
            let wanted = inner.unwrap_or_else(|| lit(1_i64));
            let branch = |when: &Expr, then: Expr| (Box::new(when.clone()), Box::new(then));
            let mut branches: Vec<_> = step.passed.iter().map(|when| branch(when, lit(0_i64))).collect();
            let rest = match &step.taken {
                Some(when) => {
                    branches.push(branch(when, wanted));
                    lit(0_i64)
                }
                None => wanted,
            };
            Some(Expr::Case(Case::new(step.operand.clone().map(Box::new), branches, Some(Box::new(rest)))))
        })
    }
}

/// Where one of two masks wants a call.
pub(super) fn either(one: Option<Expr>, other: Option<Expr>) -> Option<Expr> {
    match (one, other) {
        (Some(one), Some(other)) if one == other => Some(one),
        (Some(one), Some(other)) => Some(one + other),
        (None, _) | (_, None) => None,
    }
}

/// The columns that an expression needs are all ones that `has` knows.
pub(super) fn needs_only(expr: &Expr, has: impl Fn(&datafusion::common::Column) -> bool) -> bool {
    !expr
        .exists(|expr| {
            Ok(match expr {
                Expr::Column(column) => !has(column),
                _ => false,
            })
        })
        .expect("the closure does not fail")
}
