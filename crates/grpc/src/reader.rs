//! Reading messages from a stream, with credit that goes back when the consumer has taken them (E5).

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::io::Read as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};

use anyudf_protocol::envelope;
use anyudf_protocol::{Request, Response, Violation, wire};
use bytes::{Buf, Bytes, BytesMut};
use h2::RecvStream;
use http::HeaderMap;
use tonic::Code;

use crate::backlog::{Backlog, LONGEST};
use crate::credit::{Credit, Ledger};
use crate::outgoing::{Outgoing, PREFIX};
use crate::settings::Settings;
use crate::status::Status;

/// Pieces smaller than this are put together as they come, so that a peer that sends a byte a frame costs bytes, not
/// handles.
const SMALL_PIECE: usize = 4 << 10;

/// An assembled message is placed in memory relative to a multiple of this, as Arrow likes it.
const ALIGNMENT: usize = 64;

/// A message of one direction, parsed once at the edge.
pub trait Parse: Sized {
    /// Reads a message; a batch becomes a slice of `message`.
    ///
    /// # Errors
    /// [`Malformed`] when the bytes are no such message, or one that the protocol has no use for.
    fn parse(message: Bytes) -> Result<Self, Malformed>;

    /// Whether it is heard before what came earlier and was not parsed yet (E9). It is heard again in its turn.
    fn overtakes(&self) -> bool;
}

/// Why bytes are not a message of the protocol.
#[derive(Debug)]
pub enum Malformed {
    /// They are no protobuf message of this type (R14: INTERNAL).
    Undecodable(Status),
    /// They are, but empty or of an unknown kind (R16).
    Violation(Violation),
}

fn undecodable(error: prost::DecodeError) -> Malformed {
    Malformed::Undecodable(Status::internal(format!("bytes that are no message of the protocol: {error} (R14)")))
}

impl Parse for Request {
    fn parse(message: Bytes) -> Result<Self, Malformed> {
        if let Some(data) = envelope::split_data(&message) {
            return Ok(Request::Data(data));
        }
        let request: wire::UdfRequest = prost::Message::decode(message).map_err(undecodable)?;
        Request::try_from(request).map_err(Malformed::Violation)
    }

    fn overtakes(&self) -> bool {
        matches!(self, Request::Cancel(_))
    }
}

impl Parse for Response {
    fn parse(message: Bytes) -> Result<Self, Malformed> {
        if let Some(data) = envelope::split_data(&message) {
            return Ok(Response::Data(data));
        }
        let response: wire::UdfResponse = prost::Message::decode(message).map_err(undecodable)?;
        Response::try_from(response).map_err(Malformed::Violation)
    }

    /// Whatever ends an execution comes after the data that its caller still wants.
    fn overtakes(&self) -> bool {
        false
    }
}

/// What a stream yields next.
#[derive(Debug)]
pub(crate) enum Read<M> {
    Message(M, Credit),
    Malformed(Malformed),
    /// The peer closed its side; with trailers, if it sent any.
    End(Option<HeaderMap>),
    Broken(Status),
}

/// The messages of one direction of a stream.
///
/// Everything that arrives is read at once, and parsed, so that Cancel is heard however much is queued before it. The peer's
/// window is what bounds the queue: each message comes with a [`Credit`]. Where messages take more memory than they took
/// of the window, because they are tiny or were compressed, a second bound of the same size is on that; beyond it they
/// wait as bytes, and only Cancel is heard before them.
///
/// A message that lies within one HTTP/2 frame is a slice of what was received. One that spans frames is copied once,
/// to a place where its data is aligned. One that is larger than the window gives room back while it arrives, one such
/// message at a time, so that the bytes of messages stay under the window plus one message.
#[derive(Debug)]
pub(crate) struct Reader {
    stream: RecvStream,
    ledger: Arc<Ledger>,
    gzip: bool,
    /// The smallest that the stream's window may become.
    window: usize,
    max_message: usize,
    /// What has arrived and is not part of a message yet.
    arrived: Bytes,
    partial: Option<Partial>,
    /// What came behind that while too many messages were unread.
    backlog: Backlog,
    /// Whether all that arrived and is no message yet was looked at for one that is heard at once.
    looked_at: bool,
    /// Such a message in the backlog.
    urgent: Option<Bytes>,
    /// How many messages were read since the last [`Reader::gather`], and how many bytes they were.
    of_late: (usize, usize),
    ended: bool,
}

/// A message of which only a part has arrived.
#[derive(Debug, Default)]
struct Partial {
    prefix: [u8; PREFIX],
    prefix_len: usize,
    pieces: VecDeque<Bytes>,
    small: BytesMut,
    len: usize,
    /// Bytes not given back yet.
    held: usize,
    /// Whether some were given back already.
    advanced: bool,
}

impl Partial {
    fn total(&self) -> Option<usize> {
        (self.prefix_len == PREFIX).then(|| {
            let [_, a, b, c, d] = self.prefix;
            u32::from_be_bytes([a, b, c, d]) as usize
        })
    }

    fn push(&mut self, piece: Bytes) {
        self.len += piece.len();
        if piece.len() < SMALL_PIECE {
            self.small.extend_from_slice(&piece);
            return;
        }
        if !self.small.is_empty() {
            self.pieces.push_back(self.small.split().freeze());
        }
        self.pieces.push_back(piece);
    }

    /// The whole message. Copies once unless there is a single piece; the copy is placed so that a batch in it is
    /// aligned.
    fn join(&mut self) -> Bytes {
        if !self.small.is_empty() {
            self.pieces.push_back(self.small.split().freeze());
        }
        if self.pieces.len() <= 1 {
            return self.pieces.pop_front().unwrap_or_default();
        }
        let first = &self.pieces[0];
        let head = &first[..first.len().min(envelope::DataHead::MAX)];
        // Our own sender lays data out for the place that it has behind the head of a frame, others for none.
        let before = match envelope::data_offset(head, self.len) {
            Some(envelope::DataHead::WIDE) => envelope::DataHead::WIDE.wrapping_sub(Outgoing::LEAD),
            Some(data) => data,
            None => 0,
        };
        let mut whole: Vec<u8> = Vec::with_capacity(self.len + ALIGNMENT);
        let shift = (whole.as_ptr() as usize).wrapping_add(before).wrapping_neg() % ALIGNMENT;
        whole.resize(shift, 0);
        for piece in self.pieces.drain(..) {
            whole.extend_from_slice(&piece);
        }
        Bytes::from(whole).slice(shift..)
    }
}

impl Reader {
    /// Reads `stream`; `gzip` when the peer said that its compressed messages are (P11).
    pub(crate) fn new(mut stream: RecvStream, gzip: bool, settings: &Settings) -> Self {
        let ledger = Arc::new(Ledger::new(stream.flow_control().clone(), settings.stream_window as usize));
        Reader {
            stream,
            ledger,
            gzip,
            window: settings.crowded_window.min(settings.stream_window) as usize,
            max_message: settings.max_message,
            arrived: Bytes::new(),
            partial: None,
            backlog: Backlog::default(),
            looked_at: false,
            urgent: None,
            of_late: (0, 0),
            ended: false,
        }
    }

    /// The next message or the end. After anything but a message or a malformed one it is not called again.
    ///
    /// # Cancel safety
    /// Dropping a pending poll loses nothing.
    pub(crate) fn poll<M: Parse>(&mut self, cx: &mut Context<'_>) -> Poll<Read<M>> {
        loop {
            if let Some(message) = self.urgent.take() {
                return Poll::Ready(read(message, Credit::free()));
            }
            let full = self.poll_full(cx);
            if full && self.look::<M>() {
                continue;
            }
            if !full {
                match self.assemble() {
                    Err(status) => return Poll::Ready(Read::Broken(status)),
                    Ok(Some((message, credit))) => return Poll::Ready(read(message, credit)),
                    Ok(None) => {}
                }
                if let Some(bytes) = self.backlog.pop() {
                    self.arrived = bytes;
                    continue;
                }
                self.advance(cx);
            }
            if self.ended {
                return if full { Poll::Pending } else { self.poll_end(cx) };
            }
            match ready!(self.stream.poll_data(cx)) {
                Some(Ok(bytes)) => {
                    self.ledger.enter(bytes.len());
                    match full {
                        true => self.keep::<M>(bytes),
                        false => (self.arrived, self.looked_at) = (bytes, false),
                    }
                }
                Some(Err(error)) => return Poll::Ready(Read::Broken(error.into())),
                None => self.ended = true,
            }
        }
    }

    /// Whether a reset would go unheard here: the peer's side has ended, and that was not told yet.
    pub(crate) fn is_deaf(&self) -> bool {
        self.ended && self.ledger.is_full()
    }

    /// Whether messages have to wait as bytes; it is polled again when many were taken.
    fn poll_full(&self, cx: &mut Context<'_>) -> bool {
        self.ledger.is_full() && {
            self.ledger.reader.register(cx.waker());
            self.ledger.is_full()
        }
    }

    /// Called at the end of a turn that left something to read: if messages are tiny of late, takes all there is out of
    /// HTTP/2's own buffer and keeps it as bytes. There a frame takes hundreds of bytes, however small it is, and more
    /// of them come in a turn of the connection's than are read in one of ours (E5).
    pub(crate) fn gather<M: Parse>(&mut self, cx: &mut Context<'_>) {
        let (messages, bytes) = std::mem::take(&mut self.of_late);
        if self.ended || self.partial.is_some() || bytes > messages * Credit::OVERHEAD {
            return;
        }
        self.look::<M>();
        while let Poll::Ready(Some(Ok(bytes))) = self.stream.poll_data(cx) {
            self.ledger.enter(bytes.len());
            self.keep::<M>(bytes);
        }
    }

    /// Begins to keep bytes with those that are no message yet; whether that was still to be done.
    fn look<M: Parse>(&mut self) -> bool {
        if std::mem::replace(&mut self.looked_at, true) {
            return false;
        }
        self.backlog.begin();
        let arrived = std::mem::take(&mut self.arrived);
        self.keep::<M>(arrived);
        true
    }

    /// Keeps what arrived as bytes.
    fn keep<M: Parse>(&mut self, bytes: Bytes) {
        debug_assert!(self.partial.is_none(), "a message that was put together is what made it full");
        let (urgent, gzip) = (&mut self.urgent, self.gzip);
        self.backlog.push(bytes, |compressed, message| {
            let message = match compressed {
                0 => Ok(Bytes::from(message)),
                1 if gzip => inflate(&message, LONGEST),
                _ => return,
            };
            // What is longer, or no gzip, waits for its turn.
            if let Ok(message) = message
                && urgent.is_none()
                && M::parse(message.clone()).is_ok_and(|message| message.overtakes())
            {
                *urgent = Some(message);
            }
        });
    }

    /// From now on nothing that arrives takes up room, nor does what arrived before, whoever still holds it.
    pub(crate) fn discard(&mut self) {
        self.ledger.discard();
    }

    /// Drops whatever still arrives and gives its room back; ready when the peer's side has ended, however.
    pub(crate) fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.discard();
        self.arrived.clear();
        self.partial = None;
        self.backlog = Backlog::default();
        while let Some(Ok(bytes)) = ready!(self.stream.poll_data(cx)) {
            self.ledger.enter(bytes.len());
        }
        Poll::Ready(())
    }

    fn poll_end<M>(&mut self, cx: &mut Context<'_>) -> Poll<Read<M>> {
        let trailers = match ready!(self.stream.poll_trailers(cx)) {
            Ok(trailers) => trailers,
            Err(error) => return Poll::Ready(Read::Broken(error.into())),
        };
        Poll::Ready(match &self.partial {
            Some(partial) => Read::Broken(Status::internal(format!(
                "the stream ended within a message, after {} of its bytes (R14)",
                partial.prefix_len + partial.len
            ))),
            None => Read::End(trailers),
        })
    }

    /// Takes a message from what has arrived, if one is whole.
    fn assemble(&mut self) -> Result<Option<(Bytes, Credit)>, Status> {
        if self.partial.is_none() {
            if self.arrived.is_empty() {
                return Ok(None);
            }
            if let Some(taken) = self.slice()? {
                return Ok(Some(taken));
            }
        }
        let partial = self.partial.get_or_insert_default();
        let of_prefix = self.arrived.len().min(PREFIX - partial.prefix_len);
        partial.prefix[partial.prefix_len..][..of_prefix].copy_from_slice(&self.arrived[..of_prefix]);
        partial.prefix_len += of_prefix;
        partial.held += of_prefix;
        self.arrived.advance(of_prefix);
        let Some(total) = partial.total() else { return Ok(None) };
        if total > self.max_message {
            return Err(Status::too_large(total as u64, self.max_message));
        }
        let piece = self.arrived.split_to(self.arrived.len().min(total - partial.len));
        partial.held += piece.len();
        if !piece.is_empty() {
            partial.push(piece);
        }
        if partial.len < total {
            return Ok(None);
        }
        let mut partial = self.partial.take().expect("it was looked at just now");
        let credit = self.credit(PREFIX + total, partial.held, partial.advanced);
        let compressed = partial.prefix[0];
        self.finish(compressed, partial.join(), credit).map(Some)
    }

    /// The common case: the message lies within what arrived.
    fn slice(&mut self) -> Result<Option<(Bytes, Credit)>, Status> {
        let Some((&[compressed, a, b, c, d], rest)) = self.arrived.split_first_chunk::<PREFIX>() else {
            return Ok(None);
        };
        let total = u32::from_be_bytes([a, b, c, d]) as usize;
        if total > self.max_message {
            return Err(Status::too_large(total as u64, self.max_message));
        }
        if rest.len() < total {
            return Ok(None);
        }
        let mut message = self.arrived.split_to(PREFIX + total);
        message.advance(PREFIX);
        let credit = self.credit(PREFIX + total, PREFIX + total, false);
        self.finish(compressed, message, credit).map(Some)
    }

    fn credit(&mut self, len: usize, held: usize, advanced: bool) -> Credit {
        self.of_late = (self.of_late.0 + 1, self.of_late.1 + len);
        Credit::new(&self.ledger, held, advanced)
    }

    fn finish(&self, compressed: u8, message: Bytes, mut credit: Credit) -> Result<(Bytes, Credit), Status> {
        match compressed {
            0 => Ok((message, credit)),
            1 if self.gzip => {
                let message = inflate(&message, self.max_message)?;
                credit.add(message.len());
                Ok((message, credit))
            }
            1 => Err(Status::new(
                Code::Internal,
                "a compressed message on a stream whose grpc-encoding names no compression (P11)",
            )),
            other => Err(Status::internal(format!("a message whose compression flag is {other}, not 0 or 1 (R14)"))),
        }
    }

    /// Gives room back for a message that can't fit the window, while it arrives: one at a time (E5).
    fn advance(&mut self, cx: &mut Context<'_>) {
        let Some(partial) = &mut self.partial else { return };
        // Half, because HTTP/2 gives room back in steps and a message above this might wait for a step for ever.
        let Some(_) = partial.total().filter(|&total| total + PREFIX > self.window / 2) else { return };
        if !partial.advanced {
            self.ledger.reader.register(cx.waker());
            if self.ledger.advanced.swap(true, Ordering::AcqRel) {
                return;
            }
            partial.advanced = true;
        }
        self.ledger.release(std::mem::take(&mut partial.held));
    }
}

impl Drop for Reader {
    /// Nothing more comes on this stream, so its share of the connection's window goes back at once, whoever still
    /// holds messages: a function that hangs on them must not stop others (M2).
    fn drop(&mut self) {
        self.ledger.close();
    }
}

fn read<M: Parse>(message: Bytes, credit: Credit) -> Read<M> {
    match M::parse(message) {
        Ok(message) => Read::Message(message, credit),
        Err(malformed) => Read::Malformed(malformed),
    }
}

/// Inflates a gzip message; memory follows what comes out, up to `limit`.
fn inflate(message: &[u8], limit: usize) -> Result<Bytes, Status> {
    let mut inflated = Vec::new();
    let mut decoder = flate2::read::MultiGzDecoder::new(message).take(limit as u64 + 1);
    decoder
        .read_to_end(&mut inflated)
        .map_err(|error| Status::internal(format!("a gzip message that does not inflate: {error} (P11)")))?;
    if inflated.len() > limit {
        return Err(Status::too_large(inflated.len() as u64, limit));
    }
    Ok(inflated.into())
}
