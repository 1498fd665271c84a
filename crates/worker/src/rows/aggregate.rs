//! Rows in, one value out: `#[udf(aggregate)]`.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Field, Schema, SchemaRef};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::definition::{Definition, Kind};
use crate::error::{Error, Result};
use crate::function::{Function, Output};
use crate::invocation::Invocation;

use super::Rows;
use super::column::{Column, Gathered};
use super::result::{Return, Value};

/// A state to which rows are added: what `#[udf(aggregate)]` makes of an `impl` with `new`, `update`, `merge`, `finish`.
///
/// An execution takes rows and emits one row, the value, when its input ends. With the option `"partial": true` it emits
/// nothing: `FinishResponse.data` is then its state as JSON. With `"states": […]` it begins from such states, merged. So
/// an engine can split the work, and put the parts together.
pub trait Aggregate: Serialize + DeserializeOwned + 'static {
    /// What comes of it.
    type Result: Return;

    /// Its name.
    const NAME: &str;

    /// A field for each argument of a row.
    fn arguments() -> Vec<Field>;

    /// The state before any row.
    fn begin() -> Self;

    /// Adds rows.
    ///
    /// # Errors
    /// What the function returned as one, with its row; as [`Rows::each`].
    fn add(&mut self, rows: &Rows<'_>) -> Result<()>;

    /// Adds the rows of another state.
    fn join(&mut self, other: Self);

    /// The value.
    fn end(self) -> Self::Result;
}

/// The options of every aggregate.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, bound = "S: DeserializeOwned")]
struct Options<S> {
    #[serde(default)]
    partial: bool,
    #[serde(default = "Vec::new")]
    states: Vec<S>,
}

/// The definition of an aggregate.
///
/// ```
/// use anyudf_worker::{Worker, aggregate, udf};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct Mean {
///     sum: f64,
///     count: u64,
/// }
///
/// /// The mean of numbers; null when there are none.
/// #[udf(aggregate)]
/// impl Mean {
///     fn new() -> Self {
///         Mean { sum: 0.0, count: 0 }
///     }
///
///     fn update(&mut self, x: f64) {
///         self.sum += x;
///         self.count += 1;
///     }
///
///     fn merge(&mut self, other: Self) {
///         self.sum += other.sum;
///         self.count += other.count;
///     }
///
///     fn finish(self) -> Option<f64> {
///         (self.count > 0).then(|| self.sum / self.count as f64)
///     }
/// }
///
/// let worker = Worker::new().with(aggregate::<Mean>());
/// ```
pub fn aggregate<A: AggregateDefinition>() -> Definition {
    A::definition()
}

/// An [`Aggregate`] with what the catalogue says of it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no aggregate",
    note = "write `#[udf(aggregate)]` before an `impl {Self}` with `new`, `update`, `merge` and `finish`"
)]
pub trait AggregateDefinition: Aggregate {
    /// The definition.
    fn definition() -> Definition;
}

/// The definition of an aggregate, without help and the like.
pub fn define_aggregate<A: Aggregate>() -> Definition {
    let result = Field::new(A::NAME, <<A::Result as Return>::Value as Value>::Column::data_type(), true);
    let schema: SchemaRef = Arc::new(Schema::new(vec![result]));
    let columns = Arc::clone(&schema);
    let open = move |invocation: &Invocation| {
        let Options { partial, states } = invocation.options_as::<Options<A>>()?;
        let mut state = A::begin();
        states.into_iter().for_each(|other| state.join(other));
        let end = if partial { End::State } else { End::Value };
        Ok(OfAggregate { state, end, schema: Arc::clone(&schema), before: 0 })
    };
    Definition::new(A::NAME, Kind::Aggregate, open).fields(Some(A::arguments()), Some(columns))
}

/// What an execution ends with.
enum End {
    /// A row.
    Value,
    /// The state, for somebody who has others.
    State,
}

struct OfAggregate<A> {
    state: A,
    end: End,
    schema: SchemaRef,
    /// Rows of the batches before.
    before: u64,
}

impl<A: Aggregate> Function for OfAggregate<A> {
    fn output_schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn process(&mut self, batch: RecordBatch, out: &mut Output<'_>) -> Result<()> {
        let check = || out.check();
        self.state.add(&Rows::new(batch.columns(), batch.num_rows(), self.before, &check))?;
        self.before += batch.num_rows() as u64;
        Ok(())
    }

    fn finish(self, out: &mut Output<'_>) -> Result<()> {
        match self.end {
            End::State => {
                let state = serde_json::to_vec(&self.state);
                out.set_result(state.map_err(|error| Error::user(error).with_class("STATE_UNWRITABLE"))?);
                Ok(())
            }
            End::Value => {
                let mut value = Gathered::with_capacity(1, A::Result::NULLABLE);
                self.state.end().push(&mut value)?;
                out.emit(RecordBatch::try_new(self.schema, vec![value.finish(None)?])?)
            }
        }
    }
}
