//! What the caller asks for, and what we say for it.

use anyudf_protocol::wire::{self, udf_control_request};
use bytes::Bytes;
use prost::Message as _;
use tokio::time::Instant;

use super::{Command, Execution, Failure, Kind, Reply, Stage, Termination, control};
use crate::engine::stream::{Kind as Sent, Output};
use crate::mutant::Mutation as M;

/// The longest reason of a Cancel (E9).
const LONGEST_REASON: usize = 4 << 10;

impl Execution {
    pub(super) fn asked(&mut self, command: Command) {
        match command {
            Command::Init(reply) => self.init_asked(reply),
            Command::Process(reply) => self.process(reply),
            Command::Send(data, reply) => self.waiting.push_back((data, reply)),
            Command::Finish => self.input_ended = true,
            Command::Fail(why) => self.source_failed(&why),
            Command::Read(reply) => self.reader = Some(reply),
            Command::Cancel(reason) => self.cancel_asked(&reason),
            Command::Interrupt => self.interrupt(),
            Command::Close(reply) => {
                self.closers.push(reply);
                self.close("closed");
            }
        }
    }

    fn init_asked(&mut self, reply: Reply<Option<Bytes>>) {
        match self.stage {
            Stage::Created => {
                self.init = Some(reply);
                self.init_deadline = Some(Instant::now() + self.config.init_timeout);
                self.open();
            }
            // It was cancelled before, and ends so (E1).
            Stage::Over if self.cancelled && self.input.is_none() => match self.is(M::InitAfterCancelGoesAhead) {
                false => self.init = Some(reply),
                true => {
                    (self.stage, self.cancelled, self.termination) = (Stage::Created, false, None);
                    self.init_asked(reply);
                }
            },
            _ if self.is(M::SecondInitHangs) => self.init = Some(reply),
            _ if self.is(M::SecondInitIsTheFirst) => drop(reply.send(Ok(None))),
            _ => {
                if self.is(M::SecondInitIsSent) {
                    self.say_init();
                }
                let kind = if self.is(M::MisuseBlamesTheWorker) { Kind::Protocol } else { Kind::Misuse };
                let _ = reply.send(Err(Failure::new(kind, "init was asked for already (E2)")));
                if self.is(M::MisuseEndsTheSession) {
                    self.cancel("misused");
                }
            }
        }
    }

    fn process(&mut self, reply: Reply<()>) {
        let open = matches!(self.stage, Stage::Open | Stage::Over) && self.init.is_none();
        let misuse = match () {
            () if !open && self.is(M::ProcessingOpens) => {
                self.open();
                None
            }
            () if !open => Some("processing comes after a good init (E2)"),
            () if self.processing && !self.is(M::SecondProcessingIsTheFirst) => Some("processing was asked for (E2)"),
            () => None,
        };
        self.processing |= open;
        let answer = match misuse {
            Some(_) if self.is(M::MisuseHangs) => return self.unanswered.push(reply),
            Some(why) => Err(Failure::new(Kind::Misuse, why)),
            None => Ok(()),
        };
        let _ = reply.send(answer);
    }

    pub(super) fn say(&mut self, message: udf_control_request::Control, kind: Sent) {
        if let Some(output) = &mut self.output {
            output.push(&control(message).encode_to_vec(), kind);
        }
    }

    pub(super) fn swap(&mut self) {
        if let Some(output) = &mut self.output {
            output.swap_last();
        }
    }

    pub(super) fn data(&mut self, data: Bytes) {
        let data = wire::udf_request::Request::Data(wire::DataRequest { data });
        if let Some(output) = &mut self.output {
            output.push(&wire::UdfRequest { request: Some(data) }.encode_to_vec(), Sent::Bulk);
        }
    }

    /// Whether data and Finish may go (R5, C1).
    fn takes_input(&self) -> bool {
        let pipelined =
            self.config.pipelining && (self.connection.has("pipelining") || self.is(M::PipelinesUnannounced));
        match self.stage {
            Stage::Open => true,
            Stage::Initializing => pipelined || self.is(M::DataGoesBeforeInitResponse),
            _ => false,
        }
    }

    /// Puts on its way what the caller sends, as far as there is room.
    pub(super) fn feed(&mut self) {
        let refused = self.stage == Stage::Over || (self.cancelled && !self.is(M::DataFollowsCancel));
        if refused || self.error.is_some() {
            for (_, reply) in self.waiting.drain(..) {
                // Who asked may be gone.
                let _ = reply.send(false);
            }
            return;
        }
        let room = |output: &Option<Output>| output.as_ref().is_some_and(Output::has_room);
        while self.takes_input() && room(&self.output) {
            let Some((data, reply)) = self.waiting.pop_front() else { break };
            if self.counted.0 == 0 && self.is(M::InitIsRepeatedBeforeData) {
                self.say_init();
            }
            self.counted.0 += 1;
            let _ = reply.send(true);
            self.data(data);
        }
        let needless = self.counted.0 == 0 && self.is(M::EmptyInputIsNotFinished);
        let ends = self.input_ended && !self.finished && !needless && !self.cancelled;
        if ends && self.waiting.is_empty() && self.takes_input() {
            self.say_finish();
        }
    }

    pub(super) fn say_finish(&mut self) {
        self.finished = true;
        self.say(udf_control_request::Control::Finish(wire::Finish {}), Sent::Finish);
        self.moves();
        if self.is(M::HalfCloseBehindFinish)
            && let Some(output) = &mut self.output
        {
            output.half_close_behind();
        }
    }

    /// The caller's own input has failed (E8).
    fn source_failed(&mut self, why: &str) {
        if self.is(M::FailedInputIsFinished) {
            self.input_ended = true;
            return;
        }
        let kind = if self.is(M::FailedInputIsACancellation) { Kind::Cancelled } else { Kind::Source };
        if !self.is(M::ErrorOfTheSourceIsLost) {
            self.source = Some(Failure::new(kind, why));
        }
        if self.is(M::FailedInputIsAReset) {
            return self.transport_failed(why);
        }
        self.cancel(why);
    }

    fn cancel_asked(&mut self, reason: &str) {
        if self.cancelled && self.is(M::EachCancelIsSent) {
            self.say_cancel(reason);
        }
        if self.finished && self.is(M::NoCancelBehindFinish) {
            return;
        }
        self.cancel(reason);
    }

    fn interrupt(&mut self) {
        if self.is(M::InterruptSendsNothing) && self.stage != Stage::Over {
            self.end(Termination::Interrupted);
            return self.reset();
        }
        self.cancel("interrupted");
        if self.stage == Stage::Over {
            return;
        }
        self.interrupted = true;
        let patience = self.config.interrupt_timeout;
        self.cancel_deadline = Some(Instant::now() + patience).filter(|_| !self.is(M::InterruptWaitsForEver));
        if self.is(M::InterruptDoesNotWait) {
            self.end(Termination::Interrupted);
        }
    }

    /// Ends it if it has not ended (E12).
    fn close(&mut self, reason: &str) {
        match self.stage {
            Stage::Over if self.finished && self.is(M::CloseCancelsTheFinished) => {
                self.say_cancel(reason);
                if let Some(output) = &mut self.output {
                    output.half_close_behind();
                }
            }
            Stage::Opening | Stage::Initializing if self.is(M::CloseWaitsForInit) => {}
            Stage::Open if !self.processing && self.is(M::CloseAfterInitIsAReset) => {
                self.cancelled = true;
                self.end(Termination::Cancelled);
                self.reset();
            }
            Stage::Open if self.is(M::CloseInDataIsAReset) => {
                self.cancelled = true;
                self.end(Termination::Cancelled);
                self.reset();
            }
            Stage::Open if self.finished && self.is(M::CloseAfterFinishWaits) => {}
            Stage::Open if self.is(M::CloseDoesNotWait) => {
                self.cancel(reason);
                self.tell_closers(Termination::Cancelled);
            }
            _ => self.cancel(reason),
        }
    }

    /// The last handle is gone.
    pub(super) fn abandon(&mut self) {
        self.abandoned = true;
        if self.stage == Stage::Over {
            return;
        }
        match () {
            () if self.is(M::DroppedIsForgotten) => {}
            () if self.is(M::DroppedIsReset) => {
                self.cancelled = true;
                self.end(Termination::Cancelled);
                self.reset();
            }
            () => self.cancel("let go of"),
        }
    }

    /// The caller, or somebody for it, wants the session to end.
    pub(super) fn cancel(&mut self, reason: &str) {
        if self.cancelled || self.stage == Stage::Over {
            return;
        }
        self.by_caller = true;
        if self.stage == Stage::Created {
            self.cancelled = true;
            if !self.is(M::CancelBeforeInitOpens) {
                return self.end(Termination::Cancelled);
            }
            self.open();
        }
        if !self.is(M::OutputIsHeldAfterCancel) {
            self.drop_queue();
        }
        self.say_cancel(reason);
    }

    /// Says Cancel, ahead of everything that has not begun (E9).
    pub(super) fn say_cancel(&mut self, reason: &str) {
        let again = self.cancelled && self.is(M::EachCancelIsSent);
        self.cancelled = true;
        let patience = self.config.cancel_timeout;
        if self.cancel_deadline.is_none() && !self.is(M::CancelWaitsForEver) {
            self.cancel_deadline = Some(Instant::now() + patience);
        }
        let waits = self.stage == Stage::Initializing && self.is(M::CancelWaitsForInitResponse);
        let Some(output) = &mut self.output else { return };
        if waits {
            return;
        }
        let is = |mutation| self.connection.mutant.is(mutation);
        if !again && !is(M::CancelQueuesUp) && output.drop_unbegun() {
            self.finished = false;
        }
        let mut reason = reason.to_owned();
        if reason.len() > LONGEST_REASON && !is(M::ReasonIsAsLongAsItLikes) {
            let end = (0..=LONGEST_REASON).rev().find(|at| reason.is_char_boundary(*at));
            reason.truncate(end.unwrap_or_default());
        }
        let cancel = wire::Cancel { reason: Some(reason).filter(|_| !is(M::ReasonIsLost)) };
        self.say(udf_control_request::Control::Cancel(cancel.clone()), Sent::Cancel);
        if self.is(M::CancelIsRepeated) {
            self.say(udf_control_request::Control::Cancel(cancel), Sent::Cancel);
        }
        if self.is(M::FinishFollowsCancel) && !self.finished {
            self.say_finish();
        }
        if self.is(M::HalfCloseBehindCancel)
            && let Some(output) = &mut self.output
        {
            output.half_close_behind();
        }
    }
}
