//! gRPC's frames of messages, by hand, in both directions of a stream.

use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use h2::SendStream;
use http::HeaderMap;

/// The longest message that the kit takes from a peer.
const MAX_MESSAGE: usize = 256 << 20;

/// Our half of a stream.
#[derive(Debug)]
pub(crate) struct Outgoing {
    sender: Option<SendStream<Bytes>>,
    /// What is to go in one frame with the next.
    held: BytesMut,
    /// Before each frame goes one that holds nothing.
    pub(crate) empty_frames: bool,
}

impl Outgoing {
    pub(crate) fn new(sender: SendStream<Bytes>) -> Self {
        Outgoing { sender: Some(sender), held: BytesMut::new(), empty_frames: false }
    }

    /// Sends a framed message, in frames of at most `split` bytes. Waits while the peer takes nothing.
    pub(crate) async fn send(&mut self, mut bytes: Bytes, split: Option<usize>) -> Result<(), String> {
        if !self.held.is_empty() {
            self.held.extend_from_slice(&bytes);
            bytes = self.held.split().freeze();
        }
        let sender = self.sender.as_mut().ok_or("our half is closed")?;
        while bytes.has_remaining() {
            let wanted = split.unwrap_or(64 << 10).min(bytes.len());
            sender.reserve_capacity(wanted);
            // h2 tells of new room once: what `has_room` was told of is there already.
            if sender.capacity() == 0 {
                let room = std::future::poll_fn(|cx| sender.poll_capacity(cx)).await;
                room.ok_or("the stream is closed")?.map_err(|error| error.to_string())?;
            }
            let room = sender.capacity();
            let piece = bytes.split_to(room.min(wanted));
            if self.empty_frames {
                sender.send_data(Bytes::new(), false).map_err(|error| error.to_string())?;
            }
            sender.send_data(piece, false).map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    /// Waits for room for so many bytes; whether it came in time.
    pub(crate) async fn has_room(&mut self, bytes: usize, patience: Duration) -> bool {
        let Some(sender) = self.sender.as_mut() else { return false };
        sender.reserve_capacity(bytes);
        let room = async {
            while sender.capacity() < bytes {
                match std::future::poll_fn(|cx| sender.poll_capacity(cx)).await {
                    Some(Ok(_)) => {}
                    _ => return false,
                }
            }
            true
        };
        tokio::time::timeout(patience, room).await.unwrap_or(false)
    }

    /// Keeps a framed message for the frame of the next.
    pub(crate) fn hold(&mut self, bytes: &[u8]) {
        self.held.extend_from_slice(bytes);
    }

    pub(crate) fn half_close(&mut self) {
        if let Some(mut sender) = self.sender.take() {
            // The stream may be over already.
            let _ = sender.send_data(Bytes::new(), true);
        }
    }

    pub(crate) fn reset(&mut self) {
        if let Some(mut sender) = self.sender.take() {
            sender.send_reset(h2::Reason::CANCEL);
        }
    }

    /// Ends our half with trailers, as a server does.
    pub(crate) fn trailers(&mut self, trailers: HeaderMap) {
        if let Some(mut sender) = self.sender.take() {
            let _ = sender.send_trailers(trailers);
        }
    }
}

/// Messages out of the bytes of a stream, however these are cut.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    buffer: BytesMut,
}

impl Frames {
    /// Takes a piece; gives the messages that are whole now, and what is wrong behind them.
    pub(crate) fn take(&mut self, piece: &[u8]) -> Vec<Result<Bytes, String>> {
        self.buffer.extend_from_slice(piece);
        let mut messages = Vec::new();
        while self.buffer.len() >= 5 {
            let len = u32::from_be_bytes(self.buffer[1..5].try_into().expect("four bytes")) as usize;
            let flag = self.buffer[0];
            if flag != 0 {
                messages.push(Err(format!("a message with flag {flag}, though no encoding was offered (P11)")));
                break;
            }
            if len > MAX_MESSAGE {
                messages.push(Err(format!("a message of {len} bytes")));
                break;
            }
            if self.buffer.len() < 5 + len {
                self.buffer.reserve(5 + len - self.buffer.len());
                break;
            }
            self.buffer.advance(5);
            messages.push(Ok(self.buffer.split_to(len).freeze()));
        }
        messages
    }

    /// Nothing more comes.
    pub(crate) fn end(&self) -> Result<(), String> {
        match self.buffer.len() {
            0 => Ok(()),
            left => Err(format!("{left} bytes of a message that was never finished")),
        }
    }
}
