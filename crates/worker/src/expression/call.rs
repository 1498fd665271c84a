//! One call of an expression: opened, checked, and its errors and panics say which it was.

use std::fmt;
use std::sync::Arc;

use anyudf_arrow::Encoder;
use anyudf_arrow::catalog::arguments_for;
use anyudf_arrow::expression::{Argument, Call as Called};
use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{FieldRef, Schema, SchemaRef};

use super::kept::Kept;
use crate::arguments;
use crate::definition::Kind;
use crate::error::{Error, ErrorKind, Result, unencodable};
use crate::function::{AnyFunction, Output};
use crate::invocation::Invocation;
use crate::link::Reason;
use crate::panics;
use crate::pulled::Body;
use crate::worker::{Functions, find};

/// A function that is open, and where its arguments come from.
pub(super) struct Call {
    name: Name,
    arguments: Vec<Argument>,
    /// Of its arguments.
    schema: SchemaRef,
    function: Box<dyn AnyFunction>,
    /// Of its value; it checks, and encodes nothing.
    encoder: Encoder,
}

/// Which call it is, for people.
#[derive(Clone, Debug)]
struct Name {
    function: String,
    number: usize,
    /// Where the rows begin that it is called for, where it is not called for a whole batch.
    from: usize,
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Name { function, number, from } = self;
        write!(f, "`{function}` (call {number})")?;
        if *from == 0 { Ok(()) } else { write!(f, " from row {from}") }
    }
}

impl Name {
    /// A call into the function: its errors and its panic say which function it is.
    fn call<T>(&self, user_code: impl FnOnce() -> Result<T>) -> Result<T> {
        /// Only unwinding drops it.
        struct Here<'a>(&'a Name);
        impl Drop for Here<'_> {
            fn drop(&mut self) {
                panics::in_function(self.0);
            }
        }
        let here = Here(self);
        let result = user_code();
        std::mem::forget(here);
        result.map_err(|error| match error.kind() {
            ErrorKind::User => error.within(self),
            _ => error,
        })
    }
}

impl Call {
    /// Opens the function of a call whose arguments are `given`. Their names are for errors: the function knows them by its
    /// own.
    pub(super) fn open(
        functions: &Functions,
        number: usize,
        call: &Called,
        given: &Schema,
        invocation: &Invocation,
    ) -> Result<Self> {
        let within = |error: Error| error.within(format_args!("call {number}"));
        let definition = find(functions, &call.function).map_err(within)?;
        let (function, kind) = (definition.name().to_owned(), definition.kind());
        if kind != Kind::Scalar {
            let text = format!("`{function}` is of the kind {kind}; an expression has scalar functions only");
            return Err(within(Error::user(text).with_class("WRONG_FUNCTION_KIND")));
        }
        if definition.entry().timeout.is_some() {
            // One clock is on an execution, and tells nobody when its limit becomes another.
            let text = format!("`{function}` has a limit of its own for each call, and so it is called by itself");
            return Err(within(Error::user(text).with_class("FUNCTION_HAS_TIMEOUT")));
        }
        arguments::check(definition.entry(), given).map_err(within)?;
        // Names are those of the signature that takes the columns, where there is one for each.
        let types: Vec<_> = given.fields().iter().map(|field| field.data_type().clone()).collect();
        let (known, _) = definition.entry().signature_for(&types);
        let known = known.and_then(|known| arguments_for(known, types.len()));
        let fields = given.fields().iter().enumerate().map(|(place, field)| match &known {
            Some(known) => Arc::new(field.as_ref().clone().with_name(known[place].name())),
            None => Arc::clone(field),
        });
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let name = Name { function, number, from: 0 };
        let invocation = invocation.of_call(Arc::clone(&schema), call.options.clone());
        let (function, value) = name.call(|| {
            let function = match definition.body(&invocation)? {
                Body::Pushed(function) => function,
                Body::Pulled(_) => {
                    let text = "it asks for its input, and so it is called by itself";
                    return Err(Error::user(text).with_class("WRONG_FUNCTION_KIND"));
                }
            };
            let value = function.output_schema();
            Ok((function, value))
        })?;
        let encoder = match value.fields().len() {
            1 => Encoder::new(value, usize::MAX).map_err(unencodable),
            columns => {
                let text = format!("a scalar function returns one column, not {columns}");
                Err(Error::user(text).with_class("WRONG_RESULT_TYPE"))
            }
        };
        match encoder {
            Ok(encoder) => {
                let arguments = call.arguments.clone();
                Ok(Call { name, arguments, schema, function, encoder })
            }
            Err(error) => {
                let _ = name.call(|| function.cancel(&Reason::Failed));
                Err(error.within(&name))
            }
        }
    }

    /// Where its arguments come from.
    pub(super) fn arguments(&self) -> &[Argument] {
        &self.arguments
    }

    /// Name and type of its value.
    pub(super) fn value(&self) -> &FieldRef {
        &self.encoder.schema().fields()[0]
    }

    pub(super) fn start(&mut self, out: &mut Output<'_>) -> Result<()> {
        let Call { name, function, encoder, .. } = self;
        out.next_call();
        name.call(|| without_rows(encoder, out, |out| function.start(out)))
    }

    /// Its value for `rows` rows that begin at `from` in their batch.
    pub(super) fn evaluate(
        &mut self,
        arguments: Vec<ArrayRef>,
        rows: usize,
        from: usize,
        out: &mut Output<'_>,
    ) -> Result<ArrayRef> {
        self.name.from = from;
        let Call { name, schema, function, encoder, .. } = self;
        out.next_call();
        name.call(|| {
            let options = RecordBatchOptions::new().with_row_count(Some(rows));
            let batch = RecordBatch::try_new_with_options(Arc::clone(schema), arguments, &options)?;
            let mut kept = Kept::new(rows);
            function.process(batch, &mut out.keeping(encoder, &mut kept))?;
            kept.into_column(encoder)
        })
    }

    pub(super) fn finish(self, out: &mut Output<'_>) -> Result<()> {
        let Call { mut name, function, encoder, .. } = self;
        name.from = 0;
        out.next_call();
        name.call(|| without_rows(&encoder, out, |out| function.finish(out)))
    }

    pub(super) fn cancel(self, reason: &Reason) -> Result<()> {
        let Call { mut name, function, .. } = self;
        name.from = 0;
        name.call(|| function.cancel(reason))
    }
}

/// A call in which there are no rows to return.
fn without_rows(
    encoder: &Encoder,
    out: &mut Output<'_>,
    call: impl FnOnce(&mut Output<'_>) -> Result<()>,
) -> Result<()> {
    let mut kept = Kept::new(0);
    call(&mut out.keeping(encoder, &mut kept))?;
    kept.into_column(encoder).map(drop)
}
