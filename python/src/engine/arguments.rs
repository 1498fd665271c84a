//! Which columns become which arguments, and the casts that takes: as `anyudf run` has it.

use std::sync::Arc;

use anyudf_arrow::catalog::{Entry, Kind, arguments_for, arity, takes};
use anyudf_arrow::coerce::{coerce, is_implicit};
use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use pyo3::prelude::*;

use super::error::Fault;

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
    /// The schema of what is sent.
    schema: SchemaRef,
    arguments: Vec<Argument>,
}

/// One column that is sent.
#[derive(Debug)]
struct Argument {
    /// Its place in the input, its name there, and its type.
    place: usize,
    name: String,
    given: DataType,
    /// What the function calls it, if it has a name for it.
    parameter: Option<String>,
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
        let places = match (columns, function) {
            (_, Some(Entry { kind: Kind::Table, .. })) => Vec::new(),
            (Some(columns), _) => columns.iter().map(|column| place(column, input)).collect::<Result<_, _>>()?,
            // Of no arguments it is called once a row.
            (None, Some(function)) if is_of_none(function) => Vec::new(),
            (None, _) => (0..input.fields().len()).collect(),
        };
        let given: Vec<_> = places.iter().map(|&place| input.field(place).data_type().clone()).collect();
        let meant = function.and_then(|function| function.signature_for(&given).0);
        let wanted = match meant {
            Some(parameters) => Some(arguments_for(parameters, places.len()).ok_or_else(|| {
                let list: Vec<_> = parameters
                    .fields()
                    .iter()
                    .map(|field| format!("{}: {}", field.name(), type_name(field.data_type())))
                    .collect();
                let list = if list.is_empty() { String::new() } else { format!(" ({})", list.join(", ")) };
                let text = format!(
                    "function `{label}` takes {}{list}, and it is given {}: {}; name one column for each, with args",
                    arity(parameters),
                    places.len(),
                    listed(places.iter().map(|&place| input.field(place).name().as_str())),
                );
                Fault::misuse("WRONG_ARGUMENT_COUNT", text)
            })?),
            None => None,
        };
        let (mut fields, mut arguments) = (Vec::new(), Vec::new());
        for (nth, &place) in places.iter().enumerate() {
            let column = &input.fields()[place];
            let parameter = wanted.as_ref().map(|wanted| wanted[nth]);
            fields.push(match parameter {
                Some(parameter) => sent(label, column, parameter)?,
                None => Arc::clone(column),
            });
            arguments.push(Argument {
                place,
                name: column.name().clone(),
                given: column.data_type().clone(),
                parameter: parameter.map(|parameter| parameter.name().clone()),
            });
        }
        Ok(Arguments { function: label.into(), schema: Arc::new(Schema::new(fields)), arguments })
    }

    /// The schema of what is sent.
    pub(super) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The arguments for the rows of a batch, whose first row is row `first` of the input, counted from zero.
    ///
    /// # Errors
    /// A batch that is not like the first one; a value that does not fit the function's type, or a null where it takes none.
    pub(super) fn of(&self, batch: &RecordBatch, first: u64) -> Result<RecordBatch, Fault> {
        let columns = self.arguments.iter().zip(self.schema.fields()).map(|(argument, field)| {
            let column = self.column(argument, batch, field.data_type())?;
            let coerced = coerce(column, field.data_type()).map_err(|misfit| {
                let text = format!(
                    "column `{}` can't become {} for {} in row {}: {misfit}",
                    field.name(),
                    type_name(field.data_type()),
                    self.parameter(argument),
                    first + misfit.row() as u64,
                );
                Fault::misuse("WRONG_ARGUMENT_VALUE", text)
            })?;
            self.check_nulls(argument, field, &coerced, first)?;
            Ok(coerced)
        });
        let columns = columns.collect::<Result<Vec<ArrayRef>, Fault>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)
            .map_err(|error| Fault::misuse("WRONG_ARGUMENT_TYPE", error.to_string()))
    }

    /// The column for an argument: where it was in the first batch, or else the one of its name.
    fn column<'a>(&self, argument: &Argument, batch: &'a RecordBatch, to: &DataType) -> Result<&'a ArrayRef, Fault> {
        let schema = batch.schema_ref();
        let is_there = schema.fields().get(argument.place).is_some_and(|field| *field.name() == argument.name);
        let place = if is_there { Some(argument.place) } else { schema.index_of(&argument.name).ok() };
        let Some(place) = place else {
            let text = format!("a later batch has no column `{}`, as the first one has", argument.name);
            return Err(Fault::misuse("NO_SUCH_COLUMN", text));
        };
        let column = batch.column(place);
        if column.data_type() != &argument.given && !is_implicit(column.data_type(), to) {
            let text = format!(
                "column `{}` of a later batch is {}, it was {} in the first one, and {} takes {}",
                argument.name,
                type_name(column.data_type()),
                type_name(&argument.given),
                self.parameter(argument),
                type_name(to),
            );
            return Err(Fault::misuse("WRONG_ARGUMENT_TYPE", text));
        }
        Ok(column)
    }

    fn check_nulls(&self, argument: &Argument, field: &Field, column: &ArrayRef, first: u64) -> Result<(), Fault> {
        if field.is_nullable() || column.null_count() == 0 {
            return Ok(());
        }
        let row = (0..column.len()).find(|&row| column.is_null(row)).unwrap_or(0);
        let (name, row) = (field.name(), first + row as u64);
        let text = format!("column `{name}` is null in row {row}, and {} takes no nulls", self.parameter(argument));
        Err(Fault::misuse("NULL_ARGUMENT", text))
    }

    fn parameter(&self, argument: &Argument) -> String {
        match &argument.parameter {
            Some(name) => format!("argument `{name}` of `{}`", self.function),
            None => format!("`{}`", self.function),
        }
    }
}

/// Whether a function takes all columns as they are.
pub(super) fn takes_any(function: &Entry) -> bool {
    function.kind != Kind::Table && function.signatures().any(|(arguments, _)| arguments.is_none())
}

fn is_of_none(function: &Entry) -> bool {
    let none = |arguments: &SchemaRef| arity(arguments).most == Some(0);
    function.kind == Kind::Scalar && function.signatures().all(|(arguments, _)| arguments.is_some_and(none))
}

/// What is sent has the column's name and the parameter's type, so that the worker's errors speak of columns that the
/// caller knows.
fn sent(label: &str, column: &Field, parameter: &Field) -> Result<FieldRef, Fault> {
    let (from, to) = (column.data_type(), parameter.data_type());
    // What the function takes as it is needs no cast.
    let to = if !from.equals_datatype(to) && takes(parameter, from) { from } else { to };
    if !is_implicit(from, to) {
        let (from, to) = (type_name(from), type_name(to));
        let text = format!(
            "column `{}` is {from}, argument `{}` of function `{label}` is {to}, and {from} does not become {to} by itself; \
             cast it before, or name another column",
            column.name(),
            parameter.name(),
        );
        return Err(Fault::misuse("WRONG_ARGUMENT_TYPE", text));
    }
    Ok(Arc::new(parameter.clone().with_name(column.name()).with_data_type(to.clone())))
}

/// A type as pyarrow calls it, where that is one word.
pub(super) fn type_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Boolean => "bool".into(),
        DataType::Float16 => "halffloat".into(),
        DataType::Float32 => "float".into(),
        DataType::Float64 => "double".into(),
        DataType::Utf8 => "string".into(),
        DataType::LargeUtf8 => "large_string".into(),
        DataType::Utf8View => "string_view".into(),
        DataType::LargeBinary => "large_binary".into(),
        DataType::BinaryView => "binary_view".into(),
        simple if !simple.is_nested() => simple.to_string().to_lowercase(),
        nested => nested.to_string(),
    }
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
