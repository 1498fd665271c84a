//! The bundled functions and the Arrow face over a real socket: what a caller gets, and what it is told when it errs.

mod support;

use std::sync::Arc;

use anyudf_arrow::encode_schema;
use anyudf_protocol::{Blame, Counter, wire};
use anyudf_worker::{Definition, Error, Function, Kind, Output, Result, Volatility, Worker, map, scalar};
use arrow::array::{
    Array, ArrayRef, AsArray, Float64Array, Int32Array, Int64Array, RecordBatch, RecordBatchOptions, StringArray,
};
use arrow::datatypes::{DataType, Field, Float64Type, Int32Type, Int64Type, Schema, SchemaRef};
use bytes::Bytes;
use support::caller::{Caller, call, encode, numbers, served};
use support::{Served, init};

fn with_options(function: &str, options: &str) -> wire::Init {
    init(&format!("function={{\"function\": \"{function}\", \"options\": {options}}}"))
}

fn coordinates() -> RecordBatch {
    let column = |values: [Option<f64>; 4]| -> ArrayRef { Arc::new(Float64Array::from(values.to_vec())) };
    RecordBatch::try_from_iter_with_nullable([
        ("la1", column([Some(40.63975111), Some(33.94), None, Some(0.0)]), true),
        ("lo1", column([Some(-73.77892556), Some(-118.4), Some(1.0), None]), true),
        ("la2", column([Some(33.94253611), Some(33.94), Some(1.0), Some(0.0)]), true),
        ("lo2", column([Some(-118.4080744), Some(-118.4), Some(1.0), None]), true),
    ])
    .unwrap()
}

/// C9, C8: rows and order are kept, a null in gives a null out, the schema comes in InitResponse, rows are counted.
#[tokio::test]
async fn c8_c9_distance_miles() {
    let (_served, client) = served(Worker::bundled()).await;
    let batch = coordinates();
    let mut caller = Caller::open(&client, call("distance_miles", Some(&batch.schema()))).await;
    assert_eq!(caller.schema.fields().len(), 1);
    assert_eq!(caller.schema.field(0).name(), "distance_miles");
    caller.send(&batch);
    caller.send(&batch.slice(1, 2));
    let (batches, dialogue) = caller.finish().await;
    assert_eq!(batches.iter().map(RecordBatch::num_rows).collect::<Vec<_>>(), [4, 2]);
    let miles = batches[0].column(0).as_primitive::<Float64Type>();
    assert!((miles.value(0) - 2475.0).abs() < 15.0, "{}", miles.value(0));
    assert_eq!(miles.value(1), 0.0);
    assert!(miles.is_null(2) && miles.is_null(3));
    let metrics = dialogue.metrics();
    assert_eq!((metrics.counter(Counter::RowsIn), metrics.counter(Counter::RowsOut)), (Some(6), Some(6)));
}

/// C9: an output schema that the engine names is used, its names too; one of other types is refused by name.
#[tokio::test]
async fn c9_the_engine_names_the_output() {
    let (_served, client) = served(Worker::bundled()).await;
    let batch = coordinates();
    let output = |data_type: DataType| encode_schema(&Schema::new(vec![Field::new("miles", data_type, true)]));
    let mut asked = call("distance_miles", Some(&batch.schema()));
    asked.output_schema = Some(output(DataType::Float64));
    let mut caller = Caller::open(&client, asked.clone()).await;
    caller.send(&batch);
    let (batches, _) = caller.finish().await;
    assert_eq!(batches[0].schema().field(0).name(), "miles");

    asked.output_schema = Some(output(DataType::Int32));
    let mut dialogue = client.execute().await.with_init(asked);
    dialogue.play("> init < init[OUTPUT_SCHEMA_MISMATCH]").await;
    let text = &dialogue.error().message;
    assert!(text.contains("Float64") && text.contains("Int32") && text.contains("`miles`"), "{text}");
    dialogue.play("> cancel < cancel").await;
}

/// C9: without input_schema the data brings its schema, and the arguments are checked then.
#[tokio::test]
async fn c9_data_may_bring_its_schema() {
    let (_served, client) = served(Worker::bundled()).await;
    let with_schema =
        |batch: &RecordBatch| Bytes::from([&encode_schema(&batch.schema())[..], &encode(batch)[..]].concat());
    let mut caller = Caller::open(&client, call("distance_miles", None)).await;
    caller.dialogue.request(anyudf_protocol::Request::Data(with_schema(&coordinates())));
    assert_eq!(caller.finish().await.0[0].num_rows(), 4);
    let mut caller = Caller::open(&client, call("distance_miles", None)).await;
    let wrong = numbers("a", &[1]);
    caller.dialogue.request(anyudf_protocol::Request::Data(with_schema(&wrong)));
    caller.dialogue.play("< error[WRONG_ARGUMENT_COUNT] > cancel < cancel").await;
}

/// R18: wrong arguments are told by column and both types, an unknown function with near names, at Init.
#[tokio::test]
async fn r18_wrong_calls_are_explained() {
    let (_served, client) = served(Worker::bundled()).await;
    let mut fields: Vec<_> = ["a", "b", "c", "d"].map(|name| Field::new(name, DataType::Float64, true)).into();
    let few = Schema::new(fields[..2].to_vec());
    fields[2] = Field::new("c", DataType::Utf8, true);
    let text = Schema::new(fields);
    let cases = [
        (call("distance_miles", Some(&few)), "WRONG_ARGUMENT_COUNT", vec!["takes 4 arguments", "2 columns", "lat1"]),
        (call("distance_miles", Some(&text)), "WRONG_ARGUMENT_TYPE", vec!["`lat2`", "`c`", "Float64", "Utf8"]),
        (call("distance_mils", Some(&few)), "UNKNOWN_FUNCTION", vec!["`distance_mils`", "distance_miles"]),
        (init("function=not json"), "INVALID_PAYLOAD", vec!["JSON"]),
        (init("function={}"), "INVALID_PAYLOAD", vec!["function"]),
        (with_options("generate_series", "{}"), "BAD_OPTIONS", vec!["stop"]),
        (with_options("generate_series", r#"{"stop": 3, "stip": 1}"#), "BAD_OPTIONS", vec!["stip"]),
        (with_options("generate_series", r#"{"stop": 3, "step": 0}"#), "BAD_OPTIONS", vec!["step"]),
    ];
    for (init, condition, words) in cases {
        let mut dialogue = client.execute().await.with_init(init);
        dialogue.play(&format!("> init < init[{condition}]")).await;
        let text = &dialogue.error().message;
        words.iter().for_each(|word| assert!(text.contains(word), "`{word}` is missing: {text}"));
        dialogue.play("> cancel < cancel < end:Ok").await;
    }
}

/// C10: schemas and batches that are none are ProtocolErrors, and the worker lives on.
#[tokio::test]
async fn c10_hostile_bytes_are_protocol_errors() {
    let (_served, client) = served(Worker::bundled()).await;
    let mut bad_schema = call("echo_batches", None);
    bad_schema.input_schema = Some(Bytes::from_static(b"\xff\xff\xff\xff\x10\0\0\0no flatbuffer here"));
    let mut dialogue = client.execute().await.with_init(bad_schema);
    dialogue.play("> init").await;
    dialogue.hear().await;
    assert_eq!(dialogue.error().blame, Blame::Protocol);
    assert!(dialogue.error().message.contains("Init.input_schema"), "{}", dialogue.error().message);
    dialogue.play("> cancel < cancel").await;

    let batch = coordinates();
    let good = encode(&batch);
    let truncated = good.slice(..good.len() - 64);
    let flipped = good.iter().enumerate().map(|(i, byte)| if i == 9 { !byte } else { *byte }).collect::<Bytes>();
    for bad in [Bytes::from_static(b"rubbish that is long enough"), truncated, flipped] {
        let mut caller = Caller::open(&client, call("echo_batches", Some(&batch.schema()))).await;
        caller.dialogue.request(anyudf_protocol::Request::Data(bad));
        let heard = caller.dialogue.hear().await;
        assert!(heard.starts_with("error[ARROW_"), "{heard}");
        let error = caller.dialogue.error();
        assert_eq!(error.blame, Blame::Protocol);
        assert!(error.message.contains("batch 1"), "{}", error.message);
        caller.dialogue.play("> cancel < cancel < end:Ok").await;
    }
}

/// C9: the catalog is a table function: names, kinds, schemas, and what may be assumed.
#[tokio::test]
async fn c9_the_catalog_lists_functions() {
    let other_names = map("other_names").returns_input().over(|batch, out| out.emit(batch)).aliases(["alias"]);
    let (_served, client) = served(Worker::bundled().with(other_names)).await;
    let (batches, _) = Caller::open(&client, init("catalog")).await.finish().await;
    let [catalog] = &batches[..] else { panic!("one batch, not {}", batches.len()) };
    let entries = anyudf_arrow::catalog::decode(catalog).unwrap().entries;
    let [count, distance, echo, explode, series, other] = &entries[..] else { panic!("{entries:?}") };
    let names: Vec<_> = entries.iter().map(|entry| entry.name.as_str()).collect();
    let bundled = ["count_rows", "distance_miles", "echo_batches", "explode_words", "generate_series"];
    assert_eq!(names[..5], bundled);
    let kinds = [count, distance, echo, explode, series].map(|entry| entry.kind);
    assert_eq!(kinds, [Kind::Aggregate, Kind::Scalar, Kind::Map, Kind::Map, Kind::Table]);
    assert!(entries[..5].iter().all(|entry| !entry.help.is_empty()));
    assert!(entries[..5].iter().all(|entry| entry.volatility == Volatility::Immutable));
    assert_eq!((other.volatility, &other.aliases[..]), (Volatility::Volatile, &["alias".to_owned()][..]));
    let arguments = distance.arguments.as_ref().unwrap();
    let names: Vec<_> = arguments.fields().iter().map(|field| field.name().as_str()).collect();
    assert_eq!(names, ["lat1", "lon1", "lat2", "lon2"]);
    assert_eq!(distance.result.as_ref().unwrap().field(0).data_type(), &DataType::Float64);
    assert!(echo.arguments.is_none() && echo.result.is_none());
}

/// R18: an alias calls its function, and a function of that name comes before it.
#[tokio::test]
async fn r18_a_function_answers_to_its_aliases() {
    let tell = |name: &str, number: i32| {
        let returns = scalar(name).returns(DataType::Int32);
        returns.over(move |_| Ok(Arc::new(Int32Array::from(vec![number; 1]))))
    };
    let worker = Worker::new().with(tell("one", 1).aliases(["two", "uno"])).with(tell("two", 2));
    let (_served, client) = served(worker).await;
    let batch = RecordBatch::try_new_with_options(
        Arc::new(Schema::empty()),
        Vec::new(),
        &RecordBatchOptions::new().with_row_count(Some(1)),
    );
    let batch = batch.unwrap();
    for (name, number) in [("one", 1), ("uno", 1), ("two", 2)] {
        let mut caller = Caller::open(&client, call(name, Some(&batch.schema()))).await;
        caller.send(&batch);
        let (batches, _) = caller.finish().await;
        assert_eq!(batches[0].column(0).as_primitive::<Int32Type>().value(0), number, "{name}");
    }
    let mut dialogue = client.execute().await.with_init(call("unos", None));
    dialogue.play("> init < init[UNKNOWN_FUNCTION]").await;
    assert!(dialogue.error().message.contains("did you mean uno?"), "{}", dialogue.error().message);
    dialogue.play("> cancel < cancel").await;
}

/// R6: a map returns another number of rows than it was given.
#[tokio::test]
async fn r6_explode_words() {
    let (_served, client) = served(Worker::bundled()).await;
    let text: ArrayRef = Arc::new(StringArray::from(vec![Some("the quick  fox"), None, Some(" "), Some("ends")]));
    let batch = RecordBatch::try_from_iter_with_nullable([("text", text, true)]).unwrap();
    let mut caller = Caller::open(&client, call("explode_words", Some(&batch.schema()))).await;
    caller.send(&batch);
    let (batches, _) = caller.finish().await;
    let words: Vec<_> = batches[0].column(0).as_string::<i32>().iter().flatten().collect();
    assert_eq!(words, ["the", "quick", "fox", "ends"]);
    assert_eq!(batches[0].column(1).as_primitive::<Int64Type>().values(), &[1, 2, 3, 1]);
}

/// R6, R12: a generator needs no input and no Finish; it ends when it is cancelled.
#[tokio::test]
async fn r6_r12_generate_series() {
    let (_served, client) = served(Worker::bundled()).await;
    let series = with_options("generate_series", r#"{"start": 10, "stop": 1, "step": -4}"#);
    let (batches, _) = Caller::open(&client, series).await.finish().await;
    assert_eq!(batches[0].column(0).as_primitive::<Int64Type>().values(), &[10, 6, 2]);
    let edge = with_options("generate_series", r#"{"start": 9223372036854775806, "stop": 9223372036854775807}"#);
    let (batches, _) = Caller::open(&client, edge).await.finish().await;
    assert_eq!(batches[0].num_rows(), 2);
    let endless = with_options("generate_series", r#"{"stop": 9223372036854775807}"#);
    let mut caller = Caller::open(&client, endless).await;
    caller.dialogue.say("cancel");
    let mut heard = caller.dialogue.hear().await;
    while heard.starts_with("data") {
        heard = caller.dialogue.hear().await;
    }
    assert_eq!(heard, "cancel");
}

/// R10: a sink's result comes with FinishResponse.
#[tokio::test]
async fn r10_count_rows() {
    let (_served, client) = served(Worker::bundled()).await;
    let batch = coordinates();
    let mut caller = Caller::open(&client, call("count_rows", Some(&batch.schema()))).await;
    caller.send(&batch);
    caller.send(&batch);
    let (batches, dialogue) = caller.finish().await;
    assert!(batches.is_empty());
    assert_eq!(dialogue.data(), "8");
    assert_eq!(dialogue.metrics().get("nulls").as_deref(), Some("6"));
    assert_eq!(dialogue.metrics().counter(Counter::RowsOut), Some(0));
}

/// C9, P7: a batch larger than a message is split by rows; a row that is too large says how large it was.
#[tokio::test]
async fn c9_p7_large_batches_are_split() {
    let grow = |rows: usize, width: usize| {
        map("grow").returns([("text", DataType::Utf8)]).over(move |_, out| {
            let text: ArrayRef = Arc::new(StringArray::from_iter_values((0..rows).map(|_| "x".repeat(width))));
            out.emit(RecordBatch::try_new(Arc::clone(out.schema()), vec![text])?)
        })
    };
    let worker = || Worker::new().with(grow(1_000, 1_000));
    let limited = Served::start_with(worker(), |options| options.max_message_bytes = 64 << 10).await;
    let one = numbers("a", &[1]);
    let mut caller = Caller::open(&limited.client().await, call("grow", Some(&one.schema()))).await;
    caller.send(&one);
    let (batches, _) = caller.finish().await;
    assert!(batches.len() > 10, "{} messages", batches.len());
    assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 1_000);

    // The same for an engine that says how much it takes.
    let (_served, client) = served(worker()).await;
    let mut modest = call("grow", Some(&one.schema()));
    modest.session_conf.insert("anyudf.max_message_bytes".into(), "100000".into());
    let mut caller = Caller::open(&client, modest).await;
    caller.send(&one);
    assert!(caller.finish().await.0.len() > 10);

    let limited =
        Served::start_with(Worker::new().with(grow(1, 100_000)), |options| options.max_message_bytes = 64 << 10).await;
    let mut caller = Caller::open(&limited.client().await, call("grow", Some(&one.schema()))).await;
    caller.send(&one);
    caller.dialogue.play("< error[ARROW_ROW_TOO_LARGE]").await;
    let text = &caller.dialogue.error().message;
    assert!(text.contains("`grow`, batch 1") && text.contains("bytes"), "{text}");
    caller.dialogue.play("> cancel < cancel").await;
}

/// R14: a panic is a UserError with its text, place and stack; the next execution is none the worse for it.
#[tokio::test]
async fn r14_panics_are_user_errors() {
    let worker = Worker::new().with(map("cursed").returns_input().over(|batch, out| {
        let first = batch.column(0).as_primitive::<Int64Type>().value(0);
        assert!(first != 13, "unlucky {first}");
        out.emit(batch)
    }));
    let (_served, client) = served(worker).await;
    let batch = |value: i64| RecordBatch::try_from_iter([("n", Arc::new(Int64Array::from(vec![value])) as _)]).unwrap();
    let init = call("cursed", Some(&batch(1).schema()));
    let mut caller = Caller::open(&client, init.clone()).await;
    caller.send(&batch(1));
    caller.send(&batch(13));
    caller.dialogue.hear().await;
    caller.dialogue.play("< error[PANIC]").await;
    let error = caller.dialogue.error();
    assert_eq!(error.blame, Blame::User);
    assert!(error.message.contains("process, batch 2: unlucky 13"), "{}", error.message);
    assert!(error.message.contains("functions.rs"), "{}", error.message);
    assert!(error.traceback.as_ref().is_some_and(|stack| stack.contains("r14_panics_are_user_errors")));
    caller.dialogue.play("> cancel < cancel < end:Ok").await;
    let mut again = Caller::open(&client, init).await;
    again.send(&batch(2));
    assert_eq!(again.finish().await.0.len(), 1);
}

/// R7: an error of the function names the function, the batch and the row, and keeps its class.
#[tokio::test]
async fn r7_errors_say_where() {
    let worker =
        Worker::new().with(scalar("picky").argument("n", DataType::Int32).returns(DataType::Int32).over(|columns| {
            match columns[0].len() {
                1 => Ok(Arc::clone(&columns[0])),
                2 => Err(Error::user("-1 is below zero").with_class("BELOW_ZERO").at_row(1)),
                _ => Ok(columns[0].slice(0, 1)),
            }
        }));
    let (_served, client) = served(worker).await;
    let one = numbers("n", &[1]);
    let two = numbers("n", &[1, -1]);
    let three = numbers("n", &[1, 2, 3]);
    let mut caller = Caller::open(&client, call("picky", Some(&one.schema()))).await;
    caller.send(&one);
    caller.send(&two);
    caller.dialogue.hear().await;
    caller.dialogue.play("< error[BELOW_ZERO]").await;
    assert_eq!(caller.dialogue.error().message, "`picky`, batch 2: row 1: -1 is below zero");
    let mut caller = Caller::open(&client, call("picky", Some(&one.schema()))).await;
    caller.send(&three);
    caller.dialogue.play("< error[WRONG_RESULT_LENGTH]").await;
    assert!(caller.dialogue.error().message.contains("given 3 rows and returned 1"));
}

/// R6: a table function refuses input by name.
#[tokio::test]
async fn r6_a_table_function_takes_no_input() {
    let (_served, client) = served(Worker::bundled()).await;
    let one = numbers("n", &[1]);
    let mut caller = Caller::open(&client, with_options("generate_series", r#"{"stop": 0}"#)).await;
    caller.send(&one);
    caller.dialogue.play("< error[UNEXPECTED_INPUT] > cancel < cancel").await;
}

/// R10: an error of `finish` travels in FinishResponse, behind the output.
#[tokio::test]
async fn r10_finish_may_fail() {
    struct Last;
    impl Function for Last {
        fn output_schema(&self) -> SchemaRef {
            Arc::new(Schema::new(vec![Field::new("n", DataType::Int32, true)]))
        }
        fn process(&mut self, _: RecordBatch, _: &mut Output<'_>) -> Result<()> {
            Ok(())
        }
        fn finish(self, out: &mut Output<'_>) -> Result<()> {
            out.emit(numbers("n", &[7]))?;
            Err("the last word failed".into())
        }
    }
    let (_served, client) = served(Worker::new().with(Definition::new("last", Kind::Map, |_| Ok(Last)))).await;
    let mut caller = Caller::open(&client, call("last", None)).await;
    caller.dialogue.say("finish");
    assert!(caller.dialogue.hear().await.starts_with("data"));
    caller.dialogue.play("< finish[FUNCTION_FAILED] < end:Ok").await;
}
