//! The two ends of a session, as record batches.

use std::collections::VecDeque;

use anyudf_arrow::{Decoder, Encoder, Limits};
use anyudf_grpc::Outgoing;
use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;

use super::{Control, Input, OpenSession, Output, Summary};
use crate::error::{Error, ErrorKind};

pub(super) fn split(session: OpenSession) -> Result<(BatchInput, BatchOutput), Error> {
    let Some(input_schema) = &session.init.input_schema else {
        return Err(Error::new(
            ErrorKind::Misuse,
            "NO_INPUT_SCHEMA",
            "the Init has no input schema, so record batches can't be sent; set Init.input_schema or use split",
        ));
    };
    let input_schema = input_schema.decode("Init.input_schema")?;
    let output_schema = match (&session.init.output_schema, &session.data) {
        (Some(asked), _) => asked.decode("Init.output_schema")?,
        (None, Some(data)) => anyudf_arrow::decode_schema(data)
            .map_err(|error| Error::from_data("the output schema in InitResponse.data", error))?,
        (None, None) => {
            return Err(Error::new(
                ErrorKind::Violation,
                "NO_OUTPUT_SCHEMA",
                "neither the Init nor the worker's InitResponse.data says what comes back (C9)",
            ));
        }
    };
    // What HTTP/2, gRPC and the envelope add to a message's data is far below this.
    let most = session.worker.max_message_bytes().saturating_sub(64).max(1);
    let encoder = Encoder::new(input_schema.clone(), most)
        .map_err(|error| Error::from_data("the input schema", error))?
        .with_usual(session.worker.session_config().message_bytes)
        .with_lead(Outgoing::LEAD);
    let decoder = Decoder::new(output_schema.clone(), Limits::default())
        .map_err(|error| Error::from_data("the output schema", error))?;
    let (input, output) = session.split();
    Ok((
        BatchInput { input, schema: input_schema, encoder },
        BatchOutput { output, schema: output_schema, decoder, ready: VecDeque::new() },
    ))
}

/// Where input goes, as record batches. Dropping it before [`finish`](BatchInput::finish) cancels the execution (E8).
#[derive(Debug)]
pub struct BatchInput {
    input: Input,
    schema: SchemaRef,
    encoder: Encoder,
}

impl BatchInput {
    /// A handle for other threads.
    pub fn control(&self) -> Control {
        self.input.control()
    }

    /// The schema of what is sent.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Sends a batch, split by rows where it does not fit a message. Its buffers are sent from where they are. Waits
    /// while the worker is slow (E5).
    ///
    /// # Errors
    /// [`ErrorKind::Misuse`] when the batch has another schema or a single row is larger than the worker takes;
    /// otherwise how the execution ended.
    ///
    /// # Cancel safety
    /// When the future is dropped, a part of a large batch may have been sent; cancel the session then.
    pub async fn send(&mut self, batch: &RecordBatch) -> Result<(), Error> {
        for message in self.encoder.encode(batch) {
            let message = message.map_err(|error| Error::from_caller_data("the input batch", error))?;
            self.input.send(message.parts).await?;
            self.input.shared.counters.rows_sent(message.rows);
        }
        Ok(())
    }

    /// Says that there is no more input (R5).
    ///
    /// # Errors
    /// How the execution ended, if it did already.
    ///
    /// # Cancel safety
    /// Dropping the future cancels the execution.
    pub async fn finish(self) -> Result<(), Error> {
        self.input.finish().await
    }

    /// Cancels because the caller's own input failed, and gives the caller its error back (E8).
    pub fn fail<E: std::fmt::Display>(self, error: E) -> E {
        self.input.fail(error)
    }
}

/// Where output comes from, as record batches. Dropping it before the end cancels the execution.
#[derive(Debug)]
pub struct BatchOutput {
    output: Output,
    schema: SchemaRef,
    decoder: Decoder,
    ready: VecDeque<RecordBatch>,
}

impl BatchOutput {
    /// A handle for other threads.
    pub fn control(&self) -> Control {
        self.output.control()
    }

    /// The schema of what comes back.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The next batch; `None` when the worker has finished.
    ///
    /// # Errors
    /// [`ErrorKind::Violation`] when the bytes are no batch of this schema (C10), after which the execution is
    /// cancelled; otherwise how the execution ended, when it did not finish (E10).
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Result<Option<RecordBatch>, Error> {
        loop {
            if let Some(batch) = self.ready.pop_front() {
                self.output.shared.counters.rows_taken(batch.num_rows());
                return Ok(Some(batch));
            }
            let Some((data, credit)) = self.output.take().await? else { return Ok(None) };
            let batches = self.decoder.decode(data);
            drop(credit);
            match batches {
                Ok(batches) => self.ready.extend(batches),
                Err(error) => {
                    let error = Error::from_data("a batch from the worker", error);
                    self.output.shared.stop(super::Stop::Cancel(Some(error.to_string())));
                    return Err(error);
                }
            }
        }
    }

    /// How the execution ended, with its metrics. Cancels it when it has not ended (E12).
    ///
    /// # Errors
    /// How the execution ended, when it did not finish (E10).
    ///
    /// # Cancel safety
    /// The execution ends all the same when the future is dropped.
    pub async fn close(self) -> Result<Summary, Error> {
        self.output.close().await
    }
}
