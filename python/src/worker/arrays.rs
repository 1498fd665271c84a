//! Arrays from and to Python, by Arrow's C interface: none is copied.

use std::collections::HashSet;
use std::ptr::NonNull;
use std::sync::Arc;

use anyudf_worker::{Error, Result};
use arrow::alloc::Allocation;
use arrow::array::{Array, ArrayData, ArrayRef, RecordBatch, RecordBatchOptions, make_array};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Fields, SchemaRef};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3_arrow::{PyArray, PyRecordBatch, PyTable};

use super::errors::OrError;
use super::seat::drop_elsewhere;

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

fn guarded_batch(batch: &RecordBatch) -> PyResult<RecordBatch> {
    let columns = batch.columns().iter().map(guarded).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    let again = RecordBatch::try_new_with_options(batch.schema(), columns, &options);
    again.map_err(|error| pyo3::exceptions::PyValueError::new_err(error.to_string()))
}

/// Memory that Python gives back.
struct Foreign(Option<ArrayData>);

impl Drop for Foreign {
    fn drop(&mut self) {
        if let Some(data) = self.0.take() {
            drop_elsewhere(Box::new(data));
        }
    }
}

/// The same array. Whoever lets it go last, which may be the thread that does all I/O, does not wait for the GIL.
fn guarded(array: &ArrayRef) -> ArrayRef {
    let data = array.to_data();
    let owner: Arc<dyn Allocation> = Arc::new(Foreign(Some(data.clone())));
    make_array(owned_by(&data, &owner))
}

fn owned_by(data: &ArrayData, owner: &Arc<dyn Allocation>) -> ArrayData {
    let buffer = |buffer: &Buffer| {
        let bytes = NonNull::from(buffer.as_slice()).cast();
        // SAFETY: the owner holds the array, and so these bytes.
        unsafe { Buffer::from_custom_allocation(bytes, buffer.len(), Arc::clone(owner)) }
    };
    let nulls = data.nulls().map(|nulls| {
        let bits = BooleanBuffer::new(buffer(nulls.buffer()), nulls.offset(), nulls.len());
        // SAFETY: it is the count of these very bits.
        unsafe { NullBuffer::new_unchecked(bits, nulls.null_count()) }
    });
    let builder = ArrayData::builder(data.data_type().clone())
        .len(data.len())
        .offset(data.offset())
        .buffers(data.buffers().iter().map(buffer).collect())
        .nulls(nulls)
        .child_data(data.child_data().iter().map(|child| owned_by(child, owner)).collect());
    // SAFETY: it is what it was, in all but who owns its buffers.
    unsafe { builder.build_unchecked() }
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
