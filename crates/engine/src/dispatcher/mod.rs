//! From a worker specification to sessions: workers are started, reused, watched, replaced and ended (D1-D13).
//!
//! ```text
//!   Dispatcher ──request──▶ ┌─────────────────────────────┐ ──Start, Beat, End──▶ tasks ──▶ processes
//!   (any task)  ◀──grant─── │ keeper: one task            │ ◀─started, beat, died──┘
//!                           │   Pool decides, keeper acts │
//!   Session, with a lease ─▶└─────────────────────────────┘
//!            released
//! ```
//!
//! The [`Pool`](crate::pool::Pool) decides, without I/O and clock; the keeper does what it says, and never waits itself.
//! A session holds a *lease* on its worker, whose end tells the pool what the session has left (E14).

mod catalog;
mod config;
mod keeper;
mod lease;
mod metrics;
mod registry;
mod replay;
mod stats;

pub(crate) use lease::{Lease, is_shutting_down};

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::{OnceCell, mpsc, oneshot};

pub use catalog::Catalog;
pub use config::DispatcherConfig;
pub use registry::Dispatchers;
pub use replay::Replayed;
pub use stats::{DispatcherStats, WorkerState, WorkerStats};

use crate::environment::{Environment, EnvironmentConfig};
use crate::error::{Error, ErrorKind};
use crate::launcher::{LaunchConfig, Launcher};
use crate::pool::words::{Event, RequestId};
use crate::pool::{Pool, Scope, Traits};
use crate::session::{Init, OpenSession, Session};
use crate::specification::{WorkerPlan, WorkerSpecification};
use crate::worker::WorkerConfig;
use keeper::{Granted, Keeper, Message, Starter};

/// Gives sessions in workers of one specification. Clones are the same dispatcher.
///
/// Workers are started when somebody asks, and shared and reused as far as the specification says (D8). When the last clone
/// is gone everything is ended in the background, as [`close`](Dispatcher::close) does; sessions that were given are
/// cancelled then.
///
/// # Example
/// ```no_run
/// use anyudf_engine::{Dispatcher, DispatcherConfig, Init, WorkerSpecification};
///
/// # async fn run() -> Result<(), anyudf_engine::Error> {
/// let specification = WorkerSpecification::read("worker.json")?;
/// let dispatcher = Dispatcher::new(&specification, DispatcherConfig::default())?;
/// let session = dispatcher.open(Init::new("echo", "")).await?;
/// let (mut input, mut output) = session.split();
/// input.send(["a batch".into()]).await?;
/// input.finish().await?;
/// assert_eq!(output.next().await?.as_deref(), Some(&b"a batch"[..]));
/// dispatcher.close().await;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Dispatcher {
    handle: Arc<Handle>,
}

/// What the clones share.
#[derive(Debug)]
struct Handle {
    keeper: mpsc::UnboundedSender<Message>,
    next_request: AtomicU64,
    /// The file name of the program that workers run.
    program: String,
    /// What workers offer, once one was asked.
    catalog: OnceCell<Option<Arc<Catalog>>>,
    /// Somebody has closed it.
    closed: AtomicBool,
}

impl Drop for Handle {
    fn drop(&mut self) {
        // Fails when it was closed before.
        let _ = self.keeper.send(Message::Event(Event::Close));
    }
}

impl Dispatcher {
    /// A dispatcher for workers of this specification. Nothing is started yet, but for what
    /// [`min_idle`](crate::PoolConfig::min_idle) asks for.
    ///
    /// # Errors
    /// Those of [`WorkerSpecification::plan`]: a specification with faults starts nothing (D1). Those of
    /// [`with_plan`](Dispatcher::with_plan).
    ///
    /// # Panics
    /// Outside a tokio runtime with I/O and time.
    ///
    /// # Blocking
    /// For as long as making a directory and starting a small process take, about a millisecond.
    pub fn new(specification: &WorkerSpecification, config: DispatcherConfig) -> Result<Self, Error> {
        let plan = specification.plan(config.max_timeout)?;
        Dispatcher::with_plan(plan, config)
    }

    /// The same for a plan that was made already, or made by hand. Of `config.worker.launch` counts what a specification
    /// does not say.
    ///
    /// # Errors
    /// [`ErrorKind::Launch`]: `SOCKET_PATH_TOO_LONG` or `SOCKET_DIR_FAILED`, as [`Launcher::new`] says;
    /// [`ErrorKind::Misuse`], `INVALID_WORKER_COMMAND` and the like for a command that could not be run.
    ///
    /// # Panics
    /// Outside a tokio runtime with I/O and time.
    pub fn with_plan(plan: WorkerPlan, config: DispatcherConfig) -> Result<Self, Error> {
        let DispatcherConfig { pool, worker, environment_timeout, .. } = config;
        let LaunchConfig { transport, init_timeout, termination_timeout, .. } = plan.config;
        let launch = LaunchConfig { transport, init_timeout, termination_timeout, ..worker.launch.clone() };
        let environment = EnvironmentConfig {
            verification: plan.environment.verification,
            installation: plan.environment.installation,
            clean_up: plan.environment.cleanup,
            timeout: environment_timeout,
            reap_timeout: launch.reap_timeout,
        };
        let program = plan.runner.program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let (launcher, directory) = Launcher::with_private_directory(launch.clone())?;
        let environment = Environment::new(environment, directory)?;
        let starter = Starter {
            launcher,
            environment,
            runner: plan.runner,
            config: WorkerConfig { launch, ..worker },
            heartbeat_interval: pool.heartbeat_interval,
        };
        let traits =
            Traits { supports_reuse: plan.supports_reuse, supports_concurrent_udfs: plan.supports_concurrent_udfs };
        let (keeper, inbox) = mpsc::unbounded_channel();
        let pool = Pool::new(pool, traits, std::time::Instant::now());
        tokio::spawn(Keeper::new(pool, starter, keeper.clone()).run(inbox));
        Ok(Dispatcher {
            handle: Arc::new(Handle {
                keeper,
                next_request: AtomicU64::new(0),
                program,
                catalog: OnceCell::new(),
                closed: AtomicBool::new(false),
            }),
        })
    }

    /// A session in which nothing was said yet (E1), on a worker that serves `scope` and no other (D9). Waits for a worker
    /// in order of arrival.
    ///
    /// # Errors
    /// - [`ErrorKind::Timeout`], `POOL_TIMEOUT`: no worker became free within [`wait_timeout`](crate::PoolConfig).
    /// - What kept workers from starting, when as many starts failed as the pool tries, or none can succeed: those of
    ///   [`Launcher::launch`], or that the environment can't be installed (D3).
    /// - [`ErrorKind::Misuse`], `DISPATCHER_CLOSED`.
    ///
    /// # Cancel safety
    /// Dropping the future gives the place back.
    pub async fn session(&self, init: Init, scope: Scope) -> Result<Session, Error> {
        let id = RequestId(self.handle.next_request.fetch_add(1, Ordering::Relaxed));
        let (reply, answer) = oneshot::channel();
        let waiting = Waiting { dispatcher: self, id };
        self.tell(Message::Request { id, scope, reply });
        let answer = answer.await;
        // From here on the lease gives the place back.
        std::mem::forget(waiting);
        let Granted { worker, lease } = answer.unwrap_or_else(|_| Err(closed()))?;
        let label = init.label();
        let (worker_id, request) = (lease.worker(), lease.request());
        let session = Session::new(worker, init, Some(lease));
        self.tell(Message::Opened { worker: worker_id, request, control: session.control(), label });
        Ok(session)
    }

    /// A session whose function is open, in the one scope of callers who have no other.
    ///
    /// # Errors
    /// Those of [`session`](Dispatcher::session) and of [`Session::init`].
    ///
    /// # Cancel safety
    /// Dropping the future gives the place back, or cancels the session.
    pub async fn open(&self, init: Init) -> Result<OpenSession, Error> {
        self.session(init, Scope::default()).await?.init().await
    }

    /// How things stand; `None` when the dispatcher is closed.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn stats(&self) -> Option<DispatcherStats> {
        let (reply, answer) = oneshot::channel();
        self.tell(Message::Stats(reply));
        answer.await.ok()
    }

    /// Ends everything (D12): no new sessions, live ones are cancelled, all workers end at once, the environment is cleaned
    /// up. Returns when all is gone. Twice is harmless.
    ///
    /// # Cancel safety
    /// It goes on in the background when the future is dropped.
    pub async fn close(&self) {
        self.handle.closed.store(true, Ordering::Relaxed);
        let (done, closed) = oneshot::channel();
        self.tell(Message::Close(done));
        // An error means that it was closed before.
        let _ = closed.await;
    }

    /// Whether somebody has closed it.
    fn is_closed(&self) -> bool {
        self.handle.closed.load(Ordering::Relaxed)
    }

    fn tell(&self, message: Message) {
        // The keeper is gone when all is closed; whoever waits for an answer sees that.
        let _ = self.handle.keeper.send(message);
    }
}

fn closed() -> Error {
    let text = "the dispatcher is closed and gives no more sessions (D12); make another one";
    Error::new(ErrorKind::Misuse, "DISPATCHER_CLOSED", text)
}

/// Gives the place in the queue back when whoever waits does not wait any longer.
struct Waiting<'a> {
    dispatcher: &'a Dispatcher,
    id: RequestId,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.dispatcher.tell(Message::Abandoned(self.id));
    }
}
