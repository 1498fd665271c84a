//! Whatever the batch, its nulls and where it was cut: `#[udf]` gives what a loop by hand gives.

use std::sync::Arc;

use anyudf_worker::rows::{NoOptions, Rows, ScalarFunction};
use anyudf_worker::{UdfTester, udf};
use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Date32Array, Float64Array, Int32Array, ListArray, StringArray,
    StringViewArray,
};
use arrow::datatypes::{Float64Type, Int32Type};
use chrono::{NaiveDate, TimeDelta};
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;

#[udf]
fn scaled(x: i32, factor: f64) -> f64 {
    f64::from(x) * factor
}

#[udf]
fn labelled(text: &str, number: Option<i32>, is_on: bool) -> Option<String> {
    is_on.then(|| format!("{text}{}", number.unwrap_or(-1)))
}

#[udf]
fn is_longer(text: &str, than: i32) -> bool {
    text.len() as i64 > i64::from(than)
}

#[udf]
fn summed(numbers: Vec<Option<i32>>, first: i32) -> Result<i32, String> {
    numbers.into_iter().flatten().try_fold(first, i32::checked_add).ok_or_else(|| "too large".into())
}

#[udf(on_error = "collect")]
fn later(date: NaiveDate, days: i32, items: Option<Vec<i32>>) -> Result<Option<i32>, String> {
    let days = days.checked_add(items.map_or(0, |items| items.iter().sum())).ok_or("too late")?;
    Ok(date.checked_add_signed(TimeDelta::days(days.into())).map(|date| date.to_epoch_days()))
}

#[udf(on_error = "null")]
fn later_or_null(date: NaiveDate, days: i32, items: Option<Vec<i32>>) -> Result<Option<i32>, String> {
    later(date, days, items)
}

#[udf]
fn total(first: f64, #[variadic] numbers: Vec<Option<i32>>) -> f64 {
    first + numbers.into_iter().flatten().map(i64::from).sum::<i64>() as f64
}

/// The rows of a batch, and which of them are left when it is cut.
#[derive(Clone, Debug)]
struct Case {
    numbers: Vec<Option<i32>>,
    factors: Vec<Option<f64>>,
    texts: Vec<Option<String>>,
    switches: Vec<Option<bool>>,
    lists: Vec<Option<Vec<Option<i32>>>>,
    from: usize,
    len: usize,
}

impl Case {
    fn any() -> impl Strategy<Value = Case> {
        (0_usize..300).prop_flat_map(|rows| {
            let columns = (
                vec(of(any::<i32>()), rows),
                vec(of(any::<f64>().prop_filter("a number equals itself", |x| !x.is_nan())), rows),
                vec(of(".{0,12}"), rows),
                vec(of(any::<bool>()), rows),
                vec(of(vec(of(-1_000_i32..1_000), 0..5)), rows),
            );
            let cut = (0..=rows).prop_flat_map(move |from| (Just(from), 0..=rows - from));
            (columns, cut).prop_map(|((numbers, factors, texts, switches, lists), (from, len))| Case {
                numbers,
                factors,
                texts,
                switches,
                lists,
                from,
                len,
            })
        })
    }

    fn cut(&self, array: impl Array + 'static) -> ArrayRef {
        Arc::new(array).slice(self.from, self.len)
    }

    fn numbers(&self) -> ArrayRef {
        self.cut(Int32Array::from(self.numbers.clone()))
    }

    fn rows(&self) -> std::ops::Range<usize> {
        self.from..self.from + self.len
    }
}

/// In this process, and with all that a worker does before and after.
fn both_ways<F: ScalarFunction<Options = NoOptions> + anyudf_worker::IntoDefinition>(
    function: F,
    columns: &[ArrayRef],
) -> ArrayRef {
    let rows = columns[0].len();
    let bare = F::evaluate(&Rows::of(columns, rows), &NoOptions {}).expect("it runs");
    bare.to_data().validate_full().expect("a valid array");
    let tested = UdfTester::new(function).call(columns.to_vec()).expect("it runs");
    assert_eq!(&bare, &tested);
    bare
}

proptest! {
    #[test]
    fn numbers(case in Case::any()) {
        let factors = case.cut(Float64Array::from(case.factors.clone()));
        let result = both_ways(scaled, &[case.numbers(), factors]);
        let expected: Float64Array =
            case.rows().map(|row| Some(f64::from(case.numbers[row]?) * case.factors[row]?)).collect();
        // A factor may be infinite, and zero times that is not a number.
        let bits = |array: &Float64Array| array.iter().map(|x| x.map(f64::to_bits)).collect::<Vec<_>>();
        prop_assert_eq!(bits(result.as_primitive::<Float64Type>()), bits(&expected));
    }

    #[test]
    fn text_options_and_bools(case in Case::any()) {
        let switches = case.cut(BooleanArray::from(case.switches.clone()));
        let expected: StringArray = case
            .rows()
            .map(|row| {
                let text = case.texts[row].as_ref()?;
                case.switches[row]?.then(|| format!("{text}{}", case.numbers[row].unwrap_or(-1)))
            })
            .collect();
        for texts in [
            case.cut(StringArray::from(case.texts.clone())),
            case.cut(StringViewArray::from_iter(case.texts.iter().map(Option::as_deref))),
        ] {
            let result = both_ways(labelled, &[texts, case.numbers(), Arc::clone(&switches)]);
            prop_assert_eq!(result.as_string::<i32>(), &expected);
        }
    }

    #[test]
    fn bools_out(case in Case::any()) {
        let texts = case.cut(StringArray::from(case.texts.clone()));
        let result = both_ways(is_longer, &[texts, case.numbers()]);
        let expected: BooleanArray = case
            .rows()
            .map(|row| Some(case.texts[row].as_ref()?.len() as i64 > i64::from(case.numbers[row]?)))
            .collect();
        prop_assert_eq!(result.as_boolean(), &expected);
    }

    /// What can't be read, what fails, what is null and what is right, in any order.
    #[test]
    fn each_row_by_itself(case in Case::any()) {
        let dates = case.cut(Date32Array::from(case.numbers.iter().rev().copied().collect::<Vec<_>>()));
        let lists = case.cut(ListArray::from_iter_primitive::<Int32Type, _, _>(case.lists.clone()));
        let expected = |row: usize| {
            let (days, date) = (case.numbers[row]?, case.numbers.iter().rev().nth(row).copied().flatten()?);
            let Some(date) = NaiveDate::from_epoch_days(date) else { return Some(Err("the date is out of range")) };
            let items = case.lists[row].as_ref();
            if items.is_some_and(|items| items.contains(&None)) {
                return Some(Err("is null, which the function does not take"));
            }
            let items = items.map(|items| items.iter().flatten().copied().collect());
            Some(later(date, days, items).map_err(|_| "too late"))
        };
        let columns = [dates, case.numbers(), lists];
        let result = both_ways(later, &columns);
        let outcomes = result.as_struct();
        prop_assert_eq!(outcomes.null_count(), 0);
        let values: Int32Array = case.rows().map(|row| expected(row)?.ok()?).collect();
        prop_assert_eq!(outcomes.column(0).as_primitive::<Int32Type>(), &values);
        for (row, error) in case.rows().zip(outcomes.column(1).as_string::<i32>()) {
            match expected(row) {
                Some(Err(text)) => prop_assert!(error.is_some_and(|error| error.contains(text)), "{error:?}: {text}"),
                _ => prop_assert_eq!(error, None),
            }
        }
        let result = both_ways(later_or_null, &columns);
        prop_assert_eq!(result.as_primitive::<Int32Type>(), &values);
    }

    #[test]
    fn many_columns(case in Case::any(), count in 0_usize..4) {
        let factors = case.cut(Float64Array::from(case.factors.clone()));
        let columns = [vec![factors], vec![case.numbers(); count]].concat();
        let result = UdfTester::new(total).call(columns).expect("it runs");
        let expected: Float64Array = case
            .rows()
            .map(|row| Some(case.factors[row]? + (count as i64 * i64::from(case.numbers[row].unwrap_or(0))) as f64))
            .collect();
        let bits = |array: &Float64Array| array.iter().map(|x| x.map(f64::to_bits)).collect::<Vec<_>>();
        prop_assert_eq!(bits(result.as_primitive::<Float64Type>()), bits(&expected));
    }

    #[test]
    fn lists_and_errors(case in Case::any()) {
        let lists = case.cut(ListArray::from_iter_primitive::<Int32Type, _, _>(case.lists.clone()));
        let sum = |row: usize| {
            let items = case.lists[row].as_ref().zip(case.numbers[row]);
            items.map(|(items, first)| items.iter().flatten().try_fold(first, |sum, item| sum.checked_add(*item)))
        };
        let columns = [lists, case.numbers()];
        let first_bad = case.rows().position(|row| sum(row) == Some(None));
        match first_bad {
            None => {
                let expected: Int32Array = case.rows().map(|row| sum(row).flatten()).collect();
                let result = both_ways(summed, &columns);
                prop_assert_eq!(result.as_primitive::<Int32Type>(), &expected);
            }
            Some(row) => {
                let error = UdfTester::new(summed).call(columns).expect_err("it overflows");
                prop_assert_eq!(error.to_string(), format!("`summed`, batch 1: row {row}: too large"));
            }
        }
    }
}
