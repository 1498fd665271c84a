//! What was measured, for people and for machines.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

const GIB: f64 = (1 << 30) as f64;

/// Something that was measured. As text it is a line of the table that [`Figure::heading`] begins.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Figure {
    /// How fast data goes through the worker.
    Throughput(Throughput),
    /// How long something takes.
    Latency(Latency),
}

/// How fast echo is at one size of batches.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Throughput {
    /// The size of a batch: of the whole message, without gRPC's five bytes.
    pub batch_bytes: usize,
    /// Bytes a second through the worker, one way, while as many go the other way.
    pub bytes_per_s: f64,
    /// The same through a raw Unix socket.
    pub raw_socket_bytes_per_s: f64,
}

/// How long something takes.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Latency {
    /// What.
    pub what: What,
    /// As many take longer as take less.
    pub median: Duration,
    /// One in a hundred takes longer.
    pub p99: Duration,
    /// The longest.
    pub max: Duration,
    /// How many were measured.
    pub samples: usize,
}

/// What takes its time.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum What {
    /// From Init to InitResponse, on a worker that runs and a connection that is there.
    WarmOpen,
    /// From a heartbeat to its answer, while nothing else happens (M2).
    HeartbeatIdle,
    /// From a heartbeat to its answer, on a connection whose streams are full of data (M2).
    HeartbeatUnderLoad {
        /// How many streams.
        streams: usize,
        /// Bytes a second on all of them together, one way.
        bytes_per_s: f64,
    },
    /// From Cancel to the end of the stream, behind a full queue (R12).
    Cancel {
        /// The function: `slow`, which is busy, or `echo`, whose answers nobody reads.
        behind: &'static str,
        /// How much was in the queue, in the median.
        queued_bytes: usize,
    },
    /// From nothing to the first call that is answered (D6).
    ColdStart,
}

impl Latency {
    /// From any number of samples but none.
    pub(super) fn new(what: What, mut samples: Vec<Duration>) -> Self {
        samples.sort();
        let at = |hundredths: usize| {
            let at = (samples.len() * hundredths / 100).min(samples.len().saturating_sub(1));
            samples.get(at).copied().unwrap_or_default()
        };
        Latency { what, median: at(50), p99: at(99), max: at(100), samples: samples.len() }
    }
}

impl Throughput {
    /// The part of the raw socket's throughput that the worker has.
    pub fn ratio(&self) -> f64 {
        self.bytes_per_s / self.raw_socket_bytes_per_s
    }
}

impl What {
    /// Its name for machines.
    pub fn name(&self) -> &'static str {
        match self {
            What::WarmOpen => "warm_open",
            What::HeartbeatIdle => "heartbeat_idle",
            What::HeartbeatUnderLoad { .. } => "heartbeat_under_load",
            What::Cancel { .. } => "cancel_full_queue",
            What::ColdStart => "cold_start",
        }
    }
}

impl Figure {
    /// The first line of the table that it belongs to.
    pub fn heading(&self) -> String {
        match self {
            Figure::Throughput(_) => {
                format!("{:<22} {:>12} {:>12} {:>12}", "batches, each way", "worker", "raw socket", "ratio")
            }
            Figure::Latency(_) => format!("{:<22} {:>12} {:>12} {:>12}", "", "median", "p99", "max"),
        }
    }

    /// One JSON object, for machines: `measure`, and numbers whose units are in their names.
    pub fn json(&self) -> String {
        let line = match self {
            Figure::Throughput(through) => serde_json::to_string(&ThroughputLine {
                measure: "throughput",
                batch_bytes: through.batch_bytes,
                gib_per_s: rounded(through.bytes_per_s / GIB),
                raw_socket_gib_per_s: rounded(through.raw_socket_bytes_per_s / GIB),
                ratio_to_raw_socket: rounded(through.ratio()),
            }),
            Figure::Latency(latency) => serde_json::to_string(&LatencyLine::of(latency)),
        };
        line.expect("names and numbers are JSON")
    }
}

#[derive(Serialize)]
struct ThroughputLine {
    measure: &'static str,
    batch_bytes: usize,
    gib_per_s: f64,
    raw_socket_gib_per_s: f64,
    ratio_to_raw_socket: f64,
}

#[derive(Serialize)]
struct LatencyLine {
    measure: &'static str,
    median_ms: f64,
    p99_ms: f64,
    max_ms: f64,
    samples: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    streams: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    load_gib_per_s: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    behind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    queued_bytes: Option<usize>,
}

impl LatencyLine {
    fn of(latency: &Latency) -> Self {
        let [median_ms, p99_ms, max_ms] = [latency.median, latency.p99, latency.max].map(|time| rounded(millis(time)));
        let (measure, samples) = (latency.what.name(), latency.samples);
        let (streams, load) = match latency.what {
            What::HeartbeatUnderLoad { streams, bytes_per_s } => (Some(streams), Some(rounded(bytes_per_s / GIB))),
            _ => (None, None),
        };
        let (behind, queued_bytes) = match latency.what {
            What::Cancel { behind, queued_bytes } => (Some(behind), Some(queued_bytes)),
            _ => (None, None),
        };
        LatencyLine { measure, median_ms, p99_ms, max_ms, samples, streams, load_gib_per_s: load, behind, queued_bytes }
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Figure::Throughput(through) => write!(
                f,
                "{:<22} {:>12} {:>12} {:>12.2}",
                show_bytes(through.batch_bytes),
                show_rate(through.bytes_per_s),
                show_rate(through.raw_socket_bytes_per_s),
                through.ratio()
            ),
            Figure::Latency(latency) => {
                let name = latency.what.name().replace('_', " ");
                let [median, p99, max] = [latency.median, latency.p99, latency.max].map(show_time);
                write!(f, "{name:<22} {median:>12} {p99:>12} {max:>12}  of {}", latency.samples)?;
                match &latency.what {
                    What::HeartbeatUnderLoad { streams, bytes_per_s } => {
                        let plural = if *streams == 1 { "" } else { "s" };
                        write!(f, "; {streams} stream{plural}, {} each way", show_rate(*bytes_per_s))
                    }
                    What::Cancel { behind, queued_bytes } => {
                        let why = if *behind == "echo" { "which nobody reads" } else { "which is busy" };
                        write!(f, "; {} for `{behind}`, {why}", show_bytes(*queued_bytes))
                    }
                    _ => Ok(()),
                }
            }
        }
    }
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// For machines: digits enough for the slowest, and no noise.
fn rounded(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

fn show_time(time: Duration) -> String {
    let millis = millis(time);
    let digits = if millis < 10.0 { 3 } else { 1 };
    format!("{millis:.digits$} ms")
}

fn show_rate(bytes_per_s: f64) -> String {
    match bytes_per_s / GIB {
        rate if rate >= 1.0 => format!("{rate:.2} GiB/s"),
        rate if rate >= 0.1 => format!("{:.0} MiB/s", rate * 1024.0),
        rate => format!("{:.1} MiB/s", rate * 1024.0),
    }
}

/// A size in its best unit.
pub(super) fn show_bytes(bytes: usize) -> String {
    let (size, unit) = match bytes {
        0..1024 => return format!("{bytes} bytes"),
        1024..1_048_576 => (bytes as f64 / 1024.0, "KiB"),
        _ => (bytes as f64 / 1_048_576.0, "MiB"),
    };
    let digits = if size.fract() == 0.0 { 0 } else { 1 };
    format!("{size:.digits$} {unit}")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_latency_is_its_median_its_99th_percentile_and_its_longest() {
        let samples = (1..=200).rev().map(Duration::from_millis).collect();
        let latency = Latency::new(What::WarmOpen, samples);
        assert_eq!([latency.median, latency.p99, latency.max].map(|time| time.as_millis()), [101, 199, 200]);
        let one = Latency::new(What::WarmOpen, vec![Duration::from_micros(1500)]);
        assert_eq!((one.median, one.p99, one.max, one.samples), (one.max, one.max, Duration::from_micros(1500), 1));
    }

    #[test]
    fn a_figure_is_a_line_for_people_and_an_object_for_machines() {
        let through = Throughput { batch_bytes: 16 << 10, bytes_per_s: GIB, raw_socket_bytes_per_s: 2.0 * GIB };
        let cancel = What::Cancel { behind: "slow", queued_bytes: 8 << 20 };
        let load = What::HeartbeatUnderLoad { streams: 4, bytes_per_s: GIB / 8.0 };
        let times = vec![Duration::from_micros(1500)];
        let figures = [
            Figure::Throughput(through),
            Figure::Latency(Latency::new(cancel, times.clone())),
            Figure::Latency(Latency::new(load, times)),
        ];
        let [through, cancel, load] = figures.each_ref().map(Figure::to_string);
        assert_eq!(through, "16 KiB                   1.00 GiB/s   2.00 GiB/s         0.50");
        assert!(cancel.ends_with("1.500 ms  of 1; 8 MiB for `slow`, which is busy"), "{cancel}");
        assert!(load.ends_with("of 1; 4 streams, 128 MiB/s each way"), "{load}");
        assert!(
            figures[0].json().starts_with(r#"{"measure":"throughput","batch_bytes":16384,"#),
            "{}",
            figures[0].json()
        );
        let [through, cancel, load] = figures.each_ref().map(|figure| {
            let object: Value = serde_json::from_str(&figure.json()).expect("it is JSON");
            object
        });
        assert_eq!((&through["gib_per_s"], &through["ratio_to_raw_socket"]), (&json!(1.0), &json!(0.5)));
        assert_eq!((&cancel["measure"], &cancel["behind"]), (&json!("cancel_full_queue"), &json!("slow")));
        assert_eq!((&load["max_ms"], &load["streams"]), (&json!(1.5), &json!(4)));
    }

    #[test]
    fn sizes_and_rates_have_their_best_unit() {
        for (size, text) in
            [(64, "64 bytes"), (16 << 10, "16 KiB"), (1 << 20, "1 MiB"), (1_500_000, "1.4 MiB"), (1536, "1.5 KiB")]
        {
            assert_eq!(show_bytes(size), text);
        }
        for (rate, text) in [(2.5, "2.50 GiB/s"), (0.5, "512 MiB/s"), (0.05, "51.2 MiB/s"), (1e-5, "0.0 MiB/s")] {
            assert_eq!(show_rate(rate * GIB), text);
        }
        assert_eq!(show_time(Duration::from_micros(123_456)), "123.5 ms");
    }
}
