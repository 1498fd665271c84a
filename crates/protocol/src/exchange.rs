//! Who may say what, and when: the one table of the protocol.
//!
//! ```text
//! engine -> worker   Init Chunk* Data* (Finish Cancel? | Cancel)      and Cancel may end any prefix, even the empty one
//! worker -> engine   InitResponse DataResponse* (FinishResponse | ErrorResponse? CancelResponse)
//!                    | InitResponse(error) CancelResponse | CancelResponse
//! ```
//!
//! An [`Exchange`] records both directions of one `Execute` stream as one side sees them. It never looks at bytes and
//! never waits; it says whether a message is in order. Being strict in what we send and patient with what was already
//! in flight is the only difference between the sides.

use crate::message::{RequestKind, ResponseKind};
use crate::violation::{Rule, Violation};

/// Whose record an [`Exchange`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// The engine, which waits for InitResponse before it sends data (R5).
    Engine,
    /// An engine whose caller asked for pipelining, towards a worker that announced it (C1).
    PipeliningEngine,
    /// The worker.
    Worker,
}

/// What the engine has said so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Requests {
    /// Nothing.
    Start,
    /// Init announced chunks, and the last one has not come.
    Payload,
    /// The payload is whole; data may follow.
    Open,
    /// Finish.
    Finished,
    /// Cancel, after Finish or not.
    Cancelled { finished: bool },
    /// Its side was closed with neither Finish nor Cancel (C6). Only a worker's record gets here.
    Abandoned,
}

/// What the worker has said so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Responses {
    /// Nothing.
    Silent,
    /// A good InitResponse, perhaps data.
    Open,
    /// InitResponse.error or ErrorResponse; only the terminator is owed.
    Failed,
    /// The terminator.
    Closed,
}

/// One side's record of an `Execute` stream: what has gone each way so far.
///
/// ```
/// use anyudf_protocol::{Exchange, RequestKind, ResponseKind, Side};
///
/// let mut exchange = Exchange::new(Side::Worker);
/// exchange.request(RequestKind::Init { chunked: false })?;
/// exchange.response(ResponseKind::Init { failed: false })?;
/// let violation = exchange.request(RequestKind::Init { chunked: false }).unwrap_err();
/// assert_eq!(violation.to_string(), "got a second Init (R1)");
/// # Ok::<(), anyudf_protocol::Violation>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Exchange {
    side: Side,
    requests: Requests,
    responses: Responses,
}

impl Exchange {
    /// The record of a stream on which nothing was said yet.
    pub fn new(side: Side) -> Self {
        Exchange { side, requests: Requests::Start, responses: Responses::Silent }
    }

    /// Records a request: one we are about to send (engine) or have just received (worker).
    ///
    /// # Errors
    /// A [`Violation`] when the request is out of order; the record is then unchanged. A worker's record takes anything
    /// after Cancel or the terminator, since it is dropped unread (C4).
    pub fn request(&mut self, kind: RequestKind) -> Result<(), Violation> {
        use {RequestKind as K, Requests as R};
        self.requests = match (self.requests, kind) {
            _ if self.drops_requests() => return Ok(()), // C4
            _ if self.side != Side::Worker && self.is_closed() => return Err(self.misplaced(kind)), // R13
            (R::Cancelled { .. } | R::Abandoned, _) => return Err(self.misplaced(kind)), // R9
            (R::Start, K::Init { chunked: false }) => R::Open, // R1
            (R::Start, K::Init { chunked: true }) => R::Payload, // R1
            (R::Payload, K::Chunk { last: false, empty: true }) => return Err(self.misplaced(kind)), // C5
            (R::Payload, K::Chunk { last, .. }) if self.takes_chunks() => match last {
                true => R::Open,     // R2
                false => R::Payload, // R2
            },
            (R::Open, K::Data) if self.takes_input() => R::Open, // R5
            (R::Open, K::Finish) if self.takes_input() => R::Finished, // R5
            (before, K::Cancel) => R::Cancelled { finished: before == R::Finished }, // R9
            _ => return Err(self.misplaced(kind)),
        };
        Ok(())
    }

    /// Records that the engine closed its side of the stream.
    ///
    /// # Errors
    /// A [`Violation`] (C6) when neither Finish nor Cancel came before and no terminator was sent. The record then
    /// allows the worker the CancelResponse that nobody asked for.
    pub fn half_close(&mut self) -> Result<(), Violation> {
        use Requests as R;
        match self.requests {
            R::Finished | R::Cancelled { .. } | R::Abandoned => Ok(()),
            _ if self.is_closed() => Ok(()),
            R::Start | R::Payload | R::Open => {
                self.requests = R::Abandoned;
                Err(Violation::new(Rule::C6, "the stream was half-closed before Finish or Cancel"))
            }
        }
    }

    /// Records a response: one we are about to send (worker) or have just received (engine).
    ///
    /// # Errors
    /// A [`Violation`] when the response is out of order; the record is then unchanged.
    pub fn response(&mut self, kind: ResponseKind) -> Result<(), Violation> {
        use {Requests as Q, ResponseKind as K, Responses as R};
        let worker = self.side == Side::Worker;
        let cancelled = matches!(self.requests, Q::Cancelled { .. });
        self.responses = match (self.responses, kind) {
            (R::Closed, _) => return Err(self.unexpected(kind)), // R13
            (R::Silent, K::Init { failed: false }) if self.payload_is_whole() => R::Open, // R4
            (R::Silent, K::Init { failed: true }) if worker && !cancelled => R::Failed, // R4, R19
            (R::Silent, K::Init { failed: true }) if !worker && self.requests != Q::Start => R::Failed, // R4, C3
            (R::Silent, K::Error) if !worker && self.requests != Q::Start => R::Failed, // E11
            (R::Open, K::Data) if !(worker && self.is_ending()) => R::Open, // R6, R12
            (R::Failed, K::Data) if !worker => R::Failed,        // E11: dropped
            (R::Open, K::Error) if !(worker && self.is_ending()) => R::Failed, // R7
            (R::Open, K::Finish) if self.may_finish() => R::Closed, // R10, R11
            (R::Failed, K::Finish) if !worker => R::Closed,      // C2
            (R::Failed, K::Cancel) => R::Closed,                 // R8, C2
            (_, K::Cancel) if worker && self.is_ending() => R::Closed, // R12, C3, R19
            (_, K::Cancel) if !worker && self.requests != Q::Start => R::Closed, // E11
            _ => return Err(self.unexpected(kind)),
        };
        Ok(())
    }

    /// Whether the worker has said anything yet.
    pub fn is_silent(&self) -> bool {
        self.responses == Responses::Silent
    }

    /// Whether a good InitResponse went and neither an error nor the terminator followed it.
    pub fn is_open(&self) -> bool {
        self.responses == Responses::Open
    }

    /// Whether an InitResponse.error or ErrorResponse went and the terminator is owed (R8).
    pub fn is_failed(&self) -> bool {
        self.responses == Responses::Failed
    }

    /// Whether the terminator went (R13).
    pub fn is_closed(&self) -> bool {
        self.responses == Responses::Closed
    }

    /// Whether Finish went, whatever followed it.
    pub fn is_finished(&self) -> bool {
        matches!(self.requests, Requests::Finished | Requests::Cancelled { finished: true })
    }

    /// Whether Cancel went (R9).
    pub fn is_cancelled(&self) -> bool {
        matches!(self.requests, Requests::Cancelled { .. })
    }

    /// At the worker, what comes after Cancel or the terminator is dropped unread (C4).
    fn drops_requests(&self) -> bool {
        self.side == Side::Worker && (self.is_cancelled() || self.is_closed())
    }

    /// Chunks go until the worker refuses the payload; those already under way are dropped there (R4).
    fn takes_chunks(&self) -> bool {
        self.side == Side::Worker || self.is_silent()
    }

    /// Data and Finish wait for InitResponse, except where both sides agreed otherwise (R5, C1). A worker takes what
    /// arrives while it prepares the InitResponse, and what was under way when it failed.
    fn takes_input(&self) -> bool {
        match self.side {
            Side::Engine => self.is_open(),
            Side::PipeliningEngine => self.is_open() || self.is_silent(),
            Side::Worker => true,
        }
    }

    /// A good InitResponse needs the whole payload (R4). A worker owes none after Cancel (C3); an engine that sent
    /// Cancel accepts one that was under way.
    fn payload_is_whole(&self) -> bool {
        match self.requests {
            Requests::Open | Requests::Finished => true,
            Requests::Cancelled { .. } => self.side != Side::Worker,
            Requests::Start | Requests::Payload | Requests::Abandoned => false,
        }
    }

    /// The engine has ended the execution, properly or not: nothing but the terminator is left to say (R12, C6).
    fn is_ending(&self) -> bool {
        matches!(self.requests, Requests::Cancelled { .. } | Requests::Abandoned)
    }

    /// FinishResponse answers Finish (R10). One that crossed our Cancel is accepted, one of ours is not sent (R11).
    fn may_finish(&self) -> bool {
        match self.requests {
            Requests::Finished => true,
            Requests::Cancelled { finished } => finished && self.side != Side::Worker,
            _ => false,
        }
    }

    fn misplaced(&self, kind: RequestKind) -> Violation {
        use {RequestKind as K, Requests as R};
        let (rule, text) = match (self.requests, kind) {
            _ if self.is_closed() => (Rule::R13, "after the terminator"),
            (R::Cancelled { .. }, _) => (Rule::R9, "after Cancel"),
            (R::Abandoned, _) => (Rule::C6, "after the stream was half-closed"),
            (R::Payload, K::Chunk { last: false, empty: true }) => {
                return Violation::new(Rule::C5, "got an empty PayloadChunk that is not the last");
            }
            (R::Start, _) => (Rule::R1, "before Init"),
            (_, K::Init { .. }) => return Violation::new(Rule::R1, "got a second Init"),
            (R::Payload, K::Chunk { .. }) => (Rule::R4, "after the worker refused the payload"),
            (_, K::Chunk { .. }) => (Rule::R2, "although the payload is whole"),
            (R::Payload, _) => (Rule::R5, "before the payload was whole"),
            (R::Finished, _) => (Rule::R5, "after Finish"),
            _ if self.is_failed() => (Rule::R8, "after the worker reported an error"),
            _ => (Rule::R5, "before InitResponse"),
        };
        Violation::new(rule, format!("got {kind} {text}"))
    }

    fn unexpected(&self, kind: ResponseKind) -> Violation {
        use {Requests as Q, ResponseKind as K, Responses as R};
        let (rule, text) = match (self.responses, kind) {
            (R::Closed, _) => (Rule::R13, "after the terminator"),
            _ if self.requests == Q::Start && self.side != Side::Worker => (Rule::R4, "before Init"),
            (R::Silent, K::Init { failed: false }) if self.is_ending() => (Rule::C3, "after Cancel"),
            (R::Silent, K::Init { failed: false }) => (Rule::R4, "before the payload was whole"),
            (_, K::Init { .. }) if !self.is_silent() => return Violation::new(Rule::R4, "got a second InitResponse"),
            (_, K::Cancel) => (Rule::R12, "before Cancel"),
            (R::Silent, K::Init { failed: true }) => (Rule::C3, "after Cancel"),
            (R::Silent, K::Data) => (Rule::R6, "before InitResponse"),
            (R::Silent, K::Error) => (Rule::R7, "before InitResponse"),
            (R::Silent, K::Finish) => (Rule::R10, "before InitResponse"),
            (R::Failed, K::Error) => return Violation::new(Rule::R7, "got a second ErrorResponse"),
            (R::Failed, K::Data) => (Rule::R7, "after ErrorResponse"),
            (R::Failed, K::Finish) => (Rule::R8, "after ErrorResponse"),
            (R::Open, K::Finish) if self.is_finished() => (Rule::R11, "after Cancel"),
            (R::Open, K::Finish) => (Rule::R10, "before Finish was sent"),
            (R::Open, K::Error | K::Data) => (Rule::R12, "after Cancel"),
            (R::Open | R::Failed, K::Init { .. }) => (Rule::R4, "twice"),
        };
        Violation::new(rule, format!("got {kind} {text}"))
    }
}
