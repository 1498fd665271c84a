//! The dictionaries of a stream, as far as later messages may refer to them (C9).

use std::collections::HashMap;

use arrow_array::{Array, ArrayRef, make_array};
use arrow_buffer::{BooleanBuffer, Buffer, NullBuffer};
use arrow_data::ArrayData;

use crate::error::{Error, Result};
use crate::inflate::Budget;

/// Dictionaries by number.
///
/// A fresh dictionary is a slice of the message it came in. Streams like ours send it anew with every message, so it is
/// left where it is; one that outlives the next message is copied out, so that a few values cannot hold on to a
/// message of megabytes.
#[derive(Debug, Default)]
pub(crate) struct Dictionaries {
    by_id: HashMap<i64, Dictionary>,
    /// Counts messages of the transport, each of which may hold several Arrow messages.
    message: u64,
}

#[derive(Debug)]
struct Dictionary {
    values: ArrayRef,
    bytes: usize,
    /// The message whose memory the values are in, until they are copied.
    borrowed_from: Option<u64>,
}

impl Dictionaries {
    /// The values of dictionary `id`, if any came.
    pub(crate) fn values(&self, id: i64) -> Option<&ArrayRef> {
        self.by_id.get(&id).map(|dictionary| &dictionary.values)
    }

    /// Forgets everything: a new schema begins.
    pub(crate) fn clear(&mut self) {
        self.by_id.clear();
    }

    /// Sets dictionary `id`, in the place of any earlier one. `bytes` is what its values take.
    pub(crate) fn replace(&mut self, id: i64, values: ArrayRef, bytes: usize) {
        let borrowed_from = Some(self.message);
        self.by_id.insert(id, Dictionary { values, bytes, borrowed_from });
    }

    /// Appends to dictionary `id`.
    pub(crate) fn extend(&mut self, id: i64, more: ArrayRef, bytes: usize, budget: &mut Budget) -> Result<()> {
        let Some(before) = self.by_id.get_mut(&id) else {
            return Err(Error::malformed(format!("a delta for dictionary {id}, of which nothing is known yet")));
        };
        let total = before.bytes.saturating_add(bytes);
        // Joining copies both, and a message can hold many small deltas to a large dictionary.
        budget.charge(total)?;
        let values = arrow_select::concat::concat(&[&*before.values, &*more]).map_err(Error::invalid)?;
        if values.len() != before.values.len() + more.len() || values.to_data().validate_full().is_err() {
            // Arrow loses values that are zero bytes wide.
            return Err(Error::unsupported(format!("a delta for a dictionary of {}", values.data_type())));
        }
        // Views go on living in their old buffers when they are joined; other arrays are new now.
        *before = Dictionary { values, bytes: total, borrowed_from: Some(self.message) };
        Ok(())
    }

    /// The end of a message: copies what would hold on to an earlier one, and adds up what is kept.
    pub(crate) fn settle(&mut self, limit: usize) -> Result<()> {
        for dictionary in self.by_id.values_mut() {
            if dictionary.borrowed_from.is_some_and(|message| message != self.message) {
                dictionary.values = make_array(copied(&dictionary.values.to_data())?);
                dictionary.borrowed_from = None;
            }
        }
        self.message += 1;
        let kept = self.by_id.values().fold(0, |sum: usize, dictionary| sum.saturating_add(dictionary.bytes));
        if kept > limit {
            return Err(Error::dictionaries_too_large(format!(
                "the stream's dictionaries have grown to {kept} bytes, {limit} are allowed; send fewer distinct values \
                 or raise the limit"
            )));
        }
        Ok(())
    }
}

/// The same array in memory of its own.
fn copied(data: &ArrayData) -> Result<ArrayData> {
    let own = |buffer: &Buffer| Buffer::from(buffer.as_slice());
    let nulls = data.nulls().map(|nulls| {
        let bits = own(&nulls.inner().sliced());
        NullBuffer::new(BooleanBuffer::new(bits, 0, nulls.len()))
    });
    let children = data.child_data().iter().map(copied).collect::<Result<Vec<_>>>()?;
    ArrayData::builder(data.data_type().clone())
        .len(data.len())
        .offset(data.offset())
        .buffers(data.buffers().iter().map(own).collect())
        .child_data(children)
        .nulls(nulls)
        .build()
        .map_err(Error::invalid)
}
