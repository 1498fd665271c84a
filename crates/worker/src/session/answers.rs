//! What the function says, and everything else that a session waits for: a place, a shutdown, the time.

use std::task::{Context, Poll};

use anyudf_grpc::{Code, Ending, Status};
use anyudf_protocol::{ExecutionError, FinishResponse, InitResponse, Response, ResponseKind};
use bytes::Buf;
use futures::FutureExt;
use tokio::time::Instant;

use super::gathering::Place;
use super::{CLEAN_UP, OUTBOX_MESSAGES, OUTBOX_ROOM, Session, State, fitting};
use crate::clock::Reading;
use crate::link::{Conclusion, FromUser, Outcome, Reason};

impl Session {
    fn answered(&mut self, answer: FromUser, now: Instant) {
        match answer {
            FromUser::Opened(Ok(data)) => {
                self.opened_at = Some(now);
                // The function may have a limit of its own, of which nobody knew before (C11).
                let budget = self.user.as_ref().and_then(|user| user.shared.clock.budget());
                self.look = self.look.into_iter().chain(budget.map(|budget| now + budget)).min();
                self.say(Response::Init(InitResponse { data, error: None })); // R4
            }
            FromUser::Data { message, bytes, rows } => {
                if self.exchange.response(ResponseKind::Data).is_ok() {
                    self.counters.sent(bytes, rows);
                    self.outbox.push_back(message); // R6
                }
            }
            FromUser::Opened(Err(error)) => self.fail(error, now), // R4
            FromUser::Failed(error) => self.failure = Some(error),
        }
    }

    /// The thread has ended.
    fn concluded(&mut self, conclusion: Option<Conclusion>, now: Instant) {
        self.user = None;
        self.look = None;
        let outcome = conclusion.map(|Conclusion { outcome, metrics }| {
            self.metrics = metrics;
            outcome
        });
        match (outcome, &self.state) {
            (Some(Outcome::Finished { data, error }), State::Running) => {
                let metrics = self.measure(now);
                let finish = fitting::finish(FinishResponse { metrics, data, error }, self.max_message);
                if finish.error.is_some() {
                    self.count_failure();
                }
                self.say(Response::Finish(finish)); // R10
                self.state = State::Over(Ending::Close(Status::ok()));
            }
            (outcome, State::Cleaning { .. }) => {
                if let Some(Outcome::Cancelled { error }) = outcome {
                    self.clean_up_error = self.clean_up_error.take().or(error);
                }
                self.close(now);
            }
            (Some(Outcome::Cancelled { error }), State::Failed { .. }) => self.clean_up_error = error,
            (_, State::Running) => {
                let text = "the thread of the function ended without a word; this is a bug of the worker";
                self.fail(ExecutionError::worker("THREAD_LOST", text), now);
            }
            _ => {}
        }
    }

    /// Takes over what the function has answered, as long as little waits to be sent. An error and the terminator are
    /// not said before all data went: until then Cancel, a shutdown or a violation can still take that data back (R12).
    pub(super) fn poll_user(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<()> {
        let mut news = Poll::Pending;
        while let State::Running = self.state {
            if let Some(error) = self.failure.take_if(|_| self.outbox.is_empty()) {
                self.fail(error, now); // R7
                return Poll::Ready(());
            }
            if self.failure.is_some() || !self.has_room() {
                return news;
            }
            let Some(user) = &mut self.user else { return news };
            match user.poll_output(cx) {
                Poll::Ready(Some(answer)) => {
                    self.answered(answer, now);
                    news = Poll::Ready(());
                }
                Poll::Ready(None) if self.outbox.is_empty() => break,
                Poll::Ready(None) | Poll::Pending => return news,
            }
        }
        // Its last word comes when its queue is at an end or nobody listens to that any more.
        if self.is_over() {
            return news;
        }
        let Some(user) = &mut self.user else { return news };
        match user.poll_concluded(cx) {
            Poll::Ready(conclusion) => {
                self.concluded(conclusion, now);
                Poll::Ready(())
            }
            Poll::Pending => news,
        }
    }

    fn has_room(&self) -> bool {
        self.outbox.len() < OUTBOX_MESSAGES && self.outbox.iter().map(Buf::remaining).sum::<usize>() < OUTBOX_ROOM
    }

    pub(super) fn poll_place(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<()> {
        let (State::Gathering(_), Some(places)) = (&self.state, &mut self.places) else { return Poll::Pending };
        self.place = Some(std::task::ready!(places.poll_unpin(cx)));
        self.places = None;
        if let Some(mut gathering) = self.take_gathering() {
            gathering.place = Place::Taken;
            gathering.credits.clear();
            self.launch_when_ready(gathering, now);
        }
        Poll::Ready(())
    }

    pub(super) fn poll_hurried(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<()> {
        let Some(hurried) = &mut self.hurried else { return Poll::Pending };
        std::task::ready!(hurried.poll_unpin(cx));
        self.hurried = None;
        self.hurry(now);
        Poll::Ready(())
    }

    pub(super) fn elapsed(&mut self, now: Instant) {
        if self.deadline.is_some_and(|deadline| now >= deadline) {
            let text = "the client's deadline passed before the execution ended";
            return self.broken(Status::new(Code::DeadlineExceeded, text)); // R14
        }
        if self.look.is_some_and(|look| now >= look) {
            let reading = self.user.as_ref().map(|user| user.shared.clock.read(now.into_std()));
            self.look = match reading {
                Some(Reading::NotBefore(then)) => Some(Instant::from_std(then)),
                Some(Reading::Expired(call)) => {
                    self.overdue(call, now);
                    None
                }
                Some(Reading::Unlimited) | None => None,
            };
        }
        match self.state {
            State::Failed { until } if now >= until => self.clean_up(Reason::Failed, now + CLEAN_UP, now), // C2
            State::Cleaning { until } if now >= until => self.gave_no_answer(now),
            _ => {}
        }
    }
}
