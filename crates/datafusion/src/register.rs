//! From a worker's catalog to a session's functions.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use anyudf_arrow::catalog::{Entry, Kind};
use anyudf_engine::{Catalog, Dispatcher, ErrorKind};
use async_trait::async_trait;
use datafusion::common::{Result, plan_err};
use datafusion::dataframe::DataFrame;
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::context::SessionContext;
use datafusion::logical_expr::ScalarUDF;
use datafusion::logical_expr::planner::RelationPlanner;
use datafusion::optimizer::OptimizerRule;

use crate::error::Error;
use crate::function::WorkerFunction;
use crate::lift::LiftWorkerCalls;
use crate::planner::WorkerQueryPlanner;
use crate::relation::{RelationFunction, ShowInputs, WorkerRelations};
use crate::worker::{Taken, Worker, WorkerOptions};

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
    async fn register_worker(&self, dispatcher: Dispatcher) -> Result<RegisteredWorker> {
        self.register_worker_with(dispatcher, WorkerOptions::default()).await
    }

    /// The same with a schema for the functions, or limits.
    ///
    /// # Errors
    /// Those of [`register_worker`](RegisterWorker::register_worker).
    ///
    /// # Cancel safety
    /// Nothing is registered when the future is dropped.
    async fn register_worker_with(&self, dispatcher: Dispatcher, options: WorkerOptions) -> Result<RegisteredWorker>;
}

#[async_trait]
impl RegisterWorker for SessionContext {
    async fn register_worker_with(&self, dispatcher: Dispatcher, options: WorkerOptions) -> Result<RegisteredWorker> {
        let asked = dispatcher.catalog().await.map_err(|error| Error::of_worker(dispatcher.program(), error))?;
        let Some(catalog) = asked else {
            let text = format!(
                "the worker `{}` does not tell its functions (it has no payload format `catalog`), so none of them can be \
                 called by name",
                dispatcher.program()
            );
            return Err(Error::new(ErrorKind::Worker, "NO_CATALOG", text).into());
        };
        let worker = Worker::new(dispatcher, options, &catalog);
        let functions = named(self, &worker, scalar_functions(&worker, &catalog.functions))?;
        let relations = relations(self, &worker, &catalog.functions)?;
        let known = install(self);
        for function in functions {
            self.register_udf(ScalarUDF::new_from_impl(function));
        }
        known.add(relations);
        Ok(RegisteredWorker { worker, catalog })
    }
}

/// A worker whose functions a session calls.
#[derive(Clone, Debug)]
pub struct RegisteredWorker {
    worker: Worker,
    catalog: Arc<Catalog>,
}

impl RegisteredWorker {
    /// What it offers, as its catalog tells.
    pub fn functions(&self) -> &[Entry] {
        &self.catalog.functions
    }

    /// What SQL calls the function that its worker calls `name`.
    pub fn called(&self, name: &str) -> String {
        self.worker.qualified(name)
    }

    /// The rows of a map function over these: as `FROM function((SELECT …), option => value)` gives them. Each partition has
    /// a session of its own, which sees a part of the rows.
    ///
    /// # Errors
    /// An [`Error`] when the worker does not open the function; a planning error when it has no map function of this name, or
    /// one that takes other columns.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn map(
        &self,
        function: &str,
        rows: DataFrame,
        options: serde_json::Map<String, serde_json::Value>,
    ) -> Result<DataFrame> {
        let function = self.relation(function, Kind::Map)?;
        let (state, input) = rows.into_parts();
        Ok(DataFrame::new(state, function.call(options.into(), Some(input)).await?))
    }

    /// The rows of a table function: as `FROM function(option => value)` gives them.
    ///
    /// # Errors
    /// Those of [`map`](RegisteredWorker::map).
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn table(
        &self,
        function: &str,
        context: &SessionContext,
        options: serde_json::Map<String, serde_json::Value>,
    ) -> Result<DataFrame> {
        let function = self.relation(function, Kind::Table)?;
        Ok(DataFrame::new(context.state(), function.call(options.into(), None).await?))
    }

    fn relation(&self, name: &str, kind: Kind) -> Result<RelationFunction> {
        let found = self.catalog.functions.iter().find(|entry| entry.kind == kind && entry.is_called(name));
        match found {
            Some(entry) => Ok(RelationFunction::new(&self.worker, entry)),
            None => {
                let known =
                    self.catalog.functions.iter().filter(|entry| entry.kind == kind).map(|entry| entry.name.as_str());
                let known: Vec<_> = known.collect();
                plan_err!(
                    "worker `{}` has no {kind} function `{name}`; it has [{}]",
                    self.worker.label,
                    known.join(", ")
                )
            }
        }
    }
}

/// The functions that FROM may call. DataFusion's own table functions keep their names: `generate_series` means one thing.
fn relations(
    context: &SessionContext,
    worker: &Worker,
    entries: &[Entry],
) -> Result<HashMap<String, RelationFunction>> {
    let state = context.state_ref();
    let state = state.read();
    let known = state.config().get_extension::<WorkerRelations>();
    let mut functions = HashMap::new();
    for entry in entries.iter().filter(|entry| matches!(entry.kind, Kind::Map | Kind::Table)) {
        let function = RelationFunction::new(worker, entry);
        for name in std::iter::once(&entry.name).chain(&entry.aliases) {
            let name = worker.qualified(name);
            if state.table_functions().contains_key(&name) {
                tracing::info!(name, "DataFusion has a table function of this name; the worker's needs a schema");
                continue;
            }
            if known.iter().any(|known| known.find(&name).is_some()) || functions.contains_key(&name) {
                match worker.options.taken {
                    Taken::Refuse => return Err(exists(&name, worker, "another worker").into()),
                    Taken::LeaveOut => continue,
                }
            }
            functions.insert(name, function.clone());
        }
    }
    Ok(functions)
}

fn exists(name: &str, worker: &Worker, owner: &str) -> Error {
    let text = format!(
        "function `{name}` of worker `{}` is one of {owner} already; give this worker a schema of its own",
        worker.label
    );
    Error::new(ErrorKind::Misuse, "FUNCTION_EXISTS", text)
}

fn scalar_functions(worker: &Worker, entries: &[Entry]) -> Vec<WorkerFunction> {
    let scalar = entries.iter().filter(|entry| entry.kind == Kind::Scalar);
    scalar.map(|entry| WorkerFunction::new(worker, entry.clone())).collect()
}

/// The functions, without those whose names are taken, or some of whose are, if the options say so.
///
/// # Errors
/// A name that the session, or another function of the worker, has already.
fn named(
    context: &SessionContext,
    worker: &Worker,
    functions: Vec<WorkerFunction>,
) -> Result<Vec<WorkerFunction>, Error> {
    use datafusion::logical_expr::ScalarUDFImpl;
    let state = context.state_ref();
    let state = state.read();
    let mut seen: HashSet<String> = HashSet::new();
    let owner = |name: &str, seen: &HashSet<String>| match state.scalar_functions().get(name) {
        Some(known) => Some(
            WorkerFunction::of(known).map_or("DataFusion".into(), |known| format!("worker `{}`", known.worker().label)),
        ),
        // It would look for a scalar one first.
        None if state.aggregate_functions().contains_key(name) || state.window_functions().contains_key(name) => {
            Some("DataFusion".into())
        }
        None => seen.contains(name).then(|| "the same worker".into()),
    };
    let mut kept = Vec::with_capacity(functions.len());
    for function in functions {
        let names: Vec<String> = std::iter::once(function.name())
            .chain(function.aliases().iter().map(String::as_str))
            .map(String::from)
            .collect();
        match names.iter().find_map(|name| Some((name, owner(name, &seen)?))) {
            Some((name, owner)) if worker.options.taken == Taken::Refuse => return Err(exists(name, worker, &owner)),
            Some((name, owner)) => tracing::info!(name, owner, "left out: the name is taken"),
            None => {
                seen.extend(names);
                kept.push(function);
            }
        }
    }
    Ok(kept)
}

/// Gives the session what calls need, if it has not got it, and the functions that FROM may call.
fn install(context: &SessionContext) -> Arc<WorkerRelations> {
    let state = context.state_ref();
    let mut state = state.write();
    let rule = Arc::new(LiftWorkerCalls::new());
    // A configuration may have been copied to another session, and the functions of the first with it.
    let has_rule = state.optimizers().iter().any(|known| known.name() == rule.name());
    if let (true, Some(known)) = (has_rule, state.config().get_extension::<WorkerRelations>()) {
        return known;
    }
    let relations = Arc::new(WorkerRelations::default());
    let planner = WorkerQueryPlanner::over(state.query_planner());
    let id = state.session_id().to_owned();
    state.config_mut().set_extension(Arc::clone(&relations));
    let builder = SessionStateBuilder::new_from_existing(state.clone()).with_session_id(id).with_query_planner(planner);
    let builder = builder.with_physical_optimizer_rule(Arc::new(ShowInputs));
    *state = if has_rule { builder } else { builder.with_optimizer_rule(rule) }.build();
    let planner: Arc<dyn RelationPlanner> = Arc::<WorkerRelations>::clone(&relations);
    state.register_relation_planner(planner).expect("a list takes one more");
    relations
}
