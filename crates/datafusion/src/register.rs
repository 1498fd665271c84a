//! From a worker's catalog to a session's functions.

use std::collections::HashMap;
use std::sync::Arc;

use anyudf_arrow::catalog::{Entry, Kind};
use anyudf_engine::{Dispatcher, ErrorKind};
use async_trait::async_trait;
use datafusion::common::Result;
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::context::SessionContext;
use datafusion::logical_expr::ScalarUDF;
use datafusion::optimizer::OptimizerRule;

use crate::error::Error;
use crate::function::WorkerFunction;
use crate::lift::LiftWorkerCalls;
use crate::planner::WorkerQueryPlanner;
use crate::worker::{Worker, WorkerOptions};

/// Makes a worker's functions callable in a [`SessionContext`].
#[async_trait]
pub trait RegisterWorker {
    /// Makes every function that the workers of `dispatcher` offer callable by its name.
    ///
    /// The session gets the optimizer's rule and the planner that calls need, once for all workers. The planner takes the
    /// place of the session's own for queries with calls; a program whose planner knows nodes of its own adds
    /// [`WorkerPlanner`](crate::WorkerPlanner) to it instead, and registers before it sets its planner.
    ///
    /// # Errors
    /// An [`Error`] when the worker can't be started or asked, has no catalog (`NO_CATALOG`), or has a function whose name is
    /// taken (`FUNCTION_EXISTS`): nothing is registered then.
    ///
    /// # Cancel safety
    /// Nothing is registered when the future is dropped.
    async fn register_worker(&self, dispatcher: Dispatcher) -> Result<()> {
        self.register_worker_with(dispatcher, WorkerOptions::default()).await
    }

    /// The same with a schema for the functions, or limits.
    ///
    /// # Errors
    /// Those of [`register_worker`](RegisterWorker::register_worker).
    ///
    /// # Cancel safety
    /// Nothing is registered when the future is dropped.
    async fn register_worker_with(&self, dispatcher: Dispatcher, options: WorkerOptions) -> Result<()>;
}

#[async_trait]
impl RegisterWorker for SessionContext {
    async fn register_worker_with(&self, dispatcher: Dispatcher, options: WorkerOptions) -> Result<()> {
        let asked = dispatcher.catalog().await.map_err(|error| Error::of_execution("catalog", "", error))?;
        let Some(entries) = asked else {
            let text = format!(
                "the worker `{}` does not tell its functions (it has no payload format `catalog`), so none of them can be \
                 called by name",
                dispatcher.program()
            );
            return Err(Error::new(ErrorKind::Worker, "NO_CATALOG", text).into());
        };
        let worker = Worker::new(dispatcher, options);
        let functions = scalar_functions(&worker, &entries);
        check_names(self, &worker, &functions)?;
        install(self);
        for function in functions {
            self.register_udf(ScalarUDF::new_from_impl(function));
        }
        Ok(())
    }
}

fn scalar_functions(worker: &Worker, entries: &[Entry]) -> Vec<WorkerFunction> {
    let scalar = entries.iter().filter(|entry| entry.kind == Kind::Scalar);
    scalar.map(|entry| WorkerFunction::new(worker, entry.clone())).collect()
}

/// # Errors
/// A name that the session, or another function of the worker, has already.
fn check_names(context: &SessionContext, worker: &Worker, functions: &[WorkerFunction]) -> Result<()> {
    use datafusion::logical_expr::ScalarUDFImpl;
    let state = context.state_ref();
    let state = state.read();
    let mut seen = HashMap::new();
    for function in functions {
        for name in std::iter::once(function.name()).chain(function.aliases().iter().map(String::as_str)) {
            let owner = match state.scalar_functions().get(name).map(|known| WorkerFunction::of(known)) {
                Some(Some(known)) => format!("worker `{}`", known.worker().label),
                Some(None) => "DataFusion".into(),
                None if seen.insert(name, ()).is_some() => "the same worker".into(),
                None => continue,
            };
            let text = format!(
                "function `{name}` of worker `{}` is one of {owner} already; give this worker a schema of its own, with \
                 WorkerOptions::with_schema",
                worker.label
            );
            return Err(Error::new(ErrorKind::Misuse, "FUNCTION_EXISTS", text).into());
        }
    }
    Ok(())
}

/// Gives the session what calls need, if it has not got it.
fn install(context: &SessionContext) {
    let rule = Arc::new(LiftWorkerCalls::new());
    let state = context.state_ref();
    let mut state = state.write();
    if state.optimizers().iter().any(|known| known.name() == rule.name()) {
        return;
    }
    let planner = WorkerQueryPlanner::over(state.query_planner());
    let id = state.session_id().to_owned();
    *state = SessionStateBuilder::new_from_existing(state.clone())
        .with_session_id(id)
        .with_query_planner(planner)
        .with_optimizer_rule(rule)
        .build();
}
