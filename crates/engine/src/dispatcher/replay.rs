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
    /// Does something in a session that is safe to repeat, and does it again, at most `attempts` times in all, when it fails
    /// because its worker is gone ([`Error::is_worker_gone`]): killed, crashed, unreachable, shutting down, or ended for what
    /// others did in it (D10, D11).
    /// `once` is given the number of the attempt, from 1 on.
    ///
    /// # Errors
    /// Those of `once`: the first that is of another kind, or why the last worker was gone.
    ///
    /// # Cancel safety
    /// That of `once`.
    pub async fn repeat<T, F>(attempts: u32, mut once: impl FnMut(u32) -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let mut attempt = 1;
        loop {
            match once(attempt).await {
                Err(error) if error.is_worker_gone() && attempt < attempts => {
                    tracing::info!(attempt, condition = error.condition(), "the worker is gone; running it again");
                    attempt += 1;
                }
                done => return done,
            }
        }
    }

    /// Runs a whole execution over `input`, and again on another worker when its worker is gone before the end: killed,
    /// crashed, unreachable, shutting down, or ended for what others did in it (D10, D11). Nothing of an execution is given
    /// before it has finished, so that no row comes twice.
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
        begun: impl Fn(Control),
    ) -> Result<Replayed, Error> {
        Dispatcher::repeat(attempts, |attempt| self.run_once(init, scope, input, attempt, &begun)).await
    }

    async fn run_once(
        &self,
        init: &Init,
        scope: &Scope,
        input: &[RecordBatch],
        attempt: u32,
        begun: &impl Fn(Control),
    ) -> Result<Replayed, Error> {
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
        Ok(Replayed { schema, batches, summary, attempts: attempt })
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use futures::FutureExt;

    use super::*;
    use crate::error::ErrorKind;

    /// What comes of something that fails with these errors, one after the other, and then gives the attempt's number; and
    /// how many of them were met.
    fn repeated(attempts: u32, errors: &[&'static str]) -> (Result<u32, String>, usize) {
        let met = Cell::new(0);
        let once = async |attempt| match errors.get(met.get()) {
            Some(condition) => {
                met.set(met.get() + 1);
                Err(Error::new(ErrorKind::Transport, *condition, "it failed"))
            }
            None => Ok(attempt),
        };
        let done = Dispatcher::repeat(attempts, once).now_or_never().expect("nothing waits");
        (done.map_err(|error| error.condition().to_owned()), met.get())
    }

    #[test]
    fn only_what_a_worker_took_with_it_is_done_again() {
        let gone = ["WORKER_DIED", "TRANSPORT_FAILED", "WORKER_LOST", "WORKER_DRAINED"];
        assert_eq!(repeated(5, &gone), (Ok(5), 4));
        assert_eq!(repeated(4, &gone), (Err("WORKER_DRAINED".into()), 4));
        assert_eq!(repeated(5, &["WORKER_DIED", "IDLE_LIMIT", "WORKER_DIED"]), (Err("IDLE_LIMIT".into()), 2));
        assert_eq!(repeated(1, &gone), (Err("WORKER_DIED".into()), 1));
    }

    /// Callers spawn it.
    #[test]
    fn a_repeatable_execution_moves_between_threads() {
        fn moves<T: Send>(_: impl FnOnce(&'static Dispatcher, &'static Init, &'static Scope) -> T) {}
        moves(|dispatcher, init, scope| dispatcher.run_repeatable(init, scope, &[], 1, |_| ()));
    }
}
