//! The engine's side of an execution, as [`anyudf_grpc::drive`] drives it: what to say next, and what an answer means.
//!
//! Does no I/O. The table is [`Exchange`]; this file acts on its answers (E1-E14).

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use anyudf_grpc::{Credit, Ending, Event, Outgoing, Receiver, Role, Status};
use anyudf_protocol::{
    CancelResponse, Chunk, Exchange, ExecutionError, FinishResponse, InitResponse, Request, RequestKind, Response,
    Side, Violation, cut,
};
use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::config::{Pipelining, SessionConfig};
use super::progress::Counters;
use super::termination::{Cause, Termination};

/// The most bytes of Cancel's reason: what the window keeps free for Cancel holds it many times over (E9).
const LONGEST_REASON: usize = 4 << 10;

/// What the caller puts into the queue, in order.
#[derive(Debug)]
pub(crate) enum FromCaller {
    Data(Outgoing, usize),
    Finish,
}

/// What goes past the queue.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The caller cancels, closes, or dropped its handles (E9, E12).
    Cancel(Option<String>),
    /// The host wants its thread back (E13).
    Interrupt,
    /// The worker no longer answers its heartbeat, or is ended under the session (E6, D10, D11).
    Fail(Cause),
}

/// What the role tells those who wait, as soon as it knows.
#[derive(Debug)]
pub(crate) enum News {
    /// An error arrived, in whatever message. What follows from it for the caller comes after this.
    Reported(ExecutionError),
    /// InitResponse refused: the error that init gives, for whoever waits for it.
    Refused(OpenedSender, ExecutionError),
    /// ErrorResponse arrived: the error every caller will see (E10).
    Failed(ExecutionError),
    /// It is over. The first terminal wins; nothing follows it.
    Ended(Termination),
}

/// Who waits for InitResponse.
pub(crate) type OpenedSender = oneshot::Sender<Result<Option<Bytes>, ExecutionError>>;

/// What [`EngineRole::new`] is given besides the Init.
#[derive(Debug)]
pub(crate) struct Ends {
    pub(crate) input: Receiver<FromCaller>,
    pub(crate) stops: mpsc::UnboundedReceiver<Stop>,
    pub(crate) output: mpsc::UnboundedSender<(Bytes, Credit)>,
    pub(crate) opened: OpenedSender,
    pub(crate) news: mpsc::UnboundedSender<News>,
}

// What a credit reckons for a message in the output's queue, the queue's own share included (E5).
const _: () = assert!(size_of::<(Bytes, Credit)>() + 2 * size_of::<usize>() <= Credit::OVERHEAD);

/// How long CancelResponse is waited for, and what it means when none comes.
#[derive(Clone, Copy, Debug)]
enum Patience {
    /// E6: the transport has failed.
    Cancel(Instant),
    /// E13: the execution was interrupted.
    Interrupt(Instant),
}

pub(crate) struct EngineRole {
    exchange: Exchange,
    outbox: VecDeque<Outgoing>,
    /// Payload that did not fit the Init, in pieces of `chunk_bytes`.
    chunks: VecDeque<Bytes>,
    input: Receiver<FromCaller>,
    stops: mpsc::UnboundedReceiver<Stop>,
    /// Where data goes; gone once nothing more will.
    output: Option<mpsc::UnboundedSender<(Bytes, Credit)>>,
    /// Output was dropped behind Cancel: a FinishResponse makes no whole result of the rest (R11).
    incomplete: bool,
    opened: Option<OpenedSender>,
    news: mpsc::UnboundedSender<News>,
    counters: Arc<Counters>,
    config: SessionConfig,
    init_deadline: Instant,
    patience: Option<Patience>,
    /// The last time a message came or one of ours was begun, for the idle limit (E7).
    moved: Instant,
    /// The error the worker reported first (E10).
    error: Option<ExecutionError>,
    ending: Option<Ending>,
}

impl EngineRole {
    pub(crate) fn new(
        init: anyudf_protocol::wire::Init,
        chunks: VecDeque<Bytes>,
        config: SessionConfig,
        counters: Arc<Counters>,
        ends: Ends,
        now: Instant,
    ) -> Self {
        let side = match config.pipelining {
            Pipelining::Never => Side::Engine,
            Pipelining::IfAnnounced => Side::PipeliningEngine,
        };
        let mut role = EngineRole {
            exchange: Exchange::new(side),
            outbox: VecDeque::new(),
            chunks,
            input: ends.input,
            stops: ends.stops,
            output: Some(ends.output),
            incomplete: false,
            opened: Some(ends.opened),
            news: ends.news,
            counters,
            init_deadline: after(now, config.init_timeout),
            config,
            patience: None,
            moved: now,
            error: None,
            ending: None,
        };
        role.say(Request::Init(Box::new(init)));
        role
    }

    fn is_over(&self) -> bool {
        self.ending.is_some()
    }

    /// Records and queues a message that is in order by construction.
    fn say(&mut self, request: Request) {
        match self.exchange.request(request.kind()) {
            Ok(()) => self.outbox.push_back(request.into()),
            Err(violation) => debug_assert!(false, "we were about to offend: {violation}"),
        }
    }

    /// The first terminal wins: nothing is told after this one (E11).
    fn end(&mut self, termination: Termination, ending: Ending) {
        if self.is_over() {
            return;
        }
        self.ending = Some(ending);
        self.input.close();
        self.output = None;
        self.opened = None;
        self.tell(News::Ended(termination));
    }

    fn tell(&self, news: News) {
        // Nobody listens any more when every handle was dropped.
        let _ = self.news.send(news);
    }

    fn fail_transport(&mut self, cause: Cause, ending: Ending) {
        self.end(Termination::TransportFailed(cause), ending);
    }

    /// The end that the peer's terminator makes; ours is to half-close (R13).
    fn close(&mut self, termination: Termination) {
        self.outbox.clear();
        self.end(termination, Ending::Close(Status::ok()));
    }

    fn violated(&mut self, violation: Violation) {
        self.fail_transport(Cause::Violation(violation), Ending::Reset);
    }

    /// Sends Cancel past everything that has not begun, at most once (E9).
    fn cancel(&mut self, reason: Option<String>, now: Instant) {
        if self.is_over() || self.exchange.is_cancelled() {
            return;
        }
        self.outbox.retain(|message| !message.is_bulk());
        self.chunks.clear();
        self.input.close();
        self.output = None;
        self.opened = None;
        self.say(Request::Cancel(reason.map(|reason| cut(reason, LONGEST_REASON))));
        self.patience = Some(Patience::Cancel(after(now, self.config.cancel_timeout)));
    }

    fn stop(&mut self, stop: Stop, now: Instant) {
        match stop {
            Stop::Cancel(reason) => self.cancel(reason, now),
            Stop::Interrupt => {
                self.cancel(Some("interrupted".into()), now);
                let until = after(now, self.config.interrupt_timeout);
                match self.patience {
                    Some(Patience::Interrupt(_)) | None => {}
                    Some(Patience::Cancel(_)) => self.patience = Some(Patience::Interrupt(until)),
                }
            }
            Stop::Fail(cause) => self.fail_transport(cause, Ending::Reset),
        }
    }

    fn received(&mut self, response: Response, credit: Credit, now: Instant) {
        if let Err(violation) = self.exchange.response(response.kind()) {
            return self.violated(violation);
        }
        self.moved = now;
        if let Some(error) = reported(&response) {
            self.tell(News::Reported(error.clone()));
        }
        match response {
            Response::Init(InitResponse { data, error: None }) => {
                if let Some(opened) = self.opened.take() {
                    // Nobody waits when the handle was dropped; its Cancel is on the way.
                    let _ = opened.send(Ok(data));
                }
            }
            Response::Init(InitResponse { error: Some(error), .. }) => self.refused(error, now),
            Response::Error(error) if self.opened.is_some() => self.refused(error, now), // E11
            Response::Error(error) => {
                self.fail(error);
                self.cancel(None, now); // R8
            }
            Response::Data(data) => {
                self.counters.received(data.len(), now);
                match &self.output {
                    // Dropped with its credit when the caller no longer reads.
                    Some(output) => drop(output.send((data, credit))),
                    None => self.incomplete = true,
                }
            }
            Response::Finish(finish) => match self.error.take() {
                Some(error) => self.close(Termination::Failed(error)), // C2
                None if self.incomplete => {
                    let FinishResponse { metrics, error, .. } = finish;
                    self.close(Termination::Cancelled(CancelResponse { metrics, error }));
                }
                None => self.close(Termination::Finished(finish)),
            },
            Response::Cancel(mut cancel) => {
                let unasked = !self.exchange.is_cancelled();
                let error = self.error.take().or_else(|| cancel.error.take_if(|_| unasked));
                self.close(match error {
                    Some(error) => Termination::Failed(error),
                    None => Termination::Cancelled(cancel),
                });
            }
        }
    }

    /// The function did not open: init fails with the worker's error, and the execution ends as cancelled (R8).
    fn refused(&mut self, error: ExecutionError, now: Instant) {
        if let Some(opened) = self.opened.take() {
            self.tell(News::Refused(opened, error));
        }
        self.cancel(None, now);
    }

    fn fail(&mut self, error: ExecutionError) {
        self.tell(News::Failed(error.clone()));
        self.error = Some(error);
    }

    fn elapsed(&mut self, now: Instant) {
        if self.is_over() {
            return;
        }
        match self.patience {
            Some(Patience::Cancel(until)) if now >= until => {
                let cause = Cause::Timeout("Cancel", self.config.cancel_timeout);
                return self.fail_transport(cause, Ending::Reset); // E6
            }
            Some(Patience::Interrupt(until)) if now >= until => {
                return self.end(Termination::Interrupted, Ending::Reset); // E13
            }
            Some(_) => return,
            None => {}
        }
        if self.exchange.is_silent() && now >= self.init_deadline {
            return self.give_up(Cause::Timeout("Init", self.config.init_timeout), now); // E3
        }
        // Before the deadline, which the time of what was taken is a part of.
        let drained = self.counters.is_drained();
        if let (Some(limit), true) = (self.config.idle_limit, self.idle_deadline().is_some_and(|at| now >= at)) {
            match drained {
                true => self.give_up(Cause::Idle(limit), now), // E7
                // What the caller has not read comes before the worker's silence.
                false => self.moved = now,
            }
        }
    }

    /// Tells the worker to stop, if it still listens, and does not wait for its answer (E3, E7).
    fn give_up(&mut self, cause: Cause, now: Instant) {
        self.cancel(Some(cause.to_string()), now);
        self.fail_transport(cause, Ending::Close(Status::ok()));
    }

    /// Whether it is the worker's turn for certain: it has heard Finish, or does not take the input that waits. Input that
    /// it has taken owes nothing (R6): a sink that waits for more looks like a function that hangs (E7).
    fn is_workers_turn(&self) -> bool {
        self.exchange.is_open() && (self.exchange.is_finished() || !self.outbox.is_empty())
    }

    /// When nothing has moved for the idle limit: no message came or went, and the caller took none (E7).
    fn idle_deadline(&self) -> Option<Instant> {
        let limit = self.config.idle_limit?.max(Duration::from_millis(1));
        let since = self.counters.last_taken().map_or(self.moved, |taken| taken.max(self.moved));
        self.is_workers_turn().then(|| after(since, limit))
    }

    /// Moves the next thing the caller asked for into the outbox, once the outbox is empty, so that Cancel never has
    /// more than one message before it.
    fn poll_input(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<()> {
        if !self.outbox.is_empty() || self.exchange.is_cancelled() || self.exchange.is_failed() {
            return Poll::Pending;
        }
        if let Some(data) = self.chunks.pop_front() {
            let last = self.chunks.is_empty();
            self.say(Request::Chunk(Chunk { data, last }));
            return Poll::Ready(());
        }
        // What the caller sends before InitResponse waits in the queue, unless both sides agreed to pipeline (R5, C1).
        if self.exchange.clone().request(RequestKind::Data).is_err() {
            return Poll::Pending;
        }
        match std::task::ready!(self.input.poll_recv(cx)) {
            Some(FromCaller::Data(message, bytes)) => {
                self.exchange.request(RequestKind::Data).expect("it was tried just now");
                self.counters.sent(bytes, now);
                self.moved = now;
                self.outbox.push_back(message);
                Poll::Ready(())
            }
            Some(FromCaller::Finish) => {
                self.moved = now;
                self.say(Request::Finish);
                Poll::Ready(())
            }
            // The caller's end is gone without Finish: its drop has sent a Stop, which is on the way.
            None => Poll::Pending,
        }
    }
}

/// The error that a message carries, whatever message it is (R14).
fn reported(response: &Response) -> Option<&ExecutionError> {
    match response {
        Response::Init(init) => init.error.as_ref(),
        Response::Error(error) => Some(error),
        Response::Finish(finish) => finish.error.as_ref(),
        Response::Cancel(cancel) => cancel.error.as_ref(),
        Response::Data(_) => None,
    }
}

/// `time` after `now`; a time that no clock will reach, such as `Duration::MAX`, is a century.
fn after(now: Instant, time: Duration) -> Instant {
    const CENTURY: Duration = Duration::from_secs(100 * 365 * 86_400);
    now + time.min(CENTURY)
}

impl Role for EngineRole {
    type Incoming = Response;

    fn handle(&mut self, event: Event<Response>, now: Instant) {
        if self.is_over() {
            return;
        }
        match event {
            Event::Message(response, credit) => self.received(response, credit, now),
            Event::Violation(violation) => self.violated(violation), // R16
            Event::Ended(status) => self.fail_transport(Cause::Ended(status), Ending::Reset), // E11
            Event::Broken(status) => self.fail_transport(Cause::Broken(status), Ending::Reset),
            Event::Elapsed => self.elapsed(now),
        }
    }

    fn poll_asked(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<()> {
        if self.is_over() {
            return Poll::Pending;
        }
        // Never closed: the task that drives this role holds a sender.
        if let Poll::Ready(Some(stop)) = self.stops.poll_recv(cx) {
            self.stop(stop, now);
            return Poll::Ready(());
        }
        self.poll_input(cx, now)
    }

    fn outbox(&mut self) -> &mut VecDeque<Outgoing> {
        &mut self.outbox
    }

    fn discards(&self) -> bool {
        self.exchange.is_cancelled()
    }

    fn deadline(&self) -> Option<Instant> {
        if self.is_over() {
            return None;
        }
        match self.patience {
            Some(Patience::Cancel(until) | Patience::Interrupt(until)) => Some(until),
            None if self.exchange.is_silent() => Some(self.init_deadline),
            None => self.idle_deadline(),
        }
    }

    fn ending(&self) -> Option<Ending> {
        self.ending.clone()
    }
}
