//! What `bench` prints: a table for people, or one JSON object a line.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use anyhow::Context as _;
use serde::Serialize;

use crate::failure::{Result, say, unprinted};

/// How fast one mode is at one size.
#[derive(Debug, Serialize)]
pub(super) struct Throughput<'a> {
    mode: &'static str,
    batch_bytes: usize,
    gib_per_s: f64,
    raw_socket_gib_per_s: f64,
    ratio_to_raw_socket: f64,
    /// Where the data came from, where it matters.
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a str>,
}

impl<'a> Throughput<'a> {
    pub(super) fn new(mode: &'static str, batch_bytes: usize, rate: f64, raw: f64, data: Option<&'a str>) -> Self {
        Throughput {
            mode,
            batch_bytes,
            gib_per_s: rounded(rate),
            raw_socket_gib_per_s: rounded(raw),
            ratio_to_raw_socket: rounded(rate / raw),
            data,
        }
    }
}

/// How long something takes.
#[derive(Debug, Serialize)]
pub(super) struct Latency {
    mode: &'static str,
    median_ms: f64,
    p99_ms: f64,
    samples: usize,
}

impl Latency {
    /// From any number of samples but none.
    pub(super) fn new(mode: &'static str, mut samples: Vec<Duration>) -> Self {
        samples.sort();
        let at = |hundredths: usize| {
            let sample = samples.get((samples.len() * hundredths / 100).min(samples.len().saturating_sub(1)));
            rounded(sample.copied().unwrap_or_default().as_secs_f64() * 1e3)
        };
        Latency { mode, median_ms: at(50), p99_ms: at(99), samples: samples.len() }
    }
}

/// How many sessions there are in a time.
#[derive(Debug, Serialize)]
pub(super) struct Rate {
    mode: &'static str,
    sessions: usize,
    seconds: f64,
    sessions_per_s: f64,
    /// What a thousand take, measured or reckoned.
    seconds_per_1000: f64,
}

impl Rate {
    pub(super) fn of_sessions(mode: &'static str, sessions: usize, took: Duration) -> Self {
        let seconds = took.as_secs_f64();
        let sessions_per_s = rounded(sessions as f64 / seconds);
        let seconds_per_1000 = rounded(seconds * 1e3 / sessions.max(1) as f64);
        Rate { mode, sessions, seconds: rounded(seconds), sessions_per_s, seconds_per_1000 }
    }
}

fn rounded(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

/// Where lines go.
#[derive(Debug)]
pub(super) struct Report {
    json: bool,
}

impl Report {
    pub(super) fn new(json: bool) -> Self {
        Report { json }
    }

    /// Something people should know of how it is measured.
    pub(super) fn note(&self, note: impl Display) -> Result {
        if self.json { Ok(()) } else { writeln!(io::stdout(), "{note}").map_err(unprinted) }
    }

    /// Says that this takes a while, to people who would wonder.
    pub(super) fn patience(&self, what: impl Display) {
        if io::stderr().is_terminal() {
            say(what);
        }
    }

    pub(super) fn throughput_heading(&self) -> Result {
        self.note(format_args!("\n{:<7} {:>10} {:>9} {:>11} {:>7}", "mode", "batch", "GiB/s", "raw socket", "ratio"))
    }

    pub(super) fn throughput(&self, line: &Throughput<'_>) -> Result {
        let Throughput { mode, batch_bytes, gib_per_s, raw_socket_gib_per_s, ratio_to_raw_socket, .. } = line;
        let batch = crate::units::show_bytes(*batch_bytes as u64);
        match self.json {
            true => json(line),
            false => self.note(format_args!(
                "{mode:<7} {batch:>10} {gib_per_s:>9.2} {raw_socket_gib_per_s:>11.2} {ratio_to_raw_socket:>7.2}"
            )),
        }
    }

    pub(super) fn latency_heading(&self) -> Result {
        self.note(format_args!("\n{:<20} {:>10} {:>10}", "", "median ms", "p99 ms"))
    }

    pub(super) fn rate_heading(&self) -> Result {
        self.note(format_args!("\n{:<20} {:>10} {:>12} {:>14}", "", "sessions", "sessions/s", "1,000 take"))
    }

    pub(super) fn rate(&self, line: &Rate) -> Result {
        let Rate { mode, sessions, sessions_per_s, seconds_per_1000, .. } = line;
        match self.json {
            true => json(line),
            false => self.note(format_args!(
                "{:<20} {sessions:>10} {sessions_per_s:>12.0} {seconds_per_1000:>12.2} s",
                mode.replace('_', " ")
            )),
        }
    }

    pub(super) fn latency(&self, line: &Latency) -> Result {
        let Latency { mode, median_ms, p99_ms, .. } = line;
        match self.json {
            true => json(line),
            false => self.note(format_args!("{:<20} {median_ms:>10.3} {p99_ms:>10.3}", mode.replace('_', " "))),
        }
    }
}

fn json(line: &impl Serialize) -> Result {
    let line = serde_json::to_string(line).context("a line of figures is no JSON")?;
    writeln!(io::stdout(), "{line}").map_err(unprinted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_latency_is_its_median_and_its_99th_percentile() {
        let samples = (1..=200).rev().map(Duration::from_millis).collect();
        let Latency { median_ms, p99_ms, samples, .. } = Latency::new("x", samples);
        assert_eq!((median_ms, p99_ms, samples), (101.0, 199.0, 200));
        assert_eq!(Latency::new("x", vec![Duration::from_micros(1500)]).p99_ms, 1.5);
    }

    #[test]
    fn a_line_has_the_promised_names() {
        let line = serde_json::to_string(&Throughput::new("bytes", 16384, 1.0, 2.0, None)).expect("JSON");
        let names = r#"{"mode":"bytes","batch_bytes":16384,"gib_per_s":1.0,"raw_socket_gib_per_s":2.0,"#;
        assert_eq!(line, format!(r#"{names}"ratio_to_raw_socket":0.5}}"#));
    }
}
