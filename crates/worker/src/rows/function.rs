//! A function of rows as a [`Function`] over batches.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::definition::{Definition, Kind};
use crate::error::{Error, Result};
use crate::function::{Function, Output};
use crate::invocation::Invocation;

use super::Rows;
use super::argument::{Argument, Arguments};
use super::column::Column;
use super::result::{Return, Slot, Value};
use super::spread::Spread;

/// Name, arguments and result of a scalar function.
#[derive(Clone, Debug)]
pub struct Signature {
    name: String,
    arguments: Vec<Field>,
    result: Field,
    spread: Spread,
}

impl Signature {
    /// That of a function `name` with arguments of these names, of types `A`, that returns an `R`.
    ///
    /// # Panics
    /// When there are not as many names as arguments.
    pub fn new<'a, A: Arguments<'a>, R: Return>(name: impl Into<String>, arguments: &[&str]) -> Self {
        let name = name.into();
        let result = Field::new(&name, <R::Value as Value>::Column::data_type(), true);
        Signature { name, arguments: A::fields(arguments), result, spread: Spread::default() }
    }

    /// The same with a default for the argument at `place`. To be said for all behind it too, in their order. `json` is the
    /// same value as the catalogue tells it, a literal in JSON.
    ///
    /// # Panics
    /// When there is no such argument.
    pub fn with_default<T>(mut self, place: usize, value: T, json: &str) -> Self
    where
        T: Slot + Clone + Send + Sync + 'static,
    {
        self.spread.with_default(&mut self.arguments[place], value, json);
        self
    }

    /// The same with a last argument, a list of `T`s, that takes any number of columns of `T`s instead of one of lists.
    ///
    /// # Panics
    /// When there is no argument.
    pub fn with_variadic<'a, T: Argument<'a>>(mut self) -> Self {
        let last = self.arguments.last_mut().expect("a variadic argument is one");
        self.spread.with_variadic::<T>(last);
        self
    }

    /// That of a function of whole arrays.
    pub fn of_arrays(name: impl Into<String>, arguments: Vec<(&str, DataType)>, result: DataType) -> Self {
        let name = name.into();
        let arguments = arguments.into_iter().map(|(name, data_type)| Field::new(name, data_type, true)).collect();
        Signature { result: Field::new(&name, result, true), name, arguments, spread: Spread::default() }
    }
}

/// The options of a function that has none: giving it one is an error.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoOptions {}

/// A scalar function: what `#[udf]` and `#[udf(batch)]` make of an ordinary function.
///
/// ```
/// use std::sync::Arc;
/// use anyudf_worker::rows::{NoOptions, ScalarFunction, Rows};
/// use anyudf_worker::udf;
/// use arrow::array::{ArrayRef, AsArray, Int64Array};
/// use arrow::datatypes::Int64Type;
///
/// #[udf]
/// fn doubled(x: i64) -> i64 {
///     2 * x
/// }
///
/// // In this process, without a worker.
/// let columns: [ArrayRef; 1] = [Arc::new(Int64Array::from(vec![Some(4), None]))];
/// let result = doubled::evaluate(&Rows::of(&columns, 2), &NoOptions {})?;
/// assert_eq!(result.as_primitive::<Int64Type>(), &Int64Array::from(vec![Some(8), None]));
/// # Ok::<(), anyudf_worker::Error>(())
/// ```
pub trait ScalarFunction: 'static {
    /// What an execution can be told beside its columns; [`NoOptions`] for nothing.
    type Options: DeserializeOwned + 'static;

    /// Its name, arguments and result.
    fn signature() -> Signature;

    /// The column that it makes of a batch, by [`Rows::each`] or [`Rows::whole`].
    ///
    /// # Errors
    /// As these.
    fn evaluate(rows: &Rows<'_>, options: &Self::Options) -> Result<ArrayRef>;
}

/// The definition of a scalar function.
pub fn define<F: ScalarFunction>() -> Definition {
    let Signature { name, arguments, result, spread } = F::signature();
    let schema: SchemaRef = Arc::new(Schema::new(vec![result]));
    let (columns, count) = (Arc::clone(&schema), arguments.len());
    let open = move |invocation: &Invocation| {
        let (options, schema, spread) = (invocation.options_as()?, Arc::clone(&schema), spread.clone());
        Ok(OfRows::<F> { options, schema, spread, arguments: count, before: 0 })
    };
    Definition::new(name, Kind::Scalar, open).fields(Some(arguments), Some(columns))
}

struct OfRows<F: ScalarFunction> {
    options: F::Options,
    schema: SchemaRef,
    spread: Spread,
    /// How many arguments the function has.
    arguments: usize,
    /// Rows of the batches before.
    before: u64,
}

impl<F: ScalarFunction> Function for OfRows<F> {
    fn output_schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn process(&mut self, batch: RecordBatch, out: &mut Output<'_>) -> Result<()> {
        let column = {
            let check = || out.check();
            let completed = self.spread.columns(batch.columns(), batch.num_rows(), self.arguments)?;
            let columns = completed.as_deref().unwrap_or(batch.columns());
            let rows = Rows::new(columns, batch.num_rows(), self.before, &check);
            F::evaluate(&rows, &self.options)?
        };
        let wanted = self.schema.field(0).data_type();
        if column.data_type() != wanted {
            let text = format!("the function declares {wanted} and returned {}", column.data_type());
            return Err(Error::user(text).with_class("WRONG_RESULT_TYPE"));
        }
        self.before += batch.num_rows() as u64;
        out.emit(RecordBatch::try_new(Arc::clone(&self.schema), vec![column])?)
    }
}
