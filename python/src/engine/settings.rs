//! What a dispatcher is told, as Python says it.

use std::time::Duration;

use anyudf_engine::{
    DEFAULT_MAX_TIMEOUT, DispatcherConfig, Pipelining, WorkerCommand, WorkerPlan, WorkerSpecification,
};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::error::Fault;

/// The variable that says what workers in Rust log.
const WORKERS_LOG: &str = "RUST_LOG";

/// What Python names as a worker.
#[derive(FromPyObject)]
pub(super) enum Worker {
    /// The program and its arguments.
    Command(Vec<String>),
    /// A specification, as JSON.
    Specification(String),
}

impl Worker {
    /// # Errors
    /// Those of [`WorkerSpecification::plan`].
    pub(super) fn plan(self, environment: Vec<(String, String)>, most: Option<Duration>) -> Result<WorkerPlan, Fault> {
        let mut plan = match self {
            Worker::Command(words) => {
                let (program, arguments) = words
                    .split_first()
                    .ok_or_else(|| Fault::misuse("INVALID_WORKER_COMMAND", "the worker's command is empty"))?;
                WorkerPlan::from(WorkerCommand::new(program, arguments))
            }
            Worker::Specification(json) => {
                WorkerSpecification::from_json(&json)?.plan(most.unwrap_or(DEFAULT_MAX_TIMEOUT))?
            }
        };
        // What our own workers say of themselves is not what their callers want to read, unless they ask for it.
        if std::env::var_os(WORKERS_LOG).is_none() && std::env::var_os(super::log::VARIABLE).is_none() {
            plan.runner.environment.insert(0, (WORKERS_LOG.into(), "warn".into()));
        }
        plan.runner.environment.extend(environment.into_iter().map(|(name, value)| (name.into(), value.into())));
        Ok(plan)
    }
}

/// The configuration that these keywords make; `None` is as good as none. Times are in seconds.
///
/// # Errors
/// `TypeError` for a keyword that is not known or a value that is none of its kind, `ValueError` for a time that is none.
pub(super) fn configure(keywords: &Bound<'_, PyDict>, plan: &mut WorkerPlan) -> PyResult<DispatcherConfig> {
    let mut config = DispatcherConfig::default();
    let (pool, worker) = (&mut config.pool, &mut config.worker);
    let session = &mut worker.session;
    for (key, value) in keywords {
        if value.is_none() {
            continue;
        }
        let key: String = key.extract()?;
        let time = || {
            let seconds: f64 = value.extract()?;
            match seconds {
                f64::INFINITY => Ok(Duration::MAX),
                _ => Duration::try_from_secs_f64(seconds)
                    .map_err(|_| PyValueError::new_err(format!("{key}={seconds} is no time in seconds"))),
            }
        };
        match &*key {
            "min_idle" => pool.min_idle = value.extract()?,
            "max_workers" => pool.max_workers = value.extract()?,
            "sessions_per_worker" => pool.sessions_per_worker = value.extract()?,
            "wait_timeout" => pool.wait_timeout = time()?,
            "idle_timeout" => pool.idle_timeout = time()?,
            "max_age" => pool.max_age = Some(time()?),
            "max_sessions" => pool.max_sessions = value.extract()?,
            "memory_limit" => pool.memory_limit = value.extract()?,
            "drain_timeout" => pool.drain_timeout = time()?,
            "heartbeat_interval" => pool.heartbeat_interval = time()?,
            "heartbeat_misses" => pool.heartbeat_misses = value.extract()?,
            "check_after" => pool.check_after = time()?,
            "check_timeout" => pool.check_timeout = time()?,
            "start_attempts" => pool.start_attempts = value.extract()?,
            "backoff_initial" => pool.backoff_initial = time()?,
            "backoff_max" => pool.backoff_max = time()?,
            "init_timeout" => session.init_timeout = time()?,
            "cancel_timeout" => session.cancel_timeout = time()?,
            "interrupt_timeout" => session.interrupt_timeout = time()?,
            "idle_limit" => session.idle_limit = Some(time()?),
            "pipelining" if value.extract()? => session.pipelining = Pipelining::IfAnnounced,
            "pipelining" => session.pipelining = Pipelining::Never,
            "message_bytes" => session.message_bytes = value.extract()?,
            "input_bytes" => session.input_bytes = value.extract()?,
            "max_message_bytes" => worker.settings.max_message = value.extract()?,
            "start_timeout" => plan.config.init_timeout = time()?,
            "termination_timeout" => plan.config.termination_timeout = time()?,
            "max_timeout" => config.max_timeout = time()?,
            "environment_timeout" => config.environment_timeout = time()?,
            other => return Err(PyTypeError::new_err(format!("a dispatcher takes no `{other}`"))),
        }
    }
    Ok(config)
}
