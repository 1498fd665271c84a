//! Which payload formats a worker takes.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow_schema::{Schema, SchemaRef};

use super::schema;

/// The key in the metadata of the table's schema under which the worker tells its payload formats: their names, sorted, with
/// commas between them.
pub const FORMATS: &str = "anyudf.formats";

/// The table's schema with what it says of payload formats. A name that is empty or has a comma can't be told, and is left
/// out.
///
/// ```
/// use anyudf_arrow::catalog::{FORMATS, formats, schema_with_formats};
///
/// let schema = schema_with_formats(["function", "catalog", "expression"]);
/// assert_eq!(schema.metadata()[FORMATS], "catalog,expression,function");
/// assert!(formats(&schema).contains("expression"));
/// ```
pub fn schema_with_formats<'a>(formats: impl IntoIterator<Item = &'a str>) -> SchemaRef {
    let told = formats.into_iter().filter(|name| !name.is_empty() && !name.contains(','));
    let told = told.collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>().join(",");
    let schema = Arc::unwrap_or_clone(schema());
    Arc::new(schema.with_metadata([(FORMATS.to_owned(), told)].into()))
}

/// The payload formats that a worker takes, as the schema of its catalog tells: the one in InitResponse, which batches of the
/// catalog have too. A worker that does not tell, as none did at first, takes `function` and `catalog`.
///
/// ```
/// use anyudf_arrow::{catalog, expression};
///
/// let formats = catalog::formats(&catalog::schema());
/// assert_eq!(formats.iter().collect::<Vec<_>>(), ["catalog", "function"]);
/// assert!(!formats.contains(expression::FORMAT));
/// ```
pub fn formats(schema: &Schema) -> BTreeSet<String> {
    let told = schema.metadata().get(FORMATS).map_or("catalog,function", String::as_str);
    told.split(',').map(str::trim).filter(|name| !name.is_empty()).map(String::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{decode_schema, encode_schema};

    /// R20 in its spirit: what is told of formats survives the wire, odd names and all.
    #[test]
    fn r20_payload_formats_are_told_by_the_schema() {
        let told =
            |names: &[&str]| formats(&decode_schema(&encode_schema(&schema_with_formats(names.to_vec()))).unwrap());
        assert_eq!(told(&["function", "echo/slow", "a,b", ""]), ["echo/slow".to_owned(), "function".into()].into());
        assert!(told(&[]).is_empty());
        let odd = schema().as_ref().clone().with_metadata([(FORMATS.into(), " b,,a ".into())].into());
        assert_eq!(formats(&odd), ["a".to_owned(), "b".into()].into());
    }
}
