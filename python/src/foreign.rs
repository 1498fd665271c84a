//! Memory that Python made, which may be given back on any thread of ours.
//!
//! Giving it back may take the GIL, and run destructors of the user's. The threads that do I/O must wait for neither, so what they
//! let go last goes to a thread of its own.

use std::ptr::{NonNull, null_mut};
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Arc, mpsc};

use arrow::alloc::Allocation;
use arrow::array::{Array, ArrayData, ArrayRef, RecordBatch, RecordBatchOptions, make_array};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer};
use pyo3::PyResult;

use crate::ending::Inside;

/// The same batch. Whoever lets it go last does not wait for the GIL. That costs a microsecond or two a column, however long it
/// is: a fiftieth of what a small batch costs on its way through a worker, and less of a large one.
///
/// # Errors
/// `ValueError` when it is none: its columns do not fit together.
pub(crate) fn guarded_batch(batch: &RecordBatch) -> PyResult<RecordBatch> {
    let columns = guarded_all(batch.columns());
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    let again = RecordBatch::try_new_with_options(batch.schema(), columns, &options);
    again.map_err(|error| pyo3::exceptions::PyValueError::new_err(error.to_string()))
}

/// Memory that Python gives back.
struct Foreign(Vec<ArrayData>);

impl Drop for Foreign {
    fn drop(&mut self) {
        drop_elsewhere(Box::new(std::mem::take(&mut self.0)));
    }
}

/// The same array. Whoever lets it go last does not wait for the GIL.
pub(crate) fn guarded(array: &ArrayRef) -> ArrayRef {
    guarded_all(std::slice::from_ref(array)).swap_remove(0)
}

/// The same arrays, which go together: word to another thread costs more than all else here. Whoever keeps one of them, as a
/// function may keep a small column, keeps them all.
fn guarded_all(arrays: &[ArrayRef]) -> Vec<ArrayRef> {
    let data: Vec<_> = arrays.iter().map(|array| array.to_data()).collect();
    let owner: Arc<dyn Allocation> = Arc::new(Foreign(data.clone()));
    data.iter().map(|data| make_array(owned_by(data, &owner))).collect()
}

fn owned_by(data: &ArrayData, owner: &Arc<dyn Allocation>) -> ArrayData {
    if data.is_empty() {
        // Its buffer of offsets may have no bytes, as older Arrows have it (in Java before 19, and so Spark before 4.2): what is
        // taken for the first offset lies behind its end.
        return ArrayData::new_empty(data.data_type());
    }
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

/// Where things go whose destructor may wait for the GIL, and may be the user's code: a thread on which nobody waits.
struct Drops {
    /// Whose thread it is. A forked child has none of its parent's, and must not touch what these have locked.
    process: u32,
    send: mpsc::Sender<Box<dyn Send>>,
}

fn drop_elsewhere(what: Box<dyn Send>) {
    // The thread goes with the process alone.
    let _ = drops().send.send(what);
}

fn drops() -> &'static Drops {
    static DROPS: AtomicPtr<Drops> = AtomicPtr::new(null_mut());
    let process = std::process::id();
    let mut there = DROPS.load(Ordering::Acquire);
    loop {
        // SAFETY: it is null, or was leaked below and is never freed.
        match unsafe { there.as_ref() } {
            Some(drops) if drops.process == process => return drops,
            _ => {}
        }
        let new = Box::leak(Box::new(Drops { process, send: thread_for("anyudf drops", give_back) }));
        // Of two at the same time one wins; the other's thread waits for nothing.
        match DROPS.compare_exchange(there, new, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => return new,
            Err(won) => there = won,
        }
    }
}

fn give_back(what: Box<dyn Send>) {
    match Inside::giving_back() {
        Some(_inside) => drop(what),
        // The interpreter ends, and all memory with it.
        None => std::mem::forget(what),
    }
}

/// A thread that does what it is sent, one after the other.
pub(crate) fn thread_for<T: Send + 'static>(name: &str, act: impl Fn(T) + Send + 'static) -> mpsc::Sender<T> {
    let (send, errands) = mpsc::channel();
    let started = std::thread::Builder::new().name(name.into()).spawn(move || errands.into_iter().for_each(act));
    started.map(drop).unwrap_or_else(|error| eprintln!("{name}: there is no thread for it: {error}"));
    send
}
