//! What workers offer, for Python.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyudf_arrow::arguments;
use anyudf_arrow::catalog::{Entry, Kind, Overload, Volatility, arguments_for};
use anyudf_arrow::coerce::Policy;
use anyudf_engine::Catalog;
use arrow::datatypes::{DataType, Schema, SchemaRef};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3_arrow::{PyDataType, PySchema};

use super::batches::schema_to_python;
use super::types::columns;

/// A function as its worker describes it.
///
/// `name`, `aliases`, `kind` ("scalar", "map", "table" or "aggregate"); `arguments` and `result`, schemas, or None where any
/// columns are taken and where the result depends on them; `overloads`, other pairs of these; `volatility` ("immutable",
/// "stable" or "volatile"), `repeatable`, `timeout` in seconds; `help`, `examples` and `version`, for people.
#[pyclass(frozen, module = "anyudf")]
#[derive(Clone, Debug)]
pub(crate) struct FunctionInfo(pub(super) Arc<Entry>);

/// Functions and payload formats.
pub(super) fn to_python(catalog: &Catalog) -> (Vec<FunctionInfo>, BTreeSet<String>) {
    let functions = catalog.functions.iter().cloned().map(|entry| FunctionInfo(Arc::new(entry)));
    (functions.collect(), catalog.formats.clone())
}

pub(super) type Signature<'py> = (Option<Bound<'py, PyAny>>, Option<Bound<'py, PyAny>>);

#[pymethods]
impl FunctionInfo {
    #[new]
    #[pyo3(signature = (name, kind, arguments=None, result=None, *, overloads=Vec::new(), aliases=Vec::new(), volatility="volatile",
                        repeatable=false, timeout=None, help="", examples=Vec::new(), version=""))]
    #[expect(clippy::too_many_arguments, reason = "they are keywords")]
    fn new(
        name: &str,
        kind: &str,
        arguments: Option<PySchema>,
        result: Option<PySchema>,
        overloads: Vec<(PySchema, PySchema)>,
        aliases: Vec<String>,
        volatility: &str,
        repeatable: bool,
        timeout: Option<f64>,
        help: &str,
        examples: Vec<String>,
        version: &str,
    ) -> PyResult<Self> {
        let kind: Kind = kind.parse().map_err(unknown)?;
        let mut entry = Entry::new(name, kind);
        entry.arguments = arguments.map(PySchema::into_inner);
        entry.result = result.map(PySchema::into_inner);
        let overload = |(arguments, result): (PySchema, PySchema)| Overload {
            arguments: arguments.into_inner(),
            result: result.into_inner(),
        };
        entry.overloads = overloads.into_iter().map(overload).collect();
        entry.aliases = aliases;
        entry.volatility = volatility.parse::<Volatility>().map_err(unknown)?;
        entry.repeatable = repeatable;
        entry.timeout = timeout.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        entry.help = help.into();
        entry.examples = examples;
        entry.version = version.into();
        Ok(FunctionInfo(Arc::new(entry)))
    }

    #[getter]
    fn name(&self) -> &str {
        &self.0.name
    }

    #[getter]
    fn aliases(&self) -> Vec<String> {
        self.0.aliases.clone()
    }

    #[getter]
    fn kind(&self) -> &'static str {
        self.0.kind.name()
    }

    #[getter]
    fn arguments<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.0.arguments.as_ref().map(|schema| schema_to_python(py, schema)).transpose()
    }

    #[getter]
    fn result<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.0.result.as_ref().map(|schema| schema_to_python(py, schema)).transpose()
    }

    #[getter]
    fn overloads<'py>(&self, py: Python<'py>) -> PyResult<Vec<Signature<'py>>> {
        let pair = |overload: &Overload| signature(py, (Some(&overload.arguments), Some(&overload.result)));
        self.0.overloads.iter().map(pair).collect()
    }

    #[getter]
    fn volatility(&self) -> &'static str {
        self.0.volatility.name()
    }

    /// Whether an engine may run it again when its worker has crashed.
    #[getter]
    fn repeatable(&self) -> bool {
        self.0.is_repeatable()
    }

    #[getter]
    fn timeout(&self) -> Option<f64> {
        self.0.timeout.map(|timeout| timeout.as_secs_f64())
    }

    #[getter]
    fn help(&self) -> &str {
        &self.0.help
    }

    #[getter]
    fn examples(&self) -> Vec<String> {
        self.0.examples.clone()
    }

    #[getter]
    fn version(&self) -> &str {
        &self.0.version
    }

    /// The arguments and the result that are meant when a session is given columns of these types, as far as they are known.
    fn signature_for<'py>(&self, py: Python<'py>, types: Vec<PyDataType>) -> PyResult<Signature<'py>> {
        let types: Vec<DataType> = types.into_iter().map(PyDataType::into_inner).collect();
        signature(py, arguments::signature(&self.0, &types, Policy::Widening))
    }

    /// The argument that each of so many columns is for; None when it does not take so many, or takes any columns.
    fn arguments_for<'py>(&self, py: Python<'py>, columns: usize) -> PyResult<Option<Bound<'py, PyAny>>> {
        let fields = self.0.arguments.as_ref().and_then(|arguments| {
            let fields = arguments_for(arguments, columns)?;
            Some(fields.into_iter().cloned().collect::<Vec<_>>())
        });
        fields.map(|fields| schema_to_python(py, &Arc::new(Schema::new(fields)))).transpose()
    }

    fn __repr__(&self) -> String {
        let arguments = self.0.arguments.as_ref();
        let arguments = arguments.map_or_else(|| "*columns".to_owned(), |arguments| columns(arguments.fields()));
        let result =
            self.0.result.as_ref().map(|result| format!(" -> {}", columns(result.fields()))).unwrap_or_default();
        format!("<{} {}({arguments}){result}>", self.0.kind, self.0.name)
    }
}

pub(super) fn signature<'py>(
    py: Python<'py>,
    (arguments, result): (Option<&SchemaRef>, Option<&SchemaRef>),
) -> PyResult<Signature<'py>> {
    let schema = |schema: Option<&SchemaRef>| schema.map(|schema| schema_to_python(py, schema)).transpose();
    Ok((schema(arguments)?, schema(result)?))
}

fn unknown(word: impl std::fmt::Display) -> PyErr {
    PyValueError::new_err(word.to_string())
}
