//! From our logical nodes to physical ones.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::Result;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::execution::context::QueryPlanner;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{Extension, LogicalPlan, UserDefinedLogicalNode, UserDefinedLogicalNodeCore};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_planner::{DefaultPhysicalPlanner, ExtensionPlanner, PhysicalPlanner};

use crate::exec::{Invocation, WorkerExec};
use crate::node::CallNode;
use crate::relation::{RelationExec, RelationNode};

/// Plans the nodes of worker functions. [`register_worker`](crate::RegisterWorker::register_worker) sees to it; a program
/// with a query planner of its own adds this to the extension planners of that.
#[derive(Clone, Copy, Debug, Default)]
pub struct WorkerPlanner {}

impl WorkerPlanner {
    /// The planner.
    pub fn new() -> Self {
        WorkerPlanner {}
    }
}

#[async_trait]
impl ExtensionPlanner for WorkerPlanner {
    async fn plan_extension(
        &self,
        planner: &dyn PhysicalPlanner,
        node: &dyn UserDefinedLogicalNode,
        _: &[&LogicalPlan],
        inputs: &[Arc<dyn ExecutionPlan>],
        session: &dyn Session,
        context: &PhysicalPlanningContext,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        if let Some(node) = node.as_any().downcast_ref::<RelationNode>() {
            return relation(node, session).await.map(Some);
        }
        let Some(node) = node.as_any().downcast_ref::<CallNode>() else { return Ok(None) };
        let input = Arc::clone(&inputs[0]);
        let evaluated = |expr| planner.create_physical_expr(expr, node.input.schema(), session, context);
        let mut given = node.trip.given().map(evaluated).collect::<Result<Vec<_>>>()?;
        let mask = node.trip.mask.as_ref().and_then(|_| given.pop());
        let invocation = Invocation::new(&node.trip, given, mask, node.results(), &input.schema())?;
        Ok(Some(Arc::new(WorkerExec::new(Arc::new(invocation), input)?)))
    }
}

async fn relation(node: &RelationNode, session: &dyn Session) -> Result<Arc<dyn ExecutionPlan>> {
    let input = match &node.input {
        Some(input) => Some(session.create_physical_plan(input).await?),
        None => None,
    };
    let (function, options) = (node.function.clone(), node.options.clone());
    let schema = Arc::clone(UserDefinedLogicalNodeCore::schema(node).inner());
    Ok(Arc::new(RelationExec::new(function, options, node.taken(), input, schema)))
}

/// The query planner of a session with workers: the one it had before for plans without calls.
pub(crate) struct WorkerQueryPlanner {
    before: Arc<dyn QueryPlanner + Send + Sync>,
}

impl WorkerQueryPlanner {
    pub(crate) fn over(before: &Arc<dyn QueryPlanner + Send + Sync>) -> Arc<dyn QueryPlanner + Send + Sync> {
        Arc::new(WorkerQueryPlanner { before: Arc::clone(before) })
    }
}

impl fmt::Debug for WorkerQueryPlanner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WorkerQueryPlanner").field(&self.before).finish()
    }
}

#[async_trait]
impl QueryPlanner for WorkerQueryPlanner {
    async fn create_physical_plan(&self, plan: &LogicalPlan, session: &dyn Session) -> Result<Arc<dyn ExecutionPlan>> {
        if !has_nodes(plan)? {
            return self.before.create_physical_plan(plan, session).await;
        }
        let planner = DefaultPhysicalPlanner::with_extension_planners(vec![Arc::new(WorkerPlanner::new())]);
        planner.create_physical_plan(plan, session).await
    }
}

/// Whether a node of ours is in it, also in a subquery.
fn has_nodes(plan: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        found |= match node {
            LogicalPlan::Extension(Extension { node }) => {
                node.as_any().is::<CallNode>() || node.as_any().is::<RelationNode>()
            }
            _ => false,
        };
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(found)
}
