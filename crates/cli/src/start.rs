//! Which worker to start, and how: what `--worker` and its neighbours mean.

use std::ffi::OsString;
use std::time::Duration;

use anyhow::Context as _;
use anyudf_engine::{LaunchConfig, Settings, WorkerCommand, WorkerConfig};
use clap::Args;

use crate::failure::{Failure, Result};
use crate::units;

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Worker")]
pub(crate) struct StartArguments {
    /// The command line that starts the worker; without it, the bundled functions
    ///
    /// It is split as a shell would, and run without one. `--id ID --connection WHERE` are added to it.
    #[arg(long, value_name = "COMMAND LINE")]
    pub(crate) worker: Option<String>,

    /// How long the worker may take until it answers
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = units::duration)]
    pub(crate) start_timeout: Duration,

    /// The largest message to take from the worker; the bundled one takes as much
    #[arg(long, value_name = "SIZE", value_parser = units::bytes)]
    pub(crate) max_message_bytes: Option<usize>,
}

impl StartArguments {
    /// What to start.
    ///
    /// # Errors
    /// [`Failure::Usage`] for a command line that is none.
    pub(crate) fn command(&self) -> Result<WorkerCommand> {
        match &self.worker {
            Some(line) => parse(line),
            None => {
                let mut command = bundled()?;
                if let Some(bytes) = self.max_message_bytes {
                    command.arguments.extend(["--max-message-bytes".into(), OsString::from(bytes.to_string())]);
                }
                Ok(command)
            }
        }
    }

    /// How to start it and talk to it.
    pub(crate) fn config(&self) -> WorkerConfig {
        let settings = Settings::default();
        let max_message = self.max_message_bytes.unwrap_or(settings.max_message);
        WorkerConfig {
            launch: LaunchConfig { init_timeout: self.start_timeout, ..LaunchConfig::default() },
            settings: Settings { max_message, ..settings },
            ..WorkerConfig::default()
        }
    }
}

/// The worker of the bundled functions: this very program.
///
/// # Errors
/// When the system does not say where our own binary is.
pub(crate) fn bundled() -> Result<WorkerCommand> {
    let program = std::env::current_exe().context("can't find our own binary to start the bundled worker")?;
    Ok(WorkerCommand::new(program, [crate::worker::NAME]))
}

fn parse(line: &str) -> Result<WorkerCommand> {
    let Some(words) = shlex::split(line) else {
        return Err(Failure::usage("--worker has a quote that is not closed, or ends in a backslash"));
    };
    match &words[..] {
        [] => Err(Failure::usage("--worker is empty; give the command line that starts the worker")),
        [specification] if specification.ends_with(".json") => Err(Failure::usage(format_args!(
            "--worker {specification} names a worker specification, which the next release will read; \
             for now give the command line that starts the worker"
        ))),
        [program, arguments @ ..] => Ok(WorkerCommand::new(program, arguments)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_is_split_as_a_shell_would() {
        let command = parse(r#"python3 -u 'my worker.py' --conf "a b" x.json"#).expect("it is a command line");
        assert_eq!(command, WorkerCommand::new("python3", ["-u", "my worker.py", "--conf", "a b", "x.json"]));
    }

    #[test]
    fn what_is_no_command_line_is_a_usage_error() {
        for line in ["", "   ", "worker 'open", "worker.json"] {
            assert!(matches!(parse(line), Err(Failure::Usage(_))), "{line}");
        }
    }
}
