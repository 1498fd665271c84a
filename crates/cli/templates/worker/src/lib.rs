//! Functions that any engine of Spark's UDF protocol can call, and the command line of anyudf.

use anyudf::prelude::*;

/// Degrees Celsius in degrees Fahrenheit.
#[udf(volatility = "immutable", example(100.0 => 212.0))]
pub fn fahrenheit(celsius: f64) -> f64 {
    celsius * 1.8 + 32.0
}

/// How often a word is in a text. No text, no number: null in gives null out.
#[udf(volatility = "immutable", example("a b a", "a" => 2), example("a", "" => Err("an empty word")))]
pub fn occurrences(text: &str, word: &str) -> Result<i64, String> {
    if word.is_empty() {
        return Err("an empty word is everywhere; give one with letters".into());
    }
    Ok(text.matches(word).count() as i64)
}

/// All that this worker offers.
pub fn worker() -> Worker {
    Worker::new().with(fahrenheit).with(occurrences)
}

#[cfg(test)]
mod tests {
    use anyudf::worker::arrow::array::{Array, AsArray, Float64Array, StringArray};
    use anyudf::worker::arrow::datatypes::Float64Type;

    use super::*;

    /// A function is a function, and does to columns what a worker does. Its examples are tests too.
    #[test]
    fn a_column_of_temperatures() {
        assert_eq!(fahrenheit(0.0), 32.0);
        let column = Float64Array::from(vec![Some(0.0), None]);
        let result = UdfTester::new(fahrenheit).call([column]).expect("it runs");
        assert_eq!(result.as_primitive::<Float64Type>(), &Float64Array::from(vec![Some(32.0), None]));
    }

    #[test]
    fn a_bad_row_is_named() {
        let (texts, words) = (StringArray::from(vec!["a b a", "a"]), StringArray::from(vec!["a", ""]));
        let error = UdfTester::new(occurrences).call([texts, words]).expect_err("one word is empty");
        assert!(error.to_string().contains("row 1: an empty word"), "{error}");
    }

    #[test]
    fn nothing_is_lost() {
        let texts = StringArray::from(vec!["a b a", "b"]);
        let counts = UdfTester::new(occurrences).call([texts.clone(), StringArray::from(vec!["a"; texts.len()])]);
        assert_eq!(counts.expect("it runs").len(), 2);
    }
}
