//! Writing messages to a stream: none is begun before there is room for it, so that Cancel is never stuck behind one
//! (E9).

use std::task::{Context, Poll};

use bytes::Buf;
use h2::SendStream;
use http::HeaderMap;

use crate::outgoing::{Outgoing, Unsent};
use crate::settings::{Settings, Tenant};
use crate::status::Status;

/// Bytes of the peer's window that data leaves free for Cancel and other control messages (E9).
const RESERVE: usize = 64 << 10;

/// A peer whose window is smaller than this gets data as room appears: it may never open so far. Init has taken some of it
/// when it is looked at.
const SMALL_WINDOW: usize = 192 << 10;

/// The other executions on a stream's connection: whether it keeps room from them while it waits with some.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Neighbours {
    /// The peer keeps its streams' windows apart (`stream_windows`, M6): they have room of their own.
    Apart,
    /// There are none, now or later.
    None,
    /// There may be some, and the peer says nothing of its connection's window.
    Unknown,
}

/// Our direction of a stream.
#[derive(Debug)]
pub(crate) struct Writer {
    stream: SendStream<Outgoing>,
    send_buffer: usize,
    /// The peer's window, once it is known.
    window: Option<usize>,
    /// What a peer that promised nothing may shrink it to later on.
    crowded: usize,
    neighbours: Neighbours,
    /// Counted as long as we write.
    _tenant: Tenant,
    waiting: bool,
    unsent: Unsent,
}

impl Writer {
    pub(crate) fn new(
        stream: SendStream<Outgoing>,
        settings: &Settings,
        neighbours: Neighbours,
        tenant: Tenant,
    ) -> Self {
        Writer {
            stream,
            send_buffer: settings.send_buffer,
            window: None,
            crowded: settings.crowded_window as usize,
            neighbours,
            _tenant: tenant,
            waiting: false,
            unsent: Unsent::default(),
        }
    }

    /// How much room is needed at most before a message may begin, however large.
    ///
    /// Room that waits is kept from the other streams of the connection. Where these share one window, as most gRPC
    /// libraries have it, several that wait would starve each other, and one that was alone can't know when it no longer
    /// is; there data goes as room appears (E5).
    fn most(&mut self) -> usize {
        if self.neighbours == Neighbours::Unknown {
            return 1;
        }
        match self.window() {
            window if window < SMALL_WINDOW => 1,
            // Ours opens again in steps of up to a third, so that more than two thirds might never be free.
            window if self.neighbours == Neighbours::Apart => window / 8 * 5,
            // How others do it is not known. They may shrink it while we wait, and HTTP/2 does not tell us.
            window => window.min(self.crowded) / 2,
        }
    }

    /// The peer's window, learned while nearly nothing was sent, so that all of it is free. A stream that is not on the
    /// wire yet has none, and is asked again.
    fn window(&mut self) -> usize {
        if let Some(window) = self.window {
            return window;
        }
        self.stream.reserve_capacity(self.send_buffer);
        let window = self.stream.capacity();
        self.stream.reserve_capacity(0);
        if window > 0 {
            self.window = Some(window);
        }
        window
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
    pub(crate) fn send(&mut self, mut message: Outgoing) -> Result<(), Status> {
        debug_assert!(message.has_remaining(), "even an empty message has a prefix");
        message.count_in(&self.unsent);
        self.stream.send_data(message, false).map_err(Status::from)?;
        self.stop_waiting();
        Ok(())
    }

    /// Bytes of messages that HTTP/2 has taken and not sent yet.
    pub(crate) fn unsent(&self) -> usize {
        self.unsent.bytes()
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
