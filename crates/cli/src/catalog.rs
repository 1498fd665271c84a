//! What a worker offers, as its `catalog` tells: a table function whose rows are functions.

use std::sync::Arc;

use anyhow::{Context as _, anyhow, bail};
use anyudf_arrow::decode_schema;
use anyudf_engine::{Dispatcher, Init};
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Schema, SchemaRef};
use bytes::Bytes;

pub(crate) use anyudf_worker::Kind;

use crate::failure::{Failure, Result};
use crate::names;

/// More functions than this are no catalog, but a worker that does not stop.
const MOST: usize = 100_000;

/// A function as its worker describes it.
#[derive(Clone, Debug)]
pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    /// The arguments with names and types; `None` when it takes any columns.
    pub(crate) arguments: Option<SchemaRef>,
    /// What it returns; `None` when that depends on the input.
    pub(crate) result: Option<SchemaRef>,
    pub(crate) help: String,
    pub(crate) version: String,
}

/// The functions of a worker, in its order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Catalog {
    pub(crate) functions: Vec<Function>,
}

impl Catalog {
    /// Asks a worker, and another one when it is gone, `attempts` of them at most. `None` when it refuses, as one does that
    /// never heard of catalogs.
    ///
    /// # Errors
    /// When the worker fails, or answers something that is no catalog.
    pub(crate) async fn read(worker: &Dispatcher, attempts: u32) -> Result<Option<Self>> {
        let Some(batches) = Dispatcher::repeat(attempts, |_| Self::ask(worker)).await? else { return Ok(None) };
        let mut catalog = Catalog::default();
        for batch in &batches {
            catalog.add(batch).context("the worker's catalog is none that anyudf can read")?;
        }
        Ok(Some(catalog))
    }

    /// What a worker answers; not all of it when that is too much for a catalog.
    async fn ask(worker: &Dispatcher) -> Result<Option<Vec<RecordBatch>>, anyudf_engine::Error> {
        let init = Init::new("catalog", Bytes::new()).with_input_schema(Arc::new(Schema::empty()));
        let session = match worker.open(init).await {
            Ok(session) => session,
            // One that is shutting down, or can't answer within the limit that it was given, does not say so of itself.
            Err(error) if error.is_worker_gone() || error.condition() == "INVALID_SESSION_CONF" => return Err(error),
            Err(error) if error.execution().is_some() => {
                tracing::debug!(%error, "the worker has no catalog");
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let (input, mut output) = session.batches()?;
        input.finish().await?;
        let (mut batches, mut functions) = (Vec::new(), 0);
        while let Some(batch) = output.next().await? {
            functions += batch.num_rows();
            batches.push(batch);
            if functions > MOST {
                return Ok(Some(batches));
            }
        }
        output.close().await?;
        Ok(Some(batches))
    }

    /// The function of this name.
    ///
    /// # Errors
    /// The name is unknown; says which ones are near.
    pub(crate) fn find(&self, name: &str) -> Result<&Function> {
        self.functions.iter().find(|function| function.name == name).ok_or_else(|| {
            let known = self.functions.iter().map(|function| function.name.as_str());
            let suggestion = names::suggest(name, known, "its functions");
            Failure::usage(format_args!(
                "the worker has no function `{name}`{suggestion} (`anyudf functions` lists all)"
            ))
        })
    }

    fn add(&mut self, batch: &RecordBatch) -> anyhow::Result<()> {
        if self.functions.len() + batch.num_rows() > MOST {
            bail!("it has more than {MOST} functions");
        }
        let column = |name| batch.column_by_name(name).ok_or_else(|| anyhow!("it lacks the column {name}"));
        let text = |name| {
            let column = column(name)?;
            column.as_string_opt::<i32>().ok_or_else(|| anyhow!("{name} is {}, not Utf8", column.data_type()))
        };
        let schemas = |name| {
            let column = column(name)?;
            column.as_binary_opt::<i32>().ok_or_else(|| anyhow!("{name} is {}, not Binary", column.data_type()))
        };
        let (names, kinds, helps) = (text("name")?, text("kind")?, text("help")?);
        let (versions, arguments, results) = (text("version")?, schemas("arguments")?, schemas("result")?);
        for row in 0..batch.num_rows() {
            let name = names.value(row).to_owned();
            let schema = |schemas: &arrow::array::BinaryArray| match schemas.is_valid(row) {
                true => decode_schema(&Bytes::copy_from_slice(schemas.value(row))).map(Some),
                false => Ok(None),
            };
            let kind = kinds.value(row);
            let Ok(kind) = kind.parse::<Kind>() else {
                tracing::warn!(function = name, kind, "left out: a kind that this release does not know");
                continue;
            };
            let read = |schemas, what| schema(schemas).with_context(|| format!("the {what} of `{name}`"));
            let (arguments, result) = (read(arguments, "arguments")?, read(results, "result")?);
            let (help, version) = (helps.value(row).to_owned(), versions.value(row).to_owned());
            self.functions.push(Function { name, kind, arguments, result, help, version });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use anyudf_arrow::encode_schema;
    use arrow::array::{ArrayRef, BinaryArray, StringArray};
    use arrow::datatypes::{DataType, Field};

    use super::*;

    fn batch(names: &[&str], kinds: &[&str], arguments: &[Option<&[u8]>]) -> RecordBatch {
        let text = |values: &[&str]| Arc::new(StringArray::from(values.to_vec())) as ArrayRef;
        let blank = vec![""; names.len()];
        let schemas = |values: Vec<Option<&[u8]>>| Arc::new(BinaryArray::from(values)) as ArrayRef;
        RecordBatch::try_from_iter([
            ("name", text(names)),
            ("kind", text(kinds)),
            ("arguments", schemas(arguments.to_vec())),
            ("result", schemas(vec![None; names.len()])),
            ("help", text(&blank)),
            ("version", text(&blank)),
        ])
        .expect("columns of one length")
    }

    #[test]
    fn functions_of_unknown_kinds_are_left_out() {
        let schema = encode_schema(&Schema::new(vec![Field::new("x", DataType::Float64, true)]));
        let mut catalog = Catalog::default();
        let arguments = [Some(&schema[..]), None, None];
        catalog.add(&batch(&["f", "g", "h"], &["scalar", "oracle", "map"], &arguments)).expect("a catalog");
        let names: Vec<_> = catalog.functions.iter().map(|function| &*function.name).collect();
        assert_eq!(names, ["f", "h"]);
        assert_eq!(catalog.functions[0].arguments.as_ref().map(|schema| schema.field(0).name().as_str()), Some("x"));
        assert!(catalog.functions[1].arguments.is_none());
    }

    #[test]
    fn what_is_no_catalog_is_an_error_that_says_where() {
        let mut catalog = Catalog::default();
        let error = catalog.add(&batch(&["f"], &["scalar"], &[Some(b"rubbish")])).expect_err("no schema");
        assert!(format!("{error:#}").contains("the arguments of `f`"), "{error:#}");
        let nameless = batch(&["f"], &["scalar"], &[None]).project(&[1, 2]).expect("columns");
        assert_eq!(catalog.add(&nameless).expect_err("no names").to_string(), "it lacks the column name");
    }
}
