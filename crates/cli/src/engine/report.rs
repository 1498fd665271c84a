//! What is reported: one JSON object a line, each written at once.

use std::collections::BTreeMap;
use std::io::{self, Write, stdout};
use std::sync::{Arc, Mutex};

use anyudf_engine::{Blame, Error, ErrorKind};
use bytes::Bytes;
use serde::Serialize;

use crate::failure::{Result, unprinted};

#[derive(Serialize)]
struct Line<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<&'static str>,
    #[serde(flatten)]
    event: &'a Event,
}

#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub(super) enum Event {
    Init(Digest),
    Data(Digest),
    Rows {
        rows: usize,
    },
    Done {
        metrics: BTreeMap<String, String>,
        #[serde(flatten)]
        digest: Digest,
    },
    Error {
        call: Call,
        kind: Kind,
        message: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        error_class: Option<String>,
    },
    Closed {
        termination: Termination,
        reusable: bool,
    },
}

impl Event {
    fn error(call: Call, error: &Error) -> Self {
        let (message, error_class) = match error.execution() {
            Some(reported) => (reported.message.clone(), reported.error_class.clone()),
            None => (error.to_string(), None),
        };
        Event::Error { call, kind: Kind::of(error), message, error_class }
    }
}

/// Bytes, in so few words that they can be told from any others. Nothing of what is not there.
#[derive(Debug, Default, Serialize)]
pub(super) struct Digest {
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    crc32: Option<u32>,
}

impl Digest {
    pub(super) fn of(data: Option<&Bytes>) -> Self {
        Digest { bytes: data.map(Bytes::len), crc32: data.map(|data| crc32fast::hash(data)) }
    }
}

/// Which call has failed.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Call {
    Init,
    Process,
    Read,
    Source,
}

/// Whose fault it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Kind {
    User,
    Worker,
    Protocol,
    Cancelled,
    Misuse,
    Source,
    Transport,
    Interrupted,
}

impl Kind {
    fn of(error: &Error) -> Self {
        if let Some(reported) = error.execution() {
            return match reported.blame {
                Blame::User => Kind::User,
                Blame::Worker => Kind::Worker,
                Blame::Protocol => Kind::Protocol,
            };
        }
        match (error.kind(), error.condition()) {
            (ErrorKind::Misuse, _) => Kind::Misuse,
            (ErrorKind::Cancelled, "CANCELLED") => Kind::Cancelled,
            (ErrorKind::Cancelled, "INTERRUPTED") => Kind::Interrupted,
            // A timeout, a lost connection, a worker that breaks the rules: the worker has not reported it.
            _ => Kind::Transport,
        }
    }
}

/// How a session has ended.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Termination {
    Finished,
    Cancelled,
    Failed,
    TransportFailed,
    Interrupted,
}

impl From<&anyudf_engine::Termination> for Termination {
    fn from(termination: &anyudf_engine::Termination) -> Self {
        use anyudf_engine::Termination as T;
        match termination {
            T::Finished(_) => Termination::Finished,
            T::Cancelled(_) => Termination::Cancelled,
            T::Failed(_) => Termination::Failed,
            T::TransportFailed(_) => Termination::TransportFailed,
            T::Interrupted => Termination::Interrupted,
        }
    }
}

/// Where reports go. Clones write to the same place, for any thread.
#[derive(Clone, Debug, Default)]
pub(super) struct Report {
    session: Option<&'static str>,
    /// Why nothing more can be written. Held while a line is written, so that each is whole.
    broken: Arc<Mutex<Option<io::Error>>>,
}

impl Report {
    /// The same for one of several sessions.
    pub(super) fn of_session(&self, session: &'static str) -> Self {
        Report { session: Some(session), broken: Arc::clone(&self.broken) }
    }

    pub(super) fn event(&self, event: &Event) {
        let mut line = serde_json::to_vec(&Line { session: self.session, event }).expect("text and numbers alone");
        line.push(b'\n');
        let mut broken = self.broken.lock().expect("nothing panics while it is held");
        if broken.is_none() {
            let mut out = stdout().lock();
            *broken = out.write_all(&line).and_then(|()| out.flush()).err();
        }
    }

    pub(super) fn error(&self, call: Call, error: &Error) {
        self.event(&Event::error(call, error));
    }

    /// The caller's own input has failed.
    pub(super) fn source(&self, message: &str) {
        let message = message.to_owned();
        self.event(&Event::Error { call: Call::Source, kind: Kind::Source, message, error_class: None });
    }

    pub(super) fn closed(&self, termination: &anyudf_engine::Termination) {
        self.ended(termination.into(), termination.is_salvageable());
    }

    pub(super) fn ended(&self, termination: Termination, reusable: bool) {
        self.event(&Event::Closed { termination, reusable });
    }

    /// Whether all was written.
    pub(super) fn finish(self) -> Result {
        match self.broken.lock().expect("nothing panics while it is held").take() {
            Some(error) => Err(unprinted(error)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use anyudf_engine::blocking::{Engine, Worker};
    use anyudf_engine::{Init, SessionConfig, WorkerConfig};
    use rustix::process::{Pid, Signal, kill_process};

    use super::*;
    use crate::test_worker;

    /// The error that init gives, or reading after one batch.
    fn fails(worker: &Worker, init: Init, data: &'static str) -> Error {
        let session = worker.session(init);
        if let Err(error) = session.init() {
            return error;
        }
        let (mut input, mut output) = session.process().expect("init was good");
        input.send([data.into()]).expect("it is open");
        output.next().expect_err("it fails")
    }

    /// What reading gives when it is interrupted, while the worker answers and while it is stopped.
    fn interrupted(worker: &Worker, stopped: bool) -> Kind {
        let session = worker.session(Init::new("echo", ""));
        session.init().expect("it is served");
        let (_input, mut output) = session.process().expect("init was good");
        let pid = worker.pid().and_then(|pid| Pid::from_raw(pid.cast_signed())).expect("it was started here");
        let signal = |signal| kill_process(pid, signal).expect("it runs");
        if stopped {
            signal(Signal::STOP);
        }
        session.control().interrupt();
        let error = output.next().expect_err("it is interrupted");
        signal(Signal::CONT);
        Kind::of(&error)
    }

    fn shown(error: &Error) -> String {
        let event = &Event::error(Call::Read, error);
        serde_json::to_string(&Line { session: Some("a"), event }).expect("text and numbers alone")
    }

    /// R14, E10, E13: whose fault an error was, where the engine's own kinds are others.
    #[test]
    fn r14_e10_e13_errors_are_told_by_whose_fault_they_were() {
        let engine = Engine::new().expect("a thread");
        let start = |session| {
            let config = WorkerConfig { session, ..WorkerConfig::default() };
            engine.start(&test_worker::command(), config).expect("it starts")
        };
        let worker = start(SessionConfig::default());
        let echo = |payload: &'static str| Init::new("echo", payload);
        let user = r#"{"session":"a","event":"error","call":"read","kind":"user","message":"simulated user-code error","error_class":"SimulatedError"}"#;
        assert_eq!(shown(&fails(&worker, echo(""), "ERROR")), user);
        let own = r#"{"session":"a","event":"error","call":"read","kind":"worker","message":"simulated init failure"}"#;
        assert_eq!(shown(&fails(&worker, echo("INIT_ERROR"), "")), own);
        assert_eq!(Kind::of(&fails(&worker, Init::new("", ""), "")), Kind::Protocol);
        assert_eq!(interrupted(&worker, false), Kind::Cancelled);
        let impatient = SessionConfig { interrupt_timeout: Duration::from_millis(50), ..SessionConfig::default() };
        assert_eq!(interrupted(&start(impatient), true), Kind::Interrupted);
        assert_eq!(Kind::of(&worker.session(echo("")).process().expect_err("before init")), Kind::Misuse);
        let nowhere = "/nobody/listens/here".parse().expect("a path");
        let error = engine.connect(&nowhere, None, WorkerConfig::default()).expect_err("nobody listens");
        assert_eq!(Kind::of(&error), Kind::Transport);
    }
}
