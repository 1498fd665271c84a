//! The middle of the three faces: full control over an execution on Arrow batches.

use anyudf_arrow::Encoder;
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use bytes::Bytes;

use crate::cancellation::Cancellation;
use crate::error::{Result, unencodable};
use crate::expression::Kept;
use crate::link::Reason;
use crate::raw::RawOutput;

/// One execution of a function over Arrow record batches.
///
/// ```text
/// open  start process* (finish | cancel)
/// ```
///
/// `open` is not a method: it is the closure or constructor given to [`Definition::new`](crate::Definition::new), which
/// makes the function from an [`Invocation`](crate::Invocation), that is, from everything in Init (R18).
///
/// All calls come on one thread that belongs to this execution, never on the runtime's. The last call takes the
/// function, so nothing comes after it. A panic in any of them is caught and reported with its backtrace; nothing more
/// is called then.
///
/// ```
/// use std::sync::Arc;
/// use anyudf_worker::{Definition, Function, Invocation, Kind, Output, Result, Worker};
/// use arrow::array::RecordBatch;
/// use arrow::datatypes::{Schema, SchemaRef};
///
/// /// Lets every second batch through.
/// struct EverySecond { schema: SchemaRef, next: bool }
///
/// impl EverySecond {
///     fn open(invocation: &Invocation) -> Result<Self> {
///         let schema = invocation.input_schema()?.ok_or("Init.input_schema is needed")?;
///         Ok(EverySecond { schema, next: false })
///     }
/// }
///
/// impl Function for EverySecond {
///     fn output_schema(&self) -> SchemaRef {
///         Arc::clone(&self.schema)
///     }
///
///     fn process(&mut self, batch: RecordBatch, out: &mut Output<'_>) -> Result<()> {
///         self.next = !self.next;
///         if self.next { out.emit(batch) } else { Ok(()) }
///     }
/// }
///
/// let every_second = Definition::new("every_second", Kind::Map, EverySecond::open).help("every second batch");
/// let worker = Worker::new().with(every_second);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a function over Arrow batches",
    label = "implement `Function`, or build one from a closure with `scalar(…)` or `map(…)`"
)]
pub trait Function: Sized + 'static {
    /// The columns of every batch that is emitted. It goes into InitResponse when the engine named no schema (C9); one
    /// that the engine named must have the same types.
    fn output_schema(&self) -> SchemaRef;

    /// Called once, right after InitResponse, before any input: a generator emits from here (R6).
    ///
    /// # Errors
    /// What ErrorResponse will say (R7).
    fn start(&mut self, _out: &mut Output<'_>) -> Result<()> {
        Ok(())
    }

    /// Takes one batch of input, and emits as many as it likes.
    ///
    /// # Errors
    /// What ErrorResponse will say (R7). `cancel` is called then.
    fn process(&mut self, batch: RecordBatch, out: &mut Output<'_>) -> Result<()>;

    /// The input has ended: emits what is left (R10).
    ///
    /// # Errors
    /// What FinishResponse.error will say.
    fn finish(self, _out: &mut Output<'_>) -> Result<()> {
        Ok(())
    }

    /// The execution ends without finishing: cleans up, within 5 s (R12). There is nobody left to emit to.
    ///
    /// # Errors
    /// What CancelResponse.error will say.
    fn cancel(self, _reason: &Reason) -> Result<()> {
        Ok(())
    }
}

/// A [`Function`] whose type nobody needs to know any more.
pub(crate) trait AnyFunction {
    fn output_schema(&self) -> SchemaRef;
    fn start(&mut self, out: &mut Output<'_>) -> Result<()>;
    fn process(&mut self, batch: RecordBatch, out: &mut Output<'_>) -> Result<()>;
    fn finish(self: Box<Self>, out: &mut Output<'_>) -> Result<()>;
    fn cancel(self: Box<Self>, reason: &Reason) -> Result<()>;
}

impl<F: Function> AnyFunction for F {
    fn output_schema(&self) -> SchemaRef {
        Function::output_schema(self)
    }

    fn start(&mut self, out: &mut Output<'_>) -> Result<()> {
        Function::start(self, out)
    }

    fn process(&mut self, batch: RecordBatch, out: &mut Output<'_>) -> Result<()> {
        Function::process(self, batch, out)
    }

    fn finish(self: Box<Self>, out: &mut Output<'_>) -> Result<()> {
        Function::finish(*self, out)
    }

    fn cancel(self: Box<Self>, reason: &Reason) -> Result<()> {
        Function::cancel(*self, reason)
    }
}

/// Where a function emits its batches, and what it can learn while it runs.
#[derive(Debug)]
pub struct Output<'a> {
    raw: RawOutput<'a>,
    encoder: &'a Encoder,
    /// Where batches stay; without it they go to the engine.
    kept: Option<&'a mut Kept>,
}

impl<'a> Output<'a> {
    pub(crate) fn new(raw: RawOutput<'a>, encoder: &'a Encoder) -> Self {
        Output { raw, encoder, kept: None }
    }

    /// The same output, but that batches, those of `encoder`'s schema, are kept.
    pub(crate) fn keeping<'b>(&'b mut self, encoder: &'b Encoder, kept: &'b mut Kept) -> Output<'b> {
        Output { raw: self.raw.reborrow(), encoder, kept: Some(kept) }
    }

    /// Another function is about to be called with this output: it has its own time (C11).
    pub(crate) fn next_call(&self) {
        self.raw.next_call();
    }

    /// Sends a batch, in several messages if it is larger than one may be. Blocks while the engine is slow (E5).
    ///
    /// # Errors
    /// Kind [`Cancelled`](crate::ErrorKind::Cancelled) when the execution was cancelled: pass it on with `?`. Kind
    /// [`User`](crate::ErrorKind::User) when the batch has other columns than the output schema
    /// (`ARROW_SCHEMA_MISMATCH`) or a single row is larger than a message (`ARROW_ROW_TOO_LARGE`).
    pub fn emit(&mut self, batch: RecordBatch) -> Result<()> {
        if let Some(kept) = &mut self.kept {
            self.raw.check()?;
            return kept.keep(batch, self.encoder);
        }
        for message in self.encoder.encode(&batch) {
            let message = message.map_err(unencodable)?;
            self.raw.send_rows(message.parts, message.rows as u64)?;
        }
        Ok(())
    }

    /// The schema that batches must have: the one the engine named, otherwise the function's own.
    pub fn schema(&self) -> &SchemaRef {
        self.encoder.schema()
    }

    /// Whether the execution was cancelled. Look at it inside long loops, and return soon when it was (R12).
    pub fn cancelled(&self) -> bool {
        self.raw.cancelled()
    }

    /// The same for code that has no output at hand.
    pub fn cancellation(&self) -> Cancellation {
        self.raw.cancellation()
    }

    /// Fails when the execution was cancelled: `out.check()?` inside a loop ends it.
    ///
    /// # Errors
    /// Kind [`Cancelled`](crate::ErrorKind::Cancelled).
    pub fn check(&self) -> Result<()> {
        self.raw.check()
    }

    /// Sets a metric of the function's own, sent with the terminator (C8).
    pub fn metric(&mut self, name: impl Into<String>, value: impl std::fmt::Display) {
        self.raw.metric(name, value);
    }

    /// Sets what `FinishResponse.data` will be: the result of a function that emits no batches (R10). One that is over
    /// the message limit is not sent; `FinishResponse.error` then says `MESSAGE_TOO_LARGE` (P7).
    pub fn set_result(&mut self, data: impl Into<Bytes>) {
        self.raw.set_result(data);
    }
}
