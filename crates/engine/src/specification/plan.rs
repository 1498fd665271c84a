//! What a launcher makes of a specification (D2).

use std::time::Duration;

use anyudf_protocol::wire::{ProcessCallable, worker_connection_spec};

use super::WorkerSpecification;
use crate::error::Error;
use crate::launcher::{LaunchConfig, Transport, WorkerCommand};

/// The longest that a specification may make an engine wait, unless the engine says otherwise (D2).
pub const DEFAULT_MAX_TIMEOUT: Duration = Duration::from_secs(30);

/// What to run and how: a specification without faults, with every default filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerPlan {
    /// The worker's process.
    pub runner: WorkerCommand,
    /// What has to be run before the first worker and after the last (D3).
    pub environment: WorkerEnvironment,
    /// How the worker is connected, and its timeouts (D2). The rest is as in [`LaunchConfig::default`].
    pub config: LaunchConfig,
    /// The timeouts that the specification wanted to be longer than the engine's maximum (D2).
    pub clamped: Vec<Clamped>,
    /// Whether a process may serve another session when one has ended (D8).
    pub supports_reuse: bool,
    /// Whether a process serves several sessions at once (D8).
    pub supports_concurrent_udfs: bool,
}

/// The programs that put a worker's surroundings in order (D3). They get no `--id` and no `--connection`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WorkerEnvironment {
    /// Installs what the worker needs.
    pub installation: Option<WorkerCommand>,
    /// With exit status 0 it says that installation is needless.
    pub verification: Option<WorkerCommand>,
    /// Takes away what installation left.
    pub cleanup: Option<WorkerCommand>,
}

impl WorkerEnvironment {
    /// Whether there is nothing to run.
    pub fn is_empty(&self) -> bool {
        *self == WorkerEnvironment::default()
    }
}

/// A timeout that was cut to the engine's maximum (D2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clamped {
    /// The path of the field in the specification.
    pub field: &'static str,
    /// What the specification says.
    pub asked: Duration,
    /// What it gets: the maximum.
    pub granted: Duration,
}

impl From<WorkerCommand> for WorkerPlan {
    /// A worker without a specification, connected and timed as by default. Its processes are reused, and shared as far as
    /// they announce it themselves (M6).
    fn from(runner: WorkerCommand) -> Self {
        WorkerPlan {
            runner,
            environment: WorkerEnvironment::default(),
            config: LaunchConfig::default(),
            clamped: Vec::new(),
            supports_reuse: true,
            supports_concurrent_udfs: true,
        }
    }
}

impl WorkerSpecification {
    /// What to run and how, with timeouts of at most `max_timeout` (D2): [`DEFAULT_MAX_TIMEOUT`] suits most engines.
    ///
    /// A timeout that is cut is logged as a warning, and listed in [`WorkerPlan::clamped`].
    ///
    /// # Errors
    /// Those of [`check`](WorkerSpecification::check): a specification with faults starts nothing (D1).
    pub fn plan(&self, max_timeout: Duration) -> Result<WorkerPlan, Error> {
        self.check()?;
        let direct = self.direct().expect("checked above");
        let properties = direct.properties.expect("checked above");
        let connection = properties.connection.and_then(|connection| connection.transport).expect("checked above");
        let capabilities = self.message.capabilities.as_ref().expect("checked above");

        let mut clamped = Vec::new();
        let mut timeout = |field, millis: Option<i32>, default: Duration| {
            let asked = millis.map(|millis| Duration::from_millis(millis.max(0).unsigned_abs().into()));
            if let Some(asked) = asked.filter(|&asked| asked > max_timeout) {
                tracing::warn!(
                    program = self.program(),
                    "{field} of the worker specification is {asked:?}, cut to the engine's maximum of {max_timeout:?} (D2)"
                );
                clamped.push(Clamped { field, asked, granted: max_timeout });
            }
            asked.unwrap_or(default).min(max_timeout)
        };
        let default = LaunchConfig::default();
        let initialization = ("direct.properties.initializationTimeoutMs", properties.initialization_timeout_ms);
        let termination =
            ("direct.properties.gracefulTerminationTimeoutMs", properties.graceful_termination_timeout_ms);
        let config = LaunchConfig {
            transport: match connection {
                worker_connection_spec::Transport::UnixDomainSocket(_) => Transport::Unix,
                worker_connection_spec::Transport::Tcp(_) => Transport::Tcp,
            },
            init_timeout: timeout(initialization.0, initialization.1, default.init_timeout),
            termination_timeout: timeout(termination.0, termination.1, default.termination_timeout),
            ..default
        };
        let environment = self.message.environment.clone().unwrap_or_default();
        Ok(WorkerPlan {
            runner: command(direct.runner.as_ref().expect("checked above")),
            environment: WorkerEnvironment {
                installation: environment.installation.as_ref().map(command),
                verification: environment.environment_verification.as_ref().map(command),
                cleanup: environment.environment_cleanup.as_ref().map(command),
            },
            config,
            clamped,
            supports_reuse: capabilities.supports_reuse(),
            supports_concurrent_udfs: capabilities.supports_concurrent_udfs(),
        })
    }
}

/// The first word is the program; `arguments` follow the other words.
fn command(callable: &ProcessCallable) -> WorkerCommand {
    let (program, words) = callable.command.split_first().expect("checked before: there is a program");
    let variables = &callable.environment_variables;
    WorkerCommand {
        environment: variables.iter().map(|(name, value)| (name.into(), value.into())).collect(),
        ..WorkerCommand::new(program, words.iter().chain(&callable.arguments))
    }
}
