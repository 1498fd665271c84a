//! Plays a case: says what its script says to the worker, and judges what comes back.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt, join_all};
use prost::Message as _;
use rustix::process::Signal;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use anyudf_protocol::wire;

use crate::answer::{Heard, MetricCheck, Pattern, Status};
use crate::capability::Capabilities;
use crate::expect::{Alternative, Came, Matching, Mismatch};
use crate::grammar::{Asked, Said};
use crate::message::{Message, Shape};
use crate::process::{Process, Subject, gone, kill_stranger};
use crate::script::{Act, Script, Step};
use crate::transcript::Transcript;
use crate::wire::{Call, Dial, EXECUTE, Link, MANAGE, Metadata, Place, Stream};

const HEALTH: &str = "/grpc.health.v1.Health/Check";
/// The versions of server reflection, the newer first: some libraries have the older one alone.
const REFLECTION: [&str; 2] = ["v1", "v1alpha"];

const UNIMPLEMENTED: u32 = 12;

/// How long a filled window stays full before it counts as such.
const FULL: Duration = Duration::from_millis(150);

/// Why a case failed.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) what: String,
    /// The step that found it.
    pub(crate) step: Option<(usize, String)>,
    /// Nothing came in time.
    pub(crate) late: bool,
}

/// What was played.
#[derive(Debug, Default)]
pub(crate) struct Played {
    pub(crate) transcript: Vec<(Duration, String)>,
    /// What the implementation chose where the protocol leaves it open.
    pub(crate) choices: Vec<String>,
    pub(crate) failure: Option<Failure>,
}

/// What a case is played with.
pub(crate) struct Stage<'a> {
    pub(crate) subject: &'a Subject,
    pub(crate) capabilities: &'a Capabilities,
    pub(crate) timeout: Duration,
}

/// Plays a script against a worker that runs, or against those that it starts itself.
pub(crate) async fn play(stage: &Stage<'_>, script: &Script, worker: Option<&Process>) -> Played {
    let mut scene = Scene::new(stage, worker.map(|worker| worker.place.clone()), Arc::new(Clock::new()));
    let clock = Arc::clone(&scene.clock);
    let played = clock.bound(stage.timeout, scene.steps(&script.steps)).await;
    let failure = match played {
        Ok(Ok(())) => scene.leftovers(&[]).err(),
        Ok(Err(failure)) => Some(failure),
        Err(Late) => {
            let what = format!("it took longer than {:?}", stage.timeout);
            Some(Failure { what, step: scene.at.clone(), late: true })
        }
    };
    let failure = failure.map(|failure| match &mut scene.own {
        Some(process) => match process.ended() {
            Some(how) => {
                Failure { what: process.explain(format!("{}; the worker has ended ({how})", failure.what)), ..failure }
            }
            None => failure,
        },
        None => failure,
    });
    if let Some(process) = &mut scene.own {
        process.kill().await;
        // A launcher that was killed has left its worker to itself.
        process.launched().into_iter().for_each(kill_stranger);
    }
    Played { transcript: scene.transcript.into_lines(), choices: scene.choices, failure }
}

/// The time of a case. It stands still while a worker is started, which has a bound of its own: on a busy machine that
/// takes seconds, and says nothing of the protocol.
struct Clock {
    began: Instant,
    starts: Mutex<Starts>,
}

#[derive(Default)]
struct Starts {
    took: Duration,
    under_way: Option<Instant>,
}

/// The time of a case is over.
#[derive(Debug, PartialEq, Eq)]
struct Late;

impl Clock {
    fn new() -> Self {
        Clock { began: Instant::now(), starts: Mutex::default() }
    }

    /// When a case is over that may take so long.
    fn until(&self, patience: Duration) -> Instant {
        let starts = self.starts.lock().unwrap_or_else(PoisonError::into_inner);
        let under_way = starts.under_way.map_or(Duration::ZERO, |since| since.elapsed());
        self.began + patience + starts.took + under_way
    }

    async fn stand_still<T>(&self, start: impl Future<Output = T>) -> T {
        let starts = || self.starts.lock().unwrap_or_else(PoisonError::into_inner);
        let since = Instant::now();
        starts().under_way = Some(since);
        let started = start.await;
        let mut starts = starts();
        starts.took += since.elapsed();
        starts.under_way = None;
        started
    }

    async fn bound<T>(&self, patience: Duration, steps: impl Future<Output = T>) -> Result<T, Late> {
        let mut steps = std::pin::pin!(steps);
        loop {
            let left = self.until(patience).saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Late);
            }
            if let Ok(done) = timeout(left, &mut steps).await {
                return Ok(done);
            }
        }
    }
}

/// A stream and what was said on it.
struct Live {
    stream: Stream,
    said: Said,
    asked: Asked,
    payload: Bytes,
    /// Nothing comes after it.
    ended: bool,
}

struct Scene<'a> {
    stage: &'a Stage<'a>,
    clock: Arc<Clock>,
    place: Option<Place>,
    own: Option<Process>,
    /// The last one is used; the others are kept for their streams.
    links: Vec<Arc<Link>>,
    streams: BTreeMap<String, Live>,
    shutdown: Option<JoinHandle<Result<bool, Status>>>,
    resident: Option<u64>,
    transcript: Transcript,
    choices: Vec<String>,
    at: Option<(usize, String)>,
}

impl<'a> Scene<'a> {
    fn new(stage: &'a Stage<'a>, place: Option<Place>, clock: Arc<Clock>) -> Self {
        Scene {
            stage,
            clock,
            place,
            own: None,
            links: Vec::new(),
            streams: BTreeMap::new(),
            shutdown: None,
            resident: None,
            transcript: Transcript::default(),
            choices: Vec::new(),
            at: None,
        }
    }

    fn note(&mut self, text: impl Into<String>) {
        self.transcript.note(self.clock.began.elapsed(), text.into());
    }

    fn fail<T>(&self, what: impl Into<String>) -> Result<T, Failure> {
        Err(Failure { what: what.into(), step: self.at.clone(), late: false })
    }

    fn late<T>(&self, what: impl Into<String>) -> Result<T, Failure> {
        Err(Failure { what: what.into(), step: self.at.clone(), late: true })
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
            Act::Start(start) => {
                self.note("the worker is started");
                match self.clock.stand_still(self.stage.subject.start(start)).await {
                    Ok(process) => self.employ(process),
                    Err(why) => return self.late(why),
                }
            }
            Act::Refused(start, says) => return self.refused(start, says).await,
            Act::Connect(dial) => {
                self.dial(dial).await?;
            }
            Act::Disconnect => {
                self.note("-- the connection is cut");
                // Before its streams are dropped, which would reset them.
                self.links.drain(..).for_each(|link| link.cut());
                self.streams.clear();
            }
            Act::Open { stream, call } => self.open(stream, call).await?,
            Act::Send { stream, message, shape } => self.send(stream, message, shape).await?,
            Act::Frames { stream, bytes } => {
                self.note(format!("{stream}> frames {}", crate::value::show(bytes)));
                let bytes = bytes.clone();
                let live = self.live(stream).await?;
                bytes.get(5..).into_iter().for_each(|message| live.asked.note(message));
                let sent = live.stream.out.send(bytes, None).await;
                self.sent(sent);
            }
            Act::Fill { stream, value, most } => self.fill(stream, &value.bytes(), *most).await?,
            Act::HalfClose { stream } => {
                self.note(format!("{stream}> half-close"));
                let live = self.live(stream).await?;
                live.asked.half_close = true;
                live.stream.out.half_close();
            }
            Act::Reset { stream } => {
                self.note(format!("{stream}> reset"));
                self.live(stream).await?.stream.out.reset();
            }
            Act::Expect { stream, alternatives, within } => self.expect(stream, alternatives, *within).await?,
            Act::Read { stream, reading } => {
                self.note(format!("{stream}: reading is {}", format!("{reading:?}").to_lowercase()));
                self.live(stream).await?.stream.read(*reading);
            }
            Act::Wait(time) => sleep(*time).await,
            Act::Heartbeat { metadata, checks, within, eventually } => {
                self.heartbeat(metadata, checks, *within, *eventually).await?;
            }
            Act::Shutdown { metadata, cancel, settled, background } => {
                self.shutdown(metadata, *cancel, *settled, *background).await?;
            }
            Act::Answered { settled } => self.answered(*settled).await?,
            Act::ManageRaw { metadata, body, code } => {
                let call = Call::to(MANAGE).with(metadata);
                let answer = self.link().await?.unary(&call, body.clone()).await;
                self.status("manage", answer.map(|_| ()), *code)?;
            }
            Act::CallRaw { path, code } => {
                let answer = self.link().await?.unary(&Call::to(path), Bytes::new()).await;
                self.status(path, answer.map(|_| ()), *code)?;
            }
            Act::Health { service, serving } => self.health(service, *serving).await?,
            Act::Reflection { name } => self.reflection(name).await?,
            Act::Signal(number) => {
                self.note(format!("-- signal {number}"));
                let signal = if *number == 15 { Signal::TERM } else { Signal::KILL };
                self.process()?.signal(signal);
            }
            Act::KillLauncher => {
                self.note("-- the launcher is killed");
                let patience = Instant::now() + Duration::from_secs(2);
                // It says so at once; its output is read by another task.
                while self.process()?.launched().is_none() && Instant::now() < patience {
                    sleep(Duration::from_millis(2)).await;
                }
                self.process()?.signal(Signal::KILL);
            }
            Act::Exits { status, within } => self.exits(*status, *within).await?,
            Act::Gone { within } => {
                let process = self.process()?;
                let Some(pid) = process.launched().or(process.pid()) else {
                    return self.fail("the launcher did not say which process is the worker");
                };
                if !gone(pid, *within).await {
                    return self.fail(format!("process {pid} still runs after {within:?}"));
                }
                self.note("-- the worker is gone");
            }
            Act::SocketGone => {
                if self.process()?.has_socket() {
                    return self.fail("its socket is still there");
                }
            }
            Act::SocketMode(mode) => self.socket_mode(*mode)?,
            Act::Runs => {
                if let Some(how) = self.process_mut()?.ended() {
                    return self.fail(format!("the worker has ended ({how})"));
                }
            }
            Act::PrintsNo(part) => {
                let process = self.process_mut()?;
                if process.ended().is_none() {
                    return self.fail("it still runs, and may print more: this step needs `exits` before it");
                }
                process.read_out().await;
                if process.printed().contains(part) {
                    let why = format!("`{part}` is in what it printed, which is for logs alone");
                    return self.fail(self.process()?.explain(why));
                }
            }
            Act::MemoryMark => self.resident = self.process()?.resident(),
            Act::MemoryBelow(most) => self.memory_below(*most)?,
            Act::Repeat { count, parallel: false, steps } => {
                let before: Vec<_> = self.streams.keys().cloned().collect();
                for _ in 0..*count {
                    self.steps(steps).await?;
                    self.leftovers(&before)?;
                    // Each time has streams of its own, and what was there before goes on.
                    self.streams.retain(|name, _| before.contains(name));
                }
            }
            Act::Repeat { count, parallel: true, steps } => self.parallel(*count, steps).await?,
        }
        Ok(())
    }

    fn employ(&mut self, process: Process) {
        self.place = Some(process.place.clone());
        self.own = Some(process);
        self.links.clear();
        self.streams.clear();
    }

    fn process(&self) -> Result<&Process, Failure> {
        match &self.own {
            Some(process) => Ok(process),
            None => self.fail("this step is for a worker of the case's own: it needs `start` before it"),
        }
    }

    fn process_mut(&mut self) -> Result<&mut Process, Failure> {
        self.process()?;
        Ok(self.own.as_mut().expect("it was looked at just now"))
    }

    async fn refused(&mut self, start: &crate::process::Start, says: &[String]) -> Result<(), Failure> {
        self.note("the worker is started, and should refuse");
        let mut process = match self.stage.subject.spawn(start) {
            Ok(process) => process,
            Err(error) => return self.fail(format!("it cannot be started: {error}")),
        };
        let exit = self.clock.stand_still(process.exit_or_serve(self.stage.subject.start_timeout)).await;
        if matches!(exit, Ok(Some(_))) {
            process.read_out().await;
        }
        let printed = process.printed();
        match exit {
            Ok(None) => self.fail(process.explain("it serves, where it should have refused".into())),
            Ok(Some(status)) if status.success() => self.fail(process.explain("it ended with success".into())),
            Ok(Some(_)) => match says.iter().find(|part| !printed.contains(part.as_str())) {
                Some(part) => self.fail(process.explain(format!("it does not say `{part}`"))),
                None => Ok(()),
            },
            Err(why) => self.late(process.explain(why)),
        }
    }

    async fn dial(&mut self, dial: &Dial) -> Result<Arc<Link>, Failure> {
        let Some(place) = self.place.clone() else {
            return self.fail("there is no worker: it needs `start` before it");
        };
        match Link::dial(&place, dial).await {
            Ok(link) => {
                let link = Arc::new(link);
                self.links.push(Arc::clone(&link));
                Ok(link)
            }
            Err(error) => self.fail(format!("cannot connect to {place}: {error}")),
        }
    }

    async fn link(&mut self) -> Result<Arc<Link>, Failure> {
        match self.links.last() {
            Some(link) if !link.is_gone() => Ok(Arc::clone(link)),
            _ => self.dial(&Dial::default()).await,
        }
    }

    async fn open(&mut self, name: &str, call: &Call) -> Result<(), Failure> {
        let link = self.link().await?;
        match link.open(call).await {
            Ok(stream) => {
                let live = Live {
                    stream,
                    said: Said::default(),
                    asked: Asked::default(),
                    payload: Bytes::new(),
                    ended: false,
                };
                self.streams.insert(name.into(), live);
                Ok(())
            }
            Err(error) => self.fail(format!("no stream can be opened: {error}")),
        }
    }

    /// The stream of this name, opened if it is not there.
    async fn live(&mut self, name: &str) -> Result<&mut Live, Failure> {
        if !self.streams.contains_key(name) {
            self.open(name, &Call::to(EXECUTE)).await?;
        }
        Ok(self.streams.get_mut(name).expect("it was put there"))
    }

    async fn send(&mut self, name: &str, message: &Message, shape: &Shape) -> Result<(), Failure> {
        let capabilities = self.stage.capabilities;
        let live = self.live(name).await?;
        let encoded = message.encode(capabilities, &mut live.payload, shape);
        live.asked.note(&encoded);
        let framed = shape.frame(&encoded);
        self.note(format!("{name}> {}", message.show()));
        let live = self.live(name).await?;
        live.stream.out.empty_frames = shape.empty_frames;
        if shape.joined {
            live.stream.out.hold(&framed);
            return Ok(());
        }
        let sent = live.stream.out.send(framed, shape.split).await;
        self.sent(sent);
        Ok(())
    }

    /// What can't be sent any more is no failure by itself: what comes back is judged.
    fn sent(&mut self, sent: Result<(), String>) {
        if let Err(why) = sent {
            self.note(format!("   (it is not taken: {why})"));
        }
    }

    async fn fill(&mut self, name: &str, data: &Bytes, most: usize) -> Result<(), Failure> {
        let request = wire::udf_request::Request::Data(wire::DataRequest { data: data.clone() });
        let message = wire::UdfRequest { request: Some(request) }.encode_to_vec();
        let framed = Shape::default().frame(&message);
        let live = self.live(name).await?;
        let mut sent = 0;
        // Some room is kept for Cancel, as every engine must keep it.
        while sent < most && live.stream.out.has_room(framed.len() + (8 << 10), FULL).await {
            if live.stream.out.send(framed.clone(), None).await.is_err() {
                break;
            }
            sent += 1;
        }
        self.note(format!("{name}> {sent} x data {} bytes, and then nothing more is taken", data.len()));
        Ok(())
    }

    /// The next thing that comes, judged by the grammar.
    async fn next(&mut self, name: &str, patience: Duration) -> Result<Option<Heard>, Failure> {
        let live = self.live(name).await?;
        if live.ended {
            return Ok(None);
        }
        let heard = match timeout(patience, live.stream.heard.recv()).await {
            Ok(Some((event, ..))) => Heard::from(event),
            Ok(None) => Heard::Cut("the stream is gone".into()),
            Err(_) => return Ok(None),
        };
        live.ended = heard.is_end();
        if live.ended {
            live.stream.out.half_close(); // R13
        }
        let judged = live.said.say(&heard, live.asked);
        self.note(format!("{name}< {heard}"));
        match judged {
            Ok(()) => Ok(Some(heard)),
            Err(rule) => self.fail(format!("the worker broke the grammar with `{heard}`: {rule}")),
        }
    }

    async fn expect(
        &mut self,
        name: &str,
        alternatives: &[Alternative<Pattern>],
        within: Option<Duration>,
    ) -> Result<(), Failure> {
        let until = match within {
            Some(within) => Instant::now() + within,
            None => self.clock.until(self.stage.timeout),
        };
        let mut matching = Matching::new(alternatives);
        loop {
            if let Some(done) = matching.done() {
                self.choices.extend(done.choice.clone());
                return Ok(());
            }
            let patience = matching.patience(until);
            let ended = self.live(name).await?.ended;
            let next = self.next(name, patience).await?;
            let came = next.map_or(if ended { Came::Over } else { Came::Nothing }, Came::Heard);
            if let Err(mismatch) = matching.take(&came, patience, self.stage.capabilities) {
                return match mismatch {
                    Mismatch::Wrong { heard, why } => self.fail(format!("`{heard}` came, and that is wrong: {why}")),
                    Mismatch::Over { .. } => self.fail("nothing more comes: the stream has ended"),
                    Mismatch::Late { wanted } => self.late(format!("nothing came in time; {wanted} was expected")),
                };
            }
        }
    }

    /// What has come and was not asked for must keep to the grammar, too; of all streams but these.
    fn leftovers(&mut self, but: &[String]) -> Result<(), Failure> {
        self.at = None;
        let mut notes = Vec::new();
        let mut wrong = None;
        for (name, live) in self.streams.iter_mut().filter(|(name, _)| !but.contains(name)) {
            while let Ok((event, ..)) = live.stream.heard.try_recv() {
                let heard = Heard::from(event);
                notes.push(format!("{name}< {heard}"));
                if let Err(rule) = live.said.say(&heard, live.asked) {
                    wrong = Some(format!("the worker broke the grammar with `{heard}`: {rule}"));
                }
            }
        }
        notes.into_iter().for_each(|note| self.note(note));
        wrong.map_or(Ok(()), |wrong| self.fail(wrong))
    }

    async fn parallel(&mut self, count: usize, steps: &[Step]) -> Result<(), Failure> {
        let link = self.link().await?;
        let scenes = (0..count).map(|_| {
            let mut scene = Scene::new(self.stage, self.place.clone(), Arc::clone(&self.clock));
            scene.links.push(Arc::clone(&link));
            scene
        });
        let mut scenes: Vec<_> = scenes.collect();
        let outcomes = join_all(scenes.iter_mut().map(|scene| scene.steps(steps))).await;
        self.note(format!("-- {count} at once"));
        let mut first = None;
        for (mut scene, outcome) in scenes.into_iter().zip(outcomes) {
            let outcome = outcome.and_then(|()| scene.leftovers(&[]));
            self.choices.extend(std::mem::take(&mut scene.choices));
            if let (Err(failure), None) = (outcome, &first) {
                self.transcript.append(std::mem::take(&mut scene.transcript).into_lines());
                first = Some(failure);
            }
        }
        self.choices.sort();
        self.choices.dedup();
        first.map_or(Ok(()), Err)
    }

    async fn heartbeat(
        &mut self,
        metadata: &Metadata,
        checks: &[MetricCheck],
        within: Option<Duration>,
        eventually: bool,
    ) -> Result<(), Failure> {
        let message = Bytes::from_static(b"\x0a\x00");
        let call = Call::to(MANAGE).with(metadata);
        let began = Instant::now();
        loop {
            let patience = match (within, eventually) {
                (Some(within), false) => within,
                _ => self.stage.timeout,
            };
            let link = self.link().await?;
            let asked = Instant::now();
            let answer = match timeout(patience, link.unary(&call, message.clone())).await {
                Ok(Ok(answer)) => answer,
                Ok(Err(status)) => return self.fail(format!("the heartbeat was answered with status {status}")),
                Err(_) => return self.late(format!("the heartbeat was not answered within {patience:?} (M2)")),
            };
            let answer = wire::WorkerResponse::decode(answer).map_err(|error| Failure {
                what: format!("the answer to a heartbeat is no WorkerResponse: {error}"),
                step: self.at.clone(),
                late: false,
            })?;
            let Some(wire::worker_response::Manage::Heartbeat(heartbeat)) = answer.manage else {
                return self.fail("the answer to a heartbeat has another branch (M1)");
            };
            let outcome = checks.iter().try_for_each(|check| check.check(|name| heartbeat.metrics.get(name).cloned()));
            match outcome {
                Ok(()) => {
                    self.note(format!("-- heartbeat, answered after {:.1?}", asked.elapsed()));
                    return Ok(());
                }
                Err(why) if !eventually => return self.fail(why),
                Err(why) if within.is_some_and(|within| began.elapsed() > within) => return self.late(why),
                Err(_) => sleep(Duration::from_millis(10)).await,
            }
        }
    }

    async fn shutdown(
        &mut self,
        metadata: &Metadata,
        cancel: bool,
        settled: Option<bool>,
        background: bool,
    ) -> Result<(), Failure> {
        let shutdown = wire::ShutdownRequest {
            reason: Some("the conformance kit asks".into()),
            cancel_sessions: cancel.then_some(true),
        };
        let message = wire::WorkerRequest { manage: Some(wire::worker_request::Manage::Shutdown(shutdown)) };
        self.note(format!("-- shutdown{}", if cancel { ", cancel sessions" } else { "" }));
        let link = self.link().await?;
        let call = Call::to(MANAGE).with(metadata);
        self.shutdown = Some(tokio::spawn(async move {
            let answer = link.unary(&call, message.encode_to_vec().into()).await?;
            let wrong = |message: String| Status { code: 13, message };
            let answer = wire::WorkerResponse::decode(answer).map_err(|error| wrong(error.to_string()))?;
            match answer.manage {
                Some(wire::worker_response::Manage::Shutdown(shutdown)) => Ok(shutdown.sessions_settled),
                _ => Err(wrong("the answer to a shutdown has another branch (M1)".into())),
            }
        }));
        if background { Ok(()) } else { self.answered(settled).await }
    }

    async fn answered(&mut self, settled: Option<bool>) -> Result<(), Failure> {
        let Some(mut shutdown) = self.shutdown.take() else { return self.fail("no shutdown is under way") };
        match timeout(self.stage.timeout, &mut shutdown).await {
            Err(_) => self.late("the shutdown was not answered"),
            Ok(Err(error)) => self.fail(error.to_string()),
            Ok(Ok(Err(status))) => self.fail(format!("the shutdown was answered with status {status}")),
            Ok(Ok(Ok(said))) => {
                self.note(format!("-- shutdown answered: sessions_settled={said}"));
                match settled {
                    Some(wanted) if wanted != said => self.fail(format!("sessions_settled is {said}, not {wanted}")),
                    _ => Ok(()),
                }
            }
        }
    }

    fn status(&mut self, what: &str, answer: Result<(), Status>, code: u32) -> Result<(), Failure> {
        let status = answer.err().unwrap_or(Status { code: 0, message: String::new() });
        self.note(format!("-- {what}: {status}"));
        match status.code == code {
            true => Ok(()),
            false => {
                let wanted = Status { code, message: String::new() };
                self.fail(format!("it was answered with status {status}, not {wanted}"))
            }
        }
    }

    async fn health(&mut self, service: &str, serving: bool) -> Result<(), Failure> {
        let mut request = Vec::new();
        prost::encoding::string::encode(1, &service.to_owned(), &mut request);
        let answer = self.link().await?.unary(&Call::to(HEALTH), request.into()).await;
        match answer {
            Err(status) => self.fail(format!("the health service answers with status {status}")),
            // HealthCheckResponse has one field, its status: 1 is SERVING, 2 is NOT_SERVING.
            Ok(answer) if answer[..] == [0x08, if serving { 1 } else { 2 }] => Ok(()),
            Ok(answer) => self.fail(format!("the health service answers {}", answer.escape_ascii())),
        }
    }

    async fn reflection(&mut self, name: &str) -> Result<(), Failure> {
        // ServerReflectionRequest { list_services: "*" }, of which grpc.reflection.v1 and v1alpha have the same numbers.
        let mut request = Vec::new();
        prost::encoding::string::encode(7, &"*".to_owned(), &mut request);
        let request = Bytes::from(request);
        for version in REFLECTION {
            let path = format!("/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo");
            match self.link().await?.unary(&Call::to(&path), request.clone()).await {
                Err(status) if status.code == UNIMPLEMENTED => {
                    self.note(format!("-- there is no reflection {version}"))
                }
                Err(status) => return self.fail(format!("server reflection answers with status {status}")),
                Ok(answer) if String::from_utf8_lossy(&answer).contains(name) => {
                    self.choices.push(version.into());
                    return Ok(());
                }
                Ok(_) => return self.fail(format!("server reflection {version} does not list `{name}`")),
            }
        }
        self.fail("there is no server reflection, neither v1 nor v1alpha")
    }

    async fn exits(&mut self, status: Option<i32>, within: Duration) -> Result<(), Failure> {
        let exit = self.process_mut()?.exit(within).await;
        match exit {
            Err(why) => self.late(why),
            Ok(exit) => {
                self.note(format!("-- the worker has ended: {exit}"));
                match status {
                    Some(wanted) if exit.code() != Some(wanted) => {
                        let process = self.process()?;
                        self.fail(process.explain(format!("it ended with {exit}, not with status {wanted}")))
                    }
                    _ => Ok(()),
                }
            }
        }
    }

    fn socket_mode(&self, mode: u32) -> Result<(), Failure> {
        use std::os::unix::fs::PermissionsExt;
        let Some(path) = self.process()?.socket() else { return self.fail("it listens on no socket") };
        match std::fs::metadata(path) {
            Ok(about) if about.permissions().mode() & 0o777 == mode => Ok(()),
            Ok(about) => {
                self.fail(format!("its socket has mode {:o}, not {mode:o}", about.permissions().mode() & 0o777))
            }
            Err(error) => self.fail(format!("its socket: {error}")),
        }
    }

    fn memory_below(&mut self, most: u64) -> Result<(), Failure> {
        // Without procfs nobody knows.
        let (Some(before), Some(now)) = (self.resident, self.process()?.resident()) else { return Ok(()) };
        self.note(format!("-- memory: {} MiB, {} MiB before", now >> 20, before >> 20));
        match now.saturating_sub(before) <= most {
            true => Ok(()),
            false => self.fail(format!(
                "its memory has grown by {} MiB, more than {} MiB",
                now.saturating_sub(before) >> 20,
                most >> 20
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a start takes is not taken from the case, neither while it is under way nor behind it.
    #[tokio::test]
    async fn a_start_takes_none_of_the_time_of_its_case() {
        let minute = Duration::from_secs(60);
        let clock = Clock::new();
        let before = clock.until(minute);
        clock.starts.lock().expect("nobody panics").took = minute;
        assert_eq!(clock.until(minute), before + minute);
        let under_way = async {
            // As if it had begun a minute ago.
            let ago = Instant::now().checked_sub(minute).expect("the machine runs for longer");
            clock.starts.lock().expect("nobody panics").under_way = Some(ago);
            clock.until(minute)
        };
        let until = clock.stand_still(under_way).await;
        assert!(until >= before + minute * 2, "it counts while it is under way");
        assert_eq!(clock.until(minute), clock.until(minute), "and no time counts behind it");
        assert_eq!(clock.bound(minute, std::future::ready(())).await, Ok(()));
        clock.starts.lock().expect("nobody panics").took = Duration::ZERO;
        assert_eq!(clock.bound(Duration::ZERO, std::future::pending::<()>()).await, Err(Late));
    }
}
