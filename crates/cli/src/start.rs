//! Which worker to start, and how: what `--worker` and its neighbours mean.

use std::ffi::OsString;
use std::num::{NonZeroU64, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use anyudf_engine::{
    DEFAULT_MAX_TIMEOUT, Dispatcher, DispatcherConfig, Settings, WorkerCommand, WorkerPlan, WorkerSpecification,
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

    #[command(flatten)]
    pub(crate) pool: PoolArguments,
}

/// How workers are started, shared and replaced.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Worker")]
pub(crate) struct PoolArguments {
    /// How long the worker may take until it answers; 10s without it, or what the specification says
    #[arg(long, value_name = "TIME", value_parser = units::duration)]
    pub(crate) start_timeout: Option<Duration>,

    /// How many sessions may share a process of the worker, if it says that they can; as many as it says without it
    #[arg(long, value_name = "N")]
    pub(crate) sessions_per_worker: Option<NonZeroUsize>,

    /// How many sessions a process of the worker may serve before it is replaced
    #[arg(long, value_name = "N")]
    pub(crate) worker_max_sessions: Option<NonZeroU64>,

    /// How old a process of the worker may become before it is replaced
    #[arg(long, value_name = "TIME", value_parser = units::duration)]
    pub(crate) worker_max_age: Option<Duration>,

    /// How long a session may wait for a process of the worker; 60s without it
    #[arg(long, value_name = "TIME", value_parser = units::duration)]
    pub(crate) worker_wait: Option<Duration>,

    /// How often processes of the worker are asked whether they are there; three missed answers in a row end one; 5s
    /// without it
    #[arg(long, value_name = "TIME", value_parser = units::duration)]
    pub(crate) heartbeat: Option<Duration>,

    /// Fail when nothing moves for so long although it is the worker's turn
    #[arg(long, value_name = "TIME", value_parser = units::duration)]
    pub(crate) idle_limit: Option<Duration>,

    /// End a process of the worker that holds more memory than this, and say which function held it
    #[arg(long, value_name = "SIZE", value_parser = units::bytes)]
    pub(crate) worker_memory: Option<usize>,

    /// The largest message to take from the worker, 64KiB at least; the bundled one takes as much
    #[arg(long, value_name = "SIZE", value_parser = message_bytes)]
    pub(crate) max_message_bytes: Option<usize>,
}

/// What to start, and how many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Start {
    plan: WorkerPlan,
    config: DispatcherConfig,
}

impl StartArguments {
    /// What to start, and how: at most `most` processes.
    ///
    /// # Errors
    /// Those of [`PoolArguments::start`].
    pub(crate) fn start(&self, most: usize) -> Result<Start> {
        self.pool.start(self.worker.as_deref(), most)
    }
}

impl PoolArguments {
    /// What to start, and how: at most `most` processes of `worker`, or of the bundled one. Nothing is started yet. What was
    /// typed goes before what a specification says.
    ///
    /// # Errors
    /// [`Failure::Usage`] for a command line that is none or a file that can't be read; [`Failure::Failed`] for a
    /// specification that is none or has faults (D1).
    pub(crate) fn start(&self, worker: Option<&str>, most: usize) -> Result<Start> {
        let mut plan = match worker.map(Named::of).transpose()? {
            None => {
                let mut command = bundled()?;
                if let Some(bytes) = self.max_message_bytes {
                    command.arguments.extend(["--max-message-bytes".into(), OsString::from(bytes.to_string())]);
                }
                WorkerPlan::from(command)
            }
            Some(Named::Command(command)) => WorkerPlan::from(command),
            Some(Named::Specification(path)) => planned(&path)?,
        };
        plan.config.init_timeout = self.start_timeout.unwrap_or(plan.config.init_timeout);
        let settings = Settings::default();
        let max_message = self.max_message_bytes.unwrap_or(settings.max_message);
        let mut config = DispatcherConfig::default();
        config.worker.settings = Settings { max_message, ..settings };
        config.worker.session.idle_limit = self.idle_limit;
        let pool = &mut config.pool;
        pool.max_workers = most;
        pool.sessions_per_worker = self.sessions_per_worker.map(NonZeroUsize::get);
        pool.max_sessions = self.worker_max_sessions.map(NonZeroU64::get);
        pool.max_age = self.worker_max_age;
        pool.memory_limit = self.worker_memory.map(|bytes| bytes as u64);
        pool.wait_timeout = self.worker_wait.unwrap_or(pool.wait_timeout);
        pool.heartbeat_interval = self.heartbeat.unwrap_or(pool.heartbeat_interval);
        // A worker that does not start is what the user wants to read about, and at once.
        pool.start_attempts = 1;
        Ok(Start { plan, config })
    }
}

/// The size of a message, which a worker's last words must fit (P7).
fn message_bytes(text: &str) -> std::result::Result<usize, String> {
    match units::bytes(text)? {
        bytes if bytes < 64 << 10 => Err("a worker's messages need 64KiB at least (P7)".into()),
        bytes => Ok(bytes),
    }
}

impl Start {
    /// A failed start is tried again, for runs that may repeat what went wrong. The pauses are short: somebody waits for the
    /// run, and wants to know within seconds that no worker starts at all.
    pub(crate) fn patient(mut self) -> Self {
        self.config.pool.start_attempts = 12;
        self.config.pool.backoff_max = Duration::from_secs(1);
        self
    }

    /// The program of the worker, for people.
    pub(crate) fn program(&self) -> String {
        self.plan.runner.program.display().to_string()
    }

    /// Gives sessions in these workers. Nothing is started before the first.
    ///
    /// # Errors
    /// The directory for sockets can't be made, or the environment's commands could not be run.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub(crate) fn dispatcher(self) -> Result<Dispatcher> {
        Ok(Dispatcher::with_plan(self.plan, self.config)?)
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
    plan.map_err(|error| Failure::failed(format_args!("--worker {}: {error}", path.display())))
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
