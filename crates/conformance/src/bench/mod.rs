//! How fast is a worker on this machine? The same raw client, and every figure beside the machine's own limits.
//!
//! Machines are noisy and differ, so throughput alone says little: it is taken beside a raw Unix-socket echo of the same
//! batch size, in turn, several times, and the medians are what is told. What the worker sends back is compared.
//!
//! ```text
//!   raw      thread ─ write_all ─▶ socket ─▶ thread ─▶ thread ─▶ socket ─ read_exact ─▶ thread
//!   worker   DataRequest ─ HTTP/2 by hand ─▶ socket ═▶ the worker's echo ═▶ socket ─▶ HTTP/2 ─▶ compared
//! ```

mod batches;
mod echo;
mod figure;
mod latency;
mod raw;
mod session;

use std::ffi::OsString;
use std::io;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::capability::Capabilities;
use crate::error::{Error, ErrorKind};
use crate::process::{Process, Start, Subject, shown};
use crate::wire::{Dial, Link, Place};
use batches::Batches;
use echo::echo;
use figure::show_bytes;
use session::{Session, message};

pub use figure::{Figure, Latency, Throughput, What};

/// How often each size is measured, besides a first time that warms up and is thrown away.
const ROUNDS: u32 = 5;

/// What to measure, of what, and for how long.
#[derive(Clone, Debug)]
pub struct BenchConfig {
    /// The command of the worker: its program.
    pub program: OsString,
    /// Its arguments, before `--id` and `--connection` (P1).
    pub arguments: Vec<OsString>,
    /// What Init says for `echo`, and whether there is `slow`.
    pub capabilities: Capabilities,
    /// The sizes of batches, in bytes, from 64 to 128 MiB: of whole messages.
    pub batch_bytes: Vec<usize>,
    /// The window of each stream, in bytes, from 65,535 to 1 GiB: how much the worker may send that was not read.
    pub window: u32,
    /// About how long everything takes, starts of the worker not counted.
    pub time: Duration,
    /// How long the worker may be silent when it is its turn.
    pub timeout: Duration,
    /// How long it may take until it answers.
    pub start_timeout: Duration,
}

impl BenchConfig {
    /// Batches of 16 KiB to 4 MiB, the window that our own engine has, twenty seconds.
    pub fn new(program: impl Into<OsString>, arguments: impl IntoIterator<Item = OsString>) -> Self {
        BenchConfig {
            program: program.into(),
            arguments: arguments.into_iter().collect(),
            capabilities: Capabilities::default(),
            batch_bytes: vec![16 << 10, 256 << 10, 1 << 20, 4 << 20],
            window: 8 << 20,
            time: Duration::from_secs(20),
            timeout: Duration::from_secs(5),
            start_timeout: Duration::from_secs(10),
        }
    }

    fn check(&self) -> Result<(), Error> {
        let wrong =
            |what: &str, size: usize, bounds: &str| Err(Error::text(format!("{what} of {size} bytes: {bounds}")));
        if let Some(size) = self.batch_bytes.iter().find(|size| !(64..=128 << 20).contains(*size)) {
            return wrong("batches", *size, "there are sizes from 64 bytes to 128 MiB");
        }
        if !(65_535..=1 << 30).contains(&self.window) {
            return wrong("a window", self.window as usize, "it has from 65,535 bytes to 1 GiB");
        }
        Ok(())
    }
}

/// The parts of the time that each measure has.
const THROUGHPUT: f64 = 0.55;
const OPEN: f64 = 0.05;
const IDLE: f64 = 0.05;
const LOAD: f64 = 0.1;
const CANCEL: f64 = 0.15;
const START: f64 = 0.1;

/// What all measures need.
#[derive(Debug)]
struct Bench<'a> {
    config: &'a BenchConfig,
    subject: Subject,
    place: Place,
}

/// Why there is no figure: whose fault it is, what was being measured, and what went wrong.
type Trouble = (ErrorKind, String);

/// Measures a worker: throughput, a warm open, heartbeats without and with load, Cancel behind a full queue, cold starts.
/// It tells of each figure as soon as it is known, and ends every process that it has started.
///
/// # Errors
/// Sizes out of bounds; and whatever keeps the worker from being measured: it can't be started, refuses Init, ends, is
/// silent for too long, breaks the grammar, or sends back something else than it was sent. The text says what was being
/// measured and has the end of the worker's output; [`Error::kind`] is [`ErrorKind::Worker`] then.
///
/// # Panics
/// Outside a tokio runtime with I/O and time.
///
/// # Cancel safety
/// When the future is dropped, the worker is killed and its socket removed.
pub async fn bench(config: &BenchConfig, mut tell: impl FnMut(&Figure)) -> Result<Vec<Figure>, Error> {
    config.check()?;
    let mut figures = Vec::new();
    let tell = |figure: Figure| {
        tell(&figure);
        figures.push(figure);
    };
    let (program, arguments) = (config.program.clone(), config.arguments.clone());
    let subject = Subject { program, arguments, start_timeout: config.start_timeout };
    let measured = measure(config, subject, tell).await;
    measured.map_err(|(kind, why)| Error::of(kind, why))?;
    Ok(figures)
}

async fn measure(config: &BenchConfig, subject: Subject, mut tell: impl FnMut(Figure)) -> Result<(), Trouble> {
    let worker = subject.start(&Start::default()).await;
    let mut worker = worker.map_err(|why| (ErrorKind::Worker, format!("the worker can't be started: {why}")))?;
    let bench = Bench { config, subject, place: worker.place.clone() };
    let measured = bench.running(&mut tell).await;
    let measured = match measured {
        Err((ErrorKind::Worker, why)) => Err((ErrorKind::Worker, last_words(&mut worker, why).await)),
        measured => measured,
    };
    worker.kill().await;
    measured?;
    let started = latency::cold_start(&bench, config.time.mul_f64(START)).await;
    tell(Figure::Latency(started.map_err(blamed("cold start"))?));
    Ok(())
}

/// Adds how the worker ended, if it did, and the end of its output.
async fn last_words(worker: &mut Process, why: String) -> String {
    // A stream is cut off a moment before its process is gone.
    let ended = match worker.exit(Duration::from_millis(250)).await {
        Ok(exit) => format!("; the worker has ended ({})", shown(exit)),
        Err(_) => String::new(),
    };
    worker.last_words(why + &ended).await
}

/// What the worker was being asked for when it failed.
fn blamed(what: impl Into<String>) -> impl FnOnce(String) -> Trouble {
    |why| (ErrorKind::Worker, format!("{}: {why}", what.into()))
}

impl Bench<'_> {
    /// All that is measured on one worker.
    async fn running(&self, tell: &mut impl FnMut(Figure)) -> Result<(), Trouble> {
        for through in self.throughput().await? {
            tell(Figure::Throughput(through));
        }
        let time = |part| self.config.time.mul_f64(part);
        let mut tell = |latency| tell(Figure::Latency(latency));
        tell(latency::warm_open(self, time(OPEN)).await.map_err(blamed("warm open"))?);
        tell(latency::heartbeat_idle(self, time(IDLE)).await.map_err(blamed("heartbeat"))?);
        tell(latency::heartbeat_under_load(self, time(LOAD)).await.map_err(blamed("heartbeat under load"))?);
        tell(latency::cancel(self, time(CANCEL)).await.map_err(blamed("cancel behind a full queue"))?);
        Ok(())
    }

    /// Each size in turn, beside the raw socket, several times.
    async fn throughput(&self) -> Result<Vec<Throughput>, Trouble> {
        let batches: Vec<_> = self.config.batch_bytes.iter().map(|size| Batches::new(*size)).collect();
        let mut rates = vec![(Vec::new(), Vec::new()); batches.len()];
        // Two thirds are the worker's: it takes longer to come to its full speed.
        let slot = self.config.time.mul_f64(THROUGHPUT) / ROUNDS / 3 / batches.len().max(1) as u32;
        for round in 0..=ROUNDS {
            let slot = if round == 0 { slot / 4 } else { slot };
            for (batches, (raw, through)) in batches.iter().zip(&mut rates) {
                let size = batches.size;
                let echoed = spawn_blocking(move || raw::echo(size, slot)).await.map_err(io::Error::other).flatten();
                let unmeasured = |error| (ErrorKind::System, format!("the raw socket echo failed: {error}"));
                let limit = echoed.map_err(unmeasured)?;
                let rate = self.echo(batches, 2 * slot).await;
                let rate = rate.map_err(blamed(format!("throughput in batches of {}", show_bytes(size))))?;
                if round > 0 {
                    raw.push(limit);
                    through.push(rate);
                }
            }
        }
        let rates = batches.iter().zip(rates).map(|(batches, (raw, through))| Throughput {
            batch_bytes: batches.size,
            bytes_per_s: median(through),
            raw_socket_bytes_per_s: median(raw),
        });
        Ok(rates.collect())
    }

    async fn echo(&self, batches: &Batches, time: Duration) -> Result<f64, String> {
        let link = self.dial().await?;
        let patience = self.config.timeout;
        let (session, _) = Session::open(&link, &self.message("init echo"), patience).await?;
        let echoed = echo(session, batches, &self.message("finish"), Instant::now() + time, patience).await?;
        Ok(echoed.rate())
    }

    /// A connection, with windows as an engine has them that wants to be fast.
    async fn dial(&self) -> Result<Link, String> {
        let dial = Dial {
            window: self.config.window,
            connection_window: (1 << 31) - 1,
            max_frame: 8 << 20,
            send_buffer: 8 << 20,
            ..Dial::default()
        };
        let dialled = timeout(self.config.timeout, Link::dial(&self.place, &dial)).await;
        dialled
            .map_err(|_| format!("no connection to {} within {:?}", self.place, self.config.timeout))?
            .map_err(|error| format!("cannot connect to {}: {error}", self.place))
    }

    fn message(&self, line: &str) -> Bytes {
        message(line, &self.config.capabilities)
    }
}

/// The middle value. Zero when there is none.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}
