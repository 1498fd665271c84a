//! What the engine says, acted on once the table has found it in order.

use std::sync::Arc;

use anyudf_grpc::Credit;
use anyudf_protocol::{Request, wire};
use tokio::time::Instant;

use super::gathering::{Gathering, Start};
use super::{CANCEL_WAIT_FINISHED, CLEAN_UP, Engine, OUTPUT_ROOM, Session, State};
use crate::clock::CallClock;
use crate::link::{Reason, ToUser, link};

impl Session {
    pub(super) fn received(&mut self, request: Request, credit: Credit, now: Instant) {
        if self.exchange.is_cancelled() {
            return; // C4
        }
        if let Err(violation) = self.exchange.request(request.kind()) {
            return self.violated(violation, now);
        }
        match request {
            Request::Init(init) => self.init(*init, now),
            Request::Chunk(chunk) => {
                // After an error it is dropped (R4).
                if let Some(gathering) = self.take_gathering() {
                    match gathering.push(chunk, credit) {
                        Ok(gathering) => self.launch_when_ready(gathering, now),
                        Err(error) => self.fail(error, now), // R3
                    }
                }
            }
            Request::Data(data) => {
                // After an error it is dropped (C2).
                if let State::Gathering(_) | State::Running = self.state {
                    self.counters.received(data.len());
                    self.pass_on(ToUser::Data(data, credit));
                }
            }
            Request::Finish => match &mut self.state {
                State::Failed { until } => *until = (*until).min(now + CANCEL_WAIT_FINISHED), // C2
                _ => self.pass_on(ToUser::Finish),
            },
            Request::Cancel(reason) => self.cancel(Reason::Asked(reason), now + CLEAN_UP, now),
        }
    }

    /// What the function is asked, kept until it has a thread (C1).
    fn pass_on(&mut self, what: ToUser) {
        match (&mut self.state, &self.user) {
            (State::Gathering(gathering), _) => gathering.early.push(what),
            (State::Running, Some(user)) => user.tell(what),
            _ => {}
        }
    }

    fn init(&mut self, init: wire::Init, now: Instant) {
        self.init_at = Some(now);
        match Gathering::new(init, &*self.host) {
            Ok(gathering) => {
                self.max_message = gathering.max_message(self.max_message);
                self.launch_when_ready(Box::new(gathering), now);
            }
            Err(error) => self.fail(error, now), // R3, R15, R17, R18
        }
    }

    /// What is gathered so far. The caller puts the session into its next state.
    pub(super) fn take_gathering(&mut self) -> Option<Box<Gathering>> {
        match std::mem::replace(&mut self.state, State::Start) {
            State::Gathering(gathering) => Some(gathering),
            other => {
                self.state = other;
                None
            }
        }
    }

    /// Starts the thread once the payload is whole and there is a place (R4, P10).
    pub(super) fn launch_when_ready(&mut self, gathering: Box<Gathering>, now: Instant) {
        let Start { invocation, budget, early } = match gathering.start(self.max_message) {
            Ok(start) => start,
            Err(gathering) => {
                self.state = State::Gathering(gathering);
                return;
            }
        };
        self.state = State::Running;
        let (user, ends) = link(CallClock::new(budget, now.into_std()), Arc::clone(&self.counters), OUTPUT_ROOM);
        early.into_iter().for_each(|what| user.tell(what));
        self.function = match invocation.name() {
            Some(name) => format!("`{name}`"),
            None => format!("the function of format `{}`", invocation.format()),
        };
        match self.host.launch(ends, invocation) {
            Ok(()) => {
                self.look = budget.map(|budget| now + budget);
                self.user = Some(user);
            }
            Err(error) => self.fail(error, now),
        }
    }

    /// The engine closed its side (C6).
    pub(super) fn half_closed(&mut self, now: Instant) {
        self.engine = Engine::HalfClosed;
        let verdict = self.exchange.half_close();
        match (&self.state, verdict) {
            (State::Over(_) | State::Cleaning { .. }, _) => {}
            (State::Failed { .. }, _) => self.clean_up(Reason::Failed, now + CLEAN_UP, now), // C2: not waited for
            (_, Ok(())) => {}
            (_, Err(violation)) => {
                self.count_failure();
                let error = self.first_error().unwrap_or_else(|| violation.into());
                self.dismiss(Reason::Violation);
                self.clean_up_error = Some(error); // R7, R19
                self.close(now);
            }
        }
    }
}
