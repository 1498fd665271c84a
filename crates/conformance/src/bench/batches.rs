//! What is echoed: batches, and whether one came back as it went out (S1).

use anyudf_protocol::wire;
use bytes::Bytes;
use prost::{Message as _, length_delimiter_len};

use crate::message::Shape;
use crate::value::{Value, show};

/// So many different batches, one after the other, so that one that is lost or takes another's place is seen.
const KINDS: usize = 4;

/// Bytes that are compared at three places of every batch. All of the first few batches is.
const SPOT: usize = 256;

/// Batches of one size.
#[derive(Debug)]
pub(super) struct Batches {
    /// The length of a whole message, without gRPC's five bytes.
    pub(super) size: usize,
    data: [Bytes; KINDS],
    framed: [Bytes; KINDS],
}

impl Batches {
    /// Messages of `size` bytes with all that is around the data, so that 4 MiB is within gRPC's usual limit.
    pub(super) fn new(size: usize) -> Self {
        let len = data_len(size);
        let pattern = Value::Sized(len).bytes();
        let framed = std::array::from_fn(|kind| {
            let data = pattern.iter().map(|byte| byte.wrapping_add(61 * kind as u8)).collect();
            let request = wire::udf_request::Request::Data(wire::DataRequest { data });
            Shape::default().frame(&wire::UdfRequest { request: Some(request) }.encode_to_vec())
        });
        // It is the last of a message.
        let data = framed.each_ref().map(|framed| framed.slice(framed.len() - len..));
        Batches { size, data, framed }
    }

    /// The framed message of a batch by its number.
    pub(super) fn framed(&self, number: u64) -> Bytes {
        self.framed[kind(number)].clone()
    }

    /// Whether an answer is the batch of this number.
    ///
    /// # Errors
    /// In what it differs.
    pub(super) fn check(&self, number: u64, answer: &[u8]) -> Result<(), String> {
        let data = &self.data[kind(number)][..];
        let differs = match data.len() == answer.len() {
            false => Some(format!("it has {} bytes, not {}", answer.len(), data.len())),
            true => {
                let at = self.spots(number).into_iter().find(|(from, to)| data[*from..*to] != answer[*from..*to]);
                at.map(|(from, to)| {
                    let at = (from..to).find(|at| data[*at] != answer[*at]).unwrap_or(from);
                    let end = (at + 8).min(data.len());
                    format!("from byte {at} on it is {}, not {}", show(&answer[at..end]), show(&data[at..end]))
                })
            }
        };
        differs.map_or(Ok(()), |how| Err(format!("answer {} is not what was sent (S1): {how}", number + 1)))
    }

    /// The places that are compared.
    fn spots(&self, number: u64) -> Vec<(usize, usize)> {
        let len = self.data[0].len();
        if number < KINDS as u64 || len <= 3 * SPOT {
            return vec![(0, len)];
        }
        // A place that moves, by a prime so that it comes everywhere.
        let somewhere = (number as usize).wrapping_mul(7919) % (len - SPOT);
        [0, somewhere, len - SPOT].map(|from| (from, from + SPOT)).into()
    }
}

fn kind(number: u64) -> usize {
    (number % KINDS as u64) as usize
}

/// The most data of which the message has no more than `size` bytes.
fn data_len(size: usize) -> usize {
    let field = |len: usize| 1 + length_delimiter_len(len) + len;
    let fits = |len: &usize| field(field(*len)) <= size;
    (0..=size.min(16)).map(|head| size - head).find(fits).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_a_message_of_its_size() {
        for size in [64, 100, 16 << 10, 256 << 10, 4 << 20] {
            let batches = Batches::new(size);
            assert_eq!(batches.framed(0).len(), size + 5, "{size}");
            assert_ne!(batches.framed(0), batches.framed(1));
            assert_eq!(batches.framed(1), batches.framed(5));
        }
        // Where the length of a length changes no message has exactly that size.
        for size in 64..600 {
            assert!((size - 2..=size).contains(&(Batches::new(size).framed(0).len() - 5)), "{size}");
        }
    }

    /// S1: what is longer, changed or another batch is seen.
    #[test]
    fn s1_a_wrong_echo_is_told() {
        let batches = Batches::new(16 << 10);
        for number in 0..100 {
            let right = batches.data[kind(number)].clone();
            assert_eq!(batches.check(number, &right), Ok(()));
            assert!(batches.check(number + 1, &right).is_err_and(|why| why.contains("from byte 0 on")));
            assert!(batches.check(number, &right[1..]).is_err_and(|why| why.contains("bytes, not")));
            let mut wrong = right.to_vec();
            *wrong.last_mut().expect("it has bytes") ^= 1;
            assert!(batches.check(number, &wrong).is_err_and(|why| why.contains(&format!("answer {}", number + 1))));
        }
    }
}
