//! What a pool may be told (D10), and the caller's security scope (D9).

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Sizes, lifetimes and bounds of a pool of workers: what D8-D12 ask for and a worker's specification does not say.
///
/// A time that is `Duration::MAX` never comes.
///
/// ```
/// use anyudf_engine::PoolConfig;
///
/// let config = PoolConfig { max_workers: 4, memory_limit: Some(2 << 30), ..PoolConfig::default() };
/// assert_eq!(config.min_idle, 0);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolConfig {
    /// How many idle workers are kept ready, as far as `max_workers` allows. 0 by default: workers are started when
    /// somebody asks.
    pub min_idle: usize,
    /// How many worker processes there may be, counting those that start and those that are being ended. 8 by default;
    /// 0 is taken as 1.
    pub max_workers: usize,
    /// How many sessions may share a worker whose specification says that they can, on top of what it announced (D8,
    /// M6): the smaller counts. For a worker that announces nothing it is the only word, and without it sessions share
    /// no such worker. None by default.
    pub sessions_per_worker: Option<usize>,
    /// How long a caller waits for a worker. 60 s by default.
    pub wait_timeout: Duration,
    /// How long a worker beyond `min_idle` may be without a session before it is ended. 60 s by default.
    pub idle_timeout: Duration,
    /// How old a worker may become. An older one takes no new sessions and is ended after its last. None by default.
    pub max_age: Option<Duration>,
    /// How many sessions a worker may serve in its life. None by default.
    pub max_sessions: Option<u64>,
    /// How many bytes a worker may hold (resident size, as its heartbeats tell). One that holds more is ended: at once
    /// when it works, and its sessions fail with the blame. None by default.
    pub memory_limit: Option<u64>,
    /// How long the neighbours of an overdue call (D11), and cancelled sessions when the pool is closed (D12), may go on
    /// before their worker is ended under them. 30 s by default.
    ///
    /// It does not apply to workers that are merely old or worn: their sessions take the time they take.
    pub drain_timeout: Duration,
    /// How often a worker is asked for its heartbeat, idle or busy, and how long an answer is waited for. 5 s by
    /// default.
    pub heartbeat_interval: Duration,
    /// After how many missed heartbeats in a row a worker is given up. 3 by default; 0 is taken as 1.
    pub heartbeat_misses: u32,
    /// A worker that was idle and not heard of for longer than this is asked for a heartbeat before it gets a session.
    /// 1 s by default.
    pub check_after: Duration,
    /// How long the answer to that is waited for; a worker that owes it longer is ended. Its caller takes whatever other
    /// worker becomes free in the meantime. 1 s by default, ten times what a worker may take (M2).
    pub check_timeout: Duration,
    /// At which failed start of a worker the caller it was started for is told so. 3 by default; 0 is taken as 1.
    pub start_attempts: u32,
    /// The pause before the next start after a worker crashed or did not start. It doubles with each such event in a
    /// row, and a session that ended well ends it. 100 ms by default.
    pub backoff_initial: Duration,
    /// The longest such pause. 10 s by default; never more than a day.
    pub backoff_max: Duration,
}

impl Default for PoolConfig {
    fn default() -> Self {
        PoolConfig {
            min_idle: 0,
            max_workers: 8,
            sessions_per_worker: None,
            wait_timeout: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(60),
            max_age: None,
            max_sessions: None,
            memory_limit: None,
            drain_timeout: Duration::from_secs(30),
            heartbeat_interval: Duration::from_secs(5),
            heartbeat_misses: 3,
            check_after: Duration::from_secs(1),
            check_timeout: Duration::from_secs(1),
            start_attempts: 3,
            backoff_initial: Duration::from_millis(100),
            backoff_max: Duration::from_secs(10),
        }
    }
}

/// A security scope: on whose behalf a function runs. A worker serves one in all its life (D9).
///
/// Scopes are compared by value. What is in one is the caller's business; it may be a secret, so `Debug` does not show
/// it (D13). The default is a scope like any other, for callers who have only one.
///
/// ```
/// use anyudf_engine::Scope;
///
/// assert_eq!(Scope::new("alice"), Scope::new(String::from("alice")));
/// assert_ne!(Scope::new(""), Scope::default());
/// assert_eq!(format!("{:?}", Scope::new("alice")), "Scope(..)");
/// ```
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Scope(Option<Arc<[u8]>>);

impl Scope {
    /// The scope that these bytes name.
    pub fn new(name: impl AsRef<[u8]>) -> Self {
        Scope(Some(name.as_ref().into()))
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Scope(..)")
    }
}

/// What the specification says that a worker can do (D8).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Traits {
    /// A worker may serve a session after another has ended.
    pub(crate) supports_reuse: bool,
    /// A worker may serve several sessions at once.
    pub(crate) supports_concurrent_udfs: bool,
}

/// What holds for every worker of a pool.
#[derive(Clone, Debug)]
pub(super) struct Terms {
    pub(super) config: PoolConfig,
    pub(super) traits: Traits,
}

impl Terms {
    /// How many sessions a worker may have at once that announced so many (D8).
    pub(super) fn seats(&self, announced: Option<usize>) -> usize {
        match (self.traits.supports_concurrent_udfs, announced, self.config.sessions_per_worker) {
            (false, _, _) | (true, None, None) => 1,
            (true, Some(announced), Some(most)) => announced.min(most).max(1),
            (true, Some(some), None) | (true, None, Some(some)) => some.max(1),
        }
    }

    /// How many sessions a worker may have in its life, whatever becomes of them.
    pub(super) fn sessions_in_life(&self) -> u64 {
        match (self.traits.supports_reuse || self.traits.supports_concurrent_udfs, self.config.max_sessions) {
            (false, _) => 1, // D8
            (true, most) => most.unwrap_or(u64::MAX).max(1),
        }
    }
}
