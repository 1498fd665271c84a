//! `anyudf conformance --bench`: how fast is a worker on this machine?

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use anyudf_conformance::{BenchConfig, Figure, bench};
use clap::Args;

use crate::failure::{Result, say, unprinted};
use crate::io::Io;
use crate::units;

#[derive(Debug, Args)]
pub(super) struct BenchFlags {
    /// Play no case, but measure how fast the worker is, beside a raw socket
    ///
    /// Prints the throughput of its echo in batches of 16 KiB to 4 MiB, and how long opening a session, a heartbeat
    /// without and with load, Cancel behind a full queue, and a start of the worker take.
    #[arg(
        long,
        help_heading = "Measuring",
        conflicts_with_all = ["engine", "run", "skip", "level", "cases", "list", "known_failing", "jobs", "repeat", "trace", "junit"]
    )]
    pub(super) bench: bool,

    /// About how long measuring takes
    #[arg(long, value_name = "TIME", default_value = "20s", value_parser = units::duration, requires = "bench", help_heading = "Measuring")]
    bench_time: Duration,

    /// The sizes of batches, with commas between them
    #[arg(long, value_name = "SIZES", value_delimiter = ',', default_value = "16KiB,256KiB,1MiB,4MiB", value_parser = units::bytes, requires = "bench", help_heading = "Measuring")]
    batch_bytes: Vec<usize>,

    /// How much of a stream the worker may send that was not read
    #[arg(long, value_name = "SIZE", default_value = "8MiB", value_parser = units::bytes, requires = "bench", help_heading = "Measuring")]
    window: usize,
}

impl BenchFlags {
    /// Measures the worker that `config` names, and prints each figure as soon as it is known.
    ///
    /// # Errors
    /// Flags out of bounds; a worker that can't be measured; a signal.
    pub(super) fn measure(&self, mut config: BenchConfig, json: bool) -> Result {
        (config.time, config.batch_bytes) = (self.bench_time, self.batch_bytes.clone());
        // What is too large for a window is refused there, with the bounds.
        config.window = u32::try_from(self.window).unwrap_or(u32::MAX);
        let io = Io::start()?;
        if io::stderr().is_terminal() {
            say(format_args!(
                "measuring for about {:?}; other programs that run now change the figures",
                self.bench_time
            ));
        }
        let (mut printed, mut table) = (Ok(()), String::new());
        let measured = io.wait_or_interrupt(bench(&config, |figure| {
            if printed.is_ok() {
                printed = print(figure, json, &mut table);
            }
        }))?;
        printed.map_err(unprinted)?;
        measured?;
        Ok(())
    }
}

fn print(figure: &Figure, json: bool, table: &mut String) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if json {
        return writeln!(out, "{}", figure.json());
    }
    let heading = figure.heading();
    if heading != *table {
        let space = if table.is_empty() { "" } else { "\n" };
        writeln!(out, "{space}{heading}")?;
        *table = heading;
    }
    writeln!(out, "{figure}")
}
