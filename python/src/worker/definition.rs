//! A Python `Function` as what the core serves.

use std::sync::Arc;
use std::time::Duration;

use anyudf_worker::rows::DataType;
use anyudf_worker::{Definition, Entry, Error, Invocation, Kind, Result};
use arrow::datatypes::{Schema, SchemaRef};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3_arrow::PySchema;

use super::aggregate::Aggregate;
use super::batches::{Map, Table};
use super::errors::{OrError, calls};
use super::held::Held;
use super::invocation::{announce, options};
use super::rows::{Batch, OnError, Rows};
use super::seat::{user_code, watch};

/// A Python function, as far as all its executions have it in common.
pub(crate) struct Told {
    function: Py<PyAny>,
    /// One for each argument, or None: what makes of what Arrow has what the function takes.
    pub(crate) readers: Vec<Option<Py<PyAny>>>,
    /// One for each argument: whether it sees nulls.
    pub(crate) takes_null: Vec<bool>,
    /// What makes of what the function returns what Arrow takes.
    pub(crate) writer: Option<Py<PyAny>>,
    pub(crate) on_error: OnError,
    pub(crate) nulls_are_values: bool,
    pub(crate) result: Option<SchemaRef>,
    /// The type of a value that the function returns, as `pyarrow` has it; None where it yields batches.
    pub(crate) value_type: Py<PyAny>,
}

impl Told {
    fn read(function: &Bound<'_, PyAny>, entry: &Entry) -> PyResult<Self> {
        let on_error: String = function.getattr("on_error")?.extract()?;
        Ok(Told {
            readers: function.getattr("_readers")?.extract()?,
            takes_null: function.getattr("_takes_null")?.extract()?,
            writer: function.getattr("_writer")?.extract()?,
            on_error: match on_error.as_str() {
                "null" => OnError::Null,
                "collect" => OnError::Collect,
                _ => OnError::Fail,
            },
            nulls_are_values: function.getattr("nulls")?.extract::<String>()? == "values",
            result: entry.result.clone(),
            value_type: function.getattr("_value_type")?.unbind(),
            function: function.clone().unbind(),
        })
    }

    /// What is called, with the options of this execution.
    fn bind(&self, py: Python<'_>, invocation: &Invocation) -> Result<Py<PyAny>> {
        announce(py, invocation)?;
        let bind = || self.function.bind(py).call_method1("_bound", (options(py, invocation)?,));
        Ok(bind().or_error(py)?.unbind())
    }

    /// For which argument a column is: the last is for all that follow.
    pub(crate) fn argument(&self, column: usize) -> usize {
        column.min(self.takes_null.len().saturating_sub(1))
    }

    /// The type of the one column of the result.
    pub(crate) fn result_type(&self) -> &DataType {
        self.result.as_ref().map_or(&DataType::Null, |result| result.field(0).data_type())
    }
}

/// What the core serves.
///
/// # Errors
/// When it is no `anyudf.Function`.
pub(crate) fn define(py: Python<'_>, function: &Bound<'_, PyAny>) -> PyResult<Definition> {
    let entry = entry(function)?;
    let kind: String = function.getattr("kind")?.extract()?;
    let told = Arc::new(Told::read(function, &entry)?);
    // Before the first execution, which would wait for it within its time.
    calls(py)?;
    let (name, catalogued) = (entry.name.clone(), entry.kind);
    let definition = match kind.as_str() {
        "scalar" => Definition::new(name, catalogued, opener(told, Rows::open)),
        "batch" => Definition::new(name, catalogued, opener(told, Batch::open)),
        "aggregate" => Definition::new(name, catalogued, opener(told, Aggregate::open)),
        "map" => Definition::pulled(name, catalogued, opener(told, Map::open)),
        _ => Definition::new(name, catalogued, opener(told, Table::open)),
    };
    Ok(definition.with_entry(entry))
}

/// A function that is being opened.
pub(crate) struct Opened {
    pub(crate) told: Arc<Told>,
    /// What is called, with the options of this execution.
    pub(crate) call: Py<PyAny>,
}

/// What opens an execution: user code that binds options, then `open` with what came of it.
fn opener<F: 'static>(
    told: Arc<Told>,
    open: fn(Held<Opened>, &Invocation) -> Result<F>,
) -> impl Fn(&Invocation) -> Result<F> + Send + Sync + 'static {
    move |invocation| {
        watch(&invocation.cancellation());
        let call = user_code(|py| told.bind(py, invocation))?;
        open(Held::new(Opened { told: Arc::clone(&told), call }), invocation)
    }
}

fn entry(function: &Bound<'_, PyAny>) -> PyResult<Entry> {
    let told = function.call_method0("_entry")?;
    let text = |name: &str| told.get_item(name)?.extract::<String>();
    let schema = |name: &str| -> PyResult<Option<SchemaRef>> {
        Ok(told.get_item(name)?.extract::<Option<PySchema>>()?.map(PySchema::into_inner))
    };
    let kind: Kind = text("kind")?.parse().map_err(|wrong| PyTypeError::new_err(format!("{wrong}")))?;
    let mut entry = Entry::new(text("name")?, kind);
    entry.arguments = schema("arguments")?;
    entry.result = schema("result")?;
    entry.aliases = told.get_item("aliases")?.extract()?;
    entry.volatility = text("volatility")?.parse().map_err(|wrong| PyTypeError::new_err(format!("{wrong}")))?;
    entry.repeatable = told.get_item("repeatable")?.extract()?;
    let timeout: Option<f64> = told.get_item("timeout")?.extract()?;
    entry.timeout = timeout.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    entry.help = text("help")?;
    entry.examples = told.get_item("examples")?.extract()?;
    entry.version = text("version")?;
    Ok(entry)
}

/// The columns that a function gives whose result follows from its input: those that the engine wants, or the input's.
///
/// # Errors
/// When the engine says neither.
pub(crate) fn result_of(told: &Told, invocation: &Invocation) -> Result<SchemaRef> {
    if let Some(result) = &told.result {
        return Ok(Arc::clone(result));
    }
    let schema: Option<Arc<Schema>> = match invocation.output_schema()? {
        Some(wanted) => Some(wanted),
        None => invocation.input_schema()?,
    };
    schema.ok_or_else(|| {
        let text = "Init.input_schema or Init.output_schema is needed: the result has the columns of the input (C9)";
        Error::protocol("MISSING_FIELD", text)
    })
}
