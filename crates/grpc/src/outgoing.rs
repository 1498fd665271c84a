//! A gRPC message on its way out: a small head of ours, then the caller's own bytes.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyudf_protocol::envelope::DataHead;
use anyudf_protocol::{Request, Response, wire};
use bytes::{Buf, Bytes};
use prost::Message;

/// gRPC's prefix of a message: one byte that says whether it is compressed, four that say how long it is.
pub(crate) const PREFIX: usize = 5;

/// HTTP/2's own head of a frame.
const FRAME_HEAD: usize = 9;

/// One message as HTTP/2 sends it: gRPC's prefix and, for data, the dozen bytes of the envelope; then the payload's own
/// [`Bytes`], written to the socket from where they are.
#[derive(Debug)]
pub struct Outgoing {
    head: [u8; PREFIX + DataHead::MAX],
    /// What of `head` is still to be sent.
    head_left: std::ops::Range<u8>,
    first: Bytes,
    rest: VecDeque<Bytes>,
    body_left: usize,
    is_bulk: bool,
    /// Its part of what HTTP/2 still has to send.
    unsent: Option<Unsent>,
}

/// Bytes that HTTP/2 has taken and not sent yet: the peer's window has no room for them, or its socket.
#[derive(Debug, Default)]
pub(crate) struct Unsent {
    left: usize,
    all: Arc<AtomicUsize>,
}

impl Unsent {
    /// How many there are, in all messages of a stream together.
    pub(crate) fn bytes(&self) -> usize {
        self.all.load(Ordering::Relaxed)
    }

    fn part(&self, bytes: usize) -> Unsent {
        self.all.fetch_add(bytes, Ordering::Relaxed);
        Unsent { left: bytes, all: Arc::clone(&self.all) }
    }

    fn sent(&mut self, bytes: usize) {
        self.left -= bytes;
        self.all.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Drop for Unsent {
    fn drop(&mut self) {
        self.sent(self.left);
    }
}

impl Outgoing {
    /// How far behind the start of its HTTP/2 frame the data of a large message lies. HTTP/2 reads a large frame into
    /// memory of its own, so whoever lays data out for this place spares the receiver a copy for the sake of alignment.
    pub const LEAD: usize = FRAME_HEAD + PREFIX + DataHead::WIDE;

    /// A DataRequest or DataResponse whose data is `parts` one after the other; no byte of them is copied.
    pub fn data(parts: impl IntoIterator<Item = Bytes>) -> Self {
        let mut message = Outgoing::raw(Bytes::new());
        let mut parts = parts.into_iter().filter(|part| !part.is_empty());
        message.first = parts.next().unwrap_or_default();
        message.rest.extend(parts);
        message.body_left = message.first.len() + message.rest.iter().map(Bytes::len).sum::<usize>();
        let envelope = DataHead::new(message.body_left);
        let len = envelope.as_bytes().len();
        message.head[PREFIX..PREFIX + len].copy_from_slice(envelope.as_bytes());
        message.prefix(len + message.body_left);
        message.head_left = 0..(PREFIX + len) as u8;
        message.is_bulk = true;
        message
    }

    /// Any other message.
    pub fn control(message: &impl Message) -> Self {
        let mut outgoing = Outgoing::raw(message.encode_to_vec().into());
        outgoing.prefix(outgoing.body_left);
        outgoing.head_left = 0..PREFIX as u8;
        outgoing
    }

    /// Bytes that are framed already, such as a chunk of a tonic body.
    pub(crate) fn raw(body: Bytes) -> Self {
        Outgoing {
            head: [0; PREFIX + DataHead::MAX],
            head_left: 0..0,
            body_left: body.len(),
            first: body,
            rest: VecDeque::new(),
            is_bulk: false,
            unsent: None,
        }
    }

    /// From now on it counts in `unsent`, until it is sent.
    pub(crate) fn count_in(&mut self, unsent: &Unsent) {
        self.unsent = Some(unsent.part(self.remaining()));
    }

    /// Bytes of the payload still to be sent, framing left out.
    pub fn data_len(&self) -> usize {
        self.body_left
    }

    /// Whether this is data or a chunk of a payload: it waits for room, and Cancel goes ahead of it (E9).
    pub fn is_bulk(&self) -> bool {
        self.is_bulk
    }

    fn prefix(&mut self, len: usize) {
        // A message over 4 GiB can't be framed at all; every limit that callers have is far below.
        let len = u32::try_from(len).expect("messages are limited to far less than 4 GiB");
        self.head[1..PREFIX].copy_from_slice(&len.to_be_bytes());
    }

    fn head(&self) -> &[u8] {
        &self.head[usize::from(self.head_left.start)..usize::from(self.head_left.end)]
    }
}

impl From<Request> for Outgoing {
    fn from(request: Request) -> Self {
        match request {
            Request::Data(data) => Outgoing::data([data]),
            chunk @ Request::Chunk(_) => {
                let mut outgoing = Outgoing::control(&wire::UdfRequest::from(chunk));
                outgoing.is_bulk = true;
                outgoing
            }
            other => Outgoing::control(&wire::UdfRequest::from(other)),
        }
    }
}

impl From<Response> for Outgoing {
    fn from(response: Response) -> Self {
        match response {
            Response::Data(data) => Outgoing::data([data]),
            other => Outgoing::control(&wire::UdfResponse::from(other)),
        }
    }
}

impl Buf for Outgoing {
    fn remaining(&self) -> usize {
        self.head_left.len() + self.body_left
    }

    fn chunk(&self) -> &[u8] {
        if self.head_left.is_empty() { &self.first } else { self.head() }
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let body = std::iter::once(&self.first).chain(&self.rest).map(|part| &part[..]);
        let chunks = std::iter::once(self.head()).chain(body).filter(|chunk| !chunk.is_empty());
        let mut filled = 0;
        for (slice, chunk) in slices.iter_mut().zip(chunks) {
            *slice = IoSlice::new(chunk);
            filled += 1;
        }
        filled
    }

    fn advance(&mut self, mut count: usize) {
        assert!(count <= self.remaining(), "advanced past the end of a message");
        if let Some(unsent) = &mut self.unsent {
            unsent.sent(count);
        }
        let of_head = count.min(self.head_left.len());
        self.head_left.start += of_head as u8;
        count -= of_head;
        self.body_left -= count;
        while count > 0 {
            let step = count.min(self.first.len());
            self.first.advance(step);
            count -= step;
            if self.first.is_empty() {
                self.first = self.rest.pop_front().unwrap_or_default();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(mut message: Outgoing, step: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        while message.has_remaining() {
            let step = step.min(message.chunk().len());
            bytes.extend_from_slice(&message.chunk()[..step]);
            message.advance(step);
        }
        bytes
    }

    /// R6: a large batch lies where [`Outgoing::LEAD`] says.
    #[test]
    fn the_data_of_a_large_message_lies_at_its_lead() {
        for len in [DataHead::WIDE_FROM, 1 << 20, 5 << 20] {
            let message = Outgoing::data([Bytes::from(vec![0; len])]);
            assert_eq!(FRAME_HEAD + message.remaining() - message.data_len(), Outgoing::LEAD);
        }
    }

    /// R6: a batch in parts is, byte for byte, the message that prost and gRPC would make of the whole.
    #[test]
    fn parts_read_as_one_message() {
        let parts = ["", "abc", "", "d", "efgh"].map(|part| Bytes::from_static(part.as_bytes()));
        let whole = Outgoing::control(&wire::UdfRequest::from(Request::Data("abcdefgh".into())));
        let whole = read(whole, usize::MAX);
        for step in [1, 2, 3, 7, usize::MAX] {
            assert_eq!(read(Outgoing::data(parts.clone()), step), whole, "steps of {step}");
        }
        let message = Outgoing::data(parts);
        let mut slices = [IoSlice::new(&[]); 8];
        let filled = message.chunks_vectored(&mut slices);
        let gathered: Vec<u8> = slices[..filled].iter().flat_map(|slice| slice.to_vec()).collect();
        assert_eq!(gathered, whole);
        assert_eq!(message.remaining(), whole.len());
    }

    /// R6: an empty batch is a message too.
    #[test]
    fn an_empty_batch_is_a_message() {
        let whole = Outgoing::control(&wire::UdfRequest::from(Request::Data(Bytes::new())));
        assert_eq!(read(Outgoing::data([]), 1), read(whole, 1));
    }

    /// M4: what was said counts as unsent until HTTP/2 has sent or dropped its last byte.
    #[test]
    fn m4_bytes_are_unsent_until_they_are_gone() {
        let unsent = Unsent::default();
        let (mut one, mut other) = (Outgoing::data([Bytes::from_static(b"one")]), Outgoing::control(&wire::Finish {}));
        let (of_one, of_other) = (one.remaining(), other.remaining());
        one.count_in(&unsent);
        other.count_in(&unsent);
        assert_eq!(unsent.bytes(), of_one + of_other);
        one.advance(2);
        assert_eq!(unsent.bytes(), of_one - 2 + of_other);
        drop(other);
        assert_eq!(unsent.bytes(), of_one - 2);
        one.advance(of_one - 2);
        assert_eq!(unsent.bytes(), 0);
    }
}
