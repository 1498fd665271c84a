//! Batches and schemas between Python and here, by the Arrow C data interface: memory is shared, not copied.

use arrow::array::{Array, RecordBatch, StructArray};
use arrow::datatypes::SchemaRef;
use arrow::ffi::FFI_ArrowArray;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3_arrow::{PyRecordBatch, PySchema};

use crate::foreign::guarded_batch;

/// A batch on its way to a worker, which Python never looks into.
#[pyclass(frozen, module = "anyudf._native")]
pub(crate) struct Batch(pub(super) RecordBatch);

#[pymethods]
impl Batch {
    #[getter]
    fn schema<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        schema_to_python(py, self.0.schema_ref())
    }

    #[getter]
    fn num_rows(&self) -> usize {
        self.0.num_rows()
    }
}

/// The batch that a Python object is.
///
/// # Errors
/// `ValueError` or `TypeError` when it is none.
pub(super) fn from_python(batch: &Bound<'_, PyAny>) -> PyResult<RecordBatch> {
    match batch.cast::<Batch>() {
        Ok(batch) => Ok(batch.get().0.clone()),
        Err(_) => guarded_batch(&batch.extract::<PyRecordBatch>()?.into_inner()),
    }
}

/// A `pyarrow.RecordBatch` of this `pyarrow.Schema`, which is the batch's.
pub(super) fn to_python<'py>(
    py: Python<'py>,
    batch: RecordBatch,
    schema: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    static IMPORT: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let import = IMPORT.get_or_try_init(py, || {
        let class = py.import("pyarrow")?.getattr("RecordBatch")?;
        class.getattr("_import_from_c").map(Bound::unbind)
    })?;
    let mut array = FFI_ArrowArray::new(&StructArray::from(batch).into_data());
    // What is taken is marked so, and what is not is released here. With its schema it would be read each time.
    import.bind(py).call1((&raw mut array as usize, schema))
}

/// A `pyarrow.Schema`.
pub(super) fn schema_to_python<'py>(py: Python<'py>, schema: &SchemaRef) -> PyResult<Bound<'py, PyAny>> {
    PySchema::new(SchemaRef::clone(schema)).into_pyarrow(py)
}
