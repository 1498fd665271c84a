//! Which columns become which arguments of a function, and what is sent of each batch: for hosts that call functions with
//! the columns of a table.
//!
//! A plan is made once, of what the catalogue says and of the table's schema; [`Arguments::of`] makes what is sent of each
//! batch. What a column becomes by itself is [`coerce`](crate::coerce)'s to say. How a host counts rows, writes types and
//! calls what its users have typed is its own: [`Error`] tells what is wrong by parts, and in plain words for those who have
//! no better ones.
//!
//! ```
//! use std::sync::Arc;
//! use anyudf_arrow::arguments::{Arguments, Error};
//! use anyudf_arrow::catalog::{Entry, Kind};
//! use anyudf_arrow::coerce::Policy;
//! use arrow_array::{ArrayRef, Int32Array, RecordBatch};
//! use arrow_schema::{DataType, Field, Schema};
//!
//! let mut round = Entry::new("round", Kind::Scalar);
//! round.arguments = Some(Arc::new(Schema::new(vec![Field::new("x", DataType::Float64, false)])));
//! let height = Arc::new(Int32Array::from(vec![Some(3), None])) as ArrayRef;
//! let table = RecordBatch::try_from_iter([("height", height)])?;
//!
//! let arguments = Arguments::plan(Some(&round), None, table.schema_ref(), Policy::Widening)?;
//! assert_eq!(arguments.schema().field(0), &Field::new("height", DataType::Float64, false));
//! assert_eq!(arguments.of(&table.slice(0, 1), 0)?.column(0).data_type(), &DataType::Float64);
//! let error = arguments.of(&table, 0).unwrap_err();
//! assert_eq!(error.to_string(), "column `height` is null in row 1, counted from 0, and argument `x` takes no nulls");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::fmt;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_schema::{DataType, FieldRef, Schema, SchemaRef};

use crate::catalog::{Entry, Kind, arguments_for, arity, takes};
use crate::coerce::{Misfit, Policy, coerce};

/// What is sent to a function of each batch.
#[derive(Clone, Debug)]
pub struct Arguments {
    schema: SchemaRef,
    columns: Vec<Column>,
    policy: Policy,
}

/// One column that is sent.
#[derive(Clone, Debug)]
struct Column {
    /// Its place in the input.
    place: usize,
    /// As the input has it.
    given: FieldRef,
    /// As the function has it, if it has parameters.
    parameter: Option<FieldRef>,
}

/// What may be wrong with the columns that a function is given, or with their values.
///
/// `column` is as the input had it when the plan was made, `sent` as it is sent, and `parameter` as the function has it, if it
/// has names for its arguments. `nth` counts arguments from 0, and `row` rows of the whole input from 0.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
#[expect(missing_docs, reason = "what fields mean is said above, once for all of them")]
pub enum Error {
    /// The function takes more columns than it is given, or fewer.
    Count {
        /// What it takes; [`arity`] says how many that are.
        parameters: SchemaRef,
        given: Vec<FieldRef>,
    },
    /// A column does not become by itself what the function takes.
    Type { nth: usize, column: FieldRef, parameter: FieldRef },
    /// A later batch lacks a column.
    Missing { column: FieldRef },
    /// A column of a later batch has another type, which does not become by itself what is sent.
    Changed { column: FieldRef, given: DataType, sent: FieldRef, parameter: Option<FieldRef> },
    /// A value does not fit what the function takes.
    Value {
        nth: usize,
        row: u64,
        column: FieldRef,
        sent: FieldRef,
        parameter: Option<FieldRef>,
        /// What is wrong with it; its own row is that in the batch.
        misfit: Misfit,
    },
    /// A value is null, and the function takes no nulls.
    Null { nth: usize, row: u64, column: FieldRef, parameter: Option<FieldRef> },
}

impl Arguments {
    /// What is sent to a function of batches of `input`: the columns at these places, each for an argument; or all of them,
    /// but none to one that makes its own rows, or takes no columns and is called for each row. Without a `function` nothing
    /// is known of it, and columns go as they are.
    ///
    /// Each is sent under its own name, so that the function's errors speak of columns that the caller knows.
    ///
    /// # Errors
    /// [`Error::Count`] and [`Error::Type`], by the first signature if there are several.
    ///
    /// # Panics
    /// When there is no column at one of the places.
    pub fn plan(
        function: Option<&Entry>,
        columns: Option<&[usize]>,
        input: &Schema,
        policy: Policy,
    ) -> Result<Self, Error> {
        let places: Vec<usize> = match (columns, function) {
            (_, Some(Entry { kind: Kind::Table, .. })) => Vec::new(),
            (Some(columns), _) => columns.to_vec(),
            (None, Some(function)) if is_of_none(function) => Vec::new(),
            (None, _) => (0..input.fields().len()).collect(),
        };
        let given: Vec<_> = places.iter().map(|&place| Arc::clone(&input.fields()[place])).collect();
        let types: Vec<_> = given.iter().map(|field| field.data_type().clone()).collect();
        let parameters = match function.and_then(|function| signature(function, &types, policy).0) {
            None => vec![None; places.len()],
            Some(parameters) => match arguments_for(parameters, places.len()) {
                Some(fields) => fields.into_iter().map(|field| Some(Arc::clone(field))).collect(),
                None => {
                    return Err(Error::Count { parameters: Arc::clone(parameters), given });
                }
            },
        };
        let (mut fields, mut columns) = (Vec::with_capacity(places.len()), Vec::with_capacity(places.len()));
        for (nth, ((place, given), parameter)) in places.into_iter().zip(given).zip(parameters).enumerate() {
            fields.push(match &parameter {
                None => Arc::clone(&given),
                Some(parameter) => {
                    let Some(sent) = sent(parameter, given.data_type(), policy) else {
                        return Err(Error::Type { nth, column: given, parameter: Arc::clone(parameter) });
                    };
                    Arc::new(parameter.as_ref().clone().with_name(given.name()).with_data_type(sent.clone()))
                }
            });
            columns.push(Column { place, given, parameter });
        }
        Ok(Arguments { schema: Arc::new(Schema::new(fields)), columns, policy })
    }

    /// The same, each column sent under the function's name for it: for hosts whose users give columns no names.
    pub fn named_by_parameters(mut self) -> Self {
        let fields = self.schema.fields().iter().zip(&self.columns).map(|(field, column)| match &column.parameter {
            Some(parameter) => Arc::new(field.as_ref().clone().with_name(parameter.name())),
            None => Arc::clone(field),
        });
        self.schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        self
    }

    /// The schema of what is sent.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// What is sent of a batch whose first row is row `first` of the input. A column may be somewhere else in it than in the
    /// schema of the plan, and of another type that becomes what is sent, too.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Changed`], [`Error::Value`] and [`Error::Null`].
    pub fn of(&self, batch: &RecordBatch, first: u64) -> Result<RecordBatch, Error> {
        let columns = self.columns.iter().zip(self.schema.fields()).enumerate().map(|(nth, (column, sent))| {
            let given = column.find(batch, sent, self.policy)?;
            let coerced = coerce(given, sent.data_type()).map_err(|misfit| Error::Value {
                nth,
                row: first + misfit.row() as u64,
                column: Arc::clone(&column.given),
                sent: Arc::clone(sent),
                parameter: column.parameter.clone(),
                misfit,
            })?;
            let null = if sent.is_nullable() { None } else { null(&coerced) };
            match null {
                Some(row) => Err(Error::Null {
                    nth,
                    row: first + row as u64,
                    column: Arc::clone(&column.given),
                    parameter: column.parameter.clone(),
                }),
                None => Ok(coerced),
            }
        });
        let columns = columns.collect::<Result<Vec<ArrayRef>, Error>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let batch = RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options);
        Ok(batch.expect("the columns have the schema's types, and the rows of one batch"))
    }
}

impl Column {
    /// The column in a batch: where it was when the plan was made, or else the one of its name.
    fn find<'a>(&self, batch: &'a RecordBatch, sent: &FieldRef, policy: Policy) -> Result<&'a ArrayRef, Error> {
        let (schema, name) = (batch.schema_ref(), self.given.name());
        let is_there = schema.fields().get(self.place).is_some_and(|field| field.name() == name);
        let place = if is_there { Some(self.place) } else { schema.index_of(name).ok() };
        let Some(place) = place else { return Err(Error::Missing { column: Arc::clone(&self.given) }) };
        let column = batch.column(place);
        let given = column.data_type();
        if given != self.given.data_type() && !policy.allows(given, sent.data_type()) {
            return Err(Error::Changed {
                column: Arc::clone(&self.given),
                given: given.clone(),
                sent: Arc::clone(sent),
                parameter: self.parameter.clone(),
            });
        }
        Ok(column)
    }
}

/// The signature of a function that is meant when columns of these types are given, arguments and result, as far as they are
/// known: the first that takes them as they are; or else the first that they become by [`Policy::Widening`]; or else the first
/// that they become by the given policy, where the values of a narrower one might not fit; or else the first of all.
pub fn signature<'a>(
    function: &'a Entry,
    given: &[DataType],
    policy: Policy,
) -> (Option<&'a SchemaRef>, Option<&'a SchemaRef>) {
    let by = |fits: &dyn Fn(&FieldRef, &DataType) -> bool| {
        function.signatures().find(|(arguments, _)| {
            arguments.is_none_or(|arguments| {
                arguments_for(arguments, given.len())
                    .is_some_and(|wanted| wanted.iter().zip(given).all(|(wanted, given)| fits(wanted, given)))
            })
        })
    };
    let becomes = |policy| by(&|wanted, given| sent(wanted, given, policy).is_some());
    by(&|wanted, given| takes(wanted, given))
        .or_else(|| becomes(Policy::Widening))
        .or_else(|| becomes(policy))
        .unwrap_or((function.arguments.as_ref(), function.result.as_ref()))
}

/// The type in which a column is sent for an argument; `None` if it does not become that by itself.
fn sent<'a>(parameter: &'a FieldRef, given: &'a DataType, policy: Policy) -> Option<&'a DataType> {
    let wanted = parameter.data_type();
    let is_taken = takes(parameter, given);
    match policy.allows(given, wanted) {
        // What the function takes as it is needs no cast.
        true if is_taken && !given.equals_datatype(wanted) => Some(given),
        true => Some(wanted),
        false => is_taken.then_some(given),
    }
}

fn is_of_none(function: &Entry) -> bool {
    let none = |arguments: &SchemaRef| arity(arguments).most == Some(0);
    function.kind == Kind::Scalar && function.signatures().all(|(arguments, _)| arguments.is_some_and(none))
}

/// The first row that is null.
fn null(column: &ArrayRef) -> Option<usize> {
    let nulls = column.logical_nulls().filter(|nulls| nulls.null_count() > 0)?;
    (0..column.len()).find(|&row| nulls.is_null(row))
}

/// An argument as people call it.
struct Called<'a>(&'a Option<FieldRef>);

impl fmt::Display for Called<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(parameter) => write!(f, "argument `{}`", parameter.name()),
            None => f.write_str("the function"),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Count { parameters, given } => {
                let list: Vec<_> =
                    parameters.fields().iter().map(|field| format!("{} {}", field.name(), field.data_type())).collect();
                let list = if list.is_empty() { String::new() } else { format!(" ({})", list.join(", ")) };
                let columns = if given.len() == 1 { "column" } else { "columns" };
                write!(f, "the function takes {}{list}, and it is given {} {columns}", arity(parameters), given.len())
            }
            Error::Type { column, parameter, .. } => {
                let (from, to) = (column.data_type(), parameter.data_type());
                let (column, parameter) = (column.name(), parameter.name());
                write!(
                    f,
                    "column `{column}` is {from}, argument `{parameter}` is {to}, and {from} does not become {to} by itself"
                )
            }
            Error::Missing { column } => {
                write!(f, "a later batch has no column `{}`, as the first one has", column.name())
            }
            Error::Changed { column, given, sent, parameter } => write!(
                f,
                "column `{}` of a later batch is {given}, it was {} in the first one, and {} takes {}",
                column.name(),
                column.data_type(),
                Called(parameter),
                sent.data_type()
            ),
            Error::Value { row, column, sent, parameter, misfit, .. } => write!(
                f,
                "column `{}` can't become {} for {} in row {row}, counted from 0: {misfit}",
                column.name(),
                sent.data_type(),
                Called(parameter)
            ),
            Error::Null { row, column, parameter, .. } => {
                let (column, called) = (column.name(), Called(parameter));
                write!(f, "column `{column}` is null in row {row}, counted from 0, and {called} takes no nulls")
            }
        }
    }
}

impl std::error::Error for Error {}
