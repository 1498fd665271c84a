//! Several calls of a worker's scalar functions in one execution: the payload format `expression`, both ends of it.
//!
//! An engine that has more than one call for the same rows, or a call whose argument is a call, sends them together: the
//! rows cross once, and what is between the calls stays in the worker. Whether a worker takes the format is told by its
//! catalog, see [`formats`](crate::catalog::formats).
//!
//! ```json
//! {
//!   "calls": [
//!     {"function": "trimmed", "arguments": [{"column": 0}]},
//!     {"function": "padded", "options": {"with": "*"}, "arguments": [{"call": 0}, {"column": 1}, {"constant": 0}]}
//!   ],
//!   "results": [1],
//!   "constants": "/////…"
//! }
//! ```
//!
//! | key | what it says |
//! |---|---|
//! | `calls` | the calls, counted from 0. All are made for every row, in this order |
//! | `function` | what the worker's catalog calls it, or an alias; a scalar function |
//! | `options` | of this call, as in the payload format `function`; may be missing |
//! | `arguments` | in order, each a column of the input, the value of a call before this one, or a constant; may be missing |
//! | `results` | the calls whose values come back, a column for each |
//! | `constants` | an Arrow IPC stream in base64 (RFC 4648, padded): one batch of one row, a column for each constant; may be missing when no call has one |
//!
//! For each batch of the input there is one of results, with as many rows in the same order, in as many messages as it takes.
//! Nothing is done about calls that are alike: each is made where it stands, and an engine that knows which functions are
//! volatile names the others once.
//!
//! # Limits
//! At most [`MOST_CALLS`] calls, as many results, [`MOST_ARGUMENTS`] arguments of all calls together, and calls within calls
//! [`MOST_DEPTH`] deep. Keys that are not in the table are refused: what a worker does not know it can't leave out without
//! giving something else than was asked for.

mod constants;
mod json;

use std::fmt;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_schema::{FieldRef, Schema};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{Error, Result};

pub use constants::Constants;

/// The name of the payload format.
pub const FORMAT: &str = "expression";

/// How many calls there are at most, and how many results.
pub const MOST_CALLS: usize = 1024;

/// How many arguments all calls have together, at most.
pub const MOST_ARGUMENTS: usize = 1 << 16;

/// How deep calls are within calls, at most. A call without calls as arguments is one deep.
pub const MOST_DEPTH: usize = 256;

/// Calls of scalar functions over the columns of an input, some of them over the values of others.
///
/// What it holds was checked when it was put in, or [decoded](Self::decode): each argument is there and comes before its
/// call, and all is within the limits. Debug output shows neither options nor constants.
///
/// ```
/// use std::sync::Arc;
/// use anyudf_arrow::expression::{Argument, Call, Expression};
/// use arrow_array::Int32Array;
/// use arrow_schema::{DataType, Field};
///
/// let mut expression = Expression::new();
/// let trimmed = expression.call(Call::new("trimmed", [Argument::Column(0)]))?;
/// let width = expression.constant(Field::new("width", DataType::Int32, false), Arc::new(Int32Array::from(vec![8])))?;
/// let padded = Call::new("padded", [Argument::Call(trimmed), Argument::Constant(width)]);
/// let padded = expression.call(padded.with_options(serde_json::json!({ "with": "*" })))?;
/// expression.result(padded)?;
///
/// let payload = expression.encode()?;
/// assert_eq!(Expression::decode(&payload)?, expression);
/// # Ok::<(), anyudf_arrow::Error>(())
/// ```
#[derive(Clone, Default, PartialEq)]
pub struct Expression {
    calls: Vec<Call>,
    /// How deep each call is.
    depths: Vec<usize>,
    /// Of all calls.
    arguments: usize,
    results: Vec<usize>,
    fields: Vec<FieldRef>,
    constants: Vec<ArrayRef>,
}

/// A call of a scalar function. Debug output does not show its options.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Call {
    /// The function's name, or an alias.
    pub function: String,
    /// The options of the call; null when there are none.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub options: Value,
    /// What it is called with, in order.
    #[serde(default, deserialize_with = "json::at_most::<MOST_ARGUMENTS, _, _>")]
    pub arguments: Vec<Argument>,
}

/// What a call is given as an argument; all are counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Argument {
    /// A column of the input.
    Column(usize),
    /// The value of a call, which comes before this one.
    Call(usize),
    /// A constant, the same for every row.
    Constant(usize),
}

impl Call {
    /// A call of `function` without options.
    pub fn new(function: impl Into<String>, arguments: impl IntoIterator<Item = Argument>) -> Self {
        Call { function: function.into(), options: Value::Null, arguments: arguments.into_iter().collect() }
    }

    /// The same with these options.
    pub fn with_options(mut self, options: Value) -> Self {
        self.options = options;
        self
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Call { function, arguments, .. } = self;
        f.debug_struct("Call").field("function", function).field("arguments", arguments).finish_non_exhaustive()
    }
}

impl Expression {
    /// No calls yet.
    pub fn new() -> Self {
        Expression::default()
    }

    /// Adds a constant: `value` has one row, `field` is its type, whether it may be null, and a name for people. Returns its
    /// number.
    ///
    /// # Errors
    /// Condition `INVALID_PAYLOAD` when the array has another number of rows, is of another type than the field, null where
    /// the field allows none, or holds run-end encoded data, which has nothing to gain in one row.
    pub fn constant(&mut self, field: impl Into<FieldRef>, value: ArrayRef) -> Result<usize> {
        let (field, number) = (field.into(), self.constants.len());
        let refused = |text: String| Err(Error::payload(format!("constant {number} {text}")));
        if value.len() != 1 {
            return refused(format!("has {} rows instead of one", value.len()));
        }
        if field.data_type() != value.data_type() {
            return refused(format!("is {}, its field {}", value.data_type(), field.data_type()));
        }
        if !field.is_nullable() && value.null_count() > 0 {
            return refused("is null, where its field allows none".into());
        }
        if constants::has_runs(value.data_type()) {
            return refused("is run-end encoded; send the value itself".into());
        }
        self.fields.push(field);
        self.constants.push(value);
        Ok(number)
    }

    /// Adds a call. Returns its number.
    ///
    /// # Errors
    /// Condition `INVALID_PAYLOAD` when an argument is a call or a constant that is not there yet, or there are more calls or
    /// arguments, or calls deeper within calls, than the limits allow.
    pub fn call(&mut self, call: Call) -> Result<usize> {
        let number = self.calls.len();
        let refused = |text: String| Err(Error::payload(format!("call {number} {text}")));
        if number == MOST_CALLS {
            return refused(format!("is one too many: there may be {MOST_CALLS}"));
        }
        let arguments = self.arguments + call.arguments.len();
        if arguments > MOST_ARGUMENTS {
            return refused(format!("and those before it have {arguments} arguments, more than {MOST_ARGUMENTS}"));
        }
        let mut depth = 1;
        for (place, &argument) in call.arguments.iter().enumerate() {
            let place = place + 1;
            match argument {
                Argument::Call(other) if other >= number => {
                    return refused(format!("has call {other} as argument {place}, which does not come before it"));
                }
                Argument::Constant(constant) if constant >= self.constants.len() => {
                    let count = self.constants.len();
                    return refused(format!("has constant {constant} as argument {place}, but there are {count}"));
                }
                Argument::Call(other) => depth = depth.max(self.depths[other] + 1),
                Argument::Column(_) | Argument::Constant(_) => {}
            }
        }
        if depth > MOST_DEPTH {
            return refused(format!("is {depth} calls deep, more than {MOST_DEPTH}"));
        }
        self.depths.push(depth);
        self.arguments = arguments;
        self.calls.push(call);
        Ok(number)
    }

    /// Adds a call to those whose values come back, behind those that were added before.
    ///
    /// # Errors
    /// Condition `INVALID_PAYLOAD` when there is no such call, or there are too many results.
    pub fn result(&mut self, call: usize) -> Result<()> {
        let (number, calls) = (self.results.len(), self.calls.len());
        if number == MOST_CALLS {
            return Err(Error::payload(format!("result {number} is one too many: there may be {MOST_CALLS}")));
        }
        if call >= calls {
            return Err(Error::payload(format!("result {number} is call {call}, but there are {calls}")));
        }
        self.results.push(call);
        Ok(())
    }

    /// The calls, by their numbers.
    pub fn calls(&self) -> &[Call] {
        &self.calls
    }

    /// The calls whose values come back.
    pub fn results(&self) -> &[usize] {
        &self.results
    }

    /// The type of each constant, and whether it is null.
    pub fn constant_fields(&self) -> &[FieldRef] {
        &self.fields
    }

    /// The constants, each an array of one row.
    pub fn constants(&self) -> &[ArrayRef] {
        &self.constants
    }

    /// Whether an input of so many columns has those that arguments are.
    ///
    /// # Errors
    /// Condition `INVALID_PAYLOAD`, with the first argument for which it has none.
    pub fn check_columns(&self, columns: usize) -> Result<()> {
        for (number, call) in self.calls.iter().enumerate() {
            for (place, argument) in call.arguments.iter().enumerate() {
                if let Argument::Column(column) = argument
                    && *column >= columns
                {
                    let place = place + 1;
                    return Err(Error::payload(format!(
                        "call {number} has column {column} as argument {place}, but the input has {columns}"
                    )));
                }
            }
        }
        Ok(())
    }

    /// The payload.
    ///
    /// # Errors
    /// Condition `INVALID_PAYLOAD` when there is no result; those of [`Encoder`](crate::Encoder) for constants of a type that
    /// has no encoding.
    pub fn encode(&self) -> Result<Bytes> {
        self.check_results()?;
        let constants = match self.constants.is_empty() {
            true => None,
            false => Some(constants::write(&self.constants_batch()?)?),
        };
        Ok(json::write(&self.calls, &self.results, constants))
    }

    /// Reads a payload. It is a peer's: it may be anything (C10).
    ///
    /// # Errors
    /// [`Kind::Malformed`](crate::Kind::Malformed), condition `INVALID_PAYLOAD`, with what is wrong and where, for whatever is
    /// no expression as this module describes it. Never panics.
    pub fn decode(payload: &[u8]) -> Result<Self> {
        let json::Payload { calls, results, constants } = json::read(payload)?;
        let mut expression = Expression::new();
        if let Some(constants) = constants {
            let batch = constants::read(&constants)?;
            for (field, value) in batch.schema_ref().fields().iter().zip(batch.columns()) {
                expression.constant(Arc::clone(field), Arc::clone(value))?;
            }
        }
        for call in calls {
            expression.call(call)?;
        }
        for call in results {
            expression.result(call)?;
        }
        expression.check_results()?;
        Ok(expression)
    }

    fn check_results(&self) -> Result<()> {
        match self.results.is_empty() {
            true => Err(Error::payload("there is no result: `results` must name a call")),
            false => Ok(()),
        }
    }

    fn constants_batch(&self) -> Result<RecordBatch> {
        let schema = Arc::new(Schema::new(self.fields.clone()));
        let options = RecordBatchOptions::new().with_row_count(Some(1));
        RecordBatch::try_new_with_options(schema, self.constants.clone(), &options).map_err(Error::invalid)
    }
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Expression")
            .field("calls", &self.calls)
            .field("results", &self.results)
            .field("constants", &self.fields)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
