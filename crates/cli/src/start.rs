//! Which worker to start, and how: what `--worker` and its neighbours mean.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use anyudf_engine::{
    DEFAULT_MAX_TIMEOUT, LaunchConfig, Settings, WorkerCommand, WorkerConfig, WorkerPlan, WorkerSpecification,
};
use clap::Args;

use crate::failure::{Failure, Result};
use crate::units;

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Worker")]
pub(crate) struct StartArguments {
    /// The command line that starts the worker, or a worker specification, whose name ends in .json; without it, the
    /// bundled functions
    ///
    /// A command line is split as a shell would, and run without one. `--id ID --connection WHERE` are added to it.
    /// `anyudf spec new` writes a specification.
    #[arg(long, value_name = "COMMAND LINE|FILE")]
    pub(crate) worker: Option<String>,

    /// How long the worker may take until it answers; 10s without it, or what the specification says
    #[arg(long, value_name = "TIME", value_parser = units::duration)]
    pub(crate) start_timeout: Option<Duration>,

    /// The largest message to take from the worker; the bundled one takes as much
    #[arg(long, value_name = "SIZE", value_parser = units::bytes)]
    pub(crate) max_message_bytes: Option<usize>,
}

/// What to start, how to start it and how to talk to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Start {
    pub(crate) command: WorkerCommand,
    pub(crate) config: WorkerConfig,
}

impl StartArguments {
    /// What to start, and how. Nothing is started yet. What was typed goes before what a specification says.
    ///
    /// # Errors
    /// [`Failure::Usage`] for a command line that is none, a file that can't be read, or an environment;
    /// [`Failure::Failed`] for a specification that is none or has faults (D1).
    pub(crate) fn start(&self) -> Result<Start> {
        let (command, launch) = match self.worker.as_deref().map(Named::of).transpose()? {
            None => {
                let mut command = bundled()?;
                if let Some(bytes) = self.max_message_bytes {
                    command.arguments.extend(["--max-message-bytes".into(), OsString::from(bytes.to_string())]);
                }
                (command, LaunchConfig::default())
            }
            Some(Named::Command(command)) => (command, LaunchConfig::default()),
            Some(Named::Specification(path)) => {
                let plan = planned(&path)?;
                (plan.runner, plan.config)
            }
        };
        let init_timeout = self.start_timeout.unwrap_or(launch.init_timeout);
        let settings = Settings::default();
        let max_message = self.max_message_bytes.unwrap_or(settings.max_message);
        let config = WorkerConfig {
            launch: LaunchConfig { init_timeout, ..launch },
            settings: Settings { max_message, ..settings },
            ..WorkerConfig::default()
        };
        Ok(Start { command, config })
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

/// What `--worker` names.
#[derive(Debug, PartialEq, Eq)]
enum Named {
    Command(WorkerCommand),
    Specification(PathBuf),
}

impl Named {
    fn of(line: &str) -> Result<Named> {
        // A file's name may have spaces, which a shell has taken the quotes from.
        if line.ends_with(".json") && Path::new(line).is_file() {
            return Ok(Named::Specification(line.into()));
        }
        let Some(words) = shlex::split(line) else {
            return Err(Failure::usage("--worker has a quote that is not closed, or ends in a backslash"));
        };
        match &words[..] {
            [] => Err(Failure::usage("--worker is empty; give the command line that starts the worker")),
            [specification] if specification.ends_with(".json") => Ok(Named::Specification(specification.into())),
            [program, arguments @ ..] => Ok(Named::Command(WorkerCommand::new(program, arguments))),
        }
    }
}

/// What the specification at `path` comes to.
fn planned(path: &Path) -> Result<WorkerPlan> {
    let specification = WorkerSpecification::read(path)?;
    let plan = specification.plan(DEFAULT_MAX_TIMEOUT);
    let plan = plan.map_err(|error| Failure::failed(format_args!("--worker {}: {error}", path.display())))?;
    // To run it without would be to run something else.
    if !plan.environment.is_empty() {
        return Err(Failure::usage(format_args!(
            "--worker {}: it has an `environment`, which this command does not prepare yet; prepare it by hand, and \
             name a specification without one",
            path.display()
        )));
    }
    Ok(plan)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(line: &str) -> Named {
        Named::of(line).unwrap_or_else(|failure| panic!("{line}: {failure:?}"))
    }

    #[test]
    fn a_command_line_is_split_as_a_shell_would() {
        let line = r#"python3 -u 'my worker.py' --conf "a b" x.json"#;
        let words = WorkerCommand::new("python3", ["-u", "my worker.py", "--conf", "a b", "x.json"]);
        assert_eq!(command(line), Named::Command(words));
    }

    #[test]
    fn a_single_word_that_ends_in_json_is_a_specification() {
        for (line, path) in [("worker.json", "worker.json"), (" 'my worker.json'", "my worker.json")] {
            assert_eq!(command(line), Named::Specification(path.into()), "{line}");
        }
        assert_eq!(command("worker.json x"), Named::Command(WorkerCommand::new("worker.json", ["x"])));
    }

    #[test]
    fn what_is_no_command_line_is_a_usage_error() {
        for line in ["", "   ", "worker 'open"] {
            assert!(matches!(Named::of(line), Err(Failure::Usage(_))), "{line}");
        }
    }
}
