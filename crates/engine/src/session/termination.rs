//! How an execution ended.

use std::fmt;
use std::time::Duration;

use anyudf_grpc::Status;
use anyudf_protocol::{CancelResponse, ExecutionError, FinishResponse, Metrics, Violation};

/// How an execution ended. The first terminal wins.
#[derive(Clone, Debug, PartialEq)]
pub enum Termination {
    /// The worker finished; `error` inside is its finish callback's.
    Finished(FinishResponse),
    /// The worker acknowledged Cancel, or ended unasked (E11).
    Cancelled(CancelResponse),
    /// The function failed while it processed data.
    Failed(ExecutionError),
    /// The worker can't be reached, broke the protocol or went silent.
    TransportFailed(Cause),
    /// Interrupted, and not acknowledged in time (E13).
    Interrupted,
}

impl Termination {
    /// Whether the worker may serve another session (E14).
    pub fn is_salvageable(&self) -> bool {
        match self {
            Termination::Finished(_) | Termination::Cancelled(_) | Termination::Failed(_) => true,
            Termination::TransportFailed(_) | Termination::Interrupted => false,
        }
    }

    /// The counters of the terminator, if there was one that carries any (C8).
    pub fn metrics(&self) -> Option<&Metrics> {
        match self {
            Termination::Finished(finish) => Some(&finish.metrics),
            Termination::Cancelled(cancel) => Some(&cancel.metrics),
            _ => None,
        }
    }
}

impl fmt::Display for Termination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Termination::Finished(_) => f.write_str("finished"),
            Termination::Cancelled(_) => f.write_str("cancelled"),
            Termination::Failed(error) => write!(f, "failed: {error}"),
            Termination::TransportFailed(cause) => write!(f, "the transport failed: {cause}"),
            Termination::Interrupted => f.write_str("interrupted"),
        }
    }
}

/// Why a transport failed.
#[derive(Clone, Debug, PartialEq)]
pub enum Cause {
    /// The worker broke a rule of the protocol (E11, R16).
    Violation(Violation),
    /// The worker's stream ended without a terminator (E11).
    Ended(Status),
    /// The stream or the connection broke.
    Broken(Status),
    /// The worker process is gone; the text has its exit status and the end of its output.
    Died(String),
    /// No answer to this message in this time (E3, E6).
    Timeout(&'static str, Duration),
    /// Data outstanding and nothing heard for this long (E7).
    Idle(Duration),
    /// The worker no longer answers its heartbeat (E6).
    Lost(String),
    /// The worker held more memory than it may, and was ended (D10): the functions that it ran, and the most that it held,
    /// in bytes.
    Memory {
        /// What the functions are called, separated by commas.
        functions: String,
        /// Resident memory in bytes, as the last heartbeat told.
        peak: u64,
    },
    /// A call in the same worker hung, and the time for its neighbours to finish has passed (D11).
    Drained,
    /// The dispatcher was closed, and the worker did not acknowledge Cancel within the time for that (D12).
    Closed,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Violation(violation) => write!(f, "the worker broke the protocol: {violation}"),
            Cause::Ended(status) if status.is_ok() => {
                f.write_str("the worker ended the stream without FinishResponse or CancelResponse (E11)")
            }
            Cause::Ended(status) | Cause::Broken(status) => write!(f, "{status}"),
            Cause::Died(how) => write!(f, "the worker died: {how}"),
            Cause::Timeout(what, time) => write!(f, "the worker did not answer {what} within {time:?}"),
            Cause::Idle(limit) => write!(
                f,
                "the worker was silent for {limit:?} with data outstanding; its function hangs or needs a longer \
                 idle limit (E7)"
            ),
            Cause::Lost(why) => write!(f, "worker does not answer: {why}"),
            Cause::Memory { functions, peak } => write!(
                f,
                "the worker held {} MiB of memory, more than it may, and was ended while it ran {functions} (D10); send \
                 smaller batches, or allow it more",
                peak >> 20
            ),
            Cause::Closed => f.write_str(
                "the dispatcher was closed, and its worker was ended because it did not acknowledge Cancel in time (D12)",
            ),
            Cause::Drained => f.write_str(
                "the worker was ended, because a call of another session in it hangs and this one did not finish within \
                 the time for that (D11)",
            ),
        }
    }
}
