//! What the workers of a dispatcher offer.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyudf_arrow::catalog::{Decoded, Entry, decode, formats};
use arrow_array::RecordBatch;
use arrow_schema::{Schema, SchemaRef};
use bytes::Bytes;

use super::Dispatcher;
use crate::error::Error;
use crate::session::Init;

/// More functions than this are no catalog, but a worker that does not stop.
const MOST: usize = 100_000;

/// How many workers are asked when the one that was asked is gone.
const ATTEMPTS: u32 = 5;

/// What the workers of a dispatcher offer.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Catalog {
    /// The functions, in the worker's order.
    pub functions: Vec<Entry>,
    /// The payload formats that it takes, `function` and `catalog` among them; see [`formats`].
    pub formats: BTreeSet<String>,
}

impl Dispatcher {
    /// The functions that its workers offer, in their order, as the payload format `catalog` tells them; `None` when they
    /// refuse to tell, as workers do that never heard of catalogs. It is asked for once: all workers of a specification are
    /// alike.
    ///
    /// # Errors
    /// Those of [`open`](Dispatcher::open) that are no refusal, and of the execution;
    /// [`ErrorKind::Violation`](crate::ErrorKind::Violation) when what comes is no catalog.
    ///
    /// # Cancel safety
    /// Dropping the future cancels the execution; another caller asks again.
    pub async fn catalog(&self) -> Result<Option<Arc<Catalog>>, Error> {
        let read = async || {
            let Some((schema, batches)) = Dispatcher::repeat(ATTEMPTS, |_| self.ask()).await? else { return Ok(None) };
            let mut catalog = Catalog { functions: Vec::new(), formats: formats(&schema) };
            for batch in &batches {
                let decoded = decode(batch).map_err(|error| Error::from_data("the worker's catalog", error))?;
                let Decoded { entries: known, unknown, .. } = decoded;
                for function in unknown {
                    tracing::warn!(function = function.name, "left out of the catalogue: {}", function.reason);
                }
                catalog.functions.extend(known);
            }
            Ok(Some(Arc::new(catalog)))
        };
        self.handle.catalog.get_or_try_init(read).await.cloned()
    }

    /// What a worker answers; not all of it when that is too much for a catalog.
    async fn ask(&self) -> Result<Option<(SchemaRef, Vec<RecordBatch>)>, Error> {
        let init = Init::new("catalog", Bytes::new()).with_name("catalog").with_input_schema(Arc::new(Schema::empty()));
        let session = match self.open(init).await {
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
        let (schema, mut batches, mut functions) = (Arc::clone(output.schema()), Vec::new(), 0);
        while let Some(batch) = output.next().await? {
            functions += batch.num_rows();
            batches.push(batch);
            if functions > MOST {
                let text = format!("the worker's catalog has more than {MOST} functions");
                return Err(Error::new(crate::ErrorKind::Violation, "CATALOG_TOO_LARGE", text));
            }
        }
        output.close().await?;
        Ok(Some((schema, batches)))
    }

    /// The file name of the program that its workers run, for people: plans and logs call them so.
    pub fn program(&self) -> &str {
        &self.handle.program
    }
}
