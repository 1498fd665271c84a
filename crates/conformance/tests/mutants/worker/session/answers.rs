//! What the worker says once the function is open, and when something is wrong.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use anyudf_protocol::wire::udf_control_response::Control;
use anyudf_protocol::wire::{self, udf_response};
use bytes::Bytes;
use prost::Message as _;
use tokio::time::{Instant, sleep};

use super::{Session, Stage, go_on};
use crate::mutant::Mutation as M;
use crate::worker::Ending;
use crate::worker::function::{protocol, user, worker};

impl Session {
    /// Lets the function do what can be done without waiting.
    pub(super) fn advance(&mut self) {
        while self.stage == Stage::Open && self.call.is_none() && self.output.has_room() {
            let Some(function) = &mut self.function else { return };
            let asked = self.finished || !self.queue.is_empty() || !self.shared.mutant.is(M::GeneratorWaitsToBeAsked);
            if let Some(data) = asked.then(|| function.generate()).flatten() {
                self.give(data);
            } else if let Some((data, credit)) = self.queue.pop_front() {
                self.input.release(credit);
                let call = function.call(data, self.shared.mutant);
                self.shared.counts.calling.fetch_add(1, Relaxed);
                let returns = call.takes.map(|time| Instant::now() + time);
                self.calls += 1;
                self.limit_begins();
                let at_once = call.takes == Some(Duration::ZERO);
                self.call = Some((returns, call));
                if at_once {
                    self.returned();
                }
            } else if self.cancelled_late {
                self.terminate(None);
            } else if self.finished && !self.is(M::FinishIsNotAnswered) {
                self.finish_response();
            } else {
                // A mutation that does not wait for Finish waits for some input.
                if self.is(M::FinishResponseUnasked) && self.counts.batches_in > 0 && function_is_done(self) {
                    self.finish_response();
                }
                return;
            }
        }
    }

    /// The call has returned.
    pub(super) fn returned(&mut self) {
        let Some((_, call)) = self.call.take() else { return };
        if !self.is(M::LimitIsOfAllCalls) {
            self.limited = None;
        }
        self.shared.counts.calling.fetch_sub(1, Relaxed);
        match (self.stage, call.gives) {
            (Stage::Cancelling, Ok(Some(data))) if self.is(M::OutputBehindCancel) => {
                self.terminate(None);
                self.give(data);
                self.output.swap_last();
            }
            (Stage::Cancelling, _) => self.terminate(None),
            (Stage::Open, Ok(Some(data))) if data.len() + 16 > self.peer_limit => {
                let class = self.condition("MESSAGE_TOO_LARGE");
                self.fail(user(&format!("{} bytes are more than the engine takes (P7)", data.len()), class));
            }
            (Stage::Open, Ok(Some(data))) => self.give(data),
            (Stage::Open, Err(_)) if self.is(M::FailureIsAStatus) => self.refuse(2, "the function failed"),
            (Stage::Open, Err(error)) => self.fail(error),
            _ => {}
        }
    }

    /// The clock of a call begins (C11).
    pub(super) fn limit_begins(&mut self) {
        let at = self.call_limit.map(|limit| Instant::now() + limit);
        self.limited = self.limited.filter(|_| self.is(M::LimitIsOfAllCalls)).or(at);
    }

    /// A call is over its limit: that is told at once, whether it returns or not (C11).
    pub(super) fn over_limit(&mut self) {
        self.limited = None;
        if self.stage != Stage::Open {
            return;
        }
        if let Some((returns, _)) = self.call.take() {
            self.shared.counts.calling.fetch_sub(1, Relaxed);
            if !self.is(M::CallOverLimitIsNotOverdue) {
                tokio::spawn(go_on(Arc::clone(&self.shared), Instant::now(), returns));
            }
        }
        let which = if self.is(M::BatchIsNotNamed) { String::new() } else { format!(" for batch {}", self.calls) };
        let text = format!("the call{which} is over its limit of {:?} (C11)", self.call_limit.unwrap_or_default());
        let class = self.condition("CALL_TIMEOUT");
        self.fail(if self.is(M::OverLimitIsAWorkerError) { worker(&text) } else { user(&text, class) });
    }

    /// The name of a condition (C12).
    fn condition(&self, name: &str) -> Option<String> {
        match self.shared.mutant.0 {
            Some(M::NoCondition) => None,
            Some(M::ConditionInWords) => Some(name.to_lowercase().replace('_', " ")),
            _ => Some(name.into()),
        }
    }

    pub(super) fn give(&mut self, data: Bytes) {
        if self.is(M::OutputWaitsForFinish) && !self.finished {
            return self.held.push(data);
        }
        let data = match self.is(M::OutputLagsBehind) && !self.finished {
            true if self.held.is_empty() => return self.held.push(data),
            true => std::mem::replace(&mut self.held[0], data),
            false => data,
        };
        self.counts.output(data.len(), self.shared.mutant);
        self.shared.counts.bytes_out.fetch_add(data.len() as u64, Relaxed);
        let response = udf_response::Response::Data(wire::DataResponse { data });
        self.output.push(&wire::UdfResponse { response: Some(response) }.encode_to_vec(), true);
        if self.is(M::OutputSwapsPlaces) {
            self.output.swap_last();
        }
    }

    pub(super) fn finish_response(&mut self) {
        let held = std::mem::take(&mut self.held);
        held.into_iter().for_each(|data| self.give(data));
        let mut metrics = self.counts.encoded(self.shared.mutant);
        if !self.is(M::NoStatus) {
            metrics.push(crate::worker::metrics::entry("status", "ok"));
        }
        let data = self.function.as_ref().and_then(|function| function.finish());
        self.end(Control::Finish(wire::FinishResponse { metrics, data, error: None }));
        if self.is(M::CancelBehindFinishResponseIsAnswered) {
            // So that the Cancel is there before the end is.
            (self.stage, self.deadline) = (Stage::Lingering, Some(Instant::now() + Duration::from_millis(300)));
        }
    }

    /// CancelResponse, behind what must not be cut.
    pub(super) fn terminate(&mut self, error: Option<wire::ExecutionError>) {
        self.output.drop_data();
        let metrics = match self.is(M::CancelResponseWithoutMetrics) {
            true => Vec::new(),
            false => self.counts.encoded(self.shared.mutant),
        };
        let instead = match self.failed && error.is_none() {
            true if self.refused_init => self.is(M::FinishResponseAfterAFailedInit),
            true => self.is(M::FinishResponseAfterAnError),
            false => false,
        };
        self.end(match instead {
            true => Control::Finish(wire::FinishResponse { metrics, data: None, error }),
            false => Control::Cancel(wire::CancelResponse { metrics, error }),
        });
    }

    fn end(&mut self, terminator: Control) {
        (self.stage, self.deadline) = (Stage::Over, None);
        if let Some(waiting) = self.waiting.take().filter(|_| self.is(M::TheCancelledKeepsItsTurn)) {
            std::mem::forget(waiting);
        }
        if self.is(M::NoTerminator) {
            return;
        }
        self.control(terminator.clone());
        if self.is(M::TwoTerminators) {
            self.control(terminator);
        }
    }

    pub(super) fn control(&mut self, control: Control) {
        let control = wire::UdfControlResponse { control: Some(control) };
        let response = wire::UdfResponse { response: Some(udf_response::Response::Control(control)) };
        self.output.push(&response.encode_to_vec(), false);
    }

    /// Ends the stream with a status of transport.
    pub(super) fn refuse(&mut self, code: u32, why: &str) {
        self.status = (code, why.into());
        self.failed = true;
        self.output.drop_data();
        (self.stage, self.waiting, self.deadline) = (Stage::Over, None, None);
    }

    /// Tells the error where the stream stands (R19).
    pub(super) fn report(&mut self, mut error: wire::ExecutionError) {
        if self.is(M::ErrorWithoutKind) {
            error.kind = None;
        }
        self.failed = true;
        let control = match self.opened {
            true => Control::Error(wire::ErrorResponse { error: Some(error) }),
            false => Control::Init(wire::InitResponse { data: None, error: Some(error) }),
        };
        if self.opened && self.is(M::TwoErrorResponses) {
            self.control(control.clone());
        }
        self.refused_init |= !self.opened;
        self.opened = true;
        self.control(control);
    }

    /// What breaks the protocol is not waited on (C2).
    pub(super) fn violate(&mut self, why: &str) {
        if self.is(M::ViolationIsAStatus) {
            return self.refuse(3, why);
        }
        let error = if self.is(M::ViolationIsAUserError) { user(why, None) } else { protocol(why) };
        if self.opened && self.is(M::ViolationInCancelResponse) {
            self.failed = true;
            return self.terminate(Some(error));
        }
        if self.stage != Stage::Failed {
            self.report(error);
        }
        self.terminate(None);
    }

    /// What fails is waited on until Cancel comes (C2).
    pub(super) fn fail(&mut self, error: wire::ExecutionError) {
        self.report(error);
        self.stage = Stage::Failed;
        let queue = std::mem::take(&mut self.queue);
        queue.into_iter().for_each(|(_, credit)| self.input.release(credit));
        if self.is(M::FailureEndsWithoutTerminator) {
            return self.stage = Stage::Over;
        }
        self.wait_for_cancel();
    }

    pub(super) fn wait_for_cancel(&mut self) {
        let patience = Duration::from_secs(if self.finished { 1 } else { 10 });
        let deadline = Instant::now() + patience;
        match self.half_closed {
            _ if self.is(M::FailureWaitsForEver) => self.deadline = None,
            true => self.terminate(None),
            false => self.deadline = Some(self.deadline.map_or(deadline, |before| before.min(deadline))),
        }
    }

    pub(super) fn late(&mut self) {
        match self.stage {
            Stage::Cancelling => {
                let error = worker("the function did not notice the Cancel within 5 s (R12)");
                (self.failed, self.overdue) = (true, true);
                self.terminate((!self.is(M::OverdueCallIsNoError)).then_some(error));
            }
            Stage::Failed => self.terminate(None),
            _ => (self.stage, self.deadline) = (Stage::Over, None),
        }
    }

    /// The worker ends, and so do its streams (C7).
    pub(super) async fn shut_down(&mut self) {
        self.told = true;
        if self.is(M::StreamsAreCut) && self.shared.state.borrow().ending == Ending::Draining {
            return self.refuse(14, "the worker is shutting down");
        }
        if self.is(M::AnswerBeforeTheTerminators) {
            sleep(Duration::from_secs(1)).await;
        }
        match self.stage {
            Stage::Over | Stage::Lingering => return,
            Stage::Failed if self.is(M::ShutdownAddsAnError) => self.report(worker("it is shutting down")),
            Stage::Failed | Stage::Cancelling => {}
            _ if self.is(M::ShutdownWithoutAnError) => {}
            _ if !self.opened && self.is(M::ShutdownSkipsInit) => {}
            _ => self.report(worker("the worker is shutting down (C7)")),
        }
        self.terminate(None);
    }
}

/// Whether the function has nothing more to give by itself.
fn function_is_done(session: &Session) -> bool {
    session.function.as_ref().is_some_and(|function| function.is_done())
}
