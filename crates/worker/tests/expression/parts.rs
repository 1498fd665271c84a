//! Batches that are worked on in parts.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyudf_arrow::expression::Argument::{Column, Constant};
use anyudf_arrow::expression::{Call, Expression};
use anyudf_worker::{Definition, Error, Invocation, Kind, Output, Worker, scalar};
use arrow::array::{AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};

use crate::support::caller::{Caller, numbers, served};
use crate::{Emits, asks, chain, ints, rows};

/// C10: a batch without columns may claim any number of rows; they are worked on in parts, and a cancellation is heard.
#[tokio::test]
async fn c10_r12_many_rows_are_worked_on_in_parts() {
    let most = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&most);
    let open = move |_: &Invocation| {
        let seen = Arc::clone(&seen);
        let emit = move |batch: RecordBatch, out: &mut Output<'_>| {
            seen.fetch_max(batch.num_rows(), Ordering::Relaxed);
            let column = Int64Array::from_value(7, batch.num_rows());
            out.emit(RecordBatch::try_from_iter([("n", Arc::new(column) as _)]).unwrap())
        };
        Ok(Emits { emit, schema: Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)])) })
    };
    let (_served, client) = served(Worker::new().with(Definition::new("seven", Kind::Scalar, open))).await;
    let init = asks(&chain([("seven", vec![])]), &Schema::empty());
    let count = (1 << 20) + 5;
    let mut caller = Caller::open(&client, init.clone()).await;
    caller.send(&rows(count));
    let batches = caller.finish().await.0;
    assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), count);
    assert!(batches.iter().all(|batch| batch.column(0).as_primitive::<Int64Type>().values().iter().all(|n| *n == 7)));
    assert_eq!(most.load(Ordering::Relaxed), 1 << 20);

    let mut caller = Caller::open(&client, init).await;
    caller.send(&rows(1 << 28));
    assert!(caller.dialogue.hear().await.starts_with("data"));
    caller.dialogue.say("cancel");
    let mut heard = caller.dialogue.hear().await;
    while heard.starts_with("data") {
        heard = caller.dialogue.hear().await;
    }
    assert_eq!(heard, "cancel");
    assert_eq!(most.load(Ordering::Relaxed), 1 << 20);
}

/// C10: a large constant is repeated for a few rows at a time, and errors say where these begin.
#[tokio::test]
async fn c10_large_constants_are_repeated_in_parts() {
    let picky = scalar("checked").argument("n", DataType::Int32).argument("text", DataType::Utf8);
    let picky =
        picky.returns(DataType::Int32).over(|columns| match ints(&columns[0]).iter().position(|n| *n == Some(-1)) {
            Some(row) => Err(Error::user("-1 is below zero").at_row(row as u64)),
            None => Ok(Arc::clone(&columns[0])),
        });
    let (_served, client) = served(Worker::new().with(picky)).await;
    let mut expression = Expression::new();
    let text = Arc::new(StringArray::from(vec!["x".repeat(20 << 20)]));
    let text = expression.constant(Field::new("text", DataType::Utf8, false), text).unwrap();
    expression.call(Call::new("checked", [Column(0), Constant(text)])).unwrap();
    expression.result(0).unwrap();
    let batch = numbers("n", &[1, 2, 3, 4, 5, 6, 7, -1]);
    let mut caller = Caller::open(&client, asks(&expression, &batch.schema())).await;
    caller.send(&batch.slice(0, 7));
    for _ in 0..3 {
        assert!(caller.dialogue.hear().await.starts_with("data"));
    }
    caller.send(&batch);
    assert!(caller.dialogue.hear().await.starts_with("data"));
    assert!(caller.dialogue.hear().await.starts_with("data"));
    caller.dialogue.play("< error[FUNCTION_FAILED]").await;
    let wanted = "`expression`, batch 2: `checked` (call 0) from row 6: row 1: -1 is below zero";
    assert_eq!(caller.dialogue.error().message, wanted);
    caller.dialogue.play("> cancel < cancel").await;
}
