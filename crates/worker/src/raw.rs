//! The lowest of the three faces: bytes in, bytes out, nothing decoded.
//!
//! [`Function`](crate::Function) is built on this, and so are the echo functions of rule S, which must not look at what
//! passes. Use it for data that is not Arrow, or to register a payload format of your own.

use std::sync::Arc;
use std::time::Duration;

use anyudf_grpc::Outgoing;
use bytes::Bytes;

use crate::cancellation::Cancellation;
use crate::clock::Call;
use crate::error::Result;
use crate::invocation::Invocation;
use crate::link::{Ends, Reason};
use crate::pulled::{Body, PulledRawFunction};
use crate::thread::Desk;

/// A payload format: how the bytes of `UdfPayload` become a function (R18). See
/// [`Worker::with_format`](crate::Worker::with_format).
pub(crate) type PayloadFormat = dyn Fn(&mut Invocation) -> Result<Opened> + Send + Sync;

/// A function that is open, and what InitResponse carries.
pub struct Opened {
    pub(crate) function: Body<dyn RawFunction, dyn PulledRawFunction>,
    pub(crate) data: Option<Bytes>,
    pub(crate) timeout: Option<Duration>,
}

impl Opened {
    /// An open function.
    pub fn new(function: impl RawFunction) -> Self {
        Opened { function: Body::Pushed(Box::new(function)), data: None, timeout: None }
    }

    /// An open function that asks for its input.
    pub fn pulled(function: impl PulledRawFunction) -> Self {
        Opened { function: Body::Pulled(Box::new(function)), data: None, timeout: None }
    }

    /// The same with a limit of its own for each call that follows (C11). Of that and the engine's the smaller one holds.
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// The same with `InitResponse.data` (R4). Data over the message limit fails the opening, with the condition
    /// `MESSAGE_TOO_LARGE` (P7).
    pub fn with_data(mut self, data: impl Into<Bytes>) -> Self {
        self.data = Some(data.into());
        self
    }
}

impl std::fmt::Debug for Opened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Opened").finish_non_exhaustive()
    }
}

/// One execution over bytes, made by a payload format. All calls come on one thread; after the last one it is dropped there.
///
/// ```text
/// start process* (finish | cancel)
/// ```
///
/// After a panic nothing more is called.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a function over bytes",
    label = "implement `RawFunction`; for Arrow batches implement `Function` instead"
)]
pub trait RawFunction: 'static {
    /// Called once, right after InitResponse: a generator emits from here (R6).
    ///
    /// # Errors
    /// What ErrorResponse will say (R7).
    fn start(&mut self, _out: &mut RawOutput<'_>) -> Result<()> {
        Ok(())
    }

    /// Takes the data of one DataRequest.
    ///
    /// # Errors
    /// What ErrorResponse will say (R7); `cancel` is called then.
    fn process(&mut self, data: Bytes, out: &mut RawOutput<'_>) -> Result<()>;

    /// The input has ended: emits what is left (R10).
    ///
    /// # Errors
    /// What FinishResponse.error will say.
    fn finish(self: Box<Self>, _out: &mut RawOutput<'_>) -> Result<()> {
        Ok(())
    }

    /// The execution ends without finishing: cleans up (R12). There is nobody left to send to.
    ///
    /// # Errors
    /// What CancelResponse.error will say.
    fn cancel(self: Box<Self>, _reason: &Reason) -> Result<()> {
        Ok(())
    }
}

/// Where a function's output goes, and what it can learn while it runs.
pub struct RawOutput<'a> {
    pub(crate) ends: &'a Ends,
    pub(crate) desk: &'a mut Desk,
}

impl<'a> RawOutput<'a> {
    pub(crate) fn new(ends: &'a Ends, desk: &'a mut Desk) -> Self {
        RawOutput { ends, desk }
    }

    /// The same output for the length of a borrow.
    pub(crate) fn reborrow(&mut self) -> RawOutput<'_> {
        RawOutput { ends: self.ends, desk: self.desk }
    }

    /// Sends one DataResponse, `parts` one after the other, none of them copied. Blocks while the engine is slow.
    ///
    /// # Errors
    /// Kind [`Cancelled`](crate::ErrorKind::Cancelled) when the execution was cancelled: pass it on with `?`.
    /// `MESSAGE_TOO_LARGE` when it is over the message limit.
    pub fn send(&mut self, parts: impl IntoIterator<Item = Bytes>) -> Result<()> {
        self.hand_over(Outgoing::data(parts), None)
    }

    /// The same with the number of rows it holds, for the counters (C8).
    ///
    /// # Errors
    /// As [`send`](RawOutput::send).
    pub fn send_rows(&mut self, parts: impl IntoIterator<Item = Bytes>, rows: u64) -> Result<()> {
        self.hand_over(Outgoing::data(parts), Some(rows))
    }

    /// Whether the execution was cancelled. Look at it inside long loops, and return soon when it was (R12).
    pub fn cancelled(&self) -> bool {
        self.ends.shared.is_cancelled()
    }

    /// The same for code that has no output at hand.
    pub fn cancellation(&self) -> Cancellation {
        Cancellation::new(Arc::clone(&self.ends.shared))
    }

    /// Fails when the execution was cancelled: `out.check()?` inside a loop ends it.
    ///
    /// # Errors
    /// Kind [`Cancelled`](crate::ErrorKind::Cancelled).
    pub fn check(&self) -> Result<()> {
        if self.cancelled() { Err(crate::Error::cancelled()) } else { Ok(()) }
    }

    /// Sets a metric of the function's own, sent with the terminator (C8).
    pub fn metric(&mut self, name: impl Into<String>, value: impl std::fmt::Display) {
        self.desk.metrics.set_other(name, value.to_string());
    }

    /// Sets what `FinishResponse.data` will be: the result of a function that answers no batches (R10). One that is over
    /// the message limit is not sent; `FinishResponse.error` then says `MESSAGE_TOO_LARGE` (P7).
    pub fn set_result(&mut self, data: impl Into<Bytes>) {
        self.desk.data = Some(data.into());
    }

    /// The largest message that may be sent, in bytes.
    pub fn max_message_bytes(&self) -> usize {
        self.desk.max_message
    }

    /// The present call.
    pub(crate) fn call(&self) -> Call {
        self.ends.shared.clock.call()
    }

    /// Rows that the function's adapter has decoded (C8).
    pub(crate) fn count_rows_in(&self, rows: u64) {
        self.ends.shared.counters.rows_in(rows);
    }

    /// From now on rows are counted (C8).
    pub(crate) fn count_rows(&self) {
        self.ends.shared.counters.rows_are_known();
    }
}

impl std::fmt::Debug for RawOutput<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RawOutput").field("cancelled", &self.cancelled()).finish_non_exhaustive()
    }
}
