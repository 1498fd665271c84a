//! Between Init and the start of the function: the payload, what was checked, what came early (R2, R3, P10, C1).

use std::time::Duration;

use anyudf_grpc::Credit;
use anyudf_protocol::wire::{self, UdfWorkerDataFormat};
use anyudf_protocol::{Chunk, DEFAULT_PAYLOAD_LIMIT, ExecutionError, PayloadAssembly, VerifiedPayload, check_init};

use super::Host;
use crate::invocation::{CALL_TIMEOUT_KEY, Invocation, LEAST_MAX_MESSAGE, MAX_MESSAGE_KEY, number};
use crate::link::ToUser;

/// Whether the session may start a thread (P10).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Wanted,
    Taken,
}

/// How much of the payload came (R2).
enum Payload {
    Arriving(PayloadAssembly),
    Whole(VerifiedPayload),
}

/// An execution that is not started yet.
pub(super) struct Gathering {
    init: wire::Init,
    payload: Payload,
    budget: Option<Duration>,
    /// The largest message that the engine takes, if it said so.
    max_message: Option<usize>,
    pub(super) place: Place,
    /// What came before the function had a thread, in order (C1).
    pub(super) early: Vec<ToUser>,
    /// Room of chunks that came while there was no place: as long as it is held the engine can't send a window more.
    pub(super) credits: Vec<Credit>,
}

impl Gathering {
    /// Checks Init (R15, R17, R18) and begins its payload.
    pub(super) fn new(mut init: wire::Init, host: &dyn Host) -> Result<Self, ExecutionError> {
        let udf = check_init(&init, &[UdfWorkerDataFormat::Arrow])?;
        host.check_format(&udf.format)?;
        let budget = number(&init, CALL_TIMEOUT_KEY, 1, " (C11)")?.map(Duration::from_millis);
        let too_small = ", as a smaller message might not hold the last words of an execution (P7)";
        let max_message = number(&init, MAX_MESSAGE_KEY, LEAST_MAX_MESSAGE, too_small)?;
        let assembly = PayloadAssembly::new(udf, DEFAULT_PAYLOAD_LIMIT)?;
        let payload = match init.is_chunking_payload() {
            true => Payload::Arriving(assembly),
            false => Payload::Whole(assembly.verify()?),
        };
        if let Some(udf) = &mut init.udf {
            // The assembly has it; twice would be once too much.
            udf.payload.clear();
        }
        let (place, early, credits) = (Place::Wanted, Vec::new(), Vec::new());
        Ok(Gathering { init, payload, budget, max_message, place, early, credits })
    }

    /// The largest message that both take, when we take `ours`.
    pub(super) fn max_message(&self, ours: usize) -> usize {
        self.max_message.map_or(ours, |theirs| theirs.min(ours))
    }

    /// Adds a chunk; the last one completes the payload (R2, R3). To be dropped when this fails.
    pub(super) fn push(self: Box<Self>, chunk: Chunk, credit: Credit) -> Result<Box<Self>, ExecutionError> {
        let mut this = *self;
        this.payload = match this.payload {
            Payload::Arriving(mut assembly) => {
                assembly.push(chunk.data)?;
                match chunk.last {
                    true => Payload::Whole(assembly.verify()?),
                    false => Payload::Arriving(assembly),
                }
            }
            // The table lets no chunk through that comes later.
            whole @ Payload::Whole(_) => whole,
        };
        if this.place == Place::Wanted {
            this.credits.push(credit);
        }
        Ok(Box::new(this))
    }

    /// What the function is opened with, if the payload is whole and there is a place; otherwise all of it again.
    /// `max_message` is the largest message that both take.
    pub(super) fn start(self: Box<Self>, max_message: usize) -> Result<Start, Box<Self>> {
        if self.place == Place::Wanted {
            return Err(self);
        }
        let this = *self;
        let payload = match this.payload {
            Payload::Whole(payload) => payload,
            payload @ Payload::Arriving(_) => return Err(Box::new(Gathering { payload, ..this })),
        };
        // The envelope around the data counts as well.
        let invocation = Invocation::new(this.init, payload, max_message.saturating_sub(ENVELOPE));
        Ok(Start { invocation, budget: this.budget, early: this.early })
    }
}

/// No envelope of a batch is longer, gRPC's prefix included.
pub(super) const ENVELOPE: usize = 64;

/// What a thread is started with.
pub(super) struct Start {
    pub(super) invocation: Invocation,
    /// The time each call has (C11).
    pub(super) budget: Option<Duration>,
    /// What came early, in order (C1).
    pub(super) early: Vec<ToUser>,
}
