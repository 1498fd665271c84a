//! The dozen bytes around a batch: the fast path of `Execute`.
//!
//! A DataRequest inside an UdfRequest, and a DataResponse inside an UdfResponse, are the same bytes: field 2 holding
//! field 1. A batch is written as [`DataHead`] followed by its own bytes and read back as a slice of what arrived, so
//! that nothing is copied. Exactly this shape is recognised; every other one goes through prost.
//!
//! A large batch is read where HTTP/2 put it, and Arrow wants its numbers at multiples of 8 and 16. So the head of a
//! large batch has always the same length, [`DataHead::WIDE`]: its lengths are written in four bytes each, which every
//! protobuf reader takes, needed or not. Whoever encodes the batch then knows how far behind the frame it will lie.

use bytes::Bytes;

/// Field 2, length-delimited: `data` of UdfRequest and UdfResponse.
const OUTER: u8 = 2 << 3 | 2;
/// Field 1, length-delimited: `data` of DataRequest and DataResponse.
const INNER: u8 = 1 << 3 | 2;

/// Bytes of a length that is padded.
const WIDE_VARINT: usize = 4;

/// What precedes a batch's bytes in a request or a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataHead {
    bytes: [u8; DataHead::MAX],
    len: u8,
}

impl DataHead {
    /// No head is longer.
    pub const MAX: usize = 22;

    /// The length of the head of every batch from [`WIDE_FROM`](DataHead::WIDE_FROM) bytes up to a quarter of a GiB.
    pub const WIDE: usize = 2 + 2 * WIDE_VARINT;

    /// From how many bytes on a batch has a head of [`WIDE`](DataHead::WIDE) bytes. A smaller one is copied as fast as
    /// it is looked at.
    pub const WIDE_FROM: usize = 4 << 10;

    /// The head for a batch of `len` bytes.
    pub fn new(len: usize) -> Self {
        let mut head = DataHead { bytes: [0; Self::MAX], len: 0 };
        head.push(OUTER);
        if len == 0 {
            head.push(0); // proto3 leaves an empty field out
            return head;
        }
        let width =
            if len < Self::WIDE_FROM { varint_len(len as u64) } else { WIDE_VARINT.max(varint_len(len as u64)) };
        let outer = (1 + width + len) as u64;
        head.push_varint(outer, if len < Self::WIDE_FROM { 1 } else { WIDE_VARINT });
        head.push(INNER);
        head.push_varint(len as u64, width);
        head
    }

    /// The bytes to write before the batch.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    fn push(&mut self, byte: u8) {
        self.bytes[usize::from(self.len)] = byte;
        self.len += 1;
    }

    /// Writes a varint of at least `width` bytes.
    fn push_varint(&mut self, mut value: u64, width: usize) {
        for written in 1.. {
            if value < 0x80 && written >= width {
                return self.push(value as u8);
            }
            self.push(value as u8 | 0x80);
            value >>= 7;
        }
    }
}

/// How far into the message the batch begins, when `message` starts like one that carries `total` bytes and nothing
/// but a batch; `None` for every other shape. At least [`DataHead::MAX`] bytes, or all there are, are needed.
pub fn data_offset(message: &[u8], total: usize) -> Option<usize> {
    let rest = message.strip_prefix(&[OUTER])?;
    let (outer, rest) = read_varint(rest)?;
    let outer_start = message.len() - rest.len();
    if outer_start as u64 + outer != total as u64 {
        return None;
    }
    if outer == 0 {
        return Some(outer_start);
    }
    let (inner, rest) = read_varint(rest.strip_prefix(&[INNER])?)?;
    let inner_start = message.len() - rest.len();
    (inner_start as u64 + inner == total as u64).then_some(inner_start)
}

/// The batch in `message`, without a copy, when the message is nothing but a batch.
pub fn split_data(message: &Bytes) -> Option<Bytes> {
    data_offset(message, message.len()).map(|offset| message.slice(offset..))
}

/// Reads a varint of at most nine bytes, enough for any length.
fn read_varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0u64;
    for (index, &byte) in bytes.iter().enumerate().take(9) {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte < 0x80 {
            return Some((value, &bytes[index + 1..]));
        }
    }
    None
}

fn varint_len(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Request, wire};
    use prost::Message;

    /// R6: the head means what prost would write, at every length where a varint grows; that of a large batch has always
    /// the same length.
    #[test]
    fn head_means_what_prost_writes() {
        let small = [0, 1, 120, 123, 124, 125, 126, 127, 128, DataHead::WIDE_FROM - 1];
        let large = [DataHead::WIDE_FROM, 16_370, 16_383, 16_384, 2_097_146, 2_097_147, 2_097_151, 2_097_152];
        for len in small.into_iter().chain(large) {
            let batch = Bytes::from(vec![7u8; len]);
            let head = DataHead::new(len);
            let ours = Bytes::from([head.as_bytes(), &batch].concat());
            let request = wire::UdfRequest::from(Request::Data(batch.clone()));
            match len < DataHead::WIDE_FROM {
                true => assert_eq!(ours, request.encode_to_vec(), "length {len}"),
                false => assert_eq!(head.as_bytes().len(), DataHead::WIDE, "length {len}"),
            }
            assert_eq!(wire::UdfRequest::decode(ours.clone()), Ok(request), "length {len}");
            assert_eq!(split_data(&ours), Some(batch));
        }
    }

    /// R6: lengths that need more than four bytes get them.
    #[test]
    fn lengths_of_any_size_are_written() {
        for len in [(1 << 28) - 6, (1 << 28) - 1, 1 << 28, u32::MAX as usize] {
            let head = DataHead::new(len);
            assert_eq!(data_offset(head.as_bytes(), head.as_bytes().len() + len), Some(head.as_bytes().len()), "{len}");
        }
    }

    /// R20: anything that is not exactly a batch is left to prost.
    #[test]
    fn other_shapes_are_left_to_prost() {
        let plain = wire::UdfRequest::from(Request::Data("abc".into())).encode_to_vec();
        let unknown_field_behind = [&plain[..], &[0x98, 0x06, 0x01]].concat();
        let unknown_field_inside = vec![0x12, 8, 0x0a, 3, b'a', b'b', b'c', 0x98, 0x06, 0x01];
        let twice = [&plain[..], &plain[..]].concat();
        let truncated = plain[..4].to_vec();
        let lying = vec![0x12, 0x05, 0x0a, 0x7f, 1, 2, 3];
        let endless = vec![0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        for bytes in [unknown_field_behind, unknown_field_inside, twice, truncated, lying, endless, vec![]] {
            assert_eq!(split_data(&bytes.clone().into()), None, "{bytes:02x?}");
        }
    }
}
