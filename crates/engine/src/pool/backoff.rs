//! The pause between a crash and the next start (D10).

use std::time::{Duration, Instant};

use super::config::PoolConfig;

/// No pause is longer, whatever the configuration says.
const DAY: Duration = Duration::from_secs(86_400);

/// How long no worker is started, after so many crashes and failed starts in a row.
#[derive(Clone, Debug, Default)]
pub(super) struct Backoff {
    pub(super) failures: u32,
    pub(super) until: Option<Instant>,
}

impl Backoff {
    pub(super) fn is_paused(&self) -> bool {
        self.until.is_some()
    }

    /// A worker crashed or did not start. What happens within a pause is part of what led to it: eight starts that fail
    /// together count once.
    pub(super) fn failed(&mut self, config: &PoolConfig, now: Instant) {
        if self.until.is_none() {
            let doubled = config.backoff_initial.saturating_mul(1 << self.failures.min(30));
            self.failures = self.failures.saturating_add(1);
            self.until = now.checked_add(doubled.min(config.backoff_max).min(DAY));
        }
    }

    /// A session ended well, so workers work.
    pub(super) fn succeeded(&mut self) {
        *self = Backoff::default();
    }

    pub(super) fn elapsed(&mut self, now: Instant) {
        if self.until.is_some_and(|until| until <= now) {
            self.until = None;
        }
    }
}
