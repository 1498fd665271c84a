//! Rows out: `#[udf(table)]` and `#[udf(map)]`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};
use serde::de::DeserializeOwned;

use crate::closures::input_schema;
use crate::definition::{Definition, Kind};
use crate::error::{Error, Result};
use crate::function::{Function, Output};
use crate::invocation::Invocation;

use super::Rows;
use super::argument::Arguments;
use super::column::{Column, Gathered};
use super::result::{Return, Value};

/// Rows in the first batch of an execution: somebody may want no more.
const FIRST_BATCH: usize = 64;

/// Rows that no batch exceeds.
const MOST_ROWS: usize = 8_192;

/// How long a batch should take to make.
const BATCH_TIME: Duration = Duration::from_millis(50);

/// A generator: what `#[udf(table)]` makes of an ordinary function.
pub trait TableFunction: 'static {
    /// What an execution can be told; [`NoOptions`](super::NoOptions) for nothing.
    type Options: DeserializeOwned + 'static;

    /// Its name.
    const NAME: &str;

    /// The columns of its rows.
    fn schema() -> SchemaRef;

    /// Emits them all.
    ///
    /// # Errors
    /// What the function returned as one; kind [`Cancelled`](crate::ErrorKind::Cancelled).
    fn generate(options: &Self::Options, out: &mut Output<'_>) -> Result<()>;
}

/// Rows in, any rows out: what `#[udf(map)]` makes of an ordinary function.
pub trait MapFunction: 'static {
    /// What an execution can be told beside its columns; [`NoOptions`](super::NoOptions) for nothing.
    type Options: DeserializeOwned + 'static;

    /// Its name.
    const NAME: &str;

    /// Its arguments; `None` when it takes any columns.
    fn arguments() -> Option<Vec<Field>>;

    /// The columns of its rows; `None` when they are those of the input.
    fn schema() -> Option<SchemaRef>;

    /// Emits what it makes of a batch, `before` rows into the execution.
    ///
    /// # Errors
    /// What the function returned as one; kind [`Cancelled`](crate::ErrorKind::Cancelled).
    fn process(batch: RecordBatch, before: u64, options: &Self::Options, out: &mut Output<'_>) -> Result<()>;
}

/// The columns of a table whose rows are `R`s: the fields of a struct, or one column called `name`.
pub fn schema_of<R: Return>(name: &str) -> SchemaRef {
    let fields = match <R::Value as Value>::Column::data_type() {
        DataType::Struct(fields) => fields,
        other => Fields::from(vec![Field::new(name, other, true)]),
    };
    Arc::new(Schema::new(fields))
}

/// The definition of a table function.
pub fn define_table<F: TableFunction>() -> Definition {
    let schema = F::schema();
    let columns: Vec<_> =
        schema.fields().iter().map(|field| (field.name().clone(), field.data_type().clone())).collect();
    let open = move |invocation: &Invocation| {
        Ok(OfTable::<F> { options: invocation.options_as()?, schema: Arc::clone(&schema) })
    };
    Definition::new(F::NAME, Kind::Table, open).arguments::<String>([]).returns(columns)
}

struct OfTable<F: TableFunction> {
    options: F::Options,
    schema: SchemaRef,
}

impl<F: TableFunction> Function for OfTable<F> {
    fn output_schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn start(&mut self, out: &mut Output<'_>) -> Result<()> {
        F::generate(&self.options, out)
    }

    fn process(&mut self, _: RecordBatch, _: &mut Output<'_>) -> Result<()> {
        Err("a table function takes no input".into())
    }
}

/// The definition of a map function.
pub fn define_map<F: MapFunction>() -> Definition {
    let open = move |invocation: &Invocation| {
        let schema = F::schema().map_or_else(|| input_schema(invocation), Ok)?;
        Ok(OfMap::<F> { options: invocation.options_as()?, schema, before: 0 })
    };
    let definition = Definition::new(F::NAME, Kind::Map, open);
    definition.fields(F::arguments(), F::schema())
}

struct OfMap<F: MapFunction> {
    options: F::Options,
    schema: SchemaRef,
    /// Rows of the batches before.
    before: u64,
}

impl<F: MapFunction> Function for OfMap<F> {
    fn output_schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn process(&mut self, batch: RecordBatch, out: &mut Output<'_>) -> Result<()> {
        let rows = batch.num_rows() as u64;
        F::process(batch, self.before, &self.options, out)?;
        self.before += rows;
        Ok(())
    }
}

/// Calls `function` for each row without nulls that it did not ask for, and emits the rows it returns.
///
/// # Errors
/// What the function returned as one, with its row; kind [`Cancelled`](crate::ErrorKind::Cancelled); as [`Rows::each`].
///
/// # Panics
/// When the function does.
pub fn emit_rows<'a, A, I>(
    batch: &'a RecordBatch,
    before: u64,
    out: &mut Output<'_>,
    mut function: impl FnMut(A) -> I,
) -> Result<()>
where
    A: Arguments<'a>,
    I: IntoIterator,
    I::Item: Return,
{
    let mut rows = Emitter::<I::Item>::new();
    // Cancelling is looked for at each row that is emitted, and at each that is not.
    let each = Rows::new(batch.columns(), batch.num_rows(), before, &|| Ok(()));
    each.visit::<A>(|arguments| {
        out.check()?;
        rows.extend(function(arguments), out)
    })?;
    rows.flush(out)
}

/// Emits rows until there are no more.
///
/// # Errors
/// The first that is one; kind [`Cancelled`](crate::ErrorKind::Cancelled).
pub fn emit_all<I>(items: I, out: &mut Output<'_>) -> Result<()>
where
    I: IntoIterator,
    I::Item: Return,
{
    let mut rows = Emitter::<I::Item>::new();
    rows.extend(items, out)?;
    rows.flush(out)
}

/// Rows that wait until there are enough of them for a batch. How many those are follows from how quickly they come.
struct Emitter<R: Return> {
    gathered: Gathered<R::Value>,
    rows: usize,
    enough: usize,
    began: Instant,
}

impl<R: Return> Emitter<R> {
    fn new() -> Self {
        Emitter { gathered: Emitter::<R>::nothing(), rows: 0, enough: FIRST_BATCH, began: Instant::now() }
    }

    fn nothing() -> Gathered<R::Value> {
        Gathered::with_capacity(0, R::NULLABLE)
    }

    fn extend(&mut self, items: impl IntoIterator<Item = R>, out: &mut Output<'_>) -> Result<()> {
        let mut items = items.into_iter();
        loop {
            let room = self.enough - self.rows;
            let mut taken = 0;
            for item in items.by_ref().take(room) {
                out.check()?;
                item.push(&mut self.gathered)?;
                taken += 1;
            }
            self.rows += taken;
            if taken < room {
                return Ok(());
            }
            // What a slow consumer takes of it is not the function's.
            let time = self.began.elapsed();
            self.flush(out)?;
            match time {
                time if time < BATCH_TIME / 2 => self.enough = (self.enough * 2).min(MOST_ROWS),
                time if time > BATCH_TIME * 2 => self.enough = (self.enough / 2).max(1),
                _ => {}
            }
            self.began = Instant::now();
        }
    }

    fn flush(&mut self, out: &mut Output<'_>) -> Result<()> {
        if std::mem::take(&mut self.rows) == 0 {
            return Ok(());
        }
        let column = std::mem::replace(&mut self.gathered, Emitter::<R>::nothing()).finish(None)?;
        let columns = match column.data_type() {
            DataType::Struct(_) if column.null_count() > 0 => {
                let text = "a row of a table is no null; leave it out, or return a struct of `Option`s";
                return Err(Error::user(text).with_class("NULL_ROW"));
            }
            DataType::Struct(_) => column.as_struct().columns().to_vec(),
            _ => vec![column],
        };
        out.emit(RecordBatch::try_new(Arc::clone(out.schema()), columns)?)
    }
}

/// What can be emitted as whole batches: a batch, an `Option` or a `Vec` of such, a boxed iterator, a `Result`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no batch that a `#[udf]` could emit",
    note = "return a `RecordBatch`, or an `Option`, a `Vec`, a boxed iterator or a `Result` of one"
)]
pub trait IntoBatches {
    /// Emits them.
    ///
    /// # Errors
    /// What was returned as one; as [`Output::emit`].
    fn emit(self, out: &mut Output<'_>) -> Result<()>;
}

impl IntoBatches for RecordBatch {
    fn emit(self, out: &mut Output<'_>) -> Result<()> {
        out.emit(self)
    }
}

impl<B: IntoBatches> IntoBatches for Option<B> {
    fn emit(self, out: &mut Output<'_>) -> Result<()> {
        self.map_or(Ok(()), |batch| batch.emit(out))
    }
}

impl<B: IntoBatches> IntoBatches for Vec<B> {
    fn emit(self, out: &mut Output<'_>) -> Result<()> {
        emit_batches(self, out)
    }
}

impl<B: IntoBatches> IntoBatches for Box<dyn Iterator<Item = B> + '_> {
    fn emit(self, out: &mut Output<'_>) -> Result<()> {
        emit_batches(self, out)
    }
}

impl<B: IntoBatches, E: Into<Box<dyn std::error::Error + Send + Sync>>> IntoBatches for Result<B, E> {
    fn emit(self, out: &mut Output<'_>) -> Result<()> {
        self.map_err(|error| Error::from(error.into()))?.emit(out)
    }
}

/// Emits batches until there are no more.
///
/// # Errors
/// As [`IntoBatches::emit`].
pub fn emit_batches<B: IntoBatches>(batches: impl IntoIterator<Item = B>, out: &mut Output<'_>) -> Result<()> {
    batches.into_iter().try_for_each(|batch| batch.emit(out))
}
