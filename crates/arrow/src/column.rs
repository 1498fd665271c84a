//! The schema as the wire sees it: a tree of columns in which every dictionary has a number.

use std::collections::HashSet;
use std::sync::Arc;

use arrow_schema::{DataType, Field, FieldRef, Fields, Schema};

use crate::error::{Error, Result};

/// A field, its dictionary's number if it has one, and its children in the order of the format.
#[derive(Debug)]
pub(crate) struct Column {
    pub(crate) field: FieldRef,
    /// The id that this column's `DictionaryBatch`es carry.
    pub(crate) dictionary: Option<i64>,
    /// For a dictionary: the one column of its values. For other types: the children of the type.
    pub(crate) children: Vec<Column>,
}

impl Column {
    /// The columns of a schema. `ids` has a number for each of its dictionaries, inner ones first.
    ///
    /// # Errors
    /// A dictionary whose values are a dictionary again: the format has no place for the inner one's number. A union
    /// without types.
    pub(crate) fn of(schema: &Schema, ids: Vec<i64>) -> Result<Vec<Column>> {
        Column::all(schema.fields(), &mut ids.into_iter())
    }

    fn all(fields: &Fields, ids: &mut std::vec::IntoIter<i64>) -> Result<Vec<Column>> {
        fields.iter().map(|field| Column::new(field, ids)).collect()
    }

    fn new(field: &FieldRef, ids: &mut std::vec::IntoIter<i64>) -> Result<Column> {
        let children = children(field.data_type())
            .iter()
            .map(|child| Column::new(child, ids))
            .collect::<Result<Vec<_>>>()
            .map_err(|error| error.within(field.name()))?;
        if let DataType::Union(fields, _) = field.data_type()
            && fields.is_empty()
        {
            // Arrow can't even make an empty array of it.
            return Err(Error::unsupported("a union without any type, which no value can have").within(field.name()));
        }
        let mut column = Column { field: field.clone(), dictionary: None, children };
        if let DataType::Dictionary(_, values) = field.data_type() {
            if matches!(**values, DataType::Dictionary(..)) {
                return Err(Error::unsupported(
                    "a dictionary of a dictionary has no encoding in Arrow IPC; decode one of the two first",
                )
                .within(field.name()));
            }
            // After the children: inner dictionaries have the smaller numbers, as arrow's own writer counts.
            column.dictionary = ids.next();
        }
        Ok(column)
    }

    /// Finds the column that a `DictionaryBatch` with `id` belongs to.
    pub(crate) fn find(columns: &[Column], id: i64) -> Option<&Column> {
        columns.iter().find_map(|column| {
            (column.dictionary == Some(id)).then_some(column).or_else(|| Column::find(&column.children, id))
        })
    }
}

/// The fields below a type, in the order in which the format visits them.
fn children(data_type: &DataType) -> Fields {
    use DataType as T;
    match data_type {
        T::List(field)
        | T::LargeList(field)
        | T::ListView(field)
        | T::LargeListView(field)
        | T::FixedSizeList(field, _)
        | T::Map(field, _) => Fields::from(vec![field.clone()]),
        T::Struct(fields) => fields.clone(),
        T::Union(fields, _) => fields.iter().map(|(_, field)| field.clone()).collect(),
        T::RunEndEncoded(run_ends, values) => Fields::from(vec![run_ends.clone(), values.clone()]),
        T::Dictionary(_, values) => Fields::from(vec![Arc::new(Field::new("dictionary", (**values).clone(), true))]),
        _ => Fields::empty(),
    }
}

/// The number of each dictionary of a schema, inner ones first.
///
/// A schema that was decoded brings its numbers along, and they are kept. One made in memory has zeros everywhere; its
/// dictionaries are counted from zero. Both ends of a stream derive the numbers from their copy of the schema by this
/// one rule, and [`encode_schema`](crate::encode_schema) writes them, so they agree.
pub(crate) fn dictionary_ids(schema: &Schema) -> Vec<i64> {
    let ids = own_ids(schema);
    let distinct = ids.iter().collect::<HashSet<_>>().len() == ids.len();
    if distinct { ids } else { (0..).take(ids.len()).collect() }
}

/// The numbers that the fields themselves carry, inner dictionaries first. Several may share one.
pub(crate) fn own_ids(schema: &Schema) -> Vec<i64> {
    fn collect(fields: &Fields, ids: &mut Vec<i64>) {
        for field in fields {
            collect(&children(field.data_type()), ids);
            #[allow(deprecated, reason = "the number is part of the wire, and arrow keeps no other record of it")]
            ids.extend(field.dict_id());
        }
    }
    let mut ids = Vec::new();
    collect(schema.fields(), &mut ids);
    ids
}

/// Whether two types have the same layout and meaning, whatever their metadata, nullability and the names that the
/// format does not care about: those of a list's item, a map's entries and a run's ends.
pub(crate) fn same_type(a: &DataType, b: &DataType) -> bool {
    use DataType as T;
    let below = |a: &Field, b: &Field| same_type(a.data_type(), b.data_type());
    let positional = |a: &Fields, b: &Fields| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| below(a, b));
    match (a, b) {
        (T::List(a), T::List(b))
        | (T::LargeList(a), T::LargeList(b))
        | (T::ListView(a), T::ListView(b))
        | (T::LargeListView(a), T::LargeListView(b)) => below(a, b),
        (T::FixedSizeList(a, n), T::FixedSizeList(b, m)) => n == m && below(a, b),
        (T::Map(a, _), T::Map(b, _)) => match (a.data_type(), b.data_type()) {
            (T::Struct(a), T::Struct(b)) => positional(a, b),
            (a, b) => same_type(a, b),
        },
        (T::Struct(a), T::Struct(b)) => positional(a, b) && a.iter().zip(b).all(|(a, b)| a.name() == b.name()),
        (T::Union(a, m), T::Union(b, n)) => {
            m == n && a.len() == b.len() && a.iter().zip(b.iter()).all(|((i, a), (j, b))| i == j && below(a, b))
        }
        (T::RunEndEncoded(ra, a), T::RunEndEncoded(rb, b)) => below(ra, rb) && below(a, b),
        (T::Dictionary(ka, a), T::Dictionary(kb, b)) => ka == kb && same_type(a, b),
        (a, b) => a == b,
    }
}
