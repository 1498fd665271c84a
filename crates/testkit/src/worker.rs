//! A worker that follows a script, over a real socket.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use anyudf_grpc::{
    BoxFuture, Call, Credit, Ending, Endpoint, Event, Listener, Outgoing, Role, Server, Service, Settings, Status,
    drive,
};
use anyudf_protocol::{ManageRequest, ManageResponse, Request};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use crate::script::{Step, parse, word};

/// No scripted dialogue takes this long; one that does has gone wrong.
const PATIENCE: Duration = Duration::from_secs(20);

/// A worker that follows a script on each `Execute` stream, and remembers what the engine said.
#[derive(Debug)]
pub struct ScriptedWorker {
    endpoint: Endpoint,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
    _directory: TempDir,
}

#[derive(Debug)]
struct Shared {
    script: String,
    announces: BTreeMap<String, String>,
    /// Heartbeats are answered only while this is set.
    answers: watch::Sender<bool>,
    /// Heartbeats answered so far.
    beats: watch::Sender<usize>,
    /// What was heard, and whether the stream has ended.
    heard: watch::Sender<(Vec<&'static str>, bool)>,
}

impl ScriptedWorker {
    /// Listens on a Unix socket and follows `script` on every stream.
    ///
    /// # Panics
    /// When the script has an unknown word, or outside a tokio runtime.
    pub async fn start(script: &str) -> Self {
        ScriptedWorker::announcing(script, &[]).await
    }

    /// The same with names and values for the heartbeat (M6).
    ///
    /// # Panics
    /// As [`start`](ScriptedWorker::start).
    pub async fn announcing(script: &str, announces: &[(&str, &str)]) -> Self {
        ScriptedWorker::new(script, announces, Settings::default()).await
    }

    /// The same with windows and limits of its own.
    ///
    /// # Panics
    /// As [`start`](ScriptedWorker::start).
    pub async fn with(script: &str, settings: Settings) -> Self {
        ScriptedWorker::new(script, &[], settings).await
    }

    async fn new(script: &str, announces: &[(&str, &str)], settings: Settings) -> Self {
        drop(parse(script));
        let directory = tempfile::tempdir().expect("a temporary directory");
        let endpoint = Endpoint::Unix(directory.path().join("w"));
        let shared = Arc::new(Shared {
            script: script.into(),
            announces: announces.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect(),
            answers: watch::channel(true).0,
            beats: watch::channel(0).0,
            heard: watch::channel((Vec::new(), false)).0,
        });
        let listener = Listener::bind(&endpoint).await.expect("a fresh socket");
        let service = Arc::clone(&shared) as Arc<dyn Service>;
        let server = Server::new(service, settings, None).await.expect("our descriptors decode");
        let server = tokio::spawn(server.serve(listener));
        ScriptedWorker { endpoint, shared, server, _directory: directory }
    }

    /// Where it listens.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Heartbeats are left unanswered from now on.
    pub fn fall_silent(&self) {
        self.shared.answers.send_replace(false);
    }

    /// Waits until `count` more heartbeats were answered.
    ///
    /// # Panics
    /// When nobody asks.
    pub async fn beats(&self, count: usize) {
        let mut beats = self.shared.beats.subscribe();
        let target = *beats.borrow() + count;
        let waited = timeout(PATIENCE, beats.wait_for(|beats| *beats >= target)).await;
        assert!(waited.is_ok(), "nobody asks for a heartbeat any more");
    }

    /// Drops every connection at once, as a worker that was killed.
    pub fn vanish(&self) {
        self.server.abort();
    }

    /// Waits until the engine has said `word`.
    ///
    /// # Panics
    /// When it does not.
    pub async fn hears(&self, word: &str) {
        let mut heard = self.shared.heard.subscribe();
        let waited = timeout(PATIENCE, heard.wait_for(|(words, _)| words.contains(&word))).await;
        assert!(waited.is_ok(), "the engine never said `{word}`, only {:?}", self.shared.heard.borrow().0);
    }

    /// All that the engine said, when the stream has ended: `init data finish close`. `close` is a half-close, `broken`
    /// a reset.
    ///
    /// # Panics
    /// When the stream does not end.
    pub async fn heard(&self) -> String {
        let mut heard = self.shared.heard.subscribe();
        let waited = timeout(PATIENCE, heard.wait_for(|(_, ended)| *ended)).await;
        assert!(waited.is_ok(), "the stream never ended after {:?}", self.shared.heard.borrow().0);
        let (words, _) = &*self.shared.heard.borrow();
        words.join(" ")
    }

    /// What the engine said so far.
    pub fn heard_so_far(&self) -> String {
        self.shared.heard.borrow().0.join(" ")
    }
}

impl Drop for ScriptedWorker {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Service for Shared {
    fn execute(&self, call: Call) {
        let role = Scripted {
            steps: parse(&self.script).into(),
            unmatched: VecDeque::new(),
            outbox: VecDeque::new(),
            ending: None,
            heard: self.heard.clone(),
            ended: false,
            credits: Mutex::default(),
            waker: None,
        };
        match call.accept() {
            Ok(duplex) => drop(tokio::spawn(drive(role, duplex))),
            Err(_) => drop(role),
        }
    }

    fn manage(&self, request: ManageRequest) -> BoxFuture<Result<ManageResponse, Status>> {
        let (announces, mut answers) = (self.announces.clone(), self.answers.subscribe());
        let beats = self.beats.clone();
        Box::pin(async move {
            // The sender lives as long as the service.
            let _ = answers.wait_for(|answers| *answers).await;
            Ok(match request {
                ManageRequest::Heartbeat => {
                    beats.send_modify(|beats| *beats += 1);
                    ManageResponse::Heartbeat(announces)
                }
                ManageRequest::Shutdown { .. } => ManageResponse::Shutdown { sessions_settled: true },
            })
        })
    }
}

/// The worker's role, as the script has it: it says what is written there, in order or not.
struct Scripted {
    steps: VecDeque<Step>,
    /// What was heard and no step has waited for yet.
    unmatched: VecDeque<&'static str>,
    outbox: VecDeque<Outgoing>,
    ending: Option<Ending>,
    heard: watch::Sender<(Vec<&'static str>, bool)>,
    ended: bool,
    /// Held for ever: a scripted worker never takes what it hears, so windows fill.
    credits: Mutex<Vec<Credit>>,
    waker: Option<Waker>,
}

impl Scripted {
    fn hear(&mut self, word: &'static str) {
        self.unmatched.push_back(word);
        self.heard.send_modify(|(words, _)| words.push(word));
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl Role for Scripted {
    type Incoming = Request;

    fn handle(&mut self, event: Event<Request>, _: Instant) {
        match event {
            Event::Message(request, credit) => {
                if let Request::Data(_) = request {
                    self.credits.lock().expect("nothing panics while it is held").push(credit);
                }
                self.hear(word(request.kind()));
            }
            Event::Violation(_) => self.hear("violation"),
            Event::Ended(_) => {
                self.hear("close");
                self.ended = true;
            }
            Event::Broken(_) => {
                self.hear("broken");
                self.ended = true;
                self.ending.get_or_insert(Ending::Reset);
            }
            Event::Elapsed => {}
        }
    }

    fn poll_asked(&mut self, cx: &mut Context<'_>, _: Instant) -> Poll<()> {
        while let Some(Step::Hear(wanted)) = self.steps.front()
            && let Some(at) = self.unmatched.iter().position(|word| word == wanted)
        {
            self.unmatched.drain(..=at);
            self.steps.pop_front();
        }
        match self.steps.front() {
            Some(Step::Say(_)) => {
                let Some(Step::Say(message)) = self.steps.pop_front() else { unreachable!("it was looked at") };
                self.outbox.push_back(message);
                Poll::Ready(())
            }
            Some(Step::End(_)) => {
                let Some(Step::End(ending)) = self.steps.pop_front() else { unreachable!("it was looked at") };
                self.ending.get_or_insert(ending);
                Poll::Ready(())
            }
            // After its last word a worker waits for the engine to close.
            None if self.ended && self.ending.is_none() => {
                self.ending = Some(Ending::Close(Status::ok()));
                Poll::Ready(())
            }
            Some(Step::Hear(_)) if self.ended && self.ending.is_none() => {
                self.ending = Some(Ending::Close(Status::ok()));
                Poll::Ready(())
            }
            _ => {
                self.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    fn outbox(&mut self) -> &mut VecDeque<Outgoing> {
        &mut self.outbox
    }

    fn deadline(&self) -> Option<Instant> {
        None
    }

    fn ending(&self) -> Option<Ending> {
        self.ending.clone()
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.heard.send_modify(|(_, ended)| *ended = true);
    }
}
