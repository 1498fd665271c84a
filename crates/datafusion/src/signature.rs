//! A function's arguments as its catalog tells them, against what a query gives.

use std::fmt;

use anyudf_arrow::catalog::{DEFAULT, Entry, VARIADIC, arguments_for, arity, takes};
use anyudf_engine::ErrorKind;
use arrow_schema::{DataType, FieldRef, Schema};
use datafusion::arrow::compute::can_cast_types;

use crate::error::Error;

/// A function as people read it: `distance_miles(lat1 Float64, …) -> Float64`.
pub(crate) struct Shown<'a> {
    pub(crate) name: &'a str,
    pub(crate) entry: &'a Entry,
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (arguments, result)) in self.entry.signatures().enumerate() {
            let arguments = arguments.map_or_else(|| "…".into(), |arguments| list(arguments));
            let or = if place == 0 { "" } else { " or " };
            write!(f, "{or}{}({arguments})", self.name)?;
            match result {
                Some(result) if result.fields().len() == 1 => write!(f, " -> {}", result.field(0).data_type())?,
                Some(result) => write!(f, " -> ({})", list(result))?,
                None => {}
            }
        }
        Ok(())
    }
}

fn list(schema: &Schema) -> String {
    let field = |field: &FieldRef| {
        let default = field.metadata().get(DEFAULT).map_or(String::new(), |default| format!(" = {default}"));
        let many = if field.metadata().contains_key(VARIADIC) { "…" } else { "" };
        format!("{} {}{many}{default}", field.name(), field.data_type())
    };
    schema.fields().iter().map(field).collect::<Vec<_>>().join(", ")
}

/// The types that arguments of these types are cast to: those of the first signature that takes them as they are, or else of the
/// first that they become by themselves.
///
/// # Errors
/// `WRONG_ARGUMENTS`: too many, too few, or one that does not become what the function takes by itself; says the signature.
pub(crate) fn coerce(name: &str, entry: &Entry, given: &[DataType]) -> Result<Vec<DataType>, Error> {
    let (meant, _) = entry.signature_for(given);
    for arguments in std::iter::once(meant).chain(entry.signatures().map(|(arguments, _)| arguments)) {
        let Some(arguments) = arguments else { return Ok(given.to_vec()) };
        let Some(wanted) = arguments_for(arguments, given.len()) else { continue };
        let cast = |(wanted, given): (&&FieldRef, &DataType)| match takes(wanted, given) {
            true => Some(given.clone()),
            false => is_implicit(given, wanted.data_type()).then(|| wanted.data_type().clone()),
        };
        if let Some(types) = wanted.iter().zip(given).map(cast).collect() {
            return Ok(types);
        }
    }
    Err(refusal(name, entry, given))
}

/// What is wrong with arguments of these types, by the first signature.
fn refusal(name: &str, entry: &Entry, given: &[DataType]) -> Error {
    let wrong = |text| Error::new(ErrorKind::Misuse, "WRONG_ARGUMENTS", text);
    let (arguments, shown) = (entry.arguments.as_deref().cloned().unwrap_or_else(Schema::empty), Shown { name, entry });
    let Some(wanted) = arguments_for(&arguments, given.len()) else {
        let taken = arity(&arguments);
        let given = if given.len() == 1 { "1 is".into() } else { format!("{} are", given.len()) };
        return wrong(format!("`{name}` takes {taken}, and {given} given; it is {shown}"));
    };
    let misfit = wanted
        .iter()
        .zip(given)
        .enumerate()
        .find(|(_, (wanted, given))| !takes(wanted, given) && !is_implicit(given, wanted.data_type()));
    match misfit {
        Some((place, (wanted, given))) => {
            let (place, argument, data_type) = (place + 1, wanted.name(), wanted.data_type());
            wrong(format!(
                "argument {place} (`{argument}`) of `{name}` is {data_type}, and {given} does not become that by itself; cast \
                 it, as with arrow_cast(…, '{data_type}'). It is {shown}"
            ))
        }
        None => wrong(format!("`{name}` does not take these arguments; it is {shown}")),
    }
}

/// Whether a query may give one type where the other is wanted, as with DataFusion's own functions: numbers widen, everything
/// becomes text; and what SQL's literals can't do without, which are Int64, Float64 and text: integers become narrower ones,
/// checked as they are cast, floats are rounded, and text is read as dates and times.
fn is_implicit(from: &DataType, to: &DataType) -> bool {
    use DataType::*;
    if from.equals_datatype(to) {
        return true;
    }
    match (from, to) {
        (Null, _) => true,
        (Dictionary(_, values), _) => is_implicit(values, to),
        (RunEndEncoded(_, values), _) => is_implicit(values.data_type(), to),
        (from, to) if from.is_integer() && to.is_integer() => true,
        (from, to) if is_number(from) && (to.is_floating() || is_decimal(to)) => {
            // A float becomes no decimal: what it would be rounded to is for the query to say.
            to.is_floating() || !from.is_floating()
        }
        // As DataFusion's own functions have it, everything is text if need be.
        (from, Utf8 | LargeUtf8 | Utf8View) => can_cast_types(from, to),
        (Utf8 | LargeUtf8 | Utf8View, Date32 | Date64 | Timestamp(..) | Time32(_) | Time64(_)) => true,
        (Date32 | Date64, Date32 | Date64 | Timestamp(..)) => true,
        (Timestamp(..), Timestamp(..)) => true,
        (Time32(_) | Time64(_), Time32(_) | Time64(_)) => true,
        (Duration(_), Duration(_)) | (Interval(_), Interval(_)) => true,
        (Binary | LargeBinary | BinaryView | FixedSizeBinary(_), Binary | LargeBinary | BinaryView) => true,
        (List(from) | LargeList(from) | FixedSizeList(from, _), List(to) | LargeList(to)) => {
            is_implicit(from.data_type(), to.data_type())
        }
        _ => false,
    }
}

fn is_number(data_type: &DataType) -> bool {
    data_type.is_integer() || data_type.is_floating() || is_decimal(data_type)
}

fn is_decimal(data_type: &DataType) -> bool {
    use DataType::*;
    matches!(data_type, Decimal32(..) | Decimal64(..) | Decimal128(..) | Decimal256(..))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use anyudf_arrow::catalog::Kind;
    use arrow_schema::{Field, TimeUnit};

    use super::*;

    fn entry(arguments: &[(&str, DataType)]) -> Entry {
        let fields = arguments.iter().map(|(name, data_type)| Field::new(*name, data_type.clone(), true));
        let mut entry = Entry::new("f", Kind::Scalar);
        entry.arguments = Some(Arc::new(Schema::new(fields.collect::<Vec<_>>())));
        entry.result = Some(Arc::new(Schema::new(vec![Field::new("f", DataType::Utf8, true)])));
        entry
    }

    #[test]
    fn arguments_become_what_the_function_takes() {
        use DataType::*;
        let seconds = Timestamp(TimeUnit::Second, Some("UTC".into()));
        for (given, wanted) in [
            (Int64, Float64),
            (Int64, Int32),
            (UInt64, Int64),
            (Float64, Float32),
            (Int32, Decimal128(10, 2)),
            (Null, Date32),
            (Utf8View, Utf8),
            (Utf8, Date32),
            (Utf8, seconds.clone()),
            (Timestamp(TimeUnit::Nanosecond, None), seconds),
            (Dictionary(Box::new(Int32), Box::new(Utf8)), Utf8View),
            (Date32, Timestamp(TimeUnit::Millisecond, None)),
        ] {
            let coerced = coerce("f", &entry(&[("x", wanted.clone())]), std::slice::from_ref(&given));
            assert_eq!(coerced.expect("it does"), [wanted], "{given}");
        }
        for (given, wanted) in [(Utf8, Float64), (Float64, Int64), (Boolean, Int32), (Float32, Decimal128(9, 1))] {
            assert!(
                coerce("f", &entry(&[("x", wanted.clone())]), std::slice::from_ref(&given)).is_err(),
                "{given} {wanted}"
            );
        }
    }

    #[test]
    fn what_does_not_fit_is_said_with_the_signature() {
        let entry = entry(&[("x", DataType::Float64), ("y", DataType::Int32)]);
        let refusal = |given: &[DataType]| coerce("f", &entry, given).expect_err("it does not fit").to_string();
        let text = refusal(&[DataType::Float64]);
        assert!(text == "`f` takes 2 arguments, and 1 is given; it is f(x Float64, y Int32) -> Utf8", "{text}");
        let text = refusal(&[DataType::Float64, DataType::Utf8]);
        assert!(text.contains("argument 2 (`y`) of `f` is Int32, and Utf8 does not become that by itself"), "{text}");
    }

    #[test]
    fn arguments_may_be_left_out_or_many_and_signatures_several() {
        let field = |name: &str, data_type: DataType, key: &str| {
            Field::new(name, data_type, true).with_metadata([(key.to_owned(), "true".to_owned())].into())
        };
        let mut entry = entry(&[]);
        let x = Field::new("x", DataType::Float64, true);
        entry.arguments = Some(Arc::new(Schema::new(vec![x.clone(), field("digits", DataType::Int32, DEFAULT)])));
        assert_eq!(coerce("f", &entry, &[DataType::Int8]).expect("the default"), [DataType::Float64]);
        let both = coerce("f", &entry, &[DataType::Int8, DataType::Int64]).expect("both");
        assert_eq!(both, [DataType::Float64, DataType::Int32]);
        let text = coerce("f", &entry, &[]).expect_err("too few").to_string();
        assert_eq!(
            text,
            "`f` takes 1 to 2 arguments, and 0 are given; it is f(x Float64, digits Int32 = true) -> Utf8"
        );
        entry.arguments = Some(Arc::new(Schema::new(vec![field("x", DataType::Float64, VARIADIC)])));
        let many = coerce("f", &entry, &[DataType::Int8, DataType::Float64, DataType::Float32]).expect("many");
        assert_eq!(many, [DataType::Float64, DataType::Float64, DataType::Float64]);
        entry.arguments = Some(Arc::new(Schema::new(vec![x])));
        let arguments = Arc::new(Schema::new(vec![Field::new("x", DataType::Int64, true)]));
        let result = Arc::new(Schema::new(vec![Field::new("f", DataType::Int64, true)]));
        entry.overloads.push(anyudf_arrow::catalog::Overload { arguments, result });
        for (given, wanted) in [(DataType::Int64, DataType::Int64), (DataType::Int32, DataType::Float64)] {
            assert_eq!(coerce("f", &entry, &[given]).expect("one of the two"), [wanted]);
        }
    }
}
