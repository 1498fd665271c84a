//! `anyudf worker`: serves the bundled functions.
//!
//! What an engine starts it with is read by the SDK, since unknown flags must be ignored (P1).

use std::ffi::OsString;
use std::process::ExitCode;

use anyudf_worker::Worker;
use clap::Args;

/// The name of the command.
pub(crate) const NAME: &str = "worker";

#[derive(Debug, Args)]
pub(crate) struct WorkerArguments {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "FLAGS")]
    flags: Vec<OsString>,
}

impl WorkerArguments {
    /// The command line of a worker, if it is one: nothing but the SDK may refuse any of its flags.
    pub(crate) fn of(mut command_line: impl Iterator<Item = OsString>) -> Option<Self> {
        let _program = command_line.next();
        (command_line.next()? == NAME).then(|| WorkerArguments { flags: command_line.collect() })
    }
}

/// Runs `anyudf worker`.
pub(crate) fn worker(arguments: WorkerArguments) -> ExitCode {
    Worker::bundled().run_with(arguments.flags)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// P1: flags that are ours elsewhere are the worker's to ignore here.
    #[test]
    fn p1_a_workers_flags_are_left_to_the_worker() {
        let of = |line: &str| WorkerArguments::of(line.split(' ').map(OsString::from));
        let flags = of("anyudf worker --verbose=9 --version --id 1").map(|arguments| arguments.flags);
        assert_eq!(flags, Some(["--verbose=9", "--version", "--id", "1"].map(OsString::from).to_vec()));
        assert!(of("anyudf run worker").is_none());
        assert!(of("anyudf").is_none());
    }
}
