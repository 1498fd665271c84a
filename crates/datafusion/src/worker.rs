//! A worker that was registered, as its functions share it.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use anyudf_arrow::expression::FORMAT;
use anyudf_engine::{Catalog, Dispatcher};

/// What a host may say of a worker when it registers it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkerOptions {
    /// A schema for its functions: with `geo` they are called `geo.distance`. Without it they are called by their names
    /// alone. Two workers that have a function of the same name need it. None by default.
    pub schema: Option<String>,
    /// What becomes of a function whose name is taken. [`Taken::Refuse`] by default.
    pub taken: Taken,
    /// How long each call into a function may take (C11). None by default.
    pub call_timeout: Option<Duration>,
}

/// What becomes of a worker's function whose name another one has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Taken {
    /// The whole worker is refused, with an error that says so.
    #[default]
    Refuse,
    /// The function is left out.
    LeaveOut,
}

impl WorkerOptions {
    /// The same with an answer to names that are taken.
    pub fn with_taken(mut self, taken: Taken) -> Self {
        self.taken = taken;
        self
    }

    /// The same with a schema for the functions.
    pub fn with_schema(mut self, schema: impl Into<String>) -> Self {
        self.schema = Some(schema.into());
        self
    }

    /// The same with a deadline for each call into a function.
    pub fn with_call_timeout(mut self, timeout: Duration) -> Self {
        self.call_timeout = Some(timeout);
        self
    }
}

/// A worker with what was said of it. Clones are the same worker, and equal; registered twice it is another.
#[derive(Clone)]
pub(crate) struct Worker(Arc<Registered>);

pub(crate) struct Registered {
    pub(crate) dispatcher: Dispatcher,
    /// What plans call it.
    pub(crate) label: String,
    pub(crate) options: WorkerOptions,
    /// Whether it takes several calls at once, with constants sent once: the payload format `expression`.
    pub(crate) takes_expressions: bool,
}

impl Worker {
    pub(crate) fn new(dispatcher: Dispatcher, options: WorkerOptions, catalog: &Catalog) -> Self {
        let label = options.schema.clone().unwrap_or_else(|| dispatcher.program().to_owned());
        let takes_expressions = catalog.formats.contains(FORMAT);
        Worker(Arc::new(Registered { dispatcher, label, options, takes_expressions }))
    }

    /// What SQL calls one of its functions.
    pub(crate) fn qualified(&self, function: &str) -> String {
        match &self.options.schema {
            Some(schema) => format!("{schema}.{function}"),
            None => function.to_owned(),
        }
    }
}

impl Deref for Worker {
    type Target = Registered;

    fn deref(&self) -> &Registered {
        &self.0
    }
}

impl PartialEq for Worker {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Worker {}

impl Hash for Worker {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.0).hash(state);
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Worker").field(&self.0.label).finish()
    }
}
