//! The worker as a process: its command line, its signals, its parent, its log (P1-P6, P9).

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

use tokio::runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::Instant;

use crate::error::{Error, ErrorKind, Result};
use crate::options::{Asked, Parent, ServeOptions, USAGE};
use crate::parent;
use crate::serve::{Control, hurry_after};
use crate::worker::Worker;

/// The variable with the secret that callers must show (P9).
const TOKEN_VARIABLE: &str = "ANYUDF_TOKEN";

/// A second SIGTERM within this time is one that a launcher forwarded (P3).
const FORWARDED: Duration = Duration::from_secs(1);

/// A worker whose parent is gone ends within 5 s; this leaves time for the last words (P4).
const ORPHAN_GRACE: Duration = Duration::from_secs(3);

/// What a process says whose end was demanded twice: 128 and the number of SIGTERM, as shells say it.
const KILLED: u8 = 143;

impl Worker {
    /// Serves as the process that an engine started (P1-P11): reads the command line, logs to stderr, and ends as it
    /// is told. Call it from `main`, before other threads are started.
    ///
    /// The exit code is 0 after an orderly end, 2 when the command line makes no sense, 1 when the worker can't listen.
    pub fn run(self) -> ExitCode {
        self.run_with(std::env::args_os().skip(1))
    }

    /// The same with arguments given, without the program's name: for programs that do more than this.
    pub fn run_with(self, arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
        self.run_as(arguments, take_token)
    }

    /// The same with a token (P9) that was taken from the environment already, as hosts do that have a copy of it.
    pub fn run_with_token(self, arguments: impl IntoIterator<Item = OsString>, token: Option<OsString>) -> ExitCode {
        self.run_as(arguments, || token_of(token))
    }

    fn run_as(
        self,
        arguments: impl IntoIterator<Item = OsString>,
        token: impl FnOnce() -> Result<Option<String>, String>,
    ) -> ExitCode {
        let mut options = match ServeOptions::parse(arguments) {
            Ok(Asked::Serve(options)) => options,
            Ok(Asked::Help) => {
                println!("{USAGE}");
                return ExitCode::SUCCESS;
            }
            Err(error) => {
                eprintln!("error: {error}");
                return ExitCode::from(2);
            }
        };
        options.token = match token() {
            Ok(token) => token,
            Err(text) => {
                eprintln!("error: {text}");
                return ExitCode::from(2);
            }
        };
        log_to_stderr();
        match self.serve(options) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                tracing::error!(condition = error.condition(), "{error}");
                ExitCode::from(if error.kind() == ErrorKind::Misuse { 2 } else { 1 })
            }
        }
    }

    /// Serves until a Shutdown, a signal or the parent's end says stop (M3, M4, P3, P4). All I/O happens on the calling
    /// thread, user code on threads of its own.
    ///
    /// Handles SIGTERM and SIGINT for the whole process from now on. A SIGTERM that comes more than a second after
    /// another one exits the process at once (P3).
    ///
    /// # Errors
    /// When the endpoint can't be bound, or the system gives no event loop.
    pub fn serve(self, options: ServeOptions) -> Result<()> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| no_event_loop(&error))?;
        let result = runtime.block_on(self.serve_here(&options));
        // Tasks may wait for functions that never return.
        runtime.shutdown_background();
        result
    }

    async fn serve_here(self, options: &ServeOptions) -> Result<()> {
        // Before anything else: the parent that is there now is the one that started us.
        let starters = match options.parent {
            Parent::Watched => parent::starters(options.token.is_some()),
            Parent::Ignored => Vec::new(),
        };
        let terminate = signal(SignalKind::terminate()).map_err(|error| no_event_loop(&error))?;
        let interrupt = signal(SignalKind::interrupt()).map_err(|error| no_event_loop(&error))?;
        let bound = self.bind(options).await?;
        let control = bound.control();
        tracing::info!(id = options.id, endpoint = %options.endpoint, "serving");
        tokio::select! {
            () = bound.serve() => {}
            never = obey(&control, terminate, interrupt, options.grace) => match never {},
            never = follow(&control, starters, options.grace) => match never {},
        }
        tracing::info!("all executions have ended");
        Ok(())
    }
}

/// Acts on signals, for ever (P3).
async fn obey(
    control: &Control,
    mut terminate: Signal,
    mut interrupt: Signal,
    grace: Duration,
) -> std::convert::Infallible {
    let mut first: Option<Instant> = None;
    let mut hurrying = std::pin::pin!(None::<Waiting<'_>>);
    loop {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            () = async { hurrying.as_mut().as_pin_mut().expect("guarded").await }, if hurrying.is_some() => {
                hurrying.set(None);
                continue;
            }
        }
        match first {
            None => {
                tracing::info!(?grace, "told to stop: taking no new executions");
                first = Some(Instant::now());
                control.drain();
                hurrying.set(Some(Box::pin(hurry_after(control, grace))));
            }
            Some(at) if at.elapsed() < FORWARDED => {}
            Some(_) => {
                tracing::warn!("told to stop again: exiting at once");
                std::process::exit(KILLED.into());
            }
        }
    }
}

type Waiting<'a> = std::pin::Pin<Box<dyn Future<Output = ()> + 'a>>;

/// Ends the worker after one of its starters has ended (P4).
async fn follow(control: &Control, starters: Vec<parent::Starter>, grace: Duration) -> std::convert::Infallible {
    parent::any_gone(starters).await;
    tracing::info!("the process that started this worker is gone (P4)");
    control.drain();
    hurry_after(control, grace.min(ORPHAN_GRACE)).await;
    std::future::pending().await
}

fn no_event_loop(error: &std::io::Error) -> Error {
    Error::worker("NO_EVENT_LOOP", format!("the system gives no event loop: {error}"))
}

/// The token of P9, removed from the environment, so that no child of a function inherits it.
/// A token that no header can carry is refused: to go on without one would open a port to everybody.
fn take_token() -> Result<Option<String>, String> {
    let token = std::env::var_os(TOKEN_VARIABLE);
    // SAFETY: `Worker::run` asks to be called before other threads are started, and starts none itself before this.
    unsafe { std::env::remove_var(TOKEN_VARIABLE) };
    token_of(token)
}

fn token_of(token: Option<OsString>) -> Result<Option<String>, String> {
    let text = token.filter(|token| !token.is_empty()).map(std::ffi::OsString::into_string).transpose();
    text.map_err(|_| format!("the variable {TOKEN_VARIABLE} is not UTF-8; no header can carry it (P9)"))
}

/// Logs go to stderr and nowhere else (P5). A subscriber that the program has set already is left alone.
fn log_to_stderr() {
    use tracing_subscriber::EnvFilter;
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let ansi = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(ansi);
    // What can't be logged is lost, and is no reason to panic: a disk may be full. Fails when there is one already.
    let _ = log.log_internal_errors(false).try_init();
}
