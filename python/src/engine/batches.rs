//! Batches and schemas between Python and here, by the Arrow C data interface: memory is shared, not copied.

use std::sync::Mutex;

use arrow::array::{Array, RecordBatch, RecordBatchReader, StructArray};
use arrow::datatypes::SchemaRef;
use arrow::ffi::FFI_ArrowArray;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyCapsule;
use pyo3_arrow::{PyRecordBatch, PyRecordBatchReader, PySchema};

use super::error::Fault;
use crate::ending::Inside;
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

    /// As pyarrow's.
    fn pyarrow<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        to_python(py, self.0.clone(), &schema_to_python(py, self.0.schema_ref())?)
    }
}

/// Batches of a stream, one after the other.
#[pyclass(frozen, module = "anyudf._native")]
pub(crate) struct Reader {
    schema: SchemaRef,
    reader: Mutex<Box<dyn RecordBatchReader + Send>>,
}

#[pymethods]
impl Reader {
    /// Of what `__arrow_c_stream__` has given: that may be the user's code, and is called where no frame of ours is below.
    #[new]
    fn new(stream: &Bound<'_, PyAny>) -> PyResult<Self> {
        let _inside = Inside::call()?;
        let reader = PyRecordBatchReader::from_arrow_pycapsule(stream.cast::<PyCapsule>()?)?.into_reader()?;
        Ok(Reader { schema: reader.schema(), reader: Mutex::new(reader) })
    }

    #[getter]
    fn schema<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        schema_to_python(py, &self.schema)
    }

    fn __iter__(this: Py<Self>) -> Py<Self> {
        this
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<Batch>> {
        let _inside = Inside::call()?;
        // Whoever makes the batches may need the GIL, on whatever thread.
        let next = py.detach(|| {
            let mut reader = self.reader.try_lock().map_err(|_| busy("the stream"))?;
            Ok::<_, Fault>(reader.next())
        });
        let batch = next.map_err(|fault| fault.raise())?.transpose();
        let batch = batch.map_err(|error| PyValueError::new_err(format!("the stream failed: {error}")))?;
        batch.map(|batch| guarded_batch(&batch).map(Batch)).transpose()
    }
}

/// What is said to the second thread that uses what only one may.
pub(super) fn busy(what: &str) -> Fault {
    Fault::misuse("USED_BY_TWO", format!("{what} is being used by another thread; use it from one at a time"))
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
