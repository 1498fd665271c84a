//! Whatever the expression: its values are those of its functions, called one at a time.

use std::sync::Arc;

use anyudf_arrow::expression::{Argument, Call, Expression};
use anyudf_worker::{UdfTester, Worker, udf};
use arrow::array::{Array, ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::compute::concat;
use arrow::datatypes::{DataType, Field, Schema};
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;

use crate::asks;
use crate::support::Client;
use crate::support::caller::{Caller, served};

#[udf]
fn add(a: i64, b: Option<i64>) -> i64 {
    a.wrapping_add(b.unwrap_or(1))
}

#[udf]
fn half(a: i64) -> Option<i64> {
    (a % 2 == 0).then_some(a / 2)
}

#[udf]
fn labelled(text: &str, number: i64) -> String {
    format!("{:.8}{number}", text)
}

#[udf]
fn length(text: &str) -> i64 {
    text.len() as i64
}

#[udf]
fn seven() -> i64 {
    7
}

/// Name, arguments and result of each function.
const FUNCTIONS: [(&str, &[DataType], DataType); 5] = {
    use DataType::{Int64 as Number, Utf8 as Text};
    [
        ("add", &[Number, Number], Number),
        ("half", &[Number], Number),
        ("labelled", &[Text, Number], Text),
        ("length", &[Text], Number),
        ("seven", &[], Number),
    ]
};

fn tester(name: &str) -> UdfTester {
    match name {
        "add" => UdfTester::new(add),
        "half" => UdfTester::new(half),
        "labelled" => UdfTester::new(labelled),
        "length" => UdfTester::new(length),
        _ => UdfTester::new(seven),
    }
}

/// Rows, constants, and numbers from which calls are made.
#[derive(Clone, Debug)]
struct Case {
    numbers: Vec<Option<i64>>,
    texts: Vec<Option<String>>,
    number: Option<i64>,
    text: Option<String>,
    /// The function, and for each argument which of those that fit.
    calls: Vec<(usize, [usize; 2])>,
    results: Vec<usize>,
    cut: usize,
}

impl Case {
    fn any() -> impl Strategy<Value = Case> {
        (0_usize..40).prop_flat_map(|rows| {
            (
                (vec(of(any::<i64>()), rows), vec(of(".{0,6}"), rows)),
                (of(any::<i64>()), of(".{0,6}")),
                vec((0..FUNCTIONS.len(), any::<[usize; 2]>()), 1..20),
                vec(any::<usize>(), 1..5),
                0..=rows,
            )
                .prop_map(|((numbers, texts), (number, text), calls, results, cut)| Case {
                    numbers,
                    texts,
                    number,
                    text,
                    calls,
                    results,
                    cut,
                })
        })
    }

    fn batch(&self) -> RecordBatch {
        let numbers: ArrayRef = Arc::new(Int64Array::from(self.numbers.clone()));
        let texts: ArrayRef = Arc::new(StringArray::from(self.texts.clone()));
        let fields = [("numbers", DataType::Int64), ("texts", DataType::Utf8)];
        let fields = fields.map(|(name, data_type)| Field::new(name, data_type, true));
        RecordBatch::try_new(Arc::new(Schema::new(fields.to_vec())), vec![numbers, texts]).expect("they fit")
    }

    /// The expression, and each of its values by itself.
    fn expression(&self) -> (Expression, Vec<ArrayRef>) {
        let batch = self.batch();
        let mut expression = Expression::new();
        // All that can be an argument: what it is, and its values.
        let mut there: Vec<(Argument, ArrayRef)> =
            batch.columns().iter().enumerate().map(|(i, column)| (Argument::Column(i), Arc::clone(column))).collect();
        let rows = batch.num_rows();
        let constants: [(ArrayRef, ArrayRef); 2] = [
            (Arc::new(Int64Array::from(vec![self.number])), Arc::new(Int64Array::from(vec![self.number; rows]))),
            (
                Arc::new(StringArray::from(vec![self.text.clone()])),
                Arc::new(StringArray::from(vec![self.text.clone(); rows])),
            ),
        ];
        for (one, all) in constants {
            let field = Field::new("constant", one.data_type().clone(), one.null_count() > 0);
            there.push((Argument::Constant(expression.constant(field, one).expect("one value")), all));
        }
        let mut values = Vec::new();
        for (function, picks) in &self.calls {
            let (name, types, _) = &FUNCTIONS[*function];
            let picked = types.iter().zip(picks).map(|(data_type, pick)| {
                let fits: Vec<_> = there.iter().filter(|(_, column)| column.data_type() == data_type).collect();
                fits[pick % fits.len()].clone()
            });
            let (arguments, columns): (Vec<Argument>, Vec<ArrayRef>) = picked.unzip();
            let value = match columns.is_empty() {
                true => Arc::new(Int64Array::from(vec![7; rows])) as ArrayRef,
                false => tester(name).call(columns).expect("it runs"),
            };
            let call = expression.call(Call::new(*name, arguments)).expect("there are all of them");
            there.push((Argument::Call(call), Arc::clone(&value)));
            values.push(value);
        }
        for result in &self.results {
            expression.result(result % values.len()).expect("there is such a call");
        }
        (expression, values)
    }
}

/// What a worker makes of it, in two batches.
async fn evaluated(client: &Client, case: &Case, expression: &Expression) -> Vec<ArrayRef> {
    let batch = case.batch();
    let mut caller = Caller::open(client, asks(expression, &batch.schema())).await;
    caller.send(&batch.slice(0, case.cut));
    caller.send(&batch.slice(case.cut, batch.num_rows() - case.cut));
    let batches = caller.finish().await.0;
    let rows: Vec<_> = batches.iter().map(RecordBatch::num_rows).collect();
    assert_eq!(rows, [case.cut, batch.num_rows() - case.cut]);
    let column = |place: usize| {
        let parts: Vec<&dyn Array> = batches.iter().map(|batch| &**batch.column(place)).collect();
        concat(&parts).expect("parts of one column")
    };
    (0..expression.results().len()).map(column).collect()
}

/// C9: an expression gives what its functions give, one at a time.
#[test]
fn c9_any_expression_gives_what_its_functions_give() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let worker = Worker::new().with(add).with(half).with(labelled).with(length).with(seven);
    let (_served, client) = runtime.block_on(served(worker));
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(case in Case::any())| {
        let (expression, values) = case.expression();
        let found = runtime.block_on(evaluated(&client, &case, &expression));
        let wanted = expression.results().iter().map(|&call| Arc::clone(&values[call])).collect::<Vec<_>>();
        prop_assert_eq!(found, wanted);
    });
}
