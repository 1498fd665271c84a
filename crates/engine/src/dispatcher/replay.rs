//! Running an execution again when its worker is gone.

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;

use super::Dispatcher;
use crate::error::Error;
use crate::pool::Scope;
use crate::session::{Control, Init, Summary};

/// What a repeatable execution gave.
#[derive(Clone, Debug)]
pub struct Replayed {
    /// What the worker announced to return (C9), or [`Init::output_schema`]. Another worker may have announced something
    /// else to another call.
    pub schema: SchemaRef,
    /// All that came back.
    pub batches: Vec<RecordBatch>,
    /// How it ended.
    pub summary: Summary,
    /// How often it was begun: 1 when nothing went wrong.
    pub attempts: u32,
}

impl Dispatcher {
    /// Runs a whole execution over `input`, and again on another worker when its worker is gone before the end: killed,
    /// crashed, unreachable, or ended under it (D10, D11). Nothing of an execution is given before it has finished, so
    /// that no row comes twice.
    ///
    /// It is for functions that are safe to repeat: an attempt that is given up may have done anything but finish. What it
    /// gives is kept in memory, so `input` is best a small part of the whole. `begun` is handed each attempt's control, for
    /// callers who want to cancel.
    ///
    /// # Errors
    /// What the function, the worker or the data have to say is not tried again, and neither is a worker that can't be had:
    /// those of [`Dispatcher::session`], [`Session::init`](crate::Session::init) and
    /// [`BatchOutput::next`](crate::BatchOutput::next). After `attempts` attempts, why the last worker was gone.
    ///
    /// # Cancel safety
    /// Dropping the future cancels the execution.
    pub async fn run_repeatable(
        &self,
        init: &Init,
        scope: &Scope,
        input: &[RecordBatch],
        attempts: u32,
        mut begun: impl FnMut(Control),
    ) -> Result<Replayed, Error> {
        let mut attempt = 1;
        loop {
            match self.run_once(init, scope, input, &mut begun).await {
                Ok((schema, batches, summary)) => return Ok(Replayed { schema, batches, summary, attempts: attempt }),
                Err(error) if error.is_worker_gone() && attempt < attempts => {
                    tracing::info!(attempt, condition = error.condition(), "the worker is gone; running it again");
                    attempt += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn run_once(
        &self,
        init: &Init,
        scope: &Scope,
        input: &[RecordBatch],
        begun: &mut impl FnMut(Control),
    ) -> Result<(SchemaRef, Vec<RecordBatch>, Summary), Error> {
        let session = self.session(init.clone(), scope.clone()).await?;
        begun(session.control());
        let (mut sender, mut output) = session.init().await?.batches()?;
        let schema = SchemaRef::clone(output.schema());
        // Both at once: the worker may answer before it has heard all.
        let send = async {
            for batch in input {
                sender.send(batch).await?;
            }
            sender.finish().await
        };
        let receive = async {
            let mut batches = Vec::new();
            while let Some(batch) = output.next().await? {
                batches.push(batch);
            }
            Ok((batches, output.close().await?))
        };
        let ((), (batches, summary)) = futures::try_join!(send, receive)?;
        Ok((schema, batches, summary))
    }
}
