//! How a command ends badly, and the exit code that tells scripts which way.

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::anyhow;

/// A result of a command.
pub(crate) type Result<T = (), E = Failure> = std::result::Result<T, E>;

/// Why a command did not do what it was asked to.
#[derive(Debug)]
pub(crate) enum Failure {
    /// What was typed can't be done: exit code 2.
    Usage(anyhow::Error),
    /// A function, a worker or the data failed: exit code 1.
    Failed(anyhow::Error),
    /// SIGINT or SIGTERM; Cancel was sent: exit code 130.
    Interrupted,
    /// Whoever read our standard output has had enough, as `head` does. It is no failure: exit code 0, nothing said.
    ReaderGone,
}

impl Failure {
    /// A mistake in what was typed.
    pub(crate) fn usage(text: impl Display) -> Self {
        Failure::Usage(anyhow!("{text}"))
    }

    /// Something that failed while it was done.
    pub(crate) fn failed(text: impl Display) -> Self {
        Failure::Failed(anyhow!("{text}"))
    }

    /// Says it on stderr and gives the exit code.
    pub(crate) fn report(&self) -> ExitCode {
        let (text, code) = match self {
            Failure::Usage(error) => (format!("error: {error:#}"), 2),
            Failure::Failed(error) => (format!("error: {error:#}"), 1),
            Failure::Interrupted => ("interrupted".into(), 130),
            Failure::ReaderGone => return ExitCode::SUCCESS,
        };
        say(text);
        ExitCode::from(code)
    }
}

/// What could not be written to standard output.
pub(crate) fn unprinted(error: io::Error) -> Failure {
    crate::files::unprinted(&error).into()
}

/// Says something on stderr. That nobody listens is no failure.
pub(crate) fn say(text: impl Display) {
    let _ = writeln!(io::stderr(), "{text}");
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Failure::Failed(error)
    }
}

impl From<anyudf_engine::Error> for Failure {
    fn from(error: anyudf_engine::Error) -> Self {
        match error.condition() {
            "SPECIFICATION_NOT_READ" => Failure::Usage(error.into()),
            // Its text says everything; the source below it would only be said twice.
            "WORKER_NOT_FOUND" | "WORKER_NOT_EXECUTABLE" | "WORKER_DIRECTORY_NOT_FOUND" => Failure::failed(error),
            "WORKER_START_TIMEOUT" => Failure::failed(format_args!("{error}; --start-timeout sets it")),
            _ => Failure::Failed(error.into()),
        }
    }
}

impl From<anyudf_conformance::Error> for Failure {
    /// A flag or a file of ours that can't be used, or a worker that can't be measured. What fails in a case is no error.
    fn from(error: anyudf_conformance::Error) -> Self {
        match error.kind() {
            anyudf_conformance::ErrorKind::Usage => Failure::Usage(error.into()),
            _ => Failure::Failed(error.into()),
        }
    }
}

impl From<crate::files::Error> for Failure {
    /// Its text says everything; the source below it would only be said twice.
    fn from(error: crate::files::Error) -> Self {
        match error.kind() {
            crate::files::Kind::Usage => Failure::usage(error),
            crate::files::Kind::BrokenPipe => Failure::ReaderGone,
            crate::files::Kind::Data => Failure::failed(error),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::ReaderGone,
            _ => Failure::Failed(error.into()),
        }
    }
}
