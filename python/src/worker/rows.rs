//! Scalar functions: over rows, with values, and over whole arrays.
//!
//! What surrounds the calls of a function over rows is done without the GIL or in C: rows with nulls are taken out before
//! values become Python's and put back behind the results, and the loop is the interpreter's own `map`.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyudf_worker::rows::Rows as Whole;
use anyudf_worker::{Error, Function, Invocation, Nulls, Output, Result};
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, StructArray, UInt32Array, new_null_array};
use arrow::buffer::NullBuffer;
use arrow::compute::{filter, take};
use arrow::datatypes::{DataType, SchemaRef};
use pyo3::exceptions::PyException;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyTuple};

use super::arrays::{alike, from_python, to_pyarrow};
use super::definition::{Opened, Told};
use super::errors::{OrError, calls};
use super::held::Held;
use super::read::list_of;
use super::seat::user_code;
use super::write::column_of;

/// What becomes of a row that fails.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnError {
    Fail,
    Null,
    Collect,
}

/// A function that is called for each row.
pub(crate) struct Rows {
    user: Held<Opened>,
    schema: SchemaRef,
}

impl Rows {
    pub(crate) fn open(user: Held<Opened>, _: &Invocation) -> Result<Self> {
        Ok(Rows { schema: result(&user.told)?, user })
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ArrayRef> {
        let called = Called::of(&self.user.told, batch)?;
        let results = user_code(|py| {
            let called_for = || {
                let (columns, unread) = match self.user.told.on_error {
                    OnError::Fail => (called.columns(py, &self.user.told)?, Unread::new()),
                    OnError::Null | OnError::Collect => called.columns_apart(py, &self.user.told)?,
                };
                self.call(py, &columns, called.rows, unread)
            };
            called_for().map_err(|error| called.place(py, error))
        });
        called.spread(results?, batch.num_rows(), self.user.told.on_error)
    }

    /// The results for the rows that are called.
    fn call(&self, py: Python<'_>, columns: &Bound<'_, PyList>, rows: usize, unread: Unread) -> PyResult<ArrayRef> {
        let calls = calls(py)?;
        let writer = self.user.told.writer.as_ref().map(|writer| writer.bind(py));
        let kind = self.user.told.value_type.bind(py);
        let result = self.user.told.result_type();
        let value = match (self.user.told.on_error, result) {
            (OnError::Collect, DataType::Struct(fields)) => fields[0].data_type(),
            _ => result,
        };
        if self.user.told.on_error == OnError::Fail {
            let results = calls.call_method1("each", (&self.user.call, columns, rows))?;
            if writer.is_none()
                && let Ok(results) = results.cast::<PyList>()
                && let Some(column) = column_of(results, value)
            {
                return Ok(column);
            }
            return from_python(&calls.call_method1("array", (results, kind, writer))?);
        }
        let unread: BTreeMap<_, _> = unread.into_iter().map(|(row, error)| (row, error.into_value(py))).collect();
        let apart =
            calls.call_method1("each_apart", (&self.user.call, columns, rows, unread))?.cast_into::<PyTuple>()?;
        let (values, errors) = (apart.get_item(0)?, apart.get_item(1)?);
        let values = from_python(&calls.call_method1("apart", (values, &errors, kind, writer))?)?;
        match result {
            DataType::Struct(fields) if self.user.told.on_error == OnError::Collect => {
                let errors = from_python(&calls.call_method1("texts", (errors,))?)?;
                let both = StructArray::try_new(fields.clone(), vec![values, errors], None);
                Ok(Arc::new(both.map_err(|error| pyo3::exceptions::PyValueError::new_err(error.to_string()))?))
            }
            _ => Ok(values),
        }
    }
}

impl Function for Rows {
    fn output_schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn process(&mut self, batch: RecordBatch, out: &mut Output<'_>) -> Result<()> {
        let column = alike(self.evaluate(&batch)?, self.user.told.result_type())?;
        out.emit(RecordBatch::try_new(Arc::clone(&self.schema), vec![column])?)
    }
}

/// Rows with a value that Python does not have, or that the function's type can't be made of.
type Unread = BTreeMap<usize, PyErr>;

/// The rows of a batch that a function is called for.
pub(super) struct Called {
    columns: Vec<ArrayRef>,
    pub(super) rows: usize,
    /// Those of the batch; `None` when it is called for all.
    valid: Option<NullBuffer>,
}

impl Called {
    pub(super) fn of(told: &Told, batch: &RecordBatch) -> Result<Self> {
        let columns = batch.columns().iter().enumerate();
        let asked = columns.filter(|(place, _)| !told.takes_null[told.argument(*place)]);
        let nulls: Vec<_> = asked.map(|(_, column)| column.logical_nulls()).collect();
        let valid = NullBuffer::union_many(nulls.iter().map(Option::as_ref)).filter(|valid| valid.null_count() > 0);
        let columns = match &valid {
            None => batch.columns().to_vec(),
            Some(valid) => {
                let kept = BooleanArray::new(valid.inner().clone(), None);
                batch.columns().iter().map(|column| filter(column, &kept)).collect::<Result<_, _>>()?
            }
        };
        let rows = valid.as_ref().map_or(batch.num_rows(), |valid| valid.len() - valid.null_count());
        Ok(Called { columns, rows, valid })
    }

    /// A list of values for each column. An exception is told which row it was.
    pub(super) fn columns<'py>(&self, py: Python<'py>, told: &Told) -> PyResult<Bound<'py, PyList>> {
        let (lists, unread) = self.columns_apart(py, told)?;
        let Some((row, error)) = unread.into_iter().next() else { return Ok(lists) };
        // What has no such attribute is told without it.
        let _ = error.value(py).setattr("anyudf_row", row);
        Err(error)
    }

    /// The same, where a value that can't be read is None, and its row's exception is told beside.
    fn columns_apart<'py>(&self, py: Python<'py>, told: &Told) -> PyResult<(Bound<'py, PyList>, Unread)> {
        let (lists, mut unread) = (PyList::empty(py), Unread::new());
        for (place, column) in self.columns.iter().enumerate() {
            let read = |column: &ArrayRef| match values(py, told, place, column) {
                Ok(list) => Ok(Ok(list)),
                Err(error) if error.is_instance_of::<PyException>(py) => Ok(Err(error)),
                Err(error) => Err(error),
            };
            if let Ok(list) = read(column)? {
                lists.append(list)?;
                continue;
            }
            let list = PyList::empty(py);
            for row in 0..self.rows {
                match read(&column.slice(row, 1))? {
                    Ok(one) => list.append(one.get_item(0)?)?,
                    Err(error) => {
                        list.append(py.None())?;
                        unread.entry(row).or_insert(error);
                    }
                }
            }
            lists.append(list)?;
        }
        Ok((lists, unread))
    }

    /// An exception, told of a row of the batch.
    pub(super) fn place(&self, py: Python<'_>, exception: PyErr) -> Error {
        if let (Some(valid), Ok(row)) = (&self.valid, exception.value(py).getattr("anyudf_row"))
            && let Ok(row) = row.extract::<usize>()
            && let Some(row) = valid.inner().set_indices().nth(row)
        {
            // What has no such attribute has told no row before.
            let _ = exception.value(py).setattr("anyudf_row", row);
        }
        super::errors::error(py, exception)
    }

    /// The results in their rows of the batch.
    fn spread(&self, results: ArrayRef, rows: usize, on_error: OnError) -> Result<ArrayRef> {
        let Some(valid) = &self.valid else { return Ok(results) };
        if let (OnError::Collect, Some(both)) = (on_error, results.as_struct_opt()) {
            // In a row that was not called both are null, and the row is not.
            let columns = both.columns().iter().map(|column| spread(column, valid, rows));
            let (columns, fields) = (columns.collect::<Result<_>>()?, both.fields().clone());
            return Ok(Arc::new(StructArray::try_new(fields, columns, None)?));
        }
        spread(&results, valid, rows)
    }
}

/// What the function takes of a column.
fn values<'py>(py: Python<'py>, told: &Told, place: usize, column: &ArrayRef) -> PyResult<Bound<'py, PyAny>> {
    let list = list_of(py, column)?;
    match &told.readers[told.argument(place)] {
        Some(reader) => calls(py)?.call_method1("converted", (reader, list)),
        None => Ok(list.into_any()),
    }
}

/// A value for each valid row, in order, and null in the others.
fn spread(results: &ArrayRef, valid: &NullBuffer, rows: usize) -> Result<ArrayRef> {
    if results.is_empty() {
        return Ok(new_null_array(results.data_type(), rows));
    }
    let mut next = 0;
    let places = valid.iter().map(|is_valid| {
        let place = next;
        next += u32::from(is_valid);
        place
    });
    let places = UInt32Array::new(places.collect(), Some(valid.clone()));
    Ok(take(results, &places, None)?)
}

/// The one column of the result.
fn result(told: &Told) -> Result<SchemaRef> {
    let result = told.result.as_ref().ok_or_else(|| Error::user("the type of its result is not known"))?;
    Ok(Arc::clone(result))
}

/// A function that is called for each batch, with whole arrays.
pub(crate) struct Batch {
    user: Held<Opened>,
    schema: SchemaRef,
}

impl Batch {
    pub(crate) fn open(user: Held<Opened>, _: &Invocation) -> Result<Self> {
        Ok(Batch { schema: result(&user.told)?, user })
    }
}

impl Function for Batch {
    fn output_schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn process(&mut self, batch: RecordBatch, out: &mut Output<'_>) -> Result<()> {
        let wanted = self.user.told.result_type();
        let column = user_code(|py| {
            let call = || {
                let arrays = batch.columns().iter().map(|column| to_pyarrow(py, column));
                let arrays = PyTuple::new(py, arrays.collect::<PyResult<Vec<_>>>()?)?;
                let result = self.user.call.bind(py).call1(arrays)?;
                from_python(&calls(py)?.call_method1("whole", (result, &self.user.told.value_type))?)
            };
            call().or_error(py)
        })?;
        let nulls = if self.user.told.nulls_are_values { Nulls::AreValues } else { Nulls::GiveNull };
        let column = alike(column, wanted)?;
        let column = Whole::of(batch.columns(), batch.num_rows()).whole(column, nulls)?;
        out.emit(RecordBatch::try_new(Arc::clone(&self.schema), vec![column])?)
    }
}
