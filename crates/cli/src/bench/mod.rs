//! `anyudf bench echo`: the data path beside this machine's own limits. `anyudf bench pool`: sessions through a pool.
//!
//! Machines are noisy and differ, so figures alone say little: each is taken beside a raw Unix-socket echo of the same
//! batch size, in turn, several times, and the medians are what is printed. Bytes are counted one way.
//!
//! ```text
//!   raw     thread ─ write_all ─▶ socket ─▶ thread ─▶ thread ─▶ socket ─ read_exact ─▶ thread
//!   bytes   feeder ─ Input.send ─▶ session ═▶ a worker's echo ═▶ session ─ Output.next ─▶ collector
//!   arrow   feeder ─ encode ─▶ session ═▶ decode, encode ═▶ session ─ decode ─▶ collector
//! ```

mod flights;
mod latency;
mod pool;
mod raw;
mod report;
mod through;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyudf_engine::{Worker, WorkerConfig};
use arrow::array::RecordBatch;
use clap::{Args, Subcommand, ValueEnum};

use crate::failure::Result;
use crate::io::Io;
use crate::start;
use flights::Flights;
use report::{Report, Throughput};

pub(crate) use raw::{PEER, PeerArguments, peer};

/// How long one run of one mode at one size takes.
const RUN: Duration = Duration::from_millis(350);

#[derive(Debug, Args)]
pub(crate) struct BenchArguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Echo batches through a session and a worker process, beside a raw socket
    ///
    /// Prints, for batches of 16 KiB to 4 MiB, GiB/s one way: a raw Unix-socket echo between two processes, the echo
    /// function through a session and a worker (bytes), and batches of flights, strings included, that are encoded,
    /// decoded and encoded by the worker, and decoded again (arrow). Then latencies: opening a session on a warm worker,
    /// one small batch there and back, starting a worker, and from Cancel to its answer under full queues.
    /// Ends within 50 seconds.
    Echo(EchoArguments),
    /// Open sessions through a pool of workers
    ///
    /// Prints how long opening one takes on an idle worker and from nothing, how many end in a second with one worker and
    /// with four, each with one session at a time, and how long 1,000 take one after the other, in a worker that is reused
    /// and with a process each (100, from which 1,000 are reckoned). Ends within 30 seconds.
    Pool(PoolArguments),
}

#[derive(Debug, Args)]
struct PoolArguments {
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct EchoArguments {
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,

    /// Measure only these
    #[arg(long, value_delimiter = ',', value_name = "MODES")]
    only: Vec<Mode>,

    /// Only batches of this size
    #[arg(long, value_name = "SIZE", value_parser = crate::units::bytes)]
    batch_bytes: Option<usize>,

    /// How often each is measured; the medians are printed
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100), hide = true)]
    rounds: u32,

    /// Take the flights from this Parquet file, not from data/flights-sample.parquet or made up
    #[arg(long, value_name = "FILE")]
    flights: Option<PathBuf>,
}

/// What can be measured. The raw socket always is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Mode {
    /// Throughput of opaque bytes
    Bytes,
    /// Throughput of record batches
    Arrow,
    /// The latencies
    Latency,
}

/// The sizes of batches that are measured.
const SIZES: [usize; 4] = [16 << 10, 256 << 10, 1 << 20, 4 << 20];

/// Runs `anyudf bench`.
pub(crate) fn bench(arguments: BenchArguments) -> Result {
    let arguments = match arguments.what {
        What::Echo(arguments) => arguments,
        What::Pool(PoolArguments { json }) => {
            let (io, report) = (Io::start()?, Report::new(json));
            report.patience("measuring for up to 30 s; other programs that run now change the figures");
            return pool::measure(&io, &start::bundled()?, &report);
        }
    };
    let asked = |mode| arguments.only.is_empty() || arguments.only.contains(&mode);
    let report = Report::new(arguments.json);
    let io = Io::start()?;
    let command = start::bundled()?;
    report.patience("measuring for up to 50 s; other programs that run now change the figures");
    if asked(Mode::Bytes) || asked(Mode::Arrow) {
        let worker = io.wait_or_interrupt(Worker::start(&command, WorkerConfig::default()))??;
        let measured = throughput(&arguments, &report, &io, &worker);
        // Also when nobody reads what was measured.
        io.wait(worker.end())?;
        measured?;
    }
    if asked(Mode::Latency) {
        report.latency_heading()?;
        report.latency(&latency::warm_open(&io, &command)?)?;
        report.latency(&latency::round_trip(&io, &command)?)?;
        report.latency(&latency::cold_start(&io, &command)?)?;
        report.latency(&latency::cancel(&io, &command)?)?;
    }
    Ok(())
}

/// Measures the modes that move data, at every size that was asked for, and reports them.
fn throughput(arguments: &EchoArguments, report: &Report, io: &Io, worker: &Worker) -> Result {
    let asked = |mode| arguments.only.is_empty() || arguments.only.contains(&mode);
    let flights = asked(Mode::Arrow).then(|| Flights::load(arguments.flights.as_deref())).transpose()?;
    if let Some(flights) = &flights {
        report.note(format_args!("mode arrow sends flights {}", flights.source))?;
    }
    report.throughput_heading()?;
    let sizes = arguments.batch_bytes.map_or(SIZES.to_vec(), |size| vec![size]);
    let mut rows: Vec<_> = sizes.iter().map(|&size| Row::new(size, asked(Mode::Bytes), flights.as_ref())).collect();
    for round in 0..=arguments.rounds {
        // The first round warms caches, buffers and the processor up, and is thrown away.
        let (time, keep) = if round == 0 { (RUN / 10, false) } else { (RUN, true) };
        for row in &mut rows {
            row.measure(io, worker, time, keep)?;
            io.check()?;
        }
    }
    for row in rows {
        row.report(report, flights.as_ref().map(|flights| flights.source.as_str()))?;
    }
    Ok(())
}

/// What is measured at one size, one after the other, and the rates so far, in GiB/s.
#[derive(Debug)]
struct Row {
    size: usize,
    raw: Vec<f64>,
    bytes: Option<Vec<f64>>,
    arrow: Option<(Vec<RecordBatch>, Vec<f64>)>,
}

impl Row {
    fn new(size: usize, bytes: bool, flights: Option<&Flights>) -> Self {
        let arrow = flights.map(|flights| (flights.batches(size), Vec::new()));
        Row { size, raw: Vec::new(), bytes: bytes.then(Vec::new), arrow }
    }

    fn measure(&mut self, io: &Io, worker: &Worker, time: Duration, keep: bool) -> Result {
        let note = |rates: &mut Vec<f64>, rate| rates.extend(keep.then_some(rate));
        note(&mut self.raw, raw::echo(self.size, time)?);
        if let Some(rates) = &mut self.bytes {
            note(rates, through::bytes(io, worker, self.size, time)?);
        }
        if let Some((batches, rates)) = &mut self.arrow {
            note(rates, through::arrow(io, worker, batches, time)?);
        }
        Ok(())
    }

    fn report(self, report: &Report, source: Option<&str>) -> Result {
        let raw = median(self.raw);
        report.throughput(&Throughput::new("raw", self.size, raw, raw, None))?;
        if let Some(rates) = self.bytes {
            report.throughput(&Throughput::new("bytes", self.size, median(rates), raw, None))?;
        }
        if let Some((_, rates)) = self.arrow {
            report.throughput(&Throughput::new("arrow", self.size, median(rates), raw, source))?;
        }
        Ok(())
    }
}

/// The middle value. Zero when there is none.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

/// GiB a second.
fn rate(bytes: u64, began: Instant) -> f64 {
    bytes as f64 / f64::from(1 << 30) / began.elapsed().as_secs_f64()
}
