//! What a session may be told, with the protocol's defaults.

use std::time::Duration;

/// Timeouts and sizes of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionConfig {
    /// How long init waits for InitResponse (E3). 30 s by default.
    pub init_timeout: Duration,
    /// How long CancelResponse is waited for (E6). 5 s by default.
    pub cancel_timeout: Duration,
    /// How long an interrupted session waits for CancelResponse (E13). 2 s by default.
    pub interrupt_timeout: Duration,
    /// The longest silence of a worker whose turn it is (E7): after Finish, or while it does not take the input that
    /// waits. Neither the time counts in which our own caller does not read, nor that in which all input was taken and
    /// the caller has not finished: a slow source is no fault of the worker. So a function that hangs over the input it
    /// took is found when the caller finishes or the window is full; who keeps the input open and waits for answers
    /// limits the calls instead, with [`Init::with_call_timeout`](crate::Init::with_call_timeout) (C11).
    ///
    /// None by default: slow functions are welcome.
    pub idle_limit: Option<Duration>,
    /// Whether data may go before InitResponse (C1). Never by default.
    pub pipelining: Pipelining,
    /// Payloads larger than this, in bytes, are sent in chunks of this size (E4). 1 MiB by default.
    pub chunk_bytes: usize,
    /// Record batches are split by rows into messages of about this many bytes, never more than the worker takes. A
    /// single row may be larger than this. 1.375 MiB by default: under gRPC's usual limit, and small enough that Cancel
    /// never waits behind one for want of credit (E4, E9).
    pub message_bytes: usize,
    /// How much input waits in this process while the worker is slow, in bytes, beyond the stream's window (E5).
    /// 1 MiB by default.
    pub input_bytes: usize,
}

impl Default for SessionConfig {
    fn default() -> Self {
        SessionConfig {
            init_timeout: Duration::from_secs(30),
            cancel_timeout: Duration::from_secs(5),
            interrupt_timeout: Duration::from_secs(2),
            idle_limit: None,
            pipelining: Pipelining::Never,
            chunk_bytes: 1 << 20,
            message_bytes: (1 << 20) + (384 << 10),
            input_bytes: 1 << 20,
        }
    }
}

/// Whether an engine sends data before InitResponse (C1). It saves one round trip.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pipelining {
    /// As Spark 4.3.0 has it: data waits for InitResponse (R5).
    #[default]
    Never,
    /// Where the worker announced the feature `pipelining` (M6).
    IfAnnounced,
}
