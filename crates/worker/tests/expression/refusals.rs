//! What a caller that errs is told, and what is told of functions that do.

use std::sync::Arc;

use anyudf_arrow::expression::Argument::{Call as Of, Column, Constant};
use anyudf_arrow::expression::Call;
use anyudf_protocol::Blame;
use anyudf_worker::{Definition, Invocation, Kind, Output, Result, scalar};
use arrow::array::{RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};

use crate::life::Diarist;
use crate::support::caller::{Caller, numbers, served};
use crate::{Emits, asks, chain, ints, refused, says, worker};

/// R18: what is wrong with a call is told when it is opened, as for the payload format `function`, with the call's number.
#[tokio::test]
async fn r18_wrong_calls_are_explained() {
    let two_columns = Definition::new("two_columns", Kind::Scalar, |_| {
        let emit = |_: RecordBatch, _: &mut Output<'_>| Ok(());
        let fields = ["a", "b"].map(|name| Field::new(name, DataType::Int32, true));
        Ok(Emits { emit, schema: Arc::new(Schema::new(fields.to_vec())) })
    });
    let (_served, client) = served(worker().with(two_columns)).await;
    let fields = vec![Field::new("n", DataType::Int32, true), Field::new("t", DataType::Utf8, true)];
    let input = Schema::new(fields);
    let mut constant = chain([("doubled", vec![Column(0)])]);
    let text = Arc::new(StringArray::from(vec!["x"]));
    let text = Constant(constant.constant(Field::new("t", DataType::Utf8, true), text).unwrap());
    constant.call(Call::new("doubled", [text])).unwrap();
    let cases = [
        (
            chain([("doubled", vec![Column(0)]), ("double", vec![Of(0)])]),
            "UNKNOWN_FUNCTION",
            "`expression`: call 1: there is no function `double`; did you mean doubled?",
        ),
        (
            chain([("sum", vec![Column(0), Column(0)])]),
            "WRONG_ARGUMENT_COUNT",
            "`expression`: call 0: `sum` takes 3 arguments: (a Int32, b Int32, c Int32); it was given 2 columns: \
             (n Int32, n Int32)",
        ),
        (
            chain([("doubled", vec![Column(1)])]),
            "WRONG_ARGUMENT_TYPE",
            "`expression`: call 0: argument 1 (`x`) of `doubled` must be Int32, but column `t` is Utf8; cast the column",
        ),
        (
            chain([("shown", vec![Column(0)]), ("doubled", vec![Of(0)])]),
            "WRONG_ARGUMENT_TYPE",
            "`expression`: call 1: argument 1 (`x`) of `doubled` must be Int32, but column `call 0` is Utf8; cast the \
             column",
        ),
        (
            constant,
            "WRONG_ARGUMENT_TYPE",
            "`expression`: call 1: argument 1 (`x`) of `doubled` must be Int32, but column `constant 0` is Utf8; cast the \
             column",
        ),
        (
            chain([("explode_words", vec![Column(1)])]),
            "WRONG_FUNCTION_KIND",
            "`expression`: call 0: `explode_words` is of the kind map; an expression has scalar functions only",
        ),
        (
            chain([("two_columns", vec![Column(0)])]),
            "WRONG_RESULT_TYPE",
            "`expression`: `two_columns` (call 0): a scalar function returns one column, not 2",
        ),
        (
            chain([("doubled", vec![Column(0)]), ("times", vec![Of(0)])]),
            "BAD_OPTIONS",
            "`expression`: `times` (call 1): the options do not fit: missing field `by`",
        ),
    ];
    for (expression, condition, wanted) in cases {
        assert_eq!(refused(&client, asks(&expression, &input), condition).await, wanted);
    }
}

/// R18, C10: a payload that is none is a ProtocolError that says what and where.
#[tokio::test]
async fn r18_c10_malformed_payloads_are_protocol_errors() {
    let (_served, client) = served(worker()).await;
    let input = Schema::new(vec![Field::new("n", DataType::Int32, true)]);
    let cases = [
        ("", "the payload is no JSON"),
        (r#"{"function": "doubled"}"#, "unknown field `function`"),
        (r#"{"calls": [], "results": []}"#, "there is no result"),
        (
            r#"{"calls": [{"function": "doubled", "arguments": [{"column": 1}]}], "results": [0]}"#,
            "call 0 has column 1 as argument 1, but the input has 1",
        ),
        (
            r#"{"calls": [{"function": "doubled", "arguments": [{"call": 0}]}], "results": [0]}"#,
            "call 0 has call 0 as argument 1, which does not come before it",
        ),
        (r#"{"calls": [{"function": "doubled"}], "results": [0], "constants": "%"}"#, "`constants` is no base64"),
        (r#"{"calls": [{"function": "doubled"}], "results": [0], "constants": "AAAA"}"#, "is no Arrow IPC stream"),
    ];
    for (payload, wanted) in cases {
        let mut dialogue = client.execute().await.with_init(says(payload, Some(&input)));
        dialogue.play("> init < init[INVALID_PAYLOAD]").await;
        let error = dialogue.error();
        assert_eq!(error.blame, Blame::Protocol);
        assert!(error.message.contains(wanted), "`{wanted}` is missing: {}", error.message);
        dialogue.play("> cancel < cancel < end:Ok").await;
    }
    // A name that is a message by itself, thousands of times.
    let long = Schema::new(vec![Field::new("n".repeat(1 << 20), DataType::Int32, true)]);
    let many = |count| chain([("doubled", vec![Column(0); count])]);
    let text = refused(&client, asks(&many(60_000), &long), "INVALID_PAYLOAD").await;
    assert!(text.contains("up to call 0 take more than 67108864 bytes"), "{text}");
    let text = refused(&client, asks(&many(60_000), &input), "WRONG_ARGUMENT_COUNT").await;
    assert!(text.ends_with("n Int32, and 59984 more)"), "{text}");
    let good = chain([("doubled", vec![Column(0)])]).encode().unwrap();
    let text = refused(&client, says(good, None), "MISSING_FIELD").await;
    assert!(text.contains("Init.input_schema is needed"), "{text}");
}

/// R7, R14: an error and a panic name the call, the function, the batch and the row.
#[tokio::test]
async fn r7_r14_errors_say_which_call() {
    let (_served, client) = served(worker()).await;
    let (good, bad) = (numbers("n", &[1, 2]), numbers("n", &[1, -1, 13]));
    for (function, condition, wanted) in [
        (
            "checked",
            "FUNCTION_FAILED",
            "`expression`, batch 2: `checked` (call 1): row 1 (row 3 of the execution): -1 is below zero",
        ),
        (
            "cursed",
            "PANIC",
            "`cursed` (call 1) panicked in process, batch 2, row 2 (row 4 of the execution): unlucky 13",
        ),
    ] {
        let same = ("sum", vec![Column(0), Column(0), Column(0)]);
        let expression = chain([same, (function, vec![Column(0)]), ("doubled", vec![Of(1)])]);
        let mut caller = Caller::open(&client, asks(&expression, &good.schema())).await;
        caller.send(&good);
        caller.dialogue.hear().await;
        caller.send(&bad);
        caller.dialogue.play(&format!("< error[{condition}]")).await;
        let error = caller.dialogue.error();
        assert_eq!(error.blame, Blame::User);
        assert!(error.message.starts_with(wanted), "{}", error.message);
        caller.dialogue.play("> cancel < cancel < end:Ok").await;
    }
    let unopened = Definition::new("unopened", Kind::Scalar, |_| -> Result<Diarist> { panic!("no model") });
    let (_served, client) = served(worker().with(unopened)).await;
    let init = asks(&chain([("doubled", vec![Column(0)]), ("unopened", vec![Of(0)])]), &good.schema());
    let text = refused(&client, init, "PANIC").await;
    assert!(text.starts_with("`unopened` (call 1) panicked in open: no model"), "{text}");
}

/// R7: a function that returns something else than it may is named.
#[tokio::test]
async fn r7_a_wrong_result_is_told_by_function() {
    let takes = |name: &str| scalar(name).argument("n", DataType::Int32).returns(DataType::Int32);
    let emits = |name: &str, batches: fn(RecordBatch) -> Vec<RecordBatch>| {
        let emit =
            move |batch: RecordBatch, out: &mut Output<'_>| batches(batch).into_iter().try_for_each(|b| out.emit(b));
        let open = move |_: &Invocation| Ok(Emits { emit, schema: numbers("n", &[]).schema() });
        Definition::new(name, Kind::Scalar, open)
    };
    let worker = worker()
        .with(takes("short").over(|columns| Ok(columns[0].slice(0, 1))))
        .with(takes("other").over(|_| Ok(Arc::new(StringArray::from(vec!["x"; 2])))))
        .with(emits("more", |batch| vec![batch.clone(), batch]))
        .with(emits("wide", |batch| {
            vec![RecordBatch::try_from_iter([("n", batch.column(0).clone()), ("m", batch.column(0).clone())]).unwrap()]
        }))
        .with(emits("by_row", |batch| (0..batch.num_rows()).map(|row| batch.slice(row, 1)).collect()));
    let (_served, client) = served(worker).await;
    let batch = numbers("n", &[1, 2]);
    for (function, condition, wanted) in [
        ("short", "WRONG_RESULT_LENGTH", "`short` (call 0): a scalar function was given 2 rows and returned 1"),
        ("more", "WRONG_RESULT_LENGTH", "`more` (call 0): a scalar function was given 2 rows and returned 4"),
        ("other", "WRONG_RESULT_TYPE", "`other` (call 0): the function declares Int32 and returned Utf8"),
        ("wide", "ARROW_SCHEMA_MISMATCH", "`wide` (call 0): the batch has 2 columns, the schema 1"),
    ] {
        let expression = chain([(function, vec![Column(0)]), ("doubled", vec![Of(0)])]);
        let mut caller = Caller::open(&client, asks(&expression, &batch.schema())).await;
        caller.send(&batch);
        caller.dialogue.play(&format!("< error[{condition}]")).await;
        assert_eq!(caller.dialogue.error().message, format!("`expression`, batch 1: {wanted}"));
        caller.dialogue.play("> cancel < cancel").await;
    }
    // In several batches, as many rows as it was given.
    let expression = chain([("by_row", vec![Column(0)]), ("doubled", vec![Of(0)])]);
    let mut caller = Caller::open(&client, asks(&expression, &batch.schema())).await;
    caller.send(&batch);
    caller.send(&batch.slice(0, 0));
    let batches = caller.finish().await.0;
    assert_eq!(batches.iter().map(|batch| ints(batch.column(0))).collect::<Vec<_>>(), [vec![Some(2), Some(4)], vec![]]);
}
