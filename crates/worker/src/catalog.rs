//! The list of functions as one Arrow table: the catalog is itself a table function.

use std::sync::Arc;

use anyudf_arrow::encode_schema;
use arrow::array::{ArrayRef, BinaryArray, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use crate::definition::{Definition, Kind};
use crate::error::Result;
use crate::function::{Function, Output};
use crate::invocation::Invocation;

/// The columns of the catalog.
///
/// `arguments` and `result` are encapsulated IPC Schema messages (C9). Null `arguments` mean any columns, a null
/// `result` depends on the input. `kind` is `scalar`, `map`, `table` or `aggregate`.
fn schema() -> SchemaRef {
    let field = Field::new;
    Arc::new(Schema::new(vec![
        field("name", DataType::Utf8, false),
        field("kind", DataType::Utf8, false),
        field("arguments", DataType::Binary, true),
        field("result", DataType::Binary, true),
        field("help", DataType::Utf8, false),
        field("version", DataType::Utf8, false),
    ]))
}

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
        let text = |of: fn(&Definition) -> &str| -> ArrayRef {
            Arc::new(StringArray::from_iter_values(self.functions.iter().map(of)))
        };
        let schemas = |of: fn(&Definition) -> Option<&SchemaRef>| -> ArrayRef {
            let encoded = self.functions.iter().map(|function| of(function).map(|schema| encode_schema(schema)));
            Arc::new(BinaryArray::from_iter(encoded))
        };
        let columns = vec![
            text(Definition::name),
            text(|function| function.kind().name()),
            schemas(Definition::argument_schema),
            schemas(Definition::result_schema),
            text(Definition::help_text),
            text(Definition::version_text),
        ];
        out.emit(RecordBatch::try_new(schema(), columns)?)
    }

    fn process(&mut self, _: RecordBatch, _: &mut Output<'_>) -> Result<()> {
        Err("the catalog takes no input".into())
    }
}
