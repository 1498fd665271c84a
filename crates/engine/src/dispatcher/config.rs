//! What a dispatcher may be told beside the specification.

use std::time::Duration;

use crate::pool::PoolConfig;
use crate::specification::DEFAULT_MAX_TIMEOUT;
use crate::worker::WorkerConfig;

/// Bounds and sizes that a worker's specification does not say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DispatcherConfig {
    /// How many workers there are, and how long they live (D8-D12). Its heartbeats take the place of those of `worker`.
    pub pool: PoolConfig,
    /// Connections and sessions of the workers. Of its `launch` the transport and the timeouts are the specification's.
    pub worker: WorkerConfig,
    /// The longest that a specification may make us wait (D2). 30 s by default.
    pub max_timeout: Duration,
    /// How long verification, installation and clean-up of the environment may run, each (D2). 120 s by default.
    pub environment_timeout: Duration,
}

impl Default for DispatcherConfig {
    fn default() -> Self {
        DispatcherConfig {
            pool: PoolConfig::default(),
            worker: WorkerConfig::default(),
            max_timeout: DEFAULT_MAX_TIMEOUT,
            environment_timeout: Duration::from_secs(120),
        }
    }
}
