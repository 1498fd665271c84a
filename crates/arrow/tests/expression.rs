//! Constants of every type: through a payload, and as columns.

mod support;

use anyudf_arrow::expression::{Argument, Call, Constants, Expression};
use arrow_array::Array;
use arrow_schema::{DataType, Field};
use support::*;

fn send(values: &[arrow_array::ArrayRef]) -> Result<Expression, anyudf_arrow::Error> {
    let mut expression = Expression::new();
    for value in values {
        expression.constant(Field::new("x", value.data_type().clone(), true), value.clone())?;
    }
    let call = expression.call(Call::new("f", (0..values.len()).map(Argument::Constant)))?;
    expression.result(call)?;
    let decoded = Expression::decode(&expression.encode()?)?;
    assert_eq!(decoded, expression);
    Ok(decoded)
}

/// C9: constants of every type arrive, alone and beside others, and can be repeated; run-end encoded ones are refused.
#[test]
fn c9_constants_of_every_type() {
    let mut all = Vec::new();
    for (seed, data_type) in flat_types().into_iter().chain(nested_types()).enumerate() {
        let value = Random(seed as u64).array(&data_type, 1, true);
        if format!("{data_type:?}").contains("RunEndEncoded") {
            assert_eq!(send(&[value]).unwrap_err().condition(), "INVALID_PAYLOAD");
            continue;
        }
        all.push(value.clone());
        let mut constants = Constants::of(&send(std::slice::from_ref(&value)).unwrap());
        for rows in [3, 0, 1, 2, 7, 5] {
            let column = constants.column(0, rows).unwrap();
            column.to_data().validate_full().unwrap_or_else(|error| panic!("{data_type}: {error}"));
            assert_eq!((column.len(), column.data_type()), (rows, &data_type));
            (0..rows).for_each(|row| assert_eq!(&column.slice(row, 1), &value, "{data_type}"));
        }
    }
    let decoded = send(&all).unwrap();
    assert_eq!(decoded.constants(), all);
    assert!(matches!(decoded.constant_fields()[0].data_type(), DataType::Null));
}

/// C10: constants that somebody has tampered with are refused, or are values all the same; nothing panics.
#[test]
fn c10_hostile_constants_are_refused_or_taken() {
    let mut random = Random(7);
    let mut taken = 0;
    for (seed, data_type) in flat_types().into_iter().chain(nested_types()).enumerate() {
        let mut expression = Expression::new();
        let value = Random(seed as u64).array(&data_type, 1, true);
        let Ok(constant) = expression.constant(Field::new("x", data_type.clone(), true), value) else { continue };
        let call = expression.call(Call::new("f", [Argument::Constant(constant)])).unwrap();
        expression.result(call).unwrap();
        let payload = expression.encode().unwrap();
        for _ in 0..200 {
            let mut bytes = payload.to_vec();
            let constants = bytes.iter().rposition(|byte| *byte == b':').unwrap() + 2;
            for _ in 0..=random.below(2) {
                let place = constants + random.below(bytes.len() - constants - 2);
                bytes[place] = b"ABCDEFgh/+"[random.below(10)];
            }
            let decoded = match Expression::decode(&bytes) {
                Ok(decoded) => decoded,
                Err(error) => {
                    assert_eq!(error.condition(), "INVALID_PAYLOAD");
                    assert!(!error.to_string().contains("the arrow library gave up"), "{data_type}: {error}");
                    continue;
                }
            };
            taken += 1;
            let mut constants = Constants::of(&decoded);
            let rows = constants.rows_at_once().min(9);
            let column = constants.column(0, rows).unwrap();
            column.to_data().validate_full().unwrap_or_else(|error| panic!("{data_type}: {error}"));
            assert_eq!(column.len(), rows);
        }
    }
    assert!(taken > 100, "only {taken} were taken");
}
