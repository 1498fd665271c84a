//! One worker process: what a session needs of it, and its end in one function (D7).

use std::fmt;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::time::Duration;

use anyudf_grpc::Endpoint;
use tokio::time::timeout;

use crate::child::{Child, Exit};
use crate::error::{Error, ErrorKind};
use crate::logs::Tail;
use crate::socket_dir::Socket;

/// The secret that a worker's callers must show (P9). Fresh for each worker; `Debug` does not print it.
#[derive(Clone)]
pub struct Token(String);

impl Token {
    /// 256 random bits.
    pub(crate) fn random() -> Result<Self, Error> {
        Ok(Token(random_hex::<32>()?))
    }

    /// The secret itself: 64 hexadecimal digits, as metadata `anyudf-token` carries them.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

/// `BYTES` random bytes, as hexadecimal digits.
pub(crate) fn random_hex<const BYTES: usize>() -> Result<String, Error> {
    let mut bytes = [0; BYTES];
    getrandom::fill(&mut bytes).map_err(|error| {
        let text = "cannot make a worker's secret: the system gives no random bytes (P9)";
        Error::with_source(ErrorKind::Launch, "NO_RANDOMNESS", text, std::io::Error::from(error))
    })?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// A worker process that [`Launcher::launch`](crate::Launcher::launch) started.
///
/// [`end`](Process::end) ends it in order. Dropping it kills its process group at once (D7): that does not block and
/// works without a runtime; a thread that outlives the handle reaps the process. Its socket goes with it.
#[derive(Debug)]
pub struct Process {
    // The order matters: what is dropped first dies first, and then its socket is removed.
    child: Child,
    _socket: Option<Socket>,
    id: String,
    program: PathBuf,
    endpoint: Endpoint,
    token: Token,
    tail: Tail,
    bounds: Bounds,
}

/// How long its end may take: those of [`LaunchConfig`](crate::LaunchConfig).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) drain_timeout: Duration,
    pub(crate) termination_timeout: Duration,
    pub(crate) reap_timeout: Duration,
}

/// What a [`Process`] is beside its [`Child`].
pub(crate) struct Particulars {
    pub(crate) socket: Option<Socket>,
    pub(crate) id: String,
    pub(crate) program: PathBuf,
    pub(crate) endpoint: Endpoint,
    pub(crate) token: Token,
    pub(crate) tail: Tail,
    pub(crate) bounds: Bounds,
}

impl Process {
    pub(crate) fn new(child: Child, particulars: Particulars) -> Self {
        let Particulars { socket, id, program, endpoint, token, tail, bounds } = particulars;
        Process { child, _socket: socket, id, program, endpoint, token, tail, bounds }
    }

    /// The worker's id, the value of `--id` (P1). Log lines carry it.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The system's id of the started process, which leads its process group (D4).
    pub fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// The program that was started, as it was given.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Where the worker listens (P2).
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// What its callers must show (P9).
    pub fn token(&self) -> &Token {
        &self.token
    }

    /// The last lines that it printed, oldest first: at most 50, fewer when they are long (D4).
    pub fn output_tail(&self) -> Vec<String> {
        self.tail.lines()
    }

    /// How it ended, if it has.
    pub fn exit(&self) -> Option<Exit> {
        self.child.exit()
    }

    /// Waits until the process is dead and reaped. By then its group is killed, its output is read to the end and its
    /// socket is removed. The future is independent of this handle, and there may be any number of them.
    ///
    /// # Cancel safety
    /// Safe: it only observes.
    pub fn exited(&self) -> impl Future<Output = Exit> + Send + use<> {
        self.child.exited()
    }

    /// Ends the process (D7), in this order and only as far as it takes:
    /// 1. `asked` runs, which asks it by Shutdown and lets it drain; it gets the drain timeout and the termination timeout;
    /// 2. SIGTERM to the started process, and the termination timeout for it to end;
    /// 3. SIGKILL to its whole group, also when it ended by itself and left others behind; and its reaping.
    ///
    /// # Errors
    /// [`ErrorKind::Timeout`], `WORKER_NOT_REAPED`: it is still there the reap timeout after SIGKILL, held by the system. A
    /// thread goes on waiting for it.
    ///
    /// # Panics
    /// Outside a Tokio runtime with its timers enabled.
    ///
    /// # Cancel safety
    /// Not resumable, and nothing leaks: dropping the future kills the group at once.
    pub async fn end(self, asked: impl Future<Output = ()>) -> Result<Exit, Error> {
        let Bounds { drain_timeout, termination_timeout, .. } = self.bounds;
        let mut exited = pin!(self.exited());
        tokio::select! {
            biased;
            exit = &mut exited => return Ok(exit),
            _ = timeout(drain_timeout.saturating_add(termination_timeout), asked) => {}
        }
        self.child.terminate();
        if let Ok(exit) = timeout(termination_timeout, exited).await {
            return Ok(exit);
        }
        tracing::info!(worker = self.id, "worker ignores SIGTERM and is killed");
        self.kill().await
    }

    /// The last part of [`end`](Process::end): SIGKILL to the group, and the reaping.
    pub(crate) async fn kill(&self) -> Result<Exit, Error> {
        self.child.kill();
        timeout(self.bounds.reap_timeout, self.exited()).await.map_err(|_| {
            let text = format!(
                "worker `{}` (pid {}) is still there {:?} after SIGKILL (D7): the system holds it, perhaps in a read from \
                 a device or a network file system",
                self.program.display(),
                self.pid(),
                self.bounds.reap_timeout,
            );
            Error::new(ErrorKind::Timeout, "WORKER_NOT_REAPED", text)
        })
    }

    /// The end of an error text: what the worker printed last.
    pub(crate) fn tail(&self) -> &Tail {
        &self.tail
    }
}
