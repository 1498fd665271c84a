//! What a worker says about a function, and how it is opened.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use anyudf_arrow::catalog::{Entry, Overload};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use crate::adapter::adapt;
use crate::arguments;
use crate::error::Result;
use crate::function::{AnyFunction, Function};
use crate::invocation::Invocation;
use crate::pulled::{AnyPulled, Body, PulledFunction};
use crate::raw::Opened;

pub use anyudf_arrow::catalog::{Kind, Volatility};

/// A function over batches that is open.
type Batches = Body<dyn AnyFunction, dyn AnyPulled>;

type Open = dyn Fn(&Invocation) -> Result<Batches> + Send + Sync;

/// A function under its name: what the catalog shows of it, and how an execution is opened.
///
/// Made by [`Definition::new`] from a [`Function`], or by [`scalar`](crate::scalar) and [`map`](crate::map) from a
/// closure.
#[derive(Clone)]
pub struct Definition {
    entry: Entry,
    open: Arc<Open>,
}

impl Definition {
    /// A function whose executions `open` opens: a constructor, or a closure that holds what all executions share, such
    /// as a model. It sees everything in Init (R18), runs on the thread of the execution, and what it returns as an
    /// error is what InitResponse says (R4).
    pub fn new<F: Function>(
        name: impl Into<String>,
        kind: Kind,
        open: impl Fn(&Invocation) -> Result<F> + Send + Sync + 'static,
    ) -> Self {
        let open = move |invocation: &Invocation| -> Result<Batches> { Ok(Body::Pushed(Box::new(open(invocation)?))) };
        Definition { entry: Entry::new(name, kind), open: Arc::new(open) }
    }

    /// The same for a function that asks for its input.
    pub fn pulled<F: PulledFunction>(
        name: impl Into<String>,
        kind: Kind,
        open: impl Fn(&Invocation) -> Result<F> + Send + Sync + 'static,
    ) -> Self {
        let open = move |invocation: &Invocation| -> Result<Batches> { Ok(Body::Pulled(Box::new(open(invocation)?))) };
        Definition { entry: Entry::new(name, kind), open: Arc::new(open) }
    }

    /// One function with several signatures, which are `first`, under whose name it goes, and `others`. An execution is one of
    /// the first that takes the columns of its input as they are; what is said of a function beside its signature is said of
    /// all of them together.
    ///
    /// `#[udf(types = […])]` makes such a function of a generic one.
    pub fn overloaded(first: Definition, others: impl IntoIterator<Item = Definition>) -> Self {
        let signatures: Arc<[Definition]> = std::iter::once(first).chain(others).collect();
        let mut entry = signatures[0].entry.clone();
        let told = signatures[1..].iter().map(|one| (one.entry.arguments.clone(), one.entry.result.clone()));
        let told = told.filter_map(|(arguments, result)| Some(Overload { arguments: arguments?, result: result? }));
        entry.overloads.extend(told);
        let open = move |invocation: &Invocation| {
            let one = match invocation.input_schema()? {
                Some(columns) => signatures.iter().find(|one| arguments::check(&one.entry, &columns).is_ok()),
                // The data will bring it, and then it is too late.
                None => None,
            };
            one.unwrap_or(&signatures[0]).body(invocation)
        };
        Definition { entry, open: Arc::new(open) }
    }

    /// The same with these columns as arguments, in this order. Unset, any columns are taken.
    pub fn arguments<N: Into<String>>(mut self, arguments: impl IntoIterator<Item = (N, DataType)>) -> Self {
        self.entry.arguments = Some(schema_of(arguments));
        self
    }

    /// The same with these columns as result. Unset, the result depends on the input.
    pub fn returns<N: Into<String>>(mut self, columns: impl IntoIterator<Item = (N, DataType)>) -> Self {
        self.entry.result = Some(schema_of(columns));
        self
    }

    /// The same with what is known of its arguments and its result.
    pub(crate) fn fields(mut self, arguments: Option<Vec<Field>>, result: Option<SchemaRef>) -> Self {
        self.entry.arguments = arguments.map(|arguments| Arc::new(Schema::new(arguments)) as SchemaRef);
        self.entry.result = result;
        self
    }

    /// The same, told in the catalogue as this entry tells.
    pub fn with_entry(mut self, entry: Entry) -> Self {
        self.entry = entry;
        self
    }

    /// The same with one line of help.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.entry.help = help.into();
        self
    }

    /// The same with other names that a payload may call it by. A function of that name comes before an alias.
    pub fn aliases<N: Into<String>>(mut self, aliases: impl IntoIterator<Item = N>) -> Self {
        self.entry.aliases = aliases.into_iter().map(Into::into).collect();
        self
    }

    /// The same with a promise about its results. Unset, nothing is assumed: [`Volatility::Volatile`].
    pub fn volatility(mut self, volatility: Volatility) -> Self {
        self.entry.volatility = volatility;
        self
    }

    /// The same with a limit for each call into an open function: `start`, a batch, `finish`, `cancel` (C11). Waiting in `out`
    /// or for input does not count. Of this and the engine's the smaller one holds; a call that takes longer fails, and its
    /// worker is not used again.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.entry.timeout = Some(timeout);
        self
    }

    /// The same with the promise that an engine may run it again, from its beginning, when its worker has crashed. One that
    /// is immutable or stable may be without saying so.
    pub fn repeatable(mut self) -> Self {
        self.entry.repeatable = true;
        self
    }

    /// The same with examples for people: calls and what they give, such as `fahrenheit(100.0) = 212.0`.
    pub fn examples<T: Into<String>>(mut self, examples: impl IntoIterator<Item = T>) -> Self {
        self.entry.examples = examples.into_iter().map(Into::into).collect();
        self
    }

    /// The same with a version of the function, in whatever scheme its author has.
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.entry.version = version.into();
        self
    }

    /// The name that a payload calls it by.
    pub fn name(&self) -> &str {
        &self.entry.name
    }

    /// What it does with rows.
    pub fn kind(&self) -> Kind {
        self.entry.kind
    }

    /// Names and types of its arguments; `None` when it takes any columns.
    pub fn argument_schema(&self) -> Option<&SchemaRef> {
        self.entry.arguments.as_ref()
    }

    /// Its result; `None` when it depends on the input.
    pub fn result_schema(&self) -> Option<&SchemaRef> {
        self.entry.result.as_ref()
    }

    /// One line of help.
    pub fn help_text(&self) -> &str {
        &self.entry.help
    }

    /// The function's version.
    pub fn version_text(&self) -> &str {
        &self.entry.version
    }

    /// All that the catalog says of it.
    pub fn entry(&self) -> &Entry {
        &self.entry
    }

    /// Opens an execution over bytes: for payload formats whose payload has the function in it, see
    /// [`Worker::with_format`](crate::Worker::with_format).
    ///
    /// # Errors
    /// What InitResponse will say (R4): columns that are not its arguments, a result that is not what the engine asked for,
    /// and what the function itself says.
    pub fn open(&self, invocation: &Invocation) -> Result<Opened> {
        adapt(self, invocation)
    }

    /// Opens the function itself. Its arguments are the caller's to check.
    pub(crate) fn body(&self, invocation: &Invocation) -> Result<Batches> {
        (self.open)(invocation)
    }
}

fn schema_of<N: Into<String>>(columns: impl IntoIterator<Item = (N, DataType)>) -> SchemaRef {
    let field = |(name, data_type): (N, DataType)| Field::new(name.into(), data_type, true);
    Arc::new(Schema::new(columns.into_iter().map(field).collect::<Vec<_>>()))
}

impl fmt::Debug for Definition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Definition").field("entry", &self.entry).finish_non_exhaustive()
    }
}

/// What [`Worker::with`](crate::Worker::with) takes.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a function that a worker can serve",
    label = "build one with `scalar(…)…over(…)`, `map(…)…over(…)` or `Definition::new(…)`"
)]
pub trait IntoDefinition {
    /// The function under its name.
    fn into_definition(self) -> Definition;
}

impl IntoDefinition for Definition {
    fn into_definition(self) -> Definition {
        self
    }
}
