//! How long things take that happen once.

use std::time::{Duration, Instant};

use anyhow::anyhow;
use anyudf_engine::{Init, Termination, Worker, WorkerCommand, WorkerConfig};
use bytes::Bytes;
use tokio::time::timeout;

use super::report::Latency;
use crate::failure::{Failure, Result};
use crate::io::Io;

/// Queues are full when nothing was taken for this long.
const STALLED: Duration = Duration::from_millis(15);

/// No more samples are taken after this time, so that a slow machine ends in time too.
const ENOUGH: Duration = Duration::from_secs(4);

/// Opening a session on a worker that is up: from Init to InitResponse.
pub(super) fn warm_open(io: &Io, command: &WorkerCommand) -> Result<Latency> {
    with_worker(io, command, async |worker| {
        sampled("warm_open", 1_000, async || {
            let began = Instant::now();
            let session = worker.open(Init::new("echo", "")).await?;
            let took = began.elapsed();
            session.close().await;
            Ok(took)
        })
        .await
    })
}

/// One small batch there and back in an open session.
pub(super) fn round_trip(io: &Io, command: &WorkerCommand) -> Result<Latency> {
    with_worker(io, command, async |worker| {
        let (mut input, mut output) = worker.open(Init::new("echo", "")).await?.split();
        let batch = Bytes::from(vec![0x5a; 1 << 10]);
        let measured = sampled("round_trip", 2_000, async || {
            let began = Instant::now();
            input.send([batch.clone()]).await?;
            output.next().await?.ok_or_else(|| anyhow!("the worker finished before it was asked to"))?;
            Ok(began.elapsed())
        })
        .await?;
        input.finish().await?;
        while output.next().await?.is_some() {}
        output.close().await?;
        Ok(measured)
    })
}

/// Starting a worker: from nothing to its first answer, heartbeat included.
pub(super) fn cold_start(io: &Io, command: &WorkerCommand) -> Result<Latency> {
    io.wait_or_interrupt(sampled("cold_start", 40, async || {
        let began = Instant::now();
        let worker = Worker::start(command, WorkerConfig::default()).await?;
        let took = began.elapsed();
        worker.end().await?;
        Ok(took)
    }))?
}

/// From Cancel to CancelResponse, with nobody reading and every queue and window on the way full.
pub(super) fn cancel(io: &Io, command: &WorkerCommand) -> Result<Latency> {
    with_worker(io, command, async |worker| {
        let batch = Bytes::from(vec![0x5a; 256 << 10]);
        sampled("cancel_full_queue", 100, async || {
            let session = worker.open(Init::new("echo", "")).await?;
            let control = session.control();
            let (mut input, output) = session.split();
            while let Ok(sent) = timeout(STALLED, input.send([batch.clone()])).await {
                sent?;
            }
            let began = Instant::now();
            control.cancel("measured");
            let ended = control.ended().await;
            let took = began.elapsed();
            drop((input, output));
            match ended {
                Termination::Cancelled(_) => Ok(took),
                other => Err(Failure::failed(format_args!("a cancelled session ended otherwise: {other}"))),
            }
        })
        .await
    })
}

fn with_worker<T>(io: &Io, command: &WorkerCommand, measure: impl AsyncFnOnce(&Worker) -> Result<T>) -> Result<T> {
    io.wait_or_interrupt(async {
        let worker = Worker::start(command, WorkerConfig::default()).await?;
        let measured = measure(&worker).await?;
        worker.end().await?;
        Ok(measured)
    })?
}

/// Takes `samples`, or as many as there is time for, after a tenth more to warm up.
pub(super) async fn sampled(
    mode: &'static str,
    samples: usize,
    mut sample: impl AsyncFnMut() -> Result<Duration>,
) -> Result<Latency> {
    for _ in 0..samples / 10 {
        sample().await?;
    }
    let began = Instant::now();
    let mut times = Vec::with_capacity(samples);
    while times.len() < samples && (times.is_empty() || began.elapsed() < ENOUGH) {
        times.push(sample().await?);
    }
    Ok(Latency::new(mode, times))
}
