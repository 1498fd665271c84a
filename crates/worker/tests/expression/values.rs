//! What comes back.

use std::sync::{Arc, Mutex};

use anyudf_arrow::expression::Argument::{Call as Of, Column, Constant};
use anyudf_arrow::expression::{Call, Expression};
use anyudf_arrow::{catalog, encode_schema};
use anyudf_protocol::Counter;
use anyudf_worker::{Definition, Invocation, Kind, Output, Worker, scalar};
use arrow::array::{Array, ArrayRef, AsArray, Int32Array, ListArray, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Int32Type, Schema};

use crate::support::caller::{Caller, numbers, served};
use crate::support::init;
use crate::{Emits, asks, chain, int, ints, refused, rows, worker};

/// C9, C8: the values that were asked for come back, in that order, batch for batch; what is between them does not.
#[tokio::test]
async fn c8_c9_calls_of_calls() {
    let (_served, client) = served(worker()).await;
    let mut expression = Expression::new();
    let one = int(&mut expression, Some(1));
    let twice = expression.call(Call::new("doubled", [Column(1)])).unwrap();
    let all = expression.call(Call::new("sum", [Of(twice), Column(0), one])).unwrap();
    let by = Call::new("times", [Of(all)]).with_options(serde_json::json!({ "by": 10 }));
    let by = expression.call(by).unwrap();
    [by, twice, by].into_iter().for_each(|call| expression.result(call).unwrap());
    let column = |values: &[Option<i32>]| Arc::new(Int32Array::from(values.to_vec())) as ArrayRef;
    let batch = RecordBatch::try_from_iter_with_nullable([
        ("a", column(&[Some(1), Some(2), None, Some(4)]), true),
        ("b", column(&[Some(10), None, Some(30), Some(40)]), true),
    ]);
    let batch = batch.unwrap();
    let mut caller = Caller::open(&client, asks(&expression, &batch.schema())).await;
    let names: Vec<_> = caller.schema.fields().iter().map(|field| field.name().clone()).collect();
    assert_eq!(names, ["times", "doubled", "times"]);
    caller.send(&batch);
    caller.send(&batch.slice(3, 1));
    caller.send(&batch.slice(0, 0));
    let (batches, dialogue) = caller.finish().await;
    let values: Vec<Vec<_>> = batches.iter().map(|batch| batch.columns().iter().map(ints).collect()).collect();
    let (by, twice) = (vec![Some(220), None, None, Some(850)], vec![Some(20), None, Some(60), Some(80)]);
    let none = || vec![vec![]; 3];
    assert_eq!(values, [vec![by.clone(), twice, by], vec![vec![Some(850)], vec![Some(80)], vec![Some(850)]], none()]);
    let metrics = dialogue.metrics();
    assert_eq!((metrics.counter(Counter::RowsIn), metrics.counter(Counter::RowsOut)), (Some(5), Some(5)));
    assert_eq!(metrics.counter(Counter::BatchesOut), Some(3));

    // The engine names the output, or asks for what the calls do not give.
    let output = |data_type: DataType| {
        let fields = ["x", "y", "z"].map(|name| Field::new(name, data_type.clone(), true));
        encode_schema(&Schema::new(fields.to_vec()))
    };
    let mut named = asks(&expression, &batch.schema());
    named.output_schema = Some(output(DataType::Int32));
    let mut caller = Caller::open(&client, named.clone()).await;
    caller.send(&batch);
    assert_eq!(caller.finish().await.0[0].schema().field(2).name(), "z");
    named.output_schema = Some(output(DataType::Int64));
    let text = refused(&client, named, "OUTPUT_SCHEMA_MISMATCH").await;
    assert!(text.starts_with("`expression` returns Int32 in column `times`"), "{text}");
}

/// C9: a call whose arguments are all constants has a value for every row, and so has one without arguments.
#[tokio::test]
async fn c9_constants_are_there_for_every_row() {
    let nothing = scalar("seven").returns(DataType::Int32);
    let lengths = Arc::new(Mutex::new(Vec::new()));
    let (seen, of_call) = (Arc::clone(&lengths), scalar("longest").argument("text", DataType::Utf8));
    let longest = of_call.returns(DataType::Int32).over(move |columns| {
        seen.lock().unwrap().push((columns[0].len(), columns[0].as_string::<i32>().values().as_ptr() as usize));
        let length = |text: Option<&str>| text.map(|text| text.len() as i32);
        Ok(Arc::new(columns[0].as_string::<i32>().iter().map(length).collect::<Int32Array>()))
    });
    // One value, whatever the number of rows: wrong for all batches but those of three rows.
    let worker = worker().with(nothing.over(|_| Ok(Arc::new(Int32Array::from(vec![7; 3]))))).with(longest);
    let (_served, client) = served(worker).await;
    let mut expression = Expression::new();
    let (two, null) = (int(&mut expression, Some(2)), int(&mut expression, None));
    let text = Field::new("text", DataType::Utf8, false);
    let text = Constant(expression.constant(text, Arc::new(StringArray::from(vec!["four"]))).unwrap());
    for call in [
        Call::new("doubled", [two]),
        Call::new("doubled", [null]),
        Call::new("seven", []),
        Call::new("longest", [text]),
    ] {
        let call = expression.call(call).unwrap();
        expression.result(call).unwrap();
    }
    let mut caller = Caller::open(&client, asks(&expression, &Schema::empty())).await;
    caller.send(&rows(3));
    caller.send(&rows(3));
    let batches = caller.finish().await.0;
    for batch in &batches {
        let values: Vec<_> = batch.columns().iter().map(ints).collect();
        assert_eq!(values, [vec![Some(4); 3], vec![None; 3], vec![Some(7); 3], vec![Some(4); 3]]);
    }
    let lengths = lengths.lock().unwrap();
    assert_eq!((lengths.len(), lengths[0].0), (2, 3));
    assert_eq!(lengths[0], lengths[1], "the repeated constant is the same memory");
}

/// C9: types that differ only in names within are the schema's for the next call, as they are for an engine.
#[tokio::test]
async fn c9_names_within_types_are_those_of_the_schema() {
    let list = |name: &str| DataType::List(Arc::new(Field::new(name, DataType::Int32, true)));
    let (declared, schema) = (list("item"), Arc::new(Schema::new(vec![Field::new("l", list("item"), true)])));
    let open = move |_: &Invocation| {
        let emit = move |batch: RecordBatch, out: &mut Output<'_>| {
            let items =
                ListArray::from_iter_primitive::<Int32Type, _, _>(ints(batch.column(0)).iter().map(|n| Some([*n])));
            let (_, offsets, values, nulls) = items.into_parts();
            let element = Arc::new(Field::new("element", DataType::Int32, true));
            let column: ArrayRef = Arc::new(ListArray::new(element, offsets, values, nulls));
            out.emit(RecordBatch::try_from_iter_with_nullable([("l", column, true)]).unwrap())
        };
        Ok(Emits { emit, schema: Arc::clone(&schema) })
    };
    let seen = scalar("seen").argument("l", declared).returns(DataType::Utf8).over(|columns| {
        let text = columns[0].data_type().to_string();
        Ok(Arc::new(StringArray::from(vec![text; columns[0].len()])))
    });
    let worker = Worker::new().with(Definition::new("listed", Kind::Scalar, open)).with(seen);
    let (_served, client) = served(worker).await;
    let mut expression = chain([("listed", vec![Column(0)]), ("seen", vec![Of(0)])]);
    expression.result(0).unwrap();
    let batch = numbers("n", &[1, 2]);
    let mut caller = Caller::open(&client, asks(&expression, &batch.schema())).await;
    caller.send(&batch);
    let batches = caller.finish().await.0;
    assert_eq!(batches[0].column(0).as_string::<i32>().value(1), list("item").to_string());
    assert_eq!(ints(&batches[0].column(1).as_list::<i32>().value(1)), [Some(2)]);
}

/// C9: the catalogue tells the payload formats, those that were registered too.
#[tokio::test]
async fn c9_the_catalog_tells_the_formats() {
    let of = async |worker: Worker| {
        let (_served, client) = served(worker).await;
        let caller = Caller::open(&client, init("catalog")).await;
        catalog::formats(&caller.schema).into_iter().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(of(Worker::new()).await, "catalog expression function");
    let upper = Worker::new().with_format("upper", |_| Err("not here".into()));
    assert_eq!(of(upper).await, "catalog expression function upper");
    let bundled = of(Worker::bundled()).await;
    assert!(bundled.contains("echo/slow") && bundled.contains("expression"), "{bundled}");
}
