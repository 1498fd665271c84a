//! What authors say in attributes, of the function and of its arguments.

use super::*;

#[test]
fn attributes_reach_the_catalogue() {
    #[udf(name = "plus", aliases = ["sum", "total"], volatility = "immutable", version = "7", help = "a sum")]
    fn f(x: i32) -> i32 {
        x
    }
    #[udf(timeout = "2m", repeatable)]
    fn g(x: i32) -> i32 {
        x
    }
    let entry = g.into_definition().entry().clone();
    assert_eq!((entry.timeout, entry.repeatable), (Some(Duration::from_secs(120)), true));
    let entry = f.into_definition().entry().clone();
    assert!(!entry.repeatable && entry.is_repeatable(), "what is immutable may be run again");
    assert_eq!(entry.timeout, None);
    assert_eq!((&*entry.name, &*entry.version, &*entry.help), ("plus", "7", "a sum"));
    assert_eq!((&entry.aliases[..], entry.volatility), (&["sum".into(), "total".into()][..], Volatility::Immutable));
}

/// Counts words.
#[udf(
    name = "how_often",
    example("a b a", "a", None => Some(2)),
    example("a b a", "a", Some(-1) => Some(-2),),
    example("a", "", None => Err("an empty word"))
)]
fn occurrences(text: &str, word: &str, times: Option<i64>) -> Result<Option<i64>, String> {
    if word.is_empty() {
        return Err("an empty word is everywhere".into());
    }
    let count = text.matches(word).count() as i64;
    Ok(Some(count * times.unwrap_or(1)))
}

/// The attribute has made the test `occurrences_examples` of them too.
#[test]
fn examples_are_in_the_catalogue() {
    let entry = occurrences.into_definition().entry().clone();
    let examples = [
        r#"how_often("a b a", "a", null) = 2"#,
        r#"how_often("a b a", "a", -1) = -2"#,
        r#"how_often("a", "", null) fails: an empty word"#,
    ];
    assert_eq!((&*entry.help, &entry.examples[..]), ("Counts words.", &examples.map(String::from)[..]));
    assert!(add.into_definition().entry().examples.is_empty());
}

#[test]
fn arguments_may_be_left_out() {
    #[udf]
    fn labelled(
        x: i64,
        #[default(-3_000_000_000)] y: i64,
        #[default("a \"b\"\n")] label: String,
        #[default(1.5)] scale: Option<f64>,
        #[default(None)] on: Option<NaiveDate>,
        #[default(true)] is: bool,
    ) -> String {
        format!("{x} {y} {label:?} {scale:?} {on:?} {is}")
    }
    let definition = labelled.into_definition();
    let arguments = definition.argument_schema().expect("it says");
    let defaults: Vec<_> = arguments.fields().iter().map(|field| field.metadata().get(DEFAULT).cloned()).collect();
    let said = [None, Some("-3000000000"), Some(r#""a \"b\"\u000a""#), Some("1.5"), Some("null"), Some("true")];
    assert_eq!(defaults, said.map(|json| json.map(String::from)));
    let number = |n: i64| column(Int64Array::from(vec![Some(n), None]));
    let text = column(StringArray::from(vec!["c"; 2]));
    let rest = r#"1 -3000000000 "a \"b\"\n" Some(1.5) None true"#;
    check(labelled, vec![number(1)], StringArray::from(vec![Some(rest), None]));
    let rest = r#"1 2 "c" Some(1.5) None true"#;
    check(labelled, vec![number(1), number(2), text], StringArray::from(vec![Some(rest), None]));
    let (condition, text) = error(labelled, vec![]);
    assert_eq!(condition, "WRONG_ARGUMENT_COUNT");
    assert!(text.contains("`labelled` takes 1 to 6 arguments: (x Int64, y Int64 = -3000000000, "), "{text}");
}

#[test]
fn the_last_argument_may_be_many_columns() {
    #[udf]
    fn total(#[variadic] numbers: &[i32]) -> i32 {
        numbers.iter().sum()
    }
    #[udf]
    fn first(#[default("?")] or: &str, #[variadic] texts: Vec<Option<&str>>) -> String {
        texts.iter().flatten().next().unwrap_or(&or).to_string()
    }
    let numbers = |numbers: &[Option<i32>]| column(Int32Array::from(numbers.to_vec()));
    let columns = vec![numbers(&[Some(1), None, Some(3)]), numbers(&[Some(10), Some(20), Some(30)])];
    check(total, columns, Int32Array::from(vec![Some(11), None, Some(33)]));
    check(total, vec![numbers(&[Some(7)])], Int32Array::from(vec![7]));
    check(total, vec![], Int32Array::from(vec![0]));
    let texts = |texts: &[Option<&str>]| StringArray::from(texts.to_vec());
    let view = column(StringViewArray::from(vec![None, Some("v"), None]));
    let columns = vec![column(texts(&[Some("x"); 3])), column(texts(&[Some("a"), None, None])), view];
    check(first, columns, StringArray::from(vec!["a", "v", "x"]));
    check(first, vec![column(texts(&[Some("x"), None]))], StringArray::from(vec![Some("x"), None]));
    check(first, vec![], StringArray::from(vec!["?"]));
    let arguments = first.into_definition().argument_schema().expect("it says").clone();
    let last = arguments.field(1);
    assert_eq!((last.data_type(), last.metadata()[VARIADIC].as_str()), (&DataType::Utf8, "true"));
    let wrong = vec![numbers(&[Some(1)]), column(texts(&[Some("a")]))];
    let (condition, text) = error(total, wrong);
    assert_eq!(condition, "WRONG_ARGUMENT_TYPE");
    assert!(text.contains("argument 2 (`numbers`) of `total` must be Int32"), "{text}");
}

/// The larger of two, or the first where there is no order.
#[udf(types = [f64, i32, &str], timeout = "1m", example(1, Some(2), false => 2), example("b", None, true => "b"))]
fn larger<T>(a: T, b: Option<T>, #[default(false)] reversed: bool) -> T
where
    T: PartialOrd,
{
    match b {
        Some(b) if (b > a) != reversed => b,
        _ => a,
    }
}

#[test]
fn a_generic_function_has_a_signature_for_each_type() {
    let definition = larger.into_definition();
    let entry = definition.entry();
    assert_eq!((&*entry.name, entry.timeout), ("larger", Some(Duration::from_secs(60))));
    let types: Vec<_> = entry
        .signatures()
        .map(|(arguments, result)| {
            let [a, b] = [0, 1].map(|place| arguments.expect("it says").field(place).data_type().clone());
            (a, b, result.expect("it says").field(0).data_type().clone())
        })
        .collect();
    let all_of = |data_type: DataType| (data_type.clone(), data_type.clone(), data_type);
    assert_eq!(types, [all_of(DataType::Float64), all_of(DataType::Int32), all_of(DataType::Utf8)]);

    let call = |columns: Vec<ArrayRef>| UdfTester::new(larger).call(columns).expect("it runs");
    let integers = |numbers: [Option<i32>; 2]| column(Int32Array::from(numbers.to_vec()));
    let result = call(vec![integers([Some(1), Some(4)]), integers([Some(2), None])]);
    assert_eq!(result.as_primitive::<Int32Type>(), &Int32Array::from(vec![2, 4]));
    let texts = |text: &str| column(StringViewArray::from(vec![text]));
    let result = call(vec![texts("b"), texts("c"), column(BooleanArray::from(vec![true]))]);
    assert_eq!(result.as_string::<i32>().value(0), "b");
    let (condition, text) = error(larger, vec![integers([None, None]), column(Float64Array::from(vec![1.0, 2.0]))]);
    assert_eq!(condition, "WRONG_ARGUMENT_TYPE");
    assert!(text.contains("`larger` takes (a Float64, b Float64, reversed Boolean = false) or (a Int32, "), "{text}");
    assert!(text.contains("it was given (a Int32, b Float64)"), "{text}");
    assert_eq!(larger::call(1_u8, Some(3), false), 3);
}

/// What the attributes write has names too, and none of them is taken from the author.
#[test]
fn names_of_ours_are_free_for_authors() {
    macro_rules! functions {
        ($($name:ident),+) => {
            $(
                #[udf]
                fn $name(x: i32, #[options] _o: &HashMap<String, i32>) -> i32 {
                    x
                }
            )+
        };
    }
    functions!(
        rows, options, batch, before, out, a0, slots, wanted, fields, row, count, value, nulls, columns, error, other
    );
    #[udf(map)]
    fn part<'a>(x: &'a str, n: i32) -> Vec<Column<'a>> {
        vec![Column { text: x, reader: vec![Reader { rows: n }] }]
    }
    #[derive(UdfStruct)]
    struct Reader {
        rows: i32,
    }
    #[derive(UdfStruct)]
    struct Column<'a> {
        text: &'a str,
        reader: Vec<Reader>,
    }
    let numbers = || column(Int32Array::from(vec![1]));
    for function in [rows.into_definition(), options.into_definition()] {
        check(function, vec![numbers()], Int32Array::from(vec![1]));
    }
    let input = RecordBatch::try_from_iter([("a", column(StringArray::from(vec!["x"]))), ("b", numbers())]);
    assert_eq!(UdfTester::new(part).run([input.expect("a batch")]).expect("it runs").batches[0].num_columns(), 2);
    let _ = (batch, before, out, a0, slots, wanted, fields, row, count, value, nulls, columns, error, other);
}

/// Lints are errors here, so each of these would not compile.
#[test]
fn attributes_of_authors_hold_for_all_that_is_written() {
    #[udf]
    #[cfg(any())]
    fn absent(x: TypeThatIsNot) -> f64 {
        x
    }
    #[udf]
    #[deprecated(note = "use another")]
    fn old(x: i32) -> i32 {
        x
    }
    #[udf]
    #[expect(clippy::needless_return, reason = "it is what this is about")]
    fn returns(x: i32) -> i32 {
        return x;
    }
    #[udf]
    #[expect(dead_code, reason = "it is what this is about")]
    fn unused(x: i32) -> i32 {
        x
    }
    #[expect(deprecated, reason = "it is what this is about")]
    let function = old;
    check(function, vec![column(Int32Array::from(vec![1]))], Int32Array::from(vec![1]));
    assert_eq!(returns(2), 2);
}

#[test]
fn options_are_a_struct() {
    #[derive(serde::Deserialize)]
    struct Options {
        factor: f64,
        #[serde(default)]
        names: HashMap<String, i32>,
    }
    #[udf]
    fn scaled(x: f64, #[options] options: &Options, y: f64) -> f64 {
        (x + y) * options.factor + options.names.len() as f64
    }
    let options = Options { factor: 2.0, names: HashMap::new() };
    assert_eq!(scaled(1.0, &options, 2.0), 6.0);
    let tester = UdfTester::new(scaled);
    let columns = || [Float64Array::from(vec![1.0]), Float64Array::from(vec![2.0])];
    let options = serde_json::json!({"factor": 10, "names": {"a": 1}});
    let result = tester.clone().with_options(options).call(columns()).expect("it runs");
    assert_eq!(result.as_primitive::<Float64Type>().value(0), 31.0);
    let error = tester.call(columns()).expect_err("no factor");
    assert_eq!(error.condition(), "BAD_OPTIONS");
    assert!(error.to_string().contains("factor"), "{error}");
    let error = UdfTester::new(add).with_options(serde_json::json!({"factor": 1})).run([]).expect_err("no options");
    assert_eq!(error.condition(), "BAD_OPTIONS");
}
