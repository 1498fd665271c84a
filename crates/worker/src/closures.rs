//! The highest of the three faces: functions from closures over Arrow arrays.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, make_array};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use crate::definition::{Definition, Kind};
use crate::error::{Error, Result};
use crate::function::{Function, Output};
use crate::invocation::Invocation;

/// What becomes of a row in which an argument is null.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Nulls {
    /// The result is null there, whatever the closure computed from the value below the null.
    #[default]
    GiveNull,
    /// The closure decides.
    AreValues,
}

/// Begins a scalar function: one column out, row for row.
///
/// ```
/// use std::sync::Arc;
/// use anyudf_worker::{Worker, scalar};
/// use arrow::array::{AsArray, Float64Array};
/// use arrow::datatypes::{DataType, Float64Type};
///
/// let fahrenheit = scalar("fahrenheit")
///     .argument("celsius", DataType::Float64)
///     .returns(DataType::Float64)
///     .help("degrees Celsius in degrees Fahrenheit")
///     .over(|columns| {
///         let celsius = columns[0].as_primitive::<Float64Type>();
///         Ok(Arc::new(Float64Array::from_iter_values(celsius.values().iter().map(|c| c * 1.8 + 32.0))))
///     });
/// let worker = Worker::new().with(fahrenheit);
/// ```
pub fn scalar(name: impl Into<String>) -> ScalarBuilder<NoResult> {
    ScalarBuilder { outline: Outline::new(name), nulls: Nulls::default(), result: NoResult }
}

/// Begins a map function: batches in, any batches out.
///
/// ```
/// use anyudf_worker::{Worker, map};
///
/// let twice = map("twice").returns_input().help("every batch twice").over(|batch, out| {
///     out.emit(batch.clone())?;
///     out.emit(batch)
/// });
/// let worker = Worker::new().with(twice);
/// ```
pub fn map(name: impl Into<String>) -> MapBuilder<NoResult> {
    MapBuilder { outline: Outline::new(name), result: NoResult }
}

/// A function whose result was not declared yet; without it there is no `over`.
#[derive(Clone, Copy, Debug)]
pub struct NoResult;

/// The result of a map function.
#[derive(Clone, Debug)]
pub enum MapResult {
    /// Always these columns.
    Columns(SchemaRef),
    /// The columns of the input.
    Input,
}

/// What both builders know.
#[derive(Debug)]
struct Outline {
    name: String,
    arguments: Option<Vec<(String, DataType)>>,
    help: String,
    version: String,
}

impl Outline {
    fn new(name: impl Into<String>) -> Self {
        Outline { name: name.into(), arguments: None, help: String::new(), version: String::new() }
    }

    fn argument(&mut self, name: impl Into<String>, data_type: DataType) {
        self.arguments.get_or_insert_default().push((name.into(), data_type));
    }

    fn finish(self, definition: Definition) -> Definition {
        let definition = definition.help(self.help).version(self.version);
        match self.arguments {
            Some(arguments) => definition.arguments(arguments),
            None => definition,
        }
    }
}

macro_rules! outline {
    ($builder:ident) => {
        impl<R> $builder<R> {
            /// Adds an argument: the name is for people, the type must be the column's.
            pub fn argument(mut self, name: impl Into<String>, data_type: DataType) -> Self {
                self.outline.argument(name, data_type);
                self
            }

            /// Sets one line of help.
            pub fn help(mut self, help: impl Into<String>) -> Self {
                self.outline.help = help.into();
                self
            }

            /// Sets the function's version.
            pub fn version(mut self, version: impl Into<String>) -> Self {
                self.outline.version = version.into();
                self
            }
        }
    };
}

/// A scalar function under construction. See [`scalar`].
#[derive(Debug)]
pub struct ScalarBuilder<R> {
    outline: Outline,
    nulls: Nulls,
    result: R,
}

outline!(ScalarBuilder);

impl<R> ScalarBuilder<R> {
    /// Sets what becomes of rows with nulls: a null unless told otherwise.
    pub fn nulls(mut self, nulls: Nulls) -> Self {
        self.nulls = nulls;
        self
    }
}

impl ScalarBuilder<NoResult> {
    /// Declares the type of the result.
    pub fn returns(self, data_type: DataType) -> ScalarBuilder<DataType> {
        ScalarBuilder { outline: self.outline, nulls: self.nulls, result: data_type }
    }
}

impl ScalarBuilder<DataType> {
    /// The function itself: the argument columns in order, all of one length, to a column of that length.
    ///
    /// A result of another type or length is an error of the function.
    pub fn over<F>(mut self, closure: F) -> Definition
    where
        F: Fn(&[ArrayRef]) -> Result<ArrayRef> + Send + Sync + 'static,
    {
        // A scalar function without arguments takes no columns, not any columns.
        self.outline.arguments.get_or_insert_default();
        let field = Field::new(&self.outline.name, self.result.clone(), true);
        let schema = Arc::new(Schema::new(vec![field]));
        let (closure, nulls) = (Arc::new(closure), self.nulls);
        let result = [(self.outline.name.clone(), self.result)];
        let open =
            move |_: &Invocation| Ok(Scalar { closure: Arc::clone(&closure), schema: Arc::clone(&schema), nulls });
        let definition = Definition::new(self.outline.name.clone(), Kind::Scalar, open).returns(result);
        self.outline.finish(definition)
    }
}

struct Scalar<F> {
    closure: Arc<F>,
    schema: SchemaRef,
    nulls: Nulls,
}

impl<F> Function for Scalar<F>
where
    F: Fn(&[ArrayRef]) -> Result<ArrayRef> + Send + Sync + 'static,
{
    fn output_schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn process(&mut self, batch: RecordBatch, out: &mut Output<'_>) -> Result<()> {
        let mut column = (self.closure)(batch.columns())?;
        check_length(batch.num_rows(), column.len())?;
        if self.nulls == Nulls::GiveNull {
            column = with_nulls_of(column, batch.columns())?;
        }
        let wanted = self.schema.field(0).data_type();
        if column.data_type() != wanted {
            let text = format!("the function declares {wanted} and returned {}", column.data_type());
            return Err(Error::user(text).with_class("WRONG_RESULT_TYPE"));
        }
        out.emit(RecordBatch::try_new(Arc::clone(&self.schema), vec![column])?)
    }
}

/// Whether a scalar function returned as many rows as it was given.
pub(crate) fn check_length(rows: usize, results: usize) -> Result<()> {
    if results == rows {
        return Ok(());
    }
    let text = format!("a scalar function was given {rows} rows and returned {results}");
    Err(Error::user(text).with_class("WRONG_RESULT_LENGTH"))
}

/// The column with a null in every row in which an argument has one.
pub(crate) fn with_nulls_of(column: ArrayRef, arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let of_arguments = arguments.iter().fold(None, |nulls: Option<NullBuffer>, argument| {
        NullBuffer::union(nulls.as_ref(), argument.logical_nulls().as_ref())
    });
    if of_arguments.as_ref().is_none_or(|nulls| nulls.null_count() == 0) {
        return Ok(column);
    }
    let nulls = NullBuffer::union(of_arguments.as_ref(), column.nulls());
    Ok(make_array(column.into_data().into_builder().nulls(nulls).build()?))
}

/// A map function under construction. See [`map`].
#[derive(Debug)]
pub struct MapBuilder<R> {
    outline: Outline,
    result: R,
}

outline!(MapBuilder);

impl MapBuilder<NoResult> {
    /// Declares the columns of the result.
    pub fn returns<N: Into<String>>(self, columns: impl IntoIterator<Item = (N, DataType)>) -> MapBuilder<MapResult> {
        let field = |(name, data_type): (N, DataType)| Field::new(name.into(), data_type, true);
        let schema = Schema::new(columns.into_iter().map(field).collect::<Vec<_>>());
        MapBuilder { outline: self.outline, result: MapResult::Columns(Arc::new(schema)) }
    }

    /// Declares that the result has the columns of the input.
    pub fn returns_input(self) -> MapBuilder<MapResult> {
        MapBuilder { outline: self.outline, result: MapResult::Input }
    }
}

impl MapBuilder<MapResult> {
    /// The function itself: takes one batch, and emits as many as it likes.
    pub fn over<F>(self, closure: F) -> Definition
    where
        F: Fn(RecordBatch, &mut Output<'_>) -> Result<()> + Send + Sync + 'static,
    {
        let (closure, result) = (Arc::new(closure), self.result.clone());
        let open = move |invocation: &Invocation| {
            let schema = match &result {
                MapResult::Columns(schema) => Arc::clone(schema),
                MapResult::Input => input_schema(invocation)?,
            };
            Ok(Map { closure: Arc::clone(&closure), schema })
        };
        let mut definition = Definition::new(self.outline.name.clone(), Kind::Map, open);
        if let MapResult::Columns(schema) = self.result {
            definition =
                definition.returns(schema.fields().iter().map(|field| (field.name(), field.data_type().clone())));
        }
        self.outline.finish(definition)
    }
}

/// The schema of the input, for functions whose output follows from it.
///
/// # Errors
/// Kind [`Protocol`](crate::ErrorKind::Protocol), condition `MISSING_FIELD`, when the engine named none.
pub(crate) fn input_schema(invocation: &Invocation) -> Result<SchemaRef> {
    invocation.input_schema()?.ok_or_else(|| {
        Error::protocol("MISSING_FIELD", "Init.input_schema is needed: the result has the columns of the input (C9)")
    })
}

struct Map<F> {
    closure: Arc<F>,
    schema: SchemaRef,
}

impl<F> Function for Map<F>
where
    F: Fn(RecordBatch, &mut Output<'_>) -> Result<()> + Send + Sync + 'static,
{
    fn output_schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn process(&mut self, batch: RecordBatch, out: &mut Output<'_>) -> Result<()> {
        (self.closure)(batch, out)
    }
}
