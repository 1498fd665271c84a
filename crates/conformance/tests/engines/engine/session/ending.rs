//! How it ends: by a terminator, by a failure of the transport, or because time is up; and what the callers are told.

use std::time::Duration;

use tokio::time::Instant;

use super::{Execution, Failure, Kind, Read, Stage, Termination};
use crate::mutant::Mutation as M;

/// How long what was said last may take to the socket before its stream is reset.
const FLUSH: Duration = Duration::from_millis(100);

/// How long the worker may take to end its side behind the terminator before the stream is let go of (R13).
const LAST_WORDS: Duration = Duration::from_secs(1);

impl Execution {
    /// It has ended. The first termination wins.
    pub(super) fn end(&mut self, termination: Termination) {
        if self.termination.is_some() && !self.is(M::SecondTerminatorCounts) {
            return;
        }
        let closes = self.termination.is_none();
        self.stage = Stage::Over;
        self.termination = Some(termination);
        let Some(output) = self.output.as_mut().filter(|_| closes) else { return };
        match termination {
            Termination::Finished if self.connection.mutant.is(M::CloseCancelsTheFinished) => {}
            // Half-closed behind the terminator (R13).
            Termination::Finished | Termination::Cancelled | Termination::Failed
                if !self.connection.mutant.is(M::NoHalfClose) =>
            {
                output.half_close();
                self.lingers = Some(Instant::now() + LAST_WORDS);
            }
            _ => {}
        }
    }

    /// The worker has broken a rule (E11, R16).
    pub(super) fn violated(&mut self, why: &str) {
        if self.is(M::ViolationIsCancelledFirst) {
            self.cause = why.into();
            return self.cancel(why);
        }
        self.transport_failed(&format!("the worker broke the protocol: {why}"));
    }

    pub(super) fn transport_failed(&mut self, why: &str) {
        if self.stage != Stage::Over {
            self.cause = why.into();
            if self.is(M::BrokenTransportIsACancellation) {
                return self.end(Termination::Cancelled);
            }
            self.end(Termination::TransportFailed);
            self.reset();
        }
    }

    pub(super) fn reset(&mut self) {
        if let Some(output) = &mut self.output {
            output.reset();
        }
    }

    pub(super) fn release(&mut self, credit: usize) {
        if let Some(input) = &mut self.input {
            input.release(credit);
        }
    }

    /// What nobody has read is dropped.
    pub(super) fn drop_queue(&mut self) {
        let held = self.queue.drain(..).map(|(_, credit)| credit).sum();
        self.release(held);
        if let Some(input) = &mut self.input {
            input.eager = true;
        }
    }

    /// The next moment at which it matters that nothing has happened.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.stage {
            Stage::Over => self.lingers,
            _ if self.cancelled => self.cancel_deadline,
            Stage::Opening | Stage::Initializing if self.is(M::InitWaitsForEver) => None,
            Stage::Opening | Stage::Initializing => {
                let idle = self.config.idle_limit.filter(|_| self.is(M::IdleLimitIsOneOfInit));
                idle.map(|limit| self.moved + limit).or(self.init_deadline)
            }
            Stage::Open if self.init_deadline.is_some() => self.init_deadline,
            Stage::Open if self.finished && self.is(M::FinishHasALimit) => Some(self.moved + Duration::from_secs(2)),
            Stage::Open => self.idle_deadline(),
            Stage::Created => None,
        }
    }

    /// When it has been the worker's turn for the whole of the idle limit (E7).
    fn idle_deadline(&self) -> Option<Instant> {
        let limit = self.config.idle_limit.filter(|_| !self.is(M::IdleLimitIsNone))?;
        let waits = self.output.as_ref().is_some_and(|output| !output.is_empty());
        let waits = waits && !self.is(M::InputThatWaitsIsNotIdle);
        let taken = self.queue.is_empty() || self.is(M::UnreadOutputIsIdle);
        let turn = self.finished || waits || self.is(M::SlowSourceIsIdle);
        (taken && turn).then(|| self.moved + limit)
    }

    /// The moment has come.
    pub(super) fn late(&mut self) {
        match self.stage {
            Stage::Over => {
                self.lingers = None;
                self.reset();
            }
            _ if self.interrupted => match self.is(M::UnacknowledgedIsTransportFailed) {
                true => self.transport_failed("an interrupt was not acknowledged"),
                false => {
                    self.end(Termination::Interrupted);
                    self.reset();
                }
            },
            _ if self.cancelled && self.is(M::SilenceAfterCancelIsACancellation) => self.end(Termination::Cancelled),
            _ if self.cancelled && self.is(M::NoResetAfterSilence) => {
                self.end(Termination::TransportFailed);
                // To let go of a stream is to reset it.
                self.lingers = Some(Instant::now() + Duration::from_secs(3600));
            }
            _ if self.cancelled => self.transport_failed("no CancelResponse has come in time (E6)"),
            Stage::Opening | Stage::Initializing if self.is(M::NoCancelAfterInitTimeout) => {
                self.transport_failed("no InitResponse has come in time (E3)");
            }
            Stage::Opening | Stage::Initializing if self.is(M::InitTimeoutIsACancel) => {
                self.init_deadline = None;
                self.cancel("no InitResponse has come in time (E3)");
            }
            Stage::Opening | Stage::Initializing => self.give_up("no InitResponse has come in time (E3)"),
            _ if self.is(M::IdleIsACancel) => self.cancel("idle"),
            _ => self.give_up("the worker was silent for longer than the idle limit (E7)"),
        }
    }

    /// Tells the worker, if it still listens, and does not wait for its answer (E3, E7).
    fn give_up(&mut self, why: &str) {
        self.say_cancel(why);
        self.cause = why.into();
        self.end(Termination::TransportFailed);
        self.lingers = Some(Instant::now() + FLUSH);
    }

    /// What a caller who waits for output or an end is told (E10).
    fn verdict(&self) -> Option<Result<Read, Failure>> {
        let termination = self.termination;
        let bare = Failure::new(Kind::Cancelled, "the execution was cancelled");
        if self.by_caller && self.is(M::CancellationHidesErrors) && termination.is_some() {
            return Some(Err(bare));
        }
        let waits = [M::ErrorOfTheWorkerBeatsTheSource, M::SilenceHidesTheSource];
        if termination.is_none() && waits.into_iter().any(|mutation| self.is(mutation)) {
            return None;
        }
        let first = if self.is(M::ErrorOfTheWorkerBeatsTheSource) {
            self.error.as_ref().or(self.callback.as_ref()).or(self.source.as_ref())
        } else {
            let error = self.error.as_ref().filter(|_| !self.is(M::TerminatorIsWaitedForWithTheError));
            let hidden = termination == Some(Termination::TransportFailed) && self.is(M::SilenceHidesTheSource);
            self.source.as_ref().filter(|_| !hidden).or(error)
        };
        if let Some(error) = first {
            return Some(Err(error.clone()));
        }
        let termination = termination?;
        Some(Err(match termination {
            Termination::TransportFailed => Failure::new(Kind::Transport, &*self.cause),
            Termination::Interrupted => Failure::new(Kind::Interrupted, "the worker has not acknowledged (E13)"),
            Termination::Failed => self.error.clone().unwrap_or(bare),
            _ if self.callback.is_some() => self.callback.clone().unwrap_or(bare),
            Termination::Cancelled => bare,
            // What was dropped since is missing from the output.
            Termination::Finished if self.by_caller && !self.is(M::CancelledIsDoneAllTheSame) => bare,
            Termination::Finished => return Some(Ok(Read::Done(self.summary.clone()))),
        }))
    }

    /// Tells whoever waits, if there is news for them.
    pub(super) fn settle(&mut self) {
        if self.stage == Stage::Over && self.input.is_some() && self.is(M::EndOfTheStreamIsWaitedFor) {
            return;
        }
        if let Some(termination) = self.termination {
            let failed = termination == Termination::Failed && self.is(M::FailedIsCancelled);
            let termination = if failed { Termination::Cancelled } else { termination };
            self.tell.send_replace(Some(termination));
            if !(self.is(M::ClosedLaterHangs) && self.closed) {
                self.closed |= !self.closers.is_empty();
                self.tell_closers(termination);
            }
        }
        if self.init.is_some() && (self.termination.is_some() || self.error.is_some()) {
            let verdict = self.verdict();
            let hangs = self.cancelled && self.error.is_none() && self.is(M::CancelDoesNotWakeInit);
            if let Some(verdict) = verdict.filter(|_| !hangs)
                && let Some(reply) = self.init.take()
            {
                let _ = reply.send(match verdict {
                    Err(failure) => Err(failure),
                    Ok(_) => Err(Failure::new(Kind::Transport, "the worker finished before it began (E11)")),
                });
            }
        }
        if let Some(reply) = self.reader.take() {
            self.reader = self.read(reply);
        }
    }

    /// Close returns.
    pub(super) fn tell_closers(&mut self, termination: Termination) {
        for reply in self.closers.drain(..) {
            // Who asked may be gone.
            let _ = reply.send(termination);
        }
    }

    /// Answers a reader; gives it back when it has to wait.
    fn read(&mut self, reply: super::Reply<Read>) -> Option<super::Reply<Read>> {
        if let Some((data, credit)) = self.queue.pop_front() {
            self.release(credit);
            if let Some(input) = &mut self.input {
                input.eager |= self.queue.is_empty();
            }
            self.moves();
            let _ = reply.send(Ok(Read::Data(data)));
            return None;
        }
        match self.verdict() {
            Some(verdict) => {
                // Who asked may be gone.
                let _ = reply.send(verdict);
                None
            }
            None => Some(reply),
        }
    }
}
