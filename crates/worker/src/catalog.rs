//! The payload format `catalog`: the list of functions as one Arrow table, itself a table function.

use std::sync::Arc;

use anyudf_arrow::catalog::{encode, schema_with_formats};
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use crate::definition::{Definition, Kind};
use crate::error::Result;
use crate::function::{Function, Output};
use crate::invocation::Invocation;
use crate::worker::Functions;

/// The table function that lists `functions`, and tells the payload formats.
pub(crate) fn definition<'a>(functions: Functions, formats: impl IntoIterator<Item = &'a str>) -> Definition {
    let schema = schema_with_formats(formats);
    let open = move |_: &Invocation| Ok(Catalog { functions: Arc::clone(&functions), schema: Arc::clone(&schema) });
    Definition::new("catalog", Kind::Table, open).help("what this worker offers")
}

struct Catalog {
    functions: Functions,
    schema: SchemaRef,
}

impl Function for Catalog {
    fn output_schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn start(&mut self, out: &mut Output<'_>) -> Result<()> {
        out.emit(encode(self.functions.values().map(Definition::entry)))
    }

    fn process(&mut self, _: RecordBatch, _: &mut Output<'_>) -> Result<()> {
        Err("the catalog takes no input".into())
    }
}
