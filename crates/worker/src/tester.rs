//! Calling a function in a test, without an engine and without a process.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use anyudf_arrow::{Decoder, Encoder, Limits, decode_schema, encode_schema};
use anyudf_grpc::{Credit, Outgoing};
use anyudf_protocol::{ExecutionError, Metrics, PayloadAssembly, wire};
use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Field, Schema, SchemaRef};
use bytes::{Buf, Bytes};
use serde_json::{Value, json};

use crate::clock::CallClock;
use crate::counters::{Counters, Totals};
use crate::definition::{Definition, IntoDefinition};
use crate::error::{Error, Result, undecodable, unencodable};
use crate::invocation::Invocation;
use crate::link::{Conclusion, FromUser, Outcome, ToUser, User, link};
use crate::thread;
use crate::trial::{Elsewhere, Trial, compare};

/// Output is never waited for: a test reads it when the function has ended.
const ROOM: usize = usize::MAX >> 4;

/// As much as a worker sends unless told otherwise (P7).
const MAX_MESSAGE: usize = 128 << 20;

/// Calls a function as a worker does, in the memory of a test: its arguments are checked, its batches encoded and decoded,
/// its nulls, errors and panics handled as for an engine. Only the socket and the process are left out.
///
/// ```
/// use anyudf_worker::{UdfTester, udf};
/// use arrow::array::{AsArray, Float64Array};
/// use arrow::datatypes::Float64Type;
///
/// /// Degrees Celsius in degrees Fahrenheit.
/// #[udf]
/// fn fahrenheit(celsius: f64) -> f64 {
///     celsius * 1.8 + 32.0
/// }
///
/// let column = Float64Array::from(vec![Some(100.0), None]);
/// let result = UdfTester::new(fahrenheit).call([column])?;
/// assert_eq!(result.as_primitive::<Float64Type>(), &Float64Array::from(vec![Some(212.0), None]));
/// # Ok::<(), anyudf_worker::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct UdfTester {
    definition: Definition,
    options: Value,
    init: wire::Init,
    elsewhere: Option<Arc<dyn Elsewhere>>,
}

/// What came of a function.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Tested {
    /// The columns of its batches.
    pub schema: SchemaRef,
    /// What it emitted.
    pub batches: Vec<RecordBatch>,
    /// What it left as its result with [`set_result`](crate::Output::set_result).
    pub data: Option<Bytes>,
    metrics: Metrics,
}

impl Tested {
    /// What came of a function somewhere else, see [`Elsewhere`].
    pub fn new(schema: SchemaRef, batches: Vec<RecordBatch>, data: Option<Bytes>) -> Self {
        Tested { schema, batches, data, metrics: Metrics::default() }
    }

    /// A metric of the function's own.
    pub fn metric(&self, name: &str) -> Option<String> {
        self.metrics.get(name).map(|value| value.to_string())
    }
}

impl UdfTester {
    /// A tester of this function.
    pub fn new(function: impl IntoDefinition) -> Self {
        let (options, init) = (Value::Null, wire::Init::default());
        UdfTester { definition: function.into_definition(), options, init, elsewhere: None }
    }

    /// The same, which makes each call elsewhere too, as in the process of a worker, and compares: it has to be a function
    /// that gives the same when it is called twice. `anyudf::testing` has an example.
    pub fn through(mut self, elsewhere: &(impl Elsewhere + Clone + 'static)) -> Self {
        self.elsewhere = Some(Arc::new(elsewhere.clone()));
        self
    }

    /// The same with these options.
    pub fn with_options(mut self, options: impl Into<Value>) -> Self {
        self.options = options.into();
        self
    }

    /// The same with a time zone of the session.
    pub fn with_timezone(mut self, timezone: impl Into<String>) -> Self {
        self.init.timezone = Some(timezone.into());
        self
    }

    /// The column that a function returns for one batch of these columns.
    ///
    /// # Errors
    /// What an engine would be told, and a result that is not one column as long as the arguments.
    ///
    /// # Panics
    /// As [`run`](Self::run).
    pub fn call<A: Into<ColumnOf>>(&self, columns: impl IntoIterator<Item = A>) -> Result<ArrayRef> {
        let columns: Vec<ArrayRef> = columns.into_iter().map(|column| column.into().0).collect();
        let rows = columns.first().map_or(1, |column| column.len());
        let arguments = self.definition.argument_schema();
        let field = |(place, column): (usize, &ArrayRef)| {
            let name = arguments.and_then(|arguments| arguments.fields().get(place)).map(|field| field.name().clone());
            Field::new(name.unwrap_or_else(|| format!("c{place}")), column.data_type().clone(), true)
        };
        let schema = Schema::new(columns.iter().enumerate().map(field).collect::<Vec<_>>());
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(Arc::new(schema), columns, &options)?;
        let tested = self.run([batch])?;
        match &tested.batches[..] {
            [batch] if batch.num_columns() == 1 && batch.num_rows() == rows => Ok(Arc::clone(batch.column(0))),
            [] if rows == 0 && tested.schema.fields().len() == 1 => {
                Ok(arrow::array::new_empty_array(tested.schema.field(0).data_type()))
            }
            _ => {
                let batches = tested.batches.iter().map(|batch| (batch.num_rows(), batch.num_columns()));
                let text = format!("not one column of {rows} rows, but {:?}", batches.collect::<Vec<_>>());
                Err(Error::user(text).with_class("WRONG_RESULT_LENGTH"))
            }
        }
    }

    /// What a function makes of these batches, one after the other, and of their end.
    ///
    /// A function that never ends fills the memory; test it with options that let it end.
    ///
    /// # Errors
    /// What an engine would be told.
    ///
    /// # Panics
    /// When it is called elsewhere too, see [`through`](Self::through), and does something else there.
    pub fn run(&self, batches: impl IntoIterator<Item = RecordBatch>) -> Result<Tested> {
        let batches: Vec<_> = batches.into_iter().collect();
        let schema = match (batches.first(), self.definition.argument_schema()) {
            (Some(batch), _) => batch.schema(),
            (None, Some(arguments)) => Arc::clone(arguments),
            (None, None) => Arc::new(Schema::empty()),
        };
        let tested = self.run_here(&schema, &batches);
        if let Some(elsewhere) = &self.elsewhere {
            let function = self.definition.name().to_owned();
            let payload = json!({"function": function, "options": self.options}).to_string();
            let trial = Trial { function, payload, timezone: self.init.timezone.clone(), schema, batches };
            if let Err(difference) = compare(&tested, &elsewhere.run(&trial)) {
                panic!("`{}` does something else in another place: {difference}", trial.function);
            }
        }
        tested
    }

    fn run_here(&self, schema: &SchemaRef, batches: &[RecordBatch]) -> Result<Tested> {
        let encoder = Encoder::new(Arc::clone(schema), MAX_MESSAGE).map_err(unencodable)?;
        let clock = CallClock::new(None, Instant::now());
        let (user, ends) = link(clock, Arc::new(Counters::new(Arc::new(Totals::default()))), ROOM);
        for batch in batches {
            for message in encoder.encode(batch) {
                user.tell(ToUser::Data(message.map_err(unencodable)?.into_bytes(), Credit::free()));
            }
        }
        user.tell(ToUser::Finish);
        let (definition, options) = (self.definition.clone(), self.options.clone());
        let format = move |invocation: &mut Invocation| {
            invocation.set_options(options.clone());
            definition.open(invocation)
        };
        // All input waits already and there is room for all output: nothing blocks.
        thread::run(ends, &format, self.invocation(schema)?);
        read(user)
    }

    fn invocation(&self, input: &Schema) -> Result<Invocation> {
        let name = Some(self.definition.name().to_owned());
        let udf = wire::UdfPayload { format: "function".into(), name, ..wire::UdfPayload::default() };
        let payload = PayloadAssembly::new(&udf, 0).and_then(PayloadAssembly::verify);
        let payload = payload.map_err(|error| Error::misuse(ExecutionError::from(error).message))?;
        let is_generator = self.definition.kind() == crate::Kind::Table;
        let input_schema = (!is_generator).then(|| encode_schema(input));
        Ok(Invocation::new(wire::Init { udf: Some(udf), input_schema, ..self.init.clone() }, payload, MAX_MESSAGE))
    }
}

/// What the thread said, which has ended.
fn read(mut user: User) -> Result<Tested> {
    let mut cx = Context::from_waker(Waker::noop());
    let (mut decoder, mut batches, mut failed) = (None, Vec::new(), None);
    while let Poll::Ready(Some(said)) = user.poll_output(&mut cx) {
        match said {
            FromUser::Opened(Ok(data)) => {
                let schema = decode_schema(&data.unwrap_or_default()).map_err(undecodable)?;
                decoder = Some((Arc::clone(&schema), Decoder::new(schema, Limits::default()).map_err(undecodable)?));
            }
            FromUser::Data { message, .. } => {
                if let Some((_, decoder)) = &mut decoder {
                    batches.extend(decoder.decode(data_of(message)).map_err(undecodable)?);
                }
            }
            FromUser::Opened(Err(error)) | FromUser::Failed(error) => failed = Some(error),
        }
    }
    let Poll::Ready(Some(Conclusion { outcome, metrics })) = user.poll_concluded(&mut cx) else {
        return Err(Error::worker("NO_LAST_WORD", "the function's thread ended without a last word"));
    };
    let (data, error) = match outcome {
        Outcome::Finished { data, error } => (data, error),
        Outcome::Cancelled { error } => (None, error),
    };
    match (failed.or(error), decoder) {
        (Some(error), _) => Err(told(error)),
        (None, Some((schema, _))) => Ok(Tested { schema, batches, data, metrics }),
        (None, None) => Err(Error::cancelled()),
    }
}

/// The data of a DataResponse, without the framing before it.
fn data_of(mut message: Outgoing) -> Bytes {
    message.advance(message.remaining() - message.data_len());
    message.copy_to_bytes(message.remaining())
}

/// An error as the engine is told of it.
fn told(error: ExecutionError) -> Error {
    let condition = error.condition().unwrap_or("FUNCTION_FAILED").to_owned();
    let told = Error::user(&error.message).with_class(condition);
    match error.traceback {
        Some(traceback) => told.with_traceback(traceback),
        None => told,
    }
}

/// An Arrow array of whatever kind.
pub struct ColumnOf(ArrayRef);

impl<A: arrow::array::Array + 'static> From<A> for ColumnOf {
    fn from(array: A) -> Self {
        ColumnOf(Arc::new(array))
    }
}

impl fmt::Debug for ColumnOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ColumnOf").field(self.0.data_type()).finish()
    }
}
