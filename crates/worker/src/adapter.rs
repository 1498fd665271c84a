//! A [`Function`] over Arrow batches as a [`RawFunction`] over bytes: decode, check, call, encode (C9, C10).

use std::sync::Arc;

use anyudf_arrow::catalog::Entry;
use anyudf_arrow::{Decoder, Encoder, Limits, encode_schema};
use anyudf_grpc::Outgoing;
use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use bytes::Bytes;

use crate::arguments;
use crate::clock::{Call, Phase};
use crate::definition::{Definition, Kind};
use crate::error::{Error, ErrorKind, Result, undecodable, unencodable};
use crate::function::{AnyFunction, Output};
use crate::invocation::Invocation;
use crate::link::Reason;
use crate::pulled::{AnyPulled, Body, Input, PulledRawFunction, RawInput};
use crate::raw::{Opened, RawFunction, RawOutput};

/// Batches are split into messages of about this many bytes: under gRPC's usual limit of 4 MiB, which an engine that says
/// nothing may have, and small enough that the engine reads one while the next is made. A single row may be larger.
const USUAL_MESSAGE: usize = (1 << 20) + (384 << 10);

/// Opens a function: checks its arguments against Init, and its output against what the engine asked for (C9).
pub(crate) fn adapt(definition: &Definition, invocation: &Invocation) -> Result<Opened> {
    let input = invocation.input_schema()?;
    let arguments = match &input {
        // A table function takes no columns: its arguments are options.
        Some(input) if definition.kind() != Kind::Table => {
            arguments::check(definition.entry(), input)?;
            Arguments::Checked
        }
        Some(_) => Arguments::Checked,
        None => Arguments::Unseen,
    };
    let decoder = match input {
        Some(input) => Decoder::new(input, Limits::default()).map_err(undecodable)?,
        None => Decoder::learning(Limits::default()),
    };
    let function = definition.body(invocation).map_err(|error| place(definition.entry(), error))?;
    let own = match &function {
        Body::Pushed(function) => function.output_schema(),
        Body::Pulled(function) => function.output_schema(),
    };
    let asked = invocation.output_schema()?;
    if let Some(asked) = &asked {
        check_output(definition.name(), &own, asked)?;
    }
    let answer = asked.is_none().then(|| encode_schema(&own));
    let encoder = Encoder::new(asked.unwrap_or(own), invocation.max_message()).map_err(unencodable)?;
    let encoder = encoder.with_usual(USUAL_MESSAGE).with_lead(Outgoing::LEAD);
    let intake = Intake { entry: Arc::new(definition.entry().clone()), arguments, batch: 0 };
    let mut opened = match function {
        Body::Pushed(function) => Opened::new(Adapter { intake, function, decoder, encoder }),
        Body::Pulled(function) => Opened::pulled(PulledAdapter { intake, function, decoder, encoder }),
    };
    if let Some(timeout) = definition.entry().timeout {
        opened = opened.with_timeout(timeout);
    }
    Ok(match answer {
        Some(schema) => opened.with_data(schema),
        None => opened,
    })
}

/// Whether the columns of the input were compared with the arguments.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Arguments {
    /// Init named no schema; the data will bring one.
    Unseen,
    Checked,
}

/// What is done to data before a function has it.
pub(crate) struct Intake {
    /// Not the definition, which may hold what the function is to let go of at its end.
    entry: Arc<Entry>,
    arguments: Arguments,
    batch: u64,
}

impl Intake {
    /// The batches of a message, checked to the last byte (C10).
    pub(crate) fn decode(&mut self, decoder: &mut Decoder, data: Bytes) -> Result<Vec<RecordBatch>> {
        let message = self.batch + 1;
        let decoded = decoder.decode(data);
        let batches = decoded.map_err(|error| undecodable(error).within(format_args!("batch {message}")))?;
        if let (Arguments::Unseen, Some(schema)) = (self.arguments, decoder.schema()) {
            arguments::check(&self.entry, schema)?;
            self.arguments = Arguments::Checked;
        }
        self.batch += batches.len() as u64;
        Ok(batches)
    }
}

struct Adapter {
    intake: Intake,
    function: Box<dyn AnyFunction>,
    decoder: Decoder,
    encoder: Encoder,
}

/// The same for a function that asks.
struct PulledAdapter {
    intake: Intake,
    function: Box<dyn AnyPulled>,
    decoder: Decoder,
    encoder: Encoder,
}

impl PulledRawFunction for PulledAdapter {
    fn run(self: Box<Self>, input: RawInput, out: &mut RawOutput<'_>) -> Result<()> {
        out.count_rows();
        let PulledAdapter { intake, function, decoder, encoder } = *self;
        let entry = Arc::clone(&intake.entry);
        let input = Input::new(input, intake, decoder);
        let ran = function.run(input, &mut Output::new(out.reborrow(), &encoder));
        ran.map_err(|error| match out.call() {
            Call { phase: Phase::Process, batch } => place_at(&entry, batch, error),
            _ => place(&entry, error),
        })
    }
}

impl RawFunction for Adapter {
    fn start(&mut self, out: &mut RawOutput<'_>) -> Result<()> {
        out.count_rows();
        let mut out = Output::new(out.reborrow(), &self.encoder);
        self.function.start(&mut out).map_err(|error| place(&self.intake.entry, error))
    }

    fn process(&mut self, data: Bytes, out: &mut RawOutput<'_>) -> Result<()> {
        if self.intake.entry.kind == Kind::Table {
            let text = format!("`{}` is a table function: it takes no input", self.intake.entry.name);
            return Err(Error::user(text).with_class("UNEXPECTED_INPUT"));
        }
        let first = self.intake.batch + 1;
        for (batch, number) in self.intake.decode(&mut self.decoder, data)?.into_iter().zip(first..) {
            out.count_rows_in(batch.num_rows() as u64);
            let mut out = Output::new(out.reborrow(), &self.encoder);
            let processed = self.function.process(batch, &mut out);
            processed.map_err(|error| place_at(&self.intake.entry, number, error))?;
        }
        Ok(())
    }

    fn finish(self: Box<Self>, out: &mut RawOutput<'_>) -> Result<()> {
        let Adapter { intake, function, encoder, .. } = *self;
        let mut out = Output::new(out.reborrow(), &encoder);
        function.finish(&mut out).map_err(|error| place(&intake.entry, error))
    }

    fn cancel(self: Box<Self>, reason: &Reason) -> Result<()> {
        self.function.cancel(reason).map_err(|error| place(&self.intake.entry, error))
    }
}

/// Says which function failed.
fn place(function: &Entry, error: Error) -> Error {
    match error.kind() {
        ErrorKind::User => error.within(format_args!("`{}`", function.name)),
        _ => error,
    }
}

/// Says which function failed, and on which batch, counted from 1.
fn place_at(function: &Entry, batch: u64, error: Error) -> Error {
    match error.kind() {
        ErrorKind::User => error.within(format_args!("`{}`, batch {batch}", function.name)),
        _ => error,
    }
}

/// Whether the function gives what the engine asked for: the same types in the same order. Names are the engine's.
fn check_output(name: &str, own: &SchemaRef, asked: &Arc<Schema>) -> Result<()> {
    let mismatch = |text: String| Err(Error::user(text).with_class("OUTPUT_SCHEMA_MISMATCH"));
    let (gives, wants) = (own.fields().len(), asked.fields().len());
    if gives != wants {
        return mismatch(format!("`{name}` returns {gives} columns, but Init.output_schema has {wants}"));
    }
    for (own, asked) in own.fields().iter().zip(asked.fields()) {
        if !own.data_type().equals_datatype(asked.data_type()) {
            return mismatch(format!(
                "`{name}` returns {} in column `{}`, but Init.output_schema wants {} in `{}`",
                own.data_type(),
                own.name(),
                asked.data_type(),
                asked.name()
            ));
        }
    }
    Ok(())
}
