use arrow_array::{Int32Array, NullArray, StringArray};
use arrow_schema::{DataType, Field};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use proptest::prelude::*;

use super::*;
use crate::{Encoder, Kind, encode_schema};

fn refused(payload: &str) -> String {
    let error = Expression::decode(payload.as_bytes()).expect_err(payload);
    assert_eq!((error.kind(), error.condition()), (Kind::Malformed, "INVALID_PAYLOAD"), "{error}");
    error.to_string()
}

/// An IPC stream of a batch, in base64.
fn stream(batch: &RecordBatch) -> String {
    let mut stream = encode_schema(&batch.schema()).to_vec();
    for message in Encoder::new(batch.schema(), usize::MAX).unwrap().encode(batch) {
        stream.extend_from_slice(&message.unwrap().into_bytes());
    }
    BASE64_STANDARD.encode(stream)
}

fn numbers(values: Vec<i32>) -> RecordBatch {
    RecordBatch::try_from_iter([("n", Arc::new(Int32Array::from(values)) as _)]).unwrap()
}

/// R18: the JSON is what it is documented to be, to the letter.
#[test]
fn r18_the_payload_to_the_letter() {
    let mut expression = Expression::new();
    let f = expression.call(Call::new("f", [Argument::Column(0)])).unwrap();
    let zero = expression.constant(Field::new("zero", DataType::Int32, false), Arc::new(Int32Array::from(vec![0])));
    let arguments = [Argument::Call(f), Argument::Column(1), Argument::Constant(zero.unwrap())];
    let g = expression.call(Call::new("g", arguments).with_options(serde_json::json!({ "x": 1 }))).unwrap();
    expression.result(f).unwrap();
    expression.result(g).unwrap();
    let payload = expression.encode().unwrap();
    let text = std::str::from_utf8(&payload).unwrap();
    let before = concat!(
        r#"{"calls":[{"function":"f","arguments":[{"column":0}]},"#,
        r#"{"function":"g","options":{"x":1},"arguments":[{"call":0},{"column":1},{"constant":0}]}],"#,
        r#""results":[0,1],"constants":"/////"#,
    );
    assert!(text.starts_with(before), "{text}");
    // The constants are a stream that any reader of Arrow takes.
    let stream =
        text.split('"').nth_back(1).and_then(|text| BASE64_STANDARD.decode(text).ok()).expect("constants are last");
    let mut reader = arrow_ipc::reader::StreamReader::try_new(&*stream, None).unwrap();
    assert_eq!(reader.next().unwrap().unwrap().columns(), expression.constants());
    assert!(reader.next().is_none());
    assert_eq!(Expression::decode(&payload).unwrap(), expression);
    let least = Expression::decode(br#"{"calls": [{"function": "now"}], "results": [0]}"#).unwrap();
    assert_eq!((least.calls(), least.results()), (&[Call::new("now", [])][..], &[0][..]));
    assert!(least.constants().is_empty() && least.encode().unwrap().ends_with(br#""results":[0]}"#));
}

/// R18: the example of the document is one, and it is what this crate writes.
#[test]
fn r18_the_documented_example_is_an_expression() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/payloads.md");
    let page = std::fs::read_to_string(page).expect("the document of payload formats");
    let example = page.split("## expression").nth(1).and_then(|page| page.split("```json").nth(1));
    let example = example.and_then(|page| page.split("```").next()).expect("the section has an example");
    let mut wanted = Expression::new();
    let one = Field::new("one", DataType::Int32, false);
    let one = Argument::Constant(wanted.constant(one, Arc::new(Int32Array::from(vec![1]))).unwrap());
    let doubled = wanted.call(Call::new("doubled", [Argument::Column(0)])).unwrap();
    let total = Call::new("total", [Argument::Call(doubled), Argument::Column(1), one]);
    let total = wanted.call(total.with_options(serde_json::json!({}))).unwrap();
    [doubled, total].into_iter().for_each(|call| wanted.result(call).unwrap());
    let ours = String::from_utf8(wanted.encode().unwrap().into()).unwrap();
    assert_eq!(Expression::decode(example.as_bytes()).expect(&ours), wanted, "{ours}");
}

/// R18: what is no expression is told with what is wrong and where.
#[test]
fn r18_malformed_payloads_are_told_with_what_and_where() {
    let f =
        |arguments: &str| format!(r#"{{"calls": [{{"function": "f", "arguments": [{arguments}]}}], "results": [0]}}"#);
    let constants =
        |text: &str| format!(r#"{{"calls": [{{"function": "f"}}], "results": [0], "constants": "{text}"}}"#);
    let empty = RecordBatch::new_empty(numbers(vec![]).schema());
    let many = |count: usize, one: &str| vec![one; count].join(",");
    let cases = [
        ("".to_owned(), "line 1 column 0"),
        ("[]".into(), "the payload is no JSON like {\"calls\""),
        ("{}".into(), "missing field `calls`"),
        (r#"{"calls": []}"#.into(), "missing field `results`"),
        (r#"{"calls": [], "results": []}"#.into(), "there is no result"),
        (r#"{"calls": [], "results": [0]}"#.into(), "result 0 is call 0, but there are 0"),
        (r#"{"calls": [{"function": "f"}], "results": [0, 1]}"#.into(), "result 1 is call 1, but there are 1"),
        (r#"{"calls": [{"function": "f"}], "results": [-1]}"#.into(), "line 1 column"),
        (r#"{"calls": [{"function": "f"}], "results": [0], "filter": 0}"#.into(), "unknown field `filter`"),
        (r#"{"calls": [{"function": "f", "option": {}}], "results": [0]}"#.into(), "unknown field `option`"),
        (r#"{"calls": [{"arguments": []}], "results": [0]}"#.into(), "missing field `function`"),
        (f(r#"{"call": 0}"#), "call 0 has call 0 as argument 1, which does not come before it"),
        (f(r#"{"column": 0}, {"call": 7}"#), "call 0 has call 7 as argument 2, which does not come before it"),
        (f(r#"{"constant": 0}"#), "call 0 has constant 0 as argument 1, but there are 0"),
        (f(r#"{"column": 0, "call": 0}"#), "line 1 column"),
        (f(r#"{"column": 1.5}"#), "line 1 column"),
        (f(r#"{"row": 0}"#), "unknown variant `row`"),
        (f(&many(MOST_ARGUMENTS + 1, r#"{"column": 0}"#)), "a list of more than 65536"),
        (
            format!(r#"{{"calls": [{}], "results": [0]}}"#, many(MOST_CALLS + 1, r#"{"function": "f"}"#)),
            "a list of more than 1024",
        ),
        (
            format!(r#"{{"calls": [{{"function": "f"}}], "results": [{}]}}"#, many(MOST_CALLS + 1, "0")),
            "a list of more than 1024",
        ),
        (constants("?"), "`constants` is no base64"),
        (constants(""), "`constants` has 0 batches instead of one"),
        (constants("AAAA"), "`constants` is no Arrow IPC stream: no Arrow IPC message starts here"),
        (constants(&stream(&numbers(vec![1, 2]))), "`constants` has 2 rows instead of one"),
        (constants(&stream(&empty)), "`constants` has 0 rows instead of one"),
        (constants(&BASE64_STANDARD.encode(encode_schema(&empty.schema()))), "`constants` has 0 batches"),
    ];
    for (payload, wanted) in cases {
        let text = refused(&payload);
        assert!(text.contains(wanted), "`{wanted}` is missing: {text}");
    }
    assert!(Expression::decode(&[0xff, 0xfe]).is_err());
}

/// R18: nested as deep as may be, not deeper; arguments are counted together.
#[test]
fn r18_calls_are_bounded_in_depth_and_arguments() {
    let mut chain = Expression::new();
    let mut last = chain.call(Call::new("f", [Argument::Column(0)])).unwrap();
    for _ in 1..MOST_DEPTH {
        last = chain.call(Call::new("f", [Argument::Call(last)])).unwrap();
    }
    let error = chain.call(Call::new("f", [Argument::Call(last)])).unwrap_err();
    assert_eq!(error.to_string(), "call 256 is 257 calls deep, more than 256");
    chain.result(last).unwrap();
    assert_eq!(Expression::decode(&chain.encode().unwrap()).unwrap(), chain);

    let mut wide = Expression::new();
    wide.call(Call::new("f", vec![Argument::Column(0); MOST_ARGUMENTS])).unwrap();
    let error = wide.call(Call::new("f", [Argument::Column(0)])).unwrap_err();
    assert_eq!(error.to_string(), "call 1 and those before it have 65537 arguments, more than 65536");
}

/// R18: columns are looked for when the input is known.
#[test]
fn r18_columns_must_be_there() {
    let mut expression = Expression::new();
    expression.call(Call::new("f", [Argument::Column(0), Argument::Column(2)])).unwrap();
    expression.check_columns(3).unwrap();
    let error = expression.check_columns(2).unwrap_err();
    assert_eq!(error.to_string(), "call 0 has column 2 as argument 2, but the input has 2");
    assert_eq!(error.condition(), "INVALID_PAYLOAD");
}

/// R18: a constant is one value of its field's type.
#[test]
fn r18_a_constant_is_one_value() {
    let mut expression = Expression::new();
    let null = || Arc::new(Int32Array::from(vec![None])) as ArrayRef;
    let run = arrow_array::RunArray::<arrow_array::types::Int16Type>::try_new(
        &arrow_array::Int16Array::from(vec![1]),
        &StringArray::from(vec!["x"]),
    );
    let run: ArrayRef = Arc::new(run.unwrap());
    let cases = [
        (Field::new("n", DataType::Int32, true), Arc::new(Int32Array::from(vec![1, 2])) as ArrayRef, "has 2 rows"),
        (Field::new("n", DataType::Int64, true), null(), "is Int32, its field Int64"),
        (Field::new("n", DataType::Int32, false), null(), "is null, where its field allows none"),
        (Field::new("n", run.data_type().clone(), true), run, "is run-end encoded"),
    ];
    for (field, value, wanted) in cases {
        let text = expression.constant(field, value).unwrap_err().to_string();
        assert!(text.starts_with("constant 0 ") && text.contains(wanted), "{text}");
    }
    assert_eq!(expression.constant(Field::new("n", DataType::Int32, true), null()).unwrap(), 0);
    assert_eq!(expression.constant(Field::new("n", DataType::Null, true), Arc::new(NullArray::new(1))).unwrap(), 1);
}

/// C10: a large constant is not repeated for more rows than there is room for, and a small one for no more than a million.
#[test]
fn c10_repeated_constants_are_bounded() {
    let of = |value: ArrayRef| {
        let mut expression = Expression::new();
        expression.constant(Field::new("x", value.data_type().clone(), true), value).unwrap();
        Constants::of(&expression)
    };
    let mut large = of(Arc::new(StringArray::from(vec!["x".repeat(10 << 20)])));
    assert_eq!(large.rows_at_once(), 6);
    assert_eq!(large.column(0, 6).unwrap().len(), 6);
    assert_eq!(of(Arc::new(StringArray::from(vec!["x".repeat(100 << 20)]))).rows_at_once(), 1);
    assert_eq!(of(Arc::new(NullArray::new(1))).rows_at_once(), 1 << 20);
    // Items without bytes count.
    let item = Arc::new(Field::new_list_field(DataType::Null, true));
    let nulls = arrow_array::FixedSizeListArray::new(item, 1 << 28, Arc::new(NullArray::new(1 << 28)), None);
    assert_eq!(of(Arc::new(nulls)).rows_at_once(), 1);
    assert_eq!(Constants::of(&Expression::new()).rows_at_once(), 1 << 20);
}

/// D13: neither options nor constants are in Debug output.
#[test]
fn d13_debug_output_has_no_values() {
    let mut expression = Expression::new();
    let secret = Arc::new(StringArray::from(vec!["hunter2"]));
    let secret = expression.constant(Field::new("s", DataType::Utf8, false), secret).unwrap();
    let call = Call::new("f", [Argument::Constant(secret)]).with_options("hunter2".into());
    expression.call(call).unwrap();
    let text = format!("{expression:?}");
    assert!(text.contains(r#"function: "f""#) && !text.contains("hunter2"), "{text}");
}

proptest! {
    /// C10: rubbish never panics, and what is taken is written and read again.
    #[test]
    fn c10_any_text_is_refused_or_taken(text in r#"(\{"calls": \[(\{"function": "f", "arguments": \[\{"(column|call|constant)": [0-3]\}\]\},?){0,3}\], "results": \[[0-2]?\]\}|.{0,40})"#) {
        if let Ok(expression) = Expression::decode(text.as_bytes()) {
            prop_assert_eq!(&Expression::decode(&expression.encode().unwrap()).unwrap(), &expression);
        }
    }
}
