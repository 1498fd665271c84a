//! Bytes that wait to be read as messages, because as many messages are unread as may be (E5).
//!
//! A message of a few bytes takes ten times that as a message in a queue, and more as a frame in HTTP/2's own buffer. So
//! what comes beyond the bound is neither: it is taken from HTTP/2 at once and kept as the bytes that it is.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use crate::outgoing::PREFIX;

/// Pieces smaller than this are put together as they come.
const SMALL_PIECE: usize = 4 << 10;

/// They are put together up to about this: a chunk lives as long as the last message in it.
const CHUNK: usize = 64 << 10;

/// The longest message that is looked at as it passes, compressed or not: as long as Cancel may be (E9).
pub(crate) const LONGEST: usize = 64 << 10;

/// Bytes in order, and what was seen of the messages in them.
#[derive(Debug, Default)]
pub(crate) struct Backlog {
    pieces: VecDeque<Bytes>,
    small: BytesMut,
    scan: Scan,
}

impl Backlog {
    /// Begins anew with a message.
    pub(crate) fn begin(&mut self) {
        debug_assert!(self.is_empty(), "what is there would come before it");
        self.scan = Scan::default();
    }

    /// Adds bytes behind those that were added last, whether these are still there or not, and shows each message that
    /// ends in them to `look`, with its compression flag.
    pub(crate) fn push(&mut self, bytes: Bytes, mut look: impl FnMut(u8, Vec<u8>)) {
        if bytes.is_empty() {
            return;
        }
        self.scan.feed(&bytes, &mut look);
        if bytes.len() < SMALL_PIECE {
            self.small.extend_from_slice(&bytes);
            if self.small.len() < CHUNK {
                return;
            }
        }
        if !self.small.is_empty() {
            self.pieces.push_back(self.small.split().freeze());
        }
        if bytes.len() >= SMALL_PIECE {
            self.pieces.push_back(bytes);
        }
    }

    /// Takes the foremost bytes.
    pub(crate) fn pop(&mut self) -> Option<Bytes> {
        let small = &mut self.small;
        self.pieces.pop_front().or_else(|| (!small.is_empty()).then(|| std::mem::take(small).freeze()))
    }

    fn is_empty(&self) -> bool {
        self.pieces.is_empty() && self.small.is_empty()
    }
}

/// Finds the messages in bytes that pass by.
#[derive(Debug, Default)]
struct Scan {
    prefix: [u8; PREFIX],
    prefix_len: usize,
    /// The message so far, if it is looked at.
    message: Option<Vec<u8>>,
    /// Bytes of it still to come.
    left: usize,
}

impl Scan {
    fn feed(&mut self, mut bytes: &[u8], look: &mut impl FnMut(u8, Vec<u8>)) {
        while !bytes.is_empty() {
            if self.prefix_len < PREFIX {
                let (head, rest) = bytes.split_at(bytes.len().min(PREFIX - self.prefix_len));
                self.prefix[self.prefix_len..][..head.len()].copy_from_slice(head);
                self.prefix_len += head.len();
                bytes = rest;
                if self.prefix_len < PREFIX {
                    return;
                }
                let [_, a, b, c, d] = self.prefix;
                self.left = u32::from_be_bytes([a, b, c, d]) as usize;
                self.message = (self.left <= LONGEST).then(Vec::new);
            }
            let (part, rest) = bytes.split_at(bytes.len().min(self.left));
            if let Some(message) = &mut self.message {
                message.extend_from_slice(part);
            }
            self.left -= part.len();
            bytes = rest;
            if self.left == 0 {
                if let Some(message) = self.message.take() {
                    look(self.prefix[0], message);
                }
                self.prefix_len = 0;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(flag: u8, message: &[u8]) -> Vec<u8> {
        [&[flag], &(message.len() as u32).to_be_bytes()[..], message].concat()
    }

    /// E5: bytes come out as they went in, and every message of the usual size is seen, however they are cut.
    #[test]
    fn e5_bytes_are_kept_and_messages_seen() {
        let long = vec![7; LONGEST + 1];
        let wire = [
            framed(0, b""),
            framed(0, b"one"),
            framed(1, b"compressed"),
            framed(0, &long),
            framed(0, &long[1..]),
            framed(0, b"two"),
        ]
        .concat();
        let expected = [(0, &b""[..]), (0, b"one"), (1, b"compressed"), (0, &long[1..]), (0, b"two")];
        // Some is taken before the rest comes.
        for (taken, cut) in [(0, 1), (0, 3), (3, 7), (2, 4_097), (1, 50_000), (0, usize::MAX)] {
            let (mut backlog, mut seen, mut kept) = (Backlog::default(), Vec::new(), Vec::new());
            backlog.begin();
            for (round, piece) in wire.chunks(cut).enumerate() {
                if round == taken {
                    kept.extend(std::iter::from_fn(|| backlog.pop()).flatten());
                }
                backlog.push(Bytes::copy_from_slice(piece), |flag, message| seen.push((flag, message)));
            }
            kept.extend(std::iter::from_fn(|| backlog.pop()).flatten());
            assert!(kept == wire, "cuts of {cut}");
            let seen: Vec<_> = seen.iter().map(|(flag, message)| (*flag, &message[..])).collect();
            assert!(seen == expected, "cuts of {cut}: {} seen", seen.len());
            assert!(backlog.is_empty());
        }
    }

    /// E5: a peer may send frames without bytes for ever; they cost nothing.
    #[test]
    fn e5_empty_frames_are_nothing() {
        let (mut backlog, mut seen) = (Backlog::default(), 0);
        for bytes in [&framed(0, b"one")[..], b""].into_iter().chain([&b""[..]; 100]) {
            backlog.push(Bytes::copy_from_slice(bytes), |_, _| seen += 1);
        }
        assert_eq!(seen, 1);
        assert!(backlog.pop().is_some() && backlog.pop().is_none());
    }
}
