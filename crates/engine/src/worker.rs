//! A worker: a process we started, or one we were given; the connection to it, and what it announced (M6).

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyudf_grpc::{Code, Connection, Connections, Duplex, Endpoint, Settings, Status};
use anyudf_protocol::{ManageRequest, ManageResponse};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::timeout;

use crate::error::{Error, ErrorKind};
use crate::launcher::{LaunchConfig, Launcher, WorkerCommand};
use crate::process::Process;
use crate::session::{Cause, Init, OpenSession, Pipelining, Session, SessionConfig};

/// Messages to a worker that announces no limit stay under gRPC's usual one (E4).
const UNANNOUNCED_MAX_MESSAGE: usize = (4 << 20) - 1;

/// How long a broken connection waits for the process to be seen dead, for a better error text.
const POST_MORTEM: Duration = Duration::from_millis(500);

/// How long a connection takes at most to end what has ended on it: a stream waits a second for its peer.
const PARTING: Duration = Duration::from_secs(2);

/// How a worker is started, talked to and ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerConfig {
    /// Starting and ending the process (D2).
    pub launch: LaunchConfig,
    /// Windows, frames and limits of the connection (E5, P7).
    pub settings: Settings,
    /// Timeouts and sizes of its sessions.
    pub session: SessionConfig,
    /// How often the worker is asked whether it is there. 5 s by default.
    pub heartbeat_interval: Duration,
    /// After how many unanswered heartbeats its sessions are given up. 3 by default.
    pub heartbeat_misses: u32,
}

impl Default for WorkerConfig {
    fn default() -> Self {
        WorkerConfig {
            launch: LaunchConfig::default(),
            settings: Settings::default(),
            session: SessionConfig::default(),
            heartbeat_interval: Duration::from_secs(5),
            heartbeat_misses: 3,
        }
    }
}

/// What a worker says of itself in its heartbeat (M6). One that says nothing is treated as plain Spark 4.3.0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Announced {
    /// `protocol_versions`, as numbers.
    pub protocol_versions: Vec<u32>,
    /// `max_sessions`: how many Execute streams it serves at once.
    pub max_sessions: Option<usize>,
    /// `max_message_bytes`: the largest message it takes.
    pub max_message_bytes: Option<usize>,
    /// `features`: names of extensions.
    pub features: Vec<String>,
}

impl Announced {
    fn from_heartbeat(metrics: &BTreeMap<String, String>) -> Self {
        let list = |name: &str| {
            let words = metrics.get(name).map_or("", String::as_str).split(',');
            words.map(str::trim).filter(|word| !word.is_empty()).map(String::from).collect::<Vec<_>>()
        };
        let number = |name: &str| metrics.get(name).and_then(|value| value.parse().ok());
        Announced {
            protocol_versions: list("protocol_versions").iter().filter_map(|word| word.parse().ok()).collect(),
            max_sessions: number("max_sessions"),
            max_message_bytes: number("max_message_bytes"),
            features: list("features"),
        }
    }

    /// Whether an extension was announced; only then it is used (M6).
    pub fn has(&self, feature: &str) -> bool {
        self.features.iter().any(|announced| announced == feature)
    }
}

/// A worker that answers. Clones are the same worker; sessions keep it alive.
///
/// When the last clone and the last session are gone, a process that we started is ended in the background (D7), or
/// killed at once when there is no runtime left to do so. A worker that we were given is left alone.
///
/// # Example
/// ```no_run
/// use anyudf_engine::{Init, Worker, WorkerCommand, WorkerConfig};
///
/// # async fn run() -> Result<(), anyudf_engine::Error> {
/// let command = WorkerCommand::new("anyudf", ["worker"]);
/// let worker = Worker::start(&command, WorkerConfig::default()).await?;
/// let session = worker.open(Init::new("echo", "")).await?;
/// let (mut input, mut output) = session.split();
/// input.send(["a batch".into()]).await?;
/// input.finish().await?;
/// assert_eq!(output.next().await?.as_deref(), Some(&b"a batch"[..]));
/// assert_eq!(output.next().await?, None);
/// worker.end().await?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Worker {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    connections: Connections,
    announced: Announced,
    config: WorkerConfig,
    process: Mutex<Option<Process>>,
    id: Option<String>,
    sessions: AtomicU64,
    pid: Option<u32>,
    /// Where the process is ended when the last handle goes, on whatever thread that is.
    runtime: Handle,
    exited: watch::Receiver<Option<String>>,
    lost: watch::Receiver<Option<String>>,
    watchers: Vec<AbortHandle>,
}

impl Worker {
    /// Starts a process, waits until it answers, and reads what it announces (D6, M6).
    ///
    /// # Errors
    /// Those of [`Launcher::launch`].
    ///
    /// # Panics
    /// Outside a tokio runtime with I/O and time.
    ///
    /// # Cancel safety
    /// Dropping the future ends the process.
    pub async fn start(command: &WorkerCommand, config: WorkerConfig) -> Result<Self, Error> {
        let launcher = Launcher::new(config.launch.clone())?;
        Worker::launch(&launcher, command, config, Heartbeats::Watched, std::future::pending()).await
    }

    /// A worker of a pool, which asks for its heartbeats itself (D10), and may not want it any more while it starts.
    pub(crate) async fn pooled(
        launcher: &Launcher,
        command: &WorkerCommand,
        config: WorkerConfig,
        stopped: impl Future<Output = ()>,
    ) -> Result<Self, Error> {
        Worker::launch(launcher, command, config, Heartbeats::LeftToThePool, stopped).await
    }

    async fn launch(
        launcher: &Launcher,
        command: &WorkerCommand,
        config: WorkerConfig,
        heartbeats: Heartbeats,
        stopped: impl Future<Output = ()>,
    ) -> Result<Self, Error> {
        let settings = config.settings.clone();
        let probe = |process: &Process| {
            let (endpoint, token) = (process.endpoint().clone(), process.token().clone());
            let settings = settings.clone();
            Box::pin(async move {
                let Ok(connection) = Connection::connect(&endpoint, &settings, Some(token.expose())).await else {
                    return Ok(None); // not yet
                };
                match connection.manage(ManageRequest::Heartbeat).await {
                    Err(status) if connection.is_closed() || status.code() == Code::Unavailable => Ok(None),
                    answer => Ok(Some((connection, answer))), // ready, with whatever status (D6)
                }
            }) as futures::future::BoxFuture<'_, _>
        };
        let (process, (connection, answer)) = launcher.launch_until(stopped, command, probe).await?;
        let announced = announced(answer);
        let (endpoint, token) = (process.endpoint(), Some(process.token().expose()));
        let connections = Connections::new(connection, endpoint, &config.settings, token, &announced.features);
        Worker::new(connections, announced, Some(process), config, heartbeats)
    }

    /// Uses a worker that somebody else started. It is never ended by this handle; [`end`](Worker::end) asks it to.
    ///
    /// # Errors
    /// [`ErrorKind::Transport`] when nobody listens there, [`ErrorKind::Timeout`] when what listens does not answer
    /// within the init timeout.
    ///
    /// # Panics
    /// Outside a tokio runtime with I/O and time.
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection.
    pub async fn connect(endpoint: &Endpoint, token: Option<&str>, config: WorkerConfig) -> Result<Self, Error> {
        let what = format!("the worker at {endpoint} does not answer");
        let late = || {
            let text = format!("{what} within {:?}", config.launch.init_timeout);
            Error::new(ErrorKind::Timeout, "WORKER_TIMEOUT", text)
        };
        // What listens there may be no worker at all, and silent.
        let connecting = Connection::connect(endpoint, &config.settings, token);
        let connection = timeout(config.launch.init_timeout, connecting)
            .await
            .map_err(|_| late())?
            .map_err(|status| Error::from_status(&what, status))?;
        let answer = match timeout(config.launch.init_timeout, connection.manage(ManageRequest::Heartbeat)).await {
            Ok(Err(status)) if status.code() == Code::Unauthenticated || connection.is_closed() => {
                return Err(Error::from_status(&what, status));
            }
            Ok(answer) => answer,
            Err(_) => return Err(late()),
        };
        let announced = announced(answer);
        let connections = Connections::new(connection, endpoint, &config.settings, token, &announced.features);
        Worker::new(connections, announced, None, config, Heartbeats::Watched)
    }

    fn new(
        connections: Connections,
        announced: Announced,
        process: Option<Process>,
        config: WorkerConfig,
        heartbeats: Heartbeats,
    ) -> Result<Self, Error> {
        let mut watchers = Vec::new();
        let (tell_exit, exited) = watch::channel(None);
        if let Some(process) = &process {
            let (exit, program) = (process.exited(), process.program().display().to_string());
            let tail = process.tail().clone();
            let watch = async move {
                let exit = exit.await;
                tell_exit.send_replace(Some(format!("worker `{program}` ended ({exit}); {tail}")));
            };
            watchers.push(tokio::spawn(watch).abort_handle());
        }
        let (tell_lost, lost) = watch::channel(None);
        if let Heartbeats::Watched = heartbeats {
            let (interval, misses) = (config.heartbeat_interval, config.heartbeat_misses);
            let beat = watch_heartbeat(connections.first().clone(), interval, misses, tell_lost);
            watchers.push(tokio::spawn(beat).abort_handle());
        }
        let id = process.as_ref().map(|process| process.id().to_owned());
        let pid = process.as_ref().map(Process::pid);
        let process = Mutex::new(process);
        let runtime = Handle::current();
        let inner = Inner {
            connections,
            announced,
            config,
            process,
            id,
            sessions: AtomicU64::new(0),
            pid,
            runtime,
            exited,
            lost,
            watchers,
        };
        Ok(Worker { inner: Arc::new(inner) })
    }

    /// What the worker said of itself in its first heartbeat (M6).
    pub fn announced(&self) -> &Announced {
        &self.inner.announced
    }

    /// Its id, the value of `--id`, if we started it (P1). Log lines carry it.
    pub fn id(&self) -> Option<&str> {
        self.inner.id.as_deref()
    }

    /// The process, if we started it.
    pub fn pid(&self) -> Option<u32> {
        self.inner.pid
    }

    /// Asks how the worker is (M2).
    ///
    /// # Errors
    /// [`ErrorKind::Transport`] when it is gone, [`ErrorKind::Timeout`] when it does not answer within the init timeout.
    ///
    /// # Cancel safety
    /// Dropping the future cancels the call.
    pub async fn heartbeat(&self) -> Result<BTreeMap<String, String>, Error> {
        self.heartbeat_within(self.inner.config.launch.init_timeout).await
    }

    /// The same with another limit.
    pub(crate) async fn heartbeat_within(&self, limit: Duration) -> Result<BTreeMap<String, String>, Error> {
        match self.manage(ManageRequest::Heartbeat, "a heartbeat", limit).await? {
            ManageResponse::Heartbeat(metrics) => Ok(metrics),
            ManageResponse::Shutdown { .. } => unreachable!("Connection::manage checks the branch"),
        }
    }

    async fn manage(&self, request: ManageRequest, what: &str, limit: Duration) -> Result<ManageResponse, Error> {
        match timeout(limit, self.inner.connections.first().manage(request)).await {
            Ok(answer) => answer.map_err(|status| Error::from_status(&format!("no answer to {what}"), status)),
            Err(_) => {
                let text = format!("no answer to {what} within {limit:?}");
                Err(Error::new(ErrorKind::Timeout, "WORKER_TIMEOUT", text))
            }
        }
    }

    /// A session in which nothing was said yet (E1).
    pub fn session(&self, init: Init) -> Session {
        Session::new(self.clone(), init, None)
    }

    /// A session whose function is open.
    ///
    /// # Errors
    /// Those of [`Session::init`].
    ///
    /// # Cancel safety
    /// Dropping the future cancels the session.
    pub async fn open(&self, init: Init) -> Result<OpenSession, Error> {
        self.session(init).init().await
    }

    /// Ends the worker: Shutdown, the drain timeout for the sessions that it still has, Shutdown that cancels them,
    /// SIGTERM, grace, SIGKILL, as far as it takes (D7). One that we were given is only asked. More than once is harmless.
    ///
    /// # Errors
    /// [`ErrorKind::Timeout`] when the system does not let go of the process, [`ErrorKind::Transport`] when a worker
    /// that we were given does not answer.
    ///
    /// # Cancel safety
    /// Dropping the future kills the process.
    pub async fn end(&self) -> Result<(), Error> {
        let process = self.inner.process.lock().expect("nothing panics while it is held").take();
        match process {
            Some(process) => {
                let asked = ask(self.inner.connections.first().clone(), &self.inner.config.launch);
                // Until then sessions may run that want to know how their worker is (E6).
                let ended = process.end(asked).await;
                self.inner.watchers.iter().for_each(AbortHandle::abort);
                ended.map(|_| ())
            }
            None if self.inner.pid.is_some() => Ok(()),
            None => {
                let request =
                    ManageRequest::Shutdown { reason: Some("the engine ends".into()), cancel_sessions: false };
                // As long as a new worker may take.
                let limit = self.inner.config.launch.init_timeout;
                self.manage(request, "Shutdown", limit).await.map(|_| ())
            }
        }
    }

    /// Lets go of a worker that somebody else started, and waits until the connection to it is closed in order.
    ///
    /// Who learns that a session has ended knows it before the wire does: the end of the stream, or the Cancel that nobody
    /// waits for any more (E3), may still be on its way. A program that is about to exit calls this first, so that the
    /// worker is never left with a bare broken stream (E12). Sessions that are being cancelled in the background get the
    /// time for that (E6). Where other clones and sessions that go on keep the connection, it returns after as long.
    ///
    /// # Cancel safety
    /// The handle is gone all the same when the future is dropped.
    pub async fn disconnect(self) {
        let SessionConfig { cancel_timeout, interrupt_timeout, .. } = self.inner.config.session;
        let closed = self.inner.connections.closed();
        drop(self);
        // A peer that no longer reads keeps us no longer than one that no longer answers.
        let _ = timeout(cancel_timeout.max(interrupt_timeout).saturating_add(PARTING), closed).await;
    }

    /// Ends the process without asking it (D7): the last part of [`end`](Worker::end) alone. A worker that we were given is
    /// left alone.
    ///
    /// # Errors
    /// Those of [`end`](Worker::end).
    pub(crate) async fn kill(&self) -> Result<(), Error> {
        let process = self.inner.process.lock().expect("nothing panics while it is held").take();
        match process {
            Some(process) => process.kill().await.map(|_| ()),
            None => Ok(()),
        }
    }

    /// Waits until the process that we started is dead and reaped, or has been [ended](Worker::end).
    pub(crate) fn exited(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut exited = self.inner.exited.clone();
        async move {
            // An error means that nobody watches it any more, because it was ended.
            let _ = exited.wait_for(Option::is_some).await;
        }
    }

    /// The number of the next session, from 1, for logs.
    pub(crate) fn next_session(&self) -> u64 {
        self.inner.sessions.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Whether there is nobody left to answer.
    pub(crate) fn is_disconnected(&self) -> bool {
        self.inner.connections.first().is_closed()
    }

    /// Opens a stream for a session.
    pub(crate) async fn execute(&self) -> Result<Duplex, Status> {
        self.inner.connections.execute(None).await
    }

    /// The configuration of a session with this worker: extensions only where they were announced (M6).
    pub(crate) fn session_config(&self) -> SessionConfig {
        let mut config = self.inner.config.session.clone();
        if !self.inner.announced.has("pipelining") {
            config.pipelining = Pipelining::Never;
        }
        config
    }

    /// Tells a worker that knows the key how large a message we take (M6), unless the caller has said less.
    pub(crate) fn limit_output(&self, session_conf: &mut BTreeMap<String, String>) {
        if self.inner.announced.has("max_message_bytes") {
            let most = self.inner.config.settings.max_message.to_string();
            session_conf.entry("anyudf.max_message_bytes".into()).or_insert(most);
        }
    }

    /// The largest message this worker takes, in bytes (E4).
    pub(crate) fn max_message_bytes(&self) -> usize {
        self.inner.announced.max_message_bytes.unwrap_or(UNANNOUNCED_MAX_MESSAGE)
    }

    /// Waits until the worker no longer answers its heartbeats (E6).
    pub(crate) async fn lost(&self) -> String {
        let mut lost = self.inner.lost.clone();
        let why = lost.wait_for(Option::is_some).await.ok().and_then(|why| why.clone());
        match why {
            Some(why) => why,
            None => std::future::pending().await,
        }
    }

    /// Says more of a broken transport when the process turns out to be dead.
    pub(crate) async fn explain(&self, cause: Cause) -> Cause {
        let (Cause::Broken(_) | Cause::Ended(_), Some(_)) = (&cause, self.inner.pid) else { return cause };
        let mut exited = self.inner.exited.clone();
        let how = async { exited.wait_for(Option::is_some).await.ok().and_then(|how| how.clone()) };
        match timeout(POST_MORTEM, how).await {
            Ok(Some(how)) => Cause::Died(how),
            _ => cause,
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.watchers.iter().for_each(AbortHandle::abort);
        let process = self.process.get_mut().expect("nothing panics while it is held").take();
        if let Some(process) = process {
            let (connection, launch) = (self.connections.first().clone(), self.config.launch.clone());
            self.runtime.spawn(async move {
                if let Err(error) = process.end(ask(connection, &launch)).await {
                    tracing::warn!(%error, "a worker could not be ended");
                }
            });
        }
    }
}

/// Shutdown, first politely, then, after a bounded time, with the sessions that are left (D7). A worker whose sessions have
/// ended meanwhile exits by itself (M3); whoever waits for that drops this.
async fn ask(connection: Connection, launch: &LaunchConfig) {
    let shutdown = |cancel_sessions| {
        let request = ManageRequest::Shutdown { reason: Some("the engine ends".into()), cancel_sessions };
        timeout(launch.termination_timeout, connection.manage(request))
    };
    if let Ok(Ok(ManageResponse::Shutdown { sessions_settled: false })) = shutdown(false).await {
        tokio::time::sleep(launch.drain_timeout).await;
        // What it answers changes nothing: SIGTERM is next.
        let _ = shutdown(true).await;
    }
}

fn announced(answer: Result<ManageResponse, Status>) -> Announced {
    match answer {
        Ok(ManageResponse::Heartbeat(metrics)) => Announced::from_heartbeat(&metrics),
        _ => Announced::default(),
    }
}

/// Who asks a worker for its heartbeats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heartbeats {
    /// A task of its own.
    Watched,
    LeftToThePool,
}

/// Asks every `interval`; a worker that is silent for `misses` in a row is lost (E6).
async fn watch_heartbeat(connection: Connection, interval: Duration, misses: u32, tell: watch::Sender<Option<String>>) {
    let mut missed = 0;
    loop {
        tokio::time::sleep(interval).await;
        match timeout(interval, connection.manage(ManageRequest::Heartbeat)).await {
            // An error is an answer too, unless the connection is gone: then every session has seen it already.
            Ok(_) if connection.is_closed() => return std::future::pending().await,
            Ok(_) => missed = 0,
            Err(_) => missed += 1,
        }
        if missed >= misses.max(1) {
            tell.send_replace(Some(format!("{missed} heartbeats in a row went unanswered, each for {interval:?}")));
            return;
        }
    }
}
