//! gRPC's frames of messages, by hand, in both directions of a stream.

use std::io::Read as _;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use flate2::read::GzDecoder;
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
        while bytes.has_remaining() {
            if self.empty_frames {
                let sender = self.sender.as_mut().ok_or("our half is closed")?;
                sender.send_data(Bytes::new(), false).map_err(|error| error.to_string())?;
            }
            self.send_some(&mut bytes, split.unwrap_or(64 << 10)).await?;
        }
        Ok(())
    }

    /// Waits for room, and sends as much of `bytes` as there is room for, at most `most`.
    ///
    /// # Cancel safety
    /// Dropped while it waits, it has sent nothing.
    pub(crate) async fn send_some(&mut self, bytes: &mut Bytes, most: usize) -> Result<(), String> {
        let sender = self.sender.as_mut().ok_or("our half is closed")?;
        let wanted = most.min(bytes.len());
        sender.reserve_capacity(wanted);
        // h2 tells of new room once: what `has_room` was told of is there already.
        if sender.capacity() == 0 {
            let room = std::future::poll_fn(|cx| sender.poll_capacity(cx)).await;
            room.ok_or("the stream is closed")?.map_err(|error| error.to_string())?;
        }
        let room = sender.capacity();
        let piece = bytes.split_to(room.min(wanted));
        sender.send_data(piece, false).map_err(|error| error.to_string())
    }

    /// Waits for room for so many bytes; whether it came in time. If not, what there is of it goes back: other streams of the
    /// connection may need it.
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
        let came = tokio::time::timeout(patience, room).await.unwrap_or(false);
        if !came {
            sender.reserve_capacity(0);
        }
        came
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
    /// Compressed ones are inflated (P11).
    inflates: bool,
}

impl Frames {
    /// From a peer that may compress: gzip is what every worker understands (P11).
    pub(crate) fn inflating() -> Self {
        Frames { inflates: true, ..Frames::default() }
    }

    /// Takes a piece; gives the messages that are whole now, and what is wrong behind them. Those that are whole in a piece
    /// are not copied.
    pub(crate) fn take(&mut self, mut piece: Bytes) -> Vec<Result<Bytes, String>> {
        let mut messages = Vec::new();
        if self.buffer.is_empty() {
            whole(&mut piece, self.inflates, &mut messages);
        }
        self.buffer.extend_from_slice(&piece);
        let missing = whole(&mut self.buffer, self.inflates, &mut messages);
        self.buffer.reserve(missing);
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

/// What a compressed message is, if that is gzip and not too large.
fn inflated(message: &[u8]) -> Result<Bytes, String> {
    let mut plain = Vec::new();
    let read = GzDecoder::new(message).take(MAX_MESSAGE as u64).read_to_end(&mut plain);
    match read {
        Ok(MAX_MESSAGE..) => Err(format!("a message that is inflated to {MAX_MESSAGE} bytes and more")),
        Ok(_) => Ok(plain.into()),
        Err(error) => Err(format!("a compressed message that is not gzip (P11): {error}")),
    }
}

/// Takes the messages that are whole; returns how many bytes the next one needs, if that is known.
fn whole(bytes: &mut impl Buf, inflates: bool, messages: &mut Vec<Result<Bytes, String>>) -> usize {
    // Both kinds of buffer are one chunk.
    while let Some(head) = bytes.chunk().first_chunk::<5>() {
        let [flag, len @ ..] = *head;
        let len = u32::from_be_bytes(len) as usize;
        let wrong = match (flag, len) {
            (1, _) if !inflates => "a compressed message, though no encoding was offered (P11)".into(),
            (2.., _) => format!("a message with flag {flag}, which gRPC does not have"),
            (_, MAX_MESSAGE..) => format!("a message of {len} bytes"),
            (_, _) if bytes.remaining() < 5 + len => return 5 + len - bytes.remaining(),
            (_, _) => {
                bytes.advance(5);
                let message = bytes.copy_to_bytes(len);
                messages.push(if flag == 1 { inflated(&message) } else { Ok(message) });
                continue;
            }
        };
        messages.push(Err(wrong));
        // What is behind it is nobody's message.
        bytes.advance(bytes.remaining());
    }
    0
}
