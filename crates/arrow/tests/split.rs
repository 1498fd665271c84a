//! Batches that do not fit a message (C9).

mod support;

use std::sync::Arc;

use anyudf_arrow::{Encoder, Kind};
use arrow_array::{ArrayRef, BinaryArray, Int64Array, RecordBatch, StringArray};
use arrow_schema::DataType;
use arrow_select::concat::concat_batches;
use support::*;

fn numbers(rows: i64) -> RecordBatch {
    RecordBatch::try_from_iter([("n", Arc::new(Int64Array::from_iter_values(0..rows)) as ArrayRef)]).unwrap()
}

/// C9: every message fits, none is much smaller than it could be, and together they are the batch.
#[test]
fn a_long_batch_becomes_several_messages() {
    let batch = numbers(100_000);
    for max in [1_000, 4_096, 65_536, 300_000, 799_999] {
        let encoder = Encoder::new(batch.schema(), max).unwrap();
        let mut decoder = decoder(&batch.schema());
        let mut parts = Vec::new();
        for message in encoder.encode(&batch) {
            let message = message.unwrap();
            assert!(message.len() <= max);
            parts.extend(decoder.decode(message.into_bytes()).unwrap());
        }
        same(&concat_batches(&batch.schema(), &parts).unwrap(), &batch);
        let (fewest, made) = (800_000usize.div_ceil(max), parts.len());
        assert!(made <= 3 * fewest, "{made} messages where {fewest} might do");
    }
}

/// C9, E4: a row longer than the usual message goes alone, up to the limit, and those around it as usual.
#[test]
fn a_long_row_goes_alone() {
    let rows: Vec<_> = (0..3_000).map(|row| "x".repeat(if row == 1_000 { 50_000 } else { 10 })).collect();
    let batch = RecordBatch::try_from_iter([("t", Arc::new(StringArray::from(rows)) as ArrayRef)]).unwrap();
    let encoder = Encoder::new(batch.schema(), 100_000).unwrap().with_usual(10_000);
    let messages: Vec<_> = encoder.encode(&batch).map(Result::unwrap).collect();
    let long: Vec<_> = messages.iter().filter(|message| message.len() > 10_000).collect();
    assert_eq!(long.iter().map(|message| message.rows).collect::<Vec<_>>(), [1]);
    assert!(messages.len() < 20, "{} messages for 90,000 bytes", messages.len());
    let encoder = Encoder::new(batch.schema(), 40_000).unwrap().with_usual(10_000);
    let error = encoder.encode(&batch).find_map(Result::err).expect("the long row does not fit");
    assert_eq!(error.kind(), Kind::TooLarge);
}

/// C9: messages are made one at a time.
#[test]
fn splitting_is_lazy() {
    let batch = numbers(1_000_000);
    let encoder = Encoder::new(batch.schema(), 64 << 10).unwrap();
    let mut messages = encoder.encode(&batch);
    let first = messages.next().unwrap().unwrap();
    assert!(first.rows < 10_000);
    // Nothing of the rest exists yet, so that it can be left alone.
    drop(messages);
    assert_eq!(first.len(), first.into_bytes().len());
}

/// C9: every type survives being cut into pieces.
#[test]
fn every_type_can_be_split() {
    for (seed, data_type) in flat_types().into_iter().chain(nested_types()).enumerate() {
        let batch = Random(seed as u64).batch(&[data_type, DataType::Int64], 500);
        let whole = encode(&batch).len();
        for max in [whole - 1, whole / 2, whole / 5] {
            let encoder = Encoder::new(batch.schema(), max).unwrap();
            let mut decoder = decoder(&batch.schema());
            let mut next = 0;
            for message in encoder.encode(&batch) {
                // A list view may need a large stretch of its values for a single row.
                let Ok(message) = message else { break };
                assert!(message.len() <= max);
                let rows = message.rows;
                same(&decoder.decode(message.into_bytes()).unwrap()[0], &batch.slice(next, rows));
                next += rows;
            }
        }
    }
}

/// C9: a row that does not fit is an error that says how large it was; the rows before it have gone out.
#[test]
fn a_row_that_does_not_fit_says_how_large_it_is() {
    let texts = StringArray::from(vec!["a".to_owned(), "b".repeat(100_000), "c".to_owned()]);
    let batch = RecordBatch::try_from_iter([("t", Arc::new(texts) as ArrayRef)]).unwrap();
    let encoder = Encoder::new(batch.schema(), 10_000).unwrap();
    let mut messages = encoder.encode(&batch);
    assert_eq!(messages.next().unwrap().unwrap().rows, 1);
    let error = messages.next().unwrap().unwrap_err();
    assert_eq!((error.kind(), error.condition()), (Kind::TooLarge, "ARROW_ROW_TOO_LARGE"));
    let text = "row 1 takes 100288 bytes, a message holds at most 10000; make it smaller or raise the limit";
    assert_eq!(error.to_string(), text);
    assert!(messages.next().is_none());
}

/// C9: a limit that nothing fits into is an error too, not a loop.
#[test]
fn a_limit_too_small_for_anything() {
    for rows in [0, 1, 1000] {
        let batch = numbers(rows);
        let encoder = Encoder::new(batch.schema(), 10).unwrap();
        let results = encoder.encode(&batch).collect::<Vec<_>>();
        assert_eq!(results.len(), 1);
        assert_eq!(results[0].as_ref().unwrap_err().kind(), Kind::TooLarge);
    }
}

/// C9: a batch without rows is one message.
#[test]
fn no_rows_are_one_message() {
    let encoder = Encoder::new(numbers(0).schema(), 1 << 20).unwrap();
    let messages = encoder.encode(&numbers(0)).collect::<Result<Vec<_>, _>>().unwrap();
    assert_eq!(messages.iter().map(|message| message.rows).collect::<Vec<_>>(), [0]);
}

/// C9: values far apart in size: the pieces follow them.
#[test]
fn uneven_rows_are_cut_by_bytes() {
    let values = (0..200).map(|i| vec![i as u8; if i % 50 == 49 { 9_000 } else { 10 }]);
    let batch =
        RecordBatch::try_from_iter([("b", Arc::new(BinaryArray::from_iter_values(values)) as ArrayRef)]).unwrap();
    let encoder = Encoder::new(batch.schema(), 12_000).unwrap();
    let messages = encoder.encode(&batch).collect::<Result<Vec<_>, _>>().unwrap();
    assert_eq!(messages.iter().map(|message| message.rows).sum::<usize>(), 200);
}
