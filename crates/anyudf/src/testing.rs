//! Testing functions in the process that engines will start.
//!
//! A [`UdfTester`](crate::worker::UdfTester) calls a function in the memory of a test. With a [`WorkerProcess`] it calls it
//! through a real process and a real socket as well, and panics when both differ: a function that was forgotten in `main`, a
//! setting that only the process has, a library that is not there.
//!
//! In `tests/process.rs` of a crate `my_worker`, with the features `worker` and `engine` among its `dev-dependencies`:
//! ```ignore
//! use anyudf::prelude::*;
//! use anyudf::testing::WorkerProcess;
//! use anyudf::worker::arrow::array::Float64Array;
//!
//! #[test]
//! fn the_process_does_what_the_function_does() {
//!     let process = WorkerProcess::start(env!("CARGO_BIN_EXE_my-worker")).expect("it starts");
//!     let tester = UdfTester::new(my_worker::fahrenheit).through(&process);
//!     tester.call([Float64Array::from(vec![Some(100.0), None])]).expect("it runs");
//! }
//! ```

use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use anyudf_engine::blocking::{BatchInput, BatchOutput, Engine, Worker};
use anyudf_engine::{Error as EngineError, Init, WorkerCommand, WorkerConfig};
use anyudf_worker::arrow::array::RecordBatch;
use anyudf_worker::{Elsewhere, Error, Result, Tested, Trial};

/// A worker that runs, for one test or for many. It ends when the last clone is dropped.
#[derive(Clone, Debug)]
pub struct WorkerProcess {
    worker: Worker,
}

impl WorkerProcess {
    /// Starts this program, such as `env!("CARGO_BIN_EXE_my-worker")`.
    ///
    /// # Errors
    /// When it can't be started, or does not answer in time; the text has the end of what it printed.
    pub fn start(program: impl Into<PathBuf>) -> Result<Self, EngineError> {
        WorkerProcess::start_with(&WorkerCommand::new(program, [""; 0]))
    }

    /// Starts a program with arguments or variables of its own.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn start_with(command: &WorkerCommand) -> Result<Self, EngineError> {
        Ok(WorkerProcess { worker: Engine::new()?.start(command, WorkerConfig::default())? })
    }

    fn execute(&self, trial: &Trial) -> Result<Tested, EngineError> {
        let init = Init {
            timezone: trial.timezone.clone(),
            ..Init::new("function", trial.payload.clone())
                .with_name(&trial.function)
                .with_input_schema(Arc::clone(&trial.schema))
        };
        let session = self.worker.session(init);
        session.init()?;
        let (input, output) = session.process_batches()?;
        // At once, since a function may answer before it has all of its input.
        thread::scope(|scope| {
            scope.spawn(|| send(input, &trial.batches));
            receive(output)
        })
    }
}

/// Sends all input. Should the execution have ended, whoever reads is told why.
fn send(mut input: BatchInput, batches: &[RecordBatch]) {
    let sent = batches.iter().try_for_each(|batch| input.send(batch));
    let _ = sent.and_then(|()| input.finish());
}

fn receive(mut output: BatchOutput) -> Result<Tested, EngineError> {
    let (schema, mut batches) = (Arc::clone(output.schema()), Vec::new());
    while let Some(batch) = output.next()? {
        batches.push(batch);
    }
    Ok(Tested::new(schema, batches, output.close()?.data))
}

impl Elsewhere for WorkerProcess {
    fn run(&self, trial: &Trial) -> Result<Tested> {
        self.execute(trial).map_err(|error| match error.execution() {
            Some(told) => {
                Error::user(&told.message).with_class(told.condition().unwrap_or("FUNCTION_FAILED").to_owned())
            }
            None => Error::worker(error.condition().to_owned(), &error),
        })
    }
}
