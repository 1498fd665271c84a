//! Numbers: of an execution (C8), and of the worker as a whole (M2, M6).

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use prost::encoding::string;

use super::Shared;
use crate::mutant::{Mutant, Mutation as M};

#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) batches_in: u64,
    pub(crate) bytes_in: u64,
    batches_out: u64,
    bytes_out: u64,
}

impl Counts {
    pub(crate) fn input(&mut self, len: usize, mutant: Mutant) {
        self.batches_in += 1;
        self.bytes_in += measured(len, mutant);
    }

    pub(crate) fn output(&mut self, len: usize, mutant: Mutant) {
        self.batches_out += 1;
        self.bytes_out += measured(len, mutant);
    }

    /// As the entries of a `map<string, string>`.
    pub(crate) fn encoded(&self, mutant: Mutant) -> Vec<Bytes> {
        let all = [
            ("batches_in", self.batches_in),
            ("bytes_in", self.bytes_in),
            ("batches_out", self.batches_out),
            ("bytes_out", self.bytes_out),
        ];
        let kept = all.iter().filter(|(_, count)| *count > 0 || !mutant.is(M::ZerosAreLeftOut));
        kept.map(|(name, count)| entry(name, &count.to_string())).collect()
    }
}

fn measured(len: usize, mutant: Mutant) -> u64 {
    len as u64 + if mutant.is(M::CountersCountFraming) { 5 } else { 0 }
}

/// One entry of a `map<string, string>`.
pub(crate) fn entry(key: &str, value: &str) -> Bytes {
    let mut bytes = Vec::new();
    string::encode(1, &key.to_owned(), &mut bytes);
    string::encode(2, &value.to_owned(), &mut bytes);
    bytes.into()
}

/// What is counted over all sessions.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    pub(crate) sessions: AtomicU64,
    pub(crate) failed: AtomicU64,
    pub(crate) bytes_in: AtomicU64,
    pub(crate) bytes_out: AtomicU64,
    pub(crate) overdue: AtomicU64,
    /// Calls under way, and streams that wait to send: for mutations that wait for them.
    pub(crate) calling: AtomicU64,
    pub(crate) sending: AtomicU64,
    /// How many wait for a place: for a mutation that serves the last first.
    pub(crate) latest: AtomicU64,
}

/// The metrics of a heartbeat.
pub(crate) fn of_the_worker(shared: &Shared) -> BTreeMap<String, String> {
    let mutant = shared.mutant;
    let totals = &shared.counts;
    let total = totals.sessions.load(Relaxed);
    let active = if mutant.is(M::SessionsStayActive) { total } else { shared.state.borrow().active };
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0);
    let page = rustix::param::page_size() as u64;
    let uptime = shared.started.elapsed();
    let sessions = shared.options.max_sessions + usize::from(mutant.is(M::AnotherLimitIsAnnounced));
    let all = [
        ("sessions_active", active),
        ("sessions_total", total),
        ("sessions_failed", totals.failed.load(Relaxed)),
        ("rows_in", 0),
        ("rows_out", 0),
        ("bytes_in", totals.bytes_in.load(Relaxed)),
        ("bytes_out", totals.bytes_out.load(Relaxed)),
        ("memory_rss_bytes", if mutant.is(M::MemoryInPages) { pages } else { pages * page }),
        ("uptime_ms", if mutant.is(M::UptimeInSeconds) { uptime.as_secs() } else { uptime.as_millis() as u64 }),
        ("calls_overdue", totals.overdue.load(Relaxed)),
        ("protocol_versions", 1),
        ("max_sessions", sessions as u64),
        ("max_message_bytes", shared.limit() as u64),
    ];
    let mut metrics: BTreeMap<_, _> = all.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    metrics.insert("features".into(), "pipelining,call_timeout,max_message_bytes".into());
    if mutant.is(M::MetricIsMissing) {
        metrics.remove("calls_overdue");
    }
    if mutant.is(M::NoVersionsAreAnnounced) {
        metrics.remove("protocol_versions");
    }
    metrics
}
