//! Writing messages to a stream: none is begun before there is room for it, so that Cancel is never stuck behind one
//! (E9).

use std::task::{Context, Poll};

use bytes::Buf;
use h2::SendStream;
use http::HeaderMap;

use crate::outgoing::Outgoing;
use crate::settings::Settings;
use crate::status::Status;

/// Bytes of the peer's window that data leaves free for Cancel and other control messages (E9).
const RESERVE: usize = 64 << 10;

/// The most room that is asked for before a message is begun: half the window that a crowded connection leaves, since
/// this one may become crowded while we wait.
const MOST: usize = 3 << 19;

/// A peer whose window is smaller than this gets data as room appears; holding room back would only starve it.
const SMALL_WINDOW: usize = 256 << 10;

/// Our direction of a stream.
#[derive(Debug)]
pub(crate) struct Writer {
    stream: SendStream<Outgoing>,
    send_buffer: usize,
    /// Room asked for before a message as large as this or larger is begun; unknown until the first one.
    most: Option<usize>,
    waiting: bool,
}

impl Writer {
    pub(crate) fn new(stream: SendStream<Outgoing>, settings: &Settings) -> Self {
        Writer { stream, send_buffer: settings.send_buffer, most: None, waiting: false }
    }

    /// Learns the peer's window while nearly nothing was sent, so that all of it is free. A stream that is not on the
    /// wire yet has none, and is asked again.
    fn most(&mut self) -> usize {
        if let Some(most) = self.most {
            return most;
        }
        self.stream.reserve_capacity(self.send_buffer);
        let window = self.stream.capacity();
        self.stream.reserve_capacity(0);
        // The peer opens its window again in steps of up to a third, so that more than a half might never be free.
        let most = if window < SMALL_WINDOW { 1 } else { (window / 2).min(MOST) };
        if window > 0 {
            self.most = Some(most);
        }
        most
    }

    /// Ready when a data message of `len` bytes may begin.
    pub(crate) fn poll_room(&mut self, cx: &mut Context<'_>, len: usize) -> Poll<Result<(), Status>> {
        let need = (len + RESERVE).min(self.most());
        self.stream.reserve_capacity(need);
        self.waiting = true;
        while self.stream.capacity() < need {
            match std::task::ready!(self.stream.poll_capacity(cx)) {
                Some(Ok(_)) => {}
                Some(Err(error)) => return Poll::Ready(Err(error.into())),
                None => return Poll::Ready(Err(Status::unavailable("the stream is closed"))),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Hands a message to HTTP/2. Control messages need no room: they queue behind the message that has begun.
    pub(crate) fn send(&mut self, message: Outgoing) -> Result<(), Status> {
        debug_assert!(message.has_remaining(), "even an empty message has a prefix");
        self.stream.send_data(message, false).map_err(Status::from)?;
        self.stop_waiting();
        Ok(())
    }

    /// Gives back room that was asked for a message which will not be sent.
    pub(crate) fn stop_waiting(&mut self) {
        if std::mem::take(&mut self.waiting) {
            self.stream.reserve_capacity(0);
        }
    }

    /// Ends our side after all that was sent.
    pub(crate) fn half_close(&mut self) -> Result<(), Status> {
        self.stream.send_data(Outgoing::raw(bytes::Bytes::new()), true).map_err(Status::from)
    }

    /// Ends our side with a status, after all that was sent.
    pub(crate) fn trailers(&mut self, status: &Status) -> Result<(), Status> {
        let mut trailers = HeaderMap::new();
        status.write_to(&mut trailers);
        self.stream.send_trailers(trailers).map_err(Status::from)
    }

    /// Ends both sides at once; what was not on the socket yet is dropped.
    pub(crate) fn reset(&mut self, reason: h2::Reason) {
        self.stream.send_reset(reason);
    }

    /// Ready when the peer reset the stream.
    pub(crate) fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<Status> {
        self.stream.poll_reset(cx).map(|reset| match reset {
            Ok(reason) => h2::Error::from(reason).into(),
            Err(error) => error.into(),
        })
    }
}
