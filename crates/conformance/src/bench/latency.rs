//! How long things take that happen once: opening, a heartbeat, Cancel, a start.

use std::time::{Duration, Instant};

use anyudf_protocol::wire;
use bytes::Bytes;
use futures::future::try_join_all;
use prost::Message as _;
use tokio::time::{sleep, timeout};

use super::Bench;
use super::batches::Batches;
use super::echo::{Echoed, echo};
use super::figure::{Latency, What};
use super::session::Session;
use crate::capability::Capability;
use crate::process::Start;
use crate::wire::{Call, Link, MANAGE, Reading};

/// Samples that are taken even when there is no time for them.
const LEAST: usize = 3;

/// Samples that are enough.
const MOST: usize = 5_000;

/// Streams that are full of data while heartbeats are measured, and the size of their batches.
const STREAMS: usize = 4;
const LOAD: usize = 256 << 10;

/// The pause between two heartbeats, so that they are no load themselves.
const PAUSE: Duration = Duration::from_millis(2);

/// The messages of a queue that Cancel stands behind, so small that several fit the least window of HTTP/2, and the room
/// that is kept free for Cancel, as every engine must keep it (E9).
const QUEUED: usize = 16 << 10;
const ROOM: usize = 1 << 10;

/// A queue is full when nothing was taken for this long. `slow` takes longer for each message.
const STALLED: Duration = Duration::from_millis(15);
const SLOW: &str = "init slow(20)";

/// Of a worker that takes everything, no more is put in its queue, nor for longer.
const QUEUE: usize = 64 << 20;
const FILLING: Duration = Duration::from_secs(2);

/// From Init to InitResponse.
///
/// # Errors
/// When a session can't be opened, or does not end when it is cancelled.
pub(super) async fn warm_open(bench: &Bench<'_>, time: Duration) -> Result<Latency, String> {
    let link = bench.dial().await?;
    let (init, cancel) = (bench.message("init echo"), bench.message("cancel"));
    let mut samples = Samples::during(time);
    while samples.wanted() {
        let (mut session, took) = Session::open(&link, &init, bench.config.timeout).await?;
        session.cancel(&cancel).await?;
        samples.times.push(took);
    }
    Ok(samples.latency(What::WarmOpen))
}

/// From a heartbeat to its answer, with nothing else to do.
///
/// # Errors
/// When it is not answered, or wrongly.
pub(super) async fn heartbeat_idle(bench: &Bench<'_>, time: Duration) -> Result<Latency, String> {
    let link = bench.dial().await?;
    let mut samples = Samples::during(time);
    while samples.wanted() {
        sleep(PAUSE).await;
        samples.times.push(heartbeat(&link, bench.config.timeout).await?);
    }
    Ok(samples.latency(What::HeartbeatIdle))
}

/// From a heartbeat to its answer, on a connection with as much data as streams take.
///
/// # Errors
/// When a heartbeat is not answered, or when echo fails.
pub(super) async fn heartbeat_under_load(bench: &Bench<'_>, time: Duration) -> Result<Latency, String> {
    let patience = bench.config.timeout;
    let link = bench.dial().await?;
    let streams = if bench.config.capabilities.has(Capability::Concurrent) { STREAMS } else { 1 };
    let (init, finish, batches) = (bench.message("init echo"), bench.message("finish"), Batches::new(LOAD));
    let mut sessions = Vec::with_capacity(streams);
    for _ in 0..streams {
        sessions.push(Session::open(&link, &init, patience).await?.0);
    }
    let until = Instant::now() + time;
    let mut load = Vec::with_capacity(streams);
    for session in sessions {
        load.push(echo(session, &batches, &finish, until, patience));
    }
    let beats = async {
        // Until the queues are full.
        sleep(time / 10).await;
        let mut samples = Samples::during(time - time / 10);
        while samples.wanted() {
            sleep(PAUSE).await;
            samples.times.push(heartbeat(&link, patience).await?);
        }
        Ok(samples)
    };
    let (echoed, samples) = tokio::try_join!(try_join_all(load), beats)?;
    let bytes_per_s = echoed.iter().map(Echoed::rate).sum();
    Ok(samples.latency(What::HeartbeatUnderLoad { streams, bytes_per_s }))
}

async fn heartbeat(link: &Link, patience: Duration) -> Result<Duration, String> {
    let call = Call::to(MANAGE);
    let began = Instant::now();
    let answer = timeout(patience, link.unary(&call, Bytes::from_static(b"\x0a\x00"))).await;
    let took = began.elapsed();
    let answer = answer
        .map_err(|_| format!("a heartbeat was not answered within {patience:?} (M2)"))?
        .map_err(|status| format!("a heartbeat was answered with status {status}"))?;
    match wire::WorkerResponse::decode(answer).map(|answer| answer.manage) {
        Ok(Some(wire::worker_response::Manage::Heartbeat(_))) => Ok(took),
        Ok(_) => Err("the answer to a heartbeat has another branch (M1)".into()),
        Err(error) => Err(format!("the answer to a heartbeat is no WorkerResponse: {error}")),
    }
}

/// From Cancel to the end of the stream, behind as much data as the worker lets an engine send: for `slow`, if it is
/// offered, otherwise for `echo`, whose answers nobody reads until Cancel is sent.
///
/// # Errors
/// When a session does not end when it is cancelled.
pub(super) async fn cancel(bench: &Bench<'_>, time: Duration) -> Result<Latency, String> {
    let link = bench.dial().await?;
    let slow = bench.config.capabilities.function("slow").is_some();
    let (behind, init) = if slow { ("slow", SLOW) } else { ("echo", "init echo") };
    let (init, cancel, batches) = (bench.message(init), bench.message("cancel"), Batches::new(QUEUED));
    let mut queues = Vec::new();
    let mut samples = Samples::during(time);
    while samples.wanted() {
        let (mut session, _) = Session::open(&link, &init, bench.config.timeout).await?;
        session.stream.read(if slow { Reading::On } else { Reading::Off });
        queues.push(fill(&mut session, &batches).await?);
        let began = Instant::now();
        session.stream.read(Reading::On);
        samples.times.push(session.cancel(&cancel).await? - began);
    }
    queues.sort_unstable();
    Ok(samples.latency(What::Cancel { behind, queued_bytes: queues[queues.len() / 2] }))
}

/// Sends until nothing more is taken, and says how much that was.
async fn fill(session: &mut Session, batches: &Batches) -> Result<usize, String> {
    let until = Instant::now() + FILLING;
    let (mut queued, mut number) = (0, 0);
    while queued < QUEUE && Instant::now() < until {
        let framed = batches.framed(number);
        if !session.stream.out.has_room(framed.len() + ROOM, STALLED).await {
            break;
        }
        queued += framed.len();
        number += 1;
        session.say(framed).await?;
    }
    Ok(queued)
}

/// From nothing to the first call that is answered, with whatever status (D6).
///
/// # Errors
/// When a worker can't be started.
pub(super) async fn cold_start(bench: &Bench<'_>, time: Duration) -> Result<Latency, String> {
    let mut samples = Samples::during(time);
    while samples.wanted() {
        let began = Instant::now();
        let mut process = bench.subject.start(&Start::default()).await?;
        samples.times.push(began.elapsed());
        process.kill().await;
    }
    Ok(samples.latency(What::ColdStart))
}

/// Samples of one measure, and how long they are taken.
struct Samples {
    until: Instant,
    times: Vec<Duration>,
}

impl Samples {
    fn during(time: Duration) -> Self {
        Samples { until: Instant::now() + time, times: Vec::new() }
    }

    /// Whether there is to be one more.
    fn wanted(&self) -> bool {
        self.times.len() < LEAST || (self.times.len() < MOST && Instant::now() < self.until)
    }

    /// The first one warms up, and counts only where there are few.
    fn latency(mut self, what: What) -> Latency {
        if self.times.len() > LEAST {
            self.times.remove(0);
        }
        Latency::new(what, self.times)
    }
}
