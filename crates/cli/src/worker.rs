//! `anyudf worker`: serves the bundled functions.
use clap::Args;
use std::ffi::OsString;
use std::process::ExitCode;
#[derive(Debug, Args)]
pub(crate) struct WorkerArguments {
    /// What the worker is started with (P1)
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "FLAGS")]
    arguments: Vec<OsString>,
}
pub(crate) fn worker(_arguments: WorkerArguments) -> ExitCode {
    ExitCode::FAILURE
}
