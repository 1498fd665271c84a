//! One `Execute` stream as the engine sees it: a task that owns it, and handles that ask things of the task.

mod answers;
mod ending;
mod opening;
mod requests;

use std::collections::VecDeque;
use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::Arc;

use anyudf_protocol::wire;
use bytes::Bytes;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};

use super::connection::Connection;
use super::stream::{Arrival, Input, Output};
use super::{Config, Failure, Kind, Summary, Termination};
use crate::mutant::Mutation as M;

/// What a reader gets.
pub(super) enum Read {
    Data(Bytes),
    /// The output has ended well.
    Done(Summary),
}

type Reply<T> = oneshot::Sender<Result<T, Failure>>;

enum Command {
    Init(Reply<Option<Bytes>>),
    Process(Reply<()>),
    Send(Bytes, oneshot::Sender<bool>),
    Finish,
    /// The caller's input has failed (E8).
    Fail(String),
    Read(Reply<Read>),
    Cancel(String),
    Interrupt,
    Close(oneshot::Sender<Termination>),
}

/// A handle; clones are the same. When the last one is gone, so is the session (E12).
#[derive(Clone)]
pub(super) struct Session {
    commands: mpsc::UnboundedSender<Command>,
}

/// How a session has ended, for those who hold no handle of it.
pub(super) type Ended = watch::Receiver<Option<Termination>>;

impl Session {
    pub(super) fn new(connection: &Arc<Connection>, config: Config) -> (Self, Ended) {
        let (commands, asked) = mpsc::unbounded_channel();
        let (tell, ended) = watch::channel(None);
        tokio::spawn(Execution::new(Arc::clone(connection), config, asked, tell).run());
        (Session { commands }, ended)
    }

    pub(super) async fn init(&self) -> Result<Option<Bytes>, Failure> {
        self.ask(Command::Init).await
    }

    pub(super) async fn process(&self) -> Result<(), Failure> {
        self.ask(Command::Process).await
    }

    /// Sends data, as soon as there is room; whether it is taken.
    pub(super) async fn send(&self, data: Bytes) -> bool {
        let (reply, taken) = oneshot::channel();
        self.tell(Command::Send(data, reply));
        taken.await.unwrap_or(false)
    }

    pub(super) fn finish(&self) {
        self.tell(Command::Finish);
    }

    pub(super) fn fail(&self, why: &str) {
        self.tell(Command::Fail(why.into()));
    }

    pub(super) async fn read(&self) -> Result<Read, Failure> {
        self.ask(Command::Read).await
    }

    pub(super) fn cancel(&self, reason: &str) {
        self.tell(Command::Cancel(reason.into()));
    }

    pub(super) fn interrupt(&self) {
        self.tell(Command::Interrupt);
    }

    pub(super) async fn close(&self) -> Termination {
        let (reply, closed) = oneshot::channel();
        self.tell(Command::Close(reply));
        closed.await.unwrap_or(Termination::TransportFailed)
    }

    fn tell(&self, command: Command) {
        // The task lives as long as a handle does.
        let _ = self.commands.send(command);
    }

    async fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, Failure> {
        let (reply, answer) = oneshot::channel();
        self.tell(command(reply));
        let nobody = || Err(Failure::new(Kind::Misuse, "nobody answers: two calls of one kind at the same time?"));
        answer.await.unwrap_or_else(|_| nobody())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Created,
    /// The stream is being opened.
    Opening,
    /// Init was said.
    Initializing,
    Open,
    Over,
}

type Opening = Pin<Box<dyn Future<Output = Result<(Input, Output), String>> + Send>>;

enum Step {
    /// `None`: every handle is gone.
    Asked(Option<Command>),
    Opened(Result<(Input, Output), String>),
    Arrived(Arrival),
    Sent,
    Late,
    Lost,
}

struct Execution {
    connection: Arc<Connection>,
    config: Config,
    asked: mpsc::UnboundedReceiver<Command>,
    tell: watch::Sender<Option<Termination>>,
    lost: watch::Receiver<bool>,
    stage: Stage,
    opening: Option<Opening>,
    input: Option<Input>,
    output: Option<Output>,
    /// What the caller sends, and has not been put on its way.
    waiting: VecDeque<(Bytes, oneshot::Sender<bool>)>,
    /// What was read and nobody has taken, with its credit.
    queue: VecDeque<(Bytes, usize)>,
    /// The caller has no more input.
    input_ended: bool,
    /// Finish was said.
    finished: bool,
    /// Cancel was asked for; it was said, if there is a stream.
    cancelled: bool,
    /// It was the caller who asked for it.
    by_caller: bool,
    interrupted: bool,
    processing: bool,
    abandoned: bool,
    /// Messages of data, each way.
    counted: (usize, usize),
    /// The error of the data phase, or of init.
    error: Option<Failure>,
    /// The error of the caller's input.
    source: Option<Failure>,
    /// The error of a callback, in the terminator.
    callback: Option<Failure>,
    summary: Summary,
    /// Why the transport has failed.
    cause: String,
    termination: Option<Termination>,
    init: Option<Reply<Option<Bytes>>>,
    reader: Option<Reply<Read>>,
    closers: Vec<oneshot::Sender<Termination>>,
    /// Somebody was told that it is closed.
    closed: bool,
    /// Whom a mutation lets wait for ever.
    unanswered: Vec<Reply<()>>,
    init_deadline: Option<Instant>,
    cancel_deadline: Option<Instant>,
    /// When a message last came or went, or was taken (E7).
    moved: Instant,
    /// When a stream that was given up is reset.
    lingers: Option<Instant>,
}

impl Execution {
    fn new(
        connection: Arc<Connection>,
        config: Config,
        asked: mpsc::UnboundedReceiver<Command>,
        tell: watch::Sender<Option<Termination>>,
    ) -> Self {
        Execution {
            lost: connection.lost.subscribe(),
            connection,
            config,
            asked,
            tell,
            stage: Stage::Created,
            opening: None,
            input: None,
            output: None,
            waiting: VecDeque::new(),
            queue: VecDeque::new(),
            input_ended: false,
            finished: false,
            cancelled: false,
            by_caller: false,
            interrupted: false,
            processing: false,
            abandoned: false,
            counted: (0, 0),
            error: None,
            source: None,
            callback: None,
            summary: Summary::default(),
            cause: String::new(),
            termination: None,
            init: None,
            reader: None,
            closers: Vec::new(),
            closed: false,
            unanswered: Vec::new(),
            init_deadline: None,
            cancel_deadline: None,
            moved: Instant::now(),
            lingers: None,
        }
    }

    fn is(&self, mutation: M) -> bool {
        self.connection.mutant.is(mutation)
    }

    /// A message came or went, or was taken: the idle limit begins anew (E7).
    fn moves(&mut self) {
        if !self.is(M::IdleLimitIsOneForAll) {
            self.moved = Instant::now();
        }
    }

    /// To its end: until it is over, and nobody has a handle any more.
    async fn run(mut self) {
        if self.is(M::StreamIsOpenedAtOnce) {
            self.open();
            self.stage = Stage::Created;
        }
        while !(self.abandoned && self.stage == Stage::Over && self.is_gone()) {
            match self.step().await {
                Step::Asked(Some(command)) => self.asked(command),
                Step::Asked(None) => self.abandon(),
                Step::Opened(opened) => {
                    self.opening = None;
                    self.opened(opened);
                }
                Step::Arrived(arrival) => self.arrived(arrival),
                Step::Sent => self.moves(),
                Step::Late => self.late(),
                Step::Lost => self.transport_failed("the worker does not answer"),
            }
            self.feed();
            self.settle();
        }
    }

    /// Nothing is left of the stream, or nothing that is worth waiting for.
    fn is_gone(&self) -> bool {
        self.input.is_none() || self.lingers.is_none()
    }

    async fn step(&mut self) -> Step {
        let deadline = self.deadline();
        let listens = self.listens();
        let Self { asked, opening, input, output, lost, abandoned, .. } = self;
        let live = self.termination.is_none();
        let opened = async {
            match opening {
                Some(opening) => opening.await,
                None => pending().await,
            }
        };
        let arrived = async {
            match input.as_mut().filter(|_| listens) {
                Some(input) => input.next().await,
                None => pending().await,
            }
        };
        let sent = async {
            match output.as_mut().filter(|output| !output.is_empty()) {
                Some(output) => output.pump().await,
                None => pending().await,
            }
        };
        tokio::select! {
            biased;
            command = asked.recv(), if !*abandoned => Step::Asked(command),
            // Its sender outlives this.
            _ = lost.wait_for(|lost| *lost), if live => Step::Lost,
            opened = opened => Step::Opened(opened),
            arrival = arrived => Step::Arrived(arrival),
            () = sent => Step::Sent,
            () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => Step::Late,
        }
    }

    /// Whether what comes is taken. It always is: what nobody takes holds its credit (E5, R6).
    fn listens(&self) -> bool {
        let sending = self.output.as_ref().is_some_and(|output| !output.is_empty());
        let deaf = (self.is(M::DeafWhileSending) && sending && self.stage != Stage::Over)
            || (self.is(M::UnreadOutputMakesDeaf) && self.queue.len() >= 4)
            || (self.is(M::OutputWaitsForFinish) && self.stage == Stage::Open && !self.finished && !self.cancelled);
        !deaf
    }
}

/// The message for a request.
fn control(control: wire::udf_control_request::Control) -> wire::UdfRequest {
    let control = wire::UdfControlRequest { control: Some(control) };
    wire::UdfRequest { request: Some(wire::udf_request::Request::Control(control)) }
}
