//! One session's way out: takes results, and pairs a scalar function's with the rows they were made from.

use std::sync::Arc;

use anyudf_engine::{BatchOutput, Control, Summary};
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use tokio::sync::mpsc as channel;

use super::blame::blamed;
use super::flow::{Event, Work};
use super::pairing::{paired, wrong_length};
use super::plan::Plan;
use crate::catalog::Kind;
use crate::failure::{Failure, Result};

/// Takes results from one session.
pub(super) struct Collector {
    pub(super) plan: Arc<Plan>,
    pub(super) control: Control,
    pub(super) results: BatchOutput,
    pub(super) events: channel::Sender<Event>,
    /// Of the rows that are written.
    pub(super) schema: SchemaRef,
}

impl Collector {
    /// Takes until the session has ended, and tells how it did. A scalar function's rows come from `pending`.
    pub(super) async fn run(self, pending: channel::UnboundedReceiver<Work>) {
        let events = self.events.clone();
        let ended = match self.plan.kind {
            Kind::Scalar => self.pair(pending).await,
            _ => self.pass_on().await,
        };
        // Nobody listens after a failure.
        let _ = events.send(ended.map_or_else(Event::Failed, Event::Done)).await;
    }

    /// A scalar function's: pairs each result with the rows it was made from.
    async fn pair(mut self, mut pending: channel::UnboundedReceiver<Work>) -> Result<Summary> {
        loop {
            let work = tokio::select! {
                biased;
                work = pending.recv() => work,
                _ = self.control.ended() => None,
            };
            let Some(work) = work else { break };
            let pieces = self.pieces(&work).await?;
            let event = paired(&self.plan, &self.schema, work, &pieces)?;
            // Nobody listens after a failure.
            let _ = self.events.send(event).await;
        }
        loop {
            match self.results.next().await {
                Ok(Some(batch)) if batch.num_rows() == 0 => {}
                Ok(Some(_)) => return Err(wrong_length(&self.plan, "more rows than it was given")),
                Ok(None) => return self.close().await,
                Err(error) => return Err(self.blamed(&error, "")),
            }
        }
    }

    /// The result for these rows, in the pieces that it comes in; fewer rows when nothing more comes.
    async fn pieces(&mut self, work: &Work) -> Result<Vec<RecordBatch>> {
        let wanted = work.rows.num_rows();
        let (mut pieces, mut rows) = (Vec::new(), 0);
        while rows < wanted {
            match self.results.next().await {
                Ok(Some(batch)) => {
                    rows += batch.num_rows();
                    pieces.push(batch);
                }
                Ok(None) => break,
                Err(error) => return Err(self.blamed(&error, &format!(" in {}", work.location()))),
            }
        }
        Ok(pieces)
    }

    /// Any other function's: what comes is what is written.
    async fn pass_on(mut self) -> Result<Summary> {
        loop {
            match self.results.next().await {
                Ok(Some(rows)) => {
                    // Nobody listens after a failure.
                    let _ = self.events.send(Event::Rows { place: None, rows, permit: None }).await;
                }
                Ok(None) => return self.close().await,
                Err(error) => return Err(self.blamed(&error, "")),
            }
        }
    }

    async fn close(self) -> Result<Summary> {
        let Collector { plan, results, .. } = self;
        results.close().await.map_err(|error| blamed(&plan.function, &error, ""))
    }

    fn blamed(&self, error: &anyudf_engine::Error, place: &str) -> Failure {
        blamed(&self.plan.function, error, place)
    }
}
