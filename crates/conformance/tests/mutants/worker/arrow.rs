//! Whether bytes are a batch of Arrow: what it claims of itself is looked at before it is used (C10).

use crate::mutant::{Mutant, Mutation as M};

/// The number of RecordBatch among the kinds of messages.
const RECORD_BATCH: u8 = 3;

/// Reads a flatbuffer without trusting it; `None` is that something is not where it ought to be.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn bytes<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        self.0.get(at..at.checked_add(N)?)?.try_into().ok()
    }

    fn offset(&self, at: usize) -> Option<usize> {
        Some(u32::from_le_bytes(self.bytes(at)?) as usize)
    }

    fn long(&self, at: usize) -> Option<usize> {
        i64::from_le_bytes(self.bytes(at)?).try_into().ok()
    }

    /// What an offset that stands there points at.
    fn follow(&self, at: usize) -> Option<usize> {
        at.checked_add(self.offset(at)?)
    }

    /// Where a field of a table is, if it is there.
    fn field(&self, table: usize, number: usize) -> Option<usize> {
        let back = i32::from_le_bytes(self.bytes(table)?);
        let vtable = table.checked_add_signed(-(back as isize))?;
        let entry = 4 + 2 * number;
        if usize::from(u16::from_le_bytes(self.bytes(vtable)?)) <= entry {
            return None;
        }
        match u16::from_le_bytes(self.bytes(vtable.checked_add(entry)?)?) {
            0 => None,
            place => table.checked_add(place.into()),
        }
    }

    /// A number in a table; one that is not there is 0.
    fn number(&self, table: usize, number: usize) -> Option<usize> {
        self.field(table, number).map_or(Some(0), |at| self.long(at))
    }
}

/// A batch of one column of `int64`, bare, uncompressed, and nothing behind it: all that the cases send.
pub(crate) fn check(message: &[u8], mutant: Mutant) -> Option<()> {
    let whole = Reader(message);
    let metadata = whole.offset(4).filter(|_| message.starts_with(&[0xff; 4]))?;
    let body = message.len().checked_sub(metadata.checked_add(8)?)?;
    let metadata = Reader(&message[8..][..metadata]);
    let message = metadata.follow(0)?;
    let [kind] = metadata.bytes(metadata.field(message, 1)?)?;
    let claimed = metadata.number(message, 3)?;
    if kind != RECORD_BATCH || claimed > body {
        return None;
    }
    let batch = metadata.follow(metadata.field(message, 2)?)?;
    let rows = metadata.number(batch, 0)?;
    // Of a vector its length comes first; a column is its rows and how many are null, a buffer where it is and how long.
    let columns = metadata.follow(metadata.field(batch, 1)?)?;
    let buffers = metadata.follow(metadata.field(batch, 2)?)?;
    if (metadata.offset(columns)?, metadata.offset(buffers)?) != (1, 2) {
        return None;
    }
    let values = buffers + 4 + 16;
    let (from, len) = (metadata.long(values), metadata.long(values + 8));
    let ends = from.zip(len).and_then(|(from, len)| from.checked_add(len)).is_some_and(|end| end <= body);
    let filled = metadata.long(columns + 4)? == rows && rows.checked_mul(8)? <= len.unwrap_or(0);
    let ends = ends || mutant.is(M::RangesAreNotChecked);
    let filled = filled || mutant.is(M::RowsAreNotChecked);
    (ends && filled).then_some(())
}
