//! What a worker offers, as its `catalog` tells: a table function whose rows are functions.

use std::sync::Arc;

use anyhow::{Context as _, bail};
use anyudf_arrow::catalog::decode;
use anyudf_engine::{Dispatcher, Init};
use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use bytes::Bytes;

pub(crate) use anyudf_arrow::catalog::{Entry, Kind};

use crate::failure::{Failure, Result};
use crate::names;

/// More functions than this are no catalog, but a worker that does not stop.
const MOST: usize = 100_000;

/// The functions of a worker, in its order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Catalog {
    pub(crate) functions: Vec<Entry>,
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

    /// The function of this name, or else the first that has it as an alias.
    ///
    /// # Errors
    /// The name is unknown; says which ones are near.
    pub(crate) fn find(&self, name: &str) -> Result<&Entry> {
        let functions = self.functions.iter();
        let found = functions.clone().find(|function| function.name == name);
        found.or_else(|| functions.clone().find(|function| function.is_called(name))).ok_or_else(|| {
            let known = functions.flat_map(|function| [&function.name].into_iter().chain(&function.aliases));
            let known = known.map(String::as_str);
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
        let decoded = decode(batch)?;
        for function in &decoded.unknown {
            let (function, kind) = (&function.name, &function.kind);
            tracing::warn!(function, kind, "left out: a kind that this release does not know");
        }
        self.functions.extend(decoded.entries);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use anyudf_arrow::catalog::encode;
    use arrow::array::{ArrayRef, StringArray};

    use super::*;

    fn names(catalog: &Catalog) -> Vec<&str> {
        catalog.functions.iter().map(|function| &*function.name).collect()
    }

    #[test]
    fn functions_of_unknown_kinds_are_left_out() {
        let text = |values: &[&str]| Arc::new(StringArray::from(values.to_vec())) as ArrayRef;
        let columns = [("name", text(&["f", "g", "h"])), ("kind", text(&["scalar", "oracle", "map"]))];
        let mut catalog = Catalog::default();
        catalog.add(&RecordBatch::try_from_iter(columns).expect("columns of one length")).expect("a catalog");
        assert_eq!(names(&catalog), ["f", "h"]);
    }

    #[test]
    fn what_is_no_catalog_is_an_error_that_says_where() {
        let nameless = encode([&Entry::new("f", Kind::Scalar)]).project(&[1, 2]).expect("columns");
        let error = Catalog::default().add(&nameless).expect_err("no names");
        assert_eq!(error.to_string(), "it lacks the column name");
    }

    #[test]
    fn an_alias_finds_its_function_unless_another_has_the_name() {
        let (mut f, g) = (Entry::new("f", Kind::Scalar), Entry::new("g", Kind::Map));
        f.aliases = vec!["g".into(), "great".into()];
        let mut catalog = Catalog::default();
        catalog.add(&encode([&f, &g])).expect("a catalog");
        assert_eq!(names(&catalog), ["f", "g"]);
        assert_eq!(catalog.find("great").expect("an alias"), &f);
        assert_eq!(catalog.find("g").expect("a name"), &g);
        let Err(Failure::Usage(error)) = catalog.find("graet") else { panic!("there is none") };
        assert!(error.to_string().contains("did you mean `great`"), "{error}");
    }
}
