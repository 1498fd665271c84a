//! What a run will do, decided before anything runs: which columns become which arguments, and what comes of them.

use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use anyudf_arrow::arguments::{Arguments, Error};
use anyudf_arrow::catalog::arity;
use anyudf_arrow::coerce::Policy;
use anyudf_engine::Init;
use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};

use crate::catalog::{Entry, Kind};
use crate::failure::{Failure, Result};
use crate::names;

/// A function that is to be called, as the command line has it.
#[derive(Debug)]
pub(super) struct Call<'a> {
    pub(super) function: &'a str,
    /// The columns of `--args`.
    pub(super) columns: Option<&'a [String]>,
    /// A JSON object.
    pub(super) options: Option<&'a str>,
    pub(super) timeout: Option<Duration>,
    pub(super) timezone: Option<&'a str>,
}

/// What is sent to the function, and what it is told.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) kind: Kind,
    pub(super) function: String,
    pub(super) init: Init,
    arguments: Arguments,
}

impl Plan {
    /// The plan for a function that the worker's catalog describes.
    ///
    /// # Errors
    /// Columns that are not there, too many, too few, or of types that do not become the function's by themselves.
    pub(super) fn new(call: &Call<'_>, function: &Entry, input: &Schema) -> Result<Self> {
        let places = match (call.columns, function.kind) {
            // Without --args a scalar function of no arguments is called once a row, and no other is.
            (None, Kind::Scalar) if function.arguments.is_some() => Some(Vec::new()),
            (columns, _) => places(columns, input)?,
        };
        let arguments = Arguments::plan(Some(function), places.as_deref(), input, Policy::Widening)
            .map_err(|error| Failure::usage(refusal(&function.name, &error)))?;
        Plan::build(call, function.kind, arguments)
    }

    /// The plan for a function of a worker that has no catalog: its columns go as they are.
    ///
    /// # Errors
    /// Columns that are not there.
    pub(super) fn unchecked(call: &Call<'_>, kind: Kind, input: &Schema) -> Result<Self> {
        let places = places(call.columns, input)?;
        let arguments =
            Arguments::plan(Some(&Entry::new(call.function, kind)), places.as_deref(), input, Policy::Widening)
                .map_err(Failure::usage)?;
        Plan::build(call, kind, arguments)
    }

    fn build(call: &Call<'_>, kind: Kind, arguments: Arguments) -> Result<Self> {
        let schema = Arc::clone(arguments.schema());
        let mut init = Init::new("function", payload(call)?).with_name(call.function).with_input_schema(schema);
        init.eval_type = Some(kind.name().into());
        init.timezone = call.timezone.map(String::from);
        if let Some(timeout) = call.timeout {
            init = init.with_call_timeout(timeout);
        }
        Ok(Plan { kind, function: call.function.into(), init, arguments })
    }

    /// The arguments for the rows of a batch, whose first row is row `first` of the input, counted from zero.
    ///
    /// # Errors
    /// A value that does not fit the function's type, or a null where it takes none; says column and row.
    pub(super) fn arguments(&self, batch: &RecordBatch, first: u64) -> Result<RecordBatch> {
        self.arguments.of(batch, first).map_err(|error| Failure::failed(self.misfit(&error)))
    }

    /// A value that can't be sent, in the words of a user, who counts rows from one.
    fn misfit(&self, error: &Error) -> anyhow::Error {
        let called = |parameter: &Option<FieldRef>| match parameter {
            Some(parameter) => format!("argument `{}` of {}", parameter.name(), self.function),
            None => self.function.clone(),
        };
        match error {
            Error::Value { row, column, sent, parameter, misfit, .. } => {
                let (column, wanted, called, row) = (column.name(), sent.data_type(), called(parameter), row + 1);
                anyhow!("column `{column}` can't become {wanted} for {called} in row {row}: {misfit}")
            }
            Error::Null { row, column, parameter, .. } => {
                let (column, called, row) = (column.name(), called(parameter), row + 1);
                anyhow!("column `{column}` is null in row {row}, and {called} takes no nulls")
            }
            error => anyhow!("{error}"),
        }
    }
}

/// The schema of a scalar function's output: the input's columns, then the new one.
///
/// # Errors
/// A column of that name is there already.
pub(super) fn widened(input: &Schema, name: &str, result: &Field) -> Result<SchemaRef> {
    if input.field_with_name(name).is_ok() {
        return Err(Failure::usage(format_args!(
            "the input has a column `{name}` already; name the new one with --as"
        )));
    }
    let mut fields = input.fields().to_vec();
    // Rows whose arguments are null have no value, whatever the function promises.
    fields.push(Arc::new(result.clone().with_name(name).with_nullable(true)));
    Ok(Arc::new(Schema::new_with_metadata(fields, input.metadata().clone())))
}

/// Where the columns of `--args` are in the input.
fn places(columns: Option<&[String]>, input: &Schema) -> Result<Option<Vec<usize>>> {
    let place = |name: &String| {
        input.index_of(name).map_err(|_| {
            let known = input.fields().iter().map(|field| field.name().as_str());
            let suggestion = names::suggest(name, known, "its columns");
            Failure::usage(format_args!("the input has no column `{name}` (--args){suggestion}"))
        })
    };
    columns.map(|columns| columns.iter().map(place).collect()).transpose()
}

/// Why a function does not take the columns, in the words of the command line.
fn refusal(function: &str, error: &Error) -> String {
    match error {
        Error::Count { parameters, given } => {
            let list: Vec<_> =
                parameters.fields().iter().map(|field| format!("{} {}", field.name(), field.data_type())).collect();
            let list = if list.is_empty() { String::new() } else { format!(" ({})", list.join(", ")) };
            let (taken, given) = (arity(parameters), given.len());
            format!("function `{function}` takes {taken}{list}, and --args gives {given}; name one column for each")
        }
        Error::Type { column, parameter, .. } => {
            let (from, to) = (column.data_type(), parameter.data_type());
            format!(
                "column `{}` is {from}, argument `{}` of function `{function}` is {to}, and {from} does not become {to} by \
                 itself; {}",
                column.name(),
                parameter.name(),
                advice(from),
            )
        }
        error => error.to_string(),
    }
}

fn advice(from: &DataType) -> &'static str {
    match from {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
            "name a column of that type, or, if the input is text, say what its columns are with --types"
        }
        _ => "name a column of that type, or write the input with it",
    }
}

/// The payload of format `function`: the name, and the options as they were typed.
fn payload(call: &Call<'_>) -> Result<String> {
    let function = serde_json::Value::from(call.function);
    let Some(options) = call.options else { return Ok(format!(r#"{{"function":{function}}}"#)) };
    match serde_json::from_str(options) {
        // A value would make floats of integers beyond 64 bits.
        Ok(serde_json::Value::Object(_)) => Ok(format!(r#"{{"function":{function},"options":{options}}}"#)),
        Ok(_) => Err(Failure::usage(r#"--options is no JSON object; write it like {"rows": 10}"#)),
        Err(error) => Err(Failure::usage(format_args!("--options is no JSON: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, AsArray, Float64Array, Int16Array, Int64Array, StringArray, StringViewArray};
    use arrow::datatypes::Float64Type;
    use expect_test::{Expect, expect};

    use super::*;

    fn input() -> RecordBatch {
        let column = |values: Vec<Option<i16>>| Arc::new(Int16Array::from(values)) as ArrayRef;
        RecordBatch::try_from_iter([
            ("lat", column(vec![Some(1), None])),
            ("lon", Arc::new(Float64Array::from(vec![0.5, 1.5])) as ArrayRef),
            ("name", Arc::new(StringArray::from(vec!["a", "b"])) as ArrayRef),
            ("id", Arc::new(Int64Array::from(vec![1, i64::MAX])) as ArrayRef),
        ])
        .expect("columns of one length")
    }

    fn function(kind: Kind, nullable: bool) -> Entry {
        let parameter = |name| Field::new(name, DataType::Float64, nullable);
        let mut function = Entry::new("f", kind);
        function.arguments = Some(Arc::new(Schema::new(vec![parameter("x"), parameter("y")])));
        function
    }

    fn call<'a>(columns: Option<&'a [String]>, options: Option<&'a str>) -> Call<'a> {
        Call { function: "f", columns, options, timeout: None, timezone: None }
    }

    fn columns(names: &str) -> Vec<String> {
        names.split(',').map(String::from).collect()
    }

    /// The error of a plan with these columns, as a user reads it.
    fn refused(names: &str, expected: Expect) {
        let columns = columns(names);
        let plan = Plan::new(&call(Some(&columns), None), &function(Kind::Scalar, true), input().schema_ref());
        match plan {
            Err(Failure::Usage(error)) => expected.assert_eq(&error.to_string()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn columns_become_arguments_of_the_functions_types() {
        let columns = columns("lat,lon");
        let plan = Plan::new(&call(Some(&columns), None), &function(Kind::Scalar, true), input().schema_ref());
        let sent = plan.expect("it fits").arguments(&input(), 0).expect("it fits");
        assert_eq!(sent.schema().field(0).name(), "lat");
        let lat: Vec<_> = sent.column(0).as_primitive::<Float64Type>().iter().collect();
        assert_eq!(lat, [Some(1.0), None]);
    }

    #[test]
    fn what_a_function_takes_as_it_is_is_not_cast() {
        let text = Arc::new(StringViewArray::from(vec!["a"])) as ArrayRef;
        let input = RecordBatch::try_from_iter([("text", text)]).expect("a column");
        let sent = |metadata: &[(&str, &str)]| {
            let mut function = Entry::new("f", Kind::Scalar);
            let metadata = metadata.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect();
            let parameter = Field::new("t", DataType::Utf8, true).with_metadata(metadata);
            function.arguments = Some(Arc::new(Schema::new(vec![parameter])));
            let columns = columns("text");
            let plan = Plan::new(&call(Some(&columns), None), &function, input.schema_ref()).expect("it fits");
            plan.arguments(&input, 0).expect("it fits").column(0).data_type().clone()
        };
        assert_eq!(sent(&[(anyudf_arrow::catalog::TAKES_ALIKE, "true")]), DataType::Utf8View);
        assert_eq!(sent(&[]), DataType::Utf8);
    }

    #[test]
    fn what_does_not_fit_names_the_column_and_both_types() {
        refused(
            "lat,name",
            expect![
                "column `name` is Utf8, argument `y` of function `f` is Float64, and Utf8 does not become Float64 by itself; name a column of that type, or, if the input is text, say what its columns are with --types"
            ],
        );
        refused("lat,lom", expect!["the input has no column `lom` (--args); did you mean `lon`?"]);
        refused(
            "lat",
            expect![
                "function `f` takes 2 arguments (x Float64, y Float64), and --args gives 1; name one column for each"
            ],
        );
    }

    #[test]
    fn a_null_where_none_is_taken_names_its_row() {
        let columns = columns("lat,lon");
        let plan = Plan::new(&call(Some(&columns), None), &function(Kind::Scalar, false), input().schema_ref());
        let error = plan.expect("the types fit").arguments(&input(), 100).expect_err("a null");
        let Failure::Failed(error) = error else { panic!("{error:?}") };
        assert_eq!(error.to_string(), "column `lat` is null in row 102, and argument `x` of f takes no nulls");
    }

    #[test]
    fn options_are_an_object_and_travel_beside_the_name() {
        let payload = |options| super::payload(&call(None, options));
        assert_eq!(payload(None).expect("a payload"), r#"{"function":"f"}"#);
        let long = r#"{"n": 1180591620717411303424}"#;
        assert_eq!(payload(Some(long)).expect("a payload"), format!(r#"{{"function":"f","options":{long}}}"#));
        for options in ["", "3", "[1]", "{"] {
            assert!(matches!(payload(Some(options)), Err(Failure::Usage(_))), "{options}");
        }
    }

    #[test]
    fn the_new_column_comes_last_and_replaces_none() {
        let result = Field::new("f", DataType::Float64, false);
        let schema = widened(input().schema_ref(), "miles", &result).expect("a new name");
        assert_eq!(
            schema.fields().last().map(|field| (field.name().as_str(), field.is_nullable())),
            Some(("miles", true))
        );
        assert!(matches!(widened(input().schema_ref(), "lat", &result), Err(Failure::Usage(_))));
    }

    #[test]
    fn a_map_gets_all_columns_unless_told() {
        let any = Entry::new("f", Kind::Map);
        let plan = Plan::new(&call(None, None), &any, input().schema_ref()).expect("a plan");
        assert_eq!(plan.arguments.schema().fields(), input().schema().fields());
        let some = columns("id,lat");
        let plan = Plan::new(&call(Some(&some), None), &any, input().schema_ref()).expect("a plan");
        let names: Vec<_> = plan.arguments.schema().fields().iter().map(|field| field.name().as_str()).collect();
        assert_eq!(names, ["id", "lat"]);
    }
}
