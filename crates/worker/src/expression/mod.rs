//! The payload format `expression`: several calls of scalar functions, one after the other, on the batches of one input.
//!
//! ```text
//!   batch ─ columns ─┬─▶ call 0 ─┬─▶ call 1 ─▶ ┐
//!        constants ──┘           └─────────────┴─▶ results, one batch
//! ```
//!
//! All calls are made on the thread of the execution, in the order of their numbers. What they emit stays in memory: nothing
//! is encoded between them. Each has its own time, but that all are opened, and cancelled, within one (C11).

mod call;
mod kept;

use std::sync::Arc;

use anyudf_arrow::expression::{Argument, Constants, Expression};
use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Field, FieldRef, Schema, SchemaRef};

use self::call::Call;
use crate::definition::{Definition, Kind};
use crate::error::{Error, ErrorKind, Result, undecodable};
use crate::function::{Function, Output};
use crate::invocation::Invocation;
use crate::link::Reason;
use crate::worker::Functions;

pub(crate) use self::kept::Kept;

/// The function that a payload of this format makes of `functions`.
pub(crate) fn definition(functions: Functions) -> Definition {
    let open = move |invocation: &Invocation| Evaluation::open(&functions, invocation);
    Definition::new("expression", Kind::Scalar, open).help("several calls of scalar functions over the same rows")
}

/// How much the fields of all arguments take together, in bytes: each call has its own, of columns that an engine may name
/// thousands of times.
const MOST_FIELD_BYTES: usize = 64 << 20;

/// An expression whose functions are open.
struct Evaluation {
    calls: Vec<Call>,
    /// By the number of a call: the values that nobody needs after it.
    spent: Vec<Vec<usize>>,
    results: Vec<usize>,
    constants: Constants,
    schema: SchemaRef,
}

impl Evaluation {
    fn open(functions: &Functions, invocation: &Invocation) -> Result<Self> {
        let expression = Expression::decode(invocation.payload()).map_err(undecodable)?;
        let input = invocation.input_schema()?.ok_or_else(|| {
            Error::protocol("MISSING_FIELD", "Init.input_schema is needed: calls are checked when they are opened (C9)")
        })?;
        expression.check_columns(input.fields().len()).map_err(undecodable)?;
        let mut calls: Vec<Call> = Vec::with_capacity(expression.calls().len());
        let mut room = MOST_FIELD_BYTES;
        for (number, call) in expression.calls().iter().enumerate() {
            let given = call.arguments.iter().map(|argument| {
                let (field, name) = match *argument {
                    Argument::Column(column) => (&input.fields()[column], None),
                    Argument::Call(other) => (calls[other].value(), Some(format!("call {other}"))),
                    Argument::Constant(constant) => {
                        (&expression.constant_fields()[constant], Some(format!("constant {constant}")))
                    }
                };
                room = room.checked_sub(weight(field)).ok_or_else(|| too_large(number))?;
                Ok(match name {
                    Some(name) => Arc::new(field.as_ref().clone().with_name(name)),
                    None => Arc::clone(field),
                })
            });
            let given: Result<Vec<FieldRef>> = given.collect();
            let opened = given.and_then(|given| Call::open(functions, number, call, &Schema::new(given), invocation));
            match opened {
                Ok(call) => calls.push(call),
                Err(error) => {
                    abandon(calls, &Reason::Failed);
                    return Err(error);
                }
            }
        }
        let results = expression.results().to_vec();
        let schema =
            Arc::new(Schema::new(results.iter().map(|&call| Arc::clone(calls[call].value())).collect::<Vec<_>>()));
        let constants = Constants::of(&expression);
        Ok(Evaluation { calls, spent: spent(&expression), results, constants, schema })
    }

    /// The results for some rows; `from` is where they begin in their batch.
    fn evaluate(&mut self, rows: &RecordBatch, from: usize, out: &mut Output<'_>) -> Result<RecordBatch> {
        let mut values: Vec<Option<ArrayRef>> = vec![None; self.calls.len()];
        let value = |values: &[Option<ArrayRef>], call: usize| -> ArrayRef {
            Arc::clone(
                values[call].as_ref().expect("a call comes before those that need it, and its value is not spent"),
            )
        };
        let count = rows.num_rows();
        for (number, call) in self.calls.iter_mut().enumerate() {
            out.check()?;
            let mut columns = Vec::with_capacity(call.arguments().len());
            for &argument in call.arguments() {
                columns.push(match argument {
                    Argument::Column(column) => Arc::clone(rows.column(column)),
                    Argument::Call(other) => value(&values, other),
                    Argument::Constant(constant) => self.constants.column(constant, count).map_err(undecodable)?,
                });
            }
            values[number] = Some(call.evaluate(columns, count, from, out)?);
            for &spent in &self.spent[number] {
                values[spent] = None;
            }
        }
        let columns = self.results.iter().map(|&call| value(&values, call)).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(count));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?)
    }
}

impl Function for Evaluation {
    fn output_schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn start(&mut self, out: &mut Output<'_>) -> Result<()> {
        self.calls.iter_mut().try_for_each(|call| call.start(out))
    }

    fn process(&mut self, batch: RecordBatch, out: &mut Output<'_>) -> Result<()> {
        let (rows, at_once) = (batch.num_rows(), self.constants.rows_at_once());
        let mut from = 0_usize;
        loop {
            let until = rows.min(from.saturating_add(at_once));
            let results = self.evaluate(&batch.slice(from, until - from), from, out)?;
            out.emit(results)?;
            if until == rows {
                return Ok(());
            }
            from = until;
        }
    }

    fn finish(self, out: &mut Output<'_>) -> Result<()> {
        let mut calls = self.calls.into_iter();
        for call in calls.by_ref() {
            if let Err(error) = call.finish(out) {
                let why = if error.kind() == ErrorKind::Cancelled { Reason::Asked(None) } else { Reason::Failed };
                abandon(calls, &why);
                return Err(error);
            }
        }
        Ok(())
    }

    fn cancel(self, reason: &Reason) -> Result<()> {
        // All of them clean up, whatever becomes of the first.
        let failed: Vec<_> = self.calls.into_iter().filter_map(|call| call.cancel(reason).err()).collect();
        failed.into_iter().next().map_or(Ok(()), Err)
    }
}

/// Lets functions clean up that others have let down. What goes wrong then is not what is reported.
fn abandon(calls: impl IntoIterator<Item = Call>, reason: &Reason) {
    for call in calls {
        let _ = call.cancel(reason);
    }
}

/// Bytes of a field that a copy of it has for itself.
fn weight(field: &Field) -> usize {
    let metadata = field.metadata().iter().map(|(key, value)| key.len() + value.len());
    size_of::<Field>() + field.name().len() + metadata.sum::<usize>()
}

fn too_large(call: usize) -> Error {
    let text =
        format!("the names and metadata of all arguments up to call {call} take more than {MOST_FIELD_BYTES} bytes");
    Error::protocol("INVALID_PAYLOAD", text)
}

/// By the number of a call: the calls whose values nobody needs after it.
fn spent(expression: &Expression) -> Vec<Vec<usize>> {
    let calls = expression.calls();
    let mut last: Vec<usize> = (0..calls.len()).collect();
    for (number, call) in calls.iter().enumerate() {
        for argument in &call.arguments {
            if let Argument::Call(other) = *argument {
                last[other] = number;
            }
        }
    }
    let mut spent = vec![Vec::new(); calls.len()];
    for (call, last) in last.into_iter().enumerate() {
        if !expression.results().contains(&call) {
            spent[last].push(call);
        }
    }
    spent
}

#[cfg(test)]
mod tests;
