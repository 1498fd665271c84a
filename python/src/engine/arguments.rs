//! Which columns become which arguments: how Python names columns, and how it is told of what does not fit.

use anyudf_arrow::arguments::{Arguments as Plan, Error};
use anyudf_arrow::catalog::{Entry, Kind, arity};
use anyudf_arrow::coerce::Policy;
use arrow::array::RecordBatch;
use arrow::datatypes::{FieldRef, Schema, SchemaRef};
use pyo3::prelude::*;

use super::error::Fault;
use super::types::{columns, type_name};

/// A column that Python names.
#[derive(Clone, Debug, FromPyObject)]
pub(super) enum Named {
    /// From the last one when it is negative.
    Place(isize),
    Name(String),
}

/// What is sent of each batch.
#[derive(Debug)]
pub(super) struct Arguments {
    function: String,
    plan: Plan,
}

impl Arguments {
    /// What to send of batches of `input` to a function, of which nothing may be known: these columns, or all.
    ///
    /// # Errors
    /// Columns that are not there, too many, too few, or of types that do not become the function's by themselves.
    pub(super) fn new(
        label: &str,
        function: Option<&Entry>,
        columns: Option<&[Named]>,
        input: &Schema,
    ) -> Result<Self, Fault> {
        let places =
            columns.map(|columns| columns.iter().map(|column| place(column, input)).collect::<Result<Vec<_>, _>>());
        let plan = Plan::plan(function, places.transpose()?.as_deref(), input, Policy::Widening);
        Ok(Arguments { function: label.into(), plan: plan.map_err(|error| fault(label, &error))? })
    }

    /// The schema of what is sent.
    pub(super) fn schema(&self) -> &SchemaRef {
        self.plan.schema()
    }

    /// The arguments for the rows of a batch, whose first row is row `first` of the input, counted from zero.
    ///
    /// # Errors
    /// A batch that is not like the first one; a value that does not fit the function's type, or a null where it takes none.
    pub(super) fn of(&self, batch: &RecordBatch, first: u64) -> Result<RecordBatch, Fault> {
        self.plan.of(batch, first).map_err(|error| fault(&self.function, &error))
    }
}

/// Whether a function takes all columns as they are.
pub(super) fn takes_any(function: &Entry) -> bool {
    function.kind != Kind::Table && function.signatures().any(|(arguments, _)| arguments.is_none())
}

/// What is wrong with the columns for a function, or with their values.
fn fault(function: &str, error: &Error) -> Fault {
    let called = |parameter: &Option<FieldRef>| match parameter {
        Some(parameter) => format!("argument `{}` of `{function}`", parameter.name()),
        None => format!("`{function}`"),
    };
    let (condition, text) = match error {
        Error::Count { parameters, given } => {
            let list = columns(parameters.fields());
            let list = if list.is_empty() { list } else { format!(" ({list})") };
            let text = format!(
                "function `{function}` takes {}{list}, and it is given {}: {}; name one column for each, with args",
                arity(parameters),
                given.len(),
                listed(given.iter().map(|field| field.name().as_str())),
            );
            ("WRONG_ARGUMENT_COUNT", text)
        }
        Error::Type { column, parameter, .. } => {
            let (from, to) = (type_name(column.data_type()), type_name(parameter.data_type()));
            let (column, parameter) = (column.name(), parameter.name());
            let text = format!(
                "column `{column}` is {from}, argument `{parameter}` of function `{function}` is {to}, and {from} does not \
                 become {to} by itself; cast it before, or name another column"
            );
            ("WRONG_ARGUMENT_TYPE", text)
        }
        Error::Missing { .. } => ("NO_SUCH_COLUMN", error.to_string()),
        Error::Changed { column, given, sent, parameter } => {
            let (given, planned, wanted) =
                (type_name(given), type_name(column.data_type()), type_name(sent.data_type()));
            let text = format!(
                "column `{}` of a later batch is {given}, it was {planned} in the first one, and {} takes {wanted}",
                column.name(),
                called(parameter),
            );
            ("WRONG_ARGUMENT_TYPE", text)
        }
        Error::Value { row, column, sent, parameter, misfit, .. } => {
            let (column, wanted, called) = (column.name(), type_name(sent.data_type()), called(parameter));
            let text = format!("column `{column}` can't become {wanted} for {called} in row {row}: {misfit}");
            ("WRONG_ARGUMENT_VALUE", text)
        }
        Error::Null { row, column, parameter, .. } => {
            let (column, called) = (column.name(), called(parameter));
            ("NULL_ARGUMENT", format!("column `{column}` is null in row {row}, and {called} takes no nulls"))
        }
        error => ("WRONG_ARGUMENTS", error.to_string()),
    };
    Fault::misuse(condition, text)
}

fn place(column: &Named, input: &Schema) -> Result<usize, Fault> {
    let count = input.fields().len();
    match column {
        Named::Place(place) => {
            let found = if *place < 0 { count.checked_add_signed(*place) } else { usize::try_from(*place).ok() };
            found.filter(|&place| place < count).ok_or_else(|| {
                Fault::misuse("NO_SUCH_COLUMN", format!("there is no column {place}: the input has {count} columns"))
            })
        }
        Named::Name(name) => input.index_of(name).map_err(|_| {
            let known = listed(input.fields().iter().map(|field| field.name().as_str()));
            Fault::misuse("NO_SUCH_COLUMN", format!("the input has no column `{name}`; its columns are {known}"))
        }),
    }
}

/// Names, and not too many of them.
fn listed<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> String {
    const MOST: usize = 20;
    let more = names.len().saturating_sub(MOST);
    let mut list: Vec<_> = names.take(MOST).map(|name| format!("`{name}`")).collect();
    if more > 0 {
        list.push(format!("{more} more"));
    }
    if list.is_empty() { "none".into() } else { list.join(", ") }
}
