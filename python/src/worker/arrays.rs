//! Arrays from and to Python, by Arrow's C interface: none is copied.

use std::collections::HashSet;
use std::sync::Arc;

use anyudf_worker::{Error, Result};
use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Fields, SchemaRef};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3_arrow::{PyArray, PyRecordBatch, PyTable};

use super::errors::OrError;
use crate::foreign::{guarded, guarded_batch};

/// An array that Python made. Its memory is given back where nobody waits for the GIL that this may need.
pub(crate) fn from_python(array: &Bound<'_, PyAny>) -> PyResult<ArrayRef> {
    let (array, _) = array.extract::<PyArray>()?.into_inner();
    Ok(guarded(&array))
}

/// Batches that Python made: a batch, a table, or whatever has one of Arrow's interfaces.
pub(crate) fn batches_from_python(batches: &Bound<'_, PyAny>) -> PyResult<Vec<RecordBatch>> {
    let batches = if batches.hasattr("__arrow_c_array__")? {
        vec![batches.extract::<PyRecordBatch>()?.into_inner()]
    } else {
        batches.extract::<PyTable>()?.into_inner().0
    };
    batches.into_iter().map(|batch| guarded_batch(&batch)).collect()
}

/// A `pyarrow.Array` of this.
pub(crate) fn to_pyarrow<'py>(py: Python<'py>, array: &ArrayRef) -> PyResult<Bound<'py, PyAny>> {
    let array = Bound::new(py, PyArray::from_array_ref(Arc::clone(array)))?;
    py.import(intern!(py, "pyarrow"))?.getattr(intern!(py, "array"))?.call1((array,))
}

/// A `pyarrow.RecordBatch` of this.
pub(crate) fn batch_to_pyarrow<'py>(py: Python<'py>, batch: RecordBatch) -> PyResult<Bound<'py, PyAny>> {
    PyRecordBatch::new(batch).into_pyarrow(py)
}

/// The array as one of `wanted`, where it is text or bytes of another layout, as other libraries have them.
///
/// # Errors
/// `WRONG_RESULT_TYPE`.
pub(crate) fn alike(array: ArrayRef, wanted: &DataType) -> Result<ArrayRef> {
    use DataType::{Binary, BinaryView, LargeBinary, LargeUtf8, Utf8, Utf8View};
    let given = array.data_type();
    if given.equals_datatype(wanted) {
        return Ok(array);
    }
    match (given, wanted) {
        (Utf8 | LargeUtf8 | Utf8View, Utf8 | LargeUtf8 | Utf8View)
        | (Binary | LargeBinary | BinaryView, Binary | LargeBinary | BinaryView) => Ok(cast(&array, wanted)?),
        _ => {
            let text = format!("the function declares {wanted} and returned {given}");
            Err(Error::user(text).with_class("WRONG_RESULT_TYPE"))
        }
    }
}

/// The batch with the columns of `schema`: by name, where its names are those, and by place where none of them is.
///
/// # Errors
/// `WRONG_RESULT_TYPE`.
pub(crate) fn fitted(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    if batch.num_columns() != schema.fields().len() {
        let (gives, wants) = (batch.num_columns(), schema.fields().len());
        let text = format!("the function yielded a batch of {gives} columns, and its result has {wants}");
        return Err(Error::user(text).with_class("WRONG_RESULT_TYPE"));
    }
    let columns = in_order(batch, schema)?;
    let fitted = columns.into_iter().zip(schema.fields()).map(|(column, field)| {
        alike(Arc::clone(column), field.data_type()).map_err(|error| {
            let text = format!("column `{}`: {error}", field.name());
            Error::user(text).with_class("WRONG_RESULT_TYPE")
        })
    });
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    let columns = fitted.collect::<Result<Vec<_>>>()?;
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?)
}

fn in_order<'a>(batch: &'a RecordBatch, schema: &SchemaRef) -> Result<Vec<&'a ArrayRef>> {
    let by_place = || batch.columns().iter().collect();
    let given = batch.schema_ref().fields();
    let names = |fields: &Fields| fields.iter().map(|field| field.name().clone()).collect::<HashSet<_>>();
    let (has, wants) = (names(given), names(schema.fields()));
    let same = given.iter().zip(schema.fields()).all(|(given, wanted)| given.name() == wanted.name());
    // Names that repeat say nothing.
    if same || has.len() < given.len() || wants.len() < schema.fields().len() || has.is_disjoint(&wants) {
        return Ok(by_place());
    }
    let columns = schema.fields().iter().map(|field| {
        batch.column_by_name(field.name()).ok_or_else(|| {
            let there: Vec<_> = given.iter().map(|field| field.name().as_str()).collect();
            let text = format!("the function yielded the columns {}, and no `{}`", there.join(", "), field.name());
            Error::user(text).with_class("WRONG_RESULT_TYPE")
        })
    });
    columns.collect()
}

/// As [`batches_from_python`], in the words of the worker.
pub(crate) fn yielded(py: Python<'_>, item: &Bound<'_, PyAny>) -> Result<Vec<RecordBatch>> {
    let has = |name| item.hasattr(name).or_error(py);
    if !has("__arrow_c_array__")? && !has("__arrow_c_stream__")? {
        let name = item.get_type().name().map(|name| name.to_string()).unwrap_or_default();
        let text = format!("the function yields batches, and yielded {name}");
        return Err(Error::user(text).with_class("WRONG_RESULT_TYPE"));
    }
    batches_from_python(item).or_error(py)
}
