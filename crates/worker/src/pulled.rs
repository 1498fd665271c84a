//! Functions that ask for their input, where a [`Function`](crate::Function) is called with it: iterators of batches, and
//! programs in languages whose functions are written so.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use anyudf_arrow::Decoder;
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use bytes::Bytes;

use crate::adapter::Intake;
use crate::cancellation::Cancellation;
use crate::error::Result;
use crate::function::Output;
use crate::inbox::Inbox;
use crate::raw::RawOutput;

/// A function that is open, by how it comes to its input: over batches or over bytes.
pub(crate) enum Body<Pushed: ?Sized, Pulled: ?Sized> {
    /// It is called with it.
    Pushed(Box<Pushed>),
    /// It asks for it.
    Pulled(Box<Pulled>),
}

/// One execution of a function over Arrow record batches that takes its input when it likes.
///
/// ```
/// use std::sync::Arc;
/// use anyudf_worker::{Definition, Input, Invocation, Kind, Output, PulledFunction, Result, Worker};
/// use arrow::datatypes::SchemaRef;
///
/// /// The first batch, and no other.
/// struct First { schema: SchemaRef }
///
/// impl PulledFunction for First {
///     fn output_schema(&self) -> SchemaRef {
///         Arc::clone(&self.schema)
///     }
///
///     fn run(self, mut input: Input, out: &mut Output<'_>) -> Result<()> {
///         input.next()?.map_or(Ok(()), |batch| out.emit(batch))
///     }
/// }
///
/// let open = |invocation: &Invocation| {
///     Ok(First { schema: invocation.input_schema()?.ok_or("Init.input_schema is needed")? })
/// };
/// let worker = Worker::new().with(Definition::pulled("first", Kind::Map, open).help("the first batch"));
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a function that asks for Arrow batches",
    label = "implement `PulledFunction`"
)]
pub trait PulledFunction: Sized + 'static {
    /// As [`Function::output_schema`](crate::Function::output_schema).
    fn output_schema(&self) -> SchemaRef;

    /// Called once, on the thread of the execution, right after InitResponse. It may emit before it asks (R6). When it returns
    /// before the input has ended, what still comes is dropped, and the execution finishes when the engine says Finish (R10).
    /// When it is cancelled, what it has waits to be dropped (R12); asking fails then, and so does emitting.
    ///
    /// # Errors
    /// What ErrorResponse will say, also after Finish (R7).
    fn run(self, input: Input, out: &mut Output<'_>) -> Result<()>;
}

/// One execution over bytes that takes its input when it likes. See [`PulledFunction`] and
/// [`Opened::pulled`](crate::Opened::pulled).
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a function that asks for bytes",
    label = "implement `PulledRawFunction`; for Arrow batches implement `PulledFunction` instead"
)]
pub trait PulledRawFunction: 'static {
    /// As [`PulledFunction::run`].
    ///
    /// # Errors
    /// What ErrorResponse will say (R7).
    fn run(self: Box<Self>, input: RawInput, out: &mut RawOutput<'_>) -> Result<()>;
}

/// A [`PulledFunction`] whose type nobody needs to know any more.
pub(crate) trait AnyPulled {
    fn output_schema(&self) -> SchemaRef;
    fn run(self: Box<Self>, input: Input, out: &mut Output<'_>) -> Result<()>;
}

impl<F: PulledFunction> AnyPulled for F {
    fn output_schema(&self) -> SchemaRef {
        PulledFunction::output_schema(self)
    }

    fn run(self: Box<Self>, input: Input, out: &mut Output<'_>) -> Result<()> {
        PulledFunction::run(*self, input, out)
    }
}

/// Where a [`PulledFunction`] takes its batches from. It may be kept and sent, and be asked by one thread at a time.
pub struct Input {
    raw: RawInput,
    intake: Intake,
    decoder: Decoder,
    /// Of a message that held several.
    ready: VecDeque<RecordBatch>,
    /// Batches that the function has got.
    given: u64,
}

impl Input {
    pub(crate) fn new(raw: RawInput, intake: Intake, decoder: Decoder) -> Self {
        Input { raw, intake, decoder, ready: VecDeque::new(), given: 0 }
    }

    /// The next batch; `None` when the engine has no more (Finish). Waits for it; that is not the call's time, and each batch
    /// has the whole time again (C11).
    ///
    /// # Errors
    /// Kind [`Cancelled`](crate::ErrorKind::Cancelled) when the execution was cancelled, kind
    /// [`Protocol`](crate::ErrorKind::Protocol) when the data is no batch (C10), and columns that are not the function's: pass
    /// them on with `?`. `INPUT_OVER` when the function has returned.
    #[expect(clippy::should_implement_trait, reason = "an iterator would have two layers of Option and Result")]
    pub fn next(&mut self) -> Result<Option<RecordBatch>> {
        while self.ready.is_empty() {
            let Some(data) = self.raw.next()? else { return Ok(None) };
            self.ready.extend(self.intake.decode(&mut self.decoder, data)?);
        }
        // A message may hold several: each is a call.
        self.raw.inbox.go_on(self.given + 1)?;
        let batch = self.ready.pop_front().expect("it was seen");
        self.given += 1;
        self.raw.inbox.shared().counters.rows_in(batch.num_rows() as u64);
        Ok(Some(batch))
    }

    /// Whether the execution was cancelled.
    pub fn cancelled(&self) -> bool {
        self.raw.cancelled()
    }

    /// The same for code that has no input at hand.
    pub fn cancellation(&self) -> Cancellation {
        self.raw.cancellation()
    }
}

impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Input").field("cancelled", &self.cancelled()).finish_non_exhaustive()
    }
}

/// Where a [`PulledRawFunction`] takes its data from. It may be kept and sent, and be asked by one thread at a time.
pub struct RawInput {
    inbox: Arc<Inbox>,
}

impl RawInput {
    pub(crate) fn new(inbox: Arc<Inbox>) -> Self {
        RawInput { inbox }
    }

    /// The data of the next DataRequest; `None` after Finish. As [`Input::next`].
    ///
    /// # Errors
    /// Kind [`Cancelled`](crate::ErrorKind::Cancelled) when the execution was cancelled: pass it on with `?`. `INPUT_OVER` when
    /// the function has returned.
    #[expect(clippy::should_implement_trait, reason = "an iterator would have two layers of Option and Result")]
    pub fn next(&mut self) -> Result<Option<Bytes>> {
        self.inbox.pull()
    }

    /// Whether the execution was cancelled.
    pub fn cancelled(&self) -> bool {
        self.inbox.shared().is_cancelled()
    }

    /// The same for code that has no input at hand.
    pub fn cancellation(&self) -> Cancellation {
        Cancellation::new(Arc::clone(self.inbox.shared()))
    }
}

impl fmt::Debug for RawInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawInput").field("cancelled", &self.cancelled()).finish_non_exhaustive()
    }
}
