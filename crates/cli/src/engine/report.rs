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
        let (message, error_class) = match error.execution() {
            Some(reported) => (reported.message.clone(), reported.error_class.clone()),
            None => (error.to_string(), None),
        };
        self.event(&Event::Error { call, kind: Kind::of(error), message, error_class });
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
