//! What the sessions of a run announce to return (C9). Their rows are written under one schema, so it must be the same.

use arrow::datatypes::{FieldRef, Schema};

use crate::failure::{Failure, Result};

/// Checks that two sessions of a function announced the same columns.
///
/// # Errors
/// They have other names or types, or nulls in only one; says both.
pub(super) fn check_same(function: &str, one: &Schema, other: &Schema) -> Result {
    let is_same = |(one, other): (&FieldRef, &FieldRef)| {
        (one.name(), one.data_type(), one.is_nullable()) == (other.name(), other.data_type(), other.is_nullable())
    };
    let (ours, theirs) = (one.fields(), other.fields());
    if ours.len() == theirs.len() && ours.iter().zip(theirs).all(is_same) {
        return Ok(());
    }
    Err(Failure::failed(format_args!(
        "function `{function}` announced {} in one session and {} in another, and rows of both can't be in one result (C9); \
         its worker must always return the same columns for the same arguments, or try --jobs 1 without --repeatable",
        columns(one),
        columns(other),
    )))
}

fn columns(schema: &Schema) -> String {
    let column = |field: &FieldRef| {
        let nulls = if field.is_nullable() { "" } else { " not null" };
        format!("{} {}{nulls}", field.name(), field.data_type())
    };
    format!("({})", schema.fields().iter().map(column).collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use arrow::datatypes::{DataType, Field};

    use super::*;

    #[test]
    fn names_types_and_nulls_are_the_same_and_metadata_may_differ() {
        let field = Field::new("n", DataType::Int64, true);
        let schema = |field: &Field| Schema::new(vec![field.clone()]);
        let check = |other: &Field| check_same("f", &schema(&field), &schema(other));
        assert!(check(&field.clone().with_metadata(HashMap::from([("k".into(), "v".into())]))).is_ok());
        for (other, shown) in [
            (field.clone().with_name("m"), "(m Int64)"),
            (field.clone().with_data_type(DataType::Utf8), "(n Utf8)"),
            (field.clone().with_nullable(false), "(n Int64 not null)"),
        ] {
            let Err(Failure::Failed(error)) = check(&other) else { panic!("{other} is another column") };
            let text = format!("function `f` announced (n Int64) in one session and {shown} in another");
            assert!(error.to_string().starts_with(&text), "{error}");
        }
    }
}
