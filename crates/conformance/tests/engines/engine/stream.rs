//! One HTTP/2 stream as gRPC has it, seen by the client: messages in, with the credit that they hold, and messages out.

use std::collections::VecDeque;
use std::future::poll_fn;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use h2::client::ResponseFuture;
use h2::{RecvStream, SendStream};
use http::{HeaderMap, HeaderValue};

use crate::mutant::{Mutant, Mutation as M};

/// The longest message that is taken (P7).
const LIMIT: usize = 128 << 20;

/// Bytes of the worker's window that are kept free for Cancel (E9).
const KEPT: usize = 64 << 10;

/// A window that is smaller has no room to keep.
const SMALL_WINDOW: usize = 192 << 10;

/// What comes in.
pub(crate) enum Arrival {
    /// A message, and the bytes of the window that it holds until they are given back.
    Message(Bytes, usize),
    /// The stream's end: its status (R14).
    End(u32, String),
    /// It was reset, its connection is gone, or its bytes are none of gRPC's.
    Broken(String),
}

pub(crate) struct Input {
    response: Option<ResponseFuture>,
    body: Option<RecvStream>,
    buffer: BytesMut,
    /// Bytes of the buffer whose credit was given back before their message was whole.
    early: usize,
    /// The next message gets its credit back while it comes: it may be larger than the window (E5).
    pub(crate) eager: bool,
    mutant: Mutant,
}

impl Input {
    pub(crate) fn new(response: ResponseFuture, mutant: Mutant) -> Self {
        Input { response: Some(response), body: None, buffer: BytesMut::new(), early: 0, eager: true, mutant }
    }

    /// The next that comes. Nothing is lost when this is given up.
    pub(crate) async fn next(&mut self) -> Arrival {
        if let Some(response) = &mut self.response {
            let response = match response.await {
                Ok(response) => response,
                Err(error) => return Arrival::Broken(error.to_string()),
            };
            self.response = None;
            let (head, body) = response.into_parts();
            if let Some((code, text)) = self.status(&head.headers) {
                return Arrival::End(code, text);
            }
            let kind = head.headers.get("content-type").map_or(&b""[..], HeaderValue::as_bytes);
            if head.status != 200 || !kind.starts_with(b"application/grpc") {
                return Arrival::Broken(format!("HTTP status {}: that is no gRPC", head.status));
            }
            self.body = Some(body);
        }
        loop {
            match self.take() {
                Ok(Some((message, credit))) => return Arrival::Message(message, credit),
                Ok(None) => {}
                Err(why) => return Arrival::Broken(why),
            }
            // Who gives credit back early lets another stream pass, if only by drops.
            if self.eager && !self.mutant.is(M::WindowIsThatOfAll) {
                self.release_begun();
            }
            let Some(body) = &mut self.body else { return Arrival::Broken("there is no body".into()) };
            match body.data().await {
                Some(Ok(piece)) => self.buffer.extend_from_slice(&piece),
                Some(Err(error)) => return Arrival::Broken(error.to_string()),
                None if !self.buffer.is_empty() => {
                    return Arrival::Broken("the stream ends within a message".into());
                }
                None => break,
            }
        }
        let Some(body) = &mut self.body else { return Arrival::Broken("there is no body".into()) };
        match body.trailers().await {
            Ok(trailers) => match trailers.as_ref().and_then(|trailers| self.status(trailers)) {
                Some((code, text)) => Arrival::End(code, text),
                None => Arrival::Broken("the stream ends without a status".into()),
            },
            Err(error) => Arrival::Broken(error.to_string()),
        }
    }

    fn status(&self, headers: &HeaderMap) -> Option<(u32, String)> {
        let code = headers.get("grpc-status")?.to_str().ok()?.parse().ok()?;
        let text = headers.get("grpc-message").filter(|_| !self.mutant.is(M::TextOfTheStatusIsLost));
        Some((code, text.map_or(String::new(), |text| percent_decoded(text.as_bytes()))))
    }

    fn take(&mut self) -> Result<Option<(Bytes, usize)>, String> {
        let Some(mut prefix) = self.buffer.get(..5) else { return Ok(None) };
        let (flag, len) = (prefix.get_u8(), prefix.get_u32() as usize);
        let limit = match () {
            () if self.mutant.is(M::UsualLimitOfGrpc) => 4 << 20,
            () if self.mutant.is(M::ClaimedLengthIsAllocated) => usize::MAX,
            () => LIMIT,
        };
        if flag != 0 || len > limit {
            return Err(format!("a message of {len} bytes with the flag {flag}"));
        }
        if self.mutant.is(M::ClaimedLengthIsAllocated) && self.buffer.capacity() < len {
            self.buffer.reserve(len);
            // As a reader would that wants its buffer zeroed.
            let begun = self.buffer.len();
            self.buffer.resize(len, 0);
            self.buffer.truncate(begun);
        }
        if self.buffer.len() < 5 + len {
            return Ok(None);
        }
        let message = self.buffer.split_to(5 + len).freeze().split_off(5);
        let credit = (5 + len).saturating_sub(self.early);
        self.early = self.early.saturating_sub(5 + len);
        if self.mutant.is(M::OneMessageAFrame) {
            self.buffer.clear();
        }
        Ok(Some((message, credit)))
    }

    /// Gives credit back.
    pub(crate) fn release(&mut self, credit: usize) {
        if let Some(body) = self.body.as_mut().filter(|_| !self.mutant.is(M::CreditIsNeverGivenBack)) {
            // A stream that is over takes none.
            let _ = body.flow_control().release_capacity(credit);
        }
    }

    fn release_begun(&mut self) {
        let begun = self.buffer.len().saturating_sub(self.early);
        if begun > 0 {
            self.release(begun);
            self.early += begun;
        }
    }
}

fn percent_decoded(text: &[u8]) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut at = 0;
    while at < text.len() {
        let digits = text.get(at + 1..at + 3).filter(|_| text[at] == b'%');
        let byte = digits.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        bytes.push(byte.unwrap_or(text[at]));
        at += if byte.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// What a message of ours is, as far as its sending depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Init.
    First,
    /// Payload and data: they wait for room.
    Bulk,
    Finish,
    Cancel,
}

pub(crate) struct Output {
    body: SendStream<Bytes>,
    queue: VecDeque<(Bytes, Kind)>,
    /// Part of the first message was sent.
    begun: bool,
    /// The worker's window, once it is known.
    window: Option<usize>,
    over: bool,
    mutant: Mutant,
}

impl Output {
    pub(crate) fn new(body: SendStream<Bytes>, mutant: Mutant) -> Self {
        Output { body, queue: VecDeque::new(), begun: false, window: None, over: false, mutant }
    }

    pub(crate) fn push(&mut self, message: &[u8], kind: Kind) {
        let mut framed = BytesMut::with_capacity(5 + message.len());
        framed.put_u8(0);
        framed.put_u32(message.len() as u32);
        framed.put_slice(message);
        self.queue.push_back((framed.freeze(), kind));
    }

    /// What has not begun is not sent any more; whether Finish was among it (E9).
    pub(crate) fn drop_unbegun(&mut self) -> bool {
        let begun = usize::from(self.begun).min(self.queue.len());
        // The worker must know what is cancelled, if only by an Init.
        let first = self.queue.front().is_some_and(|(_, kind)| *kind == Kind::First);
        let dropped = self.queue.split_off(begun.max(usize::from(first)));
        dropped.iter().any(|(_, kind)| *kind == Kind::Finish)
    }

    /// The two that were put there last change places.
    pub(crate) fn swap_last(&mut self) {
        if let [.., one, other] = self.queue.make_contiguous() {
            std::mem::swap(one, other);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(crate) fn has_room(&self) -> bool {
        let queued: usize = self.queue.iter().map(|(message, _)| message.len()).sum();
        queued < 64 << 10 || self.mutant.is(M::InputGathers)
    }

    /// Sends all there is. Nothing is lost when this is given up.
    pub(crate) async fn pump(&mut self) {
        while let Some((message, kind)) = self.queue.front() {
            let (wanted, kind) = (message.len().min(256 << 10), *kind);
            let need = match kind {
                Kind::Bulk if !self.begun => self.room_to_begin(message.len()),
                _ => 1,
            };
            self.body.reserve_capacity(need.max(wanted));
            while self.body.capacity() < need {
                if !matches!(poll_fn(|cx| self.body.poll_capacity(cx)).await, Some(Ok(_))) {
                    // Why is what the other half will tell.
                    self.queue.clear();
                    return;
                }
            }
            let room = self.body.capacity();
            let Some((message, _)) = self.queue.front_mut() else { return };
            let piece = message.split_to(room.min(wanted));
            self.begun = !message.is_empty();
            if self.body.send_data(piece, false).is_err() {
                self.queue.clear();
                return;
            }
            if !self.begun {
                self.queue.pop_front();
                // Room that is not needed belongs to the other streams of the connection.
                self.body.reserve_capacity(0);
            }
        }
    }

    /// How much room there must be before a message begins, so that Cancel never stands behind one that is stuck (E9).
    fn room_to_begin(&mut self, len: usize) -> usize {
        self.learn_window();
        match self.window {
            Some(window) if window >= SMALL_WINDOW && !self.mutant.is(M::NoRoomIsKept) => {
                (len + KEPT).min(window / 2).max(KEPT)
            }
            _ => 1,
        }
    }

    /// The worker's window, while nearly nothing was sent: Init, and that it had room.
    fn learn_window(&mut self) {
        if self.window.is_none() {
            self.body.reserve_capacity(8 << 20);
            self.window = Some(self.body.capacity()).filter(|window| *window > 0);
            self.body.reserve_capacity(0);
        }
    }

    /// Ends our half behind a terminator; a message that was cut off leaves nothing but a reset.
    pub(crate) fn half_close(&mut self) {
        if self.begun {
            return self.reset();
        }
        self.queue.clear();
        if !std::mem::replace(&mut self.over, true) {
            // The stream may be over already.
            let _ = self.body.send_data(Bytes::new(), true);
        }
    }

    /// Ends our half behind what is queued.
    pub(crate) fn half_close_behind(&mut self) {
        while let Some((message, _)) = self.queue.pop_front() {
            let _ = self.body.send_data(message, false);
        }
        self.half_close();
    }

    pub(crate) fn reset(&mut self) {
        self.queue.clear();
        if !std::mem::replace(&mut self.over, true) {
            self.body.send_reset(h2::Reason::CANCEL);
        }
    }
}
