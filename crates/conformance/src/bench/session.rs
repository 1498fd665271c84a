//! One execution, as the measures need it: opened, fed, heard, ended, each within bounds.

use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::timeout;

use crate::answer::Heard;
use crate::budget::Said as Told;
use crate::capability::Capabilities;
use crate::grammar::{Asked, Said};
use crate::line::Words;
use crate::message::{Message, Shape};
use crate::wire::{Call, EXECUTE, Event, Link, Stream};

/// What the engine says, by the word that scripts have for it, framed.
pub(super) fn message(line: &str, capabilities: &Capabilities) -> Bytes {
    let words = Words::of(line);
    let message = words.and_then(|mut words| Message::parse(&mut words)).expect("the bench's own messages are right");
    Shape::default().frame(&message.encode(capabilities, &mut Bytes::new(), &Shape::default()))
}

/// What the worker said, with the text of its error as far as people will read it.
pub(super) fn told(heard: &Heard) -> String {
    use anyudf_protocol::wire::execution_error::Kind;

    let (name, error) = match heard {
        Heard::Init(init) => ("InitResponse", &init.error),
        Heard::Error(error) => ("ErrorResponse", &error.error),
        Heard::Finish(finish) => ("FinishResponse", &finish.error),
        Heard::Cancel(cancel) => ("CancelResponse", &cancel.error),
        other => return format!("`{other}`"),
    };
    let Some(error) = error else { return name.into() };
    let (kind, message) = match &error.kind {
        None => return format!("{name} with an error without kind (R14)"),
        Some(Kind::User(error)) => ("UserError", &error.message),
        Some(Kind::Worker(error)) => ("WorkerError", &error.message),
        Some(Kind::Protocol(error)) => ("ProtocolError", &error.message),
    };
    let message: String = message.chars().take(400).collect();
    format!("{name} with a {kind}, \"{}\"", message.escape_debug())
}

/// An execution that is open.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) stream: Stream,
    pub(super) heard: UnboundedReceiver<Told<Event>>,
    said: Said,
    asked: Asked,
    /// How long the worker may be silent.
    patience: Duration,
}

impl Session {
    /// From Init to InitResponse, and how long that took.
    ///
    /// # Errors
    /// What came instead.
    pub(super) async fn open(link: &Link, init: &Bytes, patience: Duration) -> Result<(Self, Duration), String> {
        let began = Instant::now();
        let opened = timeout(patience, link.open(&Call::to(EXECUTE))).await;
        let mut stream = opened
            .map_err(|_| format!("no stream could be opened within {patience:?}"))?
            .map_err(|error| format!("no stream can be opened: {error}"))?;
        let heard = stream.take_heard();
        let mut session = Session { stream, heard, said: Said::default(), asked: Asked::default(), patience };
        session.say(init.clone()).await?;
        match session.hear("InitResponse").await? {
            (Heard::Init(init), at) if init.error.is_none() => Ok((session, at - began)),
            (refused @ Heard::Init(_), _) => Err(format!(
                "the worker refused Init: {}; `--capabilities FILE` says what Init is to carry for a function",
                told(&refused)
            )),
            (other, _) => Err(format!("the worker answered Init with {} (R4)", told(&other))),
        }
    }

    /// Sends a framed message. That it is not taken is no failure: what comes back says why.
    ///
    /// # Errors
    /// When there is no room for it in time.
    pub(super) async fn say(&mut self, framed: Bytes) -> Result<(), String> {
        let sent = timeout(self.patience, self.stream.out.send(framed, Some(usize::MAX))).await;
        sent.map(|_| ()).map_err(|_| format!("the worker took nothing for {:?}", self.patience))
    }

    /// From here on FinishResponse is right (R10).
    pub(super) fn finishes(&mut self) {
        self.asked.finish = true;
    }

    /// The next that comes, in order.
    ///
    /// # Errors
    /// When nothing comes in time, or when it breaks the grammar.
    pub(super) async fn hear(&mut self, awaited: &str) -> Result<(Heard, Instant), String> {
        match timeout(self.patience, self.heard.recv()).await {
            Ok(event) => self.judge(event),
            Err(_) => Err(format!("nothing came for {:?}; {awaited} was awaited", self.patience)),
        }
    }

    /// What has come, held against the grammar.
    ///
    /// # Errors
    /// The rule that it breaks, or how the stream was cut off.
    pub(super) fn judge(&mut self, event: Option<Told<Event>>) -> Result<(Heard, Instant), String> {
        let gone = || (Event::Cut("the stream is gone".into()), Instant::now());
        let (event, at) = event.map_or_else(gone, |(event, at, _)| (event, at));
        let heard = Heard::from(event);
        if let Heard::Cut(why) = &heard {
            return Err(format!("the stream was cut off: {why}"));
        }
        match self.said.say(&heard, self.asked) {
            Ok(()) => Ok((heard, at)),
            Err(rule) => Err(format!("the worker broke the grammar with `{heard}`: {rule}")),
        }
    }

    /// Sends Cancel, and drops what comes up to its answer and the end of the stream; when that came.
    ///
    /// # Errors
    /// When the session ends otherwise.
    pub(super) async fn cancel(&mut self, cancel: &Bytes) -> Result<Instant, String> {
        self.asked.cancel = true;
        self.say(cancel.clone()).await?;
        // Data that was on its way may go on coming, so that silence alone is no bound.
        let until = Instant::now() + 4 * self.patience;
        loop {
            match self.hear("CancelResponse").await? {
                (Heard::Data(_), at) if at < until => {}
                (Heard::Data(_), _) => return Err(format!("after Cancel data came for {:?} (R12)", 4 * self.patience)),
                (Heard::Cancel(cancel), _) if cancel.error.is_none() => {}
                (Heard::End(status), at) if status.code == 0 => {
                    self.stream.out.half_close(); // R13
                    return Ok(at);
                }
                (other, _) => return Err(format!("Cancel was answered with {} (R12)", told(&other))),
            }
        }
    }
}
