//! Bytes of a peer as the payload of an expression (R18, C10): nothing panics, repeated constants stay small, and what is
//! taken can be sent again and comes back equal.
#![no_main]

use anyudf_arrow::expression::{Constants, Expression};
use libfuzzer_sys::fuzz_target;

fuzz_target!(init: anyudf_fuzz::seed("expression"), |bytes: &[u8]| {
    let expression = match Expression::decode(bytes) {
        Ok(expression) => expression,
        // The net below the checks caught something: the checks have a hole.
        Err(error) => return assert!(!error.to_string().contains("the arrow library gave up"), "{error}"),
    };
    let mut constants = Constants::of(&expression);
    let rows = constants.rows_at_once().min(100);
    for (number, value) in expression.constants().iter().enumerate() {
        let column = constants.column(number, rows).expect("a constant can be repeated");
        column.to_data().validate_full().expect("what is repeated is valid");
        assert_eq!((column.len(), column.data_type()), (rows, value.data_type()));
    }
    let payload = expression.encode().expect("what was read can be written");
    let again = Expression::decode(&payload).expect("our own payload");
    assert_eq!((again.calls(), again.results()), (expression.calls(), expression.results()));
    assert_eq!(again.constants().len(), expression.constants().len());
});
