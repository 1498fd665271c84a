//! How far a run is: a bar on the terminal while it runs, a line at its end.

use std::fmt;
use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use anyudf_engine::DispatcherStats;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::crew;
use crate::files;
use crate::units::{show_bytes, show_count};

/// The bar; nothing where stderr is no terminal.
#[derive(Debug)]
pub(crate) struct Bar {
    bar: ProgressBar,
    began: Instant,
    /// What the bar's length counts.
    measure: Measure,
    bytes: Option<files::Progress>,
}

#[derive(Clone, Copy, Debug)]
enum Measure {
    /// Rows, of so many in all.
    Rows,
    /// Bytes of the input, of so many in all.
    Bytes,
    /// Nobody knows how many there are.
    Unknown,
}

impl Bar {
    /// A bar for this input, or for a function without one.
    pub(crate) fn new(input: Option<&files::Input>) -> Self {
        let bytes = input.map(files::Input::progress);
        let total_rows = input.and_then(files::Input::total_rows);
        let total_bytes = bytes.as_ref().and_then(files::Progress::total_bytes);
        match (total_rows, total_bytes) {
            (None, Some(total)) => Self::of(Measure::Bytes, Some(total), bytes),
            (rows, _) => Bar { bytes, ..Self::of_rows(rows) },
        }
    }

    /// A bar for so many rows, or for as many as come.
    pub(crate) fn of_rows(total: Option<u64>) -> Self {
        let measure = if total.is_some() { Measure::Rows } else { Measure::Unknown };
        Self::of(measure, total, None)
    }

    fn of(measure: Measure, total: Option<u64>, bytes: Option<files::Progress>) -> Self {
        let target = match io::stderr().is_terminal() {
            true => ProgressDrawTarget::stderr(),
            false => ProgressDrawTarget::hidden(),
        };
        let template = match measure {
            Measure::Rows | Measure::Bytes => "{bar:32} {percent:>3}%  {msg}  {eta} left",
            Measure::Unknown => "{spinner} {msg}  {elapsed}",
        };
        let style = ProgressStyle::with_template(template).expect("the template is one of the two above");
        let bar = ProgressBar::with_draw_target(total, target).with_style(style);
        Bar { bar, began: Instant::now(), measure, bytes }
    }

    /// Shows that so many rows are through.
    pub(crate) fn show(&self, rows: u64) {
        if self.bar.is_hidden() {
            return;
        }
        let seconds = self.began.elapsed().as_secs_f64().max(1e-3);
        let bytes = self.bytes.as_ref().map_or(0, files::Progress::bytes);
        let mut text = format!("{} rows  {} rows/s", show_count(rows), show_count((rows as f64 / seconds) as u64));
        if bytes > 0 {
            text.push_str(&format!("  {}/s", show_bytes((bytes as f64 / seconds) as u64)));
        }
        self.bar.set_message(text);
        match self.measure {
            Measure::Rows => self.bar.set_position(rows),
            Measure::Bytes => self.bar.set_position(bytes),
            Measure::Unknown => self.bar.tick(),
        }
    }

    /// Takes the bar off the screen.
    pub(crate) fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

/// What the dispatcher has done, as `--stats` says it.
pub(crate) fn show_dispatcher(stats: &DispatcherStats) -> String {
    let DispatcherStats { granted, starts, failed_starts, crashes, waited, longest_wait, .. } = stats;
    let many = |count: u64, one: &str, more: &str| match count {
        1 => format!("1 {one}"),
        count => format!("{} {more}", show_count(count)),
    };
    let trouble = match failed_starts + crashes {
        0 => String::new(),
        _ => format!(", of which {failed_starts} did not start and {crashes} crashed"),
    };
    format!(
        "{} in {}{trouble}; a session waited {:.1} ms for its process, {:.1} ms at the most",
        many(*granted, "session", "sessions"),
        many(*starts, "process", "processes"),
        waited.as_secs_f64() * 1e3 / (*granted).max(1) as f64,
        longest_wait.as_secs_f64() * 1e3,
    )
}

/// What a run took.
#[derive(Debug)]
pub(crate) struct Stats {
    rows_in: u64,
    rows_out: u64,
    elapsed: Duration,
    /// Of this process, in bytes; `None` where the system does not say.
    peak_here: Option<u64>,
    /// Of the workers together.
    peak_workers: Option<u64>,
    workers: usize,
}

impl Stats {
    /// Taken while the workers are still there.
    pub(crate) fn take(began: Instant, rows_in: u64, rows_out: u64, workers: &DispatcherStats) -> Self {
        Stats {
            rows_in,
            rows_out,
            elapsed: began.elapsed(),
            peak_here: crew::peak_memory("self"),
            peak_workers: crew::peak_memory_of(workers),
            workers: workers.workers.len(),
        }
    }
}

/// `1 row`, `3,000,000 rows`.
pub(crate) fn show_rows(count: u64) -> String {
    match count {
        1 => "1 row".into(),
        count => format!("{} rows", show_count(count)),
    }
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.elapsed.as_secs_f64();
        let rows = self.rows_in.max(self.rows_out);
        match self.rows_in == self.rows_out {
            true => write!(f, "{}", show_rows(rows))?,
            false if self.rows_in == 0 => write!(f, "{} out", show_rows(rows))?,
            false => write!(f, "{} in, {} out", show_rows(self.rows_in), show_rows(self.rows_out))?,
        }
        write!(f, " in {seconds:.2} s, {} rows/s", show_count((rows as f64 / seconds.max(1e-9)) as u64))?;
        let memory = |bytes: Option<u64>| bytes.map_or("unknown".into(), show_bytes);
        let workers = if self.workers == 1 { "the worker".into() } else { format!("{} workers", self.workers) };
        write!(f, "; peak memory {} here, {} in {workers}", memory(self.peak_here), memory(self.peak_workers))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_says_what_it_took() {
        let mut stats = Stats {
            rows_in: 3_000_000,
            rows_out: 3_000_000,
            elapsed: Duration::from_millis(1_500),
            peak_here: Some(80 << 20),
            peak_workers: None,
            workers: 1,
        };
        let line = "3,000,000 rows in 1.50 s, 2,000,000 rows/s; peak memory 80 MiB here, unknown in the worker";
        assert_eq!(stats.to_string(), line);
        stats.rows_out = 5;
        assert!(stats.to_string().starts_with("3,000,000 rows in, 5 rows out in 1.50 s, 2,000,000 rows/s"));
    }
}
