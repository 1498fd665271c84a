//! Rows that fail: errors, panics, arguments without a value; and what becomes of the others.

use super::*;

#[test]
fn a_date_out_of_range_is_an_error_unless_it_is_below_a_null() {
    #[udf]
    fn day(date: NaiveDate) -> u32 {
        date.day()
    }
    let dates = || Date32Array::from(vec![0, i32::MAX]);
    let (condition, text) = error(day, vec![column(dates())]);
    assert_eq!(condition, "UNREADABLE_ARGUMENT");
    assert_eq!(text, "`day`, batch 1: row 1: argument 1: the date is out of range");
    let (_, values, _) = dates().into_parts();
    let dates = Date32Array::new(values, Some(NullBuffer::from(vec![true, false])));
    check(day, vec![column(dates)], UInt32Array::from(vec![Some(1), None]));
}

#[test]
fn a_duration_that_no_column_holds_is_an_error_of_its_row() {
    #[derive(UdfStruct)]
    struct Wait {
        waits: Vec<Option<TimeDelta>>,
    }
    fn days(days: i64) -> TimeDelta {
        TimeDelta::days(days)
    }
    #[udf]
    fn plain(n: i64) -> TimeDelta {
        days(n)
    }
    #[udf]
    fn within(n: i64) -> Wait {
        Wait { waits: vec![None, Some(days(n))] }
    }
    #[udf(on_error = "null")]
    fn or_null(n: i64) -> Result<TimeDelta, String> {
        Ok(days(n))
    }
    #[udf(on_error = "collect")]
    fn collected(n: i64) -> Option<TimeDelta> {
        Some(days(n))
    }
    let numbers = || vec![column(Int64Array::from(vec![Some(1), None, Some(1 << 30)]))];
    let text = "row 2: the duration is out of range: a column counts microseconds, up to 292,000 years";
    assert_eq!(error(plain, numbers()), ("VALUE_OUT_OF_RANGE".into(), format!("`plain`, batch 1: {text}")));
    let (_, text) = error(within, numbers());
    assert!(text.contains("row 2: the field `waits`: the duration is out of range"), "{text}");
    check(or_null, numbers(), DurationMicrosecondArray::from(vec![Some(86_400_000_000), None, None]));
    let result = UdfTester::new(collected).call(numbers()).expect("no row fails the others");
    let errors = result.as_struct().column(1).as_string::<i32>();
    assert!(errors.value(2).starts_with("the duration is out of range") && errors.null_count() == 2, "{errors:?}");
}

/// Arrow's arrays hold what they are given.
#[test]
fn a_decimal_with_too_many_digits_names_its_row() {
    #[udf]
    fn same(price: Decimal<3, 2>) -> Decimal<3, 2> {
        price
    }
    let prices = Decimal128Array::from(vec![Some(999), None, Some(1000)]);
    let prices = column(prices.with_precision_and_scale(3, 2).expect("3 digits, 2 behind the point"));
    let (condition, text) = error(same, vec![prices.clone()]);
    assert_eq!(condition, "UNREADABLE_ARGUMENT");
    assert!(text.contains("row 2: argument 1: the decimal is out of range"), "{text}");
    check(
        same,
        vec![prices.slice(0, 2)],
        Decimal128Array::from(vec![Some(999), None]).with_precision_and_scale(3, 2).expect("as before"),
    );
}

#[test]
fn a_null_item_names_its_row_unless_nobody_reads_it() {
    #[udf]
    fn total(values: &[i32], scale: i32) -> i32 {
        values.iter().sum::<i32>() * scale
    }
    let lists = [Some(vec![Some(1)]), Some(vec![]), Some(vec![Some(2), None])];
    let lists = column(ListArray::from_iter_primitive::<Int32Type, _, _>(lists));
    let (condition, text) = error(total, vec![lists.clone(), column(Int32Array::from(vec![1, 1, 1]))]);
    assert_eq!(condition, "UNREADABLE_ARGUMENT");
    assert!(text.contains("row 2: argument 1: an item of the list is null"), "{text}");
    // What lies outside of a slice is nobody's; a message would not carry it, so this is without one.
    let own: [ArrayRef; 2] = [lists.slice(0, 2), column(Int32Array::from(vec![1, 1]))];
    let totals = total::evaluate(&Rows::of(&own, 2), &NoOptions {}).expect("no item of these lists is null");
    assert_eq!(totals.as_primitive::<Int32Type>(), &Int32Array::from(vec![1, 0]));
    // The other argument is null there, so there is no call.
    let scale = Int32Array::from(vec![Some(10), None, None]);
    check(total, vec![lists, column(scale)], Int32Array::from(vec![Some(10), None, None]));
}

#[test]
fn a_null_field_names_its_row() {
    #[derive(UdfStruct)]
    struct High {
        height: i32,
    }
    #[udf]
    fn height(high: High) -> i32 {
        high.height
    }
    let heights = |nulls| {
        let field = Field::new("height", DataType::Int32, true);
        StructArray::new(vec![field].into(), vec![column(Int32Array::from(vec![Some(3), None]))], nulls)
    };
    let (_, text) = error(height, vec![column(heights(None))]);
    assert!(text.contains("row 1: argument 1: the field `height` is null"), "{text}");
    let nulls = Some(NullBuffer::from(vec![true, false]));
    check(height, vec![column(heights(nulls))], Int32Array::from(vec![Some(3), None]));
}

#[test]
fn r7_an_error_names_its_row_and_keeps_its_class() {
    #[udf]
    fn parsed(text: &str) -> Result<i32, std::num::ParseIntError> {
        text.parse()
    }
    #[udf]
    fn picky(x: i32) -> anyudf_worker::Result<Option<i32>> {
        if x < 0 { Err(anyudf_worker::Error::user("below zero").with_class("BELOW_ZERO")) } else { Ok(Some(x)) }
    }
    let texts = StringArray::from(vec![Some("1"), None, Some("x")]);
    let (condition, text) = error(parsed, vec![column(texts)]);
    assert_eq!((&*condition, &*text), ("FUNCTION_FAILED", "`parsed`, batch 1: row 2: invalid digit found in string"));
    let numbers = |values: &[i32]| RecordBatch::try_from_iter([("x", column(Int32Array::from(values.to_vec())))]);
    let batches = [numbers(&[1, 2]).expect("a batch"), numbers(&[3, -4]).expect("a batch")];
    let error = UdfTester::new(picky).run(batches).expect_err("it fails");
    assert_eq!(error.condition(), "BELOW_ZERO");
    assert_eq!(error.to_string(), "`picky`, batch 2: row 1 (row 3 of the execution): below zero");
}

#[test]
fn r14_a_panic_names_its_row() {
    #[udf]
    fn quotient(a: i32, b: i32) -> i32 {
        a / b
    }
    let columns = |b: Vec<Option<i32>>| {
        let a = column(Int32Array::from(vec![1; b.len()]));
        RecordBatch::try_from_iter_with_nullable([("a", a, true), ("b", column(Int32Array::from(b)), true)])
            .expect("a batch")
    };
    let batches = [columns(vec![Some(1); 100]), columns(vec![Some(1), None, Some(0), Some(1)])];
    let error = UdfTester::new(quotient).run(batches).expect_err("it panics");
    assert_eq!(error.condition(), "PANIC");
    let text = error.to_string();
    assert!(
        text.starts_with(
            "the function panicked in process, batch 2, row 2 (row 102 of the execution): attempt to divide by zero"
        ),
        "{text}"
    );
}

#[test]
fn on_error_null_keeps_the_other_rows() {
    #[udf(on_error = "null")]
    fn parsed(text: &str) -> Result<i32, std::num::ParseIntError> {
        text.parse()
    }
    let texts = StringArray::from(vec![Some("1"), None, Some("x"), Some("4")]);
    check(parsed, vec![column(texts)], Int32Array::from(vec![Some(1), None, None, Some(4)]));
}

/// A row whose argument has no value is a row that fails, whatever keeps it from having one.
#[test]
fn on_error_null_is_for_rows_that_cannot_be_read_too() {
    #[udf(on_error = "null")]
    fn day(date: NaiveDate, ends: Vec<i32>) -> Result<i32, String> {
        ends.first().map(|end| end + date.day() as i32).ok_or_else(|| "no end".into())
    }
    let dates = Date32Array::from(vec![Some(0), Some(i32::MAX), None, Some(1), Some(i32::MIN), Some(2), Some(3)]);
    let ends = |first: Option<i32>| Some(vec![first, Some(7)]);
    let lists = [ends(Some(10)), ends(Some(10)), ends(None), ends(None), ends(None), Some(vec![]), ends(Some(20))];
    let lists = ListArray::from_iter_primitive::<Int32Type, _, _>(lists);
    let expected = Int32Array::from(vec![Some(11), None, None, None, None, None, Some(24)]);
    check(day, vec![column(dates), column(lists)], expected);
}

fn outcomes(array: &ArrayRef) -> Vec<(Option<i32>, Option<&str>)> {
    let outcomes = array.as_struct();
    assert_eq!((outcomes.column_names(), outcomes.null_count()), (vec!["value", "error"], 0));
    let values = outcomes.column(0).as_primitive::<Int32Type>().iter();
    values.zip(outcomes.column(1).as_string::<i32>()).collect()
}

#[test]
fn r7_r14_on_error_collect_tells_errors_and_panics_beside_the_values() {
    #[udf(on_error = "collect")]
    fn share(text: &str, of: Option<i32>) -> Result<Option<i32>, Box<dyn std::error::Error + Send + Sync>> {
        let parts: i32 = text.parse()?;
        Ok(of.map(|of| of / parts))
    }
    let definition = share.into_definition();
    let declared = definition.result_schema().expect("it says").field(0).data_type().to_string();
    assert!(declared.contains("\"value\": Int32") && declared.contains("\"error\": Utf8"), "{declared}");
    let texts = StringArray::from(vec![Some("2"), Some("x"), None, Some("0"), Some("1"), Some("5")]);
    let numbers = Int32Array::from(vec![Some(8), Some(1), Some(1), Some(1), None, Some(5)]);
    let result = UdfTester::new(share).call([column(texts), column(numbers)]).expect("no row fails the others");
    let outcomes = outcomes(&result);
    assert_eq!(outcomes[..3], [(Some(4), None), (None, Some("invalid digit found in string")), (None, None)]);
    let (value, panic) = outcomes[3];
    let panic = panic.expect("an error");
    assert!(value.is_none() && panic.starts_with("the function panicked: attempt to divide by zero, at "), "{panic}");
    assert_eq!(outcomes[4..], [(None, None), (Some(1), None)]);
}

#[test]
fn on_error_collect_tells_what_cannot_be_read() {
    #[udf(on_error = "collect")]
    fn day(date: NaiveDate, list: &[i32]) -> i32 {
        date.day() as i32 + list[0]
    }
    let dates = Date32Array::from(vec![0, i32::MAX, 1, i32::MAX]);
    let lists = [Some(vec![Some(1)]), Some(vec![Some(1)]), Some(vec![Some(1), None]), Some(vec![None, None])];
    let lists = ListArray::from_iter_primitive::<Int32Type, _, _>(lists);
    let result = UdfTester::new(day).call([column(dates), column(lists)]).expect("no row fails the others");
    let (date, item) = ("argument 1: the date is out of range", "argument 2: an item of the list is null");
    let outcomes = outcomes(&result);
    assert_eq!(outcomes[0], (Some(2), None));
    assert_eq!(outcomes[1], (None, Some(date)));
    assert!(outcomes[2].1.is_some_and(|text| text.starts_with(item)), "{outcomes:?}");
    assert_eq!(outcomes[3], (None, Some(date)));
}

/// R12: who was cancelled is not a row that fails.
#[test]
fn r12_on_error_collect_collects_no_cancellation() {
    #[udf(on_error = "collect")]
    fn waits(x: i32) -> anyudf_worker::Result<i32> {
        if x > 1 { Err(anyudf_worker::Error::cancelled()) } else { Ok(x) }
    }
    let numbers: [ArrayRef; 1] = [column(Int32Array::from(vec![1, 2]))];
    let error = waits::evaluate(&Rows::of(&numbers, 2), &NoOptions {}).expect_err("it was cancelled");
    assert_eq!(error.kind(), anyudf_worker::ErrorKind::Cancelled);
}
