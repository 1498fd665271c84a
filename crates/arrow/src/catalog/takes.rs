//! Which columns a function takes for an argument.

use arrow_schema::{DataType, Field, FieldRef};

/// The key in the metadata of an argument's field which says that columns of alike types are taken too. Its value is
/// `true`.
pub const TAKES_ALIKE: &str = "anyudf.takes_alike";

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
