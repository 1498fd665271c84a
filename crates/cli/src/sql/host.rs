//! The session of a run, and the workers that it can call.

use std::io::Write;
use std::time::Duration;

use anyudf_datafusion::{RegisteredWorker, SqlNames, SqlSession, Taken, WorkerOptions};
use anyudf_engine::{Dispatcher, DispatcherStats};
use futures::future::join_all;
use tokio::time::timeout;

use super::arguments::{NamedWorker, SqlArguments};
use crate::catalog::Catalog;
use crate::failure::{Result, unprinted};
use crate::functions;

/// How long workers may take to end by themselves when we are in a hurry.
const HURRY: Duration = Duration::from_secs(1);

/// The schema by which the bundled functions are always to be had.
const BUNDLED: &str = "bundled";

/// A session of SQL and its workers.
#[derive(Debug)]
pub(super) struct Host {
    session: SqlSession,
    named: Vec<(Option<String>, Dispatcher)>,
    bundled: Dispatcher,
    /// What could be registered so far.
    registered: Vec<RegisteredWorker>,
}

impl Host {
    /// No worker is started yet.
    ///
    /// # Errors
    /// Those of [`Start::dispatcher`](crate::start::Start::dispatcher).
    pub(super) async fn new(workers: Vec<NamedWorker>, arguments: &SqlArguments) -> Result<Self> {
        let session = SqlSession::new(arguments.jobs());
        let dispatcher = |NamedWorker { schema, start }| Ok((schema, start.dispatcher()?));
        let named = workers.into_iter().map(dispatcher).collect::<Result<Vec<_>>>()?;
        Ok(Host { session, named, bundled: arguments.bundled()?.dispatcher()?, registered: Vec::new() })
    }

    /// Makes all functions callable, and the tables that have names.
    ///
    /// # Errors
    /// A worker that can't be asked or has a name that is taken; a file that can't be read.
    ///
    /// # Cancel safety
    /// Some may be registered when the future is dropped.
    pub(super) async fn register(&mut self, arguments: &SqlArguments) -> Result {
        let options = |schema: Option<&str>| {
            let mut options = WorkerOptions::default();
            options.call_timeout = arguments.call_timeout;
            match schema {
                Some(schema) => options.with_schema(schema),
                None => options,
            }
        };
        for (schema, dispatcher) in &self.named {
            let worker = self.session.register_worker(dispatcher.clone(), options(schema.as_deref())).await?;
            self.registered.push(worker);
        }
        // A function of the user's goes before a bundled one of the same name, and so does one of DataFusion's.
        let bundled =
            |schema| self.session.register_worker(self.bundled.clone(), options(schema).with_taken(Taken::LeaveOut));
        let plain = bundled(None).await?;
        bundled(Some(BUNDLED)).await?;
        self.registered.push(plain);
        for (name, path) in &arguments.tables {
            self.session.register_table(name, path).await?;
        }
        Ok(())
    }

    pub(super) fn session(&self) -> &SqlSession {
        &self.session
    }

    /// All that a statement may name.
    pub(super) async fn names(&self) -> SqlNames {
        let mut names = self.session.names().await;
        names.functions.extend(self.catalog().functions.into_iter().map(|function| function.name));
        names
    }

    /// Prints the workers' functions, or one of them with all its help.
    ///
    /// # Errors
    /// There is none of this name.
    pub(super) fn show_functions(&self, name: Option<&str>) -> Result {
        let mut catalog = self.catalog();
        let mut help = String::new();
        if let Some(name) = name {
            let function = catalog.find(name)?.clone();
            help = function.help.lines().skip(1).map(|line| format!("    {line}\n")).collect();
            catalog.functions = vec![function];
        }
        let mut out = std::io::stdout().lock();
        functions::table(&catalog, &mut out).and_then(|()| out.write_all(help.as_bytes())).map_err(unprinted)
    }

    /// The workers' functions, called as SQL calls them.
    fn catalog(&self) -> Catalog {
        let called = |worker: &RegisteredWorker| -> Vec<_> {
            let mut functions = worker.functions().to_vec();
            for function in &mut functions {
                function.name = worker.called(&function.name);
            }
            functions
        };
        Catalog { functions: self.registered.iter().flat_map(called).collect() }
    }

    fn dispatchers(&self) -> impl Iterator<Item = &Dispatcher> {
        self.named.iter().map(|(_, dispatcher)| dispatcher).chain([&self.bundled])
    }

    /// How all processes are, and have been.
    pub(super) async fn stats(&self) -> DispatcherStats {
        let all = join_all(self.dispatchers().map(Dispatcher::stats)).await;
        let mut sum = DispatcherStats::default();
        for stats in all.into_iter().flatten() {
            sum.granted += stats.granted;
            sum.starts += stats.starts;
            sum.failed_starts += stats.failed_starts;
            sum.crashes += stats.crashes;
            sum.waited += stats.waited;
            sum.longest_wait = sum.longest_wait.max(stats.longest_wait);
            sum.workers.extend(stats.workers);
        }
        sum
    }

    /// Ends the processes (D12), all at once.
    pub(super) async fn end(self) {
        join_all(self.dispatchers().map(Dispatcher::close)).await;
    }

    /// Ends the processes after a failure: what does not end by itself soon is killed, and nothing more is said.
    pub(super) async fn abandon(self) {
        // What is left then is killed when the runtime goes, and what went wrong was said already.
        let _ = timeout(HURRY, self.end()).await;
    }
}
