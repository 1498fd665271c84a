//! The same engine for programs without a runtime: plain calls that block the thread they are made on.
//!
//! An [`Engine`] owns one thread, on which all sockets are read and written. Every other thread of the program may call;
//! batches are encoded and decoded on the calling thread. A [`Session`] here is one object for several threads, so it
//! checks at run time what the async face leaves to the compiler (E2): misuse is an error, never a hang.
//!
//! ```no_run
//! use anyudf_engine::{Init, WorkerCommand, WorkerConfig, blocking::Engine};
//!
//! # fn run() -> Result<(), anyudf_engine::Error> {
//! let engine = Engine::new()?;
//! let worker = engine.start(&WorkerCommand::new("anyudf", ["worker"]), WorkerConfig::default())?;
//! let session = worker.session(Init::new("echo", ""));
//! session.init()?;
//! let (mut input, mut output) = session.process()?;
//! input.send(["a batch".into()])?;
//! input.finish()?;
//! assert_eq!(output.next()?.as_deref(), Some(&b"a batch"[..]));
//! # Ok(()) }
//! ```

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use anyudf_grpc::Endpoint;
use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use bytes::Bytes;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

use crate::dispatcher::{self, DispatcherConfig, DispatcherStats};
use crate::error::{Error, ErrorKind};
use crate::launcher::WorkerCommand;
use crate::pool::Scope;
use crate::session::{self, Init, Progress, Summary, Termination};
use crate::specification::WorkerSpecification;
use crate::worker::{self, Announced, WorkerConfig};

/// The thread that reads and writes, and everything that is started through it. Clones are the same engine; the last
/// one ends the thread, and with it every worker that is still there.
#[derive(Clone, Debug)]
pub struct Engine {
    io: Arc<Io>,
}

#[derive(Debug)]
struct Io {
    handle: Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Io {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != std::thread::current().id()
        {
            // A panic there was printed already.
            let _ = thread.join();
        }
    }
}

impl Engine {
    /// Starts the thread.
    ///
    /// # Errors
    /// [`ErrorKind::Launch`] when the system has no thread or descriptor left.
    pub fn new() -> Result<Self, Error> {
        let failed = |error: std::io::Error| {
            Error::with_source(ErrorKind::Launch, "NO_RUNTIME", "can't start the engine's I/O thread", error)
        };
        let runtime = Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let run = move || {
            // Resolves when the sender is dropped.
            let _ = runtime.block_on(stopped);
        };
        let thread = std::thread::Builder::new().name("anyudf-io".into()).spawn(run).map_err(failed)?;
        Ok(Engine { io: Arc::new(Io { handle, stop: Some(stop), thread: Some(thread) }) })
    }

    /// [`worker::Worker::start`], blocking.
    ///
    /// # Errors
    /// The same.
    ///
    /// # Panics
    /// On a thread that runs async code, as every call of this module that blocks.
    pub fn start(&self, command: &WorkerCommand, config: WorkerConfig) -> Result<Worker, Error> {
        let worker = self.run(worker::Worker::start(command, config))?;
        Ok(Worker { worker, engine: self.clone() })
    }

    /// [`worker::Worker::connect`], blocking.
    ///
    /// # Errors
    /// The same.
    pub fn connect(&self, endpoint: &Endpoint, token: Option<&str>, config: WorkerConfig) -> Result<Worker, Error> {
        let worker = self.run(worker::Worker::connect(endpoint, token, config))?;
        Ok(Worker { worker, engine: self.clone() })
    }

    /// [`dispatcher::Dispatcher::new`], blocking.
    ///
    /// # Errors
    /// The same.
    pub fn dispatcher(
        &self,
        specification: &WorkerSpecification,
        config: DispatcherConfig,
    ) -> Result<Dispatcher, Error> {
        let dispatcher = self.run(async { dispatcher::Dispatcher::new(specification, config) })?;
        Ok(Dispatcher { dispatcher, engine: self.clone() })
    }

    fn run<T>(&self, future: impl Future<Output = T>) -> T {
        self.io.handle.block_on(future)
    }
}

/// [`dispatcher::Dispatcher`], blocking. Any number of threads may call it.
#[derive(Clone, Debug)]
pub struct Dispatcher {
    dispatcher: dispatcher::Dispatcher,
    engine: Engine,
}

impl Dispatcher {
    /// A session in which nothing was said yet (E1), on a worker that serves `scope` and no other (D9). Waits for a worker.
    ///
    /// # Errors
    /// Those of [`dispatcher::Dispatcher::session`].
    pub fn session(&self, init: Init, scope: Scope) -> Result<Session, Error> {
        let session = self.engine.run(self.dispatcher.session(init, scope))?;
        Ok(Session::new(session, self.engine.clone()))
    }

    /// How things stand; `None` when it is closed.
    pub fn stats(&self) -> Option<DispatcherStats> {
        self.engine.run(self.dispatcher.stats())
    }

    /// Ends everything (D12). Twice is harmless.
    pub fn close(&self) {
        self.engine.run(self.dispatcher.close());
    }
}

/// [`worker::Worker`], blocking.
#[derive(Clone, Debug)]
pub struct Worker {
    worker: worker::Worker,
    engine: Engine,
}

impl Worker {
    /// What the worker said of itself (M6).
    pub fn announced(&self) -> &Announced {
        self.worker.announced()
    }

    /// The process, if we started it.
    pub fn pid(&self) -> Option<u32> {
        self.worker.pid()
    }

    /// Asks how the worker is (M2).
    ///
    /// # Errors
    /// [`ErrorKind::Transport`] when it does not answer.
    pub fn heartbeat(&self) -> Result<BTreeMap<String, String>, Error> {
        self.engine.run(self.worker.heartbeat())
    }

    /// A session in which nothing was said yet (E1).
    pub fn session(&self, init: Init) -> Session {
        Session::new(self.worker.session(init), self.engine.clone())
    }

    /// Ends the worker (D7).
    ///
    /// # Errors
    /// Those of [`worker::Worker::end`].
    pub fn end(&self) -> Result<(), Error> {
        self.engine.run(self.worker.end())
    }

    /// [`worker::Worker::disconnect`], blocking: what a program does with a worker that it was given before it exits.
    pub fn disconnect(self) {
        let Worker { worker, engine } = self;
        engine.run(worker.disconnect());
    }
}

/// One execution, for any number of threads (E1-E14). Dropping it ends what its ends do not keep alive (E12).
#[derive(Debug)]
pub struct Session {
    stage: Mutex<Stage>,
    control: session::Control,
    engine: Engine,
}

#[derive(Debug)]
enum Stage {
    Created(session::Session),
    Initializing,
    Initialized(session::OpenSession),
    /// Processing, or past it.
    Taken,
    Failed,
}

impl Session {
    fn new(session: session::Session, engine: Engine) -> Self {
        let control = session.control();
        Session { stage: Mutex::new(Stage::Created(session)), control, engine }
    }

    /// [`session::Session::init`], blocking: opens the function. Returns what InitResponse carried.
    ///
    /// # Errors
    /// The same, and [`ErrorKind::Misuse`] the second time (E2).
    pub fn init(&self) -> Result<Option<Bytes>, Error> {
        let session = self.begin()?;
        match self.engine.run(session.init()) {
            Ok(open) => {
                let data = open.init_data().cloned();
                *self.stage() = Stage::Initialized(open);
                Ok(data)
            }
            Err(error) => {
                *self.stage() = Stage::Failed;
                Err(error)
            }
        }
    }

    /// [`session::Session::pipelined`], blocking: init and processing in one, so that input need not wait for InitResponse
    /// (C1).
    ///
    /// # Errors
    /// The same, and [`ErrorKind::Misuse`] after an init (E2).
    pub fn pipelined(&self) -> Result<(Input, Opening), Error> {
        let session = self.begin()?;
        let begun = self.engine.run(session.pipelined());
        *self.stage() = if begun.is_ok() { Stage::Taken } else { Stage::Failed };
        let (input, opening) = begun?;
        let engine = &self.engine;
        Ok((Input { end: input, engine: engine.clone() }, Opening { opening, engine: engine.clone() }))
    }

    /// What nobody has begun before.
    fn begin(&self) -> Result<session::Session, Error> {
        let mut stage = self.stage();
        match std::mem::replace(&mut *stage, Stage::Initializing) {
            Stage::Created(session) => Ok(session),
            other => {
                *stage = other;
                Err(Error::new(ErrorKind::Misuse, "INIT_TWICE", "init was called before (E2)"))
            }
        }
    }

    /// The two ends, as bytes.
    ///
    /// # Errors
    /// [`ErrorKind::Misuse`] before a good init and the second time (E2).
    pub fn process(&self) -> Result<(Input, Output), Error> {
        let (input, output) = self.take()?.split();
        let engine = &self.engine;
        Ok((Input { end: input, engine: engine.clone() }, Output { end: output, engine: engine.clone() }))
    }

    /// The two ends, as record batches.
    ///
    /// # Errors
    /// Those of [`Session::process`] and of [`session::OpenSession::batches`].
    pub fn process_batches(&self) -> Result<(BatchInput, BatchOutput), Error> {
        let (input, output) = self.take()?.batches()?;
        let engine = &self.engine;
        Ok((BatchInput { end: input, engine: engine.clone() }, BatchOutput { end: output, engine: engine.clone() }))
    }

    /// A handle that outlives the session.
    pub fn control(&self) -> Control {
        Control { control: self.control.clone(), engine: self.engine.clone() }
    }

    /// Ends the session if it has not ended, and says how it did (E12). Harmless more than once, from any thread.
    pub fn close(&self) -> Termination {
        self.engine.run(self.control.close())
    }

    fn take(&self) -> Result<session::OpenSession, Error> {
        let mut stage = self.stage();
        let (next, taken) = match std::mem::replace(&mut *stage, Stage::Taken) {
            Stage::Initialized(open) => (Stage::Taken, Ok(open)),
            Stage::Taken => (Stage::Taken, Err(("PROCESS_TWICE", "process was called before (E2)"))),
            Stage::Failed => (Stage::Failed, Err(("NOT_INITIALIZED", "process needs an init that succeeded (E2)"))),
            before => (before, Err(("NOT_INITIALIZED", "process needs init first (E2)"))),
        };
        *stage = next;
        taken.map_err(|(condition, text)| Error::new(ErrorKind::Misuse, condition, text))
    }

    fn stage(&self) -> std::sync::MutexGuard<'_, Stage> {
        self.stage.lock().expect("nothing panics while it is held")
    }
}

/// [`session::Control`], blocking: cancels, interrupts, closes or watches a session, from any thread.
#[derive(Clone, Debug)]
pub struct Control {
    control: session::Control,
    engine: Engine,
}

impl Control {
    /// Cancels, once; a no-op after the end (E9). Does not block.
    pub fn cancel(&self, reason: impl Into<String>) {
        self.control.cancel(reason);
    }

    /// Cancels and waits no longer than the interrupt timeout for the worker to acknowledge it (E13). Does not block.
    pub fn interrupt(&self) {
        self.control.interrupt();
    }

    /// Ends the session if it has not ended, and says how it did (E12). Harmless more than once.
    pub fn close(&self) -> Termination {
        self.engine.run(self.control.close())
    }

    /// Waits until the session has ended, without ending it.
    pub fn ended(&self) -> Termination {
        self.engine.run(self.control.ended())
    }

    /// How the session ended, if it did. Does not block.
    pub fn termination(&self) -> Option<Termination> {
        self.control.termination()
    }

    /// What moved so far. Does not block.
    pub fn progress(&self) -> Progress {
        self.control.progress()
    }
}

/// [`session::Opening`], blocking: the output of a pipelined session (C1).
#[derive(Debug)]
pub struct Opening {
    opening: session::Opening,
    engine: Engine,
}

impl Opening {
    /// Waits for InitResponse; returns what it carried, and the output.
    ///
    /// # Errors
    /// Those of [`session::Session::init`].
    pub fn init(self) -> Result<(Option<Bytes>, Output), Error> {
        let Opening { opening, engine } = self;
        let (data, output) = engine.run(opening.init())?;
        Ok((data, Output { end: output, engine }))
    }
}

/// [`session::Input`], blocking.
#[derive(Debug)]
pub struct Input {
    end: session::Input,
    engine: Engine,
}

impl Input {
    /// Sends one DataRequest; waits while the worker is slow (E5).
    ///
    /// # Errors
    /// Those of [`session::Input::send`].
    pub fn send(&mut self, parts: impl IntoIterator<Item = Bytes>) -> Result<(), Error> {
        self.engine.run(self.end.send(parts))
    }

    /// Says that there is no more input (R5).
    ///
    /// # Errors
    /// How the execution ended, if it did already.
    pub fn finish(self) -> Result<(), Error> {
        self.engine.run(self.end.finish())
    }

    /// Cancels because the caller's own input failed, and gives the caller its error back (E8).
    pub fn fail<E: std::fmt::Display>(self, error: E) -> E {
        self.end.fail(error)
    }
}

/// [`session::Output`], blocking.
#[derive(Debug)]
pub struct Output {
    end: session::Output,
    engine: Engine,
}

impl Output {
    /// The data of the next DataResponse; `None` when the worker has finished.
    ///
    /// # Errors
    /// Those of [`session::Output::next`].
    #[expect(clippy::should_implement_trait, reason = "the same name as in the async face")]
    pub fn next(&mut self) -> Result<Option<Bytes>, Error> {
        self.engine.run(self.end.next())
    }

    /// How the execution ended, with its metrics. Cancels it when it has not ended (E12).
    ///
    /// # Errors
    /// How the execution ended, when it did not finish (E10).
    pub fn close(self) -> Result<Summary, Error> {
        self.engine.run(self.end.close())
    }
}

/// [`session::BatchInput`], blocking.
#[derive(Debug)]
pub struct BatchInput {
    end: session::BatchInput,
    engine: Engine,
}

impl BatchInput {
    /// The schema of what is sent.
    pub fn schema(&self) -> &SchemaRef {
        self.end.schema()
    }

    /// Sends a batch; waits while the worker is slow (E5).
    ///
    /// # Errors
    /// Those of [`session::BatchInput::send`].
    pub fn send(&mut self, batch: &RecordBatch) -> Result<(), Error> {
        self.engine.run(self.end.send(batch))
    }

    /// Says that there is no more input (R5).
    ///
    /// # Errors
    /// How the execution ended, if it did already.
    pub fn finish(self) -> Result<(), Error> {
        self.engine.run(self.end.finish())
    }

    /// Cancels because the caller's own input failed, and gives the caller its error back (E8).
    pub fn fail<E: std::fmt::Display>(self, error: E) -> E {
        self.end.fail(error)
    }
}

/// [`session::BatchOutput`], blocking.
#[derive(Debug)]
pub struct BatchOutput {
    end: session::BatchOutput,
    engine: Engine,
}

impl BatchOutput {
    /// The schema of what comes back.
    pub fn schema(&self) -> &SchemaRef {
        self.end.schema()
    }

    /// The next batch; `None` when the worker has finished.
    ///
    /// # Errors
    /// Those of [`session::BatchOutput::next`].
    #[expect(clippy::should_implement_trait, reason = "the same name as in the async face")]
    pub fn next(&mut self) -> Result<Option<RecordBatch>, Error> {
        self.engine.run(self.end.next())
    }

    /// How the execution ended, with its metrics. Cancels it when it has not ended (E12).
    ///
    /// # Errors
    /// How the execution ended, when it did not finish (E10).
    pub fn close(self) -> Result<Summary, Error> {
        self.engine.run(self.end.close())
    }
}
