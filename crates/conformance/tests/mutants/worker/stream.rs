//! One HTTP/2 stream as gRPC has it: messages in, with the credit that they hold, and messages out.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::Read as _;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use h2::server::SendResponse;
use h2::{RecvStream, SendStream};
use http::{HeaderMap, HeaderValue, Response};

/// What comes in.
pub(crate) enum Arrival {
    /// A message, and the bytes of the window that it holds until they are given back.
    Message(Bytes, usize),
    HalfClose,
    Broken,
    /// Bytes that are no message: the status that says so.
    Refused(u32, String),
}

pub(crate) struct Input {
    body: RecvStream,
    buffer: BytesMut,
    /// Bytes of the buffer whose credit was given back before their message was whole.
    early: usize,
    gzip: bool,
    any_flag: bool,
    limit: usize,
    /// The next message gets its credit back while it comes: it may be larger than the window.
    pub(crate) eager: bool,
    /// Nothing more comes.
    pub(crate) over: bool,
}

impl Input {
    pub(crate) fn new(body: RecvStream, gzip: bool, limit: usize, any_flag: bool) -> Self {
        Input { body, buffer: BytesMut::new(), early: 0, gzip, any_flag, limit, eager: true, over: false }
    }

    /// The next that comes. Nothing is lost when this is given up.
    pub(crate) async fn next(&mut self) -> Arrival {
        loop {
            if let Some(arrival) = self.take() {
                self.over |= !matches!(arrival, Arrival::Message(..));
                return arrival;
            }
            if self.eager {
                self.release_begun();
            }
            match self.body.data().await {
                Some(Ok(piece)) => self.buffer.extend_from_slice(&piece),
                end => {
                    self.over = true;
                    return match end {
                        None if self.buffer.is_empty() => Arrival::HalfClose,
                        None => Arrival::Refused(13, "the stream ends within a message".into()),
                        Some(_) => Arrival::Broken,
                    };
                }
            }
        }
    }

    fn take(&mut self) -> Option<Arrival> {
        let mut prefix = self.buffer.get(..5)?;
        let (flag, len) = (prefix.get_u8(), prefix.get_u32() as usize);
        let too_large = || Some(Arrival::Refused(8, format!("a message is over {} bytes", self.limit)));
        if len > self.limit {
            return too_large();
        }
        if self.buffer.len() < 5 + len {
            return None;
        }
        let message = self.buffer.split_to(5 + len).freeze().split_off(5);
        let credit = (5 + len).saturating_sub(self.early);
        self.early = self.early.saturating_sub(5 + len);
        Some(match flag {
            0 => Arrival::Message(message, credit),
            _ if self.any_flag => Arrival::Message(message, credit),
            1 if self.gzip => {
                let mut plain = Vec::new();
                let most = self.limit as u64 + 1;
                match flate2::read::MultiGzDecoder::new(&message[..]).take(most).read_to_end(&mut plain) {
                    Ok(len) if len > self.limit => return too_large(),
                    Ok(_) => Arrival::Message(plain.into(), credit),
                    Err(error) => Arrival::Refused(13, format!("a message does not decompress: {error}")),
                }
            }
            _ => Arrival::Refused(13, format!("a message has the flag {flag}")),
        })
    }

    /// Gives credit back.
    pub(crate) fn release(&mut self, credit: usize) {
        // A stream that is over takes none.
        let _ = self.body.flow_control().release_capacity(credit);
    }

    fn release_begun(&mut self) {
        let begun = self.buffer.len().saturating_sub(self.early);
        if begun > 0 {
            self.release(begun);
            self.early += begun;
        }
    }
}

pub(crate) struct Output {
    body: SendStream<Bytes>,
    queue: VecDeque<(Bytes, bool)>,
    /// Part of the first message was sent.
    begun: bool,
}

impl Output {
    /// Answers with the headers at once: whatever comes of the call is in its trailers.
    pub(crate) fn new(mut reply: SendResponse<Bytes>) -> Result<Self, h2::Error> {
        let mut response = Response::new(());
        response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
        Ok(Output { body: reply.send_response(response, false)?, queue: VecDeque::new(), begun: false })
    }

    pub(crate) fn push(&mut self, message: &[u8], is_data: bool) {
        let mut framed = BytesMut::with_capacity(5 + message.len());
        framed.put_u8(0);
        framed.put_u32(message.len() as u32);
        framed.put_slice(message);
        self.queue.push_back((framed.freeze(), is_data));
    }

    /// Data of which nothing was sent is not sent any more.
    pub(crate) fn drop_data(&mut self) {
        let begun = self.begun;
        let mut number = 0;
        self.queue.retain(|(_, is_data)| {
            number += 1;
            !is_data || (begun && number == 1)
        });
    }

    /// The two that were put there last change places.
    pub(crate) fn swap_last(&mut self) {
        if let [.., _, _] = self.queue.make_contiguous() {
            let last = self.queue.len() - 1;
            self.queue.swap(last - 1, last);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(crate) fn has_room(&self) -> bool {
        self.queue.iter().map(|(message, _)| message.len()).sum::<usize>() < 16 << 10
    }

    /// Sends a piece of what there is; with nothing to send, waits for the stream's end. Whether the stream still is. Nothing is lost
    /// when this is given up.
    pub(crate) async fn pump(&mut self) -> bool {
        if self.queue.is_empty() {
            let _ = poll_fn(|cx| self.body.poll_reset(cx)).await;
            return false;
        }
        while let Some((message, _)) = self.queue.front_mut() {
            let wanted = message.len().min(64 << 10);
            self.body.reserve_capacity(wanted);
            let room = match self.body.capacity() {
                0 => poll_fn(|cx| self.body.poll_capacity(cx)).await.and_then(Result::ok),
                room => Some(room),
            };
            let Some(room) = room else { return false };
            if room == 0 {
                continue;
            }
            let piece = message.split_to(room.min(wanted));
            self.begun = !message.is_empty();
            if self.body.send_data(piece, false).is_err() {
                return false;
            }
            if !self.begun {
                self.queue.pop_front();
            }
            break;
        }
        true
    }

    /// Ends the stream.
    pub(crate) fn end(&mut self, code: u32, message: &str) {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", code.into());
        if let Ok(message) = HeaderValue::try_from(message)
            && !message.is_empty()
        {
            trailers.insert("grpc-message", message);
        }
        // It may be over already.
        let _ = self.body.send_trailers(trailers);
    }
}
