//! What no batch carries fits the engine's message limit too (P7): errors, metrics, the function's last word.

use anyudf_protocol::{CancelResponse, ExecutionError, FinishResponse, LONGEST_TEXT, Metrics};
use bytes::Bytes;

use super::gathering::ENVELOPE;

/// An error that leaves room for everything beside it in a message of `limit` bytes. It has three texts.
pub(super) fn error(error: ExecutionError, limit: usize) -> ExecutionError {
    error.cut(share(limit))
}

/// The terminator of a cancelled execution, in at most `limit` bytes.
pub(super) fn cancel(cancel: CancelResponse, limit: usize) -> CancelResponse {
    let CancelResponse { metrics, error } = cancel;
    CancelResponse { metrics: own(metrics, limit), error: error.map(|error| self::error(error, limit)) }
}

/// The terminator of a finished execution, in at most `limit` bytes. Data that does not fit becomes an error, unless the
/// function has failed anyhow.
pub(super) fn finish(finish: FinishResponse, limit: usize) -> FinishResponse {
    let FinishResponse { metrics, data, error } = finish;
    let (metrics, error) = (own(metrics, limit), error.map(|error| self::error(error, limit)));
    let bytes = data.as_ref().map_or(0, Bytes::len);
    let texts = |error: &ExecutionError| {
        let class = error.error_class.as_ref().map_or(0, String::len);
        error.message.len() + error.traceback.as_ref().map_or(0, String::len) + class
    };
    let beside = weight(&metrics) + error.as_ref().map_or(0, texts) + ENVELOPE;
    if bytes + beside <= limit {
        return FinishResponse { metrics, data, error };
    }
    let too_large = || {
        let text = format!(
            "the result in FinishResponse has {bytes} bytes, which with its metrics is over the message limit of \
             {limit}; emit it as batches, in parts (P7)"
        );
        ExecutionError::user(text).with_class("MESSAGE_TOO_LARGE")
    };
    FinishResponse { metrics, data: None, error: error.or_else(|| Some(too_large())) }
}

/// The most bytes of one text: a message holds three of them and the metrics, and half of it is for other things.
fn share(limit: usize) -> usize {
    LONGEST_TEXT.min(limit / 8)
}

/// Metrics of the function's own are left out when they are no metrics any more (C8): they never fail an execution.
fn own(metrics: Metrics, limit: usize) -> Metrics {
    let bytes = weight(&metrics);
    if bytes <= share(limit).max(COUNTERS) {
        return metrics;
    }
    tracing::warn!(bytes, "the function's own metrics are left out: they are too large for a message (P7)");
    metrics.without_others()
}

/// Bytes that metrics take in a message.
fn weight(metrics: &Metrics) -> usize {
    // A tag and a length stand before each.
    metrics.encode().iter().map(|entry| entry.len() + 6).sum()
}

/// More than all counters of C8 take.
const COUNTERS: usize = 1 << 10;

#[cfg(test)]
mod tests {
    use anyudf_grpc::Outgoing;
    use anyudf_protocol::{Counter, InitResponse, Response};
    use bytes::Buf;

    use super::*;
    use crate::invocation::LEAST_MAX_MESSAGE;

    /// P7: the longest last words fit the smallest message that an engine may ask for.
    #[test]
    fn p7_last_words_fit_the_smallest_message() {
        let long = || "é".repeat(LONGEST_TEXT);
        let error = || ExecutionError::user(long()).with_traceback(long()).with_class(long());
        let counters = || Counter::ALL.iter().fold(Metrics::default(), |all, &counter| all.with(counter, u64::MAX));
        let limit = LEAST_MAX_MESSAGE;
        for room in [0, 300, 480, LONGEST_TEXT] {
            let metrics = || counters().with_other("own", "x".repeat(room));
            let mut last = Vec::new();
            for error in [None, Some(error())] {
                let cut = || error.clone().map(|error| self::error(error, limit));
                last.push(Response::Init(InitResponse { data: None, error: cut() }));
                last.extend(cut().map(Response::Error));
                last.push(Response::Cancel(cancel(CancelResponse { metrics: metrics(), error: error.clone() }, limit)));
                for data in [0, 1_000, 2_000, 3_000, limit] {
                    let data = Some(vec![0; data].into());
                    let finish = self::finish(FinishResponse { metrics: metrics(), data, error: error.clone() }, limit);
                    last.push(Response::Finish(finish));
                }
            }
            for last in last {
                let (kind, bytes) = (last.kind(), Outgoing::from(last).remaining());
                assert!(bytes <= limit, "{kind:?} with {room} bytes of metrics has {bytes}");
            }
        }
    }
}
