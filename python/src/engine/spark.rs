//! For `anyudf.spark`: columns as Spark has them in the types that a function takes, and results in those that Spark takes.
//!
//! Spark has few types, and a literal in its SQL is an `int`: whole numbers and decimals also become narrower ones, each value
//! checked ([`Policy::Fitting`]). The GIL is not held while columns are cast.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyudf_arrow::arguments::{self, Error};
use anyudf_arrow::catalog::{Entry, Kind, arity};
use anyudf_arrow::coerce::{Policy, coerce};
use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, Field, FieldRef, Schema};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3_arrow::PySchema;

use super::batches::{Batch, from_python, schema_to_python, to_python};
use super::catalog::{FunctionInfo, Signature, signature as signature_to_python};
use super::types::{columns, type_name};
use crate::ending::Inside;

/// What is sent to a function of the batches of a partition, all of one schema.
#[pyclass(frozen, module = "anyudf._native")]
pub(crate) struct Arguments {
    function: String,
    plan: arguments::Arguments,
    /// Rows that were given so far.
    rows: AtomicU64,
}

#[pymethods]
impl Arguments {
    /// What to send of batches of `schema` to a function: a `FunctionInfo`, the schema of what it takes, or None if it takes
    /// any columns. Unless the caller has chosen these columns one that takes none is given none of them.
    #[new]
    #[pyo3(signature = (name, function, schema, chosen))]
    fn new(name: String, function: Option<&Bound<'_, PyAny>>, schema: PySchema, chosen: bool) -> PyResult<Self> {
        let function = match function {
            None => Entry::new(&*name, Kind::Scalar),
            Some(function) => match function.cast::<FunctionInfo>() {
                Ok(known) => Entry::clone(&known.get().0),
                Err(_) => {
                    let mut entry = Entry::new(&*name, Kind::Scalar);
                    entry.arguments = Some(function.extract::<PySchema>()?.into_inner());
                    entry
                }
            },
        };
        let schema = schema.into_inner();
        let places: Option<Vec<_>> = chosen.then(|| (0..schema.fields().len()).collect());
        let plan = arguments::Arguments::plan(Some(&function), places.as_deref(), &schema, Policy::Fitting);
        let plan = plan.map_err(|error| PyTypeError::new_err(refusal(&name, &error)))?;
        Ok(Arguments { function: name, plan: plan.named_by_parameters(), rows: AtomicU64::new(0) })
    }

    /// The schema of what is sent.
    #[getter]
    fn schema<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        schema_to_python(py, self.plan.schema())
    }

    /// What is sent of a batch, for `Session.process`.
    fn of(&self, py: Python<'_>, batch: &Bound<'_, PyAny>) -> PyResult<Batch> {
        let _inside = Inside::call()?;
        let batch = from_python(batch)?;
        let first = self.rows.fetch_add(batch.num_rows() as u64, Ordering::Relaxed);
        let sent = py.detach(|| self.plan.of(&batch, first));
        sent.map(Batch).map_err(|error| PyValueError::new_err(refusal(&self.function, &error)))
    }
}

/// The arguments and the result that are meant when columns of this schema are given, as far as they are known.
#[pyfunction]
pub(crate) fn signature<'py>(
    py: Python<'py>,
    function: &Bound<'_, FunctionInfo>,
    schema: PySchema,
) -> PyResult<Signature<'py>> {
    let schema = schema.into_inner();
    let types: Vec<DataType> = schema.fields().iter().map(|field| field.data_type().clone()).collect();
    signature_to_python(py, arguments::signature(&function.get().0, &types, Policy::Fitting))
}

/// What a function returned in the types of these columns, place by place. Its first row is row `first` of the partition's.
#[pyfunction]
pub(crate) fn fit<'py>(
    py: Python<'py>,
    function: &str,
    batch: &Bound<'py, PyAny>,
    schema: PySchema,
    first: u64,
) -> PyResult<Bound<'py, PyAny>> {
    let _inside = Inside::call()?;
    let (batch, wanted) = (from_python(batch)?, schema.into_inner());
    let (returned, taken) = (batch.num_columns(), wanted.fields().len());
    if returned != taken {
        return Err(PyTypeError::new_err(format!(
            "function `{function}` returned {returned} columns ({}), and Spark takes {taken} ({})",
            columns(batch.schema_ref().fields()),
            columns(wanted.fields())
        )));
    }
    for (given, wanted) in batch.schema_ref().fields().iter().zip(wanted.fields()) {
        let (from, to) = (given.data_type(), wanted.data_type());
        if !Policy::Fitting.allows(from, to) {
            let (name, from, to) = (wanted.name(), type_name(from), type_name(to));
            let cure = match (given.data_type(), wanted.data_type()) {
                (DataType::Timestamp(_, None), DataType::Timestamp(_, Some(_))) => {
                    "return times with a zone, or take them as `timestamp_ntz`"
                }
                _ => "say what it returns, or cast it there",
            };
            return Err(PyTypeError::new_err(format!(
                "function `{function}` returned {from} for `{name}`, which Spark takes as {to}, and {from} does not become {to} \
                 by itself; {cure}"
            )));
        }
    }
    let fitted = py.detach(|| {
        let fitted = batch.columns().iter().zip(wanted.fields()).map(|(column, field)| {
            coerce(column, field.data_type()).map_err(|misfit| {
                let (name, to, row) = (field.name(), type_name(field.data_type()), first + misfit.row() as u64);
                format!(
                    "function `{function}` returned for `{name}` what can't become {to}, in row {row} of the partition, \
                     counted from 0: {misfit}"
                )
            })
        });
        let columns = fitted.collect::<Result<Vec<ArrayRef>, String>>()?;
        // Whether there may be nulls is Spark's to say.
        let fields = wanted.fields().iter().map(|field| Field::clone(field).with_nullable(true));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        RecordBatch::try_new(schema, columns).map_err(|error| error.to_string())
    });
    let fitted = fitted.map_err(PyValueError::new_err)?;
    let schema = schema_to_python(py, &fitted.schema())?;
    to_python(py, fitted, &schema)
}

/// Why a function does not take these columns, or their values, in the words of Spark, where columns may have no names.
fn refusal(function: &str, error: &Error) -> String {
    let called = |parameter: &Option<FieldRef>, nth: usize| match parameter {
        Some(parameter) => format!("`{}` of `{function}` (column {})", parameter.name(), nth + 1),
        None => format!("`{function}` (column {})", nth + 1),
    };
    match error {
        Error::Count { parameters, given } => {
            let list = columns(parameters.fields());
            let list = if list.is_empty() { list } else { format!(" ({list})") };
            let (taken, given) = (arity(parameters), given.len());
            let columns = if given == 1 { "column" } else { "columns" };
            format!("function `{function}` takes {taken}{list}, and is given {given} {columns}")
        }
        Error::Type { nth, column, parameter } => format!(
            "function `{function}` takes {} for `{}` (column {}), and is given {}; cast the column to what it takes",
            type_name(parameter.data_type()),
            parameter.name(),
            nth + 1,
            type_name(column.data_type()),
        ),
        Error::Value { nth, row, sent, parameter, misfit, .. } => {
            let (wanted, called) = (type_name(sent.data_type()), called(parameter, *nth));
            format!(
                "a value can't become {wanted} for {called}, in row {row} of the partition, counted from 0: {misfit}"
            )
        }
        Error::Null { nth, row, parameter, .. } => {
            let called = called(parameter, *nth);
            format!("a value is null for {called}, which takes no nulls, in row {row} of the partition, counted from 0")
        }
        error => format!("function `{function}`: {error}"),
    }
}
