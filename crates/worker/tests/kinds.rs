//! The other kinds of `#[udf]`: whole arrays, rows without input, rows for rows, a value for all rows.

use std::sync::Arc;

use anyudf_worker::{IntoDefinition, Kind, UdfStruct, UdfTester, aggregate, udf};
use arrow::array::*;
use arrow::compute::kernels::numeric;
use arrow::datatypes::*;
use arrow::error::ArrowError;
use serde::{Deserialize, Serialize};
use serde_json::json;

fn column(array: impl Array + 'static) -> ArrayRef {
    Arc::new(array)
}

fn batch(name: &str, array: impl Array + 'static) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable([(name, column(array), true)]).expect("one column")
}

fn columns(schema: &Schema) -> Vec<(String, DataType)> {
    schema.fields().iter().map(|field| (field.name().clone(), field.data_type().clone())).collect()
}

/// Adds arrays.
#[udf(batch, volatility = "immutable", returns = DataType::Float64)]
fn sums(left: &Float64Array, right: &Float64Array) -> Result<ArrayRef, ArrowError> {
    numeric::add(left, right)
}

#[test]
fn a_function_of_arrays() {
    #[udf(batch)]
    fn lengths(texts: &StringViewArray) -> Int32Array {
        texts.iter().map(|text| text.map(|text| text.len() as i32)).collect()
    }
    #[udf(batch, returns = DataType::Decimal128(9, 2))]
    fn same(#[data_type(DataType::Decimal128(9, 2))] prices: &ArrayRef) -> ArrayRef {
        Arc::clone(prices)
    }
    let texts = StringViewArray::from(vec![Some("a"), None, Some("bcd")]);
    let result = UdfTester::new(lengths).call([texts]).expect("it runs");
    assert_eq!(result.as_primitive::<Int32Type>(), &Int32Array::from(vec![Some(1), None, Some(3)]));
    let prices = Decimal128Array::from(vec![1, 2]).with_precision_and_scale(9, 2).expect("valid");
    assert_eq!(UdfTester::new(same).call([prices.clone()]).expect("it runs").to_data(), prices.to_data());
    assert_eq!(lengths(&StringViewArray::from(vec!["ab"])).value(0), 2, "it is a function all the same");
}

#[test]
fn r7_a_function_of_arrays_may_fail_and_is_checked() {
    #[udf(batch)]
    fn first(numbers: &Int64Array) -> Int64Array {
        numbers.slice(0, 1)
    }
    #[udf(batch, returns = DataType::Utf8)]
    fn odd(numbers: &Int64Array) -> ArrayRef {
        column(numbers.clone())
    }
    let numbers = || [Int64Array::from(vec![1, 2])];
    let condition = |result: anyudf_worker::Result<ArrayRef>| result.expect_err("it fails").condition().to_owned();
    assert_eq!(condition(UdfTester::new(first).call(numbers())), "WRONG_RESULT_LENGTH");
    assert_eq!(condition(UdfTester::new(odd).call(numbers())), "WRONG_RESULT_TYPE");
    let text = UdfTester::new(sums).call([Float64Array::from(vec![1.0])]).expect_err("too few").to_string();
    assert!(text.contains("`sums` takes 2 arguments: (left Float64, right Float64)"), "{text}");
}

#[test]
fn nulls_of_arrays_are_kept_unless_they_are_values() {
    #[udf(batch)]
    fn ones(numbers: &Int64Array) -> Int64Array {
        Int64Array::from(vec![1; numbers.len()])
    }
    #[udf(batch, nulls = "values")]
    fn all_ones(numbers: &Int64Array) -> Int64Array {
        ones(numbers)
    }
    let numbers = || [Int64Array::from(vec![Some(5), None])];
    assert_eq!(UdfTester::new(ones).call(numbers()).expect("it runs").null_count(), 1);
    assert_eq!(UdfTester::new(all_ones).call(numbers()).expect("it runs").null_count(), 0);
}

#[derive(Deserialize)]
struct Until {
    stop: i64,
}

#[derive(UdfStruct)]
struct Square {
    number: i64,
    square: Option<i64>,
}

/// Numbers and their squares.
#[udf(table)]
fn squares(#[options] until: &Until) -> impl Iterator<Item = Square> {
    (1..=until.stop).map(|number| Square { number, square: number.checked_mul(number) })
}

#[test]
fn r6_a_table_of_structs() {
    let definition = squares.into_definition();
    assert_eq!(definition.kind(), Kind::Table);
    let declared = columns(definition.result_schema().expect("it says"));
    assert_eq!(declared, [("number".to_owned(), DataType::Int64), ("square".to_owned(), DataType::Int64)]);
    let tested = UdfTester::new(squares).with_options(json!({"stop": 20_000})).run([]).expect("it runs");
    let rows: Vec<_> = tested.batches.iter().map(RecordBatch::num_rows).collect();
    assert_eq!((rows[0], rows.iter().sum::<usize>()), (64, 20_000), "the first batch is small: {rows:?}");
    assert_eq!(tested.batches[1].column(1).as_primitive::<Int64Type>().value(0), 65 * 65);
}

#[test]
fn r6_a_table_of_values_of_results_and_of_batches() {
    #[udf(table)]
    fn letters() -> Vec<&'static str> {
        vec!["a", "b"]
    }
    #[udf(table)]
    fn countdown(#[options] until: &Until) -> impl Iterator<Item = Result<i64, String>> {
        (0..until.stop).rev().map(|n| if n > 0 { Ok(n) } else { Err("lift-off".to_owned()) })
    }
    #[udf(table, returns = batch("n", Int32Array::from(vec![0])).schema())]
    fn batches() -> Vec<RecordBatch> {
        vec![batch("n", Int32Array::from(vec![1, 2])), batch("n", Int32Array::from(vec![3]))]
    }
    let tested = UdfTester::new(letters).run([]).expect("it runs");
    assert_eq!(columns(&tested.schema), [("letters".to_owned(), DataType::Utf8)]);
    assert_eq!(tested.batches[0].column(0).as_string::<i32>(), &StringArray::from(vec!["a", "b"]));
    let error = UdfTester::new(countdown).with_options(json!({"stop": 3})).run([]).expect_err("it fails");
    assert_eq!(error.to_string(), "`countdown`: lift-off");
    let tested = UdfTester::new(batches).run([]).expect("it runs");
    assert_eq!(tested.batches.iter().map(RecordBatch::num_rows).collect::<Vec<_>>(), [2, 1]);
}

#[derive(UdfStruct)]
struct Word<'a> {
    word: &'a str,
    place: i64,
}

/// One row for each word.
#[udf(map)]
fn words(text: &str) -> impl Iterator<Item = Word<'_>> {
    text.split_whitespace().zip(1..).map(|(word, place)| Word { word, place })
}

#[test]
fn r6_a_map_of_rows() {
    let definition = words.into_definition();
    assert_eq!(columns(definition.argument_schema().expect("it says")), [("text".to_owned(), DataType::Utf8)]);
    let texts = StringArray::from(vec![Some("the quick  fox"), None, Some(" "), Some("ends")]);
    let tested = UdfTester::new(words).run([batch("text", texts)]).expect("it runs");
    let [rows] = &tested.batches[..] else { panic!("{} batches", tested.batches.len()) };
    assert_eq!(rows.column(0).as_string::<i32>(), &StringArray::from(vec!["the", "quick", "fox", "ends"]));
    assert_eq!(rows.column(1).as_primitive::<Int64Type>().values(), &[1, 2, 3, 1]);
}

#[test]
fn r7_r14_a_map_names_the_row() {
    #[udf(map)]
    fn halves(n: i64) -> Vec<Result<i64, String>> {
        assert!(n != 13, "unlucky");
        vec![if n % 2 == 0 { Ok(n / 2) } else { Err(format!("{n} is odd")) }]
    }
    let numbers = |numbers: &[i64]| batch("n", Int64Array::from(numbers.to_vec()));
    let error = UdfTester::new(halves).run([numbers(&[2]), numbers(&[4, 3])]).expect_err("it fails");
    assert_eq!(error.to_string(), "`halves`, batch 2: row 1 (row 2 of the execution): 3 is odd");
    let error = UdfTester::new(halves).run([numbers(&[2]), numbers(&[4, 13])]).expect_err("it panics").to_string();
    assert!(error.contains("process, batch 2, row 1 (row 2 of the execution): unlucky"), "{error}");
}

#[test]
fn r6_a_map_of_batches() {
    #[udf(map)]
    fn twice(batch: RecordBatch) -> Vec<RecordBatch> {
        vec![batch.clone(), batch]
    }
    #[udf(map, returns = batch("rows", Int64Array::from(vec![0])).schema())]
    fn count(batch: RecordBatch, #[options] until: &Until) -> Result<Option<RecordBatch>, String> {
        let rows = batch.num_rows() as i64;
        if rows > until.stop { Err("too many".into()) } else { Ok((rows > 0).then(|| counted(rows))) }
    }
    fn counted(rows: i64) -> RecordBatch {
        batch("rows", Int64Array::from(vec![rows]))
    }
    let numbers = batch("n", Int64Array::from(vec![1, 2]));
    let tested = UdfTester::new(twice).run([numbers.clone()]).expect("it runs");
    assert_eq!(tested.batches, [numbers.clone(), numbers.clone()]);
    let tester = |stop: i64| UdfTester::new(count).with_options(json!({"stop": stop}));
    assert_eq!(tester(2).run([numbers.clone()]).expect("it runs").batches, [counted(2)]);
    assert_eq!(tester(1).run([numbers]).expect_err("it fails").to_string(), "`count`, batch 1: too many");
}

#[derive(Serialize, Deserialize)]
struct Mean {
    sum: f64,
    count: u64,
}

/// The mean of numbers.
#[udf(aggregate, volatility = "immutable")]
impl Mean {
    fn new() -> Self {
        Mean { sum: 0.0, count: 0 }
    }

    fn update(&mut self, x: f64) -> Result<(), String> {
        self.sum += x;
        self.count += 1;
        if x < 0.0 { Err("below zero".into()) } else { Ok(()) }
    }

    fn merge(&mut self, other: Self) {
        self.sum += other.sum;
        self.count += other.count;
    }

    fn finish(self) -> Option<f64> {
        (self.count > 0).then(|| self.sum / self.count as f64)
    }
}

#[test]
fn r10_an_aggregate_whole_and_in_parts() {
    let definition = aggregate::<Mean>();
    assert_eq!(
        (definition.name(), definition.kind(), definition.help_text()),
        ("mean", Kind::Aggregate, "The mean of numbers.")
    );
    let numbers = |numbers: &[Option<f64>]| batch("x", Float64Array::from(numbers.to_vec()));
    let (one, two) = (numbers(&[Some(1.0), None, Some(2.0)]), numbers(&[Some(6.0)]));
    let mean = |tester: UdfTester, batches: Vec<RecordBatch>| {
        let tested = tester.run(batches).expect("it runs");
        tested.batches[0].column(0).as_primitive::<Float64Type>().iter().next().expect("a row")
    };
    assert_eq!(mean(UdfTester::new(aggregate::<Mean>()), vec![one.clone(), two.clone()]), Some(3.0));
    assert_eq!(mean(UdfTester::new(aggregate::<Mean>()), vec![]), None);
    let state = |batch: RecordBatch| {
        let tester = UdfTester::new(aggregate::<Mean>()).with_options(json!({"partial": true}));
        let tested = tester.run([batch]).expect("it runs");
        assert!(tested.batches.is_empty());
        serde_json::from_slice::<serde_json::Value>(&tested.data.expect("a state")).expect("JSON")
    };
    let states = json!({"states": [state(one), state(two)]});
    assert_eq!(mean(UdfTester::new(aggregate::<Mean>()).with_options(states), vec![]), Some(3.0));
    let error = UdfTester::new(aggregate::<Mean>()).run([numbers(&[Some(1.0), Some(-1.0)])]).expect_err("it fails");
    assert_eq!(error.to_string(), "`mean`, batch 1: row 1: below zero");
}
