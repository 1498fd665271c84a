//! One `Execute` stream: a record of where it stands, and what each message of the engine makes of that.

mod answers;
mod opening;

use std::collections::VecDeque;
use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use anyudf_protocol::wire::{self, udf_control_request, udf_request};
use bytes::Bytes;
use prost::Message as _;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Instant, sleep, sleep_until};

use super::function::{Call, Function, protocol, user, worker};
use super::stream::{Arrival, Input, Output};
use super::{Ending, Seat, Shared, State, metrics};
use crate::mutant::Mutation as M;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Start,
    /// Chunks come.
    Payload,
    /// The payload is whole; the function has no place yet (P10).
    Waiting,
    Open,
    /// An error was told, and Cancel is waited for (C2).
    Failed,
    /// Cancel came, and a call has not returned (R12).
    Cancelling,
    /// The terminator was said, and a mutation listens all the same.
    Lingering,
    /// The terminator was said.
    Over,
}

/// How long a function may take to notice a Cancel (R12).
const PATIENCE: Duration = Duration::from_secs(5);

/// How long an engine may read nothing while the worker ends (M4).
const STALL: Duration = Duration::from_secs(2);

enum Step {
    Arrived(Arrival),
    Sent(bool),
    Place(OwnedSemaphorePermit),
    Returned,
    Late,
    OverLimit,
    Expired,
    ShutDown,
}

pub(super) struct Session {
    shared: Arc<Shared>,
    input: Input,
    output: Output,
    stage: Stage,
    init: wire::Init,
    payload: Vec<u8>,
    function: Option<Function>,
    queue: VecDeque<(Bytes, usize)>,
    held: Vec<Bytes>,
    call: Option<(Option<Instant>, Call)>,
    /// How many calls there were.
    calls: u64,
    /// How long one may take (C11), and until when.
    call_limit: Option<Duration>,
    limited: Option<Instant>,
    waiting: Option<Pin<Box<dyn Future<Output = OwnedSemaphorePermit> + Send>>>,
    place: Option<OwnedSemaphorePermit>,
    /// InitResponse was sent.
    opened: bool,
    /// With an error.
    refused_init: bool,
    failed: bool,
    /// The call did not notice the Cancel.
    overdue: bool,
    /// Cancel came, and a mutation works off its input first.
    cancelled_late: bool,
    finished: bool,
    half_closed: bool,
    told: bool,
    deadline: Option<Instant>,
    expires: Option<Instant>,
    /// The longest message that the engine takes.
    peer_limit: usize,
    counts: metrics::Counts,
    status: (u32, String),
}

impl Session {
    pub(super) fn new(shared: Arc<Shared>, input: Input, output: Output, expires: Option<Instant>) -> Self {
        Session {
            shared,
            input,
            output,
            stage: Stage::Start,
            init: wire::Init::default(),
            payload: Vec::new(),
            function: None,
            queue: VecDeque::new(),
            held: Vec::new(),
            call: None,
            calls: 0,
            call_limit: None,
            limited: None,
            waiting: None,
            place: None,
            opened: false,
            refused_init: false,
            failed: false,
            overdue: false,
            cancelled_late: false,
            finished: false,
            half_closed: false,
            told: false,
            deadline: None,
            expires,
            peer_limit: usize::MAX,
            counts: metrics::Counts::default(),
            status: (0, String::new()),
        }
    }

    fn is(&self, mutation: M) -> bool {
        self.shared.mutant.is(mutation)
    }

    pub(super) async fn run(mut self, seat: Seat) {
        let mut state = self.shared.state.subscribe();
        let broken = loop {
            self.advance();
            if self.stage == Stage::Over && self.output.is_empty() {
                break false;
            }
            let sending = u64::from(!self.output.is_empty());
            self.shared.counts.sending.fetch_add(sending, Relaxed);
            let step = self.step(&mut state).await;
            self.shared.counts.sending.fetch_sub(sending, Relaxed);
            match step {
                Step::Arrived(Arrival::Message(message, credit)) => self.heard(message, credit),
                Step::Arrived(Arrival::HalfClose) => self.half_close(),
                Step::Arrived(Arrival::Refused(code, why)) => self.refuse(code, &why),
                Step::Arrived(Arrival::Broken) | Step::Sent(false) => break true,
                Step::Sent(true) => {}
                Step::Place(place) => self.open(place),
                Step::Returned => self.returned(),
                Step::Late => self.late(),
                Step::OverLimit => self.over_limit(),
                Step::Expired => {
                    let code = if self.is(M::DeadlineIsAnotherStatus) { 2 } else { 4 };
                    self.refuse(code, "the deadline is over");
                }
                Step::ShutDown => self.shut_down().await,
            }
        };
        let over = matches!(self.stage, Stage::Over | Stage::Lingering | Stage::Cancelling);
        self.failed |= broken && !over && !self.is(M::BrokenStreamsAreNoFailures);
        self.shared.counts.failed.fetch_add(u64::from(self.failed && !self.is(M::FailuresAreNotCounted)), Relaxed);
        if self.is(M::BytesCountAtTheEnd) {
            self.shared.counts.bytes_in.fetch_add(self.counts.bytes_in, Relaxed);
        }
        if let Some((returns, _)) = self.call.take() {
            self.shared.counts.calling.fetch_sub(1, Relaxed);
            let patience = if self.overdue { Duration::ZERO } else { PATIENCE };
            tokio::spawn(go_on(Arc::clone(&self.shared), Instant::now() + patience, returns));
        }
        if broken && self.is(M::BrokenStreamStaysActive) {
            return std::mem::forget(seat);
        }
        if self.is(M::StreamIsLeftOpen) {
            while !self.input.over {
                self.input.next().await;
            }
        }
        if let Some(place) = self.place.take().filter(|_| self.failed && self.is(M::PlaceOfTheFailedIsLost)) {
            place.forget();
        }
        drop(self.waiting.take());
        if !broken {
            let code = if self.failed && self.is(M::StatusBehindTheError) { 2 } else { self.status.0 };
            self.output.end(code, &self.status.1);
        }
        drop(seat);
        self.drain(state).await;
    }

    /// What comes after the end is dropped unread (C4).
    async fn drain(mut self, mut state: watch::Receiver<State>) {
        self.input.eager = true;
        let over = async {
            while !self.input.over {
                if let Arrival::Message(_, credit) = self.input.next().await {
                    self.input.release(credit);
                    if self.is(M::LateMessagesEndTheWorker) {
                        std::process::exit(1);
                    }
                }
            }
        };
        tokio::select! {
            () = over => {}
            () = sleep(Duration::from_secs(1)) => {}
            _ = state.wait_for(|state| state.leaving) => {}
        }
    }

    async fn step(&mut self, state: &mut watch::Receiver<State>) -> Step {
        // A message larger than the window needs credit before it is whole; but one at a time.
        self.input.eager = self.queue.is_empty() && self.call.is_none();
        let deaf = self.is(M::DeafWhileSending) && !self.output.is_empty();
        let listens = !self.input.over && !deaf;
        let cut = self.is(M::StreamsAreCut);
        let returns = self.call.as_ref().and_then(|(at, _)| *at);
        let unread = self.told && self.stage == Stage::Over && !self.is(M::ReadersAreWaitedForWithoutEnd);
        let stalled = unread.then(|| Instant::now() + STALL);
        let waiting = async {
            match &mut self.waiting {
                Some(waiting) => waiting.await,
                None => pending().await,
            }
        };
        tokio::select! {
            biased;
            arrival = self.input.next(), if listens => Step::Arrived(arrival),
            // The change can't be missed: whoever sends it outlives this.
            _ = state.wait_for(|state| state.ending == Ending::Cancelling || cut && state.ending != Ending::Not),
                if !self.told => Step::ShutDown,
            sent = self.output.pump() => Step::Sent(sent),
            () = until(stalled) => Step::Sent(false),
            place = waiting => Step::Place(place),
            () = until(returns) => Step::Returned,
            () = until(self.deadline) => Step::Late,
            () = until(self.limited) => Step::OverLimit,
            () = until(self.expires) => Step::Expired,
        }
    }

    fn heard(&mut self, message: Bytes, credit: usize) {
        let request = match wire::UdfRequest::decode(message.clone()) {
            Ok(request) => request,
            Err(error) => {
                let code = if self.is(M::GarbageIsAWrongArgument) { 3 } else { 13 };
                return self.refuse(code, &error.to_string());
            }
        };
        let again = || request.encode_to_vec();
        if (self.is(M::UnknownFieldsAreRefused) && again().len() != message.len())
            || (self.is(M::OrderOfFieldsMatters) && again().len() == message.len() && again() != message)
        {
            return self.violate("a message that is not as we write it");
        }
        let request = match request.request {
            Some(udf_request::Request::Data(data)) => return self.data(data.data, credit),
            Some(udf_request::Request::Control(control)) => control.control,
            None if self.is(M::EmptyRequestIsIgnored) => return,
            None => None,
        };
        self.input.release(credit);
        let unread = matches!(self.stage, Stage::Over | Stage::Lingering | Stage::Failed | Stage::Cancelling);
        match request {
            Some(udf_control_request::Control::Cancel(cancel)) => self.cancel(&cancel),
            Some(udf_control_request::Control::Finish(_)) if self.stage == Stage::Failed => {
                self.finished = true;
                self.wait_for_cancel();
            }
            _ if unread => {}
            Some(udf_control_request::Control::Init(init)) => self.init(init),
            Some(udf_control_request::Control::Payload(chunk)) => self.chunk(chunk),
            Some(udf_control_request::Control::Finish(_)) => self.finish(),
            None if self.is(M::EmptyControlIsIgnored) => {}
            None => self.violate("a message without a branch (R16)"),
        }
    }

    fn data(&mut self, data: Bytes, credit: usize) {
        let lost = (self.stage == Stage::Waiting && self.is(M::EarlyDataIsLost))
            || (self.stage == Stage::Payload && self.is(M::DataAmongChunksIsDropped))
            || (self.stage == Stage::Start && self.is(M::WhatComesBeforeInitIsIgnored));
        if self.stage == Stage::Failed && self.is(M::DataBehindTheError) {
            self.give(data.clone());
        }
        if self.stage == Stage::Failed && self.is(M::EachFailureIsReported) && data == b"ERROR"[..] {
            self.report(user("simulated user-code error", None));
        }
        match self.stage {
            _ if lost => self.input.release(credit),
            Stage::Over | Stage::Lingering | Stage::Failed | Stage::Cancelling => self.input.release(credit),
            Stage::Payload if self.is(M::DataAmongChunksIsKept) => self.queue.push_back((data, credit)),
            Stage::Start | Stage::Payload => self.violate("data before the payload is whole (R5)"),
            Stage::Waiting if self.is(M::EarlyDataIsRefused) => self.violate("data before InitResponse"),
            Stage::Waiting | Stage::Open if self.finished && !self.is(M::DataBehindFinishIsTaken) => {
                self.violate("data after Finish");
            }
            _ if data.is_empty() && self.is(M::EmptyDataIsEmptyRequest) => self.violate("a message without a branch"),
            Stage::Waiting | Stage::Open => {
                self.counts.input(data.len(), self.shared.mutant);
                if !self.is(M::BytesCountAtTheEnd) {
                    self.shared.counts.bytes_in.fetch_add(data.len() as u64, Relaxed);
                }
                if self.is(M::DataIsPrinted) {
                    println!("got {}", String::from_utf8_lossy(&data));
                }
                self.queue.push_back((data, credit));
                self.open_late();
            }
        }
    }

    fn finish(&mut self) {
        match self.stage {
            Stage::Start if self.is(M::WhatComesBeforeInitIsIgnored) => {}
            Stage::Waiting if self.is(M::EarlyFinishIsLost) => {}
            Stage::Waiting if self.is(M::EarlyFinishIsRefused) => self.violate("Finish before InitResponse"),
            Stage::Start | Stage::Payload => self.violate("Finish before the payload is whole (R5)"),
            _ if self.finished => self.violate("a second Finish"),
            _ => {
                self.finished = true;
                self.open_late();
                if self.stage == Stage::Open && self.is(M::FinishResponseOvertakes) {
                    self.finish_response();
                }
            }
        }
    }

    fn cancel(&mut self, cancel: &wire::Cancel) {
        let long = cancel.reason.as_ref().is_some_and(|reason| reason.len() > 1024);
        match self.stage {
            Stage::Lingering => self.terminate(None),
            Stage::Over | Stage::Cancelling => {}
            Stage::Failed if self.is(M::CancelAfterAnErrorIsNotHeard) => {}
            Stage::Start if self.is(M::CancelBeforeInitIsRefused) => self.violate("Cancel before Init"),
            Stage::Payload if self.is(M::CancelAmongChunksIsRefused) => self.violate("the payload is not whole"),
            _ if self.finished && self.is(M::CancelBehindFinishIsIgnored) => {}
            _ if self.finished && self.is(M::CancelBehindFinishIsRefused) => self.violate("Cancel after Finish"),
            _ if long && self.is(M::LongReasonIsRefused) => self.violate("a long reason"),
            Stage::Waiting if self.is(M::CancelOfAWaitingInitIsAnError) => self.terminate(Some(worker("not open"))),
            Stage::Open if self.is(M::InputIsWorkedOffAfterCancel) && !self.queue.is_empty() => {
                self.cancelled_late = true;
            }
            Stage::Open if self.call.is_some() => {
                self.stage = Stage::Cancelling;
                self.output.drop_data();
                let patience = (!self.is(M::CancelWaitsForTheCall)).then_some(PATIENCE);
                self.deadline = patience.map(|patience| Instant::now() + patience);
            }
            _ => self.terminate(self.is(M::CancelIsAnError).then(|| user("cancelled", None))),
        }
    }

    fn half_close(&mut self) {
        self.half_closed = true;
        match self.stage {
            Stage::Over | Stage::Lingering | Stage::Cancelling => {}
            Stage::Failed => self.terminate(None),
            Stage::Waiting | Stage::Open if self.finished => {
                if self.is(M::HalfCloseBehindFinishIsRefused) {
                    self.violate("half-closed");
                } else if self.is(M::HalfCloseCutsTheOutput) {
                    self.finish_response();
                }
            }
            Stage::Open if self.is(M::HalfCloseIsFinish) => self.finished = true,
            Stage::Open if !self.is(M::HalfCloseInErrorResponse) => {
                self.failed = true;
                self.terminate(Some(protocol("half-closed before Finish or Cancel (C6)")));
            }
            _ => self.violate("half-closed before Finish or Cancel (C6)"),
        }
    }
}

/// A call that goes on without its stream is overdue from a moment on, until it returns (R12, C11).
async fn go_on(shared: Arc<Shared>, overdue: Instant, returns: Option<Instant>) {
    if shared.is(M::OverdueCallsAreNotCounted) || returns.is_some_and(|returns| returns <= overdue) {
        return;
    }
    sleep_until(overdue).await;
    shared.counts.overdue.fetch_add(1, Relaxed);
    until(returns).await;
    shared.counts.overdue.fetch_sub(1, Relaxed);
}

pub(super) async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => pending().await,
    }
}
