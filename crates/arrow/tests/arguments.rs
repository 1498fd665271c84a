//! Which columns become which arguments, and what is said of those that do not.
#![cfg(feature = "coerce")]

use std::sync::Arc;

use anyudf_arrow::arguments::{Arguments, Error, signature};
use anyudf_arrow::catalog::{DEFAULT, Entry, Kind, Overload, TAKES_ALIKE, VARIADIC};
use anyudf_arrow::coerce::Policy;
use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int8Type};
use arrow_array::{
    ArrayRef, DictionaryArray, Float64Array, Int8Array, Int32Array, RecordBatch, StringArray, StringViewArray,
    TimestampNanosecondArray, UInt64Array,
};
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};

fn table() -> RecordBatch {
    RecordBatch::try_from_iter([
        ("count", Arc::new(Int32Array::from(vec![Some(1), None, Some(300)])) as ArrayRef),
        ("id", Arc::new(UInt64Array::from(vec![1, 2, u64::MAX])) as ArrayRef),
        ("name", Arc::new(StringViewArray::from(vec!["a", "b", "c"])) as ArrayRef),
    ])
    .expect("columns of one length")
}

fn schema(fields: &[Field]) -> SchemaRef {
    Arc::new(Schema::new(fields.to_vec()))
}

fn field(name: &str, data_type: DataType) -> Field {
    Field::new(name, data_type, true)
}

fn saying(field: Field, key: &str, value: &str) -> Field {
    field.with_metadata([(key.to_owned(), value.to_owned())].into())
}

fn function(fields: &[Field]) -> Entry {
    let mut function = Entry::new("f", Kind::Scalar);
    function.arguments = Some(schema(fields));
    function
}

fn planned(function: &Entry, columns: Option<&[usize]>) -> Result<Arguments, Error> {
    Arguments::plan(Some(function), columns, table().schema_ref(), Policy::Widening)
}

fn names(arguments: &Arguments) -> Vec<String> {
    arguments.schema().fields().iter().map(|field| field.name().clone()).collect()
}

#[test]
fn columns_go_under_their_own_names_in_the_functions_types() {
    let taken = function(&[field("x", DataType::Float64), field("text", DataType::Utf8)]);
    let arguments = planned(&taken, Some(&[0, 2])).expect("it fits");
    assert_eq!(names(&arguments), ["count", "name"]);
    let sent = arguments.of(&table(), 0).expect("it fits");
    let counts: Vec<_> = sent.column(0).as_primitive::<Float64Type>().iter().collect();
    assert_eq!(counts, [Some(1.0), None, Some(300.0)]);
    assert_eq!(sent.column(1).as_string::<i32>(), &StringArray::from(vec!["a", "b", "c"]));
    assert_eq!(names(&arguments.named_by_parameters()), ["x", "text"]);
}

#[test]
fn nobody_says_which_columns_and_all_go_where_they_can() {
    let any = Entry::new("f", Kind::Map);
    let arguments = planned(&any, None).expect("as they are");
    assert_eq!(arguments.schema(), &table().schema());
    assert_eq!(arguments.of(&table(), 0).expect("as it is"), table());
    for taken in [function(&[]), Entry::new("f", Kind::Table)] {
        let sent = planned(&taken, None).expect("none").of(&table(), 0).expect("rows without columns");
        assert_eq!((sent.num_columns(), sent.num_rows()), (0, 3));
    }
    let given = planned(&function(&[]), Some(&[1])).expect_err("it takes none");
    assert_eq!(given.to_string(), "the function takes 0 arguments, and it is given 1 column");
    let unknown = Arguments::plan(None, Some(&[2, 0]), table().schema_ref(), Policy::Widening).expect("as they are");
    assert_eq!(names(&unknown), ["name", "count"]);
}

#[test]
fn arguments_may_be_left_out_or_many() {
    let digits = saying(field("digits", DataType::Int32), DEFAULT, "2");
    let rest = saying(field("rest", DataType::Float64), VARIADIC, "true");
    let rounded = function(&[field("x", DataType::Float64), digits]);
    assert_eq!(names(&planned(&rounded, Some(&[1])).expect("the default")), ["id"]);
    let many = planned(&function(&[field("text", DataType::Utf8), rest]), Some(&[2, 0, 1, 0])).expect("many");
    assert_eq!(names(&many.clone().named_by_parameters()), ["text", "rest", "rest", "rest"]);
    assert_eq!(many.of(&table(), 0).expect("it fits").num_columns(), 4);
    let error = planned(&rounded, Some(&[])).expect_err("too few");
    assert!(matches!(&error, Error::Count { given, .. } if given.is_empty()), "{error}");
    assert!(error.to_string().contains("takes 1 to 2 arguments (x Float64, digits Int32)"), "{error}");
}

#[test]
fn what_is_taken_as_it_is_is_not_cast() {
    let text = field("text", DataType::Utf8);
    let sent = |text: Field| {
        let arguments = planned(&function(&[text]), Some(&[2])).expect("it fits");
        arguments.of(&table(), 0).expect("it fits").column(0).data_type().clone()
    };
    assert_eq!(sent(saying(text.clone(), TAKES_ALIKE, "true")), DataType::Utf8View);
    assert_eq!(sent(text), DataType::Utf8);
}

/// As it is first, then the first that it becomes, then the first of all.
#[test]
fn of_several_signatures_the_one_that_fits_is_meant() {
    let mut several = function(&[field("x", DataType::Int64)]);
    for (name, of) in [("y", DataType::Float64), ("z", DataType::Utf8), ("w", DataType::UInt64)] {
        several.overloads.push(Overload { arguments: schema(&[field(name, of)]), result: schema(&[]) });
    }
    let meant = |given: &DataType, policy| {
        let (arguments, _) = signature(&several, std::slice::from_ref(given), policy);
        arguments.expect("all have some").field(0).name().clone()
    };
    let cases = [
        (DataType::Int32, "x"),
        (DataType::UInt64, "w"),
        (DataType::Float32, "y"),
        (DataType::Utf8View, "z"),
        (DataType::Boolean, "x"),
    ];
    for (given, name) in cases {
        assert_eq!(meant(&given, Policy::Widening), name, "{given}");
    }
    let mut narrow = function(&[field("x", DataType::UInt8)]);
    narrow.overloads.push(Overload { arguments: schema(&[field("y", DataType::Float64)]), result: schema(&[]) });
    let meant = Arguments::plan(Some(&narrow), Some(&[0]), table().schema_ref(), Policy::Fitting).expect("it widens");
    assert_eq!(meant.of(&table(), 0).expect("300 is no uint8").column(0).data_type(), &DataType::Float64);

    let narrow = function(&[field("x", DataType::Int8)]);
    let fits = |policy| Arguments::plan(Some(&narrow), Some(&[0]), table().schema_ref(), policy);
    assert!(fits(Policy::Widening).is_err() && fits(Policy::Fitting).is_ok());
}

#[test]
fn what_does_not_fit_is_told_by_its_parts() {
    let error = planned(&function(&[field("x", DataType::Int64), field("y", DataType::Float64)]), Some(&[0, 2]));
    let error = error.expect_err("text becomes no number");
    assert_eq!(
        error.to_string(),
        "column `name` is Utf8View, argument `y` is Float64, and Utf8View does not become Float64 by itself"
    );
    let Error::Type { nth, column, parameter } = error else { panic!("{error}") };
    assert_eq!((nth, column.name().as_str(), parameter.name().as_str()), (1, "name", "y"));

    let signed = planned(&function(&[field("x", DataType::Int64)]), Some(&[1])).expect("the types fit");
    let error = signed.of(&table(), 100).expect_err("it is too large");
    assert_eq!(
        error.to_string(),
        "column `id` can't become Int64 for argument `x` in row 102, counted from 0: 18446744073709551615 is out of range"
    );
    let Error::Value { nth: 0, row: 102, misfit, .. } = error else { panic!("{error}") };
    assert_eq!(misfit.row(), 2);

    let strict = planned(&function(&[Field::new("x", DataType::Int32, false)]), Some(&[0])).expect("the types fit");
    let error = strict.of(&table(), 7).expect_err("a null");
    assert!(matches!(&error, Error::Null { nth: 0, row: 8, column, .. } if column.name() == "count"), "{error}");
}

/// A dictionary has nulls that its keys do not tell of.
#[test]
fn a_null_within_a_dictionary_is_a_null() {
    let words = Arc::new(StringArray::from(vec![Some("a"), None]));
    let words = DictionaryArray::<Int8Type>::new(Int8Array::from(vec![0, 1]), words);
    let batch = RecordBatch::try_from_iter([("word", Arc::new(words) as ArrayRef)]).expect("a column");
    let taken = function(&[Field::new("word", batch.column(0).data_type().clone(), false)]);
    let arguments = Arguments::plan(Some(&taken), None, batch.schema_ref(), Policy::Widening).expect("the types fit");
    assert!(matches!(arguments.of(&batch, 0), Err(Error::Null { row: 1, .. })));
}

#[test]
fn later_batches_may_be_laid_out_otherwise() {
    let arguments = planned(&function(&[field("x", DataType::Float64)]), Some(&[0])).expect("it fits");
    let later = |name, column: ArrayRef| {
        let first = Arc::new(StringArray::from(vec!["first"])) as ArrayRef;
        arguments.of(&RecordBatch::try_from_iter([("other", first), (name, column)]).expect("columns"), 0)
    };
    let sent = later("count", Arc::new(Float64Array::from(vec![2.5]))).expect("it is somewhere else");
    assert_eq!(sent.column(0).as_primitive::<Float64Type>().value(0), 2.5);
    let error = later("counts", Arc::new(Int32Array::from(vec![1]))).expect_err("it is not there");
    assert_eq!(error.to_string(), "a later batch has no column `count`, as the first one has");
    let error = later("count", Arc::new(StringArray::from(vec!["1"]))).expect_err("text becomes no number");
    assert_eq!(
        error.to_string(),
        "column `count` of a later batch is Utf8, it was Int32 in the first one, and argument `x` takes Float64"
    );
}

/// As pandas has them, for Python's datetime.
#[test]
fn nanoseconds_that_are_whole_microseconds_are_taken() {
    let given = |values: Vec<i64>| {
        let column = Arc::new(TimestampNanosecondArray::from(values)) as ArrayRef;
        RecordBatch::try_from_iter([("at", column)]).expect("a column")
    };
    let taken = function(&[field("at", DataType::Timestamp(TimeUnit::Microsecond, None))]);
    let whole = given(vec![1_000, -2_000]);
    let arguments = Arguments::plan(Some(&taken), None, whole.schema_ref(), Policy::Widening).expect("it may fit");
    assert!(arguments.of(&whole, 0).is_ok());
    let error = arguments.of(&given(vec![1_000, 1_500]), 10).expect_err("half a microsecond");
    assert!(
        error
            .to_string()
            .ends_with("in row 11, counted from 0: 1970-01-01T00:00:00.000001500 is no whole number of microseconds"),
        "{error}"
    );
}
