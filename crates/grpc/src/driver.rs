//! The one loop that engine and worker share: carry messages between a stream and a [`Role`].
//!
//! ```text
//!             h2 stream                     Role (no I/O)                    caller / user code
//!   arrived ── Reader ── Event::Message ──▶ handle ───────── queues ───────▶
//!   to send ◀─ Writer ◀──────────────────── outbox ◀──────── poll_asked ────
//!   clock ─────────────── Event::Elapsed ─▶ deadline
//! ```
//!
//! The loop listens while it waits to send, so that two full windows never stop each other, and it asks the role what
//! was asked before it begins the next message, so that Cancel passes what is queued (E9).

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use anyudf_protocol::Violation;
use bytes::Buf;
use tokio::time::{Instant, Sleep};

use crate::credit::Credit;
use crate::outgoing::Outgoing;
use crate::reader::{Malformed, Parse, Read, Reader};
use crate::status::Status;
use crate::writer::Writer;

/// Messages handled before other tasks of the thread get their turn.
const TURN: usize = 64;

/// How long an ended stream waits for the peer to end its side before it is reset; anew while what was said still goes out.
const LINGER: Duration = Duration::from_secs(1);

/// How long it waits at most for a peer that reads slowly: a worker ends within 5 s (P4).
pub(crate) const LONGEST_LINGER: Duration = Duration::from_secs(4);

/// What happened on the stream, for a [`Role`] to act on.
#[derive(Debug)]
pub enum Event<M> {
    /// A message arrived. Drop the credit when its bytes were taken (E5).
    Message(M, Credit),
    /// A message arrived that is empty or of an unknown kind (R16).
    Violation(Violation),
    /// The peer ended its side: the engine half-closed, or the worker sent this status.
    Ended(Status),
    /// The stream is unusable: reset, disconnected, or the bytes make no sense (R14).
    Broken(Status),
    /// The time that [`Role::deadline`] named has come.
    Elapsed,
}

/// How our side ends, once everything in the outbox went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Properly: the engine half-closes, the worker sends this status.
    Close(Status),
    /// At once, whatever is still queued.
    Reset,
}

/// One side of an execution: decides what is said and when. Does no I/O and never waits.
pub trait Role {
    /// What the peer sends.
    type Incoming: Parse;

    /// Acts on what happened.
    fn handle(&mut self, event: Event<Self::Incoming>, now: Instant);

    /// Takes in what the caller or the user code asked since; called often. Ready when something changed, pending (with
    /// the waker registered) when nothing was asked.
    fn poll_asked(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<()>;

    /// Messages to send, in order. Bulk at the front waits for room; the role keeps little here and may take back what
    /// is still here.
    fn outbox(&mut self) -> &mut VecDeque<Outgoing>;

    /// Whether messages are of no more use, those included whose [`Credit`] somebody still holds: their room goes back
    /// to the peer at once, so that its last words come through whoever reads no more (E9).
    fn discards(&self) -> bool {
        false
    }

    /// When [`Event::Elapsed`] is wanted.
    fn deadline(&self) -> Option<Instant>;

    /// Set when nothing more is to come from us.
    fn ending(&self) -> Option<Ending>;

    /// Called once when the ending is under way, before the peer is waited for.
    fn ended(&mut self) {}
}

/// The two directions of a stream that [`drive`] drives.
#[derive(Debug)]
pub struct Duplex {
    pub(crate) reader: Source,
    pub(crate) writer: Writer,
    /// Whether our side ends with trailers (the worker) or by closing (the engine).
    pub(crate) server: bool,
}

/// Where messages come from: on the engine's side only after the response headers.
#[derive(Debug)]
pub(crate) enum Source {
    Headers(crate::client::Headers),
    Messages(Box<Reader>),
    /// Nothing more comes.
    Ended,
}

impl Source {
    fn poll<M: Parse>(&mut self, cx: &mut Context<'_>) -> Poll<Event<M>> {
        loop {
            let event = match self {
                Source::Headers(headers) => match std::task::ready!(headers.poll(cx)) {
                    Ok(reader) => {
                        *self = Source::Messages(Box::new(reader));
                        continue;
                    }
                    Err(status) => Event::Broken(status),
                },
                Source::Messages(reader) => match std::task::ready!(reader.poll(cx)) {
                    Read::Message(message, credit) => return Poll::Ready(Event::Message(message, credit)),
                    Read::Malformed(Malformed::Violation(violation)) => {
                        return Poll::Ready(Event::Violation(violation));
                    }
                    Read::Malformed(Malformed::Undecodable(status)) | Read::Broken(status) => Event::Broken(status),
                    Read::End(trailers) => {
                        let status = trailers.as_ref().and_then(Status::from_trailers);
                        Event::Ended(status.unwrap_or_else(Status::ok))
                    }
                },
                Source::Ended => return Poll::Pending,
            };
            if let Event::Broken(_) = event {
                *self = Source::Ended;
            } else if let Source::Messages(reader) = std::mem::replace(self, Source::Ended) {
                drop(reader);
            }
            return Poll::Ready(event);
        }
    }

    /// See [`Role::discards`].
    fn discard(&mut self) {
        if let Source::Messages(reader) = self {
            reader.discard();
        }
    }

    /// See [`Reader::gather`].
    fn gather<M: Parse>(&mut self, cx: &mut Context<'_>) {
        if let Source::Messages(reader) = self {
            reader.gather::<M>(cx);
        }
    }

    /// Whether a reset would go unheard here.
    fn is_deaf(&self) -> bool {
        match self {
            Source::Headers(_) => false,
            Source::Messages(reader) => reader.is_deaf(),
            Source::Ended => true,
        }
    }

    /// Drops whatever still arrives; ready when the peer's side has ended, however. Headers are waited for as well: to
    /// let go of them would reset the stream, and with it what was said last.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            match self {
                Source::Headers(headers) => match std::task::ready!(headers.poll(cx)) {
                    Ok(reader) => *self = Source::Messages(Box::new(reader)),
                    Err(_) => return Poll::Ready(()),
                },
                Source::Messages(reader) => return reader.poll_drain(cx),
                Source::Ended => return Poll::Ready(()),
            }
        }
    }
}

/// Drives a role until it has ended, then ends the stream. Returns the role.
///
/// # Cancel safety
/// Dropping the future drops the stream, which the peer sees as a reset.
pub async fn drive<R: Role>(mut role: R, duplex: Duplex) -> R {
    let Duplex { mut reader, mut writer, server } = duplex;
    let mut timer: Option<Pin<Box<Sleep>>> = None;
    let mut reset_seen = false;
    let ending = poll_fn(|cx| {
        for _ in 0..TURN {
            let mut idle = true;
            if role.poll_asked(cx, Instant::now()).is_ready() {
                idle = false;
            }
            if role.discards() {
                reader.discard();
            }
            if let Poll::Ready(event) = reader.poll(cx) {
                role.handle(event, Instant::now());
                idle = false;
            } else if reader.is_deaf()
                && !reset_seen
                && let Poll::Ready(status) = writer.poll_reset(cx)
            {
                reset_seen = true;
                role.handle(Event::Broken(status), Instant::now());
                idle = false;
            }
            if poll_timer(&mut timer, role.deadline(), cx) {
                role.handle(Event::Elapsed, Instant::now());
                idle = false;
            }
            match send(role.outbox(), &mut writer, cx) {
                Ok(sent) => idle &= !sent,
                Err(status) => {
                    role.outbox().clear();
                    role.handle(Event::Broken(status), Instant::now());
                    idle = false;
                }
            }
            match role.ending() {
                Some(Ending::Close(_)) if !role.outbox().is_empty() => {}
                Some(ending) => return Poll::Ready(ending),
                None => {}
            }
            if idle {
                return Poll::Pending;
            }
        }
        reader.gather::<R::Incoming>(cx);
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
    role.ended();
    end(ending, reader, writer, server).await;
    role
}

/// Sends what may go now. Says whether anything went.
fn send(outbox: &mut VecDeque<Outgoing>, writer: &mut Writer, cx: &mut Context<'_>) -> Result<bool, Status> {
    let mut sent = false;
    while let Some(next) = outbox.front() {
        if next.is_bulk() {
            match writer.poll_room(cx, next.remaining()) {
                Poll::Ready(room) => room?,
                Poll::Pending => return Ok(sent),
            }
        }
        if let Some(next) = outbox.pop_front() {
            writer.send(next)?;
            sent = true;
        }
    }
    writer.stop_waiting();
    Ok(sent)
}

/// Whether the deadline has passed. Keeps `timer` at it.
fn poll_timer(timer: &mut Option<Pin<Box<Sleep>>>, deadline: Option<Instant>, cx: &mut Context<'_>) -> bool {
    let Some(deadline) = deadline else { return false };
    let sleep = timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
    if sleep.deadline() != deadline {
        sleep.as_mut().reset(deadline);
    }
    sleep.as_mut().poll(cx).is_ready()
}

/// Ends our side and waits a little for the peer to end its own, so that it never sees a reset after a good ending.
async fn end(ending: Ending, mut reader: Source, mut writer: Writer, server: bool) {
    let closed = match &ending {
        Ending::Close(status) if server => writer.trailers(status),
        Ending::Close(_) => writer.half_close(),
        Ending::Reset => {
            writer.reset(h2::Reason::CANCEL);
            return;
        }
    };
    if closed.is_err() {
        writer.reset(h2::Reason::CANCEL);
        return;
    }
    let (began, mut unsent) = (Instant::now(), writer.unsent());
    while tokio::time::timeout(LINGER, poll_fn(|cx| reader.poll_drain(cx))).await.is_err() {
        let left = writer.unsent();
        if left >= unsent || began.elapsed() >= LONGEST_LINGER {
            return writer.reset(if server { h2::Reason::NO_ERROR } else { h2::Reason::CANCEL });
        }
        unsent = left;
    }
}
