//! Plays a case to an engine: says what its script says of the worker, and judges what comes back on both ways, the wire
//! and the driver's reports.

use std::collections::{BTreeMap, VecDeque};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

use super::answer::Message;
use super::driver::Driver;
use super::grammar::{Answered, Said};
use super::report::{self, Event};
use super::request::{self, Heard};
use super::script::{Act, Dialogue, Step};
use super::server::{Listener, Server, Stream};
use crate::expect::{Alternative, Came, Matching, Mismatch};
use crate::message::Shape;
use crate::play::{Failure, Played};
use crate::process::{Subject, resident};
use crate::transcript::Transcript;
use crate::value::{Value, show};
use crate::wire::{Dial, Place};

/// How long a filled window stays full before it counts as such.
const FULL: Duration = Duration::from_millis(300);

/// What a case is played with.
pub(crate) struct Stage<'a> {
    pub(crate) subject: &'a Subject,
    pub(crate) timeout: Duration,
}

/// Plays a script to a driver of its own.
pub(crate) async fn play(stage: &Stage<'_>, dialogue: &Dialogue) -> Played {
    let began = Instant::now();
    let mut scene = Scene::new(stage, dialogue, began);
    // Until the driver gives its first sign, its language may have to start.
    let all = stage.subject.start_timeout + stage.timeout;
    let played = timeout(all, async {
        scene.steps(&dialogue.steps).await?;
        scene.end().await
    });
    let failure = match played.await {
        Ok(played) => played.err(),
        Err(_) => Some(Failure {
            what: format!("it took longer than {:.1} s", all.as_secs_f64()),
            step: scene.at.clone(),
            late: true,
        }),
    };
    let failure = match failure {
        None => None,
        Some(failure) => Some(scene.explain(failure).await),
    };
    if let Some(driver) = &mut scene.driver {
        driver.kill().await;
    }
    scene.note_connections();
    Played { transcript: scene.transcript.into_lines(), choices: scene.choices, failure }
}

/// A stream and what was said on it.
struct Live {
    stream: Stream,
    said: Said,
    answered: Answered,
    /// Nothing comes after it.
    ended: bool,
}

/// Whether a stream was opened.
enum Opened {
    Now,
    NotYet,
    /// The driver has ended.
    Never(ExitStatus),
}

struct Scene<'a> {
    stage: &'a Stage<'a>,
    dialogue: &'a Dialogue,
    began: Instant,
    /// When the driver gave its first sign.
    awake: Option<Instant>,
    dial: Dial,
    tcp: bool,
    announced: BTreeMap<String, String>,
    server: Option<Server>,
    driver: Option<Driver>,
    _dir: Option<TempDir>,
    streams: BTreeMap<String, Live>,
    /// What the sessions have reported and no step has asked for yet.
    reported: BTreeMap<String, VecDeque<Event>>,
    /// The driver's output has ended.
    silent: bool,
    memory: Option<u64>,
    /// The engine may end its half without having seen a terminator.
    given_up: bool,
    transcript: Transcript,
    choices: Vec<String>,
    at: Option<(usize, String)>,
}

impl<'a> Scene<'a> {
    fn new(stage: &'a Stage<'a>, dialogue: &'a Dialogue, began: Instant) -> Self {
        Scene {
            stage,
            dialogue,
            began,
            awake: None,
            dial: Dial::default(),
            tcp: false,
            announced: BTreeMap::new(),
            server: None,
            driver: None,
            _dir: None,
            streams: BTreeMap::new(),
            reported: BTreeMap::new(),
            silent: false,
            memory: None,
            given_up: false,
            transcript: Transcript::default(),
            choices: Vec::new(),
            at: None,
        }
    }

    fn note(&mut self, text: impl Into<String>) {
        self.noted(Instant::now(), text);
    }

    /// Takes note of what happened at a moment, which may be before what was noted last.
    fn noted(&mut self, at: Instant, text: impl Into<String>) {
        self.transcript.note(at.saturating_duration_since(self.began), text.into());
    }

    /// What the server has seen besides streams.
    fn note_connections(&mut self) {
        let Some(server) = &self.server else { return };
        let (seen, unjudged) = (server.shared.seen(), server.shared.budget.note());
        for (at, what) in seen {
            self.noted(at, what);
        }
        if let Some(unjudged) = unjudged {
            self.note(format!("-- {unjudged}"));
        }
    }

    fn fail<T>(&self, what: impl Into<String>) -> Result<T, Failure> {
        Err(Failure { what: what.into(), step: self.at.clone(), late: false })
    }

    fn late<T>(&self, what: impl Into<String>) -> Result<T, Failure> {
        Err(Failure { what: what.into(), step: self.at.clone(), late: true })
    }

    /// Until when a step without a bound of its own may take.
    fn deadline(&self, within: Option<Duration>) -> Instant {
        match (within, self.awake) {
            (Some(within), _) => Instant::now() + within,
            (None, Some(awake)) => awake + self.stage.timeout,
            (None, None) => self.began + self.stage.subject.start_timeout + self.stage.timeout,
        }
    }

    fn sign(&mut self) {
        self.awake.get_or_insert_with(Instant::now);
    }

    fn steps<'s>(&'s mut self, steps: &'s [Step]) -> BoxFuture<'s, Result<(), Failure>>
    where
        'a: 's,
    {
        async move {
            for step in steps {
                self.at = Some((step.line, step.text.clone()));
                self.step(&step.act).await?;
            }
            Ok(())
        }
        .boxed()
    }

    async fn step(&mut self, act: &Act) -> Result<(), Failure> {
        match act {
            Act::GivesUp => {
                self.given_up = true;
                return Ok(());
            }
            Act::Listen(dial, tcp) => {
                (self.dial, self.tcp) = (dial.clone(), *tcp);
                return Ok(());
            }
            Act::Announce(name, value) => {
                self.announced.insert(name.clone(), value.clone());
                if let Some(server) = &self.server {
                    server.shared.manage().metrics.insert(name.clone(), value.clone());
                }
                return Ok(());
            }
            _ => self.start(act).await?,
        }
        match act {
            Act::Listen(..) | Act::Announce(..) | Act::GivesUp => {}
            Act::Send { stream, message, shape } => self.send(stream, message, shape).await?,
            Act::Frames { stream, bytes } => {
                self.note(format!("{stream}< frames {}", show(bytes)));
                let live = self.live(stream).await?;
                match live.stream.answer.out() {
                    Some(out) => out.send(bytes.clone(), None).await,
                    None => Err("the stream is over".into()),
                }
                .unwrap_or_else(|why| self.note(format!("   (it is not taken: {why})")));
            }
            Act::Fill { stream, value, below } => self.fill(stream, value, *below).await?,
            Act::End { stream, status } => {
                let shown = status.as_ref().map_or("without a status".into(), ToString::to_string);
                self.note(format!("{stream}< end {shown}"));
                let live = self.live(stream).await?;
                live.answered.end = true;
                live.stream.answer.end(status.clone());
            }
            Act::Http { stream, status } => {
                self.note(format!("{stream}< HTTP status {status}"));
                let live = self.live(stream).await?;
                live.answered.end = true;
                live.stream.answer.http(*status);
            }
            Act::Reset { stream } => {
                self.note(format!("{stream}< reset"));
                let live = self.live(stream).await?;
                live.answered.end = true;
                live.stream.answer.reset();
            }
            Act::Expect { stream, alternatives, within } => self.expect(stream, alternatives, *within).await?,
            Act::Reports { session, alternatives, within } => self.reports(session, alternatives, *within).await?,
            Act::Tell => {
                self.note("-- the driver is told");
                self.driver.as_mut().expect("it was started").tell().await;
            }
            Act::Payload { stream, value } => {
                let live = self.live(stream).await?;
                let whole = live.said.payload().map(Bytes::copy_from_slice);
                match whole {
                    Some(payload) if payload == value.bytes() => {}
                    Some(payload) => return self.fail(format!("the payload is {}, not {value}", show(&payload))),
                    None => return self.fail("the payload is not whole"),
                }
            }
            Act::Read { stream, reading } => {
                self.note(format!("-- {reading}"));
                self.live(stream).await?.stream.read(*reading);
            }
            Act::Disconnect => {
                self.note("-- the connection is cut");
                self.server().shared.cut();
            }
            Act::Manage(mood) => {
                self.note(format!("-- Manage: {mood:?}"));
                self.server().shared.manage().mood = *mood;
            }
            Act::Asked { count, within } => self.asked(*count, *within).await?,
            Act::Wait(time) => sleep(*time).await,
            Act::MemoryMark => self.memory = self.driver.as_ref().and_then(Driver::pid).and_then(resident),
            Act::MemoryBelow(most) => self.memory_below(*most)?,
            Act::Repeat { count, steps } => {
                for _ in 0..*count {
                    self.steps(steps).await?;
                }
            }
        }
        Ok(())
    }

    fn server(&self) -> &Server {
        self.server.as_ref().expect("it listens before the first step that needs it")
    }

    /// Listens, and starts the driver, if that has not been done.
    async fn start(&mut self, first: &Act) -> Result<(), Failure> {
        if self.driver.is_some() {
            return Ok(());
        }
        let listening = match self.tcp {
            true => Listener::tcp().map(|(listener, port)| (listener, Place::Tcp(port))),
            false => tempfile::Builder::new().prefix("anyudf-kit-").tempdir().and_then(|dir| {
                let path = dir.path().join("w.sock");
                self._dir = Some(dir);
                Listener::unix(&path).map(|listener| (listener, Place::Unix(path)))
            }),
        };
        let (listener, place) = match listening {
            Ok(listening) => listening,
            Err(error) => return self.fail(format!("the kit cannot listen: {error}")),
        };
        let server = Server::new(listener, self.dial.clone());
        {
            let mut manage = server.shared.manage();
            manage.metrics = self.announced.clone();
            // Before the first heartbeat.
            if let Act::Manage(mood) = first {
                manage.mood = *mood;
            }
        }
        self.server = Some(server);
        self.note(format!("-- the driver is started: {}", self.dialogue.scenario));
        match Driver::start(self.stage.subject, &place, &self.dialogue.scenario) {
            Ok(driver) => self.driver = Some(driver),
            Err(error) => {
                let program = self.stage.subject.program.display();
                return self
                    .late(format!("cannot start `{program}`: {error}; is it installed, and may it be executed?"));
            }
        }
        Ok(())
    }

    /// The next Execute stream that has no name yet; whether one came, and whether one still can.
    async fn accept(&mut self, name: &str, patience: Duration) -> Result<Opened, Failure> {
        let server = self.server.as_mut().expect("it listens");
        let driver = self.driver.as_mut().expect("it was started");
        let streams = &mut server.streams;
        let stream = tokio::select! {
            biased;
            stream = streams.recv() => stream,
            // Its last stream may have come with its end.
            exit = driver.exit(patience) => match (streams.try_recv(), exit) {
                (Ok(stream), _) => Some(stream),
                (Err(_), Ok(status)) => return Ok(Opened::Never(status)),
                (Err(_), Err(_)) => None,
            },
        };
        let Some(stream) = stream else { return Ok(Opened::NotYet) };
        self.sign();
        let answered = Answered {
            pipelining: self
                .announced
                .get("features")
                .is_some_and(|features| features.split(',').any(|feature| feature.trim() == "pipelining")),
            largest: self.announced.get("max_message_bytes").and_then(|bytes| bytes.parse().ok()),
            given_up: self.given_up,
            ..Answered::default()
        };
        let live = Live { stream, said: Said::default(), answered, ended: false };
        self.streams.insert(name.into(), live);
        Ok(Opened::Now)
    }

    /// The stream of this name, which the engine opens.
    async fn live(&mut self, name: &str) -> Result<&mut Live, Failure> {
        if !self.streams.contains_key(name) {
            let patience = self.deadline(None).saturating_duration_since(Instant::now());
            match self.accept(name, patience).await? {
                Opened::Now => {}
                Opened::NotYet => return self.late("no stream was opened in time"),
                Opened::Never(status) => return self.unopened(status).await,
            }
        }
        Ok(self.streams.get_mut(name).expect("it was put there"))
    }

    async fn send(&mut self, name: &str, message: &Message, shape: &Shape) -> Result<(), Failure> {
        let framed = shape.frame(&message.encode(shape));
        self.note(format!("{name}< {}", message.show()));
        let live = self.live(name).await?;
        match message {
            Message::Init { error: None, .. } => live.answered.init = true,
            Message::Finish { .. } | Message::Cancel { .. } => live.answered.terminator = true,
            _ => {}
        }
        let Some(out) = live.stream.answer.out() else {
            self.note("   (it is not taken: the stream is over)");
            return Ok(());
        };
        out.empty_frames = shape.empty_frames;
        if shape.joined {
            out.hold(&framed);
            return Ok(());
        }
        // What can't be sent any more is no failure by itself: what comes back is judged.
        if let Err(why) = out.send(framed, shape.split).await {
            self.note(format!("   (it is not taken: {why})"));
        }
        Ok(())
    }

    async fn fill(&mut self, name: &str, value: &Value, below: usize) -> Result<(), Failure> {
        let framed = Shape::default().frame(&Message::Data(value.clone()).encode(&Shape::default()));
        let live = self.live(name).await?;
        let mut sent = 0;
        if let Some(out) = live.stream.answer.out() {
            let mut rest = Bytes::new();
            while sent < below && out.has_room(1, FULL).await {
                if rest.is_empty() {
                    rest = framed.clone();
                }
                let before = rest.len();
                // A stream that is over takes no more, and what comes back is judged.
                if out.send_some(&mut rest, 64 << 10).await.is_err() {
                    break;
                }
                sent += before - rest.len();
            }
            // What is missing of the last message goes before whatever is said next.
            out.hold(&rest);
        }
        self.note(format!("{name}< data, {sent} bytes in all, and then nothing more is taken"));
        match sent < below {
            true => Ok(()),
            false => self.fail(format!("nobody reads, and {sent} bytes were taken all the same (E5)")),
        }
    }

    /// The driver has ended where a stream was expected. What it has said of that says more.
    async fn unopened<T>(&mut self, status: ExitStatus) -> Result<T, Failure> {
        while self.hear(Duration::from_secs(1)).await? {}
        self.fail(format!("the driver has ended ({status}) without opening a stream"))
    }

    /// The next thing that comes on a stream that was opened, judged by the grammar.
    async fn next(&mut self, name: &str, patience: Duration) -> Result<Option<Heard>, Failure> {
        let Some(live) = self.streams.get_mut(name) else { return Ok(None) };
        if live.ended {
            sleep(Duration::ZERO).await;
            return Ok(None);
        }
        let Ok(Some((event, at, _room))) = timeout(patience, live.stream.heard.recv()).await else { return Ok(None) };
        let bytes = event.len();
        let heard = Heard::from(event);
        live.ended = heard.is_end();
        let judged = live.said.say(&heard, bytes, live.answered);
        self.noted(at, format!("{name}> {heard}"));
        match judged {
            Ok(()) => Ok(Some(heard)),
            Err(rule) => self.fail(format!("the engine broke the grammar with `{heard}`: {rule}")),
        }
    }

    async fn expect(
        &mut self,
        name: &str,
        alternatives: &[Alternative<request::Pattern>],
        within: Option<Duration>,
    ) -> Result<(), Failure> {
        let until = self.deadline(within);
        let mut matching = Matching::new(alternatives);
        loop {
            if let Some(done) = matching.done() {
                self.choices.extend(done.choice.clone());
                return Ok(());
            }
            let patience = matching.patience(until);
            let is_open = self.streams.contains_key(name);
            let came = match is_open {
                true => {
                    let ended = self.streams.get(name).is_some_and(|live| live.ended);
                    let next = self.next(name, patience).await?;
                    next.map_or(if ended { Came::Over } else { Came::Nothing }, Came::Heard)
                }
                false => match (self.accept(name, patience).await?, matching.quiet()) {
                    (Opened::Now, Some(_)) if alternatives.len() == 1 => {
                        return self.fail("a stream was opened, and nothing was to come");
                    }
                    (Opened::Now, _) => continue,
                    (Opened::NotYet, _) => Came::Nothing,
                    (Opened::Never(_), Some(_)) => Came::Over,
                    (Opened::Never(status), None) => return self.unopened(status).await,
                },
            };
            if let Err(mismatch) = matching.take(&came, patience, &()) {
                return match mismatch {
                    Mismatch::Wrong { heard, why } => self.fail(format!("`{heard}` came, and that is wrong: {why}")),
                    Mismatch::Over { .. } => self.fail("nothing more comes: the stream has ended"),
                    Mismatch::Late { wanted } => {
                        let what = if is_open { "nothing came" } else { "no stream was opened" };
                        self.late(format!("{what} in time; {wanted} was expected"))
                    }
                };
            }
        }
    }

    /// Reads one report into the queue of its session; whether one came.
    async fn hear(&mut self, patience: Duration) -> Result<bool, Failure> {
        let driver = self.driver.as_mut().expect("it was started");
        match timeout(patience, driver.reports.recv()).await {
            Err(_) => Ok(false),
            Ok(None) => {
                self.silent = true;
                Ok(false)
            }
            Ok(Some((reported, at))) => {
                self.sign();
                let session = &reported.session;
                let whose = if session.is_empty() { String::new() } else { format!("{session} ") };
                self.noted(at, format!("   {whose}reports {}", reported.event));
                if let Err(why) = reported.event.judge() {
                    return self.fail(why);
                }
                self.reported.entry(reported.session).or_default().push_back(reported.event);
                Ok(true)
            }
        }
    }

    async fn reports(
        &mut self,
        session: &str,
        alternatives: &[Alternative<report::Pattern>],
        within: Option<Duration>,
    ) -> Result<(), Failure> {
        let until = self.deadline(within);
        let mut matching = Matching::new(alternatives);
        loop {
            if let Some(done) = matching.done() {
                self.choices.extend(done.choice.clone());
                return Ok(());
            }
            let patience = matching.patience(until);
            let came = match self.reported.get_mut(session).and_then(VecDeque::pop_front) {
                Some(event) => Came::Heard(event),
                None if self.silent => Came::Over,
                // It may be another session's, and it may be the end.
                None if self.hear(patience).await? || self.silent => continue,
                None => Came::Nothing,
            };
            if let Err(mismatch) = matching.take(&came, patience, &()) {
                return match mismatch {
                    Mismatch::Wrong { heard, why } => {
                        self.fail(format!("`{heard}` was reported, and that is wrong: {why}"))
                    }
                    Mismatch::Over { wanted } => {
                        self.fail(format!("the driver reports nothing more; {wanted} was expected"))
                    }
                    Mismatch::Late { wanted } => {
                        self.late(format!("nothing was reported in time; {wanted} was expected"))
                    }
                };
            }
        }
    }

    async fn asked(&mut self, count: usize, within: Option<Duration>) -> Result<(), Failure> {
        let patience = self.deadline(within).saturating_duration_since(Instant::now());
        let mut heartbeats = self.server().shared.heartbeats.subscribe();
        let wanted = *heartbeats.borrow_and_update() + count;
        match timeout(patience, heartbeats.wait_for(|asked| *asked >= wanted)).await {
            Ok(_) => {
                self.note(format!("-- {count} heartbeats were asked for"));
                Ok(())
            }
            Err(_) => self.late(format!("no {count} heartbeats were asked for in time")),
        }
    }

    fn memory_below(&mut self, most: u64) -> Result<(), Failure> {
        let now = self.driver.as_ref().and_then(Driver::pid).and_then(resident);
        // Without procfs nobody knows.
        let (Some(before), Some(now)) = (self.memory, now) else { return Ok(()) };
        self.note(format!("-- memory: {} MiB, {} MiB before", now >> 20, before >> 20));
        match now.saturating_sub(before) {
            grown if grown <= most => Ok(()),
            grown => self.fail(format!("its memory has grown by {} MiB, more than {} MiB", grown >> 20, most >> 20)),
        }
    }

    /// The scenario is over: the driver ends by itself, and nothing is left that no step has asked for.
    async fn end(&mut self) -> Result<(), Failure> {
        self.at = None;
        let until = self.deadline(None).max(Instant::now() + Duration::from_secs(1));
        self.driver.as_mut().expect("it was started").tell_no_more();
        // What a driver has left behind may hold its output open: it is over with the driver.
        while !self.silent && Instant::now() < until {
            let heard = self.hear(Duration::from_millis(50)).await?;
            if !heard && self.driver.as_ref().is_some_and(|driver| driver.ended().is_some()) {
                break;
            }
        }
        let patience = until.saturating_duration_since(Instant::now()).max(Duration::from_millis(10));
        if let Some((session, event)) = self.left() {
            let whose = if session.is_empty() { String::new() } else { format!(" of session {session}") };
            return self.fail(format!("`{event}`{whose} was reported, and no step expects it"));
        }
        let exit = match self.driver.as_mut().expect("it was started").exit(patience).await {
            Ok(exit) => exit,
            Err(why) => return self.late(why),
        };
        if !exit.success() {
            return self.fail(format!("the driver has ended with {exit}; whatever came of a scenario, it ends with 0"));
        }
        let left = self.driver.as_ref().expect("it was started").left_behind().await;
        if !left.is_empty() {
            return self.fail(format!("the driver has ended and left processes behind: {}", left.join(", ")));
        }
        for name in self.streams.keys().cloned().collect::<Vec<_>>() {
            while self.next(&name, Duration::from_millis(1)).await?.is_some() {}
        }
        match self.server.as_mut().expect("it listens").streams.try_recv() {
            Ok(_) => self.fail("an Execute stream was opened that no step knows of"),
            Err(_) => Ok(()),
        }
    }

    fn left(&self) -> Option<(&String, &Event)> {
        self.reported.iter().find_map(|(session, events)| events.front().map(|event| (session, event)))
    }

    /// Adds what else is known: what has come in the meantime, and the driver's last words.
    async fn explain(&mut self, failure: Failure) -> Failure {
        let step = self.at.clone();
        let mut besides = String::new();
        // Some never stop.
        let until = Instant::now() + Duration::from_millis(500);
        // For the transcript; but a line that is no report says more than that something did not come.
        while self.driver.is_some() && !self.silent && Instant::now() < until {
            match self.hear(Duration::from_millis(20)).await {
                Ok(true) => {}
                Ok(false) => break,
                Err(wrong) if wrong.what == failure.what => break,
                Err(wrong) => {
                    besides = format!("; besides, {}", wrong.what);
                    break;
                }
            }
        }
        let names: Vec<_> = self.streams.keys().cloned().collect();
        for name in names {
            while matches!(self.next(&name, Duration::from_millis(1)).await, Ok(Some(_))) && Instant::now() < until {}
        }
        self.at = step;
        let unjudged = self.server.as_ref().and_then(|server| server.shared.budget.note());
        besides.extend(unjudged.map(|unjudged| format!("; besides, {unjudged}")));
        let Some(driver) = &mut self.driver else { return failure };
        let ended = match driver.ended() {
            Some(how) if !failure.what.contains("has ended") => format!("; the driver has ended ({how})"),
            _ => String::new(),
        };
        let what = driver.explain(format!("{}{besides}{ended}", failure.what)).await;
        Failure { what, ..failure }
    }
}
