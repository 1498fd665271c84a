//! The launcher: starts a worker process and waits until it answers (D4, D5, D6, P1, P2).

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener};
use std::path::PathBuf;
use std::pin::pin;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyudf_grpc::Endpoint;
use futures::future::BoxFuture;
use tokio::time::{sleep, timeout};

use crate::child::{Child, Exit};
use crate::error::{Error, ErrorKind};
use crate::logs::Tail;
use crate::process::{Bounds, Particulars, Process, Token, random_hex};
use crate::socket_dir::SocketDir;

/// The variable that carries the worker's [`Token`] (P9).
const TOKEN_VARIABLE: &str = "ANYUDF_TOKEN";

/// Bytes of a worker's id: as hexadecimal digits it is also its socket's name, which has to be short (D5).
const ID_BYTES: usize = 8;

/// How often a TCP worker is started when somebody else takes the port first (D5).
const PORT_ATTEMPTS: u32 = 4;

/// What to start: a program, its arguments, variables and working directory.
///
/// `Debug` shows the program's name alone (D13).
#[derive(Clone, PartialEq, Eq)]
pub struct WorkerCommand {
    /// The program: a name to be looked up on `PATH`, or a path. A relative path is one from this process's working
    /// directory, whatever [`directory`](WorkerCommand::directory) says.
    pub program: PathBuf,
    /// Its arguments. `--id` and `--connection` follow them (P1).
    pub arguments: Vec<OsString>,
    /// Variables that it gets beside those of this process.
    pub environment: Vec<(OsString, OsString)>,
    /// Its working directory, if it is not to be this process's.
    pub directory: Option<PathBuf>,
}

impl WorkerCommand {
    /// `program` with `arguments`, and nothing else.
    pub fn new<A: Into<OsString>>(program: impl Into<PathBuf>, arguments: impl IntoIterator<Item = A>) -> Self {
        WorkerCommand {
            program: program.into(),
            arguments: arguments.into_iter().map(Into::into).collect(),
            environment: Vec::new(),
            directory: None,
        }
    }

    /// The worker to start, as `id`, listening at `endpoint`, for callers who know `token`.
    fn to_worker(&self, id: &str, endpoint: &Endpoint, token: &Token) -> Result<Command, Error> {
        self.check(Role::Worker)?;
        let mut command = self.to_command().map_err(|error| self.cannot_start(error))?;
        command.args(["--id", id, "--connection"]);
        match endpoint {
            Endpoint::Unix(path) => command.arg(path),
            Endpoint::Tcp(port) => command.arg(port.to_string()),
        };
        command.env(TOKEN_VARIABLE, token.expose());
        Ok(command)
    }

    /// The process to start, with nothing added.
    ///
    /// # Errors
    /// When this process has no working directory that a relative path could be one from.
    pub(crate) fn to_command(&self) -> io::Result<Command> {
        let mut command = Command::new(self.absolute_program()?);
        command.args(&self.arguments).envs(self.environment.iter().map(|(name, value)| (name, value)));
        if let Some(directory) = &self.directory {
            command.current_dir(directory);
        }
        Ok(command)
    }

    /// The program, whatever the working directory: what a path with a slash is relative to after a change of directory
    /// differs between systems. A mere name stays one.
    pub(crate) fn absolute_program(&self) -> io::Result<PathBuf> {
        match self.program.components().nth(1) {
            Some(_) => std::path::absolute(&self.program),
            None => Ok(self.program.clone()),
        }
    }

    /// Refuses what no process can be given, by position, because the text may hold secrets (D13).
    pub(crate) fn check(&self, role: Role) -> Result<(), Error> {
        let zero = |text: &OsString| text.as_encoded_bytes().contains(&0);
        let odd_name = |name: &OsString| name.is_empty() || zero(name) || name.as_encoded_bytes().contains(&b'=');
        let refuse = |text: String| Err(Error::new(ErrorKind::Misuse, role.invalid(), text));
        let program = self.program.display();
        if self.program.as_os_str().is_empty() {
            return refuse(format!("the {role} command has no program; name the program {}", role.purpose()));
        }
        if let Some(place) = self.arguments.iter().position(zero) {
            return refuse(format!("argument {} of {role} `{program}` contains a zero byte", place + 1));
        }
        if let Some(place) = self.environment.iter().position(|(name, value)| odd_name(name) || zero(value)) {
            let text = "is empty, contains `=` or a zero byte in its name, or a zero byte in its value";
            return refuse(format!("variable {} of {role} `{program}` {text}", place + 1));
        }
        Ok(())
    }

    /// Says that the system did not start the worker.
    fn cannot_start(&self, error: io::Error) -> Error {
        let (reason, text) = self.why_not_started(&error);
        let text = format!("cannot start worker `{}`: {text}", self.program.display());
        Error::with_source(ErrorKind::Launch, reason, text, error)
    }

    /// Why the system did not start it, as a worker's condition (C12), and as a text that says what to try.
    pub(crate) fn why_not_started(&self, error: &io::Error) -> (&'static str, &'static str) {
        let there = self.program.components().nth(1).is_some() && self.program.exists();
        match error.kind() {
            _ if self.directory.as_ref().is_some_and(|directory| !directory.is_dir()) => {
                ("WORKER_DIRECTORY_NOT_FOUND", "its working directory is not there, or is not a directory")
            }
            io::ErrorKind::NotFound if there => {
                ("WORKER_NOT_EXECUTABLE", "what would run it, named in its first line or its header, is not installed")
            }
            io::ErrorKind::NotFound => (
                "WORKER_NOT_FOUND",
                "there is no such program; check its spelling, or give its path if it is not on PATH",
            ),
            io::ErrorKind::PermissionDenied => (
                "WORKER_NOT_EXECUTABLE",
                "it may not be executed; it has to be a file with execute permission (`chmod +x`)",
            ),
            _ if error.raw_os_error() == Some(rustix::io::Errno::NOEXEC.raw_os_error()) => (
                "WORKER_NOT_EXECUTABLE",
                "it is no program of this machine; if it is a script, its first line must name what runs it",
            ),
            _ => ("WORKER_NOT_STARTED", "the system refused; check the limits on processes, memory and arguments"),
        }
    }
}

/// What a [`WorkerCommand`] is started as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// A worker (P1).
    Worker,
    /// Tells whether the workers' environment is installed (D3).
    Verification,
    /// Installs it (D3).
    Installation,
    /// Removes it (D3).
    CleanUp,
}

impl Role {
    fn purpose(self) -> &'static str {
        match self {
            Role::Worker => "that serves the functions",
            Role::Verification => "that tells, by ending with 0, that the environment is installed",
            Role::Installation => "that installs the environment",
            Role::CleanUp => "that removes the environment",
        }
    }

    /// The condition of a command that no process can be given (C12).
    pub(crate) fn invalid(self) -> &'static str {
        match self {
            Role::Worker => "INVALID_WORKER_COMMAND",
            Role::Verification | Role::Installation | Role::CleanUp => "INVALID_ENVIRONMENT_COMMAND",
        }
    }
}

/// As texts and log lines name it.
impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Role::Worker => "worker",
            Role::Verification => "environment verification",
            Role::Installation => "environment installation",
            Role::CleanUp => "environment clean-up",
        })
    }
}

impl fmt::Debug for WorkerCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkerCommand").field("program", &self.program).finish_non_exhaustive()
    }
}

/// How a worker and its engine are connected (P2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transport {
    /// A Unix domain socket in a private directory (D5). The default.
    #[default]
    Unix,
    /// A TCP port on the loopback addresses, guarded by a token (P9).
    Tcp,
}

/// How workers are started and ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaunchConfig {
    /// How they are connected. A Unix socket by default.
    pub transport: Transport,
    /// Where the private directory for their sockets is made (D5). By default in the system's directory for temporary
    /// files, or in `/tmp` when that one's name is too long for a socket's address. Not used with [`Transport::Tcp`].
    pub socket_base: Option<PathBuf>,
    /// How long a worker may take until it answers (D2). 10 s by default.
    pub init_timeout: Duration,
    /// How long a worker that was asked to shut down may go on with the sessions it still has, before they are cancelled
    /// (D7). It is over as soon as they are: only one that has sessions left takes that long. 1 s by default, which is
    /// for the last words of sessions that are over here; longer lets neighbours finish, zero cancels them at once.
    pub drain_timeout: Duration,
    /// How long a worker may take to answer Shutdown, and then to end after SIGTERM (D2). 5 s by default, each.
    pub termination_timeout: Duration,
    /// How long to wait for the system after SIGKILL (D2). 5 s by default.
    pub reap_timeout: Duration,
}

impl Default for LaunchConfig {
    fn default() -> Self {
        LaunchConfig {
            transport: Transport::Unix,
            socket_base: None,
            init_timeout: Duration::from_secs(10),
            drain_timeout: Duration::from_secs(1),
            termination_timeout: Duration::from_secs(5),
            reap_timeout: Duration::from_secs(5),
        }
    }
}

/// Starts worker processes. Their sockets share one private directory, which is removed when the launcher and its
/// processes are gone (D5).
///
/// # Example
/// ```
/// use std::time::Duration;
///
/// use anyudf_engine::{LaunchConfig, Launcher, WorkerCommand};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), anyudf_engine::Error> {
/// let launcher = Launcher::new(LaunchConfig { init_timeout: Duration::from_secs(30), ..LaunchConfig::default() })?;
///
/// // Not yet a worker: it makes a file where its socket should be, and waits to be ended.
/// let command = WorkerCommand::new("sh", ["-c", ": > $4; exec sleep 600", "sh"]);
/// let (process, answer) = launcher.launch(&command, |_| Box::pin(async { Ok(Some("hello")) })).await?;
/// assert_eq!(answer, "hello");
///
/// let exit = process.end(async { /* ask by Shutdown */ }).await?;
/// assert_eq!(exit.to_string(), "signal: 15 (SIGTERM)");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Launcher {
    config: LaunchConfig,
    /// Where sockets are made.
    sockets: Option<Arc<SocketDir>>,
    /// Whose watchdog is told of the processes, when they have no sockets there.
    guard: Option<Arc<SocketDir>>,
}

impl Launcher {
    /// A launcher, and the directory for its sockets.
    ///
    /// # Errors
    /// [`ErrorKind::Launch`]: `SOCKET_PATH_TOO_LONG` when the base directory's name leaves no room for a socket's,
    /// `SOCKET_DIR_FAILED` when the directory cannot be made.
    pub fn new(config: LaunchConfig) -> Result<Self, Error> {
        let sockets = match config.transport {
            Transport::Unix => Some(SocketDir::new(config.socket_base.as_deref(), 2 * ID_BYTES)?),
            Transport::Tcp => None,
        };
        Ok(Launcher { config, sockets, guard: None })
    }

    /// A launcher whose private directory is there whatever the transport, guarded by a watchdog: an environment may owe
    /// it a clean-up (D3). What dead engines have left beside it is swept in the background. Blocks for as long as starting
    /// the watchdog takes.
    ///
    /// # Errors
    /// Those of [`new`](Launcher::new).
    pub(crate) fn with_private_directory(config: LaunchConfig) -> Result<(Self, Arc<SocketDir>), Error> {
        let dir = SocketDir::new(config.socket_base.as_deref(), 2 * ID_BYTES)?;
        dir.guard();
        dir.sweep_beside();
        let sockets = match config.transport {
            Transport::Unix => Some(Arc::clone(&dir)),
            Transport::Tcp => None,
        };
        Ok((Launcher { config, sockets, guard: Some(Arc::clone(&dir)) }, dir))
    }

    /// How workers are started and ended.
    pub fn config(&self) -> &LaunchConfig {
        &self.config
    }

    /// Starts a worker and waits until it answers (D6).
    ///
    /// It is started as `command`'s arguments and `--id ID --connection WHERE` (P1), in a process group of its own, with
    /// an empty stdin and its output drained (D4), and with a fresh [`Token`] in `ANYUDF_TOKEN` (P9).
    ///
    /// `probe` is asked, again and again once the socket is there, whether the worker answers a gRPC call, with whatever
    /// status. `Some` is that it does, and what came of it, such as a connection; it is returned beside the process.
    /// `None` is not yet. An error ends the attempt. A probe may hang: the timeout covers it. It takes a copy of what it needs
    /// of the process.
    ///
    /// # Errors
    /// The process is dead by then, and its error says how it ended and what it printed last.
    /// - [`ErrorKind::Misuse`], `INVALID_WORKER_COMMAND`: no program, or bytes in an argument or a variable that no process
    ///   can be given.
    /// - [`ErrorKind::Launch`]: `WORKER_NOT_FOUND`, `WORKER_NOT_EXECUTABLE`, `WORKER_DIRECTORY_NOT_FOUND`,
    ///   `WORKER_NOT_STARTED` when the system did not start it; `WORKER_EXITED` when it ended before it answered, noticed at
    ///   once; `NO_FREE_PORT`; `NO_RANDOMNESS`.
    /// - [`ErrorKind::Timeout`], `WORKER_START_TIMEOUT`: it did not answer within the init timeout.
    /// - Whatever `probe` returns.
    ///
    /// # Panics
    /// Outside a Tokio runtime with its timers enabled.
    ///
    /// # Cancel safety
    /// Not resumable, and nothing leaks: dropping the future kills the process group at once.
    pub async fn launch<T>(
        &self,
        command: &WorkerCommand,
        probe: impl Fn(&Process) -> BoxFuture<'static, Result<Option<T>, Error>>,
    ) -> Result<(Process, T), Error> {
        self.launch_until(std::future::pending(), command, probe).await
    }

    /// The same until `stopped`. Unlike with dropping the future, the process is dead and reaped when that is told by an
    /// error, `WORKER_NOT_STARTED`, unless the system holds it for longer than the reap timeout.
    pub(crate) async fn launch_until<T>(
        &self,
        stopped: impl Future<Output = ()>,
        command: &WorkerCommand,
        probe: impl Fn(&Process) -> BoxFuture<'static, Result<Option<T>, Error>>,
    ) -> Result<(Process, T), Error> {
        let mut stopped = pin!(stopped);
        let started = Instant::now();
        let mut attempt = 1;
        loop {
            let process = self.start(command).await?;
            let left = self.config.init_timeout.saturating_sub(started.elapsed());
            let ready = tokio::select! {
                ready = ready(&process, &probe, left) => ready,
                () = &mut stopped => Err(Unready::Stopped),
            };
            let unready = match ready {
                Ok(answer) => {
                    tracing::debug!(worker = process.id(), "worker answers after {:?}", started.elapsed());
                    return Ok((process, answer));
                }
                Err(unready) => unready,
            };
            match &unready {
                Unready::Exited(_) if attempt < PORT_ATTEMPTS && port_is_taken(process.endpoint()) => attempt += 1,
                _ => return Err(self.unready(process, unready).await),
            }
            tracing::debug!(worker = process.id(), "worker found its port taken, and is started with another");
        }
    }

    /// Starts a process that does not answer yet.
    async fn start(&self, command: &WorkerCommand) -> Result<Process, Error> {
        let id = random_hex::<ID_BYTES>()?;
        let token = Token::random()?;
        let socket = self.sockets.as_ref().map(|sockets| sockets.socket(&id));
        let endpoint = match &socket {
            Some(socket) => Endpoint::Unix(socket.path().into()),
            None => Endpoint::Tcp(free_port()?),
        };
        let tail = Tail::default();
        let guard = || self.guard.as_ref().map(|dir| dir.remains());
        let remains = socket.as_ref().map(|socket| socket.remains()).or_else(guard);
        let child = command.to_worker(&id, &endpoint, &token)?;
        let child = Child::start(child, id.clone(), tail.clone(), remains).await;
        let child = child.map_err(|error| command.cannot_start(error))?;
        let program = command.program.clone();
        tracing::debug!(worker = id, pid = child.pid(), %endpoint, program = %program.display(), "worker started");
        let LaunchConfig { drain_timeout, termination_timeout, reap_timeout, .. } = self.config;
        let bounds = Bounds { drain_timeout, termination_timeout, reap_timeout };
        let particulars = Particulars { socket, id, program, endpoint, token, tail, bounds };
        Ok(Process::new(child, particulars))
    }

    /// Ends a process that did not get ready, and says why.
    async fn unready(&self, process: Process, unready: Unready) -> Error {
        let bound = match process.endpoint() {
            Endpoint::Unix(path) => path.exists(),
            tcp @ Endpoint::Tcp(_) => port_is_taken(tcp),
        };
        // Before its output is shown it is dead, so that all of it was read. That fails only when the system holds the
        // process, which then is not what the caller should read about.
        let _ = process.kill().await;
        let (program, endpoint, tail) = (process.program().display(), process.endpoint(), process.tail());
        match unready {
            Unready::Refused(error) => error,
            Unready::Stopped => {
                let text = format!("worker `{program}` was ended before it answered: it is no longer wanted");
                Error::new(ErrorKind::Launch, "WORKER_NOT_STARTED", text)
            }
            Unready::Exited(exit) => {
                let text = format!(
                    "worker `{program}` ended before it answered ({exit}) (D6); to see more, run it by hand and add \
                     `--id 1 --connection /tmp/worker.sock`; {tail}"
                );
                Error::new(ErrorKind::Launch, "WORKER_EXITED", text)
            }
            Unready::Late => {
                let bound = match (endpoint, bound) {
                    (Endpoint::Unix(_), false) => "it never bound its socket",
                    (Endpoint::Tcp(_), false) => "it never bound its port",
                    (_, true) => "it bound its end, and answered no call",
                };
                let text = format!(
                    "worker `{program}` did not answer within {:?} (D6): {bound}; it must listen where `--connection` says \
                     ({endpoint}), or be given a longer init timeout; {tail}",
                    self.config.init_timeout,
                );
                Error::new(ErrorKind::Timeout, "WORKER_START_TIMEOUT", text)
            }
        }
    }
}

/// Why a process did not get ready.
enum Unready {
    Exited(Exit),
    Late,
    /// Nobody wants it any more.
    Stopped,
    Refused(Error),
}

/// Waits until `probe` gets an answer, at most for `left`, unless the process ends before (D6).
async fn ready<T>(
    process: &Process,
    probe: &impl Fn(&Process) -> BoxFuture<'static, Result<Option<T>, Error>>,
    left: Duration,
) -> Result<T, Unready> {
    let answered = async {
        let started = Instant::now();
        loop {
            if may_be_bound(process.endpoint())
                && let Some(answer) = probe(process).await?
            {
                return Ok(answer);
            }
            // A sixteenth of the time already spent: looking again costs a fast worker 1 ms and a slow one little.
            sleep((started.elapsed() / 16).clamp(Duration::from_millis(1), Duration::from_millis(20))).await;
        }
    };
    tokio::select! {
        biased;
        exit = process.exited() => Err(Unready::Exited(exit)),
        answer = timeout(left, answered) => match answer {
            Ok(answer) => answer.map_err(Unready::Refused),
            Err(_) => Err(Unready::Late),
        },
    }
}

/// Whether it is worth calling: to look for a socket's file is cheaper than a call.
fn may_be_bound(endpoint: &Endpoint) -> bool {
    match endpoint {
        Endpoint::Unix(path) => path.exists(),
        Endpoint::Tcp(_) => true,
    }
}

/// Whether somebody listens on the port of `endpoint`: seen after our worker's death, it lost the race for it (D5).
fn port_is_taken(endpoint: &Endpoint) -> bool {
    let taken = |bound: io::Result<TcpListener>| bound.is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse);
    match *endpoint {
        Endpoint::Unix(_) => false,
        Endpoint::Tcp(port) => {
            taken(TcpListener::bind((Ipv4Addr::LOCALHOST, port)))
                || taken(TcpListener::bind((Ipv6Addr::LOCALHOST, port)))
        }
    }
}

/// A port that is free on both loopback addresses, or on the first where there is no IPv6 (D5). Free for now: between
/// this and the worker's bind it can be lost.
fn free_port() -> Result<u16, Error> {
    let failed = |error| {
        let text = "no TCP port is free on the loopback addresses (D5); end what holds them, or use Unix sockets";
        Error::with_source(ErrorKind::Launch, "NO_FREE_PORT", text, error)
    };
    let mut attempts = 32;
    loop {
        let first = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed)?;
        let port = first.local_addr().map_err(failed)?.port();
        match TcpListener::bind((Ipv6Addr::LOCALHOST, port)) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && attempts > 0 => attempts -= 1,
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => return Err(failed(error)),
            _ => return Ok(port),
        }
    }
}
