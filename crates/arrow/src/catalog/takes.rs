//! Which columns a function takes for an argument.

use std::fmt;

use arrow_schema::{DataType, Field, FieldRef, Schema};

/// The key in the metadata of an argument's field which says that columns of alike types are taken too. Its value is
/// `true`.
pub const TAKES_ALIKE: &str = "anyudf.takes_alike";

/// The key in the metadata of an argument's field which says that callers may leave the argument out, with all behind it.
/// Its value is what the function takes instead, a literal in JSON such as `2` or `"km"`.
pub const DEFAULT: &str = "anyudf.default";

/// The key in the metadata of the last argument's field which says that it takes any number of columns of its type, none
/// among them. Its value is `true`.
pub const VARIADIC: &str = "anyudf.variadic";

/// For which argument each of so many columns is; `None` when a function of these arguments does not take so many.
///
/// ```
/// use anyudf_arrow::catalog::{DEFAULT, arguments_for};
/// use arrow_schema::{DataType, Field, Schema};
///
/// let digits = Field::new("digits", DataType::Int32, true).with_metadata([(DEFAULT.into(), "2".into())].into());
/// let round = Schema::new(vec![Field::new("x", DataType::Float64, true), digits]);
/// let names = |columns| Some(arguments_for(&round, columns)?.iter().map(|field| &**field.name()).collect::<Vec<_>>());
/// assert_eq!(names(1), Some(vec!["x"]));
/// assert_eq!(names(2), Some(vec!["x", "digits"]));
/// assert_eq!((names(0), names(3)), (None, None));
/// ```
pub fn arguments_for(arguments: &Schema, columns: usize) -> Option<Vec<&FieldRef>> {
    let Arity { least, most } = arity(arguments);
    let last = || arguments.fields().last().into_iter().cycle();
    let fields = arguments.fields().iter().chain(last()).take(columns);
    (least <= columns && most.is_none_or(|most| columns <= most)).then(|| fields.collect())
}

/// How many columns a function of these arguments takes.
pub fn arity(arguments: &Schema) -> Arity {
    let fields = arguments.fields();
    let is_variadic = |field: &FieldRef| field.metadata().get(VARIADIC).is_some_and(|value| value == "true");
    let single = fields.len() - usize::from(fields.last().is_some_and(is_variadic));
    let needed = fields[..single].iter().rposition(|field| !field.metadata().contains_key(DEFAULT));
    Arity { least: needed.map_or(0, |last| last + 1), most: (single == fields.len()).then_some(single) }
}

/// How many columns a function takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Arity {
    /// Those without a default.
    pub least: usize,
    /// All of them; `None` when the last one takes any number.
    pub most: Option<usize>,
}

impl fmt::Display for Arity {
    /// `1 argument`, `2 to 3 arguments`, `at least 1 argument`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Arity { least, most } = *self;
        let count = match most {
            None => {
                f.write_str("at least ")?;
                least
            }
            Some(most) if least < most => {
                write!(f, "{least} to ")?;
                most
            }
            Some(_) => least,
        };
        write!(f, "{count} argument{}", if count == 1 { "" } else { "s" })
    }
}

/// Whether a function takes a column of type `given` for `argument` as it is: it is of the argument's type; or the field
/// has [`TAKES_ALIKE`], and both are text (Utf8, LargeUtf8, Utf8View), both are bytes (Binary, LargeBinary, BinaryView),
/// both are timestamps of whatever unit, both with a time zone, whichever, or both without, or both are the same lists or
/// structs, but for items that are never null where they might be.
///
/// ```
/// use anyudf_arrow::catalog::{TAKES_ALIKE, takes};
/// use arrow_schema::{DataType, Field};
///
/// let text = Field::new("text", DataType::Utf8, true);
/// assert!(!takes(&text, &DataType::Utf8View));
/// let text = text.with_metadata([(TAKES_ALIKE.into(), "true".into())].into());
/// assert!(takes(&text, &DataType::Utf8View));
/// assert!(!takes(&text, &DataType::Binary));
/// ```
pub fn takes(argument: &Field, given: &DataType) -> bool {
    use DataType::{Binary, BinaryView, LargeBinary, LargeUtf8, Timestamp, Utf8, Utf8View};
    let wanted = argument.data_type();
    if same(wanted, given) {
        return true;
    }
    let alike = match (wanted, given) {
        (Utf8 | LargeUtf8 | Utf8View, Utf8 | LargeUtf8 | Utf8View) => true,
        (Binary | LargeBinary | BinaryView, Binary | LargeBinary | BinaryView) => true,
        (Timestamp(_, wanted), Timestamp(_, given)) => wanted.is_some() == given.is_some(),
        _ => fits(wanted, given),
    };
    alike && argument.metadata().get(TAKES_ALIKE).is_some_and(|value| value == "true")
}

/// Whether two types are equal, fields of structs by name as well: read by place, others would be mistaken for each other.
fn same(wanted: &DataType, given: &DataType) -> bool {
    use DataType::{FixedSizeList, LargeList, LargeListView, List, ListView, Map, Struct};
    let items = |wanted: &FieldRef, given: &FieldRef| same(wanted.data_type(), given.data_type());
    wanted.equals_datatype(given)
        && match (wanted, given) {
            (Struct(wanted), Struct(given)) => {
                wanted.iter().zip(given).all(|(wanted, given)| wanted.name() == given.name() && items(wanted, given))
            }
            (List(wanted), List(given))
            | (LargeList(wanted), LargeList(given))
            | (ListView(wanted), ListView(given))
            | (LargeListView(wanted), LargeListView(given))
            | (FixedSizeList(wanted, _), FixedSizeList(given, _)) => items(wanted, given),
            // The names of a map's parts mean nothing.
            (Map(wanted, _), Map(given, _)) => match (wanted.data_type(), given.data_type()) {
                (Struct(wanted), Struct(given)) => wanted.iter().zip(given).all(|(wanted, given)| items(wanted, given)),
                _ => false,
            },
            _ => true,
        }
}

/// Whether a nested type differs only in that its items are never null where they might be.
fn fits(wanted: &DataType, given: &DataType) -> bool {
    use DataType::{List, Struct};
    let field = |(wanted, given): (&FieldRef, &FieldRef)| {
        wanted.is_nullable() >= given.is_nullable()
            && (same(wanted.data_type(), given.data_type()) || fits(wanted.data_type(), given.data_type()))
    };
    match (wanted, given) {
        (List(wanted), List(given)) => field((wanted, given)),
        (Struct(wanted), Struct(given)) => {
            wanted.len() == given.len() && wanted.iter().zip(given).all(|(a, b)| a.name() == b.name() && field((a, b)))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_structs_are_told_by_their_names() {
        let point = |names: [&str; 2]| {
            DataType::Struct(names.map(|name| Field::new(name, DataType::Float64, true)).into_iter().collect())
        };
        let wanted = |data_type| Field::new("x", data_type, true);
        assert!(takes(&wanted(point(["lat", "lon"])), &point(["lat", "lon"])));
        assert!(!takes(&wanted(point(["lat", "lon"])), &point(["lon", "lat"])), "they would be swapped");
        let list = |item| DataType::new_list(item, true);
        assert!(!takes(&wanted(list(point(["lat", "lon"]))), &list(point(["lon", "lat"]))));
    }

    #[test]
    fn arguments_may_be_left_out_at_the_end_and_be_many() {
        let field = |name: &str, keys: &[&str]| {
            let value = |key: &str| (key.to_owned(), if key == DEFAULT { "2" } else { "true" }.to_owned());
            Field::new(name, DataType::Int32, true).with_metadata(keys.iter().map(|key| value(key)).collect())
        };
        let taken = |fields: Vec<Field>| {
            let schema = Schema::new(fields);
            let names =
                |columns| Some(arguments_for(&schema, columns)?.iter().map(|f| f.name().as_str()).collect::<String>());
            (0..5).map(|columns| names(columns).unwrap_or("-".into())).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(taken(vec![]), " - - - -");
        assert_eq!(taken(vec![field("a", &[]), field("b", &[])]), "- - ab - -");
        assert_eq!(taken(vec![field("a", &[]), field("b", &[DEFAULT]), field("c", &[DEFAULT])]), "- a ab abc -");
        assert_eq!(taken(vec![field("a", &[DEFAULT]), field("b", &[])]), "- - ab - -", "not only at the end");
        assert_eq!(taken(vec![field("a", &[]), field("b", &[VARIADIC])]), "- a ab abb abbb");
        assert_eq!(taken(vec![field("a", &[DEFAULT]), field("b", &[VARIADIC])]), " a ab abb abbb");
    }

    #[test]
    fn items_may_be_less_often_null() {
        let list = |nullable| DataType::new_list(DataType::Int32, nullable);
        let wanted = |data_type, alike: bool| {
            let metadata = alike.then(|| (TAKES_ALIKE.to_owned(), "true".to_owned()));
            Field::new("x", data_type, true).with_metadata(metadata.into_iter().collect())
        };
        assert!(takes(&wanted(list(true), true), &list(false)));
        assert!(!takes(&wanted(list(true), false), &list(false)), "nobody said so");
        assert!(!takes(&wanted(list(false), true), &list(true)), "more often");
        let within = |name: &str, list| DataType::Struct(vec![Field::new(name, list, true)].into());
        assert!(takes(&wanted(within("a", list(true)), true), &within("a", list(false))));
        assert!(!takes(&wanted(within("a", list(true)), true), &within("b", list(false))));
    }
}
