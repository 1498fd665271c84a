//! What the worker says, and what follows from it.

use anyudf_protocol::wire::{self, execution_error, udf_control_response as answer, udf_response};
use bytes::Bytes;
use prost::Message as _;

use super::{Execution, Failure, Kind, Stage, Termination};
use crate::engine::metrics;
use crate::engine::stream::{Arrival, Output};
use crate::mutant::Mutation as M;

impl Execution {
    pub(super) fn arrived(&mut self, arrival: Arrival) {
        let (message, credit) = match arrival {
            Arrival::Message(message, credit) => (message, credit),
            Arrival::End(code, text) => return self.stream_ended(code, &text),
            Arrival::Broken(why) => {
                self.input = None;
                return self.transport_failed(&why);
            }
        };
        // The first terminator wins (E11).
        if self.stage == Stage::Over && !self.is(M::SecondTerminatorCounts) {
            return self.release(credit);
        }
        self.moves();
        let response = match wire::UdfResponse::decode(message.clone()) {
            Ok(response) => response,
            Err(_) if self.is(M::GarbageIsIgnored) => return self.release(credit),
            Err(_) if self.is(M::GarbageIsAProtocolError) => {
                self.error = Some(Failure::new(Kind::Protocol, "no message"));
                return self.end(Termination::Failed);
            }
            Err(error) => return self.violated(&error.to_string()),
        };
        let again = response.encode_to_vec();
        if (self.is(M::UnknownFieldsAreRefused) && again.len() != message.len())
            || (self.is(M::OrderOfFieldsMatters) && again.len() == message.len() && again != message)
        {
            return self.violated("a message that is not as we write it");
        }
        let unknown = response.response.is_none() && !message.is_empty();
        let response = match response.response {
            Some(udf_response::Response::Data(data)) => return self.data_response(data.data, credit),
            Some(udf_response::Response::Control(control)) => control.control,
            None if unknown && self.is(M::UnknownBranchIsIgnored) => return self.release(credit),
            None if !unknown && self.is(M::EmptyResponseIsIgnored) => return self.release(credit),
            None if self.is(M::EmptyResponseIsAnError) => {
                self.release(credit);
                return self.failed(Failure::new(Kind::Protocol, "an empty response"));
            }
            None => return self.violated("a response without a branch (R16)"),
        };
        self.release(credit);
        match response {
            Some(answer::Control::Init(init)) => self.init_response(init),
            Some(answer::Control::Finish(finish)) => self.finish_response(finish),
            Some(answer::Control::Cancel(cancel)) => self.cancel_response(cancel),
            Some(answer::Control::Error(error)) => self.error_response(error),
            None if self.is(M::EmptyControlIsIgnored) => {}
            None => self.violated("a control response without a branch (R16)"),
        }
    }

    fn init_response(&mut self, init: wire::InitResponse) {
        match self.stage {
            Stage::Initializing => {}
            _ if self.is(M::SecondInitResponseIsIgnored) => return,
            _ => return self.violated("a second InitResponse (E11)"),
        }
        if self.cancelled && self.is(M::InitResponseBehindCancelIsRefused) {
            return self.violated("InitResponse after Cancel");
        }
        let chunks_left = self.output.as_ref().is_some_and(|output| !output.is_empty());
        self.stage = Stage::Open;
        if let Some(error) = init.error {
            if chunks_left && self.is(M::ErrorAmongChunksIsRefused) {
                return self.violated("InitResponse among chunks");
            }
            if self.is(M::ErrorOfInitIsOverlooked) {
                return self.opened_with(init.data);
            }
            let error = self.failure(error);
            return self.init_failed(error);
        }
        match self.cancelled {
            true if self.is(M::CancelWaitsForInitResponse) => self.say_cancel("cancelled in init"),
            true => {}
            _ => self.opened_with(init.data),
        }
    }

    fn opened_with(&mut self, data: Option<Bytes>) {
        if !self.is(M::InitTimeoutIsThatOfAll) {
            self.init_deadline = None;
        }
        let data = match data {
            Some(_) if self.is(M::DataOfInitIsLost) => None,
            Some(data) if self.is(M::DataOfInitIsText) => Some(String::from_utf8_lossy(&data).into_owned().into()),
            data => data,
        };
        if let Some(reply) = self.init.take() {
            // Who asked may be gone.
            let _ = reply.send(Ok(data));
        }
    }

    /// Init has failed by an error of the worker's: Cancel follows (R8).
    fn init_failed(&mut self, error: Failure) {
        self.error = Some(error);
        if self.is(M::FailedInitIsTheEnd) {
            return self.end(Termination::Failed);
        }
        self.say_cancel("init has failed");
    }

    fn data_response(&mut self, data: Bytes, credit: usize) {
        let dropped = (self.error.is_some() && !self.is(M::DataBehindAnErrorIsGiven))
            || (self.cancelled && !self.is(M::OutputIsHeldAfterCancel) && !self.is(M::DataBehindAnErrorIsGiven));
        match self.stage {
            Stage::Initializing if self.is(M::DataBeforeInitResponseIsDropped) => return self.release(credit),
            Stage::Initializing if !self.is(M::DataBeforeInitResponseIsTaken) => {
                return self.violated("DataResponse before InitResponse (E11)");
            }
            _ if self.cancelled && self.is(M::DataBehindCancelIsRefused) => {
                return self.violated("DataResponse after Cancel");
            }
            _ if self.error.is_some() && self.is(M::DataBehindAnErrorIsRefused) => {
                return self.violated("DataResponse after ErrorResponse");
            }
            _ if dropped && self.is(M::DroppedDataKeepsItsCredit) => {
                if let Some(input) = &mut self.input {
                    input.eager = false;
                }
                return;
            }
            _ if dropped => return self.release(credit),
            _ if data.is_empty() && self.is(M::EmptyDataIsSkipped) => return self.release(credit),
            _ => {}
        }
        self.counted.1 += 1;
        let asked = self.counted.0 >= self.counted.1;
        if !asked && self.is(M::UnaskedDataIsRefused) {
            return self.violated("an answer that nobody asked for");
        }
        if !asked && self.is(M::UnaskedDataIsDropped) {
            return self.release(credit);
        }
        let credit = match self.is(M::CreditComesBackOnArrival) {
            true => {
                self.release(credit);
                0
            }
            false => credit,
        };
        match self.is(M::OutputComesInReverse) {
            true => self.queue.push_front((data, credit)),
            false => self.queue.push_back((data, credit)),
        }
        // What follows must find room in the window; with nothing unread a message may be larger (E5).
        let eager = self.is(M::CreditComesBackOnArrival);
        if let Some(input) = &mut self.input {
            input.eager = eager;
        }
    }

    fn error_response(&mut self, error: wire::ErrorResponse) {
        let kindless = wire::ExecutionError { kind: None };
        let error = self.failure(error.error.unwrap_or(kindless));
        match self.stage {
            Stage::Initializing if self.is(M::ErrorBeforeInitResponseIsRefused) => {
                self.violated("ErrorResponse before InitResponse");
            }
            Stage::Initializing => {
                self.stage = Stage::Open;
                self.init_failed(error);
            }
            _ if self.finished && self.is(M::ErrorBehindFinishIsRefused) => self.violated("ErrorResponse after Finish"),
            _ if self.error.is_some() => self.violated("a second ErrorResponse (R7)"),
            _ if self.cancelled && self.is(M::ErrorThatCrossesIsRefused) => self.violated("ErrorResponse after Cancel"),
            _ => self.failed(error),
        }
    }

    /// The execution has failed while data was processed: Cancel follows (R8).
    fn failed(&mut self, error: Failure) {
        // Not what it says: the caller's text may be of any length.
        let reason = format!("the execution has failed: {}", error.message);
        self.error = Some(error);
        match () {
            () if self.is(M::ErrorIsTheEnd) => self.end(Termination::Failed),
            () if self.is(M::NoCancelAfterAnError) => {}
            () if self.finished && self.is(M::NoCancelAfterAnErrorBehindFinish) => {}
            () if !self.finished && self.is(M::FinishAfterAnError) => self.say_finish(),
            // It has been said (R9).
            () if self.cancelled && !self.is(M::EachErrorIsAnsweredByCancel) => {}
            () => self.say_cancel(&reason),
        }
    }

    fn finish_response(&mut self, finish: wire::FinishResponse) {
        if self.error.is_some() {
            if self.is(M::FinishResponseAfterAnErrorIsRefused) {
                return self.violated("FinishResponse after an error");
            }
            if !self.is(M::FinishResponseHidesTheError) {
                return self.end(Termination::Failed);
            }
            self.error = None;
        }
        match () {
            () if !self.finished && self.is(M::FinishResponseUnaskedIsAResult) => {}
            () if !self.finished => return self.violated("FinishResponse before Finish (E11)"),
            () if self.cancelled && self.is(M::FinishResponseBehindCancelIsRefused) => {
                return self.violated("FinishResponse after Cancel");
            }
            () if self.cancelled && self.is(M::FinishResponseBehindCancelIsNotHeard) => return,
            () => {}
        }
        match metrics::decode(&finish.metrics, self.connection.mutant) {
            Ok(metrics) => self.summary.metrics = metrics,
            Err(why) => return self.violated(&why),
        }
        self.summary.data = finish.data.filter(|_| !self.is(M::ResultIsLost));
        self.callback = finish.error.map(|error| self.failure(error)).filter(|_| !self.is(M::FinishCallbackCannotFail));
        if self.is(M::FinishResponseOvertakesOutput) {
            self.drop_queue();
        }
        self.end(Termination::Finished);
    }

    fn cancel_response(&mut self, cancel: wire::CancelResponse) {
        let callback = cancel.error.map(|error| self.failure(error));
        let asked = self.cancelled;
        if self.error.is_some() {
            let said = self.output.as_ref().is_none_or(Output::is_empty);
            if !said && self.is(M::CancelResponseUnaskedIsRefused) {
                return self.violated("CancelResponse before Cancel");
            }
            if callback.is_some() && self.is(M::LastErrorWins) {
                self.error = callback;
            }
            return self.end(Termination::Failed);
        }
        if !asked {
            return match callback {
                _ if self.is(M::CancelResponseUnaskedIsAViolation) => self.violated("CancelResponse before Cancel"),
                _ if self.is(M::CancelResponseUnaskedIsAResult) => self.end(Termination::Finished),
                _ if self.is(M::CancelResponseUnaskedIsIgnored) => {}
                Some(error) if !self.is(M::ErrorOfAnUnaskedEndIsLost) => {
                    self.error = Some(error);
                    self.end(Termination::Failed);
                }
                _ => self.end(Termination::Cancelled),
            };
        }
        if self.finished && self.is(M::CancelResponseBehindFinishIsRefused) {
            return self.violated("CancelResponse after Finish");
        }
        self.callback = callback.filter(|_| !self.is(M::CancelCallbackCannotFail));
        let interrupted = self.interrupted && self.is(M::AcknowledgedIsInterruptedAllTheSame);
        self.end(if interrupted { Termination::Interrupted } else { Termination::Cancelled });
    }

    /// The worker's side is over.
    fn stream_ended(&mut self, code: u32, text: &str) {
        self.input = None;
        if self.stage == Stage::Over {
            if code != 0 && self.is(M::StatusBehindTheTerminatorCounts) && self.termination.is_some() {
                self.termination = Some(Termination::TransportFailed);
            }
            return;
        }
        match () {
            () if code == 0 && self.is(M::EndIsAResult) && self.finished => self.end(Termination::Finished),
            () if code == 0 && self.is(M::EndIsACancellation) => self.end(Termination::Cancelled),
            () if self.is(M::EndIsWaitedOut) => {}
            () if code != 0 && self.is(M::StatusIsAnErrorOfTheWorker) => {
                self.error = Some(Failure::new(Kind::Worker, text));
                self.end(Termination::Failed);
            }
            () => self.transport_failed(&format!("the stream has ended without a terminator: status {code} {text}")),
        }
    }

    /// An error as the caller gets it (R14).
    fn failure(&self, error: wire::ExecutionError) -> Failure {
        match error.kind {
            Some(execution_error::Kind::User(user)) => Failure {
                kind: Kind::User,
                message: user.message,
                class: user.error_class.filter(|_| !self.is(M::ClassOfAnErrorIsLost)),
            },
            Some(execution_error::Kind::Worker(worker)) => {
                let kind = if self.is(M::ErrorOfTheWorkerIsTheUsers) { Kind::User } else { Kind::Worker };
                Failure::new(kind, worker.message)
            }
            Some(execution_error::Kind::Protocol(protocol)) => {
                let kind = if self.is(M::ProtocolErrorIsOfTheTransport) { Kind::Transport } else { Kind::Protocol };
                Failure::new(kind, protocol.message)
            }
            None if self.is(M::ErrorWithoutKindIsTheUsers) => Failure::new(Kind::User, "error without kind"),
            None if self.is(M::ErrorWithoutKindSaysNothing) => Failure::new(Kind::Worker, ""),
            None => Failure::new(Kind::Worker, "error without kind"),
        }
    }
}
