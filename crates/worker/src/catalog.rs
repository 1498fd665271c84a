//! The payload format `catalog`: the list of functions as one Arrow table, itself a table function.

use std::sync::Arc;

use anyudf_arrow::catalog::{encode, schema};
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use crate::definition::{Definition, Kind};
use crate::error::Result;
use crate::function::{Function, Output};
use crate::invocation::Invocation;

/// The table function that lists `functions`.
pub(crate) fn definition(functions: Vec<Definition>) -> Definition {
    let functions = Arc::new(functions);
    let open = move |_: &Invocation| Ok(Catalog { functions: Arc::clone(&functions) });
    Definition::new("catalog", Kind::Table, open).help("what this worker offers")
}

struct Catalog {
    functions: Arc<Vec<Definition>>,
}

impl Function for Catalog {
    fn output_schema(&self) -> SchemaRef {
        schema()
    }

    fn start(&mut self, out: &mut Output<'_>) -> Result<()> {
        out.emit(encode(self.functions.iter().map(Definition::entry)))
    }

    fn process(&mut self, _: RecordBatch, _: &mut Output<'_>) -> Result<()> {
        Err("the catalog takes no input".into())
    }
}
