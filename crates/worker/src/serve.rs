//! A worker as a whole: accepts executions, answers Manage, and comes to an end (M1-M6, P10).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use anyudf_grpc::{BoxFuture, Call, Listener, STREAM_WINDOWS, Server, ServerHandle, Service, Settings, Status, drive};
use anyudf_protocol::{ExecutionError, ManageRequest, ManageResponse, PROTOCOL_VERSION};
use tokio::sync::{Semaphore, watch};

use crate::counters::Totals;
use crate::error::{Error, Result};
use crate::invocation::Invocation;
use crate::link::Ends;
use crate::options::ServeOptions;
use crate::raw::PayloadFormat;
use crate::session::{Host, Session, Surroundings};
use crate::thread;
use crate::worker::Worker;

/// Extensions that an engine may use once it has read them in a heartbeat (M6).
const FEATURES: [&str; 4] = ["pipelining", "call_timeout", "max_message_bytes", STREAM_WINDOWS];

/// How far the worker has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Serving,
    /// No new executions; those in flight end normally (M3).
    Draining,
    /// Those in flight are ended (M4, C7).
    Hurrying,
}

/// Ends a worker that [`Worker::bind`] made. Clones are the same handle.
#[derive(Clone, Debug)]
pub struct Control {
    stage: Arc<watch::Sender<Stage>>,
    open: watch::Receiver<usize>,
}

impl Control {
    /// Takes no new executions, lets those in flight end, then ends the worker (M3).
    pub fn drain(&self) {
        self.advance(Stage::Draining);
    }

    /// Ends the executions in flight, then the worker (C7, M4).
    pub fn hurry(&self) {
        self.advance(Stage::Hurrying);
    }

    /// How many executions are open.
    pub fn open_sessions(&self) -> usize {
        *self.open.borrow()
    }

    /// Never back: a second, gentler request does not undo a harder one.
    fn advance(&self, to: Stage) {
        self.stage.send_if_modified(|stage| {
            let further = to > *stage;
            *stage = to.max(*stage);
            further
        });
    }

    async fn reached(&self, stage: Stage) {
        // The sender lives in this very handle.
        let _ = self.stage.subscribe().wait_for(|now| *now >= stage).await;
    }

    /// Waits until no execution is open.
    async fn settled(&self) {
        // An error means that the service is gone, and its sessions with it.
        let _ = self.open.clone().wait_for(|open| *open == 0).await;
    }
}

/// A worker that listens and does not serve yet.
#[derive(Debug)]
pub struct Bound {
    listener: Listener,
    server: Server,
    control: Control,
}

impl Worker {
    /// Binds the endpoint of `options` (P2, P6). The process is left alone: no signals are handled, no parent is
    /// watched; [`Worker::run`] does that.
    ///
    /// # Errors
    /// Kind [`Worker`](crate::ErrorKind::Worker), condition `CANT_LISTEN`, with what the system says.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    ///
    /// # Cancel safety
    /// Dropping the future unbinds.
    pub async fn bind(self, options: &ServeOptions) -> Result<Bound> {
        let listener = Listener::bind(&options.endpoint)
            .await
            .map_err(|error| Error::worker("CANT_LISTEN", error.to_string()).with_source(error))?;
        let (stage, _) = watch::channel(Stage::Serving);
        let (open, opened) = watch::channel(0);
        let control = Control { stage: Arc::new(stage), open: opened };
        let common =
            Common { formats: self.into_formats(), totals: Arc::default(), max_message: options.max_message_bytes };
        let service = Front {
            common: Arc::new(common),
            control: control.clone(),
            open,
            places: Arc::new(Semaphore::new(options.max_sessions)),
            max_sessions: options.max_sessions,
        };
        // There are more streams than places, so that who must wait for one is heard (P10).
        let settings = Settings { max_message: options.max_message_bytes, ..Settings::default() };
        let settings = settings.for_sessions(options.max_sessions);
        let server = Server::new(Arc::new(service), settings, options.token.clone()).await.map_err(|error| {
            Error::worker("CANT_REFLECT", "the checked-in descriptors do not decode").with_source(error)
        })?;
        Ok(Bound { listener, server, control })
    }
}

impl Bound {
    /// What ends it.
    pub fn control(&self) -> Control {
        self.control.clone()
    }

    /// Serves until [`Control`] or a Shutdown says stop and every execution has ended (M3, M4). The socket is removed
    /// then.
    ///
    /// # Cancel safety
    /// Dropping the future closes every connection at once.
    pub async fn serve(self) {
        let Bound { listener, server, control } = self;
        let handle = server.handle();
        tokio::join!(server.serve(listener), wind_down(control, handle));
    }
}

/// Turns the server off once the worker was told to stop and has nothing left to do (M3).
async fn wind_down(control: Control, server: ServerHandle) {
    control.reached(Stage::Draining).await;
    server.not_serving().await;
    control.settled().await;
    server.stop();
}

/// What all sessions share.
struct Common {
    formats: BTreeMap<String, Arc<PayloadFormat>>,
    totals: Arc<Totals>,
    max_message: usize,
}

impl Host for Common {
    fn launch(&self, ends: Ends, invocation: Invocation) -> Result<(), ExecutionError> {
        let Some(format) = self.formats.get(invocation.format()) else {
            return self.check_format(invocation.format());
        };
        thread::spawn(ends, Arc::clone(format), invocation).map_err(|error| {
            let text = format!("the system gives no thread for the function: {error}; serve fewer sessions at once");
            ExecutionError::worker("NO_THREAD", text)
        })
    }

    fn check_format(&self, format: &str) -> Result<(), ExecutionError> {
        if self.formats.contains_key(format) {
            return Ok(());
        }
        let known: Vec<_> = self.formats.keys().map(String::as_str).collect();
        let text = format!("the payload format `{format}` is not known here; known: {} (R18)", known.join(", "));
        Err(ExecutionError::protocol("UNKNOWN_PAYLOAD_FORMAT", text))
    }

    fn totals(&self) -> &Arc<Totals> {
        &self.totals
    }

    fn max_message(&self) -> usize {
        self.max_message
    }
}

/// Counts an open stream until it is dropped.
struct Active(watch::Sender<usize>);

impl Active {
    fn new(open: &watch::Sender<usize>) -> Self {
        open.send_modify(|open| *open += 1);
        Active(open.clone())
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.0.send_modify(|open| *open -= 1);
    }
}

/// The two methods of the protocol.
struct Front {
    common: Arc<Common>,
    control: Control,
    open: watch::Sender<usize>,
    places: Arc<Semaphore>,
    max_sessions: usize,
}

impl Front {
    /// Names and values of a heartbeat (M2, M6). Reads atomics and a file of the kernel, and waits for nothing.
    fn pulse(&self) -> BTreeMap<String, String> {
        let mut metrics: BTreeMap<String, String> =
            self.common.totals.iter().map(|(name, value)| (name.into(), value.to_string())).collect();
        let mut add = |name: &str, value: String| drop(metrics.insert(name.into(), value));
        add("sessions_active", self.open.borrow().to_string());
        if let Some(bytes) = resident_bytes() {
            add("memory_rss_bytes", bytes.to_string());
        }
        add("protocol_versions", PROTOCOL_VERSION.to_string());
        add("max_sessions", self.max_sessions.to_string());
        add("max_message_bytes", self.common.max_message.to_string());
        add("features", FEATURES.join(","));
        metrics
    }
}

impl Service for Front {
    fn execute(&self, call: Call) {
        if *self.control.stage.borrow() != Stage::Serving {
            let text = "the worker is shutting down and takes no new executions; try another one (M3)";
            return call.refuse(&Status::unavailable(text));
        }
        let (places, control) = (Arc::clone(&self.places), self.control.clone());
        let surroundings = Surroundings {
            host: Arc::clone(&self.common) as Arc<dyn Host>,
            place: Box::pin(async move { places.acquire_owned().await.expect("the semaphore is never closed") }),
            hurried: Box::pin(async move { control.reached(Stage::Hurrying).await }),
            deadline: call.deadline(),
            active: Box::new(Active::new(&self.open)),
        };
        let session = Session::new(surroundings);
        self.common.totals.sessions_total.fetch_add(1, Relaxed);
        match call.accept() {
            Ok(duplex) => drop(tokio::spawn(async move { drive(session, duplex).await.aftermath().await })),
            Err(status) => tracing::debug!(%status, "an execution was gone before it began"),
        }
    }

    fn manage(&self, request: ManageRequest) -> BoxFuture<Result<ManageResponse, Status>> {
        let response = match request {
            ManageRequest::Heartbeat => ManageResponse::Heartbeat(self.pulse()),
            ManageRequest::Shutdown { reason, cancel_sessions: false } => {
                tracing::info!(reason, "asked to shut down once all executions have ended");
                let sessions_settled = self.control.open_sessions() == 0;
                self.control.drain(); // M3
                ManageResponse::Shutdown { sessions_settled }
            }
            ManageRequest::Shutdown { reason, cancel_sessions: true } => {
                tracing::info!(reason, "asked to shut down and to end all executions");
                let control = self.control.clone();
                control.hurry(); // M4
                return Box::pin(async move {
                    control.settled().await;
                    Ok(ManageResponse::Shutdown { sessions_settled: true })
                });
            }
        };
        Box::pin(std::future::ready(Ok(response)))
    }
}

/// Resident memory of this process. Unknown where there is no procfs.
fn resident_bytes() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

/// Waits out the grace of a worker that drains, then hurries it (P3).
pub(crate) async fn hurry_after(control: &Control, grace: Duration) {
    tokio::time::sleep(grace).await;
    tracing::warn!(open = control.open_sessions(), "the grace has passed; ending the executions in flight");
    control.hurry();
}
